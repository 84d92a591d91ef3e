//! What coarser groups can be made of finer ones: which expressions give the same each time, which truncated times are made
//! of which others, which aggregates of their parts. It matches nothing against anything.

use arrow::datatypes::DataType;
use chrono::{DateTime, Datelike, Timelike, Weekday};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ScalarUDF, Volatility};

use super::{aggregate, compare, function, special};
use crate::error::Result;
use crate::pgtype;
use crate::sql::functions;
use crate::sql::functions::aggregate::parts;
pub(crate) use crate::sql::functions::aggregate::parts::Merge;
use crate::sql::image;

/// Settings that are the same where something was stored and where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameSettings {
    All,
    TimeZone,
    None,
}

/// Whether two computations of it over one row are one value.
pub(crate) fn is_fixed(expr: &Expr, same: SameSettings) -> bool {
    let moves = |e: &Expr| {
        let Expr::ScalarFunction(call) = e else { return Ok(false) };
        let fixed = match call.func.signature().volatility {
            Volatility::Immutable => same == SameSettings::All || !shows_by_settings(&call.func),
            Volatility::Stable => match same {
                SameSettings::All => function::follows_settings(&call.func),
                SameSettings::TimeZone => follows_zone_alone(&call.func),
                SameSettings::None => false,
            },
            Volatility::Volatile => false,
        };
        Ok(!fixed || special::computed_inside(&call.func).is_some())
    };
    !expr.exists(moves).unwrap_or(true)
}

/// Immutable by PostgreSQL's catalog, though what it shows follows `extra_float_digits` or `bytea_output`.
fn shows_by_settings(udf: &ScalarUDF) -> bool {
    matches!(source_of(udf), Some("float4out" | "float8out" | "byteaout"))
}

fn source_of(udf: &ScalarUDF) -> Option<&'static str> {
    function::of_udf(udf).and_then(|function| image::proc(function.oid())).map(|proc| proc.source.as_str())
}

/// Of the settings it reads the time zone and no other: instants and their days.
fn follows_zone_alone(udf: &ScalarUDF) -> bool {
    matches!(
        source_of(udf),
        Some(
            "timestamptz_trunc"
                | "extract_timestamptz"
                | "timestamptz_part"
                | "timestamptz_date"
                | "timestamptz_timestamp"
                | "date_timestamptz"
                | "timestamp_timestamptz"
        )
    )
}

/// Whether it may be another value though it reads the same row of the same statement.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    let volatile = |e: &Expr| {
        Ok(match e {
            Expr::ScalarFunction(call) => {
                call.func.signature().volatility == Volatility::Volatile
                    || special::computed_inside(&call.func).is_some()
            }
            _ => false,
        })
    };
    expr.exists(volatile).unwrap_or(true)
}

/// The units of date_trunc whose beginnings are beginnings of the ones before, too.
const UNITS: [&str; 9] =
    ["microseconds", "milliseconds", "second", "minute", "hour", "day", "month", "quarter", "year"];
const DAY: usize = 5;

/// A coarser unit of date_trunc begins only where a finer one does. A week begins on no month's first day; a decade begins
/// with a year 0, a century and a millennium with a year 1.
pub(crate) fn begins_with(coarser: &str, finer: &str) -> bool {
    let place = |unit: &str| UNITS.iter().position(|known| *known == unit);
    let of_finer = place(finer);
    match coarser {
        "week" => finer == "week" || of_finer.is_some_and(|finer| finer <= DAY),
        "decade" => finer == "decade" || of_finer.is_some(),
        "century" => finer == "century" || of_finer.is_some(),
        "millennium" => matches!(finer, "century" | "millennium") || of_finer.is_some(),
        coarser => of_finer.zip(place(coarser)).is_some_and(|(finer, coarser)| finer <= coarser),
    }
}

/// `date_trunc('unit', of)`.
#[derive(Debug)]
pub(crate) struct Truncated<'a> {
    /// In lower case.
    unit: String,
    pub(crate) of: &'a Expr,
    call: &'a datafusion::logical_expr::expr::ScalarFunction,
}

pub(crate) fn truncated(expr: &Expr) -> Option<Truncated<'_>> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let source = &image::proc(function::of_udf(&call.func)?.oid())?.source;
    let [Expr::Literal(unit, _), of] = call.args.as_slice() else { return None };
    let is_trunc = matches!(source.as_str(), "timestamp_trunc" | "timestamptz_trunc");
    let unit = unit.try_as_str().flatten().filter(|_| is_trunc)?.to_lowercase();
    Some(Truncated { unit, of, call })
}

/// Whether `unit` begins at an instant. In UTC.
pub(crate) fn begins(unit: &str, value: &ScalarValue) -> bool {
    let ScalarValue::TimestampMicrosecond(Some(micros), _) = value else { return false };
    let Some(time) = DateTime::from_timestamp_micros(*micros) else { return false };
    let starts_second = micros.rem_euclid(1_000_000) == 0;
    let starts_day = starts_second && time.num_seconds_from_midnight() == 0;
    let starts_month = starts_day && time.day() == 1;
    match unit {
        "microseconds" => true,
        "milliseconds" => micros.rem_euclid(1_000) == 0,
        "second" => starts_second,
        "minute" => starts_second && time.second() == 0,
        "hour" => starts_second && time.num_seconds_from_midnight() % 3_600 == 0,
        "day" => starts_day,
        "week" => starts_day && time.weekday() == Weekday::Mon,
        "month" => starts_month,
        "quarter" => starts_month && time.month0() % 3 == 0,
        "year" => starts_month && time.month() == 1,
        _ => false,
    }
}

/// An instant at which the same units begin, and one for all that do.
pub(crate) fn begins_alike(micros: i64) -> Option<i64> {
    const DAY_MICROS: i64 = 86_400_000_000;
    /// 2001-01-01, a Monday.
    const FROM_DAY: i64 = 11_323;
    let units = |micros: i64| {
        let value = ScalarValue::TimestampMicrosecond(Some(micros), None);
        UNITS.iter().chain(&["week"]).map(|unit| begins(unit, &value)).collect::<Vec<_>>()
    };
    let begun = units(micros);
    // what begins within a day, then days; each kind of day comes within seven years
    let within = [1, 1_000, 1_000_000, 60_000_000, 3_600_000_000].map(|after| FROM_DAY * DAY_MICROS + after);
    let days = (FROM_DAY..FROM_DAY + 7 * 366).map(|day| day * DAY_MICROS);
    within.into_iter().chain(days).find(|alike| units(*alike) == begun)
}

impl Truncated<'_> {
    /// This one's unit begins only where one of `finer` does, and both read the same clock.
    pub(crate) fn is_made_of(&self, finer: &Truncated<'_>) -> bool {
        begins_with(&self.unit, &finer.unit) && self.call.func == finer.call.func
    }

    /// An instant at which a unit begins, so that what is truncated is before it, or not, when the value is.
    pub(crate) fn begins(&self, value: &ScalarValue) -> bool {
        begins(&self.unit, value)
    }

    /// The same of a value that was truncated to a finer unit.
    pub(crate) fn over(&self, value: Expr) -> Expr {
        let unit = self.call.args.first().cloned();
        self.call.func.call(unit.into_iter().chain([value]).collect())
    }
}

/// What `call` is of its parts; `None` where it cannot be made of them.
pub(crate) fn merge(call: &AggregateFunction) -> Option<Merge> {
    parts::merge(&call.func)
}

/// The types of `call`'s arguments.
pub(crate) fn takes_the_same(a: &AggregateFunction, b: &AggregateFunction) -> bool {
    parts::arguments_of(&a.func).is_some() && parts::arguments_of(&a.func) == parts::arguments_of(&b.func)
}

/// `call` over the values of its parts: its own, or sums and counts for an average. `sums`: how those lie.
pub(crate) fn of_parts(call: &AggregateFunction, values: Vec<Expr>, sums: Option<&DataType>) -> Result<Expr> {
    let function = parts::of_parts(&call.func, sums)?;
    Ok(aggregate::call(function, values, None, vec![], false))
}

/// Whether values of a type that lies so are the same where they are equal, and group as they lie.
pub(crate) fn groups_as_it_lies(field: &arrow::datatypes::Field) -> bool {
    let Ok(ty) = pgtype::of_field(field) else { return false };
    functions::key(ty.oid, field.data_type()).is_none()
        && !matches!(
            field.data_type(),
            DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::List(_) | DataType::Struct(_)
        )
}

/// The value of a stored column as `to` has it; `None` where the store keeps it in a way that is not known here.
pub(crate) fn as_planned(value: Expr, from: &DataType, to: &arrow::datatypes::Field) -> Option<Expr> {
    let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = |of: &DataType| matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let target = to.data_type();
    match (from, target) {
        _ if from == target => Some(value),
        (a, b) if text(a) && text(b) => compare::cast_expr(value, b).ok(),
        // an instant's zone is how it is shown
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) if a == b => {
            compare::cast_expr(value, target).ok()
        }
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b) | DataType::Decimal256(_, b)) if a == b => {
            compare::cast_expr(value, target).ok()
        }
        // a numeric of many scales lies the same way in all bytes
        (a, b) if bytes(a) && bytes(b) => compare::cast_expr(value, b).ok(),
        (DataType::Int32, DataType::Int16) => compare::cast_expr(value, target).ok(),
        _ => None,
    }
}

/// A column by its name alone.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// A literal that counts each row.
pub(crate) fn is_not_null(value: &Expr) -> bool {
    matches!(value, Expr::Literal(value, _) if !value.is_null())
}
