//! A topic's columns: those declared, then those that every record has; and the decoder of both. It reads no record.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{Format, Key, Mode, OnError, Topic, registry};
use crate::formats::postgres::{by_name, field};
use crate::formats::record::{self, Column, Declaration, Decoder, Envelope, any_numeric};

pub(super) const PARTITION: &str = "_partition";
pub(super) const OFFSET: &str = "_offset";
pub(super) const TIMESTAMP: &str = "_timestamp";
pub(super) const KEY: &str = "_key";
pub(super) const OP: &str = "_op";
pub(super) const UNCHANGED: &str = "_unchanged";

const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const TEXTS: u32 = 1009;
const NUMERIC: u32 = 1700;
const TIMESTAMPTZ: u32 = 1184;

/// Where a column of the table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The row after its change, by the decoder's column.
    After(usize),
    /// The row before.
    Before(usize),
    Op,
    /// The names of columns whose values the origin left out.
    Unchanged,
    Partition,
    Offset,
    Timestamp,
    Key,
}

/// What a record becomes.
#[derive(Debug)]
pub(super) struct Layout {
    /// Declared columns, `_op` and `_unchanged` where there is an envelope, then `_partition`, `_offset`, `_timestamp`, `_key`.
    pub(super) schema: SchemaRef,
    pub(super) origins: Vec<Origin>,
    pub(super) decoder: Decoder,
    pub(super) on_error: OnError,
    pub(super) mode: Mode,
}

impl Layout {
    /// Says what is wrong in words for the file's author.
    pub(super) fn new(topic: &Topic, registry: Option<&registry::Config>) -> Result<Self, String> {
        let declared = Declared::new(topic, registry, Numerics::Any)?;
        let (mut fields, mut origins) = (declared.fields, declared.origins);
        let key = match topic.key {
            Key::Bytea => BYTEA,
            Key::Text => TEXT,
        };
        if topic.envelope != Envelope::None && topic.mode == Mode::Changelog {
            fields.extend(field(OP, TEXT, -1, false));
            origins.push(Origin::Op);
            fields.extend(field(UNCHANGED, TEXTS, -1, true));
            origins.push(Origin::Unchanged);
        }
        let own = [
            (PARTITION, INT4, false, Origin::Partition),
            (OFFSET, INT8, false, Origin::Offset),
            (TIMESTAMP, TIMESTAMPTZ, true, Origin::Timestamp),
            (KEY, key, true, Origin::Key),
        ];
        for (name, oid, nullable, origin) in own {
            fields.push(field(name, oid, -1, nullable).ok_or_else(|| format!("column \"{name}\" has no type"))?);
            origins.push(origin);
        }
        if topic.mode == Mode::Latest {
            if declared.declaration.key.is_empty() {
                return Err("mode = \"latest\" needs `key_columns`".into());
            }
            if origins.iter().any(|origin| matches!(origin, Origin::Before(_))) {
                return Err("mode = \"latest\" has no rows as they were before".into());
            }
        }
        let mut decoder = Decoder::new(declared.declaration).map_err(|e| e.message().to_string())?;
        if origins.iter().any(|origin| matches!(origin, Origin::Before(_))) {
            decoder = decoder.with_before();
        }
        let (on_error, mode) = (topic.on_error, topic.mode);
        Ok(Self { schema: Arc::new(Schema::new(fields)), origins, decoder, on_error, mode })
    }
}

impl Layout {
    /// The rows of a window are the same whenever it is read. They are not where records are left out, or made NULLs, because a
    /// registry does not have their schema: it may have it by the next time.
    pub(super) fn is_fixed(&self) -> bool {
        match self.on_error {
            OnError::Error => true,
            OnError::Skip | OnError::Null => !self.decoder.asks_registry(),
        }
    }
}

/// What a numeric without precision is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numerics {
    /// Of any scale, not a number and infinite.
    Any,
    /// As a table of the lake keeps it.
    Decimal,
}

struct Declared {
    /// Of the table, in the file's order.
    fields: Vec<Field>,
    origins: Vec<Origin>,
    declaration: Declaration,
}

impl Declared {
    fn new(topic: &Topic, registry: Option<&registry::Config>, numerics: Numerics) -> Result<Self, String> {
        let (mut fields, mut origins) = (Vec::<Field>::new(), vec![]);
        let mut columns: Vec<Column> = vec![];
        for column in &topic.columns {
            let name = &column.name;
            if [PARTITION, OFFSET, TIMESTAMP, KEY, OP, UNCHANGED].contains(&name.as_str()) {
                return Err(format!("column \"{name}\" is every topic's own"));
            }
            if fields.iter().any(|f| f.name() == name) {
                return Err(format!("column \"{name}\" is declared twice"));
            }
            let found = typed(name, &column.type_name, numerics);
            let unread =
                || format!("column \"{name}\" has type \"{}\", which records are not read as", column.type_name);
            let found = found.ok_or_else(unread)?;
            let path: Vec<String> = match &column.path {
                Some(path) if path.split('.').any(str::is_empty) => {
                    return Err(format!("column \"{name}\" has a path with a name that is empty"));
                }
                Some(path) => path.split('.').map(str::to_owned).collect(),
                None => vec![name.clone()],
            };
            if column.before && topic.envelope != Envelope::Debezium {
                return Err(format!("column \"{name}\" is of the row before, which only envelope = \"debezium\" has"));
            }
            origins.push(if column.before { Origin::Before(columns.len()) } else { Origin::After(columns.len()) });
            fields.push(found.clone());
            let optional = column.optional || column.before;
            columns.push(Column { field: found, path, unit: column.unit, encoding: column.encoding, optional });
        }
        if topic.envelope == Envelope::Debezium && !matches!(topic.format, Format::Json | Format::Avro) {
            return Err("envelope = \"debezium\" is read in JSON and Avro".into());
        }
        let ids = registry.map(|registry| registry.ids);
        if topic.format == Format::Avro && ids.is_none() {
            return Err("format = \"avro\" needs the source's [registry]".into());
        }
        let mut declaration = Declaration::new(topic.format, topic.envelope, columns);
        for name in &topic.key_columns {
            let at = fields.iter().position(|field| field.name() == name);
            let at = at.filter(|at| matches!(origins.get(*at), Some(Origin::After(_))));
            declaration.key.push(at.ok_or_else(|| format!("key column \"{name}\" is not declared"))?);
        }
        declaration.decimals = topic.decimals;
        declaration.csv = topic.csv.clone();
        declaration.is_framed = true;
        declaration.ids = ids.unwrap_or_default();
        if let Some(placeholder) = &topic.placeholder {
            declaration.placeholder = placeholder.clone();
        }
        declaration.messages = match (&topic.proto, topic.format, ids) {
            (Some(proto), Format::Protobuf, _) => Some(record::Messages::read(proto, topic.message.as_deref())?),
            (Some(_), ..) => return Err("`proto` is for format = \"protobuf\"".into()),
            (None, Format::Protobuf, None) => {
                return Err("format = \"protobuf\" needs `proto`, or the source's [registry]".into());
            }
            (None, ..) => None,
        };
        Ok(Self { fields, origins, declaration })
    }
}

/// What reads records into the columns of a table in the lake.
pub(super) fn records(topic: &Topic, registry: Option<&registry::Config>) -> Result<Decoder, String> {
    let declared = Declared::new(topic, registry, Numerics::Decimal)?;
    Decoder::new(declared.declaration).map_err(|e| e.message().to_string())
}

/// The same for lines of text, which no serializer wrote.
pub(super) fn lines(topic: &Topic) -> Result<Decoder, String> {
    let mut declared = Declared::new(topic, None, Numerics::Decimal)?;
    declared.declaration.is_framed = false;
    Decoder::new(declared.declaration).map_err(|e| e.message().to_string())
}

/// A column's field, by its type as PostgreSQL names it.
fn typed(name: &str, type_name: &str, numerics: Numerics) -> Option<Field> {
    let (type_oid, typmod) = by_name(type_name)?;
    match type_oid {
        NUMERIC if typmod == -1 && numerics == Numerics::Any => Some(any_numeric(name)),
        _ => field(name, type_oid, typmod, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::postgres::pg_type;

    #[test]
    fn rows_that_depend_on_a_registry_are_not_fixed() {
        let check = |topic: &str, expect: bool| {
            let topic: Topic = toml::from_str(&format!("{topic}\ncolumns = []")).unwrap();
            let registry: registry::Config = toml::from_str("url = \"http://localhost:1\"").unwrap();
            let layout = Layout::new(&topic, Some(&registry)).unwrap();
            assert_eq!(layout.is_fixed(), expect, "{topic:?}");
        };
        for on_error in ["error", "skip", "null"] {
            let strict = on_error == "error";
            check(&format!("format = \"json\"\non_error = \"{on_error}\""), true);
            check(&format!("format = \"avro\"\non_error = \"{on_error}\""), strict);
            check(&format!("format = \"protobuf\"\non_error = \"{on_error}\""), strict);
        }
    }

    #[test]
    fn types_are_named_as_in_postgres() {
        let check = |text: &str, expect: Option<(u32, i32)>| {
            let found = typed("c", text, Numerics::Any).map(|field| pg_type(&field).unwrap());
            assert_eq!(found.map(|found| (found.oid, found.typmod)), expect, "{text}");
        };
        check("int8", Some((20, -1)));
        check("Double Precision", Some((701, -1)));
        check("numeric", Some((1700, -1)));
        check("numeric(12,2)", Some((1700, (12 << 16 | 2) + 4)));
        check("decimal( 5 )", Some((1700, (5 << 16) + 4)));
        check("jsonb", Some((3802, -1)));
        check("text[]", Some((1009, -1)));
        check("char(3)", Some((1042, 7)));
        check("numeric(2", None);
        check("text(3)", None);
        check("mood", None);
        check("", None);
    }
}
