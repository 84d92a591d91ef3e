//! Where a cursor over five rows is after a direction, and what it shows on its way: answers of PostgreSQL 15.18.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::run::Bounds;

const ALL: i64 = Direction::ALL;

fn reader(scroll: Scroll, memory: usize) -> Reader {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
    let batches = [vec![1, 2], vec![], vec![3], vec![4, 5]];
    let of = Arc::clone(&schema);
    let batches = batches
        .into_iter()
        .map(move |rows| Ok(RecordBatch::try_new(Arc::clone(&of), vec![Arc::new(Int32Array::from(rows))]).unwrap()));
    let bounds = Bounds { cancel: CancellationToken::new(), deadline: None };
    let rows = Rows::fetched("SELECT", schema, futures::stream::iter(batches).boxed(), bounds, vec![], false);
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
    Reader::new(rows, scroll, Allowance::new(&pool))
}

/// The rows shown, joined by blanks, or the SQLSTATE.
async fn fetch(reader: &mut Reader, direction: Direction) -> String {
    match fetched(reader, direction).await {
        Ok(rows) => rows.iter().map(i32::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.kind().sqlstate().to_string(),
    }
}

async fn fetched(reader: &mut Reader, direction: Direction) -> Result<Vec<i32>> {
    let mut shown = vec![];
    let mut show = |batch: &RecordBatch| shown.extend(batch.column(0).as_primitive::<Int32Type>().values().to_vec());
    let mut most = match reader.go(direction, true).await? {
        Plan::Forward(most) => most,
        Plan::Ready(batches) => {
            batches.iter().for_each(&mut show);
            0
        }
    };
    while let Some(batch) = reader.forward(most).await? {
        show(&batch);
        most -= batch.num_rows();
    }
    Ok(shown)
}

#[tokio::test]
async fn a_cursor_that_scrolls_goes_everywhere() {
    use Direction::{Absolute, Backward, Forward, Relative};
    let mut reader = reader(Scroll::Yes, 1 << 20);
    for (step, (direction, shown)) in [
        (Forward(ALL), "1 2 3 4 5"),
        (Backward(ALL), "5 4 3 2 1"),
        (Forward(1), "1"),
        (Absolute(-1), "5"),
        (Absolute(1), "1"),
        (Relative(2), "3"),
        (Relative(-1), "2"),
        (Absolute(-2), "4"),
        (Absolute(0), ""),
        (Forward(0), ""),
        (Forward(3), "1 2 3"),
        (Forward(0), "3"),
        (Backward(ALL), "2 1"),
        (Forward(ALL), "1 2 3 4 5"),
        (Absolute(2), "2"),
        (Absolute(99), ""),
        (Forward(-2), "5 4"),
        (Backward(2), "3 2"),
        (Forward(-1), "1"),
        (Relative(0), "1"),
        (Backward(1), ""),
        (Absolute(-9), ""),
        (Backward(-1), "1"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(fetch(&mut reader, direction).await, shown, "step {step}: {direction:?}");
    }
}

#[tokio::test]
async fn a_cursor_that_does_not_scroll_goes_forward_alone() {
    use Direction::{Absolute, Backward, Forward, Relative};
    let mut reader = reader(Scroll::No, 0);
    for (direction, shown) in [
        (Relative(0), ""),
        (Forward(0), ""),
        (Absolute(2), "2"),
        (Forward(0), "55000"),
        (Backward(1), "55000"),
        (Absolute(2), "55000"),
        (Absolute(-1), "55000"),
        (Relative(-1), "55000"),
        (Relative(1), "3"),
        (Forward(ALL), "4 5"),
        (Forward(1), ""),
    ] {
        assert_eq!(fetch(&mut reader, direction).await, shown, "{direction:?}");
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let mut small = reader(Scroll::Yes, 1);
    assert_eq!(fetch(&mut small, Direction::Forward(1)).await, "53200");
    // one that nobody asked to scroll gives it up
    let mut perhaps = reader(Scroll::Perhaps, 1);
    assert_eq!(fetch(&mut perhaps, Direction::Forward(2)).await, "1 2");
    assert_eq!(fetch(&mut perhaps, Direction::Forward(ALL)).await, "3 4 5");
    assert_eq!(fetch(&mut perhaps, Direction::Backward(1)).await, "55000");
}

#[tokio::test]
async fn a_held_cursor_goes_on_where_it_was() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
    for scroll in [Scroll::No, Scroll::Yes] {
        let mut reader = reader(scroll, 1 << 20);
        assert_eq!(fetch(&mut reader, Direction::Forward(1)).await, "1");
        reader.hold(Allowance::new(&pool)).await.unwrap();
        assert_eq!(fetch(&mut reader, Direction::Forward(2)).await, "2 3");
        let back = if scroll == Scroll::Yes { "2 1" } else { "55000" };
        assert_eq!(fetch(&mut reader, Direction::Backward(ALL)).await, back);
    }
}
