//! Casts of jsonb to boolean and numbers: only a value of that kind, and numbers as numeric's own casts make them.

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::{Shape, shape};
use crate::formats::postgres::input::{float4, float8};
use crate::sql::numeric::Numeric;

fn cannot_cast(json: &str, to: &str) -> Error {
    let kind = match shape(json) {
        Shape::Object => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Number => "numeric",
        Shape::Bool => "boolean",
        Shape::Null => "null",
    };
    super::cannot(format!("cannot cast jsonb {kind} to type {to}"))
}

fn number<'a>(json: &'a str, to: &str) -> Result<&'a str> {
    if shape(json) == Shape::Number { Ok(json) } else { Err(cannot_cast(json, to)) }
}

pub(super) fn boolean(json: &str) -> Result<bool> {
    if shape(json) == Shape::Bool { Ok(json == "true") } else { Err(cannot_cast(json, "boolean")) }
}

pub(super) fn numeric(json: &str) -> Result<Numeric> {
    Numeric::parse(number(json, "numeric")?)
}

/// Half away from zero, as numeric's casts round.
pub(super) fn integer<T: TryFrom<i128> + std::str::FromStr>(json: &str, to: &str) -> Result<T> {
    let text = number(json, to)?;
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    let whole = Numeric::parse(text)?.rounded(0).to_i128(0).and_then(|whole| T::try_from(whole).ok());
    whole.ok_or_else(|| Error::new(Kind::NumericRange, format!("{to} out of range")))
}

pub(super) fn double(json: &str) -> Result<f64> {
    float8(number(json, "double precision")?)
}

pub(super) fn real(json: &str) -> Result<f32> {
    float4(number(json, "real")?)
}
