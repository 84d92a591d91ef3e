//! json_populate_record, json_to_record and their sets.
use super::Form;
use crate::error::{Error, Result};
use crate::sql::kernel::Call;
use arrow::array::ArrayRef;
pub(super) fn record(_c: &Call<'_>, _form: Form, _base: bool) -> Result<ArrayRef> {
    Err(Error::unsupported("x"))
}
pub(super) fn recordset(_c: &Call<'_>, _form: Form, _base: bool, _name: &str) -> Result<ArrayRef> {
    Err(Error::unsupported("x"))
}
