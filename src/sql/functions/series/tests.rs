//! Series against PostgreSQL's answers.
