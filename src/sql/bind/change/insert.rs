//! INSERT: a query's rows as rows of the target, and ON CONFLICT, which is a MERGE of them by a declared key.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr as Ast, SetExpr, TableFactor};

use super::super::name::folded;
use super::super::scope::Scope;
use super::super::{Binder, StoredAs};
use super::merge::{Branch, Merging, Proposed};
use super::{Act, Acts, Changed, Layout, Outputs, Target, TargetColumn, canonical, selected};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::expr::{Bound, Exclude, Expr, Frame, FrameUnits, Kind as Node, Sort, Window};
use crate::sql::image;
use crate::sql::parse::change::{Arbiter, Change, Conflict, Insert, is_default};
use crate::sql::query::{Column, Query, Relation};

impl Binder<'_> {
    pub(super) fn insert(
        &self,
        change: &Change,
        insert: &Insert,
        target: &Target,
        level: &Scope<'_>,
    ) -> Result<Changed> {
        let filled = self.filled(&insert.columns, target)?;
        let given = match change.others()? {
            [ast::TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }] => {
                Some(self.given_rows(subquery, insert, &filled, target, level)?)
            }
            _ => None,
        };
        let (mut outputs, mut with_values) = (Outputs::default(), vec![]);
        for (at, column) in target.columns.iter().enumerate() {
            let from = filled.iter().position(|filled| *filled == at).filter(|from| !is_all_default(change, *from));
            let given = from.and_then(|from| given.as_ref()?.columns.get(from)).map(|column| column.expr(0));
            let given = self.inserted(given, target, at, insert.overriding)?;
            if given.is_some() {
                with_values.push(at);
            }
            let value = self.value_for(given, target, at)?;
            outputs.put(self, &column.stored.name, value);
        }
        let row = 0..outputs.0.len();
        let from = given.map(|query| {
            let columns = query.columns.clone();
            Relation::Subquery { query: Box::new(query), columns, lateral: false }
        });
        if let Some(conflict) = &insert.conflict
            && let Some(key) = self.arbiter(conflict, target)?
            && target.foreign.is_none()
        {
            let number = outputs.put(self, "number", row_number()?);
            return self.on_conflict(
                change,
                conflict,
                &key,
                selected(from, None, outputs, vec![]),
                &number,
                target,
                level,
            );
        }
        let act = Acts::All(Act::Insert);
        let layout = |returning| Layout { returning, given: with_values, ..Layout::of(act, row) };
        if change.shape.returning.is_none() {
            return Ok(Changed { query: selected(from, None, outputs, vec![]), layout: layout(None), then: None });
        }
        let own = self.target_item(change, target, |_| None);
        let item = self.new_row(&mut outputs, 0, target, own, &|_| None)?;
        let inner = selected(from, None, outputs, vec![]);
        if let Some(later) = &target.foreign {
            return self.returned_later(change, target, later, inner, layout(None), vec![item], level);
        }
        let (query, returning) = self.returned(change, target, inner, vec![item], level)?;
        Ok(Changed { query, layout: layout(Some(returning)), then: None })
    }

    /// The source, each column as the one that it fills stores it.
    fn given_rows(
        &self,
        source: &ast::Query,
        insert: &Insert,
        filled: &[usize],
        target: &Target,
        level: &Scope<'_>,
    ) -> Result<Query> {
        let stored = |at: &usize| {
            let column = target.columns.get(*at)?;
            Some(StoredAs { data_type: canonical(&column.stored.data_type), ..column.stored.clone() })
        };
        if target.foreign.is_some() && has_some_defaults(source) {
            let hint = "Insert the rows that have it apart from those that have a value.";
            return Err(Error::unsupported("DEFAULT beside values in one column of a source's table").with_hint(hint));
        }
        let into: Vec<StoredAs> = filled.iter().filter_map(stored).collect();
        let spelt = with_defaults(source, filled, target);
        let source = spelt.as_ref().unwrap_or(source);
        if let Some(at) = self.excess(source, into.len()) {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns").at(at));
        }
        let query = self.stored(source, &into, level)?;
        if query.columns.len() > into.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        if let Some(unfilled) = insert.columns.get(query.columns.len()) {
            let text = "INSERT has more target columns than expressions";
            return Err(Error::new(Kind::Syntax, text).at(self.at(unfilled.name.span)));
        }
        Ok(query)
    }

    /// Where the first expression stands that no column is left for.
    fn excess(&self, source: &ast::Query, columns: usize) -> Option<usize> {
        match source.body.as_ref() {
            SetExpr::Values(values) => values.rows.first()?.content.get(columns).map(|expr| self.at_of(expr)),
            SetExpr::Select(select) => {
                let plain = |item: &ast::SelectItem| {
                    matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
                };
                let all_plain = select.projection.iter().all(plain);
                select.projection.get(columns).filter(|_| all_plain).map(|item| self.at_of(item))
            }
            _ => None,
        }
    }

    // --- ON CONFLICT

    /// The columns of the key that it is about; `None` where there is no key and none is asked for. 42P10 and 42704.
    fn arbiter(&self, conflict: &Conflict, target: &Target) -> Result<Option<Vec<usize>>> {
        let key = match &conflict.on {
            Arbiter::Any => target.keys.first(),
            Arbiter::Columns(names) => {
                let mut wanted = vec![];
                for name in names {
                    let folded = folded(name);
                    if !target.columns.iter().any(|column| column.named && column.stored.name == folded) {
                        let text = format!("column \"{folded}\" does not exist");
                        return Err(Error::new(Kind::UndefinedColumn, text).at(conflict.at));
                    }
                    wanted.push(folded);
                }
                let same = |key: &&super::TargetKey| {
                    key.columns.iter().all(|c| wanted.contains(c)) && wanted.iter().all(|c| key.columns.contains(c))
                };
                let missing = || {
                    let text = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                    Error::new(Kind::InvalidColumnReference, text)
                };
                Some(target.keys.iter().find(same).ok_or_else(missing)?)
            }
            Arbiter::Constraint(name) => {
                let name = folded(name);
                let missing = || {
                    let text = format!("constraint \"{name}\" for table \"{}\" does not exist", target.found.name);
                    Error::new(Kind::UndefinedObject, text)
                };
                Some(target.keys.iter().find(|key| key.name == name).ok_or_else(missing)?)
            }
        };
        let Some(key) = key else { return Ok(None) };
        let mut places = vec![];
        for name in &key.columns {
            let found = target.columns.iter().position(|column| column.stored.name == *name);
            let found =
                found.filter(|at| target.columns.get(*at).is_some_and(|column| column.named && !column.is_masked()));
            // whether a key is there tells what it is
            let text = || format!("permission denied for table {}", target.found.name);
            places.push(found.ok_or_else(|| Error::new(Kind::PermissionDenied, text()))?);
        }
        Ok(Some(places))
    }

    #[allow(clippy::too_many_arguments)]
    fn on_conflict(
        &self,
        change: &Change,
        conflict: &Conflict,
        key: &[usize],
        proposed: Query,
        number: &Column,
        target: &Target,
        level: &Scope<'_>,
    ) -> Result<Changed> {
        let excluded: Vec<Column> = proposed.columns.iter().take(target.columns.len()).cloned().collect();
        let columns = proposed.columns.clone();
        let relation = Relation::Subquery { query: Box::new(proposed), columns, lateral: false };
        let scanned = self.scanned(change, target)?;
        let mut tests = vec![];
        for at in key {
            let column = target.columns.get(*at);
            let own = column.and_then(|column: &TargetColumn| scanned.columns.get(column.raw));
            let (Some(own), Some(new)) = (own, excluded.get(*at)) else {
                return Err(Error::internal("a key without its column"));
            };
            tests.push(self.compare("=", own.expr(0), new.expr(0), 0)?);
        }
        let on = Some(Expr::boolean(Node::And(tests), 0));
        let named = target.columns.iter().zip(&excluded).filter(|(column, _)| column.named);
        let shown = named.map(|(_, column)| column.clone()).collect();
        let super::Bound { items, .. } = super::bound(relation.clone(), "excluded".into(), None, shown, false);
        let update = match &conflict.update {
            Some(set) => Branch::update(set, change.condition()?),
            None => Branch::nothing(true),
        };
        let merging = Merging {
            source: relation,
            source_items: items,
            target: scanned,
            on,
            branches: vec![update, Branch::proposed()],
            proposed: Some(Proposed { row: excluded, number: number.clone(), key: key.to_vec() }),
            shows_source: false,
        };
        self.merged(change, target, merging, level)
    }
}

/// `row_number() OVER ()`: rows are proposed one after the other.
fn row_number() -> Result<Expr> {
    let missing = || Error::internal("no row_number");
    let proc = image::procs("row_number").first().copied().ok_or_else(missing)?;
    let frame = Frame {
        units: FrameUnits::Rows,
        start: Bound::UnboundedPreceding,
        end: Bound::CurrentRow,
        exclude: Exclude::NoOthers,
    };
    let window = Window { proc, arguments: vec![], filter: None, partition: vec![], order: vec![], frame };
    Ok(Expr::new(Node::Window(Box::new(window)), Ty::INT8, 0))
}

/// Whether each row of VALUES has DEFAULT there.
fn is_all_default(change: &Change, at: usize) -> bool {
    let source = match change.others() {
        Ok([ast::TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }]) => subquery,
        Ok(_) | Err(_) => return false,
    };
    all_default(source, at)
}

fn all_default(source: &ast::Query, at: usize) -> bool {
    let SetExpr::Values(values) = source.body.as_ref() else { return false };
    !values.rows.is_empty() && values.rows.iter().all(|row| row.content.get(at).is_some_and(is_default))
}

/// A column of VALUES has DEFAULT in some rows and a value in others.
fn has_some_defaults(source: &ast::Query) -> bool {
    let SetExpr::Values(values) = source.body.as_ref() else { return false };
    let width = values.rows.iter().map(|row| row.content.len()).max().unwrap_or(0);
    let is_mixed = |at: usize| {
        values.rows.iter().any(|row| row.content.get(at).is_some_and(is_default)) && !all_default(source, at)
    };
    (0..width).any(is_mixed)
}

/// The same VALUES with each column's default for DEFAULT; `None` where there is none.
fn with_defaults(source: &ast::Query, filled: &[usize], target: &Target) -> Option<ast::Query> {
    let SetExpr::Values(values) = source.body.as_ref() else { return None };
    if !values.rows.iter().flat_map(|row| &row.content).any(is_default) {
        return None;
    }
    let given = source;
    let mut source = source.clone();
    if let SetExpr::Values(values) = source.body.as_mut() {
        for row in &mut values.rows {
            for (at, expr) in row.content.iter_mut().enumerate().filter(|(_, expr)| is_default(expr)) {
                // a column of nothing else is computed above them, and a sequence asked once a row
                let column = filled.get(at).filter(|_| !all_default(given, at));
                let column = column.and_then(|column| target.columns.get(*column));
                let default = column.and_then(|column| column.default.clone());
                *expr = default.unwrap_or_else(|| Ast::Value(ast::Value::Null.into()));
            }
        }
    }
    Some(source)
}

/// In the order in which they are proposed.
pub(super) fn by_number(number: &Column) -> Vec<Sort> {
    vec![Sort { by: number.expr(0), descending: false, nulls_first: false }]
}

/// An int4 of the grammar.
pub(super) fn int4(value: usize) -> Expr {
    Expr::constant(ScalarValue::Int32(i32::try_from(value).ok()), Ty::INT4, 0)
}
