//! Parts of plans that one database answers for: what is known of its tables to whoever prints SQL for it, and a scan of what
//! was printed. Only tables that their reader may see whole get here; it prints nothing and judges nobody.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::connect::Pool;
use super::late::Comparable;
use super::pushdown::{Statement, identifier, select};
use super::relations::{Column, Form, Relation, TextOrder};
use super::scan::{Asked, PostgresExec, Probe, Provider, Scan};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::scan::{Scanned, scan_by};
use crate::types::TableName;

/// A table of a database, as its SQL names it.
#[derive(Debug)]
pub(crate) struct RemoteTable {
    relation: Arc<Relation>,
    transaction: Option<Arc<Transaction>>,
}

/// A column of it.
#[derive(Debug)]
pub(crate) struct RemoteColumn {
    /// Quoted.
    pub(crate) name: String,
    /// The database has it in the type that its field says.
    pub(crate) is_typed: bool,
    /// Where it is not, what its comparisons mean there cannot be said here.
    pub(crate) equal_is_bytes: bool,
    /// Its order is that of bytes.
    pub(crate) order_is_bytes: bool,
}

impl RemoteTable {
    /// `None` for the scan of anything else, and where the source's file wants nothing pushed.
    pub(crate) fn of(provider: &dyn TableProvider) -> Option<Self> {
        let provider = provider.downcast_ref::<Provider>().filter(|provider| !provider.is_placed())?;
        let (relation, transaction) = (Arc::clone(provider.relation()), provider.transaction().cloned());
        relation.pool.pushes().then_some(Self { relation, transaction })
    }

    /// Equal for tables of one database that are read in one transaction, or each by itself.
    pub(crate) fn source(&self) -> usize {
        match &self.transaction {
            Some(transaction) => Arc::as_ptr(transaction).addr(),
            None => Arc::as_ptr(&self.relation.pool).addr(),
        }
    }

    pub(crate) fn oid(&self) -> u32 {
        self.relation.oid
    }

    pub(crate) fn name(&self) -> Result<String> {
        let remote = &self.relation.remote;
        Ok(format!("{}.{}", identifier(&remote.schema)?, identifier(&remote.table)?))
    }

    pub(crate) fn rows(&self) -> Option<f64> {
        self.relation.rows
    }

    /// Oid → `prosrc` of its own immutable functions.
    pub(crate) fn functions(&self) -> Arc<HashMap<u32, String>> {
        Arc::clone(&self.relation.functions)
    }

    /// In the order of the table's schema.
    pub(crate) fn columns(&self) -> Result<Vec<RemoteColumn>> {
        let each = self.relation.columns.iter().map(|column| {
            let is_text = matches!(column.own_oid, 25 | 1043 | 1042);
            Ok(RemoteColumn {
                name: identifier(&column.name)?,
                is_typed: column.is_typed,
                equal_is_bytes: !is_text || column.text_order != TextOrder::Unknown,
                // an enum's label as text has the database's own collation
                order_is_bytes: !is_text && column.form == Form::Binary || column.text_order == TextOrder::Bytes,
            })
        });
        each.collect()
    }

    /// A scan of a text over tables of one database, all of which are in `of`.
    pub(crate) fn open(of: &[Self], text: RemoteText) -> Result<Arc<dyn TableProvider>> {
        let (mut probes, mut read) = (vec![], None);
        for oid in &text.tables {
            let table = of.iter().find(|table| table.oid() == *oid);
            let table = table.ok_or_else(|| Error::internal("a text over a table that nobody named"))?;
            let relation = &table.relation;
            let all: Vec<usize> = (0..relation.columns.len()).collect();
            probes.push(Probe {
                sql: select(of_relation(relation), &all, &[], None)?.sql,
                columns: relation.columns.clone(),
            });
            read = Some((Arc::clone(&relation.pool), table.transaction.clone()));
        }
        let (pool, transaction) = read.ok_or_else(|| Error::internal("a text over no table"))?;
        Ok(Arc::new(Answer { pool, transaction, text, probes: probes.into() }))
    }
}

fn of_relation(relation: &Relation) -> (&TableName, &Schema, &[Column]) {
    (&relation.remote, relation.schema.as_ref(), &relation.columns)
}

/// What was printed for a database.
#[derive(Clone, Debug)]
pub(crate) struct RemoteText {
    /// Oids of all tables that it reads.
    pub(crate) tables: Vec<u32>,
    pub(crate) sql: String,
    pub(crate) schema: SchemaRef,
    /// Types of its columns.
    pub(crate) oids: Vec<u32>,
    /// Whether equal values there are equal here, by column.
    pub(crate) equal: Vec<bool>,
    pub(crate) rows: Option<f64>,
}

/// What a node of a physical plan asks a database for, where that was printed for it.
pub(crate) fn remote_sql(node: &dyn ExecutionPlan) -> Option<&str> {
    node.downcast_ref::<PostgresExec>().map(PostgresExec::sql)
}

/// The rows of a text.
#[derive(Debug)]
struct Answer {
    pool: Arc<Pool>,
    transaction: Option<Arc<Transaction>>,
    text: RemoteText,
    probes: Arc<[Probe]>,
}

impl TableProvider for Answer {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.text.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    scan_by!(scanned);
}

impl Answer {
    fn scanned<'a>(
        &'a self,
        _: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            // it is made when everything has been moved that will be
            if projection.is_some_and(|p| !p.iter().copied().eq(0..self.text.oids.len()))
                || !filters.is_empty()
                || limit.is_some()
            {
                return Err(Error::internal("something was pushed to a text that was printed already").into());
            }
            let text = self.text.clone();
            let columns = text.oids.iter().zip(&text.equal).map(|(oid, equal)| Comparable { oid: *oid, equal: *equal });
            let columns = columns.collect();
            let scan = Scan {
                pool: Arc::clone(&self.pool),
                transaction: self.transaction.clone(),
                tables: text.tables,
                // literals of a text are its reader's own
                statement: Statement { sql: text.sql, shape: "as printed".into() },
                schema: text.schema,
                asked: Asked::Types { columns, probes: Arc::clone(&self.probes) },
                rows: text.rows,
            };
            Ok(Arc::new(PostgresExec::new(scan)) as Arc<dyn ExecutionPlan>)
        })
    }
}
