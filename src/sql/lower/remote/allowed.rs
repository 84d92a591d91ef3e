//! Which functions and types mean the same in the source as here, value for value. It prints nothing.

use datafusion::logical_expr::Volatility;

use super::Functions;
use crate::pgtype::{Ty, oid};
use crate::sql::image::{Kind, Proc};

/// The source has this very function, its result follows its arguments alone, and neither the source's collations nor its
/// machine's mathematics take part in it.
pub(super) fn function(proc: &Proc, types: &[Ty], result: Ty, functions: &Functions) -> bool {
    proc.kind == Kind::Function
        && !proc.set
        && proc.volatility == Volatility::Immutable
        && functions.get(&proc.oid).is_some_and(|source| *source == proc.source)
        && !folds_letters(&proc.source)
        && types.iter().chain([&result]).all(|ty| is_plain(*ty))
        && (is_exact(&proc.source) || !types.iter().chain([&result]).any(|ty| is_float(*ty)))
}

/// Letters have cases and classes by a collation's language.
fn folds_letters(source: &str) -> bool {
    matches!(source, "lower" | "upper" | "initcap" | "casefold" | "unicode_normalize_func")
        || ["iclike", "icnlike", "regex", "icregex", "similar"].iter().any(|part| source.contains(part))
}

fn is_float(ty: Ty) -> bool {
    matches!(ty.oid, oid::FLOAT4 | oid::FLOAT8)
}

/// Of floats: IEEE 754 says each bit of these.
fn is_exact(source: &str) -> bool {
    const KINDS: [&str; 16] =
        ["pl", "mi", "mul", "div", "um", "up", "abs", "eq", "ne", "lt", "le", "gt", "ge", "larger", "smaller", "sqrt"];
    let of = |rest: &str| KINDS.contains(&rest);
    ["float4", "float8", "float48", "float84"].iter().any(|kind| source.strip_prefix(kind).is_some_and(of))
        || matches!(
            source,
            "dround"
                | "dceil"
                | "dfloor"
                | "dtrunc"
                | "dsign"
                | "dsqrt"
                | "ftod"
                | "dtof"
                | "i4tod"
                | "i2tod"
                | "i8tod"
                | "i2tof"
                | "i4tof"
                | "i8tof"
                | "dtoi2"
                | "dtoi4"
                | "dtoi8"
                | "ftoi2"
                | "ftoi4"
                | "ftoi8"
                | "float8_numeric"
                | "float4_numeric"
                | "numeric_float8"
                | "numeric_float4"
        )
}

/// A type of one value, known to both.
fn is_plain(ty: Ty) -> bool {
    is_compared(ty) || matches!(ty.oid, oid::JSON | oid::JSONB | oid::CHAR | oid::BIT | oid::VARBIT)
}

pub(super) fn is_text(ty: Ty) -> bool {
    matches!(ty.oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::UNKNOWN)
}

/// Types that are equal and in order there as here, texts by their bytes.
pub(super) fn is_compared(ty: Ty) -> bool {
    is_text(ty)
        || matches!(
            ty.oid,
            oid::BOOL
                | oid::BYTEA
                | oid::INT2
                | oid::INT4
                | oid::INT8
                | oid::OID
                | oid::FLOAT4
                | oid::FLOAT8
                | oid::NUMERIC
                | oid::DATE
                | oid::TIME
                | oid::TIMETZ
                | oid::TIMESTAMP
                | oid::TIMESTAMPTZ
                | oid::INTERVAL
                | oid::UUID
                | oid::NAME
                | oid::INET
                | oid::MONEY
        )
}

/// Keys of comparison whose order is their type's own in the source too.
pub(super) fn key(name: &str) -> bool {
    matches!(
        name,
        "key/numeric"
            | "key/float4"
            | "key/float8"
            | "key/bpchar"
            | "key/interval"
            | "key/timetz"
            | "key/inet"
            | "key/money"
    )
}

/// An aggregate that gives the same whatever the order of its rows.
pub(super) fn aggregate(proc: &Proc, types: &[Ty], functions: &Functions) -> bool {
    let has = functions.contains_key(&proc.oid);
    let [only] = types else { return has && proc.name == "count" && types.is_empty() };
    has && match proc.name {
        "count" => true,
        "sum" | "avg" => matches!(only.oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC | oid::INTERVAL),
        "min" | "max" => {
            matches!(
                only.oid,
                oid::INT2
                    | oid::INT4
                    | oid::INT8
                    | oid::OID
                    | oid::FLOAT4
                    | oid::FLOAT8
                    | oid::NUMERIC
                    | oid::DATE
                    | oid::TIME
                    | oid::TIMESTAMP
                    | oid::TIMESTAMPTZ
                    | oid::INTERVAL
                    | oid::TEXT
                    | oid::VARCHAR
            )
        }
        "bool_and" | "bool_or" | "every" => only.oid == oid::BOOL,
        "bit_and" | "bit_or" | "bit_xor" => matches!(only.oid, oid::INT2 | oid::INT4 | oid::INT8),
        _ => false,
    }
}
