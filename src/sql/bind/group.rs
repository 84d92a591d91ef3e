//! GROUP BY with its sets, and 42803 for what is neither grouped nor aggregated (parse_agg.c).

use std::collections::{BTreeSet, HashSet};

use datafusion::sql::sqlparser::ast::{self, Expr as Ast};

use super::scope::{Place, Scope};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::sql::expr::{ColumnId, Expr, Kind as Node};
use crate::sql::parse::encoding::{self, GROUP_DISTINCT};
use crate::sql::query::{Groups, Target};

/// Grouping sets of one GROUP BY at most, as PostgreSQL limits them.
const SETS_MAX: usize = 4096;
/// Elements of one CUBE.
const CUBE_MAX: usize = 12;

/// Groups as they are read.
struct Keyed {
    groups: Groups,
    /// For each of `by` the target that it is.
    targets: Vec<Option<ColumnId>>,
    /// Where a second target of the same expression is grouped by.
    twice: Option<usize>,
}

/// One set: places in `Groups::by`.
type Set = Vec<usize>;

impl Binder<'_> {
    /// `None`: the query does not group.
    pub(super) fn groups(
        &self,
        clause: &ast::GroupByExpr,
        targets: &mut Vec<Target>,
        having: bool,
        scope: &Scope<'_>,
    ) -> Result<Option<Groups>> {
        let list = match clause {
            ast::GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => list,
            _ => return Err(syntax_error("ALL", 0)),
        };
        let level = scope.level.ok_or_else(|| Error::internal("groups outside a SELECT"))?;
        if list.is_empty() {
            let grouped = having || scope.aggregates.get();
            return Ok(grouped.then(|| Groups { level, by: vec![], sets: vec![vec![]] }));
        }
        let mut groups = Keyed { groups: Groups { level, by: vec![], sets: vec![] }, targets: vec![], twice: None };
        // each element gives alternatives; the whole is their product
        let mut product: Vec<Set> = vec![vec![]];
        let distinct = list.first().is_some_and(|first| encoding::unmarked(GROUP_DISTINCT, first).is_some());
        for element in list {
            let element = encoding::unmarked(GROUP_DISTINCT, element).unwrap_or(element);
            let sets = self.sets(element, &mut groups, targets, scope)?;
            if product.len().saturating_mul(sets.len()) > SETS_MAX {
                let text = format!("too many grouping sets present (maximum {SETS_MAX})");
                return Err(Error::new(Kind::TooComplex, text).at(self.at_of(element)));
            }
            let mut next = Vec::with_capacity(product.len() * sets.len());
            for left in &product {
                for right in &sets {
                    let mut both = left.clone();
                    both.extend(right.iter().filter(|i| !left.contains(i)));
                    next.push(both);
                }
            }
            product = next;
        }
        if distinct {
            let mut seen = HashSet::new();
            product.retain(|set| seen.insert(set.iter().copied().collect::<BTreeSet<_>>()));
        }
        if let (Some(at), 2..) = (groups.twice, product.len()) {
            // each of the columns is NULL by itself there
            return Err(Error::unsupported("GROUP BY with sets of two columns of one expression").at(at));
        }
        Ok(Some(Groups { sets: product, ..groups.groups }))
    }

    fn sets(
        &self,
        element: &Ast,
        groups: &mut Keyed,
        targets: &mut Vec<Target>,
        scope: &Scope<'_>,
    ) -> Result<Vec<Set>> {
        let lists = |lists: &[Vec<Ast>], groups: &mut Keyed, targets: &mut Vec<Target>| {
            lists.iter().map(|list| self.places(list, groups, targets, scope)).collect::<Result<Vec<Set>>>()
        };
        match element {
            Ast::Rollup(parts) => {
                let parts = lists(parts, groups, targets)?;
                Ok((0..=parts.len()).rev().map(|n| joined(&parts[..n])).collect())
            }
            Ast::Cube(parts) => {
                if parts.len() > CUBE_MAX {
                    let text = format!("CUBE is limited to {CUBE_MAX} elements");
                    return Err(Error::new(Kind::TooManyColumns, text).at(self.at_of(element)));
                }
                let parts = lists(parts, groups, targets)?;
                let chosen = |bits: usize| {
                    let parts = parts.iter().enumerate().filter(|(i, _)| bits & (1 << (parts.len() - 1 - i)) != 0);
                    joined(&parts.map(|(_, p)| p.clone()).collect::<Vec<_>>())
                };
                Ok((0..1usize << parts.len()).rev().map(chosen).collect())
            }
            Ast::GroupingSets(parts) => {
                let mut sets = vec![];
                for part in parts {
                    match part.as_slice() {
                        [one @ (Ast::Rollup(_) | Ast::Cube(_) | Ast::GroupingSets(_))] => {
                            sets.extend(self.sets(one, groups, targets, scope)?);
                        }
                        list => sets.push(self.places(list, groups, targets, scope)?),
                    }
                }
                Ok(sets)
            }
            Ast::Tuple(items) => Ok(vec![self.places(items, groups, targets, scope)?]),
            one => Ok(vec![self.places(std::slice::from_ref(one), groups, targets, scope)?]),
        }
    }

    fn places(&self, list: &[Ast], groups: &mut Keyed, targets: &mut Vec<Target>, scope: &Scope<'_>) -> Result<Set> {
        let mut set = vec![];
        for ast in list {
            if let Ast::Tuple(items) = ast {
                set.extend(self.places(items, groups, targets, scope)?);
                continue;
            }
            let (expr, target) = scope.at_place(Place::GroupBy, || self.group_key(ast, targets, scope))?;
            self.check_group_key(&expr)?;
            self.comparable(&expr, "=")?;
            let known = groups.groups.by.iter().position(|e| *e == expr);
            let place = known.unwrap_or(groups.groups.by.len());
            match known.map(|known| groups.targets.get(known)) {
                None => {
                    groups.groups.by.push(expr);
                    groups.targets.push(target);
                }
                Some(Some(Some(other))) if target.is_some_and(|target| target != *other) => {
                    groups.twice = Some(self.at_of(ast));
                }
                Some(_) => {}
            }
            if !set.contains(&place) {
                set.push(place);
            }
        }
        Ok(set)
    }

    /// The expression, and the target that it is, if it is selected.
    fn group_key(&self, ast: &Ast, targets: &mut Vec<Target>, scope: &Scope<'_>) -> Result<(Expr, Option<ColumnId>)> {
        let before = targets.len();
        let id = self.key_target(ast, targets, "GROUP BY", scope)?;
        let place = targets.iter().position(|t| t.column.id == id).ok_or_else(|| Error::internal("a key's target"))?;
        let expr = targets[place].expr.clone();
        // a key need not be selected
        targets.truncate(before);
        Ok((expr, (place < before).then_some(id)))
    }

    fn check_group_key(&self, expr: &Expr) -> Result<()> {
        let refused = [
            (
                expr.any(&|e| matches!(e.kind, Node::Aggregate(_))),
                Kind::Grouping,
                "aggregate functions are not allowed in GROUP BY",
            ),
            (
                expr.any(&|e| matches!(e.kind, Node::Window(_))),
                Kind::Windowing,
                "window functions are not allowed in GROUP BY",
            ),
        ];
        match refused.into_iter().find(|(is, ..)| *is) {
            Some((_, kind, text)) => Err(Error::new(kind, text).at(expr.at)),
            None => Ok(()),
        }
    }

    /// Every column of this level stands inside a grouped expression or an aggregate of it.
    pub(super) fn check_grouped(&self, expr: &Expr, groups: &Groups, scope: &Scope<'_>) -> Result<()> {
        self.check_ungrouped(expr, groups, scope, false)
    }

    /// `inside` a subquery only columns are known as grouped, not expressions over them (`check_ungrouped_columns_walker`).
    fn check_ungrouped(&self, expr: &Expr, groups: &Groups, scope: &Scope<'_>, inside: bool) -> Result<()> {
        let is_column = matches!(expr.kind, Node::Column(_));
        if (is_column || !inside) && groups.by.contains(expr) {
            return Ok(());
        }
        match &expr.kind {
            Node::Aggregate(aggregate) if aggregate.level == groups.level => {
                if !crate::sql::functions::is_ordered_set(aggregate.proc) {
                    return Ok(());
                }
                let detail = "Direct arguments of an ordered-set aggregate must use only grouped columns.";
                let mut direct = aggregate.arguments.iter();
                direct
                    .try_for_each(|e| self.check_ungrouped(e, groups, scope, inside))
                    .map_err(|error| error.with_detail(detail))
            }
            Node::Grouping { of, level } if *level == groups.level => {
                let foreign = of.iter().find(|e| !groups.by.contains(e));
                match foreign {
                    Some(e) => {
                        let text = "arguments to GROUPING must be grouping expressions of the associated query level";
                        Err(Error::new(Kind::Grouping, text).at(e.at))
                    }
                    None => Ok(()),
                }
            }
            Node::Column(id) if scope.owns(*id) => {
                let named = scope.items.iter().find_map(|item| {
                    let column = item.columns.iter().find(|c| c.id == *id)?;
                    Some(match &item.alias {
                        Some(alias) => format!("{alias}.{}", column.name),
                        None => column.name.clone(),
                    })
                });
                let named = named.unwrap_or_default();
                let text = match inside {
                    true => format!("subquery uses ungrouped column \"{named}\" from outer query"),
                    false => format!(
                        "column \"{named}\" must appear in the GROUP BY clause or be used in an aggregate function"
                    ),
                };
                Err(Error::new(Kind::Grouping, text).at(expr.at))
            }
            _ => {
                for child in expr.children() {
                    self.check_ungrouped(child, groups, scope, inside)?;
                }
                let Node::Subquery { query, .. } = &expr.kind else { return Ok(()) };
                query.expressions().into_iter().try_for_each(|e| self.check_ungrouped(e, groups, scope, true))
            }
        }
    }
}

fn joined(parts: &[Set]) -> Set {
    let mut all: Set = vec![];
    for place in parts.iter().flatten() {
        if !all.contains(place) {
            all.push(*place);
        }
    }
    all
}
