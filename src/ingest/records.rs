//! A log as an origin: its records decoded into changes of one table, and its place judged before anything is read. It
//! decides neither what a batch is nor what becomes of it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringBuilder};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use tokio::time::sleep;

use super::dead::DeadLetter;
use super::log::{Changes, Extent, Identity, Log, Marks, Offsets, Seen, offsets_json};
use super::origin::{Again, Each, Kept, Lag, Origin, Part, Place, Room, Shape, Taken, Wanted};
use super::resume::{Named, TopicPlace, compare, marks_there, start};
use super::table::{header, headers_array, least_bytes};
use crate::error::{Error, Kind, Result};
use crate::formats::change::Changed;
use crate::formats::record::{Decoded, Decoder, Fault, Misfit, OLD_KEY, Record};
use crate::lake::{Reach, Stand};
use crate::sources::kafka::Registry;

/// A log that ends before the position may have a leader that does not know its end yet: asked so often.
const END_LOOKS: u32 = 3;
/// Of a read of what was read before.
const AGAIN_ROOM: Room = Room { changes: 8_192, bytes: 4 << 20, wait: Duration::from_secs(1) };
const AGAIN_IDLE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What a topic's records are, and which table follows them.
#[derive(Debug)]
pub struct Layout {
    topic: String,
    target: String,
    decoder: Decoder,
    /// Where records' schemas are, if they are somewhere else.
    registry: Option<Arc<Registry>>,
    /// What a row holds at least, whatever the record holds.
    row_bytes: usize,
}

impl Layout {
    pub fn new(
        topic: impl Into<String>,
        target: impl Into<String>,
        decoder: Decoder,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        let topic = topic.into();
        // The texts that every row has: where it came from, its place there and what happened.
        let texts = topic.len() + 30;
        let row_bytes = decoder.schema().fields().iter().map(|f| least_bytes(f.data_type())).sum::<usize>() + texts;
        Self { topic, target: target.into(), decoder, registry, row_bytes }
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            name: self.topic.clone(),
            target: self.target.clone(),
            columns: Arc::clone(self.decoder.schema()),
            key: self.decoder.key().to_vec(),
            beside: vec![
                Field::new("_key", DataType::Binary, true),
                Field::new("_headers", DataType::List(header()), true),
            ],
        }
    }

    /// What records are to the decoder.
    fn records<'c>(&self, changes: &'c Changes) -> Vec<Record<'c>> {
        let record = |c: Seen<'c>| Record {
            key: c.key,
            value: c.value,
            at_ms: c.at_ms,
            old_key: c.headers.iter().find(|h| h.name == OLD_KEY).and_then(|h| h.value),
        };
        changes.iter().map(record).collect()
    }

    /// Asks for the schemas that these records are written by. A registry that does not answer is an error: to be asked again.
    async fn learn(&self, changes: &Changes) -> Result<()> {
        match &self.registry {
            Some(registry) => registry.teach(&self.decoder, &self.records(changes)).await,
            None => Ok(()),
        }
    }

    /// A row for each that changes something, and the records that make none.
    pub(super) fn part(&self, changes: &Changes) -> Result<(Option<Part>, Vec<DeadLetter>)> {
        let Decoded { changed, kept, at_micros, faults, .. } =
            self.decoder.decode(&self.records(changes), Misfit::Leave)?;
        let all: Vec<Seen<'_>> = changes.iter().collect();
        let dead = faults.iter().filter_map(|fault| Some(self.dead(all.get(fault.index)?, fault))).collect();
        let kept: Vec<&Seen<'_>> = kept.iter().filter_map(|at| all.get(*at)).collect();
        if kept.len() != changed.ops.len() {
            return Err(Error::internal("a decoder that made other rows than it said"));
        }
        if kept.is_empty() {
            return Ok((None, dead));
        }
        Ok((Some(self.placed(changed, &kept, at_micros)?), dead))
    }

    fn placed(&self, changed: Changed, records: &[&Seen<'_>], at_micros: Vec<Option<i64>>) -> Result<Part> {
        let (mut sources, mut positions) = (StringBuilder::new(), StringBuilder::new());
        for record in records {
            // Writing to a text in memory cannot fail.
            let _ = write!(sources, "{}/{}", self.topic, record.partition);
            sources.append_value("");
            let _ = write!(positions, "{:019}", record.offset);
            positions.append_value("");
        }
        let beside: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter(records.iter().map(|c| c.key))),
            headers_array(records.iter().map(|c| c.headers.clone()))?,
        ];
        Ok(Part {
            table: 0,
            changed,
            at_micros: Int64Array::from(at_micros),
            positions: positions.finish(),
            sources: sources.finish(),
            beside,
            place: None,
        })
    }

    fn dead(&self, record: &Seen<'_>, fault: &Fault) -> DeadLetter {
        let (class, what) = match &fault.column {
            None => ("malformed", "the record".to_string()),
            Some(column) => ("misfit", format!("column \"{column}\"")),
        };
        DeadLetter::of(record, &self.topic, class, format!("{what} {}", fault.problem))
    }
}

/// One topic into one table.
pub struct Records {
    log: Box<dyn Log>,
    layout: Arc<Layout>,
    named: Named,
    extent: Extent,
    next: Offsets,
    marks: Marks,
}

impl Records {
    /// `pipeline` and table are what messages name.
    pub fn new(log: Box<dyn Log>, layout: Arc<Layout>, pipeline: &str, namespace: &str) -> Self {
        let table = crate::types::TableName::new(namespace, &layout.target);
        let named = Named { pipeline: pipeline.into(), table };
        Self { log, layout, named, extent: Extent::default(), next: Offsets::new(), marks: Marks::new() }
    }

    /// Where to go on, and whether that can be.
    async fn sought(&mut self, place: Option<&TopicPlace>) -> Result<(Extent, Offsets)> {
        for _ in 1..END_LOOKS {
            let extent = self.log.extent().await?;
            match start(&self.named, place, &extent) {
                Ok(from) => return Ok((extent, from)),
                Err(error) => tracing::debug!(pipeline = self.named.pipeline, error = %error, "looking again"),
            }
            sleep(PAUSE).await;
        }
        let extent = self.log.extent().await?;
        let from = start(&self.named, place, &extent)?;
        Ok((extent, from))
    }

    fn is_own(&self, letter: &DeadLetter) -> bool {
        letter.source == format!("{}/{}", self.layout.topic, letter.partition)
    }

    /// Another topic under the same name: begun again from the table, which tells what that means.
    fn same(&self, is: &Identity) -> Result<()> {
        if self.extent.identity == *is {
            return Ok(());
        }
        let text = format!("topic \"{}\" is not the one any more that was read", self.layout.topic);
        Err(Error::new(Kind::Conflict, text))
    }

    fn here(&self) -> TopicPlace {
        TopicPlace {
            cluster_id: self.extent.identity.cluster_id.clone(),
            topic: self.layout.topic.clone(),
            topic_id: self.extent.identity.topic_id.clone(),
            partitions: self.next.clone(),
            marks: self.marks.clone(),
        }
    }

    fn at(&self, extent: &Extent, partitions: Offsets) -> TopicPlace {
        TopicPlace {
            cluster_id: extent.identity.cluster_id.clone(),
            topic: extent.topic.clone(),
            topic_id: extent.identity.topic_id.clone(),
            partitions,
            marks: Marks::new(),
        }
    }
}

#[async_trait]
impl Origin for Records {
    async fn tables(&mut self) -> Result<Vec<Shape>> {
        Ok(vec![self.layout.shape()])
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        let place = kept.tables.first().and_then(Option::as_ref);
        let place = place.map(|place| TopicPlace::of(place, &self.named)).transpose()?;
        let (extent, from) = self.sought(place.as_ref()).await?;
        if let Some(place) = &place {
            let found = self.log.probe(&marks_there(place, &extent)).await?;
            compare(&self.named, place, &extent, &found)?;
        }
        self.log.seek(&from).await?;
        self.marks = place.map(|place| place.marks).unwrap_or_default();
        (self.extent, self.next) = (extent, from);
        Ok(())
    }

    async fn read(&mut self, room: Room) -> Result<Taken> {
        let changes = Room { changes: room.changes.min(room.bytes / self.layout.row_bytes.max(1)).max(1), ..room };
        let changes = self.log.read(changes).await?;
        self.layout.learn(&changes).await?;
        let (part, dead) = self.layout.part(&changes)?;
        for (partition, next) in changes.next() {
            let known = self.next.entry(*partition).or_insert(*next);
            *known = (*known).max(*next);
        }
        self.marks.extend(changes.last().into_iter().map(|c| (c.partition, c.mark())));
        let times = || changes.iter().filter_map(|c| c.at_ms);
        Ok(Taken {
            parts: part.into_iter().collect(),
            dead,
            records: changes.len(),
            span_ms: times().min().zip(times().max()),
            place: Some(self.here().place()),
            whole: None,
            reshaped: false,
        })
    }

    /// What was read since the beginning is of this topic, if it is still this one.
    async fn still(&mut self) -> Result<()> {
        let identity = self.log.identity().await?;
        self.same(&identity)
    }

    /// Partitions that came are read from the next start on, which is at once.
    async fn lag(&mut self, place: Option<&Place>) -> Result<Lag> {
        let place = place.map(|place| TopicPlace::of(place, &self.named)).transpose()?;
        let mut extent = self.log.extent().await?;
        let begun = !self.extent.spans.is_empty();
        if begun {
            self.same(&extent.identity)?;
            if extent.spans.keys().any(|partition| !self.extent.spans.contains_key(partition)) {
                let text = format!("topic \"{}\" has more partitions than before", extent.topic);
                return Err(Error::new(Kind::Conflict, text));
            }
            // By what was read, not by what is committed: that is in hand already.
            let here = self.here();
            if start(&self.named, Some(&here), &extent).is_err() {
                extent = self.sought(Some(&here)).await?.0;
            }
        }
        let behind = extent.spans.iter().map(|(partition, (first, end))| {
            let next = place.as_ref().and_then(|p| p.partitions.get(partition)).unwrap_or(first);
            u64::try_from(end.saturating_sub(*next)).unwrap_or(0)
        });
        let records = Some(behind.sum());
        if begun {
            self.extent = extent;
        }
        Ok(Lag { records, bytes: None })
    }

    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place> {
        let extent = self.log.extent().await?;
        let earliest = |kept: &Offsets| -> Offsets {
            let first = |(partition, (first, _)): (&i32, &(i64, i64))| {
                (*partition, kept.get(partition).copied().unwrap_or(*first))
            };
            extent.spans.iter().map(first).collect()
        };
        let partitions = match wanted {
            Wanted::Latest => extent.spans.iter().map(|(partition, (_, end))| (*partition, *end)).collect(),
            Wanted::Earliest => earliest(&Offsets::new()),
            Wanted::At(place) => earliest(&TopicPlace::of(place, &self.named)?.partitions),
            Wanted::Range(text) => earliest(&serde_json::from_str(text).map_err(|e| {
                Error::new(Kind::InvalidText, "what the history says of the offsets cannot be read").with_source(e)
            })?),
        };
        Ok(self.at(&extent, partitions).place())
    }

    fn range(&self, place: &Place) -> String {
        TopicPlace::of(place, &self.named).map(|place| offsets_json(&place.partitions)).unwrap_or_default()
    }

    fn stand(&self, place: &Place) -> Stand {
        let place = TopicPlace::of(place, &self.named);
        place.map_or(Stand::Unmarked, |place| Stand::At(Reach::Offsets(place.partitions)))
    }

    async fn again(&mut self, letters: &[DeadLetter]) -> Result<Again> {
        let own: Vec<usize> =
            (0..letters.len()).filter(|at| letters.get(*at).is_some_and(|l| self.is_own(l))).collect();
        let mut changes = Changes::default();
        for letter in own.iter().filter_map(|at| letters.get(*at)) {
            changes.push(letter.seen());
        }
        self.layout.learn(&changes).await?;
        let (part, dead) = self.layout.part(&changes)?;
        let dead: HashSet<(i32, i64)> = dead.iter().map(|letter| (letter.partition, letter.offset)).collect();
        let is_resolved = |at: &usize| letters.get(*at).is_some_and(|l| !dead.contains(&(l.partition, l.offset)));
        Ok(Again { part, own: own.len(), resolved: own.into_iter().filter(is_resolved).collect() })
    }

    fn keeps_what_came(&self) -> bool {
        true
    }

    async fn again_up_to(&mut self, letters: &[DeadLetter], to: &Place, each: Each<'_>) -> Result<Vec<usize>> {
        let to = TopicPlace::of(to, &self.named)?;
        // Whether it is the topic that the table was filled from.
        let (extent, _) = self.sought(Some(&to)).await?;
        let found = self.log.probe(&marks_there(&to, &extent)).await?;
        compare(&self.named, &to, &extent, &found)?;
        let (mut from, mut gone) = (Offsets::new(), vec![]);
        let is_split = extent.spans.len() > 1;
        for (at, letter) in letters.iter().enumerate().filter(|(_, letter)| self.is_own(letter)) {
            // A record without a key may have its row's successors in any partition, and those have no order among them.
            let is_ordered = letter.key.is_some() || !is_split;
            let has =
                is_ordered && extent.spans.get(&letter.partition).is_some_and(|(first, _)| *first <= letter.offset);
            match has {
                true => {
                    let known = from.entry(letter.partition).or_insert(letter.offset);
                    *known = letter.offset.min(*known);
                }
                false => gone.push(at),
            }
        }
        let end = |partition: &i32| to.partitions.get(partition).copied().unwrap_or(0);
        from.retain(|partition, next| *next < end(partition));
        self.log.seek(&from).await?;
        let (mut next, mut moved_at) = (from, Instant::now());
        while next.iter().any(|(partition, next)| *next < end(partition)) {
            let changes = self.log.read(AGAIN_ROOM).await?;
            if changes.next().is_empty() && moved_at.elapsed() > AGAIN_IDLE_MAX {
                let text = format!("topic \"{}\" does not come to where its table is", self.layout.topic);
                return Err(Error::new(Kind::SourceUnreachable, text));
            }
            if !changes.next().is_empty() {
                moved_at = Instant::now();
            }
            let mut below = Changes::default();
            for change in changes.iter().filter(|change| change.offset < end(&change.partition)) {
                below.push(change);
            }
            next.extend(changes.next().iter().map(|(partition, next)| (*partition, *next)));
            self.layout.learn(&below).await?;
            if let (Some(part), _) = self.layout.part(&below)? {
                each(part)?;
            }
        }
        Ok(gone)
    }

    async fn acknowledge(&mut self, durable: &Place) -> Result<()> {
        let durable = TopicPlace::of(durable, &self.named)?;
        self.log.acknowledge(&durable.partitions).await
    }
}
