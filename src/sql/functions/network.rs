//! inet and cidr (network.c), which lie as their canonical text, and the addresses of network cards ([`mac`]).

mod inet;
mod mac;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use arrow::array::ArrayRef;

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};

use inet::Inet;

pub(super) const MAC_KERNELS: &[(&str, Kernel)] = mac::KERNELS;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("inet_in", |c| c.one(|text: &str| Inet::inet(text).map(|inet| inet.spelt()))),
    ("inet_out", |c| c.one(|text: &str| of(text).map(|inet| inet.spelt()))),
    ("cidr_in", |c| c.one(|text: &str| Inet::cidr(text).map(|cidr| cidr.shown()))),
    ("cidr_out", |c| c.one(|text: &str| of(text).map(|cidr| cidr.shown()))),
    ("inet_to_cidr", |c| c.one(|text: &str| of(text).map(|inet| inet.masked().shown()))),
    ("inet_send", |c| c.one(|text: &str| of(text).map(|inet| sent(&inet, false)))),
    ("cidr_send", |c| c.one(|text: &str| of(text).map(|cidr| sent(&cidr, true)))),
    ("key/inet", |c| c.one(|text: &str| of(text).map(|inet| inet.key()))),
    ("network_eq", |c| compare(c, Ordering::is_eq)),
    ("network_ne", |c| compare(c, Ordering::is_ne)),
    ("network_lt", |c| compare(c, Ordering::is_lt)),
    ("network_le", |c| compare(c, Ordering::is_le)),
    ("network_gt", |c| compare(c, Ordering::is_gt)),
    ("network_ge", |c| compare(c, Ordering::is_ge)),
    ("network_cmp", |c| c.two(|a: &str, b: &str| Ok(difference(&of(a)?, &of(b)?)))),
    ("network_larger", |c| {
        c.two(|a: &str, b: &str| Ok(if of(a)?.compare(&of(b)?).is_gt() { a } else { b }.to_owned()))
    }),
    ("network_smaller", |c| {
        c.two(|a: &str, b: &str| Ok(if of(a)?.compare(&of(b)?).is_lt() { a } else { b }.to_owned()))
    }),
    ("network_sub", |c| both(c, |a, b| a.bits > b.bits && b.holds(a))),
    ("network_subeq", |c| both(c, |a, b| b.holds(a))),
    ("network_sup", |c| both(c, |a, b| a.bits < b.bits && a.holds(b))),
    ("network_supeq", |c| both(c, |a, b| a.holds(b))),
    ("network_overlap", |c| both(c, |a, b| a.holds(b) || b.holds(a))),
    ("inet_same_family", |c| both(c, |a, b| a.v6 == b.v6)),
    ("network_family", |c| c.one(|text: &str| of(text).map(|inet| if inet.v6 { 6 } else { 4 }))),
    ("network_host", |c| c.one(|text: &str| of(text).map(|inet| inet.host()))),
    ("network_show", |c| c.one(|text: &str| of(text).map(|inet| inet.shown()))),
    ("inet_abbrev", |c| c.one(|text: &str| of(text).map(|inet| inet.spelt()))),
    ("cidr_abbrev", |c| c.one(|text: &str| of(text).map(|cidr| cidr.abbreviated()))),
    ("network_masklen", |c| c.one(|text: &str| of(text).map(|inet| i32::from(inet.bits)))),
    ("network_network", |c| c.one(|text: &str| of(text).map(|inet| inet.masked().shown()))),
    ("network_broadcast", |c| c.one(|text: &str| number(of(text)?, |inet| inet.number() | host_mask(inet)))),
    ("network_netmask", |c| c.one(|text: &str| whole(of(text)?, Inet::mask))),
    ("network_hostmask", |c| c.one(|text: &str| whole(of(text)?, host_mask))),
    ("inet_set_masklen", |c| c.two(|text: &str, bits: i32| with_bits(of(text)?, bits).map(|inet| inet.spelt()))),
    ("cidr_set_masklen", |c| {
        c.two(|text: &str, bits: i32| with_bits(of(text)?, bits).map(|inet| inet.masked().shown()))
    }),
    ("inet_merge", |c| c.two(|a: &str, b: &str| merged(of(a)?, of(b)?))),
    ("inetnot", |c| c.one(|text: &str| number(of(text)?, |inet| !inet.number() & all(inet)))),
    ("inetand", |c| c.two(|a: &str, b: &str| combined(of(a)?, of(b)?, "AND", |a, b| a & b))),
    ("inetor", |c| c.two(|a: &str, b: &str| combined(of(a)?, of(b)?, "OR", |a, b| a | b))),
    ("inetpl", |c| c.two(|text: &str, by: i64| moved(of(text)?, i128::from(by)))),
    ("int8pl_inet/2631", |c| c.two(|by: i64, text: &str| moved(of(text)?, i128::from(by)))),
    ("inetmi_int8", |c| c.two(|text: &str, by: i64| moved(of(text)?, -i128::from(by)))),
    ("inetmi", |c| c.two(|a: &str, b: &str| distance(of(a)?, of(b)?))),
];

/// A value that lies here: an inet, whose spelling shows a mask where it is not of the whole address, or a cidr.
fn of(text: &str) -> Result<Inet> {
    Inet::inet(text)
}

fn both(call: &Call<'_>, f: impl Fn(&Inet, &Inet) -> bool) -> Result<ArrayRef> {
    call.two(|a: &str, b: &str| Ok(f(&of(a)?, &of(b)?)))
}

fn compare(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    both(call, |a, b| is(a.compare(b)))
}

/// `network_cmp`: memcmp of the bits that both networks have, else of what is left.
fn difference(a: &Inet, b: &Inet) -> i32 {
    if a.v6 != b.v6 {
        return a.compare(b) as i32;
    }
    let bits = a.bits.min(b.bits);
    match (a.differ(b, bits), i32::from(a.bits) - i32::from(b.bits)) {
        (0, 0) => a.differ(b, a.max_bits()),
        (0, longer) => longer,
        (differ, _) => differ,
    }
}

/// `network_send`: family, bits, whether it is a cidr, and the octets behind their number.
fn sent(inet: &Inet, is_cidr: bool) -> Vec<u8> {
    let (family, octets) = if inet.v6 { (3, 16) } else { (2, 4) };
    [&[family, inet.bits, u8::from(is_cidr), octets], inet.bytes()].concat()
}

/// What PostgreSQL hashes of an address: family, bits of the network, octets.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    let inet = of(text)?;
    Ok([&[if inet.v6 { 3 } else { 2 }, inet.bits], inet.bytes()].concat())
}

/// The octets of a macaddr or a macaddr8 as it lies.
pub(super) fn mac_bytes(text: &str) -> Result<Vec<u8>> {
    mac::bytes(text)
}

/// Every bit that an address of this family has.
fn all(inet: &Inet) -> u128 {
    Inet { bits: inet.max_bits(), ..*inet }.mask()
}

fn host_mask(inet: &Inet) -> u128 {
    all(inet) & !inet.mask()
}

/// The same network with another address.
fn number(inet: Inet, f: impl Fn(&Inet) -> u128) -> Result<String> {
    inet.with_number(f(&inet)).map(|inet| inet.spelt()).ok_or_else(out_of_range)
}

/// An address without a network.
fn whole(inet: Inet, f: impl Fn(&Inet) -> u128) -> Result<String> {
    inet.with_number(f(&inet)).map(|address| address.host()).ok_or_else(out_of_range)
}

fn with_bits(inet: Inet, bits: i32) -> Result<Inet> {
    let wanted = if bits == -1 { Some(inet.max_bits()) } else { u8::try_from(bits).ok() };
    let bits = wanted
        .filter(|bits| *bits <= inet.max_bits())
        .ok_or_else(|| Error::new(Kind::InvalidParameter, format!("invalid mask length: {bits}")))?;
    Ok(Inet { bits, ..inet })
}

/// The smallest network that holds both.
fn merged(a: Inet, b: Inet) -> Result<String> {
    if a.v6 != b.v6 {
        return Err(Error::new(Kind::InvalidParameter, "cannot merge addresses from different families"));
    }
    let different = u8::try_from((a.number() ^ b.number()).leading_zeros()).unwrap_or(128);
    let common = different - (128 - a.max_bits());
    let bits = a.bits.min(b.bits).min(common);
    Ok(Inet { bits, ..a }.masked().shown())
}

fn combined(a: Inet, b: Inet, name: &str, f: impl Fn(u128, u128) -> u128) -> Result<String> {
    if a.v6 != b.v6 {
        let text = format!("cannot {name} inet values of different sizes");
        return Err(Error::new(Kind::InvalidParameter, text));
    }
    let bits = a.bits.max(b.bits);
    number(Inet { bits, ..a }, |_| f(a.number(), b.number()))
}

fn moved(inet: Inet, by: i128) -> Result<String> {
    let number = inet.number().checked_add_signed(by).filter(|number| *number <= all(&inet));
    number.and_then(|number| inet.with_number(number)).map(|inet| inet.spelt()).ok_or_else(out_of_range)
}

fn distance(a: Inet, b: Inet) -> Result<i64> {
    if a.v6 != b.v6 {
        return Err(Error::new(Kind::InvalidParameter, "cannot subtract inet values of different sizes"));
    }
    // of sixteen bytes the difference is modulo 2^128
    i64::try_from(a.number().wrapping_sub(b.number()).cast_signed()).map_err(|_| out_of_range())
}

fn out_of_range() -> Error {
    Error::new(Kind::NumericRange, "result is out of range")
}
