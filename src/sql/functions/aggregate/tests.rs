//! Aggregates run through DataFusion, in one partition and in several, with groups and without, against the answers of a
//! PostgreSQL 15 (`tests/cases.tsv`: name, number of arguments, types of the columns, options, rows, answer).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::{SessionConfig, SessionContext, col};

use super::{aggregate, lies_as};
use crate::formats::postgres::{self, input};
use crate::pgtype::{self, Ty, oid};
use crate::sql::image;
use crate::sql::kernel::{Arg, Env};
use crate::sql::numeric::Numeric;

pub(in crate::sql::functions) struct Column {
    pub(in crate::sql::functions) ty: Ty,
    pub(in crate::sql::functions) array: ArrayRef,
}

/// `numeric(p,s)` lies as a decimal, any other type as `pgtype` says.
pub(in crate::sql::functions) fn column(name: &str, values: &[Option<&str>]) -> Column {
    let (base, modifier) = name.split_once('(').map_or((name, None), |(base, rest)| {
        let (modifier, after) = rest.split_once(')').unwrap();
        (if after.is_empty() { base } else { "?" }, Some(modifier))
    });
    let (type_oid, _) = postgres::by_name(base).unwrap_or_else(|| panic!("no type {name}"));
    let data_type = match modifier {
        Some(modifier) if type_oid == oid::NUMERIC => {
            let (precision, scale) = modifier.split_once(',').unwrap();
            DataType::Decimal128(precision.parse().unwrap(), scale.parse().unwrap())
        }
        _ => pgtype::arrow(type_oid).unwrap(),
    };
    let scalar = |value: &Option<&str>| match (value, &data_type) {
        (None, _) => ScalarValue::try_from(&data_type).unwrap(),
        (Some(text), DataType::Decimal128(precision, scale)) => {
            ScalarValue::Decimal128(Numeric::parse(text).unwrap().to_i128(*scale), *precision, *scale)
        }
        (Some(text), _) if type_oid == oid::NUMERIC => {
            ScalarValue::Binary(Some(Numeric::parse(text).unwrap().encode()))
        }
        (Some(text), _) => input::value(type_oid, text, &Env::plain().style()).unwrap(),
    };
    let parts: Vec<ArrayRef> = values.iter().map(|value| scalar(value).to_array().unwrap()).collect();
    // arrays of the input functions name their items as they like
    let parts: Vec<ArrayRef> =
        parts.iter().map(|part| arrow::compute::cast(part, &deepened(&data_type, part)).unwrap()).collect();
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Column { ty: Ty::of(type_oid), array: concat(&parts).unwrap() }
}

/// The type of an array of more dimensions, for an array that has them.
fn deepened(data_type: &DataType, array: &ArrayRef) -> DataType {
    match (data_type, array.data_type()) {
        (DataType::List(item), DataType::List(inner)) if matches!(inner.data_type(), DataType::List(_)) => {
            let nested = match inner.data_type() {
                DataType::List(_) => DataType::List(Arc::clone(item)),
                other => other.clone(),
            };
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(nested)))
        }
        _ => data_type.clone(),
    }
}

/// A value as PostgreSQL spells it.
pub(in crate::sql::functions) fn shown(array: &ArrayRef, ty: Ty) -> Vec<Option<String>> {
    if ty.oid == oid::NUMERIC {
        let arg = Arg::array(Arc::clone(array));
        let values = arg.read::<Numeric>().unwrap();
        return (0..array.len()).map(|row| values.get(row).map(|value| value.to_string())).collect();
    }
    if pgtype::element(ty.oid) == Some(oid::NUMERIC) {
        let list = array.as_list::<i32>();
        let one = |row: usize| {
            let items = shown(&list.value(row), Ty::NUMERIC);
            let items = items.into_iter().map(|item| item.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>();
            format!("{{{}}}", items.join(","))
        };
        return (0..list.len()).map(|row| (!list.is_null(row)).then(|| one(row))).collect();
    }
    let field = pgtype::field("", ty, array.data_type().clone());
    let texts: StringArray = postgres::texts(&field, array, &Env::plain().style()).unwrap();
    let boolean = ty == Ty::BOOL;
    let spelt =
        |text: &str| if boolean { if text == "t" { "true".into() } else { "false".into() } } else { text.to_owned() };
    texts.iter().map(|text| text.map(spelt)).collect()
}

pub(in crate::sql::functions) fn split(types: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in types.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match c {
            ',' if depth == 0 => names.push(String::new()),
            c => names.last_mut().unwrap().push(c),
        }
    }
    names
}

struct Case<'a> {
    name: &'a str,
    arguments: usize,
    types: Vec<String>,
    options: Vec<&'a str>,
    rows: Vec<Vec<Option<&'a str>>>,
    answer: String,
}

fn case(line: &str) -> Case<'_> {
    let f: Vec<&str> = line.split('\t').collect();
    let value = |text| if text == "\\N" { None } else { Some(text) };
    Case {
        name: f[0],
        arguments: f[1].parse().unwrap(),
        types: split(f[2]),
        options: f[3].split(';').collect(),
        rows: f[4].split('|').map(|row| row.split('~').map(value).collect()).collect(),
        answer: f[5].replace("\\n", "\n"),
    }
}

impl Case<'_> {
    fn proc(&self, types: &[Ty]) -> &'static image::Proc {
        let fits = |proc: &&&'static image::Proc| {
            proc.kind == image::Kind::Aggregate
                && (proc.arguments.len() == types.len() || proc.variadic != 0 || proc.arguments.is_empty())
                && proc.arguments.iter().zip(types).all(|(wanted, ty)| {
                    let is_array = pgtype::element(ty.oid).is_some();
                    match *wanted {
                        oid::ANYARRAY => is_array,
                        oid::ANYNONARRAY => !is_array,
                        oid::TEXT => matches!(ty.oid, oid::TEXT | oid::VARCHAR),
                        wanted => wanted == ty.oid || pgtype::is_polymorphic(wanted) || wanted == oid::ANY,
                    }
                })
        };
        let known = image::procs(self.name);
        known.iter().filter(|proc| !proc.arguments.is_empty()).find(fits).unwrap_or_else(|| panic!("{}", self.name))
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix(name))
    }

    /// The value in each group.
    async fn run(&self, partitions: usize, grouped: bool) -> Result<Vec<Option<String>>, String> {
        let copies = if grouped { 2 } else { 1 };
        let names: Vec<String> = (1..=self.types.len()).map(|i| format!("a{i}")).collect();
        let mut arrays = vec![];
        let mut types = vec![];
        for (i, name) in self.types.iter().enumerate() {
            let values: Vec<Option<&str>> =
                self.rows.iter().flat_map(|row| std::iter::repeat_n(row[i], copies)).collect();
            let column = column(name, &values);
            types.push((column.ty, column.array.data_type().clone()));
            arrays.push(column.array);
        }
        let rows = arrays[0].len();
        arrays.push(Arc::new((0..rows).map(|row| (row % copies) as i32).collect::<Int32Array>()));
        let fields =
            names.iter().zip(&types).map(|(name, (ty, data_type))| pgtype::field(name, *ty, data_type.clone()));
        let schema = Arc::new(Schema::new(fields.chain([Field::new("g", DataType::Int32, false)]).collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let size = rows.div_ceil(partitions);
        let part = |i: usize| {
            let from = (i * size).min(rows);
            vec![batch.slice(from, size.min(rows - from))]
        };
        let table = MemTable::try_new(schema, (0..partitions).map(part).collect()).unwrap();

        let mut declared = types[..self.arguments].to_vec();
        // JSON comes spelt; the type is that of what was spelt
        if let Some(name) = self.option("tojson:") {
            declared[0].0 = Ty::of(postgres::by_name(name).unwrap().0);
        }
        let plain: Vec<Ty> = declared.iter().map(|(ty, _)| *ty).collect();
        let proc = self.proc(&plain);
        let result = match pgtype::is_polymorphic(proc.result) {
            false => Ty::of(proc.result),
            true => {
                let value = plain[plain.len() - 1];
                let makes_array = matches!(proc.result, oid::ANYARRAY) && pgtype::element(value.oid).is_none();
                if makes_array { Ty::of(pgtype::array(value.oid).unwrap()) } else { value }
            }
        };
        let lies = lies_as(proc, &declared).unwrap_or_else(|| pgtype::arrow(result.oid).unwrap());
        let function = aggregate(proc, &declared, (result, lies)).map_err(|e| refused(&e))?;

        let arguments: Vec<Expr> = names[..self.arguments].iter().map(col).collect();
        let order: Vec<SortExpr> = if let Some(direct) = self.option("wg:") {
            let descending = self.options.contains(&"desc");
            let sort = |name: &String| Sort::new(col(name), !descending, descending);
            names[direct.parse().unwrap()..self.arguments].iter().map(sort).collect()
        } else {
            let sort = |key: &str| {
                let (descending, first) = (key.starts_with('-'), key.ends_with('n'));
                Sort::new(col(format!("a{}", key.trim_matches(['-', 'n']))), !descending, descending || first)
            };
            self.option("o:").map(|keys| keys.split(',').map(sort).collect()).unwrap_or_default()
        };
        let distinct = self.options.contains(&"distinct");
        let call = AggregateFunction::new_udf(function, arguments, distinct, None, order, None);
        let call = Expr::AggregateFunction(call).alias("v");
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(2);
        let context = SessionContext::new_with_config(config);
        let groups = if grouped { vec![col("g")] } else { vec![] };
        let run = async {
            let frame = context.read_table(Arc::new(table))?.aggregate(groups, vec![call])?;
            frame.select(vec![col("v")])?.collect().await
        };
        let batches = run.await.map_err(|e| refused(&e.into()))?;
        let found: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(0))).collect();
        Ok(found.iter().flat_map(|array| shown(array, result)).collect())
    }
}

pub(in crate::sql::functions) fn refused(error: &crate::error::Error) -> String {
    let source = std::error::Error::source(error).filter(|_| error.kind() != crate::error::Kind::NumericRange);
    let source = source.map(|source| format!(" ({source})")).unwrap_or_default();
    format!("!{} {}{source}", error.kind().sqlstate(), error.message())
}

#[tokio::test]
async fn values_are_those_of_postgres() {
    let mut wrong = vec![];
    for line in include_str!("tests/cases.tsv").lines() {
        let case = case(line);
        // without an order of its own an order of rows is only known in one partition
        let several = if case.options.contains(&"seq") { 1 } else { 3 };
        for (partitions, grouped) in [(1, false), (several, false), (1, true), (several, true)] {
            let groups = if grouped { 2 } else { 1 };
            let wanted = if case.answer == "\\N" { None } else { Some(case.answer.clone()) };
            let found = match case.run(partitions, grouped).await {
                Ok(found) => found,
                Err(refused) => vec![Some(refused); groups],
            };
            if found != vec![wanted; groups] {
                wrong.push(format!("{line}\n    {partitions} {grouped}: {found:?}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
