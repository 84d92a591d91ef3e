//! What is counted and mended before the parser runs, on the flat list of tokens, where counting needs no stack.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// As PostgreSQL's MAXDIM.
const ARRAY_DIMENSIONS_MAX: usize = 6;

/// How deep parentheses, brackets, CASE and types in angle brackets stand in each other, with the prefix operators in a row
/// that stand there. An upper bound for what makes the parser call itself.
pub(super) fn nesting(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut prefixes, mut angles, mut deepest) = (0usize, 0, 0, 0);
    let mut last = Keyword::NoKeyword;
    for token in tokens {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        prefixes = if is_prefix(&token.token, keyword) { prefixes + 1 } else { 0 };
        match (&token.token, keyword) {
            (Token::LParen | Token::LBracket | Token::LBrace, _) | (_, Keyword::CASE) => depth += 1,
            (Token::RParen | Token::RBracket | Token::RBrace, _) | (_, Keyword::END) => depth = depth.saturating_sub(1),
            // `ARRAY<STRUCT<…`; that they end is not looked at, since nobody has a hundred of them
            (Token::Lt, _) if last != Keyword::NoKeyword => angles += 1,
            _ => {}
        }
        last = if matches!(keyword, Keyword::ARRAY | Keyword::STRUCT) { keyword } else { Keyword::NoKeyword };
        deepest = deepest.max(depth + prefixes + angles);
    }
    deepest
}

/// Words and signs after which the parser reads another operand at once.
fn is_prefix(token: &Token, keyword: Keyword) -> bool {
    let word = matches!(
        keyword,
        Keyword::NOT | Keyword::INTERVAL | Keyword::PRIOR | Keyword::CONNECT_BY_ROOT | Keyword::BINARY
    );
    let sign = matches!(
        token,
        Token::Minus
            | Token::Plus
            | Token::Tilde
            | Token::AtSign
            | Token::ExclamationMark
            | Token::DoubleExclamationMark
            | Token::PGSquareRoot
            | Token::PGCubeRoot
            | Token::Sharp
    );
    word || sign
}

/// `int4[][][]…`: each pair is a level of the type, though nothing stands in anything.
pub(super) fn too_many_dimensions(tokens: &[TokenWithSpan]) -> bool {
    let (mut pairs, mut in_pair) = (0, false);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => {}
            Token::LBracket if !in_pair => in_pair = true,
            Token::Number(..) if in_pair => {}
            Token::RBracket if in_pair => {
                in_pair = false;
                pairs += 1;
                if pairs > ARRAY_DIMENSIONS_MAX {
                    return true;
                }
            }
            other => {
                in_pair = matches!(other, Token::LBracket);
                pairs = 0;
            }
        }
    }
    false
}

/// `TABLE t` at the head of a statement, which the parser knows only inside a query, is `SELECT * FROM t`.
pub(super) fn table_as_select(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut at_head = true;
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => out.push(token),
            Token::Word(word) if at_head && word.keyword == Keyword::TABLE && word.quote_style.is_none() => {
                let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
                out.extend(words.map(|t| TokenWithSpan { token: t, span: token.span }));
                at_head = false;
            }
            other => {
                at_head = matches!(other, Token::SemiColon);
                out.push(token);
            }
        }
    }
    out
}
