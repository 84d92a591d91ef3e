//! Ranges against PostgreSQL's answers.
