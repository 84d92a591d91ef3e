//! The node that drops deleted rows: by their position in the file, by the values of their key. Which deletes apply to
//! which file was decided before; a filter from above passes through, since a deletion depends on the row alone.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanBufferBuilder, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_datafusion_err, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use roaring::RoaringTreemap;

use super::deletes::FileDeletes;

/// Rows of a scan that are not deleted.
#[derive(Debug)]
pub(super) struct LiveExec {
    scan: Arc<dyn ExecutionPlan>,
    checks: Arc<Checks>,
}

/// Where the scan has what the checks need.
#[derive(Debug)]
pub(super) struct Checks {
    /// The scan's files, by the number that the file column gives them.
    pub files: Vec<FileDeletes>,
    pub file_column: usize,
    /// Where a file's deletes name positions.
    pub position_column: Option<usize>,
    /// By group of keys: its columns.
    pub key_columns: Vec<Vec<usize>>,
}

impl LiveExec {
    pub(super) fn new(scan: Arc<dyn ExecutionPlan>, checks: Checks) -> Self {
        Self { scan, checks: Arc::new(checks) }
    }
}

impl Checks {
    fn live(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let file_numbers = batch.column(self.file_column).as_primitive_opt::<Int32Type>();
        let file_numbers = file_numbers.ok_or_else(|| internal_datafusion_err!("file numbers of another type"))?;
        let mut keep = BooleanBufferBuilder::new(rows);
        keep.append_n(rows, true);
        let (mut from, mut dropped) = (0, false);
        while let Some(number) = file_numbers.values().get(from) {
            let length = file_numbers.values()[from..].iter().take_while(|n| *n == number).count();
            let deletes = usize::try_from(*number).ok().and_then(|n| self.files.get(n));
            let deletes = deletes.ok_or_else(|| internal_datafusion_err!("a file that was not planned"))?;
            dropped |= self.of_file(deletes, &batch.slice(from, length), from, &mut keep)?;
            from += length;
        }
        match dropped {
            true => Ok(filter_record_batch(batch, &arrow::array::BooleanArray::new(keep.finish(), None))?),
            false => Ok(batch.clone()),
        }
    }

    /// Clears the bits of deleted rows in `keep`, where the rows stand from `at` on. Whether there were any.
    fn of_file(
        &self,
        deletes: &FileDeletes,
        rows: &RecordBatch,
        at: usize,
        keep: &mut BooleanBufferBuilder,
    ) -> Result<bool> {
        let mut dropped = false;
        if let Some(deleted) = &deletes.by_number {
            let positions = self.position_column.map(|i| rows.column(i));
            let positions = positions.and_then(|p| p.as_primitive_opt::<Int64Type>());
            let positions = positions.ok_or_else(|| internal_datafusion_err!("rows without their positions"))?;
            for row in rows_at(deleted.positions(), positions.values()) {
                keep.set_bit(at + row, false);
                dropped = true;
            }
        }
        for (group, keys) in &deletes.keys {
            let columns = self.key_columns.get(*group);
            let columns = columns.ok_or_else(|| internal_datafusion_err!("keys without their columns"))?;
            let columns: Vec<_> = columns.iter().map(|i| Arc::clone(rows.column(*i))).collect();
            for row in keys.deleted(&columns, deletes.sequence)? {
                keep.set_bit(at + row, false);
                dropped = true;
            }
        }
        Ok(dropped)
    }
}

/// The places in `positions` whose position is deleted. They ascend within a file; where they do not, each is looked up.
fn rows_at(deleted: &RoaringTreemap, positions: &[i64]) -> Vec<usize> {
    let position = |p: i64| u64::try_from(p).ok();
    let (Some(first), Some(last)) = (positions.first().copied(), positions.last().copied()) else { return vec![] };
    if !positions.is_sorted() {
        let found = positions.iter().enumerate();
        return found.filter(|(_, p)| position(**p).is_some_and(|p| deleted.contains(p))).map(|(i, _)| i).collect();
    }
    let (Some(first), Some(last)) = (position(first.max(0)), position(last)) else { return vec![] };
    let mut within = deleted.iter();
    within.advance_to(first);
    let within = within.take_while(|d| *d <= last).filter_map(|d| i64::try_from(d).ok());
    within.filter_map(|d| positions.binary_search(&d).ok()).collect()
}

impl DisplayAs for LiveExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("LakeLiveExec")
    }
}

impl ExecutionPlan for LiveExec {
    fn name(&self) -> &str {
        "LakeLiveExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.scan]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// The scan is split when it is made.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(scan), true) => Ok(Arc::new(Self { scan, checks: Arc::clone(&self.checks) })),
            _ => internal_err!("deletes have one scan"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// Nothing is exact of which rows are missing.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [scan] => Ok(Arc::new(scan.as_ref().clone().to_inexact())),
            _ => internal_err!("deletes have one scan"),
        }
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::all_unsupported(result))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let checks = Arc::clone(&self.checks);
        let rows = self.scan.execute(partition, context)?.map(move |batch| checks.live(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_positions_are_found_whatever_the_filter_below_left() {
        let deleted: RoaringTreemap = [0, 5, 6, 9, 1 << 40].into_iter().collect();
        for (positions, expect) in [
            (vec![], vec![]),
            (vec![0, 1, 2, 3, 4, 5, 6, 7], vec![0, 5, 6]),
            (vec![4, 6, 8, 9, 10], vec![1, 3]),
            (vec![9, 0, 7], vec![0, 1]),
            (vec![1 << 40], vec![0]),
            (vec![-1, 0], vec![1]),
            (vec![-2, -1], vec![]),
        ] {
            assert_eq!(rows_at(&deleted, &positions), expect, "{positions:?}");
        }
    }
}
