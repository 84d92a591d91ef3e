//! PostgreSQL's language: text to a typed query, and a typed query to a plan in which every type already fits. It knows
//! neither policy nor catalog: relations come through [`bind::Relations`].
//!
//! `image` the rows of pg_proc, pg_operator, pg_cast, pg_aggregate · `resolve` which function an operator or a name is ·
//! `bind` AST → [`query::Query`] · `fold` its constants · `lower` → DataFusion · `functions` what each function computes, over whole arrays.

pub(crate) mod bind;
pub(crate) mod expr;
pub(crate) mod fold;
pub(crate) mod functions;
pub(crate) mod image;
pub(crate) mod input;
pub(crate) mod kernel;
pub(crate) mod lower;
pub(crate) mod parse;
pub(crate) mod query;
pub(crate) mod resolve;

pub(crate) use crate::formats::postgres::numeric;
