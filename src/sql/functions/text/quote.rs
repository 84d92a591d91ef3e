//! Names and literals as SQL writes them: quote_ident, quote_literal, quote_nullable, parse_ident, unistr.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::build1;
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Arg, Call, Kernel};

/// Every word of the grammar that is not free everywhere, in order: names like these are quoted.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between",
    "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce",
    "collate", "collation", "column", "concurrently", "constraint", "create", "cross", "current_catalog",
    "current_date", "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
    "dec", "decimal", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists",
    "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant", "greatest",
    "group", "grouping", "having", "ilike", "in", "initially", "inner", "inout", "int", "integer",
    "intersect", "interval", "into", "is", "isnull", "join", "lateral", "leading", "least", "left", "like",
    "limit", "localtime", "localtimestamp", "national", "natural", "nchar", "none", "normalize", "not",
    "notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps",
    "overlay", "placing", "position", "precision", "primary", "real", "references", "returning", "right",
    "row", "select", "session_user", "setof", "similar", "smallint", "some", "substring", "symmetric",
    "table", "tablesample", "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union",
    "unique", "user", "using", "values", "varchar", "variadic", "verbose", "when", "where", "window", "with",
    "xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse",
    "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("quote_ident", |c| {
        build1(c, |text: &str, out| {
            out.push_str(&identifier(text));
            Ok(())
        })
    }),
    ("quote_literal", |c| c.one(|text: &str| Ok(literal(text)))),
    ("quote_literal/1285", |c| {
        let text = Arg { array: cast(c)?, constant: c.arg(0)?.constant };
        let text = text.read::<&str>()?;
        c.rows_of(|row| Ok(text.get(row).map(literal)))
    }),
    ("quote_nullable", |c| {
        let text = c.read::<&str>(0)?;
        c.rows_of(|row| Ok(text.get(row).map_or_else(|| "NULL".to_owned(), literal)))
    }),
    ("quote_nullable/1290", |c| {
        let text = Arg { array: cast(c)?, constant: c.arg(0)?.constant };
        let text = text.read::<&str>()?;
        c.rows_of(|row| Ok(text.get(row).map_or_else(|| "NULL".to_owned(), literal)))
    }),
    ("parse_ident", |c| {
        c.two(|text: &str, strict: bool| {
            let names = parse(text, strict)?;
            Ok(Arc::new(StringArray::from_iter_values(names)) as ArrayRef)
        })
    }),
    ("unistr", |c| build1(c, unistr)),
];

fn cast(call: &Call<'_>) -> Result<ArrayRef> {
    super::join::cast_to_text(call, 0).map(|arg| arg.array)
}

/// In quotes where it needs them.
pub(in crate::sql::functions) fn identifier(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte == b'_' || byte.is_ascii_lowercase();
    let mut bytes = text.bytes();
    let safe = bytes.next().is_some_and(plain) && bytes.all(|byte| plain(byte) || byte.is_ascii_digit());
    if safe && KEYWORDS.binary_search(&text).is_err() {
        return text.into();
    }
    format!("\"{}\"", text.replace('"', "\"\"")).into()
}

/// In quotes, and with a leading E where it has a backslash.
pub(in crate::sql::functions) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 3);
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            out.push(character);
        }
        out.push(character);
    }
    out.push('\'');
    out
}

/// The parts of a name with dots.
fn parse(text: &str, strict: bool) -> Result<Vec<String>> {
    let invalid = || Error::new(Kind::InvalidParameter, format!("string is not a valid identifier: \"{text}\""));
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
    let (mut names, mut after_dot) = (vec![], false);
    let mut rest = text.trim_start_matches(space);
    loop {
        let mut missing = true;
        if rest.starts_with('"') {
            let mut name = String::new();
            let mut inner = &rest[1..];
            loop {
                let end = inner.find('"').ok_or_else(|| invalid().with_detail("String has unclosed double quotes."))?;
                name.push_str(&inner[..end]);
                inner = &inner[end + 1..];
                if !inner.starts_with('"') {
                    break;
                }
                name.push('"');
                inner = &inner[1..];
            }
            if name.is_empty() {
                return Err(invalid().with_detail("Quoted identifier must not be empty."));
            }
            names.push(name);
            (rest, missing) = (inner, false);
        } else if rest.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic() || !c.is_ascii()) {
            let end = rest.find(|c: char| !(c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii()));
            let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
            names.push(name.to_ascii_lowercase());
            (rest, missing) = (behind, false);
        }
        if missing {
            return Err(match rest {
                rest if rest.starts_with('.') => invalid().with_detail("No valid identifier before \".\"."),
                _ if after_dot => invalid().with_detail("No valid identifier after \".\"."),
                _ => invalid(),
            });
        }
        rest = rest.trim_start_matches(space);
        match rest.strip_prefix('.') {
            Some(behind) => {
                after_dot = true;
                rest = behind.trim_start_matches(space);
            }
            None if rest.is_empty() || !strict => return Ok(names),
            None => return Err(invalid()),
        }
    }
}

/// `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`; surrogates in pairs.
fn unistr(text: &str, out: &mut String) -> Result<()> {
    let bad_pair = || Error::new(Kind::Syntax, "invalid Unicode surrogate pair");
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(first) = rest.chars().next() {
        if first != '\\' || rest.starts_with("\\\\") {
            if high.is_some() {
                return Err(bad_pair());
            }
            out.push(first);
            rest = &rest[if first == '\\' { 2 } else { first.len_utf8() }..];
            continue;
        }
        let (prefix, digits) = match rest.as_bytes().get(1) {
            Some(b'u') => (2, 4),
            Some(b'U') => (2, 8),
            Some(b'+') => (2, 6),
            _ => (1, 4),
        };
        let code = rest.get(prefix..prefix + digits).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = code else {
            let hint = "Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.";
            return Err(Error::new(Kind::Syntax, "invalid Unicode escape").with_hint(hint));
        };
        let code = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
        if code == 0 || code > 0x10ffff {
            let text = format!("invalid Unicode code point: {code:04X}");
            return Err(Error::new(Kind::InvalidParameter, text));
        }
        rest = &rest[prefix + digits.len()..];
        match (high.take(), code) {
            (Some(high), 0xdc00..=0xdfff) => {
                let code = 0x10000 + ((high & 0x3ff) << 10) + (code & 0x3ff);
                out.push(char::from_u32(code).ok_or_else(bad_pair)?);
            }
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(bad_pair()),
            (None, 0xd800..=0xdbff) => high = Some(code),
            (None, code) => out.push(char::from_u32(code).ok_or_else(bad_pair)?),
        }
    }
    if high.is_some() { Err(bad_pair()) } else { Ok(()) }
}
