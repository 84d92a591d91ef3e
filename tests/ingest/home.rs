//! A configuration on disk for the real binary, a topic of its own on the real broker, and what both must agree on.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakegate::ingest::TopicPlace;
use lakegate::ingest::log::Offsets;
use lakegate::lake::Lake;
use lakegate::metastore::{self, Metastore};
use lakegate::sources::iceberg;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::world::rows;

/// A process starts, waits for a lease to run out and catches up within this.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: `./x test` starts the services; by hand: `./x services up` and the line it prints")
    })
}

pub fn brokers() -> String {
    service("LAKEGATE_TEST_KAFKA")
}

/// The commit interval of these pipelines.
pub const AGE_MS: u64 = 100;
pub const PARTITIONS: i32 = 3;

pub struct Home {
    pub directory: tempfile::TempDir,
    /// Also the tables' names.
    pub topics: Vec<String>,
    lake_file: String,
}

impl Home {
    /// One pipeline a topic, `p0` and on; the topics are made.
    pub async fn new(count: usize, lake: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let topics: Vec<String> = (0..count).map(|i| format!("t{i}_{}", &id[..8])).collect();
        for topic in &topics {
            create(topic).await;
        }
        let lake_file = lake.replace("@DIR@", &directory.path().display().to_string());
        let home = Self { directory, topics, lake_file };
        home.write();
        home
    }

    fn write(&self) {
        let root = self.directory.path();
        for folder in ["catalog/sources", "catalog/pipelines", "policies", "warehouse"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        let columns = "columns = [{ name = \"id\", type = \"int8\" }, { name = \"text\", type = \"text\" }]";
        let tables: String = self.topics.iter().map(|t| format!("[topics.{t}]\n{columns}\n")).collect();
        let stream = format!("kind = \"kafka\"\nbrokers = \"{}\"\nschema = \"stream\"\n{tables}", brokers());
        write("catalog/sources/stream.toml", &stream);
        write("catalog/sources/lake.toml", &format!("kind = \"iceberg\"\n{}", self.lake_file));
        for (i, topic) in self.topics.iter().enumerate() {
            let text = format!(
                "origin = \"stream\"\nmode = \"cdc\"\nwrite = \"append\"\ntopics = [\"{topic}\"]\ntarget = \"sales\"\n\
                 [commit]\nage_ms = {AGE_MS}\nrows_max = 400\n[dead_letter]\nrows_max = 1000000\npercent_max = 100\n"
            );
            write(&format!("catalog/pipelines/p{i}.toml"), &text);
        }
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/model.conf");
        std::fs::copy(policies, root.join("policies/model.conf")).unwrap();
        for file in ["policies/policy.csv", "policies/users.toml"] {
            write(file, "");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(root.join(file), private).unwrap();
        }
        write(
            "lakegate.toml",
            "[metastore]\npath = \"metastore.db\"\nbusy_timeout_ms = 30000\n\
             [ingest]\nlease_ms = 500\nretry_ms_max = 500\nstopped_ms = 200\nlook_ms = 200\n\
             [log]\nfilter = \"warn,lakegate=info\"\n",
        );
    }

    /// A file of the configuration, changed.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.directory.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.current_dir(self.directory.path()).args(arguments).env_remove("LAKEGATE_CONFIG");
        command
    }

    /// `lakegate ingest`, with a step to die at. Its log is in `log`.
    pub fn ingest(&self, failpoint: Option<&str>) -> Ingest {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut command = self.command(&["ingest"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(step) = failpoint {
            command.env("LAKEGATE_FAILPOINT", step);
        }
        Ingest(command.spawn().unwrap())
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// With empty caches.
    pub async fn lake(&self) -> Arc<Lake> {
        let config: iceberg::Config = toml::from_str(&self.lake_file).unwrap();
        let path = self.directory.path().join("metastore.db");
        let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 30_000 }).await.unwrap();
        Arc::new(Lake::connect(&config.lake(), Arc::new(metastore)).unwrap())
    }

    /// Of the table of that topic.
    pub async fn position(&self, lake: &Lake, topic: &str) -> Option<TopicPlace> {
        let table = lake.table(&lake.key("sales", topic)).await.unwrap()?;
        table.properties().get("lakegate.position").map(|text| super::world::place(text))
    }

    /// Waits until the table is at least there.
    pub async fn reached(&self, topic: &str, wanted: &Offsets) {
        let (lake, begin) = (self.lake().await, Instant::now());
        loop {
            let at = self.position(&lake, topic).await.map(|p| p.partitions).unwrap_or_default();
            if wanted.iter().all(|(partition, end)| at.get(partition).is_some_and(|next| next >= end)) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{topic} at {at:?}, wanted {wanted:?}\n{}", self.log());
            tokio::task::yield_now().await;
        }
    }

    /// Rows and dead letters of the table beside what a consumer of ours reads in the topic: (lost, doubled, records).
    pub async fn compare(&self, topic: &str) -> (usize, usize, usize) {
        let lake = self.lake().await;
        let mut have = rows(&lake, "sales", topic, "id, _source, _position").await;
        let dead = rows(&lake, "sales", "__dlq", "source, source_offset").await;
        have.extend(dead.into_iter().filter(|line| line.starts_with(&format!("{topic}/"))));
        let want = replay(topic);
        let counted = |lines: &[String]| {
            let mut counts: HashMap<String, usize> = HashMap::new();
            lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
            counts
        };
        let (have, count) = (counted(&have), want.len());
        let want = counted(&want);
        let less = |a: &HashMap<String, usize>, b: &HashMap<String, usize>| -> usize {
            a.iter().map(|(line, n)| n.saturating_sub(b.get(line).copied().unwrap_or(0))).sum()
        };
        (less(&want, &have), less(&have, &want), count)
    }

    /// Each batch begins where the one before ended.
    pub async fn assert_chain(&self, topic: &str) -> usize {
        let lake = self.lake().await;
        let table = lake.table(&lake.key("sales", topic)).await.unwrap().unwrap();
        let ranges: Vec<(String, String)> = table
            .ancestry()
            .filter_map(|id| table.summary(id))
            // The keeper's snapshots lie between.
            .filter_map(|s| Some((s.get("lakegate.range.from")?.clone(), s.get("lakegate.range.to")?.clone())))
            .collect();
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].0, pair[1].1, "a batch does not begin where the one before ended");
        }
        ranges.len()
    }
}

/// A process that ends with the test.
pub struct Ingest(pub Child);

impl Ingest {
    /// As an operator ends it.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
}

/// A topic that is being deleted is waited for.
pub async fn create(topic: &str) {
    let begin = Instant::now();
    loop {
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        let answer = admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
        if answer[0].is_ok() {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{answer:?}");
    }
}

pub async fn delete(topic: &str) {
    admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
}

/// As retention does: what is before these offsets is gone.
pub async fn truncate(topic: &str, before: &Offsets) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
}

pub fn producer(transactional: Option<&str>) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("linger.ms", "2").set("enable.idempotence", "true");
    if let Some(id) = transactional {
        config.set("transactional.id", id);
    }
    config.create().unwrap()
}

/// One of seven does not fit, one of eleven has no value. Returns when the broker has them; where each partition ends.
pub async fn send(producer: &FutureProducer, topic: &str, ids: std::ops::Range<i64>) -> Offsets {
    let records: Vec<(i64, Option<String>)> = ids
        .map(|id| {
            let value = match id {
                id if id % 7 == 0 => Some(format!("{{\"id\": \"no number {id}\"}}")),
                id if id % 11 == 0 => None,
                id => Some(format!("{{\"id\": {id}, \"text\": \"text of {id}\"}}")),
            };
            (id, value)
        })
        .collect();
    let sent = records.iter().map(|(id, value)| {
        let key = id.to_string();
        async move {
            let mut record = FutureRecord::to(topic).key(&key).partition((id % PARTITIONS as i64) as i32);
            if let Some(value) = value {
                record = record.payload(value);
            }
            let delivered = producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
            (delivered.partition, delivered.offset + 1)
        }
    });
    let mut ends = Offsets::new();
    for (partition, end) in futures::future::join_all(sent).await {
        let known = ends.entry(partition).or_insert(end);
        *known = end.max(*known);
    }
    ends
}

/// Lines of all records, as the tables must hold them, read by a consumer of the test's own.
fn replay(topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "replay")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|p| list.add_partition_offset(topic, p, Offset::Beginning).unwrap());
    consumer.assign(&list).unwrap();
    let (mut lines, mut ended, begin) = (vec![], BTreeMap::new(), Instant::now());
    while ended.len() < PARTITIONS as usize {
        assert!(begin.elapsed() < PATIENCE, "the topic does not end");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let place = format!("{topic}/{}", message.partition());
                let parsed = message.payload().map(|v| serde_json::from_slice::<serde_json::Value>(v).unwrap());
                let id = parsed.as_ref().map(|v| v["id"].as_i64());
                lines.push(match id {
                    None => format!("NULL|{place}|{:019}", message.offset()),
                    Some(Some(id)) => format!("{id}|{place}|{:019}", message.offset()),
                    Some(None) => format!("{place}|{}", message.offset()),
                });
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition, ());
            }
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    lines
}
