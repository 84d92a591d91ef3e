//! Rules between the optimizer's own that change nothing and end it when its statement's time is up: some of its rules take
//! their time, and there are many of them. A single rule that never ends is not ended.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::stop::Stop;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// Rules from one checkpoint to the next.
const STRIDE: usize = 4;

pub(super) fn between(rules: &[Rule], stop: &Stop) -> Vec<Rule> {
    let checkpoint: Rule = Arc::new(Checkpoint(stop.clone()));
    let strides = rules.chunks(STRIDE);
    strides.flat_map(|stride| stride.iter().cloned().chain([Arc::clone(&checkpoint)])).collect()
}

#[derive(Debug)]
struct Checkpoint(Stop);

impl OptimizerRule for Checkpoint {
    fn name(&self) -> &str {
        "checkpoint"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        self.0.check()?;
        Ok(Transformed::no(plan))
    }
}
