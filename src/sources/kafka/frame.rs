//! Fields of Kafka's wire format, both of its generations: fixed lengths, and compact ones with tags. It knows no message.

/// Fields on their way out, one after another.
#[derive(Debug, Default)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn i16(&mut self, value: i16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.raw(&[u8::from(value)])
    }

    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX)).raw(text.as_bytes())
    }

    pub(super) fn byte_string(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX)).raw(bytes)
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A length plus one, as the compact forms have it.
    pub(super) fn compact_length(&mut self, length: usize) -> &mut Self {
        let mut rest = length + 1;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.raw(&[rest as u8])
    }

    pub(super) fn compact_string(&mut self, text: &str) -> &mut Self {
        self.compact_length(text.len()).raw(text.as_bytes())
    }

    pub(super) fn no_tags(&mut self) -> &mut Self {
        self.raw(&[0])
    }
}

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Fields on their way in. Foreign bytes: nothing is believed of their lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Unreadable> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Unreadable> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn uuid(&mut self) -> Result<[u8; 16], Unreadable> {
        self.array()
    }

    pub(super) fn string(&mut self) -> Result<Option<&'a str>, Unreadable> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let bytes = self.take(usize::try_from(length).map_err(|_| Unreadable)?)?;
                std::str::from_utf8(bytes).map(Some).map_err(|_| Unreadable)
            }
        }
    }

    pub(super) fn byte_string(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.i32()?;
        self.take(usize::try_from(length).map_err(|_| Unreadable)?)
    }

    fn varint(&mut self) -> Result<usize, Unreadable> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| Unreadable);
            }
        }
        Err(Unreadable)
    }

    /// `None`: null.
    pub(super) fn compact_length(&mut self) -> Result<Option<usize>, Unreadable> {
        Ok(self.varint()?.checked_sub(1))
    }

    pub(super) fn compact_string(&mut self) -> Result<Option<&'a str>, Unreadable> {
        let Some(length) = self.compact_length()? else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| Unreadable)
    }

    pub(super) fn skip_tags(&mut self) -> Result<(), Unreadable> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_went() {
        let long = "x".repeat(300);
        let mut frame = Frame::default();
        frame.i16(-2).i32(7).string("text").byte_string(b"bytes").compact_string(&long).compact_string("").no_tags();
        let mut fields = Fields::new(frame.bytes());
        assert_eq!((fields.i16(), fields.i32()), (Ok(-2), Ok(7)));
        assert_eq!((fields.string(), fields.byte_string()), (Ok(Some("text")), Ok(&b"bytes"[..])));
        assert_eq!((fields.compact_string(), fields.compact_string()), (Ok(Some(long.as_str())), Ok(Some(""))));
        assert_eq!((fields.skip_tags(), fields.rest().len()), (Ok(()), 0));
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_beyond_them() {
        let hostile: [&[u8]; 6] = [
            &[],
            &[0xff; 3],
            &[0x7f, 0xff, 0xff, 0xff],
            &[0xff, 0xfe],
            &[0xff; 12],
            &[5, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ];
        for bytes in hostile {
            type Read = fn(&mut Fields<'_>) -> Result<(), Unreadable>;
            let reads: [Read; 5] = [
                |f| f.string().map(|_| ()),
                |f| f.byte_string().map(|_| ()),
                |f| f.compact_string().map(|_| ()),
                |f| f.skip_tags(),
                |f| f.uuid().map(|_| ()),
            ];
            for read in reads {
                let mut fields = Fields::new(bytes);
                let _ = read(&mut fields);
                assert!(fields.rest().len() <= bytes.len());
            }
        }
    }
}
