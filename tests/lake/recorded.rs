//! Tables recorded from the reference implementation (`tests/data/iceberg`), asked over the source that mounts them: every
//! one reads right, whatever is asked of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lakegate::lake::{Lake, Store, TableKey};
use lakegate::metastore::{self, Also, Metastore, Swap, Swapped};
use lakegate::sources::iceberg::{Config, Iceberg};
use lakegate::sources::{Source, Table};
use object_store::local::LocalFileSystem;

use super::oracle::{all_rows, ask_everything};
use super::rows::json_lines;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/iceberg/spark_v3")
}

/// The recorded tables, their recorded URIs answered from the folder.
async fn tables(directory: &tempfile::TempDir) -> BTreeMap<String, Arc<dyn Table>> {
    let path = directory.path().join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
    let locations = std::fs::read_to_string(recorded().join("tables.json")).unwrap();
    let locations: BTreeMap<String, String> = serde_json::from_str(&locations).unwrap();
    let key = |name: &str| TableKey { catalog: "lakegate".into(), namespace: "corpus".into(), name: name.into() };
    let inserts: Vec<Swap> = locations.into_iter().map(|(name, to)| Swap::Insert { table: key(&name), to }).collect();
    assert_eq!(metastore.swap(&inserts, &Also::default()).await.unwrap(), Swapped::Done);
    let config: Config = toml::from_str("warehouse = 's3://iceberg-corpus/spark'").unwrap();
    let files = LocalFileSystem::new_with_prefix(recorded().join("warehouse")).unwrap();
    let store = Store::over(Arc::new(files), vec!["s3://iceberg-corpus/spark/".into()]);
    let lake = Arc::new(Lake::over(&config.lake(), store, Arc::new(metastore)).unwrap());
    let source = Iceberg::new("lake", &config, lake);
    source.tables().await.unwrap().into_iter().map(|t| (t.name().table.clone(), t)).collect()
}

/// As the lines of [`json_lines`]: the key order and the spelling of numbers are this library's.
fn expected(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(recorded().join(format!("expected/{name}.jsonl"))).unwrap();
    let mut lines: Vec<String> =
        text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap().to_string()).collect();
    lines.sort();
    lines
}

/// Row ids and the text of variants are compared where the lake itself is tested.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_tables_read_right() {
    let directory = tempfile::tempdir().unwrap();
    let tables = tables(&directory).await;
    assert_eq!(tables.len(), 20);
    for (name, table) in &tables {
        let rows = all_rows(table).await;
        if !["v3_variant", "v3_rare_types"].contains(&name.as_str()) {
            assert_eq!(json_lines(&rows), expected(name), "{name}");
        }
        ask_everything(table, &rows).await;
    }
}
