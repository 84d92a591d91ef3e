//! nextval, currval, lastval and setval, of the sequences that columns count by. There are no others.

use super::Argument::{Bool, Int, Name};
use super::lookup::{class_named, oid};
use super::{Function, Returns};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::{Counted, Counts, View};
use crate::error::{Error, Kind, Result};

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::volatile("nextval", &[&[Name]], Returns::Int8, nextval),
    Function::volatile("currval", &[&[Name]], Returns::Int8, currval),
    Function::volatile("lastval", &[&[]], Returns::Int8, lastval),
    Function::volatile("setval", &[&[Name, Int], &[Name, Int, Bool]], Returns::Int8, setval),
];

fn found<'a>(view: &'a View, argument: &Cell) -> Result<&'a Counted> {
    let named = match argument {
        Cell::Text(text) => Some(class_named(view, text)?),
        other => oid(other),
    };
    let relation = named.and_then(|oid| view.relation_name(oid));
    named.and_then(|oid| view.counted_by_oid(oid)).ok_or_else(|| match relation {
        Some(name) => Error::new(Kind::WrongObjectType, format!("\"{}\" is not a sequence", name.table)),
        None => Error::new(Kind::UndefinedTable, "could not open relation with that OID"),
    })
}

fn counts(view: &View) -> Result<&dyn Counts> {
    view.counts.as_deref().ok_or_else(|| Error::internal("a sequence without a session"))
}

fn permitted(may: bool, sequence: &Counted) -> Result<()> {
    match may {
        true => Ok(()),
        false => {
            let text = format!("permission denied for sequence {}", sequence.name.table);
            Err(Error::new(Kind::PermissionDenied, text))
        }
    }
}

fn nextval(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [sequence] = arguments else { return Ok(Cell::Null) };
    let sequence = found(view, sequence)?;
    permitted(sequence.may_insert, sequence)?;
    Ok(counts(view)?.next(sequence)?.into())
}

fn currval(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [sequence] = arguments else { return Ok(Cell::Null) };
    let sequence = found(view, sequence)?;
    let given = counts(view)?.last(Some(sequence.oid));
    given.map(Cell::from).ok_or_else(|| {
        let text = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name.table);
        Error::new(Kind::NotInState, text)
    })
}

fn lastval(view: &View, _: &[Cell]) -> Result<Cell> {
    let given = counts(view)?.last(None);
    given.map(Cell::from).ok_or_else(|| Error::new(Kind::NotInState, "lastval is not yet defined in this session"))
}

fn setval(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [sequence, Cell::Int(value), rest @ ..] = arguments else { return Ok(Cell::Null) };
    let sequence = found(view, sequence)?;
    permitted(sequence.may_update && sequence.may_insert, sequence)?;
    let value = *value;
    let (least, most) = sequence.counter.range();
    if !(least..=most).contains(&value) {
        let text = format!(
            "setval: value {value} is out of bounds for sequence \"{}\" ({least}..{most})",
            sequence.name.table
        );
        return Err(Error::new(Kind::NumericRange, text));
    }
    let next = match rest {
        [Cell::Bool(false)] => i128::from(value),
        _ => i128::from(value) + i128::from(sequence.counter.increment),
    };
    counts(view)?.restart(sequence, next)?;
    Ok(value.into())
}
