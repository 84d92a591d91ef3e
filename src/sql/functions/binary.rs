//! Strings of bytes and of bits: bytea (varlena.c, encode.c, cryptohashfuncs.c), bit and varbit (varbit.c), which lie as
//! text of 0 and 1.

pub(super) mod bits;
pub(super) mod bytea;
pub(super) mod digest;
pub(super) mod encode;
pub(super) mod send;
#[cfg(test)]
mod tests;
