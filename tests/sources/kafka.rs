//! Topics as tables, against librdkafka's own broker in this process. It knows no timestamps in ListOffsets (it answers
//! −1), so a time predicate is only shown not to lose rows here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use lakegate::sources::kafka::{Config, Kafka};
use lakegate::sources::{Source, Table};
use lakegate::types::Version;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{context, query, rows, table, told};

pub(super) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Broker {
    pub(super) fn start(topics: &[(&str, i32)]) -> Self {
        let cluster = MockCluster::new(1).expect("a broker in this process");
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).unwrap();
        }
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        Self { cluster, producer }
    }

    pub(super) async fn send(&self, topic: &str, partition: i32, value: impl Into<Option<&str>>) {
        let value: Option<&str> = value.into();
        let mut record = FutureRecord::to(topic).partition(partition).key("k1").timestamp(1_700_000_000_000);
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
    }

    pub(super) async fn send_bytes(&self, topic: &str, value: &[u8]) {
        let record = FutureRecord::<str, [u8]>::to(topic).partition(0).payload(value);
        self.producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
    }

    pub(super) fn source(&self, more: &str) -> Kafka {
        let text = format!(
            "brokers = \"{}\"\nschema = \"stream\"\nconnect_timeout_ms = 5000\n{more}",
            self.cluster.bootstrap_servers()
        );
        Kafka::new("events", toml::from_str::<Config>(&text).expect("a good configuration"))
            .expect("a good configuration")
    }
}

const ORDERS: &str = "[topics.orders]\ncolumns = [{ name = \"id\", type = \"int8\" }, { name = \"amount\", type = \"numeric(12,2)\" }]\nkey = \"text\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_becomes_a_row() {
    let broker = Broker::start(&[("orders", 2)]);
    broker.send("orders", 0, "{\"id\": 1, \"amount\": 0.10, \"more\": [1]}").await;
    broker.send("orders", 1, "{\"id\": 2, \"amount\": \"12345678.90\"}").await;
    broker.send("orders", 1, None).await;
    let orders = table(&broker.source(ORDERS), "stream.orders").await;
    assert_eq!(orders.identity(), "kafka:events:orders");
    assert_eq!(orders.raw_columns(), ["_key"]);
    let context = context(&orders).await;
    let all = rows(&context, "SELECT id, amount, _partition, _offset, _timestamp, _key FROM t ORDER BY 3, 4").await;
    assert_eq!(
        all,
        [
            "1|0.10|0|0|2023-11-14T22:13:20Z|k1",
            "2|12345678.90|1|0|2023-11-14T22:13:20Z|k1",
            "NULL|NULL|1|1|2023-11-14T22:13:20Z|k1",
        ]
    );
    assert_eq!(rows(&context, "SELECT count(*) FROM t").await, ["3"]);
    assert_eq!(rows(&context, "SELECT _offset FROM t WHERE _partition = 1 AND _offset >= 1").await, ["1"]);
    assert_eq!(rows(&context, "SELECT count(*) FROM t WHERE _partition = 7").await, ["0"]);
    let since = "SELECT count(*) FROM t WHERE _timestamp >= TIMESTAMPTZ '2023-11-14 22:13:20+00'";
    assert_eq!(rows(&context, since).await, ["3"]);
    assert_eq!(rows(&context, "SELECT id FROM t LIMIT 2").await.len(), 2);
    assert_eq!(rows(&context, "SELECT id FROM t WHERE id = 2 LIMIT 1").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_sees_one_window_and_the_next_sees_what_came() {
    let broker = Broker::start(&[("orders", 1)]);
    broker.send("orders", 0, "{\"id\": 1}").await;
    let orders = table(&broker.source(ORDERS), "stream.orders").await;
    let first = orders.pin().await.unwrap();
    let spans = |version: Version| match version {
        Version::Offsets { topic_id, spans } if !topic_id.is_empty() => spans,
        other => panic!("{other:?}"),
    };
    assert_eq!(spans(first.version), [(0, 0, 1)]);
    let context = SessionContext::new();
    context.register_table("t", Arc::clone(&first.provider)).unwrap();
    let plan = context.sql("SELECT a.id, b.id FROM t a JOIN t b ON a.id = b.id").await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    broker.send("orders", 0, "{\"id\": 2}").await;
    let joined =
        execute_stream(plan, context.task_ctx()).unwrap().map(|b| b.unwrap().num_rows()).collect::<Vec<_>>().await;
    assert_eq!(joined.iter().sum::<usize>(), 1, "what came after the pin is not seen");
    assert_eq!(rows(&context, "SELECT count(*) FROM t").await, ["1"], "nor by a second scan");
    let next = orders.pin().await.unwrap();
    assert_eq!(spans(next.version), [(0, 0, 2)]);
    let context = super::context(&orders).await;
    assert_eq!(rows(&context, "SELECT id FROM t ORDER BY id").await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_in_many_partitions_all_come() {
    let broker = Broker::start(&[("orders", 4)]);
    let values: Vec<String> = (0..20_000).map(|i| format!("{{\"id\": {i}}}")).collect();
    let sent = values.iter().enumerate().map(|(i, v)| broker.send("orders", (i % 4) as i32, v.as_str()));
    futures::future::join_all(sent).await;
    let context = context(&table(&broker.source(ORDERS), "stream.orders").await).await;
    assert_eq!(rows(&context, "SELECT count(*), count(DISTINCT id), sum(id) FROM t").await, ["20000|20000|199990000"]);
    assert_eq!(rows(&context, "SELECT count(*) FROM t WHERE _offset BETWEEN 10 AND 19").await, ["40"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_is_an_error_a_gap_or_nulls_and_never_shown() {
    let broker = Broker::start(&[("orders", 1)]);
    for value in ["{\"id\": 1}", "{\"id\": \"secret\"}", "nonsense secret", "{\"id\": 4}"] {
        broker.send("orders", 0, value).await;
    }
    let with = |on_error: &str| broker.source(&format!("{ORDERS}\non_error = \"{on_error}\""));
    let strict = context(&table(&with("error"), "stream.orders").await).await;
    let error = query(&strict, "SELECT id FROM t").await.unwrap_err();
    let text = "topic \"orders\", partition 0, offset 1: column \"id\" has another type than the column";
    assert_eq!((error.kind().sqlstate(), error.message()), ("22P02", text));
    assert!(!format!("{error:?}").contains("secret"));
    assert_eq!(rows(&strict, "SELECT count(*) FROM t").await, ["4"], "what is not asked for is not read");
    let skip = context(&table(&with("skip"), "stream.orders").await).await;
    assert_eq!(rows(&skip, "SELECT id, _offset FROM t").await, ["1|0", "4|3"]);
    assert_eq!(rows(&skip, "SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(rows(&skip, "SELECT id FROM t LIMIT 2").await, ["1", "4"]);
    let null = context(&table(&with("null"), "stream.orders").await).await;
    assert_eq!(rows(&null, "SELECT id, _offset FROM t").await, ["1|0", "NULL|1", "NULL|2", "4|3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_topic_fails_alone() {
    let broker = Broker::start(&[("orders", 1)]);
    broker.send("orders", 0, "{\"id\": 1}").await;
    let source = broker.source(&format!("{ORDERS}\n[topics.ghost]\ntopic = \"ghost-v1\"\ncolumns = []"));
    assert_eq!(source.tables().await.unwrap().len(), 2);
    let ghost = table(&source, "stream.ghost").await;
    let error = told(ghost.pin().await.map(|_| ()));
    assert_eq!(error, ("HV000", "source \"events\": topic \"ghost-v1\" does not exist".to_string()));
    let orders = context(&table(&source, "stream.orders").await).await;
    assert_eq!(rows(&orders, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_retention_took_are_an_error_and_not_a_short_answer() {
    // The broker keeps 5 MiB of a partition and drops older records without a word.
    let broker = Broker::start(&[("orders", 1)]);
    let large = format!("{{\"id\": 1, \"fill\": \"{}\"}}", "x".repeat(900_000));
    broker.send("orders", 0, large.as_str()).await;
    let orders = table(&broker.source(ORDERS), "stream.orders").await;
    let context = context(&orders).await;
    for _ in 0..8 {
        broker.send("orders", 0, large.as_str()).await;
    }
    let error = told(query(&context, "SELECT id FROM t").await);
    assert_eq!(error, ("58000", "topic \"orders\", partition 0: records from offset 0 to 1 are gone".to_string()));
    let context = super::context(&orders).await;
    let left = rows(&context, "SELECT min(_offset) > 0, max(_offset) FROM t").await;
    assert_eq!(left, ["true|8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_named_and_one_that_is_up_again_is_used() {
    let broker = Broker::start(&[("orders", 1)]);
    broker.send("orders", 0, "{\"id\": 1}").await;
    let source = broker.source(&format!("read_timeout_ms = 1000\n{ORDERS}").replace("5000", "1000"));
    let orders = table(&source, "stream.orders").await;
    let context = context(&orders).await;
    assert_eq!(rows(&context, "SELECT id FROM t").await, ["1"]);
    broker.cluster.broker_down(1).unwrap();
    let down = ("08006", "source \"events\" cannot be reached".to_string());
    assert_eq!(told(orders.pin().await.map(|_| ())), down);
    assert_eq!(told(source.tables().await), down);
    assert_eq!(told(query(&context, "SELECT id FROM t").await), down, "amid a statement that was pinned before");
    broker.cluster.broker_up(1).unwrap();
    let started = Instant::now();
    while orders.pin().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "the source does not come back");
    }
    assert_eq!(rows(&super::context(&orders).await, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_lets_its_reader_go() {
    let broker = Broker::start(&[("orders", 1)]);
    let values: Vec<String> = (0..30_000).map(|i| format!("{{\"id\": {i}}}")).collect();
    futures::future::join_all(values.iter().map(|v| broker.send("orders", 0, v.as_str()))).await;
    let source = broker.source(&format!("scans_max = 1\n{ORDERS}"));
    let orders: Arc<dyn Table> = table(&source, "stream.orders").await;
    let context = context(&orders).await;
    let plan = context.sql("SELECT id FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let mut stream = execute_stream(plan, context.task_ctx()).unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    drop(stream);
    // There is one place for a reader: this one waits for the other's end.
    assert_eq!(rows(&context, "SELECT count(*) FROM t").await, ["30000"]);
}
