//! A text cut into fields by what they look like (ParseDateTime), and what can be wrong with them. What a field means is
//! decided by `decode` and by interval input.

use crate::error::{Error, Kind};

/// More fields than any text needs.
const FIELDS_MAX: usize = 25;

/// What a field looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Look {
    /// Digits, perhaps with a point.
    Number,
    /// Digits with marks between, or a zone's name with marks.
    Date,
    /// Digits and colons.
    Time,
    /// Letters.
    Word,
    /// A sign and letters.
    SignedWord,
    /// A sign and digits with `:`, `.` and `-` between.
    Signed,
}

/// Letters are in lower case.
#[derive(Clone, Debug)]
pub(in super::super) struct Field {
    pub(in super::super) look: Look,
    pub(in super::super) text: String,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    Format,
    Overflow,
    /// A month or day that another order of fields might mend.
    MonthDay,
    Displacement,
    UnknownZone(String),
}

impl Fault {
    /// `name` is the type's as input functions say it.
    pub(in super::super) fn error(self, text: &str, name: &str) -> Error {
        let overflow = || {
            let interval = name == "interval";
            let (kind, what) =
                if interval { (Kind::IntervalRange, "interval") } else { (Kind::DateRange, "date/time") };
            Error::new(kind, format!("{what} field value out of range: \"{text}\""))
        };
        match self {
            Fault::Format => Error::new(Kind::InvalidDate, format!("invalid input syntax for type {name}: \"{text}\"")),
            Fault::Overflow => overflow(),
            Fault::MonthDay => overflow().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Fault::Displacement => {
                Error::new(Kind::ZoneRange, format!("time zone displacement out of range: \"{text}\""))
            }
            Fault::UnknownZone(zone) => {
                Error::new(Kind::InvalidParameter, format!("time zone \"{zone}\" not recognized"))
            }
        }
    }
}

/// `length_max`: of all fields together, one more for each.
pub(in super::super) fn split(text: &str, length_max: usize) -> Result<Vec<Field>, Fault> {
    let mut rest = text;
    let mut fields = vec![];
    let mut length = 0;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.bytes().next() else { return Ok(fields) };
        if fields.len() >= FIELDS_MAX {
            return Err(Fault::Format);
        }
        let field = match first {
            b'0'..=b'9' => digits_first(&mut rest),
            b'.' => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
                Field { look: Look::Number, text: cut(&mut rest, digits).to_owned() }
            }
            b'a'..=b'z' | b'A'..=b'Z' => letters_first(&mut rest),
            b'+' | b'-' => sign_first(&mut rest)?,
            _ if first.is_ascii_punctuation() => {
                rest = &rest[1..];
                continue;
            }
            _ => return Err(Fault::Format),
        };
        length += field.text.len() + 1;
        if length > length_max {
            return Err(Fault::Format);
        }
        fields.push(field);
    }
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

fn cut<'a>(rest: &mut &'a str, at: usize) -> &'a str {
    let (taken, behind) = rest.split_at(at);
    *rest = behind;
    taken
}

fn take<'a>(rest: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    cut(rest, end)
}

/// A date, a time or a number; a month's name may stand inside a date.
fn digits_first(rest: &mut &str) -> Field {
    let mut text = take(rest, |c| c.is_ascii_digit()).to_owned();
    let digit = |c: char| c.is_ascii_digit();
    let look = match rest.chars().next() {
        Some(':') => {
            text.push_str(take(rest, |c| digit(c) || matches!(c, ':' | '.')));
            Look::Time
        }
        Some(mark @ ('-' | '/' | '.')) => {
            text.push_str(cut(rest, 1));
            if rest.starts_with(digit) {
                text.push_str(take(rest, digit));
                if rest.starts_with(mark) {
                    text.push_str(take(rest, |c| digit(c) || c == mark));
                    Look::Date
                } else if mark == '.' {
                    Look::Number
                } else {
                    Look::Date
                }
            } else {
                text.push_str(&take(rest, |c| c.is_ascii_alphanumeric() || c == mark).to_ascii_lowercase());
                Look::Date
            }
        }
        _ => Look::Number,
    };
    Field { look, text }
}

/// A word, or a date or zone with marks or digits behind it; a known word ends before `+` and digits.
fn letters_first(rest: &mut &str) -> Field {
    let mut text = take(rest, |c| c.is_ascii_alphabetic()).to_ascii_lowercase();
    let goes_on = match rest.chars().next() {
        Some('-' | '/' | '.') => true,
        Some(c) if c == '+' || c.is_ascii_digit() => super::super::words::word(&text).is_none(),
        _ => false,
    };
    if !goes_on {
        return Field { look: Look::Word, text };
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '/' | '_' | '.' | ':');
    text.push_str(&take(rest, inside).to_ascii_lowercase());
    Field { look: Look::Date, text }
}

fn sign_first(rest: &mut &str) -> Result<Field, Fault> {
    let mut text = cut(rest, 1).to_owned();
    *rest = rest.trim_start_matches(is_space);
    match rest.chars().next() {
        Some(c) if c.is_ascii_digit() => {
            text.push_str(take(rest, |c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-')));
            Ok(Field { look: Look::Signed, text })
        }
        Some(c) if c.is_ascii_alphabetic() => {
            text.push_str(&take(rest, |c| c.is_ascii_alphabetic()).to_ascii_lowercase());
            Ok(Field { look: Look::SignedWord, text })
        }
        _ => Err(Fault::Format),
    }
}
