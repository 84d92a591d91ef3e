//! The tables a pipeline fills: which columns they have, made where they are absent, and changed as their origin's are. It
//! puts no row into them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::dead::{DEAD_LETTERS, dead_letter_columns};
use super::log::Header;
use super::origin::{Origin, Part, SOURCE_ID, Shape};
use super::target::{Target, Write};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::OID;
use crate::lake::{
    self, Action, Alter, BatchId, Columns, FIELD_ID, KEY, Lake, Making, Outcome, SOURCE, Staged, TableKey, field_id,
};
use crate::sources::declared::Materialized;
use crate::sources::iceberg::{is_uuid, type_property};
use crate::types::TableName;

const BATCH_ID: &str = "_batch_id";
/// Of a table that keeps deleted rows.
pub(super) const DELETED: &str = "_is_deleted";
const UUID_OID: &str = "2950";

/// Behind the origin's columns, in a table of changes.
fn bronze() -> [Field; 6] {
    [
        moment("_ingested_at", false),
        Field::new("_source", DataType::Utf8, false),
        uuid_field(BATCH_ID),
        Field::new("_op", DataType::Utf8, false),
        moment("_source_ts", true),
        Field::new("_position", DataType::Utf8, false),
    ]
}

pub(super) fn header() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(header_fields()), false))
}

fn header_fields() -> Fields {
    vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, true)].into()
}

/// A list a record; NULL for one without headers.
pub(super) fn headers_array<'h>(records: impl Iterator<Item = Vec<Header<'h>>>) -> Result<ArrayRef> {
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    let (mut lengths, mut some) = (vec![], vec![]);
    for headers in records {
        lengths.push(headers.len());
        some.push(!headers.is_empty());
        for header in headers {
            names.append_value(header.name);
            values.append_option(header.value);
        }
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let elements = StructArray::try_new(header_fields(), columns, None)?;
    let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), NullBuffer::from(some));
    Ok(Arc::new(ListArray::try_new(header(), offsets, Arc::new(elements), Some(nulls))?))
}

pub(super) fn moment(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), nullable)
}

pub(super) fn uuid_field(name: &str) -> Field {
    Field::new(name, DataType::FixedSizeBinary(16), false)
        .with_metadata([(OID.to_string(), UUID_OID.to_string())].into())
}

pub(super) fn named(batch: BatchId, rows: usize) -> Result<ArrayRef> {
    let ids = std::iter::repeat_n(Some(batch.as_bytes()), rows);
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16)?))
}

pub(super) fn micros(millis: Option<i64>) -> Option<i64> {
    millis.and_then(|ms| ms.checked_mul(1_000))
}

/// The columns of the table that a shape's changes go to. 42701 for a name that these tables have themselves, 42P16 for rows
/// to be told apart that nothing tells apart.
pub(super) fn columns(shape: &Shape, write: Write) -> Result<SchemaRef> {
    let own: Vec<Field> = match write {
        Write::Append => bronze().into_iter().chain(shape.beside.iter().cloned()).collect(),
        Write::Upsert { keeps_deleted: true } => vec![Field::new(DELETED, DataType::Boolean, true)],
        Write::Upsert { keeps_deleted: false } | Write::Replace => vec![],
    };
    for field in shape.columns.fields() {
        if own.iter().any(|b| b.name() == field.name()) {
            let text = format!("column \"{}\" is every ingested table's own", field.name());
            return Err(Error::new(Kind::DuplicateColumn, text));
        }
    }
    if matches!(write, Write::Upsert { .. }) && shape.key.is_empty() {
        let text = format!("\"{}\" has no key by which its rows are told apart", shape.name);
        let hint = "Give it a primary key, name `key_columns` in the pipeline's file or the topic's, or say `write = \"append\"`.";
        return Err(Error::new(Kind::InvalidTableDefinition, text).with_hint(hint));
    }
    let keyed = matches!(write, Write::Upsert { .. });
    let fields = shape.columns.fields().iter().enumerate().map(|(at, field)| {
        let place = shape.key.iter().position(|key| *key == at).filter(|_| keyed);
        let mut metadata = field.metadata().clone();
        metadata.remove(SOURCE_ID);
        if let Some(place) = place {
            metadata.insert(KEY.into(), place.to_string());
        }
        // What is deleted has a key and nothing else; a table of changes has its rows too.
        field.as_ref().clone().with_nullable(place.is_none()).with_metadata(metadata)
    });
    Ok(Arc::new(Schema::new(fields.chain(own).collect::<Vec<_>>())))
}

/// Changes as rows of their table of changes.
pub(super) fn rows_of_changes(
    part: &Part,
    beside: &[Field],
    table: &Schema,
    batch: BatchId,
    now_micros: i64,
) -> Result<RecordBatch> {
    let rows = part.changed.ops.len();
    let now = TimestampMicrosecondArray::from_value(now_micros, rows);
    let ops = StringArray::from_iter_values(part.changed.ops.iter().map(|op| op.name()));
    let at = TimestampMicrosecondArray::from_iter(part.at_micros.iter());
    let own: [ArrayRef; 6] = [
        Arc::new(now.with_timezone("UTC")),
        Arc::new(part.sources.clone()),
        named(batch, rows)?,
        Arc::new(ops),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(part.positions.clone()),
    ];
    let fields = bronze().into_iter().chain(beside.iter().cloned()).map(Arc::new);
    let known: Vec<(FieldRef, ArrayRef)> = fields.zip(own.into_iter().chain(part.beside.iter().cloned())).collect();
    fitted(&part.changed.rows, &known, table)
}

/// Columns in the table's order: those of the origin by what it knows them by, those of ours by name, the rest NULL.
pub(super) fn fitted(rows: &RecordBatch, ours: &[(FieldRef, ArrayRef)], table: &Schema) -> Result<RecordBatch> {
    let schema = rows.schema();
    let mut arrays: Vec<ArrayRef> = vec![];
    for field in table.fields() {
        let own = ours.iter().find(|(known, _)| known.name() == field.name()).map(|(_, array)| Arc::clone(array));
        let of_origin = || place_of(field, &schema).and_then(|at| rows.columns().get(at).cloned());
        let array = own.or_else(of_origin);
        arrays.push(array.unwrap_or_else(|| arrow::array::new_null_array(field.data_type(), rows.num_rows())));
    }
    let fields = table.fields().iter().zip(&arrays);
    let fields = fields.map(|(f, a)| f.as_ref().clone().with_data_type(a.data_type().clone()).with_nullable(true));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays)?)
}

/// Which column of these rows goes into a field of the table, see [`known_by`].
pub(super) fn place_of(field: &Field, rows: &Schema) -> Option<usize> {
    let by_source = field.metadata().get(SOURCE_ID);
    let same = |f: &&FieldRef| by_source.is_some() && f.metadata().get(SOURCE_ID) == by_source;
    match rows.fields().iter().find(same) {
        Some(found) => rows.index_of(found.name()).ok(),
        // A column that its origin knows by something else than its name is no other's that took its name.
        None => {
            rows.index_of(field.name()).ok().filter(|at| match (by_source, rows.field(*at).metadata().get(SOURCE_ID)) {
                (Some(wanted), Some(is)) => wanted == is,
                _ => true,
            })
        }
    }
}

/// The table's columns, each with what its origin knows it by ([`SOURCE_ID`]).
pub(super) fn known_by(table: &lake::Table) -> SchemaRef {
    let sources: HashMap<&str, &str> =
        table.properties().iter().filter_map(|(name, id)| Some((id.as_str(), name.strip_prefix(SOURCE)?))).collect();
    let schema = table.schema();
    let with = schema.fields().iter().map(|field| {
        let known = field_id(field).and_then(|id| sources.get(id.to_string().as_str()).map(|s| (*s).to_string()));
        let mut metadata = field.metadata().clone();
        metadata.extend(known.map(|source| (SOURCE_ID.to_string(), source)));
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    });
    Arc::new(Schema::new(with.collect::<Vec<_>>()))
}

/// The table of dead letters, made if there is none.
pub(super) async fn dead_letters(target: &Target) -> Result<lake::Table> {
    ensure(&target.lake, &target.key(DEAD_LETTERS), &dead_letter_columns(), Making::default()).await
}

/// The tables that an origin fills and the one of its dead letters, made where they are absent: policies may name them
/// before the first change came.
pub async fn prepare(target: &Target, origin: &mut dyn Origin) -> Result<()> {
    dead_letters(target).await?;
    for shape in origin.tables().await? {
        ensure_for(target, &shape).await?;
    }
    Ok(())
}

/// The table of a shape, made if there is none, with the columns that the shape has now.
pub(super) async fn ensure_for(target: &Target, shape: &Shape) -> Result<lake::Table> {
    let (key, columns) = (target.key(&shape.target), columns(shape, target.write)?);
    let mut making = Making::default();
    if matches!(target.write, Write::Upsert { .. }) {
        // Deletes without a search: vectors are of this version.
        making.properties.insert("format-version".into(), "3".into());
    }
    let sources = (1..).zip(shape.columns.fields()).filter_map(|(id, f)| source_property(f, id));
    making.properties.extend(sources);
    let table = match target.lake.table(&key).await? {
        Some(table) => filled_by_pipelines(table)?,
        None => make(&target.lake, &key, &columns, making).await?,
    };
    let table = evolve(target, table, shape, &columns).await?;
    table.writable()?;
    Ok(table)
}

/// The table, made if there is none, with its namespace. One whose columns are others is not touched.
pub async fn ensure(lake: &Lake, key: &TableKey, columns: &SchemaRef, making: Making) -> Result<lake::Table> {
    match lake.table(key).await? {
        Some(table) => fits(filled_by_pipelines(table)?, key, columns),
        None => fits(make(lake, key, columns, making).await?, key, columns),
    }
}

/// 42809 for a table that its own query fills: the next refresh would take away what a pipeline put there, and until then
/// its readers would see what the query never gave.
fn filled_by_pipelines(table: lake::Table) -> Result<lake::Table> {
    if !table.properties().contains_key(Materialized::KEY) {
        return Ok(table);
    }
    let text = format!("table {} is a materialized view: its query fills it", shown(&table.key));
    Err(Error::new(Kind::WrongObjectType, text).with_hint("Let the pipeline fill a table of another name."))
}

async fn make(lake: &Lake, key: &TableKey, columns: &SchemaRef, mut making: Making) -> Result<lake::Table> {
    lake.create_namespace(&key.namespace).await?;
    let wanted = Columns { schema: columns, is_uuid: &is_uuid, all_nullable: false };
    // Columns get their ids in their order.
    let types = (1..).zip(columns.fields()).map(|(id, field)| type_property(id, field));
    making.properties.extend(types.filter_map(|(name, value)| Some((name, value?))));
    match lake.create_table(key, &wanted, making, None).await {
        Ok((table, _)) => Ok(table),
        // Another process was first.
        Err(error) if error.kind() == Kind::DuplicateTable => lake.table(key).await?.ok_or(error),
        Err(error) => Err(error),
    }
}

fn source_property(field: &Field, id: i32) -> Option<(String, String)> {
    Some((format!("{SOURCE}{}", field.metadata().get(SOURCE_ID)?), id.to_string()))
}

/// The table with the columns that its origin has now: new ones come at the end, renamed ones stay what they are, wider
/// types widen, and those that the origin has no more stay with NULLs. 42804 for a change that the lake cannot follow.
async fn evolve(target: &Target, table: lake::Table, shape: &Shape, columns: &SchemaRef) -> Result<lake::Table> {
    let have = known_by(&table);
    let known = |field: &Field| {
        let source = shape.columns.field_with_name(field.name()).ok();
        let sought = source.map_or_else(
            || field.clone(),
            |s| {
                let id = s.metadata().get(SOURCE_ID).map(|id| (SOURCE_ID.to_string(), id.clone()));
                Field::new(s.name(), s.data_type().clone(), true).with_metadata(id.into_iter().collect())
            },
        );
        (source, place_of(&sought, &have).and_then(|at| have.fields().get(at)))
    };
    let named =
        columns.fields().iter().map(|field| (known(field).1.map(|known| known.name().as_str()), field.name().as_str()));
    let (mut alters, mut came) = (renames(&have, &named.collect::<Vec<_>>()), vec![]);
    for field in columns.fields() {
        let (source, known) = known(field);
        let Some(known) = known else {
            // What is there has no value in it yet.
            let mut metadata = field.metadata().clone();
            metadata.remove(FIELD_ID);
            alters.push(Alter::Add(field.as_ref().clone().with_nullable(true).with_metadata(metadata)));
            came.extend(source.and_then(|s| s.metadata().get(SOURCE_ID)).map(|id| (id.clone(), field.name().clone())));
            continue;
        };
        let (is, wanted) = (kept_as(known.data_type()), kept_as(field.data_type()));
        if is != wanted && !holds(&wanted, &is) {
            // The format makes a column so wide as to hold what it held.
            if !holds(&is, &wanted) {
                return Err(other_columns(&shown(&table.key), field.name(), &is, &wanted));
            }
            let to = Field::new(field.name(), wanted, true).with_metadata(field.metadata().clone());
            alters.push(Alter::Retype { column: field.name().clone(), to });
        }
    }
    if alters.is_empty() {
        return Ok(table);
    }
    let made_by_us =
        table.properties().keys().any(|name| name.starts_with(SOURCE) || name == super::position::POSITION);
    if !made_by_us && table.snapshot_id().is_some() {
        // Somebody else's table: it gets no column from us.
        return fits(table, &target.key(&shape.target), columns);
    }
    altered(target, table, &alters, came).await
}

/// What brings columns from the names that they have to those they are to have; `named` says both, the
/// former of those that are there. One that its origin has dropped makes room for another of its name.
fn renames(have: &Schema, named: &[(Option<&str>, &str)]) -> Vec<Alter> {
    let rename = |column: &str, to: &str| Alter::Rename { column: column.into(), to: to.into() };
    let stays = |name: &str| named.iter().any(|(is, _)| *is == Some(name));
    let dropped = have.fields().iter().filter(|field| !stays(field.name()));
    let mut first: Vec<Alter> = dropped
        .filter(|field| named.iter().any(|(_, becomes)| becomes == field.name()))
        .filter_map(|field| {
            Some(rename(field.name(), &format!("{}_{}", field.name(), field.metadata().get(SOURCE_ID)?)))
        })
        .collect();
    let moved = named.iter().filter_map(|(is, becomes)| Some((is.filter(|is| is != becomes)?, *becomes)));
    let moved: Vec<(&str, &str)> = moved.collect();
    let takes_anothers = moved.iter().any(|(_, becomes)| moved.iter().any(|(is, _)| is == becomes));
    if !takes_anothers {
        first.extend(moved.iter().map(|(is, becomes)| rename(is, becomes)));
        return first;
    }
    // By way of names that no column has, since two may take each other's.
    let way = |becomes: &str| format!("{SOURCE}{becomes}");
    first.extend(moved.iter().map(|(is, becomes)| rename(is, &way(becomes))));
    first.extend(moved.iter().map(|(_, becomes)| rename(&way(becomes), becomes)));
    first
}

async fn altered(
    target: &Target,
    table: lake::Table,
    alters: &[Alter],
    came: Vec<(String, String)>,
) -> Result<lake::Table> {
    let action = Action::evolve(&table, alters, &is_uuid)?;
    let mut properties: HashMap<String, String> = HashMap::new();
    for field in alters.iter().filter_map(Alter::typed) {
        let Some(id) = action.column_id(field.name()) else { continue };
        let (name, value) = type_property(id, field);
        properties.extend(value.map(|value| (name, value)));
    }
    for (source, column) in came {
        properties.extend(action.column_id(&column).map(|id| (format!("{SOURCE}{source}"), id.to_string())));
    }
    tracing::info!(pipeline = target.pipeline, table = %shown(&table.key), changes = ?alters, "columns follow their origin");
    let name = shown(&table.key);
    let staged = Staged { properties, ..Staged::new(table, vec![action], BatchId::new()) };
    match target.lake.commit(vec![staged], &Default::default()).await? {
        Outcome::Committed(tables) => tables.into_iter().next().ok_or_else(|| Error::internal("a commit of no table")),
        Outcome::Conflict(_) | Outcome::LeaseLost | Outcome::Unknown(_) => {
            Err(Error::new(Kind::Conflict, format!("table {name} was changed while its columns were")))
        }
    }
}

fn shown(key: &TableKey) -> TableName {
    TableName::new(&key.namespace, &key.name)
}

/// A table's column of this type takes each value of that one.
fn holds(value: &DataType, column: &DataType) -> bool {
    use DataType as D;
    match (value, column) {
        (D::Int32, D::Int64) | (D::Float32, D::Float64) => true,
        (D::Decimal128(p, s), D::Decimal128(wide, scale)) => s == scale && p <= wide,
        _ => false,
    }
}

fn fits(table: lake::Table, key: &TableKey, columns: &Schema) -> Result<lake::Table> {
    let kinds = |schema: &Schema| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|f| (f.name().clone(), kept_as(f.data_type()))).collect()
    };
    let (have, want) = (kinds(&table.schema()), kinds(columns));
    let Some(at) = (0..have.len().max(want.len())).find(|i| have.get(*i) != want.get(*i)) else {
        // Before a file is written for it.
        table.writable()?;
        return Ok(table);
    };
    let name =
        |of: &[(String, DataType)]| of.get(at).map_or("none".to_string(), |(n, t)| format!("\"{n}\" of type {t}"));
    let text = format!("table {} has other columns than its pipeline", shown(key));
    Err(Error::new(Kind::TypeMismatch, text)
        .with_detail(format!("column {}: the table has {}, the pipeline {}", at + 1, name(&have), name(&want)))
        .with_hint("Declare the columns as they were, or drop the table to take its topic in anew."))
}

fn other_columns(table: &TableName, column: &str, is: &DataType, wanted: &DataType) -> Error {
    let text = format!("table {table} has other columns than its pipeline");
    Error::new(Kind::TypeMismatch, text)
        .with_detail(format!("column \"{column}\": the table has type {is}, its origin {wanted} by now"))
        .with_hint("Declare the columns as they were, or drop the table to take its origin in anew.")
}

/// The type in which a lake table keeps a column, without what its fields say beside name and type.
pub(super) fn kept_as(of: &DataType) -> DataType {
    let field = |f: &Field| Field::new(f.name(), kept_as(f.data_type()), f.is_nullable());
    match of {
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::List(element) => {
            let of = kept_as(element.data_type());
            DataType::List(Arc::new(Field::new("element", of, true)))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| field(f)).collect()),
        other => other.clone(),
    }
}

/// What one value holds in memory at least.
pub(super) fn least_bytes(of: &DataType) -> usize {
    match of {
        // An offset, and the bytes of the value itself are the record's own.
        DataType::Utf8 | DataType::Binary | DataType::List(_) => 4,
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().unwrap_or(1),
    }
}

#[cfg(test)]
mod tests;
