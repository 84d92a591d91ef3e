//! What is stored elsewhere put in the place of a part of a guarded plan. Whoever offers it says what each stored column was
//! computed from; it is opened here, by the right that the plan's own leaf has on its table, or not at all. Whether it holds
//! the same rows nobody asks here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder};

use super::body::BodyTable;
use super::guard::{Free, Guarded};
use super::open::Opened;
use super::{Grant, raw_of};
use crate::error::Result;
use crate::types::Reads;

/// A stored table that may stand for a part of a plan.
pub struct Stand {
    /// For EXPLAIN, where all of the table is granted.
    pub name: String,
    /// The scan of the plan's part that it stands for.
    pub scan: TableReference,
    pub provider: Arc<dyn TableProvider>,
    pub reads: Reads,
    /// Rows of the table itself that came since, in its own columns.
    pub since: Option<(Arc<dyn TableProvider>, Reads)>,
    /// Stored columns that hold a value of each row as it is: grouping columns. What they were computed from, over the
    /// table's own columns.
    pub dimensions: Vec<(String, Expr)>,
    /// The stored columns that are read.
    pub columns: BTreeSet<String>,
    /// The table's columns that the part reads.
    pub of: BTreeSet<String>,
    /// The plan over the stored table and the rows that came since, in the place of the part.
    pub plan: Box<Over>,
}

/// Of a stored table, and of the rows that came since.
pub type Over = dyn Fn(LogicalPlan, Option<LogicalPlan>) -> Result<LogicalPlan>;

/// The rows of a table, lying somewhere else too.
pub struct Copies {
    /// Of each place.
    pub reads: Vec<(String, Reads)>,
    /// A provider that answers as the raw one does.
    pub over: Box<Wrap>,
}

/// A raw table as one that lies in several places.
pub type Wrap = dyn Fn(Arc<dyn TableProvider>) -> Arc<dyn TableProvider>;

/// What is offered for the parts of a plan.
pub struct Offers<'a> {
    /// For an aggregation or DISTINCT, the best first.
    pub groups: &'a dyn Fn(&LogicalPlan) -> Vec<Stand>,
    pub rows: &'a dyn Fn(&TableScan) -> Option<Copies>,
    /// It stands there now.
    pub taken: &'a dyn Fn(&str),
    /// A right forbids it.
    pub refused: &'a dyn Fn(&str, Refused),
}

/// Why a stored table does not stand for one that is not granted in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The part reads a column that its user sees otherwise, or not at all.
    Masked,
    /// The rows that a filter lets pass cannot be told from what is stored.
    Filtered,
    /// It reads no table's rows.
    NoTable,
    /// Its columns would be others.
    Columns,
}

impl Refused {
    pub fn words(self) -> &'static str {
        match self {
            Self::Masked => "a column that it was made of is masked or hidden",
            Self::Filtered => "a row filter reads a column that it does not group by",
            Self::NoTable => "the query reads no table there",
            Self::Columns => "its columns would be others",
        }
    }
}

impl Guarded {
    /// The same plan with what `offers` has in it. What it opens, and for whom, stays as it was.
    pub fn with_stored(self, offers: &Offers<'_>) -> Result<Self> {
        let (plan, opened, free) = self.into_parts();
        let known = free.len();
        let free = RefCell::new(free);
        let replaced = plan.transform_down_with_subqueries(|node| {
            match &node {
                LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(Distinct::All(_)) => {
                    for stand in (offers.groups)(&node) {
                        match stood(&stand, &node, &free) {
                            Ok(Ok(plan)) => {
                                (offers.taken)(&stand.name);
                                return Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump));
                            }
                            Ok(Err(refused)) => (offers.refused)(&stand.name, refused),
                            // the statement has an answer without it
                            Err(error) => {
                                tracing::warn!(reflection = stand.name, ?error, "a reflection could not be put in");
                                (offers.refused)(&stand.name, Refused::Columns);
                            }
                        }
                    }
                }
                LogicalPlan::TableScan(scan) => {
                    if let Some(copies) = (offers.rows)(scan)
                        && let Some(plan) = copied(scan, &copies, &free)?
                    {
                        return Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump));
                    }
                }
                _ => {}
            }
            Ok(Transformed::no(node))
        })?;
        let free = free.into_inner();
        debug_assert!(free.len() >= known, "nothing that was granted is forgotten");
        Ok(Self::of_parts(replaced.data, opened, free))
    }
}

/// `stand` opened as the scan that it stands for is, and in the place of `node`.
fn stood(stand: &Stand, node: &LogicalPlan, free: &RefCell<Vec<Free>>) -> Result<Result<LogicalPlan, Refused>> {
    let Some(scan) = scan_of(node, &stand.scan)? else { return Ok(Err(Refused::NoTable)) };
    let Some(provider) = provider_of(&scan) else { return Ok(Err(Refused::NoTable)) };
    let mut granted = vec![];
    let (stored, since): (Arc<dyn TableProvider>, Option<Arc<dyn TableProvider>>) = match provider
        .downcast_ref::<Opened>()
    {
        Some(opened) => match opened_by(opened, stand) {
            Ok(stored) => {
                let since = stand.since.as_ref().map(|(rows, _)| Arc::new(over_other(opened, Arc::clone(rows))) as _);
                (Arc::new(stored), since)
            }
            Err(refused) => return Ok(Err(refused)),
        },
        None => {
            let of_table = free.borrow().iter().find(|free| free.scan == scan.table_name.table()).cloned();
            let Some(of_table) = of_table else { return Ok(Err(Refused::NoTable)) };
            let stored = Some(stand.name.as_str().into());
            granted.push(Free { stored, reads: Arc::clone(&stand.reads), ..of_table.clone() });
            let since = stand.since.as_ref().map(|(rows, reads)| {
                granted.push(Free { reads: Arc::clone(reads), ..of_table });
                Arc::clone(rows)
            });
            (Arc::clone(&stand.provider), since)
        }
    };
    let named = |what: &str| TableReference::bare(format!("{}{what}{}", scan.table_name.table(), stand.name));
    let opened = |name: &TableReference, provider: &Arc<dyn TableProvider>| {
        LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::clone(provider)), None)?.build()
    };
    let mut own = vec![(named("+"), stored)];
    own.extend(since.map(|since| (named("~"), since)));
    let mut plans =
        own.iter().map(|(name, provider)| opened(name, provider)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let (Some(stored), since) = (plans.next(), plans.next()) else { return Ok(Err(Refused::NoTable)) };
    let plan = (stand.plan)(stored, since)?;
    if !reads_only(&plan, &own)? || !same_columns(&plan, node) {
        return Ok(Err(Refused::Columns));
    }
    free.borrow_mut().extend(granted);
    Ok(Ok(plan))
}

/// The same right over other rows of the same columns.
fn over_other(opened: &Opened, raw: Arc<dyn TableProvider>) -> Opened {
    Opened {
        table: opened.table.clone(),
        raw,
        grant: Arc::clone(&opened.grant),
        schema: Arc::clone(&opened.schema),
        forbidden: opened.forbidden.clone(),
        dataset: opened.dataset.clone(),
        behind: opened.behind.clone(),
    }
}

/// The stored table under the right that `opened` is held by: its rows are let through by the same filter, asked of the
/// columns that they are grouped by.
fn opened_by(opened: &Opened, stand: &Stand) -> Result<Opened, Refused> {
    if opened.raw.is::<BodyTable>() {
        return Err(Refused::NoTable);
    }
    let grant = &opened.grant;
    let unseen = |column: &String| {
        grant.masks.contains_key(column)
            || grant.hidden.contains(column)
            || opened.forbidden.contains(column)
            || raw_of(column).is_some()
    };
    if stand.of.iter().any(unseen) {
        return Err(Refused::Masked);
    }
    let schema = stand.provider.schema();
    // a stored column that is read was computed from columns that are seen
    let computed = stand.dimensions.iter().filter(|(name, _)| stand.columns.contains(name));
    if computed.flat_map(|(_, of)| of.column_refs()).any(|column| unseen(&column.name)) {
        return Err(Refused::Masked);
    }
    let filter = match &grant.filter {
        Some(filter) => Some(over_stored(filter, opened, stand, &schema)?),
        None => None,
    };
    let hidden = schema.fields().iter().map(|field| field.name()).filter(|name| !stand.columns.contains(*name));
    let hidden: BTreeSet<String> = hidden.cloned().collect();
    let grant = Grant { filter, masks: BTreeMap::new(), hidden, denied: BTreeSet::new(), fired: grant.fired.clone() };
    Ok(Opened {
        table: opened.table.clone(),
        raw: Arc::clone(&stand.provider),
        schema: grant.visible(&schema),
        grant: Arc::new(grant),
        forbidden: BTreeSet::new(),
        dataset: opened.dataset.clone(),
        behind: opened.behind.clone(),
    })
}

/// The filter of a table's rows as one of groups: each of its columns must be one that they are grouped by, of the same type.
fn over_stored(filter: &Expr, opened: &Opened, stand: &Stand, schema: &SchemaRef) -> Result<Expr, Refused> {
    let raw = opened.raw.schema();
    let stored = |column: &Column| {
        let (name, _) = stand.dimensions.iter().find(|(_, of)| is_column(of, &column.name))?;
        let (of, as_stored) = (raw.field_with_name(&column.name).ok()?, schema.field_with_name(name).ok()?);
        (of.data_type() == as_stored.data_type()).then(|| Expr::Column(Column::from_name(name)))
    };
    let mut lost = false;
    let replaced = filter.clone().transform_up(|e| {
        let Expr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        Ok(match stored(column) {
            Some(found) => Transformed::yes(found),
            None => {
                lost = true;
                Transformed::no(e)
            }
        })
    });
    replaced.ok().map(|t| t.data).filter(|_| !lost).ok_or(Refused::Filtered)
}

/// The column itself, or its text lying otherwise.
fn is_column(e: &Expr, name: &str) -> bool {
    let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match e {
        Expr::Column(column) => column.name == name,
        Expr::Cast(cast) if text(cast.field.data_type()) => {
            matches!(cast.expr.as_ref(), Expr::Column(column) if column.name == name)
        }
        _ => false,
    }
}

/// The scan with the raw table wrapped; its barrier, its filter and its masks stay above.
fn copied(scan: &TableScan, copies: &Copies, free: &RefCell<Vec<Free>>) -> Result<Option<LogicalPlan>> {
    let Some(provider) = provider_of(scan) else { return Ok(None) };
    let wrapped: Arc<dyn TableProvider> = match provider.downcast_ref::<Opened>() {
        Some(opened) if opened.raw.is::<BodyTable>() => return Ok(None),
        Some(opened) if opened.schema.fields().iter().any(|field| raw_of(field.name()).is_some()) => return Ok(None),
        Some(opened) => Arc::new(over_other(opened, (copies.over)(Arc::clone(&opened.raw)))),
        None => {
            let of_table = free.borrow().iter().find(|free| free.scan == scan.table_name.table()).cloned();
            let Some(of_table) = of_table else { return Ok(None) };
            let places = copies.reads.iter().map(|(name, reads)| Free {
                stored: Some(name.as_str().into()),
                reads: Arc::clone(reads),
                ..of_table.clone()
            });
            free.borrow_mut().extend(places.collect::<Vec<_>>());
            (copies.over)(provider)
        }
    };
    let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(wrapped), None)?.build()?;
    Ok(same_columns(&plan, &LogicalPlan::TableScan(scan.clone())).then_some(plan))
}

fn provider_of(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    Some(Arc::clone(&scan.source.downcast_ref::<DefaultTableSource>()?.table_provider))
}

fn scan_of(node: &LogicalPlan, named: &TableReference) -> Result<Option<TableScan>> {
    let mut found = None;
    node.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name == *named
        {
            found = Some(scan.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// No scan stands in the plan but those that were opened for it.
fn reads_only(plan: &LogicalPlan, own: &[(TableReference, Arc<dyn TableProvider>)]) -> Result<bool> {
    let mut only = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let found = provider_of(scan);
            let is = |(name, provider): &(TableReference, Arc<dyn TableProvider>)| {
                *name == scan.table_name && found.as_ref().is_some_and(|found| Arc::ptr_eq(found, provider))
            };
            only &= own.iter().any(is);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(only)
}

/// Names, qualifiers and types: what the plan above refers to.
fn same_columns(a: &LogicalPlan, b: &LogicalPlan) -> bool {
    let (a, b) = (a.schema(), b.schema());
    a.fields().len() == b.fields().len()
        && a.iter()
            .zip(b.iter())
            .all(|((q, f), (r, g))| q == r && f.name() == g.name() && f.data_type() == g.data_type())
}

#[cfg(test)]
mod tests;
