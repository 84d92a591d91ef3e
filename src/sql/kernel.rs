//! How a function of PostgreSQL is computed over whole arrays: what a kernel is given, and loops that read and write its
//! values so that a kernel says only what one row means. It knows no function.
//!
//! A family (`functions/<family>.rs`) lists its kernels by `prosrc`:
//!
//! ```ignore
//! pub(super) const KERNELS: &[(&str, Kernel)] = &[
//!     ("int4pl", |c| c.two(|a: i32, b: i32| a.checked_add(b).ok_or_else(integer_out_of_range))),
//!     ("textlen", |c| c.one(|text: &str| Ok(text.chars().count() as i32))),
//! ];
//! ```
//!
//! `one`, `two`, … are for strict functions: a NULL argument gives NULL without asking. `rows_of` is for the others. A
//! closure may give `Result<T>` or `Result<Option<T>>`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Decimal128Array,
    Decimal128Builder, Decimal256Array, Decimal256Builder, FixedSizeBinaryArray, FixedSizeBinaryBuilder, ListArray,
    PrimitiveArray, PrimitiveBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::functions::random::Random;
use super::numeric::Numeric;
use crate::error::{Error, Kind, Result};
pub(crate) use crate::formats::postgres::{DateOrder, DateOutput, DateStyle, IntervalStyle};
use crate::formats::postgres::{ObjectNames, SpeltBinary, Style};
use crate::pgtype::Ty;

/// Computes a whole array. Gives `call.rows` values of the type of `call.result`.
pub(crate) type Kernel = fn(&Call<'_>) -> Result<ArrayRef>;

/// One application of a function to a batch.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) args: &'a [Arg],
    /// PostgreSQL's type of each argument.
    pub(crate) types: &'a [Ty],
    pub(crate) rows: usize,
    /// What is to come out, as Arrow has it.
    pub(crate) result: &'a Field,
    pub(crate) result_type: Ty,
    pub(crate) env: &'a Env,
}

/// An argument: `rows` values, or one that counts for every row.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    pub(crate) array: ArrayRef,
    pub(crate) constant: bool,
}

/// What of a session and its transaction a function may depend on.
#[derive(Clone, Debug)]
pub(crate) struct Env {
    pub(crate) time_zone: Tz,
    pub(crate) date_style: DateStyle,
    pub(crate) interval_style: IntervalStyle,
    /// When the transaction started, in microseconds since 1970: `now()`.
    pub(crate) now: i64,
    pub(crate) statement_now: i64,
    /// 1 and more: the shortest digits that read back the same.
    pub(crate) extra_float_digits: i32,
    pub(crate) bytea_escape: bool,
    /// The search path has the schema `public`, where extensions stand.
    pub(crate) public_on_path: bool,
    pub(crate) random: Random,
    pub(crate) budget: Budget,
}

/// How large a value may be, and whom to ask before many bytes are made.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) value_bytes_max: usize,
    /// `None` where nobody runs a statement.
    pub(crate) memory: Option<Arc<dyn Memory>>,
    /// While a plan is made: what is larger than [`CONSTANT_BYTES_MAX`] does not become a literal of it.
    pub(crate) planning: bool,
}

/// A literal lies in each copy of a plan, and is printed into the names that DataFusion's rules ask for. A larger one is
/// held aside.
pub(crate) const CONSTANT_BYTES_MAX: usize = 64 << 10;

/// A statement's share of the memory pool.
pub(crate) trait Memory: std::fmt::Debug + Send + Sync {
    /// 53200 where the pool has not so much left.
    fn reserve(&self, bytes: usize) -> Result<Box<dyn Reserved>>;
    /// Bytes of a constant, which stays in its plan to the end.
    fn keep(&self, bytes: usize) -> Result<()>;
}

/// Bytes of the pool, given back when it is dropped.
pub(crate) trait Reserved: Send {
    fn grow(&mut self, bytes: usize) -> Result<()>;
    /// The same array; the bytes are given back when its last slice is gone.
    fn attach(self: Box<Self>, array: ArrayRef) -> Result<ArrayRef>;
}

/// Results smaller than this are not asked for, and larger ones in steps of it: there are never many at once.
const FREE_BYTES: usize = 256 << 10;

impl Budget {
    /// 54000 for one value larger than a value may be. To be asked before it is made.
    pub(crate) fn value(&self, bytes: usize) -> Result<()> {
        if bytes <= self.value_bytes_max {
            return Ok(());
        }
        let text = format!("a function would make a value larger than {} bytes", self.value_bytes_max);
        Err(Error::new(Kind::TooLarge, text))
    }

    /// Whether a value may be a literal. The error is never shown: whoever asks leaves the expression as it is.
    pub(crate) fn literal(&self, bytes: usize) -> Result<()> {
        match self.planning && bytes > CONSTANT_BYTES_MAX {
            true => Err(Error::internal("a constant that is too large for a literal")),
            false => Ok(()),
        }
    }

    /// Room for constants while a function reads them: they are copied for it, as often as it is called.
    pub(crate) fn lend(&self, bytes: usize) -> Result<Option<Box<dyn Reserved>>> {
        match &self.memory {
            Some(memory) if bytes > FREE_BYTES => memory.reserve(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// A value that was computed while a statement is planned.
    pub(crate) fn keep(&self, bytes: usize) -> Result<()> {
        match &self.memory {
            Some(memory) if bytes > FREE_BYTES => memory.keep(bytes),
            _ => Ok(()),
        }
    }
}

/// Bytes of values that are being made, asked for step by step.
pub(crate) struct Growing<'a> {
    budget: &'a Budget,
    bytes: usize,
    asked: usize,
    reserved: Option<Box<dyn Reserved>>,
}

impl<'a> Growing<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { budget, bytes: 0, asked: FREE_BYTES, reserved: None }
    }

    pub(crate) fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        if self.bytes <= self.asked {
            return Ok(());
        }
        self.budget.value(bytes)?;
        fits_offsets(self.bytes)?;
        let Some(memory) = &self.budget.memory else { return Ok(()) };
        // builders double what they hold
        let step = self.bytes.saturating_sub(self.asked).max(self.asked);
        match &mut self.reserved {
            Some(reserved) => reserved.grow(step)?,
            None => self.reserved = Some(memory.reserve(self.asked + step)?),
        }
        self.asked += step;
        Ok(())
    }

    pub(crate) fn finish(self, array: ArrayRef) -> Result<ArrayRef> {
        match self.reserved {
            Some(reserved) => reserved.attach(array),
            None => Ok(array),
        }
    }
}

impl Env {
    /// UTC, ISO, no session: for constants of a catalog, and tests.
    pub(crate) fn plain() -> Self {
        Self {
            time_zone: Tz::UTC,
            date_style: DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy },
            interval_style: IntervalStyle::Postgres,
            now: 0,
            statement_now: 0,
            extra_float_digits: 1,
            bytea_escape: false,
            public_on_path: false,
            random: Random::default(),
            budget: Budget { value_bytes_max: 64 << 20, memory: None, planning: false },
        }
    }

    /// For the input and output functions of `formats`.
    pub(crate) fn style(&self) -> Style {
        Style {
            time_zone: self.time_zone,
            date_style: self.date_style,
            interval_style: self.interval_style,
            extra_float_digits: self.extra_float_digits,
            now: self.now,
            object_names: ObjectNames::by(super::functions::object_name),
            spelt: SpeltBinary::by(super::functions::spelt_binary),
        }
    }
}

impl Arg {
    pub(crate) fn array(array: ArrayRef) -> Self {
        Self { array, constant: false }
    }

    pub(crate) fn constant(array: ArrayRef) -> Self {
        Self { array, constant: true }
    }

    pub(crate) fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row))
    }

    /// Readable as `T`.
    pub(crate) fn read<'a, T: Read<'a>>(&'a self) -> Result<Values<'a, T>> {
        let wrong = || Error::internal(format!("a kernel was given {}", self.array.data_type()));
        Ok(Values { column: T::column(&self.array).ok_or_else(wrong)?, arg: self })
    }
}

/// An argument's values as `T`.
#[derive(Debug)]
pub(crate) struct Values<'a, T: Read<'a>> {
    column: T::Column,
    arg: &'a Arg,
}

impl<'a, T: Read<'a>> Values<'a, T> {
    /// `None` for NULL.
    pub(crate) fn get(&self, row: usize) -> Option<T> {
        let row = self.arg.at(row);
        (!self.arg.array.is_null(row)).then(|| T::value(&self.column, row))
    }
}

impl<'a> Call<'a> {
    pub(crate) fn arg(&self, i: usize) -> Result<&'a Arg> {
        self.args.get(i).ok_or_else(|| Error::internal(format!("a kernel wants argument {i}")))
    }

    pub(crate) fn read<T: Read<'a>>(&self, i: usize) -> Result<Values<'a, T>> {
        self.arg(i)?.read()
    }

    /// For functions without arguments and for those that are not strict: `row` makes each value.
    pub(crate) fn rows_of<R: Written>(&self, row: impl FnMut(usize) -> Result<R>) -> Result<ArrayRef> {
        let mut row = row;
        R::Value::collect((0..self.rows).map(|i| row(i).map(R::written)), self)
    }

    pub(crate) fn one<A: Read<'a>, R: Written>(&self, f: impl Fn(A) -> Result<R>) -> Result<ArrayRef> {
        let a = self.read::<A>(0)?;
        R::Value::collect(
            (0..self.rows).map(|i| match a.get(i) {
                Some(a) => f(a).map(R::written),
                None => Ok(None),
            }),
            self,
        )
    }

    pub(crate) fn two<A: Read<'a>, B: Read<'a>, R: Written>(&self, f: impl Fn(A, B) -> Result<R>) -> Result<ArrayRef> {
        let (a, b) = (self.read::<A>(0)?, self.read::<B>(1)?);
        R::Value::collect(
            (0..self.rows).map(|i| match (a.get(i), b.get(i)) {
                (Some(a), Some(b)) => f(a, b).map(R::written),
                _ => Ok(None),
            }),
            self,
        )
    }

    pub(crate) fn three<A: Read<'a>, B: Read<'a>, C: Read<'a>, R: Written>(
        &self,
        f: impl Fn(A, B, C) -> Result<R>,
    ) -> Result<ArrayRef> {
        let (a, b, c) = (self.read::<A>(0)?, self.read::<B>(1)?, self.read::<C>(2)?);
        R::Value::collect(
            (0..self.rows).map(|i| match (a.get(i), b.get(i), c.get(i)) {
                (Some(a), Some(b), Some(c)) => f(a, b, c).map(R::written),
                _ => Ok(None),
            }),
            self,
        )
    }

    pub(crate) fn four<A: Read<'a>, B: Read<'a>, C: Read<'a>, D: Read<'a>, R: Written>(
        &self,
        f: impl Fn(A, B, C, D) -> Result<R>,
    ) -> Result<ArrayRef> {
        let (a, b, c, d) = (self.read::<A>(0)?, self.read::<B>(1)?, self.read::<C>(2)?, self.read::<D>(3)?);
        R::Value::collect(
            (0..self.rows).map(|i| match (a.get(i), b.get(i), c.get(i), d.get(i)) {
                (Some(a), Some(b), Some(c), Some(d)) => f(a, b, c, d).map(R::written),
                _ => Ok(None),
            }),
            self,
        )
    }

    /// Any argument NULL in this row.
    pub(crate) fn any_null(&self, row: usize) -> bool {
        self.args.iter().any(|arg| arg.is_null(row))
    }
}

/// A value as it is read from an array.
pub(crate) trait Read<'a>: Sized {
    type Column: std::fmt::Debug;
    /// `None` where the array holds something else.
    fn column(array: &'a ArrayRef) -> Option<Self::Column>;
    /// Of a row that is not NULL.
    fn value(column: &Self::Column, row: usize) -> Self;
}

/// A value as it is written to an array.
pub(crate) trait Write: Sized {
    /// `call.rows` values into an array of the type of `call.result`.
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef>;
}

/// What a closure may give for a row: a value, or a value or NULL.
pub(crate) trait Written {
    type Value: Write;
    fn written(self) -> Option<Self::Value>;
}

impl<T: Write> Written for Option<T> {
    type Value = T;
    fn written(self) -> Option<T> {
        self
    }
}

macro_rules! written {
    ($($t:ty),*) => {
        $(impl Written for $t {
            type Value = $t;
            fn written(self) -> Option<$t> {
                Some(self)
            }
        })*
    };
}

written!(
    bool,
    i16,
    i32,
    i64,
    u32,
    u64,
    f32,
    f64,
    Date,
    Time,
    Stamp,
    Interval,
    [u8; 16],
    [u8; 12],
    String,
    Vec<u8>,
    Numeric
);
written!(ArrayRef);

impl<'a> Written for &'a str {
    type Value = &'a str;
    fn written(self) -> Option<&'a str> {
        Some(self)
    }
}

impl<'a> Written for Cow<'a, str> {
    type Value = Cow<'a, str>;
    fn written(self) -> Option<Cow<'a, str>> {
        Some(self)
    }
}

impl<'a> Written for &'a [u8] {
    type Value = &'a [u8];
    fn written(self) -> Option<&'a [u8]> {
        Some(self)
    }
}

/// A date: days since 1970; the infinities are `i32::MIN` and `i32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) i32);

/// A time of day in microseconds, up to and with 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i64);

/// A timestamp, with or without time zone: microseconds since 1970; the infinities are `i64::MIN` and `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) i64);

/// Months, days, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

macro_rules! primitive {
    ($($t:ty, $arrow:ty, $read:expr, $write:expr;)*) => {
        $(impl<'a> Read<'a> for $t {
            type Column = &'a PrimitiveArray<$arrow>;
            fn column(array: &'a ArrayRef) -> Option<Self::Column> {
                array.as_primitive_opt::<$arrow>()
            }
            fn value(column: &Self::Column, row: usize) -> Self {
                let read: fn(<$arrow as ArrowPrimitiveType>::Native) -> $t = $read;
                read(column.value(row))
            }
        }
        impl Write for $t {
            fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
                let write: fn($t) -> Result<<$arrow as ArrowPrimitiveType>::Native> = $write;
                let mut builder = PrimitiveBuilder::<$arrow>::with_capacity(call.rows);
                for value in values {
                    match value? {
                        Some(value) => builder.append_value(write(value)?),
                        None => builder.append_null(),
                    }
                }
                let array = builder.finish();
                Ok(if array.data_type() == call.result.data_type() {
                    Arc::new(array)
                } else {
                    Arc::new(array.with_data_type(call.result.data_type().clone()))
                })
            }
        })*
    };
}

primitive! {
    i16, Int16Type, |v| v, Ok;
    i32, Int32Type, |v| v, Ok;
    i64, Int64Type, |v| v, Ok;
    u32, UInt32Type, |v| v, Ok;
    u64, UInt64Type, |v| v, Ok;
    f32, Float32Type, |v| v, Ok;
    f64, Float64Type, |v| v, Ok;
    Date, Date32Type, Date, |v| Ok(v.0);
    Time, Time64MicrosecondType, Time, |v| Ok(v.0);
    Stamp, TimestampMicrosecondType, Stamp, |v| Ok(v.0);
    Interval, IntervalMonthDayNanoType, Interval::of, Interval::arrow;
}

impl Interval {
    pub(crate) fn of(value: IntervalMonthDayNano) -> Self {
        Self { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
    }

    /// 0A000 beyond some 292 years of time, which Arrow's nanoseconds do not reach.
    pub(crate) fn arrow(self) -> Result<IntervalMonthDayNano> {
        let nanos = self.micros.checked_mul(1000).ok_or_else(|| {
            Error::unsupported("an interval of more than 2562047 hours")
                .with_hint("Hours beyond those can be written as days: justify_hours().")
        })?;
        Ok(IntervalMonthDayNano::new(self.months, self.days, nanos))
    }
}

impl<'a> Read<'a> for bool {
    type Column = &'a BooleanArray;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        array.as_boolean_opt()
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        column.value(row)
    }
}

impl Write for bool {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, _: &Call<'_>) -> Result<ArrayRef> {
        Ok(Arc::new(values.collect::<Result<BooleanArray>>()?))
    }
}

impl<'a> Read<'a> for &'a str {
    type Column = &'a StringArray;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        array.as_string_opt::<i32>()
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        column.value(row)
    }
}

fn strings<S: AsRef<str>>(values: impl Iterator<Item = Result<Option<S>>>, call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = StringBuilder::with_capacity(call.rows, call.rows * 8);
    let mut growing = Growing::new(&call.env.budget);
    for value in values {
        match value? {
            Some(value) => {
                let value = value.as_ref();
                growing.add(value.len())?;
                builder.append_value(value);
            }
            None => builder.append_null(),
        }
    }
    growing.finish(Arc::new(builder.finish()))
}

/// Arrow counts the bytes of one array in an i32.
fn fits_offsets(bytes: usize) -> Result<()> {
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(Kind::OutOfMemory, "the values of one batch exceed 2 GiB")),
    }
}

impl Write for &str {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        strings(values, call)
    }
}

impl Write for Cow<'_, str> {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        strings(values, call)
    }
}

impl Write for String {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        strings(values, call)
    }
}

impl<'a> Read<'a> for &'a [u8] {
    type Column = Bytes<'a>;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        let fixed = || array.as_fixed_size_binary_opt().map(Bytes::Fixed);
        array.as_binary_opt::<i32>().map(Bytes::Variable).or_else(fixed)
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        match column {
            Bytes::Variable(array) => array.value(row),
            Bytes::Fixed(array) => array.value(row),
        }
    }
}

/// A column of bytes, of one length or of several.
#[derive(Debug)]
pub(crate) enum Bytes<'a> {
    Variable(&'a BinaryArray),
    Fixed(&'a FixedSizeBinaryArray),
}

fn binaries<B: AsRef<[u8]>>(values: impl Iterator<Item = Result<Option<B>>>, call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(call.rows, call.rows * 8);
    let mut growing = Growing::new(&call.env.budget);
    for value in values {
        match value? {
            Some(value) => {
                let value = value.as_ref();
                growing.add(value.len())?;
                builder.append_value(value);
            }
            None => builder.append_null(),
        }
    }
    growing.finish(Arc::new(builder.finish()))
}

impl Write for Vec<u8> {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        binaries(values, call)
    }
}

impl Write for &[u8] {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        binaries(values, call)
    }
}

/// A uuid (16) or a timetz (12).
impl<'a, const N: usize> Read<'a> for [u8; N] {
    type Column = &'a FixedSizeBinaryArray;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        array.as_fixed_size_binary_opt().filter(|array| array.value_length() as usize == N)
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        column.value(row).try_into().expect("the width was looked at")
    }
}

impl<const N: usize> Write for [u8; N] {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        let mut builder = FixedSizeBinaryBuilder::with_capacity(call.rows, N as i32);
        for value in values {
            match value? {
                Some(value) => builder.append_value(value)?,
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// A column of numerics, however they lie.
#[derive(Debug)]
pub(crate) enum Numerics<'a> {
    Small(&'a Decimal128Array, i8),
    Large(&'a Decimal256Array, i8),
    Bytes(&'a BinaryArray),
}

impl<'a> Read<'a> for Numeric {
    type Column = Numerics<'a>;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        match array.data_type() {
            DataType::Decimal128(_, scale) => Some(Numerics::Small(array.as_primitive(), *scale)),
            DataType::Decimal256(_, scale) => Some(Numerics::Large(array.as_primitive(), *scale)),
            _ => array.as_binary_opt::<i32>().map(Numerics::Bytes),
        }
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        match column {
            Numerics::Small(array, scale) => Numeric::of_i128(array.value(row), *scale),
            Numerics::Large(array, scale) => Numeric::of_i256(array.value(row), *scale),
            Numerics::Bytes(array) => Numeric::decode(array.value(row)),
        }
    }
}

impl Write for Numeric {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        let range = || Error::new(Kind::NumericRange, "numeric field overflow");
        Ok(match call.result.data_type() {
            DataType::Decimal128(precision, scale) => {
                let mut builder = Decimal128Builder::with_capacity(call.rows);
                for value in values {
                    builder.append_option(value?.map(|v| v.to_i128(*scale).ok_or_else(range)).transpose()?);
                }
                Arc::new(builder.finish().with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Decimal256(precision, scale) => {
                let mut builder = Decimal256Builder::with_capacity(call.rows);
                for value in values {
                    builder.append_option(value?.map(|v| v.to_i256(*scale).ok_or_else(range)).transpose()?);
                }
                Arc::new(builder.finish().with_precision_and_scale(*precision, *scale)?)
            }
            _ => {
                let mut builder = BinaryBuilder::with_capacity(call.rows, call.rows * 12);
                for value in values {
                    match value? {
                        Some(value) => builder.append_value(value.encode()),
                        None => builder.append_null(),
                    }
                }
                Arc::new(builder.finish())
            }
        })
    }
}

/// An array value (of a `List`): its elements.
impl<'a> Read<'a> for ArrayRef {
    type Column = &'a ListArray;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        array.as_list_opt::<i32>()
    }
    fn value(column: &Self::Column, row: usize) -> Self {
        column.value(row)
    }
}

impl Write for ArrayRef {
    fn collect(values: impl Iterator<Item = Result<Option<Self>>>, call: &Call<'_>) -> Result<ArrayRef> {
        let DataType::List(item) = call.result.data_type() else {
            return Err(Error::internal(format!("an array was made for {}", call.result.data_type())));
        };
        let mut growing = Growing::new(&call.env.budget);
        let (mut lists, mut lengths, mut valid) =
            (vec![], Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
        for value in values {
            let value = value?;
            growing.add(value.as_ref().map_or(0, |list| list.get_buffer_memory_size()))?;
            valid.push(value.is_some());
            lengths.push(value.as_ref().map_or(0, |list| list.len()));
            lists.extend(value.filter(|list| !list.is_empty()));
        }
        let parts: Vec<&dyn Array> = lists.iter().map(AsRef::as_ref).collect();
        let elements = match parts.is_empty() {
            true => arrow::array::new_empty_array(item.data_type()),
            false => concat(&parts)?,
        };
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list = ListArray::try_new(Arc::clone(item), offsets, elements, Some(NullBuffer::from(valid)))?;
        growing.finish(Arc::new(list))
    }
}

/// A record: its row in the array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) row: usize,
}

impl<'a> Read<'a> for Record {
    type Column = &'a StructArray;
    fn column(array: &'a ArrayRef) -> Option<Self::Column> {
        array.as_struct_opt()
    }
    fn value(_: &Self::Column, row: usize) -> Self {
        Record { row }
    }
}

/// One value of an array. DataFusion's own way forgets the metadata of an array's items, by which their type is known.
pub(crate) fn scalar(array: &ArrayRef, row: usize) -> datafusion::common::Result<ScalarValue> {
    match array.as_list_opt::<i32>() {
        Some(list) => Ok(ScalarValue::List(Arc::new(list.slice(row, 1)))),
        None => ScalarValue::try_from_array(array, row),
    }
}
