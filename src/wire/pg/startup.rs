//! From a bare socket to a startup packet or a cancel request: encryption is negotiated here, by our own hand.
//!
//! Nothing is read ahead: each step takes exactly its bytes from the bare socket, so that nothing sent in plaintext can
//! ever be taken for something that came through TLS (CVE-2021-23214 and its kin). It does not authenticate.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use pgwire::messages::Message;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::error::{Severity, response};
use crate::error::{Error, Kind, Result};
use crate::wire::Tls;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// First byte of a TLS record: somebody speaks TLS without asking first.
const TLS_HANDSHAKE: u8 = 0x16;
/// Newest minor version of protocol 3 that we speak.
const NEWEST_MINOR: u16 = 2;
const PARAMETERS_MAX: usize = 64;
const PARAMETER_BYTES_MAX: usize = 1_024;
/// Protocol 3.2 allows cancel keys up to this.
const CANCEL_KEY_BYTES_MAX: usize = 256;

/// A connection before and after TLS.
pub(crate) type Socket = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How encryption is negotiated at this door.
pub(crate) struct Negotiation {
    pub(crate) mode: Tls,
    /// Handshakes cost CPU: so many at once, the others wait within their timer.
    pub(crate) handshakes: Semaphore,
    pub(crate) startup_bytes_max: usize,
}

/// What a client opened with.
#[derive(Debug)]
pub(crate) enum Opening {
    Startup {
        socket: Socket,
        startup: Startup,
    },
    /// The socket is the caller's to close: a client that asks over TLS waits for TLS's own end.
    Cancel {
        socket: Socket,
        pid: i32,
        key: Vec<u8>,
    },
    /// Nothing further to do; the word names the reason for the metric.
    Closed(&'static str),
}

/// A startup packet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Startup {
    /// Minor version the client asked for.
    pub(crate) minor: u16,
    /// In the client's order, protocol options (`_pq_.`) removed.
    pub(crate) parameters: Vec<(String, String)>,
    /// Protocol options, none of which we know.
    pub(crate) unknown_options: Vec<String>,
}

impl Startup {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The minor version both sides speak.
    pub(crate) fn spoken_minor(&self) -> u16 {
        self.minor.min(NEWEST_MINOR)
    }

    pub(crate) fn needs_negotiation(&self) -> bool {
        self.minor > NEWEST_MINOR || !self.unknown_options.is_empty()
    }
}

/// Reads until the client has said what it wants. Without an `acceptor` no TLS is offered. The caller holds the timer. An
/// `Err` is the peer's end of the socket.
pub(crate) async fn open(
    mut tcp: TcpStream,
    acceptor: Option<&TlsAcceptor>,
    negotiation: &Negotiation,
) -> std::io::Result<Opening> {
    let (mut asked_tls, mut asked_gss) = (false, false);
    loop {
        let mut header = [0u8; 8];
        // The first byte alone first: a peer that speaks TLS at once is told apart without waiting for eight.
        tcp.read_exact(&mut header[..1]).await?;
        if header[0] == TLS_HANDSHAKE {
            return Ok(Opening::Closed("direct_tls"));
        }
        tcp.read_exact(&mut header[1..]).await?;
        let header = Header::read(header);
        match header.code {
            SSL_REQUEST if header.length == 8 && !asked_tls => {
                asked_tls = true;
                if has_more(&tcp) {
                    return Ok(Opening::Closed("stuffed"));
                }
                let Some(acceptor) = acceptor else {
                    tcp.write_all(b"N").await?;
                    continue;
                };
                tcp.write_all(b"S").await?;
                let tls = {
                    let _permit = negotiation.handshakes.acquire().await.map_err(std::io::Error::other)?;
                    acceptor.accept(tcp).await?
                };
                return inside(Either::Right(Box::new(tls)), negotiation).await;
            }
            GSS_REQUEST if header.length == 8 && !asked_gss => {
                asked_gss = true;
                if has_more(&tcp) {
                    return Ok(Opening::Closed("stuffed"));
                }
                tcp.write_all(b"N").await?;
            }
            _ => return packet(Either::Left(tcp), header, negotiation).await,
        }
    }
}

/// Under TLS: one packet, and no second negotiation.
async fn inside(mut socket: Socket, negotiation: &Negotiation) -> std::io::Result<Opening> {
    let mut header = [0u8; 8];
    socket.read_exact(&mut header).await?;
    packet(socket, Header::read(header), negotiation).await
}

async fn packet(mut socket: Socket, header: Header, negotiation: &Negotiation) -> std::io::Result<Opening> {
    let bytes_max = match header.code {
        CANCEL_REQUEST => 12 + CANCEL_KEY_BYTES_MAX,
        SSL_REQUEST | GSS_REQUEST => {
            return refuse(socket, "second_request", protocol("unexpected encryption request")).await;
        }
        _ => negotiation.startup_bytes_max,
    };
    if header.length < 8 || header.length > bytes_max {
        return refuse(socket, "startup_length", protocol("invalid length of startup packet")).await;
    }
    let encrypted = matches!(socket, Either::Right(_));
    if !encrypted && negotiation.mode == Tls::Require && header.code != CANCEL_REQUEST {
        let error =
            Error::new(Kind::NotAllowedIn, "connection requires TLS").with_hint("Connect with sslmode=require.");
        return refuse(socket, "plaintext", error).await;
    }
    let mut body = vec![0; header.length - 8];
    socket.read_exact(&mut body).await?;
    if header.code == CANCEL_REQUEST {
        return Ok(match read_cancel(&body) {
            Some((pid, key)) => Opening::Cancel { socket, pid, key },
            None => Opening::Closed("cancel_length"),
        });
    }
    match read_startup(header.code, &body) {
        Ok(startup) => Ok(Opening::Startup { socket, startup }),
        Err(error) => refuse(socket, "startup_packet", error).await,
    }
}

/// Tells the peer why and lets go of it.
async fn refuse(mut socket: Socket, reason: &'static str, error: Error) -> std::io::Result<Opening> {
    let mut answer = BytesMut::new();
    response(&error, Severity::Fatal).encode(&mut answer).map_err(std::io::Error::other)?;
    socket.write_all(&answer).await?;
    socket.shutdown().await?;
    Ok(Opening::Closed(reason))
}

#[derive(Clone, Copy)]
struct Header {
    length: usize,
    code: u32,
}

impl Header {
    fn read([l0, l1, l2, l3, c0, c1, c2, c3]: [u8; 8]) -> Self {
        // A negative length becomes a huge one, which no limit lets pass.
        Self { length: u32::from_be_bytes([l0, l1, l2, l3]) as usize, code: u32::from_be_bytes([c0, c1, c2, c3]) }
    }
}

/// Whether bytes lie in the socket that nobody honest would have sent yet. Asked of the kernel, not of the runtime's
/// notion of readiness, which may lag.
fn has_more(tcp: &TcpStream) -> bool {
    let mut one = [MaybeUninit::uninit(); 1];
    matches!(SockRef::from(tcp).peek(&mut one), Ok(1))
}

fn read_cancel(body: &[u8]) -> Option<(i32, Vec<u8>)> {
    let (pid, key) = body.split_first_chunk::<4>()?;
    (key.len() >= 4).then(|| (i32::from_be_bytes(*pid), key.to_vec()))
}

/// `body`: what follows the version. Names and values end with NUL, the list with an empty name.
fn read_startup(version: u32, body: &[u8]) -> Result<Startup> {
    let (major, minor) = (version >> 16, (version & 0xffff) as u16);
    if major != 3 {
        let text = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}");
        return Err(Error::new(Kind::Unsupported, text));
    }
    let layout = || protocol("invalid startup packet layout: expected terminator as last byte");
    let [texts @ .., 0] = body else { return Err(layout()) };
    // What is left is name NUL value NUL …, without the list's own end.
    let mut parts = match texts {
        [] => Vec::new(),
        [pairs @ .., 0] => pairs.split(|b| *b == 0).collect(),
        _ => return Err(layout()),
    };
    if parts.len() % 2 != 0 {
        return Err(layout());
    }
    if parts.len() / 2 > PARAMETERS_MAX {
        return Err(protocol("too many startup parameters"));
    }
    let mut startup = Startup { minor, parameters: Vec::new(), unknown_options: Vec::new() };
    let mut parts = parts.drain(..);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let (name, value) = (parameter_text(name)?, parameter_text(value)?);
        if name.is_empty() {
            return Err(layout());
        }
        if name.starts_with("_pq_.") {
            startup.unknown_options.push(name);
        } else {
            startup.parameters.push((name, value));
        }
    }
    Ok(startup)
}

fn parameter_text(bytes: &[u8]) -> Result<String> {
    if bytes.len() > PARAMETER_BYTES_MAX {
        return Err(protocol("startup parameter is too long"));
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| protocol("startup parameters must be UTF-8"))
}

fn protocol(text: &str) -> Error {
    Error::new(Kind::Protocol, text)
}

#[cfg(test)]
mod tests;
