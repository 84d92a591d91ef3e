//! Kernels against what PostgreSQL 15.18 answers: `tests.tsv` holds function, result type, arguments (`type=text`, or
//! `type` for NULL) and the answer's text, or `!`, SQLSTATE, message, detail, hint.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field};

use super::types::output;
use crate::error::{Error, Result};
use crate::formats::postgres::{self, input};
use crate::pgtype::{self, Ty};
use crate::sql::functions::kernel;
use crate::sql::kernel::{Arg, Call, Env};

fn argument(spec: &str) -> Result<(Arg, Ty)> {
    let (name, value) = spec.split_once('=').map_or((spec, None), |(name, value)| (name, Some(value)));
    let oid = postgres::by_name(name).unwrap_or_else(|| panic!("no type {name}")).0;
    let ty = Ty::of(oid);
    let lies = pgtype::arrow(oid).unwrap();
    let Some(value) = value else { return Ok((Arg::constant(arrow::array::new_null_array(&lies, 1)), ty)) };
    let field = pgtype::field("", ty, lies);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let array = match pgtype::functions(oid).and_then(|functions| kernel(functions.input)) {
        Some(_) => super::types::input(&field, ty, texts, &Env::plain())?,
        None if oid == pgtype::oid::NUMERIC => {
            let number = crate::sql::numeric::Numeric::parse(value)?;
            Arc::new(arrow::array::BinaryArray::from_vec(vec![&number.encode()]))
        }
        None => input::value(oid, value, &Env::plain().style())?.to_array().unwrap(),
    };
    Ok((Arg::constant(array), ty))
}

fn answer(source: &str, result: &str, specs: &[&str]) -> Result<Option<String>> {
    let (mut args, mut types) = (vec![], vec![]);
    for spec in specs {
        let (arg, ty) = argument(spec)?;
        args.push(arg);
        types.push(ty);
    }
    let ty = Ty::of(postgres::by_name(result).unwrap_or_else(|| panic!("no type {result}")).0);
    let field = pgtype::field("", ty, pgtype::arrow(ty.oid).unwrap_or(DataType::Utf8));
    let kernel = kernel(source).unwrap_or_else(|| panic!("no kernel {source}"));
    let env = Env::plain();
    let value = kernel(&Call { args: &args, types: &types, rows: 1, result: &field, result_type: ty, env: &env })?;
    assert_eq!(value.data_type(), field.data_type(), "{source} gives another type");
    assert_eq!(value.len(), 1, "{source}");
    let texts = output(ty, &value, &env)?;
    Ok((!texts.is_null(0)).then(|| texts.value(0).to_owned()))
}

fn shown(error: &Error) -> String {
    let part = |text: Option<&str>| text.map(str::to_owned).unwrap_or_default();
    let parts =
        [error.kind().sqlstate().to_owned(), error.message().to_owned(), part(error.detail()), part(error.hint())];
    format!("!{}", parts.join("|"))
}

#[test]
fn kernels_answer_as_postgres_does() {
    let mut wrong = vec![];
    for line in include_str!("tests.tsv").lines().filter(|line| !line.is_empty()) {
        let fields: Vec<String> = line
            .split('\t')
            .map(|f| f.replace("\\\\", "\u{1}").replace("\\t", "\t").replace("\\n", "\n").replace('\u{1}', "\\"))
            .collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let [source, result, args @ .., expected] = fields.as_slice() else { panic!("{line}") };
        let got = match answer(source, result, args) {
            Ok(Some(text)) => text,
            Ok(None) => "NULL".to_owned(),
            Err(error) => shown(&error),
        };
        if got != *expected {
            wrong.push(format!("{source}({}) is\n  {got}, not\n  {expected}", args.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const COLUMNS: [(&str, &str); 4] = [("a", "int4"), ("b", "text"), ("c", "numeric"), ("d", "int4[]")];

fn oid(name: &str) -> u32 {
    postgres::by_name(name).unwrap().0
}

fn record_type() -> DataType {
    let field = |(name, ty): (&str, &str)| pgtype::field(name, Ty::of(oid(ty)), pgtype::arrow(oid(ty)).unwrap());
    DataType::Struct(COLUMNS.into_iter().map(field).collect())
}

fn base(texts: [&str; 4]) -> Arg {
    let DataType::Struct(fields) = record_type() else { unreachable!() };
    let specs = COLUMNS.iter().zip(texts).map(|((_, ty), text)| format!("{ty}={text}"));
    let columns = specs.map(|spec| Arc::clone(&argument(&spec).unwrap().0.array)).collect();
    Arg::constant(Arc::new(arrow::array::StructArray::try_new(fields, columns, None).unwrap()))
}

/// Records as record_out shows them, set or not.
fn records(source: &str, args: &[Arg]) -> String {
    let set = source.contains("recordset");
    let record = pgtype::field("item", Ty::of(pgtype::oid::RECORD), record_type());
    let result = if set { Field::new("", DataType::List(Arc::new(record.clone())), true) } else { record };
    let (types, env) = (vec![Ty::TEXT; args.len()], Env::plain());
    let result_type = Ty::of(pgtype::oid::RECORD);
    let call = Call { args, types: &types, rows: 1, result: &result, result_type, env: &env };
    let made = match kernel(source).unwrap()(&call) {
        Ok(made) => made,
        Err(error) => return shown(&error),
    };
    assert_eq!(made.data_type(), result.data_type(), "{source} gives another type");
    let rows = if set { made.as_list::<i32>().value(0) } else { made };
    let texts = output(Ty::of(pgtype::oid::RECORD), &rows, &env).unwrap();
    texts.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn objects_become_records() {
    let text = |json: &str| Arg::constant(Arc::new(StringArray::from(vec![Some(json)])));
    let whole = r#"{"a":"1","b":{"x":[1]},"c":12.345,"d":[1,null,"3"]}"#;
    let rows = [
        ("jsonb_to_record", whole, r#"(1,"{""x"": [1]}",12.345,"{1,NULL,3}")"#),
        (
            "json_to_record",
            r#"{"a":"1","b": { "x":[1]},"c":12.345,"d":"{4,5}"}"#,
            r#"(1,"{ ""x"":[1]}",12.345,"{4,5}")"#,
        ),
        ("json_to_record", r#"{"a":null,"b":true,"a":7, "d":null}"#, "(7,true,,)"),
        ("json_to_record", "[1]", "!22023|cannot call populate_composite on an array||"),
        ("json_to_record", "null", "!22023|cannot call populate_composite on a scalar||"),
        ("jsonb_to_record", r#"{"d":5}"#, "!22P02|expected JSON array||See the value of key \"d\"."),
        ("jsonb_to_record", r#"{"a":"x"}"#, "!22P02|invalid input syntax for type integer: \"x\"||"),
        (
            "json_to_record",
            r#"{"b":"\u0000"}"#,
            "!22P05|unsupported Unicode escape sequence|\\u0000 cannot be converted to text.|",
        ),
        ("jsonb_to_recordset", r#"[{"a":1},{"b":"y","a":2},{}]"#, "(1,,,) (2,y,,) (,,,)"),
        ("jsonb_to_recordset", r#"[{"a":1},2]"#, "!22023|argument of jsonb_to_recordset must be an array of objects||"),
        ("json_to_recordset", "{}", "!22023|cannot call json_to_recordset on an object||"),
        ("json_to_recordset", "1", "!22023|cannot call json_to_recordset on a scalar||"),
    ];
    for (source, json, expected) in rows {
        let json = if source.starts_with("jsonb") { input::normal_json(json).unwrap() } else { json.to_owned() };
        assert_eq!(records(source, &[text(&json)]), expected, "{source}({json})");
    }
    let none = Arg::constant(Arc::new(StringArray::from(vec![None::<&str>])));
    let from = || base(["9", "base", "1.5", "{8}"]);
    let null = || Arg::constant(arrow::array::new_null_array(&record_type(), 1));
    let populated = |base: Arg, json: Arg| records("jsonb_populate_record", &[base, json]);
    assert_eq!(populated(from(), text(r#"{"b": "new"}"#)), "(9,new,1.5,{8})");
    assert_eq!(populated(from(), text(r#"{"b": null}"#)), "(9,,1.5,{8})");
    assert_eq!(populated(from(), none.clone()), "(9,base,1.5,{8})");
    assert_eq!(populated(null(), text(r#"{"a": null, "b": "new"}"#)), "(,new,,)");
    assert_eq!(populated(null(), none.clone()), "NULL");
    assert_eq!(populated(null(), text("null")), "!22023|cannot call populate_composite on a scalar||");
}

#[test]
fn records_become_objects() {
    let record = base(["1", "q\"", "1.50", "{1,2}"]);
    let written = |source: &str, args: &[Arg], result: u32| {
        let field = pgtype::field("", Ty::of(result), DataType::Utf8);
        let types = [Ty::of(pgtype::oid::RECORD), Ty::BOOL];
        let (env, result_type) = (Env::plain(), Ty::of(result));
        let call = Call { args, types: &types, rows: 1, result: &field, result_type, env: &env };
        kernel(source).unwrap()(&call).unwrap().as_string::<i32>().value(0).to_owned()
    };
    let yes = Arg::constant(Arc::new(arrow::array::BooleanArray::from(vec![true])));
    assert_eq!(written("row_to_json", std::slice::from_ref(&record), 114), r#"{"a":1,"b":"q\"","c":1.50,"d":[1,2]}"#);
    assert_eq!(
        written("row_to_json_pretty", &[record.clone(), yes], 114),
        "{\"a\":1,\n \"b\":\"q\\\"\",\n \"c\":1.50,\n \"d\":[1,2]}"
    );
    assert_eq!(written("to_jsonb", &[record], 3802), r#"{"a": 1, "b": "q\"", "c": 1.50, "d": [1, 2]}"#);
}

/// Hostile documents and paths are refused, and end no process.
#[test]
fn depth_is_bounded() {
    // as much stack as a statement's own threads have
    std::thread::Builder::new().stack_size(64 << 20).spawn(check_depth).unwrap().join().unwrap();
}

fn check_depth() {
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    assert!(input::valid_json(&deep("[", "]", 5_000)).is_ok());
    assert_eq!(input::valid_json(&deep("[", "]", 7_000)).unwrap_err().kind().sqlstate(), "54001");
    assert_eq!(input::normal_json(&deep("[", "]", 5_000)).unwrap().len(), 10_000);
    let document = Some(input::normal_json(&deep("[", "]", 3_000)).unwrap());
    let document = document.as_deref().unwrap();
    let code = |source: &str, result: &str, args: &[&str]| match answer(source, result, args) {
        Ok(_) => "fine",
        Err(error) => error.kind().sqlstate(),
    };
    let json = format!("jsonb={document}");
    assert_eq!(code("jsonb_cmp", "int4", &[&json, "jsonb=1"]), "54001");
    assert_eq!(code("jsonb_strip_nulls", "jsonb", &[&json]), "54001");
    assert_eq!(code("jsonb_contains", "bool", &[&json, &json]), "54001");
    assert_eq!(code("jsonb_pretty", "text", &["jsonb=[[1]]"]), "fine");
    for path in ["$.**", "$.**.a", "strict $.**{last}"] {
        let path = format!("jsonpath={path}");
        assert_eq!(code("jsonb_path_query_array", "jsonb", &[&json, &path, "jsonb={}", "bool=f"]), "54001", "{path}");
    }
    let paths = [
        format!("${}", ".a".repeat(5_000)),
        format!("1 == 1{}", " && 1 == 1".repeat(5_000)),
        format!("1{}", " + 1".repeat(5_000)),
        format!("{}1", "-".repeat(5_000)),
        deep("(", ")", 5_000),
        format!("{}1", "$ ? (@ == ".repeat(500)),
    ];
    for path in paths {
        assert_eq!(code("jsonpath_in", "jsonpath", &[&format!("text={path}")]), "54001", "{:.20}", path);
    }
    let long = format!("jsonpath=${}", "[0]".repeat(900));
    assert_eq!(code("jsonb_path_query_array", "jsonb", &[&json, &long, "jsonb={}", "bool=f"]), "fine");
}
