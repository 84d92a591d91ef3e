//! How much a function may make of what it is given: an upper bound from its arguments, before it is called.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// By the function's name; what is not here makes values of a fixed size.
pub(super) fn growth(name: &str) -> Option<Growth> {
    use Growth::*;
    Some(match name {
        "repeat" => Repeat,
        "lpad" | "rpad" => Pad,
        "replace" => Replace,
        "regexp_replace" => RegexpReplace,
        "format" => Format,
        "array_to_string" => Join,
        // each part is a value of its own before they are one array
        "string_to_array" | "parse_ident" => Times { each: 64, row: 64 },
        "concat" | "concat_ws" | "textcat" | "array_append" | "array_cat" | "array_concat" | "array_prepend"
        | "array_remove" | "array_slice" | "btrim" | "get_field" | "left" | "ltrim" | "make_array" | "named_struct"
        | "array_element" | "overlay" | "regexp_match" | "reverse" | "right" | "row" | "rtrim" | "split_part"
        | "struct" | "substr" | "substring" | "trim" | "decode" => Times { each: 1, row: 32 },
        // a letter's other case may take three times its bytes; an escaped byte four
        "initcap" | "lower" | "upper" | "translate" | "encode" => Times { each: 4, row: 8 },
        "quote_ident" | "quote_literal" | "quote_nullable" => Times { each: 4, row: 32 },
        "array_positions" => Times { each: 16, row: 16 },
        _ => return None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// So many bytes for each that is given, and so many for each row.
    Times {
        each: usize,
        row: usize,
    },
    Repeat,
    Pad,
    Replace,
    RegexpReplace,
    Format,
    Join,
}

/// Of the results of one call: all of them, and the largest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) total: usize,
    pub(super) largest: usize,
}

impl Growth {
    pub(super) fn estimate(self, arguments: &[ColumnarValue], rows: usize) -> Estimate {
        if let Self::Times { each, row } = self {
            let given = arguments.iter().map(|a| all_bytes(a, rows)).fold(0, usize::saturating_add);
            let total = given.saturating_mul(each).saturating_add(row.saturating_mul(rows));
            // small as a whole, small in each part
            if total <= crate::engine::budget::FREE_BYTES {
                return Estimate { total, largest: total };
            }
        }
        let arguments: Vec<Argument> = arguments.iter().map(Argument::of).collect();
        (0..rows).fold(Estimate::default(), |so_far, row| {
            let bytes = self.row(&arguments, row);
            Estimate { total: so_far.total.saturating_add(bytes), largest: so_far.largest.max(bytes) }
        })
    }

    fn row(self, arguments: &[Argument], row: usize) -> usize {
        let bytes = |n: usize| arguments.get(n).map_or(0, |a| a.bytes(row));
        let number =
            |n: usize| arguments.get(n).and_then(|a| a.number(row)).map_or(0, |n| usize::try_from(n).unwrap_or(0));
        let text = |n: usize| arguments.get(n).and_then(|a| a.text(row)).unwrap_or_default();
        match self {
            Self::Times { each, row: fixed } => {
                let given = (0..arguments.len()).map(bytes).fold(0, usize::saturating_add);
                given.saturating_mul(each).saturating_add(fixed)
            }
            Self::Repeat => bytes(0).saturating_mul(number(1)),
            // a length in characters
            Self::Pad => {
                let widest = if text(0).is_ascii() && text(2).is_ascii() { 1 } else { 4 };
                number(1).saturating_mul(widest)
            }
            Self::Replace => {
                let (from, to) = (text(1), bytes(2));
                // the empty text is found around each letter
                let most = bytes(0).checked_div(from.len()).unwrap_or(bytes(0).saturating_add(1));
                // counted where it matters: what is searched for may hardly be there
                let found = match most.saturating_mul(to) {
                    small if small <= crate::engine::budget::FREE_BYTES => most,
                    _ => text(0).matches(from).count(),
                };
                bytes(0).saturating_add(found.saturating_mul(to))
            }
            Self::RegexpReplace => regexp_replace(text(0), text(1), text(2), text(3)),
            Self::Format => {
                let largest = (1..arguments.len()).map(bytes).max().unwrap_or(0);
                let inserted = text(0).matches('%').count().saturating_mul(largest.saturating_mul(2).saturating_add(4));
                bytes(0).saturating_add(inserted)
            }
            Self::Join => {
                let items = arguments.first().map_or(0, |a| a.items(row));
                // each item is a value of its own before they are one text
                let between = bytes(1).max(bytes(2)).saturating_add(32);
                bytes(0).saturating_mul(2).saturating_add(items.saturating_mul(between))
            }
        }
    }
}

/// Matches do not overlap, so what their groups put in is together no longer than the text, for each group named.
fn regexp_replace(text: &str, pattern: &str, with: &str, flags: &str) -> usize {
    let groups = with.matches('\\').count().saturating_add(with.matches('$').count());
    let matched = |times: usize| {
        let fixed = times.saturating_mul(with.len());
        text.len().saturating_add(fixed).saturating_add(groups.saturating_mul(text.len()))
    };
    let most = if flags.contains('g') { text.len().saturating_add(1) } else { 1 };
    if matched(most) <= crate::engine::budget::FREE_BYTES {
        return matched(most);
    }
    let flags: String = flags.chars().filter(|c| matches!(c, 'i' | 'm' | 's' | 'x')).collect();
    let pattern = if flags.is_empty() { pattern.to_string() } else { format!("(?{flags}){pattern}") };
    match regex::Regex::new(&pattern) {
        Ok(regex) => matched(regex.find_iter(text).take(most).count()),
        // its own error comes when it is called
        Err(_) => 0,
    }
}

fn all_bytes(argument: &ColumnarValue, rows: usize) -> usize {
    match argument {
        ColumnarValue::Array(array) => bytes_in(array, 0, array.len()),
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows),
    }
}

enum Argument {
    Scalar { bytes: usize, number: Option<i64>, text: Option<String>, items: usize },
    Array { array: ArrayRef, numbers: Option<ArrayRef> },
}

impl Argument {
    fn of(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(array) => {
                let numbers = array.data_type().is_integer().then(|| cast(array, &DataType::Int64).ok()).flatten();
                Self::Array { array: array.clone(), numbers }
            }
            ColumnarValue::Scalar(scalar) => {
                let number = match scalar.cast_to(&DataType::Int64) {
                    Ok(ScalarValue::Int64(number)) if scalar.data_type().is_integer() => number,
                    _ => None,
                };
                let text = scalar.try_as_str().flatten().map(str::to_string);
                let items = match scalar {
                    ScalarValue::List(list) => list.values().len(),
                    ScalarValue::LargeList(list) => list.values().len(),
                    _ => 0,
                };
                Self::Scalar { bytes: scalar_bytes(scalar), number, text, items }
            }
        }
    }

    fn bytes(&self, row: usize) -> usize {
        match self {
            Self::Scalar { bytes, .. } => *bytes,
            Self::Array { array, .. } => bytes_in(array, row, row + 1),
        }
    }

    fn number(&self, row: usize) -> Option<i64> {
        match self {
            Self::Scalar { number, .. } => *number,
            Self::Array { numbers, .. } => {
                numbers.as_ref().filter(|n| n.is_valid(row)).map(|n| n.as_primitive::<Int64Type>().value(row))
            }
        }
    }

    fn text(&self, row: usize) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => text.as_deref(),
            Self::Array { array, .. } if array.is_null(row) => None,
            Self::Array { array, .. } => match array.data_type() {
                DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
                DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
                DataType::Utf8View => Some(array.as_string_view().value(row)),
                _ => None,
            },
        }
    }

    fn items(&self, row: usize) -> usize {
        match self {
            Self::Scalar { items, .. } => *items,
            Self::Array { array, .. } => match array.data_type() {
                DataType::List(_) => usize::try_from(array.as_list::<i32>().value_length(row)).unwrap_or(0),
                DataType::LargeList(_) => usize::try_from(array.as_list::<i64>().value_length(row)).unwrap_or(0),
                _ => 0,
            },
        }
    }
}

fn scalar_bytes(scalar: &ScalarValue) -> usize {
    match scalar.try_as_str() {
        Some(text) => text.map_or(0, str::len),
        // with what the value itself is; large ones are lists, and then it is exact enough
        None => scalar.size(),
    }
}

/// What the values of rows `from..to` hold, not what their buffers do.
fn bytes_in(array: &ArrayRef, from: usize, to: usize) -> usize {
    let span = |offsets: (usize, usize)| offsets.1.saturating_sub(offsets.0);
    let small = |offsets: &[i32]| (offsets[from] as usize, offsets[to] as usize);
    let large = |offsets: &[i64]| (offsets[from] as usize, offsets[to] as usize);
    let rows = to - from;
    match array.data_type() {
        DataType::Utf8 => span(small(array.as_string::<i32>().value_offsets())),
        DataType::LargeUtf8 => span(large(array.as_string::<i64>().value_offsets())),
        DataType::Binary => span(small(array.as_binary::<i32>().value_offsets())),
        DataType::LargeBinary => span(large(array.as_binary::<i64>().value_offsets())),
        DataType::Utf8View => (from..to).map(|row| array.as_string_view().value(row).len()).sum(),
        DataType::BinaryView => (from..to).map(|row| array.as_binary_view().value(row).len()).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (from, to) = small(list.value_offsets());
            bytes_in(list.values(), from, to).saturating_add(4 * rows)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (from, to) = large(list.value_offsets());
            bytes_in(list.values(), from, to).saturating_add(8 * rows)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bytes_in(column, from, to)).sum(),
        other => other.primitive_width().unwrap_or(16).saturating_mul(rows),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Int64Array, StringArray};

    fn text(value: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(value.into())))
    }

    fn number(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    fn check(name: &str, arguments: &[ColumnarValue], rows: usize, expect: (usize, usize)) {
        let estimate = growth(name).expect("it grows").estimate(arguments, rows);
        assert_eq!((estimate.total, estimate.largest), expect, "{name}");
    }

    #[test]
    fn the_bound_comes_from_the_arguments() {
        check("repeat", &[text("xy"), number(300_000_000)], 1, (600_000_000, 600_000_000));
        check("repeat", &[text("xy"), number(-1)], 3, (0, 0));
        check("repeat", &[text("x"), number(i64::MAX)], 2, (usize::MAX - 1, i64::MAX as usize));
        check("repeat", &[text("x"), number(i64::MAX)], 3, (usize::MAX, i64::MAX as usize));
        check("lpad", &[text("x"), number(1_000_000), text("ab")], 1, (1_000_000, 1_000_000));
        check("rpad", &[text("x"), number(1_000_000), text("é")], 1, (4_000_000, 4_000_000));
        let (letters, long) = ("a".repeat(100_000), "b".repeat(100_000));
        check("replace", &[text(&letters), text("a"), text(&long)], 1, (10_000_100_000, 10_000_100_000));
        check("replace", &[text(&letters), text("z"), text(&long)], 1, (100_000, 100_000));
        check("replace", &[text(&letters), text(""), text(&long)], 1, (10_000_200_000, 10_000_200_000));
        check(
            "regexp_replace",
            &[text(&letters), text("a"), text(&long), text("g")],
            1,
            (10_000_100_000, 10_000_100_000),
        );
        check("regexp_replace", &[text(&letters), text("a"), text(&long)], 1, (200_000, 200_000));
        check("regexp_replace", &[text(&letters), text("(.*)"), text(r"\1\1\1"), text("g")], 1, (400_006, 400_006));
        check("format", &[text("%s%1$s%1$s"), text(&letters)], 1, (600_022, 600_022));
    }

    #[test]
    fn a_constant_beside_a_column_is_made_anew_for_each_row() {
        let numbers = ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(1), None, Some(1_000)])));
        check("repeat", &[text("xy"), numbers.clone()], 3, (2_002, 2_000));
        let column = ColumnarValue::Array(Arc::new(StringArray::from(vec!["a", "bb", "ccc"])));
        check("concat", &[text(&"x".repeat(1_000_000)), column], 3, (3_000_006 + 96, 1_000_003 + 32));
    }
}
