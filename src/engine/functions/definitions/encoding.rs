//! PostgreSQL's encodings by number. There is one here, UTF8; clients list the others.

use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::Result;

/// By their numbers, with the most bytes that a character takes.
const ENCODINGS: [(&str, i32); 42] = [
    ("SQL_ASCII", 1),
    ("EUC_JP", 3),
    ("EUC_CN", 2),
    ("EUC_KR", 3),
    ("EUC_TW", 4),
    ("EUC_JIS_2004", 3),
    ("UTF8", 4),
    ("MULE_INTERNAL", 4),
    ("LATIN1", 1),
    ("LATIN2", 1),
    ("LATIN3", 1),
    ("LATIN4", 1),
    ("LATIN5", 1),
    ("LATIN6", 1),
    ("LATIN7", 1),
    ("LATIN8", 1),
    ("LATIN9", 1),
    ("LATIN10", 1),
    ("WIN1256", 1),
    ("WIN1258", 1),
    ("WIN866", 1),
    ("WIN874", 1),
    ("KOI8R", 1),
    ("WIN1251", 1),
    ("WIN1252", 1),
    ("ISO_8859_5", 1),
    ("ISO_8859_6", 1),
    ("ISO_8859_7", 1),
    ("ISO_8859_8", 1),
    ("WIN1250", 1),
    ("WIN1253", 1),
    ("WIN1254", 1),
    ("WIN1255", 1),
    ("WIN1257", 1),
    ("KOI8U", 1),
    ("SJIS", 2),
    ("BIG5", 2),
    ("GBK", 2),
    ("UHC", 2),
    ("GB18030", 4),
    ("JOHAB", 3),
    ("SHIFT_JIS_2004", 2),
];

/// Spellings that are no encoding's own.
const ALIASES: [(&str, &str); 10] = [
    ("unicode", "utf8"),
    ("iso88591", "latin1"),
    ("iso88592", "latin2"),
    ("iso885915", "latin9"),
    ("windows1250", "win1250"),
    ("windows1251", "win1251"),
    ("windows1252", "win1252"),
    ("koi8", "koi8r"),
    ("shiftjis", "sjis"),
    ("windows1254", "win1254"),
];

fn of(arguments: &[Cell]) -> Option<&'static (&'static str, i32)> {
    match arguments {
        [Cell::Int(number)] => ENCODINGS.get(usize::try_from(*number).ok()?),
        _ => None,
    }
}

/// Empty for a number that is none's.
pub(super) fn name(_: &View, arguments: &[Cell]) -> Result<Cell> {
    Ok(of(arguments).map_or("", |(name, _)| name).into())
}

pub(super) fn max_length(_: &View, arguments: &[Cell]) -> Result<Cell> {
    Ok(of(arguments).map(|(_, bytes)| *bytes).into())
}

/// -1 for a name that is none's; letters and digits count, in any case.
pub(super) fn number(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(name)] = arguments else { return Ok(Cell::Null) };
    let letters = |name: &str| {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.collect::<String>().to_ascii_lowercase()
    };
    let wanted = letters(name);
    let wanted = ALIASES.iter().find(|(alias, _)| *alias == wanted).map_or(wanted.as_str(), |(_, name)| name);
    let found = ENCODINGS.iter().position(|(name, _)| letters(name) == wanted);
    Ok(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1).into())
}
