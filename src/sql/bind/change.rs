//! Statements that change rows → one typed query, whose rows say what is to be done: which row goes, which one comes, what
//! RETURNING shows (analyze.c, parse_target.c, parse_merge.c). What a client writes reads the table as its session sees it;
//! values that a statement keeps are carried beside that, and no expression of the statement can name them.

mod assign;
mod insert;
mod merge;

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast;

use super::cte::Counted;
use super::from::{Bound, bound, canonical, check_names};
use super::name::folded;
use super::scope::{Item, Place, Scope, Side};
use super::{Binder, Found, StoredAs};
use crate::error::{Error, Kind, Result};
use crate::pgtype;
use crate::sql::expr::{Expr, Sort};
use crate::sql::parse::change::{Assignment, Change, Verb};
use crate::sql::query::{Body, Column, Distinct, Join, JoinKind, Query, Relation, Select, SourceOf, Target as Output};

/// The table that is changed, as its session may see and change it.
pub(crate) struct Target {
    pub(crate) found: Found,
    /// All its columns, in its order.
    pub(crate) columns: Vec<TargetColumn>,
    /// Where in the source's schema a row says where it is, and by what it is known.
    pub(crate) place: Range<usize>,
    pub(crate) keys: Vec<TargetKey>,
    /// Nothing of it may be read: an INSERT alone is possible.
    pub(crate) unread: bool,
    /// Its source changes its rows, and knows better than this crate what they become: what RETURNING shows is computed of
    /// the rows that it gives back ([`Changed::then`]), by a query over this.
    pub(crate) foreign: Option<Arc<dyn Later>>,
}

/// A table whose rows are there once the statement has run.
pub(crate) trait Later: std::fmt::Debug + Send + Sync {
    fn of(self: Arc<Self>, schema: SchemaRef) -> Arc<dyn TableSource>;
}

#[derive(Clone, Debug)]
pub(crate) struct TargetColumn {
    pub(crate) stored: StoredAs,
    /// Statements may name it.
    pub(crate) named: bool,
    /// Where in the source's schema it is as the session sees it, and as it is.
    pub(crate) shown: Option<usize>,
    pub(crate) raw: usize,
    /// NULL where it has none.
    pub(crate) default: Option<ast::Expr>,
    pub(crate) identity: Option<Identity>,
}

/// A column that counts, GENERATED … AS IDENTITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Always,
    ByDefault,
}

impl TargetColumn {
    fn is_masked(&self) -> bool {
        self.shown.is_some_and(|shown| shown != self.raw)
    }
}

/// A key that the table declares.
#[derive(Clone, Debug)]
pub(crate) struct TargetKey {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
}

/// What a row of the query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Insert,
    Update,
    Delete,
}

/// Which of the query's columns are what.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// What each row is for: the same for all, or by the number in a column (from one; nothing for others).
    pub(crate) act: Acts,
    /// Where the row is that goes.
    pub(crate) place: Range<usize>,
    /// The row that comes, in the order of the table's columns.
    pub(crate) row: Range<usize>,
    /// The key of a row that was proposed: no two of them may be equal.
    pub(crate) key: Range<usize>,
    pub(crate) returning: Option<Range<usize>>,
    /// Of a foreign target: which of its columns have values in `row` that the statement gives, and which are to be what its
    /// source gives them.
    pub(crate) given: Vec<usize>,
    pub(crate) defaults: Vec<usize>,
}

impl Layout {
    /// Without anything that only some have.
    fn of(act: Acts, row: Range<usize>) -> Self {
        Self { act, place: 0..0, row, key: 0..0, returning: None, given: vec![], defaults: vec![] }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Acts {
    All(Act),
    By { column: usize, acts: Vec<Option<Act>> },
}

/// A statement that changes rows, bound.
pub(crate) struct Changed {
    pub(crate) query: Query,
    pub(crate) layout: Layout,
    /// What RETURNING shows of a foreign target: a query over all columns of `query`, place by place, as its source has
    /// changed them.
    pub(crate) then: Option<Query>,
}

/// The target in FROM: its relation, all columns of its source, and how names find it.
struct Scanned {
    relation: Relation,
    columns: Vec<Column>,
    item: Item,
}

/// What a query computes, as it is put together.
#[derive(Default)]
struct Outputs(Vec<Output>);

impl Outputs {
    fn put(&mut self, binder: &Binder<'_>, name: &str, expr: Expr) -> Column {
        let column = binder.column_of(name, &expr);
        self.0.push(Output { expr, column: column.clone() });
        column
    }

    fn columns(&self) -> Vec<Column> {
        self.0.iter().map(|output| output.column.clone()).collect()
    }

    /// The same columns under new numbers, as names of these items find them.
    fn carry(&mut self, binder: &Binder<'_>, items: &[Item]) -> Vec<Item> {
        let mut carried = vec![];
        for item in items {
            let mut item = item.clone();
            for column in &mut item.columns {
                *column = Column { name: column.name.clone(), ..self.put(binder, &column.name, column.expr(0)) };
            }
            if let Some(present) = &mut item.present {
                *present = self.put(binder, "present", present.expr(0));
            }
            carried.push(item);
        }
        carried
    }
}

impl Binder<'_> {
    /// A whole statement that changes rows of `target`.
    pub(crate) fn bind_change(&self, change: &Change, target: &Target) -> Result<Changed> {
        let root = Scope::root();
        let mut level = Scope::inside(&root);
        let ctes = match &change.parts.with {
            Some(with) => self.with(with, &mut level)?,
            None => vec![],
        };
        let bound = match &change.shape.verb {
            Verb::Insert(insert) => self.insert(change, insert, target, &level)?,
            Verb::Update(set) => self.update(change, set, target, &level)?,
            Verb::Delete => self.delete(change, target, &level)?,
            Verb::Merge(whens) => self.merge(change, whens, target, &level)?,
        };
        let Changed { mut query, layout, then } = bound;
        query.ctes.extend(ctes.into_iter().map(Counted::finish));
        let then = then.map(|then| crate::sql::fold::folded(then, self.cx.env)).transpose()?;
        Ok(Changed { query: crate::sql::fold::folded(query, self.cx.env)?, layout, then })
    }

    fn delete(&self, change: &Change, target: &Target, level: &Scope<'_>) -> Result<Changed> {
        let scanned = self.scanned(change, target)?;
        let place = places(&scanned, target);
        let (relation, items) = self.beside(scanned, change.others()?, level)?;
        let scope = self.scope_of(level, items);
        let filter = self.filter(change, &scope)?;
        let mut outputs = Outputs::default();
        for column in &place {
            outputs.put(self, &column.name, column.expr(0));
        }
        let returning = self.returning(change, target, &scope, &mut outputs)?;
        let act = Acts::All(Act::Delete);
        let layout = Layout { place: 0..place.len(), returning, ..Layout::of(act, 0..0) };
        Ok(Changed { query: selected(Some(relation), filter, outputs, vec![]), layout, then: None })
    }

    fn update(&self, change: &Change, set: &[Assignment], target: &Target, level: &Scope<'_>) -> Result<Changed> {
        let scanned = self.scanned(change, target)?;
        let (place, columns, own) = (places(&scanned, target), scanned.columns.clone(), scanned.item.clone());
        let (relation, items) = self.beside(scanned, change.others()?, level)?;
        let others = items.get(1..).unwrap_or_default().to_vec();
        let scope = self.scope_of(level, items);
        let filter = self.filter(change, &scope)?;
        let mut outputs = Outputs::default();
        for column in &place {
            outputs.put(self, &column.name, column.expr(0));
        }
        let (set, defaults) = self.assignments(change, set, target, &scope)?;
        let given = set.keys().copied().filter(|at| !defaults.contains(at)).collect::<Vec<_>>();
        let first = outputs.0.len();
        for (at, column) in target.columns.iter().enumerate() {
            let value = match set.get(&at) {
                Some(value) => value.clone(),
                None => column_at(&columns, column.raw)?.expr(0),
            };
            outputs.put(self, &column.stored.name, value);
        }
        let row = first..outputs.0.len();
        let act = Acts::All(Act::Update);
        let layout = |returning| Layout { place: 0..place.len(), returning, given, defaults, ..Layout::of(act, row) };
        if change.shape.returning.is_none() {
            let query = selected(Some(relation), filter, outputs, vec![]);
            return Ok(Changed { query, layout: layout(None), then: None });
        }
        let old = |column: &TargetColumn| column.shown.and_then(|at| columns.get(at)).map(|c| c.expr(0));
        let item = self.new_row(&mut outputs, first, target, own, &old)?;
        let mut shown = vec![item];
        shown.extend(outputs.carry(self, &others));
        let inner = selected(Some(relation), filter, outputs, vec![]);
        if let Some(later) = &target.foreign {
            return self.returned_later(change, target, later, inner, layout(None), shown, level);
        }
        let (query, returning) = self.returned(change, target, inner, shown, level)?;
        Ok(Changed { query, layout: layout(Some(returning)), then: None })
    }

    // --- the target

    fn scanned(&self, change: &Change, target: &Target) -> Result<Scanned> {
        if target.unread {
            return Err(unreadable(target));
        }
        let schema = target.found.table.schema();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let (ty, data_type) = (pgtype::of_field(field)?, canonical(field.data_type()));
            columns.push(Column { id: self.column_id(), name: field.name().clone(), ty, data_type });
        }
        let item = self.target_item(change, target, |column| columns.get(column.shown?).cloned());
        let alias = item.alias.clone().unwrap_or_default();
        let name = format!("{}.{}", target.found.schema, target.found.name);
        let found = &target.found;
        let (table, is_materialized) = (Arc::clone(&found.table), found.is_materialized);
        let source = SourceOf { name, table, is_materialized };
        let relation = Relation::Table { alias, source, columns: columns.clone() };
        Ok(Scanned { relation, columns, item })
    }

    /// How names find the target, by those of its columns that are there.
    fn target_item(&self, change: &Change, target: &Target, there: impl Fn(&TargetColumn) -> Option<Column>) -> Item {
        let named = |column: &TargetColumn| Some(Column { name: column.stored.name.clone(), ..there(column)? });
        let columns: Vec<Column> = target.columns.iter().filter_map(named).collect();
        let alias = change.shape.alias.as_ref().map(folded);
        Item {
            schema: alias.is_none().then(|| target.found.schema.clone()),
            alias: Some(alias.unwrap_or_else(|| target.found.name.clone())),
            fields: Some(columns.iter().map(|column| column.name.clone()).collect()),
            columns,
            bare: true,
            side: Side::Open,
            scalar: false,
            starred: None,
            relation: Some(target.found.name.clone()),
            present: None,
            tableoid: Some(target.found.oid),
        }
    }

    /// The target, and what stands in FROM or USING, which does not see it.
    fn beside(
        &self,
        target: Scanned,
        others: &[ast::TableWithJoins],
        level: &Scope<'_>,
    ) -> Result<(Relation, Vec<Item>)> {
        let hidden = Item { side: Side::Hidden, bare: false, ..target.item.clone() };
        let around = Scope::of(level, vec![hidden]);
        let Some(others) = self.from(others, &around)? else { return Ok((target.relation, vec![target.item])) };
        check_names(std::slice::from_ref(&target.item), &others.items)?;
        let join = joined(JoinKind::Inner, target.relation, others.relation, None);
        Ok((join, std::iter::once(target.item).chain(others.items).collect()))
    }

    fn scope_of<'s>(&self, level: &'s Scope<'s>, items: Vec<Item>) -> Scope<'s> {
        Scope { level: Some(self.level_id()), ..Scope::of(level, items) }
    }

    fn filter(&self, change: &Change, scope: &Scope<'_>) -> Result<Option<Expr>> {
        let filter = change.condition()?;
        filter.map(|f| scope.at_place(Place::Where, || self.condition(f, scope, "WHERE"))).transpose()
    }

    // --- RETURNING

    /// The row as it will be, by the names of the target: what is masked is shown as it was, or not at all.
    fn new_row(
        &self,
        outputs: &mut Outputs,
        first: usize,
        target: &Target,
        own: Item,
        old: &dyn Fn(&TargetColumn) -> Option<Expr>,
    ) -> Result<Item> {
        let mut columns = vec![];
        for (at, column) in target.columns.iter().enumerate().filter(|(_, column)| column.named) {
            let name = &column.stored.name;
            let shown = match (column.is_masked(), outputs.0.get(first + at)) {
                (false, Some(new)) => new.column.clone(),
                (true, _) | (false, None) => {
                    let shown = old(column).map_or_else(|| self.value_for(None, target, at), Ok)?;
                    outputs.put(self, name, shown)
                }
            };
            columns.push(Column { name: name.clone(), ..shown });
        }
        let fields = columns.iter().map(|column: &Column| column.name.clone()).collect();
        Ok(Item { columns, fields: Some(fields), ..own })
    }

    /// The columns of `inner` and behind them RETURNING's, which read its rows.
    fn returned(
        &self,
        change: &Change,
        target: &Target,
        inner: Query,
        items: Vec<Item>,
        level: &Scope<'_>,
    ) -> Result<(Query, Range<usize>)> {
        let scope = self.scope_of(level, items);
        let mut outputs = Outputs::default();
        for column in &inner.columns {
            outputs.put(self, &column.name, column.expr(0));
        }
        let returning = self.returning(change, target, &scope, &mut outputs)?;
        let returning = returning.unwrap_or(outputs.0.len()..outputs.0.len());
        let columns = inner.columns.clone();
        let from = Relation::Subquery { query: Box::new(inner), columns, lateral: false };
        Ok((selected(Some(from), None, outputs, vec![]), returning))
    }

    /// RETURNING as a query of its own, over the rows of `inner` as they will be.
    #[allow(clippy::too_many_arguments)]
    fn returned_later(
        &self,
        change: &Change,
        target: &Target,
        later: &Arc<dyn Later>,
        inner: Query,
        layout: Layout,
        items: Vec<Item>,
        level: &Scope<'_>,
    ) -> Result<Changed> {
        let scope = self.scope_of(level, items);
        let mut outputs = Outputs::default();
        self.returning(change, target, &scope, &mut outputs)?;
        let numbered = inner.columns.iter().enumerate();
        let columns: Vec<Column> =
            numbered.map(|(at, column)| Column { name: format!("c{at}"), ..column.clone() }).collect();
        // the table's own columns come as its source has them
        let fields = columns.iter().enumerate().map(|(at, column)| {
            let own = at.checked_sub(layout.row.start).filter(|_| layout.row.contains(&at));
            let stored = own.and_then(|own| target.columns.get(own)).map(|own| own.stored.data_type.clone());
            pgtype::field(&column.name, column.ty, stored.unwrap_or_else(|| column.data_type.clone()))
        });
        let table = Arc::clone(later).of(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let (alias, name) = (target.found.name.clone(), target.found.name.clone());
        let from = Relation::Table { alias, source: SourceOf { name, table, is_materialized: false }, columns };
        let then = selected(Some(from), None, outputs, vec![]);
        let mut reads_cte = false;
        then.cte_reads(&mut |_, _| reads_cte = true);
        match reads_cte {
            true => Err(Error::unsupported("a query of WITH in RETURNING of a source's table")),
            false => Ok(Changed { query: inner, layout, then: Some(then) }),
        }
    }

    fn returning(
        &self,
        change: &Change,
        target: &Target,
        scope: &Scope<'_>,
        outputs: &mut Outputs,
    ) -> Result<Option<Range<usize>>> {
        let Some(list) = change.returning()? else { return Ok(None) };
        if target.unread {
            return Err(unreadable(target));
        }
        let first = outputs.0.len();
        outputs.0.extend(scope.at_place(Place::Returning, || self.targets(list, scope, true))?);
        Ok(Some(first..outputs.0.len()))
    }
}

/// Where its rows are, and by what they are known.
fn places(scanned: &Scanned, target: &Target) -> Vec<Column> {
    scanned.columns.get(target.place.clone()).unwrap_or_default().to_vec()
}

fn column_at(columns: &[Column], at: usize) -> Result<&Column> {
    columns.get(at).ok_or_else(|| Error::internal("a target's source without one of its columns"))
}

fn joined(kind: JoinKind, left: Relation, right: Relation, on: Option<Expr>) -> Relation {
    let join = Join { kind, left, right, on, lateral: false, merged: vec![], present: (None, None) };
    Relation::Join(Box::new(join))
}

fn selected(from: Option<Relation>, filter: Option<Expr>, outputs: Outputs, order: Vec<Sort>) -> Query {
    let columns = outputs.columns();
    let select = Select { from, filter, groups: None, having: None, targets: outputs.0, distinct: Distinct::None };
    let body = Body::Select(Box::new(select));
    Query { ctes: vec![], body, order, offset: None, limit: None, with_ties: false, columns }
}

/// 42501 for whoever may write to a table and not read it.
fn unreadable(target: &Target) -> Error {
    Error::new(Kind::PermissionDenied, format!("permission denied for table {}", target.found.name))
}
