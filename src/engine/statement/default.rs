//! DEFAULT of a column: judged when it is declared, kept as a text in which nothing is left to be looked up, and read again
//! for each statement that leaves the column out. What a row gets of it is `sql`'s to compute.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, Query, SetExpr, Value, visit_expressions, visit_expressions_mut,
};

use super::{counter, ident};
use crate::engine::bodies;
use crate::engine::facts::Facts;
use crate::engine::limits::Limits;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::lake::DEFAULT;
use crate::pgtype::{self, oid};

/// What is written around it, so that a grammar of queries reads it and no column, aggregate or window is let in.
const BEFORE: &str = "VALUES (";
const BEHIND: &str = ")";

/// The default that a column is declared with.
pub(super) fn of(column: &ColumnDef) -> Option<&Expr> {
    column.options.iter().find_map(|option| match &option.option {
        ColumnOption::Default(expr) => Some(expr),
        _ => None,
    })
}

/// The text to be kept for `expr` of `column`; `None` for NULL, which is none. 42804 where it does not fit.
pub(super) async fn text(
    session: &Session,
    facts: &Arc<Facts>,
    column: &FieldRef,
    expr: &Expr,
) -> Result<Option<String>> {
    if has_query(expr) {
        return Err(Error::unsupported("cannot use subquery in DEFAULT expression"));
    }
    let (sql, field, facts) = (format!("{BEFORE}{}{BEHIND}", printed(expr)), Arc::clone(column), Arc::clone(facts));
    let shared = &session.engine.shared;
    let limits = shared.config.statement.clone();
    let work = move |_: &_, runtime: &_| bodies::default(&sql, &field, &facts, &limits, runtime);
    let text = shared.planner.run(work).await.map_err(|error| refused(error, column))?;
    let inner = text.strip_prefix(BEFORE).and_then(|text| text.strip_suffix(BEHIND));
    let inner = inner.ok_or_else(|| Error::internal("a default was not found again in its text"))?;
    let text = typed(expr, column)?.unwrap_or_else(|| inner.to_owned());
    Ok(Some(text).filter(|text| !text.eq_ignore_ascii_case("null")))
}

/// A bare literal as a constant of its column's type, as PostgreSQL's deparser shows one (`get_const_expr`).
fn typed(expr: &Expr, column: &Field) -> Result<Option<String>> {
    let Expr::Value(value) = expr else { return Ok(None) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(None) };
    let ty = pgtype::of_field(column)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Ok(Some(match ty.oid {
        oid::INT4 if digits => text.clone(),
        _ => format!("'{}'::{}", text.replace('\'', "''"), postgres::type_name(ty.oid, -1)),
    }))
}

/// A text that its printing would read as one with quotes doubled already is printed as an escaped one (sqlparser's
/// `EscapeQuotedString`).
fn printed(expr: &Expr) -> String {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |e| {
        if let Expr::Value(value) = e
            && let Value::SingleQuotedString(text) = &value.value
            && (text.contains("''") || text.contains("\\'"))
        {
            value.value = Value::EscapedStringLiteral(text.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    expr.to_string()
}

fn has_query(expr: &Expr) -> bool {
    let inside = |e: &Expr| match e {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(expr, inside).is_break()
}

/// In the words that PostgreSQL has for defaults (`cookDefault`, parse_agg.c), without a place in a text that nobody wrote.
fn refused(error: Error, column: &FieldRef) -> Error {
    let error = error.without_position();
    match error.kind() {
        Kind::UndefinedColumn | Kind::UndefinedTable => {
            Error::unsupported("cannot use column reference in DEFAULT expression")
        }
        Kind::TypeMismatch => {
            let text = error.message().replace("but expression is", "but default expression is");
            let hint = "You will need to rewrite or cast the expression.";
            Error::new(Kind::TypeMismatch, text).with_hint(hint)
        }
        kind if error.message().ends_with("not allowed in VALUES") => {
            Error::new(kind, error.message().replace("in VALUES", "in DEFAULT expressions"))
        }
        _ => error.in_context(format!("column \"{}\"", column.name())),
    }
}

/// A kept text as an expression.
pub(super) fn read(text: &str) -> Result<Expr> {
    let lost = || Error::internal("a column's default is no expression");
    let query = bodies::read(&format!("{BEFORE}{text}{BEHIND}"), &Limits::default())?;
    let Query { body, .. } = *query;
    let SetExpr::Values(values) = *body else { return Err(lost()) };
    let [row] = <[_; 1]>::try_from(values.rows).map_err(|_| lost())?;
    let [expr] = <[_; 1]>::try_from(row.content).map_err(|_| lost())?;
    Ok(expr)
}

/// What stands for these columns in rows that come without them.
pub(super) async fn computed(
    session: &Session,
    facts: &Arc<Facts>,
    of: Vec<(FieldRef, String)>,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    if of.is_empty() {
        return Ok(vec![]);
    }
    let facts = Arc::clone(facts);
    session.engine.shared.planner.run(move |_, runtime| bodies::defaults(&of, &facts, runtime)).await
}

/// The columns with their defaults.
pub(super) async fn declared(
    session: &Session,
    facts: &Arc<Facts>,
    schema: SchemaRef,
    columns: &[ColumnDef],
) -> Result<SchemaRef> {
    let twice = columns.iter().find(|column| of(column).is_some() && counter::counts(column));
    if let Some(column) = twice {
        let text = format!("multiple default values specified for column \"{}\"", ident(&column.name));
        return Err(Error::new(Kind::Syntax, text));
    }
    if columns.iter().all(|column| of(column).is_none()) {
        return Ok(schema);
    }
    let mut fields = vec![];
    for (field, column) in schema.fields().iter().zip(columns) {
        fields.push(match of(column) {
            None => Arc::clone(field),
            Some(expr) => Arc::new(with(field, text(session, facts, field, expr).await?)),
        });
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A column with this default.
pub(super) fn with(field: &Field, text: Option<String>) -> Field {
    let mut metadata = field.metadata().clone();
    if let Some(text) = text {
        metadata.insert(DEFAULT.to_owned(), text);
    }
    field.clone().with_metadata(metadata)
}
