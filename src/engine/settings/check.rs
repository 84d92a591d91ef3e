//! Which values a setting takes, and how each is kept.

use super::{Settings, freshness, unit, vector, version, zone};
use crate::catalog::pg_catalog::settings::{Kind as Values, Setting};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{DateOrder, DateOutput, DateStyle, IntervalStyle, encodings};

/// Longest name (NAMEDATALEN - 1), in bytes.
const NAME_BYTES_MAX: usize = 63;

/// The value as it is kept. 22023 for what the setting does not take.
pub(super) fn check(settings: &Settings, setting: &Setting, value: &str) -> Result<String> {
    match setting.kind {
        Values::Bool => {
            let on = boolean(value).ok_or_else(|| {
                Error::new(Kind::InvalidParameter, format!("parameter \"{}\" requires a Boolean value", setting.name))
            })?;
            let word = if on { "on" } else { "off" };
            means_something_here(setting.name, word)?;
            Ok(word.into())
        }
        Values::Integer | Values::Real => unit::read(setting, value),
        Values::Word => word(setting, value),
        Values::Text => text(settings, setting, value),
    }
}

/// What would change how a statement is read, and does not here, is not taken for granted: 0A000.
fn means_something_here(name: &str, value: &str) -> Result<()> {
    match (name, value) {
        ("standard_conforming_strings" | "array_nulls", "off") | ("transform_null_equals", "on") => {
            Err(Error::unsupported(format!("{name} = {value}")))
        }
        ("default_with_oids", "on") => Err(Error::unsupported("WITH OIDS")),
        _ => Ok(()),
    }
}

/// parse_bool: any beginning of a word that tells it.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.trim().to_ascii_lowercase();
    let begins = |word: &str| !lower.is_empty() && word.starts_with(&lower);
    match lower.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

fn invalid(setting: &Setting, value: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{}\": \"{value}\"", setting.name))
}

fn word(setting: &Setting, value: &str) -> Result<String> {
    if let Some(word) = setting.words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
        return Ok((*word).to_string());
    }
    // words that PostgreSQL takes and does not list
    let unlisted = match setting.name {
        "client_min_messages" if value.eq_ignore_ascii_case("debug") => Some("debug2"),
        "client_min_messages" if value.eq_ignore_ascii_case("info") => Some("info"),
        _ if !setting.words.contains(&"on") => None,
        _ => match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some("on"),
            "false" | "no" | "0" => Some("off"),
            _ => None,
        },
    };
    let hint = || format!("Available values: {}.", setting.words.join(", "));
    unlisted.map(str::to_string).ok_or_else(|| invalid(setting, value).with_hint(hint()))
}

fn text(settings: &Settings, setting: &Setting, value: &str) -> Result<String> {
    let refused = |detail: String| Err(invalid(setting, value).with_detail(detail));
    match setting.name {
        "TimeZone" => zone::check(value),
        "DateStyle" => date_style(settings, setting, value),
        vector::VECTOR => vector::check(value),
        version::TIME | version::VERSION => version::check(settings, setting, value),
        freshness::FRESHNESS => freshness::check(setting, value),
        "client_encoding" => encoding(setting, value),
        "search_path" => match identifiers(value) {
            Some(_) => Ok(value.to_string()),
            None => refused("List syntax is invalid.".into()),
        },
        // as pg_clean_ascii, and no longer than a name
        "application_name" => {
            let clean = value.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
            Ok(clean.take(NAME_BYTES_MAX).collect())
        }
        "role" | "session_authorization" => identity(settings, setting.name, value),
        "default_tablespace" if !matches!(value, "" | "pg_default") => {
            refused(format!("Tablespace \"{value}\" does not exist."))
        }
        "default_table_access_method" if value != "heap" => {
            refused(format!("Table access method \"{value}\" does not exist."))
        }
        "local_preload_libraries" if !value.is_empty() => {
            Err(Error::new(Kind::PermissionDenied, format!("access to library \"{value}\" is not allowed")))
        }
        // what only C's rules are known for
        "lc_monetary" | "lc_numeric" | "lc_time"
            if !matches!(value, "" | "C" | "POSIX" | "C.UTF-8" | "C.utf8" | "en_US.UTF-8" | "en_US.utf8") =>
        {
            Err(invalid(setting, value))
        }
        "timezone_abbreviations" if !value.eq_ignore_ascii_case("default") => Err(invalid(setting, value)),
        _ => Ok(value.to_string()),
    }
}

/// Nobody becomes by it whom the policy does not let them act for.
fn identity(settings: &Settings, name: &str, value: &str) -> Result<String> {
    let own = value == &*settings.user || name == "role" && value == "none";
    let what = if name == "role" { "role" } else { "session authorization" };
    match own || settings.identities.contains(value) {
        true => Ok(value.to_string()),
        false => Err(Error::new(Kind::PermissionDenied, format!("permission denied to set {what} \"{value}\""))),
    }
}

fn encoding(setting: &Setting, value: &str) -> Result<String> {
    match encodings::number(value) {
        Some(encodings::UTF8) => Ok("UTF8".into()),
        // the client takes the server's as it is
        Some(encodings::SQL_ASCII) => Ok("SQL_ASCII".into()),
        Some(_) => {
            let text = format!("conversion between {} and UTF8 is not supported", value.to_uppercase());
            Err(Error::new(Kind::Unsupported, text))
        }
        None => Err(invalid(setting, value)),
    }
}

/// check_datestyle: what is not said stays as it is.
fn date_style(settings: &Settings, setting: &Setting, value: &str) -> Result<String> {
    let refused = |detail: String| Err(invalid(setting, value).with_detail(detail));
    let Some(words) = identifiers(value) else { return refused("List syntax is invalid.".into()) };
    let mut style = None::<DateOutput>;
    let mut order = None::<DateOrder>;
    let mut implied = None;
    let mut conflict = false;
    for word in words {
        let lower = word.to_ascii_lowercase();
        let (new_style, new_order) = match lower.as_str() {
            "iso" => (Some(DateOutput::Iso), None),
            "sql" => (Some(DateOutput::Sql), None),
            "german" => {
                implied = Some(DateOrder::Dmy);
                (Some(DateOutput::German), None)
            }
            word if word.starts_with("postgres") => (Some(DateOutput::Postgres), None),
            "ymd" => (None, Some(DateOrder::Ymd)),
            word if word == "dmy" || word.starts_with("euro") => (None, Some(DateOrder::Dmy)),
            word if word == "mdy" || word == "us" || word.starts_with("noneuro") => (None, Some(DateOrder::Mdy)),
            "default" => {
                let default = date_style_of(settings.reset_value(setting));
                style = style.or(Some(default.output));
                order = order.or(Some(default.order));
                (None, None)
            }
            _ => return refused(format!("Unrecognized key word: \"{word}\".")),
        };
        conflict |= matches!((style, new_style), (Some(a), Some(b)) if a != b);
        conflict |= matches!((order, new_order), (Some(a), Some(b)) if a != b);
        style = new_style.or(style);
        order = new_order.or(order);
    }
    if conflict {
        return refused("Conflicting \"datestyle\" specifications.".into());
    }
    let now = settings.date_style();
    let output = match style.unwrap_or(now.output) {
        DateOutput::Iso => "ISO",
        DateOutput::Sql => "SQL",
        DateOutput::Postgres => "Postgres",
        DateOutput::German => "German",
    };
    let order = match order.or(implied).unwrap_or(now.order) {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    Ok(format!("{output}, {order}"))
}

/// Of a value that [`date_style`] gave.
pub(super) fn date_style_of(kept: &str) -> DateStyle {
    let (output, order) = kept.split_once(", ").unwrap_or((kept, ""));
    let output = match output {
        "SQL" => DateOutput::Sql,
        "Postgres" => DateOutput::Postgres,
        "German" => DateOutput::German,
        _ => DateOutput::Iso,
    };
    let order = match order {
        "DMY" => DateOrder::Dmy,
        "YMD" => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    };
    DateStyle { output, order }
}

pub(super) fn interval_style_of(kept: &str) -> IntervalStyle {
    match kept {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

/// Names separated by commas, folded unless quoted (SplitIdentifierString); `None` where that is not what the text is.
pub(super) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim_start();
    let mut names = vec![];
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut value = String::new();
            let mut behind = quoted;
            loop {
                let (part, after) = behind.split_once('"')?;
                value.push_str(part);
                behind = after;
                match behind.strip_prefix('"') {
                    Some(more) => {
                        value.push('"');
                        behind = more;
                    }
                    None => break,
                }
            }
            (name, rest) = (value, behind);
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if word.is_empty() {
                return None;
            }
            (name, rest) = (word.to_lowercase(), behind);
        }
        names.push(name);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => return Some(names),
            None => return None,
        }
    }
}
