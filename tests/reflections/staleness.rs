//! How old an answer may be by what a role, a user, a dataset and a session say. What a reflection answers is others' to test.

use std::fs;

use crate::gateway::{Files, Gateway, simple, told, until};

const POLICY: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, delete, allow\n\
    p, root, *, create, allow\np, root, lakegate.admin, select, allow\n\
    p, ann, *, select, allow\np, bob, *, select, allow\np, patient, *, select, allow\ng, ann, patient\n";
const NOW: &str = "2\n(1)";
const THEN: &str = "3\n(1)";

/// `s.orders` with a reflection that is one deleted row behind it.
async fn behind(files: Files) -> Gateway {
    let users = ["root", "ann", "bob"].map(|name| (name.to_string(), String::new())).to_vec();
    let acting = vec![("ann".to_string(), "bob".to_string())];
    let gateway =
        Box::pin(Gateway::start(&Files { policy: POLICY.into(), users, may_act_for: acting, ..files }.with_lake()))
            .await;
    let orders = [
        "CREATE SCHEMA s",
        "CREATE TABLE s.orders (id int4, region text)",
        "INSERT INTO s.orders VALUES (1, 'EU'), (2, 'EU'), (3, 'US')",
        "CREATE REFLECTION by_region ON s.orders USING DIMENSIONS (region) MEASURES (COUNT(*)) REFRESH MANUAL",
        "REFRESH REFLECTION by_region",
        "DELETE FROM s.orders WHERE id = 3",
        // what was asked once is in the result cache, which is exact and goes before
        "CREATE TABLE s.other (id int4)",
    ];
    gateway.run("root", &orders).await;
    gateway
}

fn dataset(gateway: &Gateway, name: &str, text: &str) {
    let folder = gateway.path("catalog/datasets");
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join(format!("{name}.sql"))).unwrap();
}

/// The answer alone, whatever is cached.
async fn count(client: &tokio_postgres::Client, from: &str) -> String {
    client.batch_execute("SET lakegate.cache = off").await.unwrap_or_else(|e| panic!("{}", told(&e)));
    simple(client, &format!("SELECT count(*) FROM {from}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_says_how_old_what_is_read_through_it_may_be() {
    let gateway = Box::pin(behind(Files::default())).await;
    let ann = gateway.connect("ann").await;
    dataset(&gateway, "d.late", "-- owner: root\n-- max_staleness: 1 h\nSELECT * FROM s.orders\n");
    dataset(&gateway, "d.exact", "-- owner: root\n-- max_staleness: 0 s\nSELECT * FROM s.orders\n");
    dataset(&gateway, "d.silent", "-- owner: root\nSELECT * FROM s.orders\n");
    dataset(&gateway, "d.over", "-- owner: root\nSELECT * FROM d.late\n");
    until(&ann, "SELECT count(*) > 0 FROM d.late, d.exact, d.silent, d.over", |now| now == "t\n(1)").await;
    for (from, expected) in [
        ("d.late", THEN),
        ("d.over", THEN),
        ("d.silent", NOW),
        ("d.exact", NOW),
        ("s.orders", NOW),
        // a table stands beside it that nobody allowed to be older
        ("d.late l LEFT JOIN s.other o ON o.id = l.id", NOW),
        ("d.late l LEFT JOIN (SELECT * FROM d.exact LIMIT 0) e ON e.id = l.id", NOW),
    ] {
        assert_eq!(count(&ann, from).await, expected, "{from}");
    }
    // read twice, once by itself
    let both = "SELECT (SELECT count(*) FROM d.over), (SELECT count(*) FROM s.orders)";
    assert_eq!(simple(&ann, both).await, "2|2\n(1)");
    let both = "SELECT (SELECT count(*) FROM d.over), (SELECT count(*) FROM d.late)";
    assert_eq!(simple(&ann, both).await, "3|3\n(1)");
    // a session's word goes before, as far as the dataset allows
    assert_eq!(simple(&ann, "SHOW lakegate.max_staleness").await, "-1\n(0)");
    ann.batch_execute("SET lakegate.max_staleness = 0").await.unwrap();
    assert_eq!(count(&ann, "d.late").await, NOW);
    ann.batch_execute("SET lakegate.max_staleness = '1 d'").await.unwrap();
    for (from, expected) in [("d.late", THEN), ("s.orders", THEN), ("d.silent", THEN), ("d.exact", NOW)] {
        assert_eq!(count(&ann, from).await, expected, "{from}");
    }
    ann.batch_execute("RESET lakegate.max_staleness").await.unwrap();
    assert_eq!((count(&ann, "d.late").await, count(&ann, "s.orders").await), (THEN.into(), NOW.into()));
    // what a transaction reads twice is one moment's
    ann.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(count(&ann, "d.late").await, NOW);
    ann.batch_execute("COMMIT").await.unwrap();
    // no longer allowed
    dataset(&gateway, "d.late", "-- owner: root\nSELECT * FROM s.orders\n");
    ann.batch_execute("SET lakegate.cache = off").await.unwrap();
    until(&ann, "SELECT count(*) FROM d.late", |now| now == NOW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_says_how_old_answers_may_be_and_a_session_goes_before() {
    let roles = "[role.patient]\nmax_staleness = \"1 h\"\n".to_string();
    let gateway = Box::pin(behind(Files { roles: roles.clone(), ..Files::default() })).await;
    let (ann, bob) = (gateway.connect("ann").await, gateway.connect("bob").await);
    assert_eq!(simple(&ann, "SHOW lakegate.max_staleness").await, "1h\n(0)");
    let state = "SELECT setting, source, reset_val FROM pg_settings WHERE name = 'lakegate.max_staleness'";
    assert_eq!(simple(&ann, state).await, "3600000|user|3600000\n(1)");
    assert_eq!(simple(&bob, state).await, "-1|default|-1\n(1)");
    assert_eq!((count(&ann, "s.orders").await, count(&bob, "s.orders").await), (THEN.into(), NOW.into()));
    ann.batch_execute("SET lakegate.max_staleness = 0").await.unwrap();
    assert_eq!(count(&ann, "s.orders").await, NOW);
    ann.batch_execute("RESET lakegate.max_staleness").await.unwrap();
    assert_eq!(count(&ann, "s.orders").await, THEN);
    // in the place of somebody of whom nothing is said
    ann.batch_execute("SET ROLE bob").await.unwrap();
    assert_eq!(simple(&ann, "SHOW lakegate.max_staleness").await, "-1\n(0)");
    assert_eq!(count(&ann, "s.orders").await, NOW);
    ann.batch_execute("RESET ROLE").await.unwrap();
    assert_eq!(simple(&ann, "SHOW lakegate.max_staleness").await, "1h\n(0)");
    // the next statement follows the file
    let users = ["root", "ann", "bob"].map(|name| (name.to_string(), String::new())).to_vec();
    let less = Files { users: users.clone(), roles: roles.replace("1 h", "0 s"), ..Files::default() };
    gateway.change_users(&less).await;
    assert_eq!(count(&ann, "s.orders").await, NOW);
    assert_eq!(simple(&ann, "SHOW lakegate.max_staleness").await, "0\n(0)");
    gateway.change_users(&Files { users, roles, ..Files::default() }).await;
    assert_eq!(count(&ann, "s.orders").await, THEN);
}
