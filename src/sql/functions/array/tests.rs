//! Arrays against PostgreSQL's answers, and how other families run such tables.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, UInt32Array};
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::functions::{array, kernel, lies_as};
use crate::sql::image;
use crate::sql::kernel::{Arg, Call, Env};

/// A function, its arguments (`type:text`, ` | ` between them, `\N` for NULL), the type of its result, and what PostgreSQL
/// answered: a text, `\N`, or `!` and SQLSTATE and message.
pub(in crate::sql::functions) type Row = (&'static str, &'static str, &'static str, &'static str);

/// Compares all rows before it fails.
pub(in crate::sql::functions) fn check(rows: &[Row], env: &Env) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(source, arguments, result, expected)| {
            let answer = match answer(source, arguments, result, env) {
                Ok(Some(text)) => text,
                Ok(None) => "\\N".to_owned(),
                Err(error) => format!("!{} {}", error.kind().sqlstate(), error.message()),
            };
            (answer != *expected).then(|| format!("{source}({arguments}): {answer} and not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn answer(source: &str, arguments: &str, result: &str, env: &Env) -> Result<Option<String>> {
    let oid = |name: &str| postgres::by_name(name).unwrap_or_else(|| panic!("no type {name}")).0;
    let (mut args, mut types) = (vec![], vec![]);
    for argument in arguments.split(" | ").filter(|argument| !argument.is_empty()) {
        let (name, text) = argument.split_once(':').unwrap_or_else(|| panic!("{argument} without a type"));
        let ty = oid(name);
        let text = (text != "\\N").then_some(text);
        if text == Some("omitted") {
            args.push(Arg::constant(arrow::array::new_null_array(&DataType::Null, 1)));
            types.push(Ty::UNKNOWN);
            continue;
        }
        let data_type = match pgtype::element(ty) {
            Some(element) => {
                let depth = text.map_or(1, |text| array::dimensions(text, ty));
                array::value::list_of(pgtype::arrow(element).unwrap(), depth)
            }
            None => pgtype::arrow(ty).unwrap(),
        };
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        args.push(Arg::constant(apply_input(ty, texts, data_type, env)?));
        types.push(Ty::of(ty));
    }
    let result_type = Ty::of(oid(result));
    let lies = || {
        let arguments: Vec<(Ty, DataType)> =
            types.iter().zip(&args).map(|(ty, arg)| (*ty, arg.array.data_type().clone())).collect();
        match (image::proc_of_source(source), source) {
            (Some(proc), _) if !proc.set => lies_as(proc, &arguments, result_type),
            (None, "grammar/slice") => arguments.first().map(|(_, lies)| lies.clone()),
            _ => None,
        }
    };
    // a fill's depth is in the values alone
    let depth = match source {
        "array_fill" | "array_fill_with_lower_bounds" => {
            let Some(list) = args[1].array.as_list_opt::<i32>() else { panic!("no dimensions") };
            Some(list.values().len().max(1))
        }
        _ => None,
    };
    let plain = pgtype::arrow(result_type.oid).unwrap();
    let data_type = match depth {
        Some(depth) => array::value::list_of(array::value::leaf(&plain).clone(), depth),
        None => lies().unwrap_or(plain),
    };
    let field = pgtype::field("", result_type, data_type.clone());
    let kernel = kernel(source).unwrap_or_else(|| panic!("no kernel {source}"));
    let value = kernel(&Call { args: &args, types: &types, rows: 1, result: &field, result_type, env })?;
    assert_eq!(*value.data_type(), data_type, "{source} gives another type");
    let texts = array::output(result_type.oid, &value, env)?;
    let texts = texts.as_string::<i32>();
    Ok((!texts.is_null(0)).then(|| texts.value(0).to_owned()))
}

fn apply_input(ty: u32, texts: ArrayRef, data_type: DataType, env: &Env) -> Result<ArrayRef> {
    let input = pgtype::functions(ty).unwrap().input;
    let kernel = kernel(input).unwrap_or_else(|| panic!("no kernel {input}"));
    let result = pgtype::field("", Ty::of(ty), data_type);
    let parameter = pgtype::element(ty).unwrap_or(ty);
    kernel(&Call {
        args: &[
            Arg::constant(texts),
            Arg::constant(Arc::new(UInt32Array::from(vec![parameter]))),
            Arg::constant(Arc::new(Int32Array::from(vec![-1]))),
        ],
        types: &[Ty::of(pgtype::oid::CSTRING), Ty::of(pgtype::oid::OID), Ty::INT4],
        rows: 1,
        result: &result,
        result_type: Ty::of(ty),
        env,
    })
}
