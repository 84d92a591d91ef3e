//! One expression of the AST (parse_expr.c). Functions, subqueries and the grammar's special forms have files of their own.

use arrow::datatypes::{DataType, Fields};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr as Ast, UnaryOperator};

use super::scope::Scope;
use super::{Binder, literal, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::image::CastContext;
use crate::sql::parse::encoding::{self, SYMMETRIC};
use crate::sql::resolve::{cast, common, operator};

/// MAXDIM.
const DIMENSIONS_MAX: usize = 6;

impl Binder<'_> {
    /// A condition: 42804 where it is no boolean.
    pub(super) fn condition(&self, ast: &Ast, scope: &Scope<'_>, what: &str) -> Result<Expr> {
        let expr = self.expr(ast, scope)?;
        cast::boolean(self.cx, expr, what)
    }

    pub(super) fn exprs(&self, list: &[Ast], scope: &Scope<'_>) -> Result<Vec<Expr>> {
        list.iter().map(|ast| self.expr(ast, scope)).collect()
    }

    pub(super) fn expr(&self, ast: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        match ast {
            Ast::Identifier(ident) => self.bare_name(ident, scope),
            Ast::CompoundIdentifier(idents) => self.qualified_name(idents, scope),
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope),
            Ast::Value(value) => self.value(value),
            Ast::Nested(inner) => self.expr(inner, scope),
            Ast::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Ast::UnaryOp { op, expr } => self.unary(ast, *op, expr, scope),
            Ast::IsTrue(e) => self.is(e, Some(true), false, "IS TRUE", scope),
            Ast::IsNotTrue(e) => self.is(e, Some(true), true, "IS NOT TRUE", scope),
            Ast::IsFalse(e) => self.is(e, Some(false), false, "IS FALSE", scope),
            Ast::IsNotFalse(e) => self.is(e, Some(false), true, "IS NOT FALSE", scope),
            Ast::IsUnknown(e) => self.is(e, None, false, "IS UNKNOWN", scope),
            Ast::IsNotUnknown(e) => self.is(e, None, true, "IS NOT UNKNOWN", scope),
            Ast::IsNull(e) => self.is_null(e, false, scope),
            Ast::IsNotNull(e) => self.is_null(e, true, scope),
            Ast::IsDistinctFrom(left, right) => self.distinct(left, right, false, scope),
            Ast::IsNotDistinctFrom(left, right) => self.distinct(left, right, true, scope),
            Ast::InList { expr, list, negated } => self.in_list(expr, list, *negated, scope),
            Ast::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated, scope),
            Ast::Between { expr, negated, low, high } => self.between(expr, low, high, *negated, scope),
            Ast::AnyOp { left, compare_op, right, .. } => self.any(left, compare_op, right, false, scope),
            Ast::AllOp { left, compare_op, right } => self.any(left, compare_op, right, true, scope),
            Ast::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.cast(expr, data_type, scope),
            Ast::TypedString(string) => self.typed_string(string, scope),
            Ast::Interval(interval) => self.interval(interval, scope),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(ast, operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Ast::Function(function) => self.function(function, scope),
            Ast::Subquery(query) => self.scalar_subquery(query, self.at_of(ast), scope),
            Ast::Exists { subquery, negated } => self.exists(subquery, *negated, scope),
            Ast::Array(array) => self.array(ast, &array.elem, scope),
            Ast::Tuple(items) => self.settled_row(self.row(items, self.at_of(ast), scope)?),
            Ast::Collate { expr, collation } => self.collate(expr, collation, scope),
            Ast::AtTimeZone { .. }
            | Ast::Extract { .. }
            | Ast::Ceil { .. }
            | Ast::Floor { .. }
            | Ast::Position { .. }
            | Ast::Substring { .. }
            | Ast::Trim { .. }
            | Ast::Overlay { .. }
            | Ast::Like { .. }
            | Ast::ILike { .. }
            | Ast::SimilarTo { .. }
            | Ast::IsNormalized { .. } => self.special(ast, scope),
            Ast::QualifiedWildcard(name, _) => self.row_named(name, scope),
            Ast::Prefixed { prefix, .. } => match encoding::as_prefix_operator(ast) {
                Some((name, span, of)) => {
                    let at = self.at(span);
                    let name = searched(name, at)?;
                    let of = self.expr(of, scope)?;
                    operator::prefix(self.cx, name, of, at)
                }
                None => Err(syntax_error(&prefix.value, self.at(prefix.span))),
            },
            other => Err(syntax_error(&first_word(&other.to_string()), self.at_of(other))),
        }
    }

    fn is(&self, of: &Ast, value: Option<bool>, negated: bool, what: &str, scope: &Scope<'_>) -> Result<Expr> {
        let of = Box::new(self.condition(of, scope, what)?);
        let at = of.at;
        Ok(Expr::boolean(Node::Is { of, value, negated }, at))
    }

    fn is_null(&self, of: &Ast, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let of = cast::unknown_to_text(self.cx, self.expr(of, scope)?)?;
        let at = of.at;
        Ok(Expr::boolean(Node::IsNull { of: Box::new(of), negated }, at))
    }

    fn distinct(&self, left: &Ast, right: &Ast, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(left);
        self.one_collation([left, right])?;
        let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
        // `x IS DISTINCT FROM NULL` is a null test
        if right.is_null_constant() && right.ty.is_unknown() {
            return Ok(Expr::boolean(Node::IsNull { of: Box::new(left), negated: !negated }, at));
        }
        if left.is_null_constant() && left.ty.is_unknown() {
            return Ok(Expr::boolean(Node::IsNull { of: Box::new(right), negated: !negated }, at));
        }
        if let (Node::Row(lefts), Node::Row(rights)) = (&left.kind, &right.kind) {
            if lefts.len() != rights.len() {
                return Err(Error::new(Kind::Syntax, "unequal number of entries in row expressions").at(at));
            }
            let pairs = lefts.iter().zip(rights).map(|(l, r)| self.distinct_of(l.clone(), r.clone(), negated, at));
            let pairs = pairs.collect::<Result<Vec<_>>>()?;
            return Ok(Expr::boolean(if negated { Node::And(pairs) } else { Node::Or(pairs) }, at));
        }
        let (left, right) = (self.settled_row(left)?, self.settled_row(right)?);
        self.distinct_of(left, right, negated, at)
    }

    fn distinct_of(&self, left: Expr, right: Expr, negated: bool, at: usize) -> Result<Expr> {
        let equal = operator::binary(self.cx, "=", left, right, at)?;
        let Node::Call(call) = equal.kind else { return Err(Error::internal("= is no call")) };
        let equals = crate::sql::image::operator_of(call.proc.oid);
        let equals = equals.ok_or_else(|| Error::internal("= has no operator"))?;
        let mut arguments = call.arguments.into_iter();
        let (Some(left), Some(right)) = (arguments.next(), arguments.next()) else {
            return Err(Error::internal("= with fewer than two operands"));
        };
        Ok(Expr::boolean(Node::Distinct { equals, left: Box::new(left), right: Box::new(right), negated }, at))
    }

    fn in_list(&self, left: &Ast, list: &[Ast], negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(left);
        self.one_collation(std::iter::once(left).chain(list))?;
        let left = self.operand(left, scope)?;
        let items = list.iter().map(|item| self.operand(item, scope)).collect::<Result<Vec<_>>>()?;
        let (operator_name, all) = if negated { ("<>", true) } else { ("=", false) };
        // several items that read no column are one array, if they have one type; the others, rows, and what cannot be an
        // array, are compared one by one
        let is_row = |e: &Expr| matches!(e.kind, Node::Row(_)) || e.ty.oid == oid::RECORD;
        let (of_columns, fixed): (Vec<Expr>, Vec<Expr>) = items.iter().cloned().partition(reads_columns);
        let mut tests = vec![];
        let mut items = items;
        if fixed.len() > 1 && !is_row(&left) && !items.iter().any(is_row) {
            let mut together = vec![left.clone()];
            together.extend(fixed.iter().cloned());
            if let Ok(ty) = common::select(self.cx, &together, "IN")
                && pgtype::array(ty.oid).is_some()
                && let Ok((fixed, ty, data_type)) = self.alike(fixed, ty)
            {
                let array_ty = Ty::of(pgtype::array(ty.oid).unwrap_or(0));
                let item = pgtype::field("item", ty, data_type);
                let array = Expr::lying(Node::Array(fixed), array_ty, DataType::List(item.into()), at);
                tests.push(operator::any_of(self.cx, operator_name, left.clone(), array, all, at)?);
                items = of_columns;
            }
        }
        for item in items {
            tests.push(self.compare(operator_name, left.clone(), item, at)?);
        }
        Ok(match tests.len() {
            1 => tests.remove(0),
            _ if negated => Expr::boolean(Node::And(tests), at),
            _ => Expr::boolean(Node::Or(tests), at),
        })
    }

    fn alike(&self, items: Vec<Expr>, ty: Ty) -> Result<(Vec<Expr>, Ty, DataType)> {
        let coerced = items.into_iter().map(|item| cast::implicit(self.cx, item, Ty::of(ty.oid)));
        common::to_common(self.cx, coerced.collect::<Result<_>>()?, "IN")
    }

    fn between(&self, of: &Ast, low: &Ast, high: &Ast, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(of);
        let of = self.operand(of, scope)?;
        let (low, symmetric) = match encoding::unmarked(SYMMETRIC, low) {
            Some(low) => (low, true),
            None => (low, false),
        };
        let (low, high) = (self.operand(low, scope)?, self.operand(high, scope)?);
        if symmetric {
            let one = self.within(of.clone(), low.clone(), high.clone(), negated, at)?;
            let both = vec![one, self.within(of, high, low, negated, at)?];
            return Ok(Expr::boolean(if negated { Node::And(both) } else { Node::Or(both) }, at));
        }
        self.within(of, low, high, negated, at)
    }

    /// BETWEEN of bounds in this order.
    fn within(&self, of: Expr, low: Expr, high: Expr, negated: bool, at: usize) -> Result<Expr> {
        let (first, second) = if negated { ("<", ">") } else { (">=", "<=") };
        let both = vec![self.compare(first, of.clone(), low, at)?, self.compare(second, of, high, at)?];
        Ok(Expr::boolean(if negated { Node::Or(both) } else { Node::And(both) }, at))
    }

    /// An operator between two values or two rows.
    pub(super) fn compare(&self, name: &str, left: Expr, right: Expr, at: usize) -> Result<Expr> {
        match (left.kind, right.kind) {
            (Node::Row(lefts), Node::Row(rights)) => self.compare_rows(name, lefts, rights, at),
            (l, r) => {
                let left = self.settled_row(Expr { kind: l, ..left })?;
                let right = self.settled_row(Expr { kind: r, ..right })?;
                // `x = NULL` keeps its meaning: NULL
                operator::binary(self.cx, name, left, right, at)
            }
        }
    }

    /// make_row_comparison_op: `=` and `<>` field by field, the others by the first difference.
    pub(super) fn compare_rows(&self, name: &str, lefts: Vec<Expr>, rights: Vec<Expr>, at: usize) -> Result<Expr> {
        if lefts.len() != rights.len() {
            return Err(Error::new(Kind::Syntax, "unequal number of entries in row expressions").at(at));
        }
        if lefts.is_empty() {
            return Err(Error::new(Kind::Unsupported, "cannot compare rows of zero length").at(at));
        }
        let pairs: Vec<(Expr, Expr)> = lefts.into_iter().zip(rights).collect();
        match name {
            "=" | "<>" => {
                let each = pairs.into_iter().map(|(l, r)| self.compare(name, l, r, at)).collect::<Result<Vec<_>>>()?;
                Ok(match (each.len(), name) {
                    (1, _) => each.into_iter().next().ok_or_else(|| Error::internal("a row of one"))?,
                    (_, "=") => Expr::boolean(Node::And(each), at),
                    _ => Expr::boolean(Node::Or(each), at),
                })
            }
            "<" | "<=" | ">" | ">=" | "~<~" | "~<=~" | "~>~" | "~>=~" => {
                // a < x OR (a = x AND (b < y OR …)): NULL where the first difference is NULL, as PostgreSQL has it
                let strict = &name.replace('=', "");
                let mut rest: Option<Expr> = None;
                let last = pairs.len() - 1;
                for (i, (l, r)) in pairs.into_iter().enumerate().rev() {
                    let test = self.compare(if i == last { name } else { strict }, l.clone(), r.clone(), at)?;
                    rest = Some(match rest {
                        None => test,
                        Some(rest) => {
                            let equal = self.compare("=", l, r, at)?;
                            let whens = vec![(equal, rest)];
                            let case = Node::Case { whens, otherwise: Some(Box::new(test)) };
                            Expr::boolean(case, at)
                        }
                    });
                }
                rest.ok_or_else(|| Error::internal("a row of none"))
            }
            _ => {
                for (left, right) in pairs {
                    let test = self.compare(name, left, right, at)?;
                    if test.ty != Ty::BOOL {
                        let yields = test.ty.name();
                        let text = format!("row comparison operator must yield type boolean, not type {yields}");
                        return Err(Error::new(Kind::TypeMismatch, text).at(at));
                    }
                }
                let text = format!("could not determine interpretation of row comparison operator {name}");
                let hint = "Row comparison operators must be associated with btree operator families.";
                Err(Error::new(Kind::Unsupported, text).with_hint(hint).at(at))
            }
        }
    }

    fn binary(&self, left: &Ast, op: &BinaryOperator, right: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(left);
        if let BinaryOperator::And | BinaryOperator::Or = op {
            return self.logic(left, op, right, scope);
        }
        if let BinaryOperator::Overlaps = op {
            return self.overlaps(left, right, at, scope);
        }
        let name = operator_name(op, at)?;
        // `row op (subquery)`
        if let Ast::Subquery(query) = right
            && is_row(left)
            && let Node::Row(lefts) = self.operand(left, scope)?.kind
        {
            return self.row_subquery(lefts, &name, query, at, scope);
        }
        self.one_collation([left, right])?;
        let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
        self.compare(&name, left, right, at)
    }

    /// What is compared. Literals in a row that is written out have no type before they meet those of another.
    fn operand(&self, ast: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        match ast {
            Ast::Tuple(items) => self.row(items, self.at_of(ast), scope),
            Ast::Nested(inner) => self.operand(inner, scope),
            Ast::Function(function) => match super::call::row_written(function) {
                Some(arguments) => self.row_called(arguments, self.at_of(&function.name), scope),
                None => self.expr(ast, scope),
            },
            other => self.expr(other, scope),
        }
    }

    /// A row whose literals met no other: they are text.
    pub(super) fn settled_row(&self, row: Expr) -> Result<Expr> {
        match row.kind {
            Node::Row(fields) if fields.iter().any(|field| field.ty.is_unknown()) => {
                let fields = fields.into_iter().map(|field| cast::unknown_to_text(self.cx, field));
                Ok(self.row_of_exprs(fields.collect::<Result<_>>()?, row.at))
            }
            kind => Ok(Expr { kind, ..row }),
        }
    }

    /// A chain of AND or of OR is one node, however it leans.
    fn logic(&self, left: &Ast, op: &BinaryOperator, right: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        let what = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let mut parts = vec![];
        let mut left = left;
        let mut rights = vec![right];
        while let Ast::BinaryOp { left: l, op: o, right: r } = left
            && o == op
        {
            rights.push(r);
            left = l;
        }
        for part in std::iter::once(left).chain(rights.into_iter().rev()) {
            parts.push(self.condition(part, scope, what)?);
        }
        let at = parts.first().map_or(0, |p| p.at);
        Ok(Expr::boolean(if what == "AND" { Node::And(parts) } else { Node::Or(parts) }, at))
    }

    fn unary(&self, whole: &Ast, op: UnaryOperator, of: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        let start = self.at_of(of);
        let at = self.at_of(whole);
        // the sign stands right before its operand
        let at = if at == start { start.saturating_sub(1) } else { at };
        let name = match op {
            UnaryOperator::Not => {
                let of = self.condition(of, scope, "NOT")?;
                return Ok(Expr::boolean(Node::Not(Box::new(of)), at));
            }
            UnaryOperator::Minus => {
                if let Some(number) = negated(of) {
                    return literal::number(&number, at);
                }
                "-"
            }
            UnaryOperator::Plus => "+",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::AtDashAt => "@-@",
            UnaryOperator::DoubleAt => "@@",
            UnaryOperator::Hash => "#",
            UnaryOperator::QuestionDash => "?-",
            UnaryOperator::QuestionPipe => "?|",
            UnaryOperator::PGPrefixFactorial => "!!",
            UnaryOperator::BangNot => "!",
            UnaryOperator::PGPostfixFactorial => return Err(syntax_error("!", at)),
        };
        let of = self.expr(of, scope)?;
        operator::prefix(self.cx, name, of, at)
    }

    pub(super) fn cast(&self, of: &Ast, data_type: &ast::DataType, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(of);
        let ty = match self.type_named(data_type, self.type_at(at)) {
            Ok(ty) => ty,
            Err(undefined) => match self.row_type(data_type, &undefined)? {
                Some((name, fields)) => return self.as_row_of(of, &name, &fields, at, scope),
                None => return Err(undefined),
            },
        };
        // ARRAY[…]::t[] types its elements by the cast, in parentheses too
        let mut inner = of;
        while let Ast::Nested(nested) = inner {
            inner = nested;
        }
        if let (Ast::Array(array), Some(element)) = (inner, pgtype::element(ty.oid)) {
            let is_null = |e: &Ast| matches!(e, Ast::Value(value) if value.value == ast::Value::Null);
            let no_vector = |e: &Ast| matches!(e, Ast::Array(_)) || is_null(e);
            if matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR)
                && (array.elem.is_empty() || array.elem.iter().any(no_vector))
            {
                let text = format!("array is not a valid {}", ty.name());
                return Err(Error::new(Kind::TypeMismatch, text));
            }
            return self.array_of(&array.elem, Ty { oid: element, typmod: ty.typmod }, ty, self.at_of(inner), scope);
        }
        let of = self.expr(of, scope)?;
        cast::explicit(self.cx, of, ty, at)
    }

    /// The columns of the table whose rows a type's name stands for, where there is no such type.
    fn row_type(&self, data_type: &ast::DataType, undefined: &Error) -> Result<Option<(String, Fields)>> {
        let ast::DataType::Custom(name, modifiers) = data_type else { return Ok(None) };
        if !modifiers.is_empty() || !matches!(undefined.kind(), Kind::UndefinedObject | Kind::UndefinedSchema) {
            return Ok(None);
        }
        let path = super::name::segments(name);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = match self.relations.find(&path, None) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if matches!(error.kind(), Kind::UndefinedTable | Kind::UndefinedSchema) => return Ok(None),
            Err(error) => return Err(error),
        };
        let schema = found.table.schema();
        let columns = schema.fields().iter().map(|field| {
            Ok(pgtype::field(field.name(), pgtype::of_field(field)?, super::canonical(field.data_type())))
        });
        Ok(Some((found.name, columns.collect::<Result<Vec<_>>>()?.into())))
    }

    /// A row that is written out, or NULL, as a row of that table (coerce_record_to_complex).
    fn as_row_of(&self, of: &Ast, table: &str, fields: &Fields, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let of = self.operand(of, scope)?;
        if of.is_null_constant() {
            let data_type = DataType::Struct(fields.clone());
            let nothing = Node::Constant(ScalarValue::try_from(&data_type)?);
            return Ok(Expr::lying(nothing, Ty::of(oid::RECORD), data_type, at));
        }
        let items = match of.kind {
            Node::Row(items) => items,
            _ if of.data_type == DataType::Struct(fields.clone()) => return Ok(of),
            _ => return Err(Error::unsupported(format!("a cast of type {} to rows of \"{table}\"", of.ty.name()))),
        };
        if items.len() != fields.len() {
            let text = format!("cannot cast type record to {table}");
            let detail = if items.len() < fields.len() { "too few" } else { "too many" };
            let error = Error::new(Kind::CannotCoerce, text).with_detail(format!("Input has {detail} columns."));
            return Err(error.at(at));
        }
        let (mut values, mut named) = (vec![], vec![]);
        for (item, field) in items.into_iter().zip(fields) {
            let value = cast::explicit(self.cx, item, pgtype::of_field(field)?, at)?;
            named.push(pgtype::field(field.name(), value.ty, value.data_type.clone()));
            values.push(value);
        }
        let (ty, data_type) = (Ty::of(oid::RECORD), DataType::Struct(named.into()));
        let row = Expr::lying(Node::Row(values), ty, data_type.clone(), at);
        // one value, as a whole row is
        Ok(Expr::lying(Node::Relabel(Box::new(row)), ty, data_type, at))
    }

    fn typed_string(&self, string: &ast::TypedString, scope: &Scope<'_>) -> Result<Expr> {
        let _ = scope;
        let at = self.at(string.value.span);
        let ty = self.type_named(&string.data_type, at)?;
        let text = self.value(&string.value)?;
        cast::explicit(self.cx, text, ty, at)
    }

    fn case(
        &self,
        whole: &Ast,
        operand: Option<&Ast>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Ast>,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let at = self.at_of(whole);
        let operand = operand.map(|o| cast::unknown_to_text(self.cx, self.expr(o, scope)?)).transpose()?;
        let (mut tests, mut results) = (vec![], vec![]);
        for when in conditions {
            tests.push(match &operand {
                Some(operand) => {
                    let test = self.expr(&when.condition, scope)?;
                    self.compare("=", operand.clone(), test, self.at_of(&when.condition))?
                }
                None => self.condition(&when.condition, scope, "CASE/WHEN")?,
            });
            results.push(self.expr(&when.result, scope)?);
        }
        // ELSE counts first where the common type is chosen
        let otherwise = otherwise.map(|o| self.expr(o, scope)).transpose()?.unwrap_or_else(|| Expr::null(at));
        results.insert(0, otherwise);
        self.no_set("CASE", operand.iter().chain(&tests).chain(&results))?;
        let (results, ty, data_type) = common::to_common(self.cx, results, "CASE")?;
        let mut results = results.into_iter();
        let otherwise = results.next().map(Box::new);
        let whens = tests.into_iter().zip(results).collect();
        Ok(Expr::lying(Node::Case { whens, otherwise }, ty, data_type, at))
    }

    fn array(&self, whole: &Ast, elements: &[Ast], scope: &Scope<'_>) -> Result<Expr> {
        let at = self.at_of(whole);
        if elements.is_empty() {
            let hint = "Explicitly cast to the desired type, for example ARRAY[]::integer[].";
            return Err(Error::new(Kind::IndeterminateType, "cannot determine type of empty array")
                .with_hint(hint)
                .at(at));
        }
        let elements = elements.iter().map(|e| self.element_expr(e, scope)).collect::<Result<Vec<_>>>()?;
        let (elements, ty, data_type) = common::to_common(self.cx, elements, "ARRAY")?;
        let array = self.array_type(ty, at)?;
        let no_array =
            || Error::new(Kind::UndefinedObject, format!("could not find array type for data type {}", ty.name()));
        let array = array.ok_or_else(|| no_array().at(at))?;
        let item = pgtype::field("item", ty, data_type);
        let ty = Ty { oid: array, typmod: ty.typmod };
        Ok(Expr::lying(Node::Array(elements), ty, DataType::List(item.into()), at))
    }

    /// Arrays of arrays have the type of their elements' array. A vector is one value, but lies as an array does.
    pub(super) fn array_type(&self, element: Ty, at: usize) -> Result<Option<u32>> {
        if matches!(element.oid, oid::INT2VECTOR | oid::OIDVECTOR) {
            return Err(Error::unsupported(format!("an array of {}", element.name())).at(at));
        }
        Ok(match pgtype::element(element.oid) {
            Some(_) => Some(element.oid),
            None => pgtype::array(element.oid),
        })
    }

    /// CASE and COALESCE, whose operands need not all be computed, hold no set.
    pub(super) fn no_set<'e>(&self, what: &str, operands: impl Iterator<Item = &'e Expr>) -> Result<()> {
        let set = operands.filter_map(set_in).last();
        match set {
            None => Ok(()),
            Some(set) => {
                let text = format!("set-returning functions are not allowed in {what}");
                Err(Error::new(Kind::Unsupported, text).with_hint(super::call::LATERAL_HINT).at(set.at))
            }
        }
    }

    /// `[1, 2]` within `ARRAY[[1, 2], [3, 4]]`.
    fn element_expr(&self, element: &Ast, scope: &Scope<'_>) -> Result<Expr> {
        match element {
            Ast::Array(inner) => self.array(element, &inner.elem, scope),
            other => self.expr(other, scope),
        }
    }

    fn array_of(&self, elements: &[Ast], element: Ty, array: Ty, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let mut made = vec![];
        for ast in elements {
            made.push(match ast {
                Ast::Array(inner) => self.array_of(&inner.elem, element, array, self.at_of(ast), scope)?,
                other => {
                    let expr = self.expr(other, scope)?;
                    match pgtype::element(expr.ty.oid).is_some() {
                        true => cast::explicit(self.cx, expr, array, at)?,
                        false => cast::explicit(self.cx, expr, element, at)?,
                    }
                }
            });
        }
        let data_type = match made.first() {
            None => pgtype::arrow(array.oid).unwrap_or(DataType::Null),
            Some(first) if made.iter().all(|e| e.data_type == first.data_type) => {
                DataType::List(pgtype::field("item", first.ty, first.data_type.clone()).into())
            }
            Some(_) => {
                let (made, ty, data_type) = common::to_common(self.cx, made, "ARRAY")?;
                let item = pgtype::field("item", ty, data_type);
                return Ok(Expr::lying(Node::Array(made), array, DataType::List(item.into()), at));
            }
        };
        Ok(Expr::lying(Node::Array(made), array, data_type, at))
    }

    fn row(&self, items: &[Ast], at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let mut fields = vec![];
        for item in items {
            fields.extend(self.expanded(item, scope)?);
        }
        Ok(self.row_of_exprs(fields, at))
    }

    pub(super) fn row_of_exprs(&self, fields: Vec<Expr>, at: usize) -> Expr {
        let named = fields.iter().enumerate();
        let named = named.map(|(i, f)| pgtype::field(&format!("f{}", i + 1), f.ty, f.data_type.clone()));
        let data_type = DataType::Struct(named.collect::<Vec<_>>().into());
        Expr::lying(Node::Row(fields), Ty::of(oid::RECORD), data_type, at)
    }

    /// `a[1]`, `a[1:2]`, `(r).f`, `j['k']`.
    fn access(&self, root: &Ast, chain: &[ast::AccessExpr], scope: &Scope<'_>) -> Result<Expr> {
        // PostgreSQL's grammar wants parentheses here
        if let Ast::Array(_) = root {
            return Err(syntax_error("[", self.after(root)));
        }
        let at = self.at_of(root);
        // the planner of the AST makes `t.c[1]` a chain that begins with t
        let mut chain = chain;
        let mut value = None;
        if let Ast::Identifier(ident) = root {
            let mut idents = vec![ident.clone()];
            while let Some((ast::AccessExpr::Dot(Ast::Identifier(next)), rest)) = chain.split_first() {
                idents.push(next.clone());
                chain = rest;
            }
            value = Some(match idents.as_slice() {
                [one] => self.bare_name(one, scope)?,
                several => self.qualified_name(several, scope)?,
            });
        }
        // `(t).c` of a relation is its column
        if let (None, Some(table), Some((ast::AccessExpr::Dot(Ast::Identifier(field)), rest))) =
            (&value, inner_name(root), chain.split_first())
            && self.bare_column(&table, at, scope)?.is_none()
            && self.item(None, &table, at, scope)?.is_some_and(|item| !item.scalar)
        {
            value = Some(self.column_named(None, &table, &super::name::folded(field), at, scope)?);
            chain = rest;
        }
        let mut value = match value {
            Some(value) => value,
            None => self.expr(root, scope)?,
        };
        while let Some((first, rest)) = chain.split_first() {
            match first {
                ast::AccessExpr::Dot(Ast::Identifier(field)) => {
                    value = self.field(value, field)?;
                    chain = rest;
                }
                ast::AccessExpr::Dot(Ast::Wildcard(_)) => {
                    let text = "row expansion via \"*\" is not supported here";
                    return Err(Error::new(Kind::Unsupported, text).at(at));
                }
                ast::AccessExpr::Dot(other) => return Err(syntax_error(&other.to_string(), at)),
                ast::AccessExpr::Subscript(_) => {
                    let count = chain.iter().take_while(|a| matches!(a, ast::AccessExpr::Subscript(_))).count();
                    let (subscripts, rest) = chain.split_at(count);
                    value = self.subscript(value, subscripts, at, scope)?;
                    chain = rest;
                }
            }
        }
        Ok(value)
    }

    pub(super) fn field(&self, of: Expr, ident: &ast::Ident) -> Result<Expr> {
        let name = super::name::folded(ident);
        let at = if of.at == 0 { self.at(ident.span) } else { of.at };
        let DataType::Struct(fields) = &of.data_type else {
            let text =
                format!("column notation .{name} applied to type {}, which is not a composite type", of.ty.name());
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        };
        let Some((index, field)) = fields.find(&name) else {
            let text = match of.ty.oid {
                oid::RECORD => format!("could not identify column \"{name}\" in record data type"),
                _ => format!("column \"{name}\" not found in data type {}", of.ty.name()),
            };
            return Err(Error::new(Kind::UndefinedColumn, text).at(at));
        };
        let (ty, data_type) = (pgtype::of_field(field)?, field.data_type().clone());
        Ok(Expr::lying(Node::Field { of: Box::new(of), index }, ty, data_type, at))
    }

    fn subscript(&self, of: Expr, subscripts: &[ast::AccessExpr], at: usize, scope: &Scope<'_>) -> Result<Expr> {
        if of.ty.oid == oid::JSONB {
            return self.json_subscript(of, subscripts, at, scope);
        }
        let vector = matches!(of.ty.oid, oid::INT2VECTOR | oid::OIDVECTOR);
        let element = pgtype::element(of.ty.oid).or_else(|| vector.then(|| of.ty.row().map_or(0, |r| r.element)));
        if subscripts.len() > DIMENSIONS_MAX {
            let (given, max) = (subscripts.len(), DIMENSIONS_MAX);
            let text = format!("number of array dimensions ({given}) exceeds the maximum allowed ({max})");
            return Err(Error::new(Kind::TooLarge, text));
        }
        let is_slice = subscripts.iter().any(|s| matches!(s, ast::AccessExpr::Subscript(ast::Subscript::Slice { .. })));
        if is_slice && element.is_none() && of.ty.row().is_some_and(|row| row.element != 0) {
            return Err(Error::new(Kind::Unsupported, "slices of fixed-length arrays not implemented"));
        }
        let Some(element) = element else {
            let text = format!("cannot subscript type {} because it does not support subscripting", of.ty.name());
            return Err(Error::new(Kind::TypeMismatch, text).at(at));
        };
        let index = |ast: &Ast| {
            let expr = self.expr(ast, scope)?;
            let at = expr.at;
            let coerced = cast::coerce(self.cx, expr, Ty::INT4, CastContext::Assignment)?;
            let wrong = || Error::new(Kind::TypeMismatch, "array subscript must have type integer").at(at);
            coerced.ok_or_else(wrong)
        };
        if is_slice {
            let mut bounds = vec![];
            for subscript in subscripts {
                let ast::AccessExpr::Subscript(subscript) = subscript else { continue };
                bounds.push(match subscript {
                    ast::Subscript::Index { index: upper } => {
                        (Some(Expr::constant(ScalarValue::Int32(Some(1)), Ty::INT4, at)), Some(index(upper)?))
                    }
                    ast::Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                        (lower_bound.as_ref().map(&index).transpose()?, upper_bound.as_ref().map(&index).transpose()?)
                    }
                    ast::Subscript::Slice { .. } => return Err(syntax_error(":", at)),
                });
            }
            // a part of a vector is an array
            let ty = if vector { pgtype::array(element).map_or(of.ty, Ty::of) } else { of.ty };
            let data_type = of.data_type.clone();
            return Ok(Expr::lying(Node::Slice { of: Box::new(of), bounds }, ty, data_type, at));
        }
        let mut indexes = vec![];
        let mut inner = of.data_type.clone();
        for subscript in subscripts {
            let ast::AccessExpr::Subscript(ast::Subscript::Index { index: ast }) = subscript else { continue };
            indexes.push(index(ast)?);
            if let DataType::List(item) = &inner {
                inner = item.data_type().clone();
            }
        }
        // fewer or more numbers than dimensions give NULL
        let ty = Ty { oid: element, typmod: of.ty.typmod };
        let data_type = match inner {
            DataType::List(_) => pgtype::arrow(element).unwrap_or(DataType::Utf8),
            inner => inner,
        };
        Ok(Expr::lying(Node::Subscript { of: Box::new(of), indexes }, ty, data_type, at))
    }

    fn json_subscript(&self, of: Expr, subscripts: &[ast::AccessExpr], at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let mut keys = vec![];
        for subscript in subscripts {
            let index = match subscript {
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => index,
                ast::AccessExpr::Subscript(ast::Subscript::Slice { lower_bound, upper_bound, .. }) => {
                    let bound = upper_bound.as_ref().or(lower_bound.as_ref());
                    let error = Error::new(Kind::TypeMismatch, "jsonb subscript does not support slices");
                    return Err(error.at(bound.map_or(0, |bound| self.at_of(bound))));
                }
                ast::AccessExpr::Dot(_) => {
                    return Err(Error::new(Kind::TypeMismatch, "jsonb subscript does not support slices").at(at));
                }
            };
            let key = self.expr(index, scope)?;
            check_json_subscript(&key)?;
            let key = match cast::coerce(self.cx, key.clone(), Ty::TEXT, CastContext::Implicit)? {
                Some(text) => text,
                None => cast::explicit(self.cx, key, Ty::TEXT, at)?,
            };
            keys.push(key);
        }
        let item = pgtype::field("item", Ty::TEXT, DataType::Utf8);
        let keys = Expr::lying(Node::Array(keys), Ty::of(1009), DataType::List(item.into()), at);
        let proc = crate::sql::image::grammar("jsonb_subscript", 2);
        let proc = proc.ok_or_else(|| Error::internal("jsonb_subscript is gone"))?;
        let call = crate::sql::expr::Call { proc, arguments: vec![of, keys], variadic: false };
        Ok(Expr::new(Node::Call(call), Ty::of(oid::JSONB), at))
    }
}

/// `jsonb_subscript_transform`: what can be an index, or a key.
fn check_json_subscript(key: &Expr) -> Result<()> {
    let fits = |to: u32| cast::can_coerce(&[key.ty.oid], &[to], CastContext::Implicit);
    let hint = match (key.ty.is_unknown(), fits(oid::INT4), fits(oid::TEXT)) {
        (true, ..) | (_, true, false) | (_, false, true) => return Ok(()),
        (_, true, true) => "jsonb subscript must be coercible to only one type, integer or text.",
        (_, false, false) => "jsonb subscript must be coercible to either integer or text.",
    };
    let text = format!("subscript type {} is not supported", key.ty.name());
    Err(Error::new(Kind::TypeMismatch, text).with_hint(hint).at(crate::sql::resolve::place(key)))
}

/// What an operator is looked for by, which may be written with its schema: `public` stays with it.
fn searched(name: &str, at: usize) -> Result<&str> {
    match name.rsplit_once('.') {
        None | Some(("public", _)) => Ok(name),
        Some(("pg_catalog", name)) => Ok(name),
        Some((schema, _)) => {
            Err(Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist")).at(at))
        }
    }
}

/// `contain_vars_of_level`, of any level.
fn reads_columns(e: &Expr) -> bool {
    matches!(e.kind, Node::Column(_)) || e.children().into_iter().any(reads_columns)
}

/// `doNegate`: a sign before a number is part of it, and so is one before that.
fn negated(of: &Ast) -> Option<String> {
    let number = match of {
        Ast::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) => digits.to_string(),
        Ast::Nested(inner) => return negated(inner),
        Ast::UnaryOp { op: UnaryOperator::Minus, expr } => negated(expr)?,
        _ => return None,
    };
    Some(number.strip_prefix('-').map_or_else(|| format!("-{number}"), str::to_owned))
}

/// The name in parentheses.
fn inner_name(root: &Ast) -> Option<String> {
    match root {
        Ast::Nested(inner) => inner_name(inner),
        Ast::Identifier(ident) => Some(super::name::folded(ident)),
        _ => None,
    }
}

/// The last set-returning call in it.
fn set_in(expr: &Expr) -> Option<&Expr> {
    if expr.is_set() { Some(expr) } else { expr.children().into_iter().rev().find_map(set_in) }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or("").to_owned()
}

/// A row that is written out.
fn is_row(ast: &Ast) -> bool {
    match ast {
        Ast::Tuple(_) => true,
        Ast::Nested(inner) => is_row(inner),
        Ast::Function(function) => super::call::row_written(function).is_some(),
        _ => false,
    }
}

/// The operators themselves, `OPERATOR(pg_catalog.+)`, and `OPERATOR(public.%)` with its schema.
pub(super) fn operator_name(op: &BinaryOperator, at: usize) -> Result<String> {
    Ok(match op {
        BinaryOperator::PGCustomBinaryOperator(path) => searched(&path.join("."), at)?.to_owned(),
        BinaryOperator::Custom(name) => name.clone(),
        BinaryOperator::NotEq => "<>".into(),
        BinaryOperator::PGExp | BinaryOperator::BitwiseXor => "^".into(),
        BinaryOperator::PGBitwiseXor => "#".into(),
        BinaryOperator::PGLikeMatch => "~~".into(),
        BinaryOperator::PGILikeMatch => "~~*".into(),
        BinaryOperator::PGNotLikeMatch => "!~~".into(),
        BinaryOperator::PGNotILikeMatch => "!~~*".into(),
        BinaryOperator::And
        | BinaryOperator::Or
        | BinaryOperator::Xor
        | BinaryOperator::Match
        | BinaryOperator::Regexp
        | BinaryOperator::Spaceship
        | BinaryOperator::DuckIntegerDivide
        | BinaryOperator::MyIntegerDivide
        | BinaryOperator::Assignment
        | BinaryOperator::Overlaps => return Err(syntax_error(&op.to_string(), at)),
        other => other.to_string(),
    })
}
