//! language tests
