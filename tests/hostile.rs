//! Random hostile statements, sent to a whole server with a second client beside them: deep, wide and doubling ones up to
//! 100 KB, of a grammar that knows what costs. Whatever they are, the process lives, the client is told an SQLSTATE, and
//! the other one goes on. `LAKEGATE_HOSTILE` says how many (200 otherwise), `LAKEGATE_SEED` which; with
//! `LAKEGATE_HOSTILE_SERVER` (a connection string) they go to a server that runs already, and stalls count as faults; with
//! `LAKEGATE_HOSTILE_PID` too (Linux), the most memory that its process held is told for the statements that took most.

mod grammar;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::{Client, NoTls};

use crate::gateway::{Files, Gateway};
use grammar::Grammar;

const STATEMENTS: usize = 200;
const STALL_MAX: Duration = Duration::from_secs(1);
/// How many of the statements that took most memory are told.
const PEAKS: usize = 10;

/// A server's process on this machine, by its number.
struct Process(u64);

impl Process {
    /// The most resident memory since this was last asked (proc(5): `VmHWM`, and 5 to `clear_refs` sets it back).
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).expect("the server lives");
        std::fs::write(format!("/proc/{}/clear_refs", self.0), "5").expect("one's own process");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }
}

/// Where the statements go.
enum Target {
    Own(Box<Gateway>),
    Running(String),
}

impl Target {
    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        match self {
            Self::Own(gateway) => Ok(gateway.connect("eve").await),
            Self::Running(server) => {
                let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_statements_end_in_an_answer_or_an_sqlstate() {
    let seed = number("LAKEGATE_SEED").unwrap_or_else(rand::random);
    let count = number("LAKEGATE_HOSTILE").map_or(STATEMENTS, |n| n as usize);
    println!("LAKEGATE_SEED={seed}");
    let target = match std::env::var("LAKEGATE_HOSTILE_SERVER") {
        Ok(server) => Target::Running(server),
        Err(_) => {
            let files = Files {
                policy: "p, eve, *, select, allow\np2, eve, *, unfiltered\n".into(),
                users: vec![("eve".into(), String::new())],
                settings: "[engine]\nmemory_bytes = 268435456\nstatement_timeout_ms_max = 2000\n".into(),
                ..Files::default()
            };
            Target::Own(Box::new(Gateway::start(&files).await))
        }
    };
    let target = Arc::new(target);
    let done = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(beside(Arc::clone(&target), Arc::clone(&done)));
    let mut grammar = Grammar::new(StdRng::seed_from_u64(seed));
    let mut client = session(&target).await;
    let process = number("LAKEGATE_HOSTILE_PID").map(Process);
    let mut peaks: Vec<(u64, usize, String)> = vec![];
    let (mut told, mut slowest): (BTreeMap<String, usize>, _) = (BTreeMap::new(), (Duration::ZERO, String::new()));
    for n in 0..count {
        let sql = grammar.statement();
        let begin = Instant::now();
        let outcome = match client.simple_query(&sql).await {
            Ok(_) => "answer".to_string(),
            Err(error) => match error.code() {
                Some(code) => code.code().to_string(),
                None => "connection lost".into(),
            },
        };
        let took = begin.elapsed();
        if let Some(process) = &process {
            peaks.push((process.peak_kib(), n, head(&sql)));
            peaks.sort_unstable_by_key(|(kib, ..)| std::cmp::Reverse(*kib));
            peaks.truncate(PEAKS);
        }
        if took > slowest.0 {
            slowest = (took, head(&sql));
        }
        if outcome == "XX000" {
            println!("XX000 of statement {n}: {}", head(&sql));
        }
        if client.is_closed() {
            panic!("statement {n} of LAKEGATE_SEED={seed} cost the connection: {}", head(&sql));
        }
        *told.entry(outcome).or_default() += 1;
        if n % 50 == 49 {
            // sessions end too, with whatever they remember
            client = session(&target).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let stalls = beside.await.unwrap();
    println!("{count} statements: {told:?}; slowest {:?}: {}", slowest.0, slowest.1);
    for (kib, n, sql) in peaks {
        println!("{} MiB while statement {n} ran, {sql}", kib >> 10);
    }
    println!("beside them {} times SELECT 1, p99 {:?}, slowest {:?}", stalls.times, stalls.p99, stalls.slowest);
    assert!(stalls.times > 0);
    if let Target::Running(_) = *target {
        assert!(stalls.slowest <= STALL_MAX, "LAKEGATE_SEED={seed}: another client waited {:?}", stalls.slowest);
    }
}

async fn session(target: &Target) -> Client {
    let client = target.connect().await.expect("the server lives");
    client.batch_execute("SET statement_timeout = '2s'").await.expect("a setting");
    client
}

struct Stalls {
    times: usize,
    p99: Duration,
    slowest: Duration,
}

/// Another client, who asks nothing of the server.
async fn beside(target: Arc<Target>, done: Arc<AtomicBool>) -> Stalls {
    let client = target.connect().await.expect("the server lives");
    let mut took = vec![];
    while !done.load(Ordering::Relaxed) {
        let begin = Instant::now();
        client.simple_query("SELECT 1").await.expect("the other client's statement");
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Stalls { times: took.len(), p99: at(0.99), slowest: took.last().copied().unwrap_or_default() }
}

fn head(sql: &str) -> String {
    let shown: String = sql.chars().take(160).collect();
    format!("{} bytes: {shown}", sql.len())
}
