//! Figures as Markdown: a section a journey, the last whole run of each kept in `RESULTS.md` with the machine it ran on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::Scale;
use crate::measure::Series;

const HEAD: &str = "# Results

The last whole run of each journey of `./x bench`, as it printed them. All arms of a table ran turn by turn in one run on
the machine named under it; the client shares that machine's cores with the server. `12.3 (11.9–14.0)` is the median and
the range over all turns. Ratios are medians of the turns' own ratios, so they hold better than the figures themselves on
a machine that does something else besides.
";

/// Prints the section and, at full scale, keeps it in place of the last one.
pub fn publish(name: &str, text: &str, scale: Scale) -> Result<()> {
    let section = format!("## {name}\n\n{}\n\n{}\n", text.trim_end(), machine(scale));
    println!("\n{section}");
    if scale.factor < 1.0 {
        eprintln!("scale {}: not kept", scale.factor);
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut sections: Vec<(String, String)> = old
        .split("\n## ")
        .skip(1)
        .filter_map(|s| Some((s.split('\n').next()?.to_string(), format!("## {}\n", s.trim_end()))))
        .collect();
    match sections.iter_mut().find(|(kept, _)| kept == name) {
        Some(kept) => kept.1 = section,
        None => sections.push((name.to_string(), section)),
    }
    let order = |name: &str| crate::JOURNEYS.iter().position(|(journey, _)| *journey == name);
    sections.sort_by_key(|(name, _)| order(name));
    let sections: Vec<String> = sections.into_iter().map(|(_, text)| text).collect();
    fs::write(path, format!("{HEAD}\n{}", sections.join("\n")))?;
    Ok(())
}

/// A table whose columns stand in line in a plain editor too.
pub fn table(head: &[&str], lines: &[Vec<String>]) -> String {
    let cell = |line: &[String], at: usize| line.get(at).map_or(0, |c| c.chars().count());
    let widths: Vec<usize> = (0..head.len())
        .map(|at| lines.iter().map(|line| cell(line, at)).chain([head[at].chars().count()]).max().unwrap_or(0))
        .collect();
    let row = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = row(head.to_vec()) + row(rule.iter().map(String::as_str).collect()).as_str();
    for line in lines {
        text += row(line.iter().map(String::as_str).collect()).as_str();
    }
    text
}

/// `median (low–high)` after `scaled`.
pub fn spread(series: &Series, scaled: f64) -> String {
    let figure = |value: f64| number(value * scaled);
    format!("{} ({}–{})", figure(series.median()), figure(series.low()), figure(series.high()))
}

/// Three digits that say something; thousands apart.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.0} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn machine(scale: Scale) -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(':'));
        line.map(|(_, value)| value.trim().to_string()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&file("/proc/meminfo"), "MemTotal");
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / (1 << 20);
    let processor = field(&file("/proc/cpuinfo"), "model name");
    let load = file("/proc/loadavg").split(' ').nth(1).unwrap_or_default().to_string();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
    };
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    let changed = said("git", &["status", "--porcelain", "--", ".", ":!benches/RESULTS.md"]);
    let version = said("git", &["rev-parse", "--short", "HEAD"]) + if changed.is_empty() { "" } else { " and changes" };
    let rustc = said("rustc", &["--version"]);
    let rustc = rustc.split(' ').nth(1).unwrap_or_default();
    format!(
        "Scale {}. {cores} cores of {processor}, {memory} GiB, load of five minutes {load}; lakegate {version} \
         built by rustc {rustc}, {}; {date}.",
        scale.factor,
        versions()
    )
}

/// What peers and libraries call themselves, as the lock file has them.
fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let of = |name: &str| {
        let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        after.split_once('"').map(|(version, _)| format!("{name} {version}"))
    };
    ["datafusion", "rdkafka"].into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
}
