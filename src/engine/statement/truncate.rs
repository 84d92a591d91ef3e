//! TRUNCATE: every row of a table of the lake, or of a temporary one, in one commit each.

use datafusion::sql::sqlparser::ast;

use super::name::Name;
use super::{Admitted, Execution, Outcome, Statement, Work, refuse, table_name, target};
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};

#[derive(Debug)]
struct Truncate(Vec<Name>);

pub(super) fn admit(truncate: &ast::Truncate) -> Result<Admitted> {
    refuse(&[(
        truncate.partitions.is_some() || truncate.if_exists || truncate.on_cluster.is_some(),
        "this form of TRUNCATE",
    )])?;
    let names = truncate.table_names.iter().map(|target| table_name(&target.name)).collect::<Result<_>>()?;
    Ok(Admitted::new(Truncate(names)))
}

impl Statement for Truncate {
    fn kind(&self) -> &'static str {
        "truncate table"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_several(&self) -> bool {
        self.0.len() > 1
    }

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        self.0.iter().all(|name| temporary.has(name))
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let mut targets = vec![];
            for name in self.0.iter().filter(|name| !facts.temporary.has(name)) {
                let (entry, writer) = target::emptied(&facts, name)?;
                targets.push((target::of_lake(entry)?, writer));
            }
            if let Some(name) =
                self.0.iter().find(|name| facts.temporary.has(name) && facts.temporary.view(&name.table).is_some())
            {
                let text = format!("\"{}\" is not a table", name.table);
                return Err(Error::new(Kind::WrongObjectType, text));
            }
            for (table, writer) in targets {
                execution.record.target(table.name().to_string());
                writer.truncate_table(table.as_ref()).await?;
            }
            let temporary = self.0.iter().filter(|name| facts.temporary.has(name));
            temporary.for_each(|name| facts.temporary.truncate(&name.table));
            Outcome::done("TRUNCATE TABLE")
        })
    }
}
