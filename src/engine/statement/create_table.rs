//! CREATE TABLE: an empty table of the lake.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, ColumnDef, ColumnOption};

use super::alter::settable;
use super::create_table_as::each_once;
use super::name::{Name, ident, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, counter, default, key, refuse, target};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::{OnCommit, Temporary};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::lake::{FORMAT_VERSION, Making, SortedBy};
use crate::pgtype;
use crate::types::TableName;

#[derive(Debug)]
struct CreateTable {
    name: Name,
    columns: Vec<ColumnDef>,
    /// In the place of columns: those of this table or view.
    like: Option<Name>,
    key: Vec<String>,
    if_not_exists: bool,
    temporary: Option<OnCommit>,
    making: Making,
}

pub(super) fn admit(create: ast::CreateTable) -> Result<Admitted> {
    let (name, temporary, making) = (admit_name(&create)?, temporary(&create)?, making(&create)?);
    let key = key::of(&name.table, &create.columns, &create.constraints)?;
    let like = create.like.map(like).transpose()?;
    let (columns, if_not_exists) = (create.columns, create.if_not_exists);
    Ok(Admitted::new(CreateTable { name, columns, like, key, if_not_exists, temporary, making }))
}

fn like(like: ast::CreateTableLikeKind) -> Result<Name> {
    match like {
        ast::CreateTableLikeKind::Parenthesized(like) => match like.defaults {
            None | Some(ast::CreateTableLikeDefaults::Excluding) => table_name(&like.name),
            Some(ast::CreateTableLikeDefaults::Including) => Err(Error::unsupported("LIKE … INCLUDING DEFAULTS")),
        },
        ast::CreateTableLikeKind::Plain(_) => Err(Error::new(Kind::Syntax, "syntax error at or near \"like\"")),
    }
}

/// Its name, where it has no clause that the lake knows nothing of.
pub(super) fn admit_name(create: &ast::CreateTable) -> Result<Name> {
    refuse(&[
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.clone.is_some(), "CREATE TABLE … CLONE"),
        (create.primary_key.is_some(), "a table constraint"),
        (
            create.location.is_some() || create.file_format.is_some() || create.base_location.is_some(),
            "a location of a table",
        ),
        (create.inherits.is_some() || create.partition_of.is_some(), "table inheritance"),
        (create.cluster_by.is_some() || create.order_by.is_some(), "this order of a table"),
    ])?;
    table_name(&create.name)
}

/// PARTITIONED BY, SORTED BY and WITH.
pub(super) fn making(create: &ast::CreateTable) -> Result<Making> {
    let partitioned_by = match create.partition_by.as_deref() {
        None => vec![],
        Some(ast::Expr::Tuple(fields)) => fields.iter().map(partition_field).collect::<Result<_>>()?,
        Some(_) => {
            return Err(Error::unsupported("PARTITION BY in CREATE TABLE")
                .with_hint("Partitions of a lake table are written as PARTITIONED BY (day(at), bucket(16, id))."));
        }
    };
    let sorted = create.clustered_by.as_ref().and_then(|clustered| clustered.sorted_by.as_deref());
    let sorted_by = sorted.unwrap_or_default().iter().map(sort_field).collect::<Result<_>>()?;
    let properties = match &create.table_options {
        ast::CreateTableOptions::None => vec![],
        ast::CreateTableOptions::With(options) => options.iter().map(property).collect::<Result<Vec<_>>>()?,
        ast::CreateTableOptions::Options(_)
        | ast::CreateTableOptions::Plain(_)
        | ast::CreateTableOptions::TableProperties(_) => return Err(Error::unsupported("these options of a table")),
    };
    // which version a table is of is said once, where it is made
    properties.iter().filter(|(name, _)| name != FORMAT_VERSION).try_for_each(|(name, _)| settable(name))?;
    Ok(Making { properties: properties.into_iter().collect(), partitioned_by, sorted_by })
}

/// A column, or a transform of one: `day(at)`, `bucket(16, id)`, `truncate(4, name)`.
pub(in crate::engine) fn partition_field(field: &ast::Expr) -> Result<(String, String)> {
    let refused = || Error::unsupported(format!("PARTITIONED BY {field}"));
    let column = |expr: &ast::Expr| match expr {
        ast::Expr::Identifier(name) => Ok(ident(name)),
        _ => Err(refused()),
    };
    let ast::Expr::Function(call) = field else { return Ok((column(field)?, "identity".into())) };
    let ast::FunctionArguments::List(list) = &call.args else { return Err(refused()) };
    let args: Vec<&ast::Expr> = list
        .args
        .iter()
        .filter_map(|arg| match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let name = call.name.to_string().to_lowercase();
    match (name.trim_end_matches('s'), args.as_slice()) {
        (of @ ("year" | "month" | "day" | "hour" | "void"), [of_column]) => Ok((column(of_column)?, of.to_string())),
        (of @ ("bucket" | "truncate"), [width, of_column]) => match width {
            ast::Expr::Value(value) => Ok((column(of_column)?, format!("{of}[{value}]"))),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

pub(in crate::engine) fn sort_field(by: &ast::OrderByExpr) -> Result<SortedBy> {
    let ast::Expr::Identifier(column) = &by.expr else {
        return Err(Error::unsupported(format!("SORTED BY {}", by.expr)));
    };
    let descending = by.options.asc == Some(false);
    // as PostgreSQL orders them
    Ok(SortedBy { column: ident(column), descending, nulls_first: by.options.nulls_first.unwrap_or(descending) })
}

fn property(option: &ast::SqlOption) -> Result<(String, String)> {
    let ast::SqlOption::KeyValue { key, value } = option else {
        return Err(Error::unsupported(format!("WITH ({option})")));
    };
    let value = match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::Number(text, _) => text.clone(),
            other => other.to_string().to_lowercase(),
        },
        other => other.to_string(),
    };
    Ok((ident(key), value))
}

/// What COMMIT does to a temporary table; `None` for any other.
pub(super) fn temporary(create: &ast::CreateTable) -> Result<Option<OnCommit>> {
    let name = table_name(&create.name)?;
    let named_so = name.schema.as_deref().is_some_and(Temporary::is_schema);
    if !create.temporary && !named_so {
        return match create.on_commit {
            Some(_) => Err(Error::new(Kind::InvalidTableDefinition, "ON COMMIT can only be used on temporary tables")),
            None => Ok(None),
        };
    }
    if name.schema.is_some() && !named_so {
        let text = "cannot create temporary relation in non-temporary schema";
        return Err(Error::new(Kind::InvalidTableDefinition, text));
    }
    Ok(Some(match create.on_commit {
        None | Some(ast::OnCommit::PreserveRows) => OnCommit::Preserve,
        Some(ast::OnCommit::DeleteRows) => OnCommit::DeleteRows,
        Some(ast::OnCommit::Drop) => OnCommit::Drop,
    }))
}

/// `None`: it was there already, and may.
pub(super) fn made(made: Result<u64>, if_not_exists: bool) -> Result<Option<u64>> {
    match made {
        Err(e) if if_not_exists && e.kind() == Kind::DuplicateTable => Ok(None),
        other => other.map(Some),
    }
}

/// What IF NOT EXISTS says of a table that does.
pub(super) fn already_there(table: &str) -> Notice {
    Notice::notice(Kind::DuplicateTable.sqlstate(), format!("relation \"{table}\" already exists, skipping"))
}

impl Statement for CreateTable {
    fn kind(&self) -> &'static str {
        "create table"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_temporary(&self, _: &Temporary) -> bool {
        self.temporary.is_some()
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            if let Some(on_commit) = self.temporary {
                if self.columns.iter().any(counter::counts) {
                    return Err(Error::unsupported("serial and identity columns of a temporary table"));
                }
                let created = {
                    let schema =
                        default::declared(session, &facts, own_schema(self.schema(&facts)?.as_ref())?, &self.columns)
                            .await?;
                    let schema = key::declared(schema, &self.key)?;
                    facts.temporary.create(&self.name.table, schema, on_commit, vec![])
                };
                if made(created.map(|()| 0), self.if_not_exists)?.is_none() {
                    session.say(already_there(&self.name.table));
                }
                return Outcome::done("CREATE TABLE");
            }
            let name = target::new_table(&facts, &self.name)?;
            execution.record.target(name.to_string());
            let writer = target::writer_for_create(&facts, &name)?;
            let schema = default::declared(session, &facts, self.schema(&facts)?, &self.columns).await?;
            let taken = |sequence: &str| {
                facts.view.relation_oid(&TableName::new(&name.schema, sequence)).is_some() || sequence == name.table
            };
            let schema = counter::declared(schema, &name.table, &self.columns, taken)?;
            let schema = key::declared(schema, &self.key)?;
            match made(writer.create_table(&name, schema, self.making.clone(), None).await, self.if_not_exists)? {
                Some(_) => Outcome::changed("CREATE TABLE", &facts.world),
                None => {
                    session.say(already_there(&name.table));
                    Outcome::done("CREATE TABLE")
                }
            }
        })
    }
}

impl CreateTable {
    fn schema(&self, facts: &Facts) -> Result<SchemaRef> {
        let schema = match &self.like {
            None => schema_of(&self.columns)?,
            Some(like) => schema_like(facts, like)?,
        };
        each_once(schema.fields().iter().map(|field| field.name()))?;
        Ok(schema)
    }
}

/// Names, types and NOT NULL of the columns that the session sees.
fn schema_like(facts: &Facts, like: &Name) -> Result<SchemaRef> {
    let table = target::seen(facts, like)?.ok_or_else(|| Error::unsupported("LIKE of a table of the system"))?;
    let fields = table.schema.fields().iter().map(|field| {
        let ty = pgtype::of_field(field)?;
        let column = postgres::field(field.name(), ty.oid, ty.typmod, field.is_nullable());
        column.ok_or_else(|| Error::unsupported(format!("a column of type {}", ty.name())))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// CREATE TABLE's columns: the types of our language, NOT NULL; nothing else means anything to Iceberg.
fn schema_of(columns: &[ColumnDef]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|c| {
        let mut nullable = true;
        for option in &c.options {
            match &option.option {
                // of the table as a whole, or said by another room
                ColumnOption::Null
                | ColumnOption::PrimaryKey(_)
                | ColumnOption::Default(_)
                | ColumnOption::Generated { .. } => {}
                ColumnOption::NotNull => nullable = false,
                other => return Err(Error::unsupported(format!("{other} of a column"))),
            }
        }
        let name = ident(&c.name);
        let data_type = column_type(c)?;
        Ok(Field::new(name, data_type.data_type().clone(), nullable).with_metadata(data_type.metadata().clone()))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// The columns of a table that no file will hold: a numeric without a scale keeps the digits of each value.
fn own_schema(schema: &Schema) -> Result<SchemaRef> {
    let fields = schema.fields().iter().map(|field| {
        let ty = pgtype::of_field(field)?;
        let lies = pgtype::arrow(ty.oid).filter(|_| ty.oid == pgtype::oid::NUMERIC && ty.typmod == -1);
        Ok(match lies {
            Some(lies) => Arc::new(pgtype::field(field.name(), ty, lies).with_nullable(field.is_nullable())),
            None => Arc::clone(field),
        })
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// By PostgreSQL's names of types.
fn column_type(column: &ColumnDef) -> Result<Field> {
    column_of("x", counter::serial(&column.data_type).as_ref().unwrap_or(&column.data_type), true)
}

/// A column of this name and type.
pub(super) fn column_of(name: &str, data_type: &ast::DataType, nullable: bool) -> Result<Field> {
    let text = data_type.to_string();
    let (oid, typmod) = postgres::by_name(&text)
        .ok_or_else(|| Error::new(Kind::UndefinedObject, format!("type \"{}\" does not exist", text.to_lowercase())))?;
    postgres::field(name, oid, typmod, nullable)
        .ok_or_else(|| Error::unsupported(format!("a column of type {}", text.to_lowercase())))
}
