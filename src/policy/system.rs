//! A system relation as a leaf of a guarded plan: its rows are made when the plan is, from what the session may see, of the
//! columns and values that the statement asks for. Which rows these are is the catalog's.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};

use crate::error::Result;
use crate::scan::{Scanned, scan_by};

/// Column and the values that it may have.
pub type Equal = (String, Vec<ScalarValue>);

/// The rows of a system relation for one session.
pub trait SystemRows: Debug + Send + Sync {
    fn schema(&self) -> SchemaRef;

    /// The columns at `columns`, ascending, of at least those rows that have one of the values in each column of `equal`.
    fn read(&self, columns: &[usize], equal: &[Equal]) -> Result<Vec<RecordBatch>>;
}

#[derive(Debug)]
pub(super) struct SystemTable(pub(super) Arc<dyn SystemRows>);

impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    scan_by!(scanned);

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let helps = |filter: &&Expr| match equal(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(helps).collect())
    }
}

impl SystemTable {
    fn scanned<'a>(
        &'a self,
        session: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let all: Vec<usize> = (0..self.schema().fields().len()).collect();
            let wanted = projection.unwrap_or(&all);
            let mut columns = wanted.clone();
            columns.sort_unstable();
            columns.dedup();
            let equal: Vec<Equal> = filters.iter().filter_map(equal).collect();
            let batches = self.0.read(&columns, &equal)?;
            let schema = Arc::new(self.schema().project(&columns)?);
            let places = wanted.iter().filter_map(|at| columns.binary_search(at).ok()).collect();
            MemTable::try_new(schema, vec![batches])?.scan(session, Some(&places), &[], limit).await
        })
    }
}

/// `column = value`, `column IN (values)`, or several of the kind between OR.
fn equal(filter: &Expr) -> Option<Equal> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                Some((column.name.clone(), vec![value.clone()]))
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let ((column, mut values), (other, more)) = (equal(left)?, equal(right)?);
            values.extend(more);
            (column == other).then_some((column, values))
        }
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let value = |item: &Expr| match item {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            };
            Some((column.name.clone(), list.list.iter().map(value).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn equalities_with_values_are_found() {
        let found = |filter: Expr| equal(&filter).map(|(column, values)| format!("{column} {values:?}"));
        assert_eq!(found(col("a").eq(lit(1))).as_deref(), Some("a [Int32(1)]"));
        assert_eq!(found(lit(1).eq(col("a")).or(col("a").eq(lit(2)))).as_deref(), Some("a [Int32(1), Int32(2)]"));
        assert_eq!(found(col("a").in_list(vec![lit(3)], false)).as_deref(), Some("a [Int32(3)]"));
        assert_eq!(found(col("a").in_list(vec![lit(3)], true)), None);
        assert_eq!(found(col("a").eq(lit(1)).or(col("b").eq(lit(2)))), None);
        assert_eq!(found(col("a").eq(col("b"))), None);
        assert_eq!(found(col("a").lt(lit(1))), None);
    }
}
