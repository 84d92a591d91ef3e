//! Where the stream begins and which tables are copied first, judged from what the lake has and what the source still has.
//! It reads no change.

use std::collections::BTreeSet;

use super::place::{Lsn, Standing};
use super::tables::Table;
use super::wire::literal;
use super::{BINARY, Begun, Slot, State, server};
use crate::error::{Error, Kind, Result};
use crate::ingest::origin::Kept;

impl Slot {
    /// As [`super::Origin::begin`].
    pub(super) async fn begin_at(&mut self, kept: &Kept) -> Result<()> {
        self.state = State::Idle;
        if kept.tables.len() != self.tables.len() {
            return Err(Error::internal("places of other tables than the origin gave"));
        }
        let own = kept.tables.iter().map(|p| p.as_ref().map(Standing::of).transpose()).collect::<Result<Vec<_>>>()?;
        let checkpoint = kept.checkpoint.as_ref().map(Standing::of).transpose()?;
        let mut wire = server::replication(&self.setup.dialer).await?;
        let system = server::system(&mut wire).await?;
        server::check_level(&mut wire).await?;
        let known: Vec<Standing> = own.iter().flatten().chain(&checkpoint).cloned().collect();
        server::check_places(&mut wire, &system, &self.setup.pipeline, &known).await?;
        if let Some(other) = known.iter().find(|s| s.slot != self.setup.slot) {
            let text =
                format!("the lake was filled by slot \"{}\", the pipeline now has \"{}\"", other.slot, self.setup.slot);
            return Err(server::gone(&self.setup.pipeline, text, "Name the slot that it was."));
        }
        let create = self.setup.options.create;
        server::publish(&mut wire, &self.setup.publication, &self.tables, create, system.version).await?;

        // What each table has: the checkpoint speaks for those that do not say otherwise.
        let has = |(number, (table, own)): (usize, (&Table, &Option<Standing>))| {
            let own = own.as_ref().filter(|own| !own.copying && !self.recopy.contains(&number))?;
            let newer = checkpoint.as_ref().filter(|checkpoint| checkpoint.lsn >= own.lsn);
            // One that the checkpoint does not list was not followed up to it, or is another one of the name.
            let known = newer.unwrap_or(own).tables.get(&table.full_name())?;
            (!table.may_be_rewritten_since(*known)).then_some(())?;
            Some(own.lsn.max(checkpoint.as_ref().map(|c| c.lsn).unwrap_or_default()))
        };
        let followed = checkpoint.iter().flat_map(|c| c.tables.keys().chain(&c.left));
        let is_known = |name: &&String| self.tables.iter().any(|table| table.full_name() == **name);
        self.left = followed.filter(|name| !is_known(name)).cloned().collect();
        let has: Vec<Option<Lsn>> = self.tables.iter().zip(&own).enumerate().map(has).collect();
        let there = |n: &usize| self.tables.get(*n).is_some_and(|t| !t.gone);
        let wanted: Vec<usize> =
            (0..has.len()).filter(|n| has.get(*n).is_some_and(Option::is_none)).filter(there).collect();
        let was_followed = |n: &&usize| own.get(**n).is_some_and(|own| own.as_ref().is_some_and(|own| !own.copying));
        if let Some(number) = wanted.iter().find(was_followed).filter(|_| !self.setup.options.copy) {
            return Err(self.cannot_follow(*number));
        }
        let least = checkpoint.as_ref().map(|c| c.lsn).or(has.iter().flatten().min().copied());

        let (moment, lsn) = match server::slot(&mut wire, &self.setup.slot).await? {
            None if !known.is_empty() => {
                let text = format!("slot \"{}\" of source \"{}\" is gone", self.setup.slot, self.setup.dialer.source);
                return Err(server::gone(&self.setup.pipeline, text, "Changes may be lost."));
            }
            None if !create => {
                let text = format!("source \"{}\" has no slot \"{}\"", self.setup.dialer.source, self.setup.slot);
                let sql =
                    format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput');", literal(&self.setup.slot));
                return Err(Error::new(Kind::UndefinedObject, text).with_hint(format!("Run on it: {sql}")));
            }
            None => {
                let (name, failover) = (&self.setup.slot, self.setup.options.failover);
                let tables = self.numbered(&wanted);
                let moment = server::create_slot(wire, name, false, failover, system.version, &tables).await?;
                let at = moment.at;
                (Some(moment), at)
            }
            Some(slot) => {
                if let Some(why) = slot.lost {
                    let text = format!(
                        "slot \"{}\" of source \"{}\" was invalidated",
                        self.setup.slot, self.setup.dialer.source
                    );
                    let hint = "Raise max_slot_wal_keep_size on the source.";
                    return Err(server::gone(&self.setup.pipeline, text, hint).with_detail(why));
                }
                let lsn = least.unwrap_or(slot.confirmed);
                if slot.confirmed > lsn {
                    let text = format!(
                        "slot \"{}\" of source \"{}\" is ahead of the lake",
                        self.setup.slot, self.setup.dialer.source
                    );
                    let detail = format!("the slot is at {}, the lake at {lsn}", slot.confirmed);
                    let why = "Somebody else read it: changes are lost to the lake.";
                    return Err(server::gone(&self.setup.pipeline, text, why).with_detail(detail));
                }
                (None, lsn)
            }
        };
        let binary = system.version >= BINARY && self.tables.iter().flat_map(|t| &t.columns).all(|c| c.binary);
        let mut begun = Begun {
            lsn: lsn.0,
            from: has.iter().map(|lsn| lsn.map_or(0, |lsn| lsn.0)).collect(),
            copying: None,
            following: None,
            waiting: BTreeSet::new(),
            first: vec![],
            binary,
            system,
        };
        for number in &wanted {
            // Something is there, be it half a copy: its rows are taken away first.
            if own.get(*number).is_some_and(Option::is_some) && self.setup.options.copy {
                begun.first.push(self.mark(&begun, *number, true)?);
            }
        }
        if !wanted.is_empty() {
            let moment = match moment {
                Some(moment) => moment,
                None => self.moment(begun.system.version, &wanted).await?,
            };
            self.copy(&mut begun, moment, &wanted).await?;
        }
        self.confirmed = self.confirmed.max(begun.lsn);
        self.state = State::Begun(Box::new(begun));
        Ok(())
    }
}
