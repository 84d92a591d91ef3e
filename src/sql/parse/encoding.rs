//! What PostgreSQL's grammar has and sqlparser's tree has no place for, and how it lies there all the same: always as an
//! expression, a query or a name where the tree's visitors look for one. The grammar puts it in, the binder takes it out;
//! the marks are spelled so that no statement can write them.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, Ident, ObjectName, ObjectNamePart, OrderByExpr, OrderByOptions, Query, Setting,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// `VARIADIC array` among a call's arguments.
pub(crate) const VARIADIC: &str = "VARIADIC";
/// The lower bound of BETWEEN SYMMETRIC.
pub(crate) const SYMMETRIC: &str = "SYMMETRIC";
/// The first element of GROUP BY DISTINCT.
pub(crate) const GROUP_DISTINCT: &str = "GROUP BY DISTINCT";
/// A key of ORDER BY … USING, before the operator's name.
const USING: &str = "USING ";
/// The key that a window's EXCLUDE is, at the end of its ORDER BY.
const EXCLUDE: &str = "EXCLUDE";
/// A prefix operator that the tree has no variant for, before its name.
const OPERATOR: &str = "OPERATOR ";
/// SEARCH and CYCLE of a recursive query, among its settings.
const SEARCH_DEPTH: &str = "SEARCH DEPTH";
const SEARCH_BREADTH: &str = "SEARCH BREADTH";
const CYCLE: &str = "CYCLE";
/// The table that ROWS FROM is.
const ROWS_FROM: &str = "ROWS FROM";
/// The first part of the name that `USING (…) AS alias` gives.
const JOIN_ALIAS: &str = "AS ";

/// `mark` before a value. No statement writes a [`Expr::Prefixed`].
pub(crate) fn marked(mark: impl Into<String>, value: Expr) -> Expr {
    Expr::Prefixed { prefix: Ident::new(mark), value: Box::new(value) }
}

/// The value behind `mark`.
pub(crate) fn unmarked<'a>(mark: &str, expr: &'a Expr) -> Option<&'a Expr> {
    match expr {
        Expr::Prefixed { prefix, value } if prefix.value == mark => Some(value),
        _ => None,
    }
}

/// `span` is the operator's place.
pub(crate) fn prefix_operator(name: &str, operand: Expr, span: Span) -> Expr {
    let prefix = Ident { value: format!("{OPERATOR}{name}"), quote_style: None, span };
    Expr::Prefixed { prefix, value: Box::new(operand) }
}

/// Its name, as it is written with its schema, where that stands, and the operand.
pub(crate) fn as_prefix_operator(expr: &Expr) -> Option<(&str, Span, &Expr)> {
    match expr {
        Expr::Prefixed { prefix, value } => Some((prefix.value.strip_prefix(OPERATOR)?, prefix.span, value)),
        _ => None,
    }
}

/// `span` is the operator's place.
pub(crate) fn order_using(operator: &str, key: Expr, span: Span) -> Expr {
    let prefix = Ident { value: format!("{USING}{operator}"), quote_style: None, span };
    Expr::Prefixed { prefix, value: Box::new(key) }
}

/// The operator, where it stands, and the key.
pub(crate) fn as_order_using(expr: &Expr) -> Option<(&str, Span, &Expr)> {
    match expr {
        Expr::Prefixed { prefix, value } => Some((prefix.value.strip_prefix(USING)?, prefix.span, value)),
        _ => None,
    }
}

/// What a frame leaves out: `CURRENT ROW`, `GROUP`, `TIES`.
pub(crate) fn exclusion(what: &str) -> OrderByExpr {
    let options = OrderByOptions { asc: None, nulls_first: None };
    OrderByExpr { expr: marked(EXCLUDE, Expr::Identifier(Ident::new(what))), options, with_fill: None }
}

/// The keys of a window's ORDER BY, and what its frame leaves out.
pub(crate) fn without_exclusion(order: &[OrderByExpr]) -> (&[OrderByExpr], Option<&str>) {
    if let Some((last, keys)) = order.split_last()
        && let Some(Expr::Identifier(what)) = unmarked(EXCLUDE, &last.expr)
    {
        return (keys, Some(&what.value));
    }
    (order, None)
}

/// `SEARCH … FIRST BY columns SET sequence`.
pub(crate) struct Search<'a> {
    pub(crate) depth_first: bool,
    pub(crate) columns: Vec<&'a Ident>,
    pub(crate) sequence: &'a Ident,
    /// Of the word SEARCH.
    pub(crate) span: Span,
}

/// `CYCLE columns SET mark TO value DEFAULT default USING path`.
pub(crate) struct Cycle<'a> {
    pub(crate) columns: Vec<&'a Ident>,
    pub(crate) mark: &'a Ident,
    pub(crate) value: &'a Expr,
    pub(crate) default: &'a Expr,
    pub(crate) path: &'a Ident,
    /// Of the word CYCLE.
    pub(crate) span: Span,
}

fn setting(key: &str, span: Span, value: Vec<Expr>) -> Setting {
    Setting { key: Ident { value: key.to_owned(), quote_style: None, span }, value: Expr::Tuple(value) }
}

fn identifiers(names: Vec<Ident>) -> Expr {
    Expr::Tuple(names.into_iter().map(Expr::Identifier).collect())
}

fn names(list: &Expr) -> Option<Vec<&Ident>> {
    let Expr::Tuple(items) = list else { return None };
    items.iter().map(name).collect()
}

fn name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        _ => None,
    }
}

pub(crate) fn search(depth_first: bool, columns: Vec<Ident>, sequence: Ident, span: Span) -> Setting {
    let key = if depth_first { SEARCH_DEPTH } else { SEARCH_BREADTH };
    setting(key, span, vec![identifiers(columns), Expr::Identifier(sequence)])
}

pub(crate) fn cycle(columns: Vec<Ident>, mark: Ident, values: [Expr; 2], path: Ident, span: Span) -> Setting {
    let [value, default] = values;
    let parts = vec![identifiers(columns), Expr::Identifier(mark), value, default, Expr::Identifier(path)];
    setting(CYCLE, span, parts)
}

fn parts<'a>(query: &'a Query, keys: &[&str]) -> Option<(&'a Ident, &'a [Expr])> {
    let found = query.settings.iter().flatten().find(|setting| keys.contains(&setting.key.value.as_str()))?;
    match &found.value {
        Expr::Tuple(parts) => Some((&found.key, parts)),
        _ => None,
    }
}

/// The SEARCH of a CTE's query.
pub(crate) fn as_search(query: &Query) -> Option<Search<'_>> {
    let (key, [columns, sequence]) = parts(query, &[SEARCH_DEPTH, SEARCH_BREADTH])? else { return None };
    let depth_first = key.value == SEARCH_DEPTH;
    Some(Search { depth_first, columns: names(columns)?, sequence: name(sequence)?, span: key.span })
}

/// The CYCLE of a CTE's query.
pub(crate) fn as_cycle(query: &Query) -> Option<Cycle<'_>> {
    let (key, [columns, mark, value, default, path]) = parts(query, &[CYCLE])? else { return None };
    let (columns, mark, path) = (names(columns)?, name(mark)?, name(path)?);
    Some(Cycle { columns, mark, value, default, path, span: key.span })
}

/// The name of the table that ROWS FROM is. Its arguments are the calls; one with column definitions is a cast to them.
pub(crate) fn rows_from() -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(ROWS_FROM))])
}

/// The calls of a ROWS FROM.
pub(crate) fn is_rows_from(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(only)]
        if only.quote_style.is_none() && only.value == ROWS_FROM)
}

/// The alias of a join's merged columns, behind the names of its USING.
pub(crate) fn join_alias(alias: Ident) -> ObjectName {
    ObjectName([Ident::new(JOIN_ALIAS), alias].map(ObjectNamePart::Identifier).into())
}

/// The names of a USING, and the alias of its merged columns.
pub(crate) fn without_join_alias(names: &[ObjectName]) -> (&[ObjectName], Option<&Ident>) {
    if let Some((last, names)) = names.split_last()
        && let [ObjectNamePart::Identifier(mark), ObjectNamePart::Identifier(alias)] = last.0.as_slice()
        && mark.value == JOIN_ALIAS
    {
        return (names, Some(alias));
    }
    (names, None)
}

pub(crate) fn argument(expr: Expr) -> FunctionArg {
    use datafusion::sql::sqlparser::ast::FunctionArgExpr;
    FunctionArg::Unnamed(match expr {
        Expr::QualifiedWildcard(name, _) => FunctionArgExpr::QualifiedWildcard(name),
        expr => FunctionArgExpr::Expr(expr),
    })
}
