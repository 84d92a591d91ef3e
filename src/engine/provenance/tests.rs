//! What is kept, and what goes for it.

use super::*;

fn statement(n: u128, text: &str) -> Statement {
    Statement {
        id: Uuid::from_u128(n),
        user: "ann".into(),
        acts_for: String::new(),
        started_at: 0,
        micros: 1_500,
        kind: "select",
        text: text.into(),
        outcome: "ok",
        sqlstate: "00000",
        rows: 1,
        cache: "no",
        saw: vec![Seen {
            object: ObjectId(1),
            name: TableName::new("s", "t"),
            version: Version::Offsets { topic_id: "topic".into(), spans: vec![(0, 1, 2); 10] },
        }],
        answered: vec![],
        staleness: None,
    }
}

fn kept(log: &Log) -> Vec<u128> {
    let kept = log.locked();
    assert_eq!(kept.order.len(), kept.by_id.len());
    assert_eq!(kept.bytes, kept.by_id.values().map(|statement| statement.bytes()).sum::<usize>());
    kept.order.iter().map(Uuid::as_u128).collect()
}

#[test]
fn the_oldest_go_by_their_number_and_by_their_bytes() {
    let log = Log::new(Config { statements_max: 3, bytes_max: 1 << 20 });
    (1..=5).for_each(|n| log.keep(statement(n, "")));
    assert_eq!(kept(&log), [3, 4, 5]);

    let one = statement(1, &"x".repeat(1_000)).bytes();
    assert!(one > 1_000 + 10 * size_of::<(i32, i64, i64)>(), "{one}");
    let log = Log::new(Config { statements_max: 100, bytes_max: 3 * one });
    (1..=4).for_each(|n| log.keep(statement(n, &"x".repeat(1_000))));
    assert_eq!(kept(&log), [2, 3, 4]);
    // for a larger one two go, and what is larger than all is not kept
    log.keep(statement(5, &"x".repeat(1_001)));
    assert_eq!(kept(&log), [4, 5]);
    log.keep(statement(6, &"x".repeat(4 * one)));
    assert_eq!(kept(&log), [4, 5]);

    let none = Log::new(Config { statements_max: 0, bytes_max: 1 << 20 });
    none.keep(statement(1, ""));
    assert_eq!(kept(&none), [0_u128; 0]);
}
