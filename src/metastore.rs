//! The database under the lake and the runtime objects: one SQLite file, also read and written by other Iceberg clients.
//! It knows names, locations and bytes; what a table's metadata mean is `lake`'s business.

mod lease;
mod pins;
mod tables;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row, Sqlite, Transaction};
use tokio::sync::Mutex;

use crate::error::{Error, Kind, Result};

pub use lease::Lease;
pub use pins::Pin;
pub use tables::{Also, RowKind, Swap, SwapError, Swapped, TableKey, TableRow};
pub(crate) use tables::{schema_in_use, undefined_schema};

/// `[metastore]` of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SQLite file; made if absent, together with its directory.
    pub path: PathBuf,
    /// How long a statement waits for another writer's lock.
    pub busy_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: "lakegate.db".into(), busy_timeout_ms: 5_000 }
    }
}

/// The open database. Writers queue for one connection, so that in-process writers never spin on SQLite's lock.
#[derive(Debug)]
pub struct Metastore {
    writer: SqlitePool,
    reader: SqlitePool,
    /// A connection that only ever reads: its `data_version` moves with every commit of anyone else.
    watcher: Mutex<tables::Watcher>,
    /// Whether `iceberg_tables` has the `iceberg_type` column (tables made by older clients lack it).
    typed: bool,
    /// What statements of this process read.
    pins: pins::Pins,
    /// How the next swaps lose their answers.
    #[cfg(test)]
    pub(crate) losses: std::sync::Mutex<Vec<Loss>>,
}

/// A commit whose answer does not come back.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// It was sent and did not arrive.
    Sent,
    /// It happened.
    Done,
}

/// A write transaction: the database's one write lock is held from the start.
pub(crate) type Write = Transaction<'static, Sqlite>;

impl Metastore {
    /// Opens or makes the database and brings our own tables up to date.
    pub async fn open(config: &Config) -> Result<Self> {
        if let Some(directory) = config.path.parent() {
            tokio::fs::create_dir_all(directory).await.map_err(|e| unreachable_database().with_source(e))?;
        }
        let busy = Duration::from_millis(config.busy_timeout_ms);
        let options = SqliteConnectOptions::new()
            .filename(&config.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged commit must survive a power cut: origins are told to forget after it.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(busy);
        let pool = |connections| {
            let options = SqlitePoolOptions::new().max_connections(connections);
            // A file in this process does not go away as a server would: no ping before each statement.
            options.test_before_acquire(false).acquire_timeout(busy + Duration::from_secs(10))
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        let typed = migrate(&writer).await?;
        let reader = pool(4).connect_with(options.clone()).await.map_err(failed)?;
        let watcher: SqliteConnection = options.connect().await.map_err(failed)?;
        Ok(Self {
            writer,
            reader,
            watcher: Mutex::new(tables::Watcher::new(watcher)),
            typed,
            pins: pins::Pins::default(),
            #[cfg(test)]
            losses: Default::default(),
        })
    }

    /// Bytes kept under a name, such as the hash of the policy in force.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query("SELECT value FROM lakegate_values WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.reader)
            .await
            .map_err(failed)?;
        row.map(|r| r.try_get(0).map_err(failed)).transpose()
    }

    /// Every name that begins with `prefix`, and its bytes.
    pub async fn values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let rows = sqlx::query("SELECT name, value FROM lakegate_values WHERE substr(name, 1, ?) = ? ORDER BY name")
            .bind(i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX))
            .bind(prefix)
            .fetch_all(&self.reader)
            .await
            .map_err(failed)?;
        let row = |r: SqliteRow| Ok((r.try_get(0).map_err(failed)?, r.try_get(1).map_err(failed)?));
        rows.into_iter().map(row).collect()
    }

    /// Replaces the bytes under a name.
    pub async fn put(&self, name: &str, value: &[u8]) -> Result<()> {
        let mut write = self.begin().await?;
        put(&mut write, name, value).await?;
        write.commit().await.map_err(failed)
    }

    /// Forgets what is kept under a name, if anything is.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let mut write = self.begin().await?;
        sqlx::query("DELETE FROM lakegate_values WHERE name = ?")
            .bind(name)
            .execute(&mut *write)
            .await
            .map_err(failed)?;
        write.commit().await.map_err(failed)
    }

    /// Keeps `value` under a name that has none yet; answers what stands there afterwards. Two processes that start at
    /// once agree on one deployment key.
    pub async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let mut write = self.begin().await?;
        sqlx::query("INSERT OR IGNORE INTO lakegate_values (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(&mut *write)
            .await
            .map_err(failed)?;
        let row = sqlx::query("SELECT value FROM lakegate_values WHERE name = ?")
            .bind(name)
            .fetch_one(&mut *write)
            .await
            .map_err(failed)?;
        write.commit().await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    /// On a task of its own: a caller that goes away amid sqlx's `begin_with` would leave the connection in a transaction
    /// that nobody ends, and the database with its one write lock taken. A finished one that nobody wants rolls back.
    async fn begin(&self) -> Result<Write> {
        let writer = self.writer.clone();
        let begun = tokio::spawn(async move { writer.begin_with("BEGIN IMMEDIATE").await });
        begun.await.map_err(|e| unreachable_database().with_source(e))?.map_err(failed)
    }
}

async fn put(write: &mut Write, name: &str, value: &[u8]) -> Result<()> {
    sqlx::query("INSERT INTO lakegate_values (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(&mut **write)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Our own tables, and Iceberg's two exactly as PyIceberg's `SqlCatalog` makes them. Answers whether `iceberg_tables`
/// has its type column: a table that is already there is left as it is.
async fn migrate(writer: &SqlitePool) -> Result<bool> {
    const TABLES: &[&str] = &[
        "CREATE TABLE IF NOT EXISTS iceberg_tables (
            catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
            metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
            PRIMARY KEY (catalog_name, table_namespace, table_name))",
        "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
            catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
            property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key))",
        "CREATE TABLE IF NOT EXISTS lakegate_values (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
        "CREATE TABLE IF NOT EXISTS ingest_lease (
            pipeline TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL, expires_at INTEGER NOT NULL)",
    ];
    let mut write = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    for table in TABLES {
        sqlx::query(table).execute(&mut *write).await.map_err(failed)?;
    }
    let columns = sqlx::query("PRAGMA table_info(iceberg_tables)").fetch_all(&mut *write).await.map_err(failed)?;
    write.commit().await.map_err(failed)?;
    Ok(columns.iter().any(|c| c.try_get::<String, _>("name").is_ok_and(|n| n == "iceberg_type")))
}

/// The one wording for a database that does not answer; what it said goes to the log.
fn failed(error: sqlx::Error) -> Error {
    const FULL: &str = "13";
    if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == FULL) {
        return Error::new(Kind::DiskFull, "the metastore's disk is full").with_source(error);
    }
    unreachable_database().with_source(error)
}

fn unreachable_database() -> Error {
    Error::new(Kind::SourceUnreachable, "the metastore cannot be reached")
}

#[cfg(test)]
mod tests;
