//! A topic's declaration as `lakegate topic infer` writes it, on the broker that the tests run: what is written is taken by a
//! source, and reads the records that it was told from.

use std::time::Duration;

use lakegate::sources::kafka::{self, Config, Kafka};
use rdkafka::producer::FutureRecord;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{context, rows, table};
use crate::ingest::home::{brokers, create, delete, producer};

async fn topic(records: &[(Option<&str>, &[u8])]) -> String {
    let topic = format!("infer_{}", uuid::Uuid::new_v4().simple());
    create(&topic).await;
    let producer = producer(None);
    for (key, value) in records {
        let mut record = FutureRecord::<str, [u8]>::to(&topic).partition(0).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        producer.send(record, Duration::from_secs(30)).await.map_err(|(e, _)| e).unwrap();
    }
    topic
}

fn head(more: &str) -> String {
    format!("brokers = \"{}\"\nschema = \"stream\"\n{more}", brokers())
}

/// The block, and the rows of its columns.
async fn inferred(topic: &str, more: &str, columns: &str) -> (String, Vec<String>) {
    let head = head(more);
    let config: Config = toml::from_str(&head).unwrap();
    let block = kafka::infer("events", &config, "t", topic).await.unwrap();
    let whole: Config = toml::from_str(&format!("{head}\n{block}")).unwrap();
    let source = Kafka::new("events", whole).unwrap();
    let context = context(&table(&source, "stream.t").await).await;
    (block, rows(&context, &format!("SELECT {columns} FROM t ORDER BY _offset")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_broker_tell_their_declaration() {
    let plain = topic(&[
        (Some("1"), br#"{"id":1,"at":"2024-01-01T00:00:00Z","n":1,"o":{"a":[1]}}"#),
        (Some("2"), br#"{"id":2,"n":1.25}"#),
        (None, b"no JSON at all"),
    ])
    .await;
    let head_config: Config = toml::from_str(&head("")).unwrap();
    let block = kafka::infer("events", &head_config, "t", &plain).await.unwrap();
    assert!(block.starts_with("# Told from 2 records, the newest of each partition (3 were looked at).\n"), "{block}");
    assert!(block.contains("{ name = \"at\", type = \"timestamptz\" },   # in 1 of 2\n"), "{block}");
    assert!(block.contains("{ name = \"n\", type = \"numeric\" },\n"), "{block}");
    let event = br#"{"op":"c","source":{"ts_ms":1},"before":null,"after":{"id":7,"name":"x"}}"#;
    let events = topic(&[(Some(r#"{"id":7}"#), event)]).await;
    let (block, all) = inferred(&events, "", "_op, id, name").await;
    assert!(block.contains("envelope = \"debezium\"\n") && block.contains("key_columns = [\"id\"]\n"), "{block}");
    assert_eq!(all, ["insert|7|x"]);
    let lines = topic(&[(None, b"1\t007\t2024-02-29"), (None, b"2\tx\t")]).await;
    let (block, all) = inferred(&lines, "", "column1, column2, column3").await;
    assert!(block.contains("csv = { delimiter = \"\\t\" }\n"), "{block}");
    assert_eq!(all, ["1|007|2024-02-29", "2|x|NULL"]);
    for topic in [plain, events, lines] {
        delete(&topic).await;
    }
}

/// Answers for the newest schema of every subject, and for it by its id, with the same.
async fn registry(kind: &'static str, schema: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&part[..read]),
                }
            }
            let body = serde_json::json!({ "schemaType": kind, "version": 4, "id": 9, "schema": schema }).to_string();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_a_registry_tell_a_declaration_that_reads_framed_records() {
    let proto = "syntax = \"proto3\"; message Order { int64 id = 1; repeated string tags = 2; Place place = 3; } \
                 message Place { string city = 1; }";
    let url = registry("PROTOBUF", proto).await;
    // Id 9, the first message, then id = 5, tags = ["a"].
    let topic_of_proto = topic(&[(None, b"\0\0\0\0\x09\x00\x08\x05\x12\x01a")]).await;
    let (block, all) = inferred(&topic_of_proto, &format!("[registry]\nurl = \"{url}\"\n"), "id, tags, place").await;
    let told = "# Told from version 4 of its schema in the registry (PROTOBUF), by its message Order.\n";
    assert!(block.starts_with(told), "{block}");
    assert_eq!(all, ["5|[a]|NULL"]);
    let schema =
        r#"{"type":"object","properties":{"id":{"type":"integer"},"at":{"type":"string","format":"date-time"}}}"#;
    let url = registry("JSON", schema).await;
    let topic_of_json = topic(&[(None, b"\0\0\0\0\x09{\"id\": 5, \"at\": \"2024-01-01T00:00:00Z\"}")]).await;
    let (block, all) = inferred(&topic_of_json, &format!("[registry]\nurl = \"{url}\"\n"), "id, at").await;
    assert!(block.starts_with("# Told from version 4 of its schema in the registry (JSON).\n"), "{block}");
    assert_eq!(all, ["5|2024-01-01T00:00:00Z"]);
    for topic in [topic_of_proto, topic_of_json] {
        delete(&topic).await;
    }
}
