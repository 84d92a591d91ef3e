//! Which statements exist at all: an exhaustive match without `_`, so that a kind that a new parser learns must be
//! decided here. What is not in our language is 0A000; nothing is passed on.

use datafusion::sql::sqlparser::ast::{
    self, ContextModifier, DiscardObject, Expr, Ident, Insert, ObjectName, ObjectNamePart, ObjectType, Query, Reset,
    SchemaName, Set, SetOperator, SetQuantifier, Statement, TableObject, TransactionAccessMode, TransactionMode, Value,
};

use crate::error::{Error, Kind, Result};

/// A statement of our language.
#[derive(Clone, Debug)]
pub(crate) enum Admitted {
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<Query>),
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    ResetAll,
    Show(String),
    Begin {
        read_only: Option<bool>,
    },
    /// Isolation and access mode of the current transaction.
    SetTransaction {
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Box<Admitted>,
        text: String,
    },
    Execute {
        name: String,
        parameters: Vec<Expr>,
    },
    /// `None`: all of them.
    Deallocate(Option<String>),
    DiscardAll,
    CreateSchema {
        name: String,
        if_not_exists: bool,
    },
    DropSchema {
        names: Vec<String>,
        if_exists: bool,
    },
    CreateTable {
        name: Name,
        columns: Vec<ast::ColumnDef>,
        if_not_exists: bool,
    },
    CreateTableAs {
        name: Name,
        query: Box<Query>,
        if_not_exists: bool,
    },
    DropTable {
        names: Vec<Name>,
        if_exists: bool,
    },
    Insert {
        table: Name,
        columns: Vec<String>,
        query: Box<Query>,
    },
}

/// A table as written: with or without its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl Admitted {
    /// The word of the audit line and of metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Query(_) => "select",
            Self::Set { .. } | Self::ResetAll | Self::SetTransaction { .. } => "set",
            Self::Show(_) => "show",
            Self::Begin { .. } => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Prepare { .. } => "prepare",
            Self::Execute { .. } => "execute",
            Self::Deallocate(_) => "deallocate",
            Self::DiscardAll => "discard",
            Self::CreateSchema { .. } => "create schema",
            Self::DropSchema { .. } => "drop schema",
            Self::CreateTable { .. } => "create table",
            Self::CreateTableAs { .. } => "create table as",
            Self::DropTable { .. } => "drop table",
            Self::Insert { .. } => "insert",
        }
    }

    /// Changes the lake: refused in a transaction block, where several could not be one commit yet.
    pub(crate) fn writes(&self) -> bool {
        matches!(
            self,
            Self::CreateSchema { .. }
                | Self::DropSchema { .. }
                | Self::CreateTable { .. }
                | Self::CreateTableAs { .. }
                | Self::DropTable { .. }
                | Self::Insert { .. }
        )
    }
}

/// 0A000 for whatever is not ours.
#[deny(clippy::wildcard_enum_match_arm)]
pub(crate) fn admit(statement: Statement) -> Result<Admitted> {
    match statement {
        Statement::Query(query) => {
            refuse_hidden_statements(&query)?;
            Ok(Admitted::Query(query))
        }
        Statement::Set(set) => admit_set(set),
        Statement::Reset(reset) => Ok(match reset.reset {
            Reset::ALL => Admitted::ResetAll,
            Reset::ConfigurationParameter(name) => Admitted::Set { name: dotted(&name), value: None, local: false },
        }),
        Statement::ShowVariable { variable } => Ok(Admitted::Show(show_name(&variable))),
        Statement::StartTransaction { modes, statements, exception, .. } => {
            if !statements.is_empty() || exception.is_some() {
                return Err(Error::unsupported("a block of statements"));
            }
            Ok(Admitted::Begin { read_only: access(&modes) })
        }
        Statement::Commit { chain, .. } => only(!chain, "COMMIT AND CHAIN", Admitted::Commit),
        Statement::Rollback { chain, savepoint } => {
            only(!chain && savepoint.is_none(), "ROLLBACK to a savepoint", Admitted::Rollback)
        }
        Statement::Prepare { name, data_types, statement } => {
            let text = statement.to_string();
            let statement = Box::new(admit(*statement)?);
            if !matches!(*statement, Admitted::Query(_) | Admitted::Insert { .. }) {
                return Err(Error::unsupported("PREPARE of this statement"));
            }
            Ok(Admitted::Prepare { name: ident(&name), types: data_types, statement, text })
        }
        Statement::Execute { name, parameters, immediate, into, using, .. } => {
            let Some(name) = name else { return Err(Error::unsupported("EXECUTE without a name")) };
            let plain = !immediate && into.is_empty() && using.is_empty();
            only(plain, "this form of EXECUTE", Admitted::Execute { name: dotted(&name), parameters })
        }
        Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Ok(Admitted::Deallocate((!all).then(|| ident(&name))))
        }
        Statement::Discard { object_type } => match object_type {
            DiscardObject::ALL => Ok(Admitted::DiscardAll),
            DiscardObject::PLANS | DiscardObject::SEQUENCES | DiscardObject::TEMP => {
                Err(Error::unsupported("DISCARD of anything but ALL"))
            }
        },
        Statement::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, .. } => {
            if with.is_some() || options.is_some() || default_collate_spec.is_some() {
                return Err(Error::unsupported("CREATE SCHEMA with options"));
            }
            let name = match schema_name {
                SchemaName::Simple(name) => single(&name, "a schema")?,
                SchemaName::UnnamedAuthorization(_) | SchemaName::NamedAuthorization(..) => {
                    return Err(Error::unsupported("CREATE SCHEMA … AUTHORIZATION"));
                }
            };
            Ok(Admitted::CreateSchema { name, if_not_exists })
        }
        Statement::CreateTable(create) => admit_create(create),
        Statement::Insert(insert) => admit_insert(insert),
        Statement::Drop { object_type, if_exists, names, cascade, temporary, .. } => {
            if cascade || temporary {
                return Err(Error::unsupported("DROP … CASCADE"));
            }
            match object_type {
                ObjectType::Table => {
                    let names = names.iter().map(table_name).collect::<Result<_>>()?;
                    Ok(Admitted::DropTable { names, if_exists })
                }
                ObjectType::Schema => {
                    let names = names.iter().map(|n| single(n, "a schema")).collect::<Result<_>>()?;
                    Ok(Admitted::DropSchema { names, if_exists })
                }
                ObjectType::Collation
                | ObjectType::View
                | ObjectType::MaterializedView
                | ObjectType::Index
                | ObjectType::Database
                | ObjectType::Role
                | ObjectType::Sequence
                | ObjectType::Stage
                | ObjectType::Type
                | ObjectType::User
                | ObjectType::Stream => Err(Error::unsupported(format!("DROP {object_type}"))),
            }
        }
        Statement::Analyze(_)
        | Statement::Truncate(_)
        | Statement::Msck(_)
        | Statement::Install { .. }
        | Statement::Load { .. }
        | Statement::Directory { .. }
        | Statement::Case(_)
        | Statement::If(_)
        | Statement::While(_)
        | Statement::Raise(_)
        | Statement::Call(_)
        | Statement::Copy { .. }
        | Statement::CopyIntoSnowflake { .. }
        | Statement::Open(_)
        | Statement::Close { .. }
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::CreateView(_)
        | Statement::CreateVirtualTable { .. }
        | Statement::CreateIndex(_)
        | Statement::CreateRole(_)
        | Statement::CreateSecret { .. }
        | Statement::CreateServer(_)
        | Statement::CreatePolicy(_)
        | Statement::CreateConnector(_)
        | Statement::CreateOperator(_)
        | Statement::CreateOperatorFamily(_)
        | Statement::CreateOperatorClass(_)
        | Statement::AlterTable(_)
        | Statement::AlterSchema(_)
        | Statement::AlterIndex { .. }
        | Statement::AlterView { .. }
        | Statement::AlterFunction(_)
        | Statement::AlterType(_)
        | Statement::AlterCollation(_)
        | Statement::AlterOperator(_)
        | Statement::AlterOperatorFamily(_)
        | Statement::AlterOperatorClass(_)
        | Statement::AlterRole { .. }
        | Statement::AlterPolicy(_)
        | Statement::AlterConnector { .. }
        | Statement::AlterSession { .. }
        | Statement::AttachDatabase { .. }
        | Statement::AttachDuckDBDatabase { .. }
        | Statement::DetachDuckDBDatabase { .. }
        | Statement::DropFunction(_)
        | Statement::DropDomain(_)
        | Statement::DropProcedure { .. }
        | Statement::DropSecret { .. }
        | Statement::DropPolicy(_)
        | Statement::DropConnector { .. }
        | Statement::Declare { .. }
        | Statement::CreateExtension(_)
        | Statement::CreateCollation(_)
        | Statement::DropExtension(_)
        | Statement::DropOperator(_)
        | Statement::DropOperatorFamily(_)
        | Statement::DropOperatorClass(_)
        | Statement::Fetch { .. }
        | Statement::Flush { .. }
        | Statement::ShowFunctions { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowVariables { .. }
        | Statement::ShowCreate { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowProcessList { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowCharset(_)
        | Statement::ShowObjects(_)
        | Statement::ShowTables { .. }
        | Statement::ShowViews { .. }
        | Statement::ShowCollation { .. }
        | Statement::Use(_)
        | Statement::Comment { .. }
        | Statement::CreateDatabase { .. }
        | Statement::CreateFunction(_)
        | Statement::CreateTrigger(_)
        | Statement::DropTrigger(_)
        | Statement::CreateProcedure { .. }
        | Statement::CreateMacro { .. }
        | Statement::CreateStage { .. }
        | Statement::Assert { .. }
        | Statement::Grant(_)
        | Statement::Deny(_)
        | Statement::Revoke(_)
        | Statement::Kill { .. }
        | Statement::ExplainTable { .. }
        | Statement::Explain { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Merge(_)
        | Statement::Cache { .. }
        | Statement::UNCache { .. }
        | Statement::CreateSequence { .. }
        | Statement::CreateDomain(_)
        | Statement::CreateType { .. }
        | Statement::Pragma { .. }
        | Statement::Lock(_)
        | Statement::LockTables { .. }
        | Statement::UnlockTables
        | Statement::Unload { .. }
        | Statement::OptimizeTable { .. }
        | Statement::LISTEN { .. }
        | Statement::UNLISTEN { .. }
        | Statement::NOTIFY { .. }
        | Statement::LoadData { .. }
        | Statement::RenameTable(_)
        | Statement::List(_)
        | Statement::Remove(_)
        | Statement::RaisError { .. }
        | Statement::Throw(_)
        | Statement::Print(_)
        | Statement::WaitFor(_)
        | Statement::Return(_)
        | Statement::ExportData(_)
        | Statement::CreateUser(_)
        | Statement::AlterUser(_)
        | Statement::Vacuum(_) => Err(unsupported(&statement)),
    }
}

/// The first words only: a statement's text may hold anything.
fn unsupported(statement: &Statement) -> Error {
    let text = statement.to_string();
    let words: Vec<&str> =
        text.split_whitespace().take_while(|w| w.chars().all(|c| c.is_ascii_uppercase())).take(3).collect();
    let words = if words.is_empty() { "this statement".to_string() } else { words.join(" ") };
    Error::new(Kind::Unsupported, format!("{words} is not supported"))
}

fn only(holds: bool, what: &str, then: Admitted) -> Result<Admitted> {
    if holds { Ok(then) } else { Err(Error::unsupported(what)) }
}

/// A query can carry DML in its body, a target in its SELECT INTO, and locks.
fn refuse_hidden_statements(query: &Query) -> Result<()> {
    use std::ops::ControlFlow;

    use ast::{SetExpr, Visit, Visitor};
    struct Look(Option<&'static str>);
    impl Visitor for Look {
        type Break = ();
        fn pre_visit_query(&mut self, q: &Query) -> ControlFlow<()> {
            if !q.locks.is_empty() || q.for_clause.is_some() {
                self.0 = Some("SELECT … FOR");
            }
            if q.settings.is_some() || q.format_clause.is_some() || !q.pipe_operators.is_empty() {
                self.0 = Some("this clause");
            }
            let mut bodies = vec![q.body.as_ref()];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::Select(select) if select.into.is_some() => self.0 = Some("SELECT INTO"),
                    SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                    // the grammar makes a SELECT of it; sqlparser drops its quotes
                    SetExpr::Table(_) => self.0 = Some("TABLE in this place"),
                    SetExpr::SetOperation { left, right, op, set_quantifier } => {
                        // planned as joins, which lose count of equal rows: no answer is better than a wrong one
                        let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
                        if all && matches!(op, SetOperator::Except | SetOperator::Minus | SetOperator::Intersect) {
                            self.0 = Some("EXCEPT ALL or INTERSECT ALL");
                        }
                        bodies.extend([left.as_ref(), right.as_ref()]);
                    }
                    SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                        self.0 = Some("a data-modifying statement in WITH");
                    }
                }
            }
            if self.0.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
            self.0 = Some("a statement inside a query");
            ControlFlow::Break(())
        }
    }
    let mut look = Look(None);
    let _ = query.visit(&mut look);
    look.0.map_or(Ok(()), |what| Err(Error::unsupported(what)))
}

fn admit_set(set: Set) -> Result<Admitted> {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = match scope {
                Some(ContextModifier::Local) => true,
                None | Some(ContextModifier::Session) => false,
                Some(ContextModifier::Global) => return Err(Error::unsupported("SET GLOBAL")),
            };
            let values = values.iter().map(setting_value).collect::<Result<Vec<_>>>()?;
            let value = match values.as_slice() {
                [one] if one.eq_ignore_ascii_case("default") => None,
                all => Some(all.join(", ")),
            };
            Ok(Admitted::Set { name: dotted(&variable), value, local })
        }
        Set::SetTimeZone { local, value } => {
            let value = setting_value(&value)?;
            let default = value.eq_ignore_ascii_case("default") || value.eq_ignore_ascii_case("local");
            Ok(Admitted::Set { name: "timezone".into(), value: (!default).then_some(value), local })
        }
        Set::SetNames { charset_name, .. } => {
            Ok(Admitted::Set { name: "client_encoding".into(), value: Some(charset_name.value), local: false })
        }
        Set::SetNamesDefault {} => Ok(Admitted::Set { name: "client_encoding".into(), value: None, local: false }),
        Set::SetTransaction { modes, snapshot, session } => {
            if snapshot.is_some() {
                return Err(Error::unsupported("SET TRANSACTION SNAPSHOT"));
            }
            match (session, access(&modes)) {
                (true, Some(read_only)) => Ok(Admitted::Set {
                    name: "default_transaction_read_only".into(),
                    value: Some(if read_only { "on" } else { "off" }.into()),
                    local: false,
                }),
                (_, read_only) => Ok(Admitted::SetTransaction { read_only }),
            }
        }
        Set::SetRole { role_name, .. } => match role_name {
            // SET ROLE NONE goes back to the login, which is where we always are
            None => Ok(Admitted::SetTransaction { read_only: None }),
            Some(_) => Err(Error::new(Kind::PermissionDenied, "permission denied to set role")),
        },
        Set::SetSessionAuthorization(_) => {
            Err(Error::new(Kind::PermissionDenied, "permission denied to set session authorization"))
        }
        Set::ParenthesizedAssignments { .. } | Set::MultipleAssignments { .. } | Set::SetSessionParam(_) => {
            Err(Error::unsupported("this form of SET"))
        }
    }
}

/// `SET x TO value`: a word, a literal, a signed number.
fn setting_value(value: &Expr) -> Result<String> {
    match value {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::DollarQuotedString(ast::DollarQuotedString { value: s, .. }) => Ok(s.clone()),
            Value::Number(n, _) => Ok(n.to_string()),
            Value::Boolean(b) => Ok(if *b { "on" } else { "off" }.into()),
            _ => Err(Error::new(Kind::InvalidParameter, "a setting takes a word, a number or a text")),
        },
        Expr::Identifier(word) if word.quote_style.is_some() => Ok(format!("\"{}\"", word.value.replace('"', "\"\""))),
        Expr::Identifier(word) => Ok(word.value.clone()),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => Ok(format!("-{}", setting_value(expr)?)),
        _ => Err(Error::new(Kind::InvalidParameter, "a setting takes a word, a number or a text")),
    }
}

fn access(modes: &[TransactionMode]) -> Option<bool> {
    modes.iter().rev().find_map(|m| match m {
        TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => Some(true),
        TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => Some(false),
        TransactionMode::IsolationLevel(_) => None,
    })
}

/// `SHOW TRANSACTION ISOLATION LEVEL` and `SHOW TIME ZONE` are words, not names.
fn show_name(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(|w| w.value.to_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["transaction", "isolation", "level"] => "transaction_isolation".into(),
        ["time", "zone"] => "timezone".into(),
        ["session", "authorization"] => "session_authorization".into(),
        _ => words.join("."),
    }
}

fn admit_create(create: ast::CreateTable) -> Result<Admitted> {
    let special = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.like.is_some() || create.clone.is_some(), "CREATE TABLE … LIKE"),
        (!create.constraints.is_empty() || create.primary_key.is_some(), "a table constraint"),
        (
            create.location.is_some() || create.file_format.is_some() || create.base_location.is_some(),
            "a location of a table",
        ),
        (create.inherits.is_some() || create.partition_of.is_some(), "table inheritance"),
        (
            create.partition_by.is_some() || create.cluster_by.is_some() || create.order_by.is_some(),
            "PARTITION BY in CREATE TABLE",
        ),
        (!matches!(create.table_options, ast::CreateTableOptions::None), "CREATE TABLE … WITH"),
    ];
    if let Some((_, what)) = special.iter().find(|(found, _)| *found) {
        return Err(Error::unsupported(what));
    }
    let name = table_name(&create.name)?;
    match create.query {
        Some(query) if create.columns.is_empty() => {
            refuse_hidden_statements(&query)?;
            Ok(Admitted::CreateTableAs { name, query, if_not_exists: create.if_not_exists })
        }
        Some(_) => Err(Error::unsupported("CREATE TABLE AS with a column list")),
        None => Ok(Admitted::CreateTable { name, columns: create.columns, if_not_exists: create.if_not_exists }),
    }
}

fn admit_insert(insert: Insert) -> Result<Admitted> {
    let special = [
        (insert.or.is_some() || insert.ignore || insert.replace_into || insert.overwrite, "this form of INSERT"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (
            insert.partitioned.is_some() || !insert.after_columns.is_empty() || !insert.assignments.is_empty(),
            "this form of INSERT",
        ),
        (insert.multi_table_insert_type.is_some() || insert.table_alias.is_some(), "this form of INSERT"),
        (insert.settings.is_some() || insert.format_clause.is_some(), "this form of INSERT"),
    ];
    if let Some((_, what)) = special.iter().find(|(found, _)| *found) {
        return Err(Error::unsupported(what));
    }
    let TableObject::TableName(name) = &insert.table else { return Err(Error::unsupported("this target of INSERT")) };
    let Some(query) = insert.source else { return Err(Error::unsupported("INSERT … DEFAULT VALUES")) };
    refuse_hidden_statements(&query)?;
    let columns = insert.columns.iter().map(|c| single(c, "a column")).collect::<Result<_>>()?;
    Ok(Admitted::Insert { table: table_name(name)?, columns, query })
}

/// Folded as PostgreSQL folds it: lower case unless quoted.
pub(crate) fn ident(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|p| match p {
            ObjectNamePart::Identifier(i) => Ok(ident(i)),
            ObjectNamePart::Function(_) => Err(Error::unsupported("a computed name")),
        })
        .collect()
}

fn dotted(name: &ObjectName) -> String {
    parts(name).map(|p| p.join(".")).unwrap_or_default()
}

fn single(name: &ObjectName, what: &str) -> Result<String> {
    match parts(name)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Error::new(Kind::Syntax, format!("{what} has one name, not {name}"))),
    }
}

/// `table`, `schema.table`; `database.schema.table` where the database is checked by the resolver's rules.
pub(crate) fn table_name(name: &ObjectName) -> Result<Name> {
    let mut parts = parts(name)?;
    match (parts.pop(), parts.pop(), parts.len()) {
        (Some(table), schema, 0 | 1) => Ok(Name { schema, table }),
        _ => Err(Error::new(Kind::Syntax, format!("improper qualified name (too many dotted names): {name}"))),
    }
}

#[cfg(test)]
mod tests;
