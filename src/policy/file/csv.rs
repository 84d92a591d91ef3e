//! policy.csv → records whose fields know where they stand. It knows no line kind and no name.
//!
//! The `csv` crate reads the fields; the scan before it finds where each begins, takes the blanks before a quote away
//! (the crate opens a quote only at a field's first byte) and refuses what the crate would read some way or other: a
//! quote that never ends, text behind a closing quote, tabs, control and invisible characters.

use super::{Faults, SourceFile, code_point, object};

/// One field: its text as RFC 4180 reads it, and where it stands.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Field {
    pub text: String,
    pub line: u32,
    /// Of the first character, the opening quote included.
    pub column: u32,
    quoted: bool,
}

impl Field {
    /// The file's column of the `at`-th character of `text`.
    pub(in crate::policy) fn column_of(&self, at: usize) -> u32 {
        let doubled = if self.quoted { 1 + self.text.chars().take(at).filter(|c| *c == '"').count() } else { 0 };
        self.column.saturating_add(u32::try_from(at + doubled).unwrap_or(u32::MAX))
    }
}

/// A line that is neither blank nor a comment.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub line: u32,
    pub fields: Vec<Field>,
    /// Column behind the last character: where a missing field belongs.
    pub end: u32,
    pub last_comma: u32,
}

/// Every record that could be read; what could not is a fault.
pub(super) fn records(source: &SourceFile, faults: &mut Faults) -> Vec<Record> {
    let mut scanned = vec![];
    let mut plain = String::new();
    for (line, text) in lines(source, faults) {
        let chars: Vec<char> = text.chars().collect();
        let first = chars.iter().position(|c| *c != ' ');
        if first.is_none_or(|i| chars.get(i) == Some(&'#')) {
            continue;
        }
        match scan(&chars) {
            Ok(spans) => {
                let raw = |s: &Span| chars.get(s.start..s.end).unwrap_or_default().iter().collect::<String>();
                plain.push_str(&spans.iter().map(raw).collect::<Vec<_>>().join(","));
                plain.push('\n');
                scanned.push((line, chars, spans));
            }
            Err((at, what)) => faults.push(&source.name, line, column(at), what),
        }
    }
    read(&source.name, &plain, scanned, faults)
}

/// Numbered lines as text, line ends taken off; a line that is not UTF-8 is a fault.
pub(super) fn lines<'a>(source: &'a SourceFile, faults: &mut Faults) -> Vec<(u32, &'a str)> {
    let bytes = source.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&source.bytes);
    let mut found = vec![];
    for (line, bytes) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => found.push((line, text)),
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                let at = String::from_utf8_lossy(good).chars().count();
                let byte = bad.first().copied().unwrap_or_default();
                let what = format!("byte 0x{byte:02X} is not UTF-8; save the file as UTF-8");
                faults.push(&source.name, line, column(at), what);
            }
        }
    }
    found
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
}

type Misread = (usize, String);

/// Where each field of a line begins and ends, blanks around it left out, quotes kept.
fn scan(chars: &[char]) -> Result<Vec<Span>, Misread> {
    let mut spans = vec![];
    let mut at = 0;
    loop {
        at = skip_blanks(chars, at);
        let span = if chars.get(at) == Some(&'"') { quoted(chars, at)? } else { unquoted(chars, at)? };
        at = skip_blanks(chars, span.end);
        spans.push(span);
        match chars.get(at) {
            None => return Ok(spans),
            Some(',') => at += 1,
            Some(_) => return Err((at, behind_quote(chars, span))),
        }
    }
}

fn skip_blanks(chars: &[char], from: usize) -> usize {
    let rest = chars.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|c| **c == ' ').count()
}

fn quoted(chars: &[char], start: usize) -> Result<Span, Misread> {
    let mut at = start + 1;
    loop {
        match chars.get(at) {
            None => return Err((start, "this quote is not closed on its line".into())),
            Some('"') if chars.get(at + 1) == Some(&'"') => at += 2,
            Some('"') => return Ok(Span { start, end: at + 1, quoted: true }),
            Some('\t') => at += 1,
            Some(c) => {
                refuse_invisible(*c, at)?;
                at += 1;
            }
        }
    }
}

fn unquoted(chars: &[char], start: usize) -> Result<Span, Misread> {
    let mut end = start;
    let mut at = start;
    while let Some(c) = chars.get(at).filter(|c| **c != ',') {
        match c {
            '\t' => return Err((at, "U+0009 (tab) does not separate fields; separate them by commas".into())),
            '#' => return Err((at, "a comment takes a whole line; move this one to a line above".into())),
            c => refuse_invisible(*c, at)?,
        }
        if c.is_whitespace() && *c != ' ' {
            return Err((at, format!("{} is a blank of another kind; use a plain blank", code_point(*c))));
        }
        at += 1;
        if *c != ' ' {
            end = at;
        }
    }
    Ok(Span { start, end, quoted: false })
}

fn refuse_invisible(c: char, at: usize) -> Result<(), Misread> {
    match object::is_invisible(c) {
        true => Err((at, format!("{} cannot be seen; delete it", code_point(c)))),
        false => Ok(()),
    }
}

fn behind_quote(chars: &[char], span: Span) -> String {
    let whole: String = chars.get(span.start..).unwrap_or_default().iter().take_while(|c| **c != ',').collect();
    let whole = whole.trim_end();
    format!(
        "text behind a closing quote; a field that contains quotes is quoted as a whole: `\"{}\"`",
        whole.replace('"', "\"\"")
    )
}

/// The crate's reading of the fields that the scan found; both must agree on how many there are.
fn read(name: &str, plain: &str, scanned: Vec<(u32, Vec<char>, Vec<Span>)>, faults: &mut Faults) -> Vec<Record> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(plain.as_bytes());
    let mut read = reader.records();
    let mut records = vec![];
    for (line, chars, spans) in scanned {
        let texts = match read.next() {
            Some(Ok(texts)) if texts.len() == spans.len() => texts,
            _ => {
                faults.push(name, line, 1, "this line cannot be read as comma-separated fields".into());
                break;
            }
        };
        let fields = texts.iter().zip(&spans).map(|(text, span)| Field {
            text: text.to_owned(),
            line,
            column: column(span.start),
            quoted: span.quoted,
        });
        let last_comma = chars.iter().rposition(|c| *c == ',').unwrap_or_default();
        let used = chars.iter().rposition(|c| *c != ' ').map_or(0, |i| i + 1);
        records.push(Record { line, fields: fields.collect(), end: column(used), last_comma: column(last_comma) });
    }
    records
}

fn column(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX - 1) + 1
}
