//! What is said of a position and an origin that do not belong together, and where a start is where they do.

use super::super::log::{Identity, Mark};
use super::*;

fn named() -> Named {
    Named { pipeline: "p".into(), table: TableName::new("s", "t") }
}

#[test]
fn a_start_is_where_the_table_ends_or_an_error_that_says_why_not() {
    let named = named();
    let check = |position: Option<&[(i32, i64)]>, spans: &[(i32, i64, i64)], expect: Result<&[(i32, i64)], &str>| {
        let position = position.map(|offsets| TopicPlace {
            cluster_id: Some("c1".into()),
            topic: "t".into(),
            partitions: offsets.iter().copied().collect(),
            ..TopicPlace::default()
        });
        let spans = spans.iter().map(|(partition, first, end)| (*partition, (*first, *end))).collect();
        let identity = Identity { cluster_id: Some("c1".into()), topic_id: None };
        let extent = Extent { identity, topic: "t".into(), spans };
        let found = start(&named, position.as_ref(), &extent).map_err(|e| {
            assert_eq!(e.kind(), Kind::DataGone);
            assert!(e.hint().unwrap().contains("lakegate ingest resume p"));
            e.message().to_string()
        });
        assert_eq!(found, expect.map(|e| e.iter().copied().collect()).map_err(str::to_string));
    };
    check(None, &[(0, 0, 9), (1, 5, 5)], Ok(&[(0, 0), (1, 5)]));
    check(Some(&[(0, 3), (1, 5)]), &[(0, 0, 9), (1, 5, 5)], Ok(&[(0, 3), (1, 5)]));
    check(Some(&[(0, 9)]), &[(0, 9, 9)], Ok(&[(0, 9)]));
    // A partition that came is read from its beginning.
    check(Some(&[(0, 3)]), &[(0, 0, 9), (1, 0, 4)], Ok(&[(0, 3), (1, 0)]));
    check(Some(&[(0, 3)]), &[(0, 4, 9)], Err("topic \"t\", partition 0: records from offset 3 to 4 are gone"));
    check(Some(&[(0, 9)]), &[(0, 0, 8)], Err("topic \"t\" was made anew or cut: partition 0 ends at offset 8"));
    let fewer = "topic \"t\" was made anew: partition 1 is not there any more";
    check(Some(&[(0, 3), (1, 5)]), &[(0, 0, 9)], Err(fewer));
}

#[test]
fn a_topic_is_told_by_its_id_and_without_one_by_the_record_at_the_mark() {
    let named = named();
    let id = |id: Option<&str>| id.map(str::to_string);
    let marks = Marks::from([(0, Mark { offset: 4, hash: 1 })]);
    let check =
        |was: Option<&str>, is: Option<&str>, first: i64, found: Option<(i64, u64)>, expect: Result<(), &str>| {
            let position = TopicPlace { topic_id: id(was), marks: marks.clone(), ..TopicPlace::default() };
            let identity = Identity { cluster_id: None, topic_id: id(is) };
            let extent = Extent { identity, topic: "t".into(), spans: [(0, (first, 9))].into() };
            let found = [(0, found.map(|(offset, hash)| Mark { offset, hash }))].into();
            let told = compare(&named, &position, &extent, &found).map_err(|e| e.message().to_string());
            assert_eq!(told, expect.map_err(str::to_string), "{was:?} {is:?} {first} {found:?}");
        };
    let other = Err("topic \"t\" was made anew: partition 0 has another record at offset 4");
    let hole = Err("topic \"t\" may have been made anew: partition 0 has no record at offset 4");
    for (was, is) in [(Some("a"), Some("a")), (None, None), (None, Some("a"))] {
        check(was, is, 0, Some((4, 1)), Ok(()));
        check(was, is, 0, Some((4, 2)), other);
        // Retention took it: it says nothing.
        check(was, is, 5, None, Ok(()));
    }
    // Compaction, or the marker of a transaction in another topic.
    for found in [Some((5, 2)), None] {
        check(Some("a"), Some("a"), 0, found, Ok(()));
        check(None, None, 0, found, hole);
        check(None, Some("a"), 0, found, hole);
    }
}
