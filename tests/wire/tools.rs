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

    let statement = client.prepare("select value from generate_series(1, 20000) where value > $1").await.unwrap();
    let rows = client.query_raw(&statement, [10i64]).await.unwrap();
    let sum = rows.try_fold(0i64, |sum, row| async move { Ok(sum + row.get::<_, i64>(0)) }).await.unwrap();
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
    let psql = tokio::process::Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=0"])
        .args(["-c", "select 1, 'x'", "-c", "select nonsense", "-c", "begin; select 2; commit", "-c", "\\echo :USER"])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.address.port().to_string())
        .env("PGUSER", "ann")
        .env("PGPASSWORD", "secret")
        .env("PGDATABASE", "lakegate")
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(psql) = psql else {
        eprintln!("psql is not installed: the door was not tried with it");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&psql.stdout), String::from_utf8_lossy(&psql.stderr));
    assert_eq!(out, "1|x\nBEGIN\n2\nCOMMIT\nann\n", "{err}");
    assert!(err.contains("column \"nonsense\" does not exist"), "{err}");
}
