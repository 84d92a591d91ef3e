//! What PostgreSQL knows of a lake table's columns and Iceberg does not: `varchar(10)`, `json`, `timestamp(3)` and their like
//! are kept as properties of the table, by field id. Without one, or where it does not fit the column, Iceberg's type
//! speaks for itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::formats::postgres::{self, OID, TYPMOD};
use crate::lake;

/// The `uuid` type's oid, and that of its arrays: sixteen bytes alone do not tell.
const UUID_OID: &str = "2950";
const UUIDS_OID: &str = "2951";
/// The `json` type's: the text of a variant.
pub(super) const JSON_OID: &str = "114";
/// Before a field id: the column's type by PostgreSQL's name.
const TYPE: &str = "lakegate.type.";
/// Before a field id: the column's default.
const DEFAULT: &str = "lakegate.default.";

/// Whether it is one, or a list of them.
pub(crate) fn is_uuid(field: &Field) -> bool {
    field.metadata().get(OID).is_some_and(|oid| oid == UUID_OID || oid == UUIDS_OID)
}

/// The property for a column of this id and type; its value where the type is not told by Iceberg's.
pub(crate) fn type_property(id: i32, field: &Field) -> (String, Option<String>) {
    let named = postgres::pg_type(field).ok().filter(|_| is_told(field) && !is_uuid(field));
    (format!("{TYPE}{id}"), named.map(|ty| postgres::type_name(ty.oid, ty.typmod)))
}

/// Whether it says of which type it is, or its elements do.
fn is_told(field: &Field) -> bool {
    let own = field.metadata().contains_key(OID) || field.metadata().contains_key(TYPMOD);
    own || matches!(field.data_type(), DataType::List(item) if is_told(item))
}

/// The property for the default of a column of this id.
pub(super) fn default_property(id: i32) -> String {
    format!("{DEFAULT}{id}")
}

/// Column → its default.
pub(super) fn defaults(table: &lake::Table) -> BTreeMap<String, String> {
    let of = |field: &FieldRef| {
        let text = table.properties().get(&default_property(lake::field_id(field)?))?;
        Some((field.name().clone(), text.clone()))
    };
    table.schema().fields().iter().filter_map(of).collect()
}

/// The table's columns with the metadata by which PostgreSQL's types are told.
pub(super) fn shown_schema(table: &lake::Table) -> SchemaRef {
    shown_columns(table, &table.schema())
}

/// As [`shown_schema`], for any of the schemas that the table has had.
pub(super) fn shown_columns(table: &lake::Table, schema: &Schema) -> SchemaRef {
    let uuids = table.uuid_columns().into_iter().map(|id| (id, UUID_OID));
    let oids: HashMap<i32, &str> = uuids.chain(table.json_columns().into_iter().map(|id| (id, JSON_OID))).collect();
    let of_property = |field: &FieldRef| {
        let name = table.properties().get(&format!("{TYPE}{}", lake::field_id(field)?))?;
        let (oid, typmod) = postgres::by_name(name)?;
        let typed = postgres::field(field.name(), oid, typmod, field.is_nullable())?;
        same_values(typed.data_type(), field.data_type()).then(|| {
            let mut metadata = field.metadata().clone();
            metadata.extend(typed.metadata().clone());
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        })
    };
    let shown = |field: &FieldRef| of_property(field).unwrap_or_else(|| shown_field(field, &oids));
    Arc::new(Schema::new(schema.fields().iter().map(shown).collect::<Vec<_>>()))
}

/// Equal but for what elements are called.
fn same_values(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_values(a.data_type(), b.data_type()),
        (a, b) => a == b,
    }
}

fn shown_field(field: &FieldRef, oids: &HashMap<i32, &str>) -> FieldRef {
    if oids.is_empty() {
        return Arc::clone(field);
    }
    let mut metadata = field.metadata().clone();
    if let Some(oid) = lake::field_id(field).and_then(|id| oids.get(&id)) {
        metadata.insert(OID.into(), (*oid).into());
    }
    let of = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| shown_field(f, oids)).collect()),
        DataType::List(element) => DataType::List(shown_field(element, oids)),
        DataType::Map(entries, sorted) => DataType::Map(shown_field(entries, oids), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(of).with_metadata(metadata))
}

/// The column's field id, and those of all fields within it.
pub(super) fn field_ids(field: &Field) -> Vec<String> {
    let own = lake::field_id(field).map_or_else(|| field.name().clone(), |id| format!("#{id}"));
    let within = lake::fields_within(field.data_type()).into_iter().flat_map(|field| field_ids(&field));
    std::iter::once(own).chain(within).collect()
}
