//! One read of an origin that has begun: rows of the copies under way, else changes from the stream, up to where a commit may be.
//! It commits nothing, and does not say when a table is copied.

use tokio::time::{Instant, sleep, timeout_at};

use super::copy::Copied;
use super::follow::{Follower, Limit, Pause};
use super::pgoutput::Relation;
use super::place::Lsn;
use super::rows::{self, When};
use super::tables::Table;
use super::trouble::unreachable;
use super::wal::Stream;
use super::wire::literal;
use super::{Begun, Following, SLOT_ASK, SLOT_FREE, Slot, server};
use crate::error::{Error, Kind, Result};
use crate::ingest::origin::{Room, Taken};
use crate::types::quoted;

/// What became of a relation that was not as it was known.
enum Stranger {
    /// It was so once, and its rows are read as of then.
    Settled,
    /// The tables are these now.
    Reshaped(Vec<Table>),
    /// Its rows cannot be read as the table's.
    Recopied(usize),
}

impl Slot {
    pub(super) async fn copied(&mut self, begun: &mut Begun, room: Room, until: Instant) -> Result<Taken> {
        let Some(mut copying) = begun.copying.take() else { return Ok(Taken::default()) };
        let mut taken = Taken { parts: std::mem::take(&mut begun.first), ..Taken::default() };
        let mut bytes = 0;
        let mut ended = false;
        while taken.records < room.changes && bytes < room.bytes {
            let next = match timeout_at(until, copying.copies.next()).await {
                Ok(next) => next?,
                Err(_) => break,
            };
            match next {
                // It is another table of its name by now, or its rows are others, and it is copied once more: what is left of
                // this copy would stand there as that one's.
                Some(Copied::Rows { table: number, .. } | Copied::Whole { table: number })
                    if begun.waiting.contains(&number) => {}
                Some(Copied::Rows { table: number, rows }) => {
                    let Some(table) = self.tables.get(number) else { continue };
                    let place = self.standing(&begun.system, copying.at.0, true, &[table])?;
                    let progress = copying.progress.get_mut(&number);
                    let before = progress.as_ref().map_or(0, |p| p.rows);
                    let count = u64::try_from(rows.num_rows()).unwrap_or(u64::MAX);
                    progress.into_iter().for_each(|p| p.rows = p.rows.saturating_add(count));
                    taken.records += rows.num_rows();
                    bytes += rows.get_array_memory_size();
                    // Before everything that the stream brings: no commit stands within the record before this one.
                    let first = When { at: copying.moment, lsn: copying.at.0.saturating_sub(1), sequence: before };
                    taken.parts.push(rows::copied(number, rows, &self.source_of(table), first, place));
                }
                Some(Copied::Whole { table: number }) => {
                    copying.progress.get_mut(&number).into_iter().for_each(|p| p.done = true);
                    taken.parts.push(self.whole_table(begun, number, copying.at)?);
                    self.recopy.remove(&number);
                }
                None => {
                    ended = true;
                    break;
                }
            }
        }
        taken.place = Some(self.whole(begun, begun.lsn)?);
        if !ended {
            begun.copying = Some(copying);
        }
        Ok(taken)
    }

    pub(super) async fn followed(&mut self, begun: &mut Begun, room: Room, until: Instant) -> Result<Taken> {
        let mut following = match begun.following.take() {
            Some(following) => following,
            None => self.start(begun).await?,
        };
        let limit = Limit { records: room.changes.max(1), bytes: room.bytes.max(1) };
        let mut parts = std::mem::take(&mut begun.first);
        // Tables that have changed, once that is found out.
        let mut others = None;
        let mut recopied = None;
        let mut fed = false;
        loop {
            match following.follower.run(limit).map_err(|error| self.with_way_on(error))? {
                Pause::Full => break,
                Pause::Strange(relation) => match self.stranger(&mut following.follower, &relation).await? {
                    Stranger::Settled => {}
                    Stranger::Reshaped(found) => {
                        others = Some(found);
                        break;
                    }
                    Stranger::Recopied(number) => {
                        recopied = Some(number);
                        break;
                    }
                },
                Pause::Dry if fed && Instant::now() >= until => break,
                Pause::Dry => {
                    fed = true;
                    if let Some(portion) = following.stream.ready() {
                        following.follower.feed(portion?);
                        continue;
                    }
                    let done = !following.follower.is_empty() || self.others || !begun.waiting.is_empty();
                    if following.follower.boundary().is_some() && (done || !parts.is_empty()) {
                        if self.others {
                            others = Some(self.look().await?);
                        }
                        break;
                    }
                    match timeout_at(until, following.stream.next()).await {
                        Ok(Some(portion)) => following.follower.feed(portion?),
                        Ok(None) => return Err(unreachable(&self.setup.dialer.source).with_source("the stream ended")),
                        Err(_) => break,
                    }
                }
            }
        }
        let (changes, dead, records) = following.follower.take()?;
        parts.extend(changes);
        let boundary = following.follower.boundary();
        begun.lsn = boundary.unwrap_or(begun.lsn);
        begun.following = Some(following);
        let reshaped = others.is_some();
        others.map(|found| self.reshape(begun, found)).transpose()?;
        recopied.map(|number| self.wait(begun, number, true)).transpose()?;
        // Marks go with what they are marks for: a commit of this says that these tables lack what is passed over.
        parts.append(&mut begun.first);
        let place = boundary.map(|lsn| self.whole(begun, lsn)).transpose()?;
        Ok(Taken { parts, dead, records, place, reshaped, ..Taken::default() })
    }

    /// A message's relation is not the table as it is known. Either what we know is old, or the message is.
    async fn stranger(&mut self, follower: &mut Follower, relation: &Relation) -> Result<Stranger> {
        // Most of those that do not say their key have the one that they had.
        if let Some(known) = follower.but_for_its_key(relation).map(Table::key_numbers)
            && self.key_of(relation.oid).await? == known
            && follower.settle(relation)
        {
            return Ok(Stranger::Settled);
        }
        let found = self.look().await?;
        if !self.differ(&found).is_empty() || self.lacks_one(&found) {
            return Ok(Stranger::Reshaped(found));
        }
        if follower.settle(relation) {
            return Ok(Stranger::Settled);
        }
        let number = follower.number(relation).ok_or_else(|| Error::internal("a stranger that is no table of ours"))?;
        Ok(Stranger::Recopied(number))
    }

    async fn start(&self, begun: &Begun) -> Result<Following> {
        let binary = if begun.binary { ", binary 'true'" } else { "" };
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {}{binary})",
            quoted(&self.setup.slot),
            Lsn(begun.lsn),
            literal(&quoted(&self.setup.publication))
        );
        let until = Instant::now() + SLOT_FREE;
        let wire = loop {
            let mut wire = server::replication(&self.setup.dialer).await?;
            match wire.stream(&sql).await {
                Ok(()) => break wire,
                // Our last connection is on its way out, or somebody else reads.
                Err(trouble) if trouble.code() == "55006" && Instant::now() < until => sleep(SLOT_ASK).await,
                Err(trouble) if trouble.code() == "55006" => {
                    let text =
                        format!("slot \"{}\" of source \"{}\" is read by somebody else", self.setup.slot, wire.source);
                    let hint = "See active_pid in its pg_replication_slots; a slot is for one pipeline alone.";
                    return Err(Error::new(Kind::SourceFailed, text)
                        .with_hint(hint)
                        .with_source(format!("{trouble:?}")));
                }
                Err(trouble) => return Err(wire.error(trouble)),
            }
        };
        let follower =
            Follower::new(&self.setup.dialer.source, &self.setup.slot, &self.tables, begun.from.clone(), begun.lsn)?;
        Ok(Following { stream: Stream::over(wire, self.confirmed), follower })
    }

    /// What is lost to the lake is had in one way alone.
    fn with_way_on(&self, error: Error) -> Error {
        match (error.kind(), error.hint()) {
            (Kind::DataGone, None) => error.with_hint(server::way_on(&self.setup.pipeline, "")),
            _ => error,
        }
    }
}
