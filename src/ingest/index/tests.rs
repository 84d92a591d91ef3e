//! What an index knows after a file that could not be read.

use arrow::array::{ArrayRef, Int64Array};
use datafusion::execution::SessionStateBuilder;

use super::*;
use crate::lake::{BatchId, Outcome, Staged, fixture};

#[tokio::test]
async fn a_file_that_could_not_be_read_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(fixture::lake(&directory).await);
    let (empty, batch) = (fixture::table(&lake, "t").await, BatchId::new());
    let written = lake.write(&empty, batch, fixture::rows(&[7, 8])).await.unwrap();
    let committed = lake.commit(vec![Staged::append(empty, written, batch)], &Default::default()).await.unwrap();
    let Outcome::Committed(mut tables) = committed else { panic!("not committed") };
    let table = tables.pop().unwrap();
    let file = lake.files(&table).await.unwrap()[0].path().strip_prefix("file://").unwrap().to_string();
    let aside = format!("{file}.aside");

    let keyer = Keyer::new(&table.schema(), vec![0]).unwrap();
    let state = SessionStateBuilder::new().with_default_features().build();
    let of = Of { lake: &lake, state: &state, table: &table, keyer: &keyer };
    let seven: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let keys = keyer.keys(&[seven]).unwrap();
    let mut index = Index::default();
    std::fs::rename(&file, &aside).unwrap();
    assert!(index.find(&of, &keys, 1_000).await.is_err());
    std::fs::rename(&aside, &file).unwrap();
    let found = index.find(&of, &keys, 1_000).await.unwrap();
    assert!(found.of(keys[0]).is_some(), "the file counts as known, and its rows as gone");
}
