//! Iceberg schemas and values ⇄ Arrow's, column by column. It names no type of the Arrow release that the `iceberg`
//! crate stands on, and no PostgreSQL type: `sources` adds those.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::{self, ListType, MapType, NestedField, PrimitiveLiteral, PrimitiveType, StructType, Type};

use super::metadata::{Beyond, NewType};
use crate::error::{Error, Kind, Result};

/// Field metadata: the column's Iceberg id, by which Parquet files know it.
pub const FIELD_ID: &str = parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// Metadata of a new table's field: its place in the key by which rows are told apart.
pub const KEY: &str = "lakegate.key";
/// In a new column's field: what it is where a row is written without a value for it, as a text of SQL.
pub const DEFAULT: &str = "lakegate.default";

/// Names the format keeps for its own columns.
const RESERVED: &[&str] =
    &["_pos", "_deleted", "_partition", "_file", "_row_id", "_spec_id", "_last_updated_sequence_number"];

/// The id a field carries, if it carries one.
pub fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID)?.parse().ok()
}

/// The fields that a nested type is made of.
pub fn fields_within(of: &DataType) -> Vec<FieldRef> {
    match of {
        DataType::Struct(fields) => fields.to_vec(),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            vec![Arc::clone(f)]
        }
        _ => vec![],
    }
}

/// Ids that the format keeps for columns of its own ("Reserved Field IDs").
pub(super) const ROW_ID: i32 = 2_147_483_540;
pub(super) const LAST_UPDATED: i32 = 2_147_483_539;
pub(super) const DATA_FILE: i32 = 2_147_483_646;
pub(super) const ROW_POSITION: i32 = 2_147_483_645;
/// Of a position delete file's columns.
pub(super) const DELETED_PATH: i32 = 2_147_483_546;
pub(super) const DELETED_POSITION: i32 = 2_147_483_545;

/// The table's columns as Arrow sees them, each with its id.
pub(super) fn arrow_schema(schema: &spec::Schema, beyond: &Beyond) -> SchemaRef {
    Arc::new(Schema::new(fields(schema.as_struct(), beyond)))
}

fn fields(of: &StructType, beyond: &Beyond) -> Fields {
    of.fields().iter().map(|f| arrow_field(f, beyond)).collect()
}

pub(super) fn arrow_field(field: &NestedField, beyond: &Beyond) -> FieldRef {
    let of = match beyond.of(field.id) {
        Some(NewType::Variant | NewType::Unknown) => DataType::Utf8,
        None => arrow_type(&field.field_type, beyond),
    };
    Arc::new(with_id(Field::new(&field.name, of, !field.required), field.id))
}

pub(super) fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(FIELD_ID.to_string(), id.to_string())]))
}

pub(super) fn lineage_columns() -> [FieldRef; 2] {
    let column = |name: &str, id| Arc::new(with_id(Field::new(name, DataType::Int64, true), id));
    [column("_row_id", ROW_ID), column("_last_updated_sequence_number", LAST_UPDATED)]
}

pub(super) fn place_columns() -> [FieldRef; 2] {
    let column = |name: &str, of, id| Arc::new(with_id(Field::new(name, of, true), id));
    [column("_file", DataType::Utf8, DATA_FILE), column("_pos", DataType::Int64, ROW_POSITION)]
}

fn arrow_type(of: &Type, beyond: &Beyond) -> DataType {
    match of {
        Type::Primitive(p) => arrow_primitive(p),
        Type::Struct(s) => DataType::Struct(fields(s, beyond)),
        Type::List(l) => DataType::List(arrow_field(&l.element_field, beyond)),
        Type::Map(m) => {
            let pair = [arrow_field(&m.key_field, beyond), arrow_field(&m.value_field, beyond)];
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair.into()), false)), false)
        }
    }
}

pub(super) fn arrow_primitive(of: &PrimitiveType) -> DataType {
    let utc = || Some("UTC".into());
    match of {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        // The crate refuses precisions over 38, so both fit.
        PrimitiveType::Decimal { precision, scale } => DataType::Decimal128(*precision as u8, *scale as i8),
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, utc()),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => DataType::FixedSizeBinary(i32::try_from(*length).unwrap_or(i32::MAX)),
        PrimitiveType::Binary => DataType::Binary,
    }
}

/// An Iceberg value as Arrow has it; `None` where value and type do not belong together (foreign metadata).
pub(super) fn scalar(value: &PrimitiveLiteral, of: &PrimitiveType) -> Option<ScalarValue> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let utc = || Some("UTC".into());
    Some(match (of, value) {
        (T::Boolean, L::Boolean(v)) => ScalarValue::Boolean(Some(*v)),
        (T::Int, L::Int(v)) => ScalarValue::Int32(Some(*v)),
        // A file written before its column was promoted keeps the narrower value.
        (T::Long, L::Int(v)) => ScalarValue::Int64(Some(i64::from(*v))),
        (T::Long, L::Long(v)) => ScalarValue::Int64(Some(*v)),
        (T::Float, L::Float(v)) => ScalarValue::Float32(Some(v.0)),
        (T::Double, L::Float(v)) => ScalarValue::Float64(Some(f64::from(v.0))),
        (T::Double, L::Double(v)) => ScalarValue::Float64(Some(v.0)),
        (T::Date, L::Int(v)) => ScalarValue::Date32(Some(*v)),
        (T::Time, L::Long(v)) => ScalarValue::Time64Microsecond(Some(*v)),
        (T::Timestamp, L::Long(v)) => ScalarValue::TimestampMicrosecond(Some(*v), None),
        (T::Timestamptz, L::Long(v)) => ScalarValue::TimestampMicrosecond(Some(*v), utc()),
        (T::TimestampNs, L::Long(v)) => ScalarValue::TimestampNanosecond(Some(*v), None),
        (T::TimestamptzNs, L::Long(v)) => ScalarValue::TimestampNanosecond(Some(*v), utc()),
        (T::String, L::String(v)) => ScalarValue::Utf8(Some(v.clone())),
        (T::Binary, L::Binary(v)) => ScalarValue::Binary(Some(v.clone())),
        (T::Fixed(length), L::Binary(v)) if *length == v.len() as u64 => {
            ScalarValue::FixedSizeBinary(i32::try_from(*length).ok()?, Some(v.clone()))
        }
        (T::Uuid, L::UInt128(v)) => ScalarValue::FixedSizeBinary(16, Some(v.to_be_bytes().to_vec())),
        (T::Decimal { precision, scale }, L::Int128(v)) => {
            ScalarValue::Decimal128(Some(*v), *precision as u8, *scale as i8)
        }
        _ => return None,
    })
}

/// What a new table is made of: Arrow columns as the statement has them, and how to tell a uuid, and a list of them, from
/// other 16 bytes.
pub struct Columns<'a> {
    pub schema: &'a Schema,
    pub is_uuid: &'a (dyn Fn(&Field) -> bool + Sync),
    /// CREATE TABLE AS takes no NOT NULL over, as in PostgreSQL.
    pub all_nullable: bool,
}

/// The Iceberg schema for new columns: 0A000 naming the first that has no Iceberg form, 42701 for one named twice.
pub(super) fn iceberg_schema(columns: &Columns) -> Result<spec::Schema> {
    if columns.schema.fields().is_empty() {
        return Err(Error::unsupported("a lake table without columns"));
    }
    let fields = iceberg_fields(columns, &mut 0)?;
    let is_key = |(at, _): &(usize, &spec::NestedFieldRef)| columns.schema.field(*at).metadata().contains_key(KEY);
    let key: Vec<i32> = fields.iter().enumerate().filter(is_key).map(|(_, field)| field.id).collect();
    let schema = spec::Schema::builder().with_identifier_field_ids(key).with_fields(fields).build();
    schema.map_err(|e| Error::new(Kind::InvalidDefinition, "these columns do not make a lake table").with_source(e))
}

/// The columns with the ids that follow on `last`, which becomes the last of them.
pub(super) fn iceberg_fields(columns: &Columns, last: &mut i32) -> Result<Vec<spec::NestedFieldRef>> {
    let mut seen = std::collections::HashSet::new();
    for field in columns.schema.fields() {
        let name = field.name();
        if RESERVED.contains(&name.as_str()) {
            let message = format!("column name \"{name}\" is reserved by the table format");
            return Err(Error::new(Kind::InvalidDefinition, message).with_hint(format!(
                "Give the column another name, such as: {name} AS {}.",
                name.trim_start_matches('_')
            )));
        }
        if !seen.insert(name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
    }
    let mut maker = Maker { next: *last, columns };
    let ids: Vec<i32> = columns.schema.fields().iter().map(|_| maker.id()).collect();
    let mut fields = vec![];
    for (field, id) in columns.schema.fields().iter().zip(ids) {
        fields.push(maker.field(field, id, field.name())?);
    }
    *last = maker.next;
    Ok(fields)
}

/// Gives ids as other writers do: the top level first, nested fields after it.
struct Maker<'a> {
    next: i32,
    columns: &'a Columns<'a>,
}

impl Maker<'_> {
    fn id(&mut self) -> i32 {
        self.next += 1;
        self.next
    }

    fn field(&mut self, field: &Field, id: i32, column: &str) -> Result<spec::NestedFieldRef> {
        let required = !self.columns.all_nullable && !field.is_nullable();
        let of = self.of(field, column)?;
        Ok(Arc::new(NestedField::new(id, field.name(), of, required)))
    }

    fn of(&mut self, field: &Field, column: &str) -> Result<Type> {
        let primitive = |p| Ok(Type::Primitive(p));
        match field.data_type() {
            DataType::Boolean => primitive(PrimitiveType::Boolean),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                primitive(PrimitiveType::Int)
            }
            // The cast of a number over the range is an error, not a wrap.
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => primitive(PrimitiveType::Long),
            DataType::Float16 | DataType::Float32 => primitive(PrimitiveType::Float),
            DataType::Float64 => primitive(PrimitiveType::Double),
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s)
                if *p <= 38 && *s >= 0 =>
            {
                primitive(PrimitiveType::Decimal { precision: u32::from(*p), scale: s.unsigned_abs().into() })
            }
            DataType::Date32 | DataType::Date64 => primitive(PrimitiveType::Date),
            DataType::Time32(_) | DataType::Time64(_) => primitive(PrimitiveType::Time),
            DataType::Timestamp(_, None) => primitive(PrimitiveType::Timestamp),
            DataType::Timestamp(_, Some(_)) => primitive(PrimitiveType::Timestamptz),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                primitive(PrimitiveType::String)
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => primitive(PrimitiveType::Binary),
            DataType::FixedSizeBinary(16) if (self.columns.is_uuid)(field) => primitive(PrimitiveType::Uuid),
            DataType::FixedSizeBinary(length) => primitive(PrimitiveType::Fixed(u64::from(length.unsigned_abs()))),
            DataType::Dictionary(_, value) => self.of(&field.clone().with_data_type(value.as_ref().clone()), column),
            DataType::List(e)
            | DataType::LargeList(e)
            | DataType::FixedSizeList(e, _)
            | DataType::ListView(e)
            | DataType::LargeListView(e) => {
                let id = self.id();
                let of = match e.data_type() {
                    DataType::FixedSizeBinary(16) if (self.columns.is_uuid)(field) => {
                        Type::Primitive(PrimitiveType::Uuid)
                    }
                    _ => self.of(e, column)?,
                };
                let required = !self.columns.all_nullable && !e.is_nullable();
                Ok(Type::List(ListType::new(Arc::new(NestedField::list_element(id, of, required)))))
            }
            DataType::Struct(fields) => {
                let ids: Vec<i32> = fields.iter().map(|_| self.id()).collect();
                let made = fields.iter().zip(ids).map(|(f, id)| self.field(f, id, column)).collect::<Result<_>>()?;
                Ok(Type::Struct(StructType::new(made)))
            }
            DataType::Map(entries, _) => self.map(entries, column),
            other => Err(no_form(column, other)),
        }
    }

    fn map(&mut self, entries: &Field, column: &str) -> Result<Type> {
        let DataType::Struct(pair) = entries.data_type() else { return Err(no_form(column, entries.data_type())) };
        let [key, value] = &pair[..] else { return Err(no_form(column, entries.data_type())) };
        let (key_id, value_id) = (self.id(), self.id());
        let required = !self.columns.all_nullable && !value.is_nullable();
        Ok(Type::Map(MapType::new(
            Arc::new(NestedField::map_key_element(key_id, self.of(key, column)?)),
            Arc::new(NestedField::map_value_element(value_id, self.of(value, column)?, required)),
        )))
    }
}

fn no_form(column: &str, of: &DataType) -> Error {
    Error::new(Kind::Unsupported, format!("column \"{column}\" has a type that a lake table cannot keep"))
        .with_hint("Cast it to one that it can, such as text or numeric(38, 10).")
        .with_source(format!("{of}"))
}

/// The column types of a metadata file that the `iceberg` crate does not know, as `(column, type)`. It reads the raw
/// JSON, because the crate fails on the whole file without saying where.
pub(super) fn unknown_types(metadata: &serde_json::Value) -> Option<(String, String)> {
    let schemas = metadata.get("schemas")?.as_array()?;
    let current = metadata.get("current-schema-id").and_then(|v| v.as_i64());
    let is_current = |s: &&serde_json::Value| s.get("schema-id").and_then(|v| v.as_i64()) == current;
    let ordered = schemas.iter().filter(is_current).chain(schemas.iter().filter(|s| !is_current(s)));
    ordered.flat_map(columns).find_map(|(name, of)| Some((name.to_string(), unknown(of)?)))
}

fn columns(schema: &serde_json::Value) -> impl Iterator<Item = (&str, &serde_json::Value)> {
    let fields = schema.get("fields").and_then(|f| f.as_array()).map(Vec::as_slice).unwrap_or_default();
    fields.iter().filter_map(|f| Some((f.get("name")?.as_str()?, f.get("type")?)))
}

fn unknown(of: &serde_json::Value) -> Option<String> {
    match of {
        serde_json::Value::String(_) => match serde_json::from_value::<PrimitiveType>(of.clone()) {
            Ok(_) => None,
            Err(_) => of.as_str().map(String::from),
        },
        serde_json::Value::Object(nested) => {
            let parts = ["element", "key", "value"].iter().filter_map(|k| nested.get(*k));
            parts.chain(columns(of).map(|(_, of)| of)).find_map(unknown)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(fields: Vec<Field>) -> Result<String> {
        let schema = Schema::new(fields);
        let made = iceberg_schema(&Columns { schema: &schema, is_uuid: &|f| f.name() == "u", all_nullable: false })?;
        let text = |f: &spec::NestedFieldRef| {
            format!("{}:{} {}{}", f.id, f.name, f.field_type, if f.required { "!" } else { "" })
        };
        Ok(made.as_struct().fields().iter().map(text).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn columns_become_what_iceberg_has_for_them() {
        let field = |name: &str, of| Field::new(name, of, true);
        let one = |name: &str, of| make(vec![field(name, of)]).map_err(|e| e.message().to_string());
        let list = DataType::List(Arc::new(field("item", DataType::Utf8View)));
        let check = [
            ("a", DataType::Int16, "1:a int"),
            ("a", DataType::UInt64, "1:a long"),
            ("a", DataType::Utf8View, "1:a string"),
            ("a", DataType::Null, "1:a string"),
            ("a", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "1:a string"),
            ("a", DataType::Timestamp(TimeUnit::Nanosecond, None), "1:a timestamp"),
            ("a", DataType::Timestamp(TimeUnit::Second, Some("Europe/Rome".into())), "1:a timestamptz"),
            ("a", DataType::Decimal128(12, 2), "1:a decimal(12, 2)"),
            ("u", DataType::FixedSizeBinary(16), "1:u uuid"),
            ("a", DataType::FixedSizeBinary(16), "1:a fixed(16)"),
            ("a", list, "1:a list"),
        ];
        for (name, of, expect) in check {
            assert_eq!(one(name, of.clone()), Ok(expect.to_string()), "{of}");
        }
        for of in [DataType::Duration(TimeUnit::Second), DataType::Decimal256(60, 2), DataType::Decimal128(5, -2)] {
            assert_eq!(one("bad", of), Err("column \"bad\" has a type that a lake table cannot keep".to_string()));
        }
    }

    #[test]
    fn reserved_and_repeated_names_are_refused() {
        let field = |name: &str| Field::new(name, DataType::Int64, false);
        assert_eq!(make(vec![field("a"), field("b")]).unwrap(), "1:a long!, 2:b long!");
        let error = make(vec![field("_pos")]).unwrap_err();
        assert_eq!(error.message(), "column name \"_pos\" is reserved by the table format");
        assert_eq!(error.hint(), Some("Give the column another name, such as: _pos AS pos."));
        assert_eq!(make(vec![field("a"), field("a")]).unwrap_err().kind(), Kind::DuplicateColumn);
    }

    #[test]
    fn nested_ids_follow_the_top_level() {
        let inner = Field::new("x", DataType::Struct(vec![Field::new("y", DataType::Int64, true)].into()), true);
        let schema = Schema::new(vec![inner, Field::new("z", DataType::Int64, true)]);
        let made = iceberg_schema(&Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true }).unwrap();
        let id = |name: &str| made.field_id_by_name(name);
        assert_eq!((id("x"), id("z"), id("x.y")), (Some(1), Some(2), Some(3)));
        assert_eq!(field_id(arrow_schema(&made, &Beyond::default()).field(1)), Some(2));
    }

    #[test]
    fn a_type_the_crate_does_not_know_is_named_with_its_column() {
        let json = serde_json::json!({"current-schema-id": 1, "schemas": [
            {"schema-id": 0, "fields": [{"id": 1, "name": "old", "type": "unknown"}]},
            {"schema-id": 1, "fields": [{"id": 1, "name": "a", "type": "decimal(9, 2)"},
                {"id": 2, "name": "b", "type": {"type": "list", "element-id": 3, "element-required": false, "element": "variant"}}]}]});
        assert_eq!(unknown_types(&json), Some(("b".into(), "variant".into())));
    }
}
