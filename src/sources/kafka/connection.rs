//! A bare connection to a broker, logged in: TLS and SASL as the source's file says them. For the few requests that
//! librdkafka has and its Rust binding does not. It knows frames and no request but those of the login.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::frame::{Fields, Frame, Unreadable};
use super::scram::{Hash, Scram};
use super::{Config, Protocol};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::sources::tls;

/// An answer that is longer is no answer to what is asked here.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

/// How to come to one of a cluster's brokers.
pub(super) struct Brokers {
    source: String,
    addresses: Vec<(String, u16)>,
    config: Config,
    /// Read when it is first wanted.
    tls: OnceCell<TlsConnector>,
    login: Option<Login>,
    patience: Duration,
}

struct Login {
    mechanism: Mechanism,
    user: String,
    password: Secret<String>,
}

#[derive(Clone, Copy)]
enum Mechanism {
    Plain,
    Scram(Hash, &'static str),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Logged in; requests are answered one by one.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl Brokers {
    /// `None` for a mechanism that is librdkafka's alone.
    pub(super) fn new(source: &str, config: &Config, password: Option<Secret<String>>) -> Option<Self> {
        let security = &config.security;
        let login = match security.protocol {
            Protocol::Plaintext | Protocol::Ssl => None,
            Protocol::SaslPlaintext | Protocol::SaslSsl => Some(Login {
                mechanism: match security.mechanism.as_deref()? {
                    "PLAIN" => Mechanism::Plain,
                    "SCRAM-SHA-256" => Mechanism::Scram(Hash::Sha256, "SCRAM-SHA-256"),
                    "SCRAM-SHA-512" => Mechanism::Scram(Hash::Sha512, "SCRAM-SHA-512"),
                    _ => return None,
                },
                user: security.user.clone()?,
                password: password?,
            }),
        };
        Some(Self {
            source: source.into(),
            addresses: config.brokers.split(',').filter_map(address).collect(),
            config: config.clone(),
            tls: OnceCell::new(),
            login,
            patience: Duration::from_millis(config.connect_timeout_ms),
        })
    }

    /// Host and port, one after another to be tried.
    pub(super) fn addresses(&self) -> &[(String, u16)] {
        &self.addresses
    }

    /// What one broker may take to connect and answer.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<Connection> {
        let tcp = TcpStream::connect((host, port)).await.map_err(|e| self.unreachable(e))?;
        let stream: Box<dyn Stream> = match self.config.security.protocol {
            Protocol::Plaintext | Protocol::SaslPlaintext => Box::new(tcp),
            Protocol::Ssl | Protocol::SaslSsl => {
                let name = ServerName::try_from(host.to_string()).map_err(|e| self.unreachable(e))?;
                Box::new(self.tls().await?.connect(name, tcp).await.map_err(|e| self.unreachable(e))?)
            }
        };
        let mut connection = Connection { stream, correlation: 0 };
        if let Some(login) = &self.login {
            connection.login(login).await.map_err(|e| self.refused(e))?;
        }
        Ok(connection)
    }

    async fn tls(&self) -> Result<&TlsConnector> {
        let made = || async {
            let client = tls::client(&self.source, "ca_file", self.config.security.ca_file.as_deref())?;
            Ok(TlsConnector::from(Arc::new(client)))
        };
        self.tls.get_or_try_init(made).await
    }

    pub(super) fn unreachable(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::SourceUnreachable, format!("source \"{}\" cannot be reached", self.source)).with_source(why)
    }

    pub(super) fn refused(&self, why: Failed) -> Error {
        match why {
            Failed::Io(error) => self.unreachable(error),
            Failed::Said(what) => {
                Error::new(Kind::SourceFailed, format!("source \"{}\" failed", self.source)).with_source(what)
            }
        }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failed {
    Io(std::io::Error),
    /// The broker said something else, or no.
    Said(String),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Failed::Io(error)
    }
}

impl From<Unreadable> for Failed {
    fn from(_: Unreadable) -> Self {
        Failed::Said("an answer that cannot be read".into())
    }
}

impl Connection {
    /// The answer's fields, those of its header not among them.
    pub(super) async fn request(
        &mut self,
        key: i16,
        version: i16,
        flexible: bool,
        body: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        self.correlation += 1;
        let mut frame = Frame::default();
        frame.i16(key).i16(version).i32(self.correlation).string("lakegate");
        if flexible {
            frame.no_tags();
        }
        let bytes = [frame.bytes(), body].concat();
        let length = i32::try_from(bytes.len()).map_err(|_| Failed::Said("a request that is too long".into()))?;
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        let length = usize::try_from(self.stream.read_i32().await?).ok().filter(|n| *n <= ANSWER_BYTES_MAX);
        let mut answer = vec![0; length.ok_or_else(|| Failed::Said("an answer that is too long".into()))?];
        self.stream.read_exact(&mut answer).await?;
        let mut fields = Fields::new(&answer);
        if fields.i32()? != self.correlation {
            return Err(Failed::Said("an answer to another request".into()));
        }
        if flexible {
            fields.skip_tags()?;
        }
        Ok(fields.rest().to_vec())
    }

    async fn login(&mut self, login: &Login) -> Result<(), Failed> {
        let password = login.password.reveal();
        let (name, scram) = match login.mechanism {
            Mechanism::Plain => ("PLAIN", None),
            Mechanism::Scram(hash, name) => (name, Some(hash)),
        };
        let mut body = Frame::default();
        body.string(name);
        let answer = self.request(SASL_HANDSHAKE, 1, false, body.bytes()).await?;
        if Fields::new(&answer).i16()? != 0 {
            return Err(Failed::Said(format!("the broker does not take {name}")));
        }
        let Some(hash) = scram else {
            self.authenticate(format!("\0{}\0{password}", login.user).as_bytes()).await?;
            return Ok(());
        };
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let (scram, first) = Scram::begin(hash, &login.user, password, nonce);
        let answer = self.authenticate(first.as_bytes()).await?;
        let said = |what: &str| Failed::Said(what.into());
        let (last, proof) = scram.answer(&answer).map_err(said)?;
        match proof.holds(&self.authenticate(last.as_bytes()).await?) {
            true => Ok(()),
            false => Err(said("a broker that does not know the password itself")),
        }
    }

    async fn authenticate(&mut self, message: &[u8]) -> Result<String, Failed> {
        let mut body = Frame::default();
        body.byte_string(message);
        let answer = self.request(SASL_AUTHENTICATE, 0, false, body.bytes()).await?;
        let mut fields = Fields::new(&answer);
        if fields.i16()? != 0 {
            let said = fields.string()?.unwrap_or_default();
            return Err(Failed::Said(format!("the login was refused: {said}")));
        }
        fields.string()?;
        Ok(String::from_utf8_lossy(fields.byte_string()?).into_owned())
    }
}

/// `host:port`, `[v6]:port`, and librdkafka's `protocol://` before it.
fn address(text: &str) -> Option<(String, u16)> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (text, 9092),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_string(), port))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_read_as_librdkafka_reads_them() {
        let check = |text: &str, expect: Option<(&str, u16)>| {
            assert_eq!(address(text), expect.map(|(host, port)| (host.to_string(), port)), "{text}");
        };
        check("a.example:19092", Some(("a.example", 19092)));
        check(" a ", Some(("a", 9092)));
        check("SASL_SSL://a:1", Some(("a", 1)));
        check("[::1]:9093", Some(("::1", 9093)));
        check("::1", Some(("::1", 9092)));
        check("a:port", None);
        check("", None);
    }
}
