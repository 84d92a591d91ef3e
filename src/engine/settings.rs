//! The settings a session has: one table of name, default, and what SET may give it. The table is the allow-list of
//! policy.md §6.9: nothing else can be set, and identity and authority are not settings.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
enum Values {
    Any,
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// Milliseconds; accepts `5s`, `1min`.
    Duration,
    OneOf(&'static [&'static str]),
    TimeZone,
    /// Shown, never set.
    Fixed,
}

struct Setting {
    name: &'static str,
    default: &'static str,
    values: Values,
    /// Sent as ParameterStatus when it changes.
    reported: bool,
    about: &'static str,
}

const fn s(name: &'static str, default: &'static str, values: Values, reported: bool, about: &'static str) -> Setting {
    Setting { name, default, values, reported, about }
}

pub use crate::catalog::pg_catalog::SERVER_VERSION;

const LEVELS: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error", "fatal",
    "panic",
];
const ISOLATION: &[&str] = &["read committed", "read uncommitted", "repeatable read", "serializable"];

#[rustfmt::skip]
const SETTINGS: &[Setting] = &[
    s("application_name", "", Values::Any, true, "Name of the client, for the log."),
    s("bytea_output", "hex", Values::OneOf(&["hex"]), false, "How bytea is spelt."),
    s("client_encoding", "UTF8", Values::OneOf(&["utf8", "utf-8", "unicode"]), true, "Always UTF-8."),
    s("client_min_messages", "notice", Values::OneOf(LEVELS), false, "Accepted, without effect."),
    s("datestyle", "ISO, MDY", Values::OneOf(&["iso", "iso, mdy", "iso, dmy", "iso, ymd"]), true, "Dates are ISO."),
    s("default_transaction_isolation", "read committed", Values::OneOf(ISOLATION), false, "Each statement sees its own snapshot."),
    s("default_transaction_read_only", "off", Values::Bool, true, "New transactions may not write."),
    s("extra_float_digits", "1", Values::Int { min: -15, max: 3 }, false, "Digits of floats; 1 and more: the shortest that read back the same."),
    s("idle_in_transaction_session_timeout", "0", Values::Duration, false, "Ends a session idle in a transaction."),
    s("in_hot_standby", "off", Values::Fixed, true, "Never a standby."),
    s("integer_datetimes", "on", Values::Fixed, true, "Timestamps are 64-bit integers."),
    s("intervalstyle", "postgres", Values::OneOf(&["postgres"]), true, "How intervals are spelt."),
    s("is_superuser", "off", Values::Fixed, true, "Nobody is."),
    s("lakegate.cache", "on", Values::Bool, false, "Answer from the result cache where it is exact."),
    s("lc_collate", "C", Values::Fixed, false, "Text compares by bytes."),
    s("lc_ctype", "C", Values::Fixed, false, "Case mapping follows Unicode."),
    s("lc_messages", "C", Values::Any, false, "Accepted, without effect."),
    s("lc_monetary", "C", Values::Any, false, "Accepted, without effect."),
    s("lc_numeric", "C", Values::Any, false, "Accepted, without effect."),
    s("lc_time", "C", Values::Any, false, "Accepted, without effect."),
    s("lock_timeout", "0", Values::Duration, false, "Accepted; there are no locks."),
    s("max_identifier_length", "63", Values::Fixed, false, "Longest name, in bytes."),
    s("max_index_keys", "32", Values::Fixed, false, "For drivers that ask."),
    s("row_security", "on", Values::Fixed, false, "Policy is always on."),
    s("search_path", "\"$user\", public", Values::Any, false, "Schemas for names without one."),
    s("server_encoding", "UTF8", Values::Fixed, true, "Always UTF-8."),
    s("server_version", SERVER_VERSION, Values::Fixed, true, "The PostgreSQL whose behaviour this server shows."),
    s("server_version_num", "150018", Values::Fixed, false, "The same as a number."),
    s("session_authorization", "", Values::Fixed, true, "Who logged in."),
    s("standard_conforming_strings", "on", Values::OneOf(&["on", "true", "1", "yes"]), true, "Backslashes are plain."),
    s("statement_timeout", "0", Values::Duration, false, "Cancels a statement that runs longer; 0 is off."),
    s("synchronize_seqscans", "on", Values::Bool, false, "Accepted, without effect."),
    s("timezone", "UTC", Values::TimeZone, true, "Zone in which timestamptz is shown and read."),
    s("transaction_isolation", "read committed", Values::OneOf(ISOLATION), false, "Of the current transaction."),
    s("transaction_read_only", "off", Values::Bool, false, "Of the current transaction."),
    s("work_mem", "4MB", Values::Any, false, "Accepted, without effect."),
];

/// ParameterStatus spells some names as PostgreSQL always has.
fn wire_name(name: &str) -> &str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        other => other,
    }
}

/// One session's values.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, String>,
    /// What RESET goes back to: defaults and the startup message.
    start: BTreeMap<&'static str, String>,
    /// Moves with every change, so that what was derived from the values can be kept.
    version: u64,
}

impl Settings {
    /// `search_path`: where names without a schema are looked for unless the client says otherwise.
    pub(crate) fn new(user: &str, search_path: &str) -> Self {
        let mut values: BTreeMap<_, _> = SETTINGS.iter().map(|s| (s.name, s.default.to_string())).collect();
        values.insert("session_authorization", user.to_string());
        values.insert("search_path", search_path.to_string());
        Self { start: values.clone(), values, version: 0 }
    }

    /// Values of now under a version that no value of `other` ever had: what was derived from those is stale.
    pub(crate) fn follow(&mut self, other: &Self) {
        self.version = other.version + 1;
    }

    /// From now on RESET comes back to the values of now.
    pub(crate) fn started(&mut self) {
        self.start = self.values.clone();
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// 42704 for a name that is not in the table.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        Ok(&self.values[find(name)?.name])
    }

    /// Sets a value as written in SQL; answers what SHOW gives afterwards.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = find(name)?;
        let value = check(setting, value)?;
        if self.values[setting.name] != value {
            self.values.insert(setting.name, value);
            self.version += 1;
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self, name: &str) -> Result<()> {
        let name = find(name)?.name;
        self.values.insert(name, self.start[name].clone());
        self.version += 1;
        Ok(())
    }

    pub(crate) fn reset_all(&mut self) {
        self.values = self.start.clone();
        self.version += 1;
    }

    /// (name, value, description) of all, for SHOW ALL and pg_settings.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        SETTINGS
            .iter()
            .map(|s| (shown_name(s.name).to_string(), self.values[s.name].clone(), s.about.to_string()))
            .collect()
    }

    /// ParameterStatus pairs.
    pub(crate) fn reported(&self) -> Vec<(&'static str, String)> {
        let name = |n: &'static str| match wire_name(n) {
            "DateStyle" => "DateStyle",
            "IntervalStyle" => "IntervalStyle",
            "TimeZone" => "TimeZone",
            _ => n,
        };
        SETTINGS.iter().filter(|s| s.reported).map(|s| (name(s.name), self.values[s.name].clone())).collect()
    }

    pub(crate) fn time_zone(&self) -> chrono_tz::Tz {
        zone(&self.values["timezone"]).unwrap_or(chrono_tz::UTC)
    }

    pub(crate) fn extra_float_digits(&self) -> i32 {
        self.values["extra_float_digits"].parse().unwrap_or(1)
    }

    pub(crate) fn is_on(&self, name: &'static str) -> bool {
        self.values.get(name).is_some_and(|v| v == "on")
    }

    /// Milliseconds; 0 is off.
    pub(crate) fn statement_timeout_ms(&self) -> u64 {
        milliseconds(&self.values["statement_timeout"]).unwrap_or(0)
    }

    /// Schemas for names without one, `$user` replaced.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let user = &self.values["session_authorization"];
        let parts = self.values["search_path"].split(',').map(str::trim).filter(|p| !p.is_empty());
        parts
            .map(|p| match p.strip_prefix('"').and_then(|p| p.strip_suffix('"')) {
                Some("$user") => user.clone(),
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => p.to_lowercase(),
            })
            .collect()
    }

    /// Values that can change what a cached answer holds.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{}|{}", self.values["timezone"], self.values["search_path"])
    }
}

fn shown_name(name: &'static str) -> &'static str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        other => other,
    }
}

/// As PostgreSQL, whatever the case.
fn zone(name: &str) -> Option<chrono_tz::Tz> {
    chrono_tz::TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name)).copied()
}

fn find(name: &str) -> Result<&'static Setting> {
    let lower = name.to_lowercase();
    if matches!(lower.as_str(), "role" | "session authorization") {
        return Err(Error::new(Kind::PermissionDenied, format!("permission denied to set parameter \"{lower}\"")));
    }
    SETTINGS
        .iter()
        .find(|s| s.name == lower)
        .ok_or_else(|| Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
}

fn check(setting: &Setting, value: &str) -> Result<String> {
    let lower = value.trim().to_lowercase();
    let invalid =
        || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{}\": \"{value}\"", setting.name));
    match setting.values {
        Values::Any => Ok(value.to_string()),
        Values::Bool => match lower.as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".into()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".into()),
            _ => Err(invalid()),
        },
        Values::Int { min, max } => match lower.parse::<i64>() {
            Ok(n) if (min..=max).contains(&n) => Ok(n.to_string()),
            _ => Err(invalid()),
        },
        Values::Duration => match milliseconds(&lower) {
            Some(ms) if ms > 0 && ms % 1_000 == 0 => Ok(format!("{}s", ms / 1_000)),
            Some(0) => Ok("0".into()),
            Some(ms) => Ok(format!("{ms}ms")),
            None => Err(invalid()),
        },
        Values::OneOf(words) => match words.iter().find(|w| **w == lower) {
            Some(_) if setting.name == "client_encoding" => Ok("UTF8".into()),
            Some(_) if setting.name == "datestyle" => Ok("ISO, MDY".into()),
            Some(_) if setting.name == "standard_conforming_strings" => Ok("on".into()),
            Some(word) => Ok((*word).to_string()),
            None => Err(invalid()),
        },
        Values::TimeZone => zone(value.trim()).map(|tz| tz.name().to_string()).ok_or_else(invalid),
        Values::Fixed => {
            Err(Error::new(Kind::PermissionDenied, format!("parameter \"{}\" cannot be changed", setting.name)))
        }
    }
}

/// `1500`, `1500ms`, `1.5s`, `2min`, `1h`.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = f64::from_str(number).ok()?;
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = number * factor;
    (ms <= i32::MAX as f64).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_settings_can_be_set_and_identity_is_not_one() {
        let mut s = Settings::new("ann", "public");
        let code = |r: Result<()>| r.err().map(|e| e.kind().sqlstate());
        for (name, value, expect) in [
            ("timezone", "Europe/Berlin", None),
            ("TimeZone", "Mars/Olympus", Some("22023")),
            ("statement_timeout", "5s", None),
            ("statement_timeout", "soon", Some("22023")),
            ("client_encoding", "'LATIN1'", Some("22023")),
            ("role", "admin", Some("42501")),
            ("session_authorization", "admin", Some("42501")),
            ("is_superuser", "on", Some("42501")),
            ("datafusion.execution.batch_size", "1", Some("42704")),
            ("lakegate.user", "admin", Some("42704")),
            ("user.region", "US", Some("42704")),
        ] {
            assert_eq!(code(s.set(name, value)), expect, "{name} = {value}");
        }
        assert_eq!((s.get("TIMEZONE").expect("there"), s.statement_timeout_ms()), ("Europe/Berlin", 5_000));
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_pass_their_own_check() {
        assert!(SETTINGS.is_sorted_by_key(|s| s.name));
        for s in SETTINGS.iter().filter(|s| !matches!(s.values, Values::Fixed)) {
            assert!(check(s, s.default).is_ok(), "{}", s.name);
        }
    }
}
