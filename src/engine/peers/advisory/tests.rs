//! Who gets an advisory lock, who waits, and what ends a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

fn wanted(object: u32, mode: LockMode, scope: LockScope) -> Advisory {
    Advisory { key: LockKey { class: 0, object, sub: 1 }, mode, scope }
}

fn exclusive(object: u32) -> Advisory {
    wanted(object, LockMode::Exclusive, LockScope::Session)
}

fn shared(object: u32) -> Advisory {
    wanted(object, LockMode::Shared, LockScope::Session)
}

fn of_transaction(object: u32) -> Advisory {
    wanted(object, LockMode::Exclusive, LockScope::Transaction)
}

fn gets(locks: &Locks, pid: i32, wanted: Advisory) -> bool {
    locks.try_lock(pid, wanted, 0).unwrap()
}

fn free(locks: &Locks, pid: i32, wanted: Advisory) -> bool {
    locks.unlock(pid, wanted.key, wanted.mode)
}

fn patient(check: &dyn Fn() -> Result<()>) -> Patience<'_> {
    Patience { check, lock_timeout: None }
}

fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

#[test]
fn a_lock_is_held_as_often_as_it_was_taken() {
    let locks = Locks::default();
    assert!(gets(&locks, 1, exclusive(7)) && gets(&locks, 1, exclusive(7)));
    assert!(!gets(&locks, 2, exclusive(7)) && !gets(&locks, 2, shared(7)) && gets(&locks, 2, exclusive(8)));
    assert!(free(&locks, 1, exclusive(7)) && !gets(&locks, 2, exclusive(7)));
    assert!(!free(&locks, 1, shared(7)), "it is not held so");
    assert!(free(&locks, 1, exclusive(7)) && !free(&locks, 1, exclusive(7)));
    assert!(gets(&locks, 2, shared(7)) && gets(&locks, 1, shared(7)) && !gets(&locks, 1, exclusive(7)));
    locks.unlock_all(2);
    assert!(gets(&locks, 1, exclusive(7)) && gets(&locks, 1, exclusive(8)));
    locks.session_over(1);
    assert!(locks.rows(None).is_empty() && locks.table().counts.is_empty());
}

#[test]
fn locks_of_a_transaction_end_with_it_and_with_its_savepoints() {
    let locks = Locks::default();
    assert!(locks.try_lock(1, of_transaction(1), 0).unwrap());
    assert!(locks.try_lock(1, of_transaction(2), 1).unwrap());
    assert!(locks.try_lock(1, of_transaction(3), 2).unwrap());
    assert!(gets(&locks, 1, exclusive(2)));
    assert!(!free(&locks, 1, exclusive(3)), "nobody frees what is the transaction's");
    locks.savepoint_released(1, 1);
    locks.rolled_back_to(1, 1);
    assert!(!gets(&locks, 2, exclusive(3)), "it belongs to what is around the savepoint");
    locks.rolled_back_to(1, 0);
    assert!(gets(&locks, 2, exclusive(3)) && !gets(&locks, 2, exclusive(2)) && !gets(&locks, 2, exclusive(1)));
    locks.transaction_over(1);
    assert!(gets(&locks, 2, exclusive(1)) && !gets(&locks, 2, exclusive(2)), "the session's own stays");
}

#[test]
fn whoever_waits_gets_it_in_turn() {
    let locks = Arc::new(Locks::default());
    assert!(gets(&locks, 1, shared(7)));
    let waits = |pid: i32, mode: LockMode| {
        let locks = Arc::clone(&locks);
        thread::spawn(move || locks.lock(pid, wanted(7, mode, LockScope::Session), 0, &patient(&|| Ok(()))))
    };
    let second = waits(2, LockMode::Exclusive);
    until(|| locks.blocking(2) == [1]);
    assert!(!gets(&locks, 3, shared(7)), "nobody goes before who came first");
    assert!(gets(&locks, 1, exclusive(7)), "but for whoever holds it already");
    assert_eq!(
        locks.rows(Some(2)),
        [LockRow { pid: 2, key: exclusive(7).key, mode: LockMode::Exclusive, granted: false }]
    );
    locks.unlock_all(1);
    second.join().unwrap().unwrap();
    assert!(!gets(&locks, 1, shared(7)) && locks.blocking(2).is_empty());
}

#[test]
fn a_wait_ends_with_its_statement_its_timeout_or_a_deadlock() {
    let locks = Arc::new(Locks::default());
    assert!(gets(&locks, 1, exclusive(1)) && gets(&locks, 2, exclusive(2)));
    let check = || Err(Error::new(Kind::Cancelled, "enough"));
    assert_eq!(locks.lock(2, exclusive(1), 0, &patient(&check)).unwrap_err().kind(), Kind::Cancelled);
    let hurried = Patience { check: &|| Ok(()), lock_timeout: Some(Duration::from_millis(1)) };
    assert_eq!(locks.lock(2, exclusive(1), 0, &hurried).unwrap_err().kind(), Kind::LockNotAvailable);
    assert!(locks.blocking(2).is_empty(), "nobody is left in the queue");

    let stopped = Arc::new(AtomicBool::new(false));
    let first = {
        let (locks, stopped) = (Arc::clone(&locks), Arc::clone(&stopped));
        thread::spawn(move || {
            let check = || match stopped.load(Ordering::Relaxed) {
                true => Err(Error::new(Kind::Cancelled, "enough")),
                false => Ok(()),
            };
            let outcome = locks.lock(1, exclusive(2), 0, &patient(&check));
            // as whoever is told of a deadlock gives way
            locks.session_over(1);
            outcome
        })
    };
    until(|| locks.blocking(1) == [2]);
    let second = locks.lock(2, exclusive(1), 0, &patient(&|| Ok(())));
    stopped.store(true, Ordering::Relaxed);
    let outcomes = [first.join().unwrap(), second].map(|outcome| outcome.map_err(|error| error.kind()));
    assert!(outcomes.contains(&Err(Kind::Deadlock)), "{outcomes:?}");
    assert_eq!(locks.table().waiting, 0);
}
