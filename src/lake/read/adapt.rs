//! The table's columns → those of one file, by field id; columns that the file lacks become their initial default or NULL.
//! It sees schemas only, never a file's partition; values are `reshape`'s.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use iceberg::spec::MappedField;

use super::super::metadata::NewType;
use super::super::schema::{FIELD_ID, field_id, fields_within as children};
use super::reshape::{Ids, Reshape, misfit, promotes};
use crate::error::{Error, Kind};
use crate::metastore::Pin;

/// Makes an adapter for each file's schema.
#[derive(Clone, Debug)]
pub(super) struct ById {
    pub ids: Arc<Ids>,
    /// A plan holds its adapters to its end, and so the files that it reads.
    pub _pin: Option<Arc<Pin>>,
}

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
        let file = match &self.ids.mapping {
            Some(mapping) if !arrays.fields().iter().any(|f| carries_ids(f)) => {
                Schema::new(mapped(arrays.fields(), mapping.fields().iter()))
            }
            _ => arrays.as_ref().clone(),
        };
        Ok(Arc::new(Adapter { table, file, arrays, ids: Arc::clone(&self.ids) }))
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
        let to = match self.table.field_with_name(column.name()) {
            Ok(field) if field_id(field).is_some() => field,
            // What the reader itself makes of a row stands behind the file's own columns, whatever those are called.
            _ => match self.arrays.fields().iter().rposition(|f| f.name() == column.name()) {
                Some(at) => return Ok(Arc::new(Column::new(column.name(), at))),
                None => return internal_err!("a scan column without its field id"),
            },
        };
        let id = field_id(to);
        if id.and_then(|id| self.ids.beyond.of(id)) == Some(NewType::Unknown) {
            return Ok(Arc::new(Literal::new(ScalarValue::try_new_null(to.data_type())?)));
        }
        if let Some(at) = self.file.fields().iter().position(|f| field_id(f) == id) {
            let from = &self.file.fields()[at];
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(from.name(), at));
            let same = self.arrays.field(at).data_type() == to.data_type();
            return if same { Ok(column) } else { self.fit(column, from, to) };
        }
        if !self.file.fields().iter().any(|f| carries_ids(f)) && !self.file.fields().is_empty() {
            let message = "a data file carries no field ids and its table has no name mapping";
            return Err(Error::new(Kind::Unsupported, message).into());
        }
        let value = match id.and_then(|id| self.ids.defaults.get(&id)) {
            Some(default) => default.clone(),
            None => ScalarValue::try_new_null(to.data_type())?,
        };
        if self.ids.strict || (value.is_null() && !to.is_nullable()) {
            let message = "a data file lacks a required column that has no default";
            return Err(Error::new(Kind::SourceFailed, message).with_source(format!("field {id:?}")).into());
        }
        Ok(Arc::new(Literal::new(value)))
    }

    fn fit(&self, expr: Arc<dyn PhysicalExpr>, from: &FieldRef, to: &Field) -> Result<Arc<dyn PhysicalExpr>> {
        if from.data_type().is_nested() || to.data_type().is_nested() {
            let (from, to) = (Arc::clone(from), Arc::new(to.clone()));
            return Ok(Arc::new(Reshape { input: expr, from, to, ids: Arc::clone(&self.ids) }));
        }
        match promotes(from.data_type(), to.data_type()) {
            true => Ok(Arc::new(CastExpr::new(expr, to.data_type().clone(), None))),
            false => Err(misfit(from.data_type(), to)),
        }
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

#[cfg(test)]
mod tests {
    use iceberg::spec::NameMapping;

    use super::*;

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
}
