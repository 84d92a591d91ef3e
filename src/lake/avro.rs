//! The frame of an Avro file (<https://avro.apache.org/docs/1.12.0/specification/#object-container-files>): its header of
//! named bytes, and its blocks, which may be compressed. It does not read what a block holds; the `iceberg` crate does.

use std::borrow::Cow;
use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

const MAGIC: &[u8] = b"Obj\x01";
const CODEC: &[u8] = b"avro.codec";
/// Ends the header and each block.
const MARKER_BYTES: usize = 16;

/// An Avro file taken apart.
pub(super) struct Container<'a> {
    pub header: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    /// From the first marker on.
    rest: &'a [u8],
}

impl<'a> Container<'a> {
    /// `None` for what is no Avro file.
    pub(super) fn open(avro: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(avro.strip_prefix(MAGIC)?);
        let mut header = vec![];
        loop {
            let count = rest.long()?;
            if count == 0 {
                return Some(Self { header, rest: rest.0 });
            }
            if count < 0 {
                // A block that says its size in bytes as well.
                rest.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                header.push((rest.bytes()?, Cow::Borrowed(rest.bytes()?)));
            }
        }
    }

    /// The same file with its header as it is now.
    pub(super) fn closed(&self) -> Vec<u8> {
        let mut out = self.begun();
        out.extend_from_slice(self.rest);
        out
    }

    /// The same with its blocks deflated, the codec that every reader of Iceberg's has; `None` where they are compressed
    /// already.
    pub(super) fn deflated(mut self) -> Option<Vec<u8>> {
        if self.header.iter().any(|(name, value)| *name == CODEC && value.as_ref() != b"null") {
            return None;
        }
        self.header.retain(|(name, _)| *name != CODEC);
        self.header.push((CODEC, Cow::Borrowed(b"deflate")));
        let mut out = self.begun();
        let (marker, blocks) = self.rest.split_at_checked(MARKER_BYTES)?;
        out.extend_from_slice(marker);
        let mut blocks = Bytes(blocks);
        while !blocks.0.is_empty() {
            let (count, block) = (blocks.long()?, blocks.bytes()?);
            let (end, after) = blocks.0.split_at_checked(MARKER_BYTES)?;
            let mut deflated = DeflateEncoder::new(vec![], Compression::default());
            deflated.write_all(block).ok()?;
            let deflated = deflated.finish().ok()?;
            put_long(&mut out, count);
            put_bytes(&mut out, &deflated);
            out.extend_from_slice(end);
            blocks = Bytes(after);
        }
        Some(out)
    }

    fn begun(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_long(&mut out, i64::try_from(self.header.len()).unwrap_or(i64::MAX));
        for (name, value) in &self.header {
            put_bytes(&mut out, name);
            put_bytes(&mut out, value);
        }
        put_long(&mut out, 0);
        out
    }
}

/// What is left of an Avro file.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Seven bits a byte, lowest first, the sign in the lowest bit.
    fn long(&mut self) -> Option<i64> {
        let mut bits = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            bits |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use super::*;

    /// A file with this header and one block of these bytes.
    pub(in crate::lake) fn file(header: &[(&str, &str)], block: &[u8]) -> Vec<u8> {
        let header = header.iter().map(|(name, value)| (name.as_bytes(), Cow::Borrowed(value.as_bytes()))).collect();
        let mut rest = b"sixteen bytes...".to_vec();
        put_long(&mut rest, 3);
        put_bytes(&mut rest, block);
        rest.extend_from_slice(b"sixteen bytes...");
        Container { header, rest: &rest }.closed()
    }

    #[test]
    fn longs_come_back() {
        for value in [0, -1, 1, 63, 64, -64, -65, i64::MAX, i64::MIN] {
            let mut out = vec![];
            put_long(&mut out, value);
            assert_eq!(Bytes(&out).long(), Some(value));
        }
        assert_eq!(Bytes(&[0xff; 11]).long(), None);
        assert_eq!(Bytes(&[0x80]).long(), None);
    }

    #[test]
    fn blocks_are_deflated_once() {
        let block = b"abc".repeat(100);
        let plain = file(&[("avro.codec", "null"), ("avro.schema", "{}")], &block);
        let small = Container::open(&plain).unwrap().deflated().unwrap();
        assert!(small.len() < plain.len() / 2);
        let opened = Container::open(&small).unwrap();
        assert!(opened.header.iter().any(|(name, value)| *name == CODEC && value.as_ref() == b"deflate"));
        let mut blocks = Bytes(&opened.rest[MARKER_BYTES..]);
        assert_eq!(blocks.long(), Some(3));
        let mut unpacked = vec![];
        flate2::read::DeflateDecoder::new(blocks.bytes().unwrap()).read_to_end(&mut unpacked).unwrap();
        assert_eq!((unpacked, blocks.0), (block, &b"sixteen bytes..."[..]));
        assert!(Container::open(&small).unwrap().deflated().is_none());
    }

    #[test]
    fn what_is_cut_is_no_file() {
        let plain = file(&[("avro.codec", "null")], b"x");
        for cut in 0..plain.len() {
            let made = Container::open(&plain[..cut]).and_then(Container::deflated);
            // Between two blocks a file may end.
            assert!(made.is_none() || cut == plain.len() - 19, "{cut}");
        }
    }
}
