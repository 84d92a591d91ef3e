//! What is written between a CALL's parentheses → the values of a procedure's parameters (ParseFuncOrColumn and
//! func_get_detail of parse_func.c). They are expressions of a query of their own, and read no table.

use std::ops::ControlFlow;

use arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Parens, Query, SetExpr, Value, Values,
    visit_expressions,
};

use super::super::{hidden, ident};
use super::procedure::{Parameter, Procedure, SCHEMA};
use crate::engine::deep::{Deep, on_big_stack};
use crate::engine::pipeline::{Planned, Told};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::parse;

/// A call as it is written.
#[derive(Debug)]
pub(super) struct Given {
    schema: Option<String>,
    name: String,
    /// With their names, where they have one.
    arguments: Vec<(Option<String>, Expr)>,
}

impl Given {
    pub(super) fn of(function: Function) -> Result<Self> {
        let (schema, name) = path(&function.name)?;
        let shown = schema.as_ref().map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"));
        let list = match function.args {
            FunctionArguments::List(list) => list,
            FunctionArguments::None => return Err(Error::new(Kind::Syntax, "syntax error at end of input")),
            FunctionArguments::Subquery(_) => return Err(no_subquery()),
        };
        if list.duplicate_treatment.is_some() {
            let text = format!("DISTINCT specified, but {shown} is not an aggregate function");
            return Err(Error::new(Kind::WrongObjectType, text));
        }
        if !list.clauses.is_empty() || function.filter.is_some() || function.over.is_some() {
            return Err(Error::unsupported("this form of CALL"));
        }
        let mut arguments: Vec<(Option<String>, Expr)> = vec![];
        for argument in list.args {
            let (name, value) = match argument {
                FunctionArg::Unnamed(value) => (None, value),
                FunctionArg::Named { name, arg, .. } => (Some(ident(&name)), arg),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(ident(&name)), arg),
                FunctionArg::ExprNamed { .. } => return Err(Error::unsupported("this form of CALL")),
            };
            let value = match value {
                FunctionArgExpr::Expr(value) => value,
                // `f(*)` is `f()` here.
                FunctionArgExpr::Wildcard => continue,
                _ => return Err(Error::unsupported("this form of CALL")),
            };
            match &name {
                None if arguments.iter().any(|(name, _)| name.is_some()) => {
                    return Err(Error::new(Kind::Syntax, "positional argument cannot follow named argument"));
                }
                Some(name) if arguments.iter().any(|(other, _)| other.as_ref() == Some(name)) => {
                    return Err(Error::new(Kind::Syntax, format!("argument name \"{name}\" used more than once")));
                }
                _ => arguments.push((name, value)),
            }
        }
        let is_query = |expr: &Expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        if arguments.iter().any(|(_, value)| visit_expressions(value, is_query).is_break()) {
            return Err(no_subquery());
        }
        Ok(Self { schema, name, arguments })
    }

    pub(super) fn procedure(&self) -> Option<Procedure> {
        let ours = self.schema.as_deref() == Some(SCHEMA);
        if ours { Procedure::named(&self.name) } else { None }
    }

    /// The parameter of each argument; `None` where they do not fit.
    pub(super) fn assigned(&self, procedure: Procedure) -> Option<Vec<Parameter>> {
        let parameters = procedure.parameters();
        let mut assigned = vec![];
        for (at, (name, _)) in self.arguments.iter().enumerate() {
            let parameter = match name {
                None => parameters.get(at),
                Some(name) => parameters.iter().find(|parameter| parameter.name() == name),
            };
            assigned.push(*parameter.filter(|parameter| !assigned.contains(*parameter))?);
        }
        procedure.subject().is_none_or(|subject| assigned.contains(&subject)).then_some(assigned)
    }

    /// The arguments as a row of the parameters' types; 42883 where no procedure takes them.
    pub(super) async fn plan(&self, session: &mut Session, told: Told) -> Result<(Procedure, Planned)> {
        let facts = session.facts()?;
        if let Some(schema) = self.schema.as_ref().filter(|schema| *schema != SCHEMA)
            && facts.view.schema_oid(schema).is_none()
        {
            return Err(super::target::undefined_schema(schema));
        }
        let mut values: Vec<Expr> = self.arguments.iter().map(|(_, value)| value.clone()).collect();
        if values.is_empty() {
            // a row has a column
            values.push(Expr::value(Value::Boolean(true)));
        }
        let query = on_big_stack(|| Deep::new(row(values)));
        hidden::refuse(&query)?;
        let mut types = vec![];
        if !self.arguments.is_empty() {
            let declared = told.declared.clone();
            let planned = session.plan(&query, Told { text: told.text.clone(), declared, into: vec![] }).await?;
            for ((_, value), field) in self.arguments.iter().zip(planned.columns.fields()) {
                let ty = postgres::pg_type(field)?;
                types.push(if is_unknown(value, &told.declared) { Ty::UNKNOWN } else { Ty::of(ty.oid) });
            }
        }
        let fits = |(parameter, ty): (&Parameter, &Ty)| ty.is_unknown() || parameter.takes(ty.oid);
        let found = self.procedure().and_then(|procedure| Some((procedure, self.assigned(procedure)?)));
        let Some((procedure, assigned)) = found.filter(|(_, assigned)| assigned.iter().zip(&types).all(fits)) else {
            return Err(self.undefined(&types));
        };
        let into = assigned.iter().map(|p| pgtype::field(p.name(), p.ty(), p.data_type()).into()).collect();
        Ok((procedure, session.plan(&query, Told { into, ..told }).await?))
    }

    fn undefined(&self, types: &[Ty]) -> Error {
        let argument = |((name, _), ty): (&(Option<String>, Expr), &Ty)| match name {
            Some(name) => format!("{name} => {}", ty.name()),
            None => ty.name(),
        };
        let arguments: Vec<String> = self.arguments.iter().zip(types).map(argument).collect();
        let schema = self.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        let text = format!("procedure {schema}{}({}) does not exist", self.name, arguments.join(", "));
        Error::new(Kind::UndefinedFunction, text).with_hint(
            "No procedure matches the given name and argument types. You might need to add explicit type casts.",
        )
    }
}

/// A literal in quotes, NULL, or a parameter whose type nobody said: of whatever type is wanted.
fn is_unknown(value: &Expr, declared: &[Option<FieldRef>]) -> bool {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::DollarQuotedString(_)
            | Value::Null => true,
            Value::Placeholder(parameter) => {
                let number = parameter.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
                let said = number.and_then(|n| declared.get(n.checked_sub(1)?));
                said.is_none_or(Option::is_none)
            }
            _ => false,
        },
        Expr::Nested(inner) => is_unknown(inner, declared),
        _ => false,
    }
}

fn path(name: &ObjectName) -> Result<(Option<String>, String)> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(ident)).collect();
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        [_, schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(Error::new(Kind::Syntax, format!("improper qualified name (too many dotted names): {name}"))),
    }
}

fn no_subquery() -> Error {
    Error::new(Kind::Unsupported, "cannot use subquery in CALL argument")
}

/// `VALUES (…)`.
fn row(values: Vec<Expr>) -> Query {
    let rows = vec![Parens::with_empty_span(values)];
    parse::bare(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows }))
}
