//! The rows behave as Iceberg clients expect, and the swap as the lake does.

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::error::Kind;

async fn open(directory: &tempfile::TempDir) -> Metastore {
    let config = Config { path: directory.path().join("catalog.db"), busy_timeout_ms: 5_000 };
    Metastore::open(&config).await.unwrap()
}

/// As another program opens it.
async fn raw(directory: &tempfile::TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.path().join("catalog.db")).create_if_missing(true);
    options.connect().await.unwrap()
}

fn key(name: &str) -> TableKey {
    TableKey { catalog: "lakegate".into(), namespace: "sales".into(), name: name.into() }
}

fn update(name: &str, from: &str, to: &str) -> Swap {
    Swap::Update { table: key(name), from: from.into(), to: to.into() }
}

async fn swap(metastore: &Metastore, swaps: &[Swap]) -> Swapped {
    metastore.swap(swaps, &Also::default()).await.unwrap()
}

#[tokio::test]
async fn values_are_kept_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    assert_eq!(metastore.get("policy").await.unwrap(), None);
    metastore.put("policy", b"one").await.unwrap();
    metastore.put("policy", b"two").await.unwrap();
    assert_eq!(metastore.put_if_absent("policy", b"three").await.unwrap(), b"two");
    assert_eq!(metastore.put_if_absent("key", b"k").await.unwrap(), b"k");
    for (expected, value, done) in
        [(None, "1", true), (None, "2", false), (Some("2"), "3", false), (Some("1"), "4", true)]
    {
        let done_now = metastore.exchange("counter", expected.map(str::as_bytes), value.as_bytes()).await.unwrap();
        assert_eq!(done_now, done, "{expected:?} {value}");
    }
    assert_eq!(metastore.get("counter").await.unwrap().as_deref(), Some(&b"4"[..]));
    drop(metastore);
    assert_eq!(open(&directory).await.get("policy").await.unwrap().as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn a_swap_happens_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    let insert = |name: &str| Swap::Insert { table: key(name), to: "1".into() };
    assert_eq!(swap(&metastore, &[insert("a"), insert("b")]).await, Swapped::Done);
    assert_eq!(swap(&metastore, &[insert("a")]).await, Swapped::Moved);
    assert_eq!(swap(&metastore, &[update("a", "1", "2"), update("b", "0", "2")]).await, Swapped::Moved);
    assert_eq!(metastore.location(&key("a")).await.unwrap().as_deref(), Some("1"));
    assert_eq!(swap(&metastore, &[update("a", "1", "2"), update("b", "1", "2")]).await, Swapped::Done);
    assert_eq!(metastore.location(&key("b")).await.unwrap().as_deref(), Some("2"));
    let delete = |from: &str| Swap::Delete { table: key("a"), from: from.into() };
    assert_eq!(swap(&metastore, &[delete("1")]).await, Swapped::Moved);
    assert_eq!(swap(&metastore, &[delete("2")]).await, Swapped::Done);
    assert_eq!(metastore.location(&key("a")).await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_taken_over_stops_the_older_holders_swap() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    swap(&metastore, &[Swap::Insert { table: key("a"), to: "1".into() }]).await;
    let first = metastore.take_lease("p", "one", 60_000).await.unwrap().unwrap();
    assert_eq!(metastore.take_lease("p", "two", 60_000).await.unwrap(), None);
    metastore.release_lease(&first).await.unwrap();
    let second = metastore.take_lease("p", "two", 60_000).await.unwrap().unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
    assert!(!metastore.renew_lease(&first, 60_000).await.unwrap());
    let also = |lease: &Lease| Also { lease: Some(lease.clone()), puts: vec![("seen".into(), b"x".to_vec())] };
    let done = metastore.swap(&[update("a", "1", "2")], &also(&first)).await.unwrap();
    assert_eq!((done, metastore.get("seen").await.unwrap()), (Swapped::LeaseLost, None));
    assert_eq!(metastore.swap(&[update("a", "1", "2")], &also(&second)).await.unwrap(), Swapped::Done);
    assert_eq!(metastore.get("seen").await.unwrap().as_deref(), Some(&b"x"[..]));
}

#[tokio::test]
async fn the_revision_moves_with_anybodys_commit_and_with_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (open(&directory).await, open(&directory).await);
    let empty = ours.revision("lakegate").await.unwrap();
    ours.put("policy", b"x").await.unwrap();
    assert_eq!(ours.revision("lakegate").await.unwrap(), empty);
    swap(&ours, &[Swap::Insert { table: key("a"), to: "1".into() }]).await;
    let one = ours.revision("lakegate").await.unwrap();
    assert_ne!(one, empty);
    swap(&theirs, &[update("a", "1", "2")]).await;
    let two = ours.revision("lakegate").await.unwrap();
    assert_ne!(two, one);
    assert_eq!(ours.revision("lakegate").await.unwrap(), two);
    assert_eq!(ours.revision("another").await.unwrap(), empty);
    assert!(theirs.create_namespace("lakegate", "empty").await.unwrap());
    assert_ne!(ours.revision("lakegate").await.unwrap(), two);
}

#[tokio::test]
async fn namespaces_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    assert!(metastore.create_namespace("lakegate", "sales").await.unwrap());
    assert!(!metastore.create_namespace("lakegate", "sales").await.unwrap());
    swap(&metastore, &[Swap::Insert { table: key("a"), to: "1".into() }]).await;
    let kind = |r: Result<()>| r.map_err(|e| e.kind());
    assert_eq!(kind(metastore.drop_namespace("lakegate", "sales").await), Err(Kind::DependentObjects));
    assert_eq!(kind(metastore.drop_namespace("lakegate", "other").await), Err(Kind::UndefinedSchema));
    swap(&metastore, &[Swap::Delete { table: key("a"), from: "1".into() }]).await;
    metastore.drop_namespace("lakegate", "sales").await.unwrap();
    assert!(metastore.namespaces("lakegate").await.unwrap().is_empty());
}

/// A table made by an older client has no type column; it is used as it is.
#[tokio::test]
async fn a_catalog_without_types_works() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = raw(&directory).await;
    sqlx::query(
        "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
         table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
         PRIMARY KEY (catalog_name, table_namespace, table_name))",
    )
    .execute(&mut old)
    .await
    .unwrap();
    let metastore = open(&directory).await;
    assert_eq!(swap(&metastore, &[Swap::Insert { table: key("a"), to: "1".into() }]).await, Swapped::Done);
    assert_eq!(swap(&metastore, &[update("a", "1", "2")]).await, Swapped::Done);
    assert_eq!(metastore.tables("lakegate").await.unwrap()[0].location, "2");
    let refused = metastore.swap(&[Swap::InsertView { table: key("v"), to: "1".into() }], &Also::default()).await;
    let Err(SwapError::Before(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.kind(), error.hint().is_some()), (Kind::Unsupported, true));
}

#[tokio::test]
async fn views_are_not_tables() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    sqlx::query("INSERT INTO iceberg_tables VALUES ('lakegate', 'sales', 'v', 'somewhere', NULL, 'VIEW'), ('lakegate', 'sales', 't', 'there', NULL, NULL)")
        .execute(&mut raw(&directory).await)
        .await
        .unwrap();
    let rows = metastore.tables("lakegate").await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.kind)).collect();
    assert_eq!(rows, [("t", RowKind::Table), ("v", RowKind::View)]);
    assert_eq!(metastore.location(&key("v")).await.unwrap(), None);
    assert_eq!(metastore.row(&key("v")).await.unwrap().unwrap().location, "somewhere");
}

#[tokio::test]
async fn a_view_is_a_row_and_its_name_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let metastore = open(&directory).await;
    let insert = |name: &str| Swap::InsertView { table: key(name), to: "1".into() };
    let before = metastore.revision("lakegate").await.unwrap();
    assert_eq!(swap(&metastore, &[insert("v")]).await, Swapped::Done);
    assert_ne!(metastore.revision("lakegate").await.unwrap(), before);
    assert_eq!(swap(&metastore, &[insert("v")]).await, Swapped::Moved);
    assert_eq!(swap(&metastore, &[Swap::Insert { table: key("v"), to: "2".into() }]).await, Swapped::Moved);
    assert_eq!(swap(&metastore, &[update("v", "1", "2")]).await, Swapped::Done);
    let rename =
        [Swap::Delete { table: key("v"), from: "2".into() }, Swap::InsertView { table: key("w"), to: "2".into() }];
    assert_eq!(swap(&metastore, &rename).await, Swapped::Done);
    let row = metastore.row(&key("w")).await.unwrap().unwrap();
    assert_eq!((row.kind, row.location.as_str()), (RowKind::View, "2"));
    assert_eq!(metastore.row(&key("v")).await.unwrap(), None);
}

/// A statement that is cancelled amid a write must not leave the one write lock taken.
#[tokio::test(flavor = "multi_thread")]
async fn writers_that_go_away_leave_no_transaction_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (metastore, other) = (open(&directory).await, open(&directory).await);
    let mut cut = 0;
    for round in 0..2_000u64 {
        let patience = std::time::Duration::from_micros(round % 400);
        cut += u32::from(tokio::time::timeout(patience, metastore.put("name", b"cut")).await.is_err());
    }
    assert!(cut > 0, "nobody went away");
    metastore.put("name", b"whole").await.unwrap();
    other.put("other", b"whole").await.unwrap();
    assert_eq!(metastore.get("name").await.unwrap().unwrap(), b"whole");
}
