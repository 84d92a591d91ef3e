//! What a client sends for COPY FROM STDIN, in any portions, as rows of fields (copyfromparse.c). A field is the text, or in
//! binary the bytes, that its type's input function is given; which function that is, is not known here.

mod binary;
mod fields;
mod lines;

use super::layout::{Header, Layout};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::utf8;
use fields::Fields;
use lines::{Lines, Step};

/// Cuts rows from bytes. Pure: it reads from no socket.
#[derive(Debug)]
pub(crate) struct Reader {
    layout: Layout,
    /// Of the columns.
    names: Vec<String>,
    row_bytes_max: usize,
    buffer: Vec<u8>,
    /// The first byte that belongs to no row yet.
    at: usize,
    /// Nothing more comes.
    closed: bool,
    /// The end marker was read, or the end.
    ended: bool,
    /// What stands before the rows was read.
    begun: bool,
    /// Rows that were begun, a header among them; line ends in quotes count too.
    number: u64,
    /// The last of them has not ended yet.
    in_line: bool,
    lines: Lines,
    fields: Fields,
}

/// A row that is there whole.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) number: u64,
    /// As it came; `None` in binary.
    pub(crate) line: Option<&'a [u8]>,
    fields: &'a Fields,
}

/// Why there is no row, and how much of its place is known.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// `None` before the first row of a binary copy.
    pub(crate) number: Option<u64>,
    /// Of a line that was read to its end.
    pub(crate) line: Option<Vec<u8>>,
    /// Of a field of it.
    pub(crate) column: Option<usize>,
}

impl Row<'_> {
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// `None` for NULL, and for a field that is not there.
    pub(crate) fn field(&self, column: usize) -> Option<&[u8]> {
        self.fields.get(column)
    }
}

impl Reader {
    /// `row_bytes_max`: of one row, before it is there whole.
    pub(crate) fn new(layout: Layout, names: Vec<String>, row_bytes_max: usize) -> Self {
        let lines = Lines::of(&layout);
        Self {
            layout,
            names,
            row_bytes_max,
            buffer: vec![],
            at: 0,
            closed: false,
            ended: false,
            begun: false,
            number: 0,
            in_line: false,
            lines,
            fields: Fields::default(),
        }
    }

    /// Of the row that is being read or comes next, from one.
    pub(crate) fn number(&self) -> u64 {
        self.number + u64::from(!self.in_line)
    }

    /// The next portion. What comes behind the end marker of a text is not read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.ended && !self.layout.is_binary() {
            return;
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing more comes.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// The next row; `None` where more bytes are needed, or at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, Box<Fault>> {
        let line = if self.layout.is_binary() {
            if !self.next_binary()? {
                return Ok(None);
            }
            None
        } else {
            let Some((from, to)) = self.next_line()? else { return Ok(None) };
            Some((from, to))
        };
        let line = line.and_then(|(from, to)| self.buffer.get(from..to));
        Ok(Some(Row { number: self.number, line, fields: &self.fields }))
    }

    /// A line that is a row, split into `fields`; where it lies.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, Box<Fault>> {
        loop {
            let Some((from, to)) = self.whole_line()? else { return Ok(None) };
            let header = match &self.layout {
                Layout::Text(marks) => marks.header,
                Layout::Csv(csv) => csv.marks.header,
                Layout::Binary => Header::None,
            };
            let is_header = !std::mem::replace(&mut self.begun, true) && header != Header::None;
            if is_header && header == Header::Line {
                continue;
            }
            let line = self.buffer.get(from..to).unwrap_or_default();
            let split = self.fields.split(line, &self.layout);
            let named = match &split {
                Ok(()) if is_header => self.check_header(),
                _ => Ok(()),
            };
            if let Err(error) = split.and(named) {
                let line = Some(line.to_vec());
                return Err(Box::new(Fault { error, number: Some(self.number), line, column: None }));
            }
            if !is_header {
                return Ok(Some((from, to)));
            }
        }
    }

    fn whole_line(&mut self) -> Result<Option<(usize, usize)>, Box<Fault>> {
        if self.ended {
            return Ok(None);
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        if !rest.is_empty() && !std::mem::replace(&mut self.in_line, true) {
            self.number += 1;
        }
        let bare = |number, error| Box::new(Fault { error, number: Some(number), line: None, column: None });
        let step = self.lines.step(rest, self.closed).map_err(|error| bare(self.number, error))?;
        let (length, used) = match step {
            Step::Wait if rest.len() > self.row_bytes_max => {
                return Err(bare(self.number, too_large(self.row_bytes_max)));
            }
            Step::Wait => return Ok(None),
            Step::Line { length, used, inside } => {
                self.number += inside;
                (length, used)
            }
            Step::End { length } => {
                self.ended = true;
                self.in_line = false;
                if length == 0 {
                    return Ok(None);
                }
                (length, rest.len())
            }
        };
        self.in_line = false;
        let (from, to) = (self.at, self.at + length);
        self.at += used;
        utf8::text(self.buffer.get(from..to).unwrap_or_default()).map_err(|error| bare(self.number, error))?;
        Ok(Some((from, to)))
    }

    fn check_header(&self) -> Result<()> {
        let bad = |text| Err(Error::new(Kind::BadCopyFormat, text));
        let (given, expected) = (self.fields.len(), self.names.len());
        if given != expected {
            return bad(format!("wrong number of fields in header line: got {given}, expected {expected}"));
        }
        let null = match &self.layout {
            Layout::Text(marks) => &marks.null,
            Layout::Csv(csv) => &csv.marks.null,
            Layout::Binary => return Ok(()),
        };
        for (i, name) in self.names.iter().enumerate() {
            let got = match self.fields.get(i) {
                Some(text) if text == name.as_bytes() => continue,
                Some(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
                None => format!("null value (\"{null}\")"),
            };
            return bad(format!("column name mismatch in header line field {}: got {got}, expected \"{name}\"", i + 1));
        }
        Ok(())
    }
}

fn too_large(max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("a row of COPY is larger than {max} bytes"))
}

#[cfg(test)]
mod tests;
