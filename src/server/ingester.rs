//! The pipelines of a configuration: beside the doors of `serve`, alone as `lakegate ingest`, and the questions about
//! them. What a pipeline does is `ingest`'s business.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;

use super::keeper::{Keeping, Lakes};
use super::{END_MAX, dry, first_world, over, refuse};
use crate::catalog::file::Draft;
use crate::config::{Config, Fault};
use crate::engine::table_reads::Reader;
use crate::error::{Error, Kind, Result};
use crate::glance::Glance;
use crate::ingest::{self, Connections, Feed, From, Pipelines, Replayed, Report, Spec};
use crate::inlets::Inlets;
use crate::jobs::Jobs;
use crate::metastore::Metastore;
use crate::pipelines::{Operate, no_pipeline};
use crate::shutdown::Shutdown;
use crate::sources::iceberg::Maintained;
use crate::table_reads::{TableReader, TableReads};
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
        let work = Shutdown::new();
        let reads = own_reads(config, &metastore, &work);
        let inlets = Inlets::default();
        let pipelines = pipelines(config, Arc::clone(&metastore), Part::Read, &inlets, &reads).await?;
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
            Feed::Topic { .. } | Feed::Database { .. } | Feed::Folder { .. } | Feed::Table(_) => false,
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
    reads: &TableReads,
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
    let pipelines = Pipelines::new(&config.ingest, metastore, state, read, inlets.clone(), reads.clone());
    let mut pipelines = pipelines.map_err(|faults| refuse(&faults))?;
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
    let mut connections = Connections::new(Arc::new(Metastore::open(&config.metastore).await?), TableReads::default());
    let mut reports = vec![];
    for spec in &specs {
        let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
        reports.push(ingest::report(&target, origin.as_mut()).await?);
    }
    Ok(reports)
}

/// What a person has pipelines do, over the files of now.
pub(super) struct Operations {
    config: Config,
    metastore: Arc<Metastore>,
    reads: TableReads,
}

impl Operations {
    pub(super) fn new(config: &Config, metastore: Arc<Metastore>, reads: TableReads) -> Self {
        Self { config: config.clone(), metastore, reads }
    }

    /// Those of the pipeline, with what connects them; 42704 where there are none.
    fn of(&self, pipeline: &str) -> Result<(Vec<Spec>, Connections)> {
        let mut specs = specs(&self.config.catalog_dir).map_err(|faults| refuse(&faults))?;
        specs.retain(|spec| spec.pipeline == pipeline);
        match specs.is_empty() {
            true => Err(no_pipeline(pipeline)),
            false => Ok((specs, Connections::new(Arc::clone(&self.metastore), self.reads.clone()))),
        }
    }
}

#[async_trait]
impl Operate for Operations {
    async fn pause(&self, pipeline: &str, wanted: bool) -> Result<()> {
        self.of(pipeline)?;
        ingest::pause(&self.metastore, pipeline, wanted).await
    }

    async fn pull(&self, pipeline: &str) -> Result<()> {
        let (specs, _) = self.of(pipeline)?;
        if specs.iter().any(|spec| !matches!(spec.feed, Feed::Table(_))) {
            let text = format!("pipeline \"{pipeline}\" takes in what comes, and is not run at times");
            return Err(Error::new(Kind::WrongObjectType, text));
        }
        ingest::pull(&self.metastore, pipeline).await
    }

    async fn resume(&self, pipeline: &str, from: From) -> Result<Vec<(String, String)>> {
        let (specs, mut connections) = self.of(pipeline)?;
        let mut done = vec![];
        for spec in &specs {
            let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
            done.extend(ingest::resume(&target, origin.as_mut(), from, self.config.ingest.lease_ms).await?);
        }
        // Not before: a flow that goes on holds its lease, and the others of the pipeline would be refused.
        ingest::pause(&self.metastore, pipeline, false).await?;
        Ok(done)
    }

    async fn replay(&self, pipeline: &str) -> Result<Vec<(String, Replayed)>> {
        let (specs, mut connections) = self.of(pipeline)?;
        let state = engine::own_state(Arc::default());
        let mut done = vec![];
        for spec in &specs {
            let (target, mut origin) = (connections.target(spec)?, connections.origin(spec)?());
            let replayed = Box::pin(ingest::replay(&target, &state, origin.as_mut(), &self.config.ingest)).await?;
            done.push((spec.table.to_string(), replayed));
        }
        Ok(done)
    }
}

/// For the command line, which serves nothing: tables are read by a world of its own, made where a pipeline needs one.
pub async fn ingest_operations(config: &Config) -> Result<Arc<dyn Operate>> {
    let metastore = Arc::new(Metastore::open(&config.metastore).await?);
    Ok(Arc::new(Operations::new(config, metastore, dry_reads(config))))
}

/// Nothing is watched and nothing is left behind.
fn dry_reads(config: &Config) -> TableReads {
    let config = Arc::new(config.clone());
    TableReads::made_by(Box::new(move || {
        let config = Arc::clone(&config);
        Box::pin(async move {
            let (_, world, _scratch) = Box::pin(dry(&config)).await?;
            Ok(Arc::new(Reader::new(over(&config, world)?.1)) as Arc<dyn TableReader>)
        })
    }))
}

/// For a process that serves no statement: a world as `serve` has it, made once a pipeline reads a table, and kept as its files
/// are. What is in force there nobody else is told of.
fn own_reads(config: &Config, metastore: &Arc<Metastore>, work: &Shutdown) -> TableReads {
    let (config, metastore, work) = (Arc::new(config.clone()), Arc::clone(metastore), work.clone());
    TableReads::made_by(Box::new(move || {
        let (config, metastore, work) = (Arc::clone(&config), Arc::clone(&metastore), work.clone());
        Box::pin(async move {
            let (builder, world) = Box::pin(first_world(&config, metastore, None)).await?;
            let (current, engine) = over(&config, world)?;
            work.spawn("catalog", builder.run(current, work.token().clone()));
            Ok(Arc::new(Reader::new(engine)) as Arc<dyn TableReader>)
        })
    }))
}
