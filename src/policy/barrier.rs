//! What may pass below an opened scan: predicates on the leakproof list, and projections. Everything else that either
//! optimizer tries to move (filters, limits, sorts, statistics, equivalences, constants, metrics) stops here. It decides
//! nothing about rows; `open` filters them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PhysicalExpr, PlanProperties,
};
use futures::StreamExt;

use super::Grant;
use crate::error::{Error, Kind};
use crate::sql::lower;

/// A user's predicate that cannot raise an error, whatever the row: `operand op literal`, `IN (literals)`,
/// `IS [NOT] NULL`, a boolean operand, and AND, OR, NOT of these. An operand is a visible, unmasked column or a leakproof
/// function of operands and literals; a literal has exactly its operand's type. No cast but between texts, no
/// arithmetic. Applied after simplification.
pub fn leakproof(predicate: &Expr, visible: &Schema, grant: &Grant) -> bool {
    let again = |e: &Expr| leakproof(e, visible, grant);
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => again(left) && again(right),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                let types = (operand_type(left, visible, grant), literal_type(right));
                let swapped = (operand_type(right, visible, grant), literal_type(left));
                matches!(types, (Some(c), Some(l)) if c == l) || matches!(swapped, (Some(c), Some(l)) if c == l)
            }
            _ => false,
        },
        Expr::InList(list) => match operand_type(&list.expr, visible, grant) {
            Some(c) => list.list.iter().all(|item| literal_type(item).as_ref() == Some(&c)),
            None => false,
        },
        Expr::IsNull(e) | Expr::IsNotNull(e) => operand_type(e, visible, grant).is_some(),
        Expr::Not(e) => again(e),
        // `active = true` is simplified into the bare column before we are asked
        Expr::Column(_) | Expr::ScalarFunction(_) => operand_type(predicate, visible, grant) == Some(DataType::Boolean),
        _ => false,
    }
}

fn column_type(e: &Expr, visible: &Schema, grant: &Grant) -> Option<DataType> {
    match e {
        Expr::Column(c) if !grant.masks.contains_key(&c.name) => {
            visible.field_with_name(&c.name).ok().map(|f| f.data_type().clone())
        }
        _ => None,
    }
}

fn operand_type(e: &Expr, visible: &Schema, grant: &Grant) -> Option<DataType> {
    let again = |e: &Expr| operand_type(e, visible, grant);
    match e {
        Expr::ScalarFunction(call) if lower::is_leakproof(&call.func) => {
            let known = call.args.iter().all(|arg| again(arg).or_else(|| literal_type(arg)).is_some());
            let of_row = call.args.iter().any(|arg| again(arg).is_some());
            (known && of_row).then(|| call.func.inner().return_type(&[]).ok()).flatten()
        }
        // the same text as the language has it
        Expr::Cast(cast) => {
            let (from, to) = (again(&cast.expr)?, cast.field.data_type());
            (is_text(&from) && is_text(to)).then(|| to.clone())
        }
        _ => column_type(e, visible, grant),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn literal_type(e: &Expr) -> Option<DataType> {
    match e {
        Expr::Literal(value, _) => Some(value.data_type()),
        _ => None,
    }
}

/// What a barrier vouches for; `verify` compares it with what it finds below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// `schema.table` for the log.
    pub(crate) table: String,
    /// The policy filter's conjuncts, columns by name.
    pub(crate) filter: Vec<String>,
    pub(crate) below: Below,
}

/// What a barrier stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// A raw table. `behind`: the datasets that it is read through, where their reader has no right to all of it; the
    /// barrier of each stands above.
    Table { behind: Vec<String> },
    /// A dataset's body; its leaves are judged too.
    Body,
    /// The same, fenced off from what is filtered between it and the dataset's barrier.
    Fence,
}

/// Overrides nothing but what has no default, so that every push of DataFusion's stops here (each default is asserted by
/// a test: a version may change them). Its properties are its own: the child's would show the policy's constants.
#[derive(Debug)]
pub(crate) struct BarrierExec {
    inner: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    proof: Proof,
    properties: Arc<PlanProperties>,
}

impl BarrierExec {
    pub(crate) fn new(inner: Arc<dyn ExecutionPlan>, schema: SchemaRef, proof: Proof) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(inner.output_partitioning().partition_count()),
            inner.pipeline_behavior(),
            inner.boundedness(),
        ));
        Self { inner, schema, proof, properties }
    }

    pub(crate) fn inner(&self) -> &Arc<dyn ExecutionPlan> {
        &self.inner
    }

    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PolicyScan {}", self.proof.table)
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &str {
        "BarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.inner]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = children.pop().ok_or_else(|| DataFusionError::Internal("a barrier lost its child".into()))?;
        Ok(Arc::new(Self::new(inner, Arc::clone(&self.schema), self.proof.clone())))
    }

    /// The batches of the child under the visible schema; its errors without their text.
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        let rows = self.inner.execute(partition, context).map_err(silence)?;
        let rows = rows.map(move |batch| {
            let batch = batch.map_err(silence)?;
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            arrow::array::RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options)
                .map_err(|e| silence(e.into()))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }
}

/// What is raised below a barrier may speak of hidden rows: only errors of our own making, whose texts are fixed, keep
/// theirs; everything else becomes one sentence, and the original goes to the log by the source chain.
fn silence(error: DataFusionError) -> DataFusionError {
    let ours = Error::from(error);
    let kept = matches!(
        ours.kind(),
        Kind::SourceUnreachable
            | Kind::SourceFailed
            | Kind::DataGone
            | Kind::OutOfMemory
            | Kind::DiskFull
            | Kind::Cancelled
    );
    if kept {
        return ours.into();
    }
    Error::new(Kind::SourceFailed, "a table could not be read").with_source(ours).into()
}

#[cfg(test)]
mod tests;
