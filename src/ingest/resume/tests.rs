//! What is said of a position and an origin that do not belong together, and where a start is where they do.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::super::change::Mark;
use super::super::table::Layout;
use super::*;
use crate::formats::json::{Decoder, Unit};
use crate::lake::{Config, Lake, Store};
use crate::metastore::{self, Metastore};

async fn target(directory: &std::path::Path) -> Target {
    let config = metastore::Config { path: directory.join("m.db"), ..Default::default() };
    let metastore = Arc::new(Metastore::open(&config).await.unwrap());
    let store = Store::over(Arc::new(object_store::memory::InMemory::new()), vec!["memory:///".into()]);
    let config =
        Config { catalog: "c".into(), warehouse: "memory:///w".into(), s3: None, manifest_cache_bytes: 1 << 20 };
    let lake = Arc::new(Lake::over(&config, store, metastore));
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let decoder = Decoder::new(Arc::clone(&schema), &[Unit::Millis]).unwrap();
    let layout = Arc::new(Layout::new("t", schema, decoder).unwrap());
    let key = lake.key("s", "t");
    Target { pipeline: "p".into(), lake, key, layout }
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
        let extent = Extent { cluster_id: Some("c1".into()), topic: "t".into(), spans };
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
async fn only_another_record_at_the_same_place_tells_of_another_topic() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path()).await;
    let marks = Marks::from([(0, Mark { offset: 4, hash: 1 })]);
    let check = |found: Marks, same: bool| assert_eq!(compare(&target, &marks, &found).is_ok(), same, "{found:?}");
    check(Marks::from([(0, Mark { offset: 4, hash: 1 })]), true);
    check(Marks::from([(0, Mark { offset: 4, hash: 2 })]), false);
    // Compaction took it.
    check(Marks::from([(0, Mark { offset: 5, hash: 2 })]), true);
    check(Marks::new(), true);
}
