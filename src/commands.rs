//! `lakegate policy …`, `lakegate ingest …`, `lakegate lake …` and `lakegate check`: asks the library, prints, and picks the exit code. It judges nothing.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, SecondsFormat};
use lakegate::config::{Config, Fault};
use lakegate::ingest::origin::Lag;
use lakegate::ingest::{From, Replayed, Report};
use lakegate::policy::file::Draft;
use lakegate::server::{self, Ingester, Signals};
use lakegate::{policy, telemetry};

/// Doubts, where --strict asked to be told by the exit code.
const DOUBTS: u8 = 2;
/// Casbin and lakegate differ.
const DIFFERENCE: u8 = 3;

pub(crate) async fn check(config: &Config) -> Result<ExitCode> {
    let report = server::check(config).await?;
    print("warning", &report.warnings);
    for source in &report.sources_down {
        println!("note: source \"{source}\" does not answer; what names it was not checked against its tables");
    }
    println!("ok: {} tables and datasets, {} users, {} pipelines", report.tables, report.users, report.pipelines);
    Ok(ExitCode::SUCCESS)
}

/// The files alone: names are not bound to tables.
pub(crate) fn check_files(folder: &Path, strict: bool) -> Result<ExitCode> {
    let (_, warnings) = Draft::read(folder).map_err(|faults| refused(&faults))?;
    print("warning", &warnings);
    println!("ok: {} reads; its names were not compared with a catalog", folder.display());
    Ok(verdict(strict, &warnings))
}

pub(crate) async fn check_policy(config: &Config, strict: bool, whole: bool) -> Result<ExitCode> {
    let report = server::check(config).await?;
    let world = server::world(config).await?;
    if whole {
        let always = policy::Config { judge_ms: u64::MAX };
        let judgement = policy::judge::judge(&world.policies, None, &always).map_err(|faults| refused(&faults))?;
        println!("casbin agrees: {judgement}");
    }
    let doubts = [report.warnings, policy::check::lints(&world.policies)].concat();
    print("warning", &doubts);
    println!("ok: {}", config.policies_dir.display());
    Ok(verdict(strict, &doubts))
}

pub(crate) async fn explain(config: &Config, user: &str, table: &str, verify: bool) -> Result<ExitCode> {
    let world = server::world(config).await?;
    let policies = Arc::clone(&world.policies);
    print!("{}", policy::explain::explain(&policies, user, table)?);
    if !verify {
        return Ok(ExitCode::SUCCESS);
    }
    let (text, agree) = policy::explain::verify(&policies, user, table)?;
    print!("{text}");
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCE) })
}

pub(crate) async fn matrix(config: &Config) -> Result<ExitCode> {
    print!("{}", policy::matrix::matrix(&server::world(config).await?.policies));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn accept_columns(config: &Config, table: Option<&str>) -> Result<ExitCode> {
    let accepted = server::accept_columns(config, table).await?;
    for new in &accepted {
        println!("{}: {}", new.table, new.columns.join(", "));
    }
    if accepted.is_empty() {
        println!("there is no new column");
    }
    Ok(ExitCode::SUCCESS)
}

/// Exit code 1 where something is wrong with the table.
pub(crate) async fn lake_check(config: &Config, table: &str) -> Result<ExitCode> {
    let found = server::lake_check(config, table).await?;
    for fault in &found.faults {
        println!("error: {fault}");
    }
    println!(
        "{}: {table}, {} snapshots, {} manifests, {} data files, {} delete files, {} rows",
        if found.faults.is_empty() { "ok" } else { "damaged" },
        found.snapshots,
        found.manifests,
        found.data_files,
        found.delete_files,
        found.rows,
    );
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Appends a topic's declaration to its source's file, or shows it.
pub(crate) async fn topic_infer(config: &Config, table: &str, topic: Option<&str>, print: bool) -> Result<ExitCode> {
    let (source, table) = table.split_once('.').context("write `source.table`")?;
    let inferred = server::topic_infer(config, source, table, topic.unwrap_or(table)).await?;
    if print {
        print!("{}", inferred.block);
        return Ok(ExitCode::SUCCESS);
    }
    let file = inferred.write()?;
    println!("{source}.{table} is declared in {}: read its columns before you rely on them", file.display());
    Ok(ExitCode::SUCCESS)
}

/// Pipelines alone, without a door for statements. With an address, health and metrics are shown there.
pub(crate) async fn ingest(config: &Config, http: Option<SocketAddr>) -> Result<ExitCode> {
    telemetry::init(config.log.format, &config.log.filter)?;
    let metrics = telemetry::install_recorder()?;
    let mut signals = Signals::listen()?;
    let ingester = Ingester::start(config, http, metrics).await?;
    signals.next().await;
    let whole = ingester.drain(signals.next()).await;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line a table, and below it what is wrong there. Exit code 1 where something is.
pub(crate) async fn ingest_status(config: &Config) -> Result<ExitCode> {
    let reports = server::ingest_status(config).await?;
    let mut sound = true;
    for report in &reports {
        print!("{}", lines(report));
        sound &=
            report.position.is_ok() && report.lag.is_ok() && report.status.as_ref().is_none_or(|s| s.error.is_none());
    }
    if reports.is_empty() {
        println!("there are no pipelines in {}", config.catalog_dir.join("pipelines").display());
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn ingest_pause(config: &Config, pipeline: &str, wanted: bool) -> Result<ExitCode> {
    server::ingest_operations(config).await?.pause(pipeline, wanted).await?;
    println!("{pipeline}: {}", if wanted { "rests once it has committed what was read" } else { "goes on" });
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn ingest_run(config: &Config, pipeline: &str) -> Result<ExitCode> {
    server::ingest_operations(config).await?.pull(pipeline).await?;
    println!("{pipeline}: looks at its table now");
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn ingest_resume(config: &Config, pipeline: &str, from: From) -> Result<ExitCode> {
    for (table, position) in server::ingest_operations(config).await?.resume(pipeline, from).await? {
        println!("{pipeline}: {table} goes on at {position}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn ingest_replay(config: &Config, pipeline: &str) -> Result<ExitCode> {
    for (table, Replayed { rows, resolved, left }) in server::ingest_operations(config).await?.replay(pipeline).await? {
        println!("{pipeline}: {resolved} dead letters became {rows} rows of {table}, {left} still do not fit");
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(report: &Report) -> String {
    let position = match &report.position {
        Ok(position) => position.clone().unwrap_or_else(|| "none".into()),
        Err(error) => error.clone(),
    };
    let lag = match &report.lag {
        Ok(Lag { records, bytes }) => {
            let counted = [(records, "records"), (bytes, "bytes")];
            let said = counted.iter().filter_map(|(n, unit)| n.map(|n| format!("{n} {unit}")));
            said.collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.clone(),
    };
    let when = |ms: i64| DateTime::from_timestamp_millis(ms).map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let last = report.status.as_ref().and_then(|s| s.committed_ms).and_then(when).unwrap_or("none".into());
    let mut text = format!("{} → {}: {}\n", report.pipeline, report.table, report.state());
    text += &format!("  position {position}\n  lag      {lag}\n  last commit {last}\n");
    let status = report.status.as_ref();
    for (word, said) in
        [("error", status.and_then(|s| s.error.as_ref())), ("hint", status.and_then(|s| s.hint.as_ref()))]
    {
        text += &said.map_or(String::new(), |said| format!("  {word}: {said}\n"));
    }
    text
}

pub(crate) fn add_user(config: &Config, name: &str) -> Result<ExitCode> {
    println!("{}", policy::user::user_add(&config.policies_dir, name, &password()?)?);
    Ok(ExitCode::SUCCESS)
}

/// Twice from a terminal, without showing it; once from a pipe.
fn password() -> Result<String> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().read_line(&mut line).context("the password")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_string());
    }
    let first = rpassword::prompt_password("Password: ").context("the password")?;
    if rpassword::prompt_password("Once more: ").context("the password")? != first {
        bail!("the two passwords differ");
    }
    Ok(first)
}

fn print(word: &str, faults: &[Fault]) {
    for fault in faults {
        println!("{word}: {fault}");
    }
}

fn verdict(strict: bool, doubts: &[Fault]) -> ExitCode {
    if strict && !doubts.is_empty() { ExitCode::from(DOUBTS) } else { ExitCode::SUCCESS }
}

/// Each fault on its own line.
pub(crate) fn refused(faults: &[Fault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("refused\n{}", lines.join("\n"))
}
