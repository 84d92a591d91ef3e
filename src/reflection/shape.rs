//! What a block of a statement asks for, without its values: which dimensions and measures a reflection needs to answer it,
//! and whether one does. It keeps no plan, so that it outlives the catalog that its statement was planned over.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use xxhash_rust::xxh3::Xxh3;

use super::block::{Block, Definition, Rows, size};
use super::lossless::Lossless;
use super::matching::{Asked, matched};
use crate::sql::lower::rollup::{self, SameSettings, begins, truncated};
use crate::sql::lower::written::{measure, without_value, worded, written};

/// What asks for more is made by machines, or by mistake.
const PARTS_MAX: usize = 16;
const NODES_MAX: usize = 200;
/// Units to which a time is truncated that is only asked to lie between two others; the coarsest first.
const UNITS: [&str; 3] = ["day", "hour", "minute"];

#[derive(Debug)]
pub struct Shape {
    by: Vec<Expr>,
    sets: Option<Vec<Vec<usize>>>,
    conjuncts: Vec<Expr>,
    calls: Vec<AggregateFunction>,
    same: SameSettings,
    /// As SQL.
    pub dimensions: BTreeSet<String>,
    pub measures: BTreeSet<String>,
}

impl Shape {
    /// `None` for what no reflection could be proposed for. `same`: as of the statement.
    pub(crate) fn of(block: &Block, same: SameSettings) -> Option<Self> {
        let filters = block.calls.iter().filter_map(|call| call.params.filter.as_deref());
        let conditions: Vec<&Expr> = block.rows.conjuncts.iter().chain(filters).collect();
        let exprs =
            || conditions.iter().copied().chain(&block.by).chain(block.calls.iter().flat_map(|c| &c.params.args));
        if exprs().map(size).sum::<usize>() > NODES_MAX || exprs().any(rollup::is_volatile) {
            return None;
        }
        let mut needs = Needs::default();
        block.by.iter().try_for_each(|e| needs.group(e))?;
        conditions.iter().try_for_each(|e| needs.condition(e))?;
        let mut measures = BTreeSet::new();
        for call in &block.calls {
            match call.params.distinct {
                true => call.params.args.iter().try_for_each(|e| needs.group(e))?,
                false => {
                    measures.insert(measure(call)?);
                }
            }
        }
        let dimensions = needs.0;
        if dimensions.is_empty() || dimensions.len() > PARTS_MAX || measures.len() > PARTS_MAX {
            return None;
        }
        let mut calls = block.calls.clone();
        for call in &mut calls {
            if let Some(filter) = call.params.filter.take() {
                call.params.filter = Some(Box::new(plain(&filter)?));
            }
        }
        let conjuncts = block.rows.conjuncts.iter().map(plain).collect::<Option<_>>()?;
        Some(Self { by: block.by.clone(), sets: block.sets.clone(), conjuncts, calls, same, dimensions, measures })
    }

    /// Groups by these.
    #[cfg(test)]
    pub(crate) fn of_columns(by: &[Expr]) -> Self {
        let (sets, conjuncts, calls, same) = (None, vec![], vec![], SameSettings::All);
        let dimensions = by.iter().filter_map(written).collect();
        Self { by: by.to_vec(), sets, conjuncts, calls, same, dimensions, measures: BTreeSet::new() }
    }

    /// The same for equal ones.
    pub fn print(&self) -> u64 {
        let mut hasher = Xxh3::new();
        (&self.by, &self.sets, &self.conjuncts, &self.calls).hash(&mut hasher);
        (self.same as u8, &self.dimensions, &self.measures).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether what is defined so answers it, once it is stored. `columns`: the schema of its query; `kept`: that of its store.
    pub(crate) fn is_answered_by(&self, definition: &Definition, columns: &DFSchema, kept: &Schema) -> bool {
        let Definition::Groups { block, .. } = definition else { return false };
        let rows = Rows { tables: block.rows.tables.clone(), conjuncts: self.conjuncts.clone(), columns: vec![] };
        let asked = Block { rows, by: self.by.clone(), sets: self.sets.clone(), calls: self.calls.clone() };
        let Ok(answer) = matched(&Asked::Groups(&asked), definition, columns, &Lossless::new(), self.same) else {
            return false;
        };
        let is_read = |at: &usize| {
            let Some(field) = kept.fields().get(*at) else { return false };
            rollup::as_planned(rollup::column(field.name()), field.data_type(), columns.field(*at)).is_some()
        };
        answer.columns.iter().all(is_read)
    }
}

/// Dimensions, as SQL.
#[derive(Default)]
struct Needs(BTreeSet<String>);

impl Needs {
    fn group(&mut self, expr: &Expr) -> Option<()> {
        if !expr.column_refs().is_empty() {
            self.0.insert(written(expr)?);
        }
        Some(())
    }

    /// A condition on a time needs it no finer than its bounds; any other one, its columns.
    fn condition(&mut self, condition: &Expr) -> Option<()> {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::GtEq | Operator::Lt, right }) = condition
            && let Expr::Literal(bound @ ScalarValue::TimestampMicrosecond(Some(_), None), _) = right.as_ref()
        {
            let of = written(left)?;
            let at = |unit: &str| format!("date_trunc('{unit}', {of})");
            let known = UNITS.iter().chain(&["week", "month", "quarter", "year"]).filter(|unit| begins(unit, bound));
            if !known.clone().any(|unit| self.0.contains(&at(unit))) {
                let unit = UNITS.iter().find(|unit| begins(unit, bound))?;
                self.0.insert(at(unit));
            }
            return Some(());
        }
        let mut found = vec![];
        let looked = condition.apply(|e| {
            if truncated(e).is_some() {
                found.push(e.clone());
                return Ok(TreeNodeRecursion::Jump);
            }
            if matches!(e, Expr::Column(_)) {
                found.push(e.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        looked.ok()?;
        found.iter().try_for_each(|e| self.group(e))
    }
}

/// Without the statement's values.
fn plain(expr: &Expr) -> Option<Expr> {
    let plain = expr.clone().transform_down(|e| {
        Ok(match e {
            e if worded(&e).is_some() && truncated(&e).is_some() => Transformed::new(e, false, TreeNodeRecursion::Jump),
            Expr::Literal(value, metadata) => Transformed::yes(Expr::Literal(without_value(&value), metadata)),
            other => Transformed::no(other),
        })
    });
    plain.ok().map(|plain| plain.data)
}
