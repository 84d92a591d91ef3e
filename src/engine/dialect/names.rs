//! Output column names by PostgreSQL's rule (`FigureColname` in parse_target.c). Two columns may share a name there and
//! not in DataFusion: inside, a repeated name carries a hidden suffix, which [`shown_name`] takes off again.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, Ident, ObjectNamePart, Select, SelectItem, VisitorMut,
};

/// Cannot be typed in SQL text by accident; a client that does only renames its own column.
const HIDDEN: char = '\u{1}';

/// What RowDescription shows.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split(HIDDEN).next().unwrap_or(name)
}

pub(super) struct Names;

impl VisitorMut for Names {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let name = figure(expr).unwrap_or_else(|| "?column?".into());
                    let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                    let n = count(&mut seen, &name);
                    if n > 1 || !plain {
                        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("x")));
                        *item = SelectItem::ExprWithAlias { expr, alias: quoted(&name, n) };
                    }
                }
                SelectItem::ExprWithAlias { alias, .. } => {
                    let name = super::super::statement::ident(alias);
                    let n = count(&mut seen, &name);
                    if n > 1 {
                        *alias = quoted(&name, n);
                    }
                }
                SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn count(seen: &mut HashMap<String, usize>, name: &str) -> usize {
    let n = seen.entry(name.to_string()).or_default();
    *n += 1;
    *n
}

fn quoted(name: &str, n: usize) -> Ident {
    let value = if n == 1 { name.to_string() } else { format!("{name}{HIDDEN}{n}") };
    Ident::with_quote('"', value)
}

/// `None`: `?column?`.
fn figure(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(i) => Some(super::super::statement::ident(i)),
        Expr::CompoundIdentifier(parts) => parts.last().map(super::super::statement::ident),
        Expr::Nested(e) | Expr::Collate { expr: e, .. } => figure(e),
        Expr::Function(f) => function(f),
        Expr::Cast { expr, data_type, .. } => figure(expr).or_else(|| type_name(data_type)),
        Expr::TypedString(t) => type_name(&t.data_type),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(figure).or_else(|| Some("case".into())),
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Array(_) => Some("array".into()),
        Expr::Tuple(_) => Some("row".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Substring { .. } => Some("substring".into()),
        Expr::Trim { trim_where, .. } => Some(match trim_where {
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Leading) => "ltrim".into(),
            Some(datafusion::sql::sqlparser::ast::TrimWhereField::Trailing) => "rtrim".into(),
            _ => "btrim".into(),
        }),
        Expr::Overlay { .. } => Some("overlay".into()),
        Expr::AtTimeZone { .. } => Some("timezone".into()),
        Expr::Interval(_) => Some("interval".into()),
        // a scalar subquery has its column's name
        Expr::Subquery(q) => match q.body.as_ref() {
            datafusion::sql::sqlparser::ast::SetExpr::Select(s) => match s.projection.first() {
                Some(SelectItem::UnnamedExpr(e)) => figure(e),
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some(super::super::statement::ident(alias)),
                _ => None,
            },
            _ => None,
        },
        Expr::CompoundFieldAccess { root, .. } => figure(root),
        _ => None,
    }
}

fn function(f: &Function) -> Option<String> {
    let name = match f.name.0.last()? {
        ObjectNamePart::Identifier(i) => super::super::statement::ident(i),
        ObjectNamePart::Function(_) => return None,
    };
    // helpers of ours stand for casts
    Some(match name.as_str() {
        "lakegate_regclass" => "regclass".into(),
        "lakegate_regtype" => "regtype".into(),
        "lakegate_regproc" => "regproc".into(),
        "lakegate_regclass_name" | "lakegate_regtype_name" => "text".into(),
        "array_agg" if f.parameters == datafusion::sql::sqlparser::ast::FunctionArguments::None => name,
        _ => name,
    })
}

/// The name of a cast's type as `pg_type.typname`.
fn type_name(t: &DataType) -> Option<String> {
    Some(
        match t {
            DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
            DataType::BigInt(_) | DataType::Int8(_) => "int8",
            DataType::SmallInt(_) | DataType::Int2(_) => "int2",
            DataType::Real | DataType::Float4 => "float4",
            DataType::DoublePrecision | DataType::Double(_) | DataType::Float8 | DataType::Float(_) => "float8",
            DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
            DataType::Boolean | DataType::Bool => "bool",
            DataType::Text => "text",
            DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
            DataType::Char(_) | DataType::Character(_) => "bpchar",
            DataType::Date => "date",
            DataType::Uuid => "uuid",
            DataType::Bytea => "bytea",
            DataType::JSON => "json",
            DataType::JSONB => "jsonb",
            DataType::Interval { .. } => "interval",
            DataType::Timestamp(_, datafusion::sql::sqlparser::ast::TimezoneInfo::WithTimeZone)
            | DataType::Timestamp(_, datafusion::sql::sqlparser::ast::TimezoneInfo::Tz) => "timestamptz",
            DataType::Timestamp(..) => "timestamp",
            DataType::Time(..) => "time",
            _ => return None,
        }
        .to_string(),
    )
}
