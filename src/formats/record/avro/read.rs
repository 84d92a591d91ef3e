//! Bytes of Avro's binary encoding, taken from the front. A length is believed only as far as bytes follow.

use crate::formats::record::given::Problem;

pub(super) const SHORT: Problem = "ends before its schema does";
const MALFORMED: Problem = "is not what its schema says";

const TOO_MANY: Problem = "claims more values than its bytes can hold";

/// Values that a record may have however short it is, and for each of its bytes. Values of no length cost nothing to write, and a
/// schema may have them in any number.
const VALUES_LEAST: usize = 65_536;
const VALUES_PER_BYTE: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(in crate::formats::record) struct Bytes<'a> {
    rest: &'a [u8],
    /// So many values may still be read.
    values: usize,
}

impl<'a> Bytes<'a> {
    pub(in crate::formats::record) fn new(bytes: &'a [u8]) -> Self {
        let values = VALUES_LEAST.saturating_add(bytes.len().saturating_mul(VALUES_PER_BYTE));
        Self { rest: bytes, values }
    }

    /// Another value begins, whatever its length.
    pub(super) fn value(&mut self) -> Result<(), Problem> {
        self.values = self.values.checked_sub(1).ok_or(TOO_MANY)?;
        Ok(())
    }

    pub(in crate::formats::record) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was taken since `start`.
    pub(super) fn since(&self, start: Bytes<'a>) -> &'a [u8] {
        start.rest.get(..start.rest.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Zigzag, seven bits a byte, the lowest first.
    #[inline]
    pub(in crate::formats::record) fn long(&mut self) -> Result<i64, Problem> {
        let mut value = 0u64;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return Err(MALFORMED);
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(if self.rest.len() < 10 { SHORT } else { MALFORMED })
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

    /// How many elements the next block of an array or a map has; none where it ends. They need not have a length: what bounds
    /// them is [`Bytes::value`].
    pub(super) fn block(&mut self) -> Result<usize, Problem> {
        let count = self.long()?;
        if count < 0 {
            // Behind a negative count stands the block's length.
            self.long()?;
        }
        usize::try_from(count.unsigned_abs()).ok().filter(|count| *count <= self.values).ok_or(TOO_MANY)
    }
}
