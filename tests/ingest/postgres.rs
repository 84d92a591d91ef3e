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

/// Rows of one key are not told apart by another. Whatever the identity, and whether or not the messages say the key, the
/// table is taken in by its new key from a moment after it changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_amid_the_stream_is_followed() {
    let server = Server::with(&LOGICAL).await;
    server
        .run(
            "CREATE TABLE d (id int PRIMARY KEY, code text NOT NULL UNIQUE, v text);
             CREATE TABLE f (id int PRIMARY KEY, code text NOT NULL UNIQUE, v text); ALTER TABLE f REPLICA IDENTITY FULL;
             CREATE TABLE i (id int NOT NULL UNIQUE, code text NOT NULL UNIQUE, v text);
             ALTER TABLE i REPLICA IDENTITY USING INDEX i_id_key;
             INSERT INTO d VALUES (1, 'a', 'one'); INSERT INTO f SELECT * FROM d; INSERT INTO i SELECT * FROM d",
        )
        .await;
    let config = config(&server);
    let origin = slot(&config, &["public.*"], Options::default());
    let (mut lake, mut slot, mut random) = (Lake::default(), origin.again(), StdRng::seed_from_u64(1));
    while !lake.begin(&mut slot).await {}
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    for table in ["d", "f", "i"] {
        server.run(&format!("INSERT INTO {table} VALUES (2, 'b', 'two'); UPDATE {table} SET v = v || '!'")).await;
    }
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "before").await;

    // One connection follows throughout. By the old key the rows that come would be one row.
    for table in ["d", "f"] {
        let key = format!("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (code)");
        server.run(&format!("{key}; INSERT INTO {table} VALUES (1, 'c', 'three'), (1, 'd', 'four')")).await;
    }
    server
        .run("ALTER TABLE i DROP CONSTRAINT i_id_key, REPLICA IDENTITY USING INDEX i_code_key; INSERT INTO i VALUES (1, 'c', 'three'), (1, 'd', 'four')")
        .await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "after").await;
    for table in ["d", "f", "i"] {
        server
            .run(&format!("DELETE FROM {table} WHERE code = 'd'; UPDATE {table} SET code = 'e' WHERE code = 'c'"))
            .await;
    }
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "by the new key").await;

    // There and back before anybody looked: the catalog is as it was, and the messages are not.
    server
        .run("ALTER TABLE d DROP CONSTRAINT d_pkey, ADD COLUMN n serial PRIMARY KEY; UPDATE d SET v = 'x' || n; ALTER TABLE d DROP CONSTRAINT d_pkey, DROP COLUMN n, ADD PRIMARY KEY (code)")
        .await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "there and back").await;

    // Without a key there is nothing to go by, and that is said.
    server.run("ALTER TABLE d DROP CONSTRAINT d_pkey; INSERT INTO d VALUES (9, 'z', 'nine')").await;
    let error = loop {
        match slot.read(room(&mut random)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::InvalidTableDefinition, "{error:?}");
    assert!(error.hint().unwrap_or_default().contains("primary key"), "{error:?}");
}

/// What the lake has of a name is of no use for another table that takes it, whoever saw the one before, nor for one that was
/// elsewhere for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_not_there_when_an_ingester_looked_is_taken_in_anew() {
    let server = Server::with(&LOGICAL).await;
    server
        .run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE o (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await;
    let config = config(&server);
    let origin = slot(&config, &["public.*"], Options::default());
    let (mut lake, mut slot, mut random) = (Lake::default(), origin.again(), StdRng::seed_from_u64(1));
    while !lake.begin(&mut slot).await {}
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    drop(slot);

    // The next one finds none, and the one after it neither.
    server.run("DROP TABLE t").await;
    let mut slot = origin.again();
    for again in [false, true] {
        if again {
            slot = origin.again();
        }
        while !lake.begin(&mut slot).await {}
        server.run("INSERT INTO o SELECT count(*) FROM o").await;
        follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    }
    // A change of another table makes it look again.
    server.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (2)").await;
    server.run("ALTER TABLE o ADD COLUMN a int; INSERT INTO o VALUES (-1)").await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "made anew").await;

    server.run("CREATE SCHEMA away; ALTER TABLE t SET SCHEMA away").await;
    server.run("ALTER TABLE o ADD COLUMN b int; INSERT INTO o VALUES (-2)").await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    server.run("INSERT INTO away.t VALUES (3); DELETE FROM away.t WHERE id = 2").await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    server.run("ALTER TABLE away.t SET SCHEMA public; ALTER TABLE o ADD COLUMN c int; INSERT INTO o VALUES (-3)").await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    lake.assert_equals(&server, "back again").await;
}

/// Until everything up to there is in the lake and no table is in the midst of a copy.
async fn follow(lake: &mut Lake, slot: &mut Slot, until: u64, random: &mut StdRng) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "not caught up: {:?}", slot.progress());
        let taken = slot.read(room(random)).await.unwrap_or_else(|e| panic!("{e:?}"));
        let place = taken.place.clone();
        if taken.reshaped {
            lake.reshape(slot).await;
        }
        lake.stage(taken);
        let Some(place) = place else { continue };
        lake.commit(&place);
        if lsn_of(place.0["lsn"].as_str().unwrap()) >= until && lake.is_whole() {
            return;
        }
    }
}

/// Where nothing is copied, a table whose rows are told apart otherwise cannot be followed, and no change of it is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_stops_a_pipeline_that_copies_nothing() {
    let server = Server::with(&LOGICAL).await;
    server.run("CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL)").await;
    let config = config(&server);
    let origin = slot(&config, &["public.t"], Options { copy: false, ..Options::default() });
    let (mut lake, mut slot, mut random) = (Lake::default(), origin.again(), StdRng::seed_from_u64(1));
    while !lake.begin(&mut slot).await {}
    server.run("INSERT INTO t VALUES (1, 1)").await;
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    server.run("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code); INSERT INTO t VALUES (1, 2)").await;
    let told = |error: lakegate::error::Error| {
        assert_eq!(error.kind(), Kind::DataGone, "{error:?}");
        assert!(error.hint().unwrap_or_default().contains("lakegate ingest resync p"), "{error:?}");
    };
    loop {
        match slot.read(room(&mut random)).await {
            Ok(taken) => assert!(taken.parts.is_empty()),
            Err(error) => break told(error),
        }
    }
    let mut slot = origin.again();
    slot.tables().await.unwrap();
    told(slot.begin(&lake.kept()).await.expect_err("it is another key"));
}

/// The log is read by the catalog of then: what was written while there was no publication can never be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_gone_for_a_while_needs_a_person() {
    let server = Server::with(&LOGICAL).await;
    server.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let config = config(&server);
    let origin = slot(&config, &["public.t"], Options::default());
    let (mut lake, mut slot, mut random) = (Lake::default(), origin.again(), StdRng::seed_from_u64(1));
    while !lake.begin(&mut slot).await {}
    follow(&mut lake, &mut slot, end(&server).await, &mut random).await;
    server.run("DROP PUBLICATION lakegate_p; INSERT INTO t VALUES (2)").await;
    let error = loop {
        match slot.read(room(&mut random)).await {
            Ok(taken) => assert!(taken.parts.is_empty()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::DataGone, "{error:?}");
    assert!(error.hint().unwrap_or_default().contains("lakegate ingest resync p"), "{error:?}");
    assert!(error.detail().unwrap_or_default().contains("42704"), "{error:?}");
}

/// It takes the connection and says nothing, or never comes to an end: both are a source that cannot be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_connections_and_does_not_answer_is_not_waited_for() {
    use tokio::io::AsyncWriteExt;
    for talks in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut all = vec![];
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                all.push(tokio::spawn(async move {
                    // A notice, again and again.
                    while talks && socket.write_all(b"N\0\0\0\x05\0").await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                    std::future::pending::<()>().await;
                }));
            }
        });
        let text = format!(
            "host = \"127.0.0.1\"\nport = {port}\ndatabase = \"d\"\nuser = \"u\"\npassword = \"p\"\nconnect_timeout_ms = 300\nread_timeout_ms = 600000\n"
        );
        let config: Config = toml::from_str(&text).expect("a source's file");
        let mut slot = slot(&config, &["public.t"], Options::default());
        let error = slot.tables().await.expect_err("nobody answers");
        assert_eq!(error.kind(), Kind::SourceUnreachable, "{error:?}");
        serving.abort();
    }
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
