//! Connections to the database of a catalog: a bounded pool, a deadline for each answer, transactions that are over when
//! they are dropped. It knows no table.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Config;
use crate::error::{Error, Kind, Result};
use crate::secret;

/// Values and their types, so that no statement is prepared first.
pub(super) type Params<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A connection that nobody used for so long is closed instead of used.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// What a swap has answered survives a power cut, whatever the server's default; a stricter one stays.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

pub(super) struct Pool {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    /// Where connections live: it outlives every statement.
    home: Option<Handle>,
    wait: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    /// Closes the socket, and with it what was begun: the driver owns it.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection at work. Dropped, it is closed; [`Lease::back`] keeps it for the next.
struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
    /// It lay idle before, so that the server may have closed it meanwhile.
    used: bool,
    _permit: OwnedSemaphorePermit,
}

/// A transaction. Dropped, it is rolled back by the server when it sees the connection close.
pub(super) struct Write(Lease);

/// What the database or the wait for it came to.
#[derive(Debug)]
pub(super) enum Failure {
    Said(tokio_postgres::Error),
    Silent,
}

impl Pool {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let fault = |what: &str| Error::new(Kind::Config, format!("the lake's catalog: {what}"));
        let mut remote = tokio_postgres::Config::from_str(&config.uri)
            .map_err(|e| fault("`uri` is not one of PostgreSQL's").with_source(e))?;
        if remote.get_password().is_some() {
            return Err(fault("`uri` holds a password; put it into `password_env` or `password`"));
        }
        if remote.get_hosts().is_empty() {
            return Err(fault("`uri` names no host"));
        }
        if remote.get_ssl_mode() == SslMode::Require && !config.tls {
            return Err(fault("`uri` asks for TLS; set `tls = \"require\"`, which also verifies the certificate"));
        }
        if config.connections_max == 0 || config.timeout_ms == 0 {
            return Err(fault("`connections_max` and `catalog_timeout_ms` must be above 0"));
        }
        let password =
            secret::given("password", &config.password, &config.password_env).map_err(|what| fault(&what))?;
        if let Some(password) = password {
            remote.password(password.reveal().as_bytes());
        }
        let tls = match config.tls {
            true => {
                let client = crate::tls::client("the lake's catalog", "tls_ca_file", config.tls_ca_file.as_deref())?;
                Some(MakeRustlsConnect::new(client))
            }
            false => None,
        };
        let wait = Duration::from_millis(config.timeout_ms);
        remote.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        remote.application_name("lakegate").connect_timeout(wait).keepalives_idle(Duration::from_secs(30));
        // a transaction whose process is gone without a word holds its rows no longer than this
        let limits = format!(
            "-c statement_timeout={0} -c lock_timeout={0} -c idle_in_transaction_session_timeout={0}",
            config.timeout_ms
        );
        let given = remote.get_options().map(str::to_string).unwrap_or_default();
        remote.options(format!("{limits} {given}"));
        Ok(Self {
            config: remote,
            tls,
            home: Handle::try_current().ok(),
            wait,
            permits: Arc::new(Semaphore::new(config.connections_max)),
            idle: Mutex::default(),
        })
    }

    /// One statement by itself. Sent again where the server had closed the connection before: such a one must be the same
    /// done twice.
    pub(super) async fn query(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.ask(sql, params).await?.map_err(failed)
    }

    /// As [`Pool::query`]; no row where a table is not there yet, for whoever only looks makes none.
    pub(super) async fn read(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        match self.ask(sql, params).await? {
            Err(Failure::Said(error)) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(vec![]),
            answer => answer.map_err(failed),
        }
    }

    async fn ask(self: &Arc<Self>, sql: &str, params: Params<'_>) -> Result<std::result::Result<Vec<Row>, Failure>> {
        loop {
            let lease = self.lease().await?;
            match lease.query(sql, params).await {
                Ok(rows) => {
                    lease.back();
                    return Ok(Ok(rows));
                }
                Err(_) if lease.used && lease.connection.client.is_closed() => {}
                Err(failure) => return Ok(Err(failure)),
            }
        }
    }

    /// READ COMMITTED: a row that another is changing is waited for, and then asked anew.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Write> {
        loop {
            let lease = self.lease().await?;
            match lease.say("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await {
                Ok(()) => return Ok(Write(lease)),
                Err(_) if lease.used && lease.connection.client.is_closed() => {}
                Err(failure) => return Err(failed(failure)),
            }
        }
    }

    async fn lease(self: &Arc<Self>) -> Result<Lease> {
        let permit = match timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Error::internal("the pool's semaphore is closed"))?,
            Err(_) => {
                let text = "all connections to the lake's catalog are in use";
                return Err(Error::new(Kind::TooManyConnections, text));
            }
        };
        let (connection, used) = match self.idle() {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease { connection, pool: Arc::clone(self), used, _permit: permit })
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.client.is_closed() && since.elapsed() < IDLE_MAX);
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect(&self) -> Result<Connection> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let home = self.home.clone().unwrap_or_else(Handle::current);
        let driver_home = home.clone();
        // the statement's own threads end with it, and its sockets would
        let open = home.spawn(async move {
            let (client, driver) = match tls {
                None => {
                    let (client, driver) = config.connect(NoTls).await?;
                    (client, driver_home.spawn(async move { ended(driver.await) }))
                }
                Some(tls) => {
                    let (client, driver) = config.connect(tls).await?;
                    (client, driver_home.spawn(async move { ended(driver.await) }))
                }
            };
            let connection = Connection { client, driver };
            connection.client.batch_execute(DURABLE).await?;
            Ok::<_, tokio_postgres::Error>(connection)
        });
        let open = tokio_util::task::AbortOnDropHandle::new(open);
        match timeout(self.wait, open).await {
            Ok(Ok(opened)) => opened.map_err(|e| failed(Failure::Said(e))),
            Ok(Err(error)) => Err(Error::internal("connecting to a catalog panicked").with_source(error)),
            Err(_) => Err(failed(Failure::Silent)),
        }
    }
}

fn ended(end: std::result::Result<(), tokio_postgres::Error>) {
    if let Err(error) = end {
        tracing::debug!(%error, "a connection to a lake's catalog ended");
    }
}

impl Lease {
    async fn query(&self, sql: &str, params: Params<'_>) -> std::result::Result<Vec<Row>, Failure> {
        self.within(self.connection.client.query_typed(sql, params)).await
    }

    async fn say(&self, sql: &str) -> std::result::Result<(), Failure> {
        self.within(self.connection.client.batch_execute(sql)).await
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> std::result::Result<T, Failure> {
        match timeout(self.pool.wait, work).await {
            Ok(done) => done.map_err(Failure::Said),
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Nothing is under way on it.
    fn back(self) {
        let Self { connection, pool, .. } = self;
        pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }
}

impl Write {
    pub(super) async fn query(&mut self, sql: &str, params: Params<'_>) -> std::result::Result<Vec<Row>, Failure> {
        self.0.query(sql, params).await
    }

    /// After an error it may have happened, but where [`Failure::refused`] says that it has not.
    pub(super) async fn commit(self) -> std::result::Result<(), Failure> {
        self.0.say("COMMIT").await?;
        self.0.back();
        Ok(())
    }

    /// One that does not answer is closed, which comes to the same.
    pub(super) async fn roll_back(self) {
        if self.0.say("ROLLBACK").await.is_ok() {
            self.0.back();
        }
    }
}

impl Failure {
    /// Another transaction stood in the way, and this one has come to nothing: a deadlock, a serialization failure, a name
    /// taken meanwhile.
    pub(super) fn overtaken(&self) -> bool {
        let Self::Said(error) = self else { return false };
        error.code().is_some_and(|code| code.code().starts_with("40") || *code == SqlState::UNIQUE_VIOLATION)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Said(error)
    }
}

/// Under fixed words; what the database said may hold names and stays in the log.
pub(super) fn failed(failure: impl Into<Failure>) -> Error {
    let unreachable = || Error::new(Kind::SourceUnreachable, "the database of the lake's catalog cannot be reached");
    let error = match failure.into() {
        Failure::Said(error) => error,
        Failure::Silent => return unreachable().with_source("no answer within the timeout"),
    };
    let Some(code) = error.code().map(|code| code.code().to_string()) else { return unreachable().with_source(error) };
    match code.get(..2) {
        // connection exceptions, logins, resources, operator intervention
        Some("08" | "28" | "53" | "57" | "3D") => unreachable().with_source(error),
        _ if code == "42501" => {
            Error::new(Kind::SourceFailed, "the database of the lake's catalog denies its user a right")
                .with_hint(
                    "It needs SELECT, INSERT, UPDATE and DELETE on iceberg_tables, iceberg_namespace_properties, \
                 lakegate_values and lakegate_leases.",
                )
                .with_source(error)
        }
        _ => {
            Error::new(Kind::SourceFailed, "the database of the lake's catalog refused a statement").with_source(error)
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failed(failure)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(error) => error.fmt(f),
            Self::Silent => f.write_str("no answer within the timeout"),
        }
    }
}

/// Nothing of the configuration: it holds a password.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("wait", &self.wait).finish_non_exhaustive()
    }
}
