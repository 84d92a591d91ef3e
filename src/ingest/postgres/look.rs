//! Questions beside the stream, over a connection that is kept: the tables as the source has them now, and how they differ from
//! what was known. It reads no row.

use tokio::time::Instant;

use super::tables::{self, Table};
use super::trouble::{Trouble, unreachable};
use super::wire::{Session, Wire};
use super::{Begun, FILTERS, Slot};
use crate::error::{Kind, Result};

impl Slot {
    /// One value, over a connection that is kept; a connection that broke is tried anew once.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let kept = self.side.is_some();
        let mut wire = self.side().await?;
        match wire.value(sql).await {
            Ok(value) => {
                self.side = Some(wire);
                Ok(value)
            }
            Err(Trouble::Broken(_)) if kept => {
                let mut wire = self.side().await?;
                let value = wire.value(sql).await.map_err(|t| wire.error(t))?;
                self.side = Some(wire);
                Ok(value)
            }
            Err(trouble) => Err(wire.error(trouble)),
        }
    }

    async fn side(&mut self) -> Result<Wire> {
        match self.side.take() {
            Some(wire) => Ok(wire),
            None => Wire::open(&self.setup.dialer, Session::Plain).await,
        }
    }

    /// The tables as the source has them at this moment.
    pub(super) async fn look(&mut self) -> Result<Vec<Table>> {
        self.looked = Some(Instant::now());
        let kept = self.side.is_some();
        let mut wire = self.side().await?;
        let found = match self.look_by(&mut wire).await {
            // The server was restarted while the connection lay idle.
            Err(error) if kept && error.kind() == Kind::SourceUnreachable => {
                wire = self.side().await?;
                self.look_by(&mut wire).await?
            }
            found => found?,
        };
        self.side = Some(wire);
        Ok(found)
    }

    /// The key of one table, without a look at all others.
    pub(super) async fn key_of(&mut self, oid: u32) -> Result<Vec<i16>> {
        let told = self.ask(&tables::key_of(oid)).await?.unwrap_or_default();
        let fault = || unreachable(&self.setup.dialer.source).with_source("a key of pg_index cannot be read");
        tables::numbers(&told).ok_or_else(fault)
    }

    async fn look_by(&self, wire: &mut Wire) -> Result<Vec<Table>> {
        let scale = |table: &str, column: &str| {
            let (schema, name) = table.split_once('.')?;
            let schema = self.setup.mounted.get(schema).map_or(schema, String::as_str);
            self.setup.numeric_scale.get(&format!("{schema}.{name}.{column}")).copied()
        };
        let mut found = tables::read(wire, &self.setup.patterns, &self.tables, &scale).await?;
        let version = wire.value("SHOW server_version_num").await.map_err(|t| wire.error(t))?;
        if version.and_then(|v| v.parse::<u32>().ok()).is_some_and(|version| version >= FILTERS) {
            tables::restrict(wire, &self.setup.publication, &mut found).await?;
        }
        Ok(found)
    }

    /// A table that was followed is not among these.
    pub(super) fn lacks_one(&self, found: &[Table]) -> bool {
        let is_there = |table: &Table| found.iter().any(|f| f.oid == table.oid && f.full_name() == table.full_name());
        self.tables.iter().any(|table| !table.gone && !is_there(table))
    }

    /// Those of `found` that are not as they are known.
    pub(super) fn differ<'t>(&self, found: &'t [Table]) -> Vec<&'t Table> {
        let known =
            |table: &Table| self.tables.iter().any(|t| t.same_layout(table) && t.full_name() == table.full_name());
        found.iter().filter(|table| !known(table)).collect()
    }

    /// The tables are these from now on. Their numbers stay, those that are new come at the end.
    pub(super) fn know(&mut self, found: Vec<Table>) {
        let were_gone: Vec<bool> =
            self.tables.iter_mut().map(|table| std::mem::replace(&mut table.gone, true)).collect();
        for table in found {
            // By its name, which is the lake's too: one that was renamed is another table, and is copied as such.
            let number = self.tables.iter().position(|t| t.full_name() == table.full_name());
            match number.and_then(|number| Some((number, self.tables.get_mut(number)?))) {
                Some((number, known)) => {
                    // one that is back may have changed under another name
                    if table.rewritten_since(known) || were_gone.get(number).is_some_and(|gone| *gone) {
                        self.recopy.insert(number);
                    }
                    *known = table;
                }
                None => self.tables.push(table),
            }
        }
        self.others = false;
    }

    /// Tables have changed amid the stream, all of whose changes so far were taken. Those that are new, or whose rows were
    /// rewritten, wait for their copy.
    pub(super) fn reshape(&mut self, begun: &mut Begun, found: Vec<Table>) -> Result<()> {
        let before = self.tables.len();
        self.know(found);
        begun.from.resize(self.tables.len(), u64::MAX);
        if let Some(following) = &mut begun.following {
            following.follower.reshape(&self.tables)?;
        }
        let again = std::mem::take(&mut self.recopy);
        for number in (before..self.tables.len()).chain(again.into_iter().filter(|number| *number < before)) {
            let has_rows = match self.tables.get(number).map(Table::full_name) {
                Some(name) if number >= before => self.left.remove(&name),
                Some(_) | None => number < before,
            };
            self.wait(begun, number, has_rows)?;
        }
        Ok(())
    }
}
