//! What a topic's declaration says of its records, through a scan: envelopes, current rows by key, schemas of a registry.
//! The registry here is a stub of the two requests that are asked of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::kafka::Broker;
use super::{context, query, rows, table, told};

const CUSTOMERS: &str = "envelope = \"debezium\"\nkey_columns = [\"id\"]\ncolumns = [{ name = \"id\", type = \"int8\" }, { name = \"name\", type = \"text\" }, { name = \"note\", type = \"text\" }";

#[tokio::test(flavor = "multi_thread")]
async fn events_are_a_changelog_or_the_rows_that_they_leave() {
    let broker = Broker::start(&[("customers", 1)]);
    let events = [
        Some(r#"{"op":"r","after":{"id":1,"name":"a","note":"long"}}"#),
        Some(r#"{"op":"c","after":{"id":2,"name":"b","note":null}}"#),
        Some(r#"{"op":"u","after":{"id":1,"name":"c","note":"__debezium_unavailable_value"}}"#),
        Some(r#"{"op":"d","before":{"id":2,"name":null,"note":null},"after":null}"#),
        None,
        Some(
            r#"{"op":"u","before":{"id":1,"name":"c","note":"long"},"after":{"id":3,"name":"c","note":"__debezium_unavailable_value"}}"#,
        ),
    ];
    for event in events {
        broker.send("customers", 0, event).await;
    }
    let declared = format!(
        "[topics.changes]\ntopic = \"customers\"\n{CUSTOMERS}, {{ name = \"was\", type = \"text\", path = \"name\", before = true }}]\n[topics.customers]\nmode = \"latest\"\n{CUSTOMERS}]"
    );
    let source = broker.source(&declared);
    let changes = context(&table(&source, "stream.changes").await).await;
    let all = rows(&changes, "SELECT _op, id, name, note, was, _unchanged, _offset FROM t").await;
    let expected = [
        "insert|1|a|long|NULL|NULL|0",
        "insert|2|b|NULL|NULL|NULL|1",
        "update|1|c|NULL|NULL|[note]|2",
        "delete|2|NULL|NULL|NULL|NULL|3",
        "update|3|c|NULL|c|[note]|5",
    ];
    assert_eq!(all, expected);
    assert_eq!(rows(&changes, "SELECT count(*) FROM t").await, ["5"], "a tombstone behind a delete is no change");
    let current = context(&table(&source, "stream.customers").await).await;
    assert_eq!(rows(&current, "SELECT id, name, note, _offset FROM t").await, ["3|c|long|5"]);
    assert_eq!(rows(&current, "SELECT count(*) FROM t WHERE _offset < 3").await, ["0"], "of all records, the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_kind_is_told_by_its_field() {
    let broker = Broker::start(&[("customers", 1)]);
    broker.send("customers", 0, r#"{"op":"c","after":{"id":1,"name":"a"}}"#).await;
    let source = broker.source(&format!("[topics.customers]\n{CUSTOMERS}]"));
    let context = context(&table(&source, "stream.customers").await).await;
    let text = "topic \"customers\", partition 0, offset 0: column \"note\" is missing";
    assert_eq!(told(query(&context, "SELECT * FROM t").await), ("22P02", text.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_rows_are_read_from_the_ends_alone() {
    let broker = Broker::start(&[("orders", 2)]);
    let values: Vec<String> = (0..400).map(|i| format!("{{\"id\": {i}}}")).collect();
    let sent = values.iter().enumerate().map(|(i, v)| broker.send("orders", (i % 2) as i32, v.as_str()));
    futures::future::join_all(sent).await;
    let source = broker.source("[topics.orders]\ncolumns = [{ name = \"id\", type = \"int8\" }]");
    let context = context(&table(&source, "stream.orders").await).await;
    let last = "SELECT _offset FROM t ORDER BY _offset DESC LIMIT 3";
    assert_eq!(rows(&context, last).await, ["199", "199", "198"]);
    let plan = rows(&context, &format!("EXPLAIN {last}")).await.join("\n");
    assert!(plan.contains("order=[_offset@0 DESC]") && !plan.contains("SortExec"), "{plan}");
    let one = "SELECT _offset FROM t WHERE _partition = 1 AND _offset < 50 ORDER BY _offset DESC LIMIT 2";
    assert_eq!(rows(&context, one).await, ["49", "48"]);
    assert_eq!(rows(&context, "SELECT _offset FROM t ORDER BY _offset DESC").await.len(), 400);
    assert_eq!(rows(&context, "SELECT id FROM t WHERE id < 4 ORDER BY _offset DESC LIMIT 3").await.len(), 3);
}

/// Answers `/schemas/ids/7` and `/schemas/ids/8`, and counts what it was asked.
async fn registry() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut request = vec![];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&part[..read]),
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let fields = |more: &str| {
                let record = format!(
                    "{{\"type\":\"record\",\"name\":\"Order\",\"fields\":[{{\"name\":\"id\",\"type\":\"long\"}}{more}]}}"
                );
                serde_json::json!({ "schema": record }).to_string()
            };
            let (status, body) = match request.split(' ').nth(1) {
                Some("/schemas/ids/7") => ("200 OK", fields("")),
                Some("/schemas/ids/8") => ("200 OK", fields(",{\"name\":\"note\",\"type\":[\"null\",\"string\"]}")),
                _ => ("404 Not Found", "{}".to_owned()),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_is_read_by_the_schemas_that_its_records_were_written_by() {
    let (url, asked) = registry().await;
    let broker = Broker::start(&[("orders", 1)]);
    broker.send_bytes("orders", b"\0\0\0\0\x07\x02").await;
    broker.send_bytes("orders", b"\0\0\0\0\x08\x04\x02\x02x").await;
    broker.send_bytes("orders", b"\0\0\0\0\x07\x06").await;
    let declared = |on_error: &str| {
        format!(
            "registry = {{ url = \"{url}\" }}\n[topics.orders]\nformat = \"avro\"\non_error = \"{on_error}\"\ncolumns = [{{ name = \"id\", type = \"int8\" }}, {{ name = \"note\", type = \"text\" }}]"
        )
    };
    let source = broker.source(&declared("error"));
    let orders = table(&source, "stream.orders").await;
    for _ in 0..2 {
        let context = context(&orders).await;
        assert_eq!(rows(&context, "SELECT id, note FROM t").await, ["1|NULL", "2|x", "3|NULL"]);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "an id is asked for once");
    broker.send_bytes("orders", b"\0\0\0\0\x09\x02").await;
    let context = context(&orders).await;
    let (state, text) = told(query(&context, "SELECT id FROM t").await);
    assert_eq!(state, "22P02");
    assert!(text.starts_with("topic \"orders\", partition 0, offset 3: the record is written by a schema"), "{text}");
    let asked_before = asked.load(Ordering::Relaxed);
    assert_eq!(told(query(&context, "SELECT id FROM t").await).0, "22P02");
    assert_eq!(asked.load(Ordering::Relaxed), asked_before, "what is not there is not asked for at once again");
    let orders = table(&broker.source(&declared("skip")), "stream.orders").await;
    let skip = super::context(&orders).await;
    assert_eq!(rows(&skip, "SELECT count(*) FROM t").await, ["3"]);
    // The registry may have it by the next time, and then there are four.
    assert_eq!(orders.pin().await.unwrap().version, lakegate::types::Version::Live);
}

/// Each question says how long its answer is before it gives more than anybody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_too_long_is_one_that_no_record_fits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap_or(0);
            // Each reference is within the bounds, and all of them are not.
            let referred = String::from_utf8_lossy(&request[..read]).contains("/subjects/");
            let schema = if referred { format!("\"{}\"", " ".repeat(3 << 20)) } else { "\"long\"".to_owned() };
            let references: Vec<serde_json::Value> = match referred {
                true => vec![],
                false => (0..200)
                    .map(|at| serde_json::json!({"name": format!("n{at}"), "subject": "s", "version": at}))
                    .collect(),
            };
            let body = serde_json::json!({"schema": schema, "references": references}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let broker = Broker::start(&[("orders", 1)]);
    broker.send_bytes("orders", b"\0\0\0\0\x07\x02").await;
    let source = broker.source(&format!(
        "registry = {{ url = \"{url}\" }}\n[topics.orders]\nformat = \"avro\"\ncolumns = [{{ name = \"id\", type = \"int8\" }}]"
    ));
    let context = context(&table(&source, "stream.orders").await).await;
    let (state, text) = told(query(&context, "SELECT id FROM t").await);
    assert_eq!(state, "22P02", "{text}");
}

/// What a statement may use is what a scan may hold, in whatever order it gives its rows.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_fit_into_memory_are_refused_with_the_filter_that_helps() {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};
    let broker = Broker::start(&[("orders", 1)]);
    let value = format!("{{\"note\": \"{}\"}}", "x".repeat(100_000));
    for _ in 0..40 {
        broker.send("orders", 0, value.as_str()).await;
    }
    let source = broker.source("[topics.orders]\ncolumns = [{ name = \"note\", type = \"text\" }]");
    let orders = table(&source, "stream.orders").await;
    let ask = async |bytes: usize, sql: &str| {
        let pool = std::sync::Arc::new(GreedyMemoryPool::new(bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
        context.register_table("t", orders.pin().await.unwrap().provider).unwrap();
        match context.sql(sql).await.unwrap().collect().await {
            Ok(batches) => Ok(batches.iter().map(|batch| batch.num_rows()).sum::<usize>()),
            Err(error) => Err(lakegate::error::Error::from(error)),
        }
    };
    for sql in ["SELECT note FROM t", "SELECT note FROM t ORDER BY _offset DESC LIMIT 40"] {
        assert_eq!(ask(64 << 20, sql).await.unwrap(), 40, "{sql}");
        let error = ask(1 << 20, sql).await.unwrap_err();
        assert!(error.hint().unwrap_or_default().contains("_offset"), "{sql}: {error:?}");
    }
    assert_eq!(ask(1 << 20, "SELECT note FROM t WHERE _offset >= 38").await.unwrap(), 2);
}
