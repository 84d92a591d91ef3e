//! The one integration binary, so that DataFusion links once: a module for each area. It holds no tests itself.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod attacks;
mod cache;
mod catalog;
mod changes;
mod cli;
mod demo;
mod differential;
mod docker;
mod drivers;
mod federation;
mod floors;
mod gateway;
mod hostile;
mod ingest;
mod lake;
mod oracle;
mod policy;
mod postgres_server;
mod pushed;
mod sizes;
mod slt;
mod sources;
mod tidy;
mod tree;
mod wire;
