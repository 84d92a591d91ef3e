//! Variant values → JSON text, as the Parquet project's `VariantEncoding.md` lays their bytes out. It writes none, and
//! reads none whose parts are spread over columns of their own ("shredded").

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;

use crate::error::{Error, Kind, Result};

/// Values within values; PostgreSQL's own json gives up in the same region.
const DEPTH: usize = 500;
/// The text of one value. Keys are written out as often as they are used, so that a few bytes could ask for any amount.
const TEXT_BYTES: usize = 256 << 20;
/// The texts of one batch, which one array holds.
const BATCH_BYTES: usize = 1 << 30;

/// A column as its file has it, a struct of `metadata` and `value`.
pub(super) fn json(array: &ArrayRef, file: &Field) -> Result<StringArray> {
    let refuse = |what: &str| Error::unsupported(format!("a variant column {what}")).with_source(file.name().clone());
    let values = array.as_struct_opt().ok_or_else(|| refuse("that is no group of its file"))?;
    if values.column_by_name("typed_value").is_some() {
        return Err(refuse("that is shredded"));
    }
    let part = |name: &str| -> Result<ArrayRef> {
        let part = values.column_by_name(name).ok_or_else(|| refuse("without its two parts"))?;
        Ok(cast(part, &DataType::Binary)?)
    };
    let (dictionaries, bytes) = (part("metadata")?, part("value")?);
    let (dictionaries, bytes) = (dictionaries.as_binary::<i32>(), bytes.as_binary::<i32>());
    let mut texts = StringBuilder::new();
    let mut text = String::new();
    for row in 0..values.len() {
        if values.is_null(row) || bytes.is_null(row) || dictionaries.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        let dictionary = Dictionary::of(dictionaries.value(row));
        // A value of so many bytes has no more parts than that; shared ones would multiply.
        let mut writer = Writer { out: &mut text, parts_left: bytes.value(row).len() };
        dictionary.and_then(|d| writer.value(&d, bytes.value(row), DEPTH)).ok_or_else(|| {
            Error::new(Kind::SourceFailed, "a variant value is damaged").with_source(file.name().clone())
        })?;
        if texts.values_slice().len() + text.len() > BATCH_BYTES {
            let what = "the variant values of one batch are larger than a gigabyte";
            return Err(Error::new(Kind::TooLarge, what).with_source(file.name().clone()));
        }
        texts.append_value(&text);
    }
    Ok(texts.finish())
}

/// The names of an object's fields.
struct Dictionary<'a> {
    offsets: Offsets<'a>,
    names: &'a [u8],
}

/// Numbers of one width, little-endian.
struct Offsets<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl<'a> Offsets<'a> {
    /// The first `count` numbers of the bytes, and what follows them.
    fn split(bytes: &'a [u8], count: usize, width: usize) -> Option<(Self, &'a [u8])> {
        let (bytes, rest) = bytes.split_at_checked(count.checked_mul(width)?)?;
        Some((Self { bytes, width }, rest))
    }

    fn get(&self, index: usize) -> Option<usize> {
        let from = index.checked_mul(self.width)?;
        little(self.bytes.get(from..from.checked_add(self.width)?)?)
    }
}

impl<'a> Dictionary<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first()?;
        let width = usize::from(header >> 6) + 1;
        let (count, rest) = Offsets::split(rest, 1, width)?;
        let (offsets, names) = Offsets::split(rest, count.get(0)?.checked_add(1)?, width)?;
        Some(Self { offsets, names })
    }

    fn name(&self, index: usize) -> Option<&'a str> {
        let (from, to) = (self.offsets.get(index)?, self.offsets.get(index.checked_add(1)?)?);
        std::str::from_utf8(self.names.get(from..to)?).ok()
    }
}

struct Writer<'a> {
    out: &'a mut String,
    parts_left: usize,
}

impl Writer<'_> {
    fn value(&mut self, names: &Dictionary, bytes: &[u8], depth: usize) -> Option<()> {
        self.parts_left = self.parts_left.checked_sub(1)?;
        if self.out.len() > TEXT_BYTES {
            return None;
        }
        let (header, rest) = bytes.split_first()?;
        let kind = header >> 2;
        match header & 3 {
            0 => self.primitive(kind, rest),
            1 => self.text(rest.get(..usize::from(kind))?),
            2 => self.object(names, kind, rest, depth.checked_sub(1)?),
            _ => self.array(names, kind, rest, depth.checked_sub(1)?),
        }
    }

    fn object(&mut self, names: &Dictionary, header: u8, rest: &[u8], depth: usize) -> Option<()> {
        let (offset_width, id_width) = (usize::from(header & 3) + 1, usize::from(header >> 2 & 3) + 1);
        let (count, rest) = Offsets::split(rest, 1, if header >> 4 & 1 == 1 { 4 } else { 1 })?;
        let count = count.get(0)?;
        let (ids, rest) = Offsets::split(rest, count, id_width)?;
        let (offsets, values) = Offsets::split(rest, count.checked_add(1)?, offset_width)?;
        self.out.push('{');
        for i in 0..count {
            if i > 0 {
                self.out.push(',');
            }
            self.text(names.name(ids.get(i)?)?.as_bytes())?;
            self.out.push(':');
            self.value(names, values.get(offsets.get(i)?..)?, depth)?;
        }
        self.out.push('}');
        Some(())
    }

    fn array(&mut self, names: &Dictionary, header: u8, rest: &[u8], depth: usize) -> Option<()> {
        let (count, rest) = Offsets::split(rest, 1, if header >> 2 & 1 == 1 { 4 } else { 1 })?;
        let count = count.get(0)?;
        let (offsets, values) = Offsets::split(rest, count.checked_add(1)?, usize::from(header & 3) + 1)?;
        self.out.push('[');
        for i in 0..count {
            if i > 0 {
                self.out.push(',');
            }
            self.value(names, values.get(offsets.get(i)?..)?, depth)?;
        }
        self.out.push(']');
        Some(())
    }

    /// JSON has no dates and no bytes: they are text, as Iceberg's own rendering has them.
    fn primitive(&mut self, kind: u8, rest: &[u8]) -> Option<()> {
        match kind {
            0 => self.out.push_str("null"),
            1 => self.out.push_str("true"),
            2 => self.out.push_str("false"),
            3 => self.show(i8::from_le_bytes(*rest.first_chunk()?))?,
            4 => self.show(i16::from_le_bytes(*rest.first_chunk()?))?,
            5 => self.show(i32::from_le_bytes(*rest.first_chunk()?))?,
            6 => self.show(i64::from_le_bytes(*rest.first_chunk()?))?,
            7 => {
                self.float(f64::from_le_bytes(*rest.first_chunk()?), |f| ryu::Buffer::new().format_finite(f).into())?
            }
            8 => self.decimal(rest, |b| Some(i32::from_le_bytes(*b.first_chunk()?).into()))?,
            9 => self.decimal(rest, |b| Some(i64::from_le_bytes(*b.first_chunk()?).into()))?,
            10 => self.decimal(rest, |b| Some(i128::from_le_bytes(*b.first_chunk()?)))?,
            11 => {
                let days = i64::from(i32::from_le_bytes(*rest.first_chunk()?));
                self.quoted(DateTime::from_timestamp(days.checked_mul(86_400)?, 0)?.format("%Y-%m-%d"))?;
            }
            12 => self.quoted(micros(rest)?.format("%Y-%m-%dT%H:%M:%S%.6f+00:00"))?,
            13 => self.quoted(micros(rest)?.format("%Y-%m-%dT%H:%M:%S%.6f"))?,
            14 => {
                let value = f32::from_le_bytes(*rest.first_chunk()?);
                self.float(f64::from(value), |_| ryu::Buffer::new().format_finite(value).into())?;
            }
            15 => self.quoted(STANDARD.encode(long(rest)?))?,
            16 => self.text(long(rest)?)?,
            17 => {
                let micros = i64::from_le_bytes(*rest.first_chunk()?);
                let time = DateTime::from_timestamp_micros(micros).filter(|_| (0..86_400_000_000).contains(&micros))?;
                self.quoted(time.format("%H:%M:%S%.6f"))?;
            }
            18 => self.quoted(nanos(rest)?.format("%Y-%m-%dT%H:%M:%S%.9f+00:00"))?,
            19 => self.quoted(nanos(rest)?.format("%Y-%m-%dT%H:%M:%S%.9f"))?,
            20 => self.quoted(uuid::Uuid::from_bytes(*rest.first_chunk()?))?,
            _ => return None,
        }
        Some(())
    }

    fn show(&mut self, value: impl std::fmt::Display) -> Option<()> {
        write!(self.out, "{value}").ok()
    }

    fn quoted(&mut self, value: impl std::fmt::Display) -> Option<()> {
        write!(self.out, "\"{value}\"").ok()
    }

    /// JSON has no number for what is not finite.
    fn float(&mut self, value: f64, finite: impl Fn(f64) -> String) -> Option<()> {
        match value {
            v if v.is_nan() => self.quoted("NaN"),
            v if v.is_infinite() => self.quoted(if v > 0.0 { "Infinity" } else { "-Infinity" }),
            v => self.show(finite(v)),
        }
    }

    /// A byte of scale, then the digits as a number.
    fn decimal(&mut self, rest: &[u8], unscaled: impl Fn(&[u8]) -> Option<i128>) -> Option<()> {
        let (scale, rest) = rest.split_first()?;
        let (value, scale) = (unscaled(rest)?, usize::from(*scale));
        if scale > 38 {
            return None;
        }
        let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at_checked(digits.len() - scale)?;
        let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
        self.show(format_args!("{sign}{whole}{point}{fraction}"))
    }

    fn text(&mut self, bytes: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(bytes).ok()?;
        self.out.push_str(&serde_json::to_string(text).ok()?);
        Some(())
    }
}

/// Bytes after their length in four.
fn long(rest: &[u8]) -> Option<&[u8]> {
    let (length, bytes) = rest.split_first_chunk::<4>()?;
    bytes.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn micros(rest: &[u8]) -> Option<DateTime<chrono::Utc>> {
    DateTime::from_timestamp_micros(i64::from_le_bytes(*rest.first_chunk()?))
}

fn nanos(rest: &[u8]) -> Option<DateTime<chrono::Utc>> {
    Some(DateTime::from_timestamp_nanos(i64::from_le_bytes(*rest.first_chunk()?)))
}

fn little(bytes: &[u8]) -> Option<usize> {
    usize::try_from(bytes.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(names: &[u8], value: &[u8]) -> Option<String> {
        let mut out = String::new();
        let mut writer = Writer { out: &mut out, parts_left: value.len() };
        Dictionary::of(names).and_then(|d| writer.value(&d, value, DEPTH))?;
        Some(out)
    }

    /// No names; `a`.
    const NONE: &[u8] = &[1, 0, 0];
    const A: &[u8] = &[1, 1, 0, 1, b'a'];

    #[test]
    fn values_become_json() {
        let primitive = |kind: u8, rest: &[u8]| [&[kind << 2], rest].concat();
        for (names, value, expect) in [
            (NONE, vec![0], "null"),
            (NONE, vec![1 << 2], "true"),
            (NONE, primitive(3, &[0xff]), "-1"),
            (NONE, primitive(8, &[2, 0x85, 0xff, 0xff, 0xff]), "-1.23"),
            (NONE, primitive(8, &[3, 1, 0, 0, 0]), "0.001"),
            (NONE, primitive(7, &1.5f64.to_le_bytes()), "1.5"),
            (NONE, primitive(7, &f64::NAN.to_le_bytes()), "\"NaN\""),
            (NONE, primitive(14, &0.1f32.to_le_bytes()), "0.1"),
            (NONE, primitive(11, &(-1i32).to_le_bytes()), "\"1969-12-31\""),
            (NONE, primitive(12, &1i64.to_le_bytes()), "\"1970-01-01T00:00:00.000001+00:00\""),
            (NONE, primitive(15, &[2, 0, 0, 0, 0xfb, 0xff]), "\"+/8=\""),
            (NONE, primitive(17, &86_399_999_999i64.to_le_bytes()), "\"23:59:59.999999\""),
            (NONE, vec![2 << 2 | 1, b'"', b'\n'], r#""\"\n""#),
            // {"a": [true, null]}
            (A, vec![2, 1, 0, 0, 7, 3, 2, 0, 1, 2, 1 << 2, 0], r#"{"a":[true,null]}"#),
        ] {
            assert_eq!(text(names, &value).as_deref(), Some(expect), "{value:?}");
        }
    }

    #[test]
    fn damage_is_no_value_and_no_panic() {
        let whole = [2, 1, 0, 0, 7, 3, 2, 0, 1, 2, 1 << 2, 0];
        for cut in 0..whole.len() {
            assert_eq!(text(A, &whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole;
                changed[at] = byte;
                text(A, &changed);
                text(&changed, &whole);
            }
        }
    }

    /// An array of two values, both at the same place, which is such an array again.
    #[test]
    fn shared_parts_do_not_multiply() {
        let mut value = vec![0];
        for _ in 0..60 {
            value = [&[3, 2, 0, 0, 0], &value[..]].concat();
        }
        assert_eq!(text(NONE, &value), None);
        let mut deep = vec![0];
        for _ in 0..DEPTH + 1 {
            deep = [&[3, 1, 0, 0], &deep[..]].concat();
        }
        assert_eq!(text(NONE, &deep), None);
    }
}
