//! Listening sockets and the accept loop of a door. It hands over sockets; it does not read from them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// A peer that is gone without a word is noticed within time + interval × retries: 30 s.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|e| Error::new(Kind::Config, format!("cannot listen on {address}: {e}")).with_source(e))
}

pub(crate) fn local_addr(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| Error::internal("a bound socket has no address").with_source(e))
}

/// Calls `arrived` for each connection until `token` ends. `arrived` must not block: it spawns.
///
/// Out of descriptors is no reason to die or to spin: the loop waits, doubling up to a second.
pub(crate) async fn accept(
    listener: TcpListener,
    token: CancellationToken,
    mut arrived: impl FnMut(TcpStream, SocketAddr),
) {
    let mut backoff = BACKOFF_MIN;
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, peer)) => {
                backoff = BACKOFF_MIN;
                if let Err(error) = prepare(&socket) {
                    tracing::debug!(error = %error, "socket options");
                }
                arrived(socket, peer);
            }
            Err(error) if concerns_one_peer(&error) => tracing::debug!(error = %error, "accept"),
            Err(error) => {
                tracing::warn!(error = %error, wait_ms = backoff.as_millis() as u64, "accept failed, waiting");
                if token.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
                    return;
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// No TCP user timeout: Linux also ends a connection by it whose reader merely pauses (zero window), and how long a
/// reader may pause is `write_timeout_ms`'s to say.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let probes =
        TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// Errors of `accept` that speak of the connection that was about to be, not of the listener.
fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
