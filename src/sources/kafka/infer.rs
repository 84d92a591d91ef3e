//! A topic's declaration as it would be written by hand, from its schema in the registry or from its newest records: for
//! somebody to read and correct. It declares nothing by itself; tables come from files alone.

mod columns;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;

use super::client::Client;
use super::registry::{Latest, Registry};
use super::window::Span;
use super::{Config, passes};
use crate::error::{Error, Kind, Result};
use crate::formats::record::{Csv, csv_fields, json_text, protobuf_columns};
use crate::sources::guess;
use columns::{Columns, Found};

/// Records that are looked at of each partition, its newest.
const SAMPLE_MAX: i64 = 200;

/// What a topic's records seem to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inferred {
    format: &'static str,
    envelope: &'static str,
    columns: Vec<(String, Found)>,
    key: Vec<String>,
    /// Debezium's decimals are numbers in digits.
    digits: bool,
    /// Between fields of CSV.
    delimiter: Option<char>,
    /// From what it was told, for whoever reads it.
    told_from: String,
}

/// `[topics.…]` for a source's file: the table's declaration.
pub async fn infer(source: &str, config: &Config, table: &str, topic: &str) -> Result<String> {
    let client = Arc::new(Client::new(source, config)?);
    if let Some(registry) = &config.registry {
        let fault = |what| Error::new(Kind::Config, format!("source \"{source}\": {what}"));
        let registry = Registry::new(source, registry).map_err(fault)?;
        if let Some(latest) = registry.latest(topic).await? {
            let inferred = of_schema(&latest).ok_or_else(|| {
                let text = format!("the registry's schema of topic \"{topic}\" tells no columns");
                Error::unsupported(text).with_source(latest.kind.clone()).with_hint("Declare them by hand.")
            })?;
            return Ok(written(table, topic, &inferred));
        }
    }
    let window = client.window(topic).await?;
    let name = topic.to_owned();
    let sampled = tokio::task::spawn_blocking(move || sample(&client, &name, &window)).await;
    let records = sampled.map_err(|e| Error::internal("a sample of a topic panicked").with_source(e))??;
    let inferred = of_records(&records).or_else(|| of_lines(&records)).ok_or_else(|| {
        let text = format!("topic \"{topic}\" has no records in JSON or CSV from which its columns could be told");
        Error::new(Kind::SourceFailed, text)
            .with_hint("Declare them by hand, or name the registry that has its schema.")
    })?;
    Ok(written(table, topic, &inferred))
}

/// `None` where it is of a kind, or says nothing, from which columns could be told.
fn of_schema(latest: &Latest) -> Option<Inferred> {
    let kind = latest.kind.to_ascii_uppercase();
    let mut told = String::new();
    let mut inferred = match kind.as_str() {
        "AVRO" => columns::of_avro(&serde_json::from_str(&latest.registered.schema).ok()?),
        "JSON" => columns::of_json_schema(&serde_json::from_str(&latest.registered.schema).ok()?),
        "PROTOBUF" => {
            let (message, found) = protobuf_columns(&latest.registered)?;
            told = format!(", by its message {message}");
            let column = |(name, type_name)| (name, Found { type_name, optional: false, seen: None });
            let columns = found.into_iter().map(column).collect();
            Inferred { format: "protobuf", columns, ..Inferred::default() }
        }
        _ => return None,
    };
    let version = latest.version.map(|version| format!("version {version} of ")).unwrap_or_default();
    inferred.told_from = format!("{version}its schema in the registry ({kind}){told}");
    (!inferred.columns.is_empty()).then_some(inferred)
}

/// Keys and values.
type Records = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

fn sample(client: &Client, topic: &str, window: &[Span]) -> Result<Records> {
    let (begin, reader) = (Instant::now(), client.reader()?);
    let mut list = TopicPartitionList::new();
    let mut open = BTreeMap::new();
    for span in window.iter().filter(|span| span.start < span.end) {
        let from = span.start.max(span.end - SAMPLE_MAX);
        list.add_partition_offset(topic, span.partition, Offset::Offset(from)).map_err(|e| client.failed(e))?;
        open.insert(span.partition, span.end);
    }
    reader.assign(&list).map_err(|e| client.failed(e))?;
    let mut records = vec![];
    while !open.is_empty() {
        let left = client.patience().saturating_sub(begin.elapsed());
        if left.is_zero() {
            break;
        }
        match reader.poll(left) {
            Some(Ok(message)) => {
                records.push((message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec)));
                if open.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    open.remove(&message.partition());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) if error_passes(&error) => {}
            Some(Err(error)) => return Err(client.failed(error)),
            None => {}
        }
    }
    Ok(records)
}

fn error_passes(error: &KafkaError) -> bool {
    rdkafka::error::KafkaError::rdkafka_error_code(error).is_some_and(passes)
}

/// `None` where no record is an object of JSON.
fn of_records(records: &Records) -> Option<Inferred> {
    let parse = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().and_then(|bytes| serde_json::from_slice::<Value>(json_text(bytes)).ok())
    };
    let values: Vec<Value> = records.iter().filter_map(|(_, value)| parse(value)).filter(Value::is_object).collect();
    let first = values.first()?;
    let framed = |value: &Value| value.get("schema").is_some() && value.get("payload").is_some();
    let payload = |value: &Value| if framed(value) { value["payload"].clone() } else { value.clone() };
    let event = |value: &Value| value.get("op").is_some() && value.get("source").is_some();
    let mut inferred = Inferred { format: "json", ..Inferred::default() };
    let mut found = Columns::default();
    for value in &values {
        let row = payload(value);
        let schema = value.get("schema").filter(|_| framed(value)).filter(|schema| schema.is_object());
        if event(&row) {
            inferred.envelope = "debezium";
            let rows = [row.get("after"), row.get("before")];
            match schema {
                Some(schema) => found.of_connect(columns::field(schema, "after")),
                None => rows.into_iter().flatten().for_each(|row| found.of_value(row, true)),
            }
        } else if let Some(schema) = schema {
            inferred.envelope = "connect";
            found.of_connect(Some(schema));
        } else {
            let flat = row.get("__deleted").is_some() || row.get("__op").is_some();
            if flat {
                inferred.envelope = "connect";
            }
            found.of_value(&row, flat);
        }
    }
    inferred.digits = !framed(first) && !inferred.envelope.is_empty() && found.has_digits();
    inferred.columns = found.finish();
    let key = records.iter().find_map(|(key, _)| parse(key)).map(|key| payload(&key));
    let is_column = |name: &&String| inferred.columns.iter().any(|(column, _)| column == *name);
    inferred.key =
        key.as_ref().and_then(Value::as_object).map_or(vec![], |key| key.keys().filter(is_column).cloned().collect());
    inferred.told_from = of_sample(values.len(), records.len());
    (!inferred.columns.is_empty()).then_some(inferred)
}

fn of_sample(read: usize, all: usize) -> String {
    let rest = if read == all { String::new() } else { format!(" ({all} were looked at)") };
    format!("{read} records, the newest of each partition{rest}")
}

/// More columns than a table has.
const FIELDS_MAX: usize = 1_600;

/// `None` where records are no lines of as many fields each.
fn of_lines(records: &Records) -> Option<Inferred> {
    let lines: Vec<&str> =
        records.iter().filter_map(|(_, value)| std::str::from_utf8(value.as_deref()?).ok()).collect();
    let split = |delimiter: char| -> Option<Vec<Vec<Option<String>>>> {
        let csv = Csv { delimiter, ..Csv::default() };
        let rows: Vec<_> = lines.iter().map(|line| csv_fields(line, &csv, FIELDS_MAX).ok()).collect::<Option<_>>()?;
        let width = rows.first()?.len();
        (width > 1 && rows.iter().all(|row| row.len() == width)).then_some(rows)
    };
    let (delimiter, rows) = [',', ';', '\t', '|'].into_iter().find_map(|by| Some((by, split(by)?)))?;
    let width = rows.first()?.len();
    let seen: Vec<usize> =
        (0..width).map(|at| rows.iter().filter(|row| matches!(row.get(at), Some(Some(_)))).count()).collect();
    let mut found: Vec<Option<String>> = vec![None; width];
    let count = rows.len();
    rows.into_iter().for_each(|row| guess::of_line(&mut found, row));
    let column = |(at, (found, seen)): (usize, (Option<String>, usize))| {
        let seen = (seen < count).then_some((seen, count));
        (format!("column{}", at + 1), Found { type_name: found.unwrap_or("text".into()), optional: false, seen })
    };
    Some(Inferred {
        format: "csv",
        columns: found.into_iter().zip(seen).enumerate().map(column).collect(),
        delimiter: Some(delimiter).filter(|delimiter| *delimiter != ','),
        told_from: of_sample(count, records.len()),
        ..Inferred::default()
    })
}

fn written(table: &str, topic: &str, inferred: &Inferred) -> String {
    let text = |text: &str| toml::Value::from(text).to_string();
    let mut out = String::new();
    // Writing to a text in memory cannot fail.
    if !inferred.told_from.is_empty() {
        let _ = writeln!(out, "# Told from {}.", inferred.told_from.replace(char::is_control, " "));
    }
    let _ = writeln!(out, "[topics.{}]", if bare(table) { table.to_owned() } else { text(table) });
    if topic != table {
        let _ = writeln!(out, "topic = {}", text(topic));
    }
    if inferred.format != "json" {
        let _ = writeln!(out, "format = {}", text(inferred.format));
    }
    if !inferred.envelope.is_empty() {
        let _ = writeln!(out, "envelope = {}", text(inferred.envelope));
    }
    if inferred.digits {
        let _ = writeln!(out, "decimals = \"string\"");
    }
    if !inferred.key.is_empty() {
        let names: Vec<String> = inferred.key.iter().map(|name| text(name)).collect();
        let _ = writeln!(out, "key_columns = [{}]", names.join(", "));
    }
    if let Some(delimiter) = inferred.delimiter {
        let _ = writeln!(out, "csv = {{ delimiter = {} }}", text(&delimiter.to_string()));
    }
    out.push_str("columns = [\n");
    for (name, found) in &inferred.columns {
        let _ = write!(out, "    {{ name = {}, type = {}", text(name), text(&found.type_name));
        if found.optional && !inferred.envelope.is_empty() {
            out.push_str(", optional = true");
        }
        out.push_str(" },");
        if let Some((seen, of)) = found.seen {
            let _ = write!(out, "   # in {seen} of {of}");
        }
        out.push('\n');
    }
    out.push_str("]\n");
    out
}

fn bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[(&str, &str)]) -> String {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let records: Records = records.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
        written("t", "t", &of_records(&records).or_else(|| of_lines(&records)).unwrap())
    }

    /// What is written is a declaration that the source's file takes.
    fn taken(block: &str) {
        let text = format!("brokers = \"b:1\"\nschema = \"s\"\n[registry]\nurl = \"http://r\"\n{block}");
        let config: Config = toml::from_str(&text).unwrap();
        super::super::Kafka::new("s", config).unwrap();
    }

    #[test]
    fn plain_records_tell_their_columns() {
        let block = of(&[
            ("x", r#"{"id":1,"at":"2024-01-01T00:00:00Z","n":1,"tags":["a"],"o":{"a":1},"d":"2024-01-01"}"#),
            ("x", r#"{"id":2,"at":null,"n":1.5,"u":"00112233-4455-6677-8899-aabbccddeeff","b":true}"#),
        ]);
        // serde_json's objects are sorted by name.
        let columns = [
            ("at", "timestamptz", ""),
            ("d", "date", "   # in 1 of 2"),
            ("id", "int8", ""),
            ("n", "numeric", ""),
            ("o", "jsonb", "   # in 1 of 2"),
            ("tags", "text[]", "   # in 1 of 2"),
            ("b", "bool", "   # in 1 of 2"),
            ("u", "uuid", "   # in 1 of 2"),
        ];
        let line =
            |(name, of, more): &(&str, &str, &str)| format!("    {{ name = \"{name}\", type = \"{of}\" }},{more}\n");
        let lines: String = columns.iter().map(line).collect();
        let told = "# Told from 2 records, the newest of each partition.\n";
        let expected = format!("{told}[topics.t]\ncolumns = [\n{lines}]\n");
        assert_eq!(block, expected);
        taken(&block);
    }

    #[test]
    fn events_tell_their_columns_by_their_schema() {
        let block = of(&[(
            r#"{"schema":{},"payload":{"id":1}}"#,
            r#"{"schema":{"type":"struct","fields":[{"field":"after","type":"struct","fields":[
                {"field":"id","type":"int64","optional":false},
                {"field":"n","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"}},
                {"field":"d","type":"int32","name":"io.debezium.time.Date"},
                {"field":"l","type":"array","items":{"type":"string"}}]}]},
              "payload":{"op":"c","source":{},"after":{"id":1}}}"#,
        )]);
        let expected = "# Told from 1 records, the newest of each partition.\n[topics.t]\nenvelope = \"debezium\"\nkey_columns = [\"id\"]\ncolumns = [\n    { name = \"id\", type = \"int8\" },\n    { name = \"n\", type = \"numeric(10,2)\" },\n    { name = \"d\", type = \"date\" },\n    { name = \"l\", type = \"text[]\" },\n]\n";
        assert_eq!(block, expected);
        taken(&block);
    }

    #[test]
    fn a_schema_of_avro_tells_columns() {
        let schema = serde_json::json!({"type": "record", "name": "Order", "fields": [
            {"name": "id", "type": "long"},
            {"name": "total", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "items", "type": {"type": "array", "items": "string"}},
            {"name": "place", "type": {"type": "record", "name": "Place", "fields": []}},
        ]});
        let block = written("o", "orders", &columns::of_avro(&schema));
        let expected = "[topics.o]\ntopic = \"orders\"\nformat = \"avro\"\ncolumns = [\n    { name = \"id\", type = \"int8\" },\n    { name = \"total\", type = \"numeric(12,2)\" },\n    { name = \"at\", type = \"timestamptz\" },\n    { name = \"items\", type = \"text[]\" },\n    { name = \"place\", type = \"jsonb\" },\n]\n";
        assert_eq!(block, expected);
        taken(&block);
    }

    #[test]
    fn lines_tell_their_columns_and_what_is_between_them() {
        let block = of(&[("x", "1;007;2024-01-01;\"a;b\""), ("x", "2;8;;")]);
        let expected = "# Told from 2 records, the newest of each partition.\n[topics.t]\nformat = \"csv\"\ncsv = { delimiter = \";\" }\ncolumns = [\n    { name = \"column1\", type = \"int8\" },\n    { name = \"column2\", type = \"text\" },\n    { name = \"column3\", type = \"date\" },   # in 1 of 2\n    { name = \"column4\", type = \"text\" },   # in 1 of 2\n]\n";
        assert_eq!(block, expected);
        taken(&block);
    }

    fn of_registry(kind: &str, schema: &str) -> String {
        let registered = crate::formats::record::Registered { schema: schema.into(), references: vec![] };
        let latest = Latest { kind: kind.into(), version: Some(3), registered };
        let block = written("t", "t", &of_schema(&latest).unwrap());
        taken(&block);
        let columns = block.lines().filter_map(|line| line.trim().strip_prefix("{ name = ")?.strip_suffix(" },"));
        columns.map(|column| column.replace('"', "").replace(", type =", "")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn schemas_of_protobuf_and_of_json_tell_columns() {
        let proto = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message O { int64 id = 1; uint64 u = 2; \
                     repeated string tags = 3; P p = 4; map<string, int32> m = 5; google.protobuf.Timestamp at = 6; \
                     E e = 7; bytes b = 8; } message P { int32 x = 1; } enum E { A = 0; }";
        let expected = "id int8, u numeric(20,0), tags text[], p jsonb, m jsonb, at timestamptz, e text, b bytea";
        assert_eq!(of_registry("PROTOBUF", proto), expected);
        let json = r##"{"type":"object","properties":{"id":{"type":"integer"},"total":{"type":["null","number"]},
            "at":{"type":"string","format":"date-time"},"d":{"oneOf":[{"type":"null"},{"type":"string","format":"date"}]},
            "tags":{"type":"array","items":{"type":"string"}},"p":{"$ref":"#/definitions/P"},"n":{"$ref":"#/definitions/N"}},
            "definitions":{"P":{"type":"object"},"N":{"type":"integer"}}}"##;
        // serde_json's objects are sorted by name.
        let expected = "at timestamptz, d date, id int8, n int8, p jsonb, tags text[], total numeric";
        assert_eq!(of_registry("JSON", json), expected);
    }
}
