//! The database of a lake's catalog, where that is PostgreSQL: Iceberg's own two tables as Java, Spark and PyIceberg make
//! and use them, and two of ours beside them. Leases and checkpoints stand there and not in the SQLite file because they
//! must change in the transaction that swaps a table, and because everybody who writes the lake must see the same ones.

mod connect;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Lease;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use connect::{Params, Pool};

/// Where such a database is, as a source's file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `postgres://user@host:port/database`, without a password.
    pub uri: String,
    pub password: Option<Secret<String>>,
    /// The environment variable that holds it.
    pub password_env: Option<String>,
    /// Certificate and host name are verified; in the clear otherwise.
    pub tls: bool,
    pub tls_ca_file: Option<PathBuf>,
    pub connections_max: usize,
    /// How long a call waits for one of them, for a connection, and for each answer.
    pub timeout_ms: u64,
}

/// Connects when it is asked something, never before.
#[derive(Debug)]
pub(super) struct Postgres {
    pool: Arc<Pool>,
    /// All tables are there; whether `iceberg_tables` has the `iceberg_type` column (version V1 of Iceberg's schema).
    typed: OnceCell<bool>,
    #[cfg(test)]
    pub(super) losses: super::Losses,
}

type Said<T> = std::result::Result<T, tokio_postgres::Error>;

/// "lakegate" in ASCII: who makes our tables waits for others who do.
const LOCK: i64 = 0x6c61_6b65_6761_7465;
/// Milliseconds by the database's own clock: those of several machines differ.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

impl Postgres {
    pub(super) fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            pool: Arc::new(Pool::new(config)?),
            typed: OnceCell::new(),
            #[cfg(test)]
            losses: Default::default(),
        })
    }

    // --- values

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT value FROM lakegate_values WHERE name = $1";
        let rows = self.pool.read(sql, &[(&name, Type::TEXT)]).await?;
        rows.first().map(|row| row.try_get(0).map_err(connect::failed)).transpose()
    }

    pub(super) async fn values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let sql = "SELECT name, value FROM lakegate_values WHERE starts_with(name, $1) ORDER BY name COLLATE \"C\"";
        let rows = self.pool.read(sql, &[(&prefix, Type::TEXT)]).await?;
        let pair = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(pair).collect::<Said<_>>().map_err(connect::failed)
    }

    pub(super) async fn put(&self, name: &str, value: &[u8]) -> Result<()> {
        self.prepared().await?;
        self.pool.query(PUT, &[(&name, Type::TEXT), (&value, Type::BYTEA)]).await.map(|_| ())
    }

    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        self.prepared().await?;
        let sql = "DELETE FROM lakegate_values WHERE name = $1";
        self.pool.query(sql, &[(&name, Type::TEXT)]).await.map(|_| ())
    }

    pub(super) async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        self.prepared().await?;
        // an update that changes nothing: the row that is there is answered
        let sql = "INSERT INTO lakegate_values (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = lakegate_values.value RETURNING value";
        let rows = self.pool.query(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA)]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("an upsert without a row"))?;
        row.try_get(0).map_err(connect::failed)
    }

    pub(super) async fn exchange(&self, name: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool> {
        self.prepared().await?;
        let rows = match expected {
            None => {
                let sql =
                    "INSERT INTO lakegate_values (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name";
                self.pool.query(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA)]).await?
            }
            Some(old) => {
                let sql = "UPDATE lakegate_values SET value = $2 WHERE name = $1 AND value = $3 RETURNING name";
                self.pool.query(sql, &[(&name, Type::TEXT), (&value, Type::BYTEA), (&old, Type::BYTEA)]).await?
            }
        };
        Ok(!rows.is_empty())
    }

    /// By the database's own clock.
    pub(super) async fn now_ms(&self) -> Result<i64> {
        let rows = self.pool.read(&format!("SELECT {NOW}"), &[]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a clock without a row"))?;
        row.try_get(0).map_err(connect::failed)
    }

    // --- leases

    pub(super) async fn take_lease(&self, pipeline: &str, holder: &str, ttl_ms: i64) -> Result<Option<Lease>> {
        self.prepared().await?;
        let sql = format!(
            "INSERT INTO lakegate_leases AS l (pipeline, epoch, holder, expires_at) VALUES ($1, 1, $2, {NOW} + $3)
             ON CONFLICT (pipeline) DO UPDATE SET
                 epoch = l.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
             WHERE l.holder = excluded.holder OR l.expires_at <= {NOW}
             RETURNING epoch"
        );
        let params: Params<'_> = &[(&pipeline, Type::TEXT), (&holder, Type::TEXT), (&ttl_ms, Type::INT8)];
        let rows = self.pool.query(&sql, params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let epoch = row.try_get(0).map_err(connect::failed)?;
        Ok(Some(Lease { pipeline: pipeline.into(), epoch, holder: holder.into() }))
    }

    pub(super) async fn lease(&self, pipeline: &str) -> Result<Option<(Lease, bool)>> {
        let sql = format!("SELECT epoch, holder, expires_at > {NOW} FROM lakegate_leases WHERE pipeline = $1");
        let rows = self.pool.read(&sql, &[(&pipeline, Type::TEXT)]).await?;
        let lease = |row: &Row| {
            let lease = Lease { pipeline: pipeline.into(), epoch: row.try_get(0)?, holder: row.try_get(1)? };
            Ok((lease, row.try_get(2)?))
        };
        rows.first().map(lease).transpose().map_err(|e: tokio_postgres::Error| connect::failed(e))
    }

    /// Until `ttl_ms` from now, or over at once; false once it was taken over.
    pub(super) async fn extend(&self, lease: &Lease, ttl_ms: Option<i64>) -> Result<bool> {
        self.prepared().await?;
        let sql = format!(
            "UPDATE lakegate_leases SET expires_at = coalesce({NOW} + $4, 0)
             WHERE pipeline = $1 AND epoch = $2 AND holder = $3 RETURNING 1"
        );
        let params: Params<'_> = &[
            (&lease.pipeline, Type::TEXT),
            (&lease.epoch, Type::INT8),
            (&lease.holder, Type::TEXT),
            (&ttl_ms, Type::INT8),
        ];
        Ok(!self.pool.query(&sql, params).await?.is_empty())
    }

    // --- what there must be

    /// Makes the tables that are missing, once; whether `iceberg_tables` has its type column. Tables that are there are
    /// left as they are.
    async fn prepared(&self) -> Result<bool> {
        self.typed.get_or_try_init(|| self.prepare()).await.copied()
    }

    async fn prepare(&self) -> Result<bool> {
        let mut write = self.pool.begin().await?;
        write.query("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.map_err(connect::failed)?;
        for (name, columns) in TABLES {
            let found = write.query("SELECT to_regclass($1) IS NOT NULL", &[(&name, Type::TEXT)]).await;
            let found = found.map_err(connect::failed)?;
            if found.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
                continue;
            }
            write.query(&format!("CREATE TABLE {name} ({columns})"), &[]).await.map_err(|e| {
                Error::new(
                    Kind::SourceFailed,
                    format!("table {name} cannot be made in the database of the lake's catalog"),
                )
                .with_hint("Its user needs CREATE on the schema that comes first in its search_path, the first time.")
                .with_source(e)
            })?;
        }
        let sql = "SELECT 1 FROM pg_catalog.pg_attribute
             WHERE attrelid = to_regclass('iceberg_tables') AND attname = 'iceberg_type' AND NOT attisdropped";
        let typed = !write.query(sql, &[]).await.map_err(connect::failed)?.is_empty();
        write.commit().await.map_err(connect::failed)?;
        Ok(typed)
    }
}

const PUT: &str = "INSERT INTO lakegate_values (name, value) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Iceberg's two exactly as its clients make them.
const TABLES: [(&str, &str); 4] = [
    (
        "iceberg_tables",
        "catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
         metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
         PRIMARY KEY (catalog_name, table_namespace, table_name)",
    ),
    (
        "iceberg_namespace_properties",
        "catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
         property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key)",
    ),
    ("lakegate_values", "name TEXT PRIMARY KEY, value BYTEA NOT NULL"),
    (
        "lakegate_leases",
        "pipeline TEXT PRIMARY KEY, epoch BIGINT NOT NULL, holder TEXT NOT NULL, expires_at BIGINT NOT NULL",
    ),
];
