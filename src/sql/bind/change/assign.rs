//! Values that are assigned to columns: SET, an INSERT's columns, DEFAULT. A column without a default of its own is NULL
//! there. What may be a default it does not say.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Expr as Ast, Query as AstQuery};

use super::super::Binder;
use super::super::name::folded;
use super::super::scope::{Place, Scope};
use super::{Identity, Target, TargetColumn, canonical};
use crate::error::{Error, Kind, Result};
use crate::sql::expr::{Expr, Kind as Node, SubqueryKind};
use crate::sql::parse::change::{Assignment, Change, Filled, Overriding, is_default};

impl Binder<'_> {
    /// A column by its name, which the statement fills. 42703 where the session does not see it, 42501 where it sees
    /// something else: nobody can know what their value would replace.
    pub(super) fn assigned_column(&self, filled: &Filled, target: &Target, replaces: bool) -> Result<usize> {
        let (folded, at) = (folded(&filled.name), self.at(filled.name.span));
        let found = target.columns.iter().position(|column| column.named && column.stored.name == folded);
        let Some(found) = found else {
            let text = format!("column \"{folded}\" of relation \"{}\" does not exist", target.found.name);
            return Err(Error::new(Kind::UndefinedColumn, text).at(at));
        };
        if filled.part {
            return Err(Error::unsupported("assignment to a part of a column").at(at));
        }
        if replaces && target.columns.get(found).is_some_and(TargetColumn::is_masked) {
            let text = format!("permission denied for column {folded}");
            let detail = "The column is masked, and a masked column cannot be changed.";
            return Err(Error::new(Kind::PermissionDenied, text).with_detail(detail).at(at));
        }
        Ok(found)
    }

    /// INSERT's columns: all that statements may name, or those that are named.
    pub(super) fn filled(&self, names: &[Filled], target: &Target) -> Result<Vec<usize>> {
        if names.is_empty() {
            let all = target.columns.iter().enumerate().filter(|(_, column)| column.named);
            return Ok(all.map(|(at, _)| at).collect());
        }
        let mut filled = vec![];
        for name in names {
            let column = self.assigned_column(name, target, false)?;
            if filled.contains(&column) {
                let text = format!("column \"{}\" specified more than once", folded(&name.name));
                return Err(Error::new(Kind::DuplicateColumn, text).at(self.at(name.name.span)));
            }
            filled.push(column);
        }
        Ok(filled)
    }

    /// SET: the new value of each column that has one, and which of them are to be what its default is.
    pub(super) fn assignments(
        &self,
        change: &Change,
        set: &[Assignment],
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<(BTreeMap<usize, Expr>, Vec<usize>)> {
        let (mut values, mut defaults) = (BTreeMap::new(), vec![]);
        let mut twice = None;
        for assignment in set {
            let ast = change.expr(assignment.value)?;
            let given = scope.at_place(Place::Update, || self.given(ast, assignment, scope))?;
            for (name, value) in assignment.columns.iter().zip(given) {
                let column = self.assigned_column(name, target, true)?;
                let identity = target.columns.get(column).and_then(|column| column.identity);
                if identity == Some(Identity::Always) && value.is_some() {
                    let name = folded(&name.name);
                    return Err(always(format!("column \"{name}\" can only be updated to DEFAULT"), &name));
                }
                if value.is_none() {
                    defaults.push(column);
                }
                let value = self.value_for(value, target, column)?;
                if values.insert(column, value).is_some() {
                    twice.get_or_insert_with(|| folded(&name.name));
                }
            }
        }
        match twice {
            None => Ok((values, defaults)),
            Some(name) => Err(Error::new(Kind::Syntax, format!("multiple assignments to same column \"{name}\""))),
        }
    }

    /// As many values as the assignment has columns; `None` for DEFAULT.
    fn given(&self, ast: &Ast, assignment: &Assignment, scope: &Scope<'_>) -> Result<Vec<Option<Expr>>> {
        let one = |ast: &Ast| if is_default(ast) { Ok(None) } else { self.expr(ast, scope).map(Some) };
        if !assignment.several {
            return Ok(vec![one(ast)?]);
        }
        let at = assignment.at;
        let counted = |count: usize| match count == assignment.columns.len() {
            true => Ok(()),
            false => Err(Error::new(Kind::Syntax, "number of columns does not match number of values").at(at)),
        };
        match ast {
            Ast::Subquery(query) => {
                let each = self.columns_of_query(query, at, scope)?;
                counted(each.len())?;
                Ok(each.into_iter().map(Some).collect())
            }
            Ast::Tuple(items) => {
                counted(items.len())?;
                items.iter().map(one).collect()
            }
            other => match self.expr(other, scope)?.kind {
                Node::Row(fields) => {
                    counted(fields.len())?;
                    Ok(fields.into_iter().map(Some).collect())
                }
                _ => {
                    let text = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                    Err(Error::new(Kind::Unsupported, text).at(at))
                }
            },
        }
    }

    /// Each column of its one row.
    fn columns_of_query(&self, query: &AstQuery, at: usize, scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let query = self.query(query, &Scope::inside(scope), true)?;
        let each = query.columns.iter().map(|column| {
            let alone = self.projected(query.clone(), vec![column.expr(0)]);
            let (ty, data_type) = (column.ty, column.data_type.clone());
            let node = Node::Subquery { kind: SubqueryKind::Scalar, query: Box::new(alone) };
            Expr::lying(node, ty, data_type, at)
        });
        Ok(each.collect())
    }

    /// A value as the target's column stores it, lying as it lies in expressions; `None` is its default.
    pub(super) fn value_for(&self, value: Option<Expr>, target: &Target, column: usize) -> Result<Expr> {
        let column = target.columns.get(column).ok_or_else(|| Error::internal("a target without that column"))?;
        let stored = super::StoredAs { data_type: canonical(&column.stored.data_type), ..column.stored.clone() };
        let value = match (value, &column.default) {
            (Some(value), _) => value,
            (None, None) => Expr::null(0),
            (None, Some(default)) => self.default(default)?,
        };
        self.assigned(value, &stored)
    }

    /// What an INSERT gives a column; nothing where it keeps a value of its own (`rewriteTargetListIU`).
    pub(super) fn inserted(
        &self,
        value: Option<Expr>,
        target: &Target,
        column: usize,
        overriding: Option<Overriding>,
    ) -> Result<Option<Expr>> {
        let column = target.columns.get(column);
        match (column.and_then(|column| column.identity), overriding) {
            (Some(_), Some(Overriding::User)) => Ok(None),
            (Some(Identity::Always), None) if value.is_some() => {
                let name = column.map_or("", |column| column.stored.name.as_str());
                let text = format!("cannot insert a non-DEFAULT value into column \"{name}\"");
                Err(always(text, name).with_hint("Use OVERRIDING SYSTEM VALUE to override."))
            }
            (Some(Identity::Always | Identity::ByDefault) | None, _) => Ok(value),
        }
    }

    /// It stands in a text of its own and sees no column.
    fn default(&self, default: &Ast) -> Result<Expr> {
        let root = Scope::root();
        self.without_notes(|| self.expr(default, &Scope::inside(&root))).map_err(Error::without_position)
    }
}

fn always(text: String, column: &str) -> Error {
    let detail = format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS.");
    Error::new(Kind::GeneratedAlways, text).with_detail(detail)
}
