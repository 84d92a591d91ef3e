//! Joins of two SELECTs, and EXISTS for those that only ask whether there is a match.

use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::logical_plan::Join;

use super::Push;
use super::expr::{Out, Scope};
use super::select::Select;
use crate::pgtype::Ty;

impl Push<'_> {
    pub(super) fn joined(&self, join: &Join, left: &Select, right: &Select) -> Option<Select> {
        if join.null_aware || left.source != right.source {
            return None;
        }
        match join.join_type {
            JoinType::Inner => self.beside(join, left, right, "INNER JOIN", (false, false)),
            JoinType::Left => self.beside(join, left, right, "LEFT JOIN", (false, true)),
            JoinType::Right => self.beside(join, left, right, "RIGHT JOIN", (true, false)),
            JoinType::LeftSemi => self.asked(join, left, right, How::Semi),
            JoinType::LeftAnti => self.asked(join, left, right, How::Anti),
            JoinType::LeftMark => self.asked(join, left, right, How::Mark),
            JoinType::Full | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => None,
        }
    }

    /// `may_miss`: the side whose columns are NULL where there is no match. Its conditions stay with it.
    fn beside(&self, join: &Join, left: &Select, right: &Select, word: &str, may_miss: (bool, bool)) -> Option<Select> {
        let (left, right) = (self.side(left, may_miss.0), self.side(right, may_miss.1));
        let columns: Vec<Out> = left.columns.iter().chain(&right.columns).cloned().collect();
        let conditions = self.conditions(join, &left, &columns)?;
        let condition = match conditions.is_empty() {
            // all pairs of two tables are more than the tables
            true if !left.is_one && !right.is_one => return None,
            true => "true".to_owned(),
            false => conditions.join(" AND "),
        };
        let other = if right.select.is_joined { format!("({})", right.select.from) } else { right.select.from.clone() };
        let from = format!("{} {word} {other} ON {condition}", left.select.from);
        let rows = left.select.rows.zip(right.select.rows).map(|(l, r)| l.max(r));
        let (left, right) = (left.select, right.select);
        let tables = left.tables.union(&right.tables).copied().collect();
        let filters = left.filters.iter().chain(&right.filters).cloned().collect();
        Some(Select { tables, from, is_joined: true, filters, columns, rows, ..left })
    }

    fn asked(&self, join: &Join, left: &Select, right: &Select, how: How) -> Option<Select> {
        let (left, right) = (self.side(left, false), self.side(right, false));
        let both: Vec<Out> = left.columns.iter().chain(&right.columns).cloned().collect();
        let conditions = self.conditions(join, &left, &both)?;
        let inner =
            Select { filters: right.select.filters.iter().cloned().chain(conditions).collect(), ..right.select };
        let exists = format!("EXISTS ({})", inner.text(&["1".to_owned()]));
        let mut select = left.select;
        select.tables.extend(inner.tables.iter().copied());
        match how {
            How::Semi => select.filters.push(exists),
            How::Anti => select.filters.push(format!("NOT {exists}")),
            How::Mark => select.columns.push(Out::made(exists, Ty::BOOL)),
        }
        Some(select)
    }

    /// As an item of FROM, with conditions that may stand in the WHERE of the whole, unless it may miss.
    fn side(&self, select: &Select, may_miss: bool) -> Side {
        let is_one = select.is_single();
        let nests =
            !select.is_open() || may_miss && (!select.filters.is_empty() || select.columns.iter().any(Out::is_made));
        let mut select = if nests { select.clone().derived(&self.alias()) } else { select.clone() };
        // the order of what is joined is of no use
        select.order.clear();
        if may_miss {
            select.columns.iter_mut().for_each(|out| out.is_there = false);
        }
        Side { columns: select.columns.clone(), select, is_one }
    }

    fn conditions(&self, join: &Join, left: &Side, columns: &[Out]) -> Option<Vec<String>> {
        let schema: DFSchema = join.left.schema().join(join.right.schema()).ok()?;
        let select = &left.select;
        let scope = Scope { push: self, source: select.source, functions: &select.functions, schema: &schema, columns };
        let mut all = vec![];
        for (l, r) in &join.on {
            all.push(match join.null_equality {
                NullEquality::NullEqualsNothing => scope.compared(l, " = ", r)?,
                // there it would be asked of each pair of rows, so that it is sent only where it is plain equality
                NullEquality::NullEqualsNull if is_there(&scope, l) || is_there(&scope, r) => {
                    scope.compared(l, " = ", r)?
                }
                NullEquality::NullEqualsNull => return None,
            });
        }
        if let Some(filter) = &join.filter {
            all.push(scope.value(filter)?.sql);
        }
        Some(all)
    }
}

fn is_there(scope: &Scope<'_>, e: &Expr) -> bool {
    scope.expr(e).is_some_and(|out| out.is_there)
}

struct Side {
    select: Select,
    columns: Vec<Out>,
    /// It has one row, always.
    is_one: bool,
}

#[derive(Clone, Copy)]
enum How {
    Semi,
    Anti,
    Mark,
}
