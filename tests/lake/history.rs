//! Random histories of a table beside a map of what it must hold: appended, deleted from, updated, its files replaced and
//! rewritten, in format versions 2 and 3, by callers whose base is not always the newest, and kept in order all the while.
//! PyIceberg and DuckDB have the last word. `LAKEGATE_SEED` repeats one; `LAKEGATE_HISTORY_STEPS` makes it longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use lakegate::jobs::Job;
use lakegate::lake::{
    Action, BatchId, Columns, Config, Expiry, Lake, LiveFile, Outcome, RefKind, Rows, Selection, Staged, Table, Wanted,
    Written,
};
use lakegate::metastore::{self, Metastore};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::peers::peer;

pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    pub(super) lake: Arc<Lake>,
}

/// A row as the table has it, and where.
pub(super) struct Row {
    pub(super) id: i64,
    text: String,
    row_id: Option<i64>,
    updated: Option<i64>,
    pub(super) file: String,
    pub(super) position: i64,
}

/// What the table must hold, by id.
#[derive(Default)]
pub(super) struct Model(pub(super) BTreeMap<i64, Kept>);

/// A text, and in version 3 the row's own id and when it was changed, once they are known.
pub(super) struct Kept {
    text: String,
    row_id: Option<i64>,
    updated: Option<i64>,
}

pub(super) fn kept(text: String) -> Kept {
    Kept { text, row_id: None, updated: None }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]))
}

fn stream(rows: &[(i64, String)]) -> SendableRecordBatchStream {
    let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
    let texts = StringArray::from_iter_values(rows.iter().map(|(_, text)| text));
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(texts)]).unwrap();
    Box::pin(RecordBatchStreamAdapter::new(columns(), futures::stream::iter([Ok(batch)])))
}

impl World {
    pub(super) async fn new(version: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
        let config = Config {
            catalog: "lakegate".into(),
            warehouse: format!("file://{}/warehouse", directory.path().display()),
            s3: None,
            at: Default::default(),
            manifest_cache_bytes: 1 << 20,
        };
        let lake = Arc::new(Lake::connect(&config, Arc::new(metastore)).unwrap());
        lake.create_namespace("s").await.unwrap();
        let made = Columns { schema: &columns(), is_uuid: &|_| false, all_nullable: true };
        let (table, _) = lake.create_table(&lake.key("s", "t"), &made, Default::default(), None).await.unwrap();
        let world = Self { directory, lake };
        // Few enough that manifests are merged all the while.
        let few = ("commit.manifest.min-count-to-merge".to_string(), "4".to_string());
        let upgrade = if version == 3 { vec![Action::Upgrade] } else { vec![] };
        let staged = Staged { properties: [few].into(), ..Staged::new(table, upgrade, BatchId::new()) };
        world.lake.commit(vec![staged], &Default::default()).await.unwrap();
        world
    }

    pub(super) async fn table(&self) -> Table {
        self.lake.table(&self.lake.key("s", "t")).await.unwrap().unwrap()
    }

    /// `None` where the commit does not hold any more.
    pub(super) async fn commit(&self, base: &Table, actions: Vec<Action>) -> Option<Table> {
        let staged = Staged::new(base.clone(), actions, BatchId::new());
        match self.lake.commit(vec![staged], &Default::default()).await.unwrap() {
            Outcome::Committed(tables) => tables.into_iter().next(),
            Outcome::Conflict(_) => None,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn write(&self, base: &Table, rows: &[(i64, String)]) -> Written {
        self.lake.write(base, BatchId::new(), stream(rows)).await.unwrap()
    }

    /// The rows as they are now under the ids that they had; `updated` is NULL for those that are changed by it.
    async fn write_again(
        &self,
        base: &Table,
        version: u32,
        rows: &[(i64, String, Option<i64>, Option<i64>)],
    ) -> Written {
        let values: Vec<_> = rows.iter().map(|(id, text, ..)| (*id, text.clone())).collect();
        if version < 3 || rows.is_empty() {
            return if rows.is_empty() { Written::default() } else { self.write(base, &values).await };
        }
        let plain = stream(&values).try_collect::<Vec<_>>().await.unwrap().remove(0);
        let mut fields = columns().fields().to_vec();
        fields.extend(Table::lineage_columns());
        let schema = Arc::new(Schema::new(fields));
        let mut arrays = plain.columns().to_vec();
        arrays.push(Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))));
        arrays.push(Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.3))));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let again = RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)]));
        self.lake.write(base, BatchId::new(), Box::pin(again)).await.unwrap()
    }

    /// One of the jobs of maintenance, as hard as it can be: nothing is too young to go.
    async fn keep(&self, which: i32) {
        let (key, session, job) = (self.lake.key("s", "t"), one_partition(), Job::unseen());
        match which {
            10 => {
                self.lake.compact(&session, &key, Selection::All, None, &job).await.unwrap();
            }
            11 => {
                let expiry = Expiry { older_than: Some(i64::MAX), retain_last: Some(2), keep_at_most: None };
                self.lake.expire(&key, &expiry, None, &job).await.unwrap();
                self.lake.sweep(self.table().await.uuid(), Duration::ZERO).await.unwrap();
            }
            12 => {
                let wanted = Wanted { older_than: chrono::Utc::now(), dry_run: false };
                self.lake.orphans(&key, wanted, &job).await.unwrap();
            }
            _ => {
                self.lake.merge_manifests(&key, None).await.unwrap();
            }
        }
    }

    /// Nothing dangles, and nothing is broken.
    pub(super) async fn is_sound(&self, said: &str) {
        let found = self.lake.check(&one_partition(), &self.lake.key("s", "t"), &Job::unseen()).await.unwrap();
        assert_eq!(found.faults, Vec::<String>::new(), "{said}");
    }

    pub(super) async fn delete(&self, base: &Table, rows: &[&Row]) -> Action {
        let mut places = Rows::new();
        for row in rows {
            places.entry(row.file.clone()).or_default().insert(row.position as u64);
        }
        let session = SessionContext::new();
        let deleted = self.lake.delete(&session.state(), base, BatchId::new(), &places).await.unwrap();
        assert_eq!(deleted.rows, rows.len() as u64);
        Action::Delete(deleted)
    }

    pub(super) async fn rows(&self, table: &Table, partitions: usize) -> Vec<Row> {
        rows_of(&self.lake, table, partitions).await
    }
}

pub(super) async fn rows_of(lake: &Arc<Lake>, table: &Table, partitions: usize) -> Vec<Row> {
    let mut fields = table.schema().fields().to_vec();
    fields.extend(Table::lineage_columns());
    fields.extend(Table::place_columns());
    let reading = lake.read(table, Arc::new(Schema::new(fields))).await.unwrap();
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    config.options_mut().optimizer.repartition_file_min_size = 1;
    let session = SessionContext::new_with_config(config);
    session.register_table("t", Arc::new(reading)).unwrap();
    let asked = "SELECT id, v, _row_id, _last_updated_sequence_number, _file, _pos FROM t";
    let batches = session.sql(asked).await.unwrap().collect().await.unwrap();
    let mut rows = vec![];
    for batch in &batches {
        let number = |column: usize, row: usize| {
            let column = batch.column(column).as_primitive::<Int64Type>();
            arrow::array::Array::is_valid(column, row).then(|| column.value(row))
        };
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_string();
        rows.extend((0..batch.num_rows()).map(|row| Row {
            id: number(0, row).unwrap(),
            text: text(1, row),
            row_id: number(2, row),
            updated: number(3, row),
            file: text(4, row),
            position: number(5, row).unwrap(),
        }));
    }
    // In an order that a seed repeats.
    rows.sort_by_key(|row| row.id);
    let counted = session.sql("SELECT count(*) FROM t").await.unwrap().collect().await.unwrap();
    assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0) as usize, rows.len());
    rows
}

impl Model {
    /// Equal to the table, whose rows keep their ids for as long as they are what they were.
    pub(super) fn check(&mut self, rows: &[Row], version: u32, step: &str) {
        assert_eq!(rows.len(), self.0.len(), "{step}");
        let mut row_ids = std::collections::HashSet::new();
        for row in rows {
            let kept = self.0.get_mut(&row.id).unwrap_or_else(|| panic!("{step}: {} is not gone", row.id));
            assert_eq!(row.text, kept.text, "{step}: {}", row.id);
            assert_eq!(row.row_id.is_some() && row.updated.is_some(), version == 3, "{step}: {}", row.id);
            if let (Some(now), Some(updated)) = (row.row_id, row.updated) {
                assert!(row_ids.insert(now), "{step}: two rows of id {now}");
                assert_eq!(*kept.row_id.get_or_insert(now), now, "{step}: {}", row.id);
                assert_eq!(*kept.updated.get_or_insert(updated), updated, "{step}: {}", row.id);
            }
        }
    }
}

/// Rows in the order of their files.
pub(super) fn one_partition() -> SessionState {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1)).state()
}

pub(super) fn seed() -> u64 {
    std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap())
}

/// Some rows, in a stretch or here and there.
pub(super) fn some<'a>(random: &mut StdRng, rows: &'a [Row]) -> Vec<&'a Row> {
    let count = random.random_range(0..=rows.len() / 3);
    if random.random_bool(0.5) {
        let from = random.random_range(0..=rows.len() - count);
        return rows[from..from + count].iter().collect();
    }
    let mut all: Vec<&Row> = rows.iter().collect();
    all.shuffle(random);
    all.truncate(count);
    all
}

/// `partitions` of the table one after the other, over the whole of its history.
async fn history(version: u32, partitions: &[&[(&str, &str)]]) {
    let seed = seed();
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let steps = std::env::var("LAKEGATE_HISTORY_STEPS").map_or(45, |steps| steps.parse().unwrap());
    let world = World::new(version).await;
    let (mut model, mut next, mut conflicts) = (Model::default(), 0i64, 0);
    let mut partitions = partitions.iter();
    // A base that somebody still holds while others commit, and its rows.
    let mut stale: Option<(Table, Vec<Row>)> = None;
    let each = (steps / partitions.len().max(1)).max(1);
    for step in 0..steps {
        let mut base = world.table().await;
        if step % each == 0
            && let Some(fields) = partitions.next()
        {
            let action = Action::partition_by(&base, fields).unwrap();
            base = world.commit(&base, vec![action]).await.unwrap();
            stale = None;
        }
        let rows = world.rows(&base, 1 + step % 3).await;
        let mut fresh = |random: &mut StdRng| {
            let count =
                if random.random_bool(0.3) { random.random_range(200..700) } else { random.random_range(1..20) };
            next += count;
            (next - count..next).map(|id| (id, format!("v{id} of {step}"))).collect::<Vec<_>>()
        };
        let what = if rows.is_empty() { 0 } else { random.random_range(0..14) };
        let said = format!("seed {seed} version {version} step {step} kind {what}");
        match what {
            0..3 => {
                let new = fresh(&mut random);
                let on = stale.as_ref().filter(|_| random.random_bool(0.5)).map_or(&base, |(table, _)| table);
                let written = world.write(on, &new).await;
                world.commit(on, vec![Action::Append(written)]).await.expect(&said);
                model.0.extend(new.into_iter().map(|(id, text)| (id, kept(text))));
            }
            3..6 => {
                let gone = some(&mut random, &rows);
                let action = world.delete(&base, &gone).await;
                world.commit(&base, vec![action]).await.expect(&said);
                model.0.retain(|id, _| !gone.iter().any(|row| row.id == *id));
            }
            6 => {
                let old = some(&mut random, &rows);
                let again = |row: &&Row| (row.id, format!("{} again in {step}", row.id), row.row_id, None);
                let changed: Vec<_> = old.iter().map(again).collect();
                let added = world.write_again(&base, version, &changed).await;
                let actions = vec![world.delete(&base, &old).await, Action::Append(added)];
                world.commit(&base, actions).await.expect(&said);
                for (id, text, row_id, _) in changed {
                    model.0.insert(id, Kept { text, row_id, updated: None });
                }
            }
            7 | 8 => {
                let removed: Vec<LiveFile> = world.lake.files(&base).await.unwrap();
                let removed: Vec<LiveFile> = removed.into_iter().filter(|_| random.random_bool(0.4)).collect();
                let within = |row: &&Row| removed.iter().any(|file| file.path() == row.file);
                let kept = rows.iter().filter(within).filter(|_| what == 8 || random.random_bool(0.8));
                let kept: Vec<_> = kept.map(|row| (row.id, row.text.clone(), row.row_id, row.updated)).collect();
                for row in rows.iter().filter(within) {
                    model.0.remove(&row.id);
                }
                for (id, text, row_id, updated) in kept.iter().cloned() {
                    model.0.insert(id, Kept { text, row_id, updated });
                }
                let added = world.write_again(&base, version, &kept).await;
                let action = match what {
                    7 => Action::Overwrite { removed, added },
                    _ => Action::Rewrite { removed, added },
                };
                world.commit(&base, vec![action]).await.expect(&said);
            }
            10.. => {
                // Files of an old base may go.
                stale = None;
                world.keep(what).await;
            }
            _ => {
                // Deletes made on an old base hold only while their files are as they were.
                let Some((old, old_rows)) = stale.take() else {
                    stale = Some((base, rows));
                    continue;
                };
                let gone: Vec<&Row> = old_rows.iter().take(5).collect();
                let action = world.delete(&old, &gone).await;
                match world.commit(&old, vec![action]).await {
                    Some(_) => model.0.retain(|id, _| !gone.iter().any(|row| row.id == *id)),
                    None => conflicts += 1,
                }
            }
        }
        let table = world.table().await;
        model.check(&world.rows(&table, 1 + step % 4).await, version, &said);
        if what >= 10 || step % 8 == 0 {
            world.is_sound(&said).await;
        }
    }
    println!("{} rows in the end, {conflicts} conflicts", model.0.len());
    // With several vectors in one Puffin file DuckDB 1.5.5 has been seen to apply one to another's data file, where our own
    // reader, which proves checksum and count, and PyIceberg agreed with the model.
    let peers: &[&str] = if version == 3 { &["pyiceberg"] } else { &["pyiceberg", "duckdb"] };
    ask_the_peers(&world, &model, peers).await;
}

pub(super) async fn ask_the_peers(world: &World, model: &Model, peers: &[&str]) {
    let line = |(id, kept): (&i64, &Kept)| serde_json::json!({ "id": id, "v": kept.text }).to_string();
    let ours = world.directory.path().join("ours.jsonl");
    std::fs::write(&ours, model.0.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let database = world.directory.path().join("catalog.db");
    let seen = peer(&["check", database.to_str().unwrap(), "t", ours.to_str().unwrap()]);
    for who in peers {
        assert_eq!(seen[format!("differs_{who}")], serde_json::json!([]), "{who}");
        assert_eq!(seen["rows"][who], model.0.len(), "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_reads_as_its_model_in_version_2() {
    history(2, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_reads_as_its_model_in_version_3() {
    history(3, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_reads_as_its_model_over_changing_partitions() {
    let partitions: [&[(&str, &str)]; 4] = [
        &[],
        &[("id", "bucket[3]"), ("v", "truncate[2]")],
        &[("id", "truncate[100]")],
        &[("v", "truncate[1]"), ("id", "truncate[1000]")],
    ];
    history(2, &partitions[..3]).await;
    history(3, &partitions[1..]).await;
}

/// What version 2 deleted stays deleted, and vectors take its position deletes over.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_table_keeps_its_deletes() {
    let world = World::new(2).await;
    let mut model = Model::default();
    let new: Vec<_> = (0..300).map(|id| (id, format!("v{id}"))).collect();
    let base = world.table().await;
    let written = world.write(&base, &new).await;
    world.commit(&base, vec![Action::Append(written)]).await.unwrap();
    model.0.extend(new.into_iter().map(|(id, text)| (id, kept(text))));
    for version in [2, 2, 3, 3] {
        let base = match version {
            3 => world.commit(&world.table().await, vec![Action::Upgrade]).await.unwrap(),
            _ => world.table().await,
        };
        let rows = world.rows(&base, 2).await;
        let gone: Vec<&Row> = rows.iter().step_by(7).collect();
        let action = world.delete(&base, &gone).await;
        let base = world.commit(&base, vec![action]).await.unwrap();
        model.0.retain(|id, _| !gone.iter().any(|row| row.id == *id));
        model.check(&world.rows(&base, 2).await, version, "upgraded");
        let summary = base.summary(base.snapshot_id().unwrap()).unwrap();
        assert_eq!(summary["total-delete-files"], "1");
        assert_eq!(summary["total-position-deletes"], (300 - model.0.len()).to_string());
    }
    ask_the_peers(&world, &model, &["pyiceberg", "duckdb"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_only_from_where_it_was_seen() {
    let world = World::new(2).await;
    let base = world.table().await;
    let written = world.write(&base, &[(1, "a".into())]).await;
    let first = world.commit(&base, vec![Action::Append(written)]).await.unwrap();
    let snapshot = first.snapshot_id().unwrap();
    let name = |was, kind| vec![Action::SetRef { name: "kept".into(), was, snapshot, kind }];
    world.commit(&first, name(None, RefKind::Tag)).await.unwrap();
    assert!(world.commit(&first, name(None, RefKind::Tag)).await.is_none());
    let remove = |was| vec![Action::RemoveRef { name: "kept".into(), was }];
    assert!(world.commit(&first, remove(snapshot - 1)).await.is_none());
    world.commit(&first, remove(snapshot)).await.unwrap();
}
