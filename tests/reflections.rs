//! Reflections of a whole server: a file saved and one made by SQL come to the same, what is stored is found after a restart,
//! and who may not see the tables is told of nothing.

mod advice;
mod provenance;
mod staleness;

use std::fs;

use crate::gateway::{Files, Gateway, PATIENCE, simple, told, until};

/// Before there is a schema that lines could speak of.
const ADMIN: &str = "p, root, *, select, allow\np, root, *, insert, allow\np, root, *, delete, allow\n\
    p, root, *, drop, allow\np, root, *, create, allow\np, root, lakegate.admin, select, allow\n";
const ANN: &str = "p, ann, s.*, select, allow\n";
const BOB: &str = "p, bob, s.*, select, allow\np2, bob, s.orders, \"id > 1\"\n";

const BY_REGION: &str = "CREATE REFLECTION by_region ON s.orders USING DIMENSIONS (region) MEASURES (SUM(total))";

async fn gateway() -> Gateway {
    let users = ["root", "ann", "bob"].map(|name| (name.to_string(), String::new())).to_vec();
    let files = Files { policy: ADMIN.into(), users, ..Files::default() }.with_lake();
    let gateway = Box::pin(Gateway::start(&files)).await;
    gateway
        .run(
            "root",
            &[
                "CREATE SCHEMA s",
                "CREATE TABLE s.orders (id int4, region text, total numeric(12,2))",
                "INSERT INTO s.orders VALUES (1, 'EU', 10.50), (2, 'EU', 1), (3, 'US', 7)",
            ],
        )
        .await;
    gateway.change_policy(&format!("{ADMIN}{ANN}{BOB}")).await;
    gateway
}

const LISTED: &str = "SELECT name, owner, tables, state, rows FROM lakegate.reflections ORDER BY name";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_and_a_statement_say_the_same_and_a_restart_keeps_it() {
    let gateway = gateway().await;
    let root = gateway.connect("root").await;
    root.batch_execute(BY_REGION).await.unwrap_or_else(|e| panic!("{}", told(&e)));
    let folder = gateway.path("catalog/reflections");
    fs::create_dir_all(&folder).unwrap();
    let text = format!("-- owner: root\n{};\n", BY_REGION.replace("by_region", "of_file"));
    fs::write(folder.join("of_file.sql"), text).unwrap();
    let both = "by_region|root|s.orders|ready|2\nof_file|root|s.orders|ready|2\n(2)";
    until(&root, LISTED, |now| now == both).await;
    // a file's is not SQL's to change
    let dropped = simple(&root, "DROP REFLECTION of_file").await;
    assert!(dropped.starts_with("ERROR 55000 reflection \"of_file\" is defined by a file"), "{dropped}");
    let made_of = simple(&root, "SELECT name, made_of FROM lakegate.reflections ORDER BY name").await;
    let directory = gateway.stop().await;
    let gateway = Box::pin(Gateway::again(directory)).await;
    let root = gateway.connect("root").await;
    until(&root, LISTED, |now| now == both).await;
    assert_eq!(simple(&root, "SELECT name, made_of FROM lakegate.reflections ORDER BY name").await, made_of);
    // gone with its file, and with its statement
    fs::remove_file(gateway.path("catalog/reflections/of_file.sql")).unwrap();
    until(&root, LISTED, |now| now == "by_region|root|s.orders|ready|2\n(1)").await;
    assert_eq!(simple(&root, "DROP REFLECTION by_region").await, "(0)");
    until(&root, LISTED, |now| now == "(0)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_keeps_the_old_ones_in_force() {
    let gateway = gateway().await;
    let root = gateway.connect("root").await;
    let folder = gateway.path("catalog/reflections");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("by_region.sql");
    fs::write(&file, format!("-- owner: root\n{BY_REGION}\n")).unwrap();
    until(&root, LISTED, |now| now.contains("by_region|root|s.orders|ready|2")).await;
    fs::write(&file, "-- owner: root\nCREATE REFLECTION by_region ON s.orders USING DISPLAY (nothing)\n").unwrap();
    let begin = std::time::Instant::now();
    let fault = "by_region.sql:2:56: column \"nothing\" does not exist";
    while !gateway.server.engine.faults().iter().any(|f| f.to_string().ends_with(fault)) {
        assert!(begin.elapsed() < PATIENCE, "{:?}", gateway.server.engine.faults());
        tokio::task::yield_now().await;
    }
    assert!(simple(&root, LISTED).await.contains("by_region|root|s.orders|ready|2"));
    fs::write(&file, format!("-- owner: root\n{}\n", BY_REGION.replace("(region)", "(region, id)"))).unwrap();
    until(&root, LISTED, |now| now.contains("by_region|root|s.orders|ready|3")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_all_of_the_table_is_told_of_it() {
    let gateway = gateway().await;
    let [root, ann, bob] = [gateway.connect("root").await, gateway.connect("ann").await, gateway.connect("bob").await];
    root.batch_execute(BY_REGION).await.unwrap_or_else(|e| panic!("{}", told(&e)));
    until(&root, LISTED, |now| now.contains("ready|2")).await;
    assert!(simple(&ann, LISTED).await.contains("by_region|root|s.orders|ready|2"));
    assert_eq!(simple(&bob, LISTED).await, "(0)");
    let unknown = |name: &str| format!("ERROR 42704 reflection \"{name}\" does not exist");
    for statement in ["DROP REFLECTION", "REFRESH REFLECTION"] {
        for name in ["by_region", "nothing"] {
            assert_eq!(simple(&bob, &format!("{statement} {name}")).await, unknown(name), "{statement}");
        }
    }
    assert_eq!(simple(&ann, "DROP REFLECTION by_region").await, "ERROR 42501 must be owner of reflection by_region");
    assert_eq!(
        simple(&ann, "REFRESH REFLECTION by_region").await,
        "ERROR 42501 permission denied for reflection by_region"
    );
    // a table that she does not see any more takes it with it
    gateway.change_policy(&format!("{ADMIN}{BOB}")).await;
    until(&ann, LISTED, |now| now == "(0)").await;
    assert_eq!(simple(&ann, "DROP REFLECTION by_region").await, unknown("by_region"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_answers_what_is_asked_of_it_and_of_its_fact_alone() {
    let gateway = gateway().await;
    let root = gateway.connect("root").await;
    for statement in [
        "CREATE TABLE s.regions (region text, country text)",
        "INSERT INTO s.regions VALUES ('EU', 'France'), ('US', 'Ohio'), ('XX', 'nowhere')",
        "CREATE REFLECTION star AS SELECT o.region, r.country, count(*), sum(o.total) \
         FROM s.orders o JOIN s.regions r ON r.region = o.region GROUP BY o.region, r.country",
    ] {
        root.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {}", told(&e)));
    }
    until(&root, LISTED, |now| now == "star|root|s.orders, s.regions|ready|2\n(1)").await;
    let answered = "SELECT country, sum(total) FROM s.orders JOIN s.regions USING (region) GROUP BY 1 ORDER BY 1";
    let alone = "SELECT sum(total) FROM s.orders";
    let explained = |sql: &str| format!("EXPLAIN VERBOSE {sql}");
    for sql in [answered, alone] {
        let plan = simple(&root, &explained(sql)).await;
        assert!(plan.contains("Reflection: star"), "{sql}: {plan}");
    }
    assert_eq!(simple(&root, answered).await, "France|11.50\nOhio|7.00\n(2)");
    assert_eq!(simple(&root, alone).await, "18.50\n(1)");
    // through a restart, too, what its joins lose is known
    let directory = gateway.stop().await;
    let gateway = Box::pin(Gateway::again(directory)).await;
    let [root, bob] = [gateway.connect("root").await, gateway.connect("bob").await];
    until(&root, &explained(alone), |plan| plan.contains("Reflection: star")).await;
    // bob's line is on a column that is not stored
    let plan = simple(&bob, &explained(alone)).await;
    assert!(!plan.contains("star"), "{plan}");
    assert_eq!(simple(&bob, alone).await, "8.00\n(1)");
    // an order of no region, and one of two
    root.batch_execute("INSERT INTO s.orders VALUES (4, 'ZZ', 100)").await.unwrap();
    root.batch_execute("REFRESH REFLECTION star").await.unwrap_or_else(|e| panic!("{}", told(&e)));
    assert_eq!(simple(&root, alone).await, "118.50\n(1)");
    let plan = simple(&root, &explained(alone)).await;
    assert!(plan.contains("star: it joins a table that the query does not"), "{plan}");
    let plan = simple(&root, &explained(answered)).await;
    assert!(plan.contains("Reflection: star"), "{plan}");
}
