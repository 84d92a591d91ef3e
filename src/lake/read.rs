//! A pinned table → a DataFusion scan over its Parquet files. Which files are read, and which deletes apply to them, is
//! `plan`'s decision; the scan itself is `scan`'s.

mod adapt;
mod deletes;
mod guard;
mod hot;
mod live;
mod reshape;
mod scan;
mod variant;

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use iceberg::spec::ManifestList;
use object_store::path::Path;
use roaring::RoaringTreemap;

use super::difference::Part;
use super::plan::{Condition, PlannedFile};
use super::tail::Tail;
use super::{Lake, Table};
use crate::error::Result;
use crate::metastore::Pin;
use crate::scan::{Scanned, scan_by};
use crate::types::{Reads, Share};
pub use guard::GuardExec;
use hot::HotExec;
use reshape::Ids;
pub use scan::{grouped, holds_floats};

/// One table at one snapshot, as a provider. It answers every filter `Inexact`: it may use one, never own it.
#[derive(Debug)]
pub struct Reading {
    lake: Arc<Lake>,
    table: Table,
    manifests: Option<Arc<ManifestList>>,
    schema: SchemaRef,
    ids: Arc<Ids>,
    /// Files of the snapshot stay while this reading lives, or a plan of it.
    pin: Option<Arc<Pin>>,
    /// Paths of every data file that a scan of this reading was planned over.
    planned: Arc<Mutex<HashSet<Path>>>,
    /// Read alone, where not all is.
    only: Option<Part>,
    /// What is gone of the snapshot, and what came beside it.
    tail: Option<Arc<Tail>>,
}

impl Lake {
    /// `schema` is the table's own ([`Table::schema`]), with whatever field metadata the caller adds, and the columns of
    /// [`Table::lineage_columns`] if they are wanted.
    pub async fn read(self: &Arc<Self>, table: &Table, schema: SchemaRef) -> Result<Reading> {
        let manifests = self.manifests(table).await?;
        let ids = Arc::new(Ids::of(&table.metadata, &table.beyond)?);
        let pin = table.snapshot_id().map(|snapshot| Arc::new(self.metastore.pin(table.uuid(), snapshot)));
        let (lake, table, planned) = (Arc::clone(self), table.clone(), Arc::default());
        Ok(Reading { lake, table, manifests, schema, ids, pin, planned, only: None, tail: None })
    }
}

impl Lake {
    /// As [`Lake::read`], with what the table's pipeline has taken in beside its last commit.
    pub async fn read_fresh(self: &Arc<Self>, tail: &Arc<Tail>, schema: SchemaRef) -> Result<Reading> {
        let reading = self.read(&tail.table, schema).await?;
        Ok(Reading { tail: Some(Arc::clone(tail)), ..reading })
    }
}

impl Reading {
    /// Of these rows alone.
    pub fn part(&self, part: Part) -> Self {
        Self {
            lake: Arc::clone(&self.lake),
            table: self.table.clone(),
            manifests: self.manifests.clone(),
            schema: Arc::clone(&self.schema),
            ids: Arc::clone(&self.ids),
            pin: self.pin.clone(),
            planned: Arc::default(),
            only: Some(part),
            tail: None,
        }
    }

    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Knows the leaves of its own scans: data source nodes over nothing but files planned here, and the rows of its tail.
    pub fn reads(&self) -> Reads {
        let (planned, store) = (Arc::clone(&self.planned), self.lake.store.url().clone());
        let tail = self.tail.clone();
        Arc::new(move |leaf| {
            if let Some(hot) = (leaf as &dyn Any).downcast_ref::<HotExec>() {
                return tail.as_ref().filter(|tail| hot.is_of(tail)).map(|_| Share::WHOLE);
            }
            let source = leaf.downcast_ref::<DataSourceExec>()?;
            let files = (source.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()?;
            let planned = planned.lock().expect("no panic under the lock");
            let mut all = files.file_groups.iter().flat_map(|g| g.iter());
            let its = files.object_store_url == store && all.all(|f| planned.contains(&f.object_meta.location));
            its.then_some(Share::WHOLE)
        })
    }
}

impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    scan_by!(scanned);
}

impl Reading {
    fn scanned<'a>(
        &'a self,
        session: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
            let tail = self.tail.as_deref();
            let files = match &self.manifests {
                Some(_) if tail.is_some_and(|tail| tail.truncated) => vec![],
                Some(manifests) => {
                    let condition = self.condition(session, filters)?;
                    let mut planned = self.lake.plan(&self.table, manifests, condition.as_ref()).await?;
                    if let Some(only) = &self.only {
                        planned.files.retain(|file| only.has(file.data().file_path()));
                    }
                    tracing::debug!(
                        table = %self.table.shown(),
                        manifests_read = planned.manifests_read,
                        manifests_pruned = planned.manifests_pruned,
                        files_read = planned.files.len(),
                        files_pruned = planned.files_pruned,
                        delete_files = planned.delete_files,
                        "planned a lake scan"
                    );
                    planned.files
                }
                None => vec![],
            };
            let deletes = self.deletes(session, &files).await?;
            self.lake.store.register(session.runtime_env());
            // Rows are dropped above, so a limit counts only where nothing is filtered.
            let limit = limit.filter(|_| filters.is_empty());
            let mut scans = self.scans(session, &wanted, files, deletes, limit)?;
            if let Some(tail) = self.tail.as_ref().filter(|tail| tail.hot.iter().any(|hot| !hot.is_empty())) {
                let schema = Arc::new(self.schema.project(&wanted)?);
                scans.push(Arc::new(HotExec::new(Arc::clone(tail), wanted.clone(), schema)));
            }
            match <[_; 1]>::try_from(scans) {
                Ok([only]) => Ok(only),
                Err(none) if none.is_empty() => {
                    let nothing = EmptyExec::new(Arc::new(self.schema.project(&wanted)?));
                    Ok(Arc::new(nothing) as Arc<dyn ExecutionPlan>)
                }
                Err(several) => UnionExec::try_new(several),
            }
        })
    }
}

impl Reading {
    /// The live rows of each file by itself, and what is deleted of it. With one partition a session reads them in the
    /// order of the file.
    pub(super) async fn each(
        &self,
        session: &dyn Session,
        files: Vec<PlannedFile>,
    ) -> Result<Vec<(Vec<Arc<dyn ExecutionPlan>>, Option<RoaringTreemap>)>> {
        let wanted: Vec<usize> = (0..self.schema.fields().len()).collect();
        self.lake.store.register(session.runtime_env());
        let mut plans = vec![];
        for file in files {
            let files = vec![file];
            let deletes = self.deletes(session, &files).await?;
            let deleted = deletes.files.first().and_then(|deletes| deletes.positions().cloned());
            plans.push((self.scans(session, &wanted, files, deletes, None)?, deleted));
        }
        Ok(plans)
    }

    fn condition(&self, session: &dyn Session, filters: &[Expr]) -> PlanResult<Option<Condition>> {
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
        let named = DFSchema::try_from(self.schema.as_ref().clone())?;
        let predicate = session.create_physical_expr(filter, &named)?;
        Ok(Some(Condition { predicate, schema: Arc::clone(&self.schema) }))
    }
}

#[cfg(test)]
mod tests;
