//! What a startup message says of a session: its database and its settings, those in `options` too.

use crate::engine::settings::Settings;
use crate::error::{Error, Kind, Result};

/// The database it names; `None`: the one of the user's name.
pub(super) fn database(startup: &[(String, String)]) -> Option<&str> {
    startup.iter().find(|(name, _)| name == "database").map(|(_, value)| value.as_str())
}

/// 22023, 42704 and 55P02 as of SET.
pub(super) fn set(startup: &[(String, String)], settings: &mut Settings) -> Result<()> {
    for (name, value) in startup {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value)? {
                    settings.set(&name, Some(&value), false)?;
                }
            }
            // clients quote it: client_encoding = 'utf-8'
            _ => settings.set(name, Some(value.trim_matches('\'')), false)?,
        }
    }
    settings.started();
    Ok(())
}

/// `-c name=value` and `--name=value`, blanks escaped by a backslash.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words: Vec<String> = vec![];
    let (mut word, mut escaped) = (String::new(), false);
    for c in text.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ' ' if !escaped => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                escaped = false;
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let bad = || Error::new(Kind::InvalidParameter, "invalid command-line argument for server process");
    let mut settings = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match word.as_str() {
            "-c" => words.next().ok_or_else(bad)?,
            w => w.strip_prefix("-c").or_else(|| w.strip_prefix("--")).ok_or_else(bad)?.to_string(),
        };
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        settings.push((name.to_string(), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_words_with_escaped_blanks() {
        let pairs =
            |text| options(text).map(|all| all.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>());
        assert_eq!(pairs("-c a=1 --b=2 -cd=3").unwrap(), ["a=1", "b=2", "d=3"]);
        assert_eq!(pairs("-c a=x\\ y  ").unwrap(), ["a=x y"]);
        assert!(pairs("").unwrap().is_empty());
        for bad in ["-c", "-x a=1", "-c a", "a=1"] {
            assert_eq!(pairs(bad).unwrap_err().kind(), Kind::InvalidParameter, "{bad}");
        }
    }
}
