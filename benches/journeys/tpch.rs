//! TPC-H q1, q3 and q6 over Iceberg tables, through the wire, beside DataFusion itself and DuckDB on the same Parquet
//! files. Expected: within a tenth of DataFusion, since both run the same operators; what is ours on top (parsing,
//! guarding, reading metadata, encoding four rows) is milliseconds. Found: so for q3 and q6; q1 groups by two strings, which
//! DataFusion by itself reads as views and lakegate as plain strings, and that alone is its fifth. The result cache is off.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use arrow::record_batch::RecordBatchReader;
use lakegate::types::TableName;
use serde_json::json;
use tokio::runtime::Runtime;
use tpchgen::generators::{CustomerGenerator, LineItemGenerator, OrderGenerator};
use tpchgen::q_and_a::QueryAndAnswer;
use tpchgen_arrow::{CustomerArrow, LineItemArrow, OrderArrow};

use crate::Scale;
use crate::client::{Client, Login};
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Process, interleave, ratio};
use crate::peer::Peer;
use crate::plain::Plain;
use crate::report::{spread, table, times};

/// With the parameters of the specification's validation run, for which the answers are known.
pub const QUERIES: [(i32, &str, &str); 3] = [
    (
        1,
        "q1",
        "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price,
           sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
           sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
           avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc,
           count(*) AS count_order
         FROM lineitem WHERE l_shipdate <= date '1998-12-01' - interval '90 days'
         GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus",
    ),
    (
        3,
        "q3",
        "SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
         FROM customer, orders, lineitem
         WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
           AND o_orderdate < date '1995-03-15' AND l_shipdate > date '1995-03-15'
         GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate LIMIT 10",
    ),
    (
        6,
        "q6",
        "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem
         WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01'
           AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
];
const TABLES: [&str; 3] = ["customer", "orders", "lineitem"];

type Rows = Vec<Vec<Option<String>>>;

/// The three arms, ready to be asked.
struct Stage {
    runtime: Runtime,
    gateway: Gateway,
    plain: Plain,
    duckdb: Peer,
}

pub fn run(scale: Scale) -> Result<String> {
    let mut stage = Stage::set(scale.factor)?;
    let mut lines = vec![];
    for (number, name, sql) in QUERIES {
        stage.check(number, sql, scale).with_context(|| name)?;
        let Stage { runtime, gateway, plain, duckdb } = &mut stage;
        let mut client = runtime.block_on(connect(&gateway.login))?;
        let theirs = json!({ "do": "duckdb_query", "sql": sql });
        let measured = interleave(
            scale.rounds,
            vec![
                Arm::timed("lakegate", gateway.running.process(), || runtime.block_on(client.simple(sql)).map(|_| ())),
                Arm::timed("DataFusion (limit)", Process::Ours, || plain.collect(sql).map(|_| ())),
                Arm::telling("DuckDB (peer)", || duckdb.time(&theirs)),
            ],
        )?;
        for arm in &measured {
            lines.push(vec![
                name.to_string(),
                arm.name.to_string(),
                spread(&arm.seconds, 1e3),
                spread(&arm.cpu, 1e3),
                times(ratio(&measured[0].seconds, &arm.seconds)),
                times(ratio(&measured[0].cpu, &arm.cpu)),
            ]);
        }
    }
    let head = ["query", "by", "ms", "CPU ms", "lakegate ÷ it, time", "lakegate ÷ it, CPU"];
    let checked = if scale.factor == 1.0 { ", and to the answers that TPC-H publishes" } else { "" };
    Ok(format!(
        "TPC-H at scale factor {}, tables written by lakegate into Iceberg on local files; below 1 lakegate is the \
         faster. {} turns, warm page cache, result cache off. The answers of the three are equal{checked}. DuckDB {}.\n\n{}",
        scale.factor,
        scale.rounds,
        stage.duckdb.version("duckdb")?,
        table(&head, &lines)
    ))
}

impl Stage {
    fn set(factor: f64) -> Result<Self> {
        let runtime = Runtime::new()?;
        let lake = runtime.block_on(lake(factor))?;
        let files: Vec<(&str, Vec<PathBuf>)> =
            TABLES.into_iter().map(|t| Ok((t, lake.files(&TableName::new("tpch", t))?))).collect::<Result<_>>()?;
        let plain = Plain::over(&files)?;
        let mut duckdb = Peer::start()?;
        let tables: serde_json::Map<_, _> = files.iter().map(|(t, files)| (t.to_string(), json!(files))).collect();
        let threads = std::thread::available_parallelism()?.get();
        duckdb.ask(&json!({ "do": "duckdb_open", "tables": tables, "threads": threads }))?;
        Ok(Self { runtime, gateway: lake.serve()?, plain, duckdb })
    }

    /// A figure for a wrong answer would be worth nothing.
    fn check(&mut self, number: i32, sql: &str, scale: Scale) -> Result<()> {
        let ours = self.runtime.block_on(async { connect(&self.gateway.login).await?.rows(sql).await })?;
        ensure!(!ours.is_empty() || scale.factor < 0.1, "no rows");
        alike(&ours, &self.plain.rows(sql)?, 1e-9).context("beside DataFusion")?;
        // Averages of decimals are floats there, and cut off after six digits here.
        alike(&ours, &self.duckdb.rows(sql)?, 1e-4).context("beside DuckDB")?;
        if scale.factor == 1.0 {
            let known = QueryAndAnswer::new(number, 1.0).map_err(anyhow::Error::msg)?;
            let lines = known.answer().trim().lines().skip(1);
            let value = |cell: &str| Some(cell.trim().to_string());
            let known: Rows = lines.map(|line| line.split('|').map(value).collect()).collect();
            // Published with two digits after the point.
            alike(&ours, &known, 0.11).context("beside the published answer")?;
            ensure!(near(&ours, &known), "beside the published answer: {ours:?}");
        }
        Ok(())
    }
}

/// The three tables, before a server.
pub async fn lake(factor: f64) -> Result<Lake> {
    let lake = Lake::new("tpch").await?;
    write(&lake, "customer", CustomerArrow::new(CustomerGenerator::new(factor, 1, 1))).await?;
    write(&lake, "orders", OrderArrow::new(OrderGenerator::new(factor, 1, 1))).await?;
    write(&lake, "lineitem", LineItemArrow::new(LineItemGenerator::new(factor, 1, 1))).await?;
    Ok(lake)
}

/// Logged in, without the result cache.
pub async fn connect(login: &Login) -> Result<Client> {
    let mut client = Client::connect(login).await?;
    client.simple("SET lakegate.cache = off").await?;
    client.simple("SET search_path = tpch").await?;
    Ok(client)
}

async fn write<G>(lake: &Lake, name: &str, rows: G) -> Result<()>
where
    G: RecordBatchReader + Send + 'static,
{
    let schema = rows.schema();
    lake.fill(&TableName::new("tpch", name), schema, rows).await?;
    Ok(())
}

/// Equal as text, or as numbers that differ by no more than this part of them.
fn alike(ours: &Rows, theirs: &Rows, part: f64) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{} rows, not {}", theirs.len(), ours.len());
    for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
        let close = match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= part * a.abs().max(b.abs()),
            _ => a == b,
        };
        ensure!(close, "{a:?} is not {b:?}");
    }
    Ok(())
}

/// Numbers within half of their last printed digit, and a little.
fn near(ours: &Rows, theirs: &Rows) -> bool {
    let mut pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    pairs.all(|(a, b)| match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.01,
        _ => a == b,
    })
}

fn number(cell: &Option<String>) -> Option<f64> {
    cell.as_ref()?.parse().ok()
}
