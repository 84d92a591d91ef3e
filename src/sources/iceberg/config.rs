//! A lake's file: where its catalog is and where its files are. It connects nothing; what contradicts itself is found when
//! the lake is made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::lake::{self, At, RestConfig, S3Config};
use crate::metastore::PostgresConfig;
use crate::secret::Secret;
use crate::sources::postgres::Tls;

/// `catalog/sources/<name>.toml` of kind `iceberg`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Without `uri` the catalog's name in the metastore, as PyIceberg's `SqlCatalog` is called; with it what answers there:
    /// `"sql"` or `"rest"`.
    #[serde(default = "catalog")]
    pub catalog: String,
    /// `postgres://user@host:port/database`, or the address of a REST catalog.
    #[serde(default)]
    pub uri: Option<String>,
    /// Of a catalog in PostgreSQL: its name among those of the database.
    #[serde(default)]
    pub catalog_name: Option<String>,
    /// Of PostgreSQL's user.
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// The environment variable that holds the password, instead of `password`.
    #[serde(default)]
    pub password_env: Option<String>,
    #[serde(default)]
    pub tls: Tls,
    /// PEM certificates that sign the catalog's; the system's roots where absent.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// To PostgreSQL, at once.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// How long the catalog may take to be reached and to answer.
    #[serde(default = "catalog_timeout_ms")]
    pub catalog_timeout_ms: u64,
    /// What a REST catalog wants to know.
    #[serde(default)]
    pub rest: Box<RestConfig>,
    /// `file:///…` or `s3://bucket/…`.
    pub warehouse: String,
    pub s3: Option<S3Config>,
    /// Namespace → the schema it is mounted as; a namespace that is not named keeps its own name.
    #[serde(default)]
    pub schemas: BTreeMap<String, String>,
    #[serde(default = "manifest_cache_bytes")]
    pub manifest_cache_bytes: u64,
}

fn catalog() -> String {
    "lakegate".into()
}

fn connections_max() -> usize {
    8
}

fn catalog_timeout_ms() -> u64 {
    10_000
}

fn manifest_cache_bytes() -> u64 {
    256 << 20
}

impl Config {
    /// What the lake itself needs of it.
    pub fn lake(&self) -> lake::Config {
        let name = self.catalog_name.clone();
        let (catalog, at) = match &self.uri {
            None => (self.catalog.clone(), At::Metastore),
            Some(uri) => (name.unwrap_or_else(catalog), self.elsewhere(uri)),
        };
        lake::Config {
            catalog,
            at,
            warehouse: self.warehouse.clone(),
            s3: self.s3.clone(),
            manifest_cache_bytes: self.manifest_cache_bytes,
        }
    }

    fn elsewhere(&self, uri: &str) -> At {
        match self.catalog.as_str() {
            "sql" => At::Postgres(Box::new(PostgresConfig {
                uri: uri.into(),
                password: self.password.clone(),
                password_env: self.password_env.clone(),
                tls: self.tls == Tls::Require,
                tls_ca_file: self.tls_ca_file.clone(),
                connections_max: self.connections_max,
                timeout_ms: self.catalog_timeout_ms,
            })),
            "rest" => At::Rest(Box::new(RestConfig {
                uri: uri.into(),
                tls_ca_file: self.tls_ca_file.clone(),
                timeout_ms: self.catalog_timeout_ms,
                ..self.rest.as_ref().clone()
            })),
            other => At::Nowhere(format!("`catalog` is \"sql\" or \"rest\" where `uri` is given, not \"{other}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        toml::from_str(&format!("warehouse = 'file:///w'\n{text}")).unwrap()
    }

    #[test]
    fn a_file_names_one_of_three_catalogs() {
        let lake = read("catalog = 'ours'").lake();
        assert!(matches!((lake.catalog.as_str(), lake.at), ("ours", At::Metastore)));
        let lake = read("catalog = 'sql'\nuri = 'postgres://i@h/db'\ncatalog_name = 'prod'\npassword = 'hush'").lake();
        assert!(!format!("{lake:?}").contains("hush"));
        let At::Postgres(at) = lake.at else { panic!() };
        assert_eq!((lake.catalog.as_str(), at.uri.as_str(), at.tls), ("prod", "postgres://i@h/db", false));
        let lake = read("catalog = 'rest'\nuri = 'http://h:8181'\n[rest]\nwarehouse = 'wh'").lake();
        let At::Rest(at) = lake.at else { panic!() };
        assert_eq!((at.uri.as_str(), at.warehouse.as_deref()), ("http://h:8181", Some("wh")));
        assert!(matches!(read("uri = 'http://h'").lake().at, At::Nowhere(_)));
    }
}
