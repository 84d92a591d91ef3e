//! What an append costs when a table has had 10, 100 and 1,000 of them: a thousand rows a commit, by an INSERT through
//! the wire and by lakegate's lake writer itself, beside PyIceberg's `append` and beside the least that any Iceberg commit
//! must do: four files and one compare-and-swap in SQLite. Expected: a few milliseconds over that floor, growing with the
//! size of the metadata file (some 400 bytes a snapshot) and of the manifest list.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lakegate::sources::{Table, Writer};
use lakegate::types::TableName;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Scale;
use crate::client::Client;
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Process, Series, Taken};
use crate::peer::Peer;
use crate::report::{spread, table, times};

const ROWS: i64 = 1_000;
/// Commits that the table has had, and how many after that are measured.
const MARKS: [usize; 3] = [10, 100, 1_000];
const MEASURED: usize = 20;
/// Data file, manifest, manifest list and table metadata of such a commit at 100 snapshots, in bytes.
const FLOOR_FILES: [usize; 4] = [14_000, 7_000, 12_000, 60_000];
const ARMS: usize = 4;

pub fn run(scale: Scale) -> Result<String> {
    let runtime = Runtime::new()?;
    let (gateway, own) = runtime.block_on(lakes())?;
    let mut client = runtime.block_on(Client::connect(&gateway.login))?;
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut iceberg = Peer::start()?;
    iceberg.ask(&json!({ "do": "iceberg_open", "dir": dir.path().join("pyiceberg"), "rows": ROWS }))?;
    let mut floor = Peer::start()?;
    floor.ask(&json!({ "do": "floor_open", "dir": dir.path().join("floor") }))?;
    let batch = batch()?;

    let insert = format!(
        "INSERT INTO bench.appended SELECT i, timestamptz '2024-01-01 00:00:00Z', 'view', i * 0.01 FROM generate_series(0, {}) AS g(i)",
        ROWS - 1
    );
    let (sql, writer, files) = (insert.as_str(), Arc::clone(&own.writer), FLOOR_FILES);
    let planned = runtime.block_on(own.table(&name()))?;
    let arms = [
        Arm::timed("lakegate, INSERT", gateway.running.process(), || runtime.block_on(client.simple(sql)).map(|_| ())),
        Arm::timed("lakegate, lake writer", Process::Ours, || {
            runtime.block_on(append(&writer, planned.as_ref(), &batch))
        }),
        Arm::telling("PyIceberg (peer)", || iceberg.time(&json!({ "do": "iceberg_append" }))),
        Arm::telling("four files and a swap (limit)", || floor.time(&json!({ "do": "floor_commit", "files": files }))),
    ];
    let marks: Vec<usize> = MARKS.into_iter().filter(|m| *m as f64 <= 1_000.0 * scale.factor.max(0.1)).collect();
    let names = [0, 1, 2, 3].map(|at| arms[at].name);
    let taken = commits(arms, &marks)?;
    let version = iceberg.version("pyiceberg")?;
    let commits = marks.last().map_or(0, |last| last + MEASURED);
    let kept = iceberg.ask(&json!({ "do": "iceberg_count" }))?;
    ensure!(kept["snapshots"] == json!(commits), "PyIceberg has made {kept}");
    runtime.block_on(async {
        let rows = Client::connect(&gateway.login).await?.rows("SELECT count(*) FROM bench.appended").await?;
        ensure!(rows == vec![vec![Some((commits as i64 * ROWS).to_string())]], "lakegate has {rows:?}");
        Ok(())
    })?;
    Ok(section(&names, &marks, &taken, &version))
}

/// All commit in turn; `taken[mark][arm]`.
fn commits(mut arms: [Arm<'_>; ARMS], marks: &[usize]) -> Result<Vec<Vec<Vec<Taken>>>> {
    let mut taken = vec![vec![vec![]; ARMS]; marks.len()];
    for number in 0..marks.last().map_or(0, |last| last + MEASURED) {
        for turn in 0..ARMS {
            let at = (number + turn) % ARMS;
            let one = arms[at].once()?;
            for (mark, taken) in marks.iter().zip(&mut taken) {
                if (*mark..mark + MEASURED).contains(&number) {
                    taken[at].push(one);
                }
            }
        }
        if number % 100 == 99 {
            eprintln!("commit {}", number + 1);
        }
    }
    Ok(taken)
}

fn section(names: &[&str; ARMS], marks: &[usize], taken: &[Vec<Vec<Taken>>], version: &str) -> String {
    let mut lines = vec![];
    for (mark, taken) in marks.iter().zip(taken) {
        let seconds = |at: usize| Series(taken[at].iter().map(|t| t.seconds).collect());
        for (at, name) in names.iter().enumerate() {
            // Hundredths of a second do not tell one commit: all of them together.
            let cpu = taken[at].iter().map(|t| t.cpu).sum::<f64>() / taken[at].len() as f64;
            lines.push(vec![
                mark.to_string(),
                name.to_string(),
                spread(&seconds(at), 1e3),
                format!("{:.1}", cpu * 1e3),
                times(seconds(1).median() / seconds(at).median()),
            ]);
        }
    }
    let head = ["after commits", "by", "ms", "CPU ms each", "lake writer ÷ it"];
    format!(
        "An append of {ROWS} rows of four columns to an unpartitioned table, {MEASURED} appends from each mark on; below 1 \
         lakegate is the faster. Catalog in SQLite, files on a local disk, nobody syncs files; lakegate's SQLite syncs its \
         log at each commit, as the limit's does; PyIceberg {version} with SQLAlchemy's defaults.\n\n{}",
        table(&head, &lines)
    )
}

/// One lake behind a server, another for the writer alone.
async fn lakes() -> Result<(Gateway, Lake)> {
    let (behind, own) = (Lake::new("bench").await?, Lake::new("bench").await?);
    for lake in [&behind, &own] {
        lake.writer.create_table(&name(), schema(), Default::default(), None).await?;
    }
    Ok((behind.serve()?, own))
}

async fn append(writer: &Arc<dyn Writer>, planned: &dyn Table, batch: &RecordBatch) -> Result<()> {
    let rows = futures::stream::iter([Ok(batch.clone())]);
    let rows = writer.append(planned, Box::pin(RecordBatchStreamAdapter::new(schema(), rows))).await?;
    ensure!(rows == ROWS as u64, "{rows} rows were written");
    Ok(())
}

fn name() -> TableName {
    TableName::new("bench", "appended")
}

fn schema() -> SchemaRef {
    let of = |name: &str, of: DataType| Field::new(name, of, true);
    Arc::new(Schema::new(vec![
        of("id", DataType::Int64),
        of("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        of("kind", DataType::Utf8),
        of("amount", DataType::Decimal128(12, 2)),
    ]))
}

fn batch() -> Result<RecordBatch> {
    let at = (0..ROWS).map(|i| 1_700_000_000_000_000 + i * 1_000);
    let amount = Decimal128Array::from_iter_values((0..ROWS).map(|i| i128::from(i % 10_000)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..ROWS)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| ["view", "click", "buy"][(i % 3) as usize]))),
        Arc::new(amount.with_precision_and_scale(12, 2)?),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
