//! JSON text: is it valid, where its values lie, and jsonb's normal form. It builds no tree of values: a value is the
//! slice of the text where it stands.

mod check;
mod normal;
mod scan;

use crate::error::{Error, Kind, Result};

pub(crate) use check::{Escapes, check, is_number};
pub(crate) use normal::write_string;
pub(crate) use scan::{Elements, Members, Shape, is_key, shape, unescape, value};

/// Nesting beyond this is refused, about where PostgreSQL's stack ends.
pub(crate) const DEPTH_MAX: usize = 6_000;

/// json_in: 22P02 where it is not JSON. `\u` escapes need not stand for characters: PostgreSQL keeps json as it is written.
pub fn valid_json(text: &str) -> Result<()> {
    check(text, Escapes::Kept)
}

/// What PostgreSQL holds in one jsonb at most.
const JSONB_BYTES_MAX: usize = 268_435_455;

/// jsonb_in: the text as jsonb prints it.
pub fn normal_json(text: &str) -> Result<String> {
    normal_json_within(text, JSONB_BYTES_MAX)
}

/// As [`normal_json`], for texts of strangers: of so many bytes at most.
pub fn normal_json_within(text: &str, bytes_max: usize) -> Result<String> {
    check(text, Escapes::Read)?;
    normal::write(text, bytes_max)
}

pub(crate) fn too_deep() -> Error {
    let hint = "Increase the configuration parameter \"max_stack_depth\" (currently 2048kB), after ensuring the \
                platform's stack depth limit is adequate.";
    Error::new(Kind::TooComplex, "stack depth limit exceeded").with_hint(hint)
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(Kind::InvalidText, "invalid input syntax for type json").with_detail(detail)
}
