//! Small files, and files of which much is deleted → few whole ones, with the same rows. Which files is `select`'s decision.
//! Writers go on meanwhile: what they delete of the files that are being replaced is deleted of the new ones in the same
//! commit (`translate`), and where that cannot be said the new files are given up.

mod select;
mod translate;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::FormatVersion;
use roaring::RoaringTreemap;

use super::super::manifest::FileKey;
use super::super::read::Reading;
use super::super::{Action, Also, BatchId, Lake, Lease, LiveFile, Outcome, Staged, Table, TableKey, Written};
use super::properties::Properties;
use super::{ATTEMPTS, PAUSE, ended};
use crate::error::Result;
use crate::jobs::Job;

pub use select::Selection;
pub(super) use select::bins;

/// Replaced by one commit: what is lost when the process dies, and how long others' deletes may pile up.
const COMMIT_BYTES: u64 = 512 << 20;
const COMMIT_FILES: usize = 4_000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub files_before: u64,
    pub files_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rows: u64,
    /// Files that were written for nothing: others replaced theirs first.
    pub given_up: u64,
}

/// Files that become others together, of one partition.
type Bin = Vec<LiveFile>;

/// A bin that was written again.
struct Rewritten {
    inputs: Vec<Input>,
    written: Written,
    /// The outputs hold the live rows of the inputs one after the other.
    in_order: bool,
}

/// A file to be replaced.
struct Input {
    /// As it is now.
    file: LiveFile,
    /// And as it was when it was read, with the rows that were deleted of it.
    was: LiveFile,
    deleted: RoaringTreemap,
}

impl Lake {
    /// `session` has one partition, or what is deleted meanwhile cannot be followed.
    pub async fn compact(
        self: &Arc<Self>,
        session: &dyn Session,
        key: &TableKey,
        selection: Selection,
        lease: Option<&Lease>,
        job: &Job,
    ) -> Result<Compacted> {
        let table = self.present(key).await?;
        table.writable()?;
        job.says("choosing files");
        let files = self.files(&table).await?;
        let bins = bins(files, Properties(table.properties()), selection);
        job.of(bins.iter().flatten().map(LiveFile::bytes).sum());
        let reading = self.read(&table, Arc::new(columns(&table))).await?;
        let (mut done, mut portion) = (Compacted::default(), vec![]);
        let mut bins = bins.into_iter().peekable();
        while let Some(bin) = bins.next() {
            job.says(format!("putting {} files together", bin.len()));
            let bytes = bin.iter().map(LiveFile::bytes).sum();
            portion.push(self.rewrite(session, &table, &reading, bin).await?);
            job.has_done(bytes);
            let inputs = || portion.iter().flat_map(|r: &Rewritten| &r.inputs);
            let bytes: u64 = inputs().map(|input| input.file.bytes()).sum();
            if bytes >= COMMIT_BYTES || inputs().count() >= COMMIT_FILES || bins.peek().is_none() {
                self.replace(session, &table, std::mem::take(&mut portion), lease, &mut done).await?;
            }
        }
        Ok(done)
    }

    async fn rewrite(&self, session: &dyn Session, table: &Table, reading: &Reading, bin: Bin) -> Result<Rewritten> {
        let planned = bin.iter().map(|file| file.0.clone()).collect();
        let (mut plans, mut inputs) = (vec![], vec![]);
        for (file, (scans, deleted)) in bin.into_iter().zip(reading.each(session, planned).await?) {
            plans.extend(scans);
            inputs.push(Input { was: file.clone(), file, deleted: deleted.unwrap_or_default() });
        }
        let rows = one_after_another(plans, session, Arc::new(columns(table)));
        let batch = BatchId::new();
        let written = self.write(table, batch, rows).await?;
        let live: u64 = inputs.iter().map(|input| input.live_rows()).sum();
        let spec = table.metadata.default_partition_spec_id();
        let in_order = session.config().target_partitions() == 1
            && table.metadata.default_sort_order().is_unsorted()
            && inputs.iter().all(|input| input.file.0.entry.spec_id == spec)
            && live == written.rows;
        Ok(Rewritten { inputs, written, in_order })
    }

    /// Commits the new files in place of the old ones, following what became of these meanwhile.
    async fn replace(
        self: &Arc<Self>,
        session: &dyn Session,
        made_on: &Table,
        mut portion: Vec<Rewritten>,
        lease: Option<&Lease>,
        done: &mut Compacted,
    ) -> Result<()> {
        let key = &made_on.key;
        let mut base = made_on.clone();
        // Now and then, what others deleted meanwhile.
        let mut deletes = vec![];
        for attempt in 0..ATTEMPTS {
            let mut actions: Vec<Action> = portion.iter().map(Rewritten::action).collect();
            actions.append(&mut deletes);
            if portion.is_empty() {
                return Ok(());
            }
            let staged = Staged::new(base.clone(), actions, BatchId::new());
            let also = Also { lease: lease.cloned(), puts: vec![] };
            match self.commit(vec![staged], &also).await? {
                Outcome::Committed(_) => {
                    portion.iter().for_each(|rewritten| done.count(rewritten));
                    return Ok(());
                }
                Outcome::Conflict(now) => {
                    let Some(now) = now.into_iter().next().flatten() else { break };
                    tokio::time::sleep(PAUSE * attempt).await;
                    let (kept, lost) = self.follow(session, made_on, &now, portion, &mut deletes).await?;
                    give_up(lost, done);
                    (portion, base) = (kept, now);
                }
                // Nobody knows whether a new file is the table's.
                other @ Outcome::Unknown(_) => return Err(ended(key, &other)),
                other @ Outcome::LeaseLost => {
                    give_up(portion, done);
                    return Err(ended(key, &other));
                }
            }
        }
        give_up(portion, done);
        Ok(())
    }

    /// The files that still stand for what they stood for, and deletes of the new files for what was deleted meanwhile.
    async fn follow(
        self: &Arc<Self>,
        session: &dyn Session,
        made_on: &Table,
        now: &Table,
        portion: Vec<Rewritten>,
        deletes: &mut Vec<Action>,
    ) -> Result<(Vec<Rewritten>, Vec<Rewritten>)> {
        let (was, is) = (&made_on.metadata, &now.metadata);
        let comparable = was.uuid() == is.uuid()
            && was.current_schema_id() == is.current_schema_id()
            && was.default_partition_spec_id() == is.default_partition_spec_id()
            && was.format_version() == is.format_version();
        if !comparable {
            return Ok((vec![], portion));
        }
        let live = self.files(now).await?;
        let live: HashMap<FileKey, LiveFile> = live.into_iter().map(|f| (f.0.entry.key(), f)).collect();
        let reading = self.read(now, Arc::new(columns(now))).await?;
        let (mut kept, mut lost) = (vec![], vec![]);
        let mut fallen: Vec<(LiveFile, RoaringTreemap)> = vec![];
        for mut rewritten in portion {
            match translate::fallen(&mut rewritten, &live, &reading, session).await? {
                Some(of_outputs) => {
                    fallen.extend(of_outputs);
                    kept.push(rewritten);
                }
                None => lost.push(rewritten),
            }
        }
        if !fallen.is_empty() {
            let deleted = self.delete_of_new(now, BatchId::new(), &fallen).await?;
            deletes.push(Action::Delete(deleted));
        }
        Ok((kept, lost))
    }
}

/// Drops the new files, which no table knows, and they delete themselves.
fn give_up(lost: Vec<Rewritten>, done: &mut Compacted) {
    let files: usize = lost.iter().map(|rewritten| rewritten.written.files.len()).sum();
    done.given_up = done.given_up.saturating_add(u64::try_from(files).unwrap_or(0));
}

impl Rewritten {
    fn action(&self) -> Action {
        let removed = self.inputs.iter().map(|input| input.file.clone()).collect();
        Action::Rewrite { removed, added: self.written.clone() }
    }
}

impl Input {
    fn live_rows(&self) -> u64 {
        self.file.0.data().record_count().saturating_sub(self.deleted.len())
    }
}

impl Compacted {
    fn count(&mut self, rewritten: &Rewritten) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.files_before += count(rewritten.inputs.len());
        self.files_after += count(rewritten.written.files.len());
        self.bytes_before += rewritten.inputs.iter().map(|input| input.file.bytes()).sum::<u64>();
        self.bytes_after += rewritten.written.bytes;
        self.rows += rewritten.written.rows;
    }
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files_before, files_after, bytes_before, bytes_after, .. } = self;
        write!(f, "{files_before} files of {bytes_before} bytes became {files_after} of {bytes_after}")
    }
}

/// The table's columns, and from format version 3 on what its rows are known by: they stay the rows they were.
fn columns(table: &Table) -> Schema {
    let own = table.schema();
    let lineage = match table.metadata.format_version() {
        FormatVersion::V1 | FormatVersion::V2 => vec![],
        FormatVersion::V3 => Table::lineage_columns().to_vec(),
    };
    Schema::new(own.fields().iter().cloned().chain(lineage).collect::<Vec<_>>())
}

fn one_after_another(
    plans: Vec<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
    schema: arrow::datatypes::SchemaRef,
) -> SendableRecordBatchStream {
    let context = session.task_ctx();
    let rows = futures::stream::iter(plans).map(move |plan| execute_stream(plan, Arc::clone(&context))).try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

#[cfg(test)]
mod tests;
