//! Which statements exist at all: an exhaustive match without `_`, so that a kind that a new parser learns must be decided
//! here. What is not in our language is 0A000; nothing is passed on. Each kind is a file: how it is read from the parser's
//! tree, what Describe says of it, and what it does.

mod alter;
mod call;
mod change;
mod channel;
mod comment;
mod copy;
mod counter;
mod create_schema;
mod create_table;
mod create_table_as;
mod cursor;
mod deallocate;
mod default;
mod dependents;
mod discard;
mod drop;
mod execute;
mod explain;
mod hidden;
mod key;
mod name;
mod prepare;
mod query;
mod reflection;
mod set;
mod show;
mod sink;
mod target;
mod transaction;
mod truncate;
mod unowned;
mod upkeep;
mod view;

pub(super) use self::change::{Changes, Planned as Changing, goal};
pub(super) use self::create_table::{partition_field, sort_field};
pub(super) use self::create_table_as::storable;
pub(super) use self::name::{Name, ident, table_name};
pub(super) use self::sink::Still;

use std::fmt;
use std::future::ready;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{DescribeAlias, Query as QueryAst, Statement as Ast};

use super::audit::Record;
use super::copy_in::CopyIn;
use super::deep::Deep;
use super::limits::Parsed;
use super::pipeline::{Planned, Told};
use super::run::{Bounds, Rows};
use super::session::{Prepared, Session};
use super::temporary::Temporary;
use super::world::World;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, copy::Layout};
use crate::sql::parse::change::Change;
use crate::sql::parse::command::Command;

/// What a statement does, boxed by hand: `async_trait` would give each function bounds of its own, under which the compiler
/// proves again that everything behind a session can be sent to another thread, half of what the crate took to build.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A kind of statement.
pub(crate) trait Statement: fmt::Debug + Send + Sync {
    /// The word of the audit line and of metrics.
    fn kind(&self) -> &'static str;

    /// Changes the lake: refused in a read-only transaction.
    fn writes(&self) -> bool {
        false
    }

    /// Makes several commits, which are one to others.
    fn is_several(&self) -> bool {
        false
    }

    /// Reads data, or might: from then on a transaction's modes stand (PlannedStmtRequiresSnapshot).
    fn sees_data(&self) -> bool {
        true
    }

    /// The cursor that it speaks of, which may be a portal of the front end's.
    fn names_cursor(&self) -> Option<&str> {
        None
    }

    /// What it writes are temporary tables alone, which a block may change.
    fn is_temporary(&self, _: &Temporary) -> bool {
        false
    }

    /// Adds rows to a table that is there, which a read-only transaction may do with a temporary one.
    fn fills(&self) -> bool {
        false
    }

    /// May run in a transaction that failed.
    fn ends_transaction(&self) -> bool {
        false
    }

    /// What it does is what a kept statement does.
    fn runs_another(&self) -> bool {
        false
    }

    /// Which statement that is: what holds of it holds of this one.
    fn acts_as(&self, _: &Session) -> Option<Admitted> {
        None
    }

    /// Its plan is kept by its text, for the next time.
    fn is_remembered(&self) -> bool {
        false
    }

    /// Parameters, columns and plan under the policy of now. Called when the statement is prepared, and again at an
    /// execution whose plan is for a world that went. By itself a statement has none of them.
    fn describe<'a>(&'a self, _: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(ready(Ok(Described::default())))
    }

    /// Runs it once. Whether it may run in the session's transaction has been asked; rights are asked here.
    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome>;
}

/// What is known of a statement before it runs.
#[derive(Default)]
pub(crate) struct Described {
    /// Oids of `$1 …`.
    pub(crate) parameters: Vec<u32>,
    /// `None`: it returns no rows.
    pub(crate) columns: Option<SchemaRef>,
    /// Of its query.
    pub(crate) planned: Option<Arc<Planned>>,
}

impl Described {
    /// A query whose rows go to the client.
    fn shown(planned: Planned) -> Result<Self> {
        let columns = Arc::clone(&planned.columns);
        columns.fields().iter().try_for_each(|f| postgres::pg_type(f).map(|_| ()))?;
        Ok(Self { columns: Some(columns), ..Self::stored(planned)? })
    }

    /// A query whose rows are written.
    fn stored(planned: Planned) -> Result<Self> {
        let parameters = planned.parameters.iter().map(|f| Ok(postgres::pg_type(f)?.oid)).collect::<Result<_>>()?;
        Ok(Self { parameters, columns: None, planned: Some(Arc::new(planned)) })
    }
}

/// One execution.
pub(crate) struct Execution<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) parameters: Vec<ScalarValue>,
    pub(crate) bounds: Bounds,
    /// To be told what is learned; the session ends it.
    pub(crate) record: &'a mut Record,
}

/// What came of one.
#[derive(Debug)]
pub(crate) enum Outcome {
    Rows(Rows),
    /// Rows for COPY TO.
    CopyOut {
        rows: Rows,
        layout: Layout,
    },
    /// Rows are to come, for COPY FROM.
    CopyIn(Box<CopyIn>),
    /// The command tag.
    Done(String),
    /// As done, and the catalog is not that of this world any more.
    Changed {
        tag: String,
        world: Arc<World>,
    },
}

impl Outcome {
    fn done(tag: impl Into<String>) -> Result<Self> {
        Ok(Self::Done(tag.into()))
    }

    fn changed(tag: impl Into<String>, world: &Arc<World>) -> Result<Self> {
        Ok(Self::Changed { tag: tag.into(), world: Arc::clone(world) })
    }
}

/// A statement of our language. Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Admitted(Arc<Deep<Box<dyn Statement>>>);

impl Admitted {
    fn new(statement: impl Statement + 'static) -> Self {
        Self(Arc::new(Deep::new(Box::new(statement))))
    }
}

impl Deref for Admitted {
    type Target = dyn Statement;

    fn deref(&self) -> &Self::Target {
        // the tree, what holds it, and the box
        (**self.0).as_ref()
    }
}

/// The query that a text is, for whoever takes nothing else.
pub(crate) fn as_query(parsed: Parsed) -> Result<Option<Box<QueryAst>>> {
    match parsed {
        Parsed::Tree(Ast::Query(query)) => hidden::refuse(&query).map(|()| Some(query)),
        other => admit(other).map(|_| None),
    }
}

/// 0A000 for whatever is not ours.
pub(crate) fn admit(parsed: Parsed) -> Result<Admitted> {
    match parsed {
        Parsed::Tree(statement) => admit_tree(statement),
        Parsed::Change(change) => change::admit(*change),
        Parsed::Around(around, change) => admit_around(around, *change),
        Parsed::Copy(copy) => copy::admit(*copy),
        Parsed::Upkeep(upkeep) => upkeep::admit(upkeep),
        Parsed::Alter(alter) => alter::admit(alter),
        Parsed::View(view) => view::admit(*view),
        Parsed::Reflection(statement) => Ok(reflection::admit(statement)),
        Parsed::Command { command, query, text } => match command {
            Command::Transaction(command) => Ok(transaction::admit(command)),
            Command::Setting(command) => Ok(set::admit(command)),
            Command::Cursor(command) => cursor::admit(command, query, text),
            Command::Discard(what) => Ok(discard::admit(what)),
        },
    }
}

/// PREPARE and EXPLAIN of a statement that changes rows.
fn admit_around(around: Ast, change: Change) -> Result<Admitted> {
    match around {
        Ast::Prepare { name, data_types, .. } => Ok(prepare::of(&name, data_types, change::admit(change)?)),
        Ast::Explain {
            describe_alias: DescribeAlias::Explain,
            analyze,
            verbose,
            query_plan,
            estimate,
            format,
            options,
            ..
        } => {
            let words = explain::Words { analyze, verbose, foreign: query_plan || estimate, format, options };
            explain::admit_change(words, change)
        }
        other => Err(unsupported(&other)),
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
fn admit_tree(statement: Ast) -> Result<Admitted> {
    match statement {
        Ast::Query(query) => query::admit(query),
        Ast::Prepare { name, data_types, statement } => prepare::admit(&name, data_types, *statement),
        Ast::Execute { name, parameters, immediate, into, using, .. } => {
            execute::admit(name, parameters, !immediate && into.is_empty() && using.is_empty())
        }
        Ast::Explain {
            describe_alias: DescribeAlias::Explain,
            analyze,
            verbose,
            query_plan,
            estimate,
            statement,
            format,
            options,
        } => {
            let words = explain::Words { analyze, verbose, foreign: query_plan || estimate, format, options };
            explain::admit(words, *statement)
        }
        Ast::Deallocate { name, .. } => deallocate::admit(&name),
        Ast::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, .. } => {
            let is_plain = with.is_none() && options.is_none() && default_collate_spec.is_none();
            create_schema::admit(&schema_name, if_not_exists, is_plain)
        }
        Ast::CreateTable(create) if create.query.is_some() => create_table_as::admit(create),
        Ast::CreateTable(create) => create_table::admit(create),
        Ast::CreateIndex(index) => unowned::create_index(index),
        Ast::CreateExtension(create) => Ok(unowned::create_extension(&create)),
        Ast::DropExtension(drop) => Ok(unowned::drop_extension(&drop)),
        Ast::Grant(grant) => unowned::grant(grant),
        Ast::Revoke(revoke) => unowned::revoke(revoke),
        Ast::LISTEN { channel } => channel::listen(&channel),
        Ast::UNLISTEN { channel } => channel::unlisten(&channel),
        Ast::NOTIFY { channel, payload } => channel::notify(&channel, payload),
        Ast::Drop { object_type, if_exists, names, cascade, temporary, .. } => {
            refuse(&[(temporary, "DROP TEMPORARY")])?;
            drop::admit(object_type, &names, if_exists, cascade)
        }
        Ast::Truncate(truncate) => truncate::admit(&truncate),
        Ast::Call(function) => call::admit(function),
        #[rustfmt::skip]
        Ast::Analyze(_) | Ast::Msck(_) | Ast::Install { .. } | Ast::Load { .. }
        | Ast::Directory { .. } | Ast::Case(_) | Ast::If(_) | Ast::While(_) | Ast::Raise(_)
        | Ast::Copy { .. } | Ast::Insert(_) | Ast::CopyIntoSnowflake { .. } | Ast::Open(_) | Ast::Close { .. } | Ast::Update(_)
        | Ast::Delete(_) | Ast::CreateView(_) | Ast::CreateVirtualTable { .. }
        | Ast::CreateRole(_) | Ast::CreateSecret { .. } | Ast::CreateServer(_) | Ast::CreatePolicy(_)
        | Ast::CreateConnector(_) | Ast::CreateOperator(_) | Ast::CreateOperatorFamily(_)
        | Ast::CreateOperatorClass(_) | Ast::AlterTable(_) | Ast::AlterSchema(_) | Ast::AlterIndex { .. }
        | Ast::AlterView { .. } | Ast::AlterFunction(_) | Ast::AlterType(_) | Ast::AlterCollation(_)
        | Ast::AlterOperator(_) | Ast::AlterOperatorFamily(_) | Ast::AlterOperatorClass(_) | Ast::AlterRole { .. }
        | Ast::AlterPolicy(_) | Ast::AlterConnector { .. } | Ast::AlterSession { .. } | Ast::AttachDatabase { .. }
        | Ast::AttachDuckDBDatabase { .. } | Ast::DetachDuckDBDatabase { .. } | Ast::DropFunction(_)
        | Ast::DropDomain(_) | Ast::DropProcedure { .. } | Ast::DropSecret { .. } | Ast::DropPolicy(_)
        | Ast::DropConnector { .. } | Ast::Declare { .. } | Ast::CreateCollation(_)
        | Ast::DropOperator(_) | Ast::DropOperatorFamily(_) | Ast::DropOperatorClass(_)
        | Ast::Fetch { .. } | Ast::Flush { .. } | Ast::ShowFunctions { .. } | Ast::ShowStatus { .. }
        | Ast::ShowVariables { .. } | Ast::ShowCreate { .. } | Ast::ShowColumns { .. } | Ast::ShowCatalogs { .. }
        | Ast::ShowDatabases { .. } | Ast::ShowProcessList { .. } | Ast::ShowSchemas { .. } | Ast::ShowCharset(_)
        | Ast::ShowObjects(_) | Ast::ShowTables { .. } | Ast::ShowViews { .. } | Ast::ShowCollation { .. }
        | Ast::Use(_) | Ast::Comment { .. } | Ast::CreateDatabase { .. } | Ast::CreateFunction(_)
        | Ast::CreateTrigger(_) | Ast::DropTrigger(_) | Ast::CreateProcedure { .. } | Ast::CreateMacro { .. }
        | Ast::CreateStage { .. } | Ast::Assert { .. } | Ast::Deny(_)
        | Ast::Kill { .. } | Ast::ExplainTable { .. } | Ast::Explain { .. } | Ast::Savepoint { .. }
        | Ast::ReleaseSavepoint { .. } | Ast::Merge(_) | Ast::Cache { .. } | Ast::UNCache { .. }
        | Ast::CreateSequence { .. } | Ast::CreateDomain(_) | Ast::CreateType { .. } | Ast::Pragma { .. }
        | Ast::Lock(_) | Ast::LockTables { .. } | Ast::UnlockTables | Ast::Unload { .. } | Ast::OptimizeTable { .. }
        | Ast::LoadData { .. } | Ast::RenameTable(_)
        | Ast::List(_) | Ast::Remove(_) | Ast::RaisError { .. } | Ast::Throw(_) | Ast::Print(_) | Ast::WaitFor(_)
        | Ast::Return(_) | Ast::ExportData(_) | Ast::CreateUser(_) | Ast::AlterUser(_) | Ast::Vacuum(_)
        // read as commands (`sql::parse::command`)
        | Ast::Set(_) | Ast::Reset(_) | Ast::ShowVariable { .. } | Ast::StartTransaction { .. } | Ast::Commit { .. }
        | Ast::Rollback { .. } | Ast::Discard { .. }
        => Err(unsupported(&statement)),
    }
}

/// The first words only: a statement's text may hold anything.
fn unsupported(statement: &Ast) -> Error {
    let text = statement.to_string();
    let words: Vec<&str> =
        text.split_whitespace().take_while(|w| w.chars().all(|c| c.is_ascii_uppercase())).take(3).collect();
    let words = if words.is_empty() { "this statement".to_string() } else { words.join(" ") };
    Error::new(Kind::Unsupported, format!("{words} is not supported"))
}

/// 0A000 for the first of these that is so.
fn refuse(forms: &[(bool, &str)]) -> Result<()> {
    match forms.iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(Error::unsupported(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
