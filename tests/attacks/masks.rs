//! Getting at masked values: by probing, by order, by climbing prefixes (attacks 17–19), on memory and Iceberg tables.

use tokio_postgres::Client;

use super::both;
use crate::gateway::{Files, Gateway, simple};

/// Everybody sees `secret` and `pin` otherwise.
const MASKS: [(&str, &str); 7] = [
    ("redacted", "redact"),
    ("nothing", "nullify"),
    ("fixed", "\"constant('same')\""),
    ("hashed", "hash"),
    ("partly", "\"partial(1, '***', 1)\""),
    ("tail", "last4"),
    ("head", "first4"),
];

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "hr.people"
columns = [
    { name = "id", type = "int4" }, { name = "secret", type = "text" }, { name = "pin", type = "text" },
    { name = "note", type = "text" },
]
rows = [
    [1, "marlin", "P004711", "one"], [2, "abbey", "P990001", "two"], [3, "zebra", "P123456", "three"],
    [4, "abacus", "P004711", "four"], [5, {}, {}, "five"], [6, "bob", "P000000", "six"],
]
"#;

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\np2, root, *, unfiltered\n";

async fn start(more: &str) -> Gateway {
    let mut users = vec![("root".to_string(), String::new()), ("ann".to_string(), String::new())];
    users.extend(MASKS.map(|(user, _)| (user.to_string(), String::new())));
    let files = Files {
        sources: vec![("fixtures".into(), SOURCE.into())],
        policy: BOOTSTRAP.into(),
        users,
        ..Files::default()
    };
    let gateway = Gateway::start(&files.with_lake()).await;
    gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.people AS SELECT * FROM hr.people"]).await;
    let mut policy = BOOTSTRAP.to_string();
    for table in TABLES {
        for (user, mask) in MASKS {
            policy += &format!("p, {user}, {table}, select, allow\n");
            policy += &format!("p3, {user}, {table}, secret, {mask}\np3, {user}, {table}, pin, {mask}\n");
        }
        policy += &more.replace("{t}", table);
    }
    gateway.change_policy(&policy).await;
    gateway
}

const TABLES: [&str; 2] = ["hr.people", "lake.people"];

/// Row filters and masks take raw values, whatever the user sees of the columns they name.
#[tokio::test(flavor = "multi_thread")]
async fn filters_and_masks_read_raw_values() {
    let gateway = start(
        "p, ann, {t}, select, allow\np2, ann, {t}, \"secret < 'm' AND pin <> 'P990001'\"\np3, ann, {t}, secret, redact\n\
         p3, ann, {t}, pin, nullify\np3, ann, {t}, note, \"custom(\"\"concat(secret, '/', note)\"\")\"\n",
    )
    .await;
    for table in TABLES {
        let ann = gateway.connect("ann").await;
        let all = simple(&ann, &format!("SELECT * FROM {table} ORDER BY id")).await;
        assert_eq!(all, "4|xxxx|∅|abacus/four\n6|xxxx|∅|bob/six\n(2)", "{table}");
        // above the scan there is the mask's value alone
        let asked = format!("SELECT count(*) FROM {table} WHERE secret = 'bob' OR pin IS NOT NULL OR note = 'six'");
        assert_eq!(simple(&ann, &asked).await, "0\n(1)", "{table}");
        let [text, binary] = both(&gateway, "ann", &format!("SELECT note FROM {table} WHERE secret = 'xxxx'")).await;
        assert_eq!((text.lines().count(), binary.lines().count()), (3, 2), "{table}: {text} {binary}");
    }
}

/// A million candidates against a masked column, in one statement: nobody finds one that the mask does not show.
#[tokio::test(flavor = "multi_thread")]
async fn no_candidate_matches_a_masked_value() {
    let gateway = start("").await;
    for table in TABLES {
        let million = format!(
            "SELECT p.id FROM generate_series(0, 999999) AS g(n) JOIN {table} p ON p.pin = 'P' || lpad(g.n::text, 6, '0') \
             ORDER BY 1"
        );
        let root = gateway.connect("root").await;
        assert_eq!(simple(&root, &million).await, "1\n2\n3\n4\n6\n(5)", "the probe finds what is not masked");
        for user in ["redacted", "hashed", "tail"] {
            let client = gateway.connect(user).await;
            assert_eq!(simple(&client, &million).await, "(0)", "{user} {table}");
        }
        for (user, _) in MASKS {
            let client = gateway.connect(user).await;
            for probe in [
                "secret = 'marlin'",
                "secret IN ('marlin', 'abbey', 'zebra', 'abacus', 'bob')",
                "secret LIKE 'marli%'",
                "lower(secret) = 'marlin'",
                "md5(secret) = md5('marlin')",
                "length(secret) = 6 AND pin <> pin",
                "pin = 'P004711'",
                "secret || pin = 'marlinP004711'",
                "concat(secret) = 'marlin'",
                "replace(secret, 'marlin', '') = ''",
                "strpos(secret, 'arli') > 0",
                "(SELECT 'marlin') = secret",
                "secret = ANY (ARRAY['marlin', 'bob'])",
            ] {
                let asked = format!("SELECT id FROM {table} WHERE {probe}");
                assert_eq!(simple(&client, &asked).await, "(0)", "{user} {table}: {probe}");
            }
        }
    }
}

/// The published exploit: letter by letter by LIKE, and by comparisons. What it recovers is what the mask shows anyway.
#[tokio::test(flavor = "multi_thread")]
async fn climbing_a_masked_value_recovers_the_mask() {
    let gateway = start("").await;
    for table in TABLES {
        for (user, _) in MASKS.into_iter().filter(|(user, _)| *user != "hashed") {
            let client = gateway.connect(user).await;
            let shown = simple(&client, &format!("SELECT secret FROM {table} WHERE id = 1")).await;
            let shown = shown.lines().next().unwrap().trim_matches('∅').to_string();
            let like =
                climb(&client, |prefix| format!("SELECT 1 FROM {table} WHERE id = 1 AND secret LIKE '{prefix}%'"));
            assert_eq!(like.await, shown, "{user} {table}");
            let order = climb(&client, |prefix| {
                format!("SELECT 1 FROM {table} WHERE id = 1 AND secret >= '{prefix}' AND secret < '{prefix}{{'")
            });
            assert_eq!(order.await, shown, "{user} {table}");
            assert_ne!(shown, "marlin");
        }
    }
}

async fn climb(client: &Client, probe: impl Fn(&str) -> String) -> String {
    let mut prefix = String::new();
    'longer: while prefix.len() < 12 {
        for next in "*abcdefghijklmnopqrstuvwxyz0123456789".chars() {
            let longer = format!("{prefix}{next}");
            if simple(client, &probe(&longer)).await.starts_with('1') {
                prefix = longer;
                continue 'longer;
            }
        }
        break;
    }
    prefix
}

/// Sorting, ranking, grouping and windows see the mask: what they tell follows from the values shown.
#[tokio::test(flavor = "multi_thread")]
async fn order_and_groups_are_those_of_the_shown_values() {
    let gateway = start("").await;
    for table in TABLES {
        for (user, _) in MASKS {
            let client = gateway.connect(user).await;
            let rows = simple(&client, &format!("SELECT id, secret FROM {table}")).await;
            let mut shown: Vec<(String, u32)> = rows
                .lines()
                .filter_map(|l| l.split_once('|'))
                .map(|(id, value)| (value.replace('∅', "~~~~"), id.parse().unwrap()))
                .collect();
            assert_eq!(shown.len(), 6, "{user} {table}: {rows}");
            shown.sort();
            let ids = |rows: &[(String, u32)]| rows.iter().map(|(_, id)| format!("{id}\n")).collect::<String>();
            let plain = |sql: &str| format!("{sql} ").replace("{t}", table);
            let by_value = simple(&client, &plain("SELECT id FROM {t} ORDER BY secret, id")).await;
            assert_eq!(by_value, format!("{}(6)", ids(&shown)), "{user} {table}");
            let by_rank = plain("SELECT id FROM {t} ORDER BY rank() OVER (ORDER BY secret), id");
            assert_eq!(simple(&client, &by_rank).await, by_value, "{user} {table}");
            let first = plain("SELECT id FROM {t} ORDER BY secret, id LIMIT 2");
            assert_eq!(simple(&client, &first).await, format!("{}(2)", ids(&shown[..2])), "{user} {table}");
            let mut values: Vec<&str> = shown.iter().map(|(value, _)| value.as_str()).collect();
            values.dedup();
            let groups = simple(&client, &plain("SELECT count(*) FROM {t} GROUP BY secret")).await;
            assert_eq!(groups.lines().count() - 1, values.len(), "{user} {table}");
        }
    }
}
