//! A PostgreSQL database as a source: its tables and views under mounted names, read by `COPY … TO STDOUT (FORMAT
//! binary)`, and changed by statements of its own where its file says so. What it is asked besides filters and columns of
//! one table is printed by `sql`.
//!
//! Each scan is a statement of its own: two scans of one of our statements may see different moments of the database.

mod change;
mod connect;
mod dial;
mod dialect;
mod late;
mod pushdown;
mod refusal;
mod relations;
mod remote;
mod rows;
mod scan;
mod staged;
mod text;
mod tls;
mod transaction;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::{ChangesRows, Isolation, Pinned, Source, Staging, Table};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use connect::Pool;
pub use dial::{Dialer, Dialled, Socket};
pub use dialect::Dialect;
pub(crate) use late::listen;
use relations::Relations;
pub(crate) use remote::{RemoteTable, RemoteText, remote_sql};

/// `catalog/sources/<name>.toml` with `kind = "postgres"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What speaks PostgreSQL's protocol there.
    #[serde(default)]
    pub dialect: Dialect,
    /// A host name, an address, or the directory of a Unix socket.
    pub host: String,
    #[serde(default = "default_port")]
    pub port: u16,
    pub database: String,
    /// Should own nothing: SELECT on what is mounted, and with `writable` the rights to what may be changed.
    pub user: String,
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// The environment variable that holds the password, instead of `password`.
    #[serde(default)]
    pub password_env: Option<String>,
    #[serde(default)]
    pub tls: Tls,
    /// PEM certificates that sign the server's; the system's roots where absent.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// Remote schema → the name it is mounted under.
    #[serde(default = "default_schemas")]
    pub schemas: BTreeMap<String, String>,
    /// Digits after the point of `numeric` columns that were declared without: `"crm.orders.amount" = 4`, by mounted
    /// names. Elsewhere each value keeps its own. A value with more digits is an error that names the column, never rounded.
    #[serde(default)]
    pub numeric_scale: BTreeMap<String, u8>,
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// How long a scan waits for one of them.
    #[serde(default = "default_connections_wait_ms")]
    pub connections_wait_ms: u64,
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Without a byte for so long the source is taken for gone. Time in which nobody asks for rows does not count.
    #[serde(default = "default_read_timeout_ms")]
    pub read_timeout_ms: u64,
    /// The source's own `statement_timeout`; a slow reader counts against it. 0 = none.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// Whether whole parts of a query are sent there. Without it tables are read by columns and simple filters.
    #[serde(default = "default_pushdown")]
    pub pushdown: bool,
    /// Whether its tables may be changed, by whom the policy lets.
    #[serde(default)]
    pub writable: bool,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    #[default]
    Off,
    /// Certificate and host name are verified.
    Require,
}

fn default_port() -> u16 {
    5432
}

fn default_schemas() -> BTreeMap<String, String> {
    BTreeMap::from([("public".to_string(), "public".to_string())])
}

fn default_connections_max() -> usize {
    8
}

fn default_connections_wait_ms() -> u64 {
    10_000
}

fn default_connect_timeout_ms() -> u64 {
    5_000
}

fn default_read_timeout_ms() -> u64 {
    30_000
}

fn default_pushdown() -> bool {
    true
}

fn default_statement_timeout_ms() -> u64 {
    3_600_000
}

/// One database. Connects when it is asked something, never before.
#[derive(Debug)]
pub struct Postgres {
    name: String,
    mounted: Vec<String>,
    relations: Relations,
    pool: Arc<Pool>,
}

impl Postgres {
    /// Reads the password's variable and the certificate file; everything wrong with them is found here.
    pub fn new(name: impl Into<String>, config: Config) -> Result<Self> {
        let name = name.into();
        let fault = |what: String| Error::new(Kind::Config, format!("source \"{name}\": {what}"));
        let mut mounted: Vec<String> = config.schemas.values().cloned().collect();
        mounted.sort();
        mounted.dedup();
        if mounted.is_empty() {
            return Err(fault("`schemas` mounts nothing".into()));
        }
        if mounted.len() < config.schemas.len() {
            return Err(fault("`schemas` mounts two schemas under one name".into()));
        }
        if config.connections_max == 0 || config.connect_timeout_ms == 0 || config.read_timeout_ms == 0 {
            return Err(fault("`connections_max`, `connect_timeout_ms` and `read_timeout_ms` must be above 0".into()));
        }
        if let Some((column, _)) = config.numeric_scale.iter().find(|(_, scale)| **scale > 38) {
            return Err(fault(format!("`numeric_scale` of \"{column}\" must be at most 38")));
        }
        let dialect = config.dialect.facts().map_err(|what| fault(what.into()))?;
        if config.writable && !dialect.changes {
            return Err(fault("`writable` needs `dialect` \"postgres\" or \"timescale\"".into()));
        }
        if config.writable && config.connections_max < 2 {
            return Err(fault("`writable` needs `connections_max` of 2 or more: one is left to readers".into()));
        }
        let pool = Arc::new(Pool::new(&name, &config, dialect)?);
        let relations = Relations::new(Arc::clone(&pool), config.schemas, config.numeric_scale);
        Ok(Self { relations, pool, name, mounted })
    }
}

#[async_trait]
impl Source for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        self.mounted.clone()
    }

    /// Nothing in the catalogs of Postgres is cheaper to ask than the columns themselves.
    async fn revision(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        self.relations.read().await
    }

    fn changes_rows(&self) -> ChangesRows {
        match (self.pool.writable, self.pool.dialect.changes) {
            (true, _) => ChangesRows::Allowed,
            (false, true) => ChangesRows::NotAllowed,
            (false, false) => ChangesRows::Never,
        }
    }

    async fn begin(&self, isolation: Isolation) -> Result<Option<Arc<dyn Staging>>> {
        Ok(staged::begin(self, isolation))
    }

    fn answers_queries(&self) -> bool {
        true
    }

    async fn query(&self, text: &str) -> Result<Pinned> {
        text::pinned(&self.pool, text).await
    }
}
