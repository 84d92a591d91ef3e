//! `TableProvider::scan` without `async_trait`, which gives the function bounds of its own: under them the compiler
//! proves again, type by type, that everything a provider and its filters reach can be sent to another thread. A provider
//! writes `scan_by!(method)` in its impl instead, and the method beside it. And what leaves of plans share: properties,
//! and shares of what is to be read. It reads nothing.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PlanProperties};

/// What a scan comes to.
pub(crate) type Scanned<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'a>>;

/// `scan` by a method of one lifetime: `fn method<'a>(&'a self, state, projection, filters, limit) -> Scanned<'a>`.
macro_rules! scan_by {
    ($method:ident) => {
        fn scan<'provider, 'state, 'projection, 'filters, 'scan>(
            &'provider self,
            state: &'state dyn datafusion::catalog::Session,
            projection: Option<&'projection Vec<usize>>,
            filters: &'filters [datafusion::logical_expr::Expr],
            limit: Option<usize>,
        ) -> crate::scan::Scanned<'scan>
        where
            'provider: 'scan,
            'state: 'scan,
            'projection: 'scan,
            'filters: 'scan,
            Self: 'scan,
        {
            self.$method(state, projection, filters, limit)
        }
    };
}
pub(crate) use scan_by;

/// Of a leaf whose rows come in no order, as they are read.
pub(crate) fn leaf_properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    ordered_leaf_properties(EquivalenceProperties::new(Arc::clone(schema)), partitions)
}

/// Of one whose rows come in these orders.
pub(crate) fn ordered_leaf_properties(orders: EquivalenceProperties, partitions: usize) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(partitions);
    Arc::new(PlanProperties::new(orders, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

/// What is to be read in groups of about the same size, at most so many. Large ones first make them more alike.
pub(crate) fn shares<T>(items: Vec<T>, count: usize, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let count = count.clamp(1, items.len().max(1));
    let mut shares: Vec<(u64, Vec<T>)> = (0..count).map(|_| (0, vec![])).collect();
    for item in items {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum = sum.saturating_add(size(&item));
            share.push(item);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}
