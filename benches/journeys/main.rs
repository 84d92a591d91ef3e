//! The end-to-end measurements: each journey runs lakegate's optimised binary, its peer and, where there is one, the
//! limit that neither can pass, turn by turn in one run, so that whatever else the machine does falls on all of them
//! alike. It judges nothing: figures go to standard output and to `RESULTS.md`, where a reader compares.
//!
//! `./x bench [NAME]` runs it. `LAKEGATE_BENCH_SCALE` makes the data smaller for a look at whether everything works
//! (0.01); only runs of at least full scale are kept.
#![allow(unreachable_pub)]

mod beside;
mod cache;
mod client;
mod commit;
mod gateway;
mod growth;
mod language;
mod measure;
mod peer;
mod pipeline;
mod plain;
#[allow(dead_code)] // the tests' own private server, of which a measurement needs less than a test
#[path = "../../tests/postgres_server.rs"]
mod postgres_server;
mod reflections;
mod report;
mod result;
mod shop;
mod tpch;

use anyhow::{Context, Result, bail};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// 1: what the journey's page says.
    pub factor: f64,
    /// Turns of each arm, after one that is not counted.
    pub rounds: usize,
}

impl Scale {
    /// `whole` at scale 1, never nothing.
    pub fn of(&self, whole: u64) -> u64 {
        ((whole as f64 * self.factor) as u64).max(1)
    }
}

type Journey = fn(Scale) -> Result<String>;

/// In the order in which they run.
const JOURNEYS: [(&str, Journey); 9] = [
    ("tpch", tpch::run),
    ("language", language::run),
    ("beside", beside::run),
    ("result", result::run),
    ("cache", cache::run),
    ("commit", commit::run),
    ("growth", growth::run),
    ("reflections", reflections::run),
    ("pipeline", pipeline::run),
];

fn main() -> Result<()> {
    // cargo adds `--bench` to whatever it was given.
    let names: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    for name in &names {
        if !JOURNEYS.iter().any(|(journey, _)| journey == name) {
            bail!("no journey is called {name}; there are {}", JOURNEYS.map(|(n, _)| n).join(", "));
        }
    }
    let factor = match std::env::var("LAKEGATE_BENCH_SCALE") {
        Ok(text) => text.parse::<f64>().with_context(|| format!("LAKEGATE_BENCH_SCALE={text} is not a number"))?,
        Err(_) => 1.0,
    };
    let scale = Scale { factor, rounds: if factor < 0.2 { 3 } else { 7 } };
    for (name, journey) in JOURNEYS {
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        eprintln!("== {name}, scale {factor}");
        let text = journey(scale).with_context(|| format!("journey {name}"))?;
        report::publish(name, &text, scale)?;
    }
    Ok(())
}
