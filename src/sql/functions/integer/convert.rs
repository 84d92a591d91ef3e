//! Integers in and out, to each other and to booleans. To floats, numerics, oids and `"char"`: those families' own.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{Int16Type, Int32Type, Int64Type};

use super::super::native;
use super::{integer_out_of_range, smallint_out_of_range};
use crate::error::{Error, Result};
use crate::formats::postgres::input;
use crate::sql::kernel::{Call, Kernel};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("int2in", |c| c.one(|text: &str| input::integer::<i16>(text, "smallint"))),
    ("int4in", |c| c.one(|text: &str| input::integer::<i32>(text, "integer"))),
    ("int8in", |c| c.one(|text: &str| input::integer::<i64>(text, "bigint"))),
    ("int2out", shown::<Int16Type>),
    ("int4out", shown::<Int32Type>),
    ("int8out", shown::<Int64Type>),
    ("i2toi4", |c| native::one::<Int16Type, Int32Type>(c, i32::from)),
    ("int28", |c| native::one::<Int16Type, Int64Type>(c, i64::from)),
    ("int48", |c| native::one::<Int32Type, Int64Type>(c, i64::from)),
    ("i4toi2", |c| narrowed::<Int32Type, Int16Type>(c, smallint_out_of_range)),
    ("int82", |c| narrowed::<Int64Type, Int16Type>(c, smallint_out_of_range)),
    ("int84", |c| narrowed::<Int64Type, Int32Type>(c, integer_out_of_range)),
    ("int4_bool", |c| c.one(|value: i32| Ok(value != 0))),
    ("bool_int4", |c| c.one(|value: bool| Ok(i32::from(value)))),
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
