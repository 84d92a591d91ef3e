//! Which `=` and `<` belong to a type: its default operator class, as lookup_type_cache and GetDefaultOpClass find
//! it. They say what DISTINCT, GROUP BY, ORDER BY, NULLIF, GREATEST and `CASE x` mean.

use super::{cast, types};
use crate::pgtype::{self, oid};
use crate::sql::image::{self, Operator};

/// A default operator class: the type it is for, and its operators' oids. 0 for those of a hash class, which has no order.
struct Class {
    of: u32,
    less: u32,
    equal: u32,
}

const fn class(of: u32, less: u32, equal: u32) -> Class {
    Class { of, less, equal }
}

/// Rows of pg_opclass with opcdefault: every btree class, and the hash classes of types that have no other.
const CLASSES: [Class; 39] = [
    class(16, 58, 91),
    class(17, 1957, 1955),
    class(18, 631, 92),
    class(19, 660, 93),
    class(20, 412, 410),
    class(21, 95, 94),
    class(23, 97, 96),
    class(25, 664, 98),
    class(26, 609, 607),
    class(27, 2799, 387),
    class(28, 0, 352),
    class(29, 0, 385),
    class(30, 645, 649),
    class(700, 622, 620),
    class(701, 672, 670),
    class(774, 3364, 3362),
    class(790, 902, 900),
    class(829, 1222, 1220),
    class(869, 1203, 1201),
    class(1033, 0, 974),
    class(1042, 1058, 1054),
    class(1082, 1095, 1093),
    class(1083, 1110, 1108),
    class(1114, 2062, 2060),
    class(1184, 1322, 1320),
    class(1186, 1332, 1330),
    class(1266, 1552, 1550),
    class(1560, 1786, 1784),
    class(1562, 1806, 1804),
    class(1700, 1754, 1752),
    class(2249, 2990, 2988),
    class(2277, 1072, 1070),
    class(2950, 2974, 2972),
    class(3220, 3224, 3222),
    class(3500, 3518, 3516),
    class(3614, 3627, 3629),
    class(3615, 3674, 3676),
    class(3802, 3242, 3240),
    class(3831, 3884, 3882),
];
/// As [`CLASSES`], of multiranges and xid8, whose oids came last.
const LATER_CLASSES: [Class; 2] = [class(4537, 2862, 2860), class(5069, 5073, 5068)];

/// The type's `=`; `None` for a type without one (json, point).
pub(crate) fn equality(type_oid: u32) -> Option<&'static Operator> {
    operator(type_oid, |class| class.equal)
}

/// The type's `<`; `None` for a type without an order.
pub(crate) fn less(type_oid: u32) -> Option<&'static Operator> {
    operator(type_oid, |class| class.less)
}

fn operator(type_oid: u32, which: fn(&Class) -> u32) -> Option<&'static Operator> {
    let found = image::operator(which(class_of(type_oid)?))?;
    match types::element(type_oid) {
        // an array has what its elements have
        Some(element) if found.left == oid::ANYARRAY => operator(element, which).map(|_| found),
        _ => Some(found),
    }
}

fn class_of(type_oid: u32) -> Option<&'static Class> {
    let base = pgtype::base(type_oid);
    let all = || CLASSES.iter().chain(&LATER_CLASSES);
    if let Some(exact) = all().find(|class| class.of == base) {
        return Some(exact);
    }
    // varchar as text, cidr as inet, any array as anyarray
    let category = types::category(base);
    let coercible: Vec<_> = all().filter(|class| cast::is_binary_coercible(base, class.of)).collect();
    let preferred = coercible.iter().filter(|class| types::is_preferred(category, class.of));
    let preferred: Vec<_> = preferred.copied().collect();
    match (&preferred[..], &coercible[..]) {
        ([one], _) | ([], [one]) => Some(one),
        _ => None,
    }
}
