//! The object language: `schema.table`, `…/column`, `…$meta`, `tag:name`, `source:name`, `lakegate.admin`, `*` for one whole
//! segment.
//! It knows what is well written, not what exists.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::code_point;
use crate::types::Identifier;

/// A mistake inside a field: characters counted from 0, and what to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Mistake {
    pub at: usize,
    pub text: String,
}

impl Mistake {
    pub(in crate::policy) fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Target {
    /// `lakegate.admin`
    Admin,
    Tag(String),
    /// A source itself, by its file's name. No `*` covers one.
    Source(String),
    Tables(Pattern),
}

impl Target {
    pub(in crate::policy) fn source(&self) -> Option<&String> {
        match self {
            Target::Source(name) => Some(name),
            Target::Admin | Target::Tag(_) | Target::Tables(_) => None,
        }
    }
}

/// Tables, or one column of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Pattern {
    pub schema: Segment,
    /// With its `$meta`, if it has one.
    pub table: Segment,
    pub column: Option<Segment>,
    /// Where the column begins in the field, for faults.
    pub column_at: usize,
}

impl Pattern {
    /// Schema and table where neither is a `*`.
    pub(in crate::policy) fn exact_table(&self) -> Option<(&str, &str)> {
        match (&self.schema, &self.table) {
            (Segment::Exact(schema), Segment::Exact(table)) => Some((schema, table)),
            (Segment::Any, _) | (_, Segment::Any) => None,
        }
    }
}

/// One segment of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Segment {
    /// `*`: whatever stands there, as a whole.
    Any,
    Exact(String),
}

impl Segment {
    pub(in crate::policy) fn matches(&self, name: &str) -> bool {
        match self {
            Segment::Any => true,
            Segment::Exact(exact) => exact == name,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Any => f.write_str("*"),
            Segment::Exact(name) => write!(f, "{}", Identifier(name)),
        }
    }
}

/// What stands before the name of a source.
pub(in crate::policy) const SOURCE: &str = "source:";

/// The canonical text: equal for equal targets, readable by [`parse`].
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Admin => f.write_str("lakegate.admin"),
            Target::Tag(name) => write!(f, "tag:{name}"),
            Target::Source(name) => write!(f, "{SOURCE}{name}"),
            Target::Tables(pattern) => {
                write!(f, "{}.{}", pattern.schema, pattern.table)?;
                match &pattern.column {
                    Some(column) => write!(f, "/{column}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Reads a whole object.
pub(in crate::policy) fn parse(text: &str) -> Result<Target, Mistake> {
    if text == "lakegate.admin" {
        return Ok(Target::Admin);
    }
    if let Some(name) = text.strip_prefix("tag:") {
        return tag(name).map(Target::Tag);
    }
    if let Some(name) = text.strip_prefix(SOURCE) {
        check_word(name, SOURCE.len(), |c| c.is_alphanumeric() || matches!(c, '_' | '-'))?;
        return Ok(Target::Source(nfc(name)));
    }
    let mut reader = Reader { chars: text.chars().collect(), at: 0, begun: 0 };
    let schema = reader.segment()?;
    let table = match (reader.peek(), &schema) {
        (Some('.'), _) => {
            reader.at += 1;
            reader.table()?
        }
        // a lone `*` is every table
        (None | Some('/'), Segment::Any) => Segment::Any,
        (_, Segment::Any) => return Err(reader.unexpected()),
        (_, Segment::Exact(name)) => return Err(reader.one_segment(name)),
    };
    let (column, column_at) = match reader.peek() {
        None => (None, 0),
        Some('/') => {
            reader.at += 1;
            (Some(reader.segment()?), reader.begun)
        }
        Some('.') => {
            let what =
                "a third segment; a table is `schema.table` without the database, a column `schema.table/column`";
            return Err(Mistake::new(reader.at, what));
        }
        Some(_) => return Err(reader.unexpected()),
    };
    match reader.peek() {
        None => Ok(Target::Tables(Pattern { schema, table, column, column_at })),
        Some(_) => Err(reader.unexpected()),
    }
}

/// Reads a column, which stands alone in a `p3` line.
pub(in crate::policy) fn parse_column(text: &str) -> Result<Segment, Mistake> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, begun: 0 };
    let segment = reader.segment()?;
    match reader.peek() {
        None => Ok(segment),
        Some(_) => Err(reader.unexpected()),
    }
}

/// A user or role: letters of any case, digits, `_ - . @ +`.
pub(in crate::policy) fn parse_subject(text: &str) -> Result<(), Mistake> {
    if text == "*" {
        return Err(Mistake::new(0, "`*` stands for objects only; name a user or a role"));
    }
    check_word(text, 0, |c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '+'))
}

/// NFC: one spelling for what looks the same.
pub(in crate::policy) fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// Neither ink nor room, or control: it would make two names of one.
pub(in crate::policy) fn is_invisible(c: char) -> bool {
    let hidden = matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}');
    hidden || (c.is_control() && c != '\t')
}

fn tag(name: &str) -> Result<String, Mistake> {
    const PREFIX: usize = "tag:".len();
    if let Some(at) = name.chars().position(char::is_uppercase) {
        return Err(Mistake::new(
            PREFIX + at,
            format!("a tag is lower case; did you mean `tag:{}`?", name.to_lowercase()),
        ));
    }
    check_word(name, PREFIX, |c| c.is_alphanumeric() || matches!(c, '_' | '-'))?;
    Ok(nfc(name))
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    /// Where the last segment began.
    begun: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn segment(&mut self) -> Result<Segment, Mistake> {
        self.begun = self.at;
        match self.peek() {
            None => Err(Mistake::new(self.at, "a name is missing here")),
            Some('"') => self.quoted().map(Segment::Exact),
            Some('*') => self.star(),
            Some(_) => self.word().map(Segment::Exact),
        }
    }

    /// A table, and `$meta` behind it.
    fn table(&mut self) -> Result<Segment, Mistake> {
        let table = self.segment()?;
        match (self.peek(), table) {
            (Some('$'), Segment::Exact(name)) => {
                self.at += 1;
                let meta = self.word()?;
                Ok(Segment::Exact(format!("{name}${meta}")))
            }
            (_, table) => Ok(table),
        }
    }

    fn star(&mut self) -> Result<Segment, Mistake> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            None | Some('.' | '/') => Ok(Segment::Any),
            Some(_) => Err(partial_wildcard(start)),
        }
    }

    fn word(&mut self) -> Result<String, Mistake> {
        let start = self.at;
        while let Some(c) = self.peek().filter(|c| !matches!(c, '.' | '/' | '$')) {
            match c {
                '*' => return Err(partial_wildcard(self.at)),
                '"' => return Err(Mistake::new(self.at, "a quote inside a name; quote the whole segment")),
                _ => self.at += 1,
            }
        }
        let word: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        if let Some(i) = word.chars().position(char::is_uppercase) {
            let what = format!(
                "names are lower case; did you mean `{}`? A name with capitals is written in double quotes",
                word.to_lowercase()
            );
            return Err(Mistake::new(start + i, what));
        }
        check_word(&word, start, |c| c.is_alphanumeric() || matches!(c, '_' | '-'))?;
        Ok(nfc(&word))
    }

    fn quoted(&mut self) -> Result<String, Mistake> {
        let start = self.at;
        let mut name = String::new();
        loop {
            self.at += 1;
            match self.peek() {
                None => return Err(Mistake::new(start, "this quote is not closed")),
                Some('"') if self.chars.get(self.at + 1) == Some(&'"') => {
                    self.at += 1;
                    name.push('"');
                }
                Some('"') => break,
                Some(c) if is_invisible(c) || (c.is_whitespace() && c != ' ') => {
                    return Err(Mistake::new(self.at, format!("{} in a name", code_point(c))));
                }
                Some(c) => name.push(c),
            }
        }
        self.at += 1;
        match name.is_empty() {
            true => Err(Mistake::new(start, "a name is empty")),
            false => Ok(nfc(&name)),
        }
    }

    fn unexpected(&self) -> Mistake {
        let found = self.peek().map_or("the end".into(), |c| format!("`{c}`"));
        Mistake::new(
            self.at,
            format!("{found} does not belong here; an object is `schema.table` or `schema.table/column`"),
        )
    }

    fn one_segment(&self, name: &str) -> Mistake {
        Mistake::new(
            self.at,
            format!(
                "a table is `schema.table`, found one segment; every table of a schema is `{}.*`",
                Identifier(name)
            ),
        )
    }
}

fn partial_wildcard(at: usize) -> Mistake {
    Mistake::new(at, "`*` stands for one whole segment, not for a part of one")
}

/// Characters that make a name: `allowed`, nothing that cannot be seen, nothing that looks like something else.
fn check_word(word: &str, offset: usize, allowed: impl Fn(char) -> bool) -> Result<(), Mistake> {
    if word.is_empty() {
        return Err(Mistake::new(offset, "a name is missing here"));
    }
    let composed = nfc(word);
    let place = |c: char| offset + word.chars().position(|x| x == c).unwrap_or_default();
    if let Some(c) = composed.chars().find(|c| !allowed(*c)) {
        let shown = if c.is_ascii_graphic() { format!("`{c}`") } else { code_point(c) };
        return Err(Mistake::new(place(c), format!("{shown} in a name; only a name in double quotes may hold it")));
    }
    match look_alike(&composed) {
        Some(c) => Err(Mistake::new(place(c), format!("{} (`{c}`) looks like another letter", code_point(c)))),
        None => Ok(()),
    }
}

/// Cyrillic and Greek letters drawn as Latin ones.
const DRAWN_AS_LATIN: &str = "асеорхуіїѕјһԁԛԝӏвкмнтгпαβγεηικνορτυχωϲϳ";

/// The first character that is not what it seems: a compatibility form, a foreign letter among Latin ones, or a word
/// made of nothing but foreign letters drawn as Latin ones.
fn look_alike(word: &str) -> Option<char> {
    let compatible = |c: char| std::iter::once(c).nfkc().eq(std::iter::once(c));
    if let Some(c) = word.chars().find(|c| !c.is_ascii() && !compatible(*c)) {
        return Some(c);
    }
    let letter = |c: &char| c.is_alphabetic();
    let foreign = |c: &char| c.is_alphabetic() && !is_latin(*c);
    let has_latin = word.chars().any(|c| c.is_ascii_alphabetic());
    let all_drawn = word.chars().filter(letter).all(|c| DRAWN_AS_LATIN.contains(c));
    match has_latin || all_drawn {
        true => word.chars().find(foreign),
        false => None,
    }
}

/// ASCII and the accented letters of Latin-1 and Latin Extended-A, without those that look like plain ones.
fn is_latin(c: char) -> bool {
    let accented = matches!(c, '\u{00C0}'..='\u{017F}') && !matches!(c, '×' | '÷' | 'ı' | 'ĸ' | 'ŉ' | 'ſ');
    c.is_ascii_alphabetic() || accented
}
