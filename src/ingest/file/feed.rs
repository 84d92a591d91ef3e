//! What a pipeline's file says of the topics or tables that it reads, beside the source that it names. It connects to
//! nothing.

use std::sync::Arc;

use super::super::postgres::Slot;
use super::super::records::Layout;
use super::super::table;
use super::{Feed, Known, Style, Written};
use crate::document::{Document, suggest};
use crate::sources::kafka::{Config as KafkaFile, Registry, Topic};
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
    if written.replication.is_some() {
        let text = format!("[replication] is of a database's log, and source `{}` has topics", origin.name);
        document.fault_at(&["replication"], text);
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
        match layout(origin.name, &topic, table, kafka, declared, written) {
            Ok(layout) => fed.push((table.clone(), Feed::Topic { kafka: kafka.clone(), layout: Arc::new(layout) })),
            Err((key, what)) => document.fault_at(&[key], format!("topic `{table}`: {what}")),
        }
    }
    fed
}

/// Where in the file a fault is, and what it is.
type Misfit = (&'static str, String);

fn layout(
    source: &str,
    topic: &str,
    table: &str,
    kafka: &KafkaFile,
    declared: &Topic,
    written: &Written,
) -> Result<Layout, Misfit> {
    let decoder = declared.records(kafka.registry.as_ref()).map_err(|what| ("topics", what))?;
    if decoder.key().is_empty() && written.write == Style::Upsert {
        let text =
            format!("`key_columns` in the file of source `{source}` must say by which columns rows are told apart");
        return Err(("write", text));
    }
    let registry = kafka.registry.as_ref().map(|registry| Registry::new(source, registry).map(Arc::new));
    let layout = Layout::new(topic, table, decoder, registry.transpose().map_err(|what| ("topics", what))?);
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
    if !written.topics.is_empty() {
        document.fault_at(&["topics"], format!("source `{}` has `tables`, not topics", origin.name));
    }
    let (tables, replication) = (written.tables.clone(), written.replication.clone().unwrap_or_default());
    if let Err(error) = Slot::new(pipeline, origin.name, postgres, tables.clone(), replication.clone()) {
        let prefix = format!("pipeline \"{pipeline}\": ");
        document.fault_at(&["tables"], error.message().trim_start_matches(&prefix).to_string());
        return vec![];
    }
    vec![(String::new(), Feed::Database { postgres: postgres.clone(), tables, replication })]
}
