//! SET and RESET, and the statements that PostgreSQL spells as SET (TRANSACTION, SESSION CHARACTERISTICS, CONSTRAINTS, ROLE,
//! SESSION AUTHORIZATION). Which settings there are, and what they take, is `settings`' business.

use super::transaction::set_modes;
use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::Session;
use crate::engine::settings;
use crate::error::{Error, Kind};
use crate::sql::parse::command::{Isolation, Mode, Setting, To, Value};

#[derive(Debug)]
struct Set {
    name: String,
    to: To,
    local: bool,
}

#[derive(Debug)]
struct Reset(String);

#[derive(Debug)]
struct ResetAll;

/// Modes of the transaction.
#[derive(Debug)]
struct SetTransaction(Vec<Mode>);

#[derive(Debug)]
struct SetSnapshot(String);

/// Modes of the transactions to come.
#[derive(Debug)]
struct SetCharacteristics(Vec<Mode>);

/// There are none that could be deferred.
#[derive(Debug)]
struct SetConstraints(Option<Vec<String>>);

pub(super) fn admit(command: Setting) -> Admitted {
    let identity = |name: &str, value: Option<String>, local| {
        let to = value.map_or(To::Default, |value| To::Values(vec![Value::Text(value)]));
        Admitted::new(Set { name: name.into(), to, local })
    };
    match command {
        Setting::Set { name, to, local } => Admitted::new(Set { name, to, local }),
        Setting::Transaction { modes } => Admitted::new(SetTransaction(modes)),
        Setting::TransactionSnapshot(id) => Admitted::new(SetSnapshot(id)),
        Setting::Characteristics { modes } => Admitted::new(SetCharacteristics(modes)),
        Setting::Constraints(names) => Admitted::new(SetConstraints(names)),
        Setting::Role { name, local } => identity("role", Some(name.unwrap_or_else(|| "none".into())), local),
        Setting::SessionAuthorization { name, local } => identity("session_authorization", name, local),
        Setting::Reset(name) => Admitted::new(Reset(name)),
        Setting::ResetAll => Admitted::new(ResetAll),
        Setting::Show(name) => super::show::admit(name),
        Setting::ShowAll => super::show::admit_all(),
    }
}

impl Statement for Set {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if self.local {
                session.warn_outside("SET LOCAL");
            }
            let value = match &self.to {
                To::Default => None,
                To::Current => return Outcome::done("SET"),
                To::Values(values) => {
                    let values: Vec<String> = values.iter().map(text).collect();
                    Some(settings::joined(&self.name, &values)?)
                }
            };
            session.settings.lock().set(&self.name, value.as_deref(), self.local)?;
            Outcome::done("SET")
        })
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Interval(text) => format!("INTERVAL '{text}'"),
    }
}

impl Statement for Reset {
    fn kind(&self) -> &'static str {
        "reset"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if self.0 == "transaction_isolation" {
                session.warn_outside("RESET TRANSACTION");
            }
            session.settings.lock().set(&self.0, None, false)?;
            Outcome::done("RESET")
        })
    }
}

impl Statement for ResetAll {
    fn kind(&self) -> &'static str {
        "reset"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.settings.lock().reset_all();
            Outcome::done("RESET")
        })
    }
}

impl Statement for SetTransaction {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.warn_outside("SET TRANSACTION");
            set_modes(session, &self.0, "")?;
            Outcome::done("SET")
        })
    }
}

impl Statement for SetSnapshot {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn sees_data(&self) -> bool {
        false
    }

    /// Nobody exports one here.
    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.warn_outside("SET TRANSACTION");
            let isolation = session.settings.lock().kept_word("transaction_isolation");
            let repeats = [Isolation::RepeatableRead, Isolation::Serializable].iter().any(|i| i.word() == isolation);
            if !repeats {
                let text = "a snapshot-importing transaction must have isolation level SERIALIZABLE or REPEATABLE READ";
                return Err(Error::new(Kind::Unsupported, text));
            }
            Err(Error::new(Kind::InvalidParameter, format!("invalid snapshot identifier: \"{}\"", self.0)))
        })
    }
}

impl Statement for SetCharacteristics {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            set_modes(session, &self.0, "default_")?;
            Outcome::done("SET")
        })
    }
}

impl Statement for SetConstraints {
    fn kind(&self) -> &'static str {
        "set"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.warn_outside("SET CONSTRAINTS");
            match self.0.as_ref().and_then(|names| names.first()) {
                None => Outcome::done("SET CONSTRAINTS"),
                Some(name) => Err(Error::new(Kind::UndefinedObject, format!("constraint \"{name}\" does not exist"))),
            }
        })
    }
}
