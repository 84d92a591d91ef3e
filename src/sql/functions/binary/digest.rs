//! md5 and the SHA-2 family, and the hash functions of hash indexes and partitions (hashfn.c).

use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::super::text::build1;
use super::encode::hex;
use crate::sql::kernel::Kernel;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("md5_text", |c| {
        build1(c, |text: &str, out| {
            hex(&Md5::digest(text.as_bytes()), out);
            Ok(())
        })
    }),
    ("md5_bytea", |c| {
        build1(c, |value: &[u8], out| {
            hex(&Md5::digest(value), out);
            Ok(())
        })
    }),
    ("sha224_bytea", |c| c.one(|value: &[u8]| Ok(Sha224::digest(value).to_vec()))),
    ("sha256_bytea", |c| c.one(|value: &[u8]| Ok(Sha256::digest(value).to_vec()))),
    ("sha384_bytea", |c| c.one(|value: &[u8]| Ok(Sha384::digest(value).to_vec()))),
    ("sha512_bytea", |c| c.one(|value: &[u8]| Ok(Sha512::digest(value).to_vec()))),
    ("hashvarlena", |c| c.one(|value: &[u8]| Ok(hash(value, 0).0.cast_signed()))),
    ("hashvarlenaextended", |c| c.two(|value: &[u8], seed: i64| Ok(extended(value, seed)))),
];

fn extended(bytes: &[u8], seed: i64) -> i64 {
    let (c, b) = hash(bytes, seed.cast_unsigned());
    (u64::from(b) << 32 | u64::from(c)).cast_signed()
}

/// Bob Jenkins' lookup3, as PostgreSQL seeds it: the words c and b.
fn hash(bytes: &[u8], seed: u64) -> (u32, u32) {
    let mut a = 0x9e37_79b9u32.wrapping_add(bytes.len() as u32).wrapping_add(3_923_095);
    let (mut b, mut c) = (a, a);
    if seed != 0 {
        a = a.wrapping_add((seed >> 32) as u32);
        b = b.wrapping_add(seed as u32);
        mix(&mut a, &mut b, &mut c);
    }
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        let word = |i: usize| u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]]);
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        c = c.wrapping_add(word(8));
        mix(&mut a, &mut b, &mut c);
    }
    // the lowest byte of c is for the length
    for (i, byte) in blocks.remainder().iter().enumerate() {
        let byte = u32::from(*byte);
        match i {
            0..4 => a = a.wrapping_add(byte << (8 * i)),
            4..8 => b = b.wrapping_add(byte << (8 * (i - 4))),
            _ => c = c.wrapping_add(byte << (8 * (i - 7))),
        }
    }
    last(&mut a, &mut b, &mut c);
    (c, b)
}

/// Six steps: from each word the one before is taken, and to that the one between is added.
fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    for rotate in [4, 6, 8, 16, 19, 4] {
        *a = a.wrapping_sub(*c) ^ c.rotate_left(rotate);
        *c = c.wrapping_add(*b);
        (*a, *b, *c) = (*b, *c, *a);
    }
}

fn last(a: &mut u32, b: &mut u32, c: &mut u32) {
    for rotate in [14, 11, 25, 16, 4, 14, 24] {
        *c = (*c ^ *b).wrapping_sub(b.rotate_left(rotate));
        (*a, *b, *c) = (*b, *c, *a);
    }
    // after seven turns of three words, the last one written stands in b
    (*a, *b, *c) = (*c, *a, *b);
}
