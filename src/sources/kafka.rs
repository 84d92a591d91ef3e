//! Kafka topics as tables: a window of each topic, its ends fixed once per statement. Reading joins no group and moves
//! nothing. It does not follow a topic; `ingest` does.

mod bearer;
mod client;
mod columns;
mod connection;
mod frame;
mod identity;
mod infer;
mod latest;
mod read;
mod registry;
mod scan;
mod scram;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;

use super::{Pinned, Source, Table};
use crate::error::{Error, Kind, Result};
use crate::formats::record::{self, Csv, Decimals, Encoding, Envelope, Unit};
use crate::secret::Secret;
use crate::types::{Share, TableName, Version};

/// For `ingest`, which follows topics where this module reads windows of them.
pub use client::{Client, Reader, passes};
use columns::{KEY, Layout};
pub use identity::Identity;
pub use infer::infer;
pub use record::Format;
pub use registry::{Config as RegistryConfig, Registry};
use scan::{KafkaExec, Provider};
pub use window::Span;

/// `catalog/sources/<name>.toml` with `kind = "kafka"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The one schema that this source mounts.
    pub schema: String,
    #[serde(default)]
    pub security: Security,
    /// For requests that carry no records: metadata and offsets.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Without progress for so long the source is taken for gone. Time in which nobody asks for rows does not count.
    #[serde(default = "default_read_timeout_ms")]
    pub read_timeout_ms: u64,
    /// Scans at one time, each with a consumer and a thread of its own.
    #[serde(default = "default_scans_max")]
    pub scans_max: usize,
    /// Records that a scan holds and has not decoded, at most.
    #[serde(default = "default_fetch_kib_max")]
    pub fetch_kib_max: u32,
    /// Where the schemas of Avro and Protobuf are.
    #[serde(default)]
    pub registry: Option<RegistryConfig>,
    /// Table name → topic.
    #[serde(default)]
    pub topics: BTreeMap<String, Topic>,
}

/// How to reach the brokers; librdkafka's words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    pub protocol: Protocol,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`.
    pub mechanism: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret<String>>,
    /// The environment variable that holds the password, instead of `password`.
    pub password_env: Option<String>,
    /// OAUTHBEARER's token, written by whoever renews it and read whenever one is needed.
    pub token_file: Option<PathBuf>,
    /// PEM certificates that sign the brokers'; the system's where absent.
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// `[topics.order_events]`: a table by that name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name in Kafka; the table's where absent.
    #[serde(default)]
    pub topic: Option<String>,
    #[serde(default)]
    pub format: Format,
    /// What a value is of its row: the row itself, an event of Debezium, a row of Kafka Connect.
    #[serde(default)]
    pub envelope: Envelope,
    /// All changes, or the rows that they leave.
    #[serde(default)]
    pub mode: Mode,
    /// In the order in which they stand in the table.
    pub columns: Vec<ColumnConfig>,
    /// Which of them tell rows apart.
    #[serde(default)]
    pub key_columns: Vec<String>,
    #[serde(default)]
    pub on_error: OnError,
    #[serde(default)]
    pub key: Key,
    /// Debezium's `decimal.handling.mode`, for records without a schema: `precise`, or `string` (for `double` too).
    #[serde(default)]
    pub decimals: Decimals,
    /// Debezium's `unavailable.value.placeholder`, where it is not the one that Debezium has by itself.
    #[serde(default)]
    pub placeholder: Option<String>,
    #[serde(default)]
    pub csv: Csv,
    /// A `.proto` file, and which of its messages records are: its first where that is not said.
    #[serde(default)]
    pub proto: Option<PathBuf>,
    #[serde(default)]
    pub message: Option<String>,
}

/// Which rows a topic's table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One a record.
    #[default]
    Changelog,
    /// One a key: the last, and none for one that was deleted.
    Latest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    pub name: String,
    /// As PostgreSQL writes it: `int8`, `numeric(12,2)`, `timestamptz`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The names of the members on the way to the value, with points between; the column's own where absent.
    #[serde(default)]
    pub path: Option<String>,
    /// What a number in a column of dates or times counts: `d`, `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// How bytes stand in a text.
    #[serde(default)]
    pub encoding: Encoding,
    /// Records without the value have NULL there.
    #[serde(default)]
    pub optional: bool,
    /// Of the row as it was before its change.
    #[serde(default)]
    pub before: bool,
}

impl Topic {
    /// What reads records into the declared columns, as a table of the lake has them. `registry`: the source's. Says what
    /// is wrong in words for the file's author.
    pub fn records(&self, registry: Option<&RegistryConfig>) -> Result<record::Decoder, String> {
        columns::records(self, registry)
    }

    /// What reads lines of text into them, as if each were a record.
    pub fn lines(&self) -> Result<record::Decoder, String> {
        columns::lines(self)
    }
}

/// What becomes of a record whose value does not fit the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The statement fails, naming topic, partition, offset and column.
    #[default]
    Error,
    /// The record makes no row; a warning counts them.
    Skip,
    /// Its declared columns are NULL; a warning counts them.
    Null,
}

/// What `_key` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    #[default]
    Bytea,
    Text,
}

fn default_connect_timeout_ms() -> u64 {
    5_000
}

fn default_read_timeout_ms() -> u64 {
    30_000
}

fn default_scans_max() -> usize {
    32
}

fn default_fetch_kib_max() -> u32 {
    16_384
}

/// One cluster. Connects when it is asked something, never before.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    schema: String,
    client: Arc<Client>,
    topics: Vec<Arc<TopicTable>>,
}

impl Kafka {
    /// Reads the password's variable; names that collide and types that are not read are found here.
    pub fn new(name: impl Into<String>, config: Config) -> Result<Self> {
        let name = name.into();
        let fault = |what: String| Error::new(Kind::Config, format!("source \"{name}\": {what}"));
        if config.connect_timeout_ms == 0
            || config.read_timeout_ms == 0
            || config.scans_max == 0
            || config.fetch_kib_max == 0
        {
            return Err(fault("timeouts and limits must be above 0".into()));
        }
        let client = Arc::new(Client::new(&name, &config)?);
        let registry = config.registry.as_ref().map(|registry| Registry::new(&name, registry)).transpose();
        let registry = registry.map_err(&fault)?.map(Arc::new);
        let mut topics: Vec<Arc<TopicTable>> = vec![];
        for (table, topic) in &config.topics {
            let layout = Layout::new(topic, config.registry.as_ref())
                .map_err(|what| fault(format!("table \"{table}\": {what}")))?;
            let of = topic.topic.clone().unwrap_or_else(|| table.clone());
            // A topic may be several tables, of which the first bears its name alone.
            let mut identity = format!("kafka:{name}:{of}");
            if topic.mode == Mode::Latest {
                identity.push_str(":latest");
            }
            if topics.iter().any(|other| other.identity == identity) {
                identity = format!("{identity}:{table}");
            }
            topics.push(Arc::new(TopicTable {
                name: TableName::new(&config.schema, table),
                topic: of,
                identity,
                layout: Arc::new(layout),
                client: Arc::clone(&client),
                registry: registry.clone(),
                raw_columns: vec![KEY.to_string()],
            }));
        }
        Ok(Self { name, schema: config.schema, client, topics })
    }
}

#[async_trait]
impl Source for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        vec![self.schema.clone()]
    }

    /// Tables and columns are declared in the configuration; nothing that happens in Kafka changes them.
    async fn revision(&self) -> Result<Option<u64>> {
        Ok(Some(0))
    }

    /// A topic that is absent is a table all the same, and its [`Table::pin`] says so: it may come any moment.
    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let names: Vec<String> = self.topics.iter().map(|t| t.topic.clone()).collect();
        for absent in self.client.absent(names).await? {
            tracing::warn!(source = self.name, topic = absent, "topic does not exist");
        }
        Ok(self.topics.iter().map(|t| Arc::clone(t) as Arc<dyn Table>).collect())
    }
}

/// One topic with the columns declared for it.
#[derive(Debug)]
struct TopicTable {
    name: TableName,
    topic: String,
    identity: String,
    layout: Arc<Layout>,
    client: Arc<Client>,
    registry: Option<Arc<Registry>>,
    raw_columns: Vec<String>,
}

#[async_trait]
impl Table for TopicTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn raw_columns(&self) -> &[String] {
        &self.raw_columns
    }

    async fn pin(&self) -> Result<Pinned> {
        let (window, topic_id) = match self.layout.is_fixed() {
            true => tokio::join!(self.client.window(&self.topic), self.client.topic_id(&self.topic)),
            false => (self.client.window(&self.topic).await, None),
        };
        let window = window?;
        let version = version(topic_id, &window);
        let provider = Provider {
            client: Arc::clone(&self.client),
            topic: self.topic.clone(),
            layout: Arc::clone(&self.layout),
            registry: self.registry.clone(),
            window,
        };
        let layout = Arc::clone(&self.layout);
        let reads = Arc::new(move |leaf: &dyn ExecutionPlan| KafkaExec::is_over(leaf, &layout).then_some(Share::WHOLE));
        Ok(Pinned { version, reads, provider: Arc::new(provider) })
    }
}

/// Without an id one topic cannot be told from another of its name, and no answer about it is kept.
fn version(topic_id: Option<String>, window: &[Span]) -> Version {
    let spans = window.iter().map(|span| (span.partition, span.start, span.end)).collect();
    topic_id.map_or(Version::Live, |topic_id| Version::Offsets { topic_id, spans })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_with_an_id_has_a_version() {
        let span = Span { partition: 0, start: 3, end: 9 };
        let spans = vec![(0, 3, 9)];
        assert_eq!(version(Some("a".into()), &[span]), Version::Offsets { topic_id: "a".into(), spans: spans.clone() });
        assert_ne!(version(Some("a".into()), &[span]), version(Some("b".into()), &[span]));
        assert_eq!(version(None, &[span]), Version::Live);
    }

    fn load(text: &str) -> Result<Kafka, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.message().to_string())?;
        Kafka::new("events", config).map_err(|e| e.message().to_string())
    }

    #[test]
    fn a_configuration_is_read_or_refused_by_name() {
        let check = |topics: &str, expect: Result<(), &str>| {
            let text = format!("brokers = \"localhost:1\"\nschema = \"stream\"\n{topics}");
            assert_eq!(load(&text).map(|_| ()), expect.map_err(str::to_string), "{topics}");
        };
        check(
            "[topics.a]\ncolumns = [{ name = \"id\", type = \"int8\" }, { name = \"at\", type = \"timestamptz\", unit = \"us\" }]",
            Ok(()),
        );
        check("[topics.a]\ncolumns = []\nkey = \"text\"\non_error = \"skip\"", Ok(()));
        check(
            "[topics.a]\ncolumns = []\nkeys = \"text\"",
            Err(
                "unknown field `keys`, expected one of `topic`, `format`, `envelope`, `mode`, `columns`, `key_columns`, `on_error`, `key`, `decimals`, `placeholder`, `csv`, `proto`, `message`",
            ),
        );
        check(
            "[topics.a]\ncolumns = [{ name = \"id\", type = \"int8\" }, { name = \"id\", type = \"text\" }]",
            Err("source \"events\": table \"a\": column \"id\" is declared twice"),
        );
        check(
            "[topics.a]\ncolumns = [{ name = \"_offset\", type = \"int8\" }]",
            Err("source \"events\": table \"a\": column \"_offset\" is every topic's own"),
        );
        check(
            "[topics.a]\ncolumns = [{ name = \"x\", type = \"intt8\" }]",
            Err("source \"events\": table \"a\": column \"x\" has type \"intt8\", which records are not read as"),
        );
        check(
            "[topics.a]\nmode = \"latest\"\ncolumns = [{ name = \"id\", type = \"int8\" }]",
            Err("source \"events\": table \"a\": mode = \"latest\" needs `key_columns`"),
        );
        check(
            "[topics.a]\nkey_columns = [\"x\"]\ncolumns = [{ name = \"id\", type = \"int8\" }]",
            Err("source \"events\": table \"a\": key column \"x\" is not declared"),
        );
        check(
            "[topics.a]\nformat = \"avro\"\ncolumns = []",
            Err("source \"events\": table \"a\": format = \"avro\" needs the source's [registry]"),
        );
        check(
            "[topics.a]\ncolumns = []\n[security]\npassword = \"x\"\npassword_env = \"Y\"",
            Err("source \"events\": `password` and `password_env` are both set; keep one"),
        );
    }

    #[test]
    fn a_password_is_not_printed() {
        let text = "brokers = \"b:1\"\nschema = \"s\"\n[topics]\n[security]\nprotocol = \"sasl_ssl\"\nmechanism = \"SCRAM-SHA-256\"\nuser = \"u\"\npassword = \"hunter2\"";
        let config: Config = toml::from_str(text).unwrap();
        let kafka = Kafka::new("events", config.clone()).unwrap();
        assert!(!format!("{config:?} {kafka:?}").contains("hunter2"));
    }
}
