//! A query with its ORDER BY and LIMIT, and one SELECT (analyze.c, `transformSelectStmt`).

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr as Ast, SetExpr};

use super::cte::Bodied;
use super::from::Bound;
use super::name::folded;
use super::order::Keys;
use super::scope::{Item, Place, Scope};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::expr::{ColumnId, Expr, Kind as Node};
use crate::sql::image::CastContext;
use crate::sql::query::{Body, Column, Distinct, Query, Select, Target};
use crate::sql::resolve::cast;

/// One SELECT: what comes out, in which order, and what its FROM brought.
struct Selected {
    body: Body,
    columns: Vec<Column>,
    order: Vec<crate::sql::expr::Sort>,
    items: Vec<Item>,
}

impl Binder<'_> {
    /// `settle`: untyped literals among the columns become text; a part of a set operation keeps them.
    pub(super) fn query(&self, query: &ast::Query, scope: &Scope<'_>, settle: bool) -> Result<Query> {
        let mut level = Scope::inside(scope);
        let ctes = match &query.with {
            Some(with) => self.with(with, &mut level)?,
            None => vec![],
        };
        let keys = Keys::of(query.order_by.as_ref())?;
        let (body, columns, order) = match query.body.as_ref() {
            SetExpr::Select(select) => {
                let selected = self.select(select, keys, &level, settle)?;
                level.items = selected.items;
                (selected.body, selected.columns, selected.order)
            }
            other => {
                let (body, columns) = self.body(other, &level, settle)?;
                let order = self.order_by_output(keys, &columns, &level)?;
                (body, columns, order)
            }
        };
        let (limit, offset, with_ties) = self.limits(query, &level)?;
        if with_ties && order.is_empty() {
            let text = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::new(Kind::Syntax, text));
        }
        let ctes = ctes.into_iter().map(super::cte::Counted::finish).collect();
        let bound = Query { ctes, body, order, offset, limit, with_ties, columns };
        self.check_locks(query, &bound)?;
        Ok(bound)
    }

    /// What stands inside set operations too, without an ORDER BY of its own.
    pub(super) fn body(&self, body: &SetExpr, scope: &Scope<'_>, settle: bool) -> Result<Bodied> {
        match body {
            SetExpr::Select(select) => {
                let Selected { body, columns, .. } = self.select(select, Keys::none(), scope, settle)?;
                Ok((body, columns))
            }
            SetExpr::Query(query) => {
                let inner = self.query(query, &Scope::inside(scope), settle)?;
                Ok(self.as_body(inner))
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(left, *op, *set_quantifier, right, scope)
            }
            SetExpr::Values(values) => self.values(values, scope),
            SetExpr::Table(table) => self.whole_table(table, scope),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Error::unsupported("a statement that writes inside a query"))
            }
        }
    }

    /// A query with clauses of its own, in the place of a body: `SELECT * FROM (query)`.
    fn as_body(&self, query: Query) -> Bodied {
        let plain = query.ctes.is_empty() && query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
        if plain {
            return (query.body, query.columns);
        }
        let outputs = query.columns.iter().map(|c| c.expr(0)).collect();
        let query = self.projected(query, outputs);
        (query.body, query.columns)
    }

    fn whole_table(&self, table: &ast::Table, scope: &Scope<'_>) -> Result<Bodied> {
        // the parser keeps the words without their quotes, so they are looked for as they stand and folded
        let word = |text: &String| ast::ObjectNamePart::Identifier(ast::Ident::with_quote('"', text.as_str()));
        let parts = table.schema_name.iter().chain(&table.table_name).map(word).collect();
        let factor = ast::TableFactor::Table {
            name: ast::ObjectName(parts),
            alias: None,
            args: None,
            with_hints: vec![],
            version: None,
            with_ordinality: false,
            partitions: vec![],
            json_path: None,
            sample: None,
            index_hints: vec![],
        };
        let from = [ast::TableWithJoins { relation: factor, joins: vec![] }];
        let bound = self.from(&from, scope)?.ok_or_else(|| Error::internal("TABLE without a table"))?;
        let targets: Vec<Target> = bound.items.iter().flat_map(|i| &i.columns).map(|c| self.target_of(c)).collect();
        let columns = targets.iter().map(|t| t.column.clone()).collect();
        let select = Select {
            from: Some(bound.relation),
            filter: None,
            groups: None,
            having: None,
            targets,
            distinct: Distinct::None,
        };
        Ok((Body::Select(Box::new(select)), columns))
    }

    fn target_of(&self, column: &Column) -> Target {
        let expr = column.expr(0);
        Target { column: self.column_of(column.name.clone(), &expr), expr }
    }

    fn select(&self, select: &ast::Select, keys: Keys<'_>, outer: &Scope<'_>, settle: bool) -> Result<Selected> {
        if select.into.is_some() {
            return Err(Error::unsupported("SELECT INTO"));
        }
        let bound = self.from(&select.from, outer)?;
        let (relation, items) = match bound {
            Some(Bound { relation, items }) => (Some(relation), items),
            None => (None, vec![]),
        };
        let scope = Scope { level: Some(self.level_id()), ..Scope::of(outer, items) };
        for ast::NamedWindowDefinition(name, spec) in &select.named_window {
            let ast::NamedWindowExpr::WindowSpec(spec) = spec else {
                return Err(syntax_error(&name.value, self.at(name.span)));
            };
            let name_ = folded(name);
            if scope.windows.borrow().iter().any(|(n, _)| *n == name_) {
                let text = format!("window \"{name_}\" is already defined");
                let at = self.before("(", self.at(name.span));
                return Err(Error::new(Kind::Windowing, text).at(at));
            }
            scope.windows.borrow_mut().push((name_, spec.clone()));
        }
        let mut targets = self.targets(&select.projection, &scope, settle)?;
        let shown = targets.len();
        let filter = select.selection.as_ref();
        let filter = filter.map(|f| scope.at_place(Place::Where, || self.condition(f, &scope, "WHERE"))).transpose()?;
        let having = select.having.as_ref();
        let having =
            having.map(|h| scope.at_place(Place::Having, || self.condition(h, &scope, "HAVING"))).transpose()?;
        // ORDER BY before GROUP BY: both may name outputs, and neither changes them
        let order = self.order_by_targets(keys, &mut targets, &scope)?;
        let groups = self.groups(&select.group_by, &mut targets, having.is_some(), &scope)?;
        let distinct = self.distinct_clause(select.distinct.as_ref(), &mut targets, shown, &order, &scope)?;
        if let Some(groups) = &groups {
            for target in &targets {
                self.check_grouped(&target.expr, groups, &scope)?;
            }
            if let Some(having) = &having {
                self.check_grouped(having, groups, &scope)?;
            }
        }
        let columns = targets.iter().take(shown).map(|t| t.column.clone()).collect();
        let body = Select { from: relation, filter, groups, having, targets, distinct };
        self.check_last_round(&body, &scope)?;
        Ok(Selected { body: Body::Select(Box::new(body)), columns, order, items: scope.items })
    }

    fn targets(&self, list: &[ast::SelectItem], scope: &Scope<'_>, settle: bool) -> Result<Vec<Target>> {
        let mut targets = vec![];
        for item in list {
            match item {
                ast::SelectItem::UnnamedExpr(ast) => {
                    let name = super::name::of_target(ast);
                    targets.push(self.target(name, ast, scope, settle)?);
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    targets.push(self.target(folded(alias), expr, scope, settle)?);
                }
                ast::SelectItem::ExprWithAliases { expr, .. } => {
                    return Err(syntax_error("(", self.after(expr)));
                }
                ast::SelectItem::Wildcard(options) => {
                    if scope.items.is_empty() {
                        let text = "SELECT * with no tables specified is not valid";
                        return Err(Error::new(Kind::Syntax, text).at(self.at(options.wildcard_token.0.span)));
                    }
                    let columns: Vec<Column> =
                        scope.items.iter().filter(|i| i.bare).flat_map(Item::star).cloned().collect();
                    self.note_star(options.wildcard_token.0.span, columns.iter(), scope);
                    targets.extend(columns.iter().map(|c| self.target_of(c)));
                }
                ast::SelectItem::QualifiedWildcard(kind, options) => {
                    let star = self.qualified_star(kind, scope)?;
                    if let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind {
                        let span = ast::Spanned::span(name).union(&options.wildcard_token.0.span);
                        self.note_targets(span, &star, scope);
                    }
                    targets.extend(star);
                }
            }
        }
        Ok(targets)
    }

    fn target(&self, name: String, ast: &Ast, scope: &Scope<'_>, settle: bool) -> Result<Target> {
        let expr = self.expr(ast, scope)?;
        let expr = if settle { self.settled(expr)? } else { expr };
        Ok(Target { column: self.column_of(name, &expr), expr })
    }

    /// An untyped literal or parameter that leaves the query is text.
    fn settled(&self, expr: Expr) -> Result<Expr> {
        match (&expr.kind, expr.ty.is_unknown()) {
            (Node::Parameter(_), true) => {
                let at = expr.at;
                let coerced = cast::coerce(self.cx, expr, Ty::TEXT, CastContext::Implicit)?;
                coerced.ok_or_else(|| Error::internal("a parameter is no text").at(at))
            }
            _ => cast::unknown_to_text(self.cx, expr),
        }
    }

    fn qualified_star(&self, kind: &ast::SelectItemQualifiedWildcardKind, scope: &Scope<'_>) -> Result<Vec<Target>> {
        let name = match kind {
            ast::SelectItemQualifiedWildcardKind::ObjectName(name) => name,
            ast::SelectItemQualifiedWildcardKind::Expr(ast) => {
                let record = self.expr(ast, scope)?;
                return self.fields_of(&record);
            }
        };
        let at = self.at_of(name);
        let path = super::name::segments(name);
        let (schema, table) = match path.as_slice() {
            [table] => (None, table.as_str()),
            [schema, table] | [_, schema, table] => (Some(schema.as_str()), table.as_str()),
            _ => return Err(syntax_error("*", at)),
        };
        match self.item(schema, table, at, scope)? {
            Some(item) => Ok(item.star().map(|c| self.target_of(c)).collect()),
            None => Err(super::scope::missing_from(table, at, scope)),
        }
    }

    /// An element of a row: a star stands for several.
    pub(super) fn expanded(&self, item: &Ast, scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let targets = match item {
            Ast::QualifiedWildcard(name, _) => {
                self.qualified_star(&ast::SelectItemQualifiedWildcardKind::ObjectName(name.clone()), scope)?
            }
            Ast::CompoundFieldAccess { root, access_chain } => match access_chain.split_last() {
                Some((ast::AccessExpr::Dot(Ast::Wildcard(_)), [])) => self.fields_of(&self.expr(root, scope)?)?,
                Some((ast::AccessExpr::Dot(Ast::Wildcard(_)), rest)) => {
                    let (root, access_chain) = (root.clone(), rest.to_vec());
                    self.fields_of(&self.expr(&Ast::CompoundFieldAccess { root, access_chain }, scope)?)?
                }
                _ => return Ok(vec![self.expr(item, scope)?]),
            },
            one => return Ok(vec![self.expr(one, scope)?]),
        };
        Ok(targets.into_iter().map(|target| target.expr).collect())
    }

    /// `(record).*`.
    fn fields_of(&self, record: &Expr) -> Result<Vec<Target>> {
        let arrow::datatypes::DataType::Struct(fields) = record.data_type.clone() else {
            let text = format!("type {} is not composite", record.ty.name());
            return Err(Error::new(Kind::WrongObjectType, text).at(record.at));
        };
        let each = fields.iter().enumerate().map(|(index, field)| {
            let ty = crate::pgtype::of_field(field)?;
            let of = Box::new(record.clone());
            let expr = Expr::lying(Node::Field { of, index }, ty, field.data_type().clone(), record.at);
            Ok(Target { column: self.column_of(field.name().clone(), &expr), expr })
        });
        each.collect()
    }

    fn distinct_clause(
        &self,
        distinct: Option<&ast::Distinct>,
        targets: &mut Vec<Target>,
        shown: usize,
        order: &[crate::sql::expr::Sort],
        scope: &Scope<'_>,
    ) -> Result<Distinct> {
        match distinct {
            None | Some(ast::Distinct::All) => Ok(Distinct::None),
            Some(ast::Distinct::Distinct) => {
                for target in targets.iter() {
                    self.comparable(&target.expr, "=")?;
                }
                if let Some(hidden) = targets.get(shown) {
                    let text = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return Err(Error::new(Kind::InvalidColumnReference, text).at(hidden.expr.at));
                }
                Ok(Distinct::All)
            }
            Some(ast::Distinct::On(list)) => {
                let mut places: Vec<(ColumnId, usize)> = vec![];
                for ast in list {
                    let id =
                        scope.at_place(Place::DistinctOn, || self.key_target(ast, targets, "DISTINCT ON", scope))?;
                    if places.iter().all(|(known, _)| *known != id) {
                        places.push((id, self.at_of(ast)));
                    }
                }
                // the keys of ORDER BY, as far as they go, are those of DISTINCT ON, in any order
                let (mut met, mut skipped) = (vec![], false);
                let sorted = order.iter().filter_map(|sort| match sort.by.kind {
                    Node::Column(id) => Some(id),
                    _ => None,
                });
                for id in sorted.chain(places.iter().map(|(id, _)| *id)) {
                    match places.iter().find(|(known, _)| *known == id) {
                        None => skipped = true,
                        Some((_, at)) if skipped && !met.contains(&id) => {
                            let text = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
                            return Err(Error::new(Kind::InvalidColumnReference, text).at(*at));
                        }
                        Some(_) => met.push(id),
                    }
                }
                Ok(Distinct::On(places.into_iter().map(|(id, _)| id).collect()))
            }
        }
    }

    fn limits(&self, query: &ast::Query, scope: &Scope<'_>) -> Result<(Option<Expr>, Option<Expr>, bool)> {
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|o| &o.value))
            }
            Some(ast::LimitClause::LimitOffset { .. } | ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(Error::new(Kind::Syntax, "LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
        };
        let mut with_ties = false;
        let limit = match &query.fetch {
            Some(fetch) if fetch.percent => return Err(syntax_error("PERCENT", 0)),
            Some(fetch) => {
                with_ties = fetch.with_ties;
                match &fetch.quantity {
                    Some(quantity) => Some(self.count(quantity, "FETCH", Place::Limit, scope)?),
                    None => Some(Expr::constant(ScalarValue::Int64(Some(1)), Ty::INT8, 0)),
                }
            }
            None => limit.map(|l| self.count(l, "LIMIT", Place::Limit, scope)).transpose()?,
        };
        let offset = offset.map(|o| self.count(o, "OFFSET", Place::Offset, scope)).transpose()?;
        Ok((limit, offset, with_ties))
    }

    fn count(&self, ast: &Ast, what: &str, place: Place, scope: &Scope<'_>) -> Result<Expr> {
        let expr = scope.at_place(place, || self.expr(ast, scope))?;
        let (at, ty) = (expr.at, expr.ty);
        if expr.any(&|e| matches!(e.kind, Node::Column(id) if scope.owns(id))) {
            let text = format!("argument of {what} must not contain variables");
            return Err(Error::new(Kind::InvalidColumnReference, text).at(at));
        }
        let wrong = || {
            let text = format!("argument of {what} must be type bigint, not type {}", ty.name());
            Error::new(Kind::TypeMismatch, text).at(at)
        };
        cast::coerce(self.cx, expr, Ty::INT8, CastContext::Assignment)?.ok_or_else(wrong)
    }
}
