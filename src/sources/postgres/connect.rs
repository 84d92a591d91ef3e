//! Connections to one source: a bounded pool, the session's settings, back-off after a failure, and the cancel request
//! that makes the server quiet when a reader goes away. It knows no table.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::dialect::Facts;
use super::{Config, tls};
use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// What every session says first. With `pg_catalog` alone on the path nothing of the source's users can stand in for an
/// operator or a function; `pushdown` relies on the last line of it.
const SETTINGS: &str = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
    SET default_transaction_read_only = on; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on";
/// DISCARD ALL without what it does to prepared statements.
const RESTORE: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";
const ASSERTION: &str = "SELECT current_setting('standard_conforming_strings'), current_setting('client_encoding'), current_setting('search_path')";

/// Messages that hold no value.
const FIXED: [&str; 17] = [
    "division by zero",
    "smallint out of range",
    "integer out of range",
    "bigint out of range",
    "value overflows numeric format",
    "numeric field overflow",
    "value out of range: overflow",
    "value out of range: underflow",
    "date out of range",
    "timestamp out of range",
    "interval out of range",
    "more than one row returned by a subquery used as an expression",
    "cannot take logarithm of zero",
    "cannot take logarithm of a negative number",
    "cannot take square root of a negative number",
    "zero raised to a negative power is undefined",
    "negative substring length not allowed",
];

/// Where the source sets no limit of its own.
const COMPUTE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A peer that is gone while it should compute is noticed by the kernel.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The first pause after a failed connect, doubled each time up to the second.
const BACKOFF_MS: u64 = 200;
const BACKOFF_MS_MAX: u64 = 10_000;
/// A connection that nobody used for so long is closed instead of used.
const IDLE_MAX: Duration = Duration::from_secs(300);

pub(super) struct Pool {
    source: String,
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    settings: String,
    /// Where connections live: the runtime on which the source was made, which outlives every statement.
    home: Handle,
    pub(super) read_timeout: Duration,
    /// As long as a statement may take there before its first row: what computes is silent meanwhile.
    pub(super) compute_timeout: Duration,
    connect_timeout: Duration,
    wait: Duration,
    permits: Arc<Semaphore>,
    /// Of transactions that change something, which last as long as their sessions want: one connection is left to readers.
    changing: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    connections_max: usize,
    health: Mutex<Health>,
    /// Cancel requests and restorations under way.
    errands: TaskTracker,
    pushes: bool,
    pub(super) writable: bool,
    pub(super) dialect: &'static Facts,
    /// By the oids of tables.
    misfits: Mutex<HashMap<u32, Misfit>>,
}

/// Which values of a table were met that their columns' types here cannot hold. Such columns are read otherwise from the next
/// look at the catalogs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Misfit {
    /// NaN, or more digits than a numeric's declared ones.
    pub(super) numerics: bool,
    /// Arrays of several dimensions, or that begin elsewhere than at 1.
    pub(super) arrays: bool,
}

/// What the last connect attempts came to. While a source is down one caller at a time tries, after a pause; the others
/// are told so at once instead of storming it.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    not_before: Option<Instant>,
    trying: bool,
}

/// What a connection is for. One that has run somebody's text is never lent to whoever reads tables: a function that the text
/// called may have left something in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Tables,
    Texts,
    /// Changes, by which triggers of the source's run.
    Changes,
}

struct Idle {
    connection: Connection,
    since: Instant,
    of: Use,
}

struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    home: Handle,
}

impl Drop for Connection {
    /// Closes the socket: the driver owns it.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The right to have one.
struct Permit {
    _one: OwnedSemaphorePermit,
    _changing: Option<OwnedSemaphorePermit>,
}

/// A connection at work. Dropped before [`Lease::finish`], it sends a cancel request and closes the connection: closing
/// alone is noticed by the server only when it writes.
pub(super) struct Lease {
    connection: Option<Connection>,
    permit: Option<Permit>,
    pool: Arc<Pool>,
    of: Use,
    /// It lay idle before, so that the server may have closed it meanwhile.
    pub(super) used: bool,
}

impl Pool {
    pub(super) fn new(source: &str, config: &Config, dialect: &'static Facts) -> Result<Self> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let mut remote = tokio_postgres::Config::new();
        remote.host(&config.host).port(config.port).dbname(&config.database).user(&config.user);
        remote.application_name("lakegate").connect_timeout(connect_timeout);
        remote.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).keepalives_retries(3);
        if let Some(password) = password(source, config)? {
            remote.password(password.reveal().as_bytes());
        }
        let tls = tls::connector(source, config)?;
        remote.ssl_mode(match tls {
            Some(_) => tokio_postgres::config::SslMode::Require,
            None => tokio_postgres::config::SslMode::Disable,
        });
        Ok(Self {
            home: Handle::current(),
            source: source.into(),
            config: remote,
            tls,
            settings: format!(
                "{SETTINGS}; {}; SET statement_timeout = {}; {ASSERTION}",
                dialect.settings, config.statement_timeout_ms
            ),
            dialect,
            read_timeout: Duration::from_millis(config.read_timeout_ms),
            compute_timeout: match config.statement_timeout_ms {
                0 => COMPUTE_MAX,
                limit => Duration::from_millis(limit.max(config.read_timeout_ms)),
            },
            connect_timeout,
            wait: Duration::from_millis(config.connections_wait_ms),
            permits: Arc::new(Semaphore::new(config.connections_max)),
            changing: Arc::new(Semaphore::new(config.connections_max.saturating_sub(1).max(1))),
            idle: Mutex::default(),
            connections_max: config.connections_max,
            health: Mutex::default(),
            errands: TaskTracker::new(),
            pushes: config.pushdown,
            writable: config.writable,
            misfits: Mutex::default(),
        })
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn misfit(&self, table: u32) -> Misfit {
        self.misfits.lock().expect("no panic under the lock").get(&table).copied().unwrap_or_default()
    }

    /// A value of one of these tables does not fit.
    pub(super) fn misfits(&self, tables: &[u32], found: Misfit) {
        let mut known = self.misfits.lock().expect("no panic under the lock");
        for table in tables {
            let of = known.entry(*table).or_default();
            *of = Misfit { numerics: of.numerics || found.numerics, arrays: of.arrays || found.arrays };
        }
    }

    /// It may be sent whole parts of queries.
    pub(super) fn pushes(&self) -> bool {
        self.pushes && self.dialect.computes
    }

    /// An idle connection, or a new one.
    pub(super) async fn lease(self: &Arc<Self>, of: Use) -> Result<Lease> {
        let changing = match of {
            Use::Changes => Some(self.permit(&self.changing).await?),
            Use::Tables | Use::Texts => None,
        };
        let permit = Permit { _one: self.permit(&self.permits).await?, _changing: changing };
        let (connection, used) = match self.idle(of) {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease { connection: Some(connection), permit: Some(permit), pool: Arc::clone(self), of, used })
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        match timeout(self.wait, Arc::clone(of).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Error::internal("the pool's semaphore is closed")),
            Err(_) => {
                let text = format!("all connections to source \"{}\" are in use", self.source);
                Err(Error::new(Kind::TooManyConnections, text))
            }
        }
    }

    /// Runs `work` within the read timeout.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        match timeout(self.read_timeout, work).await {
            Ok(result) => result.map_err(|e| self.failed(e)),
            Err(_) => Err(self.silent()),
        }
    }

    /// As [`Pool::within`], for a text of whoever may query the source.
    pub(super) async fn answered<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        match timeout(self.read_timeout, work).await {
            Ok(result) => result.map_err(|e| self.told(e)),
            Err(_) => Err(self.silent()),
        }
    }

    /// The source did not answer in time.
    pub(super) fn silent(&self) -> Error {
        unreachable(&self.source).with_source("no answer within the read timeout")
    }

    /// The source's error under our own fixed text; its words may hold values and stay in the log.
    pub(super) fn failed(&self, error: tokio_postgres::Error) -> Error {
        let Some(code) = error.code().cloned() else {
            return unreachable(&self.source).with_source(error);
        };
        let gone = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME];
        if gone.contains(&code) {
            return Error::new(Kind::CachedPlanChanged, "cached plan must not change result type").with_source(error);
        }
        if is_gone(&code) {
            return unreachable(&self.source).with_source(error);
        }
        Error::new(Kind::SourceFailed, format!("source \"{}\" failed", self.source)).with_source(error)
    }

    /// As [`Pool::failed`], for a text that computes: where PostgreSQL says of a value no more than that it has none, so is
    /// its reader told.
    pub(super) fn computed(&self, error: tokio_postgres::Error) -> Error {
        let Some(told) = error.as_db_error() else { return self.failed(error) };
        let kind = match told.code().code() {
            "22012" => Kind::DivisionByZero,
            "22003" => Kind::NumericRange,
            "22008" => Kind::DateRange,
            "21000" => Kind::Cardinality,
            "2201E" => Kind::LogArgument,
            "2201F" => Kind::PowerArgument,
            "22011" => Kind::Substring,
            _ => return self.failed(error),
        };
        let text = told.message();
        match FIXED.contains(&text) {
            true => Error::new(kind, text.to_owned()).with_source(error),
            false => Error::new(kind, "a value cannot be computed").with_source(error),
        }
    }

    /// As [`Pool::failed`], for whoever may query the source: its own words and SQLSTATE.
    pub(super) fn told(&self, error: tokio_postgres::Error) -> Error {
        let Some(theirs) = error.as_db_error().filter(|theirs| !is_gone(theirs.code())) else {
            return self.failed(error);
        };
        let mut told = Error::new(Kind::SourceFailed, theirs.message()).with_sqlstate(theirs.code().code());
        if let Some(detail) = theirs.detail() {
            told = told.with_detail(detail);
        }
        if let Some(hint) = theirs.hint() {
            told = told.with_hint(hint);
        }
        let place = match theirs.position() {
            Some(ErrorPosition::Original(at)) => format!(", character {at} of its text"),
            Some(ErrorPosition::Internal { .. }) | None => String::new(),
        };
        told.in_context(format!("query on source \"{}\"{place}", self.source)).with_source(error)
    }

    /// Where there is none for this use, one for another may have to go: all of them together are bounded.
    fn idle(&self, of: Use) -> Option<Connection> {
        let mut idle = self.idle.lock().expect("no panic under the lock");
        idle.retain(|one| !one.connection.client.is_closed() && one.since.elapsed() < IDLE_MAX);
        if let Some(at) = idle.iter().rposition(|one| one.of == of) {
            return Some(idle.remove(at).connection);
        }
        let lent = self.connections_max.saturating_sub(self.permits.available_permits());
        if !idle.is_empty() && lent + idle.len() > self.connections_max {
            idle.remove(0);
        }
        None
    }

    fn put_back(&self, connection: Connection, of: Use) {
        let one = Idle { connection, since: Instant::now(), of };
        self.idle.lock().expect("no panic under the lock").push(one);
    }

    /// What a text may have left behind is taken back; `false` where that is not certain. Its transaction is rolled back with
    /// every setting that was changed in it. Prepared statements stay: the client counts on its own.
    async fn restored(&self, client: &Client) -> bool {
        let work = async {
            client.batch_execute("ROLLBACK").await?;
            client.batch_execute(RESTORE).await
        };
        match timeout(self.read_timeout, work).await {
            Ok(Ok(())) => self.settle(client).await.is_ok(),
            Ok(Err(error)) => {
                tracing::debug!(source = self.source, error = %error, "a connection could not be restored");
                false
            }
            Err(_) => false,
        }
    }

    /// What runs on the connection ends, where the source hears of it.
    pub(super) async fn cancel(&self, client: &Client) {
        let token = client.cancel_token();
        let sent = async {
            match &self.tls {
                None => token.cancel_query(NoTls).await,
                Some(tls) => token.cancel_query(tls.clone()).await,
            }
        };
        match timeout(self.connect_timeout, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(source = self.source, error = %error, "cancel request failed"),
            Err(_) => tracing::warn!(source = self.source, "cancel request timed out"),
        }
    }

    /// Work that outlives whoever began it, where connections live.
    pub(super) fn errand(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.errands.spawn_on(work, &self.home);
    }

    /// As [`Pool::within`], for what may take as long as a statement.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<Result<T, tokio_postgres::Error>> {
        timeout(self.compute_timeout, work).await.map_err(|_| self.silent())
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection> {
        let attempt = self.begin()?;
        let pool = Arc::clone(self);
        // the statement's own threads end with it, and its sockets would
        let opened = AbortOnDropHandle::new(self.home.spawn(async move { pool.open().await }));
        let outcome = match timeout(self.connect_timeout, opened).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Error::internal("connecting to a source panicked").with_source(error)),
            Err(_) => Err(unreachable(&self.source).with_source("no connection within the connect timeout")),
        };
        attempt.end(outcome.is_ok());
        outcome
    }

    /// May this caller try? While the source is down only one may, and not before the pause is over.
    fn begin(&self) -> Result<Attempt<'_>> {
        let mut health = self.health.lock().expect("no panic under the lock");
        let down = health.failures > 0;
        if down && (health.trying || health.not_before.is_some_and(|moment| Instant::now() < moment)) {
            return Err(unreachable(&self.source).with_source("down a moment ago; not tried again yet"));
        }
        health.trying = down;
        Ok(Attempt { pool: self, ended: false })
    }

    async fn open(&self) -> Result<Connection> {
        type Driver = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;
        let (client, driver): (Client, Driver) = match &self.tls {
            None => {
                let (client, driver) = self.config.connect(NoTls).await.map_err(|e| self.failed(e))?;
                (client, Box::pin(driver))
            }
            Some(tls) => {
                let (client, driver) = self.config.connect(tls.clone()).await.map_err(|e| self.failed(e))?;
                (client, Box::pin(driver))
            }
        };
        let source = self.source.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(source, error = %error, "connection to source ended");
            }
        });
        let connection = Connection { client, driver, home: self.home.clone() };
        self.settle(&connection.client).await?;
        Ok(connection)
    }

    /// The session's settings, each of which is there when this is over.
    async fn settle(&self, client: &Client) -> Result<()> {
        let messages = self.within(client.simple_query(&self.settings)).await?;
        let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
        let asserted = row
            .is_some_and(|row| (row.get(0), row.get(1), row.get(2)) == (Some("on"), Some("UTF8"), Some("pg_catalog")));
        if !asserted {
            let text = format!("source \"{}\" failed", self.source);
            return Err(Error::new(Kind::SourceFailed, text).with_source("it does not keep the session's settings"));
        }
        Ok(())
    }
}

/// An attempt to connect; dropped without an end (its statement was cancelled), it counts for nothing.
struct Attempt<'a> {
    pool: &'a Pool,
    ended: bool,
}

impl Attempt<'_> {
    fn end(mut self, connected: bool) {
        self.ended = true;
        let mut health = self.pool.health.lock().expect("no panic under the lock");
        health.trying = false;
        if connected {
            *health = Health::default();
            return;
        }
        let pause = BACKOFF_MS.saturating_mul(1 << health.failures.min(16)).min(BACKOFF_MS_MAX);
        let pause = rand::random_range(pause / 2..=pause);
        health.failures = health.failures.saturating_add(1);
        health.not_before = Some(Instant::now() + Duration::from_millis(pause));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.pool.health.lock().expect("no panic under the lock").trying = false;
        }
    }
}

impl Lease {
    pub(super) fn client(&self) -> &Client {
        &self.connection.as_ref().expect("held until finished or dropped").client
    }

    /// The statement ended cleanly: the connection goes back.
    pub(super) fn finish(mut self) {
        let Some(connection) = self.connection.take() else { return };
        match self.of {
            Use::Tables => self.pool.put_back(connection, Use::Tables),
            of @ (Use::Texts | Use::Changes) => {
                let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
                let home = connection.home.clone();
                let restore = async move {
                    if pool.restored(&connection.client).await {
                        pool.put_back(connection, of);
                    }
                    drop(permit);
                };
                self.pool.errands.spawn_on(restore, &home);
            }
        }
    }

    /// The connection is of no use; there is nothing to cancel.
    pub(super) fn discard(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.client.is_closed() {
            return;
        }
        let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
        let home = connection.home.clone();
        let cancel = async move {
            pool.cancel(&connection.client).await;
            // Only now: a socket closed first could end the server process that the request is for.
            drop((connection, permit));
        };
        self.pool.errands.spawn_on(cancel, &home);
    }
}

/// Nothing of the configuration: it holds a password.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Connection exceptions, operator intervention except a cancelled statement, too many connections.
pub(super) fn is_gone(code: &SqlState) -> bool {
    code.code().starts_with("08") || code.code().starts_with("57P") || *code == SqlState::TOO_MANY_CONNECTIONS
}

/// The wording of the catalog, which is a floor above.
pub(super) fn unreachable(source: &str) -> Error {
    Error::new(Kind::SourceUnreachable, format!("source \"{source}\" cannot be reached"))
}

fn password(source: &str, config: &Config) -> Result<Option<Secret<String>>> {
    let given = secret::given("password", &config.password, &config.password_env);
    given.map_err(|what| Error::new(Kind::Config, format!("source \"{source}\": {what}")))
}
