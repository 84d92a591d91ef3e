//! Conditions that are known only while a query runs: a hash join has read its smaller side, and the keys that it found there
//! go to the database with the text of the other side. Each of them is true of every row that the join would keep, so that
//! what cannot be said in SQL is left out, and so are all of them if they come too late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNullExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;

use super::scan::PostgresExec;
use crate::formats::postgres::literal;

/// More text than this is not sent: the database would look into it for every row.
const SQL_BYTES_MAX: usize = 1 << 20;
/// A join whose smaller side takes longer to read does not hold up the other one.
const WAIT: Duration = Duration::from_secs(20);
const DEPTH_MAX: usize = 64;

/// Tells each scan which of the conditions it was given are a join's: those of a sort with a limit are complete only when all
/// has been read.
pub(crate) fn listen(plan: Arc<dyn ExecutionPlan>) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let mut joins = HashSet::new();
    plan.apply(|node| {
        if node.is::<HashJoinExec>() {
            joins.extend(node.dynamic_expressions_produced().iter().filter_map(|e| e.expression_id()));
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    if joins.is_empty() {
        // nobody is listened to unless told so
        return Ok(plan);
    }
    let heard = plan.transform_up(|node| {
        Ok(match node.downcast_ref::<PostgresExec>().and_then(|scan| scan.listening(&joins)) {
            Some(scan) => Transformed::yes(Arc::new(scan) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(node),
        })
    })?;
    Ok(heard.data)
}

/// A column of a text that was printed: its type there, and whether equal values there are equal here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparable {
    pub(super) oid: u32,
    pub(super) equal: bool,
}

/// The text with what has come to be known of its rows by now.
pub(super) async fn narrowed(
    sql: &str,
    schema: &SchemaRef,
    columns: &[Comparable],
    conditions: &[Arc<dyn PhysicalExpr>],
) -> Option<String> {
    let mut found = vec![];
    for condition in conditions {
        let Some(dynamic) = condition.downcast_ref::<DynamicFilterPhysicalExpr>() else { continue };
        if tokio::time::timeout(WAIT, dynamic.wait_complete()).await.is_err() {
            continue;
        }
        let Ok(current) = dynamic.current() else { continue };
        found.extend(Terms { schema, columns }.said(&current, 0));
    }
    if found.is_empty() || found.iter().map(String::len).sum::<usize>() > SQL_BYTES_MAX {
        return None;
    }
    Some(format!("SELECT * FROM ({sql}) AS q WHERE {}", found.join(" AND ")))
}

struct Terms<'a> {
    schema: &'a SchemaRef,
    columns: &'a [Comparable],
}

impl Terms<'_> {
    /// A condition that is true wherever `e` is; `None` says nothing.
    fn said(&self, e: &Arc<dyn PhysicalExpr>, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        let again = |e: &Arc<dyn PhysicalExpr>| self.said(e, depth + 1);
        if let Some(binary) = e.downcast_ref::<BinaryExpr>() {
            return match binary.op() {
                Operator::And => match (again(binary.left()), again(binary.right())) {
                    (Some(left), Some(right)) => Some(format!("({left} AND {right})")),
                    (one, other) => one.or(other),
                },
                Operator::Or => Some(format!("({} OR {})", again(binary.left())?, again(binary.right())?)),
                Operator::GtEq => self.bound(binary, ">="),
                Operator::LtEq => self.bound(binary, "<="),
                _ => None,
            };
        }
        if let Some(list) = e.downcast_ref::<InListExpr>() {
            return self.among(list);
        }
        if let Some(test) = e.downcast_ref::<IsNullExpr>() {
            return Some(format!("({} IS NULL)", self.column(test.arg())?.0));
        }
        // of which part of the keys a row is one is said by its hash: any of them
        if let Some(case) = e.downcast_ref::<CaseExpr>() {
            let no = |e: &&Arc<dyn PhysicalExpr>| !is_false(e);
            let parts = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr()).filter(no);
            let parts = parts.map(again).collect::<Option<Vec<_>>>()?;
            return (!parts.is_empty()).then(|| format!("({})", parts.join(" OR ")));
        }
        None
    }

    fn column(&self, e: &Arc<dyn PhysicalExpr>) -> Option<(String, u32, &DataType)> {
        let index = e.downcast_ref::<Column>()?.index();
        let (column, field) = (self.columns.get(index)?, self.schema.fields().get(index)?);
        column.equal.then(|| (format!("q.c{index}"), column.oid, field.data_type()))
    }

    /// Not of texts, whose order may be another one there, nor of floats, of which there are two zeros here.
    fn bound(&self, binary: &BinaryExpr, operator: &str) -> Option<String> {
        let (column, oid, data_type) = self.column(binary.left())?;
        let value = binary.right().downcast_ref::<Literal>()?.value();
        let ordered = matches!(
            data_type,
            DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Decimal128(..)
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::FixedSizeBinary(16)
        );
        if !ordered || value.is_null() || value.data_type() != *data_type {
            return None;
        }
        Some(format!("({column} {operator} {})", literal::literal(value, oid)?))
    }

    /// Keys of several columns are said column by column.
    fn among(&self, list: &InListExpr) -> Option<String> {
        if list.negated() {
            return None;
        }
        let values: Option<Vec<&ScalarValue>> =
            list.list().iter().map(|e| e.downcast_ref::<Literal>().map(Literal::value)).collect();
        let values = values?;
        if let Some(keys) = list.expr().downcast_ref::<ScalarFunctionExpr>() {
            let of = |place: usize| -> Option<Vec<ScalarValue>> {
                let field = |value: &&ScalarValue| match value {
                    ScalarValue::Struct(row) => ScalarValue::try_from_array(row.columns().get(place)?, 0).ok(),
                    _ => None,
                };
                values.iter().map(field).collect()
            };
            let each = keys.args().iter().enumerate().filter_map(|(place, e)| self.any(e, &of(place)?));
            let each: Vec<String> = each.collect();
            return (!each.is_empty()).then(|| each.join(" AND "));
        }
        let values: Vec<ScalarValue> = values.into_iter().cloned().collect();
        self.any(list.expr(), &values)
    }

    fn any(&self, e: &Arc<dyn PhysicalExpr>, values: &[ScalarValue]) -> Option<String> {
        let (column, oid, data_type) = self.column(e)?;
        if matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Binary) {
            return None;
        }
        let mut distinct = HashSet::new();
        let values: Vec<ScalarValue> = values.iter().filter(|value| distinct.insert(*value)).cloned().collect();
        Some(format!("({column} = ANY ({}))", literal::list(&values, oid)?))
    }
}

fn is_false(e: &Arc<dyn PhysicalExpr>) -> bool {
    e.downcast_ref::<Literal>().is_some_and(|literal| *literal.value() == ScalarValue::Boolean(Some(false)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::physical_expr::expressions::{binary, in_list, lit};

    use super::*;

    #[test]
    fn only_what_every_kept_row_satisfies_is_said() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("ci", DataType::Utf8, true),
        ]));
        let columns = [(20, true), (25, true), (25, false)].map(|(oid, equal)| Comparable { oid, equal });
        let column = |i: usize| Arc::new(Column::new("x", i)) as Arc<dyn PhysicalExpr>;
        let pair = |l, op, r| binary(l, op, r, &schema).unwrap();
        let among = |i: usize, all: Vec<Arc<dyn PhysicalExpr>>| in_list(column(i), all, &false, &schema).unwrap();
        let said = |e: &Arc<dyn PhysicalExpr>| Terms { schema: &schema, columns: &columns }.said(e, 0);
        let ids = among(0, vec![lit(3_i64), lit(3_i64), lit(5_i64)]);
        let some_ids = "(q.c0 = ANY ('{\"3\",\"5\"}'::pg_catalog.\"_int8\"))";
        assert_eq!(said(&ids).as_deref(), Some(some_ids));
        let low = pair(column(0), Operator::GtEq, lit(3_i64));
        let both = pair(Arc::clone(&low), Operator::And, Arc::clone(&ids));
        assert_eq!(said(&both), Some(format!("((q.c0 >= '3'::int8) AND {some_ids})")));
        // the order of texts is not the source's; a half of AND is enough, a half of OR is nothing
        let text = pair(column(1), Operator::LtEq, lit("m"));
        assert_eq!(said(&text), None);
        assert_eq!(said(&pair(Arc::clone(&text), Operator::And, Arc::clone(&ids))).as_deref(), Some(some_ids));
        assert_eq!(said(&pair(text, Operator::Or, ids)), None);
        assert_eq!(
            said(&among(1, vec![lit("a'")])).as_deref(),
            Some("(q.c1 = ANY ('{\"a''\"}'::pg_catalog.\"_text\"))")
        );
        assert_eq!(said(&among(2, vec![lit("a")])), None);
    }
}
