//! What each unit is of each type, and how a part is as a numeric and as a float.

use arrow::array::BinaryBuilder;
use num_bigint::BigInt;

use super::super::Stamped;
use crate::formats::postgres::calendar::{DAY, FIRST_DAY, HOUR, MINUTE, SECOND, civil, days_of, iso_week, weekday};
use crate::formats::postgres::input::words::Unit;
use crate::sql::kernel::Interval;
use crate::sql::numeric::Numeric;

/// Digits of a quotient that numeric division gives at least, and digits of its words.
const SIGNIFICANT_DIGITS: i64 = 16;
const WORD_DIGITS: i64 = 4;

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Null,
    Infinity {
        negative: bool,
    },
    Int(i64),
    /// Seconds and a fraction of them in microseconds, as milliseconds.
    Millis {
        seconds: i64,
        micros: i64,
    },
    /// The same as seconds.
    Seconds {
        seconds: i64,
        micros: i64,
    },
    /// Microseconds since 1970, as seconds.
    Epoch(i64),
    /// A time in UTC: its microseconds, and the seconds that its zone is west.
    TimeEpoch {
        micros: i64,
        west: i32,
    },
    /// An interval's length, as seconds.
    Length(Interval),
    /// A day's number and the microseconds of the day.
    Julian {
        day: i64,
        of_day: i64,
    },
}

/// `None`: the type has no such unit.
pub(super) fn of_date(unit: Unit, days: i32) -> Option<Part> {
    if days == i32::MIN || days == i32::MAX {
        return match unit {
            Unit::Day | Unit::Month | Unit::Quarter | Unit::Week | Unit::Dow | Unit::Isodow | Unit::Doy => {
                Some(Part::Null)
            }
            _ => of_infinite(unit, days == i32::MAX, false),
        };
    }
    let days = i64::from(days);
    match unit {
        Unit::Epoch => Some(Part::Int(days * 86_400)),
        Unit::Julian => Some(Part::Int(days - i64::from(FIRST_DAY))),
        _ => of_day_number(unit, days).map(Part::Int),
    }
}

/// Units that go on for ever are infinite, those that come again are NULL.
pub(super) fn of_infinite(unit: Unit, later: bool, timed: bool) -> Option<Part> {
    match unit {
        Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Julian | Unit::Isoyear | Unit::Epoch => {
            Some(Part::Infinity { negative: !later })
        }
        Unit::Microsecond
        | Unit::Millisecond
        | Unit::Second
        | Unit::Minute
        | Unit::Hour
        | Unit::Day
        | Unit::Month
        | Unit::Quarter
        | Unit::Week
        | Unit::Dow
        | Unit::Isodow
        | Unit::Doy
        | Unit::Zone
        | Unit::ZoneHour
        | Unit::ZoneMinute => timed.then_some(Part::Null),
        Unit::Reserved => None,
    }
}

fn of_day_number(unit: Unit, days: i64) -> Option<i64> {
    match unit {
        Unit::Week => return Some(iso_week(days).1),
        Unit::Dow => return Some(weekday(days)),
        Unit::Isodow => return Some((weekday(days) + 6) % 7 + 1),
        Unit::Isoyear => {
            let year = iso_week(days).0;
            return Some(if year <= 0 { year - 1 } else { year });
        }
        _ => {}
    }
    let (year, month, day) = civil(days);
    let month = i64::from(month);
    Some(match unit {
        Unit::Day => i64::from(day),
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Year if year > 0 => year,
        // there is no year 0
        Unit::Year => year - 1,
        Unit::Decade => year.div_euclid(10),
        Unit::Century if year > 0 => (year + 99) / 100,
        Unit::Century => -((99 - (year - 1)) / 100),
        Unit::Millennium if year > 0 => (year + 999) / 1000,
        Unit::Millennium => -((999 - (year - 1)) / 1000),
        Unit::Doy => days - days_of(year, 1, 1) + 1,
        _ => return None,
    })
}

/// `west`: of a time with a zone.
pub(super) fn of_time(unit: Unit, micros: i64, west: Option<i32>) -> Option<Part> {
    match (unit, west) {
        (Unit::Epoch, _) => Some(Part::TimeEpoch { micros, west: west.unwrap_or(0) }),
        (Unit::Zone | Unit::ZoneHour | Unit::ZoneMinute, Some(west)) => of_zone(unit, -i64::from(west)),
        _ => of_clock(unit, micros),
    }
}

fn of_clock(unit: Unit, of_day: i64) -> Option<Part> {
    let (seconds, micros) = (of_day / SECOND % 60, of_day % SECOND);
    Some(match unit {
        Unit::Microsecond => Part::Int(seconds * SECOND + micros),
        Unit::Millisecond => Part::Millis { seconds, micros },
        Unit::Second => Part::Seconds { seconds, micros },
        Unit::Minute => Part::Int(of_day / MINUTE % 60),
        Unit::Hour => Part::Int(of_day / HOUR),
        _ => return None,
    })
}

fn of_zone(unit: Unit, east: i64) -> Option<Part> {
    match unit {
        Unit::Zone => Some(Part::Int(east)),
        Unit::ZoneMinute => Some(Part::Int(east / 60 % 60)),
        Unit::ZoneHour => Some(Part::Int(east / 3600)),
        _ => None,
    }
}

pub(super) fn of_stamp(unit: Unit, stamp: i64, local: Stamped, zoned: bool) -> Option<Part> {
    match unit {
        Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour => {
            of_clock(unit, local.of_day)
        }
        Unit::Epoch => Some(Part::Epoch(stamp)),
        Unit::Julian => Some(Part::Julian { day: local.days - i64::from(FIRST_DAY), of_day: local.of_day }),
        Unit::Zone | Unit::ZoneHour | Unit::ZoneMinute if zoned => of_zone(unit, local.east),
        _ => of_day_number(unit, local.days).map(Part::Int),
    }
}

pub(super) fn of_interval(unit: Unit, value: Interval) -> Option<Part> {
    let (years, months) = (i64::from(value.months / 12), i64::from(value.months % 12));
    Some(match unit {
        Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour => {
            return of_clock(unit, value.micros);
        }
        Unit::Day => Part::Int(i64::from(value.days)),
        Unit::Month => Part::Int(months),
        Unit::Quarter => Part::Int(months / 3 + 1),
        Unit::Year => Part::Int(years),
        Unit::Decade => Part::Int(years / 10),
        Unit::Century => Part::Int(years / 100),
        Unit::Millennium => Part::Int(years / 1000),
        Unit::Epoch => Part::Length(value),
        _ => return None,
    })
}

impl Part {
    pub(super) fn float(self) -> f64 {
        match self {
            Part::Null => f64::NAN,
            Part::Infinity { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Part::Int(value) => value as f64,
            Part::Millis { seconds, micros } => seconds as f64 * 1000.0 + micros as f64 / 1000.0,
            Part::Seconds { seconds, micros } => seconds as f64 + micros as f64 / 1e6,
            Part::Epoch(micros) => micros as f64 / 1e6,
            Part::TimeEpoch { micros, west } => micros as f64 / 1e6 + f64::from(west),
            Part::Length(Interval { months, days, micros }) => {
                micros as f64 / 1e6
                    + 365.25 * 86_400.0 * f64::from(months / 12)
                    + 30.0 * 86_400.0 * f64::from(months % 12)
                    + 86_400.0 * f64::from(days)
            }
            Part::Julian { day, of_day } => {
                let (seconds, micros) = (of_day / SECOND, of_day % SECOND);
                day as f64 + (seconds as f64 + micros as f64 / 1e6) / 86_400.0
            }
        }
    }

    /// The digits and the scale of a finite part.
    fn digits(self) -> Option<(i128, u32)> {
        Some(match self {
            Part::Null | Part::Infinity { .. } => return None,
            Part::Int(value) => (i128::from(value), 0),
            Part::Millis { seconds, micros } => (i128::from(seconds * SECOND + micros), 3),
            Part::Seconds { seconds, micros } => (i128::from(seconds * SECOND + micros), 6),
            Part::Epoch(micros) => (i128::from(micros), 6),
            Part::TimeEpoch { micros, west } => (i128::from(micros + i64::from(west) * SECOND), 6),
            Part::Length(Interval { months, days, micros }) => {
                // a year has 365.25 days here
                let quarters = 1461 * i128::from(months / 12) + 120 * i128::from(months % 12) + 4 * i128::from(days);
                (quarters * i128::from(DAY / 4) + i128::from(micros), 6)
            }
            Part::Julian { day, of_day } => julian(day, of_day),
        })
    }

    pub(super) fn numeric(self) -> Numeric {
        match (self, self.digits()) {
            (_, Some((digits, scale))) => Numeric::new(BigInt::from(digits), scale),
            (Part::Infinity { negative: true }, None) => Numeric::NegativeInfinity,
            (Part::Infinity { negative: false }, None) => Numeric::Infinity,
            (_, None) => Numeric::NaN,
        }
    }

    /// [`Numeric::encode`], without the detour through big integers.
    pub(super) fn append(self, builder: &mut BinaryBuilder) {
        let Some((digits, scale)) = self.digits() else {
            builder.append_value(self.numeric().encode());
            return;
        };
        let mut bytes = [0_u8; 32];
        let length = encode(digits, scale, &mut bytes);
        builder.append_value(bytes.get(..length).unwrap_or_default());
    }
}

/// The day plus its fraction, with as many digits as numeric division of microseconds by a day's gives.
fn julian(day: i64, of_day: i64) -> (i128, u32) {
    // select_div_scale: by the places of the first words of 86400000000 (864, 0000, 0000) and of the dividend.
    let (mut word, mut place) = (of_day, 0);
    while word >= 10_000 {
        word /= 10_000;
        place += 1;
    }
    let quotient_place = place - 2 - i64::from(word <= 864);
    let scale = u32::try_from(SIGNIFICANT_DIGITS - quotient_place * WORD_DIGITS).unwrap_or(0);
    let unit = 10_i128.pow(scale);
    let divisor = i128::from(DAY);
    let fraction = (i128::from(of_day) * unit * 2 + divisor) / (divisor * 2);
    (i128::from(day) * unit + fraction, scale)
}

/// Writes what [`Numeric::encode`] gives for `digits · 10^-scale`; `bytes` hold any i128.
fn encode(digits: i128, scale: u32, bytes: &mut [u8; 32]) -> usize {
    let shown = (scale as u16).to_be_bytes();
    if digits == 0 {
        bytes[..3].copy_from_slice(&[2, shown[0], shown[1]]);
        return 3;
    }
    let negative = digits < 0;
    let mut text = itoa::Buffer::new();
    let text = text.format(digits.unsigned_abs());
    let exponent = text.len() as i64 - i64::from(scale);
    let significant = text.trim_end_matches('0').as_bytes();
    bytes[0] = if negative { 1 } else { 3 };
    bytes[1..5].copy_from_slice(&((exponent + (1 << 31)) as u32).to_be_bytes());
    let mut length = 5;
    for pair in significant.chunks(2) {
        bytes[length] = (pair[0] - b'0') * 10 + pair.get(1).map_or(0, |digit| digit - b'0') + 1;
        length += 1;
    }
    bytes[length] = 0;
    length += 1;
    if negative {
        bytes[1..length].iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes[length..length + 2].copy_from_slice(&shown);
    length + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::postgres::calendar;

    #[test]
    fn parts_are_encoded_as_numerics_are() {
        let values =
            [0, 1, -1, 10, 99, 100, 12_345, -12_300, i128::from(i64::MAX), -987_654_321_000, i128::MAX, i128::MIN];
        for digits in values {
            for scale in [0, 3, 6, 20] {
                let mut bytes = [0; 32];
                let length = encode(digits, scale, &mut bytes);
                assert_eq!(bytes[..length], Numeric::new(digits.into(), scale).encode(), "{digits} {scale}");
            }
        }
    }

    #[test]
    fn days_have_as_many_digits_as_numeric_division_gives() {
        let rows = [
            (12 * HOUR, "2458851.50000000000000000000"),
            (1, "2458851.0000000000115740740740740741"),
            (0, "2458851.0000000000000000000000000000"),
        ];
        for (of_day, expected) in rows {
            assert_eq!(Part::Julian { day: 2_458_851, of_day }.numeric().to_string(), expected);
        }
    }

    #[test]
    fn calendars_agree() {
        for days in (FIRST_DAY..3_000_000).step_by(997) {
            let days = i64::from(days);
            let (year, week) = iso_week(days);
            assert_eq!(calendar::iso_week_start(year, week) + (weekday(days) + 6) % 7, days);
        }
    }
}
