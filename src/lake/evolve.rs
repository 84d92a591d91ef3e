//! Changes of a table's columns → the schema that it has then. Files stay as they are: a column is its id, whatever it is
//! called, and a wider type reads the narrower one (spec, "Schema Evolution"). What the rows say is asked by `commit`'s
//! callers before.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use iceberg::spec::{self, NestedField, NestedFieldRef, PrimitiveType, Type};

use super::schema::{Columns, iceberg_fields};
use super::{Action, Table};
use crate::error::{Error, Kind, Result};

/// One change of a column.
#[derive(Clone, Debug)]
pub enum Alter {
    /// At the end; required where the field is not nullable.
    Add(Field),
    Drop(String),
    Rename {
        column: String,
        to: String,
    },
    /// To a type that holds every value of the one it has.
    Retype {
        column: String,
        to: Field,
    },
    Require {
        column: String,
        required: bool,
    },
    Document {
        column: String,
        text: Option<String>,
    },
}

impl Alter {
    /// The column with its new type, by its name.
    pub fn typed(&self) -> Option<&Field> {
        match self {
            Self::Add(field) | Self::Retype { to: field, .. } => Some(field),
            Self::Drop(_) | Self::Rename { .. } | Self::Require { .. } | Self::Document { .. } => None,
        }
    }
}

impl Action {
    /// Of a column that the table has after it.
    pub fn column_id(&self, column: &str) -> Option<i32> {
        match self {
            Self::Evolve { schema, .. } => schema.field_id_by_name(column),
            _ => None,
        }
    }

    /// The table's columns after `alters`, one after another. 42703 for a column that is not there, 42701 for a name in
    /// use, 0A000 where the format has no such change.
    pub fn evolve(table: &Table, alters: &[Alter], is_uuid: &(dyn Fn(&Field) -> bool + Sync)) -> Result<Self> {
        let metadata = &table.metadata;
        let current = metadata.current_schema();
        let mut fields = current.as_struct().fields().to_vec();
        let mut keys: Vec<i32> = current.identifier_field_ids().collect();
        let mut next_id = metadata.last_column_id();
        // what others may not do meanwhile: add a row that the change did not look at
        let mut judges_rows = false;
        for alter in alters {
            match alter {
                Alter::Add(field) => {
                    if fields.iter().any(|f| f.name == *field.name()) {
                        return Err(duplicate(table, field.name()));
                    }
                    judges_rows |= !field.is_nullable();
                    let schema = Schema::new(vec![field.clone()]);
                    let columns = Columns { schema: &schema, is_uuid, all_nullable: false };
                    fields.extend(iceberg_fields(&columns, &mut next_id)?);
                }
                Alter::Drop(column) => {
                    let at = position(table, &fields, column)?;
                    let id = fields[at].id;
                    refuse_source(table, id, column)?;
                    if fields.len() == 1 {
                        return Err(Error::unsupported("a lake table without columns"));
                    }
                    keys.retain(|key| *key != id);
                    fields.remove(at);
                }
                Alter::Rename { column, to } => {
                    let at = position(table, &fields, column)?;
                    if fields.iter().any(|f| f.name == *to) {
                        return Err(duplicate(table, to));
                    }
                    change(&mut fields[at], |field| field.name = to.clone());
                }
                Alter::Retype { column, to } => {
                    let at = position(table, &fields, column)?;
                    let wanted = type_of(to, is_uuid)?;
                    if *fields[at].field_type != wanted {
                        if !widens(&fields[at].field_type, &wanted) {
                            return Err(no_widening(column));
                        }
                        refuse_source(table, fields[at].id, column)?;
                    }
                    change(&mut fields[at], |field| *field.field_type = wanted);
                }
                Alter::Require { column, required } => {
                    let at = position(table, &fields, column)?;
                    if !required && keys.contains(&fields[at].id) {
                        let text = format!("column \"{column}\" is in a primary key");
                        return Err(Error::new(Kind::InvalidTableDefinition, text));
                    }
                    judges_rows |= *required;
                    change(&mut fields[at], |field| field.required = *required);
                }
                Alter::Document { column, text } => {
                    let at = position(table, &fields, column)?;
                    change(&mut fields[at], |field| field.doc.clone_from(text));
                }
            }
        }
        let schema = spec::Schema::builder().with_fields(fields).with_identifier_field_ids(keys).build();
        let schema = schema.map_err(|e| {
            let text = format!("the columns of table {} cannot be changed so", table.shown());
            Error::new(Kind::InvalidDefinition, text).with_source(e)
        })?;
        Ok(Self::Evolve { schema: Box::new(schema), judges_rows })
    }
}

fn position(table: &Table, fields: &[NestedFieldRef], column: &str) -> Result<usize> {
    let missing = || {
        let text = format!("column \"{column}\" of relation \"{}\" does not exist", table.key.name);
        Error::new(Kind::UndefinedColumn, text)
    };
    fields.iter().position(|f| f.name == column).ok_or_else(missing)
}

fn duplicate(table: &Table, column: &str) -> Error {
    let text = format!("column \"{column}\" of relation \"{}\" already exists", table.key.name);
    Error::new(Kind::DuplicateColumn, text)
}

/// What the table is partitioned or sorted by stays what it is.
fn refuse_source(table: &Table, id: i32, column: &str) -> Result<()> {
    let metadata = &table.metadata;
    let partitions = metadata.default_partition_spec().fields().iter().any(|f| f.source_id == id);
    let sorts = metadata.default_sort_order().fields.iter().any(|f| f.source_id == id);
    if partitions || sorts {
        let by = if partitions { "partitioned" } else { "sorted" };
        let text = format!("column \"{column}\" cannot be changed: table {} is {by} by it", table.shown());
        return Err(Error::new(Kind::InvalidTableDefinition, text));
    }
    Ok(())
}

fn change(field: &mut NestedFieldRef, with: impl FnOnce(&mut NestedField)) {
    let mut changed = field.as_ref().clone();
    with(&mut changed);
    *field = Arc::new(changed);
}

fn type_of(field: &Field, is_uuid: &(dyn Fn(&Field) -> bool + Sync)) -> Result<Type> {
    let schema = Schema::new(vec![field.clone()]);
    let columns = Columns { schema: &schema, is_uuid, all_nullable: true };
    // nested ids are of no account: nested types are no other type's wider form
    let made = iceberg_fields(&columns, &mut 0)?;
    made.first().map(|f| f.field_type.as_ref().clone()).ok_or_else(|| Error::internal("a column without a type"))
}

/// The spec's promotions of primitive types.
fn widens(from: &Type, to: &Type) -> bool {
    use PrimitiveType as P;
    match (from, to) {
        (Type::Primitive(P::Int), Type::Primitive(P::Long)) => true,
        (Type::Primitive(P::Float), Type::Primitive(P::Double)) => true,
        (
            Type::Primitive(P::Decimal { precision: from, scale: of }),
            Type::Primitive(P::Decimal { precision: to, scale }),
        ) => of == scale && from <= to,
        _ => false,
    }
}

fn no_widening(column: &str) -> Error {
    Error::unsupported(format!("a change of column \"{column}\" to a type that does not hold its values as they are"))
        .with_hint("Make the table again with CREATE TABLE AS and a cast.")
}
