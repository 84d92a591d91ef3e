//! The databases under the lake and the runtime objects: one SQLite file, and the PostgreSQL databases that hold the
//! catalogs of some lakes with all that must move with their tables. It knows names, locations and bytes; what a table's
//! metadata mean is `lake`'s business.

mod lease;
mod pins;
mod postgres;
mod sqlite;
mod tables;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use postgres::Postgres;
use sqlite::Sqlite;

pub use lease::Lease;
pub use pins::Pin;
pub use postgres::Config as PostgresConfig;
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

/// An open database: values by name, leases, and the rows of Iceberg's SQL catalog.
#[derive(Debug)]
pub struct Metastore {
    database: Database,
    /// What statements of this process read.
    pins: pins::Pins,
    /// Of lakes whose catalogs are in other databases, while somebody uses them.
    beside: Mutex<Vec<(PostgresConfig, Weak<Metastore>)>>,
    /// How the next swaps lose their answers.
    #[cfg(test)]
    pub(crate) losses: Losses,
}

#[derive(Debug)]
enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(Box<Postgres>),
}

/// Asks whichever database it is: both answer the same questions.
macro_rules! on {
    ($metastore:expr, $method:ident($($argument:expr),*)) => {
        match &$metastore.database {
            $crate::metastore::Database::Sqlite(database) => database.$method($($argument),*).await,
            $crate::metastore::Database::Postgres(database) => database.$method($($argument),*).await,
        }
    };
}
use on;

/// A commit whose answer does not come back.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// It was sent and did not arrive.
    Sent,
    /// It happened.
    Done,
}

#[cfg(test)]
type Losses = Arc<Mutex<Vec<Loss>>>;

impl Metastore {
    /// Opens or makes the SQLite file and brings our own tables up to date.
    pub async fn open(config: &Config) -> Result<Self> {
        Ok(Self::over(Database::Sqlite(Box::new(Sqlite::open(config).await?))))
    }

    /// The PostgreSQL database that holds a lake's catalog: one for all who name it. Connects nothing yet.
    pub fn beside(&self, config: &PostgresConfig) -> Result<Arc<Self>> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.retain(|(_, open)| open.strong_count() > 0);
        let found = beside.iter().find(|(known, _)| known == config).and_then(|(_, open)| open.upgrade());
        if let Some(open) = found {
            return Ok(open);
        }
        let open = Arc::new(Self::over(Database::Postgres(Box::new(Postgres::new(config)?))));
        beside.push((config.clone(), Arc::downgrade(&open)));
        Ok(open)
    }

    fn over(database: Database) -> Self {
        #[cfg(test)]
        let losses = match &database {
            Database::Sqlite(database) => Arc::clone(&database.losses),
            Database::Postgres(database) => Arc::clone(&database.losses),
        };
        Self {
            database,
            pins: pins::Pins::default(),
            beside: Mutex::default(),
            #[cfg(test)]
            losses,
        }
    }

    fn others(&self) -> Vec<Arc<Self>> {
        let beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.iter().filter_map(|(_, open)| open.upgrade()).collect()
    }

    /// Bytes kept under a name, such as the hash of the policy in force.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        on!(self, get(name))
    }

    /// Every name that begins with `prefix`, and its bytes.
    pub async fn values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        on!(self, values(prefix))
    }

    /// Replaces the bytes under a name.
    pub async fn put(&self, name: &str, value: &[u8]) -> Result<()> {
        on!(self, put(name, value))
    }

    /// Forgets what is kept under a name, if anything is.
    pub async fn remove(&self, name: &str) -> Result<()> {
        on!(self, remove(name))
    }

    /// Keeps `value` under a name that has none yet; answers what stands there afterwards. Two processes that start at
    /// once agree on one deployment key.
    pub async fn put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        on!(self, put_if_absent(name, value))
    }

    /// Replaces the bytes under a name where they are `expected`, or where there are none and none are expected. False where
    /// they are others.
    pub async fn exchange(&self, name: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool> {
        on!(self, exchange(name, expected, value))
    }
}

#[cfg(test)]
mod tests;
