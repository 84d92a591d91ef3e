//! A store to whose parts a catalog gives the keys: each table's files are asked for with the keys of that table, and the
//! keys are asked for anew before they run out. What nobody gave keys for is asked for with the lake's own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::aws::AwsCredential;
use object_store::path::Path;
use object_store::{
    CopyOptions, CredentialProvider, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{S3Config, amazon};

/// Keys are asked for anew so long before they run out.
const MARGIN_MS: i64 = 120_000;

/// Keys for what lies below a prefix.
#[derive(Clone)]
pub(in crate::lake) struct Granted {
    /// A URI of the store.
    pub(in crate::lake) prefix: String,
    pub(in crate::lake) keys: Keys,
}

#[derive(Clone)]
pub(in crate::lake) struct Keys {
    credential: Arc<AwsCredential>,
    /// In milliseconds since 1970.
    until: Option<i64>,
    region: Option<String>,
    endpoint: Option<String>,
}

/// How newer keys for the same are had.
pub(in crate::lake) type Renew = Arc<dyn Fn() -> BoxFuture<'static, crate::error::Result<Vec<Granted>>> + Send + Sync>;

pub(in crate::lake) struct Vended {
    /// With the lake's own keys.
    plain: Arc<dyn ObjectStore>,
    bucket: String,
    s3: Option<S3Config>,
    /// By path.
    parts: RwLock<BTreeMap<String, Part>>,
}

struct Part {
    keys: Arc<Kept>,
    store: Arc<dyn ObjectStore>,
}

/// The keys in force below a prefix.
struct Kept {
    prefix: String,
    now: Mutex<Keys>,
    /// Asks by the table's name, which may be another one by now.
    renew: Mutex<Renew>,
}

impl Keys {
    /// As a catalog's answer has them; `None` where it has none.
    pub(in crate::lake) fn of(config: &HashMap<String, String>) -> Option<Self> {
        let (key_id, secret_key) = (config.get("s3.access-key-id")?, config.get("s3.secret-access-key")?);
        let token = config.get("s3.session-token").filter(|token| !token.is_empty()).cloned();
        Some(Self {
            credential: Arc::new(AwsCredential { key_id: key_id.clone(), secret_key: secret_key.clone(), token }),
            until: config.get("s3.session-token-expires-at-ms").and_then(|ms| ms.parse().ok()),
            region: config.get("client.region").or_else(|| config.get("s3.region")).cloned(),
            endpoint: config.get("s3.endpoint").cloned(),
        })
    }

    fn lasts(&self) -> bool {
        let now = chrono::Utc::now().timestamp_millis();
        self.until.is_none_or(|until| now.saturating_add(MARGIN_MS) < until)
    }
}

impl Vended {
    pub(super) fn new(plain: Arc<dyn ObjectStore>, bucket: &str, s3: Option<&S3Config>) -> Self {
        Self { plain, bucket: bucket.into(), s3: s3.cloned(), parts: RwLock::default() }
    }

    /// From here on what lies below `path` is asked for with these keys.
    pub(super) fn grant(&self, path: &Path, granted: &Granted, renew: Renew) -> crate::error::Result<()> {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(path.as_ref()) {
            *part.keys.now.lock().unwrap_or_else(PoisonError::into_inner) = granted.keys.clone();
            *part.keys.renew.lock().unwrap_or_else(PoisonError::into_inner) = renew;
            return Ok(());
        }
        let keys =
            Kept { prefix: granted.prefix.clone(), now: Mutex::new(granted.keys.clone()), renew: Mutex::new(renew) };
        let keys = Arc::new(keys);
        let s3 = self.s3.clone().or_else(|| {
            // nothing is said of the service here, so that it is the one that the catalog names
            let Keys { region, endpoint, .. } = &granted.keys;
            endpoint.as_ref().map(|endpoint| S3Config::named(endpoint, region.as_deref()))
        });
        let provider = Arc::clone(&keys) as Arc<dyn CredentialProvider<Credential = AwsCredential>>;
        let store = amazon(&self.bucket, s3.as_ref(), Some(provider))?;
        parts.insert(path.to_string(), Part { keys, store });
        Ok(())
    }

    /// The narrowest part that the path lies in.
    fn at(&self, path: &Path) -> Arc<dyn ObjectStore> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let path = path.as_ref();
        let mut end = path.len();
        loop {
            if let Some(part) = path.get(..end).and_then(|above| parts.get(above)) {
                return Arc::clone(&part.store);
            }
            match path.get(..end).and_then(|above| above.rfind('/')) {
                Some(slash) => end = slash,
                // the whole bucket
                None if end > 0 => end = 0,
                None => return Arc::clone(&self.plain),
            }
        }
    }
}

#[async_trait]
impl CredentialProvider for Kept {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if now.lasts() {
            return Ok(now.credential);
        }
        let renew = Arc::clone(&self.renew.lock().unwrap_or_else(PoisonError::into_inner));
        match renew().await {
            Ok(granted) => {
                let ours = granted.into_iter().find(|granted| granted.prefix == self.prefix);
                let Some(ours) = ours else { return Ok(now.credential) };
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = ours.keys.clone();
                Ok(ours.keys.credential)
            }
            // they may be good for a moment still
            Err(error) => {
                tracing::warn!(%error, "a catalog gives no newer keys");
                Ok(now.credential)
            }
        }
    }
}

#[async_trait]
impl ObjectStore for Vended {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.at(location).put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.at(location).put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.at(location).get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.at(location).get_ranges(location, ranges).await
    }

    /// One by one: they may lie in several parts.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let stores: BTreeMap<String, Arc<dyn ObjectStore>> =
            parts.iter().map(|(path, part)| (path.clone(), Arc::clone(&part.store))).collect();
        let plain = Arc::clone(&self.plain);
        let one = move |location: Result<Path>| {
            let within = |path: &Path, part: &str| path.as_ref().strip_prefix(part).is_some_and(|p| p.starts_with('/'));
            let store = location.as_ref().ok().and_then(|path| {
                let inside = stores.iter().filter(|(part, _)| within(path, part));
                inside.max_by_key(|(part, _)| part.len()).map(|(_, store)| Arc::clone(store))
            });
            let store = store.unwrap_or_else(|| Arc::clone(&plain));
            async move {
                let one = futures::stream::iter([location]).boxed();
                let gone = || Error::Generic { store: "vended", source: "a deletion without an answer".into() };
                store.delete_stream(one).next().await.unwrap_or_else(|| Err(gone()))
            }
        };
        locations.map(one).buffered(8).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        prefix.map_or_else(|| Arc::clone(&self.plain), |prefix| self.at(prefix)).list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let store = prefix.map_or_else(|| Arc::clone(&self.plain), |prefix| self.at(prefix));
        store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.at(to).copy_opts(from, to, options).await
    }
}

/// Without the stores: some print their keys.
impl fmt::Debug for Vended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vended").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl fmt::Display for Vended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store with a catalog's keys")
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn granted(secret: &str, until: i64) -> Granted {
        let config = [
            ("s3.access-key-id", "k"),
            ("s3.secret-access-key", secret),
            ("s3.endpoint", "http://127.0.0.1:1"),
            ("client.region", "r"),
            ("s3.session-token-expires-at-ms", &until.to_string()),
        ];
        let config = config.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        Granted { prefix: "s3://b/t".into(), keys: Keys::of(&config).unwrap() }
    }

    fn renews(secret: &'static str) -> Renew {
        Arc::new(move || Box::pin(async move { Ok(vec![granted(secret, i64::MAX)]) }))
    }

    /// A table that got another name: nobody answers for the old one.
    #[tokio::test]
    async fn keys_are_renewed_by_the_name_that_they_came_with_last() {
        let vended = Vended::new(Arc::new(InMemory::new()), "b", None);
        let path = Path::from("t");
        vended.grant(&path, &granted("first", 0), renews("of the old name")).unwrap();
        vended.grant(&path, &granted("second", 0), renews("of the new name")).unwrap();
        let keys = Arc::clone(&vended.parts.read().unwrap().get("t").unwrap().keys);
        assert_eq!(keys.get_credential().await.unwrap().secret_key, "of the new name");
    }
}
