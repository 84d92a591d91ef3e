//! Statements that take a table's columns without reading a row of it: its rows as a type, LIKE, SELECT INTO. They know the
//! columns that their session sees, and a hidden table as little as one that is not there.

use super::both;
use crate::gateway::{Files, Gateway};

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\np, root, *, insert, allow\n";

const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p2, root, *, unfiltered
p, ann, lake.emp, select, allow
p, ann, lake.emp/pay, select, deny
"#;

async fn told(gateway: &Gateway, user: &str, sql: &str) -> String {
    let [plain, extended] = both(gateway, user, sql).await;
    assert_eq!(plain.starts_with("ERROR"), extended.starts_with("ERROR"), "{user}: {sql}: {plain} {extended}");
    plain.lines().filter(|line| !line.starts_with('(')).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_columns_are_those_that_the_session_sees() {
    let users = ["root", "ann", "nobody"].map(|name| (name.to_string(), String::new())).into();
    let gateway = Gateway::start(&Files { policy: BOOTSTRAP.into(), users, ..Files::default() }.with_lake()).await;
    let make = "CREATE TABLE lake.emp (id int4, pay int4, name text)";
    gateway.run("root", &["CREATE SCHEMA lake", make, "INSERT INTO lake.emp VALUES (1, 77, 'a')"]).await;
    gateway.change_policy(POLICY).await;
    let filled = "SELECT row_to_json(r) FROM json_populate_record(NULL::lake.emp, '{\"id\": 1, \"pay\": 77, \"name\": \"x\"}') r";
    assert_eq!(told(&gateway, "root", filled).await, r#"{"id":1,"pay":77,"name":"x"}"#);
    assert_eq!(told(&gateway, "ann", filled).await, r#"{"id":1,"name":"x"}"#);
    for (hidden, absent) in [("pay", "none")] {
        let of = |column: &str| format!("SELECT (NULL::lake.emp).{column}");
        let (one, other) = (told(&gateway, "ann", &of(hidden)).await, told(&gateway, "ann", &of(absent)).await);
        assert_eq!(one.replace(hidden, absent), other, "a hidden column is as absent as any");
    }
    assert!(told(&gateway, "ann", "SELECT ROW(1, 2, 'a')::lake.emp").await.starts_with("ERROR 42846"), "two columns");
    for (user, expected) in [("root", "id pay name"), ("ann", "id name")] {
        let session = gateway.connect(user).await;
        for make in ["CREATE TEMP TABLE copied (LIKE lake.emp)", "SELECT * INTO TEMP copied FROM lake.emp"] {
            session.batch_execute(&format!("DROP TABLE IF EXISTS copied; {make}")).await.unwrap();
            let rows = session.query("SELECT * FROM copied", &[]).await.unwrap();
            let columns = session.prepare("SELECT * FROM copied").await.unwrap();
            let names: Vec<&str> = columns.columns().iter().map(|column| column.name()).collect();
            assert_eq!(
                (names.join(" ").as_str(), rows.len()),
                (expected, usize::from(make.starts_with("SELECT"))),
                "{user}"
            );
        }
    }
    for sql in [
        "SELECT NULL::lake.TABLE",
        "CREATE TEMP TABLE copied (LIKE lake.TABLE)",
        "SELECT * INTO TEMP t FROM lake.TABLE",
    ] {
        let of =
            |table: &str| sql.replace("TABLE)", &format!("{table})")).replace("lake.TABLE", &format!("lake.{table}"));
        let hidden = told(&gateway, "nobody", &of("emp")).await;
        assert!(hidden.starts_with("ERROR"), "{sql}: {hidden}");
        assert_eq!(hidden.replace("emp", "none"), told(&gateway, "nobody", &of("none")).await, "{sql}");
    }
}
