//! Single values and envelopes, the smallest that tell.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::formats::change::Op;

/// The value of `{"c": value}` in a plain topic, or the problem.
fn one(type_name: &str, unit: Option<Unit>, envelope: Envelope, value: &str) -> String {
    let mut column = column("c", type_name);
    column.unit = unit;
    let mut declaration = Declaration::new(Format::Json, envelope, vec![column]);
    declaration.decimals = Decimals::String;
    let decoder = Decoder::new(declaration).unwrap();
    let record = format!("{{\"c\": {value}}}");
    let records = [Record { value: Some(record.as_bytes()), ..Record::default() }];
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    match decoded.faults.first() {
        Some(fault) => format!("! {}", fault.problem),
        None => shown(&decoded.changed.rows)[0][0].clone().unwrap_or("NULL".into()),
    }
}

const LARGE: &str = "! is out of the type's range";
const FINE: &str = "! has more digits after the point than the column";
const WRONG: &str = "! has another type than the column";

#[test]
fn plain_values_are_exact_or_refused() {
    let check = |type_name: &str, value: &str, expect: &str| {
        assert_eq!(one(type_name, None, Envelope::None, value), expect, "{value} as {type_name}");
    };
    check("numeric(12,2)", "1.1", "1.10");
    check("numeric(12,2)", "\"-1.10\"", "-1.10");
    check("numeric(12,2)", "1.105", FINE);
    check("numeric(12,2)", "1.100", "1.10");
    check("numeric(12,2)", "10000000000", LARGE);
    check("numeric(12,2)", "1e9", "1000000000.00");
    check("numeric(12,2)", "0e999999999999", "0.00");
    check("numeric(12,2)", "1e999999999999", LARGE);
    check("numeric(12,2)", "\"NaN\"", "! is not a finite number, and the column's type holds no others");
    check("numeric(12,2)", "\" 1\"", WRONG);
    check("numeric(12,2)", "true", WRONG);
    check("numeric", "1e400", &format!("1{}", "0".repeat(400)));
    check("numeric", "\"NaN\"", "NaN");
    check("numeric", "1.500", "1.500");
    check("numeric(50,10)", "1.5", "1.5000000000");
    check("int8", "9223372036854775807", "9223372036854775807");
    check("int8", "\"-9223372036854775808\"", "-9223372036854775808");
    check("int8", "9223372036854775808", LARGE);
    check("int8", "1.5", FINE);
    check("int8", "1.0", "1");
    check("int2", "32768", LARGE);
    check("int4", "null", "NULL");
    check("float8", "0.1", "0.1");
    check("float8", "1e400", LARGE);
    check("float8", "\"NaN\"", "NaN");
    check("float8", "\"1.5\"", WRONG);
    check("bool", "true", "t");
    check("bool", "1", WRONG);
    check("text", "\"a\\u00e9\\n\\ud83d\\ude00\"", "aé\n😀");
    check("text", "\"a\\u0000\"", "! has a NUL character");
    check("text", "\"\\ud800\"", "! is not valid JSON");
    check("text", "1", WRONG);
    check("text", "{}", WRONG);
    check("varchar(2)", "\"äöü\"", "! is longer than the column");
    check("varchar(3)", "\"äöü\"", "äöü");
    check("date", "\"2024-02-29\"", "2024-02-29");
    check("date", "\"2023-02-29\"", "! is not a date as 2024-12-31");
    check("date", "19000", WRONG);
    check("uuid", "\"not\"", "! is not a uuid");
    check("json", "{\"b\": 1.0, \"a\": [1e2]} ", "{\"b\": 1.0, \"a\": [1e2]}");
    check("jsonb", "{\"b\": 1.0, \"a\": [1e2]}", "{\"a\": [100], \"b\": 1.0}");
    check("json", "\"x\"", "\"x\"");
    check("bytea", "\"AP8=\"", "\\x00ff");
    check("bytea", "\"*\"", "! is not base64");
    check("int4[]", "[1,null,3]", "{1,NULL,3}");
    check("int4[]", "[1,\"x\"]", WRONG);
    check("int4[]", "[[1]]", WRONG);
    check("int4[]", "[]", "{}");
    check("numeric(5,1)[]", "[1,2.5]", "{1.0,2.5}");
    check("timestamptz[]", "[\"2024-01-01T00:00:00Z\", 0]", "{\"2024-01-01 00:00:00+00\",\"1970-01-01 00:00:00+00\"}");
    check("time", "\"24:00:00\"", "24:00:00");
    check("time", "\"24:00:01\"", "! is not a time of day as 23:59:59");
    check("interval", "\"P1Y2M\"", "1 year 2 mons");
    check("timetz", "\"10:00:00+05:30\"", "10:00:00+05:30");
    check("point", "{\"x\": 1.5, \"y\": 2}", "(1.5,2)");
}

#[test]
fn moments_come_spelt_or_counted() {
    let check = |type_name: &str, unit, value: &str, expect: &str| {
        assert_eq!(one(type_name, unit, Envelope::None, value), expect, "{value} in {unit:?}");
    };
    let (s, us, ns) = (Some(Unit::Seconds), Some(Unit::Micros), Some(Unit::Nanos));
    check("timestamptz", None, "\"2024-01-01T00:00:00+01:00\"", "2023-12-31 23:00:00+00");
    check("timestamptz", None, "\"2024-01-01T00:00:00\"", "! is not a moment as 2024-12-31T23:59:59Z");
    check("timestamptz", None, "1704067200123", "2024-01-01 00:00:00.123+00");
    check("timestamptz", s, "1704067200.000001", "2024-01-01 00:00:00.000001+00");
    check("timestamptz", us, "1704067200000001", "2024-01-01 00:00:00.000001+00");
    check("timestamptz", ns, "1704067200000001999", "2024-01-01 00:00:00.000001+00");
    check("timestamptz", us, "0.5", FINE);
    check("timestamptz", s, "1e30", LARGE);
    check("timestamptz", us, "9223372036854775807", LARGE);
    check("timestamptz", None, "\"1704067200123\"", "! is not a moment as 2024-12-31T23:59:59Z");
    check("timestamp", None, "\"2024-01-01 10:00:00.5\"", "2024-01-01 10:00:00.5");
    check("timestamp", None, "\"2024-01-01T10:00:00Z\"", "! is not a time as 2024-12-31T23:59:59");
    check("date", Some(Unit::Days), "19782", "2024-02-29");
    check("date", Some(Unit::Millis), "-1", "1969-12-31");
    check("time", us, "1", "00:00:00.000001");
}

/// What the corpus has no recording of, as Debezium's documentation and sources have it.
#[test]
fn other_types_of_connect() {
    let check = |type_name: &str, value: &str, expect: &str| {
        assert_eq!(one(type_name, None, Envelope::Connect, value), expect, "{value} as {type_name}");
    };
    check("bit(1)", "true", "1");
    check("bit(5)", "\"Ag==\"", "00010");
    check("bit(3)", "\"/w==\"", LARGE);
    check("text", "{\"wkb\":\"AQE=\",\"srid\":4326}", "0101");
    check("jsonb", "\"{\\\"a\\\":1}\"", "{\"a\": 1}");
    check("jsonb", "{\"a\":\"1\"}", "{\"a\": \"1\"}");
    check("json", "\"not json\"", "! holds no valid JSON");
    check("inet", "\"10.0.0.1/8\"", "10.0.0.1/8");
    check("int4range", "\"[1,5)\"", "[1,5)");
    check("numeric(4,1)[]", "[\"1.5\"]", "{1.5}");
    check("uuid[]", "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]", "NULL");
    check("timestamptz", "\"2024-02-29T21:59:59.1234567Z\"", "2024-02-29 21:59:59.123457+00");
}

fn debezium(values: &[&str]) -> Decoded {
    let mut declaration =
        Declaration::new(Format::Json, Envelope::Debezium, columns(&[("id", "int8"), ("name", "text")]));
    declaration.key = vec![0];
    let decoder = Decoder::new(declaration).unwrap().with_before();
    let records: Vec<Record<'_>> =
        values.iter().map(|value| Record { value: Some(value.as_bytes()), ..Record::default() }).collect();
    decoder.decode(&records, Misfit::Leave).unwrap()
}

#[test]
fn an_event_is_whole_or_a_fault_that_names_its_field() {
    let decoded = debezium(&[
        r#"{"op":"c","after":{"id":1,"name":"a"}}"#,
        r#"{"op":"c","after":{"id":1}}"#,
        r#"{"op":"c","after":{"id":"x","name":"a"}}"#,
        r#"{"id":1,"name":"a"}"#,
        r#"{"op":"x","after":{"id":1,"name":"a"}}"#,
        r#"{"op":"d","before":{"name":"a"}}"#,
        r#"{"op":"u","after":null}"#,
        r#"{"op":"m","message":{}}"#,
        r#"{"op":"u","before":{"id":1,"name":"a"},"after":{"id":2,"name":"a"}}"#,
        r#"{"op":"d","before":{"id":2,"name":"a"},"after":null}"#,
        r#"{"op":"c","after":{"id":1,"name":"a","name":"b"}}"#,
    ]);
    let faults: Vec<_> = decoded.faults.iter().map(|f| (f.index, f.column.as_deref(), f.problem)).collect();
    let expected = [
        (1, Some("name"), "is missing"),
        (2, Some("id"), "has another type than the column"),
        (3, None, "is not an event of Debezium: it has no op"),
        (4, None, "has an op that Debezium does not have"),
        (5, Some("id"), "is missing"),
        (6, None, "has no row after its change"),
    ];
    assert_eq!(faults, expected);
    assert_eq!(decoded.kept, [0, 8, 9, 10]);
    assert_eq!(decoded.changed.ops, [Op::Insert, Op::Update, Op::Delete, Op::Insert]);
    let some = |text: &str| Some(text.to_owned());
    let rows = [[some("1"), some("a")], [some("2"), some("a")], [some("2"), None], [some("1"), some("b")]];
    assert_eq!(shown(&decoded.changed.rows), rows);
    assert_eq!(shown(&decoded.changed.was.unwrap()), [[None], [some("1")], [None], [None]]);
    let before = [[None, None], [some("1"), some("a")], [some("2"), some("a")], [None, None]];
    assert_eq!(shown(&decoded.before.unwrap()), before);
}

#[test]
fn a_plain_topic_takes_keys_and_paths_and_refuses_records_of_another_kind() {
    let mut declared = columns(&[("id", "int8"), ("city", "text"), ("all", "jsonb")]);
    declared[1].path = vec!["address".into(), "city".into()];
    declared[2].path = vec!["address".into()];
    let mut declaration = Declaration::new(Format::Json, Envelope::None, declared);
    declaration.key = vec![0];
    let decoder = Decoder::new(declaration).unwrap();
    let record = |key: &'static str, value: Option<&'static str>| Record {
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        ..Record::default()
    };
    let records = [
        record("7", Some(r#"{"address":{"city":"Bern","zip":1}}"#)),
        record(r#"{"id":8}"#, None),
        record("", Some(r#"{"before":null,"after":{"id":1},"op":"c"}"#)),
        record(r#"{"id":9}"#, Some(r#"{"address":null}"#)),
        record("x", None),
    ];
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    let some = |text: &str| Some(text.to_owned());
    let rows = [
        [some("7"), some("Bern"), some("{\"zip\": 1, \"city\": \"Bern\"}")],
        [some("8"), None, None],
        [some("9"), None, None],
    ];
    assert_eq!(shown(&decoded.changed.rows), rows);
    assert_eq!(decoded.changed.ops, [Op::Insert, Op::Delete, Op::Insert]);
    assert_eq!(decoded.faults.iter().map(|f| f.index).collect::<Vec<_>>(), [2, 4]);
    let without_key = Decoder::new(Declaration::new(Format::Json, Envelope::None, columns(&[("id", "int8")]))).unwrap();
    let decoded = without_key.decode(&records[2..3], Misfit::Leave).unwrap();
    assert_eq!(decoded.faults[0].problem, "has none of the declared columns");
}

#[test]
fn csv_and_raw_values() {
    let declaration =
        Declaration::new(Format::Csv, Envelope::None, columns(&[("a", "int4"), ("b", "text"), ("c", "date")]));
    let decoder = Decoder::new(declaration).unwrap();
    let lines =
        ["1,x,2024-01-01", "2,\"\",", ",\"a\"\"b,\nc\",infinity\r\n", "x,y,", "1,2", "1,2,,4", "1,\"2,", "1,a\"b,"];
    let records: Vec<Record<'_>> =
        lines.iter().map(|line| Record { value: Some(line.as_bytes()), ..Record::default() }).collect();
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    let some = |text: &str| Some(text.to_owned());
    let rows = [
        [some("1"), some("x"), some("2024-01-01")],
        [some("2"), some(""), None],
        [None, some("a\"b,\nc"), some("infinity")],
    ];
    assert_eq!(shown(&decoded.changed.rows), rows);
    let faults: Vec<_> = decoded.faults.iter().map(|f| (f.index, f.column.as_deref(), f.problem)).collect();
    let expected = [
        (3, Some("a"), "is not spelt as a value of the column's type"),
        (4, Some("c"), "is missing"),
        (5, None, "has more fields than there are columns"),
        (6, None, "is not one line of CSV"),
        (7, None, "is not one line of CSV"),
    ];
    assert_eq!(faults, expected);
    let raw =
        |type_name: &str| Decoder::new(Declaration::new(Format::Raw, Envelope::None, columns(&[("v", type_name)])));
    let records =
        [Record { value: Some(b"\xff"), ..Record::default() }, Record { value: Some(b"7"), ..Record::default() }];
    let decoded = raw("bytea").unwrap().decode(&records, Misfit::Leave).unwrap();
    assert_eq!(shown(&decoded.changed.rows), [[some("\\xff")], [some("\\x37")]]);
    let decoded = raw("int4").unwrap().decode(&records, Misfit::Null).unwrap();
    assert_eq!(shown(&decoded.changed.rows), [[None], [some("7")]]);
    assert_eq!(decoded.faults.len(), 1);
}

#[test]
fn only_some_columns_are_read() {
    let decoder =
        Decoder::new(Declaration::new(Format::Json, Envelope::None, columns(&[("a", "int4"), ("b", "int4")])));
    let decoder = decoder.unwrap().only(&[1]);
    let records = [Record { value: Some(br#"{"a":"no number","b":2}"#), ..Record::default() }];
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    assert_eq!(shown(&decoded.changed.rows), [[Some("2".to_owned())]]);
}

/// Against serde_json: what it takes for an object we take, what it refuses we refuse, and nothing panics.
#[test]
fn random_text_is_judged_as_serde_judges_it() {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let whole = "{\"c\": \"\\u00e9\\\\x\", \"d\":[1,{\"e\":null}], \"é\":-1.5e+3, \"f\":true ,\"g\":{\"h\":\"}\"}}";
    let pieces =
        ["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u12", "0", "1", "-", ".", "e", "é", " ", "null", "true", "\u{1}"];
    let mut declaration = Declaration::new(Format::Json, Envelope::None, columns(&[("c", "text"), ("k", "text")]));
    declaration.columns.iter_mut().for_each(|column| column.optional = true);
    let decoder = Decoder::new(declaration).unwrap();
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
        let records = [Record { value: Some(text.as_bytes()), ..Record::default() }];
        let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
        let judged = |f: &Fault| f.column.is_some() || f.problem == "has none of the declared columns";
        let got = decoded.faults.first().is_none_or(judged);
        assert_eq!(got, expect, "seed {seed}: {text}");
        if got { good += 1 } else { bad += 1 }
    }
    assert!(good > 1000 && bad > 1000, "seed {seed}: {good} good, {bad} bad");
}
