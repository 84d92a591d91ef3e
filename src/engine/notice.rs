//! What a statement says to its client besides its answer: a NOTICE, a WARNING, an INFO. The session keeps them in their
//! order until its front end sends them.

use std::borrow::Cow;

/// How many a client is told between two answers; a script without end would fill the memory.
const KEPT_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Notice,
    Warning,
    /// Asked for: told whatever `client_min_messages` is.
    Info,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
        }
    }
}

/// Words as PostgreSQL's, like an error's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    pub sqlstate: &'static str,
    pub message: Cow<'static, str>,
    pub detail: Option<Cow<'static, str>>,
    pub hint: Option<Cow<'static, str>>,
}

impl Notice {
    fn new(severity: Severity, sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub(crate) fn warning(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Warning, sqlstate, message)
    }

    #[expect(clippy::self_named_constructors, reason = "it is a severity's name beside `warning`")]
    pub(crate) fn notice(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Notice, sqlstate, message)
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `… does not exist, skipping`
    pub(crate) fn skipping(what: &str, name: &str) -> Self {
        Self::notice("00000", format!("{what} \"{name}\" does not exist, skipping"))
    }

    /// Whether `client_min_messages` lets it through.
    fn passes(&self, least: &str) -> bool {
        match self.severity {
            Severity::Info => true,
            Severity::Warning => least != "error",
            Severity::Notice => !matches!(least, "error" | "warning"),
        }
    }
}

/// What was said and not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Notices(Vec<Notice>);

impl Notices {
    /// `least`: the value of `client_min_messages`.
    pub(crate) fn say(&mut self, notice: Notice, least: &str) {
        if notice.passes(least) && self.0.len() < KEPT_MAX {
            self.0.push(notice);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_min_messages_keeps_the_lesser_ones_back() {
        let said = |least: &str| {
            let mut notices = Notices::default();
            notices.say(Notice::notice("00000", "a"), least);
            notices.say(Notice::warning("01000", "b"), least);
            notices.say(Notice::new(Severity::Info, "00000", "c"), least);
            notices.take().into_iter().map(|notice| notice.message.into_owned()).collect::<String>()
        };
        assert_eq!(["debug1", "log", "notice", "warning", "error"].map(said), ["abc", "abc", "abc", "bc", "c"]);
    }
}
