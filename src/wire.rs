//! The doors: what listens, within which limits, and how it ends. Bytes in, bytes out.
//! It knows no SQL, no table and no policy; whatever is asked goes through [`crate::engine`].

mod auth;
pub mod http;
mod listen;
pub mod pg;
mod slots;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::KeptLimits;
use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// What is done with clients that do not speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// They are refused (28000), cancel requests excepted.
    Require,
    /// Both are served.
    Allow,
    /// No certificate is offered to anyone.
    Off,
}

/// Every limit of the doors. Each bites with an SQLSTATE and a metric, never by ending the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses of the PostgreSQL door.
    pub listen: Vec<SocketAddr>,
    /// Address of `/healthz`, `/readyz`, `/metrics` and `/v1/ingest/PIPELINE`; none by default. `/healthz` answers everybody,
    /// the next two, which name sources and tables, this machine, `http_networks` and whoever sends `Authorization: Bearer`
    /// with the token, and the last one users with their passwords.
    pub http_listen: Option<SocketAddr>,
    /// Networks or addresses that may read all of it, such as Prometheus's and the orchestrator's.
    pub http_networks: Vec<http::Network>,
    /// The file that holds the token; LAKEGATE_HTTP_TOKEN is used instead where it is set. No token by default.
    pub http_token_file: Option<PathBuf>,
    /// Read from one of them by `config`.
    #[serde(skip_deserializing, serialize_with = "secret::redacted")]
    pub http_token: Option<Secret<Vec<u8>>>,
    /// `require` when a certificate is configured, else `off`.
    pub tls: Option<Tls>,
    /// PEM chain, the server's certificate first.
    pub certificate: Option<PathBuf>,
    /// PEM private key of the first certificate.
    pub key: Option<PathBuf>,

    // --- before login
    /// Largest startup packet.
    pub startup_bytes_max: usize,
    /// Largest password or SASL message.
    pub auth_bytes_max: usize,
    /// For the whole login, TLS included.
    pub startup_timeout_ms: u64,
    /// Connections that have not logged in yet, in all and from one address.
    pub pending_max: usize,
    pub pending_per_ip_max: usize,
    /// Failed logins of one user from one address before further tries are delayed.
    pub login_failures_per_minute_max: u32,
    /// Cancel requests with a wrong key from one address before further ones are not even looked at.
    pub failed_cancels_per_second_max: u32,

    // --- after login
    pub connections_max: usize,
    pub connections_per_user_max: usize,
    /// 0: never.
    pub idle_timeout_ms: u64,
    pub idle_in_transaction_timeout_ms: u64,
    /// A suspended portal is released after this long without a fetch.
    pub portal_idle_timeout_ms: u64,
    /// Largest message of a logged-in client.
    pub message_bytes_max: usize,
    /// Messages read ahead of the running statement.
    pub read_ahead_max: usize,
    /// Statements in one simple Query.
    pub statements_per_query_max: usize,
    /// Prepared statements of a session, by Parse and by SQL's PREPARE together.
    pub prepared_max: usize,
    pub portals_max: usize,
    /// Texts and names of prepared statements, names and parameters of portals and texts of remembered plans of a session,
    /// together.
    pub prepared_bytes_max: usize,
    /// A client that takes no byte for this long is let go.
    pub write_timeout_ms: u64,
    /// A cancelled statement may take this long to say so itself before it is dropped.
    pub cancel_grace_ms: u64,
    /// At shutdown running statements may take this long.
    pub drain_ms: u64,

    // --- the HTTP door
    /// In all and from one address.
    pub http_connections_max: usize,
    pub http_connections_per_ip_max: usize,
    /// From the connection's first byte to the answer's last; each connection carries one request.
    pub http_request_timeout_ms: u64,
    /// A request line and its headers. Bodies are for pipelines alone, which say how large they may be.
    pub http_header_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5432))],
            http_listen: None,
            http_networks: Vec::new(),
            http_token_file: None,
            http_token: None,
            tls: None,
            certificate: None,
            key: None,
            startup_bytes_max: 10_000,
            auth_bytes_max: 1_024,
            startup_timeout_ms: 10_000,
            pending_max: 1_000,
            pending_per_ip_max: 200,
            login_failures_per_minute_max: 5,
            failed_cancels_per_second_max: 10,
            connections_max: 10_000,
            connections_per_user_max: 500,
            idle_timeout_ms: 0,
            idle_in_transaction_timeout_ms: 600_000,
            portal_idle_timeout_ms: 600_000,
            message_bytes_max: 16 << 20,
            read_ahead_max: 64,
            statements_per_query_max: 1_000,
            prepared_max: KeptLimits::default().prepared_max,
            portals_max: 100,
            prepared_bytes_max: KeptLimits::default().bytes_max,
            write_timeout_ms: 300_000,
            cancel_grace_ms: 1_000,
            drain_ms: 30_000,
            http_connections_max: 200,
            http_connections_per_ip_max: 50,
            http_request_timeout_ms: 10_000,
            http_header_bytes_max: 16 << 10,
        }
    }
}

impl Config {
    /// What is true where `tls` was not written.
    pub fn tls_mode(&self) -> Tls {
        self.tls.unwrap_or(if self.certificate.is_some() { Tls::Require } else { Tls::Off })
    }

    /// Contradictions, all at once; empty when the doors can be bound. Reads no file.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut claim = |holds: bool, text: &str| {
            if !holds {
                faults.push(text.to_string());
            }
        };
        claim(!self.listen.is_empty(), "`listen` names no address");
        claim(self.certificate.is_some() == self.key.is_some(), "`certificate` and `key` belong together");
        claim(self.tls_mode() == Tls::Off || self.certificate.is_some(), "`tls` needs `certificate` and `key`");
        claim(self.startup_bytes_max >= 64, "`startup_bytes_max` is below 64, no startup packet fits");
        claim(self.auth_bytes_max >= 256, "`auth_bytes_max` is below 256, no SCRAM message fits");
        claim(self.message_bytes_max >= 1_024, "`message_bytes_max` is below 1024");
        claim(self.message_bytes_max < 1 << 30, "`message_bytes_max` is not below 1 GiB, the protocol's own limit");
        claim(self.pending_per_ip_max <= self.pending_max, "`pending_per_ip_max` is above `pending_max`");
        claim(self.http_header_bytes_max >= 256, "`http_header_bytes_max` is below 256, no request fits");
        for (name, value) in [
            ("startup_timeout_ms", self.startup_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("pending_max", self.pending_max as u64),
            ("pending_per_ip_max", self.pending_per_ip_max as u64),
            ("connections_max", self.connections_max as u64),
            ("connections_per_user_max", self.connections_per_user_max as u64),
            ("read_ahead_max", self.read_ahead_max as u64),
            ("portals_max", self.portals_max as u64),
            ("prepared_max", self.prepared_max as u64),
            ("http_connections_max", self.http_connections_max as u64),
            ("http_connections_per_ip_max", self.http_connections_per_ip_max as u64),
            ("http_request_timeout_ms", self.http_request_timeout_ms),
        ] {
            claim(value > 0, &format!("`{name}` is 0"));
        }
        faults
    }

    fn settled(&self) -> Result<&Self> {
        match self.faults() {
            faults if faults.is_empty() => Ok(self),
            faults => Err(Error::new(Kind::Config, format!("[wire]: {}", faults.join("; ")))),
        }
    }
}

/// A limit in milliseconds as a wait; 0 is no limit.
fn limit_ms(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_together() {
        assert_eq!(Config::default().faults(), Vec::<String>::new());
        assert_eq!(Config::default().tls_mode(), Tls::Off);
    }

    #[test]
    fn a_certificate_makes_tls_required() {
        let config: Config = toml::from_str("certificate = 'c.pem'\nkey = 'k.pem'").unwrap();
        assert_eq!((config.tls_mode(), config.faults().len()), (Tls::Require, 0));
    }

    #[test]
    fn contradictions_are_all_named_at_once() {
        let config: Config = toml::from_str("tls = 'require'\npending_max = 10\nportals_max = 0").unwrap();
        let faults = config.faults().join("\n");
        for part in ["certificate", "pending_per_ip_max", "portals_max"] {
            assert!(faults.contains(part), "{part} is missing in {faults}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<Config>("drain = 5").unwrap_err();
        assert!(error.message().contains("unknown field `drain`"), "{error}");
    }
}
