//! `TableProvider::scan` without `async_trait`, which gives the function bounds of its own: under them the compiler proves
//! again, type by type, that everything a provider and its filters reach can be sent to another thread. A provider writes
//! `scan_by!(method)` in its impl instead, and the method beside it.

use std::pin::Pin;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

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
