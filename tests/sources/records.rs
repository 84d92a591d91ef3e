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
    let skip = super::context(&table(&broker.source(&declared("skip")), "stream.orders").await).await;
    assert_eq!(rows(&skip, "SELECT count(*) FROM t").await, ["3"]);
}
