//! Constants of the grammar: numbers by their size, strings untyped (parse_node.c, `make_const`).

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Value};

use super::Binder;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::numeric::Numeric;

/// Digits of Arrow's decimals.
const SMALL_DIGITS_MAX: usize = 38;
const LARGE_DIGITS_MAX: usize = 76;

impl Binder<'_> {
    pub(super) fn value(&self, value: &ast::ValueWithSpan) -> Result<Expr> {
        let at = self.at(value.span);
        match &value.value {
            Value::Number(digits, _) => number(&digits.to_string(), at),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => Ok(Expr::unknown(text.clone(), at)),
            Value::DollarQuotedString(text) => Ok(Expr::unknown(text.value.clone(), at)),
            Value::Boolean(value) => Ok(Expr::constant(ScalarValue::Boolean(Some(*value)), Ty::BOOL, at)),
            Value::Null => Ok(Expr::null(at)),
            Value::Placeholder(text) => self.parameter(text, at),
            Value::SingleQuotedByteStringLiteral(bits) => bit_string(bits, at),
            Value::HexStringLiteral(digits) => {
                let wrong = |c: char| {
                    let text = format!("\"{c}\" is not a valid hexadecimal digit");
                    Error::new(Kind::InvalidText, text).at(at)
                };
                let nibbles =
                    digits.chars().map(|c| c.to_digit(16).map(|d| format!("{d:04b}")).ok_or_else(|| wrong(c)));
                bit_string(&nibbles.collect::<Result<String>>()?, at)
            }
            other => Err(super::syntax_error(&other.to_string(), at)),
        }
    }

    fn parameter(&self, text: &str, at: usize) -> Result<Expr> {
        let number = text.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let Some(number) = number.filter(|n| (1..=65535).contains(n)) else {
            return Err(Error::new(Kind::UndefinedParameter, format!("there is no parameter {text}")).at(at));
        };
        self.cx.parameters.meet(number);
        let ty = self.cx.parameters.get(number).unwrap_or(Ty::UNKNOWN);
        Ok(Expr::new(Node::Parameter(number), ty, at))
    }
}

fn bit_string(bits: &str, at: usize) -> Result<Expr> {
    if let Some(wrong) = bits.chars().find(|c| !matches!(c, '0' | '1')) {
        return Err(Error::new(Kind::InvalidText, format!("\"{wrong}\" is not a valid binary digit")).at(at));
    }
    let ty = Ty::of(oid::BIT);
    Ok(Expr::constant(ScalarValue::Utf8(Some(bits.to_owned())), ty, at))
}

/// int4, int8, else numeric.
pub(super) fn number(text: &str, at: usize) -> Result<Expr> {
    if let Ok(value) = text.parse::<i32>() {
        return Ok(Expr::constant(ScalarValue::Int32(Some(value)), Ty::INT4, at));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Expr::constant(ScalarValue::Int64(Some(value)), Ty::INT8, at));
    }
    let value = Numeric::parse(text).map_err(|e| e.at(at))?;
    Ok(Expr::constant(numeric_scalar(&value), Ty::NUMERIC, at))
}

/// As a Decimal of its own digits where they fit.
pub(crate) fn numeric_scalar(value: &Numeric) -> ScalarValue {
    let bytes = || ScalarValue::Binary(Some(value.encode()));
    let Numeric::Finite { digits, scale } = value else { return bytes() };
    let Ok(shown) = i8::try_from(*scale) else { return bytes() };
    let count = digits.magnitude().to_str_radix(10).len().max(*scale as usize).max(1);
    match count {
        0..=SMALL_DIGITS_MAX => ScalarValue::Decimal128(value.to_i128(shown), count as u8, shown),
        ..=LARGE_DIGITS_MAX => ScalarValue::Decimal256(value.to_i256(shown), count as u8, shown),
        _ => bytes(),
    }
}
