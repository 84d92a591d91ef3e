//! What is stored elsewhere put in the place of a part of a guarded plan. Whoever offers it says what each stored column was
//! computed from; it is opened here, by the rights that the plan's own leaves have on their tables, or not at all. Whether it
//! holds the same rows nobody asks here.

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
use crate::error::{Error, Result};
use crate::types::Reads;

/// A stored table that may stand for a part of a plan.
pub struct Stand {
    /// For EXPLAIN, where all of the table is granted.
    pub name: String,
    /// What it stands for. The part's other scans stay.
    pub tables: Vec<Replaced>,
    pub provider: Arc<dyn TableProvider>,
    pub reads: Reads,
    /// Rows that came since, in the table's own columns, where it stands for one alone.
    pub since: Option<(Arc<dyn TableProvider>, Reads)>,
    /// Stored columns that hold a value of each row as it is: grouping columns. What they were computed from, over the
    /// tables' own columns; a column that several are equal to stands here by each.
    pub dimensions: Vec<(String, Expr)>,
    /// The stored columns that are read.
    pub columns: BTreeSet<String>,
    /// The plan over the stored table and the rows that came since, in the place of the part.
    pub plan: Box<Over>,
}

/// A table of a plan's part that is read from what is stored.
pub struct Replaced {
    pub scan: TableReference,
    /// What its columns are qualified with in [`Stand::dimensions`].
    pub named: TableReference,
    /// Its columns that the part reads.
    pub of: BTreeSet<String>,
    /// Rows of the others stay where a row of it is missing.
    pub is_padded: bool,
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
    /// For an aggregation, DISTINCT, or joined rows, the best first.
    pub parts: &'a dyn Fn(&LogicalPlan) -> Vec<Stand>,
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
    /// Rows that a filter hides would have to be missing, and are not.
    Padded,
    /// It reads no table's rows.
    NoTable,
    /// Its tables are read through other views.
    Apart,
    /// Its columns would be others.
    Columns,
}

impl Refused {
    pub fn words(self) -> &'static str {
        match self {
            Self::Masked => "a column that it was made of is masked or hidden",
            Self::Filtered => "a row filter reads a column that it does not group by",
            Self::Padded => "a row filter holds on a table of an outer join",
            Self::NoTable => "the query reads no table there",
            Self::Apart => "its tables are read through different views",
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
                LogicalPlan::Aggregate(_)
                | LogicalPlan::Distinct(Distinct::All(_))
                | LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Join(_) => {
                    for stand in (offers.parts)(&node) {
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

/// A table that is stood for: its leaf in the plan.
enum Of<'a> {
    Opened(&'a Opened),
    Free(Free),
}

impl Of<'_> {
    fn behind(&self) -> &[String] {
        match self {
            Self::Opened(opened) => &opened.behind,
            Self::Free(free) => &free.behind,
        }
    }
}

/// `stand` opened as the scans that it stands for are, and in the place of `node`.
fn stood(stand: &Stand, node: &LogicalPlan, free: &RefCell<Vec<Free>>) -> Result<Result<LogicalPlan, Refused>> {
    let (replaced, others): (Vec<_>, Vec<_>) =
        scans_of(node)?.into_iter().partition(|(name, _)| stand.tables.iter().any(|table| table.scan == *name));
    let mut found = vec![];
    for table in &stand.tables {
        let Some((_, provider)) = replaced.iter().find(|(name, _)| *name == table.scan) else {
            return Ok(Err(Refused::NoTable));
        };
        let of = match provider.downcast_ref::<Opened>() {
            Some(opened) => Of::Opened(opened),
            None => match free.borrow().iter().find(|free| free.scan == table.scan.table()) {
                Some(free) => Of::Free(free.clone()),
                None => return Ok(Err(Refused::NoTable)),
            },
        };
        found.push((table, of));
    }
    let Some((first, of_first)) = found.first() else { return Ok(Err(Refused::NoTable)) };
    if found.iter().any(|(_, of)| of.behind() != of_first.behind()) {
        return Ok(Err(Refused::Apart));
    }
    let mut granted = vec![];
    let stored: Arc<dyn TableProvider> = match opened_by(&found, stand) {
        Ok(Some(opened)) => Arc::new(opened),
        Ok(None) => {
            granted.extend(found.iter().filter_map(|(_, of)| match of {
                Of::Free(of) => {
                    let stored = Some(stand.name.as_str().into());
                    Some(Free { stored, reads: Arc::clone(&stand.reads), ..of.clone() })
                }
                Of::Opened(_) => None,
            }));
            Arc::clone(&stand.provider)
        }
        Err(refused) => return Ok(Err(refused)),
    };
    let since: Option<Arc<dyn TableProvider>> = match (&stand.since, of_first) {
        (None, _) => None,
        (Some((rows, _)), Of::Opened(opened)) => Some(Arc::new(over_other(opened, Arc::clone(rows)))),
        (Some((rows, reads)), Of::Free(of)) => {
            granted.push(Free { reads: Arc::clone(reads), ..of.clone() });
            Some(Arc::clone(rows))
        }
    };
    if since.is_some() && found.len() > 1 {
        return Err(Error::internal("rows that came since, of several tables"));
    }
    let named = |what: &str| TableReference::bare(format!("{}{what}{}", first.scan.table(), stand.name));
    let opened = |name: &TableReference, provider: &Arc<dyn TableProvider>| {
        LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::clone(provider)), None)?.build()
    };
    let mut own = vec![(named("+"), stored)];
    own.extend(since.map(|since| (named("~"), since)));
    let mut plans =
        own.iter().map(|(name, provider)| opened(name, provider)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let (Some(stored), since) = (plans.next(), plans.next()) else { return Ok(Err(Refused::NoTable)) };
    let plan = (stand.plan)(stored, since)?;
    own.extend(others);
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

/// The stored table under the rights that its tables are held by: its rows are let through by the same filters, asked of the
/// columns that they are grouped by. `None` where all of each is granted.
fn opened_by(found: &[(&Replaced, Of<'_>)], stand: &Stand) -> Result<Option<Opened>, Refused> {
    let held = || {
        found.iter().filter_map(|(table, of)| match of {
            Of::Opened(opened) => Some((*table, *opened)),
            Of::Free(_) => None,
        })
    };
    let Some((_, first)) = held().next() else { return Ok(None) };
    if held().any(|(_, opened)| opened.raw.is::<BodyTable>()) {
        return Err(Refused::NoTable);
    }
    let unseen = |opened: &Opened, column: &String| {
        let grant = &opened.grant;
        grant.masks.contains_key(column)
            || grant.hidden.contains(column)
            || opened.forbidden.contains(column)
            || raw_of(column).is_some()
    };
    if held().any(|(table, opened)| table.of.iter().any(|column| unseen(opened, column))) {
        return Err(Refused::Masked);
    }
    // a stored column that is read was computed from columns that are seen, of tables that the plan reads
    let is_seen = |column: &Column| {
        let of = found.iter().find(|(table, _)| column.relation.as_ref() == Some(&table.named));
        of.is_some_and(|(_, of)| match of {
            Of::Opened(opened) => !unseen(opened, &column.name),
            Of::Free(_) => true,
        })
    };
    for name in stand.columns.iter().filter(|name| stand.dimensions.iter().any(|(known, _)| known == *name)) {
        let mut ways = stand.dimensions.iter().filter(|(known, _)| known == name);
        if !ways.any(|(_, of)| of.column_refs().into_iter().all(is_seen)) {
            return Err(Refused::Masked);
        }
    }
    let schema = stand.provider.schema();
    let mut filter: Option<Expr> = None;
    let mut fired = BTreeSet::new();
    for (table, opened) in held() {
        fired.extend(opened.grant.fired.iter().cloned());
        let Some(of_table) = &opened.grant.filter else { continue };
        if table.is_padded {
            return Err(Refused::Padded);
        }
        let of_table = over_stored(of_table, (table, opened), stand, &schema)?;
        filter = Some(filter.map_or_else(|| of_table.clone(), |others| others.and(of_table.clone())));
    }
    let hidden = schema.fields().iter().map(|field| field.name()).filter(|name| !stand.columns.contains(*name));
    let hidden: BTreeSet<String> = hidden.cloned().collect();
    let grant = Grant { filter, masks: BTreeMap::new(), hidden, denied: BTreeSet::new(), fired };
    Ok(Some(Opened {
        table: first.table.clone(),
        raw: Arc::clone(&stand.provider),
        schema: grant.visible(&schema),
        grant: Arc::new(grant),
        forbidden: BTreeSet::new(),
        dataset: first.dataset.clone(),
        behind: first.behind.clone(),
    }))
}

/// The filter of a table's rows as one of groups: each of its columns must be one that they are grouped by, of the same type.
fn over_stored(
    filter: &Expr,
    (table, opened): (&Replaced, &Opened),
    stand: &Stand,
    schema: &SchemaRef,
) -> Result<Expr, Refused> {
    let raw = opened.raw.schema();
    let stored = |column: &Column| {
        let (name, _) = stand.dimensions.iter().find(|(_, of)| is_column(of, &table.named, &column.name))?;
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
fn is_column(e: &Expr, of: &TableReference, name: &str) -> bool {
    let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is = |column: &Column| column.relation.as_ref() == Some(of) && column.name == name;
    match e {
        Expr::Column(column) => is(column),
        Expr::Cast(cast) if text(cast.field.data_type()) => {
            matches!(cast.expr.as_ref(), Expr::Column(column) if is(column))
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

/// A scan by its name, and what it scans.
type Named = (TableReference, Arc<dyn TableProvider>);

fn scans_of(node: &LogicalPlan) -> Result<Vec<Named>> {
    let mut found = vec![];
    node.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.extend(provider_of(scan).map(|provider| (scan.table_name.clone(), provider)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// No scan stands in the plan but those that were opened for it, or stood there.
fn reads_only(plan: &LogicalPlan, own: &[Named]) -> Result<bool> {
    let mut only = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let found = provider_of(scan);
            let is = |(name, provider): &Named| {
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
