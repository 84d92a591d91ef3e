//! Functions with a syntax of their own: func_expr_common_subexpr of gram.y, and GROUPING.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, ExtractSyntax, FunctionArgumentList, FunctionArguments, Ident,
    TrimWhereField, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::super::encoding;
use super::call::{called, plain, with};
use super::{Lexeme, Naming, Parser, object_name};
use crate::error::{Error, Result};

impl Parser<'_> {
    /// What the keyword here begins, if it is one of these.
    pub(super) fn special(&mut self, word: &'static str) -> Result<Option<Expr>> {
        let parenthesis = self.symbol_ahead(1) == Some('(');
        match word {
            "current_date" | "current_role" | "current_user" | "session_user" | "user" | "current_catalog" => {
                self.value_function().map(Some)
            }
            "current_schema" if !parenthesis => self.value_function().map(Some),
            "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => match parenthesis {
                true => self.value_function_of_digits().map(Some),
                false => self.value_function().map(Some),
            },
            "cast" => self.cast().map(Some),
            "collation" if self.word(1) == Some("for") => self.collation_for().map(Some),
            _ if !parenthesis => Ok(None),
            "coalesce" | "greatest" | "least" | "grouping" => {
                let name = self.name(Naming::Label)?;
                self.expect_symbol('(')?;
                let arguments = self.expr_list()?;
                self.expect_symbol(')')?;
                Ok(Some(called(object_name(vec![name]), arguments)))
            }
            "nullif" => {
                let name = self.name(Naming::Label)?;
                self.expect_symbol('(')?;
                let first = self.expr()?;
                self.expect_symbol(',')?;
                let second = self.expr()?;
                self.expect_symbol(')')?;
                Ok(Some(called(object_name(vec![name]), vec![first, second])))
            }
            "extract" => self.extract().map(Some),
            "normalize" => self.normalize().map(Some),
            "overlay" => self.overlay().map(Some),
            "position" => self.position().map(Some),
            "substring" => self.substring().map(Some),
            "treat" => self.treat().map(Some),
            "trim" => self.trim().map(Some),
            "xmlconcat" | "xmlelement" | "xmlexists" | "xmlforest" | "xmlparse" | "xmlpi" | "xmlroot"
            | "xmlserialize" => {
                let text = word.to_ascii_uppercase();
                Err(Error::unsupported(text).at(self.place(self.at)))
            }
            _ => Ok(None),
        }
    }

    fn value_function(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        Ok(with(object_name(vec![name]), FunctionArguments::None))
    }

    fn value_function_of_digits(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        self.expect_symbol('(')?;
        let at = self.at;
        let digits = self.integer()?;
        let digits = Value::Number(digits.to_string(), false).with_span(self.span_from(at));
        self.expect_symbol(')')?;
        Ok(called(object_name(vec![name]), vec![Expr::Value(digits)]))
    }

    fn cast(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol('(')?;
        let expr = Box::new(self.expr()?);
        self.expect("as")?;
        let data_type = self.type_name()?;
        self.expect_symbol(')')?;
        Ok(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
    }

    /// TREAT is a call of the function that is called as the type.
    fn treat(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol('(')?;
        let expr = self.expr()?;
        self.expect("as")?;
        let data_type = self.type_name()?;
        self.expect_symbol(')')?;
        let name = match data_type {
            DataType::Custom(name, _) => name.0.last().and_then(|part| part.as_ident().cloned()),
            other => Some(Ident::new(super::type_name::internal(&other))),
        };
        let name = name.map_or_else(String::new, |ident| ident.value);
        Ok(plain(&name, vec![expr]))
    }

    fn collation_for(&mut self) -> Result<Expr> {
        self.advance();
        self.advance();
        self.expect_symbol('(')?;
        let expr = self.expr()?;
        self.expect_symbol(')')?;
        Ok(plain("pg_collation_for", vec![expr]))
    }

    fn extract(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol('(')?;
        let word = self.word(0);
        let span = self.token().map_or(Span::empty(), |token| Span::new(token.from, token.to));
        let field = match self.lexeme(0) {
            Some(Lexeme::Text(_)) => match self.text_constant().and_then(|value| value.value.into_string()) {
                Some(value) => DateTimeField::Custom(Ident { value, quote_style: Some('\''), span }),
                None => return Err(self.unexpected()),
            },
            Some(Lexeme::Word(None) | Lexeme::Quoted(_)) => date_field(self.name(Naming::Label)?),
            _ if matches!(word, Some("year" | "month" | "day" | "hour" | "minute" | "second")) => {
                date_field(self.name(Naming::Label)?)
            }
            _ => return Err(self.unexpected()),
        };
        self.expect("from")?;
        let expr = Box::new(self.expr()?);
        self.expect_symbol(')')?;
        Ok(Expr::Extract { field, syntax: ExtractSyntax::From, expr })
    }

    fn normalize(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        self.expect_symbol('(')?;
        let mut arguments = vec![self.expr()?];
        if self.eat_symbol(',') {
            if !matches!(self.word(0), Some("nfc" | "nfd" | "nfkc" | "nfkd")) {
                return Err(self.unexpected());
            }
            arguments.push(Expr::Identifier(self.name(Naming::Label)?));
        }
        self.expect_symbol(')')?;
        Ok(called(object_name(vec![name]), arguments))
    }

    fn position(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol('(')?;
        let expr = Box::new(self.bare_expr()?);
        self.expect("in")?;
        let r#in = Box::new(self.bare_expr()?);
        self.expect_symbol(')')?;
        Ok(Expr::Position { expr, r#in })
    }

    fn overlay(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        if self.ordinary_call_follows() {
            return self.ordinary_call(name);
        }
        self.expect_symbol('(')?;
        let expr = self.expr()?;
        if !self.eat("placing") {
            return self.ordinary_call_from(name, expr);
        }
        let overlay_what = Box::new(self.expr()?);
        self.expect("from")?;
        let overlay_from = Box::new(self.expr()?);
        let overlay_for = if self.eat("for") { Some(Box::new(self.expr()?)) } else { None };
        self.expect_symbol(')')?;
        Ok(Expr::Overlay { expr: Box::new(expr), overlay_what, overlay_from, overlay_for })
    }

    fn substring(&mut self) -> Result<Expr> {
        let name = self.name(Naming::Label)?;
        if self.ordinary_call_follows() {
            return self.ordinary_call(name);
        }
        self.expect_symbol('(')?;
        let first = self.expr_before_similar()?;
        if self.eat("similar") {
            let pattern = self.expr()?;
            self.expect("escape")?;
            let escape = self.expr()?;
            self.expect_symbol(')')?;
            return Ok(plain("substring", vec![first, pattern, escape]));
        }
        let (from, length) = if self.eat("from") {
            let from = self.expr()?;
            (Some(from), if self.eat("for") { Some(self.expr()?) } else { None })
        } else if self.eat("for") {
            let length = self.expr()?;
            (if self.eat("from") { Some(self.expr()?) } else { None }, Some(length))
        } else {
            return self.ordinary_call_from(name, first);
        };
        self.expect_symbol(')')?;
        Ok(Expr::Substring {
            expr: Box::new(first),
            substring_from: from.map(Box::new),
            substring_for: length.map(Box::new),
            special: false,
            shorthand: false,
        })
    }

    /// Whether the parentheses here begin as only those of an ordinary call do.
    fn ordinary_call_follows(&self) -> bool {
        let named = matches!(self.lexeme(2), Some(Lexeme::ColonEquals | Lexeme::EqualsGreater));
        self.symbol_ahead(1) == Some(')') || named && self.names(Naming::Function, 1)
    }

    /// func_arg_list_opt.
    fn ordinary_call(&mut self, name: Ident) -> Result<Expr> {
        let arguments = self.arguments()?;
        Ok(with(object_name(vec![name]), FunctionArguments::List(arguments.list)))
    }

    /// The same behind its first argument.
    fn ordinary_call_from(&mut self, name: Ident, first: Expr) -> Result<Expr> {
        let mut arguments = vec![encoding::argument(first)];
        while self.eat_symbol(',') {
            arguments.push(self.argument(false)?);
        }
        self.expect_symbol(')')?;
        let list = FunctionArgumentList { duplicate_treatment: None, args: arguments, clauses: vec![] };
        Ok(with(object_name(vec![name]), FunctionArguments::List(list)))
    }

    fn trim(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol('(')?;
        let trim_where = match self.word(0) {
            Some("both") => Some(TrimWhereField::Both),
            Some("leading") => Some(TrimWhereField::Leading),
            Some("trailing") => Some(TrimWhereField::Trailing),
            _ => None,
        };
        if trim_where.is_some() {
            self.advance();
        }
        let mut what = None;
        if !self.eat("from") {
            let first = self.expr()?;
            if self.eat("from") {
                what = Some(first);
            } else {
                let mut rest = vec![];
                while self.eat_symbol(',') {
                    rest.push(self.expr()?);
                }
                self.expect_symbol(')')?;
                return Ok(trimmed(trim_where, first, rest, None));
            }
        }
        let mut of = self.expr_list()?;
        self.expect_symbol(')')?;
        let rest = of.split_off(1.min(of.len()));
        let Some(first) = of.pop() else { return Err(self.unexpected()) };
        Ok(trimmed(trim_where, first, rest, what))
    }
}

fn trimmed(trim_where: Option<TrimWhereField>, of: Expr, rest: Vec<Expr>, what: Option<Expr>) -> Expr {
    if !rest.is_empty() {
        let name = match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        };
        return plain(name, std::iter::once(of).chain(rest).chain(what).collect());
    }
    Expr::Trim { trim_where, trim_what: what.map(Box::new), expr: Box::new(of), trim_characters: None }
}

/// The tree's variant of EXTRACT's field.
fn date_field(ident: Ident) -> DateTimeField {
    if ident.quote_style.is_some() {
        return DateTimeField::Custom(ident);
    }
    match ident.value.to_ascii_lowercase().as_str() {
        "year" => DateTimeField::Year,
        "month" => DateTimeField::Month,
        "week" => DateTimeField::Week(None),
        "day" => DateTimeField::Day,
        "hour" => DateTimeField::Hour,
        "minute" => DateTimeField::Minute,
        "second" => DateTimeField::Second,
        "century" => DateTimeField::Century,
        "decade" => DateTimeField::Decade,
        "dow" => DateTimeField::Dow,
        "doy" => DateTimeField::Doy,
        "epoch" => DateTimeField::Epoch,
        "isodow" => DateTimeField::Isodow,
        "isoyear" => DateTimeField::Isoyear,
        "julian" => DateTimeField::Julian,
        "microseconds" => DateTimeField::Microseconds,
        "millennium" => DateTimeField::Millennium,
        "milliseconds" => DateTimeField::Milliseconds,
        "quarter" => DateTimeField::Quarter,
        "timezone" => DateTimeField::Timezone,
        "timezone_hour" => DateTimeField::TimezoneHour,
        "timezone_minute" => DateTimeField::TimezoneMinute,
        _ => DateTimeField::Custom(ident),
    }
}
