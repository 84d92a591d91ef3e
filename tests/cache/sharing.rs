//! Who gets whose answers (attack 10): equal texts by users of several classes, whose attributes and rules change under
//! them, in both orders. Every answer is the one that the same user gets with the cache off.

use tokio_postgres::Client;

use super::{MEMORY, counts, without_cache};
use crate::gateway::{EFFECT_MAX, Files, Gateway, simple, until};

/// Two by attribute, one by mask too, one by denial, one in full.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, create, allow
p, role_reader, lake.sales, select, allow
p2, role_region, lake.sales, "region = user.region"
g, role_region, role_reader
g, ann, role_region
g, ben, role_region
g, mia, role_region
g, zoe, role_reader
g, dan, role_reader
p3, mia, lake.sales, ssn, @MASK@
p, zoe, lake.sales/ssn, select, deny
"#;

const MASKS: [&str; 3] = ["redact", "\"partial(0, '*', 2)\"", "nullify"];
const REGIONS: [&str; 3] = ["EU", "US", "APAC"];
/// Restricted first, admin last; the other way round after that.
const USERS: [&str; 6] = ["ann", "ben", "mia", "zoe", "dan", "root"];

const QUESTIONS: [&str; 5] = [
    "SELECT count(*), sum(amount) FROM lake.sales",
    "SELECT id, region FROM lake.sales ORDER BY id",
    "SELECT id, ssn FROM lake.sales ORDER BY id",
    "SELECT * FROM lake.sales ORDER BY id",
    "SELECT (SELECT max(ssn) FROM lake.sales), id FROM lake.sales WHERE EXISTS (SELECT 1 FROM lake.sales) ORDER BY id",
];

/// ann and ben swap their regions from round to round; mia has ann's.
fn files(round: usize) -> Files {
    let of = |n: usize| format!("region = \"{}\"", REGIONS[(round + n) % 3]);
    let users =
        [("root", String::new()), ("ann", of(0)), ("ben", of(1)), ("mia", of(0)), ("zoe", of(2)), ("dan", of(2))];
    Files {
        sources: vec![("fixtures".into(), MEMORY.into())],
        policy: "p, root, *, select, allow\np, root, *, create, allow\n".into(),
        users: users.map(|(n, a)| (n.to_string(), a)).into(),
        attributes: "region = \"text\"".into(),
        ..Files::default()
    }
}

fn policy(round: usize) -> String {
    POLICY.replace("@MASK@", MASKS[round % 3])
}

async fn start() -> Gateway {
    let gateway = Gateway::start(&files(0).with_lake()).await;
    gateway.run("root", &["CREATE SCHEMA lake", "CREATE TABLE lake.sales AS SELECT * FROM seed.sales"]).await;
    gateway.change_policy(&policy(0)).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_crosses_from_one_class_to_another() {
    let gateway = start().await;
    let mut clients: Vec<(&str, Client, Client)> = vec![];
    for user in USERS {
        clients.push((user, gateway.connect(user).await, without_cache(&gateway, user).await));
    }
    let (mut asked, mut crossed) = (0, vec![]);
    let begin = counts(&gateway);
    for round in 0..6 {
        if round > 0 {
            match round % 2 {
                1 => gateway.change_users(&files(round)).await,
                _ => gateway.change_policy(&policy(round)).await,
            }
        }
        for ask in QUESTIONS {
            // twice: the second is from the cache
            for _ in 0..2 {
                for (user, on, off) in &clients {
                    let (answer, expect) = (simple(on, ask).await, simple(off, ask).await);
                    if answer != expect {
                        crossed.push(format!("round {round}, {user}: {ask}\n{answer}\ninstead of\n{expect}"));
                    }
                    asked += 1;
                }
            }
        }
        clients.reverse();
    }
    let (hits, misses) = (counts(&gateway).0 - begin.0, counts(&gateway).1 - begin.1);
    println!("{asked} answers, {hits} hits, {misses} misses, {} crossed", crossed.len());
    assert!(crossed.is_empty(), "{}", crossed.join("\n"));
    assert!(hits * 2 >= asked, "{hits} hits of {asked} show nothing");
}

/// Two of one class have one answer between them; a class is what one may see, not what one is called.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_one_class_share() {
    let gateway = start().await;
    let ask = "SELECT count(*) FROM lake.sales";
    let (hits, misses) = counts(&gateway);
    assert_eq!(simple(&gateway.connect("root").await, ask).await, "6\n(1)");
    assert_eq!(simple(&gateway.connect("dan").await, ask).await, "6\n(1)");
    assert_eq!(counts(&gateway), (hits + 1, misses + 1));
    assert_eq!(simple(&gateway.connect("ann").await, ask).await, "2\n(1)");
    assert_eq!(counts(&gateway), (hits + 1, misses + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_policy_is_not_outlived_by_an_answer() {
    let gateway = start().await;
    let client = gateway.connect("ann").await;
    let ask = "SELECT count(*), max(ssn) FROM lake.sales";
    let prepared = client.prepare(ask).await.unwrap();
    let mut first = None;
    for _ in 0..3 {
        let row = client.query_one(&prepared, &[]).await.unwrap();
        let row = (row.get::<_, i64>(0), row.get::<_, String>(1));
        assert_eq!(*first.get_or_insert(row.clone()), row);
    }
    assert_eq!(first, Some((2, "S-444".into())));
    let steps: [(&str, &str); 4] = [
        ("p3, ann, lake.sales, ssn, redact\n", "2|xxxx\n(1)"),
        ("p2, ann, lake.sales, \"amount < 20\"\n", "1|S-111\n(1)"),
        ("p, ann, lake.sales, select, deny\n", "ERROR 42P01 relation \"lake.sales\" does not exist"),
        ("", "2|S-444\n(1)"),
    ];
    for (line, expect) in steps {
        gateway.write_policy(&format!("{}{line}", policy(0)));
        let took = until(&client, ask, |a| a == expect).await;
        assert!(took < EFFECT_MAX, "{line}: {took:?}");
        for _ in 0..2 {
            assert_eq!(simple(&client, ask).await, expect, "{line}");
        }
    }
    // an edit that changes nobody's right costs nobody an answer
    let (hits, misses) = counts(&gateway);
    gateway.change_policy(&format!("{}# a remark\n", policy(0))).await;
    assert_eq!(simple(&client, ask).await, "2|S-444\n(1)");
    assert_eq!(counts(&gateway), (hits + 1, misses));
}
