//! Reflections over a lake in a directory: what is stored is what the query comes to, whatever became of the table between two
//! refreshes. `LAKEGATE_SEED` repeats a run.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::rounds::Refreshing;
use super::*;
use crate::engine::session::tests::ask;
use crate::engine::world::{Builder, Current, Origin};
use crate::engine::{Config, Session};
use crate::lake::{Action, BatchId, Selection, Staged};
use crate::metastore;
use crate::policy::scram::scram_verifier;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::sources;

/// Before there is a schema that lines could speak of.
const ADMIN: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, update, allow\n\
    p, root, *, delete, allow\np, root, *, drop, allow\np, root, *, create, allow\np, root, *, maintain, allow\n\
    p, root, lakegate.admin, select, allow\n";
const OTHERS: &str = "p, ann, s.*, select, allow\np, ann, s.*, refresh, allow\n\
    p, bob, s.*, select, allow\np, bob, s.*, refresh, allow\np2, bob, s.t, \"k > 1\"\n\
    p, sue, lakegate.admin, select, allow\n";

struct Place {
    folder: tempfile::TempDir,
    metastore: Arc<Metastore>,
    engine: Arc<Engine>,
    shutdown: Shutdown,
}

impl Place {
    /// With a schema `s` and a table `t` in it, of a few rows.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        write(
            folder.path(),
            "catalog/sources/lake.toml",
            &format!("kind = \"iceberg\"\nwarehouse = \"file://{at}/w\"\n"),
        );
        write(folder.path(), "policies/model.conf", include_str!("../../../policies/model.conf"));
        write(folder.path(), "policies/policy.csv", ADMIN);
        let user = |name: &str| {
            let verifier = scram_verifier(name, b"sixteen byte salt", 4_096);
            format!("[user.{name}]\nscram = \"{verifier}\"\n")
        };
        write(folder.path(), "policies/users.toml", &["root", "ann", "bob", "sue"].map(user).concat());
        let place = Self::over(folder).await;
        let mut root = place.session("root");
        for sql in [
            "CREATE SCHEMA s",
            "CREATE TABLE s.t (k int4, g text, v int4, w numeric(12,2), at timestamp)",
            "INSERT INTO s.t VALUES (1, 'a', 10, 1.50, '2024-01-01 10:00'), (2, 'b', NULL, 2.25, '2024-01-02 11:00'),
             (3, NULL, -5, NULL, '2024-01-02 12:00')",
        ] {
            let said = ask(&mut root, sql).await;
            assert!(!said.starts_with(|c: char| c.is_ascii_digit()), "{sql}: {said}");
        }
        let before = place.engine.world().policies.hash();
        write(place.folder.path(), "policies/policy.csv", &format!("{ADMIN}{OTHERS}"));
        place.until(|world| world.policies.hash() != before).await;
        place
    }

    async fn over(folder: tempfile::TempDir) -> Self {
        let config = metastore::Config { path: folder.path().join("metastore.db"), busy_timeout_ms: 5_000 };
        let metastore = Arc::new(Metastore::open(&config).await.unwrap());
        let connected = Arc::clone(&metastore);
        let origin = Origin {
            catalog_dir: folder.path().join("catalog"),
            policies_dir: folder.path().join("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![1; 32]),
            connect: Box::new(move |file| sources::connect(&file.name, &file.config, &connected)),
            metastore: Some(Arc::clone(&metastore)),
            remember: true,
            judge: Default::default(),
        };
        let shutdown = Shutdown::new();
        let built = Box::pin(Builder::start(origin, Some(&shutdown))).await;
        let (builder, world) = built.unwrap_or_else(|faults| panic!("{faults:?}"));
        let current = Arc::new(Current::new(Arc::new(world)));
        let engine = Engine::new(Config::default(), Arc::clone(&current), Secret::new(vec![2; 32])).unwrap();
        shutdown.spawn("builder", builder.run(current, shutdown.token().clone()));
        Self { folder, metastore, engine, shutdown }
    }

    /// As after a restart.
    async fn again(self) -> Self {
        self.shutdown.finish(Duration::from_secs(10)).await;
        let Self { folder, metastore, engine, shutdown: _ } = self;
        drop((metastore, engine));
        Self::over(folder).await
    }

    fn session(&self, user: &str) -> Session {
        let principal = self.engine.login(user).unwrap();
        self.engine.session(principal, &[("database".into(), "lakegate".into())], 1).unwrap()
    }

    fn refreshing(&self) -> Refreshing {
        Refreshing::new(Arc::clone(&self.engine), Arc::clone(&self.metastore))
    }

    /// Once the world is as a statement has left it.
    async fn until(&self, holds: impl Fn(&World) -> bool) {
        let begin = std::time::Instant::now();
        while !holds(&self.engine.world()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the world does not change");
            tokio::task::yield_now().await;
        }
    }

    async fn reflection(&self, name: &str) -> Arc<Reflection> {
        self.until(|world| world.reflections.named(name).is_some()).await;
        Arc::clone(self.engine.world().reflections.named(name).unwrap())
    }

    /// One refresh, and how it was done.
    async fn refresh(&self, name: &str) -> Done {
        let home = home(&self.metastore).await.unwrap();
        let reflection = self.reflection(name).await;
        let task = Task::new(&self.engine, &self.engine.world(), &reflection, &home);
        let done = Box::pin(task.run(&Job::unseen())).await;
        done.unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    /// Rows as they are stored, in order.
    async fn stored(&self, name: &str) -> Option<Vec<String>> {
        let stored = self.reflection(name).await.stored.get()?;
        let rows = SessionContext::new().read_table(Arc::clone(&stored.provider)).unwrap().collect().await.unwrap();
        let mut lines = vec![];
        for batch in rows {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                lines.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
        lines.sort();
        assert_eq!(lines.len() as u64, stored.rows, "{name}: rows are counted");
        Some(lines)
    }

    /// What the query comes to now, as the server computes it afresh.
    async fn computed(&self, name: &str) -> Vec<String> {
        let reflection = self.reflection(name).await;
        let columns = reflection.upkeep.columns.fields();
        let named: Vec<String> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
        let texts: Vec<String> = named.iter().map(|n| format!("coalesce({n}::text, '')")).collect();
        let sql =
            format!("SELECT {} FROM ({}) AS q({})", texts.join(" || '|' || "), reflection.query, named.join(", "));
        let mut session = self.session("root");
        // a session answers one row a word; words hold no blank here but in times
        let said = ask(&mut session, &format!("SELECT replace(x, ' ', 'T') FROM ({sql}) AS y(x)")).await;
        let mut lines: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Paths of all files of what is stored.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let (mut folders, mut files) = (vec![self.folder.path().join("w")], vec![]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        files.retain(|path| path.display().to_string().contains(UNNAMED));
        files
    }

    async fn same(&self, name: &str, about: &str) {
        assert_eq!(self.stored(name).await.unwrap(), self.computed(name).await, "{name} {about}");
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn seed() -> u64 {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("LAKEGATE_SEED={seed}");
    seed
}

const GROUPS: &str = "CREATE REFLECTION groups ON s.t USING DIMENSIONS (g, date_trunc('day', at)) \
    MEASURES (sum(v), avg(w), min(v), max(at), count(g))";
const COLUMNS: &str = "CREATE REFLECTION columns ON s.t USING DISPLAY (k, v, at) SORT BY (at)";
const QUERY: &str = "CREATE REFLECTION query REFRESH MANUAL AS SELECT g, count(*) FROM s.t WHERE v > 0 GROUP BY g";
const TOTAL: &str = "CREATE REFLECTION total REFRESH MANUAL AS SELECT count(*), sum(v), min(at) FROM s.t";
const DISTINCT: &str = "CREATE REFLECTION different REFRESH MANUAL AS SELECT g, count(DISTINCT v) FROM s.t GROUP BY g";
const STAR: &str = "CREATE REFLECTION star REFRESH MANUAL AS SELECT count(*), t.g, d.name, sum(t.v), max(t.w) \
                    FROM s.t JOIN s.d ON d.k = t.k GROUP BY t.g, d.name";
const SUMS: &str = "CREATE REFLECTION sums ON s.t USING DIMENSIONS (g) MEASURES (sum(v), avg(w), count(k))";
const SUMMED: &str = "CREATE REFLECTION summed REFRESH MANUAL AS SELECT d.name, count(*), sum(t.v), count(t.v) \
                      FROM s.t JOIN s.d ON d.k = t.k GROUP BY d.name";
const PADDED: &str = "CREATE REFLECTION padded REFRESH MANUAL AS SELECT d.name, t.g, count(*), count(d.k) \
                      FROM s.t LEFT JOIN s.d ON d.k = t.k GROUP BY d.name, t.g";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_what_the_query_comes_to() {
    let place = Place::new().await;
    let mut root = place.session("root");
    for sql in [GROUPS, COLUMNS, QUERY, TOTAL, DISTINCT, SUMS] {
        assert_eq!(ask(&mut root, sql).await, "CREATE REFLECTION");
    }
    use Done::{ByDifference, SameRows, Unmoved, Whole};
    // of `groups`, which keeps least and greatest values, of `sums`, which can take off, and of `different`
    for (sql, expected, sums, distinct) in [
        ("SELECT 1", Whole, Whole, Whole),
        ("SELECT 1", Unmoved, Unmoved, Unmoved),
        (
            "INSERT INTO s.t VALUES (4, 'a', 7, 0.25, '2024-01-01 09:00'), (5, 'c', 1, 1, '2024-02-01')",
            ByDifference,
            ByDifference,
            Whole,
        ),
        ("INSERT INTO s.t VALUES (6, NULL, NULL, NULL, NULL)", ByDifference, ByDifference, Whole),
        ("UPDATE s.t SET v = 11 WHERE k = 1", Whole, ByDifference, Whole),
        // the only row of its group, and the only value of another
        ("DELETE FROM s.t WHERE k = 2", Whole, ByDifference, Whole),
        ("UPDATE s.t SET v = NULL, w = NULL WHERE k = 5", Whole, ByDifference, Whole),
        ("CALL lakegate.compact('s.t')", SameRows, SameRows, Whole),
        ("INSERT INTO s.t VALUES (7, 'a', 2, 3, '2024-01-01 23:59')", ByDifference, ByDifference, Whole),
        ("TRUNCATE s.t", Whole, Whole, Whole),
        ("INSERT INTO s.t VALUES (8, 'z', 2, 3, '2025-01-01')", ByDifference, ByDifference, Whole),
    ] {
        ask(&mut root, sql).await;
        for (name, expected) in [
            ("groups", expected),
            ("columns", expected),
            // one more that counts rows, and sums nothing
            ("query", sums),
            ("total", expected),
            ("sums", sums),
            ("different", distinct),
        ] {
            assert_eq!(place.refresh(name).await, expected, "{name} after {sql}");
            place.same(name, sql).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_grows_by_what_comes_to_one_of_its_tables() {
    let place = Place::new().await;
    let mut root = place.session("root");
    for sql in ["CREATE TABLE s.d (k int4, name text)", "INSERT INTO s.d VALUES (1, 'one'), (2, 'two'), (3, 'three')"] {
        done(&mut root, sql).await;
    }
    for sql in [STAR, SUMMED, PADDED] {
        assert_eq!(ask(&mut root, sql).await, "CREATE REFLECTION");
    }
    let (t, d) = (id(&place, "t"), id(&place, "d"));
    // each row of t has one of d; each of d one of t
    let both = Lossless::from([(d, t), (t, d)]);
    use Done::{ByDifference, SameRows, Whole};
    // of `star`, which keeps greatest values, of `summed`, which can take off, and of `padded`
    for (sql, (star, of_star), (summed, of_summed), padded, of_padded) in [
        ("SELECT 1", (Whole, both.clone()), (Whole, both.clone()), Whole, true),
        (
            "INSERT INTO s.t VALUES (1, 'a', 1, 1)",
            (ByDifference, [(d, t)].into()),
            (ByDifference, [(d, t)].into()),
            ByDifference,
            true,
        ),
        (
            "INSERT INTO s.d VALUES (4, 'four')",
            (ByDifference, [(d, t)].into()),
            (ByDifference, [(d, t)].into()),
            Whole,
            true,
        ),
        ("CALL lakegate.compact('s.d')", (SameRows, [(d, t)].into()), (SameRows, [(d, t)].into()), Whole, true),
        (
            "INSERT INTO s.t VALUES (9, 'a', 1, 1)",
            (ByDifference, [].into()),
            (ByDifference, [].into()),
            ByDifference,
            true,
        ),
        ("INSERT INTO s.d VALUES (9, 'nine')", (ByDifference, [].into()), (ByDifference, [].into()), Whole, true),
        (
            "INSERT INTO s.t VALUES (3, 'a', 2, 1)",
            (ByDifference, [].into()),
            (ByDifference, [].into()),
            ByDifference,
            true,
        ),
        // what was lost is asked again where all is computed
        ("DELETE FROM s.d WHERE k = 4", (Whole, [(d, t)].into()), (ByDifference, [].into()), Whole, true),
        (
            "UPDATE s.t SET v = NULL WHERE k = 9",
            (Whole, [(d, t)].into()),
            (ByDifference, [].into()),
            ByDifference,
            true,
        ),
        ("DELETE FROM s.d WHERE k = 9", (Whole, [].into()), (ByDifference, [].into()), Whole, true),
        ("INSERT INTO s.d VALUES (3, 'III')", (ByDifference, [].into()), (ByDifference, [].into()), Whole, false),
    ] {
        ask(&mut root, sql).await;
        let stored = async |name: &str| place.reflection(name).await.stored.get().unwrap().lossless.clone();
        for (name, done, lossless) in [
            ("star", star, of_star),
            ("summed", summed, of_summed),
            ("padded", padded, if of_padded { [(d, t)].into() } else { Lossless::new() }),
        ] {
            assert_eq!(place.refresh(name).await, done, "{name} after {sql}");
            place.same(name, sql).await;
            assert_eq!(stored(name).await, lossless, "{name} after {sql}");
        }
    }
    // both at once
    done(&mut root, "INSERT INTO s.d VALUES (5, 'five')").await;
    done(&mut root, "INSERT INTO s.t VALUES (5, 'a', 2, 1)").await;
    assert_eq!(place.refresh("star").await, Done::Whole);
    place.same("star", "after both").await;
}

/// What a join loses is asked again of all rows where some went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_went_may_leave_others_alone() {
    let place = Place::new().await;
    let mut root = place.session("root");
    done(&mut root, "CREATE TABLE s.d (k int4, name text)").await;
    done(&mut root, "INSERT INTO s.d SELECT k, 'n' || k FROM generate_series(1, 9) AS k").await;
    done(&mut root, SUMMED).await;
    let (t, d) = (id(&place, "t"), id(&place, "d"));
    let stored = async || place.reflection("summed").await.stored.get().unwrap().lossless.clone();
    assert_eq!(place.refresh("summed").await, Done::Whole);
    assert_eq!(stored().await, [(d, t)].into(), "each row of t has one of d");
    done(&mut root, "DELETE FROM s.d WHERE k = 8").await;
    assert_eq!(place.refresh("summed").await, Done::ByDifference);
    assert_eq!(stored().await, [(d, t)].into(), "no row of t had it");
    done(&mut root, "DELETE FROM s.d WHERE k = 2").await;
    assert_eq!(place.refresh("summed").await, Done::ByDifference);
    place.same("summed", "of two rows").await;
    assert_eq!(stored().await, Lossless::new(), "one row of t is left alone");
}

fn id(place: &Place, table: &str) -> ObjectId {
    place
        .engine
        .world()
        .catalog
        .entries
        .values()
        .find(|e| e.object.name == TableName::new("s", table))
        .unwrap()
        .object
        .id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_changes_by_chance_it_is_the_same_still() {
    const DELETES: usize = 10;
    const COMPACTS: usize = 20;
    let mut random = StdRng::seed_from_u64(seed());
    let place = Place::new().await;
    let mut root = place.session("root");
    for sql in [GROUPS, COLUMNS] {
        assert_eq!(ask(&mut root, sql).await, "CREATE REFLECTION");
    }
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    for step in 0..30 {
        for _ in 0..random.random_range(0..4) {
            let (k, g) = (random.random_range(0..40), ["'a'", "'b'", "'c'", "NULL"][random.random_range(0..4)]);
            let v = ["NULL".to_string(), random.random_range(-9..9).to_string()][random.random_range(0..2)].clone();
            let sql = match random.random_range(0..10) {
                0 => format!("DELETE FROM s.t WHERE k = {k}"),
                1 => format!("UPDATE s.t SET v = {v} WHERE k < {k}"),
                2 => "CALL lakegate.compact('s.t')".to_string(),
                _ => format!(
                    "INSERT INTO s.t VALUES ({k}, {g}, {v}, {k}.5, timestamp '2024-01-01' + interval '7 h' * {k})"
                ),
            };
            done(&mut root, &sql).await;
        }
        // whatever chance did not bring
        if step == DELETES {
            let row = "INSERT INTO s.t VALUES (99, 'a', 1, 1, '2024-01-01')";
            assert_eq!(done(&mut root, row).await, "INSERT 0 1");
            place.refresh("groups").await;
            assert_eq!(done(&mut root, "DELETE FROM s.t WHERE k = 99").await, "DELETE 1");
        }
        if step == COMPACTS {
            for k in 90..97 {
                done(&mut root, &format!("INSERT INTO s.t VALUES ({k}, 'a', 1, 1, '2024-01-01')")).await;
            }
            for name in ["groups", "columns"] {
                place.refresh(name).await;
            }
            done(&mut root, "CALL lakegate.compact('s.t')").await;
        }
        for name in ["groups", "columns"] {
            let way = place.refresh(name).await;
            assert!(step != COMPACTS || way == Done::SameRows, "{name}: {way:?} after files were put together");
            *ways.entry(way.word()).or_default() += 1;
            place.same(name, &format!("at step {step}")).await;
        }
    }
    assert!(["by difference", "whole", "unmoved"].iter().all(|way| ways.contains_key(way)), "{ways:?}");
}

/// Rows that went are taken off what is stored, however the table keeps what is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_by_chance_is_taken_off() {
    let mut random = StdRng::seed_from_u64(seed());
    let place = Place::new().await;
    let mut root = place.session("root");
    for (table, with) in [
        ("positions", ""),
        ("vectors", "WITH (\"format-version\" = '3')"),
        ("copies", "WITH (\"write.delete.mode\" = 'copy-on-write', \"write.update.mode\" = 'copy-on-write')"),
    ] {
        done(&mut root, &format!("CREATE TABLE s.{table} (k int4, g int4, v int4, w numeric(12,2)) {with}")).await;
        for file in 0..6 {
            let rows = format!("generate_series({}, {}) AS k", file * 20, file * 20 + 19);
            let row = "k, k % 5, nullif(k % 7, 3), k / 4.0";
            done(&mut root, &format!("INSERT INTO s.{table} SELECT {row} FROM {rows}")).await;
        }
        let (sums, total) = (format!("{table}_sums"), format!("{table}_total"));
        let measures = "MEASURES (sum(v), avg(w)) REFRESH MANUAL";
        done(&mut root, &format!("CREATE REFLECTION {sums} ON s.{table} USING DIMENSIONS (g) {measures}")).await;
        let query = format!("SELECT count(*), sum(v), count(v), sum(w), count(w) FROM s.{table} WHERE g <> 1");
        done(&mut root, &format!("CREATE REFLECTION {total} REFRESH MANUAL AS {query}")).await;
        for step in 0..12 {
            for _ in 0..random.random_range(1..3) {
                let (k, g) = (random.random_range(0..120), random.random_range(0..6));
                let sql = match random.random_range(0..8) {
                    0..3 => format!("DELETE FROM s.{table} WHERE k BETWEEN {k} AND {}", k + g),
                    3..5 => format!("UPDATE s.{table} SET g = {g}, v = nullif(v, {g}) WHERE k = {k}"),
                    5 => format!("UPDATE s.{table} SET w = w + 1 WHERE k = {k}"),
                    6 => format!("INSERT INTO s.{table} VALUES ({k}, {g}, NULL, {k}), ({k}, NULL, {g}, NULL)"),
                    _ => format!("DELETE FROM s.{table} WHERE g = 0 AND k < {k}"),
                };
                done(&mut root, &sql).await;
            }
            for name in [&sums, &total] {
                place.refresh(name).await;
                place.same(name, &format!("at step {step}")).await;
            }
        }
        done(&mut root, &format!("INSERT INTO s.{table} VALUES (500, 77, 1, 1)")).await;
        place.refresh(&sums).await;
        place.refresh(&total).await;
        done(&mut root, &format!("DELETE FROM s.{table} WHERE k = 500")).await;
        for name in [&sums, &total] {
            assert_eq!(place.refresh(name).await, Done::ByDifference, "{name}");
            place.same(name, "once its last row is gone").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_what_is_there_and_others_hands_are_noticed() {
    let place = Place::new().await;
    assert_eq!(ask(&mut place.session("ann"), GROUPS).await, "CREATE REFLECTION");
    place.refresh("groups").await;
    let (before, rows) = (place.reflection("groups").await.stored.get().unwrap(), place.stored("groups").await);
    let place = place.again().await;
    assert!(place.reflection("groups").await.stored.get().is_none());
    let mut refreshing = place.refreshing();
    refreshing.round().await;
    let after = place.reflection("groups").await.stored.get().unwrap();
    assert_eq!((&after.bases, place.stored("groups").await), (&before.bases, rows));
    assert_eq!(place.refresh("groups").await, Done::Unmoved);
    // somebody else adds a row to it
    let task = task(&place, "groups").await;
    let lake = task.lake().unwrap();
    let table = lake.lake.table(&lake.lake.key(UNNAMED, &task.table_name())).await.unwrap().unwrap();
    let removed = lake.lake.files(&table).await.unwrap();
    let action = Action::Overwrite { removed, added: Default::default() };
    lake.lake.commit(vec![Staged::new(table, vec![action], BatchId::new())], &Default::default()).await.unwrap();
    assert_eq!(task.load().await.unwrap(), None);
    assert_eq!(place.refresh("groups").await, Done::Whole);
    place.same("groups", "once made again").await;
    // but put in order it is what it was
    let state = place.engine.own_state();
    let key = lake.lake.key(UNNAMED, &task.table_name());
    lake.lake.compact(&state, &key, Selection::All, None, &Job::unseen()).await.unwrap();
    assert!(task.load().await.unwrap().is_some());
}

async fn task(place: &Place, name: &str) -> Task {
    let home = home(&place.metastore).await.unwrap();
    let reflection = place.reflection(name).await;
    Task::new(&place.engine, &place.engine.world(), &reflection, &home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refreshes_and_the_other_does_not() {
    let place = Place::new().await;
    assert_eq!(ask(&mut place.session("root"), GROUPS).await, "CREATE REFLECTION");
    let task = task(&place, "groups").await;
    let (lake, job) = (task.lake().unwrap(), Job::unseen());
    let metastore = lake.lake.metastore();
    let name = format!("reflection.{}", task.table_name());
    let lease = metastore.take_lease(&name, "another process", 60_000).await.unwrap().unwrap();
    assert_eq!(Box::pin(task.try_run(&lake, &job)).await.unwrap(), None, "it is somebody else's");
    assert!(place.reflection("groups").await.stored.get().is_none());
    // whoever was overtaken commits nothing
    let later = metastore.release_lease(&lease).await;
    later.unwrap();
    let overtaken = metastore.take_lease(&name, "a third one", 60_000).await.unwrap().unwrap();
    assert_eq!(task.refresh(&lake, &lease, &job).await.unwrap_err().kind(), Kind::Conflict);
    assert!(place.reflection("groups").await.stored.get().is_none());
    metastore.release_lease(&overtaken).await.unwrap();
    let both = (Box::pin(task.run(&job)), Box::pin(task.run(&job)));
    let (one, other) = tokio::join!(both.0, both.1);
    let mut ways = [one.unwrap(), other.unwrap()].map(Done::word);
    ways.sort_unstable();
    assert_eq!(ways, ["unmoved", "whole"]);
    place.same("groups", "after both").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_definition_is_made_anew_and_what_nobody_wants_goes() {
    let place = Place::new().await;
    let mut root = place.session("root");
    let mut refreshing = place.refreshing();
    ask(&mut root, GROUPS).await;
    ask(&mut root, COLUMNS).await;
    place.reflection("columns").await;
    for _ in 0..3 {
        refreshing.round().await;
        refreshing.settle().await;
    }
    let lake = task(&place, "groups").await.lake().unwrap();
    assert_eq!(lake.all_unnamed().await.unwrap().len(), 2);
    let before = place.files();
    place.same("columns", "made by the rounds").await;
    assert_eq!(ask(&mut root, "DROP REFLECTION columns").await, "DROP REFLECTION");
    place.until(|world| world.reflections.named("columns").is_none()).await;
    refreshing.round().await;
    assert_eq!(lake.all_unnamed().await.unwrap().len(), 1);
    assert_eq!(ask(&mut root, "DROP REFLECTION groups").await, "DROP REFLECTION");
    place.until(|world| world.reflections.named("groups").is_none()).await;
    let other = "CREATE REFLECTION groups ON s.t USING DIMENSIONS (k) MEASURES (sum(v)) REFRESH ON COMMIT";
    assert_eq!(ask(&mut root, other).await, "CREATE REFLECTION");
    place.reflection("groups").await;
    refreshing.round().await;
    refreshing.settle().await;
    place.same("groups", "of another definition").await;
    // what was stored of the two before is no more, once nobody reads it
    root = place.session("root");
    let begin = std::time::Instant::now();
    while place.files().iter().any(|file| before.contains(file)) {
        assert!(begin.elapsed() < Duration::from_secs(60), "files stay: {:?}", place.files());
        lake.sweep_dropped(Duration::ZERO).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!before.is_empty() && !place.files().is_empty());
    place.same("groups", "after others' files went").await;
    // soon after a commit, and not before
    ask(&mut root, "INSERT INTO s.t VALUES (99, 'q', 1, 1, NULL)").await;
    refreshing.round().await;
    refreshing.settle().await;
    place.same("groups", "after a commit").await;
    let seen = place.engine.shared.reflections.all();
    assert_eq!((seen.len(), seen[0].state.word(), seen[0].rows), (1, "ready", Some(4)));
    assert_eq!(ask(&mut root, "ALTER REFLECTION groups SET ENABLED = FALSE").await, "ALTER REFLECTION");
    place.until(|world| world.reflections.named("groups").is_some_and(|r| !r.enabled)).await;
    ask(&mut root, "INSERT INTO s.t VALUES (100, 'q', 1, 1, NULL)").await;
    refreshing.round().await;
    refreshing.settle().await;
    assert_eq!(place.stored("groups").await.unwrap().len(), 4, "it rests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_make_one_and_who_is_told_of_it() {
    let place = Place::new().await;
    let [mut root, mut ann, mut bob] = ["root", "ann", "bob"].map(|user| place.session(user));
    assert_eq!(ask(&mut bob, COLUMNS).await, "42501 permission denied for table t");
    assert_eq!(ask(&mut ann, COLUMNS).await, "CREATE REFLECTION");
    place.reflection("columns").await;
    assert_eq!(ask(&mut ann, COLUMNS).await, "42P07 reflection \"columns\" already exists");
    assert_eq!(ask(&mut root, "REFRESH REFLECTION columns").await, "REFRESH REFLECTION");
    for sql in ["DROP REFLECTION columns", "ALTER REFLECTION columns SET REFRESH MANUAL", "REFRESH REFLECTION columns"]
    {
        assert_eq!(ask(&mut bob, sql).await, "42704 reflection \"columns\" does not exist", "{sql}");
    }
    assert_eq!(ask(&mut bob, "DROP REFLECTION IF EXISTS columns").await, "DROP REFLECTION");
    place.refreshing().round().await;
    let of = "SELECT count(*) FROM lakegate.reflections";
    for (session, count) in [(&mut root, "1"), (&mut ann, "1"), (&mut bob, "0")] {
        assert_eq!(ask(session, of).await, count);
    }
    assert_eq!(
        ask(&mut ann, "SELECT name, owner, tables, refresh, state, rows FROM lakegate.reflections").await,
        "columns ann s.t EVERY 5 MINUTE ready 3"
    );
    for (sql, fault) in [
        ("CREATE REFLECTION x AS SELECT * FROM s.nothing", "42P01 relation \"s.nothing\" does not exist"),
        ("CREATE REFLECTION x AS SELECT now() AS a FROM s.t", "0A000 a reflection with now(), which does not"),
        ("CREATE REFLECTION x AS SELECT relname FROM pg_class", "42P17 a reflection reads a table"),
        ("CREATE REFLECTION x AS SELECT 1 AS a", "42P17 a reflection reads a table"),
        ("CREATE REFLECTION x ON s.t USING DISPLAY (nothing)", "42703 column \"nothing\" does not exist"),
        ("CREATE REFLECTION x ON s.t USING DISPLAY (k) SORT BY (v)", "42703 column \"v\" is not in the reflection"),
        ("DROP REFLECTION x", "42704 reflection \"x\" does not exist"),
    ] {
        let said = ask(&mut root, sql).await;
        assert!(said.starts_with(fault), "{sql}: {said}");
    }
    assert_eq!(
        ask(&mut root, "BEGIN; DROP REFLECTION columns").await,
        "25001 DROP REFLECTION cannot run inside a transaction block"
    );
    ask(&mut root, "ROLLBACK").await;
    assert_eq!(ask(&mut ann, "DROP REFLECTION columns").await, "DROP REFLECTION");
    place.until(|world| world.reflections.named("columns").is_none()).await;
    place.refreshing().round().await;
    assert_eq!(ask(&mut ann, of).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_has_no_name() {
    let place = Place::new().await;
    let mut root = place.session("root");
    ask(&mut root, COLUMNS).await;
    place.refresh("columns").await;
    let table = task(&place, "columns").await.table_name();
    let looks = [
        format!("SELECT * FROM lakegate_reflections.{table}"),
        format!("SELECT * FROM \"lakegate_reflections\".\"{table}$files\""),
        format!("INSERT INTO lakegate_reflections.{table} VALUES (1)"),
        format!("DROP TABLE lakegate_reflections.{table}"),
        format!("TRUNCATE lakegate_reflections.{table}"),
        format!("ALTER TABLE lakegate_reflections.{table} RENAME TO x"),
        format!("CALL lakegate.compact('lakegate_reflections.{table}')"),
        format!("CREATE VIEW s.v AS SELECT * FROM lakegate_reflections.{table}"),
        format!("CREATE REFLECTION x ON lakegate_reflections.{table} USING DISPLAY (k)"),
        format!("COPY lakegate_reflections.{table} TO STDOUT"),
    ];
    for sql in &looks {
        let said = ask(&mut root, sql).await;
        assert!(said.starts_with("42P01") || said.starts_with("3F000"), "{sql}: {said}");
    }
    for sql in ["CREATE SCHEMA lakegate_reflections", "ALTER SCHEMA s RENAME TO lakegate_reflections"] {
        let said = ask(&mut root, sql).await;
        assert!(said.starts_with("42939") || said.starts_with("0A000"), "{sql}: {said}");
    }
    for sql in [
        "CREATE TABLE lakegate_reflections.x (a int)",
        "CREATE TABLE lakegate_reflections.x AS SELECT 1 AS a",
        "ALTER TABLE s.t SET SCHEMA lakegate_reflections",
    ] {
        let said = ask(&mut root, sql).await;
        assert!(said.starts_with("3F000"), "{sql}: {said}");
    }
    let listed = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'lakegate_reflections'";
    assert_eq!(ask(&mut root, listed).await, "0");
    assert_eq!(ask(&mut root, "SELECT count(*) FROM pg_namespace WHERE nspname = 'lakegate_reflections'").await, "0");
}

/// What is no error.
async fn done(session: &mut Session, sql: &str) -> String {
    let said = ask(session, sql).await;
    // rows may be numbers; an error is a SQLSTATE and its message
    let is_state = |word: &str| word.len() == 5 && word.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let first = said.split(' ').next().unwrap_or_default();
    assert!(!is_state(first) || !first.starts_with(|c: char| c.is_ascii_digit()), "{sql}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_of_other_columns_answers_for_none_of_their_names() {
    let place = Place::new().await;
    let mut root = place.session("root");
    // no condition of a policy names its columns
    let made = "CREATE TABLE s.u (k int4, g text, v int4)";
    done(&mut root, made).await;
    done(&mut root, "INSERT INTO s.u VALUES (1, 'a', 10), (2, 'b', NULL), (3, NULL, -5)").await;
    let sums = "CREATE REFLECTION sums ON s.u USING DIMENSIONS (g) MEASURES (sum(v), sum(k))";
    done(&mut root, sums).await;
    let swap = ["v TO spare", "k TO v", "spare TO k"].map(|names| format!("ALTER TABLE s.u RENAME COLUMN {names}"));
    let add = "ALTER TABLE s.u ADD COLUMN v int4".to_string();
    let insert = "INSERT INTO s.u (k, g, v) VALUES (40, 'a', 4), (50, 'd', 5)".to_string();
    let rename = "ALTER TABLE s.u RENAME COLUMN v TO gross".to_string();
    let drop = "ALTER TABLE s.u DROP COLUMN v".to_string();
    for changes in [
        vec![rename.clone(), add.clone()],
        vec![insert.clone()],
        vec![drop, add.clone()],
        vec![insert.clone()],
        swap.to_vec(),
        [vec![insert.clone()], swap.to_vec()].concat(),
        vec!["DROP TABLE s.u".into(), made.into(), insert.clone()],
    ] {
        place.refresh("sums").await;
        place.same("sums", "before").await;
        let print = place.reflection("sums").await.upkeep.print;
        for sql in &changes {
            done(&mut root, sql).await;
        }
        if changes == [insert.clone()] {
            continue;
        }
        let is_another = |world: &World| world.reflections.named("sums").is_some_and(|now| now.upkeep.print != print);
        place.until(is_another).await;
        assert_eq!(place.stored("sums").await, None, "{changes:?}");
        assert_eq!(task(&place, "sums").await.load().await.unwrap(), None, "{changes:?}");
        assert_eq!(place.refresh("sums").await, Done::Whole, "{changes:?}");
        place.same("sums", &format!("after {changes:?}")).await;
    }
    // nor within a transaction, where there is no other world yet
    done(&mut root, "INSERT INTO s.u VALUES (1, 'a', 10)").await;
    place.refresh("sums").await;
    for sql in ["BEGIN", rename.as_str(), add.as_str()] {
        done(&mut root, sql).await;
    }
    assert_eq!(ask(&mut root, "SELECT coalesce(sum(v), 0) FROM s.u").await, "0");
    done(&mut root, "ROLLBACK").await;
    // a column that it does not read is nothing to it
    let before = place.reflection("sums").await;
    done(&mut root, "ALTER TABLE s.u ADD COLUMN more int4").await;
    let has_more = |world: &World| {
        let name = TableName::new("s", "u");
        world.catalog.entries.get(&name).is_some_and(|t| t.object.schema.column_with_name("more").is_some())
    };
    place.until(has_more).await;
    let after = place.reflection("sums").await;
    assert!(Arc::ptr_eq(&before.stored, &after.stored), "it is stored still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_tables_are_not_there_is_shown_to_whoever_sees_all_of_them_still() {
    let place = Place::new().await;
    let [mut root, mut ann, mut bob] = ["root", "ann", "bob"].map(|user| place.session(user));
    done(&mut root, COLUMNS).await;
    place.refresh("columns").await;
    let mut refreshing = place.refreshing();
    refreshing.round().await;
    refreshing.tell(&without_tables(&place));
    let of = "SELECT count(*) FROM lakegate.reflections";
    for (session, count) in [(&mut root, "1"), (&mut ann, "1"), (&mut bob, "0")] {
        assert_eq!(ask(session, of).await, count);
    }
    // of what is not known nobody sees all
    for bases in [vec![], vec![ObjectId(7)]] {
        let mut seen = place.engine.shared.reflections.all().to_vec();
        seen[0].bases = bases;
        place.engine.shared.reflections.put(seen);
        for (session, count) in [(&mut root, "1"), (&mut ann, "0"), (&mut bob, "0")] {
            assert_eq!(ask(session, of).await, count);
        }
    }
}

/// The world now, as if the lake did not answer.
fn without_tables(place: &Place) -> World {
    let world = place.engine.world();
    let mut without = world.for_server(None);
    without.reflections = Arc::clone(&world.reflections);
    Arc::make_mut(&mut without.catalog).entries.retain(|name, _| name.schema != "s");
    without
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_sees_less_now_may_only_drop_it() {
    let place = Place::new().await;
    let mut ann = place.session("ann");
    done(&mut ann, COLUMNS).await;
    place.reflection("columns").await;
    done(&mut ann, "REFRESH REFLECTION columns").await;
    write(place.folder.path(), "policies/policy.csv", &format!("{ADMIN}{OTHERS}p2, ann, s.t, \"k > 1\"\n"));
    let begin = std::time::Instant::now();
    while ask(&mut ann, "SELECT count(*) FROM s.t").await != "2" {
        assert!(begin.elapsed() < Duration::from_secs(60), "her rights do not change");
        tokio::task::yield_now().await;
    }
    for sql in [
        "REFRESH REFLECTION columns",
        "ALTER REFLECTION columns SET REFRESH MANUAL",
        "ALTER REFLECTION columns SET ENABLED = FALSE",
    ] {
        assert_eq!(ask(&mut ann, sql).await, "42501 permission denied for reflection columns", "{sql}");
    }
    assert_eq!(ask(&mut ann, "DROP REFLECTION columns").await, "DROP REFLECTION");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_who_sees_no_rows_is_told_no_value_of_them() {
    let place = Place::new().await;
    let [mut root, mut ann, mut sue] = ["root", "ann", "sue"].map(|user| place.session(user));
    done(&mut root, "CREATE REFLECTION bad AS SELECT g::int4 AS n FROM s.t").await;
    place.reflection("bad").await;
    let refresh = "REFRESH REFLECTION bad";
    let told = "it could not be computed (22P02); whoever sees all of its tables is told why";
    let whole = ask(&mut root, refresh).await;
    assert!(whole.starts_with("22P02") && !whole.contains(told), "{whole}");
    assert_eq!(ask(&mut sue, refresh).await, format!("22P02 {told}"));
    let mut refreshing = place.refreshing();
    refreshing.round().await;
    refreshing.settle().await;
    let of = "SELECT state, error FROM lakegate.reflections";
    assert_eq!(ask(&mut sue, of).await, format!("failing {told}"));
    for session in [&mut root, &mut ann] {
        assert_eq!(ask(session, of).await, whole.replacen("22P02", "failing", 1));
    }
    let jobs = "SELECT detail FROM lakegate.jobs WHERE kind = 'refresh_reflection' AND state = 'failed'";
    assert_eq!(ask(&mut sue, jobs).await, vec![format!("reflection bad: {told}"); 3].join(" "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_puts_nothing_off_and_a_panic_does() {
    let place = Place::new().await;
    let mut root = place.session("root");
    let mut refreshing = place.refreshing();
    done(&mut root, &format!("{COLUMNS} REFRESH ON COMMIT")).await;
    place.reflection("columns").await;
    refreshing.round().await;
    refreshing.settle().await;
    place.same("columns", "at first").await;
    for _ in 0..20 {
        refreshing.over(Arc::new(without_tables(&place))).await;
    }
    let state = || {
        let seen = place.engine.shared.reflections.all();
        (seen[0].state.word(), seen[0].error.clone())
    };
    assert_eq!(state(), ("ready", Some("a table that the reflection reads is not there".into())));
    done(&mut root, "INSERT INTO s.t VALUES (9, 'z', 2, 3, '2025-01-01')").await;
    refreshing.round().await;
    refreshing.settle().await;
    place.same("columns", "as soon as its table answers").await;
    assert_eq!(state(), ("ready", None));
    let print = place.reflection("columns").await.upkeep.print;
    refreshing.begin("columns".into(), print, async { panic!("a fault of ours") });
    refreshing.settle().await;
    assert_eq!(state(), ("failing", Some("internal error".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_behind_those_that_are_always_due() {
    let place = Place::new().await;
    let mut root = place.session("root");
    let mut refreshing = place.refreshing();
    for name in ["a", "b", "c"] {
        done(&mut root, &format!("CREATE REFLECTION {name} ON s.t USING DISPLAY (k) REFRESH ON COMMIT")).await;
        place.reflection(name).await;
    }
    for round in 0..2 {
        done(&mut root, &format!("INSERT INTO s.t (k) VALUES ({round})")).await;
        refreshing.round().await;
        refreshing.settle().await;
    }
    for name in ["a", "b", "c"] {
        assert!(place.stored(name).await.is_some(), "{name} had no turn");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_alter_says_is_judged_before_it_is_kept() {
    let place = Place::new().await;
    let source = "kind = \"memory\"\n[[table]]\nname = \"shop.sales\"\n\
        columns = [{ name = \"id\", type = \"int8\" }]\nrows = [[1], [2]]\n";
    write(place.folder.path(), "catalog/sources/shop.toml", source);
    place.until(|world| world.catalog.entries.contains_key(&TableName::new("shop", "sales"))).await;
    let mut root = place.session("root");
    done(&mut root, "CREATE REFLECTION ids ON shop.sales USING DISPLAY (id)").await;
    let before = place.reflection("ids").await.upkeep.refresh;
    let said = ask(&mut root, "ALTER REFLECTION ids SET REFRESH ON COMMIT").await;
    assert!(said.starts_with("0A000 REFRESH ON COMMIT: shop.sales is no table of a lake"), "{said}");
    assert_eq!(ask(&mut root, "ALTER REFLECTION ids SET ENABLED = FALSE").await, "ALTER REFLECTION");
    place.until(|world| world.reflections.named("ids").is_some_and(|ids| !ids.enabled)).await;
    assert_eq!(place.reflection("ids").await.upkeep.refresh, before);
}
