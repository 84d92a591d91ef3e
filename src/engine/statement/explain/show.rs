//! A plan as PostgreSQL prints one (explain.c): lines of text with two blanks and an arrow for each level, or one JSON
//! document. What is in it has been decided before.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::options::Options;
use super::plan::{Actual, Detail, Node, Plan, Scanned};

/// Blanks before what belongs to the root.
const FIRST: usize = 2;
/// From an arrow's blanks to those of what belongs to its node.
const STEP: usize = 6;

pub(super) fn text(plan: &Plan, options: &Options) -> Vec<String> {
    let mut lines = vec![];
    lines.push(headline(&plan.root, options));
    below(&plan.root, FIRST, options, &mut lines);
    if options.summary {
        lines.push(format!("Planning Time: {} ms", ms(plan.planning)));
        lines.extend(plan.execution.map(|took| format!("Execution Time: {} ms", ms(took))));
    }
    lines
}

fn below(node: &Node, indent: usize, options: &Options, lines: &mut Vec<String>) {
    let blanks = " ".repeat(indent);
    if options.verbose && !node.output.is_empty() {
        lines.push(format!("{blanks}Output: {}", node.output.join(", ")));
    }
    for (name, detail) in &node.details {
        let shown = match detail {
            Detail::One(text) => text.clone(),
            Detail::List(texts) => texts.join(", "),
        };
        lines.push(format!("{blanks}{name}: {shown}"));
    }
    if let Some(sql) = node.remote.as_ref().filter(|_| options.verbose) {
        lines.push(format!("{blanks}Remote SQL: {sql}"));
    }
    for child in &node.children {
        let mut indent = indent;
        if let Some(label) = &child.label {
            lines.push(format!("{blanks}{label}"));
            indent += 2;
        }
        lines.push(format!("{}->  {}", " ".repeat(indent), headline(&child.node, options)));
        below(&child.node, indent + STEP, options, lines);
    }
}

fn headline(node: &Node, options: &Options) -> String {
    let mut line = match (node.kind, node.join) {
        (kind, None | Some("Inner")) => kind.to_string(),
        ("Nested Loop", Some(join)) => format!("Nested Loop {join} Join"),
        (kind, Some(join)) => format!("{} {join} Join", kind.trim_end_matches(" Join")),
    };
    match &node.scan {
        Some(Scanned::Restricted(name)) => line = format!("{line} {name}"),
        Some(Scanned::Named(name)) => line = format!("{line} on {name}"),
        Some(Scanned::Table { schema, table }) if options.verbose => {
            line = format!("{line} on {}.{}", identifier(schema), identifier(table));
        }
        Some(Scanned::Table { table, .. }) => line = format!("{line} on {}", identifier(table)),
        None => {}
    }
    if options.costs {
        let (startup, total, rows, width) = (node.startup, node.total, node.rows, node.width);
        // writing to a string does not fail
        let _ = write!(line, "  (cost={startup:.2}..{total:.2} rows={rows:.0} width={width})");
    }
    if let Some(Actual { startup, total, rows }) = node.actual {
        let time = match options.timing {
            true => format!("time={}..{} ", ms(startup), ms(total)),
            false => String::new(),
        };
        let _ = write!(line, " (actual {time}rows={rows} loops=1)");
    }
    line
}

fn ms(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1_000.0)
}

/// Quoted where it must be.
fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if begins && name.chars().all(plain) { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

pub(super) fn json(plan: &Plan, options: &Options) -> String {
    let mut properties = vec![("Plan", object(&of_node(&plan.root, None, None, options, 2), 2))];
    if options.summary {
        properties.push(("Planning Time", ms(plan.planning)));
    }
    if options.analyze {
        properties.push(("Triggers", "[\n    ]".into()));
    }
    if let (true, Some(took)) = (options.summary, plan.execution) {
        properties.push(("Execution Time", ms(took)));
    }
    format!("[\n  {}\n]", object(&properties, 1))
}

type Properties = Vec<(&'static str, String)>;

/// Values are JSON already; `level` is how deep the object lies.
fn of_node(
    node: &Node,
    relationship: Option<&str>,
    label: Option<&str>,
    options: &Options,
    level: usize,
) -> Properties {
    let kind = if node.strategy.is_some() { "Aggregate" } else { node.kind };
    let mut all: Properties = vec![("Node Type", quoted(kind))];
    if let Some(strategy) = node.strategy {
        all.extend([("Strategy", quoted(strategy)), ("Partial Mode", quoted("Simple"))]);
    }
    all.extend(relationship.map(|r| ("Parent Relationship", quoted(r))));
    all.extend(label.map(|l| ("Subplan Name", quoted(l))));
    all.extend([("Parallel Aware", "false".to_string()), ("Async Capable", "false".to_string())]);
    all.extend(node.join.map(|join| ("Join Type", quoted(join))));
    match &node.scan {
        Some(Scanned::Restricted(name)) => all.push(("Relation Name", quoted(name))),
        Some(Scanned::Named(name)) => all.push(("Alias", quoted(name))),
        Some(Scanned::Table { schema, table }) => {
            all.push(("Relation Name", quoted(table)));
            if options.verbose {
                all.push(("Schema", quoted(schema)));
            }
        }
        None => {}
    }
    if options.costs {
        all.extend([
            ("Startup Cost", format!("{:.2}", node.startup)),
            ("Total Cost", format!("{:.2}", node.total)),
            ("Plan Rows", format!("{:.0}", node.rows)),
            ("Plan Width", node.width.to_string()),
        ]);
    }
    if let Some(Actual { startup, total, rows }) = node.actual {
        if options.timing {
            all.extend([("Actual Startup Time", ms(startup)), ("Actual Total Time", ms(total))]);
        }
        all.extend([("Actual Rows", rows.to_string()), ("Actual Loops", "1".to_string())]);
    }
    if options.verbose && !node.output.is_empty() {
        all.push(("Output", list(&node.output)));
    }
    all.extend(node.details.iter().map(|(name, detail)| match detail {
        Detail::One(text) => (*name, quoted(text)),
        Detail::List(texts) => (*name, list(texts)),
    }));
    if let Some(sql) = node.remote.as_ref().filter(|_| options.verbose) {
        all.push(("Remote SQL", quoted(sql)));
    }
    if !node.children.is_empty() {
        let inner = "  ".repeat(level + 2);
        let children = node.children.iter().map(|child| {
            let label = child.label.as_deref().map(|label| label.split(" (").next().unwrap_or(label));
            let relationship = Some(child.relationship);
            format!("{inner}{}", object(&of_node(&child.node, relationship, label, options, level + 2), level + 2))
        });
        let children = children.collect::<Vec<_>>().join(",\n");
        all.push(("Plans", format!("[\n{children}\n{}]", "  ".repeat(level + 1))));
    }
    all
}

fn object(properties: &[(&str, String)], level: usize) -> String {
    let inner = "  ".repeat(level + 1);
    let lines: Vec<String> =
        properties.iter().map(|(name, value)| format!("{inner}{}: {value}", quoted(name))).collect();
    format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(level))
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    Value::String(text.to_string()).to_string()
}
