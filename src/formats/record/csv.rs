//! Records that are one line of CSV each (RFC 4180), its fields in the order of the columns and spelt as PostgreSQL's input
//! functions read them. It knows no header: a topic has no first line.

use super::given::{Given, Problem};
use super::out::{Happened, Out};
use super::rows::{Miss, of};
use super::sink::PLAIN;
use super::{Declared, Record};
use crate::formats::change::Op;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Csv {
    /// One ASCII character between fields.
    pub delimiter: char,
    pub quote: char,
    /// A field without quotes that is NULL.
    pub null: String,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: ',', quote: '"', null: String::new() }
    }
}

/// The fields of one line, NULLs told from texts; `None` where it is none.
pub fn csv_fields(line: &str, csv: &Csv) -> Option<Vec<Option<String>>> {
    let byte = |character: char| u8::try_from(character).ok().filter(u8::is_ascii);
    let mut read = Line { delimiter: byte(csv.delimiter)?, quote: byte(csv.quote)?, fields: vec![] };
    read.read(line).ok()?;
    Some(read.fields.into_iter().map(|(quoted, field)| (quoted || field != csv.null).then_some(field)).collect())
}

const NO_LINE: Problem = "is not one line of CSV";

pub(super) fn decode(declared: &Declared, records: &[Record<'_>], out: &mut Out<'_>) {
    let csv = &declared.declaration.csv;
    let byte = |character: char| u8::try_from(character).ok().filter(u8::is_ascii);
    let (delimiter, quote) = (byte(csv.delimiter).unwrap_or(b','), byte(csv.quote).unwrap_or(b'"'));
    let mut line = Line { delimiter, quote, fields: vec![] };
    for (index, record) in records.iter().enumerate() {
        let outcome = row(&mut line, declared, record, out);
        out.take(index, record.at_ms, outcome);
    }
}

fn row(line: &mut Line, declared: &Declared, record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
    let Some(value) = record.value else {
        if let ([column], Some(key)) = (declared.declaration.key.as_slice(), record.key)
            && let Some(sink) = out.rows.sink(*column)
        {
            let text = std::str::from_utf8(key).map_err(|_| "is not valid UTF-8")?;
            sink.push(Given::Spelt(text), &PLAIN).map_err(of(*column))?;
        }
        return Ok(Some(Happened::of(Op::Delete)));
    };
    let text = std::str::from_utf8(value).map_err(|_| "is not valid UTF-8")?;
    line.read(text)?;
    let columns = declared.declaration.columns.len();
    if line.fields.len() > columns {
        return Err("has more fields than there are columns".into());
    }
    for (column, declared_column) in declared.declaration.columns.iter().enumerate() {
        let Some((quoted, field)) = line.fields.get(column) else {
            match declared_column.optional {
                true => continue,
                false => return Err(of(column)("is missing")),
            }
        };
        let null = !quoted && *field == declared.declaration.csv.null;
        if let Some(sink) = out.rows.sink(column) {
            let given = if null { Given::Null } else { Given::Spelt(field) };
            sink.push(given, &PLAIN).map_err(of(column))?;
        }
    }
    Ok(Some(Happened::of(Op::Insert)))
}

/// The fields of one record, and whether each stood in quotes.
struct Line {
    delimiter: u8,
    quote: u8,
    fields: Vec<(bool, String)>,
}

impl Line {
    /// Whether a field stood in quotes tells an empty text from NULL, which the csv crate's reader does not keep; the rest
    /// of RFC 4180 is a few lines.
    fn read(&mut self, text: &str) -> Result<(), Problem> {
        self.fields.clear();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let (delimiter, quote) = (char::from(self.delimiter), char::from(self.quote));
        let mut rest = text;
        loop {
            let mut field = String::new();
            let quoted = rest.starts_with(quote);
            if quoted {
                rest = rest.get(1..).unwrap_or_default();
                loop {
                    let end = rest.find(quote).ok_or(NO_LINE)?;
                    field.push_str(rest.get(..end).unwrap_or_default());
                    rest = rest.get(end + 1..).unwrap_or_default();
                    match rest.strip_prefix(quote) {
                        Some(after) => {
                            field.push(quote);
                            rest = after;
                        }
                        None => break,
                    }
                }
                if !rest.is_empty() && !rest.starts_with(delimiter) {
                    return Err(NO_LINE);
                }
            } else {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                let plain = rest.get(..end).unwrap_or_default();
                if plain.contains(['\n', '\r', quote]) {
                    return Err(NO_LINE);
                }
                field.push_str(plain);
                rest = rest.get(end..).unwrap_or_default();
            }
            self.fields.push((quoted, field));
            match rest.strip_prefix(delimiter) {
                Some(after) => rest = after,
                None => return Ok(()),
            }
        }
    }
}
