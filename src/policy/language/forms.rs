//! What a line may say, form by form, in its own words: names become columns and attributes, operators and functions those
//! of the list. Types are `sql`'s: it resolves what is allowed here, and the result is lowered by it.
//!
//! A form that is not listed here is refused, so a new one in the parser changes nothing.

mod calls;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr as Lowered;
use datafusion::sql::sqlparser::ast::{self as sql, Spanned};

use super::functions::{Function, Shape};
use super::kept::Kept;
use super::literal::Constant;
use super::lowered::Columns;
use super::settle::{Operand, Settler, Typing, comparable, native};
use super::{Attributes, PLACEHOLDER};
use crate::pgtype::{self, Ty, oid};
use crate::policy::file::did_you_mean;
use crate::policy::file::object::Mistake;
use crate::policy::file::users::{AttributeType, Scalar};
use crate::sql::expr::{Expr, Kind};
use crate::sql::resolve::{Context, operator};

/// How deep an expression may nest; a chain of AND or OR is one level.
pub(super) const DEPTH_MAX: usize = 50;

/// Masks know a few forms more than filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Filter,
    Mask,
}

/// Reads expressions over one table.
pub(super) struct Reader<'a> {
    columns: Columns,
    attributes: &'a Attributes,
    language: Language,
    types: Settler<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        schema: &Schema,
        attributes: &'a Attributes,
        language: Language,
        cx: Context<'a>,
    ) -> Typing<Self> {
        let names: std::collections::BTreeSet<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        if names.len() < schema.fields().len() {
            return Err(Mistake::new(0, "the table has two columns of one name"));
        }
        let types = Settler { cx, attributes: vec![] };
        Ok(Self { columns: Columns::of(schema), attributes, language, types, depth: 0 })
    }

    /// A whole condition, over raw columns.
    pub(super) fn filter(mut self, tree: &sql::Expr) -> Typing<Lowered> {
        let typed = self.condition(tree)?;
        self.columns.lowered(&typed, &self.types.attributes)
    }

    /// What stands for a column that the table keeps so.
    pub(super) fn mask(mut self, tree: &sql::Expr, wanted: &Kept) -> Typing<Lowered> {
        let typed = self.value(tree, wanted)?;
        let lowered = self.columns.lowered(&typed, &self.types.attributes)?;
        Ok(self.columns.stored(lowered, wanted))
    }

    /// A boolean expression.
    fn condition(&mut self, tree: &sql::Expr) -> Typing<Expr> {
        self.nested(tree, |reader| reader.condition_inside(tree))
    }

    /// An expression of type `wanted`, which constants in it take.
    fn value(&mut self, tree: &sql::Expr, wanted: &Kept) -> Typing<Expr> {
        self.nested(tree, |reader| match tree {
            sql::Expr::Nested(inner) => reader.value(inner, wanted),
            sql::Expr::Case { operand, conditions, else_result, .. } if reader.language == Language::Mask => {
                reader.case(operand.as_deref(), conditions, else_result.as_deref(), wanted)
            }
            sql::Expr::Function(call) => match reader.function(call)? {
                (Function { shape: Shape::Coalesce, .. }, args) => reader.coalesce(&args, wanted),
                (Function { shape: Shape::NullIf, .. }, args) => reader.null_if(tree, &args, wanted),
                (function, args) => {
                    let operand = reader.call(tree, function, &args)?;
                    reader.types.settle(operand, wanted, start(tree))
                }
            },
            other => {
                let operand = reader.operand(other)?;
                reader.types.settle(operand, wanted, start(other))
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
                let name = comparison(op).ok_or_else(|| no_operator(tree, op))?;
                let (left_operand, right_operand) = (self.operand(left)?, self.operand(right)?);
                self.types.compare(name, (left_operand, start(left)), (right_operand, start(right)))
            }
            sql::Expr::UnaryOp { op: sql::UnaryOperator::Not, expr } => {
                Ok(Expr::boolean(Kind::Not(Box::new(self.condition(expr)?)), 0))
            }
            sql::Expr::IsNull(inner) => self.null_test(inner, false),
            sql::Expr::IsNotNull(inner) => self.null_test(inner, true),
            sql::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            sql::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            sql::Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, pattern, *negated)
            }
            sql::Expr::Value(sql::ValueWithSpan { value: sql::Value::Boolean(value), .. }) => {
                Ok(Expr::constant(ScalarValue::Boolean(Some(*value)), Ty::BOOL, 0))
            }
            other => {
                let at = start(other);
                match self.operand_inside(other)? {
                    Operand::Typed(expr, kept) if kept.ty.oid == oid::BOOL => Ok(expr),
                    Operand::Typed(_, other) => {
                        Err(Mistake::new(at, format!("a condition is true or false; this is {}", other.word())))
                    }
                    operand @ Operand::Attribute(..) => self.types.settle(operand, &native(Scalar::Bool), at),
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
        let conditions = parts.into_iter().rev().map(|part| self.condition(part));
        let conditions = conditions.collect::<Typing<Vec<_>>>()?;
        let all = if *op == sql::BinaryOperator::And { Kind::And(conditions) } else { Kind::Or(conditions) };
        Ok(Expr::boolean(all, 0))
    }

    fn operand(&mut self, tree: &sql::Expr) -> Typing<Operand> {
        self.nested(tree, |reader| reader.operand_inside(tree))
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
                let text = self.text(expr)?;
                self.called("btrim", vec![text], start(tree))
            }
            sql::Expr::Substring { expr, substring_from, substring_for, .. } if self.language == Language::Mask => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            sql::Expr::Case { operand, conditions, else_result, .. } if self.language == Language::Mask => {
                let results: Vec<&sql::Expr> =
                    conditions.iter().map(|c| &c.result).chain(else_result.as_deref()).collect();
                let wanted = self.first_type(tree, &results)?;
                let case = self.case(operand.as_deref(), conditions, else_result.as_deref(), &wanted)?;
                Ok(typed(case))
            }
            sql::Expr::BinaryOp { .. }
            | sql::Expr::UnaryOp { op: sql::UnaryOperator::Not, .. }
            | sql::Expr::IsNull(_)
            | sql::Expr::IsNotNull(_)
            | sql::Expr::InList { .. }
            | sql::Expr::Between { .. }
            | sql::Expr::Like { any: false, escape_char: None, .. } => Ok(typed(self.condition_inside(tree)?)),
            other => Err(not_ours(other)),
        }
    }

    fn column(&self, ident: &sql::Ident) -> Typing<Operand> {
        let at = super::offset(ident.span.start);
        let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        match self.columns.find(&name) {
            Some((column, kept)) => Ok(Operand::Typed(column.expr(at), kept.clone())),
            None => {
                let names: Vec<&str> = self.columns.columns.iter().map(|c| c.name.as_str()).collect();
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

    fn null_test(&mut self, tree: &sql::Expr, negated: bool) -> Typing<Expr> {
        match self.operand(tree)? {
            Operand::Typed(of, _) => Ok(Expr::boolean(Kind::IsNull { of: Box::new(of), negated }, 0)),
            Operand::Attribute(..) => Err(Mistake::new(
                start(tree),
                "a user without the attribute sees no row anyway; `IS NULL` asks columns",
            )),
            Operand::Constant(_) | Operand::Null => {
                Err(Mistake::new(start(tree), "`IS NULL` asks a column, not a constant"))
            }
        }
    }

    /// What `IN` and `BETWEEN` ask: a column, or an attribute with a type of its own.
    fn asked(&mut self, tree: &sql::Expr, form: &str) -> Typing<(Expr, Kept)> {
        let (expr, kept) = match self.operand(tree)? {
            Operand::Typed(expr, kept) => (expr, kept),
            operand @ Operand::Attribute(_, kind) if !kind.list => {
                let native = native(kind.scalar);
                (self.types.settle(operand, &native, start(tree))?, native)
            }
            _ => return Err(Mistake::new(start(tree), format!("`{form}` asks a column or a single attribute"))),
        };
        comparable(&kept, start(tree))?;
        Ok((expr, kept))
    }

    fn in_list(&mut self, tree: &sql::Expr, list: &[sql::Expr], negated: bool) -> Typing<Expr> {
        let (left, wanted) = self.asked(tree, "IN")?;
        // one type on both sides, so that nothing converts the list
        let (left, wanted) = match matches!(wanted.ty.oid, oid::VARCHAR | oid::NAME) {
            true => (Expr { ty: Ty::TEXT, ..left }, Kept { ty: Ty::TEXT, ..wanted }),
            false => (left, wanted),
        };
        let mut items = vec![];
        for item in list {
            items.push(match self.operand(item)? {
                Operand::Attribute(name, kind) if kind.list => {
                    self.types.attribute(&name, kind, &wanted, start(item))?
                }
                operand @ (Operand::Constant(_) | Operand::Attribute(..)) => {
                    self.types.settle(operand, &wanted, start(item))?
                }
                Operand::Null => return Err(Mistake::new(start(item), "NULL in a list makes every answer unknown")),
                Operand::Typed(..) => return Err(Mistake::new(start(item), "`IN` lists constants and attributes")),
            });
        }
        let not_listed = || Mistake::new(start(tree), format!("{} cannot be compared", wanted.word()));
        let array = pgtype::array(wanted.ty.oid).ok_or_else(not_listed)?;
        let item = pgtype::field("item", Ty::of(wanted.ty.oid), wanted.data_type.clone());
        let array = Expr::lying(Kind::Array(items), Ty::of(array), DataType::List(item.into()), 0);
        let (name, all) = if negated { ("<>", true) } else { ("=", false) };
        operator::any_of(self.types.cx, name, left, array, all, 0).map_err(|_| not_listed())
    }

    fn between(&mut self, tree: &sql::Expr, negated: bool, low: &sql::Expr, high: &sql::Expr) -> Typing<Expr> {
        let (expr, wanted) = self.asked(tree, "BETWEEN")?;
        let (low_operand, high_operand) = (self.operand(low)?, self.operand(high)?);
        let low_bound = self.types.settle(low_operand, &wanted, start(low))?;
        let high_bound = self.types.settle(high_operand, &wanted, start(high))?;
        let (first, second) = if negated { ("<", ">") } else { (">=", "<=") };
        let asked = || (Operand::Typed(expr.clone(), wanted.clone()), start(tree));
        let bound = |bound: Expr, at| (Operand::Typed(bound, Kept::of(wanted.ty, wanted.data_type.clone())), at);
        let both = vec![
            self.types.compare(first, asked(), bound(low_bound, start(low)))?,
            self.types.compare(second, asked(), bound(high_bound, start(high)))?,
        ];
        Ok(Expr::boolean(if negated { Kind::Or(both) } else { Kind::And(both) }, 0))
    }

    fn like(&mut self, tree: &sql::Expr, pattern: &sql::Expr, negated: bool) -> Typing<Expr> {
        let text = self.text(tree)?;
        let at = start(pattern);
        match self.operand(pattern)? {
            Operand::Constant(Constant::Text(pattern)) => {
                // an error at the row that comes so far
                let escapes = pattern.chars().rev().take_while(|c| *c == '\\').count();
                if escapes % 2 == 1 {
                    return Err(Mistake::new(at, "the last `\\` of the pattern has nothing behind it"));
                }
                let pattern = Expr::constant(ScalarValue::Utf8(Some(pattern)), Ty::TEXT, 0);
                let name = if negated { "!~~" } else { "~~" };
                operator::binary(self.types.cx, name, text, pattern, 0)
                    .map_err(|e| Mistake::new(start(tree), e.message().to_owned()))
            }
            _ => Err(Mistake::new(at, "the pattern of LIKE is a text constant")),
        }
    }

    /// A typed text.
    fn text(&mut self, tree: &sql::Expr) -> Typing<Expr> {
        let at = start(tree);
        match self.operand(tree)? {
            Operand::Typed(expr, kept) if kept.is_text() => {
                let word = kept.word();
                self.types.text(expr).ok_or_else(|| Mistake::new(at, format!("this is {word}, text belongs here")))
            }
            Operand::Typed(_, kept) => Err(Mistake::new(at, format!("text belongs here; this is {}", kept.word()))),
            operand @ Operand::Attribute(_, AttributeType { scalar: Scalar::Text, list: false }) => {
                self.types.settle(operand, &native(Scalar::Text), at)
            }
            _ => Err(Mistake::new(at, "a text column belongs here")),
        }
    }
}

/// An expression with the type that it has.
fn typed(expr: Expr) -> Operand {
    let kept = Kept::of(expr.ty, expr.data_type.clone());
    Operand::Typed(expr, kept)
}

fn comparison(op: &sql::BinaryOperator) -> Option<&'static str> {
    match op {
        sql::BinaryOperator::Eq => Some("="),
        sql::BinaryOperator::NotEq => Some("<>"),
        sql::BinaryOperator::Lt => Some("<"),
        sql::BinaryOperator::LtEq => Some("<="),
        sql::BinaryOperator::Gt => Some(">"),
        sql::BinaryOperator::GtEq => Some(">="),
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
