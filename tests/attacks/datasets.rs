//! Rights through datasets: the owner's, under whatever lines name the caller (attacks 14, 38, 52), on memory and Iceberg
//! tables.

use super::both;
use crate::gateway::{EFFECT_MAX, Files, Gateway, simple, until};

const USERS: [&str; 9] = ["root", "boss", "mid", "plain", "filtered", "masked", "unlisted", "barred", "blind"];

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "hr.emp"
columns = [
    { name = "id", type = "int4" }, { name = "region", type = "text" }, { name = "salary", type = "int4" },
    { name = "ssn", type = "text" },
]
rows = [
    [1, "EU", 10, "S-1111"], [2, "EU", 20, "S-2222"], [3, "US", 30, "S-3333"], [4, "APAC", 40, "S-4444"],
    [5, {}, 50, "S-5555"],
]
"#;

/// Bodies over `hr.emp`, and the same over `lake.emp`.
const BODIES: [(&str, &str, &str); 6] = [
    ("staff", "boss", "SELECT id, region, salary, ssn FROM {}.emp"),
    ("initial", "boss", "SELECT id, ssn = 'S-1111' AS first, substr(ssn, 1, 3) AS start FROM {}.emp"),
    ("pay", "boss", "SELECT region, sum(salary) AS total FROM {}.emp GROUP BY region"),
    ("outer", "mid", "SELECT id, region, ssn FROM {}_views.staff"),
    ("third", "boss", "SELECT id FROM {}_views.outer"),
    ("own", "mid", "SELECT id FROM {}.emp"),
];

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\n";

/// boss may not see APAC and only the last four of `ssn`; mid, who has no right on the table, sees EU alone.
const LINES: &str = r#"
p, boss, {}.emp, select, allow
p, boss, {}_views.*, select, allow
p2, boss, {}.emp, "region <> 'APAC'"
p3, boss, {}.emp, ssn, last4
p, mid, {}_views.*, select, allow
p2, mid, {}.emp, "region = 'EU'"
p, plain, {}_views.*, select, allow
p, filtered, {}_views.*, select, allow
p2, filtered, {}.emp, "salary > 15"
p, masked, {}_views.*, select, allow
p3, masked, {}.emp, ssn, redact
p, unlisted, {}_views.*, select, allow
p3, unlisted, {}.emp, ssn, unmasked
p2, unlisted, {}.emp, unfiltered
p, barred, {}_views.*, select, allow
p, barred, {}.emp, select, deny
p, blind, {}_views.*, select, allow
p, blind, {}.emp/ssn, select, deny
"#;

fn policy() -> String {
    let lines = ["hr", "lake"].map(|base| LINES.replace("{}", base)).concat();
    format!("{BOOTSTRAP}p2, root, *, unfiltered\n{lines}")
}

async fn start() -> Gateway {
    let bodies = |base: &str| {
        BODIES.map(|(name, owner, body)| {
            (format!("{base}_views.{name}"), format!("-- owner: {owner}\n{}", body.replace("{}", base)))
        })
    };
    let files = Files {
        sources: vec![("fixtures".into(), SOURCE.into())],
        datasets: bodies("hr").into(),
        policy: BOOTSTRAP.into(),
        users: USERS.map(|name| (name.to_string(), String::new())).into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files.with_lake()).await;
    gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.emp AS SELECT * FROM hr.emp"]).await;
    for (name, text) in bodies("lake") {
        std::fs::write(gateway.path(&format!("catalog/datasets/{name}.sql")), text).unwrap();
    }
    let root = gateway.connect("root").await;
    let datasets = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'lake_views'";
    until(&root, datasets, |n| n.starts_with(&BODIES.len().to_string())).await;
    gateway.change_policy(&policy()).await;
    gateway
}

/// `SELECT *` of a view, by user.
async fn seen(gateway: &Gateway, user: &str, sql: &str) -> String {
    let [plain, extended] = both(gateway, user, sql).await;
    assert_eq!(plain.starts_with("ERROR"), extended.starts_with("ERROR"), "{user}: {sql}: {plain} {extended}");
    plain.lines().filter(|l| !l.starts_with('(')).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_table_of_effects() {
    let gateway = start().await;
    for base in ["hr", "lake"] {
        let denied = |view: &str| format!("ERROR 42501 permission denied for view {base}_views.{view}");
        let unseen = |view: &str| denied(view) + " | The statement needs a column below it that is hidden from you.";
        let rows = [
            // no line for the caller: what the owner sees
            ("plain", "staff", "1|EU|10|****1111 2|EU|20|****2222 3|US|30|****3333".to_string()),
            ("plain", "pay", "EU|30 US|30".into()),
            ("root", "staff", "1|EU|10|****1111 2|EU|20|****2222 3|US|30|****3333".into()),
            // a filter: the owner's AND the caller's, also where the body does not show its column
            ("filtered", "staff", "2|EU|20|****2222 3|US|30|****3333".into()),
            ("filtered", "pay", "EU|20 US|30".into()),
            ("filtered", "initial", "2|f|*** 3|f|***".into()),
            // masks: the strictest, before the dataset's own expressions
            ("masked", "staff", "1|EU|10|xxxx 2|EU|20|xxxx 3|US|30|xxxx".into()),
            ("masked", "initial", "1|f|xxx 2|f|xxx 3|f|xxx".into()),
            ("plain", "initial", "1|f|*** 2|f|*** 3|f|***".into()),
            ("unlisted", "staff", "1|EU|10|****1111 2|EU|20|****2222 3|US|30|****3333".into()),
            // a denied table: nothing of it can be read
            ("barred", "staff", denied("staff")),
            ("barred", "pay", denied("pay")),
            ("barred", "outer", denied("staff")),
            // a denied column: only what does without it
            ("blind", "staff", unseen("staff")),
            ("blind", "initial", unseen("initial")),
            ("blind", "pay", "EU|30 US|30".into()),
            // lines that name the owner of a dataset in between count as well
            ("mid", "staff", "1|EU|10|****1111 2|EU|20|****2222".into()),
            ("plain", "outer", "1|EU|****1111 2|EU|****2222".into()),
            ("plain", "third", "1 2".into()),
            ("filtered", "third", "2".into()),
            // an owner without the right
            ("root", "own", denied("own")),
            ("plain", "own", denied("own")),
        ];
        for (user, view, expected) in rows {
            let sql = format!("SELECT * FROM {base}_views.{view} ORDER BY 1");
            assert_eq!(seen(&gateway, user, &sql).await, expected, "{user}: {sql}");
        }
        let without = format!("SELECT id, salary FROM {base}_views.staff ORDER BY 1");
        assert_eq!(seen(&gateway, "blind", &without).await, "1|10 2|20 3|30");
        for sql in [
            format!("SELECT count(*) FROM {base}_views.staff WHERE ssn LIKE '%1'"),
            format!("SELECT id FROM {base}_views.staff ORDER BY ssn, id"),
            format!("SELECT max(ssn) FROM {base}_views.staff"),
            format!("SELECT a.id FROM {base}_views.staff a JOIN {base}_views.staff b ON a.ssn = b.ssn"),
            format!("SELECT id FROM {base}_views.staff WHERE ssn = '****1111'"),
        ] {
            assert_eq!(seen(&gateway, "blind", &sql).await, unseen("staff"), "{sql}");
        }
        // the base itself is not reached by a right on the view
        let table = format!("SELECT * FROM {base}.emp");
        for user in ["plain", "filtered", "masked", "blind"] {
            assert!(seen(&gateway, user, &table).await.starts_with("ERROR 42P01"), "{user}");
        }
    }
}

/// Lines on the dataset itself apply on top, above its body.
#[tokio::test(flavor = "multi_thread")]
async fn a_datasets_own_lines_apply_above_its_body() {
    let gateway = start().await;
    let more = "p2, plain, {}_views.staff, \"ssn = '****2222'\"\np3, plain, {}_views.staff, ssn, nullify\n\
                p, plain, {}_views.staff/salary, select, deny\n";
    let lines = ["hr", "lake"].map(|base| more.replace("{}", base)).concat();
    gateway.change_policy(&format!("{}{lines}", policy())).await;
    for base in ["hr", "lake"] {
        let sql = format!("SELECT * FROM {base}_views.staff ORDER BY id");
        assert_eq!(seen(&gateway, "plain", &sql).await, "2|EU|∅", "the filter reads what the body gives");
        assert_eq!(seen(&gateway, "filtered", &sql).await, "2|EU|20|****2222 3|US|30|****3333");
        let salary = format!("SELECT salary FROM {base}_views.staff");
        assert_eq!(seen(&gateway, "plain", &salary).await, "ERROR 42501 permission denied for column salary");
    }
}

/// Lines on a dataset hold for its reader inside another one too, as those on a table do.
#[tokio::test(flavor = "multi_thread")]
async fn a_datasets_own_lines_apply_where_it_is_read_through_another() {
    let gateway = start().await;
    let more = "p, blind, {}_views.staff/ssn, select, deny\np3, masked, {}_views.staff, region, redact\n\
                p2, filtered, {}_views.staff, \"id = 2\"\n";
    let lines = ["hr", "lake"].map(|base| more.replace("{}", base)).concat();
    let policy = policy().replace("p, blind, hr.emp/ssn, select, deny\n", "");
    let policy = policy.replace("p, blind, lake.emp/ssn, select, deny\n", "");
    gateway.change_policy(&format!("{policy}{lines}")).await;
    for base in ["hr", "lake"] {
        let outer = |columns: &str| format!("SELECT {columns} FROM {base}_views.outer ORDER BY id");
        let denied = format!(
            "ERROR 42501 permission denied for view {base}_views.outer | The statement needs a column below it that is \
             hidden from you."
        );
        for columns in ["id, ssn", "*", "count(ssn) OVER (), id"] {
            assert_eq!(seen(&gateway, "blind", &outer(columns)).await, denied, "{columns}");
        }
        assert_eq!(seen(&gateway, "blind", &outer("id, region")).await, "1|EU 2|EU");
        assert_eq!(seen(&gateway, "masked", &outer("id, region")).await, "1|xxxx 2|xxxx");
        assert_eq!(seen(&gateway, "filtered", &outer("id, region")).await, "2|EU");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_lost_a_right_takes_it_from_everybody() {
    let gateway = start().await;
    for base in ["hr", "lake"] {
        let (root, plain) = (gateway.connect("root").await, gateway.connect("plain").await);
        let ask = format!("SELECT count(*) FROM {base}_views.staff");
        let kept = plain.prepare(&ask).await.unwrap();
        assert_eq!(simple(&plain, &ask).await, "3\n(1)");
        gateway.write_policy(&policy().replace(&format!("p, boss, {base}.emp, select, allow\n"), ""));
        let took = until(&plain, &ask, |a| a.starts_with("ERROR 42501")).await;
        assert!(took < EFFECT_MAX, "{took:?}");
        let refused = format!("ERROR 42501 permission denied for view {base}_views.staff");
        assert_eq!(simple(&root, &ask).await, refused, "nor does a reader with every right");
        assert!(plain.query(&kept, &[]).await.is_err());
        // a column
        let deny = format!("p, boss, {base}.emp/ssn, select, deny\n");
        gateway.change_policy(&format!("{}{deny}", policy())).await;
        assert_eq!(simple(&plain, &ask).await, refused, "its text no longer means anything to its owner");
        let pay = format!("SELECT count(*) FROM {base}_views.pay");
        assert_eq!(simple(&plain, &pay).await, "2\n(1)");
        gateway.change_policy(&policy()).await;
    }
}
