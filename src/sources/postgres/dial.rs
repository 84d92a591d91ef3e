//! A bare connection to a source, for the one conversation that its client does not know: replication. A socket, and TLS as the
//! source's file says. What is spoken over it, login included, is the caller's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Config, Tls};
use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// Bytes in, bytes out.
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// An open connection on which nothing was said yet.
pub struct Dialled {
    pub socket: Box<dyn Socket>,
    /// Nobody listens in: TLS, or a socket of this machine.
    pub private: bool,
    /// The hash of the server's certificate (RFC 5929, `tls-server-end-point`); `None` in the clear, and for a certificate
    /// whose signature names no hash.
    pub end_point: Option<Vec<u8>>,
}

/// How a source is reached, and as whom.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub source: String,
    pub database: String,
    pub user: String,
    pub password: Option<Secret<String>>,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    host: String,
    port: u16,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// `SSLRequest`: its length and the number that stands in a protocol's version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Dialer {
    /// Reads the password's variable and the certificate file; everything wrong with them is found here.
    pub fn new(source: &str, config: &Config) -> Result<Self> {
        let fault = |what: String| Error::new(Kind::Config, format!("source \"{source}\": {what}"));
        let tls = match config.tls {
            Tls::Off => None,
            Tls::Require => {
                let client = super::super::tls::client(source, "tls_ca_file", config.tls_ca_file.as_deref())?;
                let name = ServerName::try_from(config.host.clone());
                let name = name.map_err(|e| fault("`host` is no name that TLS can verify".into()).with_source(e))?;
                Some((Arc::new(client), name))
            }
        };
        Ok(Self {
            source: source.into(),
            database: config.database.clone(),
            user: config.user.clone(),
            password: secret::given("password", &config.password, &config.password_env).map_err(fault)?,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            read_timeout: Duration::from_millis(config.read_timeout_ms),
            host: config.host.clone(),
            port: config.port,
            tls,
        })
    }

    pub async fn dial(&self) -> Result<Dialled> {
        match timeout(self.connect_timeout, self.open()).await {
            Ok(opened) => opened.map_err(|e| self.unreachable().with_source(e)),
            Err(_) => Err(self.unreachable().with_source("no connection within the connect timeout")),
        }
    }

    /// The wording that all sources share.
    pub fn unreachable(&self) -> Error {
        Error::new(Kind::SourceUnreachable, format!("source \"{}\" cannot be reached", self.source))
    }

    async fn open(&self) -> std::io::Result<Dialled> {
        if self.host.starts_with('/') {
            let path = Path::new(&self.host).join(format!(".s.PGSQL.{}", self.port));
            let socket = UnixStream::connect(path).await?;
            return Ok(Dialled { socket: Box::new(socket), private: true, end_point: None });
        }
        let mut socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
        socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        let Some((client, name)) = &self.tls else {
            return Ok(Dialled { socket: Box::new(socket), private: false, end_point: None });
        };
        socket.write_all(&SSL_REQUEST).await?;
        // One byte and no more: what came behind it would have come in the clear.
        if socket.read_u8().await? != b'S' {
            return Err(std::io::Error::other("the server does not speak TLS"));
        }
        let socket = TlsConnector::from(Arc::clone(client)).connect(name.clone(), socket).await?;
        let certificates = socket.get_ref().1.peer_certificates();
        let end_point = certificates.and_then(|all| all.first()).and_then(|certificate| end_point(certificate));
        Ok(Dialled { socket: Box::new(socket), private: true, end_point })
    }
}

/// The certificate's hash by the function that its signature uses; the two that are broken give way to SHA-256.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OID, … }, signature }
    let (_, whole, _) = element(certificate)?;
    let (_, _, rest) = element(whole)?;
    let (_, algorithm, _) = element(rest)?;
    let (tag, oid, _) = element(algorithm)?;
    if tag != 0x06 {
        return None;
    }
    let bits = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => 256,
        (Some([12]), _) | (_, Some([3, 3])) => 384,
        (Some([13]), _) | (_, Some([3, 4])) => 512,
        _ => return None,
    };
    Some(match bits {
        256 => Sha256::digest(certificate).to_vec(),
        384 => Sha384::digest(certificate).to_vec(),
        _ => Sha512::digest(certificate).to_vec(),
    })
}

/// One element in DER: its tag, what it holds, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0usize, |all, digit| (all << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (held, rest) = rest.split_at_checked(length)?;
    Some((*tag, held, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_hashed_as_it_was_signed() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let der = made.cert.der();
        // rcgen signs by ECDSA with SHA-256.
        assert_eq!(end_point(der).unwrap(), Sha256::digest(der).to_vec());
        for end in 0..der.len() {
            assert_eq!(end_point(&der[..end]), None, "cut at {end}");
        }
    }
}
