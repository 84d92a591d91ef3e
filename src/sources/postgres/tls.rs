//! What a source's file says of TLS, as the PostgreSQL client wants it. It makes no connection.

use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::tls;
use super::{Config, Tls};
use crate::error::Result;

/// `None`: in the clear.
pub(super) fn connector(source: &str, config: &Config) -> Result<Option<MakeRustlsConnect>> {
    match config.tls {
        Tls::Off => Ok(None),
        Tls::Require => {
            let client = tls::client(source, "tls_ca_file", config.tls_ca_file.as_deref())?;
            Ok(Some(MakeRustlsConnect::new(client)))
        }
    }
}
