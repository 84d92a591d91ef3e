//! Columns of text as their types' input functions read them, with the columns' modifiers: what COPY is made of. A literal in
//! a statement is `resolve`'s.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StringArray, UInt32Array, new_empty_array};
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;

use super::functions;
use super::kernel::{Arg, Call, Env};
use crate::error::{Error, Result};
use crate::formats::postgres::input;
use crate::pgtype::{self, Ty, oid};

/// A value for each text, lying as `field` does where the type's kernel knows how; NULL stays NULL.
pub(crate) fn read(texts: &StringArray, field: &Field, env: &Env) -> Result<ArrayRef> {
    let ty = pgtype::of_field(field)?;
    let base = pgtype::base(ty.oid);
    let Some(kernel) = pgtype::functions(base).and_then(|row| functions::kernel(row.input)) else {
        return one_by_one(texts, base, field, env);
    };
    let args = [
        Arg::array(Arc::new(texts.clone())),
        Arg::constant(Arc::new(UInt32Array::from(vec![pgtype::element(base).unwrap_or(base)]))),
        Arg::constant(Arc::new(Int32Array::from(vec![ty.typmod]))),
    ];
    let types = [Ty::of(oid::CSTRING), Ty::of(oid::OID), Ty::INT4];
    kernel(&Call { args: &args, types: &types, rows: texts.len(), result: field, result_type: ty, env })
}

/// The value of one text of a type without a modifier.
pub(crate) fn one(text: &str, ty: Ty, env: &Env) -> Result<ScalarValue> {
    let data_type = pgtype::arrow(ty.oid).ok_or_else(|| Error::unsupported(format!("input of type {}", ty.name())))?;
    let array = read(&StringArray::from(vec![text]), &pgtype::field("value", ty, data_type), env)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// Whether the language reads the type.
pub(crate) fn has_kernel(type_oid: u32) -> bool {
    pgtype::functions(type_oid).is_some_and(|row| functions::kernel(row.input).is_some())
}

/// The first text that is no value, and why.
pub(crate) fn first_fault(texts: &StringArray, field: &Field, env: &Env) -> Option<(usize, Error)> {
    (0..texts.len()).find_map(|row| read(&texts.slice(row, 1), field, env).err().map(|error| (row, error)))
}

/// What has no kernel: types that lie in a source's own spelling, and names of objects.
fn one_by_one(texts: &StringArray, type_oid: u32, field: &Field, env: &Env) -> Result<ArrayRef> {
    let style = env.style();
    let null = ScalarValue::try_new_null(field.data_type())?;
    let value = |text: Option<&str>| text.map_or(Ok(null.clone()), |text| input::value(type_oid, text, &style));
    let values = texts.iter().map(value).collect::<Result<Vec<_>>>()?;
    match values.is_empty() {
        true => Ok(new_empty_array(field.data_type())),
        false => Ok(ScalarValue::iter_to_array(values)?),
    }
}
