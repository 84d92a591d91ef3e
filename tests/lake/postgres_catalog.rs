//! A lake whose catalog is in PostgreSQL, beside PyIceberg's: rows of both versions of the schema, races, a server that
//! goes away in the midst, and what must move with a table. The server is real and the test's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::error::Kind;
use lakegate::lake::{Also, BatchId, Isolation, Lake, Outcome, Staged};
use lakegate::sources::{Source as _, ViewText};

use super::oracle::{all_rows, lines};
use super::peers::peer;
use super::world::{World, open_as, stream};
use crate::postgres_server::Server;

/// As Java and PyIceberg made them before there were views.
const V0: &str =
    "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        PRIMARY KEY (catalog_name, table_namespace, table_name));
    CREATE TABLE iceberg_namespace_properties (catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
        property_key VARCHAR(255), property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key))";

fn row(value: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
}

/// The source's file. `timeout_ms` is short enough for a test that waits for it.
fn file(server: &Server, warehouse: &std::path::Path) -> String {
    format!(
        "catalog = 'sql'\nuri = 'postgres://postgres@127.0.0.1:{}/postgres'\npassword = 'sesame'\n\
         catalog_timeout_ms = 20000\nwarehouse = 'file://{}/warehouse'",
        server.port,
        warehouse.display()
    )
}

/// As PyIceberg is told of it.
fn address(server: &Server) -> String {
    format!("postgresql+psycopg://postgres:sesame@127.0.0.1:{}/postgres", server.port)
}

async fn world(server: &Server) -> World {
    let directory = tempfile::tempdir().unwrap();
    let written = file(server, directory.path());
    let world = World::configured(directory, &written).await;
    world.writer.create_schema("s").await.unwrap();
    world
}

/// Another machine's view of the same lake: a metastore of its own.
async fn elsewhere(server: &Server, world: &World) -> (tempfile::TempDir, Arc<Lake>) {
    let theirs = tempfile::tempdir().unwrap();
    let (lake, _) = open_as(theirs.path(), &file(server, world.directory.path())).await;
    (theirs, lake)
}

async fn append(lake: &Lake, value: i64) -> Outcome {
    let base = lake.table(&lake.key("s", "t")).await.unwrap().unwrap();
    let batch = BatchId::new();
    let written = lake.write(&base, batch, stream(row(value).schema(), vec![row(value)])).await.unwrap();
    lake.commit(vec![Staged::append(base, written, batch)], &Also::default()).await.unwrap()
}

async fn values(world: &World) -> Vec<i64> {
    let mut values: Vec<i64> =
        lines(&all_rows(&world.table("s", "t").await).await).iter().map(|line| line.parse().unwrap()).collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_both_versions_are_read_and_written_and_pyiceberg_agrees() {
    for version in [0, 1] {
        let server = Server::start().await;
        if version == 0 {
            server.run(V0).await;
        }
        // whoever only looks makes nothing
        let looking = tempfile::tempdir().unwrap();
        let (lake, source) = open_as(looking.path(), &file(&server, looking.path())).await;
        assert!(source.tables().await.unwrap().is_empty() && lake.namespaces().await.unwrap().is_empty());
        lake.revision().await.unwrap();
        assert_eq!(lake.metastore().get("x").await.unwrap(), None);
        assert_eq!(server.ask("SELECT to_regclass('lakegate_values') IS NULL").await, "true");
        let world = world(&server).await;
        world.create("t", row(1)).await;
        world.append("t", row(2)).await;
        assert_eq!(values(&world).await, [1, 2], "V{version}");
        assert_eq!(peer(&["count", &address(&server), "t"])["rows"], 2, "V{version}");
        assert_eq!(peer(&["race", &address(&server), "t", "3", "4"])["appended"], 1, "V{version}");
        assert_eq!(values(&world).await, [1, 2, 3], "V{version}");
        let kind = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'iceberg_type'";
        assert_eq!(server.ask(kind).await, version.to_string(), "a table that is there is left as it is");
        let view = ViewText { sql: "SELECT 1 AS a".into(), owner: "o".into(), columns: vec![], comment: None };
        let made = world.lake.create_view(&world.lake.key("s", "v"), &view).await;
        match version {
            0 => assert_eq!(made.unwrap_err().kind(), Kind::Unsupported),
            _ => assert!(made.is_ok()),
        }
        world.writer.drop_schema("s").await.unwrap_err();
        let (key, to) = (world.lake.key("s", "t"), world.lake.key("s", "u"));
        world.lake.rename_table(&key, &to).await.unwrap();
        world.lake.drop_table(&to).await.unwrap();
    }
}

/// Two machines of ours with two writers each, and PyIceberg.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_machines_and_pyiceberg_lose_nothing() {
    let server = Server::start().await;
    let world = world(&server).await;
    world.create("t", row(0)).await;
    let (_theirs, other) = elsewhere(&server, &world).await;
    let address = address(&server);
    let pyiceberg = tokio::task::spawn_blocking(move || peer(&["race", &address, "t", "1000", "1010"]));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4i64 {
        let lake = Arc::clone(if writer % 2 == 0 { &world.lake } else { &other });
        tasks.spawn(async move {
            for value in (1 + writer * 10)..(11 + writer * 10) {
                assert!(matches!(append(&lake, value).await, Outcome::Committed(_)));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(pyiceberg.await.unwrap()["appended"], 10);
    let expected: Vec<i64> = (0..41).chain(1000..1010).collect();
    assert_eq!(values(&world).await, expected);
    assert_eq!(peer(&["count", &self::address(&server), "t"])["rows"], 51);
}

/// The server is killed again and again while rows are committed: each that was acknowledged is there, none twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_amid_commits_loses_and_doubles_nothing() {
    let mut server = Server::start().await;
    let world = world(&server).await;
    world.create("t", row(0)).await;
    let (lake, done) = (Arc::clone(&world.lake), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let writer = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let (mut acknowledged, mut value) = (BTreeSet::from([0]), 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                value += 1;
                let Ok(Some(base)) = lake.table(&lake.key("s", "t")).await else { continue };
                let batch = BatchId::new();
                let written = lake.write(&base, batch, stream(row(value).schema(), vec![row(value)])).await.unwrap();
                if let Ok(Outcome::Committed(_)) =
                    lake.commit(vec![Staged::append(base, written, batch)], &Also::default()).await
                {
                    acknowledged.insert(value);
                }
            }
            acknowledged
        }
    });
    for round in 1..=5 {
        // the writer is at work again
        let at = world.lake.revision().await.ok();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while world.lake.revision().await.ok() == at {
            assert!(tokio::time::Instant::now() < deadline, "round {round}: no commit");
            tokio::task::yield_now().await;
        }
        tokio::task::block_in_place(|| server.stop());
        server.resume().await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    let found = values(&world).await;
    let unique: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(unique.len(), found.len(), "a row is there twice: {found:?}");
    let lost: Vec<_> = acknowledged.difference(&unique).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_checkpoints_stand_where_the_tables_do() {
    let server = Server::start().await;
    let world = world(&server).await;
    world.create("t", row(0)).await;
    let (_theirs, other) = elsewhere(&server, &world).await;
    let (ours, theirs) = (world.lake.metastore(), other.metastore());
    let lease = ours.take_lease("p", "one", 60_000).await.unwrap().unwrap();
    assert_eq!(theirs.take_lease("p", "two", 60_000).await.unwrap(), None);
    let put = |value: &str| vec![("seen".to_string(), value.as_bytes().to_vec())];
    let commit = async |lake: &Lake, also: Also, value: i64| {
        let base = lake.table(&lake.key("s", "t")).await.unwrap().unwrap();
        let batch = BatchId::new();
        let written = lake.write(&base, batch, stream(row(value).schema(), vec![row(value)])).await.unwrap();
        lake.commit(vec![Staged::append(base, written, batch)], &also).await.unwrap()
    };
    let done = commit(&world.lake, Also { lease: Some(lease.clone()), puts: put("1") }, 1).await;
    assert!(matches!(done, Outcome::Committed(_)));
    assert_eq!(theirs.get("seen").await.unwrap().as_deref(), Some(&b"1"[..]));
    ours.release_lease(&lease).await.unwrap();
    let taken = theirs.take_lease("p", "two", 60_000).await.unwrap().unwrap();
    assert_eq!(taken.epoch, lease.epoch + 1);
    assert!(!ours.renew_lease(&lease, 60_000).await.unwrap());
    // the zombie changes neither the table nor what goes with it
    let done = commit(&world.lake, Also { lease: Some(lease), puts: put("2") }, 2).await;
    assert!(matches!(done, Outcome::LeaseLost));
    assert_eq!(ours.get("seen").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(values(&world).await, [0, 1]);
}

/// The database's clock is a day ahead of ours: what runs out there runs out for all machines at one moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_statements_read_runs_out_by_the_databases_clock() {
    let server = Server::start().await;
    server
        .run(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
             'SELECT pg_catalog.clock_timestamp() + interval ''1 day''';
             ALTER ROLE ALL SET search_path = public, pg_catalog",
        )
        .await;
    let world = world(&server).await;
    world.create("t", row(0)).await;
    let (_theirs, other) = elsewhere(&server, &world).await;
    let (ours, theirs) = (world.lake.metastore(), other.metastore());
    let table = uuid::Uuid::new_v4();
    let pin = ours.pin(table, 7);
    // Once it has lasted for a while.
    while theirs.pinned(table).await.unwrap().is_empty() {
        ours.tell_pins().await.unwrap();
    }
    let told = theirs.values("lake.pins.").await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told[0].1).unwrap();
    let ahead = told["until"].as_i64().unwrap() - chrono::Utc::now().timestamp_millis();
    assert!(ahead > 23 * 3_600_000, "{ahead} ms");
    // One that has run out by that clock and not by ours is nobody's.
    let until = chrono::Utc::now().timestamp_millis() + 3_600_000;
    let other = uuid::Uuid::new_v4();
    let told = serde_json::json!({"until": until, "pins": [[other.to_string(), 9]]});
    theirs.put("lake.pins.gone", told.to_string().as_bytes()).await.unwrap();
    assert!(ours.pinned(other).await.unwrap().is_empty());
    drop(pin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_several_tables_is_whole_for_another_machine() {
    let server = Server::start().await;
    let world = world(&server).await;
    world.create("t", row(0)).await;
    world.create("u", row(0)).await;
    let (_theirs, other) = elsewhere(&server, &world).await;
    let transaction = world.lake.begin(Isolation::Committed).await.unwrap();
    let inside = transaction.lake();
    for name in ["t", "u"] {
        let base = inside.table(&inside.key("s", name)).await.unwrap().unwrap();
        let batch = BatchId::new();
        let written = inside.write(&base, batch, stream(row(1).schema(), vec![row(1)])).await.unwrap();
        inside.commit(vec![Staged::append(base, written, batch)], &Also::default()).await.unwrap();
    }
    let count = async |name: &str| {
        let table = other.table(&other.key("s", name)).await.unwrap().unwrap();
        table.summary(table.snapshot_id().unwrap()).unwrap()["total-records"].clone()
    };
    assert_eq!((count("t").await, count("u").await), ("1".into(), "1".into()));
    // another machine comes between: what was done to its table is done again
    assert!(matches!(append(&other, 5).await, Outcome::Committed(_)));
    transaction.commit().await.unwrap();
    assert_eq!((count("t").await, count("u").await), ("3".into(), "2".into()));
    assert_eq!(other.table(&other.key("s", "t")).await.unwrap().unwrap().ancestry().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_address_is_said_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let config = |uri: &str| -> lakegate::sources::iceberg::Config {
        toml::from_str(&format!("catalog = 'sql'\nuri = '{uri}'\npassword = 'hush'\nwarehouse = 'file:///w'")).unwrap()
    };
    let path = directory.path().join("catalog.db");
    let metastore = lakegate::metastore::Config { path, busy_timeout_ms: 5_000 };
    let metastore = Arc::new(lakegate::metastore::Metastore::open(&metastore).await.unwrap());
    let open = |uri: &str| Lake::connect(&config(uri).lake(), Arc::clone(&metastore));
    let said = open("postgres://i:secret@h/db").unwrap_err();
    assert_eq!(said.message(), "the lake's catalog: `uri` holds a password; put it into `password_env` or `password`");
    let said = open("postgres://i@h/db?sslmode=require").unwrap_err();
    assert!(said.message().contains("`uri` asks for TLS"), "{}", said.message());
    assert_eq!(open("postgres://").unwrap_err().kind(), Kind::Config);
    assert_eq!(open("nonsense").unwrap_err().kind(), Kind::Config);
    // nobody listens there
    let closed = open("postgres://i@127.0.0.1:1/db").unwrap();
    let error = closed.tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceUnreachable);
    assert!(!error.message().contains("127.0.0.1") && !format!("{closed:?}{error:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_database_is_verified() {
    let named = || rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let made = named();
    let mut server = Server::start().await;
    server.write("server.crt", &made.cert.pem());
    server.write("server.key", &made.signing_key.serialize_pem());
    server.write("postgresql.auto.conf", "ssl = on\n");
    server.stop();
    server.resume().await;
    let files = tempfile::tempdir().unwrap();
    let (ours, other) = (files.path().join("ours.pem"), files.path().join("other.pem"));
    std::fs::write(&ours, made.cert.pem()).unwrap();
    std::fs::write(&other, named().cert.pem()).unwrap();
    for (host, file, opens) in [("localhost", &ours, true), ("localhost", &other, false), ("127.0.0.1", &ours, false)] {
        let directory = tempfile::tempdir().unwrap();
        let written = format!("{}\ntls = 'require'\ntls_ca_file = {file:?}", self::file(&server, directory.path()));
        let (lake, _) = open_as(directory.path(), &written.replace("127.0.0.1", host)).await;
        assert_eq!(lake.namespaces().await.is_ok(), opens, "{host} {file:?}");
    }
    let plain = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
        WHERE a.application_name = 'lakegate' AND NOT s.ssl";
    assert_eq!(server.ask(plain).await, "0");
}
