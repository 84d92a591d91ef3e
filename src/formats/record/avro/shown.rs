//! A value of Avro as JSON, for json columns: bytes in base64, of numbers all digits. Nothing is read back from it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::read::Bytes;
use super::schema::{Plan, Shape};
use crate::formats::record::given::Problem;
use crate::formats::record::sink::WRONG_TYPE;

const DEPTH_MAX: usize = 64;
/// Names of fields stand in a schema once and in JSON as often as their records.
const SHOWN_BYTES_MAX: usize = 64 << 20;

impl Plan {
    pub(super) fn show(&self, of: usize, bytes: &mut Bytes<'_>, out: &mut String, depth: usize) -> Result<(), Problem> {
        if depth > DEPTH_MAX {
            return Err("has values too deep within each other");
        }
        if out.len() > SHOWN_BYTES_MAX {
            return Err("is too long as JSON");
        }
        bytes.value()?;
        let of = self.chosen(of, bytes)?;
        // Writing to a text in memory cannot fail.
        match self.shape(of).ok_or(WRONG_TYPE)? {
            Shape::Null | Shape::Union(_) => out.push_str("null"),
            Shape::Bool => out.push_str(if bytes.bool()? { "true" } else { "false" }),
            Shape::Int => drop(write!(out, "{}", bytes.long()?)),
            Shape::Float => float(f32::from_le_bytes(bytes.chunk()?).into(), out),
            Shape::Double => float(f64::from_le_bytes(bytes.chunk()?), out),
            Shape::Bytes => string(&STANDARD.encode(bytes.bytes()?), out),
            Shape::Fixed(size) => string(&STANDARD.encode(bytes.take(*size)?), out),
            Shape::Text => string(bytes.text()?, out),
            Shape::Enum(symbols) => {
                let index = bytes.index(symbols.len())?;
                string(symbols.get(index).map_or("", String::as_str), out);
            }
            Shape::Record(fields) => {
                out.push('{');
                for (at, (name, field)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    string(name, out);
                    out.push(':');
                    self.show(*field, bytes, out, depth + 1)?;
                }
                out.push('}');
            }
            Shape::Array(items) | Shape::Map(items) => {
                let map = matches!(self.shape(of), Some(Shape::Map(_)));
                out.push(if map { '{' } else { '[' });
                let mut first = true;
                loop {
                    let count = bytes.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        if !std::mem::take(&mut first) {
                            out.push(',');
                        }
                        if map {
                            string(bytes.text()?, out);
                            out.push(':');
                        }
                        self.show(*items, bytes, out, depth + 1)?;
                    }
                }
                out.push(if map { '}' } else { ']' });
            }
        }
        Ok(())
    }
}

/// A number that JSON has none for is a string, as Connect writes it.
fn float(value: f64, out: &mut String) {
    match value.is_finite() {
        true => out.push_str(ryu::Buffer::new().format(value)),
        false => string(
            if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            },
            out,
        ),
    }
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
