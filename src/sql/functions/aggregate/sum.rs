//! sum and avg: exact for integers and numerics, in the order of the rows for floats, field by field for intervals.

use std::marker::PhantomData;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Decimal128Array, Decimal256Array, PrimitiveArray,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType};
use num_bigint::BigInt;

use super::exact::Exact;
use super::state::{Saved, State};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::functions::datetime::interval;
use crate::sql::functions::numeric::exact::divide;
use crate::sql::kernel::Interval;
use crate::sql::numeric::Numeric;

/// Integers of one width.
#[derive(Debug)]
pub(super) struct Whole<T> {
    count: u64,
    /// No number of rows that there can be makes it too large: 2^63 values of 2^63 are 2^126.
    sum: i128,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Whole<T> {}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self { count: 0, sum: 0, of: PhantomData }
    }
}

impl<T> State for Whole<T>
where
    T: ArrowPrimitiveType + std::fmt::Debug,
    i128: From<T::Native>,
{
    type Input<'a> = &'a PrimitiveArray<T>;

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        arguments.first()?.as_primitive_opt()
    }

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        self.count += 1;
        self.sum += i128::from(input.value(row));
        Ok(())
    }

    fn removes(_: &[(Ty, DataType)]) -> bool {
        true
    }

    fn remove(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        self.count -= 1;
        self.sum -= i128::from(input.value(row));
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.sum += other.sum;
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        to.extend_from_slice(&self.sum.to_le_bytes());
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { count: from.u64()?, sum: from.i128()?, of: PhantomData })
    }
}

impl<T> Whole<T> {
    pub(super) fn sum_bigint(&self) -> Result<Option<i64>> {
        let range = |_| Error::new(Kind::NumericRange, "bigint out of range");
        (self.count > 0).then(|| i64::try_from(self.sum).map_err(range)).transpose()
    }

    pub(super) fn sum_money(&self) -> Result<Option<i64>> {
        let range = |_| Error::new(Kind::NumericRange, "money out of range");
        (self.count > 0).then(|| i64::try_from(self.sum).map_err(range)).transpose()
    }

    pub(super) fn sum(&self) -> Result<Option<Numeric>> {
        Ok((self.count > 0).then(|| Numeric::new(BigInt::from(self.sum), 0)))
    }

    pub(super) fn avg(&self) -> Result<Option<Numeric>> {
        self.sum()?.map(|sum| divide(&sum, &rows(self.count))).transpose()
    }
}

fn rows(count: u64) -> Numeric {
    Numeric::new(BigInt::from(count), 0)
}

/// Numerics: how many, the finite ones' sum, and how many are not finite (NumericAggState).
#[derive(Clone, Debug, Default)]
pub(super) struct Numerics {
    pub(super) count: u64,
    pub(super) sum: Exact,
    pub(super) special: Special,
}

/// How many values were NaN and infinite.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Special {
    nan: u64,
    plus: u64,
    minus: u64,
}

impl Special {
    pub(super) fn add(&mut self, value: &Numeric) {
        match value {
            Numeric::NaN => self.nan += 1,
            Numeric::Infinity => self.plus += 1,
            Numeric::NegativeInfinity => self.minus += 1,
            Numeric::Finite { .. } => {}
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.nan += other.nan;
        self.plus += other.plus;
        self.minus += other.minus;
    }

    pub(super) fn any(self) -> bool {
        self.nan + self.plus + self.minus > 0
    }

    /// What a sum with them is, `None` without them.
    fn sum(self) -> Option<Numeric> {
        match (self.nan, self.plus, self.minus) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(Numeric::Infinity),
            (0, 0, _) => Some(Numeric::NegativeInfinity),
            _ => Some(Numeric::NaN),
        }
    }

    pub(super) fn save(self, to: &mut Vec<u8>) {
        for count in [self.nan, self.plus, self.minus] {
            to.extend_from_slice(&count.to_le_bytes());
        }
    }

    pub(super) fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { nan: from.u64()?, plus: from.u64()?, minus: from.u64()? })
    }
}

/// A column of numerics, however they lie.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Small(&'a Decimal128Array, u32),
    Large(&'a Decimal256Array, u32),
    Bytes(&'a BinaryArray),
}

pub(super) fn column(array: &ArrayRef) -> Option<Column<'_>> {
    Some(match array.data_type() {
        DataType::Decimal128(_, scale) => Column::Small(array.as_primitive(), u32::try_from(*scale).ok()?),
        DataType::Decimal256(_, scale) => Column::Large(array.as_primitive(), u32::try_from(*scale).ok()?),
        _ => Column::Bytes(array.as_binary_opt()?),
    })
}

impl State for Numerics {
    type Input<'a> = Column<'a>;

    fn input(arguments: &[ArrayRef]) -> Option<Column<'_>> {
        column(arguments.first()?)
    }

    fn add(&mut self, input: &Column<'_>, row: usize) -> Result<()> {
        self.count += 1;
        match input {
            Column::Small(array, scale) => self.sum.add_small(array.value(row), *scale),
            Column::Large(array, scale) => self.sum.add_i256(array.value(row), *scale),
            Column::Bytes(array) => match Numeric::decode(array.value(row)) {
                Numeric::Finite { digits, scale } => self.sum.add(&digits, scale),
                other => self.special.add(&other),
            },
        }
        Ok(())
    }

    /// With one scale for every value; else the sum's own could not become smaller again.
    fn removes(arguments: &[(Ty, DataType)]) -> bool {
        matches!(arguments, [(_, DataType::Decimal128(..) | DataType::Decimal256(..))])
    }

    fn remove(&mut self, input: &Column<'_>, row: usize) -> Result<()> {
        self.count -= 1;
        match input {
            Column::Small(array, scale) => self.sum.add_small(-array.value(row), *scale),
            Column::Large(array, scale) => self.sum.add_i256(array.value(row).wrapping_neg(), *scale),
            Column::Bytes(_) => return Err(Error::internal("numerics of several scales are not taken back")),
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.special.merge(other.special);
        self.sum.merge(&other.sum);
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        self.special.save(to);
        self.sum.save(to);
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { count: from.u64()?, special: Special::load(from)?, sum: Exact::load(from)? })
    }

    fn heap(&self) -> usize {
        self.sum.heap()
    }
}

impl Numerics {
    pub(super) fn sum(&self) -> Result<Option<Numeric>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.special.sum().unwrap_or_else(|| self.sum.numeric()).checked().map(Some)
    }

    pub(super) fn avg(&self) -> Result<Option<Numeric>> {
        if self.count == 0 {
            return Ok(None);
        }
        let sum = self.special.sum().unwrap_or_else(|| self.sum.numeric());
        divide(&sum, &rows(self.count)).map(Some)
    }
}

/// A sum in floating point of one width; each step is checked, as float8pl and float4pl do.
#[derive(Clone, Debug, Default)]
pub(super) struct Float<F> {
    pub(super) sum: Option<F>,
}

pub(super) fn overflow() -> Error {
    Error::new(Kind::NumericRange, "value out of range: overflow")
}

macro_rules! float {
    ($t:ty, $arrow:ty) => {
        impl Float<$t> {
            fn put(&mut self, value: $t) -> Result<()> {
                let Some(sum) = self.sum else {
                    self.sum = Some(value);
                    return Ok(());
                };
                // as elsewhere, a NaN has no sign
                let next = sum + value;
                let next = if next.is_nan() { next.abs() } else { next };
                if next.is_infinite() && !sum.is_infinite() && !value.is_infinite() {
                    return Err(overflow());
                }
                self.sum = Some(next);
                Ok(())
            }
        }

        impl State for Float<$t> {
            type Input<'a> = &'a PrimitiveArray<$arrow>;

            fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
                arguments.first()?.as_primitive_opt()
            }

            fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
                self.put(input.value(row))
            }

            fn merge(&mut self, other: Self) -> Result<()> {
                other.sum.map_or(Ok(()), |sum| self.put(sum))
            }

            fn save(&self, to: &mut Vec<u8>) {
                if let Some(sum) = self.sum {
                    to.extend_from_slice(&sum.to_le_bytes());
                }
            }

            fn load(from: &mut Saved<'_>) -> Option<Self> {
                Some(Self { sum: from.array().map(<$t>::from_le_bytes) })
            }
        }
    };
}

float!(f32, Float32Type);
float!(f64, Float64Type);

/// Intervals, field by field (interval_pl).
#[derive(Clone, Debug, Default)]
pub(super) struct Intervals {
    count: u64,
    months: i32,
    days: i32,
    micros: i64,
}

impl Intervals {
    fn put(&mut self, count: u64, months: i32, days: i32, micros: i64) -> Result<()> {
        let range = || Error::new(Kind::DateRange, "interval out of range");
        self.count += count;
        self.months = self.months.checked_add(months).ok_or_else(range)?;
        self.days = self.days.checked_add(days).ok_or_else(range)?;
        self.micros = self.micros.checked_add(micros).ok_or_else(range)?;
        Ok(())
    }

    pub(super) fn sum(&self) -> Result<Option<Interval>> {
        let value = Interval { months: self.months, days: self.days, micros: self.micros };
        Ok((self.count > 0).then_some(value))
    }

    /// interval_div by the number of rows.
    pub(super) fn avg(&self) -> Result<Option<Interval>> {
        if self.count == 0 {
            return Ok(None);
        }
        let sum = Interval { months: self.months, days: self.days, micros: self.micros };
        // PostgreSQL divides by a float8 too
        interval::quotient(sum, self.count as f64).map(Some)
    }
}

impl State for Intervals {
    type Input<'a> = &'a PrimitiveArray<IntervalMonthDayNanoType>;

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        arguments.first()?.as_primitive_opt()
    }

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        let value = Interval::of(input.value(row));
        self.put(1, value.months, value.days, value.micros)
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.put(other.count, other.months, other.days, other.micros)
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        to.extend_from_slice(&self.months.to_le_bytes());
        to.extend_from_slice(&self.days.to_le_bytes());
        to.extend_from_slice(&self.micros.to_le_bytes());
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self {
            count: from.u64()?,
            months: from.array().map(i32::from_le_bytes)?,
            days: from.array().map(i32::from_le_bytes)?,
            micros: from.array().map(i64::from_le_bytes)?,
        })
    }
}
