//! Bodies that are sent once, twice, or by nobody any more, over commits that happen, fail, or are not known of.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::super::keys::{id, of_body};
use super::*;
use crate::formats::change::Op;

const MEMORY: Memory = Memory { keys_max: 3, age_s: 60 };
const NOW_S: u64 = 1_000;

fn load(key: &str, lines: usize) -> Arc<Load> {
    let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
    Arc::new(Load {
        id: id("ann", key),
        body: of_body(key.as_bytes()),
        is_named: !key.starts_with('-'),
        user: "ann".into(),
        at_micros: NOW_S as i64 * 1_000_000,
        changed: Changed { ops: vec![Op::Insert; lines], rows, unchanged: vec![], was: None },
        kept: (0..lines).collect(),
        lines,
        dead: vec![],
        end: watch::Sender::new(None),
        is_promised: AtomicBool::new(true),
        _room: None,
    })
}

fn open() -> Queue {
    let mut queue = Queue::new(MEMORY);
    queue.begin(0, Keys::default());
    queue
}

fn taken(queue: &mut Queue, lines_max: usize) -> Vec<i64> {
    queue.take(lines_max).into_iter().map(|(first, _)| first).collect()
}

fn ended(load: &Load) -> Option<End> {
    *load.end.borrow()
}

#[test]
fn nothing_comes_in_before_the_table_was_looked_at() {
    let mut queue = Queue::new(MEMORY);
    assert!(matches!(queue.enter(&load("a", 1)), Entered::Closed));
    queue.begin(7, Keys::default());
    assert!(matches!(queue.enter(&load("a", 1)), Entered::New));
    assert_eq!(taken(&mut queue, 10), [7]);
}

#[test]
fn the_same_key_joins_what_is_on_its_way_and_is_known_afterwards() {
    let mut queue = open();
    let first = load("a", 2);
    assert!(matches!(queue.enter(&first), Entered::New));
    assert!(matches!(queue.enter(&load("a", 2)), Entered::Joined(other) if Arc::ptr_eq(&other, &first)));
    taken(&mut queue, 10);
    assert!(matches!(queue.enter(&load("a", 2)), Entered::Joined(_)), "in a batch");
    queue.settle(2);
    assert_eq!(ended(&first), Some(End::Committed));
    let again = Answer { rows: 2, dead_letters: 0, committed: true, again: true };
    assert!(matches!(queue.enter(&load("a", 2)), Entered::Known(answer) if answer == again));
}

#[test]
fn a_key_with_another_body_is_a_mistake() {
    let mut queue = open();
    let other = || Arc::new(Load { body: of_body(b"other"), ..Arc::try_unwrap(load("a", 1)).unwrap() });
    queue.enter(&load("a", 1));
    assert!(matches!(queue.enter(&other()), Entered::Reused), "while it waits");
    taken(&mut queue, 10);
    queue.settle(1);
    assert!(matches!(queue.enter(&other()), Entered::Reused), "in the table");
}

#[test]
fn bodies_are_not_cut_and_keep_their_order() {
    let mut queue = open();
    for (key, lines) in [("a", 5), ("b", 3), ("c", 3)] {
        queue.enter(&load(key, lines));
    }
    assert_eq!(taken(&mut queue, 2), [0], "one, however large");
    assert_eq!(taken(&mut queue, 6), [5, 8]);
    assert_eq!((queue.lines(), queue.is_idle()), (11, true));
    assert_eq!(queue.place(NOW_S).0, 11);
}

#[test]
fn after_a_fault_what_was_committed_is_told_and_the_rest_comes_again_first() {
    let mut queue = open();
    let (a, b, c) = (load("a", 1), load("b", 2), load("c", 3));
    [&a, &b].iter().for_each(|load| _ = queue.enter(load));
    taken(&mut queue, 1);
    let (next, keys) = queue.place(NOW_S);
    taken(&mut queue, 10);
    queue.enter(&c);
    // The commit of the first happened, and nobody was told.
    queue.begin(next, keys);
    assert_eq!((ended(&a), ended(&b), ended(&c)), (Some(End::Committed), None, None));
    assert_eq!(taken(&mut queue, 10), [1, 3], "b before c, behind a");
    assert!(matches!(queue.enter(&a), Entered::Known(_)));
}

#[test]
fn a_body_without_a_key_is_not_doubled_by_a_commit_that_nobody_was_told_of() {
    let mut queue = open();
    let nameless = load("-1", 1);
    queue.enter(&nameless);
    taken(&mut queue, 10);
    let (next, keys) = queue.place(NOW_S);
    queue.begin(next, keys);
    assert_eq!(ended(&nameless), Some(End::Committed));
    assert_eq!(queue.place(NOW_S).1.text(), "", "and takes no key's place");
}

#[test]
fn so_many_keys_are_remembered_and_always_those_of_the_batch() {
    let mut queue = open();
    let all: Vec<_> = (0..5).map(|i| load(&i.to_string(), 1)).collect();
    all.iter().for_each(|load| _ = queue.enter(load));
    taken(&mut queue, 10);
    let (next, keys) = queue.place(NOW_S);
    queue.begin(next, keys);
    assert!(all.iter().all(|load| ended(load) == Some(End::Committed)), "all five, though three are kept");
    let later_s = NOW_S + 10 * MEMORY.age_s;
    let later = Arc::new(Load { at_micros: later_s as i64 * 1_000_000, ..Arc::try_unwrap(load("later", 1)).unwrap() });
    queue.enter(&later);
    taken(&mut queue, 10);
    let keys = queue.place(NOW_S).1;
    assert!(keys.get(&all[2].id).is_none() && keys.get(&all[3].id).is_some() && keys.get(&later.id).is_some());
    let keys = queue.place(later_s).1;
    assert!(keys.get(&all[4].id).is_none() && keys.get(&later.id).is_some(), "the old ones go by age");
}

#[test]
fn what_nobody_waits_for_is_not_taken_in_later() {
    let mut queue = open();
    let all = ["a", "b", "c", "d"].map(|key| load(key, 1));
    let [gone, left, waited, promised] = &all;
    all.iter().for_each(|load| _ = queue.enter(load));
    [gone, left, waited].iter().for_each(|load| load.is_promised.store(false, Ordering::Relaxed));
    let (waits, _waits) = (left.end.subscribe(), waited.end.subscribe());
    all.iter().for_each(|load| queue.abandon(load));
    let ids = |queue: &mut Queue| queue.take(10).into_iter().map(|(_, load)| load.id).collect::<Vec<_>>();
    assert_eq!(ids(&mut queue), [left.id, waited.id, promised.id]);
    // One leaves whose body is in a batch already, and that batch is not committed.
    drop(waits);
    queue.abandon(left);
    assert_eq!(queue.begin(0, Keys::default()), 0);
    assert_eq!(ids(&mut queue), [waited.id, promised.id]);
}

#[test]
fn where_others_moved_the_table_nothing_of_before_is_taken_in() {
    let mut queue = open();
    let (taken_in, promised, waited) = (load("a", 1), load("b", 2), load("c", 4));
    [&taken_in, &promised, &waited].iter().for_each(|load| _ = queue.enter(load));
    waited.is_promised.store(false, Ordering::Relaxed);
    let _waits = waited.end.subscribe();
    taken(&mut queue, 1);
    // As far as the batch would have gone, and not by it; and farther.
    for next in [1, 9] {
        let mut other = Queue::new(MEMORY);
        other.begin(next - 1, Keys::default());
        other.enter(&load("other", 1));
        taken(&mut other, 10);
        let (at, keys) = other.place(NOW_S);
        assert_eq!(at, next);
        assert_eq!(queue.begin(at, keys), if next == 1 { 3 } else { 0 }, "lines that were promised");
        assert!(queue.is_idle());
    }
    assert_eq!([&taken_in, &promised, &waited].map(|load| ended(load)), [Some(End::Left); 3]);
}

#[test]
fn while_it_rests_nothing_comes_in_and_what_waits_stays() {
    let mut queue = open();
    queue.enter(&load("a", 1));
    queue.rest();
    assert!(matches!(queue.enter(&load("b", 1)), Entered::Closed));
    queue.begin(0, Keys::default());
    assert!(matches!(queue.enter(&load("b", 1)), Entered::New));
    assert_eq!(taken(&mut queue, 10), [0, 1]);
}

#[test]
fn no_more_keys_are_held_than_are_remembered() {
    let mut queue = open();
    for key in 0..10 {
        queue.enter(&load(&key.to_string(), 1));
        taken(&mut queue, 10);
        queue.settle(key + 1);
    }
    let known = |queue: &mut Queue, key: i64| matches!(queue.enter(&load(&key.to_string(), 1)), Entered::Known(_));
    assert_eq!([6, 7, 8, 9].map(|key| known(&mut queue, key)), [false, true, true, true]);
}

#[test]
fn whoever_waits_at_the_end_is_told() {
    let mut queue = open();
    let (a, b) = (load("a", 1), load("b", 1));
    queue.enter(&a);
    taken(&mut queue, 10);
    queue.enter(&b);
    queue.close();
    assert_eq!((ended(&a), ended(&b)), (Some(End::Left), Some(End::Left)));
    assert!(matches!(queue.enter(&load("c", 1)), Entered::Closed));
}
