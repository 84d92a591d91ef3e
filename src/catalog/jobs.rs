//! `lakegate.jobs`: long work of this process, what is under way and what was lately. An admin sees all of it, others what
//! they asked for themselves.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::visible::View;
use crate::error::Result;
use crate::jobs::Seen;
use crate::pgtype::{Ty, field, oid};
use crate::policy::{Equal, SystemRows};
use crate::types::TableName;

/// Who has started what nobody asked for.
const KEEPER: &str = "keeper";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| field(name, Ty::TEXT, DataType::Utf8);
    let number = |name: &str| field(name, Ty::INT8, DataType::Int64);
    let at = |name: &str| {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        field(name, Ty::of(oid::TIMESTAMPTZ), data_type)
    };
    Arc::new(Schema::new(vec![
        number("id"),
        text("kind"),
        text("table_schema"),
        text("table_name"),
        text("started_by"),
        text("state"),
        at("started_at"),
        at("ended_at"),
        number("done"),
        number("total"),
        text("detail"),
    ]))
});

/// Whether the relation is this one.
pub fn is(name: &TableName) -> bool {
    name.schema == "lakegate" && name.table == "jobs"
}

pub fn seen_by(view: &Arc<View>) -> Arc<dyn SystemRows> {
    Arc::new(Jobs(Arc::clone(view)))
}

struct Jobs(Arc<View>);

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("jobs")
    }
}

impl SystemRows for Jobs {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn read(&self, columns: &[usize], _: &[Equal]) -> Result<Vec<RecordBatch>> {
        let is_shown = |job: &Seen| self.0.is_admin || job.user.as_ref().is_some_and(|user| self.0.is_own(user));
        let jobs: Vec<Seen> = self.0.jobs.all().into_iter().filter(is_shown).collect();
        let texts = |of: &dyn Fn(&Seen) -> String| -> ArrayRef {
            Arc::new(jobs.iter().map(|job| Some(of(job))).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(&Seen) -> Option<u64>| -> ArrayRef {
            let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            Arc::new(jobs.iter().map(|job| of(job).map(signed)).collect::<Int64Array>())
        };
        let times = |of: &dyn Fn(&Seen) -> Option<i64>| -> ArrayRef {
            Arc::new(jobs.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let all: Vec<ArrayRef> = vec![
            numbers(&|job| u64::try_from(job.id).ok()),
            texts(&|job| job.kind.to_string()),
            texts(&|job| job.table.schema.clone()),
            texts(&|job| job.table.table.clone()),
            texts(&|job| job.user.clone().unwrap_or_else(|| KEEPER.to_string())),
            texts(&|job| job.state.word().to_string()),
            times(&|job| Some(job.started_at)),
            times(&|job| job.ended_at),
            numbers(&|job| Some(job.done)),
            numbers(&|job| job.total),
            texts(&|job| job.detail.clone()),
        ];
        let rows = RecordBatch::try_new(self.schema(), all)?;
        Ok(vec![rows.project(columns)?])
    }
}
