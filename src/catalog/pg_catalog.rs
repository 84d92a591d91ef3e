//! pg_catalog.
