//! Batch → DataRow messages: rows a second by type, in text and in binary, from batches of 65,536 rows of one column.
//!
//! Expectation, at 3 GHz on one core. Each row pays some 8 ns for its frame (letter, length, column count, value length:
//! four short appends) and 2 ns for the indirect call. On top of that: integers in binary 1 ns, in text 5–10 ns for the
//! digits; floats in text 30–40 ns for the shortest digits and their layout; numeric(18,2) 15 ns in text and 30 ns in
//! binary, whose digits are regrouped by four; dates and timestamps in text 15–25 ns for the calendar, 1–2 ns in binary;
//! a timestamptz pays little more, as the offset of an hour is kept; short strings 3 ns; uuid in text 10 ns; an array of
//! three integers 40–60 ns. So some 80–100 million rows a second for fixed-width binary, 40–50 for integers and strings in
//! text, 20–30 for floats and timestamps. An allocation anywhere in this path would cost 20 ns and show at once.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lakegate::formats::postgres::{self, Format, RowEncoder, Style};

const ROWS: usize = 65_536;

fn encode(criterion: &mut Criterion) {
    for (name, field, array) in columns() {
        let schema = Arc::new(Schema::new(vec![field.with_data_type(array.data_type().clone())]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array]).expect("the field was made for the array");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ROWS as u64));
        for format in [Format::Text, Format::Binary] {
            let style = Style::of(chrono_tz::Europe::Berlin);
            let mut encoder =
                RowEncoder::new(schema.clone(), &[format], &style).expect("every type here has both formats");
            // Grown once, as a connection's buffer is.
            let mut out = BytesMut::with_capacity(ROWS * 128);
            group.bench_function(format!("{format:?}").to_lowercase(), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let next =
                        encoder.encode(black_box(&batch), 0, usize::MAX, &mut out).expect("every value is in range");
                    assert_eq!(next, ROWS);
                    black_box(out.len())
                });
            });
        }
        group.finish();
    }
}

/// Values that are spread over their types' usual ranges, always the same.
fn columns() -> Vec<(&'static str, Field, ArrayRef)> {
    let numbers: Vec<u64> = (0..ROWS as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)).collect();
    let each = |number: fn(u64) -> i64| numbers.iter().map(move |&n| number(n));
    let micros = |n: u64| 1_500_000_000_000_000 + (n % 300_000_000_000_000) as i64;
    let built_in = |oid| match oid {
        1700 => postgres::field("v", oid, (18 << 16 | 2) + 4, true).expect("numeric(18,2)"),
        _ => postgres::field("v", oid, -1, true).expect("a built-in type"),
    };
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        numbers.iter().map(|&n| Some([Some((n % 100) as i32), None, Some((n % 70_000) as i32)])),
    );
    let uuids = FixedSizeBinaryArray::try_from_iter(numbers.iter().map(|n| u128::from(*n).to_le_bytes()));
    let labels: DictionaryArray<Int32Type> =
        numbers.iter().map(|n| ["low", "medium", "high"][(n % 3) as usize]).collect();
    let decimals = numbers.iter().map(|n| i128::from(n % 10_000_000_000)).collect::<Decimal128Array>();
    let array: Vec<(&'static str, u32, ArrayRef)> = vec![
        ("bool", 16, Arc::new(BooleanArray::from_iter(numbers.iter().map(|n| Some(n % 2 == 0))))),
        ("int4", 23, Arc::new(Int32Array::from_iter_values(numbers.iter().map(|&n| n as i32)))),
        ("int8", 20, Arc::new(Int64Array::from_iter_values(each(|n| n as i64)))),
        (
            "float8",
            701,
            Arc::new(Float64Array::from_iter_values(numbers.iter().map(|&n| (n % 1_000_000) as f64 / 100.0))),
        ),
        ("float8 of 17 digits", 701, Arc::new(Float64Array::from_iter_values(numbers.iter().map(|&n| 1.0 / n as f64)))),
        ("numeric", 1700, Arc::new(decimals.with_precision_and_scale(18, 2).expect("a scale below the precision"))),
        (
            "text",
            25,
            Arc::new(StringViewArray::from_iter_values(numbers.iter().map(|n| format!("customer {}", n % 1_000_000)))),
        ),
        ("enum", 25, Arc::new(labels)),
        ("bytea", 17, Arc::new(BinaryArray::from_iter_values(numbers.iter().map(|n| n.to_le_bytes())))),
        ("uuid", 2950, Arc::new(uuids.expect("sixteen bytes each"))),
        ("date", 1082, Arc::new(Date32Array::from_iter_values(numbers.iter().map(|n| (n % 30_000) as i32)))),
        ("time", 1083, Arc::new(Time64MicrosecondArray::from_iter_values(each(|n| (n % 86_400_000_000) as i64)))),
        ("timestamp", 1114, Arc::new(TimestampMicrosecondArray::from_iter_values(numbers.iter().map(|&n| micros(n))))),
        (
            "timestamptz",
            1184,
            Arc::new(
                TimestampMicrosecondArray::from_iter_values((0..ROWS as u64).map(|n| micros(n * 1_000_000)))
                    .with_timezone("UTC"),
            ),
        ),
        (
            "interval",
            1186,
            Arc::new(IntervalMonthDayNanoArray::from_iter_values(
                numbers.iter().map(|&n| IntervalMonthDayNano::new((n % 30) as i32, (n % 40) as i32, micros(n))),
            )),
        ),
        ("array", 1007, Arc::new(lists)),
    ];
    array.into_iter().map(|(name, oid, array)| (name, built_in(oid), array)).collect()
}

criterion_group!(benches, encode);
criterion_main!(benches);
