//! Debezium's events in JSON: the row after its change is read as it is met, what stood before it only where it is needed.

use super::Hand;
use super::cursor::Cursor;
use super::schema::Of;
use crate::formats::change::Op;
use crate::formats::record::envelope::{Said, sequence};
use crate::formats::record::given::{How, Problem};
use crate::formats::record::out::{Happened, Out};
use crate::formats::record::rows::{Miss, Take};
use crate::formats::record::{Record, op_of};

const NO_EVENT: Problem = "is not an event of Debezium: it has no op";

impl Hand<'_> {
    pub(super) fn event(
        &mut self,
        text: &str,
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<Happened>, Miss> {
        let mut known = std::mem::take(&mut self.values);
        let mut cursor = Cursor::new(text);
        let outcome = known.unwrap(&mut cursor, self.declared, Of::Event).map_err(Miss::from);
        let outcome = outcome.and_then(|(set, framed)| {
            let hows = known.hows(set, self.declared);
            let happened = self.happened(&mut cursor, hows, record, out)?;
            if framed {
                cursor.expect(b'}')?;
            }
            cursor.end()?;
            Ok(happened)
        });
        self.values = known;
        outcome
    }

    fn happened(
        &mut self,
        cursor: &mut Cursor<'_>,
        hows: &[How],
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<Happened>, Miss> {
        if cursor.peek() != Some(b'{') {
            cursor.value()?;
            return Err(super::NO_OBJECT.into());
        }
        let (mut op, mut said, mut written) = (None, Said::default(), None);
        let (mut before, mut after) = (None, None);
        let mut more = cursor.open(b'{', b'}')?;
        while more {
            let name = cursor.name()?.raw;
            match name {
                "before" if !cursor.null() => {
                    before = Some(cursor.clone());
                    cursor.value()?;
                }
                "after" if cursor.peek() == Some(b'{') => {
                    after = Some(cursor.clone());
                    self.object(cursor, out, hows, Take::All)?;
                }
                "source" if cursor.peek() == Some(b'{') => source(cursor, &mut said)?,
                "transaction" if cursor.peek() == Some(b'{') => {
                    said.position.order = number(cursor.value()?, "total_order");
                }
                "op" if cursor.peek() == Some(b'"') => op = Some(cursor.string()?.raw),
                "ts_ms" => written = cursor.value()?.parse().ok(),
                "before" => {}
                _ => {
                    cursor.value()?;
                }
            }
            more = cursor.more(b'}')?;
        }
        // A message of the database, `pg_logical_emit_message`, is about no row.
        let op = match op.ok_or(NO_EVENT)? {
            "m" => return Ok(None),
            letter => op_of(letter).ok_or("has an op that Debezium does not have")?,
        };
        match (op, &before, &after) {
            (Op::Insert | Op::Update, _, None) => return Err("has no row after its change".into()),
            (Op::Delete | Op::Truncate, _, Some(_)) => return Err("has a row after it was deleted".into()),
            (Op::Update, Some(before), Some(after)) => self.key_before(before, after, hows, out)?,
            (Op::Insert, ..) if out.rows.has_left_out() => {
                // The row had another key, under which the values are that were left out.
                if let Some(key) = record.old_key {
                    self.key(key, out.was())?;
                }
            }
            (Op::Delete, before, _) => self.deleted(before.as_ref(), hows, record, out)?,
            _ => {}
        }
        if let (Some(before), Some(rows)) = (&before, out.before()) {
            self.members(&mut before.clone(), 0, rows, hows, Take::All, &mut super::Pass::Give)?;
        }
        let coarse = || written.and_then(|ms: i64| ms.checked_mul(1_000));
        Ok(Some(Happened { op, at_micros: said.at_micros().or_else(coarse), position: said.position }))
    }

    /// Of a deleted row the key alone is sure: with the default replica identity, columns that take no NULL show their
    /// defaults.
    fn deleted(
        &mut self,
        before: Option<&Cursor<'_>>,
        hows: &[How],
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<(), Miss> {
        let declared = !self.declared.declaration.key.is_empty();
        match (before, record.key) {
            (Some(before), _) if declared => self.object(&mut before.clone(), out, hows, Take::Key)?,
            (_, Some(key)) => self.key(key, &mut out.rows)?,
            (Some(before), None) => self.object(&mut before.clone(), out, hows, Take::All)?,
            (None, None) => {}
        }
        Ok(())
    }

    /// The key's columns as they were, where they were others.
    fn key_before(
        &mut self,
        before: &Cursor<'_>,
        after: &Cursor<'_>,
        hows: &[How],
        out: &mut Out<'_>,
    ) -> Result<(), Miss> {
        let key = self.declared.declaration.key.clone();
        let same = |column: &usize| {
            let path = self.declared.declaration.columns.get(*column).map(|column| column.path.as_slice());
            let path = path.unwrap_or_default();
            at(before.clone(), path) == at(after.clone(), path)
        };
        if key.iter().all(same) {
            return Ok(());
        }
        self.members(&mut before.clone(), 0, out.was(), hows, Take::Key, &mut super::Pass::Give).map(|_| ())
    }

    /// Connect's rows, which may say beside their columns what happened: `ExtractNewRecordState` adds `__op`, `__deleted`
    /// and parts of the source.
    pub(super) fn flat(
        &mut self,
        text: &str,
        record: &Record<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<Happened>, Miss> {
        let mut known = std::mem::take(&mut self.values);
        let mut cursor = Cursor::new(text);
        let outcome = known.unwrap(&mut cursor, self.declared, Of::Row).map_err(Miss::from);
        let outcome = outcome.and_then(|(set, framed)| {
            let hows = known.hows(set, self.declared);
            if framed && cursor.null() {
                cursor.expect(b'}')?;
                cursor.end()?;
                return self.tombstone(record, out);
            }
            if cursor.peek() != Some(b'{') {
                cursor.value()?;
                return Err(super::NO_OBJECT.into());
            }
            let row = cursor.clone();
            let (op, said) = beside(&mut cursor)?;
            if framed {
                cursor.expect(b'}')?;
            }
            cursor.end()?;
            let op = op.unwrap_or(Op::Insert);
            match op {
                Op::Delete => self.deleted(Some(&row), hows, record, out)?,
                Op::Truncate => {}
                Op::Insert | Op::Update => {
                    self.object(&mut row.clone(), out, hows, Take::All)?;
                    self.rest_of_key(record, out)?;
                }
            }
            Ok(Some(Happened { op, at_micros: said.at_micros(), position: said.position }))
        });
        self.values = known;
        outcome
    }
}

/// What stands beside a row's columns.
fn beside(cursor: &mut Cursor<'_>) -> Result<(Option<Op>, Said), Problem> {
    let (mut op, mut deleted, mut said) = (None, false, Said::default());
    let mut more = cursor.open(b'{', b'}')?;
    while more {
        let name = cursor.name()?.raw;
        let value = cursor.value()?;
        if let Some(name) = name.strip_prefix("__") {
            match name {
                "op" => op = op_of(value.trim_matches('"')),
                "deleted" => deleted = matches!(value, "true" | "\"true\""),
                "source_ts_ms" | "ts_ms" => said.ts_ms = value.parse().ok(),
                "source_ts_us" => said.ts_us = value.parse().ok(),
                "source_ts_ns" => said.ts_ns = value.parse().ok(),
                "source_lsn" | "lsn" => said.position.lsn = value.parse().ok(),
                "source_txId" | "txId" => said.position.transaction = value.parse().ok(),
                _ => {}
            }
        }
        more = cursor.more(b'}')?;
    }
    Ok((if deleted { Some(Op::Delete) } else { op }, said))
}

fn source(cursor: &mut Cursor<'_>, said: &mut Said) -> Result<(), Problem> {
    let mut scratch = String::new();
    let mut more = cursor.open(b'{', b'}')?;
    while more {
        let name = cursor.name()?.raw;
        match (name, cursor.peek()) {
            ("sequence", Some(b'"')) => {
                let spelling = cursor.string()?;
                said.position.sequence = sequence(spelling.text(&mut scratch)?);
            }
            _ => {
                let value = cursor.value()?;
                match name {
                    "ts_ms" => said.ts_ms = value.parse().ok(),
                    "ts_us" => said.ts_us = value.parse().ok(),
                    "ts_ns" => said.ts_ns = value.parse().ok(),
                    "lsn" => said.position.lsn = value.parse().ok(),
                    "txId" => said.position.transaction = value.parse().ok(),
                    _ => {}
                }
            }
        }
        more = cursor.more(b'}')?;
    }
    Ok(())
}

/// A number among an object's members.
fn number(object: &str, name: &str) -> Option<i64> {
    at(Cursor::new(object), &[name.to_owned()])?.parse().ok()
}

/// The text of a value in an object, by the names on the way to it.
fn at<'a>(mut cursor: Cursor<'a>, path: &[String]) -> Option<&'a str> {
    let Some((first, rest)) = path.split_first() else { return cursor.value().ok() };
    let mut more = cursor.open(b'{', b'}').ok()?;
    while more {
        let found = cursor.name().ok()?.raw == first;
        if found {
            return at(cursor, rest);
        }
        cursor.value().ok()?;
        more = cursor.more(b'}').ok()?;
    }
    None
}
