//! Pipelines inside `serve`, against librdkafka's own broker: a file makes a table that users may ask, an edit counts, a
//! broken one is told and changes nothing.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use crate::gateway::{Files, Gateway, simple, until};

struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Broker {
    fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 2, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        Self { cluster, producer }
    }

    async fn send(&self, ids: std::ops::Range<i64>) {
        let values: Vec<(i64, String)> = ids.map(|id| (id, format!("{{\"id\": {id}}}"))).collect();
        let sent = values.iter().map(|(id, value)| {
            let record = FutureRecord::<str, String>::to("events").partition((id % 2) as i32).payload(value);
            self.producer.send(record, Duration::from_secs(10))
        });
        futures::future::join_all(sent).await.into_iter().for_each(|sent| {
            sent.map_err(|(e, _)| e).unwrap();
        });
    }

    fn files(&self) -> Files {
        let stream = format!(
            "kind = \"kafka\"\nbrokers = \"{}\"\nschema = \"stream\"\n[topics.events]\n\
             columns = [{{ name = \"id\", type = \"int8\" }}]\n",
            self.cluster.bootstrap_servers()
        );
        Files {
            sources: vec![("stream".into(), stream)],
            policy: "p, ann, *, select, allow\np2, ann, *, unfiltered\n".into(),
            users: vec![("ann".into(), String::new())],
            settings: "[ingest]\nlease_ms = 1000\nlook_ms = 100\n".into(),
            ..Files::default()
        }
        .with_lake()
    }
}

fn pipeline(more: &str) -> String {
    format!(
        "origin = \"stream\"\nmode = \"cdc\"\nwrite = \"append\"\ntopics = [\"events\"]\ntarget = \"sales\"\n{more}\n\
         [commit]\nage_ms = 50\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_makes_a_table_that_follows_its_topic() {
    let broker = Broker::start();
    broker.send(0..2_000).await;
    let gateway = Gateway::start(&broker.files()).await;
    let ann = gateway.connect("ann").await;
    let count = "SELECT count(*), count(DISTINCT id), count(DISTINCT _source || _position) FROM sales.events";
    assert!(simple(&ann, count).await.starts_with("ERROR 42P01"));

    let path = gateway.path("catalog/pipelines/events.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, pipeline("")).unwrap();
    until(&ann, count, |now| now.starts_with("2000|2000|2000")).await;
    broker.send(2_000..2_500).await;
    until(&ann, count, |now| now.starts_with("2500|2500|2500")).await;

    // A broken edit changes nothing.
    std::fs::write(&path, pipeline("topcis = []")).unwrap();
    broker.send(2_500..2_600).await;
    until(&ann, count, |now| now.starts_with("2600|")).await;
    // A good one starts it anew, and it goes on where the table is.
    std::fs::write(&path, pipeline("lake = \"lake\"")).unwrap();
    broker.send(2_600..2_700).await;
    until(&ann, count, |now| now.starts_with("2700|2700|2700")).await;
    // Without its file it ends.
    std::fs::remove_file(&path).unwrap();
    assert!(gateway.server.drain(std::future::pending()).await, "something was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_is_shown_to_nobody_without_a_line_of_its_own() {
    let broker = Broker::start();
    let record = FutureRecord::<str, str>::to("events").partition(0).payload("a secret");
    broker.producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
    let gateway = Gateway::start(&broker.files()).await;
    let path = gateway.path("catalog/pipelines/events.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, pipeline("[dead_letter]\npercent_max = 100")).unwrap();
    let ann = gateway.connect("ann").await;
    let count = "SELECT count(*) FROM sales.events";
    until(&ann, count, |now| now.starts_with("0\n")).await;
    let hidden = "ERROR 42P01 relation \"sales.__dlq\" does not exist";
    let all = "SELECT source, source_offset, error_class, message, raw FROM sales.__dlq";
    assert_eq!(simple(&ann, all).await, hidden, "a * reaches it");
    let named = "p, ann, sales.__dlq, select, allow\np2, ann, sales.__dlq, unfiltered\n";
    // Refused while there is no such table, in force as soon as there is.
    gateway.write_policy(&format!("{}{named}", broker.files().policy));
    let whole = "events/0|0|malformed|the record is not valid JSON|\\x6120736563726574\n(1)";
    until(&ann, all, |now| now == whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_and_headers_of_a_record_are_kept_and_shown_to_nobody_without_a_line_of_their_own() {
    let broker = Broker::start();
    let headers = rdkafka::message::OwnedHeaders::new();
    let headers = headers.insert(rdkafka::message::Header { key: "trace", value: Some("abc") });
    let record = FutureRecord::<str, str>::to("events").partition(0).key("customer 7").headers(headers);
    broker.producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
    let gateway = Gateway::start(&broker.files()).await;
    let path = gateway.path("catalog/pipelines/events.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, pipeline("")).unwrap();
    let ann = gateway.connect("ann").await;
    until(&ann, "SELECT _op FROM sales.events", |now| now == "delete\n(1)").await;
    // A `*`, of the policy or of a statement, does not reach them: not in a copy of the table either.
    let key = "\\x637573746f6d65722037";
    assert!(!simple(&ann, "SELECT * FROM sales.events").await.contains(key));
    let hidden = simple(&ann, "SELECT _key FROM sales.events").await;
    assert!(hidden.starts_with("ERROR 42703") || hidden.starts_with("ERROR 42501"), "{hidden}");
    let named = "p, ann, sales.events/_key, select, allow\np, ann, sales.events/_headers, select, allow\n";
    gateway.change_policy(&format!("{}{named}", broker.files().policy)).await;
    let told = simple(&ann, "SELECT _key, _headers FROM sales.events").await;
    assert!(told.starts_with(&format!("{key}|")) && told.contains("trace"), "{told}");
}
