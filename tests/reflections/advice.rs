//! What dashboards ask is advised for, what is advised is made, and what is made answers: end to end.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, simple, told, until};

/// Before there is a schema that lines could speak of.
const ADMIN: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, create, allow\n\
    p, root, lakegate.admin, select, allow\n";
const OTHERS: &str = "p, maker, *, select, allow\np, maker, *, refresh, allow\n\
    p, reader, *, select, allow\n\
    p, partial, *, select, allow\np, partial, *, refresh, allow\np2, partial, s.orders, \"region = 'EU'\"\n\
    p, masked, *, select, allow\np, masked, *, refresh, allow\np3, masked, s.orders, buyer, redact\n";
const ADVISE: &str = "CALL lakegate.advise_reflections()";
/// Of values that stand in statements and must not come back.
const SECRET: &str = "shipped";

async fn gateway() -> Gateway {
    let users = ["root", "maker", "reader", "partial", "masked"].map(|name| (name.to_string(), String::new())).to_vec();
    let gateway =
        Box::pin(Gateway::start(&Files { policy: ADMIN.into(), users, ..Files::default() }.with_lake())).await;
    let made = [
        "CREATE SCHEMA s",
        "CREATE TABLE s.orders (id int4, region text, status text, buyer text, at timestamp, total numeric(12,2), qty int4)",
        "INSERT INTO s.orders SELECT n, (ARRAY['EU', 'US', 'APAC'])[n % 3 + 1], (ARRAY['shipped', 'open'])[n % 2 + 1], \
            'buyer ' || n, timestamp '2026-01-01' + n * interval '1 hour', n * 1.25, n % 7 \
            FROM generate_series(1, 4000) AS g (n)",
        "CREATE TABLE s.small (k text)",
        "INSERT INTO s.small VALUES ('a'), ('b')",
    ];
    gateway.run("root", &made).await;
    gateway.change_policy(&format!("{ADMIN}{OTHERS}")).await;
    gateway
}

/// As dashboards write them.
const ASKED: [&str; 8] = [
    "SELECT region, sum(total), count(*) FROM s.orders GROUP BY region",
    "SELECT date_trunc('month', at) AS m, sum(total) FROM s.orders WHERE status = 'shipped' GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('day', at) AS d, count(*) FROM s.orders \
        WHERE at >= '2026-02-01' AND at < '2026-03-01' GROUP BY 1",
    "SELECT region, avg(qty), min(total), max(total) FROM s.orders WHERE region <> 'US' GROUP BY region",
    "SELECT count(DISTINCT region) FROM s.orders",
    "SELECT sum(qty * id) FROM s.orders WHERE status = 'open'",
    "SELECT status, count(*) FILTER (WHERE region = 'EU') FROM s.orders GROUP BY status",
    "SELECT DISTINCT status FROM s.orders",
];

/// The texts alone.
async fn advised(client: &Client) -> Vec<String> {
    let rows = client.simple_query(ADVISE).await.unwrap_or_else(|e| panic!("{}", told(&e)));
    let texts = rows.iter().filter_map(|row| match row {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get("definition").unwrap().to_owned()),
        _ => None,
    });
    texts.collect()
}

async fn explained(client: &Client, sql: &str) -> String {
    simple(client, &format!("EXPLAIN VERBOSE {sql}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_advised_is_taken_and_answers_what_it_was_advised_for() {
    let gateway = gateway().await;
    let (maker, reader) = (gateway.connect("maker").await, gateway.connect("reader").await);
    assert_eq!(advised(&maker).await, [""; 0]);
    reader.batch_execute("SET lakegate.cache = off").await.unwrap();
    let mut before = vec![];
    for sql in ASKED {
        before.push(simple(&reader, sql).await);
        assert_eq!(sorted(&simple(&reader, sql).await), sorted(before.last().unwrap()), "{sql}");
    }
    let rows = simple(&maker, "CALL lakegate.advise_reflections('s.orders')").await;
    let texts = advised(&maker).await;
    assert!(!texts.is_empty(), "{rows}");
    assert!(!rows.contains(SECRET) && !rows.contains("2026"), "{rows}");
    // each counts what was asked twice
    let counted: i64 = rows.lines().filter_map(|line| line.split('|').nth(2)?.parse::<i64>().ok()).sum();
    assert!(counted >= 2 * ASKED.len() as i64, "{rows}");
    let read: i64 = rows.lines().filter_map(|line| line.split('|').nth(3)?.parse::<i64>().ok()).sum();
    assert!(read >= 2 * 4_000, "{rows}");
    let saved: Vec<i64> = rows.lines().filter_map(|line| line.split('|').nth(6)?.parse().ok()).collect();
    assert!(saved.is_sorted_by(|a, b| a >= b), "{rows}");
    for text in &texts {
        maker.batch_execute(text).await.unwrap_or_else(|e| panic!("{text}: {}", told(&e)));
    }
    let names: BTreeSet<&str> = texts.iter().map(|text| text.split(' ').nth(2).unwrap()).collect();
    assert_eq!(names.len(), texts.len(), "{texts:?}");
    for name in &names {
        let ready = format!("SELECT state FROM lakegate.reflections WHERE name = '{name}'");
        until(&maker, &ready, |now| now == "ready\n(1)").await;
    }
    for (sql, before) in ASKED.iter().zip(&before) {
        let plan = explained(&reader, sql).await;
        assert!(plan.contains("Reflection: "), "{sql}\n{plan}\n{}", texts.join("\n"));
        assert_eq!(sorted(&simple(&reader, sql).await), sorted(before), "{sql}");
    }
    // what is answered needs no advice, whenever it was asked
    assert_eq!(advised(&maker).await, [""; 0]);
    // groups that were counted
    let expected: Vec<i64> = rows.lines().filter_map(|line| line.split('|').nth(4)?.parse().ok()).collect();
    let stored = simple(&maker, "SELECT sum(rows)::int8 FROM lakegate.reflections").await;
    assert_eq!(stored, format!("{}\n(1)", expected.iter().sum::<i64>()), "{rows}");
}

fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_advised_of_what_he_could_not_make() {
    let gateway = gateway().await;
    let client = async |user: &str| gateway.connect(user).await;
    let reader = client("reader").await;
    simple(&reader, ASKED[0]).await;
    for (user, is_advised) in
        [("root", true), ("maker", true), ("reader", false), ("partial", false), ("masked", false)]
    {
        let client = client(user).await;
        assert_eq!(!advised(&client).await.is_empty(), is_advised, "{user}");
    }
    let nobody = simple(&client("maker").await, "CALL lakegate.advise_reflections('s.nothing')").await;
    assert!(nobody.starts_with("ERROR 42P01"), "{nobody}");
    assert_eq!(simple(&client("maker").await, "CALL lakegate.advise_reflections('s.small')").await, "(0)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_saves_nothing_or_cannot_be_kept_is_not_advised() {
    let gateway = gateway().await;
    let (maker, reader) = (gateway.connect("maker").await, gateway.connect("reader").await);
    for sql in [
        // as many groups as rows
        "SELECT id, sum(total) FROM s.orders GROUP BY id",
        "SELECT k, count(*) FROM s.small GROUP BY k",
        // a value of the statement's own would have to be in the definition
        "SELECT CASE WHEN status = 'shipped' THEN 1 ELSE 2 END, count(*) FROM s.orders GROUP BY 1",
        // the last digit follows the order of the rows
        "SELECT region, sum(qty::float8) FROM s.orders GROUP BY region",
        // the store has no such numeric
        "SELECT region, sum(total * qty) FROM s.orders GROUP BY region",
        "SELECT region, string_agg(buyer, ',') FROM s.orders GROUP BY region",
        "SELECT region FROM s.orders WHERE random() < 2 GROUP BY region",
        // one that failed
        "SELECT region, sum(1 / (qty - 3)) FROM s.orders GROUP BY region",
    ] {
        simple(&reader, sql).await;
    }
    assert_eq!(advised(&maker).await, [""; 0]);
    // whoever sees a part of the table is answered from no more than that
    simple(&gateway.connect("partial").await, ASKED[0]).await;
    assert_eq!(advised(&maker).await, [""; 0]);
}
