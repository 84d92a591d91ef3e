//! CREATE SCHEMA: a namespace in the lake.

use datafusion::sql::sqlparser::ast::SchemaName;

use super::name::single;
use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::catalog::file;
use crate::engine::asked::Right;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};

#[derive(Debug)]
struct CreateSchema {
    name: String,
    if_not_exists: bool,
}

pub(super) fn admit(name: &SchemaName, if_not_exists: bool, is_plain: bool) -> Result<Admitted> {
    if !is_plain {
        return Err(Error::unsupported("CREATE SCHEMA with options"));
    }
    match name {
        SchemaName::Simple(name) => Ok(Admitted::new(CreateSchema { name: single(name, "a schema")?, if_not_exists })),
        SchemaName::UnnamedAuthorization(_) | SchemaName::NamedAuthorization(..) => {
            Err(Error::unsupported("CREATE SCHEMA … AUTHORIZATION"))
        }
    }
}

impl Statement for CreateSchema {
    fn kind(&self) -> &'static str {
        "create schema"
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            execution.record.target(&self.name);
            let facts = session.facts()?;
            match make(&facts, &self.name, self.if_not_exists).await? {
                true => Outcome::changed("CREATE SCHEMA", &facts.world),
                false => {
                    let text = format!("schema \"{}\" already exists, skipping", self.name);
                    session.say(Notice::notice(Kind::DuplicateSchema.sqlstate(), text));
                    Outcome::done("CREATE SCHEMA")
                }
            }
        })
    }
}

/// Makes the schema in the only lake there is; `false` where it exists and may. The name must be free in every source: a
/// second schema of one name would be left out of the catalog. Whoever may make it is shown that it exists
/// ([`crate::catalog::visible::View`]); to anybody else the answer is the same whether it does or not.
async fn make(facts: &Facts, schema: &str, if_not_exists: bool) -> Result<bool> {
    if !facts.policy.may_create(schema) {
        let text = format!("permission denied for database {}", facts.world.catalog.database);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    facts.gave(Right::Create(schema.to_string()));
    if facts.world.catalog.schemas.contains_key(schema) {
        return match if_not_exists {
            true => Ok(false),
            false => Err(Error::new(Kind::DuplicateSchema, format!("schema \"{schema}\" already exists"))),
        };
    }
    if file::reserved(schema).is_some() {
        let text = format!("unacceptable schema name \"{schema}\"");
        return Err(Error::new(Kind::ReservedName, text).with_detail("The name is reserved for the system."));
    }
    let mut lakes = facts.world.lakes();
    let lake = match (lakes.pop(), lakes.is_empty()) {
        (Some(lake), true) => lake,
        (None, _) => return Err(Error::unsupported("CREATE SCHEMA without a lake")),
        (Some(_), false) => return Err(Error::unsupported("CREATE SCHEMA with more than one lake")),
    };
    match lake.create_schema(schema).await {
        Err(error) if if_not_exists && error.kind() == Kind::DuplicateSchema => Ok(false),
        other => other.map(|()| true),
    }
}
