//! The same end to end: a real PostgreSQL, its log, a gateway with a policy, and its clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::gateway::{Files, Gateway, PATIENCE, simple};
use crate::postgres_server::Server;

const POLICY: &str = "
p, root, *, select, allow
p, root, *, create, allow
p2, root, *, unfiltered
p, reader, lake_crm.people, select, allow
p2, reader, lake_crm.people, worth < 200
p3, reader, lake_crm.people, name, constant('hidden')
";

const SCHEMA: &str = "
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, story text, worth numeric(12, 2));
ALTER TABLE people ALTER story SET STORAGE EXTERNAL;
INSERT INTO people SELECT i, 'name ' || i, repeat(md5(i::text), 100), i FROM generate_series(1, 500) i;
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint, note text);
ALTER TABLE accounts ALTER note SET STORAGE EXTERNAL;
INSERT INTO accounts SELECT i, 1000, repeat(md5(i::text), 100) FROM generate_series(1, 40) i;
CREATE TABLE audit (id int PRIMARY KEY, moved bigint)";

const PIPELINE: &str = "
origin = \"crm\"
mode   = \"cdc\"
write  = \"upsert\"
tables = [\"public.*\"]
target = \"lake_crm\"
[commit]
age_ms = 700
";

async fn start() -> (Server, Gateway) {
    let server = Server::with(&["wal_level=logical", "max_replication_slots=10", "max_wal_senders=20"]).await;
    server.run(SCHEMA).await;
    let crm = format!(
        "kind = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n\
         password = \"sesame\"\nschemas = {{ public = \"crm\" }}\n",
        server.port
    );
    let files = Files {
        sources: vec![("crm".into(), crm)],
        policy: POLICY.into(),
        users: vec![("root".into(), String::new()), ("reader".into(), String::new())],
        ..Files::default()
    };
    let gateway = Gateway::start_after(&files.with_lake(), async |dir: &std::path::Path| {
        std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
        std::fs::write(dir.join("catalog/pipelines/crm.toml"), PIPELINE).unwrap();
    })
    .await;
    (server, gateway)
}

async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {}", crate::gateway::told(&e)));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("∅").to_string()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    let mut lines: Vec<String> = messages.iter().filter_map(row).collect();
    lines.sort();
    lines
}

fn change(random: &mut StdRng) -> String {
    let (id, fresh) = (random.random_range(1..520), random.random_range(1_000..2_000_000_000));
    match random.random_range(0..40) {
        0..10 => format!("UPDATE people SET name = 'n{fresh}' WHERE id % 90 = {} % 90", id),
        10..14 => format!("UPDATE people SET story = repeat(md5('{fresh}'), 90) WHERE id = {id}"),
        14..22 => format!("UPDATE people SET id = {fresh} WHERE id = (SELECT min(id) FROM people WHERE id > {id})"),
        22..27 => format!("DELETE FROM people WHERE id % 150 = {id} % 150"),
        27..39 => format!(
            "INSERT INTO people SELECT {fresh} + i, 'new', repeat(md5('{fresh}'), 90), i FROM generate_series(1, 20) i \
             ON CONFLICT DO NOTHING"
        ),
        _ => "TRUNCATE people; INSERT INTO people SELECT i, 'again', NULL, i FROM generate_series(1, 50) i".into(),
    }
}

/// The load rests for a moment, the source is read, and the fresh table is asked for at that very place.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_table_is_the_database_at_that_lsn() {
    let seed = std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (server, gateway) = start().await;
    let (source, root, reader) =
        (server.client().await, gateway.connect("root").await, gateway.connect("reader").await);
    let rounds = std::env::var("LAKEGATE_ROUNDS").ok().map_or(40, |text| text.parse().expect("a number"));
    let mut took = vec![];
    let mut ahead = 0;
    for client in [&root, &reader] {
        client.batch_execute("SET lakegate.freshness_timeout = '60 s'").await.unwrap();
    }
    for round in 0..rounds {
        for _ in 0..random.random_range(1..6) {
            source
                .batch_execute(&format!("BEGIN; {}; {}; COMMIT", change(&mut random), change(&mut random)))
                .await
                .ok();
            source.batch_execute("ROLLBACK").await.unwrap();
        }
        let about = format!("round {round}, LAKEGATE_SEED={seed}");
        let lsn = &lines(&source, "SELECT pg_current_wal_lsn()").await[0];
        for client in [&root, &reader] {
            client.batch_execute(&format!("SET lakegate.freshness = 'lsn:{lsn}'")).await.unwrap();
        }
        let sql = |table: &str| format!("SELECT id, name, md5(story), worth FROM {table}");
        let begin = Instant::now();
        let found = lines(&root, &sql("lake_crm.people")).await;
        if round > 0 {
            took.push(begin.elapsed());
        }
        let expected = lines(&source, &sql("people")).await;
        let missing =
            found.iter().filter(|line| !expected.contains(line)).chain(expected.iter().filter(|l| !found.contains(l)));
        assert!(found == expected, "{about}: {:?}", missing.take(5).collect::<Vec<_>>());
        // The same through a filter and a mask: no row and no value more than was granted.
        let granted = "SELECT id, 'hidden', md5(story), worth FROM people WHERE worth < 200";
        assert_eq!(lines(&reader, &sql("lake_crm.people")).await, lines(&source, granted).await, "{about}");
        let probe = "SELECT count(*) FROM lake_crm.people WHERE worth >= 200 OR name <> 'hidden'";
        assert_eq!(lines(&reader, probe).await, ["0"], "{about}");
        let joined = "SELECT count(*) FROM lake_crm.people a JOIN lake_crm.people b USING (id)";
        assert_eq!(lines(&root, joined).await, [expected.len().to_string()], "{about}");
        root.batch_execute("SET lakegate.freshness = committed").await.unwrap();
        ahead += usize::from(lines(&root, &sql("lake_crm.people")).await != expected);
    }
    took.sort();
    println!(
        "fresh: written → read by its LSN: half within {:?}, all within {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    println!("fresh: {rounds} rounds, {ahead} of them ahead of what was committed");
    assert!(ahead > rounds / 4, "the fresh table was hardly ever fresher");

    // Where the pipeline does not run, tables are as they were committed, and a position is waited for in vain.
    drop((root, reader));
    let directory = gateway.stop().await;
    let settings = directory.path().join("lakegate.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\n[ingest]\nenabled = false\n")).unwrap();
    let gateway = Gateway::again(directory).await;
    let root = gateway.connect("root").await;
    source.batch_execute("INSERT INTO people VALUES (0, 'later')").await.unwrap();
    root.batch_execute("SET lakegate.freshness = latest").await.unwrap();
    let expected = lines(&source, "SELECT count(*) FROM people WHERE id <> 0").await;
    assert_eq!(lines(&root, "SELECT count(*) FROM lake_crm.people").await, expected);
    root.batch_execute("SET lakegate.freshness = 'lsn:0/1'; SET lakegate.freshness_timeout = '20 ms'").await.unwrap();
    let told = simple(&root, "SELECT count(*) FROM lake_crm.people").await;
    assert!(told.starts_with("ERROR 55000") && told.contains("does not run in this process"), "{told}");
}

/// Money is moved between accounts, their keys change, rows are deleted and come again; at each moment the whole is what it
/// was, in one statement over two tables, while nobody rests and commits run.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_seen_in_part_while_commits_run() {
    let (server, gateway) = start().await;
    let done = Arc::new(AtomicBool::new(false));
    let writers = (0..3).map(|number| {
        let done = Arc::clone(&done);
        let server = &server;
        async move {
            let client = server.client().await;
            let mut random = StdRng::seed_from_u64(number);
            let mut written = 0;
            while !done.load(Ordering::SeqCst) {
                let (a, b, sum) = (random.random_range(1..41), random.random_range(1..41), random.random_range(1..100));
                let id = random.random_range(100..1_000_000_000);
                let sql = match random.random_range(0..4) {
                    // a key that changes, and back
                    0 => format!("UPDATE accounts SET id = -id WHERE id = {a} OR id = -{a}"),
                    1 => format!(
                        "WITH gone AS (DELETE FROM accounts WHERE abs(id) = {a} RETURNING *) SELECT * INTO TEMP t FROM gone; \
                         INSERT INTO accounts SELECT * FROM t; DROP TABLE t"
                    ),
                    _ => format!(
                        "UPDATE accounts SET balance = balance - {sum} WHERE abs(id) = {a}; \
                         UPDATE accounts SET balance = balance + {sum} WHERE abs(id) = {b}; \
                         INSERT INTO audit VALUES ({id}, 0) ON CONFLICT DO NOTHING; \
                         UPDATE accounts SET balance = balance + 1 WHERE abs(id) = 1; \
                         UPDATE audit SET moved = moved - 1 WHERE id = {id}"
                    ),
                };
                // A row that comes again would be missed by whoever waited for it. What fails is rolled back, and is as good.
                let sql = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {sql}; COMMIT");
                if client.batch_execute(&sql).await.is_err() {
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
                written += 1;
            }
            written
        }
    });
    let readers = (0..2).map(|_| {
        let gateway = &gateway;
        async move {
            let client = gateway.connect("root").await;
            simple(&client, "SET lakegate.freshness = latest").await;
            let sql = "SELECT count(*), count(DISTINCT abs(id)), sum(balance) + (SELECT coalesce(sum(moved), 0) FROM lake_crm.audit), \
                       count(*) FILTER (WHERE note IS NULL OR length(note) <> 3200) FROM lake_crm.accounts";
            let committed = gateway.connect("root").await;
            let (begin, mut looks, mut commits) = (Instant::now(), 0, BTreeSet::new());
            // Until the copy is there.
            while lines(&client, "SELECT count(*) FROM lake_crm.accounts").await != ["40"] {
                assert!(begin.elapsed() < PATIENCE, "the copy does not come");
                tokio::task::yield_now().await;
            }
            let begin = Instant::now();
            while begin.elapsed().as_secs() < 8 {
                assert_eq!(lines(&client, sql).await, ["40|40|40000|0"], "after {looks} looks");
                commits.extend(lines(&committed, "SELECT count(*), min(moved) FROM lake_crm.audit").await);
                looks += 1;
            }
            (looks, commits.len())
        }
    });
    let reading = async {
        let looks: Vec<(usize, usize)> = futures::future::join_all(readers).await;
        done.store(true, Ordering::SeqCst);
        looks.into_iter().fold((0, 0), |(looks, commits), (l, c)| (looks + l, commits.max(c)))
    };
    let ((looks, commits), written) = tokio::join!(Box::pin(reading), Box::pin(futures::future::join_all(writers)));
    println!("fresh: {looks} looks beside {} transactions and {commits} commits", written.iter().sum::<i32>());
    assert!(looks > 20 && commits > 2, "{looks} looks, {commits} commits");
}
