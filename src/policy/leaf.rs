//! What the leaves of a guarded plan read, told to whoever must know two guarded plans apart. It opens nothing: it reads
//! what `guard` wrote.

use datafusion::datasource::DefaultTableSource;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::TableScan;

use super::Grant;
use super::body::BodyTable;
use super::open::Opened;
use crate::sql::lower::SeriesTable;
use crate::types::ObjectId;

/// A leaf by what it reads.
#[derive(Debug)]
pub(crate) enum Leaf<'a> {
    /// A table or a dataset; no grant stands for the full one.
    Object {
        id: ObjectId,
        grant: Option<&'a Grant>,
        /// Of a dataset with a barrier: the guarded body below.
        body: Option<&'a LogicalPlan>,
    },
    /// Rows that were computed for one session.
    System,
    /// What a source answers to a text.
    Query,
    /// The recursive term's view of its own query.
    WorkTable,
    /// generate_series, with its arguments.
    Series(&'a SeriesTable),
}

/// What stands behind the `#` in the name of a scan of such an answer.
pub(super) const QUERY: &str = "query";

/// `None` for a scan that no guarded plan can hold.
pub(crate) fn leaf(scan: &TableScan) -> Option<Leaf<'_>> {
    let provider = scan.source.downcast_ref::<DefaultTableSource>()?.table_provider.as_ref();
    if provider.is::<CteWorkTable>() {
        return Some(Leaf::WorkTable);
    }
    if let Some(series) = provider.downcast_ref::<SeriesTable>() {
        return Some(Leaf::Series(series));
    }
    let (named, kind) = scan.table_name.table().rsplit_once('#')?;
    if kind == "system" {
        return Some(Leaf::System);
    }
    if kind == QUERY {
        return Some(Leaf::Query);
    }
    let id = ObjectId(u64::from_str_radix(named, 16).ok()?);
    Some(match provider.downcast_ref::<Opened>() {
        Some(opened) => {
            let body = opened.raw.downcast_ref::<BodyTable>().map(BodyTable::plan);
            Leaf::Object { id, grant: Some(&opened.grant), body }
        }
        None => Leaf::Object { id, grant: None, body: None },
    })
}
