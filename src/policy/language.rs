//! The filter language: one boolean expression over one table's columns, `user.*` and constants; and the masks.
//! Parsed once, typed once per table, bound once per session. What may be said stands here, and what it means in `sql`, as
//! for a statement: but names are looked up in the one table and in pg_catalog, so no search path, no session and nobody's
//! object can stand between a policy and its meaning.

mod forms;
mod functions;
mod kept;
mod literal;
mod lowered;
mod mask;
mod mask_functions;
mod settle;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{InList, Placeholder};
use datafusion::logical_expr::{Expr, lit};
use datafusion::sql::sqlparser::ast as sql;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::file::object::Mistake;
use super::file::users::{AttributeType, Value};
use crate::sql::kernel::Env;
use crate::sql::resolve::{Context, Parameters};

pub(in crate::policy) use mask::Mask;

/// Attributes as users.toml declares them.
pub(in crate::policy) type Attributes = BTreeMap<String, AttributeType>;
/// A user's values; an attribute that is absent has none.
pub(in crate::policy) type Values = BTreeMap<String, Vec<Value>>;

/// Reads `text`'s tree over a table by no session's settings: there is none.
fn reading<T>(work: impl FnOnce(Context<'_>) -> Result<T, Mistake>) -> Result<T, Mistake> {
    let (env, parameters) = (Env::plain(), Parameters::default());
    work(Context { env: &env, parameters: &parameters })
}

/// The fourth field of a `p2` line.
#[derive(Clone, Debug)]
pub(in crate::policy) enum Condition {
    /// The word `unfiltered`: TRUE, and meant so.
    Unfiltered,
    When(Expression),
}

impl Condition {
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, Mistake> {
        match text.trim() {
            "unfiltered" => Ok(Self::Unfiltered),
            _ => Expression::parse(text).map(Self::When),
        }
    }

    /// `unfiltered` does not.
    pub(in crate::policy) fn hides_rows(&self) -> bool {
        matches!(self, Self::When(_))
    }

    /// As written.
    pub(in crate::policy) fn text(&self) -> &str {
        match self {
            Self::Unfiltered => "unfiltered",
            Self::When(expression) => expression.text.trim(),
        }
    }

    /// Types it over the raw columns of one table.
    pub(in crate::policy) fn bind(&self, schema: &Schema, attributes: &Attributes) -> Result<Typed, Mistake> {
        match self {
            Self::Unfiltered => Ok(Typed { expr: lit(true) }),
            Self::When(expression) => reading(|cx| {
                let reader = forms::Reader::new(schema, attributes, forms::Language::Filter, cx)?;
                Ok(Typed { expr: reader.filter(&expression.tree)? })
            }),
        }
    }
}

/// A parsed expression: its text and the tree, not yet typed.
#[derive(Clone)]
pub(in crate::policy) struct Expression {
    text: String,
    tree: Arc<sql::Expr>,
}

/// The tree may be deep; the text says the same.
impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text.trim() == other.text.trim()
    }
}

/// A condition's length, and how many of its tokens can make a tree deeper: both bound the parser's and our stack.
const TEXT_CHARS_MAX: usize = 100_000;
const OPERATORS_MAX: usize = 1_000;

impl Expression {
    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.len() > TEXT_CHARS_MAX {
            return Err(Mistake::new(0, format!("longer than {TEXT_CHARS_MAX} characters")));
        }
        let tokens = attribute_tokens(tokens(text)?)?;
        let dialect = PostgreSqlDialect {};
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(2 * forms::DEPTH_MAX).with_tokens_with_locations(tokens);
        let tree = parser.parse_expr().map_err(|e| from_parser(&e.to_string(), text))?;
        let rest = parser.peek_token();
        match rest.token {
            Token::EOF => Ok(Self { text: text.to_owned(), tree: Arc::new(tree) }),
            token => Err(Mistake::new(offset(rest.span.start), format!("`{token}` does not belong here"))),
        }
    }
}

/// An expression of known type over raw columns; attributes are placeholders until [`Typed::with`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::policy) struct Typed {
    expr: Expr,
}

/// A placeholder's name; a list says so, for only `IN` may take it.
const PLACEHOLDER: &str = "$user.";
const LIST: &str = "[]";

impl Typed {
    /// Puts one user's values in, each as a literal of the type it is compared with. `None`: the user lacks one, has an
    /// empty list, or a value its column's type cannot hold.
    pub(in crate::policy) fn with(&self, values: &Values) -> Option<Expr> {
        let mut complete = true;
        let bound = self.expr.clone().transform_down(|expr| {
            let filled = match expr {
                Expr::InList(list) if list.list.iter().any(is_list) => fill_list(list, values).map(Expr::InList),
                Expr::Placeholder(placeholder) => {
                    fill(&placeholder, values).and_then(|v| v.into_iter().next()).map(|v| Expr::Literal(v, None))
                }
                other => return Ok(Transformed::no(other)),
            };
            Ok(Transformed::yes(filled.unwrap_or_else(|| {
                complete = false;
                lit(false)
            })))
        });
        // the closure fails nowhere; were that to change, the row stays hidden
        bound.ok().map(|b| b.data).filter(|_| complete)
    }
}

/// The list that an item of `IN` stands for, bare or inside what makes it comparable.
fn list_in(item: &Expr) -> Option<Placeholder> {
    let mut found = None;
    // the closure fails nowhere
    let _ = item.apply(|e| {
        if let Expr::Placeholder(p) = e
            && p.id.ends_with(LIST)
        {
            found = Some(p.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn is_list(item: &Expr) -> bool {
    list_in(item).is_some()
}

/// Each item that holds a list once for each of its values.
fn fill_list(list: InList, values: &Values) -> Option<InList> {
    let mut filled = vec![];
    for item in list.list {
        let Some(placeholder) = list_in(&item) else {
            filled.push(item);
            continue;
        };
        for value in fill(&placeholder, values)? {
            let with = item.clone().transform_down(|e| match e {
                Expr::Placeholder(p) if p.id.ends_with(LIST) => {
                    Ok(Transformed::yes(Expr::Literal(value.clone(), None)))
                }
                other => Ok(Transformed::no(other)),
            });
            filled.push(with.ok()?.data);
        }
    }
    Some(InList { list: filled, ..list })
}

/// The values of one placeholder, at least one.
fn fill(placeholder: &Placeholder, values: &Values) -> Option<Vec<ScalarValue>> {
    let name = placeholder.id.strip_prefix(PLACEHOLDER)?;
    let values = values.get(name.strip_suffix(LIST).unwrap_or(name)).filter(|v| !v.is_empty())?;
    let wanted = kept::Kept::column(placeholder.field.as_ref()?);
    values.iter().map(|v| literal::stored(&literal::Constant::from(v), &wanted).ok()).collect()
}

/// Tokens without blanks; what the language has no use for is refused.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, Mistake> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|e| Mistake::new(offset(e.location), format!("{}{}", e.message.trim(), "")))?;
    let mut operators = 0;
    for token in &tokens {
        let at = offset(token.span.start);
        match &token.token {
            Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => {
                return Err(Mistake::new(at, "a condition has no comments"));
            }
            Token::Placeholder(_) => {
                return Err(Mistake::new(at, "parameters do not belong here; attributes are `user.x`"));
            }
            Token::Whitespace(_) | Token::Comma | Token::SingleQuotedString(_) | Token::Number(..) => {}
            _ => operators += 1,
        }
        if operators > OPERATORS_MAX {
            return Err(Mistake::new(at, format!("more than {OPERATORS_MAX} words and operators")));
        }
    }
    tokens.retain(|t| !matches!(t.token, Token::Whitespace(_)));
    Ok(tokens)
}

/// `user . x` becomes one token: `user` is a word of its own in Postgres's grammar, and a column named so is `"user"`.
fn attribute_tokens(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, Mistake> {
    let mut joined = vec![];
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let is_user = matches!(&token.token, Token::Word(w) if w.keyword == Keyword::USER && w.quote_style.is_none());
        if !is_user || rest.next_if(|t| t.token == Token::Period).is_none() {
            joined.push(token);
            continue;
        }
        match rest.next().map(|t| (t.token, t.span)) {
            Some((Token::Word(word), span)) => {
                let name = if word.quote_style.is_some() { word.value } else { word.value.to_lowercase() };
                let span = Span::new(token.span.start, span.end);
                joined.push(TokenWithSpan::new(Token::Placeholder(format!("{PLACEHOLDER}{name}")), span));
            }
            _ => return Err(Mistake::new(offset(token.span.start), "`user.` goes on with the name of an attribute")),
        }
    }
    Ok(joined)
}

/// The parser's words without its place, and the place.
fn from_parser(message: &str, text: &str) -> Mistake {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    if message.contains("recursion limit") {
        return Mistake::new(0, format!("nested deeper than {}", forms::DEPTH_MAX));
    }
    let (what, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let column =
        place.split_once("Column: ").map(|(_, c)| c.chars().take_while(char::is_ascii_digit).collect::<String>());
    let at = match column.and_then(|c| c.parse::<usize>().ok()) {
        Some(column) => column.saturating_sub(1),
        // found nothing where something belongs: behind the text
        None => text.chars().count(),
    };
    Mistake::new(
        at,
        what.replace("Expected: ", "expected ").replace("found: EOF", "found the end").replace("found: ", "found "),
    )
}

/// Characters from 0; texts have one line.
fn offset(location: Location) -> usize {
    usize::try_from(location.column).unwrap_or_default().saturating_sub(1)
}
