//! demo
#[allow(dead_code)]
mod broker;
#[allow(dead_code)]
mod postgres;
#[allow(dead_code)]
mod sample;

use crate::error::{Error, Kind};

/// What the demo could not do, in words for the person who started it.
#[allow(dead_code)]
fn failed<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl Fn(E) -> Error {
    move |error| Error::new(Kind::Config, format!("{what}: {error}"))
}
