//! information_schema.
