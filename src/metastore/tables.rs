//! The rows of Iceberg's SQL catalog as values: which table stands where, and the swap that is the lake's only commit
//! point. Locations are compared as the strings they are; none is ever opened. The SQL is each database's own.

use super::{Lease, Metastore, on};
use crate::error::{Error, Kind, Result};

/// One table of one catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey {
    pub catalog: String,
    pub namespace: String,
    pub name: String,
}

/// What a row names: `iceberg_type`, as Java's `JdbcCatalog` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    Table,
    View,
}

/// A table or a view, and where its newest metadata lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    pub namespace: String,
    pub name: String,
    pub location: String,
    pub kind: RowKind,
}

/// One change of one row. Several are applied together or not at all.
#[derive(Clone, Debug)]
pub enum Swap {
    /// The row must not be there.
    Insert { table: TableKey, to: String },
    /// As [`Swap::Insert`], for a view. Tables and views share their names. Both move and go by the same changes.
    InsertView { table: TableKey, to: String },
    /// The row must stand at `from`.
    Update { table: TableKey, from: String, to: String },
    /// The row must stand at `from`.
    Delete { table: TableKey, from: String },
    /// The row must stand at `at`, and none at `to`.
    Rename { table: TableKey, at: String, to: TableKey },
    /// Nothing changes: the row must stand at `at`, or not be there.
    Hold { table: TableKey, at: Option<String> },
    /// It must not be there.
    CreateNamespace { catalog: String, namespace: String },
    /// It must be there, without a table.
    DropNamespace { catalog: String, namespace: String },
}

impl Swap {
    /// The names whose rows it speaks of.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableKey> {
        let (first, second) = match self {
            Self::Insert { table, .. }
            | Self::InsertView { table, .. }
            | Self::Update { table, .. }
            | Self::Delete { table, .. }
            | Self::Hold { table, .. } => (Some(table), None),
            Self::Rename { table, to, .. } => (Some(table), Some(to)),
            Self::CreateNamespace { .. } | Self::DropNamespace { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// What else happens, or must hold, in the transaction of a swap.
#[derive(Clone, Debug, Default)]
pub struct Also {
    /// The swap happens only while this lease is held at this epoch.
    pub lease: Option<Lease>,
    /// Values put by name, such as an ingest checkpoint.
    pub puts: Vec<(String, Vec<u8>)>,
}

/// How a swap ended, if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    Done,
    /// Another writer came first; nothing was changed.
    Moved,
    /// The lease is not ours any more; nothing was changed.
    LeaseLost,
}

/// Why a swap did not answer.
#[derive(Debug)]
pub enum SwapError {
    /// Nothing was changed.
    Before(Error),
    /// The commit was sent and its answer lost: it may or may not have happened.
    Unknown(Error),
}

impl Metastore {
    /// Every table and view of a catalog, in order of name.
    pub async fn tables(&self, catalog: &str) -> Result<Vec<TableRow>> {
        on!(self, tables(catalog))
    }

    /// Where a table's newest metadata lie, `None` where there is no such table.
    pub async fn location(&self, table: &TableKey) -> Result<Option<String>> {
        let row = self.row(table).await?;
        Ok(row.filter(|row| row.kind == RowKind::Table).map(|row| row.location))
    }

    /// What stands under a name, a table or a view.
    pub async fn row(&self, table: &TableKey) -> Result<Option<TableRow>> {
        on!(self, row(table))
    }

    /// Where a table's metadata lay before they came to `location`, while they are still there.
    pub async fn previous_location(&self, table: &TableKey, location: &str) -> Result<Option<String>> {
        on!(self, previous_location(table, location))
    }

    /// Moves whenever [`Metastore::tables`] or [`Metastore::namespaces`] of this catalog would answer differently,
    /// whoever committed.
    pub async fn revision(&self, catalog: &str) -> Result<u64> {
        on!(self, revision(catalog))
    }

    /// Every namespace of a catalog, with or without tables.
    pub async fn namespaces(&self, catalog: &str) -> Result<Vec<String>> {
        on!(self, namespaces(catalog))
    }

    /// False where it exists already.
    pub async fn create_namespace(&self, catalog: &str, namespace: &str) -> Result<bool> {
        on!(self, create_namespace(catalog, namespace))
    }

    /// Forgets an empty namespace: 3F000 where there is none, 2BP01 while tables stand in it.
    pub async fn drop_namespace(&self, catalog: &str, namespace: &str) -> Result<()> {
        on!(self, drop_namespace(catalog, namespace))
    }

    /// All swaps and everything in `also`, or nothing.
    pub async fn swap(&self, swaps: &[Swap], also: &Also) -> Result<Swapped, SwapError> {
        on!(self, swap(&in_order(swaps), also))
    }
}

/// A namespace is made before what stands in it, and goes after.
fn in_order(swaps: &[Swap]) -> Vec<&Swap> {
    let mut in_order: Vec<&Swap> = swaps.iter().collect();
    in_order.sort_by_key(|swap| match swap {
        Swap::Hold { .. } | Swap::CreateNamespace { .. } => 0,
        Swap::Insert { .. }
        | Swap::InsertView { .. }
        | Swap::Update { .. }
        | Swap::Delete { .. }
        | Swap::Rename { .. } => 1,
        Swap::DropNamespace { .. } => 2,
    });
    in_order
}

impl RowKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
        }
    }

    /// `word`: as the column has it, which older clients leave NULL.
    pub(super) fn of(word: Option<&str>) -> Self {
        match word {
            Some("VIEW") => Self::View,
            Some(_) | None => Self::Table,
        }
    }
}

/// 3F000.
pub(crate) fn undefined_schema(namespace: &str) -> Error {
    Error::new(Kind::UndefinedSchema, format!("schema \"{namespace}\" does not exist"))
}

/// 2BP01.
pub(crate) fn schema_in_use(namespace: &str) -> Error {
    let message = format!("cannot drop schema {namespace} because other objects depend on it");
    Error::new(Kind::DependentObjects, message).with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// 0A000 for a view where an older client made the catalog without a column for kinds.
pub(super) fn no_views() -> Error {
    Error::new(Kind::Unsupported, "this lake's catalog cannot hold views").with_hint(
        "It was made by an older client. An administrator adds the column: ALTER TABLE iceberg_tables ADD COLUMN \
         iceberg_type VARCHAR(5), and starts the server again.",
    )
}
