//! `lakegate.reflections`: what is stored of which tables, how old it is, how often it answered. Admins see all of them, others
//! those of whose tables they see everything; a definition names columns, and rows are counted.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::visible::View;
use crate::error::Result;
use crate::pgtype::{Ty, field, oid};
use crate::policy::{Action, Decision, Equal, SessionPolicy, SystemRows};
use crate::refreshes::Seen;
use crate::types::{ObjectId, TableName};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| field(name, Ty::TEXT, DataType::Utf8);
    let number = |name: &str| field(name, Ty::INT8, DataType::Int64);
    let at = |name: &str| {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        field(name, Ty::of(oid::TIMESTAMPTZ), data_type)
    };
    Arc::new(Schema::new(vec![
        text("name"),
        text("owner"),
        text("tables"),
        text("definition"),
        text("refresh"),
        text("state"),
        text("made_of"),
        number("rows"),
        number("bytes"),
        at("refreshed_at"),
        at("next_at"),
        number("hits"),
        number("considered"),
        text("why_not"),
        text("error"),
    ]))
});

/// Whether the relation is this one.
pub fn is(name: &TableName) -> bool {
    name.schema == "lakegate" && name.table == "reflections"
}

pub fn seen_by(view: &Arc<View>, policy: &SessionPolicy) -> Arc<dyn SystemRows> {
    Arc::new(Reflections { view: Arc::clone(view), policy: policy.clone() })
}

/// Whether somebody sees everything of these tables. Of none nobody does: then it is not known what they are.
pub fn sees_all(policy: &SessionPolicy, tables: impl IntoIterator<Item = ObjectId>) -> bool {
    let is_full = |table| matches!(policy.decide(table, Action::Select), Decision::Allow(grant) if grant.is_full());
    let mut tables = tables.into_iter().peekable();
    tables.peek().is_some() && tables.all(is_full)
}

struct Reflections {
    view: Arc<View>,
    policy: SessionPolicy,
}

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Reflections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reflections")
    }
}

impl SystemRows for Reflections {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn read(&self, columns: &[usize], _: &[Equal]) -> Result<Vec<RecordBatch>> {
        let all = self.view.reflections.all();
        let sees = |seen: &Seen| sees_all(&self.policy, seen.bases.iter().copied());
        let is_shown = |seen: &&Seen| self.view.is_admin || sees(seen);
        let seen: Vec<&Seen> = all.iter().filter(is_shown).collect();
        let texts = |of: &dyn Fn(&Seen) -> Option<String>| -> ArrayRef {
            Arc::new(seen.iter().map(|seen| of(seen)).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(&Seen) -> Option<u64>| -> ArrayRef {
            let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            Arc::new(seen.iter().map(|seen| of(seen).map(signed)).collect::<Int64Array>())
        };
        let times = |of: &dyn Fn(&Seen) -> Option<i64>| -> ArrayRef {
            Arc::new(seen.iter().map(|seen| of(seen)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let tables = |seen: &Seen| seen.tables.iter().map(TableName::to_string).collect::<Vec<_>>().join(", ");
        let error = |seen: &Seen| if sees(seen) { seen.error.clone() } else { seen.error_told.clone() };
        let all: Vec<ArrayRef> = vec![
            texts(&|s| Some(s.name.clone())),
            texts(&|s| Some(s.owner.clone())),
            texts(&|s| Some(tables(s))),
            texts(&|s| Some(s.definition.clone())),
            texts(&|s| Some(s.refresh.clone())),
            texts(&|s| Some(s.state.word().to_string())),
            texts(&|s| s.made_of.clone()),
            numbers(&|s| s.rows),
            numbers(&|s| s.bytes),
            times(&|s| s.refreshed_at),
            times(&|s| s.next_at),
            numbers(&|s| Some(s.uses.hits())),
            numbers(&|s| Some(s.uses.considered())),
            texts(&|s| s.uses.why_not()),
            texts(&|s| error(s)),
        ];
        let rows = RecordBatch::try_new(self.schema(), all)?;
        Ok(vec![rows.project(columns)?])
    }
}
