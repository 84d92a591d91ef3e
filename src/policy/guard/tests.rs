//! A sealed scan inside every kind of plan node and every place a subquery can stand: opened, or the plan is refused.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, Int64Array, ListArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionDefinition, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::{CreateView, DdlStatement, DescribeTable, Extension, Subquery};
use datafusion::logical_expr::{
    DmlStatement, JoinType, Partitioning, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, WriteOp, cast, col,
    dml::InsertOp, exists, in_subquery, lit, scalar_subquery,
};
use datafusion::physical_plan::streaming::StreamingTableExec;

use super::nodes::each_node;
use super::*;
use crate::policy::fixture::{EXAMPLE, Tables, id, lowered, objects, policies, schema, session};
use crate::sql::lower::{Mark, Once, computing_inside};
use crate::types::Share;

fn object(name: &str) -> Arc<Object> {
    Arc::new(objects().objects.into_iter().find(|o| o.id == id(name)).unwrap())
}

fn grant(policy: &SessionPolicy, name: &str) -> Arc<Grant> {
    match policy.decide(id(name), Action::Select) {
        Decision::Allow(grant) => grant,
        Decision::Deny => panic!("{name} is not granted"),
    }
}

/// As the resolver hands it out.
fn sealed(policy: &SessionPolicy, name: &str) -> LogicalPlan {
    let source = Sealed::object(object(name), &grant(policy, name));
    LogicalPlanBuilder::scan(name, source, None).unwrap().build().unwrap()
}

/// Every table of the fixture, pinned as a lake's would be (`free`) or as memory.
fn pins(free: bool) -> Pins {
    let mut pins = Pins::default();
    for object in objects().objects {
        let raw: Arc<dyn TableProvider> = if free {
            Arc::new(datafusion::datasource::empty::EmptyTable::new(Arc::clone(&object.schema)))
        } else {
            Arc::new(MemTable::try_new(Arc::clone(&object.schema), vec![vec![]]).unwrap())
        };
        pins.insert(
            object.id,
            Version::Fixed(1),
            raw,
            Arc::new(|leaf| (leaf.name() == "free leaf").then_some(Share::WHOLE)),
        );
    }
    pins
}

fn open_with(plan: LogicalPlan, policy: &SessionPolicy, bodies: HashMap<ObjectId, DatasetBody>) -> Result<Guarded> {
    guard(plan, &Opening { policy, pins: &pins(false), bodies: &bodies })
}

fn open(plan: LogicalPlan, policy: &SessionPolicy) -> Result<Guarded> {
    open_with(plan, policy, HashMap::new())
}

fn alice() -> SessionPolicy {
    session(&policies(EXAMPLE), "alice")
}

/// (sealed scans, scans opened under a grant)
fn scans(plan: &LogicalPlan) -> (usize, usize) {
    let mut opened = 0;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = scan.source.downcast_ref::<DefaultTableSource>()
            && source.table_provider.is::<Opened>()
        {
            opened += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    (count_sealed(plan).unwrap(), opened)
}

fn from(policy: &SessionPolicy) -> LogicalPlanBuilder {
    LogicalPlanBuilder::from(sealed(policy, "sales.orders"))
}

/// A subquery over the restricted table, of one column.
fn inner(policy: &SessionPolicy) -> Arc<LogicalPlan> {
    let plan = LogicalPlanBuilder::from(sealed(policy, "crm.customers")).project([col("customer_id")]).unwrap();
    Arc::new(plan.build().unwrap())
}

fn one_row() -> LogicalPlanBuilder {
    LogicalPlanBuilder::empty(true)
}

/// An array column, for Unnest.
fn list() -> Expr {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)])]);
    lit(ScalarValue::List(Arc::new(list)))
}

fn row_number(argument: Expr) -> Expr {
    let function = datafusion::functions_window::expr_fn::row_number();
    let Expr::WindowFunction(function) = function else { panic!("row_number is a window function") };
    let WindowFunction { fun, .. } = *function;
    let params = WindowFunctionParams {
        args: vec![],
        partition_by: vec![argument],
        order_by: vec![],
        window_frame: datafusion::logical_expr::WindowFrame::new(None),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun: WindowFunctionDefinition = fun;
    Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
}

/// Kind of node, a plan in which sealed scans stand in it, how many of them.
fn every_node(alice: &SessionPolicy) -> Vec<(&'static str, LogicalPlan, usize)> {
    let table = || from(alice);
    let sub = || inner(alice);
    let scalar = || scalar_subquery(sub());
    let id = || col("sales.orders.order_id");
    let sum = || datafusion::functions_aggregate::expr_fn::sum(id());
    let rows: Vec<(&'static str, datafusion::common::Result<LogicalPlanBuilder>, usize)> = vec![
        ("TableScan", Ok(table()), 1),
        ("Projection", table().project([id()]), 1),
        ("Projection", one_row().project([scalar().alias("x")]), 1),
        ("Projection", table().project([scalar() + id()]), 2),
        ("Filter", table().filter(id().gt(lit(1i64))), 1),
        ("Filter", table().filter(exists(sub())), 2),
        ("Filter", table().filter(in_subquery(id(), sub())), 2),
        ("Filter", table().filter(id().eq(scalar())), 2),
        ("Filter", table().filter(exists(sub()).or(Expr::Not(Box::new(exists(sub()))))), 3),
        ("Filter", table().filter(cast(scalar(), DataType::Boolean)), 2),
        ("Window", table().window([row_number(id())]), 1),
        ("Window", table().window([row_number(scalar())]), 2),
        ("Aggregate", table().aggregate([col("sales.orders.region")], [sum()]), 1),
        ("Aggregate", table().aggregate([scalar().alias("k")], [sum()]), 2),
        ("Sort", table().sort([id().sort(true, false)]), 1),
        ("Sort", table().sort([(id() + scalar()).sort(true, false)]), 2),
        ("Join", table().cross_join(sealed(alice, "sales.products")), 2),
        ("Join", table().join_on(sealed(alice, "crm.customers"), JoinType::Full, [id().eq(col("customer_id"))]), 2),
        ("Join", table().join_on(sealed(alice, "crm.customers"), JoinType::LeftAnti, [id().eq(scalar())]), 3),
        ("Union", table().project([id()]).and_then(|p| p.union(sub().as_ref().clone())), 2),
        ("EmptyRelation", Ok(one_row()), 0),
        ("SubqueryAlias", table().alias("x"), 1),
        ("Limit", table().limit(1, Some(2)), 1),
        ("Limit", table().limit_by_expr(Some(scalar()), Some(scalar())), 3),
        ("Values", LogicalPlanBuilder::values(vec![vec![lit(1i64)], vec![scalar()]]), 1),
        ("Distinct", table().distinct(), 1),
        ("Distinct", table().distinct_on(vec![id()], vec![id() + scalar()], None), 2),
        ("Unnest", table().project([list().alias("a"), id()]).and_then(|p| p.unnest_column("a")), 1),
        (
            "RecursiveQuery",
            table().project([id()]).and_then(|p| p.to_recursive_query("r".into(), sub().as_ref().clone(), false)),
            2,
        ),
        ("Subquery", lateral(alice), 2),
        ("Extension", table().build().map(|plan| LogicalPlanBuilder::from(Once::marked("o", plan))), 1),
    ];
    rows.into_iter().map(|(kind, plan, n)| (kind, plan.and_then(LogicalPlanBuilder::build).unwrap(), n)).collect()
}

/// As the planner writes `JOIN LATERAL`.
fn lateral(alice: &SessionPolicy) -> datafusion::common::Result<LogicalPlanBuilder> {
    let subquery =
        Subquery { subquery: inner(alice), outer_ref_columns: vec![], spans: datafusion::common::Spans::new() };
    from(alice).cross_join(LogicalPlan::Subquery(subquery))
}

/// What a source answers to a text, as the resolver hands it out.
fn answer(source: &str, text_hash: u64) -> LogicalPlan {
    let columns = schema(&[("region", DataType::Utf8), ("total", DataType::Float64)]);
    let provider = Arc::new(datafusion::datasource::empty::EmptyTable::new(Arc::new(columns)));
    let reads: Reads = Arc::new(|leaf| (leaf.name() == "free leaf").then_some(Share::WHOLE));
    let sealed = Sealed::query(Query { source: source.into(), text_hash, provider, reads });
    LogicalPlanBuilder::scan("postgres_query", sealed, None).unwrap().build().unwrap()
}

#[test]
fn an_answer_is_opened_by_the_right_to_query_its_source_and_through_no_dataset() {
    let csv = format!("{EXAMPLE}p, analyst, source:crm, query, allow\np, hr, source:crm, query, deny\n");
    let policies = policies(&csv);
    let alice = session(&policies, "alice");
    let guarded = open(answer("crm", 1), &alice).unwrap();
    assert_eq!(guarded.opened().iter().map(|o| o.source.as_deref()).collect::<Vec<_>>(), [Some("crm")]);
    assert!(guarded.opened()[0].holds(&policies, &alice));
    // hr is an analyst too, and dora selects from every table
    for (user, source) in [("bob", "crm"), ("dora", "crm"), ("ann", "crm"), ("alice", "erp"), ("alice", "nowhere")] {
        let session = session(&policies, user);
        let error = open(answer(source, 1), &session).expect_err(user);
        assert_eq!(error.kind(), Kind::PermissionDenied, "{user} {source}");
        assert_eq!(error.message(), format!("permission denied to query source \"{source}\""));
        assert!(source != "crm" || !guarded.opened()[0].holds(&policies, &session), "{user}");
    }
    let body = DatasetBody { plan: answer("crm", 1), owner: alice.clone() };
    let bodies = HashMap::from([(id("reports.revenue"), body)]);
    let dora = session(&policies, "dora");
    let through = open_with(sealed(&dora, "reports.revenue"), &dora, bodies);
    assert_eq!(through.map(|_| ()).unwrap_err().kind(), Kind::PermissionDenied);
    // an optimizer may take two scans of one name for one
    let name = |plan| {
        let mut found = String::new();
        let guarded = open(plan, &alice).unwrap();
        let visited = guarded.plan().apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                found = scan.table_name.to_string();
            }
            Ok(TreeNodeRecursion::Continue)
        });
        visited.unwrap();
        found
    };
    assert_ne!(name(answer("crm", 1)), name(answer("crm", 2)));
    assert_eq!(name(answer("crm", 1)), name(answer("crm", 1)));
}

#[test]
fn a_sealed_scan_is_opened_in_every_kind_of_node() {
    let alice = alice();
    let mut kinds = BTreeSet::new();
    for (kind, plan, n) in every_node(&alice) {
        assert_eq!(scans(&plan), (n, 0), "{kind}: {}", plan.display_indent());
        let guarded = open(plan, &alice).unwrap_or_else(|e| panic!("{kind}: {e:?}"));
        assert_eq!(scans(guarded.plan()), (0, n), "{kind}: {}", guarded.plan().display_indent());
        assert_eq!(guarded.opened().len(), n, "{kind}");
        kinds.insert(kind);
    }
    // one for each kind that `allowed` lets through
    assert_eq!(kinds.len(), 17, "{kinds:?}");
}

/// A node of somebody's making that keeps a plan where nobody looks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Hiding(LogicalPlan);

impl PartialOrd for Hiding {
    fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for Hiding {
    fn name(&self) -> &str {
        "Hiding"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }
    fn schema(&self) -> &datafusion::common::DFSchemaRef {
        self.0.schema()
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Hiding")
    }
    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> datafusion::common::Result<Self> {
        Ok(Self(self.0.clone()))
    }
}

#[test]
fn a_plan_with_any_other_node_is_refused() {
    let alice = alice();
    let table = sealed(&alice, "sales.orders");
    let input = || Arc::new(table.clone());
    let schema = Arc::clone(table.schema());
    let explained = |analyze| LogicalPlanBuilder::from(table.clone()).explain(true, analyze).unwrap().build().unwrap();
    let hiding: Arc<dyn UserDefinedLogicalNode> = Arc::new(Hiding(table.clone()));
    let target = Sealed::object(object("sales.orders"), &grant(&alice, "sales.orders"));
    let view = CreateView { name: "v".into(), input: input(), or_replace: false, definition: None, temporary: false };
    let rows = [
        LogicalPlanBuilder::from(table.clone()).repartition(Partitioning::RoundRobinBatch(2)).unwrap().build().unwrap(),
        LogicalPlanBuilder::from(table.clone()).prepare("p".into(), vec![]).unwrap().build().unwrap(),
        explained(false),
        explained(true),
        LogicalPlan::Extension(Extension { node: hiding }),
        LogicalPlan::Dml(DmlStatement::new("sales.orders".into(), target, WriteOp::Insert(InsertOp::Append), input())),
        LogicalPlan::Ddl(DdlStatement::CreateView(view)),
        LogicalPlan::DescribeTable(DescribeTable {
            schema: Arc::new(Schema::empty()),
            output_schema: Arc::clone(&schema),
        }),
    ];
    for plan in rows {
        let refused = open(plan.clone(), &alice).expect_err("it is not on the list");
        assert_eq!(refused.kind(), Kind::Internal, "{}", plan.display());
        // and below something harmless
        let below = LogicalPlanBuilder::from(plan.clone()).limit(0, Some(1)).unwrap().build().unwrap();
        assert_eq!(open(below, &alice).expect_err("nor here").kind(), Kind::Internal, "{}", plan.display());
    }
}

/// Every table that a statement reads is opened, wherever unnesting took the subquery that reads it.
#[test]
fn every_table_of_an_unnested_subquery_is_opened() {
    let alice = alice();
    let tables = ["sales.orders", "sales.products", "crm.customers"];
    let tables = Tables(
        tables.map(|name| (name.to_owned(), Sealed::object(object(name), &grant(&alice, name)))).into_iter().collect(),
    );
    let [o, c, p] = ["sales.orders o", "crm.customers c", "sales.products p"];
    let statements = [
        format!("SELECT 1 FROM {o} WHERE EXISTS (SELECT 1 FROM {c} WHERE c.region = o.region)"),
        format!("SELECT 1 FROM {o} WHERE NOT EXISTS (SELECT 1 FROM {c} WHERE c.region = o.region)"),
        format!("SELECT 1 FROM {o} WHERE o.region IN (SELECT region FROM {c})"),
        format!("SELECT 1 FROM {o} WHERE o.region NOT IN (SELECT region FROM {c} WHERE c.country = o.status)"),
        format!("SELECT 1 FROM {o} WHERE o.order_id > ALL (SELECT customer_id FROM {c} WHERE c.region = o.region)"),
        format!("SELECT (SELECT max(customer_id) FROM {c} WHERE c.region = o.region) FROM {o}"),
        format!("SELECT (SELECT customer_id FROM {c} WHERE c.region = o.region LIMIT 1) FROM {o}"),
        format!("SELECT EXISTS (SELECT 1 FROM {c} WHERE c.region = o.region) FROM {o}"),
        format!("SELECT ARRAY(SELECT c.email FROM {c} WHERE c.region = o.region) FROM {o}"),
        format!("SELECT sum((SELECT count(*) FROM {c} WHERE c.region = o.region)) FROM {o}"),
        format!(
            "SELECT 1 FROM {o} WHERE (SELECT (SELECT count(*) FROM {p} WHERE p.name = o.status) FROM {c} LIMIT 1) = 1"
        ),
        format!("SELECT 1 FROM {o}, LATERAL (SELECT * FROM {c} WHERE c.region = o.region LIMIT 1) x"),
        format!(
            "SELECT 1 FROM {o} LEFT JOIN LATERAL (SELECT count(*) AS n FROM {c} WHERE c.region = o.region) x ON n > 1"
        ),
        format!("SELECT 1 FROM {o} LEFT JOIN {p} ON p.name IN (SELECT email FROM {c})"),
        format!("SELECT 1 FROM {o} ORDER BY (SELECT max(email) FROM {c} WHERE c.region = o.region)"),
        format!("SELECT 1 FROM {o} GROUP BY o.region HAVING EXISTS (SELECT 1 FROM {c} WHERE c.region = o.region)"),
        format!("SELECT 1 FROM {o} LIMIT (SELECT count(*) FROM {c})"),
        format!("SELECT 1 FROM {o} WHERE CASE WHEN EXISTS (SELECT 1 FROM {c}) THEN o.paid ELSE true END"),
        format!("WITH x AS (SELECT region FROM {c}) SELECT 1 FROM {o} WHERE region IN (SELECT region FROM x)"),
        format!("SELECT 1 FROM {o} WHERE region IN (SELECT region FROM {c} UNION ALL SELECT name FROM {p})"),
        format!(
            "WITH RECURSIVE r(id) AS (SELECT order_id FROM {o} UNION ALL SELECT id + 1 FROM r WHERE id IN (SELECT customer_id FROM {c})) \
             SELECT id FROM r"
        ),
        format!("SELECT 1 FROM {o}, (VALUES ((SELECT max(region) FROM {c}))) v(x) WHERE o.region = v.x"),
        format!("SELECT generate_series(1, (SELECT count(*) FROM {c})) FROM {o}"),
        format!("SELECT 1 FROM {o}, generate_series(1, (SELECT count(*) FROM {c}))"),
        format!("SELECT 1 FROM {o}, generate_series(1, CASE WHEN EXISTS (SELECT 1 FROM {c}) THEN 2 END)"),
        format!("SELECT 1 FROM {o}, generate_series(1, CASE WHEN 'x' IN (SELECT region FROM {c}) THEN 2 END)"),
    ];
    for sql in &statements {
        let plan = lowered(sql, &tables).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let read = |wanted: &str| sql.contains(wanted);
        let guarded = open(plan, &alice).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(scans(guarded.plan()).0, 0, "{sql}");
        let opened: BTreeSet<String> = guarded.opened().iter().map(|o| o.name.to_string()).collect();
        let expected: BTreeSet<String> =
            tables.0.iter().map(|(name, _)| name.clone()).filter(|name| read(name)).collect();
        assert_eq!(opened, expected, "{sql}");
        // nothing else is read either
        let names = scan_names(guarded.plan());
        assert!(names.iter().all(|name| name.contains('#') || name == "r"), "{sql}: {names:?}");
    }
}

/// An array's elements are computed by a function that holds an expression: no query hides in it.
#[test]
fn a_query_inside_a_function_is_refused() {
    let alice = alice();
    let list =
        || lit(ScalarValue::List(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]))));
    let plan = |inside: Expr| {
        let call = computing_inside(inside, list()).alias("x");
        one_row().project([call]).unwrap().build().unwrap()
    };
    open(plan(cast(col("c"), DataType::Int64)), &alice).unwrap();
    for hidden in [scalar_subquery(inner(&alice)), exists(inner(&alice)), in_subquery(col("c"), inner(&alice))] {
        let deeper = computing_inside(cast(hidden.clone(), DataType::Int64), list());
        for inside in [hidden, deeper] {
            assert_eq!(open(plan(inside), &alice).expect_err("hidden").kind(), Kind::Internal);
        }
    }
}

#[test]
fn a_scan_that_is_not_sealed_is_refused() {
    let alice = alice();
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = arrow::array::RecordBatch::try_from_iter([("a", rows)]).unwrap();
    let raw = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    let raw = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(raw)), None).unwrap().build().unwrap();
    assert_eq!(open(raw.clone(), &alice).expect_err("bare").kind(), Kind::Internal);
    let hidden = one_row().project([scalar_subquery(Arc::new(raw))]).unwrap().build().unwrap();
    assert_eq!(open(hidden, &alice).expect_err("in a subquery").kind(), Kind::Internal);
}

/// Pushed filters and a limit would be read as the session's, though nobody judged them.
#[test]
fn a_plan_that_went_through_the_optimizer_is_refused() {
    let alice = alice();
    let LogicalPlan::TableScan(scan) = sealed(&alice, "sales.orders") else { panic!("a scan") };
    let narrowed = LogicalPlanBuilder::scan("t", Arc::clone(&scan.source), Some(vec![0])).unwrap().build().unwrap();
    let filtered = TableScan { filters: vec![col("order_id").eq(lit(1i64))], ..scan.clone() };
    let limited = TableScan { fetch: Some(1), ..scan };
    for plan in [narrowed, LogicalPlan::TableScan(filtered), LogicalPlan::TableScan(limited)] {
        assert_eq!(open(plan, &alice).expect_err("too late").kind(), Kind::Internal);
    }
}

#[test]
fn a_right_that_went_since_the_statement_was_planned_is_asked_for_again() {
    let before = alice();
    let plan = sealed(&before, "sales.orders");
    let column = format!("{EXAMPLE}p, analyst, sales.orders/status, select, deny\n");
    let table = format!("{EXAMPLE}p, analyst, sales.orders, select, deny\n");
    let kind = |csv: &str| open(plan.clone(), &session(&policies(csv), "alice")).map(|_| ()).map_err(|e| e.kind());
    assert_eq!(kind(&column), Err(Kind::CachedPlanChanged));
    assert_eq!(kind(&table), Err(Kind::UndefinedTable));
    // a column shown since is as much of a change
    let fewer = EXAMPLE.replace("p, analyst, sales.*/internal_note, select, deny\n", "");
    assert_eq!(kind(&fewer), Err(Kind::CachedPlanChanged));
    // another filter is not: the guard puts in the one of now
    let filtered = EXAMPLE.replace("\"region = user.region\"", "\"status = 'open'\"");
    assert_eq!(kind(&filtered), Ok(()));
    assert_eq!(kind(EXAMPLE), Ok(()));
}

#[test]
fn a_table_nobody_pinned_and_a_body_nobody_planned_are_our_faults() {
    let policies = policies(&format!("{EXAMPLE}p, analyst, reports.*, select, allow\n"));
    let alice = session(&policies, "alice");
    let none = (Pins::default(), HashMap::new());
    for name in ["sales.orders", "reports.revenue"] {
        let opening = Opening { policy: &alice, pins: &none.0, bodies: &none.1 };
        assert_eq!(guard(sealed(&alice, name), &opening).expect_err(name).kind(), Kind::Internal);
    }
}

/// Names of scans, those in the bodies of datasets included.
fn scan_names(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_node(plan, &mut |node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.insert(scan.table_name.to_string());
        }
    })
    .unwrap();
    names
}

/// reports.revenue over `inner`, as its owner made it.
fn revenue(owner: &SessionPolicy, inner: LogicalPlan) -> HashMap<ObjectId, DatasetBody> {
    let owner = owner.clone();
    let body = LogicalPlanBuilder::from(inner).project([
        lit(ScalarValue::Utf8View(Some("EU".into()))).alias("region"),
        lit(ScalarValue::Float64(None)).alias("total"),
    ]);
    HashMap::from([(id("reports.revenue"), DatasetBody { plan: body.unwrap().build().unwrap(), owner })])
}

/// Datasets behind whose barrier each table stands; a dataset's scan has none.
fn barriers(guarded: &Guarded) -> usize {
    let mut bodies = 0;
    each_node(guarded.plan(), &mut |node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = scan.source.downcast_ref::<DefaultTableSource>()
            && let Some(opened) = source.table_provider.downcast_ref::<Opened>()
        {
            bodies += usize::from(opened.raw.is::<BodyTable>());
        }
    })
    .unwrap();
    bodies
}

/// A right to the dataset alone, to half of what it reads, under a filter, a mask, without a column: a barrier. A right
/// to all of it: the body as it is.
#[test]
fn who_lacks_a_right_to_a_base_of_a_dataset_gets_a_barrier_above_it() {
    let grants = |more: &str| format!("{EXAMPLE}p, ann, reports.*, select, allow\n{more}");
    let both = "p, ann, crm.customers, select, allow\n";
    let rows = [
        ("", 1),
        ("p, ann, crm.customers, select, allow\np, ann, sales.orders, select, deny\n", 1),
        (both, 0),
        ("p, ann, *, select, allow\n", 0),
        ("p, ann, crm.customers, select, allow\np2, ann, crm.customers, \"country = 'DE'\"\n", 1),
        ("p, ann, crm.customers, select, allow\np3, ann, crm.customers, email, redact\n", 1),
        ("p, ann, crm.customers, select, allow\np, ann, crm.customers/ssn, select, deny\n", 1),
        ("p, ann, crm.customers, select, allow\np2, ann, crm.customers, unfiltered\n", 0),
    ];
    for (more, expected) in rows {
        let policies = policies(&grants(more));
        let (ann, dora) = (session(&policies, "ann"), policies.owner("dora").unwrap());
        let inner = LogicalPlanBuilder::from(sealed(&dora, "sales.orders"));
        let inner = inner.cross_join(sealed(&dora, "crm.customers")).unwrap().build().unwrap();
        let guarded = open_with(sealed(&ann, "reports.revenue"), &ann, revenue(&dora, inner));
        match guarded {
            Ok(guarded) => {
                assert_eq!(barriers(&guarded), expected, "{more}");
                // memory tables keep barriers of their own, which say what must stand above
                assert_eq!(scan_names(guarded.plan()).len(), 2 + expected, "{more}");
            }
            Err(error) => assert!(more.contains("orders, select, deny"), "{more}: {error:?}"),
        }
    }
}

/// By the rights of the one who opens it: what is computed once for a dataset's own places is not for another opening's.
#[test]
fn a_body_that_is_opened_twice_shares_nothing() {
    let policies =
        policies(&format!("{EXAMPLE}p, ann, reports.*, select, allow\np, ann, crm.customers, select, allow\n"));
    let (ann, dora) = (session(&policies, "ann"), policies.owner("dora").unwrap());
    let once = Once::marked("c", sealed(&dora, "crm.customers"));
    let again = LogicalPlanBuilder::from(once.clone()).alias("again").unwrap().build().unwrap();
    let inner = LogicalPlanBuilder::from(once).cross_join(again).unwrap().build().unwrap();
    let twice = LogicalPlanBuilder::from(sealed(&ann, "reports.revenue")).alias("a").unwrap();
    let twice = twice.cross_join(sealed(&ann, "reports.revenue")).unwrap().build().unwrap();
    let guarded = open_with(twice, &ann, revenue(&dora, inner)).unwrap();
    let mut marks: Vec<Mark> = vec![];
    each_node(guarded.plan(), &mut |node| {
        if let LogicalPlan::Extension(other) = node {
            marks.push(Once::of(other.node.as_ref()).unwrap().mark().clone());
        }
    })
    .unwrap();
    assert_eq!(marks.len(), 4);
    let others = |mark: &Mark| marks.iter().filter(|other| *other == mark).count();
    assert!(marks.iter().all(|mark| others(mark) == 2), "{marks:?}");
}

/// A record's raw columns, which no star covers: a right to all that the body may read is enough.
#[test]
fn a_raw_column_asks_for_a_barrier_only_where_the_body_may_read_it() {
    let csv = "p, ann, reports.*, select, allow\np, ann, stream.*, select, allow\np, etl, stream.*, select, allow\n";
    let policies = policies(&format!("{EXAMPLE}{csv}"));
    let ann = session(&policies, "ann");
    for (owner, expected) in [("etl", 0), ("dora", 1)] {
        let owner = policies.owner(owner).unwrap();
        let bodies = revenue(&owner, sealed(&owner, "stream.order_events"));
        let guarded = open_with(sealed(&ann, "reports.revenue"), &ann, bodies).unwrap();
        assert_eq!(barriers(&guarded), expected, "{:?}", owner.principal());
    }
}

/// Rows in the text of a body belong to no table that anybody could have a right to.
#[test]
fn a_body_with_rows_of_its_own_keeps_its_barrier() {
    let policies = policies(EXAMPLE);
    let dora = session(&policies, "dora");
    let values = || LogicalPlanBuilder::values(vec![vec![lit(1i64)], vec![lit(2i64)]]).unwrap();
    let products = || LogicalPlanBuilder::from(sealed(&dora, "sales.products"));
    let beside = products().cross_join(values().build().unwrap()).unwrap().build().unwrap();
    let product = Sealed::object(object("sales.products"), &grant(&dora, "sales.products"));
    let tables = Tables(vec![("sales.products".into(), product)]);
    let written = |sql: &str| lowered(sql, &tables).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let bodies = [
        (products().build().unwrap(), 0),
        (values().build().unwrap(), 1),
        (one_row().build().unwrap(), 1),
        (beside, 1),
        (written("SELECT name FROM sales.products WHERE product_id > 1"), 0),
        (written("SELECT g FROM generate_series(1, 5) g"), 1),
        (written("SELECT x FROM sales.products p, unnest(ARRAY[1, p.product_id]) x"), 1),
        (written("SELECT unnest(ARRAY[1, 2]) FROM sales.products"), 1),
    ];
    for (inner, expected) in bodies {
        let guarded = open_with(sealed(&dora, "reports.revenue"), &dora, revenue(&dora, inner)).unwrap();
        assert_eq!(barriers(&guarded), expected, "{}", guarded.plan().display_indent());
    }
}

/// reports.revenue over sales.orders: one table under two grants in one statement. DataFusion compares scans by name and
/// schema alone; were the two equal to it, one could stand for the other.
#[test]
fn one_table_under_two_grants_is_two_scans() {
    let csv = format!(
        "{EXAMPLE}p, analyst, reports.*, select, allow\np, owner, sales.orders, select, allow\np, alice, sales.orders, select, allow\n\
                       p2, owner, sales.orders, paid\ng, dora, owner\n"
    );
    let policies = policies(&csv);
    let (alice, owner) = (session(&policies, "alice"), policies.owner("owner").unwrap());
    let body = LogicalPlanBuilder::from(sealed(&owner, "sales.orders"));
    let body = body.project([col("region"), cast(col("order_id"), DataType::Float64).alias("total")]).unwrap();
    let bodies = HashMap::from([(id("reports.revenue"), DatasetBody { plan: body.build().unwrap(), owner })]);
    let dataset = LogicalPlanBuilder::from(sealed(&alice, "reports.revenue")).project([col("region")]).unwrap();
    let plan = from(&alice).project([col("region")]).unwrap().union(dataset.build().unwrap()).unwrap();
    let guarded = open_with(plan.build().unwrap(), &alice, bodies).unwrap();
    let names = scan_names(guarded.plan());
    assert_eq!(names.len(), 3, "the table, the dataset, and the table in its body: {names:?}");
    assert_eq!(guarded.opened().len(), 3, "both scans and the dataset");
    // the same table under one grant twice is one and the same
    let twice = from(&alice).project([col("region")]).unwrap();
    let twice = twice.union(from(&alice).project([col("region")]).unwrap().build().unwrap()).unwrap().build().unwrap();
    let LogicalPlan::Union(union) = open(twice, &alice).unwrap().plan().clone() else { panic!("a union") };
    assert_eq!(union.inputs[0], union.inputs[1]);
}

#[test]
fn only_a_full_grant_is_opened_without_a_barrier() {
    let policies = policies(&format!("{EXAMPLE}p3, dora, sales.products, name, redact\n"));
    let dora = session(&policies, "dora");
    for (name, barriers) in [("sales.orders", 0), ("sales.products", 1), ("stream.order_events", 0)] {
        let opening = Opening { policy: &dora, pins: &pins(true), bodies: &HashMap::new() };
        let guarded = guard(sealed(&dora, name), &opening).unwrap();
        assert_eq!((scans(guarded.plan()).1, guarded.free.len()), (barriers, 1 - barriers), "{name}");
    }
    // VALUES and a memory table are the same leaf: it keeps its barrier
    let guarded = open(sealed(&dora, "sales.orders"), &dora).unwrap();
    assert_eq!((scans(guarded.plan()).1, guarded.free.len()), (1, 0));
}

/// A leaf that reads something: as good as a raw scan.
fn raw_leaf() -> Arc<dyn ExecutionPlan> {
    let leaf = StreamingTableExec::try_new(Arc::new(Schema::empty()), vec![], None, [], false, None);
    Arc::new(leaf.unwrap())
}

#[test]
fn the_walk_over_the_physical_plan_is_taken() {
    let alice = alice();
    let guarded = open(sealed(&alice, "sales.orders"), &alice).unwrap();
    assert_eq!(guarded.verify(&raw_leaf()).expect_err("a raw leaf").kind(), Kind::Internal);
    let empty = datafusion::physical_plan::empty::EmptyExec::new(Arc::new(Schema::empty()));
    guarded.verify(&(Arc::new(empty) as Arc<dyn ExecutionPlan>)).unwrap();
}
