//! Kernels: array.

use arrow::datatypes::DataType;

use crate::pgtype::Ty;
use crate::sql::image::Proc;
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[];

/// Nested lists for more than one dimension.
pub(super) fn lies_as(_proc: &Proc, _arguments: &[(Ty, DataType)], _result: Ty) -> Option<DataType> {
    None
}
