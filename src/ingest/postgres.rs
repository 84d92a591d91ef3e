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
//! change, and is read by names or, where names could mislead, the table is copied anew. Until a commit is reached at which
//! such a copy can begin, the table's changes are passed over and its place says that it is in the midst of a copy.

mod copy;
mod follow;
mod pgoutput;
mod place;
mod rows;
mod server;
mod tables;
mod wal;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use self::copy::{Copied, Copies};
use self::follow::{Follower, Limit, Pause};
use self::place::{Lsn, Standing};
use self::rows::When;
use self::server::{Exported, System};
pub use self::tables::MISSING;
use self::tables::Table;
use self::wal::Stream;
use self::wire::{Session, Trouble, Wire, literal, quoted};
use super::origin::{Kept, Lag, Origin, Part, Place, Room, Shape, Taken, Wanted};
use crate::error::{Error, Kind, Result};
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

/// What became of a relation that was not as it was known.
enum Stranger {
    /// It was so once, and its rows are read as of then.
    Settled,
    /// The tables are these now.
    Reshaped(Vec<Table>),
    /// Its rows cannot be read as the table's.
    Recopied(usize),
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
        let (tables, recopy, state) = (vec![], BTreeSet::new(), State::Idle);
        Self { setup, tables, recopy, side: None, state, confirmed: 0, others: false, beat: None, looked: None }
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

    /// One value, over a connection that is kept; a connection that broke is tried anew once.
    async fn ask(&mut self, sql: &str) -> Result<Option<String>> {
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
    async fn look(&mut self) -> Result<Vec<Table>> {
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

    /// In one schema the tables keep their names; names of several schemas could meet, now or later.
    fn target(&self, table: &Table) -> String {
        let mut schemas = self.setup.patterns.iter().map(|p| p.split('.').next().unwrap_or_default());
        let first = schemas.next().unwrap_or_default();
        match first.contains('*') || schemas.any(|schema| schema != first) {
            true => format!("{}_{}", table.schema, table.name),
            false => table.name.clone(),
        }
    }

    fn standing(&self, system: &System, lsn: u64, copying: bool, tables: &[&Table]) -> Result<Place> {
        let standing = Standing {
            system_identifier: system.identifier.clone(),
            timeline: system.timeline,
            slot: self.setup.slot.clone(),
            lsn: Lsn(lsn),
            copying,
            tables: tables.iter().filter(|t| !t.gone).map(|t| (t.full_name(), t.known())).collect(),
        };
        standing.place()
    }

    /// Of the whole.
    fn whole(&self, begun: &Begun, lsn: u64) -> Result<Place> {
        self.standing(&begun.system, lsn, false, &self.tables.iter().collect::<Vec<_>>())
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
        let shapes: Vec<Shape> = self.tables.iter().map(|table| table.shape(self.target(table))).collect();
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
        server::check_places(&mut wire, &system, &known).await?;
        if let Some(other) = known.iter().find(|s| s.slot != self.setup.slot) {
            let text =
                format!("the lake was filled by slot \"{}\", the pipeline now has \"{}\"", other.slot, self.setup.slot);
            return Err(server::gone(text, "Name the slot that it was, or take the tables in anew (resync)."));
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
        let has: Vec<Option<Lsn>> = self.tables.iter().zip(&own).enumerate().map(has).collect();
        let there = |n: &usize| self.tables.get(*n).is_some_and(|t| !t.gone);
        let wanted: Vec<usize> =
            (0..has.len()).filter(|n| has.get(*n).is_some_and(Option::is_none)).filter(there).collect();
        let least = checkpoint.as_ref().map(|c| c.lsn).or(has.iter().flatten().min().copied());

        let (moment, lsn) = match server::slot(&mut wire, &self.setup.slot).await? {
            None if !known.is_empty() => {
                let text = format!("slot \"{}\" of source \"{}\" is gone", self.setup.slot, self.setup.dialer.source);
                return Err(server::gone(text, "Changes may be lost: take the tables in anew (resync)."));
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
                    let hint =
                        "Drop it, take the tables in anew (resync), and raise max_slot_wal_keep_size on the source.";
                    return Err(server::gone(text, hint).with_detail(why));
                }
                let lsn = least.unwrap_or(slot.confirmed);
                if slot.confirmed > lsn {
                    let text = format!(
                        "slot \"{}\" of source \"{}\" is ahead of the lake",
                        self.setup.slot, self.setup.dialer.source
                    );
                    let detail = format!("the slot is at {}, the lake at {lsn}", slot.confirmed);
                    let hint = "Somebody else read it: changes are lost to the lake. Take the tables in anew (resync).";
                    return Err(server::gone(text, hint).with_detail(detail));
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

impl Slot {
    /// Those of `found` that are not as they are known.
    fn differ<'t>(&self, found: &'t [Table]) -> Vec<&'t Table> {
        let known =
            |table: &Table| self.tables.iter().any(|t| t.same_layout(table) && t.full_name() == table.full_name());
        found.iter().filter(|table| !known(table)).collect()
    }

    /// The tables are these from now on. Their numbers stay, those that are new come at the end.
    fn know(&mut self, found: Vec<Table>) {
        for table in &mut self.tables {
            table.gone = true;
        }
        for table in found {
            // By its name, which is the lake's too: one that was renamed is another table, and is copied as such.
            let number = self.tables.iter().position(|t| t.full_name() == table.full_name());
            match number.and_then(|number| Some((number, self.tables.get_mut(number)?))) {
                Some((number, known)) => {
                    if table.rewritten_since(known) {
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
    fn reshape(&mut self, begun: &mut Begun, found: Vec<Table>) -> Result<()> {
        let before = self.tables.len();
        self.know(found);
        begun.from.resize(self.tables.len(), u64::MAX);
        if let Some(following) = &mut begun.following {
            following.follower.reshape(&self.tables)?;
        }
        let again = std::mem::take(&mut self.recopy);
        for number in (before..self.tables.len()).chain(again.into_iter().filter(|number| *number < before)) {
            self.wait(begun, number, number < before)?;
        }
        Ok(())
    }

    /// From here on until its copy, changes of the table are passed over, and its place says so.
    fn wait(&self, begun: &mut Begun, number: usize, has_rows: bool) -> Result<()> {
        begun.first.push(self.mark(begun, number, has_rows && self.setup.options.copy)?);
        begun.waiting.insert(number);
        self.pass(begun, number, u64::MAX);
        Ok(())
    }

    fn pass(&self, begun: &mut Begun, number: usize, before: u64) {
        begun.from.get_mut(number).into_iter().for_each(|from| *from = before);
        begun.following.iter_mut().for_each(|following| following.follower.pass(number, before));
    }

    /// A part that says that the table is in the midst of a copy, and that the rows it had are gone.
    fn mark(&self, begun: &Begun, number: usize, has_rows: bool) -> Result<Part> {
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
    async fn moment(&self, version: u32, wanted: &[usize]) -> Result<Exported> {
        let mut wire = server::replication(&self.setup.dialer).await?;
        let create = self.setup.options.create;
        server::publish(&mut wire, &self.setup.publication, &self.tables, create, version).await?;
        let name = format!("{}_{:08x}", self.setup.slot, rand::random::<u32>());
        server::create_slot(wire, &name, true, false, version, &self.numbered(wanted)).await
    }

    /// Begins the copy of tables at this moment; without copies they simply begin there.
    async fn copy(&mut self, begun: &mut Begun, moment: Exported, wanted: &[usize]) -> Result<()> {
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

    fn numbered(&self, wanted: &[usize]) -> Vec<&Table> {
        wanted.iter().filter_map(|number| self.tables.get(*number)).collect()
    }

    fn source_of(&self, table: &Table) -> String {
        format!("{}/{}", self.setup.slot, table.full_name())
    }

    /// A part without rows, which says that the table is there whole.
    fn whole_table(&self, begun: &Begun, number: usize, at: Lsn) -> Result<Part> {
        let table = self.tables.get(number).ok_or_else(|| Error::internal("a table without a number"))?;
        let place = self.standing(&begun.system, at.0, false, &[table])?;
        let none = arrow::array::RecordBatch::new_empty(table.rows_schema());
        Ok(rows::copied(number, none, "", When { at: 0, lsn: 0, sequence: 0 }, place))
    }

    async fn copied(&mut self, begun: &mut Begun, room: Room, until: Instant) -> Result<Taken> {
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

    async fn followed(&mut self, begun: &mut Begun, room: Room, until: Instant) -> Result<Taken> {
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
            match following.follower.run(limit)? {
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
    async fn stranger(&mut self, follower: &mut Follower, relation: &pgoutput::Relation) -> Result<Stranger> {
        let found = self.look().await?;
        if !self.differ(&found).is_empty() {
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
                    return Err(Error::new(Kind::SourceFailed, text).with_source(format!("{trouble:?}")));
                }
                Err(trouble) => return Err(wire.error(trouble)),
            }
        };
        let follower =
            Follower::new(&self.setup.dialer.source, &self.setup.slot, &self.tables, begun.from.clone(), begun.lsn)?;
        Ok(Following { stream: Stream::over(wire, self.confirmed), follower })
    }
}

/// What the server said amid the stream.
fn refused(source: &str, code: &str, message: &str) -> Error {
    let said = format!("{code}: {message}");
    match code.starts_with("57P") || code.starts_with("08") {
        true => unreachable(source).with_source(said),
        false => Error::new(Kind::SourceFailed, format!("source \"{source}\" failed")).with_source(said),
    }
}

/// The wording that all sources share.
fn unreachable(source: &str) -> Error {
    Error::new(Kind::SourceUnreachable, format!("source \"{source}\" cannot be reached"))
}
