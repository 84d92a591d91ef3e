//! An object store that answers for some files alone, each as it was found: one that was changed or put in its place since
//! is not read, in no part. It writes and lists nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
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
    files: HashMap<Path, Known>,
}

/// What tells a file from another one in its place.
#[derive(Debug)]
struct Known {
    tag: Option<String>,
    changed: DateTime<Utc>,
    size: u64,
}

impl AsFound {
    pub(super) fn new<'f>(objects: &Arc<dyn ObjectStore>, files: impl IntoIterator<Item = &'f ObjectMeta>) -> Self {
        let known = |meta: &ObjectMeta| Known { tag: meta.e_tag.clone(), changed: meta.last_modified, size: meta.size };
        let files = files.into_iter().map(|meta| (meta.location.clone(), known(meta))).collect();
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
        let Some(known) = self.files.get(location) else {
            return Err(Error::NotFound { path: location.to_string(), source: "not one of the files".into() });
        };
        // Some stores list no tags. Their times are of seconds, so that the size is looked at too.
        let since = known.tag.is_none().then_some(known.changed);
        let options = GetOptions { if_match: known.tag.clone(), if_unmodified_since: since, ..options };
        let answer = self.objects.get_opts(location, options).await?;
        if answer.meta.size != known.size {
            return Err(Error::Precondition { path: location.to_string(), source: "it has another size".into() });
        }
        Ok(answer)
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

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_file_without_a_tag_is_known_by_its_size_and_time() {
        let (objects, path) = (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, Path::from("a"));
        objects.put(&path, "one".into()).await.unwrap();
        let found = ObjectMeta { e_tag: None, ..objects.head(&path).await.unwrap() };
        let as_found = |meta: &ObjectMeta| AsFound::new(&objects, [meta]);
        assert_eq!(as_found(&found).get(&path).await.unwrap().bytes().await.unwrap(), "one");
        let older = ObjectMeta { last_modified: found.last_modified - chrono::TimeDelta::seconds(9), ..found.clone() };
        assert!(matches!(as_found(&older).get(&path).await, Err(Error::Precondition { .. })));
        objects.put(&path, "another".into()).await.unwrap();
        let now = ObjectMeta { last_modified: objects.head(&path).await.unwrap().last_modified, ..found };
        assert!(matches!(as_found(&now).get(&path).await, Err(Error::Precondition { .. })));
    }
}
