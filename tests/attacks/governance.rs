//! Nothing that anybody can do to names, files or sources keeps a right that was withdrawn in force.

use std::path::Path;
use std::time::{Duration, Instant};

use lakegate::metastore::{self, Metastore};

use super::{POLICY, World};
use crate::gateway::{EFFECT_MAX, Files, Gateway, PATIENCE, simple, until};

const GRANT: &str = "p, zoe, hr.emp, select, allow\n";
const ASK: &str = "SELECT count(*) FROM hr.emp";

fn granted() -> String {
    format!("{POLICY}{GRANT}")
}

/// As a version of lakegate that did not look, or another tool, makes it.
async fn make_namespace(dir: &Path, name: &str) {
    let config = metastore::Config { path: dir.join("metastore.db"), ..metastore::Config::default() };
    assert!(Metastore::open(&config).await.unwrap().create_namespace("lakegate", name).await.unwrap());
}

fn put(gateway: &Gateway, name: &str, text: &str) {
    let path = gateway.path(name);
    let half = path.with_extension("half.example");
    std::fs::write(&half, text).unwrap();
    std::fs::rename(half, path).unwrap();
}

async fn until_fault(gateway: &Gateway, part: &str) {
    let begin = Instant::now();
    while !gateway.server.engine.faults().iter().any(|fault| fault.to_string().contains(part)) {
        assert!(begin.elapsed() < PATIENCE, "{part} in {:?}", gateway.server.engine.faults());
        tokio::task::yield_now().await;
    }
}

async fn ready(gateway: &Gateway) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(gateway.server.http.unwrap()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Grants with everything sound, breaks it by `fault`, and withdraws: the time until the right is gone.
async fn revoked_beside(gateway: &Gateway, fault: impl AsyncFnOnce()) -> Duration {
    gateway.change_policy(&granted()).await;
    let zoe = gateway.connect("zoe").await;
    assert!(!simple(&zoe, ASK).await.starts_with("ERROR"));
    fault().await;
    gateway.write_policy(POLICY);
    let took = until(&zoe, ASK, |answer| answer.starts_with("ERROR 42P01")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    took
}

/// A schema of two sources, catalog and policy files that cannot be read, a source that never answers: alone and all at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_takes_effect_whatever_else_is_at_fault() {
    let world = World::A.start().await;
    let clash = async || {
        make_namespace(world.dir.path(), "hr").await;
        until_fault(&world, "the schema `hr` found in source `lake` is left out").await;
    };
    println!("beside a schema clash: {:?}", revoked_beside(&world, clash).await);

    let broken_source = async || {
        put(&world, "catalog/sources/broken.toml", "kind = \"no such kind\"\n");
        until_fault(&world, "broken.toml").await;
    };
    println!("beside a broken source file: {:?}", revoked_beside(&world, broken_source).await);
    std::fs::remove_file(world.path("catalog/sources/broken.toml")).unwrap();

    let broken_dataset = async || {
        put(&world, "catalog/datasets/views.broken.sql", "-- owner: root\nSELECT * FROM hr.nothing\n");
        until_fault(&world, "views.broken.sql").await;
    };
    println!("beside a broken dataset: {:?}", revoked_beside(&world, broken_dataset).await);
    std::fs::remove_file(world.path("catalog/datasets/views.broken.sql")).unwrap();

    // it takes connections and never says a word
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let dead = format!(
        "kind = \"postgres\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"x\"\nuser = \"x\"\npassword = \"x\"\n\
         schemas = {{ public = \"dead\" }}\nconnect_timeout_ms = 9000\n"
    );
    let silent_source = async || put(&world, "catalog/sources/dead.toml", &dead);
    println!("while a source is asked and does not answer: {:?}", revoked_beside(&world, silent_source).await);

    let everything = async || {
        put(&world, "catalog/sources/broken.toml", "kind = \"no such kind\"\n");
        until_fault(&world, "broken.toml").await;
        std::fs::write(world.path("policies/users.toml"), "[user.zoe\n").unwrap();
        until_fault(&world, "users.toml").await;
    };
    println!("beside all of them and a broken users.toml: {:?}", revoked_beside(&world, everything).await);
    // what is said of it stays said
    let told = ready(&world).await;
    for part in ["broken.toml", "users.toml", "`hr` found in source `lake`", "catalog/sources/fixtures.toml"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

/// What gives more waits for the catalog's files; it might be meant for what they will say.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_waits_while_the_catalogs_files_are_at_fault() {
    let world = World::A.start().await;
    let zoe = world.connect("zoe").await;
    put(&world, "catalog/sources/broken.toml", "kind = \"no such kind\"\n");
    until_fault(&world, "broken.toml").await;
    world.write_policy(&granted());
    until_fault(&world, "waits for the catalog's files").await;
    assert!(simple(&zoe, ASK).await.starts_with("ERROR 42P01"));
    // an edit that takes from one and gives to another waits as well
    let both = granted().replace("p, zoe, hr.dept, select, allow\n", "");
    world.write_policy(&both);
    // and one that only takes does not
    world.write_policy(&POLICY.replace("p, zoe, hr.dept, select, allow\n", ""));
    until(&zoe, "SELECT count(*) FROM hr.dept", |answer| answer.starts_with("ERROR 42P01")).await;
    assert!(simple(&zoe, ASK).await.starts_with("ERROR 42P01"));
    world.write_policy(&granted());
    until_fault(&world, "waits for the catalog's files").await;
    std::fs::remove_file(world.path("catalog/sources/broken.toml")).unwrap();
    until(&zoe, ASK, |answer| !answer.starts_with("ERROR")).await;
    let begin = Instant::now();
    while !world.server.engine.faults().is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", world.server.engine.faults());
        tokio::task::yield_now().await;
    }
    assert!(ready(&world).await.contains(r#""degraded":[]"#));
}

/// A clash that is there before the server starts: it starts, says so, and everything else serves.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_starts_with_a_clash_of_schemas() {
    let files = Files {
        sources: vec![(
            "fixtures".into(),
            "kind = \"memory\"\n[[table]]\nname = \"hr.emp\"\ncolumns = [{ name = \"id\", type = \"int4\" }]\nrows = [[1]]\n"
                .into(),
        )],
        datasets: vec![("views.team".into(), "-- owner: root\nSELECT id FROM hr.emp".into())],
        policy: "p, root, *, select, allow\np, root, *, create, allow\np, root, *, drop, allow\n".into(),
        users: vec![("root".into(), String::new())],
        ..Files::default()
    };
    let gateway = Gateway::start_after(&files.with_lake(), async |at: &Path| {
        for name in ["hr", "views", "pg_mine", "fine"] {
            make_namespace(at, name).await;
        }
    })
    .await;
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT count(*) FROM hr.emp").await, "1\n(1)");
    assert_eq!(simple(&root, "SELECT count(*) FROM views.team").await, "1\n(1)");
    assert_eq!(simple(&root, "CREATE TABLE fine.t (a int)").await, "(0)");
    let faults: Vec<String> = gateway.server.engine.faults().iter().map(ToString::to_string).collect();
    for (schema, other) in
        [("`hr`", "sources/fixtures.toml"), ("`views`", "datasets/views.team.sql"), ("`pg_mine`", "reserved")]
    {
        let told = faults.iter().find(|fault| fault.contains(schema)).unwrap_or_else(|| panic!("{schema}: {faults:?}"));
        assert!(told.contains("sources/lake.toml:1:1") && told.contains(other), "{told}");
    }
    assert_eq!(faults.len(), 3, "{faults:?}");
    // edits go on
    gateway.change_policy("p, root, hr.*, select, allow\n").await;
    until(&root, "SELECT count(*) FROM views.team", |answer| answer.starts_with("ERROR 42P01")).await;
}

/// A filter over a whole schema and a new table that lacks its column: the table is withheld from those the line names, and
/// the next edit takes effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_pattern_does_not_fit_is_withheld_and_stops_no_edit() {
    let world = World::A.start().await;
    let lines = "p, zoe, lake.*, select, allow\np2, zoe, lake.*, \"id > 0\"\np3, zoe, lake.*, id, nullify\n";
    world.change_policy(&format!("{POLICY}{lines}")).await;
    let (zoe, root) = (world.connect("zoe").await, world.connect("root").await);
    assert!(!simple(&zoe, "SELECT count(*) FROM lake.emp").await.starts_with("ERROR"));
    world.run("root", &["CREATE TABLE lake.later (a int)", "INSERT INTO lake.later VALUES (1)"]).await;
    assert!(simple(&zoe, "SELECT * FROM lake.later").await.starts_with("ERROR 42P01"));
    assert_eq!(simple(&root, "SELECT * FROM lake.later").await, "1\n(1)");
    world.write_policy(&format!("{POLICY}{}", lines.replace("p, zoe, lake.*, select, allow\n", "")));
    let took = until(&zoe, "SELECT count(*) FROM lake.emp", |answer| answer.starts_with("ERROR 42P01")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    // lines that are in force name a table that went: no edit of others is stopped by them
    world.change_policy(&format!("{POLICY}p, zoe, lake.later, select, allow\n")).await;
    assert_eq!(simple(&zoe, "SELECT * FROM lake.later").await, "1\n(1)");
    world.run("root", &["DROP TABLE lake.later"]).await;
    world.write_policy(&format!("{POLICY}p, zoe, lake.later, select, allow\np, zoe, hr.dept, select, deny\n"));
    let took = until(&zoe, "SELECT count(*) FROM hr.dept", |answer| answer.starts_with("ERROR 42P01")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    assert!(world.server.engine.faults().is_empty(), "{:?}", world.server.engine.faults());
}
