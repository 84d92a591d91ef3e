//! Masks: what stands in the last field of a `p3` line, which columns it fits, and which of two is the stricter.

use std::fmt;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::kept::Kept;
use super::literal::{self, Constant};
use super::mask_functions::{KeyedHash, Partial, Year};
use super::{Attributes, Expression, Typed, forms, offset, reading, tokens};
use crate::pgtype::{self, oid};
use crate::policy::file::did_you_mean;
use crate::policy::file::object::Mistake;
use crate::secret::Secret;

/// How a column is shown.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::policy) enum Mask {
    Nullify,
    Constant(Constant),
    Redact,
    Hash,
    Partial { first: usize, fill: String, last: usize },
    Year,
    Custom(Custom),
    Unmasked,
}

/// As a policy file spells it.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Nullify => f.write_str("nullify"),
            Self::Constant(Constant::Text(text)) => write!(f, "constant({})", quoted(text)),
            Self::Constant(Constant::Number(number)) => write!(f, "constant({number})"),
            Self::Constant(Constant::Bool(value)) => write!(f, "constant({value})"),
            Self::Redact => f.write_str("redact"),
            Self::Hash => f.write_str("hash"),
            Self::Partial { first, fill, last } => write!(f, "partial({first}, {}, {last})", quoted(fill)),
            Self::Year => f.write_str("year"),
            Self::Custom(custom) => write!(f, "custom(\"{}\")", custom.expression.text),
            Self::Unmasked => f.write_str("unmasked"),
        }
    }
}

/// The expression of a custom mask, and where it begins in the field.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Custom {
    expression: Expression,
    at: usize,
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

const WORDS: &[&str] =
    &["nullify", "constant", "redact", "hash", "partial", "last4", "first4", "year", "custom", "unmasked"];

/// More than any column of sense shows in the clear.
const PARTIAL_CHARS_MAX: usize = 1_000;

impl Mask {
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, Mistake> {
        let tokens = tokens(text)?;
        let (word, rest) = match tokens.split_first() {
            Some((TokenWithSpan { token: Token::Word(word), .. }, rest)) if word.quote_style.is_none() => (word, rest),
            _ => return Err(Mistake::new(0, format!("a mask is one of {}", WORDS.join(", ")))),
        };
        let word = word.value.as_str();
        let args = arguments(rest, text)?;
        let four = |first, last| Self::Partial { first, fill: "****".into(), last };
        let mask = match (word, args.as_deref()) {
            ("nullify", None) => Self::Nullify,
            ("redact", None) => Self::Redact,
            ("hash", None) => Self::Hash,
            ("year", None) => Self::Year,
            ("unmasked", None) => Self::Unmasked,
            ("last4", None) => four(0, 4),
            ("first4", None) => four(4, 0),
            ("constant", Some([value])) => Self::Constant(constant(value)?),
            ("partial", Some([first, fill, last])) => {
                Self::Partial { first: count(first)?, fill: fixed_text(fill)?, last: count(last)? }
            }
            ("custom", Some([[TokenWithSpan { token: Token::Word(inner), span }]]))
                if inner.quote_style == Some('"') =>
            {
                custom(&inner.value, offset(span.start))?
            }
            (word, _) => return Err(misspelt(word)),
        };
        Ok(mask)
    }

    /// Stricter is higher; of two masks on one column the higher holds.
    pub(in crate::policy) fn rank(&self) -> u8 {
        match self {
            Self::Nullify => 7,
            Self::Constant(_) | Self::Redact => 6,
            Self::Hash => 5,
            Self::Partial { .. } => 4,
            Self::Year => 3,
            Self::Custom(_) => 2,
            Self::Unmasked => 1,
        }
    }

    /// The expression that takes the column's place, of the column's type; the column itself for `unmasked`.
    pub(in crate::policy) fn bind(
        &self,
        column: &Field,
        schema: &Schema,
        attributes: &Attributes,
        key: &Secret<Vec<u8>>,
    ) -> Result<Typed, Mistake> {
        let kept = Kept::column(column);
        let raw = || Expr::Column(Column::new_unqualified(column.name()));
        let call = |udf| Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![raw()]));
        let expr = match self {
            Self::Nullify => null(column.data_type())?,
            Self::Constant(constant) => {
                if let Constant::Text(text) = constant {
                    must_fit(column, text.chars().count())?;
                }
                let value = literal::stored(constant, &kept).map_err(|what| Mistake::new(0, what))?;
                Expr::Literal(value, None)
            }
            Self::Redact => redacted(column)?,
            Self::Hash if is_plain_text(column) || kept.is_bytes() => {
                must_fit(column, 64)?;
                call(KeyedHash::udf(key))
            }
            Self::Partial { first, fill, last } if is_plain_text(column) => {
                must_fit(column, first + fill.chars().count() + last)?;
                call(Partial::udf(*first, fill, *last))
            }
            Self::Year if matches!(column.data_type(), DataType::Date32 | DataType::Timestamp(..)) => call(Year::udf()),
            Self::Hash | Self::Partial { .. } | Self::Year => return Err(self.unfit(column)),
            Self::Custom(custom) => {
                let read = reading(|cx| {
                    let reader = forms::Reader::new(schema, attributes, forms::Language::Mask, cx)?;
                    reader.mask(&custom.expression.tree, &kept)
                });
                read.map_err(|m| custom.place(m))?
            }
            Self::Unmasked => raw(),
        };
        Ok(Typed { expr })
    }

    fn unfit(&self, column: &Field) -> Mistake {
        let (word, takes) = match self {
            Self::Hash => ("hash", "text and bytea"),
            Self::Year => ("year", "date and timestamp"),
            _ => ("partial", "text"),
        };
        let what = format!("`{word}` is for {takes}, column `{}` is {}", column.name(), shown_type(column));
        Mistake::new(0, what)
    }
}

impl Custom {
    /// A mistake inside the expression, counted into the field: a quote in it is written twice.
    fn place(&self, mistake: Mistake) -> Mistake {
        let quotes = self.expression.text.chars().take(mistake.at).filter(|c| *c == '"').count();
        Mistake::new(self.at + mistake.at + quotes, mistake.text)
    }
}

fn custom(text: &str, quote_at: usize) -> Result<Mask, Mistake> {
    let empty = Custom { expression: Expression { text: text.to_owned(), tree: no_tree() }, at: quote_at + 1 };
    let expression = Expression::parse(text).map_err(|m| empty.place(m))?;
    Ok(Mask::Custom(Custom { expression, ..empty }))
}

fn no_tree() -> std::sync::Arc<super::sql::Expr> {
    let null = super::sql::Value::Null.with_empty_span();
    std::sync::Arc::new(super::sql::Expr::Value(null))
}

/// `(a, b, c)` as token lists; `None` where there is no parenthesis at all.
fn arguments<'t>(rest: &'t [TokenWithSpan], text: &str) -> Result<Option<Vec<&'t [TokenWithSpan]>>, Mistake> {
    let end = || Mistake::new(text.chars().count(), "`)` belongs at the end");
    let Some((open, inside)) = rest.split_first() else {
        return Ok(None);
    };
    if open.token != Token::LParen {
        return Err(Mistake::new(offset(open.span.start), format!("`{}` does not belong here", open.token)));
    }
    let (close, inside) = inside.split_last().ok_or_else(end)?;
    if close.token != Token::RParen {
        return Err(end());
    }
    Ok(Some(inside.split(|t| t.token == Token::Comma).collect()))
}

fn misspelt(word: &str) -> Mistake {
    let usage = match word {
        "partial" => "`partial` is written `partial(first, 'text', last)`",
        "constant" => "`constant` is written `constant('value')`",
        "custom" => "`custom` is written `custom(\"expression\")`; inside a CSV field each quote is doubled",
        word if WORDS.contains(&word) => return Mistake::new(0, format!("`{word}` takes no arguments")),
        word => {
            let known = format!("mask `{word}` is not one of {}", WORDS.join(", "));
            return Mistake::new(0, format!("{known}{}", did_you_mean(word, WORDS)));
        }
    };
    Mistake::new(0, usage)
}

fn constant(tokens: &[TokenWithSpan]) -> Result<Constant, Mistake> {
    let tokens: Vec<&Token> = tokens.iter().map(|t| &t.token).collect();
    match tokens.as_slice() {
        [Token::SingleQuotedString(text)] => Ok(Constant::Text(text.clone())),
        [Token::Number(n, false)] => Ok(Constant::Number(n.clone())),
        [Token::Minus, Token::Number(n, false)] => Ok(Constant::Number(format!("-{n}"))),
        [Token::Word(w)] if w.value.eq_ignore_ascii_case("true") => Ok(Constant::Bool(true)),
        [Token::Word(w)] if w.value.eq_ignore_ascii_case("false") => Ok(Constant::Bool(false)),
        _ => Err(misspelt("constant")),
    }
}

fn count(tokens: &[TokenWithSpan]) -> Result<usize, Mistake> {
    match tokens {
        [TokenWithSpan { token: Token::Number(n, false), span }] => match n.parse() {
            Ok(n) if n <= PARTIAL_CHARS_MAX => Ok(n),
            _ => Err(Mistake::new(offset(span.start), format!("a number of characters up to {PARTIAL_CHARS_MAX}"))),
        },
        _ => Err(misspelt("partial")),
    }
}

fn fixed_text(tokens: &[TokenWithSpan]) -> Result<String, Mistake> {
    match tokens {
        [TokenWithSpan { token: Token::SingleQuotedString(text), .. }] => Ok(text.clone()),
        _ => Err(misspelt("partial")),
    }
}

fn null(kind: &DataType) -> Result<Expr, Mistake> {
    let null = ScalarValue::try_from(kind).map_err(|_| Mistake::new(0, format!("there is no NULL of type {kind}")))?;
    Ok(Expr::Literal(null, None))
}

/// One value for all, NULL included: neither length nor letter class nor absence shows.
fn redacted(column: &Field) -> Result<Expr, Mistake> {
    let kept = Kept::column(column);
    let constant = match kept.ty.oid {
        _ if is_plain_text(column) => {
            must_fit(column, 4)?;
            Constant::Text("xxxx".into())
        }
        oid::BOOL => Constant::Bool(false),
        oid::DATE | oid::TIMESTAMP => Constant::Text("1970-01-01".into()),
        oid::TIMESTAMPTZ => Constant::Text("1970-01-01 00:00:00Z".into()),
        _ if kept.is_number() => Constant::Number("0".into()),
        _ => {
            let takes = "text, numbers, bool, date and timestamp";
            let what = format!("`redact` is for {takes}, column `{}` is {}", column.name(), shown_type(column));
            return Err(Mistake::new(0, what));
        }
    };
    let value = literal::stored(&constant, &kept);
    value.map(|v| Expr::Literal(v, None)).map_err(|what| Mistake::new(0, what))
}

/// Its type lies as text, and every text is a value of it: no enum, no jsonb.
fn is_plain_text(column: &Field) -> bool {
    let plain = |oid| matches!(oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::UNKNOWN);
    lies_as_text(column) && pgtype::of_field(column).is_ok_and(|ty| plain(ty.oid))
}

fn lies_as_text(column: &Field) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn shown_type(column: &Field) -> String {
    match pgtype::of_field(column) {
        Ok(ty) if lies_as_text(column) && !is_plain_text(column) => format!("of type {}", ty.oid),
        _ => Kept::column(column).word(),
    }
}

/// A `varchar(n)` holds what it says: a mask that is longer is no value of the column's type.
fn must_fit(column: &Field, chars: usize) -> Result<(), Mistake> {
    const HEADER: i32 = 4;
    let ty = pgtype::of_field(column).ok().filter(|ty| matches!(ty.oid, oid::VARCHAR | oid::BPCHAR));
    let width = ty.and_then(|ty| usize::try_from(ty.typmod.checked_sub(HEADER)?).ok()).filter(|width| *width > 0);
    match width {
        Some(width) if chars > width => {
            let what = format!("this mask needs {chars} characters; column `{}` holds {width}", column.name());
            Err(Mistake::new(0, what))
        }
        _ => Ok(()),
    }
}
