//! How often a table is looked at: `every = "10 min"`, or `"manual"`. It knows no clock.

/// Oftener nothing is looked at.
const LEAST_MS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    Ms(u64),
    /// Whenever somebody asks.
    Manual,
}

const UNITS: [(&[&str], u64); 5] = [
    (&["ms"], 1),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["min", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
];

impl Every {
    /// Says what is wrong in words for the file's author.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text == "manual" {
            return Ok(Self::Manual);
        }
        let unread = || format!("`{text}` is no period; say for example `10 min`, `1 h` or `manual`");
        let (number, unit) = text.trim().split_once(|c: char| !c.is_ascii_digit()).map_or((text, ""), |(number, _)| {
            (number, text.trim().get(number.len()..).unwrap_or_default().trim_start())
        });
        let (_, each) = UNITS.iter().find(|(names, _)| names.contains(&unit)).ok_or_else(unread)?;
        let ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*each)).ok_or_else(unread)?;
        match ms >= LEAST_MS {
            true => Ok(Self::Ms(ms)),
            false => Err(format!("`{text}` is too often; at least {LEAST_MS} ms lie between")),
        }
    }

    /// In milliseconds, when it was looked at last so; `None` where somebody must ask.
    pub(super) fn next_in(self, looked_ms: Option<i64>, now_ms: i64) -> Option<u64> {
        let Self::Ms(period) = self else { return None };
        let Some(looked_ms) = looked_ms else { return Some(0) };
        // A clock that was set back keeps nobody waiting for longer than a period.
        let past = u64::try_from(now_ms.saturating_sub(looked_ms)).unwrap_or(0);
        Some(period.saturating_sub(past))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_in_words_and_short() {
        let check = |text: &str, ms: u64| assert_eq!(Every::read(text), Ok(Every::Ms(ms)), "{text}");
        check("10 min", 600_000);
        check("10min", 600_000);
        check("1 h", 3_600_000);
        check("2 days", 172_800_000);
        check("100 ms", 100);
        check("30 seconds", 30_000);
        assert_eq!(Every::read("manual"), Ok(Every::Manual));
        for wrong in
            ["", "10", "min", "-1 min", "1.5 h", "10 mins", "99 ms", "0 s", "99999999999999999999 s", "1 h 5 min"]
        {
            assert!(Every::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_look_is_a_period_after_the_last_one() {
        let every = Every::Ms(1_000);
        assert_eq!(every.next_in(None, 5), Some(0), "it was never looked at");
        assert_eq!(every.next_in(Some(5_000), 5_400), Some(600));
        assert_eq!(every.next_in(Some(5_000), 9_000), Some(0));
        assert_eq!(every.next_in(Some(9_000), 5_000), Some(1_000), "the clock was set back");
        assert_eq!(Every::Manual.next_in(None, 5), None);
    }
}
