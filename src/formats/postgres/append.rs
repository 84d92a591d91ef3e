//! Numbers and letters appended to a message, in the protocol's byte order. `bytes` has the same by the same names, each a
//! call into that crate and from there to memcpy; these are compiled into the writers, of which a row calls dozens.

use bytes::BytesMut;

pub(crate) trait Append {
    fn put<const N: usize>(&mut self, bytes: [u8; N]);

    /// `count` times.
    fn put_bytes(&mut self, value: u8, count: usize);

    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.put([value]);
    }

    #[inline]
    fn put_i16(&mut self, value: i16) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_i32(&mut self, value: i32) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_i64(&mut self, value: i64) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_f32(&mut self, value: f32) {
        self.put(value.to_be_bytes());
    }

    #[inline]
    fn put_f64(&mut self, value: f64) {
        self.put(value.to_be_bytes());
    }
}

impl Append for BytesMut {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.extend_from_slice(&bytes);
    }

    fn put_bytes(&mut self, value: u8, count: usize) {
        self.resize(self.len() + count, value);
    }
}
