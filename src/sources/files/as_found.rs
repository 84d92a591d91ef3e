//! An object store that answers for some files alone, each as it was found: one that was changed or put in its place since
//! is not read, in no part. It writes and lists nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug)]
pub(super) struct AsFound {
    objects: Arc<dyn ObjectStore>,
    /// Each one's tag.
    files: HashMap<Path, Option<String>>,
}

impl AsFound {
    pub(super) fn new<'f>(objects: &Arc<dyn ObjectStore>, files: impl IntoIterator<Item = &'f ObjectMeta>) -> Self {
        let files = files.into_iter().map(|meta| (meta.location.clone(), meta.e_tag.clone())).collect();
        Self { objects: Arc::clone(objects), files }
    }
}

impl fmt::Display for AsFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files as they were found")
    }
}

fn only_read() -> Error {
    Error::NotImplemented { operation: "other than reading".into(), implementer: "files as they were found".into() }
}

#[async_trait]
impl ObjectStore for AsFound {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(tag) = self.files.get(location) else {
            return Err(Error::NotFound { path: location.to_string(), source: "not one of the files".into() });
        };
        self.objects.get_opts(location, GetOptions { if_match: tag.clone(), ..options }).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(only_read())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(only_read())
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { Err(only_read()) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(only_read()) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(only_read())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(only_read())
    }
}
