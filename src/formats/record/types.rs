//! What a column's field says of its PostgreSQL type, as far as records are read by it. The language's own view of types is
//! `pgtype`'s, which stands above.

use arrow::datatypes::{DataType, Field};

use crate::error::Result;
use crate::formats::postgres::{self, OID, TYPMOD};

pub(super) mod oid {
    //! Oids of `pg_type`.
    pub(in crate::formats::record) use crate::formats::postgres::NUMERIC;

    pub(in crate::formats::record) const BYTEA: u32 = 17;
    pub(in crate::formats::record) const OID: u32 = 26;
    pub(in crate::formats::record) const JSON: u32 = 114;
    pub(in crate::formats::record) const POINT: u32 = 600;
    pub(in crate::formats::record) const BPCHAR: u32 = 1042;
    pub(in crate::formats::record) const VARCHAR: u32 = 1043;
    pub(in crate::formats::record) const DATE: u32 = 1082;
    pub(in crate::formats::record) const TIME: u32 = 1083;
    pub(in crate::formats::record) const TIMESTAMP: u32 = 1114;
    pub(in crate::formats::record) const TIMESTAMPTZ: u32 = 1184;
    pub(in crate::formats::record) const INTERVAL: u32 = 1186;
    pub(in crate::formats::record) const TIMETZ: u32 = 1266;
    pub(in crate::formats::record) const BIT: u32 = 1560;
    pub(in crate::formats::record) const VARBIT: u32 = 1562;
    pub(in crate::formats::record) const UUID: u32 = 2950;
    pub(in crate::formats::record) const JSONB: u32 = 3802;
}

/// `typmod` is -1 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ty {
    pub(super) oid: u32,
    pub(super) typmod: i32,
}

pub(super) fn of_field(field: &Field) -> Result<Ty> {
    let found = postgres::pg_type(field)?;
    Ok(Ty { oid: found.oid, typmod: found.typmod })
}

/// The element of a true array; `None` for what is no array.
pub(super) fn element(type_oid: u32) -> Option<u32> {
    let row = postgres::by_oid(type_oid)?;
    (row.category == 'A' && row.element != 0).then_some(row.element)
}

/// A field of that type, lying as `data_type`.
pub(super) fn field(name: &str, ty: Ty, data_type: DataType) -> Field {
    let metadata = [(OID.to_owned(), ty.oid.to_string()), (TYPMOD.to_owned(), ty.typmod.to_string())];
    Field::new(name, data_type, true).with_metadata(metadata.into())
}

/// A numeric of any scale, not a number and infinite too: in `postgres::numeric`'s bytes.
pub fn any_numeric(name: &str) -> Field {
    field(name, Ty { oid: oid::NUMERIC, typmod: -1 }, DataType::Binary)
}
