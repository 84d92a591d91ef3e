//! What PostgreSQL's grammar has and sqlparser's tree has no place for, and how it lies there all the same: always as an
//! expression, a query or a name where the tree's visitors look for one. The grammar puts it in, the binder takes it out;
//! the marks are spelled so that no statement can write them.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, Ident, ObjectName, ObjectNamePart, OrderByExpr, OrderByOptions,
};

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

pub(crate) fn prefix_operator(name: &str, operand: Expr) -> Expr {
    marked(format!("{OPERATOR}{name}"), operand)
}

/// Name and operand.
pub(crate) fn as_prefix_operator(expr: &Expr) -> Option<(&str, &Expr)> {
    match expr {
        Expr::Prefixed { prefix, value } => Some((prefix.value.strip_prefix(OPERATOR)?, value)),
        _ => None,
    }
}

pub(crate) fn order_using(operator: &str, key: Expr) -> Expr {
    marked(format!("{USING}{operator}"), key)
}

/// Operator and key.
pub(crate) fn as_order_using(expr: &Expr) -> Option<(&str, &Expr)> {
    match expr {
        Expr::Prefixed { prefix, value } => Some((prefix.value.strip_prefix(USING)?, value)),
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
