//! What people connect with: psql, psycopg, pgjdbc, node-pg and tokio-postgres, each over TLS to a name it verifies, its
//! SCRAM login bound to that certificate. Each is asked the same by PostgreSQL and by lakegate and must print the same:
//! names, types, values, errors. Then each reads a million rows.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use futures::TryStreamExt;
use tokio::process::Command;
use tokio_postgres::types::Type;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::gateway::{Files, Gateway, PATIENCE, told, until};
use crate::postgres_server;

/// PostgreSQL's table; lakegate's is an Iceberg table, made from it through the source.
const NUMBERS: &str = "CREATE TABLE drivers.numbers AS SELECT id::int8 AS id, (id % 7)::int4 AS small, \
    (id * 1.01)::numeric(12,2) AS amount, 'name ' || id AS name, CASE WHEN id % 3 <> 0 THEN 'note' END AS note, \
    date '2020-01-01' + id % 1000 AS day, timestamptz '2024-01-01T00:00:00Z' + id * interval '1 second' AS at, \
    id % 2 = 0 AS flag, id::float8 / 4 AS ratio FROM generate_series(1, 1000000) AS series(id)";

const WRITTEN: &str =
    "CREATE TABLE drivers.written (id int8, note text, amount numeric(12,2), day date, at timestamptz, flag boolean)";

/// Every row folded into one line, as each driver folds what it reads.
const FOLDED: &str = "SELECT concat_ws(' ', 'folded', count(*), sum(id), sum(small), sum(amount), sum(length(name)), \
    count(note), sum(day - date '2000-01-01'), sum(extract(epoch FROM at))::int8, count(*) FILTER (WHERE flag), \
    floor(sum(ratio))::int8) FROM drivers.numbers";

const READ: &str = "SELECT id, small, amount, name, note, day, at, flag, ratio FROM drivers.numbers";

/// The two servers, under one certificate and with the same user, password and database.
struct Pair {
    gateway: Gateway,
    postgres: postgres_server::Server,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();

        let postgres = postgres_server::Server::start().await;
        postgres.write("server.crt", &made.cert.pem());
        postgres.write("server.key", &made.signing_key.serialize_pem());
        for sql in [
            "CREATE ROLE root SUPERUSER LOGIN PASSWORD 'root'",
            "CREATE DATABASE lakegate",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ] {
            postgres.run(sql).await;
        }
        let source = format!(
            "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"lakegate\"\nuser = \"postgres\"\ntls = \"off\"\n\
             schemas = {{ drivers = \"origin\" }}\n",
            postgres.socket(),
            postgres.port
        );
        let files = Files {
            sources: vec![("origin".into(), source)],
            policy: ["select", "insert", "create", "drop"]
                .map(|right| format!("p, root, *, {right}, allow\n"))
                .concat(),
            users: vec![("root".into(), String::new())],
            certificate: Some((certificate, key)),
            ..Files::default()
        };
        let gateway = Gateway::start(&files.with_lake()).await;
        let pair = Self { gateway, postgres, folder };
        let begin = Instant::now();
        while let Err(error) = pair.connect(pair.postgres.port).await {
            assert!(begin.elapsed() < PATIENCE, "PostgreSQL takes no TLS: {error}");
        }
        let [postgres, lakegate] = pair.ports();
        pair.execute(postgres, &["CREATE SCHEMA drivers", NUMBERS, WRITTEN]).await;
        let client = pair.connect(lakegate).await.unwrap();
        until(&client, "SELECT count(*) FROM origin.numbers", |answer| answer.starts_with("1000000")).await;
        let copy = "CREATE TABLE drivers.numbers AS SELECT * FROM origin.numbers";
        pair.execute(lakegate, &["CREATE SCHEMA drivers", copy, WRITTEN]).await;
        pair
    }

    /// PostgreSQL's, lakegate's.
    fn ports(&self) -> [u16; 2] {
        [self.postgres.port, self.gateway.server.pg.port()]
    }

    fn certificate(&self) -> String {
        self.folder.path().join("c.pem").display().to_string()
    }

    async fn connect(&self, port: u16) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        use rustls::pki_types::pem::PemObject;
        let certificate = rustls::pki_types::CertificateDer::from_pem_file(self.certificate()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = MakeRustlsConnect::new(tls.with_root_certificates(roots).with_no_client_auth());
        let mut config = tokio_postgres::Config::new();
        config.host("localhost").port(port).user("root").password("root").dbname("lakegate");
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn execute(&self, port: u16, statements: &[&str]) {
        let client = self.connect(port).await.unwrap();
        for sql in statements {
            client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {}", told(&e)));
        }
    }

    /// What the program prints, connected to `port` by libpq's environment.
    async fn run(&self, command: &[String], port: u16) -> String {
        let ran = Command::new(&command[0])
            .args(&command[1..])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers"))
            .envs([("PGHOST", "localhost"), ("PGUSER", "root"), ("PGPASSWORD", "root"), ("PGDATABASE", "lakegate")])
            .envs([("PGSSLMODE", "verify-full"), ("PGCHANNELBINDING", "require"), ("TZ", "UTC"), ("PGTZ", "UTC")])
            .env("PGPORT", port.to_string())
            .env("PGSSLROOTCERT", self.certificate())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|e| panic!("{}: {e}; `./x test` installs it", command[0]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ran.status.success(), "{command:?}: {}\n{}", text(&ran.stderr), text(&ran.stdout));
        text(&ran.stdout)
    }

    /// The same questions to both.
    async fn ask(&self, name: &str, command: &[String]) -> Vec<String> {
        let [postgres, lakegate] = self.ports();
        let (expected, found) = (self.run(command, postgres).await, self.run(command, lakegate).await);
        for port in self.ports() {
            self.execute(port, &["DROP TABLE drivers.written", WRITTEN]).await;
        }
        println!("{name}: {} lines", found.lines().count());
        differences(name, &expected, &found)
    }

    /// Every row, against what PostgreSQL says of them all.
    async fn read(&self, name: &str, command: &[String]) -> Vec<String> {
        let [postgres, lakegate] = self.ports();
        let row = self.connect(postgres).await.unwrap().query_one(FOLDED, &[]).await.unwrap();
        let found = self.run(command, lakegate).await;
        let (folded, took) = found.trim().rsplit_once('\n').unwrap_or((&found, ""));
        println!("{name}: a million rows, {took}");
        differences(name, row.get(0), folded)
    }
}

fn differences(name: &str, expected: &str, found: &str) -> Vec<String> {
    let lines = expected.lines().count().max(found.lines().count());
    let padded = |text: &'static str| std::iter::repeat(text);
    let pairs = expected.lines().chain(padded("nothing")).zip(found.lines().chain(padded("nothing"))).take(lines);
    let different = pairs.enumerate().filter(|(_, (expected, found))| expected != found);
    different.map(|(n, (e, f))| format!("{name}, line {}\n  PostgreSQL: {e}\n  lakegate:   {f}", n + 1)).collect()
}

/// The program of a driver, and how it is started. What `./x test` sets says where it lies.
fn programs() -> [(&'static str, Vec<String>); 3] {
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `./x test` fetches the drivers and sets it"))
    };
    let words = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    [
        ("psycopg", words(&[&variable("LAKEGATE_TEST_PYTHON"), "driver.py"])),
        (
            "node-pg",
            words(&["env", &format!("NODE_PATH={}", variable("LAKEGATE_TEST_NODE_PATH")), "node", "driver.js"]),
        ),
        ("pgjdbc", words(&["java", "-Duser.timezone=UTC", "-cp", &variable("LAKEGATE_TEST_PGJDBC"), "Driver.java"])),
    ]
}

fn with(program: &[String], more: &[&str]) -> Vec<String> {
    program.iter().cloned().chain(more.iter().map(|w| w.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_see_what_postgresql_shows_them() {
    let pair = Pair::start().await;
    let mut different = vec![];
    for (name, program) in programs() {
        different.extend(pair.ask(name, &with(&program, &["ask", "questions.txt"])).await);
        for format in ["text", "binary"] {
            different.extend(pair.read(&format!("{name}, {format}"), &with(&program, &["read", format])).await);
        }
    }
    let psql = ["bash", "-c", "psql -X -a -f questions.sql 2>&1"].map(String::from);
    different.extend(pair.ask("psql", &psql).await);
    different.extend(psql_reads(&pair).await);
    different.extend(tokio_postgres_reads(&pair).await);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The bytes that psql writes, by their hash.
async fn psql_reads(pair: &Pair) -> Vec<String> {
    let script = format!("set -o pipefail; psql -X -A -t -c \"{READ} ORDER BY id\" | sha256sum");
    let command = ["bash", "-c", &script].map(String::from);
    let [postgres, lakegate] = pair.ports();
    let expected = pair.run(&command, postgres).await;
    let begin = Instant::now();
    let found = pair.run(&command, lakegate).await;
    println!("psql: a million rows, seconds {:.2}", begin.elapsed().as_secs_f32());
    differences("psql", &expected, &found)
}

/// tokio-postgres decodes binary only, and streams.
async fn tokio_postgres_reads(pair: &Pair) -> Vec<String> {
    let mut told = vec![];
    for port in pair.ports() {
        let client = pair.connect(port).await.unwrap();
        let types = [Type::INT8, Type::BOOL];
        let statement = client.prepare_typed(&format!("{READ} WHERE id > $1 AND flag = $2"), &types).await.unwrap();
        let columns = statement.columns().iter().map(|c| format!("{} {}", c.name(), c.type_()));
        let mut lines = vec![columns.collect::<Vec<_>>().join(", ")];
        for flag in [false, true] {
            let begin = Instant::now();
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&0i64, &flag];
            let rows = client.query_raw(&statement, parameters).await.unwrap();
            let fold = rows.try_fold([0i64; 5], |[rows, ids, smalls, letters, notes], row| async move {
                let note = i64::from(row.get::<_, Option<&str>>("note").is_some());
                let letters = letters + row.get::<_, &str>("name").len() as i64;
                let small = i64::from(row.get::<_, i32>("small"));
                Ok([rows + 1, ids + row.get::<_, i64>("id"), smalls + small, letters, notes + note])
            });
            lines.push(format!("{:?}", fold.await.unwrap()));
            println!("tokio-postgres: half a million rows, seconds {:.2}", begin.elapsed().as_secs_f32());
        }
        told.push(lines.join("\n"));
    }
    differences("tokio-postgres", &told[0], &told[1])
}
