//! A function of PostgreSQL as DataFusion calls it: its kernel, the types it was resolved with, the way its result lies.
//! Which function it is was decided by `resolve`; nothing here coerces.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::functions;
use crate::sql::image::{self, Proc};
use crate::sql::kernel::{Arg, Call, Env, Kernel, Reserved, scalar};

/// A row of pg_proc with its kernel, or a kernel that no row has (a comparison key).
#[derive(Clone)]
pub(crate) struct KernelFunction {
    name: String,
    /// 0 for what is not in pg_proc.
    oid: u32,
    types: Vec<Ty>,
    result_type: Ty,
    result: FieldRef,
    signature: Signature,
    /// NULL where any argument is.
    strict: bool,
    /// Its kernel may refuse a value that another row could have.
    fallible: bool,
    /// It surely does not.
    total: bool,
    kernel: Kernel,
}

impl KernelFunction {
    pub(crate) fn of_proc(proc: &Proc, types: Vec<Ty>, result_type: Ty, data_type: DataType) -> Result<Self> {
        Self::of_row(proc, &proc.source, types, result_type, data_type)
    }

    /// A function of VARIADIC "any" that is given one array for these: the types alone do not tell it from a call with an
    /// array among them.
    pub(crate) fn of_variadic(proc: &Proc, types: Vec<Ty>, result_type: Ty, data_type: DataType) -> Result<Self> {
        let function = Self::of_row(proc, &format!("{}/variadic", proc.source), types, result_type, data_type)?;
        Ok(Self { name: format!("{}(variadic)", proc.name), ..function })
    }

    fn of_row(proc: &Proc, source: &str, types: Vec<Ty>, result_type: Ty, data_type: DataType) -> Result<Self> {
        let Some(kernel) = functions::kernel(source) else {
            let names: Vec<String> = types.iter().map(|ty| ty.name()).collect();
            let text = format!("function {}({}) is not supported yet", proc.name, names.join(", "));
            return Err(Error::new(Kind::Unsupported, text));
        };
        Ok(Self {
            name: proc.name.to_owned(),
            oid: proc.oid,
            types,
            result_type,
            result: Arc::new(pgtype::field(proc.name, result_type, data_type)),
            signature: Signature::user_defined(proc.volatility),
            strict: proc.strict,
            fallible: !(proc.leakproof || functions::is_total(source) || proc.source == "textlike"),
            total: functions::is_total(source),
            kernel,
        })
    }

    /// The kernel of that name, whose values are ours alone (`key/numeric`).
    pub(crate) fn of_source(source: &str, types: Vec<Ty>, result_type: Ty, data_type: DataType) -> Result<Self> {
        let kernel = functions::kernel(source);
        let kernel = kernel.ok_or_else(|| Error::new(Kind::Unsupported, format!("{source} is not supported yet")))?;
        Ok(Self::of_kernel(source, kernel, types, result_type, data_type))
    }

    /// Strict and infallible.
    pub(crate) fn of_kernel(name: &str, kernel: Kernel, types: Vec<Ty>, result_type: Ty, data_type: DataType) -> Self {
        Self {
            name: name.to_owned(),
            oid: 0,
            types,
            result_type,
            result: Arc::new(Field::new(name, data_type, true)),
            signature: Signature::user_defined(Volatility::Immutable),
            strict: true,
            fallible: false,
            total: functions::is_total(name),
            kernel,
        }
    }

    pub(crate) fn call(self, arguments: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(self).call(arguments)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn oid(&self) -> u32 {
        self.oid
    }

    /// Of its arguments, as it was resolved.
    pub(super) fn types(&self) -> &[Ty] {
        &self.types
    }

    pub(super) fn result_type(&self) -> Ty {
        self.result_type
    }
}

/// The function of this node, if it is one of PostgreSQL's.
pub(crate) fn of_udf(udf: &ScalarUDF) -> Option<&KernelFunction> {
    (udf.inner().as_ref() as &dyn Any).downcast_ref::<KernelFunction>()
}

/// The operator that this function computes, if it is one's.
pub(crate) fn operator_of(udf: &ScalarUDF) -> Option<&'static str> {
    of_udf(udf).and_then(|function| image::operator_of(function.oid)).map(|operator| operator.name)
}

/// A stable function whose answer follows the session's settings alone: neither the clock nor a catalog.
pub(crate) fn follows_settings(udf: &ScalarUDF) -> bool {
    let source = |function: &KernelFunction| image::proc(function.oid).map(|proc| proc.source.as_str());
    of_udf(udf)
        .is_some_and(|f| f.signature.volatility == Volatility::Stable && source(f).is_some_and(|s| !reads_clock(s)))
}

/// `now()` and its kin; and texts that may say `now` or `today`.
fn reads_clock(source: &str) -> bool {
    matches!(
        source,
        "now"
            | "statement_timestamp"
            | "clock_timestamp"
            | "timeofday"
            | "age/1386"
            | "age/2059"
            | "date_in"
            | "time_in"
            | "timetz_in"
            | "timestamp_in"
            | "timestamptz_in"
            | "array_in"
            | "record_in"
    )
}

/// Whether a value of some row, or of a subquery that some row asks, can make this expression fail. Constants fail alike for
/// every row, or not at all.
pub(crate) fn can_raise(expr: &Expr) -> bool {
    let of_row = |e: &Expr| Ok(matches!(e, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_)));
    let raises = |e: &Expr| {
        let Expr::ScalarFunction(call) = e else { return Ok(false) };
        let fallible = match of_udf(&call.func) {
            Some(function) => function.fallible,
            None => super::special::can_raise(&call.func),
        };
        Ok(fallible && e.exists(of_row)?)
    };
    expr.exists(raises).unwrap_or(true)
}

/// Whether no value of any row makes this function fail: its kernel was read for that.
pub(crate) fn is_total(udf: &ScalarUDF) -> bool {
    match of_udf(udf) {
        Some(function) => function.total,
        None => super::special::is_total(udf),
    }
}

/// Whether it may see rows that are hidden from who asks for it: PostgreSQL says so, and the kernel was read as well.
/// A key of comparison is as good as the comparison.
pub(crate) fn is_leakproof(udf: &ScalarUDF) -> bool {
    of_udf(udf).is_some_and(|f| f.total && image::proc(f.oid).is_none_or(|proc| proc.leakproof))
}

/// A key of comparison, which is no function of PostgreSQL's.
pub(crate) fn is_key(udf: &ScalarUDF) -> bool {
    of_udf(udf).is_some_and(|f| f.name.starts_with("key/"))
}

/// All that tells it from another, the same each time: the metadata of a field has no order.
impl std::fmt::Debug for KernelFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lies = shape(self.result.data_type());
        write!(f, "{}/{} {:?} {:?} {lies}", self.name, self.oid, self.types, self.result_type)
    }
}

/// A type without the metadata of its fields.
pub(super) fn shape(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("[{}]", shape(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| format!("{:?} {}", f.name(), shape(f.data_type())));
            format!("({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

impl PartialEq for KernelFunction {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
            && self.name == other.name
            && self.types == other.types
            && self.result_type == other.result_type
            && self.result.data_type() == other.result.data_type()
    }
}

impl Eq for KernelFunction {}

impl Hash for KernelFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.oid.hash(state);
        self.name.hash(state);
        self.types.hash(state);
        self.result_type.hash(state);
    }
}

impl ScalarUDFImpl for KernelFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(name_of(self.name(), args))
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::clone(&self.result))
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn is_strict(&self) -> bool {
        self.strict
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let env = environment(&args.config_options);
        let constants = args.args.iter().filter_map(|arg| match arg {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(_) => None,
        });
        let _lent = lent(constants, env)?;
        let value = self.run(args.args, args.number_rows, env)?;
        if let ColumnarValue::Scalar(value) = &value {
            env.budget.literal(value.size())?;
        }
        Ok(value)
    }

    /// Of constants, a value that may not be a literal.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let constants: Option<Vec<_>> = args.iter().map(super::special::constant).collect();
        let Some(constants) = constants.filter(|_| self.signature.volatility != Volatility::Volatile) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let env = environment(info.config_options());
        let Ok(_lent) = lent(constants.iter().copied(), env) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let constants = constants.into_iter().cloned().map(ColumnarValue::Scalar).collect();
        match self.run(constants, 1, env) {
            Ok(ColumnarValue::Scalar(value)) if env.budget.literal(value.size()).is_err() => {
                env.budget.keep(value.size())?;
                let field = self.result.as_ref().clone();
                Ok(ExprSimplifyResult::Simplified(super::special::held(Expr::Literal(value, None), field)))
            }
            // what fails must fail where it is reached
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }
}

impl KernelFunction {
    fn run(&self, args: Vec<ColumnarValue>, rows: usize, env: &Env) -> DataFusionResult<ColumnarValue> {
        let data_type = self.result.data_type();
        // constants of a branch that no row reaches must not be computed
        if rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(data_type)));
        }
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let null = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(value) if value.is_null());
        if self.strict && args.iter().any(null) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(data_type)?));
        }
        // a volatile function gives each row a value of its own
        let once = constant && self.signature.volatility != Volatility::Volatile;
        let kernel_args = arguments(args)?;
        let call = Call {
            args: &kernel_args,
            types: &self.types,
            rows: if once { 1 } else { rows },
            result: &self.result,
            result_type: self.result_type,
            env,
        };
        checked(&self.name, (self.kernel)(&call)?, data_type, call.rows, once)
    }
}

/// What DataFusion calls an expression that nobody named. It asks anew at each level of an expression, so the name of one
/// inside another is left out: with it, planning a deep expression takes the cube of its depth. Whoever needs two columns
/// apart names them.
pub(crate) fn name_of(function: &str, args: &[Expr]) -> String {
    let shown = args.iter().map(|arg| match arg {
        Expr::Column(column) => column.flat_name(),
        _ => "…".to_string(),
    });
    format!("{function}({})", shown.collect::<Vec<_>>().join(","))
}

/// Room for constants that a kernel is given: each lies there as a value and as an array.
fn lent<'a>(constants: impl Iterator<Item = &'a ScalarValue>, env: &Env) -> Result<Option<Box<dyn Reserved>>> {
    env.budget.lend(constants.map(ScalarValue::size).sum::<usize>().saturating_mul(2))
}

/// What a kernel reads.
pub(super) fn arguments(args: Vec<ColumnarValue>) -> DataFusionResult<Vec<Arg>> {
    let each = args.into_iter().map(|arg| match arg {
        ColumnarValue::Array(array) => Ok(Arg::array(array)),
        ColumnarValue::Scalar(value) => Ok(Arg::constant(value.to_array()?)),
    });
    each.collect()
}

/// A kernel that gives another type or number of rows than it said would be read wrongly by all that follows.
pub(super) fn checked(
    name: &str,
    array: ArrayRef,
    data_type: &DataType,
    rows: usize,
    once: bool,
) -> DataFusionResult<ColumnarValue> {
    if array.data_type() != data_type || array.len() != rows {
        let text = format!("{name} gave {} × {}, not {rows} × {data_type}", array.len(), array.data_type());
        return Err(Error::internal(text).into());
    }
    Ok(match once {
        true => ColumnarValue::Scalar(scalar(&array, 0)?),
        false => ColumnarValue::Array(array),
    })
}

/// Whether it can fail though it reads no row: what a stable function takes part in was not computed with the constants, so
/// it fails only where it is reached.
pub(super) fn fails_when_run(expr: &Expr) -> bool {
    let is = |of: fn(&ScalarUDF) -> bool| {
        expr.exists(|e| Ok(matches!(e, Expr::ScalarFunction(call) if of(&call.func)))).unwrap_or(true)
    };
    is(|udf| of_udf(udf).is_some_and(|f| f.signature.volatility == Volatility::Stable))
        && is(|udf| of_udf(udf).is_some_and(|f| f.fallible))
}

static PLAIN: LazyLock<Env> = LazyLock::new(Env::plain);

/// The session's, as its options carry it.
pub(super) fn environment(options: &ConfigOptions) -> &Env {
    options.extensions.get::<Env>().unwrap_or(&PLAIN)
}

impl ConfigExtension for Env {
    const PREFIX: &'static str = "language";
}

impl ExtensionOptions for Env {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    /// Nothing of it is a setting of DataFusion's.
    fn set(&mut self, key: &str, _: &str) -> DataFusionResult<()> {
        Err(Error::internal(format!("{key} cannot be set")).into())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![]
    }
}
