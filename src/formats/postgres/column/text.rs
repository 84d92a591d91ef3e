//! Writers of strings, bytes, and of the types that are held as bytes: uuid, tid, timetz. It checks no content.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use bytes::BytesMut;

use super::super::append::Append;
use super::super::mapping::Shown;
use super::super::types::{self, Shape};
use super::super::{calendar, number};
use super::{Format, Put, Spelling, boxed, check_length};
use crate::error::{Error, Result};

pub(super) fn string<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    if spelling.format == Format::Binary && shown.shape == Shape::Spelt {
        let send = spelling.spelt.of_type(shown.oid)?;
        return strings(array, move |value, out| raw(&send(value)?, out));
    }
    // character(n) is shown with its blanks; jsonb in binary stands behind its version.
    let width = match (shown.oid, shown.typmod) {
        (types::BPCHAR, types::HEADER..) => usize::try_from(shown.typmod - types::HEADER).ok()?,
        _ => 0,
    };
    let version = spelling.format == Format::Binary && shown.shape == Shape::Versioned;
    let one_byte = spelling.format == Format::Binary && shown.oid == types::CHAR;
    let write = move |value: &str, out: &mut BytesMut| {
        check_length(value.len())?;
        if one_byte && value.is_empty() {
            out.put_u8(0);
        }
        if version {
            out.put_u8(1);
        }
        out.extend_from_slice(value.as_bytes());
        if width > 0 {
            out.put_bytes(b' ', width.saturating_sub(value.chars().count()));
        }
        Ok(())
    };
    strings(array, write)
}

fn strings<'a>(array: &'a dyn Array, write: impl Fn(&str, &mut BytesMut) -> Result<()> + 'a) -> Option<Put<'a>> {
    Some(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string_opt::<i32>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string_opt::<i64>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        _ => {
            let values = array.as_string_view_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
    })
}

pub(super) fn bytes<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let write: fn(&[u8], &mut BytesMut) -> Result<()> = match (spelling.format, shown.shape) {
        (Format::Text, Shape::Uuid) => uuid_text,
        (Format::Text, Shape::Tid) => tid_text,
        (Format::Text, Shape::TimeTz) => timetz_text,
        (Format::Text, _) => bytea_text,
        (Format::Binary, _) => raw,
    };
    Some(match array.data_type() {
        DataType::Binary => {
            let values = array.as_binary_opt::<i32>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::LargeBinary => {
            let values = array.as_binary_opt::<i64>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        _ => {
            let values = array.as_fixed_size_binary_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
    })
}

fn raw(value: &[u8], out: &mut BytesMut) -> Result<()> {
    check_length(value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

fn hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn bytea_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    check_length(value.len().saturating_mul(2).saturating_add(2))?;
    out.reserve(2 * value.len() + 2);
    out.extend_from_slice(b"\\x");
    hex(value, out);
    Ok(())
}

fn uuid_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let value: &[u8; 16] = value.try_into().map_err(|_| Error::internal("a uuid that is not 16 bytes long"))?;
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(uuid::Uuid::from_bytes_ref(value).hyphenated().encode_lower(&mut buffer).as_bytes());
    Ok(())
}

fn tid_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let [a, b, c, d, e, f] = *value else { return Err(Error::internal("a tid that is not 6 bytes long")) };
    out.put_u8(b'(');
    number::integer(u32::from_be_bytes([a, b, c, d]), out);
    out.put_u8(b',');
    number::integer(u16::from_be_bytes([e, f]), out);
    out.put_u8(b')');
    Ok(())
}

fn timetz_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let (Some(micros), Some(west)) = (value.first_chunk::<8>(), value.last_chunk::<4>()) else {
        return Err(Error::internal("a timetz that is not 12 bytes long"));
    };
    calendar::timetz(i64::from_be_bytes(*micros), i32::from_be_bytes(*west), out)
}
