//! Comparisons: by bytes (the collation is C's), `character(n)` without its trailing blanks, `"char"` by its byte.

use super::types::char_byte;
use crate::sql::kernel::Kernel;

/// `=`, `<>`, `<`, `<=`, `>`, `>=` and the three-way comparison of one key.
macro_rules! compared {
    ($key:expr, $by:expr; $eq:literal $ne:literal $lt:literal $le:literal $gt:literal $ge:literal $cmp:literal) => {
        &[
            ($eq, |c| c.two(|a: &str, b: &str| Ok($key(a) == $key(b)))),
            ($ne, |c| c.two(|a: &str, b: &str| Ok($key(a) != $key(b)))),
            ($lt, |c| c.two(|a: &str, b: &str| Ok($key(a) < $key(b)))),
            ($le, |c| c.two(|a: &str, b: &str| Ok($key(a) <= $key(b)))),
            ($gt, |c| c.two(|a: &str, b: &str| Ok($key(a) > $key(b)))),
            ($ge, |c| c.two(|a: &str, b: &str| Ok($key(a) >= $key(b)))),
            ($cmp, |c| c.two(|a: &str, b: &str| Ok($by($key(a).as_ref(), $key(b).as_ref())))),
        ]
    };
}

pub(in crate::sql::functions) const TEXT: &[(&str, Kernel)] =
    compared!(same, strcmp; "texteq" "textne" "text_lt" "text_le" "text_gt" "text_ge" "bttextcmp");
pub(in crate::sql::functions) const NAME: &[(&str, Kernel)] =
    compared!(same, strcmp; "nameeq" "namene" "namelt" "namele" "namegt" "namege" "btnamecmp");
pub(in crate::sql::functions) const NAME_TEXT: &[(&str, Kernel)] = compared!(same, difference; "nameeqtext" "namenetext" "namelttext" "nameletext" "namegttext" "namegetext" "btnametextcmp");
pub(in crate::sql::functions) const TEXT_NAME: &[(&str, Kernel)] = compared!(same, difference; "texteqname" "textnename" "textltname" "textlename" "textgtname" "textgename" "bttextnamecmp");
pub(in crate::sql::functions) const BPCHAR: &[(&str, Kernel)] =
    compared!(unpadded, strcmp; "bpchareq" "bpcharne" "bpcharlt" "bpcharle" "bpchargt" "bpcharge" "bpcharcmp");
pub(in crate::sql::functions) const CHAR: &[(&str, Kernel)] =
    compared!(byte, strcmp; "chareq" "charne" "charlt" "charle" "chargt" "charge" "btcharcmp");

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("key/bpchar", |c| c.one(|a: &str| Ok(unpadded(a)))),
    ("text_pattern_lt", |c| c.two(|a: &str, b: &str| Ok(a < b))),
    ("text_pattern_le", |c| c.two(|a: &str, b: &str| Ok(a <= b))),
    ("text_pattern_gt", |c| c.two(|a: &str, b: &str| Ok(a > b))),
    ("text_pattern_ge", |c| c.two(|a: &str, b: &str| Ok(a >= b))),
    ("bttext_pattern_cmp", |c| c.two(|a: &str, b: &str| Ok(difference(a.as_bytes(), b.as_bytes())))),
    ("bpchar_pattern_lt", |c| c.two(|a: &str, b: &str| Ok(unpadded(a) < unpadded(b)))),
    ("bpchar_pattern_le", |c| c.two(|a: &str, b: &str| Ok(unpadded(a) <= unpadded(b)))),
    ("bpchar_pattern_gt", |c| c.two(|a: &str, b: &str| Ok(unpadded(a) > unpadded(b)))),
    ("bpchar_pattern_ge", |c| c.two(|a: &str, b: &str| Ok(unpadded(a) >= unpadded(b)))),
    ("btbpchar_pattern_cmp", |c| {
        c.two(|a: &str, b: &str| Ok(difference(unpadded(a).as_bytes(), unpadded(b).as_bytes())))
    }),
    ("text_larger", |c| c.two(|a: &str, b: &str| Ok(if a > b { a.to_owned() } else { b.to_owned() }))),
    ("text_smaller", |c| c.two(|a: &str, b: &str| Ok(if a < b { a.to_owned() } else { b.to_owned() }))),
    ("bpchar_larger", |c| {
        c.two(|a: &str, b: &str| Ok(if unpadded(a) >= unpadded(b) { a.to_owned() } else { b.to_owned() }))
    }),
    ("bpchar_smaller", |c| {
        c.two(|a: &str, b: &str| Ok(if unpadded(a) <= unpadded(b) { a.to_owned() } else { b.to_owned() }))
    }),
];

fn same(text: &str) -> &str {
    text
}

/// Without the blanks that do not count.
fn unpadded(text: &str) -> &str {
    text.trim_end_matches(' ')
}

fn byte(text: &str) -> [u8; 1] {
    [char_byte(text)]
}

/// strcmp: the end of a string counts as a byte of zero.
fn strcmp(a: &[u8], b: &[u8]) -> i32 {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let byte = |bytes: &[u8]| bytes.get(shared).map_or(0, |byte| i32::from(*byte));
    byte(a) - byte(b)
}

/// memcmp: how far the first bytes that differ are from each other; else which is longer.
pub(in crate::sql::functions) fn difference(a: &[u8], b: &[u8]) -> i32 {
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => i32::from(*a) - i32::from(*b),
        None => a.len().cmp(&b.len()) as i32,
    }
}
