//! A lake in a directory, for the tests of this room and of those that write to it.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::{Columns, Config, Lake, Making, Table};
use crate::metastore::{self, Metastore};

/// With a namespace `s`.
pub(crate) async fn lake(directory: &tempfile::TempDir) -> Lake {
    let path = directory.path().join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
    let config = Config {
        catalog: "lakegate".into(),
        warehouse: format!("file://{}/warehouse", directory.path().display()),
        s3: None,
        at: Default::default(),
        manifest_cache_bytes: 1 << 20,
    };
    let lake = Lake::connect(&config, Arc::new(metastore)).unwrap();
    lake.create_namespace("s").await.unwrap();
    lake
}

/// Of one column, `x`.
pub(crate) fn rows(values: &[i64]) -> SendableRecordBatchStream {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

/// Of one column, `x`, and no row.
pub(crate) async fn table(lake: &Lake, name: &str) -> Table {
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
    let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
    lake.create_table(&lake.key("s", name), &columns, Making::default(), None).await.unwrap().0
}
