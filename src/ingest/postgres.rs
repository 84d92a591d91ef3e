//! A PostgreSQL database as an origin: its tables as they are, then every change of them from its own log, by a replication slot
//! and the plugin pgoutput. No broker stands between. It decides nothing about commits: it tells where they may be, and
//! confirms to the source what it was told to be durable, nothing else.
//!
//! **A table's place** is the end of a commit. Transactions that end there or before are skipped for that table, so the stream
//! may begin before what some tables have. A table that nothing is known of, that was in the midst of its copy, or whose rows
//! were rewritten without the log telling how, is copied: under a snapshot that a slot exported when it was made, whose moment
//! is the table's place from then on. The pipeline's own slot gives that moment the first time, a temporary one later; the
//! pipeline's slot is always the older, so that nothing lies between copy and stream.
//!
//! **A table that changed.** Messages name columns and no numbers. Where they do not fit what is known, the catalog is read
//! again: if that changed, the caller is told (`reshaped`); if not, the message is from before a
//! change, and is read by names or, where names could mislead, the table is copied anew. So it is where its key changed: rows
//! of the one key are not told apart by the other. With REPLICA IDENTITY FULL messages do not say the key, and the catalog is
//! asked at each description. Until a commit is reached at which
//! such a copy can begin, the table's changes are passed over and its place says that it is in the midst of a copy.

mod advance;
mod begin;
mod copy;
mod follow;
mod look;
mod pattern;
mod pgoutput;
mod place;
mod recopy;
mod rows;
mod server;
mod tables;
mod trouble;
mod wal;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use self::copy::Copies;
use self::follow::Follower;
use self::place::{Lsn, Standing};
use self::server::System;
pub use self::tables::MISSING;
use self::tables::Table;
use self::trouble::unreachable;
use self::wal::Stream;
use self::wire::{Session, Wire, literal};
use super::origin::{Kept, Lag, Origin, Part, Place, Room, Shape, Taken, Wanted};
use crate::error::{Error, Kind, Result};
use crate::lake::{Reach, Stand};
use crate::sources::postgres::{Config, Dialer};

/// How long another connection of ours may take to let go of the slot.
const SLOT_FREE: Duration = Duration::from_secs(20);
const SLOT_ASK: Duration = Duration::from_millis(100);
/// How often it is looked whether there are other tables.
const LOOK: Duration = Duration::from_secs(10);
/// From here on the stream sends values in their binary form.
const BINARY: u32 = 140_000;
const FILTERS: u32 = 150_000;
const NAME_BYTES_MAX: usize = 63;
/// Behind the LSN of a place in the midst of a copy, in the histories of tables.
const COPYING: &str = " copying";

/// What a pipeline's file says of a PostgreSQL origin beside its source and its tables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Of the replication slot: lower-case letters, digits and `_`. `lakegate_<pipeline>` where absent.
    pub slot: Option<String>,
    /// `lakegate_<pipeline>` where absent.
    pub publication: Option<String>,
    /// Publication and slot are made where they are absent, and tables added to the publication.
    pub create: bool,
    /// A table's rows from before it was followed are copied first. Without, only changes come.
    pub copy: bool,
    /// Connections that copy at once.
    pub copy_connections: usize,
    /// The slot survives a failover to a standby, where the source has such slots (PostgreSQL 17).
    pub failover: bool,
    /// How often a message is written into the source's log, so that a source whose other databases are busy can forget
    /// what it keeps for this one; 0: never, which is enough where the server speaks to us directly.
    pub heartbeat_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot: None,
            publication: None,
            create: true,
            copy: true,
            copy_connections: 4,
            failover: true,
            heartbeat_ms: 0,
        }
    }
}

/// How far the copy of a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub table: String,
    pub rows: u64,
    /// As the source guesses.
    pub estimate: u64,
    pub done: bool,
}

/// Tables of one database, followed by one slot. Connects when it is asked something.
#[derive(Debug)]
pub struct Slot {
    setup: Setup,
    tables: Vec<Table>,
    /// Tables of these numbers are copied anew, whatever the lake has of them.
    recopy: BTreeSet<usize>,
    /// Names of tables that the lake has rows of, of which there was none when it began.
    left: BTreeSet<String>,
    /// For questions beside the stream.
    side: Option<Wire>,
    state: State,
    confirmed: u64,
    /// Tables came or went: told with the next read.
    others: bool,
    beat: Option<Instant>,
    looked: Option<Instant>,
}

/// What is written about it.
#[derive(Clone, Debug)]
struct Setup {
    pipeline: String,
    dialer: Dialer,
    numeric_scale: BTreeMap<String, u8>,
    /// Schema → the name it is mounted under.
    mounted: BTreeMap<String, String>,
    patterns: Vec<String>,
    slot: String,
    publication: String,
    options: Options,
}

/// Between `begin` and the next one.
#[derive(Debug)]
enum State {
    Idle,
    Begun(Box<Begun>),
}

#[derive(Debug)]
struct Begun {
    system: System,
    /// Of the whole, until the stream goes beyond.
    lsn: u64,
    /// For each table: commits that stand before this are in it, or will be once it is copied.
    from: Vec<u64>,
    copying: Option<Copying>,
    following: Option<Following>,
    /// Tables to be copied as soon as no transaction is under way. Their places say that they are in a copy.
    waiting: BTreeSet<usize>,
    /// What the next read tells first.
    first: Vec<Part>,
    binary: bool,
}

#[derive(Debug)]
struct Copying {
    copies: Copies,
    at: Lsn,
    /// Microseconds of the Unix epoch.
    moment: i64,
    progress: BTreeMap<usize, Progress>,
}

#[derive(Debug)]
struct Following {
    stream: Stream,
    follower: Follower,
}

impl Slot {
    /// `tables`: `schema.table` as the source names them, `*` for any letters. Everything wrong with a file is found here.
    pub fn new(pipeline: &str, source: &str, config: &Config, tables: Vec<String>, options: Options) -> Result<Self> {
        let fault = |what: String| Error::new(Kind::Config, format!("pipeline \"{pipeline}\": {what}"));
        let named = |given: &Option<String>| given.clone().unwrap_or_else(|| format!("lakegate_{pipeline}"));
        let (slot, publication) = (named(&options.slot), named(&options.publication));
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain(&slot) || slot.is_empty() || slot.len() > NAME_BYTES_MAX - 12 {
            let most = NAME_BYTES_MAX - 12;
            return Err(fault(format!("`slot` \"{slot}\" is not of 1 to {most} lower-case letters, digits and `_`")));
        }
        if publication.is_empty() || publication.len() > NAME_BYTES_MAX {
            return Err(fault(format!("`publication` has 1 to {NAME_BYTES_MAX} letters")));
        }
        if tables.is_empty() {
            return Err(fault("`tables` names no table".into()));
        }
        if let Some(bad) = tables.iter().find(|t| !t.contains('.') && !t.contains('*')) {
            return Err(fault(format!("`tables`: \"{bad}\" is not of the form schema.table")));
        }
        if !(1..=64).contains(&options.copy_connections) {
            return Err(fault("`copy_connections` is from 1 to 64".into()));
        }
        Ok(Self::of(Setup {
            pipeline: pipeline.into(),
            dialer: Dialer::new(source, config)?,
            numeric_scale: config.numeric_scale.clone(),
            mounted: config.schemas.clone(),
            patterns: tables,
            slot,
            publication,
            options,
        }))
    }

    fn of(setup: Setup) -> Self {
        let (tables, recopy, left, state) = (vec![], BTreeSet::new(), BTreeSet::new(), State::Idle);
        Self { setup, tables, recopy, left, side: None, state, confirmed: 0, others: false, beat: None, looked: None }
    }

    /// The same tables by the same slot, not begun.
    pub fn again(&self) -> Self {
        Self::of(self.setup.clone())
    }

    /// Of the copies under way; empty once all tables are followed.
    pub fn progress(&self) -> Vec<Progress> {
        let State::Begun(begun) = &self.state else { return vec![] };
        begun.copying.iter().flat_map(|copying| copying.progress.values().cloned()).collect()
    }

    /// How much of its log the source keeps for the slot.
    pub async fn retained(&mut self) -> Result<Option<u64>> {
        let sql = format!(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name = {}",
            literal(&self.setup.slot)
        );
        Ok(self.ask(&sql).await?.and_then(|bytes| bytes.parse().ok()))
    }

    /// Gives up the slot, so that the source keeps nothing for it; for a pipeline that is taken away or begun anew.
    pub async fn drop_slot(&mut self) -> Result<()> {
        self.state = State::Idle;
        let sql = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
            literal(&self.setup.slot)
        );
        let until = Instant::now() + SLOT_FREE;
        loop {
            let mut wire = Wire::open(&self.setup.dialer, Session::Plain).await?;
            match wire.query(&sql).await {
                Ok(_) => return Ok(()),
                Err(trouble) if trouble.code() == "55006" && Instant::now() < until => sleep(SLOT_ASK).await,
                Err(trouble) => return Err(wire.error(trouble)),
            }
        }
    }

    fn standing(&self, system: &System, lsn: u64, copying: bool, tables: &[&Table]) -> Result<Place> {
        self.standing_beside(system, lsn, copying, tables, BTreeSet::new())
    }

    fn standing_beside(
        &self,
        system: &System,
        lsn: u64,
        copying: bool,
        tables: &[&Table],
        left: BTreeSet<String>,
    ) -> Result<Place> {
        let standing = Standing {
            system_identifier: system.identifier.clone(),
            timeline: system.timeline,
            slot: self.setup.slot.clone(),
            lsn: Lsn(lsn),
            copying,
            tables: tables.iter().filter(|t| !t.gone).map(|t| (t.full_name(), t.known())).collect(),
            left,
        };
        standing.place()
    }

    /// Of the whole.
    fn whole(&self, begun: &Begun, lsn: u64) -> Result<Place> {
        let gone = self.tables.iter().filter(|table| table.gone).map(Table::full_name);
        let left = self.left.iter().cloned().chain(gone).collect();
        self.standing_beside(&begun.system, lsn, false, &self.tables.iter().collect::<Vec<_>>(), left)
    }
}

#[async_trait]
impl Origin for Slot {
    async fn tables(&mut self) -> Result<Vec<Shape>> {
        let found = self.look().await?;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.know(found),
            State::Begun(mut begun) => {
                self.reshape(&mut begun, found)?;
                self.state = State::Begun(begun);
            }
        }
        let target = |table: &Table| pattern::target(&self.setup.patterns, &table.schema, &table.name);
        let shapes: Vec<Shape> = self.tables.iter().map(|table| table.shape(target(table))).collect();
        let mut taken = BTreeMap::new();
        for shape in &shapes {
            if let Some(other) = taken.insert(&shape.target, &shape.name).filter(|other| **other != shape.name) {
                let text = format!("tables {other} and {} would both fill \"{}\"", shape.name, shape.target);
                let hint = "Name them in `tables` of two pipelines with targets of their own.";
                return Err(Error::new(Kind::DuplicateTable, text).with_hint(hint));
            }
        }
        Ok(shapes)
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        self.begin_at(kept).await
    }

    async fn read(&mut self, room: Room) -> Result<Taken> {
        // Taken out while it is worked with: a call that is dropped or fails leaves nothing half done behind.
        let State::Begun(mut begun) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(Error::internal("an origin is read before it was begun"));
        };
        let until = Instant::now() + room.wait;
        let amid = begun.following.as_ref().is_some_and(|f| f.follower.boundary().is_none());
        if begun.copying.is_none() && !amid && begun.first.is_empty() && !begun.waiting.is_empty() {
            let wanted: Vec<usize> = std::mem::take(&mut begun.waiting).into_iter().collect();
            let moment = self.moment(begun.system.version, &wanted).await?;
            self.copy(&mut begun, moment, &wanted).await?;
        }
        let mut taken = match begun.copying.is_some() {
            true => self.copied(&mut begun, room, until).await?,
            false => self.followed(&mut begun, room, until).await?,
        };
        let moments =
            || taken.parts.iter().flat_map(|part| part.at_micros.values().iter().map(|at| at.div_euclid(1_000)));
        taken.span_ms = moments().min().zip(moments().max());
        self.state = State::Begun(begun);
        Ok(taken)
    }

    async fn still(&mut self) -> Result<()> {
        let State::Begun(begun) = &self.state else { return Ok(()) };
        match begun.following.as_ref().is_some_and(|following| following.stream.is_over()) {
            true => Err(unreachable(&self.setup.dialer.source).with_source("the stream ended")),
            false => Ok(()),
        }
    }

    async fn lag(&mut self, place: Option<&Place>) -> Result<Lag> {
        let place = place.map(Standing::of).transpose()?;
        let due = Duration::from_millis(self.setup.options.heartbeat_ms);
        if !due.is_zero() && self.beat.is_none_or(|last| last.elapsed() >= due) {
            self.beat = Some(Instant::now());
            self.ask("SELECT pg_logical_emit_message(false, 'lakegate', '')::text").await?;
        }
        if matches!(self.state, State::Begun(_)) && self.looked.is_none_or(|last| last.elapsed() >= LOOK) {
            let found = self.look().await?;
            self.others = self.differ(&found).iter().any(|table| !self.tables.iter().any(|t| t.oid == table.oid));
        }
        let end = self.ask("SELECT pg_current_wal_lsn()::text").await?;
        let end: Option<Lsn> = end.and_then(|lsn| lsn.parse().ok());
        let bytes = end.zip(place).map(|(end, place)| end.0.saturating_sub(place.lsn.0));
        Ok(Lag { records: None, bytes })
    }

    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place> {
        let mut copying = false;
        let text = match wanted {
            Wanted::At(place) => return Ok(place.clone()),
            Wanted::Range(text) => {
                copying = text.ends_with(COPYING);
                text.trim_end_matches(COPYING).to_string()
            }
            Wanted::Latest => self.ask("SELECT pg_current_wal_lsn()::text").await?.unwrap_or_default(),
            Wanted::Earliest => {
                let sql = format!(
                    "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = {}",
                    literal(&self.setup.slot)
                );
                let text = format!("source \"{}\" has no slot \"{}\"", self.setup.dialer.source, self.setup.slot);
                self.ask(&sql).await?.ok_or_else(|| Error::new(Kind::UndefinedObject, text))?
            }
        };
        let lsn: Lsn = text.parse().map_err(|what: String| Error::new(Kind::InvalidText, what))?;
        let mut wire = server::replication(&self.setup.dialer).await?;
        let system = server::system(&mut wire).await?;
        self.standing(&system, lsn.0, copying, &self.tables.iter().collect::<Vec<_>>())
    }

    fn range(&self, place: &Place) -> String {
        let said = |s: Standing| format!("{}{}", s.lsn, if s.copying { COPYING } else { "" });
        Standing::of(place).map(said).unwrap_or_default()
    }

    /// While tables are copied the place of the whole says nothing of them.
    fn stand(&self, place: &Place) -> Stand {
        let State::Begun(begun) = &self.state else { return Stand::Nowhere };
        if begun.copying.is_some() || !begun.waiting.is_empty() || !begun.first.is_empty() {
            return Stand::Nowhere;
        }
        let lsn = place.0.get("lsn").and_then(|lsn| lsn.as_str()).and_then(Reach::lsn);
        lsn.map_or(Stand::Unmarked, Stand::At)
    }

    /// The slot goes, lost or not; the next beginning makes one.
    async fn anew(&mut self) -> Result<()> {
        self.drop_slot().await
    }

    async fn acknowledge(&mut self, durable: &Place) -> Result<()> {
        self.confirmed = self.confirmed.max(Standing::of(durable)?.lsn.0);
        if let State::Begun(begun) = &self.state
            && let Some(following) = &begun.following
        {
            following.stream.confirm(self.confirmed);
        }
        Ok(())
    }
}
