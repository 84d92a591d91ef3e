//! What is written to the source: transactions by chance from several sessions at once, and changes of the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::postgres_server::Server;

pub const SCHEMA: &str = "
CREATE TABLE people (id int PRIMARY KEY, name text, story text, worth numeric(12, 2), at timestamptz DEFAULT now());
ALTER TABLE people ALTER story SET STORAGE EXTERNAL;
CREATE TABLE pairs (a int, b text, amount numeric, note text, PRIMARY KEY (a, b));
ALTER TABLE pairs REPLICA IDENTITY FULL;
ALTER TABLE pairs ALTER note SET STORAGE EXTERNAL;
CREATE TABLE bag (x int, y text);
ALTER TABLE bag REPLICA IDENTITY FULL;
CREATE TABLE months (id int, month int, v text, PRIMARY KEY (id, month)) PARTITION BY LIST (month);
CREATE TABLE months_1 PARTITION OF months FOR VALUES IN (1);
CREATE TABLE months_2 PARTITION OF months FOR VALUES IN (2);
CREATE TABLE keyed (id uuid, v int NOT NULL, doubled int GENERATED ALWAYS AS (v * 2) STORED);
CREATE UNIQUE INDEX keyed_v ON keyed (v);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_v;
CREATE TABLE \"Odd Name\" (\"Id\"\"x\" int PRIMARY KEY, \"v é\" text);
INSERT INTO people SELECT i, 'n' || i, repeat(md5(i::text), 100), i, now() FROM generate_series(1, 3000) i;
INSERT INTO pairs SELECT i, 'b' || i % 7, i / 3.0, repeat(md5(i::text), 100) FROM generate_series(1, 500) i;
INSERT INTO bag SELECT i % 5, 'y' FROM generate_series(1, 100) i;
INSERT INTO months SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 300) i;
INSERT INTO keyed SELECT gen_random_uuid(), i FROM generate_series(1, 100) i;
INSERT INTO \"Odd Name\" SELECT i, 'v' FROM generate_series(1, 50) i";

pub const TYPES: &str = "
CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('sad', 'ok', 'happy \"x\"');
CREATE DOMAIN kinds.positive AS int CHECK (value > 0);
CREATE DOMAIN kinds.cents AS numeric(10, 2);
CREATE TYPE kinds.point AS (x int, label text);
CREATE TABLE kinds.plain (id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric(20, 6), t text,
  v varchar(20), c char(5), j json, jb jsonb, by bytea, d date, ti time, ts timestamp, tz timestamptz, u uuid,
  m kinds.mood, p kinds.positive, ce kinds.cents, ia int[], ta text[], na numeric(8, 2)[], tsa timestamptz[], ba bytea[]);
CREATE TABLE kinds.odd (id int PRIMARY KEY, n numeric, iv interval, tt timetz, net inet, ci cidr, mac macaddr, mo money,
  bi bit(3), vb bit varying, r int4range, mr nummultirange, pt point, co kinds.point, ma kinds.mood[], oi oid, rc regclass,
  x xml, ts tsvector, big numeric(60, 3), mm int[][], q kinds.cents[], lsn pg_lsn, ch \"char\")";

/// `VALUES (` is written to each once more, with other keys.
pub const TYPED_ROWS: &str = r#"
INSERT INTO kinds.plain VALUES (1, true, -32768, 9223372036854775807, 'NaN', '-Infinity', 12345.678900, 'a''b\c', 'v', 'c',
  '{"a":  1}', '{"b": [1, 2.50], "a": null}', '\x00ff', 'infinity', '24:00', '-infinity', 'infinity',
  '00000000-0000-0000-0000-0000000000ff', 'happy "x"', 7, 1.5, '{1,NULL,3}', '{"a b",NULL,"\"q\"",""}', '{1.50,-2}',
  '{2024-02-29 12:00:00.123456+02}', '{"\\x01"}');
INSERT INTO kinds.plain VALUES (2);
INSERT INTO kinds.plain VALUES (3, false, 0, 0, 1e-40, 0.1, 0, '', '', '', '[]', '[]', '', '0044-03-15 BC', '00:00:00.000001',
  '0044-03-15 01:02:03 BC', '294000-01-01 00:00:00+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'sad', 1, 0, '{}', '{}', '{}', '{}', '{}');
INSERT INTO kinds.odd VALUES (1, 12345678901234567890.123456789012345678901234567890, '1 year 2 mons -3 days 04:05:06.7', '12:00+02',
  '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '12.34', '101', '1', '[1,5)', '{[1,2),[3,4]}', '(1,2)', '(1,"a b")', '{sad,ok}',
  4000000000, 'pg_class', '<a>b</a>', 'a:1 b:2', 123456789012345678901234567890123456789012345.678, '{{1,2},{3,4}}', '{1.5,2}', '16/B374D848', 'x');
INSERT INTO kinds.odd VALUES (2, 'NaN');
INSERT INTO kinds.odd VALUES (3, '-0.00')
"#;

pub struct Load {
    left: Arc<AtomicUsize>,
    writers: JoinSet<()>,
}

impl Load {
    pub async fn begin(server: &Server, seed: u64, sessions: usize, transactions: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(sessions));
        let mut writers = JoinSet::new();
        for session in 0..sessions {
            let (client, left) = (server.client().await, Arc::clone(&left));
            let random = StdRng::seed_from_u64(seed.wrapping_add(session as u64));
            writers.spawn(async move {
                write(&client, random, transactions).await;
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        Self { left, writers }
    }

    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    pub async fn end(mut self) {
        while let Some(done) = self.writers.join_next().await {
            done.unwrap();
        }
    }
}

/// Sessions meet at rows and deadlock: such a transaction is rolled back and is as good as any.
async fn write(client: &Client, mut random: StdRng, transactions: usize) {
    for _ in 0..transactions {
        let mut sql = vec!["BEGIN".to_string()];
        let large = random.random_ratio(1, 30);
        for _ in 0..if large { 400 } else { random.random_range(1..12) } {
            sql.push(statement(&mut random));
            if random.random_ratio(1, 8) {
                let (inner, end) = (statement(&mut random), if random.random() { "ROLLBACK TO" } else { "RELEASE" });
                sql.extend(["SAVEPOINT s".into(), inner, format!("{end} s")]);
            }
        }
        sql.push(if random.random_ratio(1, 8) { "ROLLBACK" } else { "COMMIT" }.into());
        if client.batch_execute(&sql.join("; ")).await.is_err() {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    }
}

fn statement(random: &mut StdRng) -> String {
    let id = random.random_range(1..4_000);
    let fresh = random.random_range(10_000..2_000_000_000);
    match random.random_range(0..100) {
        0..15 => format!(
            "INSERT INTO people VALUES ({fresh}, 'new', repeat(md5('{fresh}'), 100), {id}) ON CONFLICT DO NOTHING"
        ),
        15..20 => format!(
            "INSERT INTO people SELECT {fresh} + i, 'many', NULL, 0 FROM generate_series(1, 20) i ON CONFLICT DO NOTHING"
        ),
        20..35 => format!("UPDATE people SET name = 'u{fresh}' WHERE id % 400 = {} % 400", id),
        35..40 => format!("UPDATE people SET story = repeat(md5('{fresh}'), 80), worth = worth + 1 WHERE id = {id}"),
        40..50 => format!("UPDATE people SET id = {fresh} WHERE id = (SELECT min(id) FROM people WHERE id > {id})"),
        50..58 => format!("DELETE FROM people WHERE id % 600 = {id} % 600"),
        58..64 => format!(
            "INSERT INTO pairs VALUES ({id}, 'b{}', random(), repeat(md5('{fresh}'), 100)) ON CONFLICT (a, b) DO UPDATE SET amount = 1",
            id % 3
        ),
        64..70 => format!("UPDATE pairs SET b = b || 'x' WHERE a = {} AND length(b) < 9", id % 500),
        70..74 => format!("UPDATE pairs SET amount = {id} WHERE a % 50 = {id} % 50"),
        74..78 => format!("DELETE FROM pairs WHERE a = {}", id % 500),
        78..82 => format!("INSERT INTO bag VALUES ({}, 'z')", id % 5),
        82..86 => format!("UPDATE months SET month = 3 - month WHERE id = {}", id % 300),
        86..90 => format!("INSERT INTO months VALUES ({fresh}, {}, 'm') ON CONFLICT DO NOTHING", 1 + id % 2),
        90..93 => format!("UPDATE keyed SET v = {fresh} WHERE v = (SELECT min(v) FROM keyed)"),
        93..96 => format!("UPDATE \"Odd Name\" SET \"v é\" = 'ü{fresh}' WHERE \"Id\"\"x\" = {}", id % 50),
        96 => "TRUNCATE bag".into(),
        97 if id % 4 == 0 => "TRUNCATE people, pairs".into(),
        _ => format!("DELETE FROM months WHERE id = {}", id % 300),
    }
}

/// While an ingester follows, or is far behind, or dead.
pub async fn change_tables(server: &Server, random: &mut StdRng, round: usize) {
    let more = "INSERT INTO people (id, name) SELECT 3000000000 - 900000000 + i, 'after' FROM generate_series(1, 5) i ON CONFLICT DO NOTHING; \
        UPDATE people SET name = name || '.' WHERE id % 100 = 1";
    let changes = [
        format!("ALTER TABLE people ADD COLUMN plain{round} text"),
        format!("ALTER TABLE people ADD COLUMN preset{round} int DEFAULT {round}"),
        format!("ALTER TABLE people ADD COLUMN computed{round} float8 DEFAULT random()"),
        format!("ALTER TABLE people RENAME COLUMN worth TO worth{round}; {more}; ALTER TABLE people RENAME COLUMN worth{round} TO worth"),
        format!("ALTER TABLE pairs RENAME COLUMN amount TO amount{round}; UPDATE pairs SET a = a WHERE a < 50; ALTER TABLE pairs RENAME amount{round} TO amount"),
        format!("ALTER TABLE people ALTER worth TYPE numeric({}, 3) USING worth * 2", 14 + round),
        format!("CREATE TABLE later{round} (id int PRIMARY KEY, v text); INSERT INTO later{round} SELECT i, 'v' FROM generate_series(1, 200) i"),
        "DROP TABLE bag; CREATE TABLE bag (x int, y text); ALTER TABLE bag REPLICA IDENTITY FULL; INSERT INTO bag VALUES (1, 'again')".into(),
        "ALTER TABLE people ADD COLUMN brief int; UPDATE people SET brief = 1 WHERE id % 3 = 0; ALTER TABLE people DROP COLUMN brief".into(),
    ];
    for _ in 0..3 {
        let change = &changes[random.random_range(0..changes.len())];
        // One that was made already is refused, and that is as good.
        let together = random.random_bool(0.3);
        let sql = match together {
            true => format!("BEGIN; {more}; {change}; {more}; COMMIT"),
            false => format!("{change}; {more}"),
        };
        let client = server.client().await;
        let _ = client.batch_execute(&sql).await;
    }
}
