//! Rows of a system relation: cells named by column, turned into one record batch of the relation's types. It knows no
//! relation and no view.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use crate::error::{Error, Result};

/// One value of a system relation or of a function over the catalog.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Cell {
    #[default]
    Null,
    Bool(bool),
    /// Every integer type, oids, and microseconds of a timestamp.
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Cell>),
}

impl Cell {
    /// A list of texts.
    pub fn texts<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::List(texts.into_iter().map(|t| Self::Text(t.into())).collect())
    }

    /// What an unnamed NOT NULL column holds: zero, false, the empty text.
    fn zero(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool(false),
            DataType::Utf8 => Self::Text(String::new()),
            DataType::List(_) => Self::List(vec![]),
            DataType::Float32 | DataType::Float64 => Self::Float(0.0),
            _ => Self::Int(0),
        }
    }
}

macro_rules! cell_from {
    ($($from:ty => $make:expr;)*) => { $(impl From<$from> for Cell { fn from(value: $from) -> Self { $make(value) } })* };
}

cell_from! {
    bool => Cell::Bool;
    i16 => |v| Cell::Int(i64::from(v));
    i32 => |v| Cell::Int(i64::from(v));
    u32 => |v| Cell::Int(i64::from(v));
    i64 => Cell::Int;
    f64 => Cell::Float;
    String => Cell::Text;
    &str => |v: &str| Cell::Text(v.to_owned());
    &String => |v: &String| Cell::Text(v.clone());
    char => |v: char| Cell::Text(v.to_string());
    Vec<Cell> => Cell::List;
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Collects rows column by column.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    /// What a column holds where a row does not name it.
    unnamed: Vec<Cell>,
    columns: Vec<Vec<Cell>>,
    count: usize,
}

impl Rows {
    /// `not_null`: one flag a column.
    pub(crate) fn new(schema: SchemaRef, not_null: &[bool]) -> Self {
        let cell = |(field, not_null): (&Arc<_>, &bool)| {
            let field: &arrow::datatypes::Field = field;
            if *not_null { Cell::zero(field.data_type()) } else { Cell::Null }
        };
        let unnamed: Vec<Cell> = schema.fields().iter().zip(not_null).map(cell).collect();
        let columns = vec![vec![]; unnamed.len()];
        Self { schema, unnamed, columns, count: 0 }
    }

    /// Adds a row. Cells come in the order of the columns; a column without one is zero or NULL, as its relation says.
    pub(crate) fn push<const N: usize>(&mut self, cells: [(&str, Cell); N]) -> Result<()> {
        let mut cells = cells.into_iter().peekable();
        let schema = Arc::clone(&self.schema);
        for (i, field) in schema.fields().iter().enumerate() {
            let cell = match cells.next_if(|(name, _)| *name == field.name()) {
                Some((_, cell)) => cell,
                None => self.unnamed[i].clone(),
            };
            self.columns[i].push(cell);
        }
        self.count += 1;
        match cells.next() {
            Some((name, _)) => Err(Error::internal(format!("no column {name} there in {:?}", schema.fields()))),
            None => Ok(()),
        }
    }

    /// Adds a row whose cells stand in column order.
    pub(crate) fn push_all(&mut self, cells: Vec<Cell>) -> Result<()> {
        if cells.len() != self.columns.len() {
            return Err(Error::internal("a row of an image has another number of columns than its relation"));
        }
        self.columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        self.count += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let types = self.schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        let arrays = types.iter().zip(self.columns).map(|(t, cells)| array(t, cells)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(self.schema, arrays, &options)?)
    }
}

/// Cells as an array of `data_type`. A cell of another kind than the type's is our bug.
pub fn array(data_type: &DataType, cells: Vec<Cell>) -> Result<ArrayRef> {
    let wrong = |cell: &Cell| Error::internal(format!("{cell:?} is no {data_type}"));
    macro_rules! collect {
        ($array:ty, $($pattern:pat => $value:expr),+) => {{
            let values = cells.into_iter().map(|cell| match cell {
                Cell::Null => Ok(None),
                $($pattern => Ok(Some($value)),)+
                #[allow(unreachable_patterns)]
                other => Err(wrong(&other)),
            });
            Arc::new(values.collect::<Result<$array>>()?)
        }};
    }
    macro_rules! integers {
        ($array:ty, $native:ty) => {
            collect!($array, Cell::Int(v) => <$native>::try_from(v).map_err(|_| wrong(&Cell::Int(v)))?)
        };
    }
    Ok(match data_type {
        DataType::Boolean => collect!(BooleanArray, Cell::Bool(v) => v),
        DataType::Int16 => integers!(Int16Array, i16),
        DataType::Int32 => integers!(Int32Array, i32),
        DataType::Int64 => integers!(Int64Array, i64),
        DataType::UInt32 => integers!(UInt32Array, u32),
        DataType::Float32 => collect!(Float32Array, Cell::Float(v) => v as f32),
        DataType::Float64 => collect!(Float64Array, Cell::Float(v) => v),
        DataType::Utf8 => collect!(StringArray, Cell::Text(v) => v),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times: TimestampMicrosecondArray = cells
                .into_iter()
                .map(|cell| match cell {
                    Cell::Null => Ok(None),
                    Cell::Int(v) => Ok(Some(v)),
                    other => Err(wrong(&other)),
                })
                .collect::<Result<_>>()?;
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => {
            let valid: NullBuffer = cells.iter().map(|c| *c != Cell::Null).collect::<Vec<_>>().into();
            let lists = cells.into_iter().map(|cell| match cell {
                Cell::Null => Ok(vec![]),
                Cell::List(items) => Ok(items),
                other => Err(wrong(&other)),
            });
            let lists = lists.collect::<Result<Vec<_>>>()?;
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            let items = array(item.data_type(), lists.into_iter().flatten().collect())?;
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(valid))?)
        }
        // Types of relations that hold no row: only NULL fits.
        DataType::Decimal128(precision, scale) => {
            let nulls: Decimal128Array = cells.iter().map(|_| None::<i128>).collect();
            Arc::new(nulls.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Binary => Arc::new(cells.iter().map(|_| None::<&[u8]>).collect::<BinaryArray>()),
        other => return Err(Error::internal(format!("no system relation has columns of {other}"))),
    })
}
