//! Partitions of a topic → changes. Partitions are assigned and sought by hand: no group is joined, and the offsets told
//! to the brokers are for tools that show lag. It decodes nothing and decides nothing about positions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::change::{Changes, Extent, Marks, Offsets, Origin, Room, Seen};
use crate::error::{Error, Kind, Result};
use crate::sources::kafka::{Client, Reader, passes};

/// One topic of one cluster. Connects when it is asked something.
pub struct Topic {
    client: Arc<Client>,
    topic: String,
    group: String,
    reader: Option<Held>,
}

/// A consumer; destroying one waits for its threads.
struct Held {
    reader: Option<Arc<Reader>>,
    handle: Handle,
}

impl Drop for Held {
    fn drop(&mut self) {
        let reader = self.reader.take();
        self.handle.spawn_blocking(move || drop(reader));
    }
}

impl Topic {
    /// `group`: the name under which lag tools find the offsets.
    pub fn new(client: Arc<Client>, topic: impl Into<String>, group: impl Into<String>) -> Self {
        Self { client, topic: topic.into(), group: group.into(), reader: None }
    }

    fn list(&self, offsets: &Offsets) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
            added.map_err(|e| self.client.failed(e))?;
        }
        Ok(list)
    }

    fn reader(&self) -> Result<Arc<Reader>> {
        let reader = self.reader.as_ref().and_then(|held| held.reader.clone());
        reader.ok_or_else(|| Error::internal("a topic is read before it was sought"))
    }
}

#[async_trait]
impl Origin for Topic {
    async fn extent(&mut self) -> Result<Extent> {
        let window = self.client.window(&self.topic).await?;
        let spans = window.iter().map(|span| (span.partition, (span.start, span.end))).collect();
        Ok(Extent { cluster_id: self.client.cluster_id().await?, topic: self.topic.clone(), spans })
    }

    /// With a consumer of its own, which ends with the first record of each partition.
    async fn probe(&mut self, at: &Marks) -> Result<Marks> {
        if at.is_empty() {
            return Ok(Marks::new());
        }
        let offsets: Offsets = at.iter().map(|(partition, mark)| (*partition, mark.offset)).collect();
        let (client, list, topic) = (Arc::clone(&self.client), self.list(&offsets)?, self.topic.clone());
        blocking(move || probe(&client, &topic, &list)).await
    }

    /// A new consumer each time: nothing that an older one fetched can come late.
    async fn seek(&mut self, from: &Offsets) -> Result<()> {
        self.reader = None;
        let (client, group, list) = (Arc::clone(&self.client), self.group.clone(), self.list(from)?);
        let reader = blocking(move || {
            let reader = client.reader_as(&group)?;
            reader.assign(&list).map_err(|e| client.failed(e))?;
            Ok(reader)
        });
        self.reader = Some(Held { reader: Some(Arc::new(reader.await?)), handle: Handle::current() });
        Ok(())
    }

    async fn read(&mut self, room: Room) -> Result<Changes> {
        let (client, topic, reader) = (Arc::clone(&self.client), self.topic.clone(), self.reader()?);
        blocking(move || read(&client, &topic, &reader, room)).await
    }

    /// Sent and not waited for.
    async fn acknowledge(&mut self, durable: &Offsets) -> Result<()> {
        let (client, reader, list) = (Arc::clone(&self.client), self.reader()?, self.list(durable)?);
        blocking(move || reader.commit(&list, CommitMode::Async).map_err(|e| client.failed(e))).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::internal("a request to Kafka panicked").with_source(e))?
}

fn probe(client: &Client, topic: &str, list: &TopicPartitionList) -> Result<Marks> {
    let (begin, reader) = (Instant::now(), client.reader()?);
    reader.assign(list).map_err(|e| client.failed(e))?;
    let (mut found, mut answered) = (Marks::new(), BTreeSet::new());
    while answered.len() < list.count() && begin.elapsed() < client.patience() {
        match reader.poll(client.patience().saturating_sub(begin.elapsed())) {
            Some(Ok(message)) => {
                let first = answered.insert(message.partition());
                if first {
                    found.insert(message.partition(), seen(&message).mark());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                answered.insert(partition);
            }
            Some(Err(error)) => match judge(client, topic, error) {
                // Retention was quicker: what it took says nothing.
                Err(error) if error.kind() == Kind::DataGone => return Ok(found),
                judged => judged?,
            },
            None => {}
        }
    }
    Ok(found)
}

fn seen<'a>(message: &'a BorrowedMessage<'_>) -> Seen<'a> {
    Seen {
        partition: message.partition(),
        offset: message.offset(),
        at_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
    }
}

fn read(client: &Client, topic: &str, reader: &Reader, room: Room) -> Result<Changes> {
    let begin = Instant::now();
    let mut changes = Changes::default();
    while changes.len() < room.changes && changes.bytes() < room.bytes {
        let left = room.wait.saturating_sub(begin.elapsed());
        match reader.poll(left) {
            Some(Ok(message)) => changes.push(seen(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => pass(client, topic, reader, &mut changes)?,
            Some(Err(error)) => judge(client, topic, error)?,
            None => {}
        }
        if left.is_zero() {
            break;
        }
    }
    Ok(changes)
}

/// Markers of transactions are no records: at an end the position may stand beyond the last of these.
fn pass(client: &Client, topic: &str, reader: &Reader, changes: &mut Changes) -> Result<()> {
    let position = reader.position().map_err(|e| client.failed(e))?;
    for element in position.elements_for_topic(topic) {
        if let Offset::Offset(next) = element.offset() {
            changes.passed(element.partition(), next);
        }
    }
    Ok(())
}

fn judge(client: &Client, topic: &str, error: KafkaError) -> Result<()> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            let text = format!("topic \"{topic}\": records after the position are gone");
            Err(Error::new(Kind::DataGone, text).with_source(error))
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(client.no_topic(topic).with_source(error))
        }
        // librdkafka goes on by itself.
        Some(code) if passes(code) => {
            tracing::debug!(source = client.source(), error = %error, "kafka read goes on");
            Ok(())
        }
        // Nobody reads what the brokers think of these offsets.
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(()),
        _ => Err(client.failed(error)),
    }
}
