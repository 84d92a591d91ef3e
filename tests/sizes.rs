//! Statements that are small to send and large to plan or to compute: each is answered rightly or refused before anything
//! of its size is made, and the session goes on.

use std::time::{Duration, Instant};

use crate::gateway::{Files, Gateway, simple};

/// Refusing takes no longer than this, in a debug build beside other tests.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

async fn gateway() -> Gateway {
    let files = Files {
        policy: "p, eve, *, select, allow\np2, eve, *, unfiltered\n".into(),
        users: vec![("eve".into(), String::new())],
        settings: "[engine]\nmemory_bytes = 268435456\n".into(),
        ..Files::default()
    };
    Gateway::start(&files).await
}

/// What a statement begins its answer with: its rows, or `ERROR` and the SQLSTATE.
async fn check(statements: &[(String, &str)]) {
    let gateway = gateway().await;
    let client = gateway.connect("eve").await;
    for (sql, expect) in statements {
        let begin = Instant::now();
        let told = simple(&client, sql).await;
        let shown: String = sql.chars().take(120).collect();
        assert!(
            expect.split('|').any(|e| told.starts_with(e)),
            "{shown}: {}",
            told.chars().take(300).collect::<String>()
        );
        assert!(begin.elapsed() < REFUSED_WITHIN, "{shown} took {:?}", begin.elapsed());
    }
    assert_eq!(simple(&client, "SELECT 1").await, "1\n(1)");
}

fn around(n: usize, open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(n), close.repeat(n))
}

/// CTEs of which each names the one before as `@`.
fn chain(n: usize, body: &str, last: &str) -> String {
    let ctes: String = (1..=n).map(|i| format!(", c{i} AS ({})", body.replace('@', &format!("c{}", i - 1)))).collect();
    let last = last.replace('@', &format!("c{n}"));
    format!("WITH c0 AS (SELECT a FROM generate_series(1, 3) t(a)){ctes} {last}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_statements_are_answered_or_refused_and_end_no_process() {
    // planning has a deadline of its own, which a debug build beside others meets sooner
    let either = "1\n|ERROR 54001|ERROR 57014";
    check(&[
        (format!("SELECT 1{}", " UNION SELECT 1".repeat(120)), either),
        (format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(400)), either),
        (format!("SELECT 1{}", " INTERSECT SELECT 1".repeat(200)), either),
        (format!("SELECT 1{}", " EXCEPT SELECT 2".repeat(200)), either),
        (format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000)), "ERROR 54001|ERROR 57014"),
        (format!("SELECT NULL::int4{}", "[]".repeat(2_000)), "ERROR 54000"),
        (format!("SELECT NULL::{}int4{}", "ARRAY<".repeat(40_000), ">".repeat(40_000)), "ERROR 54001|ERROR 42601"),
        (format!("PREPARE p(int4{}) AS SELECT 1", "[]".repeat(2_000)), "ERROR 54000"),
        (format!("SELECT {}'1'", "INTERVAL ".repeat(100)), "ERROR"),
        (format!("SELECT {}'1'", "INTERVAL ".repeat(70_000)), "ERROR 54001|ERROR 42601"),
        (format!("SELECT 5{}", " !".repeat(70_000)), "ERROR 54001|ERROR 42601"),
        (format!("SELECT 5{}", "::int".repeat(400)), "5\n"),
        (format!("SELECT sum(a{}) FROM generate_series(1, 3) t(a)", " - a".repeat(200)), "-1194\n|ERROR 57014"),
        (
            format!(
                "SELECT count(*) FROM generate_series(1, 3) t(a) WHERE {}",
                (2..800).map(|i| format!("a % {i} < 9")).collect::<Vec<_>>().join(" AND ")
            ),
            "3\n|ERROR 54001|ERROR 57014",
        ),
        (around(40, "SELECT (", "SELECT 1", ")"), either),
        (around(60, "SELECT (", "SELECT 1", ")"), either),
        (around(30, "SELECT * FROM (", "SELECT 1", ") t"), either),
        (around(40, "SELECT * FROM ((", "SELECT 1", ") t)"), "1\n|ERROR 54001|ERROR 42601"),
        (around(30, "SELECT 1 WHERE 1 IN (", "SELECT 1", ")"), either),
        (around(30, "SELECT 1 WHERE EXISTS (", "SELECT 1", ")"), either),
        (format!("SELECT {}", around(60, "CAST(", "!", " AS int)")), "ERROR 54001|ERROR 42601"),
        (format!("SELECT {}", around(60, "position('a' in ", "'a'", ")")), "1\n|ERROR"),
        (format!("SELECT {}", around(60, "ARRAY[", "1", "]")), "{|ERROR 54001"),
        (format!("SELECT {}", around(60, "ROW(", "1", ")")), "ERROR 54001"),
        (chain(300, "SELECT a FROM @", "SELECT count(*) FROM @"), "3\n|ERROR 54001|ERROR 57014"),
        (chain(300, "SELECT count(*) AS a FROM @ GROUP BY a", "SELECT count(*) FROM @"), "1\n|ERROR 54001|ERROR 57014"),
        (chain(300, "SELECT max(a) OVER () AS a FROM @", "SELECT count(*) FROM @"), "3\n|ERROR 54001|ERROR 57014"),
        (chain(300, "SELECT ARRAY[a] AS a FROM @", "SELECT count(*) FROM @"), "3\n|ERROR 54001|ERROR 57014"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_doubles_is_counted_before_it_is_made() {
    let columns = |n: usize| (0..n).map(|i| format!("a % {}", i + 2)).collect::<Vec<_>>().join(", ");
    let from = |n: usize| (0..n).map(|i| format!("generate_series(1, 1) t{i}")).collect::<Vec<_>>().join(", ");
    check(&[
        (format!("SELECT count(*) FROM generate_series(1, 9) t(a) GROUP BY CUBE ({})", columns(22)), "ERROR 54001"),
        (chain(17, "SELECT x.a FROM @ x JOIN @ y ON x.a = y.a", "SELECT count(*) FROM @"), "ERROR 54001"),
        (chain(17, "SELECT a FROM @ UNION ALL SELECT a FROM @", "SELECT count(*) FROM @"), "ERROR 54001"),
        (chain(22, "SELECT a + a AS a FROM @", "SELECT a FROM @ WHERE a > 5"), "ERROR 54001"),
        (chain(3, "SELECT a + a AS a FROM @", "SELECT a FROM @ WHERE a > 15 ORDER BY 1"), "16\n24\n(2)"),
        (
            chain(12, "SELECT CASE WHEN a > 1 THEN a + a ELSE a - a END AS a FROM @", "SELECT a FROM @ WHERE a > 5"),
            "ERROR 54001",
        ),
        (format!("SELECT count(*) FROM {}", from(400)), "ERROR 54001"),
        (format!("SELECT count(*) FROM {}", from(20)), "1\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_make_large_values_asks_first() {
    let either = "ERROR 54000|ERROR 53200";
    let all = [
        ("SELECT length(repeat('x', 300000000))", "ERROR 54000"),
        ("SELECT octet_length(repeat('x', 30000000))", "30000000\n"),
        ("SELECT length(replace(repeat('a',100000),'a',repeat('b',100000)))", "ERROR 54000"),
        ("SELECT length(lpad('x', 2000000000, 'ab'))", "ERROR 54000"),
        ("SELECT length(regexp_replace(repeat('a',100000),'a',repeat('b',100000),'g'))", "ERROR 54000"),
        ("SELECT octet_length(format('%1$s%1$s%1$s%1$s%1$s', repeat('x', 15000000)))", "ERROR 54000"),
        (
            "SELECT length(array_to_string(array_agg(repeat('x', 100000 + a::int % 2)), ',')) FROM generate_series(1, 3000) t(a)",
            either,
        ),
        ("SELECT length(string_agg(repeat('x', 100000 + a::int % 2), ',')) FROM generate_series(1, 3000) t(a)", either),
        ("SELECT sum(length(repeat('x', 60000000 + a::int % 2))) FROM generate_series(1, 1000) t(a)", either),
        ("SELECT sum(octet_length(repeat('x', 30000000))) FROM generate_series(1,1000)", "30000000000\n"),
        (
            "SELECT max(octet_length(repeat('x', 3000000) || a)) FROM generate_series(1, 100) t(a)",
            "3000003\n|ERROR 53200",
        ),
        // of rows: as constants they would stand in the plan, where every name that holds one is as long
        (
            "SELECT octet_length(repeat('x', 40000000 + a::int % 2) || repeat('y', 40000000 + a::int % 2)) \
             FROM generate_series(1, 1) t(a)",
            "ERROR 54000",
        ),
        ("SELECT cardinality(string_to_array(repeat('a,', 3000000), ','))", "3000001"),
        ("SELECT 'a' || NULL || 'b' IS NULL, 'a' || 1 || 'b', ARRAY[1] || 2", "t|a1b|{1,2}\n"),
    ];
    check(&all.map(|(sql, expect)| (sql.to_string(), expect))).await;
    let wide =
        |n: usize| (0..n).map(|i| format!("octet_length(repeat('x{i}', 20000000))")).collect::<Vec<_>>().join(" + ");
    let ctes: String = (1..=30).map(|i| format!(", c{i} AS (SELECT s || s AS s FROM c{})", i - 1)).collect();
    check(&[
        // constants: planning may take its time out before all of them are made, one after another
        (format!("SELECT {}", wide(30)), "1600000000\n|ERROR 54000|ERROR 53200|ERROR 57014"),
        (
            format!(
                "WITH c0 AS (SELECT 'xyz' || a AS s FROM generate_series(1, 3) t(a)){ctes} SELECT length(s) FROM c30"
            ),
            "ERROR 5",
        ),
        (format!("SELECT '{}', a FROM generate_series(1, 2000) t(a) OFFSET 1999", "x".repeat(900_000)), "x"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_constants_are_values_like_others() {
    let of = |sql: &str| sql.replace("@", "FROM generate_series(1, 3) t(a)");
    let cases = [
        ("SELECT sum(length(repeat('x', 100000) || a)) @", "300003\n"),
        ("SELECT sum(length(concat(repeat('x', 100000), a))) @", "300003\n"),
        ("SELECT count(*) @ WHERE concat(repeat('x', 100000)) = repeat('x', 100000)", "3\n"),
        ("SELECT count(*) @ WHERE repeat('x', 100000) || a < repeat('x', 100000) || '2'", "1\n"),
        ("SELECT length(max(concat(repeat('y', 70000), repeat('z', 70000)))) @ GROUP BY a % 1", "140000\n"),
        ("SELECT cardinality(string_to_array(repeat('a,', 50000), ',')) + a @ ORDER BY 1 LIMIT 1", "50002\n"),
        ("SELECT CASE WHEN a > 5 THEN length(format('%s', repeat('x', 900000))) ELSE 7 END @ LIMIT 1", "7\n"),
    ];
    let cases: Vec<_> = cases.iter().map(|(sql, rows)| (of(sql), *rows)).collect();
    check(&cases).await;
}

/// Planning is a part of a statement: PostgreSQL's `statement_timeout` counts from when the statement came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_long_to_plan_ends_when_its_own_time_is_up() {
    let gateway = gateway().await;
    let client = gateway.connect("eve").await;
    assert_eq!(simple(&client, "SET statement_timeout = 20").await, "(0)");
    let sums: Vec<_> = (1..1_000).map(|i| format!("sum(a * {i} + a) OVER (ORDER BY a + {i})")).collect();
    let error = client.simple_query(&format!("SELECT {} FROM generate_series(1, 3) t(a)", sums.join(", "))).await;
    let error = error.expect_err("its time is up");
    let error = error.as_db_error().expect("the server's word");
    assert_eq!(error.message(), "canceling statement due to statement timeout");
    assert_eq!(simple(&client, "RESET statement_timeout").await, "(0)");
    assert_eq!(simple(&client, "SELECT 1").await, "1\n(1)");
}
