//! Talks to `peer.py`, the process in which the peers of Python live. It measures nothing: the answers tell their times.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::measure::Taken;

/// Ends with its value.
pub struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start() -> Result<Self> {
        let python = std::env::var("LAKEGATE_TEST_PYTHON")
            .context("LAKEGATE_TEST_PYTHON names no Python with DuckDB and PyIceberg; ./x bench makes one")?;
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/journeys/peer.py"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().context("a pipe")?;
        let from = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, to, from })
    }

    pub fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.to, "{question}")?;
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            bail!("the peer failed at {question}; what it said stands above");
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// What it took, by the peer's own clock.
    pub fn time(&mut self, question: &Value) -> Result<Taken> {
        let answer = self.ask(question)?;
        let of = |name: &str| answer[name].as_f64().context("an answer without its times");
        Ok(Taken { seconds: of("seconds")?, cpu: of("cpu")? })
    }

    /// DuckDB's rows as text.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let answer = self.ask(&json!({ "do": "duckdb_query", "sql": sql }))?;
        Ok(serde_json::from_value(answer["rows"].clone())?)
    }

    pub fn version(&mut self, of: &str) -> Result<String> {
        let answer = self.ask(&json!({ "do": "versions" }))?;
        Ok(answer[of].as_str().unwrap_or("unknown").to_string())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
