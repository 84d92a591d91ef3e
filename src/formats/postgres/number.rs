//! Numbers out: PostgreSQL's text of integers, floats and numerics, and numeric's binary form. It reads none.

use arrow::datatypes::i256;
use bytes::BytesMut;

use super::append::Append;

/// Digits that every float of the type keeps (`DBL_DIG`, `FLT_DIG`).
const DIGITS8: i32 = 15;
const DIGITS4: i32 = 6;

/// Powers of five that fit the midpoint test below: 5^27 is the last under 2^63.
const FIVES: usize = 27;

pub(crate) fn integer(value: impl itoa::Integer, out: &mut BytesMut) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(crate) fn float8(value: f64, out: &mut BytesMut) {
    if let Some(word) = not_finite(value) {
        return out.extend_from_slice(word);
    }
    let mut buffer = ryu::Buffer::new();
    let mut digits = Digits::read(buffer.format_finite(value));
    let (mantissa, exponent) = parts8(value);
    if digits.between(mantissa, exponent, 53) {
        let longer =
            longer(digits.len, 17, |precision| format!("{value:.precision$e}"), |text| text.parse() == Ok(value));
        digits = Digits::read(&longer);
    }
    digits.lay_out(15, out);
}

pub(crate) fn float4(value: f32, out: &mut BytesMut) {
    if let Some(word) = not_finite(f64::from(value)) {
        return out.extend_from_slice(word);
    }
    let mut buffer = ryu::Buffer::new();
    let mut digits = Digits::read(buffer.format_finite(value));
    let (mantissa, exponent) = parts4(value);
    if digits.between(mantissa, exponent, 24) {
        let longer =
            longer(digits.len, 9, |precision| format!("{value:.precision$e}"), |text| text.parse() == Ok(value));
        digits = Digits::read(&longer);
    }
    digits.lay_out(6, out);
}

/// As a session's extra_float_digits has it: the shortest, or so many digits more than every float of the type keeps.
pub(crate) fn float8_with(value: f64, extra: i32, out: &mut BytesMut) {
    if extra >= 1 { float8(value, out) } else { general(value, kept(DIGITS8 + extra), out) }
}

pub(crate) fn float4_with(value: f32, extra: i32, out: &mut BytesMut) {
    if extra >= 1 { float4(value, out) } else { general(value.into(), kept(DIGITS4 + extra), out) }
}

fn kept(digits: i32) -> usize {
    usize::try_from(digits).unwrap_or(0).max(1)
}

/// C's `%.*g`: so many significant digits, without zeros at the end.
pub(crate) fn general(value: f64, digits: usize, out: &mut BytesMut) {
    if let Some(word) = not_finite(value) {
        return out.extend_from_slice(word);
    }
    let digits = digits.clamp(1, 17);
    Digits::read(&format!("{value:.precision$e}", precision = digits - 1)).lay_out(digits as i32, out);
}

fn not_finite(value: f64) -> Option<&'static [u8]> {
    if value.is_nan() {
        Some(b"NaN")
    } else if value == f64::INFINITY {
        Some(b"Infinity")
    } else if value == f64::NEG_INFINITY {
        Some(b"-Infinity")
    } else {
        None
    }
}

/// Mantissa and exponent of two: |value| = mantissa × 2^exponent.
fn parts8(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let (raw, fraction) = (((bits >> 52) & 0x7ff) as i32, bits & ((1 << 52) - 1));
    if raw == 0 { (fraction, -1074) } else { (fraction | (1 << 52), raw - 1075) }
}

fn parts4(value: f32) -> (u64, i32) {
    let bits = value.to_bits();
    let (raw, fraction) = (((bits >> 23) & 0xff) as i32, u64::from(bits & ((1 << 23) - 1)));
    if raw == 0 { (fraction, -149) } else { (fraction | (1 << 23), raw - 150) }
}

/// The shortest text with more digits than `taken` that reads back as the value.
fn longer(taken: usize, most: usize, print: impl Fn(usize) -> String, reads_back: impl Fn(&str) -> bool) -> String {
    // One that ends in zero is the shorter number again.
    (taken..most).map(&print).find(|text| !text.contains("0e") && reads_back(text)).unwrap_or_else(|| print(most - 1))
}

/// The decimal digits of a float: ±0.d₁d₂… × 10^(point).
struct Digits {
    negative: bool,
    digits: [u8; 20],
    len: usize,
    /// Position of the decimal point, counted from before the first digit.
    point: i32,
}

impl Digits {
    /// Takes the digits and the exponent from any of the usual spellings: `1.5`, `0.001`, `1e20`, `2.5e-7`.
    fn read(text: &str) -> Self {
        let mut it = Self { negative: false, digits: [0; 20], len: 0, point: 0 };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut after_point = false;
        for byte in mantissa.bytes() {
            match byte {
                b'-' => it.negative = true,
                b'.' => after_point = true,
                b'0' if it.len == 0 => it.point -= i32::from(after_point),
                digit => {
                    if let Some(place) = it.digits.get_mut(it.len) {
                        *place = digit;
                        it.len += 1;
                    }
                    it.point += i32::from(!after_point);
                }
            }
        }
        it.point += exponent.parse::<i32>().unwrap_or(0);
        while it.len > 0 && it.digits[it.len - 1] == b'0' {
            it.len -= 1;
        }
        it
    }

    /// Whether the digits stand exactly between two neighbouring floats of `bits` bits. PostgreSQL never prints those,
    /// since they read back only where the reader rounds to even: 1e23 is `9.999999999999999e+22` there.
    fn between(&self, mantissa: u64, exponent: i32, bits: u32) -> bool {
        let scale = self.point - self.len as i32;
        // Cheap answers first. With a fraction, so many bits need more digits than nearly all floats have.
        if mantissa == 0 || scale > FIVES as i32 || (scale < 0 && self.len < 16 && bits == 53) {
            return false;
        }
        let number = self.digits[..self.len].iter().fold(0u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        let five = 5u128.pow(scale.unsigned_abs().min(FIVES as u32));
        let odd = if scale >= 0 {
            number * five
        } else if number % five == 0 && scale.unsigned_abs() <= FIVES as u32 {
            number / five
        } else {
            return false;
        };
        // The printed value is odd × 2^scale; its lowest bit tells how fine it is.
        let lowest = scale + odd.trailing_zeros() as i32;
        // Below a power of two the next float is only half as far away.
        let power_of_two = mantissa == 1 << (bits - 1);
        let beneath = odd >> odd.trailing_zeros() < u128::from(mantissa) << 2;
        lowest == exponent - 1 || (power_of_two && beneath && lowest == exponent - 2)
    }

    /// PostgreSQL's layout: plain digits for exponents from -4 up to `exponents`, else `d.ddde+XX`.
    fn lay_out(&self, exponents: i32, out: &mut BytesMut) {
        if self.negative {
            out.put_u8(b'-');
        }
        let digits = &self.digits[..self.len];
        let (Some((first, rest)), exponent) = (digits.split_first(), self.point - 1) else {
            return out.put_u8(b'0');
        };
        if !(-4..exponents).contains(&exponent) {
            out.put_u8(*first);
            if !rest.is_empty() {
                out.put_u8(b'.');
                out.extend_from_slice(rest);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                out.put_u8(b'0');
            }
            return integer(exponent.abs(), out);
        }
        if self.point <= 0 {
            out.extend_from_slice(b"0.");
            out.put_bytes(b'0', self.point.unsigned_abs() as usize);
            return out.extend_from_slice(digits);
        }
        let whole = self.point as usize;
        match digits.split_at_checked(whole) {
            Some((before, after)) => {
                out.extend_from_slice(before);
                if !after.is_empty() {
                    out.put_u8(b'.');
                    out.extend_from_slice(after);
                }
            }
            None => {
                out.extend_from_slice(digits);
                out.put_bytes(b'0', whole - digits.len());
            }
        }
    }
}

/// The digits of a numeric without its point, most significant first and without leading zeros (zero has none).
pub(crate) struct Decimal {
    negative: bool,
    digits: [u8; 80],
    len: usize,
    scale: usize,
}

impl Decimal {
    pub(crate) fn small(value: i128, scale: usize) -> Self {
        let mut it = Self { negative: value < 0, digits: [0; 80], len: 0, scale };
        it.append(value.unsigned_abs(), false);
        it
    }

    pub(crate) fn large(value: i256, scale: usize) -> Self {
        if let Some(value) = value.to_i128() {
            return Self::small(value, scale);
        }
        let mut it = Self { negative: value.is_negative(), digits: [0; 80], len: 0, scale };
        // 78 digits at most: three pieces of 38, each its own u128. Signs are dropped piece by piece, since the smallest
        // i256 has no positive counterpart.
        let chunk = i256::from_i128(10i128.pow(38));
        let (rest, low) = (value.wrapping_div(chunk), value.wrapping_rem(chunk));
        let (high, middle) = (rest.wrapping_div(chunk), rest.wrapping_rem(chunk));
        for piece in [high, middle, low] {
            it.append(piece.to_i128().unwrap_or_default().unsigned_abs(), it.len > 0);
        }
        it
    }

    /// Drops zeros at the end of the fraction, as a numeric without a fixed scale is shown.
    pub(crate) fn trimmed(mut self) -> Self {
        while self.scale > 0 && (self.len == 0 || self.digits[self.len - 1] == b'0') {
            self.scale -= 1;
            self.len = self.len.saturating_sub(1);
        }
        self
    }

    fn append(&mut self, piece: u128, pad: bool) {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(piece).as_bytes();
        if piece == 0 && !pad {
            return;
        }
        let zeros = if pad { 38usize.saturating_sub(text.len()) } else { 0 };
        self.digits[self.len..self.len + zeros].fill(b'0');
        self.len += zeros;
        self.digits[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    pub(crate) fn text(&self, out: &mut BytesMut) {
        if self.negative {
            out.put_u8(b'-');
        }
        let digits = &self.digits[..self.len];
        let whole = self.len.saturating_sub(self.scale);
        if whole == 0 {
            out.put_u8(b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
        }
        if self.scale > 0 {
            out.put_u8(b'.');
            out.put_bytes(b'0', self.scale.saturating_sub(self.len));
            out.extend_from_slice(&digits[whole..]);
        }
    }

    /// Groups of four digits aligned at the point, without zero groups at either end: count, weight of the first group,
    /// sign, digits shown after the point, groups.
    pub(crate) fn binary(&self, out: &mut BytesMut) {
        let mut groups = [0i16; 24];
        let mut count = 0;
        // Weight of a digit `i` places left of the point is i / 4; fractions count down from -1.
        let weight_of = |place: usize| (self.len as i32 - self.scale as i32 - 1 - place as i32).div_euclid(4);
        let weight = weight_of(0);
        for (place, digit) in self.digits[..self.len].iter().enumerate() {
            let group = (weight - weight_of(place)) as usize;
            let power = (self.len as i32 - self.scale as i32 - 1 - place as i32).rem_euclid(4) as u32;
            groups[group] += i16::from(digit - b'0') * 10i16.pow(power);
            count = group + 1;
        }
        while count > 0 && groups[count - 1] == 0 {
            count -= 1;
        }
        out.put_i16(count as i16);
        out.put_i16(if count == 0 { 0 } else { weight as i16 });
        out.put_u16(if self.negative { 0x4000 } else { 0 });
        out.put_u16(self.scale as u16);
        groups[..count].iter().for_each(|&group| out.put_i16(group));
    }
}
