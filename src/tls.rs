//! Whom a server's certificate must be signed by, wherever we are the client. It makes no connection.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Kind, Result};

/// Trusts what `ca_file` holds, the system's certificates where there is none. `whose` begins the error's message; `key` is
/// what the file calls `ca_file`.
pub(crate) fn client(whose: &str, key: &str, ca_file: Option<&Path>) -> Result<ClientConfig> {
    let fault = |what: &str, error: String| Error::new(Kind::Config, format!("{whose}: {what}")).with_source(error);
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let unreadable =
                |e: rustls::pki_types::pem::Error| fault(&format!("`{key}` cannot be read"), e.to_string());
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                let added = roots.add(certificate.map_err(unreadable)?);
                added.map_err(|e| fault(&format!("`{key}` holds a certificate that cannot be used"), e.to_string()))?;
            }
        }
        None => {
            // Some certificates of a system may be unusable; the others are trusted all the same.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(fault(&format!("there is no certificate to trust; set `{key}`"), "no roots".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|e| fault("TLS cannot be set up", e.to_string()))?;
    Ok(client.with_root_certificates(roots).with_no_client_auth())
}
