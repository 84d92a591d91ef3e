//! Tables as pipelines' origins in a whole gateway: read whole and by a column that grows, on a schedule and when somebody asks,
//! by ingesters that die at each arrow; and how admins operate pipelines over SQL.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::home::PATIENCE;
use super::kill::{ABORTED, POINTS};
use crate::gateway::{Files, Gateway, simple, until};

const POLICY: &str = "p, root, *, select, allow\np2, root, *, unfiltered\np, root, *, create, allow\np, root, *, insert, allow\n\
                      p, root, *, update, allow\np, root, *, delete, allow\np, root, *, drop, allow\n\
                      p, root, lakegate.admin, select, allow\n\
                      p, eve, copies.added, select, allow\n";

fn pipeline(mode: &str, write: &str, to: &str, more: &str) -> String {
    format!(
        "origin = \"table\"\nmode = \"{mode}\"\nwrite = \"{write}\"\ntarget = \"copies\"\n[commit]\nage_ms = 20\n\
         [table]\nname = \"shop.orders\"\nto = \"{to}\"\n{more}\n"
    )
}

/// By key, each change a row, and whole.
fn pipelines() -> [(&'static str, String); 3] {
    let often = "every = \"100 ms\"";
    let (by, key) = (format!("cursor = \"at\"\n{often}"), "key_columns = [\"id\"]");
    [
        ("kept", pipeline("incremental", "upsert", "kept", &format!("{by}\n{key}"))),
        ("added", pipeline("incremental", "append", "added", &by)),
        ("whole", pipeline("full_refresh", "replace", "whole", often)),
    ]
}

fn write(dir: &Path, pipelines: &[(&str, String)]) {
    std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
    for (name, text) in pipelines {
        std::fs::write(dir.join(format!("catalog/pipelines/{name}.toml")), text).unwrap();
    }
}

fn files(settings: &str) -> Files {
    let users = vec![("root".to_string(), String::new()), ("eve".to_string(), String::new())];
    Files { policy: POLICY.into(), users, settings: settings.into(), ..Files::default() }.with_lake()
}

const INGEST: &str = "[ingest]\nlook_ms = 50\nlease_ms = 500\nstopped_ms = 100\nretry_ms_max = 200\n";

async fn shop(gateway: &Gateway) -> Client {
    let root = gateway.connect("root").await;
    for sql in ["CREATE SCHEMA shop", "CREATE TABLE shop.orders (id int8, at timestamptz, total numeric, city text)"] {
        simple(&root, sql).await;
    }
    root
}

/// Rows of `shop.orders` that a copy lacks, and rows that it has besides; nothing of either is `0|0`.
fn beside(copy: &str) -> String {
    let (of, copied) =
        ("SELECT id, at, total, city FROM shop.orders", format!("SELECT id, at, total, city FROM copies.{copy}"));
    format!(
        "SELECT (SELECT count(*) FROM ({of} EXCEPT ALL {copied}) a), (SELECT count(*) FROM ({copied} EXCEPT ALL {of}) b), \
         (SELECT count(*) FROM copies.{copy})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_any_type_whose_values_have_an_order() {
    let columns = [
        ("small", "smallint", "i"),
        ("whole", "integer", "i * 100000"),
        ("big", "bigint", "i * 10000000000"),
        ("exact", "numeric(12,3)", "i / 7.0"),
        ("day", "date", "date '1969-12-25' + i"),
        ("at", "timestamp", "timestamp '1969-12-25 10:00' + i * interval '1 day'"),
        ("user", "timestamptz", "timestamptz '1969-12-25 10:00+02' + i * interval '1 day'"),
    ];
    let pipelines: Vec<(&str, String)> = columns
        .iter()
        .map(|(name, ..)| {
            let by = format!("cursor = \"{name}\"\nevery = \"100 ms\"");
            (*name, pipeline("incremental", "append", &format!("by_{name}"), &by).replace("shop.orders", "shop.table"))
        })
        .collect();
    let policy = POLICY.replace("p, eve, copies.added, select, allow\n", "");
    let files = Files { policy, ..files(INGEST) };
    let gateway = Gateway::start_after(&files, async |dir: &Path| write(dir, &pipelines)).await;
    let root = gateway.connect("root").await;
    let declared = columns.map(|(name, of, _)| format!("\"{name}\" {of}")).join(", ");
    for sql in ["CREATE SCHEMA shop", &format!("CREATE TABLE shop.table ({declared})")] {
        assert_eq!(simple(&root, sql).await, "(0)", "{sql}");
    }
    let values = columns.map(|(.., value)| value).join(", ");
    for (from, to) in [(0, 40), (41, 50)] {
        let insert = format!("INSERT INTO shop.table SELECT {values} FROM generate_series({from}, {to}) AS s(i)");
        assert_eq!(simple(&root, &insert).await, format!("({})", to - from + 1));
        for (name, ..) in columns {
            let names = columns.map(|(name, ..)| format!("\"{name}\"")).join(", ");
            let (of, copied) =
                (format!("SELECT {names} FROM shop.table"), format!("SELECT {names} FROM copies.by_{name}"));
            let left = format!(
                "SELECT (SELECT count(*) FROM ({of} EXCEPT ALL {copied}) a), (SELECT count(*) FROM ({copied} EXCEPT ALL {of}) b)"
            );
            until(&root, &left, |answer| answer == "0|0\n(1)").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_followed_by_its_cursor_and_whole() {
    let gateway = Gateway::start_after(&files(INGEST), async |dir: &Path| write(dir, &pipelines())).await;
    let root = shop(&gateway).await;
    let insert = "INSERT INTO shop.orders SELECT i, '2026-01-01 00:00:00+00'::timestamptz + (i / 10) * interval '1 s', \
                  i / 4.0, 'town ' || i FROM generate_series(0, 4999) AS s(i)";
    assert_eq!(simple(&root, insert).await, "(5000)");
    for copy in ["kept", "added", "whole"] {
        until(&root, &beside(copy), |answer| answer == "0|0|5000\n(1)").await;
    }
    // As many as there are with the highest value, and one of equal content.
    let ties = "INSERT INTO shop.orders SELECT id + 10000, at, total, city FROM shop.orders WHERE id >= 4995";
    assert_eq!(simple(&root, ties).await, "(5)");
    let twice = "INSERT INTO shop.orders SELECT * FROM shop.orders WHERE id = 4999";
    assert_eq!(simple(&root, twice).await, "(1)");
    until(&root, &beside("added"), |answer| answer == "0|0|5006\n(1)").await;
    until(&root, &beside("whole"), |answer| answer == "0|0|5006\n(1)").await;
    // What has a key is there once; what changes comes again, above the cursor and among its ties.
    let counts = |copy: &str| format!("SELECT count(*), count(DISTINCT id) FROM copies.{copy}");
    until(&root, &counts("kept"), |answer| answer == "5005|5005\n(1)").await;
    assert_eq!(simple(&root, "DELETE FROM shop.orders WHERE id = 4999").await, "(2)");
    assert_eq!(
        simple(&root, "INSERT INTO shop.orders VALUES (4999, '2026-01-02 00:00:00+00', 1.50, 'x')").await,
        "(1)"
    );
    let changed = "UPDATE shop.orders SET city = 'y', at = '2026-01-02 00:00:00+00' WHERE id IN (1, 2)";
    assert_eq!(simple(&root, changed).await, "(2)");
    until(&root, &beside("kept"), |answer| answer == "0|0|5005\n(1)").await;
    until(&root, &beside("whole"), |answer| answer == "0|0|5005\n(1)").await;
    // A row that becomes what it was is followed there and back, though its cursor says nothing of it.
    for city in ["there", "y"] {
        let changed = format!("UPDATE shop.orders SET city = '{city}' WHERE id = 1");
        assert_eq!(simple(&root, &changed).await, "(1)");
        until(&root, &beside("kept"), |answer| answer == "0|0|5005\n(1)").await;
    }
    let added = "SELECT count(*), count(*) FILTER (WHERE id IN (1, 2, 4999)) FROM copies.added";
    until(&root, added, |answer| answer == "5010|8\n(1)").await;
    // Where each row came from, in an order.
    let order = "SELECT count(DISTINCT _position), min(_source), max(_op) FROM copies.added";
    assert_eq!(simple(&root, order).await, "5010|shop.orders|insert\n(1)");
    // Over a restart nothing comes twice, and columns that come are followed.
    let gateway = Box::pin(Gateway::again(gateway.stop().await)).await;
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "ALTER TABLE shop.orders ADD COLUMN note text").await, "(0)");
    let noted = "INSERT INTO shop.orders VALUES (6000, '2026-01-02 00:00:00+00', 2.5, 'z', 'n')";
    assert_eq!(simple(&root, noted).await, "(1)");
    for copy in ["kept", "added", "whole"] {
        let notes = format!("SELECT id, note FROM copies.{copy} WHERE note IS NOT NULL");
        until(&root, &notes, |answer| answer == "6000|n\n(1)").await;
    }
    assert_eq!(simple(&root, &beside("kept")).await, "0|0|5006\n(1)");
    until(&root, "SELECT count(*) FROM copies.added", |answer| answer == "5011\n(1)").await;
    // Rows that would never come are told of.
    assert_eq!(simple(&root, "INSERT INTO shop.orders VALUES (7000, NULL, 0, '')").await, "(1)");
    let state = "SELECT state, error FROM lakegate.pipelines WHERE pipeline = 'kept'";
    let told = "paused|1 rows of \"shop.orders\" have no value in \"at\", and would never be taken in\n(1)";
    until(&root, state, |answer| answer == told).await;
    assert_eq!(simple(&root, "DELETE FROM shop.orders WHERE id = 7000").await, "(1)");
    until(&root, state, |answer| answer == "streaming|∅\n(1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_operates_pipelines_and_nobody_else_knows_of_one() {
    let asked = [
        ("asked", pipeline("full_refresh", "replace", "asked", "every = \"manual\"")),
        ("added", pipelines()[1].1.clone()),
    ];
    let gateway = Gateway::start_after(&files(INGEST), async |dir: &Path| write(dir, &asked)).await;
    let (root, eve) = (shop(&gateway).await, gateway.connect("eve").await);
    let insert = |id: i64| format!("INSERT INTO shop.orders VALUES ({id}, '2026-01-01 00:00:00+00', 1, 'a')");
    simple(&root, &insert(1)).await;
    let state = |name: &str| format!("SELECT state FROM lakegate.pipelines WHERE pipeline = '{name}'");
    until(&root, "SELECT id FROM copies.added", |answer| answer == "1\n(1)").await;
    until(&root, &state("asked"), |answer| answer == "streaming\n(1)").await;
    assert_eq!(simple(&root, "SELECT count(*) FROM copies.asked").await, "0\n(1)", "nobody asked");
    assert_eq!(simple(&root, "CALL lakegate.run_pipeline('asked')").await, "asked\n(0)");
    until(&root, "SELECT id FROM copies.asked", |answer| answer == "1\n(1)").await;
    // To whoever is no admin a pipeline is what none is.
    let none = |name: &str| format!("ERROR 42704 pipeline \"{name}\" does not exist");
    for procedure in ["pause_pipeline", "resume_pipeline", "resync_pipeline", "run_pipeline", "replay_dead_letters"] {
        assert_eq!(simple(&eve, &format!("CALL lakegate.{procedure}('added')")).await, none("added"), "{procedure}");
        assert_eq!(simple(&root, &format!("CALL lakegate.{procedure}('none')")).await, none("none"), "{procedure}");
    }
    let other = "ERROR 22023 go_on_from must be one of earliest, latest, snapshot, property";
    assert_eq!(simple(&root, "CALL lakegate.resume_pipeline('added', 'here')").await, other);
    let running = simple(&root, "CALL lakegate.resync_pipeline('added')").await;
    assert!(running.starts_with("ERROR 40001 pipeline \"added\" is running"), "{running}");
    // It rests, and goes on where it was.
    until(&root, &state("added"), |answer| answer == "streaming\n(1)").await;
    assert_eq!(simple(&root, "CALL lakegate.pause_pipeline('added')").await, "added\n(0)");
    until(&root, &state("added"), |answer| answer == "paused\n(1)").await;
    simple(&root, &insert(2)).await;
    assert_eq!(simple(&root, "CALL lakegate.resume_pipeline(pipeline => 'added')").await, "(0)");
    until(&root, "SELECT id FROM copies.added ORDER BY 1", |answer| answer == "1\n2\n(2)").await;
    // Anew, and from now on.
    simple(&root, "CALL lakegate.pause_pipeline('added')").await;
    let again = async |sql: &str| until(&root, sql, |answer| !answer.starts_with("ERROR 40001")).await;
    again("CALL lakegate.resync_pipeline('added')").await;
    until(&root, "SELECT id FROM copies.added ORDER BY 1", |answer| answer == "1\n2\n(2)").await;
    // What is noted is looked at now and then: it is of now once it has changed.
    until(&root, &state("added"), |answer| answer == "streaming\n(1)").await;
    simple(&root, "CALL lakegate.pause_pipeline('added')").await;
    until(&root, &state("added"), |answer| answer == "paused\n(1)").await;
    simple(&root, &insert(3)).await;
    again("CALL lakegate.resume_pipeline('added', go_on_from => 'latest')").await;
    simple(&root, &insert(4)).await;
    until(&root, "SELECT id FROM copies.added ORDER BY 1", |answer| answer == "1\n2\n4\n(3)").await;
    let nothing = simple(&root, "CALL lakegate.replay_dead_letters('added')").await;
    assert_eq!(nothing, "copies.added|0|0|0\n(0)");
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ingester(gateway: &Gateway, failpoint: Option<&str>) -> Process {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(gateway.path("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.current_dir(gateway.dir.path()).arg("ingest").env_remove("LAKEGATE_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    if let Some(step) = failpoint {
        command.env("LAKEGATE_FAILPOINT", step);
    }
    Process(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingester_of_its_own_that_dies_at_any_arrow_loses_and_doubles_no_row_of_a_table() {
    let cycles = std::env::var("LAKEGATE_KILL_CYCLES").map_or(POINTS.len(), |n| n.parse().expect("a number"));
    let seed = std::env::var("LAKEGATE_SEED").map_or_else(|_| rand::random(), |n| n.parse().expect("a number"));
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let gateway = Gateway::start_after(&files(&format!("{INGEST}enabled = false\n")), async |dir: &Path| {
        write(dir, &pipelines())
    })
    .await;
    let root = shop(&gateway).await;
    let (mut id, mut second) = (0, 0);
    let mut insert = async |root: &Client, random: &mut StdRng| {
        let rows: Vec<String> = (0..random.random_range(1..9))
            .map(|_| {
                (id, second) = (id + 1, second + i64::from(random.random_bool(0.3)));
                let at = format!("'2026-01-01 00:00:00+00'::timestamptz + {second} * interval '1 ms'");
                format!("({id}, {at}, {id}.25, 'c')")
            })
            .collect();
        let answer = simple(root, &format!("INSERT INTO shop.orders VALUES {}", rows.join(", "))).await;
        assert!(answer.starts_with('('), "{answer}");
        id
    };
    let mut pace = tokio::time::interval(Duration::from_millis(60));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for cycle in 0..cycles {
        let step = format!("{}@{}", POINTS[cycle % POINTS.len()], random.random_range(1..6));
        let (mut process, started) = (ingester(&gateway, Some(&step)), Instant::now());
        let status = loop {
            pace.tick().await;
            insert(&root, &mut random).await;
            if let Some(status) = process.0.try_wait().unwrap() {
                break status;
            }
            let log = || std::fs::read_to_string(gateway.path("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "{step} is not reached\n{}", log());
        };
        assert_eq!(status.signal(), Some(ABORTED), "{step}: {status}");
    }
    let rows = insert(&root, &mut random).await;
    let _last = ingester(&gateway, None);
    for copy in ["kept", "added", "whole"] {
        until(&root, &beside(copy), |answer| answer == format!("0|0|{rows}\n(1)")).await;
    }
    println!("pulled: {cycles} deaths, {rows} rows in three tables, lost 0, doubled 0");
}
