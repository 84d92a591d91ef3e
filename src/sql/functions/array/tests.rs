//! Arrays against PostgreSQL's answers, and how other families run such tables.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, UInt32Array};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
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
    let texts = match result {
        "text" | "cstring" => value,
        _ => array::output(result_type.oid, &value, env)?,
    };
    let texts = texts.as_string::<i32>();
    Ok((!texts.is_null(0)).then(|| texts.value(0).to_owned()))
}

fn apply_input(ty: u32, texts: ArrayRef, data_type: DataType, env: &Env) -> Result<ArrayRef> {
    let input = pgtype::functions(ty).unwrap().input;
    let kernel = kernel(input).ok_or_else(|| Error::internal(format!("no kernel {input}")))?;
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

#[test]
#[rustfmt::skip]
fn arrays_are_as_postgresql_has_them() {
    let rows: &[Row] = &[
        ("array_append", "int4[]:\\N | int4:1", "integer[]", "{1}"),
        ("array_append", "int4[]:{} | int4:\\N", "integer[]", "{NULL}"),
        ("array_append", "int4[]:{1,2} | int4:3", "integer[]", "{1,2,3}"),
        ("array_append", "text[]:{a,\"b c\",NULL} | text:d\"e", "text[]", "{a,\"b c\",NULL,\"d\\\"e\"}"),
        ("array_append", "int4[]:{{1,2}} | int4:3", "int4[]", "!22000 argument must be empty or one-dimensional array"),
        ("array_prepend", "int4:1 | int4[]:{2,3}", "integer[]", "{1,2,3}"),
        ("array_prepend", "int4:1 | int4[]:\\N", "integer[]", "{1}"),
        ("array_prepend", "int4:1 | int4[]:{{1,2}}", "int4[]", "!22000 argument must be empty or one-dimensional array"),
        ("array_cat", "int4[]:\\N | int4[]:\\N", "integer[]", "\\N"),
        ("array_cat", "int4[]:{1} | int4[]:\\N", "integer[]", "{1}"),
        ("array_cat", "int4[]:{} | int4[]:{1}", "integer[]", "{1}"),
        ("array_cat", "int4[]:{1,2} | int4[]:{3}", "integer[]", "{1,2,3}"),
        ("array_cat", "int4[]:{{1,2}} | int4[]:{3,4}", "integer[]", "{{1,2},{3,4}}"),
        ("array_cat", "int4[]:{1,2} | int4[]:{{3,4}}", "integer[]", "{{1,2},{3,4}}"),
        ("array_cat", "int4[]:{{1,2}} | int4[]:{{3,4},{5,6}}", "integer[]", "{{1,2},{3,4},{5,6}}"),
        ("array_cat", "int4[]:{} | int4[]:{{3,4}}", "integer[]", "{{3,4}}"),
        ("array_cat", "int4[]:{{1,2}} | int4[]:{1,2,3}", "int4[]", "!2202E cannot concatenate incompatible arrays"),
        ("array_cat", "int4[]:{{1,2}} | int4[]:{{1,2,3}}", "int4[]", "!2202E cannot concatenate incompatible arrays"),
        ("array_cat", "int4[]:{{{1,2}}} | int4[]:{1}", "int4[]", "!2202E cannot concatenate incompatible arrays"),
        ("array_cat", "numeric[]:{1.5,2} | numeric[]:{3.25}", "numeric[]", "{1.5,2,3.25}"),
        ("array_ndims", "int4[]:{}", "integer", "\\N"),
        ("array_ndims", "int4[]:{1}", "integer", "1"),
        ("array_ndims", "int4[]:{{{1},{2}}}", "integer", "3"),
        ("array_dims", "int4[]:{}", "text", "\\N"),
        ("array_dims", "int4[]:{{1,2,3},{4,5,6}}", "text", "[1:2][1:3]"),
        ("array_dims", "int2vector:1 2 3", "text", "[0:2]"),
        ("array_length", "int4[]:{{1,2,3},{4,5,6}} | int4:1", "integer", "2"),
        ("array_length", "int4[]:{{1,2,3},{4,5,6}} | int4:2", "integer", "3"),
        ("array_length", "int4[]:{{1,2,3},{4,5,6}} | int4:3", "integer", "\\N"),
        ("array_length", "int4[]:{1} | int4:0", "integer", "\\N"),
        ("array_length", "int4[]:{} | int4:1", "integer", "\\N"),
        ("array_length", "int4[]:{1} | int4:-1", "integer", "\\N"),
        ("array_lower", "int4[]:{1} | int4:1", "integer", "1"),
        ("array_lower", "int2vector:1 2 | int4:1", "integer", "0"),
        ("array_upper", "int2vector:1 2 | int4:1", "integer", "1"),
        ("array_upper", "int4[]:{1,2} | int4:1", "integer", "2"),
        ("array_cardinality", "int4[]:{{1,2,3},{4,5,6}}", "integer", "6"),
        ("array_cardinality", "int4[]:{}", "integer", "0"),
        ("array_cardinality", "int4[]:\\N", "integer", "\\N"),
        ("array_eq", "int4[]:{1,NULL} | int4[]:{1,NULL}", "boolean", "t"),
        ("array_eq", "int4[]:{1,2} | int4[]:{{1,2}}", "boolean", "f"),
        ("array_eq", "int4[]:{{1,2},{3,4}} | int4[]:{{1,2,3,4}}", "boolean", "f"),
        ("array_eq", "float8[]:{NaN,0} | float8[]:{NaN,-0}", "boolean", "t"),
        ("array_eq", "numeric[]:{1.0,NaN} | numeric[]:{1.00,NaN}", "boolean", "t"),
        ("array_eq", "text[]:{a} | text[]:{A}", "boolean", "f"),
        ("array_ne", "int4[]:{1} | int4[]:{2}", "boolean", "t"),
        ("array_ne", "int4[]:{1} | int4[]:\\N", "boolean", "\\N"),
        ("array_lt", "int4[]:{1,2} | int4[]:{1,NULL}", "boolean", "t"),
        ("array_lt", "int4[]:{1,2} | int4[]:{1,2,0}", "boolean", "t"),
        ("array_lt", "int4[]:{{1,2}} | int4[]:{1,2}", "boolean", "f"),
        ("array_gt", "int4[]:{{1,2}} | int4[]:{1,2}", "boolean", "t"),
        ("array_gt", "int4[]:{{1,2},{3,4}} | int4[]:{{1,2,3,4}}", "boolean", "t"),
        ("array_le", "int4[]:{} | int4[]:{}", "boolean", "t"),
        ("array_ge", "float8[]:{NaN} | float8[]:{Infinity}", "boolean", "t"),
        ("array_lt", "float8[]:{NaN} | float8[]:{NULL}", "boolean", "t"),
        ("array_lt", "text[]:{abc} | text[]:{abd}", "boolean", "t"),
        ("btarraycmp", "int4[]:{2} | int4[]:{1,5}", "integer", "1"),
        ("btarraycmp", "int4[]:{} | int4[]:{1}", "integer", "-1"),
        ("array_larger", "int4[]:{1,2} | int4[]:{1,3}", "integer[]", "{1,3}"),
        ("array_smaller", "int4[]:{1,2} | int4[]:{1,3}", "integer[]", "{1,2}"),
        ("arraycontains", "int4[]:{1,2,3} | int4[]:{3,1}", "boolean", "t"),
        ("arraycontains", "int4[]:{1,2,NULL} | int4[]:{NULL}", "boolean", "f"),
        ("arraycontains", "int4[]:{1} | int4[]:{}", "boolean", "t"),
        ("arraycontains", "int4[]:{{1,2},{3,4}} | int4[]:{4}", "boolean", "t"),
        ("arraycontained", "int4[]:{1,1} | int4[]:{1,2}", "boolean", "t"),
        ("arraycontained", "int4[]:{NULL} | int4[]:{NULL}", "boolean", "f"),
        ("arrayoverlap", "int4[]:{1,2} | int4[]:{2,3}", "boolean", "t"),
        ("arrayoverlap", "int4[]:{NULL} | int4[]:{NULL}", "boolean", "f"),
        ("arrayoverlap", "int4[]:{} | int4[]:{}", "boolean", "f"),
        ("arrayoverlap", "text[]:{a,b} | text[]:{c,b}", "boolean", "t"),
        ("array_position", "int4[]:{5,6,5} | int4:5", "integer", "1"),
        ("array_position", "int4[]:{5,NULL,5} | int4:\\N", "integer", "2"),
        ("array_position", "int4[]:{5} | int4:7", "integer", "\\N"),
        ("array_position", "int4[]:\\N | int4:7", "integer", "\\N"),
        ("array_position", "int4[]:{{1,2}} | int4:1", "integer", "!0A000 searching for elements in multidimensional arrays is not supported"),
        ("array_position", "int2vector:5 6 | int2:6", "integer", "1"),
        ("array_position_start", "int4[]:{1,2,1} | int4:1 | int4:2", "integer", "3"),
        ("array_position_start", "int4[]:{1,2,1} | int4:1 | int4:-5", "integer", "1"),
        ("array_position_start", "int4[]:{1,2,1} | int4:1 | int4:\\N", "integer", "!22004 initial position must not be null"),
        ("array_position_start", "int4[]:{} | int4:1 | int4:\\N", "integer", "\\N"),
        ("array_positions", "int4[]:{1,2,1} | int4:1", "integer[]", "{1,3}"),
        ("array_positions", "int4[]:{1,NULL} | int4:\\N", "integer[]", "{2}"),
        ("array_positions", "int4[]:{1} | int4:3", "integer[]", "{}"),
        ("array_positions", "int4[]:\\N | int4:3", "integer[]", "\\N"),
        ("array_positions", "int4[]:{{1}} | int4:3", "integer[]", "!0A000 searching for elements in multidimensional arrays is not supported"),
        ("array_remove", "int4[]:{1,2,1,NULL} | int4:1", "integer[]", "{2,NULL}"),
        ("array_remove", "int4[]:{1,NULL} | int4:\\N", "integer[]", "{1}"),
        ("array_remove", "int4[]:{1,1} | int4:1", "integer[]", "{}"),
        ("array_remove", "int4[]:\\N | int4:1", "integer[]", "\\N"),
        ("array_remove", "int4[]:{{1,2}} | int4:1", "int4[]", "!0A000 removing elements from multidimensional arrays is not supported"),
        ("array_replace", "int4[]:{1,2,1} | int4:1 | int4:7", "integer[]", "{7,2,7}"),
        ("array_replace", "int4[]:{1,NULL} | int4:\\N | int4:0", "integer[]", "{1,0}"),
        ("array_replace", "int4[]:{{1,2},{2,1}} | int4:2 | int4:\\N", "integer[]", "{{1,NULL},{NULL,1}}"),
        ("array_replace", "numeric[]:{1.0,2} | numeric:1 | numeric:7.25", "numeric[]", "{7.25,2}"),
        ("array_to_text", "int4[]:{1,NULL,2} | text:,", "text", "1,2"),
        ("array_to_text", "int4[]:{} | text:,", "text", ""),
        ("array_to_text", "text[]:{a,\"b,c\"} | text:-", "text", "a-b,c"),
        ("array_to_text", "int4[]:{1} | text:\\N", "text", "\\N"),
        ("array_to_text_null", "int4[]:{{1,NULL},{2,3}} | text:, | text:*", "text", "1,*,2,3"),
        ("array_to_text_null", "int4[]:{1,NULL} | text:, | text:\\N", "text", "1"),
        ("array_fill", "int4:1 | int4[]:{2,2}", "integer[]", "{{1,1},{1,1}}"),
        ("array_fill", "int4:1 | int4[]:{3}", "integer[]", "{1,1,1}"),
        ("array_fill", "int4:\\N | int4[]:{2}", "integer[]", "{NULL,NULL}"),
        ("array_fill", "int4:1 | int4[]:{0}", "integer[]", "{}"),
        ("array_fill", "int4:1 | int4[]:{}", "integer[]", "{}"),
        ("array_fill", "int4:1 | int4[]:\\N", "int4[]", "!22004 dimension array or low bound array cannot be null"),
        ("array_fill", "int4:1 | int4[]:{2,NULL}", "int4[]", "!22004 dimension values cannot be null"),
        ("array_fill", "int4:1 | int4[]:{{2}}", "int4[]", "!2202E wrong number of array subscripts"),
        ("array_fill", "int4:1 | int4[]:{-1}", "int4[]", "!54000 array size exceeds the maximum allowed (134217727)"),
        ("array_fill", "int4:1 | int4[]:{100000,100000}", "int4[]", "!54000 array size exceeds the maximum allowed (134217727)"),
        ("array_fill", "int4:1 | int4[]:{1,1,1,1,1,1,1}", "int4[]", "!54000 number of array dimensions (7) exceeds the maximum allowed (6)"),
        ("array_fill_with_lower_bounds", "int4:1 | int4[]:{2} | int4[]:{1}", "integer[]", "{1,1}"),
        ("array_fill_with_lower_bounds", "int4:1 | int4[]:{2} | int4[]:{1,1}", "int4[]", "!2202E wrong number of array subscripts"),
        ("array_fill_with_lower_bounds", "int4:1 | int4[]:{2} | int4[]:\\N", "int4[]", "!22004 dimension array or low bound array cannot be null"),
        ("array_fill_with_lower_bounds", "int4:1 | int4[]:{2} | int4[]:{NULL}", "int4[]", "!22004 dimension values cannot be null"),
        ("trim_array", "int4[]:{1,2,3} | int4:1", "integer[]", "{1,2}"),
        ("trim_array", "int4[]:{1,2,3} | int4:3", "integer[]", "{}"),
        ("trim_array", "int4[]:{1,2,3} | int4:4", "int4[]", "!2202E number of elements to trim must be between 0 and 3"),
        ("trim_array", "int4[]:{1,2,3} | int4:-1", "int4[]", "!2202E number of elements to trim must be between 0 and 3"),
        ("trim_array", "int4[]:{{1,2},{3,4}} | int4:1", "integer[]", "{{1,2}}"),
        ("trim_array", "int4[]:{} | int4:0", "integer[]", "{}"),
        ("trim_array", "int4[]:\\N | int4:0", "integer[]", "\\N"),
        ("array_unnest", "int4[]:{{1,2},{3,NULL}}", "integer[]", "{1,2,3,NULL}"),
        ("array_unnest", "text[]:{}", "text[]", "{}"),
        ("generate_subscripts_nodir", "int4[]:{7,8,9} | int4:1", "integer[]", "{1,2,3}"),
        ("generate_subscripts_nodir", "int4[]:{{7,8,9}} | int4:2", "integer[]", "{1,2,3}"),
        ("generate_subscripts_nodir", "int4[]:{7} | int4:2", "integer[]", "{}"),
        ("generate_subscripts_nodir", "int2vector:7 8 | int4:1", "integer[]", "{0,1}"),
        ("generate_subscripts", "int4[]:{7,8,9} | int4:1 | bool:t", "integer[]", "{3,2,1}"),
        ("width_bucket_array", "int4:5 | int4[]:{1,5,9}", "integer", "2"),
        ("width_bucket_array", "int4:0 | int4[]:{1,5,9}", "integer", "0"),
        ("width_bucket_array", "int4:10 | int4[]:{1,5,9}", "integer", "3"),
        ("width_bucket_array", "float8:NaN | float8[]:{1,5,NaN}", "integer", "3"),
        ("width_bucket_array", "text:b | text[]:{a,c}", "integer", "1"),
        ("width_bucket_array", "int4:5 | int4[]:{}", "integer", "0"),
        ("width_bucket_array", "int4:5 | int4[]:{{1,2}}", "integer", "!2202E thresholds must be one-dimensional array"),
        ("width_bucket_array", "int4:5 | int4[]:{1,NULL}", "integer", "!22004 thresholds array must not contain NULLs"),
        ("array_out", "int4[]: { 1 , 2 }", "cstring", "{1,2}"),
        ("array_out", "int4[]:[1:3]={1,2,3}", "cstring", "{1,2,3}"),
        ("array_out", "text[]:{a, b c ,\"d\\\"e\",null,\"NULL\",\"\",\" x \",\"a\\\\b\",\"{\"}", "cstring", "{a,\"b c\",\"d\\\"e\",NULL,\"NULL\",\"\",\" x \",\"a\\\\b\",\"{\"}"),
        ("array_out", "text[]:{{a,b},{c,NULL}}", "cstring", "{{a,b},{c,NULL}}"),
        ("array_out", "int4[]:[1:3]{1,2,3}", "cstring", "!22P02 malformed array literal: \"[1:3]{1,2,3}\""),
        ("array_out", "int4[]:[1:0]={}", "cstring", "!2202E upper bound cannot be less than lower bound"),
        ("array_out", "int4[]:[1:3]= 1", "cstring", "!22P02 malformed array literal: \"[1:3]= 1\""),
        ("array_out", "int4[]:[1:]={1}", "cstring", "!22P02 malformed array literal: \"[1:]={1}\""),
        ("array_out", "int4[]:[1:2", "cstring", "!22P02 malformed array literal: \"[1:2\""),
        ("array_out", "int4[]:[1:2]={1}", "cstring", "!22P02 malformed array literal: \"[1:2]={1}\""),
        ("array_out", "int4[]:{1,{2}}", "cstring", "!22P02 malformed array literal: \"{1,{2}}\""),
        ("array_out", "int4[]:{{1,2},{3}}", "cstring", "!22P02 malformed array literal: \"{{1,2},{3}}\""),
        ("array_out", "int4[]:{1,x}", "cstring", "!22P02 invalid input syntax for type integer: \"x\""),
        ("array_out", "int4[]:1", "cstring", "!22P02 malformed array literal: \"1\""),
        ("array_out", "date[]:{2020-01-02,infinity}", "cstring", "{2020-01-02,infinity}"),
        ("array_out", "timestamp[]:{2020-01-02 03:04}", "cstring", "{\"2020-01-02 03:04:00\"}"),
        ("int2vectorout", "int2vector: 1  2", "cstring", "1 2"),
        ("oidvectorout", "oidvector:", "cstring", ""),
        ("oidvectoreq", "oidvector:1 2 | oidvector:1 2", "boolean", "t"),
        ("oidvectorlt", "oidvector:9 | oidvector:1 2", "boolean", "t"),
        ("btoidvectorcmp", "oidvector:9 9 | oidvector:1 2", "integer", "1"),
        ("grammar/subscript", "int4[]:{7,8} | int4:2", "integer", "8"),
        ("grammar/subscript", "int4[]:{7,8} | int4:3", "integer", "\\N"),
        ("grammar/subscript", "int4[]:{7,8} | int4:0", "integer", "\\N"),
        ("grammar/subscript", "int4[]:{7,8} | int4:\\N", "integer", "\\N"),
        ("grammar/subscript", "int4[]:{{7,8},{9,10}} | int4:2 | int4:1", "integer", "9"),
        ("grammar/subscript", "int4[]:{{7,8},{9,10}} | int4:2", "integer", "\\N"),
        ("grammar/subscript", "int4[]:{{7,8},{9,10}} | int4:1 | int4:3", "integer", "\\N"),
        ("grammar/subscript", "int2vector:5 6 | int4:0", "smallint", "5"),
        ("grammar/subscript", "int4[]:{7,8} | int4:-2147483648", "integer", "\\N"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:2 | int4:3", "integer[]", "{8,9}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:omitted | int4:2", "integer[]", "{7,8}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:2 | int4:omitted", "integer[]", "{8,9}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:omitted | int4:omitted", "integer[]", "{7,8,9}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:\\N | int4:2", "integer[]", "\\N"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:5 | int4:6", "integer[]", "{}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:-5 | int4:1", "integer[]", "{7}"),
        ("grammar/slice", "int4[]:{7,8,9} | int4:3 | int4:1", "integer[]", "{}"),
        ("grammar/slice", "int4[]:{{1,2,3},{4,5,6},{7,8,9}} | int4:2 | int4:3 | int4:1 | int4:2", "integer[]", "{{4,5},{7,8}}"),
        ("grammar/slice", "int4[]:{{1,2,3},{4,5,6},{7,8,9}} | int4:2 | int4:3", "integer[]", "{{4,5,6},{7,8,9}}"),
        ("grammar/slice", "int4[]:{1,2} | int4:1 | int4:1 | int4:1 | int4:1", "integer[]", "{}"),
        ("grammar/slice", "int4[]:{1,2} | int4:-2147483648 | int4:2147483647", "integer[]", "{1,2}"),
    ];
    check(rows, &Env::plain());
}
