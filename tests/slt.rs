//! SQL as it must be: the files of `tests/slt`, each record over every door (the engine in this process, the wire by the
//! simple and by the extended protocol); those named `pg_` over a real PostgreSQL too, so that what they expect is
//! PostgreSQL's word. It judges answers, not rights.
//!
//! To write the answers anew: `LAKEGATE_SLT_COMPLETE=1 cargo test --test it slt`; `pg_` files take PostgreSQL's. Read the
//! difference before committing it.

pub mod door;

use std::path::{Path, PathBuf};

use sqllogictest::{DefaultColumnType, Runner, default_column_validator, default_normalizer, default_validator};

use crate::gateway::{Files, Gateway};
use crate::postgres_server::Server;
use crate::tree;
use door::{Door, Kind};

const POLICY: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, create, allow\n\
                      p, root, *, drop, allow\np, root, *, maintain, allow\np2, root, *, unfiltered\n\
                      p, root, df.*, update, allow\np, root, sq.*, update, allow\n\
                      p, root, mv.*, update, allow\np, root, mv.*, delete, allow\n";

/// The tables that every file may ask.
const TABLES: &str = include_str!("slt/tables.sql");

fn files(chosen: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let folder = tree::root().join("tests/slt");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut found: Vec<PathBuf> = names.filter(|p| name(p).ends_with(".slt") && chosen(&name(p))).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn statements() -> Vec<&'static str> {
    TABLES.split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).collect()
}

pub async fn gateway() -> Gateway {
    let files =
        Files { policy: POLICY.into(), users: vec![("root".into(), String::new())], ..Files::default() }.with_lake();
    let gateway = Gateway::start(&files).await;
    gateway.run("root", &statements()).await;
    gateway
}

pub async fn postgres() -> Server {
    let server = Server::with(&["timezone=UTC"]).await;
    for sql in statements() {
        server.run(sql).await;
    }
    server
}

fn completes() -> bool {
    std::env::var_os("LAKEGATE_SLT_COMPLETE").is_some()
}

/// Every record of every file; all that differ are told, not the first alone.
async fn check(kind: Kind, files: Vec<PathBuf>, open: impl AsyncFn() -> Door) {
    let (mut records, mut differ) = (0, vec![]);
    for file in files {
        let door = std::sync::Mutex::new(Some(open().await));
        // one connection a file: the second ask would be a `connection` record, which no file has
        let mut runner = Runner::new(|| async { Ok(door.lock().unwrap().take().unwrap()) });
        for record in sqllogictest::parse_file::<DefaultColumnType>(&file).unwrap_or_else(|e| panic!("{e}")) {
            let asks = matches!(&record, sqllogictest::Record::Statement { .. } | sqllogictest::Record::Query { .. });
            records += usize::from(asks);
            if let Err(error) = runner.run_async(record).await {
                differ.push(error.display(false).to_string());
            }
        }
        runner.shutdown_async().await;
    }
    println!("{kind:?}: {records} records");
    assert!(differ.is_empty(), "{} of {records} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Answers, and of errors the SQLSTATE: texts are everybody's own.
async fn complete(file: &Path, door: Door, mut errors: Door) {
    let door = std::sync::Mutex::new(Some(door));
    let mut runner = Runner::new(|| async { Ok(door.lock().unwrap().take().unwrap()) });
    let (valid, normal, types) = (default_validator, default_normalizer, default_column_validator);
    runner.update_test_file(file, " ", valid, normal, types).await.unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let mut records: Vec<String> = text.split("\n\n").map(str::to_string).collect();
    for record in records.iter_mut().filter(|record| record.contains("statement error")) {
        let (head, rest) = record.split_once("statement error").unwrap();
        let sql = rest.split_once('\n').unwrap().1;
        let told = sqllogictest::AsyncDB::run(&mut errors, sql.trim()).await;
        let code = told.err().and_then(|told| <Door as sqllogictest::AsyncDB>::error_sql_state(&told));
        *record = format!("{head}statement error ({})\n{sql}", code.unwrap_or_else(|| panic!("no error: {sql}")));
    }
    std::fs::write(file, records.join("\n\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slt_in_process() {
    let gateway = gateway().await;
    check(Kind::Engine, files(|_| true), async || Door::engine(&gateway)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slt_by_the_simple_protocol() {
    let gateway = gateway().await;
    if completes() {
        for file in files(|name| !name.starts_with("pg_")) {
            complete(&file, Door::simple(gateway.connect("root").await), Door::simple(gateway.connect("root").await))
                .await;
        }
    }
    check(Kind::Simple, files(|_| true), async || Door::simple(gateway.connect("root").await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slt_by_the_extended_protocol() {
    let gateway = gateway().await;
    check(Kind::Extended, files(|_| true), async || Door::extended(&gateway).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slt_by_a_real_postgres() {
    let server = postgres().await;
    if completes() {
        for file in files(|name| name.starts_with("pg_")) {
            complete(&file, Door::postgres(server.client().await), Door::postgres(server.client().await)).await;
        }
    }
    check(Kind::Postgres, files(|name| name.starts_with("pg_")), async || Door::postgres(server.client().await)).await;
}
