//! Names of characters in `[.….]` and `[=…=]`.

use super::super::invalid;
use crate::error::Result;

/// A character, or the one of that name.
pub(super) fn element(name: &str) -> Result<u32> {
    let mut characters = name.chars();
    if let (Some(one), None) = (characters.next(), characters.next()) {
        return Ok(u32::from(one));
    }
    let code = NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| u32::from(*code));
    code.ok_or_else(|| invalid("invalid collating element"))
}

#[rustfmt::skip]
const NAMES: &[(&str, u8)] = &[
    ("NUL", 0), ("SOH", 1), ("STX", 2), ("ETX", 3), ("EOT", 4), ("ENQ", 5), ("ACK", 6), ("BEL", 7), ("alert", 7),
    ("BS", 8), ("backspace", 8), ("HT", 9), ("tab", 9), ("LF", 10), ("newline", 10), ("VT", 11), ("vertical-tab", 11),
    ("FF", 12), ("form-feed", 12), ("CR", 13), ("carriage-return", 13), ("SO", 14), ("SI", 15), ("DLE", 16),
    ("DC1", 17), ("DC2", 18), ("DC3", 19), ("DC4", 20), ("NAK", 21), ("SYN", 22), ("ETB", 23), ("CAN", 24),
    ("EM", 25), ("SUB", 26), ("ESC", 27), ("IS4", 28), ("FS", 28), ("IS3", 29), ("GS", 29), ("IS2", 30), ("RS", 30),
    ("IS1", 31), ("US", 31), ("space", b' '), ("exclamation-mark", b'!'), ("quotation-mark", b'"'),
    ("number-sign", b'#'), ("dollar-sign", b'$'), ("percent-sign", b'%'), ("ampersand", b'&'), ("apostrophe", b'\''),
    ("left-parenthesis", b'('), ("right-parenthesis", b')'), ("asterisk", b'*'), ("plus-sign", b'+'), ("comma", b','),
    ("hyphen", b'-'), ("hyphen-minus", b'-'), ("period", b'.'), ("full-stop", b'.'), ("slash", b'/'),
    ("solidus", b'/'), ("zero", b'0'), ("one", b'1'), ("two", b'2'), ("three", b'3'), ("four", b'4'), ("five", b'5'),
    ("six", b'6'), ("seven", b'7'), ("eight", b'8'), ("nine", b'9'), ("colon", b':'), ("semicolon", b';'),
    ("less-than-sign", b'<'), ("equals-sign", b'='), ("greater-than-sign", b'>'), ("question-mark", b'?'),
    ("commercial-at", b'@'), ("left-square-bracket", b'['), ("backslash", b'\\'), ("reverse-solidus", b'\\'),
    ("right-square-bracket", b']'), ("circumflex", b'^'), ("circumflex-accent", b'^'), ("underscore", b'_'),
    ("low-line", b'_'), ("grave-accent", b'`'), ("left-brace", b'{'), ("left-curly-bracket", b'{'),
    ("vertical-line", b'|'), ("right-brace", b'}'), ("right-curly-bracket", b'}'), ("tilde", b'~'), ("DEL", 127),
];
