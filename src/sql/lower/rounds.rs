//! A recursive query that depends on outer values: each round carries the value that its rows are for. The last round's
//! table then brings the domain into the step by itself, so that the step is pushed into as any plan is.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::logical_plan::{RecursiveQuery, SubqueryAlias, TableScan, TableScanBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::push::Dependent;
use super::relation::nullable;
use crate::error::{Error, Result};

/// The last round of a recursive query that is being pushed into.
#[derive(Debug)]
pub(super) struct Carrying {
    name: String,
    /// Its own columns, then the domain's.
    schema: SchemaRef,
    domain: Vec<String>,
}

impl Dependent<'_, '_> {
    /// Whether the rows of a round that carries the domain are read here.
    pub(super) fn carries(&self, plan: &LogicalPlan) -> Result<bool> {
        let reads = |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if self.carrying(scan).is_some());
        Ok(!self.rounds.is_empty() && plan.exists(|node| Ok(reads(node)))?)
    }

    fn carrying(&self, scan: &TableScan) -> Option<&Carrying> {
        source_as_provider(&scan.source).ok()?.downcast_ref::<CteWorkTable>()?;
        self.rounds.iter().find(|rounds| scan.table_name.table() == rounds.name)
    }

    /// The last round with the domain that its rows are for.
    pub(super) fn last_round(&mut self, scan: &TableScan) -> Result<(LogicalPlan, Vec<Column>)> {
        let rounds = self.carrying(scan).ok_or_else(|| Error::internal("a table that depends on outer values"))?;
        let table = provider_as_source(Arc::new(CteWorkTable::new(&rounds.name, Arc::clone(&rounds.schema))));
        let reference = TableReference::bare(rounds.name.clone());
        let scan = TableScanBuilder::new(reference.clone(), table).build()?;
        let domain = rounds.domain.iter().map(|name| Column::new(Some(reference.clone()), name)).collect();
        Ok((LogicalPlan::TableScan(scan), domain))
    }

    pub(super) fn aliased(&mut self, alias: SubqueryAlias) -> Result<(LogicalPlan, Vec<Column>)> {
        let (input, domain) = self.push(Arc::unwrap_or_clone(alias.input))?;
        let domain = domain.into_iter().map(|column| Column::new(Some(alias.alias.clone()), column.name)).collect();
        Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?), domain))
    }

    pub(super) fn recursion(&mut self, query: RecursiveQuery) -> Result<(LogicalPlan, Vec<Column>)> {
        let RecursiveQuery { name, static_term, recursive_term, is_distinct, schema } = query;
        let own: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let added: Vec<String> = self.outer.iter().map(|_| self.lower.fresh("d")).collect();

        let first = self.term(Arc::unwrap_or_clone(static_term), &own, &added)?;
        let fields: Vec<_> = first.schema().fields().iter().cloned().collect();
        self.rounds.push(Carrying { name: name.clone(), schema: Arc::new(Schema::new(fields)), domain: added.clone() });
        let next = self.term(Arc::unwrap_or_clone(recursive_term), &own, &added);
        self.rounds.pop();

        let recursion = RecursiveQuery::try_new(name, Arc::new(first), Arc::new(next?), is_distinct)?;
        Ok((LogicalPlan::RecursiveQuery(recursion), added.into_iter().map(Column::new_unqualified).collect()))
    }

    /// One of its two, with the domain behind its own columns: both have the same names and may hold NULL alike.
    fn term(&mut self, plan: LogicalPlan, own: &[String], added: &[String]) -> Result<LogicalPlan> {
        let columns = plan.schema().columns();
        let (plan, domain) = self.push(plan)?;
        let named = columns.into_iter().chain(domain).zip(own.iter().chain(added));
        let exprs: Vec<Expr> = named.map(|(column, name)| Expr::Column(column).alias(name)).collect();
        nullable(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
    }
}
