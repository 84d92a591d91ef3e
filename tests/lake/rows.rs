//! Rows as JSON in the spelling of the recorded tables: decimals and times as strings, binary as hex, NaN by name.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::*;
use serde_json::{Value, json};

/// One JSON object a row, in order of text.
pub(crate) fn json_lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = vec![];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let fields = batch.schema_ref().fields().iter().zip(batch.columns());
            let object: Value =
                fields.map(|(f, c)| (f.name().clone(), value(c, row, f))).collect::<serde_json::Map<_, _>>().into();
            lines.push(object.to_string());
        }
    }
    lines.sort();
    lines
}

fn value(array: &ArrayRef, row: usize, field: &Field) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        // The shortest text of the narrow float, not that of the wide one.
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).to_string().parse().unwrap()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => json!(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value_as_date(row).unwrap().to_string()),
        DataType::Time64(_) => {
            json!(
                array
                    .as_primitive::<Time64MicrosecondType>()
                    .value_as_time(row)
                    .unwrap()
                    .format("%H:%M:%S%.6f")
                    .to_string()
            )
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let at = array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row).unwrap();
            json!(format!("{}{}", at.format("%Y-%m-%dT%H:%M:%S%.6f"), if zone.is_some() { "Z" } else { "" }))
        }
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Binary => json!(hex(array.as_binary::<i32>().value(row))),
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary().value(row);
            match field.metadata().get("lakegate.oid").map(String::as_str) {
                Some("2950") => json!(uuid::Uuid::from_slice(bytes).unwrap().to_string()),
                _ => json!(hex(bytes)),
            }
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            columns.map(|(f, c)| (f.name().clone(), value(c, row, f))).collect::<serde_json::Map<_, _>>().into()
        }
        DataType::List(element) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|i| value(&items, i, element)).collect()
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else { panic!("{entries}") };
            let items = array.as_map().value(row);
            let key = |i| match value(items.column(0), i, &pair[0]) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let object = (0..items.len()).map(|i| (key(i), value(items.column(1), i, &pair[1])));
            object.collect::<serde_json::Map<_, _>>().into()
        }
        other => panic!("no spelling for {other}"),
    }
}

fn float(value: f64) -> Value {
    match value {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => json!(v),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}
