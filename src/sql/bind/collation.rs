//! COLLATE (parse_collate.c). There is one order of texts, whatever its name; but two names asked for at once are refused,
//! as PostgreSQL does. Columns have the default collation.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr as Ast};

use super::Binder;
use super::scope::Scope;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::Expr;

impl Binder<'_> {
    pub(super) fn collate(&self, of: &Ast, collation: &ast::ObjectName, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(of);
        let of = self.expr(of, scope)?;
        let name = name(collation);
        if !matches!(name.as_str(), "C" | "POSIX" | "default" | "ucs_basic" | "C.utf8" | "C.UTF-8") {
            let text = format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
            return Err(Error::new(Kind::UndefinedObject, text).at(at));
        }
        match of.ty.is_unknown() || is_collatable(of.ty) {
            true => Ok(of),
            false => Err(uncollatable(of.ty).at(at)),
        }
    }

    /// 42P21 where operands of one operator or function ask for different collations.
    pub(super) fn one_collation<'x>(&self, operands: impl IntoIterator<Item = &'x Ast>) -> Result<()> {
        self.explicit(operands).map(|_| ())
    }

    /// The collation that some operand asks for, and where it does.
    fn explicit<'x>(&self, operands: impl IntoIterator<Item = &'x Ast>) -> Result<Option<(String, usize)>> {
        let mut wanted: Option<(String, usize)> = None;
        for operand in operands {
            let own = match operand {
                Ast::Nested(inner) => self.explicit([inner.as_ref()])?,
                Ast::Collate { expr, collation } => Some((name(collation), self.after(expr.as_ref()))),
                // what other operators give may be no text
                Ast::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                    self.explicit([left.as_ref(), right])?
                }
                _ => None,
            };
            match (&wanted, &own) {
                (Some((wanted, _)), Some((own, at))) if wanted != own => {
                    let text = format!("collation mismatch between explicit collations \"{wanted}\" and \"{own}\"");
                    return Err(Error::new(Kind::Collation, text).at(*at));
                }
                _ => wanted = wanted.or(own),
            }
        }
        Ok(wanted)
    }

    /// COLLATION FOR: the name, quoted; of an untyped literal there is none.
    pub(super) fn collation_for(&self, of: &Ast, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let typed = self.expr(of, scope)?;
        let name = match self.explicit([of])? {
            Some((name, _)) => Some(name),
            None if typed.ty.is_unknown() => None,
            None if typed.ty.oid == oid::NAME => Some("C".to_owned()),
            None if is_collatable(typed.ty) => Some("default".to_owned()),
            None => return Err(uncollatable(typed.ty)),
        };
        let quoted = name.map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        Ok(Expr::constant(ScalarValue::Utf8(quoted), Ty::TEXT, at))
    }
}

fn name(collation: &ast::ObjectName) -> String {
    super::name::segments(collation).pop().unwrap_or_default()
}

fn is_collatable(ty: Ty) -> bool {
    pgtype::functions(ty.oid).is_some_and(|functions| functions.collated)
}

fn uncollatable(ty: Ty) -> Error {
    Error::new(Kind::TypeMismatch, format!("collations are not supported by type {}", ty.name()))
}
