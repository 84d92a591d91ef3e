//! Integers in and out, to each other, to oids, booleans and `"char"`. To floats and numerics: those families' own.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{Int16Type, Int32Type, Int64Type, UInt32Type};

use super::super::native;
use super::{integer_out_of_range, smallint_out_of_range};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input;
use crate::sql::kernel::{Call, Kernel};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("int2in", |c| c.one(|text: &str| input::integer::<i16>(text, "smallint"))),
    ("int4in", |c| c.one(|text: &str| input::integer::<i32>(text, "integer"))),
    ("int8in", |c| c.one(|text: &str| input::integer::<i64>(text, "bigint"))),
    ("oidin", |c| c.one(oid)),
    ("xidin", |c| c.one(xid)),
    ("cidin", |c| c.one(xid)),
    ("int2out", shown::<Int16Type>),
    ("int4out", shown::<Int32Type>),
    ("int8out", shown::<Int64Type>),
    ("oidout", shown::<UInt32Type>),
    ("xidout", shown::<UInt32Type>),
    ("cidout", shown::<UInt32Type>),
    ("i2toi4", |c| native::one::<Int16Type, Int32Type>(c, i32::from)),
    ("int28", |c| native::one::<Int16Type, Int64Type>(c, i64::from)),
    ("int48", |c| native::one::<Int32Type, Int64Type>(c, i64::from)),
    ("oidtoi8", |c| native::one::<UInt32Type, Int64Type>(c, i64::from)),
    ("i4toi2", |c| narrowed::<Int32Type, Int16Type>(c, smallint_out_of_range)),
    ("int82", |c| narrowed::<Int64Type, Int16Type>(c, smallint_out_of_range)),
    ("int84", |c| narrowed::<Int64Type, Int32Type>(c, integer_out_of_range)),
    ("i8tooid", |c| narrowed::<Int64Type, UInt32Type>(c, || Error::new(Kind::NumericRange, "OID out of range"))),
    ("int4_bool", |c| c.one(|value: i32| Ok(value != 0))),
    ("bool_int4", |c| c.one(|value: bool| Ok(i32::from(value)))),
    ("chartoi4", |c| c.one(|text: &str| Ok(text.bytes().next().map_or(0, |byte| i32::from(byte.cast_signed()))))),
    ("i4tochar", |c| c.one(character)),
];

fn shown<T: ArrowPrimitiveType>(call: &Call<'_>) -> Result<arrow::array::ArrayRef>
where
    T::Native: itoa::Integer,
    for<'a> T::Native: crate::sql::kernel::Read<'a>,
{
    let values = call.read::<T::Native>(0)?;
    let mut digits = itoa::Buffer::new();
    let mut texts = arrow::array::StringBuilder::with_capacity(call.rows, call.rows * 8);
    for row in 0..call.rows {
        texts.append_option(values.get(row).map(|value| digits.format(value)));
    }
    Ok(std::sync::Arc::new(texts.finish()))
}

fn narrowed<A: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    call: &Call<'_>,
    range: impl Fn() -> Error,
) -> Result<arrow::array::ArrayRef>
where
    R::Native: TryFrom<A::Native> + Default,
{
    native::one_checked::<A, R>(
        call,
        |value| match R::Native::try_from(value) {
            Ok(narrow) => (narrow, false),
            Err(_) => (R::Native::default(), true),
        },
        |_| range(),
    )
}

/// Negative numbers count down from 2^32.
fn oid(text: &str) -> Result<u32> {
    let range = || Error::new(Kind::NumericRange, format!("value \"{text}\" is out of range for type oid"));
    let number = input::integer::<i64>(text, "oid").map_err(|error| match error.kind() {
        Kind::NumericRange => range(),
        _ => error,
    })?;
    u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned)).map_err(|_| range())
}

/// As C's strtoul: the digits that the text begins with, or zero; cut to 32 bits.
fn xid(text: &str) -> Result<u32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if rest.starts_with('0') => (8, rest),
        _ => (10, rest),
    };
    let value = digits.chars().map_while(|c| c.to_digit(radix)).try_fold(0u64, |value, digit| {
        value.checked_mul(radix.into()).and_then(|value| value.checked_add(digit.into()))
    });
    let low = |value: u64| (value & u64::from(u32::MAX)) as u32;
    Ok(match (value, negative) {
        (None, _) => u32::MAX,
        (Some(value), true) => low(value.wrapping_neg()),
        (Some(value), false) => low(value),
    })
}

/// A `"char"` lies as text, which holds no lone byte above 127.
fn character(code: i32) -> Result<String> {
    match i8::try_from(code) {
        Ok(0) => Ok(String::new()),
        Ok(code @ 1..) => Ok(char::from(code.cast_unsigned()).to_string()),
        Ok(_) => Err(Error::unsupported("a \"char\" above 127")),
        Err(_) => Err(Error::new(Kind::NumericRange, "\"char\" out of range")),
    }
}
