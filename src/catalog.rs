//! Catalog: an immutable snapshot of names → objects. It hands out nothing that can be scanned: a session gets
//! [`crate::policy::Sealed`] sources, made by the engine's resolver from an [`Entry`].

pub mod build;
pub mod dataset;
pub mod file;
pub mod information_schema;
pub mod jobs;
pub mod peers;
pub mod pg_catalog;
pub mod pipelines;
pub mod provenance;
pub mod reflection;
pub mod reflections;
pub mod visible;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::policy::Object;
use crate::policy::compile::Objects;
use crate::sources;
use crate::types::{ObjectId, TableName};

pub use file::Fault;

/// Names → objects at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub database: String,
    pub entries: BTreeMap<TableName, Entry>,
    /// Schema → the source that mounts it, `None` where only datasets stand.
    pub schemas: BTreeMap<String, Option<Mounted>>,
    /// Schemas whose source has not answered yet.
    pub unanswered: BTreeSet<String>,
    /// Tables that pipelines will make, as [`Objects::awaited`].
    pub awaited: Vec<(String, String)>,
    /// Dataset → every table and dataset that its body reads, at any depth.
    pub reads: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// Dataset → those that its body names.
    pub names: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// Views whose text cannot be planned: they stand there, and nobody reads them.
    pub broken: BTreeSet<ObjectId>,
    /// Text of datasets that could be planned once and are left out for what they read.
    pub dormant: BTreeMap<TableName, String>,
    /// What sources have and this catalog does not show, each with its reason. The rest is sound.
    pub left_out: Vec<Fault>,
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

    /// What policies are bound to; for a set of lines none of which was in force before.
    pub fn objects(&self) -> Objects {
        Objects {
            objects: self.entries.values().map(|e| e.object.as_ref().clone()).collect(),
            schemas: self.schemas.keys().cloned().collect(),
            unanswered: self.unanswered.clone(),
            sources: self.queried().map(|source| source.name().to_owned()).collect(),
            awaited: self.awaited.clone(),
            ..Objects::default()
        }
    }

    /// Sources that run texts as they stand. Each mounts a schema, whether it answers or not.
    pub fn queried(&self) -> impl Iterator<Item = &Arc<dyn sources::Source>> {
        let mounted = self.schemas.values().flatten().map(|mounted| &mounted.source);
        mounted.filter(|source| source.answers_queries())
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
