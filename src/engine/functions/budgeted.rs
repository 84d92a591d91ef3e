//! Functions that can make more than they are given ask the statement's budget before they make it: 54000 where one value
//! would be too large, 53200 where the memory pool has not so much left. What they made stays accounted for until the last
//! array lets go of it. What a function does is its own; this is only around it.

mod growth;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use self::growth::{Growth, growth};
use crate::engine::budget::{Budget, FREE_BYTES, accounted};
use crate::error::{Error, Kind};

/// `function` with its budget asked first; itself where its values have a fixed size.
pub(crate) fn budgeted(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if function.inner().is::<Budgeted>() {
        return function;
    }
    match growth(function.name()) {
        Some(growth) => Arc::new(ScalarUDF::new_from_impl(Budgeted { inner: function, growth })),
        None => function,
    }
}

#[derive(Debug)]
struct Budgeted {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl PartialEq for Budgeted {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Budgeted {}

impl Hash for Budgeted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Budgeted {
    fn call(&self, call: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let name = self.inner.name();
        let constant = call.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let estimate = self.growth.estimate(&call.args, if constant { 1 } else { call.number_rows });
        let budget = Budget::of(&call.config_options).cloned();
        let (Some(budget), true) = (budget, estimate.total > FREE_BYTES) else {
            return self.inner.invoke_with_args(call);
        };
        budget.value(name, estimate.largest)?;
        if i32::try_from(estimate.total).is_err() {
            let text = format!("{name} would make more than {} bytes for one batch of rows", i32::MAX);
            return Err(Error::new(Kind::OutOfMemory, text).into());
        }
        let reservation = budget.reserve(name, estimate.total)?;
        match self.inner.invoke_with_args(call)? {
            ColumnarValue::Scalar(value) => {
                budget.keep_constant(value.size())?;
                Ok(ColumnarValue::Scalar(value))
            }
            ColumnarValue::Array(array) => {
                reservation.try_resize(array.get_array_memory_size())?;
                Ok(ColumnarValue::Array(accounted(array, reservation)?))
            }
        }
    }
}

/// What a function becomes while a plan is simplified asks as it did.
fn asking_still(simplified: ExprSimplifyResult) -> DataFusionResult<ExprSimplifyResult> {
    let ExprSimplifyResult::Simplified(expr) = simplified else { return Ok(simplified) };
    let expr = expr.transform_down(|e| match e {
        Expr::ScalarFunction(ScalarFunction { func, args }) if !func.inner().is::<Budgeted>() => {
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: budgeted(func), args })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(ExprSimplifyResult::Simplified(expr.data))
}

impl ScalarUDFImpl for Budgeted {
    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.call(call)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        asking_still(self.inner.simplify(args, info)?)
    }

    // the rest is the function's own

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> DataFusionResult<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> DataFusionResult<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> DataFusionResult<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> DataFusionResult<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> DataFusionResult<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }

    fn placement(&self, arguments: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.inner().placement(arguments)
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn struct_field_mapping(
        &self,
        literals: &[Option<ScalarValue>],
    ) -> Option<datafusion::logical_expr::StructFieldMapping> {
        self.inner.inner().struct_field_mapping(literals)
    }
}

#[cfg(test)]
mod tests {
    use super::super::allowed;
    use super::*;

    /// Functions that a statement may name, and whose values have a fixed size whatever they are given, or that become
    /// something else while the plan is simplified.
    #[rustfmt::skip]
    const FIXED: &[&str] = &[
        "abs", "acos", "acosh", "array_has", "array_length", "array_ndims", "array_position", "ascii", "asin", "asinh",
        "atan", "atan2", "atanh", "bit_length", "cardinality", "cbrt", "ceil", "char_length", "character_length", "chr",
        "coalesce", "cos", "cosh", "cot", "current_date", "current_time", "current_timestamp", "date_bin", "date_part",
        "date_trunc", "degrees", "exp", "factorial", "floor", "gcd", "greatest", "lcm", "least", "length", "ln", "log",
        "log10", "make_date", "make_time", "md5", "now", "nullif", "octet_length", "pi", "position", "pow", "power",
        "radians", "random", "regexp_count", "regexp_instr", "regexp_like", "round", "sha224", "sha256", "sha384",
        "sha512", "sin", "sinh", "sqrt", "starts_with", "strpos", "tan", "tanh", "to_hex", "trunc",
    ];

    #[test]
    fn each_function_grows_or_has_values_of_a_fixed_size() {
        for name in allowed::scalar_names() {
            let (grows, fixed) = (growth(name).is_some(), FIXED.contains(&name));
            assert!(grows != fixed, "{name}: decide how much it makes of what it is given");
        }
    }
}
