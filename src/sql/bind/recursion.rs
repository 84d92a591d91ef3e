//! Where a recursive query may name itself (parse_cte.c, `checkWellFormedRecursion`), and in which order the queries of a
//! WITH are bound (`TopologicalSort`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, JoinOperator, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit};

use super::Binder;
use super::name::{folded, segments};
use crate::error::{Error, Kind, Result};

/// One query of a WITH, by its place there.
pub(super) struct Next {
    pub(super) index: usize,
    /// It reads itself.
    pub(super) recursive: bool,
}

/// The bare names of relations that a query reads and that stand outside it.
fn free_names(query: &ast::Query) -> HashSet<String> {
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    names.free
}

#[derive(Default)]
struct Names {
    free: HashSet<String>,
    /// How many of the WITH items that can be read here have that name.
    hidden: HashMap<String, usize>,
    /// The queries around, the innermost last.
    around: Vec<Around>,
}

struct Around {
    items: Vec<String>,
    /// How many of the items can be read.
    visible: usize,
}

impl Names {
    fn hide(&mut self, name: &str) {
        *self.hidden.entry(name.to_owned()).or_default() += 1;
    }

    fn show(&mut self, name: &str) {
        if let Some(count) = self.hidden.get_mut(name) {
            *count -= 1;
        }
    }
}

impl ast::Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let items: Vec<String> = query.with.iter().flat_map(named).collect();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let visible = if recursive { items.len() } else { 0 };
        items.iter().take(visible).for_each(|name| self.hide(name));
        self.around.push(Around { items, visible });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        if let Some(Around { items, visible }) = self.around.pop() {
            items.iter().take(visible).for_each(|name| self.show(name));
        }
        // its items are the first queries in a query; those behind an item can read it, as can the query's body
        let item = self.around.last_mut().and_then(|around| {
            let item = around.items.get(around.visible).cloned();
            around.visible += usize::from(item.is_some());
            item
        });
        item.iter().for_each(|name| self.hide(name));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        if let [only] = segments(relation).as_slice()
            && self.hidden.get(only).is_none_or(|count| *count == 0)
        {
            self.free.insert(only.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The names of its items.
pub(super) fn named(with: &ast::With) -> impl Iterator<Item = String> {
    with.cte_tables.iter().map(|cte| folded(&cte.alias.name))
}

fn found(relation: &ast::ObjectName, name: &str) -> ControlFlow<()> {
    match segments(relation).as_slice() {
        [only] if only == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// Where a reference stands: whether it may, and if not, within what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Allowed,
    Within(&'static str),
}

const FIRST_TERM: Context = Context::Within("its non-recursive term");
const SUBQUERY: Context = Context::Within("a subquery");
const OUTER_JOIN: Context = Context::Within("an outer join");
const INTERSECT: Context = Context::Within("INTERSECT");
const EXCEPT: Context = Context::Within("EXCEPT");

impl Binder<'_> {
    /// The order in which the queries of a WITH are bound: as they are written, but for those of WITH RECURSIVE, where each
    /// comes after those that it reads.
    pub(super) fn binding_order(&self, with: &ast::With, names: &[String]) -> Result<Vec<Next>> {
        if !with.recursive {
            return Ok((0..names.len()).map(|index| Next { index, recursive: false }).collect());
        }
        let indexes: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut items: Vec<Next> = (0..names.len()).map(|index| Next { index, recursive: false }).collect();
        // of each: who reads it, and how many it reads that have no place yet
        let (mut readers, mut waits) = (vec![vec![]; names.len()], vec![0_usize; names.len()]);
        for (item, cte) in items.iter_mut().zip(&with.cte_tables) {
            let free = free_names(&cte.query);
            for read in free.iter().filter_map(|name| indexes.get(name.as_str()).copied()) {
                if read == item.index {
                    item.recursive = true;
                } else {
                    readers[read].push(item.index);
                    waits[item.index] += 1;
                }
            }
        }
        // the first that waits for none changes places with the first that has no place
        let mut places: Vec<usize> = (0..names.len()).collect();
        let mut free: BinaryHeap<Reverse<usize>> =
            places.iter().copied().filter(|i| waits[*i] == 0).map(Reverse).collect();
        for place in 0..items.len() {
            let Some(Reverse(next)) = free.pop() else {
                let first = with.cte_tables.get(items[place].index);
                let at = first.map_or(0, |cte| self.at(cte.alias.name.span));
                let text = "mutual recursion between WITH items is not implemented";
                return Err(Error::new(Kind::Unsupported, text).at(at));
            };
            items.swap(place, next);
            places[items[next].index] = next;
            for reader in &readers[items[place].index] {
                waits[*reader] -= 1;
                if waits[*reader] == 0 {
                    free.push(Reverse(places[*reader]));
                }
            }
        }
        Ok(items)
    }

    /// The terms of a query that names itself, and whether rows stay as often as they come.
    pub(super) fn recursion<'q>(&self, cte: &'q ast::Cte, name: &str) -> Result<(&'q SetExpr, &'q SetExpr, bool)> {
        let at = self.at(cte.alias.name.span);
        let query = cte.query.as_ref();
        let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = query.body.as_ref() else {
            let text = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            return Err(Error::new(Kind::Recursion, text).at(at));
        };
        let mut walk = Walk { binder: self, name, met: 0 };
        walk.body(left, FIRST_TERM)?;
        walk.body(right, Context::Allowed)?;
        if let Some(with) = &query.with {
            with.cte_tables.iter().try_for_each(|inner| walk.query(&inner.query, SUBQUERY))?;
        }
        let refused = |what: &str, at: usize| {
            let error = Error::new(Kind::Unsupported, format!("{what} in a recursive query is not implemented"));
            Err(if at == 0 { error } else { error.at(at) })
        };
        if let Some(order) = &query.order_by {
            let first = match &order.kind {
                ast::OrderByKind::Expressions(keys) => keys.first().map_or(0, |key| self.at_of(&key.expr)),
                ast::OrderByKind::All(_) => 0,
            };
            return refused("ORDER BY", first);
        }
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            if let Some(offset) = offset {
                return refused("OFFSET", self.at_of(&offset.value));
            }
            if let Some(limit) = limit {
                return refused("LIMIT", self.at_of(limit));
            }
        }
        if query.fetch.is_some() {
            return refused("LIMIT", at);
        }
        if !query.locks.is_empty() {
            return refused("FOR UPDATE/SHARE", 0);
        }
        Ok((left, right, matches!(set_quantifier, SetQuantifier::All)))
    }
}

struct Walk<'w> {
    binder: &'w Binder<'w>,
    name: &'w str,
    met: usize,
}

impl Walk<'_> {
    fn query(&mut self, query: &ast::Query, context: Context) -> Result<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let hides = folded(&cte.alias.name) == self.name;
            let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
            if hides && recursive {
                return Ok(());
            }
            self.query(&cte.query, context)?;
            if hides {
                return Ok(());
            }
        }
        self.body(&query.body, context)?;
        self.inside(&query.order_by)?;
        self.inside(&query.limit_clause)
    }

    fn body(&mut self, body: &SetExpr, context: Context) -> Result<()> {
        match body {
            SetExpr::Select(select) => {
                self.inside(&select.projection)?;
                for part in &select.from {
                    self.part(part, context)?;
                }
                self.inside(&select.selection)?;
                self.inside(&select.group_by)?;
                self.inside(&select.having)?;
                self.inside(&select.named_window)
            }
            SetExpr::Query(query) => self.query(query, context),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All);
                let (l, r) = match (op, all) {
                    _ if context != Context::Allowed => (context, context),
                    (SetOperator::Intersect, true) => (INTERSECT, INTERSECT),
                    (SetOperator::Except, true) => (EXCEPT, EXCEPT),
                    (SetOperator::Except, false) => (context, EXCEPT),
                    _ => (context, context),
                };
                self.body(left, l)?;
                self.body(right, r)
            }
            other => self.inside(other),
        }
    }

    fn part(&mut self, part: &ast::TableWithJoins, context: Context) -> Result<()> {
        // an outer join holds all that was joined before it
        let outer = if context == Context::Allowed { OUTER_JOIN } else { context };
        let (mut first, mut others) = (context, vec![]);
        for join in part.joins.iter().rev() {
            let (left, right) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (first, outer),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (outer, first),
                JoinOperator::FullOuter(_) => (outer, outer),
                _ => (first, first),
            };
            others.push((join, right));
            first = left;
        }
        self.factor(&part.relation, first)?;
        for (join, context) in others.into_iter().rev() {
            self.factor(&join.relation, context)?;
            self.inside(&join.join_operator)?;
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor, context: Context) -> Result<()> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.relation(name, context),
            TableFactor::Derived { subquery, .. } => self.query(subquery, context),
            TableFactor::NestedJoin { table_with_joins, .. } => self.part(table_with_joins, context),
            other => self.inside(other),
        }
    }

    /// Whatever stands in an expression stands in a subquery.
    fn inside(&mut self, node: &impl Visit) -> Result<()> {
        let mut failed = None;
        let _ = ast::visit_relations(node, |relation| match self.relation(relation, SUBQUERY) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn relation(&mut self, relation: &ast::ObjectName, context: Context) -> Result<()> {
        if found(relation, self.name).is_continue() {
            return Ok(());
        }
        let (name, at) = (self.name, self.binder.at_of(relation));
        if let Context::Within(what) = context {
            let text = format!("recursive reference to query \"{name}\" must not appear within {what}");
            return Err(Error::new(Kind::Recursion, text).at(at));
        }
        self.met += 1;
        match self.met > 1 {
            true => {
                let text = format!("recursive reference to query \"{name}\" must not appear more than once");
                Err(Error::new(Kind::Recursion, text).at(at))
            }
            false => Ok(()),
        }
    }
}
