//! `lakegate.freshness`: whether a session reads the tables that pipelines fill as the last commit left them, or with what was
//! taken in since. What that is it does not know.

use super::unit;
use crate::catalog::pg_catalog::settings::Setting;
use crate::error::{Error, Kind, Result};
use crate::lake::{Freshness, Reach};

pub(super) const FRESHNESS: &str = "lakegate.freshness";
pub(super) const TIMEOUT: &str = "lakegate.freshness_timeout";

/// 22023 for what is none.
pub(super) fn check(setting: &Setting, value: &str) -> Result<String> {
    let value = value.trim();
    match of(value) {
        Some(Freshness::Committed) => Ok("committed".into()),
        Some(Freshness::Latest) => Ok("latest".into()),
        Some(Freshness::Within(_)) => Ok(value.into()),
        Some(Freshness::Reached(reach)) => Ok(reach.to_string()),
        None => {
            let text = format!("invalid value for parameter \"{}\": \"{value}\"", setting.name);
            let hint = "Available values: committed, latest, an age as \"2 s\", and a position as \"lsn:16/B374D848\" or \
                        \"offset:0:41,1:17\".";
            Err(Error::new(Kind::InvalidParameter, text).with_hint(hint))
        }
    }
}

pub(super) fn of(text: &str) -> Option<Freshness> {
    match text.to_ascii_lowercase().as_str() {
        "" | "committed" => Some(Freshness::Committed),
        "latest" => Some(Freshness::Latest),
        _ => Reach::parse(text).map(Freshness::Reached).or_else(|| unit::age(text).map(Freshness::Within)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalog::pg_catalog::settings::setting;

    #[test]
    fn words_ages_and_positions_are_told_apart_from_nonsense() {
        let checked = |text: &str| check(setting(FRESHNESS).unwrap(), text).map_err(|e| e.kind());
        for (text, kept) in [
            (" Latest", "latest"),
            ("COMMITTED", "committed"),
            ("2 s", "2 s"),
            ("1.5min", "1.5min"),
            ("lsn:16/b374d848", "lsn:16/B374D848"),
            ("offset:0:41, 1:17", "offset:0:41,1:17"),
        ] {
            assert_eq!(checked(text), Ok(kept.into()), "{text}");
            assert_eq!(of(kept), of(text.trim()), "{text}");
        }
        for text in ["newest", "2", "-1 s", "2 parsecs", "lsn:16", "lsn:1/+2", "lsn:1/123456789", "offset:", "offset:0"]
        {
            assert_eq!(checked(text), Err(Kind::InvalidParameter), "{text}");
        }
        assert_eq!(of("1500 ms"), Some(Freshness::Within(Duration::from_millis(1_500))));
        assert_eq!(of("lsn:1/2"), Some(Freshness::Reached(Reach::Lsn(0x1_0000_0002))));
        assert_eq!(of("offset:3:9"), Some(Freshness::Reached(Reach::Offsets([(3, 10)].into()))));
    }
}
