//! Whole statements over small tables, through bind, lower and DataFusion. What they give is what PostgreSQL 15 gave for
//! the same tables.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::Statement;

use super::lower;
use crate::error::Result;
use crate::pgtype::{self, Ty};
use crate::sql::bind::{Binder, Found, Relations};
use crate::sql::kernel::{Arg, Call, Env};
use crate::sql::query::Query;
use crate::sql::resolve::{Context, Parameters};
use crate::sql::{functions, parse};

/// Tables by their name, each made by a query that reads none.
const TABLES: &[(&str, &str)] = &[
    (
        "t",
        "SELECT * FROM (VALUES (1, 10, 'a', 1.5::float8, 1.10::numeric(10,2)), (2, 20, 'b', 0.0, 2.50), (3, NULL, 'a', -2.5, NULL), \
         (NULL, 40, NULL, NULL, 2.50), (5, 0, 'c', 7, 0.00)) v(a, b, c, d, n)",
    ),
    (
        "u",
        "SELECT * FROM (VALUES (1::int8, 'x', date '2024-01-31'), (2, 'y', date '2024-02-29'), (2, 'z', NULL), (4, NULL, date '2023-12-01'), \
         (NULL, 'w', date '2024-03-01')) v(k, s, day)",
    ),
    ("e", "SELECT 1 AS x WHERE false"),
    (
        "p",
        "SELECT * FROM (VALUES (1, 1, 'a', 'NaN'::float8, 1.5::numeric, timestamp '2024-01-01 10:00', true, interval '1 day'), (2, 1, 'b', '-0', 2, '2024-01-01 11:30', false, '1 mon'), (3, NULL, 'a', '0', 0.25, '2024-01-02', NULL, NULL), (4, 3, NULL, 'Infinity', NULL, NULL, true, '02:00'), (5, 2, 'c', NULL, 'NaN', '2024-02-29 23:59:59.5', false, '-3 days'), (6, 2, 'b', 'NaN', 1.5, '2024-01-01 10:00', true, '1 day'), (7, NULL, NULL, 2.5, -7.125, NULL, NULL, NULL)) v(id, a, c, f, m, ts, ok, iv)",
    ),
    (
        "q",
        "SELECT * FROM (VALUES (1, 2::int8, 'a', 1::int2, 10.00::numeric(8,2)), (2, 2, 'b', 2, 20.50), (3, NULL, 'c', NULL, 20.50), (4, 1, 'd', 3, NULL), (5, 3, NULL, 2, 0.00), (6, 2, 'a', 1, -1.25), (7, 5, 'b', 7, 10.00), (8, NULL, NULL, NULL, NULL)) v(id, k, c, w, v)",
    ),
    (
        "r",
        "SELECT * FROM (VALUES (1, NULL::int, 'root'), (2, 1, 'l'), (3, 1, 'r'), (4, 2, 'll'), (5, 2, 'lr'), (6, 3, 'rl'), (7, 6, NULL), (8, 9, 'loop'), (9, 8, 'pool')) v(id, parent, name)",
    ),
];

struct Tables(Vec<(String, Arc<MemTable>)>);

impl Relations for Tables {
    fn find(&self, path: &[&str], _: Option<&crate::types::AsOf>) -> Result<Option<Found>> {
        let name = path.last().copied().unwrap_or_default();
        let found = self.0.iter().find(|(n, _)| n == name);
        Ok(found.map(|(name, table)| Found {
            schema: "public".into(),
            name: name.clone(),
            table: provider_as_source(Arc::clone(table) as _),
            oid: 0,
            is_materialized: false,
        }))
    }
}

fn bound(sql: &str, tables: &Tables) -> Result<Query> {
    let (env, parameters) = (Env::plain(), Parameters::default());
    let statements = parse::parse(sql)?;
    let [Statement::Query(query)] = statements.as_slice() else { panic!("{sql} is no query") };
    Binder::new(tables, Context { env: &env, parameters: &parameters }, sql).bind(query)
}

fn planned(sql: &str, tables: &Tables) -> Result<(LogicalPlan, Query)> {
    let query = bound(sql, tables)?;
    Ok((lower(&query, &|_| None)?, query))
}

fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(3);
    config.options_mut().extensions.insert(Env::plain());
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    let rules = super::rules(&datafusion::optimizer::Optimizer::new().rules);
    let state = SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(rules);
    SessionContext::new_with_state(state.build())
}

async fn collected(plan: LogicalPlan) -> Result<Vec<arrow::record_batch::RecordBatch>> {
    Ok(context().execute_logical_plan(plan).await?.collect().await?)
}

async fn tables() -> Tables {
    let mut all = Tables(vec![]);
    for (name, sql) in TABLES {
        let (plan, query) = planned(sql, &all).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let fields: Vec<_> = query.columns.iter().map(|c| pgtype::field(&c.name, c.ty, c.data_type.clone())).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let batches = collected(plan).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let batches = batches
            .into_iter()
            .map(|b| RecordBatch::try_new(Arc::clone(&schema), b.columns().to_vec()).unwrap())
            .collect();
        all.0.push(((*name).to_owned(), Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())));
    }
    all
}

/// Each value through its type's output function.
fn texts(column: &arrow::array::ArrayRef, ty: Ty) -> Vec<String> {
    let output = pgtype::functions(ty.oid).map_or("textout", |f| f.output);
    let field = pgtype::field("", Ty::TEXT, arrow::datatypes::DataType::Utf8);
    let env = Env::plain();
    let args = [Arg::array(Arc::clone(column))];
    let call = Call { args: &args, types: &[ty], rows: column.len(), result: &field, result_type: Ty::TEXT, env: &env };
    let Some(kernel) = functions::kernel(output) else { return vec![format!("no {output}"); column.len()] };
    let texts = kernel(&call).unwrap_or_else(|e| panic!("{output}: {e:?}"));
    let texts = texts.as_string::<i32>();
    (0..texts.len()).map(|row| if texts.is_null(row) { "~".to_owned() } else { texts.value(row).to_owned() }).collect()
}

async fn answer(sql: &str, tables: &Tables) -> String {
    let shown = |e: crate::error::Error| format!("{} {}", e.kind().sqlstate(), e.message());
    let (plan, query) = match planned(sql, tables) {
        Ok(planned) => planned,
        Err(e) if e.kind() == crate::error::Kind::Internal => return format!("{e:?}"),
        Err(e) => return shown(e),
    };
    nothing_to_coerce(&plan, sql);
    let batches = match collected(plan.clone()).await {
        Ok(batches) => batches,
        Err(e) if e.kind() == crate::error::Kind::Internal => return format!("{e:?}\n{}", plan.display_indent()),
        Err(e) => return shown(e),
    };
    let mut rows = vec![];
    for batch in batches {
        let columns: Vec<Vec<String>> =
            batch.columns().iter().zip(&query.columns).map(|(c, column)| texts(c, column.ty)).collect();
        rows.extend((0..batch.num_rows()).map(|i| columns.iter().map(|c| c[i].clone()).collect::<Vec<_>>().join("|")));
    }
    rows.join(";")
}

/// Every type fits already: the plan is the same after DataFusion's own coercion.
fn nothing_to_coerce(plan: &LogicalPlan, sql: &str) {
    let coerced =
        TypeCoercion::new().analyze(plan.clone(), &Default::default()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let shown = |plan: &LogicalPlan| {
        let mut lines = vec![];
        plan.apply_with_subqueries(|node| {
            lines.push(node.display().to_string());
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        lines
    };
    assert_eq!(shown(plan), shown(&coerced), "{sql}");
}

/// `tests.tsv`: whether the rows come in an order, a statement, and the answer of PostgreSQL 15.18 over the same tables
/// (rows between semicolons, `~` for NULL, or a SQLSTATE and its message).
#[tokio::test]
async fn statements_answer_as_postgresql_does() {
    let tables = tables().await;
    let mut wrong = vec![];
    for line in include_str!("tests.tsv").lines() {
        let [order, sql, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut given = answer(sql, &tables).await;
        if order == "any" {
            let mut rows: Vec<&str> = given.split(';').collect();
            rows.sort_unstable();
            given = rows.join(";");
        }
        if given != expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  given    {given}"));
        }
    }
    assert!(wrong.is_empty(), "{} statements:\n{}", wrong.len(), wrong.join("\n"));
}

/// Plans keep what DataFusion can use: bare comparisons of columns, keys of hash joins, semi joins.
#[tokio::test]
async fn plans_keep_native_comparisons() {
    let tables = tables().await;
    let cases = [
        ("SELECT a FROM t WHERE a = 5::int8", "t.a = Int32(5)"),
        ("SELECT k FROM u WHERE k = 5", "u.k = Int64(5)"),
        ("SELECT a FROM t WHERE n > 2.5", "Filter: t.n > Decimal128(2.50,10,2)"),
        ("SELECT a FROM t WHERE c IN ('a', 'b')", "t.c IN ([Utf8(\"a\"), Utf8(\"b\")])"),
        ("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE s = c)", "LeftSemi Join"),
        ("SELECT a FROM t WHERE b <> 0 AND 100 / b > 5", "Filter: t.b != Int32(0) AND truth("),
    ];
    for (sql, part) in cases {
        let (plan, _) = planned(sql, &tables).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let shown = plan.display_indent().to_string();
        assert!(shown.contains(part), "{sql}: no {part} in\n{shown}");
    }
}

/// The first query of a WITH that has no place in the order yet is the one that is told of, and so is an item that is named
/// too early.
#[tokio::test]
async fn items_that_cannot_be_ordered_are_told_of() {
    let tables = tables().await;
    let cases = [
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT 1", 16, false),
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM a), c AS (SELECT 1) SELECT 1", 40, false),
        ("WITH a AS (SELECT * FROM a) SELECT 1", 26, true),
        ("WITH a AS (SELECT 1), b AS (SELECT * FROM c), c AS (SELECT 1) SELECT 1", 43, true),
        ("WITH a AS (SELECT 1) SELECT * FROM c", 36, false),
    ];
    for (sql, at, early) in cases {
        let error = bound(sql, &tables).unwrap_err();
        assert_eq!((error.position(), error.detail().is_some()), (Some(at), early), "{sql}: {error:?}");
    }
}

/// Ordering them takes no longer than reading them.
#[tokio::test]
async fn a_with_can_have_many_items() {
    let tables = tables().await;
    let last = 2000;
    let items: Vec<String> = (0..last).map(|i| format!("c{i} AS (SELECT x FROM c{})", i + 1)).collect();
    let recursive = format!("WITH RECURSIVE {}, c{last} AS (SELECT 1 AS x) SELECT 1", items.join(", "));
    let written = items.into_iter().rev().collect::<Vec<_>>().join(", ");
    let plain = format!("WITH c{last} AS (SELECT 1 AS x), {written} SELECT 1");
    for sql in [recursive, plain] {
        let query = bound(&sql, &tables).unwrap();
        assert_eq!(query.ctes.len(), last + 1);
    }
}

/// DataFusion names what nobody named, anew at each level of an expression.
#[tokio::test]
async fn names_and_plans_do_not_grow_with_what_they_are_of() {
    let tables = tables().await;
    let length = |sql: &str| {
        let (plan, _) = planned(sql, &tables).unwrap();
        let names = plan.expressions().into_iter().map(|e| e.unalias().schema_name().to_string());
        names.map(|name| name.len()).max().unwrap()
    };
    let deep = format!("SELECT {}a{} AS x FROM t", "abs(".repeat(12), ")".repeat(12));
    assert!(length(&deep) < 60, "{}", length(&deep));
    let large = "SELECT concat(repeat('x', 100000), b) AS x FROM t";
    assert!(length(large) < 60, "{}", length(large));
    let (plan, _) = planned(large, &tables).unwrap();
    assert!(plan.display_indent().to_string().len() < 1_000, "a large constant is printed");
}
