//! Where an object lies in PostgreSQL's binary jsonb: `.keyvalue()` shows it as the object's id (jsonb_util.c).

use crate::error::Result;
use crate::formats::postgres::input::json::{Elements, Members, Shape, shape, unescape};
use crate::sql::numeric::Numeric;

/// Bytes from the root's header to the container whose text is `part`, a slice of `whole`. `None` where it is no part.
pub(super) fn of(whole: &str, part: &str) -> Result<Option<i64>> {
    let place = |text: &str| text.as_ptr() as usize;
    let Some(target) = place(part).checked_sub(place(whole)).filter(|at| *at < whole.len()) else { return Ok(None) };
    let mut at = whole;
    let mut offset = 0;
    // down to the container that begins at the target
    while place(at) - place(whole) < target {
        let mut inside = Layout::of(at)?;
        let Some((child, begin)) = inside.containing(target + place(whole))? else { return Ok(None) };
        offset += begin;
        at = child;
    }
    Ok(i64::try_from(offset).ok())
}

/// Children of a container, and where their data begin.
struct Layout<'a> {
    strings: usize,
    entries: usize,
    values: Vec<&'a str>,
}

fn aligned(at: usize) -> usize {
    at.next_multiple_of(4)
}

impl<'a> Layout<'a> {
    fn of(container: &'a str) -> Result<Self> {
        match shape(container) {
            Shape::Object => {
                let members = Members::of(container).collect::<Result<Vec<_>>>()?;
                let strings = members.iter().map(|(key, _)| Ok(unescape(key)?.len())).sum::<Result<usize>>()?;
                let values: Vec<&str> = members.iter().map(|(_, value)| *value).collect();
                Ok(Self { strings, entries: values.len() * 2, values })
            }
            _ => {
                let values = Elements::of(container).collect::<Result<Vec<_>>>()?;
                Ok(Self { strings: 0, entries: values.len(), values })
            }
        }
    }

    /// The child around an address, and where it begins in this container.
    fn containing(&mut self, address: usize) -> Result<Option<(&'a str, usize)>> {
        let mut at = 4 + self.entries * 4 + self.strings;
        for value in &self.values {
            let from = value.as_ptr() as usize;
            if shape(value).is_container() && (from..from + value.len()).contains(&address) {
                return Ok(Some((value, aligned(at))));
            }
            at = end(value, at, 0)?;
        }
        Ok(None)
    }
}

/// Where a value that is written at `at` ends.
fn end(value: &str, at: usize, depth: usize) -> Result<usize> {
    if depth > super::super::RECURSION_MAX {
        return Err(crate::formats::postgres::input::json::too_deep());
    }
    Ok(match shape(value) {
        Shape::Null | Shape::Bool => at,
        Shape::String => at + unescape(value)?.len(),
        Shape::Number => aligned(at) + numeric_bytes(value)?,
        Shape::Object | Shape::Array => {
            let layout = Layout::of(value)?;
            let start = aligned(at);
            let data = start + 4 + layout.entries * 4 + layout.strings;
            layout.values.iter().try_fold(data, |at, value| end(value, at, depth + 1))?
        }
    })
}

/// A numeric on disk: header, short or long, and groups of four digits without zeros at the ends.
fn numeric_bytes(text: &str) -> Result<usize> {
    let number = Numeric::parse(text)?;
    let Numeric::Finite { digits, scale } = number else { return Ok(6) };
    let text = digits.magnitude().to_str_radix(10);
    if text == "0" {
        return Ok(if scale <= 63 { 6 } else { 8 });
    }
    let scale_at = usize::try_from(scale).unwrap_or(0);
    // groups of four around the point
    let padded = format!("{text}{}", "0".repeat(scale_at.next_multiple_of(4) - scale_at));
    let whole = padded.len().next_multiple_of(4);
    let padded = format!("{padded:0>whole$}");
    let groups: Vec<&[u8]> = padded.as_bytes().chunks(4).collect();
    let zero = |group: &&&[u8]| group.iter().all(|digit| *digit == b'0');
    let leading = groups.iter().take_while(zero).count();
    let trailing = groups.iter().rev().take_while(zero).count();
    let after = scale_at.div_ceil(4);
    let weight = groups.len() as i64 - after as i64 - 1 - leading as i64;
    let short = scale <= 63 && (-64..=63).contains(&weight);
    Ok(if short { 6 } else { 8 } + 2 * groups.len().saturating_sub(leading + trailing))
}
