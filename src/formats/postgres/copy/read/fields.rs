//! The fields of a line, without what made them safe to stand there (`CopyReadAttributesText`, `CopyReadAttributesCSV`).

use super::super::layout::{Csv, Layout, Marks};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::utf8;

/// More than any table has columns: what stands behind so many is not looked at.
const FIELDS_MAX: usize = 1 << 16;

/// Of one row, one behind another.
#[derive(Debug, Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    /// Where each ends, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// `None` for NULL.
    pub(super) fn get(&self, i: usize) -> Option<&[u8]> {
        let (end, null) = *self.ends.get(i)?;
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(end, _)| *end);
        if null { None } else { self.bytes.get(start..end) }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((self.bytes.len(), value.is_none()));
    }

    pub(super) fn split(&mut self, line: &[u8], layout: &Layout) -> Result<()> {
        self.clear();
        match layout {
            Layout::Text(marks) => self.split_text(line, marks),
            Layout::Csv(csv) => self.split_csv(line, csv),
            Layout::Binary => Err(Error::internal("a line of a binary copy")),
        }
    }

    fn end(&mut self, start: usize, is_null: bool) {
        if is_null {
            self.bytes.truncate(start);
        }
        self.ends.push((self.bytes.len(), is_null));
    }

    fn split_text(&mut self, mut rest: &[u8], marks: &Marks) -> Result<()> {
        loop {
            let (field, start) = (rest, self.bytes.len());
            let mut escaped = false;
            let (raw, more) = loop {
                let Some((&byte, after)) = rest.split_first() else { break (field, false) };
                if byte == marks.delimiter {
                    let raw = field.get(..field.len() - rest.len()).unwrap_or_default();
                    rest = after;
                    break (raw, true);
                }
                rest = after;
                if byte == b'\\' {
                    let Some((&byte, after)) = rest.split_first() else { continue };
                    rest = self.unescape(byte, after, &mut escaped);
                } else {
                    self.bytes.push(byte);
                }
            };
            let is_null = raw == marks.null.as_bytes();
            if escaped && !is_null {
                utf8::text(self.bytes.get(start..).unwrap_or_default())?;
            }
            self.end(start, is_null);
            if !more || self.ends.len() >= FIELDS_MAX {
                return Ok(());
            }
        }
    }

    /// What stands behind a backslash; `numbered` where it was a byte by its number, which may be no character.
    fn unescape<'a>(&mut self, byte: u8, after: &'a [u8], numbered: &mut bool) -> &'a [u8] {
        let digits = |radix: u32, max: usize, from: &'a [u8]| {
            let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
            let count = from.iter().take(max).take_while(is_digit).count();
            let value = from
                .iter()
                .take(count)
                .fold(0u32, |value, byte| value * radix + char::from(*byte).to_digit(radix).unwrap_or_default());
            // as PostgreSQL, which keeps the lower eight bits of three octal digits
            (count, (value & 0xff) as u8)
        };
        match byte {
            b'0'..=b'7' => {
                let (more, value) = digits(8, 2, after);
                let first = u32::from(byte - b'0') * 8u32.pow(u32::try_from(more).unwrap_or_default());
                self.bytes.push(((first + u32::from(value)) & 0xff) as u8);
                *numbered = true;
                after.get(more..).unwrap_or_default()
            }
            b'x' => {
                let (count, value) = digits(16, 2, after);
                self.bytes.push(if count == 0 { b'x' } else { value });
                *numbered |= count > 0;
                after.get(count..).unwrap_or_default()
            }
            byte => {
                self.bytes.push(match byte {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 0x0b,
                    itself => itself,
                });
                after
            }
        }
    }

    fn split_csv(&mut self, mut rest: &[u8], csv: &Csv) -> Result<()> {
        let marks = &csv.marks;
        loop {
            let (start, field, mut quoted) = (self.bytes.len(), rest, false);
            let (raw, more) = loop {
                let Some((&byte, after)) = rest.split_first() else { break (field, false) };
                if byte == marks.delimiter {
                    let raw = field.get(..field.len() - rest.len()).unwrap_or_default();
                    rest = after;
                    break (raw, true);
                }
                rest = after;
                if byte == csv.quote {
                    quoted = true;
                    rest = self.unquote(rest, csv)?;
                } else {
                    self.bytes.push(byte);
                }
            };
            let i = self.ends.len();
            let forced = |columns: &[bool]| columns.get(i).copied().unwrap_or(false);
            let mut is_null = !quoted && raw == marks.null.as_bytes();
            if is_null && forced(&csv.force_not_null) {
                is_null = false;
            } else if !is_null && forced(&csv.force_null) {
                is_null = self.bytes.get(start..) == Some(marks.null.as_bytes());
            }
            self.end(start, is_null);
            if !more || self.ends.len() >= FIELDS_MAX {
                return Ok(());
            }
        }
    }

    /// From behind a quote to behind the one that ends it.
    fn unquote<'a>(&mut self, mut rest: &'a [u8], csv: &Csv) -> Result<&'a [u8]> {
        loop {
            let Some((&byte, after)) = rest.split_first() else {
                return Err(Error::new(Kind::BadCopyFormat, "unterminated CSV quoted field"));
            };
            rest = after;
            match after.split_first() {
                Some((&next, behind)) if byte == csv.escape && (next == csv.escape || next == csv.quote) => {
                    self.bytes.push(next);
                    rest = behind;
                }
                _ if byte == csv.quote => return Ok(rest),
                _ => self.bytes.push(byte),
            }
        }
    }
}
