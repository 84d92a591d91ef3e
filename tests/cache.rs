//! The result cache over the PostgreSQL door: an answer from it is the answer of now, under the rights of now, or it is
//! not from it. The oracle is the same statement with the cache off.

mod sharing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Barrier;
use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, PATIENCE, simple, until};
use crate::postgres_server;

const POLICY: &str = "
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, create, allow
p, root, *, drop, allow
";

const MEMORY: &str = r#"
kind = "memory"
[[table]]
name = "seed.sales"
columns = [
  { name = "id", type = "int8" }, { name = "amount", type = "int8" }, { name = "region", type = "text" },
  { name = "ssn", type = "text" }, { name = "at", type = "timestamptz" },
]
rows = [
  [1, 10, "EU", "S-111", "2024-06-01T22:30:00Z"], [2, 20, "US", "S-222", "2024-06-02T01:30:00Z"],
  [3, 30, "APAC", "S-333", "2024-06-02T12:00:00Z"], [4, 40, "EU", "S-444", "2024-06-03T00:00:00Z"],
  [5, 50, "US", "S-555", "2024-06-04T23:59:59Z"], [6, 60, {}, "S-666", "2024-06-05T00:00:00Z"],
]
"#;

/// root alone, a memory table and its copy in the lake.
async fn start() -> Gateway {
    start_with(vec![], "").await
}

async fn start_with(sources: Vec<(String, String)>, settings: &str) -> Gateway {
    let mut all = vec![("fixtures".to_string(), MEMORY.to_string())];
    all.extend(sources);
    let files = Files {
        sources: all,
        policy: POLICY.into(),
        users: vec![("root".into(), String::new())],
        settings: settings.into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files.with_lake()).await;
    gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.sales AS SELECT * FROM seed.sales"]).await;
    gateway
}

/// Hits and misses so far.
fn counts(gateway: &Gateway) -> (u64, u64) {
    let counts = gateway.server.engine.cache_counts().unwrap();
    (counts.hits, counts.misses)
}

async fn without_cache(gateway: &Gateway, user: &str) -> Client {
    let client = gateway.connect(user).await;
    client.batch_execute("SET lakegate.cache = off").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_question_is_a_hit_until_the_next_commit() {
    let gateway = start().await;
    let client = gateway.connect("root").await;
    let ask = "SELECT region, count(*) AS n, sum(amount) FROM lake.sales GROUP BY region ORDER BY region";
    let first = simple(&client, ask).await;
    assert_eq!(first, "APAC|1|30\nEU|2|50\nUS|2|70\n∅|1|60\n(4)");
    let (hits, misses) = counts(&gateway);
    for _ in 0..5 {
        assert_eq!(simple(&client, ask).await, first);
        assert_eq!(simple(&gateway.connect("root").await, ask).await, first);
    }
    assert_eq!(counts(&gateway), (hits + 10, misses));
    client.batch_execute("INSERT INTO lake.sales SELECT * FROM seed.sales").await.unwrap();
    assert_eq!(simple(&client, ask).await, "APAC|2|60\nEU|4|100\nUS|4|140\n∅|2|120\n(4)");
    assert_eq!(counts(&gateway), (hits + 10, misses + 1));
    // parameters are literals by then, whatever the protocol
    let by_region = client.prepare("SELECT max(amount) FROM lake.sales WHERE region = $1").await.unwrap();
    for (region, largest) in [("EU", 40i64), ("US", 50), ("EU", 40), ("US", 50)] {
        let row = client.query_one(&by_region, &[&region]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), largest);
    }
    assert_eq!(counts(&gateway), (hits + 12, misses + 3));
}

/// `SET lakegate.cache = off` neither takes nor leaves anything; the configuration can do the same for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn off_is_off() {
    let gateway = start().await;
    let ask = "SELECT count(*) FROM lake.sales";
    let off = without_cache(&gateway, "root").await;
    let before = counts(&gateway);
    for _ in 0..3 {
        assert_eq!(simple(&off, ask).await, "6\n(1)");
    }
    assert_eq!(counts(&gateway), before);
    let on = gateway.connect("root").await;
    assert_eq!(simple(&on, ask).await, "6\n(1)");
    assert_eq!(counts(&gateway), (before.0, before.1 + 1), "nothing was left there");
    off.batch_execute("SET lakegate.cache = on").await.unwrap();
    assert_eq!(simple(&off, ask).await, "6\n(1)");
    assert_eq!(counts(&gateway), (before.0 + 1, before.1 + 1));

    let without = start_with(vec![], "[engine.cache]\nenabled = false\n").await;
    assert!(without.server.engine.cache_counts().is_none());
    assert_eq!(simple(&without.connect("root").await, ask).await, "6\n(1)");
}

/// An answer above `entry_bytes_max` arrives whole each time, and nothing of it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_not_kept() {
    let gateway = start_with(vec![], "[engine.cache]\nbytes_max = 1_000_000\nentry_bytes_max = 100_000\n").await;
    let client = gateway.connect("root").await;
    let ask = "SELECT g, s.id FROM generate_series(1, 100000) AS g, lake.sales AS s";
    let (hits, misses) = counts(&gateway);
    for _ in 0..2 {
        assert_eq!(client.query(ask, &[]).await.unwrap().len(), 600_000);
    }
    assert_eq!(counts(&gateway), (hits, misses + 2));
    assert!(gateway.server.engine.cache_counts().unwrap().bytes < 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_are_one_execution() {
    let gateway = Arc::new(start().await);
    let ask = "SELECT s.region, sum(s.amount * g) FROM lake.sales s, generate_series(1, 200000) AS g \
               GROUP BY s.region ORDER BY s.region";
    let begin = Arc::new(Barrier::new(64));
    let (hits, misses) = counts(&gateway);
    let mut clients = vec![];
    for n in 0..64 {
        let (gateway, begin) = (Arc::clone(&gateway), Arc::clone(&begin));
        clients.push(tokio::spawn(async move {
            let client = gateway.connect("root").await;
            let prepared = client.prepare(ask).await.unwrap();
            begin.wait().await;
            match n % 2 {
                0 => simple(&client, ask).await.lines().count(),
                _ => client.query(&prepared, &[]).await.unwrap().len() + 1,
            }
        }));
    }
    for client in clients {
        assert_eq!(client.await.unwrap(), 5);
    }
    assert_eq!(counts(&gateway), (hits + 63, misses + 1));
}

/// Seeded: any order of INSERTs and questions, every answer as with the cache off. `LAKEGATE_READS` asks more often.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_stale() {
    let seed: u64 = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("LAKEGATE_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let gateway = start().await;
    let clients = [gateway.connect("root").await, gateway.connect("root").await];
    let off = without_cache(&gateway, "root").await;
    let questions = [
        "SELECT count(*), sum(amount), max(id) FROM lake.sales",
        "SELECT region, count(*) FROM lake.sales GROUP BY region ORDER BY region",
        "SELECT id FROM lake.sales WHERE amount > 900 ORDER BY id",
        "SELECT count(*) FROM lake.sales s WHERE EXISTS (SELECT 1 FROM lake.more m WHERE m.id = s.id)",
        "SELECT (SELECT count(*) FROM lake.more), (SELECT count(*) FROM lake.sales)",
    ];
    clients[0].batch_execute("CREATE TABLE lake.more (id int8)").await.unwrap();
    let (hits, _) = counts(&gateway);
    let mut inserts = 0;
    let steps = std::env::var("LAKEGATE_READS").map_or(120, |steps| steps.parse().unwrap());
    for step in 0..steps {
        if random.random_bool(if steps > 1_000 { 0.01 } else { 0.25 }) {
            let (id, amount) = (random.random_range(1..50), random.random_range(1..1_000));
            let insert = match random.random_bool(0.5) {
                true => format!("INSERT INTO lake.sales (id, amount, region) VALUES ({id}, {amount}, 'R{}')", id % 3),
                false => format!("INSERT INTO lake.more VALUES ({id})"),
            };
            clients[random.random_range(0..2)].batch_execute(&insert).await.unwrap();
            inserts += 1;
        } else {
            let ask = questions[random.random_range(0..questions.len())];
            let answer = simple(&clients[random.random_range(0..2)], ask).await;
            assert_eq!(answer, simple(&off, ask).await, "step {step}, seed {seed}: {ask}");
        }
    }
    let hits = counts(&gateway).0 - hits;
    println!("{inserts} inserts, {hits} hits");
    assert!(inserts > 5 && hits > 5, "{inserts} inserts and {hits} hits show nothing");
}

/// A count may be newer than the last INSERT that was acknowledged before it was asked for, never older.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_older_than_an_acknowledged_insert() {
    let gateway = Arc::new(start().await);
    let acknowledged = Arc::new(AtomicU64::new(6));
    let readers = (0..3).map(|_| {
        let (gateway, acknowledged) = (Arc::clone(&gateway), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            let client = gateway.connect("root").await;
            let count = client.prepare("SELECT count(*) FROM lake.sales").await.unwrap();
            let mut asked = 0;
            loop {
                let known = acknowledged.load(Ordering::SeqCst);
                let seen = client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0) as u64;
                assert!(seen >= known, "{seen} rows after {known} were acknowledged");
                asked += 1;
                if seen >= 26 {
                    return asked;
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writer = gateway.connect("root").await;
    for id in 7..=26u64 {
        writer.batch_execute(&format!("INSERT INTO lake.sales (id) VALUES ({id})")).await.unwrap();
        acknowledged.store(id, Ordering::SeqCst);
    }
    for reader in readers {
        println!("{} answers", tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap());
    }
    let (hits, _) = counts(&gateway);
    assert!(hits > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_values_is_not_mixed() {
    let gateway = start().await;
    let [berlin, tokyo] = [gateway.connect("root").await, gateway.connect("root").await];
    berlin.batch_execute("SET TimeZone = 'Europe/Berlin'").await.unwrap();
    tokyo.batch_execute("SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    let ask = "SELECT count(*) FROM lake.sales WHERE at < '2024-06-02 01:00:00'::timestamptz";
    let mut seen = vec![];
    for client in [&berlin, &tokyo, &berlin, &tokyo] {
        seen.push(simple(client, ask).await);
    }
    assert_eq!(seen[..2], seen[2..]);
    assert_ne!(seen[0], seen[1]);
    for (client, zone) in [(&berlin, "Europe/Berlin"), (&tokyo, "Asia/Tokyo")] {
        let off = without_cache(&gateway, "root").await;
        off.batch_execute(&format!("SET TimeZone = '{zone}'")).await.unwrap();
        assert_eq!(simple(client, ask).await, simple(&off, ask).await, "{zone}");
    }
    // how a value is spelt on the wire is no part of the answer: one answer, two spellings
    let ask = "SELECT at FROM lake.sales WHERE id = 1";
    assert_ne!(simple(&berlin, ask).await, simple(&tokyo, ask).await);
}

/// A name of a column is part of what is told before the answer.
#[tokio::test(flavor = "multi_thread")]
async fn columns_are_called_as_they_were_asked_for() {
    let gateway = start().await;
    let client = gateway.connect("root").await;
    for _ in 0..2 {
        for name in ["a", "b", "A b"] {
            let prepared = client.prepare(&format!("SELECT max(id) AS \"{name}\" FROM lake.sales")).await.unwrap();
            let row = client.query_one(&prepared, &[]).await.unwrap();
            assert_eq!((row.columns()[0].name(), row.get::<_, i64>(0)), (name, 6));
            let told = client.simple_query(&format!("SELECT max(id) AS \"{name}\" FROM lake.sales")).await.unwrap();
            let tokio_postgres::SimpleQueryMessage::RowDescription(columns) = &told[0] else { panic!("{told:?}") };
            assert_eq!(columns[0].name(), name);
        }
    }
}

/// Neither hit nor miss: these are not asked for there at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_different_next_time_is_never_kept() {
    let postgres = postgres_server::Server::start().await;
    postgres.run("CREATE SCHEMA crm; CREATE TABLE crm.people (id int8); INSERT INTO crm.people VALUES (1)").await;
    let source = format!(
        "kind = \"postgres\"\nhost = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n\
         tls = \"off\"\nschemas = {{ crm = \"crm\" }}\n",
        postgres.socket(),
        postgres.port
    );
    let gateway = start_with(vec![("people".into(), source)], "").await;
    let client = gateway.connect("root").await;
    let live = "SELECT count(*) FROM crm.people";
    until(&client, live, |a| a == "1\n(1)").await;
    let before = counts(&gateway);
    for sql in [
        live,
        "SELECT count(*) FROM lake.sales WHERE id IN (SELECT id FROM crm.people)",
        "SELECT count(*) FROM lake.sales WHERE at < now()",
        "SELECT random() < 2 FROM lake.sales",
        "SELECT current_user, count(*) FROM lake.sales",
        "SELECT count(*) > 0 FROM pg_catalog.pg_class",
        "SELECT count(*) > 0 FROM information_schema.tables",
        "SHOW search_path",
    ] {
        let first = simple(&client, sql).await;
        assert!(!first.starts_with("ERROR"), "{sql}: {first}");
        assert_eq!(simple(&client, sql).await, first);
    }
    assert_eq!(counts(&gateway), before);
    postgres.run("INSERT INTO crm.people VALUES (2)").await;
    assert_eq!(simple(&client, live).await, "2\n(1)");
    // what an INSERT or a CREATE TABLE AS reads is read
    client.batch_execute("INSERT INTO lake.sales SELECT * FROM seed.sales").await.unwrap();
    client.batch_execute("CREATE TABLE lake.again AS SELECT * FROM seed.sales").await.unwrap();
    assert_eq!(counts(&gateway), before);
}

/// A topic's answer holds until its end moves.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_kept_by_its_offsets() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 2, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let send = async |id: i32| {
        let (value, key) = (format!("{{\"id\": {id}}}"), id.to_string());
        let record = FutureRecord::to("orders").payload(&value).key(&key);
        producer.send(record, PATIENCE).await.map_err(|(e, _)| e).unwrap();
    };
    send(1).await;
    let source = format!(
        "kind = \"kafka\"\nbrokers = \"{brokers}\"\nschema = \"stream\"\n[topics.orders]\n\
         columns = [{{ name = \"id\", type = \"int8\" }}]\n"
    );
    let gateway = start_with(vec![("events".into(), source)], "").await;
    let client = gateway.connect("root").await;
    let ask = "SELECT count(*), sum(id) FROM stream.orders";
    until(&client, ask, |a| a == "1|1\n(1)").await;
    for id in 2..6 {
        let (hits, misses) = counts(&gateway);
        let answer = simple(&client, ask).await;
        assert_eq!(simple(&client, ask).await, answer);
        assert_eq!(counts(&gateway), (hits + 2, misses), "nothing came, nothing was read");
        send(id).await;
        let expect = format!("{id}|{}\n(1)", (1..=id).sum::<i32>());
        assert_eq!(simple(&client, ask).await, expect);
        assert_eq!(counts(&gateway), (hits + 2, misses + 1));
    }
}

/// The fixture's version begins at the same number again; what its file says is another.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_source_file_is_another_source() {
    let gateway = start().await;
    let client = gateway.connect("root").await;
    let ask = "SELECT sum(amount) FROM seed.sales";
    for _ in 0..2 {
        assert_eq!(simple(&client, ask).await, "210\n(1)");
    }
    std::fs::write(gateway.path("catalog/sources/fixtures.toml"), MEMORY.replace("[1, 10,", "[1, 11,")).unwrap();
    until(&client, ask, |a| a == "211\n(1)").await;
}
