//! Arrays and records: braces, parentheses and quotes in text, dimensions and oids in binary. Their members are written
//! by the members' own columns.

use arrow::array::{Array, AsArray, FixedSizeListArray, ListArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;

use super::Format;
use super::append::Append;
use super::column::{Column, Put, Spelling};
use super::mapping::{self, Shown};
use super::types::Shape;
use crate::error::{Error, Result};

/// PostgreSQL's own limit (MAXDIM).
const DIMENSIONS_MAX: usize = 6;

/// One dimension: where each of its lists begins and ends among the lists, or at last the elements, of the next.
struct Level<'a> {
    spans: Spans<'a>,
    nulls: Option<NullBuffer>,
}

enum Spans<'a> {
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
    Fixed(usize),
}

impl Level<'_> {
    fn span(&self, row: usize) -> (usize, usize) {
        match self.spans {
            Spans::Offsets(offsets) => (offsets[row] as usize, offsets[row + 1] as usize),
            Spans::LargeOffsets(offsets) => (offsets[row] as usize, offsets[row + 1] as usize),
            Spans::Fixed(size) => (row * size, (row + 1) * size),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

/// One value: its sizes by dimension, outermost first, and where its elements lie.
struct Extent {
    sizes: [usize; DIMENSIONS_MAX],
    from: usize,
    to: usize,
}

struct Lists<'a> {
    levels: Vec<Level<'a>>,
    elements: Column<'a>,
    element: Shown,
    lower_bound: i32,
}

pub(crate) fn list<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Result<Put<'a>> {
    let mut levels = Vec::new();
    let (mut inner, mut item) = (array, None);
    while let Some((level, field, values)) = level(inner) {
        levels.push(level);
        (inner, item) = (values, Some(field));
    }
    let item = item.ok_or_else(|| Error::internal(format!("{} read as a list", array.data_type())))?;
    if levels.len() > DIMENSIONS_MAX {
        return Err(Error::unsupported(format!("an array of more than {DIMENSIONS_MAX} dimensions")));
    }
    let element = mapping::shown_element(shown, item)?;
    let elements = Column::new(inner, &element, spelling.clone())?;
    let lists = Lists { levels, elements, element, lower_bound: if shown.shape == Shape::Vector { 0 } else { 1 } };
    Ok(match (spelling.format, shown.shape) {
        (Format::Text, Shape::Vector) => Box::new(move |row, out| lists.vector(row, out)),
        (Format::Text, _) => Box::new(move |row, out| lists.text(row, out)),
        (Format::Binary, _) => Box::new(move |row, out| lists.binary(row, out)),
    })
}

fn level(array: &dyn Array) -> Option<(Level<'_>, &Field, &dyn Array)> {
    let (spans, field, values) = match array.data_type() {
        DataType::List(field) => {
            let list: &ListArray = array.as_list_opt()?;
            (Spans::Offsets(list.value_offsets()), field, list.values())
        }
        DataType::LargeList(field) => {
            let list = array.as_list_opt::<i64>()?;
            (Spans::LargeOffsets(list.value_offsets()), field, list.values())
        }
        DataType::FixedSizeList(field, size) => {
            let list: &FixedSizeListArray = array.as_fixed_size_list_opt()?;
            (Spans::Fixed(usize::try_from(*size).ok()?), field, list.values())
        }
        DataType::Map(field, _) => {
            let map = array.as_map_opt()?;
            return Some((level_of_map(map), field, map.entries()));
        }
        _ => return None,
    };
    Some((Level { spans, nulls: array.nulls().cloned() }, field, values.as_ref()))
}

fn level_of_map(map: &arrow::array::MapArray) -> Level<'_> {
    Level { spans: Spans::Offsets(map.value_offsets()), nulls: map.nulls().cloned() }
}

impl Lists<'_> {
    /// Sub-arrays of one dimension must be of one size, and none may be NULL: PostgreSQL's arrays are boxes.
    fn extent(&self, row: usize) -> Result<Extent> {
        let mut it = Extent { sizes: [0; DIMENSIONS_MAX], from: row, to: row + 1 };
        for (level, size) in self.levels.iter().zip(&mut it.sizes) {
            if it.from == it.to {
                break;
            }
            let (first, end) = level.span(it.from);
            *size = end - first;
            for list in it.from..it.to {
                let (from, to) = level.span(list);
                if to - from != *size || level.is_null(list) {
                    return Err(Error::unsupported("a multidimensional array with sub-arrays of different sizes"));
                }
            }
            (it.from, it.to) = (first, level.span(it.to - 1).1);
        }
        Ok(it)
    }

    fn text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let extent = self.extent(row)?;
        if extent.from == extent.to {
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        let sizes = &extent.sizes[..self.levels.len()];
        let mut element = extent.from;
        self.braces(sizes, &mut element, out)
    }

    fn braces(&self, sizes: &[usize], element: &mut usize, out: &mut BytesMut) -> Result<()> {
        let Some((size, inner)) = sizes.split_first() else {
            self.element(*element, out)?;
            *element += 1;
            return Ok(());
        };
        out.put_u8(b'{');
        for position in 0..*size {
            if position > 0 {
                out.put_u8(self.delimiter());
            }
            self.braces(inner, element, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }

    fn element(&self, element: usize, out: &mut BytesMut) -> Result<()> {
        if self.elements.is_null(element) {
            out.extend_from_slice(b"NULL");
            return Ok(());
        }
        let start = out.len();
        (self.elements.put)(element, out)?;
        if !self.elements.plain {
            quote(start, Quotes::Array(self.delimiter()), out);
        }
        Ok(())
    }

    /// `box` alone is told apart by semicolons.
    fn delimiter(&self) -> u8 {
        if self.element.oid == 603 { b';' } else { b',' }
    }

    fn vector(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let extent = self.extent(row)?;
        for element in extent.from..extent.to {
            if element > extent.from {
                out.put_u8(b' ');
            }
            (self.elements.put)(element, out)?;
        }
        Ok(())
    }

    fn binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let extent = self.extent(row)?;
        let elements = extent.from..extent.to;
        // An empty array has no dimensions; a vector always has its one.
        let dimensions = if elements.is_empty() && self.lower_bound == 1 { 0 } else { self.levels.len() };
        let has_nulls = elements.clone().any(|element| self.elements.is_null(element));
        out.put_i32(dimensions as i32);
        out.put_i32(i32::from(has_nulls));
        out.put_u32(self.element.oid);
        for &size in &extent.sizes[..dimensions] {
            let too_many = |_| Error::unsupported("an array of so many elements");
            out.put_i32(i32::try_from(size).map_err(too_many)?);
            out.put_i32(self.lower_bound);
        }
        elements.into_iter().try_for_each(|element| self.elements.framed(element, out))
    }
}

/// A struct: `(1,a)`, or in binary its members with their types.
pub(crate) fn record<'a>(array: &'a dyn Array, spelling: Spelling) -> Result<Put<'a>> {
    let structs =
        array.as_struct_opt().ok_or_else(|| Error::internal(format!("{} read as a record", array.data_type())))?;
    let mut members = Vec::with_capacity(structs.num_columns());
    for (field, values) in structs.fields().iter().zip(structs.columns()) {
        let shown = mapping::shown(field)?;
        members.push((shown.oid, Column::new(values.as_ref(), &shown, spelling.clone())?));
    }
    Ok(match spelling.format {
        Format::Text => Box::new(move |row, out| record_text(&members, row, out)),
        Format::Binary => Box::new(move |row, out| record_binary(&members, row, out)),
    })
}

fn record_text(members: &[(u32, Column<'_>)], row: usize, out: &mut BytesMut) -> Result<()> {
    out.put_u8(b'(');
    for (position, (_, member)) in members.iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        // NULL is nothing at all; an empty string is quoted.
        if member.is_null(row) {
            continue;
        }
        let start = out.len();
        (member.put)(row, out)?;
        if !member.plain {
            quote(start, Quotes::Record, out);
        }
    }
    out.put_u8(b')');
    Ok(())
}

fn record_binary(members: &[(u32, Column<'_>)], row: usize, out: &mut BytesMut) -> Result<()> {
    out.put_i32(members.len() as i32);
    for (oid, member) in members {
        out.put_u32(*oid);
        member.framed(row, out)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(crate) enum Quotes {
    /// With the delimiter of the elements.
    Array(u8),
    Record,
}

/// Puts what stands in `out` from `start` in quotes where its container needs them. In place, from the end: a member may
/// itself be a container, and so the bytes are written once and moved once a level.
pub(crate) fn quote(start: usize, quotes: Quotes, out: &mut BytesMut) {
    let text = &out[start..];
    let needed = match quotes {
        Quotes::Array(delimiter) => {
            let special = |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}') || *b == delimiter || is_space(*b);
            text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special)
        }
        Quotes::Record => {
            let special = |b: &u8| matches!(b, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*b);
            text.is_empty() || text.iter().any(special)
        }
    };
    if !needed {
        return;
    }
    let escapes = text.iter().filter(|&&b| matches!(b, b'"' | b'\\')).count();
    let mut from = out.len();
    out.put_bytes(b'"', escapes + 2);
    let mut to = out.len() - 1;
    while from > start {
        from -= 1;
        let byte = out[from];
        to -= 1;
        out[to] = byte;
        if matches!(byte, b'"' | b'\\') {
            to -= 1;
            // An array escapes with a backslash, a record by doubling.
            out[to] = if matches!(quotes, Quotes::Array(_)) { b'\\' } else { byte };
        }
    }
    out[start] = b'"';
}

/// The white space of PostgreSQL's array and record input.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
