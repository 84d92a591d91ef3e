//! Turns, medians and CPU seconds. It knows nothing of what is measured.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

/// USER_HZ, in which `/proc` counts; 100 on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// A turn is repeated until it lasts at least this long: CPU is counted in hundredths of a second.
const TURN_SECONDS_MIN: f64 = 0.6;

/// Whose CPU is counted.
#[derive(Clone, Copy, Debug)]
pub enum Process {
    /// One process with all its threads.
    One(u32),
    /// A process and its children, those that ended included: PostgreSQL and its backends.
    Family(u32),
    /// This one.
    Ours,
}

/// What one run of an arm took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    pub seconds: f64,
    pub cpu: f64,
}

/// One of those that are compared.
pub struct Arm<'a> {
    pub name: &'static str,
    run: Box<dyn FnMut() -> Result<Taken> + 'a>,
}

impl<'a> Arm<'a> {
    /// Measured from outside: the clock, and the CPU that `process` used meanwhile.
    pub fn timed(name: &'static str, process: Process, mut work: impl FnMut() -> Result<()> + 'a) -> Self {
        let run = move || {
            let (cpu, begin) = (process.cpu()?, Instant::now());
            work()?;
            Ok(Taken { seconds: begin.elapsed().as_secs_f64(), cpu: process.cpu()? - cpu })
        };
        Self { name, run: Box::new(run) }
    }

    /// Measures itself.
    pub fn telling(name: &'static str, run: impl FnMut() -> Result<Taken> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }

    pub fn once(&mut self) -> Result<Taken> {
        (self.run)().with_context(|| self.name)
    }
}

/// Numbers of one kind, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f64>);

impl Series {
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value at or above `q` of all others.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n => sorted[((n - 1) as f64 * q).round() as usize],
        }
    }

    pub fn low(&self) -> f64 {
        self.quantile(0.0)
    }

    pub fn high(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// Each arm's turns.
pub struct Measured {
    pub name: &'static str,
    pub seconds: Series,
    pub cpu: Series,
}

/// Runs the arms turn by turn, each round beginning with another one; a first round warms up and tells how often an arm
/// is repeated within its turn. What is returned is per repetition.
pub fn interleave(rounds: usize, mut arms: Vec<Arm<'_>>) -> Result<Vec<Measured>> {
    let mut repeats = vec![];
    for arm in &mut arms {
        arm.once()?;
        let second = arm.once()?;
        repeats.push((TURN_SECONDS_MIN / second.seconds).ceil().clamp(1.0, 1_000.0) as usize);
    }
    let mut measured: Vec<Measured> = arms
        .iter()
        .map(|arm| Measured { name: arm.name, seconds: Series::default(), cpu: Series::default() })
        .collect();
    for round in 0..rounds {
        for turn in 0..arms.len() {
            let at = (round + turn) % arms.len();
            let mut sum = Taken::default();
            for _ in 0..repeats[at] {
                let taken = arms[at].once()?;
                sum = Taken { seconds: sum.seconds + taken.seconds, cpu: sum.cpu + taken.cpu };
            }
            measured[at].seconds.0.push(sum.seconds / repeats[at] as f64);
            measured[at].cpu.0.push(sum.cpu / repeats[at] as f64);
        }
    }
    Ok(measured)
}

/// Ours over theirs, round by round, so that a slow minute counts on both sides; the median of these.
pub fn ratio(ours: &Series, theirs: &Series) -> f64 {
    Series(ours.0.iter().zip(&theirs.0).map(|(a, b)| a / b).collect()).median()
}

impl Process {
    /// Seconds of CPU since it began, in user and system mode.
    pub fn cpu(&self) -> Result<f64> {
        Ok(match *self {
            Self::One(pid) => seconds(own(&stat(&pid.to_string())?)),
            Self::Ours => seconds(own(&stat("self")?)),
            Self::Family(pid) => {
                let parent = stat(&pid.to_string())?;
                let ended = parent.get(12..14).map_or(0, |ended| ended.iter().sum());
                // A child may end while we look: it then counts among the parent's the next time.
                let is_child = |child: &String| stat(child).is_ok_and(|s| s.first() == Some(&u64::from(pid)));
                let living: f64 = processes()?.iter().filter(|c| is_child(c)).filter_map(|c| on_cpu(c).ok()).sum();
                seconds(own(&parent) + ended) + living
            }
        })
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

/// Of a process of one thread, in nanoseconds: many short-lived ones would each lose a part of a tick.
fn on_cpu(pid: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

/// User and system time.
fn own(stat: &[u64]) -> u64 {
    stat.get(10..12).map_or(0, |times| times.iter().sum())
}

/// `/proc/PID/stat` from the parent's id on; the name before it may hold anything.
fn stat(pid: &str) -> Result<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, after) = text.rsplit_once(')').context("/proc/PID/stat without a name")?;
    // The state's letter is left out; negative numbers are of no interest.
    Ok(after.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect())
}

fn processes() -> Result<Vec<String>> {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).collect())
}
