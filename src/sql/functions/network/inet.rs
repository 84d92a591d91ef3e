//! One inet or cidr: how it is read (inet_net_pton.c), spelt (inet_net_ntop.c, inet_cidr_ntop.c) and ordered. Functions over
//! columns are its parent's.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::error::{Error, Kind, Result};

/// An address of four or sixteen bytes (the rest are zero), and how many of its bits are the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inet {
    pub(super) v6: bool,
    pub(super) bits: u8,
    pub(super) address: [u8; 16],
}

impl Inet {
    /// inet_in.
    pub(super) fn inet(text: &str) -> Result<Self> {
        Self::parse(text, false).ok_or_else(|| invalid("inet", text))
    }

    /// cidr_in: no bits may be set to the right of the mask.
    pub(super) fn cidr(text: &str) -> Result<Self> {
        let it = Self::parse(text, true).ok_or_else(|| invalid("cidr", text))?;
        if it.masked() != it {
            let message = format!("invalid cidr value: \"{text}\"");
            let detail = "Value has bits set to right of mask.";
            return Err(Error::new(Kind::InvalidText, message).with_detail(detail));
        }
        Ok(it)
    }

    fn parse(text: &str, cidr: bool) -> Option<Self> {
        let v6 = text.contains(':');
        let (address, bits) = match (v6, cidr) {
            (true, _) => read_v6(text.as_bytes())?,
            (false, true) => read_v4_cidr(text.as_bytes())?,
            (false, false) => read_v4(text.as_bytes())?,
        };
        Some(Self { v6, bits, address })
    }

    pub(super) fn max_bits(&self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.v6 { &self.address } else { &self.address[..4] }
    }

    /// The address as a number, its first bit the highest of those it has.
    pub(super) fn number(&self) -> u128 {
        u128::from_be_bytes(self.address) >> (128 - u32::from(self.max_bits()))
    }

    /// The same kind of address with these bits; `None` where there are too many.
    pub(super) fn with_number(&self, number: u128) -> Option<Self> {
        let shift = 128 - u32::from(self.max_bits());
        let shifted = number.checked_shl(shift)?;
        (shifted >> shift == number).then(|| Self { address: shifted.to_be_bytes(), ..*self })
    }

    /// Ones in the network's place.
    pub(super) fn mask(&self) -> u128 {
        let all = u128::MAX >> (128 - u32::from(self.max_bits()));
        all & !all.checked_shr(u32::from(self.bits)).unwrap_or(0)
    }

    /// With the host's bits zero.
    pub(super) fn masked(&self) -> Self {
        self.with_number(self.number() & self.mask()).unwrap_or(*self)
    }

    /// The first bits of both addresses.
    fn compare_bits(&self, other: &Self, bits: u8) -> Ordering {
        let first = |it: &Self| Self { bits, ..*it }.masked().address;
        first(self).cmp(&first(other))
    }

    /// network_cmp.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let family = self.v6.cmp(&other.v6);
        family
            .then_with(|| self.compare_bits(other, self.bits.min(other.bits)))
            .then(self.bits.cmp(&other.bits))
            .then_with(|| self.address.cmp(&other.address))
    }

    /// `bitncmp`: how far the first octets of so many bits are from each other that differ, and which has the first bit of
    /// those that fill none.
    pub(super) fn differ(&self, other: &Self, bits: u8) -> i32 {
        let octets = usize::from(bits / 8);
        let (own, others) = (self.bytes(), other.bytes());
        let whole = own.iter().zip(others).take(octets).find(|(a, b)| a != b);
        let part = || {
            let kept = |bytes: &[u8]| bytes.get(octets).map_or(0, |byte| byte & !(0xff_u8 >> (bits % 8)));
            kept(own).cmp(&kept(others)) as i32
        };
        whole.map_or_else(part, |(a, b)| i32::from(*a) - i32::from(*b))
    }

    /// Bytes that order as [`compare`](Self::compare) does: the network's own bits decide, a longer mask comes later where
    /// they are equal, and only then the host's.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = vec![u8::from(self.v6)];
        key.extend_from_slice(self.masked().bytes());
        key.push(self.bits);
        key.extend_from_slice(self.bytes());
        key
    }

    /// Whether its network holds the whole of the other's.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.v6 == other.v6 && self.bits <= other.bits && self.compare_bits(other, self.bits).is_eq()
    }

    /// As inet_out spells it: the mask is shown where it is not of the whole address.
    pub(super) fn spelt(&self) -> String {
        if self.bits == self.max_bits() { self.host() } else { self.shown() }
    }

    /// As cidr_out and text(inet) spell it.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.host(), self.bits)
    }

    pub(super) fn host(&self) -> String {
        if !self.v6 {
            let [a, b, c, d] = [self.address[0], self.address[1], self.address[2], self.address[3]];
            return format!("{a}.{b}.{c}.{d}");
        }
        let words = self.words();
        let (mut best, mut run) = ((0, 0), (0, 0));
        for (at, word) in words.iter().enumerate() {
            run = if *word != 0 { (at + 1, 0) } else { (run.0, run.1 + 1) };
            if run.1 > best.1 {
                best = run;
            }
        }
        let (from, len) = if best.1 < 2 { (9, 0) } else { best };
        let v4 = from == 0 && (len == 6 || (len == 7 && words[7] != 1) || (len == 5 && words[5] == 0xffff));
        let mut out = String::new();
        for (at, word) in words.iter().enumerate() {
            if (from..from + len).contains(&at) {
                if at == from {
                    out.push(':');
                }
                continue;
            }
            if at > 0 {
                out.push(':');
            }
            if at == 6 && v4 {
                let [.., a, b, c, d] = self.address;
                let _ = write!(out, "{a}.{b}.{c}.{d}");
                return out;
            }
            let _ = write!(out, "{word:x}");
        }
        if from + len == 8 {
            out.push(':');
        }
        out
    }

    fn words(&self) -> [u16; 8] {
        std::array::from_fn(|at| u16::from_be_bytes([self.address[2 * at], self.address[2 * at + 1]]))
    }

    /// abbrev(cidr): only as many bytes as the mask asks for.
    pub(super) fn abbreviated(&self) -> String {
        let bits = usize::from(self.bits);
        let mut out = String::new();
        if self.v6 {
            abbreviate_v6(&self.masked(), bits, &mut out);
        } else {
            let masked = self.masked();
            let shown = bits.div_ceil(8).max(1);
            let bytes = masked.bytes().iter().take(shown).map(u8::to_string);
            out = bytes.collect::<Vec<_>>().join(".");
        }
        let _ = write!(out, "/{bits}");
        out
    }
}

/// inet_cidr_ntop_ipv6, with its idea of which zeros are the longest.
fn abbreviate_v6(masked: &Inet, bits: usize, out: &mut String) {
    if bits == 0 {
        out.push_str("::");
        return;
    }
    let all = masked.words();
    let words = match bits.div_ceil(16) {
        1 => 2,
        words => words,
    };
    let (mut zero, mut run) = ((0, 0), (0, 0));
    for (at, word) in all.iter().take(words).enumerate() {
        if *word == 0 {
            if run.1 == 0 {
                run.0 = at;
            }
            run.1 += 1;
        } else if zero.1 < run.1 {
            zero = run;
            run.1 = 0;
        }
    }
    if zero.1 < run.1 {
        zero = run;
    }
    let (from, len) = zero;
    let s = &masked.address;
    let v4 = len != words
        && from == 0
        && (len == 6 || (len == 5 && s[10] == 0xff && s[11] == 0xff) || (len == 7 && s[14] != 0 && s[15] != 1));
    for (at, word) in all.iter().take(words).enumerate() {
        if len != 0 && (from..from + len).contains(&at) {
            if at == from {
                out.push(':');
            }
            if at == words - 1 {
                out.push(':');
            }
            continue;
        }
        if v4 && at > 5 {
            let _ = write!(out, "{}{}", if at == 6 { ':' } else { '.' }, s[2 * at]);
            // the last byte can be left out
            if at != 7 || bits > 120 {
                let _ = write!(out, ".{}", s[2 * at + 1]);
            }
        } else {
            if !out.is_empty() {
                out.push(':');
            }
            let _ = write!(out, "{word:x}");
        }
    }
}

fn invalid(ty: &str, text: &str) -> Error {
    Error::new(Kind::InvalidText, format!("invalid input syntax for type {ty}: \"{text}\""))
}

type Read = ([u8; 16], u8);

/// The bytes between dots, each of at most 255; what stands behind the last of them.
fn octets(text: &[u8], may_end_in_dot: bool) -> Option<(Vec<u8>, &[u8])> {
    let (mut octets, mut rest) = (vec![], text);
    loop {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return (may_end_in_dot || octets.is_empty()).then_some((octets, rest));
        }
        let (number, after) = rest.split_at(digits);
        let value = number.iter().try_fold(0u8, |n, d| n.checked_mul(10)?.checked_add(d - b'0'))?;
        if octets.len() == 4 {
            return None;
        }
        octets.push(value);
        rest = match after.split_first() {
            Some((b'.', after)) => after,
            Some((b'/', _)) | None => return Some((octets, after)),
            Some(_) => return None,
        };
    }
}

/// `/n` and nothing behind it; `Some(None)` where there is nothing at all.
fn width(rest: &[u8], max: u8) -> Option<Option<u8>> {
    let Some((first, digits)) = rest.split_first() else { return Some(None) };
    if *first != b'/' || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let bits = digits.iter().try_fold(0u8, |n, d| n.checked_mul(10)?.checked_add(d - b'0'))?;
    (bits <= max).then_some(Some(bits))
}

fn filled(octets: &[u8]) -> [u8; 16] {
    std::array::from_fn(|at| octets.get(at).copied().unwrap_or(0))
}

fn read_v4(text: &[u8]) -> Option<Read> {
    let (octets, rest) = octets(text, true)?;
    if octets.is_empty() {
        return None;
    }
    let bits = match width(rest, 32)? {
        Some(bits) => bits,
        None if octets.len() == 4 && text.last() != Some(&b'.') => 32,
        None => return None,
    };
    (usize::from(bits) / 8 <= octets.len()).then(|| (filled(&octets), bits))
}

fn read_v4_cidr(text: &[u8]) -> Option<Read> {
    let (octets, rest) = match text {
        [b'0', b'x' | b'X', digits @ ..] if digits.first().is_some_and(u8::is_ascii_hexdigit) => {
            let count = digits.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            let (digits, rest) = digits.split_at(count);
            let bytes = digits.chunks(2).map(|pair| {
                let high = hex(pair[0])?;
                let low = pair.get(1).map_or(Some(0), |b| hex(*b))?;
                Some(high << 4 | low)
            });
            (bytes.collect::<Option<Vec<u8>>>()?, rest)
        }
        _ => octets(text, false)?,
    };
    let first = *octets.first()?;
    if octets.len() > 4 {
        return None;
    }
    let given = u8::try_from(octets.len() * 8).ok()?;
    let bits = match width(rest, 32)? {
        Some(bits) => bits,
        None => {
            // the class of the network
            let class = match first {
                240.. => 32,
                224.. => 8,
                192.. => 24,
                128.. => 16,
                _ => 8,
            };
            let bits = given.max(class);
            if bits == 8 && first == 224 { 4 } else { bits }
        }
    };
    Some((filled(&octets), bits))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A number without leading zeros.
fn strict(digits: &[u8], max: u8) -> Option<u8> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !plain || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let number = digits.iter().try_fold(0u8, |n, d| n.checked_mul(10)?.checked_add(d - b'0'))?;
    (number <= max).then_some(number)
}

fn read_v6(text: &[u8]) -> Option<Read> {
    let mut text = text;
    if text.first() == Some(&b':') {
        text = &text[1..];
        if text.first() != Some(&b':') {
            return None;
        }
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(16);
    let (mut gap, mut token, mut bits) = (None, 0, None);
    let (mut value, mut digits) = (0u16, 0);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        if let Some(digit) = hex(*byte) {
            digits += 1;
            if digits > 4 {
                return None;
            }
            value = value << 4 | u16::from(digit);
            continue;
        }
        match byte {
            b':' => {
                token = at;
                if digits == 0 {
                    if gap.is_some() {
                        return None;
                    }
                    gap = Some(bytes.len());
                    continue;
                }
                if at == text.len() || bytes.len() + 2 > 16 {
                    return None;
                }
                bytes.extend(value.to_be_bytes());
                (value, digits) = (0, 0);
            }
            b'.' if bytes.len() + 4 <= 16 => {
                let rest = &text[token..];
                let (address, width) = match rest.iter().position(|b| *b == b'/') {
                    Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
                    None => (rest, None),
                };
                let octets = address.split(|b| *b == b'.').map(|o| strict(o, 255)).collect::<Option<Vec<u8>>>()?;
                if octets.len() > 4 {
                    return None;
                }
                bits = width.map(|width| strict(width, 128).ok_or(())).transpose().ok()?;
                bytes.extend_from_slice(&filled(&octets)[..4]);
                digits = 0;
                break;
            }
            b'/' => {
                bits = Some(strict(&text[at..], 128)?);
                break;
            }
            _ => return None,
        }
    }
    if digits > 0 {
        if bytes.len() + 2 > 16 {
            return None;
        }
        bytes.extend(value.to_be_bytes());
    }
    if let Some(gap) = gap {
        if bytes.len() == 16 {
            return None;
        }
        let missing = 16 - bytes.len();
        bytes.splice(gap..gap, std::iter::repeat_n(0, missing));
    }
    Some((bytes.try_into().ok()?, bits.unwrap_or(128)))
}
