//! JSON records → Arrow by declared columns.
