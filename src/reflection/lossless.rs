//! Joins that neither lose nor double rows: through which tables of a reflection each row of the others comes once. Which
//! may be is read from its conditions here; whether they are is asked of the rows at each refresh, and holds for those.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Column;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};

use super::block::{Rows, Table, table_in, tables_in};
use crate::types::{ObjectId, TableName, quoted};

/// Tables, and whose rows each of them is found for: every row of the second once in the first, or at most once where it
/// is added by an outer join.
pub type Lossless = BTreeSet<(ObjectId, ObjectId)>;

/// Of a table that stands on the other side, facts beside what they name, some rows tell: not all of it is grouped for that.
const LOOKED_AT_FIRST: usize = 10_000;

/// A join that may be lossless.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    pub added: ObjectId,
    pub to: ObjectId,
    /// Columns of the first, and of the second, that are equal.
    equal: Vec<(String, String)>,
    /// Rows of the second stay without it.
    is_outer: bool,
}

/// `a.x = b.y` of two tables.
pub(super) fn equality(e: &Expr) -> Option<[&Column; 2]> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = e else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(left), Expr::Column(right)) if left.relation != right.relation => Some([left, right]),
        _ => None,
    }
}

fn reads(e: &Expr, table: ObjectId) -> bool {
    tables_in(e).contains(&table)
}

/// By which conditions a table is joined to one other, where those are all that name it.
fn by<'e>(table: &'e Table, conjuncts: &[&'e Expr]) -> Option<(ObjectId, Vec<&'e Expr>)> {
    let named = conjuncts.iter().copied().filter(|e| reads(e, table.id));
    let conditions: Vec<&Expr> = match &table.outer {
        // it is named above the join
        Some(_) if named.clone().next().is_some() => return None,
        Some(on) => on.iter().collect(),
        None => named.collect(),
    };
    let other = |e: &&Expr| {
        let sides = equality(e)?.map(table_in);
        sides.contains(&Some(table.id)).then(|| sides.into_iter().flatten().find(|id| *id != table.id))?
    };
    let others = conditions.iter().map(other).collect::<Option<BTreeSet<ObjectId>>>()?;
    let mut others = others.into_iter();
    match (others.next(), others.next()) {
        (Some(to), None) => Some((to, conditions)),
        _ => None,
    }
}

/// What the rows can be asked of a reflection's joins. A table that stands between two others is seen as it is once those
/// that are joined to it alone are taken away.
pub fn links(made: &Rows) -> Vec<Link> {
    let mut found = vec![];
    for table in &made.tables {
        for to in made.tables.iter().filter(|to| to.id != table.id) {
            let between = |e: &&Expr| {
                let tables = tables_in(e);
                tables.len() == 2 && tables.contains(&table.id) && tables.contains(&to.id)
            };
            let conjuncts: Vec<&Expr> = made.conjuncts.iter().filter(between).collect();
            let alone = |e: &Expr| tables_in(e) == [table.id];
            if table.outer.is_none() && made.conjuncts.iter().any(alone) {
                continue;
            }
            let Some((other, conditions)) = by(table, &conjuncts) else { continue };
            let pair = |e: &&Expr| {
                let [left, right] = equality(e)?;
                let (own, other) = if table_in(left) == Some(table.id) { (left, right) } else { (right, left) };
                let of = |table: &Table, name: &str| {
                    Some(table.scan.source.schema().field_with_name(name).ok()?.data_type().clone())
                };
                let same = of(table, &own.name)? == of(to, &other.name)?;
                same.then(|| (own.name.clone(), other.name.clone()))
            };
            let equal = conditions.iter().map(pair).collect::<Option<Vec<_>>>();
            let Some(equal) = equal.filter(|_| other == to.id) else { continue };
            found.push(Link { added: table.id, to: to.id, equal, is_outer: table.outer.is_some() });
        }
    }
    found
}

impl Link {
    /// Queries of one row whose only column says that it is so; each is asked where the one before is.
    pub fn questions(&self, names: &BTreeMap<ObjectId, &TableName>) -> Option<Vec<String>> {
        let shown = |name: &TableName| format!("{}.{}", quoted(&name.schema), quoted(&name.table));
        let (added, to) = (shown(names.get(&self.added)?), shown(names.get(&self.to)?));
        let keys: Vec<String> = self.equal.iter().map(|(own, _)| format!("a.{}", quoted(own))).collect();
        let is_there = keys.iter().map(|key| format!("{key} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let once = |rows: &str| {
            format!(
                "SELECT NOT EXISTS (SELECT 1 FROM {rows} a WHERE {is_there} GROUP BY {} HAVING count(*) > 1)",
                keys.join(", ")
            )
        };
        let (some, once) = (once(&format!("(SELECT * FROM {added} LIMIT {LOOKED_AT_FIRST})")), once(&added));
        let on = self.equal.iter().map(|(own, other)| format!("a.{} = t.{}", quoted(own), quoted(other)));
        let on = on.collect::<Vec<_>>().join(" AND ");
        let each = format!(
            "SELECT NOT EXISTS (SELECT 1 FROM {to} t LEFT JOIN {added} a ON {on} WHERE {} IS NULL)",
            keys.first()?
        );
        Some(if self.is_outer { vec![some, once] } else { vec![some, once, each] })
    }
}

/// The conditions of `made` that are left once these tables are taken away; `None` where rows of the others would be lost
/// or doubled by one of them.
pub(super) fn without<'a>(made: &'a Rows, extra: &[ObjectId], known: &Lossless) -> Option<Vec<&'a Expr>> {
    let mut conjuncts: Vec<&Expr> = made.conjuncts.iter().collect();
    let mut left: Vec<&Table> = made.tables.iter().collect();
    let mut extra = extra.to_vec();
    while !extra.is_empty() {
        let free = |table: &&&Table| {
            let is_needed = |other: &&Table| {
                other.id != table.id && other.outer.iter().flatten().any(|condition| reads(condition, table.id))
            };
            extra.contains(&table.id)
                && !left.iter().any(is_needed)
                && by(table, &conjuncts).is_some_and(|(to, _)| known.contains(&(table.id, to)))
        };
        let gone = left.iter().find(free)?.id;
        conjuncts.retain(|condition| !reads(condition, gone));
        left.retain(|table| table.id != gone);
        extra.retain(|table| *table != gone);
    }
    Some(conjuncts)
}
