//! Where a recursive query may name itself (parse_cte.c, `checkWellFormedRecursion`), and in which order the queries of a
//! WITH are bound (`TopologicalSort`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, JoinOperator, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit};

use super::Binder;
use super::name::{folded, segments};
use crate::error::{Error, Kind, Result};

/// Whether the query reads a relation of that bare name that stands outside it.
pub(super) fn names(query: &ast::Query, name: &str) -> bool {
    query.visit(&mut Names { name, hidden: 0 }).is_break()
}

struct Names<'n> {
    name: &'n str,
    /// How many queries around have a WITH item of that name.
    hidden: usize,
}

impl Names<'_> {
    fn is_hidden_by(&self, query: &ast::Query) -> bool {
        let items = query.with.iter().flat_map(|with| &with.cte_tables);
        items.into_iter().any(|cte| folded(&cte.alias.name) == self.name)
    }
}

impl ast::Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if !self.is_hidden_by(query) {
            return ControlFlow::Continue(());
        }
        // items up to the one of that name, and it itself, read what stands outside
        for cte in query.with.iter().filter(|with| !with.recursive).flat_map(|with| &with.cte_tables) {
            if self.hidden == 0 && names(&cte.query, self.name) {
                return ControlFlow::Break(());
            }
            if folded(&cte.alias.name) == self.name {
                break;
            }
        }
        self.hidden += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        self.hidden -= usize::from(self.is_hidden_by(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        if self.hidden == 0 { found(relation, self.name) } else { ControlFlow::Continue(()) }
    }
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
    /// The order in which the queries of WITH RECURSIVE are bound, as each reads others, and perhaps itself.
    pub(super) fn binding_order(&self, with: &ast::With) -> Result<Vec<usize>> {
        let mut left: Vec<usize> = (0..with.cte_tables.len()).collect();
        if !with.recursive {
            return Ok(left);
        }
        let named: Vec<String> = with.cte_tables.iter().map(|cte| folded(&cte.alias.name)).collect();
        let reads = |reader: usize, read: usize| match (with.cte_tables.get(reader), named.get(read)) {
            (Some(cte), Some(name)) => names(&cte.query, name),
            _ => false,
        };
        let mut order = vec![];
        while !left.is_empty() {
            let free = left.iter().position(|one| !left.iter().any(|other| other != one && reads(*one, *other)));
            let Some(free) = free else {
                let first = left.first().and_then(|i| with.cte_tables.get(*i));
                let at = first.map_or(0, |cte| self.at(cte.alias.name.span));
                let text = "mutual recursion between WITH items is not implemented";
                return Err(Error::new(Kind::Unsupported, text).at(at));
            };
            order.push(left.remove(free));
        }
        Ok(order)
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
