//! Values of the oracle's tables, and how each place spells them: SQL, TOML, JSON, PostgreSQL's text. It knows no table.

use chrono::{DateTime, Days, NaiveDate};

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Kind {
    Int4,
    Int8,
    Text,
    Bool,
    /// numeric(12,2)
    Numeric,
    Date,
    Timestamp,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Numeric => "numeric(12,2)",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    pub fn oid(self) -> u32 {
        match self {
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Text => 25,
            Self::Bool => 16,
            Self::Numeric => 1700,
            Self::Date => 1082,
            Self::Timestamp => 1114,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bool(bool),
    /// In hundredths.
    Numeric(i64),
    /// Days since 1970.
    Date(i64),
    /// Seconds since 1970.
    Timestamp(i64),
}

pub type Row = Vec<Cell>;

impl Cell {
    pub fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Int(n) => n.to_string(),
            Self::Text(text) => text.clone(),
            Self::Bool(b) => b.to_string(),
            Self::Numeric(n) => format!("{}{}.{:02}", if *n < 0 { "-" } else { "" }, n.abs() / 100, n.abs() % 100),
            Self::Date(days) => date(*days).to_string(),
            Self::Timestamp(seconds) => {
                DateTime::from_timestamp(*seconds, 0).unwrap().format("%Y-%m-%d %H:%M:%S").to_string()
            }
        }
    }

    /// A literal of exactly its type in a statement.
    pub fn sql(&self) -> String {
        match self {
            Self::Null => "NULL".into(),
            Self::Int(n) if *n < 0 => format!("({n})"),
            Self::Int(_) | Self::Bool(_) | Self::Numeric(0..) => self.text(),
            Self::Numeric(_) => format!("({})", self.text()),
            Self::Text(text) => format!("'{text}'"),
            Self::Date(_) => format!("DATE '{}'", self.text()),
            Self::Timestamp(_) => format!("TIMESTAMP '{}'", self.text()),
        }
    }

    /// A constant of the filter language, which takes its column's type.
    pub fn constant(&self) -> String {
        match self {
            Self::Null | Self::Int(_) | Self::Bool(_) | Self::Numeric(_) => self.text(),
            Self::Text(_) | Self::Date(_) | Self::Timestamp(_) => format!("'{}'", self.text()),
        }
    }

    /// As a memory source's file has it.
    pub fn toml(&self) -> String {
        match self {
            Self::Null => "{}".into(),
            Self::Int(_) | Self::Bool(_) => self.text(),
            Self::Text(_) | Self::Numeric(_) | Self::Date(_) | Self::Timestamp(_) => format!("\"{}\"", self.text()),
        }
    }

    pub fn json(&self) -> String {
        match self {
            Self::Null => "null".into(),
            other => other.toml(),
        }
    }
}

fn date(days: i64) -> NaiveDate {
    let epoch = NaiveDate::default();
    let far = Days::new(days.unsigned_abs());
    if days < 0 { epoch.checked_sub_days(far).unwrap() } else { epoch.checked_add_days(far).unwrap() }
}

/// The year that a day falls in.
pub fn year_of(days: i64) -> i32 {
    chrono::Datelike::year(&date(days))
}

/// Days from 1970 to 1 January of `year`.
pub fn first_of(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap().signed_duration_since(NaiveDate::default()).num_days()
}

#[test]
fn values_are_spelt_as_postgres_spells_them() {
    for (cell, text) in [
        (Cell::Numeric(-5), "-0.05"),
        (Cell::Numeric(1250), "12.50"),
        (Cell::Date(-1), "1969-12-31"),
        (Cell::Timestamp(86_400 * 366 + 1), "1971-01-02 00:00:01"),
    ] {
        assert_eq!(cell.text(), text);
    }
    assert_eq!((year_of(-1), first_of(1969), year_of(first_of(2024))), (1969, -365, 2024));
}
