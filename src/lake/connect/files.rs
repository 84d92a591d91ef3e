//! The store as the `iceberg` crate wants to see it: its `Storage` trait over an object store. It finds no paths and sorts
//! no errors; `connect` does.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::Store;

pub(super) fn file_io(store: &Store) -> FileIO {
    FileIOBuilder::new(Arc::new(Factory { store: Some(store.clone()) })).build()
}

/// `iceberg` builds its storage through a factory that can be serialised; ours cannot, and says so when it is used.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Factory {
    #[serde(skip)]
    store: Option<Store>,
}

/// The store behind `iceberg`'s trait.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Files {
    #[serde(skip)]
    store: Option<Store>,
}

#[typetag::serde(name = "LakegateFactory")]
impl StorageFactory for Factory {
    fn build(&self, _: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Files { store: self.store.clone() }))
    }
}

impl Files {
    fn at(&self, uri: &str) -> iceberg::Result<(Arc<dyn ObjectStore>, Path)> {
        let store = self.store.as_ref().ok_or_else(|| fault("this storage was deserialised and has no store"))?;
        let path = store.path(uri).map_err(|e| fault("outside the store").with_source(e))?;
        Ok((Arc::clone(store.objects()), path))
    }
}

#[async_trait]
#[typetag::serde(name = "LakegateFiles")]
impl Storage for Files {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let (objects, path) = self.at(path)?;
        match objects.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(sad(e)),
        }
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let (objects, path) = self.at(path)?;
        Ok(FileMetadata { size: objects.head(&path).await.map_err(sad)?.size })
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let (objects, path) = self.at(path)?;
        objects.get(&path).await.map_err(sad)?.bytes().await.map_err(sad)
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let (objects, path) = self.at(path)?;
        Ok(Box::new(Reader { objects, path }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        let (objects, path) = self.at(path)?;
        objects.put(&path, bytes.into()).await.map_err(sad)?;
        Ok(())
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let (objects, path) = self.at(path)?;
        Ok(Box::new(Writer { objects, path, bytes: vec![] }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let (objects, path) = self.at(path)?;
        objects.delete(&path).await.map_err(sad)
    }

    async fn delete_prefix(&self, _: &str) -> iceberg::Result<()> {
        Err(fault("files are deleted by name, never by prefix"))
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.into()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.into()))
    }
}

struct Reader {
    objects: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        self.objects.get_range(&self.path, range).await.map_err(sad)
    }
}

/// Metadata files are small: they are gathered and put in one request, so that none is ever half there.
struct Writer {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    bytes: Vec<u8>,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.objects.put(&self.path, bytes.into()).await.map_err(sad)?;
        Ok(())
    }
}

fn fault(what: &'static str) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, what)
}

fn sad(error: object_store::Error) -> iceberg::Error {
    fault("the object store failed").with_source(error)
}
