//! Chance that can be had again: every draw follows from a seed and from what is drawn. It draws; what a draw means is
//! its caller's.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

pub struct Dice(StdRng);

impl Dice {
    /// `stream`: which of the seed's sequences. Two streams share nothing.
    pub fn new(seed: u64, stream: &[u64]) -> Self {
        let mixed = std::iter::once(&seed).chain(stream).fold(0u64, |state, n| {
            // the constants of splitmix64: neighbours must not begin alike
            let z = (state ^ n).wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z ^ (z >> 27)
        });
        Self(StdRng::seed_from_u64(mixed))
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..=to)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.choose(&mut self.0).expect("there is something to pick from")
    }

    /// Each of them by chance, in their order.
    pub fn some<T: Clone>(&mut self, from: &[T], percent: usize) -> Vec<T> {
        from.iter().filter(|_| self.chance(percent)).cloned().collect()
    }
}
