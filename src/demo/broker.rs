//! A Kafka broker inside the process (librdkafka's mock cluster) and a producer that keeps writing order events to it.
//! Its retention is fixed, 5 MiB a partition, older events vanish: the producer slows down long before.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::oneshot;

use super::{failed, sample};
use crate::error::Result;

/// The topic that `catalog/sources/events.toml` names.
pub(super) const TOPIC: &str = "order_events";

const PARTITIONS: i32 = 4;
/// There from the start, so that the first statement finds something to join.
const FIRST_EVENTS: i64 = 2_000;
const PAUSE: Duration = Duration::from_millis(250);
/// About half of what the partitions keep, at 300 bytes an event with its framing; three hours of [`PAUSE`].
const SLOW_AFTER_EVENTS: i64 = 35_000;
const LONG_PAUSE: Duration = Duration::from_secs(5);
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// The running broker; dropping it ends the thread and the broker with it.
#[derive(Debug)]
pub(super) struct Broker {
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Returns when the first events are in the topic.
    pub(super) async fn start() -> Result<Self> {
        let (stop, stopped) = channel();
        let (ready, started) = oneshot::channel();
        // The cluster's handle is bound to the thread that made it.
        let run = move || match open() {
            Ok((cluster, producer)) => {
                let _ = ready.send(Ok(cluster.bootstrap_servers()));
                produce(&producer, &stopped);
                drop(producer);
                drop(cluster);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("demo-broker".to_string()).spawn(run);
        let thread = thread.map_err(failed("the broker's thread"))?;
        let address =
            started.await.map_err(failed("the broker ended while starting"))?.map_err(failed("the broker"))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn open() -> KafkaResult<(Cluster, BaseProducer)> {
    let cluster = MockCluster::new(1)?;
    cluster.create_topic(TOPIC, PARTITIONS, 1)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "5")
        .set_log_level(rdkafka::config::RDKafkaLogLevel::Error)
        .create()?;
    for number in 1..=FIRST_EVENTS {
        send(&producer, number)?;
    }
    producer.flush(FLUSH_MAX)?;
    Ok((cluster, producer))
}

/// Until told to stop. An event that cannot be sent is logged and not sent again: the sample has no reader that counts.
fn produce(producer: &BaseProducer, stopped: &Receiver<()>) {
    for number in FIRST_EVENTS + 1.. {
        let pause = if number > SLOW_AFTER_EVENTS { LONG_PAUSE } else { PAUSE };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if let Err(error) = send(producer, number) {
            tracing::warn!(error = %error, "an event of the sample was not sent");
        }
        producer.poll(Duration::ZERO);
    }
}

fn send(producer: &BaseProducer, number: i64) -> KafkaResult<()> {
    let event = sample::event(number);
    let payload = serde_json::json!({
        "event_id": event.id,
        "order_id": event.order_id,
        "customer_id": event.customer_id,
        "event_type": event.kind,
        "event_time": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        // the shortest text of the nearest double is the amount's own two digits
        "amount": event.amount as f64 / 100.0,
    });
    let (key, payload) = (event.order_id.to_string(), payload.to_string());
    producer.send(BaseRecord::to(TOPIC).key(&key).payload(&payload)).map_err(|(error, _)| error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::{Message, Offset, TopicPartitionList};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_there_at_once_and_more_follow() {
        let broker = Broker::start().await.unwrap();
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &broker.address).set("group.id", "none").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let (mut ids, begin) = (BTreeSet::new(), Instant::now());
        while ids.len() < FIRST_EVENTS as usize + 2 {
            assert!(begin.elapsed() < Duration::from_secs(60), "{} events in a minute", ids.len());
            let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
            let event: serde_json::Value = serde_json::from_slice(message.unwrap().payload().unwrap()).unwrap();
            assert!(event["amount"].as_f64().unwrap() > 0.0 && event["event_time"].is_string(), "{event}");
            assert!(ids.insert(event["event_id"].as_str().unwrap().to_string()), "{event} came twice");
        }
    }
}
