//! `anyelement` and its kin: which real types they stand for in one call (check_generic_type_consistency and
//! enforce_generic_type_consistency of parse_coerce.c). Two families: those whose arguments must be of exactly one type,
//! and the `anycompatible` ones, whose arguments need only a common type.

use super::{common, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::pgtype::{self, name, oid};

/// Whether the arguments can be of these declared types together. What is not polymorphic is not looked at.
pub(super) fn is_consistent(given: &[u32], declared: &[u32]) -> bool {
    // literals alone cannot be taken for an enum
    let is_settled = |s: Solution| s.element.is_some() || !declared.contains(&oid::ANYENUM);
    Solution::find(given, declared).is_ok_and(is_settled)
}

/// Replaces in `declared` what arguments that do not yet have their type are to be converted to, and gives what the
/// result types are made from.
pub(super) fn solve(given: &[u32], declared: &mut [u32]) -> Result<Solution> {
    let mut solution = Solution::find(given, declared)?;
    let strict = declared.iter().copied().filter(|d| is_strict(*d));
    if strict.count() > 0 && solution.element.is_none() {
        return Err(undetermined());
    }
    if declared.iter().any(|d| is_compatible(*d)) && solution.compatible.is_none() {
        solution.compatible = Some(oid::TEXT);
    }
    for (declared, given) in declared.iter_mut().zip(given) {
        if is_compatible(*declared) || is_strict(*declared) && *given == oid::UNKNOWN {
            *declared = solution.of(*declared)?;
        }
    }
    Ok(solution)
}

/// What the polymorphic types of one call are. `None`: not known, or not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Solution {
    element: Option<u32>,
    array: Option<u32>,
    range: Option<u32>,
    multirange: Option<u32>,
    compatible: Option<u32>,
    compatible_range: Option<u32>,
    compatible_multirange: Option<u32>,
}

fn is_compatible(type_oid: u32) -> bool {
    use oid::*;
    matches!(
        type_oid,
        ANYCOMPATIBLE | ANYCOMPATIBLEARRAY | ANYCOMPATIBLENONARRAY | ANYCOMPATIBLERANGE | ANYCOMPATIBLEMULTIRANGE
    )
}

/// Of the family whose arguments must be exactly alike.
fn is_strict(type_oid: u32) -> bool {
    pgtype::is_polymorphic(type_oid) && !is_compatible(type_oid)
}

impl Solution {
    /// The real type for a declared one.
    pub(super) fn of(&self, declared: u32) -> Result<u32> {
        match declared {
            oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM => self.element.ok_or_else(undetermined),
            oid::ANYARRAY => match (self.array, self.element) {
                (Some(array), _) => Ok(array),
                (None, Some(element)) => array_of(element),
                (None, None) => Err(undetermined()),
            },
            oid::ANYRANGE => self.range.ok_or_else(|| undetermined_of("anyrange")),
            oid::ANYMULTIRANGE => self.multirange.ok_or_else(|| undetermined_of("anymultirange")),
            oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => Ok(self.compatible.unwrap_or(oid::TEXT)),
            oid::ANYCOMPATIBLEARRAY => array_of(self.compatible.unwrap_or(oid::TEXT)),
            oid::ANYCOMPATIBLERANGE => self.compatible_range.ok_or_else(|| undetermined_of("anycompatiblerange")),
            oid::ANYCOMPATIBLEMULTIRANGE => {
                self.compatible_multirange.ok_or_else(|| undetermined_of("anycompatiblemultirange"))
            }
            real => Ok(real),
        }
    }

    fn find(given: &[u32], declared: &[u32]) -> Result<Self> {
        let mut found = Self::default();
        let mut candidates = vec![];
        for (&declared, &given) in declared.iter().zip(given) {
            if given == oid::UNKNOWN {
                continue;
            }
            let base = pgtype::base(given);
            match declared {
                oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM => agree(&mut found.element, given, "anyelement")?,
                oid::ANYARRAY => agree(&mut found.array, base, "anyarray")?,
                oid::ANYRANGE => agree(&mut found.range, base, "anyrange")?,
                oid::ANYMULTIRANGE => agree(&mut found.multirange, base, "anymultirange")?,
                oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => candidates.push(given),
                oid::ANYCOMPATIBLEARRAY => {
                    let element = types::element(base);
                    candidates.push(element.ok_or_else(|| is_no("anycompatiblearray", "an array", base))?);
                }
                oid::ANYCOMPATIBLERANGE => agree(&mut found.compatible_range, base, "anycompatiblerange")?,
                oid::ANYCOMPATIBLEMULTIRANGE => {
                    agree(&mut found.compatible_multirange, base, "anycompatiblemultirange")?;
                }
                _ => {}
            }
        }
        found.strict_family(declared)?;
        found.compatible_family(declared, candidates)?;
        Ok(found)
    }

    fn strict_family(&mut self, declared: &[u32]) -> Result<()> {
        match self.array {
            // a column of pg_statistic: an array of no certain element
            Some(oid::ANYARRAY) if declared.iter().filter(|d| is_strict(**d)).count() == 1 => {
                self.element = Some(oid::ANYELEMENT);
                return Ok(());
            }
            Some(oid::ANYARRAY) => {
                return Err(mismatch("cannot determine element type of \"anyarray\" argument"));
            }
            Some(array) => {
                let element = pgtype::element(array).ok_or_else(|| is_no("anyarray", "an array", array))?;
                self.derive_element(element, "anyarray", array)?;
            }
            None => {}
        }
        if let Some(multirange) = self.multirange {
            let range = types::range_of(multirange);
            let range = range.ok_or_else(|| is_no("anymultirange", "a multirange type", multirange))?;
            match self.range {
                Some(known) if known != range => {
                    return Err(inconsistent("anymultirange", "anyrange", multirange, known));
                }
                _ => self.range = Some(range),
            }
        }
        if let Some(range) = self.range {
            let element = types::range_subtype(range).ok_or_else(|| is_no("anyrange", "a range type", range))?;
            self.derive_element(element, "anyrange", range)?;
            self.multirange = types::multirange_of(range);
        }
        let Some(element) = self.element else { return Ok(()) };
        if declared.contains(&oid::ANYNONARRAY) && types::is_array(element) {
            return Err(mismatch(format!("type matched to anynonarray is an array type: {}", name(element))));
        }
        if declared.contains(&oid::ANYENUM) && !types::is_enum(element) {
            return Err(mismatch(format!("type matched to anyenum is not an enum type: {}", name(element))));
        }
        Ok(())
    }

    fn derive_element(&mut self, element: u32, from: &str, whole: u32) -> Result<()> {
        match self.element {
            Some(known) if known != element => Err(inconsistent(from, "anyelement", whole, known)),
            _ => {
                self.element = Some(element);
                Ok(())
            }
        }
    }

    fn compatible_family(&mut self, declared: &[u32], mut candidates: Vec<u32>) -> Result<()> {
        if let Some(multirange) = self.compatible_multirange {
            let range = types::range_of(multirange);
            let range = range.ok_or_else(|| is_no("anycompatiblemultirange", "a multirange type", multirange))?;
            match self.compatible_range {
                Some(known) if known != range => {
                    return Err(inconsistent("anycompatiblemultirange", "anycompatiblerange", multirange, known));
                }
                _ => self.compatible_range = Some(range),
            }
        }
        let mut subtype = None;
        if let Some(range) = self.compatible_range {
            let found = types::range_subtype(range);
            let found = found.ok_or_else(|| is_no("anycompatiblerange", "a range type", range))?;
            candidates.push(found);
            subtype = Some(found);
            self.compatible_multirange = types::multirange_of(range);
        }
        if candidates.is_empty() {
            return Ok(());
        }
        let common = common::of_types(&candidates)?;
        if !common::all_become(common, &candidates) {
            return Err(mismatch("arguments of anycompatible family cannot be cast to a common type"));
        }
        if declared.contains(&oid::ANYCOMPATIBLENONARRAY) && types::is_array(common) {
            let text = format!("type matched to anycompatiblenonarray is an array type: {}", name(common));
            return Err(mismatch(text));
        }
        if let (Some(range), Some(subtype)) = (self.compatible_range, subtype)
            && subtype != common
        {
            let (range, common) = (name(range), name(common));
            return Err(mismatch(format!(
                "anycompatiblerange type {range} does not match anycompatible type {common}"
            )));
        }
        self.compatible = Some(common);
        Ok(())
    }
}

/// All arguments declared so must be of one type.
fn agree(slot: &mut Option<u32>, given: u32, declared: &str) -> Result<()> {
    match slot {
        Some(known) if *known != given => {
            let text = format!("arguments declared \"{declared}\" are not all alike");
            Err(mismatch(text).with_detail(format!("{} versus {}", name(*known), name(given))))
        }
        _ => {
            *slot = Some(given);
            Ok(())
        }
    }
}

/// 42704 for a type without an array.
pub(super) fn array_of(element: u32) -> Result<u32> {
    pgtype::array(element).ok_or_else(|| {
        let text = format!("could not find array type for data type {}", name(element));
        Error::new(Failure::UndefinedObject, text)
    })
}

fn mismatch(text: impl Into<String>) -> Error {
    Error::new(Failure::TypeMismatch, text)
}

fn is_no(declared: &str, wanted: &str, given: u32) -> Error {
    mismatch(format!("argument declared {declared} is not {wanted} but type {}", name(given)))
}

fn inconsistent(one: &str, other: &str, first: u32, second: u32) -> Error {
    let text = format!("argument declared {one} is not consistent with argument declared {other}");
    mismatch(text).with_detail(format!("{} versus {}", name(first), name(second)))
}

fn undetermined() -> Error {
    mismatch("could not determine polymorphic type because input has type unknown")
}

fn undetermined_of(declared: &str) -> Error {
    mismatch(format!("could not determine polymorphic type {declared} because input has type unknown"))
}
