//! Kernels against what PostgreSQL 15.18 answers: `tests.tsv` holds function, result type, arguments (`type=text`, or
//! `type` for NULL) and the answer's text, or `!`, SQLSTATE, message, detail, hint.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;

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
