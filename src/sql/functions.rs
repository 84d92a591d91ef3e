//! Every kernel by its `prosrc`, one family a file. A function of the image without a kernel is 0A000 where it is called.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::DataType;

use super::image::{self, Proc};
use super::kernel::Kernel;
use crate::pgtype::Ty;

pub(crate) mod aggregate;
pub(crate) mod array;
mod binary;
mod boolean;
mod catalog;
pub(crate) mod compare;
mod datetime;
mod float;
mod hash;
mod integer;
mod json;
mod keywords;
mod money;
mod native;
mod network;
mod numeric;
mod object;
pub(crate) mod random;
mod range;
mod record;
mod regex;
mod search;
pub(crate) mod series;
mod session;
mod steps;
mod text;
mod total;
mod uuid;
pub(crate) mod window;

static KERNELS: LazyLock<HashMap<&'static str, Kernel>> = LazyLock::new(|| families().copied().collect());

fn families() -> impl Iterator<Item = &'static (&'static str, Kernel)> {
    let families = [
        array::KERNELS,
        binary::bits::KERNELS,
        binary::bytea::KERNELS,
        binary::digest::KERNELS,
        binary::encode::KERNELS,
        binary::send::KERNELS,
        boolean::KERNELS,
        catalog::KERNELS,
        datetime::KERNELS,
        float::KERNELS,
        hash::KERNELS,
        integer::KERNELS,
        json::KERNELS,
        keywords::KERNELS,
        money::KERNELS,
        network::KERNELS,
        network::MAC_KERNELS,
        numeric::KERNELS,
        object::KERNELS,
        object::names::KERNELS,
        random::KERNELS,
        object::snapshot::KERNELS,
        range::KERNELS,
        record::KERNELS,
        regex::functions::KERNELS,
        regex::similar::KERNELS,
        search::KERNELS,
        series::KERNELS,
        session::KERNELS,
        text::compare::BPCHAR,
        text::compare::CHAR,
        text::compare::KERNELS,
        text::compare::NAME,
        text::compare::NAME_TEXT,
        text::compare::TEXT,
        text::compare::TEXT_NAME,
        text::convert::KERNELS,
        text::edit::KERNELS,
        text::format::KERNELS,
        text::join::KERNELS,
        text::letters::KERNELS,
        text::like::KERNELS,
        text::measure::KERNELS,
        text::quote::KERNELS,
        text::split::KERNELS,
        text::trigram::KERNELS,
        text::types::KERNELS,
        text::unicode::KERNELS,
        uuid::KERNELS,
    ];
    families.into_iter().flatten()
}

/// How values of a type that Arrow does not compare as PostgreSQL does are made comparable: the kernel of that name gives
/// an array whose native order and equality are the type's (btree operator class). `None`: they are so already.
pub(crate) fn key(type_oid: u32, data_type: &DataType) -> Option<(&'static str, DataType)> {
    use crate::pgtype::oid;
    Some(match type_oid {
        // a Decimal compares as it is
        oid::NUMERIC if *data_type == DataType::Binary => ("key/numeric", DataType::Binary),
        // integers in the order of the floats: a negative zero is zero, and one NaN like another
        oid::FLOAT4 => ("key/float4", DataType::Int32),
        oid::FLOAT8 => ("key/float8", DataType::Int64),
        oid::BPCHAR => ("key/bpchar", DataType::Utf8),
        oid::INTERVAL => ("key/interval", DataType::Decimal128(38, 0)),
        oid::TIMETZ => ("key/timetz", DataType::Binary),
        oid::JSONB => ("key/jsonb", DataType::Binary),
        oid::MONEY => ("key/money", DataType::Int64),
        oid::INET | oid::CIDR => ("key/inet", DataType::Binary),
        oid::TSVECTOR => ("key/tsvector", DataType::Binary),
        oid::TSQUERY => ("key/tsquery", DataType::Binary),
        _ if range::is(type_oid) => ("key/range", DataType::Binary),
        _ => return None,
    })
}

/// How the result of a function lies, where that depends on how its arguments do: numerics of a known scale keep one,
/// nested arrays stay nested. `None`: as [`crate::pgtype::arrow`] says.
pub(crate) fn lies_as(proc: &Proc, arguments: &[(Ty, DataType)], result: Ty) -> Option<DataType> {
    match result.oid {
        crate::pgtype::oid::NUMERIC => numeric::lies_as(proc, arguments, result),
        _ => array::lies_as(proc, arguments, result),
    }
}

/// As [`lies_as`], for an aggregate.
pub(crate) fn aggregate_lies_as(call: &super::expr::Aggregate) -> Option<DataType> {
    // the values of an ordered set come after the direct arguments
    let set = call.order.iter().map(|sort| &sort.by).filter(|_| is_ordered_set(call.proc));
    let arguments: Vec<_> = call.arguments.iter().chain(set).map(|a| (a.ty, a.data_type.clone())).collect();
    aggregate::lies_as(call.proc, &arguments)
}

/// As [`lies_as`], for a window function or an aggregate over a window.
pub(crate) fn window_lies_as(proc: &Proc, arguments: &[super::expr::Expr]) -> Option<DataType> {
    let arguments: Vec<_> = arguments.iter().map(|a| (a.ty, a.data_type.clone())).collect();
    match proc.kind {
        image::Kind::Aggregate => aggregate::lies_as(proc, &arguments),
        image::Kind::Function | image::Kind::Window | image::Kind::Procedure => window::lies_as(proc, &arguments),
    }
}

/// Called with WITHIN GROUP.
pub(crate) fn is_ordered_set(proc: &Proc) -> bool {
    image::aggregate(proc.oid).is_some_and(|row| row.kind != image::AggregateKind::Normal)
}

pub(crate) use binary::send::spelt_binary;
pub(crate) use object::names::{object_name, object_oid};
pub(crate) use total::is_total;

/// The kernel of a `prosrc`.
pub(crate) fn kernel(source: &str) -> Option<Kernel> {
    KERNELS.get(source).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
    use arrow::datatypes::{DataType, Field, Fields};

    use super::kernel;
    use crate::error::{Error, Kind, Result};
    use crate::formats::postgres;
    use crate::pgtype::{self, Ty};
    use crate::sql::kernel::{Arg, Budget, Call, Env, Memory, Reserved};

    fn apply(source: &str, args: &[Arg], types: &[Ty], (result, rows): (u32, usize), env: &Env) -> Result<ArrayRef> {
        let kernel = kernel(source).unwrap_or_else(|| panic!("no kernel {source}"));
        let ty = Ty::of(result);
        let field = pgtype::field("", ty, pgtype::arrow(result).unwrap());
        kernel(&Call { args, types, rows, result: &field, result_type: ty, env })
    }

    /// The text of `source(arguments)`: each argument is a type's name and a text for its input function, `None` for NULL.
    /// `Err` is the SQLSTATE and the message.
    pub(in crate::sql) fn call(
        source: &str,
        arguments: &[(&str, Option<&str>)],
        result: &str,
        env: &Env,
    ) -> Result<Option<String>, String> {
        batch(source, arguments, result, 1, env)
    }

    /// The same over as many rows, all of them alike: the text of the first.
    pub(in crate::sql) fn batch(
        source: &str,
        arguments: &[(&str, Option<&str>)],
        result: &str,
        rows: usize,
        env: &Env,
    ) -> Result<Option<String>, String> {
        let shown = |e: crate::error::Error| {
            let mut shown = format!("{} {}", e.kind().sqlstate(), e.message());
            let more = [("DETAIL", e.detail()), ("HINT", e.hint())];
            for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
                shown += &format!(" {name} {text}");
            }
            shown
        };
        let oid = |name: &str| postgres::by_name(name).unwrap_or_else(|| panic!("no type {name}")).0;
        let text = |value: Option<&str>| Arg::constant(Arc::new(StringArray::from(vec![value])));
        let (mut args, mut types) = (vec![], vec![]);
        for (name, value) in arguments {
            let oid = oid(name);
            let input = pgtype::functions(oid).unwrap().input;
            let typmod = Arg::constant(Arc::new(arrow::array::Int32Array::from(vec![-1])));
            let elem =
                Arg::constant(Arc::new(arrow::array::UInt32Array::from(vec![pgtype::element(oid).unwrap_or(oid)])));
            let value = apply(input, &[text(*value), elem, typmod], &[Ty::TEXT], (oid, 1), env).map_err(shown)?;
            args.push(Arg::constant(value));
            types.push(Ty::of(oid));
        }
        let result = oid(result);
        let value = apply(source, &args, &types, (result, rows), env).map_err(shown)?;
        assert_eq!(*value.data_type(), pgtype::arrow(result).unwrap_or(DataType::Utf8), "{source} gives another type");
        let output = pgtype::functions(result).unwrap().output;
        let out = apply(output, &[Arg::constant(value)], &[Ty::of(result)], (25, 1), env).map_err(shown)?;
        let out = out.as_string::<i32>();
        Ok((!out.is_null(0)).then(|| out.value(0).to_string()))
    }

    /// Rows of `kernel, result type, answer, arguments…` between tabs, as a real PostgreSQL answered: `=text`, `NULL` or
    /// `!SQLSTATE message`; an argument is its type and its text, `\N` for NULL. Escapes are COPY's.
    pub(in crate::sql) fn table(rows: &str) {
        let plain =
            |text: &str| text.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace('\0', "\\");
        let mut wrong = vec![];
        for row in rows.lines() {
            let fields: Vec<&str> = row.split('\t').collect();
            let [source, result, expected, arguments @ ..] = fields.as_slice() else { panic!("{row}") };
            let arguments: Vec<(&str, Option<String>)> = arguments
                .iter()
                .map(|argument| argument.split_once(' ').unwrap())
                .map(|(ty, text)| (ty, (text != "\\N").then(|| plain(text))))
                .collect();
            let arguments: Vec<(&str, Option<&str>)> =
                arguments.iter().map(|(ty, text)| (*ty, text.as_deref())).collect();
            let answer = match call(source, &arguments, result, &Env::plain()) {
                Ok(Some(text)) => format!("={text}"),
                Ok(None) => "NULL".to_owned(),
                Err(error) => format!("!{error}"),
            };
            if answer != plain(expected) {
                wrong.push(format!("{row}\n    but {answer:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// A pool that has nothing left.
    #[derive(Debug)]
    struct Nothing;

    impl Memory for Nothing {
        fn reserve(&self, _: usize) -> Result<Box<dyn Reserved>> {
            Err(Error::new(Kind::OutOfMemory, "nothing left"))
        }

        fn keep(&self, _: usize) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn sets_of_a_batch_ask_for_their_bytes() {
        let field = |name: &str, ty: &DataType| Field::new(name, ty.clone(), true);
        let list = |of: &DataType| DataType::new_list(of.clone(), true);
        let record = |of: &[(&str, DataType)]| {
            list(&DataType::Struct(of.iter().map(|(name, ty)| field(name, ty)).collect::<Fields>()))
        };
        let text = DataType::Utf8;
        let (texts, member) = (list(&text), record(&[("key", text.clone()), ("value", text.clone())]));
        let words = ["word", "catcode", "barelabel", "catdesc", "baredesc"];
        let words = words.map(|name| (name, if name == "barelabel" { DataType::Boolean } else { text.clone() }));
        let lexemes =
            record(&[("lexeme", text.clone()), ("positions", list(&DataType::Int16)), ("weights", texts.clone())]);
        let env = Env { budget: Budget { memory: Some(Arc::new(Nothing)), ..Env::plain().budget }, ..Env::plain() };
        for (source, arguments, result) in [
            ("jsonb_array_elements", vec!["[1, 2]"], &texts),
            ("json_array_elements_text", vec!["[\"\", \"\"]"], &texts),
            ("jsonb_each", vec![r#"{"a": 1}"#], &member),
            ("json_each_text", vec![r#"{"": ""}"#], &member),
            ("jsonb_object_keys", vec![r#"{"a": 1}"#], &texts),
            ("jsonb_path_query", vec!["[1, 2]", "$[*]", "{}"], &texts),
            ("jsonb_to_recordset", vec![r#"[{"key": "a"}]"#], &member),
            ("tsvector_unnest", vec!["'a':1"], &lexemes),
            ("pg_get_keywords", vec![], &record(&words)),
        ] {
            let arg = |text: &&str| Arg::constant(Arc::new(StringArray::from(vec![*text])) as ArrayRef);
            let mut args: Vec<Arg> = arguments.iter().map(arg).collect();
            if source == "jsonb_path_query" {
                args.push(Arg::constant(Arc::new(BooleanArray::from(vec![false]))));
            }
            let (types, result) = (vec![Ty::TEXT; args.len()], field("", result));
            let made = |rows: usize| {
                let call = Call { args: &args, types: &types, rows, result: &result, result_type: Ty::TEXT, env: &env };
                kernel(source).unwrap_or_else(|| panic!("no kernel {source}"))(&call)
            };
            assert_eq!(made(1).unwrap_or_else(|e| panic!("{source}: {e}")).len(), 1, "{source}");
            assert_eq!(made(1 << 17).unwrap_err().message(), "nothing left", "{source}");
        }
    }

    /// Of two of one name only one would be called.
    #[test]
    fn no_kernel_is_written_twice() {
        let mut names: Vec<&str> = super::families().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
