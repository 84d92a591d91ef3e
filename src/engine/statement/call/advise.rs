//! CALL lakegate.advise_reflections: reflections that would have answered what was asked of late, as statements that can be run
//! as they are, the one that saves the most first. Each was planned as CREATE REFLECTION plans it and matched as a statement
//! is; its groups are counted, by the right of whoever asks. Nothing is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::super::{Execution, Outcome, reflection, target};
use super::procedure::Procedure;
use super::{Name, table_name};
use crate::catalog::Entry;
use crate::catalog::reflection::Definition;
use crate::engine::advice::Known;
use crate::engine::bodies;
use crate::engine::deep::on_big_stack;
use crate::engine::facts::Facts;
use crate::engine::limits::Limits;
use crate::engine::pipeline::{self, Caching, Told, Within};
use crate::engine::reflect::reflect;
use crate::engine::run::{self, Bounds, Rows};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::policy::guard::undefined_table;
use crate::policy::{Action, Decision};
use crate::reflection::{Reflection, Reflections};
use crate::sql::bind::quote_identifier;
use crate::types::{ObjectId, TableName};

/// Shapes of one table that are looked at, those that took the longest.
const SHAPES_MAX: usize = 50;
/// Times that one call counts groups, each as long as one of the statements that it is about.
const COUNTS_MAX: usize = 40;
/// Dimensions of one reflection that several shapes share.
const DIMENSIONS_MAX: usize = 6;
/// A reflection has at most one group for so many rows: else it saves little.
const ROWS_PER_GROUP_MIN: i64 = 4;
/// A name's letters, before what tells it from others.
const NAME_BYTES_MAX: usize = 50;
/// What a value takes whose type does not say it.
const VALUE_BYTES: usize = 16;

/// Groups of some dimensions that several shapes share.
#[derive(Clone, Debug)]
struct Proposal {
    dimensions: BTreeSet<String>,
    measures: BTreeSet<String>,
    of: Vec<Known>,
    groups: i64,
    /// Of the table.
    rows: i64,
}

/// One that would be taken.
struct Advice {
    text: String,
    table: String,
    statements: i64,
    rows_read: i64,
    groups: i64,
    bytes: i64,
    saved_ms: i64,
}

pub(super) async fn run(session: &mut Session, execution: Execution<'_>, table: Option<&str>) -> Result<Outcome> {
    let facts = session.facts()?;
    let only = match table {
        Some(name) => Some(found(&facts, &table_name(&facts, name)?)?),
        None => None,
    };
    let mut all: BTreeMap<ObjectId, Vec<Known>> = BTreeMap::new();
    for known in session.engine.shared.advice.all() {
        all.entry(known.part.table).or_default().push(known);
    }
    let mut counts = COUNTS_MAX;
    let mut advice: Vec<Advice> = vec![];
    let mut names: BTreeSet<String> = facts.world.reflections.names().into_iter().map(str::to_owned).collect();
    for (id, known) in all.into_iter().filter(|(id, _)| only.is_none_or(|only| only == *id)) {
        let entry = facts.world.catalog.entries.values().find(|entry| entry.object.id == id);
        // what could not be made is not told of either
        let Some(entry) = entry.filter(|entry| reflection::may_make(&facts, entry)) else { continue };
        let open = known.into_iter().filter(|known| !is_answered(&facts.world.reflections, known));
        let open: Vec<Known> = open.take(SHAPES_MAX).collect();
        let bounds = &execution.bounds;
        for proposal in proposed(session, entry, open, &mut counts, bounds).await? {
            advice.extend(advised(&facts, entry, proposal, &mut names));
        }
    }
    advice.sort_by(|a, b| (b.saved_ms, b.statements, &a.text).cmp(&(a.saved_ms, a.statements, &b.text)));
    let texts =
        |of: &dyn Fn(&Advice) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(advice.iter().map(of))) };
    let numbers =
        |of: &dyn Fn(&Advice) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(advice.iter().map(of))) };
    let columns = vec![
        texts(&|a| a.text.clone()),
        texts(&|a| a.table.clone()),
        numbers(&|a| a.statements),
        numbers(&|a| a.rows_read),
        numbers(&|a| a.groups),
        numbers(&|a| a.bytes),
        numbers(&|a| a.saved_ms),
    ];
    let rows = RecordBatch::try_new(Procedure::AdviseReflections.columns(), columns)?;
    Ok(Outcome::Rows(Rows::computed("CALL", rows, execution.bounds)))
}

/// 42P01 for what the session does not see.
fn found(facts: &Facts, name: &Name) -> Result<ObjectId> {
    let schemas = name.schema.as_ref().map_or(facts.search_path.as_slice(), std::slice::from_ref);
    let tables = schemas.iter().map(|schema| TableName::new(schema, &name.table));
    let mut entries = tables.filter_map(|table| facts.world.catalog.entries.get(&table));
    let seen = |entry: &&Entry| matches!(facts.policy.decide(entry.object.id, Action::Select), Decision::Allow(_));
    match (entries.find(seen), &name.schema) {
        (Some(entry), _) => Ok(entry.object.id),
        (None, Some(schema)) => Err(undefined_table(&TableName::new(schema, &name.table))),
        (None, None) => Err(target::undefined_relation(&name.table)),
    }
}

fn is_answered(reflections: &Reflections, known: &Known) -> bool {
    let of_table = reflections.of(known.part.table).iter().filter(|reflection| reflection.enabled);
    of_table.into_iter().any(|reflection| answers(reflection, known))
}

fn answers(reflection: &Reflection, known: &Known) -> bool {
    let (columns, kept) = (reflection.plan.schema(), &reflection.upkeep.columns);
    let Some(stored) = &reflection.definition else { return false };
    // expressions are as deep as a definition's may be
    reflection.bases == [known.part.table] && on_big_stack(|| known.part.shape.is_answered_by(stored, columns, kept))
}

/// Shapes in the order of their time: each joins an earlier proposal where it needs no more dimensions, or where the groups of
/// both together are still few; else it is one by itself.
async fn proposed(
    session: &mut Session,
    entry: &Entry,
    known: Vec<Known>,
    counts: &mut usize,
    bounds: &Bounds,
) -> Result<Vec<Proposal>> {
    let mut proposals: Vec<Proposal> = vec![];
    'shapes: for known in known {
        let shape = Arc::clone(&known.part.shape);
        for proposal in &mut proposals {
            let mut both = proposal.clone();
            both.dimensions.extend(shape.dimensions.iter().cloned());
            both.measures.extend(shape.measures.iter().cloned());
            both.of.push(known.clone());
            let grows = both.dimensions.len() > proposal.dimensions.len();
            if grows && both.dimensions.len() > DIMENSIONS_MAX {
                continue;
            }
            if !grows || counted(session, entry, &mut both, counts, bounds).await? {
                *proposal = both;
                continue 'shapes;
            }
        }
        let (dimensions, measures) = (shape.dimensions.clone(), shape.measures.clone());
        let mut alone = Proposal { dimensions, measures, of: vec![known], groups: 0, rows: 0 };
        if counted(session, entry, &mut alone, counts, bounds).await? {
            proposals.push(alone);
        }
    }
    Ok(proposals)
}

/// Whether its groups are few; `false` where nobody can tell any more.
async fn counted(
    session: &mut Session,
    entry: &Entry,
    proposal: &mut Proposal,
    counts: &mut usize,
    bounds: &Bounds,
) -> Result<bool> {
    if *counts == 0 {
        return Ok(false);
    }
    *counts -= 1;
    let numbers: Vec<String> = (1..=proposal.dimensions.len()).map(|n| n.to_string()).collect();
    let dimensions: Vec<&str> = proposal.dimensions.iter().map(String::as_str).collect();
    let sql = format!(
        "SELECT count(*), coalesce(sum(n), 0)::int8 FROM (SELECT {}, count(*) FROM {} GROUP BY {}) AS g ({}, n)",
        dimensions.join(", "),
        shown(&entry.object.name),
        numbers.join(", "),
        numbers.iter().map(|n| format!("d{n}")).collect::<Vec<_>>().join(", ")
    );
    // a text that does not mean what it was made of is no proposal
    let Ok(query) = bodies::read(&sql, &Limits::default()) else { return Ok(false) };
    let Ok(planned) = session.plan(&query, Told::default()).await else { return Ok(false) };
    let shared = &session.engine.shared;
    let within = Within::default();
    let ready = pipeline::ready(shared, &planned, vec![], Caching::Never, &within, bounds);
    let ready = bounds.hold(Box::pin(ready)).await?;
    let mut rows = run::run(&shared.lanes, ready, bounds.clone())?;
    let row = rows.next().await.ok_or_else(|| Error::internal("a count gave no row"))??;
    let number = |at: usize| {
        let column = row.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>()).filter(|c| c.is_valid(0));
        column.map(|column| column.value(0)).ok_or_else(|| Error::internal("a count gave no number"))
    };
    (proposal.groups, proposal.rows) = (number(0)?, number(1)?);
    Ok(proposal.groups.saturating_mul(ROWS_PER_GROUP_MIN) <= proposal.rows)
}

/// As a statement, if it would be taken and would answer. What only those needed that it would not answer is left out.
fn advised(facts: &Facts, entry: &Entry, mut proposal: Proposal, names: &mut BTreeSet<String>) -> Option<Advice> {
    let name = named(&entry.object.name.table, &proposal.dimensions, names);
    let table = shown(&entry.object.name);
    let (_, first) = made(facts, &name, &table, &proposal)?;
    proposal.of.retain(|known| answers(&first, known));
    proposal.measures = proposal.of.iter().flat_map(|known| known.part.shape.measures.iter().cloned()).collect();
    let (text, made) = made(facts, &name, &table, &proposal)?;
    if proposal.of.is_empty() || !proposal.of.iter().all(|known| answers(&made, known)) {
        return None;
    }
    let total = |of: &dyn Fn(&Known) -> u64| proposal.of.iter().map(of).fold(0, u64::saturating_add);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let left = proposal.groups as f64 / proposal.rows.max(1) as f64;
    let width = i64::try_from(width(&made.upkeep.columns)).unwrap_or(i64::MAX);
    names.insert(name);
    Some(Advice {
        text,
        table,
        statements: signed(total(&|known| known.statements)),
        rows_read: signed(total(&|known| known.rows_read)),
        groups: proposal.groups,
        bytes: proposal.groups.saturating_mul(width),
        saved_ms: (total(&|known| known.micros) as f64 * (1.0 - left) / 1_000.0) as i64,
    })
}

/// The statement, and what it would make; `None` where it would be refused.
fn made(facts: &Facts, name: &str, table: &str, proposal: &Proposal) -> Option<(String, Reflection)> {
    let list = |of: &BTreeSet<String>| of.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let measures = match proposal.measures.is_empty() {
        true => "COUNT(*)".to_owned(),
        false => list(&proposal.measures),
    };
    let dimensions = list(&proposal.dimensions);
    let text = format!("CREATE REFLECTION {name} ON {table} USING DIMENSIONS ({dimensions}) MEASURES ({measures})");
    let definition = Definition::read(facts.policy.principal().user(), &text, None).ok()?;
    let made = reflect(&definition, &facts.world.catalog, &facts.world.reflections).ok()?;
    Some((text, made))
}

/// As a statement names it.
fn shown(name: &TableName) -> String {
    format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.table))
}

/// Of the table and what it is grouped by, in letters that need no quotes.
fn named(table: &str, dimensions: &BTreeSet<String>, taken: &BTreeSet<String>) -> String {
    let mut name = String::new();
    for word in std::iter::once(table).chain(["by"]).chain(dimensions.iter().map(String::as_str)) {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
        let plain: String = word.chars().map(plain).collect();
        let words = plain.split_whitespace().filter(|word| *word != "date" && *word != "trunc");
        words.for_each(|word| {
            name.push('_');
            name.push_str(word);
        });
    }
    name.truncate(NAME_BYTES_MAX);
    let name = name.trim_matches('_').to_owned();
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("r_{name}") };
    let free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|n: u32| format!("{name}_{n}"));
    std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name)
}

/// About what a row takes.
fn width(columns: &SchemaRef) -> usize {
    let of = |data_type: &DataType| data_type.primitive_width().unwrap_or(VALUE_BYTES);
    columns.fields().iter().map(|field| of(field.data_type())).sum()
}
