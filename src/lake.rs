//! Lake: the handle; the only home of the `iceberg` crate.
