//! Expressions of a plan as SQL again, for texts that are proposed to a person: columns, functions of the language over them,
//! units of time and names of zones. No other value of a statement is ever printed. Whether the text means the same is for
//! its reader to try: types are not written, and a function is written by its name.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, Volatility};

use super::function;
use super::rollup::{Merge, is_not_null, merge};
use crate::sql::bind::quote_identifier;
use crate::sql::image;

/// Functions whose first argument says how, in a word of the language.
const WORDED: [&str; 4] = ["date_trunc", "date_part", "extract", "timezone"];
/// Casts that operators and functions have done.
const WIDENED: [&str; 4] = ["int4", "int8", "float8", "numeric"];
/// The longest name of a zone has fewer letters.
const WORD_BYTES_MAX: usize = 40;

/// `None` for what has no arm here.
pub(crate) fn written(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(quote_identifier(&column.name)),
        Expr::Alias(alias) => written(&alias.expr),
        // read again, it comes back by itself
        Expr::Cast(cast) => written(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let op = match op {
                Operator::Plus => "+",
                Operator::Minus => "-",
                Operator::Multiply => "*",
                _ => return None,
            };
            Some(format!("({} {op} {})", written(left)?, written(right)?))
        }
        Expr::ScalarFunction(call) => {
            let proc = image::proc(function::of_udf(&call.func)?.oid())?;
            if proc.volatility == Volatility::Volatile {
                return None;
            }
            if let Some((how, of)) = worded(expr) {
                let of = written(of)?;
                return Some(match proc.name {
                    "timezone" => format!("({of} AT TIME ZONE '{how}')"),
                    "extract" => format!("EXTRACT({how} FROM {of})"),
                    name => format!("{name}('{how}', {of})"),
                });
            }
            let arguments = call.args.iter().map(written).collect::<Option<Vec<_>>>()?;
            match (arguments.as_slice(), function::operator_of(&call.func)) {
                ([left, right], Some(op)) => return Some(format!("({left} {op} {right})")),
                // what an operator makes of its argument by itself
                ([of], _) if WIDENED.contains(&proc.name) => return Some(of.clone()),
                _ => {}
            }
            Some(format!("{}({})", quote_identifier(proc.name), arguments.join(", ")))
        }
        _ => None,
    }
}

/// The word and what it is about, of a call that is one of those.
pub(crate) fn worded(expr: &Expr) -> Option<(&str, &Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let proc = image::proc(function::of_udf(&call.func)?.oid())?;
    let [Expr::Literal(how, _), of] = call.args.as_slice() else { return None };
    let how = how.try_as_str().flatten().filter(|_| WORDED.contains(&proc.name))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'+' | b'-');
    (!how.is_empty() && how.len() <= WORD_BYTES_MAX && how.bytes().all(plain)).then_some((how, of))
}

/// As a measure of a reflection is said.
pub(crate) fn measure(call: &AggregateFunction) -> Option<String> {
    let [of] = call.params.args.as_slice() else { return None };
    let of = match is_not_null(of) {
        true => "*".to_owned(),
        false => written(of)?,
    };
    match merge(call)? {
        Merge::Count => Some(format!("COUNT({of})")),
        Merge::Sum => Some(format!("SUM({of})")),
        Merge::Average => Some(format!("AVG({of})")),
        Merge::Itself => match call.func.name() {
            "min" => Some(format!("MIN({of})")),
            "max" => Some(format!("MAX({of})")),
            _ => None,
        },
    }
}

/// A value that nothing of the statement can be told from but where its units of time begin, as conditions on truncated times
/// need to know it.
pub(crate) fn without_value(value: &ScalarValue) -> ScalarValue {
    let none = || ScalarValue::try_from(&value.data_type()).unwrap_or(ScalarValue::Null);
    match value {
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => match super::rollup::begins_alike(*micros) {
            Some(alike) => ScalarValue::TimestampMicrosecond(Some(alike), zone.clone()),
            None => none(),
        },
        // a call counts rows by it
        ScalarValue::Int64(Some(1)) => value.clone(),
        _ => none(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollup::begins;
    use super::*;

    #[test]
    fn of_an_instant_only_what_begins_there_is_left() {
        let at = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), None);
        let units =
            ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];
        let day = 86_400_000_000;
        let mut alike = std::collections::BTreeSet::new();
        // every day of some years, and moments within one
        let days = (19_000..22_000).map(|n| n * day);
        let within = [1, 1_000, 1_000_000, 60_000_000, 3_600_000_000, 7_777_777].map(|after| 20_000 * day + after);
        for micros in days.chain(within) {
            let ScalarValue::TimestampMicrosecond(Some(plain), None) = without_value(&at(micros)) else {
                panic!("{micros}")
            };
            for unit in units {
                assert_eq!(begins(unit, &at(plain)), begins(unit, &at(micros)), "{unit} {micros}");
            }
            alike.insert(plain);
        }
        // five kinds within a day; of days those that begin a week or not, and a month, a quarter, a year or none
        assert_eq!(alike.len(), 5 + 8);
        assert_eq!(without_value(&ScalarValue::Utf8(Some("secret".into()))), ScalarValue::Utf8(None));
        assert_eq!(without_value(&ScalarValue::Int32(Some(7))), ScalarValue::Int32(None));
    }
}
