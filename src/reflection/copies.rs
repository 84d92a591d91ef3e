//! A table whose rows are stored a second time, some columns of them, perhaps of some rows: which place answers is known when
//! its scan is, from the columns and conditions that are left by then. It has the table's schema and is read as the table is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown as Push, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::union::UnionExec;

use super::block::{Rows, condition};
use super::matching::range::implies;
use crate::scan::{Scanned, scan_by};
use crate::sql::lower::{self, rollup};
use crate::types::ObjectId;

/// One place in which rows are stored.
#[derive(Clone)]
pub struct Place {
    provider: Arc<dyn TableProvider>,
    /// Rows of the table that are not there yet, in its own columns.
    since: Option<Arc<dyn TableProvider>>,
    /// The table's columns that are there, by the stored column's place.
    columns: HashMap<String, usize>,
    /// The rows that are there, as conditions on this table.
    conditions: Vec<Expr>,
    table: ObjectId,
    /// They are chosen by.
    rows: u64,
    taken: Arc<AtomicBool>,
}

impl Place {
    pub fn new(
        provider: Arc<dyn TableProvider>,
        since: Option<Arc<dyn TableProvider>>,
        rows: u64,
        (table, stores): (ObjectId, &Rows),
    ) -> Self {
        let stored = stores.columns.iter().enumerate().filter_map(|(at, (_, e))| Some((own_column(e)?.to_owned(), at)));
        Self {
            provider,
            since,
            columns: stored.collect(),
            conditions: stores.conjuncts.clone(),
            table,
            rows,
            taken: Arc::default(),
        }
    }

    /// Whether a scan has been answered from here.
    pub fn taken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.taken)
    }

    /// Whether every row and column that the scan needs is here. A condition that can fail would not fail on rows that are
    /// not.
    fn holds(&self, needed: &[&str], filters: &[Expr], can_raise: bool) -> bool {
        let conditions: Vec<Expr> = filters.iter().filter_map(|filter| condition(filter, self.table)).collect();
        (self.conditions.is_empty() || !can_raise)
            && needed.iter().all(|column| self.columns.contains_key(*column))
            && self.conditions.iter().all(|wanted| implies(&conditions, wanted))
    }
}

/// A column as it is, or its text lying otherwise.
fn own_column(e: &Expr) -> Option<&str> {
    let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match e {
        Expr::Column(column) => Some(&column.name),
        Expr::Cast(cast) if text(cast.field.data_type()) => own_column(&cast.expr),
        _ => None,
    }
}

/// A table, and the places in which its rows are stored besides.
pub struct Copied {
    base: Arc<dyn TableProvider>,
    /// Those with the fewest rows first, then with the fewest columns.
    places: Vec<Place>,
}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copied").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl Copied {
    pub fn new(base: Arc<dyn TableProvider>, mut places: Vec<Place>) -> Self {
        places.sort_by_key(|place| (place.rows, place.columns.len()));
        Self { base, places }
    }
}

impl TableProvider for Copied {
    fn schema(&self) -> SchemaRef {
        self.base.schema()
    }

    fn table_type(&self) -> TableType {
        self.base.table_type()
    }

    fn statistics(&self) -> Option<Statistics> {
        self.base.statistics()
    }

    /// Each is asked for, so that the rows which a place needs are known, and each stays above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<Push>> {
        Ok(filters.iter().map(|filter| if filter.is_volatile() { Push::Unsupported } else { Push::Inexact }).collect())
    }

    scan_by!(scanned);
}

impl Copied {
    fn scanned<'a>(
        &'a self,
        state: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let schema = self.base.schema();
            let wanted = match projection {
                Some(columns) => Arc::new(schema.project(columns)?),
                None => Arc::clone(&schema),
            };
            let names = wanted.fields().iter().map(|field| field.name().as_str());
            let needed: Vec<&str> =
                names.chain(filters.iter().flat_map(Expr::column_refs).map(|c| c.name.as_str())).collect();
            let can_raise = filters.iter().any(lower::can_raise);
            for place in self.places.iter().filter(|place| place.holds(&needed, filters, can_raise)) {
                if let Some(plan) = stored(place, state, (&schema, &wanted), filters, limit).await? {
                    place.taken.store(true, Ordering::Relaxed);
                    let Some(since) = &place.since else { return Ok(plan) };
                    // conditions stay above, so that rows which the place leaves out go there
                    let newer = scan_of(since.as_ref(), state, projection, filters, limit).await?;
                    return UnionExec::try_new(vec![plan, newer]);
                }
            }
            scan_of(self.base.as_ref(), state, projection, filters, limit).await
        })
    }
}

/// A scan that is offered no more than its provider takes.
async fn scan_of(
    table: &dyn TableProvider,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let how = table.supports_filters_pushdown(&filters.iter().collect::<Vec<_>>())?;
    let offered = filters.iter().zip(how).filter(|(_, how)| *how != Push::Unsupported);
    let offered: Vec<Expr> = offered.map(|(filter, _)| filter.clone()).collect();
    table.scan(state, projection, &offered, limit).await
}

/// The columns of `wanted` from there. `None` where one is stored in a form that is not read.
async fn stored(
    place: &Place,
    state: &dyn Session,
    (base, wanted): (&SchemaRef, &SchemaRef),
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let schema = place.provider.schema();
    let at = |name: &str| place.columns.get(name).copied().filter(|at| *at < schema.fields().len());
    let Some(columns) = wanted.fields().iter().map(|field| at(field.name())).collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    // conditions stay above: those that read what is stored as it is may prune here too
    let asked: Vec<Expr> = filters.iter().filter_map(|filter| renamed(filter, place, &schema, base)).collect();
    let how = place.provider.supports_filters_pushdown(&asked.iter().collect::<Vec<_>>())?;
    let asked = asked.into_iter().zip(how).filter(|(_, how)| *how != Push::Unsupported);
    let asked: Vec<Expr> = asked.map(|(filter, _)| filter).collect();
    let mut projection = columns.clone();
    projection.sort_unstable();
    projection.dedup();
    let limit = limit.filter(|_| filters.is_empty() && place.conditions.is_empty());
    let plan = place.provider.scan(state, Some(&projection), &asked, limit).await?;
    let input = DFSchema::try_from(plan.schema())?;
    let mut shown = vec![];
    for (field, at) in wanted.fields().iter().zip(&columns) {
        let from = schema.field(*at);
        let value = rollup::as_planned(rollup::column(from.name()), from.data_type(), field);
        let Some(value) = value else { return Ok(None) };
        shown.push(ProjectionExpr::new(state.create_physical_expr(value, &input)?, field.name()));
    }
    let same = shown.len() == input.fields().len()
        && wanted
            .fields()
            .iter()
            .zip(input.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    Ok(Some(if same { plan } else { Arc::new(ProjectionExec::try_new(shown, plan)?) }))
}

/// A condition over the stored columns; `None` where one of them is not of the type that it was written for.
fn renamed(filter: &Expr, place: &Place, schema: &SchemaRef, base: &SchemaRef) -> Option<Expr> {
    let mut lost = false;
    let renamed = filter.clone().transform_up(|e| {
        let Expr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        let stored = place.columns.get(&column.name).and_then(|at| schema.fields().get(*at));
        let same = |stored: &arrow::datatypes::Field| {
            base.field_with_name(&column.name).is_ok_and(|field| field.data_type() == stored.data_type())
        };
        Ok(match stored {
            Some(stored) if same(stored) => Transformed::yes(Expr::Column(Column::from_name(stored.name()))),
            Some(_) | None => {
                lost = true;
                Transformed::no(e)
            }
        })
    });
    renamed.ok().map(|t| t.data).filter(|_| !lost)
}
