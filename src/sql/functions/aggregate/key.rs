//! Values made comparable: rows of bytes whose order and equality are those of the type's btree operators, in the order
//! that an ORDER BY asks for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions;
use crate::sql::kernel::{Arg, Call, Env};

/// Ascending, NULLs last: what DISTINCT sorts by, and the default of ORDER BY.
pub(super) const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };

/// An array whose native order and equality are the type's.
pub(super) fn comparable(array: &ArrayRef, ty: Ty, env: &Env) -> Result<ArrayRef> {
    if let Some(item) = pgtype::element(ty.oid)
        && let Some(list) = array.as_list_opt::<i32>()
    {
        return of_arrays(list, Ty::of(item), env);
    }
    // a value that another function spelt already (json) is compared as it lies
    let lies = pgtype::arrow(ty.oid).is_some_and(|lies| lies == *array.data_type());
    match functions::key(ty.oid, array.data_type()).filter(|_| lies) {
        Some((source, data_type)) => {
            let kernel = functions::kernel(source);
            let kernel = kernel.ok_or_else(|| Error::unsupported(format!("comparing values of type {}", ty.name())))?;
            let field = Field::new(source, data_type, true);
            let (args, rows) = ([Arg::array(Arc::clone(array))], array.len());
            kernel(&Call { args: &args, types: &[ty], rows, result: &field, result_type: ty, env })
        }
        None => Ok(Arc::clone(array)),
    }
}

/// array_cmp: the elements in the order in which they lie, however they are nested, then the lengths of the dimensions.
fn of_arrays(list: &ListArray, item: Ty, env: &Env) -> Result<ArrayRef> {
    if !matches!(list.value_type(), DataType::List(_)) {
        return Ok(Arc::new(with_values(list, comparable(list.values(), item, env)?)?));
    }
    let mut flat = list.clone();
    let mut dimensions = vec![lengths(list.len(), |row| (list.value(row), 0))];
    while let Some(inner) = flat.values().as_list_opt::<i32>().cloned() {
        dimensions.push(lengths(list.len(), |row| (flat.value(row), 1)));
        let offsets = flat.value_offsets().iter().map(|i| inner.value_offsets()[*i as usize]).collect::<Vec<i32>>();
        let field = match inner.data_type() {
            DataType::List(field) => Arc::clone(field),
            other => return Err(Error::internal(format!("a list of {other}"))),
        };
        let nulls = flat.nulls().cloned();
        flat =
            ListArray::try_new(field, arrow::buffer::OffsetBuffer::new(offsets.into()), inner.values().clone(), nulls)?;
    }
    let flat: ArrayRef = Arc::new(with_values(&flat, comparable(flat.values(), item, env)?)?);
    let columns = std::iter::once(flat).chain(dimensions.into_iter().map(|d| Arc::new(d) as ArrayRef));
    let fields = columns.map(|column| (Arc::new(Field::new("", column.data_type().clone(), true)), column));
    let (fields, columns): (Vec<_>, Vec<_>) = fields.unzip();
    Ok(Arc::new(StructArray::try_new(fields.into(), columns, list.nulls().cloned())?))
}

/// Length of each row's array, or of the first array in it.
fn lengths(rows: usize, of: impl Fn(usize) -> (ArrayRef, usize)) -> Int32Array {
    let length = |row| {
        let (array, depth) = of(row);
        match (depth, array.as_list_opt::<i32>()) {
            (1, Some(list)) if !list.is_empty() => list.value_length(0),
            (1, _) => 0,
            // an array holds no more elements than its offsets count
            _ => array.len() as i32,
        }
    };
    (0..rows).map(length).collect::<Vec<i32>>().into()
}

fn with_values(list: &ListArray, values: ArrayRef) -> Result<ListArray> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    Ok(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?)
}

/// Comparable columns as rows of bytes.
pub(super) fn rows(columns: &[ArrayRef], options: &[SortOptions]) -> Result<Rows> {
    let field = |(column, options): (&ArrayRef, &SortOptions)| {
        SortField::new_with_options(column.data_type().clone(), *options)
    };
    let converter = RowConverter::new(columns.iter().zip(options).map(field).collect())?;
    Ok(converter.convert_columns(columns)?)
}

/// Whether Arrow's own equality and order of these values are PostgreSQL's.
pub(super) fn is_native(ty: Ty, data_type: &DataType) -> bool {
    let native = matches!(
        data_type,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Date32
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    );
    // many types lie as text whose order is not the text's
    let text = matches!(ty.oid, oid::TEXT | oid::VARCHAR | oid::NAME) && *data_type == DataType::Utf8;
    let bytes = ty.oid == oid::BYTEA && *data_type == DataType::Binary;
    (native || text || bytes) && functions::key(ty.oid, data_type).is_none()
}
