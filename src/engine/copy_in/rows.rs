//! Rows of a COPY FROM on their way from fields to a batch. Fields are read a column at a time; what is wrong is found and
//! told in the order of rows and columns all the same, with its place (`CopyFromErrorCallback`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;

use super::Target;
use crate::engine::assign;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::{Row, RowFault};
use crate::formats::postgres::{self, Format, Shape, Style, decode_parameter, pg_type};
use crate::pgtype;
use crate::sql::input;
use crate::sql::kernel::Env;
use crate::sql::numeric::Numeric;

/// A batch is sent with so many rows or bytes of them, whichever comes first.
const ROWS_MAX: usize = 8_192;
const BYTES_MAX: usize = 4 << 20;
/// Of a line or a value that an error shows (`MAX_COPY_DATA_DISPLAY`), and of a value of a row that breaks a constraint.
const SHOWN_BYTES: usize = 100;
const SHOWN_VALUE_BYTES: usize = 64;

pub(super) struct Rows {
    into: Target,
    style: Style,
    env: Env,
    is_binary: bool,
    columns: Vec<Values>,
    /// Of the row in the input.
    numbers: Vec<u64>,
    bytes: usize,
    /// Columns of the table that must not be NULL, and the field that each is given.
    required: Vec<(String, Option<usize>)>,
}

/// Fields of one column.
enum Values {
    /// For the type's input function, which cuts and rounds to the column's modifier too.
    Text(StringBuilder),
    /// Received in binary.
    Read(Vec<ScalarValue>),
}

/// Why a row is none.
pub(super) struct Trouble {
    error: Error,
    number: Option<u64>,
    place: Place,
}

enum Place {
    /// No more than the row's number.
    Row,
    Line(Vec<u8>),
    Column(usize),
    /// The last row that was added; its values are told.
    Constraint(Option<Vec<u8>>),
}

impl Trouble {
    pub(super) fn of(fault: RowFault) -> Self {
        let RowFault { error, number, line, column } = fault;
        let place = match (line, column) {
            (Some(line), _) => Place::Line(line),
            (None, Some(column)) => Place::Column(column),
            (None, None) => Place::Row,
        };
        Self { error, number, place }
    }
}

impl Rows {
    pub(super) fn new(into: Target, is_binary: bool, env: Env) -> Self {
        let required = into.schema.fields().iter().zip(&into.order).filter(|(field, _)| !field.is_nullable());
        let given = into.columns.len();
        let required = required.filter(|(_, from)| from.is_none_or(|from| from < given));
        let required = required.map(|(field, from)| (field.name().clone(), *from)).collect();
        let columns = into.columns.iter().map(|field| Values::of(field, is_binary)).collect();
        Self { style: env.style(), env, is_binary, columns, numbers: vec![], bytes: 0, required, into }
    }

    /// Whether some columns are not in the input.
    pub(super) fn computes(&self) -> bool {
        !self.into.defaults.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), Trouble> {
        let trouble = |error, place| Trouble { error, number: Some(row.number), place };
        let line = || row.line.map_or(Place::Row, |line| Place::Line(line.to_vec()));
        if row.len() > self.into.columns.len() {
            let error = Error::new(Kind::BadCopyFormat, "extra data after last expected column");
            return Err(trouble(error, line()));
        }
        self.numbers.push(row.number);
        for (i, (values, field)) in self.columns.iter_mut().zip(&self.into.columns).enumerate() {
            let bytes = row.field(i);
            self.bytes += bytes.map_or(1, <[u8]>::len);
            let pushed = match bytes {
                Some(bytes) => values.push(bytes, field, self.is_binary, &self.style),
                None => values.push_null(field),
            };
            let error = match pushed {
                Ok(()) if i < row.len() => continue,
                Ok(()) => trouble(missing(field), line()),
                Err(error) => trouble(error, Place::Column(i)),
            };
            // the fields before it come first, and may be wrong themselves: the row is made whole for that
            let from = if i < row.len() { i } else { i + 1 };
            let mut rest = self.columns.iter_mut().zip(&self.into.columns).skip(from);
            rest.try_for_each(|(values, field)| values.push_null(field)).map_err(|e| trouble(e, Place::Row))?;
            return Err(error);
        }
        let is_null = |(_, from): &&(String, Option<usize>)| from.is_none_or(|i| row.field(i).is_none());
        match self.required.iter().find(is_null) {
            None => Ok(()),
            Some((column, _)) => {
                let table = &self.into.table;
                let text =
                    format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint");
                let place = Place::Constraint(row.line.map(<[u8]>::to_vec));
                Err(trouble(Error::new(Kind::NotNull, text).about(&self.into.schema_name, table, column), place))
            }
        }
    }

    /// What is wrong with the rows before, if anything is; else this.
    pub(super) fn earliest(&mut self, trouble: Trouble) -> Error {
        let fields = match self.read() {
            Ok(fields) => fields,
            Err(earlier) => return earlier,
        };
        let Trouble { error, number, place } = trouble;
        let Some(number) = number else { return error };
        let context = format!("COPY {}, line {number}", self.into.table);
        match place {
            Place::Row => error.in_context(context),
            Place::Line(line) => error.in_context(format!("{context}: \"{}\"", shown(&line, SHOWN_BYTES))),
            Place::Column(column) => {
                let name = self.into.columns.get(column).map_or("?", |field| field.name());
                error.in_context(format!("{context}, column {name}"))
            }
            Place::Constraint(line) => {
                let row = self.failing(&fields);
                let line = line.map_or(String::new(), |line| format!(": \"{}\"", shown(&line, SHOWN_BYTES)));
                error.with_detail(format!("Failing row contains ({row}).")).in_context(format!("{context}{line}"))
            }
        }
    }

    /// The rows that were added since the last call; `None` where there are none.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.numbers.is_empty() {
            return Ok(None);
        }
        let rows = self.numbers.len();
        let mut fields = self.read()?;
        (self.bytes, self.numbers) = (0, vec![]);
        let mut columns: Vec<FieldRef> =
            self.into.columns.iter().zip(&fields).map(|(f, a)| lying(f, a.data_type().clone())).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        for default in &self.into.defaults {
            let values = default.evaluate(&nothing).and_then(|values| values.into_array(rows))?;
            columns.push(Arc::new(Field::new("default", values.data_type().clone(), true)));
            fields.push(values);
        }
        let schema: SchemaRef = Arc::new(Schema::new(columns));
        let batch = RecordBatch::try_new_with_options(schema, fields, &options)?;
        assign::fit(&batch, &self.into.order, &self.into.schema).map(Some)
    }

    /// The columns' values. What is wrong first, by row and then by column, is the error.
    fn read(&mut self) -> Result<Vec<ArrayRef>> {
        let mut read = vec![];
        let mut first: Option<(usize, usize, Error, String)> = None;
        for (i, (values, field)) in self.columns.iter_mut().zip(&self.into.columns).enumerate() {
            let texts = match values.finish(field)? {
                Finished::Read(array) => {
                    read.push(array);
                    continue;
                }
                Finished::Texts(texts) => texts,
            };
            match input::read(&texts, field, &self.env) {
                Ok(array) => read.push(array),
                Err(error) => {
                    let (row, error) = input::first_fault(&texts, field, &self.env).unwrap_or((0, error));
                    if first.as_ref().is_none_or(|(before, ..)| row < *before) {
                        first = Some((row, i, error, texts.value(row).to_owned()));
                    }
                }
            }
        }
        let Some((row, column, error, value)) = first else { return Ok(read) };
        let number = self.numbers.get(row).copied().unwrap_or_default();
        let name = self.into.columns.get(column).map_or("?", |field| field.name());
        let context = format!("COPY {}, line {number}, column {name}", self.into.table);
        Err(match self.is_binary {
            true => error.in_context(context),
            false => error.in_context(format!("{context}: \"{}\"", shown(value.as_bytes(), SHOWN_BYTES))),
        })
    }

    /// The last row as the session would see it.
    fn failing(&self, fields: &[ArrayRef]) -> String {
        let value = |field: &FieldRef| {
            let at = self.into.columns.iter().position(|column| column.name() == field.name());
            let array = at.and_then(|at| fields.get(at)).filter(|array| !array.is_empty());
            let Some(array) = array else { return "null".to_owned() };
            let last = array.slice(array.len() - 1, 1);
            let field = lying(field, last.data_type().clone());
            match postgres::texts(&field, &last, &self.style) {
                Ok(texts) if !texts.is_null(0) => shown(texts.value(0).as_bytes(), SHOWN_VALUE_BYTES),
                _ => "null".to_owned(),
            }
        };
        self.into.shown.fields().iter().map(value).collect::<Vec<_>>().join(", ")
    }
}

enum Finished {
    Texts(StringArray),
    Read(ArrayRef),
}

impl Values {
    fn of(field: &Field, is_binary: bool) -> Self {
        let as_text = !is_binary
            || pg_type(field)
                .ok()
                .and_then(|of| postgres::by_oid(of.oid))
                .is_none_or(|row| matches!(row.shape, Shape::Numeric | Shape::Text | Shape::Versioned | Shape::Spelt));
        if as_text { Self::Text(StringBuilder::new()) } else { Self::Read(vec![]) }
    }

    fn push_null(&mut self, field: &Field) -> Result<()> {
        match self {
            Self::Text(texts) => texts.append_null(),
            Self::Read(values) => {
                values.push(decode_parameter(oid(field)?, Format::Binary, None, &Style::of(chrono_tz::Tz::UTC))?)
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], field: &Field, is_binary: bool, style: &Style) -> Result<()> {
        match self {
            Self::Text(texts) if !is_binary => texts.append_value(postgres::utf8_text(bytes)?),
            Self::Text(texts) if oid(field)? == pgtype::oid::NUMERIC => {
                let (value, rest) = Numeric::receive(bytes)?;
                if !rest.is_empty() {
                    return Err(Error::new(Kind::InvalidBinary, "incorrect binary data format"));
                }
                texts.append_value(value.to_string());
            }
            Self::Text(texts) => match decode_parameter(oid(field)?, Format::Binary, Some(bytes), style)? {
                ScalarValue::Utf8(Some(text)) => texts.append_value(text),
                other => return Err(Error::internal(format!("a text was received as {}", other.data_type()))),
            },
            Self::Read(values) => values.push(decode_parameter(oid(field)?, Format::Binary, Some(bytes), style)?),
        }
        Ok(())
    }

    fn finish(&mut self, field: &Field) -> Result<Finished> {
        match self {
            Self::Text(texts) => Ok(Finished::Texts(texts.finish())),
            Self::Read(values) if values.is_empty() => {
                Ok(Finished::Read(arrow::array::new_empty_array(field.data_type())))
            }
            Self::Read(values) => Ok(Finished::Read(ScalarValue::iter_to_array(std::mem::take(values))?)),
        }
    }
}

fn missing(field: &Field) -> Error {
    Error::new(Kind::BadCopyFormat, format!("missing data for column \"{}\"", field.name()))
}

fn oid(field: &Field) -> Result<u32> {
    Ok(pg_type(field)?.oid)
}

fn lying(field: &FieldRef, data_type: arrow::datatypes::DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true))
}

/// So much of it that an error does not grow with it.
fn shown(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= max {
        return text.into_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(max)])
}
