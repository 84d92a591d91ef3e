//! COMMENT ON: words kept with the table or the column that they are about, where other engines find them too.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::name::{Name, ident, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, target, view};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::lake::Alter;
use crate::sources::Alteration;
use crate::sql::parse::alter::Commented;

#[derive(Debug)]
struct Comment {
    table: Name,
    column: Option<String>,
    text: Option<String>,
    what: What,
}

/// What it must be; a column is one of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Table,
    View,
    MaterializedView,
    Column,
}

pub(super) fn admit(on: Commented, text: Option<String>) -> Result<Admitted> {
    // an empty text is none
    let text = text.filter(|text| !text.is_empty());
    match on {
        Commented::Table(name) => of(&name, text, What::Table),
        Commented::View(name) => of(&name, text, What::View),
        Commented::MaterializedView(name) => of(&name, text, What::MaterializedView),
        Commented::Column(mut name) => {
            let column = name.0.pop().filter(|_| !name.0.is_empty());
            let column = column.as_ref().and_then(|part| part.as_ident()).map(ident);
            let column = column.ok_or_else(|| Error::new(Kind::Syntax, "column name must be qualified"))?;
            Ok(Admitted::new(Comment { table: table_name(&name)?, column: Some(column), text, what: What::Column }))
        }
        Commented::Other(what) => Err(Error::unsupported(format!("COMMENT ON {}", what.to_uppercase()))),
    }
}

fn of(name: &ObjectName, text: Option<String>, what: What) -> Result<Admitted> {
    Ok(Admitted::new(Comment { table: table_name(name)?, column: None, text, what }))
}

impl Statement for Comment {
    fn kind(&self) -> &'static str {
        "comment"
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            if matches!(self.what, What::View | What::Column)
                && let Some(found) = view::find(&facts, &self.table)?
            {
                execution.record.target(found.name().to_string());
                view::comment(&found, self.column.as_deref(), self.text.clone()).await?;
                return Outcome::changed("COMMENT", &facts.world);
            }
            let (entry, writer) = target::owned(&facts, &self.table)?;
            let what = match (self.what, target::materialized(entry)) {
                (What::Column, _) | (What::Table, None) | (What::MaterializedView, Some(_)) => None,
                (What::Table, Some(_)) => Some("table"),
                (What::View, _) => Some("view"),
                (What::MaterializedView, None) => Some("materialized view"),
            };
            if let Some(what) = what {
                let text = format!("\"{}\" is not a {what}", self.table.table);
                return Err(Error::new(Kind::WrongObjectType, text));
            }
            execution.record.target(entry.object.name.to_string());
            let table = target::of_lake(entry)?;
            let change = match &self.column {
                Some(column) => Alteration::Column(Alter::Document { column: column.clone(), text: self.text.clone() }),
                None => Alteration::Comment(self.text.clone()),
            };
            writer.alter_table(&facts.statement_state(None), table.as_ref(), &[change]).await?;
            Outcome::changed("COMMENT", &facts.world)
        })
    }
}
