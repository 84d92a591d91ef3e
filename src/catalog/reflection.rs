//! A reflection's definition: who owns it, and the one statement that says what it is. It plans nothing; the engine does.

use super::file::check_name;
use crate::error::{Error, Kind, Result};
use crate::sql::parse::reflection::{Create, Reflection, Refresh};
use crate::sql::parse::{Content, Text};

/// Parentheses within each other: fewer than in a statement, for a definition lives long and on any thread's stack.
const DEPTH_MAX: usize = 32;

/// `catalog/reflections/<name>.sql`, first line `-- owner: NAME`; or what SQL made and the metastore keeps.
#[derive(Debug, Clone)]
pub struct Definition {
    pub name: String,
    pub owner: String,
    /// The text of the statement: a file's with the owner's line, as the comment it is.
    pub text: String,
    /// Path for messages to administrators; `None`: SQL made it.
    pub file: Option<String>,
    pub enabled: bool,
    /// As the statement says, or an ALTER since.
    pub(crate) refresh: Refresh,
    pub(crate) create: Create,
}

impl Definition {
    /// 42601 for a text that is no CREATE REFLECTION.
    pub fn read(owner: &str, text: &str, file: Option<String>) -> Result<Self> {
        let tokens = Text::of(text);
        let mut pieces = tokens.statements(DEPTH_MAX)?.into_iter();
        let other = || Error::new(Kind::Syntax, "a reflection is exactly one statement, CREATE REFLECTION");
        let (Some(piece), None) = (pieces.next(), pieces.next()) else { return Err(other()) };
        let create = match piece.content {
            Content::Reflection(Reflection::Create(create)) => *create,
            Content::Reflection(Reflection::Alter { .. } | Reflection::Drop { .. } | Reflection::Refresh(_))
            | Content::Query(_)
            | Content::Change(_)
            | Content::Copy(_)
            | Content::Upkeep(_)
            | Content::Alter(_)
            | Content::View(_)
            | Content::Call(_)
            | Content::Command(..)
            | Content::Other(_) => return Err(other()),
        };
        let name = match create.name.quote_style {
            Some(_) => create.name.value.clone(),
            None => create.name.value.to_lowercase(),
        };
        if let Err(expected) = check_name(&name) {
            return Err(Error::new(Kind::InvalidName, format!("\"{name}\" cannot name a reflection: {expected}")));
        }
        let (owner, text) = (owner.to_owned(), text.trim_end().to_owned());
        Ok(Self { name, owner, text, file, enabled: true, refresh: create.refresh, create })
    }

    /// Where faults of it are.
    pub fn place(&self) -> String {
        self.file.clone().unwrap_or_else(|| format!("reflection {}", self.name))
    }
}
