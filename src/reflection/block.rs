//! A part of a plan read as one block: tables, conditions on their rows, groups and aggregates over them, all written over
//! the tables' own column names. What a plan calls its columns, in which order they and the tables stand and how often it
//! renames them is gone. It compares nothing; `matching` does.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality, TableReference};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, GroupingSet};
use datafusion::logical_expr::logical_plan::{Aggregate, Join, TableScan};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator, binary_expr};

use crate::policy::Sealed;
use crate::policy::leaf::{Leaf, leaf};
use crate::sql::lower;
use crate::types::ObjectId;

/// Rows of one table, or of several: each with each, those of outer joins added in their order, then the conditions.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Each once. Those of outer joins come last.
    pub tables: Vec<Table>,
    /// The lowest filter's first: they judge first.
    pub conjuncts: Vec<Expr>,
    /// What each column is called above, and what it is of the tables' columns.
    pub columns: Vec<(Column, Expr)>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub id: ObjectId,
    pub scan: TableScan,
    /// The conditions of the LEFT JOIN by which it is added.
    pub outer: Option<Vec<Expr>>,
}

/// What the columns of a table are qualified with in a block.
pub fn qualifier(table: ObjectId) -> TableReference {
    TableReference::bare(table.to_string())
}

/// A column of a block.
fn own(table: ObjectId, name: &str) -> Expr {
    Expr::Column(Column::new(Some(qualifier(table)), name))
}

/// Groups of such rows.
#[derive(Debug)]
pub struct Block {
    pub rows: Rows,
    /// The expressions of GROUP BY; of grouping sets each once, in the order in which the sets name them first.
    pub by: Vec<Expr>,
    /// Which of them each set groups by; `None`: all of them, once.
    pub sets: Option<Vec<Vec<usize>>>,
    pub calls: Vec<AggregateFunction>,
}

/// An expression that grows beyond this while names are replaced by what they stand for is left alone.
const NODES_MAX: usize = 2_000;

/// A block of more tables is not read: each pair of them is looked at.
const TABLES_MAX: usize = 16;

/// The table that a guarded scan, or that of a definition, reads.
pub fn table_of(scan: &TableScan) -> Option<ObjectId> {
    if let Some(sealed) = scan.source.downcast_ref::<Sealed>() {
        return sealed.object_id();
    }
    match leaf(scan)? {
        Leaf::Object { id, grant: _, body: None } => Some(id),
        Leaf::Object { id: _, grant: _, body: Some(_) }
        | Leaf::System
        | Leaf::Query
        | Leaf::WorkTable
        | Leaf::Series(_) => None,
    }
}

/// `None` for a plan of another shape.
pub fn rows(plan: &LogicalPlan) -> Option<Rows> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
                return None;
            }
            let id = table_of(scan)?;
            let column = |column: Column| {
                let base = own(id, &column.name);
                (column, base)
            };
            let columns = plan.schema().columns().into_iter().map(column).collect();
            Some(Rows { tables: vec![Table { id, scan: scan.clone(), outer: None }], conjuncts: vec![], columns })
        }
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::SubqueryAlias(named) => {
            let below = rows(&named.input)?;
            let columns = plan.schema().columns().into_iter().zip(below.columns.into_iter().map(|(_, e)| e)).collect();
            Some(Rows { columns, ..below })
        }
        LogicalPlan::Projection(projection) => {
            let below = rows(&projection.input)?;
            let exprs = projection.expr.iter().map(|e| over(e, &below.columns)).collect::<Option<Vec<_>>>()?;
            let columns = plan.schema().columns().into_iter().zip(exprs).collect();
            Some(Rows { columns, ..below })
        }
        LogicalPlan::Filter(filter) => {
            let mut below = rows(&filter.input)?;
            for conjunct in split_conjunction(&filter.predicate) {
                below.conjuncts.push(over(conjunct, &below.columns)?);
            }
            Some(below)
        }
        LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => None,
    }
}

/// Inner joins, and outer joins of one table at a time.
fn joined(join: &Join) -> Option<Rows> {
    if join.null_aware || (join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()) {
        return None;
    }
    let (left, right) = (rows(&join.left)?, rows(&join.right)?);
    let known = |table: &Table| right.tables.iter().any(|other| other.id == table.id);
    if left.tables.iter().any(known) || left.tables.len() + right.tables.len() > TABLES_MAX {
        return None;
    }
    let both: Vec<(Column, Expr)> = left.columns.iter().chain(&right.columns).cloned().collect();
    let equal = join.on.iter().map(|(l, r)| binary_expr(l.clone(), Operator::Eq, r.clone()));
    let others = join.filter.iter().flat_map(split_conjunction).cloned();
    let on = equal.chain(others).map(|e| over(&e, &both)).collect::<Option<Vec<_>>>()?;
    let (mut rows, added) = match join.join_type {
        JoinType::Inner => {
            let (conjuncts, mut tables) = ([left.conjuncts, right.conjuncts, on].concat(), left.tables);
            tables.extend(right.tables);
            tables.sort_by_key(|table| table.outer.is_some());
            return Some(Rows { tables, conjuncts, columns: both });
        }
        JoinType::Left => (left, right),
        JoinType::Right => (right, left),
        JoinType::Full
        | JoinType::LeftSemi
        | JoinType::RightSemi
        | JoinType::LeftAnti
        | JoinType::RightAnti
        | JoinType::LeftMark
        | JoinType::RightMark => return None,
    };
    // what is computed of a row is not NULL where the row is missing
    if added.columns.iter().any(|(_, e)| !matches!(e, Expr::Column(_))) || added.conjuncts.iter().any(lower::can_raise)
    {
        return None;
    }
    let [Table { id, scan, outer: None }] = added.tables.as_slice() else { return None };
    rows.tables.push(Table { id: *id, scan: scan.clone(), outer: Some([added.conjuncts, on].concat()) });
    Some(Rows { columns: both, ..rows })
}

/// An aggregation, or DISTINCT; `None` for one over something else than rows of tables, and for any other plan.
pub fn block(plan: &LogicalPlan) -> Option<Block> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregation(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let rows = rows(input)?;
            let by = rows.columns.iter().map(|(_, e)| e.clone()).collect();
            Some(Block { rows, by, sets: None, calls: vec![] })
        }
        _ => None,
    }
}

fn aggregation(aggregate: &Aggregate) -> Option<Block> {
    let rows = rows(&aggregate.input)?;
    let (by, sets) = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => {
            let mut by: Vec<Expr> = vec![];
            let mut places = vec![];
            for set in sets {
                let mut of_set = vec![];
                for e in set {
                    let e = over(e, &rows.columns)?;
                    let place = by.iter().position(|known| *known == e).unwrap_or(by.len());
                    if place == by.len() {
                        by.push(e);
                    }
                    of_set.push(place);
                }
                places.push(of_set);
            }
            (by, Some(places))
        }
        plain if plain.iter().any(|e| matches!(e, Expr::GroupingSet(_))) => return None,
        plain => (plain.iter().map(|e| over(e, &rows.columns)).collect::<Option<Vec<_>>>()?, None),
    };
    let calls = aggregate.aggr_expr.iter().map(|e| call(e, &rows.columns)).collect::<Option<Vec<_>>>()?;
    Some(Block { rows, by, sets, calls })
}

fn call(expr: &Expr, columns: &[(Column, Expr)]) -> Option<AggregateFunction> {
    match bare(expr) {
        Expr::AggregateFunction(call) => {
            let mut call = call.clone();
            let params = &mut call.params;
            params.args = params.args.iter().map(|e| over(e, columns)).collect::<Option<_>>()?;
            params.filter = match params.filter.take() {
                Some(filter) => Some(Box::new(over(&filter, columns)?)),
                None => None,
            };
            for sort in &mut params.order_by {
                sort.expr = over(&sort.expr, columns)?;
            }
            Some(call)
        }
        _ => None,
    }
}

/// What a whole query stores, column by column.
#[derive(Debug)]
pub enum Definition {
    /// Rows as they are.
    Display(Rows),
    Groups {
        block: Block,
        columns: Vec<Stores>,
    },
}

impl Definition {
    /// Whose groups they are, or the rows themselves.
    pub fn rows(&self) -> &Rows {
        match self {
            Self::Display(rows) => rows,
            Self::Groups { block, columns: _ } => &block.rows,
        }
    }
}

/// A stored column of a query with groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// That expression of GROUP BY.
    Dimension(usize),
    /// That aggregate.
    Measure(usize),
    /// What is computed of these; nothing reads it.
    Other,
}

/// A reflection's plan. `None` for one of another shape.
pub fn definition(plan: &LogicalPlan) -> Option<Definition> {
    if let Some(rows) = rows(plan) {
        return Some(Definition::Display(rows));
    }
    let (block, columns) = groups(plan)?;
    // its rows would have to be told apart by their set
    if block.sets.is_some() {
        return None;
    }
    Some(Definition::Groups { block, columns: columns.into_iter().map(|(_, stores)| stores).collect() })
}

/// Through what only orders and renames the groups.
fn groups(plan: &LogicalPlan) -> Option<(Block, Vec<(Column, Stores)>)> {
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(Distinct::All(_)) => {
            let block = block(plan)?;
            let stores = (0..block.by.len()).map(Stores::Dimension).chain((0..block.calls.len()).map(Stores::Measure));
            let columns: Vec<_> = plan.schema().columns().into_iter().zip(stores).collect();
            Some((block, columns))
        }
        LogicalPlan::Projection(projection) => {
            let (block, below) = groups(&projection.input)?;
            let stores = projection.expr.iter().map(|e| match bare(e) {
                Expr::Column(column) => {
                    below.iter().find(|(known, _)| known == column).map_or(Stores::Other, |(_, stores)| *stores)
                }
                _ => Stores::Other,
            });
            let columns: Vec<_> = plan.schema().columns().into_iter().zip(stores).collect();
            Some((block, columns))
        }
        LogicalPlan::SubqueryAlias(named) => {
            let (block, below) = groups(&named.input)?;
            let columns = plan.schema().columns().into_iter().zip(below.into_iter().map(|(_, stores)| stores));
            Some((block, columns.collect()))
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => groups(&sort.input),
        // a filter or a limit leaves groups out
        _ => None,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// `expr` with each column replaced by what it is, in the form in which expressions are compared. `None` where something in
/// it is no value of the row.
fn over(expr: &Expr, columns: &[(Column, Expr)]) -> Option<Expr> {
    let mut lost = false;
    let mut nodes = 0usize;
    let replaced = bare(expr).clone().transform_up(|e| {
        nodes += 1;
        lost |= nodes > NODES_MAX;
        Ok(match e {
            _ if lost => Transformed::no(e),
            Expr::Column(column) => match columns.iter().find(|(known, _)| *known == column) {
                Some((_, known)) => {
                    nodes += size(known);
                    Transformed::yes(known.clone())
                }
                None => {
                    lost = true;
                    Transformed::no(Expr::Column(column))
                }
            },
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            Expr::OuterReferenceColumn(..)
            | Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_)
            | Expr::GroupingSet(_) => {
                lost = true;
                Transformed::no(e)
            }
            // what a literal's type is called does not make it another value
            Expr::Literal(value, Some(_)) => Transformed::yes(Expr::Literal(value, None)),
            // of two columns it is no matter which stands first
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if matches!((left.as_ref(), right.as_ref()), (Expr::Column(l), Expr::Column(r)) if l > r) =>
            {
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: right, op: Operator::Eq, right: left }))
            }
            other => lower::canonical(other),
        })
    });
    replaced.ok().map(|t| t.data).filter(|_| !lost)
}

/// A condition that a scan of this table is given.
pub fn condition(expr: &Expr, table: ObjectId) -> Option<Expr> {
    let own = expr.column_refs().into_iter().map(|column| (column.clone(), own(table, &column.name)));
    over(expr, &own.collect::<Vec<_>>())
}

/// The tables whose columns an expression of a block reads.
pub fn tables_in(expr: &Expr) -> Vec<ObjectId> {
    let mut found: Vec<ObjectId> = vec![];
    for table in expr.column_refs().into_iter().filter_map(table_in) {
        if !found.contains(&table) {
            found.push(table);
        }
    }
    found
}

/// The table of a block's column.
pub fn table_in(column: &Column) -> Option<ObjectId> {
    u64::from_str_radix(column.relation.as_ref()?.table(), 16).ok().map(ObjectId)
}

/// How many expressions it is made of.
pub(super) fn size(expr: &Expr) -> usize {
    let mut nodes = 0;
    // the closure never fails
    let _ = expr.apply(|_| {
        nodes += 1;
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    nodes
}
