//! Functions, operators and types by name (regproc.c): what the `reg…` types of them read and show, and `to_reg…`. Names of
//! relations, schemas and roles are the engine's, which has a catalog.

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, input};
use crate::pgtype::{self, oid};
use crate::sql::functions::text::quote::identifier;
use crate::sql::image::{self, Operator, Proc, Schema};
use crate::sql::kernel::{Call, Env, Kernel};
use arrow::array::ArrayRef;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("regprocin", |c| read(c, function)),
    ("regprocedurein", |c| read(c, procedure)),
    ("regoperin", |c| read(c, operator)),
    ("regoperatorin", |c| read(c, operator_of_types)),
    ("regtypein", |c| read(c, type_named)),
    ("to_regproc", |c| sought(c, function)),
    ("to_regprocedure", |c| sought(c, procedure)),
    ("to_regoper", |c| sought(c, operator)),
    ("to_regoperator", |c| sought(c, operator_of_types)),
    ("to_regtype", |c| sought(c, type_named)),
    ("regconfigin", |c| read(c, |text, _| in_relation(text, "pg_ts_config", "text search configuration"))),
    ("regdictionaryin", |c| read(c, |text, _| in_relation(text, "pg_ts_dict", "text search dictionary"))),
    ("regcollationin", |c| read(c, |text, _| in_relation(text, "pg_collation", "collation"))),
    ("to_regcollation", |c| sought(c, |text, _| in_relation(text, "pg_collation", "collation"))),
    ("regconfigout", |c| c.one(|of: u32| Ok(shown(oid::REGCONFIG, of)))),
    ("regdictionaryout", |c| c.one(|of: u32| Ok(shown(oid::REGDICTIONARY, of)))),
    ("regcollationout", |c| c.one(|of: u32| Ok(shown(oid::REGCOLLATION, of)))),
    ("regprocout", |c| c.one(|of: u32| Ok(shown(oid::REGPROC, of)))),
    ("regprocedureout", |c| c.one(|of: u32| Ok(shown(oid::REGPROCEDURE, of)))),
    ("regoperout", |c| c.one(|of: u32| Ok(shown(oid::REGOPER, of)))),
    ("regoperatorout", |c| c.one(|of: u32| Ok(shown(oid::REGOPERATOR, of)))),
    ("regtypeout", |c| c.one(|of: u32| Ok(shown(oid::REGTYPE, of)))),
];

/// What a text names, or why it names nothing.
enum Named {
    One(u32),
    /// No such thing, or several: what the input function says, and `to_reg…` takes for NULL.
    Not(Error),
}

/// An input function: a name, or an oid in digits.
fn read(call: &Call<'_>, find: fn(&str, &Env) -> Result<Named>) -> Result<ArrayRef> {
    let operators = matches!(call.result_type.oid, oid::REGOPER | oid::REGOPERATOR);
    call.one(|text: &str| {
        if text == "-" && !operators {
            return Ok(0);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return input::oid(text, "oid");
        }
        match find(text, call.env)? {
            Named::One(oid) => Ok(oid),
            Named::Not(error) => Err(error),
        }
    })
}

fn sought(call: &Call<'_>, find: fn(&str, &Env) -> Result<Named>) -> Result<ArrayRef> {
    call.one(|text: &str| {
        Ok(match find(text, call.env)? {
            Named::One(oid) => Some(oid),
            Named::Not(_) => None,
        })
    })
}

fn function(text: &str, env: &Env) -> Result<Named> {
    let named = procs(&path(text)?, env);
    Ok(match named.as_slice() {
        [one] => Named::One(one.oid),
        [] => Named::Not(Error::new(Kind::UndefinedFunction, format!("function \"{text}\" does not exist"))),
        _ => Named::Not(Error::new(Kind::AmbiguousFunction, format!("more than one function named \"{text}\""))),
    })
}

fn procedure(text: &str, env: &Env) -> Result<Named> {
    let (name, types) = signature(text, false)?;
    let missing = || Error::new(Kind::UndefinedFunction, format!("function \"{text}\" does not exist"));
    let named = procs(&name, env).into_iter().find(|proc| proc.arguments == types);
    Ok(named.map_or_else(|| Named::Not(missing()), |proc| Named::One(proc.oid)))
}

fn operator(text: &str, env: &Env) -> Result<Named> {
    let named = operators(&path(text)?, env);
    Ok(match named.as_slice() {
        [one] => Named::One(one.oid),
        [] => Named::Not(no_operator(text)),
        _ => Named::Not(Error::new(Kind::AmbiguousFunction, format!("more than one operator named {text}"))),
    })
}

fn operator_of_types(text: &str, env: &Env) -> Result<Named> {
    let (name, types) = signature(text, true)?;
    let [left, right] = types.as_slice() else {
        return Err(match types.len() {
            1 => Error::new(Kind::UndefinedParameter, "missing argument")
                .with_hint("Use NONE to denote the missing argument of a unary operator."),
            _ => Error::new(Kind::TooManyArguments, "too many arguments")
                .with_hint("Provide two argument types for operator."),
        });
    };
    let named = operators(&name, env).into_iter().find(|o| o.left == *left && o.right == *right);
    Ok(named.map_or_else(|| Named::Not(no_operator(text)), |operator| Named::One(operator.oid)))
}

fn no_operator(text: &str) -> Error {
    Error::new(Kind::UndefinedFunction, format!("operator does not exist: {text}"))
}

/// What a type's name may consist of, modifiers and quotes included.
fn is_of_type_name(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "_$.()[],\"".contains(c) || !c.is_ascii()
}

fn type_named(text: &str, _: &Env) -> Result<Named> {
    let bare = text.split_once('(').map_or(text, |(name, _)| name);
    if let Some(wrong) = bare.chars().find(|c| !is_of_type_name(*c) || *c == ',') {
        return Err(Error::new(Kind::Syntax, format!("syntax error at or near \"{wrong}\"")));
    }
    if text.trim().is_empty() {
        return Err(Error::new(Kind::Syntax, "invalid type name \"\""));
    }
    let missing = || Error::new(Kind::UndefinedObject, format!("type \"{}\" does not exist", text.trim()));
    let found = postgres::by_name(text);
    // one word is a name that nothing has; a second one is in no grammar
    if let (None, Some(second)) = (found, bare.split_whitespace().nth(1).filter(|_| !bare.contains('"'))) {
        return Err(Error::new(Kind::Syntax, format!("syntax error at or near \"{second}\"")));
    }
    Ok(found.map_or_else(|| Named::Not(missing()), |(oid, _)| Named::One(oid)))
}

fn invalid_name() -> Error {
    Error::new(Kind::InvalidName, "invalid name syntax")
}

/// The parts of a qualified name (`stringToQualifiedNameList`): folded to lower case outside of quotes.
fn path(text: &str) -> Result<Vec<String>> {
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
    let (mut parts, mut rest) = (vec![], text.trim_start_matches(space));
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(invalid_name)?,
            None => {
                let end = rest.find(|c| c == '.' || space(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.is_empty() {
                    return Err(invalid_name());
                }
                (word.to_ascii_lowercase(), after)
            }
        };
        parts.push(part);
        let after = after.trim_start_matches(space);
        if parts.len() > 3 {
            let text = format!("improper qualified name (too many dotted names): {}", parts.join("."));
            return Err(Error::new(Kind::Syntax, text));
        }
        match after.strip_prefix('.') {
            Some(more) => rest = more.trim_start_matches(space),
            None if after.is_empty() => return Ok(parts),
            None => return Err(invalid_name()),
        }
    }
}

/// What stands up to the closing quote, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() => return None,
            None => return Some((name, after)),
        }
    }
}

/// A name and its schema; a database before them is none of ours.
fn parts(path: &[String]) -> Option<(Option<&str>, &str)> {
    match path {
        [name] => Some((None, name)),
        [schema, name] => Some((Some(schema), name)),
        _ => None,
    }
}

fn procs(path: &[String], env: &Env) -> Vec<&'static Proc> {
    let Some((schema, name)) = parts(path) else { return vec![] };
    Schema::searched(schema, env.public_on_path).flat_map(|schema| image::procs_in(schema, name)).copied().collect()
}

fn operators(path: &[String], env: &Env) -> Vec<&'static Operator> {
    let Some((schema, name)) = parts(path) else { return vec![] };
    let schemas: Vec<Schema> = Schema::searched(schema, env.public_on_path).collect();
    image::operators(name).iter().filter(|operator| schemas.contains(&operator.proc.schema)).collect()
}

/// `parseNameAndArgTypes`: the name before the parenthesis, and the types within; `NONE` is type 0 where it is allowed.
fn signature(text: &str, allow_none: bool) -> Result<(Vec<String>, Vec<u32>)> {
    let invalid = |what: &str| Error::new(Kind::InvalidText, what);
    let mut quoted = false;
    let open = text.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    });
    let open = open.ok_or_else(|| invalid("expected a left parenthesis"))?;
    let inside =
        text[open + 1..].trim_end().strip_suffix(')').ok_or_else(|| invalid("expected a right parenthesis"))?;
    let name = path(&text[..open])?;
    let mut types = vec![];
    if inside.trim().is_empty() {
        return Ok((name, types));
    }
    for written in commas(inside) {
        let written = written.trim();
        if written.is_empty() {
            return Err(invalid("expected a type name"));
        }
        types.push(match allow_none && written.eq_ignore_ascii_case("none") {
            true => 0,
            false => match type_named(written, &Env::plain())? {
                Named::One(oid) => oid,
                Named::Not(error) => return Err(error),
            },
        });
    }
    Ok((name, types))
}

/// Between commas that stand in no parentheses, brackets or quotes.
fn commas(text: &str) -> Vec<&str> {
    let (mut quoted, mut depth) = (false, 0_i32);
    let parts = text.split(move |c: char| {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        c == ',' && !quoted && depth == 0
    });
    parts.collect()
}

/// How a value of a `reg…` type of these is shown; `None` for another type.
pub(crate) fn object_name(type_oid: u32, of: u32) -> Option<String> {
    match type_oid {
        oid::REGPROC
        | oid::REGPROCEDURE
        | oid::REGOPER
        | oid::REGOPERATOR
        | oid::REGTYPE
        | oid::REGCONFIG
        | oid::REGDICTIONARY
        | oid::REGCOLLATION => Some(shown(type_oid, of)),
        _ => None,
    }
}

/// Which oid a name of a `reg…` type of these is; `None` for another type.
pub(crate) fn object_oid(type_oid: u32, name: &str) -> Option<Result<u32>> {
    let env = Env::plain();
    let named = match type_oid {
        oid::REGPROC => function(name, &env),
        oid::REGPROCEDURE => procedure(name, &env),
        oid::REGOPER => operator(name, &env),
        oid::REGOPERATOR => operator_of_types(name, &env),
        oid::REGCONFIG => in_relation(name, "pg_ts_config", "text search configuration"),
        oid::REGDICTIONARY => in_relation(name, "pg_ts_dict", "text search dictionary"),
        oid::REGCOLLATION => in_relation(name, "pg_collation", "collation"),
        oid::REGTYPE => type_named(name, &env),
        _ => return None,
    };
    Some(named.and_then(|named| match named {
        Named::One(oid) => Ok(oid),
        Named::Not(error) => Err(error),
    }))
}

fn shown(type_oid: u32, of: u32) -> String {
    let named = match type_oid {
        oid::REGPROC => image::proc(of).map(function_name),
        oid::REGPROCEDURE => image::proc(of).map(function_signature),
        oid::REGOPER => image::operator(of).map(operator_name),
        oid::REGOPERATOR => image::operator(of).map(operator_signature),
        oid::REGCONFIG => name_in("pg_ts_config", of),
        oid::REGDICTIONARY => name_in("pg_ts_dict", of),
        oid::REGCOLLATION => name_in("pg_collation", of),
        _ => pgtype::functions(of).map(|_| pgtype::name(of)),
    };
    named.unwrap_or_else(|| match (of, type_oid) {
        (0, oid::REGOPER | oid::REGOPERATOR) => "0".to_owned(),
        (0, _) => "-".to_owned(),
        _ => of.to_string(),
    })
}

fn name_in(relation: &str, of: u32) -> Option<String> {
    image::named(relation).find(|(oid, _)| *oid == of).map(|(_, name)| identifier(name).into_owned())
}

/// By a name of pg_catalog's, with that schema or without one.
fn in_relation(text: &str, relation: &str, what: &str) -> Result<Named> {
    let name = path(text)?;
    let found = match name.as_slice() {
        [name] => image::named(relation).find(|(_, own)| own == name),
        [schema, name] if schema == "pg_catalog" => image::named(relation).find(|(_, own)| own == name),
        _ => None,
    };
    let missing = || {
        let of_encoding = if relation == "pg_collation" { " for encoding \"UTF8\"" } else { "" };
        Error::new(Kind::UndefinedObject, format!("{what} \"{}\"{of_encoding} does not exist", name.join(".")))
    };
    Ok(found.map_or_else(|| Named::Not(missing()), |(oid, _)| Named::One(oid)))
}

fn schema_of(proc: &Proc) -> &'static str {
    match proc.schema {
        Schema::Catalog => "pg_catalog",
        Schema::Information => "information_schema",
        Schema::Public => "public",
    }
}

/// With its schema, unless there is one function of that name.
fn function_name(proc: &'static Proc) -> String {
    let bare = identifier(proc.name);
    let others = [Schema::Catalog, Schema::Public].into_iter().flat_map(|schema| image::procs_in(schema, proc.name));
    match others.map(|proc| proc.oid).collect::<Vec<_>>() == [proc.oid] {
        true => bare.into_owned(),
        false => format!("{}.{bare}", schema_of(proc)),
    }
}

fn function_signature(proc: &'static Proc) -> String {
    let name = identifier(proc.name);
    let schema = if proc.schema == Schema::Information { "information_schema." } else { "" };
    let types: Vec<String> = proc.arguments.iter().map(|ty| pgtype::name(*ty)).collect();
    format!("{schema}{name}({})", types.join(","))
}

fn operator_name(operator: &'static Operator) -> String {
    match image::operators(operator.name) {
        [_] => operator.name.to_owned(),
        _ => format!("{}.{}", schema_of(operator.proc), operator.name),
    }
}

fn operator_signature(operator: &'static Operator) -> String {
    let side = |ty: u32| if ty == 0 { "NONE".to_owned() } else { pgtype::name(ty) };
    format!("{}({},{})", operator.name, side(operator.left), side(operator.right))
}
