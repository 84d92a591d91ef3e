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
    let with_ours = theirs.iter().flat_map(|rule| {
        let ours = match rule.name() {
            "eliminate_cross_join" => Some(NullSafeKeysApart { of: Of::Inner }),
            "extract_equijoin_predicate" => Some(NullSafeKeysApart { of: Of::Filtered }),
            _ => None,
        };
        let ours = ours.map(|ours| Arc::new(ours) as Rule);
        ours.into_iter().chain([Arc::clone(rule)])
    });
    with_ours.collect()
}

/// `eliminate_cross_join` makes one of inner joins that stand on each other, and gives all their keys the uppermost one's
/// way with NULLs; `extract_equijoin_predicate` makes keys of conditions, and gives them the way of the keys that are there.
/// So keys by which NULL equals NULL are conditions while they run, of which the latter makes keys again where they are
/// alone.
#[derive(Debug)]
struct NullSafeKeysApart {
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Inner joins.
    Inner,
    /// Joins that have conditions beside their keys.
    Filtered,
}

impl OptimizerRule for NullSafeKeysApart {
    fn name(&self) -> &str {
        match self.of {
            Of::Inner => "null_safe_keys_apart",
            Of::Filtered => "null_safe_keys_beside_conditions_apart",
        }
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let concerns = |join: &Join| match self.of {
            Of::Inner => join.join_type == JoinType::Inner,
            Of::Filtered => join.filter.is_some(),
        };
        match plan {
            LogicalPlan::Join(join)
                if concerns(&join) && join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty() =>
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
