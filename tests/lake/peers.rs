//! The lake beside PyIceberg and DuckDB: they read what we wrote, we read what PyIceberg wrote and see it at once. The
//! peers live in a Python environment that `./x test` makes; `tests/peers/iceberg_peers.py` speaks for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use lakegate::sources::Source as _;
use serde_json::Value;

use super::oracle::{all_rows, ask_each};
use super::rows::json_lines;
use super::world::World;
use super::write::every_type;

/// Runs the script; what it prints on standard output is JSON.
pub(crate) fn peer(arguments: &[&str]) -> Value {
    let python = std::env::var("LAKEGATE_TEST_PYTHON").expect(
        "LAKEGATE_TEST_PYTHON names no Python with the lake's peers; `./x test` makes one, or by hand: \
         python3 -m venv V && V/bin/pip install 'pyiceberg[sql-sqlite,pyarrow,pyiceberg-core]==0.12.0' duckdb==1.5.5 \
         duckdb-extension-iceberg==1.5.5 duckdb-extension-avro==1.5.5, then LAKEGATE_TEST_PYTHON=V/bin/python",
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/iceberg_peers.py");
    let done = std::process::Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_duckdb_read_what_we_wrote() {
    let world = World::new().await;
    world.create("t", every_type(0, 30)).await;
    world.append("t", every_type(30, 60)).await;
    world.append("t", every_type(60, 61)).await;
    let rows = json_lines(&all_rows(&world.table("s", "t").await).await);
    assert_eq!(rows.len(), 61);
    let ours = world.directory.path().join("ours.jsonl");
    std::fs::write(&ours, rows.join("\n")).unwrap();
    let database = world.directory.path().join("catalog.db");
    let seen = peer(&["check", database.to_str().unwrap(), "t", ours.to_str().unwrap()]);
    for who in ["pyiceberg", "duckdb"] {
        assert_eq!(seen[format!("differs_{who}")], serde_json::json!([]), "{who}");
        assert_eq!(seen["sum"][who], seen["sum"]["lakegate"], "{who}");
        assert_eq!(seen["rows"][who], 61, "{who}");
        assert_eq!(seen["planned"][who], 2, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_pyiceberg_wrote_and_see_it_within_a_second() {
    let world = World::new().await;
    let database = world.directory.path().join("catalog.db");
    let database = database.to_str().unwrap();
    let warehouse = format!("file://{}/theirs", world.directory.path().display());
    let before = world.source.revision().await.unwrap();
    let made: BTreeMap<String, Vec<String>> = serde_json::from_value(peer(&["make", database, &warehouse])).unwrap();
    assert_ne!(world.source.revision().await.unwrap(), before);
    assert_eq!(made.len(), 6);
    for (name, theirs) in &made {
        let table = world.table("p", name).await;
        let rows = all_rows(&table).await;
        let mut theirs: Vec<String> =
            theirs.iter().map(|l| serde_json::from_str::<Value>(l).unwrap().to_string()).collect();
        theirs.sort();
        assert_eq!(json_lines(&rows), theirs, "{name}");
        ask_each(&table, &rows, 3).await;
    }
    // Asked all the while as the catalog asks, until the new row is there.
    let table = world.table("p", "overwritten").await;
    let rows = all_rows(&table).await.iter().map(|b| b.num_rows()).sum::<usize>();
    let (revision, path) = (world.source.revision().await.unwrap(), database.to_string());
    let append = tokio::task::spawn_blocking(move || peer(&["append", &path, "overwritten"]));
    let deadline = Instant::now() + Duration::from_secs(120);
    while world.source.revision().await.unwrap() == revision {
        assert!(Instant::now() < deadline, "the append was never seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert_eq!(all_rows(&table).await.iter().map(|b| b.num_rows()).sum::<usize>(), rows + 1);
    let committed = append.await.unwrap()["committed"].as_f64().unwrap();
    assert!(seen - committed < 1.0, "seen {} s after the commit", seen - committed);
}

/// PyIceberg files the last second before a period in the period, for moments before 1970.
#[tokio::test(flavor = "multi_thread")]
async fn moments_before_1970_are_found_in_the_partitions_that_pyiceberg_gives_them() {
    let world = World::new().await;
    let database = world.directory.path().join("catalog.db");
    let warehouse = format!("file://{}/theirs", world.directory.path().display());
    let made: BTreeMap<String, usize> =
        serde_json::from_value(peer(&["early", database.to_str().unwrap(), &warehouse])).unwrap();
    assert_eq!(made.keys().map(String::as_str).collect::<Vec<_>>(), ["day", "hour", "month", "year"]);
    for name in made.keys() {
        let table = world.table("p", name).await;
        let rows = all_rows(&table).await;
        let at = |batch: &arrow::array::RecordBatch| {
            let at = batch.column(1).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            at.values().to_vec()
        };
        let all: Vec<i64> = rows.iter().flat_map(at).collect();
        assert_eq!(all.len(), 8, "{name}");
        let session = super::oracle::session(1, false);
        session.register_table("t", table.pin().await.unwrap().provider).unwrap();
        for moment in &all {
            for (operator, wanted) in [
                ("=", all.iter().filter(|at| *at == moment).count()),
                ("<=", all.iter().filter(|at| *at <= moment).count()),
                (">=", all.iter().filter(|at| *at >= moment).count()),
                ("<", all.iter().filter(|at| *at < moment).count()),
            ] {
                let sql = format!(
                    "select id from t where at {operator} arrow_cast({moment}, 'Timestamp(Microsecond, None)')"
                );
                let found: usize =
                    session.sql(&sql).await.unwrap().collect().await.unwrap().iter().map(|b| b.num_rows()).sum();
                assert_eq!(found, wanted, "by {name}: {sql}");
            }
        }
    }
}

/// One table, both writers in turn: neither loses the other's rows.
#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_we_append_to_one_table_in_turn() {
    let world = World::new().await;
    let database = world.directory.path().join("catalog.db");
    let database = database.to_str().unwrap();
    peer(&["make", database, &format!("file://{}/theirs", world.directory.path().display())]);
    let table = world.table("p", "overwritten").await;
    let ours = || {
        use arrow::array::{Int64Array, RecordBatch, StringArray};
        let columns: Vec<arrow::array::ArrayRef> = vec![
            std::sync::Arc::new(Int64Array::from(vec![2000])),
            std::sync::Arc::new(StringArray::from(vec!["ours"])),
        ];
        RecordBatch::try_new(table.schema(), columns).unwrap()
    };
    let before = json_lines(&all_rows(&table).await).len();
    for _ in 0..2 {
        let rows = super::world::stream(table.schema(), vec![ours()]);
        world.writer.append(table.as_ref(), rows).await.unwrap();
        peer(&["append", database, "overwritten"]);
    }
    let after = json_lines(&all_rows(&table).await);
    assert_eq!(after.len(), before + 4);
    assert_eq!(after.iter().filter(|l| l.contains("ours")).count(), 2);
}
