//! A row a case.

use super::*;

const S: i64 = 1_000_000;

#[test]
fn what_is_due() {
    let every = Refresh::Every(60 * S);
    let fresh = |as_of| Known { as_of: Some(as_of), ..Known::default() };
    let moved = |as_of| Known { moved: true, ..fresh(as_of) };
    for (refresh, known, now, expected) in [
        // what is not there is made at once, but where somebody wants to ask for it
        (every, Known::default(), 5 * S, Due::Now),
        (Refresh::OnCommit, Known::default(), 5 * S, Due::Now),
        (Refresh::Manual, Known::default(), 5 * S, Due::Not),
        (Refresh::Manual, moved(0), 500 * S, Due::Not),
        (every, moved(10 * S), 69 * S, Due::At(70 * S)),
        (every, moved(10 * S), 70 * S, Due::Now),
        // it is looked at, and found as it was
        (every, fresh(10 * S), 70 * S, Due::Now),
        (Refresh::OnCommit, fresh(10 * S), 1_000 * S, Due::Not),
        (Refresh::OnCommit, moved(10 * S), 10 * S, Due::Now),
    ] {
        assert_eq!(due(refresh, &known, now), expected, "{refresh:?} {known:?} {now}");
    }
}

#[test]
fn the_longest_waiting_come_first() {
    let waiting = || vec![(3, "a"), (1, "b"), (2, "c"), (1, "d")];
    assert_eq!(turns(waiting(), 0), Vec::<&str>::new());
    assert_eq!(turns(waiting(), 3), ["b", "d", "c"]);
    assert_eq!(turns(waiting(), 9), ["b", "d", "c", "a"]);
}

#[test]
fn failures_put_it_off_longer_and_longer_up_to_a_bound() {
    let known = |failures| Known { failures, failed_at: 100 * S, ..Known::default() };
    let at = |failures| match due(Refresh::OnCommit, &known(failures), 100 * S) {
        Due::At(at) => at - 100 * S,
        other => panic!("{other:?}"),
    };
    assert_eq!([at(1), at(2), at(3)], [5 * S, 10 * S, 20 * S]);
    assert_eq!([at(8), at(60), at(64), at(u32::MAX)], [600 * S; 4]);
    assert_eq!(due(Refresh::OnCommit, &known(1), 105 * S), Due::Now);
}
