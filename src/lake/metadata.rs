//! A metadata file's bytes → the `iceberg` crate's form of it, and what that form cannot say: types that are newer than the
//! crate. It opens nothing and keeps nothing.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use flate2::read::GzDecoder;
use iceberg::spec::TableMetadata;
use serde_json::Value;

use super::schema;
use super::{TableKey, shown};
use crate::error::{Error, Kind, Result};

/// What a few compressed bytes may become.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// A type of format version 3 that the crate does not know. It is told `binary` in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewType {
    /// Semi-structured values; shown as JSON text.
    Variant,
    /// A column without a value anywhere; shown as text.
    Unknown,
}

/// The columns, nested ones too, of types that the crate does not know, by field id.
#[derive(Clone, Debug, Default)]
pub(super) struct Beyond(HashMap<i32, NewType>);

impl Beyond {
    pub(super) fn of(&self, id: i32) -> Option<NewType> {
        self.0.get(&id).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ids(&self, of: NewType) -> HashSet<i32> {
        self.0.iter().filter(|(_, known)| **known == of).map(|(id, _)| *id).collect()
    }

    /// Notes the new types below `value` and writes `binary` in their place.
    fn take(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (id, of) in [("id", "type"), ("element-id", "element"), ("key-id", "key"), ("value-id", "value")] {
                    let id = fields.get(id).and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
                    let new = fields.get(of).and_then(Value::as_str).and_then(NewType::named);
                    if let (Some(id), Some(new)) = (id, new) {
                        self.0.insert(id, new);
                        fields.insert(of.to_string(), "binary".into());
                    }
                }
                fields.values_mut().for_each(|v| self.take(v));
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.take(v)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }
}

impl NewType {
    fn named(name: &str) -> Option<Self> {
        match name {
            "variant" => Some(Self::Variant),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Variant => "variant",
            Self::Unknown => "unknown",
        }
    }
}

/// A schema's JSON, as manifests carry it, in words that the crate knows; `None` where it does already.
pub(super) fn known_schema(json: &[u8]) -> Option<Vec<u8>> {
    let mut schema: Value = serde_json::from_slice(json).ok()?;
    let mut beyond = Beyond::default();
    beyond.take(&mut schema);
    if beyond.is_empty() { None } else { serde_json::to_vec(&schema).ok() }
}

/// [`Kind::DataGone`] for what is no metadata at all, 0A000 naming the column for a type that cannot be read.
pub(super) fn parse(key: &TableKey, bytes: &[u8]) -> Result<(TableMetadata, Beyond)> {
    let damaged = || Error::new(Kind::DataGone, format!("the metadata file of table {} is damaged", shown(key)));
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    let unpacked = if packed { unpacked(bytes).map_err(|e| damaged().with_source(e))? } else { vec![] };
    let bytes = if packed { &unpacked } else { bytes };
    let error = match serde_json::from_slice::<TableMetadata>(bytes) {
        Ok(metadata) => return Ok((metadata, Beyond::default())),
        Err(error) => iceberg::Error::from(error),
    };
    // Torn or overwritten, and not merely in a form of another engine's that is not understood here.
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
        return Err(damaged().with_source(error));
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(bytes) else { return Err(unreadable(key, None, error)) };
    let mut beyond = Beyond::default();
    // Format version 1 may have its one schema under another name.
    for place in ["schemas", "schema"] {
        if let Some(schemas) = json.get_mut(place) {
            beyond.take(schemas);
        }
    }
    if beyond.is_empty() {
        return Err(unreadable(key, Some(&json), error));
    }
    match serde_json::from_value::<TableMetadata>(json.clone()) {
        Ok(metadata) => Ok((metadata, beyond)),
        Err(error) => Err(unreadable(key, Some(&json), error.into())),
    }
}

fn unpacked(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    GzDecoder::new(gzip).take(UNPACKED_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Names the column whose type the crate does not know, where that is the reason.
fn unreadable(key: &TableKey, json: Option<&Value>, error: iceberg::Error) -> Error {
    match json.and_then(schema::unknown_types) {
        Some((column, of)) => Error::new(
            Kind::Unsupported,
            format!("column \"{column}\" of table {} has the type {of}, which is not supported", shown(key)),
        )
        .with_source(error),
        None => Error::new(Kind::SourceFailed, format!("the metadata of table {} cannot be read", shown(key)))
            .with_source(error),
    }
}
