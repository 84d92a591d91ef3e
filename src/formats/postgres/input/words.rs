//! Words that PostgreSQL knows in dates (`datetktbl`) and in intervals and units of time (`deltatktbl`). Only the first ten
//! letters of a word count; words come in lower case. Abbreviations of zones are `calendar/abbreviations.rs`'s.

/// Letters of a word that are looked at.
const LETTERS: usize = 10;

/// A unit of time, as interval input, `extract` and `date_trunc` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Epoch,
    Zone,
    ZoneHour,
    ZoneMinute,
    /// `now`, `today`, `infinity` …: words, but of no field.
    Reserved,
}

/// A word in a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Month(i32),
    Weekday,
    Bc(bool),
    Pm(bool),
    /// `at`, `on`.
    Filler,
    /// `dst`: an hour more.
    Summer,
    /// The `T` before a time.
    Time,
    /// A label before a number (`y2001m02d04`).
    Label(Unit),
    Special(Special),
}

/// Moments by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Infinity,
    MinusInfinity,
    Now,
    Epoch,
    /// Days from today.
    Day(i32),
    Allballs,
}

fn cut(word: &str) -> &str {
    word.get(..LETTERS).unwrap_or(word)
}

pub(crate) fn word(lower: &str) -> Option<Word> {
    Some(match cut(lower) {
        "-infinity" => Word::Special(Special::MinusInfinity),
        "ad" => Word::Bc(false),
        "allballs" => Word::Special(Special::Allballs),
        "am" => Word::Pm(false),
        "at" | "on" => Word::Filler,
        "bc" => Word::Bc(true),
        "d" => Word::Label(Unit::Day),
        "dow" => Word::Label(Unit::Dow),
        "doy" => Word::Label(Unit::Doy),
        "dst" => Word::Summer,
        "epoch" => Word::Special(Special::Epoch),
        "h" => Word::Label(Unit::Hour),
        "infinity" => Word::Special(Special::Infinity),
        "isodow" => Word::Label(Unit::Isodow),
        "isoyear" => Word::Label(Unit::Isoyear),
        "j" | "jd" | "julian" => Word::Label(Unit::Julian),
        "m" => Word::Label(Unit::Month),
        "mm" => Word::Label(Unit::Minute),
        "now" => Word::Special(Special::Now),
        "pm" => Word::Pm(true),
        "s" => Word::Label(Unit::Second),
        "t" => Word::Time,
        "today" => Word::Special(Special::Day(0)),
        "tomorrow" => Word::Special(Special::Day(1)),
        "y" => Word::Label(Unit::Year),
        "yesterday" => Word::Special(Special::Day(-1)),
        "jan" | "january" => Word::Month(1),
        "feb" | "february" => Word::Month(2),
        "mar" | "march" => Word::Month(3),
        "apr" | "april" => Word::Month(4),
        "may" => Word::Month(5),
        "jun" | "june" => Word::Month(6),
        "jul" | "july" => Word::Month(7),
        "aug" | "august" => Word::Month(8),
        "sep" | "sept" | "september" => Word::Month(9),
        "oct" | "october" => Word::Month(10),
        "nov" | "november" => Word::Month(11),
        "dec" | "december" => Word::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => Word::Weekday,
        _ => return None,
    })
}

/// `None` for what is no unit.
pub(crate) fn unit(lower: &str) -> Option<Unit> {
    Some(match cut(lower) {
        "us" | "usec" | "usecond" | "useconds" | "usecs" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecond" | "mseconds" | "msecs" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "second" | "seconds" | "secs" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hour" | "hours" | "hr" | "hrs" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "year" | "years" | "yr" | "yrs" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        "timezone" => Unit::Zone,
        "timezone_h" => Unit::ZoneHour,
        "timezone_m" => Unit::ZoneMinute,
        _ => return None,
    })
}

/// A field of `extract`: units, and the labels and `epoch` of dates.
pub(crate) fn field(lower: &str) -> Option<Unit> {
    unit(lower).or_else(|| match word(lower)? {
        Word::Label(unit) => Some(unit),
        Word::Special(Special::Epoch) => Some(Unit::Epoch),
        Word::Special(_) => Some(Unit::Reserved),
        _ => None,
    })
}
