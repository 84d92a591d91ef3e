//! A COPY FROM under way: bytes in, rows to the writer, one commit at the end. Whoever sends the bytes waits while the writer
//! is busy, so that little is in memory. Until the end is said nothing is visible, whatever becomes of the client.

mod rows;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;

use self::rows::{Rows, Trouble};
use super::audit::Record;
use super::run::Bounds;
use super::statement::Still;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::{Layout, Reader};
use crate::sql::kernel::Env;

/// Batches that wait for the writer.
const AHEAD: usize = 1;

/// Where the rows go.
pub(super) struct Target {
    /// Its name, for errors.
    pub(super) schema_name: String,
    pub(super) table: String,
    /// Those that fields are given for.
    pub(super) columns: Vec<FieldRef>,
    /// Those that the session sees, and all.
    pub(super) shown: SchemaRef,
    pub(super) schema: SchemaRef,
    /// For each column of `schema` the field that goes into it, or the default, behind the fields; `None` is NULL.
    pub(super) order: Vec<Option<usize>>,
    pub(super) defaults: Vec<Arc<dyn PhysicalExpr>>,
}

/// Dropping it ends the statement, and nothing is written.
pub struct CopyIn {
    table: String,
    columns: usize,
    is_binary: bool,
    reader: Reader,
    rows: Rows,
    batches: mpsc::Sender<Piece>,
    write: BoxFuture<'static, Result<u64>>,
    bounds: Bounds,
    record: Option<Box<Record>>,
    /// Asked before the commit: the client says how long its rows take.
    still: Still,
}

/// What the writer is given. Without an end it was cut, and fails.
enum Piece {
    Batch(RecordBatch),
    End,
}

impl CopyIn {
    /// `append` writes the stream that it is given, in one commit.
    pub(super) fn begin<F>(
        into: Target,
        layout: Layout,
        env: Env,
        row_bytes_max: usize,
        bounds: Bounds,
        still: Still,
        append: impl FnOnce(SendableRecordBatchStream) -> F,
    ) -> Self
    where
        F: Future<Output = Result<u64>> + Send + 'static,
    {
        let (batches, received) = mpsc::channel(AHEAD);
        let names = into.columns.iter().map(|field| field.name().clone()).collect();
        let write = append(stream(Arc::clone(&into.schema), received)).boxed();
        let is_binary = layout.is_binary();
        Self {
            table: into.table.clone(),
            columns: into.columns.len(),
            is_binary,
            reader: Reader::new(layout, names, row_bytes_max),
            rows: Rows::new(into, is_binary, env),
            batches,
            write,
            bounds,
            record: None,
            still,
        }
    }

    pub(super) fn recorded(mut self, record: Record) -> Self {
        self.record = Some(Box::new(record));
        self
    }

    /// Of the fields that are to come: all of them, and whether they are binary.
    pub fn format(&self) -> (usize, bool) {
        (self.columns, self.is_binary)
    }

    /// Waits for the client, unless the statement is cancelled or its time is up.
    pub async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let waited = self.bounds.hold(async { Ok(work.await) }).await;
        waited.map_err(|error| self.failed(error))
    }

    /// The next portion, cut anywhere.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.feed(bytes);
        self.read_on().await.map_err(|error| self.failed(error))
    }

    /// Nothing more comes: commits, and gives the command tag.
    pub async fn finish(&mut self) -> Result<String> {
        let finished = self.commit().await;
        let rows = finished.map_err(|error| self.failed(error))?;
        if let Some(mut record) = self.record.take() {
            record.rows = rows;
            record.done();
        }
        Ok(format!("COPY {rows}"))
    }

    /// It ends with this error of whoever sends the rows.
    pub fn fail(&mut self, error: Error) -> Error {
        let context = format!("COPY {}, line {}", self.table, self.reader.number());
        self.failed(error.in_context(context))
    }

    fn failed(&mut self, error: Error) -> Error {
        if let Some(record) = self.record.take() {
            record.failed(&error);
        }
        error
    }

    async fn read_on(&mut self) -> Result<()> {
        loop {
            let added = match self.reader.next() {
                Ok(Some(row)) => self.rows.add(&row),
                Ok(None) => return Ok(()),
                Err(fault) => Err(Trouble::of(*fault)),
            };
            if let Err(trouble) = added {
                return Err(self.rows.earliest(trouble));
            }
            if self.rows.is_full() {
                self.send().await?;
            }
        }
    }

    async fn commit(&mut self) -> Result<u64> {
        self.reader.close();
        self.read_on().await?;
        self.send().await?;
        (self.still)()?;
        self.hand_over(Piece::End).await?;
        let (bounds, write) = (self.bounds.clone(), &mut self.write);
        bounds.hold(write).await
    }

    async fn send(&mut self) -> Result<()> {
        let taken = match Handle::current().runtime_flavor() {
            // a default may wait for a number of a sequence
            RuntimeFlavor::MultiThread if self.rows.computes() => tokio::task::block_in_place(|| self.rows.take()),
            _ => self.rows.take(),
        };
        match taken? {
            Some(batch) => self.hand_over(Piece::Batch(batch)).await,
            None => Ok(()),
        }
    }

    /// While it waits the writer gets on; where that ended before the rows did, its own error is told, and it is not asked again.
    async fn hand_over(&mut self, piece: Piece) -> Result<()> {
        let Self { batches, write, bounds, .. } = self;
        bounds
            .hold(async {
                let written = tokio::select! {
                    biased;
                    sent = batches.send(piece) => match sent {
                        Ok(()) => return Ok(()),
                        // it has let go of its rows, and says why
                        Err(_) => (&mut *write).await,
                    },
                    written = &mut *write => written,
                };
                match written {
                    Ok(_) => Err(Error::internal("the writer of a COPY ended before its rows")),
                    Err(error) => Err(error),
                }
            })
            .await
    }
}

/// The rows as the writer wants them.
fn stream(schema: SchemaRef, received: mpsc::Receiver<Piece>) -> SendableRecordBatchStream {
    let rows = futures::stream::unfold(Some(received), |received| async move {
        let mut received = received?;
        match received.recv().await {
            Some(Piece::Batch(batch)) => Some((Ok(batch), Some(received))),
            Some(Piece::End) => None,
            None => {
                let cut = Error::new(Kind::Cancelled, "COPY from stdin ended before its end");
                Some((Err(cut.into()), None))
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
