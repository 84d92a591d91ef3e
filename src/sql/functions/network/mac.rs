//! macaddr and macaddr8 (mac.c, mac8.c), which lie as their canonical text: lower-case pairs between colons, so that texts
//! order as the addresses do.

use std::fmt::Write;

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("macaddr_in", |c| c.one(|text: &str| macaddr(text).map(|mac| spelt(&mac)))),
    ("macaddr_out", |c| c.one(|mac: &str| Ok(mac))),
    ("macaddr_eq", |c| c.two(|a: &str, b: &str| Ok(a == b))),
    ("macaddr_ne", |c| c.two(|a: &str, b: &str| Ok(a != b))),
    ("macaddr_lt", |c| c.two(|a: &str, b: &str| Ok(a < b))),
    ("macaddr_le", |c| c.two(|a: &str, b: &str| Ok(a <= b))),
    ("macaddr_gt", |c| c.two(|a: &str, b: &str| Ok(a > b))),
    ("macaddr_ge", |c| c.two(|a: &str, b: &str| Ok(a >= b))),
    ("macaddr_cmp", |c| c.two(|a: &str, b: &str| Ok(a.cmp(b) as i32))),
    ("macaddr_not", |c| c.one(|a: &str| Ok(spelt(&macaddr(a)?.map(|b| !b))))),
    ("macaddr_and", |c| c.two(|a: &str, b: &str| Ok(spelt(&merged(macaddr(a)?, macaddr(b)?, |a, b| a & b))))),
    ("macaddr_or", |c| c.two(|a: &str, b: &str| Ok(spelt(&merged(macaddr(a)?, macaddr(b)?, |a, b| a | b))))),
    ("macaddr_trunc", |c| c.one(|a: &str| macaddr(a).map(|[a, b, c, ..]| spelt(&[a, b, c, 0, 0, 0])))),
    ("macaddrtomacaddr8", |c| c.one(|a: &str| macaddr(a).map(|a| spelt(&widened(a))))),
    ("macaddr_send", |c| c.one(bytes)),
    ("macaddr8_send", |c| c.one(bytes)),
    ("macaddr8_in", |c| c.one(|text: &str| macaddr8(text).map(|mac| spelt(&mac)))),
    ("macaddr8_out", |c| c.one(|mac: &str| Ok(mac))),
    ("macaddr8_eq", |c| c.two(|a: &str, b: &str| Ok(a == b))),
    ("macaddr8_ne", |c| c.two(|a: &str, b: &str| Ok(a != b))),
    ("macaddr8_lt", |c| c.two(|a: &str, b: &str| Ok(a < b))),
    ("macaddr8_le", |c| c.two(|a: &str, b: &str| Ok(a <= b))),
    ("macaddr8_gt", |c| c.two(|a: &str, b: &str| Ok(a > b))),
    ("macaddr8_ge", |c| c.two(|a: &str, b: &str| Ok(a >= b))),
    ("macaddr8_cmp", |c| c.two(|a: &str, b: &str| Ok(a.cmp(b) as i32))),
    ("macaddr8_not", |c| c.one(|a: &str| Ok(spelt(&macaddr8(a)?.map(|b| !b))))),
    ("macaddr8_and", |c| c.two(|a: &str, b: &str| Ok(spelt(&merged(macaddr8(a)?, macaddr8(b)?, |a, b| a & b))))),
    ("macaddr8_or", |c| c.two(|a: &str, b: &str| Ok(spelt(&merged(macaddr8(a)?, macaddr8(b)?, |a, b| a | b))))),
    ("macaddr8_trunc", |c| c.one(|a: &str| macaddr8(a).map(|[a, b, c, ..]| spelt(&[a, b, c, 0, 0, 0, 0, 0])))),
    ("macaddr8_set7bit", |c| {
        c.one(|a: &str| macaddr8(a).map(|[a, rest @ ..]| spelt(&[&[a | 2], rest.as_slice()].concat())))
    }),
    ("macaddr8tomacaddr", |c| c.one(|a: &str| narrowed(macaddr8(a)?).map(|a| spelt(&a)))),
];

fn spelt(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(out, "{}{byte:02x}", if at > 0 { ":" } else { "" });
    }
    out
}

fn merged<const N: usize>(a: [u8; N], b: [u8; N], f: impl Fn(u8, u8) -> u8) -> [u8; N] {
    std::array::from_fn(|at| f(a[at], b[at]))
}

fn widened([a, b, c, d, e, f]: [u8; 6]) -> [u8; 8] {
    [a, b, c, 0xff, 0xfe, d, e, f]
}

fn narrowed(mac: [u8; 8]) -> Result<[u8; 6]> {
    match mac {
        [a, b, c, 0xff, 0xfe, d, e, f] => Ok([a, b, c, d, e, f]),
        _ => Err(Error::new(Kind::NumericRange, "macaddr8 data out of range to convert to macaddr").with_hint(
            "Only addresses that have FF and FE as values in the 4th and 5th bytes from the left, for example \
             xx:xx:xx:ff:fe:xx:xx:xx, are eligible to be converted from macaddr8 to macaddr.",
        )),
    }
}

/// The forms of macaddr_in: `x` is a hexadecimal number, `2` one of at most two digits.
const FORMS: [&str; 7] = ["x:x:x:x:x:x", "x-x-x-x-x-x", "222:222", "222-222", "22.22.22", "22-22-22", "222222"];

/// Of one that lies in its canonical form, which tells its length.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    const SIX: usize = "00:00:00:00:00:00".len();
    Ok(if text.len() == SIX { macaddr(text)?.to_vec() } else { macaddr8(text)?.to_vec() })
}

fn macaddr(text: &str) -> Result<[u8; 6]> {
    let numbers = FORMS.iter().find_map(|form| scan(text.as_bytes(), form)).ok_or_else(|| invalid("macaddr", text))?;
    let octets = numbers.iter().map(|number| u8::try_from(*number)).collect::<Result<Vec<u8>, _>>();
    let octets = octets.ok().and_then(|octets| octets.try_into().ok());
    octets
        .ok_or_else(|| Error::new(Kind::NumericRange, format!("invalid octet value in \"macaddr\" value: \"{text}\"")))
}

/// As sscanf reads: blanks before a number, and a 0x, count for nothing.
fn scan(text: &[u8], form: &str) -> Option<Vec<u32>> {
    let space = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let (mut rest, mut numbers) = (text, vec![]);
    for sign in form.bytes() {
        if !matches!(sign, b'x' | b'2') {
            rest = rest.strip_prefix(&[sign])?;
            continue;
        }
        rest = &rest[rest.iter().take_while(|b| space(b)).count()..];
        let most = if sign == b'2' { 2 } else { usize::MAX };
        if sign == b'x' && matches!(rest, [b'0', b'x' | b'X', next, ..] if next.is_ascii_hexdigit()) {
            rest = &rest[2..];
        }
        let digits = rest.iter().take(most).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits == 0 {
            return None;
        }
        let (number, after) = rest.split_at(digits);
        let number = std::str::from_utf8(number).ok()?;
        numbers.push(u32::from_str_radix(number, 16).unwrap_or(u32::MAX));
        rest = after;
    }
    rest.iter().all(space).then_some(numbers)
}

/// macaddr8_in: pairs of digits, one kind of spacer, six or eight bytes.
fn macaddr8(text: &str) -> Result<[u8; 8]> {
    let bytes = pairs(text.as_bytes()).ok_or_else(|| invalid("macaddr8", text))?;
    if let Ok(six) = <[u8; 6]>::try_from(bytes.as_slice()) {
        return Ok(widened(six));
    }
    bytes.try_into().map_err(|_| invalid("macaddr8", text))
}

fn pairs(text: &[u8]) -> Option<Vec<u8>> {
    let space = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let mut rest = &text[text.iter().take_while(|b| space(b)).count()..];
    let (mut bytes, mut spacer) = (vec![], None);
    while let [high, low, after @ ..] = rest {
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if bytes.len() == 8 {
            return None;
        }
        bytes.push(digit(high)? << 4 | digit(low)?);
        rest = after;
        if let [next @ (b':' | b'-' | b'.'), after @ ..] = rest {
            if spacer.is_some_and(|spacer| spacer != *next) {
                return None;
            }
            spacer = Some(*next);
            rest = after;
        }
        if (bytes.len() == 6 || bytes.len() == 8) && rest.first().is_some_and(space) {
            return rest.iter().all(space).then_some(bytes);
        }
    }
    Some(bytes)
}

fn invalid(ty: &str, text: &str) -> Error {
    Error::new(Kind::InvalidText, format!("invalid input syntax for type {ty}: \"{text}\""))
}
