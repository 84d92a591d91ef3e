//! Recordings of Debezium against what was done to the tables, and single values, envelopes and broken bytes.

mod broken;
mod claims;
mod recorded;
mod values;

use std::io::Read;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use flate2::read::GzDecoder;

use super::*;
use crate::formats::postgres::{Style, by_name, field, texts};
use crate::pgtype::{self, Ty, oid};

/// A column as a source file declares it.
fn column(name: &str, type_name: &str) -> Column {
    let (oid, typmod) = by_name(type_name).unwrap();
    let field = match (oid, typmod) {
        (oid::NUMERIC, -1) => pgtype::field(name, Ty::NUMERIC, DataType::Binary),
        _ => field(name, oid, typmod, true).unwrap(),
    };
    Column { field, path: vec![name.into()], unit: None, encoding: Encoding::Base64, optional: false }
}

fn columns(declared: &[(&str, &str)]) -> Vec<Column> {
    declared.iter().map(|(name, type_name)| column(name, type_name)).collect()
}

/// Each row's values as PostgreSQL spells them.
fn shown(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let style = Style::of(chrono_tz::UTC);
    let arrays: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| texts(field, array, &style).unwrap())
        .collect();
    let value = |array: &arrow::array::StringArray, row: usize| {
        use arrow::array::Array;
        (!array.is_null(row)).then(|| array.value(row).to_owned())
    };
    (0..batch.num_rows()).map(|row| arrays.iter().map(|array| value(array, row)).collect()).collect()
}

/// One line a recorded message: `tests/data/debezium`.
#[derive(Clone, Debug, Default)]
struct Recorded {
    topic: String,
    offset: usize,
    at_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    old_key: Option<Vec<u8>>,
}

impl Recorded {
    fn record(&self) -> Record<'_> {
        Record {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            at_ms: Some(self.at_ms),
            old_key: self.old_key.as_deref(),
        }
    }
}

fn unpacked(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/debezium").join(format!("{file}.gz"));
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn recording(file: &str) -> Vec<Recorded> {
    use base64::Engine;
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let part = |name: &str| match line.get(format!("{name}_base64")) {
            Some(text) => text.as_str().map(|t| base64::engine::general_purpose::STANDARD.decode(t).unwrap()),
            None => line[name].as_str().map(|text| text.as_bytes().to_vec()),
        };
        let headers = line["headers"].as_array().unwrap();
        let old = headers.iter().find(|header| header[0] == OLD_KEY);
        let decoded = |text: &str| match line.get("key_base64") {
            // Headers were written as text even where they are bytes; such a one is not tested.
            Some(_) => None,
            None => Some(text.as_bytes().to_vec()),
        };
        Recorded {
            topic: line["topic"].as_str().unwrap().into(),
            offset: line["offset"].as_u64().unwrap() as usize,
            at_ms: line["timestamp"].as_i64().unwrap(),
            key: part("key"),
            value: part("value"),
            old_key: old.and_then(|header| header[1].as_str()).and_then(decoded),
        }
    };
    unpacked(file).lines().map(line).collect()
}
