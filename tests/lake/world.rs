//! A lake in a temporary directory, and short ways to fill it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lakegate::lake::Lake;
use lakegate::metastore::{self, Metastore};
use lakegate::sources::iceberg::{Config, Iceberg};
use lakegate::sources::{Source, Table, Writer};
use lakegate::types::TableName;

pub(crate) struct World {
    pub directory: tempfile::TempDir,
    pub lake: Arc<Lake>,
    pub source: Iceberg,
    pub writer: Arc<dyn Writer>,
}

impl World {
    /// With one schema, `s`.
    pub(crate) async fn new() -> Self {
        let world = Self::at(tempfile::tempdir().unwrap()).await;
        world.writer.create_schema("s").await.unwrap();
        world
    }

    /// Over whatever stands in the directory.
    pub(crate) async fn at(directory: tempfile::TempDir) -> Self {
        let written = format!("warehouse = 'file://{}/warehouse'", directory.path().display());
        Self::configured(directory, &written).await
    }

    pub(crate) async fn configured(directory: tempfile::TempDir, written: &str) -> Self {
        let (lake, source) = open_as(directory.path(), written).await;
        let writer = source.writer().unwrap();
        Self { directory, lake, source, writer }
    }

    pub(crate) async fn create(&self, name: &str, batch: RecordBatch) {
        let rows = Some(stream(batch.schema(), vec![batch.clone()]));
        self.writer.create_table(&table_name(name), batch.schema(), Default::default(), rows).await.unwrap();
    }

    pub(crate) async fn append(&self, name: &str, batch: RecordBatch) {
        let planned = self.table("s", name).await;
        self.writer.append(planned.as_ref(), stream(batch.schema(), vec![batch])).await.unwrap();
    }

    pub(crate) async fn table(&self, schema: &str, name: &str) -> Arc<dyn Table> {
        let wanted = TableName::new(schema, name);
        let tables = self.source.tables().await.unwrap();
        tables.into_iter().find(|t| *t.name() == wanted).unwrap_or_else(|| panic!("no table {wanted}"))
    }
}

pub(crate) async fn open(directory: &std::path::Path) -> (Arc<Lake>, Iceberg) {
    open_as(directory, &format!("warehouse = 'file://{}/warehouse'", directory.display())).await
}

/// `written` is the source's file.
pub(crate) async fn open_as(directory: &std::path::Path, written: &str) -> (Arc<Lake>, Iceberg) {
    let path = directory.join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 30_000 }).await.unwrap();
    let config: Config = toml::from_str(written).unwrap();
    let lake = Arc::new(Lake::connect(&config.lake(), Arc::new(metastore)).unwrap());
    let source = Iceberg::new("lake", &config, Arc::clone(&lake));
    (lake, source)
}

pub(crate) fn table_name(name: &str) -> TableName {
    TableName::new("s", name)
}

pub(crate) fn stream(schema: SchemaRef, batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
}
