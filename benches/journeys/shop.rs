//! One table of orders for lakegate and for PostgreSQL: the same rows, made by arithmetic on their number, one column of
//! each type that dashboards fetch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use lakegate::types::TableName;

const BATCH_ROWS: u64 = 64 * 1024;
const STATUSES: [&str; 4] = ["new", "paid", "shipped", "returned"];
const FIRST_MICROS: i64 = 1_700_000_000_000_000;
const FIRST_DAY: i32 = 18_262;

pub fn name() -> TableName {
    TableName::new("shop", "orders")
}

pub fn schema() -> SchemaRef {
    let of = |name: &str, of: DataType| Field::new(name, of, true);
    Arc::new(Schema::new(vec![
        of("order_id", DataType::Int64),
        of("customer_id", DataType::Int64),
        of("ordered_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        of("due", DataType::Date32),
        of("status", DataType::Utf8),
        of("note", DataType::Utf8),
        of("quantity", DataType::Int32),
        of("total", DataType::Decimal128(12, 2)),
        of("weight", DataType::Float64),
        of("express", DataType::Boolean),
    ]))
}

pub fn batches(rows: u64) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static {
    (0..rows).step_by(BATCH_ROWS as usize).map(move |from| batch(from as i64..rows.min(from + BATCH_ROWS) as i64))
}

/// Makes the table in PostgreSQL, rows in the order of their number.
pub fn in_postgres(rows: u64) -> String {
    format!(
        "CREATE SCHEMA shop;
         CREATE TABLE shop.orders AS SELECT
           i AS order_id,
           i * 7919 % 100003 AS customer_id,
           to_timestamp(0) + (({FIRST_MICROS} + i * 13000007) || ' microseconds')::interval AS ordered_at,
           date '1970-01-01' + ({FIRST_DAY} + i % 2000)::int AS due,
           (array['new', 'paid', 'shipped', 'returned'])[i % 4 + 1] AS status,
           'order ' || i || ' of customer ' || i * 7919 % 100003 AS note,
           (i % 50)::int AS quantity,
           (i * 31 % 10000000)::numeric(12,2) / 100 AS total,
           (i % 1000000)::float8 / 64 AS weight,
           i % 3 = 0 AS express
         FROM generate_series(0::int8, {last}) i;
         ALTER TABLE shop.orders ALTER total TYPE numeric(12,2);
         VACUUM ANALYZE shop.orders",
        last = rows as i64 - 1
    )
}

fn batch(range: std::ops::Range<i64>) -> Result<RecordBatch, ArrowError> {
    let each = || range.clone();
    let customer = |i: i64| i * 7919 % 100_003;
    let cents = Decimal128Array::from_iter_values(each().map(|i| i128::from(i * 31 % 10_000_000)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(each())),
        Arc::new(Int64Array::from_iter_values(each().map(customer))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(each().map(|i| FIRST_MICROS + i * 13_000_007))
                .with_timezone("UTC"),
        ),
        Arc::new(Date32Array::from_iter_values(each().map(|i| FIRST_DAY + (i % 2_000) as i32))),
        Arc::new(StringArray::from_iter_values(each().map(|i| STATUSES[(i % 4) as usize]))),
        Arc::new(StringArray::from_iter_values(each().map(|i| format!("order {i} of customer {}", customer(i))))),
        Arc::new(Int32Array::from_iter_values(each().map(|i| (i % 50) as i32))),
        Arc::new(cents.with_precision_and_scale(12, 2)?),
        Arc::new(Float64Array::from_iter_values(each().map(|i| (i % 1_000_000) as f64 / 64.0))),
        Arc::new(BooleanArray::from_iter(each().map(|i| Some(i % 3 == 0)))),
    ];
    RecordBatch::try_new(schema(), columns)
}
