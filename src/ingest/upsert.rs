//! A batch of changes → what it does to a table of current rows: rows that go by their places, rows that come with every
//! value they have. It commits nothing.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{cast_with_options, interleave};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::util::display::FormatOptions;
use datafusion::execution::SessionState;

use super::fold::{Keyed, Row, Source, fold};
use super::index::{Fetched, Index, Of, Spotted, fetch};
use super::key::{ByKey, Key, Keyer};
use super::origin::{Part, Shape};
use super::table::{DELETED, fitted, known_by, place_of};
use crate::error::{Error, Kind, Result};
use crate::formats::change::Unchanged;
use crate::lake::{self, Lake, Rows};

/// Rows made at once.
const CHUNK: usize = 8_192;

/// What a batch does to one table.
pub(super) struct Upsert {
    /// Everything that was there goes first.
    pub(super) truncated: bool,
    pub(super) gone: Rows,
    /// Whose rows those were.
    pub(super) keys: Vec<Key>,
    pub(super) rows: Vec<RecordBatch>,
    /// After earlier changes: rows that came and went again, for those that take values from them.
    pub(super) ended: Vec<RecordBatch>,
    pub(super) schema: SchemaRef,
}

/// Where the batch goes, and who looks things up.
pub(super) struct Onto<'a> {
    pub(super) lake: &'a Arc<Lake>,
    pub(super) state: &'a SessionState,
    pub(super) table: &'a lake::Table,
    pub(super) shape: &'a Shape,
    pub(super) keeps_deleted: bool,
    pub(super) index_rows_max: usize,
}

/// Rows that earlier changes left, and that no commit has put into the table yet.
#[derive(Clone, Default)]
pub(super) struct Earlier<'a> {
    /// Nothing of the table itself is there any more.
    pub(super) truncated: bool,
    /// In the table's columns and types.
    pub(super) rows: Vec<&'a RecordBatch>,
    /// Where among them the newest row of a key is. One that was deleted may be: another key may take its values.
    pub(super) places: Option<&'a ByKey<Place>>,
}

/// Number of the batch, and of the row in it.
pub(super) type Place = (usize, usize);

impl Earlier<'_> {
    fn at(&self, key: Key) -> Option<Place> {
        self.places.and_then(|places| places.get(&key)).copied()
    }
}

impl Onto<'_> {
    /// What these changes do to the table.
    pub(super) async fn upsert(&self, index: &mut Index, parts: &[&Part]) -> Result<Upsert> {
        self.upsert_after(index, parts, &Earlier::default()).await
    }

    /// What they do to the table and to what earlier changes left. What goes of the latter its owner knows by the keys.
    pub(super) async fn upsert_after(
        &self,
        index: &mut Index,
        parts: &[&Part],
        earlier: &Earlier<'_>,
    ) -> Result<Upsert> {
        let columns = known_by(self.table);
        let keyer = self.keyer()?;
        let rows = parts.iter().map(|part| self.in_columns(part, &columns)).collect::<Result<Vec<_>>>()?;
        let mut keyed = vec![];
        for (part, rows) in parts.iter().zip(&rows) {
            let keys = keyer.of_rows(rows)?;
            let was = before(&keyer, part, keys.len())?;
            keyed.push(Keyed { ops: &part.changed.ops, unchanged: left_out(part, &columns), keys, was });
        }
        let folded = fold(&keyed, self.keeps_deleted);
        drop(keyed);
        let of = Of { lake: self.lake, state: self.state, table: self.table, keyer: &keyer };
        // The row that the table has of a key which came since is gone already.
        let in_table: Cow<'_, [Key]> = match earlier.places {
            None => Cow::Borrowed(&folded.gone),
            Some(_) => folded.gone.iter().copied().filter(|key| earlier.at(*key).is_none()).collect(),
        };
        let spotted = match folded.truncated || earlier.truncated {
            true => Spotted::default(),
            false => index.find(&of, &in_table, self.index_rows_max).await?,
        };
        let ended = if earlier.places.is_some() { folded.ended.as_slice() } else { &[] };
        let looked_up = self.looked_up(&of, folded.rows.iter().chain(ended), &spotted).await?;
        let made = Made { columns: &columns, rows: &rows, spotted: &spotted, looked_up: &looked_up, earlier };
        // one that nobody can make whole is one that nobody can take values from
        let whole = |row: &&Row| row.left_out.iter().all(|(_, source)| made.is_there(*source));
        let ended: Vec<Row> = ended.iter().filter(whole).cloned().collect();
        Ok(Upsert {
            truncated: folded.truncated,
            gone: spotted.rows(),
            rows: made.all(&folded.rows, self)?,
            ended: made.all(&ended, self)?,
            schema: made.schema(),
            keys: folded.gone,
        })
    }

    /// Of rows in the table's columns.
    pub(super) fn keyer(&self) -> Result<Keyer> {
        let columns = known_by(self.table);
        Keyer::new(&columns, self.key_columns(&columns)?)
    }

    fn key_columns(&self, columns: &Schema) -> Result<Vec<usize>> {
        let key = self.shape.key.iter().map(|at| {
            let field = self.shape.columns.fields().get(*at)?;
            columns.index_of(field.name()).ok()
        });
        key.collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("a key that its table does not have"))
    }

    /// In the table's columns and types; what the table does not have is left behind.
    fn in_columns(&self, part: &Part, columns: &Schema) -> Result<RecordBatch> {
        let ours: Vec<(FieldRef, ArrayRef)> = match self.keeps_deleted {
            true => {
                let there = BooleanArray::from(vec![false; part.changed.ops.len()]);
                vec![(Arc::new(Field::new(DELETED, DataType::Boolean, true)), Arc::new(there))]
            }
            false => vec![],
        };
        cast_to(&fitted(&part.changed.rows, &ours, columns)?, columns)
    }

    /// Values that the origin left out and that are in the table.
    async fn looked_up<'r>(
        &self,
        of: &Of<'_>,
        rows: impl Iterator<Item = &'r Row>,
        spotted: &Spotted,
    ) -> Result<Fetched> {
        let mut wanted = Rows::new();
        for row in rows {
            let sources = row.left_out.iter().map(|(_, source)| source).chain(&row.deleted);
            for source in sources {
                let Source::Table(key) = source else { continue };
                if let Some((path, position)) = spotted.of(*key) {
                    wanted.entry(path.to_string()).or_default().insert(position);
                }
            }
        }
        let all: Vec<usize> = (0..self.table.schema().fields().len()).collect();
        fetch(of, &wanted, &all).await
    }
}

/// The keys that changes changed, one a change.
fn before(keyer: &Keyer, part: &Part, changes: usize) -> Result<Vec<Option<Key>>> {
    // Of another key than the table has by now: its table is taken in anew.
    let was = part.changed.was.as_ref().filter(|was| was.num_columns() == keyer.columns.len());
    let Some(was) = was else { return Ok(vec![None; changes]) };
    let keys = keyer.keys(was.columns())?;
    let is_there = |row: usize| was.columns().iter().any(|column| column.is_valid(row));
    Ok(keys.into_iter().enumerate().map(|(row, key)| is_there(row).then_some(key)).collect())
}

/// Values that were left out, by the table's columns.
fn left_out(part: &Part, columns: &Schema) -> Vec<Unchanged> {
    let rows = part.changed.rows.schema();
    let of_table = |left: &Unchanged| {
        let at = columns.fields().iter().position(|field| place_of(field, &rows) == Some(left.column))?;
        Some(Unchanged { column: at, rows: left.rows.clone() })
    };
    part.changed.unchanged.iter().filter_map(of_table).collect()
}

pub(super) fn cast_to(rows: &RecordBatch, columns: &Schema) -> Result<RecordBatch> {
    let options = arrow::compute::CastOptions { safe: false, format_options: FormatOptions::default() };
    let cast = |(array, field): (&ArrayRef, &FieldRef)| match array.data_type() == field.data_type() {
        true => Ok(Arc::clone(array)),
        false => cast_with_options(array, field.data_type(), &options),
    };
    let arrays = rows.columns().iter().zip(columns.fields()).map(cast).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(nullable(columns), arrays)?)
}

fn nullable(columns: &Schema) -> SchemaRef {
    let fields = columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Final rows, value by value from wherever each is.
struct Made<'a> {
    columns: &'a Schema,
    /// The parts' rows in the table's columns.
    rows: &'a [RecordBatch],
    spotted: &'a Spotted,
    looked_up: &'a Fetched,
    earlier: &'a Earlier<'a>,
}

impl Made<'_> {
    fn schema(&self) -> SchemaRef {
        nullable(self.columns)
    }

    fn all(&self, rows: &[Row], onto: &Onto<'_>) -> Result<Vec<RecordBatch>> {
        // A deletion of a row that is nowhere leaves nothing.
        let kept: Vec<&Row> = rows.iter().filter(|row| row.deleted.is_none_or(|from| self.is_there(from))).collect();
        kept.chunks(CHUNK).map(|rows| self.chunk(rows, onto)).collect()
    }

    fn is_there(&self, source: Source) -> bool {
        match source {
            Source::Batch(_) => true,
            Source::Table(key) => self.earlier.at(key).is_some() || self.spotted.of(key).is_some(),
            Source::Nowhere => false,
        }
    }

    fn chunk(&self, rows: &[&Row], onto: &Onto<'_>) -> Result<RecordBatch> {
        let mut arrays = vec![];
        for (column, field) in self.columns.fields().iter().enumerate() {
            if field.name() == DELETED {
                arrays.push(Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.deleted.is_some())))) as ArrayRef);
                continue;
            }
            let fetched = self.looked_up.batches.iter().map(|batch| batch.column(column));
            let of_parts = self.rows.iter().map(|rows| rows.column(column));
            let earlier = self.earlier.rows.iter().map(|rows| rows.column(column));
            let nulls = new_null_array(field.data_type(), 1);
            let sources: Vec<&dyn arrow::array::Array> =
                of_parts.chain(fetched).chain(earlier).chain([&nulls]).map(|array| array.as_ref()).collect();
            let at = rows.iter().map(|row| self.value(row, column, onto)).collect::<Result<Vec<_>>>()?;
            arrays.push(interleave(&sources, &at)?);
        }
        Ok(RecordBatch::try_new(self.schema(), arrays)?)
    }

    /// Which of the arrays of a column has a row's value, and where.
    fn value(&self, row: &Row, column: usize, onto: &Onto<'_>) -> Result<(usize, usize)> {
        let left_out = row.left_out.iter().find(|(left, _)| *left == column).map(|(_, source)| *source);
        match left_out.or(row.deleted).unwrap_or(Source::Batch(row.at)) {
            Source::Batch(at) => Ok(at),
            Source::Table(key) => {
                if let Some((batch, row)) = self.earlier.at(key) {
                    return Ok((self.rows.len() + self.looked_up.batches.len() + batch, row));
                }
                let spot = self.spotted.of(key).and_then(|(path, position)| self.looked_up.at(path, position));
                let (batch, row) = spot.ok_or_else(|| self.unknown(column, onto))?;
                Ok((self.rows.len() + batch, row))
            }
            Source::Nowhere => Err(self.unknown(column, onto)),
        }
    }

    /// NULL in its place would be a lie.
    fn unknown(&self, column: usize, onto: &Onto<'_>) -> Error {
        let name = self.columns.fields().get(column).map(|f| f.name().as_str()).unwrap_or_default();
        let text = format!(
            "an unchanged value of column \"{name}\" was not sent, and table {} does not have its row",
            onto.table.key.name
        );
        Error::new(Kind::DataGone, text).with_hint("The table has lost rows or was changed by others: take it in anew.")
    }
}
