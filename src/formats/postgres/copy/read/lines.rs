//! Where the lines of a text or csv copy end (`CopyReadLineText`). The first line end decides what all are.

use super::super::layout::Layout;
use crate::error::{Error, Kind, Result};

#[derive(Debug)]
pub(super) struct Lines {
    /// Quote and escape of csv.
    csv: Option<(u8, u8)>,
    newline: Option<Newline>,
    /// How far into the line everything has been seen.
    seen: usize,
    in_quotes: bool,
    after_escape: bool,
    /// Line ends in quotes.
    inside: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newline {
    Lf,
    Cr,
    CrLf,
}

pub(super) enum Step {
    /// For more bytes.
    Wait,
    /// A line of so many bytes; with its end it has used more. `inside`: line ends in quotes.
    Line { length: usize, used: usize, inside: u64 },
    /// The end of the data, with so many bytes before it.
    End { length: usize },
}

impl Lines {
    pub(super) fn of(layout: &Layout) -> Self {
        let csv = match layout {
            Layout::Csv(csv) => Some((csv.quote, csv.escape)),
            Layout::Text(_) | Layout::Binary => None,
        };
        Self { csv, newline: None, seen: 0, in_quotes: false, after_escape: false, inside: 0 }
    }

    /// Goes on in `rest`, which begins with the line that is being looked at. `closed`: there is nothing behind it.
    pub(super) fn step(&mut self, rest: &[u8], closed: bool) -> Result<Step> {
        while let Some(&byte) = rest.get(self.seen) {
            let behind = rest.get(self.seen + 1..).unwrap_or_default();
            // what these mean is told by the bytes behind them
            if matches!(byte, b'\\' | b'\r') && behind.is_empty() && !closed {
                return Ok(Step::Wait);
            }
            let ends = byte == b'\\' && (self.csv.is_none() || self.seen == 0) && behind.first() == Some(&b'.');
            if ends && behind.len() < 3 && !closed && !behind.ends_with(b"\n") {
                return Ok(Step::Wait);
            }
            self.quotes(byte);
            match byte {
                b'\r' | b'\n' if !self.in_quotes => {
                    let two = self.line_end(byte, behind.first() == Some(&b'\n'))?;
                    let length = self.seen;
                    return Ok(self.line(length, length + if two { 2 } else { 1 }));
                }
                b'\\' if ends => {
                    if self.is_end_marker(behind.get(1..).unwrap_or_default())? {
                        return Ok(Step::End { length: self.seen });
                    }
                    self.seen += 1;
                }
                // the next byte means itself, a line end too
                b'\\' if self.csv.is_none() => self.seen += 2,
                _ => self.seen += 1,
            }
        }
        if !closed {
            return Ok(Step::Wait);
        }
        Ok(match rest.is_empty() {
            true => Step::End { length: 0 },
            false => self.line(rest.len(), rest.len()),
        })
    }

    fn line(&mut self, length: usize, used: usize) -> Step {
        let inside = std::mem::take(&mut self.inside);
        (self.seen, self.in_quotes, self.after_escape) = (0, false, false);
        Step::Line { length, used, inside }
    }

    /// What the byte does to the quotes around it.
    fn quotes(&mut self, byte: u8) {
        let Some((quote, escape)) = self.csv else { return };
        let escapes = byte == escape && escape != quote;
        if self.in_quotes && escapes {
            self.after_escape = !self.after_escape;
        }
        if byte == quote && !self.after_escape {
            self.in_quotes = !self.in_quotes;
        }
        if !escapes {
            self.after_escape = false;
        }
        let counted = if self.newline == Some(Newline::Lf) { b'\n' } else { b'\r' };
        if self.in_quotes && byte == counted {
            self.inside += 1;
        }
    }

    /// Whether the line end has two bytes; 22P04 where it is another one than those before.
    fn line_end(&mut self, byte: u8, line_feed_follows: bool) -> Result<bool> {
        let newline = match byte {
            b'\n' => Newline::Lf,
            _ if line_feed_follows && matches!(self.newline, None | Some(Newline::CrLf)) => Newline::CrLf,
            _ => Newline::Cr,
        };
        match self.newline {
            None => self.newline = Some(newline),
            Some(before) if before == newline => {}
            Some(_) => return Err(self.stray(byte)),
        }
        Ok(newline == Newline::CrLf)
    }

    fn stray(&self, byte: u8) -> Error {
        let (name, letter) = if byte == b'\r' { ("carriage return", "\\r") } else { ("newline", "\\n") };
        let (text, hint) = match self.csv {
            None => (format!("literal {name} found in data"), format!("Use \"{letter}\" to represent {name}.")),
            Some(_) => (format!("unquoted {name} found in data"), format!("Use quoted CSV field to represent {name}.")),
        };
        Error::new(Kind::BadCopyFormat, text).with_hint(hint)
    }

    /// What stands behind `\.` has to be a line end. In csv anything else makes a value of it.
    fn is_end_marker(&self, behind: &[u8]) -> Result<bool> {
        let corrupt = || Error::new(Kind::BadCopyFormat, "end-of-copy marker corrupt");
        let other = || Error::new(Kind::BadCopyFormat, "end-of-copy marker does not match previous newline style");
        let is_csv = self.csv.is_some();
        let last = match (self.newline, behind) {
            (Some(Newline::CrLf), [b'\n', ..]) if !is_csv => return Err(other()),
            (Some(Newline::CrLf), [b'\r', last, ..]) => *last,
            (Some(Newline::CrLf), _) => b' ',
            (_, [last, ..]) => *last,
            (_, []) => b' ',
        };
        match (self.newline, last) {
            (_, b) if b != b'\r' && b != b'\n' => {
                if is_csv {
                    Ok(false)
                } else {
                    Err(corrupt())
                }
            }
            (Some(Newline::Lf | Newline::CrLf), b'\r') | (Some(Newline::Cr), b'\n') => Err(other()),
            _ => Ok(true),
        }
    }
}
