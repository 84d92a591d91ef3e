//! Sessions that tell each other, and end each other.

use super::*;
use crate::catalog::peers::Peers as _;

fn told(own: &Own) -> Vec<String> {
    own.heard().into_iter().map(|n| format!("{} {}={}", n.pid, n.channel, n.payload)).collect()
}

#[test]
fn what_is_said_is_heard_by_listeners_after_the_commit() {
    let peers = Arc::new(Peers::default());
    let (ann, bob) = (peers.join(1, "ann"), peers.join(2, "bob"));
    bob.listen("news".into()).unwrap();
    ann.notify("news", "too early").unwrap();
    ann.commit();
    bob.commit();
    assert!(told(&bob).is_empty(), "bob listens from its commit on");
    for payload in ["a", "b", "a"] {
        ann.notify("news", payload).unwrap();
    }
    ann.notify("other", "x").unwrap();
    assert!(told(&bob).is_empty());
    ann.commit();
    assert_eq!(told(&bob), ["1 news=a", "1 news=b"], "equal ones are told once");
    ann.notify("news", "lost").unwrap();
    ann.forget();
    ann.commit();
    assert!(told(&bob).is_empty());
    ann.notify("news", "kept").unwrap();
    ann.save();
    ann.notify("news", "undone").unwrap();
    ann.save();
    ann.roll_back_to(0);
    ann.notify("news", "undone").unwrap();
    ann.roll_back_to(0);
    ann.notify("news", "kept").unwrap();
    ann.release(0);
    ann.commit();
    assert_eq!(told(&bob), ["1 news=kept"], "what stood behind a savepoint is undone with it");
    bob.unlisten(None).unwrap();
    bob.commit();
    ann.notify("news", "c").unwrap();
    ann.commit();
    assert!(told(&bob).is_empty() && told(&ann).is_empty());
}

#[test]
fn a_session_hears_itself() {
    let peers = Arc::new(Peers::default());
    let own = peers.join(1, "ann");
    own.listen("news".into()).unwrap();
    own.notify("news", "").unwrap();
    own.commit();
    assert_eq!(told(&own), ["1 news="]);
    assert_eq!(own.channels(), ["news"]);
}

#[test]
fn channels_and_payloads_have_postgresqls_limits() {
    let own = Arc::new(Peers::default()).join(1, "ann");
    let text = |outcome: Result<()>| outcome.map_or_else(|e| e.message().to_owned(), |()| "ok".into());
    assert_eq!(text(own.notify("", "x")), "channel name cannot be empty");
    assert_eq!(text(own.notify(&"c".repeat(64), "x")), "channel name too long");
    assert_eq!(text(own.notify("c", &"x".repeat(8_000))), "payload string too long");
    assert_eq!(text(own.notify(&"c".repeat(63), &"x".repeat(7_999))), "ok");
    let many = (0..2_000).find_map(|n| own.notify("c", &format!("{n}{}", "x".repeat(7_900))).err());
    assert_eq!(many.map(|e| e.kind().sqlstate()), Some("54000"), "no more than a listener may let wait");
    own.forget();
    let many = (0..2_000).find_map(|n| own.listen(format!("c{n}")).err());
    assert_eq!(many.map(|e| e.kind().sqlstate()), Some("54000"));
}

#[test]
fn sessions_of_others_are_as_absent_as_any() {
    let peers = Arc::new(Peers::default());
    let (ann, ann2, bob) = (peers.join(1, "ann"), peers.join(2, "ann"), peers.join(3, "bob"));
    let (statement, session) = (CancellationToken::new(), CancellationToken::new());
    ann2.runs(statement.clone());
    ann2.ended_by(session.clone());
    assert!(!bob.cancel(2, false) && !bob.terminate(2, false) && !bob.cancel(99, true) && !bob.cancel(i64::MAX, true));
    assert!(!statement.is_cancelled() && !session.is_cancelled());
    assert!(ann.cancel(2, false) && statement.is_cancelled() && !session.is_cancelled());
    assert!(bob.terminate(2, true) && session.is_cancelled());
    ann2.rests(false, "app");
    assert_eq!((bob.activity(false).len(), bob.activity(true).len()), (1, 3));
    drop(ann2);
    assert!(!ann.cancel(2, true));
    assert_eq!(bob.activity(true).len(), 2);
}
