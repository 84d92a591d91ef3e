//! A bound parameter's value, as its type's input or receive function gives it. Types that the door reads by itself are
//! `formats`'; what lies in its type's own spelling is read by the language's kernels, and names of objects by the session's
//! catalog.

use datafusion::common::ScalarValue;

use super::super::functions;
use super::Session;
use crate::error::Result;
use crate::formats::postgres::{self, Format, Shape, Style, decode_parameter, utf8_text};
use crate::pgtype::{self, Ty, oid};
use crate::sql::input;
use crate::sql::kernel::Env;

impl Session {
    /// `bytes`: `None` for NULL.
    pub fn parameter(&mut self, oid: u32, format: Format, bytes: Option<&[u8]>, style: &Style) -> Result<ScalarValue> {
        let (Format::Text, Some(bytes)) = (format, bytes) else { return decode_parameter(oid, format, bytes, style) };
        match oid {
            oid::REGCLASS | oid::REGNAMESPACE | oid::REGROLE => {
                functions::named(&self.facts()?.view, oid, utf8_text(bytes)?)
            }
            _ if is_read_by_kernel(oid) => {
                let facts = self.facts()?;
                let plain = Env::plain();
                let env = facts.state.config_options().extensions.get::<Env>().unwrap_or(&plain);
                input::one(utf8_text(bytes)?, Ty::of(oid), env)
            }
            _ => decode_parameter(oid, format, Some(bytes), style),
        }
    }
}

/// Spelt types, jsonpath and names of functions, operators and types; arrays of such.
fn is_read_by_kernel(type_oid: u32) -> bool {
    let of = pgtype::element(type_oid).unwrap_or(type_oid);
    let Some(row) = postgres::by_oid(of) else { return false };
    let spelt = row.shape == Shape::Spelt || row.name == "jsonpath";
    let named = row.shape == Shape::Oid && row.name.starts_with("reg");
    (spelt || named) && input::has_kernel(type_oid)
}
