//! Arrow ⇄ PostgreSQL types, text and binary. Values are spelt and read as a PostgreSQL with the session's
//! DateStyle, IntervalStyle and TimeZone does. It frames rows (DataRow) and no other message, and knows no catalog: names of
//! relations, roles and a source's own types are its caller's ([`ObjectNames`]).

use std::fmt;
use std::sync::Arc;

use crate::error::Result;

mod append;
pub(crate) mod calendar;
mod column;
pub mod copy;
mod encode;
pub(crate) mod encodings;
pub mod input;
pub(crate) mod literal;
mod mapping;
mod nested;
pub(crate) mod number;
pub(crate) mod numeric;
mod parameter;
mod spelt;
#[cfg(test)]
mod tests;
mod types;
mod utf8;

pub(crate) use encode::bytes;
pub use encode::{RowEncoder, text, texts};
pub use mapping::{enum_field, field, parameter_type, pg_type, text_is_binary};
pub(crate) use nested::{Quotes, quote};
pub use parameter::decode_parameter;
pub(crate) use types::{NUMERIC, Shape, by_internal_name, numeric_modifier};
pub use types::{TypeRow, by_name, by_oid, type_name, types};
pub(crate) use utf8::text as utf8_text;

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

/// Session settings that change how values are spelt and read.
#[derive(Clone, Debug)]
pub struct Style {
    /// IANA name; timestamptz is shown in it.
    pub time_zone: chrono_tz::Tz,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    /// 1 and more: the shortest digits that read back the same.
    pub extra_float_digits: i32,
    /// What `'now'` means, in microseconds since 1970: when the transaction started.
    pub now: i64,
    pub object_names: ObjectNames,
    /// The binary forms of types whose values lie in their own spelling.
    pub spelt: SpeltBinary,
}

/// How a value of a `reg…` type is shown, by that type and its oid, where it is not by digits, and which oid a name of
/// that type is: which objects there are, and who may know of them, is not known here.
#[derive(Clone, Default)]
pub struct ObjectNames {
    name_of: Option<Arc<NameOf>>,
    oid_of: Option<Arc<OidOf>>,
}

type NameOf = dyn Fn(u32, u32) -> Option<String> + Send + Sync;
/// `None` for a type whose names it does not know.
type OidOf = dyn Fn(u32, &str) -> Option<Result<u32>> + Send + Sync;

impl ObjectNames {
    pub fn by(name_of: impl Fn(u32, u32) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { name_of: Some(Arc::new(name_of)), oid_of: None }
    }

    pub fn read_by(self, oid_of: impl Fn(u32, &str) -> Option<Result<u32>> + Send + Sync + 'static) -> Self {
        Self { oid_of: Some(Arc::new(oid_of)), ..self }
    }

    pub(crate) fn name(&self, type_oid: u32, of: u32) -> Option<String> {
        self.name_of.as_ref()?(type_oid, of)
    }

    pub(crate) fn oid(&self, type_oid: u32, name: &str) -> Option<Result<u32>> {
        self.oid_of.as_ref()?(type_oid, name)
    }
}

/// Which types that lie in their own spelling (inet, money, ranges) have a binary form, and how it is made: they are read by
/// those who compute with them.
#[derive(Clone, Copy, Default)]
pub struct SpeltBinary(Option<fn(u32) -> Option<SendSpelt>>);

/// Gives the binary form of a value's text.
pub type SendSpelt = Box<dyn Fn(&str) -> Result<Vec<u8>> + Send + Sync>;

impl SpeltBinary {
    pub(crate) fn by(of_type: fn(u32) -> Option<SendSpelt>) -> Self {
        Self(Some(of_type))
    }

    pub(crate) fn of_type(self, oid: u32) -> Option<SendSpelt> {
        self.0?(oid)
    }
}

impl fmt::Debug for SpeltBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpeltBinary").finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectNames").finish_non_exhaustive()
    }
}

impl Style {
    /// DateStyle ISO, MDY and IntervalStyle postgres; `'now'` is the clock's.
    pub fn of(time_zone: chrono_tz::Tz) -> Self {
        let date_style = DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy };
        let now = chrono::Utc::now().timestamp_micros();
        let interval_style = IntervalStyle::Postgres;
        let (object_names, spelt) = (ObjectNames::default(), SpeltBinary::default());
        Self { time_zone, date_style, interval_style, extra_float_digits: 1, now, object_names, spelt }
    }
}

/// Order of input fields (`ISO, MDY`), and how dates are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateStyle {
    pub output: DateOutput,
    pub order: DateOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOutput {
    Iso,
    Sql,
    Postgres,
    German,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}
