//! Window functions and aggregates over frames run through DataFusion, against the answers of a PostgreSQL 15
//! (`cases.tsv`: name, types of the arguments, frame, rows in their order, answers in the same).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::prelude::{SessionConfig, SessionContext, col};

use super::super::aggregate::tests::{column, refused, shown, split};
use super::{aggregate, window};
use crate::pgtype::{self, Ty, oid};
use crate::sql::image;

fn bound(text: &str) -> WindowFrameBound {
    let (what, way) = text.rsplit_once(' ').unwrap();
    let offset = match what {
        "unbounded" => ScalarValue::UInt64(None),
        "current" => return WindowFrameBound::CurrentRow,
        offset => ScalarValue::UInt64(Some(offset.parse().unwrap())),
    };
    if way == "preceding" { WindowFrameBound::Preceding(offset) } else { WindowFrameBound::Following(offset) }
}

async fn run(name: &str, types: &str, frame: &str, rows: &str) -> Result<Vec<Option<String>>, String> {
    let rows: Vec<Vec<Option<&str>>> =
        rows.split('|').map(|row| row.split('~').map(|v| (v != "\\N").then_some(v)).collect()).collect();
    let order_type = frame.strip_prefix("o:");
    let names = if types.is_empty() { vec![] } else { split(types) };
    let columns: Vec<String> = order_type.map_or(names.clone(), |ty| vec![ty.to_owned()]);
    let (mut fields, mut arrays, mut given) = (vec![], vec![], vec![]);
    for (i, ty) in columns.iter().enumerate() {
        let column = column(ty, &rows.iter().map(|row| row[i]).collect::<Vec<_>>());
        fields.push(pgtype::field(&format!("a{}", i + 1), column.ty, column.array.data_type().clone()));
        given.push((column.ty, column.array.data_type().clone()));
        arrays.push(column.array);
    }
    given.truncate(names.len());
    fields.push(Field::new("o", DataType::Int32, false));
    arrays.push(Arc::new((0..rows.len()).map(|row| row as i32).collect::<Int32Array>()));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();

    let fits = |proc: &&&'static image::Proc| {
        proc.arguments.len() == given.len()
            && proc.arguments.iter().zip(&given).all(|(wanted, (ty, _))| match *wanted {
                oid::ANYARRAY => pgtype::element(ty.oid).is_some(),
                oid::ANYNONARRAY => pgtype::element(ty.oid).is_none(),
                wanted => wanted == ty.oid || pgtype::is_polymorphic(wanted) || wanted == oid::ANY,
            })
    };
    let proc = image::procs(name).iter().find(fits).unwrap_or_else(|| panic!("{name}({types})"));
    let result = match proc.result {
        oid::ANYARRAY if pgtype::element(given[0].0.oid).is_none() => Ty::of(pgtype::array(given[0].0.oid).unwrap()),
        polymorphic if pgtype::is_polymorphic(polymorphic) => given[0].0,
        oid => Ty::of(oid),
    };
    let lies = match proc.kind {
        image::Kind::Aggregate => aggregate::lies_as(proc, &given),
        _ => super::lies_as(proc, &given),
    };
    let lies = lies.unwrap_or_else(|| pgtype::arrow(result.oid).unwrap());
    let fun = window(proc, &given, (result, lies)).map_err(|e| refused(&e))?;
    let window_frame = match frame.strip_prefix("rows between ") {
        Some(bounds) => {
            let (start, end) = bounds.split_once(" and ").unwrap();
            WindowFrame::new_bounds(WindowFrameUnits::Rows, bound(start), bound(end))
        }
        None => WindowFrame::new(Some(false)),
    };
    let by = if order_type.is_some() { "a1" } else { "o" };
    let call = Expr::WindowFunction(Box::new(WindowFunction {
        fun,
        params: WindowFunctionParams {
            args: (1..=given.len()).map(|i| col(format!("a{i}"))).collect(),
            partition_by: vec![],
            order_by: vec![Sort::new(col(by), true, false)],
            window_frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1).with_batch_size(2));
    let run = async {
        let frame = context.read_table(Arc::new(table))?.window(vec![call.alias("v")])?;
        frame.sort(vec![Sort::new(col("o"), true, false)])?.select(vec![col("v")])?.collect().await
    };
    let batches = run.await.map_err(|e| refused(&e.into()))?;
    let found: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(0))).collect();
    Ok(found.iter().flat_map(|array| shown(array, result)).collect())
}

#[tokio::test]
async fn frames_are_computed_as_postgres_does() {
    let mut wrong = vec![];
    for line in include_str!("cases.tsv").lines() {
        let f: Vec<&str> = line.split('\t').collect();
        let found = match run(f[0], f[1], f[2], f[3]).await {
            Ok(found) => found.into_iter().map(|v| v.unwrap_or_else(|| "\\N".into())).collect::<Vec<_>>().join("|"),
            Err(refused) => refused,
        };
        if found != f[4] {
            wrong.push(format!("{line}\n    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
