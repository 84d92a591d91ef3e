//! Catalog: an immutable snapshot of names → objects. It hands out nothing that can be scanned: a session gets
//! [`crate::policy::Sealed`] sources, made by the engine's resolver from an [`Entry`].

pub mod build;
pub mod dataset;
pub mod file;
pub mod information_schema;
pub mod pg_catalog;
pub mod visible;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::policy::Object;
use crate::sources;
use crate::types::TableName;

/// Names → objects at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    pub database: String,
    pub entries: BTreeMap<TableName, Entry>,
    /// Schema → the source that mounts it, `None` where only datasets stand.
    pub schemas: BTreeMap<String, Option<Mounted>>,
    /// Moves with every new snapshot.
    pub generation: u64,
}

/// A source as the catalog knows it.
#[derive(Debug, Clone)]
pub struct Mounted {
    pub source: Arc<dyn sources::Source>,
    /// It did not answer: its tables are 08006.
    pub down: bool,
}

/// One table or dataset.
#[derive(Debug, Clone)]
pub struct Entry {
    pub object: Arc<Object>,
    pub body: Body,
    /// Stable, ≥ 16384, from the object's identity.
    pub oid: u32,
}

/// What stands behind a name.
#[derive(Debug, Clone)]
pub enum Body {
    Table(Arc<dyn sources::Table>),
    Dataset(Arc<dataset::Dataset>),
}

impl Catalog {
    /// 08006 naming the source where the schema's source did not answer; `None` where there is no such table.
    pub fn find(&self, name: &TableName) -> Result<Option<&Entry>> {
        if let Some(entry) = self.entries.get(name) {
            return Ok(Some(entry));
        }
        match self.schemas.get(&name.schema) {
            Some(Some(mounted)) if mounted.down => Err(unreachable_source(mounted.source.name())),
            _ => Ok(None),
        }
    }

    /// Schemas that stand in the catalog, in order.
    pub fn schema_names(&self) -> BTreeSet<&str> {
        self.schemas.keys().map(String::as_str).collect()
    }
}

/// The one wording for a source that does not answer.
pub fn unreachable_source(name: &str) -> Error {
    Error::new(Kind::SourceUnreachable, format!("source \"{name}\" cannot be reached")).with_hint(
        "The other sources work. The server asks this one again by itself; its administrator may look at /readyz.",
    )
}
