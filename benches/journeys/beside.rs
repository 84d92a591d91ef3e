//! What others feel while sixteen clients run TPC-H q1, q3 and q6 one after the other: somebody who logs in, asks `select 1`,
//! looks one order up and asks `/healthz`, again and again, beside the same on an idle server. Expected: a few milliseconds
//! more than idle for all of them, since short statements go ahead of long ones and doors have threads of their own; a
//! look-up reads a file's footer and one row group, so it takes what these take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use crate::Scale;
use crate::client::{Client, Login};
use crate::gateway::{Gateway, Running};
use crate::measure::Series;
use crate::report::{number, table};
use crate::tpch;

const CLIENTS: usize = 16;
/// Between two rounds of the one who asks.
const PAUSE: Duration = Duration::from_millis(20);

/// Seconds that each took.
#[derive(Default)]
struct Felt {
    login: Series,
    select_1: Series,
    look_up: Series,
    healthz: Series,
}

pub fn run(scale: Scale) -> Result<String> {
    let runtime = Runtime::new()?;
    let gateway = runtime.block_on(tpch::lake(scale.factor))?.serve()?;
    let seconds = Duration::from_secs(scale.of(60).clamp(5, 60));
    let idle = felt(&runtime, &gateway, seconds / 4)?;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..CLIENTS)
        .map(|n| runtime.spawn(loaded(gateway.login.clone(), n, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    // the first answers are there: the load is a load
    while done.load(Ordering::Relaxed) < CLIENTS as u64 {
        ensure!(load.iter().all(|l| !l.is_finished()), "a client of the load ended");
        std::thread::sleep(PAUSE);
    }
    let (begin, before) = (Instant::now(), done.load(Ordering::Relaxed));
    let beside = felt(&runtime, &gateway, seconds)?;
    let rate = (done.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in load {
        runtime.block_on(client)??;
    }
    Ok(section(&idle, &beside, rate, scale))
}

async fn loaded(login: Login, first: usize, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Result<()> {
    let mut client = tpch::connect(&login).await?;
    for number in [1, 3, 6].into_iter().cycle().skip(first) {
        let sql = tpch::query(number)?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ensure!(client.simple(&sql).await?.rows > 0, "no rows");
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn felt(runtime: &Runtime, gateway: &Gateway, seconds: Duration) -> Result<Felt> {
    let mut felt = Felt::default();
    let (mut client, begin) = (runtime.block_on(tpch::connect(&gateway.login))?, Instant::now());
    for n in 0.. {
        if begin.elapsed() > seconds {
            break;
        }
        runtime.block_on(round(&mut client, gateway, n, &mut felt))?;
        timed(&mut felt.healthz, || healthy(&gateway.running))?;
        std::thread::sleep(PAUSE);
    }
    Ok(felt)
}

async fn round(client: &mut Client, gateway: &Gateway, n: u64, felt: &mut Felt) -> Result<()> {
    let begin = Instant::now();
    Client::connect(&gateway.login).await?;
    felt.login.0.push(begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    ensure!(client.simple("select 1").await?.rows == 1, "one row");
    felt.select_1.0.push(begin.elapsed().as_secs_f64());
    // keys are sparse in TPC-H: the first eight of each thirty-two
    let key = (n * 7919) % 1_000 * 32 + 1;
    let begin = Instant::now();
    let sql = format!("select o_totalprice from orders where o_orderkey = {key}");
    ensure!(client.simple(&sql).await?.rows == 1, "one order {key}");
    felt.look_up.0.push(begin.elapsed().as_secs_f64());
    Ok(())
}

fn healthy(running: &Running) -> Result<()> {
    ensure!(running.get("/healthz")?.ends_with("ok\n"), "/healthz");
    Ok(())
}

fn timed(series: &mut Series, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    work()?;
    series.0.push(begin.elapsed().as_secs_f64());
    Ok(())
}

fn section(idle: &Felt, beside: &Felt, rate: f64, scale: Scale) -> String {
    let line = |name: &str, idle: &Series, beside: &Series| {
        let figures =
            [idle.median(), idle.quantile(0.99), beside.median(), beside.quantile(0.95), beside.quantile(0.99)];
        let figures = figures.map(|seconds| number(seconds * 1e3));
        [name.to_string()].into_iter().chain(figures).chain([beside.0.len().to_string()]).collect::<Vec<_>>()
    };
    let lines = [
        line("login", &idle.login, &beside.login),
        line("`select 1`", &idle.select_1, &beside.select_1),
        line("one order by its key", &idle.look_up, &beside.look_up),
        line("`/healthz`", &idle.healthz, &beside.healthz),
    ];
    let head = ["asked", "idle p50 ms", "idle p99 ms", "beside p50 ms", "beside p95 ms", "beside p99 ms", "times"];
    format!(
        "One client beside {CLIENTS} that run TPC-H q1, q3 and q6 (scale factor {}, result cache off) as fast as they \
         are answered, {} of them a second; the clients share the server's cores.\n\n{}",
        scale.factor,
        number(rate),
        table(&head, &lines)
    )
}
