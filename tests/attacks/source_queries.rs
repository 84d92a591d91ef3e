//! `postgres_query`: a right of its own, without which nothing reaches the source, not even to be described; with which a text
//! runs there, reads, and leaves nothing behind for others. What the source was sent is read in its own log.

use std::time::Duration;

use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, extended, simple, until};
use crate::postgres_server::Server;

/// `bob` may query `crm`, `eve` another source of the same database; `ned` gets what `bob` has and a line against it.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, create, allow
p, root, *, insert, allow
p, root, *, drop, allow
p2, root, *, unfiltered
p2, ann, crm.people, "region = 'EU'"
p, bob, hr.part, select, allow
p2, bob, hr.part, "x < 2"
p, bob, hr.whole, select, allow
p, bob, lake.*, select, allow
p, bob, lake.*, create, allow
p, bob, lake.*, insert, allow
p, bob, source:crm, query, allow
p, eve, source:other, query, allow
p, readers, source:crm, query, allow
g, ned, readers
p, ned, source:crm, query, deny
g, ann, everybody
g, eve, everybody
g, ned, everybody
p, everybody, crm.people, select, allow
p, everybody, lake.t, insert, allow
"#;

const PEOPLE: &str = "
CREATE TABLE people (id int8 PRIMARY KEY, name text, region text, score numeric);
INSERT INTO people SELECT g, 'person ' || g, (ARRAY['EU', 'US'])[g % 2 + 1], g / 4.0 FROM generate_series(1, 20) g;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE FUNCTION moan(code text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'moaning' USING ERRCODE = code, DETAIL = 'of pain', HINT = 'be kind'; END $$;
CREATE FUNCTION scribble() RETURNS int LANGUAGE plpgsql AS $$
BEGIN UPDATE people SET name = 'scribbled'; RETURN 1; END $$;
CREATE FUNCTION leave() RETURNS int LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_lock(4711); PERFORM set_config('search_path', 'nowhere', false);
PERFORM set_config('default_transaction_read_only', 'off', false); PERFORM set_config('TimeZone', 'Asia/Tokyo', false);
RETURN 1; END $$;
CREATE PROCEDURE commits(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; UPDATE people SET name = 'x'; COMMIT; END $$;
";

struct World {
    postgres: Server,
    gateway: Gateway,
}

fn source(postgres: &Server, schema: &str) -> String {
    format!(
        "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\ntls = \"off\"\n\
         connections_max = 3\nschemas = {{ public = \"{schema}\" }}\n",
        postgres.socket(),
        postgres.port
    )
}

impl World {
    async fn start() -> Self {
        // every message of a client's is in the log, those that only describe too
        let postgres = Server::with(&["log_min_duration_statement=0"]).await;
        postgres.run(PEOPLE).await;
        let memory = "kind = \"memory\"\n[[table]]\nname = \"hr.part\"\n\
            columns = [{ name = \"x\", type = \"int8\" }]\nrows = [[1], [2], [3]]\n\
            [[table]]\nname = \"hr.whole\"\ncolumns = [{ name = \"x\", type = \"int8\" }]\nrows = [[1], [2], [3]]\n";
        let users = ["root", "ann", "bob", "eve", "ned", "svc"];
        let acting = [("svc", "bob"), ("bob", "ann")].map(|(user, other)| (user.into(), other.into()));
        let files = Files {
            sources: vec![
                ("crm".into(), source(&postgres, "crm")),
                ("other".into(), source(&postgres, "other")),
                ("fixtures".into(), memory.into()),
            ],
            // until the lake has its table, lines that name it would be typing mistakes
            policy: POLICY.lines().filter(|line| line.contains("root")).map(|line| format!("{line}\n")).collect(),
            users: users.map(|user| (user.into(), String::new())).into(),
            may_act_for: acting.into(),
            ..Files::default()
        };
        let gateway = Gateway::start(&files.with_lake()).await;
        gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.t AS SELECT 3::int8 AS id"]).await;
        gateway.change_policy(POLICY).await;
        Self { postgres, gateway }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(std::path::Path::new(&self.postgres.socket()).join("log")).unwrap()
    }
}

/// Both ways, which must say the same.
async fn refused(client: &Client, sql: &str) -> String {
    let (plain, prepared) = (simple(client, sql).await, extended(client, sql).await);
    assert_eq!(plain, prepared, "{sql}");
    plain
}

const CANARY: &str = "canary_7f3a";

/// Wherever the call stands.
fn forms(call: &str) -> Vec<String> {
    vec![
        format!("SELECT * FROM {call}"),
        format!("SELECT count(*) FROM {call} AS t"),
        format!("SELECT 1 WHERE EXISTS (SELECT FROM {call})"),
        format!("SELECT (SELECT max(a) FROM {call} AS t(a))"),
        format!("WITH q AS (SELECT * FROM {call}) SELECT * FROM q"),
        format!("WITH q AS (SELECT * FROM {call}) SELECT 1"),
        format!("SELECT * FROM crm.people JOIN {call} AS t ON true"),
        format!("SELECT 1 UNION ALL SELECT 1 FROM {call}"),
        format!("PREPARE p AS SELECT * FROM {call}"),
        format!("EXPLAIN SELECT * FROM {call}"),
        format!("EXPLAIN ANALYZE SELECT * FROM {call}"),
        format!("COPY (SELECT * FROM {call}) TO STDOUT"),
        format!("INSERT INTO lake.t SELECT 1 FROM {call}"),
        format!("SELECT * FROM LATERAL {call} AS t"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_right_nothing_reaches_a_source() {
    let world = World::start().await;
    let before = world.log().len();
    for user in ["ann", "eve", "ned", "root"] {
        let client = world.gateway.connect(user).await;
        for sql in forms(&format!("postgres_query('crm', 'SELECT 1 AS a, ''{CANARY}'' AS b')")) {
            let told = simple(&client, &sql).await;
            assert_eq!(told, "ERROR 42501 permission denied to query source \"crm\"", "{user}: {sql}");
            assert!(extended(&client, &sql).await.starts_with("ERROR 42501"), "{user}: {sql}");
        }
        // one that is there, one that is not, and one that is no database are one
        for absent in ["nowhere", "lake", "fixtures", ""] {
            let sql = format!("SELECT * FROM postgres_query('{absent}', 'SELECT ''{CANARY}''')");
            let told = refused(&client, &sql).await;
            assert_eq!(told, format!("ERROR 42501 permission denied to query source \"{absent}\""), "{user}");
        }
        for made in
            ["CREATE VIEW lake.v", "CREATE MATERIALIZED VIEW lake.v", "CREATE TEMP VIEW v", "CREATE TABLE lake.v"]
        {
            let sql = format!("{made} AS SELECT * FROM postgres_query('crm', 'SELECT ''{CANARY}'' AS a')");
            assert!(simple(&client, &sql).await.starts_with("ERROR"), "{user}: {sql}");
        }
        let block = format!(
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM postgres_query('crm', 'SELECT ''{CANARY}'''); FETCH c; COMMIT"
        );
        assert!(simple(&client, &block).await.starts_with("ERROR 42501"), "{user}");
    }
    let log = world.log().split_off(before);
    assert!(!log.contains(CANARY), "{log}");
    // who has the right to another source has that one alone
    let eve = world.gateway.connect("eve").await;
    let sql = format!("SELECT * FROM postgres_query('other', 'SELECT ''{CANARY}''')");
    assert_eq!(simple(&eve, &sql).await, format!("{CANARY}\n(1)"));
    assert!(world.log().contains(CANARY), "the log would have told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_a_table_wherever_a_table_stands() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    for (sql, expected) in [
        (
            "SELECT * FROM postgres_query('crm', 'SELECT id, name FROM people ORDER BY id LIMIT 2')",
            "1|person 1\n2|person 2\n(2)",
        ),
        (
            "SELECT * FROM postgres_query('crm', 'TABLE people') AS p WHERE p.id = 7",
            "7|person 7|US|1.7500000000000000\n(1)",
        ),
        ("SELECT b FROM postgres_query('crm', 'VALUES (1, 2)') AS t(a, b)", "2\n(1)"),
        (
            "SELECT t.a, u.a FROM postgres_query('crm', 'SELECT 1 AS a') t, postgres_query('crm', 'SELECT 2 AS a') u",
            "1|2\n(1)",
        ),
        ("SELECT count(*) FROM postgres_query('crm', 'SELECT FROM people') AS t", "ERROR 0A000"),
        ("SELECT count(*) FROM postgres_query('crm', 'SELECT id FROM people -- all of them')", "20\n(1)"),
        ("SELECT count(*) FROM postgres_query('crm', 'SELECT id FROM people ;  ')", "20\n(1)"),
        ("SELECT p.name FROM lake.t JOIN postgres_query('crm', 'SELECT * FROM people') p USING (id)", "person 3\n(1)"),
        ("SELECT x FROM hr.part WHERE x IN (SELECT id FROM postgres_query('crm', 'SELECT id FROM people'))", "1\n(1)"),
        // two columns of one name are two
        ("SELECT * FROM postgres_query('crm', 'SELECT 1 AS a, 2 AS a')", "1|2\n(1)"),
        ("SELECT a FROM postgres_query('crm', 'SELECT 1 AS a, 2 AS a')", "ERROR 42702"),
        ("SELECT c FROM postgres_query('crm', 'SELECT 1 AS a, 2 AS a') AS t(b, c)", "2\n(1)"),
        ("SELECT t FROM postgres_query('crm', 'SELECT 1 AS a, 2 AS b') AS t", "(1,2)\n(1)"),
        // a constant is whatever is the same at any time
        ("SELECT * FROM postgres_query('c' || 'rm', replace('SELECT x', 'x', '5'))", "5\n(1)"),
        ("SELECT t.* FROM lake.t AS l, postgres_query('crm', 'SELECT ' || l.id) AS t", "ERROR 0A000"),
        ("SELECT * FROM postgres_query('crm', now()::text)", "ERROR 0A000"),
        ("SELECT * FROM postgres_query('crm', NULL)", "ERROR 22004"),
        ("SELECT * FROM postgres_query('crm')", "ERROR 42883"),
        ("SELECT * FROM postgres_query('crm', 1)", "ERROR 42883"),
        ("SELECT postgres_query('crm', 'SELECT 1')", "ERROR 42883"),
        ("SELECT * FROM postgres_query('crm', 'SELECT 1') WITH ORDINALITY", "ERROR 0A000"),
        ("SELECT * FROM postgres_query('crm', 'SELECT 1') AS t(a int)", "ERROR 42601"),
        ("SELECT * FROM postgres_query('crm', 'SELECT $1::int')", "ERROR 42P02"),
        // types as the source's tables have them; a type without one here is a text
        (
            "SELECT pg_typeof(a), pg_typeof(b), pg_typeof(c), pg_typeof(d), pg_typeof(e) FROM postgres_query('crm', \
          'SELECT 1::int2 AS a, 1.50::numeric(8,2) AS b, ''sad''::mood AS c, ARRAY[1, NULL] AS d, ROW(1, 2) AS e')",
            "smallint|numeric|text|integer[]|text\n(1)",
        ),
        (
            "SELECT * FROM postgres_query('crm', 'SELECT ''NaN''::numeric(8,2), ''happy''::mood, ROW(1, ''x''), ''10.0.0.1''::inet')",
            "NaN|happy|(1,x)|10.0.0.1\n(1)",
        ),
        ("SELECT * FROM postgres_query('crm', 'SELECT ''{{1},{2}}''::int[]')", "ERROR 0A000"),
    ] {
        let (plain, prepared) = (simple(&bob, sql).await, extended(&bob, sql).await);
        match expected.starts_with("ERROR") {
            true => {
                assert!(plain.starts_with(expected) && prepared.starts_with(expected), "{sql}: {plain}\n{prepared}")
            }
            false => {
                assert_eq!(plain, expected, "{sql}");
                assert!(!prepared.starts_with("ERROR"), "{sql}: {prepared}");
            }
        }
    }
    assert_eq!(
        simple(&bob, "PREPARE p AS SELECT * FROM postgres_query('crm', 'SELECT 1'); EXECUTE p").await,
        "(0)\n1\n(1)"
    );
    let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT * FROM postgres_query('crm', 'SELECT generate_series(1, 9)'); \
                  FETCH 2 FROM c; COMMIT";
    assert_eq!(simple(&bob, cursor).await, "(0)\n(0)\n1\n2\n(2)\n(0)");
    let copied = "CREATE TABLE lake.copied AS SELECT * FROM postgres_query('crm', 'SELECT id, score FROM people')";
    assert_eq!(simple(&bob, copied).await, "(20)");
    assert_eq!(simple(&bob, "SELECT count(*), sum(score) FROM lake.copied").await, "20|52.5000000000\n(1)");
    let inserted = "INSERT INTO lake.t SELECT id FROM postgres_query('crm', 'SELECT id FROM people WHERE id > 18')";
    assert_eq!(simple(&bob, inserted).await, "(2)");
}

/// What is kept is read by others, or by nobody's right.
#[tokio::test(flavor = "multi_thread")]
async fn no_view_holds_a_text() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    for made in ["CREATE VIEW lake.v", "CREATE MATERIALIZED VIEW lake.v", "CREATE TEMP VIEW v"] {
        let sql = format!("{made} AS SELECT * FROM postgres_query('crm', 'SELECT 1 AS a')");
        let told = simple(&bob, &sql).await;
        assert!(told.starts_with("ERROR 0A000 postgres_query in a query that is kept is not supported"), "{told}");
    }
    let reflection = "CREATE REFLECTION r AS SELECT a, count(*) FROM postgres_query('crm', 'SELECT 1 AS a') GROUP BY a";
    assert!(simple(&bob, reflection).await.starts_with("ERROR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_reads_and_leaves_nothing_behind() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    let everything = "(SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM people p)";
    let before = world.postgres.ask(everything).await;
    for (text, expected) in [
        ("UPDATE people SET name = ''x'' RETURNING id", "ERROR 0A000"),
        ("DELETE FROM people", "ERROR 0A000"),
        ("INSERT INTO people VALUES (99) RETURNING id", "ERROR 0A000"),
        ("WITH w AS (DELETE FROM people RETURNING id) SELECT * FROM w", "ERROR 0A000"),
        ("SELECT scribble()", "ERROR 25006"),
        ("SELECT nextval(''people_id_seq'')", "ERROR 42P01"),
        ("SELECT id FROM people FOR UPDATE", "ERROR 25006"),
        ("SELECT * INTO t FROM people", "ERROR 0A000"),
        ("CREATE TABLE t (a int)", "ERROR 0A000"),
        ("SET default_transaction_read_only = off", "ERROR 0A000"),
        ("COMMIT", "ERROR 0A000"),
        ("SHOW server_version", "ERROR 0A000"),
        ("EXPLAIN SELECT 1", "ERROR 0A000"),
        ("COPY people TO STDOUT", "ERROR 0A000"),
        ("COPY people TO PROGRAM ''true''", "ERROR 0A000"),
        ("DO $x$ BEGIN UPDATE people SET name = ''x''; END $x$", "ERROR 0A000"),
        ("CALL commits(1)", "ERROR 0A000"),
        ("SELECT 1; DELETE FROM people", "ERROR 42601"),
        ("COMMIT; DELETE FROM people", "ERROR 42601"),
        ("SELECT 1) AS q; DELETE FROM people; --", "ERROR 42601"),
        ("SELECT 1) TO PROGRAM ''true'' --", "ERROR 42601"),
        ("SELECT 1) AS q (c0)) TO STDOUT; DELETE FROM people --", "ERROR 42601"),
        ("SELECT 1 /*", "ERROR 42601"),
        ("SELECT set_config(''transaction_read_only'', ''off'', true)", "ERROR 25001"),
        ("", "ERROR 0A000"),
        (";", "ERROR 0A000"),
    ] {
        let told = simple(&bob, &format!("SELECT * FROM postgres_query('crm', '{text}')")).await;
        assert!(told.starts_with(expected), "{text}: {told}");
    }
    assert_eq!(world.postgres.ask(everything).await, before);
    // a setting, and a lock, of a session that others read tables in
    for _ in 0..4 {
        assert_eq!(simple(&bob, "SELECT * FROM postgres_query('crm', 'SELECT leave()')").await, "1\n(1)");
        let seen = "SELECT * FROM postgres_query('crm', 'SELECT current_setting(''search_path''), \
                    current_setting(''default_transaction_read_only''), current_setting(''TimeZone'')')";
        assert_eq!(simple(&bob, seen).await, "\"$user\", public|on|UTC\n(1)");
        let ann = world.gateway.connect("ann").await;
        assert_eq!(simple(&ann, "SELECT count(*) FROM crm.people").await, "10\n(1)");
    }
    let locks = "SELECT * FROM postgres_query('other', 'SELECT count(*) FROM pg_locks WHERE locktype = ''advisory''')";
    until(&world.gateway.connect("eve").await, locks, |answer| answer == "0\n(1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_source_is_told_as_it_was_raised() {
    let mut world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    let told = async |text: &str| refused(&bob, &format!("SELECT * FROM postgres_query('crm', '{text}')")).await;
    assert_eq!(told("SELECT 1 / (id - 1) FROM people").await, "ERROR 22012 division by zero");
    assert_eq!(told("SELECT * FROM absent").await, "ERROR 42P01 relation \"absent\" does not exist");
    assert_eq!(told("SELECT moan(''ABC12'')").await, "ERROR ABC12 moaning | of pain | be kind");
    let error = bob.simple_query("SELECT * FROM postgres_query('crm', 'SELECT moan(''P0001'')')").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.detail(), error.hint()), (Some("of pain"), Some("be kind")));
    assert_eq!(error.where_(), Some("query on source \"crm\""));
    let error = bob.simple_query("SELECT * FROM postgres_query('crm', 'SELECT absent')").await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().where_(), Some("query on source \"crm\", character 8 of its text"));
    world.postgres.stop();
    let away = told("SELECT 1").await;
    assert!(away.starts_with("ERROR 08006 source \"crm\" cannot be reached"), "{away}");
    assert_eq!(simple(&bob, "SELECT count(*) FROM hr.whole").await, "3\n(1)");
    world.postgres.resume().await;
    until(&bob, "SELECT * FROM postgres_query('crm', 'SELECT 1')", |answer| answer == "1\n(1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_ends_with_its_statement() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    simple(&bob, "SET statement_timeout = '300ms'").await;
    let told = simple(&bob, "SELECT * FROM postgres_query('crm', 'SELECT pg_sleep(600)')").await;
    assert!(told.starts_with("ERROR 57014"), "{told}");
    let sleeping = "SELECT * FROM postgres_query('crm', 'SELECT count(*) FROM pg_stat_activity WHERE state = ''active'' \
                    AND query LIKE ''%pg_sleep(600)%'' AND pid <> pg_backend_pid()')";
    simple(&bob, "SET statement_timeout = '10s'").await;
    until(&bob, sleeping, |answer| answer == "0\n(1)").await;
    // and has no more of the source's connections than there are for all
    let many: Vec<Client> = futures::future::join_all((0..6).map(|_| world.gateway.connect("bob"))).await;
    let slow = "SELECT count(*) FROM postgres_query('crm', 'SELECT pg_sleep(0.2)')";
    let answers = futures::future::join_all(many.iter().map(|client| simple(client, slow))).await;
    assert!(answers.iter().all(|answer| answer == "1\n(1)"), "{answers:?}");
    let open: i64 = world
        .postgres
        .ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakegate' AND backend_type = 'client backend'")
        .await
        .parse()
        .unwrap();
    assert!(open <= 6, "{open}: three for each of the two sources");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_withdrawn_is_gone_at_once() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    let sql = "SELECT * FROM postgres_query('crm', 'SELECT generate_series(1, 3)')";
    let prepared = bob.prepare(sql).await.unwrap();
    simple(&bob, &format!("PREPARE p AS {sql}")).await;
    assert_eq!(bob.query(&prepared, &[]).await.unwrap().len(), 3);
    assert_eq!(simple(&bob, &format!("BEGIN; DECLARE c CURSOR FOR {sql}; FETCH c")).await, "(0)\n(0)\n1\n(1)");
    world.gateway.change_policy(&POLICY.replace("p, bob, source:crm, query, allow\n", "")).await;
    let fetched = simple(&bob, "FETCH c").await;
    assert!(fetched.starts_with("ERROR 42501"), "{fetched}");
    simple(&bob, "ROLLBACK").await;
    let refused = "ERROR 42501 permission denied to query source \"crm\"";
    assert_eq!(simple(&bob, "EXECUTE p").await, refused);
    assert_eq!(simple(&bob, sql).await, refused);
    let error = bob.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_for_another_needs_the_right_of_both() {
    let world = World::start().await;
    let sql = "SELECT * FROM postgres_query('crm', 'SELECT 1')";
    let refused = "ERROR 42501 permission denied to query source \"crm\"";
    for (user, other) in [("svc", "bob"), ("bob", "ann")] {
        let client = world.gateway.connect(user).await;
        assert_eq!(simple(&client, &format!("SET ROLE {other}")).await, "(0)");
        assert_eq!(simple(&client, sql).await, refused, "{user} for {other}");
        assert_eq!(simple(&client, "RESET ROLE").await, "(0)");
        let own = if user == "bob" { "1\n(1)" } else { refused };
        assert_eq!(simple(&client, sql).await, own, "{user}");
    }
}

/// The source changes behind our back: no answer is kept, and a statement that is sent again is told of other columns.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_an_old_one() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    let sql = "SELECT * FROM postgres_query('crm', 'SELECT * FROM people WHERE id = 1')";
    let prepared = bob.prepare(sql).await.unwrap();
    for name in ["a", "b", "c"] {
        world.postgres.run(&format!("UPDATE people SET name = '{name}' WHERE id = 1")).await;
        assert!(simple(&bob, sql).await.starts_with(&format!("1|{name}|")));
        assert_eq!(bob.query_one(&prepared, &[]).await.unwrap().get::<_, String>(1), name);
    }
    world.postgres.run("ALTER TABLE people DROP COLUMN name").await;
    assert!(simple(&bob, sql).await.starts_with("1|US|"));
    let changed = bob.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(changed.as_db_error().unwrap().message(), "cached plan must not change result type");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_a_text_only_beside_what_is_seen_whole() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    let call = format!("postgres_query('crm', 'SELECT id, ''{CANARY}'' AS c FROM people')");
    let alone = simple(&bob, &format!("EXPLAIN (VERBOSE) SELECT * FROM {call}")).await;
    assert!(alone.contains("Foreign Scan on crm.postgres_query") && alone.contains(CANARY), "{alone}");
    let beside = simple(&bob, &format!("EXPLAIN (VERBOSE) SELECT * FROM {call} AS t JOIN hr.part ON x = id")).await;
    assert!(beside.contains("PolicyScan") && !beside.contains(CANARY), "{beside}");
}

/// A line about a source that is not there, or that runs no texts, is a typing mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_about_no_source_is_a_fault() {
    let world = World::start().await;
    let bob = world.gateway.connect("bob").await;
    for (line, told) in [
        ("p, ann, source:crn, query, allow", "there is no PostgreSQL source `crn`; did you mean `crm`?"),
        ("p, ann, source:lake, query, allow", "there is no PostgreSQL source `lake`"),
        ("p, ann, source:crm, select, allow", "a source knows `query` only, not `select`"),
        ("p, ann, crm.people, query, allow", "`query` is asked of a source: `source:name`"),
        ("p, ann, *, query, allow", "`query` is asked of a source: `source:name`"),
        ("p2, ann, source:crm, unfiltered", "`source:crm` has no rows or columns; it belongs in a `p` line"),
    ] {
        world.gateway.write_policy(&format!("{POLICY}{line}\n"));
        let begun = std::time::Instant::now();
        while !world.gateway.refusals().iter().any(|refusal| refusal.contains(told)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{line}: {:?}", world.gateway.refusals());
            tokio::task::yield_now().await;
        }
        // the lines before stay in force
        assert_eq!(simple(&bob, "SELECT * FROM postgres_query('crm', 'SELECT 1')").await, "1\n(1)");
    }
}
