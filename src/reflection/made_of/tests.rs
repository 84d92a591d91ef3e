//! What is written is read again, and nothing else is.

use super::*;

fn made_of() -> MadeOf {
    let bases = [
        (ObjectId(1), Version::Snapshot(Some(-7))),
        (ObjectId(2), Version::Snapshot(None)),
        (ObjectId(u64::MAX), Version::Offsets { topic_id: "t".into(), spans: vec![(0, 1, 5), (3, 0, 0)] }),
        (ObjectId(4), Version::Live),
        (ObjectId(5), Version::Fixed(9)),
    ];
    let batch = Some("b".to_string());
    let (home, name) = ("here".to_string(), "by_day".to_string());
    MadeOf {
        home,
        name,
        print: 0xfeed,
        bases: bases.into(),
        lossless: [(ObjectId(1), ObjectId(0xab))].into(),
        as_of: 1_700_000_000_000_000,
        batch,
    }
}

#[test]
fn properties_say_the_same_when_they_are_read() {
    for batch in [None, Some("b".to_string())] {
        let made_of = MadeOf { batch, ..made_of() };
        assert_eq!(MadeOf::read(&made_of.properties().unwrap()), Some(made_of));
    }
}

#[test]
fn a_property_that_is_missing_or_broken_makes_it_nobodys() {
    let whole = made_of().properties().unwrap();
    for name in [HOME, NAME, PRINT, BASES, AS_OF] {
        let mut without = whole.clone();
        without.remove(name);
        assert_eq!(MadeOf::read(&without), None, "{name}");
    }
    for (name, value) in [(PRINT, "zz"), (AS_OF, "now"), (BASES, "{"), (BASES, r#"{"x": "live"}"#)] {
        let mut other = whole.clone();
        other.insert(name.into(), value.into());
        assert_eq!(MadeOf::read(&other), None, "{name} = {value}");
    }
}
