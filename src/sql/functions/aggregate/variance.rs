//! variance and stddev: exactly for integers and numerics (numeric_stddev_internal), by Youngs and Cramer for floats
//! (float8_accum).

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, i256};
use num_bigint::{BigInt, Sign};

use super::exact::Exact;
use super::state::{Saved, State};
use super::sum::{Column, Special, column, overflow};
use crate::error::Result;
use crate::pgtype::Ty;
use crate::sql::functions::numeric::exact::divide;
use crate::sql::functions::numeric::powers::root_at;
use crate::sql::numeric::Numeric;

/// Of the rows as they are, or of a sample: divided by one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Population,
    Sample,
}

/// numeric_stddev_internal over exact sums: `digits` of the sum at `scale`, of the squares at twice that.
fn exactly(count: u64, sum: (&BigInt, u32), squares: (&BigInt, u32), of: Of, root: bool) -> Result<Option<Numeric>> {
    if count == 0 || of == Of::Sample && count == 1 {
        return Ok(None);
    }
    let rows = BigInt::from(count);
    // both at twice the scale of the sum
    let difference = squares.0 * &rows - sum.0 * sum.0;
    if difference.sign() != Sign::Plus {
        return Ok(Some(Numeric::zero()));
    }
    let by = match of {
        Of::Population => &rows * &rows,
        Of::Sample => &rows * (&rows - 1u8),
    };
    let variance = divide(&Numeric::new(difference, squares.1), &Numeric::new(by, 0))?;
    Ok(Some(match variance {
        Numeric::Finite { digits, scale } if root => root_at(&digits, scale, scale),
        variance => variance,
    }))
}

macro_rules! finishes {
    ($($name:ident $of:ident $root:literal;)*) => {
        $(pub(super) fn $name(&self) -> Result<Option<Numeric>> {
            self.finished(Of::$of, $root)
        })*
    };
}

/// Integers: their number, sum and sum of squares.
#[derive(Debug)]
pub(super) struct Whole<T> {
    count: u64,
    sum: i128,
    squares: i256,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Whole<T> {}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self { count: 0, sum: 0, squares: i256::ZERO, of: std::marker::PhantomData }
    }
}

impl<T> Whole<T> {
    fn finished(&self, of: Of, root: bool) -> Result<Option<Numeric>> {
        let squares = BigInt::from_signed_bytes_le(&self.squares.to_le_bytes());
        exactly(self.count, (&BigInt::from(self.sum), 0), (&squares, 0), of, root)
    }

    finishes! {
        var_pop Population false;
        var_samp Sample false;
        stddev_pop Population true;
        stddev_samp Sample true;
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
        let value = i128::from(input.value(row));
        self.count += 1;
        self.sum += value;
        // of 64 bits at most: the square fits 128, the sum of all that can be 256
        self.squares = self.squares.wrapping_add(i256::from_i128(value * value));
        Ok(())
    }

    fn removes(_: &[(Ty, DataType)]) -> bool {
        true
    }

    fn remove(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        let value = i128::from(input.value(row));
        self.count -= 1;
        self.sum -= value;
        self.squares = self.squares.wrapping_sub(i256::from_i128(value * value));
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.sum += other.sum;
        self.squares = self.squares.wrapping_add(other.squares);
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        to.extend_from_slice(&self.sum.to_le_bytes());
        to.extend_from_slice(&self.squares.to_le_bytes());
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        let (count, sum) = (from.u64()?, from.i128()?);
        Some(Self { count, sum, squares: from.array().map(i256::from_le_bytes)?, of: std::marker::PhantomData })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Numerics {
    count: u64,
    sum: Exact,
    squares: Exact,
    special: Special,
}

impl Numerics {
    fn finished(&self, of: Of, root: bool) -> Result<Option<Numeric>> {
        if self.special.any() {
            let enough = of == Of::Population || self.count > 1;
            return Ok(enough.then_some(Numeric::NaN));
        }
        let ((sum, scale), (squares, squares_scale)) = (self.sum.parts(), self.squares.parts());
        exactly(self.count, (&sum, scale), (&squares, squares_scale), of, root)
    }

    finishes! {
        var_pop Population false;
        var_samp Sample false;
        stddev_pop Population true;
        stddev_samp Sample true;
    }

    fn put(&mut self, digits: &BigInt, scale: u32) {
        self.sum.add(digits, scale);
        self.squares.add(&(digits * digits), 2 * scale);
    }
}

impl State for Numerics {
    type Input<'a> = Column<'a>;

    fn input(arguments: &[ArrayRef]) -> Option<Column<'_>> {
        column(arguments.first()?)
    }

    fn add(&mut self, input: &Column<'_>, row: usize) -> Result<()> {
        self.count += 1;
        match input {
            Column::Small(array, scale) => {
                let value = array.value(row);
                match value.checked_mul(value) {
                    Some(square) => {
                        self.sum.add_small(value, *scale);
                        self.squares.add_small(square, 2 * scale);
                    }
                    None => self.put(&BigInt::from(value), *scale),
                }
            }
            Column::Large(array, scale) => {
                self.put(&BigInt::from_signed_bytes_le(&array.value(row).to_le_bytes()), *scale);
            }
            Column::Bytes(array) => match Numeric::decode(array.value(row)) {
                Numeric::Finite { digits, scale } => self.put(&digits, scale),
                other => self.special.add(&other),
            },
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.special.merge(other.special);
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        self.special.save(to);
        self.sum.save(to);
        self.squares.save(to);
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        let (count, special) = (from.u64()?, Special::load(from)?);
        Some(Self { count, special, sum: Exact::load(from)?, squares: Exact::load(from)? })
    }

    fn heap(&self) -> usize {
        self.sum.heap() + self.squares.heap()
    }
}

/// float8_accum: number, sum, and sum of the squared differences from the mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Float {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Float {
    fn put(&mut self, value: f64) -> Result<()> {
        let (count, sum) = (self.count, self.sum);
        self.count += 1.0;
        self.sum += value;
        if count > 0.0 {
            let difference = value * self.count - self.sum;
            self.squares += difference * difference / (self.count * count);
            if self.sum.is_infinite() || self.squares.is_infinite() {
                if !sum.is_infinite() && !value.is_infinite() {
                    return Err(overflow());
                }
                self.squares = f64::NAN;
            }
        } else if !value.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }

    pub(super) fn avg(&self) -> Result<Option<f64>> {
        let average = self.sum / self.count;
        // as elsewhere, a NaN has no sign
        Ok((self.count > 0.0).then(|| if average.is_nan() { average.abs() } else { average }))
    }

    pub(super) fn var_pop(&self) -> Result<Option<f64>> {
        Ok((self.count > 0.0).then(|| self.squares / self.count))
    }

    pub(super) fn var_samp(&self) -> Result<Option<f64>> {
        Ok((self.count > 1.0).then(|| self.squares / (self.count - 1.0)))
    }

    pub(super) fn stddev_pop(&self) -> Result<Option<f64>> {
        Ok(self.var_pop()?.map(f64::sqrt))
    }

    pub(super) fn stddev_samp(&self) -> Result<Option<f64>> {
        Ok(self.var_samp()?.map(f64::sqrt))
    }
}

/// Which floats the column holds.
#[derive(Debug)]
pub(super) enum Floats<'a> {
    Short(&'a PrimitiveArray<Float32Type>),
    Long(&'a PrimitiveArray<Float64Type>),
}

impl State for Float {
    type Input<'a> = Floats<'a>;

    fn input(arguments: &[ArrayRef]) -> Option<Floats<'_>> {
        let array = arguments.first()?;
        let short = array.as_primitive_opt::<Float32Type>().map(Floats::Short);
        short.or_else(|| array.as_primitive_opt::<Float64Type>().map(Floats::Long))
    }

    fn add(&mut self, input: &Floats<'_>, row: usize) -> Result<()> {
        self.put(match input {
            Floats::Short(array) => f64::from(array.value(row)),
            Floats::Long(array) => array.value(row),
        })
    }

    /// float8_combine.
    fn merge(&mut self, other: Self) -> Result<()> {
        if self.count == 0.0 {
            *self = other;
        } else if other.count > 0.0 {
            let (count, sum) = (self.count + other.count, self.sum + other.sum);
            let difference = self.sum / self.count - other.sum / other.count;
            let squares = self.squares + other.squares + self.count * other.count * difference * difference / count;
            let over = |total: f64, a: f64, b: f64| total.is_infinite() && !a.is_infinite() && !b.is_infinite();
            if over(sum, self.sum, other.sum) || over(squares, self.squares, other.squares) {
                return Err(overflow());
            }
            *self = Self { count, sum, squares };
        }
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        for part in [self.count, self.sum, self.squares] {
            to.extend_from_slice(&part.to_le_bytes());
        }
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { count: from.f64()?, sum: from.f64()?, squares: from.f64()? })
    }
}

/// float8_regr_accum over (Y, X).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pairs {
    count: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

impl Pairs {
    fn put(&mut self, y: f64, x: f64) -> Result<()> {
        let before = *self;
        self.count += 1.0;
        self.x += x;
        self.y += y;
        if before.count > 0.0 {
            let (by_x, by_y) = (x * self.count - self.x, y * self.count - self.y);
            let scale = 1.0 / (self.count * before.count);
            self.xx += by_x * by_x * scale;
            self.yy += by_y * by_y * scale;
            self.xy += by_x * by_y * scale;
            let x_was = before.x.is_infinite() || x.is_infinite();
            let y_was = before.y.is_infinite() || y.is_infinite();
            let x_is = self.x.is_infinite() || self.xx.is_infinite();
            let y_is = self.y.is_infinite() || self.yy.is_infinite();
            if x_is && !x_was || y_is && !y_was || self.xy.is_infinite() && !x_was && !y_was {
                return Err(overflow());
            }
            for sum in [&mut self.xx, &mut self.yy, &mut self.xy] {
                if sum.is_infinite() {
                    *sum = f64::NAN;
                }
            }
            return Ok(());
        }
        if !x.is_finite() {
            (self.xx, self.xy) = (f64::NAN, f64::NAN);
        }
        if !y.is_finite() {
            (self.yy, self.xy) = (f64::NAN, f64::NAN);
        }
        Ok(())
    }

    fn of(&self, rows: f64, value: impl FnOnce(&Self) -> Option<f64>) -> Result<Option<f64>> {
        Ok(if self.count < rows { None } else { value(self) })
    }

    /// The value of a `prosrc`; `None` for one that is no such aggregate.
    pub(super) fn finish(last: &str) -> Option<fn(&Self) -> Result<Option<f64>>> {
        Some(match last {
            "float8_regr_sxx" => |s| s.of(1.0, |s| Some(s.xx)),
            "float8_regr_syy" => |s| s.of(1.0, |s| Some(s.yy)),
            "float8_regr_sxy" => |s| s.of(1.0, |s| Some(s.xy)),
            "float8_regr_avgx" => |s| s.of(1.0, |s| Some(s.x / s.count)),
            "float8_regr_avgy" => |s| s.of(1.0, |s| Some(s.y / s.count)),
            "float8_covar_pop" => |s| s.of(1.0, |s| Some(s.xy / s.count)),
            "float8_covar_samp" => |s| s.of(2.0, |s| Some(s.xy / (s.count - 1.0))),
            "float8_corr" => |s| s.of(1.0, |s| (s.xx != 0.0 && s.yy != 0.0).then(|| s.xy / (s.xx * s.yy).sqrt())),
            "float8_regr_r2" => |s| {
                s.of(1.0, |s| match (s.xx == 0.0, s.yy == 0.0) {
                    (true, _) => None,
                    (false, true) => Some(1.0),
                    (false, false) => Some(s.xy * s.xy / (s.xx * s.yy)),
                })
            },
            "float8_regr_slope" => |s| s.of(1.0, |s| (s.xx != 0.0).then(|| s.xy / s.xx)),
            "float8_regr_intercept" => |s| s.of(1.0, |s| (s.xx != 0.0).then(|| (s.y - s.x * s.xy / s.xx) / s.count)),
            _ => return None,
        })
    }

    /// regr_count.
    pub(super) fn rows(&self) -> Result<Option<i64>> {
        // counted by ones: exact far beyond what can be read
        Ok(Some(self.count as i64))
    }
}

impl State for Pairs {
    type Input<'a> = (&'a PrimitiveArray<Float64Type>, &'a PrimitiveArray<Float64Type>);

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        let [y, x] = arguments else { return None };
        Some((y.as_primitive_opt()?, x.as_primitive_opt()?))
    }

    fn add(&mut self, (y, x): &Self::Input<'_>, row: usize) -> Result<()> {
        self.put(y.value(row), x.value(row))
    }

    /// float8_regr_combine.
    fn merge(&mut self, other: Self) -> Result<()> {
        if self.count == 0.0 {
            *self = other;
            return Ok(());
        }
        if other.count == 0.0 {
            return Ok(());
        }
        let checked = |total: f64, a: f64, b: f64| match total.is_infinite() && !a.is_infinite() && !b.is_infinite() {
            true => Err(overflow()),
            false => Ok(total),
        };
        let count = self.count + other.count;
        let by_x = self.x / self.count - other.x / other.count;
        let by_y = self.y / self.count - other.y / other.count;
        let (a, b) = (*self, other);
        let joined = |a_sum: f64, b_sum: f64, by: f64, other_by: f64| {
            checked(a_sum + b_sum + a.count * b.count * by * other_by / count, a_sum, b_sum)
        };
        *self = Self {
            count,
            x: checked(a.x + b.x, a.x, b.x)?,
            xx: joined(a.xx, b.xx, by_x, by_x)?,
            y: checked(a.y + b.y, a.y, b.y)?,
            yy: joined(a.yy, b.yy, by_y, by_y)?,
            xy: joined(a.xy, b.xy, by_x, by_y)?,
        };
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        for part in [self.count, self.x, self.xx, self.y, self.yy, self.xy] {
            to.extend_from_slice(&part.to_le_bytes());
        }
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        let mut part = || from.f64();
        Some(Self { count: part()?, x: part()?, xx: part()?, y: part()?, yy: part()?, xy: part()? })
    }
}
