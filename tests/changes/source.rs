//! Tables of a PostgreSQL source that may be changed: what a session does to them, beside the source itself. Transactions are
//! the source's own, rights are the policy's, and nothing of a row that a policy hides is met or told.

use lakegate::sources::postgres::Postgres;
use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, simple, until};
use crate::postgres_server::Server;

/// root sees and may do all; ann sees region EU, `ssn` masked and `confession` not at all; bob may add rows and sees none;
/// cid sees all and may change nothing; eva sees and changes all of the table, but is no administrator.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, update, allow
p, root, *, delete, allow
p, root, *, create, allow
p, root, lakegate.admin, select, allow
p2, root, *, unfiltered
p, ann, crm.emp, select, allow
p, ann, crm.emp, insert, allow
p, ann, crm.emp, update, allow
p, ann, crm.emp, delete, allow
p2, ann, crm.emp, "region = 'EU'"
p3, ann, crm.emp, ssn, redact
p, ann, crm.emp/confession, select, deny
p, cid, crm.emp, select, allow
p, bob, crm.emp, insert, allow
p2, bob, crm.emp, "region = 'EU'"
p, eva, crm.*, select, allow
p, eva, crm.*, insert, allow
p, eva, crm.*, update, allow
p, eva, crm.*, delete, allow
p2, eva, *, unfiltered
"#;

/// A region, pay, and what ann does not see.
const EMP: &str = "
CREATE TABLE emp (id int PRIMARY KEY, region text DEFAULT 'EU', pay int CHECK (pay >= 0), ssn text UNIQUE, confession text);
INSERT INTO emp VALUES (1, 'EU', 10, 'S-1', 'c1'), (2, 'EU', 20, 'S-2', 'c2'), (3, 'US', 0, 'S-3', 'c3'),
                       (4, 'US', 40, 'S-4', 'c4'), (5, NULL, 50, 'S-5', 'c5');
";

const ALL: &str = "SELECT id, region, pay, ssn, confession FROM emp ORDER BY id";

struct World {
    server: Server,
    gateway: Gateway,
}

fn source(server: &Server, more: &str) -> String {
    format!(
        "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n{more}\n\
         schemas = {{ public = \"crm\" }}\n",
        server.socket(),
        server.port
    )
}

async fn world(tables: &str) -> World {
    let server = Server::start().await;
    server.run(tables).await;
    let sources = vec![("crm".to_string(), source(&server, "writable = true"))];
    let policy = if tables.contains("TABLE emp") { POLICY } else { ROOT };
    World { gateway: gateway(sources, policy).await, server }
}

/// root alone, over tables that POLICY does not know.
const ROOT: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, update, allow\np, root, *, delete, allow\n\
                    p, root, *, create, allow\np2, root, *, unfiltered\n";

async fn gateway(sources: Vec<(String, String)>, policy: &str) -> Gateway {
    let users = ["root", "ann", "bob", "cid", "eva"].map(|name| (name.to_string(), String::new())).to_vec();
    Gateway::start(&Files { sources, policy: policy.into(), users, ..Files::default() }.with_lake()).await
}

/// Each statement's answer, in one session.
async fn session(client: &Client, statements: &[(&str, &str)]) {
    for (sql, answer) in statements {
        let answered = simple(client, sql).await;
        assert!(answered.starts_with(answer), "{sql}\n{answered}\nwhere\n{answer}\nwas expected");
    }
}

/// What each statement answers, and what is different at the source then; each over the same rows.
async fn check(world: &World, user: &str, statements: &[(&str, &str, &str)]) {
    let (client, server) = (world.gateway.connect(user).await, world.server.client().await);
    let before = simple(&server, ALL).await;
    for (sql, answer, changed) in statements {
        let answered = simple(&client, sql).await;
        assert!(answered.starts_with(answer), "{user}: {sql}\n{answered}");
        let now = simple(&server, ALL).await;
        let different: Vec<&str> = now.lines().filter(|line| !before.lines().any(|b| b == *line)).collect();
        let gone = before.lines().filter(|line| !now.lines().any(|n| n == *line)).count();
        assert_eq!(format!("-{gone} {}", different.join(" ")), *changed, "{user}: {sql}\n{now}");
        server.batch_execute(&format!("TRUNCATE emp; {}", again())).await.unwrap();
    }
}

fn again() -> &'static str {
    EMP.split_once(");").map_or("", |(_, insert)| insert)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_changes_reads_undoes_and_commits_as_at_the_source() {
    let world = world(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, n int DEFAULT 7, twice int \
         GENERATED ALWAYS AS (n * 2) STORED)",
    )
    .await;
    let (client, other) = (world.gateway.connect("root").await, world.gateway.connect("root").await);
    session(
        &client,
        &[
            ("INSERT INTO crm.t (name) VALUES ('a'), ('b') RETURNING id, name, n, twice", "1|a|7|14\n2|b|7|14\n(2)"),
            ("BEGIN", "(0)"),
            ("INSERT INTO crm.t (name, n) VALUES ('c', 1) RETURNING *", "3|c|1|2\n(1)"),
            ("SELECT count(*), sum(n) FROM crm.t", "3|15\n(1)"),
            ("SAVEPOINT s", "(0)"),
            ("UPDATE crm.t SET n = n + 1 WHERE name <> 'c' RETURNING id, n, twice", "1|8|16\n2|8|16\n(2)"),
            ("DELETE FROM crm.t WHERE id = 3 RETURNING name", "c\n(1)"),
            ("SELECT id, n FROM crm.t ORDER BY id", "1|8\n2|8\n(2)"),
            ("ROLLBACK TO s", "(0)"),
            ("SELECT id, n FROM crm.t ORDER BY id", "1|7\n2|7\n3|1\n(3)"),
            ("UPDATE crm.t SET n = DEFAULT, name = 'C' WHERE id = 3", "(1)"),
        ],
    )
    .await;
    assert_eq!(simple(&other, "SELECT count(*) FROM crm.t").await, "2\n(1)", "nothing is seen before COMMIT");
    session(
        &client,
        &[
            ("SAVEPOINT a", "(0)"),
            ("INSERT INTO crm.t (name) VALUES (NULL)", "ERROR 23502 null value in column \"name\" of relation \"t\""),
            ("SELECT 1", "ERROR 25P02"),
            ("ROLLBACK TO a", "(0)"),
            ("RELEASE a", "(0)"),
            ("COMMIT", "(0)"),
        ],
    )
    .await;
    assert_eq!(world.server.ask("SELECT string_agg(id || name || n, ' ' ORDER BY id) FROM t").await, "1a7 2b7 3C7");
    session(
        &client,
        &[
            ("BEGIN", "(0)"),
            ("DELETE FROM crm.t", "(3)"),
            ("ROLLBACK", "(0)"),
            ("INSERT INTO crm.t VALUES (9, 'x')", "ERROR 428C9"),
            ("INSERT INTO crm.t (id, name) OVERRIDING SYSTEM VALUE VALUES (9, 'x') RETURNING id", "9\n(1)"),
            ("INSERT INTO crm.t (name) SELECT name || '!' FROM crm.t ORDER BY id RETURNING id, name", "4|a!\n5|b!\n6|C!\n7|x!\n(4)"),
            ("UPDATE crm.t SET n = v.n FROM (VALUES ('a!', 70), ('b!', 80)) v (k, n) WHERE name = v.k RETURNING t.id, v.k, t.n", "4|a!|70\n5|b!|80\n(2)"),
            ("DELETE FROM crm.t USING (VALUES (4), (5)) v (k) WHERE id = k RETURNING k, name", "4|a!\n5|b!\n(2)"),
            ("UPDATE crm.t SET n = 0 WHERE false RETURNING *", "(0)"),
            ("INSERT INTO crm.t (name, n) VALUES ('d', DEFAULT), ('e', 1)", "ERROR 0A000 DEFAULT beside values"),
            ("INSERT INTO crm.t (name) VALUES ('q') RETURNING (SELECT count(*) FROM crm.t), upper(name)", "6|Q\n(1)"),
        ],
    )
    .await;
    let server = world.server.client().await;
    until(&server, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'", |n| n == "0\n(1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_arrive_as_they_were() {
    let world = world(
        "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"'); CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN positive AS int CHECK (value > 0);
         CREATE TABLE types (row int, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(12,2),
             t text, v varchar(10), c char(5), by bytea, d date, tm time, tz timetz, ts timestamp, tstz timestamptz,
             iv interval, u uuid, j json, jb jsonb, ip inet, ar int[], ta text[], r int4range, m mood, p pair, pos positive,
             bits bit(3), x \"char\", nm name, mac macaddr, o oid, xm xml, mon money, vb bit varying);
         CREATE TABLE copies (LIKE types);
         INSERT INTO types (row) VALUES (0);
         INSERT INTO types VALUES (1, true, -32768, 2147483647, -9223372036854775808, 'NaN', 5e-324, 'NaN', -0.01,
             E'a\\\\b\\n\"\\'{,}é漢😀', 'abc', 'ab', '\\x00ff5c22', '0044-03-15 BC', '24:00:00', '12:00:00+05:30',
             '294246-12-31 23:59:59.999999', 'infinity', '-1 days +02:03:00.5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
             '{\"b\": 1,  \"a\":[1.0]}', '{\"a\": \"\\\"\"}', '192.168.0.1/24', '{1,NULL,3}', '{a,\"b c\",NULL,\"NULL\",\"\"}',
             '[1,5)', 'it''s \"ok\"', '(1,\"a,\"\"b\")', 7, B'101', 'x', 'a name', '08:00:2b:01:02:03', 4294967295, '<a>b</a>',
             '12.34', B'10101');
         INSERT INTO types VALUES (2, false, 0, 0, 0, '-Infinity', 'Infinity', 12345678901234567890.123456789, 0, '', '', '', '',
             'infinity', '00:00:00.000001', '00:00:00-08', '-infinity', '1969-12-31 23:59:59.999999+00',
             '1 year 2 mons 3 days 04:05:06.789', NULL, 'null', 'null', '::1', '{}', '{}', 'empty', 'sad', '(,)', 1, B'000', '',
             '', NULL, 0, '', -1, '');",
    )
    .await;
    let client = world.gateway.connect("root").await;
    session(
        &client,
        &[
            ("INSERT INTO crm.copies SELECT * FROM crm.types", "(3)"),
            ("INSERT INTO crm.copies SELECT * FROM crm.types RETURNING row", "0\n1\n2\n(3)"),
        ],
    )
    .await;
    let differ = "SELECT count(*) FROM (SELECT zz::text FROM copies zz EXCEPT ALL (SELECT zz::text FROM types zz UNION ALL \
                  SELECT zz::text FROM types zz)) zzz";
    assert_eq!(world.server.ask(differ).await, "0");
    assert_eq!(world.server.ask("SELECT count(*) FROM copies").await, "6");
    // through parameters, and from a column to another
    let done = client
        .execute(
            "UPDATE crm.copies SET t = $1, n = $2::text::numeric, ar = $3 WHERE row = 1",
            &[&"\"x\\", &"1e3", &vec![Some(1i32), None]],
        )
        .await;
    assert_eq!(done.unwrap(), 2);
    assert_eq!(
        world.server.ask("SELECT t || n || ar::text FROM copies WHERE row = 1 LIMIT 1").await,
        "\"x\\1000{1,NULL}"
    );
    session(&client, &[("UPDATE crm.copies SET v = t || 'aaaaaaaaaaaaaaa'", "ERROR 22001")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_changes_one_source() {
    let world = world("CREATE TABLE t (a int); CREATE TABLE u (a int)").await;
    let second = Server::start().await;
    second.run("CREATE TABLE t (a int); CREATE TABLE u (a int)").await;
    drop(world.gateway);
    let mut other = source(&second, "writable = true\nconnections_max = 2");
    other = other.replace("\"crm\"", "\"erp\"");
    let sources = vec![("crm".to_string(), source(&world.server, "writable = true")), ("erp".to_string(), other)];
    let gateway = gateway(sources, ROOT).await;
    let client = gateway.connect("root").await;
    session(
        &client,
        &[
            ("CREATE SCHEMA h", "(0)"),
            ("CREATE TABLE h.t (a int)", "(0)"),
            ("INSERT INTO h.t VALUES (1), (2), (3)", "(3)"),
            ("INSERT INTO crm.t SELECT a FROM h.t", "(3)"),
            ("BEGIN", "(0)"),
            ("INSERT INTO crm.t SELECT a + 10 FROM h.t", "(3)"),
            ("INSERT INTO crm.u SELECT a FROM crm.t", "(6)"),
            (
                "INSERT INTO erp.t VALUES (1)",
                "ERROR 0A000 changes of \"crm\" and of \"erp\" in one transaction is not supported",
            ),
            ("ROLLBACK", "(0)"),
            ("BEGIN", "(0)"),
            ("INSERT INTO h.t VALUES (4)", "(1)"),
            ("DELETE FROM crm.t", "ERROR 0A000 changes of"),
            ("ROLLBACK", "(0)"),
            ("BEGIN", "(0)"),
            ("SAVEPOINT s", "(0)"),
            ("DELETE FROM crm.t", "(3)"),
            ("ROLLBACK TO s", "(0)"),
            ("INSERT INTO erp.t VALUES (1)", "(1)"),
            ("COMMIT", "(0)"),
            ("SELECT count(*), (SELECT count(*) FROM erp.t), (SELECT count(*) FROM h.t) FROM crm.t", "3|1|3\n(1)"),
            // a statement reads what it reads of its source in its own transaction
            ("INSERT INTO erp.t SELECT a.a FROM erp.t a JOIN h.t b USING (a) UNION ALL SELECT a + 1 FROM erp.t", "(2)"),
            ("UPDATE erp.t SET a = a + (SELECT count(*) FROM erp.u)", "(3)"),
            ("BEGIN READ ONLY", "(0)"),
            ("INSERT INTO crm.t VALUES (1)", "ERROR 25006"),
            ("ROLLBACK", "(0)"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_filter_hides_are_not_changed_counted_or_told_of() {
    let world = world(EMP).await;
    check(
        &world,
        "ann",
        &[
            ("UPDATE crm.emp SET pay = 1", "(2)", "-2 1|EU|1|S-1|c1 2|EU|1|S-2|c2"),
            ("UPDATE crm.emp SET pay = 1 WHERE region = 'US'", "(0)", "-0 "),
            ("UPDATE crm.emp SET pay = 1 WHERE 10 / pay > 0 RETURNING id", "1\n(1)", "-1 1|EU|1|S-1|c1"),
            ("DELETE FROM crm.emp WHERE id > 2 OR region IS NULL", "(0)", "-0 "),
            ("DELETE FROM crm.emp", "(2)", "-3 (3)"),
            ("DELETE FROM crm.emp WHERE pay = 20 RETURNING *", "2|EU|20|xxxx\n(1)", "-2 (4)"),
            ("UPDATE crm.emp t SET pay = u.pay FROM crm.emp u WHERE u.id = 3", "(0)", "-0 "),
            ("UPDATE crm.emp SET pay = (SELECT max(pay) FROM crm.emp)", "(2)", "-1 1|EU|20|S-1|c1"),
            (
                "UPDATE crm.emp SET pay = 5 RETURNING (SELECT count(*) FROM crm.emp), pay",
                "2|5\n2|5\n(2)",
                "-2 1|EU|5|S-1|c1 2|EU|5|S-2|c2",
            ),
        ],
    )
    .await;
    let refused = "ERROR 42501 new row violates row-level security policy for table \"emp\"";
    check(
        &world,
        "ann",
        &[
            ("UPDATE crm.emp SET region = 'US' WHERE id = 1", refused, "-0 "),
            ("UPDATE crm.emp SET region = NULL", refused, "-0 "),
            ("INSERT INTO crm.emp (id, region) VALUES (8, 'EU'), (9, 'US')", refused, "-0 "),
            // before the key of a hidden row is
            ("INSERT INTO crm.emp (id, region) VALUES (3, 'US')", refused, "-0 "),
            ("INSERT INTO crm.emp (id, region) VALUES (8, 'EU') RETURNING *", "8|EU|∅|∅\n(1)", "-1 8|EU|∅|∅|∅ (6)"),
            ("INSERT INTO crm.emp (id) VALUES (8) RETURNING region", "EU\n(1)", "-1 8|EU|∅|∅|∅ (6)"),
            ("INSERT INTO crm.emp (id, ssn) VALUES (8, 'mine') RETURNING ssn", "∅\n(1)", "-1 8|EU|∅|mine|∅ (6)"),
        ],
    )
    .await;
    check(
        &world,
        "bob",
        &[
            ("INSERT INTO crm.emp (id, region) VALUES (9, 'US')", refused, "-0 "),
            ("INSERT INTO crm.emp (id, region) VALUES (9, 'EU') RETURNING id", "ERROR 42501", "-0 "),
            ("INSERT INTO crm.emp (id, region) VALUES (9, 'EU')", "(1)", "-1 9|EU|∅|∅|∅ (6)"),
            ("UPDATE crm.emp SET pay = 1", "ERROR 42", "-0 "),
            ("DELETE FROM crm.emp", "ERROR 42", "-0 "),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_makes_of_a_row_is_judged_too() {
    let moves = "CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.pay = 99 THEN NEW.region = 'US'; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON emp FOR EACH ROW EXECUTE FUNCTION moves();";
    let world = world(&format!("{EMP}{moves}")).await;
    let refused = "ERROR 42501 new row violates row-level security policy for table \"emp\"";
    let statements = [
        ("INSERT INTO crm.emp (id, region, pay) VALUES (8, 'EU', 99)", refused, "-0 "),
        ("INSERT INTO crm.emp (id, pay) VALUES (8, 98), (9, 99)", refused, "-0 "),
        ("UPDATE crm.emp SET pay = 99 WHERE id = 1", refused, "-0 "),
        ("UPDATE crm.emp SET pay = 98 WHERE id = 1", "(1)", "-1 1|EU|98|S-1|c1"),
    ];
    check(&world, "ann", &statements).await;
    for (rows, told) in [("8,US,1\n", "42501"), ("8,EU,99\n", "42501"), ("8,EU,1\n", "")] {
        let client = world.gateway.connect("ann").await;
        let sink = client
            .copy_in::<_, bytes::Bytes>("COPY crm.emp (id, region, pay) FROM STDIN WITH (FORMAT csv)")
            .await
            .unwrap();
        let mut sink = std::pin::pin!(sink);
        futures::SinkExt::send(&mut sink, rows.into()).await.unwrap();
        let code = sink.finish().await.err().and_then(|e| e.code().map(|c| c.code().to_string())).unwrap_or_default();
        assert_eq!(code, told, "{rows}");
    }
    assert_eq!(world.server.ask("SELECT string_agg(id || region, ' ') FROM emp WHERE id > 5").await, "8EU");
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_and_hidden_values_are_kept_and_never_met() {
    let world = world(EMP).await;
    check(
        &world,
        "ann",
        &[
            ("UPDATE crm.emp SET pay = 1 WHERE ssn = 'S-1'", "(0)", "-0 "),
            ("UPDATE crm.emp SET pay = 1 WHERE ssn LIKE 'S%' OR ssn > 'S'", "(2)", "-2 1|EU|1|S-1|c1 2|EU|1|S-2|c2"),
            ("DELETE FROM crm.emp WHERE ssn = 'S-1'", "(0)", "-0 "),
            ("UPDATE crm.emp SET pay = length(ssn) RETURNING ssn, pay", "xxxx|4", "-2 1|EU|4|S-1|c1 2|EU|4|S-2|c2"),
            ("UPDATE crm.emp SET pay = 1 WHERE id = 1 RETURNING *", "1|EU|1|xxxx\n(1)", "-1 1|EU|1|S-1|c1"),
            ("UPDATE crm.emp SET ssn = 'x'", "ERROR 42501 permission denied for column ssn", "-0 "),
            ("UPDATE crm.emp SET ssn = DEFAULT", "ERROR 42501 permission denied for column ssn", "-0 "),
            ("UPDATE crm.emp SET confession = 'x'", "ERROR 42703 column \"confession\" of relation \"emp\"", "-0 "),
            ("INSERT INTO crm.emp (id, confession) VALUES (8, 'x')", "ERROR 42703", "-0 "),
            ("DELETE FROM crm.emp WHERE confession = 'c1'", "ERROR 42703", "-0 "),
            ("UPDATE crm.emp SET pay = 1 RETURNING confession", "ERROR 42703", "-0 "),
            ("UPDATE crm.emp SET pay = 1 RETURNING ctid", "ERROR 42703", "-0 "),
            ("DELETE FROM crm.emp t USING crm.emp u WHERE t.ssn = u.ssn AND u.id = 1 AND u.ssn = 'S-1'", "(0)", "-0 "),
            (
                "INSERT INTO crm.emp (id) VALUES (8) ON CONFLICT (ssn) DO NOTHING",
                "ERROR 42501 permission denied for table emp",
                "-0 ",
            ),
            ("INSERT INTO crm.emp (id) VALUES (8) ON CONFLICT (confession) DO NOTHING", "ERROR 42703", "-0 "),
        ],
    )
    .await;
    check(
        &world,
        "cid",
        &[
            ("UPDATE crm.emp SET pay = 1", "ERROR 42501 permission denied for table emp", "-0 "),
            ("DELETE FROM crm.emp", "ERROR 42501 permission denied for table emp", "-0 "),
            ("INSERT INTO crm.emp (id) VALUES (7)", "ERROR 42501 permission denied for table emp", "-0 "),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_says_is_told_as_far_as_its_reader_sees() {
    let tables = "CREATE TABLE boss (id int PRIMARY KEY); INSERT INTO boss VALUES (1);
                  CREATE TABLE note (id int, boss int REFERENCES boss, word text NOT NULL, EXCLUDE (id WITH =));
                  CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      IF NEW.word = 'raise' THEN RAISE EXCEPTION 'word % is not for here', NEW.word; END IF;
                      IF NEW.word = 'cast' THEN NEW.id = (SELECT ssn FROM emp WHERE id = 3)::int; END IF;
                      RETURN NEW; END $$;
                  CREATE TRIGGER tells BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION tell();";
    let world = world(&format!("{EMP}{tables}")).await;
    let (eva, ann) = (world.gateway.connect("eva").await, world.gateway.connect("ann").await);
    session(
        &eva,
        &[
            ("INSERT INTO crm.emp (id) VALUES (3)", "ERROR 23505 duplicate key value violates unique constraint \"emp_pkey\" | Key (id)=(3) already exists."),
            ("UPDATE crm.emp SET pay = -1 WHERE id = 1", "ERROR 23514 new row for relation \"emp\" violates check constraint \"emp_pay_check\""),
            ("INSERT INTO crm.note VALUES (1, 2, 'x')", "ERROR 23503 insert or update on table \"note\" violates foreign key constraint \"note_boss_fkey\""),
            ("INSERT INTO crm.note VALUES (1, 1, NULL)", "ERROR 23502 null value in column \"word\" of relation \"note\" violates not-null constraint"),
            ("INSERT INTO crm.note VALUES (1, 1, 'x'), (1, 1, 'y')", "ERROR 23P01 conflicting key value violates exclusion constraint"),
            ("INSERT INTO crm.note VALUES (1, 1, 'x')", "(1)"),
            ("DELETE FROM crm.boss", "ERROR 23503 a row violates a foreign key constraint"),
            ("INSERT INTO crm.note VALUES (2, 1, 'raise')", "ERROR P0001 word raise is not for here"),
            ("INSERT INTO crm.note VALUES (2, 1, 'cast')", "ERROR 22P02 source \"crm\" refused the change"),
            ("INSERT INTO crm.emp (id) VALUES (3), (9) ON CONFLICT DO NOTHING", "(1)"),
            ("INSERT INTO crm.emp (id) VALUES (3), (10) ON CONFLICT (id) DO NOTHING RETURNING id", "10\n(1)"),
            ("INSERT INTO crm.emp (id) VALUES (3) ON CONFLICT ON CONSTRAINT emp_pkey DO NOTHING", "(0)"),
            ("INSERT INTO crm.emp (id) VALUES (3) ON CONFLICT (pay) DO NOTHING", "ERROR 42P10"),
        ],
    )
    .await;
    for (sql, told) in [
        ("INSERT INTO crm.emp (id) VALUES (3)", "ERROR 23505 a row violates a unique constraint of relation \"emp\""),
        (
            "INSERT INTO crm.emp (id, ssn) VALUES (8, 'S-3')",
            "ERROR 23505 a row violates a unique constraint of relation \"emp\"",
        ),
        ("UPDATE crm.emp SET pay = -1", "ERROR 23514 a row violates a check constraint of relation \"emp\""),
        (
            "UPDATE crm.emp SET id = NULL",
            "ERROR 23502 null value in column \"id\" of relation \"emp\" violates not-null constraint",
        ),
    ] {
        assert_eq!(simple(&ann, sql).await, told, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_never_a_commit() {
    let world = world("CREATE TABLE t (a int)").await;
    let client = world.gateway.connect("root").await;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    for (then, told) in [
        ("SELECT count(*) FROM crm.t", "ERROR 08006"),
        ("INSERT INTO crm.t VALUES (2)", "ERROR 08006"),
        ("COMMIT", "ERROR 080"),
    ] {
        session(&client, &[("BEGIN", "(0)"), ("INSERT INTO crm.t VALUES (1)", "(1)")]).await;
        assert_eq!(simple(&world.server.client().await, end).await, "t\n(1)");
        session(&client, &[(then, told), ("ROLLBACK", "(0)"), ("SELECT count(*) FROM crm.t", "0\n(1)")]).await;
    }
    // a session that ends leaves nothing
    session(&client, &[("BEGIN", "(0)"), ("INSERT INTO crm.t VALUES (1)", "(1)")]).await;
    drop(client);
    let server = world.server.client().await;
    until(&server, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'", |n| n == "0\n(1)")
        .await;
    assert_eq!(world.server.ask("SELECT count(*) FROM t").await, "0");
    // what is judged at COMMIT
    world.server.run("CREATE TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)").await;
    let client = world.gateway.connect("root").await;
    until(&client, "SELECT count(*) FROM crm.d", |n| n == "0\n(1)").await;
    session(
        &client,
        &[
            ("BEGIN", "(0)"),
            ("INSERT INTO crm.d VALUES (1), (1)", "(2)"),
            ("COMMIT", "ERROR 23505"),
            ("SELECT count(*) FROM crm.d", "0\n(1)"),
            ("INSERT INTO crm.d VALUES (1), (1)", "ERROR 23505"),
            ("SELECT count(*) FROM crm.d", "0\n(1)"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_same_rows_wait_and_are_done_on_what_is_there_then() {
    let world = world("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)").await;
    let client = world.gateway.connect("root").await;
    for block in [false, true] {
        let theirs = world.server.client().await;
        theirs.batch_execute("BEGIN; UPDATE t SET n = n + 10 WHERE id = 1").await.unwrap();
        if block {
            session(&client, &[("BEGIN", "(0)"), ("UPDATE crm.t SET n = n + 1 WHERE id = 2", "(1)")]).await;
        }
        let waits = async {
            let server = world.server.client().await;
            until(&server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", |n| n == "1\n(1)")
                .await;
            theirs.batch_execute("COMMIT").await.unwrap();
        };
        let (answer, ()) = tokio::join!(simple(&client, "UPDATE crm.t SET n = n + 1 WHERE id = 1 RETURNING n"), waits);
        assert_eq!(answer, if block { "22\n(1)" } else { "11\n(1)" });
        if block {
            session(&client, &[("COMMIT", "(0)")]).await;
        }
    }
    assert_eq!(world.server.ask("SELECT string_agg(n::text, ' ' ORDER BY id) FROM t").await, "22 1");
    // what has seen a moment keeps to it
    let theirs = world.server.client().await;
    session(
        &client,
        &[("BEGIN ISOLATION LEVEL REPEATABLE READ", "(0)"), ("UPDATE crm.t SET n = 0 WHERE id = 2", "(1)")],
    )
    .await;
    theirs.batch_execute("UPDATE t SET n = 50 WHERE id = 1").await.unwrap();
    session(
        &client,
        &[
            ("SELECT n FROM crm.t WHERE id = 1", "22\n(1)"),
            ("UPDATE crm.t SET n = n + 1 WHERE id = 1", "ERROR 40001"),
            ("ROLLBACK", "(0)"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_partitions_and_what_they_make_of_a_row() {
    let world = world(
        "CREATE TABLE p (id int, part text, seen text) PARTITION BY LIST (part);
         CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b');
         CREATE TABLE log (what text);
         CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = 13 THEN RETURN NULL; END IF;
             INSERT INTO log VALUES (TG_OP); NEW.seen = upper(NEW.part); RETURN NEW; END $$;
         CREATE TRIGGER seen BEFORE INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION seen();
         CREATE VIEW v AS SELECT * FROM p; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a;",
    )
    .await;
    let client = world.gateway.connect("root").await;
    session(
        &client,
        &[
            (
                "INSERT INTO crm.p (id, part) VALUES (1, 'a'), (13, 'a'), (2, 'b'), (3, 'b') RETURNING id, seen",
                "1|A\n2|B\n3|B\n(3)",
            ),
            ("UPDATE crm.p SET part = 'b' WHERE id = 1 RETURNING id, part, seen", "1|b|B\n(1)"),
            // the trigger leaves it as it is, and nobody else has changed it
            ("UPDATE crm.p SET id = CASE id WHEN 2 THEN 13 ELSE id END", "(2)"),
            ("DELETE FROM crm.p WHERE part = 'b' AND id > 1 RETURNING id, part", "2|b\n3|b\n(2)"),
            ("SELECT * FROM crm.p", "1|b|B\n(1)"),
            (
                "INSERT INTO crm.v VALUES (1, 'a')",
                "ERROR 0A000 schema \"crm\" is not a lake's: INSERT, UPDATE, DELETE and COPY alone change",
            ),
            ("DELETE FROM crm.mv", "ERROR 0A000"),
            ("TRUNCATE crm.p", "ERROR 0A000"),
            (
                "MERGE INTO crm.p USING (VALUES (1)) v (k) ON id = k WHEN MATCHED THEN DELETE",
                "ERROR 0A000 MERGE into a source's table",
            ),
            (
                "INSERT INTO crm.log VALUES ('x') ON CONFLICT (what) DO UPDATE SET what = 'y'",
                "ERROR 0A000 ON CONFLICT DO UPDATE",
            ),
        ],
    )
    .await;
    // whoever sends rows sends them in any order of columns, and leaves out some
    let sink = client.copy_in::<_, bytes::Bytes>("COPY crm.p (part, id) FROM STDIN WITH (FORMAT csv)").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    futures::SinkExt::send(&mut sink, "a,7\nb,8\n".into()).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    session(&client, &[("DELETE FROM crm.p WHERE id IN (7, 8) RETURNING id, part, seen", "7|a|A\n8|b|B\n(2)")]).await;
    world
        .server
        .run("DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE what = 'INSERT' ORDER BY ctid DESC LIMIT 2)")
        .await;
    // a function of the source finds its tables as a session there does
    assert_eq!(
        world.server.ask("SELECT string_agg(what, ' ') FROM log").await,
        "INSERT INSERT INSERT UPDATE INSERT UPDATE UPDATE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_change_ends_at_the_source_and_the_transaction_goes_on() {
    let world = world(
        "CREATE TABLE t (a int);
         CREATE FUNCTION rests() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(NEW.a); RETURN NEW; END $$;
         CREATE TRIGGER rests BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION rests();",
    )
    .await;
    let client = world.gateway.connect("root").await;
    session(
        &client,
        &[
            ("BEGIN", "(0)"),
            ("INSERT INTO crm.t VALUES (0)", "(1)"),
            ("SAVEPOINT s", "(0)"),
            ("SET LOCAL statement_timeout = 300", "(0)"),
            ("INSERT INTO crm.t VALUES (1000)", "ERROR 57014"),
            ("ROLLBACK TO s", "(0)"),
            ("SELECT count(*) FROM crm.t", "1\n(1)"),
            ("COMMIT", "(0)"),
            ("SET statement_timeout = 300", "(0)"),
            ("INSERT INTO crm.t VALUES (1000)", "ERROR 57014"),
            ("RESET statement_timeout", "(0)"),
        ],
    )
    .await;
    let server = world.server.client().await;
    until(&server, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT%' AND state = 'active'", |n| {
        n == "0\n(1)"
    })
    .await;
    assert_eq!(world.server.ask("SELECT count(*) FROM t").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_file_does_not_say_so_is_only_read() {
    let server = Server::start().await;
    server.run(EMP).await;
    let gateway = gateway(vec![("crm".to_string(), source(&server, ""))], POLICY).await;
    let refused = "ERROR 0A000 schema \"crm\" is not a lake's: its tables can only be read";
    for sql in ["INSERT INTO crm.emp (id) VALUES (9)", "UPDATE crm.emp SET pay = 1", "DELETE FROM crm.emp"] {
        let hint =
            " | INSERT, UPDATE and DELETE are passed on to a source with writable = true in catalog/sources/crm.toml.";
        assert_eq!(simple(&gateway.connect("root").await, sql).await, format!("{refused}{hint}"));
        assert_eq!(simple(&gateway.connect("eva").await, sql).await, refused);
    }
}

#[test]
fn a_file_that_cannot_be_written_by_is_refused() {
    for (more, told) in [
        ("connections_max = 1", "`writable` needs `connections_max` of 2 or more"),
        ("dialect = \"cockroachdb\"", "`writable` needs `dialect`"),
    ] {
        let text = format!("host = \"h\"\ndatabase = \"d\"\nuser = \"u\"\nwritable = true\n{more}\n");
        let refused = Postgres::new("crm", toml::from_str(&text).unwrap()).unwrap_err();
        assert!(refused.message().contains(told), "{refused:?}");
    }
}
