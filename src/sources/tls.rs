//! Whom a source's certificate must be signed by, in the words of its file. It makes no connection.

use std::path::Path;

use rustls::ClientConfig;

use crate::error::Result;

/// As [`crate::tls::client`], for the source of this name.
pub(super) fn client(source: &str, key: &str, ca_file: Option<&Path>) -> Result<ClientConfig> {
    crate::tls::client(&format!("source \"{source}\""), key, ca_file)
}
