//! The REST catalog's protocol: settings, logins, requests within a deadline and a size, and which failures leave it open
//! whether something happened. It knows no table's meaning and never sends a change twice.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::Config;
use super::names::{Separator, encoded};
use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// A table's metadata name all its snapshots.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Of an error's text, for the log.
const SAID_MAX: usize = 2_000;
/// A token is taken anew so long before it runs out.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
const DELEGATION: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");

pub(super) struct Client {
    http: reqwest::Client,
    uri: String,
    warehouse: Option<String>,
    login: Login,
    vended: bool,
    timeout: Duration,
    token: Mutex<Option<Token>>,
    settings: OnceCell<Settings>,
    /// Where connections live: it outlives every statement.
    home: Option<Handle>,
}

enum Login {
    Nobody,
    Bearer(Secret<String>),
    Credentials { id: String, secret: Secret<String>, uri: Option<String>, scope: String },
}

#[derive(Clone)]
struct Token {
    value: Secret<String>,
    until: Option<Instant>,
}

enum Body<'a> {
    Json(Option<&'a str>),
    /// Of a login.
    Form(String),
}

/// What the server's configuration says.
#[derive(Debug)]
pub(super) struct Settings {
    /// Before every path of the catalog's.
    base: String,
    pub(super) separator: Separator,
    pub(super) is_nessie: bool,
    /// What it can do, where it says so.
    endpoints: Option<Vec<String>>,
}

pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Below the prefix, encoded.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<&'a Value>,
    /// Answered by 304 where nothing else has come.
    pub(super) known: Option<&'a str>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) body: Bytes,
}

/// Why there is no answer that tells what happened.
#[derive(Debug)]
pub(super) enum Lost {
    /// It was never sent, or refused unread.
    Before(Error),
    /// It was sent.
    Unknown(Error),
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    defaults: serde_json::Map<String, Value>,
    #[serde(default)]
    overrides: serde_json::Map<String, Value>,
    #[serde(default)]
    endpoints: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl<'a> Request<'a> {
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, query: vec![], body: None, known: None }
    }

    pub(super) fn post(path: String, body: &'a Value) -> Self {
        Self { method: Method::POST, path, query: vec![], body: Some(body), known: None }
    }

    pub(super) fn delete(path: String) -> Self {
        Self { method: Method::DELETE, path, query: vec![], body: None, known: None }
    }
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let fault = |what: &str| Error::new(Kind::Config, format!("the lake's catalog: {what}"));
        let parsed = url::Url::parse(&config.uri).map_err(|e| fault("`uri` is not an address").with_source(e))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return Err(fault("`uri` begins with http:// or https:// and names a host"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(fault("`uri` holds a login; see `token`, `client_id` and `client_secret` of [rest]"));
        }
        if config.timeout_ms == 0 {
            return Err(fault("`catalog_timeout_ms` must be above 0"));
        }
        let given = |key, written, variable| {
            secret::given(key, written, variable).map_err(|what| fault(&format!("[rest] {what}")))
        };
        let token = given("token", &config.token, &config.token_env)?;
        let secret = given("client_secret", &config.client_secret, &config.client_secret_env)?;
        let login = match (token, &config.client_id, secret) {
            (None, None, None) => Login::Nobody,
            (Some(token), None, None) => Login::Bearer(token),
            (None, Some(id), Some(secret)) => Login::Credentials {
                id: id.clone(),
                secret,
                uri: config.oauth2_server_uri.clone(),
                scope: config.scope.clone().unwrap_or_else(|| "catalog".into()),
            },
            _ => return Err(fault("[rest] has `token`, or `client_id` with `client_secret`, or neither")),
        };
        let timeout = Duration::from_millis(config.timeout_ms);
        let tls = crate::tls::client("the lake's catalog", "tls_ca_file", config.tls_ca_file.as_deref());
        let builder = reqwest::Client::builder()
            .connect_timeout(timeout)
            .timeout(timeout)
            // a login follows no one elsewhere
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("lakegate/", env!("CARGO_PKG_VERSION")));
        let builder = match (parsed.scheme(), tls) {
            ("https", tls) => builder.use_preconfigured_tls(tls?),
            (_, Ok(tls)) => builder.use_preconfigured_tls(tls),
            // plain http on a machine without certificates
            (_, Err(_)) => builder,
        };
        let http = builder.build().map_err(|e| fault("no HTTP client can be made").with_source(e))?;
        Ok(Self {
            http,
            uri: config.uri.trim_end_matches('/').to_string(),
            warehouse: config.warehouse.clone(),
            login,
            vended: config.vended_credentials,
            timeout,
            token: Mutex::default(),
            settings: OnceCell::new(),
            home: Handle::try_current().ok(),
        })
    }

    /// Asked once; a server that does not answer is asked again the next time.
    pub(super) async fn settings(&self) -> Result<&Settings> {
        self.settings.get_or_try_init(|| self.configure()).await
    }

    async fn configure(&self) -> Result<Settings> {
        let query: Vec<_> = self.warehouse.iter().map(|w| format!("?warehouse={}", encoded(w))).collect();
        let url = format!("{}/v1/config{}", self.uri, query.concat());
        let answer = self.logged_in(Method::GET, &url, &[], None).await.map_err(Lost::into_error)?;
        if !answer.status.is_success() {
            return Err(answer.refused("the catalog's configuration"));
        }
        let said: Said = serde_json::from_slice(&answer.body).map_err(|e| unreadable().with_source(e))?;
        let setting = |key: &str| {
            let value = said.overrides.get(key).or_else(|| said.defaults.get(key));
            value.and_then(Value::as_str).map(str::to_string)
        };
        let root = match said.overrides.get("uri").and_then(Value::as_str) {
            Some(uri) => self.same_place(uri)?,
            None => self.uri.clone(),
        };
        let prefix = setting("prefix").map(|p| p.trim_matches('/').to_string()).filter(|p| !p.is_empty());
        let base = prefix.map_or(format!("{root}/v1"), |prefix| format!("{root}/v1/{prefix}"));
        let separator = Separator::of(setting("namespace-separator"));
        let is_nessie = setting("nessie.is-nessie-catalog").is_some_and(|is| is == "true");
        Ok(Settings { base, separator, is_nessie, endpoints: said.endpoints })
    }

    /// A server may send us to another path of its own and not, with our login, to another host.
    fn same_place(&self, uri: &str) -> Result<String> {
        let (ours, theirs) = (url::Url::parse(&self.uri), url::Url::parse(uri));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours.origin() == theirs.origin() => Ok(uri.trim_end_matches('/').to_string()),
            _ => Err(Error::new(Kind::SourceFailed, "the lake's catalog refers to another server")
                .with_hint("Give that server's address as `uri` in the source's file.")),
        }
    }

    /// Whether the server can do this, in the protocol's words; `unsaid` where it does not say what it can do.
    pub(super) async fn can(&self, endpoint: &str, unsaid: bool) -> Result<bool> {
        let settings = self.settings().await?;
        Ok(settings.endpoints.as_ref().map_or(unsaid, |all| all.iter().any(|e| e == endpoint)))
    }

    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Answer, Lost> {
        let settings = self.settings().await.map_err(Lost::Before)?;
        let mut url = format!("{}/{}", settings.base, request.path);
        for (at, (key, value)) in request.query.iter().enumerate() {
            let sign = if at == 0 { '?' } else { '&' };
            url.push_str(&format!("{sign}{key}={}", encoded(value)));
        }
        let mut headers = vec![];
        if let Some(known) = request.known
            && let Ok(known) = HeaderValue::from_str(known)
        {
            headers.push((IF_NONE_MATCH, known));
        }
        if self.vended {
            headers.push((DELEGATION, HeaderValue::from_static("vended-credentials")));
        }
        let body = request.body.map(|body| body.to_string());
        self.logged_in(request.method, &url, &headers, body.as_deref()).await
    }

    async fn logged_in(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&str>,
    ) -> Result<Answer, Lost> {
        let token = self.token().await.map_err(Lost::Before)?;
        let sent = |token| self.send(method.clone(), url, headers, Body::Json(body), token);
        let answer = sent(token.clone()).await?;
        let expired = answer.status == StatusCode::UNAUTHORIZED || answer.status.as_u16() == 419;
        if !expired || !matches!(self.login, Login::Credentials { .. }) {
            return Ok(answer);
        }
        // unread, with a token that has run out before its time: once more with a new one
        {
            let mut known = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            if known.as_ref().map(|known| &known.value) == token.as_ref() {
                *known = None;
            }
        }
        let token = self.token().await.map_err(Lost::Before)?;
        sent(token).await
    }

    /// A read: whatever happened to it, nothing has changed.
    pub(super) async fn read(&self, request: Request<'_>) -> Result<Answer> {
        self.ask(request).await.map_err(Lost::into_error)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Body<'_>,
        token: Option<Secret<String>>,
    ) -> Result<Answer, Lost> {
        let mut all = HeaderMap::new();
        all.insert(ACCEPT, HeaderValue::from_static("application/json"));
        all.extend(headers.iter().cloned());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| Lost::Before(Error::new(Kind::Config, "the catalog's token cannot be sent")))?;
            value.set_sensitive(true);
            all.insert(AUTHORIZATION, value);
        }
        let mut request = self.http.request(method, url).headers(all);
        request = match body {
            Body::Json(None) => request,
            Body::Json(Some(body)) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            Body::Form(form) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form),
        };
        // the statement's own threads end with it, and kept connections would
        let home = self.home.clone().unwrap_or_else(Handle::current);
        let sent = tokio_util::task::AbortOnDropHandle::new(home.spawn(within(request)));
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(Lost::Unknown(Error::internal("a request panicked").with_source(error))),
            Err(_) => Err(Lost::Unknown(unreachable().with_source("no answer within the timeout"))),
        }
    }

    async fn token(&self) -> Result<Option<Secret<String>>> {
        let (id, secret, uri, scope) = match &self.login {
            Login::Nobody => return Ok(None),
            Login::Bearer(token) => return Ok(Some(token.clone())),
            Login::Credentials { id, secret, uri, scope } => (id, secret, uri, scope),
        };
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lasts = |token: &Token| token.until.is_none_or(|until| Instant::now() + TOKEN_MARGIN < until);
        if let Some(token) = known.filter(lasts) {
            return Ok(Some(token.value));
        }
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            encoded(id),
            encoded(secret.reveal()),
            encoded(scope)
        );
        let url = uri.clone().unwrap_or_else(|| format!("{}/v1/oauth/tokens", self.uri));
        let answer = self.send(Method::POST, &url, &[], Body::Form(form), None).await.map_err(Lost::into_error)?;
        if !answer.status.is_success() {
            return Err(answer.refused("the login"));
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let until = granted.expires_in.and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
        let token = Token { value: granted.access_token, until };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token.value))
    }
}

async fn within(request: reqwest::RequestBuilder) -> Result<Answer, Lost> {
    let lost = |error: reqwest::Error| {
        let before = error.is_connect() || error.is_builder();
        // the address may hold names
        let error = unreachable().with_source(error.without_url());
        if before { Lost::Before(error) } else { Lost::Unknown(error) }
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status();
    let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_string);
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return Err(Lost::Unknown(Error::new(Kind::TooLarge, "an answer of the lake's catalog is too large")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, etag, body: body.freeze() })
}

impl Settings {
    pub(super) fn namespace(&self, namespace: &str) -> String {
        self.separator.path(namespace)
    }

    /// As a value that will be encoded whole.
    pub(super) fn plain(&self, namespace: &str) -> String {
        self.separator.plain(namespace)
    }
}

impl Lost {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Before(error) | Self::Unknown(error) => error,
        }
    }
}

impl Answer {
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|e| unreadable().with_source(e))
    }

    /// What the server said to something that it did not do. Its words go to the log.
    pub(super) fn refused(&self, what: &str) -> Error {
        let said = String::from_utf8_lossy(&self.body).chars().take(SAID_MAX).collect::<String>();
        let said = format!("{}: {said}", self.status);
        match self.status.as_u16() {
            // nothing is known of what is there
            401 | 419 => {
                let text = format!("the lake's catalog denies {what}");
                Error::new(Kind::SourceUnreachable, text)
                    .with_hint("Its login is in the source's file.")
                    .with_source(said)
            }
            403 => Error::new(Kind::SourceFailed, format!("the lake's catalog denies {what}")).with_source(said),
            406 | 501 => {
                Error::new(Kind::Unsupported, format!("the lake's catalog does not know {what}")).with_source(said)
            }
            429 | 500.. => unreachable().with_source(said),
            _ => Error::new(Kind::SourceFailed, format!("the lake's catalog refused {what}")).with_source(said),
        }
    }
}

fn unreachable() -> Error {
    Error::new(Kind::SourceUnreachable, "the lake's catalog cannot be reached")
}

pub(super) fn unreadable() -> Error {
    Error::new(Kind::SourceFailed, "an answer of the lake's catalog cannot be read")
}

/// Nothing of the login.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings.get()).finish_non_exhaustive()
    }
}
