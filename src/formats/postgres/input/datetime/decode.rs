//! What the fields of a date, a timestamp or a time mean together (DecodeDateTime, DecodeTimeOnly).

use super::super::super::Style;
use super::super::super::calendar::zone::{self, Named};
use super::super::super::calendar::{self, DAY, FIRST_DAY, SECOND, Zone};
use super::super::words::{self, Special, Unit, Word};
use super::fields::{Fault, Field, Look, split};
use super::local_now;
use super::number::{Numbers, fraction, leading, mask, offset};

/// What a text says.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) meant: Meant,
    numbers: Numbers,
    /// Seconds east of Greenwich: the text's zone, or the session's.
    pub(super) east: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    Fields,
    Infinity,
    MinusInfinity,
    Epoch,
}

impl Decoded {
    /// Days since 1970; `None` far outside of PostgreSQL's calendar.
    pub(super) fn days(&self) -> Option<i64> {
        self.numbers.days()
    }

    /// Microseconds since 1970 by the clock on the wall.
    pub(super) fn micros(&self) -> Option<i64> {
        let micros = i128::from(self.days()?) * i128::from(DAY) + i128::from(self.of_day());
        i64::try_from(micros).ok()
    }

    pub(super) fn of_day(&self) -> i64 {
        self.numbers.of_day()
    }
}

impl Numbers {
    fn days(&self) -> Option<i64> {
        let (year, month) = (i64::from(self.year), u32::try_from(self.month).ok()?);
        let valid = calendar::is_valid_julian(year, i64::from(month));
        valid.then_some(calendar::days_of(year, month, u32::try_from(self.day).ok()?))
    }

    fn local_seconds(&self) -> Option<i64> {
        Some(self.days()? * 86_400 + self.of_day() / SECOND)
    }
}

/// A number's label: `j`, `y`, or the `T` before a time.
#[derive(Clone, Copy, PartialEq)]
enum Label {
    Unit(Unit),
    Time,
}

struct Decoder<'a> {
    style: &'a Style,
    fields: Vec<Field>,
    numbers: Numbers,
    seen: u32,
    label: Option<Label>,
    meant: Meant,
    month_by_name: bool,
    julian: bool,
    bc: bool,
    pm: Option<bool>,
    east: i64,
    zone: Option<Zone>,
    abbreviation: Option<Named>,
}

pub(super) fn date_time(text: &str, length_max: usize, style: &Style) -> Result<Decoded, Fault> {
    let mut decoder = Decoder::new(split(text, length_max)?, style);
    for place in 0..decoder.fields.len() {
        let Field { look, text } = decoder.fields[place].clone();
        let bits = match look {
            Look::Date => decoder.date_or_zone(&text)?,
            Look::Time => {
                decoder.expect_time()?;
                let bits = decoder.numbers.time(&text)?;
                if decoder.numbers.time_overflows() {
                    return Err(Fault::Overflow);
                }
                bits
            }
            Look::Signed => decoder.offset(&text)?,
            Look::Number => match decoder.label.take() {
                Some(label) => decoder.labelled(label, &text)?,
                None => decoder.unlabelled(&text)?,
            },
            Look::Word | Look::SignedWord => match decoder.word(&text, place, true)? {
                Some(bits) => bits,
                None => continue,
            },
        };
        decoder.read(bits)?;
    }
    decoder.settle_fields()?;
    if decoder.meant == Meant::Fields {
        if decoder.seen & mask::DATE != mask::DATE {
            return Err(Fault::Format);
        }
        let local = decoder.numbers.local_seconds();
        decoder.settle_zone(local)?;
    }
    Ok(decoder.decoded())
}

pub(super) fn time_only(text: &str, length_max: usize, style: &Style) -> Result<Decoded, Fault> {
    let mut decoder = Decoder::new(split(text, length_max)?, style);
    let last = decoder.fields.len().saturating_sub(1);
    let ends_in_date = decoder.fields.get(last).is_some_and(|field| field.look == Look::Date);
    for place in 0..decoder.fields.len() {
        let Field { look, text } = decoder.fields[place].clone();
        let order = style.date_style.order;
        let first_of_several = place == 0 && last > 0;
        let bits = match look {
            Look::Date => {
                let then_time = decoder.fields.get(1).is_some_and(|field| field.look == Look::Time);
                if first_of_several && (ends_in_date || then_time) {
                    decoder.numbers.date(&text, decoder.seen, order)?
                } else if text.starts_with(|c: char| c.is_ascii_digit()) {
                    decoder.time_with_offset(&text, mask::DATE)?
                } else {
                    decoder.zone = Some(zone::zone(&text).ok_or(Fault::UnknownZone(text))?);
                    mask::ZONE
                }
            }
            Look::Time => {
                decoder.expect_time()?;
                decoder.numbers.time(&text)?
            }
            Look::Signed => decoder.offset(&text)?,
            Look::Number => match (decoder.label.take(), text.find('.')) {
                (Some(label), _) => decoder.labelled(label, &text)?,
                (None, Some(_)) if first_of_several && ends_in_date => {
                    decoder.numbers.date(&text, decoder.seen, order)?
                }
                (None, Some(point)) if point > 2 => decoder.numbers.run_together(&text, decoder.seen | mask::DATE)?,
                (None, Some(_)) => return Err(Fault::Format),
                (None, None) if text.len() > 4 => decoder.numbers.run_together(&text, decoder.seen | mask::DATE)?,
                (None, None) => decoder.numbers.number(&text, false, decoder.seen | mask::DATE, order)?,
            },
            Look::Word | Look::SignedWord => match decoder.word(&text, place, false)? {
                Some(bits) => bits,
                None => continue,
            },
        };
        decoder.read(bits)?;
    }
    decoder.settle_fields()?;
    if decoder.numbers.time_overflows() {
        return Err(Fault::Overflow);
    }
    if decoder.seen & mask::TIME != mask::TIME {
        return Err(Fault::Format);
    }
    decoder.settle_time_zone()?;
    Ok(decoder.decoded())
}

impl<'a> Decoder<'a> {
    fn new(fields: Vec<Field>, style: &'a Style) -> Self {
        Self {
            style,
            fields,
            numbers: Numbers::default(),
            seen: 0,
            label: None,
            meant: Meant::Fields,
            month_by_name: false,
            julian: false,
            bc: false,
            pm: None,
            east: 0,
            zone: None,
            abbreviation: None,
        }
    }

    fn read(&mut self, bits: u32) -> Result<(), Fault> {
        if self.seen & bits != 0 {
            return Err(Fault::Format);
        }
        self.seen |= bits;
        Ok(())
    }

    fn expect_time(&mut self) -> Result<(), Fault> {
        match self.label.take() {
            None | Some(Label::Time) => Ok(()),
            Some(Label::Unit(_)) => Err(Fault::Format),
        }
    }

    fn offset(&mut self, text: &str) -> Result<u32, Fault> {
        self.east = offset(text)?;
        Ok(mask::ZONE)
    }

    /// A date; behind one a zone's name, or a time run together with an offset (`040506-08`).
    fn date_or_zone(&mut self, text: &str) -> Result<u32, Fault> {
        if self.label == Some(Label::Unit(Unit::Julian)) {
            self.label = None;
            let (day, rest) = leading(text);
            self.set_julian(day)?;
            self.east = offset(rest)?;
            return Ok(mask::DATE | mask::TIME | mask::ZONE);
        }
        let dated = mask::MONTH | mask::DAY;
        if self.label.is_none() && self.seen & dated != dated {
            return self.numbers.date(text, self.seen, self.style.date_style.order);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) || self.label.is_some() {
            self.expect_time()?;
            return self.time_with_offset(text, self.seen);
        }
        self.zone = Some(zone::zone(text).ok_or_else(|| Fault::UnknownZone(text.to_owned()))?);
        Ok(mask::ZONE)
    }

    fn time_with_offset(&mut self, text: &str, seen: u32) -> Result<u32, Fault> {
        if self.seen & mask::TIME == mask::TIME {
            return Err(Fault::Format);
        }
        let (time, east) = text.find('-').map(|at| text.split_at(at)).ok_or(Fault::Format)?;
        self.east = offset(east)?;
        Ok(self.numbers.run_together(time, self.seen | seen)? | mask::ZONE)
    }

    fn set_julian(&mut self, day: Option<i32>) -> Result<(), Fault> {
        let day = day.filter(|day| *day >= 0).ok_or(Fault::Overflow)?;
        self.numbers.set_civil(i64::from(day) + i64::from(FIRST_DAY));
        self.julian = true;
        Ok(())
    }

    /// `y2001`, `m02`, `j2451187.5`, and the time behind a `T`.
    fn labelled(&mut self, label: Label, text: &str) -> Result<u32, Fault> {
        let (value, rest) = leading(text);
        let value = value.ok_or(Fault::Overflow)?;
        let may_have_point = matches!(label, Label::Time | Label::Unit(Unit::Julian | Unit::Second));
        if !(rest.is_empty() || rest.starts_with('.') && may_have_point) {
            return Err(Fault::Format);
        }
        self.meant = Meant::Fields;
        Ok(match label {
            Label::Time => {
                let bits = self.numbers.run_together(text, self.seen | mask::DATE)?;
                if bits != mask::TIME {
                    return Err(Fault::Format);
                }
                bits
            }
            Label::Unit(Unit::Julian) => {
                self.set_julian(Some(value))?;
                if rest.is_empty() {
                    mask::DATE
                } else {
                    self.numbers.set_of_day((fraction(rest)? * DAY as f64) as i64);
                    mask::DATE | mask::TIME
                }
            }
            Label::Unit(Unit::Year) => {
                self.numbers.year = value;
                mask::YEAR
            }
            // Behind month and hour it means minutes.
            Label::Unit(Unit::Month) if self.seen & mask::MONTH != 0 && self.seen & mask::HOUR != 0 => {
                self.numbers.minute = value;
                mask::MINUTE
            }
            Label::Unit(Unit::Month) => {
                self.numbers.month = value;
                mask::MONTH
            }
            Label::Unit(Unit::Day) => {
                self.numbers.day = value;
                mask::DAY
            }
            Label::Unit(Unit::Hour) => {
                self.numbers.hour = value;
                mask::HOUR
            }
            Label::Unit(Unit::Minute) => {
                self.numbers.minute = value;
                mask::MINUTE
            }
            Label::Unit(Unit::Second) => {
                self.numbers.second = value;
                if rest.is_empty() {
                    mask::SECOND
                } else {
                    self.numbers.micros = (fraction(rest)? * 1e6).round_ties_even() as i64;
                    mask::SECONDS
                }
            }
            Label::Unit(_) => return Err(Fault::Format),
        })
    }

    fn unlabelled(&mut self, text: &str) -> Result<u32, Fault> {
        let (order, seen) = (self.style.date_style.order, self.seen);
        match text.find('.') {
            Some(_) if seen & mask::DATE == 0 => self.numbers.date(text, seen, order),
            Some(point) if point > 2 => self.numbers.run_together(text, seen),
            // Six digits and more are a date or a time, unless neither could come: then a year.
            _ if text.len() >= 6 && (seen & mask::DATE == 0 || seen & mask::TIME == 0) => {
                self.numbers.run_together(text, seen)
            }
            _ => self.numbers.number(text, self.month_by_name, seen, order),
        }
    }

    /// `None` for a word that means nothing. `dated`: the text has a date, not only a time.
    fn word(&mut self, text: &str, place: usize, dated: bool) -> Result<Option<u32>, Fault> {
        match zone::by_abbreviation(text) {
            Some(Named::Fixed { east, summer }) => {
                self.east = east;
                return Ok(Some(if summer { mask::ZONE | mask::SUMMER_ZONE } else { mask::ZONE }));
            }
            Some(dynamic) => {
                self.abbreviation = Some(dynamic);
                return Ok(Some(mask::ZONE | mask::DYNAMIC_ZONE));
            }
            None => {}
        }
        let bits = match words::word(text) {
            Some(Word::Filler) => return Ok(None),
            Some(Word::Special(special)) => self.special(special, dated)?,
            Some(Word::Month(month)) if dated => {
                let mut bits = mask::MONTH;
                let numbers = &mut self.numbers;
                let other = self.seen & mask::MONTH != 0 && !self.month_by_name && self.seen & mask::DAY == 0;
                // The number that was taken for a month is the day: 2 Feb 2001 in the order MDY.
                if other && (1..=31).contains(&numbers.month) {
                    numbers.day = numbers.month;
                    bits = mask::DAY;
                }
                self.month_by_name = true;
                numbers.month = month;
                bits
            }
            Some(Word::Weekday) if dated => mask::WEEKDAY,
            Some(Word::Month(_) | Word::Weekday) => return Err(Fault::Format),
            Some(Word::Summer) => {
                self.east += 3600;
                mask::SUMMER_WORD | mask::SUMMER_ZONE
            }
            Some(Word::Pm(pm)) => {
                self.pm = Some(pm);
                mask::HALF
            }
            Some(Word::Bc(bc)) => {
                self.bc = bc;
                mask::ERA
            }
            Some(Word::Label(unit)) => {
                self.label = Some(Label::Unit(unit));
                0
            }
            Some(Word::Time) => {
                let next = self.fields.get(place + 1).map(|field| field.look);
                let fits = matches!(next, Some(Look::Number | Look::Time | Look::Date));
                if !fits || dated && self.seen & mask::DATE != mask::DATE {
                    return Err(Fault::Format);
                }
                self.label = Some(Label::Time);
                0
            }
            None => {
                self.zone = Some(zone::zone(text).ok_or(Fault::Format)?);
                mask::ZONE
            }
        };
        Ok(Some(bits))
    }

    fn special(&mut self, special: Special, dated: bool) -> Result<u32, Fault> {
        let (today, of_day, east) = local_now(self.style);
        Ok(match special {
            Special::Now => {
                self.numbers.set_of_day(of_day);
                if !dated {
                    return Ok(mask::TIME);
                }
                self.numbers.set_civil(today);
                self.east = east;
                self.meant = Meant::Fields;
                mask::DATE | mask::TIME | mask::ZONE
            }
            Special::Allballs => {
                self.numbers.set_of_day(0);
                self.east = 0;
                self.meant = Meant::Fields;
                mask::TIME | mask::ZONE
            }
            _ if !dated => return Err(Fault::Format),
            Special::Day(days) => {
                self.numbers.set_civil(today + i64::from(days));
                self.meant = Meant::Fields;
                mask::DATE
            }
            Special::Epoch => self.reserved(Meant::Epoch),
            Special::Infinity => self.reserved(Meant::Infinity),
            Special::MinusInfinity => self.reserved(Meant::MinusInfinity),
        })
    }

    fn reserved(&mut self, meant: Meant) -> u32 {
        self.meant = meant;
        mask::RESERVED
    }

    fn settle_fields(&mut self) -> Result<(), Fault> {
        self.numbers.validate(self.seen, self.julian, self.bc)?;
        let Some(pm) = self.pm else { return Ok(()) };
        match self.numbers.hour {
            13.. => return Err(Fault::Overflow),
            12 if !pm => self.numbers.hour = 0,
            ..12 if pm => self.numbers.hour += 12,
            _ => {}
        }
        Ok(())
    }

    /// The offset of a zone depends on the clock time; without a zone it is the session's.
    fn settle_zone(&mut self, local: Option<i64>) -> Result<(), Fault> {
        let alone = self.seen & mask::SUMMER_WORD == 0;
        let at = |zone: &dyn Fn(i64) -> i64| if alone { Ok(local.map_or(0, zone)) } else { Err(Fault::Format) };
        if let Some(zone) = &self.zone {
            self.east = at(&|local| zone.offset_of_local(local))?;
        }
        if let Some(abbreviation) = &self.abbreviation {
            self.east = at(&|local| abbreviation.offset_of_local(local))?;
        }
        if self.seen & mask::ZONE == 0 {
            let session = Zone::new(self.style.time_zone);
            self.east = at(&|local| session.offset_of_local(local))?;
        }
        Ok(())
    }

    /// Likewise for a time, which has the date of the text, or today's; a zone with several offsets needs a date.
    fn settle_time_zone(&mut self) -> Result<(), Fault> {
        let dated = self.seen & mask::DATE;
        if let Some(zone) = self.zone.take_if(|zone| zone.constant().is_some()) {
            if self.seen & mask::SUMMER_WORD != 0 {
                return Err(Fault::Format);
            }
            self.east = zone.constant().unwrap_or(0);
            return Ok(());
        }
        let by_date = self.zone.is_some() || self.abbreviation.is_some() || self.seen & mask::ZONE == 0;
        if by_date && dated != mask::DATE && (dated != 0 || self.zone.is_some()) {
            return Err(Fault::Format);
        }
        if dated != mask::DATE {
            self.numbers.set_civil(local_now(self.style).0);
        }
        let local = self.numbers.local_seconds();
        self.settle_zone(local)
    }

    fn decoded(self) -> Decoded {
        Decoded { meant: self.meant, numbers: self.numbers, east: self.east }
    }
}
