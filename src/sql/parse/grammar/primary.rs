//! What stands between operators: c_expr of gram.y. Constants, columns, parentheses, rows, CASE, ARRAY, subqueries.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, Expr, FunctionArguments, Ident, Interval, Query, Subscript,
    TypedString, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::expr::Operators;
use super::{Lexeme, Naming, Parser, object_name, reference};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::keyword::Category;

/// An operand, and whether it is written as a row, which OVERLAPS may follow.
pub(super) enum Primary {
    Expr(Expr),
    Row(Expr),
}

/// A star stands at the end or not at all.
const STAR_WITHIN: &str = "improper use of \"*\"";

/// What parentheses may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Query,
    Anything,
}

/// What parentheses hold that begin with a query.
enum Inner {
    Query(Box<Query>),
    /// With its parentheses and whatever of indirection follows them.
    Expr(Primary),
}

impl Parser<'_> {
    pub(super) fn primary(&mut self, operators: Operators) -> Result<Primary> {
        let Some(token) = self.token() else { return Err(self.unexpected()) };
        let span = Span::new(token.from, token.to);
        let value = match &token.lexeme {
            Lexeme::Integer | Lexeme::Number => Value::Number(self.slice(token).to_owned(), false),
            Lexeme::Text(text) => super::text_value(text),
            Lexeme::Bits(bits) => Value::SingleQuotedByteStringLiteral(bits.clone()),
            Lexeme::Hex(digits) => Value::HexStringLiteral(digits.clone()),
            Lexeme::Parameter => {
                self.advance();
                let parameter = Value::Placeholder(self.slice(token).to_owned());
                return self.indirection(Expr::Value(parameter.with_span(span))).map(Primary::Expr);
            }
            Lexeme::Symbol('(') => return self.parentheses(),
            Lexeme::Quoted(_) | Lexeme::Word(None) => return self.named().map(Primary::Expr),
            Lexeme::Word(Some(keyword)) => match keyword.word {
                "null" => Value::Null,
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                "row" if self.symbol_ahead(1) == Some('(') => return self.row().map(Primary::Row),
                word => return self.keyword_primary(word, operators).map(Primary::Expr),
            },
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(Primary::Expr(Expr::Value(value.with_span(span))))
    }

    fn keyword_primary(&mut self, word: &'static str, operators: Operators) -> Result<Expr> {
        let called = self.symbol_ahead(1) == Some('(');
        match word {
            "case" => return self.case(),
            "array" => return self.array(),
            "exists" if called => {
                self.advance();
                let subquery = self.subquery()?;
                return Ok(Expr::Exists { subquery, negated: false });
            }
            "unique" if operators == Operators::All => {
                let at = self.at;
                self.advance();
                self.subquery()?;
                let text = "UNIQUE predicate is not yet implemented";
                return Err(self.refused(Kind::Unsupported, text, at));
            }
            // judged by whoever knows where it stands
            "default" if operators == Operators::All => {
                let word = self.name(Naming::Label)?;
                return Ok(Expr::Identifier(word));
            }
            "interval" => {
                if let Some(interval) = self.interval_constant()? {
                    return Ok(interval);
                }
            }
            _ => {}
        }
        if let Some(made) = self.special(word)? {
            return Ok(made);
        }
        if self.type_constant_follows(word) {
            let data_type = self.constant_type()?;
            return self.typed_text(data_type);
        }
        match self.keyword(0).map(|keyword| keyword.category) {
            Some(Category::Reserved) | None => Err(self.unexpected()),
            Some(_) => self.named(),
        }
    }

    /// A column, a call, or a constant of a named type.
    fn named(&mut self) -> Result<Expr> {
        let as_column = self.names(Naming::Column, 0);
        let as_function = self.names(Naming::Function, 0);
        let first = self.name(if as_column { Naming::Column } else { Naming::Function })?;
        let mut path = vec![first];
        let mut star = None;
        if as_column {
            while self.is_symbol('.') {
                self.advance();
                if self.is_operator("*") {
                    star = Some(self.attached());
                    self.advance();
                    break;
                }
                path.push(self.name(Naming::Label)?);
            }
        }
        if let Some(star) = star {
            if self.is_symbol('.') || self.is_symbol('[') {
                self.indirection(Expr::Tuple(vec![]))?;
                return Err(self.near(STAR_WITHIN));
            }
            return Ok(Expr::QualifiedWildcard(object_name(path), star));
        }
        if as_function || path.len() > 1 {
            if self.is_symbol('(') {
                return self.call(object_name(path));
            }
            if matches!(self.lexeme(0), Some(Lexeme::Text(_))) {
                let data_type = super::type_name::generic(path, vec![]);
                return self.typed_text(data_type);
            }
        }
        match as_column {
            true if self.is_symbol('[') => {
                let mut path = path.into_iter();
                let root = path.next().map_or(Expr::Value(Value::Null.into()), Expr::Identifier);
                let dots = path.map(|part| AccessExpr::Dot(Expr::Identifier(part))).collect();
                self.accesses(root, dots)
            }
            true => Ok(reference(path)),
            false => Err(self.unexpected()),
        }
    }

    /// A string of a type.
    pub(super) fn typed_text(&mut self, data_type: datafusion::sql::sqlparser::ast::DataType) -> Result<Expr> {
        let value = self.text_constant().ok_or_else(|| self.unexpected())?;
        Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
    }

    /// `interval '1' day`, `interval(3) '…'`. `None`: the word is a column's name.
    fn interval_constant(&mut self) -> Result<Option<Expr>> {
        if matches!(self.lexeme(1), Some(Lexeme::Text(_))) {
            self.advance();
            let value = self.text_constant().ok_or_else(|| self.unexpected())?;
            let fields = self.interval_fields()?;
            return Ok(Some(Expr::Interval(Interval {
                value: Box::new(Expr::Value(value)),
                leading_field: fields.first,
                leading_precision: fields.first_precision,
                last_field: fields.last,
                fractional_seconds_precision: fields.last_precision,
            })));
        }
        if self.symbol_ahead(1) != Some('(') {
            return Ok(None);
        }
        let data_type = self.type_name()?;
        self.typed_text(data_type).map(Some)
    }

    // --- indirection

    /// `.field`, `[1]`, `[1:2]` behind a parameter or parentheses.
    pub(super) fn indirection(&mut self, root: Expr) -> Result<Expr> {
        self.accesses(root, vec![])
    }

    fn accesses(&mut self, root: Expr, mut chain: Vec<AccessExpr>) -> Result<Expr> {
        loop {
            if self.eat_symbol('.') {
                let field = if self.is_operator("*") {
                    let star = self.attached();
                    self.advance();
                    Expr::Wildcard(star)
                } else {
                    Expr::Identifier(self.name(Naming::Label)?)
                };
                chain.push(AccessExpr::Dot(field));
            } else if self.eat_symbol('[') {
                chain.push(AccessExpr::Subscript(self.subscript()?));
            } else if chain.is_empty() {
                return Ok(root);
            } else if chain.iter().rev().skip(1).any(|access| matches!(access, AccessExpr::Dot(Expr::Wildcard(_)))) {
                return Err(self.near(STAR_WITHIN));
            } else {
                return Ok(Expr::CompoundFieldAccess { root: Box::new(root), access_chain: chain });
            }
        }
    }

    /// Behind `[`.
    fn subscript(&mut self) -> Result<Subscript> {
        let lower_bound = if self.is_symbol(':') { None } else { Some(self.expr()?) };
        if self.eat_symbol(']') {
            return lower_bound.map(|index| Subscript::Index { index }).ok_or_else(|| self.unexpected());
        }
        self.expect_symbol(':')?;
        let upper_bound = if self.is_symbol(']') { None } else { Some(self.expr()?) };
        self.expect_symbol(']')?;
        Ok(Subscript::Slice { lower_bound, upper_bound, stride: None })
    }

    // --- parentheses

    /// Whether parentheses that open here begin with a query.
    pub(super) fn starts_query(&self) -> bool {
        let open = (0..=self.depth_max).take_while(|n| self.symbol_ahead(*n) == Some('(')).count();
        // deeper than may be read, whatever is in it
        open > self.depth_max || open > 0 && self.starts_select(open)
    }

    /// Whether a query without parentheses begins at the n-th token from here.
    pub(super) fn starts_select(&self, n: usize) -> bool {
        match self.word(n) {
            Some("select" | "with" | "table") => true,
            // it may be a column's name
            Some("values") => self.symbol_ahead(n + 1) == Some('('),
            _ => false,
        }
    }

    /// A query in parentheses, and nothing else.
    pub(super) fn subquery(&mut self) -> Result<Box<Query>> {
        if !self.starts_query() {
            self.expect_symbol('(')?;
            while self.eat_symbol('(') {}
            self.eat("values");
            return Err(self.unexpected());
        }
        match self.inner(Holds::Query)? {
            Inner::Query(query) => Ok(query),
            Inner::Expr(_) => Err(self.unexpected()),
        }
    }

    /// What ANY and IN take: a query, or an expression, in parentheses.
    pub(super) fn parenthesis(&mut self) -> Result<Expr> {
        if self.starts_query() {
            return Ok(match self.inner(Holds::Anything)? {
                Inner::Query(query) => Expr::Subquery(query),
                Inner::Expr(Primary::Expr(expr) | Primary::Row(expr)) => expr,
            });
        }
        self.expect_symbol('(')?;
        let expr = self.expr()?;
        self.expect_symbol(')')?;
        Ok(expr)
    }

    /// Parentheses where an operand is read.
    fn parentheses(&mut self) -> Result<Primary> {
        if self.starts_query() {
            return match self.inner(Holds::Anything)? {
                Inner::Query(query) => self.indirection(Expr::Subquery(query)).map(Primary::Expr),
                Inner::Expr(primary) => Ok(primary),
            };
        }
        self.expect_symbol('(')?;
        let first = self.expr()?;
        self.closed(first)
    }

    /// The rest of parentheses whose first expression is read: more of them make a row.
    fn closed(&mut self, first: Expr) -> Result<Primary> {
        if !self.is_symbol(',') {
            self.expect_symbol(')')?;
            return self.indirection(Expr::Nested(Box::new(first))).map(Primary::Expr);
        }
        let mut items = vec![first];
        while self.eat_symbol(',') {
            items.push(self.expr()?);
        }
        self.expect_symbol(')')?;
        Ok(Primary::Row(Expr::Tuple(items)))
    }

    /// Parentheses of which [`Self::starts_query`] holds. What `((SELECT 1)` is shows only behind the second parenthesis.
    fn inner(&mut self, holds: Holds) -> Result<Inner> {
        self.deeper(|parser| {
            parser.expect_symbol('(')?;
            if !parser.is_symbol('(') {
                let query = parser.query()?;
                parser.expect_symbol(')')?;
                return Ok(Inner::Query(Box::new(query)));
            }
            let open = parser.at;
            let first = match parser.inner(holds)? {
                Inner::Query(query) if parser.eat_symbol(')') => return Ok(Inner::Query(query)),
                Inner::Query(query) if parser.query_goes_on() => {
                    let query = parser.query_from(*query)?;
                    parser.expect_symbol(')')?;
                    return Ok(Inner::Query(Box::new(query)));
                }
                Inner::Query(_) if holds == Holds::Query => return Err(parser.unexpected()),
                Inner::Query(query) => parser.indirection(Expr::Subquery(query))?,
                Inner::Expr(Primary::Row(row)) if parser.is("overlaps") => parser.overlaps(row, open)?,
                Inner::Expr(Primary::Expr(expr) | Primary::Row(expr)) => expr,
            };
            let first = parser.expr_from(first)?;
            parser.closed(first).map(Inner::Expr)
        })
    }

    // --- rows

    /// `ROW(…)`.
    fn row(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        self.expect_symbol('(')?;
        let items = if self.is_symbol(')') { vec![] } else { self.expr_list()? };
        self.expect_symbol(')')?;
        Ok(super::call::called(object_name(vec![name]), items))
    }

    /// `left OVERLAPS row` from OVERLAPS on; `start` is the token that the left row begins at.
    pub(super) fn overlaps(&mut self, left: Expr, start: usize) -> Result<Expr> {
        self.expect("overlaps")?;
        let places = [start, self.at].map(|token| self.place(token));
        let right = match self.is("row") {
            true => self.row()?,
            false => {
                let row = if self.is_symbol('(') { self.parentheses()? } else { return Err(self.unexpected()) };
                match row {
                    Primary::Row(row) => row,
                    Primary::Expr(_) => return Err(self.unexpected()),
                }
            }
        };
        let mut both = vec![];
        for ((row, side), place) in [(left, "left"), (right, "right")].into_iter().zip(places) {
            let items = row_items(row).filter(|items| items.len() == 2);
            let text = format!("wrong number of parameters on {side} side of OVERLAPS expression");
            both.push(Box::new(Expr::Tuple(items.ok_or_else(|| Error::new(Kind::Syntax, text).at(place))?)));
        }
        let (Some(right), Some(left)) = (both.pop(), both.pop()) else { return Err(self.unexpected()) };
        Ok(Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right })
    }

    // --- CASE and ARRAY

    fn case(&mut self) -> Result<Expr> {
        let case_token = self.attached();
        self.expect("case")?;
        let operand = if self.is("when") { None } else { Some(Box::new(self.expr()?)) };
        let mut conditions = vec![];
        loop {
            self.expect("when")?;
            let condition = self.expr()?;
            self.expect("then")?;
            conditions.push(CaseWhen { condition, result: self.expr()? });
            if !self.is("when") {
                break;
            }
        }
        let else_result = if self.eat("else") { Some(Box::new(self.expr()?)) } else { None };
        let end_token = self.attached();
        self.expect("end")?;
        Ok(Expr::Case { case_token, end_token, operand, conditions, else_result })
    }

    fn array(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        if self.is_symbol('(') {
            let query = self.subquery()?;
            let name = object_name(vec![Ident { value: "ARRAY".into(), ..name }]);
            return Ok(super::call::with(name, FunctionArguments::Subquery(query)));
        }
        self.array_items(true)
    }

    /// `[1, 2]`, `[[1], [2]]`, `[]`.
    fn array_items(&mut self, named: bool) -> Result<Expr> {
        self.deeper(|parser| {
            parser.expect_symbol('[')?;
            let elem = match parser.symbol_ahead(0) {
                Some(']') => vec![],
                Some('[') => parser.list(|parser| parser.array_items(false))?,
                _ => parser.expr_list()?,
            };
            parser.expect_symbol(']')?;
            Ok(Expr::Array(Array { elem, named }))
        })
    }
}

/// The fields of a row that is written as one.
fn row_items(row: Expr) -> Option<Vec<Expr>> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
    match row {
        Expr::Tuple(items) => Some(items),
        Expr::Function(function) => match function.args {
            FunctionArguments::List(list) => {
                let items = list.args.into_iter().map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                });
                items.collect()
            }
            FunctionArguments::None | FunctionArguments::Subquery(_) => None,
        },
        _ => None,
    }
}
