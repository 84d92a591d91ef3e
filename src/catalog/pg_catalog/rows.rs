//! Rows of a system relation: cells named by column, turned into one record batch of the relation's types. It knows no
//! view.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
    UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, SchemaRef, TimeUnit};

use super::image::Declared;
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

/// What a statement asks of a relation: some of its columns, and perhaps rows with certain values only. More rows may be
/// given than are asked for: a condition is tested again on what comes out.
#[derive(Debug, Default)]
pub struct Asked {
    /// Places of columns, in order; `None` for all.
    pub columns: Option<Vec<usize>>,
    /// Column and the values that it may have.
    pub equal: Vec<(String, Vec<Cell>)>,
}

impl Asked {
    /// Whether a row with this value is of use.
    pub(crate) fn wants(&self, column: &str, value: &Cell) -> bool {
        self.equal.iter().filter(|(name, _)| name == column).all(|(_, values)| values.contains(value))
    }
}

/// How a column's cell is made of an item.
pub(crate) type Make<'a, T> = (&'static str, &'a dyn Fn(&T) -> Cell);

/// Collects rows column by column, those alone that are asked for.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    schema: SchemaRef,
    pub(crate) asked: &'a Asked,
    /// One flag a column.
    wanted: Vec<bool>,
    /// What a column holds where a row does not name it.
    unnamed: Vec<Cell>,
    columns: Vec<Vec<Cell>>,
    count: usize,
}

static EVERYTHING: Asked = Asked { columns: None, equal: vec![] };

impl Rows<'static> {
    /// With every column.
    pub(crate) fn all(relation: &Declared) -> Self {
        Rows::new(relation, &EVERYTHING)
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn new(relation: &Declared, asked: &'a Asked) -> Self {
        let schema = Arc::clone(&relation.schema);
        let cell = |(field, not_null): (&FieldRef, &bool)| {
            if *not_null { Cell::zero(field.data_type()) } else { Cell::Null }
        };
        let unnamed: Vec<Cell> = schema.fields().iter().zip(&relation.not_null).map(cell).collect();
        let wanted = (0..unnamed.len()).map(|i| asked.columns.as_ref().is_none_or(|c| c.contains(&i))).collect();
        let columns = vec![vec![]; unnamed.len()];
        Self { schema, asked, wanted, unnamed, columns, count: 0 }
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
            if self.wanted[i] {
                self.columns[i].push(cell);
            }
        }
        self.count += 1;
        match cells.next() {
            Some((name, _)) => Err(Error::internal(format!("no column {name} there in {:?}", schema.fields()))),
            None => Ok(()),
        }
    }

    /// Adds a row for each item; of a column that is not asked for nothing is made. In the order of the columns too.
    pub(crate) fn extend<T>(&mut self, items: &[T], makes: &[Make<'_, T>]) -> Result<()> {
        let mut makes = makes.iter().peekable();
        let schema = Arc::clone(&self.schema);
        for (i, field) in schema.fields().iter().enumerate() {
            let make = makes.next_if(|(name, _)| *name == field.name());
            if !self.wanted[i] {
                continue;
            }
            match make {
                Some((_, make)) => self.columns[i].extend(items.iter().map(make)),
                None => self.columns[i].extend(std::iter::repeat_n(self.unnamed[i].clone(), items.len())),
            }
        }
        self.count += items.len();
        match makes.next() {
            Some((name, _)) => Err(Error::internal(format!("no column {name} there in {:?}", schema.fields()))),
            None => Ok(()),
        }
    }

    /// Adds a row whose cells stand in column order.
    pub(crate) fn push_all(&mut self, cells: Vec<Cell>) -> Result<()> {
        if cells.len() != self.columns.len() {
            return Err(Error::internal("a row of an image has another number of columns than its relation"));
        }
        let wanted = self.columns.iter_mut().zip(&self.wanted).zip(cells).filter(|((_, wanted), _)| **wanted);
        wanted.for_each(|((column, _), cell)| column.push(cell));
        self.count += 1;
        Ok(())
    }

    /// For each column zero where it counts, NULL where it does not.
    pub(crate) fn zeros(&self) -> impl Iterator<Item = Cell> + use<> {
        let zero = |field: &FieldRef| match field.data_type() {
            DataType::Int64 => Cell::Int(0),
            DataType::Float64 => Cell::Float(0.0),
            _ => Cell::Null,
        };
        self.schema.fields().iter().map(zero).collect::<Vec<_>>().into_iter()
    }

    /// The columns that were asked for.
    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let wanted: Vec<usize> = (0..self.wanted.len()).filter(|i| self.wanted[*i]).collect();
        let schema = Arc::new(self.schema.project(&wanted)?);
        let columns = self.columns.into_iter().zip(self.wanted).filter(|(_, wanted)| *wanted).map(|(cells, _)| cells);
        let made = schema.fields().iter().zip(columns).map(|(field, cells)| array(field.data_type(), cells));
        let arrays = made.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
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
        DataType::UInt64 => integers!(UInt64Array, u64),
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
        // a list of a value for each field
        DataType::Struct(fields) => {
            let mut columns = vec![Vec::with_capacity(cells.len()); fields.len()];
            for cell in cells {
                let Cell::List(values) = cell else { return Err(wrong(&cell)) };
                let mut values = values.into_iter();
                columns.iter_mut().for_each(|column| column.push(values.next().unwrap_or_default()));
            }
            let made = fields.iter().zip(columns).map(|(field, cells)| array(field.data_type(), cells));
            Arc::new(StructArray::try_new(fields.clone(), made.collect::<Result<_>>()?, None)?)
        }
        // microseconds
        DataType::Interval(IntervalUnit::MonthDayNano) => collect!(
            IntervalMonthDayNanoArray,
            Cell::Int(v) => IntervalMonthDayNano::new(0, 0, v.saturating_mul(1000))
        ),
        // columns that hold nothing here
        DataType::Decimal128(..) | DataType::Binary => new_null_array(data_type, cells.len()),
        other => return Err(Error::internal(format!("no system relation has columns of {other}"))),
    })
}
