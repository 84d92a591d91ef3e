//! What becomes of a table that is written a row a commit, with the keeper on, as it is for every table that lakegate makes:
//! what an INSERT costs, how large the metadata file is, how many files lie there and how many bytes, what planning costs
//! and what a warm look-up of one row. Expected: flat. Without a keeper each of them grows with the commits, and the bytes
//! with their square.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use crate::Scale;
use crate::client::Client;
use crate::gateway::{Gateway, Lake};
use crate::measure::Series;
use crate::report::{spread, table, times};

/// Commits that the table has had.
const MARKS: [usize; 4] = [10, 100, 1_000, 5_000];
/// The commits before a mark, and the questions after it, that are measured.
const MEASURED: usize = 50;

/// The table at one mark.
struct Mark {
    commits: usize,
    insert: Series,
    look_up: Series,
    planning: Series,
    metadata_bytes: u64,
    files: usize,
    bytes: u64,
}

pub fn run(scale: Scale) -> Result<String> {
    let runtime = Runtime::new()?;
    let gateway = runtime.block_on(async { Lake::new("bench").await?.serve() })?;
    let mut client = runtime.block_on(Client::connect(&gateway.login))?;
    runtime.block_on(
        client.simple("CREATE TABLE bench.grown (id bigint, at timestamptz, kind text, amount numeric(12, 2))"),
    )?;
    let marks: Vec<usize> = MARKS.into_iter().filter(|m| *m as f64 <= 5_000.0 * scale.factor.max(0.02)).collect();
    let mut taken: Vec<f64> = vec![];
    let mut at_marks = vec![];
    for commit in 1..=marks.last().copied().unwrap_or(0) {
        let insert = format!("INSERT INTO bench.grown VALUES ({commit}, now(), 'view', 1.5)");
        taken.push(timed(&runtime, &mut client, &insert)?);
        if marks.contains(&commit) {
            at_marks.push(mark(&runtime, &gateway, &mut client, commit, &taken)?);
            eprintln!("commit {commit}");
        }
    }
    let count = runtime.block_on(client.rows("SELECT count(*) FROM bench.grown"))?;
    ensure!(
        count == vec![vec![Some(taken.len().to_string())]],
        "{} rows were written and there are {count:?}",
        taken.len()
    );
    Ok(section(&at_marks))
}

fn timed(runtime: &Runtime, client: &mut Client, sql: &str) -> Result<f64> {
    let began = Instant::now();
    runtime.block_on(client.simple(sql))?;
    Ok(began.elapsed().as_secs_f64())
}

fn mark(runtime: &Runtime, gateway: &Gateway, client: &mut Client, commits: usize, taken: &[f64]) -> Result<Mark> {
    // Another row each time: a question that was asked before is answered from the result cache.
    let look_up = |turn: usize| format!("SELECT * FROM bench.grown WHERE id = {}", turn * 7_919 % commits + 1);
    let explain = |turn: usize| format!("EXPLAIN {}", look_up(turn));
    // The first ones read what the others find in memory.
    let measured = |client: &mut Client, sql: &dyn Fn(usize) -> String| -> Result<Series> {
        let all = (0..MEASURED + 2).map(|turn| timed(runtime, client, &sql(turn))).collect::<Result<Vec<_>>>()?;
        Ok(Series(all.into_iter().skip(2).collect()))
    };
    let (metadata_bytes, files, bytes) = gateway.lake.kept("grown")?;
    Ok(Mark {
        commits,
        insert: Series(taken[taken.len().saturating_sub(MEASURED)..].to_vec()),
        look_up: measured(client, &look_up)?,
        planning: measured(client, &explain)?,
        metadata_bytes,
        files,
        bytes,
    })
}

fn section(marks: &[Mark]) -> String {
    let lines: Vec<Vec<String>> = marks
        .iter()
        .map(|mark| {
            let first = &marks[0];
            vec![
                mark.commits.to_string(),
                spread(&mark.insert, 1e3),
                times(mark.insert.median() / first.insert.median()),
                spread(&mark.look_up, 1e3),
                times(mark.look_up.median() / first.look_up.median()),
                spread(&mark.planning, 1e3),
                format!("{:.0}", mark.metadata_bytes as f64 / 1e3),
                mark.files.to_string(),
                format!("{:.1}", mark.bytes as f64 / 1e6),
            ]
        })
        .collect();
    let head =
        ["commits", "INSERT ms", "÷ first", "look-up ms", "÷ first", "EXPLAIN ms", "metadata KB", "files", "MB kept"];
    format!(
        "One row a commit by INSERT, one after the other and as fast as they go; the keeper of the same process keeps the \
         table meanwhile. Files wait some seconds for their deletion, so that what is kept depends on the pace.\n\n{}",
        table(&head, &lines)
    )
}
