//! Where the names of a lake's tables are kept, and the one point at which a commit happens. A catalog knows where a table's
//! metadata lie and never opens them; what a commit means, and whether it may be tried again, is `commit`'s.

pub(super) mod overlay;
mod rest;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::spec::TableMetadata;

use super::{Also, TableKey, TableRow};
use crate::error::{Error, Result};
use crate::metastore::{Metastore, PostgresConfig, RowKind, Swap, SwapError, Swapped};

pub use rest::Config as RestConfig;
pub(super) use rest::{Rest, says_the_same};

/// Where a lake's catalog is.
#[derive(Clone, Debug, Default)]
pub enum At {
    /// In the metastore's own file.
    #[default]
    Metastore,
    /// Iceberg's SQL catalog in PostgreSQL.
    Postgres(Box<PostgresConfig>),
    Rest(Box<RestConfig>),
    /// The file contradicts itself: what is wrong with it.
    Nowhere(String),
}

/// A catalog whose entries are names and the location of each table's newest metadata file.
///
/// **Atomicity.** All changes of one [`Catalog::swap`] and everything in its [`Also`] happen together or not at all, and
/// only where every row stands as the change says; two swaps of one row never both succeed. **Durability.** What a swap
/// has answered survives a power cut. **Unknown outcomes.** A swap whose answer is lost says so; the caller looks at
/// [`Catalog::location`] and sends the same swap again only where nothing has moved. The catalog itself never retries.
/// **Cancellation.** A swap that is dropped half-way may have happened.
#[async_trait]
pub(super) trait Catalog: fmt::Debug + Send + Sync {
    /// Moves whenever [`Catalog::tables`] or [`Catalog::namespaces`] would answer differently. `None`: it cannot tell.
    async fn revision(&self) -> Result<Option<u64>>;

    /// Tables and views, in order of name.
    async fn tables(&self) -> Result<Vec<TableRow>>;

    async fn namespaces(&self) -> Result<Vec<String>>;

    /// False where it is there already.
    async fn create_namespace(&self, namespace: &str) -> Result<bool>;

    /// 3F000 where there is none; refused while tables or views stand in it.
    async fn drop_namespace(&self, namespace: &str) -> Result<()>;

    /// What stands under a name, a table or a view: the two share their names.
    async fn row(&self, name: &TableKey) -> Result<Option<TableRow>>;

    /// Where a table's newest metadata lie, `None` where there is no such table.
    async fn location(&self, table: &TableKey) -> Result<Option<String>> {
        let row = self.row(table).await?;
        Ok(row.filter(|row| row.kind == RowKind::Table).map(|row| row.location))
    }

    /// Where a table's metadata lay before they came to `location`, while they are still there.
    async fn previous_location(&self, table: &TableKey, location: &str) -> Result<Option<String>>;

    /// Locations are names that it gives to what it hands out itself; they need not be paths of the lake's store.
    fn hands_out(&self) -> bool {
        false
    }

    /// What a location of it holds, of a table or a view, where it hands that out; `None`: it is a file in the store.
    async fn metadata(&self, _name: &TableKey, _location: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// A table is about to be made at this location: now is the time to be given keys to it.
    async fn announce(&self, _table: &TableKey, _metadata: &TableMetadata) -> Result<()> {
        Ok(())
    }

    /// How long others may read what a table has let go of without our hearing of it.
    fn unheard(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it has branches and a past of its own, so that a table's metadata do not tell of all that needs its files.
    async fn keeps_more(&self) -> Result<bool> {
        Ok(false)
    }

    /// Whether of two commits that both stand on a table without a snapshot only one happens.
    async fn fences_first(&self) -> Result<bool> {
        Ok(true)
    }

    /// Why these could never be swapped together, whatever the rows.
    fn refusal(&self, _swaps: &[Swap]) -> Option<Error> {
        None
    }

    async fn swap(&self, swaps: &[Swap], also: &Also) -> Result<Swapped, SwapError>;

    /// A swap whose answer was lost has happened, as a look has told: what [`Catalog::swap`] does behind its change and not
    /// within it is done now. May be called for a swap that did it already.
    async fn settle(&self, _swaps: &[Swap], _also: &Also) {}
}

/// Iceberg's SQL catalog of one name, in SQLite or PostgreSQL.
#[derive(Debug)]
pub(super) struct Sql {
    pub metastore: Arc<Metastore>,
    pub name: String,
}

#[async_trait]
impl Catalog for Sql {
    async fn revision(&self) -> Result<Option<u64>> {
        self.metastore.revision(&self.name).await.map(Some)
    }

    async fn tables(&self) -> Result<Vec<TableRow>> {
        self.metastore.tables(&self.name).await
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        self.metastore.namespaces(&self.name).await
    }

    async fn create_namespace(&self, namespace: &str) -> Result<bool> {
        self.metastore.create_namespace(&self.name, namespace).await
    }

    async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        self.metastore.drop_namespace(&self.name, namespace).await
    }

    async fn row(&self, name: &TableKey) -> Result<Option<TableRow>> {
        self.metastore.row(name).await
    }

    async fn previous_location(&self, table: &TableKey, location: &str) -> Result<Option<String>> {
        self.metastore.previous_location(table, location).await
    }

    async fn swap(&self, swaps: &[Swap], also: &Also) -> Result<Swapped, SwapError> {
        self.metastore.swap(swaps, also).await
    }
}
