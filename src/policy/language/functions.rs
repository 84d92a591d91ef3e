//! The functions a policy may use: each total, that is, without an error on any value, and without state. A function that
//! is not in this table does not exist here, whatever the language knows; which row of pg_proc it is, `sql` resolves.

/// What a function takes.
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
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub name: &'static str,
    pub shape: Shape,
    /// In custom masks only.
    pub mask_only: bool,
}

const fn function(name: &'static str, shape: Shape, mask_only: bool) -> Function {
    Function { name, shape, mask_only }
}

/// The list; `substr` is a form of the grammar and stands in `forms/calls`.
pub(super) const FUNCTIONS: &[Function] = &[
    function("lower", Shape::Text, false),
    function("upper", Shape::Text, false),
    function("length", Shape::Text, false),
    function("char_length", Shape::Text, false),
    function("character_length", Shape::Text, false),
    function("octet_length", Shape::Text, false),
    function("btrim", Shape::Text, false),
    function("ltrim", Shape::Text, false),
    function("rtrim", Shape::Text, false),
    function("starts_with", Shape::TwoTexts, false),
    function("coalesce", Shape::Coalesce, false),
    function("nullif", Shape::NullIf, false),
    function("concat", Shape::Texts, true),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}
