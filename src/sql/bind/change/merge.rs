//! MERGE, and ON CONFLICT as one: source and target joined, the WHEN that each row meets, and the row that comes of it. Each
//! is computed only for the rows that ask for it.

use std::ops::Range;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::Expr as Ast;

use super::super::Binder;
use super::super::scope::{Item, Place, Scope, Side};
use super::insert::{by_number, int4};
use super::{Act, Acts, Changed, Layout, Outputs, Scanned, Target, column_at, joined, places, selected};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::parse::change::{Assignment, Change, Filled, Overriding, Then, When};
use crate::sql::query::{Column, JoinKind, Relation};

/// What is merged, and how.
pub(super) struct Merging<'a> {
    pub(super) source: Relation,
    pub(super) source_items: Vec<Item>,
    pub(super) target: Scanned,
    pub(super) on: Option<Expr>,
    pub(super) branches: Vec<Branch<'a>>,
    /// Of an ON CONFLICT.
    pub(super) proposed: Option<Proposed>,
    /// RETURNING sees the source too.
    pub(super) shows_source: bool,
}

/// The rows that an INSERT would add: a column for each of the target's, the number by which they come, which are the key.
pub(super) struct Proposed {
    pub(super) row: Vec<Column>,
    pub(super) number: Column,
    pub(super) key: Vec<usize>,
}

pub(super) struct Branch<'a> {
    matched: bool,
    condition: Option<&'a Ast>,
    then: Outcome<'a>,
}

enum Outcome<'a> {
    Nothing,
    Delete,
    Update(&'a [Assignment]),
    Insert {
        columns: &'a [Filled],
        values: Option<Range<usize>>,
        overriding: Option<Overriding>,
    },
    /// The row as it is proposed.
    Propose,
}

impl<'a> Branch<'a> {
    pub(super) fn nothing(matched: bool) -> Self {
        Self { matched, condition: None, then: Outcome::Nothing }
    }

    pub(super) fn update(set: &'a [Assignment], condition: Option<&'a Ast>) -> Self {
        Self { matched: true, condition, then: Outcome::Update(set) }
    }

    pub(super) fn proposed() -> Self {
        Self { matched: false, condition: None, then: Outcome::Propose }
    }

    fn of(change: &'a Change, when: &'a When) -> Result<Self> {
        let condition = when.condition.map(|number| change.expr(number)).transpose()?;
        let then = match &when.then {
            Then::Nothing => Outcome::Nothing,
            Then::Delete => Outcome::Delete,
            Then::Update(set) => Outcome::Update(set),
            Then::Insert { columns, values, overriding } => {
                Outcome::Insert { columns, values: values.clone(), overriding: *overriding }
            }
        };
        Ok(Self { matched: when.matched, condition, then })
    }

    fn act(&self) -> Option<Act> {
        match self.then {
            Outcome::Nothing => None,
            Outcome::Delete => Some(Act::Delete),
            Outcome::Update(_) => Some(Act::Update),
            Outcome::Insert { .. } | Outcome::Propose => Some(Act::Insert),
        }
    }
}

/// What names a branch sees: a row that is not there has none.
struct Sight {
    both: Vec<Item>,
    source: Vec<Item>,
}

impl Sight {
    fn new(target: Item, source: Vec<Item>) -> Self {
        let absent = Item { side: Side::Hidden, bare: false, ..target.clone() };
        let both = std::iter::once(target).chain(source.iter().cloned()).collect();
        Self { both, source: std::iter::once(absent).chain(source).collect() }
    }

    fn of(&self, matched: bool) -> Vec<Item> {
        if matched { self.both.clone() } else { self.source.clone() }
    }
}

impl Binder<'_> {
    pub(super) fn merge(&self, change: &Change, whens: &[When], target: &Target, level: &Scope<'_>) -> Result<Changed> {
        for (n, when) in whens.iter().enumerate() {
            if whens.iter().take(n).any(|before| before.matched == when.matched && before.condition.is_none()) {
                let text = "unreachable WHEN clause specified after unconditional WHEN clause";
                return Err(Error::new(Kind::Syntax, text));
            }
        }
        let scanned = self.scanned(change, target)?;
        let hidden = Item { side: Side::Hidden, bare: false, ..scanned.item.clone() };
        let source = self.from(change.others()?, &Scope::of(level, vec![hidden]))?;
        let source = source.ok_or_else(|| Error::internal("a MERGE without a source"))?;
        if source.items.iter().any(|item| item.alias.is_some() && item.alias == scanned.item.alias) {
            let name = scanned.item.alias.as_deref().unwrap_or_default();
            let detail = "The name is used both as MERGE target table and data source.";
            let text = format!("name \"{name}\" specified more than once");
            return Err(Error::new(Kind::DuplicateAlias, text).with_detail(detail));
        }
        let sight = Sight::new(scanned.item.clone(), source.items.clone());
        let scope = Scope::of(level, sight.both);
        scope.place.set(Place::JoinOn);
        let on = change.condition()?.map(|on| self.condition(on, &scope, "JOIN/ON")).transpose()?;
        let merging = Merging {
            source: source.relation,
            source_items: source.items,
            target: scanned,
            on,
            branches: whens.iter().map(|when| Branch::of(change, when)).collect::<Result<_>>()?,
            proposed: None,
            shows_source: true,
        };
        self.merged(change, target, merging, level)
    }

    pub(super) fn merged(
        &self,
        change: &Change,
        target: &Target,
        merging: Merging<'_>,
        level: &Scope<'_>,
    ) -> Result<Changed> {
        let Merging { source, source_items, target: scanned, on, branches, proposed, shows_source } = merging;
        let place = places(&scanned, target);
        let Scanned { relation, columns, item } = scanned;

        // which WHEN each row meets
        let adds = branches.iter().any(|branch| !branch.matched && branch.act().is_some());
        let kind = if adds { JoinKind::Left } else { JoinKind::Inner };
        let sight = Sight::new(item.clone(), source_items.clone());
        let there = place.first().ok_or_else(|| Error::internal("a target without places"))?;
        let met = self.met(&branches, there, &sight, level)?;
        let mut outputs = Outputs::default();
        let met = outputs.put(self, "when", met);
        let place: Vec<Column> = place.iter().map(|column| outputs.put(self, "place", column.expr(0))).collect();
        let columns: Vec<Column> =
            columns.iter().map(|column| outputs.put(self, &column.name, column.expr(0))).collect();
        let item = self.target_item(change, target, |column| columns.get(column.shown?).cloned());
        let source_items = outputs.carry(self, &source_items);
        let proposed = proposed.map(|Proposed { row, number, key }| Proposed {
            row: row.iter().map(|column| outputs.put(self, &column.name, column.expr(0))).collect(),
            number: outputs.put(self, "number", number.expr(0)),
            key,
        });
        let inner = selected(Some(joined(kind, source, relation, on)), None, outputs, vec![]);

        // what comes of it
        let inner_columns = inner.columns.clone();
        let from = Relation::Subquery { query: Box::new(inner), columns: inner_columns, lateral: false };
        let filter = self.compare("<>", met.expr(0), int4(0), 0)?;
        let sight = Sight::new(item.clone(), source_items.clone());
        let rows = self.rows(change, target, &branches, &columns, proposed.as_ref(), &sight, level)?;
        let mut outputs = Outputs::default();
        outputs.put(self, "when", met.expr(0));
        let place_from = outputs.0.len();
        for column in &place {
            outputs.put(self, "place", column.expr(0));
        }
        let place = place_from..outputs.0.len();
        let first = outputs.0.len();
        for (at, column) in target.columns.iter().enumerate() {
            let mut whens = vec![];
            for (number, row) in rows.iter().enumerate() {
                if let Some(value) = row.as_ref().and_then(|row| row.get(at)) {
                    let is = self.compare("=", met.expr(0), int4(number + 1), 0)?;
                    whens.push((is, value.clone()));
                }
            }
            let nothing = self.value_for(None, target, at)?;
            let value = match whens.is_empty() {
                true => nothing,
                false => {
                    let (ty, data_type) = (nothing.ty, nothing.data_type.clone());
                    Expr::lying(Node::Case { whens, otherwise: Some(Box::new(nothing)) }, ty, data_type, 0)
                }
            };
            outputs.put(self, &column.stored.name, value);
        }
        let row = first..outputs.0.len();
        for at in proposed.iter().flat_map(|proposed| &proposed.key) {
            if let Some(column) = proposed.as_ref().and_then(|proposed| proposed.row.get(*at)) {
                outputs.put(self, &column.name, column.expr(0));
            }
        }
        let key = row.end..outputs.0.len();
        let number = proposed.as_ref().map(|proposed| {
            outputs.put(self, "number", proposed.number.expr(0));
            outputs.0.len() - 1
        });
        let acts = branches.iter().map(Branch::act).collect();
        let act = Acts::By { column: 0, acts };
        let (mut query, returning) = match change.shape.returning {
            None => (selected(Some(from), Some(filter), outputs, vec![]), None),
            Some(_) => {
                let old = |column: &super::TargetColumn| columns.get(column.shown?).map(|c| c.expr(0));
                let new = self.new_row(&mut outputs, first, target, item, &old)?;
                let carried = match shows_source {
                    true => outputs.carry(self, &source_items),
                    false => source_items
                        .iter()
                        .map(|item| Item { side: Side::Hidden, bare: false, columns: vec![], ..item.clone() })
                        .collect(),
                };
                let items = carried.into_iter().chain([new]).collect();
                let inner = selected(Some(from), Some(filter), outputs, vec![]);
                let (query, returning) = self.returned(change, target, inner, items, level)?;
                (query, Some(returning))
            }
        };
        if let Some(column) = number.and_then(|at| query.columns.get(at)) {
            query.order = by_number(column);
        }
        let layout = Layout { place, key, returning, ..Layout::of(act, row) };
        Ok(Changed { query, layout, then: None })
    }

    /// The number of the WHEN that a row meets, from one; zero for none.
    fn met(&self, branches: &[Branch<'_>], there: &Column, sight: &Sight, level: &Scope<'_>) -> Result<Expr> {
        let int = |whens: Vec<(Expr, Expr)>, otherwise: Expr| match whens.is_empty() {
            true => otherwise,
            false => {
                let otherwise = Some(Box::new(otherwise));
                Expr::lying(Node::Case { whens, otherwise }, Ty::INT4, DataType::Int32, 0)
            }
        };
        let side = |matched: bool| {
            let scope = self.scope_of(level, sight.of(matched));
            scope.place.set(Place::MergeWhen);
            let mut whens = vec![];
            for (n, branch) in branches.iter().enumerate().filter(|(_, branch)| branch.matched == matched) {
                match branch.condition {
                    Some(condition) => whens.push((self.condition(condition, &scope, "WHEN")?, int4(n + 1))),
                    None => return Ok(int(whens, int4(n + 1))),
                }
            }
            Ok::<_, Error>(int(whens, int4(0)))
        };
        let is_there = Expr::boolean(Node::IsNull { of: Box::new(there.expr(0)), negated: true }, 0);
        Ok(int(vec![(is_there, side(true)?)], side(false)?))
    }

    /// The row of each branch that has one; of a deletion the row that goes, for RETURNING.
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &self,
        change: &Change,
        target: &Target,
        branches: &[Branch<'_>],
        columns: &[Column],
        proposed: Option<&Proposed>,
        sight: &Sight,
        level: &Scope<'_>,
    ) -> Result<Vec<Option<Vec<Expr>>>> {
        let old = |at: usize| {
            let column = target.columns.get(at).ok_or_else(|| Error::internal("no such column"))?;
            Ok::<_, Error>(column_at(columns, column.raw)?.expr(0))
        };
        let all = || 0..target.columns.len();
        let row = |branch: &Branch<'_>| {
            let scope = self.scope_of(level, sight.of(branch.matched));
            Ok::<_, Error>(match &branch.then {
                Outcome::Nothing => None,
                Outcome::Delete if change.shape.returning.is_none() => None,
                Outcome::Delete => Some(all().map(old).collect::<Result<Vec<_>>>()?),
                Outcome::Update(set) => {
                    let (set, _) = self.assignments(change, set, target, &scope)?;
                    let value = |at| set.get(&at).cloned().map_or_else(|| old(at), Ok);
                    Some(all().map(value).collect::<Result<Vec<_>>>()?)
                }
                Outcome::Insert { columns, values, overriding } => {
                    scope.place.set(Place::Values);
                    let given =
                        self.merge_row(change, columns, values.clone(), target, &scope)?.into_iter().enumerate();
                    let row = given.map(|(at, value)| {
                        let value = self.inserted(value, target, at, *overriding)?;
                        self.value_for(value, target, at)
                    });
                    Some(row.collect::<Result<Vec<_>>>()?)
                }
                Outcome::Propose => proposed.map(|proposed| proposed.row.iter().map(|c| c.expr(0)).collect()),
            })
        };
        branches.iter().map(row).collect()
    }

    /// merge_insert: what each column of the target is given.
    fn merge_row(
        &self,
        change: &Change,
        columns: &[Filled],
        values: Option<Range<usize>>,
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<Vec<Option<Expr>>> {
        let filled = self.filled(columns, target)?;
        let mut given = vec![None; target.columns.len()];
        if let Some(values) = values {
            let count = values.len();
            if let Some(column) = columns.get(count) {
                let text = "INSERT has more target columns than expressions";
                return Err(Error::new(Kind::Syntax, text).at(self.at(column.name.span)));
            }
            for (n, number) in values.enumerate() {
                let ast = change.expr(number)?;
                let Some(slot) = filled.get(n).and_then(|at| given.get_mut(*at)) else {
                    let text = "INSERT has more expressions than target columns";
                    return Err(Error::new(Kind::Syntax, text).at(self.at_of(ast)));
                };
                *slot = match crate::sql::parse::change::is_default(ast) {
                    true => None,
                    false => Some(self.expr(ast, scope)?),
                };
            }
        }
        Ok(given)
    }
}
