//! bool_and, bool_or, and bit_and, bit_or, bit_xor over integers and bit strings.

use std::fmt::Debug;
use std::marker::PhantomData;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::DataType;

use super::state::{Saved, State};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;

/// How many rows, and how many of them true (bool_accum).
#[derive(Clone, Debug, Default)]
pub(super) struct Truths {
    count: u64,
    trues: u64,
}

impl Truths {
    pub(super) fn and(&self) -> Result<Option<bool>> {
        Ok((self.count > 0).then_some(self.trues == self.count))
    }

    pub(super) fn or(&self) -> Result<Option<bool>> {
        Ok((self.count > 0).then_some(self.trues > 0))
    }
}

impl State for Truths {
    type Input<'a> = &'a BooleanArray;

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        arguments.first()?.as_boolean_opt()
    }

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        self.count += 1;
        self.trues += u64::from(input.value(row));
        Ok(())
    }

    fn removes(_: &[(Ty, DataType)]) -> bool {
        true
    }

    fn remove(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        self.count -= 1;
        self.trues -= u64::from(input.value(row));
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.trues += other.trues;
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        to.extend_from_slice(&self.trues.to_le_bytes());
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { count: from.u64()?, trues: from.u64()? })
    }
}

/// Which of the three.
pub(super) trait Bits: Clone + Debug + Default + Send + Sync + 'static {
    const NAME: &'static str;
    fn of(a: i64, b: i64) -> i64;
}

macro_rules! bits {
    ($($t:ident $name:literal $of:expr;)*) => {
        $(#[derive(Clone, Debug, Default)]
        pub(super) struct $t;

        impl Bits for $t {
            const NAME: &'static str = $name;
            fn of(a: i64, b: i64) -> i64 {
                let of: fn(i64, i64) -> i64 = $of;
                of(a, b)
            }
        })*
    };
}

bits! {
    And "AND" |a, b| a & b;
    Or "OR" |a, b| a | b;
    Xor "XOR" |a, b| a ^ b;
}

#[derive(Debug)]
pub(super) struct Integers<B, T> {
    value: Option<i64>,
    of: PhantomData<fn() -> (B, T)>,
}

impl<B, T> Clone for Integers<B, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, T> Copy for Integers<B, T> {}

impl<B, T> Default for Integers<B, T> {
    fn default() -> Self {
        Self { value: None, of: PhantomData }
    }
}

impl<B, T> Integers<B, T> {
    pub(super) fn value<N: TryFrom<i64>>(&self) -> Result<Option<N>> {
        let wrong = |_| Error::internal("bits of an integer do not fit it");
        self.value.map(|value| N::try_from(value).map_err(wrong)).transpose()
    }
}

impl<B: Bits, T> State for Integers<B, T>
where
    T: ArrowPrimitiveType + Debug,
    i64: From<T::Native>,
{
    type Input<'a> = &'a PrimitiveArray<T>;

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        arguments.first()?.as_primitive_opt()
    }

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        let value = i64::from(input.value(row));
        self.value = Some(self.value.map_or(value, |own| B::of(own, value)));
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.value = match (self.value, other.value) {
            (Some(a), Some(b)) => Some(B::of(a, b)),
            (a, b) => a.or(b),
        };
        Ok(())
    }

    fn save(&self, to: &mut Vec<u8>) {
        if let Some(value) = self.value {
            to.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { value: from.array().map(i64::from_le_bytes), of: PhantomData })
    }
}

/// Bit strings lie as their text.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings<B> {
    value: Option<Vec<u8>>,
    of: PhantomData<B>,
}

impl<B: Bits> Strings<B> {
    pub(super) fn value(&self) -> Result<Option<String>> {
        let wrong = |_| Error::internal("a bit string is no text");
        self.value.clone().map(|value| String::from_utf8(value).map_err(wrong)).transpose()
    }

    fn put(&mut self, value: &[u8]) -> Result<()> {
        let Some(own) = &mut self.value else {
            self.value = Some(value.to_vec());
            return Ok(());
        };
        if own.len() != value.len() {
            let text = format!("cannot {} bit strings of different sizes", B::NAME);
            return Err(Error::new(Kind::StringLengthMismatch, text));
        }
        for (own, value) in own.iter_mut().zip(value) {
            let bit = B::of(i64::from(*own == b'1'), i64::from(*value == b'1'));
            *own = if bit == 1 { b'1' } else { b'0' };
        }
        Ok(())
    }
}

impl<B: Bits> State for Strings<B> {
    type Input<'a> = &'a StringArray;

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        arguments.first()?.as_string_opt()
    }

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()> {
        self.put(input.value(row).as_bytes())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        other.value.map_or(Ok(()), |value| self.put(&value))
    }

    fn save(&self, to: &mut Vec<u8>) {
        if let Some(value) = &self.value {
            super::state::save_bytes(value, to);
        }
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { value: from.bytes().map(<[u8]>::to_vec), of: PhantomData })
    }

    fn heap(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::capacity)
    }
}
