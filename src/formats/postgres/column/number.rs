//! Writers of booleans and numbers: from any of Arrow's widths to the one PostgreSQL type. It knows no digits; those are
//! `postgres/number.rs`'s.

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;
use bytes::BytesMut;

use super::super::append::Append;
use super::super::mapping::Shown;
use super::super::number::{self, Decimal};
use super::super::numeric;
use super::super::types::Shape;
use super::{Format, Put, Spelling, always, boxed};
use crate::error::{Error, Kind};

pub(super) fn boolean<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let values = array.as_boolean_opt()?;
    Some(match spelling.format {
        Format::Text => always(|row, out| out.put_u8(if values.value(row) { b't' } else { b'f' })),
        Format::Binary => always(|row, out| out.put_u8(u8::from(values.value(row)))),
    })
}

/// The width on the wire is the PostgreSQL type's, whatever Arrow's.
pub(super) fn integer<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    match array.data_type() {
        DataType::Int8 => signed::<Int8Type>(array, shown, spelling),
        DataType::Int16 => signed::<Int16Type>(array, shown, spelling),
        DataType::Int32 => signed::<Int32Type>(array, shown, spelling),
        DataType::Int64 => signed::<Int64Type>(array, shown, spelling),
        DataType::UInt8 => signed::<UInt8Type>(array, shown, spelling),
        DataType::UInt16 => signed::<UInt16Type>(array, shown, spelling),
        DataType::UInt32 => signed::<UInt32Type>(array, shown, spelling),
        DataType::UInt64 => unsigned(array, shown, spelling),
        _ => None,
    }
}

fn signed<'a, T>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + itoa::Integer,
{
    let values: &[T::Native] = array.as_primitive_opt::<T>()?.values();
    let oid = shown.oid;
    Some(match (spelling.format, shown.shape) {
        (Format::Text, Shape::Oid) => always(move |row, out| {
            let value: i64 = values[row].into();
            match u32::try_from(value).ok().and_then(|of| spelling.object_names.name(oid, of)) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => number::integer(values[row], out),
            }
        }),
        (Format::Text, _) => always(|row, out| number::integer(values[row], out)),
        (Format::Binary, Shape::Int2) => always(|row, out| out.put_i16(values[row].into() as i16)),
        (Format::Binary, Shape::Int8) => always(|row, out| out.put_i64(values[row].into())),
        (Format::Binary, _) => always(|row, out| out.put_u32(values[row].into() as u32)),
    })
}

fn unsigned<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let values: &[u64] = array.as_primitive_opt::<UInt64Type>()?.values();
    Some(match (shown.shape, spelling.format) {
        (Shape::Lsn, Format::Text) => always(|row, out| {
            let value = values[row];
            out.extend_from_slice(format!("{:X}/{:X}", value >> 32, value & 0xffff_ffff).as_bytes());
        }),
        (Shape::Int8, format) => boxed(move |row, out| {
            let out_of_range = |_| Error::new(Kind::NumericRange, "bigint out of range");
            let value = i64::try_from(values[row]).map_err(out_of_range)?;
            match format {
                Format::Text => number::integer(value, out),
                Format::Binary => out.put_i64(value),
            }
            Ok(())
        }),
        (_, Format::Text) => always(|row, out| number::integer(values[row], out)),
        (_, Format::Binary) => always(|row, out| out.put_u64(values[row])),
    })
}

pub(super) fn float<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let extra = spelling.extra_float_digits;
    Some(match (array.data_type(), spelling.format) {
        (DataType::Float16, Format::Text) => {
            let values = array.as_primitive_opt::<Float16Type>()?;
            always(move |row, out| number::float4_with(values.value(row).to_f32(), extra, out))
        }
        (DataType::Float16, Format::Binary) => {
            let values = array.as_primitive_opt::<Float16Type>()?;
            always(|row, out| out.put_f32(values.value(row).to_f32()))
        }
        (DataType::Float32, format) => {
            let values: &[f32] = array.as_primitive_opt::<Float32Type>()?.values();
            match format {
                Format::Text => always(move |row, out| number::float4_with(values[row], extra, out)),
                Format::Binary => always(|row, out| out.put_f32(values[row])),
            }
        }
        (_, format) => {
            let values: &[f64] = array.as_primitive_opt::<Float64Type>()?.values();
            match format {
                Format::Text => always(move |row, out| number::float8_with(values[row], extra, out)),
                Format::Binary => always(|row, out| out.put_f64(values[row])),
            }
        }
    })
}

/// Of decimals, or of [`numeric`]'s ordered bytes.
pub(super) fn numeric<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let trims = shown.trims;
    let write = move |decimal: Decimal, out: &mut BytesMut| {
        let decimal = if trims { decimal.trimmed() } else { decimal };
        match spelling.format {
            Format::Text => decimal.text(out),
            Format::Binary => decimal.binary(out),
        }
        Ok(())
    };
    Some(match *array.data_type() {
        DataType::Decimal32(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal32Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row).into(), scale), out))
        }
        DataType::Decimal64(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal64Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row).into(), scale), out))
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal128Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row), scale), out))
        }
        DataType::Decimal256(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal256Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::large(values.value(row), scale), out))
        }
        DataType::Binary => {
            let values = array.as_binary_opt::<i32>()?;
            match spelling.format {
                Format::Text => always(|row, out| numeric::text_of(values.value(row), out)),
                Format::Binary => always(|row, out| numeric::send(values.value(row), out)),
            }
        }
        _ => return None,
    })
}
