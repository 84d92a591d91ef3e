//! Forms of the grammar that are calls of functions: EXTRACT, SUBSTRING, LIKE … (gram.y).

use datafusion::sql::sqlparser::ast::{self, Expr as Ast};

use super::scope::Scope;
use super::type_name::{INTERVAL_FULL_RANGE, interval, interval_range};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::resolve::{cast, operator};

impl Binder<'_> {
    pub(super) fn special(&self, ast: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.at_of(ast);
        let text =
            |value: &str| Expr::constant(datafusion::common::ScalarValue::Utf8(Some(value.to_owned())), Ty::TEXT, at);
        match ast {
            Ast::AtTimeZone { timestamp, time_zone } => {
                let (of, zone) = (self.expr(timestamp, scope)?, self.expr(time_zone, scope)?);
                self.call("timezone", vec![zone, of], self.after(timestamp.as_ref()))
            }
            Ast::Extract { field, expr, .. } => {
                let field = match field {
                    ast::DateTimeField::Custom(ident) => super::name::folded(ident),
                    other => other.to_string().to_lowercase(),
                };
                let of = self.expr(expr, scope)?;
                self.call("extract", vec![text(field.trim_matches(['\'', '"'])), of], at)
            }
            Ast::Ceil { expr, field } => self.rounded("ceil", expr, field, at, scope),
            Ast::Floor { expr, field } => self.rounded("floor", expr, field, at, scope),
            Ast::Position { expr, r#in } => {
                let (part, whole) = (self.expr(expr, scope)?, self.expr(r#in, scope)?);
                self.call("position", vec![whole, part], at)
            }
            Ast::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                let mut arguments = vec![self.expr(expr, scope)?];
                match (substring_from, substring_for) {
                    (Some(from), length) => {
                        arguments.push(self.expr(from, scope)?);
                        arguments.extend(length.as_deref().map(|l| self.expr(l, scope)).transpose()?);
                    }
                    // SUBSTRING(a FOR n) counts from 1
                    (None, Some(length)) => {
                        arguments.push(Expr::constant(datafusion::common::ScalarValue::Int32(Some(1)), Ty::INT4, at));
                        let length = self.expr(length, scope)?;
                        arguments.push(cast::explicit(self.cx, length, Ty::INT4, at)?);
                    }
                    (None, None) => {}
                }
                self.call(if *shorthand { "substr" } else { "substring" }, arguments, at)
            }
            Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    Some(ast::TrimWhereField::Both) | None => "btrim",
                };
                let mut arguments = vec![self.expr(expr, scope)?];
                arguments.extend(trim_what.as_deref().map(|w| self.expr(w, scope)).transpose()?);
                for characters in trim_characters.iter().flatten() {
                    arguments.push(self.expr(characters, scope)?);
                }
                self.call(name, arguments, at)
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![self.expr(expr, scope)?, self.expr(overlay_what, scope)?];
                arguments.push(self.expr(overlay_from, scope)?);
                arguments.extend(overlay_for.as_deref().map(|l| self.expr(l, scope)).transpose()?);
                self.call("overlay", arguments, at)
            }
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                let name = if *negated { "!~~" } else { "~~" };
                self.like(name, expr, pattern, escape_char.as_ref(), scope)
            }
            Ast::ILike { negated, any: false, expr, pattern, escape_char } => {
                let name = if *negated { "!~~*" } else { "~~*" };
                self.like(name, expr, pattern, escape_char.as_ref(), scope)
            }
            // LIKE ANY (array)
            Ast::Like { negated, expr, pattern, escape_char: None, .. } => {
                let name = if *negated { "!~~" } else { "~~" };
                self.any_named(expr, name, pattern, false, scope)
            }
            Ast::ILike { negated, expr, pattern, escape_char: None, .. } => {
                let name = if *negated { "!~~*" } else { "~~*" };
                self.any_named(expr, name, pattern, false, scope)
            }
            Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                let place = self.after(expr.as_ref());
                let (of, pattern) = (self.expr(expr, scope)?, self.expr(pattern, scope)?);
                let mut arguments = vec![pattern];
                arguments.extend(escape_char.as_ref().map(|e| self.value(e)).transpose()?);
                let pattern = self.call("similar_to_escape", arguments, place)?;
                operator::binary(self.cx, if *negated { "!~" } else { "~" }, of, pattern, place)
            }
            Ast::IsNormalized { expr, form, negated } => {
                let of = self.expr(expr, scope)?;
                let form = form.as_ref().map_or_else(|| "NFC".to_string(), ToString::to_string);
                let test = self.call("is_normalized", vec![of, text(&form)], at)?;
                Ok(if *negated { Expr::boolean(Node::Not(Box::new(test)), at) } else { test })
            }
            other => Err(syntax_error(&other.to_string(), at)),
        }
    }

    fn rounded(&self, name: &str, of: &Ast, field: &ast::CeilFloorKind, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        match field {
            ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {
                let of = self.expr(of, scope)?;
                self.call(name, vec![of], at)
            }
            ast::CeilFloorKind::Scale(value) => {
                let arguments = vec![self.expr(of, scope)?, self.value(value)?];
                self.call(name, arguments, at)
            }
            ast::CeilFloorKind::DateTimeField(_) => Err(syntax_error("TO", self.after(of))),
        }
    }

    fn like(
        &self,
        name: &str,
        of: &Ast,
        pattern: &Ast,
        escape: Option<&ast::ValueWithSpan>,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let at = self.after(of);
        let (of, pattern) = (self.expr(of, scope)?, self.expr(pattern, scope)?);
        let pattern = match escape {
            Some(escape) => {
                let escape = self.value(escape)?;
                self.call("like_escape", vec![pattern, escape], at)?
            }
            None => pattern,
        };
        operator::binary(self.cx, name, of, pattern, at)
    }

    /// `interval '1' day`, `interval(3) '…'`, `interval '1 day'`.
    pub(super) fn interval(&self, interval_ast: &ast::Interval, scope: &Scope<'_>) -> Result<Expr> {
        let Ast::Value(value) = interval_ast.value.as_ref() else {
            return Err(syntax_error("interval", self.at_of(interval_ast.value.as_ref())));
        };
        let text = self.value(value)?;
        let _ = scope;
        let at = text.at;
        let fields = match (&interval_ast.leading_field, &interval_ast.last_field) {
            (None, _) => None,
            (Some(first), None) => Some(first.to_string()),
            (Some(first), Some(last)) => Some(format!("{first} TO {last}")),
        };
        let range = fields.as_deref().map_or(INTERVAL_FULL_RANGE, interval_range);
        let precision = interval_ast.fractional_seconds_precision.or(interval_ast.leading_precision);
        let ty = interval(range, precision.map(|p| p as i32))?;
        cast::explicit(self.cx, text, ty, at)
    }

    pub(super) fn overlaps(&self, left: &Ast, right: &Ast, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let pair = |ast: &Ast, side: &str| match ast {
            Ast::Tuple(items) if items.len() == 2 => self.exprs(items, scope),
            _ => {
                let text = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                Err(Error::new(Kind::Syntax, text).at(self.at_of(ast)))
            }
        };
        let mut arguments = pair(left, "left")?;
        arguments.extend(pair(right, "right")?);
        self.call("overlaps", arguments, at)
    }

    /// CURRENT_DATE and its kin, which stand without parentheses. `None`: none of them.
    pub(super) fn value_function(&self, name: &str, precision: Option<i64>, at: usize) -> Result<Option<Expr>> {
        let grammar = |arguments: Vec<Expr>| {
            let proc = crate::sql::image::grammar(name, arguments.len());
            let proc = proc.ok_or_else(|| Error::internal(format!("{name} is gone")))?;
            let ty = Ty { oid: proc.result, typmod: precision.map_or(-1, |p| p.clamp(0, 6) as i32) };
            let ty = if matches!(ty.oid, oid::DATE) { Ty::of(ty.oid) } else { ty };
            Ok(Some(Expr::new(Node::Call(crate::sql::expr::Call { proc, arguments, variadic: false }), ty, at)))
        };
        let digits = precision.map(|p| {
            let value = datafusion::common::ScalarValue::Int32(Some(p.clamp(0, 6) as i32));
            Expr::constant(value, Ty::INT4, at)
        });
        match (name, digits) {
            ("current_date", None) => grammar(vec![]),
            ("current_time" | "current_timestamp" | "localtime" | "localtimestamp", digits) => {
                grammar(digits.into_iter().collect())
            }
            ("current_user" | "session_user" | "current_schema", None) => self.call(name, vec![], at).map(Some),
            ("user" | "current_role", None) => self.call("current_user", vec![], at).map(Some),
            ("current_catalog", None) => self.call("current_database", vec![], at).map(Some),
            _ => Ok(None),
        }
    }
}
