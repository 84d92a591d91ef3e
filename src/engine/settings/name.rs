//! Names of settings: those of the image, and a client's own, which have a dot in them.

use crate::catalog::pg_catalog::settings::{Setting, setting, unrecognized};
use crate::error::{Error, Kind, Result};

/// First parts of names that mean something to us: a client makes none of its own under them.
const RESERVED: [&str; 3] = ["lakegate", "datafusion", "user"];

/// A name that may be set.
pub(super) enum Found {
    Known(&'static Setting),
    /// A client's own, with a dot in it.
    Custom(String),
}

/// 42704 for a word that is no setting, 42602 for a name with a dot that cannot be one.
pub(super) fn find(name: &str) -> Result<Found> {
    if let Some(setting) = setting(name) {
        return Ok(Found::Known(setting));
    }
    let Some((first, _)) = name.split_once('.') else { return Err(unrecognized(name)) };
    let invalid = |detail: String| {
        let text = format!("invalid configuration parameter name \"{name}\"");
        Err(Error::new(Kind::InvalidName, text).with_detail(detail))
    };
    let simple = |part: &str| {
        let mut chars = part.chars();
        let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        chars.next().is_some_and(starts) && chars.all(|c| starts(c) || c.is_ascii_digit() || c == '$')
    };
    if !name.split('.').all(simple) {
        return invalid("Custom parameter names must be two or more simple identifiers separated by dots.".into());
    }
    if RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
        return invalid(format!("\"{first}\" is a reserved prefix."));
    }
    Ok(Found::Custom(name.to_lowercase()))
}

/// What SET's list of values is as one text (flatten_set_variable_args).
pub(crate) fn joined(name: &str, values: &[String]) -> Result<String> {
    let known = setting(name);
    match (values, known) {
        (values, Some(list)) if list.is_list_of_names() => {
            Ok(values.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", "))
        }
        ([one], _) => Ok(one.clone()),
        (values, Some(list)) if list.is_list() => Ok(values.join(", ")),
        _ => {
            let name = super::Settings::proper_name(name);
            Err(Error::new(Kind::InvalidParameter, format!("SET {name} takes only one argument")))
        }
    }
}

/// quote_identifier.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !crate::sql::parse::keyword::needs_quotes(name);
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
