//! The lake as a source: what stands in the catalog, what a statement is pinned to, what DDL does.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::error::Kind;
use lakegate::lake::Making;
use lakegate::sources::Source as _;
use lakegate::sources::declared::Materialized;
use lakegate::types::{TableName, Version};

use super::oracle::{all_rows, lines};
use super::world::{World, stream, table_name};

fn numbers(values: &[i64]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
}

#[tokio::test]
async fn a_statement_sees_the_last_commit_and_a_pin_stays() {
    let world = World::new().await;
    world.create("t", numbers(&[1])).await;
    let table = world.table("s", "t").await;
    let before = table.pin().await.unwrap();
    world.append("t", numbers(&[2])).await;
    assert_eq!(lines(&all_rows(&table).await), ["1", "2"]);
    let after = table.pin().await.unwrap();
    assert_ne!(before.version, after.version);
    assert!(matches!(after.version, Version::Snapshot(Some(_))));
    let session = super::oracle::session(1, false);
    let pinned = session.read_table(before.provider).unwrap().collect().await.unwrap();
    assert_eq!(lines(&pinned), ["1"]);
}

#[tokio::test]
async fn the_revision_moves_and_unmoved_tables_stay_themselves() {
    let world = World::new().await;
    world.create("a", numbers(&[1])).await;
    world.create("b", numbers(&[1])).await;
    let first = world.source.revision().await.unwrap();
    let (a, b) = (world.table("s", "a").await, world.table("s", "b").await);
    world.append("a", numbers(&[2])).await;
    assert_ne!(world.source.revision().await.unwrap(), first);
    assert_eq!(world.source.schemas(), ["s"]);
    let (a2, b2) = (world.table("s", "a").await, world.table("s", "b").await);
    assert!(Arc::ptr_eq(&b, &b2) && !Arc::ptr_eq(&a, &a2));
    assert_eq!(a.identity(), a2.identity());
    assert!(a.identity().starts_with("iceberg:"));
}

#[tokio::test]
async fn schemas_and_tables_come_and_go() {
    let world = World::new().await;
    let writer = &world.writer;
    let kind = |r: Result<(), lakegate::error::Error>| r.map_err(|e| (e.kind(), e.message().to_string()));
    assert_eq!(
        kind(writer.create_schema("s").await),
        Err((Kind::DuplicateSchema, "schema \"s\" already exists".into()))
    );
    assert_eq!(kind(writer.drop_schema("x").await), Err((Kind::UndefinedSchema, "schema \"x\" does not exist".into())));
    world.create("t", numbers(&[1])).await;
    let make = async |name: TableName| {
        writer.create_table(&name, numbers(&[]).schema(), Default::default(), None).await.map(|_| ())
    };
    assert_eq!(kind(make(table_name("t")).await), Err((Kind::DuplicateTable, "relation \"t\" already exists".into())));
    let nowhere = make(TableName::new("x", "t")).await;
    assert_eq!(kind(nowhere), Err((Kind::UndefinedSchema, "schema \"x\" does not exist".into())));
    assert_eq!(kind(writer.drop_schema("s").await).map_err(|e| e.0), Err(Kind::DependentObjects));
    let old = world.table("s", "t").await;
    writer.drop_table(&table_name("t")).await.unwrap();
    assert_eq!(kind(writer.drop_table(&table_name("t")).await).map_err(|e| e.0), Err(Kind::UndefinedTable));
    // The same name again is another table.
    world.create("t", numbers(&[7])).await;
    let new = world.table("s", "t").await;
    assert_ne!(old.identity(), new.identity());
    assert_eq!(old.pin().await.err().unwrap().kind(), Kind::CachedPlanChanged);
    assert_eq!(lines(&all_rows(&new).await), ["7"]);
    writer.drop_table(&table_name("t")).await.unwrap();
    writer.drop_schema("s").await.unwrap();
    assert!(world.source.tables().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_table_without_rows_has_a_schema_and_no_snapshot() {
    let world = World::new().await;
    world.writer.create_table(&table_name("empty"), numbers(&[]).schema(), Default::default(), None).await.unwrap();
    let table = world.table("s", "empty").await;
    let pinned = table.pin().await.unwrap();
    assert_eq!(pinned.version, Version::Snapshot(None));
    assert_eq!(table.schema().field(0).name(), "x");
    assert!(lines(&all_rows(&table).await).is_empty());
    let session = super::oracle::session(4, false);
    assert_eq!(session.read_table(pinned.provider).unwrap().count().await.unwrap(), 0);
}

/// Of two refreshes the one whose query began first has the older rows, and may not come last.
#[tokio::test]
async fn a_refresh_that_began_before_another_one_came_changes_nothing() {
    let world = World::new().await;
    let view = Materialized { sql: "SELECT 1 AS x".into(), owner: "root".into(), is_populated: true };
    let making = Making { properties: [(Materialized::KEY.into(), view.json())].into(), ..Making::default() };
    world.writer.create_table(&table_name("m"), numbers(&[]).schema(), making, None).await.unwrap();
    let table = world.table("s", "m").await;
    let standing = async || world.writer.standing(table.as_ref()).await.unwrap();
    let refill = async |standing, values: &[i64]| {
        let rows = numbers(values);
        let rows = Some(stream(rows.schema(), vec![rows]));
        world.writer.refill(table.as_ref(), standing, rows, &view).await
    };
    let (first, second) = (standing().await, standing().await);
    assert_eq!(refill(second, &[2, 3]).await.unwrap(), 2);
    assert_eq!(refill(first, &[1]).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(lines(&all_rows(&table).await), ["2", "3"]);
    // nothing is left over, and what is empty stands too
    assert_eq!(refill(standing().await, &[]).await.unwrap(), 0);
    let (first, second) = (standing().await, standing().await);
    assert_eq!(refill(second, &[5]).await.unwrap(), 1);
    assert_eq!(refill(first, &[4]).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(lines(&all_rows(&table).await), ["5"]);
}
