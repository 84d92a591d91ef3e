//! The origin alone against a real PostgreSQL: whatever is written to it while ingesters copy, follow, die and begin again
//! where the last commit was, a plain fold of what they were given is what the tables hold. `lakegate.rs`'s own commit is not
//! asked here: a model of a lake keeps rows and places together.

mod load;
mod model;

use std::time::{Duration, Instant};

use lakegate::error::Kind;
use lakegate::ingest::origin::{Kept, Origin, Room, Wanted};
use lakegate::ingest::postgres::{Options, Slot};
use lakegate::sources::postgres::{Config, Tls};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::load::Load;
use self::model::{Lake, lsn_of};
use crate::postgres_server::Server;

const PATIENCE: Duration = Duration::from_secs(120);
const LOGICAL: [&str; 3] = ["wal_level=logical", "max_replication_slots=10", "max_wal_senders=20"];

fn seed() -> u64 {
    let seed = std::env::var("LAKEGATE_SEED").ok().map(|text| text.parse().expect("a number"));
    let seed = seed.unwrap_or_else(rand::random);
    // Printed before, so that a run that hangs has a name.
    println!("LAKEGATE_SEED={seed}");
    seed
}

fn config(server: &Server) -> Config {
    let text = format!(
        "host = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\npassword = \"sesame\"\n",
        server.port
    );
    toml::from_str(&text).expect("a source's file")
}

fn slot(config: &Config, tables: &[&str], options: Options) -> Slot {
    let tables = tables.iter().map(|t| t.to_string()).collect();
    Slot::new("p", "crm", config, tables, options).expect("a pipeline's file")
}

/// The end of the log: what was committed before lies below it.
async fn end(server: &Server) -> u64 {
    lsn_of(&server.ask("pg_current_wal_lsn()").await)
}

fn room(random: &mut StdRng) -> Room {
    let changes = if random.random_ratio(1, 3) { random.random_range(1..20) } else { random.random_range(20..5_000) };
    Room { changes, bytes: 1 << random.random_range(8..24), wait: Duration::from_millis(20) }
}

/// One ingester's life: it reads, commits at some of the places where it may, confirms some of what it committed, and dies at
/// a read drawn for it or once everything up to `until` is durable.
async fn live(lake: &mut Lake, origin: &Slot, until: Option<u64>, random: &mut StdRng) -> u64 {
    let mut slot = origin.again();
    while !lake.begin(&mut slot).await {}
    let reads = if until.is_some() { u64::MAX } else { random.random_range(1..60) };
    let started = Instant::now();
    for _ in 0..reads {
        assert!(started.elapsed() < PATIENCE, "not caught up: {:?}", slot.progress());
        let taken = match slot.read(room(random)).await {
            // A table was truncated as its copy began: as the core does, from the last commit again.
            Err(error) if error.kind() == Kind::Conflict => {
                lake.let_go();
                while !lake.begin(&mut slot).await {}
                continue;
            }
            taken => taken.unwrap_or_else(|e| panic!("{e:?}")),
        };
        let (place, reshaped) = (taken.place.clone(), taken.reshaped);
        if reshaped {
            lake.reshape(&mut slot).await;
        }
        lake.stage(taken);
        let Some(place) = place else { continue };
        let lsn = lsn_of(place.0["lsn"].as_str().unwrap());
        let last = until.is_some_and(|until| lsn >= until);
        if last || random.random_ratio(1, 3) {
            lake.commit(&place);
            if random.random_ratio(2, 3) {
                slot.acknowledge(&place).await.unwrap();
            }
        }
        if last && lake.is_whole() {
            break;
        }
    }
    lake.let_go();
    1
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_and_whoever_dies_the_fold_is_the_table() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let server = Server::with(&LOGICAL).await;
    server.run(load::SCHEMA).await;
    let config = config(&server);
    let rounds = std::env::var("LAKEGATE_ROUNDS").ok().map_or(4, |text| text.parse().expect("a number"));
    let origin = slot(&config, &["public.*"], Options { copy_connections: 2, ..Options::default() });
    let (mut lake, mut lives) = (Lake::default(), 0);
    for round in 0..rounds {
        let load = Load::begin(&server, random.random(), 3, 60).await;
        // At least one dies while the writers write.
        lives += live(&mut lake, &origin, None, &mut random).await;
        while !load.is_done() {
            lives += live(&mut lake, &origin, None, &mut random).await;
        }
        load.end().await;
        let (mut of_tables, changed) = (StdRng::seed_from_u64(random.random()), random.random());
        if changed {
            // Beside one that follows; otherwise while there is none.
            let changes = load::change_tables(&server, &mut of_tables, round);
            lives += tokio::join!(changes, live(&mut lake, &origin, None, &mut random)).1;
        } else {
            load::change_tables(&server, &mut of_tables, round).await;
        }
        let until = end(&server).await;
        lives += live(&mut lake, &origin, Some(until), &mut random).await;
        lake.assert_equals(&server, &format!("LAKEGATE_SEED={seed}, round {round}")).await;
    }
    println!("postgres: {rounds} rounds, {lives} ingesters, {} changes, {} commits", lake.changes, lake.commits);
    assert!(lake.moved > 0 && lake.unchanged > 0 && lake.truncates > 0, "the load is not what it should be: {lake:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_over_in_copy_and_stream() {
    let server = Server::with(&LOGICAL).await;
    server.run(load::TYPES).await;
    server.run(load::TYPED_ROWS).await;
    let config = config(&server);
    // In text, since some of the types have no binary form that is read, and in binary, for those that have.
    for tables in [&["kinds.*"][..], &["kinds.plain"]] {
        let origin =
            slot(&config, tables, Options { slot: Some(format!("s{}", tables[0].len())), ..Options::default() });
        let mut lake = Lake::default();
        let mut random = StdRng::seed_from_u64(1);
        live(&mut lake, &origin, Some(end(&server).await), &mut random).await;
        lake.assert_equals(&server, "copied").await;
        server.run("UPDATE kinds.plain SET id = id + 100; UPDATE kinds.odd SET id = id + 100").await;
        server.run(&load::TYPED_ROWS.replace("VALUES (", "VALUES (1000 + ")).await;
        live(&mut lake, &origin, Some(end(&server).await), &mut random).await;
        lake.assert_equals(&server, "followed").await;
        origin.again().drop_slot().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_told_and_never_passed_over() {
    let server = Server::with(&LOGICAL).await;
    server.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let config = config(&server);
    let origin = slot(&config, &["public.t"], Options::default());
    let (mut lake, mut random) = (Lake::default(), StdRng::seed_from_u64(1));
    live(&mut lake, &origin, Some(end(&server).await), &mut random).await;
    let told = async |kept: &Kept| {
        let mut slot = origin.again();
        slot.tables().await.unwrap();
        let error = slot.begin(kept).await.expect_err("it is not what it was");
        (error.kind(), error.message().to_string(), error.hint().unwrap_or_default().to_string())
    };
    let kept = lake.kept();

    // Another cluster.
    let mut other = kept.clone();
    other.checkpoint.as_mut().unwrap().0.insert("system_identifier".into(), "1".into());
    let (kind, message, _) = told(&other).await;
    assert_eq!((kind, message.contains("another database cluster")), (Kind::DataGone, true), "{message}");

    // The lake is ahead of the source, as after a restore.
    let mut other = kept.clone();
    other.checkpoint.as_mut().unwrap().0.insert("lsn".into(), "FFFF/0".into());
    let (kind, message, _) = told(&other).await;
    assert_eq!((kind, message.contains("went back")), (Kind::DataGone, true), "{message}");

    // Somebody else read the slot.
    server.run("INSERT INTO t VALUES (2)").await;
    server.run("SELECT pg_replication_slot_advance('lakegate_p', pg_current_wal_lsn())").await;
    let (kind, message, hint) = told(&kept).await;
    assert_eq!((kind, message.contains("ahead of the lake")), (Kind::DataGone, true), "{message}");
    assert!(hint.contains("resync"), "{hint}");

    // The slot is gone.
    origin.again().drop_slot().await.unwrap();
    let (kind, message, _) = told(&kept).await;
    assert_eq!((kind, message.contains("is gone")), (Kind::DataGone, true), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_lacks_is_said_with_the_statement_that_mends_it() {
    let server = Server::start().await;
    server
        .run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE bare (id int); CREATE ROLE plain LOGIN PASSWORD 'x'")
        .await;
    let config = config(&server);
    let begin = async |config: &Config, table: &str| {
        let mut slot = slot(config, &[table], Options::default());
        let told = match slot.tables().await {
            Ok(shapes) => slot.begin(&Kept { tables: vec![None; shapes.len()], checkpoint: None }).await,
            Err(error) => Err(error),
        };
        let error = told.expect_err("it cannot be followed");
        (error.message().to_string(), error.hint().unwrap_or_default().to_string())
    };
    let (message, hint) = begin(&config, "public.t").await;
    assert!(
        message.contains("wal_level replica") && hint.contains("ALTER SYSTEM SET wal_level = logical"),
        "{message} {hint}"
    );
    let (message, hint) = begin(&config, "public.bare").await;
    assert!(message.contains("public.bare") && hint.contains("REPLICA IDENTITY FULL"), "{message} {hint}");
    let (message, _) = begin(&config, "public.none").await;
    assert!(message.contains("public.none"), "{message}");
    let plain =
        Config { user: "plain".into(), password: Some(lakegate::secret::Secret::new("x".into())), ..config.clone() };
    let (message, hint) = begin(&plain, "public.t").await;
    assert!(hint.contains("ALTER ROLE \"plain\" REPLICATION"), "{message} {hint}");
    let wrong = Config { password: Some(lakegate::secret::Secret::new("y".into())), ..config };
    let (message, _) = begin(&wrong, "public.t").await;
    assert_eq!(message, "source \"crm\" refuses the login");
}

/// A transaction of any size takes no more memory than a small one, and a slot is not held by what other databases write.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_in_pieces_and_an_idle_slot_moves() {
    let server = Server::with(&LOGICAL).await;
    server.run("CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric(12, 2))").await;
    let config = config(&server);
    let mut slot = slot(&config, &["public.t"], Options::default());
    let mut lake = Lake::default();
    assert!(lake.begin(&mut slot).await);
    let rows: u64 = std::env::var("LAKEGATE_ROWS").ok().map_or(100_000, |text| text.parse().expect("a number"));
    server.run(&format!("INSERT INTO t SELECT i, 'value ' || i, i / 100.0 FROM generate_series(1, {rows}) i")).await;
    let until = end(&server).await;
    let (mut seen, mut pieces, mut most) = (0, 0, 0);
    let started = Instant::now();
    let before = resident();
    let mut peak = 0;
    let place = loop {
        assert!(started.elapsed() < PATIENCE * 5);
        let room = Room { changes: 20_000, bytes: 4 << 20, wait: Duration::from_millis(200) };
        let taken = slot.read(room).await.unwrap();
        let count: usize = taken.parts.iter().map(|p| p.changed.ops.len()).sum();
        let bytes: usize = taken.parts.iter().map(|p| p.changed.rows.get_array_memory_size()).sum();
        (seen, pieces, most) = (seen + count as u64, pieces + u64::from(count > 0), most.max(bytes));
        peak = peak.max(resident());
        if let Some(place) = taken.place {
            assert!(seen == 0 || seen == rows, "a place amid a transaction, after {seen} rows");
            if lsn_of(place.0["lsn"].as_str().unwrap()) >= until {
                break place;
            }
        }
    };
    let took = started.elapsed();
    println!("postgres: {rows} rows in {pieces} pieces, {took:?}, at most {most} bytes a piece, {before} → {peak} MiB");
    assert_eq!(seen, rows);
    assert!(pieces >= rows / 20_000 && most < 32 << 20, "{pieces} pieces, {most} bytes");

    // Nothing of ours changes, the log grows, and the slot follows it.
    slot.acknowledge(&place).await.unwrap();
    server.run("CREATE DATABASE other").await;
    let until = end(&server).await;
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the slot is held");
        let taken = slot.read(Room { changes: 10, bytes: 1 << 20, wait: Duration::from_millis(100) }).await.unwrap();
        assert!(taken.parts.is_empty());
        slot.acknowledge(&taken.place.unwrap()).await.unwrap();
        let confirmed =
            server.ask("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'lakegate_p'").await;
        if lsn_of(&confirmed) >= until {
            break;
        }
    }
    let latest = slot.place(Wanted::Latest).await.unwrap();
    let lag = slot.lag(Some(&latest)).await.unwrap();
    assert!(lag.bytes.unwrap() < 1 << 20, "{lag:?}");
    let text = slot.range(&latest);
    assert_eq!(slot.place(Wanted::Range(&text)).await.unwrap(), latest);
    assert_eq!(slot.place(Wanted::Range("nonsense")).await.unwrap_err().kind(), Kind::InvalidText);
}

/// TLS with channel binding, and passwords hashed by MD5.
#[tokio::test(flavor = "multi_thread")]
async fn logins_of_every_kind() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
    let mut server = Server::with(&LOGICAL).await;
    server.run("CREATE TABLE t (id int PRIMARY KEY); SET password_encryption = 'md5'; CREATE ROLE old LOGIN SUPERUSER PASSWORD 'x'").await;
    server.write("server.crt", &made.cert.pem());
    server.write("server.key", &made.signing_key.serialize_pem());
    server.write(
        "pg_hba.conf",
        "local all all trust\nhostssl all postgres all scram-sha-256\nhost all old all md5\nhost all clear all password\n",
    );
    server.run("ALTER SYSTEM SET ssl = on").await;
    server.run("CREATE ROLE clear LOGIN SUPERUSER PASSWORD 'x'").await;
    server.stop();
    server.resume().await;
    let dir = tempfile::TempDir::new().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let plain = config(&server);
    let tls = Config { tls: Tls::Require, tls_ca_file: Some(ca), ..plain.clone() };
    let user = |config: &Config, user: &str| Config {
        user: user.into(),
        password: Some(lakegate::secret::Secret::new("x".into())),
        ..config.clone()
    };
    let begin = async |config: &Config| {
        let mut slot = slot(config, &["public.t"], Options::default());
        slot.tables().await?;
        slot.begin(&Kept { tables: vec![None], checkpoint: None }).await?;
        slot.drop_slot().await
    };
    for config in [&tls, &user(&plain, "old"), &user(&tls, "clear")] {
        begin(config).await.unwrap_or_else(|e| panic!("{}: {e:?}", config.user));
    }
    let told = begin(&user(&plain, "clear")).await.unwrap_err();
    assert_eq!(told.message(), "source \"crm\" asks for a password in the clear");
    assert!(begin(&plain).await.is_err(), "the server takes this user by TLS alone");
}

/// MiB that the process holds.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    (pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096) >> 20
}
