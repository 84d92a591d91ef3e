//! FROM: tables, subqueries, functions, joins (parse_clause.c).

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{self, Expr as Ast, JoinConstraint, JoinOperator, TableFactor};

use super::name::{folded, segments};
use super::scope::{Item, Place, Scope, Side};
use super::source_query::is_source_query;
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::parse::encoding;
use crate::sql::query::{Column, FunctionCall, Join, JoinKind, Relation, SourceOf};
use crate::sql::resolve::{cast, common};
use crate::types::AsOf;

/// A function in FROM.
struct Called {
    name: String,
    expr: Expr,
    /// `(a int, b text)` behind it.
    definitions: Vec<ast::TableAliasColumnDef>,
}

/// A relation and what names it brings.
pub(super) struct Bound {
    pub(super) relation: Relation,
    pub(super) items: Vec<Item>,
}

impl Binder<'_> {
    /// All of FROM; its items are what the rest of the SELECT sees. LATERAL parts see those before them.
    pub(super) fn from(&self, from: &[ast::TableWithJoins], scope: &Scope<'_>) -> Result<Option<Bound>> {
        let mut whole: Option<Bound> = None;
        for part in from {
            let before = whole.as_ref().map_or(vec![], |b| b.items.clone());
            let next = self.joined(part, &before, scope)?;
            whole = Some(match whole {
                None => next,
                Some(left) => {
                    check_names(&left.items, &next.items)?;
                    let lateral = is_lateral(&next.relation);
                    let join = Join {
                        kind: JoinKind::Inner,
                        left: left.relation,
                        right: next.relation,
                        on: None,
                        lateral,
                        merged: vec![],
                        present: (None, None),
                    };
                    let items = left.items.into_iter().chain(next.items).collect();
                    Bound { relation: Relation::Join(Box::new(join)), items }
                }
            });
        }
        Ok(whole)
    }

    fn joined(&self, part: &ast::TableWithJoins, before: &[Item], scope: &Scope<'_>) -> Result<Bound> {
        let mut left = self.factor(&part.relation, before, scope)?;
        for join in &part.joins {
            left = self.join(left, join, before, scope)?;
        }
        Ok(left)
    }

    fn join(&self, left: Bound, join: &ast::Join, before: &[Item], scope: &Scope<'_>) -> Result<Bound> {
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
            other => return Err(syntax_error(&format!("{other:?}"), 0)),
        };
        let mut seen = before.to_vec();
        // RIGHT and FULL may not read sideways: the items are there, but not to be used
        let usable = matches!(kind, JoinKind::Inner | JoinKind::Left);
        seen.extend(
            left.items
                .iter()
                .cloned()
                .map(|item| Item { side: if usable { item.side } else { item.side.max(Side::Joined) }, ..item }),
        );
        let mut right = self.factor(&join.relation, &seen, scope)?;
        check_names(&left.items, &right.items)?;
        let mut left = left;
        let present = (
            self.marked(&mut left, matches!(kind, JoinKind::Right | JoinKind::Full)),
            self.marked(&mut right, matches!(kind, JoinKind::Left | JoinKind::Full)),
        );
        let lateral = is_lateral(&right.relation);
        let cross = matches!(join.join_operator, JoinOperator::CrossJoin(_));
        let mut items: Vec<Item> = left.items.iter().chain(&right.items).cloned().collect();
        let mut join_alias = None;
        let (on, using) = match constraint {
            JoinConstraint::None if cross => (None, None),
            JoinConstraint::None => return Err(syntax_error("end of input", 0)),
            JoinConstraint::On(_) if cross => return Err(syntax_error("ON", 0)),
            JoinConstraint::On(condition) => {
                let inner = Scope::of(scope, before.iter().chain(&items).cloned().collect());
                inner.place.set(Place::JoinOn);
                (Some(self.condition(condition, &inner, "JOIN/ON")?), None)
            }
            JoinConstraint::Using(names) => {
                let (names, named) = encoding::without_join_alias(names);
                join_alias = named;
                let names = names.iter().map(|n| segments(n).pop().unwrap_or_default()).collect::<Vec<_>>();
                (None, Some(names))
            }
            JoinConstraint::Natural => {
                self.note_natural()?;
                (None, Some(common_names(&left.items, &right.items)))
            }
        };
        let Some(names) = using else {
            let join = Join { kind, left: left.relation, right: right.relation, on, lateral, merged: vec![], present };
            return Ok(Bound { relation: Relation::Join(Box::new(join)), items });
        };
        let (mut tests, mut merged, mut shown) = (vec![], vec![], vec![]);
        let mut taken: Vec<(Column, Column)> = vec![];
        for name in &names {
            let l = only_column(&left.items, name, "left")?;
            let r = only_column(&right.items, name, "right")?;
            tests.push(self.compare("=", l.expr(0), r.expr(0), 0)?);
            taken.push((l, r));
        }
        for (name, (l, r)) in names.iter().zip(&taken) {
            let (both, ty, data_type) = common::to_common(self.cx, vec![l.expr(0), r.expr(0)], "JOIN/USING")?;
            let plain = |expr: &Expr| matches!(expr.kind, Node::Column(_));
            let mut both = both.into_iter();
            let (Some(left), Some(right)) = (both.next(), both.next()) else { continue };
            let one = match kind {
                JoinKind::Inner | JoinKind::Left => left,
                JoinKind::Right => right,
                JoinKind::Full => Expr::lying(Node::Coalesce(vec![left, right]), ty, data_type, 0),
            };
            match (&one.kind, plain(&one)) {
                (Node::Column(id), true) => {
                    shown.push(Column { id: *id, name: name.clone(), ty: one.ty, data_type: one.data_type.clone() });
                }
                _ => {
                    let column = self.column_of(name.clone(), &one);
                    shown.push(column.clone());
                    merged.push((column, one));
                }
            }
        }
        let on = match tests.len() {
            0 => None,
            1 => tests.pop(),
            _ => Some(Expr::boolean(Node::And(tests), 0)),
        };
        let merged_item = join_alias.map(|alias| Item {
            alias: Some(folded(alias)),
            schema: None,
            columns: shown.clone(),
            bare: false,
            side: Side::Open,
            scalar: false,
            starred: None,
            relation: None,
            fields: None,
            present: None,
            tableoid: None,
        });
        // merged columns first, then the left's others, then the right's
        let rest = |side: &[Item], pick: fn(&(Column, Column)) -> &Column| {
            let mut columns = vec![];
            for item in side.iter().filter(|i| i.bare) {
                columns.extend(item.columns.iter().filter(|c| !taken.iter().any(|t| pick(t).id == c.id)).cloned());
            }
            columns
        };
        shown.extend(rest(&left.items, |t| &t.0));
        shown.extend(rest(&right.items, |t| &t.1));
        for item in &mut items {
            item.bare = false;
        }
        items.push(Item {
            alias: None,
            schema: None,
            columns: shown,
            bare: true,
            side: Side::Open,
            scalar: false,
            starred: None,
            relation: None,
            fields: None,
            present: None,
            tableoid: None,
        });
        if let Some(item) = merged_item {
            check_names(&items, std::slice::from_ref(&item))?;
            items.push(item);
        }
        let join = Join { kind, left: left.relation, right: right.relation, on, lateral, merged, present };
        Ok(Bound { relation: Relation::Join(Box::new(join)), items })
    }

    /// A side whose rows may be missing has a column by which its whole rows know it.
    fn marked(&self, side: &mut Bound, missing: bool) -> Option<Column> {
        let unmarked = |item: &Item| item.alias.is_some() && item.present.is_none();
        if !missing || !side.items.iter().any(unmarked) {
            return None;
        }
        let (id, name) = (self.column_id(), "present".to_owned());
        let column = Column { id, name, ty: Ty::BOOL, data_type: DataType::Boolean };
        for item in side.items.iter_mut().filter(|item| unmarked(item)) {
            item.present = Some(column.clone());
        }
        Some(column)
    }

    fn factor(&self, factor: &TableFactor, before: &[Item], scope: &Scope<'_>) -> Result<Bound> {
        match factor {
            TableFactor::Table { name, alias, args: None, version, with_ordinality: false, sample, .. } => {
                let version = version.as_ref().map(|version| self.version(version)).transpose()?;
                let table = self.table(name, version.as_ref(), alias.as_ref(), scope)?;
                match sample {
                    None => Ok(table),
                    Some(sample) => self.sampled(table, sample, self.at_of(name), before, scope),
                }
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } if is_source_query(name) => {
                self.source_query(name, &args.args, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } if is_source_query(name) => {
                self.source_query(name, args, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_call(name, &args.args, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } if encoding::is_rows_from(name) => {
                self.rows_from(args, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.function_call(name, args, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
                self.unnest(array_exprs, *with_ordinality, alias.as_ref(), before, scope)
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.derived(*lateral, subquery, alias.as_ref(), before, scope)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let inner = self.joined(table_with_joins, before, scope)?;
                let Some(alias) = alias else { return Ok(inner) };
                let columns = inner.items.iter().filter(|i| i.bare).flat_map(|i| i.columns.clone()).collect();
                let name = folded(&alias.name);
                let columns = self.renamed(columns, alias, "join expression", &name)?;
                let item = Item {
                    alias: Some(name),
                    schema: None,
                    columns,
                    bare: true,
                    side: Side::Open,
                    scalar: false,
                    starred: None,
                    relation: None,
                    fields: None,
                    present: None,
                    tableoid: None,
                };
                let gone = inner.items.into_iter().map(|item| Item { bare: false, side: Side::Gone, ..item });
                let items = std::iter::once(item).chain(gone).collect();
                Ok(Bound { relation: inner.relation, items })
            }
            other => Err(syntax_error(&other.to_string(), 0)),
        }
    }

    fn table(
        &self,
        name: &ast::ObjectName,
        version: Option<&AsOf>,
        alias: Option<&ast::TableAlias>,
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let at = self.at_of(name);
        let path = segments(name);
        if let [only] = path.as_slice()
            && let Some(cte) = scope.cte(only)
        {
            if version.is_some() {
                return Err(Error::unsupported(format!("reading WITH query \"{only}\" as it was")).at(at));
            }
            cte.references.set(cte.references.get() + 1);
            let columns: Vec<Column> =
                cte.columns.iter().map(|c| Column { id: self.column_id(), ..c.clone() }).collect();
            let shown = alias.map_or_else(|| only.clone(), |a| folded(&a.name));
            let named = match alias {
                Some(alias) => self.renamed(columns.clone(), alias, "table", &shown)?,
                None => columns.clone(),
            };
            let relation = Relation::Cte { cte: cte.id, columns };
            let mut whole = bound(relation, shown, None, named, false);
            whole.items.iter_mut().for_each(|item| item.starred = cte.own);
            return Ok(whole);
        }
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(named) = self.relations.query(&segments)? {
            if version.is_some() {
                return Err(Error::unsupported(format!("reading view \"{}\" as it was", named.name)).at(at));
            }
            return self.named(name, named, alias);
        }
        let found =
            self.relations.find(&segments, version).map_err(|e| if e.position().is_none() { e.at(at) } else { e })?;
        let undefined = || undefined(&path, scope).at(at);
        let found = found.ok_or_else(undefined)?;
        self.note_table(name, &found);
        let schema = found.table.schema();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let ty = pgtype::of_field(field)?;
            let data_type = canonical(field.data_type());
            columns.push(Column { id: self.column_id(), name: field.name().clone(), ty, data_type });
        }
        let shown = alias.map_or_else(|| found.name.clone(), |a| folded(&a.name));
        let named = match alias {
            Some(alias) => self.renamed(columns.clone(), alias, "table", &shown)?,
            None => columns.clone(),
        };
        let source = SourceOf {
            name: format!("{}.{}", found.schema, found.name),
            table: found.table,
            is_materialized: found.is_materialized,
        };
        let schema = alias.is_none().then_some(found.schema);
        let own = columns.iter().map(|column| column.name.clone()).collect();
        let relation = Relation::Table { alias: shown.clone(), source, columns };
        let mut table = bound(relation, shown, schema, named, false);
        for item in &mut table.items {
            item.fields = Some(Vec::clone(&own));
            item.relation = Some(found.name.clone());
            item.tableoid = Some(found.oid);
        }
        Ok(table)
    }

    fn named(&self, name: &ast::ObjectName, named: super::Named, alias: Option<&ast::TableAlias>) -> Result<Bound> {
        self.note_name(name, &named.schema, &named.name);
        let query = self.without_notes(|| self.query(&named.query, &Scope::root(), true))?;
        let columns = query.columns.iter().zip(&named.columns);
        let columns: Vec<Column> =
            columns.map(|(c, name)| Column { id: self.column_id(), name: name.clone(), ..c.clone() }).collect();
        let shown = alias.map_or_else(|| named.name.clone(), |a| folded(&a.name));
        let shown_columns = match alias {
            Some(alias) => self.renamed(columns.clone(), alias, "table", &shown)?,
            None => columns.clone(),
        };
        let schema = alias.is_none().then_some(named.schema);
        let relation = Relation::Subquery { query: Box::new(query), columns, lateral: false };
        Ok(bound(relation, shown, schema, shown_columns, false))
    }

    fn derived(
        &self,
        lateral: bool,
        subquery: &ast::Query,
        alias: Option<&ast::TableAlias>,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let Some(alias) = alias else {
            let values = matches!(subquery.body.as_ref(), ast::SetExpr::Values(_));
            let (what, example) = match values {
                true => ("VALUES", "(VALUES ...) [AS] foo"),
                false => ("subquery", "(SELECT ...) [AS] foo"),
            };
            let text = format!("{what} in FROM must have an alias");
            let hint = format!("For example, FROM {example}.");
            return Err(Error::new(Kind::Syntax, text).with_hint(hint).at(self.at_of(subquery).saturating_sub(1)));
        };
        // without LATERAL the names beside it are known, and refused with a hint
        let side = before
            .iter()
            .cloned()
            .map(|item| Item { side: if lateral { item.side } else { item.side.max(Side::Hidden) }, ..item });
        let around = Scope::of(scope, side.collect());
        around.place.set(Place::FromSubquery);
        let query = self.query(subquery, &Scope::inside(&around), true)?;
        let columns: Vec<Column> = query.columns.iter().map(|c| Column { id: self.column_id(), ..c.clone() }).collect();
        let name = folded(&alias.name);
        let named = self.renamed(columns.clone(), alias, "table", &name)?;
        let relation = Relation::Subquery { query: Box::new(query), columns, lateral };
        Ok(bound(relation, name, None, named, false))
    }

    /// Names of an alias list over columns, from the left.
    pub(super) fn renamed(
        &self,
        mut columns: Vec<Column>,
        alias: &ast::TableAlias,
        what: &str,
        name: &str,
    ) -> Result<Vec<Column>> {
        if alias.columns.len() > columns.len() {
            let text = format!(
                "{what} \"{name}\" has {} columns available but {} columns specified",
                columns.len(),
                alias.columns.len()
            );
            return Err(Error::new(Kind::InvalidColumnReference, text));
        }
        for (column, alias) in columns.iter_mut().zip(&alias.columns) {
            column.name = folded(&alias.name);
        }
        Ok(columns)
    }

    fn function_call(
        &self,
        name: &ast::ObjectName,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let path = segments(name);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if !ordinality && let Some(named) = self.relations.called(&path, arguments)? {
            return self.named(name, named, alias);
        }
        let call = Ast::Function(ast::Function {
            name: name.clone(),
            uses_odbc_syntax: false,
            parameters: ast::FunctionArguments::None,
            args: ast::FunctionArguments::List(ast::FunctionArgumentList {
                duplicate_treatment: None,
                args: arguments.to_vec(),
                clauses: vec![],
            }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: vec![],
        });
        let made = self.in_from(before, scope, |inner| self.called_in_from(&call, &[], inner))?;
        self.function_relation(vec![made], ordinality, alias)
    }

    /// Whatever calls stand in FROM: they read what stands before them without the word LATERAL.
    pub(super) fn in_from<T>(
        &self,
        before: &[Item],
        scope: &Scope<'_>,
        bind: impl FnOnce(&Scope<'_>) -> Result<T>,
    ) -> Result<T> {
        let around = Scope::of(scope, before.to_vec());
        around.place.set(Place::FromFunction);
        let inner = Scope::inside(&around);
        inner.place.set(Place::FromFunction);
        bind(&inner)
    }

    fn called_in_from(&self, call: &Ast, fields: &[ast::StructField], scope: &Scope<'_>) -> Result<Called> {
        let expr = cast::unknown_to_text(self.cx, self.expr(call, scope)?)?;
        if let Some(inner) = expr.children().into_iter().find_map(|child| child.first(&Expr::is_set)) {
            let text = "set-returning functions must appear at top level of FROM";
            return Err(Error::new(Kind::Unsupported, text).at(inner.at));
        }
        let definition = |field: &ast::StructField| {
            let name = field.field_name.clone()?;
            Some(ast::TableAliasColumnDef { name, data_type: Some(field.field_type.clone()) })
        };
        let definitions = fields.iter().filter_map(definition).collect();
        Ok(Called { name: super::name::of_function(call), expr, definitions })
    }

    /// ROWS FROM, and whatever in FROM looks otherwise than an ordinary call.
    fn rows_from(
        &self,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let made = self.in_from(before, scope, |inner| {
            let mut made = vec![];
            for argument in arguments {
                let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument else { continue };
                let (call, fields) = match expr {
                    Ast::Cast { expr, data_type: ast::DataType::Struct(fields, _), .. } => {
                        (expr.as_ref(), fields.as_slice())
                    }
                    call => (call, &[][..]),
                };
                match several_arrays(call) {
                    Some(arrays) => made.extend(self.unnested(&arrays, inner)?),
                    None => made.push(self.called_in_from(call, fields, inner)?),
                }
            }
            Ok(made)
        })?;
        self.function_relation(made, ordinality, alias)
    }

    fn unnest(
        &self,
        arrays: &[Ast],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        if let (true, Some(first)) = (arrays.len() > 1, defined(alias).first()) {
            let text = "UNNEST() with multiple arguments cannot have a column definition list";
            let hint =
                "Use separate UNNEST() calls inside ROWS FROM(), and attach a column definition list to each one.";
            return Err(Error::new(Kind::Syntax, text).with_hint(hint).at(self.at(first.name.span)));
        }
        let made = self.in_from(before, scope, |inner| self.unnested(&arrays.iter().collect::<Vec<_>>(), inner))?;
        self.function_relation(made, ordinality, alias)
    }

    /// A call for each array.
    fn unnested(&self, arrays: &[&Ast], scope: &Scope<'_>) -> Result<Vec<Called>> {
        let each = arrays.iter().map(|array| {
            let array = self.expr(array, scope)?;
            let at = array.at;
            let expr = self.call("unnest", vec![array], at)?;
            Ok(Called { name: "unnest".to_owned(), expr, definitions: vec![] })
        });
        each.collect()
    }

    fn function_relation(
        &self,
        mut made: Vec<Called>,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Bound> {
        let first = made.first().map_or_else(String::new, |called| called.name.clone());
        let table = alias.map_or(first, |a| folded(&a.name));
        let single = made.len() == 1;
        let lateral = true;
        if let Some(first) = defined(alias).first() {
            let at = self.at(first.name.span);
            let wrong = |text: &str, hint: &str| Err(Error::new(Kind::Syntax, text).with_hint(hint).at(at));
            match made.as_mut_slice() {
                [_] if ordinality => {
                    let text = "WITH ORDINALITY cannot be used with a column definition list";
                    return wrong(text, "Put the column definition list inside ROWS FROM().");
                }
                [only] => only.definitions = defined(alias).to_vec(),
                _ => {
                    let text = "ROWS FROM() with multiple functions cannot have a column definition list";
                    let hint = "Put a separate column definition list for each function inside ROWS FROM().";
                    return wrong(text, hint);
                }
            }
        }
        let mut calls = vec![];
        for called in made {
            let (name, definitions) = (called.name, called.definitions);
            let expr = self.defined(called.expr, &definitions)?;
            let mut columns = self.function_columns(&name, &expr, alias, single)?;
            for (column, definition) in columns.iter_mut().zip(&definitions) {
                column.name = folded(&definition.name);
            }
            let proc = match &expr.kind {
                Node::Call(call) => call.proc,
                _ => crate::sql::image::proc_of_source("textin").ok_or_else(|| Error::internal("textin is gone"))?,
            };
            calls.push(FunctionCall { proc, expr, columns });
        }
        let ordinality = ordinality.then(|| Column {
            id: self.column_id(),
            name: "ordinality".into(),
            ty: Ty::INT8,
            data_type: DataType::Int64,
        });
        let mut columns: Vec<Column> = calls.iter().flat_map(|c| c.columns.clone()).chain(ordinality.clone()).collect();
        let scalar = single && ordinality.is_none() && columns.len() == 1;
        if let Some(alias) = alias {
            columns = self.renamed(columns, alias, "table", &table)?;
        }
        let relation = Relation::Functions { calls, ordinality, lateral };
        Ok(bound(relation, table, None, columns, scalar))
    }

    /// A scalar result is called after the alias, a record's fields after themselves.
    fn function_columns(
        &self,
        name: &str,
        expr: &Expr,
        alias: Option<&ast::TableAlias>,
        single: bool,
    ) -> Result<Vec<Column>> {
        let element = match (&expr.kind, &expr.data_type) {
            // a set-returning call's type is that of one row
            (_, DataType::Struct(fields)) => Some(fields.clone()),
            _ => None,
        };
        if let Some(fields) = element {
            let columns = fields.iter().map(|f| {
                let ty = pgtype::of_field(f)?;
                Ok(Column { id: self.column_id(), name: f.name().clone(), ty, data_type: f.data_type().clone() })
            });
            return columns.collect();
        }
        let outputs = match &expr.kind {
            Node::Call(call) => call.proc.outputs.as_slice(),
            _ => &[],
        };
        let shown = match (alias, single, outputs) {
            (_, _, [(output, _)]) if !output.is_empty() => (*output).to_owned(),
            (Some(alias), true, _) => folded(&alias.name),
            _ => name.to_owned(),
        };
        Ok(vec![Column { id: self.column_id(), name: shown, ty: expr.ty, data_type: expr.data_type.clone() }])
    }
}

fn undefined(path: &[String], scope: &Scope<'_>) -> Error {
    let error = Error::new(Kind::UndefinedTable, format!("relation \"{}\" does not exist", path.join(".")));
    match path {
        [only] if scope.levels().any(|level| level.later.contains(only)) => error
            .with_detail(format!(
                "There is a WITH item named \"{only}\", but it cannot be referenced from this part of the query."
            ))
            .with_hint("Use WITH RECURSIVE, or re-order the WITH items to remove forward references."),
        _ => error,
    }
}

pub(super) fn bound(
    relation: Relation,
    alias: String,
    schema: Option<String>,
    columns: Vec<Column>,
    scalar: bool,
) -> Bound {
    let item = Item {
        alias: Some(alias),
        schema,
        columns,
        bare: true,
        side: Side::Open,
        scalar,
        starred: None,
        relation: None,
        fields: None,
        present: None,
        tableoid: None,
    };
    Bound { relation, items: vec![item] }
}

/// How a column of a source lies in expressions.
pub(crate) fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(arrow::datatypes::TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
        }
        other => other.clone(),
    }
}

/// The columns of an alias, if they are definitions.
pub(super) fn defined(alias: Option<&ast::TableAlias>) -> &[ast::TableAliasColumnDef] {
    let columns = alias.map_or(&[][..], |alias| &alias.columns);
    if columns.iter().any(|c| c.data_type.is_some()) { columns } else { &[] }
}

/// The arguments of an `unnest` of several arrays.
fn several_arrays(call: &Ast) -> Option<Vec<&Ast>> {
    let Ast::Function(function) = call else { return None };
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    let arrays = list.args.iter().map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let arrays: Option<Vec<&Ast>> = arrays.collect();
    arrays.filter(|arrays| arrays.len() > 1 && folded(name) == "unnest")
}

fn is_lateral(relation: &Relation) -> bool {
    match relation {
        Relation::Subquery { lateral, .. } | Relation::Functions { lateral, .. } => *lateral,
        Relation::Join(join) => is_lateral(&join.left) || is_lateral(&join.right),
        Relation::Table { .. } | Relation::Cte { .. } => false,
    }
}

/// 42712: two relations of one name.
pub(super) fn check_names(left: &[Item], right: &[Item]) -> Result<()> {
    for item in right.iter().filter(|item| item.side != Side::Gone) {
        let Some(alias) = &item.alias else { continue };
        let same = |other: &&Item| {
            other.side != Side::Gone
                && other.alias.as_ref() == Some(alias)
                && !(other.schema.is_some() && item.schema.is_some() && other.schema != item.schema)
        };
        if left.iter().any(|other| same(&other)) {
            let text = format!("table name \"{alias}\" specified more than once");
            return Err(Error::new(Kind::DuplicateAlias, text));
        }
    }
    Ok(())
}

fn visible(items: &[Item]) -> impl Iterator<Item = &Column> {
    items.iter().filter(|i| i.bare).flat_map(|i| &i.columns)
}

fn only_column(items: &[Item], name: &str, side: &str) -> Result<Column> {
    let mut found = visible(items).filter(|c| c.name == name);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => {
            let text = format!("common column name \"{name}\" appears more than once in {side} table");
            Err(Error::new(Kind::AmbiguousColumn, text))
        }
        (None, _) => {
            let text = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
            Err(Error::new(Kind::UndefinedColumn, text))
        }
    }
}

fn common_names(left: &[Item], right: &[Item]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for column in visible(left) {
        if !names.contains(&column.name) && visible(right).any(|c| c.name == column.name) {
            names.push(column.name.clone());
        }
    }
    names
}
