//! Partition transforms, backwards: the source values that a partition value stands for, and the bucket of a value.
//! Foreign values never overflow: what does not fit proves nothing.

use chrono::{Months, NaiveDate};
use datafusion::common::ScalarValue;
use iceberg::spec::{PrimitiveLiteral, PrimitiveType, Transform};

use super::super::schema::scalar;

type Range = (Option<ScalarValue>, Option<ScalarValue>);

const NOTHING: Range = (None, None);
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// The closed range of source values whose transform is `value`; an open end is `None`.
pub(super) fn range(by: &Transform, value: &PrimitiveLiteral, source: &PrimitiveType) -> Range {
    use PrimitiveLiteral as L;
    match (by, value) {
        (Transform::Identity, v) => {
            let v = scalar(v, source);
            (v.clone(), v)
        }
        (Transform::Hour, L::Int(h)) => micros(begin(*h), i64::from(*h) + 1, HOUR_US, source),
        // The day of a date is the date: nothing to misfile.
        (Transform::Day, L::Int(d)) if *source == PrimitiveType::Date => {
            days(Some(i64::from(*d)), Some(i64::from(*d) + 1), source)
        }
        (Transform::Day, L::Int(d)) => days(Some(begin(*d)), Some(i64::from(*d) + 1), source),
        (Transform::Month, L::Int(m)) => days(first_of(begin(*m)), first_of(i64::from(*m) + 1), source),
        (Transform::Year, L::Int(y)) => {
            let month = |year: i64| first_of(year * 12);
            days(month(begin(*y)), month(i64::from(*y) + 1), source)
        }
        (Transform::Truncate(width), v) => truncated(*width, v, source),
        _ => NOTHING,
    }
}

/// The first period whose values may stand under `period`, counted from 1970. What is before 1970 is filed one period too
/// late by PyIceberg with pyiceberg-core 0.10 (the last second of a period) and by Iceberg before 0.11 (all of it but a
/// period's first instant). Java's reader widens in the same way (`ProjectionUtil.fixInclusiveTimeProjection`).
fn begin(period: i32) -> i64 {
    let period = i64::from(period);
    if period <= 0 { period - 1 } else { period }
}

fn truncated(width: u32, value: &PrimitiveLiteral, source: &PrimitiveType) -> Range {
    use PrimitiveLiteral as L;
    let last = width.saturating_sub(1);
    let pair = |lower: L, upper: Option<L>| (scalar(&lower, source), upper.and_then(|u| scalar(&u, source)));
    match value {
        L::Int(v) => pair(L::Int(*v), i32::try_from(last).ok().and_then(|w| v.checked_add(w)).map(L::Int)),
        L::Long(v) => pair(L::Long(*v), v.checked_add(i64::from(last)).map(L::Long)),
        L::Int128(v) => pair(L::Int128(*v), v.checked_add(i128::from(last)).map(L::Int128)),
        L::String(v) if v.chars().count() < width as usize => pair(L::String(v.clone()), Some(L::String(v.clone()))),
        L::String(v) => pair(L::String(v.clone()), after_prefix(v).map(L::String)),
        L::Binary(v) => pair(L::Binary(v.clone()), None),
        _ => NOTHING,
    }
}

/// The smallest string greater than everything that begins with `prefix`; `None` where there is none.
pub(in crate::lake) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last as u32 + 1 {
            // The gap of the surrogates is not a character.
            0xD800 => Some('\u{E000}'),
            code => char::from_u32(code),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// `[from, to)` in days since 1970.
fn days(from: Option<i64>, to: Option<i64>, source: &PrimitiveType) -> Range {
    let (Some(from), Some(to)) = (from, to) else { return NOTHING };
    if *source == PrimitiveType::Date {
        let date = |d: i64| i32::try_from(d).ok().map(|d| ScalarValue::Date32(Some(d)));
        return (date(from), date(to - 1));
    }
    micros(from, to, DAY_US, source)
}

/// `[from, to)` in units since 1970, in the source's own resolution.
fn micros(from: i64, to: i64, unit_us: i64, source: &PrimitiveType) -> Range {
    let per_us = match source {
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => 1,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => 1_000,
        _ => return NOTHING,
    };
    let at = |n: i64| n.checked_mul(unit_us)?.checked_mul(per_us);
    let value = |v: i64| scalar(&PrimitiveLiteral::Long(v), source);
    (at(from).and_then(value), at(to).and_then(|end| value(end - 1)))
}

/// Days since 1970 of the first day of a month, counted from January 1970.
fn first_of(month: i64) -> Option<i64> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let months = Months::new(u32::try_from(month.unsigned_abs()).ok()?);
    let first = if month < 0 { epoch.checked_sub_months(months) } else { epoch.checked_add_months(months) }?;
    Some(first.signed_duration_since(epoch).num_days())
}

/// The bucket of a value; `None` for a type whose hash is not defined here.
pub(super) fn bucket(value: &ScalarValue, buckets: u32) -> Option<i32> {
    of_hash(hash(value)?, buckets)
}

/// The bucket of a value by the bytes that the table format prescribes for its type.
pub(in crate::lake) fn bucket_of(bytes: &[u8], buckets: u32) -> Option<i32> {
    of_hash(murmur3::murmur3_32(&mut &*bytes, 0).ok()?, buckets)
}

fn of_hash(hash: u32, buckets: u32) -> Option<i32> {
    i32::try_from((hash & 0x7fff_ffff).checked_rem(buckets)?).ok()
}

/// Murmur3 over the bytes that the table format prescribes for each type.
fn hash(value: &ScalarValue) -> Option<u32> {
    let bytes: Vec<u8> = match value {
        ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => i64::from(*v).to_le_bytes().to_vec(),
        ScalarValue::Int64(Some(v))
        | ScalarValue::Time64Microsecond(Some(v))
        | ScalarValue::TimestampMicrosecond(Some(v), _) => v.to_le_bytes().to_vec(),
        ScalarValue::Utf8(Some(v)) | ScalarValue::Utf8View(Some(v)) | ScalarValue::LargeUtf8(Some(v)) => {
            v.clone().into()
        }
        ScalarValue::Binary(Some(v)) | ScalarValue::FixedSizeBinary(_, Some(v)) => v.clone(),
        ScalarValue::Decimal128(Some(v), _, _) => decimal_bytes(*v),
        _ => return None,
    };
    murmur3::murmur3_32(&mut bytes.as_slice(), 0).ok()
}

/// Big-endian two's complement in as few bytes as hold it.
pub(in crate::lake) fn decimal_bytes(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let redundant = |i: &usize| bytes[*i] == sign && (bytes[i + 1] ^ sign) & 0x80 == 0;
    let skip = (0..bytes.len() - 1).take_while(redundant).count();
    bytes[skip..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table format's own test values (appendix B).
    #[test]
    fn hashes_are_those_of_the_specification() {
        let uuid = uuid::Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap().as_bytes().to_vec();
        let check = [
            (ScalarValue::Int32(Some(34)), 2017239379),
            (ScalarValue::Int64(Some(34)), 2017239379),
            (ScalarValue::Decimal128(Some(1420), 9, 2), -500754589),
            (ScalarValue::Date32(Some(17486)), -653330422),
            (ScalarValue::Time64Microsecond(Some(81068000000)), -662762989),
            (ScalarValue::TimestampMicrosecond(Some(1510871468000000), None), -2047944441),
            (ScalarValue::Utf8(Some("iceberg".into())), 1210000089),
            (ScalarValue::FixedSizeBinary(16, Some(uuid)), 1488055340),
            (ScalarValue::Binary(Some(vec![0, 1, 2, 3])), -188683207),
        ];
        for (value, expect) in check {
            assert_eq!(hash(&value).map(|h| h as i32), Some(expect), "{value:?}");
        }
    }

    #[test]
    fn decimals_are_hashed_in_their_shortest_form() {
        for (value, expect) in
            [(0, vec![0]), (-1, vec![0xff]), (127, vec![127]), (128, vec![0, 128]), (-129, vec![0xff, 127])]
        {
            assert_eq!(decimal_bytes(value), expect, "{value}");
        }
    }

    #[test]
    fn ranges_hold_exactly_the_values_of_a_partition() {
        use PrimitiveLiteral as L;
        let text = |by: Transform, value: L, of: PrimitiveType| {
            let (lower, upper) = range(&by, &value, &of);
            let show = |v: Option<ScalarValue>| v.map_or("..".to_string(), |v| v.to_string());
            format!("{} {}", show(lower), show(upper))
        };
        let of_date = PrimitiveType::Date;
        let of_ts = PrimitiveType::Timestamp;
        assert_eq!(text(Transform::Day, L::Int(1), of_ts.clone()), "86400000000 172799999999");
        assert_eq!(text(Transform::Hour, L::Int(1), of_ts.clone()), "3600000000 7199999999");
        assert_eq!(text(Transform::Month, L::Int(1), of_date.clone()), "1970-02-01 1970-02-28");
        assert_eq!(text(Transform::Year, L::Int(50), of_date.clone()), "2020-01-01 2020-12-31");
        // At and before 1970 a period may hold what belongs to the one before it; a date's day is exact.
        assert_eq!(text(Transform::Day, L::Int(-1), of_date.clone()), "1969-12-31 1969-12-31");
        assert_eq!(text(Transform::Day, L::Int(0), of_ts.clone()), "-86400000000 86399999999");
        assert_eq!(text(Transform::Day, L::Int(-1), of_ts.clone()), "-172800000000 -1");
        assert_eq!(text(Transform::Hour, L::Int(0), of_ts.clone()), "-3600000000 3599999999");
        assert_eq!(text(Transform::Month, L::Int(-1), of_date.clone()), "1969-11-01 1969-12-31");
        assert_eq!(text(Transform::Month, L::Int(0), of_ts), "-2678400000000 2678399999999");
        assert_eq!(text(Transform::Year, L::Int(0), of_date.clone()), "1969-01-01 1970-12-31");
        assert_eq!(text(Transform::Year, L::Int(-1), of_date.clone()), "1968-01-01 1969-12-31");
        assert_eq!(text(Transform::Year, L::Int(i32::MAX), of_date), ".. ..");
        assert_eq!(text(Transform::Truncate(10), L::Int(-10), PrimitiveType::Int), "-10 -1");
        assert_eq!(text(Transform::Truncate(10), L::Int(i32::MAX), PrimitiveType::Int), "2147483647 ..");
        assert_eq!(text(Transform::Truncate(2), L::String("ab".into()), PrimitiveType::String), "ab ac");
        assert_eq!(text(Transform::Truncate(2), L::String("a".into()), PrimitiveType::String), "a a");
        assert_eq!(text(Transform::Bucket(4), L::Int(3), PrimitiveType::Int), ".. ..");
    }

    #[test]
    fn the_string_after_a_prefix_skips_what_is_no_character() {
        assert_eq!(after_prefix("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(after_prefix("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
    }
}
