//! A metadata file's bytes → the `iceberg` crate's form of it, and what that form cannot say: types that are newer than the
//! crate. It opens nothing but what the crate has to open itself, and keeps nothing.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use serde_json::Value;

use super::schema;
use super::{TableKey, shown};
use crate::error::{Error, Kind, Result};

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
pub(super) async fn parse(
    key: &TableKey,
    bytes: &Bytes,
    location: &str,
    io: &FileIO,
) -> Result<(TableMetadata, Beyond)> {
    let parsed = match gzipped(bytes) {
        false => serde_json::from_slice::<TableMetadata>(bytes).map_err(iceberg::Error::from),
        // The crate opens it; what it cannot read stays unnamed inside a compressed file.
        true => TableMetadata::read_from(io, location).await,
    };
    let error = match parsed {
        Ok(metadata) => return Ok((metadata, Beyond::default())),
        Err(error) => error,
    };
    if damaged(bytes, &error) {
        let message = format!("the metadata file of table {} is damaged", shown(key));
        return Err(Error::new(Kind::DataGone, message).with_source(error));
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

fn gzipped(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Torn or overwritten, and not merely in a form of another engine's that is not understood here: what is no JSON at all.
fn damaged(bytes: &[u8], error: &iceberg::Error) -> bool {
    if !gzipped(bytes) {
        return serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err();
    }
    // What was compressed is seen by the crate alone: it could not unpack it, or found no JSON.
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = at {
        if e.is::<std::io::Error>()
            || e.downcast_ref::<serde_json::Error>().is_some_and(|e| e.is_eof() || e.is_syntax())
        {
            return true;
        }
        at = e.source();
    }
    false
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
