//! Whom a source's certificate must be signed by. It makes no connection.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Config, Tls};
use crate::error::{Error, Kind, Result};

/// `None`: in the clear.
pub(super) fn connector(source: &str, config: &Config) -> Result<Option<MakeRustlsConnect>> {
    if config.tls == Tls::Off {
        return Ok(None);
    }
    let fault =
        |what: &str, error: String| Error::new(Kind::Config, format!("source \"{source}\": {what}")).with_source(error);
    let mut roots = RootCertStore::empty();
    match &config.tls_ca_file {
        Some(file) => {
            let unreadable = |e: rustls::pki_types::pem::Error| fault("`tls_ca_file` cannot be read", e.to_string());
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                let added = roots.add(certificate.map_err(unreadable)?);
                added.map_err(|e| fault("`tls_ca_file` holds a certificate that cannot be used", e.to_string()))?;
            }
        }
        None => {
            // Some certificates of a system may be unusable; the others are trusted all the same.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(fault("there is no certificate to trust; set `tls_ca_file`", "no roots".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|e| fault("TLS cannot be set up", e.to_string()))?;
    Ok(Some(MakeRustlsConnect::new(client.with_root_certificates(roots).with_no_client_auth())))
}
