//! Expressions by chance, typed by a real server's own pg_proc, pg_operator and pg_cast: whatever it can compute over
//! values is asked, not what somebody thought of. It builds texts; it runs none.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use crate::oracle::random::Dice;

/// Constants of each type, and the columns of `FROM` by name; a type that is not here is asked nothing.
const LITERALS: &[(&str, &[&str])] = &[
    ("bool", &["true", "false", "NULL::bool", "ok"]),
    ("int2", &["7::int2", "(-3)::int2", "32767::int2", "0::int2"]),
    ("int4", &["1", "0", "-17", "42", "2147483647", "NULL::int4", "i"]),
    ("int8", &["5::int8", "9223372036854775807", "-12::int8", "b"]),
    (
        "numeric",
        &["1.5", "0.0", "-123.456", "99999999999.99", "1e-7::numeric", "7::numeric(10,2)", "'NaN'::numeric", "n"],
    ),
    ("float8", &["1.25::float8", "0::float8", "-3.5::float8", "1e300::float8", "'NaN'::float8", "f"]),
    ("float4", &["2.5::float4", "0.1::float4", "'-Infinity'::float4"]),
    ("text", &["'abc'::text", "''::text", "'Ünïcode ß'::text", "' pad '::text", "'a,b,c'::text", "'10'::text", "t"]),
    ("varchar", &["'xyz'::varchar(10)", "'longer text'::varchar"]),
    ("bpchar", &["'ab '::char(5)"]),
    ("date", &["date '2024-02-29'", "date '1999-12-31'", "date 'infinity'", "d"]),
    ("time", &["time '12:34:56.789'", "time '00:00'", "time '24:00'"]),
    ("timetz", &["timetz '12:34:56.789+02'", "timetz '00:00-11:30'"]),
    ("timestamp", &["timestamp '2024-03-31 01:30'", "timestamp '2000-01-01 23:59:59.999999'", "ts"]),
    ("timestamptz", &["timestamptz '2024-10-27 00:30+00'", "timestamptz '2023-07-01 12:00+02'", "tz"]),
    (
        "interval",
        &["interval '1 month'", "interval '1 day 02:03:04'", "interval '-3 hours'", "interval '1 year -2 days'"],
    ),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"]),
    ("bytea", &["'\\x0102ff'::bytea", "''::bytea"]),
    ("bit", &["B'101'", "B'0'"]),
    ("inet", &["inet '192.168.1.5/24'", "inet '::1'"]),
    ("json", &["'{\"a\":1,\"b\":[1,2,{\"c\":null}]}'::json"]),
    ("jsonb", &["'{\"a\":1,\"b\":[1,2,{\"c\":null}],\"a\":2}'::jsonb", "'[1,\"x\",true]'::jsonb", "j"]),
    ("_int4", &["ARRAY[1,2,3]", "'{}'::int4[]", "ARRAY[NULL,4]::int4[]"]),
    ("_text", &["ARRAY['a','b']", "'{x,NULL,\"q,z\"}'::text[]"]),
];

/// Two rows, so that a kernel sees an array and not a constant alone.
const FROM: &str = "(VALUES (true, 1, 2::int8, 3.14::numeric, 2.5::float8, 'hello'::text, date '2024-01-31', \
     timestamp '2024-01-31 10:20:30.5', timestamptz '2024-06-15 08:00+00', '{\"k\":[10,20],\"s\":\"v\"}'::jsonb), \
     (NULL, -5, NULL, -0.005, 'Infinity', 'wOrld_%', '2023-12-31', NULL, '1969-12-31 23:59:59+00', '{}')) \
     v(ok, i, b, n, f, t, d, ts, tz, j)";

/// Functions of the session, the catalog, the clock or chance, by the beginning of their names; and those that exist for
/// other objects' sake.
const NOT_OF_VALUES: &str = "pg_ _pg has_ to_reg current_ session_ inet_c inet_s txid lo_ query_to table_to cursor_to \
     schema_to database_to xml ts_ range_ multirange_ brin gin_ gist spg hash like_ regex amvalid binary_upgrade fmgr \
     shell void trigger event tsm_ satisfies unique_key suppress row_security getdata getpg set_config setval nextval \
     lastval currval in_range array_agg array_fill generate_ unnest gen_random version oid random clock_ statement_ \
     timeofday now transaction_ format_type col_desc obj_desc shobj int4_ int8_ numeric_ interval_ json_agg json_object_agg \
     jsonb_agg jsonb_object_agg json_populate jsonb_populate window_ ordered_ btint bttext btfloat bt text_ percentile";

const SIGNATURES: &str = "SELECT p.proname::text, array_to_string(array(SELECT typname FROM unnest(p.proargtypes) \
     WITH ORDINALITY u(o, k) JOIN pg_type y ON y.oid = u.o ORDER BY k), ',') AS arguments, t.typname::text \
     FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype WHERE prokind = 'f' AND NOT proretset AND provolatile <> 'v' \
     AND p.oid NOT IN (SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, \
     typsubscript]::oid[]) FROM pg_type) AND p.oid NOT IN (SELECT oprcode FROM pg_operator UNION SELECT oprrest FROM \
     pg_operator UNION SELECT oprjoin FROM pg_operator UNION SELECT amproc FROM pg_amproc UNION SELECT castfunc FROM pg_cast \
     UNION SELECT unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, \
     aggminvtransfn, aggmfinalfn]::oid[]) FROM pg_aggregate) ORDER BY 1, 2";

const OPERATORS: &str = "SELECT o.oprname::text, coalesce(l.typname, '')::text, r.typname::text, t.typname::text \
     FROM pg_operator o JOIN pg_type r ON r.oid = o.oprright JOIN pg_type t ON t.oid = o.oprresult \
     LEFT JOIN pg_type l ON l.oid = o.oprleft JOIN pg_proc p ON p.oid = o.oprcode WHERE p.provolatile <> 'v' ORDER BY 1, 2, 3";

const CASTS: &str = "SELECT s.typname::text, t.typname::text FROM pg_cast JOIN pg_type s ON s.oid = castsource \
     JOIN pg_type t ON t.oid = casttarget WHERE s.oid <> t.oid ORDER BY 1, 2";

/// What can make a value of one type.
#[derive(Default)]
struct Makers {
    /// Name and its operands' types; the left one empty for a prefix operator.
    operators: Vec<(String, String, String)>,
    functions: Vec<(String, Vec<String>)>,
    casts: Vec<String>,
}

pub struct Grammar {
    makers: BTreeMap<&'static str, Makers>,
}

fn known(name: &str) -> Option<&'static str> {
    let name = match name {
        "anyelement" | "anycompatible" | "anynonarray" | "anycompatiblenonarray" => "int4",
        "anyarray" | "anycompatiblearray" => "_int4",
        "any" => "text",
        other => other,
    };
    LITERALS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

impl Grammar {
    pub async fn of(server: &Client) -> Self {
        let mut makers: BTreeMap<&'static str, Makers> =
            LITERALS.iter().map(|(name, _)| (*name, Makers::default())).collect();
        for row in server.query(OPERATORS, &[]).await.unwrap() {
            let (name, left, right, result): (String, String, String, String) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let left = if left.is_empty() { Some("") } else { known(&left) };
            let (Some(left), Some(right), Some(result)) = (left, known(&right), known(&result)) else { continue };
            makers.get_mut(result).unwrap().operators.push((name, left.into(), right.into()));
        }
        let prefixes: BTreeSet<&str> = NOT_OF_VALUES.split_whitespace().collect();
        for row in server.query(SIGNATURES, &[]).await.unwrap() {
            let (name, arguments, result): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let arguments: Option<Vec<String>> =
                arguments.split(',').filter(|a| !a.is_empty()).map(|a| known(a).map(str::to_string)).collect();
            let (Some(arguments), Some(result)) = (arguments, known(&result)) else { continue };
            makers.get_mut(result).unwrap().functions.push((name, arguments));
        }
        for row in server.query(CASTS, &[]).await.unwrap() {
            let (from, to): (String, String) = (row.get(0), row.get(1));
            let (Some(from), Some(to)) = (known(&from), known(&to)) else { continue };
            makers.get_mut(to).unwrap().casts.push(from.into());
        }
        Self { makers }
    }

    pub fn statement(&self, dice: &mut Dice) -> String {
        let (of, _) = dice.pick(LITERALS);
        let depth = 1 + dice.below(3);
        format!("SELECT {} FROM {FROM}", self.expression(of, depth, dice))
    }

    fn expression(&self, of: &str, depth: usize, dice: &mut Dice) -> String {
        let (literals, makers) = (literals(of), &self.makers[of]);
        if depth == 0 {
            return (*dice.pick(literals)).to_string();
        }
        let deeper = depth - 1;
        match dice.below(20) {
            0..7 if !makers.operators.is_empty() => {
                let (name, left, right) = dice.pick(&makers.operators);
                let left = if left.is_empty() { String::new() } else { self.expression(left, deeper, dice) };
                format!("({left} {name} {})", self.expression(right, deeper, dice))
            }
            7..14 if !makers.functions.is_empty() => {
                let (name, arguments) = dice.pick(&makers.functions);
                let arguments: Vec<_> = arguments.iter().map(|a| self.expression(a, deeper, dice)).collect();
                format!("{name}({})", arguments.join(", "))
            }
            14..16 if !makers.casts.is_empty() => {
                let from = dice.pick(&makers.casts);
                format!("({})::{}", self.expression(from, deeper, dice), cast_name(of))
            }
            16 => {
                let condition = self.expression("bool", deeper, dice);
                let (then, other) = (self.expression(of, deeper, dice), self.expression(of, deeper, dice));
                format!("CASE WHEN {condition} THEN {then} ELSE {other} END")
            }
            17 => {
                let (first, second) = (self.expression(of, deeper, dice), self.expression(of, deeper, dice));
                format!("{}({first}, {second})", dice.pick(&["coalesce", "nullif", "greatest", "least"]))
            }
            18 if of == "bool" => {
                let (of, _) = dice.pick(LITERALS);
                let mut one = || self.expression(of, deeper, dice);
                let (a, b, c) = (one(), one(), one());
                match dice.below(4) {
                    0 => format!("({a} BETWEEN {b} AND {c})"),
                    1 => format!("({a} IN ({b}, {c}))"),
                    2 => format!("({a} IS NULL)"),
                    _ => format!("({a} IS DISTINCT FROM {b})"),
                }
            }
            _ => (*dice.pick(literals)).to_string(),
        }
    }
}

fn literals(of: &str) -> &'static [&'static str] {
    LITERALS.iter().find(|(name, _)| *name == of).map(|(_, literals)| *literals).expect("a type of the list")
}

fn cast_name(of: &str) -> String {
    match of {
        "bpchar" => "char(4)".into(),
        "varchar" => "varchar(6)".into(),
        "numeric" => "numeric(12,3)".into(),
        "bit" => "bit(3)".into(),
        array if array.starts_with('_') => format!("{}[]", &array[1..]),
        other => other.into(),
    }
}
