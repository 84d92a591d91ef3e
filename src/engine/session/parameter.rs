//! A bound parameter's value, as its type's input or receive function gives it. Types that the door reads by itself are
//! `formats`', with the session's names of objects ([`Session::style`]); what lies in its type's own spelling is read by the
//! language's kernels.

use datafusion::common::ScalarValue;

use super::Session;
use crate::error::Result;
use crate::formats::postgres::{self, Format, Shape, Style, decode_parameter, utf8_text};
use crate::pgtype::{self, Ty};
use crate::sql::input;
use crate::sql::kernel::Env;

impl Session {
    /// `bytes`: `None` for NULL.
    pub fn parameter(&mut self, oid: u32, format: Format, bytes: Option<&[u8]>, style: &Style) -> Result<ScalarValue> {
        let (Format::Text, Some(bytes)) = (format, bytes) else { return decode_parameter(oid, format, bytes, style) };
        if !is_read_by_kernel(oid) {
            return decode_parameter(oid, format, Some(bytes), style);
        }
        let facts = self.facts()?;
        let plain = Env::plain();
        let env = facts.state.config_options().extensions.get::<Env>().unwrap_or(&plain);
        input::one(utf8_text(bytes)?, Ty::of(oid), env)
    }
}

/// Spelt types and jsonpath; arrays of such.
fn is_read_by_kernel(type_oid: u32) -> bool {
    let of = pgtype::element(type_oid).unwrap_or(type_oid);
    let Some(row) = postgres::by_oid(of) else { return false };
    (row.shape == Shape::Spelt || row.name == "jsonpath") && input::has_kernel(type_oid)
}
