//! Records in JSON: each value is read once, from its bytes into the columns. Numbers keep their digits, nested values their
//! text; of two members of one name the last counts. Whether a row is whole is `out`'s to say.

mod cursor;
mod event;
mod schema;
pub(super) mod tree;

use std::collections::HashMap;

use super::envelope::Placeholder;
use super::given::{Given, How, Problem};
use super::out::{Happened, Out};
use super::rows::{Miss, Rows, Take, of};
use super::sink::{Sink, WRONG_TYPE};
use super::{Declared, Envelope, Record};
use crate::formats::change::Op;
use cursor::Cursor;
use schema::Known;

const NO_OBJECT: Problem = "is not a JSON object";
/// Members of an object whose order is remembered.
const MEMBERS_MAX: usize = 1024;
const NOT_UTF8: Problem = "is not valid UTF-8";

pub(super) fn decode(declared: &Declared, records: &[Record<'_>], out: &mut Out<'_>) {
    let mut hand = Hand::new(declared);
    for (index, record) in records.iter().enumerate() {
        let outcome = hand.record(record, out);
        out.take(index, record.at_ms, outcome);
    }
}

/// Confluent's serializer for JSON Schema writes a zero and the schema's id before the text, in which no JSON begins.
pub(super) fn unframed(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, _, _, _, _, text @ ..] => text,
        text => text,
    }
}

/// What is remembered from one record to the next of a slice.
struct Hand<'d> {
    declared: &'d Declared,
    placeholder: Option<&'d Placeholder>,
    scratch: String,
    /// By node of the tree: the names of its members as they came last, and the leaves that they are. Members mostly come
    /// in one order.
    order: Vec<Vec<(String, Option<usize>)>>,
    values: Known,
    keys: Known,
}

/// How a row's members are gone through.
enum Pass<'m> {
    Give,
    /// Where each column's last value stands.
    Look(&'m mut HashMap<usize, usize>),
    /// Only what stands there.
    Only(&'m HashMap<usize, usize>),
}

impl<'d> Hand<'d> {
    fn new(declared: &'d Declared) -> Self {
        let placeholder = match declared.declaration.envelope {
            Envelope::None => None,
            Envelope::Debezium | Envelope::Connect => Some(&declared.placeholder),
        };
        let order = vec![vec![]; declared.tree.nodes()];
        Self { declared, placeholder, scratch: String::new(), order, values: Known::default(), keys: Known::default() }
    }

    fn text<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        if self.declared.declaration.is_framed { unframed(bytes) } else { bytes }
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
        let envelope = self.declared.declaration.envelope;
        let Some(value) = record.value else {
            return match envelope {
                Envelope::Debezium => Ok(None),
                Envelope::None | Envelope::Connect => self.tombstone(record, out),
            };
        };
        let text = std::str::from_utf8(self.text(value)).map_err(|_| NOT_UTF8)?;
        let outcome = match envelope {
            Envelope::Debezium => self.event(text, record, out),
            Envelope::None => self
                .row(&mut Cursor::new(text), out)
                .and_then(|()| self.rest_of_key(record, out))
                .map(|()| Some(Happened::of(Op::Insert))),
            Envelope::Connect => self.flat(text, record, out),
        };
        outcome.map_err(|miss| if miss.column.is_some() && !whole(text) { cursor::MALFORMED.into() } else { miss })
    }

    /// The end of its key's row.
    fn tombstone(&mut self, record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
        if !self.declared.declaration.key.is_empty() {
            self.rest_of_key(record, out)?;
        }
        Ok(Some(Happened::of(Op::Delete)))
    }

    /// Columns of the key that the row does not have, from the record's key.
    fn rest_of_key(&mut self, record: &Record<'_>, out: &mut Out<'_>) -> Result<(), Miss> {
        let rows = &mut out.rows;
        let missing = |column: &usize| rows.wants(*column) && !rows.given(*column);
        match record.key {
            Some(key) if self.declared.declaration.key.iter().any(missing) => self.key(key, rows),
            _ => Ok(()),
        }
    }

    /// An object of the key's columns, perhaps behind its schema; or, of a key of one column, its value.
    fn key(&mut self, bytes: &[u8], rows: &mut Rows) -> Result<(), Miss> {
        let text = std::str::from_utf8(self.text(bytes)).map_err(|_| NOT_UTF8)?;
        let declared = self.declared;
        let mut cursor = Cursor::new(text);
        let mut known = std::mem::take(&mut self.keys);
        let (set, _) = known.unwrap(&mut cursor, declared, schema::Of::Row)?;
        let hows = known.hows(set, declared);
        let outcome = match (cursor.peek(), declared.declaration.key.as_slice()) {
            (Some(b'{'), _) => self.members(&mut cursor, 0, rows, hows, Take::Missing, &mut Pass::Give).map(|_| ()),
            (_, [column]) => match (rows.sink(*column), hows.get(*column)) {
                (Some(sink), Some(how)) => self.scalar(text, &mut cursor, sink, how).map_err(of(*column)),
                _ => Ok(()),
            },
            _ => Err(Miss { column: None, problem: "has a key that is not a JSON object" }),
        };
        self.keys = known;
        outcome
    }

    /// A key that is one value: JSON, or else as PostgreSQL spells it.
    fn scalar(&mut self, text: &str, cursor: &mut Cursor<'_>, sink: &mut Sink, how: &How) -> Result<(), Problem> {
        let mut whole = cursor.clone();
        if whole.value().and_then(|_| whole.end()).is_ok() || cursor.at() > 0 {
            return give(cursor, sink, how, &mut self.scratch, None).map(|_| ());
        }
        sink.push(Given::Spelt(text), how)
    }

    /// A row that is the whole of a value.
    fn row(&mut self, cursor: &mut Cursor<'_>, out: &mut Out<'_>) -> Result<(), Miss> {
        let declared = self.declared;
        if cursor.peek() != Some(b'{') {
            cursor.value()?;
            cursor.end()?;
            return Err(NO_OBJECT.into());
        }
        self.object(cursor, out, &declared.hows, Take::All)?;
        cursor.end()?;
        Ok(())
    }

    /// The members of a row, into the row being built.
    fn object(&mut self, cursor: &mut Cursor<'_>, out: &mut Out<'_>, hows: &[How], take: Take) -> Result<(), Miss> {
        let start = cursor.clone();
        if !self.members(cursor, 0, &mut out.rows, hows, take, &mut Pass::Give)? {
            return Ok(());
        }
        // A name came twice: the row is built once more, of the last ones.
        out.rows.spoil(false);
        let mut last = HashMap::new();
        self.members(&mut start.clone(), 0, &mut out.rows, hows, take, &mut Pass::Look(&mut last))?;
        self.members(&mut start.clone(), 0, &mut out.rows, hows, take, &mut Pass::Only(&last))?;
        Ok(())
    }

    /// Whether a name came twice.
    fn members(
        &mut self,
        cursor: &mut Cursor<'_>,
        node: usize,
        rows: &mut Rows,
        hows: &[How],
        take: Take,
        pass: &mut Pass<'_>,
    ) -> Result<bool, Miss> {
        let tree = &self.declared.tree;
        let mut twice = false;
        let mut place = 0;
        let mut more = cursor.open(b'{', b'}')?;
        while more {
            let name = cursor.name()?;
            let leaf = match self.order.get(node).and_then(|order| order.get(place)) {
                Some((expected, leaf)) if !name.escaped && expected == name.raw => *leaf,
                _ => {
                    let text = name.text(&mut self.scratch)?;
                    let leaf = tree.find(node, text);
                    let entry = (text.to_owned(), leaf);
                    if let Some(order) = self.order.get_mut(node) {
                        if let Some(there) = order.get_mut(place) {
                            *there = entry;
                        } else if place == order.len() && place < MEMBERS_MAX {
                            order.push(entry);
                        }
                    }
                    leaf
                }
            };
            place += 1;
            cursor.peek();
            let value = cursor.clone();
            match leaf.and_then(|leaf| tree.leaf(node, leaf)) {
                None => {
                    cursor.value()?;
                }
                Some(leaf) => {
                    let mut read = false;
                    for column in &leaf.columns {
                        let mut there = value.clone();
                        match self.column(&mut there, *column, rows, hows, take, pass)? {
                            Went::Passed => {}
                            Went::Twice => twice = true,
                            Went::Read => {
                                *cursor = there;
                                read = true;
                            }
                        }
                    }
                    if !read {
                        cursor.value()?;
                    }
                    if let Some(below) = leaf.below {
                        let mut there = value;
                        if there.peek() == Some(b'{') {
                            twice |= self.members(&mut there, below, rows, hows, take, pass)?;
                        }
                    }
                }
            }
            more = cursor.more(b'}')?;
        }
        Ok(twice)
    }

    fn column(
        &mut self,
        cursor: &mut Cursor<'_>,
        column: usize,
        rows: &mut Rows,
        hows: &[How],
        take: Take,
        pass: &mut Pass<'_>,
    ) -> Result<Went, Miss> {
        if !rows.takes(take, column, &self.declared.declaration.key) {
            return Ok(Went::Passed);
        }
        match pass {
            Pass::Look(last) => {
                last.insert(column, cursor.at());
                return Ok(Went::Passed);
            }
            Pass::Only(last) if last.get(&column) != Some(&cursor.at()) => return Ok(Went::Passed),
            Pass::Only(_) => {}
            Pass::Give if rows.given(column) => return Ok(Went::Twice),
            Pass::Give => {}
        }
        let (Some(sink), Some(how)) = (rows.sink(column), hows.get(column)) else { return Ok(Went::Passed) };
        let left_out =
            give(cursor, sink, how, &mut self.scratch, self.placeholder).map_err(|problem| match problem {
                // Of the record, wherever in it.
                cursor::MALFORMED => Miss::from(problem),
                problem => of(column)(problem),
            })?;
        if left_out {
            rows.left_out(column);
        }
        Ok(Went::Read)
    }
}

/// What does not fit a column may be a record that is no JSON at all.
fn whole(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.value().and_then(|_| cursor.end()).is_ok()
}

enum Went {
    Read,
    Passed,
    Twice,
}

/// A value of any kind to a column. Whether it is a placeholder, for which the column has NULL.
fn give(
    cursor: &mut Cursor<'_>,
    sink: &mut Sink,
    how: &How,
    scratch: &mut String,
    placeholder: Option<&Placeholder>,
) -> Result<bool, Problem> {
    let first = cursor.peek();
    if first == Some(b'n') {
        cursor.word("null")?;
        sink.push_null();
        return Ok(false);
    }
    if sink.is_document() && !how.connect {
        let document = cursor.value()?;
        sink.push(Given::Document(document), how)?;
        return Ok(false);
    }
    match first {
        Some(b'"') => {
            let spelling = cursor.string()?;
            let text = spelling.text(scratch)?;
            if placeholder.is_some_and(|p| p.is_text(text)) {
                sink.push_null();
                return Ok(true);
            }
            sink.push(Given::Text(text), how)?;
        }
        Some(b'-' | b'0'..=b'9') => sink.push(Given::Digits(cursor.number()?), how)?,
        Some(b't') => {
            cursor.word("true")?;
            sink.push(Given::Bool(true), how)?;
        }
        Some(b'f') => {
            cursor.word("false")?;
            sink.push(Given::Bool(false), how)?;
        }
        Some(b'[') if sink.is_list() => {
            if let Some(list) = placeholder.and_then(|p| p.list(cursor.rest())) {
                cursor.take(list);
                sink.push_null();
                return Ok(true);
            }
            let mut more = cursor.open(b'[', b']')?;
            while more {
                let elements = sink.elements().ok_or(WRONG_TYPE)?;
                give(cursor, elements, how, scratch, None)?;
                more = cursor.more(b']')?;
            }
            sink.close(true)?;
        }
        Some(b'{') => {
            let document = cursor.value()?;
            if placeholder.is_some_and(|p| p.is_document(document)) {
                sink.push_null();
                return Ok(true);
            }
            match scaled(document).filter(|_| how.connect && sink.is_numeric()) {
                Some((scale, value)) => sink.push(Given::Scaled { scale, value: &value }, how)?,
                None => sink.push(Given::Document(document), how)?,
            }
        }
        _ => {
            let document = cursor.value()?;
            sink.push(Given::Document(document), how)?;
        }
    }
    Ok(false)
}

/// Debezium's VariableScaleDecimal.
fn scaled(document: &str) -> Option<(i32, Vec<u8>)> {
    let mut cursor = Cursor::new(document);
    let (mut scale, mut value) = (None, None);
    let mut more = cursor.open(b'{', b'}').ok()?;
    while more {
        match cursor.name().ok()?.raw {
            "scale" => {
                cursor.peek();
                scale = Some(cursor.number().ok()?.parse().ok()?);
            }
            "value" if cursor.peek() == Some(b'"') => {
                let text = cursor.string().ok()?;
                value = Some(super::text::bytes(text.raw, super::Encoding::Base64).ok()?);
            }
            _ => return None,
        }
        more = cursor.more(b'}').ok()?;
    }
    scale.zip(value)
}
