//! File columns → table columns by field id, through structs, lists and maps: promotions are cast, columns that a file
//! lacks become their initial default or NULL. It sees schemas only, never a file's partition.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use iceberg::spec::{MappedField, NameMapping};

use super::super::schema::{FIELD_ID, field_id, fields_within as children};
use crate::error::{Error, Kind};

/// What the table says of columns beyond their types.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// By field id: the value in files older than the column.
    pub defaults: HashMap<i32, ScalarValue>,
    /// Names of files that carry no ids.
    pub mapping: Option<NameMapping>,
}

/// Makes an adapter for each file's schema.
#[derive(Clone, Debug)]
pub(super) struct ById(pub Arc<Ids>);

#[derive(Debug)]
struct Adapter {
    table: SchemaRef,
    /// The file's schema, its fields carrying ids. Where the mapping gave them, the arrays' own types do not.
    file: Schema,
    arrays: SchemaRef,
    ids: Arc<Ids>,
}

impl PhysicalExprAdapterFactory for ById {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let arrays = file;
        let file = match &self.0.mapping {
            Some(mapping) if !arrays.fields().iter().any(|f| carries_ids(f)) => {
                Schema::new(mapped(arrays.fields(), mapping.fields().iter()))
            }
            _ => arrays.as_ref().clone(),
        };
        Ok(Arc::new(Adapter { table, file, arrays, ids: Arc::clone(&self.0) }))
    }
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let adapted = expr.transform_down(|e| match e.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::new(self.column(column)?, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(e)),
        });
        adapted.data()
    }
}

impl Adapter {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let to = self.table.field_with_name(column.name())?;
        let Some(id) = field_id(to) else { return internal_err!("a scan column without its field id") };
        if let Some(at) = self.file.fields().iter().position(|f| field_id(f) == Some(id)) {
            let from = &self.file.fields()[at];
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(from.name(), at));
            let same = self.arrays.field(at).data_type() == to.data_type();
            return Ok(if same { column } else { self.fit(column, from, to) });
        }
        if !self.file.fields().iter().any(|f| carries_ids(f)) && !self.file.fields().is_empty() {
            let message = "a data file carries no field ids and its table has no name mapping";
            return Err(Error::new(Kind::Unsupported, message).into());
        }
        let value = absent(to, &self.ids)?;
        if value.is_null() && !to.is_nullable() {
            let message = "a data file lacks a required column that has no default";
            return Err(Error::new(Kind::SourceFailed, message).with_source(format!("field {id}")).into());
        }
        Ok(Arc::new(Literal::new(value)))
    }

    fn fit(&self, expr: Arc<dyn PhysicalExpr>, from: &FieldRef, to: &Field) -> Arc<dyn PhysicalExpr> {
        if from.data_type().is_nested() || to.data_type().is_nested() {
            let (from, to) = (Arc::clone(from), Arc::new(to.clone()));
            Arc::new(Reshape { input: expr, from, to, ids: Arc::clone(&self.ids) })
        } else {
            Arc::new(CastExpr::new(expr, to.data_type().clone(), None))
        }
    }
}

fn absent(field: &Field, ids: &Ids) -> Result<ScalarValue> {
    match field_id(field).and_then(|id| ids.defaults.get(&id)) {
        Some(default) => Ok(default.clone()),
        None => ScalarValue::try_new_null(field.data_type()),
    }
}

fn carries_ids(field: &Field) -> bool {
    field_id(field).is_some() || children(field.data_type()).iter().any(|f| carries_ids(f))
}

/// The fields with the ids that the mapping gives to their names; a name it does not know gets none and is not read.
fn mapped<'a>(fields: &Fields, mapping: impl Iterator<Item = &'a MappedField> + Clone) -> Fields {
    let one = |field: &FieldRef| {
        let found = mapping.clone().find(|m| m.names().iter().any(|n| n == field.name()));
        let Some(found) = found else { return Arc::clone(field) };
        named(field, found)
    };
    fields.iter().map(one).collect()
}

fn named(field: &FieldRef, by: &MappedField) -> FieldRef {
    let nested = || by.fields().iter().map(Arc::as_ref);
    // The parts of lists and maps have names of the writer's making; the mapping's are fixed.
    let part = |field: &FieldRef, name: &str| {
        let found = nested().find(|m| m.names().iter().any(|n| n == name));
        found.map_or_else(|| Arc::clone(field), |m| named(field, m))
    };
    let of = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(mapped(fields, nested())),
        DataType::List(element) => DataType::List(part(element, "element")),
        DataType::LargeList(element) => DataType::LargeList(part(element, "element")),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let pair = [part(&pair[0], "key"), part(&pair[1], "value")];
                let entries = entries.as_ref().clone().with_data_type(DataType::Struct(pair.into()));
                DataType::Map(Arc::new(entries), *sorted)
            }
            other => other.clone(),
        },
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    if let Some(id) = by.field_id() {
        metadata.insert(FIELD_ID.to_string(), id.to_string());
    }
    Arc::new(field.as_ref().clone().with_data_type(of).with_metadata(metadata))
}

/// A nested value in the file's shape → the table's.
#[derive(Debug)]
struct Reshape {
    input: Arc<dyn PhysicalExpr>,
    from: FieldRef,
    to: FieldRef,
    ids: Arc<Ids>,
}

impl PartialEq for Reshape {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.from == other.from && self.to == other.to
    }
}

impl Eq for Reshape {}

impl Hash for Reshape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Reshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by_id({})", self.input)
    }
}

impl PhysicalExpr for Reshape {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(reshape(&array, &self.from, &self.to, &self.ids)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [input] = children.as_slice() else { return internal_err!("a reshape has one input") };
        let (input, from, to) = (Arc::clone(input), Arc::clone(&self.from), Arc::clone(&self.to));
        Ok(Arc::new(Reshape { input, from, to, ids: Arc::clone(&self.ids) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn reshape(array: &ArrayRef, from: &Field, to: &Field, ids: &Ids) -> Result<ArrayRef> {
    if array.data_type() == to.data_type() {
        return Ok(Arc::clone(array));
    }
    match (from.data_type(), to.data_type()) {
        (DataType::Struct(have), DataType::Struct(want)) => {
            let parent = array.as_struct();
            let columns = want.iter().map(|w| child(parent, have, w, ids)).collect::<Result<Vec<_>>>()?;
            // Without a child the length would be lost.
            let made = match columns.is_empty() {
                true => StructArray::new_empty_fields(parent.len(), parent.nulls().cloned()),
                false => StructArray::try_new(want.clone(), columns, parent.nulls().cloned())?,
            };
            Ok(Arc::new(made))
        }
        (DataType::LargeList(have), DataType::List(_)) => {
            let small = DataType::List(Arc::clone(have));
            reshape(&cast(array, &small)?, &from.clone().with_data_type(small), to, ids)
        }
        (DataType::List(have), DataType::List(want)) => {
            let list = array.as_list::<i32>();
            let values = reshape(list.values(), have, want, ids)?;
            let made = ListArray::try_new(Arc::clone(want), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(made))
        }
        (DataType::Map(have, _), DataType::Map(want, sorted)) => {
            let (DataType::Struct(h), DataType::Struct(w)) = (have.data_type(), want.data_type()) else {
                return internal_err!("a map's entries are no struct");
            };
            let ([hk, hv], [wk, wv]) = (&h[..], &w[..]) else { return internal_err!("a map's entries are no pair") };
            let map = array.as_map();
            let pair = vec![reshape(map.keys(), hk, wk, ids)?, reshape(map.values(), hv, wv, ids)?];
            let entries = StructArray::try_new(w.clone(), pair, None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(want), offsets, entries, nulls, *sorted)?))
        }
        (_, b) => Ok(cast(array, b)?),
    }
}

fn child(parent: &StructArray, have: &Fields, want: &FieldRef, ids: &Ids) -> Result<ArrayRef> {
    let at = have.iter().position(|f| field_id(f).is_some() && field_id(f) == field_id(want));
    match at {
        Some(i) => reshape(parent.column(i), &have[i], want, ids),
        None => match field_id(want).and_then(|id| ids.defaults.get(&id)) {
            Some(default) => default.to_array_of_size(parent.len()),
            None => Ok(new_null_array(want.data_type(), parent.len())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, id: i32, of: DataType) -> Field {
        Field::new(name, of, true).with_metadata(HashMap::from([(FIELD_ID.to_string(), id.to_string())]))
    }

    #[test]
    fn names_of_a_file_without_ids_are_mapped_through_lists() {
        let mapping: NameMapping = serde_json::from_str(
            r#"[{"field-id": 1, "names": ["id", "old_id"]},
                {"field-id": 2, "names": ["tags"], "fields": [{"field-id": 3, "names": ["element"]}]}]"#,
        )
        .unwrap();
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let file: Fields = vec![
            Field::new("old_id", DataType::Int32, true),
            Field::new("tags", list, true),
            Field::new("x", DataType::Int32, true),
        ]
        .into();
        let got = mapped(&file, mapping.fields().iter());
        assert_eq!(got.iter().map(|f| field_id(f)).collect::<Vec<_>>(), [Some(1), Some(2), None]);
        assert_eq!(field_id(&children(got[1].data_type())[0]), Some(3));
    }

    #[test]
    fn a_struct_takes_its_children_by_id_and_keeps_its_own_nulls() {
        use arrow::array::{Int32Array, Int64Array};
        let have: Fields = vec![field("b", 2, DataType::Int32), field("gone", 9, DataType::Int32)].into();
        let want: Fields = vec![field("a", 1, DataType::Int64), field("c", 2, DataType::Int64)].into();
        let values = |v: [i32; 2]| Arc::new(Int32Array::from(v.to_vec())) as ArrayRef;
        let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
        let array = StructArray::new(have.clone(), vec![values([5, 6]), values([7, 8])], Some(nulls));
        let ids = Ids { defaults: HashMap::from([(1, ScalarValue::Int64(Some(42)))]), mapping: None };
        let (from, to) = (field("s", 7, DataType::Struct(have)), field("s", 7, DataType::Struct(want)));
        let got = reshape(&(Arc::new(array) as ArrayRef), &from, &to, &ids).unwrap();
        let got = got.as_struct();
        assert!(got.is_valid(0) && got.is_null(1));
        let column = |i: usize| got.column(i).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        assert_eq!((column(0), column(1)), (42, 5));
    }
}
