//! Snapshot and predicate → the data files that must be read. It prunes by what metadata prove and never by more; it
//! opens no data file. A table with live deletes is refused here.

mod bounds;
mod transform;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestContentType, ManifestEntryRef, ManifestFile,
    ManifestList, NestedFieldRef, TableMetadata,
};

use super::{Lake, Table};
use crate::error::{Error, Kind, Result};
use bounds::{Bounds, Known};

pub(super) use transform::after_prefix;

/// Manifests read at once.
const READ_AHEAD: usize = 16;

/// A live data file and the spec its partition value belongs to.
#[derive(Clone, Debug)]
pub(super) struct PlannedFile {
    pub entry: ManifestEntryRef,
    pub spec_id: i32,
}

impl PlannedFile {
    pub(super) fn data(&self) -> &DataFile {
        self.entry.data_file()
    }
}

/// The files of a plan and what was left out, for metrics and tests.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub files: Vec<PlannedFile>,
    pub manifests_read: usize,
    pub manifests_pruned: usize,
    pub files_pruned: usize,
}

/// A condition over the table's columns, under their user's names.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub predicate: Arc<dyn PhysicalExpr>,
    pub schema: SchemaRef,
}

impl Lake {
    /// The current snapshot's manifests; `None` for a table without one. 0A000 while any delete is live.
    pub(super) async fn manifests(&self, table: &Table) -> Result<Option<Arc<ManifestList>>> {
        let Some(snapshot) = table.metadata.current_snapshot() else { return Ok(None) };
        let list = self.list(table, snapshot).await?;
        let live = |m: &ManifestFile| m.has_added_files() || m.has_existing_files();
        if list.entries().iter().any(|m| m.content == ManifestContentType::Deletes && live(m)) {
            let message =
                format!("table {} has deleted rows, and reading such a table is not supported", table.shown());
            return Err(Error::new(Kind::Unsupported, message)
                .with_hint("Rewrite its data files with the engine that writes it; then it can be read here."));
        }
        Ok(Some(list))
    }

    /// Every file that may hold a row for which `condition` is true.
    pub(super) async fn plan(
        &self,
        table: &Table,
        list: &ManifestList,
        condition: Option<&Condition>,
    ) -> Result<Planned> {
        let manifests: Vec<&ManifestFile> = list
            .entries()
            .iter()
            .filter(|m| m.content == ManifestContentType::Data && (m.has_added_files() || m.has_existing_files()))
            .collect();
        let keep = match condition {
            Some(condition) => prune(condition, &table.metadata, &manifests, bounds::of_manifest)?,
            None => vec![true; manifests.len()],
        };
        let total = manifests.len();
        let kept: Vec<ManifestFile> =
            manifests.into_iter().zip(keep).filter(|(_, k)| *k).map(|(m, _)| m.clone()).collect();
        let mut planned =
            Planned { manifests_read: kept.len(), manifests_pruned: total - kept.len(), ..Default::default() };
        let read =
            kept.into_iter().map(|m| async move { Ok::<_, Error>((m.partition_spec_id, self.manifest(&m).await?)) });
        let mut read = futures::stream::iter(read).buffered(READ_AHEAD);
        while let Some((spec_id, manifest)) = read.try_next().await? {
            let live = manifest.entries().iter().filter(|e| e.is_alive());
            planned.files.extend(live.map(|e| PlannedFile { entry: Arc::clone(e), spec_id }));
        }
        if let Some(condition) = condition {
            let files: Vec<&PlannedFile> = planned.files.iter().collect();
            let mut keep = prune(condition, &table.metadata, &files, bounds::of_file)?.into_iter();
            let before = planned.files.len();
            planned.files.retain(|_| keep.next().unwrap_or(true));
            planned.files_pruned = before - planned.files.len();
        }
        for file in &planned.files {
            readable(table, file.data())?;
        }
        Ok(planned)
    }
}

/// What a cached manifest weighs in memory, by estimate: six small maps an entry.
pub(super) fn weight(manifest: &Manifest) -> u64 {
    let maps = |f: &DataFile| {
        f.column_sizes().len()
            + f.value_counts().len()
            + f.null_value_counts().len()
            + f.nan_value_counts().len()
            + 6 * (f.lower_bounds().len() + f.upper_bounds().len())
    };
    manifest.entries().iter().map(|e| 600 + e.file_path().len() as u64 + 32 * maps(e.data_file()) as u64).sum()
}

/// Which containers (manifests or files) may hold a matching row. A condition that cannot be used keeps them all.
fn prune<T>(
    condition: &Condition,
    metadata: &TableMetadata,
    containers: &[&T],
    known: impl Fn(&TableMetadata, &T, &NestedFieldRef) -> Known,
) -> Result<Vec<bool>> {
    let all = || Ok(vec![true; containers.len()]);
    let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&condition.schema));
    let Ok(pruning) = builder.try_build(Arc::clone(&condition.predicate)) else { return all() };
    if containers.is_empty() || (pruning.always_true() && pruning.literal_guarantees().is_empty()) {
        return all();
    }
    let columns = collect_columns(&condition.predicate).into_iter().filter_map(|c| {
        let field = metadata.current_schema().as_struct().field_by_name(c.name())?;
        let known = containers.iter().map(|t| known(metadata, t, field)).collect();
        Some((c.name().to_string(), (condition.schema.field_with_name(c.name()).ok()?.data_type().clone(), known)))
    });
    let bounds = Bounds { containers: containers.len(), columns: columns.collect() };
    // Statistics that do not fit the predicate are no reason to fail the statement: read everything.
    Ok(pruning.prune(&bounds).unwrap_or_else(|_| vec![true; containers.len()]))
}

fn readable(table: &Table, file: &DataFile) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("table {} has {what}, which is not supported", table.shown());
        Err(Error::new(Kind::Unsupported, message))
    };
    if file.content_type() != DataContentType::Data {
        return refuse("a delete file among its data files");
    }
    match file.file_format() {
        DataFileFormat::Parquet if file.key_metadata().is_some() => refuse("encrypted data files"),
        DataFileFormat::Parquet => Ok(()),
        DataFileFormat::Avro => refuse("data files in Avro"),
        DataFileFormat::Orc => refuse("data files in ORC"),
        DataFileFormat::Puffin => refuse("data files in Puffin"),
    }
}

#[cfg(test)]
mod tests;
