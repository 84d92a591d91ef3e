//! Kernels of date, time, timetz, timestamp, timestamptz and interval: date.c, timestamp.c, and formatting.c's half about
//! dates. Values are microseconds and days since 1970; texts are read and spelt by `formats`.
//!
//! `io` text and bytes · `scale` typmods · `cast` between the types · `compare` · `arithmetic`, `interval` sums and
//! products · `age` · `trunc` · `extract` · `make` · `at_zone` AT TIME ZONE · `now` · `overlaps` · `in_range` windows ·
//! `template` to_char, to_date, to_timestamp.

mod age;
pub(super) mod arithmetic;
mod at_zone;
mod cast;
pub(super) mod compare;
mod extract;
mod in_range;
pub(in crate::sql) mod interval;
mod io;
mod make;
mod now;
mod overlaps;
mod scale;
pub(crate) mod template;
#[cfg(test)]
mod tests;
mod trunc;
mod vector;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, DAY, END_STAMP_DAY, SECOND, Zone};
use crate::sql::kernel::Kernel;

type Kernels = &'static [(&'static str, Kernel)];

const PARTS: [Kernels; 17] = [
    age::KERNELS,
    arithmetic::KERNELS,
    at_zone::KERNELS,
    cast::KERNELS,
    compare::KERNELS,
    compare::MORE,
    extract::KERNELS,
    in_range::KERNELS,
    interval::KERNELS,
    io::KERNELS,
    make::KERNELS,
    now::KERNELS,
    overlaps::KERNELS,
    scale::KERNELS,
    template::KERNELS,
    trunc::KERNELS,
    &[],
];
const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};
const ALL: [(&str, Kernel); COUNT] = {
    let mut all = [PARTS[0][0]; COUNT];
    let (mut filled, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut place = 0;
        while place < PARTS[part].len() {
            all[filled] = PARTS[part][place];
            filled += 1;
            place += 1;
        }
        part += 1;
    }
    all
};
pub(super) const KERNELS: &[(&str, Kernel)] = &ALL;

const DATE: &str = "date out of range";

fn out_of_range() -> Error {
    calendar::out_of_range()
}

/// A clock time: days since 1970, microseconds of the day, and the zone's offset there in seconds.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    days: i64,
    of_day: i64,
    east: i64,
}

impl Stamped {
    /// Of a finite timestamp: in a zone, or as it is.
    fn local(stamp: i64, zone: Option<&Zone>) -> Self {
        let (mut days, mut of_day) = (stamp.div_euclid(DAY), stamp.rem_euclid(DAY));
        let Some(zone) = zone else { return Self { days, of_day, east: 0 } };
        let east = zone.offset(stamp.div_euclid(SECOND));
        of_day += east * SECOND;
        // no zone is a day away
        if of_day < 0 {
            (days, of_day) = (days - 1, of_day + DAY);
        } else if of_day >= DAY {
            (days, of_day) = (days + 1, of_day - DAY);
        }
        Self { days, of_day, east }
    }

    /// The timestamp; in a zone by the offset that it has at this clock time.
    fn instant(self, zone: Option<&Zone>) -> Result<i64> {
        let east = zone.map_or(0, |zone| zone.offset_of_local(self.days * 86_400 + self.of_day / SECOND));
        Self { east, ..self }.at_offset()
    }

    /// By the offset that it holds.
    fn at_offset(self) -> Result<i64> {
        let stamp = || self.days.checked_mul(DAY)?.checked_add(self.of_day)?.checked_sub(self.east * SECOND);
        stamp().filter(|stamp| calendar::is_finite_timestamp(*stamp)).ok_or_else(out_of_range)
    }
}

/// A date's midnight. 22008 beyond the timestamps; the infinities are theirs.
fn date_stamp(days: i32) -> Result<i64> {
    match days {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        _ => {
            let stamp = (days < END_STAMP_DAY).then(|| i64::from(days).checked_mul(DAY)).flatten();
            stamp.ok_or_else(|| Error::new(Kind::DateRange, "date out of range for timestamp"))
        }
    }
}

/// Microseconds of the day, seconds west of Greenwich.
fn timetz(value: [u8; 12]) -> (i64, i32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), i32::from_be_bytes([i, j, k, l]))
}

fn timetz_bytes(micros: i64, west: i32) -> [u8; 12] {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (micros.to_be_bytes(), west.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l]
}
