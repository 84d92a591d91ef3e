//! Tables that pipelines read as statements are read, and who reads them: what a pipeline and the engine say to each other.
//! Which table is read, and when, is the pipeline's; by which right, the engine's.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::error::{Error, Kind, Result};
use crate::types::TableName;

/// Whoever reads tables for pipelines, by the server's own right.
#[async_trait]
pub trait TableReader: Send + Sync {
    /// The table as it is now; 42P01 where there is none, or none that can be read so. What comes of it is of this moment, as
    /// far as its source keeps moments.
    async fn look(&self, table: &TableName) -> Result<Arc<dyn TableRead>>;
}

/// A table at one moment.
#[async_trait]
pub trait TableRead: Send + Sync {
    /// Another one once the table was dropped and made anew.
    fn identity(&self) -> &str;

    /// As a table of a lake keeps them.
    fn columns(&self) -> SchemaRef;

    /// What the source knows each column by, whatever it is called; `None` where that is its name.
    fn column_ids(&self) -> &[Option<String>];

    /// The columns of its primary key.
    fn key(&self) -> &[String];

    /// Equal where the rows are. `None`: they may be others.
    fn version(&self) -> Option<String>;

    /// Whether rows can be read in the order of this column, each value of which is one text; 0A000 says of which types that is
    /// so, 42703 that there is none of the name.
    fn may_order_by(&self, column: &str) -> Result<()>;

    /// All of its rows, in its columns.
    async fn rows(&self) -> Result<SendableRecordBatchStream>;

    /// The rows with a value in that column, `least` or more, in the order of the value; behind the table's columns the value as
    /// a text. `least` is such a text.
    async fn rows_from(&self, column: &str, least: Option<&str>) -> Result<SendableRecordBatchStream>;

    /// How many rows have no value in that column.
    async fn nulls(&self, column: &str) -> Result<u64>;
}

/// Makes a reader once somebody needs one.
pub type MakeReader = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn TableReader>>> + Send + Sync>;

/// Who reads tables for the pipelines of this process. Clones are one and the same.
#[derive(Clone, Default)]
pub struct TableReads(Arc<Inner>);

#[derive(Default)]
struct Inner {
    reader: OnceCell<Arc<dyn TableReader>>,
    make: OnceLock<MakeReader>,
}

impl TableReads {
    /// By a reader that is made when one is needed.
    pub fn made_by(make: MakeReader) -> Self {
        Self(Arc::new(Inner { reader: OnceCell::new(), make: OnceLock::from(make) }))
    }

    /// The first one stays.
    pub fn open(&self, reader: Arc<dyn TableReader>) {
        if self.0.reader.set(reader).is_err() {
            tracing::debug!("tables are read for pipelines already");
        }
    }

    /// 57P03 before there is one.
    pub async fn reader(&self) -> Result<Arc<dyn TableReader>> {
        let make = async || match self.0.make.get() {
            Some(make) => make().await,
            None => Err(Error::new(Kind::StartingUp, "tables cannot be read yet")),
        };
        self.0.reader.get_or_try_init(make).await.cloned()
    }
}
