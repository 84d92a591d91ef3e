//! The leakproof list row by row; what a barrier hides of its child; DataFusion's defaults it relies on.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{cast, col, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPhase, PushedDown};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::*;
use crate::policy::fixture::{condition, declared};

fn visible() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("ssn", DataType::Utf8, true),
        Field::new("active", DataType::Boolean, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ])
}

#[test]
fn only_what_cannot_raise_an_error_passes() {
    let grant = Grant { masks: BTreeMap::from([("ssn".to_string(), lit("xxxx"))]), ..Grant::default() };
    let one = || lit(1i32);
    let rows = [
        (col("id").eq(one()), true),
        (one().lt(col("id")), true),
        (col("name").not_eq(lit("a")), true),
        (col("id").in_list(vec![one(), lit(2i32)], false), true),
        (col("id").in_list(vec![one()], true), true),
        (col("name").is_null(), true),
        (col("name").is_not_null().and(col("id").gt(one())), true),
        (col("id").eq(one()).or(col("id").eq(lit(2i32))), true),
        (Expr::Not(Box::new(col("active"))), true),
        (col("active"), true),
        // a type that is not exactly the column's, a cast, arithmetic
        (col("id").eq(lit(1i64)), false),
        (cast(col("id"), DataType::Int64).eq(lit(1i64)), false),
        ((col("id") + one()).eq(one()), false),
        ((one() / col("id")).eq(one()), false),
        (Expr::Negative(Box::new(col("id"))).eq(one()), false),
        // a masked column, an absent one, a bare column that is no boolean
        (col("ssn").eq(lit("S-1")), false),
        (col("ssn").is_null(), false),
        (col("note").eq(lit("x")), false),
        (col("id"), false),
        // functions, patterns, column against column
        (col("name").like(lit("a%")), false),
        (datafusion::functions::expr_fn::lower(col("name")).eq(lit("a")), false),
        (col("id").eq(col("id")), false),
        (col("id").in_list(vec![col("id")], false), false),
        (col("id").in_list(vec![lit(1i64)], false), false),
        // one leaky arm spoils the whole
        (col("id").eq(one()).or((one() / col("id")).eq(one())), false),
        (col("id").eq(one()).and(col("ssn").eq(lit("S"))), false),
        (lit(true), false),
        (lit(ScalarValue::Boolean(None)), false),
    ];
    let visible = visible();
    for (predicate, expected) in rows {
        assert_eq!(leakproof(&predicate, &visible, &grant), expected, "{predicate}");
    }
}

/// The same of conditions as the language lowers them.
#[test]
fn functions_pass_that_are_leakproof_and_were_read() {
    let masks = BTreeMap::from([("secret".to_string(), lit("xxxx"))]);
    let grant = Grant { masks, ..Grant::default() };
    let columns = "id int4, big int8, price numeric(10,2), any_price numeric, name text, code char(4), at timestamptz, \
                   span interval, address inet, doc jsonb, secret char(4), ok bool";
    let rows = [
        ("code = 'ab'", true),
        ("code IN ('a', 'b')", true),
        ("any_price > 5", true),
        ("span > '1 day' OR code IS NULL", true),
        ("starts_with(name, 'x') AND id = 1", true),
        ("NOT starts_with(name, 'x')", true),
        ("price < 5 AND big = 7 AND at > '2024-01-01'", true),
        // not leakproof for PostgreSQL, not read, of a masked column
        ("lower(name) = 'x'", false),
        ("length(name) = 3", false),
        ("address = '10.0.0.1'", false),
        ("doc = '{}'", false),
        ("secret = 'ab'", false),
        ("code = 'ab' OR secret = 'ab'", false),
        // something else on a side
        ("starts_with(name, name || 'x')", false),
        ("starts_with('x', 'x')", false),
        ("id = big", false),
        ("code::text = 'ab'", false),
    ];
    let visible = declared(columns);
    for (sql, expected) in rows {
        let (predicate, _) = condition(columns, sql);
        // as the optimizer asks, after constants were computed
        let schema = datafusion::common::DFSchema::try_from(visible.clone()).expect("columns");
        let bare = predicate.transform(|e| match e {
            Expr::Column(c) => Ok(Transformed::yes(Expr::Column(datafusion::common::Column::from_name(c.name)))),
            e => Ok(Transformed::no(e)),
        });
        let info = SimplifyContext::builder().with_schema(Arc::new(schema)).build();
        let simplified = ExprSimplifier::new(info).simplify(bare.expect("columns").data).expect("simpler");
        assert_eq!(leakproof(&simplified, &visible, &grant), expected, "{sql}: {simplified}");
    }
}

fn raw_table() -> Below {
    Below::Table { behind: vec![] }
}

fn over(inner: Arc<dyn ExecutionPlan>, table: &str, below: Below) -> Arc<dyn ExecutionPlan> {
    Arc::new(BarrierExec::new(inner, Arc::new(visible()), Proof { table: table.into(), filter: vec![], below }))
}

fn barrier(inner: Arc<dyn ExecutionPlan>) -> BarrierExec {
    BarrierExec::new(
        inner,
        Arc::new(visible()),
        Proof { table: "hr.emp".into(), filter: vec!["region@0 = EU".into()], below: raw_table() },
    )
}

/// A child that knows much: that every name is the same, how rows are ordered, that there are none.
fn knowing() -> Arc<dyn ExecutionPlan> {
    let visible = Arc::new(visible());
    let column = |n: &str| datafusion::physical_expr::expressions::col(n, &visible).expect("a column");
    let fixed = datafusion::physical_expr::expressions::lit("CNRY-policy");
    let same = datafusion::physical_expr::expressions::binary(column("name"), Operator::Eq, fixed, &visible);
    let child = EmptyExec::new(Arc::clone(&visible));
    let filter = FilterExec::try_new(same.expect("comparable"), Arc::new(child)).expect("a condition");
    let order = LexOrdering::new([PhysicalSortExpr::new_default(column("id"))]).expect("one column");
    Arc::new(SortExec::new(order, Arc::new(filter)))
}

#[test]
fn nothing_of_the_child_shows() {
    let child = knowing();
    assert!(!child.equivalence_properties().constants().is_empty() && child.output_ordering().is_some());
    assert!(child.metrics().is_some());
    let statistics = |plan: &dyn ExecutionPlan| StatisticsContext::new().compute(plan, &StatisticsArgs::new());
    assert_eq!(statistics(child.as_ref()).expect("known").num_rows.get_value(), Some(&0));
    let barrier = barrier(child);
    let shown = datafusion::physical_plan::displayable(&barrier as &dyn ExecutionPlan).one_line().to_string();
    assert_eq!(shown.trim(), "PolicyScan hr.emp");
    assert!(barrier.metrics().is_none());
    assert!(barrier.properties().equivalence_properties().constants().is_empty());
    assert!(barrier.properties().output_ordering().is_none());
    let known = statistics(&barrier).expect("nothing is known");
    assert_eq!(known.num_rows, Precision::Absent);
    assert!(known.column_statistics.iter().all(|c| *c == ColumnStatistics::new_unknown()));
}

/// Defaults of the trait, asserted because a version may change them.
#[test]
fn nothing_is_pushed_through() {
    let barrier = Arc::new(barrier(knowing()));
    assert!(!barrier.supports_limit_pushdown());
    assert!(barrier.with_fetch(Some(1)).is_none() && barrier.fetch().is_none());
    assert!(!barrier.maintains_input_order().iter().any(|kept| *kept));
    assert!(barrier.downcast_delegate().is_none());
    let visible = visible();
    let active = datafusion::physical_expr::expressions::col("active", &visible).expect("a column");
    for phase in [FilterPushdownPhase::Pre, FilterPushdownPhase::Post] {
        let options = datafusion::common::config::ConfigOptions::default();
        let pushed =
            barrier.gather_filters_for_pushdown(phase, vec![Arc::clone(&active)], &options).expect("an answer");
        let pushed = pushed.parent_filters();
        assert!(pushed.iter().flatten().all(|f| matches!(f.discriminant, PushedDown::No)), "{phase:?}");
        assert_eq!(pushed.len(), 1);
    }
    let order = [PhysicalSortExpr::new_default(Arc::clone(&active))];
    assert!(matches!(barrier.try_pushdown_sort(&order).expect("an answer"), SortOrderPushdownResult::Unsupported));
    let above =
        ProjectionExec::try_new([(active, "active".to_string())], Arc::clone(&barrier) as Arc<dyn ExecutionPlan>);
    assert!(barrier.try_swapping_with_projection(&above.expect("a column")).expect("an answer").is_none());
}

/// A child whose every error speaks of a hidden row.
#[derive(Debug)]
struct Telling(Arc<PlanProperties>);

impl Telling {
    fn new() -> Self {
        Self(Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(visible())),
            Partitioning::UnknownPartitioning(1),
            datafusion::physical_plan::execution_plan::EmissionType::Incremental,
            datafusion::physical_plan::execution_plan::Boundedness::Bounded,
        )))
    }
}

impl DisplayAs for Telling {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Telling")
    }
}

impl ExecutionPlan for Telling {
    fn name(&self) -> &str {
        "Telling"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.0
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }
    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = Arc::new(visible());
        let rows = futures::stream::iter([Err(DataFusionError::Execution(
            "Cannot cast string 'CNRY-secret' to Int32".into(),
        ))]);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[tokio::test]
async fn an_error_below_the_barrier_loses_its_text() {
    let barrier = barrier(Arc::new(Telling::new()));
    let mut rows = barrier.execute(0, Arc::new(TaskContext::default())).expect("it starts");
    let error = Error::from(rows.next().await.expect("one item").expect_err("which is an error"));
    assert_eq!(
        (error.kind(), error.message(), error.detail()),
        (Kind::SourceFailed, "a table could not be read", None)
    );
    assert!(!error.to_string().contains("CNRY"));
}

#[test]
fn a_raw_leaf_outside_a_barrier_is_refused_and_one_inside_is_not() {
    let raw = || Arc::new(Telling::new()) as Arc<dyn ExecutionPlan>;
    let verify = |plan: Arc<dyn ExecutionPlan>| super::super::verify::verify(&plan, &[]).map_err(Error::from);
    assert_eq!(verify(raw()).expect_err("bare").kind(), Kind::Internal);
    // the policy filter that the barrier vouches for is not below it
    assert_eq!(verify(Arc::new(barrier(raw()))).expect_err("no filter").kind(), Kind::Internal);
    assert!(verify(over(raw(), "hr.emp", raw_table())).is_ok());
    // a dataset's body answers for its own leaves
    assert!(verify(over(raw(), "hr.view", Below::Body)).is_err());
    assert!(verify(over(raw(), "hr.view", Below::Fence)).is_err());
    let beside = datafusion::physical_plan::union::UnionExec::try_new(vec![
        Arc::new(EmptyExec::new(Arc::new(visible()))) as Arc<dyn ExecutionPlan>,
        raw(),
    ]);
    assert!(verify(beside.expect("one schema")).is_err());
}

/// What is read through a dataset by somebody without a right to all of it stands below that dataset's barrier, and of
/// each dataset on the way.
#[test]
fn a_table_read_through_a_dataset_outside_its_barrier_is_refused() {
    let raw = || Arc::new(Telling::new()) as Arc<dyn ExecutionPlan>;
    let verify = |plan: Arc<dyn ExecutionPlan>| super::super::verify::verify(&plan, &[]).map_err(Error::from);
    let behind = |names: &[&str]| Below::Table { behind: names.iter().map(ToString::to_string).collect() };
    let table = |names: &[&str]| over(raw(), "hr.emp", behind(names));
    assert_eq!(verify(table(&["v.eu"])).expect_err("bare").kind(), Kind::Internal);
    assert!(verify(over(table(&["v.eu"]), "v.eu", Below::Body)).is_ok());
    assert!(verify(over(table(&["v.eu"]), "v.us", Below::Body)).is_err());
    // a fence lets predicates of the caller's stand above it
    assert!(verify(over(table(&["v.eu"]), "v.eu", Below::Fence)).is_err());
    let fenced = over(table(&["v.eu"]), "v.eu", Below::Fence);
    assert!(verify(over(fenced, "v.eu", Below::Body)).is_ok());
    let both = || table(&["v.outer", "v.eu"]);
    assert!(verify(over(both(), "v.eu", Below::Body)).is_err());
    assert!(verify(over(over(both(), "v.eu", Below::Body), "v.outer", Below::Body)).is_ok());
    // beside the barrier is not below it
    let beside = datafusion::physical_plan::union::UnionExec::try_new(vec![
        over(table(&["v.eu"]), "v.eu", Below::Body),
        table(&["v.eu"]),
    ]);
    assert!(verify(beside.expect("one schema")).is_err());
}
