//! Random histories of a database whose rows have keys, taken into tables of current rows: inserts, updates, changes of keys,
//! values that are left out since they did not change, deletions, truncations, in transactions over two tables, while
//! ingesters die and stores fail. At the end the tables hold what a model holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use lakegate::error::Result;
use lakegate::formats::change::{Changed, Op, Unchanged};
use lakegate::ingest::origin::{Kept, Lag, Origin, Part, Place, Room, Shape, Taken, Wanted};
use lakegate::ingest::{Commit, Flow, Target, Write};
use lakegate::lake::{Reach, Stand};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::chaos::Chaos;
use super::world::{LOOK_EVERY, SMALL, World, rows, run};

/// Histories in one run; more with `LAKEGATE_SEEDS`, one of them with `LAKEGATE_SEED`.
const SEEDS: u64 = 6;
pub(super) const TABLES: [&str; 2] = ["a", "b"];

/// A row but for its key: a text, and a large one that is left out where it did not change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    text: Option<String>,
    large: Option<String>,
}

#[derive(Clone, Debug)]
enum Change {
    Put { key: i64, before: Option<i64>, row: Row, left_out: bool, is_new: bool },
    Delete { key: i64 },
    Truncate,
}

pub(super) type Model = BTreeMap<i64, Row>;

/// Transactions, each changes of tables by number.
#[derive(Default)]
pub(super) struct Database {
    transactions: Mutex<Vec<Vec<(usize, Change)>>>,
    models: Mutex<[Model; 2]>,
    /// After each transaction.
    states: Mutex<Vec<[Model; 2]>>,
}

impl Database {
    /// A transaction by chance; what it does is in the models at once.
    pub(super) fn run(&self, random: &mut StdRng) {
        let mut models = self.models.lock().unwrap();
        let mut transaction = vec![];
        for _ in 0..random.random_range(1..12) {
            let table = random.random_range(0..2);
            let change = change(&mut models[table], random);
            transaction.push((table, change));
        }
        // Before anybody can read it.
        self.states.lock().unwrap().push(models.clone());
        self.transactions.lock().unwrap().push(transaction);
    }

    /// Of a table after so many transactions.
    pub(super) fn lines_after(&self, transactions: usize, table: usize) -> Vec<String> {
        match transactions.checked_sub(1) {
            None => vec![],
            Some(last) => lines(&self.states.lock().unwrap()[last][table]),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.transactions.lock().unwrap().len()
    }

    fn lines(&self, table: usize) -> Vec<String> {
        lines(&self.models.lock().unwrap()[table])
    }
}

fn lines(model: &Model) -> Vec<String> {
    let shown = |text: &Option<String>| text.clone().unwrap_or("NULL".into());
    let lines = model.iter().map(|(key, row)| format!("{key}|{}|{}", shown(&row.text), shown(&row.large)));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

fn change(model: &mut Model, random: &mut StdRng) -> Change {
    let key = random.random_range(0..20);
    let new = |random: &mut StdRng| Row {
        text: random.random_bool(0.9).then(|| format!("t{}", random.random_range(0..1000))),
        large: random.random_bool(0.9).then(|| format!("large {}", random.random_range(0..1000))),
    };
    match (model.contains_key(&key), random.random_range(0..20)) {
        (_, 0) if random.random_bool(0.3) => {
            model.clear();
            Change::Truncate
        }
        (false, _) => {
            let row = new(random);
            model.insert(key, row.clone());
            Change::Put { key, before: None, row, left_out: false, is_new: true }
        }
        (true, 0..=4) => {
            model.remove(&key);
            Change::Delete { key }
        }
        (true, at) => {
            let to = random.random_range(0..20);
            let moves = at < 9 && !model.contains_key(&to);
            let was = model.remove(&key).expect("it is there");
            let mut row = new(random);
            let left_out = random.random_bool(0.5);
            if left_out {
                row.large = was.large;
            }
            let key_now = if moves { to } else { key };
            model.insert(key_now, row.clone());
            Change::Put { key: key_now, before: moves.then_some(key), row, left_out, is_new: false }
        }
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, of| Field::new(name, of, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("text", DataType::Utf8),
        field("large", DataType::Utf8),
    ]))
}

fn part(table: usize, changes: &[Change], at: usize) -> Part {
    let mut ops = vec![];
    let (mut ids, mut texts, mut larges, mut left, mut was) = (vec![], vec![], vec![], vec![], vec![]);
    for change in changes {
        let (op, id, row, left_out, before) = match change {
            Change::Put { key, before, row, left_out, is_new } => {
                let op = if *is_new { Op::Insert } else { Op::Update };
                (op, Some(*key), Some(row), *left_out, *before)
            }
            Change::Delete { key } => (Op::Delete, Some(*key), None, false, None),
            Change::Truncate => (Op::Truncate, None, None, false, None),
        };
        ops.push(op);
        ids.push(id);
        texts.push(row.and_then(|row| row.text.clone()));
        larges.push(row.and_then(|row| row.large.clone()).filter(|_| !left_out));
        left.push(left_out);
        was.push(before);
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(texts)), Arc::new(StringArray::from(larges))];
    let key = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let any = was.iter().any(Option::is_some);
    let was = any.then(|| RecordBatch::try_new(key, vec![Arc::new(Int64Array::from(was))]).unwrap());
    let number = ops.len();
    let text = |of: String| StringArray::from_iter_values(std::iter::repeat_n(of, number));
    Part {
        table,
        changed: Changed {
            ops,
            rows: RecordBatch::try_new(schema(), columns).unwrap(),
            unchanged: vec![Unchanged { column: 2, rows: BooleanBuffer::from_iter(left) }],
            was,
        },
        at_micros: Int64Array::from_value(0, number),
        positions: text(format!("{at:019}")),
        sources: text("database".into()),
        beside: vec![],
        place: None,
    }
}

/// The database as an origin; its place is how many transactions were taken in.
struct Scripted {
    database: Arc<Database>,
    chaos: Arc<Chaos>,
    next: usize,
    /// Within the transaction.
    within: usize,
    random: StdRng,
}

fn place(at: usize) -> Place {
    Place([("transactions".to_string(), at.into())].into_iter().collect())
}

fn at(place: &Place) -> usize {
    place.0["transactions"].as_u64().unwrap() as usize
}

#[async_trait]
impl Origin for Scripted {
    async fn tables(&mut self) -> Result<Vec<Shape>> {
        let shape = |name: &str| Shape {
            name: format!("public.{name}"),
            target: name.into(),
            columns: schema(),
            key: vec![0],
            beside: vec![],
        };
        Ok(TABLES.map(shape).to_vec())
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        self.chaos.origin("begin").await?;
        (self.next, self.within) = (kept.checkpoint.as_ref().map_or(0, at), 0);
        Ok(())
    }

    /// Any number of changes, wherever that ends in a transaction.
    async fn read(&mut self, room: Room) -> Result<Taken> {
        self.chaos.origin("read").await?;
        let transactions = self.database.transactions.lock().unwrap().clone();
        let mut taken = Taken { place: (self.within == 0).then(|| place(self.next)), ..Taken::default() };
        let mut left = self.random.random_range(1..20).min(room.changes);
        while left > 0 && self.next < transactions.len() {
            let transaction = &transactions[self.next];
            let end = (self.within + left).min(transaction.len());
            for run in transaction[self.within..end].chunk_by(|a, b| a.0 == b.0) {
                let changes: Vec<Change> = run.iter().map(|(_, change)| change.clone()).collect();
                taken.records += changes.len();
                taken.parts.push(part(run[0].0, &changes, self.next));
            }
            left -= end - self.within;
            (self.next, self.within) = if end == transaction.len() { (self.next + 1, 0) } else { (self.next, end) };
            taken.place = (self.within == 0).then(|| place(self.next));
        }
        if taken.records == 0 {
            tokio::task::yield_now().await;
        }
        Ok(taken)
    }

    async fn still(&mut self) -> Result<()> {
        self.chaos.origin("still").await
    }

    async fn lag(&mut self, place: Option<&Place>) -> Result<Lag> {
        let behind = self.database.len() - place.map_or(0, at);
        Ok(Lag { records: Some(behind as u64), bytes: None })
    }

    async fn place(&mut self, _: Wanted<'_>) -> Result<Place> {
        Ok(place(0))
    }

    fn range(&self, place: &Place) -> String {
        at(place).to_string()
    }

    fn stand(&self, place: &Place) -> Stand {
        Stand::At(Reach::Lsn(at(place) as u64))
    }

    async fn acknowledge(&mut self, _: &Place) -> Result<()> {
        self.chaos.origin("acknowledge").await
    }
}

pub(super) async fn flow(
    world: &World,
    database: &Arc<Database>,
    chaos: &Arc<Chaos>,
    commit: Commit,
    rows_max: usize,
) -> Flow {
    let target = Target {
        pipeline: "p".into(),
        file: "p.toml".into(),
        lake: world.lake(chaos).await,
        namespace: "crm".into(),
        table: None,
        write: Write::Upsert { keeps_deleted: false },
    };
    let random = StdRng::seed_from_u64(rand::random());
    let (database, chaos) = (Arc::clone(database), Arc::clone(chaos));
    let mut flow = world.flow(&chaos, commit).await;
    flow.target = target;
    flow.origin = Box::new(Scripted { database, chaos, next: 0, within: 0, random });
    flow.config.index_rows_max = rows_max;
    flow
}

pub(super) async fn caught_up(world: &World, database: &Database) {
    let metastore = world.metastore().await;
    let begin = std::time::Instant::now();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let kept = metastore.get("ingest.checkpoint.lakegate/crm/*p").await.unwrap();
        let reached = kept.and_then(|json| serde_json::from_slice(&json).ok()).map(|place: Place| at(&place));
        if reached == Some(database.len()) {
            return;
        }
        if begin.elapsed() > crate::gateway::PATIENCE {
            let noted = metastore.get("ingest.status.p/*p").await.unwrap().unwrap_or_default();
            panic!("at {reached:?} of {}: {}", database.len(), String::from_utf8_lossy(&noted));
        }
    }
}

pub(super) async fn expire(world: &World) {
    let metastore = world.metastore().await;
    if let Some((lease, _)) = metastore.lease("lakegate/crm/*p").await.unwrap() {
        metastore.release_lease(&lease).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_current_rows_hold_what_the_database_holds() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("LAKEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LAKEGATE_SEEDS").unwrap_or(SEEDS)).map(|_| rand::random()).collect(),
    };
    for seed in seeds {
        println!("LAKEGATE_SEED={seed}");
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (world, database) = (World::new(1), Arc::new(Database::default()));
    // Small enough to be passed now and then: the key columns are read for each batch from then on.
    let rows_max = *[5, 1_000_000].get(random.random_range(0..2)).unwrap();
    for life in 0..6 {
        for _ in 0..random.random_range(1..25) {
            database.run(&mut random);
        }
        let chaos = if life == 5 { Chaos::none() } else { Chaos::drawn(random.random(), random.random_range(6..40)) };
        let commit = Commit { rows_max: random.random_range(1..30), ..SMALL };
        expire(&world).await;
        let ingester = run(flow(&world, &database, &chaos, commit, rows_max).await);
        tokio::select! {
            () = chaos.killed.cancelled() => {}
            () = caught_up(&world, &database) => {}
        }
        drop(ingester);
    }
    let lake = world.lake(&Chaos::none()).await;
    for (table, name) in TABLES.iter().enumerate() {
        let found = rows(&lake, "crm", name, "id, text, large").await;
        assert_eq!(found, database.lines(table), "table {name}, LAKEGATE_SEED={seed}");
    }
}
