//! The lake end to end, in process: what is written is read back, by every question, whoever wrote it. The catalog of
//! statements (SQL, wire) is not its business.

mod changed;
mod commit;
mod history;
mod keeping;
mod kill;
mod oracle;
pub mod peers;
mod postgres_catalog;
mod recorded;
mod rest_catalog;
mod rest_server;
mod rows;
mod s3;
mod source;
mod world;
mod write;
