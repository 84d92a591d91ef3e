//! The small HTTP door for orchestrators and Prometheus: `/healthz` for everybody, `/readyz` and `/metrics` for those whom
//! `access` lets in. A connection carries one request and has one deadline from its first byte to the answer's last. The
//! door holds no data and asks nothing of the engine; what it says comes from closures that `server` hands in.

mod access;
mod health;
mod metrics;

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use crate::error::Result;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::CONNECTIONS_REFUSED;
use crate::wire::slots::HttpSlots;
use crate::wire::{Config, listen};

pub use self::access::Network;

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
    http: http1::Builder,
    slots: Arc<HttpSlots>,
    request_timeout: Duration,
    token: CancellationToken,
}

/// Whom a request comes from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

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
            router: router(answers, access),
            http,
            slots: Arc::new(HttpSlots::new(config.http_connections_max, config.http_connections_per_ip_max)),
            request_timeout: Duration::from_millis(config.http_request_timeout_ms),
            token: shutdown.token().clone(),
        })
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        listen::local_addr(&self.listener)
    }

    /// Serves until the shutdown's token ends; requests under way are answered.
    pub async fn run(self) {
        let connections = TaskTracker::new();
        let Self { listener, router, http, slots, request_timeout, token } = self;
        let accepting = listen::accept(listener, token.clone(), |socket, peer| {
            let Some(place) = slots.enter(peer.ip()) else {
                refused("http_full");
                let _ = socket.try_write(NO_PLACE);
                return;
            };
            let router = router.clone().layer(Extension(Peer(peer.ip())));
            let (http, token) = (http.clone(), token.clone());
            connections.spawn(async move {
                let served = tokio::time::timeout(request_timeout, serve(socket, http, router, token));
                if served.await.is_err() {
                    refused("http_timeout");
                }
                drop(place);
            });
        });
        accepting.await;
        connections.close();
        connections.wait().await;
    }
}

/// One request. The caller holds the timer.
async fn serve(socket: TcpStream, http: http1::Builder, router: Router, token: CancellationToken) {
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

/// Nothing here takes a body, so none is read.
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
