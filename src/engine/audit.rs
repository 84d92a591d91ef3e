//! One line for each outcome: who asked, what was read under which rules, how it ended. Never row values or literals: a
//! statement is named by the fingerprint of its shape. Whoever learns something of a statement tells its record; only the
//! session ends one, so that there is one line whatever the way it ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::advice::{self, Parts};
use super::pipeline::Ready;
use super::provenance::{Answered, Log, Seen, Statement};
use super::{Shared, micros_now};
use crate::error::Error;
use crate::policy::Principal;
use crate::telemetry::metrics as names;

/// The kind of a statement that was refused before it was known what it is.
pub(crate) const UNREAD: &str = "unread";

/// A statement under way. [`Record::done`] or [`Record::failed`] writes its line; dropped before, it says that the client
/// went away.
#[derive(Debug)]
pub(crate) struct Record {
    user: String,
    /// In whose place; empty for its own.
    acts_for: String,
    kind: &'static str,
    shape: u64,
    /// Of the policy that it was judged by.
    generation: u64,
    /// `schema.table:class` of everything opened, and the lines that fired.
    tables: BTreeSet<String>,
    lines: BTreeSet<String>,
    target: String,
    cache: &'static str,
    /// Reflections that answered, and by how much the oldest was behind.
    reflections: BTreeSet<String>,
    staleness_ms: i64,
    started: Instant,
    pub(crate) rows: u64,
    has_ended: bool,
    /// What its client may ask for it by.
    id: Option<Uuid>,
    /// Of one that reads a table.
    trace: Option<Box<Trace>>,
}

/// What is kept of it when it is over.
#[derive(Debug)]
struct Trace {
    log: Arc<Log>,
    advice: Arc<advice::Log>,
    text: Arc<str>,
    saw: Vec<Seen>,
    answered: Vec<Answered>,
    staleness: Option<i64>,
    parts: Parts,
}

impl Record {
    /// `generation`: of the policy in force.
    pub(crate) fn begin(principal: &Principal, generation: u64) -> Self {
        Self {
            user: principal.user().to_string(),
            acts_for: principal.acts_for().unwrap_or_default().to_string(),
            kind: UNREAD,
            shape: 0,
            generation,
            tables: BTreeSet::new(),
            lines: BTreeSet::new(),
            target: String::new(),
            cache: "no",
            reflections: BTreeSet::new(),
            staleness_ms: 0,
            started: Instant::now(),
            rows: 0,
            has_ended: false,
            id: None,
            trace: None,
        }
    }

    pub(crate) fn kind(&mut self, kind: &'static str) {
        self.kind = kind;
    }

    /// As [`shape`] gives it.
    pub(crate) fn shape(&mut self, shape: u64) {
        self.shape = shape;
    }

    /// It reads a table, and what it saw can be asked for once it is over, by the id that is given.
    pub(crate) fn trace(&mut self, shared: &Shared, text: &Arc<str>) -> Uuid {
        self.trace = Some(Box::new(Trace {
            log: Arc::clone(&shared.provenance),
            advice: Arc::clone(&shared.advice),
            text: Arc::clone(text),
            saw: vec![],
            answered: vec![],
            staleness: None,
            parts: Parts::default(),
        }));
        self.id()
    }

    fn id(&mut self) -> Uuid {
        *self.id.get_or_insert_with(Uuid::now_v7)
    }

    /// The guard let its query pass under the policy of `generation`. Answered from the result cache (`hit`), asked there in
    /// vain (`miss`), not asked though it could be (`off`), or not of a kind that is kept (`no`).
    pub(crate) fn judged(&mut self, ready: &Ready, generation: u64) {
        let opened = ready.guarded.opened();
        self.tables.extend(opened.iter().map(|o| format!("{}:{}", o.name, o.grant.class())));
        self.lines.extend(opened.iter().flat_map(|o| o.grant.fired.iter().map(ToString::to_string)));
        self.cache = ready.cache;
        self.reflections.extend(ready.used.answering());
        self.staleness_ms = ready.used.staleness().unwrap_or(0) / 1_000;
        self.generation = generation;
        if let Some(trace) = &mut self.trace {
            let answered = ready.used.answered().map(|(reflection, made_at)| Answered {
                name: reflection.name.clone(),
                bases: reflection.bases.clone(),
                made_at,
            });
            (trace.saw, trace.answered) = (ready.saw.clone(), answered.collect());
            trace.staleness = ready.used.staleness();
            trace.parts = ready.parts.clone();
        }
    }

    /// What it writes to, makes or drops.
    pub(crate) fn target(&mut self, target: impl Into<String>) {
        self.target = target.into();
    }

    pub(crate) fn done(mut self) {
        self.end("ok", "00000");
    }

    pub(crate) fn failed(mut self, error: &Error) {
        self.end("error", error.kind().sqlstate());
    }

    /// Nothing has come of it yet: it was prepared, and each of its executions has a record of its own.
    pub(crate) fn not_yet(mut self) {
        self.has_ended = true;
    }

    fn end(&mut self, outcome: &'static str, sqlstate: &'static str) {
        self.has_ended = true;
        let elapsed = self.started.elapsed();
        #[cfg(test)]
        told::note(self, outcome, sqlstate);
        metrics::counter!(names::QUERIES, "outcome" => if outcome == "error" { sqlstate } else { outcome })
            .increment(1);
        metrics::histogram!(names::QUERY_SECONDS).record(elapsed.as_secs_f64());
        let id = self.id();
        tracing::info!(
            target: "audit",
            query_id = %id,
            user = self.user,
            acts_for = self.acts_for,
            kind = self.kind,
            statement = format_args!("{:016x}", self.shape),
            generation = self.generation,
            tables = listed(&self.tables),
            lines = listed(&self.lines),
            written = self.target,
            cache = self.cache,
            reflections = listed(&self.reflections),
            staleness_ms = self.staleness_ms,
            outcome,
            sqlstate,
            rows = self.rows,
            duration_ms = elapsed.as_millis() as u64,
            "statement"
        );
        if let Some(trace) = self.trace.take() {
            let Trace { log, advice, text, saw, answered, staleness, parts } = *trace;
            let micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
            if outcome == "ok" {
                advice.note(parts, elapsed.as_micros() as u64);
            }
            log.keep(Statement {
                id,
                user: std::mem::take(&mut self.user),
                acts_for: std::mem::take(&mut self.acts_for),
                started_at: micros_now().saturating_sub(micros),
                micros,
                kind: self.kind,
                text,
                outcome,
                sqlstate,
                rows: self.rows,
                cache: self.cache,
                saw,
                answered,
                staleness,
            });
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end("abandoned", "57014");
        }
    }
}

fn listed(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
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

/// The lines that a test's thread wrote: a subscriber of one thread may miss some while those of others come and go.
#[cfg(test)]
pub(crate) mod told {
    use std::cell::RefCell;

    use super::{Record, listed};

    thread_local! {
        static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// `kind outcome sqlstate rows tables generation`.
    pub(super) fn note(record: &Record, outcome: &str, sqlstate: &str) {
        let (kind, rows, tables) = (record.kind, record.rows, listed(&record.tables));
        let line = format!("{kind} {outcome} {sqlstate} {rows} {tables} {}", record.generation);
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    pub(crate) fn take() -> Vec<String> {
        LINES.take()
    }
}
