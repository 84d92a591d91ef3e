//! Operators and what stands like one: a_expr and b_expr of gram.y, by its table of precedences.

use datafusion::sql::sqlparser::ast::{BinaryOperator, CastKind, Expr, NormalizationForm, UnaryOperator};

use datafusion::sql::sqlparser::tokenizer::Span;

use super::super::encoding::{self, SYMMETRIC};
use super::Parser;
use super::primary::Primary;
use crate::error::Result;

/// How tight an operator binds, the loosest first. All of one level lean to the left, or do not chain at all.
mod level {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const IS: u8 = 4;
    pub(super) const COMPARISON: u8 = 5;
    /// BETWEEN, IN, LIKE, ILIKE, SIMILAR TO.
    pub(super) const MATCH: u8 = 6;
    /// Every other operator.
    pub(super) const OTHER: u8 = 7;
    pub(super) const SUM: u8 = 8;
    pub(super) const PRODUCT: u8 = 9;
    pub(super) const POWER: u8 = 10;
    pub(super) const AT: u8 = 11;
    pub(super) const COLLATE: u8 = 12;
    pub(super) const SIGN: u8 = 13;
    pub(super) const CAST: u8 = 14;
}

/// Which operators may stand in an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operators {
    /// a_expr
    All,
    /// b_expr, whose end AND, IN or NOT may be.
    Some,
}

impl Parser<'_> {
    /// a_expr inside something.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.deeper(Self::clause_expr)
    }

    /// a_expr of a query's clause.
    pub(super) fn clause_expr(&mut self) -> Result<Expr> {
        self.ending(false, false, |parser| parser.a_expr(0))
    }

    /// a_expr that may be followed by its column's name.
    pub(super) fn target_expr(&mut self) -> Result<Expr> {
        self.ending(false, true, |parser| parser.a_expr(0))
    }

    /// a_expr that may end before SIMILAR.
    pub(super) fn expr_before_similar(&mut self) -> Result<Expr> {
        self.deeper(|parser| parser.ending(true, false, |parser| parser.a_expr(0)))
    }

    /// b_expr.
    pub(super) fn bare_expr(&mut self) -> Result<Expr> {
        self.deeper(|parser| parser.ending(false, false, |parser| parser.operand(0, Operators::Some)))
    }

    pub(super) fn expr_list(&mut self) -> Result<Vec<Expr>> {
        self.list(Self::expr)
    }

    /// The rest of an a_expr whose first operand is read already.
    pub(super) fn expr_from(&mut self, first: Expr) -> Result<Expr> {
        self.ending(false, false, |parser| parser.rest(first, 0, Operators::All))
    }

    fn ending<T>(&mut self, similar: bool, label: bool, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = (self.similar_ends, self.label_may_follow);
        (self.similar_ends, self.label_may_follow) = (similar, label);
        let made = read(self);
        (self.similar_ends, self.label_may_follow) = before;
        made
    }

    fn a_expr(&mut self, min: u8) -> Result<Expr> {
        self.operand(min, Operators::All)
    }

    /// The operand on the right of an operator, behind which a word goes on with it or with what is around it.
    fn right(&mut self, min: u8, operators: Operators) -> Result<Expr> {
        let before = std::mem::replace(&mut self.label_may_follow, false);
        let made = self.operand(min, operators);
        self.label_may_follow = before;
        made
    }

    /// One operand with all operators behind it that bind at least as tight as `min`.
    fn operand(&mut self, min: u8, operators: Operators) -> Result<Expr> {
        let first = self.prefixed(operators)?;
        self.rest(first, min, operators)
    }

    /// A primary, or a prefix operator with its operand.
    fn prefixed(&mut self, operators: Operators) -> Result<Expr> {
        if operators == Operators::All && self.is("not") {
            self.advance();
            let of = self.deeper(|parser| parser.right(level::NOT, Operators::All))?;
            return Ok(match of {
                Expr::Exists { subquery, negated: false } => Expr::Exists { subquery, negated: true },
                of => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(of) },
            });
        }
        let sign = match self.operator_ahead(0) {
            Some("+") => Some(UnaryOperator::Plus),
            Some("-") => Some(UnaryOperator::Minus),
            _ => None,
        };
        if let Some(op) = sign {
            self.advance();
            let of = self.deeper(|parser| parser.right(level::SIGN, operators))?;
            return Ok(Expr::UnaryOp { op, expr: Box::new(of) });
        }
        if self.operator_level() == Some(level::OTHER) {
            let start = self.at;
            let name = self.operator_name()?;
            let span = self.span_from(start);
            let of = self.deeper(|parser| parser.right(level::OTHER + 1, operators))?;
            return Ok(prefix(name, of, span));
        }
        let start = self.at;
        match self.primary(operators)? {
            Primary::Expr(expr) => Ok(expr),
            Primary::Row(row) if operators == Operators::All && self.is("overlaps") => self.overlaps(row, start),
            Primary::Row(row) => Ok(row),
        }
    }

    fn rest(&mut self, mut left: Expr, min: u8, operators: Operators) -> Result<Expr> {
        while let Some(found) = self.level(operators).filter(|level| *level >= min) {
            left = self.infix(left, found, operators)?;
        }
        Ok(left)
    }

    /// How tight what comes next binds, if it goes on with an operand.
    fn level(&self, operators: Operators) -> Option<u8> {
        if matches!(self.lexeme(0), Some(super::Lexeme::TypeCast)) {
            return Some(level::CAST);
        }
        if let Some(level) = self.operator_level() {
            return Some(level);
        }
        let keyword = self.keyword(0)?;
        if self.label_may_follow && keyword.bare_label && self.ends_target(1) {
            return None;
        }
        let word = keyword.word;
        match (operators, word) {
            (_, "is") => Some(level::IS),
            (Operators::Some, _) => None,
            (_, "or") => Some(level::OR),
            (_, "and") => Some(level::AND),
            (_, "isnull" | "notnull") => Some(level::IS),
            (_, "between" | "in" | "like" | "ilike") => Some(level::MATCH),
            (_, "similar") if !self.similar_ends || self.word(1) == Some("to") => Some(level::MATCH),
            (_, "not") if self.is_joined(0) => Some(level::MATCH),
            (_, "at") => Some(level::AT),
            (_, "collate") => Some(level::COLLATE),
            _ => None,
        }
    }

    /// The level of an operator made of signs, or of `OPERATOR(…)`.
    fn operator_level(&self) -> Option<u8> {
        if self.is("operator") && self.symbol_ahead(1) == Some('(') {
            return Some(level::OTHER);
        }
        Some(match self.operator_ahead(0)? {
            "<" | ">" | "=" | "<=" | ">=" | "<>" => level::COMPARISON,
            "+" | "-" => level::SUM,
            "*" | "/" | "%" => level::PRODUCT,
            "^" => level::POWER,
            _ => level::OTHER,
        })
    }

    /// The operator here: one segment, or a schema and it.
    pub(super) fn operator_name(&mut self) -> Result<Vec<String>> {
        if let Some(operator) = self.operator_ahead(0) {
            self.advance();
            return Ok(vec![operator.to_owned()]);
        }
        self.expect("operator")?;
        self.expect_symbol('(')?;
        let mut path = vec![];
        let operator = loop {
            if let Some(operator) = self.operator_ahead(0) {
                self.advance();
                break operator.to_owned();
            }
            let schema = self.column_name()?;
            path.push(match schema.quote_style {
                Some(_) => schema.value,
                None => schema.value.to_ascii_lowercase(),
            });
            self.expect_symbol('.')?;
        };
        path.push(operator);
        self.expect_symbol(')')?;
        Ok(path)
    }

    fn infix(&mut self, left: Expr, found: u8, operators: Operators) -> Result<Expr> {
        match found {
            level::CAST => {
                self.advance();
                let data_type = self.type_name()?;
                let kind = CastKind::DoubleColon;
                Ok(Expr::Cast { kind, expr: Box::new(left), data_type, array: false, format: None })
            }
            level::OR | level::AND => {
                self.advance();
                let op = if found == level::OR { BinaryOperator::Or } else { BinaryOperator::And };
                let right = self.right(found + 1, Operators::All)?;
                Ok(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) })
            }
            level::IS => self.is_test(left, operators),
            level::MATCH => self.match_test(left),
            level::AT => {
                self.advance();
                self.expect_words(&["time", "zone"])?;
                let zone = self.right(level::AT + 1, Operators::All)?;
                Ok(Expr::AtTimeZone { timestamp: Box::new(left), time_zone: Box::new(zone) })
            }
            level::COLLATE => {
                self.advance();
                let collation = self.any_name()?;
                Ok(Expr::Collate { expr: Box::new(left), collation })
            }
            _ => self.operation(left, found, operators),
        }
    }

    fn operation(&mut self, left: Expr, found: u8, operators: Operators) -> Result<Expr> {
        let op = operator(self.operator_name()?);
        if operators == Operators::All && self.quantifier_follows() {
            return self.quantified(left, op);
        }
        let right = self.right(found + 1, operators)?;
        let whole = Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
        // comparisons do not chain
        if found == level::COMPARISON { self.unchained(whole, found, operators) } else { Ok(whole) }
    }

    /// An operator of this level may not follow.
    fn unchained(&self, whole: Expr, found: u8, operators: Operators) -> Result<Expr> {
        if self.level(operators) == Some(found) { Err(self.unexpected()) } else { Ok(whole) }
    }

    fn quantifier_follows(&self) -> bool {
        matches!(self.word(0), Some("any" | "some" | "all"))
    }

    /// `left op ANY (…)` from ANY on.
    fn quantified(&mut self, left: Expr, op: BinaryOperator) -> Result<Expr> {
        let (all, is_some) = (self.is("all"), self.is("some"));
        self.advance();
        let (left, compare_op) = (Box::new(left), op);
        let right = Box::new(self.parenthesis()?);
        Ok(match all {
            true => Expr::AllOp { left, compare_op, right },
            false => Expr::AnyOp { left, compare_op, right, is_some },
        })
    }

    /// IS …, ISNULL, NOTNULL.
    fn is_test(&mut self, left: Expr, operators: Operators) -> Result<Expr> {
        let left = Box::new(left);
        if operators == Operators::All {
            if self.eat("isnull") {
                return Ok(Expr::IsNull(left));
            }
            if self.eat("notnull") {
                return Ok(Expr::IsNotNull(left));
            }
        }
        self.expect("is")?;
        let negated = !self.is_joined(0) && self.eat("not");
        let word = self.word(0);
        if operators == Operators::All {
            let test = match (word, negated) {
                (Some("null"), false) => Some(Expr::IsNull as fn(Box<Expr>) -> Expr),
                (Some("null"), true) => Some(Expr::IsNotNull as _),
                (Some("true"), false) => Some(Expr::IsTrue as _),
                (Some("true"), true) => Some(Expr::IsNotTrue as _),
                (Some("false"), false) => Some(Expr::IsFalse as _),
                (Some("false"), true) => Some(Expr::IsNotFalse as _),
                (Some("unknown"), false) => Some(Expr::IsUnknown as _),
                (Some("unknown"), true) => Some(Expr::IsNotUnknown as _),
                _ => None,
            };
            if let Some(test) = test {
                self.advance();
                return Ok(test(left));
            }
            if let Some("normalized" | "nfc" | "nfd" | "nfkc" | "nfkd") = word {
                let form = self.normal_form();
                self.expect("normalized")?;
                return Ok(Expr::IsNormalized { expr: left, form, negated });
            }
        }
        match word {
            Some("distinct") => {
                self.advance();
                self.expect("from")?;
                let right = Box::new(self.right(level::IS + 1, operators)?);
                let whole = match negated {
                    true => Expr::IsNotDistinctFrom(left, right),
                    false => Expr::IsDistinctFrom(left, right),
                };
                self.unchained(whole, level::IS, operators)
            }
            Some("document") => {
                let at = self.place(self.at);
                self.advance();
                Err(crate::error::Error::unsupported("IS DOCUMENT").at(at))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// NFC and its kin, if one stands here.
    pub(super) fn normal_form(&mut self) -> Option<NormalizationForm> {
        let form = match self.word(0)? {
            "nfc" => NormalizationForm::NFC,
            "nfd" => NormalizationForm::NFD,
            "nfkc" => NormalizationForm::NFKC,
            "nfkd" => NormalizationForm::NFKD,
            _ => return None,
        };
        self.advance();
        Some(form)
    }

    /// [NOT] BETWEEN, IN, LIKE, ILIKE, SIMILAR TO.
    fn match_test(&mut self, left: Expr) -> Result<Expr> {
        let negated = self.eat("not");
        let word = self.word(0);
        self.advance();
        match word {
            Some("between") => self.between(left, negated),
            Some("in") => {
                let expr = Box::new(left);
                if self.starts_query() {
                    return Ok(match self.parenthesis()? {
                        Expr::Subquery(subquery) => Expr::InSubquery { expr, subquery, negated },
                        // what begins with a subquery, and goes on
                        Expr::Tuple(list) => Expr::InList { expr, list, negated },
                        Expr::Nested(one) => Expr::InList { expr, list: vec![*one], negated },
                        other => Expr::InList { expr, list: vec![other], negated },
                    });
                }
                self.expect_symbol('(')?;
                let list = self.expr_list()?;
                self.expect_symbol(')')?;
                Ok(Expr::InList { expr, list, negated })
            }
            Some(word @ ("like" | "ilike")) => self.like(left, word == "ilike", negated),
            _ => {
                self.expect("to")?;
                let pattern = Box::new(self.right(level::MATCH + 1, Operators::All)?);
                let whole = match self.escape()? {
                    None => Expr::SimilarTo { negated, expr: Box::new(left), pattern, escape_char: None },
                    Some(Expr::Value(escape)) => {
                        Expr::SimilarTo { negated, expr: Box::new(left), pattern, escape_char: Some(escape) }
                    }
                    Some(escape) => {
                        let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
                        let right = super::call::plain("similar_to_escape", vec![*pattern, escape]);
                        Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
                    }
                };
                self.unchained(whole, level::MATCH, Operators::All)
            }
        }
    }

    fn between(&mut self, left: Expr, negated: bool) -> Result<Expr> {
        let symmetric = self.eat("symmetric");
        if !symmetric {
            self.eat("asymmetric");
        }
        let low = self.right(0, Operators::Some)?;
        let low = if symmetric { encoding::marked(SYMMETRIC, low) } else { low };
        self.expect("and")?;
        let high = self.right(level::MATCH + 1, Operators::All)?;
        let (low, high) = (Box::new(low), Box::new(high));
        let whole = Expr::Between { expr: Box::new(left), negated, low, high };
        self.unchained(whole, level::MATCH, Operators::All)
    }

    fn like(&mut self, left: Expr, insensitive: bool, negated: bool) -> Result<Expr> {
        let op = match (insensitive, negated) {
            (false, false) => BinaryOperator::PGLikeMatch,
            (false, true) => BinaryOperator::PGNotLikeMatch,
            (true, false) => BinaryOperator::PGILikeMatch,
            (true, true) => BinaryOperator::PGNotILikeMatch,
        };
        if self.quantifier_follows() {
            return self.quantified(left, op);
        }
        let (expr, pattern) = (Box::new(left), Box::new(self.right(level::MATCH + 1, Operators::All)?));
        let whole = match (self.escape()?, insensitive) {
            (None, false) => Expr::Like { negated, any: false, expr, pattern, escape_char: None },
            (None, true) => Expr::ILike { negated, any: false, expr, pattern, escape_char: None },
            (Some(Expr::Value(escape)), false) => {
                Expr::Like { negated, any: false, expr, pattern, escape_char: Some(escape) }
            }
            (Some(Expr::Value(escape)), true) => {
                Expr::ILike { negated, any: false, expr, pattern, escape_char: Some(escape) }
            }
            (Some(escape), _) => {
                let right = super::call::plain("like_escape", vec![*pattern, escape]);
                Expr::BinaryOp { left: expr, op, right: Box::new(right) }
            }
        };
        self.unchained(whole, level::MATCH, Operators::All)
    }

    fn escape(&mut self) -> Result<Option<Expr>> {
        if !self.eat("escape") {
            return Ok(None);
        }
        self.right(level::MATCH + 1, Operators::All).map(Some)
    }
}

/// The tree's variant of an operator between two operands.
fn operator(mut path: Vec<String>) -> BinaryOperator {
    if path.len() > 1 {
        return BinaryOperator::PGCustomBinaryOperator(path);
    }
    let name = path.pop().unwrap_or_default();
    match name.as_str() {
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        ">" => BinaryOperator::Gt,
        "<" => BinaryOperator::Lt,
        ">=" => BinaryOperator::GtEq,
        "<=" => BinaryOperator::LtEq,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "|" => BinaryOperator::BitwiseOr,
        "&" => BinaryOperator::BitwiseAnd,
        "#" => BinaryOperator::PGBitwiseXor,
        "<<" => BinaryOperator::PGBitwiseShiftLeft,
        ">>" => BinaryOperator::PGBitwiseShiftRight,
        "^" => BinaryOperator::PGExp,
        "&&" => BinaryOperator::PGOverlap,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "^@" => BinaryOperator::PGStartsWith,
        "->" => BinaryOperator::Arrow,
        "->>" => BinaryOperator::LongArrow,
        "#>" => BinaryOperator::HashArrow,
        "#>>" => BinaryOperator::HashLongArrow,
        "@@" => BinaryOperator::AtAt,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "#-" => BinaryOperator::HashMinus,
        "@?" => BinaryOperator::AtQuestion,
        "?" => BinaryOperator::Question,
        "?&" => BinaryOperator::QuestionAnd,
        "?|" => BinaryOperator::QuestionPipe,
        _ => BinaryOperator::Custom(name),
    }
}

/// A prefix operator with its operand.
fn prefix(path: Vec<String>, of: Expr, span: Span) -> Expr {
    let op = match path.as_slice() {
        [only] => match only.as_str() {
            "~" => UnaryOperator::BitwiseNot,
            "@" => UnaryOperator::PGAbs,
            "|/" => UnaryOperator::PGSquareRoot,
            "||/" => UnaryOperator::PGCubeRoot,
            other => return encoding::prefix_operator(other, of, span),
        },
        path => return encoding::prefix_operator(&path.join("."), of, span),
    };
    Expr::UnaryOp { op, expr: Box::new(of) }
}
