//! One statement over an S3 server, a Kafka broker and a PostgreSQL, each the real thing, by two users whom the policy
//! shows different rows; and a PostgreSQL that is away when lakegate starts.

use std::time::Instant;

use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_postgres::Client;

use crate::gateway::{EFFECT_MAX, Files, Gateway, PATIENCE, copy_nothing_in, extended, simple, until};
use crate::ingest::home::{brokers, create, producer, service};
use crate::postgres_server;

const REGIONS: [&str; 3] = ["EU", "US", "APAC"];
const CUSTOMERS: i64 = 60;
const ORDERS: i64 = 600;

const POLICY: &str = "
p, admin, *, select, allow
p, admin, *, create, allow
p2, admin, *, unfiltered
p, analyst, sales.orders, select, allow
p, analyst, stream.@TOPIC@, select, allow
p, analyst, crm.customers, select, allow
p2, analyst, sales.orders, \"region = user.region\"
p2, analyst, crm.customers, \"region = user.region\"
p3, analyst, crm.customers, email, \"partial(2, '***', 4)\"
p, analyst, crm.customers/ssn, select, deny
";

fn customers() -> String {
    format!(
        "CREATE SCHEMA crm; CREATE TABLE crm.customers AS SELECT id AS customer_id, 'user' || id || '@example.com' AS email, \
         'ssn-' || id AS ssn, (ARRAY['EU', 'US', 'APAC'])[id % 3 + 1] AS region FROM generate_series(1::int8, {CUSTOMERS}) id"
    )
}

fn crm(postgres: &postgres_server::Server) -> (String, String) {
    let text = format!(
        "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\ntls = \"off\"\n\
         schemas = {{ crm = \"crm\" }}\n",
        postgres.socket(),
        postgres.port
    );
    ("crm".into(), text)
}

fn users() -> Vec<(String, String)> {
    vec![("admin".into(), String::new()), ("analyst".into(), "region = \"EU\"".into())]
}

/// Events `ids`, each of order `id % ORDERS`, each of type `kind`.
async fn send(producer: &FutureProducer, topic: &str, ids: std::ops::Range<i64>) {
    let values: Vec<String> = ids
        .map(|id| format!("{{\"order_id\": {}, \"kind\": \"{}\"}}", id % ORDERS, ["paid", "sent"][id as usize % 2]))
        .collect();
    let sent = values.iter().map(|value| producer.send(FutureRecord::<str, str>::to(topic).payload(value), PATIENCE));
    for sent in futures::future::join_all(sent).await {
        sent.map_err(|(error, _)| error).unwrap();
    }
}

/// What the join must give of events `0..count`: the order's customer is `order_id % CUSTOMERS + 1`, of the same region.
fn expected(count: i64, of: impl Fn(&str) -> bool, email: impl Fn(i64) -> String) -> String {
    let mut groups = std::collections::BTreeMap::new();
    for id in 0..count {
        let customer = id % ORDERS % CUSTOMERS + 1;
        let region = REGIONS[(customer % 3) as usize];
        if of(region) {
            let group = groups.entry((region, ["paid", "sent"][id as usize % 2])).or_insert((0, 0, String::new()));
            let largest = std::mem::take(&mut group.2).max(email(customer));
            *group = (group.0 + 1, group.1 + id % ORDERS, largest);
        }
    }
    let lines =
        groups.iter().map(|((region, kind), (n, total, email))| format!("{region}|{kind}|{n}|{total}.50|{email}"));
    let lines = lines.collect::<Vec<_>>();
    let rows = lines.len();
    lines.into_iter().chain([format!("({rows})")]).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_joins_s3_kafka_and_postgresql_and_two_users_get_two_answers() {
    let postgres = postgres_server::Server::start().await;
    postgres.run(&customers()).await;
    let topic = format!("events_{}", uuid::Uuid::new_v4().simple());
    create(&topic).await;
    let producer = producer(None);
    send(&producer, &topic, 0..5_000).await;
    let stream = format!(
        "kind = \"kafka\"\nbrokers = \"{}\"\nschema = \"stream\"\n[topics.{topic}]\n\
         columns = [{{ name = \"order_id\", type = \"int8\" }}, {{ name = \"kind\", type = \"text\" }}]\n",
        brokers()
    );
    let lake = format!(
        "kind = \"iceberg\"\nwarehouse = \"s3://{}/federation-{}\"\n[s3]\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        service("LAKEGATE_TEST_S3_BUCKET"),
        uuid::Uuid::new_v4().simple(),
        service("LAKEGATE_TEST_S3_ENDPOINT"),
        service("LAKEGATE_TEST_S3_ACCESS_KEY"),
        service("LAKEGATE_TEST_S3_SECRET_KEY"),
    );
    let files = Files {
        sources: vec![("stream".into(), stream), ("lake".into(), lake), crm(&postgres)],
        policy: POLICY.lines().filter(|line| line.contains("admin")).map(|line| format!("{line}\n")).collect(),
        users: users(),
        attributes: "region = \"text\"".into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files).await;
    let orders = format!(
        "CREATE TABLE sales.orders AS SELECT g AS order_id, c.customer_id, c.region, \
         g::numeric(12,2) AS total FROM generate_series(0, {}) AS g JOIN crm.customers c \
         ON c.customer_id = g % {CUSTOMERS} + 1",
        ORDERS - 1
    );
    gateway.run("admin", &["CREATE SCHEMA sales", &orders]).await;
    gateway.change_policy(&POLICY.replace("@TOPIC@", &topic)).await;

    let (admin, analyst) = (gateway.connect("admin").await, gateway.connect("analyst").await);
    let join = format!(
        "SELECT c.region, e.kind, count(*), sum(o.total) + 0.50, max(c.email) FROM stream.{topic} e \
         JOIN sales.orders o ON o.order_id = e.order_id JOIN crm.customers c ON c.customer_id = o.customer_id \
         GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let plain = |customer: i64| format!("user{customer}@example.com");
    let masked = |customer: i64| {
        let email = plain(customer);
        format!("{}***{}", &email[..2], &email[email.len() - 4..])
    };
    for count in [5_000, 5_500, 6_000] {
        if count > 5_000 {
            send(&producer, &topic, count - 500..count).await;
        }
        let begin = Instant::now();
        assert_eq!(simple(&admin, &join).await, expected(count, |_| true, plain));
        println!("three-way join over S3, Kafka and PostgreSQL: {} ms", begin.elapsed().as_millis());
        assert_eq!(simple(&analyst, &join).await, expected(count, |region| region == "EU", masked));
        for user in [&admin, &analyst] {
            assert!(!extended(user, &join).await.starts_with("ERROR"));
        }
    }
    let hidden = simple(&analyst, "SELECT max(ssn) FROM crm.customers").await;
    assert!(hidden.starts_with("ERROR 42703"), "{hidden}");
}

/// From its first row on a table is what its lines say, also where they were written before lakegate ever saw it.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_at_the_start_is_bound_before_it_is_seen() {
    let mut postgres = postgres_server::Server::start().await;
    postgres.run(&customers()).await;
    postgres.stop();
    let memory = "kind = \"memory\"\n[[table]]\nname = \"hr.one\"\ncolumns = [{ name = \"x\", type = \"int8\" }]\nrows = [[1]]\n";
    let files = Files {
        sources: vec![crm(&postgres), ("fixtures".into(), memory.into())],
        policy: POLICY
            .lines()
            .filter(|line| line.contains("admin") || line.contains("crm."))
            .map(|l| format!("{l}\n"))
            .collect(),
        users: users(),
        attributes: "region = \"text\"".into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files).await;
    let (admin, analyst) = (gateway.connect("admin").await, gateway.connect("analyst").await);
    assert_eq!(simple(&admin, "SELECT x FROM hr.one").await, "1\n(1)", "another source's tables answer");
    let all = "SELECT count(*), min(region), max(region), min(email) FROM crm.customers";
    let away = "ERROR 08006 source \"crm\" cannot be reached";
    for user in [&admin, &analyst] {
        let answer = simple(user, all).await;
        assert!(answer.starts_with(away), "{answer}");
    }

    let watch = tokio::spawn(first_answer(analyst, all));
    postgres.resume().await;
    until(&admin, all, |answer| answer == format!("{CUSTOMERS}|APAC|US|user10@example.com\n(1)")).await;
    assert_eq!(watch.await.unwrap(), format!("{}|EU|EU|us***.com\n(1)", CUSTOMERS / 3));

    // and an edit of its lines has its effect as everybody's
    let analyst = gateway.connect("analyst").await;
    gateway.write_policy(&files.policy.replace(
        "p2, analyst, crm.customers, \"region = user.region\"",
        "p2, analyst, crm.customers, \"region = 'US'\"",
    ));
    let took = until(&analyst, all, |answer| answer.contains("|US|US|")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
}

/// What was made in a source is there when CALL ends, not at some look that comes later; whoever may not refresh it is told no
/// more than of one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_read_again_when_it_is_told_to_be() {
    let mut postgres = postgres_server::Server::start().await;
    postgres.run(&customers()).await;
    let memory = "kind = \"memory\"\n[[table]]\nname = \"hr.one\"\ncolumns = [{ name = \"x\", type = \"int8\" }]\nrows = [[1]]\n";
    let policy = "
p, boss, lakegate.admin, select, allow
p, keeper, crm.*, select, allow
p, keeper, crm.customers, refresh, allow
p, narrow, crm.customers, select, allow
p, narrow, crm.customers, refresh, allow
p, reader, crm.*, select, allow
p, stranger, hr.one, select, allow
";
    let users = ["boss", "keeper", "narrow", "reader", "stranger"];
    let files = Files {
        sources: vec![crm(&postgres), ("fixtures".into(), memory.into())],
        policy: policy.into(),
        users: users.map(|user| (user.into(), String::new())).into(),
        ..Files::default()
    };
    let gateway = Gateway::start(&files).await;
    let keeper = gateway.connect("keeper").await;
    let refresh = "CALL lakegate.refresh_source('crm')";
    // some of them fall where no look was due, whenever the server looks by itself
    for made in 1..=4 {
        postgres
            .run(&format!("CREATE TABLE crm.made_{made} (a int8); ALTER TABLE crm.customers ADD c{made} int8"))
            .await;
        assert_eq!(simple(&keeper, refresh).await, format!("{}\n(0)", made + 1));
        assert_eq!(simple(&keeper, &format!("SELECT count(a) FROM crm.made_{made}")).await, "0\n(1)");
        assert_eq!(simple(&keeper, &format!("SELECT count(c{made}) FROM crm.customers")).await, "0\n(1)");
    }
    postgres.run("DROP TABLE crm.made_4").await;
    assert_eq!(extended(&keeper, "CALL lakegate.refresh_source(source_name => 'crm')").await, "0000000000000004");
    let gone = simple(&keeper, "SELECT a FROM crm.made_4").await;
    assert!(gone.starts_with("ERROR 42P01"), "{gone}");

    // the count is of what its caller sees
    assert_eq!(simple(&gateway.connect("narrow").await, refresh).await, "1\n(0)");
    assert_eq!(simple(&gateway.connect("boss").await, refresh).await, "0\n(0)");
    let refused = simple(&gateway.connect("reader").await, refresh).await;
    assert!(refused.starts_with("ERROR 42501 permission denied for source crm"), "{refused}");
    let stranger = gateway.connect("stranger").await;
    let absent = simple(&stranger, "CALL lakegate.refresh_source('nowhere')").await;
    assert_eq!(absent, "ERROR 42704 source \"nowhere\" does not exist");
    assert_eq!(simple(&stranger, refresh).await, absent.replace("nowhere", "crm"));
    assert_eq!(
        simple(&keeper, "CALL lakegate.refresh_source('fixtures')").await,
        absent.replace("nowhere", "fixtures")
    );
    let null = simple(&keeper, "CALL lakegate.refresh_source(NULL)").await;
    assert_eq!(null, "ERROR 22004 the name of a source must not be null");

    postgres.stop();
    let away = simple(&keeper, refresh).await;
    assert!(away.starts_with("ERROR 08006 source \"crm\" cannot be reached"), "{away}");
    assert_eq!(simple(&stranger, refresh).await, absent.replace("nowhere", "crm"));
    postgres.resume().await;
    until(&keeper, refresh, |answer| answer == "4\n(0)").await;
}

const MAKER: &str = "
p, maker, *, select, allow
p, maker, *, create, allow
p, maker, *, insert, allow
p, maker, *, drop, allow
p, maker, *, refresh, allow
p2, maker, *, unfiltered
";

/// What is counted are tables: neither views, nor what is told about tables.
#[tokio::test(flavor = "multi_thread")]
async fn views_and_metadata_of_a_source_are_no_tables_of_it() {
    let users = vec![("maker".into(), String::new())];
    let gateway = Gateway::start(&Files { policy: MAKER.into(), users, ..Files::default() }.with_lake()).await;
    let maker = gateway.connect("maker").await;
    for made in [
        "CREATE SCHEMA mine",
        "CREATE TABLE mine.t (a int8)",
        "CREATE VIEW mine.v AS SELECT a FROM mine.t",
        "CREATE MATERIALIZED VIEW mine.m AS SELECT a FROM mine.v",
    ] {
        assert_eq!(simple(&maker, made).await, "(0)", "{made}");
    }
    assert_eq!(simple(&maker, "CALL lakegate.refresh_source('lake')").await, "2\n(0)");
    // what is copied from it is what a query has
    assert_eq!(simple(&maker, "COPY mine.m TO STDOUT").await, "");
    let filled = copy_nothing_in(maker, "COPY mine.m FROM STDIN").await;
    assert_eq!(filled, "ERROR 42809 cannot copy to materialized view \"m\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_materialized_view_has_rows_is_seen_at_once() {
    let users = vec![("maker".into(), String::new())];
    let gateway = Gateway::start(&Files { policy: MAKER.into(), users, ..Files::default() }.with_lake()).await;
    let maker = gateway.connect("maker").await;
    simple(&maker, "CREATE SCHEMA mine").await;
    assert_eq!(simple(&maker, "CREATE MATERIALIZED VIEW mine.m AS SELECT 1 AS a").await, "(1)");
    assert_eq!(simple(&maker, "REFRESH MATERIALIZED VIEW mine.m").await, "(0)");
    let block = simple(&maker, "BEGIN; REFRESH MATERIALIZED VIEW mine.m; COMMIT").await;
    assert_eq!(block, "(0)\n(0)\n(0)");
    assert_eq!(simple(&maker, "SELECT a FROM mine.m").await, "1\n(1)");
    // it is the catalog's
    assert_eq!(simple(&maker, "REFRESH MATERIALIZED VIEW mine.m WITH NO DATA").await, "(0)");
    let populated = "SELECT relispopulated FROM pg_class WHERE oid = 'mine.m'::regclass";
    assert_eq!(simple(&maker, populated).await, "f\n(1)");
    assert_eq!(simple(&maker, "REFRESH MATERIALIZED VIEW mine.m").await, "(0)");
    assert_eq!(simple(&maker, populated).await, "t\n(1)");
}

/// The text that is kept is no part of REFRESH: what fails in it has no place there.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_the_text_of_a_materialized_view_has_no_place() {
    let postgres = postgres_server::Server::start().await;
    postgres.run("CREATE SCHEMA crm; CREATE TABLE crm.t (a int8)").await;
    let users = vec![("maker".into(), String::new())];
    let files = Files { sources: vec![crm(&postgres)], policy: MAKER.into(), users, ..Files::default() }.with_lake();
    let gateway = Gateway::start(&files).await;
    let maker = gateway.connect("maker").await;
    simple(&maker, "CREATE SCHEMA mine").await;
    assert_eq!(simple(&maker, "CREATE MATERIALIZED VIEW mine.m AS SELECT a FROM crm.t").await, "(0)");
    postgres.run("DROP TABLE crm.t").await;
    assert_eq!(simple(&maker, "CALL lakegate.refresh_source('crm')").await, "0\n(0)");
    let refused = maker.simple_query("REFRESH MATERIALIZED VIEW mine.m").await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!((refused.code().code(), refused.message()), ("42P01", "relation \"crm.t\" does not exist"));
    assert_eq!(refused.position(), None);
}

/// The first that is not an error.
async fn first_answer(client: Client, sql: &str) -> String {
    let begin = Instant::now();
    loop {
        let answer = simple(&client, sql).await;
        if !answer.starts_with("ERROR 08006") {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{answer}");
        tokio::task::yield_now().await;
    }
}
