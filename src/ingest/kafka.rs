//! Partitions of a topic → records. Partitions are assigned and sought by hand: no group is joined, and the offsets told
//! to the brokers are for tools that show lag. It decodes nothing and decides nothing about positions.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::log::{Changes, Extent, Header, Identity, Log, Mark, Marks, Offsets, Seen};
use super::origin::Room;
use crate::error::{Error, Kind, Result};
use crate::sources::kafka::{Client, Reader, passes};

/// One topic of one cluster. Connects when it is asked something.
pub(super) struct Topic {
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
    pub(super) fn new(client: Arc<Client>, topic: impl Into<String>, group: impl Into<String>) -> Self {
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
impl Log for Topic {
    /// The identity last: the ends before it are those of this topic, or of one that is gone by now.
    async fn extent(&mut self) -> Result<Extent> {
        let window = self.client.window(&self.topic).await?;
        let spans = window.iter().map(|span| (span.partition, (span.start, span.end))).collect();
        Ok(Extent { identity: self.identity().await?, topic: self.topic.clone(), spans })
    }

    async fn identity(&mut self) -> Result<Identity> {
        let found = self.client.identity(&self.topic).await?;
        Ok(Identity { cluster_id: found.cluster_id, topic_id: found.topic_id })
    }

    /// With a consumer of its own, which ends with the first record of each partition.
    async fn probe(&mut self, at: &Marks) -> Result<BTreeMap<i32, Option<Mark>>> {
        if at.is_empty() {
            return Ok(BTreeMap::new());
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

fn probe(client: &Client, topic: &str, list: &TopicPartitionList) -> Result<BTreeMap<i32, Option<Mark>>> {
    let (begin, reader) = (Instant::now(), client.reader()?);
    reader.assign(list).map_err(|e| client.failed(e))?;
    let mut found = BTreeMap::new();
    while found.len() < list.count() {
        let left = client.patience().saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(client.unreachable().with_source("the record at the position did not come in time"));
        }
        match reader.poll(left) {
            Some(Ok(message)) => {
                found.entry(message.partition()).or_insert_with(|| Some(seen(&message).mark()));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                found.entry(partition).or_insert(None);
            }
            Some(Err(error)) => match judge(client, topic, error) {
                // Retention was quicker: the topic is looked at anew.
                Err(error) if error.kind() == Kind::DataGone => {
                    let text = format!("topic \"{topic}\" was cut while it was looked at");
                    return Err(Error::new(Kind::Conflict, text).with_source(error));
                }
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
        headers: message.headers().map(headers).unwrap_or_default(),
    }
}

/// The crate panics at a name that is not UTF-8, which Kafka does not forbid: one that cannot be read has no name here.
fn headers(of: &BorrowedHeaders) -> Vec<Header<'_>> {
    let header = |at: usize| {
        let read = catch_unwind(AssertUnwindSafe(|| of.get(at)));
        read.map_or(Header { name: "", value: None }, |h| Header { name: h.key, value: h.value })
    };
    (0..of.count()).map(header).collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{FutureProducer, FutureRecord};

    use super::*;

    /// Three records in partition 0 of two, and the topic as an origin.
    async fn filled() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Topic) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 2, 1).unwrap();
        let producer: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        for value in ["a", "b", "c"] {
            let record = FutureRecord::<str, str>::to("events").partition(0).payload(value);
            producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
        }
        let config =
            format!("brokers = '{}'\nschema = 's'\nconnect_timeout_ms = 2000\n[topics]\n", cluster.bootstrap_servers());
        let client = Client::new("stream", &toml::from_str(&config).unwrap()).unwrap();
        (cluster, Topic::new(Arc::new(client), "events", "g"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_says_which_one_it_is() {
        let (cluster, mut topic) = filled().await;
        let extent = topic.extent().await.unwrap();
        assert_eq!(extent.spans, [(0, (0, 3)), (1, (0, 0))].into());
        assert!(extent.identity.cluster_id.is_some() && extent.identity.topic_id.is_some(), "{extent:?}");
        assert_eq!(topic.identity().await.unwrap(), extent.identity);
        cluster.create_topic("others", 1, 1).unwrap();
        let mut others = Topic::new(Arc::clone(&topic.client), "others", "g");
        let other = others.identity().await.unwrap();
        assert_eq!(other.cluster_id, extent.identity.cluster_id);
        assert_ne!(other.topic_id, extent.identity.topic_id);
        cluster.broker_down(1).unwrap();
        assert_eq!(topic.identity().await.unwrap_err().kind(), Kind::SourceUnreachable);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_probe_answers_for_every_partition_or_fails() {
        let (cluster, mut topic) = filled().await;
        let mark = |offset| Mark { offset, hash: 0 };
        let found = topic.probe(&Marks::from([(0, mark(1)), (1, mark(0))])).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [&0, &1]);
        assert_eq!((found[&0].map(|m| m.offset), found[&1]), (Some(1), None));
        // What does not come in time is no answer: least of all that the record is the one that was taken in.
        cluster.broker_down(1).unwrap();
        let error = topic.probe(&Marks::from([(0, mark(1))])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceUnreachable);
    }
}
