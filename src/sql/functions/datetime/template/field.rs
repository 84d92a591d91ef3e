//! The fields of a template, by name. Lower-case names are fields of their own, as far as their text differs.

/// Which letters a word is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Initial,
    Lower,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    /// `AD`; with dots `A.D.`.
    Era(Letters, bool),
    /// `AM`; with dots `A.M.`.
    Half(Letters, bool),
    Century,
    /// Whole (`DAY`) or short (`DY`).
    WeekdayName(Letters, bool),
    DayOfYear,
    Day,
    Weekday,
    /// So many digits of a second's fraction.
    Fraction(u8),
    /// `FX`: blanks and widths count.
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoWeekday,
    IsoWeek,
    /// The last digits of the year.
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    /// Whole (`MONTH`) or short (`MON`).
    MonthName(Letters, bool),
    Millisecond,
    Offset,
    Quarter,
    Roman(Letters),
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone(Letters),
    Microsecond,
    Week,
    WeekOfMonth,
    YearWithComma,
    /// The last digits of the year.
    Year(u8),
}

/// Which calendar a field belongs to; a template must not mix them where it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    None,
    Gregorian,
    IsoWeek,
}

/// A name of a field.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    name: &'static str,
    id: Id,
    /// It begins with a digit where it is read.
    digit: bool,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key(&'static Row);

impl Key {
    /// The longest name with which the text begins.
    pub(super) fn starting(text: &str) -> Option<Self> {
        ROWS.iter().find(|row| text.starts_with(row.name)).map(Key)
    }

    pub(super) fn name(self) -> &'static str {
        self.0.name
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// `FM`: no padding, any width.
    Fill(Letters),
    /// `TM`: words of the locale.
    Translated(Letters),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// `TH`, `th`.
    Ordinal(Letters),
    /// `SP`, not implemented in PostgreSQL either.
    Spelled,
}

impl Prefix {
    pub(super) fn text(self) -> &'static str {
        match self {
            Prefix::Fill(Letters::Lower) => "fm",
            Prefix::Fill(_) => "FM",
            Prefix::Translated(Letters::Lower) => "tm",
            Prefix::Translated(_) => "TM",
        }
    }
}

impl Suffix {
    pub(super) fn text(self) -> &'static str {
        match self {
            Suffix::Ordinal(Letters::Lower) => "th",
            Suffix::Ordinal(_) => "TH",
            Suffix::Spelled => "SP",
        }
    }
}

pub(super) fn prefix(text: &str) -> Option<Prefix> {
    use Letters::{Lower, Upper};
    let all = [Prefix::Fill(Upper), Prefix::Fill(Lower), Prefix::Translated(Upper), Prefix::Translated(Lower)];
    all.into_iter().find(|prefix| text.starts_with(prefix.text()))
}

pub(super) fn suffix(text: &str) -> Option<Suffix> {
    let all = [Suffix::Ordinal(Letters::Upper), Suffix::Ordinal(Letters::Lower), Suffix::Spelled];
    all.into_iter().find(|suffix| text.starts_with(suffix.text()))
}

/// A field as it stands in a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    key: Key,
    prefix: Option<Prefix>,
    suffix: Option<Suffix>,
}

impl Field {
    pub(super) fn new(key: Key, prefix: Option<Prefix>, suffix: Option<Suffix>) -> Self {
        Self { key, prefix, suffix }
    }

    pub(super) fn id(&self) -> Id {
        self.key.0.id
    }

    pub(super) fn name(&self) -> &'static str {
        self.key.name()
    }

    pub(super) fn mode(&self) -> Mode {
        self.key.0.mode
    }

    pub(super) fn begins_with_digit(&self) -> bool {
        self.key.0.digit
    }

    pub(super) fn fills(&self) -> bool {
        matches!(self.prefix, Some(Prefix::Fill(_)))
    }

    pub(super) fn translated(&self) -> bool {
        matches!(self.prefix, Some(Prefix::Translated(_)))
    }

    pub(super) fn ordinal(&self) -> Option<Letters> {
        match self.suffix {
            Some(Suffix::Ordinal(letters)) => Some(letters),
            _ => None,
        }
    }
}

const fn row(name: &'static str, id: Id, digit: bool, mode: Mode) -> Row {
    Row { name, id, digit, mode }
}

/// Of names that begin alike the longer ones first.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    row("A.D.", Id::Era(Letters::Upper, true), false, Mode::None),
    row("A.M.", Id::Half(Letters::Upper, true), false, Mode::None),
    row("AD", Id::Era(Letters::Upper, false), false, Mode::None),
    row("AM", Id::Half(Letters::Upper, false), false, Mode::None),
    row("B.C.", Id::Era(Letters::Upper, true), false, Mode::None),
    row("BC", Id::Era(Letters::Upper, false), false, Mode::None),
    row("CC", Id::Century, true, Mode::None),
    row("DAY", Id::WeekdayName(Letters::Upper, true), false, Mode::Gregorian),
    row("DDD", Id::DayOfYear, true, Mode::Gregorian),
    row("DD", Id::Day, true, Mode::Gregorian),
    row("DY", Id::WeekdayName(Letters::Upper, false), false, Mode::Gregorian),
    row("Day", Id::WeekdayName(Letters::Initial, true), false, Mode::Gregorian),
    row("Dy", Id::WeekdayName(Letters::Initial, false), false, Mode::Gregorian),
    row("D", Id::Weekday, true, Mode::Gregorian),
    row("FF1", Id::Fraction(1), true, Mode::None),
    row("FF2", Id::Fraction(2), true, Mode::None),
    row("FF3", Id::Fraction(3), true, Mode::None),
    row("FF4", Id::Fraction(4), true, Mode::None),
    row("FF5", Id::Fraction(5), true, Mode::None),
    row("FF6", Id::Fraction(6), true, Mode::None),
    row("FX", Id::Exact, false, Mode::None),
    row("HH24", Id::Hour24, true, Mode::None),
    row("HH12", Id::Hour12, true, Mode::None),
    row("HH", Id::Hour12, true, Mode::None),
    row("IDDD", Id::IsoDayOfYear, true, Mode::IsoWeek),
    row("ID", Id::IsoWeekday, true, Mode::IsoWeek),
    row("IW", Id::IsoWeek, true, Mode::IsoWeek),
    row("IYYY", Id::IsoYear(4), true, Mode::IsoWeek),
    row("IYY", Id::IsoYear(3), true, Mode::IsoWeek),
    row("IY", Id::IsoYear(2), true, Mode::IsoWeek),
    row("I", Id::IsoYear(1), true, Mode::IsoWeek),
    row("J", Id::Julian, true, Mode::None),
    row("MI", Id::Minute, true, Mode::None),
    row("MM", Id::Month, true, Mode::Gregorian),
    row("MONTH", Id::MonthName(Letters::Upper, true), false, Mode::Gregorian),
    row("MON", Id::MonthName(Letters::Upper, false), false, Mode::Gregorian),
    row("MS", Id::Millisecond, true, Mode::None),
    row("Month", Id::MonthName(Letters::Initial, true), false, Mode::Gregorian),
    row("Mon", Id::MonthName(Letters::Initial, false), false, Mode::Gregorian),
    row("OF", Id::Offset, false, Mode::None),
    row("P.M.", Id::Half(Letters::Upper, true), false, Mode::None),
    row("PM", Id::Half(Letters::Upper, false), false, Mode::None),
    row("Q", Id::Quarter, true, Mode::None),
    row("RM", Id::Roman(Letters::Upper), false, Mode::Gregorian),
    row("SSSSS", Id::SecondOfDay, true, Mode::None),
    row("SSSS", Id::SecondOfDay, true, Mode::None),
    row("SS", Id::Second, true, Mode::None),
    row("TZH", Id::ZoneHour, false, Mode::None),
    row("TZM", Id::ZoneMinute, true, Mode::None),
    row("TZ", Id::Zone(Letters::Upper), false, Mode::None),
    row("US", Id::Microsecond, true, Mode::None),
    row("WW", Id::Week, true, Mode::Gregorian),
    row("W", Id::WeekOfMonth, true, Mode::Gregorian),
    row("Y,YYY", Id::YearWithComma, true, Mode::Gregorian),
    row("YYYY", Id::Year(4), true, Mode::Gregorian),
    row("YYY", Id::Year(3), true, Mode::Gregorian),
    row("YY", Id::Year(2), true, Mode::Gregorian),
    row("Y", Id::Year(1), true, Mode::Gregorian),
    row("a.d.", Id::Era(Letters::Lower, true), false, Mode::None),
    row("a.m.", Id::Half(Letters::Lower, true), false, Mode::None),
    row("ad", Id::Era(Letters::Lower, false), false, Mode::None),
    row("am", Id::Half(Letters::Lower, false), false, Mode::None),
    row("b.c.", Id::Era(Letters::Lower, true), false, Mode::None),
    row("bc", Id::Era(Letters::Lower, false), false, Mode::None),
    row("cc", Id::Century, true, Mode::None),
    row("day", Id::WeekdayName(Letters::Lower, true), false, Mode::Gregorian),
    row("ddd", Id::DayOfYear, true, Mode::Gregorian),
    row("dd", Id::Day, true, Mode::Gregorian),
    row("dy", Id::WeekdayName(Letters::Lower, false), false, Mode::Gregorian),
    row("d", Id::Weekday, true, Mode::Gregorian),
    row("ff1", Id::Fraction(1), true, Mode::None),
    row("ff2", Id::Fraction(2), true, Mode::None),
    row("ff3", Id::Fraction(3), true, Mode::None),
    row("ff4", Id::Fraction(4), true, Mode::None),
    row("ff5", Id::Fraction(5), true, Mode::None),
    row("ff6", Id::Fraction(6), true, Mode::None),
    row("fx", Id::Exact, false, Mode::None),
    row("hh24", Id::Hour24, true, Mode::None),
    row("hh12", Id::Hour12, true, Mode::None),
    row("hh", Id::Hour12, true, Mode::None),
    row("iddd", Id::IsoDayOfYear, true, Mode::IsoWeek),
    row("id", Id::IsoWeekday, true, Mode::IsoWeek),
    row("iw", Id::IsoWeek, true, Mode::IsoWeek),
    row("iyyy", Id::IsoYear(4), true, Mode::IsoWeek),
    row("iyy", Id::IsoYear(3), true, Mode::IsoWeek),
    row("iy", Id::IsoYear(2), true, Mode::IsoWeek),
    row("i", Id::IsoYear(1), true, Mode::IsoWeek),
    row("j", Id::Julian, true, Mode::None),
    row("mi", Id::Minute, true, Mode::None),
    row("mm", Id::Month, true, Mode::Gregorian),
    row("month", Id::MonthName(Letters::Lower, true), false, Mode::Gregorian),
    row("mon", Id::MonthName(Letters::Lower, false), false, Mode::Gregorian),
    row("ms", Id::Millisecond, true, Mode::None),
    row("of", Id::Offset, false, Mode::None),
    row("p.m.", Id::Half(Letters::Lower, true), false, Mode::None),
    row("pm", Id::Half(Letters::Lower, false), false, Mode::None),
    row("q", Id::Quarter, true, Mode::None),
    row("rm", Id::Roman(Letters::Lower), false, Mode::Gregorian),
    row("sssss", Id::SecondOfDay, true, Mode::None),
    row("ssss", Id::SecondOfDay, true, Mode::None),
    row("ss", Id::Second, true, Mode::None),
    row("tzh", Id::ZoneHour, false, Mode::None),
    row("tzm", Id::ZoneMinute, true, Mode::None),
    row("tz", Id::Zone(Letters::Lower), false, Mode::None),
    row("us", Id::Microsecond, true, Mode::None),
    row("ww", Id::Week, true, Mode::Gregorian),
    row("w", Id::WeekOfMonth, true, Mode::Gregorian),
    row("y,yyy", Id::YearWithComma, true, Mode::Gregorian),
    row("yyyy", Id::Year(4), true, Mode::Gregorian),
    row("yyy", Id::Year(3), true, Mode::Gregorian),
    row("yy", Id::Year(2), true, Mode::Gregorian),
    row("y", Id::Year(1), true, Mode::Gregorian),
];
