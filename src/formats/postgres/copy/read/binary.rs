//! The rows of a binary copy: a header, then each row as a count and as many fields behind their lengths.

use super::super::{ROW_BYTES_MAX, SIGNATURE, int16, int32};
use super::{Fault, Reader, too_large};
use crate::error::{Error, Kind, Result};

/// Bits of the flags that a reader has to know, and the one that older servers set.
const CRITICAL: i32 = !0xffff;
const WITH_OIDS: i32 = 1 << 16;

impl Reader {
    /// Reads a row into `fields`; `false` where more bytes are needed, or at the end.
    pub(super) fn next_binary(&mut self) -> Result<bool, Box<Fault>> {
        if !self.begun {
            let placeless = |error| Box::new(Fault { error, number: None, line: None, column: None });
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let Some(used) = header(rest, self.closed).map_err(placeless)? else { return Ok(false) };
            self.at += used;
            self.begun = true;
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let number = self.number + 1;
        let fault = |error, column| Box::new(Fault { error, number: Some(number), line: None, column });
        if self.ended {
            let late = || bad("received copy data after EOF marker");
            return if rest.is_empty() { Ok(false) } else { Err(fault(late(), None)) };
        }
        let columns = self.names.len();
        match fields(rest, columns, self.closed).map_err(|(error, column)| fault(error, column))? {
            Found::Wait if rest.len() > self.row_bytes_max => Err(fault(too_large(self.row_bytes_max), None)),
            Found::Wait => Ok(false),
            Found::End { used } => {
                self.at += used;
                self.ended = true;
                // what else lies here already is too much
                self.next_binary()
            }
            Found::Row { used } => {
                self.fields.clear();
                let mut at = 2;
                for _ in 0..columns {
                    let length = int32(rest, at).unwrap_or(-1);
                    at += 4;
                    let value = usize::try_from(length).ok().and_then(|length| rest.get(at..at + length));
                    at += value.map_or(0, <[u8]>::len);
                    self.fields.push(value);
                }
                self.number = number;
                self.at += used;
                Ok(true)
            }
        }
    }
}

enum Found {
    Wait,
    /// The trailer, or an end without one, which PostgreSQL takes too.
    End {
        used: usize,
    },
    Row {
        used: usize,
    },
}

/// Whether a row lies there whole.
fn fields(rest: &[u8], columns: usize, closed: bool) -> Result<Found, (Error, Option<usize>)> {
    let cut = |column| match closed {
        true => Err((bad("unexpected EOF in COPY data"), column)),
        false => Ok(Found::Wait),
    };
    let Some(count) = int16(rest, 0) else {
        return Ok(if closed { Found::End { used: rest.len() } } else { Found::Wait });
    };
    if count == -1 {
        return Ok(Found::End { used: 2 });
    }
    if usize::try_from(count).ok() != Some(columns) {
        return Err((bad(format!("row field count is {count}, expected {columns}")), None));
    }
    let mut at = 2;
    for column in 0..columns {
        let Some(length) = int32(rest, at) else { return cut(Some(column)) };
        at += 4;
        match usize::try_from(length) {
            Ok(length) if length <= ROW_BYTES_MAX => at += length,
            Err(_) if length == -1 => {}
            _ => return Err((bad("invalid field size"), Some(column))),
        }
        if at > rest.len() {
            return cut(Some(column));
        }
    }
    Ok(Found::Row { used: at })
}

/// Bytes of the header, `None` while it is not here whole.
fn header(bytes: &[u8], closed: bool) -> Result<Option<usize>> {
    let missing = |what| if closed { Err(bad(what)) } else { Ok(None) };
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) || (closed && seen < SIGNATURE.len()) {
        return Err(bad("COPY file signature not recognized"));
    }
    let Some(flags) = int32(bytes, SIGNATURE.len()) else {
        return missing("invalid COPY file header (missing flags)");
    };
    if flags & WITH_OIDS != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let Some(extension) = int32(bytes, SIGNATURE.len() + 4) else {
        return missing("invalid COPY file header (missing length)");
    };
    let wrong = || bad("invalid COPY file header (wrong length)");
    let extension = usize::try_from(extension).ok().filter(|length| *length <= ROW_BYTES_MAX).ok_or_else(wrong)?;
    let whole = SIGNATURE.len() + 8 + extension;
    match bytes.len() >= whole {
        true => Ok(Some(whole)),
        false if closed => Err(wrong()),
        false => Ok(None),
    }
}

fn bad(text: impl Into<String>) -> Error {
    Error::new(Kind::BadCopyFormat, text)
}
