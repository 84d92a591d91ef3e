//! Identifiers as PostgreSQL reads them, and the names it gives to columns that have none (parse_target.c,
//! `FigureColnameInternal`).

use datafusion::sql::sqlparser::ast::{self, Expr, FunctionArguments};

/// Longest identifier in bytes (NAMEDATALEN - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Lower case outside quotes, cut at 63 bytes.
pub(super) fn folded(ident: &ast::Ident) -> String {
    let name = match ident.quote_style {
        Some(_) => ident.value.clone(),
        // PostgreSQL folds ASCII alone in a multi-byte encoding
        None => ident.value.to_ascii_lowercase(),
    };
    cut(name)
}

pub(super) fn cut(mut name: String) -> String {
    if name.len() > IDENTIFIER_BYTES_MAX {
        let end = (0..=IDENTIFIER_BYTES_MAX).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
        name.truncate(end);
    }
    name
}

/// The segments of an object's name.
pub(super) fn segments(name: &ast::ObjectName) -> Vec<String> {
    let ident = |part: &ast::ObjectNamePart| match part {
        ast::ObjectNamePart::Identifier(ident) => folded(ident),
        ast::ObjectNamePart::Function(function) => folded(&function.name),
    };
    name.0.iter().map(ident).collect()
}

/// What a select item without an alias is called.
pub(super) fn of_target(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".into(), |(_, name)| name)
}

/// A function in FROM without an alias.
pub(super) fn of_function(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".into(), |(_, name)| name)
}

/// How much the name says (2: a column or function, 1: a type), and the name.
fn figure(expr: &Expr) -> Option<(u8, String)> {
    let strong = |name: &str| Some((2, name.to_owned()));
    match expr {
        Expr::Identifier(ident) => Some((2, folded(ident))),
        // `(t.*)::text`
        Expr::QualifiedWildcard(name, _) => Some((2, segments(name).pop()?)),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| (2, folded(ident))),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let dot = access_chain.iter().rev().find_map(|access| match access {
                ast::AccessExpr::Dot(Expr::Identifier(ident)) => Some((2, folded(ident))),
                _ => None,
            });
            dot.or_else(|| figure(root))
        }
        Expr::Function(function) => {
            let name = segments(&function.name).pop()?;
            match (name.as_str(), &function.args) {
                ("row", _) => strong("row"),
                ("array", FunctionArguments::Subquery(_)) => strong("array"),
                _ => Some((2, name)),
            }
        }
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((2, name)) => Some((2, name)),
            _ => Some((1, super::type_name::internal_name(data_type)?)),
        },
        Expr::TypedString(string) => Some((1, super::type_name::internal_name(&string.data_type)?)),
        Expr::Interval(_) => Some((1, "interval".into())),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Case { else_result, .. } => {
            let named = else_result.as_deref().and_then(figure);
            Some(named.filter(|(strength, _)| *strength > 0).unwrap_or((1, "case".into())))
                .map(|(s, n)| if s == 2 { (2, n) } else { (1, "case".into()) })
        }
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => {
            if let ast::SetExpr::Values(_) = query.body.as_ref() {
                return strong("column1");
            }
            let first = first_select(&query.body)?.projection.first()?;
            match first {
                ast::SelectItem::ExprWithAlias { alias, .. } => Some((2, folded(alias))),
                ast::SelectItem::UnnamedExpr(expr) => figure(expr),
                _ => None,
            }
        }
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            Some(ast::TrimWhereField::Both) | None => "btrim",
        }),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::IsNormalized { negated: false, .. } => strong("is_normalized"),
        _ => None,
    }
}

fn first_select(body: &ast::SetExpr) -> Option<&ast::Select> {
    match body {
        ast::SetExpr::Select(select) => Some(select),
        ast::SetExpr::Query(query) => first_select(&query.body),
        ast::SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}
