//! Set-returning functions: a kernel gives a list for each row, and the lists are unnested side by side, the shorter ones
//! padded with NULL. In FROM they may be numbered and may read what stands to their left.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, UnnestOptions};
use datafusion::logical_expr::{Expr as Lowered, LogicalPlanBuilder, SortExpr};
use std::sync::Arc;

use super::select::found;
use super::special::{Op, Special};
use super::{Flow, Lower};
use crate::error::Result;
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Call, Expr, Kind};
use crate::sql::query::{self, FunctionCall};

fn list_of(e: &Expr) -> DataType {
    DataType::List(Arc::new(pgtype::field("item", e.ty, e.data_type.clone())))
}

impl<'a> Lower<'a> {
    /// The sets in a select list, the innermost first. `numbered`: where a row's place among those of its set is kept too.
    pub(super) fn sets(
        &mut self,
        flow: Flow,
        above: &[&'a Expr],
        mut numbered: Option<&mut Vec<SortExpr>>,
    ) -> Result<Flow> {
        let mut flow = flow;
        let mut left = found(above, &|e| e.is_set() && flow.find(e).is_none());
        while !left.is_empty() {
            let (now, later): (Vec<&'a Expr>, Vec<&'a Expr>) = left
                .iter()
                .partition(|e| !e.children().into_iter().any(|c| c.any(&|e| e.is_set() && flow.find(e).is_none())));
            let (mut lists, mut computed) = (vec![], vec![]);
            for e in now {
                let Kind::Call(call) = &e.kind else { continue };
                let name = self.fresh(call.proc.name);
                lists.push((self.set_call(&mut flow, call, e)?, name.clone()));
                computed.push((e.clone(), Column::new_unqualified(name)));
            }
            let mut names: Vec<String> = lists.iter().map(|(_, name)| name.clone()).collect();
            if let Some(numbered) = numbered.as_deref_mut() {
                // the lists themselves first, so that a volatile one is computed once
                flow = self.extend(flow, std::mem::take(&mut lists))?;
                let name = self.fresh("ordinal");
                lists.push((ordinals(&names), name.clone()));
                numbered.push(SortExpr::new(Lowered::Column(Column::new_unqualified(&name)), true, false));
                names.push(name);
            }
            flow = unnested(self.extend(flow, lists)?, names)?;
            flow.computed.extend(computed);
            left = later;
        }
        Ok(flow)
    }

    fn set_call(&mut self, flow: &mut Flow, call: &'a Call, e: &Expr) -> Result<Lowered> {
        let arguments = self.exprs(flow, &call.arguments)?;
        let types = call.arguments.iter().map(|a| (a.ty, a.data_type.clone())).collect();
        let lists = Expr { data_type: list_of(e), ..e.clone() };
        self.function(call.proc, types, arguments, &lists)
    }

    /// Every row of `flow` beside the rows that the functions make of it; `kept` if it stays where they make none.
    pub(super) fn functions_over(
        &mut self,
        flow: Flow,
        calls: &'a [FunctionCall],
        ordinality: Option<&query::Column>,
        kept: bool,
    ) -> Result<Flow> {
        let mut flow = flow;
        if let ([only], None) = (calls, ordinality)
            && !only.expr.is_set()
        {
            let value = self.expr(&mut flow, &only.expr)?;
            let name = self.fresh(only.proc.name);
            let flow = self.extend(flow, vec![(value, name.clone())])?;
            return self.spread(flow, &[(only, name)]);
        }
        let (mut lists, mut named) = (vec![], vec![]);
        for call in calls {
            let list = match &call.expr.kind {
                Kind::Call(c) if c.proc.set => self.set_call(&mut flow, c, &call.expr)?,
                _ => {
                    let value = self.expr(&mut flow, &call.expr)?;
                    Special::call(Op::Array, Field::new("array", list_of(&call.expr), true), vec![value])
                }
            };
            let name = self.fresh(call.proc.name);
            lists.push((list, name.clone()));
            named.push((call, name));
        }
        if let Some(column) = ordinality {
            // the lists themselves first, so that a volatile one is computed once
            flow = self.extend(flow, std::mem::take(&mut lists))?;
            let numbers = ordinals(&named.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>());
            let name = self.fresh_column(column.id);
            flow.columns.insert(column.id, Column::new_unqualified(&name));
            lists.push((numbers, name));
        }
        flow = self.extend(flow, lists)?;
        let mut names: Vec<String> = named.iter().map(|(_, name)| name.clone()).collect();
        if let Some(column) = ordinality {
            names.push(flow.column(column.id)?.name.clone());
        }
        if kept {
            flow = self.padded(flow, &names)?;
        }
        self.spread(unnested(flow, names)?, &named)
    }

    /// Lists of nothing become lists of one NULL.
    fn padded(&mut self, flow: Flow, names: &[String]) -> Result<Flow> {
        flow.map(|plan| {
            let schema = Arc::clone(plan.schema());
            let all = schema.iter().map(|(qualifier, field)| {
                let column = Lowered::Column(Column::new(qualifier.cloned(), field.name()));
                match qualifier.is_none() && names.contains(field.name()) {
                    true => Special::call(Op::Padded, field.as_ref().clone().with_nullable(true), vec![column])
                        .alias(field.name()),
                    false => column,
                }
            });
            Ok(LogicalPlanBuilder::from(plan).project(all.collect::<Vec<_>>())?.build()?)
        })
    }

    /// The columns of each function's result: its fields, or itself.
    fn spread(&mut self, flow: Flow, calls: &[(&'a FunctionCall, String)]) -> Result<Flow> {
        let mut flow = flow;
        let mut fields_of = vec![];
        for (call, name) in calls {
            let value = Column::new_unqualified(name);
            match (&call.expr.data_type, call.columns.as_slice()) {
                (DataType::Struct(fields), columns) if fields.len() == columns.len() => {
                    for (i, column) in columns.iter().enumerate() {
                        let field = pgtype::field(&column.name, column.ty, column.data_type.clone());
                        let name = self.fresh_column(column.id);
                        let of = Lowered::Column(value.clone());
                        fields_of.push((Special::call(Op::Field(i), field, vec![of]), name.clone()));
                        flow.columns.insert(column.id, Column::new_unqualified(name));
                    }
                }
                (_, columns) => {
                    flow.columns.extend(columns.first().map(|column| (column.id, value)));
                }
            }
        }
        self.extend(flow, fields_of)
    }
}

/// For these lists side by side.
fn ordinals(names: &[String]) -> Lowered {
    let all = names.iter().map(|name| Lowered::Column(Column::new_unqualified(name))).collect();
    let item = Arc::new(pgtype::field("item", Ty::INT8, DataType::Int64));
    Special::call(Op::Ordinals, Field::new("ordinality", DataType::List(item), true), all)
}

pub(super) fn unnested(flow: Flow, names: Vec<String>) -> Result<Flow> {
    let columns = names.into_iter().map(Column::new_unqualified).collect();
    let options = UnnestOptions::new().with_preserve_nulls(false);
    flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).unnest_columns_with_options(columns, options)?.build()?))
}
