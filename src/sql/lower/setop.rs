//! UNION, INTERSECT, EXCEPT. NULLs are equal here; ALL counts by numbering the equal rows of each side.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, Union, lit};

use super::order::{has_key, key_of, numbering};
use super::{Flow, Lower};
use crate::error::{Error, Result};
use crate::sql::query::{self, Query, SetOperator};

impl<'a> Lower<'a> {
    pub(super) fn set_operation(
        &mut self,
        operator: SetOperator,
        all: bool,
        left: &'a Query,
        right: &'a Query,
        columns: &[query::Column],
    ) -> Result<Flow> {
        let names: Vec<String> = columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let named =
            |names: &[String]| columns.iter().zip(names).map(|(c, n)| (c.id, Column::new_unqualified(n))).collect();
        let side = |lower: &mut Self, query: &'a Query, names: &[String]| -> Result<LogicalPlan> {
            let flow = lower.query(query)?;
            lower.exactly(flow, &query.columns, names)
        };
        let left = side(self, left, &names)?;
        let mut flow = Flow { plan: left, columns: named(&names), computed: vec![], order: vec![] };
        let targets: Vec<&query::Column> = columns.iter().collect();
        if operator == SetOperator::Union {
            let right = side(self, right, &names)?;
            flow.plan =
                LogicalPlan::Union(Union::try_new_with_loose_types(vec![Arc::new(flow.plan), Arc::new(right)])?);
            return if all { Ok(flow) } else { self.distinct_rows(flow, &targets) };
        }
        let others: Vec<String> = columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let right = side(self, right, &others)?;
        let mut right = Flow { plan: right, columns: named(&others), computed: vec![], order: vec![] };
        if !all {
            flow = match columns.is_empty() {
                true => flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?))?,
                false => self.distinct_rows(flow, &targets)?,
            };
        }
        let (mut l, mut r);
        (flow, l) = self.keys_of_row(flow, &names, columns, all)?;
        (right, r) = self.keys_of_row(right, &others, columns, all)?;
        if l.is_empty() {
            // rows of nothing are equal, but a join asks for a key
            for (side, keys) in [(&mut flow, &mut l), (&mut right, &mut r)] {
                let name = self.fresh("row");
                *side = self.extend(side.clone(), vec![(lit(true), name.clone())])?;
                keys.push(Column::new_unqualified(name));
            }
        }
        let kind = match operator {
            SetOperator::Intersect => JoinType::LeftSemi,
            SetOperator::Except => JoinType::LeftAnti,
            SetOperator::Union => return Err(Error::internal("a union is no join")),
        };
        flow.map(|plan| {
            let both = LogicalPlanBuilder::from(plan);
            let joined = both.join_detailed(right.plan, kind, (l, r), None, NullEquality::NullEqualsNull)?.build()?;
            // keys and numbers end here
            let kept: Vec<Lowered> = names.iter().map(|n| Lowered::Column(Column::new_unqualified(n))).collect();
            Ok(LogicalPlanBuilder::from(joined).project(kept)?.build()?)
        })
    }

    /// The columns by which rows are equal, with the number of each among its equals where they are counted.
    fn keys_of_row(
        &mut self,
        flow: Flow,
        names: &[String],
        columns: &[query::Column],
        counted: bool,
    ) -> Result<(Flow, Vec<Column>)> {
        let (mut keys, mut computed) = (vec![], vec![]);
        for (name, column) in names.iter().zip(columns) {
            let value = Lowered::Column(Column::new_unqualified(name));
            if !has_key(column.ty, &column.data_type) {
                keys.push(Column::new_unqualified(name));
                continue;
            }
            let name = self.fresh("key");
            computed.push((key_of(value, column.ty, &column.data_type)?, name.clone()));
            keys.push(Column::new_unqualified(name));
        }
        let flow = self.extend(flow, computed)?;
        if !counted {
            return Ok((flow, keys));
        }
        let name = self.fresh("number");
        let partition = keys.iter().cloned().map(Lowered::Column).collect();
        let number = numbering(row_number_udwf(), partition, vec![]).alias(&name);
        keys.push(Column::new_unqualified(name));
        Ok((flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).window(vec![number])?.build()?))?, keys))
    }
}
