//! The database of lakegate's own: one SQLite file, also read and written by other Iceberg clients. It is on this machine;
//! what several machines share is kept in PostgreSQL.

mod tables;

use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row, Transaction};
use tokio::sync::Mutex;

use super::{Config, Lease};
use crate::error::{Error, Kind, Result};

/// Writers queue for one connection, so that in-process writers never spin on SQLite's lock.
#[derive(Debug)]
pub(super) struct Sqlite {
    writer: SqlitePool,
    reader: SqlitePool,
    /// A connection that only ever reads: its `data_version` moves with every commit of anyone else.
    watcher: Mutex<tables::Watcher>,
    /// Whether `iceberg_tables` has the `iceberg_type` column (tables made by older clients lack it).
    typed: bool,
    #[cfg(test)]
    pub(super) losses: super::Losses,
}

/// A write transaction: the database's one write lock is held from the start.
type Write = Transaction<'static, sqlx::Sqlite>;

impl Sqlite {
    /// Opens or makes the database and brings our own tables up to date.
    pub(super) async fn open(config: &Config) -> Result<Self> {
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
            #[cfg(test)]
            losses: Default::default(),
        })
    }

    // --- values

    /// Bytes kept under a name, such as the hash of the policy in force.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query("SELECT value FROM lakegate_values WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.reader)
            .await
            .map_err(failed)?;
        row.map(|r| r.try_get(0).map_err(failed)).transpose()
    }

    /// Every name that begins with `prefix`, and its bytes.
    pub(super) async fn values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
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
    pub(super) async fn put(&self, name: &str, value: &[u8]) -> Result<()> {
        let mut write = self.begin().await?;
        put(&mut write, name, value).await?;
        write.commit().await.map_err(failed)
    }

    /// Forgets what is kept under a name, if anything is.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
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
    pub(super) async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
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

    pub(super) async fn exchange(&self, name: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool> {
        let mut write = self.begin().await?;
        let changed = match expected {
            None => {
                sqlx::query("INSERT OR IGNORE INTO lakegate_values (value, name) VALUES (?, ?)").bind(value).bind(name)
            }
            Some(expected) => sqlx::query("UPDATE lakegate_values SET value = ? WHERE name = ? AND value = ?")
                .bind(value)
                .bind(name)
                .bind(expected),
        };
        let changed = changed.execute(&mut *write).await.map_err(failed)?.rows_affected();
        write.commit().await.map_err(failed)?;
        Ok(changed == 1)
    }

    /// On a task of its own: a caller that goes away amid sqlx's `begin_with` would leave the connection in a transaction
    /// that nobody ends, and the database with its one write lock taken. A finished one that nobody wants rolls back.
    async fn begin(&self) -> Result<Write> {
        let writer = self.writer.clone();
        let begun = tokio::spawn(async move { writer.begin_with("BEGIN IMMEDIATE").await });
        begun.await.map_err(|e| unreachable_database().with_source(e))?.map_err(failed)
    }

    pub(super) async fn now_ms(&self) -> Result<i64> {
        Ok(now_ms())
    }

    // --- leases

    /// Takes a lease that is free, expired or already ours; `None` while another holds it. The epoch is always new, so
    /// an older self is shut out too.
    pub(super) async fn take_lease(&self, pipeline: &str, holder: &str, ttl_ms: i64) -> Result<Option<Lease>> {
        let mut write = self.begin().await?;
        let now = now_ms();
        let row = sqlx::query("SELECT epoch, holder, expires_at FROM ingest_lease WHERE pipeline = ?")
            .bind(pipeline)
            .fetch_optional(&mut *write)
            .await
            .map_err(failed)?;
        let epoch = match row {
            None => 1,
            Some(row) => {
                let (epoch, held_by, expires_at): (i64, String, i64) =
                    (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
                if held_by != holder && expires_at > now {
                    return Ok(None);
                }
                epoch + 1
            }
        };
        sqlx::query(
            "INSERT INTO ingest_lease (pipeline, epoch, holder, expires_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (pipeline) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder, expires_at = excluded.expires_at",
        )
        .bind(pipeline)
        .bind(epoch)
        .bind(holder)
        .bind(now.saturating_add(ttl_ms))
        .execute(&mut *write)
        .await
        .map_err(failed)?;
        write.commit().await.map_err(failed)?;
        Ok(Some(Lease { pipeline: pipeline.into(), epoch, holder: holder.into() }))
    }

    /// Who holds a lease, and whether they still renew it; `None` where nobody ever held it.
    pub(super) async fn lease(&self, pipeline: &str) -> Result<Option<(Lease, bool)>> {
        let row = sqlx::query("SELECT epoch, holder, expires_at FROM ingest_lease WHERE pipeline = ?")
            .bind(pipeline)
            .fetch_optional(&self.reader)
            .await
            .map_err(failed)?;
        row.map(|row| {
            let lease = Lease {
                pipeline: pipeline.into(),
                epoch: row.try_get(0).map_err(failed)?,
                holder: row.try_get(1).map_err(failed)?,
            };
            let expires_at: i64 = row.try_get(2).map_err(failed)?;
            Ok((lease, expires_at > now_ms()))
        })
        .transpose()
    }

    /// Until `ttl_ms` from now, or over at once; false once it was taken over.
    pub(super) async fn extend(&self, lease: &Lease, ttl_ms: Option<i64>) -> Result<bool> {
        let until = ttl_ms.map_or(0, |ttl| now_ms().saturating_add(ttl));
        let mut write = self.begin().await?;
        let done =
            sqlx::query("UPDATE ingest_lease SET expires_at = ? WHERE pipeline = ? AND epoch = ? AND holder = ?")
                .bind(until)
                .bind(&lease.pipeline)
                .bind(lease.epoch)
                .bind(&lease.holder)
                .execute(&mut *write)
                .await
                .map_err(failed)?;
        write.commit().await.map_err(failed)?;
        Ok(done.rows_affected() == 1)
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

/// By epoch alone: an expired lease that nobody took over is still good, for nobody else has written.
async fn holds(write: &mut Write, lease: &Lease) -> Result<bool> {
    let row = sqlx::query("SELECT 1 FROM ingest_lease WHERE pipeline = ? AND epoch = ? AND holder = ?")
        .bind(&lease.pipeline)
        .bind(lease.epoch)
        .bind(&lease.holder)
        .fetch_optional(&mut **write)
        .await
        .map_err(failed)?;
    Ok(row.is_some())
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
