//! Filters as the source's SQL. What has no arm here is not sent, so this file is the allow-list: comparisons of a
//! column with a literal of its own type, by operators that PostgreSQL marks leakproof and that mean the same on both
//! sides for every value, NULL included. Numerics are not among them: their operators are not marked.
//!
//! Leakproof, because a policy's filter may stand among these filters and the source runs them in any order.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::relations::{Column, Form, TextOrder};
use crate::error::{Error, Kind, Result};
use crate::types::TableName;

/// Longer filters and deeper ones are left to us.
const FILTER_BYTES_MAX: usize = 8 << 20;
const DEPTH_MAX: usize = 64;
/// More constants than this are one array, which the source's parser reads at once.
const LIST_MAX: usize = 8;

/// SQL for the source, and the same with `?` for every literal: what a plan shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) shape: String,
}

/// Of a relation by its name there, its fields and its columns. Columns by index into them; filters that have no SQL are left
/// out, which only makes the answer larger.
pub(super) fn select(
    (relation, fields, all): (&TableName, &Schema, &[Column]),
    projection: &[usize],
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Statement> {
    let mut columns = vec![];
    for index in projection {
        let column = all.get(*index).ok_or_else(|| Error::internal("a projection beyond the columns"))?;
        columns.push(column.form.sql(&identifier(&column.name)?));
    }
    let TableName { schema, table } = relation;
    let mut statement = Statement::default();
    statement.push(&format!("SELECT {} FROM {}.{}", columns.join(", "), identifier(schema)?, identifier(table)?));
    let mut word = " WHERE ";
    for filter in filters {
        if let Some(text) = predicate(fields, all, filter) {
            statement.push(word);
            statement.append(&text);
            word = " AND ";
        }
    }
    // Below a filter that stays above, a limit would cut rows that it wants.
    if let (Some(limit), true) = (limit, filters.is_empty()) {
        statement.push(&format!(" LIMIT {limit}"));
    }
    Ok(statement)
}

/// `None` where the source is not to be asked.
pub(super) fn predicate(schema: &Schema, columns: &[Column], filter: &Expr) -> Option<Statement> {
    let found = Scope { schema, columns }.predicate(filter, 0)?;
    (found.sql.len() <= FILTER_BYTES_MAX).then_some(found)
}

/// The one quoting function. NUL ends a statement's text for the server, so it is refused.
pub(super) fn identifier(name: &str) -> Result<String> {
    if name.contains('\0') {
        return Err(Error::new(Kind::InvalidParameter, "a name contains a NUL character"));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

impl Statement {
    fn push(&mut self, text: &str) {
        self.sql.push_str(text);
        self.shape.push_str(text);
    }

    fn append(&mut self, other: &Statement) {
        self.sql.push_str(&other.sql);
        self.shape.push_str(&other.shape);
    }

    fn of(text: &str) -> Self {
        Self { sql: text.into(), shape: text.into() }
    }

    fn literal(sql: String) -> Self {
        Self { sql, shape: "?".into() }
    }
}

struct Scope<'a> {
    schema: &'a Schema,
    columns: &'a [Column],
}

/// A column that can be compared, and by which operators.
struct Operand<'a> {
    column: &'a Column,
    data_type: &'a DataType,
    ordered: bool,
}

impl Scope<'_> {
    fn predicate(&self, filter: &Expr, depth: usize) -> Option<Statement> {
        if depth > DEPTH_MAX {
            return None;
        }
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let word = if *op == Operator::And { " AND " } else { " OR " };
                let (left, right) = (self.predicate(left, depth + 1)?, self.predicate(right, depth + 1)?);
                Some(parenthesised(&[&left, &Statement::of(word), &right]))
            }
            Expr::Not(inner) => Some(parenthesised(&[&Statement::of("NOT "), &self.predicate(inner, depth + 1)?])),
            Expr::IsNull(inner) => self.null_test(inner, " IS NULL"),
            Expr::IsNotNull(inner) => self.null_test(inner, " IS NOT NULL"),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => self.comparison(&column.name, *op, value),
                (Expr::Literal(value, _), Expr::Column(column)) => self.comparison(&column.name, op.swap()?, value),
                _ => None,
            },
            Expr::Between(Between { expr, negated, low, high }) => {
                let (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) = (&**expr, &**low, &**high)
                else {
                    return None;
                };
                let (from, word, to) = match negated {
                    false => (Operator::GtEq, " AND ", Operator::LtEq),
                    true => (Operator::Lt, " OR ", Operator::Gt),
                };
                let (low, high) = (self.comparison(&column.name, from, low)?, self.comparison(&column.name, to, high)?);
                Some(parenthesised(&[&low, &Statement::of(word), &high]))
            }
            Expr::InList(InList { expr, list, negated }) => self.in_list(expr, list, *negated),
            Expr::Column(column) => {
                let operand = self.operand(&column.name)?;
                let quoted = identifier(&operand.column.name).ok()?;
                (*operand.data_type == DataType::Boolean).then(|| Statement::of(&quoted))
            }
            _ => None,
        }
    }

    fn null_test(&self, inner: &Expr, test: &str) -> Option<Statement> {
        let Expr::Column(column) = inner else { return None };
        let index = self.schema.index_of(&column.name).ok()?;
        let quoted = identifier(&self.columns.get(index)?.name).ok()?;
        Some(parenthesised(&[&Statement::of(&quoted), &Statement::of(test)]))
    }

    fn comparison(&self, column: &str, op: Operator, value: &ScalarValue) -> Option<Statement> {
        let operand = self.operand(column)?;
        let (sign, ordering) = match op {
            Operator::Eq => (" = ", false),
            Operator::NotEq => (" <> ", false),
            Operator::Lt => (" < ", true),
            Operator::LtEq => (" <= ", true),
            Operator::Gt => (" > ", true),
            Operator::GtEq => (" >= ", true),
            _ => return None,
        };
        if ordering && !operand.ordered {
            return None;
        }
        let quoted = Statement::of(&identifier(&operand.column.name).ok()?);
        let literal = Statement::literal(literal(operand.data_type, operand.column.oid, value)?);
        Some(parenthesised(&[&quoted, &Statement::of(sign), &literal]))
    }

    fn in_list(&self, expr: &Expr, list: &[Expr], negated: bool) -> Option<Statement> {
        let Expr::Column(column) = expr else { return None };
        let operand = self.operand(&column.name)?;
        let (mut literals, mut values) = (vec![], vec![]);
        for item in list {
            let Expr::Literal(value, _) = item else { return None };
            literals.push(literal(operand.data_type, operand.column.oid, value)?);
            values.push(value.clone());
        }
        if literals.is_empty() {
            return None;
        }
        let quoted = identifier(&operand.column.name).ok()?;
        let word = match (negated, literals.len() > LIST_MAX) {
            (false, false) => " IN (",
            (true, false) => " NOT IN (",
            (false, true) => " = ANY (",
            (true, true) => " <> ALL (",
        };
        let list = match literals.len() > LIST_MAX {
            false => literals.join(", "),
            true => array(&values, operand.column.oid)?,
        };
        let head = Statement::of(&format!("{quoted}{word}"));
        // How many there were is no one's business either.
        let list = Statement { sql: list, shape: "?".into() };
        Some(parenthesised(&[&head, &list, &Statement::of(")")]))
    }

    fn operand(&self, name: &str) -> Option<Operand<'_>> {
        let index = self.schema.index_of(name).ok()?;
        let (column, field) = (self.columns.get(index)?, self.schema.fields().get(index)?);
        if column.form != Form::Binary {
            return None;
        }
        if !column.dialect.compares.contains(&column.oid) {
            return None;
        }
        let ordered = match (column.oid, column.text_order) {
            (25 | 1043, TextOrder::Unknown) => return None,
            (25 | 1043, TextOrder::Equality) => false,
            (25 | 1043, TextOrder::Bytes) => column.dialect.orders_text,
            _ => true,
        };
        Some(Operand { column, data_type: field.data_type(), ordered })
    }
}

fn parenthesised(parts: &[&Statement]) -> Statement {
    let mut whole = Statement::of("(");
    parts.iter().for_each(|part| whole.append(part));
    whole.push(")");
    whole
}

/// Of values that [`literal`] has a form for: a varchar is compared as text.
fn array(values: &[ScalarValue], oid: u32) -> Option<String> {
    crate::formats::postgres::literal::list(values, if oid == 1043 { 25 } else { oid })
}

/// The one literal encoder of filters: `'…'::type`, of exactly the column's type. `None` for NULL and for values that are not
/// spelt or not compared alike on both sides.
fn literal(column: &DataType, oid: u32, value: &ScalarValue) -> Option<String> {
    let text = match (column, value) {
        (DataType::Boolean, ScalarValue::Boolean(Some(v))) => v.to_string(),
        (DataType::Int16, ScalarValue::Int16(Some(v))) => v.to_string(),
        (DataType::Int32, ScalarValue::Int32(Some(v))) => v.to_string(),
        (DataType::Int64, ScalarValue::Int64(Some(v))) => v.to_string(),
        // Postgres has one zero and one NaN, Arrow's total order two of each.
        (DataType::Float32, ScalarValue::Float32(Some(v))) if v.is_finite() && *v != 0.0 => format!("{v:e}"),
        (DataType::Float64, ScalarValue::Float64(Some(v))) if v.is_finite() && *v != 0.0 => format!("{v:e}"),
        (
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8,
            ScalarValue::Utf8(Some(v)) | ScalarValue::Utf8View(Some(v)) | ScalarValue::LargeUtf8(Some(v)),
        ) => v.clone(),
        (
            DataType::Binary | DataType::BinaryView | DataType::LargeBinary,
            ScalarValue::Binary(Some(v)) | ScalarValue::BinaryView(Some(v)) | ScalarValue::LargeBinary(Some(v)),
        ) => format!("\\x{}", hex(v)),
        (DataType::FixedSizeBinary(16), ScalarValue::FixedSizeBinary(16, Some(v))) => hex(v),
        (DataType::Date32, ScalarValue::Date32(Some(v))) => date(*v)?,
        (DataType::Timestamp(TimeUnit::Microsecond, None), ScalarValue::TimestampMicrosecond(Some(v), None)) => {
            timestamp(*v)?
        }
        (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), ScalarValue::TimestampMicrosecond(Some(v), Some(_))) => {
            timestamp(*v).map(|t| if t.ends_with("infinity") { t } else { t + "+00" })?
        }
        _ => return None,
    };
    if text.contains('\0') {
        return None;
    }
    // standard_conforming_strings is asserted on every connection: a backslash is a backslash.
    Some(format!("'{}'::{}", text.replace('\'', "''"), type_name(oid)?))
}

fn type_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        16 => "bool",
        17 => "bytea",
        20 => "int8",
        21 => "int2",
        23 => "int4",
        // A varchar is compared as text.
        25 | 1043 => "text",
        700 => "float4",
        701 => "float8",
        1082 => "date",
        1114 => "timestamp",
        1184 => "timestamptz",
        2950 => "uuid",
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Four-digit years only; the others are spelt with an era or more digits.
fn date(days: i32) -> Option<String> {
    if let Some(infinity) = infinity(days == i32::MAX, days == i32::MIN) {
        return Some(infinity);
    }
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(719_163)?)?;
    (1..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

fn timestamp(micros: i64) -> Option<String> {
    if let Some(infinity) = infinity(micros == i64::MAX, micros == i64::MIN) {
        return Some(infinity);
    }
    let moment = DateTime::from_timestamp_micros(micros)?;
    (1..=9999).contains(&moment.year()).then(|| moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

fn infinity(positive: bool, negative: bool) -> Option<String> {
    match (positive, negative) {
        (true, _) => Some("infinity".into()),
        (_, true) => Some("-infinity".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
