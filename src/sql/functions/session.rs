//! What depends on no value or on any type: pg_typeof, num_nulls, sizes for people. What depends on a catalog or
//! a connection is not here.

use arrow::array::{Array, ArrayRef, AsArray};
use num_bigint::BigInt;

use crate::error::{Error, Kind, Result};
use crate::pgtype::oid;
use crate::sql::kernel::{Call, Kernel};
use crate::sql::numeric::Numeric;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("pg_typeof", |c| c.rows_of(|_| Ok(c.types.first().map_or(oid::UNKNOWN, |ty| ty.oid)))),
    ("pg_client_encoding", |c| c.rows_of(|_| Ok("UTF8"))),
    ("getdatabaseencoding", |c| c.rows_of(|_| Ok("UTF8"))),
    ("pg_num_nulls", |c| c.rows_of(|row| Ok(nulls(c, row)))),
    ("pg_num_nonnulls", |c| c.rows_of(|row| Ok(super::text::int(c.args.len()) - nulls(c, row)))),
    ("pg_num_nulls/variadic", |c| elements(c, true)),
    ("pg_num_nonnulls/variadic", |c| elements(c, false)),
    ("pg_size_pretty", |c| c.one(|size: i64| Ok(pretty(size)))),
    ("pg_size_pretty_numeric", |c| c.one(|size: Numeric| Ok(pretty_numeric(size)))),
    ("pg_size_bytes", |c| c.one(size_bytes)),
];

fn nulls(call: &Call<'_>, row: usize) -> i32 {
    super::text::int(call.args.iter().filter(|arg| arg.is_null(row)).count())
}

fn elements(call: &Call<'_>, null: bool) -> Result<ArrayRef> {
    call.one(|mut array: ArrayRef| {
        while let Some(inner) = array.as_list_opt::<i32>() {
            let (from, to) = (inner.value_offsets().first(), inner.value_offsets().last());
            let (from, to) = (from.copied().unwrap_or(0), to.copied().unwrap_or(0));
            array = inner.values().slice(super::text::count(from), super::text::count(to - from));
        }
        let nulls = array.logical_null_count();
        Ok(super::text::int(if null { nulls } else { array.len() - nulls }))
    })
}

/// Name, below which size it is taken, and the bits by which it is larger than the one before: one bit less is taken from
/// the first, and comes off by rounding.
const UNITS: &[(&str, i64, u32)] = &[
    ("bytes", 10 * 1024, 0),
    ("kB", 20 * 1024 - 1, 9),
    ("MB", 20 * 1024 - 1, 10),
    ("GB", 20 * 1024 - 1, 10),
    ("TB", 20 * 1024 - 1, 10),
    ("PB", i64::MAX, 10),
];

fn pretty(mut size: i64) -> String {
    for &(name, limit, bits) in UNITS {
        size /= 1 << bits;
        if size.unsigned_abs() < limit.unsigned_abs() {
            if bits > 0 {
                size = (size + if size < 0 { -1 } else { 1 }) / 2;
            }
            return format!("{size} {name}");
        }
    }
    String::new()
}

fn pretty_numeric(size: Numeric) -> String {
    let Numeric::Finite { digits, scale } = &size else { return format!("{size} PB") };
    let ten = crate::sql::numeric::power_of_ten(*scale);
    // what stands before the point is all that the larger units see
    let mut whole = digits / &ten;
    for &(name, limit, bits) in UNITS {
        whole /= BigInt::from(1u64 << bits);
        let last = limit == i64::MAX;
        if bits == 0 {
            // a fraction may reach the limit only from below
            if digits.magnitude() < (BigInt::from(limit) * &ten).magnitude() {
                return format!("{size} {name}");
            }
        } else if last || whole.magnitude() < BigInt::from(limit).magnitude() {
            let half = if whole.sign() == num_bigint::Sign::Minus { -1 } else { 1 };
            return format!("{} {name}", (whole + half) / 2);
        }
    }
    String::new()
}

/// A number and a unit.
fn size_bytes(text: &str) -> Result<i64> {
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let invalid = || Error::new(Kind::InvalidParameter, format!("invalid size: \"{text}\""));
    let text = text.trim_matches(space);
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let signed = |text: &str| usize::from(text.starts_with(['+', '-']));
    let mut end = signed(text);
    let whole = digits(&text[end..]);
    end += whole;
    let mut fraction = 0;
    if text[end..].starts_with('.') {
        fraction = digits(&text[end + 1..]);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return Err(invalid());
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = signed(&text[end + 1..]);
        let exponent = digits(&text[end + 1 + sign..]);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = Numeric::parse(&text[..end])?;
    let unit = text[end..].trim_start_matches(space);
    let power = match UNITS.iter().position(|(name, ..)| name.eq_ignore_ascii_case(unit)) {
        Some(at) => at * 10,
        None if unit.is_empty() => 0,
        None => {
            return Err(invalid()
                .with_detail(format!("Invalid size unit: \"{unit}\"."))
                .with_hint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    let Numeric::Finite { digits, scale } = number else { return Err(invalid()) };
    let rounded = Numeric::new(digits << power, scale).rounded(0);
    let out_of_range = || Error::new(Kind::NumericRange, "bigint out of range");
    rounded.to_i128(0).and_then(|size| i64::try_from(size).ok()).ok_or_else(out_of_range)
}
