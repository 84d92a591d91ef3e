//! Builds the floors bottom-up, opens the doors, and at the end drains top-down. It decides nothing about a statement.

mod ingester;
mod keeper;
mod signals;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use metrics_exporter_prometheus::PrometheusHandle;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::catalog::Body;
use crate::config::{Config, Fault};
use crate::engine::refresh::Refreshing;
use crate::engine::table_reads::Reader;
pub use crate::engine::world::refuse;
use crate::engine::world::{Builder, Connect, Origin};
use crate::engine::{Current, Engine, World, known_columns};
use crate::error::{Error, Kind, Result};
use crate::ingest::{Feed, Spec};
use crate::inlets::Inlets;
use crate::jobs::Job;
use crate::lake::Findings;
use crate::metastore::Metastore;
use crate::pipelines::{self, Board};
use crate::policy::baseline::NewColumns;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::table_reads::TableReads;
use crate::threads::Threads;
use crate::types::TableName;
use crate::wire::{self, http, pg};
use crate::{engine, sources, telemetry};

pub use ingester::{Ingester, ingest_operations, ingest_status};
use ingester::{Operations, Part, specs};
use keeper::{Keeping, Lakes};
pub use signals::Signals;
pub use topics::{Inferred, topic_infer};

const PIPELINES_NICE: i32 = 5;
/// What the doors may take beyond their own drain, and the tasks behind them after that.
const END_MAX: Duration = Duration::from_secs(5);

/// A running server. [`Server::drain`] ends it; dropped without, its tasks end with the runtime.
pub struct Server {
    pub engine: Arc<Engine>,
    /// The first address of the PostgreSQL door.
    pub pg: SocketAddr,
    pub http: Option<SocketAddr>,
    doors: Shutdown,
    /// Ends after the doors: health must be able to say "draining".
    behind: Shutdown,
    patience: Duration,
    /// Of the pipelines.
    _threads: Threads,
}

/// They write files while somebody waits for an answer: behind the doors, before long statements.
fn pipeline_threads() -> Result<Threads> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Threads::background("pipeline", cores, PIPELINES_NICE)
}

/// What `lakegate check` found in a configuration that would start.
pub struct Report {
    pub warnings: Vec<Fault>,
    pub sources_down: Vec<String>,
    pub tables: usize,
    pub users: usize,
    /// Tables that pipelines fill.
    pub pipelines: usize,
}

impl Server {
    /// Returns when every door is open. `metrics` renders what `/metrics` shows.
    pub async fn start(config: &Config, metrics: PrometheusHandle) -> Result<Self> {
        let metastore = Arc::new(Metastore::open(&config.metastore).await?);
        let (doors, behind) = (Shutdown::new(), Shutdown::new());
        let threads = pipeline_threads()?;
        // Before the first world: policies may name tables that pipelines make.
        let part = match (config.ingest.enabled, config.wire.http_listen.is_some()) {
            (true, true) => Part::All,
            (true, false) => Part::Read,
            (false, true) => Part::Sent,
            (false, false) => Part::None,
        };
        let (inlets, reads) = (Inlets::default(), TableReads::default());
        let mut pipelines =
            Box::pin(ingester::pipelines(config, Arc::clone(&metastore), part, &inlets, &reads)).await?;
        if config.key.is_none() {
            tracing::warn!("no key_file: hash masks will differ after a restart");
        }
        let (builder, world) = Box::pin(first_world(config, Arc::clone(&metastore), Some(&behind))).await?;
        for warning in builder.warnings() {
            tracing::warn!(%warning, "policy");
        }
        let (current, engine) = over(config, world)?;
        reads.open(Arc::new(Reader::new(Arc::clone(&engine))));
        engine.operator().open(Arc::new(Operations::new(config, Arc::clone(&metastore), reads)));

        let pg_door = pg::Door::bind(&config.wire, Arc::clone(&engine), &doors).await?;
        let pg = pg_door.local_addr()?;
        let mut http = None;
        if let Some(address) = config.wire.http_listen {
            let answers = answers(&engine, &doors, metrics.clone());
            let door = http::Door::bind(address, &config.wire, answers, &behind).await?;
            let door = door.taking(http::Intake { engine: Arc::clone(&engine), inlets });
            http = Some(door.local_addr()?);
            behind.spawn("http door", door.run());
        }
        behind.spawn("catalog and policy", builder.run(current, behind.token().clone()));
        pipelines.show_in(engine.tails().clone());
        behind.spawn_on(threads.handle(), "pipelines", pipelines.run(behind.clone()));
        behind.spawn(
            "pipelines' states",
            states(Arc::clone(&metastore), lakes(&engine), engine.pipelines().clone(), behind.token().clone()),
        );
        let refreshing = Refreshing::new(Arc::clone(&engine), Arc::clone(&metastore));
        behind.spawn_on(threads.handle(), "reflections", refreshing.run(behind.token().clone()));
        let keeping =
            Keeping { metastore, lakes: lakes(&engine), state: engine.own_state(), jobs: engine.jobs().clone() };
        behind.spawn_on(threads.handle(), "keeper", keeping.run(behind.token().clone()));
        behind.spawn("metrics", telemetry::upkeep(metrics, behind.token().clone()));
        doors.spawn("postgres door", pg_door.run());
        tracing::info!(postgres = %pg, http = http.map(tracing::field::display), "serving");
        let patience = Duration::from_millis(config.wire.drain_ms) + END_MAX;
        Ok(Self { engine, pg, http, doors, behind, patience, _threads: threads })
    }

    /// Running statements may finish within `drain_ms`; `hurry` ends them at once. `true` when nothing had to be cut off.
    pub async fn drain(self, hurry: impl Future<Output = ()>) -> bool {
        tracing::info!("draining");
        let doors = tokio::select! {
            ended = self.doors.finish(self.patience) => ended,
            () = hurry => false,
        };
        self.behind.finish(END_MAX).await && doors
    }
}

/// Everything `serve` would load, without touching what is there: no door at its address, nothing written.
pub async fn check(config: &Config) -> Result<Report> {
    let pipelines = specs(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    let (builder, world, _scratch) = dry(config).await?;
    let report = Report {
        warnings: [builder.warnings(), &world.catalog.left_out, &unread(&pipelines, &world)].concat(),
        sources_down: builder.sources_down().iter().map(ToString::to_string).collect(),
        tables: world.catalog.entries.len(),
        users: world.policies.users().len(),
        pipelines: pipelines.len(),
    };
    let (_, engine) = over(config, world)?;
    // Loads certificate and key.
    let anywhere = wire::Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..config.wire.clone() };
    pg::Door::bind(&anywhere, engine, &Shutdown::new()).await?;
    Ok(report)
}

/// Tables that pipelines would read and that are not there, as far as sources answer.
fn unread(pipelines: &[Spec], world: &World) -> Vec<Fault> {
    let fault = |spec: &Spec| {
        let Feed::Table(pull) = &spec.feed else { return None };
        let what = match world.catalog.entries.get(&pull.table).map(|entry| &entry.body) {
            Some(Body::Table(_)) => return None,
            Some(Body::Dataset(_)) => "is a dataset or a view, and pipelines read tables",
            None => "is not there",
        };
        let text = format!("{} {what}; pipeline `{}` waits for a table of this name", pull.table, spec.pipeline);
        let (line, column) = pull.at;
        Some(Fault { file: spec.file.clone(), line, column, text })
    };
    pipelines.iter().filter_map(fault).collect()
}

/// The world that `serve` would begin with, for the commands that explain policies.
pub async fn world(config: &Config) -> Result<World> {
    Ok(dry(config).await?.1)
}

/// A table of a lake, looked over.
pub async fn lake_check(config: &Config, table: &str) -> Result<Findings> {
    let missing = || Error::new(Kind::UndefinedTable, format!("there is no table `{table}`; write `schema.table`"));
    let (_, world, _scratch) = dry(config).await?;
    let is_asked = |name: &&TableName| name.to_string() == table;
    let name = world.catalog.entries.keys().find(is_asked).cloned().ok_or_else(missing)?;
    let writer = engine::world::writer(&world.catalog, &name.schema)?;
    let kept = writer.and_then(|writer| writer.maintained());
    let kept = kept.ok_or_else(|| Error::new(Kind::Config, format!("`{table}` is no table of a lake")))?;
    kept.lake.check(&engine::own_state(Arc::default()), &kept.key(&name), &Job::unseen()).await
}

/// Makes the columns known that came to restricted tables since, of one table or of all; what they are, table by table.
pub async fn accept_columns(config: &Config, table: Option<&str>) -> Result<Vec<NewColumns>> {
    if !config.metastore.path.exists() {
        let text = format!("there is no metastore {}; no server has run over it", config.metastore.path.display());
        return Err(Error::new(Kind::Config, text));
    }
    let (_, world, _scratch) = dry(config).await?;
    let is_asked = |name: &TableName| table.is_none_or(|asked| name.to_string() == asked);
    if let Some(table) = table.filter(|_| !world.catalog.entries.keys().any(is_asked)) {
        return Err(Error::new(Kind::UndefinedTable, format!("there is no table `{table}`; write `schema.table`")));
    }
    let mut new = world.policies.new_columns();
    new.retain(|columns| is_asked(&columns.table));
    known_columns::accept(&Metastore::open(&config.metastore).await?, &new).await?;
    Ok(new)
}

/// Over the metastore that is there, or over an empty one that is gone with the third value.
async fn dry(config: &Config) -> Result<(Builder, World, Scratch)> {
    let scratch = Scratch(std::env::temp_dir().join(format!("lakegate-check-{}", uuid::Uuid::new_v4().simple())));
    let mut metastore = config.metastore.clone();
    if !metastore.path.exists() {
        metastore.path = scratch.0.join("metastore.db");
    }
    let metastore = Arc::new(Metastore::open(&metastore).await?);
    let (builder, world) = Box::pin(first_world(config, metastore, None)).await?;
    Ok((builder, world, scratch))
}

/// A directory that may have been made, and is removed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// With a shutdown it goes on watching and remembers what is in force; without one nothing is left behind.
async fn first_world(
    config: &Config,
    metastore: Arc<Metastore>,
    shutdown: Option<&Shutdown>,
) -> Result<(Builder, World)> {
    let origin = Origin {
        catalog_dir: config.catalog_dir.clone(),
        policies_dir: config.policies_dir.clone(),
        database: config.engine.database.clone(),
        mask_key: derived(config, "mask"),
        connect: connect(Arc::clone(&metastore)),
        metastore: Some(metastore),
        remember: shutdown.is_some(),
        judge: config.policy.clone(),
    };
    Builder::start(origin, shutdown).await.map_err(|faults| refuse(&faults))
}

fn over(config: &Config, world: World) -> Result<(Arc<Current>, Arc<Engine>)> {
    let current = Arc::new(Current::new(Arc::new(world)));
    let engine = Engine::new(config.engine.clone(), Arc::clone(&current), derived(config, "login"))?;
    Ok((current, engine))
}

/// Of the catalog in force.
fn lakes(engine: &Arc<Engine>) -> Lakes {
    let engine = Arc::clone(engine);
    Box::new(move || {
        let world = engine.world();
        let kept = world.sources.iter().filter_map(|s| Some((s.name().to_string(), s.writer()?.maintained()?)));
        kept.collect()
    })
}

fn connect(metastore: Arc<Metastore>) -> Connect {
    Box::new(move |file| sources::connect(&file.name, &file.config, &metastore))
}

/// One secret serves two ends that must not be exchanged for one another.
fn derived(config: &Config, purpose: &str) -> Secret<Vec<u8>> {
    let key = match &config.key {
        Some(key) => key.reveal().clone(),
        None => rand::random::<[u8; 32]>().to_vec(),
    };
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(b"lakegate ");
    mac.update(purpose.as_bytes());
    Secret::new(mac.finalize().into_bytes().to_vec())
}

fn answers(engine: &Arc<Engine>, doors: &Shutdown, metrics: PrometheusHandle) -> http::Answers {
    let (about, draining) = (Arc::clone(engine), doors.token().clone());
    let measured = Arc::clone(engine);
    http::Answers {
        unready: Arc::new(move || if draining.is_cancelled() { vec!["draining".to_string()] } else { Vec::new() }),
        degraded: Arc::new(move || degraded(&about)),
        metrics: Arc::new(move || {
            metrics::gauge!(telemetry::metrics::MEMORY_POOL_BYTES).set(measured.memory_reserved() as f64);
            let cached = measured.cache_counts().map_or(0, |c| c.bytes);
            metrics::gauge!(telemetry::metrics::RESULT_CACHE_BYTES).set(cached as f64);
            metrics.render()
        }),
    }
}

/// Pipelines' states are looked at this often.
const STATES_EVERY: Duration = Duration::from_secs(1);

/// What whoever runs the pipelines notes of them, this process or another.
async fn states(metastore: Arc<Metastore>, lakes: Lakes, board: Board, end: CancellationToken) {
    let looking = async {
        loop {
            // Where each lake's leases are, which need not be here.
            let mut noted = BTreeMap::new();
            let of_lakes = lakes().into_values().map(|kept| Arc::clone(kept.lake.metastore()));
            for metastore in of_lakes.chain([Arc::clone(&metastore)]) {
                match metastore.values(pipelines::NOTED).await {
                    Ok(values) => noted.extend(values),
                    Err(error) => tracing::debug!(%error, "pipelines' states could not be read"),
                }
            }
            board.put(noted.into_iter().collect());
            tokio::time::sleep(STATES_EVERY).await;
        }
    };
    end.run_until_cancelled(looking).await;
}

/// Sources that do not answer, files that are refused, and what the catalog had to leave out.
fn degraded(engine: &Engine) -> Vec<String> {
    let world = engine.world();
    let down = world.catalog.schemas.values().flatten().filter(|mounted| mounted.down);
    let names: BTreeSet<String> =
        down.map(|mounted| format!("source \"{}\" does not answer", mounted.source.name())).collect();
    names.into_iter().chain(engine.faults().iter().map(Fault::to_string)).collect()
}
