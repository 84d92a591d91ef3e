//! Over a lake: versions that were seen are read again, and what a table has got since a refresh is part of the answer.

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::super::*;
use super::shop::{plain, reflection, store};
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::engine::world::{Builder, Current, Origin};
use crate::metastore::{self, Metastore};
use crate::policy::scram::scram_verifier;
use crate::reflection::Reflections;
use crate::secret::Secret;
use crate::sources;
use crate::types::TableName;

const POLICY: &str = "p, whole, *, select, allow\np2, whole, *, unfiltered\np, whole, shop.sales, insert, allow\n\
                      p, whole, shop.sales, delete, allow\np, eu, shop.*, select, allow\n\
                      p2, eu, shop.sales, \"region = 'EU'\"\np, viewer, views.*, select, allow\n";

struct Lake {
    engine: Arc<Engine>,
    current: Arc<Current>,
    _dir: tempfile::TempDir,
}

fn sales(first: i64, count: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + count);
    let regions =
        StringArray::from_iter((first..first + count).map(|n| [Some("EU"), Some("US"), None][n as usize % 3]));
    let quantities = Int64Array::from_iter((first..first + count).map(|n| (n % 5 > 0).then_some(n % 7)));
    let columns: [(&str, arrow::array::ArrayRef); 3] =
        [("id", Arc::new(ids)), ("region", Arc::new(regions)), ("qty", Arc::new(quantities))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn rows(batch: RecordBatch) -> SendableRecordBatchStream {
    let schema = batch.schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

impl Lake {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| super::shop::write(dir.path(), name, text);
        write(
            "catalog/sources/lake.toml",
            &format!("kind = \"iceberg\"\nwarehouse = \"file://{}\"\n", at("warehouse").display()),
        );
        let verifier = scram_verifier("any", b"sixteen byte salt", 4_096);
        write(
            "policies/users.toml",
            &["whole", "eu", "viewer"].map(|user| format!("[user.{user}]\nscram = \"{verifier}\"\n")).concat(),
        );
        write("catalog/datasets/views.everything.sql", "-- owner: whole\nSELECT region, qty FROM shop.sales");
        write("policies/policy.csv", POLICY);
        write("policies/model.conf", include_str!("../../../../policies/model.conf"));
        let config = metastore::Config { path: at("metastore.db"), ..metastore::Config::default() };
        let metastore = Arc::new(Metastore::open(&config).await.unwrap());
        let connect = {
            let metastore = Arc::clone(&metastore);
            move |file: &crate::catalog::file::SourceFile| sources::connect(&file.name, &file.config, &metastore)
        };
        for file in crate::catalog::file::Draft::read(&at("catalog")).unwrap().sources {
            let source = connect(&file).unwrap();
            let writer = source.writer().unwrap();
            writer.create_schema("shop").await.unwrap();
            let batch = sales(0, 300);
            let fields = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<Field>>();
            let (name, schema) = (TableName::new("shop", "sales"), Arc::new(Schema::new(fields)));
            writer.create_table(&name, schema, Default::default(), Some(rows(batch))).await.unwrap();
        }
        let origin = Origin {
            catalog_dir: at("catalog"),
            policies_dir: at("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![0; 32]),
            connect: Box::new(connect),
            metastore: Some(metastore),
            remember: false,
            judge: Default::default(),
        };
        let (_, world) = Builder::start(origin, None).await.unwrap_or_else(|faults| panic!("{faults:?}"));
        let current = Arc::new(Current::new(Arc::new(world)));
        let engine = Engine::new(Default::default(), Arc::clone(&current), Secret::new(vec![0; 32])).unwrap();
        Self { engine, current, _dir: dir }
    }

    async fn session(&self, user: &str, reflections: bool) -> Session {
        let principal = self.engine.login(user).unwrap();
        let mut session = self.engine.session(principal, &[("database".into(), "lakegate".into())], 1).unwrap();
        plain(&mut session, "SET lakegate.cache = off").await.unwrap();
        if !reflections {
            plain(&mut session, "SET lakegate.reflections = off").await.unwrap();
        }
        session
    }

    /// Reflections of the table as it is now.
    async fn reflect(&self, queries: &[(&str, &str)]) -> Vec<Arc<Reflection>> {
        let world = self.current.get();
        let entry = world.catalog.entries.values().find(|entry| entry.object.name.table == "sales").unwrap();
        let crate::catalog::Body::Table(table) = &entry.body else { panic!("a table") };
        let mut session = self.session("whole", false).await;
        let mut all = vec![];
        for (name, query) in queries {
            let made = reflection(&world, name, query, &[entry.object.id]);
            let version = table.pin().await.unwrap().version;
            store(&mut session, &made, &[(made.bases[0], version.clone())].into()).await;
            all.push(made);
        }
        self.current.reflect(Reflections::new(all.clone()));
        all
    }
}

fn hits(all: &[Arc<Reflection>]) -> u64 {
    all.iter().map(|reflection| reflection.uses.hits()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_is_read_again() {
    let lake = Lake::open().await;
    let all = lake.reflect(&[("by_region", "SELECT region, count(*), sum(qty) FROM shop.sales GROUP BY 1")]).await;
    let mut session = lake.session("whole", true).await;
    let sql = "SELECT count(*), sum(qty) FROM shop.sales";
    let then = plain(&mut session, sql).await.unwrap();
    assert_eq!(hits(&all), 1);
    plain(&mut session, "SELECT 1").await.unwrap();
    let seen = plain(&mut session, "SHOW lakegate.snapshot_vector").await.unwrap().concat();
    assert!(seen.starts_with("shop.sales=snapshot:") && seen.contains(", by_region=reflection:"), "{seen}");
    plain(&mut session, "INSERT INTO shop.sales VALUES (1000, 'EU', 5)").await.unwrap();
    plain(&mut session, "DELETE FROM shop.sales WHERE id < 10").await.unwrap();
    let now = plain(&mut session, sql).await.unwrap();
    assert_ne!(then, now);
    for user in ["whole", "eu"] {
        let mut again = lake.session(user, true).await;
        plain(&mut again, &format!("SET lakegate.snapshot_vector = '{seen}'")).await.unwrap();
        let found = plain(&mut again, sql).await.unwrap();
        // by the rights of now
        assert_eq!(found == then, user == "whole", "{user}");
        assert_eq!(
            plain(&mut again, "INSERT INTO shop.sales VALUES (1, 'EU', 5)").await.unwrap_err(),
            if user == "whole" { "25006" } else { "42501" }
        );
        plain(&mut again, "RESET lakegate.snapshot_vector").await.unwrap();
        assert_eq!(plain(&mut again, sql).await.unwrap() == now, user == "whole");
    }
    let mut eu = lake.session("eu", true).await;
    plain(&mut eu, sql).await.unwrap();
    let seen = plain(&mut eu, "SHOW lakegate.snapshot_vector").await.unwrap().concat();
    assert!(seen.starts_with("shop.sales=snapshot:") && !seen.contains("by_region"), "{seen}");
    assert_eq!(plain(&mut eu, "SET lakegate.snapshot_vector = 'shop.sales=5'").await.unwrap_err(), "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_since_are_part_of_the_answer() {
    let lake = Lake::open().await;
    let all = lake
        .reflect(&[
            ("by_region", "SELECT region, id % 4, count(*), count(qty), sum(qty), max(id) FROM shop.sales WHERE id >= 0 GROUP BY 1, 2"),
            ("narrow", "SELECT qty, id FROM shop.sales WHERE id >= 0"),
        ])
        .await;
    let statements = [
        "SELECT count(*), sum(qty), avg(qty), max(id) FROM shop.sales WHERE id >= 0",
        "SELECT region, sum(qty) FROM shop.sales WHERE id >= 0 GROUP BY region",
        "SELECT id % 4, count(*) FROM shop.sales WHERE id >= 0 AND region = 'EU' GROUP BY 1",
        "SELECT DISTINCT region FROM shop.sales WHERE id >= 0",
        "SELECT id + qty FROM shop.sales WHERE id >= 290",
    ];
    let compare = async |answered: bool| {
        for user in ["whole", "eu"] {
            let (mut with, mut without) = (lake.session(user, true).await, lake.session(user, false).await);
            for (i, sql) in statements.iter().enumerate() {
                let before = hits(&all);
                let found = plain(&mut with, sql).await.unwrap();
                assert_eq!(found, plain(&mut without, sql).await.unwrap(), "{user}: {sql}");
                // the copy has no region to filter by
                let answers = answered && (user == "whole" || i < 4);
                assert_eq!(hits(&all) > before, answers, "{user}: {sql}");
            }
        }
    };
    let mut session = lake.session("whole", true).await;
    compare(true).await;
    for n in 0..3 {
        let values = format!("({}, 'EU', 3), ({}, NULL, NULL), (-5, 'US', 100)", 1_000 + n, 2_000 + n);
        plain(&mut session, &format!("INSERT INTO shop.sales VALUES {values}")).await.unwrap();
        compare(true).await;
    }
    // an appended row went again
    plain(&mut session, "DELETE FROM shop.sales WHERE id = 1001").await.unwrap();
    compare(false).await;
    let all = all.iter().map(|reflection| reflection.uses.why_not().unwrap()).collect::<Vec<_>>();
    assert!(all.iter().all(|why| why.contains("have changed")), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_new_rows_fails_and_what_is_not_asked_of_them_does_not() {
    let lake = Lake::open().await;
    let all = lake
        .reflect(&[(
            "quotients",
            "SELECT id > 500, region, sum(100 / (id + 1)), count(*) FROM shop.sales GROUP BY 1, 2",
        )])
        .await;
    let mut session = lake.session("whole", true).await;
    plain(&mut session, "INSERT INTO shop.sales VALUES (-1, 'US', 3)").await.unwrap();
    let sum = "SELECT sum(100 / (id + 1)) FROM shop.sales";
    assert_eq!(plain(&mut session, sum).await.unwrap_err(), "22012");
    assert!(plain(&mut session, &format!("{sum} WHERE region = 'EU'")).await.is_ok());
    assert_eq!(hits(&all), 2);
    let mut eu = lake.session("eu", true).await;
    assert!(plain(&mut eu, sum).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_in_between_leaves_no_row_in_twice() {
    let lake = Lake::open().await;
    let all = lake.reflect(&[("by_region", "SELECT region, count(*) FROM shop.sales GROUP BY 1")]).await;
    let mut session = lake.session("whole", true).await;
    plain(&mut session, "INSERT INTO shop.sales VALUES (1000, 'EU', 5)").await.unwrap();
    let world = lake.current.get();
    let entry = world.catalog.entries.values().find(|entry| entry.object.name.table == "sales").unwrap();
    let crate::catalog::Body::Table(table) = &entry.body else { panic!("a table") };
    let (id, pinned) = (entry.object.id, table.pin().await.unwrap());
    let facts = session.facts().unwrap();
    let versions = SnapshotVector::from_iter([(id, pinned.version.clone())]);
    let tables = HashMap::from([(id, pinned.clone())]);
    let grown = grown(&lake.engine.shared, &facts, &tables, true).await;
    assert!(
        super::super::grown(&lake.engine.shared, &facts, &tables, false).await.is_empty(),
        "groups are not asked for"
    );
    let before = all[0].stored.get().unwrap();
    // now it is refreshed: the row is in what is stored, too
    store(&mut lake.session("whole", false).await, &all[0], &versions).await;
    let since = grown.get("by_region");
    assert_eq!(since.unwrap().1.as_ref().unwrap().rows, 1);
    let (stored, _, since) = current(&all[0], &facts, (&versions, since), &Within::default()).unwrap();
    assert!(since.is_some() && Arc::ptr_eq(&stored, &before));
    let (stored, _, since) = current(&all[0], &facts, (&versions, None), &Within::default()).unwrap();
    assert!(since.is_none() && !Arc::ptr_eq(&stored, &before));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_since_and_are_not_asked_for_make_no_group() {
    let lake = Lake::open().await;
    let all = lake.reflect(&[("below", "SELECT region, count(*) FROM shop.sales WHERE id < 0 GROUP BY 1")]).await;
    let mut session = lake.session("whole", true).await;
    plain(&mut session, "INSERT INTO shop.sales VALUES (1000, 'EU', 5)").await.unwrap();
    for (sql, rows) in [
        ("SELECT 'a' AS k, count(*) FROM shop.sales WHERE id < 0 GROUP BY k", 0),
        ("SELECT DISTINCT 'a' FROM shop.sales WHERE id < 0", 0),
        ("SELECT count(*) FROM shop.sales WHERE id < 0", 1),
    ] {
        let before = hits(&all);
        assert_eq!(plain(&mut session, sql).await.unwrap().len(), rows, "{sql}");
        assert_eq!(hits(&all), before + 1, "{sql}");
    }
    plain(&mut session, "INSERT INTO shop.sales VALUES (-1, 'EU', 5)").await.unwrap();
    assert_eq!(plain(&mut session, "SELECT DISTINCT 'a' FROM shop.sales WHERE id < 0").await.unwrap(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_reaches_into_a_view_for_whoever_may_read_the_table_itself() {
    let lake = Lake::open().await;
    let sql = "SELECT count(*) FROM views.everything";
    let mut whole = lake.session("whole", true).await;
    plain(&mut whole, "SELECT count(*) FROM shop.sales").await.unwrap();
    let then = plain(&mut whole, "SHOW lakegate.snapshot_vector").await.unwrap().concat();
    plain(&mut whole, "INSERT INTO shop.sales VALUES (1000, 'EU', 5)").await.unwrap();
    let (first, now) = (["300".to_owned()], ["301".to_owned()]);
    plain(&mut whole, &format!("SET lakegate.snapshot_vector = '{then}'")).await.unwrap();
    assert_eq!(plain(&mut whole, sql).await.unwrap(), first);
    let mut viewer = lake.session("viewer", true).await;
    // a table that the view reads, and one that is not there, are alike
    for name in ["shop.sales", "shop.nothing"] {
        for version in [then.split_once('=').unwrap().1, "snapshot:7"] {
            plain(&mut viewer, &format!("SET lakegate.snapshot_vector = '{name}={version}'")).await.unwrap();
            assert_eq!(plain(&mut viewer, sql).await.unwrap(), now, "{name}={version}");
        }
    }
    plain(&mut whole, "SET lakegate.snapshot_vector = 'shop.sales=snapshot:7'").await.unwrap();
    assert_eq!(plain(&mut whole, sql).await.unwrap_err(), "22023");
}
