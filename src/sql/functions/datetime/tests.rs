//! Rows of `tests.tsv` are answers of PostgreSQL 15.18: zone, DateStyle, IntervalStyle, kernel, result type, answer (`\N` is
//! NULL, `!` an error with its SQLSTATE, message, detail and hint), arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};

use crate::error::Result;
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::functions::kernel;
use crate::sql::kernel::{Arg, Call, DateOrder, DateOutput, DateStyle, Env, IntervalStyle};
use crate::sql::numeric::Numeric;

/// 2026-11-27 12:34:56.789012 UTC.
const NOW: i64 = 1_795_782_896_789_012;

fn env(zone: &str, date_style: &str, interval_style: &str) -> Env {
    let (output, order) = date_style.split_once(", ").unwrap();
    let output = match output {
        "ISO" => DateOutput::Iso,
        "SQL" => DateOutput::Sql,
        "German" => DateOutput::German,
        _ => DateOutput::Postgres,
    };
    let order = match order {
        "DMY" => DateOrder::Dmy,
        "YMD" => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    };
    let interval_style = match interval_style {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    };
    let date_style = DateStyle { output, order };
    Env { time_zone: zone.parse().unwrap(), date_style, interval_style, now: NOW, statement_now: NOW, ..Env::plain() }
}

fn oid(name: &str) -> u32 {
    if name == "cstring" { pgtype::oid::CSTRING } else { postgres::by_name(name).unwrap().0 }
}

fn apply(source: &str, args: &[Arg], types: &[Ty], result: u32, rows: usize, env: &Env) -> Result<ArrayRef> {
    let kernel = kernel(source).unwrap_or_else(|| panic!("no kernel {source}"));
    let field = pgtype::field("", Ty::of(result), pgtype::arrow(result).unwrap());
    kernel(&Call { args, types, rows, result: &field, result_type: Ty::of(result), env })
}

fn input(name: &str, texts: &[Option<&str>], env: &Env) -> Result<ArrayRef> {
    let float = |text: &str| match text {
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        text => text.parse().unwrap(),
    };
    let each = texts.iter().copied();
    Ok(match name {
        "text" | "cstring" => Arc::new(StringArray::from(texts.to_vec())),
        "integer" => Arc::new(each.map(|t| t.map(|t| t.parse().unwrap())).collect::<Int32Array>()),
        "oid" => Arc::new(each.map(|t| t.map(|t| t.parse().unwrap())).collect::<UInt32Array>()),
        "boolean" => Arc::new(each.map(|t| t.map(|t| t == "true")).collect::<BooleanArray>()),
        "double precision" => Arc::new(each.map(|t| t.map(float)).collect::<Float64Array>()),
        _ => {
            let constant = |array: ArrayRef| Arg::constant(array);
            let args = [
                Arg::array(Arc::new(StringArray::from(texts.to_vec()))),
                constant(Arc::new(UInt32Array::from(vec![0]))),
                constant(Arc::new(Int32Array::from(vec![-1]))),
            ];
            let oid = oid(name);
            apply(pgtype::functions(oid).unwrap().input, &args, &[Ty::TEXT], oid, texts.len(), env)?
        }
    })
}

fn shown(array: &ArrayRef, row: usize, oid: u32, env: &Env) -> String {
    if array.is_null(row) {
        return "\\N".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary if oid == pgtype::oid::NUMERIC => {
            Numeric::decode(array.as_binary::<i32>().value(row)).to_string()
        }
        DataType::Binary => {
            array.as_binary::<i32>().value(row).iter().fold("\\x".into(), |hex, b| format!("{hex}{b:02x}"))
        }
        _ => {
            let output = pgtype::functions(oid).unwrap().output;
            let one = Arg::array(array.slice(row, 1));
            let text = apply(output, &[one], &[Ty::of(oid)], pgtype::oid::CSTRING, 1, env).unwrap();
            text.as_string::<i32>().value(0).to_owned()
        }
    }
}

/// Each argument stands in two rows behind a NULL, or counts for all three.
fn call(source: &str, result: &str, arguments: &[(&str, Option<&str>)], constants: usize, env: &Env) -> String {
    let answer = || -> Result<String> {
        let (mut args, mut types) = (vec![], vec![]);
        for (place, (name, text)) in arguments.iter().enumerate() {
            let constant = constants >> place & 1 == 1;
            let texts = if constant { vec![*text] } else { vec![None, *text, *text] };
            let array = input(name, &texts, env)?;
            args.push(if constant { Arg::constant(array) } else { Arg::array(array) });
            types.push(Ty::of(oid(name)));
        }
        let result = oid(result);
        let array = apply(source, &args, &types, result, 3, env)?;
        assert_eq!(array.len(), 3, "{source}");
        assert_eq!(*array.data_type(), pgtype::arrow(result).unwrap(), "{source}");
        let answer = shown(&array, 2, result, env);
        assert_eq!(shown(&array, 1, result, env), answer, "{source}");
        Ok(answer)
    };
    answer().unwrap_or_else(|e| {
        let parts = [Some(e.kind().sqlstate()), Some(e.message()), e.detail(), e.hint()];
        format!("! {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" | "))
    })
}

#[test]
fn answers_are_those_of_postgres() {
    let mut wrong = vec![];
    for (number, line) in include_str!("tests.tsv").lines().enumerate() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [zone, dates, intervals, source, result, expected, arguments @ ..] = columns.as_slice() else {
            panic!("line {number} has too few columns")
        };
        let argument = |column: &&'static str| {
            let (name, text) = column.split_once('=').unwrap();
            (name, (text != "\\N").then_some(text))
        };
        let arguments: Vec<_> = arguments.iter().map(argument).collect();
        let env = env(zone, dates, intervals);
        for constants in [0, usize::MAX, number] {
            let answer = call(source, result, &arguments, constants, &env);
            let same = match *result {
                "double precision" => answer.parse::<f64>().ok() == expected.parse().ok(),
                _ => answer == *expected,
            };
            if !same {
                wrong.push(format!("{}: {line}\n    {answer}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_present_is_the_transaction_s_start_in_the_session_s_zone() {
    let rows = [
        ("now", "timestamp with time zone", None, "2026-11-27 23:34:56.789012+11"),
        ("grammar/current_date", "date", None, "2026-11-27"),
        ("grammar/current_time", "time with time zone", Some("0"), "23:34:57+11"),
        ("grammar/current_time", "time with time zone", None, "23:34:56.789012+11"),
        ("grammar/current_timestamp", "timestamp with time zone", Some("2"), "2026-11-27 23:34:56.79+11"),
        ("grammar/localtime", "time without time zone", Some("3"), "23:34:56.789"),
        ("grammar/localtimestamp", "timestamp without time zone", Some("9"), "2026-11-27 23:34:56.789012"),
    ];
    let env = env("Australia/Lord_Howe", "ISO, MDY", "postgres");
    for (source, result, digits, expected) in rows {
        let arguments: Vec<_> = digits.iter().map(|digits| ("integer", Some(*digits))).collect();
        assert_eq!(call(source, result, &arguments, 1, &env), expected, "{source}");
    }
    let words =
        [("today", "2026-11-27"), ("tomorrow", "2026-11-28"), ("now", "2026-11-27"), ("yesterday", "2026-11-26")];
    for (word, expected) in words {
        let arguments = [("cstring", Some(word))];
        assert_eq!(call("date_in", "date", &arguments, 1, &env), expected);
    }
    let birth = [("timestamp without time zone", Some("2000-02-29 12:00"))];
    assert_eq!(call("age/2059", "interval", &birth, 1, &env), "26 years 8 mons 26 days 12:00:00");
    let clock = apply("clock_timestamp", &[], &[], pgtype::oid::TIMESTAMPTZ, 1, &env).unwrap();
    assert!(clock.as_primitive::<TimestampMicrosecondType>().value(0) > 0);
    let text = apply("timeofday", &[], &[], pgtype::oid::TEXT, 1, &env).unwrap();
    assert!(text.as_string::<i32>().value(0).ends_with("+11") || text.as_string::<i32>().value(0).ends_with("+1030"));
}

#[test]
fn keys_are_in_the_order_of_the_values() {
    let env = env("UTC", "ISO, MDY", "postgres");
    let key = |source: &str, name: &str, text: &str, data_type: DataType| {
        let array = input(name, &[Some(text)], &env).unwrap();
        let field = arrow::datatypes::Field::new("", data_type, true);
        let ty = Ty::of(oid(name));
        let args = [Arg::array(array)];
        let call = Call { args: &args, types: &[ty], rows: 1, result: &field, result_type: ty, env: &env };
        kernel(source).unwrap()(&call).unwrap()
    };
    let spans = ["-2147483648 mons", "-1 day", "-23:59:59", "0", "24:00:00", "29 days", "1 mon -0.000001 sec", "1 mon"];
    let spans = spans.map(|text| {
        let key = key("key/interval", "interval", text, DataType::Decimal128(38, 0));
        key.as_primitive::<arrow::datatypes::Decimal128Type>().value(0)
    });
    assert!(spans.is_sorted_by(|a, b| a < b), "{spans:?}");
    let times = ["00:00:00+15:59", "12:00:00+01", "12:00:00+00", "11:00:00-01", "24:00:00-15:59"];
    let times = times.map(|text| {
        let key = key("key/timetz", "time with time zone", text, DataType::Binary);
        key.as_binary::<i32>().value(0).to_vec()
    });
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

/// Texts made of pieces that mean something, in no order: an error or a value, never a panic.
#[test]
fn no_text_makes_an_input_function_panic() {
    let pieces = [
        "1",
        "99",
        "2001",
        "20011225",
        "-",
        "+",
        ":",
        ".",
        "/",
        " ",
        "T",
        "j",
        "y",
        "jan",
        "bc",
        "pm",
        "now",
        "infinity",
        "epoch",
        "est",
        "msk",
        "dst",
        "Europe/Berlin",
        "<+03>-3",
        "P",
        "1Y",
        "mon",
        "ago",
        "99999999999999999999",
        "é",
        "\0",
        "24:00",
        "60",
        "allballs",
        "d",
        "mm",
        "s",
        "ago",
        "1-2",
        "µ",
        ",",
        "@",
    ];
    let templates =
        ["YYYY-MM-DD", "J", "IYYY-IW-ID", "FXDDD CC", "Y,YYY", "HH12 AM TZH", "YYYYMMDDHH24MISSUS", "W WW MM"];
    let env = env("Europe/Berlin", "Postgres, DMY", "sql_standard");
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let names =
        ["date", "time without time zone", "time with time zone", "timestamp", "timestamp with time zone", "interval"];
    for _ in 0..20_000 {
        let text: String = (0..next(8)).map(|_| pieces[next(pieces.len())]).collect();
        let name = names[next(names.len())];
        if let Ok(array) = input(name, &[Some(&text)], &env) {
            let _ = shown(&array, 0, oid(name), &env);
        }
        let template = templates[next(templates.len())];
        let arguments = [("text", Some(text.as_str())), ("text", Some(template))];
        let _ = call("to_timestamp", "timestamp with time zone", &arguments, 0, &env);
        let arguments = [("interval", Some("-1 year 2 days 3:04:05.6")), ("text", Some(text.as_str()))];
        let _ = call("interval_to_char", "text", &arguments, 0, &env);
    }
}
