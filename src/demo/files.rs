//! The repository's own `catalog/` and `policies/`, carried in the binary and written with the demo's addresses filled
//! in. What a newcomer edits is what ships.

use super::directory::Directory;
use super::postgres;
use crate::error::Result;

macro_rules! shipped {
    ($($path:literal),* $(,)?) => {
        /// Path and content of every file.
        const SHIPPED: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../", $path))),)*];
    };
}

shipped![
    "catalog/datasets/reports.revenue_by_region.sql",
    "catalog/pipelines/customers.toml",
    "catalog/pipelines/customers_copy.toml.example",
    "catalog/pipelines/order_events.toml",
    "catalog/reflections/orders_by_day.sql",
    "catalog/sources/crm.toml",
    "catalog/sources/events.toml",
    "catalog/sources/files.toml.example",
    "catalog/sources/fixtures.toml.example",
    "catalog/sources/lake.toml",
    "policies/model.conf",
    "policies/policy.csv",
    "policies/users.toml",
];

/// What the files are told about the world they are written into.
pub(super) struct Places<'a> {
    pub(super) kafka: &'a str,
    pub(super) postgres: &'a postgres::Address,
    pub(super) pg_port: u16,
    pub(super) http_port: u16,
}

/// Writes them all, `lakegate.toml` and what it names.
pub(super) fn write(directory: &Directory, places: &Places<'_>) -> Result<()> {
    let warehouse = directory.directory("lake/warehouse".as_ref())?;
    directory.directory("spill".as_ref())?;
    let (postgres_port, warehouse) = (places.postgres.port.to_string(), format!("file://{}", warehouse.display()));
    let fillings = [
        ("@WAREHOUSE@", warehouse.as_str()),
        ("@KAFKA_BROKERS@", places.kafka),
        ("@POSTGRES_HOST@", "127.0.0.1"),
        ("@POSTGRES_PORT@", &postgres_port),
        ("@POSTGRES_DATABASE@", postgres::DATABASE),
        ("@POSTGRES_USER@", postgres::READER),
        ("@POSTGRES_PASSWORD@", &places.postgres.password),
    ];
    for (path, content) in SHIPPED {
        let filled = fillings.iter().fold((*content).to_string(), |text, (name, value)| text.replace(name, value));
        directory.write(path, &filled)?;
    }
    let key: [u8; 32] = rand::random();
    directory.write("lakegate.key", &key.iter().map(|b| format!("{b:02x}")).collect::<String>())?;
    let names = vec!["localhost".to_string(), "127.0.0.1".to_string()];
    let certified = rcgen::generate_simple_self_signed(names).map_err(super::failed("the certificate"))?;
    directory.write("tls/certificate.pem", &certified.cert.pem())?;
    directory.write("tls/key.pem", &certified.signing_key.serialize_pem())?;
    directory.write("lakegate.toml", &configuration(places))?;
    Ok(())
}

fn configuration(places: &Places<'_>) -> String {
    format!(
        r#"# Written by `lakegate demo`. `lakegate serve --print-config` shows every key there is.
catalog_dir = "catalog"
policies_dir = "policies"
key_file = "lakegate.key"      # hash masks are keyed with it

[metastore]
path = "lake/catalog.db"       # also the SQL catalog that PyIceberg opens

[wire]
listen = ["127.0.0.1:{}"]
http_listen = "127.0.0.1:{}"
tls = "allow"                  # plaintext too: this demo is on loopback alone
certificate = "tls/certificate.pem"
key = "tls/key.pem"

[engine]
search_path = "sales, events, crm, lake_crm, reports"   # `\dt` and names without a schema look here
spill_dir = "spill"            # what does not fit into memory; gone with the demo

[log]
filter = "warn,lakegate=info,sqlx=error,librdkafka=error"
"#,
        places.pg_port, places.http_port
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Files below `folder`, as paths from the repository's root.
    fn files(folder: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            if root.join(&path).is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found
    }

    #[test]
    fn every_file_of_both_folders_ships() {
        let mut expected = [files("catalog"), files("policies")].concat();
        expected.sort();
        assert_eq!(SHIPPED.iter().map(|(path, _)| (*path).to_string()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let directory = Directory::prepare(None).unwrap();
        let postgres = postgres::Address { port: 1, password: "p".into() };
        write(&directory, &Places { kafka: "127.0.0.1:2", postgres: &postgres, pg_port: 3, http_port: 4 }).unwrap();
        let place = regex::Regex::new("@[A-Z_]+@").unwrap();
        for (path, _) in SHIPPED {
            let text = std::fs::read_to_string(directory.path().join(path)).unwrap();
            let left = place.find(&text).map(|m| m.as_str().to_string());
            assert_eq!(left, None, "{path}");
        }
        crate::config::Config::load(&directory.path().join("lakegate.toml"), |_| None).unwrap();
    }
}
