//! A column that is added to a restricted table is hidden from whoever is restricted there (attack 29): in memory, an
//! Iceberg lake changed by PyIceberg, PostgreSQL, a dataset; over both protocols, in the catalogs, by every name it has
//! had; until a line names it or an administrator accepts it.

use std::process::{Command, Output};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio_postgres::Client;

use super::barrier::broker;
use crate::gateway::{EFFECT_MAX, Files, Gateway, extended, simple, until};
use crate::lake::peers::peer;
use crate::postgres_server;

const CANARY: &str = "CNRY-mail";

/// The source's table, with or without the column that comes later.
fn memory(later: bool) -> String {
    let (column, cell) = match later {
        true => (", { name = \"email\", type = \"text\" }", format!(", \"{CANARY}\"")),
        false => ("", String::new()),
    };
    format!(
        "kind = \"memory\"\n[[table]]\nname = \"hr.emp\"\ncolumns = [{{ name = \"id\", type = \"int4\" }}, \
         {{ name = \"region\", type = \"text\" }}{column}]\nrows = [[1, \"EU\"{cell}], [2, \"US\"{cell}]]\n"
    )
}

fn dataset(later: bool) -> String {
    let more = if later { format!(", '{CANARY}' AS email") } else { String::new() };
    format!("-- owner: root\nSELECT id, region{more} FROM hr.emp")
}

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\n";
const TABLES: [&str; 5] = ["hr.emp", "lake.emp", "crm.emp", "stream.emp", "views.emp"];

/// Its records hold the field from the start; the table gets the column later.
fn stream(brokers: &str, later: bool) -> String {
    let column = if later { ", { name = \"email\", type = \"text\" }" } else { "" };
    format!(
        "kind = \"kafka\"\nbrokers = \"{brokers}\"\nschema = \"stream\"\n[topics.emp]\ncolumns = [\
         {{ name = \"id\", type = \"int4\" }}, {{ name = \"region\", type = \"text\" }}{column}]\n"
    )
}

/// ann is filtered, mask-maker max masked, dee lacks a column; fay, who has no line but an allowance, sees all.
fn policy() -> String {
    let mut text = format!("{BOOTSTRAP}p2, root, *, unfiltered\n");
    for table in TABLES {
        text += &format!(
            "p, ann, {table}, select, allow\np2, ann, {table}, \"region = 'EU'\"\n\
             p, max, {table}, select, allow\np3, max, {table}, region, redact\n\
             p, dee, {table}, select, allow\np, dee, {table}/region, select, deny\n\
             p, fay, {table}, select, allow\np2, fay, {table}, unfiltered\n"
        );
    }
    text
}

struct World {
    gateway: Gateway,
    postgres: postgres_server::Server,
    kafka: MockCluster<'static, DefaultProducerContext>,
}

impl World {
    async fn start() -> Self {
        let postgres = postgres_server::Server::start().await;
        let table = "CREATE SCHEMA crm; CREATE TABLE crm.emp (id int4, region text); \
                     INSERT INTO crm.emp VALUES (1, 'EU'), (2, 'US')";
        postgres.run(table).await;
        let record =
            |id: i32, region: &str| format!("{{\"id\": {id}, \"region\": \"{region}\", \"email\": \"{CANARY}\"}}");
        let kafka = broker(&[("emp", vec![record(1, "EU"), record(2, "US")])]).await;
        let crm = format!(
            "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\ntls = \"off\"\n\
             schemas = {{ crm = \"crm\" }}\n",
            postgres.socket(),
            postgres.port
        );
        let files = Files {
            sources: vec![
                ("fixtures".into(), memory(false)),
                ("crm".into(), crm),
                ("stream".into(), stream(&kafka.bootstrap_servers(), false)),
            ],
            datasets: vec![("views.emp".into(), dataset(false))],
            policy: BOOTSTRAP.into(),
            users: ["root", "ann", "max", "dee", "fay"].map(|n| (n.to_string(), String::new())).into(),
            ..Files::default()
        };
        let gateway = Gateway::start(&files.with_lake()).await;
        gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.emp AS SELECT * FROM hr.emp"]).await;
        gateway.change_policy(&policy()).await;
        Self { gateway, postgres, kafka }
    }

    /// To every table at once, each in its source's own way; returns when root sees it everywhere.
    async fn add_the_column(&self) {
        std::fs::write(self.gateway.path("catalog/sources/fixtures.toml"), memory(true)).unwrap();
        std::fs::write(self.gateway.path("catalog/datasets/views.emp.sql"), dataset(true)).unwrap();
        let stream = stream(&self.kafka.bootstrap_servers(), true);
        std::fs::write(self.gateway.path("catalog/sources/stream.toml"), stream).unwrap();
        let column = format!("ALTER TABLE crm.emp ADD COLUMN email text DEFAULT '{CANARY}'");
        self.postgres.run(&column).await;
        let row =
            |id: i32, region: &str| format!("row:{{\"id\": {id}, \"region\": \"{region}\", \"email\": \"{CANARY}\"}}");
        self.change_lake(&["add:email", &row(3, "EU"), &row(4, "US")]).await;
        let root = self.gateway.connect("root").await;
        for table in TABLES {
            until(&root, &format!("SELECT max(email) FROM {table}"), |a| a.starts_with(CANARY)).await;
        }
    }

    async fn change_lake(&self, steps: &[&str]) {
        let database = self.gateway.path("metastore.db").display().to_string();
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let change = move || {
            let steps = steps.iter().map(String::as_str);
            peer(&["change", &database, "lake.emp"].into_iter().chain(steps).collect::<Vec<_>>())
        };
        tokio::task::spawn_blocking(change).await.unwrap();
    }

    /// `lakegate policy …` beside the running server.
    fn policy(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.current_dir(self.gateway.dir.path()).arg("policy").args(arguments);
        command.env_remove("LAKEGATE_CONFIG").output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + String::from_utf8_lossy(&output.stderr).as_ref()
}

/// Every way to the column, as answers of a client for whom there is none.
async fn hidden(client: &Client, table: &str, column: &str) {
    let (schema, _) = table.split_once('.').unwrap();
    let absent = format!("ERROR 42703 column \"{column}\" does not exist");
    for sql in [
        format!("SELECT {column} FROM {table}"),
        format!("SELECT id FROM {table} WHERE {column} LIKE 'C%'"),
        format!("SELECT count(*) FROM {table} GROUP BY {column}"),
        format!("SELECT id FROM {table} ORDER BY {column}"),
        format!("SELECT count(*) FILTER (WHERE {column} <> '') FROM {table}"),
    ] {
        for answer in [simple(client, &sql).await, extended(client, &sql).await] {
            assert_eq!(answer, absent, "{sql}");
        }
    }
    for sql in [
        format!("SELECT * FROM {table}"),
        format!("TABLE {table}"),
        format!("SELECT e.* FROM {table} e NATURAL JOIN {table} f"),
        format!("SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}'"),
        format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass"),
        format!(
            "SELECT * FROM information_schema.columns WHERE table_schema = '{schema}' AND column_name = '{column}'"
        ),
        format!("SELECT count(*) FROM pg_attribute WHERE attname = '{column}' AND attrelid = '{table}'::regclass"),
    ] {
        let answer = simple(client, &sql).await;
        let rows = answer.lines().filter(|line| !line.starts_with('('));
        let told = rows.clone().any(|row| row.contains(CANARY) || row.contains(column));
        assert!(!told && !answer.starts_with("ERROR"), "{sql}: {answer}");
    }
    // no gap in the numbers either
    let numbers =
        format!("SELECT count(*) - max(attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0");
    assert_eq!(simple(client, &numbers).await, "0\n(1)", "{table}");
}

async fn shown(client: &Client, table: &str) {
    let answer = simple(client, &format!("SELECT max(email) FROM {table}")).await;
    assert_eq!(answer, format!("{CANARY}\n(1)"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_of_a_restricted_table_is_hidden_until_it_is_named_or_accepted() {
    let world = World::start().await;
    let gateway = &world.gateway;
    let ann = gateway.connect("ann").await;
    let kept = ann.prepare("SELECT * FROM lake.emp").await.unwrap();
    world.add_the_column().await;
    for user in ["ann", "max", "dee"] {
        let client = gateway.connect(user).await;
        for table in TABLES {
            hidden(&client, table, "email").await;
        }
    }
    let fay = gateway.connect("fay").await;
    for table in TABLES {
        shown(&fay, table).await;
    }
    let rows = ann.query(&kept, &[]).await.unwrap();
    assert!(rows.iter().all(|row| row.len() == 2), "a statement prepared before");

    // a line that names it, for whom it names
    let named = format!("{}p, ann, hr.emp/email, select, allow\np3, ann, lake.emp, email, unmasked\n", policy());
    gateway.change_policy(&named).await;
    let max = gateway.connect("max").await;
    for table in ["hr.emp", "lake.emp"] {
        shown(&ann, table).await;
        hidden(&max, table, "email").await;
    }
    hidden(&ann, "crm.emp", "email").await;
    let masked = format!("{}p3, ann, hr.emp, email, redact\n", policy());
    gateway.change_policy(&masked).await;
    assert_eq!(simple(&ann, "SELECT DISTINCT email FROM hr.emp").await, "xxxx\n(1)");

    // named to the administrator, and accepted by him while the server runs
    gateway.change_policy(&policy()).await;
    let check = world.policy(&["check"]);
    for table in TABLES {
        let line = format!("`{table}` has columns that came after it was restricted");
        assert!(said(&check).lines().any(|l| l.contains(&line) && l.contains("`email`")), "{}", said(&check));
    }
    assert!(!world.policy(&["check", "--strict"]).status.success());
    let explained = said(&world.policy(&["explain", "ann", "hr.emp/email", "--verify"]));
    assert!(explained.contains("email: hidden, new since") && explained.contains("agree"), "{explained}");
    let one = world.policy(&["accept-columns", "hr.emp"]);
    assert!(one.status.success() && said(&one) == "hr.emp: email\n", "{}", said(&one));
    let took = until(&ann, "SELECT max(email) FROM hr.emp", |a| a.starts_with(CANARY)).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    for table in &TABLES[1..] {
        hidden(&ann, table, "email").await;
    }
    assert!(!world.policy(&["accept-columns", "hr.nothing"]).status.success());
    let all = said(&world.policy(&["accept-columns"]));
    for table in &TABLES[1..] {
        assert!(all.contains(&format!("{table}: email\n")), "{all}");
        let took = until(&ann, &format!("SELECT max(email) FROM {table}"), |a| a.starts_with(CANARY)).await;
        assert!(took < EFFECT_MAX, "{took:?}");
    }
    assert_eq!(said(&world.policy(&["accept-columns"])), "there is no new column\n");
    assert!(!said(&world.policy(&["check"])).contains("came after"));
}

/// What a column is called says nothing: Iceberg knows it by its field id, PostgreSQL by its attnum.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_is_the_same_and_one_made_anew_is_new() {
    let world = World::start().await;
    let (root, fay) = (world.gateway.connect("root").await, world.gateway.connect("fay").await);
    world.add_the_column().await;
    let ann = world.gateway.connect("ann").await;
    // the new one under another name is still new
    world.postgres.run("ALTER TABLE crm.emp RENAME COLUMN email TO mail").await;
    world.change_lake(&["rename:email:mail"]).await;
    for table in ["crm.emp", "lake.emp"] {
        until(&root, &format!("SELECT max(mail) FROM {table}"), |a| a.starts_with(CANARY)).await;
        hidden(&ann, table, "mail").await;
        hidden(&ann, table, "email").await;
    }
    // an old one under another name is still known
    let accepted = world.policy(&["accept-columns"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    until(&ann, "SELECT max(mail) FROM crm.emp", |a| a.starts_with(CANARY)).await;
    world.postgres.run("ALTER TABLE crm.emp RENAME COLUMN mail TO post").await;
    world.change_lake(&["rename:mail:post"]).await;
    for table in ["crm.emp", "lake.emp"] {
        until(&ann, &format!("SELECT max(post) FROM {table}"), |a| a.starts_with(CANARY)).await;
    }
    // the name of an old one is no right to a new one
    let anew =
        format!("ALTER TABLE crm.emp DROP COLUMN post; ALTER TABLE crm.emp ADD COLUMN post text DEFAULT '{CANARY}2'");
    world.postgres.run(&anew).await;
    let row = format!("row:{{\"id\": 5, \"region\": \"EU\", \"post\": \"{CANARY}2\"}}");
    world.change_lake(&["drop:post", "add:post", &row]).await;
    for table in ["crm.emp", "lake.emp"] {
        until(&fay, &format!("SELECT max(post) FROM {table}"), |a| a.starts_with(&format!("{CANARY}2"))).await;
        // A source that answers fay by a text of its own may do so before anybody here has looked at its columns; until
        // then ann's scan of the column that was is refused.
        until(&ann, &format!("SELECT post FROM {table}"), |a| !a.starts_with("ERROR HV000")).await;
        hidden(&ann, table, "post").await;
    }
}

/// A restart over the same files and metastore: what was new is new, what was there at the first start was never new.
#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_outlives_the_server() {
    let world = World::start().await;
    let World { gateway, postgres, kafka: _kafka } = world;
    let dir = gateway.stop().await;
    // while nobody serves
    std::fs::write(dir.path().join("catalog/sources/fixtures.toml"), memory(true)).unwrap();
    postgres.run(&format!("ALTER TABLE crm.emp ADD COLUMN email text DEFAULT '{CANARY}'")).await;
    let gateway = Gateway::again(dir).await;
    let (ann, fay) = (gateway.connect("ann").await, gateway.connect("fay").await);
    for table in ["hr.emp", "crm.emp"] {
        hidden(&ann, table, "email").await;
        shown(&fay, table).await;
    }
    // a table nobody restricted until now: all that it has is known
    let loose =
        policy().replace("p2, ann, hr.emp, \"region = 'EU'\"\n", "").replace("p3, max, hr.emp, region, redact\n", "");
    let loose = loose.replace("p, dee, hr.emp/region, select, deny\n", "");
    gateway.change_policy(&loose).await;
    shown(&ann, "hr.emp").await;
    // restricted again, it has the baseline of before: a file that lacks its lines for a moment gives nothing away
    gateway.change_policy(&policy()).await;
    hidden(&ann, "hr.emp", "email").await;
}

/// Restricted for the first time, a table is known as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_restricted_later_is_known_as_it_stands_then() {
    let files = Files {
        sources: vec![("fixtures".into(), memory(false))],
        policy: format!("{BOOTSTRAP}p, ann, hr.emp, select, allow\n"),
        users: ["root", "ann"].map(|n| (n.to_string(), String::new())).into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files).await;
    let ann = gateway.connect("ann").await;
    std::fs::write(gateway.path("catalog/sources/fixtures.toml"), memory(true)).unwrap();
    until(&ann, "SELECT max(email) FROM hr.emp", |a| a.starts_with(CANARY)).await;
    gateway.change_policy(&format!("{}p2, ann, hr.emp, \"region = 'EU'\"\n", files.policy)).await;
    assert_eq!(simple(&ann, "SELECT * FROM hr.emp").await, format!("1|EU|{CANARY}\n(1)"));
}
