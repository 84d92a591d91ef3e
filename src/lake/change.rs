//! New rows and rows that are gone → one commit. By the table's properties a file of which rows are gone is written anew
//! without them, or stays with a delete file beside it. Which rows they are is decided above.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, Schema};
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use iceberg::spec::FormatVersion;

use super::plan::PlannedFile;
use super::{Action, BatchId, Expected, Lake, LiveFile, Outcome, Part, Rows, Staged, Table, Written};
use crate::error::{Error, Result};

/// What a statement does to rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Delete,
    Update,
    Merge,
}

impl Verb {
    fn property(self) -> &'static str {
        match self {
            Self::Delete => "write.delete.mode",
            Self::Update => "write.update.mode",
            Self::Merge => "write.merge.mode",
        }
    }
}

impl Lake {
    /// Adds `rows` to the snapshot of `base` and takes from it what is `gone` when they have ended. `alone`: on that snapshot
    /// and no other, since what was not there counted too. `None`: there was nothing to do.
    pub async fn change(
        self: &Arc<Self>,
        session: &dyn Session,
        base: &Table,
        verb: Verb,
        rows: SendableRecordBatchStream,
        gone: &Mutex<Rows>,
        alone: bool,
    ) -> Result<Option<Outcome>> {
        let batch = BatchId::new();
        let written = self.write(base, batch, rows).await?;
        let gone = std::mem::take(&mut *gone.lock().unwrap_or_else(PoisonError::into_inner));
        let mut actions = self.taken_away(session, base, verb, batch, gone).await?;
        if written.rows > 0 {
            actions.push(Action::Append(written));
        }
        if actions.is_empty() {
            return Ok(None);
        }
        let expected = if alone { vec![Expected::Main { snapshot: base.snapshot_id() }] } else { vec![] };
        let staged = Staged { expected, ..Staged::new(base.clone(), actions, batch) };
        self.commit(vec![staged], &Default::default()).await.map(Some)
    }

    async fn taken_away(
        self: &Arc<Self>,
        session: &dyn Session,
        base: &Table,
        verb: Verb,
        batch: BatchId,
        gone: Rows,
    ) -> Result<Vec<Action>> {
        if gone.is_empty() {
            return Ok(vec![]);
        }
        let mut files = self.files(base).await?;
        files.retain(|file| gone.contains_key(file.path()));
        let planned: Vec<PlannedFile> = files.iter().map(|file| file.0.clone()).collect();
        let reading = self.read(base, base.schema()).await?;
        let deletes = reading.deletes(session, &planned).await?;
        let (mut whole, mut parts) = (vec![], vec![]);
        for (file, before) in files.into_iter().zip(&deletes.files) {
            let mut all = gone.get(file.path()).cloned().unwrap_or_default();
            all |= before.positions().cloned().unwrap_or_default();
            let is_whole = all.len() >= file.0.data().record_count();
            if is_whole { whole.push(file) } else { parts.push(file) }
        }
        let mut actions = vec![];
        let is_old = base.metadata.format_version() == FormatVersion::V1;
        let merges = base.properties().get(verb.property()).is_some_and(|mode| mode == "merge-on-read");
        let mut added = Written::default();
        if merges && !is_old {
            let mut gone = gone;
            let kept: HashSet<&str> = parts.iter().map(LiveFile::path).collect();
            gone.retain(|path, _| kept.contains(path.as_str()));
            if !gone.is_empty() {
                actions.push(Action::Delete(self.delete(session, base, batch, &gone).await?));
            }
        } else if !parts.is_empty() {
            added = self.without(session, base, &parts, gone).await?;
            whole.append(&mut parts);
        }
        if !whole.is_empty() {
            actions.push(Action::Overwrite { removed: whole, added });
        }
        Ok(actions)
    }

    /// The rows of these files that are not gone, written anew; they stay the rows they were.
    async fn without(
        self: &Arc<Self>,
        session: &dyn Session,
        base: &Table,
        files: &[LiveFile],
        gone: Rows,
    ) -> Result<Written> {
        let own = base.schema();
        let lineage = Table::lineage_columns().into_iter().filter(|_| base.has_lineage());
        let kept: Vec<_> = own.fields().iter().cloned().chain(lineage).collect();
        let width = kept.len();
        let kept_schema = Arc::new(Schema::new(kept.clone()));
        let read = Arc::new(Schema::new(kept.into_iter().chain(Table::place_columns()).collect::<Vec<_>>()));
        let reading =
            self.read(base, read).await?.part(Part::of_files(files.iter().map(|file| file.path().to_owned())));
        let plan = reading.scan(session, None, &[], None).await?;
        let rows = execute_stream(plan, session.task_ctx())?;
        let schema = Arc::clone(&kept_schema);
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let stays = staying(&batch, width, &gone)?;
            let columns: Vec<usize> = (0..width).collect();
            let left = filter_record_batch(&batch.project(&columns)?, &stays)?;
            Ok(left.with_schema(Arc::clone(&schema))?)
        });
        let rows = Box::pin(RecordBatchStreamAdapter::new(kept_schema, rows));
        self.write(base, BatchId::new(), rows).await
    }
}

/// Which rows are not gone; their file and position stand behind `width` columns.
fn staying(batch: &RecordBatch, width: usize, gone: &Rows) -> Result<BooleanArray> {
    let fault = || Error::internal("rows without their places");
    let column = |at: usize| batch.columns().get(at).ok_or_else(fault);
    let files = arrow::compute::cast(column(width)?, &arrow::datatypes::DataType::Utf8)?;
    let files = files.as_string_opt::<i32>().ok_or_else(fault)?;
    let positions = column(width + 1)?.as_primitive_opt::<Int64Type>().ok_or_else(fault)?;
    let mut known: Option<(&str, Option<&roaring::RoaringTreemap>)> = None;
    let mut stays = arrow::array::BooleanBufferBuilder::new(batch.num_rows());
    for row in 0..batch.num_rows() {
        let file = files.value(row);
        let of_file = match known {
            Some((path, of_file)) if path == file => of_file,
            _ => gone.get(file),
        };
        known = Some((file, of_file));
        let position = u64::try_from(positions.value(row)).map_err(|_| fault())?;
        stays.append(!of_file.is_some_and(|gone| gone.contains(position)));
    }
    Ok(BooleanArray::new(stays.finish(), None))
}
