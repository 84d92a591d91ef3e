//! Records that are one line of CSV each (RFC 4180), its fields in the order of the columns and spelt as PostgreSQL's input
//! functions read them. It knows no header: a topic has no first line.

use std::borrow::Cow;

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

/// The fields of one line, NULLs told from texts; no more than so many.
pub fn csv_fields(line: &str, csv: &Csv, most: usize) -> Result<Vec<Option<String>>, Problem> {
    let mut read = Line::new(csv);
    read.read(line, most, most)?;
    let field = |(quoted, field): (bool, Cow<'_, str>)| (quoted || field != csv.null).then(|| field.into_owned());
    Ok(read.fields.into_iter().map(field).collect())
}

const NO_LINE: Problem = "is not one line of CSV";
pub const TOO_MANY_FIELDS: Problem = "has more fields than there are columns";

/// What is asked of each line.
struct Asked {
    /// Columns that have a sink, ascending.
    wanted: Vec<usize>,
    /// Fields from here on are counted and not kept.
    kept: usize,
}

pub(super) fn decode(declared: &Declared, records: &[Record<'_>], out: &mut Out<'_>) {
    let mut line = Line::new(&declared.declaration.csv);
    let wanted: Vec<usize> = (0..declared.declaration.columns.len()).filter(|column| out.rows.wants(*column)).collect();
    let asked = Asked { kept: wanted.last().map_or(0, |last| last + 1), wanted };
    for (index, record) in records.iter().enumerate() {
        let outcome = row(&mut line, declared, &asked, record, out);
        out.take(index, record.at_ms, outcome);
    }
}

fn row<'r>(
    line: &mut Line<'r>,
    declared: &Declared,
    asked: &Asked,
    record: &Record<'r>,
    out: &mut Out<'_>,
) -> Result<Option<Happened>, Miss> {
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
    let columns = &declared.declaration.columns;
    line.read(text, columns.len(), asked.kept)?;
    for column in &asked.wanted {
        let (Some((quoted, field)), Some(sink)) = (line.fields.get(*column), out.rows.sink(*column)) else { break };
        let null = !quoted && *field == declared.declaration.csv.null;
        let given = if null { Given::Null } else { Given::Spelt(field) };
        sink.push(given, &PLAIN).map_err(of(*column))?;
    }
    let missing = columns.iter().enumerate().skip(line.count).find(|(_, column)| !column.optional);
    match missing {
        Some((column, _)) => Err(of(column)("is missing")),
        None => Ok(Some(Happened::of(Op::Insert))),
    }
}

/// The fields of one record, and whether each stood in quotes.
struct Line<'t> {
    delimiter: u8,
    quote: u8,
    /// Borrowed unless a quote was doubled.
    fields: Vec<(bool, Cow<'t, str>)>,
    /// Of all of them.
    count: usize,
}

impl<'t> Line<'t> {
    fn new(csv: &Csv) -> Self {
        let byte = |character: char| u8::try_from(character).ok().filter(u8::is_ascii);
        let (delimiter, quote) = (byte(csv.delimiter).unwrap_or(b','), byte(csv.quote).unwrap_or(b'"'));
        Self { delimiter, quote, fields: vec![], count: 0 }
    }

    /// Whether a field stood in quotes tells an empty text from NULL, which the csv crate's reader does not keep; the rest
    /// of RFC 4180 is a few lines. Of at most `most` fields the first `kept` are kept.
    fn read(&mut self, text: &'t str, most: usize, kept: usize) -> Result<(), Problem> {
        self.fields.clear();
        self.count = 0;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let (bytes, mut at) = (text.as_bytes(), 0);
        loop {
            if self.count == most {
                return Err(TOO_MANY_FIELDS);
            }
            let is_quoted = bytes.get(at) == Some(&self.quote);
            let (end, next, doubled) = if is_quoted { self.quoted(bytes, at + 1)? } else { self.plain(bytes, at)? };
            if self.count < kept {
                // Each place is beside an ASCII byte or at an end.
                let field = text.get(at + usize::from(is_quoted)..end).unwrap_or_default();
                self.fields.push((is_quoted, if doubled { self.single(field).into() } else { field.into() }));
            }
            self.count += 1;
            match bytes.get(next) {
                Some(_) => at = next + 1,
                None => return Ok(()),
            }
        }
    }

    /// Where it ends, and where the delimiter behind it stands.
    fn plain(&self, bytes: &[u8], start: usize) -> Result<(usize, usize, bool), Problem> {
        let rest = bytes.get(start..).unwrap_or_default();
        let (delimiter, quote) = (self.delimiter, self.quote);
        let found = rest.iter().position(|byte| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r'));
        match found.map(|at| (start + at, rest.get(at))) {
            Some((end, Some(byte))) if *byte == delimiter => Ok((end, end, false)),
            Some(_) => Err(NO_LINE),
            None => Ok((bytes.len(), bytes.len(), false)),
        }
    }

    /// Behind its first quote: where the last one stands, where the delimiter behind that does, and whether one was doubled.
    fn quoted(&self, bytes: &[u8], start: usize) -> Result<(usize, usize, bool), Problem> {
        let (mut at, mut doubled) = (start, false);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = at + rest.iter().position(|byte| *byte == self.quote).ok_or(NO_LINE)?;
            match bytes.get(end + 1) {
                Some(byte) if *byte == self.quote => (at, doubled) = (end + 2, true),
                Some(byte) if *byte == self.delimiter => return Ok((end, end + 1, doubled)),
                None => return Ok((end, end + 1, doubled)),
                Some(_) => return Err(NO_LINE),
            }
        }
    }

    fn single(&self, field: &str) -> String {
        let quote = char::from(self.quote);
        field.replace(&format!("{quote}{quote}"), &quote.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str, most: usize) -> Result<Vec<Option<String>>, Problem> {
        csv_fields(line, &Csv::default(), most)
    }

    #[test]
    fn fields_are_cut_where_they_end_and_those_in_quotes_are_texts() {
        let check = |line: &str, expected: &[Option<&str>]| {
            let expected: Vec<_> = expected.iter().map(|field| field.map(str::to_owned)).collect();
            assert_eq!(fields(line, 9), Ok(expected), "{line}");
        };
        check("", &[None]);
        check("a,b", &[Some("a"), Some("b")]);
        check(",", &[None, None]);
        check("a,\r\n", &[Some("a"), None]);
        check("\"\",\"a,b\"", &[Some(""), Some("a,b")]);
        check("\"a\"\"b\"\"\",é\n", &[Some("a\"b\""), Some("é")]);
        check("\"\"\"\"\"\",\"x\ny\"", &[Some("\"\""), Some("x\ny")]);
        for bad in ["a\"b", "\"a", "\"a\"b", "\"a\"\"", "a\nb", "a\rb", "x,\"y\"z,"] {
            assert_eq!(fields(bad, 9), Err(NO_LINE), "{bad}");
        }
    }

    #[test]
    fn no_more_fields_are_read_than_there_are_columns() {
        assert_eq!(fields("1,2,3", 3).unwrap().len(), 3);
        assert_eq!(fields("1,2,3", 2), Err(TOO_MANY_FIELDS));
        // Told before the rest is looked at.
        assert_eq!(fields(&format!("1,2,3,{}\"", ",".repeat(1 << 20)), 3), Err(TOO_MANY_FIELDS));
        let mut line = Line::new(&Csv::default());
        line.read("1,\"2\"\"\",3,4", 4, 2).unwrap();
        assert_eq!((line.count, line.fields.len()), (4, 2));
        assert!(matches!(line.fields.first(), Some((false, Cow::Borrowed("1")))));
    }
}
