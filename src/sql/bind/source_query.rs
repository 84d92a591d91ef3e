//! `postgres_query('source', 'text')` in FROM: rows of a text that a source runs as it stands. Source and text must be known
//! when the statement is planned, since its columns follow from them. Who may is asked by whoever keeps the sources.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::from::{Bound, bound, canonical, defined};
use super::name::{folded, segments};
use super::scope::{Item, Scope};
use super::{Answer, Binder};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::Kind as Node;
use crate::sql::fold;
use crate::sql::image::CastContext;
use crate::sql::query::{Column, Relation, SourceOf};
use crate::sql::resolve::cast;

pub(crate) const QUERY_FUNCTION: &str = "postgres_query";

pub(super) fn is_source_query(name: &ast::ObjectName) -> bool {
    matches!(segments(name).as_slice(), [only] if only == QUERY_FUNCTION)
}

impl Binder<'_> {
    pub(super) fn source_query(
        &self,
        name: &ast::ObjectName,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let at = self.at_of(name);
        if self.notes.is_some() {
            return Err(Error::unsupported(format!("{QUERY_FUNCTION} in a query that is kept"))
                .with_hint("What a view reads is judged by its owner's rights, and this right is handed to nobody.")
                .at(at));
        }
        if ordinality {
            return Err(Error::unsupported(format!("WITH ORDINALITY behind {QUERY_FUNCTION}")).at(at));
        }
        if let Some(first) = defined(alias).first() {
            let text = "a column definition list is redundant: the source describes the columns";
            return Err(Error::new(Kind::Syntax, text).at(self.at(first.name.span)));
        }
        let given = self.in_from(before, scope, |inner| {
            let each = arguments.iter().map(|argument| self.constant_text(argument, inner));
            each.collect::<Result<Vec<String>>>()
        })?;
        let [source, text] = given.as_slice() else {
            let text = format!("function {QUERY_FUNCTION} takes a source and a text, and was given {}", given.len());
            return Err(Error::new(Kind::UndefinedFunction, text).at(at));
        };
        let Answer { table, names } =
            self.relations.source_query(source, text).map_err(|e| if e.position().is_none() { e.at(at) } else { e })?;
        let schema = table.schema();
        let columns = schema.fields().iter().zip(names).map(|(field, name)| {
            let (ty, data_type) = (pgtype::of_field(field)?, canonical(field.data_type()));
            Ok(Column { id: self.column_id(), name, ty, data_type })
        });
        let columns = columns.collect::<Result<Vec<Column>>>()?;
        let shown = alias.map_or_else(|| QUERY_FUNCTION.to_owned(), |a| folded(&a.name));
        let named = match alias {
            Some(alias) => self.renamed(columns.clone(), alias, "table", &shown)?,
            None => columns.clone(),
        };
        let source = SourceOf { name: QUERY_FUNCTION.into(), table, is_materialized: false };
        let own = columns.iter().map(|column| column.name.clone()).collect();
        let relation = Relation::Table { alias: shown.clone(), source, columns };
        let mut answer = bound(relation, shown, None, named, false);
        for item in &mut answer.items {
            item.fields = Some(Vec::clone(&own));
        }
        Ok(answer)
    }

    /// 0A000 for what is known only when the statement runs, or row by row.
    fn constant_text(&self, argument: &ast::FunctionArg, scope: &Scope<'_>) -> Result<String> {
        let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument)) = argument else {
            return Err(Error::unsupported(format!("an argument of {QUERY_FUNCTION} by its name")));
        };
        let at = self.at_of(argument);
        let expr = self.expr(argument, scope)?;
        let from = expr.ty;
        let text = cast::coerce(self.cx, expr, Ty::TEXT, CastContext::Implicit)?.ok_or_else(|| {
            let text = format!("an argument of {QUERY_FUNCTION} is a text, not of type {}", from.name());
            Error::new(Kind::UndefinedFunction, text).at(at)
        })?;
        match fold::one(text, self.cx.env)?.kind {
            Node::Constant(ScalarValue::Utf8(Some(text))) => Ok(text),
            Node::Constant(_) => {
                let text = format!("an argument of {QUERY_FUNCTION} must not be null");
                Err(Error::new(Kind::NullNotAllowed, text).at(at))
            }
            _ => Err(Error::unsupported(format!("an argument of {QUERY_FUNCTION} that is not constant"))
                .with_hint("Its columns follow from its text, which must stand in the statement.")
                .at(at)),
        }
    }
}
