//! Values of `$1 …` in their places, before the guard. Their types are `sql`'s.

use std::sync::Arc;

use arrow::array::{Array, ListArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;

use crate::error::{Error, Kind, Result};
use crate::pgtype;
use crate::sql::numeric::Numeric;

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
            DataType::List(item) => list(value, item)?,
            other => value.cast_to(other)?,
        };
        let metadata = FieldMetadata::from(field.metadata());
        Ok(ScalarAndMetadata::new(value, (!metadata.is_empty()).then_some(metadata)))
    });
    let values = cast.collect::<Result<Vec<_>>>()?;
    Ok(plan.with_param_values(ParamValues::List(values))?)
}

/// The same elements under the field that the plan knows them by. The plan's type has one dimension.
fn list(value: ScalarValue, item: &FieldRef) -> Result<ScalarValue> {
    let to = DataType::List(Arc::clone(item));
    let ScalarValue::List(array) = &value else { return Ok(value.cast_to(&to)?) };
    let elements = array.values();
    if matches!(elements.data_type(), DataType::List(_)) && !matches!(item.data_type(), DataType::List(_)) {
        return Err(Error::unsupported("an array parameter of several dimensions"));
    }
    if elements.data_type() != item.data_type() {
        return Ok(value.cast_to(&to)?);
    }
    let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::clone(elements), nulls)?)))
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
