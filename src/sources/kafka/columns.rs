//! A topic's columns: those declared, then those that every record has. It reads no record.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{Format, Key, OnError, Topic};
use crate::formats::json;
use crate::formats::postgres::field;

pub(super) const PARTITION: &str = "_partition";
pub(super) const OFFSET: &str = "_offset";
pub(super) const TIMESTAMP: &str = "_timestamp";
pub(super) const KEY: &str = "_key";

const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;
const TIMESTAMPTZ: u32 = 1184;

/// What a record becomes.
#[derive(Debug)]
pub(super) struct Layout {
    /// Declared columns, then `_partition`, `_offset`, `_timestamp`, `_key`.
    pub(super) schema: SchemaRef,
    pub(super) decoder: json::Decoder,
    pub(super) on_error: OnError,
}

impl Layout {
    /// Says what is wrong in words for the file's author.
    pub(super) fn new(topic: &Topic) -> Result<Self, String> {
        let (declared, decoder) = declared(topic)?;
        let mut fields: Vec<Field> = declared.fields().iter().map(|f| f.as_ref().clone()).collect();
        let key = match topic.key {
            Key::Bytea => BYTEA,
            Key::Text => TEXT,
        };
        let own = [(PARTITION, INT4, false), (OFFSET, INT8, false), (TIMESTAMP, TIMESTAMPTZ, true), (KEY, key, true)];
        for (name, oid, nullable) in own {
            fields.push(field(name, oid, -1, nullable).ok_or_else(|| format!("column \"{name}\" has no type"))?);
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), decoder, on_error: topic.on_error })
    }
}

/// The columns that the file declares, and what reads JSON into them.
pub(super) fn declared(topic: &Topic) -> Result<(SchemaRef, json::Decoder), String> {
    match topic.format {
        Format::Json => {}
    }
    let mut fields: Vec<Field> = vec![];
    for column in &topic.columns {
        let name = &column.name;
        if [PARTITION, OFFSET, TIMESTAMP, KEY].contains(&name.as_str()) {
            return Err(format!("column \"{name}\" is every topic's own"));
        }
        if fields.iter().any(|f| f.name() == name) {
            return Err(format!("column \"{name}\" is declared twice"));
        }
        let found = parse_type(&column.type_name).and_then(|(oid, typmod)| field(name, oid, typmod, true));
        let unread = || format!("column \"{name}\" has type \"{}\", which JSON is not read as", column.type_name);
        fields.push(found.ok_or_else(unread)?);
    }
    let units: Vec<json::Unit> = topic.columns.iter().map(|c| c.unit).collect();
    let declared = Arc::new(Schema::new(fields));
    let decoder = json::Decoder::new(Arc::clone(&declared), &units).map_err(|e| e.message().to_string())?;
    Ok((declared, decoder))
}

/// Oid and type modifier of the types that JSON is read as, by PostgreSQL's names.
fn parse_type(text: &str) -> Option<(u32, i32)> {
    let lower = text.trim().to_ascii_lowercase();
    let (name, modifier) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim_end(), Some(rest.strip_suffix(')')?)),
        None => (lower.as_str(), None),
    };
    let oid = match name {
        "bool" | "boolean" => 16,
        "int2" | "smallint" => 21,
        "int4" | "int" | "integer" => INT4,
        "int8" | "bigint" => INT8,
        "float4" | "real" => 700,
        "float8" | "double precision" => 701,
        "numeric" | "decimal" => NUMERIC,
        "text" => TEXT,
        "json" => 114,
        "date" => 1082,
        "timestamp" | "timestamp without time zone" => 1114,
        "timestamptz" | "timestamp with time zone" => TIMESTAMPTZ,
        "uuid" => 2950,
        _ => return None,
    };
    match (oid, modifier) {
        (_, None) => Some((oid, -1)),
        (NUMERIC, Some(modifier)) => {
            let (precision, scale) = modifier.split_once(',').unwrap_or((modifier, "0"));
            let (precision, scale): (i32, i32) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            // As numerictypmodin packs them.
            let fits = (1..=38).contains(&precision) && (0..=precision).contains(&scale);
            fits.then_some((oid, ((precision << 16) | scale) + 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_in_postgres() {
        let check = |text: &str, expect| assert_eq!(parse_type(text), expect, "{text}");
        check("int8", Some((20, -1)));
        check("Double Precision", Some((701, -1)));
        check("numeric", Some((1700, -1)));
        check("numeric(12,2)", Some((1700, (12 << 16 | 2) + 4)));
        check("decimal( 5 )", Some((1700, (5 << 16) + 4)));
        check("numeric(39,2)", None);
        check("numeric(2,3)", None);
        check("numeric(2", None);
        check("text(3)", None);
        check("jsonb", None);
        check("", None);
    }
}
