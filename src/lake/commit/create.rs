//! Tables that come and go: made with their first rows in one commit, dropped by forgetting their name. Files of a
//! dropped table stay.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use iceberg::TableCreation;
use iceberg::spec::{
    FormatVersion, NullOrder, Schema, SortDirection, SortField, SortOrder, TableMetadata, TableMetadataBuilder,
    Transform, UnboundPartitionSpec,
};

use super::super::schema::{Columns, iceberg_schema};
use super::super::write::Loose;
use super::super::{BatchId, Described, Lake, Table, connect, shown};
use super::{Answer, Attempt, DELETE_METADATA, Staged};
use crate::error::{Error, Kind, Result};
use crate::metastore::{self, Also, Swap, Swapped, TableKey};

/// What a new table has besides its columns.
#[derive(Clone, Debug, Default)]
pub struct Making {
    /// Over those that every table gets.
    pub properties: HashMap<String, String>,
    /// Columns, and the format's transforms of them: `identity`, `day`, `bucket[16]` and so on.
    pub partitioned_by: Vec<(String, String)>,
    pub sorted_by: Vec<SortedBy>,
}

#[derive(Clone, Debug)]
pub struct SortedBy {
    pub column: String,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Making {
    fn partitions(&self, schema: &Schema, key: &TableKey) -> Result<Option<UnboundPartitionSpec>> {
        match self.partitioned_by.as_slice() {
            [] => Ok(None),
            fields => {
                partition_spec(schema, &key.name, fields.iter().map(|(c, by)| (c.as_str(), by.as_str()))).map(Some)
            }
        }
    }

    fn order(&self, schema: &Schema, key: &TableKey) -> Result<Option<SortOrder>> {
        if self.sorted_by.is_empty() {
            return Ok(None);
        }
        let refused = |column: &str| {
            let text = format!("table \"{}\" cannot be sorted by column \"{column}\"", key.name);
            Error::new(Kind::InvalidTableDefinition, text)
        };
        let mut order = SortOrder::builder();
        order.with_order_id(1);
        for by in &self.sorted_by {
            let source_id = schema.field_id_by_name(&by.column).ok_or_else(|| undefined_column(&by.column))?;
            let direction = if by.descending { SortDirection::Descending } else { SortDirection::Ascending };
            let null_order = if by.nulls_first { NullOrder::First } else { NullOrder::Last };
            order.with_sort_field(SortField { source_id, transform: Transform::Identity, direction, null_order });
        }
        let first = self.sorted_by.first().map(|by| by.column.as_str()).unwrap_or_default();
        order.build(schema).map(Some).map_err(|e| refused(first).with_source(e))
    }
}

fn undefined_column(column: &str) -> Error {
    Error::new(Kind::UndefinedColumn, format!("column \"{column}\" named in key does not exist"))
}

/// See [`super::Action::partition_by`].
pub(super) fn partition_spec<'a>(
    schema: &Schema,
    table: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<UnboundPartitionSpec> {
    let mut spec = UnboundPartitionSpec::builder();
    for (column, by) in fields {
        let refused = || {
            let message = format!("column \"{column}\" cannot partition table {table} by {by}");
            Error::new(Kind::InvalidTableDefinition, message)
        };
        let id = schema.field_id_by_name(column).ok_or_else(|| undefined_column(column))?;
        let transform = by.parse::<Transform>().map_err(|e| refused().with_source(e))?;
        let source = schema.field_by_id(id).map(|field| field.field_type.as_ref());
        let fits = source.is_some_and(|source| transform.result_type(source).is_ok());
        if !fits {
            return Err(refused());
        }
        let name = match transform {
            Transform::Identity => column.to_string(),
            _ => format!("{column}_{}", by.replace('[', "_").trim_end_matches(']')),
        };
        spec = spec.add_partition_field(id, name, transform).map_err(|e| refused().with_source(e))?;
    }
    Ok(spec.build())
}
/// Properties of tables that are made here. Each commit writes a metadata file that names all snapshots, so together they
/// grow with the square of the commits, unless old ones go and snapshots expire.
const OF_OURS: [(&str, &str); 7] = [
    ("write.parquet.compression-codec", "zstd"),
    (DELETE_METADATA, "true"),
    ("write.metadata.previous-versions-max", "20"),
    (crate::lake::maintain::KEEPER_ENABLED, "true"),
    // the format's default writes whole files anew for a row of theirs
    ("write.delete.mode", "merge-on-read"),
    ("write.update.mode", "merge-on-read"),
    ("write.merge.mode", "merge-on-read"),
];

impl Lake {
    /// Makes a table of format version 2, or as `making` says, and fills it, in one commit. 42P07 where the name is taken, 3F000 where the
    /// namespace is not there. Answers the rows written.
    pub async fn create_table(
        &self,
        key: &TableKey,
        columns: &Columns<'_>,
        making: Making,
        rows: Option<SendableRecordBatchStream>,
    ) -> Result<(Table, u64)> {
        self.free(key).await?;
        let draft = self.draft(key, columns, making)?;
        self.catalog.announce(key, &draft.metadata).await?;
        let batch = BatchId::new();
        let written = match rows {
            Some(rows) => self.write(&draft, batch, rows).await?,
            None => Default::default(),
        };
        let (count, loose) = (written.rows, written.loose.clone());
        let mut builder = draft.metadata.as_ref().clone().into_builder(None);
        let mut snapshot_id = 0;
        // an empty one where the catalog would not keep two first ones apart
        if !written.files.is_empty() || !self.catalog.fences_first().await? {
            let staged = Staged::append(draft.clone(), written, batch);
            let prepared = self.prepare(staged).await?;
            let snapshot = self.snapshot(&prepared, 0).await?;
            builder = builder.set_branch_snapshot(snapshot, "main").map_err(connect::broken)?;
            snapshot_id = prepared.snapshot_id;
        }
        let metadata = builder.build().map_err(connect::broken)?.metadata;
        let table = self.put_metadata(key, metadata, None).await?;
        let insert = Swap::Insert { table: key.clone(), to: table.location.clone() };
        let attempt = Attempt { table, snapshot_id, expired: vec![] };
        match self.swap_until_known(&[insert], &Also::default(), Some(&attempt)).await? {
            Answer::Done => {
                let table = attempt.table.clone();
                self.remember(vec![attempt]).await;
                Ok((table, count))
            }
            Answer::Moved { unsure: true } | Answer::LeaseLost { unsure: true } => Err(taken(key)),
            Answer::Moved { unsure: false } | Answer::LeaseLost { unsure: false } => {
                self.discard(&[attempt]).await;
                loose.iter().for_each(Loose::let_go);
                Err(taken(key))
            }
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

    /// Another name, perhaps in another namespace; 42P01 where there is no such table, 42P07 where the name is taken, 3F000
    /// where the namespace is not there.
    pub async fn rename_table(&self, key: &TableKey, to: &TableKey) -> Result<()> {
        self.free(to).await?;
        for _ in 0..super::ATTEMPTS {
            let Some(at) = self.catalog.location(key).await? else { return Err(missing(key)) };
            let rename = Swap::Rename { table: key.clone(), at: at.clone(), to: to.clone() };
            match self.catalog.swap(&[rename], &Also::default()).await {
                Ok(Swapped::Done) => return Ok(()),
                Ok(Swapped::Moved | Swapped::LeaseLost) => self.free(to).await?,
                Err(crate::metastore::SwapError::Before(error)) => return Err(error),
                Err(crate::metastore::SwapError::Unknown(_)) => match self.catalog.location(to).await {
                    Ok(Some(now)) if now == at => return Ok(()),
                    _ => return Err(unknown(key)),
                },
            }
        }
        Err(busy(key))
    }

    /// 42P07 where a table or a view has the name, 3F000 where the namespace is not there.
    pub(in crate::lake) async fn free(&self, key: &TableKey) -> Result<()> {
        if !self.namespaces().await?.contains(&key.namespace) {
            return Err(metastore::undefined_schema(&key.namespace));
        }
        match self.catalog.row(key).await? {
            Some(_) => Err(taken(key)),
            None => Ok(()),
        }
    }

    /// The table before it has a file. Its directory is its own for ever: a later table of the same name gets another.
    fn draft(&self, key: &TableKey, columns: &Columns<'_>, mut making: Making) -> Result<Table> {
        let version = format_version(making.properties.remove(FORMAT_VERSION).as_deref())?;
        let id = uuid::Uuid::now_v7().simple();
        let location = format!("{}/{}/{}-{id}", self.warehouse, directory(&key.namespace), directory(&key.name));
        let own = OF_OURS.map(|(name, value)| (name.to_string(), value.to_string()));
        let schema = iceberg_schema(columns)?;
        let partitions = making.partitions(&schema, key)?;
        let order = making.order(&schema, key)?;
        let creation = TableCreation::builder()
            .name(key.name.clone())
            .location(location)
            .schema(schema)
            .partition_spec_opt(partitions)
            .sort_order_opt(order)
            .properties(own.into_iter().chain(making.properties))
            .format_version(version)
            .build();
        let built = TableMetadataBuilder::from_table_creation(creation).and_then(TableMetadataBuilder::build);
        let metadata: TableMetadata = built.map_err(connect::broken)?.metadata;
        let described = Described { metadata: Arc::new(metadata), beyond: Arc::default() };
        Ok(described.table(key, "", ""))
    }
}

/// Other engines' way to say it beside a table's properties; it is none.
pub const FORMAT_VERSION: &str = "format-version";

fn format_version(asked: Option<&str>) -> Result<FormatVersion> {
    match asked {
        None | Some("2") => Ok(FormatVersion::V2),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => {
            let text = format!("invalid value for parameter \"{FORMAT_VERSION}\": \"{other}\"");
            Err(Error::new(Kind::InvalidParameter, text).with_hint("Available values: 2, 3."))
        }
    }
}

/// A name as part of a path that every store and tool takes.
pub(in crate::lake) fn directory(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.chars().map(plain).take(64).collect()
}

pub(in crate::lake) fn taken(key: &TableKey) -> Error {
    Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", key.name))
}

fn missing(key: &TableKey) -> Error {
    Error::new(Kind::UndefinedTable, format!("table \"{}\" does not exist", key.name))
}

fn busy(key: &TableKey) -> Error {
    Error::new(Kind::Conflict, format!("table {} is being written by others", shown(key)))
}

pub(in crate::lake) fn unknown(key: &TableKey) -> Error {
    unknown_outcome(&format!("the change of table {}", shown(key)))
}

/// PostgreSQL's own words for a writer that came too late; what it did may be sent again.
pub(crate) fn overtaken() -> Error {
    Error::new(Kind::Conflict, "could not serialize access due to concurrent update")
}

pub(crate) fn unknown_outcome(what: &str) -> Error {
    let message = format!("it is not known whether {what} took place");
    Error::new(Kind::SourceUnreachable, message).with_hint("Look before you send the statement again.")
}
