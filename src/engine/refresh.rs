//! What reflections hold, made and kept: a reflection's query is run as the server's own, over tables pinned once, through
//! the pipeline of every query, and its rows are one commit of a table that nobody can name, with the versions of what they
//! were made of. Of several processes one refreshes a reflection, by a lease; statements take what is stored now, and wait
//! for nothing here. What is due `reflection::schedule` decides.

mod rounds;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::bodies;
use super::deep::{Deep, on_big_stack};
use super::facts::Facts;
use super::limits::Limits;
use super::pipeline::{self, Asked, Planned, Told, What};
use super::run::{self, Bounds};
use super::world::World;
use super::{Engine, micros_now};
use crate::catalog::{Body, Entry};
use crate::error::{Error, Kind, Result};
use crate::jobs::Job;
use crate::lake::{Changed, Lease, Part, Reading};
use crate::metastore::Metastore;
use crate::policy::guard::Pins;
use crate::policy::own;
use crate::reflection::block::Definition;
use crate::reflection::lossless::{Link, Lossless, links};
use crate::reflection::made_of::MadeOf;
use crate::reflection::{Growth, Merge, Reflection, Stored};
use crate::sources::Pinned;
use crate::sources::iceberg::{Filling, Maintained, UNNAMED, Unnamed};
use crate::types::{ObjectId, SnapshotVector, TableName, Version, quoted};

pub(crate) use rounds::Refreshing;
use table::Beside;

const LEASE_MS: i64 = 30_000;
const RENEW_EVERY: Duration = Duration::from_secs(8);
/// Somebody else may be at it: asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What rows that went come to lies in memory for its refresh, if it takes no more.
const WENT_BYTES_MAX: usize = 64 << 20;
/// Under this name the metastore keeps what tells this deployment's tables from those of others over the same lake.
const HOME: &str = "reflection.home";

/// What came of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing has moved.
    Unmoved,
    /// Files are others, rows are not.
    SameRows,
    /// So many rows of the query over new ones were added, or merged.
    ByDifference,
    Whole,
}

impl Done {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unmoved => "unmoved",
            Self::SameRows => "same rows",
            Self::ByDifference => "by difference",
            Self::Whole => "whole",
        }
    }
}

/// The name of this deployment among those that keep tables in one lake.
pub(crate) async fn home(metastore: &Metastore) -> Result<String> {
    let new = uuid::Uuid::new_v4().simple().to_string();
    let home = metastore.put_if_absent(HOME, new.as_bytes()).await?;
    String::from_utf8(home).map_err(|e| Error::internal("the deployment's name").with_source(e))
}

/// One reflection in one world.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) engine: Arc<Engine>,
    pub(crate) world: Arc<World>,
    pub(crate) reflection: Arc<Reflection>,
    pub(crate) home: String,
}

/// A table that a reflection reads, as one refresh sees it.
#[derive(Clone)]
struct Base {
    id: ObjectId,
    pinned: Pinned,
}

/// What became of one table since a refresh, and of no other.
struct Difference {
    table: ObjectId,
    came: Part,
    /// Rows of the table as it was then; `None`: all are there.
    went: Option<Arc<Reading>>,
}

impl Difference {
    fn is_nothing(&self) -> bool {
        self.came.is_empty() && self.went.is_none()
    }

    /// The tables as they are, the one with the rows alone that came to it.
    fn came(&self, bases: &[Base]) -> Vec<Base> {
        bases
            .iter()
            .map(|base| match base.pinned.provider.downcast_ref::<Reading>() {
                Some(reading) if base.id == self.table => base.read_as(Arc::new(reading.part(self.came.clone()))),
                Some(_) | None => base.clone(),
            })
            .collect()
    }

    /// The same with those that went.
    fn went(&self, bases: &[Base]) -> Option<Vec<Base>> {
        let went = self.went.as_ref()?;
        let one = |base: &Base| if base.id == self.table { base.read_as(Arc::clone(went)) } else { base.clone() };
        Some(bases.iter().map(one).collect())
    }
}

impl Base {
    fn read_as(&self, reading: Arc<Reading>) -> Self {
        let (version, reads) = (self.pinned.version.clone(), reading.reads());
        Self { id: self.id, pinned: Pinned { version, reads, provider: reading } }
    }
}

impl Task {
    /// 55000 where there is no lake.
    pub(crate) fn new(engine: &Arc<Engine>, world: &Arc<World>, reflection: &Arc<Reflection>, home: &str) -> Self {
        let (engine, world, reflection) = (Arc::clone(engine), Arc::clone(world), Arc::clone(reflection));
        Self { engine, world, reflection, home: home.to_string() }
    }

    /// The first lake among those of its tables, else the first of all.
    pub(crate) fn lake(&self) -> Result<Maintained> {
        let of_base = |entry: &Entry| {
            let mounted = self.world.catalog.schemas.get(&entry.object.name.schema)?.as_ref()?;
            mounted.source.writer()?.maintained()
        };
        let first = || self.world.lakes().into_iter().find_map(|writer| writer.maintained());
        self.bases().into_iter().find_map(of_base).or_else(first).ok_or_else(|| {
            Error::new(Kind::NotInState, "there is no lake to keep reflections in")
                .with_hint("A source of kind \"iceberg\" makes one.")
        })
    }

    /// The tables that it reads, as far as they are there.
    pub(crate) fn bases(&self) -> Vec<&Entry> {
        let ids = &self.reflection.bases;
        self.world.catalog.entries.values().filter(|entry| ids.contains(&entry.object.id)).collect()
    }

    fn table_name(&self) -> String {
        table_name(&self.reflection.name, &self.home)
    }

    /// What an earlier refresh left, of this very query; nothing where others have changed it.
    async fn found(&self, lake: &Maintained) -> Result<Option<(Unnamed, MadeOf)>> {
        let Some(table) = lake.unnamed(&self.table_name()).await? else { return Ok(None) };
        let made_of = MadeOf::read(table.properties()).filter(|made_of| {
            made_of.print == self.reflection.upkeep.print
                && made_of.home == self.home
                && made_of.name == self.reflection.name
        });
        let Some(made_of) = made_of else { return Ok(None) };
        match table.is_as_left_by(made_of.batch.as_deref()).await? {
            true => Ok(Some((table, made_of))),
            false => {
                tracing::warn!(
                    reflection = self.reflection.name,
                    "what is stored was changed by others, it is made again"
                );
                Ok(None)
            }
        }
    }

    /// Shows what the last refresh left, as after a restart. Answers its bytes; `None` where there is nothing.
    pub(crate) async fn load(&self) -> Result<Option<u64>> {
        let lake = self.lake()?;
        match self.found(&lake).await? {
            Some((table, made_of)) => self.show(&table, &made_of).await.map(Some),
            None => {
                self.reflection.stored.put(None);
                Ok(None)
            }
        }
    }

    async fn show(&self, table: &Unnamed, made_of: &MadeOf) -> Result<u64> {
        let (pinned, (rows, bytes)) = (table.pinned().await?, table.size().await?);
        let Pinned { provider, reads, version: _ } = pinned;
        let (bases, lossless, as_of) = (made_of.bases.clone(), made_of.lossless.clone(), made_of.as_of);
        self.reflection.stored.put(Some(Arc::new(Stored { provider, reads, bases, lossless, rows, as_of })));
        Ok(bytes)
    }

    /// Whether one of its tables is another than what is stored was made of. One that has no versions may be.
    pub(crate) async fn has_moved(&self, stored: &Stored) -> Result<bool> {
        let now = versions(&self.pin().await?);
        Ok(now.values().any(|version| *version == Version::Live) || now != stored.bases)
    }

    async fn pin(&self) -> Result<Vec<Base>> {
        let mut bases = vec![];
        for entry in self.bases() {
            let Body::Table(table) = &entry.body else { return Err(Error::internal("a reflection over a view")) };
            bases.push(Base { id: entry.object.id, pinned: table.pin().await? });
        }
        match bases.len() == self.reflection.bases.len() {
            true => Ok(bases),
            false => Err(Error::new(Kind::UndefinedTable, "a table that the reflection reads is not there")),
        }
    }

    /// Once nobody else is at it. Waits for whoever is.
    pub(crate) async fn run(&self, job: &Job) -> Result<Done> {
        let lake = self.lake()?;
        loop {
            if let Some(done) = self.try_run(&lake, job).await? {
                return Ok(done);
            }
            job.says(format!("reflection {}: waiting for another refresh", self.reflection.name));
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// `None`: somebody else is at it.
    pub(crate) async fn try_run(&self, lake: &Maintained, job: &Job) -> Result<Option<Done>> {
        let metastore = lake.lake.metastore();
        let holder = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let name = format!("reflection.{}", self.table_name());
        let Some(lease) = metastore.take_lease(&name, &holder, LEASE_MS).await? else { return Ok(None) };
        let done = tokio::select! {
            done = Box::pin(self.refresh(lake, &lease, job)) => done,
            () = lost(metastore, &lease) => Err(crate::lake::overtaken()),
        };
        if let Err(error) = metastore.release_lease(&lease).await {
            tracing::debug!(%error, "a reflection's lease was not let go of");
        }
        let word = done.as_ref().map_or("failed", |done| done.word());
        metrics::counter!(crate::telemetry::metrics::REFLECTION_REFRESHES, "outcome" => word).increment(1);
        done.map(Some)
    }

    async fn refresh(&self, lake: &Maintained, lease: &Lease, job: &Job) -> Result<Done> {
        let name = &self.reflection.name;
        job.says(format!("reflection {name}: looking at its tables"));
        let as_of = micros_now();
        let bases = self.pin().await?;
        let now = versions(&bases);
        let found = self.found(lake).await?;
        let said = |batch| MadeOf {
            home: self.home.clone(),
            name: name.clone(),
            print: self.reflection.upkeep.print,
            bases: now.clone(),
            lossless: Lossless::new(),
            as_of,
            batch,
        };
        if let Some((table, made_of)) = &found {
            if made_of.bases == now && !now.values().any(|version| *version == Version::Live) {
                self.show(table, &MadeOf { as_of, ..made_of.clone() }).await?;
                return Ok(Done::Unmoved);
            }
            if let Some(difference) = self.difference(&bases, made_of).await? {
                if difference.is_nothing() {
                    let said = MadeOf { lossless: made_of.lossless.clone(), ..said(made_of.batch.clone()) };
                    let table = table.say(said.properties()?, lease.clone()).await?;
                    self.show(&table, &said).await?;
                    return Ok(Done::SameRows);
                }
                job.says(format!("reflection {name}: computing what has changed"));
                let came = difference.came(&bases);
                let mut lossless = Lossless::new();
                for link in self.links().into_iter().filter(|link| made_of.lossless.contains(&(link.added, link.to))) {
                    // of the table that rows came to, each new one may be without another's, or double its own; rows that
                    // went may have left others without theirs
                    let are_new_alone = link.added != difference.table && difference.went.is_none();
                    if self.loses_nothing(&link, if are_new_alone { &came } else { &bases }).await? {
                        lossless.insert((link.added, link.to));
                    }
                }
                let rows = match &self.reflection.upkeep.growth {
                    Growth::Rows => Some((self.rows(&self.reflection.query, &came, vec![]).await?, false)),
                    Growth::Groups(merges) => {
                        self.merged(merges, &difference, (&bases, &came), table).await?.map(|rows| (rows, true))
                    }
                    Growth::Whole => return Err(Error::internal("a difference that nobody asked for")),
                };
                if let Some((rows, replaces)) = rows {
                    let said = MadeOf { lossless, ..said(None) };
                    self.fill(table.clone(), Filling { rows, replaces, lease: lease.clone() }, said).await?;
                    return Ok(Done::ByDifference);
                }
            }
        }
        job.says(format!("reflection {name}: computing all of it"));
        let table = match found {
            Some((table, _)) => table,
            None => {
                lake.drop_unnamed(&self.table_name()).await?;
                let upkeep = &self.reflection.upkeep;
                lake.make_unnamed(&self.table_name(), &upkeep.columns, upkeep.making.clone()).await?
            }
        };
        let lossless = self.lossless(&bases, job).await?;
        let rows = self.rows(&self.reflection.query, &bases, vec![]).await?;
        let said = MadeOf { lossless, ..said(None) };
        self.fill(table, Filling { rows, replaces: true, lease: lease.clone() }, said).await?;
        Ok(Done::Whole)
    }

    /// Which of its joins neither lose nor double rows of its tables as they are pinned.
    async fn lossless(&self, bases: &[Base], job: &Job) -> Result<Lossless> {
        let mut lossless = Lossless::new();
        // two looks at a table without versions are at two tables
        if bases.iter().any(|base| base.pinned.version == Version::Live) {
            return Ok(lossless);
        }
        for link in self.links() {
            job.says(format!("reflection {}: looking at what its joins lose", self.reflection.name));
            if self.loses_nothing(&link, bases).await? {
                lossless.insert((link.added, link.to));
            }
        }
        Ok(lossless)
    }

    fn links(&self) -> Vec<Link> {
        let made = self.reflection.definition.as_ref();
        on_big_stack(|| made.map(|made| links(made.rows()))).unwrap_or_default()
    }

    async fn loses_nothing(&self, link: &Link, bases: &[Base]) -> Result<bool> {
        let names = self.bases().into_iter().map(|entry| (entry.object.id, &entry.object.name)).collect();
        for question in link.questions(&names).ok_or_else(|| Error::internal("a join of no table"))? {
            match self.is_so(&question, bases).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // what is stored answers for its own joins all the same
                Err(error) => {
                    let reflection = &self.reflection.name;
                    tracing::warn!(reflection, ?error, "what a join loses could not be asked");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn is_so(&self, question: &str, bases: &[Base]) -> Result<bool> {
        let columns = Arc::new(Schema::new(vec![Field::new("is_so", DataType::Boolean, true)]));
        let mut answer = self.rows_as(question, bases, vec![], &columns).await?;
        while let Some(batch) = answer.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let so = batch.column(0).as_boolean_opt().filter(|so| so.is_valid(0));
                return so.map(|so| so.value(0)).ok_or_else(|| Error::internal("an answer that is none"));
            }
        }
        Err(Error::internal("a question without an answer"))
    }

    /// The commit, on threads of a statement's; then what it left is shown.
    async fn fill(&self, table: Unnamed, filling: Filling, said: MadeOf) -> Result<()> {
        let written = said.clone();
        let fill = async move {
            let mut named = None;
            let filled = table
                .fill(filling, |batch| {
                    named.clone_from(&batch);
                    MadeOf { batch, ..written }.properties()
                })
                .await?;
            Ok((filled, named))
        };
        let (table, batch) = self.engine.shared.lanes.run(Box::pin(fill)).await?;
        self.show(&table, &MadeOf { batch, ..said }).await?;
        Ok(())
    }

    /// What happened to the table that has moved, where it is one and the stored rows can follow. Rows that come to a table that
    /// is added by an outer join take away others, of those that were without one.
    async fn difference(&self, bases: &[Base], made_of: &MadeOf) -> Result<Option<Difference>> {
        let upkeep = &self.reflection.upkeep;
        if upkeep.growth == Growth::Whole || bases.iter().any(|base| base.pinned.version == Version::Live) {
            return Ok(None);
        }
        let mut moved = bases.iter().filter(|base| made_of.bases.get(&base.id) != Some(&base.pinned.version));
        let (Some(base), None) = (moved.next(), moved.next()) else { return Ok(None) };
        let is_outer = |made: &Definition| made.rows().tables.iter().any(|t| t.id == base.id && t.outer.is_some());
        if self.reflection.definition.as_ref().is_none_or(is_outer) {
            return Ok(None);
        }
        let Some(Version::Snapshot(since)) = made_of.bases.get(&base.id) else { return Ok(None) };
        let Some(reading) = base.pinned.provider.downcast_ref::<Reading>() else { return Ok(None) };
        let (lake, table) = (reading.lake(), reading.table());
        if let Some(added) = lake.added(table, *since).await? {
            let came = Part::of_files(added.files);
            return Ok(Some(Difference { table: base.id, came, went: None }));
        }
        let (Some(since), true) = (since, upkeep.shrinking.is_some()) else { return Ok(None) };
        let Some(Changed { went, came, rows, of }) = lake.changed(table, *since).await? else { return Ok(None) };
        // what is read twice is not the smaller part any more
        if rows > of / 2 {
            return Ok(None);
        }
        let then = lake.read(&table.at(*since)?, base.pinned.provider.schema()).await?;
        Ok(Some(Difference { table: base.id, came, went: Some(Arc::new(then.part(went))) }))
    }

    /// The stored groups and those of the new rows, as one group each, less what those that went came to; `None` where these
    /// are too many groups.
    async fn merged(
        &self,
        merges: &[Merge],
        difference: &Difference,
        (bases, came): (&[Base], &[Base]),
        table: &Unnamed,
    ) -> Result<Option<SendableRecordBatchStream>> {
        let upkeep = &self.reflection.upkeep;
        let stored = Beside::stored(TableName::new(UNNAMED, self.table_name()), table).await?;
        let names: Vec<String> = upkeep.columns.fields().iter().map(|field| quoted(field.name())).collect();
        let dimensions = merges.iter().zip(1..).filter(|(merge, _)| **merge == Merge::Same);
        let groups: Vec<String> = dimensions.map(|(_, place)| place.to_string()).collect();
        let mut parts = vec![format!("SELECT * FROM {}", stored.name()), format!("({})", self.reflection.query)];
        let mut beside = vec![stored];
        let mut left = None;
        if let (Some(went), Some(shrinking)) = (difference.went(bases), &upkeep.shrinking) {
            let rows = self.rows(&self.reflection.query, &went, vec![]).await?;
            let Some(rows) = at_most(rows, WENT_BYTES_MAX).await? else { return Ok(None) };
            let name = TableName::new(UNNAMED, format!("{}_went", self.table_name()));
            let undone = merges.iter().zip(&names).map(|(merge, column)| match merge {
                Merge::Same => column.clone(),
                Merge::Sum | Merge::Min | Merge::Max => format!("-{column}"),
            });
            parts.push(format!("SELECT {} FROM {name}", undone.collect::<Vec<_>>().join(", ")));
            beside.push(Beside::rows(name, Arc::clone(&upkeep.columns), rows)?);
            left = Some(shrinking);
        }
        let counted = |at: usize| left.and_then(|left| names.get(left.values.get(at).copied().flatten()?));
        let one = |(at, (merge, column)): (usize, (&Merge, &String))| match merge {
            Merge::Same => column.clone(),
            Merge::Sum => match counted(at) {
                Some(count) => format!("CASE WHEN sum({count}) > 0 THEN sum({column}) END"),
                None => format!("sum({column})"),
            },
            Merge::Min => format!("min({column})"),
            Merge::Max => format!("max({column})"),
        };
        let list: Vec<String> = merges.iter().zip(&names).enumerate().map(one).collect();
        let having = left.and_then(|left| names.get(left.rows?)).map(|rows| format!(" HAVING sum({rows}) > 0"));
        let query = format!(
            "SELECT {} FROM ({}) AS parts{}{}{}",
            list.join(", "),
            parts.join(" UNION ALL "),
            if groups.is_empty() { "" } else { " GROUP BY " },
            groups.join(", "),
            having.unwrap_or_default()
        );
        self.rows(&query, came, beside).await.map(Some)
    }

    /// A query's rows in the columns that are stored, over tables as they are pinned.
    async fn rows(&self, sql: &str, bases: &[Base], beside: Vec<Beside>) -> Result<SendableRecordBatchStream> {
        self.rows_as(sql, bases, beside, &self.reflection.upkeep.columns).await
    }

    async fn rows_as(
        &self,
        sql: &str,
        bases: &[Base],
        beside: Vec<Beside>,
        columns: &SchemaRef,
    ) -> Result<SendableRecordBatchStream> {
        let shared = &self.engine.shared;
        let mut pins = Pins::default();
        for Base { id, pinned } in bases {
            pins.insert(*id, pinned.version.clone(), Arc::clone(&pinned.provider), Arc::clone(&pinned.reads));
        }
        let mut entries = vec![];
        for table in beside {
            let pinned = table.pinned().clone();
            let entry = table.entry();
            pins.insert(entry.object.id, pinned.version, pinned.provider, pinned.reads);
            entries.push(entry);
        }
        let tables = self.reflection.bases.iter().copied().chain(entries.iter().map(|entry| entry.object.id));
        let policy = own::server_reading(&self.world.policies, tables);
        let world = Arc::new(self.world.for_server(entries));
        let facts = Arc::new(Facts::of_server(world, policy, shared)?);
        let into = columns.fields().to_vec();
        let planned = self.planned(&facts, sql, into).await?;
        let bounds = Bounds { cancel: CancellationToken::new(), deadline: None };
        let ready = pipeline::over(shared, &planned, pins, &bounds).await?;
        let rows = run::run(&shared.lanes, ready, bounds)?;
        Ok(rows.into_stream(None, Arc::clone(columns)))
    }

    async fn planned(&self, facts: &Arc<Facts>, sql: &str, into: Vec<FieldRef>) -> Result<Planned> {
        let query = on_big_stack(|| bodies::read(sql, &Limits::default()).map(|query| Deep::new(*query)))?;
        let told = Told { text: sql.into(), into, ..Told::default() };
        pipeline::plan(&self.engine.shared, facts, Asked { what: What::Query(query), told }).await
    }
}

/// What is said of a refresh that failed where it is not known that its reader sees all of its tables: what a value of
/// theirs comes to may hold the value.
pub(crate) fn told(error: &Error) -> String {
    let sqlstate = error.kind().sqlstate();
    // what no function says of a row
    let is_of_no_row = ["08", "40", "53", "55", "57", "58", "F0", "HV"].contains(&&sqlstate[..2]);
    match is_of_no_row || error.kind() == Kind::UndefinedTable {
        true => error.message().to_string(),
        false => format!("it could not be computed ({sqlstate}); whoever sees all of its tables is told why"),
    }
}

fn table_name(reflection: &str, home: &str) -> String {
    format!("{reflection}_{}", home.get(..8).unwrap_or(home))
}

fn versions(bases: &[Base]) -> SnapshotVector {
    bases.iter().map(|base| (base.id, base.pinned.version.clone())).collect::<BTreeMap<_, _>>()
}

/// All of a query's rows; `None` where they take more.
async fn at_most(mut rows: SendableRecordBatchStream, bytes_max: usize) -> Result<Option<Vec<RecordBatch>>> {
    let (mut batches, mut bytes) = (vec![], 0);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            return Ok(None);
        }
        batches.push(batch);
    }
    Ok(Some(batches))
}

/// Ends when the lease is another's.
async fn lost(metastore: &Metastore, lease: &Lease) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match metastore.renew_lease(lease, LEASE_MS).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "a reflection's lease was not renewed"),
        }
    }
}

#[cfg(test)]
mod tests;
