//! The pipelines of a configuration: beside the doors of `serve`, alone as `lakegate ingest`, and the questions about
//! them. What a pipeline does is `ingest`'s business.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use metrics_exporter_prometheus::PrometheusHandle;

use super::keeper::{Keeping, Lakes};
use super::{END_MAX, refuse};
use crate::catalog::file::Draft;
use crate::config::{Config, Fault};
use crate::error::{Error, Kind, Result};
use crate::glance::Glance;
use crate::ingest::{self, Connections, Feed, From, Pipelines, Replayed, Report, Spec};
use crate::inlets::Inlets;
use crate::jobs::Jobs;
use crate::metastore::Metastore;
use crate::shutdown::Shutdown;
use crate::sources::iceberg::Maintained;
use crate::wire::http;
use crate::{engine, sources, telemetry};

/// A process that runs pipelines and serves no statement. [`Ingester::drain`] ends it.
pub struct Ingester {
    pub http: Option<SocketAddr>,
    work: Shutdown,
}

impl Ingester {
    /// Returns when the pipelines are read and their tables made. `metrics` renders what `/metrics` shows.
    pub async fn start(config: &Config, address: Option<SocketAddr>, metrics: PrometheusHandle) -> Result<Self> {
        let metastore = Arc::new(Metastore::open(&config.metastore).await?);
        let pipelines = pipelines(config, Arc::clone(&metastore), Part::Read, &Inlets::default()).await?;
        let work = Shutdown::new();
        let mut http = None;
        if let Some(address) = address {
            let (rendered, draining) = (metrics.clone(), work.token().clone());
            let answers = http::Answers {
                unready: Arc::new(move || if draining.is_cancelled() { vec!["draining".to_string()] } else { vec![] }),
                degraded: Arc::new(Vec::new),
                metrics: Arc::new(move || rendered.render()),
            };
            let door = http::Door::bind(address, &config.wire, answers, &work).await?;
            http = Some(door.local_addr()?);
            work.spawn("http door", door.run());
        }
        work.spawn("metrics", telemetry::upkeep(metrics, work.token().clone()));
        work.spawn("pipelines", pipelines.run(work.clone()));
        let (state, jobs) = (engine::own_state(Arc::default()), Jobs::default());
        let keeping = Keeping { lakes: lakes(config, Arc::clone(&metastore)), metastore, state, jobs };
        work.spawn("keeper", keeping.run(work.token().clone()));
        tracing::info!(http = http.map(tracing::field::display), "ingesting");
        Ok(Self { http, work })
    }

    /// What was read is committed; `hurry` does not wait for it. `true` when nothing had to be cut off.
    pub async fn drain(self, hurry: impl Future<Output = ()>) -> bool {
        tracing::info!("draining");
        tokio::select! {
            ended = self.work.finish(END_MAX) => ended,
            () = hurry => false,
        }
    }
}

/// By their files' names, with the files' hashes.
type Connected = BTreeMap<String, (u64, Maintained)>;

/// Of the catalog's files, connected anew when they change.
fn lakes(config: &Config, metastore: Arc<Metastore>) -> Lakes {
    let catalog_dir = config.catalog_dir.clone();
    let known: Mutex<Option<(Glance, Connected)>> = Mutex::default();
    Box::new(move || {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(glance, _)| !glance.still_holds()) {
            let (glance, before) = (Glance::of(&catalog_dir), known.take().map(|(_, lakes)| lakes).unwrap_or_default());
            let mut lakes = BTreeMap::new();
            // A catalog at fault is told of by others; what stood in it before is kept.
            match Draft::read(&catalog_dir) {
                Ok(draft) => {
                    for file in draft.sources {
                        let as_before = before.get(&file.name).filter(|(hash, _)| *hash == file.hash);
                        let connect = || {
                            let source = sources::connect(&file.name, &file.config, &metastore).ok()?;
                            Some((file.hash, source.writer()?.maintained()?))
                        };
                        if let Some(lake) = as_before.cloned().or_else(connect) {
                            lakes.insert(file.name.clone(), lake);
                        }
                    }
                }
                Err(_) => lakes = before,
            }
            *known = Some((glance, lakes));
        }
        let lakes = known.iter().flat_map(|(_, lakes)| lakes);
        lakes.map(|(name, (_, lake))| (name.clone(), lake.clone())).collect()
    })
}

type Specs = Result<Vec<Spec>, Vec<Fault>>;

/// Which of the pipelines a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Those that read something by themselves.
    Read,
    /// Those that rows are sent to: they are where the door is.
    Sent,
    None,
}

impl Part {
    fn of(self, specs: Specs) -> Specs {
        let is_sent = |spec: &Spec| match spec.feed {
            Feed::Http { .. } => true,
            Feed::Topic { .. } | Feed::Database { .. } | Feed::Folder { .. } => false,
        };
        let mut specs = specs?;
        specs.retain(|spec| match self {
            Self::All => true,
            Self::Read => !is_sent(spec),
            Self::Sent => is_sent(spec),
            Self::None => false,
        });
        Ok(specs)
    }
}

/// The pipelines of the configuration, their tables made.
pub(super) async fn pipelines(
    config: &Config,
    metastore: Arc<Metastore>,
    part: Part,
    inlets: &Inlets,
) -> Result<Pipelines> {
    let catalog_dir = config.catalog_dir.clone();
    let mut known: Option<(Glance, Specs)> = None;
    let read = Box::new(move || match &known {
        Some((glance, specs)) if glance.still_holds() => specs.clone(),
        _ => {
            let (glance, specs) = (Glance::of(&catalog_dir), part.of(specs(&catalog_dir)));
            known = Some((glance, specs.clone()));
            specs
        }
    });
    let state = engine::own_state(Arc::default());
    let mut pipelines =
        Pipelines::new(&config.ingest, metastore, state, read, inlets.clone()).map_err(|faults| refuse(&faults))?;
    pipelines.prepare().await;
    Ok(pipelines)
}

/// What `catalog/pipelines/` says beside the sources it speaks of.
pub(super) fn specs(catalog_dir: &Path) -> Specs {
    let catalog = Draft::read(catalog_dir)?;
    let known: Vec<ingest::Known<'_>> =
        catalog.sources.iter().map(|s| ingest::Known { name: &s.name, config: &s.config, hash: s.hash }).collect();
    ingest::read(catalog_dir, &known)
}

/// Of every table that a pipeline fills.
pub async fn ingest_status(config: &Config) -> Result<Vec<Report>> {
    let specs = specs(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    let mut connections = Connections::new(Arc::new(Metastore::open(&config.metastore).await?));
    let mut reports = vec![];
    for spec in &specs {
        let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
        reports.push(ingest::report(&target, origin.as_mut()).await?);
    }
    Ok(reports)
}

/// Has a pipeline rest, or go on, whichever process runs it.
pub async fn ingest_pause(config: &Config, pipeline: &str, wanted: bool) -> Result<()> {
    let specs = specs(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    if !specs.iter().any(|spec| spec.pipeline == pipeline) {
        return Err(no_pipeline(pipeline));
    }
    let mut connections = Connections::new(Arc::new(Metastore::open(&config.metastore).await?));
    for spec in specs.iter().filter(|spec| spec.pipeline == pipeline) {
        ingest::pause(connections.target(spec)?.lake.metastore(), pipeline, wanted).await?;
    }
    Ok(())
}

fn no_pipeline(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("there is no pipeline \"{name}\""))
}

/// Sets every table of a stopped pipeline to one of the topic's ends; table and offsets.
pub async fn ingest_resume(config: &Config, pipeline: &str, from: From) -> Result<Vec<(String, String)>> {
    let specs = specs(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    let mut connections = Connections::new(Arc::new(Metastore::open(&config.metastore).await?));
    let mut done = vec![];
    for spec in specs.iter().filter(|s| s.pipeline == pipeline) {
        let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
        done.extend(ingest::resume(&target, origin.as_mut(), from, config.ingest.lease_ms).await?);
    }
    // Not before: a flow that goes on holds its lease, and the others of the pipeline would be refused.
    for spec in specs.iter().filter(|s| s.pipeline == pipeline) {
        ingest::pause(connections.target(spec)?.lake.metastore(), pipeline, false).await?;
    }
    match done.is_empty() {
        true => Err(no_pipeline(pipeline)),
        false => Ok(done),
    }
}

/// Takes in again what a pipeline set aside and what fits its columns by now; table by table.
pub async fn ingest_replay(config: &Config, pipeline: &str) -> Result<Vec<(String, Replayed)>> {
    let specs = specs(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    let mut connections = Connections::new(Arc::new(Metastore::open(&config.metastore).await?));
    let state = engine::own_state(Arc::default());
    let mut done = vec![];
    for spec in specs.iter().filter(|s| s.pipeline == pipeline) {
        let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
        let replayed = Box::pin(ingest::replay(&target, &state, origin.as_mut())).await?;
        done.push((spec.table.to_string(), replayed));
    }
    match done.is_empty() {
        true => Err(no_pipeline(pipeline)),
        false => Ok(done),
    }
}
