//! ORDER BY, LIMIT, WITH TIES, DISTINCT. Values that Arrow does not order or equate as PostgreSQL does go by their keys.

use datafusion::common::{Column, ScalarValue};
use datafusion::functions_window::rank::rank_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr as Lowered, LogicalPlanBuilder, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, WindowUDF, lit,
};

use super::aggregate::{aggregated, first_value};
use super::function::KernelFunction;
use super::special::{Op, Special};
use super::{Flow, Lower};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Sort};
use crate::sql::functions;
use crate::sql::query::{self, Query};

use arrow::datatypes::{DataType, Field};

/// What orders and equates values as the type does.
pub(super) fn key_of(value: Lowered, ty: Ty, data_type: &DataType) -> Result<Lowered> {
    let Some((source, to)) = functions::key(ty.oid, data_type) else { return Ok(value) };
    Ok(KernelFunction::of_source(source, vec![ty], Ty::of(oid::BYTEA), to)?.call(vec![value]))
}

pub(super) fn has_key(ty: Ty, data_type: &DataType) -> bool {
    functions::key(ty.oid, data_type).is_some()
}

/// All rows of the partition: for functions that pay no heed to frames. (A RANGE would ask for an order of numbers.)
pub(super) fn whole() -> WindowFrame {
    let unbounded = ScalarValue::UInt64(None);
    WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(unbounded.clone()),
        WindowFrameBound::Following(unbounded),
    )
}

/// `row_number()` and the like, over the whole partition.
pub(super) fn numbering(function: std::sync::Arc<WindowUDF>, partition: Vec<Lowered>, order: Vec<SortExpr>) -> Lowered {
    Lowered::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(function),
        params: WindowFunctionParams {
            args: vec![],
            partition_by: partition,
            order_by: order,
            window_frame: whole(),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

impl<'a> Lower<'a> {
    pub(super) fn sort_keys(&mut self, flow: &mut Flow, order: &'a [Sort]) -> Result<Vec<SortExpr>> {
        let mut keys = vec![];
        for sort in order {
            let value = self.expr(flow, &sort.by)?;
            let value = key_of(value, sort.by.ty, &sort.by.data_type)?;
            keys.push(SortExpr::new(value, !sort.descending, sort.nulls_first));
        }
        Ok(keys)
    }

    pub(super) fn sorted(&mut self, flow: Flow, keys: Vec<SortExpr>) -> Result<Flow> {
        match keys.is_empty() {
            true => Ok(flow),
            false => flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).sort(keys)?.build()?)),
        }
    }

    /// LIMIT and OFFSET of constants are DataFusion's; what is computed, and ties, go by numbers of the rows.
    pub(super) fn limited(&mut self, flow: Flow, keys: Vec<SortExpr>, query: &'a Query) -> Result<Flow> {
        let mut flow = flow;
        let mut bound = |flow: &mut Flow, e: &'a Option<Expr>, is_limit: bool| -> Result<Option<Lowered>> {
            let Some(e) = e else { return Ok(None) };
            let value = self.expr(flow, e)?;
            Ok(match value {
                Lowered::Literal(value, _) if value.is_null() => None,
                Lowered::Literal(ScalarValue::Int64(Some(n)), _) if n < 0 => return Err(negative(is_limit)),
                other => Some(other),
            })
        };
        let offset = bound(&mut flow, &query.offset, false)?;
        let limit = bound(&mut flow, &query.limit, true)?;
        let plain = |e: &Option<Lowered>| {
            e.as_ref().is_none_or(|e| matches!(e, Lowered::Literal(..) | Lowered::Placeholder(_)))
        };
        if plain(&offset) && plain(&limit) && !query.with_ties {
            let flow = self.sorted(flow, keys)?;
            return match (&offset, &limit) {
                (None, None) => Ok(flow),
                _ => flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).limit_by_expr(offset, limit)?.build()?)),
            };
        }
        let checked = |e: Lowered, is_limit| {
            let value = Special::call(Op::Bound(is_limit), Field::new("bound", DataType::Int64, true), vec![e]);
            Special::call(
                Op::Coalesce,
                Field::new("coalesce", DataType::Int64, true),
                vec![value, lit(if is_limit { i64::MAX } else { 0 })],
            )
        };
        let (number, rank) = (self.fresh("number"), self.fresh("rank"));
        let mut windows = vec![numbering(row_number_udwf(), vec![], keys.clone()).alias(&number)];
        if query.with_ties {
            windows.push(numbering(rank_udwf(), vec![], keys.clone()).alias(&rank));
        }
        let place = |name: &str| Lowered::Column(Column::new_unqualified(name)).cast_to_int8();
        let mut conditions = vec![];
        let offset = offset.map(|offset| checked(offset, false));
        if let Some(offset) = &offset {
            conditions.push(place(&number).gt(offset.clone()));
        }
        if let Some(limit) = limit {
            let by = place(if query.with_ties { &rank } else { &number });
            let by = match offset {
                Some(offset) => by - offset,
                None => by,
            };
            conditions.push(by.lt_eq(checked(limit, true)));
        }
        let flow = flow.map(|plan| {
            let numbered = LogicalPlanBuilder::from(plan).window(windows)?;
            let all = conditions.into_iter().reduce(Lowered::and).unwrap_or_else(|| lit(true));
            Ok(numbered.filter(all)?.build()?)
        })?;
        self.sorted(flow, keys)
    }

    /// Each row once, by those columns; the plan holds nothing else.
    pub(super) fn distinct_rows(&mut self, flow: Flow, columns: &[&query::Column]) -> Result<Flow> {
        if !columns.iter().any(|c| has_key(c.ty, &c.data_type)) {
            return flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).distinct()?.build()?));
        }
        let (mut groups, mut calls) = (vec![], vec![]);
        for column in columns {
            let found = flow.column(column.id)?.clone();
            let value = Lowered::Column(found.clone());
            if !has_key(column.ty, &column.data_type) {
                groups.push(value);
                continue;
            }
            groups.push(key_of(value.clone(), column.ty, &column.data_type)?.alias(self.fresh("key")));
            calls.push(first_value(value).alias(found.name));
        }
        flow.map(|plan| aggregated(plan, groups, calls))
    }

    /// The first row, in this order, of those that are equal in `by`. (DataFusion pushes filters through its own DISTINCT
    /// ON, and so may let another row come first.)
    pub(super) fn first_of_each(&mut self, flow: Flow, by: &[&query::Column], order: &'a [Sort]) -> Result<Flow> {
        let mut flow = flow;
        let mut partition = vec![];
        for column in by {
            let value = Lowered::Column(flow.column(column.id)?.clone());
            partition.push(key_of(value, column.ty, &column.data_type)?);
        }
        let order = self.sort_keys(&mut flow, order)?;
        self.first_of_partition(flow, partition, order)
    }

    pub(super) fn first_of_partition(
        &mut self,
        flow: Flow,
        partition: Vec<Lowered>,
        order: Vec<SortExpr>,
    ) -> Result<Flow> {
        let name = self.fresh("number");
        let number = numbering(row_number_udwf(), partition, order).alias(&name);
        flow.map(|plan| {
            let first = Lowered::Column(Column::new_unqualified(name)).eq(lit(1_u64));
            Ok(LogicalPlanBuilder::from(plan).window(vec![number])?.filter(first)?.build()?)
        })
    }
}

fn negative(is_limit: bool) -> Error {
    match is_limit {
        true => Error::new(ErrorKind::LimitValue, "LIMIT must not be negative"),
        false => Error::new(ErrorKind::OffsetValue, "OFFSET must not be negative"),
    }
}

/// Row numbers are unsigned in DataFusion.
pub(super) trait Int8 {
    fn cast_to_int8(self) -> Lowered;
}

impl Int8 for Lowered {
    fn cast_to_int8(self) -> Lowered {
        Lowered::Cast(datafusion::logical_expr::Cast::new(Box::new(self), DataType::Int64))
    }
}
