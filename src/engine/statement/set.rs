//! SET and RESET, and the statements that PostgreSQL spells as SET (TRANSACTION, SESSION CHARACTERISTICS, CONSTRAINTS, ROLE,
//! SESSION AUTHORIZATION). Which settings there are, and what they take, is `settings`' business.

use std::future::ready;

use super::transaction::set_modes;
use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::Session;
use crate::engine::settings;
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command::{Isolation, Setting, To, Value};

#[derive(Debug)]
struct Set(Setting);

pub(super) fn admit(command: Setting) -> Admitted {
    match command {
        Setting::Show(name) => super::show::admit(name),
        Setting::ShowAll => super::show::admit_all(),
        other => Admitted::new(Set(other)),
    }
}

impl Statement for Set {
    fn kind(&self) -> &'static str {
        match self.0 {
            Setting::Reset(_) | Setting::ResetAll => "reset",
            _ => "set",
        }
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(ready(carry_out(&self.0, session)))
    }
}

fn carry_out(command: &Setting, session: &mut Session) -> Result<Outcome> {
    match command {
        Setting::Set { name, to, local } => {
            if *local {
                session.warn_outside("SET LOCAL");
            }
            match to {
                To::Current => {}
                To::Default => put(session, name, None, *local)?,
                To::Values(values) => {
                    let values: Vec<String> = values.iter().map(text).collect();
                    put(session, name, Some(&settings::joined(name, &values)?), *local)?;
                }
            }
        }
        Setting::Role { name, local } => identity(session, "role", Some(name.as_deref().unwrap_or("none")), *local)?,
        Setting::SessionAuthorization { name, local } => {
            identity(session, "session_authorization", name.as_deref(), *local)?;
        }
        Setting::Transaction { modes } => {
            session.warn_outside("SET TRANSACTION");
            set_modes(session, modes, "")?;
        }
        Setting::TransactionSnapshot(id) => return Err(no_snapshot(session, id)),
        Setting::Characteristics { modes } => set_modes(session, modes, "default_")?,
        Setting::Constraints(names) => {
            session.warn_outside("SET CONSTRAINTS");
            // there are none that could be deferred
            return match names.as_ref().and_then(|names| names.first()) {
                None => Outcome::done("SET CONSTRAINTS"),
                Some(name) => Err(Error::new(Kind::UndefinedObject, format!("constraint \"{name}\" does not exist"))),
            };
        }
        Setting::Reset(name) => {
            if name == "transaction_isolation" {
                session.warn_outside("RESET TRANSACTION");
            }
            put(session, name, None, false)?;
            return Outcome::done("RESET");
        }
        Setting::ResetAll => {
            session.settings.lock().reset_all();
            return Outcome::done("RESET");
        }
        Setting::Show(_) | Setting::ShowAll => return Err(Error::internal("SHOW is a statement of its own")),
    }
    Outcome::done("SET")
}

fn put(session: &mut Session, name: &str, value: Option<&str>, local: bool) -> Result<()> {
    session.settings.lock().set(name, value, local)
}

fn identity(session: &mut Session, name: &str, value: Option<&str>, local: bool) -> Result<()> {
    if local {
        session.warn_outside("SET LOCAL");
    }
    let value = value.map(|value| settings::joined(name, &[value.to_string()])).transpose()?;
    put(session, name, value.as_deref(), local)
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Interval(text) => format!("INTERVAL '{text}'"),
    }
}

/// Nobody exports one here.
fn no_snapshot(session: &mut Session, id: &str) -> Error {
    session.warn_outside("SET TRANSACTION");
    let isolation = session.settings.lock().kept_word("transaction_isolation");
    let repeats = [Isolation::RepeatableRead, Isolation::Serializable].iter().any(|i| i.word() == isolation);
    if !repeats {
        let text = "a snapshot-importing transaction must have isolation level SERIALIZABLE or REPEATABLE READ";
        return Error::new(Kind::Unsupported, text);
    }
    Error::new(Kind::InvalidParameter, format!("invalid snapshot identifier: \"{id}\""))
}
