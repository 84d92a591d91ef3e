//! What was sent, as the origin of a flow. Its place is the number of the next line and the keys of the bodies before it. It
//! cannot go back: what was not committed when the process ended is sent again by whoever was not answered.

use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use async_trait::async_trait;
use serde_json::Value;

use super::Inner;
use super::keys::Keys;
use super::queue::Load;
use crate::error::{Error, Kind, Result};
use crate::ingest::dead::DeadLetter;
use crate::ingest::lines::again;
use crate::ingest::origin::{Again, Kept, Lag, Origin, Part, Place, Room, Shape, Taken, Wanted};
use crate::ingest::position::gone;

const NEXT: &str = "next_line";
const KEYS: &str = "keys";

pub(super) struct Posted {
    of: Arc<Inner>,
    /// Of what was read so far.
    here: Place,
}

impl Posted {
    pub(super) fn new(of: Arc<Inner>) -> Self {
        Self { of, here: Place::default() }
    }

    /// An empty place is the beginning.
    fn read_place(&self, place: Option<&Place>) -> Result<(i64, Keys)> {
        let Some(place) = place.filter(|place| !place.0.is_empty()) else { return Ok((0, Keys::default())) };
        let next = place.0.get(NEXT).and_then(Value::as_i64);
        let keys = place.0.get(KEYS).and_then(Value::as_str).and_then(Keys::read);
        next.zip(keys).ok_or_else(|| {
            let text = format!("the position in table {} is not that of rows that were sent to it", self.of.table);
            gone(&self.of.pipeline, text)
        })
    }

    fn part(&self, first: i64, load: &Load) -> Option<Part> {
        if load.kept.is_empty() {
            return None;
        }
        let rows = load.kept.len();
        let number = |line: &usize| format!("{:019}", at(first, *line));
        let source = source(load);
        Some(Part {
            table: 0,
            changed: load.changed.clone(),
            at_micros: Int64Array::from_value(load.at_micros, rows),
            positions: StringArray::from_iter_values(load.kept.iter().map(number)),
            sources: StringArray::from_iter_values(std::iter::repeat_n(&source, rows)),
            beside: vec![],
            place: None,
        })
    }
}

fn at(first: i64, line: usize) -> i64 {
    first.saturating_add(i64::try_from(line).unwrap_or(i64::MAX))
}

fn source(load: &Load) -> String {
    format!("http/{}", load.user)
}

fn dead(first: i64, load: &Load) -> impl Iterator<Item = DeadLetter> + '_ {
    load.dead.iter().map(move |misfit| DeadLetter {
        source: source(load),
        partition: 0,
        offset: at(first, misfit.line),
        at_ms: Some(load.at_micros / 1_000),
        class: misfit.class,
        message: misfit.message.clone(),
        key: None,
        headers: vec![],
        raw: misfit.raw.clone(),
    })
}

fn place_of(next: i64, keys: &Keys) -> Place {
    Place([(NEXT.to_string(), next.into()), (KEYS.to_string(), keys.text().into())].into_iter().collect())
}

#[async_trait]
impl Origin for Posted {
    async fn tables(&mut self) -> Result<Vec<Shape>> {
        Ok(vec![self.of.lines.shape()])
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        let place = kept.tables.first().and_then(Option::as_ref);
        let (next, keys) = self.read_place(place)?;
        self.here = place_of(next, &keys);
        let broken = self.of.queue().begin(next, keys);
        if broken > 0 {
            let pipeline = &self.of.pipeline;
            tracing::warn!(
                pipeline,
                lines = broken,
                "rows that were accepted are not taken in: the table was moved by others"
            );
        }
        Ok(())
    }

    fn rest(&mut self) {
        self.of.queue().rest();
    }

    async fn read(&mut self, room: Room) -> Result<Taken> {
        if self.of.queue().is_idle() {
            // Woken or not, it is looked at once more.
            let _ = tokio::time::timeout(room.wait, self.of.came.notified()).await;
        }
        let now_s = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0);
        let mut taken = Taken::default();
        let loads = {
            let mut queue = self.of.queue();
            let loads = queue.take(room.changes);
            if !loads.is_empty() {
                let (next, keys) = queue.place(now_s);
                self.here = place_of(next, &keys);
            }
            loads
        };
        for (first, load) in &loads {
            taken.parts.extend(self.part(*first, load));
            taken.dead.extend(dead(*first, load));
            taken.records += load.lines;
        }
        let times = || loads.iter().map(|(_, load)| load.at_micros / 1_000);
        taken.span_ms = times().min().zip(times().max());
        taken.place = Some(self.here.clone());
        Ok(taken)
    }

    async fn still(&mut self) -> Result<()> {
        Ok(())
    }

    async fn lag(&mut self, _: Option<&Place>) -> Result<Lag> {
        Ok(Lag { records: Some(self.of.queue().lines()), bytes: None })
    }

    /// Nothing can be had again, so that there is one place to go on at.
    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place> {
        match wanted {
            Wanted::At(place) => {
                let (next, keys) = self.read_place(Some(place))?;
                Ok(place_of(next, &keys))
            }
            // What was set back may be sent again, so its keys are none.
            Wanted::Range(text) => {
                let unread = |e| {
                    let text = "what the history says of the lines cannot be read";
                    Error::new(Kind::InvalidText, text).with_source(e)
                };
                Ok(place_of(text.parse().map_err(unread)?, &Keys::default()))
            }
            Wanted::Earliest | Wanted::Latest => {
                let text =
                    format!("pipeline \"{}\" takes in what is sent to it, and can go nowhere else", self.of.pipeline);
                let hint = "Say `--from property`, or `--from snapshot` where what was set back is sent again.";
                Err(Error::new(Kind::Unsupported, text).with_hint(hint))
            }
        }
    }

    fn range(&self, place: &Place) -> String {
        place.0.get(NEXT).map(Value::to_string).unwrap_or_default()
    }

    async fn again(&mut self, letters: &[DeadLetter]) -> Result<Again> {
        again(&self.of.lines, letters, |letter| letter.source.starts_with("http/"))
    }

    async fn acknowledge(&mut self, durable: &Place) -> Result<()> {
        if let Some(next) = durable.0.get(NEXT).and_then(Value::as_i64) {
            self.of.queue().settle(next);
        }
        Ok(())
    }
}
