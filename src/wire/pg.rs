//! The PostgreSQL door: accepts connections, sees each through its login under one timer, hands it to a conversation,
//! and drains. pgwire encodes what we send; negotiation, framing and the loop are ours (its own buffer plaintext before
//! TLS, take a gigabyte from strangers and panic on short bodies).

mod cancel;
mod copy;
mod encode;
mod error;
mod extended;
mod frame;
mod function;
mod inbox;
mod login;
mod message;
mod output;
mod portal;
mod session;
mod simple;
mod startup;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use metrics::counter;
use pgwire::messages::Message;
use pgwire::messages::startup::{BackendKeyData, SecretKey};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cancel::{Cancels, Registration};
use self::error::{Severity, Stop, response};
use self::frame::{Decoder, Frames};
use self::inbox::Inbox;
use self::login::Gate;
use self::output::Output;
use self::session::{Conversation, Tokens};
use self::startup::{Negotiation, Opening, Socket, Startup};
use crate::engine::{Engine, Session};
use crate::error::{Error, Kind, Result};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::{CONNECTIONS_REFUSED, LOGIN_FAILURES};
use crate::wire::auth::{Mechanisms, Throttle};
use crate::wire::slots::{self, Connected, Pending, Slots, host};
use crate::wire::tls::Certificates;
use crate::wire::{Config, Tls, listen};

/// After the last statement was told to end, this is left for its words to reach the client.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bound and not yet running.
pub struct Door {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
    drain: CancellationToken,
}

/// What every connection needs.
struct Shared {
    engine: Arc<Engine>,
    config: Arc<Config>,
    slots: Slots,
    certificates: Option<Certificates>,
    negotiation: Negotiation,
    throttle: Throttle,
    cancels: Arc<Cancels>,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Door {
    /// F0000 for contradictions in `config`, for a certificate that does not load and for an address that is taken.
    pub async fn bind(config: &Config, engine: Arc<Engine>, shutdown: &Shutdown) -> Result<Self> {
        let config = Arc::new(config.settled()?.clone());
        let certificates = match (config.tls_mode(), &config.certificate, &config.key) {
            (Tls::Require | Tls::Allow, Some(certificate), Some(key)) => Some(Certificates::load(certificate, key)?),
            _ => None,
        };
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.push(listen::bind(*address).await?);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let drain = shutdown.token().clone();
        let shared = Shared {
            engine,
            slots: Slots::new(slots::Limits {
                pending_max: config.pending_max,
                pending_per_ip_max: config.pending_per_ip_max,
                connections_max: config.connections_max,
                connections_per_user_max: config.connections_per_user_max,
            }),
            certificates,
            negotiation: Negotiation {
                mode: config.tls_mode(),
                handshakes: Semaphore::new(cores * 4),
                startup_bytes_max: config.startup_bytes_max,
            },
            throttle: Throttle::new(config.login_failures_per_minute_max),
            cancels: Cancels::new(config.failed_cancels_per_second_max),
            drain: drain.clone(),
            stop: CancellationToken::new(),
            config,
        };
        Ok(Self { listeners, shared: Arc::new(shared), drain })
    }

    /// The first address, with the port the system chose where 0 was configured.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listeners.first().map_or_else(|| Err(Error::internal("a door without a listener")), listen::local_addr)
    }

    /// Serves until the shutdown's token ends, then drains: idle sessions end at once, running statements have
    /// `drain_ms`, then they end too. Returns when the last connection is closed.
    pub async fn run(self) {
        let connections = TaskTracker::new();
        // Pulled when even the farewell took too long.
        let abandon = CancellationToken::new();
        let accepting = self.listeners.into_iter().map(|listener| {
            let (shared, connections, abandon) = (Arc::clone(&self.shared), connections.clone(), abandon.clone());
            listen::accept(listener, self.drain.clone(), move |socket, peer| {
                let shared = Arc::clone(&shared);
                match shared.slots.knock(peer.ip()) {
                    Ok(pending) => {
                        let abandon = abandon.clone();
                        connections.spawn(async move {
                            abandon.run_until_cancelled(shared.serve(socket, peer, pending)).await;
                        });
                    }
                    Err(error) => turn_away(&socket, &error),
                }
            })
        });
        let following = async {
            match &self.shared.certificates {
                Some(certificates) => certificates.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = futures::future::join_all(accepting) => {}
            () = following => {}
        }
        connections.close();
        let patience = Duration::from_millis(self.shared.config.drain_ms);
        if tokio::time::timeout(patience, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "drain took too long, ending running statements");
            self.shared.stop.cancel();
            if tokio::time::timeout(self.shared.farewell(), connections.wait()).await.is_err() {
                abandon.cancel();
                connections.wait().await;
            }
        }
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, pending: Pending) {
        let ip = peer.ip();
        let stop = self.stop.child_token();
        let tokens = Tokens { drain: self.drain.clone(), gone: stop.child_token(), stop };
        // The one timer of the whole login. A shutdown does not wait for a login either.
        let patience = Duration::from_millis(self.config.startup_timeout_ms);
        // Boxed: its handshakes are large, and a connection that sits idle for days should not carry their room.
        let login = tokio::time::timeout(patience, Box::pin(self.log_in(socket, ip, pending)));
        let served = match self.drain.run_until_cancelled(login).await {
            Some(Ok(served)) => served,
            Some(Err(_)) => return refused("timeout"),
            None => return refused("shutdown"),
        };
        let Some(LoggedIn { session, frames, output, registration, place }) = served else { return };
        let inbox = Inbox::open(frames, tokens.gone.clone(), self.config.read_ahead_max, self.config.message_bytes_max);
        session.ended_by(tokens.stop.clone());
        let running = Arc::clone(&registration.running);
        Conversation::new(session, output, Arc::clone(&self.config), running, tokens).run(inbox).await;
        drop((registration, place));
    }

    /// Everything up to the first ReadyForQuery. `None`: refused, gone, or a cancel request; all is said and counted.
    async fn log_in(&self, socket: TcpStream, ip: IpAddr, pending: Pending) -> Option<LoggedIn> {
        let certificate = self.certificates.as_ref().map(Certificates::current);
        match startup::open(socket, certificate.as_ref().map(|c| &c.acceptor), &self.negotiation).await {
            Ok(Opening::Startup { socket, startup }) => {
                // Without TLS there is nothing to bind to.
                let plain = Mechanisms::plain();
                let mechanisms = match (&socket, &certificate) {
                    (Either::Right(_), Some(certificate)) => &certificate.mechanisms,
                    _ => &plain,
                };
                self.authenticate(socket, mechanisms, startup, ip, pending).await
            }
            Ok(Opening::Cancel { mut socket, pid, key }) => {
                self.cancels.request(pid, &key, host(ip));
                // libpq takes the connection's end for the answer, and one without TLS's own end for a failure.
                let _ = socket.shutdown().await;
                None
            }
            Ok(Opening::Closed(reason)) => {
                refused(reason);
                None
            }
            Err(error) => {
                tracing::debug!(error = %error, "connection ended before its login");
                refused("gone");
                None
            }
        }
    }

    async fn authenticate(
        &self,
        socket: Socket,
        mechanisms: &Mechanisms,
        startup: Startup,
        ip: IpAddr,
        pending: Pending,
    ) -> Option<LoggedIn> {
        let (read, write) = tokio::io::split(socket);
        let mut frames = Frames::new(read, Decoder::new(self.config.auth_bytes_max, self.config.message_bytes_max));
        let mut output = Output::new(write, Duration::from_millis(self.config.write_timeout_ms));
        let gate = Gate { mechanisms, throttle: &self.throttle, ip };
        match self.admit(&gate, &startup, &mut frames, &mut output, pending).await {
            Ok((session, registration, place)) => {
                frames.logged_in();
                Some(LoggedIn { session, frames, output, registration, place })
            }
            Err(Stop::Gone) => {
                refused("gone");
                None
            }
            Err(Stop::Failed(error) | Stop::Lost(error)) => {
                counter!(LOGIN_FAILURES, "code" => error.kind().sqlstate()).increment(1);
                if output.put_error(&error, Severity::Fatal).is_ok() {
                    output.close().await;
                }
                None
            }
        }
    }

    async fn admit<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        gate: &Gate<'_>,
        startup: &Startup,
        frames: &mut Frames<R>,
        output: &mut Output<W>,
        pending: Pending,
    ) -> std::result::Result<(Session, Registration, Connected), Stop> {
        let user = gate.pass(startup, frames, output, |user| self.engine.verifier(user)).await?;
        let principal = self.engine.login(&user).map_err(|error| login::refused(&user, error))?;
        let place = pending.enter(&user)?;
        // Protocol 3.2 made room for a key that cannot be guessed.
        let registration = self.cancels.register(if startup.spoken_minor() >= 2 { 32 } else { 4 });
        let session = self.engine.session(principal, &startup.parameters, registration.pid)?;
        let key = SecretKey::Bytes(Bytes::copy_from_slice(&registration.key));
        output.put(&BackendKeyData::new(registration.pid, key))?;
        Ok((session, registration, place))
    }

    fn farewell(&self) -> Duration {
        FAREWELL + Duration::from_millis(self.config.cancel_grace_ms)
    }
}

/// A connection behind its login; `output` holds what is left to say before ReadyForQuery.
struct LoggedIn {
    session: Session,
    frames: Frames<tokio::io::ReadHalf<Socket>>,
    output: Output<tokio::io::WriteHalf<Socket>>,
    registration: Registration,
    place: Connected,
}

/// One try to say why, without waiting: whoever floods the door is not waited for.
fn turn_away(socket: &TcpStream, error: &Error) {
    refused("too_many_pending");
    debug_assert_eq!(error.kind(), Kind::TooManyConnections);
    let mut answer = BytesMut::new();
    if response(error, Severity::Fatal).encode(&mut answer).is_ok() {
        let _ = socket.try_write(&answer);
    }
}

fn refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}
