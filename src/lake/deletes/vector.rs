//! A deletion vector's bytes ⇄ its positions: the blob `deletion-vector-v1` of the Puffin specification. It knows no files.

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::error::{Error, Kind, Result};

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// The length before, the checksum after what is counted and summed.
const WORD: usize = 4;

/// Larger ones are refused unread: more than a billion scattered rows of one file.
pub(in crate::lake) const MAX_BYTES: u64 = 512 << 20;

/// The deleted positions of one data file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::lake) struct Deleted {
    positions: RoaringTreemap,
    /// How many stretches of neighbours they make; one that crosses a multiple of 2³² counts twice.
    runs: u64,
}

impl Deleted {
    pub(in crate::lake) fn new(positions: RoaringTreemap) -> Self {
        // stretch by stretch: a few bytes can stand for any number of neighbours
        let stretches = |bitmap: &RoaringBitmap| {
            let mut stretches = bitmap.iter();
            std::iter::from_fn(move || stretches.next_range()).count() as u64
        };
        let runs = positions.bitmaps().map(|(_, bitmap)| stretches(bitmap)).sum();
        Self { positions, runs }
    }

    pub(in crate::lake) fn positions(&self) -> &RoaringTreemap {
        &self.positions
    }

    pub(in crate::lake) fn runs(&self) -> u64 {
        self.runs
    }

    pub(in crate::lake) fn count(&self) -> u64 {
        self.positions.len()
    }

    /// In memory, by estimate: the serialised form and what each container costs besides.
    pub(in crate::lake) fn bytes(&self) -> u64 {
        256 + 2 * self.positions.serialized_size() as u64
    }
}

/// The positions of a blob, its checksum proved; `count` is how many its manifest promises.
pub(in crate::lake) fn decode(blob: &[u8], count: u64) -> Result<RoaringTreemap> {
    let (length, rest) = blob.split_first_chunk::<WORD>().ok_or_else(|| damaged("cut off"))?;
    let (summed, sum) = rest.split_last_chunk::<WORD>().ok_or_else(|| damaged("cut off"))?;
    if u32::from_be_bytes(*length) as usize != summed.len() {
        return Err(damaged("of another length than it says"));
    }
    if crc32(summed) != u32::from_be_bytes(*sum) {
        return Err(damaged("with a wrong checksum"));
    }
    let mut vector = summed.strip_prefix(&MAGIC).ok_or_else(|| damaged("without its magic bytes"))?;
    let positions = RoaringTreemap::deserialize_from(&mut vector).map_err(|e| damaged("no bitmap").with_source(e))?;
    if !vector.is_empty() {
        return Err(damaged("followed by other bytes"));
    }
    if positions.len() != count {
        return Err(damaged("of another count than is promised"));
    }
    Ok(positions)
}

/// The blob of these positions.
pub(in crate::lake) fn encode(positions: &RoaringTreemap) -> Result<Vec<u8>> {
    let length = MAGIC.len() + positions.serialized_size();
    let said =
        u32::try_from(length).map_err(|_| Error::unsupported("a deletion vector of more than four gigabytes"))?;
    let mut blob = Vec::with_capacity(length + 2 * WORD);
    blob.extend_from_slice(&said.to_be_bytes());
    blob.extend_from_slice(&MAGIC);
    positions.serialize_into(&mut blob).map_err(|e| Error::internal("a vector in memory").with_source(e))?;
    let sum = crc32(blob.get(WORD..).unwrap_or_default());
    blob.extend_from_slice(&sum.to_be_bytes());
    Ok(blob)
}

fn damaged(how: &str) -> Error {
    Error::new(Kind::SourceFailed, "a deletion vector is damaged").with_source(how.to_string())
}

/// CRC-32 as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut sum, mut bit) = (byte as u32, 0);
            while bit < 8 {
                sum = if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
                bit += 1;
            }
            table[byte] = sum;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn positions_come_back() {
        for positions in [vec![], vec![0], vec![1, 3, 7, 1 << 33], (100..70_000).collect()] {
            let positions: RoaringTreemap = positions.into_iter().collect();
            let blob = encode(&positions).unwrap();
            assert_eq!(decode(&blob, positions.len()).unwrap(), positions);
            assert!(decode(&blob, positions.len() + 1).is_err());
        }
    }

    #[test]
    fn no_damage_goes_unseen() {
        let blob = encode(&[1, 3, 7].into_iter().collect()).unwrap();
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut flipped = blob.clone();
                flipped[at] ^= 1 << bit;
                assert!(decode(&flipped, 3).is_err(), "byte {at} bit {bit}");
            }
            assert!(decode(&blob[..at], 3).is_err(), "cut at {at}");
        }
        // What is wrong under a right checksum.
        let sealed =
            |summed: &[u8]| [&(summed.len() as u32).to_be_bytes(), summed, &crc32(summed).to_be_bytes()].concat();
        let inner = &blob[4..blob.len() - 4];
        assert!(decode(&sealed(inner), 3).is_ok());
        assert!(decode(&sealed(&[inner, &[0]].concat()), 3).is_err());
        assert!(decode(&sealed(&[&MAGIC[..], &u64::MAX.to_le_bytes()].concat()), 0).is_err());
    }

    #[test]
    fn neighbours_make_runs() {
        let runs = |positions: &[u64]| Deleted::new(positions.iter().copied().collect()).runs();
        assert_eq!((runs(&[]), runs(&[5, 6, 7]), runs(&[0, 2, 3, u64::MAX])), (0, 1, 3));
    }
}
