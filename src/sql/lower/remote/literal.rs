//! Constants of a typed expression as SQL.

use datafusion::common::ScalarValue;

use crate::formats::postgres;
use crate::pgtype::{Ty, oid};

pub(super) use postgres::literal::type_name;

pub(super) fn literal(value: &ScalarValue, ty: Ty) -> Option<String> {
    postgres::literal::literal(value, told(ty))
}

pub(super) fn list(values: &[ScalarValue], ty: Ty) -> Option<String> {
    postgres::literal::list(values, told(ty))
}

/// What nothing typed is a text.
fn told(ty: Ty) -> u32 {
    if ty.oid == oid::UNKNOWN { oid::TEXT } else { ty.oid }
}
