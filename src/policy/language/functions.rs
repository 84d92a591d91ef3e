//! The functions a policy may use: each total, that is, without an error on any value, and without state. A function
//! that is not in this table does not exist here, whatever the engine knows.

use std::sync::Arc;

use datafusion::functions::{string, unicode};
use datafusion::logical_expr::ScalarUDF;

/// What a function takes; every text argument is brought to one representation first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One text in, whatever the function gives out.
    Text,
    /// Two texts.
    TwoTexts,
    /// Any number of texts, at least one.
    Texts,
    /// The first argument that is not NULL, all of one type.
    Coalesce,
    /// NULL where both are equal, else the first.
    NullIf,
}

/// A function by the name policies call it.
#[derive(Clone)]
pub(super) struct Function {
    pub name: &'static str,
    pub shape: Shape,
    /// In custom masks only.
    pub mask_only: bool,
    /// `coalesce` and `nullif` are written as CASE.
    pub call: Option<fn() -> Arc<ScalarUDF>>,
}

const fn call(name: &'static str, shape: Shape, mask_only: bool, call: fn() -> Arc<ScalarUDF>) -> Function {
    Function { name, shape, mask_only, call: Some(call) }
}

/// The list; `substr` is a form of the grammar and stands in `typing`.
pub(super) const FUNCTIONS: &[Function] = &[
    call("lower", Shape::Text, false, string::lower),
    call("upper", Shape::Text, false, string::upper),
    call("length", Shape::Text, false, unicode::character_length),
    call("char_length", Shape::Text, false, unicode::character_length),
    call("character_length", Shape::Text, false, unicode::character_length),
    call("octet_length", Shape::Text, false, string::octet_length),
    call("btrim", Shape::Text, false, string::btrim),
    call("ltrim", Shape::Text, false, string::ltrim),
    call("rtrim", Shape::Text, false, string::rtrim),
    call("starts_with", Shape::TwoTexts, false, string::starts_with),
    Function { name: "coalesce", shape: Shape::Coalesce, mask_only: false, call: None },
    Function { name: "nullif", shape: Shape::NullIf, mask_only: false, call: None },
    call("concat", Shape::Texts, true, string::concat),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}
