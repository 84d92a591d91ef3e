//! The oracles over statements and policies made by chance: world B, which differs in hidden cells alone, must answer as A
//! does; a copy that physically holds what the user may see must give the same rows; and no hidden token may appear in any
//! byte. Policies are read by this module's own code, never by the policy's.
//!
//! `LAKEGATE_SEED` chooses another run, `LAKEGATE_ORACLE_CASES` a longer one. A failure prints the seed, the round and the
//! number of its statement, the policy, and the statement made as small as it still fails.

#![allow(clippy::explicit_auto_deref, reason = "a word picked from a list is behind one reference more")]

mod canary;
mod condition;
mod dataset;
mod door;
mod judge;
mod policy;
mod query;
pub mod random;
mod report;
mod shop;
mod value;
mod world;

use std::sync::Arc;

use door::By;
use judge::{Fault, Judge};
use policy::{Policy, TWIN};
use query::{Maker, Statement};
use random::Dice;
use report::Report;
use shop::{Place, Shop};
use world::{Hand, Reach, Round, Servers};

/// The short run's; each defence that the mutants list for it is noticed by it.
const SEED: u64 = 1_781_559_588_253_166_223;
/// Statements a round, of which two for each object are plain; a closing run has more rounds, not longer ones.
const STATEMENTS: usize = 24;
/// A statement is as many cases as there are users.
const CASES_PER_STATEMENT: usize = policy::USERS.len();
/// Two statements at a time, each with sessions of its own; the third speaks the wire.
const WORKERS: [By; 3] = [By::Engine, By::Engine, By::Simple];

/// Which sources the tables of one round lie in.
type Places = &'static [Place];

const MEMORY: &[Places] = &[&[Place::Memory]];
const SOURCES: &[Places] = &[
    &[Place::Lake, Place::Postgres, Place::Kafka],
    &[Place::Kafka, Place::Lake, Place::Memory],
    &[Place::Postgres, Place::Memory, Place::Lake],
];

#[tokio::test(flavor = "multi_thread")]
async fn memory_tables_tell_nothing_that_is_hidden() {
    run(MEMORY, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn iceberg_postgres_and_kafka_tell_nothing_that_is_hidden() {
    run(SOURCES, 3).await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// `rounds`: of the short run.
async fn run(places: &[Places], rounds: usize) {
    let seed = number("LAKEGATE_SEED").unwrap_or(SEED);
    let cases = number("LAKEGATE_ORACLE_CASES").map(|n| usize::try_from(n).unwrap());
    let rounds = cases.map_or(rounds, |cases| cases.div_ceil(STATEMENTS * CASES_PER_STATEMENT));
    let first = number("LAKEGATE_ORACLE_ROUND").unwrap_or(0);
    println!("LAKEGATE_SEED={seed}, {rounds} rounds of {STATEMENTS} statements by {CASES_PER_STATEMENT} users");
    let needed: Vec<Place> = places.iter().flat_map(|p| p.iter().copied()).collect();
    let servers = Servers::start(&needed).await;
    let mut report = Report::default();
    for number in first..first + rounds as u64 {
        let places = places[usize::try_from(number).unwrap() % places.len()];
        let told = round(seed, number, places, &servers).await;
        report.add(told);
    }
    println!("{report}");
    report.means_something();
}

/// A policy, its worlds, and statements over them.
async fn round(seed: u64, number: u64, places: Places, servers: &Servers) -> Report {
    let mut dice = Dice::new(seed, &[number]);
    let mut shop = Shop::new(&mut dice, places);
    let mut policy = Policy::new(&mut dice, &shop);
    for name in ["team", "desk", "floor"] {
        if dataset::add(&mut dice, &mut shop, &policy, name) {
            policy.add_dataset(&mut dice, &shop);
        }
    }
    let hands = (0..TWIN).map(|user| Hand::new(&mut dice, &shop, &policy, user)).collect();
    let round = Arc::new(Round::start(shop, policy, hands, servers, number).await);
    let mut workers = tokio::task::JoinSet::new();
    for (worker, by) in WORKERS.into_iter().enumerate() {
        let round = Arc::clone(&round);
        workers.spawn(async move {
            let mut report = Report::default();
            let by = if by == By::Simple && number % 2 == 1 { By::Extended } else { by };
            let mut judge = Judge::new(&round, by);
            for at in (worker..STATEMENTS).step_by(WORKERS.len()) {
                let stream = [number, at as u64 + 1];
                let dice = Dice::new(seed, &stream);
                let maker = Maker::new(dice, &round.shop, &round.policy, &round.hands);
                let objects = round.shop.objects.len();
                let statement = match at / objects {
                    0 => maker.sweep(at % objects),
                    1 => maker.probe(at % objects),
                    _ => maker.statement(),
                };
                if let Err(fault) = judge.judge(&statement, &mut Dice::new(seed, &stream), &mut report).await {
                    let (statement, fault) = shrink(&mut judge, statement, fault).await;
                    panic!("{}", told(seed, &stream, &round, &statement, &fault));
                }
            }
            report
        });
    }
    let mut report = Report::default();
    while let Some(told) = workers.join_next().await {
        match told {
            Ok(told) => report.add(told),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    report
}

/// Clauses are taken out as long as the same is wrong.
async fn shrink(judge: &mut Judge<'_>, mut statement: Statement, mut fault: Fault) -> (Statement, Fault) {
    'smaller: loop {
        for query in statement.query.smaller() {
            let smaller = Statement { query, ..statement.clone() };
            let judged = judge.judge(&smaller, &mut Dice::new(0, &[]), &mut Report::default()).await;
            if let Err(again) = judged
                && again.what == fault.what
            {
                (statement, fault) = (smaller, again);
                continue 'smaller;
            }
        }
        return (statement, fault);
    }
}

fn told(seed: u64, stream: &[u64], round: &Round, statement: &Statement, fault: &Fault) -> String {
    let user = world::user(fault.user);
    let answers: Vec<String> = fault.answers.iter().map(|(name, a)| format!("  {name:8} {}", a.shown())).collect();
    let parameters: Vec<String> = statement.parameters.iter().map(|(_, cell)| cell.sql()).collect();
    let names: Vec<String> = statement
        .objects
        .iter()
        .map(|o| {
            let object = &round.shop.objects[*o];
            let reach = &round.hand(fault.user).reach[*o];
            let reach = match reach {
                Reach::Absent => "absent".to_string(),
                Reach::Refused => "refused".to_string(),
                Reach::Paths(paths) => paths.iter().map(|p| format!("\n    {}: {:?}", p.name, p.seen)).collect(),
            };
            format!("  {} in {:?}, {:?}: {reach}", object.name, object.place, object.body)
        })
        .collect();
    format!(
        "{}, for {user}\nLAKEGATE_SEED={seed} LAKEGATE_ORACLE_ROUND={} statement {}\n{}\n{}\n\nparameters {parameters:?}\n{}\n\nattributes {:?}\n{}",
        fault.what,
        stream[0],
        stream[1],
        statement.query.sql(),
        answers.join("\n"),
        names.join("\n"),
        round.policy.attributes[fault.user],
        round.policy.csv(&round.shop, &[world::A.to_string()]),
    )
}
