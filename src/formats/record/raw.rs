//! Values as they are: the one column holds the bytes, or the text, of each. It reads nothing in them.

use super::Record;
use super::given::Given;
use super::out::{Happened, Out};
use super::rows::{Miss, of};
use super::sink::PLAIN;
use crate::formats::change::Op;

pub(super) fn decode(records: &[Record<'_>], out: &mut Out<'_>) {
    for (index, record) in records.iter().enumerate() {
        let outcome = value(record, out);
        out.take(index, record.at_ms, outcome);
    }
}

fn value(record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
    let Some(bytes) = record.value else { return Ok(Some(Happened::of(Op::Delete))) };
    if let Some(sink) = out.rows.sink(0) {
        let pushed = match sink.is_bytes() {
            true => sink.push(Given::Bytes(bytes), &PLAIN),
            false => match std::str::from_utf8(bytes) {
                Ok(text) => sink.push(Given::Spelt(text), &PLAIN),
                Err(_) => Err("is not valid UTF-8"),
            },
        };
        pushed.map_err(of(0))?;
    }
    Ok(Some(Happened::of(Op::Insert)))
}
