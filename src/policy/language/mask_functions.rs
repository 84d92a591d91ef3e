//! The functions behind masks, as DataFusion values: total, immutable, each giving back the type it was given. Which
//! mask belongs on which column is judged in `mask`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Date32Array, LargeBinaryArray, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray,
};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use crate::secret::Secret;

/// The first and last characters of a text around a fixed one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Partial {
    first: usize,
    fill: String,
    last: usize,
    name: String,
    signature: Signature,
}

impl Partial {
    pub(super) fn udf(first: usize, fill: &str, last: usize) -> Arc<ScalarUDF> {
        let name = format!("partial({first},{fill:?},{last})");
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { first, fill: fill.to_owned(), last, name, signature }))
    }

    fn masked(&self, text: Option<&str>) -> String {
        let text = text.unwrap_or_default();
        let count = text.chars().count();
        if count <= self.first + self.last {
            return self.fill.clone();
        }
        let head = text.chars().take(self.first);
        head.chain(self.fill.chars()).chain(text.chars().skip(count - self.last)).collect()
    }
}

impl ScalarUDFImpl for Partial {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        same(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over(args, |array| map_text(array, |text| self.masked(text)))
    }
}

/// Hex of HMAC-SHA-256 under the deployment's key; NULL becomes the HMAC of a marker.
pub(super) struct KeyedHash {
    keyed: Hmac<Sha256>,
    key: Secret<Vec<u8>>,
    signature: Signature,
}

/// What is hashed begins with one of these, so that no value can be the marker.
const OF_VALUE: &[u8] = b"v";
const OF_NULL: &[u8] = b"n";

impl KeyedHash {
    pub(super) fn udf(key: &Secret<Vec<u8>>) -> Arc<ScalarUDF> {
        let keyed = <Hmac<Sha256> as Mac>::new_from_slice(key.reveal()).expect("HMAC takes a key of any length");
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { keyed, key: key.clone(), signature }))
    }

    fn hex(&self, value: Option<&[u8]>) -> Hex {
        let mut mac = self.keyed.clone();
        match value {
            Some(bytes) => {
                mac.update(OF_VALUE);
                mac.update(bytes);
            }
            None => mac.update(OF_NULL),
        }
        Hex::of(&mac.finalize().into_bytes().into())
    }
}

/// A digest in lower-case hex: as long for every value, and on the stack.
#[derive(Clone, Copy)]
struct Hex([u8; 64]);

impl Hex {
    fn of(digest: &[u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self(hex)
    }
}

impl AsRef<str> for Hex {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl AsRef<[u8]> for Hex {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The digests of one batch. Columns that are worth a mask often repeat themselves, and looking a value up costs a tenth
/// of hashing it: each place keeps the last value that fell on it.
struct Digests<'a> {
    of: &'a KeyedHash,
    null: Option<Hex>,
    last: Vec<Option<(&'a [u8], Hex)>>,
}

/// Places for the values of one batch, a power of two.
const DIGESTS_KEPT: usize = 256;

impl<'a> Digests<'a> {
    fn new(of: &'a KeyedHash, rows: usize) -> Self {
        Self { of, null: None, last: vec![None; rows.next_power_of_two().min(DIGESTS_KEPT)] }
    }

    fn hex(&mut self, value: Option<&'a [u8]>) -> Hex {
        let Some(bytes) = value else { return *self.null.get_or_insert_with(|| self.of.hex(None)) };
        let place = xxh3_64(bytes) as usize & (self.last.len() - 1);
        match &mut self.last[place] {
            Some((known, hex)) if *known == bytes => *hex,
            place => place.insert((bytes, self.of.hex(value))).1,
        }
    }
}

/// Without the key: plans are printed.
impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash")
    }
}

impl PartialEq for KeyedHash {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for KeyedHash {}

impl Hash for KeyedHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "hash".hash(state);
    }
}

impl ScalarUDFImpl for KeyedHash {
    fn name(&self) -> &str {
        "hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        same(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over(args, |array| {
            let mut digests = Digests::new(self, array.len());
            match array.data_type() {
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => map_bytes(array, |v| digests.hex(v)),
                _ => map_text(array, |v| digests.hex(v.map(str::as_bytes))),
            }
        })
    }
}

/// 1 January of the year of a date or timestamp; NULL and infinity stay.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Year {
    signature: Signature,
}

impl Year {
    pub(super) fn udf() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(Self { signature: Signature::any(1, Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for Year {
    fn name(&self) -> &str {
        "year"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        same(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over(args, |array| match array.data_type() {
            DataType::Date32 => {
                let dates: &Date32Array = array.as_primitive();
                Ok(Arc::new(dates.unary::<_, arrow::datatypes::Date32Type>(year_of_date)))
            }
            DataType::Timestamp(TimeUnit::Second, _) => years::<TimestampSecondType>(array, 1),
            DataType::Timestamp(TimeUnit::Millisecond, _) => years::<TimestampMillisecondType>(array, 1_000),
            DataType::Timestamp(TimeUnit::Microsecond, _) => years::<TimestampMicrosecondType>(array, 1_000_000),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => years::<TimestampNanosecondType>(array, 1_000_000_000),
            other => exec_err!("year of {other}"),
        })
    }
}

fn years<T: ArrowTimestampType>(array: &dyn Array, per_second: i64) -> Result<ArrayRef> {
    let times: &PrimitiveArray<T> = array.as_primitive();
    let years: PrimitiveArray<T> = times.unary(|t| year_of_time(t, per_second * 86_400));
    Ok(Arc::new(years.with_data_type(array.data_type().clone())))
}

fn year_of_date(days: i32) -> i32 {
    match days {
        i32::MIN | i32::MAX => days,
        _ => i32::try_from(year_start(i64::from(days))).unwrap_or(i32::MIN),
    }
}

fn year_of_time(time: i64, per_day: i64) -> i64 {
    match time {
        i64::MIN | i64::MAX => time,
        // the year that holds the earliest moment begins before it
        _ => year_start(time.div_euclid(per_day)).checked_mul(per_day).unwrap_or(i64::MIN),
    }
}

/// Days from 1970-01-01 to 1 January of the year that `days` falls in, for any year of the proleptic calendar.
/// The arithmetic is Howard Hinnant's `civil_from_days`: years that begin in March have their leap day last.
fn year_start(days: i64) -> i64 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // from 1 March: January begins at day 306
    let year = era * 400 + year_of_era + i64::from(day_of_year >= 306);
    let before = year - 1;
    let (era, year_of_era) = (before.div_euclid(400), before.rem_euclid(400));
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + 306 - 719_468
}

fn same(given: &[DataType]) -> Result<DataType> {
    match given {
        [one] => Ok(one.clone()),
        _ => exec_err!("a mask takes one column"),
    }
}

fn over(args: ScalarFunctionArgs, mask: impl Fn(&dyn Array) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    let rows = args.number_rows;
    match args.args.into_iter().next() {
        Some(value) => Ok(ColumnarValue::Array(mask(value.into_array(rows)?.as_ref())?)),
        None => exec_err!("a mask takes one column"),
    }
}

fn map_text<'a, T: AsRef<str>>(array: &'a dyn Array, mask: impl FnMut(Option<&'a str>) -> T) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from_iter_values(array.as_string::<i32>().iter().map(mask))),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from_iter_values(array.as_string::<i64>().iter().map(mask))),
        DataType::Utf8View => Arc::new(StringViewArray::from_iter_values(array.as_string_view().iter().map(mask))),
        other => return exec_err!("a text mask over {other}"),
    })
}

fn map_bytes<'a, T: AsRef<[u8]>>(array: &'a dyn Array, mask: impl FnMut(Option<&'a [u8]>) -> T) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(array.as_binary::<i32>().iter().map(mask))),
        DataType::LargeBinary => {
            Arc::new(LargeBinaryArray::from_iter_values(array.as_binary::<i64>().iter().map(mask)))
        }
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter_values(array.as_binary_view().iter().map(mask))),
        other => return exec_err!("a bytes mask over {other}"),
    })
}
