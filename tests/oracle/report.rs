//! Counts of a run: how many cases, of what kinds, with what end. A run whose statements are mostly refused shows
//! nothing, and says so.

use std::collections::BTreeMap;
use std::fmt;

use super::query::Statement;

/// How a case ended in which nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Rows,
    Empty,
    /// An error of visible data, the same in all worlds.
    Error,
    /// A table or column that the user has no right to.
    Denied,
    /// The engine does not know the statement; whoever asks.
    Refused,
    /// The engine failed in one of the worlds: a fault of its own, and no answer.
    Internal,
    /// Let pass until what mends it is merged.
    KnownOpen,
}

const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Rows, "rows"),
    (Outcome::Empty, "no rows"),
    (Outcome::Error, "errors of data"),
    (Outcome::Denied, "denied"),
    (Outcome::Refused, "refused"),
    (Outcome::Internal, "internal errors"),
    (Outcome::KnownOpen, "known open"),
];

#[derive(Default)]
pub struct Report {
    by_kind: BTreeMap<&'static str, BTreeMap<Outcome, usize>>,
    all: BTreeMap<Outcome, usize>,
    /// What refused statements were told, how often, and one of them.
    refusals: BTreeMap<String, (usize, String)>,
}

/// Above these the run shows too little.
const REFUSED_PERCENT_MAX: usize = 20;
const INTERNAL_PERCENT_MAX: usize = 3;

impl Report {
    /// One case is one user's reading of one statement.
    pub fn count(&mut self, statement: &Statement, outcome: Outcome, cases: usize) {
        *self.all.entry(outcome).or_default() += cases;
        let plain = ["single table"];
        let kinds = statement.kinds.iter().chain(plain.iter().filter(|_| statement.kinds.is_empty()));
        for kind in kinds {
            *self.by_kind.entry(kind).or_default().entry(outcome).or_default() += cases;
        }
    }

    pub fn refuse(&mut self, told: &str, sql: &str) {
        self.refusals.entry(told.chars().take(60).collect()).or_insert((0, sql.to_string())).0 += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (outcome, cases) in other.all {
            *self.all.entry(outcome).or_default() += cases;
        }
        for (kind, outcomes) in other.by_kind {
            for (outcome, cases) in outcomes {
                *self.by_kind.entry(kind).or_default().entry(outcome).or_default() += cases;
            }
        }
        for (code, (cases, sql)) in other.refusals {
            self.refusals.entry(code).or_insert((0, sql)).0 += cases;
        }
    }

    pub fn cases(&self) -> usize {
        self.all.values().sum()
    }

    fn of(&self, outcome: Outcome) -> usize {
        self.all.get(&outcome).copied().unwrap_or_default()
    }

    /// Fails where too little was asked in truth.
    pub fn means_something(&self) {
        let refused = self.of(Outcome::Refused) * 100;
        assert!(refused <= REFUSED_PERCENT_MAX * self.cases(), "too many are refused\n{self}");
        let internal = self.of(Outcome::Internal) * 100;
        assert!(internal <= INTERNAL_PERCENT_MAX * self.cases(), "too many fail inside\n{self}");
        assert!(self.of(Outcome::Rows) * 4 >= self.cases(), "too few give rows\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |outcomes: &BTreeMap<Outcome, usize>| {
            let told = OUTCOMES.iter().filter_map(|(o, name)| Some(format!("{} {name}", outcomes.get(o)?)));
            told.collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "{} cases: {}", self.cases(), line(&self.all))?;
        for (kind, outcomes) in &self.by_kind {
            writeln!(f, "  {kind:14} {}", line(outcomes))?;
        }
        for (code, (cases, sql)) in &self.refusals {
            writeln!(f, "  {code}: {cases}, such as {sql}")?;
        }
        Ok(())
    }
}
