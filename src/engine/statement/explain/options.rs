//! EXPLAIN's options, with PostgreSQL's defaults and errors (ExplainQuery in explain.c, defGetBoolean in define.c).

use datafusion::sql::sqlparser::ast::{Expr, UtilityOption, Value};

use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) analyze: bool,
    pub(super) verbose: bool,
    pub(super) costs: bool,
    pub(super) timing: bool,
    pub(super) summary: bool,
    pub(super) format: Format,
}

impl Options {
    /// `analyze` and `verbose` as they stand without parentheses.
    pub(super) fn read(analyze: bool, verbose: bool, list: &[UtilityOption]) -> Result<Self> {
        let mut options = Self { analyze, verbose, costs: true, timing: false, summary: false, format: Format::Text };
        let (mut timing, mut summary, mut wal) = (None, None, false);
        for option in list {
            match option.name.value.to_lowercase().as_str() {
                "analyze" => options.analyze = boolean("analyze", option)?,
                "verbose" => options.verbose = boolean("verbose", option)?,
                "costs" => options.costs = boolean("costs", option)?,
                "timing" => timing = Some(boolean("timing", option)?),
                "summary" => summary = Some(boolean("summary", option)?),
                "format" => options.format = format(option)?,
                "wal" => wal = boolean("wal", option)?,
                // there are no buffers and no settings of a planner to tell of
                name @ ("buffers" | "settings") => drop(boolean(name, option)?),
                name => {
                    return Err(Error::new(Kind::Syntax, format!("unrecognized EXPLAIN option \"{name}\"")));
                }
            }
        }
        let asks = [("WAL", wal), ("TIMING", timing == Some(true))];
        if let Some((name, _)) = asks.iter().find(|(_, asked)| *asked && !options.analyze) {
            return Err(Error::new(Kind::InvalidParameter, format!("EXPLAIN option {name} requires ANALYZE")));
        }
        options.timing = timing.unwrap_or(options.analyze);
        options.summary = summary.unwrap_or(options.analyze);
        Ok(options)
    }
}

/// An option without a value is on.
fn boolean(name: &str, option: &UtilityOption) -> Result<bool> {
    match word(option.arg.as_ref()).as_deref() {
        None if option.arg.is_none() => Ok(true),
        Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        None | Some(_) => Err(Error::new(Kind::Syntax, format!("{name} requires a Boolean value"))),
    }
}

fn format(option: &UtilityOption) -> Result<Format> {
    match word(option.arg.as_ref()).as_deref() {
        Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other @ ("xml" | "yaml")) => Err(Error::unsupported(format!("EXPLAIN (FORMAT {})", other.to_uppercase()))),
        Some(other) => {
            let text = format!("unrecognized value for EXPLAIN option \"format\": \"{other}\"");
            Err(Error::new(Kind::InvalidParameter, text))
        }
        None => Err(Error::new(Kind::Syntax, "format requires a parameter")),
    }
}

fn word(value: Option<&Expr>) -> Option<String> {
    match value? {
        Expr::Identifier(word) => Some(word.value.to_lowercase()),
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Some(value.to_string()),
            Value::Number(digits, _) => Some(digits.to_string()),
            Value::SingleQuotedString(text) => Some(text.to_lowercase()),
            _ => None,
        },
        _ => None,
    }
}
