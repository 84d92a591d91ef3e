//! Arguments → configuration → server. No logic.

mod cli;
mod commands;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use lakegate::config::Config;
use lakegate::ingest::From;
use lakegate::server::{Server, Signals};
use lakegate::{demo, telemetry};

use cli::{Arguments, Command, IngestCommand, Lake, Policy, Topic, User};

/// Gives memory back after a large statement; glibc's arenas keep it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the doors at least: a login, a cancel request and a health check are answered while results are encoded.
const DOOR_THREADS_MIN: usize = 4;
/// Statements are parsed and planned elsewhere, but held, copied and dropped here: with less than `engine::deep` asks for, each
/// of them would map a stack of its own. Virtual, committed page by page.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).max(DOOR_THREADS_MIN);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).thread_name("door").thread_stack_size(STACK_BYTES).enable_all();
    let done = builder.build().context("threads").and_then(|runtime| {
        let done = runtime.block_on(run(arguments));
        // What still holds a thread would hold the process up: the drain has given it its time.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lakegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let load = || {
        let variable = |name: &str| std::env::var(name).ok();
        Config::load(&arguments.config, variable).map_err(|faults| commands::refused(&faults))
    };
    if arguments.print_config {
        print!("{}", load()?.print());
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.command {
        Some(Command::Serve) => Box::pin(serve(load()?)).await,
        Some(Command::Demo(cli::Demo { data_dir, pg_port, http_port })) => {
            Box::pin(demo::run(demo::Options { data_dir, pg_port, http_port }, telemetry::install_recorder()?)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::DemoGuardian) => {
            demo::guardian::guard();
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check) => commands::check(&load()?).await,
        Some(Command::Ingest(cli::Ingest { http_listen, command: None })) => {
            commands::ingest(&load()?, http_listen).await
        }
        Some(Command::Ingest(cli::Ingest { command: Some(command), .. })) => {
            let config = load()?;
            match command {
                IngestCommand::Status => commands::ingest_status(&config).await,
                IngestCommand::Pause { pipeline } => commands::ingest_pause(&config, &pipeline, true).await,
                IngestCommand::Resume { pipeline, from: None } => {
                    commands::ingest_pause(&config, &pipeline, false).await
                }
                IngestCommand::Resume { pipeline, from: Some(from) } => {
                    let from = match from {
                        cli::End::Earliest => From::Earliest,
                        cli::End::Latest => From::Latest,
                        cli::End::Snapshot => From::Snapshot,
                        cli::End::Property => From::Property,
                    };
                    commands::ingest_resume(&config, &pipeline, from).await
                }
                IngestCommand::Run { pipeline } => commands::ingest_run(&config, &pipeline).await,
                IngestCommand::Resync { pipeline } => commands::ingest_resume(&config, &pipeline, From::Anew).await,
                IngestCommand::Replay { pipeline } => commands::ingest_replay(&config, &pipeline).await,
            }
        }
        Some(Command::Lake(Lake::Check { table })) => commands::lake_check(&load()?, &table).await,
        Some(Command::Topic(Topic::Infer { table, topic, print })) => {
            commands::topic_infer(&load()?, &table, topic.as_deref(), print).await
        }
        Some(Command::Policy(Policy::Check { dir, offline, strict, whole })) => match (dir, offline) {
            (Some(dir), true) => commands::check_files(&dir, strict),
            (None, true) => commands::check_files(&load()?.policies_dir, strict),
            (Some(dir), false) => commands::check_policy(&Config { policies_dir: dir, ..load()? }, strict, whole).await,
            (None, false) => commands::check_policy(&load()?, strict, whole).await,
        },
        Some(Command::Policy(Policy::Explain { user, table, verify })) => {
            commands::explain(&load()?, &user, &table, verify).await
        }
        Some(Command::Policy(Policy::Matrix)) => commands::matrix(&load()?).await,
        Some(Command::Policy(Policy::AcceptColumns { table })) => {
            commands::accept_columns(&load()?, table.as_deref()).await
        }
        Some(Command::Policy(Policy::User(User::Add { name }))) => commands::add_user(&load()?, &name),
        None => {
            Arguments::command().print_help().context("help")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The first signal drains, the second does not wait.
async fn serve(config: Config) -> Result<ExitCode> {
    telemetry::init(config.log.format, &config.log.filter)?;
    let mut signals = Signals::listen()?;
    let server = Server::start(&config, telemetry::install_recorder()?).await?;
    signals.next().await;
    let whole = server.drain(signals.next()).await;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
