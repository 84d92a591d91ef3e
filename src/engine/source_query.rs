//! Texts that a statement has sources run (`postgres_query`): each is described before the statement is planned over its
//! columns. Planning meets one, says so and ends there; the source is asked where waiting costs no place in the planner, and
//! planning begins again. It runs none, and describes none for whoever may not query its source.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::policy::guard::may_not_query;
use crate::sources::Pinned;

use super::facts::Facts;

/// In one statement; each is a question to its source before anything is planned.
const TEXTS_MAX: usize = 16;

/// A source's name, and what it is to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text {
    pub(crate) source: String,
    pub(crate) sql: String,
}

/// What their sources said of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described(BTreeMap<Text, Pinned>);

impl Described {
    pub(crate) fn find(&self, text: &Text) -> Option<&Pinned> {
        self.0.get(text)
    }

    /// With one more. The resolver has asked the same right, for the same policy: who gets here without it is a fault of ours.
    pub(crate) async fn with(mut self, text: Text, facts: &Facts) -> Result<Self> {
        if !facts.policy.may_query(&text.source) {
            return Err(may_not_query(&text.source));
        }
        if self.0.len() >= TEXTS_MAX {
            return Err(Error::new(
                Kind::TooComplex,
                format!("more than {TEXTS_MAX} texts for sources in one statement"),
            ));
        }
        let source = facts.world.catalog.queried().find(|source| source.name() == text.source);
        let source = source.ok_or_else(|| {
            Error::new(Kind::UndefinedObject, format!("there is no PostgreSQL source \"{}\"", text.source))
        })?;
        let pinned = source.query(&text.sql).await?;
        self.0.insert(text, pinned);
        Ok(self)
    }
}
