//! What is said of a position and an origin that do not belong together, and where a start is where they do.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::super::change::{Identity, Mark};
use super::super::table::Layout;
use super::*;
use crate::formats::json::{Decoder, Unit};
use crate::lake::{Config, Lake, Store};
use crate::metastore::{self, Metastore};

async fn target(directory: &std::path::Path) -> Target {
    let config = metastore::Config { path: directory.join("m.db"), ..Default::default() };
    let metastore = Arc::new(Metastore::open(&config).await.unwrap());
    let store = Store::over(Arc::new(object_store::memory::InMemory::new()), vec!["memory:///".into()]);
    let config = Config {
        catalog: "c".into(),
        warehouse: "memory:///w".into(),
        s3: None,
        at: Default::default(),
        manifest_cache_bytes: 1 << 20,
    };
    let lake = Arc::new(Lake::over(&config, store, metastore).unwrap());
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let decoder = Decoder::new(Arc::clone(&schema), &[Unit::Millis]).unwrap();
    let layout = Arc::new(Layout::new("t", schema, decoder).unwrap());
    let key = lake.key("s", "t");
    Target { pipeline: "p".into(), file: "p.toml".into(), lake, key, layout }
}

#[tokio::test]
async fn a_start_is_where_the_table_ends_or_an_error_that_says_why_not() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path()).await;
    let check = |position: Option<&[(i32, i64)]>, spans: &[(i32, i64, i64)], expect: Result<&[(i32, i64)], &str>| {
        let position = position.map(|offsets| Position {
            cluster_id: Some("c1".into()),
            topic: "t".into(),
            partitions: offsets.iter().copied().collect(),
            ..Position::default()
        });
        let spans = spans.iter().map(|(partition, first, end)| (*partition, (*first, *end))).collect();
        let identity = Identity { cluster_id: Some("c1".into()), topic_id: None };
        let extent = Extent { identity, topic: "t".into(), spans };
        let found = start(&target, position.as_ref(), &extent).map_err(|e| {
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

#[tokio::test]
async fn a_topic_is_told_by_its_id_and_without_one_by_the_record_at_the_mark() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path()).await;
    let id = |id: Option<&str>| id.map(str::to_string);
    let marks = Marks::from([(0, Mark { offset: 4, hash: 1 })]);
    let check =
        |was: Option<&str>, is: Option<&str>, first: i64, found: Option<(i64, u64)>, expect: Result<(), &str>| {
            let position = Position { topic_id: id(was), marks: marks.clone(), ..Position::default() };
            let identity = Identity { cluster_id: None, topic_id: id(is) };
            let extent = Extent { identity, topic: "t".into(), spans: [(0, (first, 9))].into() };
            let found = [(0, found.map(|(offset, hash)| Mark { offset, hash }))].into();
            let told = compare(&target, &position, &extent, &found).map_err(|e| e.message().to_string());
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
