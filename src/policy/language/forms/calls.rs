//! Calls of functions, and CASE, COALESCE and their kin: which of them a line may make, and what they take.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self as sql, Spanned};

use super::{Language, Reader, start, typed};
use crate::pgtype::Ty;
use crate::policy::file::did_you_mean;
use crate::policy::file::object::Mistake;
use crate::policy::file::users::Scalar;
use crate::policy::language::functions::{self, FUNCTIONS, Function, Shape};
use crate::policy::language::kept::Kept;
use crate::policy::language::literal::Constant;
use crate::policy::language::settle::{Operand, Typing, comparable, native, null};
use crate::sql::expr::{Call, Expr, Kind};
use crate::sql::resolve::function::{Argument, Found, resolve};

impl Reader<'_> {
    /// A call's function and its plain arguments.
    pub(super) fn function<'t>(&self, call: &'t sql::Function) -> Typing<(&'static Function, Vec<&'t sql::Expr>)> {
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

    pub(super) fn call(&mut self, tree: &sql::Expr, function: &Function, args: &[&sql::Expr]) -> Typing<Operand> {
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
        self.called(function.name, texts, at)
    }

    /// The function of that name over texts, as `sql` finds it.
    pub(super) fn called(&self, name: &str, arguments: Vec<Expr>, at: usize) -> Typing<Operand> {
        let arguments = arguments.into_iter().map(|expr| Argument { name: None, expr }).collect();
        let found = resolve(self.types.cx, Some("pg_catalog"), name, arguments, false, 0);
        let found = found.map_err(|e| Mistake::new(at, e.message().to_owned()))?;
        Ok(typed(match found {
            Found::Cast(expr) => expr,
            Found::Call(call) => {
                let (ty, data_type) = (call.ty, call.data_type);
                let call = Call { proc: call.proc, arguments: call.arguments, variadic: call.variadic };
                Expr::lying(Kind::Call(call), ty, data_type, 0)
            }
        }))
    }

    /// Arguments that are texts.
    fn texts(&mut self, args: &[&sql::Expr]) -> Typing<Vec<Expr>> {
        let text = native(Scalar::Text);
        args.iter().map(|arg| self.value(arg, &text)).collect()
    }

    /// The type that the others take: of the first that has one.
    pub(super) fn first_type(&mut self, tree: &sql::Expr, args: &[&sql::Expr]) -> Typing<Kept> {
        for arg in args {
            match self.operand(arg)? {
                Operand::Typed(_, kept) => return Ok(kept),
                Operand::Attribute(_, kind) if !kind.list => return Ok(native(kind.scalar)),
                Operand::Attribute(..) | Operand::Constant(_) | Operand::Null => {}
            }
        }
        Err(Mistake::new(start(tree), "at least one column belongs in here"))
    }

    pub(super) fn coalesce(&mut self, args: &[&sql::Expr], wanted: &Kept) -> Typing<Expr> {
        let values = args.iter().map(|arg| self.value(arg, wanted)).collect::<Typing<Vec<_>>>()?;
        match values.is_empty() {
            true => Err(Mistake::new(0, "`coalesce` takes at least one argument")),
            false => Ok(Expr::lying(Kind::Coalesce(values), wanted.ty, wanted.data_type.clone(), 0)),
        }
    }

    pub(super) fn null_if(&mut self, tree: &sql::Expr, args: &[&sql::Expr], wanted: &Kept) -> Typing<Expr> {
        let [value, other] = args else {
            return Err(Mistake::new(start(tree), "`nullif` takes two arguments"));
        };
        comparable(wanted, start(tree))?;
        let (left, right) = (self.value(value, wanted)?, self.value(other, wanted)?);
        let operand = |expr: Expr, at| (Operand::Typed(expr, Kept::of(wanted.ty, wanted.data_type.clone())), at);
        let (equals, left, right) = self.types.pair("=", operand(left, start(value)), operand(right, start(other)))?;
        let kind = Kind::NullIf { equals, left: Box::new(left), right: Box::new(right) };
        Ok(Expr::lying(kind, wanted.ty, wanted.data_type.clone(), 0))
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&sql::Expr>,
        conditions: &[sql::CaseWhen],
        otherwise: Option<&sql::Expr>,
        wanted: &Kept,
    ) -> Typing<Expr> {
        let mut whens = vec![];
        for sql::CaseWhen { condition, result } in conditions {
            let when = match operand {
                None => self.condition(condition)?,
                Some(asked) => {
                    let (left, right) = (self.operand(asked)?, self.operand(condition)?);
                    self.types.compare("=", (left, start(asked)), (right, start(condition)))?
                }
            };
            whens.push((when, self.value(result, wanted)?));
        }
        let otherwise = match otherwise {
            Some(tree) => self.value(tree, wanted)?,
            None => null(wanted, 0)?,
        };
        let kind = Kind::Case { whens, otherwise: Some(Box::new(otherwise)) };
        Ok(Expr::lying(kind, wanted.ty, wanted.data_type.clone(), 0))
    }

    /// Positions are constants, for a negative length would be an error at a row.
    pub(super) fn substring(
        &mut self,
        tree: &sql::Expr,
        from: Option<&sql::Expr>,
        count: Option<&sql::Expr>,
    ) -> Typing<Operand> {
        let mut args = vec![self.text(tree)?];
        for position in [from, count].into_iter().flatten() {
            let at = start(position);
            match self.operand(position)? {
                Operand::Constant(Constant::Number(n)) => match n.parse::<i32>() {
                    Ok(n) if n >= 0 => args.push(Expr::constant(ScalarValue::Int32(Some(n)), Ty::INT4, at)),
                    _ => return Err(Mistake::new(at, "a whole number of characters belongs here")),
                },
                _ => return Err(Mistake::new(at, "a number of characters belongs here")),
            }
        }
        if from.is_none() {
            return Err(Mistake::new(start(tree), "`substr` takes a text, a start and, if wanted, a length"));
        }
        self.called("substr", args, start(tree))
    }
}

fn start_of(call: &sql::Function) -> usize {
    crate::policy::language::offset(call.span().start)
}
