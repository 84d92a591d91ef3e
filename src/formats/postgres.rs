//! Arrow ⇄ PostgreSQL types, text and binary.

pub mod copy;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use bytes::BytesMut;
use datafusion::common::ScalarValue;

use crate::error::Result;

/// Field metadata: the PostgreSQL type oid where Arrow's type alone does not tell (varchar, name, oid, json …).
pub const OID: &str = "lakegate.oid";
/// Field metadata: the type modifier, as `pg_attribute.atttypmod`.
pub const TYPMOD: &str = "lakegate.typmod";

/// A column's type as a RowDescription shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// `pg_type.typlen`: bytes, -1 for variable length.
    pub size: i16,
    /// -1 where there is none.
    pub typmod: i32,
}

/// Format code of a column or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

/// Session settings that change how values are spelt.
#[derive(Clone, Debug)]
pub struct Style {
    /// IANA name; timestamptz is shown in it.
    pub time_zone: chrono_tz::Tz,
}

/// 0A000 naming the column where no PostgreSQL type stands for it.
pub fn pg_type(field: &Field) -> Result<PgType> {
    let _ = field;
    todo!()
}

/// The Arrow field (type and metadata) for a PostgreSQL type; `None` for a type we do not read.
pub fn field(name: &str, oid: u32, typmod: i32, nullable: bool) -> Option<Field> {
    let _ = (name, oid, typmod, nullable);
    todo!()
}

/// A parameter's bytes as a typed value (`None` = NULL of that type).
pub fn decode_parameter(oid: u32, format: Format, bytes: Option<&[u8]>) -> Result<ScalarValue> {
    let _ = (oid, format, bytes);
    todo!()
}

/// Arrow type of a parameter oid; 42704 for one we do not know, text for 0 and 705.
pub fn parameter_type(oid: u32) -> Result<DataType> {
    let _ = oid;
    todo!()
}

/// Turns batches into DataRow messages, appended whole to a buffer.
#[derive(Debug)]
pub struct RowEncoder {}

impl RowEncoder {
    /// `formats`: one per column.
    pub fn new(schema: SchemaRef, formats: &[Format], style: &Style) -> Result<Self> {
        let _ = (schema, formats, style);
        todo!()
    }

    /// Appends DataRow messages for rows `from..` until `out` holds `bytes_max` or the batch ends; returns the next row.
    pub fn encode(&mut self, batch: &RecordBatch, from: usize, bytes_max: usize, out: &mut BytesMut) -> Result<usize> {
        let _ = (batch, from, bytes_max, out);
        todo!()
    }
}
