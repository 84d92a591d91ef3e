//! Indexes and constraints of PostgreSQL's own relations, and the operator class that an index of a type has.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fixed::lines;
use crate::catalog::visible::{Constraint, Index, system_schema_name};
use crate::types::TableName;

/// `pg_am.oid` of btree.
const BTREE: &str = "403";
const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;
const ANYARRAY: u32 = 2277;

/// (relation, index) of every index of a system relation.
pub(in crate::catalog) fn indexes() -> &'static [(u32, Index)] {
    static INDEXES: LazyLock<Vec<(u32, Index)>> = LazyLock::new(|| {
        let names: HashMap<&str, TableName> = lines("pg_class").filter_map(named).collect();
        lines("pg_index").map(|line| index(line, &names).expect("pg_index.tsv holds whole rows of pg_index")).collect()
    });
    &INDEXES
}

/// The relation and the index of this oid.
pub(in crate::catalog) fn index_by_oid(oid: u32) -> Option<(u32, &'static Index)> {
    static PLACES: LazyLock<HashMap<u32, usize>> =
        LazyLock::new(|| indexes().iter().enumerate().map(|(at, (_, index))| (index.oid, at)).collect());
    let (relation, index) = indexes().get(*PLACES.get(&oid)?)?;
    Some((*relation, index))
}

pub(in crate::catalog) fn index_by_name(name: &TableName) -> Option<&'static Index> {
    static PLACES: LazyLock<HashMap<&TableName, usize>> =
        LazyLock::new(|| indexes().iter().enumerate().map(|(at, (_, index))| (&index.name, at)).collect());
    indexes().get(*PLACES.get(name)?).map(|(_, index)| index)
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

/// The oid of a row of pg_class, and its name.
fn named(line: &'static str) -> Option<(&'static str, TableName)> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let schema = system_schema_name(f.get(2)?.parse().ok()?)?;
    Some((f.first()?, TableName::new(schema, *f.get(1)?)))
}

/// The condition of a domain's constraint, in parentheses.
pub(crate) fn domain_check(oid: u32) -> Option<&'static str> {
    lines("pg_constraint").find_map(|line| {
        let f: Vec<&'static str> = line.split('\t').collect();
        let is_it = f.first()?.parse() == Ok(oid) && *f.get(8)? != "0";
        f.last().copied().filter(|_| is_it)
    })
}

fn index(line: &'static str, names: &HashMap<&str, TableName>) -> Option<(u32, Index)> {
    let f: Vec<&str> = line.split('\t').collect();
    let numbers = |i: usize| f.get(i)?.split_ascii_whitespace().map(|t| t.parse::<i16>().ok()).collect::<Option<_>>();
    let index = Index {
        oid: f.first()?.parse().ok()?,
        name: names.get(f.first()?)?.clone(),
        columns: numbers(15)?,
        options: numbers(18)?,
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
