//! What stands in the store after an upload, and what became of its parts.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, ObjectMeta, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, UploadPart,
};
use tokio::sync::Notify;

use super::*;

/// A store in memory that fails at one of the parts, and counts uploads that were begun and taken back.
#[derive(Debug, Default)]
struct Store {
    objects: InMemory,
    /// The part that fails, counted from 1; the end fails after all of them.
    fails_at: usize,
    parts: Arc<AtomicUsize>,
    begun: AtomicUsize,
    taken_back: Arc<(AtomicUsize, Notify)>,
}

#[derive(Debug)]
struct Counted {
    upload: Box<dyn MultipartUpload>,
    fails_at: usize,
    parts: Arc<AtomicUsize>,
    taken_back: Arc<(AtomicUsize, Notify)>,
}

fn down() -> Error {
    Error::Generic { store: "test", source: "down".into() }
}

#[async_trait]
impl MultipartUpload for Counted {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.parts.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
            true => async { Err(down()) }.boxed(),
            false => self.upload.put_part(data),
        }
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        match self.parts.load(Ordering::SeqCst) + 1 == self.fails_at {
            true => Err(down()),
            false => self.upload.complete().await,
        }
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.taken_back.0.fetch_add(1, Ordering::SeqCst);
        self.taken_back.1.notify_one();
        self.upload.abort().await
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.objects.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let upload = self.objects.put_multipart_opts(at, options).await?;
        let (parts, taken_back) = (Arc::clone(&self.parts), Arc::clone(&self.taken_back));
        Ok(Box::new(Counted { upload, fails_at: self.fails_at, parts, taken_back }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.objects.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

fn pieces(bytes: usize) -> Vec<Bytes> {
    let all: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
    all.chunks(3 << 20).map(Bytes::copy_from_slice).collect()
}

#[tokio::test]
async fn what_was_written_is_there_whole_whatever_its_size() {
    for (bytes, uploads) in [(0, 0), (PART_BYTES - 1, 0), (PART_BYTES, 1), (3 * PART_BYTES + 5, 1)] {
        let store = Arc::new(Store::default());
        let path = Path::from("f");
        let mut upload = Upload::new(Arc::clone(&store) as Arc<dyn ObjectStore>, path.clone());
        for piece in pieces(bytes) {
            upload.write(piece).await.unwrap();
        }
        upload.complete().await.unwrap();
        drop(upload);
        let found = store.objects.get(&path).await.unwrap().bytes().await.unwrap();
        assert!(found == pieces(bytes).concat(), "{bytes} bytes came back as {}", found.len());
        assert_eq!(store.begun.load(Ordering::SeqCst), uploads, "{bytes}");
        assert_eq!(store.taken_back.0.load(Ordering::SeqCst), 0, "{bytes}");
    }
}

#[tokio::test]
async fn an_upload_that_fails_anywhere_is_taken_back() {
    // Two parts, a rest, and the end.
    for fails_at in 1..=4 {
        let store = Arc::new(Store { fails_at, ..Store::default() });
        let mut upload = Upload::new(Arc::clone(&store) as Arc<dyn ObjectStore>, Path::from("f"));
        let mut done = Ok(());
        for piece in pieces(2 * PART_BYTES + 1) {
            done = done.and(upload.write(piece).await);
        }
        if done.is_ok() {
            done = upload.complete().await;
        }
        assert!(done.is_err(), "{fails_at}");
        drop(upload);
        store.taken_back.1.notified().await;
        assert!(store.objects.get(&Path::from("f")).await.is_err(), "{fails_at}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_waits_for_is_taken_back() {
    let store = Arc::new(Store::default());
    let mut upload = Upload::new(Arc::clone(&store) as Arc<dyn ObjectStore>, Path::from("f"));
    for piece in pieces(PART_BYTES + 1) {
        upload.write(piece).await.unwrap();
    }
    drop(upload);
    store.taken_back.1.notified().await;
    assert_eq!(store.taken_back.0.load(Ordering::SeqCst), 1);
}
