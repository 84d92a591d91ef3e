//! The rows of a real server's pg_proc, pg_operator, pg_cast and pg_aggregate (`image/*.tsv`, of PostgreSQL 15.18), and
//! those of the extension pg_trgm (`image/pg_trgm/`), read once a process. It chooses nothing; `resolve` does.
//!
//! What an extension brings has oids of its user on each server. Here they are fixed, from the first of a user's oids on:
//! [`EXTENSION_OIDS`](crate::types::EXTENSION_OIDS), which nothing else is given.

use std::collections::HashMap;
use std::sync::LazyLock;

use datafusion::logical_expr::Volatility;

/// A schema that has functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Schema {
    /// Its functions are called by bare names.
    Catalog,
    Information,
    /// Where extensions stand: called by bare names where the search path names it.
    Public,
}

impl Schema {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pg_catalog" => Self::Catalog,
            "information_schema" => Self::Information,
            "public" => Self::Public,
            _ => return None,
        })
    }

    /// Where a name is looked for: in the schema that it has, or on the search path.
    pub(crate) fn searched(schema: Option<&str>, public_on_path: bool) -> impl Iterator<Item = Self> + use<> {
        let all = match schema {
            None => [Some(Self::Catalog), public_on_path.then_some(Self::Public)],
            Some(schema) => [Self::named(schema), None],
        };
        all.into_iter().flatten()
    }

    /// By its row in pg_namespace.
    fn of_oid(oid: &str) -> Option<Self> {
        Some(match oid {
            "11" => Self::Catalog,
            "13207" => Self::Information,
            "2200" => Self::Public,
            _ => return None,
        })
    }
}

/// A row of pg_proc.
#[derive(Debug)]
pub(crate) struct Proc {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) kind: Kind,
    /// Element type of a VARIADIC last argument (`any` for VARIADIC "any"); 0 where there is none.
    pub(crate) variadic: u32,
    pub(crate) leakproof: bool,
    /// NULL where any argument is NULL.
    pub(crate) strict: bool,
    /// Returns a set.
    pub(crate) set: bool,
    pub(crate) volatility: Volatility,
    /// Defaults of the last arguments, as SQL.
    pub(crate) defaults: Vec<&'static str>,
    pub(crate) result: u32,
    /// Input arguments.
    pub(crate) arguments: Vec<u32>,
    /// OUT and TABLE columns, by name and type; empty where the result is one value.
    pub(crate) outputs: Vec<(&'static str, u32)>,
    /// Names of the input arguments; empty where there are none.
    pub(crate) names: Vec<&'static str>,
    /// `prosrc`: the name under which `functions` keeps the kernel. A function written in SQL has `name/oid`.
    pub(crate) source: String,
}

/// Rows are kept once, so the oid is the row.
impl PartialEq for Proc {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid && self.source == other.source
    }
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Function,
    Aggregate,
    Window,
    Procedure,
}

/// A row of pg_operator. `left` is 0 for a prefix operator.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) result: u32,
    /// Its negation; 0 where there is none.
    pub(crate) negator: u32,
    pub(crate) proc: &'static Proc,
}

/// A row of pg_cast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    pub(crate) method: CastMethod,
    pub(crate) context: CastContext,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum CastMethod {
    Function(&'static Proc),
    /// The same bytes.
    Binary,
    /// By the text of the value.
    Text,
}

/// Where a cast is used by itself; ordered from the narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// A row of pg_aggregate, for the function of this oid.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) kind: AggregateKind,
    pub(crate) transition: &'static str,
    pub(crate) last: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    Normal,
    Ordered,
    Hypothetical,
}

/// What PostgreSQL holds, then what an extension brings, as COPY writes it. Columns of functions hold oids, and in the place
/// of a stored expression stands its text.
const PROC_ROWS: &[&str] = &[include_str!("image/pg_proc.tsv"), include_str!("image/pg_trgm/pg_proc.tsv")];
const OPERATOR_ROWS: &[&str] = &[include_str!("image/pg_operator.tsv"), include_str!("image/pg_trgm/pg_operator.tsv")];
const CAST_ROWS: &[&str] = &[include_str!("image/pg_cast.tsv")];
const AGGREGATE_ROWS: &[&str] = &[include_str!("image/pg_aggregate.tsv")];

const COLLATION_ROWS: &[&str] = &[include_str!("image/pg_collation.tsv")];
const TS_CONFIG_ROWS: &[&str] = &[include_str!("image/pg_ts_config.tsv")];
const TS_DICT_ROWS: &[&str] = &[include_str!("image/pg_ts_dict.tsv")];

fn lines(texts: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    texts.iter().flat_map(|text| text.lines())
}

/// The rows of a relation of pg_catalog that the language is made of, each a line in COPY's form; `None` for any other.
pub(crate) fn rows(relation: &str) -> Option<impl Iterator<Item = &'static str> + use<>> {
    Some(lines(match relation {
        "pg_proc" => PROC_ROWS,
        "pg_operator" => OPERATOR_ROWS,
        "pg_cast" => CAST_ROWS,
        "pg_aggregate" => AGGREGATE_ROWS,
        "pg_collation" => COLLATION_ROWS,
        "pg_ts_config" => TS_CONFIG_ROWS,
        "pg_ts_dict" => TS_DICT_ROWS,
        _ => return None,
    }))
}

/// Oid and name of each row of a small relation whose rows begin with them.
pub(crate) fn named(relation: &str) -> impl Iterator<Item = (u32, &'static str)> {
    rows(relation).into_iter().flatten().filter_map(|line| {
        let mut cells = line.split('\t');
        Some((cells.next()?.parse().ok()?, cells.next()?))
    })
}

/// Every function of that name in pg_catalog.
pub(crate) fn procs(name: &str) -> &'static [&'static Proc] {
    procs_in(Schema::Catalog, name)
}

/// Every function of that name in a schema.
pub(crate) fn procs_in(schema: Schema, name: &str) -> &'static [&'static Proc] {
    PROCS.by_name.get(&schema).and_then(|procs| procs.get(name)).map_or(&[], Vec::as_slice)
}

pub(crate) fn proc(oid: u32) -> Option<&'static Proc> {
    PROCS.by_oid.get(&oid).copied()
}

#[cfg(test)]
pub(crate) fn all_procs() -> impl Iterator<Item = &'static Proc> {
    PROCS.by_oid.values().copied()
}

/// Functions that the grammar calls and pg_proc does not hold. (name, source, arguments, result, volatility)
const GRAMMAR: &[(&str, &str, &[u32], u32, Volatility)] = &[
    ("current_date", "grammar/current_date", &[], 1082, Volatility::Stable),
    ("current_time", "grammar/current_time", &[], 1266, Volatility::Stable),
    ("current_time", "grammar/current_time", &[23], 1266, Volatility::Stable),
    ("current_timestamp", "grammar/current_timestamp", &[], 1184, Volatility::Stable),
    ("current_timestamp", "grammar/current_timestamp", &[23], 1184, Volatility::Stable),
    ("localtime", "grammar/localtime", &[], 1083, Volatility::Stable),
    ("localtime", "grammar/localtime", &[23], 1083, Volatility::Stable),
    ("localtimestamp", "grammar/localtimestamp", &[], 1114, Volatility::Stable),
    ("localtimestamp", "grammar/localtimestamp", &[23], 1114, Volatility::Stable),
    ("jsonb_subscript", "grammar/jsonb_subscript", &[3802, 1009], 3802, Volatility::Immutable),
];

static GRAMMAR_PROCS: LazyLock<Vec<Proc>> = LazyLock::new(|| {
    let row = |&(name, source, arguments, result, volatility): &(&'static str, &str, &[u32], u32, Volatility)| Proc {
        oid: 0,
        name,
        schema: Schema::Catalog,
        kind: Kind::Function,
        variadic: 0,
        leakproof: false,
        strict: true,
        set: false,
        volatility,
        defaults: vec![],
        result,
        arguments: arguments.to_vec(),
        outputs: vec![],
        names: vec![],
        source: source.to_owned(),
    };
    GRAMMAR.iter().map(row).collect()
});

/// A function of the grammar with that many arguments.
pub(crate) fn grammar(name: &str, arguments: usize) -> Option<&'static Proc> {
    GRAMMAR_PROCS.iter().find(|p| p.name == name && p.arguments.len() == arguments)
}

/// The one function whose `prosrc` is this.
pub(crate) fn proc_of_source(source: &str) -> Option<&'static Proc> {
    PROCS.by_source.get(source).copied()
}

/// Every operator of that name; it stands in the schema of its function.
pub(crate) fn operators(name: &str) -> &'static [Operator] {
    OPERATORS.by_name.get(name).map_or(&[], |(from, to)| &OPERATORS.all[*from..*to])
}

pub(crate) fn operator(oid: u32) -> Option<&'static Operator> {
    OPERATORS.by_oid.get(&oid).map(|i| &OPERATORS.all[*i])
}

/// The operator that this function carries out, if there is one; comparisons are lowered by it.
pub(crate) fn operator_of(proc: u32) -> Option<&'static Operator> {
    OPERATORS.by_proc.get(&proc).map(|i| &OPERATORS.all[*i])
}

/// The row of pg_cast.
pub(crate) fn cast(source: u32, target: u32) -> Option<Cast> {
    CASTS.get(&(source, target)).copied()
}

pub(crate) fn aggregate(proc: u32) -> Option<&'static Aggregate> {
    AGGREGATES.get(&proc)
}

struct Procs {
    by_oid: HashMap<u32, &'static Proc>,
    by_name: HashMap<Schema, HashMap<&'static str, Vec<&'static Proc>>>,
    by_source: HashMap<&'static str, &'static Proc>,
}

static PROCS: LazyLock<Procs> = LazyLock::new(|| {
    let mut procs = Procs { by_oid: HashMap::new(), by_name: HashMap::new(), by_source: HashMap::new() };
    for line in lines(PROC_ROWS) {
        // kept to the end of the process, as the rows that they are read from
        let proc: &'static Proc = Box::leak(Box::new(proc_of(line).expect("pg_proc.tsv holds whole rows of pg_proc")));
        procs.by_oid.insert(proc.oid, proc);
        procs.by_name.entry(proc.schema).or_default().entry(proc.name).or_default().push(proc);
        procs.by_source.entry(proc.source.as_str()).or_insert(proc);
    }
    procs
});

fn proc_of(line: &'static str) -> Option<Proc> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let &[oid, name, namespace, _, language, _, _, variadic, _, kind] = f.first_chunk()?;
    let &[_, leakproof, strict, set, volatility] = f.get(10..)?.first_chunk()?;
    let &[result, arguments, all, modes, names, defaults, _, source] = f.get(18..)?.first_chunk()?;
    let oids = |text: &'static str| text.split([' ', ',']).filter(|t| !t.is_empty()).map(|t| t.parse::<u32>().ok());
    let inner = |text: &'static str| text.trim_start_matches('{').trim_end_matches('}');
    let list = |text: &'static str| match text {
        "\\N" => vec![],
        text => inner(text).split(',').map(|name| name.trim_matches('"')).collect(),
    };
    let modes = list(modes);
    let all_names = list(names);
    let is_input = |i: usize| modes.get(i).is_none_or(|m| matches!(*m, "i" | "b" | "v"));
    let outputs = match all {
        "\\N" => vec![],
        all => {
            let all = oids(inner(all)).collect::<Option<Vec<_>>>()?;
            let outputs = all
                .into_iter()
                .enumerate()
                .filter(|(i, _)| modes.get(*i).is_some_and(|m| matches!(*m, "o" | "b" | "t")));
            outputs.map(|(i, oid)| (all_names.get(i).copied().unwrap_or(""), oid)).collect()
        }
    };
    Some(Proc {
        oid: oid.parse().ok()?,
        name,
        schema: Schema::of_oid(namespace)?,
        kind: match kind {
            "f" => Kind::Function,
            "a" => Kind::Aggregate,
            "w" => Kind::Window,
            _ => Kind::Procedure,
        },
        variadic: variadic.parse().ok()?,
        leakproof: leakproof == "t",
        strict: strict == "t",
        set: set == "t",
        volatility: match volatility {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        defaults: match defaults {
            "\\N" => vec![],
            defaults => defaults.split(", ").collect(),
        },
        result: result.parse().ok()?,
        arguments: oids(arguments).collect::<Option<_>>()?,
        outputs,
        names: all_names.into_iter().enumerate().filter(|(i, _)| is_input(*i)).map(|(_, name)| name).collect(),
        // language 14 is SQL
        source: if language == "14" { format!("{name}/{oid}") } else { source.to_owned() },
    })
}

struct Operators {
    all: Vec<Operator>,
    by_name: HashMap<&'static str, (usize, usize)>,
    by_oid: HashMap<u32, usize>,
    by_proc: HashMap<u32, usize>,
}

static OPERATORS: LazyLock<Operators> = LazyLock::new(|| {
    let mut all: Vec<Operator> = lines(OPERATOR_ROWS).filter_map(operator_of_line).collect();
    all.sort_by_key(|o| (o.name, o.oid));
    let mut operators = Operators { all, by_name: HashMap::new(), by_oid: HashMap::new(), by_proc: HashMap::new() };
    for (i, operator) in operators.all.iter().enumerate() {
        operators.by_name.entry(operator.name).or_insert((i, i)).1 = i + 1;
        operators.by_oid.insert(operator.oid, i);
        operators.by_proc.entry(operator.proc.oid).or_insert(i);
    }
    operators
});

/// `None` for an operator without a function, of which there is none that can be called.
fn operator_of_line(line: &'static str) -> Option<Operator> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let number = |i: usize| f.get(i)?.parse::<u32>().ok();
    Some(Operator {
        oid: number(0)?,
        name: f[1],
        left: number(7)?,
        right: number(8)?,
        result: number(9)?,
        negator: number(11)?,
        proc: proc(number(12)?)?,
    })
}

static CASTS: LazyLock<HashMap<(u32, u32), Cast>> = LazyLock::new(|| {
    let row = |line: &str| {
        let f: Vec<&str> = line.split('\t').collect();
        let (source, target) = (f.get(1)?.parse().ok()?, f.get(2)?.parse().ok()?);
        let method = match *f.get(5)? {
            "f" => CastMethod::Function(proc(f.get(3)?.parse().ok()?)?),
            "b" => CastMethod::Binary,
            _ => CastMethod::Text,
        };
        let context = match *f.get(4)? {
            "i" => CastContext::Implicit,
            "a" => CastContext::Assignment,
            _ => CastContext::Explicit,
        };
        Some(((source, target), Cast { method, context }))
    };
    lines(CAST_ROWS).filter_map(row).collect()
});

static AGGREGATES: LazyLock<HashMap<u32, Aggregate>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let f: Vec<&'static str> = line.split('\t').collect();
        let kind = match *f.get(1)? {
            "n" => AggregateKind::Normal,
            "o" => AggregateKind::Ordered,
            _ => AggregateKind::Hypothetical,
        };
        let name = |i: usize| Some(proc(f.get(i)?.parse().ok()?).map_or("-", |proc| proc.name));
        Some((f[0].parse().ok()?, Aggregate { kind, transition: name(3)?, last: name(4)? }))
    };
    lines(AGGREGATE_ROWS).filter_map(row).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_each_other() {
        let plus = operators("+").iter().find(|o| o.left == 23 && o.right == 23).unwrap();
        assert_eq!((plus.proc.source.as_str(), plus.result), ("int4pl", 23));
        assert_eq!(operator_of(65).map(|o| o.name), Some("="));
        assert_eq!(proc(1708).unwrap().source, "round/1708");
        assert_eq!(aggregate(2147).unwrap().kind, AggregateKind::Normal);
        assert_eq!(proc(3305).unwrap().defaults, ["true"]);
        assert!(cast(23, 20).is_some_and(|c| c.context == CastContext::Implicit));
        let each = proc(3208).unwrap();
        assert_eq!((each.name, each.outputs.len()), ("jsonb_each", 2));
        assert_eq!(proc(3464).unwrap().names[0], "years");
    }

    #[test]
    fn what_an_extension_brings_has_oids_of_its_own() {
        let procs = PROCS.by_oid.values().filter(|proc| proc.schema == Schema::Public).map(|proc| proc.oid);
        let operators = OPERATORS.all.iter().filter(|o| o.proc.schema == Schema::Public).map(|o| o.oid);
        let mut oids: Vec<u32> = procs.chain(operators).collect();
        let all = oids.len();
        oids.sort_unstable();
        oids.dedup();
        assert!(all == oids.len() && oids.iter().all(|oid| crate::types::EXTENSION_OIDS.contains(oid)), "{oids:?}");
    }

    #[test]
    fn every_row_is_read() {
        assert_eq!(lines(PROC_ROWS).count(), PROCS.by_oid.len());
        assert_eq!(lines(OPERATOR_ROWS).count(), OPERATORS.all.len());
        assert_eq!(lines(AGGREGATE_ROWS).count(), AGGREGATES.len());
        assert_eq!(lines(CAST_ROWS).count(), CASTS.len());
    }
}
