//! Constants and types as SQL for another PostgreSQL: every constant is a quoted text, cast to its type. They are spelt as a
//! connection with ISO dates, UTC and standard strings reads them; whoever opens one sees to that. It sends nothing.

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

use super::{OID, SCALE, Style, TYPMOD, by_oid, pg_type, texts};

/// `None` for what has no text that would be read back as this value.
pub(crate) fn literal(value: &ScalarValue, type_oid: u32) -> Option<String> {
    let name = type_name(type_oid)?;
    if value.is_null() {
        return Some(format!("NULL::{name}"));
    }
    Some(format!("{}::{name}", quoted(&spelt(value, type_oid)?)?))
}

/// All of them as one array of that element type.
pub(crate) fn list(values: &[ScalarValue], type_oid: u32) -> Option<String> {
    let array = by_oid(type_oid)?.array;
    let mut text = String::from("{");
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        if value.is_null() {
            text.push_str("NULL");
            continue;
        }
        text.push('"');
        for c in spelt(value, type_oid)?.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    Some(format!("{}::{}", quoted(&text)?, type_name(array)?))
}

/// Without a modifier: names that the grammar knows with one (`char` is `char(1)`) are quoted.
pub(crate) fn type_name(type_oid: u32) -> Option<String> {
    let row = by_oid(type_oid)?;
    Some(match row.name {
        plain @ ("bool" | "bytea" | "int2" | "int4" | "int8" | "text" | "float4" | "float8" | "numeric" | "date"
        | "timestamp" | "timestamptz" | "interval" | "uuid" | "jsonb" | "json") => plain.to_owned(),
        other => format!("pg_catalog.\"{other}\""),
    })
}

/// The text of a value that is not NULL.
fn spelt(value: &ScalarValue, type_oid: u32) -> Option<String> {
    let array = value.to_array().ok()?;
    let field = field(type_oid, value.data_type());
    let texts = texts(&field, &array, &Style::of(chrono_tz::Tz::UTC)).ok()?;
    (!texts.is_empty()).then(|| texts.value(0).to_owned())
}

fn field(type_oid: u32, data_type: DataType) -> Field {
    let plain = Field::new("value", data_type, true);
    if pg_type(&plain).is_ok_and(|found| found.oid == type_oid && found.typmod == -1) {
        return plain;
    }
    let metadata = [
        (OID.to_owned(), type_oid.to_string()),
        (TYPMOD.to_owned(), "-1".to_owned()),
        // digits of a numeric as they are
        (SCALE.to_owned(), "shown".to_owned()),
    ];
    plain.with_metadata(metadata.into())
}

/// NUL ends a statement's text for the server.
fn quoted(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("'{}'", text.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_a_quoted_text_of_its_type() {
        let text = |s: &str| ScalarValue::Utf8(Some(s.into()));
        let cases = [
            (text("a'b\\"), 25, Some("'a''b\\'::text")),
            (text("a\0b"), 25, None),
            (text("x"), 1042, Some("'x'::pg_catalog.\"bpchar\"")),
            (ScalarValue::Utf8(None), 25, Some("NULL::text")),
            (ScalarValue::Int32(Some(-5)), 23, Some("'-5'::int4")),
            (ScalarValue::Boolean(Some(true)), 16, Some("'t'::bool")),
            (ScalarValue::Float64(Some(f64::NAN)), 701, Some("'NaN'::float8")),
            (ScalarValue::Decimal128(Some(150), 5, 2), 1700, Some("'1.50'::numeric")),
            (ScalarValue::Date32(Some(i32::MAX)), 1082, Some("'infinity'::date")),
            (ScalarValue::Date32(Some(-735_000)), 1082, Some("'0044-08-22 BC'::date")),
            (ScalarValue::Int32(Some(1)), 4_000_000, None),
        ];
        for (value, oid, expected) in cases {
            assert_eq!(literal(&value, oid).as_deref(), expected, "{value:?} {oid}");
        }
    }

    #[test]
    fn a_list_is_one_array() {
        let texts: Vec<ScalarValue> = [Some("a"), None, Some("NULL"), Some("\"\\{,'")]
            .iter()
            .map(|s| ScalarValue::Utf8(s.map(Into::into)))
            .collect();
        let expected = "'{\"a\",NULL,\"NULL\",\"\\\"\\\\{,''\"}'::pg_catalog.\"_text\"";
        assert_eq!(list(&texts, 25).as_deref(), Some(expected));
        assert_eq!(list(&[], 23).as_deref(), Some("'{}'::pg_catalog.\"_int4\""));
    }
}
