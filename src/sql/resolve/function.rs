//! Which function a name stands for with these arguments: func_get_detail and ParseFuncOrColumn of parse_func.c, and
//! FuncnameGetCandidates of namespace.c. Whether an aggregate or a window function may stand there is the caller's.

use arrow::datatypes::DataType;

use super::candidate::{self, Candidate, Choice};
use super::cast::{self, Pathway};
use super::{Context, common, lies, natural, place, polymorphic, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Expr, Kind};
use crate::sql::image::{self, CastContext, Proc, Schema};

/// `FUNC_MAX_ARGS`.
const ARGUMENTS_MAX: usize = 100;

/// One argument as it is written; `name => expr` has a name.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) name: Option<String>,
    pub(crate) expr: Expr,
}

/// What `name(arguments)` is.
#[derive(Debug)]
pub(crate) enum Found {
    Call(Resolved),
    /// `int4('5')`, `text(x)`: the name of a type, and the cast to it.
    Cast(Expr),
}

/// A function and what to give it.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) proc: &'static Proc,
    /// In the function's order and of its types; defaults filled in, VARIADIC ones gathered into an array, but for those
    /// of VARIADIC "any".
    pub(crate) arguments: Vec<Expr>,
    pub(crate) ty: Ty,
    /// A record with OUT columns is a struct of them.
    pub(crate) data_type: DataType,
    /// As [`crate::sql::expr::Call::variadic`].
    pub(crate) variadic: bool,
}

/// Every function that can be called by that name. Functions that are lakegate's own, not PostgreSQL's, belong here.
pub(crate) fn named(cx: Context<'_>, schema: Option<&str>, name: &str) -> impl Iterator<Item = &'static Proc> {
    let name = name.to_owned();
    Schema::searched(schema, cx.env.public_on_path).flat_map(move |schema| image::procs_in(schema, &name)).copied()
}

/// `variadic`: the last argument is marked VARIADIC. `at` is the place of the name.
pub(crate) fn resolve(
    cx: Context<'_>,
    schema: Option<&str>,
    name: &str,
    arguments: Vec<Argument>,
    variadic: bool,
    at: usize,
) -> Result<Found> {
    if arguments.len() > ARGUMENTS_MAX {
        let text = format!("cannot pass more than {ARGUMENTS_MAX} arguments to a function");
        return Err(Error::new(Failure::TooManyArguments, text).at(at));
    }
    let (names, exprs) = split(arguments)?;
    let given: Vec<u32> = exprs.iter().map(|e| e.ty.oid).collect();
    let refused = |kind, what: &str, hint: &str| {
        let text = format!("function {} {what}", signature(schema, name, &names, &given));
        Error::new(kind, text).with_hint(format!("{hint}. You might need to add explicit type casts.")).at(at)
    };
    let ambiguous =
        || refused(Failure::AmbiguousFunction, "is not unique", "Could not choose a best candidate function");
    let undefined = || {
        let hint = "No function matches the given name and argument types";
        refused(Failure::UndefinedFunction, "does not exist", hint)
    };

    let mut matches = candidates(named(cx, schema, name), given.len(), &names, !variadic);
    let best = match matches.iter().position(|c| c.types.starts_with(&given)) {
        Some(exact) => matches.swap_remove(exact),
        None => {
            if let ([expr], true) = (&exprs[..], names.is_empty())
                && let Some(target) = type_named(schema, name)
                && is_cast(expr, target)
            {
                let cast = cast::convert(cx, expr.clone(), Ty::of(target), CastContext::Explicit)?;
                return Ok(Found::Cast(cast));
            }
            match candidate::choose(&given, matches) {
                Choice::One(best) => best,
                Choice::Several => return Err(ambiguous()),
                Choice::None => return Err(undefined()),
            }
        }
    };
    if best.ambiguous {
        return Err(ambiguous());
    }
    // VARIADIC must mark what the function takes as such
    let last = given.len().wrapping_sub(1);
    if !names.is_empty() && variadic && best.order.as_ref().is_some_and(|order| order.get(last) != Some(&last)) {
        return Err(undefined());
    }
    finish(cx, best, exprs, variadic).map(Found::Call)
}

/// Names of the last arguments, and all expressions.
fn split(arguments: Vec<Argument>) -> Result<(Vec<String>, Vec<Expr>)> {
    let (mut names, mut exprs): (Vec<String>, Vec<Expr>) = (vec![], vec![]);
    for argument in arguments {
        let wrong = |text: String| Error::new(Failure::Syntax, text).at(place(&argument.expr));
        match argument.name {
            Some(name) if names.contains(&name) => {
                return Err(wrong(format!("argument name \"{name}\" used more than once")));
            }
            Some(name) => names.push(name),
            None if names.is_empty() => {}
            None => return Err(wrong("positional argument cannot follow named argument".into())),
        }
        exprs.push(argument.expr);
    }
    Ok((names, exprs))
}

/// A function as this call would call it.
struct Match {
    proc: &'static Proc,
    /// In the order of the call: VARIADIC spread out, defaults last.
    types: Vec<u32>,
    /// For named arguments: which of the function's arguments each one of the call is.
    order: Option<Vec<usize>>,
    /// How many arguments the VARIADIC one stands for; 0 where it is taken as an array.
    spread: usize,
    defaults: usize,
    /// Another function would be called by the same types.
    ambiguous: bool,
}

impl Candidate for Match {
    fn arguments(&self) -> &[u32] {
        &self.types
    }
}

/// `FuncnameGetCandidates`.
fn candidates(
    procs: impl Iterator<Item = &'static Proc>,
    count: usize,
    names: &[String],
    expand_variadic: bool,
) -> Vec<Match> {
    let mut all: Vec<Match> = vec![];
    for found in procs.filter_map(|proc| candidate(proc, count, names, expand_variadic)) {
        let own = |m: &Match| m.types.len() - m.defaults;
        let same = |m: &Match| own(m) == own(&found) && m.types[..own(m)] == found.types[..own(&found)];
        match all.iter().position(same) {
            None => all.push(found),
            // one that takes its arguments one by one is better than a VARIADIC one
            Some(old) => match (all[old].spread > 0, found.spread > 0) {
                (false, true) => {}
                (true, false) => all[old] = found,
                (true, true) | (false, false) => all[old].ambiguous = true,
            },
        }
    }
    all
}

fn candidate(proc: &'static Proc, count: usize, names: &[String], expand_variadic: bool) -> Option<Match> {
    let wanted = proc.arguments.len();
    let is_variadic = proc.variadic != 0 && expand_variadic;
    if !names.is_empty() && is_variadic {
        return None;
    }
    let spread = is_variadic && wanted <= count;
    let defaults = wanted.saturating_sub(count);
    if defaults > proc.defaults.len() || (wanted < count && !spread) {
        return None;
    }
    let order = match names {
        [] => None,
        names => Some(order_of_names(proc, count, names)?),
    };
    let mut types: Vec<u32> = match &order {
        Some(order) => order.iter().filter_map(|i| proc.arguments.get(*i).copied()).collect(),
        None => proc.arguments.clone(),
    };
    if spread {
        types.truncate(wanted.saturating_sub(1));
        types.resize(count, proc.variadic);
    }
    let spread = if spread { count + 1 - wanted } else { 0 };
    Some(Match { proc, types, order, spread, defaults, ambiguous: false })
}

/// Which argument of the function each one of the call is, then those that get defaults (`MatchNamedCall`).
fn order_of_names(proc: &Proc, count: usize, names: &[String]) -> Option<Vec<usize>> {
    let positional = count.checked_sub(names.len())?;
    let mut order: Vec<usize> = (0..positional).collect();
    for name in names {
        let place = proc.names.iter().position(|n| n == name)?;
        if order.contains(&place) {
            return None;
        }
        order.push(place);
    }
    let first_default = proc.arguments.len().checked_sub(proc.defaults.len())?;
    for i in positional..proc.arguments.len() {
        if order.contains(&i) {
            continue;
        }
        if i < first_default {
            return None;
        }
        order.push(i);
    }
    Some(order)
}

/// Whether `type(expr)` is a cast and not a call: a literal, or a value that no function converts.
fn is_cast(expr: &Expr, target: u32) -> bool {
    if expr.ty.is_unknown() && matches!(expr.kind, Kind::Unknown(_) | Kind::Constant(_)) {
        return true;
    }
    // a parameter that nothing has typed yet can be cast to a string only
    match cast::pathway(expr.ty.oid, target, CastContext::Explicit) {
        Pathway::Relabel => true,
        Pathway::Text => !(expr.ty.oid == oid::RECORD && types::category(target) == types::STRING),
        Pathway::None | Pathway::Function(_) | Pathway::Elements => false,
    }
}

/// A type by its internal name (`int4`, not `integer`).
fn type_named(schema: Option<&str>, name: &str) -> Option<u32> {
    match schema {
        None | Some("pg_catalog") => postgres::by_internal_name(name).map(|row| row.oid),
        Some(_) => None,
    }
}

fn finish(cx: Context<'_>, best: Match, exprs: Vec<Expr>, marked: bool) -> Result<Resolved> {
    let Match { proc, mut types, order, spread, .. } = best;
    let count = exprs.len();
    let mut exprs = exprs;
    for i in count..types.len() {
        let argument = order.as_ref().map_or(i, |order| order.get(i).copied().unwrap_or(i));
        let declared = proc.arguments.get(argument).copied().unwrap_or(oid::TEXT);
        exprs.push(default(cx, proc, argument, declared)?);
    }
    let given: Vec<u32> = exprs.iter().map(|e| e.ty.oid).collect();
    let last = exprs.last().map_or(0, place);
    let is_generic = types.iter().any(|oid| pgtype::is_polymorphic(*oid));
    // an input function (array_in) gives a polymorphic type and takes none: its value has a type only where it is read
    if !is_generic && pgtype::is_polymorphic(proc.result) {
        return Err(Error::unsupported(format!("{} called by its name", proc.name)));
    }
    let solution = polymorphic::solve(&given, &mut types)?;
    let ty = Ty::of(solution.of(proc.result)?);
    let convert = |(expr, declared): (Expr, &u32)| cast::convert(cx, expr, Ty::of(*declared), CastContext::Implicit);
    let mut arguments: Vec<Expr> = exprs.into_iter().zip(&types).map(convert).collect::<Result<_>>()?;

    let mut variadic = marked && proc.variadic != 0;
    if spread > 0 && proc.variadic != oid::ANY {
        let elements = arguments.split_off(arguments.len() - spread);
        arguments.push(gathered(elements)?);
        variadic = true;
    } else if variadic && proc.variadic == oid::ANY && given.get(count - 1).is_none_or(|oid| !types::is_array(*oid)) {
        return Err(Error::new(Failure::TypeMismatch, "VARIADIC argument must be an array").at(last));
    }
    if let Some(order) = order {
        let mut placed: Vec<(usize, Expr)> = order.into_iter().zip(arguments).collect();
        placed.sort_by_key(|(place, _)| *place);
        arguments = placed.into_iter().map(|(_, expr)| expr).collect();
    }
    let data_type = match (ty.oid, &proc.outputs[..]) {
        (oid::RECORD, [_, _, ..]) => record(proc, &solution)?,
        // json_populate_record: the record that it is given is the pattern of its result
        (oid::RECORD, []) if proc.result == oid::ANYELEMENT => match arguments.first().map(|a| &a.data_type) {
            Some(DataType::Struct(fields)) => DataType::Struct(fields.clone()),
            _ => lies(proc, &arguments, ty),
        },
        (_, []) if proc.source.contains("_populate_record") => {
            let text = format!("first argument of {} must be a row type", proc.name);
            return Err(Error::new(Failure::TypeMismatch, text));
        }
        _ => lies(proc, &arguments, ty),
    };
    Ok(Resolved { proc, arguments, ty, data_type, variadic })
}

/// VARIADIC arguments, all of one type by now, as the array that the function takes.
fn gathered(elements: Vec<Expr>) -> Result<Expr> {
    let element = elements.first().map_or(Ty::TEXT, |e| Ty::of(e.ty.oid));
    let at = elements.first().map_or(0, |e| e.at);
    let array = polymorphic::array_of(element.oid).map_err(|e| e.at(at))?;
    let (elements, data_type) = common::alike(elements, element);
    let data_type = cast::list_of(element, data_type);
    Ok(Expr::lying(Kind::Array(elements), Ty::of(array), data_type, at))
}

/// OUT columns, with their polymorphic types solved.
fn record(proc: &Proc, solution: &polymorphic::Solution) -> Result<DataType> {
    let column = |(name, declared): &(&str, u32)| {
        let oid = solution.of(*declared)?;
        Ok(pgtype::field(name, Ty::of(oid), natural(oid)))
    };
    let columns: Vec<_> = proc.outputs.iter().map(column).collect::<Result<_>>()?;
    Ok(DataType::Struct(columns.into()))
}

/// The default of the function's argument of that place: a number, a word, or a quoted text with its type.
fn default(cx: Context<'_>, proc: &Proc, argument: usize, declared: u32) -> Result<Expr> {
    let missing = || Error::internal(format!("{} has no default for its argument {argument}", proc.name));
    let first = proc.arguments.len().checked_sub(proc.defaults.len()).ok_or_else(missing)?;
    let text = argument.checked_sub(first).and_then(|i| proc.defaults.get(i)).ok_or_else(missing)?;
    let quoted = text.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')).map(|(inner, _)| inner);
    let literal = Expr::unknown(quoted.unwrap_or(text), 0);
    cast::convert(cx, literal, Ty::of(declared), CastContext::Implicit)
}

/// `func_signature_string`.
fn signature(schema: Option<&str>, name: &str, names: &[String], given: &[u32]) -> String {
    let positional = given.len() - names.len();
    let argument = |(i, oid): (usize, &u32)| match i.checked_sub(positional).and_then(|i| names.get(i)) {
        Some(name) => format!("{name} => {}", pgtype::name(*oid)),
        None => pgtype::name(*oid),
    };
    let arguments: Vec<String> = given.iter().enumerate().map(argument).collect();
    let schema = schema.map_or(String::new(), |schema| format!("{schema}."));
    format!("{schema}{name}({})", arguments.join(", "))
}
