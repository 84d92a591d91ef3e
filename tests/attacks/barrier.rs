//! A dataset is a barrier (attacks 1, 8, 14, 25): who reads it without a right to the tables below learns nothing of the
//! rows that its body leaves out, whatever stands in the body and wherever the tables are. Two worlds that differ in such
//! rows alone answer alike, over both protocols; and no statement here fails, since none does on a row that is shown.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use tokio_postgres::Client;

use crate::gateway::{Files, Gateway, extended, simple, told, until};
use crate::postgres_server;

/// id, region, salary, ssn, dept, code. Rows of region EU and of open departments are the same ones.
const SHOWN: [(i32, &str, i32, &str, i32, &str); 3] =
    [(1, "EU", 10, "S-111", 1, "11"), (2, "EU", 20, "S-222", 2, "22"), (4, "EU", 40, "S-444", 2, "44")];
/// What one world hides: `salary - 30` is 0, and `code` is no number.
const HIDDEN: [(i32, &str, i32, &str, i32, &str); 2] =
    [(3, "US", 30, "S-333", 3, "CNRY-3"), (5, "APAC", 30, "S-335", 3, "CNRY-5")];
/// What the other one hides.
const OTHERS: [(i32, &str, i32, &str, i32, &str); 1] = [(7, "US", 70, "T-777", 3, "77")];

/// Schemas of the four kinds of sources.
const SCHEMAS: [&str; 4] = ["hr", "lake", "crm", "stream"];

/// Each gives `id`, `salary`, `ssn` and `code` of the shown rows, or of groups of them.
const BODIES: [(&str, &str); 12] = [
    ("eu", "SELECT id, salary, ssn, code FROM {}.emp WHERE region = 'EU'"),
    (
        "joined",
        "SELECT e.id, e.salary, e.ssn, e.code FROM {}.emp e JOIN {}.dept d ON d.id = e.dept WHERE d.title <> 'closed'",
    ),
    ("semi", "SELECT id, salary, ssn, code FROM {}.emp WHERE dept IN (SELECT id FROM {}.dept WHERE id < 3)"),
    ("outer", "SELECT id, salary, ssn, code FROM {}_views.eu WHERE id > 0"),
    ("third", "SELECT o.* FROM {}_views.outer o JOIN {}_views.joined j ON j.id = o.id"),
    (
        "groups",
        "SELECT max(id) AS id, sum(salary) AS salary, max(ssn) AS ssn, max(code) AS code, \
         sum(salary * CAST(dept AS numeric(10, 2))) AS money FROM {}.emp WHERE region = 'EU' GROUP BY dept",
    ),
    (
        "having",
        "SELECT id, max(salary) AS salary, max(ssn) AS ssn, max(code) AS code FROM {}.emp GROUP BY id \
         HAVING max(region) = 'EU'",
    ),
    (
        "first",
        "SELECT id, salary, ssn, code FROM {}.emp ORDER BY CASE WHEN region = 'EU' THEN 0 ELSE 1 END, id LIMIT 3",
    ),
    (
        "ranked",
        "SELECT id, salary, ssn, code FROM (SELECT id, salary, ssn, code, row_number() OVER (ORDER BY \
         CASE WHEN region = 'EU' THEN 0 ELSE 1 END, id) AS n FROM {}.emp) AS x WHERE n <= 3",
    ),
    (
        "both",
        "SELECT id, salary, ssn, code FROM {}.emp WHERE region = 'EU' AND id < 3 UNION ALL \
         SELECT id, salary, ssn, code FROM {}.emp WHERE region = 'EU' AND id >= 3",
    ),
    ("distinct", "SELECT DISTINCT id, salary, ssn, code FROM {}.emp WHERE region = 'EU'"),
    // the body's own expression fails on a row that it leaves out
    ("ratio", "SELECT id, 1000 / (salary - 30) AS salary, ssn, code FROM {}.emp WHERE region = 'EU'"),
];

const ATTACKS: &[&str] = &[
    // predicates
    "SELECT count(*) FROM {v} WHERE CASE WHEN ssn LIKE 'S-33%' THEN 1/(salary-salary) ELSE 1 END = 7",
    "SELECT count(*) FROM {v} WHERE 1 / (salary - 30) = 7",
    "SELECT id FROM {v} WHERE code::int > 0 ORDER BY id",
    "SELECT id FROM {v} WHERE code::int > 0 OR id = 1 ORDER BY id",
    "SELECT id FROM {v} WHERE NOT (1 / (salary - 30) > 5) ORDER BY id",
    "SELECT id FROM {v} WHERE ssn = 'S-333' AND 1 / (salary - salary) = 1",
    "SELECT id FROM {v} WHERE ssn LIKE 'S-33%' AND code::int > 0",
    "SELECT id FROM {v} WHERE coalesce(1 / nullif(salary - 30, 0), 1 / (salary - 30)) IS NOT NULL ORDER BY id",
    "SELECT count(*) FROM {v} WHERE random() < 2 AND 1 / (salary - 30) < 9",
    "SELECT id FROM (SELECT id, 1 / (salary - 30) AS x FROM {v}) AS q WHERE x <> 99 ORDER BY id",
    "SELECT id FROM (SELECT * FROM {v} WHERE salary <> 77) AS q WHERE 1 / (salary - 30) <> 99 ORDER BY id",
    "SELECT id FROM {v} WHERE id IN (SELECT id FROM {v} WHERE 1 / (salary - 30) <> 99) ORDER BY id",
    "SELECT id FROM {v} e WHERE EXISTS (SELECT 1 FROM {v} o WHERE o.id = e.id AND 1 / (o.salary - 30) <> 9) ORDER BY id",
    // what is computed of each row
    "SELECT id, 1 / (salary - 30) AS x FROM {v} ORDER BY id",
    "SELECT code::int AS x FROM {v} ORDER BY 1",
    "SELECT 1 / (salary - 30), 1 / (salary - 30) + 1 FROM {v} WHERE 1 / (salary - 30) < 100 ORDER BY 1, 2",
    "SELECT unnest(ARRAY[1 / (salary - 30), id]) AS u FROM {v} ORDER BY 1",
    "SELECT CASE WHEN ssn LIKE 'S-33%' THEN 1 / (salary - salary) ELSE id END AS x FROM {v} ORDER BY 1",
    "SELECT id, sum(1 / (salary - 30)) OVER (ORDER BY id) AS x FROM {v} ORDER BY id",
    "SELECT id FROM {v} ORDER BY 1 / (salary - 30), id",
    "SELECT (SELECT max(1 / (salary - 30)) FROM {v})",
    // groups
    "SELECT sum(1 / (salary - 30)) FROM {v}",
    "SELECT sum(code::int), count(*), min(salary), max(ssn) FROM {v}",
    "SELECT 1 / (salary - 30) AS k, count(*) FROM {v} GROUP BY 1 ORDER BY 1",
    "SELECT max(1 / (salary - 30)) FROM {v} HAVING min(1 / (salary - 30)) < 9",
    "SELECT count(*) FILTER (WHERE 1 / (salary - 30) < 9) FROM {v}",
    "SELECT DISTINCT 1 / (salary - 30) AS x FROM {v} ORDER BY 1",
    // joins
    "SELECT a.id FROM {v} a JOIN {v} b ON 1 / (a.salary - 30) = b.id ORDER BY 1",
    "SELECT a.id FROM {v} a JOIN {v} b ON a.id = b.id AND 1 / (b.salary - 30) <> 99 ORDER BY 1",
    "SELECT a.id FROM {v} a LEFT JOIN {v} b ON a.id = b.id AND b.code::int > 30 ORDER BY 1",
    "SELECT g FROM generate_series(1, 9) AS g JOIN {v} b ON g = b.id AND b.code::int > 0 ORDER BY 1",
    "SELECT a.id FROM {v} a FULL JOIN {v} b ON a.id = b.id WHERE 1 / (b.salary - 30) <> 99 ORDER BY 1",
    "WITH RECURSIVE r AS (SELECT id FROM {v} WHERE id = 1 UNION ALL SELECT v.id FROM {v} v JOIN r ON v.id = r.id + 1 \
     WHERE 1 / (v.salary - 30) <> 99) SELECT * FROM r ORDER BY 1",
    // limits and set operations
    "SELECT count(*) FROM (SELECT 1 / (salary - 30) AS x FROM {v} LIMIT 100) AS q WHERE x <> 99",
    "SELECT id FROM {v} ORDER BY salary, id LIMIT 1",
    "SELECT id FROM {v} WHERE 1 / (salary - 30) <> 99 ORDER BY id LIMIT 2 OFFSET 1",
    "SELECT id FROM {v} WHERE 1 / (salary - 30) <> 99 UNION SELECT id FROM {v} WHERE code::int <> 0 ORDER BY 1",
    "SELECT 1 / (salary - 30) AS x FROM {v} EXCEPT SELECT id FROM {v} ORDER BY 1",
    // leakproof ones, which do pass
    "SELECT id, ssn FROM {v} WHERE ssn = 'S-444'",
    "SELECT id FROM {v} WHERE ssn = 'S-333' OR salary = 30",
    "SELECT id FROM {v} WHERE id IN (1, 2, 3) AND salary IS NOT NULL ORDER BY id",
    "SELECT count(*) FROM {v}",
    "SELECT * FROM {v} ORDER BY id",
];

struct World {
    gateway: Gateway,
    /// They end with the world.
    _postgres: postgres_server::Server,
    _kafka: MockCluster<'static, DefaultProducerContext>,
}

type Row = (i32, &'static str, i32, &'static str, i32, &'static str);

const DEPTS: [(i32, &str); 3] = [(1, "one"), (2, "two"), (3, "closed")];

fn memory(rows: &[Row]) -> String {
    let emp = rows.iter().map(|(id, region, salary, ssn, dept, code)| {
        format!("[{id}, \"{region}\", {salary}, \"{ssn}\", {dept}, \"{code}\"]")
    });
    let dept = DEPTS.map(|(id, title)| format!("[{id}, \"{title}\"]"));
    format!(
        "kind = \"memory\"\n[[table]]\nname = \"hr.emp\"\ncolumns = {EMP}\nrows = [{}]\n\
         [[table]]\nname = \"hr.dept\"\ncolumns = {DEPT}\nrows = [{}]\n",
        emp.collect::<Vec<_>>().join(", "),
        dept.join(", ")
    )
}

const EMP: &str = "[{ name = \"id\", type = \"int4\" }, { name = \"region\", type = \"text\" }, \
                   { name = \"salary\", type = \"int4\" }, { name = \"ssn\", type = \"text\" }, \
                   { name = \"dept\", type = \"int4\" }, { name = \"code\", type = \"text\" }]";
const DEPT: &str = "[{ name = \"id\", type = \"int4\" }, { name = \"title\", type = \"text\" }]";

async fn postgres(rows: &[Row]) -> postgres_server::Server {
    let server = postgres_server::Server::start().await;
    let values = rows.iter().map(|(id, region, salary, ssn, dept, code)| {
        format!("({id}, '{region}', {salary}, '{ssn}', {dept}, '{code}')")
    });
    let depts = DEPTS.map(|(id, title)| format!("({id}, '{title}')"));
    let sql = format!(
        "CREATE SCHEMA crm; CREATE TABLE crm.emp (id int4, region text, salary int4, ssn text, dept int4, code text); \
         CREATE TABLE crm.dept (id int4, title text); INSERT INTO crm.emp VALUES {}; INSERT INTO crm.dept VALUES {}",
        values.collect::<Vec<_>>().join(", "),
        depts.join(", ")
    );
    server.run(&sql).await;
    server
}

/// A broker in this process that holds these records, topic by topic.
pub async fn broker(topics: &[(&str, Vec<String>)]) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for (topic, records) in topics {
        cluster.create_topic(topic, 1, 1).unwrap();
        for record in records {
            let record = FutureRecord::<str, str>::to(topic).partition(0).payload(record);
            producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).unwrap();
        }
    }
    cluster
}

async fn kafka(rows: &[Row]) -> MockCluster<'static, DefaultProducerContext> {
    let emp = rows.iter().map(|(id, region, salary, ssn, dept, code)| {
        format!(
            "{{\"id\": {id}, \"region\": \"{region}\", \"salary\": {salary}, \"ssn\": \"{ssn}\", \"dept\": {dept}, \
             \"code\": \"{code}\"}}"
        )
    });
    let dept = DEPTS.map(|(id, title)| format!("{{\"id\": {id}, \"title\": \"{title}\"}}"));
    broker(&[("emp", emp.collect()), ("dept", dept.into())]).await
}

const BOOTSTRAP: &str = "p, root, *, select, allow\np, root, *, create, allow\n";

/// reader sees the datasets alone; half may see all of `dept`, and of `emp` only what its filter leaves; whole sees all.
fn policy() -> String {
    let mut text =
        format!("{BOOTSTRAP}p2, root, *, unfiltered\np, whole, *, select, allow\np2, whole, *, unfiltered\n");
    for schema in SCHEMAS {
        text += &format!(
            "p, reader, {schema}_views.*, select, allow\np, half, {schema}_views.*, select, allow\n\
             p, half, {schema}.dept, select, allow\n"
        );
    }
    text
}

impl World {
    async fn start(hidden: &[Row]) -> Self {
        let (first, rest) = hidden.split_at(1);
        let rows = [first, &SHOWN[..1], rest, &SHOWN[1..]].concat();
        let (postgres, kafka) = (postgres(&rows).await, kafka(&rows).await);
        let crm = format!(
            "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\ntls = \"off\"\n\
             schemas = {{ crm = \"crm\" }}\n",
            postgres.socket(),
            postgres.port
        );
        let stream = format!(
            "kind = \"kafka\"\nbrokers = \"{}\"\nschema = \"stream\"\n[topics.emp]\ncolumns = {EMP}\n\
             [topics.dept]\ncolumns = {DEPT}\n",
            kafka.bootstrap_servers()
        );
        let files = Files {
            sources: vec![("fixtures".into(), memory(&rows)), ("crm".into(), crm), ("stream".into(), stream)],
            datasets: ["hr", "crm", "stream"].into_iter().flat_map(bodies).collect(),
            policy: BOOTSTRAP.into(),
            users: ["root", "reader", "half", "whole"].map(|n| (n.to_string(), String::new())).into(),
            ..Files::default()
        };
        let gateway = Gateway::start(&files.with_lake()).await;
        let copy = |t: &str| format!("CREATE TABLE lake.{t} AS SELECT * FROM hr.{t}");
        gateway.run("root", &["CREATE SCHEMA lake", &copy("emp"), &copy("dept")]).await;
        for (name, text) in bodies("lake") {
            std::fs::write(gateway.path(&format!("catalog/datasets/{name}.sql")), text).unwrap();
        }
        let root = gateway.connect("root").await;
        let datasets = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'lake_views'";
        until(&root, datasets, |n| n.starts_with(&BODIES.len().to_string())).await;
        gateway.change_policy(&policy()).await;
        Self { gateway, _postgres: postgres, _kafka: kafka }
    }
}

fn bodies(schema: &str) -> Vec<(String, String)> {
    let dataset = |(name, body): (&str, &str)| {
        (format!("{schema}_views.{name}"), format!("-- owner: root\n{}", body.replace("{}", schema)))
    };
    BODIES.map(dataset).into()
}

async fn worlds() -> [World; 2] {
    let (a, b) = tokio::join!(Box::pin(World::start(&HIDDEN)), Box::pin(World::start(&OTHERS)));
    [a, b]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_learnt_of_the_rows_that_a_dataset_leaves_out() {
    let [a, b] = worlds().await;
    let mut differ = vec![];
    for user in ["reader", "half"] {
        let (a, b) = (a.gateway.connect(user).await, b.gateway.connect(user).await);
        let every = SCHEMAS.iter().flat_map(|schema| BODIES.iter().map(move |(name, _)| (*schema, *name)));
        // every body over files and memory, the rest where it may depend on the source or on half a right
        let asked = every.filter(|(schema, name)| match (user, *schema) {
            ("half", "hr" | "lake") => ["joined", "semi", "third"].contains(name),
            ("half", _) => false,
            (_, "hr" | "lake") => true,
            (_, _) => ["eu", "joined", "groups", "ratio"].contains(name),
        });
        for (schema, name) in asked {
            for sql in ATTACKS.iter().map(|sql| sql.replace("{v}", &format!("{schema}_views.{name}"))) {
                let of = async |c: &Client| [simple(c, &sql).await, extended(c, &sql).await];
                let (a, b) = tokio::join!(of(&a), of(&b));
                let told = a.iter().any(|answer| answer.contains("CNRY") || answer.starts_with("ERROR"));
                if a != b || told {
                    differ.push(format!("{user}: {sql}\n  A {a:?}\n  B {b:?}"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// The probe letter by letter, its pattern a parameter: prepared once and bound anew, and by PREPARE in SQL.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_probe_learns_nothing_either() {
    let [a, _] = worlds().await;
    let client = a.gateway.connect("reader").await;
    for schema in SCHEMAS {
        for (name, _) in BODIES {
            let view = format!("{schema}_views.{name}");
            let probe =
                format!("SELECT count(*) FROM {view} WHERE CASE WHEN ssn LIKE $1 THEN 1/(id-id) ELSE 1 END = 7");
            let prepared = client.prepare(&probe).await.unwrap_or_else(|e| panic!("{probe}: {}", told(&e)));
            for pattern in ["S-3%", "S-33%", "S-335", "T-%"] {
                let rows = client.query(&prepared, &[&pattern]).await;
                let rows = rows.unwrap_or_else(|e| panic!("{view} {pattern}: {}", told(&e)));
                assert_eq!(rows[0].get::<_, i64>(0), 0, "{view} {pattern}");
            }
            // it does find what is shown
            assert!(client.query(&prepared, &[&"S-4%"]).await.is_err(), "{view}");
        }
        let sql = format!(
            "PREPARE {schema}_p(text) AS SELECT count(*) FROM {schema}_views.eu WHERE ssn LIKE $1 AND 1/(id-3) < 9"
        );
        assert_eq!(simple(&client, &sql).await, "(0)");
        assert_eq!(simple(&client, &format!("EXECUTE {schema}_p('S-33%')")).await, "0\n(1)");
        assert_eq!(simple(&client, &format!("EXECUTE {schema}_p('S-%')")).await, "3\n(1)");
    }
}

/// Who may see every row below needs no barrier, and gets the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_changes_no_answer() {
    let [a, _] = worlds().await;
    let (reader, whole) = (a.gateway.connect("reader").await, a.gateway.connect("whole").await);
    for schema in SCHEMAS {
        // without a barrier the body's own division may be tried on a row that it leaves out
        for (name, _) in BODIES.into_iter().filter(|(name, _)| *name != "ratio") {
            for rest in [
                "SELECT * FROM {v} ORDER BY id",
                "SELECT id FROM {v} WHERE id > 1 AND ssn <> 'S-444' ORDER BY id",
                "SELECT count(*), sum(salary), min(code) FROM {v} WHERE id IN (1, 4) OR ssn = 'S-222'",
                "SELECT a.id FROM {v} a JOIN {v} b ON a.salary = b.salary WHERE b.id < 4 ORDER BY 1",
                "SELECT count(*) FROM {v} WHERE salary IS NULL",
            ] {
                let sql = rest.replace("{v}", &format!("{schema}_views.{name}"));
                let (ours, theirs) = (simple(&reader, &sql).await, simple(&whole, &sql).await);
                assert!(ours == theirs && !ours.starts_with("ERROR"), "{sql}\n  {ours}\n  {theirs}");
            }
        }
    }
}
