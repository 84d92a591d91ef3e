//! Tables that are copied, for the first time or anew: the mark that says so in the lake, the moment at which the copy stands,
//! and the changes that are passed over until then. It reads none of their rows.

use std::collections::BTreeMap;

use super::copy::Copies;
use super::place::Lsn;
use super::rows::{self, When};
use super::server::{self, Exported};
use super::tables::Table;
use super::{Begun, Copying, Progress, Slot};
use crate::error::{Error, Result};
use crate::ingest::origin::Part;

impl Slot {
    /// From here on until its copy, changes of the table are passed over, and its place says so.
    pub(super) fn wait(&self, begun: &mut Begun, number: usize, has_rows: bool) -> Result<()> {
        if has_rows && !self.setup.options.copy {
            return Err(self.cannot_follow(number));
        }
        begun.first.push(self.mark(begun, number, has_rows)?);
        begun.waiting.insert(number);
        self.pass(begun, number, u64::MAX);
        Ok(())
    }

    /// Its rows are not what the log tells of any more, and nothing but a copy could say what they are.
    pub(super) fn cannot_follow(&self, number: usize) -> Error {
        let name = self.tables.get(number).map(Table::full_name).unwrap_or_default();
        let text = format!("table {name} has another key or other values by now, and `copy` is off");
        server::gone(&self.setup.pipeline, text, "With `copy = true` it is copied again.")
    }

    pub(super) fn pass(&self, begun: &mut Begun, number: usize, before: u64) {
        begun.from.get_mut(number).into_iter().for_each(|from| *from = before);
        begun.following.iter_mut().for_each(|following| following.follower.pass(number, before));
    }

    /// A part that says that the table is in the midst of a copy, and that the rows it had are gone.
    pub(super) fn mark(&self, begun: &Begun, number: usize, has_rows: bool) -> Result<Part> {
        let table = self.tables.get(number).ok_or_else(|| Error::internal("a table without a number"))?;
        let place = self.standing(&begun.system, begun.lsn, true, &[table])?;
        let when = When { at: chrono::Utc::now().timestamp_micros(), lsn: begun.lsn.saturating_sub(1), sequence: 0 };
        if !has_rows {
            let none = arrow::array::RecordBatch::new_empty(table.rows_schema());
            return Ok(rows::copied(number, none, "", when, place));
        }
        let mut rows = rows::Rows::new(number, table)?;
        rows.truncate(when).map_err(|refused| refused.error)?;
        let part = rows.take(&self.source_of(table), Some(place))?;
        part.ok_or_else(|| Error::internal("a change that makes no part"))
    }

    /// A moment to copy at, which is after all that was streamed so far.
    pub(super) async fn moment(&self, version: u32, wanted: &[usize]) -> Result<Exported> {
        let mut wire = server::replication(&self.setup.dialer).await?;
        let create = self.setup.options.create;
        server::publish(&mut wire, &self.setup.publication, &self.tables, create, version).await?;
        let name = format!("{}_{:08x}", self.setup.slot, rand::random::<u32>());
        server::create_slot(wire, &name, true, false, version, &self.numbered(wanted)).await
    }

    /// Begins the copy of tables at this moment; without copies they simply begin there.
    pub(super) async fn copy(&mut self, begun: &mut Begun, moment: Exported, wanted: &[usize]) -> Result<()> {
        let at = moment.at;
        for number in wanted {
            self.pass(begun, *number, at.0);
        }
        let now = chrono::Utc::now().timestamp_micros();
        let tables: Vec<(usize, &Table)> =
            wanted.iter().filter_map(|number| Some((*number, self.tables.get(*number)?))).collect();
        let copied = if self.setup.options.copy { tables.as_slice() } else { &[] };
        let connections = self.setup.options.copy_connections;
        let copies = Copies::begin(&self.setup.dialer, moment, copied, connections, begun.system.version).await?;
        let mut progress = BTreeMap::new();
        for (number, table) in &tables {
            let of = Progress { table: table.full_name(), rows: 0, estimate: table.estimate, done: false };
            progress.insert(*number, of);
            if !self.setup.options.copy {
                begun.first.push(self.whole_table(begun, *number, at)?);
                self.recopy.remove(number);
            }
        }
        begun.copying = Some(Copying { copies, at, moment: now, progress });
        Ok(())
    }

    pub(super) fn numbered(&self, wanted: &[usize]) -> Vec<&Table> {
        wanted.iter().filter_map(|number| self.tables.get(*number)).collect()
    }

    pub(super) fn source_of(&self, table: &Table) -> String {
        format!("{}/{}", self.setup.slot, table.full_name())
    }

    /// A part without rows, which says that the table is there whole.
    pub(super) fn whole_table(&self, begun: &Begun, number: usize, at: Lsn) -> Result<Part> {
        let table = self.tables.get(number).ok_or_else(|| Error::internal("a table without a number"))?;
        let place = self.standing(&begun.system, at.0, false, &[table])?;
        let none = arrow::array::RecordBatch::new_empty(table.rows_schema());
        Ok(rows::copied(number, none, "", When { at: 0, lsn: 0, sequence: 0 }, place))
    }
}
