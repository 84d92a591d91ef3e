//! numeric.c, as PostgreSQL 15.18 answers.
