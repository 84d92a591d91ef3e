//! The same questions to a lake table and to its rows in memory: every column, many predicates, limits, the largest
//! values, counts; at one and four partitions, with and without filters inside the Parquet reader.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::datasource::TableProvider;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext, col, lit};
use lakegate::sources::Table;

/// Rows as text, in order of text.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = vec![];
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines.sort();
    lines
}

pub(crate) fn session(partitions: usize, pushdown: bool) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    config = config.with_batch_size(if partitions == 1 { 8192 } else { 7 });
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    config.options_mut().optimizer.repartition_file_min_size = 1;
    SessionContext::new_with_config(config)
}

/// Every session the questions are asked in.
pub(crate) fn sessions() -> impl Iterator<Item = (String, SessionContext)> {
    [(1, true), (4, false), (4, true)]
        .into_iter()
        .map(|(partitions, push)| (format!("partitions {partitions} pushdown {push}"), session(partitions, push)))
}

pub(crate) async fn all_rows(table: &Arc<dyn Table>) -> Vec<RecordBatch> {
    let pinned = table.pin().await.unwrap();
    session(1, false).read_table(pinned.provider).unwrap().collect().await.unwrap()
}

/// Panics with the first question whose answers differ; returns how many were asked.
pub(crate) async fn ask_everything(table: &Arc<dyn Table>, expected: &[RecordBatch]) -> usize {
    ask_each(table, expected, 1).await
}

/// As [`ask_everything`], but only one question of so many.
pub(crate) async fn ask_each(table: &Arc<dyn Table>, expected: &[RecordBatch], nth: usize) -> usize {
    let provider = table.pin().await.unwrap().provider;
    assert_eq!(provider.schema(), table.schema());
    let memory = MemTable::try_new(expected[0].schema(), vec![expected.to_vec()]).unwrap();
    let memory: Arc<dyn TableProvider> = Arc::new(memory);
    let questions: Vec<_> = questions(expected).into_iter().step_by(nth).collect();
    for (setting, session) in sessions() {
        for (text, question) in &questions {
            let got = answer(&session, &provider, question).await;
            let want = answer(&session, &memory, question).await;
            assert_eq!(got, want, "{}: {text} ({setting})", table.name());
        }
        let total: usize = expected.iter().map(RecordBatch::num_rows).sum();
        for limit in [0, 1, total / 2, total, total + 1] {
            let frame = session.read_table(Arc::clone(&provider)).unwrap().limit(0, Some(limit)).unwrap();
            let rows: usize = frame.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, limit.min(total), "limit {limit} ({setting})");
        }
        let count = session.read_table(Arc::clone(&provider)).unwrap().count().await.unwrap();
        assert_eq!(count, total, "count ({setting})");
    }
    questions.len() * 3
}

type Question = Box<dyn Fn(DataFrame) -> datafusion::error::Result<DataFrame>>;

async fn answer(
    session: &SessionContext,
    table: &Arc<dyn TableProvider>,
    question: &Question,
) -> Result<Vec<String>, String> {
    let frame = session.read_table(Arc::clone(table)).unwrap();
    let asked = question(frame).map_err(|e| e.strip_backtrace())?;
    asked.collect().await.map(|batches| lines(&batches)).map_err(|e| e.strip_backtrace())
}

fn questions(rows: &[RecordBatch]) -> Vec<(String, Question)> {
    let schema = rows[0].schema();
    let mut all: Vec<(String, Question)> = vec![("*".into(), Box::new(Ok))];
    for field in schema.fields() {
        let column = col(format!("\"{}\"", field.name()));
        let only = column.clone();
        all.push((format!("only {column}"), Box::new(move |d| d.select(vec![only.clone()]))));
        let others: Vec<Expr> =
            schema.fields().iter().filter(|f| f != &field).map(|f| col(format!("\"{}\"", f.name()))).collect();
        for predicate in predicates(&column, field.data_type(), field.name(), rows) {
            let (filter, without) = (predicate.clone(), predicate.clone());
            all.push((format!("{predicate}"), Box::new(move |d| d.filter(filter.clone()))));
            let others = others.clone();
            all.push((
                format!("{predicate} unseen"),
                Box::new(move |d| d.filter(without.clone())?.select(others.clone())),
            ));
        }
        if !field.data_type().is_nested() {
            let top = column.clone();
            let top = move |d: DataFrame| {
                d.select(vec![top.clone()])?.sort(vec![top.clone().sort(false, false)])?.limit(0, Some(3))
            };
            all.push((format!("largest {column}"), Box::new(top)));
        }
    }
    all
}

fn predicates(column: &Expr, of: &DataType, name: &str, rows: &[RecordBatch]) -> Vec<Expr> {
    let mut all = vec![];
    if let DataType::Struct(fields) = of {
        let arrays = rows.iter().map(|b| b.column_by_name(name).unwrap().as_struct());
        for field in fields {
            let inner = get_field(column.clone(), field.name().clone());
            let arrays: Vec<_> = arrays.clone().map(|a| a.column_by_name(field.name()).unwrap().clone()).collect();
            all.extend(compared(&inner, field.data_type(), &arrays));
        }
    }
    let arrays: Vec<_> = rows.iter().map(|b| b.column_by_name(name).unwrap().clone()).collect();
    all.extend(compared(column, of, &arrays));
    all
}

fn compared(column: &Expr, of: &DataType, arrays: &[ArrayRef]) -> Vec<Expr> {
    let mut all = vec![column.clone().is_null(), column.clone().is_not_null()];
    if of.is_nested() {
        return all;
    }
    let mut values: Vec<ScalarValue> = vec![];
    for array in arrays {
        for row in 0..array.len() {
            let value = ScalarValue::try_from_array(array, row).unwrap();
            if !value.is_null() && !values.contains(&value) && values.len() < 3 {
                values.push(value);
            }
        }
    }
    for value in values {
        let (c, v) = (column.clone(), lit(value));
        all.extend([
            c.clone().eq(v.clone()),
            c.clone().not_eq(v.clone()),
            c.clone().gt(v.clone()),
            c.clone().lt_eq(v.clone()),
            c.in_list(vec![v], true),
        ]);
    }
    all
}
