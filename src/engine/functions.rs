//! Functions whose answers are the session's: of its catalog, its rights, its settings, itself. Each family has a file with
//! a table of [`Function`]s; what a session may know comes from its [`View`] alone. Nothing here changes a session but
//! set_config, and another one but what `peers` has.

mod acl;
mod definitions;
mod listed;
mod lookup;
mod peers;
mod privileges;
mod sequences;
mod session;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::catalog::pg_catalog::rows::{Cell, array};
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::OID;
use crate::pgtype::{self, Ty};
use crate::sql::lower::name_of;

pub(super) use lookup::{object_names, segments};

const FAMILIES: [&[Function]; 8] = [
    acl::FUNCTIONS,
    definitions::FUNCTIONS,
    listed::FUNCTIONS,
    lookup::FUNCTIONS,
    peers::FUNCTIONS,
    privileges::FUNCTIONS,
    sequences::FUNCTIONS,
    session::FUNCTIONS,
];

/// Every function here, bound to what one session sees. Names are without `pg_catalog.`.
pub fn scalar(view: &Arc<View>) -> Vec<Arc<ScalarUDF>> {
    let bound = FAMILIES.into_iter().flatten().map(|function| Bound {
        function,
        view: Arc::clone(view),
        signature: Signature::user_defined(function.volatility),
    });
    bound.map(|bound| Arc::new(ScalarUDF::new_from_impl(bound))).collect()
}

/// Whether a function of that name answers from the session.
pub(crate) fn is_of_session(name: &str) -> bool {
    FAMILIES.into_iter().flatten().any(|function| function.name == name)
}

/// Whether a function of the plan may wait, for another session or for nothing.
pub(super) fn waits(plan: &LogicalPlan) -> Result<bool> {
    const WAITING: [&str; 5] = [
        "pg_sleep",
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_advisory_xact_lock",
        "pg_advisory_xact_lock_shared",
    ];
    let waits = |e: &Expr| Ok(matches!(e, Expr::ScalarFunction(call) if WAITING.contains(&call.name())));
    let found = plan.exists(|node| {
        let expressions = node.expressions();
        expressions.iter().try_fold(false, |found, e| Ok(found || e.exists(waits)?))
    });
    Ok(found?)
}

/// What an argument is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Text,
    /// Any integer, oids too.
    Int,
    Bool,
    Float,
    /// An oid, or the name of the thing as text.
    Name,
    /// Not looked at.
    Any,
}

/// What a function gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Text,
    Bool,
    Int4,
    Int8,
    Time,
    Names,
    Int4s,
    /// Text of a type of its own, such as name.
    TextOf(u32),
    /// Texts, as an array type of its own.
    TextsOf(u32),
    /// An oid, or an alias type of it.
    OidOf(u32),
    /// A set of records: names and types of their fields.
    Records(&'static [(&'static str, u32)]),
}

const NAME: Returns = Returns::TextOf(19);
const OID_TYPE: Returns = Returns::OidOf(26);

/// One row's arguments to its result. The number of cells is that of one of the overloads.
type Body = fn(&View, &[Cell]) -> Result<Cell>;

/// One function; overloads differ in their arguments only.
#[derive(Debug)]
struct Function {
    name: &'static str,
    overloads: &'static [&'static [Argument]],
    returns: Returns,
    volatility: Volatility,
    /// NULL where any argument is NULL, without asking `body`.
    strict: bool,
    body: Body,
}

impl Function {
    /// Depends on nothing but its arguments.
    const fn pure(name: &'static str, overloads: &'static [&'static [Argument]], returns: Returns, body: Body) -> Self {
        Self { name, overloads, returns, volatility: Volatility::Immutable, strict: true, body }
    }

    /// Depends on the session: its answer is never cached for others.
    const fn stable(
        name: &'static str,
        overloads: &'static [&'static [Argument]],
        returns: Returns,
        body: Body,
    ) -> Self {
        Self { name, overloads, returns, volatility: Volatility::Stable, strict: true, body }
    }

    /// Does something: it is called once for each row, and when the statement runs.
    const fn volatile(
        name: &'static str,
        overloads: &'static [&'static [Argument]],
        returns: Returns,
        body: Body,
    ) -> Self {
        Self { name, overloads, returns, volatility: Volatility::Volatile, strict: true, body }
    }

    const fn called_on_null(self) -> Self {
        Self { strict: false, ..self }
    }
}

/// A function with the view it answers from.
struct Bound {
    function: &'static Function,
    view: Arc<View>,
    signature: Signature,
}

impl ScalarUDFImpl for Bound {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(name_of(self.name(), args))
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.function.returns.field(self.name()).data_type().clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.function.returns.field(self.name())))
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let fits = |overload: &&&[Argument]| {
            overload.len() == given.len() && overload.iter().zip(given).all(|(argument, given)| argument.takes(given))
        };
        match self.function.overloads.iter().find(fits) {
            Some(overload) => Ok(overload.iter().zip(given).map(|(argument, given)| argument.read_as(given)).collect()),
            None => Err(no_such_function(self.name(), given).into()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let data_type = call.return_field.data_type();
        let constant = self.function.volatility != Volatility::Volatile
            && call.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { call.number_rows };
        let columns = call.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let cells = columns.iter().map(|column| cell(column, row)).collect::<Result<Vec<_>>>()?;
            let is_null = self.function.strict && cells.contains(&Cell::Null);
            results.push(if is_null { Cell::Null } else { (self.function.body)(&self.view, &cells)? });
        }
        let results = array(data_type, results)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?)),
            false => Ok(ColumnarValue::Array(results)),
        }
    }
}

/// Two bindings are one function where they see the same view.
impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && Arc::ptr_eq(&self.view, &other.view)
    }
}

impl Eq for Bound {}

impl Hash for Bound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
        Arc::as_ptr(&self.view).hash(state);
    }
}

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name)
    }
}

impl Returns {
    fn field(self, name: &str) -> Field {
        let list = || DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let (data_type, oid) = match self {
            Self::Text => (DataType::Utf8, None),
            Self::Bool => (DataType::Boolean, None),
            Self::Int4 => (DataType::Int32, None),
            Self::Int8 => (DataType::Int64, None),
            Self::Time => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None),
            Self::Names => (list(), Some(1003)),
            Self::Int4s => (DataType::List(Arc::new(Field::new("item", DataType::Int32, true))), None),
            Self::TextOf(oid) => (DataType::Utf8, Some(oid)),
            Self::TextsOf(oid) => (list(), Some(oid)),
            Self::OidOf(oid) => (DataType::UInt32, Some(oid)),
            Self::Records(fields) => {
                let of = |(name, oid): &(&str, u32)| {
                    pgtype::field(name, Ty::of(*oid), pgtype::arrow(*oid).unwrap_or(DataType::Utf8))
                };
                let record = DataType::Struct(fields.iter().map(of).collect());
                (DataType::List(Arc::new(Field::new("item", record, true))), None)
            }
        };
        let metadata = oid.map(|oid| (OID.to_string(), oid.to_string()));
        Field::new(name, data_type, true).with_metadata(metadata.into_iter().collect())
    }
}

impl Argument {
    fn takes(self, given: &DataType) -> bool {
        match self {
            Self::Any => true,
            _ if *given == DataType::Null => true,
            Self::Int => given.is_integer(),
            Self::Bool => *given == DataType::Boolean,
            Self::Float => given.is_numeric(),
            Self::Text => given.is_string(),
            Self::Name => given.is_string() || given.is_integer(),
        }
    }

    fn read_as(self, given: &DataType) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Bool => DataType::Boolean,
            Self::Float => DataType::Float64,
            Self::Name if given.is_integer() => DataType::Int64,
            Self::Name => DataType::Utf8,
            Self::Any => given.clone(),
        }
    }
}

/// One value of an argument, after coercion. What is not looked at is TRUE, or NULL where it is NULL.
fn cell(column: &ArrayRef, row: usize) -> Result<Cell> {
    if column.is_null(row) {
        return Ok(Cell::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::List(item) if *item.data_type() == DataType::Utf8 => {
            let items = column.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|i| cell(&items, i)).collect::<Result<_>>()?)
        }
        _ => true.into(),
    })
}

/// 42883 in PostgreSQL's words.
fn no_such_function(name: &str, given: &[DataType]) -> Error {
    let kinds = given.iter().map(|t| match t {
        DataType::Null => "unknown".to_string(),
        _ => crate::formats::postgres::pg_type(&Field::new("", t.clone(), true))
            .map_or_else(|_| "unknown".into(), |t| crate::catalog::pg_catalog::types::format_type(t.oid, None)),
    });
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    Error::new(Kind::UndefinedFunction, format!("function {name}({kinds}) does not exist"))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

#[cfg(test)]
mod tests;
