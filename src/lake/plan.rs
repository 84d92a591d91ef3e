//! Snapshot and predicate → the data files that must be read, each with the deletes that apply to it. It prunes by what
//! metadata prove and never by more; it opens no data file and no delete file.

mod bounds;
mod transform;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use futures::{Stream, StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, ManifestContentType, ManifestFile, ManifestList, NestedFieldRef,
    TableMetadata,
};

use super::deletes::{Applied, Index};
use super::manifest::{Entries, Entry};
use super::{Lake, Table, schema};
use crate::error::{Error, Kind, Result};
use bounds::{Bounds, Known};

pub(super) use transform::after_prefix;

/// Manifests read at once.
const READ_AHEAD: usize = 16;

/// A live data file and the deletes that apply to it.
#[derive(Clone, Debug)]
pub(super) struct PlannedFile {
    pub entry: Arc<Entry>,
    pub deletes: Applied,
}

impl PlannedFile {
    pub(super) fn data(&self) -> &DataFile {
        &self.entry.file
    }
}

/// The files of a plan and what was left out, for metrics and tests.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub files: Vec<PlannedFile>,
    pub delete_files: usize,
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
    /// The current snapshot's manifests; `None` for a table without one.
    pub(super) async fn manifests(&self, table: &Table) -> Result<Option<Arc<ManifestList>>> {
        match table.metadata.current_snapshot() {
            Some(snapshot) => Ok(Some(self.list(table, snapshot).await?)),
            None => Ok(None),
        }
    }

    /// Every file that may hold a row for which `condition` is true.
    pub(super) async fn plan(
        &self,
        table: &Table,
        list: &ManifestList,
        condition: Option<&Condition>,
    ) -> Result<Planned> {
        let live = |m: &&ManifestFile| m.has_added_files() || m.has_existing_files();
        let manifests: Vec<&ManifestFile> = list.entries().iter().filter(live).collect();
        // Deletes are pruned like data: those of a partition apply to its rows alone, and those that apply anywhere are in
        // manifests of a spec without fields, of which nothing is known.
        let keep = match condition {
            Some(condition) => prune(condition, &table.metadata, &manifests, bounds::of_manifest)?,
            None => vec![true; manifests.len()],
        };
        let total = manifests.len();
        let kept: Vec<ManifestFile> =
            manifests.into_iter().zip(keep).filter(|(_, k)| *k).map(|(m, _)| m.clone()).collect();
        let mut planned =
            Planned { manifests_read: kept.len(), manifests_pruned: total - kept.len(), ..Default::default() };
        let mut deletes = Index::default();
        let mut read = std::pin::pin!(self.entries(kept));
        while let Some((content, entries)) = read.try_next().await? {
            for entry in entries.0.iter().filter(|e| e.is_live()) {
                let entry = Arc::clone(entry);
                match content {
                    ManifestContentType::Data => {
                        planned.files.push(PlannedFile { entry, deletes: Applied::default() });
                    }
                    ManifestContentType::Deletes => {
                        planned.delete_files += 1;
                        let anywhere = is_unpartitioned(&table.metadata, entry.spec_id);
                        deletes.add(entry, anywhere).map_err(|e| e.with_detail(format!("Table: {}", table.shown())))?;
                    }
                }
            }
        }
        if let Some(condition) = condition {
            let files: Vec<&PlannedFile> = planned.files.iter().collect();
            let mut keep = prune(condition, &table.metadata, &files, bounds::of_file)?.into_iter();
            let before = planned.files.len();
            planned.files.retain(|_| keep.next().unwrap_or(true));
            planned.files_pruned = before - planned.files.len();
        }
        for file in &mut planned.files {
            readable(table, file.data())?;
            file.deletes = deletes.of(&file.entry);
        }
        Ok(planned)
    }

    /// What is in these manifests, several of them read at once.
    fn entries(
        &self,
        manifests: Vec<ManifestFile>,
    ) -> impl Stream<Item = Result<(ManifestContentType, Arc<Entries>)>> + '_ {
        let read = manifests.into_iter().map(move |m| async move { Ok((m.content, self.manifest(&m).await?)) });
        futures::stream::iter(read).buffered(READ_AHEAD)
    }
}

/// A spec that the metadata do not have binds nothing.
fn is_unpartitioned(metadata: &TableMetadata, spec_id: i32) -> bool {
    metadata.partition_spec_by_id(spec_id).is_none_or(|spec| spec.is_unpartitioned())
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
        let of = condition.schema.field_with_name(c.name()).ok()?.data_type();
        // Shown as another type than the metadata's bounds are of, a variant as text, for one.
        field.field_type.as_primitive_type().filter(|p| schema::arrow_primitive(p) == *of)?;
        let known = containers.iter().map(|t| known(metadata, t, field)).collect();
        Some((c.name().to_string(), (of.clone(), known)))
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
