//! decide tests
