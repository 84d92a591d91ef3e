//! COPY, both ways. A client's is in text, csv or binary: `layout` how it is written down, `write` batches → messages, `read`
//! bytes → rows of fields. A source's is in binary: the decoder here makes batches of it, cut anywhere; values are exact or
//! an error that names the column. Nothing here reads a socket.

mod column;
mod layout;
mod numeric;
mod read;
mod values;
mod write;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{Error, Kind, Result};
use column::{Column, Fault};
pub use layout::{Csv, Header, Layout, Marks};
pub(crate) use read::{Fault as RowFault, Reader, Row};
pub(crate) use values::Values;
pub use write::CopyEncoder;

/// Postgres sends no larger message; a length above it is a broken stream and not a reason to wait for more.
const ROW_BYTES_MAX: usize = 1 << 30;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the header extension.
const HEADER: usize = SIGNATURE.len() + 8;

/// What a stream begins with: the signature, no flags, no extension.
pub fn beginning() -> Vec<u8> {
    let mut begin = SIGNATURE.to_vec();
    begin.resize(HEADER, 0);
    begin
}

/// What it ends with: a row of -1 columns.
pub const TRAILER: [u8; 2] = [0xff, 0xff];

/// The binary form of `oid` decodes into `data_type`. What does not may still be read as text (`::text`).
pub fn reads(data_type: &DataType, oid: u32) -> bool {
    Column::new(data_type, oid).is_some()
}

/// Bytes in any portions, rows out in batches.
#[derive(Debug)]
pub struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The beginning of a row that is not here whole.
    rest: Vec<u8>,
    state: State,
    rows: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    /// The trailer was read: nothing may follow.
    Ended,
    /// An error left columns of unequal length.
    Failed,
}

impl CopyDecoder {
    /// `oids`: the types in the order of `schema`, as the statement's row description gives them.
    pub fn new(schema: SchemaRef, oids: &[u32]) -> Result<Self> {
        if schema.fields().len() != oids.len() {
            return Err(Error::internal("COPY decoder: as many oids as columns"));
        }
        let column = |(field, oid): (&arrow::datatypes::FieldRef, &u32)| {
            Column::new(field.data_type(), *oid).ok_or_else(|| {
                Error::unsupported(format_args!(
                    "reading type {oid} of column \"{}\" as {}",
                    field.name(),
                    field.data_type()
                ))
            })
        };
        let columns = schema.fields().iter().zip(oids).map(column).collect::<Result<Vec<_>>>()?;
        Ok(Self { schema, columns, rest: vec![], state: State::Header, rows: 0, bytes: 0 })
    }

    /// One portion of the stream. Postgres sends a row in each message; a proxy may cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let result = self.append(bytes);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Rows decoded and not yet taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the stream behind those rows: what a batch weighs, nearly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows since the last call, none of them twice.
    pub fn take(&mut self) -> Result<RecordBatch> {
        if self.state == State::Failed {
            return Err(broken("a batch was asked for after an error"));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        self.bytes = 0;
        let fields = self.schema.fields();
        let arrays =
            self.columns.iter_mut().zip(fields).map(|(c, f)| c.finish(f.data_type())).collect::<Result<Vec<_>>>()?;
        for (array, field) in arrays.iter().zip(fields) {
            if !field.is_nullable() && array.null_count() > 0 {
                let text = format!("column \"{}\" has become nullable", field.name());
                return Err(
                    Error::new(Kind::CachedPlanChanged, "cached plan must not change result type").with_detail(text)
                );
            }
        }
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    /// The stream is over. Without its trailer it was cut, and the rows so far are not the answer.
    pub fn finish(&self) -> Result<()> {
        match self.state {
            State::Ended if self.rest.is_empty() => Ok(()),
            State::Failed => Err(broken("an error came before the end")),
            _ => Err(broken("it ends before its trailer")),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.rest.is_empty() {
            let used = self.decode(bytes)?;
            self.rest.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        let used = self.decode(&whole)?;
        whole.drain(..used);
        self.rest = whole;
        Ok(())
    }

    /// Decodes all rows that are here whole; returns the bytes used.
    fn decode(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        if self.state == State::Header {
            match header(bytes)? {
                Some(used) => at = used,
                None => return Ok(0),
            }
            self.state = State::Rows;
        }
        while at < bytes.len() {
            match self.state {
                State::Rows => {}
                State::Ended => return Err(broken("data after the trailer")),
                State::Header | State::Failed => return Err(broken("data after an error")),
            }
            let Some(count) = int16(bytes, at) else { return Ok(at) };
            if count == -1 {
                self.state = State::Ended;
                at += 2;
                continue;
            }
            if usize::try_from(count).ok() != Some(self.columns.len()) {
                return Err(broken("a row with another number of fields"));
            }
            let Some(end) = row_end(bytes, at + 2, self.columns.len())? else { return Ok(at) };
            self.row(bytes.get(at + 2..end).unwrap_or_default())?;
            self.rows += 1;
            self.bytes += end - at;
            at = end;
        }
        Ok(at)
    }

    /// One row, known to be whole.
    fn row(&mut self, mut bytes: &[u8]) -> Result<()> {
        for (i, column) in self.columns.iter_mut().enumerate() {
            let Some((value, rest)) = split_field(bytes) else { return Err(broken("a field length")) };
            bytes = rest;
            column.push(value).map_err(|fault| named(&self.schema, i, fault))?;
        }
        Ok(())
    }
}

fn named(schema: &SchemaRef, column: usize, fault: Fault) -> Error {
    let name = schema.fields().get(column).map_or("?", |f| f.name());
    Error::new(fault.kind, format!("column \"{name}\": {}", fault.text))
}

fn broken(what: &str) -> Error {
    Error::new(Kind::InvalidBinary, "invalid COPY stream").with_source(what.to_string())
}

/// Bytes of the header, `None` while it is not here whole.
fn header(bytes: &[u8]) -> Result<Option<usize>> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) {
        return Err(broken("the signature"));
    }
    let (Some(flags), Some(extension)) = (int32(bytes, SIGNATURE.len()), int32(bytes, SIGNATURE.len() + 4)) else {
        return Ok(None);
    };
    // Bits 0–15 are notes that may be ignored; bit 16 means oids in each row, the others are unknown and critical.
    if flags & !0xffff != 0 {
        return Err(broken("the flags"));
    }
    match usize::try_from(extension) {
        Ok(length) if length <= ROW_BYTES_MAX => Ok((bytes.len() >= HEADER + length).then_some(HEADER + length)),
        _ => Err(broken("the header extension")),
    }
}

/// Where the row whose fields begin at `at` ends, `None` while it is not here whole.
fn row_end(bytes: &[u8], mut at: usize, columns: usize) -> Result<Option<usize>> {
    let start = at;
    for _ in 0..columns {
        let Some(length) = int32(bytes, at) else { return Ok(None) };
        at += 4;
        match usize::try_from(length) {
            Ok(length) => at += length,
            Err(_) if length == -1 => {}
            Err(_) => return Err(broken("a field length")),
        }
        if at - start > ROW_BYTES_MAX {
            return Err(broken("a row above 1 GiB"));
        }
        if at > bytes.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// A field (`None` = NULL) and what follows it; also how array elements are framed.
fn split_field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let length = int32(bytes, 0)?;
    let rest = bytes.get(4..)?;
    if length == -1 {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(value), rest))
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
