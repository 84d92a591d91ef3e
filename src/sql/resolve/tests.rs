//! What a PostgreSQL 15.18 made of each expression, from the parse trees in pg_rewrite and its error messages:
//! `tests/*.tsv`. A row is what is written, `=`, and the tree: `c23` a column of type 23, `k` a constant, `n` a NULL,
//! `f1724:1700(…)` function 1724 that gives a 1700, `r` the same bytes relabelled, `t` by text, `e` element by element,
//! `a` an array, `s` an operator over one; `/7` is a modifier.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::function::{self, Argument, Found};
use super::{Context, Parameters, cast, common, operator};
use crate::error::{Error, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::expr::{ColumnId, Expr, Kind};
use crate::sql::kernel::Env;

fn ty(name: &str) -> Ty {
    let (oid, typmod) = postgres::by_name(name).unwrap_or_else(|| panic!("no type {name}"));
    Ty { oid, typmod }
}

/// A type's name is a column of it, `'…'` a literal, `$1` a parameter.
fn operand(text: &str) -> Expr {
    if let Some(number) = text.strip_prefix('$') {
        return Expr::new(Kind::Parameter(number.parse().unwrap()), Ty::UNKNOWN, 1);
    }
    match text {
        "null" => Expr::null(1),
        quoted if quoted.starts_with('\'') => Expr::unknown(quoted.trim_matches('\''), 1),
        name => Expr::new(Kind::Column(ColumnId(1)), ty(name), 1),
    }
}

fn call(cx: Context<'_>, name: &str, arguments: &[&str]) -> Result<Expr> {
    let mut variadic = false;
    let argument = |text: &&str| {
        let text = text.strip_prefix('*').inspect(|_| variadic = true).unwrap_or(text);
        match text.split_once("=>") {
            Some((name, value)) => Argument { name: Some(name.into()), expr: operand(value) },
            None => Argument { name: None, expr: operand(text) },
        }
    };
    let arguments = arguments.iter().map(argument).collect();
    let (schema, name) = match name.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, name),
    };
    Ok(match function::resolve(cx, schema, name, arguments, variadic, 1)? {
        Found::Cast(expr) => expr,
        Found::Call(found) => super::call(found.proc, found.arguments, found.ty, found.variadic, 1),
    })
}

fn resolve(cx: Context<'_>, spec: &str) -> Result<Expr> {
    let words: Vec<&str> = spec.split('\t').collect();
    let operands = |words: &[&str]| words.iter().map(|w| operand(w)).collect::<Vec<_>>();
    match words[..] {
        ["op", name, left, right] => operator::binary(cx, name, operand(left), operand(right), 1),
        ["pre", name, of] => operator::prefix(cx, name, operand(of), 1),
        [kind @ ("any" | "all"), name, left, array] => {
            operator::any_of(cx, name, operand(left), operand(array), kind == "all", 1)
        }
        ["fn", name, ref arguments @ ..] => call(cx, name, arguments),
        ["cast", of, to] => cast::explicit(cx, operand(of), ty(to), 1),
        [kind @ ("case" | "coalesce" | "array"), ref of @ ..] => {
            let mut of = operands(of);
            if kind == "case" {
                // what stands behind ELSE comes first
                let last = of.pop().unwrap();
                of.insert(0, last);
            }
            let (mut exprs, ty, _) = common::to_common(cx, of, &kind.to_uppercase())?;
            if kind == "case" {
                let first = exprs.remove(0);
                exprs.push(first);
            }
            Ok(match kind {
                // arrays of one type are the rows of an array of it
                "array" if pgtype::element(ty.oid).is_some() => Expr::new(Kind::Array(exprs), ty, 1),
                "array" => Expr::new(Kind::Array(exprs), Ty::of(super::polymorphic::array_of(ty.oid)?), 1),
                _ => Expr::new(Kind::Coalesce(exprs), ty, 1),
            })
        }
        _ => panic!("what is {spec}"),
    }
}

fn shown(ty: Ty) -> String {
    if ty.typmod == -1 { ty.oid.to_string() } else { format!("{}/{}", ty.oid, ty.typmod) }
}

fn shape(expr: &Expr) -> String {
    let all = |exprs: &[Expr]| exprs.iter().map(shape).collect::<Vec<_>>().join(",");
    match &expr.kind {
        Kind::Constant(value) => format!("{}{}", if value.is_null() { "n" } else { "k" }, shown(expr.ty)),
        Kind::Unknown(_) => "k705".into(),
        Kind::Column(_) => format!("c{}", shown(expr.ty)),
        Kind::Parameter(_) => format!("p{}", shown(expr.ty)),
        Kind::Call(call) => {
            // PostgreSQL's tree has no defaults before it is planned
            let written = |e: &&Expr| call.proc.defaults.is_empty() || e.at != 0;
            let arguments: Vec<String> = call.arguments.iter().filter(written).map(shape).collect();
            format!("f{}:{}({})", call.proc.oid, expr.ty.oid, arguments.join(","))
        }
        Kind::Relabel(of) if of.ty == expr.ty => shape(of),
        Kind::Relabel(of) => format!("r{}({})", shown(expr.ty), shape(of)),
        Kind::ByText { of, .. } if matches!(of.kind, Kind::Constant(_)) => format!("k{}", shown(expr.ty)),
        Kind::ByText { of, .. } => format!("t{}({})", expr.ty.oid, shape(of)),
        Kind::EachElement { of, each, .. } => format!("e{}({},{})", shown(expr.ty), shape(of), shape(each)),
        Kind::Array(of) => format!("a{}({})", expr.ty.oid, all(of)),
        Kind::Coalesce(of) => format!("coalesce{}({})", expr.ty.oid, all(of)),
        Kind::AnyOf { operator, left, array, all } => {
            let word = if *all { "all" } else { "any" };
            format!("s{}{word}({},{})", operator.oid, shape(left), shape(array))
        }
        other => panic!("{other:?}"),
    }
}

fn error(error: &Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(" ({detail})"));
    format!("{} {}{detail}", error.kind().sqlstate(), error.message())
}

fn answer(spec: &str) -> String {
    let (env, parameters) = (Env::plain(), Parameters::default());
    let cx = Context { env: &env, parameters: &parameters };
    match resolve(cx, spec) {
        Ok(expr) => shape(&expr).replacen("coalesce", if spec.starts_with("case") { "case" } else { "coalesce" }, 1),
        Err(e) => error(&e),
    }
}

/// Prints what differs, so that one run shows all of it.
fn differing(rows: &str) -> Vec<String> {
    let differs = |row: &str| {
        let (spec, expected) = row.rsplit_once("\t=\t")?;
        let found = answer(spec);
        (found != expected).then(|| format!("{}\n  expected {expected}\n  found    {found}", spec.replace('\t', " ")))
    };
    rows.lines().filter_map(differs).collect()
}

#[test]
fn trees_are_those_of_a_real_server() {
    let tables =
        [include_str!("tests/operators.tsv"), include_str!("tests/functions.tsv"), include_str!("tests/casts.tsv")];
    let differing: Vec<String> = tables.into_iter().flat_map(differing).collect();
    assert!(differing.is_empty(), "{}\n{} differ", differing.join("\n"), differing.len());
}

fn with<T>(test: impl FnOnce(Context<'_>) -> T) -> T {
    let (env, parameters) = (Env::plain(), Parameters::default());
    test(Context { env: &env, parameters: &parameters })
}

fn at(text: &str, at: usize) -> Expr {
    Expr { at, ..operand(text) }
}

fn decimal(precision: u8, scale: i8) -> Expr {
    Expr { data_type: DataType::Decimal128(precision, scale), ..operand("numeric") }
}

/// SQLSTATE, place, message, hint.
fn told<T: std::fmt::Debug>(result: Result<T>) -> (&'static str, Option<usize>, String, String) {
    let e = result.expect_err("it should not resolve");
    (e.kind().sqlstate(), e.position(), e.message().to_owned(), e.hint().unwrap_or_default().to_owned())
}

#[test]
fn errors_stand_where_postgresql_puts_them() {
    with(|cx| {
        let one = |name: Option<&str>, expr| Argument { name: name.map(Into::into), expr };
        let casts = "You might need to add explicit type casts.";
        assert_eq!(
            told(operator::binary(cx, "+", at("int4", 8), at("bool", 12), 10)),
            (
                "42883",
                Some(10),
                "operator does not exist: integer + boolean".into(),
                format!("No operator matches the given name and argument types. {casts}")
            )
        );
        assert_eq!(
            told(operator::prefix(cx, "@@@", at("int4", 12), 8)).3,
            "No operator matches the given name and argument type. You might need to add an explicit type cast."
        );
        assert_eq!(
            told(operator::prefix(cx, "-", at("'a'", 10), 8)),
            (
                "42725",
                Some(8),
                "operator is not unique: - unknown".into(),
                format!("Could not choose a best candidate operator. {casts}")
            )
        );
        assert_eq!(
            told(function::resolve(cx, Some("pg_catalog"), "foo", vec![one(None, at("int4", 12))], false, 8)),
            (
                "42883",
                Some(8),
                "function pg_catalog.foo(integer) does not exist".into(),
                format!("No function matches the given name and argument types. {casts}")
            )
        );
        assert_eq!(
            told(function::resolve(cx, None, "unnest", vec![one(None, at("'x'", 15))], false, 8)),
            (
                "42725",
                Some(8),
                "function unnest(unknown) is not unique".into(),
                format!("Could not choose a best candidate function. {casts}")
            )
        );
        // the literal itself is wrong, not the operator
        assert_eq!(
            told(operator::binary(cx, "=", at("int4", 8), at("'x'", 12), 10)),
            ("22P02", Some(12), "invalid input syntax for type integer: \"x\"".into(), String::new())
        );
        // a sum stands where its first operand does
        let sum = operator::binary(cx, "+", at("int4", 20), at("int4", 24), 22).unwrap();
        assert_eq!(
            told(common::select(cx, &[at("text", 10), sum], "COALESCE")),
            ("42804", Some(20), "COALESCE types text and integer cannot be matched".into(), String::new())
        );
        let sum = operator::binary(cx, "+", at("int4", 20), at("int4", 24), 22).unwrap();
        assert_eq!(
            told(cast::boolean(cx, sum, "WHERE")),
            ("42804", Some(20), "argument of WHERE must be type boolean, not type integer".into(), String::new())
        );
        assert_eq!(
            told(cast::specific(cx, at("bool", 7), Ty::INT8, "LIMIT")).2,
            "argument of LIMIT must be type bigint, not type boolean"
        );
        assert_eq!(
            told(cast::explicit(cx, at("bool", 8), ty("date"), 12)),
            ("42846", Some(12), "cannot cast type boolean to date".into(), String::new())
        );
        assert_eq!(
            told(operator::any_of(cx, "=", at("int4", 8), at("int4", 16), false, 10)),
            ("42809", Some(10), "op ANY/ALL (array) requires array on right side".into(), String::new())
        );
        let twice = vec![one(Some("years"), at("int4", 31)), one(Some("years"), at("int4", 41))];
        assert_eq!(
            told(function::resolve(cx, None, "make_interval", twice, false, 8)).2,
            "argument name \"years\" used more than once"
        );
        let late = vec![one(Some("years"), at("int4", 31)), one(None, at("int4", 41))];
        assert_eq!(
            told(function::resolve(cx, None, "make_interval", late, false, 8)).2,
            "positional argument cannot follow named argument"
        );
        let many = vec![one(None, at("int4", 1)); 101];
        assert_eq!(told(function::resolve(cx, None, "concat", many, false, 8)).0, "54023");
        assert_eq!(told(operator::binary(cx, "=", at("record", 1), at("'x'", 9), 3)).0, "0A000");
    });
}

#[test]
fn parameters_take_the_type_of_their_first_place() {
    let (env, parameters) = (Env::plain(), Parameters::default());
    let cx = Context { env: &env, parameters: &parameters };
    let sum = operator::binary(cx, "+", operand("int4"), operand("$1"), 1).unwrap();
    assert_eq!(shape(&sum), "f177:23(c23,p23)");
    assert_eq!(parameters.get(1), Some(Ty::INT4));
    let text = cast::unknown_to_text(cx, operand("$2")).unwrap();
    assert_eq!((text.ty, parameters.get(2)), (Ty::TEXT, Some(Ty::TEXT)));
    let number = cast::explicit(cx, operand("$3"), ty("numeric(10,2)"), 1).unwrap();
    assert_eq!(shape(&number), "f1703:1700(p1700,k23)");
    // PREPARE p AS SELECT lpad('x', $4, $4)
    let arguments = ["'x'", "$4", "$4"].map(|text| Argument { name: None, expr: operand(text) });
    let e = function::resolve(cx, None, "lpad", arguments.into(), false, 1).unwrap_err();
    assert_eq!(error(&e), "42P08 inconsistent types deduced for parameter $4 (integer versus text)");
    // text($5) is a cast, int4($6) is nothing: which function would it be
    assert_eq!(shape(&call(cx, "text", &["$5"]).unwrap()), "p25");
    assert!(call(cx, "int4", &["$6"]).is_err());
    // a function that takes anything says nothing of it
    call(cx, "concat", &["$7"]).unwrap();
    assert_eq!(parameters.get(7), None);
}

#[test]
fn values_lie_so_that_they_can_share_an_array() {
    with(|cx| {
        let decimal128 = DataType::Decimal128;
        let unified = |exprs: Vec<Expr>| common::to_common(cx, exprs, "COALESCE").unwrap();
        let (exprs, common, data_type) = unified(vec![decimal(10, 2), decimal(5, 2), operand("null")]);
        assert_eq!((common, &data_type), (Ty::NUMERIC, &decimal128(10, 2)));
        assert!(exprs.iter().all(|e| e.data_type == data_type));
        assert!(matches!(exprs[0].kind, Kind::Column(_)) && matches!(exprs[1].kind, Kind::Relabel(_)));
        assert!(matches!(exprs[2].kind, Kind::Constant(ScalarValue::Decimal128(None, 10, 2))));
        // 1.50 and 1 are shown as such
        let (exprs, _, data_type) = unified(vec![decimal(10, 2), operand("int4")]);
        assert_eq!(data_type, DataType::Binary);
        assert!(exprs.iter().all(|e| e.data_type == data_type));
        let (_, _, data_type) = unified(vec![operand("null"), operand("null")]);
        assert_eq!(data_type, DataType::Utf8);

        let lying = |of: Expr, to: &str| cast::explicit(cx, of, ty(to), 1).unwrap().data_type;
        assert_eq!(lying(operand("int4"), "numeric(10,2)"), decimal128(10, 2));
        assert_eq!(lying(operand("'1.5'"), "numeric(10,2)"), decimal128(10, 2));
        assert_eq!(lying(decimal(12, 2), "numeric(38,38)"), decimal128(38, 38));
        assert_eq!(lying(operand("int4"), "numeric(50,3)"), DataType::Decimal256(50, 3));
        assert_eq!(lying(operand("int4"), "numeric(5,-2)"), decimal128(7, 0));
        assert_eq!(lying(operand("int4"), "numeric(1000,900)"), DataType::Binary);
        // it may be NaN, which numeric(10,2) holds and a decimal does not
        assert_eq!(lying(operand("text"), "numeric(10,2)"), DataType::Binary);
        let DataType::List(item) = lying(operand("int4[]"), "numeric(10,2)[]") else { panic!("an array is a list") };
        assert_eq!(*item.data_type(), decimal128(10, 2));
        // the modifier is forgotten, not the digits
        let forgotten = cast::explicit(cx, Expr { ty: ty("numeric(10,2)"), ..decimal(10, 2) }, Ty::NUMERIC, 1).unwrap();
        assert_eq!((forgotten.ty, forgotten.data_type), (Ty::NUMERIC, decimal128(10, 2)));
    });
}

#[test]
fn literals_become_constants_at_once() {
    with(|cx| {
        let read = |text: &str, to: &str| {
            let expr = cast::explicit(cx, operand(text), ty(to), 1).unwrap();
            match expr.kind {
                Kind::Constant(value) => value,
                other => panic!("{text} {to}: {other:?}"),
            }
        };
        assert_eq!(read("'1.50'", "numeric"), ScalarValue::Decimal128(Some(150), 3, 2));
        assert_eq!(read("'0.05'", "numeric"), ScalarValue::Decimal128(Some(5), 2, 2));
        assert_eq!(read("'0'", "numeric"), ScalarValue::Decimal128(Some(0), 1, 0));
        assert!(matches!(read("'NaN'", "numeric"), ScalarValue::Binary(Some(_))));
        assert!(matches!(read("'1e50'", "numeric"), ScalarValue::Binary(Some(_))));
        assert_eq!(read("' 42 '", "int4"), ScalarValue::Int32(Some(42)));
        assert_eq!(read("null", "date"), ScalarValue::Date32(None));
        assert_eq!(read("null", "numeric"), ScalarValue::Binary(None));
        assert_eq!(read("'a'", "text"), ScalarValue::Utf8(Some("a".into())));
        // names of objects are for who has a catalog
        let class = cast::explicit(cx, operand("'pg_class'"), ty("regclass"), 1).unwrap();
        assert!(matches!(class.kind, Kind::ByText { explicit: true, .. }));
        let (anything, mood) = (Ty::of(16472), ty("text"));
        let label = cast::explicit(cx, operand("'new'"), anything, 1).unwrap();
        assert!(matches!(label.kind, Kind::Constant(ScalarValue::Utf8(Some(_)))));
        let text = cast::explicit(cx, label, mood, 1).unwrap();
        assert!(matches!(text.kind, Kind::ByText { .. }));
        for (of, text) in [("'x'", "0A000"), ("null", "0A000")] {
            assert_eq!(told(cast::explicit(cx, operand(of), Ty::of(2281), 1)).0, text);
        }
    });
}

#[test]
fn arguments_stand_in_the_order_of_the_function() {
    with(|cx| {
        let found = |name: &str, arguments: &[(Option<&str>, &str)], variadic: bool| {
            let argument =
                |(name, text): &(Option<&str>, &str)| Argument { name: name.map(Into::into), expr: operand(text) };
            let arguments = arguments.iter().map(argument).collect();
            match function::resolve(cx, None, name, arguments, variadic, 1).unwrap() {
                Found::Call(found) => found,
                Found::Cast(expr) => panic!("{expr:?}"),
            }
        };
        let shapes = |exprs: &[Expr]| exprs.iter().map(shape).collect::<Vec<_>>().join(" ");
        let interval = found("make_interval", &[(Some("days"), "int4"), (Some("years"), "int2")], false);
        assert_eq!(shapes(&interval.arguments), "f313:23(c21) k23 k23 c23 k23 k23 k701");
        let path = found("jsonb_path_exists", &[(None, "jsonb"), (None, "'$'"), (Some("silent"), "bool")], false);
        assert_eq!(shapes(&path.arguments), "c3802 k4072 k3802 c16");
        assert!(matches!(&path.arguments[2].kind, Kind::Constant(ScalarValue::Utf8(Some(t))) if t == "{}"));
        let all = found("json_extract_path", &[(None, "json"), (None, "'a'"), (None, "varchar")], false);
        assert_eq!((shapes(&all.arguments).as_str(), all.variadic), ("c114 a1009(k25,r25(c1043))", true));
        let any = found("concat", &[(None, "int4"), (None, "'a'")], false);
        assert_eq!((shapes(&any.arguments).as_str(), any.variadic), ("c23 k705", false));
        let marked = found("concat", &[(None, "int4[]")], true);
        assert_eq!((shapes(&marked.arguments).as_str(), marked.variadic), ("c1007", true));
        let each = found("jsonb_each", &[(None, "jsonb")], false);
        let DataType::Struct(fields) = &each.data_type else { panic!("{each:?}") };
        assert_eq!(fields.iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["key", "value"]);
    });
}

#[test]
fn types_have_the_operators_of_their_default_class() {
    let oids = |name: &str| {
        let oid = ty(name).oid;
        [operator::equality(oid), operator::less(oid)].map(|o| o.map_or(0, |o| o.oid))
    };
    let rows = [
        ("int4", [96, 97]),
        ("varchar", [98, 664]),
        ("bpchar", [1054, 1058]),
        ("cidr", [1201, 1203]),
        ("regclass", [607, 609]),
        ("varchar[]", [1070, 1072]),
        ("json[]", [0, 0]),
        ("xid[]", [1070, 0]),
        ("xid", [352, 0]),
        ("json", [0, 0]),
        ("point", [0, 0]),
        ("int2vector", [1070, 1072]),
        ("oidvector", [649, 645]),
        ("int8range", [3882, 3884]),
        ("datemultirange", [2860, 2862]),
        ("record", [2988, 2990]),
        ("bit varying", [1804, 1806]),
    ];
    for (name, expected) in rows {
        assert_eq!(oids(name), expected, "{name}");
    }
    // an enum of a source; a domain of information_schema
    assert_eq!(operator::less(16472).map(|o| o.oid), Some(3518));
    assert_eq!(operator::equality(13226).map(|o| o.oid), Some(93));
}
