//! Values in a file's shape → the table's, by field id, through structs, lists and maps. What the format calls a promotion
//! is cast; any other difference of type is an error, never a NULL.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use arrow::util::display::FormatOptions;
use datafusion::common::{DataFusionError, Result as PlanResult, ScalarValue, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, Literal, NameMapping, NestedFieldRef, PrimitiveLiteral, PrimitiveType, TableMetadata,
    Type,
};

use super::super::metadata::{Beyond, NewType};
use super::super::schema::{self, field_id};
use super::variant;
use crate::error::{Error, Kind, Result};

/// A value that does not fit is an error.
const LOSSLESS: CastOptions = CastOptions { safe: false, format_options: FormatOptions::new() };

/// What the table says of columns beyond their types.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// By field id: the value in files older than the column.
    pub defaults: HashMap<i32, ScalarValue>,
    /// Names of files that carry no ids.
    pub mapping: Option<NameMapping>,
    pub beyond: Arc<Beyond>,
    /// A column that a file lacks is an error, whatever it would be elsewhere.
    pub strict: bool,
}

impl Ids {
    /// What the adapter must know of the table: defaults of columns that a file may lack, and names of files without ids.
    pub(super) fn of(metadata: &TableMetadata, beyond: &Arc<Beyond>) -> Result<Self> {
        let mut defaults = HashMap::new();
        for field in metadata.current_schema().as_struct().fields() {
            collect_defaults(field, &mut defaults)?;
        }
        let mapping = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING);
        let mapping = mapping.map(|json| serde_json::from_str::<NameMapping>(json)).transpose();
        let mapping = mapping
            .map_err(|e| Error::new(Kind::SourceFailed, "a table's name mapping cannot be read").with_source(e))?;
        Ok(Ids { defaults, mapping, beyond: Arc::clone(beyond), strict: false })
    }

    /// For files that must hold every column asked of them.
    pub(super) fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }
}

fn collect_defaults(field: &NestedFieldRef, into: &mut HashMap<i32, ScalarValue>) -> Result<()> {
    match (&field.initial_default, field.field_type.as_ref()) {
        (Some(Literal::Primitive(value)), Type::Primitive(of)) => {
            into.insert(field.id, default(field.id, value, of)?);
        }
        (Some(_), _) => return Err(Error::unsupported(format!("the default value of column \"{}\"", field.name))),
        (None, _) => (),
    }
    match field.field_type.as_ref() {
        Type::Primitive(_) => Ok(()),
        Type::Struct(s) => s.fields().iter().try_for_each(|f| collect_defaults(f, into)),
        Type::List(l) => collect_defaults(&l.element_field, into),
        Type::Map(m) => {
            collect_defaults(&m.key_field, into)?;
            collect_defaults(&m.value_field, into)
        }
    }
}

fn default(id: i32, value: &PrimitiveLiteral, of: &PrimitiveType) -> Result<ScalarValue> {
    schema::scalar(value, of).ok_or_else(|| {
        Error::new(Kind::SourceFailed, "a column's default value cannot be read").with_source(format!("field {id}"))
    })
}

/// A nested value in the file's shape → the table's.
#[derive(Debug)]
pub(super) struct Reshape {
    pub input: Arc<dyn PhysicalExpr>,
    pub from: FieldRef,
    pub to: FieldRef,
    pub ids: Arc<Ids>,
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
    fn data_type(&self, _: &Schema) -> PlanResult<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> PlanResult<bool> {
        Ok(true)
    }

    fn return_field(&self, _: &Schema) -> PlanResult<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> PlanResult<ColumnarValue> {
        let array = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(reshape(&array, &self.from, &self.to, &self.ids)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let [input] = children.as_slice() else { return internal_err!("a reshape has one input") };
        let (input, from, to) = (Arc::clone(input), Arc::clone(&self.from), Arc::clone(&self.to));
        Ok(Arc::new(Reshape { input, from, to, ids: Arc::clone(&self.ids) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn reshape(array: &ArrayRef, from: &Field, to: &Field, ids: &Ids) -> PlanResult<ArrayRef> {
    if field_id(to).and_then(|id| ids.beyond.of(id)) == Some(NewType::Variant) {
        return Ok(Arc::new(variant::json(array, from)?));
    }
    if array.data_type() == to.data_type() {
        return Ok(Arc::clone(array));
    }
    match (from.data_type(), to.data_type()) {
        (DataType::Struct(have), DataType::Struct(want)) => {
            let parent = array.as_struct();
            let columns = want.iter().map(|w| child(parent, have, w, ids)).collect::<PlanResult<Vec<_>>>()?;
            // Without a child the length would be lost.
            let made = match columns.is_empty() {
                true => StructArray::new_empty_fields(parent.len(), parent.nulls().cloned()),
                false => StructArray::try_new(want.clone(), columns, parent.nulls().cloned())?,
            };
            Ok(Arc::new(made))
        }
        (DataType::LargeList(have), DataType::List(_)) => {
            let small = DataType::List(Arc::clone(have));
            reshape(&cast_with_options(array, &small, &LOSSLESS)?, &from.clone().with_data_type(small), to, ids)
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
        (a, b) if promotes(a, b) => Ok(cast_with_options(array, b, &LOSSLESS)?),
        (a, _) => Err(misfit(a, to)),
    }
}

fn child(parent: &StructArray, have: &Fields, want: &FieldRef, ids: &Ids) -> PlanResult<ArrayRef> {
    let at = have.iter().position(|f| field_id(f).is_some() && field_id(f) == field_id(want));
    match at {
        Some(i) => reshape(parent.column(i), &have[i], want, ids),
        None => match field_id(want).and_then(|id| ids.defaults.get(&id)) {
            Some(default) => default.to_array_of_size(parent.len()),
            None => Ok(new_null_array(want.data_type(), parent.len())),
        },
    }
}

/// The types that a file may have for a column: those that were promoted since ("Schema Evolution"), and other spellings of
/// the same values in the files of writers that know no better.
pub(super) fn promotes(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let integer = |of: &T| of.is_integer() && !matches!(of, T::UInt64);
    let text = |of: &T| matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |of: &T| matches!(of, T::Binary | T::LargeBinary | T::BinaryView);
    match (from, to) {
        (a, b) if a == b => true,
        (T::Dictionary(_, value), to) => promotes(value, to),
        (T::Null, _) => true,
        (from, T::Int32 | T::Int64) => integer(from),
        (T::Float16 | T::Float32, T::Float32 | T::Float64) => true,
        (T::Decimal32(_, a) | T::Decimal64(_, a) | T::Decimal128(_, a) | T::Decimal256(_, a), T::Decimal128(_, b)) => {
            a == b
        }
        // Old writers leave the mark of text out.
        (from, T::Utf8) => text(from) || bytes(from),
        (from, T::Binary) => text(from) || bytes(from) || matches!(from, T::FixedSizeBinary(_)),
        (T::Date64, T::Date32) => true,
        (T::Date32, T::Timestamp(_, None)) => true,
        (T::Time32(_) | T::Time64(_), T::Time64(TimeUnit::Microsecond)) => true,
        (T::Timestamp(..), T::Timestamp(..)) => true,
        _ => false,
    }
}

pub(super) fn misfit(from: &DataType, to: &Field) -> DataFusionError {
    let id = field_id(to).map_or_else(String::new, |id| format!("field {id}: "));
    Error::new(Kind::SourceFailed, "a data file has a column of another type than its table")
        .with_source(format!("{id}{from} for {}", to.data_type()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::with_id;
    use super::*;

    fn field(name: &str, id: i32, of: DataType) -> Field {
        with_id(Field::new(name, of, true), id)
    }

    #[test]
    fn a_struct_takes_its_children_by_id_and_keeps_its_own_nulls() {
        use arrow::array::{Int32Array, Int64Array};
        let have: Fields = vec![field("b", 2, DataType::Int32), field("gone", 9, DataType::Int32)].into();
        let want: Fields = vec![field("a", 1, DataType::Int64), field("c", 2, DataType::Int64)].into();
        let values = |v: [i32; 2]| Arc::new(Int32Array::from(v.to_vec())) as ArrayRef;
        let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
        let array = StructArray::new(have.clone(), vec![values([5, 6]), values([7, 8])], Some(nulls));
        let ids = Ids { defaults: HashMap::from([(1, ScalarValue::Int64(Some(42)))]), ..Ids::default() };
        let (from, to) = (field("s", 7, DataType::Struct(have)), field("s", 7, DataType::Struct(want)));
        let got = reshape(&(Arc::new(array) as ArrayRef), &from, &to, &ids).unwrap();
        let got = got.as_struct();
        assert!(got.is_valid(0) && got.is_null(1));
        let column = |i: usize| got.column(i).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        assert_eq!((column(0), column(1)), (42, 5));
    }

    #[test]
    fn only_promotions_are_cast() {
        use DataType as T;
        let micros = |zone: Option<&str>| T::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (from, to, expect) in [
            (T::Int32, T::Int64, true),
            (T::Utf8, T::Int64, false),
            (T::Float64, T::Float32, false),
            (T::Float32, T::Float64, true),
            (T::Decimal128(9, 2), T::Decimal128(18, 2), true),
            (T::Decimal128(9, 3), T::Decimal128(18, 2), false),
            (T::Date32, micros(None), true),
            (T::Date32, micros(Some("UTC")), false),
            (T::Timestamp(TimeUnit::Nanosecond, None), micros(Some("UTC")), true),
            (T::FixedSizeBinary(4), T::FixedSizeBinary(5), false),
            (T::Boolean, T::Utf8, false),
        ] {
            assert_eq!(promotes(&from, &to), expect, "{from} for {to}");
        }
    }
}
