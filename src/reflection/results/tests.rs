//! Keys, flights and evictions of the result cache, without an engine.

use std::time::Duration;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;

use super::*;

const KEY: Key = Key([7; 32]);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn batch(n: i64) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![n; 64]))]).unwrap()
}

fn stream(
    parts: impl futures::Stream<Item = datafusion::error::Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema(), parts))
}

fn rows(values: std::ops::Range<i64>) -> SendableRecordBatchStream {
    stream(futures::stream::iter(values.map(|n| Ok(batch(n)))))
}

/// First cell of each batch, or the error.
async fn drained(mut rows: SendableRecordBatchStream) -> Result<Vec<i64>, String> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let mut seen = vec![];
    while let Some(batch) = rows.next().await {
        seen.push(batch.map_err(|e| e.to_string())?.column(0).as_primitive::<Int64Type>().value(0));
    }
    Ok(seen)
}

fn results(bytes_max: u64) -> Results {
    Results::new(&Config { bytes_max, ..Config::default() }.settled())
}

async fn lead(results: &Results) -> Flight {
    match results.find(KEY).await {
        Found::Lead(flight) => flight,
        other => panic!("{other:?}"),
    }
}

async fn stored(results: &Results) -> Vec<i64> {
    match results.find(KEY).await {
        Found::Stored(answer) => drained(answer.stream()).await.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Others ask and are behind `flight` when this returns.
async fn behind(results: &Results, flight: &Flight, count: usize) -> Vec<tokio::task::JoinHandle<Found>> {
    let asked = (0..count).map(|_| {
        let results = results.clone();
        tokio::spawn(async move { results.find(KEY).await })
    });
    let asked = asked.collect();
    // one more stands in the map of flights
    while flight.news.receiver_count() <= count {
        tokio::task::yield_now().await;
    }
    asked
}

#[tokio::test]
async fn a_finished_answer_is_found_and_one_leads_for_all() {
    let results = results(1 << 20);
    let flight = lead(&results).await;
    let others = behind(&results, &flight, 63).await;
    assert_eq!(drained(flight.follow(rows(0..5))).await, Ok(vec![0, 1, 2, 3, 4]));
    for other in others {
        let Found::Stored(answer) = other.await.unwrap() else { panic!("it ran twice") };
        assert_eq!(drained(answer.stream()).await, Ok(vec![0, 1, 2, 3, 4]));
    }
    assert_eq!(stored(&results).await, [0, 1, 2, 3, 4]);
    results.0.kept.run_pending_tasks().await;
    let counts = results.counts();
    assert_eq!((counts.hits, counts.misses), (64, 1));
    let bytes = batch(0).get_array_memory_size() as u64;
    assert_eq!(counts.bytes, 5 * bytes + u64::from(ENTRY_BYTES));
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let results = results(1 << 20);
    assert_eq!(drained(lead(&results).await.follow(rows(0..0))).await, Ok(vec![]));
    assert_eq!(stored(&results).await, [0i64; 0]);
}

/// Of 8 that wait behind one who goes away, one runs and 7 get its answer.
#[tokio::test]
async fn an_abandoned_flight_is_taken_over_by_one_who_waits() {
    for midway in [false, true] {
        let results = results(1 << 20);
        let flight = lead(&results).await;
        let others = behind(&results, &flight, 8).await;
        if midway {
            let endless = stream(futures::stream::iter([Ok(batch(1))]).chain(futures::stream::pending()));
            let mut begun = flight.follow(endless);
            assert!(begun.next().await.is_some());
        } else {
            drop(flight);
        }
        let mut answers = vec![];
        for other in others {
            let results = results.clone();
            answers.push(tokio::spawn(async move {
                match other.await.unwrap() {
                    Found::Lead(flight) => (true, drained(flight.follow(rows(5..7))).await),
                    Found::Stored(answer) => (false, drained(answer.stream()).await),
                    Found::Alone => panic!("{results:?}"),
                }
            }));
        }
        let mut led = 0;
        for answer in answers {
            let (leads, rows) = answer.await.unwrap();
            assert_eq!(rows, Ok(vec![5, 6]));
            led += i32::from(leads);
        }
        assert_eq!(led, 1, "midway: {midway}");
    }
}

/// The leader's error is the leader's: the others run by themselves, all at once, and nothing is kept.
#[tokio::test]
async fn a_failed_flight_fails_nobody_else() {
    let results = results(1 << 20);
    let flight = lead(&results).await;
    let others = behind(&results, &flight, 8).await;
    let broken = futures::stream::iter([Ok(batch(1)), Err(DataFusionError::Execution("of the leader".into()))]);
    assert_eq!(drained(flight.follow(stream(broken))).await, Err("Execution error: of the leader".into()));
    for other in others {
        assert!(matches!(other.await.unwrap(), Found::Alone));
    }
    assert_eq!(drained(lead(&results).await.follow(rows(0..1))).await, Ok(vec![0]));
}

#[tokio::test]
async fn a_client_that_reads_nothing_keeps_nobody_waiting() {
    let results = results(1 << 20);
    let flight = lead(&results).await;
    let others = behind(&results, &flight, 4).await;
    let unread = flight.follow(rows(0..3));
    for other in others {
        assert!(matches!(other.await.unwrap(), Found::Stored(_)));
    }
    assert_eq!(drained(unread).await, Ok(vec![0, 1, 2]));
}

/// It arrives whole and in order, is drawn no faster than it is read, and nobody waits for it twice.
#[tokio::test]
async fn a_large_answer_streams_and_is_not_kept() {
    let results = results(64 << 10);
    let drawn = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&drawn);
    let large = futures::stream::iter(0..1_000).map(move |n| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(batch(n))
    });
    let flight = lead(&results).await;
    let others = behind(&results, &flight, 4).await;
    let shown = flight.follow(stream(large));
    for other in others {
        assert!(matches!(other.await.unwrap(), Found::Alone));
    }
    let held = drawn.load(Ordering::Relaxed);
    assert!(held * batch(0).get_array_memory_size() as u64 <= (64 << 10) / 16 + 1_024, "{held} batches are held");
    assert_eq!(drained(shown).await, Ok((0..1_000).collect::<Vec<_>>()));
    assert!(matches!(results.find(KEY).await, Found::Alone));
}

#[tokio::test]
async fn a_task_that_dies_is_an_error_and_not_an_end() {
    let results = results(1 << 20);
    let dying = futures::stream::iter(0..3).map(|n| if n < 2 { Ok(batch(n)) } else { panic!("on purpose") });
    let seen = drained(lead(&results).await.follow(stream(dying))).await;
    assert!(seen.is_err(), "{seen:?}");
    lead(&results).await;
}

#[tokio::test]
async fn all_answers_together_stay_within_their_bytes() {
    let results = results(64 << 10);
    for n in 0..500u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        let Found::Lead(flight) = results.find(Key(key)).await else { panic!("{n} is new") };
        drained(flight.follow(rows(0..2))).await.unwrap();
    }
    results.0.kept.run_pending_tasks().await;
    let bytes = results.counts().bytes;
    assert!(bytes > 32 << 10 && bytes <= 64 << 10, "{bytes}");
    assert!(results.0.flights.lock().unwrap().is_empty());
}

/// Whoever waits may stop waiting.
#[tokio::test]
async fn waiting_ends_with_the_one_who_waits() {
    let results = results(1 << 20);
    let flight = lead(&results).await;
    let late = tokio::time::timeout(Duration::from_millis(1), results.find(KEY)).await;
    assert!(late.is_err());
    assert_eq!(flight.news.receiver_count(), 1);
}
