//! The pipelines of a process: started as their files say, started anew where a file changed, ended together. It knows
//! nothing of how one runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::SessionState;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::file::{Feed, Spec};
use super::flow::Flow;
use super::folder::Folder;
use super::kafka::Topic;
use super::keep::keep;
use super::lines::Lines;
use super::origin::Origin;
use super::postgres::Slot;
use super::posts::{self, Posts};
use super::pulled::Pulled;
use super::records::Records;
use super::table::prepare;
use super::target::{Target, Write};
use crate::document::Fault;
use crate::error::Result;
use crate::inlets::Inlets;
use crate::lake::{Lake, Tails};
use crate::metastore::Metastore;
use crate::shutdown::Shutdown;
use crate::sources::kafka::{Client, Config as KafkaFile};
use crate::table_reads::TableReads;

/// Files are looked at this often: an edit has its effect within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What making the tables may take before the first statement.
const PREPARE_MAX: Duration = Duration::from_secs(10);

/// Reads the files as they are now.
pub type Read = Box<dyn FnMut() -> Result<Vec<Spec>, Vec<Fault>> + Send>;

/// Lakes and clusters by what their files say, shared by the pipelines over them.
pub struct Connections {
    metastore: Arc<Metastore>,
    lakes: HashMap<String, Arc<Lake>>,
    clients: HashMap<String, Arc<Client>>,
    reads: TableReads,
}

impl Connections {
    /// Pipelines over tables read them by `reads`.
    pub fn new(metastore: Arc<Metastore>, reads: TableReads) -> Self {
        Self { metastore, lakes: HashMap::new(), clients: HashMap::new(), reads }
    }

    /// Connects nothing yet.
    pub fn target(&mut self, spec: &Spec) -> Result<Target> {
        let described = format!("{}\0{:?}", spec.lake, spec.iceberg);
        let lake = match self.lakes.get(&described) {
            Some(lake) => Arc::clone(lake),
            None => {
                let lake = Arc::new(Lake::connect(&spec.iceberg.lake(), Arc::clone(&self.metastore))?);
                self.lakes.insert(described, Arc::clone(&lake));
                lake
            }
        };
        let (pipeline, file) = (spec.pipeline.clone(), spec.file.clone());
        let (namespace, table) = (spec.namespace.clone(), spec.one_table().map(str::to_string));
        Ok(Target { pipeline, file, lake, namespace, table, write: spec.write })
    }

    /// Makes the origin, as often as it is asked: each begins from nothing.
    pub(crate) fn origin(&mut self, spec: &Spec) -> Result<Make> {
        let (pipeline, namespace) = (spec.pipeline.clone(), spec.namespace.clone());
        match &spec.feed {
            Feed::Topic { kafka, layout } => {
                let (client, layout) = (self.client(&spec.origin, kafka)?, Arc::clone(layout));
                Ok(Box::new(move || {
                    let group = format!("lakegate.{pipeline}");
                    let log = Topic::new(Arc::clone(&client), layout.topic(), group);
                    Box::new(Records::new(Box::new(log), Arc::clone(&layout), &pipeline, &namespace))
                }))
            }
            Feed::Database { postgres, tables, replication } => {
                let slot = Slot::new(&pipeline, &spec.origin, postgres, tables.clone(), replication.clone())?;
                Ok(Box::new(move || Box::new(slot.again())))
            }
            Feed::Http { http, lines } => {
                let posts = posts(spec, http, lines);
                Ok(Box::new(move || posts.origin()))
            }
            Feed::Folder { folder, lines } => {
                let folder = Folder::new(&pipeline, folder, lines)?;
                Ok(Box::new(move || Box::new(folder.again())))
            }
            Feed::Table(pull) => {
                let (pull, reads) = (pull.clone(), self.reads.clone());
                Ok(Box::new(move || Box::new(Pulled::new(&pipeline, pull.clone(), reads.clone()))))
            }
        }
    }

    /// Makes the tables that are absent.
    async fn tables(&mut self, spec: &Spec) -> Result<()> {
        let (target, mut origin) = (self.target(spec)?, self.origin(spec)?());
        prepare(&target, origin.as_mut()).await
    }

    fn client(&mut self, name: &str, config: &KafkaFile) -> Result<Arc<Client>> {
        let described = format!("{name}\0{config:?}");
        if let Some(client) = self.clients.get(&described) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::new(name, config)?);
        self.clients.insert(described, Arc::clone(&client));
        Ok(client)
    }
}

/// The way in of a pipeline that rows are sent to.
fn posts(spec: &Spec, http: &posts::Config, lines: &Arc<Lines>) -> Posts {
    let replaces = match spec.write {
        Write::Upsert { .. } => true,
        Write::Append | Write::Replace => false,
    };
    Posts::new(&spec.pipeline, spec.table.clone(), Arc::clone(lines), http.clone(), replaces, spec.dead_letter)
}

/// An origin at its beginning.
pub(crate) type Make = Box<dyn Fn() -> Box<dyn Origin> + Send + Sync>;

/// Everything that `catalog/pipelines/` describes.
pub struct Pipelines {
    connections: Connections,
    config: Config,
    read: Read,
    /// In which the lake's own files are read.
    state: SessionState,
    specs: Vec<Spec>,
    inlets: Inlets,
    holder: String,
    /// Where readers of this process find what the pipelines have taken in.
    tails: Tails,
    running: BTreeMap<(String, String), Running>,
    /// The faults that were logged last, so that a broken file is told once.
    told: Option<String>,
}

struct Running {
    hash: u64,
    stop: CancellationToken,
    task: JoinHandle<()>,
    posts: Option<Posts>,
}

impl Pipelines {
    /// Reads the files; every fault of every file. Those that take rows in are found in `inlets` while they run.
    pub fn new(
        config: &Config,
        metastore: Arc<Metastore>,
        state: SessionState,
        mut read: Read,
        inlets: Inlets,
        reads: TableReads,
    ) -> Result<Self, Vec<Fault>> {
        let specs = read()?;
        let holder = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let (connections, config) = (Connections::new(metastore, reads), config.clone());
        // Known from the first request on: what does not run yet is no pipeline that is not there.
        for spec in &specs {
            if let Feed::Http { http, lines } = &spec.feed {
                inlets.open(&spec.pipeline, Arc::new(posts(spec, http, lines)));
            }
        }
        let (tails, running) = (Tails::default(), BTreeMap::new());
        Ok(Self { connections, config, read, state, specs, inlets, holder, tails, running, told: None })
    }

    /// What they take in is shown there.
    pub fn show_in(&mut self, tails: Tails) {
        self.tails = tails;
    }

    /// Makes the tables that are absent, so that policies may name them before the first change came. What cannot be
    /// made now the pipelines make later.
    pub async fn prepare(&mut self) {
        let specs = self.specs.clone();
        let making = async {
            for spec in &specs {
                if let Feed::Table(_) = spec.feed {
                    // Nothing reads tables yet; policies may name its own all the same.
                    continue;
                }
                if let Err(error) = self.connections.tables(spec).await {
                    tracing::warn!(pipeline = spec.pipeline, table = spec.label(), error = ?error, "table not made yet");
                }
            }
        };
        if timeout(PREPARE_MAX, making).await.is_err() {
            tracing::warn!("the lake does not answer; tables of pipelines are made later");
        }
    }

    /// Until the shutdown; then every pipeline commits what it took in.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.settle().await;
            if shutdown.token().run_until_cancelled(sleep(LOOK_EVERY)).await.is_none() {
                break;
            }
            match (self.read)() {
                Ok(specs) => {
                    if hashes(&specs) != hashes(&self.specs) {
                        self.told = None;
                    }
                    self.specs = specs;
                }
                Err(faults) => self.tell(&faults),
            }
        }
        self.running.values().for_each(|running| running.stop.cancel());
        for ((pipeline, _), running) in self.running {
            ended(&pipeline, running).await;
        }
    }

    fn tell(&mut self, faults: &[Fault]) {
        let lines = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if self.told.as_ref() != Some(&lines) {
            for fault in faults {
                tracing::error!(%fault, "pipelines refused, those in force go on");
            }
            self.told = Some(lines);
        }
    }

    /// What runs becomes what the files say.
    async fn settle(&mut self) {
        let named = |spec: &Spec| (spec.pipeline.clone(), spec.table.to_string());
        let wanted: BTreeMap<_, _> = self.specs.iter().map(|s| (named(s), s.clone())).collect();
        let leave =
            self.running.iter().filter(|(name, running)| wanted.get(name).map(|s| s.hash) != Some(running.hash));
        let leave: Vec<_> = leave.map(|(name, _)| name.clone()).collect();
        for name in leave {
            if let Some(running) = self.running.remove(&name) {
                tracing::info!(pipeline = name.0, table = name.1, "pipeline ends");
                running.stop.cancel();
                let took_rows = running.posts.is_some();
                ended(&name.0, running).await;
                // Where it is started anew, its way in stays and says that it does not run.
                let stays = wanted.get(&name).is_some_and(|spec| matches!(spec.feed, Feed::Http { .. }));
                if took_rows && !stays {
                    self.inlets.close(&name.0);
                }
            }
        }
        for (name, spec) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            match self.start(&spec) {
                Ok(running) => {
                    tracing::info!(pipeline = name.0, table = spec.label(), origin = spec.origin, "pipeline starts");
                    self.running.insert(name, running);
                }
                Err(error) => self.tell(&[Fault { file: spec.file, line: 1, column: 1, text: error.to_string() }]),
            }
        }
    }

    fn start(&mut self, spec: &Spec) -> Result<Running> {
        let target = self.connections.target(spec)?;
        let (origin, posts): (Make, _) = match &spec.feed {
            Feed::Http { http, lines } => {
                let posts = posts(spec, http, lines);
                self.inlets.open(&spec.pipeline, Arc::new(posts.clone()));
                let again = posts.clone();
                (Box::new(move || again.origin()), Some(posts))
            }
            Feed::Topic { .. } | Feed::Database { .. } | Feed::Folder { .. } | Feed::Table(_) => {
                (self.connections.origin(spec)?, None)
            }
        };
        let (config, holder, tails) = (self.config.clone(), self.holder.clone(), self.tails.clone());
        let (commit, dead_letter) = (spec.commit, spec.dead_letter);
        let state = self.state.clone();
        let make = move || Flow {
            target: target.clone(),
            origin: origin(),
            state: state.clone(),
            commit,
            dead_letter,
            config: config.clone(),
            holder: holder.clone(),
            tails: tails.clone(),
        };
        let stop = CancellationToken::new();
        Ok(Running { hash: spec.hash, stop: stop.clone(), task: tokio::spawn(keep(make, stop)), posts })
    }
}

fn hashes(specs: &[Spec]) -> Vec<u64> {
    specs.iter().map(|s| s.hash).collect()
}

/// What panics in a flow is caught there; what panics around it ends no other pipeline.
async fn ended(pipeline: &str, running: Running) {
    let ended = running.task.await;
    // After its last commit: who waits for that is told of it.
    if let Some(posts) = &running.posts {
        posts.close();
    }
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(pipeline, error = %error, "pipeline panicked");
    }
}
