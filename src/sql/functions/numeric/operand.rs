//! A numeric argument or result: in 128 bits where it fits, whatever its array looks like.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Decimal128Builder};
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::formats::postgres::numeric::Small;
use crate::sql::kernel::{Call, Numerics, Read, Write, Written};
use crate::sql::numeric::Numeric;

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Small(Small),
    Large(Numeric),
}

/// 10^n, where it is less than 2^127.
pub(super) fn ten(n: u32) -> Option<i128> {
    10i128.checked_pow(n)
}

impl Operand {
    pub(super) fn small(digits: i128, scale: u32) -> Self {
        Self::Small(Small { digits, scale })
    }

    pub(super) fn numeric(self) -> Numeric {
        match self {
            Self::Small(small) => small.numeric(),
            Self::Large(numeric) => numeric,
        }
    }

    pub(super) fn zero() -> Self {
        Self::small(0, 0)
    }
}

impl From<Numeric> for Operand {
    fn from(value: Numeric) -> Self {
        match &value {
            Numeric::Finite { digits, scale } => match i128::try_from(digits) {
                Ok(digits) => Self::small(digits, *scale),
                Err(_) => Self::Large(value),
            },
            _ => Self::Large(value),
        }
    }
}

impl<'a> Read<'a> for Operand {
    type Column = Numerics<'a>;

    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        Numeric::column(array)
    }

    fn value(column: &Self::Column, row: usize) -> Self {
        let decimal = |digits: Option<i128>, scale: i8| Some(Self::small(digits?, u32::try_from(scale).ok()?));
        let small = match column {
            Numerics::Small(array, scale) => decimal(Some(array.value(row)), *scale),
            Numerics::Large(array, scale) => decimal(array.value(row).to_i128(), *scale),
            Numerics::Bytes(array) => Small::decode(array.value(row)).map(Self::Small),
        };
        small.unwrap_or_else(|| Self::Large(Numeric::value(column, row)))
    }
}

impl Written for Operand {
    type Value = Self;

    fn written(self) -> Option<Self> {
        Some(self)
    }
}

impl Write for Operand {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        match call.result.data_type() {
            DataType::Binary => {
                let mut builder = BinaryBuilder::with_capacity(call.rows, call.rows * 12);
                let mut bytes = Vec::new();
                for value in values {
                    bytes.clear();
                    match value? {
                        Some(Self::Small(small)) => small.encode(&mut bytes),
                        Some(Self::Large(numeric)) => numeric.encode_into(&mut bytes),
                        None => {
                            builder.append_null();
                            continue;
                        }
                    }
                    builder.append_value(&bytes);
                }
                Ok(Arc::new(builder.finish()))
            }
            DataType::Decimal128(precision, scale) => {
                let mut builder = Decimal128Builder::with_capacity(call.rows);
                for value in values {
                    builder.append_option(value?.map(|value| value.at_scale(*scale)).transpose()?);
                }
                Ok(Arc::new(builder.finish().with_precision_and_scale(*precision, *scale)?))
            }
            _ => Numeric::collect(values.map(|value| Ok(value?.map(Self::numeric))), call),
        }
    }
}

impl Operand {
    /// For a column of that scale; 22003 where the value has more digits after the point, or too many before it.
    fn at_scale(self, scale: i8) -> Result<i128> {
        let range = || crate::error::Error::new(crate::error::Kind::NumericRange, "numeric field overflow");
        if let Self::Small(small) = &self
            && let Ok(scale) = u32::try_from(scale)
            && let Some(zeros) = scale.checked_sub(small.scale)
            && let Some(value) = ten(zeros).and_then(|power| small.digits.checked_mul(power))
        {
            return Ok(value);
        }
        self.numeric().to_i128(scale).ok_or_else(range)
    }
}
