//! FOR SYSTEM_TIME AS OF and FOR SYSTEM_VERSION AS OF behind a table: which of its versions is read. PostgreSQL has neither;
//! the words are the standard's. What is there is found out by whoever keeps the table.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, TableVersion};

use super::scope::Scope;
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::fold;
use crate::sql::image::CastContext;
use crate::sql::resolve::cast;
use crate::types::AsOf;

const TIMESTAMPTZ: Ty = Ty::of(oid::TIMESTAMPTZ);

impl Binder<'_> {
    /// The clock may have part in it: then it means another version each time.
    pub(super) fn version(&self, version: &TableVersion) -> Result<AsOf> {
        match version {
            TableVersion::ForSystemTimeAsOf(time) => {
                match self.version_value("FOR SYSTEM_TIME", time, Some(TIMESTAMPTZ))? {
                    ScalarValue::TimestampMicrosecond(Some(at), _) => Ok(AsOf::Time(at)),
                    _ => Err(self.no_version(time)),
                }
            }
            TableVersion::VersionAsOf(version) => match self.version_value("FOR SYSTEM_VERSION", version, None)? {
                ScalarValue::Int16(Some(id)) => Ok(AsOf::Snapshot(id.into())),
                ScalarValue::Int32(Some(id)) => Ok(AsOf::Snapshot(id.into())),
                ScalarValue::Int64(Some(id)) => Ok(AsOf::Snapshot(id)),
                ScalarValue::Utf8(Some(name)) => Ok(AsOf::Named(name)),
                _ => Err(self.no_version(version)),
            },
            other => Err(syntax_error(&other.to_string(), 0)),
        }
    }

    fn version_value(&self, clause: &str, ast: &ast::Expr, wanted: Option<Ty>) -> Result<ScalarValue> {
        let at = self.at_of(ast);
        let expr = self.expr(ast, &Scope::root())?;
        let (from, expr) = (
            expr.ty,
            match wanted {
                Some(ty) => cast::coerce(self.cx, expr, ty, CastContext::Assignment)?,
                None => Some(cast::unknown_to_text(self.cx, expr)?),
            },
        );
        let wrong = || {
            let text = format!("argument of {clause} must be type timestamp with time zone, not type {}", from.name());
            Error::new(Kind::TypeMismatch, text).at(at)
        };
        let expr: Expr = fold::with_clock(expr.ok_or_else(wrong)?, self.cx.env)?;
        match expr.kind {
            Node::Constant(value) if value.is_null() => Err(self.no_version(ast)),
            Node::Constant(value) => Ok(value),
            _ => Err(Error::unsupported(format!("a version in {clause} that is not constant")).at(at)),
        }
    }

    fn no_version(&self, ast: &ast::Expr) -> Error {
        let text = "a version is a time, the number of a snapshot, or the name of a tag or a branch";
        Error::new(Kind::InvalidParameter, text).at(self.at_of(ast))
    }
}
