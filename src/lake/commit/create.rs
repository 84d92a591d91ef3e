//! Tables that come and go: made with their first rows in one commit, dropped by forgetting their name. Files of a
//! dropped table stay for the sweeper.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::{MetadataLocation, TableCreation};

use super::super::schema::{Columns, iceberg_schema};
use super::super::{BatchId, Described, Lake, Table, connect, shown};
use super::{Answer, Attempt, DELETE_METADATA, Staged};
use crate::error::{Error, Kind, Result};
use crate::metastore::{Also, Swap, Swapped, TableKey};

impl Lake {
    /// Makes a table of format version 2 and fills it, in one commit. 42P07 where the name is taken, 3F000 where the
    /// namespace is not there. Answers the rows written.
    pub async fn create_table(
        &self,
        key: &TableKey,
        columns: &Columns<'_>,
        rows: Option<SendableRecordBatchStream>,
    ) -> Result<(Table, u64)> {
        self.free(key).await?;
        let draft = self.draft(key, columns)?;
        let batch = BatchId::new();
        let written = match rows {
            Some(rows) => self.write(&draft, batch, rows).await?,
            None => Default::default(),
        };
        let count = written.rows;
        let mut builder = draft.metadata.as_ref().clone().into_builder(None);
        let mut snapshot_id = 0;
        if !written.files.is_empty() {
            let staged = Staged::append(draft.clone(), written, batch);
            let prepared = self.prepare(staged).await?;
            let snapshot = self.snapshot(&prepared, 0).await?;
            builder = builder.set_branch_snapshot(snapshot, "main").map_err(connect::broken)?;
            snapshot_id = prepared.snapshot_id;
        }
        let metadata = builder.build().map_err(connect::broken)?.metadata;
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        let table = self.put_metadata(key, metadata, location).await?;
        let insert = Swap::Insert { table: key.clone(), to: table.location.clone() };
        let attempt = Attempt { table, snapshot_id, expired: vec![] };
        match self.swap_until_known(&[insert], &Also::default(), Some(&attempt)).await? {
            Answer::Done => {
                let table = attempt.table.clone();
                self.remember(vec![attempt]).await;
                Ok((table, count))
            }
            Answer::Moved | Answer::LeaseLost => Err(taken(key)),
            Answer::Unknown => Err(unknown(key)),
        }
    }

    /// Forgets a table; 42P01 where there is none.
    pub async fn drop_table(&self, key: &TableKey) -> Result<()> {
        let also = Also::default();
        // Whoever commits to it meanwhile moves it; a drop does not care what it drops.
        for _ in 0..super::ATTEMPTS {
            let Some(from) = self.catalog.location(key).await? else { return Err(missing(key)) };
            let delete = Swap::Delete { table: key.clone(), from };
            match self.catalog.swap(&[delete], &also).await {
                Ok(Swapped::Done) => return Ok(()),
                Ok(Swapped::Moved | Swapped::LeaseLost) => (),
                Err(crate::metastore::SwapError::Before(error)) => return Err(error),
                // Asked again: a second drop finds nothing, and that is what was wanted.
                Err(crate::metastore::SwapError::Unknown(_)) => match self.catalog.location(key).await {
                    Ok(None) => return Ok(()),
                    _ => return Err(unknown(key)),
                },
            }
        }
        Err(busy(key))
    }

    async fn free(&self, key: &TableKey) -> Result<()> {
        if !self.namespaces().await?.contains(&key.namespace) {
            return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{}\" does not exist", key.namespace)));
        }
        match self.catalog.location(key).await? {
            Some(_) => Err(taken(key)),
            None => Ok(()),
        }
    }

    /// The table before it has a file. Its directory is its own for ever: a later table of the same name gets another.
    fn draft(&self, key: &TableKey, columns: &Columns<'_>) -> Result<Table> {
        let id = uuid::Uuid::now_v7().simple();
        let location = format!("{}/{}/{}-{id}", self.warehouse, directory(&key.namespace), directory(&key.name));
        let creation = TableCreation::builder()
            .name(key.name.clone())
            .location(location)
            .schema(iceberg_schema(columns)?)
            .properties([
                ("write.parquet.compression-codec".to_string(), "zstd".to_string()),
                (DELETE_METADATA.to_string(), "true".to_string()),
                // the format's default writes whole files anew for a row of theirs
                ("write.delete.mode".to_string(), "merge-on-read".to_string()),
                ("write.update.mode".to_string(), "merge-on-read".to_string()),
                ("write.merge.mode".to_string(), "merge-on-read".to_string()),
            ])
            .build();
        let built = TableMetadataBuilder::from_table_creation(creation).and_then(TableMetadataBuilder::build);
        let metadata: TableMetadata = built.map_err(connect::broken)?.metadata;
        let described = Described { metadata: Arc::new(metadata), beyond: Arc::default() };
        Ok(described.table(key, "", ""))
    }
}

/// A name as part of a path that every store and tool takes.
fn directory(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.chars().map(plain).take(64).collect()
}

fn taken(key: &TableKey) -> Error {
    Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", key.name))
}

fn missing(key: &TableKey) -> Error {
    Error::new(Kind::UndefinedTable, format!("table \"{}\" does not exist", key.name))
}

fn busy(key: &TableKey) -> Error {
    Error::new(Kind::Conflict, format!("table {} is being written by others", shown(key)))
}

fn unknown(key: &TableKey) -> Error {
    let message = format!("it is not known whether the change of table {} took place", shown(key));
    Error::new(Kind::SourceUnreachable, message).with_hint("Look before you send the statement again.")
}
