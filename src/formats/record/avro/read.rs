//! Bytes of Avro's binary encoding, taken from the front. A length is believed only as far as bytes follow.

use crate::formats::record::given::Problem;

pub(super) const SHORT: Problem = "ends before its schema does";
const MALFORMED: Problem = "is not what its schema says";

#[derive(Clone, Copy, Debug)]
pub(in crate::formats::record) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(in crate::formats::record) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(in crate::formats::record) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was taken since `start`.
    pub(super) fn since(&self, start: Bytes<'a>) -> &'a [u8] {
        start.0.get(..start.0.len().saturating_sub(self.0.len())).unwrap_or_default()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Zigzag, seven bits a byte, the lowest first.
    #[inline]
    pub(in crate::formats::record) fn long(&mut self) -> Result<i64, Problem> {
        let mut value = 0u64;
        for (place, byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return Err(MALFORMED);
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(place + 1..).unwrap_or_default();
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(if self.0.len() < 10 { SHORT } else { MALFORMED })
    }

    /// A length and so many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Problem> {
        let length = usize::try_from(self.long()?).map_err(|_| MALFORMED)?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "is not valid UTF-8")
    }

    pub(super) fn bool(&mut self) -> Result<bool, Problem> {
        match self.chunk()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(MALFORMED),
        }
    }

    /// Which of so many.
    pub(super) fn index(&mut self, of: usize) -> Result<usize, Problem> {
        usize::try_from(self.long()?).ok().filter(|index| *index < of).ok_or(MALFORMED)
    }

    /// How many elements the next block of an array or a map has; none where it ends. An element takes a byte at least,
    /// but for those of no length, of which there may be no more either.
    pub(super) fn block(&mut self) -> Result<usize, Problem> {
        let count = self.long()?;
        if count < 0 {
            // Behind a negative count stands the block's length.
            self.long()?;
        }
        usize::try_from(count.unsigned_abs()).ok().filter(|count| *count <= self.0.len()).ok_or(SHORT)
    }
}
