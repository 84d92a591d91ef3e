//! The server's certificate: offered by every listener, and replaced while running when its files are. It does not decide
//! who must use it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Kind, Result};
use crate::wire::auth::Mechanisms;

/// Files are looked at this often.
const LOOK: Duration = Duration::from_secs(2);

/// What a connection needs to speak TLS, and what SCRAM binds to.
pub(crate) struct Certificate {
    pub(crate) acceptor: TlsAcceptor,
    /// The same for the HTTP door, whose clients ask for another protocol.
    pub(crate) http: TlsAcceptor,
    pub(crate) mechanisms: Mechanisms,
}

/// The certificate in force.
pub(crate) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<Certificate>>,
}

impl Certificates {
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let current = RwLock::new(Arc::new(load(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    pub(crate) fn current(&self) -> Arc<Certificate> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the files for ever. A pair that does not load, half replaced perhaps, leaves the old one in force.
    pub(crate) async fn follow(&self) {
        let mut seen = self.content();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.content();
            if now != seen {
                self.replace();
                seen = now;
            }
        }
    }

    fn replace(&self) {
        match load(&self.certificate, &self.key) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(certificate = %self.certificate.display(), "certificate replaced");
            }
            Err(error) => tracing::error!(error = %error, "new certificate refused, the old one stays"),
        }
    }

    /// Two small files; `None` for one that cannot be read now.
    fn content(&self) -> [Option<Vec<u8>>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::read(path).ok())
    }
}

/// Fails with F0000 naming the file where a file cannot be read, or where the key is not the certificate's.
fn load(certificate: &Path, key: &Path) -> Result<Certificate> {
    let chain_pem = read(certificate, "certificate")?;
    let chain = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| broken(certificate, "certificate").with_source(e))?;
    if chain.is_empty() {
        return Err(broken(certificate, "certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key, "key")?).map_err(|e| broken(key, "key").with_source(e))?;
    // The provider is named, not looked up: a process-wide default would be a global someone else can set.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("ring speaks no TLS version").with_source(e))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| broken(key, "key").with_source(e))?;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let mut http = config.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mechanisms = Mechanisms::bound_to(&chain_pem);
    let (acceptor, http) = (TlsAcceptor::from(Arc::new(config)), TlsAcceptor::from(Arc::new(http)));
    Ok(Certificate { acceptor, http, mechanisms })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|e| Error::new(Kind::Config, format!("cannot read {what} {}: {e}", path.display())).with_source(e))
}

fn broken(path: &Path, what: &str) -> Error {
    Error::new(Kind::Config, format!("{} holds no usable {what}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fresh self-signed pair for `localhost` in a folder of its own.
    pub(crate) fn pair() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (folder, certificate, key)
    }

    #[test]
    fn a_pair_that_does_not_belong_together_is_refused_at_start() {
        let (_one, certificate, key) = pair();
        let (_two, _, other) = pair();
        assert!(load(&certificate, &key).is_ok());
        for (certificate, key) in [(&certificate, &other), (&key, &key), (&certificate, &certificate)] {
            let error = load(certificate, key).err().expect("not a pair");
            assert_eq!(error.kind(), Kind::Config, "{error:?}");
        }
        let missing = load(Path::new("/nonexistent.pem"), &key).err().expect("no such file");
        assert!(missing.message().contains("/nonexistent.pem"), "{missing:?}");
    }

    #[test]
    fn a_broken_pair_leaves_the_old_one_in_force() {
        let (_one, certificate, key) = pair();
        let (_two, other_certificate, other_key) = pair();
        let certificates = Certificates::load(&certificate, &key).unwrap();
        let first = certificates.current();
        std::fs::copy(&other_certificate, &certificate).unwrap();
        certificates.replace();
        assert!(Arc::ptr_eq(&certificates.current(), &first), "half replaced");
        std::fs::copy(&other_key, &key).unwrap();
        certificates.replace();
        assert!(!Arc::ptr_eq(&certificates.current(), &first));
    }
}
