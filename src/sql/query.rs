//! A typed query: relations with numbered columns, and what is computed over them. Names are only shown; nothing here is
//! resolved by name again.

use std::sync::Arc;

use datafusion::logical_expr::TableSource;

use super::expr::{ColumnId, Expr, Kind, Sort};
use super::image::Proc;
use crate::pgtype::Ty;

use arrow::datatypes::DataType;

/// SELECT, VALUES or a set operation with its WITH, ORDER BY and LIMIT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    /// In the order in which they were written; a recursive one sees itself.
    pub(crate) ctes: Vec<Cte>,
    pub(crate) body: Body,
    /// Over the columns of `body` (hidden ones for ORDER BY alone included), or over what `body` computes from.
    pub(crate) order: Vec<Sort>,
    pub(crate) offset: Option<Expr>,
    pub(crate) limit: Option<Expr>,
    pub(crate) with_ties: bool,
    /// What comes out, in this order, after the ordering; a subset of the body's columns.
    pub(crate) columns: Vec<Column>,
}

/// What stands in a query, in the queries of its FROM, its WITH and its set operations too.
enum Part<'q> {
    Expr(&'q Expr),
    Table(&'q SourceOf),
    Cte(CteId, &'q [Column]),
}

impl Query {
    /// Every expression in it; not those inside subqueries of expressions.
    pub(crate) fn expressions(&self) -> Vec<&Expr> {
        let mut all = vec![];
        self.each(&mut |part| {
            if let Part::Expr(expr) = part {
                all.push(expr);
            }
        });
        all
    }

    /// Every table that it reads, in subqueries of expressions too.
    pub(crate) fn tables<'q>(&'q self, found: &mut dyn FnMut(&'q SourceOf)) {
        self.everywhere(&mut |part| {
            if let Part::Table(source) = part {
                found(source);
            }
        });
    }

    /// Every place that reads a common table expression, in subqueries of expressions too.
    pub(crate) fn cte_reads<'q>(&'q self, found: &mut dyn FnMut(CteId, &'q [Column])) {
        self.everywhere(&mut |part| {
            if let Part::Cte(cte, columns) = part {
                found(cte, columns);
            }
        });
    }

    fn everywhere<'q>(&'q self, visit: &mut dyn FnMut(Part<'q>)) {
        self.each(&mut |part| match part {
            Part::Expr(expr) => expr.visit(&mut |e| {
                // what stands in the subquery of a subquery is visited with it
                if let Kind::Subquery { query, .. } = &e.kind {
                    query.each(visit);
                }
            }),
            Part::Table(_) | Part::Cte(..) => visit(part),
        });
    }

    fn each<'q>(&'q self, visit: &mut dyn FnMut(Part<'q>)) {
        for cte in &self.ctes {
            cte.query.each(visit);
            if let Some(recursive) = &cte.recursive {
                recursive.step.each(visit);
            }
        }
        match &self.body {
            Body::Select(select) => {
                if let Some(from) = &select.from {
                    from.each(visit);
                }
                let groups = select.groups.iter().flat_map(|groups| &groups.by);
                let targets = select.targets.iter().map(|target| &target.expr);
                let all = select.filter.iter().chain(&select.having).chain(groups).chain(targets);
                all.for_each(|expr| visit(Part::Expr(expr)));
            }
            Body::Values { rows, .. } => rows.iter().flatten().for_each(|expr| visit(Part::Expr(expr))),
            Body::SetOperation { left, right, .. } => {
                left.each(visit);
                right.each(visit);
            }
        }
        let last = self.order.iter().map(|sort| &sort.by).chain(&self.offset).chain(&self.limit);
        last.for_each(|expr| visit(Part::Expr(expr)));
    }
}

impl Relation {
    fn each<'q>(&'q self, visit: &mut dyn FnMut(Part<'q>)) {
        match self {
            Self::Table { source, .. } => visit(Part::Table(source)),
            Self::Cte { cte, columns } => visit(Part::Cte(*cte, columns)),
            Self::Subquery { query, .. } => query.each(visit),
            Self::Functions { calls, .. } => calls.iter().for_each(|call| visit(Part::Expr(&call.expr))),
            Self::Join(join) => {
                join.left.each(visit);
                join.right.each(visit);
                let all = join.on.iter().chain(join.merged.iter().map(|(_, expr)| expr));
                all.for_each(|expr| visit(Part::Expr(expr)));
            }
        }
    }
}

/// One SELECT of a statement, to whose groups an aggregate belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LevelId(pub(crate) usize);

/// A column as it comes out of a relation or a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) id: ColumnId,
    /// Shown to clients and found by names; two may be called the same.
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) data_type: DataType,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cte {
    pub(crate) id: CteId,
    pub(crate) name: String,
    pub(crate) query: Query,
    /// `Some` for `WITH RECURSIVE` that names itself: the step, over the same columns; `query` is then the first term.
    pub(crate) recursive: Option<Box<Recursive>>,
    /// `MATERIALIZED`, `NOT MATERIALIZED`.
    pub(crate) materialized: Option<bool>,
    /// How many places read it.
    pub(crate) references: usize,
    /// Its columns, by the ids of `query.columns`.
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recursive {
    pub(crate) step: Query,
    /// UNION instead of UNION ALL.
    pub(crate) distinct: bool,
}

/// A common table expression, unique within the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CteId(pub(crate) usize);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Select(Box<Select>),
    Values { rows: Vec<Vec<Expr>>, columns: Vec<Column> },
    SetOperation { operator: SetOperator, all: bool, left: Box<Query>, right: Box<Query>, columns: Vec<Column> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOperator {
    Union,
    Intersect,
    Except,
}

/// In the order in which it is computed: from, filter, groups, having, windows (inside `targets`), targets, distinct.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Select {
    /// `None`: one row without columns.
    pub(crate) from: Option<Relation>,
    pub(crate) filter: Option<Expr>,
    /// `Some` where there is a GROUP BY, a HAVING or an aggregate.
    pub(crate) groups: Option<Groups>,
    pub(crate) having: Option<Expr>,
    /// The select list, then what only ORDER BY and DISTINCT ON need. May hold aggregates, windows and set-returning calls.
    pub(crate) targets: Vec<Target>,
    pub(crate) distinct: Distinct,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) expr: Expr,
    pub(crate) column: Column,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Groups {
    /// Aggregates of this level are computed over the groups, those inside subqueries too.
    pub(crate) level: LevelId,
    /// Every expression that some set groups by. Expressions above that equal one stand for it.
    pub(crate) by: Vec<Expr>,
    /// Each a choice out of `by`; one that is all of it where there are no GROUPING SETS; an empty one for no GROUP BY.
    pub(crate) sets: Vec<Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Distinct {
    None,
    All,
    /// DISTINCT ON: these targets; the query's `order` decides which row stays.
    On(Vec<ColumnId>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Relation {
    /// A table or a dataset; `columns` stand in the order of its schema.
    Table {
        alias: String,
        source: SourceOf,
        columns: Vec<Column>,
    },
    /// `columns` rename those of the query, place by place.
    Subquery {
        query: Box<Query>,
        columns: Vec<Column>,
        lateral: bool,
    },
    Cte {
        cte: CteId,
        columns: Vec<Column>,
    },
    /// Functions in FROM, side by side (ROWS FROM); `ordinality` is the last column.
    Functions {
        calls: Vec<FunctionCall>,
        ordinality: Option<Column>,
        lateral: bool,
    },
    Join(Box<Join>),
}

#[derive(Clone)]
pub(crate) struct SourceOf {
    /// As the catalog writes it; also the reference under which it is scanned.
    pub(crate) name: String,
    pub(crate) table: Arc<dyn TableSource>,
    /// A materialized view: its rows are locked by nobody.
    pub(crate) is_materialized: bool,
}

/// The very same table.
impl PartialEq for SourceOf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

impl std::fmt::Debug for SourceOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionCall {
    pub(crate) proc: &'static Proc,
    /// A `Call` (set-returning or not), or any expression that stands in FROM as a function (`CAST`, `current_date`).
    pub(crate) expr: Expr,
    /// One for a scalar result, one for each field of a record.
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) left: Relation,
    pub(crate) right: Relation,
    /// `None` for CROSS.
    pub(crate) on: Option<Expr>,
    /// The right side reads columns of the left.
    pub(crate) lateral: bool,
    /// USING and NATURAL under FULL JOIN: a column of its own that is COALESCE(left, right).
    pub(crate) merged: Vec<(Column, Expr)>,
    /// A column of each side that an outer join may leave out, NULL where it did; computed where it is read.
    pub(crate) present: (Option<Column>, Option<Column>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}
