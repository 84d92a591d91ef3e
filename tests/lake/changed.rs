//! Tables that another program changes between a statement's plan and its commit, or damages: values come where they were
//! planned or nowhere, and what was there before stays readable.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::error::{Error, Kind};
use lakegate::lake::{Also, BatchId, Outcome, Staged};
use lakegate::metastore::{Swap, Swapped};
use lakegate::sources::Table;
use serde_json::{Value, json};

use super::oracle::{all_rows, lines};
use super::world::{World, stream, table_name};

fn letters(a: &str, b: &str) -> RecordBatch {
    let schema = Arc::new(Schema::new(["a", "b"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec()));
    let text = |text: &str| Arc::new(StringArray::from(vec![text]));
    RecordBatch::try_new(schema, vec![text(a), text(b)]).unwrap()
}

/// Another program's commit to `s.t`, over the metadata's JSON.
async fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    let (key, metastore) = (world.lake.key("s", "t"), world.lake.metastore());
    let from = metastore.location(&key).await.unwrap().unwrap();
    let file = from.trim_start_matches("file://");
    let mut metadata: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    change(&mut metadata);
    let to = from.replace(".metadata.json", "-other.metadata.json");
    std::fs::write(to.trim_start_matches("file://"), metadata.to_string()).unwrap();
    let swap = Swap::Update { table: key, from, to };
    assert_eq!(metastore.swap(&[swap], &Default::default()).await.unwrap(), Swapped::Done);
}

/// A new current schema.
fn evolve(metadata: &mut Value, fields: Value) {
    let last = fields.as_array().unwrap().iter().map(|f| f["id"].as_i64().unwrap()).max().unwrap();
    metadata["schemas"].as_array_mut().unwrap().push(json!({"type": "struct", "schema-id": 7, "fields": fields}));
    metadata["current-schema-id"] = 7.into();
    metadata["last-column-id"] = last.max(metadata["last-column-id"].as_i64().unwrap()).into();
}

fn field(id: i32, name: &str) -> Value {
    json!({"id": id, "name": name, "required": false, "type": "string"})
}

async fn append(world: &World, planned: &dyn Table, rows: RecordBatch) -> Result<u64, Error> {
    world.writer.append(planned, stream(rows.schema(), vec![rows])).await
}

async fn rows(world: &World, columns: &str) -> Vec<String> {
    let session = super::oracle::session(1, false);
    session.register_table("t", world.table("s", "t").await.pin().await.unwrap().provider).unwrap();
    lines(&session.sql(&format!("select {columns} from t")).await.unwrap().collect().await.unwrap())
}

fn data_files(world: &World) -> usize {
    fn count(directory: &std::path::Path) -> usize {
        std::fs::read_dir(directory).map_or(0, |all| {
            all.flatten()
                .map(|entry| match entry.path() {
                    path if path.is_dir() => count(&path),
                    path => usize::from(path.extension().is_some_and(|e| e == "parquet")),
                })
                .sum()
        })
    }
    count(world.directory.path())
}

#[tokio::test]
async fn columns_that_moved_since_the_plan_get_their_own_values() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    let planned = world.table("s", "t").await;
    edit(&world, |m| evolve(m, json!([field(3, "c"), field(2, "b"), field(1, "a")]))).await;
    append(&world, planned.as_ref(), letters("A", "B")).await.unwrap();
    assert_eq!(rows(&world, "a, b, c").await, ["A|B|NULL", "A|B|NULL"]);
}

#[tokio::test]
async fn columns_that_are_others_since_the_plan_get_nothing() {
    let changes = [
        ("dropped", json!([field(1, "a")])),
        ("dropped and made again", json!([field(1, "a"), field(3, "b")])),
        ("renamed to each other", json!([field(1, "b"), field(2, "a")])),
        ("of another type", json!([field(1, "a"), json!({"id": 2, "name": "b", "required": false, "type": "long"})])),
        ("not null", json!([field(1, "a"), json!({"id": 2, "name": "b", "required": true, "type": "string"})])),
    ];
    for (name, fields) in changes {
        let world = World::new().await;
        world.create("t", letters("A", "B")).await;
        let (planned, files) = (world.table("s", "t").await, data_files(&world));
        edit(&world, |m| evolve(m, fields)).await;
        let error = append(&world, planned.as_ref(), letters("A", "B")).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Conflict, "could not serialize access due to concurrent update"),
            "{name}"
        );
        assert_eq!(data_files(&world), files, "{name}: a file was written for it");
    }
}

#[tokio::test]
async fn a_table_made_again_since_the_plan_gets_nothing() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    let planned = world.table("s", "t").await;
    world.writer.drop_table(&table_name("t")).await.unwrap();
    world.create("t", letters("B", "A")).await;
    let error = append(&world, planned.as_ref(), letters("A", "B")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(rows(&world, "a, b").await, ["B|A"]);
}

#[tokio::test]
async fn a_commit_does_not_hold_on_columns_that_changed_after_its_files_were_written() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    let base = world.lake.table(&world.lake.key("s", "t")).await.unwrap().unwrap();
    let (batch, more) = (BatchId::new(), letters("A", "B"));
    let written = world.lake.write(&base, batch, stream(more.schema(), vec![more])).await.unwrap();
    edit(&world, |m| evolve(m, json!([field(2, "b"), field(1, "a")]))).await;
    let staged = Staged::append(base, written, batch);
    let outcome = world.lake.commit(vec![staged], &Also::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
    assert_eq!(rows(&world, "a, b").await, ["A|B"]);
}

#[tokio::test]
async fn a_table_that_cannot_be_written_is_refused_before_a_file_is() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    let (planned, files) = (world.table("s", "t").await, data_files(&world));
    edit(&world, |m| partition(m, "unknown")).await;
    let error = append(&world, planned.as_ref(), letters("A", "B")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error:?}");
    assert_eq!(data_files(&world), files, "{}", error.message());
}

#[tokio::test]
async fn a_table_partitioned_since_it_was_planned_is_written_by_its_new_spec() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    let planned = world.table("s", "t").await;
    edit(&world, |m| partition(m, "identity")).await;
    append(&world, planned.as_ref(), letters("A", "B")).await.unwrap();
    let rows = lines(&all_rows(&world.table("s", "t").await).await);
    assert_eq!(rows.len(), 2 * letters("A", "B").num_rows(), "{rows:?}");
}

/// From now on by the second column.
fn partition(metadata: &mut serde_json::Value, transform: &str) {
    let part = json!({"name": "p", "transform": transform, "source-id": 2, "field-id": 1000});
    let spec = json!({"spec-id": 1, "fields": [part]});
    metadata["partition-specs"].as_array_mut().unwrap().push(spec);
    metadata["default-spec-id"] = 1.into();
    metadata["last-partition-id"] = 1000.into();
}

#[tokio::test]
async fn a_lost_or_torn_metadata_file_leaves_the_table_as_it_was_before() {
    let number = |x: i64| {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![x]))]).unwrap()
    };
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("lost", |file| std::fs::remove_file(file).unwrap()),
        ("empty", |file| std::fs::write(file, "").unwrap()),
        ("cut", |file| std::fs::write(file, &std::fs::read(file).unwrap()[..200]).unwrap()),
        ("zeros", |file| std::fs::write(file, vec![0; 4096]).unwrap()),
    ];
    for (name, damage) in damages {
        let world = World::new().await;
        world.create("t", number(1)).await;
        world.append("t", number(2)).await;
        let location = world.lake.metastore().location(&world.lake.key("s", "t")).await.unwrap().unwrap();
        damage(std::path::Path::new(location.trim_start_matches("file://")));
        // As after a new start: nothing is remembered.
        let World { directory, .. } = world;
        let world = World::at(directory).await;
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), ["1"], "{name}");
        // And it goes on from there.
        world.append("t", number(3)).await;
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), ["1", "3"], "{name}");
        let World { directory, .. } = world;
        let world = World::at(directory).await;
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), ["1", "3"], "{name}");
    }
}

/// A newer engine's metadata are not damaged: what they hold must not be lost by going back before them.
#[tokio::test]
async fn metadata_that_are_not_understood_are_no_reason_to_go_back() {
    let world = World::new().await;
    world.create("t", letters("A", "B")).await;
    edit(&world, |m| m["format-version"] = 9.into()).await;
    let World { directory, .. } = world;
    let world = World::at(directory).await;
    let error = world.table("s", "t").await.pin().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::SourceFailed, "the metadata of table s.t cannot be read"));
}
