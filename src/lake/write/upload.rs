//! One data file on its way into the store: whole in one request where it is small, in parts where it is not. A file that
//! does not become whole, by an error or because nobody waits for it any more, takes its parts back: a store would keep
//! them, and charge for them, without ever showing them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::{ParquetError, Result};
use tokio::task::JoinSet;

/// All parts but the last have this size, as some stores demand.
const PART_BYTES: usize = 10 << 20;
/// Parts under way at one time.
const PARTS_MAX: usize = 8;

pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Less than a part.
    rest: BytesMut,
    parts: Option<Parts>,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    running: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path, rest: BytesMut::new(), parts: None }
    }

    async fn put(&mut self, bytes: Bytes) -> object_store::Result<()> {
        self.rest.extend_from_slice(&bytes);
        while self.rest.len() >= PART_BYTES {
            let part = self.rest.split_to(PART_BYTES).freeze();
            let parts = match &mut self.parts {
                Some(parts) => parts,
                None => {
                    let upload = self.store.put_multipart(&self.path).await?;
                    self.parts.insert(Parts { upload, running: JoinSet::new() })
                }
            };
            parts.put(part, PARTS_MAX).await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> object_store::Result<()> {
        let rest = self.rest.split().freeze();
        let Some(parts) = &mut self.parts else {
            self.store.put(&self.path, rest.into()).await?;
            return Ok(());
        };
        if !rest.is_empty() {
            parts.put(rest, PARTS_MAX).await?;
        }
        parts.wait(0).await?;
        parts.upload.complete().await?;
        self.parts = None;
        Ok(())
    }
}

impl Parts {
    async fn put(&mut self, part: Bytes, running_max: usize) -> object_store::Result<()> {
        self.wait(running_max.saturating_sub(1)).await?;
        self.running.spawn(self.upload.put_part(part.into()));
        Ok(())
    }

    /// Until no more than so many are under way.
    async fn wait(&mut self, running: usize) -> object_store::Result<()> {
        while self.running.len() > running {
            match self.running.join_next().await {
                Some(Ok(put)) => put?,
                Some(Err(e)) => return Err(object_store::Error::JoinError { source: e }),
                None => {}
            }
        }
        Ok(())
    }
}

impl AsyncFileWriter for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move { self.put(bytes).await.map_err(|e| ParquetError::External(Box::new(e))) }.boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<()>> {
        async move { self.finish().await.map_err(|e| ParquetError::External(Box::new(e))) }.boxed()
    }
}

impl Drop for Upload {
    /// The store is told by a task of its own: a statement that is cancelled does not wait for it. It ends within the
    /// store's own retries.
    fn drop(&mut self) {
        let (Some(mut parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) else { return };
        let path = self.path.clone();
        runtime.spawn(async move {
            parts.running.shutdown().await;
            if let Err(error) = parts.upload.abort().await {
                tracing::warn!(%path, %error, "an upload that was given up could not be taken back");
            }
        });
    }
}

#[cfg(test)]
mod tests;
