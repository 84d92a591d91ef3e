//! A stream's messages → changes by table, cut only where a read has to end: which transaction is under way, which tables its
//! changes are for, and which of them a table has already. It opens no connection.

use std::collections::HashMap;

use bytes::{Buf, Bytes};

use super::pgoutput::{self, Garbled, Message, Relation, Sent};
use super::place::EPOCH_MICROS;
use super::rows::{Mapping, Refused, Rows, When};
use super::tables::Table;
use super::trouble::{Amid, refusal, unreachable};
use super::wal::Portion;
use super::wire::frame_length;
use crate::error::{Error, Kind, Result};
use crate::ingest::dead::DeadLetter;
use crate::ingest::origin::Part;

/// What the messages so far come to.
#[derive(Debug)]
pub(super) struct Follower {
    source: String,
    slot: String,
    tables: Vec<Table>,
    /// For each table: commits that stand before this are in it.
    from: Vec<u64>,
    rows: Vec<Rows>,
    dead: Vec<DeadLetter>,
    relations: HashMap<u32, (Relation, Known)>,
    portion: Option<Portion>,
    /// What of the portion was not looked at.
    rest: Bytes,
    transaction: Option<Transaction>,
    /// The end of the last commit that was seen whole, or what the server says to be as good.
    boundary: u64,
    /// Looked at since the last [`Follower::take`].
    records: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    lsn: u64,
    at: i64,
    sequence: u64,
}

/// A message as it came, and where it stands in the log.
#[derive(Clone, Copy, Debug)]
struct Raw<'a> {
    at: u64,
    message: &'a [u8],
}

/// What a relation's number means.
#[derive(Clone, Debug)]
enum Known {
    Followed(usize, Mapping),
    /// It has other columns or another key than the table we know, or is not the table of its name; or it does not say what
    /// its key is.
    Strange(usize),
    /// Not one of the pipeline's tables.
    Other,
}

/// Why the follower stopped.
#[derive(Debug)]
pub(super) enum Pause {
    /// Everything that is here was looked at.
    Dry,
    /// There is no room for more.
    Full,
    /// The next change is of a table that is not as it was known: the stream stands before that change.
    Strange(Relation),
}

/// How much may be looked at before [`Pause::Full`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Follower {
    /// `from`: for each table, what is in it already; `boundary`: where the stream begins.
    pub(super) fn new(source: &str, slot: &str, tables: &[Table], from: Vec<u64>, boundary: u64) -> Result<Self> {
        Ok(Self {
            source: source.into(),
            slot: slot.into(),
            rows: tables.iter().enumerate().map(|(number, table)| Rows::new(number, table)).collect::<Result<_>>()?,
            tables: tables.to_vec(),
            from,
            dead: vec![],
            relations: HashMap::new(),
            portion: None,
            rest: Bytes::new(),
            transaction: None,
            boundary,
            records: 0,
            bytes: 0,
        })
    }

    /// Where all that was looked at ends; `None` amid a transaction.
    pub(super) fn boundary(&self) -> Option<u64> {
        self.transaction.is_none().then_some(self.boundary)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.rows.iter().all(Rows::is_empty)
    }

    pub(super) fn feed(&mut self, portion: Portion) {
        self.rest = portion.bytes.clone();
        self.portion = Some(portion);
    }

    /// Changes since the last call, those whose rows cannot be, and how many messages they were.
    pub(super) fn take(&mut self) -> Result<(Vec<Part>, Vec<DeadLetter>, usize)> {
        let mut parts = vec![];
        for (rows, table) in self.rows.iter_mut().zip(&self.tables) {
            if !rows.is_empty() {
                let source = format!("{}/{}", self.slot, table.full_name());
                parts.extend(rows.take(&source, None)?);
            }
        }
        self.bytes = 0;
        Ok((parts, std::mem::take(&mut self.dead), std::mem::take(&mut self.records)))
    }

    /// Reads the rows of this relation as those of the table that it was before.
    pub(super) fn settle(&mut self, relation: &Relation) -> bool {
        let number = self.number(relation);
        let map = number.and_then(|n| self.tables.get(n)).filter(|table| table.oid == relation.oid);
        let map = map.and_then(|table| Mapping::of_the_past(relation, table));
        let Some((number, map)) = number.zip(map) else { return false };
        self.relations.insert(relation.oid, (relation.clone(), Known::Followed(number, map)));
        true
    }

    /// The table that this relation is, as far as it says: all but its key, which the stream does not tell.
    pub(super) fn but_for_its_key(&self, relation: &Relation) -> Option<&Table> {
        let table = self.number(relation).and_then(|n| self.tables.get(n)).filter(|_| relation.whole)?;
        Mapping::of(relation, table).map(|_| table)
    }

    /// Which of the tables this relation is or was. What comes of a table that is gone matters to nobody.
    pub(super) fn number(&self, relation: &Relation) -> Option<usize> {
        let named = |table: &Table| table.schema == relation.schema && table.name == relation.name;
        let by_oid = self.tables.iter().position(|t| !t.gone && t.oid == relation.oid);
        by_oid.or_else(|| self.tables.iter().position(|t| !t.gone && named(t)))
    }

    /// Commits of the table that stand before this are passed over from now on.
    pub(super) fn pass(&mut self, number: usize, before: u64) {
        self.from.get_mut(number).into_iter().for_each(|from| *from = before);
    }

    /// The tables as they are from now on; those that are new come at the end, and nothing of them is taken before
    /// [`Follower::pass`] says from where.
    pub(super) fn reshape(&mut self, tables: &[Table]) -> Result<()> {
        for (number, table) in tables.iter().enumerate() {
            let same = self.tables.get(number).is_some_and(|known| known == table);
            match self.rows.get_mut(number) {
                Some(_) if same => {}
                Some(rows) if rows.is_empty() => *rows = Rows::new(number, table)?,
                Some(_) => return Err(Error::internal("a table was reshaped before its changes were taken")),
                None => {
                    self.rows.push(Rows::new(number, table)?);
                    self.from.push(u64::MAX);
                }
            }
        }
        self.tables = tables.to_vec();
        for (_, (relation, _)) in std::mem::take(&mut self.relations) {
            self.relation(relation);
        }
        Ok(())
    }

    /// Looks at what is here.
    pub(super) fn run(&mut self, limit: Limit) -> Result<Pause> {
        while self.records < limit.records && self.bytes < limit.bytes {
            let Some(length) = frame_length(&self.rest).map_err(|what| self.garbled(Garbled(what)))? else { break };
            let Some(frame) = self.rest.get(..length) else { break };
            let tag = frame.first().copied().unwrap_or_default();
            // Shares the portion's bytes, so that a message can be read while this changes.
            let body = self.rest.slice(5..frame.len());
            if let Some(relation) = self.frame(tag, &body)? {
                return Ok(Pause::Strange(relation));
            }
            self.rest.advance(length);
        }
        if self.rest.is_empty() {
            self.portion = None;
            return Ok(Pause::Dry);
        }
        match self.records < limit.records && self.bytes < limit.bytes {
            // Portions are whole frames: what does not end here never ends.
            true => Err(self.garbled(Garbled("a message that was cut"))),
            false => Ok(Pause::Full),
        }
    }

    /// `Some`: the message was not taken, since its table is not as it was known.
    fn frame(&mut self, tag: u8, body: &[u8]) -> Result<Option<Relation>> {
        match tag {
            b'd' => match pgoutput::sent(body).map_err(|e| self.garbled(e))? {
                Sent::Wal { at, message } => {
                    let read = pgoutput::message(message).map_err(|e| self.garbled(e))?;
                    self.message(read, Raw { at, message })
                }
                Sent::Keepalive { end } => {
                    if self.transaction.is_none() {
                        self.boundary = self.boundary.max(end);
                    }
                    Ok(None)
                }
            },
            b'E' => Err(refusal(body).error(&self.source, Amid::Stream)),
            b'N' | b'S' => Ok(None),
            _ => Err(unreachable(&self.source).with_source("the server ended the stream")),
        }
    }

    fn message(&mut self, message: Message<'_>, raw: Raw<'_>) -> Result<Option<Relation>> {
        match message {
            Message::Begin { lsn, at } => {
                if self.transaction.is_some() {
                    return Err(self.garbled(Garbled("a transaction within another")));
                }
                self.transaction = Some(Transaction { lsn, at: at.saturating_add(EPOCH_MICROS), sequence: 0 });
            }
            Message::Commit { lsn, end } => {
                if self.transaction.take().is_none_or(|t| t.lsn != lsn) {
                    return Err(self.garbled(Garbled("the commit of another transaction")));
                }
                self.boundary = self.boundary.max(end);
            }
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                return self.change(relation, raw, |rows, _, map, when| rows.insert(map, new, when));
            }
            Message::Update { relation, old, new } => {
                return self.change(relation, raw, |rows, table, map, when| rows.update(table, map, old, new, when));
            }
            Message::Delete { relation, old } => {
                return self.change(relation, raw, |rows, _, map, when| rows.delete(map, old, when));
            }
            Message::Truncate { relations } => {
                // A relation that is strange now stops the whole message, before a part of it was taken.
                for relation in &relations {
                    if let Some(strange) = self.strange(*relation) {
                        return Ok(Some(strange));
                    }
                }
                for relation in relations {
                    self.change(relation, raw, |rows, _, _, when| rows.truncate(when))?;
                }
            }
            Message::Other => {}
        }
        Ok(None)
    }

    fn relation(&mut self, relation: Relation) {
        let number = self.number(&relation);
        let map = number.and_then(|n| self.tables.get(n)).and_then(|table| Mapping::of(&relation, table));
        let known = match (number, map) {
            (Some(number), Some(map)) if !relation.whole => Known::Followed(number, map),
            (Some(number), _) => Known::Strange(number),
            (None, _) => Known::Other,
        };
        self.relations.insert(relation.oid, (relation, known));
    }

    /// The relation whose change this would be, where it is not as it was known and its table lacks the change.
    fn strange(&self, oid: u32) -> Option<Relation> {
        let (relation, Known::Strange(number)) = self.relations.get(&oid)? else { return None };
        let from = self.from.get(*number).copied().unwrap_or_default();
        self.transaction.is_some_and(|t| t.lsn >= from).then(|| relation.clone())
    }

    fn change(
        &mut self,
        oid: u32,
        raw: Raw<'_>,
        push: impl FnOnce(&mut Rows, &Table, &Mapping, When) -> Result<(), Refused>,
    ) -> Result<Option<Relation>> {
        if let Some(strange) = self.strange(oid) {
            return Ok(Some(strange));
        }
        let Some(transaction) = &mut self.transaction else {
            return Err(self.garbled(Garbled("a change outside of a transaction")));
        };
        let Transaction { lsn, at, sequence } = *transaction;
        // Counted whether a table takes it or not: its position is the same whenever it is read.
        transaction.sequence += 1;
        self.records += 1;
        self.bytes += raw.message.len();
        let (number, map) = match self.relations.get(&oid) {
            Some((_, Known::Followed(number, map))) => (*number, map),
            // Strange here: the table has the change already.
            Some((_, Known::Other | Known::Strange(_))) => return Ok(None),
            None => return Err(self.garbled(Garbled("a change of a relation that was not described"))),
        };
        let (Some(rows), Some(table), Some(from)) =
            (self.rows.get_mut(number), self.tables.get(number), self.from.get(number))
        else {
            return Err(Error::internal("a table that the follower does not have"));
        };
        if lsn < *from {
            return Ok(None);
        }
        match push(rows, table, map, When { at, lsn, sequence }) {
            Ok(()) => Ok(None),
            Err(Refused { error }) if error.kind() == Kind::Internal => Err(error),
            // The row was taken out again; the message is set aside as it came.
            Err(Refused { error }) => {
                self.dead.push(DeadLetter {
                    source: format!("{}/{}", self.slot, table.full_name()),
                    partition: 0,
                    offset: i64::try_from(raw.at).unwrap_or(i64::MAX),
                    at_ms: Some(at.div_euclid(1_000)),
                    class: "misfit",
                    message: error.message().to_string(),
                    key: None,
                    headers: vec![],
                    raw: raw.message.to_vec(),
                });
                Ok(None)
            }
        }
    }

    fn garbled(&self, garbled: Garbled) -> Error {
        unreachable(&self.source).with_source(garbled)
    }
}

#[cfg(test)]
mod tests;
