//! What a PostgreSQL that goes away, changes or is cancelled does to a statement: an error that names the source, a
//! quiet server, and never a part of the rows taken for all.

use std::time::{Duration, Instant};

use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use lakegate::error::Error;
use lakegate::sources::Source;
use lakegate::sources::postgres::{Config, Postgres};

use super::postgres::source;
use super::{context, query, rows, table, told};
use crate::postgres_server::Server;

const ENDLESS: &str =
    "CREATE VIEW endless AS SELECT i, md5(i::text) AS word FROM (SELECT generate_series(1, 1000000000) AS i) s";
const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakegate' AND state = 'active'";

async fn until(what: &str, server: &Server, sql: &str, expect: &str) -> Duration {
    let started = Instant::now();
    while server.ask(sql).await != expect {
        assert!(started.elapsed() < Duration::from_secs(20), "waited for: {what}");
    }
    started.elapsed()
}

async fn stream(context: &SessionContext, sql: &str) -> datafusion::execution::SendableRecordBatchStream {
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    execute_stream(plan, context.task_ctx()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_makes_the_server_quiet() {
    let server = Server::start().await;
    server.run(ENDLESS).await;
    server.run("CREATE VIEW asleep AS SELECT pg_sleep(3600)::text AS s").await;
    // as COPY sends rows, and as the extended protocol does
    for dialect in ["postgres", "cockroachdb"] {
        dropped_streams(&server, &source(&server, &format!("dialect = {dialect:?}"))).await;
    }
}

async fn dropped_streams(server: &Server, source: &Postgres) {
    // Amid the rows: the server is blocked on a full socket.
    let endless = context(&table(source, "crm.endless").await).await;
    let mut running = stream(&endless, "SELECT * FROM t").await;
    assert!(running.next().await.unwrap().unwrap().num_rows() > 0);
    until("the scan to run", server, OURS, "1").await;
    drop(running);
    println!("quiet after {:?}", until("quiet", server, OURS, "0").await);
    // Before any row: only a cancel request reaches a server that writes nothing.
    let asleep = context(&table(source, "crm.asleep").await).await;
    let mut running = stream(&asleep, "SELECT * FROM t").await;
    let waiting = tokio::spawn(async move { running.next().await.is_some() });
    until("the sleep to run", server, OURS, "1").await;
    waiting.abort();
    println!("quiet after {:?}", until("quiet", server, OURS, "0").await);
    // The source goes on.
    assert_eq!(rows(&endless, "SELECT i FROM t LIMIT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_scan_is_an_error_and_not_an_end() {
    let server = Server::start().await;
    server.run(ENDLESS).await;
    let endless = context(&table(&source(&server, ""), "crm.endless").await).await;
    let mut running = stream(&endless, "SELECT * FROM t").await;
    assert!(running.next().await.unwrap().is_ok());
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lakegate'";
    assert_eq!(server.ask(kill).await, "1");
    let error = loop {
        match running.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Error::from(error),
            None => panic!("a cut stream ended as if it were whole"),
        }
    };
    assert_eq!((error.kind().sqlstate(), error.message()), ("08006", "source \"crm_db\" cannot be reached"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named_and_one_that_is_up_again_is_used() {
    let mut server = Server::start().await;
    server.run("CREATE TABLE one AS SELECT 1 AS x").await;
    let source = source(&server, "connect_timeout_ms = 2000");
    let one = table(&source, "crm.one").await;
    let context = context(&one).await;
    assert_eq!(rows(&context, "SELECT x FROM t").await, ["1"]);
    server.stop();
    let down = ("08006", "source \"crm_db\" cannot be reached".to_string());
    assert_eq!(told(query(&context, "SELECT x FROM t").await), down);
    assert_eq!(told(source.tables().await), down);
    // A thousand that wait do not each try: they are told at once.
    let started = Instant::now();
    let all = futures::future::join_all((0..1000).map(|_| source.tables())).await;
    assert!(all.into_iter().all(|r| told(r) == down));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    server.resume().await;
    let started = Instant::now();
    while source.tables().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "the source does not come back");
        tokio::task::yield_now().await;
    }
    assert_eq!(rows(&context, "SELECT x FROM t").await, ["1"]);
    // Restarted behind an idle connection: nobody notices.
    server.stop();
    server.resume().await;
    assert_eq!(rows(&context, "SELECT x FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changed_asks_for_a_new_plan() {
    let server = Server::start().await;
    let changes = [
        "ALTER TABLE c ALTER x TYPE int8",
        "ALTER TABLE c DROP COLUMN y",
        "ALTER TABLE c ALTER y TYPE numeric(8,3)",
        "DROP TABLE c",
    ];
    for change in changes {
        server
            .run("DROP TABLE IF EXISTS c; CREATE TABLE c (x int4, y numeric(5,2)); INSERT INTO c VALUES (1, 2)")
            .await;
        let context = context(&table(&source(&server, ""), "crm.c").await).await;
        assert_eq!(rows(&context, "SELECT * FROM t").await, ["1|2.00"]);
        server.run(change).await;
        let error = told(query(&context, "SELECT * FROM t").await);
        assert_eq!(error, ("0A000", "cached plan must not change result type".to_string()), "{change}");
    }
    server.run("CREATE TABLE n (x int4 NOT NULL); INSERT INTO n VALUES (1)").await;
    let context = context(&table(&source(&server, ""), "crm.n").await).await;
    server.run("ALTER TABLE n ALTER x DROP NOT NULL; INSERT INTO n VALUES (NULL)").await;
    assert_eq!(told(query(&context, "SELECT * FROM t").await).0, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_the_source_stay_in_the_log() {
    let server = Server::start().await;
    server.run("CREATE VIEW broken AS SELECT ('secret-' || i)::int4 AS x FROM generate_series(1, 3) i").await;
    let context = context(&table(&source(&server, ""), "crm.broken").await).await;
    let error = query(&context, "SELECT x FROM t").await.unwrap_err();
    assert_eq!(error.kind().sqlstate(), "HV000");
    assert_eq!(error.to_string(), "source \"crm_db\" failed");
    assert!(format!("{error:?}").contains("secret-1"), "the log has them: {error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_waiting_ends() {
    let server = Server::start().await;
    server.run(ENDLESS).await;
    let source = source(&server, "connections_max = 2\nconnections_wait_ms = 200");
    let endless = context(&table(&source, "crm.endless").await).await;
    let mut held = vec![];
    for _ in 0..2 {
        let mut running = stream(&endless, "SELECT * FROM t").await;
        running.next().await.unwrap().unwrap();
        held.push(running);
    }
    let error = told(query(&endless, "SELECT * FROM t LIMIT 1").await);
    assert_eq!(error, ("53300", "all connections to source \"crm_db\" are in use".to_string()));
    assert_eq!(server.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakegate'").await, "2");
    held.pop();
    let started = Instant::now();
    while query(&endless, "SELECT * FROM t LIMIT 1").await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "the connection does not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up_after_the_read_timeout() {
    let server = Server::start().await;
    server.run("CREATE VIEW asleep AS SELECT pg_sleep(3600)::text AS s").await;
    let asleep = context(&table(&source(&server, "read_timeout_ms = 300"), "crm.asleep").await).await;
    let error = told(query(&asleep, "SELECT s FROM t").await);
    assert_eq!(error, ("08006", "source \"crm_db\" cannot be reached".to_string()));
    until("quiet", &server, OURS, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_used_and_the_certificate_verified() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let mut server = Server::start().await;
    server.write("server.crt", &made.cert.pem());
    server.write("server.key", &made.signing_key.serialize_pem());
    server.write("postgresql.auto.conf", "ssl = on\n");
    server.stop();
    server.resume().await;
    server.run("CREATE VIEW who AS SELECT ssl::text AS s FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    let files = tempfile::TempDir::new().unwrap();
    let (ours, other) = (files.path().join("ours.pem"), files.path().join("other.pem"));
    std::fs::write(&ours, made.cert.pem()).unwrap();
    std::fs::write(&other, rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap().cert.pem())
        .unwrap();
    let source = |host: &str, file: &std::path::Path| {
        let config: Config = toml::from_str(&format!(
            "host = \"{host}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\npassword = \"sesame\"\ntls = \"require\"\ntls_ca_file = {file:?}",
            server.port
        ))
        .unwrap();
        Postgres::new("crm_db", config).unwrap()
    };
    let who = context(&table(&source("localhost", &ours), "public.who").await).await;
    assert_eq!(rows(&who, "SELECT s FROM t").await, ["true"]);
    // Another signer; another name.
    assert_eq!(told(source("localhost", &other).tables().await).0, "08006");
    assert_eq!(told(source("127.0.0.1", &ours).tables().await).0, "08006");
}
