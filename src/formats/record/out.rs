//! What decoding a slice of records comes to, record by record: rows, what happened to them, and what does not fit. The
//! formats read values into `rows`; whether a row is whole is decided here.

use super::given::Problem;
use super::rows::{Miss, Rows, of};
use super::{Declared, Decoded, Envelope, Fault, Misfit, Position};
use crate::error::{Error, Result};
use crate::formats::change::{Changed, Op};

const MISSING: Problem = "is missing";

/// What a record says happened; the row it happened to is the one being built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    pub(super) op: Op,
    pub(super) at_micros: Option<i64>,
    pub(super) position: Position,
}

impl Happened {
    pub(super) fn of(op: Op) -> Self {
        Self { op, at_micros: None, position: Position::default() }
    }
}

pub(super) struct Out<'d> {
    pub(super) declared: &'d Declared,
    pub(super) rows: Rows,
    /// Keys that rows had; behind `rows` until one of them has another key.
    pub(super) was: Rows,
    /// Behind `rows` until a row is as it was.
    pub(super) before: Option<Rows>,
    has_was: bool,
    /// All columns are read.
    all: bool,
    misfit: Misfit,
    decoded: Decoded,
    /// How many rows there are, those that are taken back included, before each kept one.
    places: Vec<usize>,
}

impl<'d> Out<'d> {
    pub(super) fn new(declared: &'d Declared, wanted: Option<&[bool]>, before: bool, misfit: Misfit) -> Result<Self> {
        let asked = |column: usize| wanted.is_none_or(|wanted| wanted.get(column).copied().unwrap_or(false));
        let key = &declared.declaration.key;
        let rows = Rows::new(&declared.schema, asked)?;
        let was = Rows::new(&declared.schema, |column| key.contains(&column))?;
        let before = if before { Some(Rows::new(&declared.schema, asked)?) } else { None };
        let changed = Changed {
            ops: vec![],
            rows: arrow::array::RecordBatch::new_empty(arrow::datatypes::SchemaRef::clone(&declared.schema)),
            unchanged: vec![],
            was: None,
        };
        let decoded =
            Decoded { changed, kept: vec![], before: None, at_micros: vec![], positions: vec![], faults: vec![] };
        Ok(Self { declared, rows, was, before, has_was: false, all: wanted.is_none(), misfit, decoded, places: vec![] })
    }

    /// What one record came to; `Ok(None)` changes nothing.
    pub(super) fn take(&mut self, index: usize, at_ms: Option<i64>, outcome: Result<Option<Happened>, Miss>) {
        let outcome = outcome.and_then(|happened| match happened {
            Some(happened) => self.whole(happened.op).map(|()| Some(happened)),
            None => Ok(None),
        });
        let record = at_ms.and_then(|ms| ms.checked_mul(1_000));
        match outcome {
            Ok(None) if self.rows.any_given() => self.rows.spoil(false),
            Ok(None) => {}
            Ok(Some(happened)) => {
                self.keep(index, Happened { at_micros: happened.at_micros.or(record), ..happened });
                self.rows.end();
            }
            Err(Miss { column, problem }) => {
                let column = column.and_then(|column| self.declared.declaration.columns.get(column));
                let column = column.map(|column| column.field.name().clone());
                self.decoded.faults.push(Fault { index, column, problem });
                let null = self.misfit == Misfit::Null;
                if null {
                    self.keep(index, Happened { at_micros: record, ..Happened::of(Op::Insert) });
                }
                self.rows.spoil(null);
            }
        }
    }

    fn keep(&mut self, index: usize, happened: Happened) {
        self.decoded.kept.push(index);
        self.decoded.changed.ops.push(happened.op);
        self.decoded.at_micros.push(happened.at_micros);
        self.decoded.positions.push(happened.position);
        self.places.push(self.rows.count());
    }

    /// The row that is being built has all that its change needs.
    fn whole(&mut self, op: Op) -> Result<(), Miss> {
        let declaration = &self.declared.declaration;
        match op {
            Op::Truncate => Ok(()),
            Op::Delete => {
                let missing = |column: &&usize| self.rows.wants(**column) && !self.rows.given(**column);
                match declaration.key.iter().find(missing) {
                    // A tombstone of a topic without a key is about no row that could be named.
                    Some(column) => Err(of(*column)(MISSING)),
                    None => Ok(()),
                }
            }
            Op::Insert | Op::Update if declaration.envelope == Envelope::None => {
                if self.all && !declaration.columns.is_empty() && !self.rows.any_given() {
                    return Err("has none of the declared columns".into());
                }
                let missing = |column: &&usize| self.rows.wants(**column) && !self.rows.given(**column);
                declaration.key.iter().find(missing).map_or(Ok(()), |column| Err(of(*column)(MISSING)))
            }
            Op::Insert | Op::Update => {
                let missing = |(column, declared): &(usize, &super::Column)| {
                    !declared.optional && self.rows.wants(*column) && !self.rows.given(*column)
                };
                let missing = declaration.columns.iter().enumerate().find(missing);
                missing.map_or(Ok(()), |(column, _)| Err(of(column)(MISSING)))
            }
        }
    }

    /// The row being built had another key, whose columns are about to be given in `was`.
    pub(super) fn was(&mut self) -> &mut Rows {
        self.has_was = true;
        self.was.fill(self.rows.count());
        &mut self.was
    }

    /// The row being built as it was, whose columns are about to be given.
    pub(super) fn before(&mut self) -> Option<&mut Rows> {
        let before = self.before.as_mut()?;
        before.fill(self.rows.count());
        Some(before)
    }

    pub(super) fn finish(self) -> Result<Decoded> {
        let Self { rows, mut was, before, has_was, mut decoded, places, .. } = self;
        let count = rows.count();
        let built = rows.finish()?;
        // Rows beside these ones are taken by the same places.
        let taken = arrow::array::UInt64Array::from_iter_values(places.iter().map(|place| *place as u64));
        if has_was {
            was.fill(count);
            decoded.changed.was = Some(taken_of(&was.finish()?.rows, &taken)?);
        }
        if let Some(mut before) = before {
            before.fill(count);
            decoded.before = Some(taken_of(&before.finish()?.rows, &taken)?);
        }
        if built.rows.num_rows() != decoded.kept.len() {
            return Err(Error::internal("a decoder that made other rows than it said"));
        }
        decoded.changed.rows = built.rows;
        decoded.changed.unchanged = built.unchanged;
        Ok(decoded)
    }
}

/// Rows by their places; a batch of no columns has rows all the same.
fn taken_of(rows: &arrow::array::RecordBatch, places: &dyn arrow::array::Array) -> Result<arrow::array::RecordBatch> {
    let arrays = arrow::compute::take_arrays(rows.columns(), places, None)?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(arrow::array::RecordBatch::try_new_with_options(rows.schema(), arrays, &options)?)
}
