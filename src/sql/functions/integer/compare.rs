//! Comparisons of integers of any two widths, and of the oid-like numbers. Those of equal types are lowered to native ones;
//! these stand where that is not possible.

use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt32Type, UInt64Type};

use super::super::native;
use super::{count, joined};
use crate::sql::kernel::Kernel;

/// The six conditions on an `$a` and a `$b`, as `$n`.
macro_rules! six {
    ($name:literal, $a:ty, $b:ty, $n:ty) => {
        &[
            (concat!($name, "eq"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) == <$n>::from(b))),
            (concat!($name, "ne"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) != <$n>::from(b))),
            (concat!($name, "lt"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) < <$n>::from(b))),
            (concat!($name, "le"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) <= <$n>::from(b))),
            (concat!($name, "gt"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) > <$n>::from(b))),
            (concat!($name, "ge"), |c| native::compare::<$a, $b>(c, |a, b| <$n>::from(a) >= <$n>::from(b))),
        ]
    };
}

/// btree's: -1, 0, 1; of int2 alone PostgreSQL gives the difference.
macro_rules! order {
    ($name:literal, $a:ty, $b:ty, $n:ty) => {
        ($name, |c| native::two::<$a, $b, Int32Type>(c, |a, b| <$n>::from(a).cmp(&<$n>::from(b)) as i32))
    };
}

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] = &[
    six!("int2", Int16Type, Int16Type, i16),
    six!("int4", Int32Type, Int32Type, i32),
    six!("int8", Int64Type, Int64Type, i64),
    six!("oid", UInt32Type, UInt32Type, u32),
    six!("xid8", UInt64Type, UInt64Type, u64),
    &[
        ("btint2cmp", |c| native::two::<Int16Type, Int16Type, Int32Type>(c, |a, b| i32::from(a) - i32::from(b))),
        order!("btint4cmp", Int32Type, Int32Type, i32),
        order!("btint8cmp", Int64Type, Int64Type, i64),
        order!("btoidcmp", UInt32Type, UInt32Type, u32),
        order!("xid8cmp", UInt64Type, UInt64Type, u64),
        ("oidlarger", |c| native::two::<UInt32Type, UInt32Type, UInt32Type>(c, u32::max)),
        ("oidsmaller", |c| native::two::<UInt32Type, UInt32Type, UInt32Type>(c, u32::min)),
        // also an xid and an integer
        ("xideq", |c| match c.arg(1)?.array.data_type() {
            DataType::Int32 => native::compare::<UInt32Type, Int32Type>(c, |a, b| a == b.cast_unsigned()),
            _ => native::compare::<UInt32Type, UInt32Type>(c, |a, b| a == b),
        }),
        ("xidneq", |c| match c.arg(1)?.array.data_type() {
            DataType::Int32 => native::compare::<UInt32Type, Int32Type>(c, |a, b| a != b.cast_unsigned()),
            _ => native::compare::<UInt32Type, UInt32Type>(c, |a, b| a != b),
        }),
        ("cideq", |c| native::compare::<UInt32Type, UInt32Type>(c, |a, b| a == b)),
    ],
];

/// Of two widths.
pub(super) const ACROSS: &[(&str, Kernel)] = &joined::<{ count(ACROSS_PARTS) }>(ACROSS_PARTS);

const ACROSS_PARTS: &[&[(&str, Kernel)]] = &[
    six!("int24", Int16Type, Int32Type, i32),
    six!("int42", Int32Type, Int16Type, i32),
    six!("int28", Int16Type, Int64Type, i64),
    six!("int82", Int64Type, Int16Type, i64),
    six!("int48", Int32Type, Int64Type, i64),
    six!("int84", Int64Type, Int32Type, i64),
    &[
        order!("btint24cmp", Int16Type, Int32Type, i32),
        order!("btint42cmp", Int32Type, Int16Type, i32),
        order!("btint28cmp", Int16Type, Int64Type, i64),
        order!("btint82cmp", Int64Type, Int16Type, i64),
        order!("btint48cmp", Int32Type, Int64Type, i64),
        order!("btint84cmp", Int64Type, Int32Type, i64),
    ],
];
