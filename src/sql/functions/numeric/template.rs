//! to_char and to_number.
use crate::sql::kernel::Kernel;
pub(super) const KERNELS: &[(&str, Kernel)] = &[];
