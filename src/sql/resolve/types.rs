//! What resolution asks about a type: its category, whether it is preferred in it, and what an array, a range or a
//! multirange is made of. Types that no table of ours knows are a source's enums.

use crate::formats::postgres::by_oid;
use crate::pgtype::{self, oid};

pub(super) const STRING: char = 'S';

/// `TypeCategory`.
pub(super) fn category(type_oid: u32) -> char {
    by_oid(pgtype::base(type_oid)).map_or('E', |row| row.category)
}

/// `IsPreferredType`: preferred, and of that category.
pub(super) fn is_preferred(wanted: char, type_oid: u32) -> bool {
    // a domain is never preferred, though its base may be
    by_oid(type_oid).is_some_and(|row| row.preferred && row.category == wanted)
}

/// `get_base_element_type`.
pub(super) fn element(type_oid: u32) -> Option<u32> {
    pgtype::element(pgtype::base(type_oid))
}

pub(super) fn is_array(type_oid: u32) -> bool {
    element(type_oid).is_some()
}

pub(super) fn is_enum(type_oid: u32) -> bool {
    category(type_oid) == 'E'
}

/// Rows of pg_range: the range, its subtype, its multirange.
const RANGES: [(u32, u32, u32); 6] = [
    (3904, oid::INT4, 4451),
    (3906, oid::NUMERIC, 4532),
    (3908, oid::TIMESTAMP, 4533),
    (3910, oid::TIMESTAMPTZ, 4534),
    (3912, oid::DATE, 4535),
    (3926, oid::INT8, 4536),
];

pub(super) fn range_subtype(range: u32) -> Option<u32> {
    RANGES.iter().find(|row| row.0 == range).map(|row| row.1)
}

pub(super) fn multirange_of(range: u32) -> Option<u32> {
    RANGES.iter().find(|row| row.0 == range).map(|row| row.2)
}

pub(super) fn range_of(multirange: u32) -> Option<u32> {
    RANGES.iter().find(|row| row.2 == multirange).map(|row| row.0)
}

/// Only PostgreSQL can turn the text of a value into one: it names an object of a catalog.
pub(super) fn names_an_object(type_oid: u32) -> bool {
    const REGDICTIONARY: u32 = 3769;
    const REGCOLLATION: u32 = 4191;
    use oid::*;
    matches!(
        type_oid,
        REGPROC
            | REGPROCEDURE
            | REGOPER
            | REGOPERATOR
            | REGCLASS
            | REGTYPE
            | REGCONFIG
            | REGDICTIONARY
            | REGNAMESPACE
            | REGROLE
            | REGCOLLATION
    )
}
