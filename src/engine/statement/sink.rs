//! What INSERT and COPY FROM write their rows to: a table of the lake, in one commit, or a temporary one of the session.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use super::name::Name;
use super::{insert, target};
use crate::engine::lanes::Lanes;
use crate::engine::session::Session;
use crate::engine::temporary::{self, Temporary};
use crate::error::Result;
use crate::policy::Action;
use crate::sources::{Table, Writer};
use crate::types::TableName;

pub(super) struct Sink {
    pub(super) name: TableName,
    /// All its columns, and those that the session sees.
    pub(super) schema: SchemaRef,
    pub(super) shown: SchemaRef,
    to: To,
}

enum To {
    Lake { table: Arc<dyn Table>, writer: Arc<dyn Writer>, lanes: Lanes },
    Temporary(Temporary),
}

impl Sink {
    /// Where this session may write there.
    pub(super) fn of(session: &mut Session, name: &Name) -> Result<Self> {
        let facts = session.facts()?;
        let temporary = facts.temporary.clone();
        if temporary.has(name)
            && let Some(schema) = temporary.schema(&name.table)
        {
            let name = TableName::new(temporary::SCHEMA, &name.table);
            return Ok(Self { name, shown: Arc::clone(&schema), schema, to: To::Temporary(temporary) });
        }
        let (entry, writer) = target::table(&facts, name, Action::Insert)?;
        let (table, shown) = (target::of_lake(entry)?, insert::insertable(&facts, entry)?);
        let (name, schema) = (entry.object.name.clone(), Arc::clone(&entry.object.schema));
        let lanes = session.engine.shared.lanes.clone();
        Ok(Self { name, schema, shown, to: To::Lake { table, writer, lanes } })
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
