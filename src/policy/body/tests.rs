//! Which predicates go into a body, and that no other is seen there: over bodies as the optimizer leaves them.

use std::sync::Mutex;

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{cast as logical_cast, col, in_subquery, lit};
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::filter::FilterExec;

use super::*;

/// A table that remembers the predicates it was offered.
#[derive(Debug)]
struct Asked {
    table: MemTable,
    filters: Mutex<Vec<String>>,
}

#[async_trait]
impl TableProvider for Asked {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<Push>> {
        Ok(vec![Push::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.filters.lock().unwrap().extend(filters.iter().map(ToString::to_string));
        self.table.scan(state, projection, &[], None).await
    }
}

fn table() -> Arc<Asked> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("salary", DataType::Int32, true),
    ]));
    Arc::new(Asked { table: MemTable::try_new(schema, vec![vec![]]).unwrap(), filters: Mutex::default() })
}

fn state() -> SessionState {
    SessionStateBuilder::new().with_default_features().build()
}

fn scan(name: &str, table: &Arc<Asked>) -> LogicalPlanBuilder {
    let source = provider_as_source(Arc::clone(table) as Arc<dyn TableProvider>);
    LogicalPlanBuilder::scan(name, source, None).unwrap()
}

type Build = fn(LogicalPlanBuilder, LogicalPlanBuilder) -> Result<LogicalPlanBuilder>;

fn eu() -> Expr {
    col("t.region").eq(lit("EU"))
}

/// Fails on a row.
fn ratio() -> Expr {
    lit(1i32) / col("t.salary")
}

/// What a body is made of, the predicate of its reader, and whether that is seen at the table.
fn bodies() -> Vec<(&'static str, Build, Expr, bool)> {
    let id = || col("id").eq(lit(7i32));
    vec![
        ("a column", |t, _| t.filter(eu())?.project([col("t.id")]), id(), true),
        ("another name", |t, _| t.filter(eu())?.project([col("t.salary").alias("id")]), id(), true),
        ("an expression that cannot fail", |t, _| t.filter(eu())?.project([eu().alias("id")]), col("id"), true),
        ("an expression that can", |t, _| t.filter(eu())?.project([ratio().alias("id")]), id(), false),
        ("one beside it", |t, _| t.filter(eu())?.project([col("t.id"), ratio().alias("r")]), id(), true),
        (
            "one beside it, below a filter",
            |t, _| t.project([col("t.id"), ratio().alias("r")])?.filter(col("r").gt(lit(0i32)))?.project([col("id")]),
            id(),
            false,
        ),
        (
            "a filter that can fail",
            |t, _| t.filter(eu().and(ratio().gt(lit(0i32))))?.project([col("t.id")]),
            id(),
            false,
        ),
        (
            "a cast that can fail",
            |t, _| t.filter(logical_cast(col("t.region"), DataType::Int32).eq(lit(1i32)))?.project([col("t.id")]),
            id(),
            false,
        ),
        (
            "a cast of its own literal",
            |t, _| t.filter(col("t.salary").gt(lit(10i64)))?.project([col("t.id")]),
            id(),
            true,
        ),
        ("what is grouped by", |t, _| t.filter(eu())?.aggregate([col("t.id")], [sum(col("t.salary"))]), id(), true),
        (
            "what is counted",
            |t, _| t.aggregate([col("t.region")], [count(col("t.id")).alias("id")]),
            col("id").eq(lit(7i64)),
            false,
        ),
        (
            "below a HAVING",
            |t, _| {
                let groups = t.aggregate([col("t.id")], [sum(col("t.salary")).alias("s")])?;
                groups.filter(col("s").gt(lit(5i64)))?.project([col("id")])
            },
            id(),
            false,
        ),
        (
            "one side of a join",
            |t, u| {
                t.join_on(u.build()?, JoinType::Inner, [col("t.salary").eq(col("u.salary"))])?.project([col("t.id")])
            },
            id(),
            true,
        ),
        (
            "the key of a join",
            |t, u| t.join_on(u.build()?, JoinType::Inner, [col("t.id").eq(col("u.id"))])?.project([col("t.id")]),
            id(),
            true,
        ),
        (
            "the key of a join whose other side can fail",
            |t, u| {
                let u = u.filter((lit(1i32) / col("u.salary")).gt(lit(0i32)))?.build()?;
                t.join_on(u, JoinType::Inner, [col("t.id").eq(col("u.id"))])?.project([col("t.id")])
            },
            id(),
            false,
        ),
        (
            "a join that can fail",
            |t, u| {
                let on = ratio().eq(col("u.salary"));
                t.join_on(u.build()?, JoinType::Inner, [on])?.project([col("t.id")])
            },
            id(),
            false,
        ),
        (
            "a semi-join",
            |t, u| {
                let inner = Arc::new(u.project([col("u.id")])?.build()?);
                t.filter(in_subquery(col("t.id"), inner))?.project([col("t.id")])
            },
            id(),
            true,
        ),
        (
            "a union",
            |t, u| t.filter(eu())?.project([col("t.id")])?.union(u.project([col("u.id")])?.build()?),
            id(),
            true,
        ),
        ("distinct rows", |t, _| t.project([col("t.id")])?.distinct(), id(), true),
        ("a limit", |t, _| t.project([col("t.id")])?.limit(0, Some(5)), id(), false),
        (
            "the first rows in order",
            |t, _| t.project([col("t.id")])?.sort_with_limit([col("id").sort(true, false)], Some(3)),
            id(),
            false,
        ),
    ]
}

#[tokio::test]
async fn a_predicate_goes_into_a_body_only_where_it_can_fail_nowhere() {
    for (what, build, predicate, goes) in bodies() {
        let (t, u) = (table(), table());
        let body = build(scan("t", &t), scan("u", &u)).and_then(LogicalPlanBuilder::build).unwrap();
        // as `guard` names its columns
        let named: Vec<Expr> =
            body.schema().columns().into_iter().map(|c| Expr::Column(c.clone()).alias(c.name)).collect();
        let body = LogicalPlanBuilder::from(body).project(named).unwrap().build().unwrap();
        let body = BodyTable::new("v.eu".into(), body);
        let plan = body.scan(&state(), None, std::slice::from_ref(&predicate), None).await.unwrap();
        let seen = t.filters.lock().unwrap().join(" ");
        let moved = seen.contains("Int32(7)") || (what.contains("cannot") && !seen.is_empty());
        assert_eq!(moved, goes, "{what}: {seen}\n{}", displayable(plan.as_ref()).indent(false));
        assert!((plan.as_ref() as &dyn std::any::Any).is::<BarrierExec>(), "{what}: nothing else follows from above");
    }
}

/// What is filtered above a body stays there in the physical plan, whatever is pushed in it.
#[tokio::test]
async fn the_physical_optimizer_takes_nothing_into_a_body() {
    let t = table();
    let body = scan("t", &t).filter(eu()).unwrap().project([ratio().alias("r")]).unwrap().build().unwrap();
    let body = BodyTable::new("v.eu".into(), body);
    let state = state();
    let predicate = col("r").eq(lit(1i32));
    let below = body.scan(&state, None, std::slice::from_ref(&predicate), None).await.unwrap();
    let schema = datafusion::common::DFSchema::try_from(below.schema()).unwrap();
    let condition = state.create_physical_expr(predicate, &schema).unwrap();
    let mut plan: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(condition, below).unwrap());
    for rule in state.physical_optimizers() {
        plan = rule.optimize(plan, state.config_options()).unwrap();
    }
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let (above, inside) = shown.split_once("PolicyScan").unwrap();
    assert!(above.contains("r@0 = 1") && !inside.contains("= 1"), "{shown}");
}

/// Another precision than the declared one is brought to it: the plan above was made for that.
#[tokio::test]
async fn a_body_gives_the_types_it_was_declared_with() {
    let t = table();
    let state = state();
    let plan = scan("t", &t).project([col("t.salary").alias("a"), col("t.id")]).unwrap().build().unwrap();
    let plan = state.create_physical_plan(&plan).await.unwrap();
    let as_made =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("id", DataType::Int32, true)]));
    assert!(Arc::ptr_eq(&of_types(Arc::clone(&plan), &as_made).unwrap(), &plan));
    let declared = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Decimal128(31, 2), true),
        Field::new("id", DataType::Int32, true),
    ]));
    let brought = of_types(plan, &declared).unwrap();
    assert_eq!(brought.schema().field(0).data_type(), &DataType::Decimal128(31, 2));
    assert_eq!(brought.schema().field(1).data_type(), &DataType::Int32);
}
