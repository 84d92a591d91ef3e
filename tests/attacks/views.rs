//! Views that users make (attacks 14, 15, 28, 52): nobody gives away what is hidden from them, a right that the maker loses is
//! lost to every reader at once, and a body is no window on rows that a reader is not shown. Versions of a table and the
//! tables of its metadata too: the policy of now holds on all of them.

use super::both;
use crate::gateway::{EFFECT_MAX, Files, Gateway, extended, simple, until};

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "seed.emp"
columns = [
    { name = "id", type = "int4" }, { name = "region", type = "text" }, { name = "salary", type = "int4" },
    { name = "ssn", type = "text" },
]
rows = [
    [1, "EU", 10, "S-1111"], [2, "EU", 20, "S-2222"], [3, "US", 30, "CNRY-3333"], [4, {}, 40, "CNRY-4444"],
]
"#;

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\np, root, *, insert, allow\n";

/// maker sees EU alone and the ends of `ssn`; other may make views and sees nothing of the table.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, create, allow
p, root, *, drop, allow
p, root, *, insert, allow
p, root, lakegate.admin, select, allow
p2, root, *, unfiltered
p, root, lake.emp$files, select, allow
p, root, lake.emp$history, select, allow
p, maker, lake.emp, select, allow
p2, maker, lake.emp, "region = 'EU'"
p3, maker, lake.emp, ssn, last4
p, maker, lake.emp$files, select, allow
p, maker, lake.emp$snapshots, select, allow
p, maker, lake.emp$history, select, allow
p, maker, mine.*, select, allow
p, maker, mine.*, create, allow
p, maker, mine.*, drop, allow
p, other, mine.*, select, allow
p, other, mine.*, create, allow
p, other, mine.*, drop, allow
p, other, lake.emp$refs, select, allow
p, reader, mine.*, select, allow
p, barred, mine.*, select, allow
p, barred, lake.emp, select, deny
p, blind, mine.*, select, allow
p, blind, lake.emp/ssn, select, deny
g, maker, makers
"#;

async fn start() -> Gateway {
    let users = ["root", "maker", "other", "reader", "barred", "blind", "nobody"];
    let files = Files {
        sources: vec![("fixtures".into(), SOURCE.into())],
        policy: BOOTSTRAP.into(),
        users: users.map(|name| (name.to_string(), String::new())).into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files.with_lake()).await;
    // hidden rows stand in a file, and a snapshot, of their own
    let hidden = "CREATE TABLE lake.emp AS SELECT * FROM seed.emp WHERE region IS DISTINCT FROM 'EU'";
    let rest = "INSERT INTO lake.emp SELECT * FROM seed.emp WHERE region = 'EU'";
    gateway.run("root", &["CREATE SCHEMA lake", "CREATE SCHEMA mine", hidden, rest]).await;
    gateway.change_policy(POLICY).await;
    let staff = "CREATE VIEW mine.staff AS SELECT * FROM lake.emp";
    let pay = "CREATE VIEW mine.pay AS SELECT region, sum(salary) AS total FROM lake.emp GROUP BY region";
    gateway.run("maker", &[staff, pay, "CREATE VIEW mine.outer AS SELECT id FROM mine.staff"]).await;
    gateway
}

async fn seen(gateway: &Gateway, user: &str, sql: &str) -> String {
    let [plain, extended] = both(gateway, user, sql).await;
    assert_eq!(plain.starts_with("ERROR"), extended.starts_with("ERROR"), "{user}: {sql}: {plain} {extended}");
    assert!(!plain.contains("CNRY"), "{user}: {sql}: {plain}");
    plain.lines().filter(|l| !l.starts_with('(')).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_gives_no_more_than_its_maker_has() {
    let gateway = start().await;
    let denied = |view: &str| format!("ERROR 42501 permission denied for view mine.{view}");
    for (user, view, expected) in [
        ("maker", "staff", "1|EU|10|****1111 2|EU|20|****2222".to_string()),
        ("reader", "staff", "1|EU|10|****1111 2|EU|20|****2222".into()),
        // whoever sees everything sees by a view what its maker does
        ("root", "staff", "1|EU|10|****1111 2|EU|20|****2222".into()),
        ("reader", "pay", "EU|30".into()),
        ("reader", "outer", "1 2".into()),
        ("barred", "staff", denied("staff")),
        ("barred", "outer", denied("staff")),
        ("blind", "staff", denied("staff") + " | The statement needs a column below it that is hidden from you."),
        ("blind", "pay", "EU|30".into()),
        ("nobody", "staff", "ERROR 42P01 relation \"mine.staff\" does not exist".into()),
    ] {
        let sql = format!("SELECT * FROM mine.{view} ORDER BY 1");
        assert_eq!(seen(&gateway, user, &sql).await, expected, "{user}: {sql}");
    }
    // predicates that fail on hidden rows alone
    for sql in [
        "SELECT id FROM mine.staff WHERE 1 / (salary - 30) < 1 ORDER BY 1",
        "SELECT id FROM mine.staff WHERE 1 / (salary - 40) < 1 ORDER BY 1",
        "SELECT id FROM mine.staff WHERE CAST(replace(ssn, '****', '') AS int) > 0 ORDER BY 1",
    ] {
        assert_eq!(seen(&gateway, "reader", sql).await, "1 2", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_a_views_text_is_its_owner() {
    let gateway = start().await;
    let (root, other) = (gateway.connect("root").await, gateway.connect("other").await);
    simple(&root, "CREATE VIEW mine.whole AS SELECT id, ssn FROM lake.emp").await;
    // it sees neither the table nor, through a text of its own, what the view's owner sees of it
    let missing = "ERROR 42P01 relation \"lake.emp\" does not exist";
    assert_eq!(simple(&other, "CREATE VIEW mine.spy AS SELECT * FROM lake.emp").await, missing);
    assert_eq!(simple(&other, "CREATE OR REPLACE VIEW mine.whole AS SELECT id, ssn FROM lake.emp").await, missing);
    let maker = gateway.connect("maker").await;
    assert_eq!(simple(&maker, "CREATE OR REPLACE VIEW mine.whole AS SELECT id, ssn FROM lake.emp").await, "(0)");
    assert_eq!(seen(&gateway, "reader", "SELECT * FROM mine.whole ORDER BY 1").await, "1|****1111 2|****2222");
    // nobody gives a view to somebody who sees more, or whom they do not know
    let give = simple(&maker, "ALTER VIEW mine.whole OWNER TO root").await;
    assert_eq!(give, "ERROR 42704 role \"root\" does not exist");
    assert_eq!(simple(&maker, "ALTER VIEW mine.whole OWNER TO makers").await, "(0)");
    let lost = "ERROR 42501 permission denied for view mine.whole";
    assert_eq!(seen(&gateway, "reader", "SELECT * FROM mine.whole").await, lost, "the role has no right of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materialized_view_is_filled_with_its_owners_rights_alone() {
    let gateway = start().await;
    let (root, maker) = (gateway.connect("root").await, gateway.connect("maker").await);
    let (other, nobody) = (gateway.connect("other").await, gateway.connect("nobody").await);
    let made = simple(&maker, "CREATE MATERIALIZED VIEW mine.kept AS SELECT id, ssn FROM lake.emp").await;
    assert_eq!(made, "(2)");
    let (all, masked) = ("SELECT * FROM mine.kept ORDER BY 1", "1|****1111 2|****2222");
    assert_eq!(seen(&gateway, "reader", all).await, masked);
    // whoever sees more would fill it with more, and whoever sees less learns what stands in its text
    const REFRESH: &str = "REFRESH MATERIALIZED VIEW mine.kept";
    let refused = "ERROR 42501 must be owner of materialized view kept | Its query runs with the rights of its owner, who \
                   alone refreshes it.";
    for client in [&root, &other] {
        for answer in [simple(client, REFRESH).await, extended(client, REFRESH).await] {
            assert_eq!(answer, refused);
        }
        assert_eq!(simple(client, "REFRESH MATERIALIZED VIEW mine.kept WITH NO DATA").await, refused);
    }
    let missing = |name: &str| format!("ERROR 42P01 relation \"{name}\" does not exist");
    assert_eq!(simple(&nobody, REFRESH).await, missing("mine.kept"));
    assert_eq!(
        simple(&other, "CREATE MATERIALIZED VIEW mine.spy AS SELECT * FROM lake.emp").await,
        missing("lake.emp")
    );
    let text = "SELECT pg_get_viewdef('mine.kept'::regclass) LIKE '%lake.emp%'";
    assert_eq!(simple(&maker, text).await, "t\n(1)");
    assert_ne!(simple(&other, text).await, "t\n(1)");
    // nobody says of a table of theirs whose query fills it
    let forged = "CREATE TABLE lake.forged (a int4) WITH (\"lakegate.materialized\" = '{}')";
    assert!(simple(&root, forged).await.starts_with("ERROR 22023"));
    // rows are the owner's of the last refresh, which needs the rights of then
    assert_eq!(simple(&maker, REFRESH).await, "(0)");
    assert_eq!(seen(&gateway, "reader", all).await, masked);
    gateway.change_policy(&POLICY.replace("p, maker, lake.emp, select, allow\n", "")).await;
    assert_eq!(simple(&maker, REFRESH).await, missing("lake.emp"));
    assert_eq!(extended(&maker, REFRESH).await, missing("lake.emp"));
    assert_eq!(seen(&gateway, "reader", all).await, masked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_the_maker_loses_is_lost_to_every_reader() {
    let gateway = start().await;
    let reader = gateway.connect("reader").await;
    let ask = "SELECT count(*) FROM mine.outer";
    assert_eq!(simple(&reader, ask).await, "2\n(1)");
    let prepared = extended(&reader, ask).await;
    assert!(!prepared.starts_with("ERROR"), "{prepared}");
    gateway.write_policy(&POLICY.replace("p, maker, lake.emp, select, allow\n", "p, maker, lake.emp, select, deny\n"));
    let took = until(&reader, ask, |answer| answer.starts_with("ERROR 42501")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    // what it says stays hidden from those who did not write it, and so does what it reads
    for user in ["reader", "other"] {
        let text = seen(&gateway, user, "SELECT pg_get_viewdef('mine.staff'::regclass)").await;
        assert!(!text.contains("emp"), "{user}: {text}");
        let text = seen(&gateway, user, "SELECT view_definition FROM information_schema.views").await;
        assert!(!text.contains("emp"), "{user}: {text}");
    }
}

/// The same refusals whether views that the session does not see read a table or not.
#[tokio::test(flavor = "multi_thread")]
async fn views_that_are_hidden_are_not_told_of() {
    let gateway = start().await;
    let policy = format!("{POLICY}p, other, lake.emp, select, allow\np, other, lake.emp, drop, allow\n")
        .replace("p, other, mine.*, select, allow\n", "p, other, mine.staff, select, allow\n");
    gateway.change_policy(&policy).await;
    let other = gateway.connect("other").await;
    let refused = simple(&other, "DROP TABLE lake.emp").await;
    assert!(refused.starts_with("ERROR 2BP01"), "{refused}");
    assert!(refused.contains("mine.staff") && !refused.contains("pay") && !refused.contains("outer"), "{refused}");
    gateway.change_policy(&policy.replace("p, other, mine.staff, select, allow\n", "")).await;
    assert_eq!(simple(&other, "DROP TABLE lake.emp").await, "(0)");
    // they stand there, and can be dropped
    assert_eq!(
        seen(&gateway, "reader", "SELECT * FROM mine.staff").await,
        "ERROR 42501 permission denied for view mine.staff"
    );
    assert_eq!(simple(&gateway.connect("maker").await, "DROP VIEW mine.staff CASCADE").await, "(0)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_now_holds_on_every_version() {
    let gateway = start().await;
    let root = gateway.connect("root").await;
    let snapshots = simple(&root, "SELECT snapshot_id FROM lake.\"emp$history\" ORDER BY made_current_at").await;
    let ids: Vec<&str> = snapshots.lines().take(2).collect();
    let [first, second] = ids.as_slice() else { panic!("{snapshots}") };
    let at = |id: &str| format!("SELECT id, ssn FROM lake.emp FOR SYSTEM_VERSION AS OF {id} ORDER BY 1");
    assert_eq!(simple(&root, &at(first)).await, "3|CNRY-3333\n4|CNRY-4444\n(2)");
    assert_eq!(seen(&gateway, "maker", &at(first)).await, "");
    assert_eq!(seen(&gateway, "maker", &at(second)).await, "1|****1111 2|****2222");
    assert_eq!(seen(&gateway, "other", &at(first)).await, "ERROR 42P01 relation \"lake.emp\" does not exist");
    // a number that is no snapshot tells nothing to whoever sees no table
    assert_eq!(seen(&gateway, "other", &at("7")).await, "ERROR 42P01 relation \"lake.emp\" does not exist");
    assert_eq!(seen(&gateway, "maker", &at("7")).await, "ERROR 22023 table \"emp\" has no snapshot 7");
    let divides =
        format!("SELECT id FROM lake.emp FOR SYSTEM_VERSION AS OF {second} WHERE 1 / (salary - 30) < 1 ORDER BY 1");
    assert_eq!(seen(&gateway, "maker", &divides).await, "1 2");
    // by a setting, inside views too
    let reader = gateway.connect("reader").await;
    simple(&reader, &format!("SET lakegate.as_of_version = '{first}'")).await;
    assert_eq!(simple(&reader, "SELECT * FROM mine.staff").await, "(0)");
    simple(&reader, "RESET lakegate.as_of_version").await;
    assert_eq!(simple(&reader, "SELECT count(*) FROM mine.staff").await, "2\n(1)");
}

/// Lines find a view by its name and columns by theirs: another name would be out of their reach.
#[tokio::test(flavor = "multi_thread")]
async fn another_name_takes_nothing_out_of_a_lines_reach() {
    let gateway = start().await;
    let lines = "p2, other, mine.staff, \"region = 'EU'\"\np, other, mine.staff/ssn, select, deny\n";
    gateway.change_policy(&format!("{POLICY}{lines}")).await;
    let other = gateway.connect("other").await;
    let owner = "ERROR 42501 must be owner of view staff";
    for sql in [
        "ALTER VIEW mine.staff RENAME TO shown",
        "ALTER TABLE mine.staff RENAME TO shown",
        "ALTER VIEW mine.staff RENAME COLUMN ssn TO shown",
        "COMMENT ON COLUMN mine.staff.ssn IS 'x'",
        "CREATE OR REPLACE VIEW mine.staff AS SELECT 1 AS id",
    ] {
        let told = simple(&other, sql).await;
        assert!(told.starts_with(owner), "{sql}: {told}");
    }
    // nor does a column that is gone come back by an older version, whatever lines speak of now
    let root = gateway.connect("root").await;
    let snapshot = simple(&root, "SELECT max(snapshot_id) FROM lake.\"emp$history\"").await;
    let snapshot = snapshot.lines().next().unwrap().to_string();
    simple(&root, "DROP VIEW mine.staff, mine.pay CASCADE").await;
    assert_eq!(simple(&root, "ALTER TABLE lake.emp DROP COLUMN ssn").await, "(0)");
    let old = format!("SELECT ssn FROM lake.emp FOR SYSTEM_VERSION AS OF {snapshot}");
    for user in ["maker", "root"] {
        let told = seen(&gateway, user, &old).await;
        assert!(told.starts_with("ERROR 42"), "{user}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_tables_need_a_line_and_the_table() {
    let gateway = start().await;
    let missing = |table: &str| format!("ERROR 42P01 relation \"lake.emp${table}\" does not exist");
    for (user, table, shown) in [
        ("root", "files", true),
        ("root", "history", true),
        // a star covers none
        ("root", "snapshots", false),
        ("root", "partitions", false),
        // rows are hidden from maker: what tells of them is too
        ("maker", "files", false),
        ("maker", "snapshots", false),
        ("maker", "history", true),
        // a line, and no right to the table
        ("other", "refs", false),
        ("reader", "history", false),
    ] {
        let sql = format!("SELECT count(*) FROM lake.\"emp${table}\"");
        let answer = simple(&gateway.connect(user).await, &sql).await;
        assert_eq!(!answer.starts_with("ERROR"), shown, "{user}: {sql}: {answer}");
        assert!(shown || answer == missing(table), "{user}: {sql}: {answer}");
        let listed = format!("SELECT count(*) FROM pg_class WHERE relname = 'emp${table}'");
        let expected = if shown { "1\n(1)" } else { "0\n(1)" };
        assert_eq!(simple(&gateway.connect(user).await, &listed).await, expected, "{user}: {listed}");
    }
}
