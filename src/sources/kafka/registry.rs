//! A schema registry: what the ids before records stand for. It asks and decodes nothing; what was learnt is kept by the
//! decoder, for an id never gets another schema, and one that is not there is not asked for again at once.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::formats::record::{Decoder, Ids, Record, Registered};
use crate::secret::{self, Secret};

/// An answer that is longer is none, and so are all answers about one schema that are longer together.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Schemas that one names, and those that they name.
const REFERENCES_MAX: usize = 256;

/// `[registry]` of a source's file: Confluent's API, which Apicurio, Karapace and Redpanda speak too.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Up to what comes before `/schemas/ids/…`; with `ids = "apicurio"`, before `/ids/globalIds/…`.
    pub url: String,
    /// How long the id before a record is: `confluent` (four bytes) or `apicurio` (eight).
    #[serde(default)]
    pub ids: Ids,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// The environment variable that holds the password, instead of `password`.
    #[serde(default)]
    pub password_env: Option<String>,
    /// PEM certificates that sign the registry's; the system's where absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    5_000
}

/// One registry. Connects when it is asked something, and keeps no connection: it is asked once an id.
pub struct Registry {
    source: String,
    config: Config,
    password: Option<Secret<String>>,
}

/// What `/schemas/ids/{id}` and `/subjects/{subject}/versions/{version}` answer.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    /// `AVRO` where it is not said.
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    version: Option<i64>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// What a registry says to a question that it understood.
enum Said<T> {
    This(T),
    /// It does not have it.
    Nothing,
    TooLong,
}

/// The newest schema of a topic's values.
pub(super) struct Latest {
    /// The registry's word: `AVRO`, `PROTOBUF`, `JSON`.
    pub(super) kind: String,
    pub(super) version: Option<i64>,
    pub(super) registered: Registered,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

impl Registry {
    /// Reads the password's variable; says what is wrong in words for the file's author.
    pub fn new(source: &str, config: &Config) -> Result<Self, String> {
        let password = secret::given("password", &config.password, &config.password_env)?;
        if password.is_some() != config.user.is_some() {
            return Err("the registry's `user` and its password go together".into());
        }
        if !(config.url.starts_with("http://") || config.url.starts_with("https://")) {
            return Err("the registry's `url` begins with http:// or https://".into());
        }
        if config.timeout_ms == 0 {
            return Err("the registry's `timeout_ms` must be above 0".into());
        }
        Ok(Self { source: source.into(), config: config.clone(), password })
    }

    /// Teaches the decoder all schemas that these records are written by. An id that the registry does not have, or whose
    /// schema is too long, is learnt as one that no record fits; a registry that does not answer is an error, to be asked
    /// again.
    pub async fn teach(&self, decoder: &Decoder, records: &[Record<'_>]) -> Result<()> {
        let unknown = decoder.unknown(records);
        if unknown.is_empty() {
            return Ok(());
        }
        let client = self.client()?;
        for id in unknown {
            let registered = self.schema(&client, id).await?;
            decoder.learn(id, &registered.unwrap_or_default());
        }
        Ok(())
    }

    /// The newest schema of a topic's values, for whoever writes a source's file.
    pub(super) async fn latest(&self, topic: &str) -> Result<Option<Latest>> {
        let client = self.client()?;
        let path = format!("/subjects/{}-value/versions/latest", escaped(topic));
        let mut left = ANSWER_BYTES_MAX;
        let answer = match self.get::<Answer>(&client, &path, &mut left).await? {
            Said::This(answer) => answer,
            Said::Nothing => return Ok(None),
            Said::TooLong => return Err(self.failed("an answer that is too long")),
        };
        let Answer { schema, kind, version, references } = answer;
        let references = self.referenced(&client, 0, references, &mut left).await?;
        let references = references.ok_or_else(|| self.failed("a schema whose references it does not have"))?;
        let kind = kind.unwrap_or_else(|| "AVRO".to_owned());
        Ok(Some(Latest { kind, version, registered: Registered { schema, references } }))
    }

    /// `None`: there is none that could be read by.
    async fn schema(&self, client: &reqwest::Client, id: u64) -> Result<Option<Registered>> {
        let mut left = ANSWER_BYTES_MAX;
        if self.config.ids == Ids::Apicurio {
            let text = self.text(client, &format!("/ids/globalIds/{id}"), &mut left).await?;
            return Ok(self.there(id, text).map(|schema| Registered { schema, references: vec![] }));
        }
        let answer = self.get::<Answer>(client, &format!("/schemas/ids/{id}"), &mut left).await?;
        let Some(answer) = self.there(id, answer) else { return Ok(None) };
        let references = self.referenced(client, id, answer.references, &mut left).await?;
        Ok(references.map(|references| Registered { schema: answer.schema, references }))
    }

    /// The texts that a schema names, those that name no other first. `None` where one is not to be had.
    async fn referenced(
        &self,
        client: &reqwest::Client,
        id: u64,
        mut open: Vec<Reference>,
        left: &mut usize,
    ) -> Result<Option<Vec<(String, String)>>> {
        let mut references = vec![];
        // Those that a schema names come after it here, and before it once they are turned round.
        while let Some(next) = open.pop() {
            if references.len() == REFERENCES_MAX {
                tracing::warn!(source = self.source, id, "a schema names too many others");
                return Ok(None);
            }
            let path = format!("/subjects/{}/versions/{}", escaped(&next.subject), next.version);
            let answer = self.get::<Answer>(client, &path, left).await?;
            let Some(answer) = self.there(id, answer) else { return Ok(None) };
            references.push((next.name, answer.schema));
            open.extend(answer.references);
        }
        references.reverse();
        Ok(Some(references))
    }

    fn there<T>(&self, id: u64, said: Said<T>) -> Option<T> {
        match said {
            Said::This(answer) => Some(answer),
            Said::Nothing => None,
            Said::TooLong => {
                tracing::warn!(source = self.source, id, bytes_max = ANSWER_BYTES_MAX, "a schema is too long");
                None
            }
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        client: &reqwest::Client,
        path: &str,
        left: &mut usize,
    ) -> Result<Said<T>> {
        let text = match self.text(client, path, left).await? {
            Said::This(text) => text,
            Said::Nothing => return Ok(Said::Nothing),
            Said::TooLong => return Ok(Said::TooLong),
        };
        serde_json::from_str(&text)
            .map(Said::This)
            .map_err(|error| self.failed("an answer that cannot be read").with_source(error))
    }

    /// Of at most `left` bytes, which are taken off.
    async fn text(&self, client: &reqwest::Client, path: &str, left: &mut usize) -> Result<Said<String>> {
        let url = format!("{}{path}", self.config.url.trim_end_matches('/'));
        let mut request = client.get(url);
        if let Some(user) = &self.config.user {
            request = request.basic_auth(user, self.password.as_ref().map(Secret::reveal));
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        match response.status().as_u16() {
            200..300 => {}
            // Bytes that are no id may be none that the registry could read as a number.
            400 | 404 | 422 => return Ok(Said::Nothing),
            429 | 500.. => return Err(self.unreachable(format!("status {}", response.status()))),
            _ => return Err(self.failed("a refusal").with_source(format!("status {}", response.status()))),
        }
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            match left.checked_sub(chunk.len()) {
                Some(less) => *left = less,
                None => return Ok(Said::TooLong),
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map(Said::This).map_err(|_| self.failed("an answer that is not valid UTF-8"))
    }

    fn client(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_millis(self.config.timeout_ms))
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &self.config.ca_file {
            let fault = |what: &str| Error::new(Kind::Config, format!("source \"{}\": {what}", self.source));
            let pem =
                std::fs::read(file).map_err(|e| fault("the registry's `ca_file` cannot be read").with_source(e))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            let certificates =
                certificates.map_err(|e| fault("the registry's `ca_file` holds no certificate").with_source(e))?;
            builder = builder.tls_built_in_root_certs(false);
            builder = certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        builder.build().map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let text = format!("the schema registry of source \"{}\" cannot be reached", self.source);
        Error::new(Kind::SourceUnreachable, text).with_source(why)
    }

    fn failed(&self, what: &str) -> Error {
        Error::new(Kind::SourceFailed, format!("the schema registry of source \"{}\" gave {what}", self.source))
    }
}

/// A path's segment.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(letter).collect()
}

impl std::fmt::Debug for Registry {
    /// Nothing of the configuration: it holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("source", &self.source).finish_non_exhaustive()
    }
}
