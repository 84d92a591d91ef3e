//! How large a query gets once every name in it is replaced by what it stands for: by arithmetic on the parsed tree, before
//! anything is planned. A CTE costs its size at each reference, so seventeen of them that each join the one before with
//! itself are 131,072 scans in 687 bytes; CUBE over n columns is 2ⁿ sets; each join carries the columns of all before it.
//! Everything saturates. Datasets count as one table here; `plan` counts them with their bodies.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, GroupByWithModifier, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, Visit, Visitor,
};

use super::{Limits, too_complex};
use crate::engine::statement::ident;
use crate::error::{Error, Kind, Result};

/// What is refused here costs no more than this walk. `columns_of`: how many columns a table of the catalog has.
pub(crate) fn check(query: &Query, limits: &Limits, columns_of: &dyn Fn(&ObjectName) -> usize) -> Result<()> {
    let mut expansion = Expansion { limits, columns_of, queries: vec![], selects: vec![], finished: 0 };
    match query.visit(&mut expansion) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Of a query with its CTEs in place.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Nodes of its plan.
    nodes: usize,
    /// Columns of all its nodes together: each node has a schema of its own, which planning copies again and again.
    cells: usize,
    /// Columns of its result.
    width: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.cells = self.cells.saturating_add(other.cells);
    }
}

struct Expansion<'a> {
    limits: &'a Limits,
    columns_of: &'a dyn Fn(&ObjectName) -> usize,
    /// Those around this place, the outermost first.
    queries: Vec<QueryAround>,
    selects: Vec<SelectAround>,
    /// Width of the query that ended last.
    finished: usize,
}

#[derive(Default)]
struct QueryAround {
    /// Its CTEs by where their queries lie in memory, until they are met.
    definitions: HashMap<*const Query, Definition>,
    ctes: HashMap<String, Size>,
    /// The CTE that it defines.
    defines: Option<Definition>,
    size: Size,
}

#[derive(Clone)]
struct Definition {
    name: String,
    /// It may name itself.
    recursive: bool,
}

#[derive(Default)]
struct SelectAround {
    /// Tables, subqueries and functions in FROM: their name there, and their width.
    factors: Vec<(String, usize)>,
    windows: usize,
}

impl SelectAround {
    fn width(&self) -> usize {
        self.factors.iter().fold(0, |sum, (_, width)| sum.saturating_add(*width))
    }
}

impl Expansion<'_> {
    /// A CTE as the innermost query sees it.
    fn cte(&self, name: &ObjectName) -> Option<Size> {
        let [part] = name.0.as_slice() else { return None };
        let name = ident(part.as_ident()?);
        self.queries.iter().rev().find_map(|query| {
            let itself = query.defines.as_ref().is_some_and(|d| d.recursive && d.name == name);
            let work_table = || Size { nodes: 1, cells: query.size.width, width: query.size.width };
            query.ctes.get(&name).copied().or_else(|| itself.then(work_table))
        })
    }

    fn factor(&self, factor: &TableFactor) -> Option<(String, Size)> {
        let named = |size: Size, alias: &Option<_>, name: Option<&ObjectName>| {
            let alias: &Option<datafusion::sql::sqlparser::ast::TableAlias> = alias;
            let last = name.and_then(|n| n.0.last()).and_then(|part| part.as_ident());
            let shown = alias.as_ref().map(|a| &a.name).or(last).map(ident).unwrap_or_default();
            let columns = alias.as_ref().map_or(0, |a| a.columns.len());
            Some((shown, Size { width: size.width.max(columns), ..size }))
        };
        let leaf = |width: usize| Size { nodes: 1, cells: width, width };
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let size = self.cte(name).unwrap_or_else(|| leaf((self.columns_of)(name)));
                named(size, alias, Some(name))
            }
            // its query has added itself to the one around
            TableFactor::Derived { alias, .. } => named(Size { width: self.finished, ..Size::default() }, alias, None),
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
                named(leaf(1), alias, Some(name))
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => named(leaf(array_exprs.len()), alias, None),
            TableFactor::NestedJoin { .. } => None,
            _ => Some((String::new(), leaf(1))),
        }
    }

    fn refused(&self) -> Option<Error> {
        let size = self.queries.last()?.size;
        let hint = "Write the result of the CTE or dataset that is named most often into a table first.";
        if size.nodes > self.limits.plan_nodes_max {
            let what = "plan nodes once its CTEs are put in their places";
            return Some(too_complex(what, self.limits.plan_nodes_max).with_hint(hint));
        }
        if size.cells > self.limits.plan_columns_max {
            let what = "columns in all steps of its plan together";
            let hint = "Join fewer tables at once, or select the columns that are needed in subqueries.";
            return Some(too_complex(what, self.limits.plan_columns_max).with_hint(hint));
        }
        None
    }

    fn goes_on(&self) -> ControlFlow<Error> {
        self.refused().map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

impl Visitor for Expansion<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let address: *const Query = query;
        let mut around = QueryAround::default();
        if let Some(parent) = self.queries.last() {
            around.defines = parent.definitions.get(&address).cloned();
        }
        if let Some(with) = &query.with {
            let ctes = with.cte_tables.iter();
            let named = ctes.map(|cte| {
                let address: *const Query = cte.query.as_ref();
                (address, Definition { name: ident(&cte.alias.name), recursive: with.recursive })
            });
            around.definitions = named.collect();
        }
        around.size.nodes = 2;
        // each set operation is a node, and one that drops doubles another
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => {
                    around.size.nodes += 2;
                    bodies.extend([left.as_ref(), right.as_ref()]);
                }
                SetExpr::Values(values) => {
                    let width = values.rows.first().map_or(0, |row| row.content.len());
                    around.size.width = around.size.width.max(width);
                    around.size.cells = around.size.cells.saturating_add(width);
                }
                _ => {}
            }
        }
        self.queries.push(around);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.goes_on()?;
        let Some(ended) = self.queries.pop() else { return ControlFlow::Continue(()) };
        self.finished = ended.size.width;
        match (self.queries.last_mut(), ended.defines) {
            // it costs where it is named
            (Some(parent), Some(definition)) => {
                parent.ctes.insert(definition.name, ended.size);
            }
            (Some(parent), None) => parent.size.add(ended.size),
            (None, _) => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<Error> {
        self.selects.push(SelectAround::default());
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let Some(around) = self.selects.pop() else { return ControlFlow::Continue(()) };
        let sets = grouping_sets(&select.group_by);
        if sets > self.limits.grouping_sets_max {
            let text = format!("too many grouping sets present (maximum {})", self.limits.grouping_sets_max);
            let hint = "CUBE over n columns is 2ⁿ sets, and lists of sets multiply each other.";
            return ControlFlow::Break(Error::new(Kind::TooComplex, text).with_hint(hint));
        }
        let from = around.width();
        let items = select.projection.iter().fold(0usize, |sum, item| {
            sum.saturating_add(match item {
                SelectItem::Wildcard(_) => from,
                SelectItem::QualifiedWildcard(kind, _) => qualified(kind, &around).unwrap_or(from),
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => 1,
                SelectItem::ExprWithAliases { aliases, .. } => aliases.len(),
            })
        });
        if items > self.limits.columns_max {
            let text = format!("target lists can have at most {} entries", self.limits.columns_max);
            return ControlFlow::Break(Error::new(Kind::TooManyColumns, text));
        }
        let joins = around.factors.len();
        // a window adds its column to those it was given
        let windows = around.windows.saturating_mul(from.saturating_add(around.windows));
        let cells = from.saturating_mul(joins).saturating_add(items).saturating_add(windows);
        if let Some(query) = self.queries.last_mut() {
            let own = Size { nodes: 3 + joins + around.windows, cells, width: 0 };
            query.size.add(own);
            query.size.width = query.size.width.max(items);
        }
        self.goes_on()
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let Some((name, size)) = self.factor(factor) else { return ControlFlow::Continue(()) };
        if let Some(select) = self.selects.last_mut() {
            select.factors.push((name, size.width));
        }
        if let Some(query) = self.queries.last_mut() {
            query.size.add(size);
        }
        self.goes_on()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Function(function) = expr
            && function.over.is_some()
            && !matches!(function.args, FunctionArguments::Subquery(_))
            && let Some(select) = self.selects.last_mut()
        {
            select.windows += 1;
        }
        ControlFlow::Continue(())
    }
}

fn qualified(kind: &SelectItemQualifiedWildcardKind, around: &SelectAround) -> Option<usize> {
    let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else { return None };
    let name = ident(name.0.last()?.as_ident()?);
    around.factors.iter().find(|(known, _)| *known == name).map(|(_, width)| *width)
}

/// Items of a GROUP BY multiply: `CUBE (a, b), ROLLUP (c)` is 4 × 2 sets.
fn grouping_sets(group_by: &GroupByExpr) -> usize {
    let power = |columns: usize| u32::try_from(columns).ok().and_then(|n| 2usize.checked_pow(n)).unwrap_or(usize::MAX);
    let of = |expr: &Expr| match expr {
        Expr::Cube(lists) => power(lists.len()),
        Expr::Rollup(lists) => lists.len().saturating_add(1),
        Expr::GroupingSets(lists) => lists.len().max(1),
        _ => 1,
    };
    let (columns, sets, modifiers) = match group_by {
        GroupByExpr::All(modifiers) => (0, 1, modifiers),
        GroupByExpr::Expressions(exprs, modifiers) => {
            (exprs.len(), exprs.iter().map(of).fold(1usize, usize::saturating_mul), modifiers)
        }
    };
    modifiers.iter().fold(sets, |sets, modifier| {
        sets.saturating_mul(match modifier {
            GroupByWithModifier::Cube => power(columns),
            GroupByWithModifier::Rollup | GroupByWithModifier::Totals => columns.saturating_add(1),
            GroupByWithModifier::GroupingSets(expr) => of(expr),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::limits::{Parsed, parse};
    use datafusion::sql::sqlparser::ast::Statement;

    fn outcome(sql: &str) -> &'static str {
        let limits = Limits::default();
        let mut parsed = match parse(sql, &limits) {
            Ok(parsed) => parsed,
            Err(error) => return error.kind().sqlstate(),
        };
        let Some(Parsed::Tree(Statement::Query(query))) = parsed.pop() else { panic!("no query: {sql}") };
        let columns = |name: &ObjectName| if name.to_string() == "wide" { 1_000 } else { 10 };
        check(&query, &limits, &columns).map_or_else(|e| e.kind().sqlstate(), |()| "ok")
    }

    /// `n` CTEs over `t`, each made from the one before.
    fn ctes(n: usize, body: impl Fn(String) -> String) -> String {
        let list = (1..=n).map(|i| format!("c{i} AS ({})", body(format!("c{}", i - 1))));
        format!("WITH c0 AS (SELECT a FROM t), {} SELECT count(*) FROM c{n}", list.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn a_cte_costs_its_size_at_each_reference() {
        let twice = |before: String| format!("SELECT x.a FROM {before} x JOIN {before} y ON x.a = y.a");
        assert_eq!(outcome(&ctes(6, twice)), "ok");
        assert_eq!(outcome(&ctes(17, twice)), "54001");
        assert_eq!(outcome(&ctes(60, twice)), "54001");
        assert_eq!(
            outcome(&ctes(60, |before| format!("SELECT a FROM {before} WHERE a IN (SELECT a FROM {before})"))),
            "54001"
        );
        assert_eq!(
            outcome(&ctes(60, |before| format!("SELECT a FROM {before} UNION ALL SELECT a FROM {before}"))),
            "54001"
        );
        assert_eq!(
            outcome(&ctes(60, |before| format!("(WITH d AS (SELECT a FROM {before}) SELECT d.a FROM d, d e)"))),
            "54001"
        );
        assert_eq!(outcome(&ctes(100, |before| format!("SELECT a FROM {before}"))), "ok");
    }

    #[test]
    fn an_inner_name_hides_the_outer_one() {
        let inner = "WITH c AS (SELECT 1 a) SELECT * FROM (WITH c AS (SELECT * FROM t) SELECT * FROM c) x, c";
        assert_eq!(outcome(inner), "ok");
        assert_eq!(
            outcome("WITH RECURSIVE c AS (SELECT 1 a UNION ALL SELECT a + 1 FROM c WHERE a < 9) SELECT * FROM c"),
            "ok"
        );
    }

    #[test]
    fn grouping_sets_are_counted_before_they_are_made() {
        let columns = |n: usize| (1..=n).map(|i| format!("a{i}")).collect::<Vec<_>>().join(", ");
        assert_eq!(outcome(&format!("SELECT count(*) FROM t GROUP BY CUBE ({})", columns(12))), "ok");
        assert_eq!(outcome(&format!("SELECT count(*) FROM t GROUP BY CUBE ({})", columns(22))), "54001");
        assert_eq!(outcome(&format!("SELECT count(*) FROM t GROUP BY CUBE ({})", columns(100))), "54001");
        let products = vec![format!("ROLLUP ({})", columns(9)); 5].join(", ");
        assert_eq!(outcome(&format!("SELECT count(*) FROM t GROUP BY {products}")), "54001");
        let sets = ["GROUPING SETS ((a1), (a2), (a3))"; 9].join(", ");
        assert_eq!(outcome(&format!("SELECT count(*) FROM t GROUP BY {sets}")), "54001");
        assert_eq!(outcome(&format!("SELECT 1 WHERE EXISTS (SELECT FROM t GROUP BY CUBE ({}))", columns(22))), "54001");
    }

    #[test]
    fn joins_are_counted_by_the_columns_they_carry() {
        let from = |n: usize, table: &str| (0..n).map(|i| format!("{table} t{i}")).collect::<Vec<_>>().join(", ");
        assert_eq!(outcome(&format!("SELECT count(*) FROM {}", from(40, "t"))), "ok");
        assert_eq!(outcome(&format!("SELECT count(*) FROM {}", from(400, "t"))), "54001");
        assert_eq!(outcome(&format!("SELECT count(*) FROM {}", from(40, "wide"))), "54001");
        assert_eq!(outcome("SELECT * FROM wide a, wide b"), "54011");
        assert_eq!(outcome("SELECT a.* FROM wide a, wide b"), "ok");
        let windows =
            |n: usize| (0..n).map(|i| format!("sum(a) OVER (ORDER BY a + {i})")).collect::<Vec<_>>().join(", ");
        assert_eq!(outcome(&format!("SELECT {} FROM t", windows(50))), "ok");
        assert_eq!(outcome(&format!("SELECT {} FROM t", windows(1_500))), "54001");
    }
}
