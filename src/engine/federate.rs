//! Parts of an optimised plan that one database can answer by itself go there as one text. Tables that are seen whole stand
//! in a guarded plan as their sources gave them; anything behind a barrier is another kind of scan, and stays as it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{LogicalPlan, TableSource};

use crate::error::{Error, Result};
use crate::sources::postgres::{RemoteTable, RemoteText};
use crate::sql::lower::remote::{self, Compares, Remote, Table, TableColumn};

pub(super) fn federate(plan: LogicalPlan) -> Result<LogicalPlan> {
    let found: RefCell<HashMap<usize, Vec<RemoteTable>>> = RefCell::default();
    let known = |scan: &TableScan| {
        let provider = &scan.source.downcast_ref::<DefaultTableSource>()?.table_provider;
        let remote = RemoteTable::of(provider.as_ref())?;
        let table = table(&remote).ok()?;
        found.borrow_mut().entry(table.source).or_default().push(remote);
        Some(table)
    };
    let open = |text: Remote| -> Result<Arc<dyn TableSource>> {
        let found = found.borrow();
        let of = found.get(&text.source).ok_or_else(|| Error::internal("a text for a source that nobody named"))?;
        let Remote { tables, sql, schema, oids, equal, rows, .. } = text;
        Ok(provider_as_source(RemoteTable::open(of, RemoteText { tables, sql, schema, oids, equal, rows })?))
    };
    match reads_any(&plan)? {
        true => remote::push(plan, &known, &open),
        false => Ok(plan),
    }
}

fn reads_any(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let source = scan.source.downcast_ref::<DefaultTableSource>();
        found = source.is_some_and(|source| RemoteTable::of(source.table_provider.as_ref()).is_some());
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn table(remote: &RemoteTable) -> Result<Table> {
    let columns = remote.columns()?.into_iter().map(|column| TableColumn {
        name: column.name,
        is_typed: column.is_typed,
        compares: match (column.equal_is_bytes, column.order_is_bytes) {
            (true, true) => Compares::Bytes,
            (true, false) => Compares::Equality,
            (false, _) => Compares::Otherwise,
        },
    });
    Ok(Table {
        source: remote.source(),
        oid: remote.oid(),
        name: remote.name()?,
        columns: columns.collect(),
        functions: remote.functions(),
        rows: remote.rows(),
    })
}
