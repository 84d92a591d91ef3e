//! What a pipeline's file says of the topics or tables that it reads, beside the source that it names. It connects to
//! nothing.

use std::sync::Arc;

use super::super::postgres::Slot;
use super::super::records::Layout;
use super::super::table;
use super::{Feed, Known, Style, Written};
use crate::document::{Document, suggest};
use crate::sources::kafka::{Config as KafkaFile, Topic};
use crate::sources::postgres::Config as PostgresFile;

/// The topics, with the tables that follow them.
pub(super) fn topics(
    written: &Written,
    origin: &Known<'_>,
    kafka: &KafkaFile,
    document: &mut Document<'_>,
) -> Vec<(String, Feed)> {
    if !written.tables.is_empty() {
        document.fault_at(&["tables"], format!("source `{}` has `topics`, not tables", origin.name));
    }
    if written.topics.is_empty() {
        document.fault_at(&["topics"], "`topics` names no topic");
    }
    let mut fed = vec![];
    for table in &written.topics {
        let topics: Vec<&str> = kafka.topics.keys().map(String::as_str).collect();
        let Some(declared) = kafka.topics.get(table) else {
            let text = format!("source `{}` declares no topic `{table}`; {}", origin.name, suggest(table, &topics));
            document.fault_at(&["topics"], text);
            continue;
        };
        let topic = declared.topic.clone().unwrap_or_else(|| table.clone());
        match layout(&topic, table, declared, written) {
            Ok(layout) => fed.push((table.clone(), Feed::Topic { kafka: kafka.clone(), layout: Arc::new(layout) })),
            Err((key, what)) => document.fault_at(&[key], format!("topic `{table}`: {what}")),
        }
    }
    fed
}

/// Where in the file a fault is, and what it is.
type Misfit = (&'static str, String);

fn layout(topic: &str, table: &str, declared: &Topic, written: &Written) -> Result<Layout, Misfit> {
    let (columns, decoder) = declared.decoder().map_err(|what| ("topics", what))?;
    let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
    let place = |name: &String| {
        let missing = || ("key", format!("there is no column `{name}`; {}", suggest(name, &names)));
        columns.index_of(name).map_err(|_| missing())
    };
    let key = written.key.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    if key.is_empty() && written.write == Style::Upsert {
        return Err(("write", "`key` must say by which columns rows are told apart".into()));
    }
    let layout = Layout::new(topic, table, columns, key, decoder);
    table::columns(&layout.shape(), written.writes()).map_err(|e| ("topics", e.message().to_string()))?;
    Ok(layout)
}

/// The tables of a database; what they are called the database says.
pub(super) fn database(
    pipeline: &str,
    written: &Written,
    origin: &Known<'_>,
    postgres: &PostgresFile,
    document: &mut Document<'_>,
) -> Vec<(String, Feed)> {
    let refused = [
        ("topics", !written.topics.is_empty(), "has `tables`, not topics"),
        ("key", !written.key.is_empty(), "says itself by which columns the rows of its tables are told apart"),
    ];
    for (key, _, what) in refused.into_iter().filter(|(_, is, _)| *is) {
        document.fault_at(&[key], format!("source `{}` {what}", origin.name));
    }
    let (tables, replication) = (written.tables.clone(), written.replication.clone());
    if let Err(error) = Slot::new(pipeline, origin.name, postgres, tables.clone(), replication.clone()) {
        let prefix = format!("pipeline \"{pipeline}\": ");
        document.fault_at(&["tables"], error.message().trim_start_matches(&prefix).to_string());
        return vec![];
    }
    vec![(String::new(), Feed::Database { postgres: postgres.clone(), tables, replication })]
}
