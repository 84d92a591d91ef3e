//! Records in Avro behind the id of the schema that each was written by: Confluent's frame, or Apicurio's. Fields are found
//! by name, or by the alias that a newer schema gives, and read straight into the columns; another schema in the midst of a
//! slice is another plan. Our own reader: Debezium says what a value is in `connect.name`, which arrow-avro passes over,
//! and a record that does not fit must not cost its neighbours.

mod read;
mod schema;
mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::given::{Given, Problem};
use super::learnt::Learnt;
use super::out::{Happened, Out};
use super::rows::{Miss, Rows, Take, of};
use super::sink::PLAIN;
use super::{Declared, Envelope, Record, Registered, op_of};
use crate::formats::change::Op;
use crate::formats::record::envelope::{Said, sequence};
pub(super) use read::Bytes;
use schema::{Plan, Shape};

/// How long the id before a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// A zero byte and four bytes.
    #[default]
    Confluent,
    /// A zero byte and eight bytes.
    Apicurio,
}

const NO_FRAME: Problem = "does not begin with the id of a schema";
const NO_SCHEMA: Problem = "is written by a schema that the registry does not have or that cannot be read";
const TRAILING: Problem = "has bytes behind its value";

impl Ids {
    /// The id, and the bytes behind it.
    pub(super) fn split(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        let (0, rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else { return None };
        match self {
            Ids::Confluent => rest.split_first_chunk().map(|(id, rest)| (u32::from_be_bytes(*id).into(), rest)),
            Ids::Apicurio => rest.split_first_chunk().map(|(id, rest)| (u64::from_be_bytes(*id), rest)),
        }
    }

    /// Those of keys and values that `known` does not know.
    pub(super) fn unknown(self, records: &[Record<'_>], known: impl Fn(u64) -> bool) -> Vec<u64> {
        let parts = records.iter().flat_map(|record| [record.value, record.key, record.old_key]).flatten();
        let mut last = None;
        let mut found = BTreeSet::new();
        for (id, _) in parts.filter_map(|bytes| self.split(bytes)) {
            if last != Some(id) && !known(id) {
                found.insert(id);
            }
            last = Some(id);
        }
        found.into_iter().collect()
    }
}

/// What was learnt of ids.
#[derive(Debug, Default)]
pub(super) struct Schemas(Learnt<Plan>);

impl Schemas {
    pub(super) fn unknown(&self, ids: Ids, records: &[Record<'_>]) -> Vec<u64> {
        ids.unknown(records, self.0.knows(Instant::now()))
    }

    pub(super) fn learn(&self, id: u64, registered: &Registered, declared: &Declared) {
        self.0.learn(id, Plan::new(registered, declared).ok(), registered.bytes(), Instant::now());
    }
}

pub(super) fn decode(declared: &Declared, records: &[Record<'_>], out: &mut Out<'_>) {
    let mut hand = Hand { declared, plan: None, key_plan: None };
    for (index, record) in records.iter().enumerate() {
        let outcome = hand.record(record, out);
        out.take(index, record.at_ms, outcome);
    }
}

struct Hand<'d> {
    declared: &'d Declared,
    /// Of the last value's id.
    plan: Option<(u64, Arc<Plan>)>,
    key_plan: Option<(u64, Arc<Plan>)>,
}

impl Hand<'_> {
    fn record(&mut self, record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
        let envelope = self.declared.declaration.envelope;
        let Some(value) = record.value else {
            if envelope == Envelope::Debezium {
                return Ok(None);
            }
            if !self.declared.declaration.key.is_empty() {
                self.rest_of_key(record, out)?;
            }
            return Ok(Some(Happened::of(Op::Delete)));
        };
        let (id, bytes) = self.declared.declaration.ids.split(value).ok_or(NO_FRAME)?;
        let plan = plan(self.declared, &mut self.plan, id)?;
        let mut bytes = Bytes::new(bytes);
        let happened = match envelope {
            Envelope::Debezium => self.event(&plan, &mut bytes, record, out)?,
            Envelope::None | Envelope::Connect => Some(self.row(&plan, &mut bytes, record, out)?),
        };
        if bytes.is_empty() { Ok(happened) } else { Err(TRAILING.into()) }
    }

    fn row(
        &mut self,
        plan: &Plan,
        bytes: &mut Bytes<'_>,
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<Happened, Miss> {
        let start = *bytes;
        plan.row(plan.root, 0, bytes, &mut out.rows, Take::All, self.declared)?;
        let (op, said) = match self.declared.declaration.envelope {
            Envelope::Connect => beside(plan, start)?,
            Envelope::None | Envelope::Debezium => (None, Said::default()),
        };
        let op = op.unwrap_or(Op::Insert);
        if op == Op::Delete {
            // Only the key counts, and the row was read before that was known.
            out.rows.spoil(false);
            plan.row(plan.root, 0, &mut start.clone(), &mut out.rows, Take::Key, self.declared)?;
        }
        self.rest_of_key(record, out)?;
        Ok(Happened { op, at_micros: said.at_micros(), position: said.position })
    }

    fn rest_of_key(&mut self, record: &Record<'_>, out: &mut Out<'_>) -> Result<(), Miss> {
        let rows = &mut out.rows;
        let missing = |column: &usize| rows.wants(*column) && !rows.given(*column);
        match record.key {
            Some(key) if self.declared.declaration.key.iter().any(missing) => self.key(key, rows),
            _ => Ok(()),
        }
    }

    /// A key behind its own schema, or the text of its one column.
    fn key(&mut self, key: &[u8], rows: &mut Rows) -> Result<(), Miss> {
        let columns = self.declared.declaration.key.as_slice();
        let one = match columns {
            [column] => Some(*column),
            _ => None,
        };
        let Some((id, bytes)) = self.declared.declaration.ids.split(key) else {
            let text = std::str::from_utf8(key).map_err(|_| "has a key that is not valid UTF-8")?;
            return match one.and_then(|column| rows.sink(column).map(|sink| (column, sink))) {
                Some((column, sink)) => sink.push(Given::Spelt(text), &PLAIN).map_err(of(column)),
                None => Err("has a key that does not begin with the id of a schema".into()),
            };
        };
        let plan = plan(self.declared, &mut self.key_plan, id)?;
        let mut bytes = Bytes::new(bytes);
        match (plan.is_record(plan.root), one) {
            (true, _) => plan.row(plan.root, 0, &mut bytes, rows, Take::Missing, self.declared),
            (false, Some(column)) => {
                let how = plan.hows.get(column).copied().unwrap_or(PLAIN);
                match rows.sink(column) {
                    Some(sink) => plan.give(plan.root, &mut bytes, sink, &how, None, 0).map(|_| ()).map_err(of(column)),
                    None => Ok(()),
                }
            }
            (false, None) => Err("has a key of one value".into()),
        }
    }

    fn event<'b>(
        &mut self,
        plan: &'b Plan,
        bytes: &mut Bytes<'b>,
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<Happened>, Miss> {
        let Some(event) = plan.event() else { return Err("is not an event of Debezium".into()) };
        let (mut op, mut said, mut written) = (None, Said::default(), None);
        let (mut before, mut after) = (None, None);
        for (name, of) in event {
            match name.as_str() {
                "before" | "after" => {
                    let of = plan.chosen(*of, bytes)?;
                    let start = *bytes;
                    match (plan.is_record(of), name.as_str()) {
                        (false, _) => plan.skip(of, bytes, 0)?,
                        (true, "before") => {
                            plan.skip(of, bytes, 0)?;
                            before = Some((of, start));
                        }
                        (true, _) => {
                            plan.row(of, 0, bytes, &mut out.rows, Take::All, self.declared)?;
                            after = Some((of, start));
                        }
                    }
                }
                "op" => op = plan.text(*of, bytes)?,
                "source" => source(plan, *of, bytes, &mut said)?,
                "transaction" => said.position.order = order(plan, *of, bytes)?,
                "ts_ms" => written = plan.number(*of, bytes)?,
                _ => plan.skip(*of, bytes, 0)?,
            }
        }
        let op = match op.ok_or("is not an event of Debezium: it has no op")? {
            "m" => return Ok(None),
            letter => op_of(letter).ok_or("has an op that Debezium does not have")?,
        };
        let key = &self.declared.declaration.key;
        match (op, before, after) {
            (Op::Insert | Op::Update, _, None) => return Err("has no row after its change".into()),
            (Op::Delete | Op::Truncate, _, Some(_)) => return Err("has a row after it was deleted".into()),
            (Op::Update, Some((of, start)), Some(after))
                if plan.key_bytes(of, start, self.declared)? != plan.key_bytes(after.0, after.1, self.declared)? =>
            {
                plan.row(of, 0, &mut start.clone(), out.was(), Take::Key, self.declared)?;
            }
            (Op::Insert, ..) if out.rows.has_left_out() => {
                if let Some(key) = record.old_key {
                    self.key(key, out.was())?;
                }
            }
            (Op::Delete, before, _) => match (before, record.key) {
                (Some((of, start)), _) if !key.is_empty() => {
                    plan.row(of, 0, &mut start.clone(), &mut out.rows, Take::Key, self.declared)?;
                }
                (_, Some(key)) => self.key(key, &mut out.rows)?,
                (Some((of, start)), None) => {
                    plan.row(of, 0, &mut start.clone(), &mut out.rows, Take::All, self.declared)?;
                }
                (None, None) => {}
            },
            _ => {}
        }
        if let (Some((of, start)), Some(rows)) = (before, out.before()) {
            plan.row(of, 0, &mut start.clone(), rows, Take::All, self.declared)?;
        }
        let coarse = || written.and_then(|ms: i64| ms.checked_mul(1_000));
        Ok(Some(Happened { op, at_micros: said.at_micros().or_else(coarse), position: said.position }))
    }
}

fn plan(declared: &Declared, last: &mut Option<(u64, Arc<Plan>)>, id: u64) -> Result<Arc<Plan>, Miss> {
    match last {
        Some((known, plan)) if *known == id => Ok(Arc::clone(plan)),
        _ => {
            let plan = declared.avro.0.get(id).ok_or(NO_SCHEMA)?;
            *last = Some((id, Arc::clone(&plan)));
            Ok(plan)
        }
    }
}

fn source<'b>(plan: &'b Plan, of: usize, bytes: &mut Bytes<'b>, said: &mut Said) -> Result<(), Problem> {
    let of = plan.chosen(of, bytes)?;
    let Some(Shape::Record(fields)) = plan.shape(of) else { return plan.skip(of, bytes, 0) };
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    for (name, of) in fields {
        match name.as_str() {
            "ts_ms" => said.ts_ms = plan.number(*of, bytes)?,
            "ts_us" => said.ts_us = plan.number(*of, bytes)?,
            "ts_ns" => said.ts_ns = plan.number(*of, bytes)?,
            "lsn" => said.position.lsn = unsigned(plan.number(*of, bytes)?),
            "txId" => said.position.transaction = plan.number(*of, bytes)?,
            "sequence" => said.position.sequence = plan.text(*of, bytes)?.and_then(sequence),
            _ => plan.skip(*of, bytes, 0)?,
        }
    }
    Ok(())
}

fn order(plan: &Plan, of: usize, bytes: &mut Bytes<'_>) -> Result<Option<i64>, Problem> {
    let of = plan.chosen(of, bytes)?;
    let mut order = None;
    let Some(Shape::Record(fields)) = plan.shape(of) else { return plan.skip(of, bytes, 0).map(|()| None) };
    for (name, of) in fields {
        match name.as_str() {
            "total_order" => order = plan.number(*of, bytes)?,
            _ => plan.skip(*of, bytes, 0)?,
        }
    }
    Ok(order)
}

/// What `ExtractNewRecordState` adds to a row.
fn beside<'b>(plan: &'b Plan, mut bytes: Bytes<'b>) -> Result<(Option<Op>, Said), Problem> {
    let (mut op, mut deleted, mut said) = (None, false, Said::default());
    let Some(Shape::Record(fields)) = plan.shape(plan.root) else { return Ok((None, said)) };
    for (name, of) in fields {
        match name.as_str() {
            "__op" => op = plan.text(*of, &mut bytes)?.and_then(op_of),
            "__deleted" => deleted = plan.text(*of, &mut bytes)? == Some("true"),
            "__source_ts_ms" | "__ts_ms" => said.ts_ms = plan.number(*of, &mut bytes)?,
            "__source_lsn" | "__lsn" => {
                said.position.lsn = plan.number(*of, &mut bytes)?.and_then(|lsn| u64::try_from(lsn).ok());
            }
            _ => plan.skip(*of, &mut bytes, 0)?,
        }
    }
    Ok((if deleted { Some(Op::Delete) } else { op }, said))
}
