//! `lakegate.pipelines`: how each pipeline does, as whoever runs it noted it a moment ago. Admins see it; it names tables and
//! repeats errors.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::visible::View;
use crate::error::Result;
use crate::pgtype::{Ty, field, oid};
use crate::pipelines::Noted;
use crate::policy::{Equal, SystemRows};
use crate::types::TableName;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| field(name, Ty::TEXT, DataType::Utf8);
    let at = |name: &str| {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        field(name, Ty::of(oid::TIMESTAMPTZ), data_type)
    };
    Arc::new(Schema::new(vec![
        text("pipeline"),
        text("table_name"),
        text("state"),
        at("since"),
        at("committed_at"),
        field("last_batch_records", Ty::INT8, DataType::Int64),
        field("epoch", Ty::INT8, DataType::Int64),
        text("error"),
        text("hint"),
    ]))
});

/// Whether the relation is this one.
pub fn is(name: &TableName) -> bool {
    name.schema == "lakegate" && name.table == "pipelines"
}

pub fn seen_by(view: &Arc<View>) -> Arc<dyn SystemRows> {
    Arc::new(Pipelines(Arc::clone(view)))
}

struct Pipelines(Arc<View>);

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pipelines")
    }
}

impl SystemRows for Pipelines {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn read(&self, columns: &[usize], _: &[Equal]) -> Result<Vec<RecordBatch>> {
        let board = self.0.pipelines.all();
        let noted: &[Noted] = if self.0.is_admin { &board } else { &[] };
        let texts = |of: &dyn Fn(&Noted) -> Option<String>| -> ArrayRef {
            Arc::new(noted.iter().map(of).collect::<StringArray>())
        };
        let times = |of: &dyn Fn(&Noted) -> Option<i64>| -> ArrayRef {
            let micros = |noted| of(noted).and_then(|ms| ms.checked_mul(1_000));
            Arc::new(noted.iter().map(micros).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let numbers =
            |of: &dyn Fn(&Noted) -> Option<i64>| -> ArrayRef { Arc::new(noted.iter().map(of).collect::<Int64Array>()) };
        let all: Vec<ArrayRef> = vec![
            texts(&|n| Some(n.pipeline.clone())),
            texts(&|n| n.table.clone()),
            texts(&|n| Some(n.status.state.word().to_string())),
            times(&|n| Some(n.status.since_ms)),
            times(&|n| n.status.committed_ms),
            numbers(&|n| i64::try_from(n.status.records).ok()),
            numbers(&|n| Some(n.status.epoch)),
            texts(&|n| n.status.error.clone()),
            texts(&|n| n.status.hint.clone()),
        ];
        let rows = RecordBatch::try_new(self.schema(), all)?;
        Ok(vec![rows.project(columns)?])
    }
}
