//! Configuration → one object store for data and metadata alike. It never overwrites: safety rests on unique names and the
//! metastore's swap, not on the store. What is put is there after a power cut, on a local disk too.

mod durable;
mod vended;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::datasource::object_store::ObjectStoreUrl;
use object_store::aws::{AmazonS3Builder, AwsCredentialProvider, S3ConditionalPut};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use serde::Deserialize;
use tokio::runtime::Handle;
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

pub(super) use vended::{Granted, Keys, Renew, Vended};

/// A server that does not answer is found out within these.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// `[s3]` of a lake: an S3 service other than the SDK's default, and its keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `http://127.0.0.1:9000`; absent for AWS itself.
    pub endpoint: Option<String>,
    #[serde(default = "region")]
    pub region: String,
    /// `https://host/bucket/key` in place of `https://bucket.host/key`; MinIO wants it.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Plain HTTP, for a service on the same machine.
    #[serde(default)]
    pub allow_http: bool,
    pub access_key_id: Option<Secret<String>>,
    pub secret_access_key: Option<Secret<String>>,
    /// Names of environment variables that hold the keys, in place of the keys themselves.
    pub access_key_id_env: Option<String>,
    pub secret_access_key_env: Option<String>,
}

impl S3Config {
    /// A service that a catalog names.
    fn named(endpoint: &str, given: Option<&str>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            region: given.map_or_else(region, str::to_string),
            path_style: true,
            allow_http: endpoint.starts_with("http://"),
            access_key_id: None,
            secret_access_key: None,
            access_key_id_env: None,
            secret_access_key_env: None,
        }
    }
}

fn region() -> String {
    "us-east-1".into()
}

fn yes() -> bool {
    true
}

/// The object store under a lake, and the URIs it answers for. URIs are compared as the strings found in metadata.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What a URI must start with: `file://`, `s3://bucket/`. The first is the one we write.
    prefixes: Vec<String>,
    /// The name under which DataFusion finds the store: unique to it, never a user's.
    url: ObjectStoreUrl,
    /// Takes a catalog's keys to parts of it.
    vended: Option<Arc<Vended>>,
}

impl Store {
    /// `warehouse` is `file:///…` or `s3://bucket/…`; a bare absolute path is a local one.
    pub fn connect(warehouse: &str, s3: Option<&S3Config>) -> Result<Self> {
        if let Some(rest) = warehouse.strip_prefix("s3://") {
            let bucket = rest.split('/').next().filter(|b| !b.is_empty());
            let bucket = bucket.ok_or_else(|| config("the warehouse names no bucket"))?;
            return Ok(Self::over(amazon(bucket, s3, None)?, s3_prefixes(bucket)));
        }
        if warehouse.starts_with("file:///") || warehouse.starts_with('/') {
            let prefixes = ["file://", "file:", ""].map(String::from).to_vec();
            return Ok(Self::over(Arc::new(durable::Disk::default()), prefixes));
        }
        Err(config(format!("a warehouse begins with file:/// or s3://, not \"{warehouse}\"")))
    }

    /// As [`Store::connect`]; a catalog will give keys to parts of it.
    pub(super) fn connect_vended(warehouse: &str, s3: Option<&S3Config>) -> Result<Self> {
        let store = Self::connect(warehouse, s3)?;
        let Some(rest) = warehouse.strip_prefix("s3://") else {
            return Err(config("[rest] vended_credentials: a catalog gives keys to S3 alone"));
        };
        let bucket = rest.split('/').next().unwrap_or_default();
        let vended = Arc::new(Vended::new(Arc::clone(&store.objects), bucket, s3));
        let objects = Arc::clone(&vended) as Arc<dyn ObjectStore>;
        Ok(Self { objects, vended: Some(vended), ..store })
    }

    /// Any object store for URIs that begin with one of `prefixes`.
    pub fn over(objects: Arc<dyn ObjectStore>, prefixes: Vec<String>) -> Self {
        let name = format!("lakegate-store://{}", uuid::Uuid::new_v4().simple());
        let url = ObjectStoreUrl::parse(name).expect("a scheme and a host");
        Self { objects, prefixes, url, vended: None }
    }

    /// The store's own path for a URI of the metadata. Percent signs are part of a name, not an encoding.
    pub fn path(&self, uri: &str) -> Result<Path> {
        let outside =
            || Error::new(Kind::DataGone, "a file of the table lies outside the lake's store").with_source(uri);
        let rest = self.prefixes.iter().find_map(|p| uri.strip_prefix(p.as_str())).ok_or_else(outside)?;
        if self.is_local() && !rest.starts_with('/') {
            return Err(outside());
        }
        Path::parse(rest.trim_start_matches('/')).map_err(|e| outside().with_source(e))
    }

    /// A catalog's keys for a part of it; `renew` brings newer ones.
    pub(super) fn grant(&self, granted: &Granted, renew: Renew) -> Result<()> {
        let Some(vended) = &self.vended else { return Ok(()) };
        let path = self.path(granted.prefix.trim_end_matches('/'))?;
        vended.grant(&path, granted, renew)
    }

    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where a scan finds the store; [`Store::register`] puts it there.
    pub fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// Makes the store known to the runtime that will run the scan. Registering again changes nothing.
    pub fn register(&self, runtime: &datafusion::execution::runtime_env::RuntimeEnv) {
        let url: &Url = self.url.as_ref();
        runtime.register_object_store(url, Arc::clone(&self.objects));
    }

    /// The whole file.
    pub async fn read(&self, uri: &str) -> Result<Bytes> {
        let path = self.path(uri)?;
        let answer = self.objects.get(&path).await.map_err(lost)?;
        answer.bytes().await.map_err(lost)
    }

    /// A new file, whole: no reader ever sees a part of it.
    pub(super) async fn write(&self, uri: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(uri)?;
        self.objects.put(&path, PutPayload::from(bytes)).await.map_err(lost)?;
        Ok(())
    }

    /// A part of the file.
    pub(super) async fn read_range(&self, uri: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(uri)?;
        self.objects.get_range(&path, range).await.map_err(lost)
    }

    fn is_local(&self) -> bool {
        self.prefixes.iter().any(String::is_empty)
    }
}

/// Without the object store itself: some print their keys.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefixes", &self.prefixes).finish_non_exhaustive()
    }
}

/// What a store said, sorted: a file that is gone, or a store that does not answer.
pub(super) fn lost(error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => {
            Error::new(Kind::DataGone, "a file of the table is missing").with_source(error)
        }
        _ => Error::new(Kind::SourceUnreachable, "the lake's store cannot be reached").with_source(error),
    }
}

fn s3_prefixes(bucket: &str) -> Vec<String> {
    ["s3", "s3a", "s3n"].iter().map(|scheme| format!("{scheme}://{bucket}/")).collect()
}

/// `keys`: in place of those of `s3`.
fn amazon(bucket: &str, s3: Option<&S3Config>, keys: Option<AwsCredentialProvider>) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(s3) = s3 {
        builder = builder.with_region(&s3.region).with_virtual_hosted_style_request(!s3.path_style);
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let given = |key, written, variable| {
            secret::given(key, written, variable).map_err(|what| config(format!("[s3] {what}")))
        };
        if let Some(key) = given("access_key_id", &s3.access_key_id, &s3.access_key_id_env)? {
            builder = builder.with_access_key_id(key.reveal());
        }
        if let Some(key) = given("secret_access_key", &s3.secret_access_key, &s3.secret_access_key_env)? {
            builder = builder.with_secret_access_key(key.reveal());
        }
    }
    if let Some(keys) = keys {
        builder = builder.with_credentials(keys);
    }
    let options =
        ClientOptions::new().with_allow_http(s3.is_some_and(|s3| s3.allow_http)).with_connect_timeout(CONNECT_TIMEOUT);
    builder = builder.with_client_options(options);
    if let Ok(home) = Handle::try_current() {
        // kept connections live here: the threads of the statement that opens one end with it
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(home));
    }
    let retry = RetryConfig { max_retries: 5, retry_timeout: RETRY_TIMEOUT, ..Default::default() };
    // Names are unique: a conditional PUT would buy nothing, and some servers ignore it.
    let builder = builder.with_retry(retry).with_conditional_put(S3ConditionalPut::Disabled);
    let store = builder.build().map_err(|e| config("the lake's [s3] settings do not make a store").with_source(e))?;
    Ok(Arc::new(store))
}

fn config(message: impl Into<String>) -> Error {
    Error::new(Kind::Config, message)
}

/// What `iceberg` said. A store's own error inside it decides the kind.
pub(super) fn broken(error: iceberg::Error) -> Error {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = at {
        if let Some(store) = e.downcast_ref::<object_store::Error>() {
            let gone = matches!(store, object_store::Error::NotFound { .. });
            return match gone {
                true => Error::new(Kind::DataGone, "a file of the table is missing").with_source(error),
                false => Error::new(Kind::SourceUnreachable, "the lake's store cannot be reached").with_source(error),
            };
        }
        at = e.source();
    }
    Error::new(Kind::SourceFailed, "a table's metadata could not be read").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_as_they_are() {
        let store = Store::connect("file:///lake", None).unwrap();
        let path = |uri: &str| store.path(uri).map(String::from).map_err(|e| e.kind());
        assert_eq!(path("file:///lake/a=b%2Fc/1.parquet"), Ok("lake/a=b%2Fc/1.parquet".into()));
        assert_eq!(path("file:/lake/x"), Ok("lake/x".into()));
        assert_eq!(path("/lake/x"), Ok("lake/x".into()));
        assert_eq!(path("s3://bucket/x"), Err(Kind::DataGone));
        assert_eq!(path("file:///lake/../etc/passwd"), Err(Kind::DataGone));
        let store = Store::connect("s3://lake/wh", Some(&s3())).unwrap();
        assert_eq!(store.path("s3a://lake/wh/x").map(String::from).unwrap(), "wh/x");
        assert!(store.path("s3://lakes/wh/x").is_err());
    }

    #[test]
    fn a_key_from_an_unset_variable_names_the_variable() {
        let s3 = S3Config { access_key_id_env: Some("LAKEGATE_TEST_NO_SUCH".into()), ..s3() };
        let error = Store::connect("s3://lake/wh", Some(&s3)).unwrap_err();
        assert_eq!(
            error.message(),
            "[s3] `access_key_id_env` names LAKEGATE_TEST_NO_SUCH, which is not set in the environment"
        );
    }

    fn s3() -> S3Config {
        toml::from_str("endpoint = 'http://127.0.0.1:9000'\nallow_http = true").unwrap()
    }

    #[tokio::test]
    async fn a_percent_sign_survives_the_local_disk() {
        let directory = tempfile::tempdir().unwrap();
        let uri = format!("file://{}/a%41=b c.txt", directory.path().display());
        let store = Store::connect("file:///", None).unwrap();
        store.write(&uri, b"x".to_vec()).await.unwrap();
        assert!(directory.path().join("a%41=b c.txt").exists());
        assert_eq!(store.read(&uri).await.unwrap(), "x");
    }

    #[test]
    fn the_config_is_strict_and_prints_no_key() {
        assert!(toml::from_str::<S3Config>("bucket = 'x'").is_err());
        let s3: S3Config = toml::from_str("access_key_id = 'AKIA'\nsecret_access_key = 'hush'").unwrap();
        assert!(!format!("{s3:?}").contains("hush"));
    }

    #[test]
    fn nothing_is_registered_under_a_users_url() {
        let store = Store::connect("file:///lake", None).unwrap();
        assert!(store.url().as_str().starts_with("lakegate-store://"));
    }
}
