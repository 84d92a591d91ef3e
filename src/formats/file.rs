//! What a file's bytes are, as settings say it of files that are read as tables and of those that are taken in. It reads
//! none.

use serde::Deserialize;

use super::record::Csv;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    Csv,
    /// A line a row.
    Json,
    Parquet,
}

/// How a file's lines are written, and whether the first one is none of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvFile {
    /// The first line of each file names the columns, in any order.
    pub header: bool,
    /// One ASCII character between fields.
    pub delimiter: char,
    pub quote: char,
    /// A field without quotes that is NULL.
    pub null: String,
}

impl Default for CsvFile {
    fn default() -> Self {
        let Csv { delimiter, quote, null } = Csv::default();
        Self { header: true, delimiter, quote, null }
    }
}

impl CsvFile {
    pub fn lines(&self) -> Csv {
        let Self { header: _, delimiter, quote, null } = self.clone();
        Csv { delimiter, quote, null }
    }

    /// What no line could be written with.
    pub fn fault(&self) -> Option<&'static str> {
        let Self { delimiter, quote, .. } = self;
        if !(delimiter.is_ascii() && quote.is_ascii()) || delimiter == quote {
            return Some("`delimiter` and `quote` are two ASCII characters");
        }
        let is_end = |character: &char| matches!(character, '\n' | '\r' | '\0');
        (is_end(delimiter) || is_end(quote)).then_some("`delimiter` and `quote` are no ends of lines")
    }
}
