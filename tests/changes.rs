//! Random histories of statements that change rows, beside a real PostgreSQL: after each step the tables hold the same, and
//! tags, RETURNING and SQLSTATEs were the same. On tables of format version 2 and 3, partitioned, with a key, rewritten by
//! copy, and temporary ones. `LAKEGATE_SEED` chooses another run, `LAKEGATE_STATEMENTS` a longer one.

mod beside;
mod generate;
mod policy;
mod source;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use lakegate::lake::{Action, BatchId, Columns, Config, Lake, Outcome, Staged};
use lakegate::metastore::{self, Metastore};

use self::generate::{COLUMNS, History};
use crate::gateway::{Files, Gateway};
use crate::oracle::random::Dice;
use crate::postgres_server::Server;
use crate::slt::door::cells;
use crate::wire::client::Client;

const SEED: u64 = 4_611_686_018_427_387_847;
const STATEMENTS: u64 = 300;
/// So many rows are left of a table that grows.
const ROWS_MAX: usize = 120;

const POLICY: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, update, allow\n\
                      p, root, *, delete, allow\np, root, *, create, allow\np, root, *, drop, allow\n\
                      p2, root, *, unfiltered\n";

/// The tables by what is peculiar to them.
const TABLES: [&str; 6] = ["plain", "copied", "three", "parted", "keyed", "temp"];

/// What a client sees of a statement.
#[derive(Debug, PartialEq)]
enum Answer {
    Done { tag: String, rows: Vec<Vec<Option<String>>> },
    Refused(String),
}

async fn ask(client: &mut Client, sql: &str) -> Answer {
    client.send(b'Q', format!("{sql}\0").as_bytes()).await;
    let (mut rows, mut done) = (vec![], String::new());
    let mut refused = None;
    loop {
        match client.receive().await {
            Some((b'D', body)) => rows.push(cells(&body)),
            Some((b'C', body)) => done = String::from_utf8_lossy(&body).trim_end_matches('\0').to_string(),
            Some((b'E', _)) => refused = Some(client.code().to_string()),
            Some((b'Z', _)) => break,
            Some(_) => {}
            None => panic!("the connection was lost over\n{sql}"),
        }
    }
    rows.sort();
    refused.map_or(Answer::Done { tag: done, rows }, Answer::Refused)
}

/// Tables that no statement makes.
async fn peculiar_tables(dir: &Path) {
    let config = metastore::Config { path: dir.join("metastore.db"), busy_timeout_ms: 5_000 };
    let metastore = Metastore::open(&config).await.unwrap();
    let config = Config {
        catalog: "lakegate".into(),
        warehouse: format!("file://{}/warehouse", dir.display()),
        s3: None,
        at: Default::default(),
        manifest_cache_bytes: 1 << 20,
    };
    let lake = Lake::connect(&config, Arc::new(metastore)).unwrap();
    lake.create_namespace("h").await.unwrap();
    let of = [
        ("id", DataType::Int32),
        ("a", DataType::Int32),
        ("b", DataType::Utf8),
        ("n", DataType::Decimal128(10, 2)),
        ("d", DataType::Date32),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("f", DataType::Float64),
        ("g", DataType::Boolean),
        ("l", DataType::Int64),
    ];
    let schema = Arc::new(Schema::new(of.map(|(name, of)| Field::new(name, of, true)).to_vec()));
    for name in ["copied", "three", "parted"] {
        let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
        let (table, _) = lake.create_table(&lake.key("h", name), &columns, Default::default(), None).await.unwrap();
        let actions = match name {
            "three" => vec![Action::Upgrade],
            "parted" => vec![Action::partition_by(&table, &[("a", "bucket[3]"), ("g", "identity")]).unwrap()],
            _ => vec![],
        };
        let mut staged = Staged::new(table, actions, BatchId::new());
        if name == "copied" {
            let modes = ["delete", "update", "merge"].map(|verb| format!("write.{verb}.mode"));
            staged.properties = modes.map(|mode| (mode, "copy-on-write".to_string())).into();
        }
        let outcome = lake.commit(vec![staged], &Default::default()).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)), "{name}");
    }
}

struct Beside {
    postgres: Client,
    lakegate: Client,
    steps: usize,
}

impl Beside {
    async fn both(&mut self, sql: &str) -> [Answer; 2] {
        [ask(&mut self.postgres, sql).await, ask(&mut self.lakegate, sql).await]
    }

    /// Both must do it.
    async fn run(&mut self, sql: &str) {
        let answers = self.both(sql).await;
        assert!(answers.iter().all(|a| matches!(a, Answer::Done { .. })), "{sql}: {answers:?}");
    }

    async fn step(&mut self, table: &str, sql: &str, seed: u64) {
        self.steps += 1;
        let [theirs, ours] = self.both(sql).await;
        assert_eq!(theirs, ours, "LAKEGATE_SEED={seed}, step {}:\n{sql}", self.steps);
        let [theirs, ours] = self.both(&format!("SELECT * FROM {table}")).await;
        assert_eq!(theirs, ours, "LAKEGATE_SEED={seed}, after step {}:\n{sql}", self.steps);
        if matches!(theirs, Answer::Done { rows, .. } if rows.len() > ROWS_MAX) {
            self.run(&format!("DELETE FROM {table} WHERE id % 3 = 0")).await;
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_hold_what_postgresql_holds_after_each_statement() {
    let seed = number("LAKEGATE_SEED").unwrap_or(SEED);
    let statements = number("LAKEGATE_STATEMENTS").unwrap_or(STATEMENTS);
    println!("LAKEGATE_SEED={seed}");
    let files = Files { policy: POLICY.into(), users: vec![("root".into(), String::new())], ..Files::default() };
    let gateway = Gateway::start_after(&files.with_lake(), async |dir: &Path| peculiar_tables(dir).await).await;
    let server = Server::with(&["timezone=UTC"]).await;
    server.run("CREATE DATABASE lakegate TEMPLATE postgres").await;
    let at = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut beside = Beside {
        postgres: Client::log_in(at, "postgres", "sesame").await.unwrap(),
        lakegate: Client::log_in(gateway.server.pg, "root", "root").await.unwrap(),
        steps: 0,
    };
    ask(&mut beside.postgres, "CREATE SCHEMA h").await;
    let columns = |key: &str| {
        let all = COLUMNS.iter().map(|(name, of)| format!("{name} {of}{}", if *name == "id" { key } else { "" }));
        all.collect::<Vec<_>>().join(", ")
    };
    for table in TABLES {
        match table {
            "temp" => beside.run(&format!("CREATE TEMP TABLE temp ({})", columns(""))).await,
            "plain" => beside.run(&format!("CREATE TABLE h.plain ({})", columns(""))).await,
            "keyed" => beside.run(&format!("CREATE TABLE h.keyed ({})", columns(" PRIMARY KEY"))).await,
            _ => {
                ask(&mut beside.postgres, &format!("CREATE TABLE h.{table} ({})", columns(""))).await;
            }
        }
    }
    beside.run(&format!("CREATE TABLE h.src ({})", columns(""))).await;
    let mut history = History::new(Dice::new(seed, &[]));
    beside.run(&history.source()).await;
    for _ in 0..statements {
        let (table, sql) = history.statement(&TABLES);
        beside.step(&table, &sql, seed).await;
    }
}
