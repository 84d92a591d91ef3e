//! Values that lie in their type's own spelling, received in binary: bit strings, network addresses, money. How they are sent
//! is [`super::SpeltBinary`]'s.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::types;
use crate::error::{Error, Kind, Result};

/// The text of a value; `None` for types that are not received here.
pub(super) fn receive(type_oid: u32, bytes: &[u8]) -> Option<Result<String>> {
    Some(match type_oid {
        types::BIT | types::VARBIT => bits(bytes),
        types::INET => address(bytes, "inet"),
        types::CIDR => address(bytes, "cidr"),
        types::MACADDR => octets::<6>(bytes),
        types::MACADDR8 => octets::<8>(bytes),
        types::MONEY => money(bytes),
        _ => return None,
    })
}

fn bits(bytes: &[u8]) -> Result<String> {
    let (length, bytes) = bytes.split_first_chunk().ok_or_else(short)?;
    let invalid = || bad("invalid length in external bit string");
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| invalid())?;
    if bytes.len() < length.div_ceil(8) {
        return Err(short());
    }
    if bytes.len() > length.div_ceil(8) {
        return Err(leftover());
    }
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    Ok((0..length).map(|at| if bit(at) { '1' } else { '0' }).collect())
}

/// Family, bits of the network, whether it is one, octets (`network_recv`).
fn address(bytes: &[u8], name: &str) -> Result<String> {
    let ([family, width, _, count], octets) = bytes.split_first_chunk().ok_or_else(short)?;
    let invalid = |what: &str| bad(format!("invalid {what} in external \"{name}\" value"));
    let (max, octets_max) = match family {
        2 => (32, 4),
        3 => (128, 16),
        _ => return Err(invalid("address family")),
    };
    if *width > max {
        return Err(invalid("bits"));
    }
    if usize::from(*count) != octets_max {
        return Err(invalid("length"));
    }
    if octets.len() < octets_max {
        return Err(short());
    }
    let host = if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        Ipv4Addr::from(octets).to_string()
    } else if let Ok(octets) = <[u8; 16]>::try_from(octets) {
        Ipv6Addr::from(octets).to_string()
    } else {
        return Err(leftover());
    };
    if name == "cidr" {
        let number = octets.iter().fold(0u128, |number, octet| number << 8 | u128::from(*octet));
        let beyond = 1u128.checked_shl(u32::from(max - width)).map_or(u128::MAX, |one| one - 1);
        if number & beyond != 0 {
            return Err(bad("invalid external \"cidr\" value").with_detail("Value has bits set to right of mask."));
        }
        return Ok(format!("{host}/{width}"));
    }
    Ok(if *width == max { host } else { format!("{host}/{width}") })
}

fn octets<const N: usize>(bytes: &[u8]) -> Result<String> {
    let (octets, rest) = bytes.split_first_chunk::<N>().ok_or_else(short)?;
    if !rest.is_empty() {
        return Err(leftover());
    }
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
}

/// Cents, as lc_monetary C spells them.
fn money(bytes: &[u8]) -> Result<String> {
    let (cents, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    if !rest.is_empty() {
        return Err(leftover());
    }
    let cents = i64::from_be_bytes(*cents);
    let (whole, rest) = ((cents.unsigned_abs() / 100).to_string(), cents.unsigned_abs() % 100);
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    Ok(format!("{}${grouped}.{rest:02}", if cents < 0 { "-" } else { "" }))
}

fn short() -> Error {
    Error::new(Kind::Protocol, "insufficient data left in message")
}

fn leftover() -> Error {
    bad("incorrect binary data format")
}

fn bad(text: impl Into<String>) -> Error {
    Error::new(Kind::InvalidBinary, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    // the bytes are those that PostgreSQL sends
    #[test]
    fn what_is_sent_is_read() {
        for (oid, bytes, text) in [
            (types::BIT, &b"\0\0\0\x03\xa0"[..], "101"),
            (types::VARBIT, b"\0\0\0\0", ""),
            (types::INET, b"\x02\x20\0\x04\x0a\0\0\x01", "10.0.0.1"),
            (types::INET, b"\x02\x08\0\x04\x0a\0\0\x01", "10.0.0.1/8"),
            (types::CIDR, b"\x02\x08\x01\x04\x0a\0\0\0", "10.0.0.0/8"),
            (types::INET, b"\x03\x80\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "::1"),
            (types::MACADDR, b"\x08\0\x2b\x01\x02\x03", "08:00:2b:01:02:03"),
            (types::MONEY, b"\0\0\0\0\0\x12\xd6\x87", "$12,345.67"),
            (types::MONEY, b"\xff\xff\xff\xff\xff\xff\xff\xff", "-$0.01"),
        ] {
            assert_eq!(receive(oid, bytes).unwrap().unwrap(), text);
        }
        for (oid, bytes, code) in [
            (types::CIDR, &b"\x02\x08\x01\x04\x0a\0\0\x01"[..], "22P03"),
            (types::INET, b"\x09\x08\x01\x04\x0a\0\0\x01", "22P03"),
            (types::MONEY, b"\0", "08P01"),
            (types::BIT, b"\0\0\0\x09\xa0", "08P01"),
            (types::MACADDR, b"\0\0\0\0\0\0\0", "22P03"),
        ] {
            assert_eq!(receive(oid, bytes).unwrap().unwrap_err().kind().sqlstate(), code);
        }
    }
}
