//! Columns whose values are strings: text of a length, json, bits, points, and bytes in a text. It finds no value in a
//! record; that is the formats' part.

use arrow::array::StringBuilder;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;

use super::given::{Encoding, Given, How, Problem};
use super::sink::{TOO_LARGE, WRONG_TYPE};
use super::types::oid;
use crate::error::Kind;
use crate::formats::postgres::input::{normal_json_within, valid_json};

const NUL: Problem = "has a NUL character";
/// jsonb writes numbers out, so that a few bytes may be very many digits. So much of it is taken, and so much for each byte.
const NORMAL_LEAST: usize = 65_536;
const NORMAL_PER_BYTE: usize = 8;

pub(super) fn push(
    builder: &mut StringBuilder,
    given: Given<'_>,
    how: &How,
    type_oid: u32,
    typmod: i32,
) -> Result<(), Problem> {
    let text = match given {
        Given::Text(text) => text,
        // A shape of PostGIS: well-known binary, as PostGIS itself spells it.
        Given::Document(document) if how.connect => {
            builder.append_value(geometry(document).ok_or(WRONG_TYPE)?);
            return Ok(());
        }
        _ => return Err(WRONG_TYPE),
    };
    if text.as_bytes().contains(&0) {
        return Err(NUL);
    }
    // char(n) is kept without its blanks, which come back when it is shown.
    let text = if type_oid == oid::BPCHAR { text.trim_end_matches(' ') } else { text };
    let limit = match type_oid {
        oid::BPCHAR | oid::VARCHAR => usize::try_from(typmod - 4).ok(),
        _ => None,
    };
    if limit.is_some_and(|limit| text.len() > limit && text.chars().count() > limit) {
        return Err("is longer than the column");
    }
    builder.append_value(text);
    Ok(())
}

/// A json column's value: any JSON as it is spelt. What Connect writes is a string that holds the document.
pub(super) fn document(builder: &mut StringBuilder, given: Given<'_>, how: &How, normal: bool) -> Result<(), Problem> {
    let text = match given {
        Given::Text(text) if how.connect => text,
        Given::Document(text) | Given::Digits(text) => text,
        Given::Bool(true) => "true",
        Given::Bool(false) => "false",
        _ => return Err(WRONG_TYPE),
    };
    let refused = |_| "holds no valid JSON";
    match normal {
        true => {
            let most = NORMAL_LEAST.saturating_add(text.len().saturating_mul(NORMAL_PER_BYTE));
            let normal = normal_json_within(text, most).map_err(|error| match error.kind() {
                Kind::TooLarge => "is too long as jsonb",
                _ => refused(error),
            })?;
            builder.append_value(normal);
        }
        // What came as part of a record was judged with it.
        false => {
            if matches!(given, Given::Text(_)) || !how.connect {
                valid_json(text).map_err(refused)?;
            }
            builder.append_value(text);
        }
    }
    Ok(())
}

/// Connect's bits: the last one is the lowest of the first byte.
pub(super) fn bits(builder: &mut StringBuilder, given: Given<'_>, how: &How, typmod: i32) -> Result<(), Problem> {
    let length = usize::try_from(typmod).ok();
    let spelt = |bytes: &[u8]| -> Result<String, Problem> {
        let length = length.unwrap_or(bytes.len() * 8);
        let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if (length..bytes.len() * 8).any(bit) {
            return Err(TOO_LARGE);
        }
        Ok((0..length).rev().map(|at| if bit(at) { '1' } else { '0' }).collect())
    };
    let text = match given {
        Given::Bool(value) => if value { "1" } else { "0" }.to_owned(),
        Given::Text(text) if !text.is_empty() && text.bytes().all(|b| matches!(b, b'0' | b'1')) => text.to_owned(),
        Given::Text(text) => spelt(&bytes(text, how.encoding)?)?,
        Given::Bytes(bytes) => spelt(bytes)?,
        _ => return Err(WRONG_TYPE),
    };
    if length.is_some_and(|length| text.len() > length) {
        return Err(TOO_LARGE);
    }
    builder.append_value(text);
    Ok(())
}

/// `{"x": 1, "y": 2}` as `(1,2)`.
pub(super) fn point(builder: &mut StringBuilder, given: Given<'_>) -> Result<(), Problem> {
    #[derive(Deserialize)]
    struct Point {
        x: f64,
        y: f64,
    }
    match given {
        Given::Text(text) if !text.contains('\0') => builder.append_value(text),
        Given::Document(document) => {
            let Point { x, y } = serde_json::from_str(document).map_err(|_| WRONG_TYPE)?;
            builder.append_value(format!("({x},{y})"));
        }
        _ => return Err(WRONG_TYPE),
    }
    Ok(())
}

fn geometry(document: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Geometry {
        wkb: String,
    }
    let Geometry { wkb } = serde_json::from_str(document).ok()?;
    Some(hex(&STANDARD.decode(wkb).ok()?))
}

/// As PostGIS spells it.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|d| char::from_digit(d.into(), 16))
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

pub(super) fn bytes(text: &str, encoding: Encoding) -> Result<Vec<u8>, Problem> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).map_err(|_| "is not base64"),
        Encoding::Base64Url => URL_SAFE.decode(text).map_err(|_| "is not base64 of URLs"),
        Encoding::Hex => {
            let digits = text.as_bytes();
            let digit = |at: usize| digits.get(at).and_then(|b| char::from(*b).to_digit(16));
            if !digits.len().is_multiple_of(2) {
                return Err("is not in hexadecimal digits");
            }
            let byte =
                |at: usize| digit(at).zip(digit(at + 1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>().ok_or("is not in hexadecimal digits")
        }
    }
}
