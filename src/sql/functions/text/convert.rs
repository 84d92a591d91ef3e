//! Encodings of characters: convert, convert_from, convert_to, to_ascii. UTF8, LATIN1 and SQL_ASCII are converted; the
//! others are known by name.

use std::borrow::Cow;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::encodings::{self, LATIN1, SQL_ASCII, UTF8, number};
use crate::sql::kernel::Kernel;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("pg_convert", |c| c.three(|bytes: &[u8], from: &str, to: &str| convert(bytes, from, to).map(Cow::into_owned))),
    ("pg_convert_from", |c| {
        c.two(|bytes: &[u8], from: &str| {
            let text = convert(bytes, from, "UTF8")?.into_owned();
            String::from_utf8(text).map_err(|e| invalid_utf8(e.as_bytes(), e.utf8_error().valid_up_to()))
        })
    }),
    ("pg_convert_to", |c| c.two(|text: &str, to: &str| convert(text.as_bytes(), "UTF8", to).map(Cow::into_owned))),
    ("length_in_encoding", |c| {
        c.two(|bytes: &[u8], name: &str| {
            let unknown = || Error::new(Kind::InvalidParameter, format!("invalid encoding name \"{name}\""));
            let encoding = number(name).ok_or_else(unknown)?;
            Ok(super::int(match encoding {
                UTF8 => verified(bytes)?.chars().count(),
                LATIN1 | SQL_ASCII => {
                    no_zero(bytes, encodings::name(encoding).unwrap_or_default())?;
                    bytes.len()
                }
                other => return Err(unsupported(other)),
            }))
        })
    }),
    ("to_ascii_default", |c| {
        c.one(|_: &str| {
            Err::<&str, _>(
                Error::unsupported("encoding conversion from UTF8 to ASCII")
                    .map_message(|_| "encoding conversion from UTF8 to ASCII not supported".into()),
            )
        })
    }),
    ("to_ascii_encname", |c| {
        c.two(|_: &str, name: &str| match number(name) {
            Some(_) => Err::<&str, _>(Error::unsupported("to_ascii")),
            None => Err(Error::new(Kind::UndefinedObject, format!("{name} is not a valid encoding name"))),
        })
    }),
    ("to_ascii_enc", |c| {
        c.two(|_: &str, code: i32| match usize::try_from(code).ok().and_then(encodings::name) {
            Some(_) => Err::<&str, _>(Error::unsupported("to_ascii")),
            None => Err(Error::new(Kind::UndefinedObject, format!("{code} is not a valid encoding code"))),
        })
    }),
    ("PG_char_to_encoding", |c| c.one(|name: &str| Ok(number(name).map_or(-1, super::int)))),
    ("PG_encoding_to_char", |c| {
        c.one(|code: i32| Ok(usize::try_from(code).ok().and_then(encodings::name).unwrap_or("")))
    }),
    ("pg_encoding_max_length_sql", |c| {
        c.one(|code: i32| Ok(usize::try_from(code).ok().and_then(encodings::bytes_max)))
    }),
];

fn unsupported(encoding: usize) -> Error {
    Error::unsupported(format!("encoding {}", encodings::name(encoding).unwrap_or_default()))
}

fn invalid(encoding: &str, bytes: &[u8]) -> Error {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    let text = format!("invalid byte sequence for encoding \"{encoding}\": {}", bytes.join(" "));
    Error::new(Kind::InvalidEncoding, text)
}

/// Shows as many bytes as the first of them announces.
fn invalid_utf8(bytes: &[u8], at: usize) -> Error {
    let rest = bytes.get(at..).unwrap_or_default();
    let announced = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    invalid("UTF8", &rest[..rest.len().min(announced)])
}

fn verified(bytes: &[u8]) -> Result<&str> {
    let zero = bytes.iter().position(|byte| *byte == 0);
    match std::str::from_utf8(bytes) {
        Err(e) if zero.is_none_or(|zero| e.valid_up_to() < zero) => Err(invalid_utf8(bytes, e.valid_up_to())),
        _ if zero.is_some() => Err(invalid("UTF8", &[0])),
        Err(e) => Err(invalid_utf8(bytes, e.valid_up_to())),
        Ok(text) => Ok(text),
    }
}

fn no_zero(bytes: &[u8], encoding: &str) -> Result<()> {
    if bytes.contains(&0) { Err(invalid(encoding, &[0])) } else { Ok(()) }
}

fn convert<'a>(bytes: &'a [u8], from: &str, to: &str) -> Result<Cow<'a, [u8]>> {
    let named = |name: &str, what: &str| {
        number(name)
            .ok_or_else(|| Error::new(Kind::InvalidParameter, format!("invalid {what} encoding name \"{name}\"")))
    };
    let (from, to) = (named(from, "source")?, named(to, "destination")?);
    // what comes in is looked at in its own encoding
    match from {
        UTF8 => verified(bytes).map(|_| ())?,
        LATIN1 | SQL_ASCII => no_zero(bytes, encodings::name(from).unwrap_or_default())?,
        other => return Err(unsupported(other)),
    }
    match (from, to) {
        (UTF8, LATIN1) => {
            let one = |c: char| {
                u8::try_from(u32::from(c)).map_err(|_| {
                    let mut buffer = [0; 4];
                    let bytes: Vec<String> = c.encode_utf8(&mut buffer).bytes().map(|b| format!("0x{b:02x}")).collect();
                    let text = format!(
                        "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                        bytes.join(" ")
                    );
                    Error::new(Kind::UntranslatableText, text)
                })
            };
            Ok(Cow::Owned(verified(bytes)?.chars().map(one).collect::<Result<_>>()?))
        }
        (LATIN1, UTF8) => Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())),
        (SQL_ASCII, UTF8) => verified(bytes).map(|text| Cow::Borrowed(text.as_bytes())),
        (_, UTF8 | LATIN1 | SQL_ASCII) => Ok(Cow::Borrowed(bytes)),
        (_, other) => Err(unsupported(other)),
    }
}
