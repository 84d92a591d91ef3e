//! Arrow to foreign bytes and back. Total: foreign bytes never panic, they are an `Error`. No module here does I/O.

pub mod change;
pub(crate) mod cut;
pub mod file;
pub mod postgres;
pub mod record;
