//! Tables of a lake that no session can name: what the server keeps for itself beside the tables of others. They stand in a
//! namespace that is never mounted, so that no schema leads to them. What is in them is said by whoever fills them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use super::columns::{is_uuid, shown_schema, type_property};
use super::maintained::Maintained;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Action, Also, BatchId, Columns, Expected, Lake, Lease, Making, Outcome, Staged, TableKey};
use crate::sources::Pinned;
use crate::types::Version;

/// Of a lake's namespaces the one that is no schema, whatever a source's file says.
pub(crate) const NAMESPACE: &str = "lakegate_reflections";

/// One of them, as a commit left it.
#[derive(Clone, Debug)]
pub struct Unnamed {
    lake: Arc<Lake>,
    table: lake::Table,
}

/// New rows for one.
pub struct Filling {
    pub rows: SendableRecordBatchStream,
    /// Whether the rows that are there go in the same commit.
    pub replaces: bool,
    /// Whoever has it is the only one to fill the table.
    pub lease: Lease,
}

impl Maintained {
    fn unnamed_key(&self, name: &str) -> TableKey {
        self.lake.key(NAMESPACE, name)
    }

    /// `None`: there is no such table.
    pub async fn unnamed(&self, name: &str) -> Result<Option<Unnamed>> {
        let table = self.lake.table(&self.unnamed_key(name)).await?;
        Ok(table.map(|table| Unnamed { lake: Arc::clone(&self.lake), table }))
    }

    pub async fn all_unnamed(&self) -> Result<Vec<String>> {
        let rows = self.lake.tables().await?;
        Ok(rows.into_iter().filter(|row| row.namespace == NAMESPACE).map(|row| row.name).collect())
    }

    /// Makes one that has no rows. 42P07 where it is there.
    pub async fn make_unnamed(&self, name: &str, schema: &SchemaRef, mut making: Making) -> Result<Unnamed> {
        self.lake.create_namespace(NAMESPACE).await?;
        let columns = Columns { schema, is_uuid: &is_uuid, all_nullable: true };
        // columns get their ids in their order
        let types = (1..).zip(schema.fields()).map(|(id, field)| type_property(id, field));
        making.properties.extend(types.filter_map(|(name, value)| Some((name, value?))));
        let (table, _) = self.lake.create_table(&self.unnamed_key(name), &columns, making, None).await?;
        Ok(Unnamed { lake: Arc::clone(&self.lake), table })
    }

    /// With its files, which nobody else can name: they go once no statement reads them, by [`Maintained::sweep_dropped`].
    pub async fn drop_unnamed(&self, name: &str) -> Result<()> {
        match self.lake.drop_whole(&self.unnamed_key(name)).await {
            Err(error) if error.kind() == Kind::UndefinedTable => Ok(()),
            dropped => dropped,
        }
    }

    /// Deletes the files of those that were dropped `after` that long ago and that nobody reads; how many.
    pub async fn sweep_dropped(&self, after: Duration) -> Result<u64> {
        self.lake.sweep_dropped(after).await
    }
}

impl Unnamed {
    pub fn properties(&self) -> &HashMap<String, String> {
        self.table.properties()
    }

    pub fn schema(&self) -> SchemaRef {
        shown_schema(&self.table)
    }

    /// As [`lake::Table::is_as_left_by`]; for no batch, whether it has no rows.
    pub async fn is_as_left_by(&self, batch: Option<&str>) -> Result<bool> {
        match batch {
            Some(batch) => Ok(self.table.is_as_left_by(batch)),
            None => Ok(self.lake.files(&self.table).await?.is_empty()),
        }
    }

    pub async fn pinned(&self) -> Result<Pinned> {
        let reading = self.lake.read(&self.table, self.schema()).await?;
        let version = Version::Snapshot(self.table.snapshot_id());
        Ok(Pinned { version, reads: reading.reads(), provider: Arc::new(reading) })
    }

    /// Rows and bytes of its files.
    pub async fn size(&self) -> Result<(u64, u64)> {
        let files = self.lake.files(&self.table).await?;
        Ok(files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows(), bytes + file.bytes())))
    }

    /// One commit, after the last row has come, with the properties that `properties` says of the batch. 40001 where it is
    /// not as it was, or the lease is another's.
    pub async fn fill(
        &self,
        filling: Filling,
        properties: impl FnOnce(Option<String>) -> Result<HashMap<String, String>> + Send,
    ) -> Result<Self> {
        let Filling { rows, replaces, lease } = filling;
        let removed = if replaces { self.lake.files(&self.table).await? } else { vec![] };
        let batch = BatchId::new();
        let added = self.lake.write(&self.table, batch, rows).await?;
        let is_nothing = added.rows == 0 && removed.is_empty();
        let mut staged = Staged::new(self.table.clone(), vec![], batch);
        if !is_nothing {
            staged.actions.push(Action::Overwrite { removed, added });
        }
        // what adds nothing leaves the batch before it
        let named = if is_nothing && !replaces { self.last_batch() } else { (!is_nothing).then(|| batch.to_string()) };
        staged.properties = properties(named)?;
        staged.expected.push(Expected::Main { snapshot: self.table.snapshot_id() });
        self.sent(staged, lease).await
    }

    fn last_batch(&self) -> Option<String> {
        let newest = self.table.snapshot_id()?;
        self.table.summary(newest)?.get(lake::BATCH).cloned()
    }

    /// Says something else of the same rows.
    pub async fn say(&self, properties: HashMap<String, String>, lease: Lease) -> Result<Self> {
        let mut staged = Staged::new(self.table.clone(), vec![], BatchId::new());
        staged.properties = properties;
        staged.expected.push(Expected::Main { snapshot: self.table.snapshot_id() });
        self.sent(staged, lease).await
    }

    async fn sent(&self, staged: Staged, lease: Lease) -> Result<Self> {
        let also = Also { lease: Some(lease), puts: vec![] };
        match self.lake.commit(vec![staged], &also).await? {
            Outcome::Committed(mut tables) => match tables.pop() {
                Some(table) => Ok(Self { lake: Arc::clone(&self.lake), table }),
                None => Err(Error::internal("a commit of no table")),
            },
            Outcome::Conflict(_) | Outcome::LeaseLost => Err(lake::overtaken()),
            Outcome::Unknown(batch) => Err(lake::unknown_outcome("the refresh").with_source(format!("batch {batch}"))),
        }
    }
}
