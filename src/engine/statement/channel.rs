//! LISTEN, UNLISTEN and NOTIFY. When what they say comes into force, and who hears it, is `peers`'.

use datafusion::sql::sqlparser::ast::Ident;

use super::{Admitted, Execution, Outcome, Statement, Work, ident};
use crate::catalog::peers::Peers;
use crate::engine::session::Session;
use crate::error::Result;

/// What an identifier keeps of its name (NAMEDATALEN - 1).
const NAME_BYTES: usize = 63;

#[derive(Debug)]
enum Channel {
    Listen(String),
    /// `None`: all.
    Unlisten(Option<String>),
    Notify(String, String),
}

pub(super) fn listen(channel: &Ident) -> Result<Admitted> {
    Ok(Admitted::new(Channel::Listen(name(channel))))
}

pub(super) fn unlisten(channel: &Ident) -> Result<Admitted> {
    let is_all = channel.quote_style.is_none() && channel.value == "*";
    Ok(Admitted::new(Channel::Unlisten((!is_all).then(|| name(channel)))))
}

pub(super) fn notify(channel: &Ident, payload: Option<String>) -> Result<Admitted> {
    Ok(Admitted::new(Channel::Notify(name(channel), payload.unwrap_or_default())))
}

fn name(channel: &Ident) -> String {
    let mut name = ident(channel);
    name.truncate(name.floor_char_boundary(NAME_BYTES));
    name
}

impl Statement for Channel {
    fn kind(&self) -> &'static str {
        match self {
            Self::Listen(_) => "listen",
            Self::Unlisten(_) => "unlisten",
            Self::Notify(..) => "notify",
        }
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match self {
                Self::Listen(channel) => session.own.listen(channel.clone())?,
                Self::Unlisten(channel) => session.own.unlisten(channel.clone())?,
                Self::Notify(channel, payload) => session.own.notify(channel, payload)?,
            }
            Outcome::done(self.kind().to_uppercase())
        })
    }
}
