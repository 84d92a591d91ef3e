//! Frames of the frontend: type byte, length, body. Type and length are judged before anything is buffered, by what the
//! connection's state allows. It does not look into bodies; `message` does.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Kind, Result};

/// Largest frame of the types that carry only a name or nothing, as in PostgreSQL.
const SMALL_BYTES_MAX: usize = 10_000;
/// A buffer grows by at most this or by what it holds already, whatever length was announced.
const READ_BYTES: usize = 4_096;
/// Largest buffer an idle connection keeps.
const KEEP_BYTES: usize = 16 << 10;

/// One message, framed.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Message {
        kind: u8,
        body: Bytes,
    },
    /// Larger than the limit; its body is thrown away as it arrives.
    Oversized {
        kind: u8,
    },
}

/// What may arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Password-family frames only.
    LoggingIn,
    LoggedIn,
}

/// Cuts frames from bytes. Pure: it reads from no socket.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    auth_bytes_max: usize,
    message_bytes_max: usize,
    /// Bytes of an oversized frame still to be thrown away.
    skip: usize,
}

impl Decoder {
    pub(crate) fn new(auth_bytes_max: usize, message_bytes_max: usize) -> Self {
        Self { state: State::LoggingIn, auth_bytes_max, message_bytes_max, skip: 0 }
    }

    pub(crate) fn logged_in(&mut self) {
        self.state = State::LoggedIn;
    }

    /// The next frame, or `None` when more bytes are needed. An error is final: the stream is out of step.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>> {
        if self.skip > 0 {
            let gone = self.skip.min(buffer.len());
            buffer.advance(gone);
            self.skip -= gone;
            if self.skip > 0 {
                return Ok(None);
            }
        }
        let Some(&kind) = buffer.first() else { return Ok(None) };
        let limit = self.limit(kind)?;
        let Some(length) = buffer.get(1..5).and_then(|four| four.try_into().ok()).map(i32::from_be_bytes) else {
            return Ok(None);
        };
        // The length counts itself.
        let body = match usize::try_from(length) {
            Ok(length) if length >= 4 => length - 4,
            _ => return Err(protocol("invalid message length")),
        };
        if body > limit {
            if self.state == State::LoggingIn || !may_be_large(kind) {
                return Err(protocol("invalid message length"));
            }
            buffer.advance(5);
            self.skip = body;
            return Ok(Some(Frame::Oversized { kind }));
        }
        if buffer.len() < 5 + body {
            return Ok(None);
        }
        buffer.advance(5);
        Ok(Some(Frame::Message { kind, body: buffer.split_to(body).freeze() }))
    }

    fn limit(&self, kind: u8) -> Result<usize> {
        match (self.state, kind) {
            (State::LoggingIn, b'p') => Ok(self.auth_bytes_max),
            (State::LoggingIn, other) => Err(protocol(format!("expected password response, got message type {other}"))),
            (State::LoggedIn, kind) if may_be_large(kind) => Ok(self.message_bytes_max),
            (State::LoggedIn, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f') => Ok(SMALL_BYTES_MAX),
            (State::LoggedIn, other) => Err(protocol(format!("invalid frontend message type {other}"))),
        }
    }
}

/// Query, Parse, Bind, FunctionCall, CopyData.
fn may_be_large(kind: u8) -> bool {
    matches!(kind, b'Q' | b'P' | b'B' | b'F' | b'd')
}

fn protocol(text: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, text)
}

/// Frames from a socket's reading half.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    reader: R,
    buffer: BytesMut,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(reader: R, decoder: Decoder) -> Self {
        Self { reader, buffer: BytesMut::new(), decoder }
    }

    pub(crate) fn logged_in(&mut self) {
        self.decoder.logged_in();
    }

    /// `None` at the end of the stream, also in the middle of a frame: there is nobody left to tell.
    /// Cancel safe: bytes read stay in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer)? {
                self.let_go(&frame);
                return Ok(Some(frame));
            }
            if self.buffer.len() == self.buffer.capacity() {
                self.buffer.reserve(self.buffer.len().max(READ_BYTES));
            }
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    /// A large body's allocation would be taken back by the buffer and kept by the idle connection: what lies behind
    /// the body moves to a new one.
    fn let_go(&mut self, frame: &Frame) {
        if matches!(frame, Frame::Message { body, .. } if body.len() > KEEP_BYTES) {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
    }
}

#[cfg(test)]
mod tests;
