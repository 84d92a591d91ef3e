//! JSON values, records and faults; and random bytes, judged as serde_json judges them.

use super::*;
use crate::formats::postgres::OID;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn decoder(data_type: DataType, unit: Unit) -> Decoder {
    Decoder::new(Arc::new(Schema::new(vec![Field::new("c", data_type, true)])), &[unit]).unwrap()
}

/// The value of `{"c": value}`, or the problem.
fn one(data_type: DataType, unit: Unit, value: &str) -> String {
    let record = format!("{{\"c\": {value}}}");
    let decoded = decoder(data_type, unit).decode(&[Some(record.as_bytes())], Misfit::Leave).unwrap();
    match decoded.faults.first() {
        Some(fault) => format!("! {}", fault.problem),
        None if decoded.rows.column(0).is_null(0) => "NULL".into(),
        None => array_value_to_string(decoded.rows.column(0), 0).unwrap(),
    }
}

const LARGE: &str = "! is out of the type's range";
const FINE: &str = "! has more digits after the point than the column";
const WRONG: &str = "! has another type than the column";

#[test]
fn values_are_exact_or_refused() {
    let check = |data_type: DataType, value: &str, expect: &str| {
        assert_eq!(one(data_type.clone(), Unit::Millis, value), expect, "{value} as {data_type}");
    };
    let numeric = DataType::Decimal128(12, 2);
    check(numeric.clone(), "1.1", "1.10");
    check(numeric.clone(), "\"-1.10\"", "-1.10");
    check(numeric.clone(), "1.105", FINE);
    check(numeric.clone(), "1.100", "1.10");
    check(numeric.clone(), "9999999999.99", "9999999999.99");
    check(numeric.clone(), "10000000000", LARGE);
    check(numeric.clone(), "1e9", "1000000000.00");
    check(numeric.clone(), "123456e-2", "1234.56");
    check(numeric.clone(), "1e-3", FINE);
    check(numeric.clone(), "0e999999999999", "0.00");
    check(numeric.clone(), "1e999999999999", LARGE);
    check(numeric.clone(), "1e-999999999999", FINE);
    check(numeric.clone(), "\"\"", WRONG);
    check(numeric.clone(), "\"1.\"", WRONG);
    check(numeric.clone(), "\"0x10\"", WRONG);
    check(numeric.clone(), "\" 1\"", WRONG);
    check(numeric.clone(), "true", WRONG);
    check(
        DataType::Decimal128(38, 0),
        "99999999999999999999999999999999999999",
        "99999999999999999999999999999999999999",
    );
    check(DataType::Decimal128(38, 0), "100000000000000000000000000000000000000", LARGE);
    check(DataType::Decimal128(38, 20), "0.12345678901234567890", "0.12345678901234567890");
    check(DataType::Int64, "9223372036854775807", "9223372036854775807");
    check(DataType::Int64, "\"-9223372036854775808\"", "-9223372036854775808");
    check(DataType::Int64, "9223372036854775808", LARGE);
    check(DataType::Int64, "9007199254740993", "9007199254740993");
    check(DataType::Int64, "1.5", FINE);
    check(DataType::Int64, "1.0", "1");
    check(DataType::Int16, "32768", LARGE);
    check(DataType::Int32, "null", "NULL");
    check(DataType::Float64, "0.1", "0.1");
    check(DataType::Float64, "1e400", LARGE);
    check(DataType::Float64, "\"NaN\"", "NaN");
    check(DataType::Float64, "\"1.5\"", WRONG);
    check(DataType::Boolean, "true", "true");
    check(DataType::Boolean, "1", WRONG);
    check(DataType::Utf8, "\"a\\u00e9\\n\"", "aé\n");
    check(DataType::Utf8, "\"a\\u0000\"", "! has a NUL character");
    check(DataType::Utf8, "\"\\ud800\"", "! is not valid JSON");
    check(DataType::Utf8, "1", WRONG);
    check(DataType::Utf8, "{}", WRONG);
    check(DataType::Date32, "\"2024-02-29\"", "2024-02-29");
    check(DataType::Date32, "\"2023-02-29\"", "! is not a date as 2024-12-31");
    check(DataType::Date32, "19000", WRONG);
    check(DataType::FixedSizeBinary(16), "\"not\"", "! is not a uuid");
}

#[test]
fn moments_come_spelt_or_counted() {
    let check = |data_type: DataType, unit, value: &str, expect: &str| {
        assert_eq!(one(data_type, unit, value), expect, "{value} in {unit:?}");
    };
    check(utc(), Unit::Millis, "\"2024-01-01T00:00:00+01:00\"", "2023-12-31T23:00:00Z");
    check(utc(), Unit::Millis, "\"2024-01-01T00:00:00\"", "! is not a moment as 2024-12-31T23:59:59Z");
    check(utc(), Unit::Millis, "1704067200123", "2024-01-01T00:00:00.123Z");
    check(utc(), Unit::Seconds, "1704067200.000001", "2024-01-01T00:00:00.000001Z");
    check(utc(), Unit::Micros, "1704067200000001", "2024-01-01T00:00:00.000001Z");
    check(utc(), Unit::Micros, "0.5", FINE);
    check(utc(), Unit::Seconds, "1e30", LARGE);
    check(utc(), Unit::Millis, "\"1704067200123\"", "! is not a moment as 2024-12-31T23:59:59Z");
    let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
    check(clock.clone(), Unit::Millis, "\"2024-01-01 10:00:00.5\"", "2024-01-01T10:00:00.500");
    check(clock, Unit::Millis, "\"2024-01-01T10:00:00Z\"", "! is not a time as 2024-12-31T23:59:59");
}

#[test]
fn json_columns_keep_the_spelling() {
    let json = Field::new("c", DataType::Utf8, true).with_metadata([(OID.to_string(), "114".to_string())].into());
    let decoder = Decoder::new(Arc::new(Schema::new(vec![json])), &[Unit::Millis]).unwrap();
    let decoded = decoder.decode(&[Some(b"{\"c\": {\"b\": 1.0, \"a\": [1e2]} }")], Misfit::Leave).unwrap();
    assert_eq!(array_value_to_string(decoded.rows.column(0), 0).unwrap(), "{\"b\": 1.0, \"a\": [1e2]}");
}

#[test]
fn a_bad_record_is_told_by_place_and_column_and_harms_no_other() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    let decoder = Decoder::new(Arc::new(schema), &[Unit::Millis; 2]).unwrap();
    let records: [Option<&[u8]>; 8] = [
        Some(b"{\"a\":1,\"b\":\"x\",\"c\":[{}]}"),
        Some(b"{\"a\":\"secret\",\"b\":\"y\"}"),
        None,
        Some(b"[1]"),
        Some(b"{\"a\":1,}"),
        Some(b"{\"a\":\xff}"),
        Some(b"{\"a\":1,\"a\":2} "),
        Some(b"{} {}"),
    ];
    let left = decoder.decode(&records, Misfit::Leave).unwrap();
    let faults: Vec<_> = left.faults.iter().map(|f| (f.index, f.column.as_deref(), f.problem)).collect();
    assert_eq!(
        faults,
        [
            (1, Some("a"), "has another type than the column"),
            (3, None, "is not a JSON object"),
            (4, None, "is not valid JSON"),
            (5, None, "is not valid UTF-8"),
            (7, None, "is not valid JSON"),
        ]
    );
    let shown = |batch: &RecordBatch| -> Vec<String> {
        (0..batch.num_rows()).map(|i| array_value_to_string(batch.column(0), i).unwrap()).collect()
    };
    assert_eq!(shown(&left.rows), ["1", "", "2"]);
    let null = decoder.decode(&records, Misfit::Null).unwrap();
    assert_eq!(shown(&null.rows), ["1", "", "", "", "", "", "2", ""]);
}

#[test]
fn a_column_that_takes_no_null_makes_a_misfit_of_a_record_without_it() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
    let decoder = Decoder::new(Arc::new(schema), &[Unit::Millis]).unwrap();
    let records: [Option<&[u8]>; 4] = [Some(b"{}"), Some(b"{\"a\":null}"), None, Some(b"{\"a\":7}")];
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    let problems: Vec<_> = decoded.faults.iter().map(|f| f.problem).collect();
    assert_eq!((problems, decoded.rows.num_rows()), (vec!["is missing", "is null", "is null"], 1));
}

#[test]
fn a_type_that_json_is_not_read_as_is_refused_by_name() {
    let schema = Schema::new(vec![Field::new("blob", DataType::Binary, true)]);
    let error = Decoder::new(Arc::new(schema), &[Unit::Millis]).unwrap_err();
    assert_eq!(error.message(), "reading JSON as the type of column \"blob\" is not supported");
}

/// Against serde_json: what it takes for an object we take, what it refuses we refuse, and nothing panics.
#[test]
fn random_bytes_are_judged_as_serde_judges_them() {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let whole = "{\"c\": \"\\u00e9\\\\x\", \"d\":[1,{\"e\":null}], \"é\":-1.5e+3, \"f\":true ,\"g\":{\"h\":\"}\"}}";
    let pieces =
        ["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u12", "0", "1", "-", ".", "e", "é", " ", "null", "true", "\u{1}"];
    let decoder = decoder(DataType::Utf8, Unit::Millis);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(0..text.len());
            let piece = pieces[random.random_range(0..pieces.len())];
            let cut = random.random_range(0..2).min(text.len() - at);
            text.splice(at..at + cut, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let expect = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
        let decoded = decoder.decode(&[Some(text.as_bytes())], Misfit::Leave).unwrap();
        let got = decoded.faults.first().is_none_or(|f| f.column.is_some());
        assert_eq!(got, expect, "seed {seed}: {text}");
        if got { good += 1 } else { bad += 1 }
    }
    assert!(good > 1000 && bad > 1000, "seed {seed}: {good} good, {bad} bad");
}
