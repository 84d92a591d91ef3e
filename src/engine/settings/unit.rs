//! Numbers with units: how a setting's are read and shown (parse_int, parse_real, convert_from_base_unit of guc.c).

use std::time::Duration;

use crate::age::UNITS as TIME;
use crate::catalog::pg_catalog::settings::{Kind as Values, Setting};
use crate::error::{Error, Kind, Result};

const MEMORY_HINT: &str = "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".";
const TIME_HINT: &str = "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";

/// Bytes of each unit of memory; the largest first.
const MEMORY: [(&str, f64); 5] =
    [("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1_024.0), ("B", 1.0)];

/// Names, and how much each is.
type Units = &'static [(&'static str, f64)];

/// The units of a setting's kind, how much its own one is, and what is said of others.
fn units(unit: &str) -> Option<(Units, f64, &'static str)> {
    let of = |units: Units, name: &str| units.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    if unit.is_empty() {
        return None;
    }
    if let Some(value) = of(&TIME, unit) {
        return Some((&TIME, value, TIME_HINT));
    }
    // of blocks: 8kB, 16MB
    let digits = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (count, name) = unit.split_at(digits);
    let count = if count.is_empty() { 1.0 } else { count.parse().ok()? };
    Some((&MEMORY, of(&MEMORY, name)? * count, MEMORY_HINT))
}

/// The value in the setting's unit. 22023 for what is no number, or beyond its limits.
pub(super) fn read(setting: &Setting, text: &str) -> Result<String> {
    let invalid = |hint: Option<&str>| {
        let text = format!("invalid value for parameter \"{}\": \"{text}\"", setting.name);
        let error = Error::new(Kind::InvalidParameter, text);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    };
    let (number, rest) = number(text).ok_or_else(|| invalid(None))?;
    let rest = rest.trim();
    let mut value = number;
    if !rest.is_empty() {
        let (units, own, hint) = units(setting.unit).ok_or_else(|| invalid(None))?;
        let (_, factor) = units.iter().find(|(name, _)| *name == rest).ok_or_else(|| invalid(Some(hint)))?;
        value = value * factor / own;
    }
    let whole = setting.kind == Values::Integer;
    if whole {
        value = value.round_ties_even();
        if !(-2_147_483_648.0..=2_147_483_647.0).contains(&value) {
            return Err(invalid(Some("Value exceeds integer range.")));
        }
    }
    let limit = |text: &str| text.parse::<f64>().ok();
    if limit(setting.min).is_some_and(|min| value < min) || limit(setting.max).is_some_and(|max| value > max) {
        let blank = if setting.unit.is_empty() { "" } else { " " };
        let text = format!(
            "{}{blank}{} is outside the valid range for parameter \"{}\" ({} .. {})",
            general(value),
            setting.unit,
            setting.name,
            setting.min,
            setting.max
        );
        return Err(Error::new(Kind::InvalidParameter, text));
    }
    Ok(general(value))
}

/// A number at the start of a text, in C's forms, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let unsigned = text.trim_start_matches(['-', '+']);
    let signs = text.len() - unsigned.len();
    if signs > 1 {
        return None;
    }
    let negative = text.starts_with('-');
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let (digits, rest) = hex.split_at(end);
        let value = i64::from_str_radix(digits, 16).ok()? as f64;
        return Some((if negative { -value } else { value }, rest));
    }
    let bytes = unsigned.as_bytes();
    let digits_from = |at: usize| at + bytes.iter().skip(at).take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits_from(0);
    let whole_end = end;
    if bytes.get(end) == Some(&b'.') {
        end = digits_from(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        let exponent_end = digits_from(end + 1 + sign);
        if exponent_end > end + 1 + sign {
            end = exponent_end;
        }
    }
    let (digits, rest) = unsigned.split_at(end);
    // C reads a whole number that begins with 0 as octal
    let octal = end == whole_end && digits.len() > 1 && digits.starts_with('0');
    let value = match octal {
        true => i64::from_str_radix(digits, 8).ok()? as f64,
        false => digits.parse::<f64>().ok()?,
    };
    Some((if negative { -value } else { value }, rest))
}

/// How long something may take or be old: a number and a unit of time.
pub(super) fn age(text: &str) -> Option<Duration> {
    let (number, unit) = number(text.trim())?;
    let (_, micros) = TIME.iter().find(|(name, _)| *name == unit.trim())?;
    Duration::try_from_secs_f64(number * micros / 1_000_000.0).ok()
}

/// In the largest unit that divides it; 0 and negative numbers have none.
pub(super) fn shown(setting: &Setting, kept: &str) -> String {
    let value = kept.parse::<f64>().ok().filter(|value| *value > 0.0);
    let (Some(value), Some((units, own, _))) = (value, units(setting.unit)) else { return kept.to_string() };
    let all = value * own;
    let whole = |amount: f64| (amount - amount.round()).abs() < f64::EPSILON * amount.abs();
    let fits = units.iter().map(|(name, unit)| (name, all / unit)).find(|(_, amount)| *amount >= 1.0 && whole(*amount));
    match fits {
        Some((name, amount)) => format!("{}{name}", general(amount.round())),
        None => format!("{kept}{}", setting.unit),
    }
}

/// `%g`: six digits, without zeros at the end; whole numbers whole.
fn general(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor();
    if (-5.0..=5.0).contains(&exponent) {
        let decimals = (0..=10).find(|decimals| f64::from(*decimals) >= 5.0 - exponent).unwrap_or(10);
        let text = format!("{value:.*}", usize::try_from(decimals).unwrap_or(10));
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    value.to_string()
}
