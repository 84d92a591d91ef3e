//! What INSERT and COPY FROM write their rows to: a table of the lake, in one commit, or a temporary one of the session.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use super::name::Name;
use super::{insert, target};
use crate::engine::lanes::Lanes;
use crate::engine::session::{Session, policy_changed};
use crate::engine::temporary::{self, Temporary};
use crate::error::Result;
use crate::policy::{Action, Decision};
use crate::sources::{Table, Writer};
use crate::types::{ObjectId, TableName};

pub(super) struct Sink {
    pub(super) name: TableName,
    /// All its columns, and those that the session sees.
    pub(super) schema: SchemaRef,
    pub(super) shown: SchemaRef,
    to: To,
    /// Of the table of the lake.
    object: Option<ObjectId>,
}

/// 42501 where the policy of now is another one for the writer.
pub(crate) type Still = Box<dyn Fn() -> Result<()> + Send + Sync>;

enum To {
    Lake { table: Arc<dyn Table>, writer: Arc<dyn Writer>, lanes: Lanes },
    Temporary(Temporary),
}

impl Sink {
    /// Where this session may write there.
    pub(super) fn of(session: &mut Session, name: &Name) -> Result<Self> {
        let facts = session.facts()?;
        let temporary = facts.temporary.clone();
        if temporary.has(name) && temporary.view(&name.table).is_some() {
            return Err(target::not_for_views(&name.table, Action::Insert));
        }
        if temporary.has(name)
            && let Some(schema) = temporary.schema(&name.table)
        {
            let name = TableName::new(temporary::SCHEMA, &name.table);
            let to = To::Temporary(temporary);
            return Ok(Self { name, shown: Arc::clone(&schema), schema, to, object: None });
        }
        let (entry, writer) = target::table(&facts, name, Action::Insert)?;
        let (table, shown) = (target::of_lake(entry)?, insert::insertable(&facts, entry)?);
        let (name, schema) = (entry.object.name.clone(), Arc::clone(&entry.object.schema));
        let lanes = session.engine.shared.lanes.clone();
        let object = Some(entry.object.id);
        Ok(Self { name, schema, shown, to: To::Lake { table, writer, lanes }, object })
    }

    /// For rows that take their time.
    pub(super) fn still(&self, session: &Session) -> Still {
        self.object.map_or_else(|| Box::new(|| Ok(())) as Still, |object| still(session, object))
    }

    /// All rows or none; how many they were.
    pub(super) async fn append(self, rows: SendableRecordBatchStream) -> Result<u64> {
        match self.to {
            To::Lake { table, writer, lanes } => {
                lanes.run(async move { writer.append(table.as_ref(), rows).await }).await
            }
            To::Temporary(temporary) => {
                let parts = temporary.collect(rows).await?;
                temporary.append(&self.name.table, parts)
            }
        }
    }
}

fn still(session: &Session, object: ObjectId) -> Still {
    let (judges, principal) = (session.judges(), session.principal().clone());
    let engine = Arc::clone(&session.engine);
    // which columns it may fill is what it sees of them
    let rights = move || {
        let judges = judges.under(engine.world());
        let policies = judges.of(object);
        let session = policies.session(&principal)?;
        let Decision::Allow(_) = session.decide(object, Action::Insert) else { return None };
        Some(match session.decide(object, Action::Select) {
            Decision::Allow(grant) => Some(grant.fingerprint()),
            Decision::Deny => None,
        })
    };
    let before = rights();
    Box::new(move || if before.is_some() && rights() == before { Ok(()) } else { Err(policy_changed()) })
}
