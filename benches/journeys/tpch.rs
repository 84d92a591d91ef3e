//! TPC-H's 22 queries over Iceberg tables, through the wire, beside DataFusion itself and DuckDB on the same Parquet
//! files. Expected: within a twentieth of DataFusion, since both run the same operators; what is ours on top (parsing,
//! guarding, reading metadata, encoding a few rows) is milliseconds. The result cache is off.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use arrow::record_batch::RecordBatchReader;
use lakegate::types::TableName;
use serde_json::json;
use tokio::runtime::Runtime;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen::q_and_a::{QueryAndAnswer, queries};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::Scale;
use crate::client::{Client, Login};
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Process, interleave, ratio};
use crate::peer::Peer;
use crate::plain::Plain;
use crate::report::{spread, table, times};

/// What stands for `:1 …` in each query of the specification in its validation run, for which the answers are known; and
/// how many rows it gives.
const PARAMETERS: [(&[&str], Option<usize>); 22] = [
    (&["90"], None),
    (&["15", "BRASS", "EUROPE"], Some(100)),
    (&["BUILDING", "1995-03-15"], Some(10)),
    (&["1993-07-01"], None),
    (&["ASIA", "1994-01-01"], None),
    (&["1994-01-01", "0.06", "24"], None),
    (&["FRANCE", "GERMANY"], None),
    (&["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"], None),
    (&["green"], None),
    (&["1993-10-01"], Some(20)),
    (&["GERMANY", "0.0001"], None),
    (&["MAIL", "SHIP", "1994-01-01"], None),
    (&["special", "requests"], None),
    (&["1995-09-01"], None),
    (&["1996-01-01"], None),
    (&["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"], None),
    (&["Brand#23", "MED BOX"], None),
    (&["300"], Some(100)),
    (&["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"], None),
    (&["forest", "1994-01-01", "CANADA"], None),
    (&["SAUDI ARABIA"], Some(100)),
    (&["13", "31", "23", "29", "30", "18", "17"], None),
];
const TABLES: [&str; 8] = ["customer", "orders", "lineitem", "nation", "part", "partsupp", "region", "supplier"];

/// A query of the specification as it is asked.
pub fn query(number: usize) -> Result<String> {
    let (parameters, rows) = PARAMETERS.get(number - 1).with_context(|| format!("there is no q{number}"))?;
    let template = queries::query(i32::try_from(number)?).context("a query of the specification")?;
    // the longest numbers first: `:1` begins `:10`
    let filled = (1..=parameters.len())
        .rev()
        .fold(template.to_string(), |text, n| text.replace(&format!(":{n}"), parameters[n - 1]));
    // an interval's precision is of the days' digits, which PostgreSQL does not know
    let filled = filled.replace(" day (3)", " day");
    let filled = match filled.split_once("create view revenue:s ") {
        Some((_, view)) => {
            let (body, rest) = view.split_once(';').context("the view's end")?;
            let (columns, body) = body.split_once(" as").context("the view's body")?;
            let (asked, _) = rest.split_once(';').context("the query's end")?;
            format!("with revenue {columns} as ({body}) {}", asked.replace("revenue:s", "revenue"))
        }
        None => filled.trim_end().trim_end_matches(';').to_string(),
    };
    Ok(rows.map_or(filled.clone(), |rows| format!("{filled} limit {rows}")))
}

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
    let (mut of_ours, mut of_datafusion) = (0.0, 0.0);
    for number in 1..=PARAMETERS.len() {
        let (name, sql) = (format!("q{number}"), query(number)?);
        let sql = sql.as_str();
        stage.check(number, sql, scale).with_context(|| name.clone())?;
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
        of_ours += measured[0].cpu.median();
        of_datafusion += measured[1].cpu.median();
        for arm in &measured {
            lines.push(vec![
                name.clone(),
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
         faster. {} turns, warm page cache, result cache off. The answers of the three are equal{checked}. All 22 take {} of \
         DataFusion's CPU. DuckDB {}.\n\n{}",
        scale.factor,
        scale.rounds,
        times(of_ours / of_datafusion),
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
    fn check(&mut self, number: usize, sql: &str, scale: Scale) -> Result<()> {
        let ours = self.runtime.block_on(async { connect(&self.gateway.login).await?.rows(sql).await })?;
        ensure!(!ours.is_empty() || scale.factor < 0.1, "no rows");
        alike(&ours, &self.plain.rows(sql)?, 1e-9).context("beside DataFusion")?;
        // Averages of decimals are floats there, and cut off after six digits here.
        alike(&ours, &self.duckdb.rows(sql)?, 1e-4).context("beside DuckDB")?;
        if scale.factor == 1.0 {
            let known = QueryAndAnswer::new(i32::try_from(number)?, 1.0).map_err(anyhow::Error::msg)?;
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

/// The tables, before a server.
pub async fn lake(factor: f64) -> Result<Lake> {
    let lake = Lake::new("tpch").await?;
    write(&lake, "customer", CustomerArrow::new(CustomerGenerator::new(factor, 1, 1))).await?;
    write(&lake, "orders", OrderArrow::new(OrderGenerator::new(factor, 1, 1))).await?;
    write(&lake, "lineitem", LineItemArrow::new(LineItemGenerator::new(factor, 1, 1))).await?;
    write(&lake, "nation", NationArrow::new(NationGenerator::new(factor, 1, 1))).await?;
    write(&lake, "part", PartArrow::new(PartGenerator::new(factor, 1, 1))).await?;
    write(&lake, "partsupp", PartSuppArrow::new(PartSuppGenerator::new(factor, 1, 1))).await?;
    write(&lake, "region", RegionArrow::new(RegionGenerator::new(factor, 1, 1))).await?;
    write(&lake, "supplier", SupplierArrow::new(SupplierGenerator::new(factor, 1, 1))).await?;
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
pub fn alike(ours: &Rows, theirs: &Rows, part: f64) -> Result<()> {
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
