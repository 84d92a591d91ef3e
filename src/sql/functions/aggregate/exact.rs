//! Exact sums of numerics.

use arrow::datatypes::i256;
use num_bigint::BigInt;

use super::state::{Saved, save_bytes};
use crate::sql::numeric::{Numeric, power_of_ten};

/// A sum whose scale is the largest of its terms. It lies in an i128 while it can.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact {
    scale: u32,
    small: i128,
    large: Option<Box<BigInt>>,
}

impl Exact {
    pub(super) fn add_small(&mut self, value: i128, scale: u32) {
        if self.scale == scale
            && self.large.is_none()
            && let Some(sum) = self.small.checked_add(value)
        {
            self.small = sum;
            return;
        }
        self.add_large(BigInt::from(value), scale);
    }

    pub(super) fn add_i256(&mut self, value: i256, scale: u32) {
        match value.to_i128() {
            Some(value) => self.add_small(value, scale),
            None => self.add_large(BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale),
        }
    }

    pub(super) fn add(&mut self, digits: &BigInt, scale: u32) {
        match i128::try_from(digits) {
            Ok(value) => self.add_small(value, scale),
            Err(_) => self.add_large(digits.clone(), scale),
        }
    }

    fn add_large(&mut self, value: BigInt, scale: u32) {
        let value = match scale < self.scale {
            true => value * power_of_ten(self.scale - scale),
            false => value,
        };
        let mut sum = self.digits();
        if scale > self.scale {
            sum *= power_of_ten(scale - self.scale);
            self.scale = scale;
        }
        sum += value;
        (self.small, self.large) = match i128::try_from(&sum) {
            Ok(small) => (small, None),
            Err(_) => (0, Some(Box::new(sum))),
        };
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match &other.large {
            None => self.add_small(other.small, other.scale),
            Some(large) => self.add_large(large.as_ref().clone(), other.scale),
        }
    }

    fn digits(&self) -> BigInt {
        self.large.as_deref().cloned().unwrap_or_else(|| BigInt::from(self.small))
    }

    pub(super) fn numeric(&self) -> Numeric {
        Numeric::new(self.digits(), self.scale)
    }

    pub(super) fn parts(&self) -> (BigInt, u32) {
        (self.digits(), self.scale)
    }

    pub(super) fn heap(&self) -> usize {
        self.large.as_deref().map_or(0, |large| size_of::<BigInt>() + large.bits() as usize / 8 + 8)
    }

    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&u64::from(self.scale).to_le_bytes());
        match &self.large {
            None => save_bytes(&self.small.to_le_bytes(), to),
            Some(large) => save_bytes(&large.to_signed_bytes_le(), to),
        }
    }

    pub(super) fn load(from: &mut Saved<'_>) -> Option<Self> {
        let scale = u32::try_from(from.u64()?).ok()?;
        let mut sum = Self { scale, ..Self::default() };
        sum.add(&BigInt::from_signed_bytes_le(from.bytes()?), scale);
        Some(sum)
    }
}
