//! Bodies on their way into a table: those that wait, those that a batch has, and what is known of those before them. Every
//! step is under one lock and none waits; whose turn it is the origin says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::keys::{Id, Kept, Keys};
use crate::formats::change::Changed;
use crate::inlets::{Answer, Refusal};

/// How it ended for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    /// The pipeline ends; what was in a batch may be committed all the same.
    Left,
}

/// A line that makes no row, whole.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Its place among the lines of its body.
    pub(super) line: usize,
    pub(super) class: &'static str,
    pub(super) message: String,
    pub(super) raw: Vec<u8>,
}

/// A body, decoded.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) id: Id,
    pub(super) body: [u8; 4],
    /// Its sender gave it a key.
    pub(super) is_named: bool,
    pub(super) user: Arc<str>,
    pub(super) at_micros: i64,
    pub(super) changed: Changed,
    /// Of each row its line.
    pub(super) kept: Vec<usize>,
    pub(super) lines: usize,
    pub(super) dead: Vec<Misfit>,
    pub(super) end: watch::Sender<Option<End>>,
    /// Somebody was told that it is taken in, and waits for no more.
    pub(super) is_promised: AtomicBool,
    /// Held until it is committed or gone.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Load {
    fn remembered(&self) -> Kept {
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let at = u32::try_from(self.at_micros / 1_000_000).unwrap_or(u32::MAX).max(1);
        Kept {
            id: self.id,
            body: self.body,
            rows: count(self.changed.ops.len()),
            dead: count(self.dead.len()),
            at: if self.is_named { at } else { 0 },
        }
    }

    /// Somebody waits for it, or was promised it.
    fn is_wanted(&self) -> bool {
        self.end.receiver_count() > 0 || self.is_promised.load(Ordering::Relaxed)
    }

    pub(super) fn answer(&self, committed: bool, again: bool) -> Answer {
        Answer { committed, again, ..answer(&self.remembered()) }
    }
}

fn answer(kept: &Kept) -> Answer {
    Answer { rows: u64::from(kept.rows), dead_letters: u64::from(kept.dead), committed: true, again: true }
}

/// What a body finds.
#[derive(Debug)]
pub(super) enum Entered {
    New,
    /// The same is on its way.
    Joined(Arc<Load>),
    /// It is in the table.
    Known(Answer),
    /// Its key came with another body.
    Reused,
    /// The table was not looked at, or nothing more is taken in.
    Closed,
}

impl Entered {
    /// What its sender is told at once. `None`: the body goes, or is, on its way.
    pub(super) fn settled(&self) -> Option<Result<Answer, Refusal>> {
        match self {
            Self::New | Self::Joined(_) => None,
            Self::Known(answer) => Some(Ok(*answer)),
            Self::Reused => Some(Err(Refusal::KeyReused)),
            Self::Closed => Some(Err(Refusal::NotRunning)),
        }
    }
}

/// How many keys are remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) keys_max: usize,
    pub(super) age_s: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    memory: Memory,
    is_open: bool,
    /// As the table says them.
    keys: Keys,
    /// The number of the next line, as the table says it.
    next: i64,
    waiting: VecDeque<Arc<Load>>,
    /// With the number of the line after it.
    taken: VecDeque<(i64, Arc<Load>)>,
}

impl Queue {
    pub(super) fn new(memory: Memory) -> Self {
        let (waiting, taken) = (VecDeque::new(), VecDeque::new());
        Self { memory, is_open: false, keys: Keys::default(), next: 0, waiting, taken }
    }

    pub(super) fn enter(&mut self, load: &Arc<Load>) -> Entered {
        let found = self.look(&load.id, load.body);
        if matches!(found, Entered::New) {
            self.waiting.push_back(Arc::clone(load));
        }
        found
    }

    /// What a body would find.
    pub(super) fn look(&self, id: &Id, body: [u8; 4]) -> Entered {
        if !self.is_open {
            return Entered::Closed;
        }
        if let Some(kept) = self.keys.get(id) {
            return if kept.body == body { Entered::Known(answer(kept)) } else { Entered::Reused };
        }
        let on_its_way = self.taken.iter().map(|(_, load)| load).chain(&self.waiting).find(|l| l.id == *id);
        match on_its_way {
            Some(other) if other.body == body => Entered::Joined(Arc::clone(other)),
            Some(_) => Entered::Reused,
            None => Entered::New,
        }
    }

    /// Where the table is, told before anything is taken. What a batch had is either in it, or waits again before all others;
    /// but for what nobody waits for any more. Where the table moved by more than what was taken here, another process or a
    /// person moved it, and what came here before is older than what is in it by now: nothing of that is taken in. Says how
    /// many lines were promised to be and are not.
    pub(super) fn begin(&mut self, next: i64, keys: Keys) -> usize {
        let ended_here = |(end, load): &(i64, Arc<Load>)| *end == next && keys.get(&load.id).is_some();
        let is_ours = next == self.next || self.taken.iter().any(ended_here);
        (self.next, self.keys, self.is_open) = (next, keys, true);
        while let Some((_, load)) = self.taken.pop_back() {
            self.waiting.push_front(load);
        }
        // Another process may have taken in what was sent to both.
        let keys = &self.keys;
        let mut broken = 0;
        self.waiting.retain(|load| match keys.get(&load.id) {
            Some(kept) => {
                let end = if kept.body == load.body { End::Committed } else { End::Left };
                load.end.send_replace(Some(end));
                false
            }
            None if is_ours && load.is_wanted() => true,
            None => {
                broken += if load.is_promised.load(Ordering::Relaxed) { load.lines } else { 0 };
                load.end.send_replace(Some(End::Left));
                false
            }
        });
        self.keys.forget_nameless();
        broken
    }

    /// Nothing comes in until it begins again. What waits stays.
    pub(super) fn rest(&mut self) {
        self.is_open = false;
    }

    /// The next ones, at least one where there is one; each with the number of its first line.
    pub(super) fn take(&mut self, lines_max: usize) -> Vec<(i64, Arc<Load>)> {
        let (mut some, mut lines) = (vec![], 0);
        while let Some(load) = self.waiting.front() {
            lines += load.lines;
            if !some.is_empty() && lines > lines_max {
                break;
            }
            let Some(load) = self.waiting.pop_front() else { break };
            let first = self.end();
            self.taken
                .push_back((first.saturating_add(i64::try_from(load.lines).unwrap_or(i64::MAX)), Arc::clone(&load)));
            some.push((first, load));
        }
        some
    }

    /// The number of the line after the last one that a batch has.
    fn end(&self) -> i64 {
        self.taken.back().map_or(self.next, |(end, _)| *end)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lines that are in no commit yet.
    pub(super) fn lines(&self) -> u64 {
        let all = self.taken.iter().map(|(_, load)| load).chain(&self.waiting);
        all.map(|load| load.lines as u64).sum()
    }

    /// What the table is to say once all that was taken is in it.
    pub(super) fn place(&self, now_s: u64) -> (i64, Keys) {
        let mut keys = self.keys.clone();
        self.taken.iter().for_each(|(_, load)| keys.push(load.remembered()));
        // Those of this batch must be found again, whatever else is forgotten.
        let keys_max = self.memory.keys_max.max(self.taken.len());
        let oldest = now_s.saturating_sub(self.memory.age_s);
        keys.prune(keys_max, u32::try_from(oldest).unwrap_or(u32::MAX).min(self.oldest_taken()));
        (self.end(), keys)
    }

    fn oldest_taken(&self) -> u32 {
        self.taken.iter().map(|(_, load)| load.remembered().at).min().unwrap_or(u32::MAX)
    }

    /// Everything below that line is in the table.
    pub(super) fn settle(&mut self, next: i64) {
        while let Some((end, load)) = self.taken.pop_front_if(|(end, _)| *end <= next) {
            self.next = end;
            if load.is_named {
                self.keys.push(load.remembered());
            }
            load.end.send_replace(Some(End::Committed));
        }
        // Those that are too old go when the table's next place is made.
        self.keys.prune(self.memory.keys_max, 0);
    }

    /// Nobody waits for it, and nobody was promised it: an old row must not come behind newer ones.
    pub(super) fn abandon(&mut self, load: &Arc<Load>) {
        if !load.is_wanted() {
            self.waiting.retain(|other| !Arc::ptr_eq(other, load));
        }
    }

    /// Whoever waits is told, and nothing more comes in.
    pub(super) fn close(&mut self) {
        self.is_open = false;
        let taken = self.taken.drain(..).map(|(_, load)| load);
        for load in taken.chain(self.waiting.drain(..)) {
            load.end.send_replace(Some(End::Left));
        }
    }
}

#[cfg(test)]
mod tests;
