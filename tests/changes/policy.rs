//! Who may change what, and what a change may tell: rows behind a filter stay as they are, whatever a statement says, and
//! values behind a mask are kept and never met.

use std::path::Path;

use crate::gateway::{Files, Gateway, simple};

/// ann sees region EU, `ssn` masked and `confession` not at all; bob may add rows and sees none.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, update, allow
p, root, *, delete, allow
p, root, *, create, allow
p2, root, *, unfiltered
p, ann, h.emp, select, allow
p, ann, h.emp, insert, allow
p, ann, h.emp, update, allow
p, ann, h.emp, delete, allow
p2, ann, h.emp, "region = 'EU'"
p3, ann, h.emp, ssn, redact
p, ann, h.emp/confession, select, deny
p, cid, h.emp, select, allow
p, bob, h.emp, insert, allow
p2, bob, h.emp, "region = 'EU'"
"#;

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\n";

/// A region, its rows and an ssn each; the US ones are hidden from ann.
const ROWS: &str = "INSERT INTO h.emp VALUES (1, 'EU', 10, 'S-1', 'c1'), (2, 'EU', 20, 'S-2', 'c2'), \
                    (3, 'US', 0, 'S-3', 'c3'), (4, 'US', 40, 'S-4', 'c4'), (5, NULL, 50, 'S-5', 'c5')";

const ALL: &str = "SELECT id, region, pay, ssn, confession FROM h.emp ORDER BY id";

pub(super) async fn world() -> Gateway {
    let users = ["root", "ann", "bob", "cid"].map(|name| (name.to_string(), String::new())).to_vec();
    let files = Files { policy: BOOTSTRAP.into(), users, ..Files::default() }.with_lake();
    let gateway = Gateway::start_after(&files, async |_: &Path| {}).await;
    let create = "CREATE TABLE h.emp (id int PRIMARY KEY, region text, pay int, ssn text, confession text)";
    gateway.run("root", &["CREATE SCHEMA h", create]).await;
    gateway.change_policy(POLICY).await;
    gateway.run("root", &[ROWS]).await;
    gateway
}

/// What each statement answers, and what the table holds then; each over the same table.
async fn check(user: &str, statements: &[(&str, &str, &str)]) {
    let gateway = world().await;
    let (client, root) = (gateway.connect(user).await, gateway.connect("root").await);
    let before = simple(&root, ALL).await;
    for (sql, answer, changed) in statements {
        let answered = simple(&client, sql).await;
        assert!(answered.starts_with(answer), "{user}: {sql}\n{answered}");
        let now = simple(&root, ALL).await;
        let different: Vec<&str> = now.lines().filter(|line| !before.lines().any(|b| b == *line)).collect();
        let gone = before.lines().filter(|line| !now.lines().any(|n| n == *line)).count();
        assert_eq!(format!("-{gone} {}", different.join(" ")), *changed, "{user}: {sql}\n{now}");
        for reset in ["DELETE FROM h.emp", ROWS] {
            simple(&root, reset).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_filter_hides_are_not_changed_counted_or_told_of() {
    check(
        "ann",
        &[
            ("UPDATE h.emp SET pay = 1", "(2)", "-2 1|EU|1|S-1|c1 2|EU|1|S-2|c2"),
            ("UPDATE h.emp SET pay = 1 WHERE region = 'US'", "(0)", "-0 "),
            ("UPDATE h.emp SET pay = 1 WHERE 10 / pay > 0 RETURNING id", "1\n(1)", "-1 1|EU|1|S-1|c1"),
            ("DELETE FROM h.emp WHERE id > 2 OR region IS NULL", "(0)", "-0 "),
            ("DELETE FROM h.emp", "(2)", "-3 (3)"),
            ("DELETE FROM h.emp WHERE pay = 20 RETURNING *", "2|EU|20|xxxx\n(1)", "-2 (4)"),
            ("MERGE INTO h.emp t USING (VALUES (1), (3)) s(k) ON t.id = s.k WHEN MATCHED THEN DELETE", "(1)", "-2 (4)"),
            ("UPDATE h.emp t SET pay = u.pay FROM h.emp u WHERE u.id = 3", "(0)", "-0 "),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_must_be_rows_that_may_be_seen() {
    let refused = "ERROR 42501 new row violates row-level security policy for table \"emp\"";
    check(
        "ann",
        &[
            ("UPDATE h.emp SET region = 'US' WHERE id = 1", refused, "-0 "),
            ("UPDATE h.emp SET region = NULL", refused, "-0 "),
            ("INSERT INTO h.emp (id, region) VALUES (8, 'EU'), (9, 'US')", refused, "-0 "),
            ("INSERT INTO h.emp (id) VALUES (9)", refused, "-0 "),
            ("INSERT INTO h.emp (id, region) VALUES (8, 'EU') RETURNING *", "8|EU|∅|∅\n(1)", "-1 8|EU|∅|∅|∅ (6)"),
            (
                "MERGE INTO h.emp t USING (VALUES (9)) s(k) ON t.id = s.k WHEN NOT MATCHED THEN INSERT (id, region) \
                 VALUES (k, 'US')",
                refused,
                "-0 ",
            ),
        ],
    )
    .await;
    check(
        "bob",
        &[
            ("INSERT INTO h.emp (id, region) VALUES (9, 'US')", refused, "-0 "),
            ("INSERT INTO h.emp (id, region) VALUES (9, 'EU') RETURNING id", "ERROR 42501", "-0 "),
            ("UPDATE h.emp SET pay = 1", "ERROR 42", "-0 "),
            ("DELETE FROM h.emp", "ERROR 42", "-0 "),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_and_hidden_values_are_kept_and_never_met() {
    check(
        "ann",
        &[
            ("UPDATE h.emp SET pay = 1 WHERE ssn = 'S-1'", "(0)", "-0 "),
            ("UPDATE h.emp SET pay = 1 WHERE ssn LIKE 'S%' OR ssn > 'S'", "(2)", "-2 1|EU|1|S-1|c1 2|EU|1|S-2|c2"),
            ("UPDATE h.emp SET region = region || substr(ssn, 1, 1) WHERE false", "(0)", "-0 "),
            ("DELETE FROM h.emp WHERE ssn = 'S-1'", "(0)", "-0 "),
            ("UPDATE h.emp SET pay = length(ssn) RETURNING ssn, pay", "xxxx|4", "-2 1|EU|4|S-1|c1 2|EU|4|S-2|c2"),
            ("UPDATE h.emp SET pay = 1 WHERE id = 1 RETURNING *", "1|EU|1|xxxx\n(1)", "-1 1|EU|1|S-1|c1"),
            ("UPDATE h.emp SET ssn = 'x'", "ERROR 42501 permission denied for column ssn", "-0 "),
            ("UPDATE h.emp SET confession = 'x'", "ERROR 42703 column \"confession\" of relation \"emp\"", "-0 "),
            ("DELETE FROM h.emp WHERE confession = 'c1'", "ERROR 42703", "-0 "),
            ("UPDATE h.emp SET pay = 1 RETURNING confession", "ERROR 42703", "-0 "),
            ("DELETE FROM h.emp t USING h.emp u WHERE t.ssn = u.ssn AND u.id = 1 AND u.ssn = 'S-1'", "(0)", "-0 "),
            (
                "INSERT INTO h.emp (id, region) VALUES (1, 'EU') ON CONFLICT (id) DO UPDATE SET ssn = excluded.region",
                "ERROR 42501",
                "-0 ",
            ),
        ],
    )
    .await;
    check(
        "cid",
        &[
            ("UPDATE h.emp SET pay = 1", "ERROR 42501 permission denied for table emp", "-0 "),
            ("DELETE FROM h.emp", "ERROR 42501 permission denied for table emp", "-0 "),
            ("INSERT INTO h.emp (id) VALUES (7)", "ERROR 42501 permission denied for table emp", "-0 "),
            (
                "MERGE INTO h.emp t USING h.emp s ON t.id = s.id WHEN MATCHED THEN DELETE",
                "ERROR 42501 permission denied for table emp",
                "-0 ",
            ),
        ],
    )
    .await;
}
