//! What taking in a topic costs: two million JSON records of 170 bytes in four partitions of a real broker, by `lakegate
//! ingest` from an empty table to the last commit, beside a bare librdkafka consumer that reads them and does nothing
//! (the limit: ours stands on the same library). Expected: consuming costs about 1 µs a record, decoding six members of
//! JSON about 2 µs, Parquet with zstd as much again: some 200,000 rows per CPU second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use crate::Scale;
use crate::client::Client;
use crate::gateway::Lake;
use crate::measure::{Arm, Process, Taken, interleave, ratio};
use crate::report::{number, spread, table, times};

const RECORDS: u64 = 2_000_000;
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(120);

/// A topic of this run, filled once.
struct Topic {
    brokers: String,
    name: String,
    records: u64,
    bytes: u64,
}

pub fn run(scale: Scale) -> Result<String> {
    let runtime = Runtime::new()?;
    let brokers =
        std::env::var("LAKEGATE_TEST_KAFKA").context("LAKEGATE_TEST_KAFKA names no broker; ./x bench starts one")?;
    let name = format!("bench-{}", uuid::Uuid::new_v4().simple());
    let admin: AdminClient<DefaultClientContext> = settings(&brokers).create()?;
    let new = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for made in runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))? {
        made.map_err(|(_, code)| KafkaError::AdminOp(code))?;
    }
    let measured = Topic::fill(&brokers, &name, scale.of(RECORDS)).and_then(|topic| measure(&runtime, topic, scale));
    runtime.block_on(admin.delete_topics(&[&name], &AdminOptions::new()))?;
    measured
}

fn measure(runtime: &Runtime, topic: Topic, scale: Scale) -> Result<String> {
    let mut last = None;
    let measured = interleave(
        scale.rounds.min(5),
        vec![
            Arm::telling("lakegate ingest", || {
                // The lake before goes first: at most one lies on the disk.
                last = None;
                let (taken, lake) = ingest(runtime, &topic)?;
                last = Some(lake);
                Ok(taken)
            }),
            Arm::timed("librdkafka consumer, records thrown away (limit)", Process::Ours, || consume(&topic)),
        ],
    )?;
    runtime.block_on(check(last.context("a lake that was filled")?, topic.records))?;
    let mut lines = vec![];
    for arm in &measured {
        lines.push(vec![
            arm.name.to_string(),
            spread(&arm.seconds, 1.0),
            spread(&arm.cpu, 1.0),
            number(topic.records as f64 / arm.cpu.median()),
            times(ratio(&arm.cpu, &measured[0].cpu)),
        ]);
    }
    let head = ["by", "seconds", "CPU s", "rows per CPU s", "lakegate ÷ it, rows per CPU s"];
    Ok(format!(
        "{} turns over {} JSON records of {:.0} bytes in {PARTITIONS} partitions, broker on the same machine, uncompressed; six columns \
         (text, int8, int8, text, timestamptz, numeric(12,2)) and the bronze columns into Iceberg on local files, commits \
         of at most 500,000 rows. lakegate: the whole process from its start to the last commit. At the end the table was \
         found to hold every record once.\n\n{}",
        scale.rounds.min(5),
        topic.records,
        topic.bytes as f64 / topic.records as f64,
        table(&head, &lines)
    ))
}

/// From an empty table until everything is committed.
fn ingest(runtime: &Runtime, topic: &Topic) -> Result<(Taken, Lake)> {
    let lake = runtime.block_on(Lake::new("sales"))?;
    lake.describe("sources/stream.toml", &source(topic))?;
    lake.describe("pipelines/events.toml", PIPELINE)?;
    let begin = Instant::now();
    let running = lake.ingest()?;
    loop {
        let rows = running.counter("lakegate_ingest_rows_total")?;
        if rows >= topic.records as f64 {
            let taken = Taken { seconds: begin.elapsed().as_secs_f64(), cpu: running.process().cpu()? };
            drop(running);
            return Ok((taken, lake));
        }
        ensure!(begin.elapsed() < PATIENCE, "{rows} rows after {PATIENCE:?}; its log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every record is there once.
async fn check(lake: Lake, records: u64) -> Result<()> {
    let gateway = lake.serve()?;
    let mut client = Client::connect(&gateway.login).await?;
    let rows = client.rows("SELECT count(*), count(DISTINCT event_id) FROM sales.events").await?;
    let expected = Some(records.to_string());
    ensure!(rows == vec![vec![expected.clone(), expected]], "{rows:?} of {records} records");
    Ok(())
}

const PIPELINE: &str = "origin = \"stream\"\nmode = \"cdc\"\nwrite = \"append\"\ntopics = [\"events\"]\n\
                        target = \"sales\"\n[commit]\nage_ms = 1000\nrows_max = 500000\n";

fn source(topic: &Topic) -> String {
    let column = |name: &str, of: &str| format!("    {{ name = \"{name}\", type = \"{of}\" }},\n");
    let columns = [
        column("event_id", "text"),
        column("order_id", "int8"),
        column("customer_id", "int8"),
        column("event_type", "text"),
        column("event_time", "timestamptz"),
        column("amount", "numeric(12,2)"),
    ];
    format!(
        "kind = \"kafka\"\nbrokers = \"{}\"\nschema = \"stream\"\n[topics.events]\ntopic = \"{}\"\ncolumns = [\n{}]\n",
        topic.brokers,
        topic.name,
        columns.concat()
    )
}

/// As few settings as it takes.
fn settings(brokers: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", brokers);
    settings
}

impl Topic {
    fn fill(brokers: &str, name: &str, records: u64) -> Result<Self> {
        let producer: BaseProducer = settings(brokers).set("linger.ms", "20").set("acks", "1").create()?;
        let mut bytes = 0;
        for number in 0..records {
            let (key, value) = (number.to_string(), record(number));
            bytes += value.len() as u64;
            let partition = (number % PARTITIONS as u64) as i32;
            let mut record = BaseRecord::to(name).partition(partition).key(&key).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "{error}");
                producer.poll(Duration::from_millis(100));
                record = back;
            }
            if number % 1_024 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(PATIENCE)?;
        Ok(Self { brokers: brokers.to_string(), name: name.to_string(), records, bytes })
    }
}

/// As shops write them.
fn record(number: u64) -> String {
    let at = DateTime::from_timestamp_micros(1_700_000_000_000_000 + number as i64 * 1_301).unwrap_or_default();
    let kind = ["created", "paid", "packed", "shipped", "delivered"][(number % 5) as usize];
    let cents = number * 31 % 100_000;
    format!(
        "{{\"event_id\":\"e-{number:012}\",\"order_id\":{},\"customer_id\":{},\"event_type\":\"{kind}\",\
         \"event_time\":\"{}\",\"amount\":{}.{:02}}}",
        number / 5,
        number * 7_919 % 100_003,
        at.to_rfc3339_opts(SecondsFormat::Micros, true),
        cents / 100,
        cents % 100
    )
}

fn consume(topic: &Topic) -> Result<()> {
    let consumer: BaseConsumer = settings(&topic.brokers).set("group.id", "bench").create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut records, mut bytes) = (0, 0);
    while records < topic.records {
        let message = consumer.poll(PATIENCE).context("the broker is silent")??;
        records += 1;
        bytes += message.payload().map_or(0, <[u8]>::len) as u64;
    }
    ensure!(bytes == topic.bytes, "{bytes} bytes, not {}", topic.bytes);
    Ok(())
}
