//! `lakegate.provenance`: what statements of late saw, one row each, the newest first. Which of them somebody is told of, and
//! what of each, is said by whoever keeps them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;

use super::visible::View;
use crate::error::Result;
use crate::pgtype::{Ty, field, oid};
use crate::policy::{Equal, SessionPolicy, SystemRows};
use crate::types::TableName;

const QUERY_ID: &str = "query_id";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| field(name, Ty::TEXT, DataType::Utf8);
    let number = |name: &str| field(name, Ty::INT8, DataType::Int64);
    let at = |name: &str| {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        field(name, Ty::of(oid::TIMESTAMPTZ), data_type)
    };
    Arc::new(Schema::new(vec![
        text(QUERY_ID),
        text("user_name"),
        text("acts_for"),
        at("started_at"),
        number("duration_ms"),
        text("kind"),
        text("query"),
        text("outcome"),
        text("sqlstate"),
        number("rows"),
        text("cache"),
        text("snapshot_vector"),
        text("reflections"),
        number("staleness_ms"),
    ]))
});

/// Whether the relation is this one.
pub fn is(name: &TableName) -> bool {
    name.schema == "lakegate" && name.table == "provenance"
}

/// A statement, as far as somebody may know of it.
#[derive(Clone, Debug)]
pub struct Told {
    pub query_id: String,
    pub user: String,
    pub acts_for: Option<String>,
    /// In microseconds since 1970.
    pub started_at: i64,
    pub duration_ms: i64,
    pub kind: &'static str,
    pub query: String,
    pub outcome: &'static str,
    pub sqlstate: &'static str,
    pub rows: i64,
    pub cache: &'static str,
    pub snapshot_vector: String,
    pub reflections: String,
    pub staleness_ms: i64,
}

/// Statements that are over.
pub trait Statements: fmt::Debug + Send + Sync {
    /// Those that `policy` may know of, of these ids or all, the newest first.
    fn told(&self, policy: &SessionPolicy, ids: Option<&[String]>) -> Vec<Told>;
}

/// Of its columns.
pub fn names() -> Vec<String> {
    SCHEMA.fields().iter().map(|field| field.name().clone()).collect()
}

pub fn seen_by(view: &Arc<View>, policy: &SessionPolicy) -> Arc<dyn SystemRows> {
    Arc::new(Provenance { view: Arc::clone(view), policy: policy.clone() })
}

struct Provenance {
    view: Arc<View>,
    policy: SessionPolicy,
}

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("provenance")
    }
}

impl SystemRows for Provenance {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn read(&self, columns: &[usize], equal: &[Equal]) -> Result<Vec<RecordBatch>> {
        let text = |value: &ScalarValue| value.try_as_str().flatten().map(str::to_owned);
        let ids = equal.iter().find(|(column, _)| column == QUERY_ID);
        let ids: Option<Vec<String>> = ids.map(|(_, values)| values.iter().filter_map(text).collect());
        let told = self.view.statements.as_ref().map(|all| all.told(&self.policy, ids.as_deref())).unwrap_or_default();
        let texts = |of: &dyn Fn(&Told) -> Option<String>| -> ArrayRef {
            Arc::new(told.iter().map(of).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(&Told) -> i64| -> ArrayRef {
            Arc::new(told.iter().map(|told| Some(of(told))).collect::<Int64Array>())
        };
        let at = told.iter().map(|told| Some(told.started_at)).collect::<TimestampMicrosecondArray>();
        let all: Vec<ArrayRef> = vec![
            texts(&|t| Some(t.query_id.clone())),
            texts(&|t| Some(t.user.clone())),
            texts(&|t| t.acts_for.clone()),
            Arc::new(at.with_timezone("UTC")),
            numbers(&|t| t.duration_ms),
            texts(&|t| Some(t.kind.into())),
            texts(&|t| Some(t.query.clone())),
            texts(&|t| Some(t.outcome.into())),
            texts(&|t| Some(t.sqlstate.into())),
            numbers(&|t| t.rows),
            texts(&|t| Some(t.cache.into())),
            texts(&|t| Some(t.snapshot_vector.clone())),
            texts(&|t| Some(t.reflections.clone())),
            numbers(&|t| t.staleness_ms),
        ];
        let rows = RecordBatch::try_new(self.schema(), all)?;
        Ok(vec![rows.project(columns)?])
    }
}
