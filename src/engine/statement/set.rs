//! SET, RESET, and the statements that PostgreSQL spells as SET (TIME ZONE, NAMES, TRANSACTION, ROLE). Which settings there
//! are, and what they take, is `settings`' business.

use datafusion::sql::sqlparser::ast::{self, ContextModifier, Expr, Reset, ResetStatement, Value};

use super::name::dotted;
use super::transaction::access;
use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};

#[derive(Debug)]
struct Set {
    name: String,
    /// `None`: what it was when the session began.
    value: Option<String>,
    local: bool,
}

#[derive(Debug)]
struct ResetAll;

/// Isolation and access mode of the current transaction; isolation is always the same.
#[derive(Debug)]
struct SetTransaction {
    read_only: Option<bool>,
}

impl Statement for Set {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let settings = &mut session.settings;
            // outside of a transaction PostgreSQL warns and does nothing
            if self.local && !session.transaction.hide(&self.name, settings.get(&self.name)?) {
                return Outcome::done("SET");
            }
            match &self.value {
                Some(value) => settings.set(&self.name, value)?,
                None => settings.reset(&self.name)?,
            }
            Outcome::done("SET")
        })
    }
}

impl Statement for ResetAll {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.settings.reset_all();
            Outcome::done("RESET")
        })
    }
}

impl Statement for SetTransaction {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if let Some(read_only) = self.read_only {
                session.transaction.restrict(&mut session.settings, read_only)?;
            }
            Outcome::done("SET")
        })
    }
}

pub(super) fn admit_reset(reset: ResetStatement) -> Result<Admitted> {
    Ok(match reset.reset {
        Reset::ALL => Admitted::new(ResetAll),
        Reset::ConfigurationParameter(name) => set_to(dotted(&name), None, false),
    })
}

fn set_to(name: impl Into<String>, value: Option<String>, local: bool) -> Admitted {
    Admitted::new(Set { name: name.into(), value, local })
}

pub(super) fn admit(set: ast::Set) -> Result<Admitted> {
    match set {
        ast::Set::SingleAssignment { scope, variable, values, .. } => {
            let local = match scope {
                Some(ContextModifier::Local) => true,
                None | Some(ContextModifier::Session) => false,
                Some(ContextModifier::Global) => return Err(Error::unsupported("SET GLOBAL")),
            };
            let values = values.iter().map(setting_value).collect::<Result<Vec<_>>>()?;
            let value = match values.as_slice() {
                [one] if one.eq_ignore_ascii_case("default") => None,
                all => Some(all.join(", ")),
            };
            Ok(set_to(dotted(&variable), value, local))
        }
        ast::Set::SetTimeZone { local, value } => {
            let value = setting_value(&value)?;
            let default = value.eq_ignore_ascii_case("default") || value.eq_ignore_ascii_case("local");
            Ok(set_to("timezone", (!default).then_some(value), local))
        }
        ast::Set::SetNames { charset_name, .. } => Ok(set_to("client_encoding", Some(charset_name.value), false)),
        ast::Set::SetNamesDefault {} => Ok(set_to("client_encoding", None, false)),
        ast::Set::SetTransaction { modes, snapshot, session } => {
            if snapshot.is_some() {
                return Err(Error::unsupported("SET TRANSACTION SNAPSHOT"));
            }
            match (session, access(&modes)) {
                (true, Some(read_only)) => {
                    let value = if read_only { "on" } else { "off" };
                    Ok(set_to("default_transaction_read_only", Some(value.into()), false))
                }
                (_, read_only) => Ok(Admitted::new(SetTransaction { read_only })),
            }
        }
        ast::Set::SetRole { role_name, .. } => match role_name {
            // SET ROLE NONE goes back to the login, which is where we always are
            None => Ok(Admitted::new(SetTransaction { read_only: None })),
            Some(_) => Err(Error::new(Kind::PermissionDenied, "permission denied to set role")),
        },
        ast::Set::SetSessionAuthorization(_) => {
            Err(Error::new(Kind::PermissionDenied, "permission denied to set session authorization"))
        }
        ast::Set::ParenthesizedAssignments { .. }
        | ast::Set::MultipleAssignments { .. }
        | ast::Set::SetSessionParam(_) => Err(Error::unsupported("this form of SET")),
    }
}

/// `SET x TO value`: a word, a literal, a signed number.
fn setting_value(value: &Expr) -> Result<String> {
    match value {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::DollarQuotedString(ast::DollarQuotedString { value: s, .. }) => Ok(s.clone()),
            Value::Number(n, _) => Ok(n.to_string()),
            Value::Boolean(b) => Ok(if *b { "on" } else { "off" }.into()),
            _ => Err(Error::new(Kind::InvalidParameter, "a setting takes a word, a number or a text")),
        },
        Expr::Identifier(word) if word.quote_style.is_some() => Ok(format!("\"{}\"", word.value.replace('"', "\"\""))),
        Expr::Identifier(word) => Ok(word.value.clone()),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => Ok(format!("-{}", setting_value(expr)?)),
        _ => Err(Error::new(Kind::InvalidParameter, "a setting takes a word, a number or a text")),
    }
}
