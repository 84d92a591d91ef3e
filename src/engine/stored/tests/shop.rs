//! Tables whose rows can change under a world, its people, and reflections made by the engine itself.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, RwLock};

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session as Scanning, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::engine::pipeline::Told;
use crate::engine::resolver::{Resolver, Rights};
use crate::engine::session::{Answer, Session};
use crate::engine::world::{Builder, Current, Origin, World};
use crate::engine::{Config, Engine, bodies, language, limits};
use crate::policy::scram::scram_verifier;
use crate::reflection::lossless::{Lossless, links};
use crate::reflection::{Reflections, Slot, Uses};
use crate::scan::{Scanned, scan_by};
use crate::secret::Secret;
use crate::sources::{Pinned, Source, Table};
use crate::types::TableName;

pub(super) const USERS: [&str; 10] =
    ["whole", "eu", "low", "positive", "flagged", "masked", "hidden", "secretive", "nobody", "small"];

const POLICY: &str = r#"p, whole, *, select, allow
p2, whole, *, unfiltered
p, eu, shop.*, select, allow
p2, eu, shop.tiers, unfiltered
p2, eu, shop.sales, "region = 'EU'"
p2, eu, shop.products, unfiltered
p, low, shop.*, select, allow
p2, low, shop.tiers, unfiltered
p2, low, shop.products, unfiltered
p2, low, shop.sales, "product < 4"
p, positive, shop.*, select, allow
p2, positive, shop.tiers, unfiltered
p2, positive, shop.products, "tier > 0"
p2, positive, shop.sales, "product > 0"
p, flagged, shop.*, select, allow
p2, flagged, shop.tiers, unfiltered
p2, flagged, shop.products, unfiltered
p2, flagged, shop.sales, "flag"
p, masked, shop.*, select, allow
p2, masked, shop.tiers, unfiltered
p2, masked, shop.products, unfiltered
p2, masked, shop.sales, unfiltered
p3, masked, shop.sales, region, redact
p3, masked, shop.sales, amount, nullify
p3, masked, shop.products, category, redact
p, hidden, shop.*, select, allow
p2, hidden, shop.tiers, unfiltered
p2, hidden, shop.products, "category <> 'b'"
p2, hidden, shop.sales, "region <> 'EU'"
p, hidden, shop.sales/qty, select, deny
p, small, shop.*, select, allow
p2, small, shop.tiers, unfiltered
p2, small, shop.products, unfiltered
p2, small, shop.sales, "lower(region) = 'eu'"
p, secretive, shop.*, select, allow
p2, secretive, shop.tiers, unfiltered
p2, secretive, shop.products, unfiltered
p2, secretive, shop.sales, "secret = 's1' AND product > 1"
p3, secretive, shop.sales, secret, nullify
"#;

/// A memory table that is opened as a lake's is: without a barrier where all of it is granted.
#[derive(Debug)]
struct Plain(MemTable);

impl TableProvider for Plain {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    scan_by!(scanned);
}

impl Plain {
    fn scanned<'a>(
        &'a self,
        state: &'a dyn Scanning,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move { self.0.scan(state, projection, filters, limit).await })
    }
}

#[derive(Debug)]
struct Stock {
    name: TableName,
    rows: RwLock<(RecordBatch, u64)>,
    /// Its version is told by how many rows it has.
    is_topic: AtomicBool,
}

fn schema() -> SchemaRef {
    let day = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = [
        ("id", DataType::Int64),
        ("region", DataType::Utf8),
        ("product", DataType::Int32),
        ("at", day),
        ("amount", DataType::Decimal128(10, 2)),
        ("qty", DataType::Int32),
        ("big", DataType::Int64),
        ("flag", DataType::Boolean),
        ("price", DataType::Float64),
        ("secret", DataType::Utf8),
        ("seen", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ];
    Arc::new(Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec()))
}

/// Few values, many NULLs, rows that stand twice.
pub(super) fn rows(dice: &mut Dice, count: usize) -> RecordBatch {
    let mut ids = vec![];
    let mut regions = vec![];
    let mut products = vec![];
    let mut days = vec![];
    let mut amounts = vec![];
    let mut quantities = vec![];
    let mut bigs = vec![];
    let mut flags = vec![];
    let mut prices = vec![];
    let mut secrets = vec![];
    let mut seen = vec![];
    for id in 0..count {
        let mut some = |n: usize| (dice.below(8) > 0).then(|| dice.below(n) as i64);
        ids.push(id as i64);
        regions.push(some(4).map(|n| ["EU", "US", "eu", ""][n as usize]));
        products.push(some(7).map(|n| n as i32));
        // hours of some three months from 2023-12-20
        days.push(some(2_200).map(|n| 1_703_030_400_000_000 + n * 3_600_000_000));
        amounts.push(some(9_000).map(|n| i128::from(n) - 1_000));
        quantities.push(some(6).map(|n| n as i32 - 1));
        bigs.push(some(3).map(|n| n - 1 + i64::from(n > 1) * (i64::MAX - 4)));
        flags.push(some(2).map(|n| n > 0));
        prices.push(some(100).map(|n| n as f64 / 3.0));
        seen.push(some(2_200).map(|n| 1_703_030_400_000_000 + n * 3_600_000_000));
        secrets.push(some(3).map(|n| ["s0", "s1", "s2"][n as usize]));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringArray::from(regions)),
        Arc::new(Int32Array::from(products)),
        Arc::new(TimestampMicrosecondArray::from(days)),
        Arc::new(Decimal128Array::from(amounts).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Int32Array::from(quantities)),
        Arc::new(Int64Array::from(bigs)),
        Arc::new(BooleanArray::from(flags)),
        Arc::new(Float64Array::from(prices)),
        Arc::new(StringArray::from(secrets)),
        Arc::new(TimestampMicrosecondArray::from(seen).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Nine products, of which sales name seven; not whole, some of them stand twice or not at all.
fn products(dice: &mut Dice, whole: bool) -> RecordBatch {
    let mut products: Vec<Option<i32>> = (0..9).map(Some).collect();
    if !whole {
        products = (0..9).map(|_| dice.below(8)).map(|n| (n < 7).then_some(n as i32)).collect();
    }
    let categories = products.iter().map(|_| (!dice.one_in(6)).then(|| ["a", "b", "c"][dice.below(3)]));
    let categories: ArrayRef = Arc::new(categories.collect::<StringArray>());
    let tiers: ArrayRef = Arc::new(products.iter().map(|_| Some(dice.below(3) as i32)).collect::<Int32Array>());
    let fields = [("product", DataType::Int32), ("category", DataType::Utf8), ("tier", DataType::Int32)];
    let schema = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec());
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int32Array::from(products)), categories, tiers]).unwrap()
}

/// Each tier that a product has.
fn tiers() -> RecordBatch {
    let fields = [("tier", DataType::Int32), ("label", DataType::Utf8)];
    let schema = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec());
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["low", "mid", "high"]));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int32Array::from(vec![0, 1, 2])), labels]).unwrap()
}

#[async_trait]
impl Table for Stock {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        format!("shelf:{}", self.name.table)
    }

    fn schema(&self) -> SchemaRef {
        self.rows.read().unwrap().0.schema()
    }

    async fn pin(&self) -> Result<Pinned> {
        let (batch, version) = self.rows.read().unwrap().clone();
        let version = match self.is_topic.load(Ordering::Relaxed) {
            true => Version::Offsets { topic_id: "t".into(), spans: vec![(0, 0, batch.num_rows() as i64)] },
            false => Version::Fixed(version),
        };
        let provider = Arc::new(Plain(MemTable::try_new(batch.schema(), vec![vec![batch]])?));
        Ok(Pinned { version, provider, reads: reads() })
    }
}

/// For EXPLAIN alone: leaves of memory pass as constants.
fn reads() -> crate::types::Reads {
    Arc::new(|leaf| (leaf.name() == "DataSourceExec").then_some(crate::types::Share::WHOLE))
}

#[derive(Debug)]
struct Shelf(Vec<Arc<Stock>>);

#[async_trait]
impl Source for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn schemas(&self) -> Vec<String> {
        vec!["shop".into()]
    }

    async fn revision(&self) -> Result<Option<u64>> {
        Ok(Some(1))
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        Ok(self.0.iter().map(|stock| Arc::clone(stock) as Arc<dyn Table>).collect())
    }
}

pub(super) struct Shop {
    engine: Arc<Engine>,
    current: Arc<Current>,
    /// Sales, products, then tiers of these.
    stocks: [Arc<Stock>; 3],
    sessions: tokio::sync::Mutex<std::collections::HashMap<(String, bool), Session>>,
    reflections: Mutex<Vec<Arc<Reflection>>>,
    _folder: tempfile::TempDir,
}

pub(super) fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Shop {
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| write(folder.path(), path, text);
        put("catalog/sources/shelf.toml", "kind = \"memory\"\n");
        put("policies/model.conf", include_str!("../../../../policies/model.conf"));
        put("policies/policy.csv", POLICY);
        let verifier = scram_verifier("any", b"sixteen byte salt", 4_096);
        let users = USERS.map(|user| format!("[user.{user}]\nscram = \"{verifier}\"\n"));
        put("policies/users.toml", &users.concat());
        let stock = |table: &str, rows: RecordBatch| {
            let (name, rows) = (TableName::new("shop", table), RwLock::new((rows, 1)));
            Arc::new(Stock { name, rows, is_topic: AtomicBool::new(false) })
        };
        let stocks = [
            stock("sales", rows(&mut Dice(7), 200)),
            stock("products", products(&mut Dice(7), true)),
            stock("tiers", tiers()),
        ];
        let origin = Origin {
            catalog_dir: folder.path().join("catalog"),
            policies_dir: folder.path().join("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![1; 32]),
            connect: {
                let stocks = stocks.to_vec();
                Box::new(move |_| Ok(Arc::new(Shelf(stocks.clone()))))
            },
            metastore: None,
            remember: false,
            judge: Default::default(),
        };
        let (_, world) = Builder::start(origin, None).await.unwrap_or_else(|faults| panic!("{faults:?}"));
        let current = Arc::new(Current::new(Arc::new(world)));
        let config = Config { partitions: 2, ..Config::default() };
        let engine = Engine::new(config, Arc::clone(&current), Secret::new(vec![2; 32])).unwrap();
        let (sessions, reflections) = Default::default();
        Self { engine, current, stocks, sessions, reflections, _folder: folder }
    }

    /// One that has the result cache switched off.
    pub(super) async fn session(&self, user: &str, reflections: bool) -> Session {
        let principal = self.engine.login(user).unwrap();
        let mut session = self.engine.session(principal, &[("database".into(), "lakegate".into())], 1).unwrap();
        plain(&mut session, "SET lakegate.cache = off").await.unwrap();
        if !reflections {
            plain(&mut session, "SET lakegate.reflections = off").await.unwrap();
        }
        session
    }

    /// Its rows in an order of their own, or its SQLSTATE.
    pub(super) async fn ask(&self, user: &str, reflections: bool, sql: &str) -> Result<Vec<String>, String> {
        let key = (user.to_owned(), reflections);
        let mut sessions = self.sessions.lock().await;
        if !sessions.contains_key(&key) {
            let made = self.session(user, reflections).await;
            sessions.insert(key.clone(), made);
        }
        plain(sessions.get_mut(&key).unwrap(), sql).await
    }

    /// Whether a reflection answered, and the SQLSTATE of what fails with and without it.
    pub(super) async fn compared(&self, user: &str, sql: &str) -> Result<bool, String> {
        self.compared_by(user, sql, true).await
    }

    /// Floats are summed up in any order.
    pub(super) async fn compared_to_last_digit(&self, user: &str, sql: &str) -> Result<bool, String> {
        self.compared_by(user, sql, !sql.contains("price") && !sql.contains("random")).await
    }

    async fn compared_by(&self, user: &str, sql: &str, equal: bool) -> Result<bool, String> {
        let without = self.ask(user, false, sql).await;
        let before = self.hits();
        let with = self.ask(user, true, sql).await;
        if equal {
            assert_eq!(with, without, "{user}: {sql}");
        }
        with.map(|_| self.hits() > before)
    }

    pub(super) fn hits(&self) -> u64 {
        self.reflections.lock().unwrap().iter().map(|reflection| reflection.uses.hits()).sum()
    }

    pub(super) fn why_not(&self, name: &str) -> String {
        let all = self.reflections.lock().unwrap();
        all.iter().find(|r| r.name == name).unwrap().uses.why_not().unwrap_or_default()
    }

    /// Reflections of these queries, refreshed.
    pub(super) async fn reflect(&self, queries: &[(&str, &str)]) {
        let world = self.current.get();
        let named = |query: &str| {
            let of = self.stocks.iter().filter(|stock| query.contains(&stock.name.to_string()));
            of.map(|stock| ObjectId::of(&stock.identity())).collect::<Vec<_>>()
        };
        let made = queries.iter().map(|(name, query)| reflection(&world, name, query, &named(query)));
        let all: Vec<Arc<Reflection>> = made.collect();
        self.current.reflect(Reflections::new(all.clone()));
        *self.reflections.lock().unwrap() = all;
        self.refresh().await;
    }

    /// What their queries come to now.
    pub(super) async fn refresh(&self) {
        let all = self.reflections.lock().unwrap().clone();
        let now = |stock: &Arc<Stock>| (ObjectId::of(&stock.identity()), Version::Fixed(stock.rows.read().unwrap().1));
        let versions: SnapshotVector = self.stocks.iter().map(now).collect();
        let mut session = self.session("whole", false).await;
        for reflection in all {
            store(&mut session, &reflection, &versions).await;
        }
    }

    /// Other rows, in another version.
    pub(super) fn change(&self) {
        let mut now = self.stocks[0].rows.write().unwrap();
        let seed = now.1;
        *now = (rows(&mut Dice(seed), 150 + seed as usize), seed + 1);
    }

    /// Other products; where they are whole, each that is sold is there once.
    pub(super) fn change_products(&self, whole: bool) {
        let mut now = self.stocks[1].rows.write().unwrap();
        let seed = now.1;
        *now = (products(&mut Dice(seed), whole), seed + 1);
    }

    /// No sale is of no product.
    pub(super) fn sell_known(&self) {
        let mut now = self.stocks[0].rows.write().unwrap();
        let at = now.0.schema().index_of("product").unwrap();
        let products = now.0.column(at).as_any().downcast_ref::<Int32Array>().unwrap();
        let known: Int32Array = products.iter().map(|product| Some(product.unwrap_or(0))).collect();
        let mut columns = now.0.columns().to_vec();
        columns[at] = Arc::new(known);
        *now = (RecordBatch::try_new(now.0.schema(), columns).unwrap(), now.1 + 1);
    }

    /// Its table is a topic.
    pub(super) fn stream(&self) {
        self.stocks[0].is_topic.store(true, Ordering::Relaxed);
    }

    /// It was refreshed so many microseconds ago.
    pub(super) fn age(&self, name: &str, micros: i64) {
        let as_of = crate::engine::micros_now() - micros;
        self.store_other(name, |was| Stored { as_of, ..was });
    }

    /// It was made of a table that had the name of its own before.
    pub(super) fn outlive_table(&self, name: &str) {
        let bases = SnapshotVector::from_iter([(ObjectId::of("shelf:before"), Version::Fixed(1))]);
        self.store_other(name, |was| Stored { bases, ..was });
    }

    fn store_other(&self, name: &str, other: impl FnOnce(Stored) -> Stored) {
        let all = self.reflections.lock().unwrap();
        let slot = &all.iter().find(|r| r.name == name).unwrap().stored;
        slot.put(Some(Arc::new(other(slot.get().unwrap().as_ref().clone()))));
    }
}

/// A reflection of this query, with nothing stored.
pub(super) fn reflection(world: &Arc<World>, name: &str, query: &str, bases: &[ObjectId]) -> Arc<Reflection> {
    let state = bodies::state_of_nobody();
    let resolver = Resolver::new(&world.catalog, Rights::Raw, &state, &[], None);
    let parsed = bodies::read(query, &limits::Limits::default()).unwrap();
    let told = Told { text: query.into(), ..Told::default() };
    let understood = language::understand(&resolver, &parsed, &told, &state);
    let plan = understood.unwrap_or_else(|e| panic!("{query}: {e:?}")).plan;
    let (stored, uses): (Arc<Slot>, Arc<Uses>) = Default::default();
    let (name, query, bases) = (name.to_owned(), query.to_owned(), bases.to_vec());
    let upkeep = Default::default();
    let definition = block::definition(&plan);
    Arc::new(Reflection { name, query, plan, definition, bases, enabled: true, stored, uses, upkeep })
}

/// What its query comes to, for a session that sees all of its tables at these versions.
pub(super) async fn store(session: &mut Session, reflection: &Reflection, versions: &SnapshotVector) {
    let batches = batches(session, &reflection.query).await.unwrap();
    // a store has names of its own
    let fields = reflection.plan.schema().fields().iter().enumerate();
    let fields = fields.map(|(i, f)| f.as_ref().clone().with_name(format!("kept{i}")).with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
    let batches = batches.iter().map(|b| RecordBatch::try_new(Arc::clone(&schema), b.columns().to_vec()).unwrap());
    let provider = Arc::new(Plain(MemTable::try_new(Arc::clone(&schema), vec![batches.collect()]).unwrap()));
    let bases = reflection.bases.iter().map(|base| (*base, versions[base].clone())).collect();
    let tables = ["sales", "products", "tiers"].map(|table| TableName::new("shop", table));
    let names = tables.iter().map(|name| (ObjectId::of(&format!("shelf:{}", name.table)), name)).collect();
    let mut lossless = Lossless::new();
    for link in reflection.definition.as_ref().map(|made| links(made.rows())).unwrap_or_default() {
        let mut holds = true;
        for question in link.questions(&names).unwrap() {
            holds &= plain(session, &question).await.unwrap() == ["true"];
        }
        if holds {
            lossless.insert((link.added, link.to));
        }
    }
    let as_of = crate::engine::micros_now();
    reflection.stored.put(Some(Arc::new(Stored { provider, reads: reads(), bases, lossless, rows, as_of })));
}

async fn batches(session: &mut Session, sql: &str) -> Result<Vec<RecordBatch>> {
    let mut found = vec![];
    for statement in session.split(sql).await? {
        let prepared = session.prepare(&statement, &[]).await?;
        match session.execute(&prepared, vec![], CancellationToken::new()).await? {
            Answer::Rows(mut rows) => {
                while let Some(batch) = rows.next().await {
                    found.push(batch?);
                }
            }
            Answer::Empty | Answer::Done(_) => {}
            Answer::CopyOut { .. } | Answer::CopyIn(_) => panic!("a copy"),
        }
    }
    session.finish().await?;
    Ok(found)
}

/// Rows as texts: those of a plan as they stand, others sorted.
pub(super) async fn plain(session: &mut Session, sql: &str) -> Result<Vec<String>, String> {
    let batches = batches(session, sql).await.map_err(|error| {
        session.fail();
        error.kind().sqlstate().to_owned()
    });
    if batches.is_err() {
        // the transaction around it ends
        let _ = session.finish().await;
    }
    let mut rows = vec![];
    for batch in batches? {
        for row in 0..batch.num_rows() {
            let cells =
                batch.columns().iter().map(|column| arrow::util::display::array_value_to_string(column, row).unwrap());
            let nulls = batch.columns().iter().map(|column| if column.is_null(row) { "∅" } else { "" });
            rows.push(cells.zip(nulls).map(|(cell, null)| format!("{cell}{null}")).collect::<Vec<_>>().join("|"));
        }
    }
    if !sql.starts_with("EXPLAIN") {
        rows.sort();
    }
    Ok(rows)
}

/// SplitMix64: seeded, so that a failure can be had again.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// In one of so many cases.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
