//! Indexes and constraints of PostgreSQL's own relations, and the operator class that an index of a type has.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fixed::lines;
use crate::catalog::visible::{Constraint, Index};

/// `pg_am.oid` of btree.
const BTREE: &str = "403";
const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;
const ANYARRAY: u32 = 2277;

/// (relation, index) of every index of a system relation.
pub(in crate::catalog) fn indexes() -> &'static [(u32, Index)] {
    static INDEXES: LazyLock<Vec<(u32, Index)>> = LazyLock::new(|| {
        let names: HashMap<&str, &str> = lines("pg_class").filter_map(|line| pair(line, 0, 1)).collect();
        lines("pg_index").map(|line| index(line, &names).expect("pg_index.tsv holds whole rows of pg_index")).collect()
    });
    &INDEXES
}

/// (relation, constraint) of every key of a system relation.
pub(in crate::catalog) fn constraints() -> &'static [(u32, Constraint)] {
    static CONSTRAINTS: LazyLock<Vec<(u32, Constraint)>> =
        LazyLock::new(|| lines("pg_constraint").filter_map(constraint).collect());
    &CONSTRAINTS
}

/// The btree operator class of a type; 0 where it has none.
pub(in crate::catalog) fn default_operator_class(type_oid: u32) -> u32 {
    static CLASSES: LazyLock<HashMap<u32, u32>> = LazyLock::new(|| {
        let of_line = |line: &'static str| {
            let f: Vec<&str> = line.split('\t').collect();
            let is_default = *f.get(1)? == BTREE && *f.get(7)? == "t";
            is_default.then_some((f.get(6)?.parse().ok()?, f.first()?.parse().ok()?))
        };
        lines("pg_opclass").filter_map(of_line).collect()
    });
    let of = match super::type_by_oid(type_oid) {
        Some(array) if array.is_array => ANYARRAY,
        _ if type_oid == VARCHAR => TEXT,
        _ => type_oid,
    };
    CLASSES.get(&of).copied().unwrap_or(0)
}

fn pair(line: &'static str, first: usize, second: usize) -> Option<(&'static str, &'static str)> {
    let f: Vec<&str> = line.split('\t').collect();
    Some((*f.get(first)?, *f.get(second)?))
}

fn index(line: &'static str, names: &HashMap<&str, &str>) -> Option<(u32, Index)> {
    let f: Vec<&str> = line.split('\t').collect();
    let numbers = |i: usize| f.get(i)?.split_ascii_whitespace().map(|t| t.parse::<i16>().ok()).collect::<Option<_>>();
    let index = Index {
        oid: f.first()?.parse().ok()?,
        name: names.get(f.first()?)?.to_string(),
        columns: numbers(15)?,
        classes: f.get(17)?.split_ascii_whitespace().map(|t| t.parse().ok()).collect::<Option<_>>()?,
        unique: *f.get(4)? == "t",
        primary: *f.get(6)? == "t",
    };
    Some((f.get(1)?.parse().ok()?, index))
}

/// `None` for a check of a domain.
fn constraint(line: &'static str) -> Option<(u32, Constraint)> {
    let f: Vec<&str> = line.split('\t').collect();
    let relation: u32 = f.get(7)?.parse().ok().filter(|oid| *oid != 0)?;
    let inner = f.get(18)?.strip_prefix('{')?.strip_suffix('}')?;
    let constraint = Constraint {
        oid: f.first()?.parse().ok()?,
        name: f.get(1)?.to_string(),
        kind: f.get(3)?.chars().next()?,
        columns: inner.split(',').map(|t| t.parse().ok()).collect::<Option<_>>()?,
        index: f.get(9)?.parse().ok()?,
        references: None,
        deferrable: false,
        deferred: false,
    };
    Some((relation, constraint))
}
