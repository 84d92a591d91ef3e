//! CREATE, ALTER, DROP and REFRESH REFLECTION, which PostgreSQL does not have. Their own words are no keywords: each may be
//! a name elsewhere.

use super::super::lex::{Lexeme, position};
use super::super::reflection::{Change, Create, Measure, Reflection, Refresh, Text};
use super::Parser;
use crate::error::{Kind, Result};

/// Seconds of each unit that REFRESH EVERY takes.
const UNITS: [(&str, i64); 4] = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
/// About three years: what is longer is a mistake.
const EVERY_SECONDS_MAX: i64 = 100_000_000;

const MEASURES: [(&str, Measure); 4] =
    [("sum", Measure::Sum), ("count", Measure::Count), ("min", Measure::Min), ("max", Measure::Max)];

impl Parser<'_> {
    pub(in crate::sql::parse) fn begins_reflection(&self) -> bool {
        matches!(self.word(0), Some("create" | "alter" | "drop" | "refresh")) && self.says(1, "reflection")
    }

    pub(in crate::sql::parse) fn reflection(&mut self) -> Result<Reflection> {
        let (first, word) = (self.at, self.word(0));
        self.advance();
        self.advance();
        match word {
            Some("create") => {
                let mut create = self.create_reflection()?;
                create.text = written(self, first, self.at).1.to_owned();
                Ok(Reflection::Create(Box::new(create)))
            }
            Some("alter") => {
                let if_exists = self.if_exists()?;
                let name = self.column_name()?;
                self.expect("set")?;
                let change = if self.eat_said("enabled") {
                    if !self.is_operator("=") {
                        return Err(self.unexpected());
                    }
                    self.advance();
                    Change::Enabled(self.truth()?)
                } else {
                    self.expect("refresh")?;
                    Change::Refresh(self.refresh_when()?)
                };
                Ok(Reflection::Alter { name, if_exists, change })
            }
            Some("drop") => {
                let if_exists = self.if_exists()?;
                Ok(Reflection::Drop { name: self.column_name()?, if_exists })
            }
            _ => self.column_name().map(Reflection::Refresh),
        }
    }

    fn truth(&mut self) -> Result<bool> {
        if self.eat("true") || self.eat("on") {
            return Ok(true);
        }
        match self.eat("false") || self.eat_said("off") {
            true => Ok(false),
            false => Err(self.unexpected()),
        }
    }

    fn create_reflection(&mut self) -> Result<Create> {
        let if_not_exists = self.eat("if");
        if if_not_exists {
            self.expect_words(&["not", "exists"])?;
        }
        let name = self.column_name()?;
        let mut create = Create {
            text: String::new(),
            name,
            if_not_exists,
            query: Text::default(),
            partitioned_by: vec![],
            sorted_by: vec![],
            refresh: Refresh::default(),
        };
        let of_table = self.eat("on");
        if of_table {
            create.query = self.of_table()?;
        }
        if self.eat("partition") {
            self.expect("by")?;
            create.partitioned_by = self.parenthesised_exprs()?;
        }
        if self.eat_said("sort") {
            self.expect("by")?;
            create.sorted_by = self.parenthesised_order()?;
        }
        if self.eat("refresh") {
            create.refresh = self.refresh_when()?;
        }
        if !of_table {
            self.expect("as")?;
            let first = self.at;
            self.query()?;
            let mut query = Assembled::default();
            query.part(self, first);
            create.query = query.0;
        }
        Ok(create)
    }

    /// `table USING DISPLAY (…)`, `table USING DIMENSIONS (…) MEASURES (…)`.
    fn of_table(&mut self) -> Result<Text> {
        let table = self.at;
        self.qualified_name()?;
        let table_ends = self.at;
        self.expect("using")?;
        let mut query = Assembled::default();
        query.says("SELECT ");
        if self.eat_said("display") {
            self.expect_symbol('(')?;
            self.listed(&mut query, |parser| parser.column_name().map(|_| ()))?;
            query.says(" FROM ");
            query.tokens(self, table, table_ends);
            return Ok(query.0);
        }
        if !self.eat_said("dimensions") {
            return Err(self.unexpected());
        }
        self.expect_symbol('(')?;
        let dimensions = self.listed(&mut query, |parser| parser.expr().map(|_| ()))?;
        if !self.eat_said("measures") {
            return Err(self.unexpected());
        }
        self.expect_symbol('(')?;
        self.measures(&mut query)?;
        query.says(" FROM ");
        query.tokens(self, table, table_ends);
        let numbers: Vec<String> = (1..=dimensions).map(|n| n.to_string()).collect();
        query.says(&format!(" GROUP BY {}", numbers.join(", ")));
        Ok(query.0)
    }

    /// A list up to its closing parenthesis, each part of it put into the query.
    fn listed(&mut self, query: &mut Assembled, one: impl Fn(&mut Self) -> Result<()>) -> Result<usize> {
        let mut count = 0;
        loop {
            if count > 0 {
                query.says(", ");
            }
            let first = self.at;
            one(self)?;
            query.part(self, first);
            count += 1;
            if !self.eat_symbol(',') {
                self.expect_symbol(')')?;
                return Ok(count);
            }
        }
    }

    /// Each measure once, an average as its sum, and with each sum the count of its values; the count of rows in any case.
    fn measures(&mut self, query: &mut Assembled) -> Result<()> {
        let mut known: Vec<(Measure, String)> = vec![];
        loop {
            let (at, first) = (self.at, self.token());
            let name = first.map(|token| self.slice(token).to_ascii_lowercase()).unwrap_or_default();
            let whole = MEASURES.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure);
            if whole.is_none() && name != "avg" {
                let text = "a measure is SUM, COUNT, MIN, MAX or AVG of an expression, or COUNT(*)";
                return Err(self.refused(Kind::Unsupported, text, at));
            }
            self.advance();
            self.expect_symbol('(')?;
            if self.is("distinct") {
                let hint = "Make what it counts a dimension.";
                return Err(self.refused(Kind::Unsupported, "a measure over distinct values", self.at).with_hint(hint));
            }
            let begin = self.at;
            let star = self.ahead(0).is_some_and(|token| self.slice(token) == "*");
            if star {
                if whole != Some(Measure::Count) {
                    return Err(self.unexpected());
                }
                self.advance();
            } else {
                self.expr()?;
            }
            let end = self.at;
            self.expect_symbol(')')?;
            let of = match whole {
                Some(Measure::Sum) | None => vec![Measure::Sum, Measure::Count],
                Some(measure) => vec![measure],
            };
            for measure in of {
                query.measure(self, &mut known, measure, begin, end);
            }
            if !self.eat_symbol(',') {
                self.expect_symbol(')')?;
                break;
            }
        }
        if !known.iter().any(|(measure, of)| *measure == Measure::Count && of == "*") {
            query.says(", count(*)");
        }
        Ok(())
    }

    fn refresh_when(&mut self) -> Result<Refresh> {
        if self.eat_said("manual") {
            return Ok(Refresh::Manual);
        }
        if self.eat("on") {
            self.expect("commit")?;
            return Ok(Refresh::OnCommit);
        }
        if !self.eat_said("every") {
            return Err(self.unexpected());
        }
        let at = self.at;
        let count = match self.is_integer() {
            true => i64::try_from(self.integer()?).unwrap_or(i64::MAX),
            false => 1,
        };
        let said = self.token().map(|token| self.slice(token).to_ascii_lowercase()).unwrap_or_default();
        let unit = UNITS.iter().find(|(unit, _)| said == *unit || said.strip_suffix('s') == Some(unit));
        let Some((_, length)) = unit else { return Err(self.unexpected()) };
        self.advance();
        let seconds = count.saturating_mul(*length);
        if !(1..=EVERY_SECONDS_MAX).contains(&seconds) {
            return Err(self.refused(Kind::InvalidParameter, "REFRESH EVERY is from 1 second to 1000 days", at));
        }
        Ok(Refresh::Every(seconds.saturating_mul(1_000_000)))
    }

    fn is_integer(&self) -> bool {
        matches!(self.lexeme(0), Some(Lexeme::Integer))
    }

    /// Whether a word stands there that is no keyword, or is one.
    fn says(&self, n: usize, word: &str) -> bool {
        let token = self.ahead(n).filter(|token| matches!(token.lexeme, Lexeme::Word(_)));
        token.is_some_and(|token| self.slice(token).eq_ignore_ascii_case(word))
    }

    fn eat_said(&mut self, word: &str) -> bool {
        let here = self.says(0, word);
        if here {
            self.advance();
        }
        here
    }
}

/// A query under way.
#[derive(Default)]
struct Assembled(Text);

impl Assembled {
    fn says(&mut self, text: &str) {
        self.0.sql.push_str(text);
    }

    /// What was read since a token.
    fn part(&mut self, parser: &Parser<'_>, first: usize) {
        self.tokens(parser, first, parser.at);
    }

    fn tokens(&mut self, parser: &Parser<'_>, first: usize, end: usize) {
        let (start, text) = written(parser, first, end);
        let here = self.0.sql.chars().count();
        self.0.parts.push((here, position(parser.text, start).saturating_sub(1)));
        self.0.sql.push_str(text);
    }

    /// Where the same measure is not there already.
    fn measure(
        &mut self,
        parser: &Parser<'_>,
        known: &mut Vec<(Measure, String)>,
        measure: Measure,
        begin: usize,
        end: usize,
    ) {
        let words = parser.tokens.get(begin..end).unwrap_or_default();
        let of = words.iter().map(|token| parser.slice(token)).collect::<Vec<_>>().join(" ");
        if known.contains(&(measure, of.clone())) {
            return;
        }
        let name = MEASURES.iter().find(|(_, known)| *known == measure).map_or("", |(name, _)| *name);
        self.says(&format!(", {name}("));
        self.tokens(parser, begin, end);
        self.says(")");
        known.push((measure, of));
    }
}

/// The text of tokens, and where it begins.
fn written<'a>(parser: &Parser<'a>, first: usize, end: usize) -> (usize, &'a str) {
    let start = parser.tokens.get(first).map_or(0, |token| token.start);
    let stop = parser.tokens.get(end.saturating_sub(1)).map_or(start, |token| token.end);
    (start, parser.text.get(start..stop).unwrap_or_default())
}
