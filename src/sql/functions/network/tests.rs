//! Addresses against PostgreSQL's answers.
