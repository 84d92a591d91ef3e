//! compile tests
