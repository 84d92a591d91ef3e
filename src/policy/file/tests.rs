//! file tests
