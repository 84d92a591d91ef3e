//! Sections whose modules have no `Config` of their own yet. Each moves to its module as that lands.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[metastore]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metastore {
    pub path: PathBuf,
    pub busy_timeout_ms: u64,
}

impl Default for Metastore {
    fn default() -> Self {
        Self { path: "lakegate.db".into(), busy_timeout_ms: 5_000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    Require,
    Allow,
    Off,
}

/// `[wire]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wire {
    pub listen: Vec<SocketAddr>,
    pub http_listen: Option<SocketAddr>,
    pub tls: Option<Tls>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub connections_max: usize,
    pub drain_ms: u64,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5432))],
            http_listen: None,
            tls: None,
            certificate: None,
            key: None,
            connections_max: 10_000,
            drain_ms: 30_000,
        }
    }
}

impl Wire {
    pub fn tls_mode(&self) -> Tls {
        self.tls.unwrap_or(if self.certificate.is_some() { Tls::Require } else { Tls::Off })
    }

    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.certificate.is_some() != self.key.is_some() {
            faults.push("`certificate` and `key` belong together".to_string());
        }
        if self.tls_mode() != Tls::Off && self.certificate.is_none() {
            faults.push("`tls` needs `certificate` and `key`".to_string());
        }
        faults
    }
}

/// `[engine]`: what one process and one statement may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// The process's pool; 70 % of the control group's or the machine's memory.
    pub memory_bytes: Option<u64>,
    /// A statement's share of it; a quarter.
    pub statement_memory_bytes: Option<u64>,
    /// Where operators spill; the system's temporary directory.
    pub spill_dir: Option<PathBuf>,
    pub spill_bytes_max: u64,
    /// Statements that run at once; twice the cores.
    pub running_max: Option<usize>,
    pub queued_max: usize,
    pub queue_timeout_ms: u64,
    /// The most a client may set `statement_timeout` to, and its value at login; 0 is no limit.
    pub statement_timeout_ms_max: u64,
    /// Iceberg metadata, manifests and file footers kept between statements.
    pub metadata_cache_bytes: u64,
    pub statement: Statement,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            statement_memory_bytes: None,
            spill_dir: None,
            spill_bytes_max: 50 << 30,
            running_max: None,
            queued_max: 1_000,
            queue_timeout_ms: 30_000,
            statement_timeout_ms_max: 0,
            metadata_cache_bytes: 256 << 20,
            statement: Statement::default(),
        }
    }
}

/// `[engine.statement]`: what is refused before it is planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Statement {
    pub statement_bytes_max: usize,
    pub nodes_max: usize,
    pub depth_max: usize,
    pub chain_max: usize,
    pub plan_nodes_max: usize,
    pub planning_timeout_ms: u64,
}

impl Default for Statement {
    fn default() -> Self {
        Self {
            statement_bytes_max: 1 << 20,
            nodes_max: 50_000,
            depth_max: 128,
            chain_max: 1_000,
            plan_nodes_max: 10_000,
            planning_timeout_ms: 5_000,
        }
    }
}

impl Engine {
    /// Fills in what follows from the machine.
    pub fn settle(&mut self, memory_bytes: u64, cores: usize) {
        let pool = *self.memory_bytes.get_or_insert(memory_bytes / 10 * 7);
        self.statement_memory_bytes.get_or_insert(pool / 4);
        self.running_max.get_or_insert(cores * 2);
    }

    /// Contradictions, all at once. Asked after [`Engine::settle`].
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut claim = |holds: bool, text: &str| {
            if !holds {
                faults.push(text.to_string());
            }
        };
        let pool = self.memory_bytes.unwrap_or(u64::MAX);
        claim(pool >= 64 << 20, "`memory_bytes` is below 64 MiB");
        claim(
            self.statement_memory_bytes.is_none_or(|share| share <= pool),
            "`statement_memory_bytes` is above `memory_bytes`",
        );
        claim(self.metadata_cache_bytes < pool, "`metadata_cache_bytes` leaves nothing of `memory_bytes`");
        claim(self.running_max != Some(0), "`running_max` is 0");
        faults
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `warn`, `info,lakegate::engine=debug`, …
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_string(), format: LogFormat::Text }
    }
}
