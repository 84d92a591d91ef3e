//! What a dashboard pays where a reflection answers, at three sizes of the table and as many groups at each: beside the
//! same questions to a table that holds the roll-up's rows, the least that a reflection could take, and beside DuckDB over
//! the base table's files. Expected: the roll-up's own time and a millisecond for matching, whatever the table's size.
//! Then a refresh by the rows that came beside the first one, which read all, and what planning costs where a table has
//! two hundred reflections. The result cache is off.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use lakegate::types::TableName;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Scale;
use crate::client::Client;
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Measured, Series, interleave, ratio};
use crate::peer::Peer;
use crate::report::{number, spread, table, times};
use crate::tpch::alike;

const SIZES: [u64; 3] = [1_000_000, 10_000_000, 100_000_000];
const BATCH_ROWS: u64 = 64 * 1024;
const STATUSES: [&str; 4] = ["new", "paid", "shipped", "returned"];
/// 2024-01-01.
const FIRST_DAY: i32 = 19_723;
const REFLECTION: &str = "-- owner: bench\nCREATE REFLECTION rolled ON shop.sales USING DIMENSIONS (sold_on, status, product) \
                          MEASURES (COUNT(*), SUM(total)) REFRESH MANUAL;\n";
const ROLL_UP: &str = "CREATE TABLE shop.rolled AS SELECT sold_on, status, product, count(*) AS n, sum(total) AS total \
                       FROM shop.sales GROUP BY sold_on, status, product";
/// A hundredth of the rows again.
const CAME: &str = "INSERT INTO shop.sales SELECT sold_on, status, product, total FROM shop.sales WHERE total < 1000";
const REFLECTIONS: usize = 200;

/// A question, and the same to the roll-up's table.
const QUESTIONS: [(&str, &str, &str); 5] = [
    (
        "by status",
        "SELECT status, count(*) AS sales, sum(total) AS revenue FROM shop.sales GROUP BY status ORDER BY status",
        "SELECT status, sum(n) AS sales, sum(total) AS revenue FROM shop.rolled GROUP BY status ORDER BY status",
    ),
    (
        "by month",
        "SELECT date_trunc('month', sold_on)::date AS month, sum(total) FROM shop.sales GROUP BY 1 ORDER BY 1",
        "SELECT date_trunc('month', sold_on)::date AS month, sum(total) FROM shop.rolled GROUP BY 1 ORDER BY 1",
    ),
    (
        "best of a quarter",
        "SELECT product, sum(total) AS revenue FROM shop.sales WHERE sold_on >= DATE '2024-03-01' \
         AND sold_on < DATE '2024-06-01' GROUP BY product ORDER BY revenue DESC, product LIMIT 10",
        "SELECT product, sum(total) AS revenue FROM shop.rolled WHERE sold_on >= DATE '2024-03-01' \
         AND sold_on < DATE '2024-06-01' GROUP BY product ORDER BY revenue DESC, product LIMIT 10",
    ),
    (
        "average of one status",
        "SELECT product, avg(total) FROM shop.sales WHERE status = 'paid' GROUP BY product ORDER BY product",
        "SELECT product, sum(total) / sum(n) FROM shop.rolled WHERE status = 'paid' GROUP BY product ORDER BY product",
    ),
    ("total", "SELECT count(*), sum(total) FROM shop.sales", "SELECT sum(n), sum(total) FROM shop.rolled"),
];

/// What was found at one size.
struct Size {
    rows: u64,
    questions: Vec<Vec<Measured>>,
    /// Seconds of the refresh that read all, and of those that read what came.
    whole: f64,
    growth: Series,
}

pub fn run(scale: Scale) -> Result<String> {
    let runtime = Runtime::new()?;
    let mut sizes = vec![];
    for rows in SIZES {
        sizes.push(size(&runtime, scale.of(rows), scale)?);
        eprintln!("{rows} rows");
    }
    let crowd = crowd(&runtime, scale)?;
    Ok(format!(
        "Five questions of a dashboard over sales by day, status and product ({} groups at each size), answered from a \
         reflection; {} turns, warm page cache, result cache off. Before, every answer was found equal to DuckDB's over the \
         base table and to the roll-up's, and its EXPLAIN to name the reflection. From {} rows to {} the five take {} times.\n\n{}\n\n\
         A refresh that reads all, once, and after a hundredth of the rows came, by these alone (of three).\n\n{}\n\n{crowd}",
        29_200,
        scale.rounds,
        number(sizes[0].rows as f64),
        number(sizes[2].rows as f64),
        times(together(&sizes[2]) / together(&sizes[0])),
        questions(&sizes),
        refreshes(&sizes),
    ))
}

fn together(size: &Size) -> f64 {
    size.questions.iter().map(|arms| arms[0].seconds.median()).sum()
}

fn size(runtime: &Runtime, rows: u64, scale: Scale) -> Result<Size> {
    let name = TableName::new("shop", "sales");
    let lake = runtime.block_on(async {
        let lake = Lake::new("shop").await?;
        lake.fill(&name, schema(), (0..rows).step_by(BATCH_ROWS as usize).map(move |from| batch(from, rows))).await?;
        anyhow::Ok(lake)
    })?;
    lake.describe("reflections/rolled.sql", REFLECTION)?;
    let (files, gateway) = (lake.files(&name)?, lake.serve()?);
    let mut duckdb = Peer::start()?;
    let threads = std::thread::available_parallelism()?.get();
    duckdb.ask(&json!({ "do": "duckdb_open", "tables": { "sales": files }, "threads": threads }))?;
    let mut client = runtime.block_on(connect(&gateway))?;
    runtime.block_on(client.simple(ROLL_UP))?;
    let whole = timed(runtime, &mut client, "REFRESH REFLECTION rolled")?;
    let mut questions = vec![];
    for (name, asked, rolled) in QUESTIONS {
        let theirs = asked.replace("shop.sales", "sales");
        check(runtime, &mut client, &mut duckdb, [asked, rolled, theirs.as_str()])?;
        let theirs = json!({ "do": "duckdb_query", "sql": theirs });
        let mut beside = runtime.block_on(connect(&gateway))?;
        let process = gateway.running.process();
        let arms = vec![
            Arm::timed("reflection", process, || runtime.block_on(client.simple(asked)).map(|_| ())),
            Arm::timed("roll-up by name (limit)", process, || runtime.block_on(beside.simple(rolled)).map(|_| ())),
            Arm::telling("DuckDB over the base (peer)", || duckdb.time(&theirs)),
        ];
        eprintln!("{rows} rows: {name}");
        questions.push(interleave(scale.rounds, arms)?);
    }
    let mut growth = Series::default();
    for _ in 0..3 {
        runtime.block_on(client.simple(CAME))?;
        growth.0.push(timed(runtime, &mut client, "REFRESH REFLECTION rolled")?);
    }
    check_grown(runtime, &mut client)?;
    Ok(Size { rows, questions, whole, growth })
}

async fn connect(gateway: &Gateway) -> Result<Client> {
    let mut client = Client::connect(&gateway.login).await?;
    client.simple("SET lakegate.cache = off").await?;
    Ok(client)
}

fn timed(runtime: &Runtime, client: &mut Client, sql: &str) -> Result<f64> {
    let began = Instant::now();
    runtime.block_on(client.simple(sql))?;
    Ok(began.elapsed().as_secs_f64())
}

/// Three ways to one answer, and the first by the reflection.
fn check(runtime: &Runtime, client: &mut Client, duckdb: &mut Peer, [asked, rolled, theirs]: [&str; 3]) -> Result<()> {
    let ours = runtime.block_on(client.rows(asked))?;
    ensure!(!ours.is_empty(), "no rows: {asked}");
    alike(&ours, &runtime.block_on(client.rows(rolled))?, 1e-9)?;
    alike(&ours, &duckdb.rows(theirs)?, 1e-4)?;
    let plan = runtime.block_on(client.rows(&format!("EXPLAIN VERBOSE {asked}")))?;
    ensure!(plan.iter().flatten().flatten().any(|line| line.contains("Reflection: rolled")), "{plan:?}");
    Ok(())
}

/// What grew is what the table is.
fn check_grown(runtime: &Runtime, client: &mut Client) -> Result<()> {
    let (_, asked, _) = QUESTIONS[0];
    let from_it = runtime.block_on(client.rows(asked))?;
    runtime.block_on(client.simple("SET lakegate.reflections = off"))?;
    let from_base = runtime.block_on(client.rows(asked))?;
    ensure!(from_it == from_base, "{from_it:?} is not {from_base:?}");
    Ok(())
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sold_on", DataType::Date32, true),
        Field::new("status", DataType::Utf8, true),
        Field::new("product", DataType::Int32, true),
        Field::new("total", DataType::Decimal128(12, 2), true),
    ]))
}

fn batch(from: u64, rows: u64) -> Result<RecordBatch, ArrowError> {
    let each = || from as i64..rows.min(from + BATCH_ROWS) as i64;
    let cents = Decimal128Array::from_iter_values(each().map(|i| i128::from(i * 31 % 10_000_000)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(each().map(|i| FIRST_DAY + (i / 7 % 365) as i32))),
        Arc::new(StringArray::from_iter_values(each().map(|i| STATUSES[(i % 4) as usize]))),
        Arc::new(Int32Array::from_iter_values(each().map(|i| (i / 3 % 20) as i32))),
        Arc::new(cents.with_precision_and_scale(12, 2)?),
    ];
    RecordBatch::try_new(schema(), columns)
}

fn questions(sizes: &[Size]) -> String {
    let mut lines = vec![];
    for size in sizes {
        for ((name, ..), arms) in QUESTIONS.iter().zip(&size.questions) {
            for arm in arms {
                lines.push(vec![
                    number(size.rows as f64),
                    name.to_string(),
                    arm.name.to_string(),
                    spread(&arm.seconds, 1e3),
                    spread(&arm.cpu, 1e3),
                    times(ratio(&arms[0].seconds, &arm.seconds)),
                    times(ratio(&arms[0].cpu, &arm.cpu)),
                ]);
            }
        }
    }
    table(&["rows", "question", "by", "ms", "CPU ms", "reflection ÷ it, time", "reflection ÷ it, CPU"], &lines)
}

fn refreshes(sizes: &[Size]) -> String {
    let line = |size: &Size| {
        let rows = number(size.rows as f64);
        vec![rows, number(size.whole * 1e3), spread(&size.growth, 1e3), times(size.growth.median() / size.whole)]
    };
    let lines: Vec<Vec<String>> = sizes.iter().map(line).collect();
    table(&["rows", "whole ms", "by what came ms", "÷ whole"], &lines)
}

/// A statement over a table of one row that has no reflection, one that none of two hundred answers, and one that each of
/// them could.
fn crowd(runtime: &Runtime, scale: Scale) -> Result<String> {
    let lake = runtime.block_on(async {
        let lake = Lake::new("shop").await?;
        for table in ["alone", "crowded"] {
            lake.fill(&TableName::new("shop", table), schema(), std::iter::once(batch(0, 1))).await?;
        }
        anyhow::Ok(lake)
    })?;
    for n in 0..REFLECTIONS {
        let text = format!(
            "-- owner: bench\nCREATE REFLECTION r{n} REFRESH MANUAL AS SELECT status, product, count(*), sum(total) \
             FROM shop.crowded WHERE product < {} GROUP BY status, product;\n",
            1_000 + n
        );
        lake.describe(&format!("reflections/r{n}.sql"), &text)?;
    }
    let gateway = lake.serve()?;
    let mut client = runtime.block_on(connect(&gateway))?;
    for n in 0..REFLECTIONS {
        runtime.block_on(client.simple(&format!("REFRESH REFLECTION r{n}")))?;
    }
    let of = |table: &str, most: usize| {
        format!("SELECT status, sum(total) FROM shop.{table} WHERE product < {most} GROUP BY status")
    };
    // no reflection has rows of products from 2,000 on; all have those below 1,000
    let asked = [
        ("no reflection names the table", of("alone", 1_900)),
        ("200 do and none answers", of("crowded", 1_900)),
        ("200 do and each could", of("crowded", 900)),
    ];
    let mut clients = vec![];
    for _ in &asked {
        clients.push(runtime.block_on(connect(&gateway))?);
    }
    let arm = |((name, sql), mut client): (&(&'static str, String), Client)| {
        let (sql, process) = (sql.clone(), gateway.running.process());
        // another text each time, so that no plan is remembered
        let mut turn = 0;
        Arm::timed(name, process, move || {
            turn += 1;
            runtime.block_on(client.simple(&format!("{sql} -- {turn}"))).map(|_| ())
        })
    };
    let measured = interleave(scale.rounds, asked.iter().zip(clients).map(arm).collect())?;
    let line = |arm: &Measured| {
        let more = (arm.seconds.median() - measured[0].seconds.median()) * 1e3;
        vec![arm.name.to_string(), spread(&arm.seconds, 1e3), spread(&arm.cpu, 1e3), number(more)]
    };
    let lines: Vec<Vec<String>> = measured.iter().map(line).collect();
    Ok(format!(
        "A statement over a table of one row, its text another one each time.\n\n{}",
        table(&["reflections", "ms", "CPU ms", "ms more than without"], &lines)
    ))
}
