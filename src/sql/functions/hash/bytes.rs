//! The hash of bytes (hashfn.c): Bob Jenkins' lookup3, with a seed that counts as twelve bytes before the others.

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(bytes: usize, seed: u64) -> Self {
        // what is hashed is shorter than 4 GB; PostgreSQL counts in an int
        let start = 0x9e37_79b9_u32.wrapping_add(bytes as u32).wrapping_add(3_923_095);
        let mut state = Self { a: start, b: start, c: start };
        if seed != 0 {
            let [a, b, c, d, e, f, g, h] = seed.to_be_bytes();
            state.add([u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]), 0]);
            state.mix();
        }
        state
    }

    fn add(&mut self, [a, b, c]: [u32; 3]) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let Self { mut a, mut b, mut c } = *self;
        for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
            a = a.wrapping_sub(c) ^ c.rotate_left(first);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(second);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(third);
            b = b.wrapping_add(a);
        }
        *self = Self { a, b, c };
    }

    fn finish(self) -> u64 {
        let Self { mut a, mut b, mut c } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        u64::from(b) << 32 | u64::from(c)
    }
}

/// `hash_bytes_extended`.
pub(in crate::sql::functions) fn of_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut state = State::new(bytes.len(), seed);
    let mut chunks = bytes.chunks_exact(12);
    for chunk in &mut chunks {
        state.add(words(chunk));
        state.mix();
    }
    // the lowest byte of the last word is the length's
    let (mut last, rest) = ([0; 12], chunks.remainder());
    let head = rest.len().min(8);
    last[..head].copy_from_slice(&rest[..head]);
    last[9..9 + rest.len() - head].copy_from_slice(&rest[head..]);
    state.add(words(&last));
    state.finish()
}

fn words(twelve: &[u8]) -> [u32; 3] {
    let word = |at: usize| twelve[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    [word(0), word(4), word(8)]
}

/// `hash_bytes_uint32_extended`.
pub(in crate::sql::functions) fn of_u32(value: u32, seed: u64) -> u64 {
    let mut state = State::new(size_of::<u32>(), seed);
    state.add([value, 0, 0]);
    state.finish()
}

/// Each half one bit to the left (`ROTATE_HIGH_AND_LOW_32BITS`).
pub(in crate::sql::functions) fn rotated(hash: u64) -> u64 {
    hash << 1 & 0xffff_fffe_ffff_fffe | hash >> 31 & 0x1_0000_0001
}
