//! LISTEN and NOTIFY between the sessions of one engine (async.c). What a transaction says comes into force when it
//! commits: it listens and tells then, and not at all where it is rolled back. A session is told between its transactions.

use std::collections::HashSet;

use super::{Arc, Own, Peer, VecDeque, locked};
use crate::error::{Error, Kind, Result};

/// As PostgreSQL's: NAMEDATALEN, and what fits a page of its queue.
const CHANNEL_BYTES: usize = 64;
const PAYLOAD_BYTES: usize = 8_000;
/// What may wait for one session, which reads it as soon as its transaction is over; and what one transaction may say, so
/// that all of it fits where nothing waits.
const WAITING_BYTES: usize = 8 << 20;
const CHANNELS_MAX: usize = 1_000;

/// Something that was said on a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Of whoever said it.
    pub pid: i32,
    pub channel: String,
    pub payload: String,
}

/// What a transaction does to channels.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Listen(String),
    Unlisten(String),
    UnlistenAll,
    Notify(Notification),
}

/// What a transaction has said, in its order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: Vec<Change>,
    /// Those of its notifications: the same twice is told once.
    said: HashSet<Notification>,
    bytes: usize,
    /// How much there was at each of its savepoints, outermost first.
    marks: Vec<usize>,
}

impl Pending {
    fn add(&mut self, change: Change) -> Result<()> {
        let bytes = change.bytes();
        if let Change::Notify(notification) = &change
            && self.said.contains(notification)
        {
            return Ok(());
        }
        if self.bytes + bytes > WAITING_BYTES {
            return Err(Error::new(Kind::TooLarge, "too many notifications in the NOTIFY queue"));
        }
        self.bytes += bytes;
        if let Change::Notify(notification) = &change {
            self.said.insert(notification.clone());
        }
        self.changes.push(change);
        Ok(())
    }

    /// Of its savepoints.
    pub(super) fn depth(&self) -> usize {
        self.marks.len()
    }

    fn cut(&mut self, length: usize) {
        for change in self.changes.drain(length.min(self.changes.len())..) {
            self.bytes -= change.bytes();
            if let Change::Notify(notification) = &change {
                self.said.remove(notification);
            }
        }
    }
}

/// What a session has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    told: VecDeque<Notification>,
    bytes: usize,
}

impl Change {
    fn bytes(&self) -> usize {
        let text = match self {
            Self::Listen(channel) | Self::Unlisten(channel) => channel.len(),
            Self::UnlistenAll => 0,
            // it stands among what was said too
            Self::Notify(notification) => return 2 * notification.bytes(),
        };
        size_of::<Self>() + text
    }
}

impl Notification {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.channel.len() + self.payload.len()
    }
}

impl Own {
    pub(crate) fn listen(&self, channel: String) -> Result<()> {
        self.change(Change::Listen(channel))
    }

    /// `None`: on no channel.
    pub(crate) fn unlisten(&self, channel: Option<String>) -> Result<()> {
        self.change(channel.map_or(Change::UnlistenAll, Change::Unlisten))
    }

    /// The same twice in one transaction is told once.
    pub(super) fn tell(&self, channel: &str, payload: &str) -> Result<()> {
        let refuse = |text: &str| Err(Error::new(Kind::InvalidParameter, text));
        if channel.is_empty() {
            return refuse("channel name cannot be empty");
        }
        if channel.len() >= CHANNEL_BYTES {
            return refuse("channel name too long");
        }
        if payload.len() >= PAYLOAD_BYTES {
            return refuse("payload string too long");
        }
        let (channel, payload) = (channel.to_owned(), payload.to_owned());
        self.change(Change::Notify(Notification { pid: self.peer.pid, channel, payload }))
    }

    fn change(&self, change: Change) -> Result<()> {
        let mut state = locked(&self.peer.state);
        if matches!(change, Change::Listen(_)) && state.channels.len() + state.pending.changes.len() >= CHANNELS_MAX {
            let text = format!("more than {CHANNELS_MAX} channels are listened on");
            return Err(Error::new(Kind::TooLarge, text));
        }
        state.pending.add(change)
    }

    /// The transaction was rolled back.
    pub(crate) fn forget(&self) {
        self.peers.locks.transaction_over(self.peer.pid);
        locked(&self.peer.state).pending = Pending::default();
    }

    /// A savepoint was made.
    pub(crate) fn save(&self) {
        let mut state = locked(&self.peer.state);
        let length = state.pending.changes.len();
        state.pending.marks.push(length);
    }

    /// Savepoints from this one on are gone, and what was said since stays.
    pub(crate) fn release(&self, level: usize) {
        locked(&self.peer.state).pending.marks.truncate(level);
        self.peers.locks.savepoint_released(self.peer.pid, level);
    }

    /// As it was at this savepoint, which stays.
    pub(crate) fn roll_back_to(&self, level: usize) {
        self.peers.locks.rolled_back_to(self.peer.pid, level);
        let mut state = locked(&self.peer.state);
        if let Some(length) = state.pending.marks.get(level).copied() {
            state.pending.marks.truncate(level + 1);
            state.pending.cut(length);
        }
    }

    /// A statement failed within this savepoint, to which the session may go back.
    pub(crate) fn failed_in(&self, level: usize) {
        self.peers.locks.rolled_back_to(self.peer.pid, level);
    }

    /// The transaction is over, and was committed as far as anything of it was not forgotten.
    pub(crate) fn commit(&self) {
        self.peers.locks.transaction_over(self.peer.pid);
        let pending = std::mem::take(&mut locked(&self.peer.state).pending).changes;
        if pending.is_empty() {
            return;
        }
        let mut told = vec![];
        {
            let mut state = locked(&self.peer.state);
            for change in pending {
                match change {
                    Change::Listen(channel) => drop(state.channels.insert(channel)),
                    Change::Unlisten(channel) => drop(state.channels.remove(&channel)),
                    Change::UnlistenAll => state.channels.clear(),
                    Change::Notify(notification) => told.push(notification),
                }
            }
        }
        if !told.is_empty() {
            self.peers.all().iter().for_each(|peer| peer.hear(&told));
        }
    }

    /// What was told since the last time.
    pub(crate) fn heard(&self) -> Vec<Notification> {
        let mut state = locked(&self.peer.state);
        state.waiting.bytes = 0;
        std::mem::take(&mut state.waiting.told).into()
    }

    /// Until something is told. Cancel safe; it may wake without a reason.
    pub(crate) fn bell(&self) -> impl Future<Output = ()> + Send + use<> {
        let peer = Arc::clone(&self.peer);
        async move { peer.bell.notified().await }
    }
}

impl Peer {
    /// Where a session lets too much wait, it is not told the rest: others do not wait for it.
    fn hear(&self, told: &[Notification]) {
        let mut state = locked(&self.state);
        let state = &mut *state;
        for notification in told.iter().filter(|told| state.channels.contains(&told.channel)) {
            if state.waiting.bytes + notification.bytes() > WAITING_BYTES {
                tracing::warn!(pid = self.pid, "a session lets too many notifications wait; the rest is dropped");
                break;
            }
            state.waiting.bytes += notification.bytes();
            state.waiting.told.push_back(notification.clone());
        }
        if !state.waiting.told.is_empty() {
            self.bell.notify_one();
        }
    }
}
