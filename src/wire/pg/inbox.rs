//! The reading half of a logged-in connection: a task that reads ahead, so that a client that vanishes while its
//! statement runs is noticed at once. What it reads ahead is bounded in messages and in bytes. It answers nothing.

use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::frame::{Frame, Frames};
use crate::error::Result;

/// Bodies are weighed in these.
const WEIGHT_BYTES: usize = 1_024;

/// Frames in the order they came. The task ends with it.
#[derive(Debug)]
pub(crate) struct Inbox {
    frames: mpsc::Receiver<(Result<Frame>, OwnedSemaphorePermit)>,
    _task: AbortOnDropHandle<()>,
}

impl Inbox {
    /// `gone` is cancelled at the end of the stream. At most `frames_max` frames wait, weighing `bytes_max` together
    /// (one frame more may be on its way).
    pub(crate) fn open<R>(frames: Frames<R>, gone: CancellationToken, frames_max: usize, bytes_max: usize) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(frames_max);
        let room = Arc::new(Semaphore::new(weight(bytes_max)));
        let task = tokio::spawn(read(frames, sender, room, weight(bytes_max), gone));
        Self { frames: receiver, _task: AbortOnDropHandle::new(task) }
    }

    /// `None` when the client has gone; an error when it is out of step. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame>> {
        // The permit ends here: what is being answered no longer counts as read ahead.
        self.frames.recv().await.map(|(frame, _permit)| frame)
    }
}

async fn read<R: AsyncRead + Unpin>(
    mut frames: Frames<R>,
    sender: mpsc::Sender<(Result<Frame>, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    room_max: usize,
    gone: CancellationToken,
) {
    loop {
        let frame = frames.next().await.transpose();
        let Some(frame) = frame else {
            gone.cancel();
            return;
        };
        let weighs = match &frame {
            Ok(Frame::Message { body, .. }) => weight(body.len()).min(room_max),
            Ok(Frame::Oversized { .. }) | Err(_) => 1,
        };
        let last = frame.is_err();
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(u32::try_from(weighs).unwrap_or(u32::MAX)).await else {
            return;
        };
        if sender.send((frame, permit)).await.is_err() || last {
            return;
        }
    }
}

fn weight(bytes: usize) -> usize {
    bytes / WEIGHT_BYTES + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pg::frame::Decoder;
    use tokio::io::AsyncWriteExt;

    fn query(body: usize) -> Vec<u8> {
        let mut frame = vec![b'Q'];
        frame.extend_from_slice(&i32::try_from(body + 4).unwrap().to_be_bytes());
        frame.resize(5 + body, b'x');
        frame
    }

    fn inbox(pipe: usize) -> (Inbox, tokio::io::DuplexStream, CancellationToken) {
        let (ours, theirs) = tokio::io::duplex(pipe);
        let mut decoder = Decoder::new(1_024, 1 << 20);
        decoder.logged_in();
        let gone = CancellationToken::new();
        (Inbox::open(Frames::new(ours, decoder), gone.clone(), 4, 100 << 10), theirs, gone)
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_noticed_while_nobody_asks_for_frames() {
        let (mut inbox, mut theirs, gone) = inbox(1 << 16);
        theirs.write_all(&query(10)).await.unwrap();
        drop(theirs);
        gone.cancelled().await;
        assert!(matches!(inbox.next().await, Some(Ok(Frame::Message { kind: b'Q', .. }))));
        assert!(inbox.next().await.is_none());
    }

    #[tokio::test]
    async fn an_error_comes_after_the_frames_before_it() {
        let (mut inbox, mut theirs, _gone) = inbox(1 << 16);
        theirs.write_all(&[query(3), b"\xff".to_vec()].concat()).await.unwrap();
        assert!(matches!(inbox.next().await, Some(Ok(Frame::Message { .. }))));
        assert!(matches!(inbox.next().await, Some(Err(_))));
        assert!(inbox.next().await.is_none());
    }

    /// A client that writes without end is held back by the queue, in messages and in bytes.
    #[tokio::test]
    async fn what_is_read_ahead_is_bounded() {
        for (body, read_at_most) in [(1, 4 + 2), (50 << 10, 2 + 2)] {
            let (inbox, mut theirs, _gone) = inbox(64);
            let mut written = 0;
            // The pipe holds 64 bytes, so a frame that is taken whole has been read by the task.
            while let Ok(done) =
                tokio::time::timeout(std::time::Duration::from_millis(300), theirs.write_all(&query(body))).await
            {
                done.unwrap();
                written += 1;
                assert!(written < 100, "nothing holds the writer back");
            }
            // Bytes in the pipe (64) and in the reading buffer may hold further small frames.
            let small = if body == 1 { (64 + 4_096) / 6 } else { 0 };
            assert!(written <= read_at_most + small, "{written} frames of {body} bytes were taken");
            drop(inbox);
        }
    }
}
