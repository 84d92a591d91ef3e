//! A newcomer's first minutes with `lakegate demo`, as a process of its own: what two users see of one statement, an
//! edit's effect, and that nothing is left behind. The answers are compared with what the sources themselves say.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio_postgres::{Client, NoTls};

use crate::gateway::{EFFECT_MAX, PATIENCE, simple, until};

/// The first answer may take this long after the binary starts.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(60);
/// There from the start; later events come while the test runs.
const FIRST_EVENTS: &str = "e.event_id <= 'evt-000002000'";

pub(crate) struct Demo {
    process: Child,
    dir: tempfile::TempDir,
    pg_port: u16,
    http_port: u16,
    greeting: String,
}

impl Demo {
    pub(crate) fn start() -> Self {
        // Readable for others below it: PostgreSQL may have to run as somebody else.
        let dir = tempfile::Builder::new().permissions(mode(0o755)).tempdir().unwrap();
        let (pg_port, http_port) = (free_port(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.arg("demo").arg("--data-dir").arg(dir.path().join("demo"));
        command.args(["--pg-port", &pg_port.to_string(), "--http-port", &http_port.to_string()]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            greeting.push_str(&line);
            greeting.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        assert!(greeting.contains("Ctrl-C"), "the demo did not start: {greeting}");
        Self { process, dir, pg_port, http_port, greeting }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("demo").join(name)
    }

    pub(crate) async fn connect(&self, user: &str) -> Client {
        client(&format!("postgresql://{user}:{user}@127.0.0.1:{}/lakegate", self.pg_port)).await
    }

    /// What one key of a source file says.
    fn said(&self, source: &str, key: &str) -> String {
        let text = std::fs::read_to_string(self.path(&format!("catalog/sources/{source}.toml"))).unwrap();
        match &text.parse::<toml::Table>().unwrap()[key] {
            toml::Value::String(value) => value.clone(),
            other => other.to_string(),
        }
    }

    fn interrupt(&mut self) -> ExitStatus {
        self.signal("INT");
        self.process.wait().unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -$1 $0", &id, name]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.interrupt();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_get_two_correct_answers_of_one_statement() {
    let begin = Instant::now();
    let demo = Demo::start();
    let (admin, analyst) = (demo.connect("admin").await, demo.connect("analyst").await);
    let join = format!(
        "SELECT c.region, e.event_type, count(*), sum(o.total) FROM events.order_events e \
         JOIN sales.orders o ON o.order_id = e.order_id JOIN crm.customers c ON c.customer_id = o.customer_id \
         WHERE {FIRST_EVENTS} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let answer = simple(&admin, &join).await;
    let took = begin.elapsed();
    println!("demo: first answer {:.1} s after its start", took.as_secs_f32());
    assert!(took < FIRST_ANSWER_MAX, "{took:?}");

    let expected = join_by_hand(&demo).await;
    assert_eq!(answer, table(&expected, |_| true));
    assert_eq!(simple(&analyst, &join).await, table(&expected, |region| region == "EU"));

    let copied = "SELECT count(*) FROM lake_crm.customers";
    until(&admin, copied, |now| now.contains("100000")).await;
    let pipelines = "SELECT pipeline, state FROM lakegate.pipelines ORDER BY 1";
    until(&admin, pipelines, |now| now == "customers|streaming\norder_events|streaming\n(2)").await;
    assert_eq!(simple(&analyst, pipelines).await, "(0)", "its errors name tables");
    // The printed statements are the ones that work.
    for user in [&admin, &analyst] {
        for sql in printed(&demo.greeting) {
            let answer = simple(user, &sql).await;
            assert!(!answer.starts_with("ERROR") && answer.lines().count() > 1, "{sql}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_coming_and_an_edit_counts() {
    let demo = Demo::start();
    let (analyst, auditor) = (demo.connect("analyst").await, demo.connect("auditor").await);
    let count = "SELECT count(*) FROM events.order_events";
    let before = simple(&analyst, count).await;
    until(&analyst, count, |now| now != before).await;

    let emails = "SELECT email FROM crm.customers ORDER BY customer_id LIMIT 1";
    let masked = simple(&analyst, emails).await;
    assert!(masked.contains("***"), "{masked}");
    let policy = demo.path("policies/policy.csv");
    let text = std::fs::read_to_string(&policy).unwrap();
    let (mask, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("p3, analysts, crm."));
    assert_eq!(mask.len(), 1);
    std::fs::write(&policy, rest.join("\n")).unwrap();
    let took = until(&analyst, emails, |now| !now.contains("***")).await;
    println!("demo: an edit of policy.csv counted after {} ms", took.as_millis());
    assert!(took < EFFECT_MAX, "{took:?}");

    let hidden = simple(&auditor, "SELECT 1 FROM crm.customers").await;
    assert_eq!(hidden, "ERROR 42P01 relation \"crm.customers\" does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_in_postgres_arrives_in_the_lake() {
    let demo = Demo::start();
    let analyst = demo.connect("analyst").await;
    let (_, rest) = demo.greeting.split_once("--   psql \"").unwrap();
    let (url, rest) = rest.split_once('"').unwrap();
    let (_, rest) = rest.split_once("-c \"").unwrap();
    let (update, _) = rest.split_once('"').unwrap();
    let of_ones_region = "SELECT count(*) FROM lake_crm.customers WHERE name = 'Ada'";
    let whole = "SELECT (SELECT count(*) FROM lake_crm.customers) = (SELECT count(*) FROM crm.customers)";
    until(&analyst, whole, |now| now.lines().any(|line| line.trim() == "t")).await;
    let source = client(url).await;
    source.batch_execute("UPDATE customers SET region = 'EU' WHERE customer_id = 1").await.unwrap();
    source.batch_execute(update).await.unwrap();
    let took = until(&analyst, of_ones_region, |now| now.contains('1')).await;
    println!("demo: an UPDATE arrived after {} ms", took.as_millis());
    source.batch_execute("DELETE FROM customers WHERE customer_id = 1").await.unwrap();
    until(&analyst, of_ones_region, |now| now.contains('0')).await;
}

/// The commit interval of catalog/pipelines/order_events.toml, and what a commit and a look at it may take beside other tests.
const COMMIT_INTERVAL: Duration = Duration::from_secs(10);
const COMMIT_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_catches_up_and_stays_within_its_commit_interval() {
    let demo = Demo::start();
    let analyst = demo.connect("analyst").await;
    let text = std::fs::read_to_string(demo.path("catalog/pipelines/order_events.toml")).unwrap();
    let age = text.parse::<toml::Table>().unwrap()["commit"]["age_ms"].as_integer().unwrap();
    assert_eq!(u128::try_from(age).unwrap(), COMMIT_INTERVAL.as_millis());
    let first = "SELECT count(*), count(DISTINCT event_id) FROM sales.order_events WHERE event_id <= 'evt-000002000'";
    let took = until(&analyst, first, |now| now.starts_with("2000|2000\n")).await;
    println!("demo: 2,000 events in the lake {:.1} s after the first look", took.as_secs_f32());

    // Three times: an event that is in the topic now is in the table one interval later.
    for _ in 0..3 {
        let newest = simple(&analyst, "SELECT max(event_id) FROM events.order_events").await;
        let newest = newest.lines().next().unwrap().to_string();
        let there = format!("SELECT count(*) FROM sales.order_events WHERE event_id = '{newest}'");
        let took = until(&analyst, &there, |now| now.starts_with("1\n")).await;
        println!("demo: an event was in the lake {:.1} s after it was seen in the topic", took.as_secs_f32());
        assert!(took < COMMIT_INTERVAL + COMMIT_MAX, "{took:?}");
    }
    // All of it is as it is in the topic, and nothing twice.
    let all = "SELECT count(*), count(DISTINCT _source || '/' || _position), count(DISTINCT event_id), \
               sum(CASE WHEN e.n = 1 THEN 0 ELSE 1 END) FROM sales.order_events o JOIN \
               (SELECT event_id AS id, amount AS a, count(*) AS n FROM events.order_events GROUP BY 1, 2) e \
               ON e.id = o.event_id AND e.a = o.amount";
    let total = simple(&analyst, "SELECT count(*) FROM sales.order_events").await;
    let total: u64 = total.lines().next().unwrap().parse().unwrap();
    let joined = simple(&analyst, all).await;
    let counts: Vec<u64> = joined.lines().next().unwrap().split('|').map(|n| n.parse().unwrap()).collect();
    assert!(counts[0] >= total && counts[0] == counts[1] && counts[1] == counts[2] && counts[3] == 0, "{joined}");
}

#[test]
fn ctrl_c_leaves_nothing_running() {
    let mut demo = Demo::start();
    assert!(!left(demo.dir.path()).is_empty(), "PostgreSQL does not run, or not in the demo's directory");
    let begin = Instant::now();
    let status = demo.interrupt();
    println!("demo: stopped within {:.1} s", begin.elapsed().as_secs_f32());
    assert!(status.success() && begin.elapsed() < PATIENCE, "{status}");
    assert_eq!(left(demo.dir.path()), Vec::<String>::new());
    for port in [demo.pg_port, demo.http_port] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody listens on {port}");
    }
}

#[test]
fn a_killed_demo_leaves_no_process_and_no_directory() {
    // A temporary directory, so that all of it has to go.
    let home = tempfile::Builder::new().permissions(mode(0o755)).tempdir().unwrap();
    for moment in ["demo: making the sample", "Ctrl-C stops everything"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(["demo", "--pg-port", &free_port().to_string(), "--http-port", &free_port().to_string()]);
        command.env("TMPDIR", home.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for pipe in pipes {
            let said = said.clone();
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|l| said.send(l))
            });
        }
        while !heard.recv_timeout(PATIENCE).unwrap().contains(moment) {}
        assert!(std::fs::read_dir(home.path()).unwrap().count() > 0, "the demo is elsewhere");
        process.kill().unwrap();
        process.wait().unwrap();
        let begin = Instant::now();
        loop {
            let directories: Vec<_> = std::fs::read_dir(home.path()).unwrap().flatten().map(|e| e.path()).collect();
            let processes = left(home.path());
            if directories.is_empty() && processes.is_empty() {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "left after {moment}: {directories:?} {processes:?}");
            std::thread::yield_now();
        }
        println!("demo: killed after \"{moment}\", gone {:.1} s later", begin.elapsed().as_secs_f32());
    }
}

/// Takes minutes, and yields to nobody.
const BURNING: &str =
    "SELECT count(*) FROM generate_series(1,60000) a(x) JOIN generate_series(1,60000) b(y) ON (x*y)%7=3";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once_whatever_runs() {
    let mut demo = Demo::start();
    let mut running = vec![];
    for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
        let client = demo.connect("admin").await;
        running.push(tokio::spawn(async move { client.simple_query(BURNING).await.map(|_| ()) }));
    }
    // They run when they have used more time than a start and logins take.
    let before = cpu_ticks(demo.process.id());
    let begin = Instant::now();
    while cpu_ticks(demo.process.id()) < before + 100 {
        assert!(begin.elapsed() < PATIENCE, "the queries do not run");
        tokio::task::yield_now().await;
    }
    demo.signal("INT");
    let second = Instant::now();
    let status = loop {
        if let Some(status) = demo.process.try_wait().unwrap() {
            break status;
        }
        assert!(second.elapsed() < Duration::from_secs(20), "the process goes on");
        // Two signals in one moment are one to the kernel.
        demo.signal("INT");
    };
    println!("demo: ended {} ms after the second signal", second.elapsed().as_millis());
    assert!(second.elapsed() < Duration::from_secs(10), "{status} after {:?}", second.elapsed());
    for query in running {
        assert!(query.await.unwrap().is_err(), "half an answer was taken for one");
    }
    let begin = Instant::now();
    while !left(demo.dir.path()).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "PostgreSQL outlives the demo: {:?}", left(demo.dir.path()));
    }
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_taken_port_is_an_error_that_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--pg-port", "--http-port"] {
        let other = if flag == "--pg-port" { "--http-port" } else { "--pg-port" };
        let output = Command::new(env!("CARGO_BIN_EXE_lakegate"))
            .args(["demo", flag, &port, other, &free_port().to_string()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(&format!("{flag} {port}")), "{said}");
    }
}

/// Region → event type → (count, hundredths), from the topic, the customers' database and the orders, joined here.
async fn join_by_hand(demo: &Demo) -> BTreeMap<(String, String), (u64, i64)> {
    let crm = format!(
        "postgresql://{}:{}@{}:{}/{}",
        demo.said("crm", "user"),
        demo.said("crm", "password"),
        demo.said("crm", "host"),
        demo.said("crm", "port"),
        demo.said("crm", "database")
    );
    let customers = client(&crm).await.query("SELECT customer_id, region FROM customers", &[]).await.unwrap();
    let regions: HashMap<i64, String> = customers.iter().map(|row| (row.get(0), row.get(1))).collect();
    let auditor = demo.connect("auditor").await;
    let rows = auditor.query("SELECT order_id, customer_id, (total * 100)::int8 FROM sales.orders", &[]).await.unwrap();
    let orders: HashMap<i64, (i64, i64)> = rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();

    let mut joined = BTreeMap::new();
    for event in first_events(&demo.said("events", "brokers"), 2_000) {
        let (customer, total) = orders[&event["order_id"].as_i64().unwrap()];
        let key = (regions[&customer].clone(), event["event_type"].as_str().unwrap().to_string());
        let (count, sum) = joined.entry(key).or_insert((0, 0));
        *count += 1;
        *sum += total;
    }
    joined
}

/// The values of the topic's first `wanted` events, by their ids.
fn first_events(brokers: &str, wanted: usize) -> Vec<serde_json::Value> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "demo-test").create().unwrap();
    let metadata = consumer.fetch_metadata(Some("order_events"), PATIENCE).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset("order_events", partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut events, begin) = (BTreeMap::new(), Instant::now());
    let last = format!("evt-{wanted:09}");
    while events.len() < wanted {
        assert!(begin.elapsed() < PATIENCE, "{} of {wanted} events", events.len());
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let event: serde_json::Value = serde_json::from_slice(message.unwrap().payload().unwrap()).unwrap();
        let id = event["event_id"].as_str().unwrap().to_string();
        if id <= last {
            events.insert(id, event);
        }
    }
    events.into_values().collect()
}

/// As `simple` writes it, of the regions that `sees` lets through.
fn table(joined: &BTreeMap<(String, String), (u64, i64)>, sees: impl Fn(&str) -> bool) -> String {
    let seen: Vec<_> = joined.iter().filter(|((region, _), _)| sees(region)).collect();
    let lines = seen
        .iter()
        .map(|((region, kind), (count, sum))| format!("{region}|{kind}|{count}|{}.{:02}", sum / 100, sum % 100));
    lines.chain([format!("({})", seen.len())]).collect::<Vec<_>>().join("\n")
}

/// The example statements of the greeting.
fn printed(greeting: &str) -> Vec<String> {
    let block = greeting.split("Try, as admin").nth(1).and_then(|rest| rest.split("Edit and watch").next()).unwrap();
    let code: Vec<&str> = block.lines().skip(1).filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements =
        code.join("\n").split(';').map(|s| s.trim().to_string()).filter(|s| !s.is_empty()).collect::<Vec<_>>();
    assert_eq!(statements.len(), 7, "{statements:?}");
    statements
}

/// Command lines of processes that name `dir`.
fn left(dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|p| std::fs::read_to_string(p.path().join("cmdline")).ok());
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.contains(&*dir) && line.contains("postgres")).collect()
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Below those that the system gives to clients: seconds go by before the demo listens there.
fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports = std::iter::repeat_with(|| first + TRIED.fetch_add(1, Ordering::Relaxed) % 2_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn mode(bits: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(bits)
}
