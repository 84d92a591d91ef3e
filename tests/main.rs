//! The one integration binary: a module for each area. It holds no tests itself.

mod postgres_server;
mod sources;
