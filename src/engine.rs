//! One statement's life: the one door through which anything is asked. No front end holds a plan or a table; it gets a
//! [`Session`], hands it SQL, and receives [`Rows`].

mod advice;
mod asked;
mod assign;
mod audit;
mod bodies;
mod budget;
mod checkpoints;
mod copy_in;
mod cursor;
mod deep;
mod facts;
mod federate;
mod fingerprint;
pub mod functions;
mod held;
mod kept;
pub(crate) mod known_columns;
mod lanes;
mod language;
mod limits;
mod machine;
mod normal;
mod notice;
mod once;
mod pace;
mod parameters;
mod peers;
mod pipeline;
mod planner;
mod posting;
mod provenance;
mod reflect;
pub(crate) mod refresh;
mod remembered;
mod resolver;
mod run;
mod sequences;
mod session;
mod settings;
mod source_query;
mod staleness;
mod statement;
mod stop;
mod stored;
pub mod table_reads;
mod temporary;
pub mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use serde::{Deserialize, Serialize};

pub use self::facts::own_state;
use crate::error::{Error, Kind, Result};
use crate::jobs::Jobs;
use crate::lake::Tails;
use crate::pipelines::{Board, Operator};
use crate::reflection::results::{self, Results};
use crate::refreshes;
use crate::secret::Secret;

pub use self::copy_in::CopyIn;
pub use self::kept::{Held, KeptLimits};
pub use self::limits::Limits;
pub use self::notice::{Notice, Severity};
pub use self::peers::Notification;
pub use self::posting::{Judged, Posted, Posting};
pub use self::run::Rows;
pub use self::session::{Adopted, Answer, Prepared, Session, TransactionStatus, Undone, called};
pub use self::settings::SERVER_VERSION;
pub use self::world::{Current, World};
pub use crate::policy::Principal;

/// `[engine]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the one database.
    pub database: String,
    /// Schemas for names without one, where a client sets no `search_path` of its own.
    pub search_path: String,
    /// One pool for all statements; operators that sort, group and join ask it. 0: 70 % of what the machine or its control
    /// group has.
    pub memory_bytes: u64,
    /// Spill files of all statements together.
    pub spill_bytes_max: u64,
    /// Where spill files lie; the system's temporary directory where absent.
    pub spill_dir: Option<PathBuf>,
    /// No client may set a longer `statement_timeout`; 0: no cap.
    pub statement_timeout_ms_max: u64,
    /// Parallel streams of one statement; 0: one per core.
    pub partitions: usize,
    /// Statements that run on threads of their own; beyond it they share threads.
    pub lanes_max: usize,
    /// A statement that runs longer falls behind shorter ones.
    pub turn_ms: u64,
    /// How far behind, by the operating system's niceness: 0 for not at all, 19 for behind everything on the machine.
    pub long_nice: u8,
    pub statement: Limits,
    pub cache: results::Config,
    pub provenance: provenance::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: "lakegate".into(),
            search_path: "\"$user\", public".into(),
            memory_bytes: 0,
            spill_bytes_max: 50 << 30,
            spill_dir: None,
            statement_timeout_ms_max: 0,
            partitions: 0,
            lanes_max: 64,
            turn_ms: 50,
            long_nice: 10,
            statement: Limits::default(),
            cache: results::Config::default(),
            provenance: provenance::Config::default(),
        }
    }
}

impl Config {
    /// What is true where 0 stands for "what the machine has".
    pub fn settled(mut self) -> Self {
        if self.memory_bytes == 0 {
            self.memory_bytes = machine::memory_bytes() / 10 * 7;
        }
        if self.partitions == 0 {
            self.partitions = machine::cores();
        }
        self.cache = self.cache.settled();
        self
    }

    /// Contradictions of a settled configuration, all at once; each names its key first.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut claim = |holds: bool, text: &str| {
            if !holds {
                faults.push(text.to_string());
            }
        };
        claim((1..=63).contains(&self.database.len()), "`database` is not a name of 1 to 63 bytes");
        claim(self.memory_bytes >= 64 << 20, "`memory_bytes` is below 64 MiB");
        claim(self.partitions <= 1_024, "`partitions` is above 1024");
        claim(self.lanes_max > 0, "`lanes_max` is 0");
        claim(self.long_nice <= 19, "`long_nice` is above 19");
        claim(self.statement.planning_max > 0, "`statement` has a `planning_max` of 0");
        let cache = &self.cache;
        claim(cache.entry_bytes_max <= cache.bytes_max, "`cache` has an `entry_bytes_max` above its `bytes_max`");
        faults
    }
}

/// What every session shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) planner: planner::Planner,
    lanes: lanes::Lanes,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) partitions: usize,
    /// `None`: switched off for everybody.
    pub(crate) results: Option<Results>,
    /// How tables grew that reflections are behind.
    pub(crate) differences: stored::Known,
    pub(crate) peers: Arc<peers::Peers>,
    pub(crate) jobs: Jobs,
    pub(crate) pipelines: Board,
    pub(crate) operator: Operator,
    sequences: Arc<sequences::Sequences>,
    pub(crate) reflections: refreshes::Board,
    pub(crate) provenance: Arc<provenance::Log>,
    pub(crate) advice: Arc<advice::Log>,
    pub(crate) tails: Tails,
}

/// One engine a process.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Shared,
    current: Arc<Current>,
    /// Salts of unknown users are made from it, so that they stay the same from login to login.
    login_key: Secret<Vec<u8>>,
    started_at: i64,
}

impl Engine {
    /// `login_key`: any secret of the deployment that survives a restart.
    pub fn new(config: Config, current: Arc<Current>, login_key: Secret<Vec<u8>>) -> Result<Arc<Self>> {
        let config = config.settled();
        let partitions = config.partitions;
        let pool = FairSpillPool::new(config.memory_bytes as usize);
        let pool = TrackConsumersPool::new(pool, std::num::NonZeroUsize::new(3).expect("three is not zero"));
        let spill = match &config.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(config.spill_bytes_max);
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build_arc()?;
        let cores = machine::cores();
        let planner = planner::Planner::new(planner::Places {
            running_max: config.statement.planning_max,
            overdue_max: config.statement.planning_overdue_max,
            timeout: Duration::from_millis(config.statement.planning_timeout_ms),
        })?;
        let lanes = lanes::Lanes::new(lanes::Config {
            cores,
            threads_max: partitions,
            lanes_max: config.lanes_max,
            turn: Duration::from_millis(config.turn_ms),
            nice: i32::from(config.long_nice),
        });
        let results = config.cache.enabled.then(|| Results::new(&config.cache));
        let (peers, jobs, pipelines) = (Arc::default(), Jobs::default(), Board::default());
        let sequences = Arc::new(sequences::Sequences::new()?);
        let reflections = refreshes::Board::default();
        let (differences, tails) = (stored::Known::default(), Tails::default());
        let provenance = Arc::new(provenance::Log::new(config.provenance.clone()));
        let shared = Shared {
            config,
            planner,
            lanes,
            runtime,
            partitions,
            results,
            differences,
            peers,
            jobs,
            pipelines,
            operator: Operator::default(),
            reflections,
            provenance,
            advice: Arc::default(),
            sequences,
            tails,
        };
        Ok(Arc::new(Self { shared, current, login_key, started_at: micros_now() }))
    }

    /// The SCRAM verifier of `user`, in the text form PostgreSQL stores, for the exchange; for an unknown user a mock one
    /// that no password fits, the same at each call.
    pub fn verifier(&self, user: &str) -> String {
        let world = self.current.get();
        match world.policies.verifier(user) {
            Some(verifier) => verifier.to_string(),
            None => crate::policy::scram::mock_verifier(self.login_key.reveal(), user),
        }
    }

    /// After a SCRAM exchange succeeded; called by `wire/auth.rs` alone. 28000 where the user was removed meanwhile.
    pub fn login(&self, user: &str) -> Result<Principal> {
        let gone = || Error::new(Kind::NotAllowedIn, format!("role \"{user}\" is not permitted to log in"));
        self.current.get().policies.principal(user).ok_or_else(gone)
    }

    /// `startup`: the parameters of the startup message (database, options, client_encoding, TimeZone …). 3D000 for
    /// another database; 22023 and 42704 for settings. `pid` is what pg_backend_pid() answers.
    pub fn session(self: &Arc<Self>, principal: Principal, startup: &[(String, String)], pid: i32) -> Result<Session> {
        Session::open(Arc::clone(self), principal, startup, pid)
    }

    /// The world in force.
    pub fn world(&self) -> Arc<World> {
        self.current.get()
    }

    /// Why files on disk, or parts of what sources have, are not in force; empty when all is.
    pub fn faults(&self) -> Arc<Vec<crate::catalog::Fault>> {
        self.current.faults()
    }

    /// What is under way for nobody's statement, and for some.
    pub fn jobs(&self) -> &Jobs {
        &self.shared.jobs
    }

    /// What `lakegate.pipelines` shows; somebody else fills it.
    pub fn pipelines(&self) -> &Board {
        &self.shared.pipelines
    }

    /// Who has pipelines do what a person wants.
    pub fn operator(&self) -> &Operator {
        &self.shared.operator
    }

    /// What pipelines of this process have taken in, for sessions that want it; they fill it.
    pub fn tails(&self) -> &Tails {
        &self.shared.tails
    }

    /// For work of the server's own over a lake: reads files one after the other.
    pub fn own_state(&self) -> SessionState {
        own_state(Arc::clone(&self.shared.runtime))
    }

    pub(crate) fn started_at(&self) -> i64 {
        self.started_at
    }

    /// What the result cache has done; `None` where it is switched off.
    pub fn cache_counts(&self) -> Option<results::Counts> {
        self.shared.results.as_ref().map(Results::counts)
    }

    /// Bytes that statements hold of the memory pool now.
    pub fn memory_reserved(&self) -> usize {
        self.shared.runtime.memory_pool.reserved()
    }
}

pub(crate) fn micros_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}
