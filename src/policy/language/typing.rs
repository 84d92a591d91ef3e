//! Parsed expression → DataFusion expression over raw columns, every operand of known and equal type.
//!
//! What comes out goes straight to physical expressions: nothing coerces, folds or resolves it again. A form that is
//! not listed here is refused, so a new one in the parser changes nothing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::functions::unicode;
use datafusion::logical_expr::expr::{Between, Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF, lit};
use datafusion::sql::sqlparser::ast::{self as sql, Spanned};

use super::functions::{self, FUNCTIONS, Function, Shape};
use super::literal::{Constant, is_text, type_name};
use super::settle::{Operand, common_text, comparable, equalize, native, null, placeholder, settle};
use super::{Attributes, PLACEHOLDER};
use crate::policy::file::did_you_mean;
use crate::policy::file::object::Mistake;
use crate::policy::file::users::{AttributeType, Scalar};

/// How deep an expression may nest; a chain of AND or OR is one level.
pub(super) const DEPTH_MAX: usize = 50;

/// Masks know a few forms more than filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Filter,
    Mask,
}

pub(super) type Typing<T> = Result<T, Mistake>;

/// Types expressions over one table.
pub(super) struct Typer<'a> {
    schema: &'a Schema,
    columns: DFSchema,
    attributes: &'a Attributes,
    language: Language,
    depth: usize,
}

impl<'a> Typer<'a> {
    pub(super) fn new(schema: &'a Schema, attributes: &'a Attributes, language: Language) -> Typing<Self> {
        let columns = DFSchema::try_from(schema.clone());
        let columns = columns.map_err(|_| Mistake::new(0, "the table has two columns of one name"))?;
        Ok(Self { schema, columns, attributes, language, depth: 0 })
    }

    /// A boolean expression.
    pub(super) fn condition(&mut self, tree: &sql::Expr) -> Typing<Expr> {
        self.nested(tree, |typer| typer.condition_inside(tree))
    }

    /// An expression of type `wanted`, which constants in it take.
    pub(super) fn value(&mut self, tree: &sql::Expr, wanted: &DataType) -> Typing<Expr> {
        self.nested(tree, |typer| match tree {
            sql::Expr::Nested(inner) => typer.value(inner, wanted),
            sql::Expr::Case { operand, conditions, else_result, .. } if typer.language == Language::Mask => {
                typer.case(operand.as_deref(), conditions, else_result.as_deref(), wanted)
            }
            sql::Expr::Function(call) => match typer.function(call)? {
                (Function { shape: Shape::Coalesce, .. }, args) => typer.coalesce(&args, wanted),
                (Function { shape: Shape::NullIf, .. }, args) => typer.null_if(tree, &args, wanted),
                (function, args) => {
                    let operand = typer.call(tree, function, &args)?;
                    settle(operand, wanted, start(tree))
                }
            },
            other => {
                let operand = typer.operand(other)?;
                settle(operand, wanted, start(other))
            }
        })
    }

    fn nested<T>(&mut self, tree: &sql::Expr, inside: impl FnOnce(&mut Self) -> Typing<T>) -> Typing<T> {
        if self.depth == DEPTH_MAX {
            return Err(Mistake::new(start(tree), format!("nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn condition_inside(&mut self, tree: &sql::Expr) -> Typing<Expr> {
        match tree {
            sql::Expr::Nested(inner) => self.condition(inner),
            sql::Expr::BinaryOp { op: op @ (sql::BinaryOperator::And | sql::BinaryOperator::Or), .. } => {
                self.chain(tree, op)
            }
            sql::Expr::BinaryOp { left, op, right } => {
                let op = comparison(op).ok_or_else(|| no_operator(tree, op))?;
                let (left_operand, right_operand) = (self.operand(left)?, self.operand(right)?);
                let (left, right) = equalize(left_operand, start(left), right_operand, start(right))?;
                Ok(binary(left, op, right))
            }
            sql::Expr::UnaryOp { op: sql::UnaryOperator::Not, expr } => Ok(Expr::Not(Box::new(self.condition(expr)?))),
            sql::Expr::IsNull(inner) => Ok(Expr::IsNull(Box::new(self.nullable(inner)?))),
            sql::Expr::IsNotNull(inner) => Ok(Expr::IsNotNull(Box::new(self.nullable(inner)?))),
            sql::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            sql::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            sql::Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, pattern, *negated)
            }
            sql::Expr::Value(value) if matches!(value.value, sql::Value::Boolean(_)) => {
                Ok(lit(value.value == sql::Value::Boolean(true)))
            }
            other => {
                let at = start(other);
                match self.operand_inside(other)? {
                    Operand::Typed(expr, DataType::Boolean) => Ok(expr),
                    Operand::Typed(_, other) => {
                        Err(Mistake::new(at, format!("a condition is true or false; this is {}", type_name(&other))))
                    }
                    operand @ Operand::Attribute(..) => settle(operand, &DataType::Boolean, at),
                    Operand::Constant(_) | Operand::Null => Err(Mistake::new(at, "a constant is not a condition")),
                }
            }
        }
    }

    /// `a AND b AND c`, of any length, without going deeper for each.
    fn chain(&mut self, tree: &sql::Expr, op: &sql::BinaryOperator) -> Typing<Expr> {
        let mut parts = vec![];
        let mut spine = tree;
        while let sql::Expr::BinaryOp { left, op: found, right } = spine
            && found == op
        {
            parts.push(right.as_ref());
            spine = left;
        }
        parts.push(spine);
        let op = if *op == sql::BinaryOperator::And { Operator::And } else { Operator::Or };
        let mut conditions = parts.into_iter().rev().map(|part| self.condition(part));
        let first = conditions.next().unwrap_or_else(|| Ok(lit(false)))?;
        conditions.try_fold(first, |so_far, next| Ok(binary(so_far, op, next?)))
    }

    fn operand(&mut self, tree: &sql::Expr) -> Typing<Operand> {
        self.nested(tree, |typer| typer.operand_inside(tree))
    }

    fn operand_inside(&mut self, tree: &sql::Expr) -> Typing<Operand> {
        match tree {
            sql::Expr::Nested(inner) => self.operand(inner),
            sql::Expr::Identifier(name) => self.column(name),
            sql::Expr::Value(value) => self.constant(&value.value, start(tree)),
            sql::Expr::UnaryOp { op: sql::UnaryOperator::Minus, expr } => match self.operand(expr)? {
                Operand::Constant(Constant::Number(n)) if !n.starts_with('-') => {
                    Ok(Operand::Constant(Constant::Number(format!("-{n}"))))
                }
                _ => Err(Mistake::new(start(tree), "`-` stands before a number only")),
            },
            sql::Expr::Function(call) => {
                let (function, args) = self.function(call)?;
                self.call(tree, function, &args)
            }
            sql::Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters: None } => {
                let (text, kind) = self.text(expr)?;
                self.typed(function_call(datafusion::functions::string::btrim(), vec![text]), kind)
            }
            sql::Expr::Substring { expr, substring_from, substring_for, .. } if self.language == Language::Mask => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            sql::Expr::Case { operand, conditions, else_result, .. } if self.language == Language::Mask => {
                let results: Vec<&sql::Expr> =
                    conditions.iter().map(|c| &c.result).chain(else_result.as_deref()).collect();
                let wanted = self.first_type(tree, &results)?;
                let case = self.case(operand.as_deref(), conditions, else_result.as_deref(), &wanted)?;
                Ok(Operand::Typed(case, wanted))
            }
            sql::Expr::BinaryOp { .. }
            | sql::Expr::UnaryOp { op: sql::UnaryOperator::Not, .. }
            | sql::Expr::IsNull(_)
            | sql::Expr::IsNotNull(_)
            | sql::Expr::InList { .. }
            | sql::Expr::Between { .. }
            | sql::Expr::Like { any: false, escape_char: None, .. } => {
                Ok(Operand::Typed(self.condition_inside(tree)?, DataType::Boolean))
            }
            other => Err(not_ours(other)),
        }
    }

    fn column(&self, ident: &sql::Ident) -> Typing<Operand> {
        let at = super::offset(ident.span.start);
        let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        match self.schema.field_with_name(&name) {
            Ok(field) => {
                let column = Expr::Column(Column::new_unqualified(name));
                Ok(Operand::Typed(column, field.data_type().clone()))
            }
            Err(_) => {
                let names: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
                Err(Mistake::new(at, format!("there is no column `{name}`{}", did_you_mean(&name, &names))))
            }
        }
    }

    fn constant(&self, value: &sql::Value, at: usize) -> Typing<Operand> {
        match value {
            sql::Value::SingleQuotedString(text) => Ok(Operand::Constant(Constant::Text(text.clone()))),
            sql::Value::Number(text, false) => Ok(Operand::Constant(Constant::Number(text.clone()))),
            sql::Value::Boolean(b) => Ok(Operand::Constant(Constant::Bool(*b))),
            sql::Value::Null => Ok(Operand::Null),
            sql::Value::Placeholder(id) => {
                let name = id.strip_prefix(PLACEHOLDER).unwrap_or(id);
                match self.attributes.get(name) {
                    Some(kind) => Ok(Operand::Attribute(name.to_owned(), *kind)),
                    None => {
                        let names: Vec<&str> = self.attributes.keys().map(String::as_str).collect();
                        let known = format!("attribute `user.{name}` is not declared in users.toml");
                        Err(Mistake::new(at, format!("{known}{}", did_you_mean(name, &names))))
                    }
                }
            }
            other => Err(Mistake::new(at, format!("{other} is not a form of constant here; text is written 'so'"))),
        }
    }

    fn nullable(&mut self, tree: &sql::Expr) -> Typing<Expr> {
        match self.operand(tree)? {
            Operand::Typed(expr, _) => Ok(expr),
            Operand::Attribute(..) => Err(Mistake::new(
                start(tree),
                "a user without the attribute sees no row anyway; `IS NULL` asks columns",
            )),
            Operand::Constant(_) | Operand::Null => {
                Err(Mistake::new(start(tree), "`IS NULL` asks a column, not a constant"))
            }
        }
    }

    fn in_list(&mut self, tree: &sql::Expr, list: &[sql::Expr], negated: bool) -> Typing<Expr> {
        let (expr, wanted) = match self.operand(tree)? {
            Operand::Typed(expr, kind) => (expr, kind),
            operand @ Operand::Attribute(_, kind) if !kind.list => {
                let native = native(kind.scalar);
                (settle(operand, &native, start(tree))?, native)
            }
            _ => return Err(Mistake::new(start(tree), "`IN` asks a column or a single attribute")),
        };
        comparable(&wanted, start(tree))?;
        let mut items = vec![];
        for item in list {
            items.push(match self.operand(item)? {
                Operand::Attribute(name, kind) if kind.list => placeholder(&name, kind, &wanted, start(item))?,
                operand @ (Operand::Constant(_) | Operand::Attribute(..)) => settle(operand, &wanted, start(item))?,
                Operand::Null => return Err(Mistake::new(start(item), "NULL in a list makes every answer unknown")),
                Operand::Typed(..) => return Err(Mistake::new(start(item), "`IN` lists constants and attributes")),
            });
        }
        Ok(Expr::InList(InList::new(Box::new(expr), items, negated)))
    }

    fn between(&mut self, tree: &sql::Expr, negated: bool, low: &sql::Expr, high: &sql::Expr) -> Typing<Expr> {
        let (expr, wanted) = match self.operand(tree)? {
            Operand::Typed(expr, kind) => (expr, kind),
            operand @ Operand::Attribute(_, kind) if !kind.list => {
                let native = native(kind.scalar);
                (settle(operand, &native, start(tree))?, native)
            }
            _ => return Err(Mistake::new(start(tree), "`BETWEEN` asks a column or a single attribute")),
        };
        comparable(&wanted, start(tree))?;
        let (low_operand, high_operand) = (self.operand(low)?, self.operand(high)?);
        let low = settle(low_operand, &wanted, start(low))?;
        let high = settle(high_operand, &wanted, start(high))?;
        Ok(Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high))))
    }

    fn like(&mut self, tree: &sql::Expr, pattern: &sql::Expr, negated: bool) -> Typing<Expr> {
        let (expr, kind) = self.text(tree)?;
        let at = start(pattern);
        match self.operand(pattern)? {
            constant @ Operand::Constant(Constant::Text(_)) => {
                let pattern = settle(constant, &kind, at)?;
                Ok(Expr::Like(Like::new(negated, Box::new(expr), Box::new(pattern), None, false)))
            }
            _ => Err(Mistake::new(at, "the pattern of LIKE is a text constant")),
        }
    }

    /// A typed text, in whatever representation it has.
    fn text(&mut self, tree: &sql::Expr) -> Typing<(Expr, DataType)> {
        match self.operand(tree)? {
            Operand::Typed(expr, kind) if is_text(&kind) => Ok((expr, kind)),
            Operand::Typed(_, kind) => {
                Err(Mistake::new(start(tree), format!("text belongs here; this is {}", type_name(&kind))))
            }
            operand @ Operand::Attribute(_, AttributeType { scalar: Scalar::Text, list: false }) => {
                Ok((settle(operand, &DataType::Utf8, start(tree))?, DataType::Utf8))
            }
            _ => Err(Mistake::new(start(tree), "a text column belongs here")),
        }
    }

    /// A call's function and its plain arguments.
    fn function<'t>(&self, call: &'t sql::Function) -> Typing<(&'static Function, Vec<&'t sql::Expr>)> {
        let at = start_of(call);
        let name = call.name.to_string().to_lowercase();
        let Some(function) = functions::find(&name) else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).collect();
            let known = format!("function `{name}` is not one of the functions of policies");
            let hint = if name == "user" { "; attributes are `user.x`".into() } else { did_you_mean(&name, &names) };
            return Err(Mistake::new(at, format!("{known}{hint}")));
        };
        if function.mask_only && self.language == Language::Filter {
            return Err(Mistake::new(at, format!("`{name}` belongs in custom masks only")));
        }
        let bare = call.filter.is_none()
            && call.over.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty();
        let args = match &call.args {
            sql::FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list
                .args
                .iter()
                .map(|arg| match arg {
                    sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        match args.filter(|_| bare) {
            Some(args) => Ok((function, args)),
            None => Err(Mistake::new(at, format!("`{name}` takes plain arguments only"))),
        }
    }

    fn call(&mut self, tree: &sql::Expr, function: &Function, args: &[&sql::Expr]) -> Typing<Operand> {
        let at = start(tree);
        let wrong_count = |count: &str| Mistake::new(at, format!("`{}` takes {count}", function.name));
        let texts = match (function.shape, args) {
            (Shape::Text, [text]) => self.texts(&[text])?,
            (Shape::Text, _) => return Err(wrong_count("one argument")),
            (Shape::TwoTexts, [_, _]) => self.texts(args)?,
            (Shape::TwoTexts | Shape::NullIf, [] | [_] | [_, _, _, ..]) => return Err(wrong_count("two arguments")),
            (Shape::Texts | Shape::Coalesce, []) => return Err(wrong_count("at least one argument")),
            (Shape::Texts, args) => self.texts(args)?,
            (Shape::Coalesce, args) => {
                let wanted = self.first_type(tree, args)?;
                return Ok(Operand::Typed(self.coalesce(args, &wanted)?, wanted));
            }
            (Shape::NullIf, args) => {
                let wanted = self.first_type(tree, args)?;
                return Ok(Operand::Typed(self.null_if(tree, args, &wanted)?, wanted));
            }
        };
        match function.call {
            Some(udf) => self.typed(function_call(udf(), texts), DataType::Utf8),
            None => Err(not_ours(tree)),
        }
    }

    /// Arguments brought to one text representation, that of the first column among them.
    fn texts(&mut self, args: &[&sql::Expr]) -> Typing<Vec<Expr>> {
        let mut kind = None;
        for arg in args {
            if let Operand::Typed(_, found) = self.operand(arg)? {
                kind = Some(match kind {
                    Some(before) => common_text(&before, &found),
                    None => found,
                });
            }
        }
        let kind = kind.filter(is_text).unwrap_or(DataType::Utf8);
        args.iter().map(|arg| self.value(arg, &kind)).collect()
    }

    /// The type that the others take: of the first that has one.
    fn first_type(&mut self, tree: &sql::Expr, args: &[&sql::Expr]) -> Typing<DataType> {
        for arg in args {
            match self.operand(arg)? {
                Operand::Typed(_, kind) => return Ok(kind),
                Operand::Attribute(_, kind) if !kind.list => return Ok(native(kind.scalar)),
                Operand::Attribute(..) | Operand::Constant(_) | Operand::Null => {}
            }
        }
        Err(Mistake::new(start(tree), "at least one column belongs in here"))
    }

    /// DataFusion's own `coalesce` is rewritten by its optimizer, which policies do not pass.
    fn coalesce(&mut self, args: &[&sql::Expr], wanted: &DataType) -> Typing<Expr> {
        let mut values = args.iter().map(|arg| self.value(arg, wanted)).collect::<Typing<Vec<_>>>()?;
        let last = values.pop().map(Box::new);
        if values.is_empty() {
            return last.map(|l| *l).ok_or_else(|| Mistake::new(0, "`coalesce` takes at least one argument"));
        }
        let whens = values.into_iter().map(|v| (Box::new(Expr::IsNotNull(Box::new(v.clone()))), Box::new(v)));
        Ok(Expr::Case(Case::new(None, whens.collect(), last)))
    }

    fn null_if(&mut self, tree: &sql::Expr, args: &[&sql::Expr], wanted: &DataType) -> Typing<Expr> {
        let [value, other] = args else {
            return Err(Mistake::new(start(tree), "`nullif` takes two arguments"));
        };
        comparable(wanted, start(tree))?;
        let (value, other) = (self.value(value, wanted)?, self.value(other, wanted)?);
        let when = (Box::new(binary(value.clone(), Operator::Eq, other)), Box::new(null(wanted, start(tree))?));
        Ok(Expr::Case(Case::new(None, vec![when], Some(Box::new(value)))))
    }

    fn case(
        &mut self,
        operand: Option<&sql::Expr>,
        conditions: &[sql::CaseWhen],
        otherwise: Option<&sql::Expr>,
        wanted: &DataType,
    ) -> Typing<Expr> {
        let mut whens = vec![];
        for sql::CaseWhen { condition, result } in conditions {
            let when = match operand {
                None => self.condition(condition)?,
                Some(asked) => {
                    let (left, right) = (self.operand(asked)?, self.operand(condition)?);
                    let (left, right) = equalize(left, start(asked), right, start(condition))?;
                    binary(left, Operator::Eq, right)
                }
            };
            whens.push((Box::new(when), Box::new(self.value(result, wanted)?)));
        }
        let otherwise = match otherwise {
            Some(tree) => self.value(tree, wanted)?,
            None => null(wanted, 0)?,
        };
        Ok(Expr::Case(Case::new(None, whens, Some(Box::new(otherwise)))))
    }

    /// Positions are constants, for a negative length would be an error at a row.
    fn substring(&mut self, tree: &sql::Expr, from: Option<&sql::Expr>, count: Option<&sql::Expr>) -> Typing<Operand> {
        let (text, kind) = self.text(tree)?;
        let mut args = vec![text];
        for position in [from, count].into_iter().flatten() {
            let at = start(position);
            match self.operand(position)? {
                Operand::Constant(Constant::Number(n)) => match n.parse::<i64>() {
                    Ok(n) if (0..=i64::from(i32::MAX)).contains(&n) => args.push(lit(n)),
                    _ => return Err(Mistake::new(at, "a whole number of characters belongs here")),
                },
                _ => return Err(Mistake::new(at, "a number of characters belongs here")),
            }
        }
        if from.is_none() {
            return Err(Mistake::new(start(tree), "`substr` takes a text, a start and, if wanted, a length"));
        }
        self.typed(function_call(unicode::substr(), args), kind)
    }

    /// An expression whose type DataFusion tells; `fallback` for what it cannot tell.
    fn typed(&self, expr: Expr, fallback: DataType) -> Typing<Operand> {
        let kind = expr.get_type(&self.columns).unwrap_or(fallback);
        Ok(Operand::Typed(expr, kind))
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn function_call(udf: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))
}

fn comparison(op: &sql::BinaryOperator) -> Option<Operator> {
    match op {
        sql::BinaryOperator::Eq => Some(Operator::Eq),
        sql::BinaryOperator::NotEq => Some(Operator::NotEq),
        sql::BinaryOperator::Lt => Some(Operator::Lt),
        sql::BinaryOperator::LtEq => Some(Operator::LtEq),
        sql::BinaryOperator::Gt => Some(Operator::Gt),
        sql::BinaryOperator::GtEq => Some(Operator::GtEq),
        _ => None,
    }
}

fn no_operator(tree: &sql::Expr, op: &sql::BinaryOperator) -> Mistake {
    Mistake::new(
        start(tree),
        format!("`{op}` is not an operator of policies: = <> < <= > >= IN LIKE BETWEEN IS AND OR NOT"),
    )
}

/// What the parser knows and policies do not.
fn not_ours(tree: &sql::Expr) -> Mistake {
    let what = match tree {
        sql::Expr::Subquery(_) | sql::Expr::Exists { .. } | sql::Expr::InSubquery { .. } => {
            "a subquery has no place here"
        }
        sql::Expr::Cast { .. } | sql::Expr::TypedString(_) | sql::Expr::Convert { .. } => {
            "a cast has no place here; a constant takes the column's type by itself"
        }
        sql::Expr::CompoundIdentifier(_) | sql::Expr::CompoundFieldAccess { .. } => {
            "a column is named without its table; fields inside a column cannot be reached"
        }
        sql::Expr::ILike { .. } => "ILIKE has no place here; write `lower(x) LIKE 'pattern'`",
        sql::Expr::Like { .. } => "LIKE takes one pattern and no ESCAPE",
        sql::Expr::Case { .. } | sql::Expr::Substring { .. } => "this form belongs in custom masks only",
        _ => "this form is not part of the filter language",
    };
    Mistake::new(start(tree), what)
}

fn start(tree: &sql::Expr) -> usize {
    super::offset(tree.span().start)
}

fn start_of(call: &sql::Function) -> usize {
    super::offset(call.span().start)
}
