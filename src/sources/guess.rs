//! Types of columns as values look that nobody declared: of members of JSON, and of fields of CSV. Doubt makes text or
//! jsonb. A type is PostgreSQL's name of it; it declares nothing.

use serde_json::Value;

/// What holds values of both. `None` says nothing.
pub(super) fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (None, known) | (known, None) => known,
        (Some(one), Some(other)) => Some(wider(&one, &other).unwrap_or_else(|| {
            let texts = |name: &str| matches!(name, "text" | "date" | "timestamptz" | "timestamp" | "uuid");
            if texts(&one) && texts(&other) { "text".into() } else { "jsonb".into() }
        })),
    }
}

/// The wider of two types of one kind; `None` where neither holds the other's values.
pub(super) fn wider(one: &str, other: &str) -> Option<String> {
    let rank = |name: &str| ["int8", "numeric"].iter().position(|known| *known == name);
    match (rank(one), rank(other)) {
        _ if one == other => Some(one.to_owned()),
        (Some(a), Some(b)) => Some(if a > b { one } else { other }.to_owned()),
        _ => None,
    }
}

/// What is known of a line's fields, and one more line.
pub(super) fn of_line(found: &mut [Option<String>], fields: impl IntoIterator<Item = Option<String>>) {
    for (known, field) in found.iter_mut().zip(fields) {
        let Some(field) = field else { continue };
        let looks = of_field(&field).to_owned();
        *known = Some(match known.take() {
            None => looks,
            Some(known) => wider(&known, &looks).unwrap_or_else(|| "text".into()),
        });
    }
}

/// `None` for null, which tells nothing. `connect`: as Kafka Connect writes values.
pub(super) fn of_json(value: &Value, connect: bool) -> Option<String> {
    let name = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int8",
        Value::Number(_) => "numeric",
        Value::String(text) => of_moment(text).unwrap_or("text"),
        Value::Object(object) if connect && object.len() == 2 && object.contains_key("scale") => "numeric",
        Value::Object(_) => "jsonb",
        Value::Array(elements) => {
            let inner = elements.iter().map(|element| of_json(element, connect)).fold(None, both);
            return Some(match inner.as_deref() {
                None | Some("jsonb") => "jsonb".into(),
                Some(inner) if inner.ends_with("[]") => "jsonb".into(),
                Some(inner) => format!("{inner}[]"),
            });
        }
    };
    Some(name.into())
}

/// What a field without quotes marks stands for. Digits behind a zero are no number: they would lose it.
pub(super) fn of_field(text: &str) -> &'static str {
    let number = |text: &str| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
        let all = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_number = all(whole) && (whole == "0" || !whole.starts_with('0')) && part.is_none_or(all);
        is_number.then_some(part.is_some())
    };
    match number(text) {
        Some(false) if text.parse::<i64>().is_ok() => "int8",
        Some(_) => "numeric",
        None if matches!(text, "true" | "false") => "bool",
        None => match text.get(10..11) {
            Some(" ") => of_moment(&text.replacen(' ', "T", 1)).unwrap_or("text"),
            _ => of_moment(text).unwrap_or("text"),
        },
    }
}

fn of_moment(text: &str) -> Option<&'static str> {
    let shape: String = text.chars().take(40).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let clock = |rest: &str| rest.trim_start_matches(['9', '.', ':']).to_owned();
    match shape.as_str() {
        "9999-99-99" => Some("date"),
        _ if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() => Some("uuid"),
        _ => match shape.strip_prefix("9999-99-99T99:99:99").map(clock).as_deref() {
            Some("Z" | "+99:99" | "-99:99" | "+99" | "-99") => Some("timestamptz"),
            Some("") => Some("timestamp"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_what_it_looks_like_without_loss() {
        for (text, expect) in [
            ("17", "int8"),
            ("-17", "int8"),
            ("007", "text"),
            ("0", "int8"),
            ("0.5", "numeric"),
            ("9223372036854775808", "numeric"),
            ("1.", "text"),
            ("1e5", "text"),
            ("true", "bool"),
            ("t", "text"),
            ("2024-02-29", "date"),
            ("2024-02-29 10:00:00", "timestamp"),
            ("2024-02-29T10:00:00.5Z", "timestamptz"),
            ("2024-02-29 10:00:00+02", "timestamptz"),
            ("00112233-4455-6677-8899-aabbccddeeff", "uuid"),
            ("", "text"),
            ("häßlich grün", "text"),
        ] {
            assert_eq!(of_field(text), expect, "{text}");
        }
    }
}
