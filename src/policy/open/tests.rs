//! What an opened scan asks of its source, and what it gives back: over a source that remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{col, lit};
use datafusion::physical_plan::collect;

use super::*;

/// A table that would use whatever it is given.
#[derive(Debug)]
struct Greedy {
    table: MemTable,
    /// Columns, filters and limit of the last scan.
    asked: Mutex<Option<Asked>>,
}

type Asked = (Vec<usize>, Vec<String>, Option<usize>);

#[async_trait]
impl TableProvider for Greedy {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<Push>> {
        Ok(vec![Push::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = (projection.cloned().unwrap_or_default(), filters.iter().map(Expr::to_string).collect(), limit);
        *self.asked.lock().unwrap() = Some(asked);
        // it promised exactness and forgets the filters: nobody may have believed it
        self.table.scan(state, projection, &[], None).await
    }
}

/// id, region, name; the third row's region is NULL.
fn greedy() -> Arc<Greedy> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
    ]));
    let regions = StringArray::from(vec![Some("EU"), Some("US"), None, Some("EU")]);
    let names = StringArray::from(vec!["ada", "bob", "eve", "joe"]);
    let ids = Int64Array::from(vec![1, 2, 3, 4]);
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(regions), Arc::new(names)]);
    let table = MemTable::try_new(schema, vec![vec![rows.unwrap()]]).unwrap();
    Arc::new(Greedy { table, asked: Mutex::default() })
}

fn opened(raw: &Arc<Greedy>, grant: Grant) -> Opened {
    let schema = grant.visible(&raw.schema());
    Opened {
        table: "s.t".into(),
        raw: Arc::clone(raw) as Arc<dyn TableProvider>,
        grant: Arc::new(grant),
        schema,
        forbidden: BTreeSet::new(),
        dataset: None,
        behind: vec![],
    }
}

fn only_eu() -> Grant {
    Grant { filter: Some(col("region").eq(lit("EU"))), ..Grant::default() }
}

async fn rows(table: &Opened, projection: &[usize], filters: &[Expr]) -> String {
    let state = SessionStateBuilder::new().with_default_features().build();
    let plan = table.scan(&state, Some(&projection.to_vec()), filters, None).await.unwrap();
    let batches = collect(plan, state.task_ctx()).await.unwrap();
    let shown = pretty_format_batches(&batches).unwrap().to_string();
    let cells = shown.lines().skip(3).filter(|l| l.starts_with('|'));
    cells.map(|l| l.replace([' ', '|'], "")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_source_is_given_the_policy_first_then_leakproof_predicates_and_never_a_limit() {
    let raw = greedy();
    let table = opened(&raw, only_eu());
    let state = SessionStateBuilder::new().with_default_features().build();
    let named = col("name").eq(lit("ada"));
    let plan = table.scan(&state, Some(&vec![0]), std::slice::from_ref(&named), Some(1)).await.unwrap();
    assert!((plan.as_ref() as &dyn std::any::Any).is::<BarrierExec>(), "nothing goes down from above");
    let (columns, filters, limit) = raw.asked.lock().unwrap().take().unwrap();
    assert_eq!(columns, [0, 1, 2], "what is shown and what is filtered by");
    assert_eq!(filters, ["region = Utf8(\"EU\")", "name = Utf8(\"ada\")"]);
    assert_eq!(limit, None, "the rows it would count are raw ones");
}

#[tokio::test]
async fn a_source_that_breaks_its_promise_changes_nothing() {
    let raw = greedy();
    let table = opened(&raw, only_eu());
    assert_eq!(rows(&table, &[0], &[]).await, "1 4", "neither US nor NULL");
    assert_eq!(rows(&table, &[0], &[col("name").eq(lit("joe"))]).await, "4");
    let none = opened(&raw, Grant { filter: Some(lit(false)), ..Grant::default() });
    assert_eq!(rows(&none, &[0], &[]).await, "");
}

#[tokio::test]
async fn what_is_not_leakproof_is_refused_though_it_was_said_before() {
    let raw = greedy();
    let table = opened(&raw, only_eu());
    let leaky = (lit(1i64) / col("id")).eq(lit(1i64));
    assert_eq!(table.supports_filters_pushdown(&[&leaky]).unwrap(), [Push::Unsupported]);
    let state = SessionStateBuilder::new().with_default_features().build();
    let refused = table.scan(&state, None, &[leaky], None).await.expect_err("not believed");
    assert_eq!(Error::from(refused).kind(), Kind::Internal);
    assert!(raw.asked.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_mask_reads_raw_columns_of_its_row_and_hides_them_from_nobody_but_the_reader() {
    let raw = greedy();
    // region is masked, and both the filter and the mask of name read it raw
    let masks = BTreeMap::from([("region".to_string(), lit("xxxx")), ("name".to_string(), col("region"))]);
    let table = opened(&raw, Grant { masks, ..only_eu() });
    assert_eq!(rows(&table, &[0, 1, 2], &[]).await, "1xxxxEU 4xxxxEU");
    // above, only the masked value exists
    let by_region = col("region").eq(lit("EU"));
    assert_eq!(table.supports_filters_pushdown(&[&by_region]).unwrap(), [Push::Unsupported]);
}

#[tokio::test]
async fn a_column_forbidden_to_the_caller_is_refused_only_where_it_is_needed() {
    let raw = greedy();
    let forbidden = BTreeSet::from(["name".to_string()]);
    let table = Opened { forbidden, dataset: Some("reports.people".into()), ..opened(&raw, only_eu()) };
    assert_eq!(rows(&table, &[0], &[]).await, "1 4");
    let state = SessionStateBuilder::new().with_default_features().build();
    for (columns, filters) in [(vec![0, 2], vec![]), (vec![0], vec![col("name").is_null()])] {
        let refused = Error::from(table.scan(&state, Some(&columns), &filters, None).await.expect_err("forbidden"));
        assert_eq!(
            (refused.kind(), refused.message()),
            (Kind::PermissionDenied, "permission denied for view reports.people")
        );
    }
}
