//! Which of DataFusion's own functions a statement may name. The list is what was reviewed: functions with PostgreSQL's
//! name and meaning, what planners put in for operators, and a few harmless extensions. Everything else is 42883, above
//! all what tells of files (`input_file_name`), of Arrow (`arrow_typeof`), or means something else than PostgreSQL's
//! function of the name (`to_char` with strftime patterns, `array_replace` of the first match only).

/// PostgreSQL's scalar functions. Those of this module (version, quote_ident …) are not DataFusion's and not listed.
#[rustfmt::skip]
const SCALAR: &[&str] = &[
    "abs", "acos", "acosh", "array_append", "array_cat", "array_length", "array_ndims", "array_position",
    "array_positions", "array_prepend", "array_remove", "ascii", "asin", "asinh", "atan", "atan2", "atanh",
    "bit_length", "btrim", "cardinality", "cbrt", "ceil", "char_length", "character_length", "chr", "coalesce",
    "concat", "concat_ws", "cos", "cosh", "cot", "current_date", "current_time", "current_timestamp", "date_bin",
    "date_part", "date_trunc", "decode", "degrees", "encode", "exp", "factorial", "floor", "gcd", "greatest",
    "initcap", "lcm", "least", "left", "length", "ln", "log", "log10", "lower", "lpad", "ltrim", "make_date",
    "make_time", "md5", "now", "nullif", "octet_length", "overlay", "pi", "position", "pow", "power", "radians",
    "random", "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace", "repeat", "replace",
    "reverse", "right", "round", "row", "rpad", "rtrim", "sha224", "sha256", "sha384", "sha512", "sin", "sinh",
    "split_part", "sqrt", "starts_with", "strpos", "substr", "substring", "tan", "tanh", "to_hex", "translate",
    "trim", "trunc", "upper",
];

/// What operators and literals become: `ARRAY[…]`, `a[1]`, `x = ANY (a)`, `a || b`, `(r).f`.
const OPERATORS: &[&str] =
    &["array_concat", "array_element", "array_has", "array_slice", "get_field", "make_array", "named_struct", "struct"];

/// PostgreSQL's aggregates and window functions.
#[rustfmt::skip]
const AGGREGATE: &[&str] = &[
    "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count", "covar_pop",
    "covar_samp", "grouping", "max", "min", "percentile_cont", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop",
    "stddev_samp", "string_agg", "sum", "var_pop", "var_samp",
];
#[rustfmt::skip]
const WINDOW: &[&str] = &[
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "row_number",
];

/// Not PostgreSQL's, but useful and harmless.
const EXTENSIONS: &[&str] = &["any_value", "approx_distinct", "approx_median", "approx_percentile_cont", "median"];

/// May a statement name this function of DataFusion's?
pub(crate) fn is_allowed(name: &str) -> bool {
    [SCALAR, OPERATORS, AGGREGATE, WINDOW, EXTENSIONS].iter().any(|list| list.binary_search(&name).is_ok())
}

/// All scalar ones.
#[cfg(test)]
pub(super) fn scalar_names() -> impl Iterator<Item = &'static str> {
    SCALAR.iter().chain(OPERATORS).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::execution::SessionStateBuilder;

    use super::*;

    fn every_function_of_datafusion() -> BTreeSet<String> {
        let state = SessionStateBuilder::new().with_default_features().build();
        let mut names: BTreeSet<String> = state.scalar_functions().keys().cloned().collect();
        names.extend(state.aggregate_functions().keys().cloned());
        names.extend(state.window_functions().keys().cloned());
        names.extend(state.higher_order_functions().keys().cloned());
        names
    }

    #[test]
    fn the_lists_are_sorted_and_name_what_there_is() {
        let all = every_function_of_datafusion();
        for list in [SCALAR, OPERATORS, AGGREGATE, WINDOW, EXTENSIONS] {
            assert!(list.is_sorted(), "{list:?}");
            for name in list {
                assert!(all.contains(*name), "{name} is no function of DataFusion's");
            }
        }
    }

    #[test]
    fn a_function_nobody_has_looked_at_is_noticed() {
        let all = every_function_of_datafusion();
        assert_eq!(
            all.len(),
            324,
            "DataFusion has other functions than were reviewed: read what is new, then list it or not"
        );
    }

    #[test]
    fn what_tells_of_the_machine_or_means_something_else_is_refused() {
        #[rustfmt::skip]
        let refused = [
            "input_file_name", "file_row_index", "arrow_typeof", "arrow_cast", "with_metadata", "version", "to_char",
            "to_timestamp", "array_replace", "generate_series", "union_tag", "nosuch",
        ];
        for name in refused {
            assert!(!is_allowed(name), "{name}");
        }
    }
}
