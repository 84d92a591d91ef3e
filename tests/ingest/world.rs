//! A lake in memory under a metastore on disk, ingesters over it, and what its tables hold. Ingesters come and go; the
//! world stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use lakegate::formats::record::{Column, Declaration, Decoder, Envelope, Format};
use lakegate::ingest::log::Offsets;
use lakegate::ingest::{Commit, Config, DeadLetterCap, Flow, Layout, Position, Records, Target, TopicPlace, Write};
use lakegate::lake::{self, Lake, Store};
use lakegate::metastore::{self, Metastore};
use lakegate::sources::Source;
use lakegate::sources::iceberg::{self, Iceberg};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::sync::CancellationToken;

use super::chaos::{Chaos, Faulty};
use super::topic::{Scripted, TOPIC, Topic};
use crate::gateway::PATIENCE;

pub const PIPELINE: &str = "p";
const TABLE: &str = "events";
/// One a table, whatever its pipeline is called.
pub const LEASE: &str = "lakegate/sales/events";
pub const POSITION: &str = "lakegate.position";

pub struct World {
    directory: tempfile::TempDir,
    objects: Arc<InMemory>,
    pub topic: Arc<Topic>,
}

/// A running ingester. Dropped, it is gone at once.
pub struct Ingester {
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<()>,
}

impl Drop for Ingester {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looking takes the processor from those who are looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Batches of few records, patience for nothing.
pub const SMALL: Commit = Commit { age_ms: 5, bytes_max: 1 << 20, rows_max: 7 };

impl World {
    pub fn new(partitions: i32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, objects: Arc::default(), topic: Topic::new(partitions) }
    }

    pub async fn metastore(&self) -> Arc<Metastore> {
        let path = self.directory.path().join("metastore.db");
        Arc::new(Metastore::open(&metastore::Config { path, busy_timeout_ms: 30_000 }).await.unwrap())
    }

    /// With nothing in its caches.
    pub async fn lake(&self, chaos: &Arc<Chaos>) -> Arc<Lake> {
        let config = lake::Config {
            catalog: "lakegate".into(),
            warehouse: "memory:///warehouse".into(),
            s3: None,
            at: Default::default(),
            manifest_cache_bytes: 64 << 20,
        };
        let store = Store::over(Arc::new(Faulty::new(&self.objects, chaos)), vec!["memory:///".into()]);
        Arc::new(Lake::over(&config, store, self.metastore().await).unwrap())
    }

    /// Another program's commit: the table's metadata as JSON, changed, and the catalog's pointer moved to it.
    pub async fn edit(&self, table: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let metastore = self.metastore().await;
        let key = self.lake(&Chaos::none()).await.key("sales", table);
        let from = metastore.location(&key).await.unwrap().unwrap();
        let path = |uri: &str| object_store::path::Path::parse(uri.trim_start_matches("memory:///")).unwrap();
        let bytes = self.objects.get(&path(&from)).await.unwrap().bytes().await.unwrap();
        let mut metadata: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        change(&mut metadata);
        let to = from.replace(".metadata.json", "-other.metadata.json");
        self.objects.put(&path(&to), metadata.to_string().into()).await.unwrap();
        let swap = metastore::Swap::Update { table: key, from, to };
        assert_eq!(metastore.swap(&[swap], &Default::default()).await.unwrap(), metastore::Swapped::Done);
    }

    /// As a power cut leaves a file that was not synced.
    pub async fn tear_metadata(&self) {
        let key = self.lake(&Chaos::none()).await.key("sales", TABLE);
        let location = self.metastore().await.location(&key).await.unwrap().unwrap();
        let path = object_store::path::Path::parse(location.trim_start_matches("memory:///")).unwrap();
        self.objects.put(&path, "{".into()).await.unwrap();
    }

    /// Another program sets main back to that snapshot.
    pub async fn set_back(&self, to: i64) {
        self.edit(TABLE, |metadata| {
            metadata["current-snapshot-id"] = to.into();
            metadata["refs"]["main"]["snapshot-id"] = to.into();
            let at = metadata["last-updated-ms"].clone();
            metadata["snapshot-log"]
                .as_array_mut()
                .unwrap()
                .push(serde_json::json!({"snapshot-id": to, "timestamp-ms": at}));
        })
        .await;
    }

    /// The newest snapshot of the table.
    pub async fn snapshot(&self) -> i64 {
        let lake = self.lake(&Chaos::none()).await;
        lake.table(&lake.key("sales", TABLE)).await.unwrap().unwrap().snapshot_id().unwrap()
    }

    /// How many data files lie in the store, named by a table or not.
    pub async fn files(&self) -> usize {
        let all: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        all.iter().filter(|o: &&object_store::ObjectMeta| o.location.as_ref().ends_with(".parquet")).count()
    }

    pub async fn target(&self, chaos: &Arc<Chaos>) -> Target {
        let (pipeline, file) = (PIPELINE.into(), "catalog/pipelines/p.toml".into());
        let (namespace, table) = ("sales".into(), Some(TABLE.into()));
        Target { pipeline, file, lake: self.lake(chaos).await, namespace, table, write: Write::Append }
    }

    /// Of nothing but what is durable.
    pub fn origin(&self, chaos: &Arc<Chaos>) -> Records {
        let columns = [("id", DataType::Int64), ("text", DataType::Utf8)];
        let columns = columns.map(|(name, of)| Column {
            field: Field::new(name, of, true),
            path: vec![name.into()],
            unit: None,
            encoding: Default::default(),
            optional: true,
        });
        let decoder = Decoder::new(Declaration::new(Format::Json, Envelope::None, columns.to_vec())).unwrap();
        let layout = Arc::new(Layout::new(TOPIC, TABLE, decoder, None));
        Records::new(Box::new(Scripted::new(&self.topic, chaos)), layout, PIPELINE, "sales")
    }

    /// Made of nothing but what is durable.
    pub async fn flow(&self, chaos: &Arc<Chaos>, commit: Commit) -> Flow {
        Flow {
            target: self.target(chaos).await,
            origin: Box::new(self.origin(chaos)),
            state: lakegate::engine::own_state(Arc::default()),
            commit,
            dead_letter: DeadLetterCap { rows_max: u64::MAX, percent_max: 100.0 },
            config: Config { lease_ms: 600, retry_ms_max: 200, stopped_ms: 100, look_ms: 20, ..Config::default() },
            holder: uuid::Uuid::new_v4().to_string(),
            tails: Default::default(),
        }
    }

    pub async fn start(&self, chaos: &Arc<Chaos>, commit: Commit) -> Ingester {
        run(self.flow(chaos, commit).await)
    }

    /// As after a crash whose lease has run out.
    pub async fn expire_lease(&self) {
        let metastore = self.metastore().await;
        if let Some((lease, _)) = metastore.lease(LEASE).await.unwrap() {
            metastore.release_lease(&lease).await.unwrap();
        }
    }

    /// The position in the table.
    pub async fn position(&self) -> Option<Offsets> {
        position(&self.lake(&Chaos::none()).await).await
    }

    /// Waits until the table is where the topic ends.
    pub async fn caught_up(&self) {
        let (lake, begin) = (self.lake(&Chaos::none()).await, Instant::now());
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            let at = position(&lake).await;
            if at.as_ref() == Some(&self.topic.end()) {
                return;
            }
            if begin.elapsed() > PATIENCE {
                let metastore = self.metastore().await;
                let noted = metastore.get(&format!("ingest.status.{PIPELINE}/{TABLE}")).await.unwrap();
                let noted = String::from_utf8(noted.unwrap_or_default()).unwrap();
                let lease = metastore.lease(LEASE).await.unwrap();
                panic!("the table stands at {at:?}, the topic at {:?}; {noted}, {lease:?}", self.topic.end());
            }
        }
    }

    /// Everything that the table must hold, once, and the dead letters.
    pub async fn assert_replayed(&self, about: &str) {
        let (rows, dead) = self.topic.replay();
        assert_eq!(self.rows(TABLE, "id, text, _source, _op, _position").await, rows, "{about}");
        assert_eq!(self.rows("__dlq", "id, error_class").await, dead, "{about}: dead letters");
    }

    /// Lines in order of their text; none where there is no such table.
    pub async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        rows(&self.lake(&Chaos::none()).await, "sales", table, columns).await
    }
}

async fn position(lake: &Arc<Lake>) -> Option<Offsets> {
    let table = lake.table(&lake.key("sales", TABLE)).await.unwrap()?;
    let text = table.properties().get(POSITION)?;
    Some(place(text).partitions)
}

/// Of a position as its table's property says it.
pub fn place(position: &str) -> TopicPlace {
    let position: Position = serde_json::from_str(position).unwrap();
    serde_json::from_value(serde_json::Value::Object(position.place.0)).unwrap()
}

pub fn run(flow: Flow) -> Ingester {
    let stop = CancellationToken::new();
    Ingester { stop: stop.clone(), task: tokio::spawn(flow.run(stop)) }
}

pub async fn rows(lake: &Arc<Lake>, schema: &str, table: &str, columns: &str) -> Vec<String> {
    let config: iceberg::Config = toml::from_str("warehouse = 'memory:///warehouse'").unwrap();
    let source = Iceberg::new("lake", &config, Arc::clone(lake));
    let name = lakegate::types::TableName::new(schema, table);
    let Some(found) = source.tables().await.unwrap().into_iter().find(|t| *t.name() == name) else { return vec![] };
    lines(found.pin().await.unwrap().provider, columns).await
}

/// Of a table as it was pinned.
pub async fn lines(provider: Arc<dyn TableProvider>, columns: &str) -> Vec<String> {
    let context = datafusion::prelude::SessionContext::new();
    context.register_table("t", provider).unwrap();
    let batches = context.sql(&format!("SELECT {columns} FROM t")).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = vec![];
    for batch in &batches {
        let cells: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        lines.extend(
            (0..batch.num_rows())
                .map(|row| cells.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    lines.sort();
    lines
}
