//! What a PostgreSQL 15.18 made of each expression, from the parse trees in pg_rewrite and its error messages:
//! `tests/*.tsv`. A row is what is written, `=`, and the tree: `c23` a column of type 23, `k` a constant, `n` a NULL,
//! `f1724:1700(…)` function 1724 that gives a 1700, `r` the same bytes relabelled, `t` by text, `e` element by element,
//! `a` an array, `s` an operator over one; `/7` is a modifier.

use datafusion::common::ScalarValue;

use super::function::{self, Argument, Found};
use super::{Context, Parameters, cast, common, operator};
use crate::error::{Error, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::expr::{ColumnId, Expr, Kind};
use crate::sql::image::CastContext;
use crate::sql::kernel::Env;

fn ty(name: &str) -> Ty {
    let (oid, typmod) = postgres::by_name(name).unwrap_or_else(|| panic!("no type {name}"));
    Ty { oid, typmod }
}

/// A type's name is a column of it, `'…'` a literal, `$1` a parameter.
fn operand(text: &str) -> Expr {
    if let Some(number) = text.strip_prefix('$') {
        return Expr::new(Kind::Parameter(number.parse().unwrap()), Ty::UNKNOWN, 1);
    }
    match text {
        "null" => Expr::null(1),
        quoted if quoted.starts_with('\'') => Expr::unknown(quoted.trim_matches('\''), 1),
        name => Expr::new(Kind::Column(ColumnId(1)), ty(name), 1),
    }
}

fn call(cx: Context<'_>, name: &str, arguments: &[&str]) -> Result<Expr> {
    let mut variadic = false;
    let argument = |text: &&str| {
        let text = text.strip_prefix('*').inspect(|_| variadic = true).unwrap_or(text);
        match text.split_once("=>") {
            Some((name, value)) => Argument { name: Some(name.into()), expr: operand(value) },
            None => Argument { name: None, expr: operand(text) },
        }
    };
    let arguments = arguments.iter().map(argument).collect();
    let (schema, name) = match name.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, name),
    };
    Ok(match function::resolve(cx, schema, name, arguments, variadic, 1)? {
        Found::Cast(expr) => expr,
        Found::Call(found) => super::call(found.proc, found.arguments, found.ty, found.variadic, 1),
    })
}

fn resolve(cx: Context<'_>, spec: &str) -> Result<Expr> {
    let words: Vec<&str> = spec.split('\t').collect();
    let operands = |words: &[&str]| words.iter().map(|w| operand(w)).collect::<Vec<_>>();
    match words[..] {
        ["op", name, left, right] => operator::binary(cx, name, operand(left), operand(right), 1),
        ["pre", name, of] => operator::prefix(cx, name, operand(of), 1),
        [kind @ ("any" | "all"), name, left, array] => {
            operator::any_of(cx, name, operand(left), operand(array), kind == "all", 1)
        }
        ["fn", name, ref arguments @ ..] => call(cx, name, arguments),
        ["cast", of, to] => cast::explicit(cx, operand(of), ty(to), 1),
        [kind @ ("case" | "coalesce" | "array"), ref of @ ..] => {
            let mut of = operands(of);
            if kind == "case" {
                // what stands behind ELSE comes first
                let last = of.pop().unwrap();
                of.insert(0, last);
            }
            let (mut exprs, ty, _) = common::to_common(cx, of, &kind.to_uppercase())?;
            if kind == "case" {
                let first = exprs.remove(0);
                exprs.push(first);
            }
            Ok(match kind {
                // arrays of one type are the rows of an array of it
                "array" if pgtype::element(ty.oid).is_some() => Expr::new(Kind::Array(exprs), ty, 1),
                "array" => Expr::new(Kind::Array(exprs), Ty::of(super::polymorphic::array_of(ty.oid)?), 1),
                _ => Expr::new(Kind::Coalesce(exprs), ty, 1),
            })
        }
        _ => panic!("what is {spec}"),
    }
}

fn shown(ty: Ty) -> String {
    if ty.typmod == -1 { ty.oid.to_string() } else { format!("{}/{}", ty.oid, ty.typmod) }
}

fn shape(expr: &Expr) -> String {
    let all = |exprs: &[Expr]| exprs.iter().map(shape).collect::<Vec<_>>().join(",");
    match &expr.kind {
        Kind::Constant(value) => format!("{}{}", if value.is_null() { "n" } else { "k" }, shown(expr.ty)),
        Kind::Unknown(_) => "k705".into(),
        Kind::Column(_) => format!("c{}", shown(expr.ty)),
        Kind::Parameter(_) => format!("p{}", shown(expr.ty)),
        Kind::Call(call) => {
            // PostgreSQL's tree has no defaults before it is planned
            let written = |e: &&Expr| call.proc.defaults.is_empty() || e.at != 0;
            let arguments: Vec<String> = call.arguments.iter().filter(written).map(shape).collect();
            format!("f{}:{}({})", call.proc.oid, expr.ty.oid, arguments.join(","))
        }
        Kind::Relabel(of) if of.ty == expr.ty => shape(of),
        Kind::Relabel(of) => format!("r{}({})", shown(expr.ty), shape(of)),
        Kind::ByText { of, .. } if matches!(of.kind, Kind::Constant(_)) => format!("k{}", shown(expr.ty)),
        Kind::ByText { of, .. } => format!("t{}({})", expr.ty.oid, shape(of)),
        Kind::EachElement { of, each, .. } => format!("e{}({},{})", shown(expr.ty), shape(of), shape(each)),
        Kind::Array(of) => format!("a{}({})", expr.ty.oid, all(of)),
        Kind::Coalesce(of) => format!("coalesce{}({})", expr.ty.oid, all(of)),
        Kind::AnyOf { operator, left, array, all } => {
            let word = if *all { "all" } else { "any" };
            format!("s{}{word}({},{})", operator.oid, shape(left), shape(array))
        }
        other => panic!("{other:?}"),
    }
}

fn error(error: &Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(" ({detail})"));
    format!("{} {}{detail}", error.kind().sqlstate(), error.message())
}

fn answer(spec: &str) -> String {
    let (env, parameters) = (Env::plain(), Parameters::default());
    let cx = Context { env: &env, parameters: &parameters };
    match resolve(cx, spec) {
        Ok(expr) => shape(&expr).replacen("coalesce", if spec.starts_with("case") { "case" } else { "coalesce" }, 1),
        Err(e) => error(&e),
    }
}

/// Prints what differs, so that one run shows all of it.
fn differing(rows: &str) -> Vec<String> {
    let differs = |row: &str| {
        let (spec, expected) = row.rsplit_once("\t=\t")?;
        let found = answer(spec);
        (found != expected).then(|| format!("{}\n  expected {expected}\n  found    {found}", spec.replace('\t', " ")))
    };
    rows.lines().filter_map(differs).collect()
}

#[test]
fn scratch() {
    let Ok(path) = std::env::var("RESOLVE_TRUTH") else { return };
    let differing = differing(&std::fs::read_to_string(path).unwrap());
    println!("{}\n{} differ", differing.join("\n"), differing.len());
}
