//! PREPARE: a query or a statement that changes rows, kept under a name, as the protocol's Parse keeps one.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, DataType, Ident};

use super::{Admitted, Execution, Outcome, Statement, Work, ident};
use crate::engine::pipeline::Told;
use crate::engine::session::{Session, declared};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;

#[derive(Debug)]
struct Prepare {
    name: String,
    types: Vec<DataType>,
    statement: Admitted,
}

pub(super) fn admit(name: &Ident, types: Vec<DataType>, statement: ast::Statement) -> Result<Admitted> {
    let may_be_kept = matches!(statement, ast::Statement::Query(_));
    let statement = super::admit_tree(statement)?;
    // SELECT INTO is read as a query and is none
    match may_be_kept && statement.kind() == "select" {
        true => Ok(of(name, types, statement)),
        false => Err(Error::unsupported("PREPARE of this statement")),
    }
}

pub(super) fn of(name: &Ident, types: Vec<DataType>, statement: Admitted) -> Admitted {
    Admitted::new(Prepare { name: ident(name), types, statement })
}

impl Statement for Prepare {
    fn kind(&self) -> &'static str {
        "prepare"
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let oids = self.types.iter().map(oid).collect::<Result<Vec<_>>>()?;
            // its text is gone, so errors have no place in it
            let told = Told { text: "".into(), declared: declared(&oids)?, into: vec![] };
            let text = execution.prepared.text.clone();
            let prepared = session.describe(self.statement.clone(), told, text).await?;
            session.keep(&self.name, Arc::clone(&prepared))?;
            Outcome::done("PREPARE")
        })
    }
}

fn oid(of: &DataType) -> Result<u32> {
    let unknown = || Error::new(Kind::UndefinedObject, format!("type \"{of}\" does not exist"));
    postgres::by_name(&of.to_string()).map(|(oid, _)| oid).ok_or_else(unknown)
}
