//! A physical plan read as PostgreSQL's kinds of node. Nodes that only move rows between threads are left out, a filter stands
//! with the scan it filters, and an aggregation in two stages is one. Below a barrier it reads nothing, and where there is
//! one, no figure depends on how much data there is (policy.md §9). Costs are PostgreSQL's by their kind, not by their number.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::JoinType;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use super::expression::{first_stage, origin, sort_key, text, text_over};
use super::plan::{Child, Node, Plan, Scanned};
use crate::engine::once::OnceExec;
use crate::policy::Guarded;
use crate::policy::guard::Scan;
use crate::sources::postgres::remote_sql;
use crate::sql::lower::Mark;
use crate::types::TableName;

/// What is not known of a table, as PostgreSQL takes it for one that was never analysed.
const ROWS_UNKNOWN: f64 = 1_000.0;
const GROUPS_MAX: f64 = 200.0;
const FILTERED: f64 = 1.0 / 3.0;
/// cpu_tuple_cost, cpu_operator_cost and seq_page_cost.
const TUPLE: f64 = 0.01;
const OPERATOR: f64 = 0.0025;
const PAGE_BYTES: f64 = 8_192.0;

type Exec = Arc<dyn ExecutionPlan>;

pub(super) fn plan(physical: &Exec, guarded: &Guarded) -> Plan {
    let is_restricted = has_barrier(physical, guarded);
    let reader = Reader { guarded, is_restricted, statistics: StatisticsContext::new(), shared: RefCell::default() };
    let mut root = reader.node(physical);
    // PostgreSQL shows one with the query that it was written in; by then that is not known any more
    let shared = reader.shared.into_inner().into_iter().map(|(mark, node)| Child {
        label: Some(format!("CTE {}", mark.name())),
        relationship: "InitPlan",
        node: node.unwrap_or_else(|| Node::new("Result")),
    });
    let shared: Vec<Child> = shared.collect();
    let cost: f64 = shared.iter().map(|cte| cte.node.total).sum();
    root.startup += cost;
    root.total += cost;
    root.children.splice(0..0, shared);
    Plan::new(root, is_restricted)
}

/// Of a query over no table, which is computed where it is planned.
pub(super) fn one_row(columns: &Schema) -> Plan {
    Plan::new(Node { rows: 1.0, total: TUPLE, width: width(columns), ..Node::new("Result") }, false)
}

/// The node of a statement that changes a table, over the rows that it changes.
pub(super) fn changing(word: &'static str, table: TableName, rows: Node) -> Node {
    let (startup, total) = (rows.startup, rows.total);
    let child = Child { label: None, relationship: "Outer", node: rows };
    let scan = Some(Scanned::Table { schema: table.schema, table: table.table });
    Node { startup, total, rows: 0.0, scan, children: vec![child], ..Node::new(word) }
}

fn has_barrier(node: &Exec, guarded: &Guarded) -> bool {
    matches!(guarded.reads(node), Some(Scan::Restricted(_)))
        || node.children().into_iter().any(|child| has_barrier(child, guarded))
}

struct Reader<'a> {
    guarded: &'a Guarded,
    is_restricted: bool,
    statistics: StatisticsContext,
    /// What is computed once, in the order in which it is met.
    shared: RefCell<Vec<(Mark, Option<Node>)>>,
}

impl Reader<'_> {
    fn node(&self, exec: &Exec) -> Node {
        let mut node = self.read(exec);
        // of a node that was left out the one below it is told already
        if node.source.is_none() {
            node.source = Some(Arc::clone(exec));
            node.width = width(&exec.schema());
            node.rows = self.known_rows(exec).unwrap_or(node.rows);
            if !node.is_barrier() {
                node.output = columns(exec);
            }
        }
        match exec.fetch() {
            Some(fetch) if node.kind != "Limit" => {
                Node { source: Some(Arc::clone(exec)), ..limited(node, Some(fetch)) }
            }
            Some(_) | None => node,
        }
    }

    fn read(&self, exec: &Exec) -> Node {
        if let Some(scan) = self.guarded.reads(exec) {
            return self.scanned(scan, exec);
        }
        if let Some(filter) = exec.downcast_ref::<FilterExec>() {
            return self.filter(filter);
        }
        if let Some(aggregate) = exec.downcast_ref::<AggregateExec>() {
            return self.aggregate(aggregate);
        }
        if let Some(sort) = exec.downcast_ref::<SortExec>() {
            return self.sort(sort);
        }
        if let Some(join) = exec.downcast_ref::<HashJoinExec>() {
            return self.hash_join(join);
        }
        if let Some(join) = exec.downcast_ref::<NestedLoopJoinExec>() {
            let mut node = self.join("Nested Loop", join.left(), join.right(), *join.join_type());
            node.detail("Join Filter", join.filter().and_then(|f| join_filter(f, join.left(), join.right())));
            return node;
        }
        if let Some(join) = exec.downcast_ref::<CrossJoinExec>() {
            return self.join("Nested Loop", join.left(), join.right(), JoinType::Inner);
        }
        if let Some(join) = exec.downcast_ref::<SortMergeJoinExec>() {
            let mut node = self.join("Merge Join", join.left(), join.right(), join.join_type());
            let on = join.on().iter().map(|(l, r)| Some((text(l, join.left())?, text(r, join.right())?)));
            node.detail("Merge Cond", equalities(on));
            return node;
        }
        if let Some(once) = exec.downcast_ref::<OnceExec>() {
            return self.read_again(once, exec);
        }
        if exec.is::<EmptyExec>() {
            let mut node = Node { total: 0.01, ..Node::new("Result") };
            node.detail("One-Time Filter", Some("false".into()));
            return node;
        }
        self.by_name(exec)
    }

    fn read_again(&self, once: &OnceExec, exec: &Exec) -> Node {
        let mark = once.mark();
        let is_known = self.shared.borrow().iter().any(|(known, _)| known == mark);
        if !is_known {
            let at = self.shared.borrow().len();
            self.shared.borrow_mut().push((mark.clone(), None));
            let node = exec.children().first().map(|input| self.node(input));
            if let Some((_, place)) = self.shared.borrow_mut().get_mut(at) {
                *place = node;
            }
        }
        let mut node = leaf("CTE Scan", Some(Scanned::Named(mark.name().to_owned())));
        node.rows = self.known_rows(exec).unwrap_or(node.rows);
        node.total = TUPLE * node.rows;
        node
    }

    fn scanned(&self, scan: Scan, exec: &Exec) -> Node {
        match scan {
            Scan::Restricted(name) => leaf("PolicyScan", Some(Scanned::Restricted(name))),
            Scan::Stored(table, reflection) => {
                let mut node = self.scanned(Scan::Whole(vec![table]), exec);
                // beside a barrier nothing is told that follows from how much data there is
                node.detail("Reflection", (!self.is_restricted).then(|| reflection.to_string()));
                node
            }
            Scan::Whole(mut names) => {
                let remote = remote_sql(exec.as_ref()).filter(|_| !self.is_restricted);
                let table = |name: TableName| Scanned::Table { schema: name.schema, table: name.table };
                let kind = if remote.is_some() { "Foreign Scan" } else { "Seq Scan" };
                let mut node = match names.len() {
                    1 => leaf(kind, names.pop().map(table)),
                    _ => {
                        let mut node = leaf(kind, None);
                        node.list("Relations", Some(names.iter().map(ToString::to_string).collect()));
                        node
                    }
                };
                node.remote = remote.map(str::to_owned);
                node.rows = self.known_rows(exec).unwrap_or(node.rows);
                node.total = TUPLE * node.rows + node.rows * width(&exec.schema()) as f64 / PAGE_BYTES;
                node
            }
        }
    }

    /// By the sources' own statistics, and DataFusion's guesses from them.
    fn known_rows(&self, exec: &Exec) -> Option<f64> {
        if self.is_restricted {
            return None;
        }
        let known = self.statistics.compute(exec.as_ref(), &StatisticsArgs::new()).ok()?;
        known.num_rows.get_value().map(|rows| (*rows as f64).max(1.0))
    }

    /// Kinds that need no more than their name.
    fn by_name(&self, exec: &Exec) -> Node {
        let children = exec.children();
        match (exec.name(), children.as_slice()) {
            ("PlaceholderRowExec", _) => Node { total: TUPLE, ..Node::new("Result") },
            ("DataSourceExec", _) => leaf("Values Scan", Some(Scanned::Named("\"*VALUES*\"".into()))),
            ("LazyMemoryExec", _) => leaf("Function Scan", Some(Scanned::Named("generate_series".into()))),
            ("WorkTableExec", _) => leaf("WorkTable Scan", None),
            ("GlobalLimitExec" | "LocalLimitExec", [input]) => {
                let fetch = match exec.downcast_ref::<GlobalLimitExec>() {
                    Some(limit) => limit.fetch(),
                    None => exec.fetch(),
                };
                limited(self.node(input), fetch)
            }
            ("WindowAggExec" | "BoundedWindowAggExec", [input]) => {
                let mut node = over("WindowAgg", self.node(input));
                node.total += (TUPLE + OPERATOR) * node.rows;
                node
            }
            ("ProjectionExec", [input]) => {
                let mut node = self.node(input);
                if !node.is_barrier() {
                    node.width = width(&exec.schema());
                    node.output = columns(exec);
                }
                node
            }
            ("UnnestExec", [input]) => {
                let mut node = over("ProjectSet", self.node(input));
                node.total += TUPLE * node.rows;
                node
            }
            ("UnionExec" | "InterleaveExec", inputs) => self.together("Append", inputs, "Member"),
            ("RecursiveQueryExec", inputs) => self.together("Recursive Union", inputs, "Outer"),
            ("ScalarSubqueryExec", [input, subqueries @ ..]) => {
                let mut node = self.node(input);
                let plans = subqueries.iter().enumerate().map(|(i, plan)| Child {
                    label: Some(format!("InitPlan {} (returns ${i})", i + 1)),
                    relationship: "InitPlan",
                    node: self.node(plan),
                });
                let plans: Vec<Child> = plans.collect();
                let cost: f64 = plans.iter().map(|plan| plan.node.total).sum();
                node.startup += cost;
                node.total += cost;
                node.children.splice(0..0, plans);
                node
            }
            // what moves rows, holds them or renames them
            (_, [input]) => self.node(input),
            (_, []) => leaf("Scan", None),
            (_, inputs) => self.together("Append", inputs, "Member"),
        }
    }

    fn together(&self, kind: &'static str, inputs: &[&Exec], relationship: &'static str) -> Node {
        let children = inputs.iter().map(|input| Child { label: None, relationship, node: self.node(input) });
        let children: Vec<Child> = children.collect();
        let sum = |of: fn(&Node) -> f64| children.iter().map(|child| of(&child.node)).sum();
        Node { rows: sum(|n| n.rows), total: sum(|n| n.total), children, ..Node::new(kind) }
    }

    /// A predicate stands with the node that it filters. Above a barrier it is a node of its own: what it gives may be
    /// told, what it is given may not.
    fn filter(&self, filter: &FilterExec) -> Node {
        let below = self.node(filter.input());
        let mut node = match &below.scan {
            Some(Scanned::Restricted(name)) => {
                let scan = Some(Scanned::Named(name.clone()));
                Node { scan, ..over("Subquery Scan", below) }
            }
            _ => Node { source: None, ..below },
        };
        node.total += OPERATOR * node.rows;
        node.rows = (node.rows * FILTERED).max(1.0);
        node.detail("Filter", text(filter.predicate(), filter.input()));
        node
    }

    fn aggregate(&self, aggregate: &AggregateExec) -> Node {
        if *aggregate.mode() == AggregateMode::Partial {
            return self.node(aggregate.input());
        }
        let first = first_stage(aggregate);
        let groups = first.group_expr().expr();
        let input = self.node(first.input());
        let (kind, strategy) = match (groups.is_empty(), first.input_order_mode()) {
            (true, _) => ("Aggregate", "Plain"),
            (false, InputOrderMode::Sorted) => ("GroupAggregate", "Sorted"),
            (false, InputOrderMode::Linear | InputOrderMode::PartiallySorted(_)) => ("HashAggregate", "Hashed"),
        };
        let work = OPERATOR * input.rows * (first.aggr_expr().len() + groups.len()) as f64;
        let rows = if groups.is_empty() { 1.0 } else { input.rows.min(GROUPS_MAX) };
        let startup = if strategy == "Sorted" { input.startup } else { input.total + work };
        let mut node = over(kind, input);
        node.strategy = Some(strategy);
        node.startup = startup;
        node.total += work + TUPLE * rows;
        node.rows = rows;
        node.list("Group Key", groups.iter().map(|(key, _)| text(key, first.input())).collect());
        node
    }

    fn sort(&self, sort: &SortExec) -> Node {
        let input = self.node(sort.input());
        let work = 2.0 * OPERATOR * input.rows * input.rows.max(2.0).log2();
        let mut node = over("Sort", input);
        node.startup = node.total + work;
        node.total = node.startup + OPERATOR * node.rows;
        node.list("Sort Key", sort.expr().iter().map(|key| sort_key(key, sort.input())).collect());
        node
    }

    /// DataFusion's left side is the one that is hashed, PostgreSQL's inner one.
    fn hash_join(&self, join: &HashJoinExec) -> Node {
        let hashed = self.node(join.left());
        let hash = Node { startup: hashed.total, total: hashed.total, width: hashed.width, ..over("Hash", hashed) };
        let mut node = joined("Hash Join", self.node(join.right()), hash, join.join_type().swap());
        let on = join.on().iter().map(|(l, r)| Some((text(r, join.right())?, text(l, join.left())?)));
        node.detail("Hash Cond", equalities(on));
        node.detail("Join Filter", join.filter().and_then(|f| join_filter(f, join.left(), join.right())));
        node
    }

    fn join(&self, kind: &'static str, left: &Exec, right: &Exec, join: JoinType) -> Node {
        joined(kind, self.node(left), self.node(right), join)
    }
}

/// What its columns hold.
fn columns(exec: &Exec) -> Vec<String> {
    (0..exec.schema().fields().len()).filter_map(|index| origin(exec, index)).collect()
}

fn leaf(kind: &'static str, scan: Option<Scanned>) -> Node {
    Node { scan, rows: ROWS_UNKNOWN, total: TUPLE * ROWS_UNKNOWN, ..Node::new(kind) }
}

/// A node over one other, which costs what that one does.
fn over(kind: &'static str, input: Node) -> Node {
    let (startup, total, rows, width) = (input.startup, input.total, input.rows, input.width);
    let children = vec![Child { label: None, relationship: "Outer", node: input }];
    Node { startup, total, rows, width, children, ..Node::new(kind) }
}

fn limited(input: Node, fetch: Option<usize>) -> Node {
    if input.kind == "Limit" {
        return input; // of each thread's rows, below the one of all
    }
    let output = input.output.clone();
    let rows = fetch.map_or(input.rows, |fetch| input.rows.min(fetch as f64)).max(1.0);
    let part = (rows / input.rows).min(1.0);
    let mut node = over("Limit", input);
    node.total = node.startup + (node.total - node.startup) * part;
    node.rows = rows;
    node.output = output;
    node
}

fn joined(kind: &'static str, outer: Node, inner: Node, join: JoinType) -> Node {
    let rows = match join {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => outer.rows,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => inner.rows,
        JoinType::Full => outer.rows + inner.rows,
        JoinType::Inner | JoinType::Left | JoinType::Right => outer.rows.max(inner.rows),
    };
    let looks = if kind == "Nested Loop" { outer.rows * inner.rows } else { outer.rows + inner.rows };
    let name = match join {
        JoinType::Inner => "Inner",
        JoinType::Left | JoinType::LeftMark => "Left",
        JoinType::Right | JoinType::RightMark => "Right",
        JoinType::Full => "Full",
        JoinType::LeftSemi | JoinType::RightSemi => "Semi",
        JoinType::LeftAnti | JoinType::RightAnti => "Anti",
    };
    let startup = if kind == "Hash Join" { inner.total } else { outer.startup + inner.startup };
    let total = outer.total + inner.total + OPERATOR * looks + TUPLE * rows;
    let children = vec![
        Child { label: None, relationship: "Outer", node: outer },
        Child { label: None, relationship: "Inner", node: inner },
    ];
    Node { join: Some(name), startup, total, rows, children, ..Node::new(kind) }
}

fn join_filter(filter: &JoinFilter, left: &Exec, right: &Exec) -> Option<String> {
    use datafusion::common::JoinSide;
    let columns = filter.column_indices().iter().map(|column| match column.side {
        JoinSide::Left => Some((Arc::clone(left), column.index)),
        JoinSide::Right => Some((Arc::clone(right), column.index)),
        JoinSide::None => None,
    });
    text_over(filter.expression(), &columns.collect::<Option<Vec<_>>>()?)
}

/// `(a = b)`, or `((a = b) AND (c = d))`.
fn equalities(pairs: impl Iterator<Item = Option<(String, String)>>) -> Option<String> {
    let each: Vec<String> = pairs.map(|pair| pair.map(|(l, r)| format!("({l} = {r})"))).collect::<Option<_>>()?;
    match each.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        all => Some(format!("({})", all.join(" AND "))),
    }
}

/// The average bytes of a row, as PostgreSQL guesses them where it has no statistics.
fn width(schema: &Schema) -> usize {
    let of = |data_type: &DataType| match data_type {
        DataType::Boolean | DataType::Int8 | DataType::UInt8 => 1,
        other => other.primitive_width().unwrap_or(32),
    };
    schema.fields().iter().map(|field| of(field.data_type())).sum()
}
