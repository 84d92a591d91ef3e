//! `lakegate policy …` and `lakegate check`: asks the library, prints, and picks the exit code. It judges nothing.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lakegate::config::{Config, Fault};
use lakegate::policy;
use lakegate::policy::file::Draft;
use lakegate::server;

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
    println!("ok: {} tables and datasets, {} users", report.tables, report.users);
    Ok(ExitCode::SUCCESS)
}

/// The files alone: names are not bound to tables.
pub(crate) fn check_files(folder: &Path, strict: bool) -> Result<ExitCode> {
    let (_, warnings) = Draft::read(folder).map_err(|faults| refused(&faults))?;
    print("warning", &warnings);
    println!("ok: {} reads; its names were not compared with a catalog", folder.display());
    Ok(verdict(strict, &warnings))
}

pub(crate) async fn check_policy(config: &Config, strict: bool) -> Result<ExitCode> {
    let report = server::check(config).await?;
    let world = server::world(config).await?;
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
    let (text, agree) = policy::explain::verify(&policies, user, table).await?;
    print!("{text}");
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCE) })
}

pub(crate) async fn matrix(config: &Config) -> Result<ExitCode> {
    print!("{}", policy::matrix::matrix(&server::world(config).await?.policies));
    Ok(ExitCode::SUCCESS)
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
