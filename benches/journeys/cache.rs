//! What a dashboard pays for an answer that is known already: a hit of the result cache beside PostgreSQL's `select 1`,
//! the cheapest statement there is, and a bare echo over loopback, the least that any server costs. One connection:
//! latency; 64 connections: statements per second. Expected: parsing, planning and guarding a small aggregate takes some
//! 300 µs, so a hit is several times `select 1`, and one core gives 3,000 of them a second.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::client::{Client, Format, Login};
use crate::gateway::{Gateway, Lake};
use crate::measure::{Process, Series};
use crate::report::{number, spread, table};
use crate::result::{postgres_family, postgres_login, version};
use crate::{Scale, postgres_server, shop};

const ROWS: u64 = 1_000_000;
const DASHBOARD: &str = "SELECT status, count(*) AS orders, sum(total) AS revenue FROM shop.orders \
                         WHERE express GROUP BY status ORDER BY status";
const CONNECTIONS: usize = 64;
/// Of one turn on one connection, and of one turn on all.
const TURN: Duration = Duration::from_secs(2);

/// One of those that are compared.
struct Contender {
    name: &'static str,
    login: Login,
    process: Process,
    sql: &'static str,
    prepared: bool,
}

/// What was found of a contender: one value a turn.
#[derive(Default)]
struct Found {
    p50: Series,
    p99: Series,
    each_cpu: Series,
    rate: Series,
    busy_cpu: Series,
}

pub fn run(scale: Scale) -> Result<String> {
    let (filling, rows) = (Runtime::new()?, scale.of(ROWS));
    let gateway = filling.block_on(async {
        let lake = Lake::new("shop").await?;
        lake.fill(&shop::name(), shop::schema(), shop::batches(rows)).await?;
        lake.serve()
    })?;
    let postgres = filling.block_on(postgres_server::Server::start());
    let version = filling.block_on(version(&postgres_login(&postgres)))?;
    let contenders = contenders(&gateway, &postgres)?;
    // Clients on one thread, as few switches as can be.
    let clients = Builder::new_current_thread().enable_all().build()?;
    let turn = TURN.mul_f64(scale.factor.clamp(0.1, 1.0));
    let mut found: Vec<Found> = contenders.iter().map(|_| Found::default()).collect();
    let mut echo = Found::default();
    let echo_address = echo_server()?;
    for round in 0..=scale.rounds {
        for at in 0..contenders.len() {
            let at = (round + at) % contenders.len();
            let mut warm_up = Found::default();
            let into = if round == 0 { &mut warm_up } else { &mut found[at] };
            let hits = hits(&gateway, &contenders[at])?;
            let asked = clients.block_on(turns(&contenders[at], turn, into))?;
            ensure_hits(&gateway, &contenders[at], hits, asked, round)?;
        }
        clients.block_on(echoes(echo_address, turn, &mut echo))?;
    }
    Ok(section(&contenders, &found, &echo, &format!("{rows} rows, {} turns", scale.rounds), &version))
}

fn contenders(gateway: &Gateway, postgres: &postgres_server::Server) -> Result<Vec<Contender>> {
    let ours = |name, sql, prepared| {
        let login = gateway.login.clone();
        Contender { name, login, process: gateway.running.process(), sql, prepared }
    };
    let family = postgres_family(postgres)?;
    let theirs = |name, sql, prepared| {
        let login = postgres_login(postgres);
        Contender { name, login, process: family, sql, prepared }
    };
    Ok(vec![
        ours("lakegate, hit", DASHBOARD, false),
        ours("lakegate, hit, prepared", DASHBOARD, true),
        ours("lakegate, `select 1`", "select 1", false),
        theirs("PostgreSQL, `select 1` (peer)", "select 1", false),
        theirs("PostgreSQL, `select 1`, prepared (peer)", "select 1", true),
    ])
}

/// One turn on one connection and one on all; the statements asked.
async fn turns(contender: &Contender, turn: Duration, found: &mut Found) -> Result<u64> {
    let mut client = Asker::connect(contender).await?;
    let (cpu, begin) = (contender.process.cpu()?, Instant::now());
    let mut each = Series::default();
    while begin.elapsed() < turn {
        let asked = Instant::now();
        client.ask().await?;
        each.0.push(asked.elapsed().as_secs_f64());
    }
    let alone = each.0.len() as u64;
    found.p50.0.push(each.median());
    found.p99.0.push(each.quantile(0.99));
    found.each_cpu.0.push((contender.process.cpu()? - cpu) / alone as f64);

    let mut all = vec![];
    for _ in 0..CONNECTIONS {
        all.push(Asker::connect(contender).await?);
    }
    let (cpu, begin) = (contender.process.cpu()?, Instant::now());
    let asking = all.iter_mut().map(|client| async move {
        let mut count = 0u64;
        while begin.elapsed() < turn {
            client.ask().await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    let together: u64 = futures::future::try_join_all(asking).await?.into_iter().sum();
    found.rate.0.push(together as f64 / begin.elapsed().as_secs_f64());
    found.busy_cpu.0.push((contender.process.cpu()? - cpu) / together as f64);
    Ok(alone + together)
}

/// A connection with its question.
struct Asker {
    client: Client,
    sql: &'static str,
    prepared: bool,
}

impl Asker {
    async fn connect(contender: &Contender) -> Result<Self> {
        let mut client = Client::connect(&contender.login).await?;
        if contender.prepared {
            client.prepare(contender.sql).await?;
        }
        Ok(Self { client, sql: contender.sql, prepared: contender.prepared })
    }

    async fn ask(&mut self) -> Result<()> {
        let answer = match self.prepared {
            true => self.client.execute(Format::Binary).await?,
            false => self.client.simple(self.sql).await?,
        };
        ensure!(answer.rows > 0, "no rows");
        Ok(())
    }
}

fn is_cached(contender: &Contender) -> bool {
    contender.sql == DASHBOARD
}

fn hits(gateway: &Gateway, contender: &Contender) -> Result<f64> {
    if is_cached(contender) { gateway.running.counter("lakegate_result_cache_hits_total") } else { Ok(0.0) }
}

/// Every statement but the very first was a hit.
fn ensure_hits(gateway: &Gateway, contender: &Contender, before: f64, asked: u64, round: usize) -> Result<()> {
    if is_cached(contender) {
        let hits = hits(gateway, contender)? - before;
        let missed = asked as f64 - hits;
        ensure!(missed <= if round == 0 { 1.0 } else { 0.0 }, "{hits} of {asked} statements were hits");
    }
    Ok(())
}

fn section(contenders: &[Contender], found: &[Found], echo: &Found, size: &str, version: &str) -> String {
    let line = |name: &str, found: &Found, server: bool| {
        let or_dash = |text: String| if server { text } else { "–".to_string() };
        vec![
            name.to_string(),
            spread(&found.p50, 1e6),
            spread(&found.p99, 1e6),
            or_dash(number(found.each_cpu.median() * 1e6)),
            or_dash(spread(&found.rate, 1.0)),
            or_dash(number(found.busy_cpu.median() * 1e6)),
        ]
    };
    let mut lines: Vec<Vec<String>> = contenders.iter().zip(found).map(|(c, f)| line(c.name, f, true)).collect();
    lines.push(line("echo over loopback (limit)", echo, false));
    let head = ["by", "p50 µs", "p99 µs", "server CPU µs each", "statements/s at 64", "server CPU µs each at 64"];
    let over = |figure: fn(&Found) -> f64| figure(&found[0]) / figure(&found[3]);
    format!(
        "An aggregate ({size}) that the result cache answers, found in `/metrics` to be a hit each time, beside \
         PostgreSQL {version} and `select 1`; simple protocol unless prepared, loopback, no TLS. A hit takes {:.1} times \
         the time of PostgreSQL's `select 1` at the median, {:.1} times at p99, and gives {:.2} of its statements per \
         second at 64 connections.\n\n{}",
        over(|f| f.p50.median()),
        over(|f| f.p99.median()),
        over(|f| f.rate.median()),
        table(&head, &lines)
    )
}

/// Answers each byte with a byte.
fn echo_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut byte = [0];
            let _ = stream.set_nodelay(true);
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        }
    });
    Ok(address)
}

async fn echoes(address: SocketAddr, turn: Duration, found: &mut Found) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("our own echo")?;
    stream.set_nodelay(true)?;
    let (mut each, begin) = (Series::default(), Instant::now());
    while begin.elapsed() < turn {
        let asked = Instant::now();
        stream.write_all(b"?").await?;
        stream.read_u8().await?;
        each.0.push(asked.elapsed().as_secs_f64());
    }
    found.p50.0.push(each.median());
    found.p99.0.push(each.quantile(0.99));
    Ok(())
}
