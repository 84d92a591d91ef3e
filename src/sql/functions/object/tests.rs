//! Objects against PostgreSQL's answers.
