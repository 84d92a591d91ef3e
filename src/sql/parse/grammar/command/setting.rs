//! VariableSetStmt, VariableResetStmt, VariableShowStmt, ConstraintsSetStmt.

use super::super::{Naming, Parser};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command::{Setting, To, Value};

impl Parser<'_> {
    pub(super) fn setting(&mut self) -> Result<Setting> {
        let word = self.word(0).unwrap_or_default();
        self.advance();
        match word {
            "set" => self.set(),
            "reset" => self.reset(),
            _ => self.show(),
        }
    }

    fn set(&mut self) -> Result<Setting> {
        if self.is("constraints") && !self.assigns(1) {
            self.advance();
            return self.constraints();
        }
        let local = self.is("local") && !self.assigns(1);
        let session = self.is("session") && !self.assigns(1);
        if session && self.are(&["session", "characteristics"]) && !self.assigns(2) {
            self.advance();
            self.advance();
            self.expect_words(&["as", "transaction"])?;
            return self.modes().map(|modes| Setting::Characteristics { modes });
        }
        if self.are(&["session", "authorization"]) {
            self.advance();
            return self.session_authorization(false);
        }
        if local || session {
            self.advance();
        }
        if self.assigns(1) {
            return self.assignment(local);
        }
        match self.word(0) {
            Some("transaction") => {
                self.advance();
                if self.eat("snapshot") {
                    return self.expect_string().map(Setting::TransactionSnapshot);
                }
                self.modes().map(|modes| Setting::Transaction { modes })
            }
            Some("time") => {
                self.advance();
                self.expect("zone")?;
                let to = self.zone()?;
                Ok(Setting::Set { name: "timezone".into(), to, local })
            }
            Some("catalog") => {
                self.advance();
                let at = self.at;
                self.expect_string()?;
                Err(self.refused(Kind::Unsupported, "current database cannot be changed", at))
            }
            Some("schema") => {
                self.advance();
                let to = To::Values(vec![Value::Text(self.expect_string()?)]);
                Ok(Setting::Set { name: "search_path".into(), to, local })
            }
            Some("names") => {
                self.advance();
                let to = match self.string() {
                    Some(text) => To::Values(vec![Value::Text(text)]),
                    None => {
                        self.eat("default");
                        To::Default
                    }
                };
                Ok(Setting::Set { name: "client_encoding".into(), to, local })
            }
            Some("role") => {
                self.advance();
                let name = match self.string() {
                    Some(text) => text,
                    None => self.word_unless_reserved()?,
                };
                Ok(Setting::Role { name: (name != "none").then_some(name), local })
            }
            Some("session") => {
                self.advance();
                self.session_authorization(local)
            }
            Some("xml") => {
                self.advance();
                self.expect("option")?;
                let of = match self.word(0) {
                    Some(word @ ("document" | "content")) => word,
                    _ => return Err(self.unexpected()),
                };
                self.advance();
                let to = To::Values(vec![Value::Text(of.into())]);
                Ok(Setting::Set { name: "xmloption".into(), to, local })
            }
            _ => self.assignment(local),
        }
    }

    fn session_authorization(&mut self, local: bool) -> Result<Setting> {
        self.expect("authorization")?;
        let name = match self.string() {
            Some(text) => Some(text),
            None if self.eat("default") => None,
            None => Some(self.word_unless_reserved()?),
        };
        Ok(Setting::SessionAuthorization { name, local })
    }

    /// Whether what stands n tokens from here makes a variable's name of the word before it.
    fn assigns(&self, n: usize) -> bool {
        self.word(n) == Some("to") || self.operator_ahead(n) == Some("=") || self.symbol_ahead(n) == Some('.')
    }

    /// generic_set, or `name FROM CURRENT`.
    fn assignment(&mut self, local: bool) -> Result<Setting> {
        let name = self.variable()?;
        if self.eat("from") {
            self.expect("current")?;
            return Ok(Setting::Set { name, to: To::Current, local });
        }
        if self.is_operator("=") {
            self.advance();
        } else {
            self.expect("to")?;
        }
        if self.eat("default") {
            return Ok(Setting::Set { name, to: To::Default, local });
        }
        let values = self.list(Self::value)?;
        Ok(Setting::Set { name, to: To::Values(values), local })
    }

    /// var_name.
    fn variable(&mut self) -> Result<String> {
        let mut name = self.folded_name()?;
        while self.eat_symbol('.') {
            name.push('.');
            name.push_str(&self.folded_name()?);
        }
        Ok(name)
    }

    /// var_value.
    fn value(&mut self) -> Result<Value> {
        if let Some(text) = self.string() {
            return Ok(Value::Text(text));
        }
        if let Some(number) = self.signed_number() {
            return Ok(Value::Number(number));
        }
        match self.word(0) {
            Some(word @ ("true" | "false" | "on")) => {
                self.advance();
                Ok(Value::Text(word.into()))
            }
            _ => self.word_unless_reserved().map(Value::Text),
        }
    }

    /// zone_value.
    fn zone(&mut self) -> Result<To> {
        if let Some(text) = self.string() {
            return Ok(To::Values(vec![Value::Text(text)]));
        }
        if let Some(number) = self.signed_number() {
            return Ok(To::Values(vec![Value::Number(number)]));
        }
        if self.eat("default") || self.eat("local") {
            return Ok(To::Default);
        }
        if self.eat("interval") {
            if self.eat_symbol('(') {
                self.integer()?;
                self.expect_symbol(')')?;
                let text = self.expect_string()?;
                return Ok(To::Values(vec![Value::Interval(text)]));
            }
            let mut text = self.expect_string()?;
            let at = self.at;
            if self.eat("hour") {
                if self.eat("to") && !self.eat("minute") {
                    return match self.word(0) {
                        Some("second") => Err(self.beyond_minutes(at)),
                        _ => Err(self.unexpected()),
                    };
                }
                // a number without a unit is of hours here
                if text.trim().trim_start_matches(['-', '+']).chars().all(|c| c.is_ascii_digit()) {
                    text.push_str(" hours");
                }
            } else if matches!(self.word(0), Some("year" | "month" | "day" | "minute" | "second")) {
                return Err(self.beyond_minutes(at));
            }
            return Ok(To::Values(vec![Value::Interval(text)]));
        }
        // IDENT: a word that is no keyword
        match self.keyword(0) {
            None if self.names(Naming::Column, 0) => Ok(To::Values(vec![Value::Text(self.folded_name()?)])),
            _ => Err(self.unexpected()),
        }
    }

    fn beyond_minutes(&self, at: usize) -> Error {
        self.refused(Kind::Syntax, "time zone interval must be HOUR or HOUR TO MINUTE", at)
    }

    fn constraints(&mut self) -> Result<Setting> {
        let names = match self.eat("all") {
            true => None,
            false => {
                let name = |parser: &mut Self| {
                    let name = parser.qualified_name()?;
                    Ok(name.0.last().map(|part| part.to_string().trim_matches('"').to_owned()).unwrap_or_default())
                };
                Some(self.list(name)?)
            }
        };
        match self.word(0) {
            Some("deferred" | "immediate") => self.advance(),
            _ => return Err(self.unexpected()),
        }
        Ok(Setting::Constraints(names))
    }

    fn reset(&mut self) -> Result<Setting> {
        if self.eat("all") {
            return Ok(Setting::ResetAll);
        }
        match self.special_variable()? {
            Some(name) => Ok(Setting::Reset(name)),
            None => self.variable().map(Setting::Reset),
        }
    }

    fn show(&mut self) -> Result<Setting> {
        if self.eat("all") {
            return Ok(Setting::ShowAll);
        }
        match self.special_variable()? {
            Some(name) => Ok(Setting::Show(name)),
            None => self.variable().map(Setting::Show),
        }
    }

    /// TIME ZONE, TRANSACTION ISOLATION LEVEL, SESSION AUTHORIZATION: words for a variable.
    fn special_variable(&mut self) -> Result<Option<String>> {
        for (words, name) in [
            (&["time", "zone"][..], "timezone"),
            (&["transaction", "isolation"], "transaction_isolation"),
            (&["session", "authorization"], "session_authorization"),
        ] {
            if self.are(words) {
                words.iter().for_each(|_| self.advance());
                if name == "transaction_isolation" {
                    self.expect("level")?;
                }
                return Ok(Some(name.into()));
            }
        }
        Ok(None)
    }
}
