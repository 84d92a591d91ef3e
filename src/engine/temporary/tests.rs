//! Temporary tables and the transactions around them.

use arrow::array::{ArrayRef, Int32Array};
use datafusion::execution::memory_pool::GreedyMemoryPool;

use super::*;

fn temporary(bytes: usize) -> (Temporary, Arc<dyn MemoryPool>) {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
    (Temporary::new(&pool, bytes as u64), pool)
}

fn batch(values: Vec<i32>) -> RecordBatch {
    RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(values)) as ArrayRef)]).unwrap()
}

fn part(of: &Temporary, rows: i32) -> Vec<Arc<Part>> {
    vec![Arc::new(of.part(batch((0..rows).collect())).unwrap())]
}

fn rows(of: &Temporary, table: &str) -> Option<usize> {
    let (_, rows) = of.find(table)?;
    Some(rows.batches().unwrap().iter().map(RecordBatch::num_rows).sum())
}

fn create(of: &Temporary, name: &str, on_commit: OnCommit) {
    of.create(name, batch(vec![]).schema(), on_commit, part(of, 2)).unwrap();
}

#[test]
fn a_rollback_takes_back_tables_and_rows() {
    let (of, _) = temporary(1 << 20);
    create(&of, "kept", OnCommit::Preserve);
    of.committed();
    let version = of.version();
    of.append("kept", part(&of, 3)).unwrap();
    assert_eq!((rows(&of, "kept"), of.version()), (Some(5), version), "plans stay, rows come");
    create(&of, "new", OnCommit::Preserve);
    of.drop_table("kept");
    assert_eq!(rows(&of, "kept"), None);
    of.rolled_back();
    assert_eq!((rows(&of, "kept"), rows(&of, "new")), (Some(2), None));
}

#[test]
fn savepoints_nest() {
    let (of, _) = temporary(1 << 20);
    create(&of, "t", OnCommit::Preserve);
    of.save();
    of.append("t", part(&of, 1)).unwrap();
    of.save();
    of.truncate("t");
    assert_eq!(rows(&of, "t"), Some(0));
    of.roll_back_to(1);
    assert_eq!(rows(&of, "t"), Some(3));
    of.release(1);
    of.roll_back_to(0);
    assert_eq!(rows(&of, "t"), Some(2));
    of.rolled_back();
    assert_eq!(rows(&of, "t"), None);
}

#[test]
fn a_commit_does_what_its_tables_ask_for() {
    let (of, _) = temporary(1 << 20);
    create(&of, "kept", OnCommit::Preserve);
    create(&of, "emptied", OnCommit::DeleteRows);
    create(&of, "gone", OnCommit::Drop);
    of.committed();
    assert_eq!((rows(&of, "kept"), rows(&of, "emptied"), rows(&of, "gone")), (Some(2), Some(0), None));
}

#[test]
fn rows_are_counted_until_nobody_has_them() {
    let (of, pool) = temporary(8_000);
    of.create("t", batch(vec![]).schema(), OnCommit::Preserve, part(&of, 100)).unwrap();
    assert!(pool.reserved() > 0);
    let refused = of.part(batch((0..1_000).collect())).unwrap_err();
    assert_eq!(refused.kind().sqlstate(), "53200");
    let reader = of.find("t").unwrap().1.batches().unwrap();
    of.drop_table("t");
    of.committed();
    assert_eq!(pool.reserved(), 0, "what a statement still reads is that statement's");
    drop(reader);
    assert_eq!(of.create("t", batch(vec![]).schema(), OnCommit::Preserve, vec![]).map_or("no", |()| "ok"), "ok");
    let again = of.create("t", batch(vec![]).schema(), OnCommit::Preserve, vec![]).unwrap_err();
    assert_eq!((again.kind().sqlstate(), again.message()), ("42P07", "relation \"t\" already exists"));
}
