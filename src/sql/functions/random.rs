//! random() and setseed(): a session's own series, xoroshiro128** as PostgreSQL 15 has it (pg_prng.c), so that what follows
//! a seed is what follows it there. Nothing secret is made of it.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};

pub(super) const KERNELS: &[(&str, Kernel)] = &[("drandom", random), ("setseed", seed)];

/// Where a session's series is; the sessions' own functions share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Random(Arc<Mutex<Option<State>>>);

#[derive(Clone, Copy, Debug)]
struct State {
    s0: u64,
    s1: u64,
}

impl State {
    /// `pg_prng_seed`: both words by splitmix64, which gives at most one zero.
    fn seeded(seed: u64) -> Self {
        let mut at = seed;
        let mut next = || {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let value = (at ^ at >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            value ^ value >> 31
        };
        Self { s0: next(), s1: next() }
    }

    fn next(&mut self) -> u64 {
        let Self { s0, s1 } = *self;
        let mixed = s1 ^ s0;
        *self = Self { s0: s0.rotate_left(24) ^ mixed ^ mixed << 16, s1: mixed.rotate_left(37) };
        s0.wrapping_mul(5).rotate_left(7).wrapping_mul(9)
    }

    /// The upper 52 bits as a fraction, as many as a float8 holds.
    fn fraction(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 52) as f64;
        (self.next() >> 12) as f64 / STEPS
    }
}

fn random(call: &Call<'_>) -> Result<ArrayRef> {
    let mut state = call.env.random.0.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state.get_or_insert_with(|| State::seeded(rand::random()));
    call.rows_of(|_| Ok(state.fraction()))
}

fn seed(call: &Call<'_>) -> Result<ArrayRef> {
    call.one(|seed: f64| {
        if !(-1.0..=1.0).contains(&seed) {
            let text = format!("setseed parameter {seed} is out of allowed range [-1,1]");
            return Err(Error::new(Kind::InvalidParameter, text));
        }
        // a whole number of 52 bits, and its sign
        let whole = (((1_u64 << 52) - 1) as f64 * seed) as i64;
        *call.env.random.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(State::seeded(whole.cast_unsigned()));
        Ok("")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_after_a_seed_is_that_of_postgresql() {
        let mut state = State::seeded((((1_u64 << 52) - 1) as f64 * 0.5) as i64 as u64);
        assert_eq!([state.fraction(), state.fraction()], [0.9851677175347999, 0.825301858027981]);
    }
}
