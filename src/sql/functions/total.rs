//! Functions that raise nothing, whatever the row: each kernel was read, and its test feeds it the ends of its types. What
//! stands here may run on rows that a policy hides, so a name is added by who has read the kernel to its end. Memory is
//! another matter: a budget can end any of them.
//!
//! `proleakproof` says the same of PostgreSQL's own functions. It is believed only of those that stand here too
//! (`lower::is_leakproof`), for a kernel may read otherwise what it is given: an inet lies as text.

use std::collections::HashSet;
use std::sync::LazyLock;

/// By `prosrc`, and keys of comparison by theirs.
static TOTAL: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| [COMPARISONS, CONVERSIONS, TEXTS, KEYS].into_iter().flat_map(str::split_whitespace).collect());

/// Whether no value of its arguments makes the kernel of that name fail.
pub(crate) fn is_total(source: &str) -> bool {
    TOTAL.contains(source)
}

const COMPARISONS: &str = "
    int2eq int2ne int2lt int2le int2gt int2ge btint2cmp
    int4eq int4ne int4lt int4le int4gt int4ge btint4cmp
    int8eq int8ne int8lt int8le int8gt int8ge btint8cmp
    int24eq int24ne int24lt int24le int24gt int24ge
    int28eq int28ne int28lt int28le int28gt int28ge
    int42eq int42ne int42lt int42le int42gt int42ge
    int48eq int48ne int48lt int48le int48gt int48ge
    int82eq int82ne int82lt int82le int82gt int82ge
    int84eq int84ne int84lt int84le int84gt int84ge
    oideq oidne oidlt oidle oidgt oidge btoidcmp
    float4eq float4ne float4lt float4le float4gt float4ge btfloat4cmp
    float8eq float8ne float8lt float8le float8gt float8ge btfloat8cmp
    float48eq float48ne float48lt float48le float48gt float48ge
    float84eq float84ne float84lt float84le float84gt float84ge
    texteq textne text_lt text_le text_gt text_ge bttextcmp
    nameeq namene namelt namele namegt namege btnamecmp
    nameeqtext namenetext namelttext nameletext namegttext namegetext btnametextcmp
    texteqname textnename textltname textlename textgtname textgename bttextnamecmp
    bpchareq bpcharne bpcharlt bpcharle bpchargt bpcharge bpcharcmp
    text_pattern_lt text_pattern_le text_pattern_gt text_pattern_ge bttext_pattern_cmp
    bpchar_pattern_lt bpchar_pattern_le bpchar_pattern_gt bpchar_pattern_ge btbpchar_pattern_cmp
    chareq charne charlt charle chargt charge btcharcmp
    byteaeq byteane bytealt byteale byteagt byteage byteacmp
    date_eq date_ne date_lt date_le date_gt date_ge date_cmp
    time_eq time_ne time_lt time_le time_gt time_ge time_cmp
    timetz_eq timetz_ne timetz_lt timetz_le timetz_gt timetz_ge timetz_cmp
    timestamp_eq timestamp_ne timestamp_lt timestamp_le timestamp_gt timestamp_ge timestamp_cmp
    interval_eq interval_ne interval_lt interval_le interval_gt interval_ge interval_cmp
    uuid_eq uuid_ne uuid_lt uuid_le uuid_gt uuid_ge uuid_cmp
    numeric_eq numeric_ne numeric_lt numeric_le numeric_gt numeric_ge numeric_cmp";

const CONVERSIONS: &str = "
    i2toi4 int28 int48 oidtoi8 int4_bool bool_int4
    i2tof i2tod i4tof i4tod i8tof i8tod ftod
    int2_numeric int4_numeric int8_numeric
    boolout int2out int4out int8out textout float4out float8out numeric_out";

const TEXTS: &str = "
    lower upper btrim1 ltrim1 rtrim1 text_reverse
    textlen bpcharlen textoctetlen bpcharoctetlen text_starts_with
    md5_text now";

/// The others (`key/inet`, `key/jsonb`, `key/range`) read a text, which a source may have spelt as it liked.
const KEYS: &str = "key/bpchar key/interval key/numeric key/timetz";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray, UInt32Array};

    use super::*;
    use crate::pgtype::{self, Ty, oid};
    use crate::sql::functions::{kernel, key};
    use crate::sql::image;
    use crate::sql::kernel::{Arg, Call, Env};

    /// Texts of the ends of a type and of what is odd in it.
    fn ends(ty: u32) -> Vec<Option<&'static str>> {
        let texts: &[&str] = match ty {
            oid::BOOL => &["t", "f"],
            oid::INT2 => &["-32768", "-1", "0", "32767"],
            oid::INT4 => &["-2147483648", "-1", "0", "2147483647"],
            oid::INT8 => &["-9223372036854775808", "-1", "0", "9223372036854775807"],
            oid::OID => &["0", "4294967295"],
            oid::FLOAT4 | oid::FLOAT8 => &["0", "-0", "NaN", "Infinity", "-Infinity", "1e-37", "3e38"],
            oid::NUMERIC => {
                &["0", "-1.50", "NaN", "Infinity", "-Infinity", "1e300", "1e-300", "99999999999999999999.5"]
            }
            oid::BYTEA => &["\\x", "\\x00ff"],
            oid::DATE => &["-infinity", "infinity", "4713-01-01 BC", "5874897-12-31", "1970-01-01"],
            oid::TIME => &["00:00:00", "24:00:00"],
            oid::TIMETZ => &["00:00:00+15:59:59", "24:00:00-15:59:59"],
            oid::TIMESTAMP | oid::TIMESTAMPTZ => &["-infinity", "infinity", "4713-01-01 BC", "290000-12-31 23:59:59"],
            oid::INTERVAL => &["-178000000 years", "178000000 years", "2147483647 days", "-2147483648 days 1 us"],
            oid::UUID => &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
            oid::CHAR => &["", "a", "\\377"],
            _ => &["", " ", "a  ", "\\", "%_\\", "ß\u{130}\u{1F600}", "\u{7f}"],
        };
        texts.iter().copied().map(Some).chain([None]).collect()
    }

    fn column(ty: u32, times: usize, each: usize) -> ArrayRef {
        let texts: Vec<Option<&str>> = ends(ty).into_iter().flat_map(|text| std::iter::repeat_n(text, each)).collect();
        let texts: Vec<_> = texts.iter().copied().cycle().take(texts.len() * times).collect();
        let input = pgtype::functions(ty).unwrap().input;
        let args = [
            Arg::array(Arc::new(StringArray::from(texts.clone()))),
            Arg::constant(Arc::new(UInt32Array::from(vec![ty]))),
            Arg::constant(Arc::new(Int32Array::from(vec![-1]))),
        ];
        let field = pgtype::field("", Ty::of(ty), pgtype::arrow(ty).unwrap());
        let env = Env::plain();
        let call = Call {
            args: &args,
            types: &[Ty::TEXT],
            rows: texts.len(),
            result: &field,
            result_type: Ty::of(ty),
            env: &env,
        };
        kernel(input).unwrap()(&call).unwrap_or_else(|e| panic!("{ty}: {e:?}"))
    }

    /// Every value of each argument beside every value of the other.
    fn given(types: &[u32]) -> Vec<Arg> {
        match *types {
            [one] => vec![Arg::array(column(one, 1, 1))],
            [one, two] => {
                vec![Arg::array(column(one, ends(two).len(), 1)), Arg::array(column(two, 1, ends(one).len()))]
            }
            _ => vec![],
        }
    }

    #[test]
    fn no_end_of_any_type_makes_one_of_them_fail() {
        let env = Env::plain();
        let rows_of: Vec<&'static image::Proc> = image::all_procs().filter(|proc| is_total(&proc.source)).collect();
        let mut met = HashSet::new();
        for proc in rows_of {
            let args = given(&proc.arguments);
            let types: Vec<Ty> = proc.arguments.iter().map(|ty| Ty::of(*ty)).collect();
            let rows = args.first().map_or(1, |arg| arg.array.len());
            let lying: Vec<_> = types.iter().zip(&args).map(|(t, a)| (*t, a.array.data_type().clone())).collect();
            let result = Ty::of(proc.result);
            let data_type = crate::sql::functions::lies_as(proc, &lying, result)
                .unwrap_or_else(|| pgtype::arrow(proc.result).unwrap());
            let field = pgtype::field("", result, data_type);
            let call = Call { args: &args, types: &types, rows, result: &field, result_type: result, env: &env };
            let kernel = kernel(&proc.source).unwrap_or_else(|| panic!("no kernel {}", proc.source));
            let array = kernel(&call).unwrap_or_else(|e| panic!("{}: {e:?}", proc.source));
            assert_eq!(array.len(), rows, "{}", proc.source);
            met.insert(proc.source.as_str());
        }
        for ty in [oid::BPCHAR, oid::INTERVAL, oid::NUMERIC, oid::TIMETZ] {
            let args = given(&[ty]);
            let (name, data_type) = key(ty, args[0].array.data_type()).unwrap();
            assert!(is_total(name), "{name}");
            let field = arrow::datatypes::Field::new("", data_type, true);
            let types = [Ty::of(ty)];
            let rows = args[0].array.len();
            let call =
                Call { args: &args, types: &types, rows, result: &field, result_type: Ty::of(oid::BYTEA), env: &env };
            kernel(name).unwrap()(&call).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            met.insert(name);
        }
        let unmet: Vec<_> = TOTAL.iter().filter(|name| !met.contains(**name)).collect();
        assert!(unmet.is_empty(), "no function of that name: {unmet:?}");
    }
}
