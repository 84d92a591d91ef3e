//! jsonpath.
