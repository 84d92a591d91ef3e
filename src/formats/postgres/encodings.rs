//! PostgreSQL's encodings by number, and the names that they go by (encnames.c). Texts here are UTF8; of the others clients
//! ask.

pub(crate) const SQL_ASCII: usize = 0;
pub(crate) const UTF8: usize = 6;
pub(crate) const LATIN1: usize = 8;

/// By number, with the most bytes that a character takes.
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

pub(crate) fn name(number: usize) -> Option<&'static str> {
    ENCODINGS.get(number).map(|(name, _)| *name)
}

pub(crate) fn bytes_max(number: usize) -> Option<i32> {
    ENCODINGS.get(number).map(|(_, bytes)| *bytes)
}

/// The number of the encoding of this name; letters and digits count, in any case.
pub(crate) fn number(name: &str) -> Option<usize> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let name = match plain(name).as_str() {
        "unicode" => "utf8".to_owned(),
        "iso88591" => "latin1".to_owned(),
        "iso88592" => "latin2".to_owned(),
        "iso88593" => "latin3".to_owned(),
        "iso88594" => "latin4".to_owned(),
        "iso88599" => "latin5".to_owned(),
        "iso885910" => "latin6".to_owned(),
        "iso885913" => "latin7".to_owned(),
        "iso885914" => "latin8".to_owned(),
        "iso885915" => "latin9".to_owned(),
        "iso885916" => "latin10".to_owned(),
        "alt" => "win866".to_owned(),
        "win" => "win1251".to_owned(),
        "tcvn" | "tcvn5712" | "vscii" | "abc" => "win1258".to_owned(),
        "koi8" => "koi8r".to_owned(),
        "shiftjis" | "mskanji" | "win932" | "windows932" => "sjis".to_owned(),
        "win949" | "windows949" => "uhc".to_owned(),
        "win936" | "windows936" => "gbk".to_owned(),
        "win950" | "windows950" => "big5".to_owned(),
        other => other.strip_prefix("windows").map_or_else(|| other.to_owned(), |n| format!("win{n}")),
    };
    ENCODINGS.iter().position(|(known, _)| plain(known) == name)
}
