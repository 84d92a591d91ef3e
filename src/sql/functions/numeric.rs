//! Kernels: numeric.

use arrow::datatypes::DataType;

use crate::pgtype::Ty;
use crate::sql::image::Proc;
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[];

/// `None` where the scale of a result depends on the values, or its digits exceed Arrow's widest decimal.
pub(super) fn lies_as(_proc: &Proc, _arguments: &[(Ty, DataType)]) -> Option<DataType> {
    None
}
