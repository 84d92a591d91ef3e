//! `POST /v1/ingest/PIPELINE`: JSON lines for a pipeline, from a user of the PostgreSQL door. Here it is found out who sends
//! them and whether that user may; what becomes of the rows the pipeline says.
//!
//! Whoever may not post to a pipeline is told the same as if there were none, and nothing of a body is read before that. A
//! refused body is read on a little, piece by piece, and dropped: a connection that closes over unread bytes takes the answer with it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use metrics::counter;
use serde_json::{Value, json};

use super::access::Access;
use super::{Carried, Peer};
use crate::engine::{Engine, Posted, Posting};
use crate::error::{Error, Kind};
use crate::inlets::{Answer, BadLine, Check, Inlets, Post, Refusal};
use crate::telemetry::metrics::LOGIN_FAILURES;
use crate::wire::auth::basic::{Proven, judge, said};
use crate::wire::auth::{Throttle, wrong_password};
use crate::wire::slots::{HttpSlots, host};

/// Whoever sends a body again names it so.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_BYTES_MAX: usize = 200;
/// Left for the answer of the time that a request has.
const FOR_THE_ANSWER: Duration = Duration::from_millis(500);
/// Of a refused body, before the connection is closed over the rest.
const DROPPED_BYTES_MAX: usize = 1 << 20;

/// Where rows go, and who is asked about their senders.
#[derive(Clone)]
pub struct Intake {
    pub engine: Arc<Engine>,
    pub inlets: Inlets,
}

pub(super) struct Taking {
    intake: Intake,
    access: Access,
    throttle: Throttle,
    proven: Proven,
    /// Of requests at once: they wait for commits, and whoever asks whether the server lives does not wait for them.
    places: HttpSlots,
}

impl Taking {
    /// Its throttle is its own: who guesses at both doors has twice the guesses.
    pub(super) fn new(intake: Intake, access: Access, login_failures_per_minute_max: u32, places: HttpSlots) -> Self {
        let throttle = Throttle::new(login_failures_per_minute_max);
        Self { intake, access, throttle, proven: Proven::new(), places }
    }
}

/// An answer that is not the one hoped for.
struct Turned {
    status: StatusCode,
    body: Value,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Turned {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": text.into() }), header: None }
    }

    fn hint(mut self, hint: &str) -> Self {
        if let Some(body) = self.body.as_object_mut() {
            body.insert("hint".into(), hint.into());
        }
        self
    }

    fn after_s(mut self, seconds: u16) -> Self {
        self.header = Some((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    fn unknown_user() -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"lakegate\", charset=\"UTF-8\"");
        let turned = Self::new(StatusCode::UNAUTHORIZED, "authentication failed");
        Self { header: Some((WWW_AUTHENTICATE, challenge)), ..turned }
    }

    /// Whatever the reason is.
    fn denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission denied for this pipeline")
    }

    fn failed(error: &Error) -> Self {
        match error.kind() {
            Kind::PermissionDenied => Self::new(StatusCode::FORBIDDEN, error.message()),
            kind if kind.retryable() => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.message()).after_s(1),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
        }
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let mut response = (self.status, json_type(), self.body.to_string()).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn json_type() -> [(HeaderName, &'static str); 1] {
    [(CONTENT_TYPE, "application/json")]
}

pub(super) async fn take(
    State(taking): State<Arc<Taking>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(carried): Extension<Carried>,
    Path(pipeline): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let asked = Asked { taking: &taking, peer, carried, headers: &head.headers, uri: &head.uri, pipeline: &pipeline };
    let place = taking.places.enter(peer);
    let answered = match &place {
        Some(_) => asked.answered(&mut body).await,
        None => Err(Turned::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way").after_s(1)),
    };
    if let Some(unread) = body {
        let dropping = drop_some(unread);
        let patience = carried.until.saturating_duration_since(Instant::now()).saturating_sub(FOR_THE_ANSWER);
        // One without a place leaves soon.
        let patience = if place.is_some() { patience } else { patience.min(FOR_THE_ANSWER) };
        let _ = tokio::time::timeout(patience, dropping).await;
    }
    match answered {
        Ok(answer) => {
            let status = if answer.committed { StatusCode::OK } else { StatusCode::ACCEPTED };
            let body = json!({
                "rows": answer.rows,
                "dead_letters": answer.dead_letters,
                "committed": answer.committed,
                "again": answer.again,
            });
            (status, json_type(), body.to_string()).into_response()
        }
        Err(turned) => turned.into_response(),
    }
}

/// One request.
struct Asked<'a> {
    taking: &'a Taking,
    peer: IpAddr,
    carried: Carried,
    headers: &'a HeaderMap,
    uri: &'a Uri,
    pipeline: &'a str,
}

impl Asked<'_> {
    async fn answered(&self, body: &mut Option<Body>) -> Result<Answer, Turned> {
        let engine = &self.taking.intake.engine;
        let user = self.user().await?;
        let principal = engine.login(&user).map_err(|_| Turned::unknown_user())?;
        let posting = engine.posting(&principal);
        let inlet = self.taking.intake.inlets.find(self.pipeline);
        let columns = inlet.as_ref().map(|inlet| inlet.columns());
        let judged = inlet.as_ref().zip(columns.as_ref()).map(|(inlet, columns)| {
            let posted = Posted { table: inlet.table(), columns, replaces: inlet.replaces() };
            engine.may_post(&principal, &posted)
        });
        let (Some(inlet), Some(Ok(judged))) = (inlet, judged) else {
            posting.failed(&Error::new(Kind::PermissionDenied, "permission denied"));
            return Err(Turned::denied());
        };
        let mut posting = posting;
        posting.target(inlet.table());
        let done = async {
            let (key, waits) = (self.key()?, self.waits()?);
            let room = self.room(inlet.body_bytes_max())?;
            let room = inlet.room(room).ok_or_else(|| turned(Refusal::Full))?;
            let unread = body.take().unwrap_or_default();
            let body = self.read(unread, inlet.body_bytes_max()).await?;
            let until = waits.then(|| self.carried.until.checked_sub(FOR_THE_ANSWER).unwrap_or(self.carried.until));
            let check = judged.map(|judged| Box::new(move |rows: &_| judged.check(rows)) as Check);
            let taken = inlet.take(Post { user, key, body, room, until, check }).await;
            taken.map_err(turned)
        };
        let done = done.await;
        tell(posting, &done);
        done
    }

    /// Who proved to be that user.
    async fn user(&self) -> Result<String, Turned> {
        if !self.taking.access.trusts(self.carried.is_secret, self.peer) {
            let text = "passwords are taken over TLS, from this machine, and from the networks in `http_networks`";
            return Err(Turned::new(StatusCode::FORBIDDEN, text));
        }
        let header = self.headers.get(AUTHORIZATION).ok_or_else(Turned::unknown_user)?;
        let (user, password) = said(header.as_bytes()).ok_or_else(Turned::unknown_user)?;
        let verifier = self.taking.intake.engine.verifier(&user);
        if self.taking.proven.has(&user, &password, &verifier) {
            return Ok(user);
        }
        let attempt = self.taking.throttle.begin(&user, host(self.peer)).await;
        let judging = {
            let (user, password, verifier) = (user.clone(), password.clone(), verifier.clone());
            tokio::task::spawn_blocking(move || judge(&user, &password, &verifier))
        };
        match judging.await.unwrap_or_else(|_| Err(wrong_password(&user))) {
            Ok(()) => {
                attempt.succeeded();
                self.taking.proven.add(&user, &password, &verifier);
                Ok(user)
            }
            Err(error) => {
                attempt.failed();
                counter!(LOGIN_FAILURES, "code" => error.kind().sqlstate()).increment(1);
                tracing::info!(user, ip = %self.peer, error = %error, "login failed");
                Err(Turned::unknown_user())
            }
        }
    }

    fn key(&self) -> Result<Option<String>, Turned> {
        let Some(key) = self.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let key = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
        let text = || format!("Idempotency-Key is 1 to {KEY_BYTES_MAX} visible ASCII characters");
        key.map(|key| Some(key.to_string())).ok_or_else(|| Turned::new(StatusCode::BAD_REQUEST, text()))
    }

    /// `?wait=false`: an answer as soon as the rows are in memory.
    fn waits(&self) -> Result<bool, Turned> {
        match self.uri.query() {
            None | Some("" | "wait=true") => Ok(true),
            Some("wait=false") => Ok(false),
            Some(_) => Err(Turned::new(StatusCode::BAD_REQUEST, "the one parameter is `wait`, true or false")),
        }
    }

    /// Bytes that are held for the body: as many as it says, else as many as it may have.
    fn room(&self, bytes_max: usize) -> Result<usize, Turned> {
        if self.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(Turned::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bodies are not compressed"));
        }
        let length = self.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            None => Ok(bytes_max),
            Some(length) => match usize::try_from(length) {
                Ok(length) if length <= bytes_max => Ok(length),
                _ => Err(too_large(bytes_max)),
            },
        }
    }

    async fn read(&self, body: Body, bytes_max: usize) -> Result<Bytes, Turned> {
        match read(body, bytes_max).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(too_large(bytes_max)),
            Err(()) => Err(Turned::new(StatusCode::BAD_REQUEST, "the body ended before its end")),
        }
    }
}

fn too_large(bytes_max: usize) -> Turned {
    let text = format!("a body of this pipeline has at most {bytes_max} bytes; send the lines in several");
    Turned::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// `None`: it is larger.
async fn read(body: Body, bytes_max: usize) -> Result<Option<Bytes>, ()> {
    let (mut stream, mut all) = (body.into_data_stream(), BytesMut::new());
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(drop)?;
        if all.len() + piece.len() > bytes_max {
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all.freeze()))
}

async fn drop_some(body: Body) {
    let (mut stream, mut left) = (body.into_data_stream(), DROPPED_BYTES_MAX);
    while let Some(Ok(piece)) = stream.next().await {
        match left.checked_sub(piece.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}

fn turned(refusal: Refusal) -> Turned {
    match refusal {
        Refusal::KeyMissing => {
            let text = "this pipeline adds rows, so that each body needs an Idempotency-Key";
            Turned::new(StatusCode::BAD_REQUEST, text)
                .hint("Send the same key with the same body again: it is taken in once.")
        }
        Refusal::KeyReused => {
            let text = "this Idempotency-Key came before with another body";
            Turned::new(StatusCode::UNPROCESSABLE_ENTITY, text)
        }
        Refusal::Empty => Turned::new(StatusCode::BAD_REQUEST, "the body has no line"),
        Refusal::Lines { first, all } => bad_lines(&first, all),
        Refusal::Full => {
            Turned::new(StatusCode::TOO_MANY_REQUESTS, "too many rows are on their way into the table").after_s(1)
        }
        Refusal::TooLarge => {
            let text =
                "the rows of this body hold more than the pipeline's `pending_bytes_max`; send the lines in several";
            Turned::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Refusal::NotRunning => {
            let text = "the pipeline does not run here now";
            Turned::new(StatusCode::SERVICE_UNAVAILABLE, text).after_s(5)
        }
        Refusal::NotYet => {
            let text = "it is not known yet whether the rows are in the table";
            let turned = Turned::new(StatusCode::SERVICE_UNAVAILABLE, text).after_s(1);
            turned.hint("Send the same body again, with the same Idempotency-Key.")
        }
        Refusal::Failed(error) => Turned::failed(&error),
    }
}

fn bad_lines(first: &[BadLine], all: usize) -> Turned {
    let mut text = String::new();
    if let Some(bad) = first.first() {
        let _ = match &bad.field {
            Some(field) => write!(text, "line {}, field \"{field}\" {}", bad.line, bad.problem),
            None => write!(text, "line {} {}", bad.line, bad.problem),
        };
    }
    let lines: Vec<Value> =
        first.iter().map(|bad| json!({ "line": bad.line, "field": bad.field, "problem": bad.problem })).collect();
    let body = json!({ "error": text, "lines": lines, "bad_lines": all });
    Turned { status: StatusCode::BAD_REQUEST, body, header: None }
}

/// The audit line.
fn tell(posting: Posting, done: &Result<Answer, Turned>) {
    match done {
        Ok(answer) => posting.done(if answer.again { 0 } else { answer.rows }),
        Err(turned) => {
            let kind = match turned.status {
                StatusCode::FORBIDDEN => Kind::PermissionDenied,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Kind::StartingUp,
                StatusCode::INTERNAL_SERVER_ERROR => Kind::Internal,
                _ => Kind::InvalidText,
            };
            posting.failed(&Error::new(kind, "a body was refused"));
        }
    }
}
