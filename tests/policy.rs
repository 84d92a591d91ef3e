//! The policy matrix: what the shipped `catalog/` and `policies/` mean, as text that is reviewed like code. Every demo
//! user × table × column, and every kind of statement × user, over the demo as a newcomer starts it.

use std::fmt::Write;
use std::process::Command;

use crate::demo::Demo;
use crate::gateway::{copy_nothing_in, simple};
use crate::tree;

const USERS: [&str; 3] = ["admin", "analyst", "auditor"];

/// A statement of every kind there is a word for, ours and others'; `{n}` keeps users out of each other's way. What one
/// makes a later one takes away.
const STATEMENTS: &[(&str, &str)] = &[
    ("select", "SELECT 1"),
    ("select a table", "SELECT 1 FROM sales.orders LIMIT 1"),
    ("select a denied column", "SELECT ssn FROM crm.customers LIMIT 1"),
    ("select a raw record", "SELECT _key FROM events.order_events LIMIT 1"),
    ("select a dataset", "SELECT 1 FROM reports.revenue_by_region LIMIT 1"),
    ("select a database's table", "SELECT 1 FROM crm.customers LIMIT 1"),
    ("values", "VALUES (1)"),
    ("table", "TABLE sales.orders LIMIT 1"),
    ("with", "WITH o AS (SELECT 1 FROM sales.orders LIMIT 1) SELECT * FROM o"),
    ("set", "SET application_name = 'matrix'"),
    ("set local", "SET LOCAL application_name = 'matrix'"),
    ("set role", "SET ROLE admins"),
    ("set session authorization", "SET SESSION AUTHORIZATION admin"),
    ("reset", "RESET application_name"),
    ("reset all", "RESET ALL"),
    ("show", "SHOW server_version"),
    ("begin", "BEGIN"),
    ("set transaction", "SET TRANSACTION READ ONLY"),
    ("commit", "COMMIT"),
    ("rollback", "ROLLBACK"),
    ("savepoint", "SAVEPOINT a"),
    ("prepare", "PREPARE matrix AS SELECT 1 FROM sales.orders LIMIT 1"),
    ("execute", "EXECUTE matrix"),
    ("deallocate", "DEALLOCATE ALL"),
    ("discard", "DISCARD ALL"),
    ("create schema", "CREATE SCHEMA matrix_{n}"),
    ("create table", "CREATE TABLE matrix_{n}.made (a int8)"),
    ("create table as", "CREATE TABLE matrix_{n}.copied AS SELECT order_id, region FROM sales.orders LIMIT 1"),
    ("insert", "INSERT INTO matrix_{n}.made VALUES (1)"),
    ("insert of a query", "INSERT INTO matrix_{n}.made SELECT order_id FROM sales.orders LIMIT 1"),
    ("insert into another's", "INSERT INTO sales.products (product_id) SELECT 0 WHERE false"),
    ("insert into a database", "INSERT INTO crm.customers (customer_id) VALUES (0)"),
    ("insert into a topic", "INSERT INTO events.order_events (event_id) VALUES ('x')"),
    ("drop table", "DROP TABLE matrix_{n}.made"),
    ("drop table", "DROP TABLE matrix_{n}.copied"),
    ("drop schema", "DROP SCHEMA matrix_{n}"),
    ("create in another's schema", "CREATE TABLE crm.made (a int8)"),
    ("drop a database's table", "DROP TABLE crm.customers"),
    ("update", "UPDATE sales.orders SET region = 'EU' WHERE false"),
    ("delete", "DELETE FROM sales.orders WHERE false"),
    (
        "merge",
        "MERGE INTO sales.orders o USING sales.orders p ON o.order_id = p.order_id AND false WHEN MATCHED THEN DELETE",
    ),
    ("truncate", "TRUNCATE sales.orders"),
    ("explain", "EXPLAIN SELECT * FROM sales.orders"),
    ("explain analyze", "EXPLAIN ANALYZE SELECT * FROM sales.orders"),
    ("copy to", "COPY sales.orders TO STDOUT"),
    ("copy from", "COPY sales.orders FROM STDIN"),
    ("copy to a file", "COPY sales.orders TO '/tmp/orders'"),
    ("declare", "DECLARE c CURSOR FOR SELECT 1"),
    ("fetch", "FETCH ALL FROM c"),
    ("close", "CLOSE c"),
    ("create view", "CREATE VIEW sales.v AS SELECT 1"),
    ("drop view", "DROP VIEW IF EXISTS sales.v"),
    ("create materialized view", "CREATE MATERIALIZED VIEW sales.v AS SELECT 1"),
    ("refresh materialized view", "REFRESH MATERIALIZED VIEW sales.v"),
    ("drop materialized view", "DROP MATERIALIZED VIEW sales.v"),
    ("create index", "CREATE INDEX i ON sales.orders (order_id)"),
    ("create function", "CREATE FUNCTION f() RETURNS int LANGUAGE SQL AS 'SELECT 1'"),
    ("create role", "CREATE ROLE r"),
    ("create policy", "CREATE POLICY p ON sales.orders USING (true)"),
    ("create extension", "CREATE EXTENSION dblink"),
    ("create external table", "CREATE EXTERNAL TABLE e (a int) STORED AS CSV LOCATION '/etc/passwd'"),
    ("alter table", "ALTER TABLE sales.orders ADD COLUMN a int"),
    ("alter role", "ALTER ROLE analyst SUPERUSER"),
    ("grant", "GRANT SELECT ON sales.orders TO auditor"),
    ("revoke", "REVOKE SELECT ON sales.orders FROM auditor"),
    ("analyze", "ANALYZE sales.orders"),
    ("vacuum", "VACUUM sales.orders"),
    ("lock", "LOCK TABLE sales.orders"),
    ("listen", "LISTEN x"),
    ("notify", "NOTIFY x"),
    ("call", "CALL lakegate.rewrite_manifests('sales.orders')"),
    ("call of nothing", "CALL f()"),
    ("do", "DO $$ BEGIN END $$"),
    ("load", "LOAD 'x'"),
    ("comment", "COMMENT ON TABLE sales.orders IS 'x'"),
    ("admin's relation", "SELECT 1 FROM lakegate.admin"),
    ("activity", "SELECT count(*) > 0 FROM pg_stat_activity"),
    ("catalog", "SELECT count(*) > 0 FROM information_schema.columns"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_policy_means_what_was_reviewed() {
    let demo = Demo::start();
    let configuration = demo.path("lakegate.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    let said = command.arg("--config").arg(configuration).args(["policy", "matrix"]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut text =
        String::from("# user table column: see, mask, deny, hidden; on `*` filter, deny and other actions\n");
    text += &String::from_utf8(said.stdout).unwrap();
    text += "\n# user, kind of statement: outcome\n";
    for (n, user) in USERS.into_iter().enumerate() {
        let client = demo.connect(user).await;
        for (kind, sql) in STATEMENTS {
            let sql = sql.replace("{n}", &n.to_string());
            let answer = match *kind {
                "copy from" => copy_nothing_in(demo.connect(user).await, &sql).await,
                _ => simple(&client, &sql).await,
            };
            let outcome = match answer.strip_prefix("ERROR ") {
                Some(error) => error.replace(&format!("matrix_{n}"), "matrix"),
                None => "done".into(),
            };
            writeln!(text, "{user}, {kind}: {outcome}").unwrap();
        }
    }
    // every table has its row for everybody: a new one cannot go by unnoticed
    let admin = demo.connect("admin").await;
    let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                  WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    let tables = simple(&admin, tables).await;
    for table in tables.lines().filter(|line| line.contains('.')) {
        for user in USERS {
            assert!(text.contains(&format!("{user} {table} ")), "{user} {table} has no row");
        }
    }

    let path = tree::root().join("tests/policy.out");
    if std::env::var_os("LAKEGATE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let missing = format!("{}{}", difference(&text, &reviewed, "+ "), difference(&reviewed, &text, "- "));
    assert!(
        missing.is_empty() && reviewed == text,
        "the policy means something else than tests/policy.out says:\n{missing}\nIf that is meant: \
         LAKEGATE_BLESS=1 cargo test --test it the_shipped_policy, then review the difference like code."
    );
}

/// Lines of `a` that `b` lacks.
fn difference(a: &str, b: &str, sign: &str) -> String {
    let known: std::collections::BTreeSet<&str> = b.lines().collect();
    a.lines().filter(|line| !known.contains(line)).map(|line| format!("{sign}{line}\n")).collect()
}
