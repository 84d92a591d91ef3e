//! Where an answer is from, for whoever asked for it and whoever may ask for others'.

use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, simple, told, until};

const POLICY: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, delete, allow\n\
    p, root, *, create, allow\np, root, lakegate.admin, select, allow\n\
    p, ann, s.*, select, allow\np, ann, d.*, select, allow\np, bob, s.*, select, allow\n";
const WITHOUT_ORDERS: &str = "p, ann, s.orders, select, deny\n";

async fn gateway() -> Gateway {
    let users = ["root", "ann", "bob"].map(|name| (name.to_string(), String::new())).to_vec();
    let may_act_for = vec![("ann".to_string(), "bob".to_string())];
    let datasets =
        vec![("d.both".into(), "-- owner: root\nSELECT o.id, h.secret FROM s.orders o, h.hidden h\n".into())];
    let files = Files { policy: POLICY.into(), users, may_act_for, ..Files::default() }.with_lake();
    let gateway = Box::pin(Gateway::start(&files)).await;
    let made = [
        "CREATE SCHEMA s",
        "CREATE SCHEMA h",
        "CREATE TABLE s.orders (id int4, region text)",
        "CREATE TABLE h.hidden (secret text)",
        "INSERT INTO s.orders VALUES (1, 'EU'), (2, 'EU'), (3, 'US')",
        "INSERT INTO h.hidden VALUES ('x')",
    ];
    gateway.run("root", &made).await;
    for (name, text) in &datasets {
        let (name, text): (&String, &String) = (name, text);
        std::fs::write(gateway.path(&format!("catalog/datasets/{name}.sql")), text).unwrap();
    }
    let ann = gateway.connect("ann").await;
    until(&ann, "SELECT count(*) FROM d.both", |now| now == "3\n(1)").await;
    gateway
}

async fn shown(client: &Client, setting: &str) -> String {
    simple(client, &format!("SHOW lakegate.{setting}")).await.trim_end_matches("\n(0)").to_owned()
}

async fn asked(client: &Client, columns: &str, id: &str) -> String {
    simple(client, &format!("SELECT {columns} FROM lakegate.provenance('{id}')")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_can_be_asked_for_what_it_saw() {
    let gateway = gateway().await;
    let [root, ann, bob] = [gateway.connect("root").await, gateway.connect("ann").await, gateway.connect("bob").await];
    assert_eq!(shown(&ann, "query_id").await, "");
    let sql = "SELECT region, count(*) FROM s.orders GROUP BY region ORDER BY 1";
    assert_eq!(simple(&ann, sql).await, "EU|2\nUS|1\n(2)");
    let (id, vector) = (shown(&ann, "query_id").await, shown(&ann, "snapshot_vector").await);
    assert!(id.len() == 36 && vector.starts_with("s.orders=snapshot:"), "{id} {vector}");
    let columns =
        "user_name, acts_for, kind, query, outcome, sqlstate, rows, snapshot_vector, reflections, staleness_ms";
    let expected = format!("ann|∅|select|{sql}|ok|00000|2|{vector}||0\n(1)");
    assert_eq!(asked(&ann, columns, &id).await, expected);
    assert_eq!(asked(&root, columns, &id).await, expected);
    assert_eq!(asked(&ann, "now() - started_at < '1 h', duration_ms >= 0, cache", &id).await, "t|t|miss\n(1)");
    for other in [&id, "nothing", ""] {
        assert_eq!(asked(&bob, "*", other).await, "(0)", "{other}");
    }
    // to ask is not to read: the setting is still the same one's
    let by_setting = "SELECT p.query_id FROM lakegate.provenance(current_setting('lakegate.query_id')) AS p";
    assert_eq!(simple(&ann, by_setting).await, format!("{id}\n(1)"));
    let listed = "SELECT query_id FROM lakegate.provenance ORDER BY started_at DESC LIMIT 1";
    assert_eq!(simple(&ann, listed).await, format!("{id}\n(1)"));
    assert_eq!(simple(&bob, listed).await, "(0)");
    // as it was, after it has changed
    root.batch_execute("DELETE FROM s.orders WHERE region = 'US'").await.unwrap_or_else(|e| panic!("{}", told(&e)));
    assert_eq!(simple(&ann, sql).await, "EU|2\n(1)");
    ann.batch_execute(&format!("SET lakegate.snapshot_vector = '{vector}'")).await.unwrap();
    assert_eq!(simple(&ann, sql).await, "EU|2\nUS|1\n(2)");
    ann.batch_execute("RESET lakegate.snapshot_vector").await.unwrap();
    // one that fails on its way
    assert!(simple(&ann, "SELECT 1 / (id - 2) FROM s.orders").await.starts_with("ERROR 22012"));
    let failed = shown(&ann, "query_id").await;
    assert_ne!(failed, id);
    assert_eq!(asked(&ann, "outcome, sqlstate", &failed).await, "error|22012\n(1)");
    let refused = simple(&ann, "SET lakegate.query_id = 'x'").await;
    assert!(refused.starts_with("ERROR 55P02"), "{refused}");
    for wrong in ["SELECT * FROM lakegate.provenance()", "SELECT * FROM lakegate.provenance('a', 'b')"] {
        assert!(simple(&ann, wrong).await.starts_with("ERROR 42883"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_the_asker_may_not_read_are_not_named() {
    let gateway = gateway().await;
    let [root, ann] = [gateway.connect("root").await, gateway.connect("ann").await];
    assert_eq!(simple(&ann, "SELECT count(*) FROM d.both WHERE secret = 'x'").await, "3\n(1)");
    let id = shown(&ann, "query_id").await;
    let vector = asked(&ann, "snapshot_vector", &id).await;
    assert!(vector.starts_with("s.orders=snapshot:") && !vector.contains("hidden"), "{vector}");
    let all = asked(&root, "snapshot_vector", &id).await;
    assert!(all.contains("h.hidden=snapshot:") && all.contains("s.orders=snapshot:"), "{all}");
    // by the rights of now
    gateway.change_policy(&format!("{POLICY}{WITHOUT_ORDERS}")).await;
    assert_eq!(asked(&ann, "snapshot_vector", &id).await, "\n(1)");
    gateway.change_policy(POLICY).await;
    assert_eq!(asked(&ann, "snapshot_vector", &id).await, vector);
    // what was asked in another's place is asked about there
    ann.batch_execute("SET ROLE bob").await.unwrap();
    assert_eq!(asked(&ann, "*", &id).await, "(0)");
    assert_eq!(simple(&ann, "SELECT count(*) FROM s.orders").await, "3\n(1)");
    let acting = shown(&ann, "query_id").await;
    assert_eq!(asked(&ann, "user_name, acts_for", &acting).await, "ann|bob\n(1)");
    ann.batch_execute("RESET ROLE").await.unwrap();
    assert_eq!(asked(&ann, "*", &acting).await, "(0)");
    assert_eq!(asked(&root, "user_name, acts_for", &acting).await, "ann|bob\n(1)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflection_that_answered_is_named_to_whoever_sees_its_table() {
    let gateway = gateway().await;
    let [root, ann] = [gateway.connect("root").await, gateway.connect("ann").await];
    let made = "CREATE REFLECTION by_region ON s.orders USING DIMENSIONS (region) MEASURES (COUNT(*)) REFRESH MANUAL";
    for sql in [made, "REFRESH REFLECTION by_region", "DELETE FROM s.orders WHERE id = 3"] {
        root.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {}", told(&e)));
    }
    ann.batch_execute("SET lakegate.max_staleness = '1 h'").await.unwrap();
    assert_eq!(simple(&ann, "SELECT count(*) FROM s.orders").await, "3\n(1)");
    let id = shown(&ann, "query_id").await;
    let columns = "reflections LIKE 'by_region=reflection:%', staleness_ms >= 0, rows";
    assert_eq!(asked(&ann, columns, &id).await, "t|t|1\n(1)");
    gateway.change_policy(&format!("{POLICY}p2, ann, s.orders, \"id > 1\"\n")).await;
    assert_eq!(asked(&ann, "reflections", &id).await, "\n(1)");
    assert!(asked(&root, "reflections", &id).await.starts_with("by_region=reflection:"));
}
