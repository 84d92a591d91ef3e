//! Evaluation of a path over a document (jsonpath_exec.c). An item is a slice of the document's text where it can be.

use std::borrow::Cow;
use std::cmp::Ordering;

use num_bigint::Sign;

use super::datetime::Moment;
use super::{Comparison, FORM, Kind, LAST, Method, Node, Path};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::formats::postgres::input::float8;
use crate::formats::postgres::input::json::{Elements, Members, Shape, shape, too_deep, unescape, write_string};
use crate::sql::functions::json::compare::equal_scalars;
use crate::sql::functions::json::{Key, access};
use crate::sql::functions::numeric::exact;
use crate::sql::kernel::Env;
use crate::sql::numeric::Numeric;

/// Bytes of stack that a step wants, and that it gets where fewer are left.
const STACK_LEAST: usize = 128 << 10;
const STACK_MORE: usize = 1 << 20;

/// Why evaluation ended: `silent` and predicates pass over the soft ones.
#[derive(Debug)]
pub(super) enum Stop {
    Soft(Error),
    Hard(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Hard(error)
    }
}

/// Whether anything was found.
type Ran = Result<bool, Stop>;
type Found<'f, 'a> = Option<&'f mut Vec<Item<'a>>>;

#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    /// In jsonb's normal form.
    Json(Cow<'a, str>),
    Moment(Moment),
}

impl<'a> Item<'a> {
    fn owned(json: impl Into<String>) -> Self {
        Self::Json(Cow::Owned(json.into()))
    }

    fn slice(json: &'a str) -> Self {
        Self::Json(Cow::Borrowed(json))
    }

    pub(super) fn json(self) -> Result<String> {
        match self {
            Self::Json(json) => Ok(json.into_owned()),
            Self::Moment(moment) => quoted(&moment.text()?),
        }
    }

    /// `None` for a moment, whose kind no container and no scalar of JSON has.
    fn shape(&self) -> Option<Shape> {
        match self {
            Self::Json(json) => Some(shape(json)),
            Self::Moment(_) => None,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Json(json) => json,
            Self::Moment(_) => "",
        }
    }

    fn is_array(&self) -> bool {
        self.shape() == Some(Shape::Array)
    }

    fn number(&self) -> Result<Option<Numeric>> {
        match self.shape() {
            Some(Shape::Number) => Numeric::parse(self.text()).map(Some),
            _ => Ok(None),
        }
    }

    /// Elements or values of members, as items that live as long as this one's text.
    fn inside(&self) -> Result<Vec<Item<'a>>> {
        match self {
            Self::Json(Cow::Borrowed(json)) => inside(json, Item::slice),
            Self::Json(Cow::Owned(json)) => inside(json, Item::owned),
            Self::Moment(_) => Ok(vec![]),
        }
    }
}

fn inside<'j, T>(json: &'j str, item: impl Fn(&'j str) -> T) -> Result<Vec<T>> {
    match shape(json) {
        Shape::Array => Elements::of(json).map(|element| element.map(&item)).collect(),
        Shape::Object => Members::of(json).map(|member| member.map(|(_, value)| item(value))).collect(),
        _ => Ok(vec![]),
    }
}

fn quoted(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    Ok(out)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Where ids of objects are counted from.
#[derive(Clone, Copy, Debug)]
struct Base {
    id: i64,
}

pub(super) struct Evaluation<'a> {
    root: &'a str,
    vars: Option<&'a str>,
    lax: bool,
    /// Inside `**` structural errors are passed over in strict mode too.
    forgiving: bool,
    zoned: bool,
    current: Vec<Item<'a>>,
    /// Of the innermost array with a subscript, for `last`.
    size: Option<usize>,
    base: Base,
    generated: i64,
    depth: usize,
    env: &'a Env,
}

fn soft<T>(kind: ErrorKind, text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Soft(Error::new(kind, text)))
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(path: &Path, root: &'a str, vars: Option<&'a str>, zoned: bool, env: &'a Env) -> Self {
        Self {
            root,
            vars,
            lax: path.lax,
            forgiving: path.lax,
            zoned,
            current: vec![Item::slice(root)],
            size: None,
            base: Base { id: 0 },
            generated: if vars.is_some() { 2 } else { 1 },
            depth: 0,
            env,
        }
    }

    pub(super) fn run(&mut self, path: &Path, found: Found<'_, 'a>) -> Ran {
        self.item(&path.root, Item::slice(self.root), found)
    }

    fn item(&mut self, node: &Node, item: Item<'a>, found: Found<'_, 'a>) -> Ran {
        self.step(node, item, found, self.lax)
    }

    fn next(&mut self, node: &Node, item: Item<'a>, found: Found<'_, 'a>) -> Ran {
        match (&node.next, found) {
            (Some(next), found) => self.item(next, item, found),
            (None, Some(found)) => {
                self.env.budget.value(found.len().saturating_mul(16))?;
                found.push(item);
                Ok(true)
            }
            (None, None) => Ok(true),
        }
    }

    fn step(&mut self, node: &Node, item: Item<'a>, found: Found<'_, 'a>, unwrap: bool) -> Ran {
        self.depth += 1;
        if self.depth > super::super::RECURSION_MAX {
            return Err(Stop::Hard(too_deep()));
        }
        let ran = stacker::maybe_grow(STACK_LEAST, STACK_MORE, || self.apply(node, item, found, unwrap));
        self.depth -= 1;
        ran
    }

    fn apply(&mut self, node: &Node, item: Item<'a>, mut found: Found<'_, 'a>, unwrap: bool) -> Ran {
        let is_array = item.is_array();
        match &node.kind {
            Kind::And(..)
            | Kind::Or(..)
            | Kind::Not(_)
            | Kind::IsUnknown(_)
            | Kind::Exists(_)
            | Kind::Compare(..)
            | Kind::StartsWith(..)
            | Kind::LikeRegex { .. } => {
                let truth = self.truth(node, &item)?;
                let json = match truth {
                    Truth::True => "true",
                    Truth::False => "false",
                    Truth::Unknown => "null",
                };
                self.next(node, Item::slice(json), found)
            }
            Kind::Key(key) => match item.shape() {
                Some(Shape::Object) => match self.member(&item, key)? {
                    Some(value) => self.next(node, value, found),
                    None if self.forgiving => Ok(false),
                    None => {
                        let text = format!("JSON object does not contain key \"{key}\"");
                        soft(ErrorKind::JsonMemberNotFound, text)
                    }
                },
                Some(Shape::Array) if unwrap => self.unwrapped(node, &item, found),
                _ if self.forgiving => Ok(false),
                _ => {
                    let text = "jsonpath member accessor can only be applied to an object";
                    soft(ErrorKind::JsonMemberNotFound, text)
                }
            },
            Kind::AnyKey => match item.shape() {
                Some(Shape::Object) => self.each(node.next.as_deref(), &item, found, Levels::ONE, self.lax),
                Some(Shape::Array) if unwrap => self.unwrapped(node, &item, found),
                _ if self.forgiving => Ok(false),
                _ => {
                    let text = "jsonpath wildcard member accessor can only be applied to an object";
                    soft(ErrorKind::JsonObjectNotFound, text)
                }
            },
            Kind::AnyArray if is_array => self.each(node.next.as_deref(), &item, found, Levels::ONE, self.lax),
            Kind::AnyArray if self.lax => self.next(node, item, found),
            Kind::AnyArray if self.forgiving => Ok(false),
            Kind::AnyArray => {
                let text = "jsonpath wildcard array accessor can only be applied to an array";
                soft(ErrorKind::JsonArrayNotFound, text)
            }
            Kind::Subscripts(all) if is_array || self.lax => self.subscripts(node, all, &item, found),
            Kind::Subscripts(_) if self.forgiving => Ok(false),
            Kind::Subscripts(_) => {
                let text = "jsonpath array accessor can only be applied to an array";
                soft(ErrorKind::JsonArrayNotFound, text)
            }
            Kind::Any { first, last } => {
                let mut ran = false;
                if *first == 0 {
                    let before = std::mem::replace(&mut self.forgiving, true);
                    let own = self.next(node, item.clone(), found.as_deref_mut());
                    self.forgiving = before;
                    ran = own?;
                    if ran && found.is_none() {
                        return Ok(true);
                    }
                }
                let levels = Levels { at: 1, first: *first, last: *last, forgiving: true };
                Ok(self.each(node.next.as_deref(), &item, found, levels, self.lax)? || ran)
            }
            Kind::Filter(_) if unwrap && is_array => self.unwrapped(node, &item, found),
            Kind::Filter(condition) => {
                self.current.push(item.clone());
                let truth = self.truth(condition, &item);
                self.current.pop();
                if truth? == Truth::True { self.next(node, item, found) } else { Ok(false) }
            }
            Kind::Null => self.next(node, Item::slice("null"), found),
            Kind::Bool(true) => self.next(node, Item::slice("true"), found),
            Kind::Bool(false) => self.next(node, Item::slice("false"), found),
            Kind::Number(text) => self.next(node, Item::owned(text), found),
            Kind::String(text) => self.next(node, Item::owned(quoted(text)?), found),
            Kind::Variable(name) => {
                let value = self.variable(name)?;
                let before = std::mem::replace(&mut self.base, Base { id: 1 });
                let ran = self.next(node, value, found);
                self.base = before;
                ran
            }
            Kind::Root => {
                let before = std::mem::replace(&mut self.base, Base { id: 0 });
                let ran = self.next(node, Item::slice(self.root), found);
                self.base = before;
                ran
            }
            Kind::Current => match self.current.last().cloned() {
                Some(current) => self.next(node, current, found),
                None => Err(Stop::Hard(Error::internal("@ without a filter"))),
            },
            Kind::Last => match self.size {
                Some(size) => {
                    let last = i64::try_from(size).unwrap_or(i64::MAX) - 1;
                    self.next(node, Item::owned(last.to_string()), found)
                }
                None => {
                    let text = "evaluating jsonpath LAST outside of array subscript";
                    Err(Stop::Hard(Error::new(ErrorKind::Internal, text)))
                }
            },
            Kind::Arithmetic(operator, left, right) => {
                let value = self.arithmetic(*operator, left, right, &item)?;
                self.next(node, Item::owned(value.to_string()), found)
            }
            Kind::Sign { minus, of } => self.signed(node, *minus, of, item, found),
            Kind::Datetime(_) if unwrap && is_array => self.unwrapped(node, &item, found),
            Kind::Datetime(template) => {
                if item.shape() != Some(Shape::String) {
                    let text = "jsonpath item method .datetime() can only be applied to a string";
                    return soft(ErrorKind::InvalidJsonArgument, text);
                }
                let text = unescape(item.text())?;
                let moment = Moment::read(&text, template.as_deref()).map_err(Stop::Soft)?;
                self.next(node, Item::Moment(moment), found)
            }
            Kind::Method(method) => self.method(node, *method, item, found, unwrap),
        }
    }

    /// The value of a key; of the document it is a slice, else its own text.
    fn member(&self, object: &Item<'a>, key: &str) -> Result<Option<Item<'a>>> {
        Ok(match object {
            Item::Json(Cow::Borrowed(json)) => access::member(FORM, json, &Key::of(key))?.map(Item::slice),
            Item::Json(Cow::Owned(json)) => access::member(FORM, json, &Key::of(key))?.map(Item::owned),
            Item::Moment(_) => None,
        })
    }

    /// The node over each element of an array.
    fn unwrapped(&mut self, node: &Node, array: &Item<'a>, found: Found<'_, 'a>) -> Ran {
        self.each(Some(node), array, found, Levels::ONE, false)
    }

    /// executeAnyItem: what is inside a container, down to some level.
    fn each(
        &mut self,
        node: Option<&Node>,
        container: &Item<'a>,
        mut found: Found<'_, 'a>,
        levels: Levels,
        unwrap: bool,
    ) -> Ran {
        if levels.at > levels.last {
            return Ok(false);
        }
        if usize::try_from(levels.at).is_ok_and(|at| at > super::super::RECURSION_MAX) {
            return Err(Stop::Hard(too_deep()));
        }
        let mut ran = false;
        for item in container.inside()? {
            let is_container = item.shape().is_some_and(Shape::is_container);
            let leaf = levels.first == LAST && levels.last == LAST && !is_container;
            if levels.at >= levels.first || leaf {
                match node {
                    Some(node) => {
                        let before = self.forgiving;
                        self.forgiving |= levels.forgiving;
                        let own = self.step(node, item.clone(), found.as_deref_mut(), unwrap);
                        self.forgiving = before;
                        ran = own?;
                    }
                    None => {
                        ran = true;
                        if let Some(found) = found.as_deref_mut() {
                            found.push(item.clone());
                        }
                    }
                }
                if ran && found.is_none() {
                    return Ok(true);
                }
            }
            if levels.at < levels.last && is_container {
                let below = Levels { at: levels.at + 1, ..levels };
                ran = self.each(node, &item, found.as_deref_mut(), below, unwrap)?;
                if ran && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(ran || found.is_some_and(|found| !found.is_empty()))
    }

    fn subscripts(
        &mut self,
        node: &Node,
        all: &[(Node, Option<Node>)],
        item: &Item<'a>,
        mut found: Found<'_, 'a>,
    ) -> Ran {
        let elements = if item.is_array() { item.inside()? } else { vec![item.clone()] };
        let before = self.size.replace(elements.len());
        let size = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        let mut ran = Ok(false);
        'all: for (from, to) in all {
            let bounds = self.index(from, item).and_then(|first| match to {
                Some(to) => Ok((first, self.index(to, item)?)),
                None => Ok((first, first)),
            });
            let (first, last) = match bounds {
                Ok(bounds) => bounds,
                Err(stop) => {
                    ran = Err(stop);
                    break;
                }
            };
            if !self.forgiving && (first < 0 || first > last || last >= size) {
                ran = soft(ErrorKind::JsonSubscript, "jsonpath array subscript is out of bounds");
                break;
            }
            for at in first.max(0)..=last.min(size - 1) {
                let Some(element) = usize::try_from(at).ok().and_then(|at| elements.get(at)) else { continue };
                ran = self.next(node, element.clone(), found.as_deref_mut());
                if ran.is_err() || (matches!(ran, Ok(true)) && found.is_none()) {
                    break 'all;
                }
            }
        }
        self.size = before;
        ran
    }

    fn index(&mut self, node: &Node, item: &Item<'a>) -> Result<i64, Stop> {
        let mut found = vec![];
        self.item(node, item.clone(), Some(&mut found))?;
        let number = match found.as_slice() {
            [one] => one.number()?,
            _ => None,
        };
        let Some(number) = number else {
            return soft(ErrorKind::JsonSubscript, "jsonpath array subscript is not a single numeric value");
        };
        let whole = truncated(&number).to_i128(0).and_then(|whole| i32::try_from(whole).ok());
        match whole {
            Some(index) => Ok(i64::from(index)),
            None => soft(ErrorKind::JsonSubscript, "jsonpath array subscript is out of integer range"),
        }
    }

    fn variable(&self, name: &str) -> Result<Item<'a>, Stop> {
        let Some(vars) = self.vars else { return Ok(Item::slice("null")) };
        match access::member(FORM, vars, &Key::of(name))? {
            Some(value) => Ok(Item::slice(value)),
            None => {
                let text = format!("could not find jsonpath variable \"{name}\"");
                Err(Stop::Hard(Error::new(ErrorKind::UndefinedObject, text)))
            }
        }
    }

    /// All items, arrays among them taken apart in lax mode.
    fn all(&mut self, node: &Node, item: &Item<'a>, unwrap: bool) -> Result<Vec<Item<'a>>, Stop> {
        let mut found = vec![];
        self.item(node, item.clone(), Some(&mut found))?;
        if !unwrap || !self.lax || !found.iter().any(Item::is_array) {
            return Ok(found);
        }
        let mut all = Vec::with_capacity(found.len());
        for item in found {
            match item.is_array() {
                true => all.extend(item.inside()?),
                false => all.push(item),
            }
        }
        Ok(all)
    }

    fn arithmetic(
        &mut self,
        operator: super::Arithmetic,
        left: &Node,
        right: &Node,
        item: &Item<'a>,
    ) -> Result<Numeric, Stop> {
        let (lefts, rights) = (self.all(left, item, true)?, self.all(right, item, true)?);
        let single = |items: &[Item<'a>], side: &str| -> Result<Numeric, Stop> {
            let number = match items {
                [one] => one.number()?,
                _ => None,
            };
            let text =
                || format!("{side} operand of jsonpath operator {} is not a single numeric value", operator.sign());
            number.map_or_else(|| soft(ErrorKind::SingletonJsonItem, text()), Ok)
        };
        let (a, b) = (single(&lefts, "left")?, single(&rights, "right")?);
        let value = match operator {
            super::Arithmetic::Add => exact::add(&a, &b),
            super::Arithmetic::Subtract => exact::subtract(&a, &b),
            super::Arithmetic::Multiply => exact::multiply(&a, &b),
            super::Arithmetic::Divide => exact::divide(&a, &b),
            super::Arithmetic::Modulo => exact::remainder(&a, &b),
        };
        value.map_err(Stop::Soft)
    }

    fn signed(&mut self, node: &Node, minus: bool, of: &Node, item: Item<'a>, mut found: Found<'_, 'a>) -> Ran {
        let mut ran = false;
        for operand in self.all(of, &item, true)? {
            let Some(number) = operand.number()? else {
                if found.is_none() && node.next.is_none() {
                    continue;
                }
                let sign = if minus { "-" } else { "+" };
                let text = format!("operand of unary jsonpath operator {sign} is not a numeric value");
                return soft(ErrorKind::JsonNumberNotFound, text);
            };
            let number = if minus { exact::negate(number) } else { number };
            if self.next(node, Item::owned(number.to_string()), found.as_deref_mut())? {
                ran = true;
                if found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(ran)
    }

    fn method(&mut self, node: &Node, method: Method, item: Item<'a>, found: Found<'_, 'a>, unwrap: bool) -> Ran {
        if unwrap && item.is_array() && !matches!(method, Method::Type | Method::Size) {
            return self.unwrapped(node, &item, found);
        }
        let name = method.name();
        let value = match method {
            Method::Type => match &item {
                Item::Json(json) => quoted(access::type_name(json))?,
                Item::Moment(moment) => quoted(moment.type_name())?,
            },
            Method::Size => match item.is_array() {
                true => Elements::of(item.text()).count().to_string(),
                false if self.lax => "1".to_owned(),
                false if self.forgiving => return Ok(false),
                false => {
                    let text = format!("jsonpath item method .{name}() can only be applied to an array");
                    return soft(ErrorKind::JsonArrayNotFound, text);
                }
            },
            Method::Abs | Method::Floor | Method::Ceiling => {
                let Some(number) = item.number()? else {
                    let text = format!("jsonpath item method .{name}() can only be applied to a numeric value");
                    return soft(ErrorKind::NonNumericJsonItem, text);
                };
                let rounded = match method {
                    Method::Abs if is_negative(&number) => exact::negate(number),
                    Method::Abs => number,
                    _ => to_whole(&number, method == Method::Ceiling)?,
                };
                rounded.to_string()
            }
            Method::Double => match item.shape() {
                Some(Shape::Number) => match float8(item.text()) {
                    Ok(_) => return self.next(node, item, found),
                    Err(_) => {
                        let text = format!(
                            "numeric argument of jsonpath item method .{name}() is out of range for type double precision"
                        );
                        return soft(ErrorKind::NonNumericJsonItem, text);
                    }
                },
                Some(Shape::String) => match float8(&unescape(item.text())?) {
                    Ok(value) if value.is_finite() => double(value)?,
                    _ => {
                        let text = format!(
                            "string argument of jsonpath item method .{name}() is not a valid representation of a double precision number"
                        );
                        return soft(ErrorKind::NonNumericJsonItem, text);
                    }
                },
                _ => {
                    let text =
                        format!("jsonpath item method .{name}() can only be applied to a string or numeric value");
                    return soft(ErrorKind::NonNumericJsonItem, text);
                }
            },
            Method::Keyvalue => return self.keyvalue(node, &item, found),
        };
        self.next(node, Item::owned(value), found)
    }

    fn keyvalue(&mut self, node: &Node, object: &Item<'a>, mut found: Found<'_, 'a>) -> Ran {
        if object.shape() != Some(Shape::Object) {
            let text = "jsonpath item method .keyvalue() can only be applied to an object";
            return soft(ErrorKind::JsonObjectNotFound, text);
        }
        let whole = if self.base.id == 1 { self.vars.unwrap_or_default() } else { self.root };
        let offset = match object {
            Item::Json(Cow::Borrowed(json)) => super::offset::of(whole, json)?.unwrap_or(0),
            Item::Json(Cow::Owned(_)) | Item::Moment(_) => 0,
        };
        let id = offset.saturating_add(self.base.id.saturating_mul(10_000_000_000));
        let mut ran = false;
        for member in Members::of(object.text()) {
            let (key, value) = member?;
            let pair = format!("{{\"id\": {id}, \"key\": {key}, \"value\": {value}}}");
            let before = self.base;
            self.base = Base { id: self.generated };
            self.generated += 1;
            let own = self.next(node, Item::owned(pair), found.as_deref_mut());
            self.base = before;
            ran = own?;
            if ran && found.is_none() {
                return Ok(true);
            }
        }
        Ok(ran)
    }

    fn truth(&mut self, node: &Node, item: &Item<'a>) -> Result<Truth, Stop> {
        Ok(match &node.kind {
            Kind::And(left, right) => match self.truth(left, item)? {
                Truth::False => Truth::False,
                first => match self.truth(right, item)? {
                    Truth::True => first,
                    second => second,
                },
            },
            Kind::Or(left, right) => match self.truth(left, item)? {
                Truth::True => Truth::True,
                first => match self.truth(right, item)? {
                    Truth::False => first,
                    second => second,
                },
            },
            Kind::Not(of) => match self.truth(of, item)? {
                Truth::Unknown => Truth::Unknown,
                Truth::True => Truth::False,
                Truth::False => Truth::True,
            },
            Kind::IsUnknown(of) => Truth::of(self.truth(of, item)? == Truth::Unknown),
            Kind::Exists(of) if self.forgiving => match self.item(of, item.clone(), None) {
                Ok(found) => Truth::of(found),
                Err(Stop::Soft(_)) => Truth::Unknown,
                Err(hard) => return Err(hard),
            },
            Kind::Exists(of) => {
                let mut found = vec![];
                match self.item(of, item.clone(), Some(&mut found)) {
                    Ok(_) => Truth::of(!found.is_empty()),
                    Err(Stop::Soft(_)) => Truth::Unknown,
                    Err(hard) => return Err(hard),
                }
            }
            Kind::Compare(comparison, left, right) => {
                let Some(lefts) = self.quietly(left, item, true)? else { return Ok(Truth::Unknown) };
                let Some(rights) = self.quietly(right, item, true)? else { return Ok(Truth::Unknown) };
                let pairs = lefts.iter().flat_map(|a| rights.iter().map(move |b| (a, b)));
                self.any(pairs.map(|(a, b)| self.compare(*comparison, a, b)))?
            }
            Kind::StartsWith(left, right) => {
                let Some(lefts) = self.quietly(left, item, true)? else { return Ok(Truth::Unknown) };
                let Some(rights) = self.quietly(right, item, false)? else { return Ok(Truth::Unknown) };
                let pairs = lefts.iter().flat_map(|a| rights.iter().map(move |b| (a, b)));
                self.any(pairs.map(|(whole, start)| match (whole.shape(), start.shape()) {
                    (Some(Shape::String), Some(Shape::String)) => {
                        Ok(Truth::of(unescape(whole.text())?.starts_with(unescape(start.text())?.as_ref())))
                    }
                    _ => Ok(Truth::Unknown),
                }))?
            }
            Kind::LikeRegex { of, compiled, .. } => {
                let Some(all) = self.quietly(of, item, true)? else { return Ok(Truth::Unknown) };
                self.any(all.iter().map(|text| match text.shape() {
                    Some(Shape::String) => Ok(Truth::of(compiled.is_match(&unescape(text.text())?)?)),
                    _ => Ok(Truth::Unknown),
                }))?
            }
            _ => return Err(Stop::Hard(Error::internal("an expression of jsonpath taken for a predicate"))),
        })
    }

    /// `None` for a soft error.
    fn quietly(&mut self, node: &Node, item: &Item<'a>, unwrap: bool) -> Result<Option<Vec<Item<'a>>>, Stop> {
        match self.all(node, item, unwrap) {
            Ok(all) => Ok(Some(all)),
            Err(Stop::Soft(_)) => Ok(None),
            Err(hard) => Err(hard),
        }
    }

    /// True if any is; in strict mode nothing may be unknown.
    fn any(&self, truths: impl Iterator<Item = Result<Truth, Stop>>) -> Result<Truth, Stop> {
        let (mut unknown, mut found) = (false, false);
        for truth in truths {
            match truth? {
                Truth::Unknown if !self.forgiving => return Ok(Truth::Unknown),
                Truth::Unknown => unknown = true,
                Truth::True if self.forgiving => return Ok(Truth::True),
                Truth::True => found = true,
                Truth::False => {}
            }
        }
        Ok(match (found, unknown) {
            (true, _) => Truth::True,
            (false, true) => Truth::Unknown,
            (false, false) => Truth::False,
        })
    }

    fn compare(&self, comparison: Comparison, a: &Item<'a>, b: &Item<'a>) -> Result<Truth, Stop> {
        let order = match (a, b) {
            (Item::Moment(a), Item::Moment(b)) => match a.compare(*b, self.zoned, self.env)? {
                Some(order) => order,
                None => return Ok(Truth::Unknown),
            },
            _ => match (a.shape(), b.shape()) {
                (Some(Shape::Null), Some(Shape::Null)) => Ordering::Equal,
                (Some(Shape::Null), _) | (_, Some(Shape::Null)) => {
                    return Ok(Truth::of(comparison == Comparison::NotEqual));
                }
                (Some(Shape::Bool), Some(Shape::Bool)) => (a.text() == "true").cmp(&(b.text() == "true")),
                (Some(Shape::Number), Some(Shape::Number)) => {
                    if equal_scalars(a.text(), b.text())? {
                        Ordering::Equal
                    } else {
                        Numeric::parse(a.text())?.compare(&Numeric::parse(b.text())?)
                    }
                }
                (Some(Shape::String), Some(Shape::String)) => unescape(a.text())?.cmp(&unescape(b.text())?),
                _ => return Ok(Truth::Unknown),
            },
        };
        Ok(Truth::of(match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }))
    }
}

#[derive(Clone, Copy, Debug)]
struct Levels {
    at: u32,
    first: u32,
    last: u32,
    forgiving: bool,
}

impl Levels {
    const ONE: Self = Self { at: 1, first: 1, last: 1, forgiving: false };
}

fn is_negative(number: &Numeric) -> bool {
    matches!(number, Numeric::Finite { digits, .. } if digits.sign() == Sign::Minus)
}

/// Without its digits after the point.
fn truncated(number: &Numeric) -> Numeric {
    let Numeric::Finite { digits, scale } = number else { return number.clone() };
    Numeric::new(digits / crate::sql::numeric::power_of_ten(*scale), 0)
}

fn to_whole(number: &Numeric, up: bool) -> Result<Numeric> {
    let whole = truncated(number);
    let one = Numeric::of_i128(1, 0);
    match (whole.compare(number), up) {
        (Ordering::Less, true) => exact::add(&whole, &one),
        (Ordering::Greater, false) => exact::subtract(&whole, &one),
        _ => Ok(whole),
    }
}

/// float8_numeric: fifteen digits.
fn double(value: f64) -> Result<String> {
    let text = format!("{value:.14e}");
    let number = Numeric::parse(&text)?;
    let Numeric::Finite { digits, scale } = &number else { return Ok(number.to_string()) };
    let (mut digits, mut scale) = (digits.clone(), *scale);
    while scale > 0 && (&digits % 10) == num_bigint::BigInt::ZERO {
        digits /= 10;
        scale -= 1;
    }
    Ok(Numeric::new(digits, scale).to_string())
}
