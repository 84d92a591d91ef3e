//! Sources against the real thing: a private PostgreSQL and librdkafka's own broker. What a policy does with their
//! tables is not asked here.

mod files;
mod infer;
mod kafka;
mod postgres;
mod postgres_faults;
mod records;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use lakegate::error::{Error, Result};
use lakegate::sources::{Source, Table};

/// The table by its mounted name, such as `crm.orders`.
async fn table(source: &dyn Source, name: &str) -> Arc<dyn Table> {
    let tables = source.tables().await.expect("the source answers");
    let found = tables.into_iter().find(|t| t.name().to_string() == name);
    found.unwrap_or_else(|| panic!("no table {name}"))
}

/// A context in which the pinned table is called `t`.
async fn context(table: &Arc<dyn Table>) -> SessionContext {
    let context = SessionContext::new();
    let pinned = table.pin().await.expect("the table can be pinned");
    context.register_table("t", pinned.provider).unwrap();
    context
}

async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    Ok(context.sql(sql).await?.collect().await?)
}

/// Rows as text, fields separated by `|`, NULL as `NULL`.
async fn rows(context: &SessionContext, sql: &str) -> Vec<String> {
    let batches = query(context, sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    spell(&batches)
}

fn spell(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = vec![];
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

/// SQLSTATE and message.
fn told<T>(result: Result<T>) -> (&'static str, String) {
    let error: Error = result.err().expect("an error");
    (error.kind().sqlstate(), error.message().to_string())
}
