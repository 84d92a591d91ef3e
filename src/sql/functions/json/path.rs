//! jsonpath: the language's tree, and the functions that evaluate it (jsonpath.c, jsonpath_exec.c). A jsonpath value is
//! kept as the text that `jsonpath_out` prints; it is parsed once for a constant, else once a row.

mod datetime;
mod eval;
mod lex;
mod offset;
mod parse;
mod print;

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, StringBuilder};

use super::{Form, cannot, expand, write_array};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::formats::postgres::input::json::{Shape, shape};
use crate::sql::functions::regex::Pattern;
use crate::sql::kernel::{Call, Growing};
use eval::{Evaluation, Stop};

#[derive(Debug)]
struct Path {
    lax: bool,
    root: Node,
}

/// An item and what is applied to its result.
#[derive(Debug)]
struct Node {
    kind: Kind,
    next: Option<Box<Node>>,
}

#[derive(Debug)]
enum Kind {
    Null,
    Bool(bool),
    /// As numeric prints it.
    Number(String),
    /// The characters, and the same as JSON.
    String(String),
    Variable(String),
    Root,
    Current,
    Last,
    Key(String),
    AnyKey,
    AnyArray,
    /// Levels; [`LAST`] is the deepest.
    Any {
        first: u32,
        last: u32,
    },
    Subscripts(Vec<(Node, Option<Node>)>),
    Method(Method),
    Datetime(Option<String>),
    Filter(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsUnknown(Box<Node>),
    Exists(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    LikeRegex {
        of: Box<Node>,
        pattern: String,
        flags: Flags,
        compiled: Pattern,
    },
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    /// `+` and `-` before an expression.
    Sign {
        minus: bool,
        of: Box<Node>,
    },
}

const LAST: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    Keyvalue,
}

impl Method {
    const ALL: [(&'static str, Method); 7] = [
        ("type", Method::Type),
        ("size", Method::Size),
        ("double", Method::Double),
        ("ceiling", Method::Ceiling),
        ("floor", Method::Floor),
        ("abs", Method::Abs),
        ("keyvalue", Method::Keyvalue),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

/// Of like_regex, as XQuery has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    ignore_case: bool,
    /// `.` matches a newline.
    dot_all: bool,
    /// `^` and `$` match at lines.
    multi_line: bool,
    /// Blanks in the pattern are none of it; without `quote` it is refused.
    expanded: bool,
    /// The pattern is plain characters.
    quote: bool,
}

/// jsonpath_in: PostgreSQL's own spelling.
pub(super) fn input(text: &str) -> Result<String> {
    let path = parse::parse(text)?;
    Ok(print::print(&path))
}

/// Paths, variables and the flag of a call.
struct Arguments<'a> {
    call: &'a Call<'a>,
    constant: Option<Path>,
    zoned: bool,
}

/// One row's path and what it is applied to.
struct Row<'a> {
    json: &'a str,
    vars: Option<&'a str>,
    silent: bool,
}

impl<'a> Arguments<'a> {
    fn new(call: &'a Call<'a>, zoned: bool) -> Result<Self> {
        let constant = match call.arg(1)?.constant {
            true => call.read::<&str>(1)?.get(0).map(parse::parse).transpose()?,
            false => None,
        };
        Ok(Self { call, constant, zoned })
    }

    /// `None` where an argument is NULL. `operator` is silent and has no variables.
    fn evaluate<T>(
        &self,
        row: usize,
        operator: bool,
        f: impl FnOnce(&Path, &Row<'_>, Evaluation<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let Some(json) = self.call.read::<&str>(0)?.get(row) else { return Ok(None) };
        let (vars, silent) = match operator {
            true => (None, true),
            false => match (self.call.read::<&str>(2)?.get(row), self.call.read::<bool>(3)?.get(row)) {
                (Some(vars), Some(silent)) => (Some(vars), silent),
                _ => return Ok(None),
            },
        };
        let own;
        let path = match &self.constant {
            Some(path) => path,
            None => match self.call.read::<&str>(1)?.get(row) {
                Some(text) => {
                    own = parse::parse(text)?;
                    &own
                }
                None => return Ok(None),
            },
        };
        if vars.is_some_and(|vars| shape(vars) != Shape::Object) {
            let detail = "Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.";
            return Err(cannot("\"vars\" argument is not an object").with_detail(detail));
        }
        let it = Row { json, vars, silent };
        let evaluation = Evaluation::new(path, it.json, it.vars, self.zoned, self.call.env);
        f(path, &it, evaluation)
    }
}

/// The items found; those before the error where it was to be silent.
fn items(path: &Path, row: &Row<'_>, mut evaluation: Evaluation<'_>) -> Result<Vec<String>> {
    let mut found = vec![];
    match evaluation.run(path, Some(&mut found)) {
        Ok(_) => {}
        Err(Stop::Soft(_)) if row.silent => {}
        Err(Stop::Soft(error) | Stop::Hard(error)) => return Err(error),
    }
    found.into_iter().map(|item| item.json()).collect()
}

/// jsonb_path_exists, `@?`.
pub(super) fn exists(c: &Call<'_>, operator: bool, zoned: bool) -> Result<ArrayRef> {
    let arguments = Arguments::new(c, zoned)?;
    c.rows_of(|row| {
        arguments.evaluate(row, operator, |path, it, mut evaluation| {
            let ran = match path.lax {
                true => evaluation.run(path, None),
                false => {
                    // all errors there are must be met
                    let mut found = vec![];
                    evaluation.run(path, Some(&mut found)).map(|_| !found.is_empty())
                }
            };
            match ran {
                Ok(found) => Ok(Some(found)),
                Err(Stop::Soft(_)) if it.silent => Ok(None),
                Err(Stop::Soft(error) | Stop::Hard(error)) => Err(error),
            }
        })
    })
}

/// jsonb_path_match, `@@`: the one boolean that the path gives.
pub(super) fn matches(c: &Call<'_>, operator: bool, zoned: bool) -> Result<ArrayRef> {
    let arguments = Arguments::new(c, zoned)?;
    c.rows_of(|row| {
        arguments.evaluate(row, operator, |path, it, evaluation| {
            let found = items(path, it, evaluation)?;
            match found.as_slice() {
                [one] if one == "true" || one == "false" => Ok(Some(one == "true")),
                [one] if one == "null" => Ok(None),
                _ if it.silent => Ok(None),
                _ => Err(Error::new(ErrorKind::SingletonJsonItem, "single boolean result is expected")),
            }
        })
    })
}

pub(super) fn query_array(c: &Call<'_>, zoned: bool) -> Result<ArrayRef> {
    let arguments = Arguments::new(c, zoned)?;
    c.rows_of(|row| {
        arguments.evaluate(row, false, |path, it, evaluation| {
            let found = items(path, it, evaluation)?;
            Ok(Some(write_array(found.iter().map(String::as_str))))
        })
    })
}

pub(super) fn query_first(c: &Call<'_>, zoned: bool) -> Result<ArrayRef> {
    let arguments = Arguments::new(c, zoned)?;
    c.rows_of(|row| {
        arguments.evaluate(row, false, |path, it, evaluation| Ok(items(path, it, evaluation)?.into_iter().next()))
    })
}

/// jsonb_path_query: a list for each row.
pub(super) fn query(c: &Call<'_>, zoned: bool) -> Result<ArrayRef> {
    let arguments = Arguments::new(c, zoned)?;
    let mut out = StringBuilder::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let found = arguments.evaluate(row, false, |path, it, evaluation| items(path, it, evaluation).map(Some))?;
        valid.push(found.is_some());
        let before = out.len();
        for item in found.unwrap_or_default() {
            growing.add(expand::ELEMENT + item.len())?;
            out.append_value(item);
        }
        lengths.push(out.len() - before);
    }
    expand::lists(c, growing, lengths, valid, |_| Ok(Arc::new(out.finish())))
}

/// A step of a path over jsonb is one over its normal form.
const FORM: Form = Form::Jsonb;
