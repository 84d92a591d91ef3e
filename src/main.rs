//! Arguments → configuration → server. No logic.

mod cli;

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{CommandFactory, Parser};
use lakegate::config::Config;
use lakegate::server::{self, Server, Signals};
use lakegate::{demo, telemetry};

use cli::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.context("threads").and_then(|runtime| runtime.block_on(run(arguments)));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lakegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.print_config {
        print!("{}", load(&arguments)?.print());
        return Ok(ExitCode::SUCCESS);
    }
    match &arguments.command {
        Some(Command::Serve) => serve(load(&arguments)?).await,
        Some(Command::Check) => check(load(&arguments)?).await,
        Some(Command::Demo(options)) => {
            let cli::Demo { data_dir, pg_port, http_port } = options.clone();
            demo::run(demo::Options { data_dir, pg_port, http_port }, telemetry::install_recorder()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Policy(_)) => todo!(),
        None => Err(anyhow!("{}", Arguments::command().render_help())),
    }
}

fn load(arguments: &Arguments) -> Result<Config> {
    let faults = match Config::load(&arguments.config, |name| std::env::var(name).ok()) {
        Ok(config) => return Ok(config),
        Err(faults) => faults,
    };
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Err(anyhow!("the configuration is refused\n{}", lines.join("\n")))
}

async fn serve(config: Config) -> Result<ExitCode> {
    telemetry::init(config.log.format, &config.log.filter)?;
    let mut signals = Signals::listen()?;
    let server = Server::start(&config, telemetry::install_recorder()?).await?;
    signals.next().await;
    let whole = server.drain(signals.next()).await;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(config: Config) -> Result<ExitCode> {
    let report = server::check(&config).await?;
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for source in &report.sources_down {
        println!("note: source \"{source}\" does not answer; what names it was not checked against its tables");
    }
    println!("ok: {} tables and datasets, {} users", report.tables, report.users);
    Ok(ExitCode::SUCCESS)
}
