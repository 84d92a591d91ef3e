//! Calls of functions by name, with what may stand between and behind their parentheses (func_expr of gram.y).

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgOperator, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, OrderByExpr,
};

use super::super::encoding::{self, VARIADIC};
use super::{Lexeme, Naming, Parser, object_name};
use crate::error::{Kind, Result};

/// What stands between a call's parentheses.
pub(super) struct Arguments {
    pub(super) list: FunctionArgumentList,
    variadic: bool,
    distinct: bool,
    ordered: bool,
    /// `f(*)`
    star: bool,
}

impl Arguments {
    /// The arguments alone, where nothing but expressions stands.
    pub(super) fn plain(&self) -> Option<Vec<&Expr>> {
        use datafusion::sql::sqlparser::ast::FunctionArgExpr;
        let bare = !self.variadic && !self.distinct && !self.ordered && self.list.duplicate_treatment.is_none();
        let each = self.list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        if bare { each.collect() } else { None }
    }
}

impl Parser<'_> {
    /// CallStmt.
    pub(in crate::sql::parse) fn call_statement(&mut self) -> Result<Function> {
        self.advance();
        let name = self.any_name()?;
        if !self.is_symbol('(') {
            return Err(self.unexpected());
        }
        match self.call(name)? {
            Expr::Function(function) => Ok(function),
            _ => Err(self.unexpected()),
        }
    }

    /// A call from its parenthesis on; or a constant of the type of that name, `timestamptz(3) '…'`.
    pub(super) fn call(&mut self, name: ObjectName) -> Result<Expr> {
        let arguments = self.arguments()?;
        if matches!(self.lexeme(0), Some(Lexeme::Text(_))) && !arguments.star {
            let modifiers = arguments.plain().map(|list| list.into_iter().cloned().collect::<Vec<_>>());
            if let Some(modifiers) = modifiers.filter(|list| !list.is_empty()) {
                let path = name.0.into_iter().filter_map(|part| part.as_ident().cloned()).collect();
                let data_type = super::type_name::generic(path, modifiers);
                return self.typed_text(data_type);
            }
        }
        self.behind(name, arguments)
    }

    /// WITHIN GROUP, FILTER and OVER.
    fn behind(&mut self, name: ObjectName, arguments: Arguments) -> Result<Expr> {
        let mut within_group = vec![];
        if self.is("within") {
            let at = self.at;
            self.advance();
            self.expect("group")?;
            self.expect_symbol('(')?;
            within_group = self.sort_clause()?;
            self.expect_symbol(')')?;
            let refused = [
                (arguments.ordered, "cannot use multiple ORDER BY clauses with WITHIN GROUP"),
                (arguments.distinct, "cannot use DISTINCT with WITHIN GROUP"),
                (arguments.variadic, "cannot use VARIADIC with WITHIN GROUP"),
            ];
            if let Some((_, text)) = refused.iter().find(|(is, _)| *is) {
                return Err(self.refused(Kind::Syntax, *text, at));
            }
        }
        let mut filter = None;
        if self.eat("filter") {
            self.expect_symbol('(')?;
            self.expect("where")?;
            filter = Some(Box::new(self.expr()?));
            self.expect_symbol(')')?;
        }
        let over = if self.eat("over") { Some(self.over()?) } else { None };
        let function = with(name, FunctionArguments::List(arguments.list));
        Ok(match function {
            Expr::Function(function) => Expr::Function(Function { filter, over, within_group, ..function }),
            other => other,
        })
    }

    /// `(…)` of a call.
    pub(super) fn arguments(&mut self) -> Result<Arguments> {
        self.expect_symbol('(')?;
        let list = FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] };
        let mut made = Arguments { list, variadic: false, distinct: false, ordered: false, star: false };
        if self.eat_symbol(')') {
            return Ok(made);
        }
        if self.is_operator("*") {
            use datafusion::sql::sqlparser::ast::FunctionArgExpr;
            self.advance();
            self.expect_symbol(')')?;
            made.list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
            made.star = true;
            return Ok(made);
        }
        let mut quantified = false;
        if self.eat("distinct") {
            (quantified, made.distinct) = (true, true);
            made.list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
        } else if self.eat("all") {
            quantified = true;
            made.list.duplicate_treatment = Some(DuplicateTreatment::All);
        }
        loop {
            made.variadic = !quantified && self.eat("variadic");
            let argument = self.argument(made.variadic)?;
            made.list.args.push(argument);
            if made.variadic || !self.eat_symbol(',') {
                break;
            }
        }
        if self.is("order") {
            let order = self.sort_clause()?;
            made.ordered = true;
            made.list.clauses.push(FunctionArgumentClause::OrderBy(order));
        }
        self.expect_symbol(')')?;
        Ok(made)
    }

    /// func_arg_expr.
    pub(super) fn argument(&mut self, variadic: bool) -> Result<FunctionArg> {
        let operator = match self.lexeme(1) {
            Some(Lexeme::ColonEquals) => Some(FunctionArgOperator::Assignment),
            Some(Lexeme::EqualsGreater) => Some(FunctionArgOperator::RightArrow),
            _ => None,
        };
        let name = match operator.filter(|_| self.names(Naming::Function, 0)) {
            Some(operator) => {
                let name = self.name(Naming::Function)?;
                self.advance();
                Some((name, operator))
            }
            None => None,
        };
        let expr = self.expr()?;
        let expr = if variadic { encoding::marked(VARIADIC, expr) } else { expr };
        Ok(match (name, encoding::argument(expr)) {
            (Some((name, operator)), FunctionArg::Unnamed(arg)) => FunctionArg::Named { name, arg, operator },
            (_, argument) => argument,
        })
    }

    /// `ORDER BY …`
    pub(super) fn sort_clause(&mut self) -> Result<Vec<OrderByExpr>> {
        self.expect_words(&["order", "by"])?;
        self.list(Self::sort_key)
    }
}

/// A call with nothing behind its parentheses.
pub(super) fn with(name: ObjectName, args: FunctionArguments) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

pub(super) fn called(name: ObjectName, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(encoding::argument).collect();
    with(name, FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }))
}

/// A function of pg_catalog that the grammar itself calls.
pub(super) fn plain(name: &str, arguments: Vec<Expr>) -> Expr {
    called(object_name(vec![Ident::new("pg_catalog"), Ident::new(name)]), arguments)
}
