//! Packed bytes → plain ones, a bounded part at a time: a small file may be very large text. Which packing it is says the
//! file's name.

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

pub(super) enum Unpack {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Whether a frame is open.
    Zstd(Box<Decoder<'static>>, bool),
}

/// Deflate makes up to a thousand bytes of one.
const GZIP_STEP_BYTES: usize = 4 << 10;
const ZSTD_STEP_BYTES: usize = 1 << 20;

impl Unpack {
    pub(super) fn of(name: &str) -> io::Result<Self> {
        let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
        Ok(match end.as_deref() {
            Some("gz") => Self::Gzip(Box::new(MultiGzDecoder::new(vec![]))),
            Some("zst" | "zstd") => Self::Zstd(Box::new(Decoder::new()?), false),
            _ => Self::Plain,
        })
    }

    /// Some plain bytes of the packed ones, which it takes from `packed`.
    pub(super) fn next(&mut self, packed: &mut Bytes) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(std::mem::take(packed)),
            Self::Gzip(decoder) => {
                let step = packed.len().min(GZIP_STEP_BYTES);
                let taken = decoder.write(packed.get(..step).unwrap_or_default())?;
                packed.advance(taken);
                if taken == 0 && step > 0 {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd(decoder, is_open) => {
                let mut plain = vec![0; ZSTD_STEP_BYTES];
                let mut input = InBuffer::around(packed);
                let mut output = OutBuffer::around(plain.as_mut_slice());
                *is_open = decoder.run(&mut input, &mut output)? != 0;
                let (taken, made) = (input.pos(), output.pos());
                packed.advance(taken);
                plain.truncate(made);
                Ok(plain.into())
            }
        }
    }

    /// After the last packed byte: what is still to come, nothing in the end; an error where the file ends too early.
    pub(super) fn last(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(Bytes::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd(_, is_open) => {
                let plain = if *is_open { self.next(&mut Bytes::new())? } else { Bytes::new() };
                match self {
                    Self::Zstd(_, true) if plain.is_empty() => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    _ => Ok(plain),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(name: &str, packed: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let (mut unpack, mut plain) = (Unpack::of(name)?, vec![]);
        for part in packed.chunks(step) {
            let mut part = Bytes::copy_from_slice(part);
            while !part.is_empty() {
                plain.extend_from_slice(&unpack.next(&mut part)?);
            }
        }
        loop {
            match unpack.last()? {
                rest if rest.is_empty() => return Ok(plain),
                rest => plain.extend_from_slice(&rest),
            }
        }
    }

    #[test]
    fn packed_bytes_come_out_whole_or_are_told_to_be_short() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|n| format!("{n},\n").into_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        for (name, packed) in [("a.csv.gz", gzip), ("a.csv.zst", zstd)] {
            for step in [777, 1 << 16, packed.len()] {
                assert_eq!(unpacked(name, &packed, step).unwrap(), text, "{name} {step}");
                // Several in a row are one file, as the tools have it.
                let twice = [packed.as_slice(), packed.as_slice()].concat();
                assert_eq!(unpacked(name, &twice, step).unwrap().len(), 2 * text.len(), "{name} {step}");
                let short = packed.get(..packed.len() - 9).unwrap();
                assert!(unpacked(name, short, step).is_err(), "{name} {step}");
            }
            assert!(unpacked(name, b"no such thing at all", 100).is_err(), "{name}");
        }
        assert_eq!(unpacked("a.csv", b"plain", 2).unwrap(), b"plain");
    }

    #[test]
    fn a_small_file_does_not_come_out_at_once() {
        let zeros = vec![b' '; 64 << 20];
        let mut packed = Bytes::from(zstd::encode_all(zeros.as_slice(), 1).unwrap());
        let first = Unpack::of("a.zst").unwrap().next(&mut packed).unwrap();
        assert!(first.len() <= ZSTD_STEP_BYTES && packed.len() < 64 << 10);
    }
}
