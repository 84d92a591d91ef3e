//! Changes of one table on their way into columns. It knows the table's columns and how a message of the stream is laid out
//! over them, and nothing of transactions.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::pgoutput::{Old, Relation, RelationColumn, Tuple, Value};
use super::tables::{Column, MISSING, Table};
use crate::error::{Error, Kind, Result};
use crate::formats::change::{Changed, Op, Unchanged};
use crate::formats::postgres::copy::Values;
use crate::ingest::origin::{Part, Place};

/// Where in a message each column of a table comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping(Vec<From>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    At(usize),
    /// The column came after the message was written: the row has what rows from before it have.
    Before,
}

impl Mapping {
    /// `None` where the message speaks of other columns than the table has.
    pub(super) fn of(relation: &Relation, table: &Table) -> Option<Self> {
        let same = relation.columns.len() == table.columns.len() && relation.oid == table.oid;
        let mapping = Self::of_the_past(relation, table)?;
        (same && !mapping.0.contains(&From::Before)).then_some(mapping)
    }

    /// For a message from before the table became what it is. Columns that are gone may be in it and columns that came may
    /// be missing, not both: the one could be the other under a new name, which no message tells. `None` too where a column
    /// had another type, or came with values that were computed, and where old rows are told by other columns than the key's:
    /// what the one key tells apart the other may take for one row.
    pub(super) fn of_the_past(relation: &Relation, table: &Table) -> Option<Self> {
        let place = |column: &Column| {
            let is =
                |c: &RelationColumn| c.name == column.name && c.oid == column.type_oid && c.typmod == column.typmod;
            relation.columns.iter().position(is)
        };
        let from = |column: &Column| match place(column) {
            Some(at) => Some(From::At(at)),
            None => (!column.computed).then_some(From::Before),
        };
        let found = table.columns.iter().map(from).collect::<Option<Vec<_>>>()?;
        let taken = found.iter().filter(|from| **from != From::Before).count();
        let marked = |at: &usize| {
            let place = match found.get(*at) {
                Some(From::At(place)) => relation.columns.get(*place),
                Some(From::Before) | None => None,
            };
            place.is_some_and(|column| column.key)
        };
        let of_key = relation.columns.iter().filter(|column| column.key).count();
        let same_key = relation.whole || of_key == table.key.len() && table.key.iter().all(marked);
        (same_key && (taken == found.len() || taken == relation.columns.len())).then_some(Self(found))
    }

    fn value<'v>(&self, column: usize, values: &[Value<'v>]) -> Option<Value<'v>> {
        match self.0.get(column)? {
            From::At(at) => values.get(*at).copied(),
            From::Before => None,
        }
    }
}

/// When a change happened and where it stands among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// Microseconds of the Unix epoch.
    pub(super) at: i64,
    pub(super) lsn: u64,
    pub(super) sequence: u64,
}

/// A change whose row cannot be: what is wrong with which value.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
}

#[derive(Debug)]
pub(super) struct Rows {
    number: usize,
    schema: SchemaRef,
    key: Vec<usize>,
    columns: Vec<Values>,
    ops: Vec<Op>,
    at: Vec<i64>,
    positions: StringBuilder,
    /// For each column, which rows' values were left out; shorter than the rows where the last ones were not.
    unchanged: Vec<Vec<bool>>,
    /// The key's columns as they were, for as many rows as were looked at; begun with the first that changed.
    was: Option<Vec<Values>>,
    was_rows: usize,
    /// Rows that are taken out again, in their order.
    poison: Vec<usize>,
}

impl Rows {
    pub(super) fn new(number: usize, table: &Table) -> Result<Self> {
        Ok(Self {
            number,
            schema: table.rows_schema(),
            key: table.key.clone(),
            columns: table.columns.iter().map(values).collect::<Result<_>>()?,
            ops: vec![],
            at: vec![],
            positions: StringBuilder::new(),
            unchanged: vec![vec![]; table.columns.len()],
            was: None,
            was_rows: 0,
            poison: vec![],
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn insert(&mut self, map: &Mapping, new: Tuple<'_>, when: When) -> Result<(), Refused> {
        let new: Vec<Value<'_>> = new.values().collect();
        self.row(Op::Insert, map, &new, None, when)
    }

    /// A value that was not sent is the old row's where that was.
    pub(super) fn update(
        &mut self,
        table: &Table,
        map: &Mapping,
        old: Option<Old<'_>>,
        new: Tuple<'_>,
        when: When,
    ) -> Result<(), Refused> {
        let mut new: Vec<Value<'_>> = new.values().collect();
        let Some(old) = old else { return self.row(Op::Update, map, &new, None, when) };
        let was: Vec<Value<'_>> = old.row.values().collect();
        let in_key = |place: usize| self.key.iter().any(|at| map.0.get(*at) == Some(&From::At(place)));
        for (place, (value, was)) in new.iter_mut().zip(&was).enumerate() {
            // An old row of the key alone has NULL everywhere else, which is not what was there.
            if *value == Value::Unchanged && (old.whole || in_key(place)) {
                *value = *was;
            }
        }
        let moved = self.key.iter().any(|at| map.value(*at, &new) != map.value(*at, &was));
        if !moved {
            return self.row(Op::Update, map, &new, None, when);
        }
        if self.was.is_none() {
            let key = self.key.iter().filter_map(|at| table.columns.get(*at));
            self.was = Some(key.map(values).collect::<Result<_>>().map_err(|error| Refused { error })?);
        }
        self.row(Op::Update, map, &new, Some(&was), when)
    }

    pub(super) fn delete(&mut self, map: &Mapping, old: Old<'_>, when: When) -> Result<(), Refused> {
        let was: Vec<Value<'_>> = old.row.values().collect();
        self.row(Op::Delete, map, &was, None, when)
    }

    pub(super) fn truncate(&mut self, when: When) -> Result<(), Refused> {
        let nulls = Mapping((0..self.columns.len()).map(From::At).collect());
        self.row(Op::Truncate, &nulls, &vec![Value::Null; self.columns.len()], None, when)
    }

    fn row(
        &mut self,
        op: Op,
        map: &Mapping,
        values: &[Value<'_>],
        was: Option<&[Value<'_>]>,
        when: When,
    ) -> Result<(), Refused> {
        let row = self.ops.len();
        let mut fault = None;
        for (at, column) in self.columns.iter_mut().enumerate() {
            let before = || self.schema.fields().get(at).and_then(|f| f.metadata().get(MISSING));
            let value = match map.value(at, values) {
                Some(value) => value,
                None => before().map_or(Value::Null, |text| Value::Text(text.as_bytes())),
            };
            if value == Value::Unchanged
                && let Some(left_out) = self.unchanged.get_mut(at)
            {
                left_out.resize(row, false);
                left_out.push(true);
            }
            if let Err(error) = push(column, value) {
                // Of a deleted row the key is enough. Any other row is taken out again, and the columns stay of one length.
                if op != Op::Delete || self.key.is_empty() || self.key.contains(&at) {
                    fault.get_or_insert((at, error));
                }
                push(column, Value::Null).map_err(|error| Refused { error })?;
            }
        }
        if let (Some(was), Some(columns)) = (was, &mut self.was) {
            for column in columns.iter_mut() {
                for _ in self.was_rows..row {
                    push(column, Value::Null).map_err(|error| Refused { error })?;
                }
            }
            for (column, at) in columns.iter_mut().zip(&self.key) {
                let value = map.value(*at, was).unwrap_or(Value::Null);
                if let Err(error) = push(column, value) {
                    fault.get_or_insert((*at, error));
                    push(column, Value::Null).map_err(|error| Refused { error })?;
                }
            }
            self.was_rows = row + 1;
        }
        self.ops.push(op);
        self.at.push(when.at);
        // Writing to a text in memory cannot fail.
        let _ = write_position(&mut self.positions, when.lsn, when.sequence);
        self.positions.append_value("");
        let Some((at, error)) = fault else { return Ok(()) };
        self.poison.push(row);
        let name = self.schema.fields().get(at).map_or("?", |f| f.name());
        Err(Refused { error: error.map_message(|text| format!("column \"{name}\": {text}")) })
    }

    /// The changes so far, none of them twice; `None` where there are none.
    pub(super) fn take(&mut self, source: &str, place: Option<Place>) -> Result<Option<Part>> {
        if self.ops.is_empty() {
            return Ok(None);
        }
        let count = self.ops.len();
        let ops = std::mem::take(&mut self.ops);
        let arrays = self.columns.iter_mut().map(Values::finish).collect::<Result<Vec<_>>>()?;
        let mut rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        let was_rows = std::mem::take(&mut self.was_rows);
        let mut was = match self.was.take() {
            None => None,
            Some(mut columns) => {
                for column in &mut columns {
                    for _ in was_rows..count {
                        column.binary(None)?;
                    }
                }
                let fields: Vec<_> = self.key.iter().filter_map(|at| self.schema.fields().get(*at).cloned()).collect();
                let arrays = columns.iter_mut().map(Values::finish).collect::<Result<Vec<_>>>()?;
                Some(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
            }
        };
        let mut unchanged = vec![];
        for (column, left_out) in self.unchanged.iter_mut().enumerate() {
            if !left_out.is_empty() {
                let mut left_out = std::mem::take(left_out);
                left_out.resize(count, false);
                unchanged.push(Unchanged { column, rows: BooleanBuffer::from(left_out) });
            }
        }
        let mut at_micros = Int64Array::from(std::mem::take(&mut self.at));
        let mut positions = self.positions.finish();
        let mut ops = ops;
        let poison = std::mem::take(&mut self.poison);
        if !poison.is_empty() {
            let mut keep = vec![true; count];
            poison.iter().for_each(|row| keep.get_mut(*row).into_iter().for_each(|keep| *keep = false));
            let mut kept = keep.iter();
            ops.retain(|_| kept.next().copied().unwrap_or(true));
            for of in &mut unchanged {
                of.rows = of.rows.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(left_out, _)| left_out).collect();
            }
            let keep = BooleanArray::from(keep);
            rows = filter_record_batch(&rows, &keep)?;
            was = was.map(|was| filter_record_batch(&was, &keep)).transpose()?;
            at_micros = filtered(&at_micros, &keep)?;
            positions = filtered(&positions, &keep)?;
        }
        if ops.is_empty() {
            return Ok(None);
        }
        let sources = StringArray::from_iter_values(std::iter::repeat_n(source, ops.len()));
        let changed = Changed { ops, rows, unchanged, was };
        Ok(Some(Part { table: self.number, changed, at_micros, positions, sources, beside: vec![], place }))
    }
}

fn filtered<A: arrow::array::Array + Clone + 'static>(array: &A, keep: &BooleanArray) -> Result<A> {
    let kept = arrow::compute::filter(array, keep)?;
    kept.as_any().downcast_ref::<A>().cloned().ok_or_else(|| Error::internal("a filter that changed the type"))
}

fn push(column: &mut Values, value: Value<'_>) -> Result<()> {
    match value {
        Value::Null | Value::Unchanged => column.binary(None),
        Value::Text(text) => column.text(text),
        Value::Binary(bytes) => column.binary(Some(bytes)),
    }
}

fn values(column: &Column) -> Result<Values> {
    let made = Values::new(column.field.data_type(), column.read_oid);
    made.ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("column \"{}\" has a type that cannot be followed", column.name))
    })
}

/// A total order of all changes of one log, in which texts order as places do: the commit, then the change within it.
fn write_position(out: &mut StringBuilder, lsn: u64, sequence: u64) -> fmt::Result {
    write!(out, "{lsn:016x}{sequence:08x}")
}

/// Rows of a copy as a part.
pub(super) fn copied(number: usize, rows: RecordBatch, source: &str, first: When, place: Place) -> Part {
    let count = rows.num_rows();
    let mut positions = StringBuilder::new();
    for sequence in (first.sequence..).take(count) {
        // Writing to a text in memory cannot fail.
        let _ = write_position(&mut positions, first.lsn, sequence);
        positions.append_value("");
    }
    Part {
        table: number,
        changed: Changed { ops: vec![Op::Insert; count], rows, unchanged: vec![], was: None },
        at_micros: Int64Array::new(vec![first.at; count].into(), None::<NullBuffer>),
        positions: positions.finish(),
        sources: StringArray::from_iter_values(std::iter::repeat_n(source, count)),
        beside: vec![],
        place: Some(place),
    }
}
