//! The gateway beside a real PostgreSQL, over statements that nobody wrote: names, types and rows must be equal, and what
//! one refuses the other must. Only what is not supported may be refused alone, by its own SQLSTATE, and seldom.
//!
//! `LAKEGATE_SEED` chooses another run, `LAKEGATE_STATEMENTS` a longer one.

mod expression;
mod query;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use expression::Grammar;
use query::Queries;

use crate::oracle::random::Dice;
use crate::postgres_server::Server;
use crate::slt;
use crate::slt::door::cells;
use crate::wire::client::Client;

const SEED: u64 = 7_470_075_066_709_307_430;
/// Of each generator.
const STATEMENTS: u64 = 400;
/// How many in a hundred may be short of the same and no fault: not supported, or another SQLSTATE where both refuse, since
/// a column at a time meets another row's error first.
const SHORT_OF_SAME: usize = 2;

/// What a client sees.
struct Answer {
    /// Name, type, modifier.
    columns: Vec<(String, u32, i32)>,
    rows: Vec<Vec<Option<String>>>,
    /// SQLSTATE and text.
    error: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Same,
    /// 0A000 of the gateway's.
    Unsupported,
    /// Both refuse.
    OtherCode,
    /// Rows, names and types are equal. PostgreSQL tells the modifier of what its planner left of an expression.
    OtherModifier,
    /// One of them was stopped by its `statement_timeout`.
    TooLong,
    Refused,
    Laxer,
    OtherRows,
    OtherColumns,
}

impl Verdict {
    fn of(theirs: &Answer, ours: &Answer) -> Self {
        let sorted = |answer: &Answer| {
            let mut rows = answer.rows.clone();
            rows.sort();
            rows
        };
        let known =
            |answer: &Answer| answer.columns.iter().map(|(name, of, _)| (name.clone(), *of)).collect::<Vec<_>>();
        match (&theirs.error, &ours.error) {
            (Some((theirs, _)), Some((ours, _))) if theirs == ours => Self::Same,
            (Some((code, _)), _) | (_, Some((code, _))) if code == "57014" => Self::TooLong,
            (_, Some((ours, _))) if ours == "0A000" => Self::Unsupported,
            (Some(_), Some(_)) => Self::OtherCode,
            (None, Some(_)) => Self::Refused,
            (Some(_), None) => Self::Laxer,
            (None, None) if sorted(theirs) != sorted(ours) => Self::OtherRows,
            (None, None) if known(theirs) != known(ours) => Self::OtherColumns,
            (None, None) if theirs.columns != ours.columns => Self::OtherModifier,
            (None, None) => Self::Same,
        }
    }

    fn is_fault(self) -> bool {
        matches!(self, Self::Refused | Self::Laxer | Self::OtherRows | Self::OtherColumns)
    }
}

/// By the simple protocol.
async fn ask(client: &mut Client, sql: &str) -> Answer {
    client.send(b'Q', format!("{sql}\0").as_bytes()).await;
    let mut answer = Answer { columns: vec![], rows: vec![], error: None };
    loop {
        match client.receive().await {
            Some((b'T', body)) => answer.columns = columns(&body),
            Some((b'D', body)) => answer.rows.push(cells(&body)),
            Some((b'E', _)) => {
                let text = client.error.split('|').find_map(|field| field.strip_prefix('M')).unwrap_or_default();
                answer.error = Some((client.code().to_string(), text.to_string()));
            }
            Some((b'Z', _)) => return answer,
            Some(_) => {}
            None => panic!("the connection was lost over\n{sql}"),
        }
    }
}

/// The body of a RowDescription.
fn columns(body: &[u8]) -> Vec<(String, u32, i32)> {
    let (count, mut rest) = body.split_first_chunk::<2>().unwrap();
    let columns = (0..u16::from_be_bytes(*count)).map(|_| {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        let fields = &rest[end + 1..];
        let oid = u32::from_be_bytes(fields[6..10].try_into().unwrap());
        let modifier = i32::from_be_bytes(fields[12..16].try_into().unwrap());
        rest = &fields[18..];
        (name, oid, modifier)
    });
    columns.collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Both doors, and what was found of each kind.
struct Beside {
    postgres: Client,
    lakegate: Client,
    found: BTreeMap<Verdict, usize>,
    faults: String,
}

impl Beside {
    async fn judge(&mut self, sql: &str) {
        let (theirs, ours) = (ask(&mut self.postgres, sql).await, ask(&mut self.lakegate, sql).await);
        let verdict = Verdict::of(&theirs, &ours);
        *self.found.entry(verdict).or_default() += 1;
        if verdict.is_fault() {
            let told = |answer: &Answer| match &answer.error {
                Some((code, text)) => format!("{code} {text}"),
                None => format!("{:?} {:?}", answer.columns, answer.rows),
            };
            writeln!(self.faults, "{verdict:?}\n{sql};\n  PostgreSQL {}\n  lakegate   {}", told(&theirs), told(&ours))
                .unwrap();
        } else if verdict != Verdict::Same {
            println!("{verdict:?}: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_by_chance_answer_as_on_postgresql() {
    let seed = number("LAKEGATE_SEED").unwrap_or(SEED);
    let statements = number("LAKEGATE_STATEMENTS").unwrap_or(STATEMENTS);
    println!("LAKEGATE_SEED={seed}");
    let (server, gateway): (Server, _) = (slt::postgres().await, slt::gateway().await);
    server.run("CREATE DATABASE lakegate TEMPLATE postgres").await;
    let grammar = Grammar::of(&server.client().await).await;
    let at = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut beside = Beside {
        postgres: Client::log_in(at, "postgres", "sesame").await.unwrap(),
        lakegate: Client::log_in(gateway.server.pg, "root", "root").await.unwrap(),
        found: BTreeMap::new(),
        faults: String::new(),
    };
    for door in [&mut beside.postgres, &mut beside.lakegate] {
        ask(door, "SET statement_timeout = '5s'").await;
    }
    for number in 0..statements {
        beside.judge(&grammar.statement(&mut Dice::new(seed, &[0, number]))).await;
        beside.judge(&Queries::statement(&mut Dice::new(seed, &[1, number]))).await;
    }
    println!("{:?}", beside.found);
    assert!(beside.faults.is_empty(), "LAKEGATE_SEED={seed} {:?}\n{}", beside.found, beside.faults);
    let all: usize = beside.found.values().sum();
    let same = beside.found.get(&Verdict::Same).copied().unwrap_or(0);
    assert!((all - same) * 100 <= all * SHORT_OF_SAME, "LAKEGATE_SEED={seed}: {same} of {all} the same");
}
