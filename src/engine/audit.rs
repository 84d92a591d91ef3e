//! One line per statement: who, which tables under which rules, outcome. Never row values or literals: a statement is
//! named by the fingerprint of its shape.

use std::time::Instant;

use crate::error::Error;
use crate::policy::Guarded;
use crate::telemetry::metrics as names;

/// A statement under way; [`Record::done`] or [`Record::failed`] writes its line. Dropped before: the client went away.
#[derive(Debug)]
pub(crate) struct Record {
    user: String,
    kind: &'static str,
    statement: u64,
    generation: u64,
    /// `schema.table:class` of everything opened, and the lines that fired.
    tables: String,
    lines: String,
    cache: &'static str,
    started: Instant,
    pub(crate) rows: u64,
    written: bool,
}

impl Record {
    pub(crate) fn new(user: &str, kind: &'static str, shape: u64, generation: u64) -> Self {
        Self {
            user: user.to_string(),
            kind,
            statement: shape,
            generation,
            tables: String::new(),
            lines: String::new(),
            cache: "no",
            started: Instant::now(),
            rows: 0,
            written: false,
        }
    }

    pub(crate) fn opened(mut self, guarded: &Guarded) -> Self {
        let mut tables: Vec<String> =
            guarded.opened().iter().map(|o| format!("{}:{}", o.name, o.grant.class())).collect();
        tables.sort();
        tables.dedup();
        let mut lines: Vec<String> =
            guarded.opened().iter().flat_map(|o| o.grant.fired.iter().map(ToString::to_string)).collect();
        lines.sort();
        lines.dedup();
        self.tables = tables.join(" ");
        self.lines = lines.join(" ");
        self
    }

    /// Answered from the result cache (`hit`), asked there in vain (`miss`), not asked though it could be (`off`), or not
    /// of a kind that is kept (`no`).
    pub(crate) fn cache(mut self, used: &'static str) -> Self {
        self.cache = used;
        self
    }

    /// A write names its target.
    pub(crate) fn target(mut self, table: &str) -> Self {
        self.tables = table.to_string();
        self
    }

    pub(crate) fn done(mut self) {
        self.write("ok", "00000");
    }

    pub(crate) fn failed(mut self, error: &Error) {
        self.write("error", error.kind().sqlstate());
    }

    fn write(&mut self, outcome: &'static str, sqlstate: &'static str) {
        self.written = true;
        let elapsed = self.started.elapsed();
        metrics::counter!(names::QUERIES, "outcome" => if outcome == "error" { sqlstate } else { outcome })
            .increment(1);
        metrics::histogram!(names::QUERY_SECONDS).record(elapsed.as_secs_f64());
        tracing::info!(
            target: "audit",
            user = self.user,
            kind = self.kind,
            statement = format_args!("{:016x}", self.statement),
            generation = self.generation,
            tables = self.tables,
            lines = self.lines,
            cache = self.cache,
            outcome,
            sqlstate,
            rows = self.rows,
            duration_ms = elapsed.as_millis() as u64,
            "statement"
        );
    }
}

/// The text without its literals: equal for two runs of one dashboard tile, and safe to log.
pub(crate) fn shape(sql: &str) -> u64 {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for token in Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default() {
        match token {
            Token::Whitespace(_) => {}
            Token::Word(word) => hash.update(word.value.to_lowercase().as_bytes()),
            Token::Comma | Token::LParen | Token::RParen | Token::Eq | Token::Mul => {
                hash.update(token.to_string().as_bytes())
            }
            _ => hash.update(b"?"),
        }
    }
    hash.digest()
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.written {
            self.write("abandoned", "57014");
        }
    }
}
