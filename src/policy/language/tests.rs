//! What the language gives: expressions that run as they are, and masks that let nothing through.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int16Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::physical_expr::create_physical_expr;

use super::*;
use crate::pgtype::{self, Ty, oid};
use crate::policy::file::users::Scalar;
use crate::policy::fixture::{Dice, key};
use crate::policy::infallible::infallible;
use crate::sql::numeric::Numeric;

/// Four rows; the third is NULL throughout.
fn people() -> RecordBatch {
    let texts = |a, b, d| vec![Some(a), Some(b), None, Some(d)];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(-4)]))),
        ("small", Arc::new(Int32Array::from(vec![Some(1), Some(20), None, Some(-4)]))),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(150), Some(1000), None, Some(-1)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        (
            "total",
            Arc::new(
                Decimal128Array::from(vec![Some(1500), Some(1), None, Some(-10)])
                    .with_precision_and_scale(12, 3)
                    .unwrap(),
            ),
        ),
        ("score", Arc::new(Float64Array::from(vec![Some(0.5), Some(2.0), None, Some(-1.0)]))),
        ("name", Arc::new(StringViewArray::from(texts("Ann", "bob", "Zoë")))),
        ("nick", Arc::new(StringArray::from(texts("ann", "", " zz ")))),
        ("big", Arc::new(LargeStringArray::from(texts("Ann", "b%b", "x")))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
        ("born", Arc::new(Date32Array::from(vec![Some(0), Some(19_000), None, Some(-1)]))),
        (
            "seen",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(0), Some(1_704_067_200_000_000), None, Some(-1)])
                    .with_timezone("UTC"),
            ),
        ),
        (
            "local",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1_704_067_200_000_000), None, Some(-1)])),
        ),
        ("blob", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), Some(b"a"), None, Some(b"")]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn attributes() -> Attributes {
    let kind = |scalar, list| AttributeType { scalar, list };
    Attributes::from([
        ("name".into(), kind(Scalar::Text, false)),
        ("names".into(), kind(Scalar::Text, true)),
        ("level".into(), kind(Scalar::Int8, false)),
        ("levels".into(), kind(Scalar::Int8, true)),
    ])
}

fn values() -> Values {
    let text = |t: &str| Value::Text(t.into());
    Values::from([
        ("name".into(), vec![text("Ann")]),
        ("names".into(), vec![text("Ann"), text("bob")]),
        ("level".into(), vec![Value::Int8(2)]),
        ("levels".into(), vec![Value::Int8(1), Value::Int8(2)]),
    ])
}

/// Evaluates as an opened scan does: physical expression straight from the bound one, nothing in between.
fn run(expr: &Expr, batch: &RecordBatch) -> ArrayRef {
    let columns = DFSchema::try_from(batch.schema()).unwrap();
    let physical = create_physical_expr(expr, &columns, &ExecutionProps::new(), &Default::default()).unwrap();
    physical.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap()
}

/// `t`, `f` or `-` a row.
fn rows(condition: &str) -> String {
    rows_of(&people(), condition)
}

fn rows_of(batch: &RecordBatch, condition: &str) -> String {
    let typed = Condition::parse(condition).and_then(|c| c.bind(&batch.schema(), &attributes()));
    let typed = match typed {
        Ok(typed) => typed,
        Err(mistake) => return format!("{}: {}", mistake.at + 1, mistake.text),
    };
    let Some(expr) = typed.with(&values()) else { return "no".into() };
    let result = run(&expr, batch);
    let result = result.as_boolean();
    result.iter().map(|v| v.map_or('-', |v| if v { 't' } else { 'f' })).collect()
}

#[test]
fn conditions_run_as_they_were_typed() {
    let table = [
        ("unfiltered", "tttt"),
        ("TRUE", "tttt"),
        ("ok", "tf-t"),
        ("NOT ok", "ft-f"),
        ("ok IS NULL", "fftf"),
        ("id = 1", "tf-f"),
        ("1 = id", "tf-f"),
        ("id = '1'", "tf-f"),
        ("id <> 1 AND id != 2", "ff-t"),
        ("id = -4", "ff-t"),
        ("id > 1 OR ok", "tt-t"),
        ("id BETWEEN 1 AND 2", "tt-f"),
        ("id NOT BETWEEN 1 AND 2", "ff-t"),
        ("id = small", "tf-t"),
        ("price >= 1.5", "tt-f"),
        ("price = 1.50", "tf-f"),
        ("price <= total", "tf-t"),
        ("score < 1", "tf-t"),
        ("name = 'Ann'", "tf-f"),
        ("name IN ('Ann', 'bob')", "tt-f"),
        ("name NOT IN ('Ann')", "ft-t"),
        ("name = big", "tf-f"),
        ("nick = lower(name)", "tf-f"),
        ("lower(name) = 'ann' AND upper(big) = 'ANN'", "tf-f"),
        ("name LIKE 'A%' OR big LIKE '_\\%_'", "tt-f"),
        ("name NOT LIKE '%n%'", "ft-t"),
        ("length(name) = 3", "tt-t"),
        ("length(big) < 3 AND octet_length(name) = 4", "ff-t"),
        ("trim(nick) = 'zz' OR btrim(nick) = '' OR ltrim(rtrim(nick)) = ''", "ft-t"),
        ("starts_with(name, 'Z')", "ff-t"),
        ("starts_with(big, user.name)", "tf-f"),
        ("coalesce(nick, name, 'none') = 'none'", "fftf"),
        ("coalesce(id, 7) = 7", "fftf"),
        ("nullif(nick, '') IS NULL", "fttf"),
        ("born = '1970-01-01'", "tf-f"),
        ("born < '2022-01-08'", "tf-t"),
        ("seen = '2024-01-01 00:00:00Z'", "ft-f"),
        ("seen = '2024-01-01T02:00:00+02'", "ft-f"),
        ("seen >= '1970-01-01 00:00:00.000000+00:00'", "tt-f"),
        ("local = '2024-01-01'", "ft-f"),
        ("local > '2023-12-31 23:59'", "ft-f"),
        ("blob = '\\x00FF'", "tf-f"),
        ("name = user.name", "tf-f"),
        ("big IN ('x', user.names)", "tf-t"),
        ("id IN (user.levels) AND price > user.level", "ft-f"),
        ("USER.level = 2", "tttt"),
        ("user.name IN ('Ann', 'x') AND user.level BETWEEN 1 AND 2", "tttt"),
        ("(ok = (id = 1)) AND NOT (id IS NULL)", "ttff"),
        ("\"ok\" AND \"id\" = 1", "tf-f"),
    ];
    for (condition, expected) in table {
        assert_eq!(rows(condition), expected, "{condition}");
    }
}

/// What stands below a barrier with hidden rows must not fail on one of them.
fn bound(batch: &RecordBatch, condition: &str) -> Expr {
    let condition = Condition::parse(condition).unwrap();
    condition.bind(&batch.schema(), &attributes()).unwrap().with(&values()).unwrap()
}

#[test]
fn no_condition_can_fail_on_a_row() {
    let batch = people();
    let columns = DFSchema::try_from(batch.schema()).unwrap();
    let conditions = [
        "id = small AND price <= total AND score < 1 AND id = price AND small <> score",
        "name = big OR nick = lower(name) OR upper(big) IN ('A', user.names)",
        "length(name) = 3 AND octet_length(big) > 1 AND starts_with(trim(nick), user.name)",
        "coalesce(nick, name, 'none') = nullif(big, '') AND ltrim(rtrim(nick)) LIKE 'a%'",
        "born BETWEEN '1970-01-01' AND '2020-01-01' AND seen > '2024-01-01 00:00:00Z' AND local < '2024-01-01'",
        "NOT (blob = '\\x00' OR ok = (id = 1)) AND price > user.level AND id NOT IN (user.levels)",
    ];
    for condition in conditions {
        let expr = bound(&batch, condition);
        assert!(infallible(&expr, &columns), "{condition}: {expr}");
    }
}

/// `character(n)`, an enum of a source, a numeric of any scale, times by the second, jsonb.
fn kept() -> RecordBatch {
    let ty = |oid, typmod| Ty { oid, typmod };
    let text = |values: [Option<&str>; 4]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let labels: DictionaryArray<Int32Type> = [Some("open"), Some("done"), None, Some("open")].into_iter().collect();
    let numbers = [Some("1.50"), Some("2"), None, Some("-1")].map(|n| n.map(|n| Numeric::parse(n).unwrap().encode()));
    let numbers: BinaryArray = numbers.iter().map(|n| n.as_deref()).collect();
    let prices = Decimal128Array::from(vec![Some(150), Some(300), None, Some(-100)]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            pgtype::field("code", ty(oid::BPCHAR, 8), DataType::Utf8),
            text([Some("ab  "), Some("Ann "), None, Some("x")]),
        ),
        (pgtype::field("short", ty(oid::VARCHAR, 7), DataType::Utf8), text([Some("abc"), Some("a\\"), None, Some("")])),
        (crate::formats::postgres::enum_field("label", 16_400, true), Arc::new(labels)),
        (pgtype::field("free", ty(oid::NUMERIC, -1), DataType::Binary), Arc::new(numbers)),
        (
            Field::new("at", DataType::Timestamp(TimeUnit::Second, None), true),
            Arc::new(TimestampSecondArray::from(vec![Some(1), Some(2), None, Some(0)])),
        ),
        (Field::new("tiny", DataType::Int16, true), Arc::new(Int16Array::from(vec![Some(1), Some(3), None, Some(-1)]))),
        (
            Field::new("price", DataType::Decimal128(10, 2), true),
            Arc::new(prices.with_precision_and_scale(10, 2).unwrap()),
        ),
        (pgtype::field("doc", ty(oid::JSONB, -1), DataType::Utf8), text([Some("{}"), Some("1"), None, Some("2")])),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[test]
fn types_are_postgresqls_however_a_table_keeps_them() {
    let batch = kept();
    let table = [
        // blanks at the end do not count
        ("code = 'ab'", "tf-f"),
        ("code IN ('ab', user.names)", "tt-f"),
        ("code NOT IN (user.names)", "tf-t"),
        ("code = user.name", "ft-f"),
        ("length(code) = 2", "tf-f"),
        ("code LIKE '_b'", "tf-f"),
        ("label = 'open'", "tf-t"),
        ("label IN ('done', 'x')", "ft-f"),
        ("upper(label) = 'OPEN'", "tf-t"),
        ("free = 1.5", "tf-f"),
        ("free > 1", "tt-f"),
        ("free IN (1.500, 2)", "tt-f"),
        ("free = price", "tf-t"),
        ("free >= user.level", "ft-f"),
        ("tiny = price", "ft-t"),
        ("tiny < free", "tf-f"),
        ("at = '1970-01-01 00:00:01'", "tf-f"),
        ("at BETWEEN '1970-01-01' AND '1970-01-01 00:00:01'", "tf-t"),
        ("short = 'abc' OR short IN ('', 'abcd')", "tf-t"),
        ("short LIKE 'a\\\\'", "ft-f"),
        ("doc IS NULL", "fftf"),
        // what cannot be, at its place
        ("free = 'NaN'", "8: 'NaN' is no numeric"),
        ("tiny = 70000", "8: 70000 is no int2"),
        ("at = '1970-01-01 00:00:01.5'", "6: '1970-01-01 00:00:01.5' is no timestamp"),
        ("at = tiny", "1: this compares timestamp with int2"),
        ("doc = '{}'", "1: jsonb cannot be compared"),
        ("doc IN ('{}')", "1: jsonb cannot be compared"),
        ("lower(doc) = 'x'", "7: this is jsonb, text belongs here"),
        ("short LIKE 'a\\'", "12: the last `\\` of the pattern has nothing behind it"),
    ];
    for (condition, expected) in table {
        assert_eq!(rows_of(&batch, condition), expected, "{condition}");
    }
}

/// So that sources understand it and files are pruned by it.
#[test]
fn a_column_beside_a_constant_stays_as_the_table_keeps_it() {
    let batch = people();
    let table = [
        ("name = 'Ann'", "name = Utf8View(\"Ann\")"),
        ("'Ann' <> big", "LargeUtf8(\"Ann\") != big"),
        ("name IN ('x', user.names)", "name IN ([Utf8View(\"x\"), Utf8View(\"Ann\"), Utf8View(\"bob\")])"),
        ("name LIKE 'A%' AND name IS NOT NULL", "name LIKE Utf8View(\"A%\") AND name IS NOT NULL"),
        ("big = user.name", "big = LargeUtf8(\"Ann\")"),
        ("id > 1 OR small = 2", "id > Int64(1) OR small = Int32(2)"),
        ("price >= 1.5", "price >= Decimal128(1.50,10,2)"),
    ];
    for (condition, expected) in table {
        assert_eq!(bound(&batch, condition).to_string(), expected);
    }
    assert!(!bound(&kept(), "at > '1970-01-01' AND label = 'open'").to_string().contains("CAST"));
}

#[test]
fn what_is_not_the_language_is_refused_at_its_place() {
    let table = [
        ("", "1: expected an expression, found the end"),
        ("id", "1: a condition is true or false; this is int8"),
        ("'x'", "1: a constant is not a condition"),
        ("1 = 1", "1: this compares two constants"),
        ("ok AND nope = 1", "8: there is no column `nope`"),
        ("OK AND Name = 'x' AND \"Name\" = 'y'", "23: there is no column `Name`; did you mean `name`?"),
        ("people.id = 1", "1: a column is named without its table; fields inside a column cannot be reached"),
        ("id = 1.5", "6: 1.5 is no int8"),
        ("small = 3000000000", "9: 3000000000 is no int4"),
        ("price = 1.005", "9: 1.005 is no numeric(10,2)"),
        ("price = 123456789.00", "9: 123456789.00 is no numeric(10,2)"),
        ("name = 5", "8: 5 is no text"),
        ("ok = 'maybe'", "6: 'maybe' is no bool"),
        ("born = '2024-02-30'", "8: '2024-02-30' is no date"),
        ("seen = '2024-01-01 00:00:00'", "8: '2024-01-01 00:00:00' is no timestamptz"),
        ("local = '2024-01-01 00:00:00+02'", "9: '2024-01-01 00:00:00+02' is no timestamp"),
        ("local = '2024-01-01 00:00:00.0000001'", "9: '2024-01-01 00:00:00.0000001' is no timestamp"),
        ("blob = 'ff'", "8: 'ff' is no bytea"),
        ("id = name", "1: this compares int8 with text"),
        // an operator that PostgreSQL has, by a kernel that nobody read to its end
        ("born = local", "1: this compares date with timestamp"),
        ("ok AND local < seen", "8: this compares timestamp with timestamptz"),
        ("id = NULL", "6: a comparison with NULL is never true; use IS NULL"),
        ("id IN (1, NULL)", "11: NULL in a list makes every answer unknown"),
        ("id IN (small)", "8: `IN` lists constants and attributes"),
        ("name LIKE nick", "11: the pattern of LIKE is a text constant"),
        ("name LIKE user.name", "11: the pattern of LIKE is a text constant"),
        ("id LIKE '1%'", "1: text belongs here; this is int8"),
        ("name ILIKE 'a%'", "1: ILIKE has no place here; write `lower(x) LIKE 'pattern'`"),
        ("name ~ 'a'", "1: `~` is not an operator of policies: = <> < <= > >= IN LIKE BETWEEN IS AND OR NOT"),
        ("id + 1 = 2", "1: `+` is not an operator of policies: = <> < <= > >= IN LIKE BETWEEN IS AND OR NOT"),
        ("-id = 4", "2: `-` stands before a number only"),
        ("random() < 1", "1: function `random` is not one of the functions of policies"),
        ("concat(name, 'x') = 'x'", "1: `concat` belongs in custom masks only"),
        ("pg_catalog.lower(name) = 'x'", "1: function `pg_catalog.lower` is not one of the functions of policies"),
        ("lower(name, nick) = 'x'", "1: `lower` takes one argument"),
        ("lower(DISTINCT name) = 'x'", "1: `lower` takes plain arguments only"),
        ("length(id) = 1", "8: this is int8, text belongs here"),
        ("coalesce(id, 'x') = 1", "14: 'x' is no int8"),
        ("user = 'x'", "1: function `user` is not one of the functions of policies; attributes are `user.x`"),
        ("name = user.nam", "8: attribute `user.nam` is not declared in users.toml; did you mean `name`?"),
        ("name = user.names", "8: `user.names` is a list; write `IN (user.names)`"),
        ("name = user.level", "8: `user.level` is int8, text belongs here"),
        ("user.name IS NULL", "1: a user without the attribute sees no row anyway; `IS NULL` asks columns"),
        ("user. = 'x'", "1: `user.` goes on with the name of an attribute"),
        ("CASE WHEN ok THEN TRUE END", "1: this form belongs in custom masks only"),
        ("ok IS TRUE", "1: this form is not part of the filter language"),
        ("id = $1", "6: parameters do not belong here; attributes are `user.x`"),
        ("ok /* sic */", "4: a condition has no comments"),
        ("ok; DROP TABLE x", "3: `;` does not belong here"),
        ("ok, ok", "3: `,` does not belong here"),
        ("name = E'x'", "8: E'x' is not a form of constant here; text is written 'so'"),
        ("born = DATE '2024-01-01'", "13: a cast has no place here; a constant takes the column's type by itself"),
    ];
    for (condition, expected) in table {
        assert_eq!(rows(condition), expected, "{condition}");
    }
}

#[test]
fn depth_and_length_end_in_a_mistake_not_in_a_crash() {
    let deep = |n: usize| format!("{}ok{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(rows(&deep(40)), "tf-t");
    assert!(rows(&deep(60)).contains("nested deeper than 50"), "{}", rows(&deep(60)));
    assert!(rows(&deep(5_000)).contains("than"), "{}", rows(&deep(5_000)));
    assert!(rows(&"NOT ".repeat(20_000)).contains("than"));
    assert!(rows(&format!("{}1", "id = ".repeat(400))).contains("nested deeper than 50"));
    assert!(rows(&format!("ok{}", " IS NULL".repeat(10_000))).contains("more than 1000 words and operators"));
    let chain = |n: usize| vec!["id = 1"; n].join(" AND ");
    assert_eq!(rows(&chain(300)), "tf-f");
    assert!(rows(&chain(20_000)).contains("longer than"));
    let list = (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(rows(&format!("id IN ({list})")), "tt-f");
}

#[test]
fn a_missing_or_unfit_attribute_leaves_no_expression() {
    let batch = people();
    let bind = |text: &str| Condition::parse(text).unwrap().bind(&batch.schema(), &attributes()).unwrap();
    let no_names = Values::from([("names".into(), vec![])]);
    assert_eq!(bind("NOT (name = user.name)").with(&Values::new()), None);
    assert_eq!(bind("name NOT IN ('x', user.names)").with(&no_names), None);
    let huge = Values::from([("level".into(), vec![Value::Int8(i64::MAX)])]);
    assert_eq!(bind("small <> user.level").with(&huge), None);
}

// --- masks

fn field(kind: &DataType) -> Field {
    Field::new("c", kind.clone(), true)
}

fn bind_mask(mask: &str, column: &Field) -> Result<Expr, String> {
    let schema = Schema::new(vec![
        column.clone(),
        Field::new("other", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
    ]);
    let mask = Mask::parse(mask).map_err(|m| format!("{}: {}", m.at + 1, m.text))?;
    let typed = mask.bind(column, &schema, &attributes(), &key()).map_err(|m| format!("{}: {}", m.at + 1, m.text))?;
    Ok(typed.with(&values()).unwrap())
}

fn apply(mask: &str, values: ArrayRef) -> ArrayRef {
    let column = field(values.data_type());
    let other: ArrayRef = Arc::new(StringArray::from(vec![Some("other"); values.len()]));
    let n: ArrayRef = Arc::new(Int32Array::from(vec![Some(7); values.len()]));
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        column.clone(),
        Field::new("other", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
    ]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(&values), other, n]).unwrap();
    let masked = run(&bind_mask(mask, &column).unwrap(), &batch);
    assert_eq!(masked.data_type(), values.data_type(), "{mask} changed the type");
    masked
}

fn shown(array: &dyn Array) -> Vec<String> {
    (0..array.len())
        .map(|i| if array.is_null(i) { "-".into() } else { array_value_to_string(array, i).unwrap() })
        .collect()
}

/// The same texts in each representation a column may have.
fn texts(values: &[Option<&str>]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from(values.to_vec())),
        Arc::new(LargeStringArray::from(values.to_vec())),
        Arc::new(StringViewArray::from(values.to_vec())),
    ]
}

#[test]
fn text_masks_in_every_representation() {
    let table = [
        ("nullify", ["-", "-", "-", "-"]),
        ("constant('v')", ["v", "v", "v", "v"]),
        ("redact", ["xxxx", "xxxx", "xxxx", "xxxx"]),
        ("partial(2, '***', 4)", ["ab***6789", "***", "***", "Ä𝄞***6789"]),
        ("partial(0, '', 0)", ["", "", "", ""]),
        ("last4", ["****6789", "****", "****", "****6789"]),
        ("first4", ["ab01****", "****", "****", "Ä𝄞01****"]),
        ("unmasked", ["ab0123456789", "abc", "-", "Ä𝄞0123456789"]),
        ("custom(\"coalesce(c, other)\")", ["ab0123456789", "abc", "other", "Ä𝄞0123456789"]),
        ("custom(\"concat(substr(c, 1, 2), '-', upper(other))\")", ["ab-OTHER", "ab-OTHER", "-OTHER", "Ä𝄞-OTHER"]),
        ("custom(\"CASE WHEN c = 'abc' THEN 'known' WHEN n > 7 THEN other ELSE NULL END\")", ["-", "known", "-", "-"]),
        ("custom(\"CASE c WHEN 'abc' THEN user.name END\")", ["-", "Ann", "-", "-"]),
        ("custom(\"'fixed'\")", ["fixed", "fixed", "fixed", "fixed"]),
    ];
    for (mask, expected) in table {
        for values in texts(&[Some("ab0123456789"), Some("abc"), None, Some("Ä𝄞0123456789")]) {
            assert_eq!(shown(&apply(mask, values)), expected, "{mask}");
        }
    }
}

#[test]
fn masks_of_other_types() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));
    let bools: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(19_417), None]));
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(10, 2).unwrap());
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_677_600_000_000_001), None]).with_timezone("UTC"));
    let table: Vec<(&str, &ArrayRef, [&str; 2])> = vec![
        ("redact", &numbers, ["0", "0"]),
        ("redact", &bools, ["false", "false"]),
        ("redact", &dates, ["1970-01-01", "1970-01-01"]),
        ("redact", &decimals, ["0.00", "0.00"]),
        ("redact", &times, ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]),
        ("nullify", &decimals, ["-", "-"]),
        ("constant(-1)", &numbers, ["-1", "-1"]),
        ("constant('2.50')", &decimals, ["2.50", "2.50"]),
        ("constant(true)", &bools, ["true", "true"]),
        ("constant('2020-01-02')", &dates, ["2020-01-02", "2020-01-02"]),
        ("year", &dates, ["2023-01-01", "-"]),
        ("year", &times, ["2023-01-01T00:00:00Z", "-"]),
        ("custom(\"CASE WHEN c > 4 THEN n ELSE 0 END\")", &numbers, ["7", "0"]),
        ("custom(\"length(other)\")", &numbers, ["5", "5"]),
        ("custom(\"c IS NULL\")", &bools, ["false", "true"]),
    ];
    for (mask, values, expected) in table {
        assert_eq!(shown(&apply(mask, Arc::clone(values))), expected, "{mask}");
    }
}

#[test]
fn masks_that_do_not_fit_their_column() {
    let typed = |oid: &str, typmod: &str| {
        let metadata = [("lakegate.oid".into(), oid.into()), ("lakegate.typmod".into(), typmod.into())];
        Field::new("c", DataType::Utf8, true).with_metadata(metadata.into_iter().collect())
    };
    let text = field(&DataType::Utf8);
    let number = field(&DataType::Int64);
    let table = [
        ("hash", &number, "1: `hash` is for text and bytea, column `c` is int8"),
        ("last4", &number, "1: `partial` is for text, column `c` is int8"),
        ("year", &text, "1: `year` is for date and timestamp, column `c` is text"),
        (
            "redact",
            &field(&DataType::Binary),
            "1: `redact` is for text, numbers, bool, date and timestamp, column `c` is bytea",
        ),
        ("constant('x')", &number, "1: 'x' is no int8"),
        ("constant(1)", &text, "1: 1 is no text"),
        ("hash", &typed("1043", "67"), "1: this mask needs 64 characters; column `c` holds 63"),
        ("redact", &typed("1042", "7"), "1: this mask needs 4 characters; column `c` holds 3"),
        ("constant('long')", &typed("1043", "7"), "1: this mask needs 4 characters; column `c` holds 3"),
        ("partial(1, '**', 1)", &typed("1043", "7"), "1: this mask needs 4 characters; column `c` holds 3"),
        ("last4", &typed("3802", "-1"), "1: `partial` is for text, column `c` is of type 3802"),
        ("custom(\"n\")", &text, "9: this is int4, text belongs here"),
        ("custom(\"substr(c, -1)\")", &text, "20: a whole number of characters belongs here"),
        ("custom(\"substr(c, n)\")", &text, "19: a number of characters belongs here"),
        (
            "custom(\"c || 'x'\")",
            &text,
            "9: `||` is not an operator of policies: = <> < <= > >= IN LIKE BETWEEN IS AND OR NOT",
        ),
        (
            "custom('c')",
            &text,
            "1: `custom` is written `custom(\"expression\")`; inside a CSV field each quote is doubled",
        ),
        ("partial(2, '*')", &text, "1: `partial` is written `partial(first, 'text', last)`"),
        ("partial(2000, '*', 1)", &text, "9: a number of characters up to 1000"),
        ("last4 x", &text, "7: `x` does not belong here"),
        ("last4(", &text, "7: `)` belongs at the end"),
        (
            "Nullify",
            &text,
            "1: mask `Nullify` is not one of nullify, constant, redact, hash, partial, last4, first4, year, custom, unmasked; did you mean `nullify`?",
        ),
    ];
    for (mask, column, expected) in table {
        assert_eq!(bind_mask(mask, column).unwrap_err(), expected, "{mask}");
    }
    for (mask, column) in [("hash", typed("1043", "68")), ("hash", typed("25", "-1")), ("redact", typed("1042", "8"))] {
        bind_mask(mask, &column).unwrap();
    }
}

#[test]
fn the_hash_is_keyed_stable_and_blind_to_absence() {
    let [plain, large, view] =
        <[ArrayRef; 3]>::try_from(texts(&[Some("secret"), None, Some("secret"), Some("n"), Some("")])).unwrap();
    let masked = shown(&apply("hash", plain));
    assert_eq!(masked, shown(&apply("hash", large)));
    assert_eq!(masked, shown(&apply("hash", view)));
    assert!(masked.iter().all(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit())), "{masked:?}");
    assert_eq!(masked[0], masked[2], "equal values join");
    assert_eq!(masked.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "NULL, `n` and `` differ");
    // HMAC-SHA-256 of b"v" + b"secret" under the fixture's key, computed with Python's hmac
    assert_eq!(masked[0], HASH_OF_SECRET);
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(b"secret".as_slice()), None]));
    let masked_bytes = apply("hash", bytes);
    assert_eq!(masked_bytes.as_binary::<i32>().value(0), masked[0].as_bytes());
    assert_eq!(masked_bytes.as_binary::<i32>().value(1), masked[1].as_bytes());

    let Expr::ScalarFunction(call) = bind_mask("hash", &field(&DataType::Utf8)).unwrap() else { panic!() };
    assert!(!format!("{call:?}").contains("key of this"), "the key is printed");
}

/// Digests of a batch are kept as long as nothing else falls on their place: what is kept must be the value's own.
#[test]
fn a_hash_is_the_values_own_however_the_batch_repeats_itself() {
    let mut dice = Dice(8);
    let values: Vec<String> = (0..5_000).map(|_| dice.below(700).to_string()).collect();
    let optional: Vec<Option<&str>> = values.iter().map(|v| (v != "13").then_some(v.as_str())).collect();
    let mut known = std::collections::BTreeMap::new();
    for array in texts(&optional) {
        for (value, hash) in optional.iter().zip(shown(&apply("hash", array))) {
            let single: ArrayRef = Arc::new(StringArray::from(vec![*value]));
            let alone = known.entry(*value).or_insert_with(|| shown(&apply("hash", single)).remove(0));
            assert_eq!(hash, *alone, "{value:?}");
        }
    }
}

const HASH_OF_SECRET: &str = "497ee42a57b1e3b4700caf2a3f2be46cb252072be4aa0b3917790dce8c833881";

/// Each mask, 2,000 times: the input changes outside what the mask shows, the output does not.
#[test]
fn no_mask_lets_anything_through_but_what_it_shows() {
    let mut dice = Dice(20_260_726);
    let letters: Vec<char> = "abcXYZ019-@ ÄßЖ漢𝄞'\"%".chars().collect();
    let word = |dice: &mut Dice, length: usize| (0..length).map(|_| *dice.pick(&letters)).collect::<String>();
    for round in 0..2_000 {
        let (first, last) = (dice.below(5), dice.below(5));
        let (lengths, heads) = ([dice.below(30), dice.below(30)], [first, last]);
        let (head, tail) = (word(&mut dice, heads[0]), word(&mut dice, heads[1]));
        // same ends, other middles of other lengths, none of them empty
        let inputs = lengths.map(|n| format!("{head}{}{tail}", word(&mut dice, n + 1)));
        let shorts = [word(&mut dice, first + last), word(&mut dice, (first + last).saturating_sub(1))];
        for array in texts(&[Some(&inputs[0]), Some(&inputs[1]), Some(&shorts[0]), Some(&shorts[1]), None]) {
            let partial = shown(&apply(&format!("partial({first}, '**', {last})"), Arc::clone(&array)));
            assert_eq!(partial[0], partial[1], "round {round}");
            assert_eq!(partial[0], format!("{head}**{tail}"));
            assert_eq!(partial[2..], ["**", "**", "**"], "round {round}: short values and none are alike");
            for mask in ["nullify", "constant('c')", "redact"] {
                let all = shown(&apply(mask, Arc::clone(&array)));
                assert!(all.iter().all(|v| *v == all[0]), "round {round} {mask}: {all:?}");
            }
            let hashed = shown(&apply("hash", array));
            assert!(hashed.iter().all(|h| h.len() == 64), "round {round}: the hash shows a length");
        }
    }
}

#[test]
fn a_year_shows_the_year_alone() {
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let year = i32::try_from(dice.below(9_998)).unwrap() + 1;
        let new_year = chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let days = i32::try_from((new_year - chrono::NaiveDate::default()).num_days()).unwrap();
        let within = i32::try_from(dice.below(365)).unwrap();
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![days, days + within, days - 1]));
        let shown = apply("year", dates);
        let shown = shown.as_primitive::<arrow::datatypes::Date32Type>();
        assert_eq!([shown.value(0), shown.value(1)], [days, days], "{year}");
        assert!(shown.value(2) < days);
        let time = (i64::from(days + within) * 86_400 + i64::try_from(dice.below(86_400)).unwrap()) * 1_000_000;
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time]));
        let shown = apply("year", times);
        let shown = shown.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        assert_eq!(shown.value(0), i64::from(days) * 86_400_000_000, "{year}");
    }
    // infinities stay, the ends of the range do not fail
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX, i32::MIN, i32::MAX - 1, i32::MIN + 1]));
    let shown = apply("year", dates);
    let shown = shown.as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!([shown.value(0), shown.value(1)], [i32::MAX, i32::MIN]);
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        let ends = arrow::compute::cast(
            &Int64Array::from(vec![i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1]),
            &DataType::Timestamp(unit, None),
        );
        let shown = apply("year", ends.unwrap());
        let shown = arrow::compute::cast(&shown, &DataType::Int64).unwrap();
        let shown = shown.as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!([shown.value(0), shown.value(1)], [i64::MAX, i64::MIN], "{unit:?}");
        assert!(shown.value(2) < i64::MAX);
    }
}
