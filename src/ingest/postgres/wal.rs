//! The stream of a slot: its bytes as they come, read ahead up to a bound, and what is told back. It decodes no change, and it
//! confirms only what it was told to confirm: never what it merely received.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::place::EPOCH_MICROS;
use super::trouble::unreachable;
use super::wire::{Wire, frame_length};
use crate::error::{Error, Result};
use crate::sources::postgres::Socket;

/// Bytes that may wait to be decoded; one message that is larger waits alone.
const AHEAD_BYTES: usize = 16 << 20;
/// Of one portion.
const PORTION_BYTES: usize = 1 << 20;
/// What a portion counts for at least, so that there are never more of them than the channel holds.
const PORTION_BYTES_MIN: usize = 16 << 10;
const PORTIONS: usize = AHEAD_BYTES / PORTION_BYTES_MIN + 1;
/// How often the server is told where we are: well below half of the shortest `wal_sender_timeout` in use.
const TELL: Duration = Duration::from_secs(5);
/// Times the read timeout: a server that is asked and says nothing for so long is taken for gone. It is patient, since a server
/// says nothing while it looks through a transaction that is not for us.
const SILENCES: u32 = 4;

/// Whole frames of the server's, with the room they take.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

#[cfg(test)]
impl Portion {
    pub(super) fn of(bytes: Bytes) -> Self {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned();
        Self { bytes, _room: room.expect("it is free") }
    }
}

/// A slot's stream under way; ends with its value.
#[derive(Debug)]
pub(super) struct Stream {
    portions: mpsc::Receiver<Result<Portion>>,
    told: Arc<Told>,
    _task: AbortOnDropHandle<()>,
}

/// What the server may be told.
#[derive(Debug)]
struct Told {
    confirmed: AtomicU64,
    nudge: Notify,
}

impl Stream {
    /// Over a connection that has just begun to stream. `confirmed`: what is durable already.
    pub(super) fn over(wire: Wire, confirmed: u64) -> Self {
        let (sender, portions) = mpsc::channel(PORTIONS);
        let told = Arc::new(Told { confirmed: AtomicU64::new(confirmed), nudge: Notify::new() });
        let (tell, silence) = (TELL.min(wire.read_timeout()), wire.read_timeout().saturating_mul(SILENCES));
        let (reading, writing) = split(wire.socket);
        let source = wire.source;
        let pump = Pump {
            source,
            reading,
            writing,
            inbound: wire.inbound,
            whole: 0,
            room: Arc::new(Semaphore::new(AHEAD_BYTES)),
            told: Arc::clone(&told),
            tell,
            silence,
            heard: Instant::now(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(pump.run(sender)));
        Self { portions, told, _task: task }
    }

    /// Everything below is durable.
    pub(super) fn confirm(&self, lsn: u64) {
        if self.told.confirmed.fetch_max(lsn, Ordering::Relaxed) < lsn {
            self.told.nudge.notify_one();
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Portion>> {
        self.portions.recv().await
    }

    /// What is here already.
    pub(super) fn ready(&mut self) -> Option<Result<Portion>> {
        self.portions.try_recv().ok()
    }

    pub(super) fn is_over(&self) -> bool {
        self.portions.is_closed() && self.portions.is_empty()
    }
}

struct Pump {
    source: String,
    reading: ReadHalf<Box<dyn Socket>>,
    writing: WriteHalf<Box<dyn Socket>>,
    inbound: BytesMut,
    /// So many bytes of `inbound` are whole frames.
    whole: usize,
    room: Arc<Semaphore>,
    told: Arc<Told>,
    tell: Duration,
    silence: Duration,
    /// When the server last said anything, or there was no room to hear it.
    heard: Instant,
}

impl Pump {
    async fn run(mut self, sender: mpsc::Sender<Result<Portion>>) {
        if let Err(error) = self.pump(&sender).await {
            // The reader went away, or reads it as the last thing.
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn pump(&mut self, sender: &mpsc::Sender<Result<Portion>>) -> Result<()> {
        let mut tick = interval(self.tell);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.scan()? {
                self.tell().await?;
            }
            let told = Arc::clone(&self.told);
            if self.whole > 0 {
                // While there is no room nothing is read, and the server hears of us all the same.
                let wanted = u32::try_from(self.whole.clamp(PORTION_BYTES_MIN, AHEAD_BYTES)).unwrap_or(u32::MAX);
                let room = Arc::clone(&self.room).acquire_many_owned(wanted);
                tokio::select! {
                    biased;
                    _ = tick.tick() => self.tell().await?,
                    () = told.nudge.notified() => self.tell().await?,
                    room = room => {
                        let room = room.map_err(|_| Error::internal("the semaphore of a stream is closed"))?;
                        self.heard = Instant::now();
                        let bytes = self.inbound.split_to(std::mem::take(&mut self.whole)).freeze();
                        if sender.send(Ok(Portion { bytes, _room: room })).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                continue;
            }
            if self.heard.elapsed() >= self.silence {
                return Err(self.broken("the server says nothing, though it is asked"));
            }
            self.reserve()?;
            tokio::select! {
                biased;
                _ = tick.tick() => self.tell().await?,
                () = told.nudge.notified() => self.tell().await?,
                read = self.reading.read_buf(&mut self.inbound) => {
                    if read.map_err(|e| self.broken(e))? == 0 {
                        return Err(self.broken("the server ended the stream"));
                    }
                    self.heard = Instant::now();
                }
            }
        }
    }

    /// Room for the frame that has begun, or for a portion of small ones.
    fn reserve(&mut self) -> Result<()> {
        let length = frame_length(&self.inbound).map_err(|e| self.broken(e))?.unwrap_or(0);
        let wanted = length.max(PORTION_BYTES / 4).saturating_sub(self.inbound.len());
        self.inbound.reserve(wanted.max(8 << 10));
        Ok(())
    }

    /// Finds the end of the whole frames; says whether the server asked for an answer among them.
    fn scan(&mut self) -> Result<bool> {
        let mut asked = false;
        while self.whole < PORTION_BYTES {
            let rest = self.inbound.get(self.whole..).unwrap_or_default();
            let Some(length) = frame_length(rest).map_err(|e| self.broken(e))? else { break };
            let Some(frame) = rest.get(..length) else { break };
            // A keepalive: letter, length, `k`, end of the WAL, clock, whether an answer is wanted.
            asked |= matches!(frame, [b'd', _, _, _, _, b'k', .., 1] if frame.len() == 23);
            self.whole += length;
        }
        Ok(asked)
    }

    /// Written, flushed and applied are one thing to us: what is durable in the lake.
    async fn tell(&mut self) -> Result<()> {
        let confirmed = self.told.confirmed.load(Ordering::Relaxed);
        let mut frame = BytesMut::with_capacity(39);
        frame.put_u8(b'd');
        frame.put_i32(38);
        frame.put_u8(b'r');
        for _ in 0..3 {
            frame.put_u64(confirmed);
        }
        frame.put_i64(chrono::Utc::now().timestamp_micros() - EPOCH_MICROS);
        // Whoever says nothing of its own accord is asked to, as a server does whose log does not grow.
        frame.put_u8(u8::from(self.heard.elapsed() >= self.tell));
        let sent = async {
            self.writing.write_all(&frame).await?;
            self.writing.flush().await
        };
        match timeout(TELL, sent).await {
            Ok(sent) => sent.map_err(|e| self.broken(e)),
            Err(_) => Err(self.broken("the server takes no answers")),
        }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        unreachable(&self.source).with_source(source)
    }
}

#[cfg(test)]
mod tests;
