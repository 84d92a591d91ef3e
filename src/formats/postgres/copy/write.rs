//! Batches to the CopyData messages of COPY TO STDOUT, a message a row (copyto.c). How a value is spelt is `column`'s.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::BytesMut;

use super::SIGNATURE;
use super::layout::{Csv, Header, Layout, Marks};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::append::Append;
use crate::formats::postgres::column::{Column, Spelling, VALUE_BYTES_MAX};
use crate::formats::postgres::mapping::{self, Shown};
use crate::formats::postgres::{Format, Style};

/// Turns batches into CopyData messages, appended whole to a buffer.
#[derive(Debug)]
pub struct CopyEncoder {
    layout: Layout,
    columns: Vec<(Shown, Spelling)>,
    names: Vec<String>,
    /// What stands before the first row has been written.
    begun: bool,
    /// A value that has to be written once more.
    spare: BytesMut,
}

impl CopyEncoder {
    /// 0A000 naming the column whose type has no PostgreSQL counterpart, or none in binary.
    pub fn new(schema: &SchemaRef, layout: Layout, style: &Style) -> Result<Self> {
        let format = if layout.is_binary() { Format::Binary } else { Format::Text };
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let shown = mapping::shown(field)?;
            let spelling = Spelling::new(format, style);
            // an empty array of the type asks each level of it whether it can be written
            let empty = arrow::array::new_empty_array(field.data_type());
            Column::new(empty.as_ref(), &shown, spelling.clone())?;
            columns.push((shown, spelling));
        }
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { layout, columns, names, begun: false, spare: BytesMut::new() })
    }

    pub fn is_binary(&self) -> bool {
        self.layout.is_binary()
    }

    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// As [`crate::formats::postgres::RowEncoder::encode`], in messages of a row.
    pub fn encode(&mut self, batch: &RecordBatch, from: usize, bytes_max: usize, out: &mut BytesMut) -> Result<usize> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal("a batch with more or fewer columns than its schema"));
        }
        let columns = self.columns.iter().zip(batch.columns());
        let columns: Vec<_> = columns
            .map(|((shown, spelling), array)| Column::new(array.as_ref(), shown, spelling.clone()))
            .collect::<Result<_>>()?;
        self.header_line(out)?;
        let mut row = from;
        while row < batch.num_rows() {
            let start = out.len();
            let begun = self.begun;
            self.begun = true;
            let spare = &mut self.spare;
            let written = message(out, |out| match &self.layout {
                Layout::Text(marks) => text_row(&columns, row, marks, spare, out),
                Layout::Csv(csv) => csv_row(&columns, row, csv, spare, out),
                Layout::Binary => {
                    if !begun {
                        binary_header(out);
                    }
                    binary_row(&columns, row, out)
                }
            });
            if let Err(error) = written {
                out.truncate(start);
                self.begun = begun;
                return Err(error);
            }
            row += 1;
            if out.len() >= bytes_max {
                break;
            }
        }
        Ok(row)
    }

    /// What stands behind the last row, and before it where there was none.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        self.header_line(out)?;
        if !self.is_binary() {
            return Ok(());
        }
        let begun = std::mem::replace(&mut self.begun, true);
        message(out, |out| {
            if !begun {
                binary_header(out);
            }
            out.put_i16(-1);
            Ok(())
        })
    }

    /// The names of the columns, once; in binary the header shares the first row's message.
    fn header_line(&mut self, out: &mut BytesMut) -> Result<()> {
        if self.begun || self.is_binary() {
            return Ok(());
        }
        self.begun = true;
        let names = &self.names;
        match &self.layout {
            Layout::Text(marks) if marks.header != Header::None => message(out, |out| {
                for (i, name) in names.iter().enumerate() {
                    separate(i, marks, out);
                    out.extend_from_slice(name.as_bytes());
                    escape(out, out.len() - name.len(), marks.delimiter, &mut self.spare);
                }
                out.put_u8(b'\n');
                Ok(())
            }),
            Layout::Csv(csv) if csv.marks.header != Header::None => message(out, |out| {
                for (i, name) in names.iter().enumerate() {
                    separate(i, &csv.marks, out);
                    out.extend_from_slice(name.as_bytes());
                    quote(out, out.len() - name.len(), csv, false, names.len() == 1, &mut self.spare);
                }
                out.put_u8(b'\n');
                Ok(())
            }),
            Layout::Text(_) | Layout::Csv(_) | Layout::Binary => Ok(()),
        }
    }
}

/// A CopyData message around what `write` appends.
fn message(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.put_u8(b'd');
    out.put_i32(0);
    write(out)?;
    // the length counts itself and not the letter
    let length = i32::try_from(out.len() - start - 1).ok().filter(|_| out.len() - start <= VALUE_BYTES_MAX);
    let too_long = || Error::new(Kind::TooLarge, format!("a row is longer than {VALUE_BYTES_MAX} bytes"));
    out[start + 1..start + 5].copy_from_slice(&length.ok_or_else(too_long)?.to_be_bytes());
    Ok(())
}

fn separate(column: usize, marks: &Marks, out: &mut BytesMut) {
    if column > 0 {
        out.put_u8(marks.delimiter);
    }
}

fn text_row(columns: &[Column<'_>], row: usize, marks: &Marks, spare: &mut BytesMut, out: &mut BytesMut) -> Result<()> {
    for (i, column) in columns.iter().enumerate() {
        separate(i, marks, out);
        if column.is_null(row) {
            out.extend_from_slice(marks.null.as_bytes());
            continue;
        }
        let at = out.len();
        (column.put)(row, out)?;
        escape(out, at, marks.delimiter, spare);
    }
    out.put_u8(b'\n');
    Ok(())
}

fn csv_row(columns: &[Column<'_>], row: usize, csv: &Csv, spare: &mut BytesMut, out: &mut BytesMut) -> Result<()> {
    for (i, column) in columns.iter().enumerate() {
        separate(i, &csv.marks, out);
        if column.is_null(row) {
            out.extend_from_slice(csv.marks.null.as_bytes());
            continue;
        }
        let at = out.len();
        (column.put)(row, out)?;
        let forced = csv.force_quote.get(i).copied().unwrap_or(false);
        quote(out, at, csv, forced, columns.len() == 1, spare);
    }
    out.put_u8(b'\n');
    Ok(())
}

fn binary_header(out: &mut BytesMut) {
    out.extend_from_slice(SIGNATURE);
    // flags, and the length of an extension that there is none of
    out.put_i32(0);
    out.put_i32(0);
}

fn binary_row(columns: &[Column<'_>], row: usize, out: &mut BytesMut) -> Result<()> {
    let too_many = |_| Error::new(Kind::TooManyColumns, "a row of more columns than the protocol can count");
    out.put_i16(i16::try_from(columns.len()).map_err(too_many)?);
    columns.iter().try_for_each(|column| column.framed(row, out))
}

/// The letter behind the backslash, for the bytes that have one.
fn letter(byte: u8) -> Option<u8> {
    Some(match byte {
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x0b => b'v',
        _ => return None,
    })
}

/// The value that begins at `at`, with backslashes (`CopyAttributeOutText`). Most values need none.
fn escape(out: &mut BytesMut, at: usize, delimiter: u8, spare: &mut BytesMut) {
    let needs = |byte: &u8| *byte == b'\\' || *byte == delimiter || letter(*byte).is_some();
    let Some(first) = out[at..].iter().position(needs) else { return };
    spare.clear();
    spare.extend_from_slice(&out[at + first..]);
    out.truncate(at + first);
    for &byte in spare.iter() {
        match letter(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None if byte == b'\\' || byte == delimiter => out.extend_from_slice(&[b'\\', byte]),
            None => out.put_u8(byte),
        }
    }
}

/// The value that begins at `at`, in quotes where it needs them (`CopyAttributeOutCSV`). `alone`: it is the whole line, in
/// which `\.` would end the data.
fn quote(out: &mut BytesMut, at: usize, csv: &Csv, forced: bool, alone: bool, spare: &mut BytesMut) {
    let value = &out[at..];
    let is_mark = |byte: &u8| *byte == csv.marks.delimiter || *byte == csv.quote || matches!(*byte, b'\n' | b'\r');
    let needs = forced || value == csv.marks.null.as_bytes() || (alone && value == b"\\.") || value.iter().any(is_mark);
    if !needs {
        return;
    }
    spare.clear();
    spare.extend_from_slice(value);
    out.truncate(at);
    out.put_u8(csv.quote);
    for &byte in spare.iter() {
        if byte == csv.quote || byte == csv.escape {
            out.put_u8(csv.escape);
        }
        out.put_u8(byte);
    }
    out.put_u8(csv.quote);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn marks(delimiter: u8, null: &str, header: Header) -> Marks {
        Marks { delimiter, null: null.into(), header }
    }

    fn csv(header: Header) -> Csv {
        let marks = marks(b',', "", header);
        Csv { marks, quote: b'"', escape: b'"', force_quote: vec![], force_not_null: vec![], force_null: vec![] }
    }

    /// The messages' bodies, as one line after another.
    fn written(layout: Layout, columns: &[(&str, ArrayRef)]) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter(columns.iter().map(|(n, c)| (*n, Arc::clone(c)))).unwrap();
        let style = Style::of(chrono_tz::Tz::UTC);
        let mut encoder = CopyEncoder::new(&batch.schema(), layout, &style).unwrap();
        let mut out = BytesMut::new();
        let mut row = 0;
        while row < batch.num_rows() {
            row = encoder.encode(&batch, row, 1, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        let (mut rest, mut bodies) = (&out[..], vec![]);
        while let [b'd', a, b, c, d, after @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            bodies.extend_from_slice(&after[..length]);
            rest = &after[length..];
        }
        assert!(rest.is_empty());
        bodies
    }

    fn two() -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("n", Arc::new(Int32Array::from(vec![Some(1), Some(2), None]))),
            ("t", Arc::new(StringArray::from(vec![None, Some("x\ty\\z\n"), Some("\\.")]))),
        ]
    }

    fn one(values: Vec<Option<&str>>) -> Vec<(&'static str, ArrayRef)> {
        vec![("column1", Arc::new(StringArray::from(values)))]
    }

    // what a real PostgreSQL sends
    #[test]
    fn text_is_escaped_and_csv_is_quoted() {
        let text = |header| Layout::Text(marks(b'\t', "\\N", header));
        assert_eq!(written(text(Header::None), &two()), b"1\t\\N\n2\tx\\ty\\\\z\\n\n\\N\t\\\\.\n");
        assert_eq!(written(Layout::Csv(csv(Header::None)), &two()), b"1,\n2,\"x\ty\\z\n\"\n,\\.\n");
        assert_eq!(
            written(Layout::Csv(csv(Header::Line)), &one(vec![Some("\\."), Some(""), None])),
            b"column1\n\"\\.\"\n\"\"\n\n"
        );
        assert_eq!(
            written(text(Header::Line), &one(vec![Some("a\x08b\x0c\n\r\tv\x0bz")])),
            b"column1\na\\bb\\f\\n\\r\\tv\\vz\n"
        );
        assert_eq!(written(Layout::Text(marks(b',', "\\N", Header::None)), &one(vec![Some("a,b")])), b"a\\,b\n");
        let forced = Csv { force_quote: vec![true], quote: b'\'', escape: b'\\', ..csv(Header::None) };
        assert_eq!(written(Layout::Csv(forced), &one(vec![Some("a'b\\"), None])), b"'a\\'b\\\\'\n\n");
    }

    #[test]
    fn binary_has_a_header_and_a_trailer_with_and_without_rows() {
        let head = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8]].concat();
        let rows = b"\0\x02\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\0\x02\0\0\0\x04\0\0\0\x02\0\0\0\x06x\ty\\z\n\0\x02\xff\xff\xff\xff\0\0\0\x02\\.";
        assert_eq!(written(Layout::Binary, &two()), [&head[..], rows, b"\xff\xff"].concat());
        assert_eq!(written(Layout::Binary, &one(vec![])), [&head[..], b"\xff\xff"].concat());
        assert_eq!(written(Layout::Csv(csv(Header::Line)), &one(vec![])), b"column1\n");
    }
}
