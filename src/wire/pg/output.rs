//! The writing half of a connection: messages are appended whole, written in large pieces, and a peer that takes no
//! byte for too long is given up. It decides nothing about what is written.

use std::time::Duration;

use bytes::BytesMut;
use metrics::counter;
use pgwire::messages::Message;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::{Gone, Severity, response};
use crate::error::{Error, Result};
use crate::telemetry::metrics::BYTES_SENT;

/// Results are written when they fill this; one slice of encoded rows is about as large.
pub(crate) const FLUSH_BYTES: usize = 64 << 10;
/// An idle connection keeps no more than this.
const KEEP_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Output<W> {
    writer: W,
    buffer: BytesMut,
    /// How much of the buffer the peer took already.
    sent: usize,
    /// End of the last whole message; what lies behind it can still be taken back.
    whole: usize,
    write_timeout: Duration,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub(crate) fn new(writer: W, write_timeout: Duration) -> Self {
        Self { writer, buffer: BytesMut::new(), sent: 0, whole: 0, write_timeout }
    }

    pub(crate) fn put(&mut self, message: &impl Message) -> Result<()> {
        self.append(|buffer| {
            message.encode(buffer).map_err(|e| Error::internal("message does not encode").with_source(e))
        })
    }

    /// Lets `write` append whole messages; what a failed or panicking one left behind is never sent.
    pub(crate) fn append<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<T>) -> Result<T> {
        self.buffer.truncate(self.whole);
        let written = write(&mut self.buffer);
        match &written {
            Ok(_) => self.whole = self.buffer.len(),
            Err(_) => self.buffer.truncate(self.whole),
        }
        written
    }

    /// An error that cannot be encoded leaves the client without an answer, so the connection ends.
    pub(crate) fn put_error(&mut self, error: &Error, severity: Severity) -> std::result::Result<(), Gone> {
        self.put(&response(error, severity)).map_err(|_| Gone)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.whole - self.sent >= FLUSH_BYTES
    }

    /// Writes everything. Cancel safe: how far it came is remembered.
    pub(crate) async fn flush(&mut self) -> std::result::Result<(), Gone> {
        while self.sent < self.whole {
            let written = self.progress(Step::Write).await?;
            counter!(BYTES_SENT).increment(written as u64);
            self.sent += written;
        }
        self.progress(Step::Flush).await?;
        self.buffer.clear();
        (self.sent, self.whole) = (0, 0);
        Ok(())
    }

    /// Nothing is to be said for a while: gives a large buffer back.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    /// Says goodbye: TLS's own end, then the socket's.
    pub(crate) async fn close(mut self) {
        if self.flush().await.is_ok() {
            let _ = tokio::time::timeout(self.write_timeout, self.writer.shutdown()).await;
        }
    }

    async fn progress(&mut self, step: Step) -> std::result::Result<usize, Gone> {
        let work = async {
            match step {
                Step::Write => self.writer.write(&self.buffer[self.sent..self.whole]).await,
                Step::Flush => self.writer.flush().await.map(|()| 1),
            }
        };
        match tokio::time::timeout(self.write_timeout, work).await {
            Ok(Ok(count)) if count > 0 => Ok(count),
            Ok(Ok(_)) => Err(Gone),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "write");
                Err(Gone)
            }
            Err(_) => {
                tracing::info!(timeout_ms = self.write_timeout.as_millis() as u64, "client takes no bytes, let go");
                Err(Gone)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Write,
    Flush,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use pgwire::messages::response::CommandComplete;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn half_a_message_is_taken_back() {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let mut output = Output::new(ours, Duration::from_secs(1));
        output.put(&CommandComplete::new("SET".into())).unwrap();
        let failed: Result<()> = output.append(|buffer| {
            buffer.extend_from_slice(b"D half a row");
            Err(Error::new(Kind::NumericRange, "integer out of range"))
        });
        assert!(failed.is_err());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            output.append(|buffer| -> Result<()> {
                buffer.extend_from_slice(b"D half a row");
                panic!("in the encoder")
            })
        }));
        assert!(panicked.is_err());
        output.put_error(&failed.unwrap_err(), Severity::Error).unwrap();
        output.close().await;
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        assert_eq!(&sent[..9], b"C\0\0\0\x08SET\0");
        assert_eq!(sent[9], b'E');
        assert!(!sent.windows(4).any(|w| w == b"half"));
    }

    /// The slow reader takes longer than the timeout in all, but never that long between two bytes.
    #[tokio::test]
    async fn a_reader_that_stops_is_let_go_and_a_slow_one_is_not() {
        let timeout = Duration::from_secs(1);
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let mut output = Output::new(ours, timeout);
        let fill = |b: &mut BytesMut| {
            b.extend_from_slice(&[b'x'; 6_000]);
            Ok(())
        };
        output.append(fill).unwrap();
        let slow = tokio::spawn(async move {
            let mut tick = tokio::time::interval(timeout / 4);
            for _ in 0..6 {
                tick.tick().await;
                theirs.read_exact(&mut [0; 1_000]).await.unwrap();
            }
            theirs
        });
        output.flush().await.expect("each byte came in time");
        let _theirs = slow.await.unwrap();
        output.append(fill).unwrap();
        output.flush().await.expect_err("nobody reads");
    }
}
