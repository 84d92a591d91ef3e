//! Real clients: tokio-postgres here, psql where it is installed.

use std::process::Stdio;

use futures::TryStreamExt;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{ENDLESS, SLEEP, Server};

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(server.address.port())
        .user("ann")
        .password("secret")
        .dbname("lakegate")
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn tokio_postgres_prepares_binds_streams_and_cancels() {
    let server = Server::start("").await;
    let mut client = connect(&server).await;
    let row = client.query_one("select $1::int8 + 1 as n, $2::text as t", &[&41i64, &"x"]).await.unwrap();
    assert_eq!((row.get::<_, i64>("n"), row.get::<_, &str>("t")), (42, "x"));

    let statement = client.prepare("select n from generate_series(1, 20000) n where n > $1").await.unwrap();
    let rows = client.query_raw(&statement, [10i32]).await.unwrap();
    let sum = rows.try_fold(0i64, |sum, row| async move { Ok(sum + i64::from(row.get::<_, i32>(0))) }).await.unwrap();
    assert_eq!(sum, 20_000 * 20_001 / 2 - 55);

    let transaction = client.transaction().await.unwrap();
    let error = transaction.query("select 1 / 0", &[]).await.unwrap_err();
    assert_eq!(error.code().map(|c| c.code()), Some("22012"));
    let error = transaction.query("select 1", &[]).await.unwrap_err();
    assert_eq!(error.code().map(|c| c.code()), Some("25P02"));
    transaction.rollback().await.unwrap();

    let token = client.cancel_token();
    for sql in [SLEEP, ENDLESS] {
        let error = tokio::select! {
            () = cancelled_again(&token) => unreachable!(),
            outcome = client.simple_query(sql) => outcome.unwrap_err(),
        };
        assert_eq!(error.code().map(|c| c.code()), Some("57014"), "{sql}");
    }
    let answers = client.simple_query("select 1 as a; select 'x' as b").await.unwrap();
    let cells = answers.iter().filter_map(|m| match m {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert_eq!(cells.collect::<Vec<_>>(), ["1", "x"]);
}

async fn cancelled_again(token: &tokio_postgres::CancelToken) {
    loop {
        token.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Requests in flight together are answered in order, and an error in one spoils no other.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start("read_ahead_max = 2").await;
    let client = connect(&server).await;
    let sql: Vec<String> =
        (0..200i64).map(|n| if n == 50 { "select nonsense".into() } else { format!("select {n}::int8") }).collect();
    let queries = sql.iter().map(|sql| client.query_one(sql, &[]));
    let outcomes = futures::future::join_all(queries).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(row) => assert_eq!(row.get::<_, i64>(0), n as i64),
            Err(error) => assert_eq!((n, error.code().map(|c| c.code())), (50, Some("42703"))),
        }
    }
}

#[tokio::test]
async fn psql_connects_and_asks() {
    let server = Server::start("").await;
    let asked = ["select 1, 'x'", "select nonsense", "begin; select 2; commit", "\\echo :USER"];
    let Some((out, err)) = psql(&server, &asked, &[]).await else { return };
    assert_eq!(out, "1|x\nBEGIN\n2\nCOMMIT\nann\n", "{err}");
    assert!(err.contains("column \"nonsense\" does not exist"), "{err}");
}

/// The whole way of a careful client: TLS to a name it verifies, and a login bound to that certificate.
#[tokio::test]
async fn psql_verifies_the_certificate_and_binds_its_login_to_it() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&format!("certificate = '{certificate}'\nkey = '{key}'")).await;

    let careful = [
        ("PGHOST", "localhost"),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", certificate),
        ("PGCHANNELBINDING", "require"),
    ];
    let Some((out, err)) = psql(&server, &["select 1"], &careful).await else { return };
    assert_eq!(out, "1\n", "{err}");
    let Some((out, err)) = psql(&server, &["select 1"], &[("PGSSLMODE", "disable")]).await else { return };
    assert!(out.is_empty() && err.contains("connection requires TLS"), "{err}");
}

/// What psql printed for `commands`; `None` where it is not installed.
async fn psql(server: &Server, commands: &[&str], environment: &[(&str, &str)]) -> Option<(String, String)> {
    let ran = tokio::process::Command::new("psql")
        .args(["-X", "-A", "-t"])
        .args(commands.iter().flat_map(|command| ["-c", command]))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.address.port().to_string())
        .env("PGUSER", "ann")
        .env("PGPASSWORD", "secret")
        .env("PGDATABASE", "lakegate")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(ran) = ran else {
        eprintln!("psql is not installed: the door was not tried with it");
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&ran.stdout), text(&ran.stderr)))
}

/// All that a session can be told, beside what PostgreSQL says to it (`session.sql`).
#[tokio::test]
async fn a_session_says_what_postgresql_says() {
    let server = Server::start("").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/session.sql");
    // what goes wrong stands between the answers, where it happened
    let ran = tokio::process::Command::new("sh")
        .args(["-c", "exec psql -X -a -A -t -v VERBOSITY=verbose -f \"$0\" 2>&1", script])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.address.port().to_string())
        .env("PGUSER", "ann")
        .env("PGPASSWORD", "secret")
        .env("PGDATABASE", "lakegate")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    if ran.status.code() == Some(127) {
        eprintln!("psql is not installed: the door was not tried with it");
        return;
    }
    let said = String::from_utf8(ran.stdout).unwrap();
    let plain = |line: &str| match line.strip_prefix("psql:") {
        Some(error) => error.split_once(": ").map_or(error, |(_, said)| said).trim_start().to_owned(),
        None => line.to_owned(),
    };
    let said: Vec<String> = said.lines().filter(|line| !line.starts_with("LOCATION:")).map(plain).collect();
    let expected: Vec<&str> = include_str!("session.out").lines().collect();
    for (n, (said, expected)) in said.iter().zip(&expected).enumerate() {
        assert_eq!(said, expected, "line {}", n + 1);
    }
    assert_eq!(said.len(), expected.len());
}
