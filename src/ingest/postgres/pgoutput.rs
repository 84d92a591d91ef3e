//! What the plugin pgoutput writes (protocol 1: "Logical Replication Message Formats"), read without copying. Total over any
//! bytes: a length in them is believed only as far as bytes follow. It knows no table and makes no values.

use std::fmt;

/// Bytes that are none of the messages; says which part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled(pub(super) &'static str);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream is garbled: {}", self.0)
    }
}

impl std::error::Error for Garbled {}

type Read<T> = Result<T, Garbled>;

/// What a frame of the stream holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    /// A message of the plugin's, which stands there in the WAL.
    Wal { at: u64, message: &'a [u8] },
    /// Everything up to there was looked at by the server and sent before.
    Keepalive { end: u64 },
}

#[derive(Debug, PartialEq)]
pub(super) enum Message<'a> {
    /// `lsn` is where the commit stands; `at` in microseconds since 2000.
    Begin {
        lsn: u64,
        at: i64,
    },
    /// `end` is behind the commit: what a place is made of.
    Commit {
        lsn: u64,
        end: u64,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Origins, types, and messages of applications: nothing that makes a row.
    Other,
}

/// A table as the changes after it are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// By what old rows are told: all of their columns (REPLICA IDENTITY FULL). Then each column is marked as the key's, and
    /// which the key has is not said.
    pub(super) whole: bool,
    pub(super) columns: Vec<RelationColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Old rows are told by it.
    pub(super) key: bool,
    pub(super) name: String,
    pub(super) oid: u32,
    pub(super) typmod: i32,
}

/// A row as it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Old<'a> {
    /// All columns are known, not the key's alone.
    pub(super) whole: bool,
    pub(super) row: Tuple<'a>,
}

/// A row; its values are known to be whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tuple<'a> {
    pub(super) count: usize,
    values: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// It was not sent because it did not change.
    Unchanged,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// The body of a CopyData frame.
pub(super) fn sent(mut bytes: &[u8]) -> Read<Sent<'_>> {
    let rest = &mut bytes;
    match byte(rest)? {
        b'w' => {
            let at = u64(rest)?;
            let (_end, _clock) = (u64(rest)?, u64(rest)?);
            Ok(Sent::Wal { at, message: rest })
        }
        b'k' => {
            let end = u64(rest)?;
            let (_clock, _asked) = (u64(rest)?, byte(rest)?);
            nothing(rest)?;
            Ok(Sent::Keepalive { end })
        }
        _ => Err(Garbled("a frame of an unknown kind")),
    }
}

pub(super) fn message(mut bytes: &[u8]) -> Read<Message<'_>> {
    let rest = &mut bytes;
    let message = match byte(rest)? {
        b'B' => {
            let (lsn, at) = (u64(rest)?, i64::from_be_bytes(take(rest)?));
            let _xid = u32(rest)?;
            Message::Begin { lsn, at }
        }
        b'C' => {
            let _flags = byte(rest)?;
            let (lsn, end) = (u64(rest)?, u64(rest)?);
            let _at = u64(rest)?;
            Message::Commit { lsn, end }
        }
        b'R' => Message::Relation(relation(rest)?),
        b'I' => {
            let relation = u32(rest)?;
            match byte(rest)? {
                b'N' => Message::Insert { relation, new: tuple(rest)? },
                _ => return Err(Garbled("an insert without its row")),
            }
        }
        b'U' => {
            let relation = u32(rest)?;
            let old = match byte(rest)? {
                b'N' => None,
                letter => {
                    let old = old(letter, rest)?;
                    if byte(rest)? != b'N' {
                        return Err(Garbled("an update without its row"));
                    }
                    Some(old)
                }
            };
            Message::Update { relation, old, new: tuple(rest)? }
        }
        b'D' => {
            let relation = u32(rest)?;
            let letter = byte(rest)?;
            Message::Delete { relation, old: old(letter, rest)? }
        }
        b'T' => {
            let count = u32(rest)?;
            let _options = byte(rest)?;
            let mut relations = vec![];
            for _ in 0..count {
                relations.push(u32(rest)?);
            }
            Message::Truncate { relations }
        }
        b'O' | b'Y' | b'M' => return Ok(Message::Other),
        _ => return Err(Garbled("a message of an unknown kind")),
    };
    nothing(rest)?;
    Ok(message)
}

impl<'a> Tuple<'a> {
    pub(super) fn values(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.values;
        // They were all looked at when the tuple was made.
        std::iter::from_fn(move || value(&mut rest).ok())
    }
}

fn relation(rest: &mut &[u8]) -> Read<Relation> {
    let oid = u32(rest)?;
    let (schema, name) = (text(rest)?, text(rest)?);
    let whole = byte(rest)? == b'f';
    let mut columns = vec![];
    for _ in 0..u16::from_be_bytes(take(rest)?) {
        let key = byte(rest)? & 1 != 0;
        let name = text(rest)?;
        columns.push(RelationColumn { key, name, oid: u32(rest)?, typmod: i32::from_be_bytes(take(rest)?) });
    }
    // pg_catalog is written as nothing.
    let schema = if schema.is_empty() { "pg_catalog".into() } else { schema };
    Ok(Relation { oid, schema, name, whole, columns })
}

fn old<'a>(letter: u8, rest: &mut &'a [u8]) -> Read<Old<'a>> {
    match letter {
        b'K' => Ok(Old { whole: false, row: tuple(rest)? }),
        b'O' => Ok(Old { whole: true, row: tuple(rest)? }),
        _ => Err(Garbled("an old row of an unknown kind")),
    }
}

fn tuple<'a>(rest: &mut &'a [u8]) -> Read<Tuple<'a>> {
    let count = usize::from(u16::from_be_bytes(take(rest)?));
    let start = *rest;
    for _ in 0..count {
        value(rest)?;
    }
    let values = start.get(..start.len() - rest.len()).ok_or(Garbled("a row"))?;
    Ok(Tuple { count, values })
}

fn value<'a>(rest: &mut &'a [u8]) -> Read<Value<'a>> {
    let kind = byte(rest)?;
    match kind {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' | b'b' => {
            let length = usize::try_from(i32::from_be_bytes(take(rest)?)).map_err(|_| Garbled("a value's length"))?;
            let (value, after) = rest.split_at_checked(length).ok_or(Garbled("a value ends early"))?;
            *rest = after;
            Ok(if kind == b't' { Value::Text(value) } else { Value::Binary(value) })
        }
        _ => Err(Garbled("a value of an unknown kind")),
    }
}

fn text(rest: &mut &[u8]) -> Read<String> {
    let end = rest.iter().position(|byte| *byte == 0).ok_or(Garbled("a name without an end"))?;
    let (text, after) = rest.split_at_checked(end).ok_or(Garbled("a name"))?;
    *rest = after.get(1..).unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|_| Garbled("a name that is not UTF-8"))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Read<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(Garbled("it ends early"))?;
    *rest = after;
    Ok(*taken)
}

fn byte(rest: &mut &[u8]) -> Read<u8> {
    take::<1>(rest).map(|[byte]| byte)
}

fn u32(rest: &mut &[u8]) -> Read<u32> {
    take(rest).map(u32::from_be_bytes)
}

fn u64(rest: &mut &[u8]) -> Read<u64> {
    take(rest).map(u64::from_be_bytes)
}

fn nothing(rest: &[u8]) -> Read<()> {
    if rest.is_empty() { Ok(()) } else { Err(Garbled("more than a message")) }
}
