//! Which `=`, `<` and `>` belong to a type: its default operator class, as lookup_type_cache and GetDefaultOpClass find
//! it. They say what DISTINCT, GROUP BY, ORDER BY, NULLIF, GREATEST and `CASE x` mean.

use super::{cast, types};
use crate::pgtype::{self, oid};
use crate::sql::image::{self, Operator};

/// A default operator class: the type it is for, and its operators' oids. 0 for those of a hash class, which has no order.
struct Class {
    of: u32,
    less: u32,
    equal: u32,
    greater: u32,
}

const fn class(of: u32, less: u32, equal: u32, greater: u32) -> Class {
    Class { of, less, equal, greater }
}

/// Rows of pg_opclass with opcdefault: every btree class, and the hash classes of types that have no other.
const CLASSES: [Class; 39] = [
    class(16, 58, 91, 59),
    class(17, 1957, 1955, 1959),
    class(18, 631, 92, 633),
    class(19, 660, 93, 662),
    class(20, 412, 410, 413),
    class(21, 95, 94, 520),
    class(23, 97, 96, 521),
    class(25, 664, 98, 666),
    class(26, 609, 607, 610),
    class(27, 2799, 387, 2800),
    class(28, 0, 352, 0),
    class(29, 0, 385, 0),
    class(30, 645, 649, 646),
    class(700, 622, 620, 623),
    class(701, 672, 670, 674),
    class(774, 3364, 3362, 3365),
    class(790, 902, 900, 903),
    class(829, 1222, 1220, 1223),
    class(869, 1203, 1201, 1205),
    class(1033, 0, 974, 0),
    class(1042, 1058, 1054, 1060),
    class(1082, 1095, 1093, 1097),
    class(1083, 1110, 1108, 1112),
    class(1114, 2062, 2060, 2064),
    class(1184, 1322, 1320, 1324),
    class(1186, 1332, 1330, 1334),
    class(1266, 1552, 1550, 1554),
    class(1560, 1786, 1784, 1787),
    class(1562, 1806, 1804, 1807),
    class(1700, 1754, 1752, 1756),
    class(2249, 2990, 2988, 2991),
    class(2277, 1072, 1070, 1073),
    class(2950, 2974, 2972, 2975),
    class(3220, 3224, 3222, 3225),
    class(3500, 3518, 3516, 3519),
    class(3614, 3627, 3629, 3632),
    class(3615, 3674, 3676, 3679),
    class(3802, 3242, 3240, 3243),
    class(3831, 3884, 3882, 3887),
];
/// As [`CLASSES`], of multiranges and xid8, whose oids came last.
const LATER_CLASSES: [Class; 2] = [class(4537, 2862, 2860, 2865), class(5069, 5073, 5068, 5074)];

/// The type's `=`; `None` for a type without one (json, point).
pub(crate) fn equality(type_oid: u32) -> Option<&'static Operator> {
    operator(type_oid, |class| class.equal)
}

/// The type's `<`; `None` for a type without an order.
pub(crate) fn less(type_oid: u32) -> Option<&'static Operator> {
    operator(type_oid, |class| class.less)
}

pub(crate) fn greater(type_oid: u32) -> Option<&'static Operator> {
    operator(type_oid, |class| class.greater)
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
