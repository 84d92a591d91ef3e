//! One cluster: how to reach it, one shared client for metadata and offsets, and what librdkafka's errors mean. All its
//! calls block, so they run on threads of their own, a few at a time. It reads no records.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bearer::Bearer;
use super::connection::Brokers;
use super::identity::{self, Answer, Identity};
use super::window::Span;
use super::{Config, Protocol};
use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// Requests without records at one time.
const REQUESTS_MAX: usize = 8;
/// How often the shared client's events are taken away. Without, the errors of an outage would pile up in its queue.
const DRAIN_EVERY: Duration = Duration::from_secs(1);
/// So long brokers that do not tell a topic's id are not asked for one.
const QUIET: Duration = Duration::from_secs(60);

/// A consumer; librdkafka's blocking one.
pub type Reader = BaseConsumer<Logs>;

pub struct Client {
    source: String,
    config: ClientConfig,
    /// For what librdkafka's binding does not ask.
    brokers: Option<Brokers>,
    asked: identity::Kept,
    /// Since when they are not asked, because they did not answer: no statement shall wait for that again and again.
    quiet: Mutex<Option<Instant>>,
    connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    shared: Mutex<Option<Shared>>,
    requests: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    pub(super) scans_max: usize,
    bearer: Option<Bearer>,
}

struct Shared {
    consumer: Option<Arc<Reader>>,
    drain: JoinHandle<()>,
    handle: Handle,
}

impl Drop for Shared {
    /// Destroying a client waits for its threads.
    fn drop(&mut self) {
        self.drain.abort();
        let consumer = self.consumer.take();
        self.handle.spawn_blocking(move || drop(consumer));
    }
}

/// librdkafka's log, as ours, and the token it asks for. The log names brokers, so it is for the operator only.
pub struct Logs {
    source: String,
    bearer: Option<Bearer>,
}

impl ClientContext for Logs {
    /// Asked for under OAUTHBEARER alone.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let bearer = self.bearer.as_ref().ok_or("`token_file` is not set")?;
        bearer.token().map_err(|what| {
            tracing::warn!(source = self.source, what, "no token for the brokers");
            what.into()
        })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let source = &self.source;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", source, facility, text, "client says")
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", source, facility, text, "client says")
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", source, facility, text, "client says"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", source = self.source, error = %error, reason, "client error");
    }
}

impl ConsumerContext for Logs {}

impl Client {
    pub fn new(source: &str, config: &Config) -> Result<Self> {
        let mut client = ClientConfig::new();
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        client
            .set("bootstrap.servers", &config.brokers)
            .set("client.id", "lakegate")
            // `assign` asks for a name; no group is joined and nothing is committed under it.
            .set("group.id", "lakegate")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            // A start that is gone must not become another start.
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", config.fetch_kib_max.to_string())
            .set("fetch.error.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set(
                "socket.connection.setup.timeout.ms",
                config.connect_timeout_ms.clamp(1000, 2_147_483_647).to_string(),
            );
        let password = secure(source, config, &mut client)?;
        Ok(Self {
            source: source.into(),
            config: client,
            brokers: Brokers::new(source, config, password),
            asked: identity::Kept::default(),
            quiet: Mutex::default(),
            connect_timeout,
            read_timeout: Duration::from_millis(config.read_timeout_ms),
            shared: Mutex::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            scans: Arc::new(Semaphore::new(config.scans_max)),
            scans_max: config.scans_max,
            bearer: config.security.token_file.clone().map(Bearer::new),
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Those of `topics` that do not exist.
    pub(super) async fn absent(self: &Arc<Self>, topics: Vec<String>) -> Result<Vec<String>> {
        let mut absent = vec![];
        for topic in topics {
            if self.partitions(&topic).await?.is_none() {
                absent.push(topic);
            }
        }
        Ok(absent)
    }

    /// First and end offset of every partition now. The end is that of committed records.
    pub async fn window(self: &Arc<Self>, topic: &str) -> Result<Vec<Span>> {
        let Some(partitions) = self.partitions(topic).await? else { return Err(self.no_topic(topic)) };
        let span = |partition: i32| {
            let name = topic.to_string();
            async move {
                let request =
                    move |reader: &Reader, patience: Duration| reader.fetch_watermarks(&name, partition, patience);
                let (start, end) = self.request(request).await?;
                Ok(Span { partition, start, end: end.max(start) })
            }
        };
        futures::stream::iter(partitions).map(span).buffered(REQUESTS_MAX).try_collect().await
    }

    /// Leave to scan; the permit is held as long as its consumer lives.
    pub(super) async fn scan_permit(&self) -> Result<OwnedSemaphorePermit> {
        match timeout(self.connect_timeout, Arc::clone(&self.scans).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Error::internal("the scans' semaphore is closed")),
            Err(_) => {
                let text = format!("source \"{}\" serves as many scans as it may", self.source);
                Err(Error::new(Kind::TooManyConnections, text))
            }
        }
    }

    /// A consumer of its own for one scan. To be dropped where blocking is allowed.
    pub fn reader(&self) -> Result<Reader> {
        let reader: Reader = self.config.create_with_context(self.context()).map_err(|e| self.failed(e))?;
        self.introduced(&reader);
        Ok(reader)
    }

    /// As [`Client::reader`], for one who tells the brokers how far it is under the name of `group`.
    pub fn reader_as(&self, group: &str) -> Result<Reader> {
        let mut config = self.config.clone();
        config.set("group.id", group);
        let reader: Reader = config.create_with_context(self.context()).map_err(|e| self.failed(e))?;
        self.introduced(&reader);
        Ok(reader)
    }

    fn context(&self) -> Logs {
        Logs { source: self.source.clone(), bearer: self.bearer.clone() }
    }

    /// A new client asks for its token before it can be asked for anything, and asks whoever polls it.
    fn introduced(&self, reader: &Reader) {
        if self.bearer.is_some() {
            reader.poll(Duration::ZERO);
        }
    }

    /// Which topic it is. Brokers before 2.8 give topics no ids; neither is one asked for under a login that is
    /// librdkafka's alone (Kerberos, OAuth).
    pub async fn identity(self: &Arc<Self>, topic: &str) -> Result<Identity> {
        let answer = match &self.brokers {
            None => Answer::TooOld,
            Some(brokers) => identity::ask(brokers, topic).await?,
        };
        match answer {
            Answer::Topic(identity) => Ok(identity),
            Answer::NoTopic => Err(self.no_topic(topic)),
            Answer::TooOld => {
                let cluster_id =
                    self.request(|reader, patience| Ok(reader.client().fetch_cluster_id(patience))).await?;
                Ok(Identity { cluster_id, topic_id: None })
            }
        }
    }

    /// The id of a topic, by which it is told from one that is made anew under its name. `None` where the brokers give none,
    /// or cannot be asked.
    pub(super) async fn topic_id(&self, topic: &str) -> Option<String> {
        let brokers = self.brokers.as_ref()?;
        let quiet = *self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        if quiet.is_some_and(|since| since.elapsed() < QUIET) {
            return None;
        }
        match identity::id(brokers, &self.asked, topic).await {
            Ok(id) => id,
            Err(error) => {
                tracing::debug!(source = self.source, topic, error = ?error, "a topic's id is not known");
                *self.quiet.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                None
            }
        }
    }

    /// For requests of a scan, on its own consumer.
    pub fn patience(&self) -> Duration {
        self.connect_timeout
    }

    pub fn no_topic(&self, topic: &str) -> Error {
        Error::new(Kind::SourceFailed, format!("source \"{}\": topic \"{topic}\" does not exist", self.source))
    }

    pub fn unreachable(&self) -> Error {
        Error::new(Kind::SourceUnreachable, format!("source \"{}\" cannot be reached", self.source))
    }

    /// Under our own text; librdkafka's names brokers.
    pub fn failed(&self, error: KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) if passes(code) => self.unreachable().with_source(error),
            _ => Error::new(Kind::SourceFailed, format!("source \"{}\" failed", self.source)).with_source(error),
        }
    }

    /// `None`: there is no such topic.
    async fn partitions(self: &Arc<Self>, topic: &str) -> Result<Option<Vec<i32>>> {
        let name = topic.to_string();
        let request = move |reader: &Reader, patience: Duration| {
            let metadata = reader.fetch_metadata(Some(&name), patience)?;
            let Some(topic) = metadata.topics().iter().find(|t| t.name() == name) else { return Ok(None) };
            match topic.error().filter(IsError::is_error).map(RDKafkaErrorCode::from) {
                None => Ok(Some(topic.partitions().iter().map(|p| p.id()).collect::<Vec<_>>())),
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
                Some(code) => Err(KafkaError::MetadataFetch(code)),
            }
        };
        let partitions = self.request(request).await?;
        Ok(partitions.filter(|p| !p.is_empty()))
    }

    /// One blocking request on the shared client. Waiting for one's turn counts as not being answered.
    async fn request<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Reader, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T> {
        let turn = timeout(self.connect_timeout, Arc::clone(&self.requests).acquire_owned()).await;
        let permit = match turn {
            Ok(permit) => permit.map_err(|_| Error::internal("the requests' semaphore is closed"))?,
            Err(_) => return Err(self.unreachable().with_source("too many requests wait for an answer")),
        };
        let (reader, patience) = (self.shared()?, self.connect_timeout);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&reader, patience)
        });
        match task.await {
            Ok(answer) => answer.map_err(|e| self.failed(e)),
            Err(error) => Err(Error::internal("a request to Kafka panicked").with_source(error)),
        }
    }

    fn shared(&self) -> Result<Arc<Reader>> {
        let mut shared = self.shared.lock().expect("no panic under the lock");
        if let Some(consumer) = shared.as_ref().and_then(|s| s.consumer.as_ref()) {
            return Ok(Arc::clone(consumer));
        }
        let consumer = Arc::new(self.reader()?);
        let events = Arc::downgrade(&consumer);
        let drain = tokio::spawn(async move {
            let mut clock = tokio::time::interval(DRAIN_EVERY);
            loop {
                clock.tick().await;
                let Some(consumer) = events.upgrade() else { return };
                while consumer.poll(Duration::ZERO).is_some() {}
            }
        });
        *shared = Some(Shared { consumer: Some(Arc::clone(&consumer)), drain, handle: Handle::current() });
        Ok(consumer)
    }
}

impl fmt::Debug for Client {
    /// Nothing of the configuration: it holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("source", &self.source).finish_non_exhaustive()
    }
}

/// librdkafka goes on trying by itself: no answer yet, rather than a refusal.
pub fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        BrokerTransportFailure
            | AllBrokersDown
            | OperationTimedOut
            | Resolve
            | RequestTimedOut
            | LeaderNotAvailable
            | NotLeaderForPartition
            | BrokerNotAvailable
            | ReplicaNotAvailable
            | NetworkException
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | OffsetNotAvailable
            | PreferredLeaderNotAvailable
            | KafkaStorageError
    )
}

/// The password, where there is one.
fn secure(source: &str, config: &Config, client: &mut ClientConfig) -> Result<Option<Secret<String>>> {
    let security = &config.security;
    let fault = |what: &str| Error::new(Kind::Config, format!("source \"{source}\": {what}"));
    client.set(
        "security.protocol",
        match security.protocol {
            Protocol::Plaintext => "plaintext",
            Protocol::Ssl => "ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
            Protocol::SaslSsl => "sasl_ssl",
        },
    );
    let password =
        secret::given("password", &security.password, &security.password_env).map_err(|what| fault(&what))?;
    if matches!(security.protocol, Protocol::SaslPlaintext | Protocol::SaslSsl) {
        let bearer = security.mechanism.as_deref() == Some("OAUTHBEARER");
        if bearer != security.token_file.is_some() {
            return Err(fault("mechanism \"OAUTHBEARER\" and `token_file` go together"));
        }
        if bearer {
            client.set("sasl.mechanism", "OAUTHBEARER");
        } else {
            login(security, &password, client).map_err(fault)?;
        }
    }
    if let Some(file) = &security.ca_file {
        client.set("ssl.ca.location", file.to_str().ok_or_else(|| fault("`ca_file` is not valid UTF-8"))?);
    }
    Ok(password)
}

/// A user and a password.
fn login(
    security: &super::Security,
    password: &Option<Secret<String>>,
    client: &mut ClientConfig,
) -> Result<(), &'static str> {
    let (Some(mechanism), Some(user), Some(password)) = (&security.mechanism, &security.user, password) else {
        return Err("a SASL protocol needs `mechanism`, `user` and a password");
    };
    client.set("sasl.mechanism", mechanism).set("sasl.username", user).set("sasl.password", password.reveal());
    Ok(())
}
