//! The tables of a query beside those of a reflection: which of them the stored rows stand for, which are joined to these,
//! and which columns are equal in every stored row (Goldstein and Larson, sections 3.1.1 and 3.2).

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;

use super::super::block::{Rows, Table, table_in, tables_in};
use super::super::lossless::{Lossless, equality, without};
use super::WhyNot;
use crate::pgtype;
use crate::types::ObjectId;

#[derive(Debug)]
pub(super) struct Tables<'a> {
    /// The query's that the stored rows stand for.
    pub(super) stored: Vec<&'a Table>,
    /// The query's others.
    pub(super) beside: Vec<&'a Table>,
    /// Of `stored`, those whose rows may be missing beside a row of another one.
    pub(super) padded: BTreeSet<ObjectId>,
    /// The reflection's conditions that the query must have.
    pub(super) conditions: Vec<&'a Expr>,
    /// Columns that are equal in every stored row, each by the one that stands for them. They are of one type, whose equal
    /// values are the same in every digit.
    pub(super) equal: BTreeMap<Column, Column>,
}

pub(super) fn tables<'a>(query: &'a Rows, made: &'a Rows, known: &Lossless) -> Result<Tables<'a>, WhyNot> {
    let asked = |id: ObjectId| query.tables.iter().find(|table| table.id == id);
    let extra: Vec<ObjectId> = made.tables.iter().map(|t| t.id).filter(|id| asked(*id).is_none()).collect();
    if extra.len() == made.tables.len() {
        return Err(WhyNot::Joins);
    }
    let mut conditions = without(made, &extra, known).ok_or(WhyNot::Joins)?;
    let mut padded = BTreeSet::new();
    for table in &made.tables {
        let Some(asked) = asked(table.id) else { continue };
        match (&table.outer, &asked.outer) {
            (None, None) => {}
            (Some(made), Some(asked)) if same(made, asked) => {
                padded.insert(table.id);
            }
            // no row is without it, so that the outer join is an inner one
            (None, Some(on)) => {
                let named = conditions.iter().copied().filter(|e| tables_in(e).contains(&table.id));
                let link: Vec<&Expr> = named.collect();
                // what was asked of the rows is the join to one other table, and nothing besides
                let mut others = on.iter().flat_map(tables_in).filter(|id| *id != table.id);
                let other = others.next();
                let is_whole =
                    other.is_some_and(|other| known.contains(&(table.id, other))) && others.all(|id| Some(id) == other);
                if !is_whole || link.len() != on.len() || !link.iter().all(|condition| on.contains(condition)) {
                    return Err(WhyNot::Rows);
                }
                conditions.retain(|condition| !on.contains(condition));
                padded.insert(table.id);
            }
            (Some(_), None | Some(_)) => return Err(WhyNot::Rows),
        }
    }
    let (stored, beside) = query.tables.iter().partition(|table| made.tables.iter().any(|t| t.id == table.id));
    let equal = equal(query, made);
    Ok(Tables { stored, beside, padded, conditions, equal })
}

fn same(a: &[Expr], b: &[Expr]) -> bool {
    a.len() == b.len() && a.iter().all(|e| b.contains(e))
}

/// Of a type whose equal values are one value, and nothing shows them apart. Text is none: a source's may be equal in
/// other letters.
fn is_exact(table: &Table, column: &Column) -> Option<pgtype::Ty> {
    let schema = table.scan.source.schema();
    let ty = pgtype::of_field(schema.field_with_name(&column.name).ok()?).ok()?;
    use pgtype::oid::{BOOL, DATE, INT2, INT4, INT8, TIMESTAMP, TIMESTAMPTZ, UUID};
    let exact = [BOOL, INT2, INT4, INT8, UUID, DATE, TIMESTAMP, TIMESTAMPTZ];
    exact.contains(&ty.oid).then_some(ty)
}

/// By the conditions of inner joins, those through tables that the query does not name, too.
fn equal(query: &Rows, made: &Rows) -> BTreeMap<Column, Column> {
    let inner = |column: &Column| {
        let id = table_in(column)?;
        let table = made.tables.iter().find(|table| table.id == id && table.outer.is_none())?;
        Some((
            is_exact(table, column)?,
            table.scan.source.schema().field_with_name(&column.name).ok()?.data_type().clone(),
        ))
    };
    let is_asked = |column: &Column| query.tables.iter().any(|table| Some(table.id) == table_in(column));
    let mut classes: Vec<BTreeSet<Column>> = vec![];
    for [left, right] in made.conjuncts.iter().filter_map(equality) {
        if inner(left).is_none() || inner(left) != inner(right) {
            continue;
        }
        let (touched, mut others): (Vec<_>, Vec<_>) =
            classes.into_iter().partition(|class| class.contains(left) || class.contains(right));
        let mut class: BTreeSet<Column> = touched.into_iter().flatten().collect();
        class.extend([left.clone(), right.clone()]);
        others.push(class);
        classes = others;
    }
    let mut found = BTreeMap::new();
    for class in classes {
        let first = class.iter().find(|column| is_asked(column)).or(class.first()).cloned();
        for column in class {
            found.extend(first.clone().map(|first| (column, first)));
        }
    }
    found
}

impl Tables<'_> {
    /// `e` with one column for all that are equal.
    pub(super) fn by_one(&self, e: &Expr) -> Expr {
        if self.equal.is_empty() {
            return e.clone();
        }
        let replaced = e.clone().transform_up(|e| {
            let one = match &e {
                Expr::Column(column) => self.equal.get(column),
                _ => None,
            };
            Ok(one.cloned().map_or_else(|| Transformed::no(e), |one| Transformed::yes(Expr::Column(one))))
        });
        // the closure never fails
        replaced.map_or_else(|_| e.clone(), |replaced| replaced.data)
    }

    /// The columns of the query's tables that are equal to this one.
    pub(super) fn others(&self, column: &Column) -> impl Iterator<Item = &Column> {
        let is_stored = |column: &Column| self.stored.iter().any(|table| Some(table.id) == table_in(column));
        self.equal
            .iter()
            .filter(move |(other, one)| *one == column && *other != column && is_stored(other))
            .map(|(other, _)| other)
    }

    pub(super) fn is_beside(&self, column: &Column) -> bool {
        self.beside.iter().any(|table| Some(table.id) == table_in(column))
    }
}
