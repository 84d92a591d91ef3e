//! The world as one transaction sees it: what it was built from, with the transaction's lakes in place of those that others
//! see. The policy in force is bound to it anew where tables or columns are others. It is never published.

use std::fmt;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::look::tables_differ;
use super::{Origin, World};
use crate::catalog::build::{Connected, assemble};
use crate::catalog::dataset::Dataset;
use crate::catalog::file::Draft as CatalogDraft;
use crate::catalog::{Body, Catalog, Fault};
use crate::engine::bodies;
use crate::error::{Error, Kind, Result};
use crate::policy::ObjectKind;
use crate::policy::baseline::Baselines;
use crate::policy::compile::Policies;
use crate::policy::file::Draft as PolicyDraft;
use crate::sources::Staging;

/// What a world was built from.
pub(super) struct MadeOf {
    pub(super) origin: Arc<Origin>,
    pub(super) catalog: Arc<CatalogDraft>,
    pub(super) connected: Vec<Connected>,
    pub(super) policy: PolicyDraft,
    pub(super) baselines: Baselines,
}

impl fmt::Debug for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeOf").finish_non_exhaustive()
    }
}

impl World {
    /// As the transaction sees it whose sources are `staged`.
    pub(crate) async fn over(&self, staged: &[Arc<dyn Staging>]) -> Result<Self> {
        let mut connected = vec![];
        for known in &self.made_of.connected {
            match staged.iter().map(|s| s.source()).find(|source| source.name() == known.name) {
                Some(source) => {
                    let tables = source.tables().await?;
                    let (schemas, revision) = (source.schemas(), known.revision);
                    let (name, hash) = (known.name.clone(), known.hash);
                    connected.push(Connected { name, hash, source, revision, tables: Ok(tables), schemas });
                }
                None => connected.push(known.clone()),
            }
        }
        let sources = connected.iter().map(|c| Arc::clone(&c.source)).collect();
        if tables_differ(&self.made_of.connected, &connected) {
            let (catalog, policies) = self.bound_to(connected).await?;
            return Ok(Self {
                catalog: Arc::new(catalog),
                policies: Arc::new(policies),
                sources,
                // they were planned over other columns, which may have had the same names
                reflections: Arc::default(),
                is_staged: true,
                ..self.again()
            });
        }
        Ok(Self { catalog: Arc::new(self.catalog.reading(&connected)), sources, is_staged: true, ..self.again() })
    }

    async fn bound_to(&self, connected: Vec<Connected>) -> Result<(Catalog, Policies)> {
        let (made_of, before) = (Arc::clone(&self.made_of), Arc::clone(&self.catalog));
        let generation = self.policies.generation();
        let work = move || {
            let plan = |dataset: &Dataset, catalog: &Catalog| bodies::raw(dataset, catalog);
            let (catalog, mut objects) =
                assemble(&made_of.catalog, &connected, &before, &made_of.origin.database, &plan)?;
            objects.in_force = made_of.policy.prints();
            objects.baselines = made_of.baselines.clone();
            let (policies, _) = Policies::compile(&made_of.policy, &objects, &made_of.origin.mask_key, generation)?;
            Ok((catalog, policies))
        };
        let bound = spawn_blocking(work).await.map_err(|e| Error::internal(format!("a world was not built: {e}")))?;
        bound.map_err(refused)
    }
}

impl Catalog {
    /// The same objects, read from these sources.
    fn reading(&self, connected: &[Connected]) -> Self {
        let mut catalog = self.clone();
        for source in connected {
            for table in source.tables.iter().flatten() {
                let entry = catalog.entries.get_mut(table.name());
                // of a name that two sources claim, the other's stands
                let is_own = |source: &str| {
                    catalog
                        .schemas
                        .get(&table.name().schema)
                        .is_some_and(|mounted| mounted.as_ref().is_some_and(|mounted| mounted.source.name() == source))
                };
                // a view is a text, and reads what its names lead to
                if let Some(entry) = entry.filter(|_| is_own(&source.name) && table.view().is_none()) {
                    entry.body = Body::Table(Arc::clone(table));
                    let id = entry.object.id;
                    for about in table.metadata_tables() {
                        let entry = catalog.entries.get_mut(about.name());
                        let is_about = |kind| matches!(kind, ObjectKind::MetadataOf { table, .. } if table == id);
                        if let Some(entry) = entry.filter(|entry| is_about(entry.object.kind)) {
                            entry.body = Body::Table(about);
                        }
                    }
                }
            }
            for mounted in catalog.schemas.values_mut().flatten().filter(|m| m.source.name() == source.name) {
                mounted.source = Arc::clone(&source.source);
            }
        }
        catalog
    }
}

/// What the files say does not fit what the transaction makes.
fn refused(faults: Vec<Fault>) -> Error {
    let text = "the catalog's or the policy's files do not allow this";
    let detail = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
    tracing::warn!(faults = %detail, "a transaction's change was refused");
    Error::new(Kind::InvalidDefinition, text).with_hint("An administrator finds the reason in the log.")
}
