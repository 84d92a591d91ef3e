//! Types of `$1 …`: what the client declared, else what the place demands, else text, as PostgreSQL resolves an unknown
//! (parse_param.c, parse_coerce.c). How a value is spelt in a message is `formats`' business.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ParamValues, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, OID};
use crate::pgtype;
use crate::sql::numeric::Numeric;

/// The type of each parameter of `plan`, which was planned with `declared` and is not analysed yet. Their metadata is what
/// the client is told.
pub(crate) fn types(plan: &LogicalPlan, declared: &[Option<FieldRef>]) -> Result<Vec<FieldRef>> {
    let mut places = Places::default();
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        match node {
            LogicalPlan::Filter(filter) => places.truth(&filter.predicate),
            LogicalPlan::Join(join) => join.filter.iter().for_each(|filter| places.truth(filter)),
            _ => {}
        }
        let in_limit = matches!(node, LogicalPlan::Limit(_));
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                places.visit(e, &schema);
                if in_limit {
                    places.demand(e, || Some(field(DataType::Int64)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let highest = places.0.keys().next_back().copied().unwrap_or(0).max(declared.len());
    let field = |n: usize| {
        let by_client = declared.get(n - 1).cloned().flatten();
        by_client.unwrap_or_else(|| {
            // the metadata of a compared column stays: an oid is not the number it looks like
            let known = places.0.get(&n).cloned().flatten().map(Arc::unwrap_or_clone);
            let field = known.unwrap_or_else(|| Field::new("", DataType::Utf8, true));
            Arc::new(field.with_name(format!("${n}")).with_nullable(true))
        })
    };
    Ok((1..=highest).map(field).collect())
}

/// As the planner is told. It wants the same metadata of all that stands in one place, so what the Arrow type says by
/// itself is not said twice, and a varchar is a text.
pub(crate) fn for_planning(parameter: &FieldRef) -> FieldRef {
    let plain = Field::new(parameter.name(), parameter.data_type().clone(), true);
    let said = parameter.metadata().get(OID).and_then(|oid| oid.parse::<u32>().ok());
    let natural = postgres::pg_type(&plain).ok().filter(|shown| shown.typmod == -1).map(|shown| shown.oid);
    match said {
        Some(oid) if Some(oid) == natural || matches!(oid, postgres::VARCHAR | postgres::BPCHAR) => Arc::new(plain),
        _ => Arc::clone(parameter),
    }
}

/// Parameters become typed literals before the guard, so that they can prune and be pushed like any literal.
pub(crate) fn bind(plan: LogicalPlan, parameters: &[FieldRef], values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    if parameters.len() != values.len() {
        let text = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            values.len(),
            parameters.len()
        );
        return Err(Error::new(Kind::Protocol, text));
    }
    if parameters.is_empty() {
        return Ok(plan);
    }
    let cast = parameters.iter().zip(values).map(|(field, value)| {
        let value = match field.data_type() {
            own if value.data_type() == *own => value,
            // a numeric of any scale
            DataType::Binary if pgtype::of_field(field)?.oid == pgtype::oid::NUMERIC => ordered_numeric(&value)?,
            other => value.cast_to(other)?,
        };
        let metadata = FieldMetadata::from(field.metadata());
        Ok(ScalarAndMetadata::new(value, (!metadata.is_empty()).then_some(metadata)))
    });
    let values = cast.collect::<Result<Vec<_>>>()?;
    Ok(plan.with_param_values(ParamValues::List(values))?)
}

/// A decimal as the language's numeric.
fn ordered_numeric(value: &ScalarValue) -> Result<ScalarValue> {
    let number = match value {
        ScalarValue::Decimal128(Some(digits), _, scale) => Some(Numeric::of_i128(*digits, *scale)),
        ScalarValue::Decimal256(Some(digits), _, scale) => Some(Numeric::of_i256(*digits, *scale)),
        null if null.is_null() => None,
        other => return Err(Error::internal(format!("{} is no numeric", other.data_type()))),
    };
    Ok(ScalarValue::Binary(number.map(|number| number.encode())))
}

fn field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("", data_type, true))
}

/// What is known of each parameter by its number; the first demand counts, as PostgreSQL's parser meets it first.
#[derive(Default)]
struct Places(BTreeMap<usize, Option<FieldRef>>);

impl Places {
    /// If `expr` is a parameter, its type is this, unless it is known already.
    fn demand(&mut self, expr: &Expr, wanted: impl FnOnce() -> Option<FieldRef>) {
        let Expr::Placeholder(p) = expr else { return };
        if let Some(n) = p.id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
            let known = self.0.entry(n).or_default();
            *known = known.take().or_else(wanted);
        }
    }

    fn truth(&mut self, expr: &Expr) {
        self.demand(expr, || Some(field(DataType::Boolean)));
    }

    /// From the outside in: what a place demands is known before the planner's own guess, which stands at the parameter.
    fn visit(&mut self, expr: &Expr, schema: &DFSchema) {
        let type_of = |e: &Expr| e.to_field(schema).ok().map(|(_, field)| field);
        match expr {
            Expr::Cast(Cast { expr, field }) => self.demand(expr, || Some(bare_numeric(field))),
            Expr::Not(e) => self.truth(e),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.truth(left);
                self.truth(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
                for (one, other) in [(left, right), (right, left)] {
                    if !matches!(other.as_ref(), Expr::Placeholder(_)) {
                        self.demand(one, || type_of(other));
                    }
                    // `x > ALL($1)` compares with the least or the greatest element
                    if let Some(array) = argument(one, &["array_min", "array_max"]) {
                        self.demand(array, || type_of(other).map(list_of));
                    }
                }
            }
            Expr::ScalarFunction(ScalarFunction { func, args }) => match (func.name(), args.as_slice()) {
                ("array_has", [array, element]) => self.demand(array, || type_of(element).map(list_of)),
                ("coalesce" | "nullif" | "greatest" | "least", args) => self.alike(args.iter(), type_of),
                _ => {}
            },
            Expr::Case(Case { expr: None, when_then_expr, else_expr }) => {
                when_then_expr.iter().for_each(|(when, _)| self.truth(when));
                let results = when_then_expr.iter().map(|(_, then)| then).chain(else_expr);
                self.alike(results.map(AsRef::as_ref), type_of);
            }
            Expr::Placeholder(p) => self.demand(expr, || p.field.clone()),
            _ => {}
        }
    }

    /// Expressions that have one type together.
    fn alike<'a>(
        &mut self,
        together: impl Iterator<Item = &'a Expr> + Clone,
        type_of: impl Fn(&Expr) -> Option<FieldRef>,
    ) {
        let typed = |e: &&Expr| !matches!(e, Expr::Placeholder(_) | Expr::Literal(ScalarValue::Null, _));
        let first = together.clone().filter(typed).find_map(&type_of);
        together.for_each(|e| self.demand(e, || first.clone()));
    }
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The only argument of a call of one of these.
fn argument<'a>(expr: &'a Expr, names: &[&str]) -> Option<&'a Expr> {
    match expr {
        Expr::ScalarFunction(f) if names.contains(&f.func.name()) => f.args.first(),
        _ => None,
    }
}

fn list_of(element: FieldRef) -> FieldRef {
    let item = Field::new_list_field(element.data_type().clone(), true).with_metadata(element.metadata().clone());
    field(DataType::List(Arc::new(item)))
}

/// `$1::numeric` has the digits of its value, which only the oid tells from a numeric(38,10).
fn bare_numeric(target: &FieldRef) -> FieldRef {
    if postgres::parameter_type(postgres::NUMERIC).ok().as_ref() != Some(target.data_type()) {
        return Arc::clone(target);
    }
    let metadata = [(OID.to_string(), postgres::NUMERIC.to_string())].into();
    Arc::new(target.as_ref().clone().with_metadata(metadata))
}

#[cfg(test)]
mod tests;
