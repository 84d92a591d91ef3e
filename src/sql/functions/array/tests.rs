//! Arrays against PostgreSQL's answers.
