//! Where readers ask a pipeline for its tables and the pipeline answers. One question is about tables of one moment; whoever
//! does not wait any more is not answered. What a tail is made of it does not know.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Cut, Freshness, Reach, Tails};
use crate::error::{Error, Kind, Result};

/// Questions that wait at one pipeline.
const ASKS_MAX: usize = 10_000;
/// A pipeline that was asked within this is likely to be asked again.
const LATELY: Duration = Duration::from_secs(5);

/// How far a pipeline is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stand {
    /// It has read nothing, or is not there.
    #[default]
    Nowhere,
    At(Reach),
    /// Somewhere that nobody can compare.
    Unmarked,
}

/// One pipeline.
#[derive(Debug, Default)]
pub(super) struct Desk {
    queue: Mutex<Queue>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    asks: Vec<Ask>,
    /// Of the question that came last.
    number: u64,
    asked_at: Option<Instant>,
    /// What was answered last and still holds.
    last: Option<Arc<Cut>>,
    stand: Stand,
    /// The pipeline has gone.
    is_closed: bool,
}

#[derive(Debug)]
struct Ask {
    number: u64,
    tables: Vec<Uuid>,
    /// Only from here on.
    from: Option<Reach>,
    reply: oneshot::Sender<Result<Arc<Cut>>>,
}

impl Ask {
    /// `None`: it can never be.
    fn is_reached(&self, stand: &Stand) -> Option<bool> {
        match (&self.from, stand) {
            (None, _) => Some(true),
            (Some(_), Stand::Nowhere) => Some(false),
            (Some(_), Stand::Unmarked) => None,
            (Some(wanted), Stand::At(here)) => here.reaches(wanted),
        }
    }
}

/// What a question comes to, besides an error.
pub(super) enum Answer {
    Cut(Arc<Cut>),
    Late,
    /// The pipeline went before it answered.
    Gone,
}

impl Desk {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stand(&self) -> Stand {
        self.queue().stand.clone()
    }

    pub(super) async fn ask(&self, tables: &[Uuid], wanted: &Freshness, until: Instant) -> Result<Answer> {
        let asked = {
            let mut queue = self.queue();
            queue.asked_at = Some(Instant::now());
            if let (Freshness::Within(age), Some(last)) = (wanted, &queue.last)
                && last.at.elapsed() <= *age
                && tables.iter().all(|table| last.tails.contains_key(table))
            {
                return Ok(Answer::Cut(Arc::clone(last)));
            }
            if queue.is_closed {
                return Ok(Answer::Gone);
            }
            if queue.asks.len() >= ASKS_MAX {
                let text = "too many statements wait for what a pipeline has taken in";
                return Err(Error::new(Kind::TooManyConnections, text));
            }
            let (reply, asked) = oneshot::channel();
            queue.number += 1;
            let from = match wanted {
                Freshness::Reached(from) => Some(from.clone()),
                Freshness::Committed | Freshness::Latest | Freshness::Within(_) => None,
            };
            let number = queue.number;
            queue.asks.push(Ask { number, tables: tables.to_vec(), from, reply });
            asked
        };
        self.came.notify_one();
        match timeout(until.saturating_duration_since(Instant::now()), asked).await {
            Err(_) => Ok(Answer::Late),
            Ok(Err(_)) => Ok(Answer::Gone),
            Ok(Ok(answer)) => answer.map(Answer::Cut),
        }
    }
}

/// The pipeline's side. Dropped, its tables are shown no more.
#[derive(Debug)]
pub struct Showing {
    tails: Tails,
    desk: Arc<Desk>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        {
            let mut queue = self.desk.queue();
            queue.is_closed = true;
            queue.asks.clear();
            queue.last = None;
        }
        self.tails.withdraw(&self.desk);
    }
}

impl Showing {
    pub(super) fn new(tails: Tails) -> Self {
        Self { tails, desk: Arc::default() }
    }

    /// Shows these besides.
    pub fn add(&self, tables: impl IntoIterator<Item = Uuid>) {
        self.tails.0.desks().extend(tables.into_iter().map(|table| (table, Arc::clone(&self.desk))));
        self.tails.0.moved();
    }

    /// For a tail: no other one of this process has it.
    pub fn number(&self) -> u64 {
        self.tails.0.number()
    }

    /// Ends once somebody has asked since the last time.
    pub async fn asked(&self) {
        self.desk.came.notified().await;
    }

    /// The tables that are asked for by those for whom the pipeline is far enough, and up to which question that is.
    pub fn wanted(&self, stand: &Stand) -> (BTreeSet<Uuid>, u64) {
        let mut queue = self.desk.queue();
        queue.stand = stand.clone();
        queue.asks.retain(|ask| !ask.reply.is_closed());
        let (never, asks) =
            std::mem::take(&mut queue.asks).into_iter().partition(|ask| ask.is_reached(stand).is_none());
        queue.asks = asks;
        let number = queue.number;
        let reached = queue.asks.iter().filter(|ask| ask.is_reached(stand) == Some(true));
        let wanted = reached.flat_map(|ask| ask.tables.iter().copied()).collect();
        drop(queue);
        refuse(never, &|| {
            let text = "lakegate.freshness names a position of another kind than a table's pipeline has";
            Error::new(Kind::InvalidParameter, text)
        });
        (wanted, number)
    }

    /// Answers all questions up to that one that this answers; what came after [`Showing::wanted`] is asked about later.
    pub fn answer(&self, number: u64, stand: &Stand, tails: HashMap<Uuid, Arc<super::Tail>>) {
        let cut = Arc::new(Cut { at: Instant::now(), stand: stand.clone(), tails });
        self.desk.queue().last = Some(Arc::clone(&cut));
        self.reply(number, stand, &cut);
    }

    /// As [`Showing::answer`], with what was answered last.
    pub fn answer_again(&self, number: u64) {
        let last = self.desk.queue().last.clone();
        if let Some(cut) = last {
            self.reply(number, &cut.stand, &cut);
        }
    }

    fn reply(&self, number: u64, stand: &Stand, cut: &Arc<Cut>) {
        let answered = self.take(|ask| {
            ask.number <= number
                && ask.is_reached(stand) == Some(true)
                && ask.tables.iter().all(|table| cut.tails.contains_key(table))
        });
        for ask in answered {
            // Whoever does not wait any more needs no answer.
            let _ = ask.reply.send(Ok(Arc::clone(cut)));
        }
    }

    /// That they cannot be read now. What stands in the way names tables and columns that whoever asks may not know of: it is
    /// for the log.
    pub fn refuse(&self, number: u64, stand: &Stand) {
        let refused = self.take(|ask| ask.number <= number && ask.is_reached(stand) == Some(true));
        refuse(refused, &|| {
            let text = "what a table's pipeline has taken in cannot be read now";
            let hint = "Try again, or read it as it was committed: SET lakegate.freshness = committed.";
            Error::new(Kind::NotInState, text).with_hint(hint)
        });
    }

    fn take(&self, which: impl Fn(&Ask) -> bool) -> Vec<Ask> {
        let mut queue = self.desk.queue();
        let (taken, asks) = std::mem::take(&mut queue.asks).into_iter().partition(which);
        queue.asks = asks;
        taken
    }

    /// What was answered last, where it holds.
    pub fn last(&self) -> Option<Arc<Cut>> {
        self.desk.queue().last.clone()
    }

    /// What was answered holds no more.
    pub fn forget(&self) {
        self.desk.queue().last = None;
    }

    pub fn is_asked_lately(&self) -> bool {
        self.desk.queue().asked_at.is_some_and(|at| at.elapsed() < LATELY)
    }
}

fn refuse(asks: Vec<Ask>, error: &dyn Fn() -> Error) {
    for ask in asks {
        let _ = ask.reply.send(Err(error()));
    }
}
