//! A view's life as rows and files: each change is one swap, and a name in use stays in use.

use super::*;
use crate::lake::fixture::lake;
use crate::metastore::Loss;

fn column(id: i32, name: &str) -> ViewColumn {
    ViewColumn { id, name: name.into(), oid: 25, typmod: -1, comment: None, lies: DataType::Utf8 }
}

fn text(sql: &str, columns: &[&str]) -> ViewText {
    let columns = (1..).zip(columns).map(|(id, name)| column(id, name)).collect();
    ViewText { sql: sql.into(), owner: "ann".into(), columns, comment: None }
}

fn sqlstate<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    outcome.unwrap_err().kind().sqlstate()
}

#[tokio::test]
async fn a_view_lives_by_swaps_of_its_row() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let (v, w) = (lake.key("s", "v"), lake.key("s", "w"));
    let made = lake.create_view(&v, &text("SELECT 'a' AS a", &["a"])).await.unwrap();
    assert_eq!(sqlstate(lake.create_view(&v, &text("SELECT 1", &["a"])).await), "42P07");
    assert_eq!(sqlstate(lake.create_view(&lake.key("none", "v"), &text("SELECT 1", &["a"])).await), "3F000");
    assert_eq!(lake.tables().await.unwrap(), []);
    assert_eq!(lake.table(&v).await.unwrap().map(|t| t.location), None);

    let wider = text("SELECT 'a' AS a, 'b' AS b", &["a", "b"]);
    let wider = ViewText { comment: Some("told".into()), owner: "bob".into(), ..wider };
    let replaced = lake.replace_view(&made, &wider).await.unwrap();
    assert_eq!(replaced.uuid(), made.uuid());
    assert_eq!(lake.view(&v).await.unwrap().unwrap().text().unwrap(), wider);
    assert_eq!(sqlstate(lake.replace_view(&made, &wider).await), "40001");

    // back to the first text: versions are found again by what they say, and nothing of the second stays
    let back = lake.replace_view(&replaced, &text("SELECT 'a' AS a", &["a"])).await.unwrap();
    assert_eq!(lake.view(&v).await.unwrap().unwrap().text().unwrap(), text("SELECT 'a' AS a", &["a"]));

    lake.rename_view(&back, &w).await.unwrap();
    assert!(lake.view(&v).await.unwrap().is_none());
    let renamed = lake.view(&w).await.unwrap().unwrap();
    assert_eq!(renamed.uuid(), made.uuid());
    let other = lake.create_view(&v, &text("SELECT 'c' AS c", &["c"])).await.unwrap();
    assert_eq!(sqlstate(lake.rename_view(&other, &w).await), "42P07");
    assert!(lake.drop_namespace("s").await.is_err(), "views stand in it");
    lake.drop_view(&renamed).await.unwrap();
    assert_eq!(sqlstate(lake.drop_view(&renamed).await), "40001");
    lake.drop_view(&other).await.unwrap();
    lake.drop_namespace("s").await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let lose = |loss| *lake.metastore.losses.lock().unwrap() = vec![loss];
    let v = lake.key("s", "v");
    lose(Loss::Done);
    let made = lake.create_view(&v, &text("SELECT 'a' AS a", &["a"])).await.unwrap();
    lose(Loss::Done);
    lake.drop_view(&made).await.unwrap();
    lose(Loss::Sent);
    assert_eq!(sqlstate(lake.create_view(&v, &text("SELECT 'a' AS a", &["a"])).await), "08006");
    assert!(lake.view(&v).await.unwrap().is_none());
}
