//! DataFusion alone: the same Parquet files, the same session options, no gateway. The limit of every journey that scans
//! the lake, since lakegate plans onto the same operators.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::runtime::Runtime;

pub struct Plain {
    runtime: Runtime,
    session: SessionContext,
}

impl Plain {
    /// Options as `engine/session.rs` sets them, as many partitions and threads as the gateway takes by default.
    pub fn over(tables: &[(&str, Vec<PathBuf>)]) -> Result<Self> {
        let runtime = Runtime::new()?;
        let cores = std::thread::available_parallelism()?.get();
        let mut config = SessionConfig::new().with_target_partitions(cores).with_collect_statistics(true);
        let options = config.options_mut();
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        options.execution.time_zone = Some("UTC".into());
        let session = SessionContext::new_with_config(config);
        for (name, files) in tables {
            let folder = files.first().and_then(|f| f.parent()).context("a table without files")?;
            let beside = std::fs::read_dir(folder)?.flatten().filter(|e| e.path().extension().is_some());
            ensure!(beside.count() == files.len(), "{name}: files in several folders, or others among them");
            let folder = folder.to_str().context("a path in UTF-8")?;
            runtime.block_on(session.register_parquet(*name, folder, ParquetReadOptions::default()))?;
        }
        Ok(Self { runtime, session })
    }

    /// Each value as text, `None` for NULL.
    pub fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let batches = self.collect(sql)?;
        let mut rows = vec![];
        for batch in &batches {
            for at in 0..batch.num_rows() {
                let value = |c: &arrow::array::ArrayRef| match c.is_null(at) {
                    true => Ok(None),
                    false => array_value_to_string(c, at).map(Some),
                };
                rows.push(batch.columns().iter().map(value).collect::<Result<_, _>>()?);
            }
        }
        Ok(rows)
    }

    pub fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.runtime.block_on(async { Ok(self.session.sql(sql).await?.collect().await?) })
    }

    /// As far as the physical plan.
    pub fn plan(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(async {
            self.session.sql(sql).await?.create_physical_plan().await?;
            Ok(())
        })
    }

    /// Runs it to the end and keeps nothing; the rows that came.
    pub fn drain(&self, sql: &str) -> Result<u64> {
        self.runtime.block_on(async {
            let mut stream = self.session.sql(sql).await?.execute_stream().await?;
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch?.num_rows() as u64;
            }
            Ok(rows)
        })
    }
}
