//! Arrow ⇄ PostgreSQL types, text and binary. Values are spelt and read as a PostgreSQL with DateStyle ISO and
//! IntervalStyle postgres does. It frames rows (DataRow) and no other message, and knows no catalog: names of relations,
//! roles and a source's own types are not resolved here.

mod append;
mod calendar;
mod column;
pub mod copy;
mod encode;
pub mod input;
mod mapping;
mod nested;
pub(crate) mod number;
pub(crate) mod numeric;
mod parameter;
#[cfg(test)]
mod tests;
mod types;

pub use encode::{RowEncoder, text, texts};
pub(crate) use mapping::trims;
pub use mapping::{enum_field, field, parameter_type, pg_type, text_is_binary};
pub use parameter::decode_parameter;
pub(crate) use types::{BPCHAR, NUMERIC, VARCHAR, numeric_modifier};
pub use types::{TypeRow, by_name, by_oid, type_name, types};

/// Field metadata: the PostgreSQL type oid where Arrow's type alone does not tell (varchar, name, oid, json …).
pub const OID: &str = "lakegate.oid";
/// Field metadata: the type modifier, as `pg_attribute.atttypmod`. Read only beside [`OID`].
pub const TYPMOD: &str = "lakegate.typmod";

/// Field metadata of a numeric without modifier whose values show every digit of the Arrow scale: an expression's. Without
/// it zeros at the end are not shown, since a source's column of that type has a scale that its values do not have.
pub const SCALE: &str = "lakegate.scale";

/// A column's type as a RowDescription shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// `pg_type.typlen`: bytes, -1 for variable length.
    pub size: i16,
    /// -1 where there is none.
    pub typmod: i32,
}

/// Format code of a column or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

/// Session settings that change how values are spelt.
#[derive(Clone, Debug)]
pub struct Style {
    /// IANA name; timestamptz is shown in it.
    pub time_zone: chrono_tz::Tz,
}
