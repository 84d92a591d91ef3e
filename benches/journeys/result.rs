//! A large result to one client: five million rows of ten columns from an Iceberg table, beside PostgreSQL with the same
//! rows in a heap table, in text and in binary. What counts is rows per second of the server's CPU: the client takes a
//! share of the same cores. Expected: decoding Parquet costs about 0.5 µs a row, encoding ten values as much again, so
//! about a million rows per CPU second; PostgreSQL forms about as many.

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use crate::client::{Client, Format, Login};
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Process, interleave, ratio};
use crate::plain::Plain;
use crate::report::{number, spread, table, times};
use crate::{Scale, postgres_server, shop};

const ROWS: u64 = 5_000_000;
const SQL: &str = "SELECT * FROM shop.orders";

pub fn run(scale: Scale) -> Result<String> {
    let (runtime, rows) = (Runtime::new()?, scale.of(ROWS));
    let gateway = runtime.block_on(lake(rows))?;
    let plain = Plain::over(&[("orders", gateway.lake.files(&shop::name())?)])?;
    let postgres = runtime.block_on(database(rows))?;
    let login = postgres_login(&postgres);
    let family = postgres_family(&postgres)?;
    let version = runtime.block_on(version(&login))?;

    let mut lines = vec![];
    for (format, word) in [(Format::Text, "text"), (Format::Binary, "binary")] {
        let bytes = runtime.block_on(equal(&gateway.login, &login, format, rows))?;
        let mut ours = runtime.block_on(uncached(&gateway.login))?;
        let mut theirs = runtime.block_on(Client::connect(&login))?;
        let counted = |answer: crate::client::Answer| ensure_rows(answer.rows, rows);
        let measured = interleave(
            scale.rounds,
            vec![
                Arm::timed("lakegate", gateway.running.process(), || {
                    counted(runtime.block_on(ours.extended(SQL, format))?)
                }),
                Arm::timed("PostgreSQL (peer)", family, || counted(runtime.block_on(theirs.extended(SQL, format))?)),
                Arm::timed("DataFusion, rows thrown away (limit)", Process::Ours, || {
                    ensure_rows(plain.drain("SELECT * FROM orders")?, rows)
                }),
            ],
        )?;
        for arm in &measured {
            let encoded = if arm.name.starts_with("DataFusion") { "–".to_string() } else { number(bytes) };
            lines.push(vec![
                word.to_string(),
                arm.name.to_string(),
                spread(&arm.seconds, 1.0),
                spread(&arm.cpu, 1.0),
                number(rows as f64 / arm.cpu.median()),
                encoded,
                times(ratio(&arm.cpu, &measured[0].cpu)),
            ]);
        }
    }
    let head =
        ["format", "by", "seconds", "server CPU s", "rows per CPU s", "bytes a row", "lakegate ÷ it, rows per CPU s"];
    Ok(format!(
        "{rows} rows of ten columns (int8, int8, timestamptz, date, text, text, int4, numeric(12,2), float8, bool), \
         extended protocol, one connection on loopback without TLS, to a client that counts rows and looks at none; above \
         1 lakegate is the faster. {} turns. Before, every row's bytes were found equal on both servers. Warm caches, result cache \
         off. PostgreSQL {version}, default settings but `shared_buffers = 1GB`, `fsync = off`.\n\n{}",
        scale.rounds,
        table(&head, &lines)
    ))
}

async fn lake(rows: u64) -> Result<Gateway> {
    let lake = Lake::new("shop").await?;
    lake.fill(&shop::name(), shop::schema(), shop::batches(rows)).await?;
    lake.serve()
}

async fn database(rows: u64) -> Result<postgres_server::Server> {
    let postgres = postgres_server::Server::with(&["shared_buffers=1GB", "timezone=UTC", "max_wal_size=8GB"]).await;
    // One at a time: VACUUM will not stand in a transaction.
    for statement in shop::in_postgres(rows).split(';') {
        postgres.run(statement).await;
    }
    Ok(postgres)
}

pub async fn uncached(login: &Login) -> Result<Client> {
    let mut client = Client::connect(login).await?;
    client.simple("SET lakegate.cache = off").await?;
    client.simple("SET timezone = 'UTC'").await?;
    Ok(client)
}

/// Both servers send the same rows, byte for byte; the bytes of one row.
async fn equal(ours: &Login, theirs: &Login, format: Format, rows: u64) -> Result<f64> {
    let a = uncached(ours).await?.summed(SQL, format).await?;
    let b = Client::connect(theirs).await?.summed(SQL, format).await?;
    ensure!(a == b && a.rows == rows, "{format:?}: the rows differ: {a:?} and {b:?}");
    Ok(a.bytes as f64 / a.rows as f64)
}

fn ensure_rows(came: u64, expected: u64) -> Result<()> {
    ensure!(came == expected, "{came} rows, not {expected}");
    Ok(())
}

pub fn postgres_login(server: &postgres_server::Server) -> Login {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.port));
    Login { address, user: "postgres", password: "sesame", database: "postgres" }
}

pub fn postgres_family(server: &postgres_server::Server) -> Result<Process> {
    let file = std::path::Path::new(&server.socket()).join("data/postmaster.pid");
    let text = std::fs::read_to_string(file)?;
    Ok(Process::Family(text.lines().next().unwrap_or_default().parse()?))
}

pub async fn version(login: &Login) -> Result<String> {
    let rows = Client::connect(login).await?.rows("SHOW server_version").await?;
    let version = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    Ok(version.split(' ').next().unwrap_or_default().to_string())
}
