//! A local disk as an object store that keeps its word over a power cut: what is put is synced, and so are the directories
//! that lead to it, before anybody is told. Everything else is `object_store`'s own.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The machine's disk, from its root.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    files: LocalFileSystem,
    synced: Arc<Synced>,
}

type Fsync = Box<dyn Fn(&FilePath) -> io::Result<()> + Send + Sync>;

/// How a path is brought to the disk, and the directories whose own names are there already.
struct Synced {
    sync: Fsync,
    directories: Mutex<HashSet<PathBuf>>,
}

impl Default for Disk {
    fn default() -> Self {
        Self::with(Box::new(|path| File::open(path)?.sync_all()))
    }
}

impl Disk {
    fn with(sync: Fsync) -> Self {
        let synced = Synced { sync, directories: Mutex::default() };
        Self { files: LocalFileSystem::new(), synced: Arc::new(synced) }
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        let synced = Arc::clone(&self.synced);
        let done = tokio::task::spawn_blocking(move || synced.file(&path)).await;
        done.map_err(io::Error::from)
            .and_then(|done| done)
            .map_err(|e| Error::Generic { store: "disk", source: e.into() })
    }
}

impl Synced {
    /// The file's bytes, its name in its directory, and the names of directories that may have been made for it.
    fn file(&self, path: &FilePath) -> io::Result<()> {
        (self.sync)(path)?;
        let mut made = vec![];
        for directory in path.ancestors().skip(1) {
            match (self.sync)(directory) {
                Ok(()) => {}
                // Not one that was made here, or a file system without such a thing.
                Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => break,
                Err(e) => return Err(e),
            }
            if self.knows(directory) {
                break;
            }
            made.push(directory.to_path_buf());
        }
        self.directories.lock().expect("no panic under the lock").extend(made);
        Ok(())
    }

    fn knows(&self, directory: &FilePath) -> bool {
        self.directories.lock().expect("no panic under the lock").contains(directory)
    }
}

impl fmt::Debug for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synced").finish_non_exhaustive()
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.files.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let parts = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { parts, disk: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// A file that comes in parts: synced when it is whole.
#[derive(Debug)]
struct Upload {
    parts: Box<dyn MultipartUpload>,
    disk: Disk,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.parts.complete().await?;
        self.disk.sync(&self.location).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn a_file_is_synced_with_every_directory_that_leads_to_it_before_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(Mutex::new(Vec::<PathBuf>::new()));
        let told = |root: &FilePath| -> Vec<String> {
            let all = std::mem::take(&mut *log.lock().unwrap());
            all.iter().filter_map(|path| Some(path.strip_prefix(root).ok()?.display().to_string())).collect()
        };
        let into = Arc::clone(&log);
        let disk = Disk::with(Box::new(move |path| {
            into.lock().unwrap().push(path.to_path_buf());
            match path.ends_with("broken") {
                true => Err(io::Error::other("no power")),
                false => File::open(path)?.sync_all(),
            }
        }));
        let at = |name: &str| Path::from_absolute_path(directory.path().join(name)).unwrap();
        disk.put(&at("t/data/1"), "x".into()).await.unwrap();
        assert_eq!(told(directory.path()), ["t/data/1", "t/data", "t", ""]);
        // The directories have their names by now; the new file needs its own.
        disk.put(&at("t/data/2"), "x".into()).await.unwrap();
        assert_eq!(told(directory.path()), ["t/data/2", "t/data"]);
        disk.put(&at("t/metadata/1"), "x".into()).await.unwrap();
        assert_eq!(told(directory.path()), ["t/metadata/1", "t/metadata", "t"]);
        let mut upload = disk.put_multipart(&at("t/data/3")).await.unwrap();
        upload.put_part("x".into()).await.unwrap();
        assert!(told(directory.path()).is_empty());
        upload.complete().await.unwrap();
        assert_eq!(told(directory.path()), ["t/data/3", "t/data"]);
        assert!(disk.put(&at("t/data/broken"), "x".into()).await.is_err(), "not on the disk, and said to be");
    }
}
