//! DataFusion's optimizer rules, and what must run between them for their answers to stay right.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Join, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// The same rules, with ours in their places.
pub(crate) fn rules(theirs: &[Rule]) -> Vec<Rule> {
    let apart: Rule = Arc::new(NullSafeKeysApart);
    let with_ours = theirs.iter().flat_map(|rule| match rule.name() {
        "eliminate_cross_join" => vec![Arc::clone(&apart), Arc::clone(rule)],
        _ => vec![Arc::clone(rule)],
    });
    with_ours.collect()
}

/// `eliminate_cross_join` makes one of inner joins that stand on each other, and gives all their keys the uppermost one's
/// way with NULLs. So keys by which NULL equals NULL are conditions while it runs; `extract_equijoin_predicate` makes keys
/// of them again.
#[derive(Debug)]
struct NullSafeKeysApart;

impl OptimizerRule for NullSafeKeysApart {
    fn name(&self) -> &str {
        "null_safe_keys_apart"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join)
                if join.join_type == JoinType::Inner
                    && join.null_equality == NullEquality::NullEqualsNull
                    && !join.on.is_empty() =>
            {
                let same = |(left, right)| binary_expr(left, Operator::IsNotDistinctFrom, right);
                let filter = conjunction(join.on.into_iter().map(same).chain(join.filter));
                let (on, null_equality) = (vec![], NullEquality::NullEqualsNothing);
                Ok(Transformed::yes(LogicalPlan::Join(Join { on, filter, null_equality, ..join })))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}
