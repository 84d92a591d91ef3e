//! A tail that grew question by question is what a plain replay of the changes gives, over a table that has rows already.

use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::formats::change::{Changed, Op, Unchanged};
use crate::ingest::index::Index;
use crate::ingest::origin::{Shape, Taken};
use crate::ingest::position::Found;
use crate::ingest::table::ensure_for;
use crate::lake::{Lake, Staged, fixture};

fn columns() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), text("text"), text("large")]))
}

fn rows(of: &[(Option<i64>, Option<&str>, Option<&str>)]) -> RecordBatch {
    let columns_of: Vec<ArrayRef> = vec![
        Arc::new(of.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(of.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(of.iter().map(|row| row.2).collect::<StringArray>()),
    ];
    RecordBatch::try_new(columns(), columns_of).unwrap()
}

#[derive(Clone, Debug)]
struct Change {
    op: Op,
    key: i64,
    was: Option<i64>,
    text: String,
    /// `None`: left out.
    large: Option<String>,
}

fn part(change: &Change) -> Part {
    let is_row = matches!(change.op, Op::Insert | Op::Update);
    let id = (change.op != Op::Truncate).then_some(change.key);
    let row = rows(&[(id, is_row.then_some(change.text.as_str()), change.large.as_deref())]);
    let left_out = BooleanBuffer::from_iter([is_row && change.large.is_none()]);
    let key = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let was = change.was.map(|was| RecordBatch::try_new(key, vec![Arc::new(Int64Array::from(vec![was]))]).unwrap());
    Part {
        table: 0,
        changed: Changed {
            ops: vec![change.op],
            rows: row,
            unchanged: vec![Unchanged { column: 2, rows: left_out }],
            was,
        },
        at_micros: Int64Array::from(vec![0]),
        positions: StringArray::from(vec!["0"]),
        sources: StringArray::from(vec!["s"]),
        beside: vec![],
        place: None,
    }
}

/// Key → text and large value.
type Model = BTreeMap<i64, (String, String)>;

/// A change that may come, and what it makes of the model. `dead`: a row that was deleted just now, whose key may come back as
/// another one, as Debezium tells of a key that changed.
fn change(random: &mut StdRng, model: &mut Model, dead: &mut Option<(i64, String)>) -> Change {
    let key = random.random_range(0..15);
    let new = |random: &mut StdRng, what: &str| format!("{what}{}", random.random_range(0..1_000));
    let text = new(random, "t");
    let put = |op, was, large: Option<String>, kept: String, model: &mut Model| {
        model.insert(key, (text.clone(), large.clone().unwrap_or(kept)));
        Change { op, key, was, text: text.clone(), large }
    };
    let free = !model.contains_key(&key);
    let rarely = random.random_ratio(1, 150);
    match (random.random_range(0..30), dead.take()) {
        _ if rarely => {
            model.clear();
            Change { op: Op::Truncate, key: 0, was: None, text: String::new(), large: None }
        }
        (0..20, Some((was, large))) if free && was != key => put(Op::Insert, Some(was), None, large, model),
        (20..25, _) if free && !model.is_empty() => {
            let from = *model.keys().nth(random.random_range(0..model.len())).unwrap();
            let (_, large) = model.remove(&from).unwrap();
            put(Op::Update, Some(from), None, large, model)
        }
        _ if free => put(Op::Insert, None, Some(new(random, "large ")), String::new(), model),
        (0..10, _) => {
            let (_, large) = model.remove(&key).unwrap();
            *dead = Some((key, large));
            Change { op: Op::Delete, key, was: None, text: String::new(), large: None }
        }
        _ => {
            let kept = model[&key].1.clone();
            let large = random.random_bool(0.4).then(|| new(random, "large "));
            put(Op::Update, None, large, kept, model)
        }
    }
}

struct World {
    target: Target,
    state: SessionState,
    shape: Shape,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = Arc::new(fixture::lake(&directory).await);
        let (pipeline, file, write) = ("p".into(), "p.toml".into(), Write::Upsert { keeps_deleted: false });
        let target = Target { pipeline, file, lake, namespace: "s".into(), table: None, write };
        let shape = Shape { name: "t".into(), target: "t".into(), columns: columns(), key: vec![0], beside: vec![] };
        Self { target, state: crate::engine::own_state(Arc::default()), shape, _directory: directory }
    }

    /// A table of those rows, each twelve in a file of their own.
    async fn sink(&self, model: &Model) -> Sink {
        let lake = &self.target.lake;
        let mut table = ensure_for(&self.target, &self.shape).await.unwrap();
        let all: Vec<_> = model.iter().map(|(id, (t, l))| (Some(*id), Some(t.as_str()), Some(l.as_str()))).collect();
        for some in all.chunks(4) {
            let (id, batch) = (BatchId::new(), rows(some));
            let stream = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)]));
            let written = lake.write(&table, id, Box::pin(stream)).await.unwrap();
            lake.commit(vec![Staged::append(table, written, id)], &Default::default()).await.unwrap();
            table = lake.table(&self.target.key("t")).await.unwrap().unwrap();
        }
        Sink { shape: self.shape.clone(), table, found: Found::default(), index: Index::default() }
    }

    fn by(&self) -> By<'_> {
        By { target: &self.target, state: &self.state, index_rows_max: 1_000 }
    }
}

async fn read(lake: &Arc<Lake>, state: &SessionState, tail: &Arc<Tail>) -> Vec<(i64, (String, String))> {
    let reading = lake.read_fresh(tail, tail.table.schema()).await.unwrap();
    let plan = reading.scan(state, None, &[], None).await.unwrap();
    let mut found = vec![];
    for batch in collect(plan, state.task_ctx()).await.unwrap() {
        let (ids, texts) =
            (batch.column(0).as_primitive::<Int64Type>(), [1, 2].map(|i| batch.column(i).as_string::<i32>()));
        for row in 0..batch.num_rows() {
            let [text, large] = texts.map(|column| if column.is_valid(row) { column.value(row) } else { "NULL" });
            found.push((ids.value(row), (text.to_string(), large.to_string())));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_grew_step_by_step_is_the_replay_of_its_changes() {
    let seed = std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut steps, mut layers, mut revived) = (0, 0, 0);
    for history in 0..12 {
        let world = World::new().await;
        let mut model = Model::new();
        for key in 0..random.random_range(0..12) {
            model.insert(key, (format!("t{key}"), format!("large {key}")));
        }
        let (mut sink, mut batch) = (world.sink(&model).await, Batch::default());
        let tails = Tails::default();
        let showing = tails.show([sink.table.uuid()]);
        let mut growing = Growing::on(&sink.table);
        let (mut dead, mut held) = (None, None::<(Arc<Tail>, Model)>);
        for step in 0..random.random_range(1..40) {
            for _ in 0..random.random_range(0..8) {
                let one = change(&mut random, &mut model, &mut dead);
                revived += usize::from(one.op == Op::Insert && one.was.is_some());
                let taken =
                    Taken { parts: vec![part(&one)], records: 1, place: Some(Default::default()), ..Taken::default() };
                batch.add(taken, Instant::now(), 0);
            }
            growing.catch_up(&world.by(), &mut sink, 0, &batch).await.unwrap();
            let tail = growing.tail(&world.by(), &showing);
            let found = read(&world.target.lake, &world.state, &tail).await;
            let expected: Vec<_> = model.clone().into_iter().collect();
            assert_eq!(found, expected, "LAKEGATE_SEED={seed}, history {history}, step {step}");
            // The one from before is what it was.
            if let Some((tail, model)) = held.replace((tail, model.clone())) {
                let found = read(&world.target.lake, &world.state, &tail).await;
                assert_eq!(
                    found,
                    model.into_iter().collect::<Vec<_>>(),
                    "LAKEGATE_SEED={seed}, {history}, before {step}"
                );
            }
            (steps, layers) = (steps + 1, layers.max(growing.layers.len()));
        }
    }
    println!("fresh: {steps} steps, {layers} layers at most, {revived} rows took values of deleted ones");
    assert!(layers < 10 && revived > 0, "{layers} layers, {revived}");
}
