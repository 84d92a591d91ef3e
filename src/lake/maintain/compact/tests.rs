//! Deletes that come between the reading of files and the commit of those that replace them. Whole histories are tested from
//! outside (tests/lake).

use std::collections::BTreeSet;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::lake::{Columns, Rows, fixture};

struct World {
    _directory: tempfile::TempDir,
    lake: Arc<Lake>,
    session: SessionContext,
}

impl World {
    async fn new(version: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = Arc::new(fixture::lake(&directory).await);
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
        let (table, _) = lake.create_table(&lake.key("s", "t"), &columns, Default::default(), None).await.unwrap();
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let world = Self { _directory: directory, lake, session };
        if version == 3 {
            world.commit(&table, Action::Upgrade).await;
        }
        world
    }

    async fn table(&self) -> Table {
        self.lake.table(&self.lake.key("s", "t")).await.unwrap().unwrap()
    }

    async fn commit(&self, base: &Table, action: Action) {
        let staged = Staged::new(base.clone(), vec![action], BatchId::new());
        let done = self.lake.commit(vec![staged], &Also::default()).await.unwrap();
        assert!(matches!(done, Outcome::Committed(_)), "{done:?}");
    }

    async fn append(&self, from: i64, to: i64) {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let rows = Int64Array::from_iter_values(from..to);
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(rows)]).unwrap();
        let stream = RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)]));
        let base = self.table().await;
        let written = self.lake.write(&base, BatchId::new(), Box::pin(stream)).await.unwrap();
        self.commit(&base, Action::Append(written)).await;
    }

    async fn rows(&self) -> Vec<(i64, String, i64, Option<i64>)> {
        let table = self.table().await;
        let mut fields = table.schema().fields().to_vec();
        fields.extend(Table::place_columns());
        fields.extend(Table::lineage_columns());
        let reading = self.lake.read(&table, Arc::new(Schema::new(fields))).await.unwrap();
        self.session.register_table("t", Arc::new(reading)).unwrap();
        let batches = self.session.sql("SELECT x, _file, _pos, _row_id FROM t").await.unwrap().collect().await.unwrap();
        self.session.deregister_table("t").unwrap();
        let mut rows = vec![];
        for batch in &batches {
            let number = |column: usize, row: usize| {
                let column = batch.column(column).as_primitive::<Int64Type>();
                arrow::array::Array::is_valid(column, row).then(|| column.value(row))
            };
            rows.extend((0..batch.num_rows()).map(|row| {
                let file = batch.column(1).as_string::<i32>().value(row).to_string();
                (number(0, row).unwrap(), file, number(2, row).unwrap(), number(3, row))
            }));
        }
        rows
    }

    async fn delete(&self, which: impl Fn(i64) -> bool) {
        let mut places = Rows::new();
        for (x, file, position, _) in self.rows().await {
            if which(x) {
                places.entry(file).or_default().insert(u64::try_from(position).unwrap());
            }
        }
        let base = self.table().await;
        let deleted = self.lake.delete(&self.session.state(), &base, BatchId::new(), &places).await.unwrap();
        self.commit(&base, Action::Delete(deleted)).await;
    }

    /// Reads and writes everything, and commits nothing yet.
    async fn rewrite(&self, base: &Table) -> Rewritten {
        let reading = self.lake.read(base, Arc::new(columns(base))).await.unwrap();
        let files = self.lake.files(base).await.unwrap();
        let bins = bins(files, Properties(base.properties()), Selection::All);
        assert_eq!(bins.len(), 1);
        let bin = bins.into_iter().next().unwrap();
        self.lake.rewrite(&self.session.state(), base, &reading, bin).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_meanwhile_stays_deleted() {
    for version in [2, 3] {
        let world = World::new(version).await;
        for turn in 0..6 {
            world.append(turn * 10, turn * 10 + 10).await;
        }
        world.delete(|x| x % 7 == 0).await;
        let ids: Vec<_> = world.rows().await.into_iter().map(|row| (row.0, row.3)).collect();
        let base = world.table().await;
        let rewritten = world.rewrite(&base).await;
        assert!(rewritten.in_order);
        world.delete(|x| x % 11 == 1).await;
        world.append(60, 65).await;
        let mut done = Compacted::default();
        world.lake.replace(&world.session.state(), &base, vec![rewritten], None, &mut done).await.unwrap();
        assert_eq!((done.files_before, done.files_after, done.given_up), (6, 1, 0), "version {version}");
        let rows = world.rows().await;
        let now: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
        let expect: BTreeSet<i64> = (0..65).filter(|x| *x >= 60 || (x % 7 != 0 && x % 11 != 1)).collect();
        assert_eq!((now, rows.len()), (expect.clone(), expect.len()), "version {version}");
        for (x, _, _, id) in rows.into_iter().filter(|row| row.0 < 60) {
            assert_eq!(ids.iter().find(|known| known.0 == x).unwrap().1, id, "row {x} is another one now");
        }
        let job = crate::jobs::Job::unseen();
        let found = world.lake.check(&world.session.state(), &base.key, &job).await.unwrap();
        assert_eq!(found.faults, Vec::<String>::new(), "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_replaced_by_another_are_given_up_and_leave_nothing() {
    let world = World::new(2).await;
    for turn in 0..3 {
        world.append(turn * 10, turn * 10 + 10).await;
    }
    let base = world.table().await;
    let (first, second) = (world.rewrite(&base).await, world.rewrite(&base).await);
    let lost = second.written.files[0].file_path().to_string();
    let session = world.session.state();
    let mut done = Compacted::default();
    world.lake.replace(&session, &base, vec![first], None, &mut done).await.unwrap();
    world.lake.replace(&session, &base, vec![second], None, &mut done).await.unwrap();
    assert_eq!((done.files_before, done.given_up), (3, 1));
    assert_eq!(world.rows().await.len(), 30);
    let path = world.lake.store.path(&lost).unwrap();
    for _ in 0..200 {
        use object_store::ObjectStoreExt;
        if world.lake.store.objects().head(&path).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a file that nobody committed stays");
}
