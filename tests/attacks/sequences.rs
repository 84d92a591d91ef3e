//! Columns that count: who may not fill a table takes none of its numbers, and nobody is told of a sequence whose column is
//! hidden, nor how far one has come.

use super::both;
use crate::gateway::{Files, Gateway};

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\np, root, *, insert, allow\n";

const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, update, allow
p2, root, *, unfiltered
p, reader, lake.t, select, allow
p, filler, lake.t, insert, allow
p, blind, lake.t, select, allow
p, blind, lake.t, insert, allow
p, blind, lake.t/id, select, deny
"#;

async fn told(gateway: &Gateway, user: &str, sql: &str) -> String {
    let [plain, extended] = both(gateway, user, sql).await;
    assert_eq!(plain.starts_with("ERROR"), extended.starts_with("ERROR"), "{user}: {sql}: {plain} {extended}");
    plain.lines().filter(|line| !line.starts_with('(')).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_is_counted_by_whoever_may_insert() {
    let users = ["root", "reader", "filler", "blind", "nobody"];
    let users = users.map(|name| (name.to_string(), String::new())).into();
    let gateway = Gateway::start(&Files { policy: BOOTSTRAP.into(), users, ..Files::default() }.with_lake()).await;
    let table = "CREATE TABLE lake.t (id serial, name text DEFAULT 'x')";
    gateway.run("root", &["CREATE SCHEMA lake", table, "INSERT INTO lake.t (name) VALUES ('a'), ('b')"]).await;
    gateway.change_policy(POLICY).await;
    // whoever sees nothing in a schema does not see it
    let absent = "ERROR 3F000 schema \"lake\" does not exist";
    let denied = "ERROR 42501 permission denied for sequence t_id_seq";
    let next = "SELECT nextval('lake.t_id_seq') > 2";
    let set = "SELECT setval('lake.t_id_seq', 1)";
    let listed = "SELECT count(*) FROM pg_class WHERE relname = 't_id_seq'";
    let kept = "SELECT count(*) FROM pg_sequences";
    for (user, sql, expected) in [
        ("reader", next, denied),
        ("reader", set, denied),
        ("reader", listed, "1"),
        ("reader", kept, "1"),
        // its numbers are its to take, and nothing else is to be known
        ("filler", next, "t"),
        ("filler", set, denied),
        ("filler", listed, "0"),
        ("filler", kept, "0"),
        ("blind", next, "t"),
        ("blind", listed, "0"),
        ("blind", kept, "0"),
        ("nobody", next, absent),
        ("nobody", set, absent),
        ("nobody", listed, "0"),
        ("nobody", kept, "0"),
        ("root", "SELECT last_value IS NULL FROM pg_sequences", "t"),
    ] {
        assert_eq!(told(&gateway, user, sql).await, expected, "{user}: {sql}");
    }
    // a hidden column that is never NULL is filled by its number
    gateway.run("filler", &["INSERT INTO lake.t (name) VALUES (DEFAULT)"]).await;
    let rows_of = "SELECT count(*), count(id), count(DISTINCT id), count(*) FILTER (WHERE name = 'x') FROM lake.t";
    assert_eq!(told(&gateway, "root", rows_of).await, "3|3|3|1");
    // whoever copies rows in takes numbers on a thread of the doors
    let root = gateway.connect("root").await;
    let rows = root.copy_in::<_, &'static [u8]>("COPY lake.t (name) FROM STDIN").await.unwrap();
    let mut rows = std::pin::pin!(rows);
    futures::SinkExt::send(&mut rows, b"c\nd\n".as_slice()).await.unwrap();
    assert_eq!(rows.finish().await.unwrap(), 2);
    assert_eq!(told(&gateway, "root", rows_of).await, "5|5|5|1");
}
