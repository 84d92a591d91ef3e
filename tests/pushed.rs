//! Parts of a plan that one PostgreSQL answers for: the same rows as without, by chance; what its log sees of a restricted
//! table; keys of a join. One database stands twice in the catalog, as `crm` and, with `pushdown = false`, as `flat`.

mod query;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::gateway::{Files, Gateway, simple};
use crate::postgres_server::Server;

const TABLES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE things (id int4 PRIMARY KEY, b bool, s int2, i int4, l int8, r float4, f float8, n numeric, p numeric(12,2),
    t text, v varchar(12), c char(6), y bytea, d date, ts timestamp, tz timestamptz, tm time, iv interval, u uuid, m mood);
INSERT INTO things SELECT g, g % 3 = 0, g % 11, g % 17 - 5, g::int8 * 4000000000, g / 8.0, g / 4.0 - 3,
    CASE WHEN g % 40 = 0 THEN 'NaN' WHEN g % 41 = 0 THEN 'Infinity' ELSE (g % 30) / 8.0 END, (g * 37 % 500) / 100.0,
    'text ' || g % 23, (ARRAY['a', 'B', 'ä', '', 'a''b\"\\', 'ABC'])[g % 6 + 1], 'c' || g % 4, decode(to_hex(g % 9 + 16), 'hex'),
    CASE WHEN g % 50 = 0 THEN 'infinity' ELSE date '2024-01-01' + g % 20 END, timestamp '2024-01-01' + g % 30 * interval '7 hours',
    timestamptz '2024-01-01 00:00+00' + g % 30 * interval '5 hours', time '00:00' + g % 24 * interval '1 hour',
    g % 12 * interval '10 hours', md5((g % 15)::text)::uuid, (ARRAY['sad', 'ok', 'happy'])[g % 3 + 1]::mood
    FROM generate_series(1, 150) g;
INSERT INTO things (id) VALUES (900), (901);
INSERT INTO things (id, f, n, d, ts) VALUES (902, 'NaN', '-Infinity', '0044-03-15 BC', '-infinity'), (903, '1e300', 77.000, '9999-12-31', '9999-12-31');
CREATE TABLE parts (id int4 PRIMARY KEY, thing int4, i int4, t text, p numeric(12,2), d date);
INSERT INTO parts SELECT g, CASE WHEN g % 7 = 0 THEN NULL ELSE g % 170 END, g % 13 - 4, 'text ' || g % 31, (g * 11 % 700) / 100.0,
    date '2024-01-01' + g % 25 FROM generate_series(1, 300) g;
CREATE TABLE hidden AS SELECT g AS id, g % 10 AS k, 'secret ' || g AS secret FROM generate_series(1, 200) g;
ANALYZE";

const POLICY: &str = "
p, admin, *, select, allow
p, admin, *, create, allow
p2, admin, *, unfiltered
p, guest, crm.things, select, allow
p, guest, crm.parts, select, allow
p, guest, crm.hidden, select, allow
p2, guest, crm.hidden, k < 3
p3, guest, crm.hidden, secret, redact
";

async fn gateway(server: &Server) -> Gateway {
    server.run(TABLES).await;
    let source = |mounted: &str, more: &str| {
        let text = format!(
            "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n{more}\n\
             schemas = {{ public = \"{mounted}\" }}\n",
            server.socket(),
            server.port
        );
        (mounted.to_string(), text)
    };
    let files = Files {
        sources: vec![source("crm", ""), source("flat", "pushdown = false")],
        policy: POLICY.into(),
        users: vec![("admin".into(), String::new()), ("guest".into(), String::new())],
        ..Files::default()
    };
    Gateway::start(&files.with_lake()).await
}

/// `LAKEGATE_STATEMENTS` of them, by `LAKEGATE_SEED`.
#[tokio::test(flavor = "multi_thread")]
async fn pushed_and_read_here_give_the_same_rows() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("LAKEGATE_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let count = number("LAKEGATE_STATEMENTS").unwrap_or(150);
    let server = Server::start().await;
    let gateway = gateway(&server).await;
    let (client, truth) = (gateway.connect("admin").await, server.client().await);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut pushed, mut computed) = (0, 0);
    for _ in 0..count {
        let sql = query::statement(&mut random);
        let of = |schema: &str| sql.replace('@', schema);
        let there = simple(&client, &of("crm")).await;
        let here = simple(&client, &of("flat")).await;
        let plan = simple(&client, &format!("EXPLAIN VERBOSE {}", of("crm"))).await;
        assert_eq!(code(&there), code(&here), "seed {seed}: {sql}\n{plan}");
        let expected = simple(&truth, &of("public")).await;
        assert_eq!(code(&there), code(&expected), "seed {seed}, as the server says: {sql}\n{plan}");
        pushed += u64::from(plan.contains("Remote SQL"));
        computed += u64::from(!there.starts_with("ERROR"));
    }
    // what is compared is not two readings of one table, nor two refusals
    assert!(pushed * 10 > count * 9 && computed * 10 > count * 9, "seed {seed}: {pushed}, {computed} of {count}");
}

/// Errors by their SQLSTATE.
fn code(answer: &str) -> String {
    match answer.starts_with("ERROR") {
        true => answer.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        false => answer.to_string(),
    }
}

/// Whole statements, and what the source is asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_one_source_is_one_text() {
    let server = Server::start().await;
    let gateway = gateway(&server).await;
    let client = gateway.connect("admin").await;
    let asked = async |sql: &str| {
        let plan = simple(&client, &format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}")).await;
        let texts: Vec<_> = plan.lines().filter_map(|line| line.trim().strip_prefix("Remote SQL: ")).collect();
        assert_eq!(texts.len(), 1, "{plan}");
        texts[0].to_string()
    };
    let cases = [
        ("SELECT id FROM crm.things ORDER BY id LIMIT 10", " ORDER BY t1.\"id\" ASC NULLS LAST LIMIT 10"),
        ("SELECT id FROM crm.things WHERE t LIKE 'text 1%' LIMIT 3", "WHERE (t1.\"t\" LIKE 'text 1%'::text) LIMIT 3"),
        (
            "SELECT max(id), count(*) FROM crm.things",
            "SELECT (max(t1.\"id\"))::int4 AS c0, (count(*))::int8 AS c1 FROM",
        ),
        ("SELECT id FROM crm.things WHERE n = 2.50", "(t1.\"n\" = '2.5'::numeric)"),
        ("SELECT i, sum(p) FROM crm.things GROUP BY i", "GROUP BY t1.\"i\""),
        ("SELECT t.id FROM crm.things t JOIN crm.parts p ON p.thing = t.id WHERE p.i = 2", " INNER JOIN "),
        (
            "SELECT id FROM crm.things t WHERE EXISTS (SELECT FROM crm.parts p WHERE p.thing = t.id)",
            "WHERE EXISTS (SELECT 1",
        ),
        ("SELECT id FROM crm.things WHERE i = 3 AND upper(t) = 'T'", "WHERE (t1.\"i\" = '3'::int4)"),
    ];
    for (sql, expected) in cases {
        let text = asked(sql).await;
        assert!(text.contains(expected), "{sql}: {text}");
    }
    // more constants than the simple form of a filter takes
    let list: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    let sql = format!("SELECT count(*) FROM crm.things WHERE id IN ({})", list.join(", "));
    assert!(asked(&sql).await.contains("= ANY ('{"));
    assert_eq!(simple(&client, &sql).await, "154\n(1)");
}

/// Constants and names of all kinds come back as they were sent.
#[tokio::test(flavor = "multi_thread")]
async fn literals_and_identifiers_go_round() {
    let server = Server::start().await;
    let gateway = gateway(&server).await;
    let client = gateway.connect("admin").await;
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..60 {
        let text: String = (0..random.random_range(0..12)).map(|_| query::letter(&mut random)).collect();
        let sql = format!(
            "SELECT id, '{0}' || t FROM crm.things WHERE t || '{0}' = 'text 3{0}' ORDER BY id LIMIT 1",
            text.replace('\'', "''")
        );
        assert_eq!(simple(&client, &sql).await, format!("3|{text}text 3\n(1)"), "seed {seed}: {text:?}");
        let sql = "SELECT t, count(*) FROM crm.things WHERE t = ANY ($1) OR t = 'text 3' GROUP BY t";
        let all = client.query(sql, &[&vec![text.as_str(), "{\"", "\\", "NULL"]]).await.unwrap();
        assert_eq!(all.len(), 1, "seed {seed}: {text:?}");
    }
}

/// Keys of a small lake table reach a big one of the source, and those of a lake's table with the same key twice or NULL.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_join_travel_to_the_source() {
    let server = Server::with(&["log_statement=all", "logging_collector=on", "log_filename=all.log"]).await;
    let gateway = gateway(&server).await;
    server.run("CREATE TABLE big AS SELECT g AS id, g % 7 AS k FROM generate_series(1, 50000) g; ANALYZE big").await;
    let client = gateway.connect("admin").await;
    crate::gateway::until(&client, "SELECT count(*) FROM crm.big", |answer| answer.starts_with("50000")).await;
    gateway
        .run(
            "admin",
            &[
                "CREATE SCHEMA lake1",
                "CREATE TABLE lake1.few AS SELECT * FROM (VALUES (7), (700), (700), (NULL), (999999)) v (id)",
            ],
        )
        .await;
    let sql = "SELECT b.id, b.k FROM lake1.few f JOIN crm.big b ON b.id = f.id ORDER BY 1";
    assert_eq!(simple(&client, sql).await, "7|0\n700|0\n700|0\n(3)");
    let log = server.ask("SELECT pg_read_file('log/all.log')").await;
    let asked = log.lines().rfind(|line| line.contains("COPY (") && line.contains("\"big\"")).expect("it was asked");
    assert!(asked.contains("= ANY ('{") && asked.contains("700") && asked.contains("999999"), "{asked}");
    let outer = "SELECT count(*), count(f.id) FROM crm.big b LEFT JOIN lake1.few f ON b.id = f.id";
    assert_eq!(simple(&client, outer).await, "50001|3\n(1)");
}

/// Of a restricted table the source sees columns, the policy's filter and predicates that cannot fail; never a join, an
/// aggregate or a key of the reader's, and EXPLAIN shows none of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_sees_of_a_restricted_table_what_cannot_tell_of_its_rows() {
    let server = Server::with(&["log_statement=all", "logging_collector=on", "log_filename=all.log"]).await;
    let gateway = gateway(&server).await;
    let guest = gateway.connect("guest").await;
    let hostile = [
        ("SELECT count(*) FROM crm.hidden WHERE 1 / (k - 5) < 100", "60\n(1)"),
        ("SELECT count(*) FROM crm.hidden WHERE id = 7 AND 1 / (k - 7) = 1", "0\n(1)"),
        ("SELECT max(k), count(*) FROM crm.hidden", "2|60\n(1)"),
        ("SELECT id FROM crm.hidden ORDER BY k DESC, id LIMIT 1", "2\n(1)"),
        ("SELECT count(*) FROM crm.hidden h JOIN crm.parts p ON p.id = h.k", "40\n(1)"),
        (
            "SELECT count(*) FROM crm.parts p WHERE EXISTS (SELECT FROM crm.hidden h WHERE h.id = p.id AND h.k = 9)",
            "0\n(1)",
        ),
        (
            "SELECT count(*) FROM crm.parts p WHERE p.i / (SELECT count(*) FROM crm.hidden WHERE k = 9) > 1",
            "ERROR 22012 division by zero",
        ),
        ("SELECT count(*) FROM crm.hidden WHERE secret LIKE 'secret%'", "0\n(1)"),
        ("SELECT count(*) FROM (SELECT k FROM crm.hidden UNION ALL SELECT i FROM crm.parts) u WHERE k = 9", "0\n(1)"),
    ];
    for (sql, expected) in hostile {
        assert_eq!(code(&simple(&guest, sql).await), code(expected), "{sql}");
        let plan = simple(&guest, &format!("EXPLAIN (VERBOSE) {sql}")).await;
        assert!(!plan.contains("Remote SQL"), "{sql}\n{plan}");
    }
    assert!(simple(&guest, "EXPLAIN VERBOSE SELECT max(id) FROM crm.parts").await.contains("Remote SQL: SELECT (max("));
    let log = server.ask("SELECT pg_read_file('log/all.log')").await;
    let of_hidden = log.lines().filter(|line| line.contains("COPY (") && line.contains("\"hidden\""));
    let texts: Vec<&str> = of_hidden.collect();
    assert!(!texts.is_empty());
    for text in texts {
        let asked = text.split_once("FROM \"public\".\"hidden\"").expect("one table alone").1;
        for word in [" / ", "JOIN", "GROUP", "ORDER", "LIMIT", "ANY", "LIKE", "count", "\"parts\""] {
            assert!(!asked.contains(word), "{word}: {text}");
        }
        assert!(asked.contains("(\"k\" < '3'::int4)"), "{text}");
    }
}
