//! Asking in another's place (`may_act_for`, SET ROLE, SET SESSION AUTHORIZATION): a session has then what both have, and
//! neither what the login alone has nor what the other alone has. Whoever may act for nobody learns of nobody.

use crate::gateway::{Files, Gateway, extended, simple};

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "hr.emp"
columns = [
    { name = "id", type = "int4" }, { name = "region", type = "text" }, { name = "salary", type = "int4" },
    { name = "ssn", type = "text" }, { name = "note", type = "text" },
]
rows = [
    [1, "EU", 10, "S-1111", "a"], [2, "EU", 20, "S-2222", "b"], [3, "US", 30, "S-3333", "c"], [4, "APAC", 40, "S-4444", "d"],
]
[[table]]
name = "hr.pay"
columns = [{ name = "id", type = "int4" }]
rows = [[1]]
[[table]]
name = "hr.own"
columns = [{ name = "id", type = "int4" }]
rows = [[7]]
"#;

/// bi reads all but `note` and the rows of APAC; ann reads her region with `ssn` redacted, and hr.own, which bi does not.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, lakegate.admin, select, allow
p2, root, *, unfiltered
p, bi, hr.emp, select, allow
p, bi, hr.pay, select, allow
p, bi, views.*, select, allow
p2, bi, hr.emp, "region <> 'APAC'"
p, bi, hr.emp/note, select, deny
p, ann, hr.emp, select, allow
p, ann, hr.own, select, allow
p, ann, views.*, select, allow
p2, ann, hr.emp, "region = user.region"
p3, ann, hr.emp, ssn, redact
p, clerks, hr.emp, select, allow
p2, clerks, hr.emp, "salary < 15"
g, bi, clerks
"#;

fn files() -> Files {
    Files {
        sources: vec![("fixtures".into(), SOURCE.into())],
        datasets: vec![("views.staff".into(), "-- owner: root\nSELECT id, region, ssn FROM hr.emp".into())],
        policy: POLICY.into(),
        users: [("root", ""), ("bi", ""), ("ann", "region = \"EU\""), ("bob", "region = \"APAC\""), ("eve", "")]
            .map(|(n, a)| (n.to_string(), a.to_string()))
            .into(),
        may_act_for: vec![("bi".into(), "ann".into()), ("root".into(), "ann".into()), ("bi".into(), "eve".into())],
        attributes: "region = \"text\"".into(),
        ..Files::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_for_another_has_what_both_have() {
    let gateway = Gateway::start(&files()).await;
    let client = gateway.connect("bi").await;
    let all = "SELECT * FROM hr.emp ORDER BY id";
    let own = "1|EU|10|S-1111\n(1)";
    // a role's lines are the user's own already
    assert_eq!(simple(&client, all).await, own);
    assert_eq!(simple(&client, "SELECT current_user, session_user").await, "bi|bi\n(1)");

    simple(&client, "SET ROLE ann").await;
    assert_eq!(simple(&client, "SELECT current_user, session_user").await, "ann|bi\n(1)");
    for ask in ["SELECT * FROM hr.emp ORDER BY id", "SELECT id, region, salary, ssn FROM hr.emp"] {
        assert_eq!(simple(&client, ask).await, "1|EU|10|xxxx\n(1)", "{ask}");
        // the values' bytes
        assert_eq!(extended(&client, ask).await, "00000001|4555|0000000a|78787878", "{ask}");
    }
    // one of the two does not see them
    for (sql, code) in [
        ("SELECT note FROM hr.emp", "42703"),
        ("SELECT * FROM hr.own", "42P01"),
        ("SELECT * FROM hr.pay", "42P01"),
        ("CREATE VIEW hr.mine AS SELECT 1 AS one", "42501"),
    ] {
        assert!(simple(&client, sql).await.starts_with(&format!("ERROR {code}")), "{sql}");
    }
    assert_eq!(simple(&client, "SELECT id, ssn FROM views.staff ORDER BY id").await, "1|xxxx\n(1)");
    assert_eq!(
        simple(&client, "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('hr', 'views')").await,
        "emp\nstaff\n(2)"
    );

    simple(&client, "RESET ROLE").await;
    assert_eq!(simple(&client, all).await, own);
    simple(&client, "SET SESSION AUTHORIZATION ann").await;
    assert_eq!(simple(&client, "SELECT current_user, session_user").await, "ann|ann\n(1)");
    assert_eq!(simple(&client, all).await, "1|EU|10|xxxx\n(1)");
    simple(&client, "SET SESSION AUTHORIZATION DEFAULT").await;
    assert_eq!(simple(&client, all).await, own);

    // what a role before it was does not outlive it
    simple(&client, "SET ROLE ann").await;
    simple(&client, "SET SESSION AUTHORIZATION eve").await;
    assert_eq!(simple(&client, "SELECT current_user, session_user").await, "eve|eve\n(1)");
    assert!(simple(&client, all).await.starts_with("ERROR 42P01"));
    simple(&client, "SET SESSION AUTHORIZATION ann; SET ROLE ann; RESET SESSION AUTHORIZATION").await;
    assert_eq!(simple(&client, all).await, own);

    // as nobody in particular it sees nothing
    simple(&client, "SET ROLE eve").await;
    assert!(simple(&client, all).await.starts_with("ERROR 42P01"));
    simple(&client, "SET ROLE NONE").await;
    assert_eq!(simple(&client, all).await, own);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_ends_with_what_set_it_and_reaches_what_was_made_before() {
    let gateway = Gateway::start(&files()).await;
    let client = gateway.connect("root").await;
    let count = "SELECT count(*), max(ssn) FROM hr.emp";
    assert_eq!(simple(&client, count).await, "4|S-4444\n(1)");
    simple(&client, "PREPARE p AS SELECT count(*), max(ssn) FROM hr.emp").await;
    let prepared = client.prepare("SELECT id FROM hr.emp ORDER BY id").await.unwrap();

    simple(&client, "BEGIN").await;
    simple(&client, "SET LOCAL ROLE ann").await;
    for sql in [count, "EXECUTE p"] {
        assert_eq!(simple(&client, sql).await, "2|xxxx\n(1)", "{sql}");
    }
    let rows = client.query(&prepared, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2]);
    simple(&client, "COMMIT").await;
    assert_eq!(simple(&client, count).await, "4|S-4444\n(1)");

    simple(&client, "BEGIN").await;
    simple(&client, "SAVEPOINT s").await;
    simple(&client, "SET ROLE ann").await;
    assert_eq!(simple(&client, count).await, "2|xxxx\n(1)");
    simple(&client, "ROLLBACK TO s").await;
    assert_eq!(simple(&client, count).await, "4|S-4444\n(1)");
    simple(&client, "ROLLBACK").await;

    // rows of a cursor that was opened with more are not shown to less
    simple(&client, "BEGIN").await;
    simple(&client, "DECLARE c CURSOR FOR SELECT ssn FROM hr.emp ORDER BY id").await;
    simple(&client, "SET LOCAL ROLE ann").await;
    let fetched = simple(&client, "FETCH ALL FROM c").await;
    assert!(fetched.starts_with("ERROR 42501"), "{fetched}");
    simple(&client, "ROLLBACK").await;
    simple(&client, "DISCARD ALL").await;
    assert_eq!(simple(&client, count).await, "4|S-4444\n(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_whom_they_may_not_and_only_as_long_as_they_may() {
    let gateway = Gateway::start(&files()).await;
    let told = async |user: &str, name: &str| {
        let client = gateway.connect(user).await;
        let mut told = vec![];
        for sql in [
            format!("SET ROLE {name}"),
            format!("SET SESSION AUTHORIZATION {name}"),
            format!("SELECT set_config('role', '{name}', false)"),
        ] {
            let answer = simple(&client, &sql).await;
            assert!(answer.starts_with("ERROR 42501"), "{user} {sql}: {answer}");
            told.push(answer.replace(name, "X"));
        }
        told
    };
    // there is one, and there is none
    assert_eq!(told("bi", "bob").await, told("bi", "nobody_at_all").await);
    assert_eq!(told("ann", "bi").await, told("ann", "nobody_at_all").await);
    told("ann", "root").await;

    let client = gateway.connect("bi").await;
    simple(&client, "SET ROLE ann").await;
    assert_eq!(simple(&client, "SELECT ssn FROM hr.emp").await, "xxxx\n(1)");
    let fewer = Files { may_act_for: vec![("bi".into(), "eve".into())], ..files() };
    gateway.change_users(&fewer).await;
    let refused = simple(&client, "SELECT ssn FROM hr.emp").await;
    assert!(refused.starts_with("ERROR 42501"), "{refused}");
    simple(&client, "RESET ROLE").await;
    assert_eq!(simple(&client, "SELECT ssn FROM hr.emp").await, "S-1111\n(1)");
    assert!(simple(&client, "SET ROLE ann").await.starts_with("ERROR 42501"));
}
