//! CREATE INDEX, GRANT, REVOKE, CREATE and DROP EXTENSION: what tools send beside the tables that they make. Nothing is
//! indexed, rights are the policy's alone, and extensions are those that are there; their names are judged, and that they
//! did nothing is what they answer.

use datafusion::sql::sqlparser::ast::{self, Expr, GrantObjects, GranteeName, GranteesType, ObjectName};

use super::name::{Name, dotted, single};
use super::{Admitted, Execution, Outcome, Statement, Work, ident, table_name, target};
use crate::catalog::pg_catalog::text::is_extension;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::{Session, in_block};
use crate::error::{Error, Kind, Result};

#[derive(Debug)]
struct CreateIndex {
    table: ObjectName,
    /// Columns that it is made of by their names; of expressions nothing is known.
    columns: Vec<String>,
    concurrently: bool,
}

#[derive(Debug)]
struct DropIndex {
    names: Vec<Name>,
    if_exists: bool,
}

#[derive(Debug)]
struct CreateExtension {
    name: String,
    if_not_exists: bool,
}

#[derive(Debug)]
struct DropExtension {
    names: Vec<String>,
    if_exists: bool,
}

#[derive(Debug)]
struct Rights {
    kind: &'static str,
    tables: Vec<ObjectName>,
    schemas: Vec<String>,
    roles: Vec<String>,
}

pub(super) fn create_index(index: ast::CreateIndex) -> Result<Admitted> {
    let columns = index.columns.iter().filter_map(|column| match &column.column.expr {
        Expr::Identifier(name) => Some(ident(name)),
        _ => None,
    });
    let columns = columns.chain(index.include.iter().map(ident)).collect();
    Ok(Admitted::new(CreateIndex { columns, concurrently: index.concurrently, table: index.table_name }))
}

pub(super) fn drop_index(names: &[ObjectName], if_exists: bool) -> Result<Admitted> {
    let names = names.iter().map(table_name).collect::<Result<_>>()?;
    Ok(Admitted::new(DropIndex { names, if_exists }))
}

pub(super) fn create_extension(create: &ast::CreateExtension) -> Admitted {
    Admitted::new(CreateExtension { name: ident(&create.name), if_not_exists: create.if_not_exists })
}

pub(super) fn drop_extension(drop: &ast::DropExtension) -> Admitted {
    Admitted::new(DropExtension { names: drop.names.iter().map(ident).collect(), if_exists: drop.if_exists })
}

pub(super) fn grant(grant: ast::Grant) -> Result<Admitted> {
    rights("grant", grant.objects, grant.grantees)
}

pub(super) fn revoke(revoke: ast::Revoke) -> Result<Admitted> {
    rights("revoke", revoke.objects, revoke.grantees)
}

fn rights(kind: &'static str, objects: Option<GrantObjects>, grantees: Vec<ast::Grantee>) -> Result<Admitted> {
    let (tables, schemas) = match objects {
        Some(GrantObjects::Tables(tables)) => (tables, vec![]),
        Some(
            GrantObjects::Schemas(schemas)
            | GrantObjects::AllTablesInSchema { schemas }
            | GrantObjects::AllSequencesInSchema { schemas },
        ) => (vec![], schemas.iter().map(|schema| single(schema, "a schema")).collect::<Result<_>>()?),
        // of what else there is, none is named by us
        _ => (vec![], vec![]),
    };
    let role = |grantee: &ast::Grantee| match (&grantee.grantee_type, &grantee.name) {
        (GranteesType::Public, _) | (_, None | Some(GranteeName::UserHost { .. })) => None,
        (_, Some(GranteeName::ObjectName(name))) => Some(dotted(name)).filter(|name| name != "public"),
    };
    let roles = grantees.iter().filter_map(role).collect();
    Ok(Admitted::new(Rights { kind, tables, schemas, roles }))
}

impl Statement for CreateIndex {
    fn kind(&self) -> &'static str {
        "create index"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if self.concurrently && session.transaction.is_block() {
                return Err(in_block("CREATE INDEX CONCURRENTLY"));
            }
            let facts = session.facts()?;
            let shown = target::seen(&facts, &table_name(&self.table)?)?;
            let missing = |name: &&String| shown.is_some_and(|shown| shown.schema.index_of(name).is_err());
            if let Some(name) = self.columns.iter().find(missing) {
                return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist")));
            }
            session.say(Notice::warning("01000", "no index is built: tables are found by their files' statistics"));
            Outcome::done("CREATE INDEX")
        })
    }
}

impl Statement for DropIndex {
    fn kind(&self) -> &'static str {
        "drop index"
    }

    /// CREATE INDEX has made none.
    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            for name in &self.names {
                let index = &name.table;
                match target::seen(&facts, name) {
                    Ok(_) => {
                        let error = Error::new(Kind::WrongObjectType, format!("\"{index}\" is not an index"));
                        return Err(error.with_hint("Use DROP TABLE to remove a table."));
                    }
                    Err(error) if error.kind() == Kind::UndefinedTable => {}
                    Err(error) => return Err(error),
                }
                let missing = name.schema.as_ref().filter(|schema| facts.view.schema_oid(schema).is_none());
                match (missing, self.if_exists) {
                    (Some(schema), true) => session.say(Notice::skipping("schema", schema)),
                    (Some(schema), false) => return Err(target::undefined_schema(schema)),
                    (None, true) => session.say(Notice::skipping("index", index)),
                    (None, false) => {
                        return Err(Error::new(Kind::UndefinedObject, format!("index \"{index}\" does not exist")));
                    }
                }
            }
            Outcome::done("DROP INDEX")
        })
    }
}

impl Statement for CreateExtension {
    fn kind(&self) -> &'static str {
        "create extension"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let name = &self.name;
            if !is_extension(name) {
                return Err(Error::new(Kind::Unsupported, format!("extension \"{name}\" is not available")));
            }
            let text = format!("extension \"{name}\" already exists");
            if !self.if_not_exists {
                return Err(Error::new(Kind::DuplicateObject, text));
            }
            session.say(Notice::notice("42710", format!("{text}, skipping")));
            Outcome::done("CREATE EXTENSION")
        })
    }
}

impl Statement for DropExtension {
    fn kind(&self) -> &'static str {
        "drop extension"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            for name in &self.names {
                if is_extension(name) {
                    return Err(Error::new(Kind::PermissionDenied, format!("must be owner of extension {name}")));
                }
                let text = format!("extension \"{name}\" does not exist");
                if !self.if_exists {
                    return Err(Error::new(Kind::UndefinedObject, text));
                }
                session.say(Notice::notice("00000", format!("{text}, skipping")));
            }
            Outcome::done("DROP EXTENSION")
        })
    }
}

impl Statement for Rights {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let facts: &Facts = &facts;
            for table in &self.tables {
                target::seen(facts, &table_name(table)?)?;
            }
            for schema in &self.schemas {
                if facts.view.schema_oid(schema).is_none() {
                    return Err(target::undefined_schema(schema));
                }
            }
            for role in &self.roles {
                let is_word = matches!(role.as_str(), "current_user" | "current_role" | "session_user");
                if !is_word && !facts.view.roles.iter().any(|known| known.name == *role) {
                    return Err(Error::new(Kind::UndefinedObject, format!("role \"{role}\" does not exist")));
                }
            }
            let (code, nothing) = match self.kind {
                "grant" => ("01007", "no privileges were granted for"),
                _ => ("01006", "no privileges could be revoked for"),
            };
            let tables = self.tables.iter().map(|table| table_name(table).map(|name| name.table));
            let names = tables.chain(self.schemas.iter().cloned().map(Ok)).collect::<Result<Vec<_>>>()?;
            for name in names {
                let warning = Notice::warning(code, format!("{nothing} \"{name}\""));
                session.say(warning.with_hint("Rights are lines of the policy files."));
            }
            Outcome::done(self.kind.to_uppercase())
        })
    }
}
