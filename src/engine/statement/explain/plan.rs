//! What EXPLAIN shows: a tree of PostgreSQL's kinds of node, and what became of each where the query was run. It prints
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;

pub(super) struct Plan {
    pub(super) root: Node,
    /// Somewhere in it stands a barrier.
    pub(super) is_restricted: bool,
    pub(super) planning: Duration,
    /// Where it was run.
    pub(super) execution: Option<Duration>,
}

/// One node, with what stands below it.
pub(super) struct Node {
    /// `Seq Scan`, `Hash Join`.
    pub(super) kind: &'static str,
    /// The strategy of an Aggregate, for JSON; the kind says it in text.
    pub(super) strategy: Option<&'static str>,
    pub(super) join: Option<&'static str>,
    pub(super) scan: Option<Scanned>,
    pub(super) startup: f64,
    pub(super) total: f64,
    pub(super) rows: f64,
    pub(super) width: usize,
    pub(super) actual: Option<Actual>,
    /// Columns that it gives, for VERBOSE.
    pub(super) output: Vec<String>,
    /// `Filter`, `Sort Key` …; lists are shown as such in JSON.
    pub(super) details: Vec<(&'static str, Detail)>,
    pub(super) children: Vec<Child>,
    /// What its source is asked, for VERBOSE.
    pub(super) remote: Option<String>,
    /// Whose metrics are its own, unless they are a barrier's.
    pub(super) source: Option<Arc<dyn ExecutionPlan>>,
}

pub(super) enum Scanned {
    /// Below it stands a policy: its own name is all there is to say.
    Restricted(String),
    Table {
        schema: String,
        table: String,
    },
    Named(String),
}

pub(super) enum Detail {
    One(String),
    List(Vec<String>),
}

pub(super) struct Child {
    /// `InitPlan 1 (returns $0)`.
    pub(super) label: Option<String>,
    pub(super) relationship: &'static str,
    pub(super) node: Node,
}

#[derive(Clone, Copy)]
pub(super) struct Actual {
    pub(super) startup: Duration,
    pub(super) total: Duration,
    pub(super) rows: usize,
}

impl Plan {
    pub(super) fn new(root: Node, is_restricted: bool) -> Self {
        Self { root, is_restricted, planning: Duration::ZERO, execution: None }
    }

    /// It gave so many rows in that time; its nodes know the rest.
    pub(super) fn ran(&mut self, rows: usize, took: Duration) {
        self.root.measure();
        if !self.root.is_barrier() {
            let top = self.root.actual.get_or_insert(Actual { startup: took, total: took, rows });
            top.rows = rows;
        }
        self.execution = Some(took);
    }

    /// Times as multiples of `tick`.
    pub(super) fn round(&mut self, tick: Duration) {
        self.planning = rounded(self.planning, tick);
        self.execution = self.execution.map(|took| rounded(took, tick));
        self.root.round(tick);
    }
}

impl Node {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            strategy: None,
            join: None,
            scan: None,
            startup: 0.0,
            total: 0.0,
            rows: 1.0,
            width: 0,
            actual: None,
            output: vec![],
            details: vec![],
            children: vec![],
            remote: None,
            source: None,
        }
    }

    pub(super) fn is_barrier(&self) -> bool {
        matches!(self.scan, Some(Scanned::Restricted(_)))
    }

    /// Times are those of the processors, over all threads; a node's include those of the nodes below it.
    fn measure(&mut self) {
        self.children.iter_mut().for_each(|child| child.node.measure());
        if self.is_barrier() {
            return;
        }
        let below: Duration = self.children.iter().filter_map(|c| c.node.actual).map(|actual| actual.total).sum();
        let metrics = self.source.as_ref().and_then(|source| source.metrics());
        let own = metrics.as_ref().and_then(|m| m.elapsed_compute()).unwrap_or_default();
        let own = Duration::from_nanos(u64::try_from(own).unwrap_or(u64::MAX));
        let rows = match metrics.as_ref().and_then(|m| m.output_rows()) {
            Some(rows) => rows,
            // a node of ours over another one's rows
            None => match self.children.first().and_then(|child| child.node.actual) {
                Some(actual) => actual.rows,
                None => return,
            },
        };
        let total = own.saturating_add(below);
        let waits = matches!(self.kind, "Sort" | "Aggregate" | "HashAggregate" | "Hash");
        self.actual = Some(Actual { startup: if waits { total } else { Duration::ZERO }, total, rows });
    }

    fn round(&mut self, tick: Duration) {
        if let Some(actual) = &mut self.actual {
            actual.startup = rounded(actual.startup, tick);
            actual.total = rounded(actual.total, tick);
        }
        self.children.iter_mut().for_each(|child| child.node.round(tick));
    }

    pub(super) fn detail(&mut self, name: &'static str, text: Option<String>) {
        self.details.extend(text.map(|text| (name, Detail::One(text))));
    }

    pub(super) fn list(&mut self, name: &'static str, texts: Option<Vec<String>>) {
        self.details.extend(texts.filter(|texts| !texts.is_empty()).map(|texts| (name, Detail::List(texts))));
    }
}

fn rounded(time: Duration, tick: Duration) -> Duration {
    let ticks = (time.as_secs_f64() / tick.as_secs_f64()).round();
    Duration::try_from_secs_f64(ticks * tick.as_secs_f64()).unwrap_or(time)
}
