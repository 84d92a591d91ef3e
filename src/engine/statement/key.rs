//! PRIMARY KEY of CREATE TABLE: which columns a table's rows are told apart by. It is declared, as the table format declares
//! it, and no statement but ON CONFLICT asks for it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, Expr, IndexColumn, TableConstraint};

use super::ident;
use crate::error::{Error, Kind, Result};
use crate::lake::KEY;

/// The names of its columns; none for a table without a key.
pub(super) fn of(table: &str, columns: &[ColumnDef], constraints: &[TableConstraint]) -> Result<Vec<String>> {
    let mut keys = vec![];
    for column in columns {
        if column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_))) {
            keys.push(vec![ident(&column.name)]);
        }
    }
    for constraint in constraints {
        let TableConstraint::PrimaryKey(key) = constraint else { return Err(Error::unsupported("a table constraint")) };
        keys.push(key.columns.iter().map(name).collect::<Result<_>>()?);
    }
    match keys.len() {
        0 | 1 => Ok(keys.pop().unwrap_or_default()),
        _ => {
            let text = format!("multiple primary keys for table \"{table}\" are not allowed");
            Err(Error::new(Kind::InvalidTableDefinition, text))
        }
    }
}

fn name(column: &IndexColumn) -> Result<String> {
    match &column.column.expr {
        Expr::Identifier(name) => Ok(ident(name)),
        _ => Err(Error::unsupported("an expression in a primary key")),
    }
}

/// The columns of which it is made are never NULL.
pub(super) fn declared(schema: SchemaRef, key: &[String]) -> Result<SchemaRef> {
    if key.is_empty() {
        return Ok(schema);
    }
    for (n, column) in key.iter().enumerate() {
        if schema.index_of(column).is_err() {
            let text = format!("column \"{column}\" named in key does not exist");
            return Err(Error::new(Kind::UndefinedColumn, text));
        }
        if key.iter().take(n).any(|before| before == column) {
            let text = format!("column \"{column}\" appears twice in primary key constraint");
            return Err(Error::new(Kind::DuplicateColumn, text));
        }
    }
    let marked = |field: &Arc<Field>| match key.iter().position(|column| column == field.name()) {
        None => Arc::clone(field),
        Some(n) => {
            let mut metadata = field.metadata().clone();
            metadata.insert(KEY.to_owned(), n.to_string());
            Arc::new(field.as_ref().clone().with_nullable(false).with_metadata(metadata))
        }
    };
    Ok(Arc::new(Schema::new(schema.fields().iter().map(marked).collect::<Vec<_>>())))
}
