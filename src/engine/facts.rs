//! What a session's statements share until something changes: its rights, its view of the catalog, and a DataFusion state
//! with the session's functions and time zone. The only file that builds such a state.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Optimizer;
use datafusion::prelude::SessionConfig;

use super::asked::{Asked, Right};
use super::budget::Budget;
use super::sequences::{Counting, Given};
use super::settings::{Settings, SharedSettings, Versions};
use super::temporary::{self, Temporary};
use super::world::World;
use super::{Shared, functions, once};
use crate::catalog::peers::Others;
use crate::catalog::visible::{Circumstances, Listed, View};
use crate::error::{Error, Kind, Result};
use crate::lake::Freshness;
use crate::policy::{Principal, SessionPolicy};
use crate::sql::functions::random::Random;
use crate::sql::kernel::Env;
use crate::sql::lower;
use crate::types::AsOf;

/// Derived from one world and one version of the session's settings.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) world: Arc<World>,
    pub(crate) policy: SessionPolicy,
    pub(crate) view: Arc<View>,
    pub(crate) state: SessionState,
    pub(crate) search_path: Vec<String>,
    /// The version that tables are read at where a statement names no other.
    pub(crate) as_of: Option<AsOf>,
    /// How fresh tables are that pipelines fill, and how long a statement waits for that.
    pub(crate) freshness: Freshness,
    pub(crate) freshness_timeout: Duration,
    pub(crate) settings_version: u64,
    /// Settings that can change a value.
    pub(crate) settings_fingerprint: String,
    /// The versions at which single tables are read before that.
    pub(crate) versions: Versions,
    /// Reflections may answer.
    pub(crate) uses_reflections: bool,
    /// How far an answer may be behind; `None`: its session does not say.
    pub(crate) max_staleness_ms: Option<i64>,
    pub(crate) temporary: Temporary,
    pub(crate) asked: Asked,
    pub(crate) temporary_version: u64,
    value_bytes_max: usize,
}

/// What of a session is nobody else's.
struct Own {
    temporary: Temporary,
    temporary_version: u64,
    asked: Asked,
    random: Random,
    search_path: Vec<String>,
}

/// What does not change while the session lives.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Principal,
    pub(crate) pid: i32,
    pub(crate) others: Others,
    pub(crate) server_started_at: i64,
    pub(crate) session_started_at: i64,
    /// Those that are open.
    pub(crate) cursors: Listed,
    pub(crate) random: Random,
    pub(crate) temporary: Temporary,
    /// By its transaction.
    pub(crate) asked: Asked,
    /// By sequences.
    pub(super) given: Given,
}

/// 28000.
pub(super) fn gone() -> Error {
    Error::new(Kind::NotAllowedIn, "this user may no longer log in")
}

/// 42501.
fn acts_no_more(principal: &Principal) -> Error {
    let other = principal.acts_for().unwrap_or_default();
    Error::new(Kind::PermissionDenied, format!("permission denied to set role \"{other}\""))
        .with_hint("RESET ROLE and RESET SESSION AUTHORIZATION go back to the login's own rights.")
}

impl Facts {
    /// 42501 where it may no longer act for whom it acts; 28000 where the user was removed since the login.
    pub(crate) fn new(world: Arc<World>, identity: &Identity, kept: &SharedSettings, shared: &Shared) -> Result<Self> {
        let principal = identity.principal.acting_for(kept.lock().acts_for());
        let policy = match world.policies.session(&principal) {
            Some(policy) => policy,
            None if world.policies.session(&identity.principal).is_some() => return Err(acts_no_more(&principal)),
            None => return Err(gone()),
        };
        let about = Circumstances {
            settings: kept.handle(),
            cursors: identity.cursors.clone(),
            pid: identity.pid,
            others: identity.others.clone(),
            jobs: shared.jobs.clone(),
            pipelines: shared.pipelines.clone(),
            counts: Some(Arc::new(Counting {
                sequences: Arc::clone(&shared.sequences),
                catalog: Arc::clone(&world.catalog),
                given: identity.given.clone(),
            })),
            reflections: shared.reflections.clone(),
            statements: Some(Arc::clone(&shared.provenance) as _),
            server_started_at: identity.server_started_at,
            session_started_at: identity.session_started_at,
        };
        let mut view = View::new(&world.catalog.database, policy.current_user(), world.sight(&policy), about);
        let temporary_version = identity.temporary.version();
        view.add_own(temporary::SCHEMA, identity.temporary.all());
        let mut settings = kept.lock();
        settings.stale_by_role(policy.max_staleness_ms());
        let own = Own {
            temporary: identity.temporary.clone(),
            temporary_version,
            asked: identity.asked.clone(),
            random: identity.random.clone(),
            search_path: settings.search_path(),
        };
        Self::of(world, policy, Arc::new(view), own, &settings, shared)
    }

    /// A right that is asked again before others see what was done by it.
    pub(crate) fn gave(&self, right: Right) {
        self.asked.given(self.policy.principal(), right);
    }

    /// For what the server reads for itself: nobody's settings, and nothing of a catalog is shown to anybody. `world` has no
    /// reflections, or what is stored could be made of itself.
    pub(crate) fn of_server(world: Arc<World>, policy: SessionPolicy, shared: &Shared) -> Result<Self> {
        let temporary = Temporary::new(&shared.runtime.memory_pool, shared.config.memory_bytes);
        let (temporary_version, asked, random) = (temporary.version(), Asked::default(), Random::default());
        let own = Own { temporary, temporary_version, asked, random, search_path: vec![] };
        Self::of(world, policy, Arc::default(), own, &Settings::new("", ""), shared)
    }

    fn of(
        world: Arc<World>,
        policy: SessionPolicy,
        view: Arc<View>,
        own: Own,
        settings: &Settings,
        shared: &Shared,
    ) -> Result<Self> {
        let Own { temporary, temporary_version, asked, random, search_path } = own;
        let mut config = base_state().config().clone().with_target_partitions(shared.partitions);
        config.options_mut().execution.time_zone = Some(settings.time_zone().name().to_string());
        let environment = environment(settings, shared.config.statement.value_bytes_max);
        config.options_mut().extensions.insert(Env { random, ..environment });
        let mut state = SessionStateBuilder::new_from_existing(base_state())
            .with_config(config)
            .with_runtime_env(Arc::clone(&shared.runtime))
            .build();
        for function in functions::scalar(&view) {
            datafusion::execution::FunctionRegistry::register_udf(&mut state, function)?;
        }
        Ok(Self {
            policy,
            view,
            temporary,
            temporary_version,
            asked,
            state,
            search_path,
            as_of: settings.as_of(),
            freshness: settings.freshness(),
            freshness_timeout: settings.freshness_timeout(),
            settings_version: settings.version(),
            settings_fingerprint: settings.fingerprint(),
            versions: settings.versions(),
            uses_reflections: settings.uses_reflections(),
            max_staleness_ms: settings.max_staleness_ms(),
            value_bytes_max: shared.config.statement.value_bytes_max,
            world,
        })
    }

    /// For one statement, with a budget of its own. `began_at`: when its transaction did, which `now()` and `current_date`
    /// say; without it, the statement is one by itself.
    pub(crate) fn statement_state(&self, began_at: Option<i64>) -> SessionState {
        let mut state = self.state.clone();
        let budget = Budget::new(&state.runtime_env().memory_pool);
        let options = state.config_mut().options_mut();
        if let Some(env) = options.extensions.get::<Env>() {
            let now = super::micros_now();
            let value_bytes_max = self.value_bytes_max;
            let budget =
                crate::sql::kernel::Budget { value_bytes_max, memory: Some(Arc::new(budget)), planning: false };
            let env = Env { now: began_at.unwrap_or(now), statement_now: now, budget, ..env.clone() };
            options.extensions.insert(env);
        }
        state.mark_start_execution();
        state
    }
}

/// While a plan is made large constants do not become literals of it.
pub(super) fn set_planning(state: &mut SessionState, planning: bool) {
    let options = state.config_mut().options_mut();
    if let Some(env) = options.extensions.get_mut::<Env>() {
        env.budget.planning = planning;
    }
}

/// For work of the server's own: no session, no user, and one partition, so that rows keep the order of their files.
pub fn own_state(runtime: Arc<RuntimeEnv>) -> SessionState {
    let base = base_state();
    let config = base.config().clone().with_target_partitions(1);
    SessionStateBuilder::new_from_existing(base).with_config(config).with_runtime_env(runtime).build()
}

/// What of the settings a function may depend on.
fn environment(settings: &Settings, value_bytes_max: usize) -> Env {
    Env {
        time_zone: settings.time_zone(),
        date_style: settings.date_style(),
        interval_style: settings.interval_style(),
        extra_float_digits: settings.extra_float_digits(),
        bytea_escape: settings.value("bytea_output") == "escape",
        public_on_path: settings.search_path().iter().any(|schema| schema == "public"),
        budget: crate::sql::kernel::Budget { value_bytes_max, memory: None, planning: false },
        ..Env::plain()
    }
}

/// Keys of a join's smaller side that are listed for the other one's scans, and their bytes, for each thread.
const JOIN_KEYS_MAX: usize = 20_000;
const JOIN_KEYS_BYTES_MAX: usize = 1 << 20;

/// DataFusion's optimizer and planner without a function: names are `sql`'s, which knows each of its own.
pub(crate) fn base_state() -> SessionState {
    static BASE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut config = SessionConfig::new().with_information_schema(false).with_collect_statistics(true);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".into());
        // two grants on one table must never merge into one filtered scan (policy.md §6.8)
        options.optimizer.enable_unions_to_filter = false;
        // of a CASE with a cast in it, logical and physical plan know differently whether it may be NULL
        options.execution.skip_physical_aggregate_schema_check = true;
        // keys that a join takes to a database
        options.optimizer.hash_join_inlist_pushdown_max_distinct_values = JOIN_KEYS_MAX;
        options.optimizer.hash_join_inlist_pushdown_max_size = JOIN_KEYS_BYTES_MAX;
        let rules = lower::rules(&Optimizer::new().rules);
        let builder = SessionStateBuilder::new().with_config(config).with_optimizer_rules(rules);
        builder.with_query_planner(Arc::new(once::Planner)).build()
    });
    BASE.clone()
}
