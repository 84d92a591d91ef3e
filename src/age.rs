//! How old something may be, or how long it may take, as a file says it: `5 min`. The units are those that SET takes. What the
//! age is of it does not know.

/// Names, and microseconds of each; the largest first.
pub(crate) const UNITS: [(&str, f64); 6] = [
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1_000.0),
    ("us", 1.0),
];

/// In milliseconds, at most as many as a setting holds. Says what is wrong in words for the file's author.
pub(crate) fn read_ms(text: &str) -> Result<i64, String> {
    let unread = || format!("`{text}` is no age; say for example `30 s`, `5 min` or `1 h`");
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(unread)?;
    let ms = number.parse::<f64>().map_err(|_| unread())? * micros / 1_000.0;
    match (0.0..=f64::from(i32::MAX)).contains(&ms) {
        // a bound is not rounded up
        true => Ok(ms.floor() as i64),
        false => Err(format!("`{text}` is too old; at most {} ms can be said", i32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_units_and_nothing_else() {
        for (text, ms) in [
            ("5 min", 300_000),
            ("5min", 300_000),
            (" 1.5 s ", 1_500),
            ("1 h", 3_600_000),
            ("2 d", 172_800_000),
            ("0 s", 0),
            ("1999 us", 1),
            ("2147483647 ms", 2_147_483_647),
        ] {
            assert_eq!(read_ms(text), Ok(ms), "{text}");
        }
        for wrong in ["", "5", "min", "-1 s", "5 mins", "1 h 5 min", "5 MIN", "1.2.3 s", "1e3 s", ". s", "NaN s", "∞ s"]
        {
            assert!(read_ms(wrong).is_err_and(|told| told.contains("is no age")), "{wrong}");
        }
        assert!(read_ms("25 d").is_err_and(|told| told.contains("too old")));
    }
}
