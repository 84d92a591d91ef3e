//! Debezium's envelopes of a topic on the real broker into a table of current rows, by the real binary that dies on the way.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::home::{Home, PATIENCE, producer};
use super::world::rows;
use lakegate::ingest::log::Offsets;

/// What Debezium writes where a large value did not change.
const UNCHANGED: &str = "__debezium_unavailable_value";

struct Source<'a> {
    producer: &'a FutureProducer,
    topic: String,
    model: BTreeMap<i64, String>,
    ends: Offsets,
}

impl Source<'_> {
    async fn send(&mut self, key: i64, value: Option<String>, old_key: Option<i64>) {
        let key = format!("{{\"id\":{key}}}");
        // All in one partition: a key that changes would be in another one otherwise.
        let mut record = FutureRecord::to(&self.topic).key(&key).partition(0);
        if let Some(value) = &value {
            record = record.payload(value);
        }
        let old_key = old_key.map(|old| format!("{{\"id\":{old}}}"));
        if let Some(old) = &old_key {
            let header = Header { key: "__debezium.oldkey", value: Some(old) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        let sent = self.producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
        self.ends.insert(sent.partition, sent.offset + 1);
    }

    async fn change(&mut self, random: &mut StdRng) {
        let event = |op: &str, before: Option<i64>, after: Option<(i64, &str)>| {
            let before = before.map_or("null".into(), |id| format!("{{\"id\":{id},\"text\":null}}"));
            let after = after.map_or("null".into(), |(id, text)| format!("{{\"id\":{id},\"text\":\"{text}\"}}"));
            let source = "{\"ts_ms\":1,\"lsn\":1}";
            Some(format!("{{\"before\":{before},\"after\":{after},\"source\":{source},\"op\":\"{op}\",\"ts_ms\":2}}"))
        };
        let key = random.random_range(0..30);
        let text = format!("text {}", random.random_range(0..1_000_000));
        match (self.model.contains_key(&key), random.random_range(0..10)) {
            (false, _) => {
                self.send(key, event("c", None, Some((key, &text))), None).await;
                self.model.insert(key, text);
            }
            (true, 0..=1) => {
                self.send(key, event("d", Some(key), None), None).await;
                self.send(key, None, None).await;
                self.model.remove(&key);
            }
            (true, 2..=3) => self.send(key, event("u", None, Some((key, UNCHANGED))), None).await,
            (true, 4) if !self.model.contains_key(&(key + 100)) => {
                let text = self.model.remove(&key).expect("it is there");
                self.send(key, event("d", Some(key), None), None).await;
                self.send(key, None, None).await;
                self.send(key + 100, event("c", None, Some((key + 100, UNCHANGED))), Some(key)).await;
                self.model.insert(key + 100, text);
            }
            (true, _) => {
                self.send(key, event("u", None, Some((key, &text))), None).await;
                self.model.insert(key, text);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_become_the_rows_of_their_table() {
    let seed = std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = Home::new(1, "warehouse = 'file://@DIR@/warehouse'").await;
    let topic = home.topics[0].clone();
    home.edit("catalog/sources/stream.toml", "columns =", "envelope = \"debezium\"\nkey_columns = [\"id\"]\ncolumns =");
    home.edit("catalog/pipelines/p0.toml", "\"append\"", "\"upsert\"");
    let producer = producer(None);
    let mut source = Source { producer: &producer, topic: topic.clone(), model: BTreeMap::new(), ends: Offsets::new() };
    for life in 0..4 {
        for _ in 0..random.random_range(20..120) {
            source.change(&mut random).await;
        }
        if life < 3 {
            let step = *["mid_write", "after_commit", "before_confirm"].get(life).unwrap();
            let mut process = home.ingest(Some(step));
            process.0.wait().unwrap();
        }
    }
    let process = home.ingest(None);
    home.reached(&topic, &source.ends).await;
    let lake = home.lake().await;
    let found = rows(&lake, "sales", &topic, "id, text").await;
    let mut expected: Vec<String> = source.model.iter().map(|(id, text)| format!("{id}|{text}")).collect();
    expected.sort();
    assert_eq!(found, expected, "LAKEGATE_SEED={seed}");
    assert!(rows(&lake, "sales", "__dlq", "message").await.is_empty());
    assert!(process.terminate().success());
}
