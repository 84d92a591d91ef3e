//! Types that name things of a server: oid, xid, cid, tid, xid8 and pg_lsn; `format_type`. Functions,
//! operators and types by name are in [`names`]; other names behind oids are the engine's, which has a catalog.

pub(super) mod names;
pub(super) mod snapshot;
#[cfg(test)]
mod tests;

use arrow::array::ArrayRef;
use num_bigint::{BigInt, Sign};

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, input};
use crate::pgtype;
use crate::sql::kernel::{Call, Kernel};
use crate::sql::numeric::Numeric;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("oidin", |c| c.one(|text: &str| input::oid(text, "oid"))),
    ("oidout", |c| c.one(|oid: u32| Ok(oid.to_string()))),
    ("i8tooid", |c| c.one(|number: i64| u32::try_from(number).map_err(|_| range("OID out of range")))),
    ("oidtoi8", |c| c.one(|oid: u32| Ok(i64::from(oid)))),
    ("xidin", |c| c.one(|text: &str| Ok(low_half(number(text))))),
    ("xidout", |c| c.one(|xid: u32| Ok(xid.to_string()))),
    ("cidin", |c| c.one(|text: &str| Ok(low_half(number(text))))),
    ("cidout", |c| c.one(|cid: u32| Ok(cid.to_string()))),
    ("xid8in", |c| c.one(|text: &str| Ok(number(text)))),
    ("xid8out", |c| c.one(|xid: u64| Ok(xid.to_string()))),
    ("xid8toxid", |c| c.one(|xid: u64| Ok(low_half(xid)))),
    ("tidin", |c| c.one(|text: &str| input::tid(text).map(Some))),
    ("tidout", |c| {
        c.one(|[a, b, c, d, e, f]: [u8; 6]| {
            Ok(format!("({},{})", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])))
        })
    }),
    ("pg_lsn_in", |c| c.one(|text: &str| input::lsn(text))),
    ("pg_lsn_out", |c| c.one(|lsn: u64| Ok(format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)))),
    ("numeric_pg_lsn", |c| c.one(|number: Numeric| lsn(&number))),
    ("pg_lsn_mi", |c| c.two(|a: u64, b: u64| Ok(difference(a, b)))),
    ("pg_wal_lsn_diff", |c| c.two(|a: u64, b: u64| Ok(difference(a, b)))),
    ("pg_lsn_pli", |c| c.two(|lsn: u64, by: Numeric| moved(lsn, by, true))),
    ("numeric_pl_pg_lsn/5023", |c| c.two(|by: Numeric, lsn: u64| moved(lsn, by, true))),
    ("pg_lsn_mii", |c| c.two(|lsn: u64, by: Numeric| moved(lsn, by, false))),
    ("format_type", format_type),
    ("oidvectortypes", oidvectortypes),
    ("tideq", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a == b))),
    ("tidne", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a != b))),
    ("tidlt", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a < b))),
    ("tidle", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a <= b))),
    ("tidgt", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a > b))),
    ("tidge", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a >= b))),
    ("bttidcmp", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(a.cmp(&b) as i32))),
    ("tidlarger", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(Some(a.max(b))))),
    ("tidsmaller", |c| c.two(|a: [u8; 6], b: [u8; 6]| Ok(Some(a.min(b))))),
    ("pg_lsn_eq", |c| c.two(|a: u64, b: u64| Ok(a == b))),
    ("pg_lsn_ne", |c| c.two(|a: u64, b: u64| Ok(a != b))),
    ("pg_lsn_lt", |c| c.two(|a: u64, b: u64| Ok(a < b))),
    ("pg_lsn_le", |c| c.two(|a: u64, b: u64| Ok(a <= b))),
    ("pg_lsn_gt", |c| c.two(|a: u64, b: u64| Ok(a > b))),
    ("pg_lsn_ge", |c| c.two(|a: u64, b: u64| Ok(a >= b))),
    ("pg_lsn_cmp", |c| c.two(|a: u64, b: u64| Ok(a.cmp(&b) as i32))),
    ("pg_lsn_larger", |c| c.two(|a: u64, b: u64| Ok(a.max(b)))),
    ("pg_lsn_smaller", |c| c.two(|a: u64, b: u64| Ok(a.min(b)))),
    ("xid8_larger", |c| c.two(|a: u64, b: u64| Ok(a.max(b)))),
    ("xid8_smaller", |c| c.two(|a: u64, b: u64| Ok(a.min(b)))),
];

fn range(text: &str) -> Error {
    Error::new(Kind::NumericRange, text)
}

/// As C's strtoul reads with base 0: blanks, a sign, `0x` or a zero for eight; what follows the digits counts for nothing.
fn number(text: &str) -> u64 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (base, digits) = match hexadecimal.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())) {
        Some(rest) => (16, rest),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let mut value = 0u64;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        let next = value.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit)));
        let Some(next) = next else { return u64::MAX };
        value = next;
    }
    if negative { value.wrapping_neg() } else { value }
}

fn low_half(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

/// numeric_pg_lsn: rounded to a whole number.
fn lsn(number: &Numeric) -> Result<u64> {
    match number.rounded(0) {
        Numeric::NaN => Err(Error::new(Kind::Unsupported, "cannot convert NaN to pg_lsn")),
        Numeric::Finite { digits, .. } => {
            u64::try_from(digits).map_err(|_| Error::new(Kind::InvalidParameter, "pg_lsn out of range"))
        }
        Numeric::Infinity | Numeric::NegativeInfinity => {
            Err(Error::new(Kind::Unsupported, "cannot convert infinity to pg_lsn"))
        }
    }
}

fn difference(a: u64, b: u64) -> Numeric {
    let size = BigInt::from(a.abs_diff(b));
    Numeric::new(if a < b { -size } else { size }, 0)
}

fn moved(at: u64, by: Numeric, forward: bool) -> Result<u64> {
    let by = match (by, forward) {
        (Numeric::NaN, true) => return Err(Error::new(Kind::Unsupported, "cannot add NaN to pg_lsn")),
        (Numeric::NaN, false) => return Err(Error::new(Kind::Unsupported, "cannot subtract NaN from pg_lsn")),
        (Numeric::Finite { digits, scale }, forward) => {
            let digits = if forward { digits } else { -digits };
            let whole = BigInt::from_biguint(Sign::Plus, at.into()) * crate::sql::numeric::power_of_ten(scale);
            Numeric::new(whole + digits, scale)
        }
        (infinite, _) => infinite,
    };
    lsn(&by)
}

/// Without a modifier (NULL) a type is named as SQL does; with one, -1 included, as it was declared.
fn format_type(call: &Call<'_>) -> Result<ArrayRef> {
    let (oids, typmods) = (call.read::<u32>(0)?, call.read::<i32>(1)?);
    call.rows_of(|row| {
        Ok(oids.get(row).map(|oid| match typmods.get(row) {
            Some(typmod) => postgres::type_name(oid, typmod),
            None => name(oid),
        }))
    })
}

fn name(oid: u32) -> String {
    match postgres::by_oid(oid) {
        Some(row) if row.name.starts_with('_') && row.element != 0 => format!("{}[]", pgtype::name(row.element)),
        _ => pgtype::name(oid),
    }
}

/// Names of the types in an oidvector, between commas.
fn oidvectortypes(call: &Call<'_>) -> Result<ArrayRef> {
    call.one(|oids: ArrayRef| {
        let oids = crate::sql::kernel::Arg::array(oids);
        let values = oids.read::<u32>()?;
        let names: Vec<String> = (0..oids.array.len()).filter_map(|at| values.get(at)).map(name).collect();
        Ok(names.join(", "))
    })
}
