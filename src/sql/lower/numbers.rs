//! `generate_series` in FROM of what is the same for every row: a table whose rows are made batch by batch while they are
//! read, however many there are. One whose arguments are columns, parameters or subqueries is a list (`series`).

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as PlanResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::logical_plan::{SubqueryAlias, TableScanBuilder};
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, TableType};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties};

use super::function::environment;
use super::{Flow, Lower};
use crate::error::Result;
use crate::pgtype::{self, Ty};
use crate::scan::{Scanned, leaf_properties, scan_by};
use crate::sql::expr::Kind;
use crate::sql::functions::series::Series;
use crate::sql::image::Proc;
use crate::sql::kernel::{Arg, Call};
use crate::sql::query::FunctionCall;

/// A series with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct SeriesTable {
    proc: &'static Proc,
    /// They read no column, and are computed when the table is read.
    arguments: Vec<Lowered>,
    types: Vec<Ty>,
    ty: Ty,
    schema: SchemaRef,
}

impl<'a> Lower<'a> {
    /// The call as a table; `None` where it is none of that kind.
    pub(super) fn streamed(&mut self, call: &'a FunctionCall) -> Result<Option<Flow>> {
        let Kind::Call(series) = &call.expr.kind else { return Ok(None) };
        let [column] = call.columns.as_slice() else { return Ok(None) };
        if !Series::is(&series.proc.source) {
            return Ok(None);
        }
        let mut nothing = Flow::new(super::relation::one_row());
        let mut arguments = vec![];
        for argument in self.exprs(&mut nothing, &series.arguments)? {
            let reads = |e: &Lowered| {
                Ok(matches!(
                    e,
                    Lowered::Column(_)
                        | Lowered::OuterReferenceColumn(..)
                        | Lowered::Placeholder(_)
                        | Lowered::ScalarSubquery(_)
                        | Lowered::Exists(_)
                        | Lowered::InSubquery(_)
                        | Lowered::SetComparison(_)
                ))
            };
            if argument.exists(reads)? || argument.is_volatile() {
                return Ok(None);
            }
            arguments.push(argument);
        }
        let field = pgtype::field(&self.fresh_column(column.id), column.ty, column.data_type.clone());
        let table = SeriesTable {
            proc: series.proc,
            arguments,
            types: series.arguments.iter().map(|a| a.ty).collect(),
            ty: column.ty,
            schema: Arc::new(Schema::new(vec![field])),
        };
        let name = TableReference::bare(self.fresh(series.proc.name));
        let scan = TableScanBuilder::new(name.clone(), provider_as_source(Arc::new(table))).build()?;
        let scan = Arc::new(LogicalPlan::TableScan(scan));
        let mut flow = Flow::new(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(scan, name)?));
        let found: Option<Column> = flow.plan.schema().columns().pop();
        flow.columns.extend(found.map(|found| (column.id, found)));
        Ok(Some(flow))
    }
}

impl SeriesTable {
    pub(crate) fn arguments(&self) -> &[Lowered] {
        &self.arguments
    }

    fn field(&self) -> FieldRef {
        self.schema.fields().first().cloned().unwrap_or_else(|| Arc::new(Field::new("", self.ty_arrow(), true)))
    }

    fn ty_arrow(&self) -> arrow::datatypes::DataType {
        pgtype::arrow(self.ty.oid).unwrap_or(arrow::datatypes::DataType::Null)
    }

    fn start(&self, context: &TaskContext) -> Result<Option<Series>> {
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::clone(context.session_config().options()));
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let args = self.arguments.iter().map(|argument| {
            let expr = create_physical_expr(argument, &DFSchema::empty(), &props, &Default::default())?;
            Ok(Arg::constant(expr.evaluate(&row)?.into_array(1)?))
        });
        let (args, field) = (args.collect::<Result<Vec<_>>>()?, self.field());
        let env = environment(context.session_config().options());
        let call = Call { args: &args, types: &self.types, rows: 1, result: field.as_ref(), result_type: self.ty, env };
        Series::of(&self.proc.source, &call, 0)
    }
}

impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    scan_by!(scanned);
}

impl SeriesTable {
    fn scanned<'a>(
        &'a self,
        _: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        _: &'a [Lowered],
        _: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            // a query that counts rows asks for no column
            let counted = projection.is_some_and(Vec::is_empty);
            let schema = if counted { Arc::new(Schema::empty()) } else { self.schema() };
            let properties = leaf_properties(&schema, 1);
            let scan = SeriesExec { table: self.clone(), schema, properties };
            Ok(Arc::new(scan) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// The rows of a [`SeriesTable`]; with an empty schema their number alone.
#[derive(Debug)]
pub(crate) struct SeriesExec {
    table: SeriesTable,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.table.arguments.iter().map(ToString::to_string).collect();
        write!(f, "SeriesExec: {}({})", self.table.proc.name, arguments.join(", "))
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &'static str {
        "SeriesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let rows = context.session_config().batch_size();
        let mut series = self.table.start(&context)?;
        let (field, schema) = (self.table.field(), Arc::clone(&self.schema));
        let next = move || -> PlanResult<Option<RecordBatch>> {
            let Some(series) = &mut series else { return Ok(None) };
            let env = environment(context.session_config().options());
            let Some(values) = series.batch(rows, field.data_type(), env)? else { return Ok(None) };
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(values.len()));
            let columns = if schema.fields().is_empty() { vec![] } else { vec![values] };
            Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?))
        };
        let batches = futures::stream::iter(std::iter::from_fn({
            let mut next = next;
            move || next().transpose()
        }));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}
