//! What one may not see answers as what is not there (attack 16), whatever is asked and wherever the name stands: the same
//! bytes for a hidden name and for one that never was.

use tokio_postgres::Client;

use super::{POLICY, World};
use crate::gateway::{extended, simple};

/// Statements over a schema `{s}`. What stands before `;` is sent first, for writes stand alone.
const SCHEMAS: &[&str] = &[
    "CREATE SCHEMA {s}",
    "CREATE SCHEMA IF NOT EXISTS {s}",
    "CREATE SCHEMA \"{s}\"",
    "CREATE SCHEMA {s} AUTHORIZATION zoe",
    "DROP SCHEMA {s}",
    "DROP SCHEMA IF EXISTS {s}",
    "DROP SCHEMA {s}, hr",
    "DROP SCHEMA hr, {s}",
    "DROP SCHEMA IF EXISTS hr, {s}",
    "DROP SCHEMA {s} CASCADE",
    "DROP SCHEMA {s} RESTRICT",
    "ALTER SCHEMA {s} RENAME TO y",
    "COMMENT ON SCHEMA {s} IS 'x'",
    "GRANT USAGE ON SCHEMA {s} TO zoe",
    "CREATE TABLE {s}.t (a int)",
    "CREATE TABLE IF NOT EXISTS {s}.t (a int)",
    "CREATE TABLE {s}.vault (a int)",
    "CREATE TABLE IF NOT EXISTS {s}.vault (a int)",
    "CREATE TABLE {s}.t AS SELECT 1 AS a",
    "CREATE TABLE {s}.t AS TABLE hr.dept",
    "CREATE TABLE {s}.t AS SELECT * FROM {s}.vault",
    "CREATE TEMP TABLE {s}.t (a int)",
    "CREATE VIEW {s}.v AS SELECT 1",
    "CREATE INDEX i ON {s}.vault (id)",
    "CREATE FUNCTION {s}.f() RETURNS int LANGUAGE SQL AS 'SELECT 1'",
    "INSERT INTO {s}.vault VALUES (1)",
    "INSERT INTO {s}.vault (id) VALUES (1)",
    "INSERT INTO {s}.vault SELECT 1",
    "INSERT INTO {s}.vault VALUES ($1)",
    "INSERT INTO {s}.vault TABLE hr.dept",
    "DROP TABLE {s}.vault",
    "CALL lakegate.compact('{s}.vault')",
    "CALL lakegate.expire_snapshots('{s}.vault', retain_last => 1)",
    "DROP TABLE IF EXISTS {s}.vault",
    "DROP TABLE hr.dept, {s}.vault",
    "DROP TABLE {s}.vault, hr.dept",
    "SELECT * FROM {s}.vault",
    "SELECT * FROM lakegate.{s}.vault",
    "SELECT * FROM other.{s}.vault",
    "SELECT {s}.vault.id FROM hr.dept",
    "SELECT v.{s} FROM hr.dept v",
    "TABLE {s}.vault",
    "(TABLE {s}.vault)",
    "SELECT 1 UNION ALL TABLE {s}.vault",
    "SELECT (SELECT id FROM {s}.vault)",
    "SELECT EXISTS (TABLE {s}.vault)",
    "SELECT ARRAY(SELECT id FROM {s}.vault)",
    "VALUES ((SELECT id FROM {s}.vault))",
    "SELECT * FROM hr.dept d JOIN {s}.vault v ON v.id = d.id",
    "SELECT * FROM hr.dept d, LATERAL (SELECT * FROM {s}.vault) v",
    "SELECT * FROM hr.dept WHERE id IN (SELECT id FROM {s}.vault)",
    "SELECT * FROM hr.dept ORDER BY (SELECT id FROM {s}.vault)",
    "WITH w AS (SELECT * FROM {s}.vault) SELECT 1",
    "WITH RECURSIVE w AS (SELECT 1 AS i UNION ALL SELECT i FROM w, {s}.vault) SELECT * FROM w",
    "PREPARE p AS SELECT * FROM {s}.vault",
    "PREPARE p AS INSERT INTO {s}.vault VALUES ($1)",
    "EXPLAIN SELECT * FROM {s}.vault",
    "COPY {s}.vault TO STDOUT",
    "COPY {s}.vault FROM STDIN",
    "UPDATE {s}.vault SET id = 1",
    "DELETE FROM {s}.vault",
    "MERGE INTO {s}.vault v USING hr.dept d ON v.id = d.id WHEN MATCHED THEN DELETE",
    "TRUNCATE {s}.vault",
    "LOCK TABLE {s}.vault",
    "ANALYZE {s}.vault",
    "REFRESH MATERIALIZED VIEW {s}.vault",
    "ALTER TABLE {s}.vault ADD COLUMN a int",
    "SET search_path TO {s}; SHOW search_path",
    "SET search_path TO {s}, hr; SELECT current_schemas(true)",
    "SET search_path TO {s}, hr; SELECT current_schemas(false)",
    "SET search_path TO {s}, hr; SELECT current_schema()",
    "SET search_path TO {s}; SELECT current_schema",
    "SET search_path TO {s}, hr; DROP TABLE zz",
    "SET search_path TO {s}, hr; DROP TABLE IF EXISTS zz",
    "SET search_path TO {s}, hr; DROP TABLE vault",
    "SET search_path TO {s}, hr; DROP TABLE dept",
    "SET search_path TO {s}; DROP TABLE vault",
    "SET search_path TO {s}; DROP TABLE zz",
    "SET search_path TO {s}, hr; CREATE TABLE zz (a int)",
    "SET search_path TO {s}, hr; CREATE TABLE IF NOT EXISTS vault (a int)",
    "SET search_path TO {s}; CREATE TABLE zz (a int)",
    "SET search_path TO {s}; CREATE TABLE zz AS SELECT 1 AS a",
    "SET search_path TO {s}, hr; INSERT INTO zz VALUES (1)",
    "SET search_path TO {s}, hr; INSERT INTO vault VALUES (1)",
    "SET search_path TO {s}; INSERT INTO vault VALUES ($1)",
    "SET search_path TO {s}, hr; INSERT INTO dept VALUES (1)",
    "SET search_path TO {s}, hr; SELECT * FROM zz",
    "SET search_path TO {s}, hr; SELECT * FROM vault",
    "SET search_path TO {s}, hr; SELECT count(*) FROM dept",
    "SET search_path TO {s}, hr; TABLE vault",
    "SET search_path TO {s}, hr; SELECT 'vault'::regclass",
    "SET search_path TO {s}, hr; SELECT 'dept'::regclass",
    "SET search_path TO {s}, hr; SELECT to_regclass('vault')",
    "SET search_path TO {s}, hr; SELECT has_table_privilege('vault', 'select')",
    "SET search_path TO {s}, hr; SELECT relname FROM pg_class WHERE pg_table_is_visible(oid) AND relkind = 'r' ORDER BY 1",
    "SET search_path TO {s}, hr; CREATE SCHEMA {s}",
    "SELECT '{s}'::regnamespace",
    "SELECT to_regnamespace('{s}')",
    "SELECT '{s}.vault'::regclass",
    "SELECT '\"{s}\".\"vault\"'::regclass",
    "SELECT '{s}.vault'::text::regclass",
    "SELECT CAST('{s}.vault' AS regclass)",
    "SELECT to_regclass('{s}.vault')",
    "SELECT to_regtype('{s}.vault')",
    "SELECT '{s}.vault'::regtype",
    "SELECT to_regproc('{s}.f')",
    "SELECT has_schema_privilege('{s}', 'usage')",
    "SELECT has_schema_privilege('{s}', 'create')",
    "SELECT has_schema_privilege('zoe', '{s}', 'usage')",
    "SELECT has_table_privilege('{s}.vault', 'select')",
    "SELECT has_table_privilege('{s}.vault', 'insert')",
    "SELECT has_any_column_privilege('{s}.vault', 'select')",
    "SELECT has_column_privilege('{s}.vault', 'id', 'select')",
    "SELECT pg_get_viewdef('{s}.vault')",
    "SELECT pg_relation_size('{s}.vault')",
    "SELECT obj_description('{s}.vault'::regclass)",
    "SELECT count(*) FROM pg_namespace WHERE nspname = '{s}'",
    "SELECT count(*) FROM pg_tables WHERE schemaname = '{s}'",
    "SELECT count(*) FROM pg_views WHERE schemaname = '{s}'",
    "SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{s}'",
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = '{s}'",
    "SELECT count(*) FROM information_schema.columns WHERE table_schema = '{s}'",
    "SELECT count(*) FROM information_schema.table_privileges WHERE table_schema = '{s}'",
    "SELECT {s}.f(1)",
    "SELECT 1::{s}.t",
    "SELECT 'a' COLLATE {s}.c",
    "SELECT 1 OPERATOR({s}.+) 1",
];

/// Over a table `{t}` of a schema that the user knows.
const TABLES: &[&str] = &[
    "SELECT * FROM hr.{t}",
    "SELECT {t}.id FROM hr.{t}",
    "SELECT * FROM hr.dept JOIN hr.{t} USING (id)",
    "SELECT {t}.id FROM hr.dept",
    "SELECT hr.{t}.id FROM hr.dept",
    "SELECT hr.{t} FROM hr.dept",
    "SELECT {t} FROM hr.dept",
    "TABLE hr.{t}",
    "TABLE \"hr\".\"{t}\"",
    "SELECT id FROM hr.dept UNION ALL TABLE hr.{t}",
    "WITH {t} AS (SELECT 1 AS x) SELECT * FROM {t}",
    "WITH {t} AS (SELECT 1 AS x) SELECT * FROM hr.{t}",
    "SELECT * FROM hr.dept AS {t}",
    "INSERT INTO hr.{t} VALUES (1)",
    "INSERT INTO hr.{t} (id) VALUES (1)",
    "INSERT INTO hr.{t} (nix) VALUES (1)",
    "INSERT INTO hr.{t} SELECT * FROM hr.dept",
    "INSERT INTO hr.{t} VALUES ($1, $2)",
    "CREATE TABLE hr.{t} (a int)",
    "CREATE TABLE IF NOT EXISTS hr.{t} (a int)",
    "CREATE TABLE hr.{t} AS SELECT 1 AS a",
    "DROP TABLE hr.{t}",
    "DROP TABLE IF EXISTS hr.{t}",
    "DROP TABLE hr.dept, hr.{t}",
    "SET search_path TO hr; SELECT * FROM {t}",
    "SET search_path TO hr; DROP TABLE {t}",
    "SET search_path TO hr; INSERT INTO {t} VALUES (1)",
    "SET search_path TO hr; CREATE TABLE {t} (a int)",
    "SET search_path TO hr; SELECT '{t}'::regclass",
    "SET search_path TO hr; SELECT to_regclass('{t}')",
    "SELECT 'hr.{t}'::regclass",
    "SELECT 'hr.{t}'::regclass::oid",
    "SELECT to_regclass('hr.{t}')",
    "SELECT has_table_privilege('hr.{t}', 'select')",
    "SELECT has_table_privilege('zoe', 'hr.{t}', 'select')",
    "SELECT has_column_privilege('hr.{t}', 'id', 'select')",
    "SELECT has_any_column_privilege('hr.{t}', 'select')",
    "SELECT pg_get_viewdef('hr.{t}')",
    "SELECT count(*) FROM pg_class WHERE relname = '{t}'",
    "SELECT count(*) FROM pg_tables WHERE tablename = '{t}'",
    "SELECT count(*) FROM pg_stat_user_tables WHERE relname = '{t}'",
    "SELECT count(*) FROM information_schema.tables WHERE table_name = '{t}'",
    "SELECT count(*) FROM information_schema.columns WHERE table_name = '{t}'",
    "PREPARE p AS SELECT * FROM hr.{t}",
    "UPDATE hr.{t} SET id = 1",
    "COPY hr.{t} TO STDOUT",
    "EXPLAIN SELECT * FROM hr.{t}",
];

/// Over a column `{c}` of a table that the user reads without it.
const COLUMNS: &[&str] = &[
    "SELECT {c} FROM {t}",
    "SELECT e.{c} FROM {t} e",
    "SELECT {t}.{c} FROM {t}",
    "SELECT \"{c}\" FROM {t}",
    "SELECT max({c}) FROM {t}",
    "SELECT length({c}) FROM {t}",
    "SELECT {c} || 'x' FROM {t}",
    "SELECT id AS {c} FROM {t} ORDER BY {c}, id",
    "SELECT id FROM {t} WHERE {c} = 'x'",
    "SELECT id FROM {t} WHERE {c} IS NULL",
    "SELECT id FROM {t} WHERE id IN (SELECT id FROM {t} WHERE {c} LIKE 'C%')",
    "SELECT id FROM {t} ORDER BY {c}",
    "SELECT count(*) FROM {t} GROUP BY {c}",
    "SELECT count(*) FROM {t} GROUP BY id HAVING max({c}) > 'a'",
    "SELECT row_number() OVER (ORDER BY {c}) FROM {t}",
    "SELECT a.id FROM {t} a JOIN {t} b USING ({c})",
    "SELECT a.id FROM {t} a JOIN {t} b ON a.{c} = b.{c}",
    "SELECT (SELECT {c} FROM {t} LIMIT 1)",
    "WITH w AS (SELECT {c} FROM {t}) SELECT * FROM w",
    "WITH w ({c}) AS (SELECT id FROM {t}) SELECT {c} FROM w ORDER BY 1",
    "SELECT {c} FROM (SELECT * FROM {t}) x",
    "SELECT id FROM {t} UNION ALL SELECT {c} FROM {t}",
    "SELECT CASE WHEN {c} > 'a' THEN 1 END FROM {t}",
    "SELECT DISTINCT ON ({c}) id FROM {t}",
    "PREPARE p AS SELECT {c} FROM {t}",
    "PREPARE p AS SELECT id FROM {t} WHERE {c} = $1",
    "INSERT INTO {t} ({c}) VALUES ('x')",
    "INSERT INTO {t} (id, {c}) VALUES (1, 'x')",
    "INSERT INTO {t} ({c}, {c}) VALUES ('x', 'y')",
    "INSERT INTO {t} ({c}) SELECT 'x'",
    "INSERT INTO {t} ({c}) VALUES ($1)",
    "SELECT has_column_privilege('{t}', '{c}', 'select')",
    "SELECT count(*) FROM information_schema.columns WHERE column_name = '{c}'",
    "SELECT count(*) FROM pg_attribute WHERE attname = '{c}'",
];

/// Over a user `{r}`.
const ROLES: &[&str] = &[
    "SET ROLE {r}",
    "SET SESSION AUTHORIZATION {r}",
    "SELECT '{r}'::regrole",
    "SELECT to_regrole('{r}')",
    "SELECT pg_has_role('{r}', 'member')",
    "SELECT pg_has_role('{r}', 'zoe', 'usage')",
    "SELECT has_table_privilege('{r}', 'hr.dept', 'select')",
    "SELECT has_schema_privilege('{r}', 'hr', 'usage')",
    "SELECT count(*) FROM pg_roles WHERE rolname = '{r}'",
    "SELECT count(*) FROM pg_user WHERE usename = '{r}'",
    "GRANT SELECT ON hr.dept TO {r}",
    "DROP ROLE {r}",
    "CREATE ROLE {r}",
    "ALTER ROLE {r} SUPERUSER",
    "CREATE SCHEMA zz AUTHORIZATION {r}",
];

/// Both protocols' answers to each part of a statement, `name` taken out.
async fn told(client: &Client, sql: &str, name: &str) -> Vec<String> {
    let mut answers = vec![];
    // values of the extended protocol are shown as bytes
    let bytes: String = name.bytes().map(|b| format!("{b:02x}")).collect();
    // the database's name may begin with the schema's
    let without = |answer: String| answer.replace("lakegate", "DB").replace(name, "X").replace(&bytes, "X");
    for part in sql.split("; ") {
        answers.push(without(simple(client, part).await));
        if !part.contains('$') {
            answers.push(without(extended(client, part).await));
        } else if let Err(error) = client.prepare(part).await {
            answers.push(without(crate::gateway::told(&error)));
        }
    }
    simple(client, "DEALLOCATE ALL").await;
    simple(client, "RESET search_path").await;
    answers
}

/// Every shape with `hidden` and with `absent` in place of `hole`; how many were asked.
async fn sweep(client: &Client, shapes: &[&str], hole: &str, hidden: &str, absent: &str) -> usize {
    assert_eq!(hidden.len(), absent.len(), "error positions would differ");
    for shape in shapes {
        let answers = [
            told(client, &shape.replace(hole, hidden), hidden).await,
            told(client, &shape.replace(hole, absent), absent).await,
        ];
        assert_eq!(answers[0], answers[1], "{shape}: {hidden} and {absent}");
        for answer in &answers[0] {
            assert!(!answer.starts_with("ERROR XX"), "{shape}: {answer}");
            assert!(!answer.contains("did you mean"), "{shape}: {answer}");
        }
    }
    shapes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_schemas_tables_and_users_answer_as_absent_ones() {
    let world = World::A.start().await;
    let client = world.connect("zoe").await;
    let mut asked = 0;
    for (hidden, absent) in [("hidden", "nothin"), ("views", "viewz"), ("lake", "lakx")] {
        asked += sweep(&client, SCHEMAS, "{s}", hidden, absent).await;
    }
    for (hidden, absent) in [("emp", "nix"), ("ghost", "nixxx")] {
        asked += sweep(&client, TABLES, "{t}", hidden, absent).await;
    }
    asked += sweep(&client, ROLES, "{r}", "root", "rxxt").await;
    println!("{asked} statements over hidden and absent names, 0 differences");
    assert!(asked > 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_column_answers_as_an_absent_one() {
    let world = World::A.start().await;
    world.change_policy(&format!("{POLICY}p, ann, lake.emp, insert, allow\n")).await;
    let client = world.connect("ann").await;
    for table in ["hr.emp", "lake.emp"] {
        let shapes: Vec<String> = COLUMNS.iter().map(|shape| shape.replace("{t}", table)).collect();
        let shapes: Vec<&str> = shapes.iter().map(String::as_str).collect();
        sweep(&client, &shapes, "{c}", "confession", "confessyon").await;
    }
    let named = simple(&client, "SELECT confession FROM hr.emp").await;
    assert_eq!(named, "ERROR 42703 column \"confession\" does not exist");
    // what is inserted by position goes into the columns that are seen
    let nine = simple(&client, "INSERT INTO lake.emp VALUES (70, 'x', 'EU', 1, '2', '3', 4, 'CNRY', true)").await;
    assert_eq!(nine, "ERROR 42601 INSERT has more expressions than target columns");
    let eight = simple(&client, "INSERT INTO lake.emp VALUES (70, 'x', 'EU', 1, '2', '3', 4, true)").await;
    assert_eq!(eight, "(1)");
    let root = world.connect("root").await;
    let stored = simple(&root, "SELECT name, ssn, confession, active FROM lake.emp WHERE id = 70").await;
    assert_eq!(stored, "x|3|∅|t\n(1)");
}

/// A schema of somebody else's source, of datasets, of the system: refused before anything is written, and told only to
/// those who are shown that it exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_made_only_under_a_name_that_is_free_everywhere() {
    let world = World::A.start().await;
    let root = world.connect("root").await;
    for taken in ["hr", "hidden", "views", "lake"] {
        let answer = simple(&root, &format!("CREATE SCHEMA {taken}")).await;
        assert_eq!(answer, format!("ERROR 42P06 schema \"{taken}\" already exists"));
        assert_eq!(simple(&root, &format!("CREATE SCHEMA IF NOT EXISTS {taken}")).await, "(0)");
        let shown = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{taken}'");
        assert_eq!(simple(&root, &shown).await, "1\n(1)", "{taken}");
    }
    for reserved in ["pg_mine", "pg_catalog", "information_schema", "lakegate"] {
        let answer = simple(&root, &format!("CREATE SCHEMA {reserved}")).await;
        assert!(answer.starts_with(&format!("ERROR 42939 unacceptable schema name \"{reserved}\"")), "{answer}");
    }
    assert!(world.server.engine.faults().is_empty());
    let zoe = world.connect("zoe").await;
    for name in ["hr", "hidden", "nothing", "pg_mine"] {
        for sql in ["CREATE SCHEMA {}", "CREATE SCHEMA IF NOT EXISTS {}"] {
            let answer = simple(&zoe, &sql.replace("{}", name)).await;
            assert_eq!(answer, "ERROR 42501 permission denied for database lakegate", "{name}");
        }
    }
}

/// Making and dropping are two rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_dropped_by_the_right_to_drop() {
    let world = World::A.start().await;
    let maker = "p, zoe, made.*, create, allow\n";
    world.change_policy(&format!("{POLICY}{maker}")).await;
    let zoe = world.connect("zoe").await;
    assert_eq!(simple(&zoe, "CREATE SCHEMA made").await, "(0)");
    let answer = simple(&zoe, "DROP SCHEMA made").await;
    assert_eq!(answer, "ERROR 42501 permission denied for schema made");
    world.change_policy(&format!("{POLICY}p, zoe, made.*, drop, allow\n")).await;
    let answer = simple(&zoe, "CREATE TABLE made.t (a int)").await;
    assert_eq!(answer, "ERROR 42501 permission denied for schema made");
    assert_eq!(simple(&zoe, "DROP SCHEMA made").await, "(0)");
    assert_eq!(simple(&zoe, "DROP SCHEMA made").await, "ERROR 3F000 schema \"made\" does not exist");
}
