//! Kernels: network.

use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[];
