//! The small HTTP door: `/healthz` for everybody, `/readyz` and `/metrics` for those whom `access` lets in, and
//! `/v1/ingest/PIPELINE` for users who send rows. A connection carries one request, over TLS or not, and has one deadline from
//! its first byte to the answer's last. The door holds no data and runs no statement; what it says comes from closures that
//! `server` hands in, and what becomes of rows from the pipeline that they are sent to.

mod access;
mod health;
mod metrics;
mod post;

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::counter;
use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use crate::error::Result;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::CONNECTIONS_REFUSED;
use crate::wire::slots::HttpSlots;
use crate::wire::tls::Certificates;
use crate::wire::{Config, Tls, listen};

pub use self::access::Network;
pub use self::post::Intake;

/// hyper's smallest read buffer.
const READ_BUFFER_MIN: usize = 8 << 10;
/// At a shutdown requests under way have this long to be answered.
const FAREWELL: Duration = Duration::from_secs(1);
/// Said to whoever finds no place, without waiting for the request.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What the door is asked about.
#[derive(Clone)]
pub struct Answers {
    /// What is not ready, in words for an operator; empty when everything is.
    pub unready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What fails while the rest works, a source that does not answer for one: said, and no reason to send clients
    /// elsewhere.
    pub degraded: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The text of Prometheus's exposition format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Bound and not yet running.
pub struct Door {
    listener: TcpListener,
    router: Router,
    access: Access,
    certificates: Option<Arc<Certificates>>,
    login_failures_per_minute_max: u32,
    http: http1::Builder,
    slots: Arc<HttpSlots>,
    request_timeout: Duration,
    token: CancellationToken,
}

/// Whom a request comes from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

/// How its connection is.
#[derive(Clone, Copy, Debug)]
struct Carried {
    /// Nobody between the two can read it.
    is_secret: bool,
    /// The connection's deadline.
    until: Instant,
}

impl Door {
    pub async fn bind(address: SocketAddr, config: &Config, answers: Answers, shutdown: &Shutdown) -> Result<Self> {
        let config = config.settled()?;
        let access = Access { networks: config.http_networks.clone(), token: config.http_token.clone() };
        let mut http = http1::Builder::new();
        http.keep_alive(false)
            .max_buf_size(config.http_header_bytes_max.max(READ_BUFFER_MIN))
            .max_header_size(config.http_header_bytes_max);
        Ok(Self {
            listener: listen::bind(address).await?,
            router: router(answers, access.clone()),
            access,
            certificates: certificates(config)?,
            login_failures_per_minute_max: config.login_failures_per_minute_max,
            http,
            slots: Arc::new(HttpSlots::new(config.http_connections_max, config.http_connections_per_ip_max)),
            request_timeout: Duration::from_millis(config.http_request_timeout_ms),
            token: shutdown.token().clone(),
        })
    }

    /// The same, and it takes rows in.
    pub fn taking(mut self, intake: Intake) -> Self {
        let taking =
            post::Taking::new(intake, self.access.clone(), self.login_failures_per_minute_max, self.slots.half());
        let route = Router::new().route("/v1/ingest/{pipeline}", post(post::take)).with_state(Arc::new(taking));
        self.router = self.router.merge(route);
        self
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        listen::local_addr(&self.listener)
    }

    /// Serves until the shutdown's token ends; requests under way are answered.
    pub async fn run(self) {
        let connections = TaskTracker::new();
        let Self { listener, router, certificates, http, slots, request_timeout, token, .. } = self;
        let accepting = listen::accept(listener, token.clone(), |socket, peer| {
            let Some(place) = slots.enter(peer.ip()) else {
                refused("http_full");
                let _ = socket.try_write(NO_PLACE);
                return;
            };
            let router = router.clone().layer(Extension(Peer(peer.ip())));
            let (http, token, certificates) = (http.clone(), token.clone(), certificates.clone());
            let until = Instant::now() + request_timeout;
            connections.spawn(async move {
                let serving = async {
                    let socket = match opened(socket, certificates.as_deref()).await {
                        Ok(socket) => socket,
                        Err(error) => return tracing::debug!(error = %error, "http connection"),
                    };
                    let carried = Carried { is_secret: matches!(socket, Either::Right(_)), until };
                    serve(socket, http, router.layer(Extension(carried)), token).await;
                };
                // Boxed: a handshake has large messages.
                let served = tokio::time::timeout(request_timeout, Box::pin(serving));
                if served.await.is_err() {
                    refused("http_timeout");
                }
                drop(place);
            });
        });
        let following = async {
            match &certificates {
                Some(certificates) => certificates.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = accepting => {}
            () = following => {}
        }
        connections.close();
        connections.wait().await;
    }
}

/// Those that the PostgreSQL door offers.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>> {
    match (config.tls_mode(), &config.certificate, &config.key) {
        (Tls::Require | Tls::Allow, Some(certificate), Some(key)) => {
            Ok(Some(Arc::new(Certificates::load(certificate, key)?)))
        }
        _ => Ok(None),
    }
}

/// The first byte of a TLS handshake, which no request begins with.
const HANDSHAKE: u8 = 0x16;

type Socket = Either<TcpStream, TlsStream<TcpStream>>;

/// As its client speaks: the checks of orchestrators come without TLS, whatever certificates there are.
async fn opened(socket: TcpStream, certificates: Option<&Certificates>) -> std::io::Result<Socket> {
    let Some(certificates) = certificates else { return Ok(Either::Left(socket)) };
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 || first != [HANDSHAKE] {
        return Ok(Either::Left(socket));
    }
    let acceptor = certificates.current();
    Ok(Either::Right(acceptor.http.accept(socket).await?))
}

/// One request. The caller holds the timer.
async fn serve(socket: Socket, http: http1::Builder, router: Router, token: CancellationToken) {
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router)));
    let served = tokio::select! {
        served = &mut connection => served,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "http connection");
    }
}

fn router(answers: Answers, access: Access) -> Router {
    let guarded = Router::new()
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::render))
        .route_layer(from_fn_with_state(access, access::admit))
        .with_state(answers);
    Router::new().route("/healthz", get(health::alive)).merge(guarded).layer(from_fn(without_body))
}

/// Nothing of these takes a body, so none is read.
async fn without_body(request: Request, next: Next) -> Response {
    match request.body().is_end_stream() {
        true => next.run(request).await,
        false => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}

fn refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests;
