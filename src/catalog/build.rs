//! Connect sources, read schemas, assemble.
