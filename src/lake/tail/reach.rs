//! How fresh a session wants its tables, as `lakegate.freshness` says it, and how far along its origin a pipeline is, as far
//! as that can be compared. It waits for nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How fresh tables are to be read that a pipeline fills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As the last commit left them.
    #[default]
    Committed,
    /// With all that their pipelines have taken in.
    Latest,
    /// With all that they had taken in so long ago.
    Within(Duration),
    /// With all that they have taken in, once that is as far as this.
    Reached(Reach),
}

/// How far along an origin something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// PostgreSQL: all commits that end here or before.
    Lsn(u64),
    /// Topics: of each partition all records below this offset.
    Offsets(BTreeMap<i32, i64>),
}

impl Reach {
    /// Whether it is as far as `wanted`; `None` where they are not of one kind.
    pub fn reaches(&self, wanted: &Self) -> Option<bool> {
        match (self, wanted) {
            (Self::Lsn(here), Self::Lsn(wanted)) => Some(here >= wanted),
            (Self::Offsets(here), Self::Offsets(wanted)) => {
                Some(wanted.iter().all(|(partition, next)| here.get(partition).is_some_and(|here| here >= next)))
            }
            (Self::Lsn(_), Self::Offsets(_)) | (Self::Offsets(_), Self::Lsn(_)) => None,
        }
    }

    /// `lsn:16/B374D848`, or `offset:0:41,1:17`: the last records that are wanted, by partition.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        match kind.trim().to_ascii_lowercase().as_str() {
            "lsn" => Self::lsn(place.trim()),
            "offset" => {
                let one = |pair: &str| {
                    let (partition, offset) = pair.split_once(':')?;
                    let partition = partition.trim().parse::<i32>().ok().filter(|p| *p >= 0)?;
                    let offset = offset.trim().parse::<i64>().ok().filter(|o| *o >= 0)?;
                    Some((partition, offset.checked_add(1)?))
                };
                let offsets = place.split(',').map(one).collect::<Option<BTreeMap<i32, i64>>>()?;
                Some(Self::Offsets(offsets))
            }
            _ => None,
        }
    }

    /// As PostgreSQL writes one.
    pub fn lsn(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |digits: &str| {
            let is_plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            is_plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        Some(Self::Lsn(half(high)? << 32 | half(low)?))
    }
}

/// As [`Reach::parse`] reads it.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "lsn:{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff),
            Self::Offsets(offsets) => {
                let last = offsets.iter().filter(|(_, next)| **next > 0);
                let last = last.map(|(partition, next)| format!("{partition}:{}", next - 1)).collect::<Vec<_>>();
                write!(f, "offset:{}", last.join(","))
            }
        }
    }
}
