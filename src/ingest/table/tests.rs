//! A table whose origin's columns change: what it becomes, and which columns stay the ones they were.

use super::*;
use crate::lake::fixture;

const UPSERT: Write = Write::Upsert { keeps_deleted: false };

fn column(name: &str, of: DataType, known_as: i32) -> Field {
    Field::new(name, of, true).with_metadata([(SOURCE_ID.to_string(), known_as.to_string())].into())
}

fn id() -> Field {
    column("id", DataType::Int64, 1)
}

fn shape(columns: &[Field]) -> Shape {
    let columns = Arc::new(Schema::new(columns.to_vec()));
    Shape { name: "public.t".into(), target: "t".into(), columns, key: vec![0], beside: vec![] }
}

/// Name, field id and type of each column after the table followed these shapes, and the number of its metadata files.
async fn followed(shapes: &[&[Field]]) -> Result<Vec<(String, i32, DataType)>> {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(fixture::lake(&directory).await);
    let (pipeline, file) = ("p".into(), "p.toml".into());
    let target = Target { pipeline, file, lake, namespace: "s".into(), table: None, write: UPSERT };
    let mut after = vec![];
    for columns in shapes {
        let followed = ensure_for(&target, &shape(columns)).await;
        let now = target.lake.table(&target.key("t")).await.unwrap().unwrap();
        let followed = match followed {
            Ok(table) => table,
            Err(error) => {
                assert_eq!(columns_of(&now), after, "a change that is refused changes nothing");
                return Err(error);
            }
        };
        after = columns_of(&followed);
        assert_eq!(after, columns_of(&now), "it is committed");
        // It is as it should be: nothing is done about it again.
        let again = ensure_for(&target, &shape(columns)).await.unwrap();
        assert_eq!(again.location, followed.location);
    }
    Ok(after)
}

fn columns_of(table: &lake::Table) -> Vec<(String, i32, DataType)> {
    let of = |field: &FieldRef| (field.name().clone(), field_id(field).unwrap(), field.data_type().clone());
    table.schema().fields().iter().map(of).collect()
}

async fn check(shapes: &[&[Field]], expected: &[(&str, i32, DataType)]) {
    let expected: Vec<_> = expected.iter().map(|(name, id, of)| (name.to_string(), *id, of.clone())).collect();
    assert_eq!(followed(shapes).await.unwrap(), expected);
}

#[tokio::test]
async fn columns_that_come_stand_at_the_end_and_those_that_go_stay() {
    use DataType::{Float64, Int64, Utf8};
    let (a, b) = (column("a", Utf8, 2), column("b", Float64, 3));
    check(&[&[id(), a.clone()], &[id(), b.clone(), a.clone()]], &[("id", 1, Int64), ("a", 2, Utf8), ("b", 3, Float64)])
        .await;
    check(&[&[id(), a.clone(), b.clone()], &[id(), b]], &[("id", 1, Int64), ("a", 2, Utf8), ("b", 3, Float64)]).await;
    // gone, and there again
    check(&[&[id(), a.clone()], &[id()], &[id(), a]], &[("id", 1, Int64), ("a", 2, Utf8)]).await;
}

#[tokio::test]
async fn a_column_is_known_by_its_number_whatever_it_is_called() {
    use DataType::{Int32, Int64, Utf8};
    let (a, b) = (column("a", Utf8, 2), column("b", Int32, 3));
    check(&[&[id(), a.clone()], &[id(), column("z", Utf8, 2)]], &[("id", 1, Int64), ("z", 2, Utf8)]).await;
    // two that take each other's names
    let (before, swapped) = ([id(), a.clone(), b.clone()], [id(), column("b", Utf8, 2), column("a", Int32, 3)]);
    check(&[&before, &swapped], &[("id", 1, Int64), ("b", 2, Utf8), ("a", 3, Int32)]).await;
    // another one under the name of one that was dropped
    let other = column("a", Int32, 4);
    check(&[&[id(), a.clone()], &[id(), other.clone()]], &[("id", 1, Int64), ("a_2", 2, Utf8), ("a", 3, Int32)]).await;
    // which was not dropped, but is called otherwise
    let called = column("z", Utf8, 2);
    check(&[&[id(), a.clone()], &[id(), other, called]], &[("id", 1, Int64), ("z", 2, Utf8), ("a", 3, Int32)]).await;
    // and one that took the name of one that was dropped
    let takes = column("a", Int32, 3);
    let before = [id(), a, column("b", Int32, 3)];
    check(&[&before, &[id(), takes]], &[("id", 1, Int64), ("a_2", 2, Utf8), ("a", 3, Int32)]).await;
}

#[tokio::test]
async fn types_widen_in_place_and_what_would_lose_values_is_refused() {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64, Utf8};
    for (from, to, becomes) in [
        (Int32, Int64, Int64),
        (Int16, Int32, Int32),
        (Float32, Float64, Float64),
        (Decimal128(9, 2), Decimal128(12, 2), Decimal128(12, 2)),
        // a narrower one fits into what there is
        (Int64, Int32, Int64),
        (Decimal128(12, 2), Decimal128(9, 2), Decimal128(12, 2)),
    ] {
        let (before, after) = (column("a", from, 2), column("a", to, 2));
        check(&[&[id(), before], &[id(), after]], &[("id", 1, Int64), ("a", 2, becomes)]).await;
    }
    for (from, to) in [(Utf8, Int64), (Int64, Utf8), (Decimal128(9, 2), Decimal128(9, 3)), (Float64, Int64)] {
        let error = followed(&[&[id(), column("a", from, 2)], &[id(), column("a", to, 2)]]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TypeMismatch);
        assert!(error.detail().unwrap().starts_with("column \"a\": the table has type"), "{error:?}");
    }
}

/// What its query fills, its query takes away again.
#[tokio::test]
async fn no_pipeline_fills_a_materialized_view() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(fixture::lake(&directory).await);
    let (pipeline, file) = ("p".into(), "p.toml".into());
    let target = Target { pipeline, file, lake, namespace: "s".into(), table: None, write: UPSERT };
    let view = Materialized { sql: "SELECT 1 AS id".into(), owner: "root".into(), is_populated: true };
    for (name, columns) in [("t", columns(&shape(&[id()]), UPSERT).unwrap()), (DEAD_LETTERS, dead_letter_columns())] {
        let making = Making { properties: [(Materialized::KEY.into(), view.json())].into(), ..Making::default() };
        ensure(&target.lake, &target.key(name), &columns, making).await.unwrap();
    }
    let refused = |made: Result<lake::Table>| made.map_err(|e| (e.kind(), e.message().to_owned())).unwrap_err();
    let expected = |name| {
        let text = format!("table s.{name} is a materialized view: its query fills it");
        (Kind::WrongObjectType, text)
    };
    assert_eq!(refused(ensure_for(&target, &shape(&[id()])).await), expected("t"));
    assert_eq!(refused(dead_letters(&target).await), expected(DEAD_LETTERS));
}
