//! lakegate: one PostgreSQL endpoint over a company's lake, streams and databases.
//!
//! The modules stand in floor order: each may use only what stands above it in this list (ARCHITECTURE.md says which).

// --- the ground
/// How old something may be, as files say it.
pub(crate) mod age;
/// One TOML file, and every fault in it.
pub mod document;
/// One error for the crate: a kind, what a client may read, and a hidden source.
pub mod error;
/// A cheap look at a folder: whether its files can have changed.
pub mod glance;
pub mod inlets;
/// Long work and how far it is.
pub mod jobs;
/// PostgreSQL's types: oids, names, and how each lies in Arrow.
pub(crate) mod pgtype;
pub mod pipelines;
/// How each reflection does.
pub mod refreshes;
/// How a table of ours is scanned, cheap to compile.
pub(crate) mod scan;
/// A value that cannot be printed by accident.
pub mod secret;
/// One token down, one "all done" up.
pub mod shutdown;
pub mod table_reads;
/// Tracing set-up and the name of every metric.
pub mod telemetry;
/// Threads by purpose and their priorities.
pub mod threads;
/// Whom a server's certificate must be signed by.
pub(crate) mod tls;
/// Newtypes that every floor speaks: table names, object ids, versions.
pub mod types;

// --- data floors
/// Names to sealed tables.
pub mod catalog;
/// Arrow to foreign bytes and back.
pub mod formats;
/// Iceberg: read, write, commit.
pub mod lake;
/// The databases under the lake and the runtime objects.
pub mod metastore;
/// The seal over every table, and its only key.
pub mod policy;
/// Answers from a stored equal.
pub mod reflection;
/// Where raw tables come from: Postgres, Kafka, Iceberg, memory.
pub mod sources;
/// PostgreSQL's language: text to typed plan.
#[allow(
    clippy::type_complexity,
    clippy::match_overlapping_arm,
    clippy::self_named_constructors,
    clippy::large_enum_variant,
    reason = "tables of kernels are long tuples, and matches over types stand as PostgreSQL's do"
)]
pub(crate) mod sql;

// --- statements
/// One statement's life.
pub mod engine;
/// Bytes in, bytes out.
pub mod wire;

// --- changes
/// From a source to the lake, exactly once.
pub mod ingest;

// --- assembly
/// One file and the environment, read once.
pub mod config;
/// An embedded world: sample data, a private broker and database, then the server.
pub mod demo;
/// Builds floors bottom-up, starts doors, drains top-down.
pub mod server;
