//! pg_snapshot and the older txid_snapshot (xid8funcs.c): which transactions had ended when it was taken. They lie as
//! their text, which is canonical. Taking one is not here: there are no transactions with numbers.

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("pg_snapshot_in", |c| c.one(|text: &str| Snapshot::parse(text).map(|snapshot| snapshot.spelt()))),
    ("pg_snapshot_out", |c| c.one(|text: &str| Ok(text))),
    ("txid_snapshot_in", |c| c.one(|text: &str| Snapshot::parse(text).map(|snapshot| snapshot.spelt()))),
    ("txid_snapshot_out", |c| c.one(|text: &str| Ok(text))),
    ("pg_snapshot_xmin", |c| number(c, |snapshot| snapshot.first)),
    ("pg_snapshot_xmax", |c| number(c, |snapshot| snapshot.end)),
    ("pg_snapshot_xip", running),
    ("pg_visible_in_snapshot", |c| match c.arg(0)?.array.data_type() {
        DataType::Int64 => c.two(|xid: i64, text: &str| Ok(Snapshot::parse(text)?.sees(xid.cast_unsigned()))),
        _ => c.two(|xid: u64, text: &str| Ok(Snapshot::parse(text)?.sees(xid))),
    }),
];

struct Snapshot {
    /// What precedes it had ended.
    first: u64,
    /// It and what follows had not begun.
    end: u64,
    /// What was running in between; in order.
    running: Vec<u64>,
}

impl Snapshot {
    fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            let text = format!("invalid input syntax for type pg_snapshot: \"{text}\"");
            Error::new(Kind::InvalidText, text)
        };
        let (first, rest) = read(text);
        let (end, rest) = read(rest.strip_prefix(':').ok_or_else(invalid)?);
        let mut rest = rest.strip_prefix(':').ok_or_else(invalid)?;
        let is_valid = |xid: u64| xid & 0xffff_ffff != 0;
        if !is_valid(first) || !is_valid(end) || end < first {
            return Err(invalid());
        }
        let mut running: Vec<u64> = vec![];
        while !rest.is_empty() {
            let (xid, behind) = read(rest);
            let last = running.last().copied().unwrap_or(0);
            if !(first..end).contains(&xid) || xid < last {
                return Err(invalid());
            }
            if xid != last {
                running.push(xid);
            }
            rest = match behind.strip_prefix(',') {
                Some(rest) => rest,
                None if behind.is_empty() => behind,
                None => return Err(invalid()),
            };
        }
        Ok(Self { first, end, running })
    }

    fn spelt(&self) -> String {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.first, self.end, running.join(","))
    }

    fn sees(&self, xid: u64) -> bool {
        xid < self.first || (xid < self.end && self.running.binary_search(&xid).is_err())
    }
}

/// As C's strtoull reads decimal digits, and what is behind them.
fn read(text: &str) -> (u64, &str) {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (negative, digits) = match start.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, start.strip_prefix('+').unwrap_or(start)),
    };
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = digits.get(..digits.len() - rest.len()).unwrap_or_default();
    if digits.is_empty() {
        return (0, text);
    }
    let value = digits.parse().unwrap_or(u64::MAX);
    (if negative { value.wrapping_neg() } else { value }, rest)
}

/// An xid8, or a bigint of the older functions.
fn number(c: &Call<'_>, of: impl Fn(&Snapshot) -> u64) -> Result<ArrayRef> {
    match c.result.data_type() {
        DataType::Int64 => c.one(|text: &str| Snapshot::parse(text).map(|snapshot| of(&snapshot).cast_signed())),
        _ => c.one(|text: &str| Snapshot::parse(text).map(|snapshot| of(&snapshot))),
    }
}

fn running(c: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = c.result.data_type() else {
        return Err(Error::internal(format!("transactions were made for {}", c.result.data_type())));
    };
    c.one(|text: &str| {
        let running: ArrayRef = Arc::new(UInt64Array::from(Snapshot::parse(text)?.running));
        Ok(cast(&running, item.data_type())?)
    })
}
