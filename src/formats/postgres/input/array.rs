//! Array literals: `{1,2,NULL,"a b"}`, nested braces for more dimensions, and the blank-separated vectors. It builds Arrow
//! lists for the binary form too. Bounds other than from 1 (`[2:4]={…}`) are refused: Arrow counts from one place only.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Decimal256Array, ListArray, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, i256};
use datafusion::common::ScalarValue;

use super::super::nested::is_space;
use super::super::numeric::Numeric;
use super::super::types::{self, TypeRow};
use super::super::{NUMERIC, OID, Style, TYPMOD};
use super::value;
use crate::error::{Error, Kind, Result};

/// PostgreSQL's own limit (MAXDIM).
pub(crate) const DIMENSIONS_MAX: usize = 6;

pub(super) fn array(row: &TypeRow, text: &str, data_type: &DataType, style: &Style) -> Result<ScalarValue> {
    let mut elements = Elements::new(row.element, data_type)?;
    let sizes = literal(text, delimiter(row.element), &mut |item| {
        elements.push(item.map(|item| element(row.element, &item, style)).transpose()?)
    })?;
    elements.list(&sizes)
}

/// What stands between the elements of an array of this type: `box` alone is told apart by semicolons.
pub(crate) fn delimiter(element: u32) -> char {
    if element == 603 { ';' } else { ',' }
}

/// Gives `take` the elements of an array literal, `None` for NULL, and returns the sizes of its dimensions, outermost
/// first. Braces are judged before any element is taken, as PostgreSQL does; so nothing is kept of the first reading.
pub(crate) fn literal(text: &str, delimiter: char, take: &mut Take<'_>) -> Result<Vec<usize>> {
    let (bounds, at) = bounds(text)?;
    let reader = || Reader { rest: &text[at..], text, delimiter, begun: false };
    let mut sizes = Vec::new();
    reader().whole(&mut sizes, &mut |_| Ok(()))?;
    let sizes: Vec<usize> = sizes.into_iter().flatten().collect();
    if let Some(bounds) = bounds {
        let same = |((lower, upper), size): (&(i32, i32), &usize)| {
            usize::try_from(i64::from(*upper) - i64::from(*lower) + 1).is_ok_and(|n| n == *size)
        };
        if bounds.len() != sizes.len() || !bounds.iter().zip(&sizes).all(same) {
            return Err(malformed(text, "Specified array dimensions do not match array contents."));
        }
        if bounds.iter().any(|(lower, _)| *lower != 1) {
            return Err(Error::unsupported("an array whose subscripts do not count from 1"));
        }
    }
    reader().whole(&mut Vec::new(), take)?;
    Ok(sizes)
}

/// Lower and upper bound of each dimension.
type Bounds = Vec<(i32, i32)>;

/// `[1:2][1:3]=` before the braces, and where these begin.
fn bounds(text: &str) -> Result<(Option<Bounds>, usize)> {
    let mut rest = text.trim_start_matches(blank);
    let mut bounds = vec![];
    while let Some(inner) = rest.strip_prefix('[') {
        if bounds.len() >= DIMENSIONS_MAX {
            return Err(too_deep(bounds.len() + 1));
        }
        let number =
            |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '+').unwrap_or(text.len());
        // atoi reads what it can
        let value = |digits: &str| digits.parse::<i32>().unwrap_or(0);
        let end = number(inner);
        if end == 0 {
            return Err(malformed(text, "\"[\" must introduce explicitly-specified array dimensions."));
        }
        let (mut lower, mut upper, mut after) = (1, value(&inner[..end]), &inner[end..]);
        if let Some(second) = after.strip_prefix(':') {
            let end = number(second);
            if end == 0 {
                return Err(malformed(text, "Missing array dimension value."));
            }
            (lower, upper, after) = (upper, value(&second[..end]), &second[end..]);
        }
        let Some(after) = after.strip_prefix(']') else {
            return Err(malformed(text, "Missing \"]\" after array dimensions."));
        };
        if upper < lower {
            return Err(Error::new(Kind::ArraySubscript, "upper bound cannot be less than lower bound"));
        }
        bounds.push((lower, upper));
        rest = after.trim_start_matches(blank);
    }
    if bounds.is_empty() {
        return Ok((None, text.len() - rest.len()));
    }
    let Some(rest) = rest.strip_prefix('=') else {
        return Err(malformed(text, "Missing \"=\" after array dimensions."));
    };
    let rest = rest.trim_start_matches(blank);
    if !rest.starts_with('{') {
        return Err(malformed(text, "Array contents must start with \"{\"."));
    }
    Ok((Some(bounds), text.len() - rest.len()))
}

fn malformed(text: &str, detail: &str) -> Error {
    Error::new(Kind::InvalidText, format!("malformed array literal: \"{text}\"")).with_detail(detail)
}

fn too_deep(dimensions: usize) -> Error {
    let text = format!("number of array dimensions ({dimensions}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
    Error::new(Kind::TooLarge, text)
}

/// The words of `int2vector` and `oidvector`: numbers between blanks.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(blank).filter(|word| !word.is_empty())
}

pub(super) fn vector(row: &TypeRow, text: &str, data_type: &DataType, style: &Style) -> Result<ScalarValue> {
    let mut elements = Elements::new(row.element, data_type)?;
    for word in words(text) {
        elements.push(Some(element(row.element, word, style)?))?;
    }
    elements.list(&[])
}

/// One element before all are known; numerics then take the widest scale among them.
pub(crate) enum Element {
    Numeric(Numeric),
    Other(ScalarValue),
}

fn element(oid: u32, text: &str, style: &Style) -> Result<Element> {
    if oid == types::NUMERIC {
        Numeric::parse(text).map(Element::Numeric)
    } else {
        value(oid, text, style).map(Element::Other)
    }
}

/// Elements on their way into an Arrow list. A scalar takes many times the room of the bytes it came from, so a few at a
/// time become Arrow values.
pub(crate) struct Elements {
    item: DataType,
    numeric: bool,
    pending: Vec<Option<Element>>,
    done: Vec<ArrayRef>,
}

/// Scalars that wait to become Arrow values.
const PENDING_MAX: usize = 4_096;

impl Elements {
    pub(crate) fn new(oid: u32, list: &DataType) -> Result<Self> {
        let DataType::List(item) = list else { return Err(Error::internal("an array type that is no list")) };
        let (item, numeric) = (item.data_type().clone(), oid == types::NUMERIC);
        Ok(Self { item, numeric, pending: Vec::new(), done: Vec::new() })
    }

    pub(crate) fn push(&mut self, element: Option<Element>) -> Result<()> {
        self.pending.push(element);
        if self.pending.len() == PENDING_MAX { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<()> {
        let elements = std::mem::take(&mut self.pending);
        if elements.is_empty() {
            return Ok(());
        }
        self.done.push(if self.numeric {
            Arc::new(BinaryArray::from_iter(elements.iter().map(|element| match element {
                Some(Element::Numeric(number)) => Some(number.encode()),
                _ => None,
            })))
        } else {
            let null = ScalarValue::try_new_null(&self.item).map_err(internal)?;
            let plain = elements.into_iter().map(|element| match element {
                Some(Element::Other(value)) => value,
                Some(Element::Numeric(value)) => value.scalar(),
                None => null.clone(),
            });
            ScalarValue::iter_to_array(plain).map_err(internal)?
        });
        Ok(())
    }

    /// The list, of these sizes from the outermost dimension inwards. The outermost takes whatever there is.
    pub(crate) fn list(mut self, sizes: &[usize]) -> Result<ScalarValue> {
        self.settle()?;
        if self.numeric {
            self.done = one_scale(self.done);
        }
        let pieces: Vec<&dyn Array> = self.done.iter().map(AsRef::as_ref).collect();
        let mut values = match pieces.as_slice() {
            [] => new_empty_array(&self.item),
            pieces => concat(pieces).map_err(|error| Error::internal("pieces of one type").with_source(error))?,
        };
        for &size in sizes.get(1..).unwrap_or_default().iter().rev() {
            let lists = values.len().checked_div(size).unwrap_or(0);
            values = Arc::new(wrap(values, self.numeric, std::iter::repeat_n(size, lists))?);
        }
        let length = values.len();
        Ok(ScalarValue::List(Arc::new(wrap(values, self.numeric, [length])?)))
    }
}

fn wrap(values: ArrayRef, numeric: bool, sizes: impl IntoIterator<Item = usize>) -> Result<ListArray> {
    let mut field = Field::new_list_field(values.data_type().clone(), true);
    // a numeric's bytes are no bytea
    if numeric && *values.data_type() == DataType::Binary {
        let metadata = [(OID.to_owned(), NUMERIC.to_string()), (TYPMOD.to_owned(), "-1".to_owned())];
        field = field.with_metadata(metadata.into());
    }
    let list = ListArray::try_new(Arc::new(field), OffsetBuffer::from_lengths(sizes), values, None);
    list.map_err(|error| Error::internal("lists of equal sizes").with_source(error))
}

/// Numerics at the widest scale among them in the narrower of Arrow's decimals that holds them; where none does, as they
/// are, which is as [`super::super::numeric`]'s bytes.
fn one_scale(pieces: Vec<ArrayRef>) -> Vec<ArrayRef> {
    let bytes: Vec<&BinaryArray> = pieces.iter().filter_map(|piece| piece.as_binary_opt()).collect();
    let all = || bytes.iter().flat_map(|piece| piece.iter()).map(|value| value.map(Numeric::decode));
    let mut widest = 0;
    for value in all().flatten() {
        let Numeric::Finite { scale, .. } = value else { return pieces };
        let Ok(scale) = i8::try_from(scale) else { return pieces };
        widest = widest.max(scale);
    }
    let small: Option<Vec<Option<i128>>> =
        all().map(|value| value.map(|value| value.to_i128(widest)).map_or(Some(None), |v| v.map(Some))).collect();
    if let Some(small) = small
        && let Ok(array) = Decimal128Array::from(small).with_precision_and_scale(38, widest)
        && array.validate_decimal_precision(38).is_ok()
    {
        return vec![Arc::new(array)];
    }
    let large: Option<Vec<Option<i256>>> =
        all().map(|value| value.map(|value| value.to_i256(widest)).map_or(Some(None), |v| v.map(Some))).collect();
    if let Some(large) = large
        && let Ok(array) = Decimal256Array::from(large).with_precision_and_scale(76, widest)
        && array.validate_decimal_precision(76).is_ok()
    {
        return vec![Arc::new(array)];
    }
    pieces
}

fn internal(error: datafusion::error::DataFusionError) -> Error {
    Error::internal("elements of one type").with_source(error)
}

fn blank(character: char) -> bool {
    u8::try_from(character).is_ok_and(is_space)
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
    delimiter: char,
    /// An element was read: from then on no further dimension can begin.
    begun: bool,
}

/// What becomes of an element.
pub(crate) type Take<'t> = dyn FnMut(Option<String>) -> Result<()> + 't;

impl<'a> Reader<'a> {
    fn whole(&mut self, sizes: &mut Vec<Option<usize>>, take: &mut Take<'_>) -> Result<()> {
        self.braces(0, sizes, take)?;
        if self.rest.chars().all(blank) { Ok(()) } else { Err(self.malformed("Junk after closing right brace.")) }
    }

    /// One pair of braces and what is in it. `sizes[depth]` is what the first list of this depth held; `Some(0)` stays
    /// possible for the outermost alone.
    fn braces(&mut self, depth: usize, sizes: &mut Vec<Option<usize>>, take: &mut Take<'_>) -> Result<()> {
        if self.next() != Some('{') {
            return Err(self.malformed("Array value must start with \"{\" or dimension information."));
        }
        if depth >= DIMENSIONS_MAX {
            return Err(too_deep(depth + 1));
        }
        if sizes.len() == depth {
            sizes.push(None);
        }
        let mut count = 0;
        self.skip_spaces();
        if self.rest.starts_with('}') && depth == 0 {
            self.next();
            return Ok(());
        }
        loop {
            self.skip_spaces();
            if self.rest.starts_with('{') {
                // A list beside scalars, or scalars on two depths.
                if sizes.len() == depth + 1 && self.begun {
                    return Err(self.malformed("Unexpected \"{\" character."));
                }
                self.braces(depth + 1, sizes, take)?;
            } else {
                if sizes.len() > depth + 1 {
                    return Err(
                        self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
                    );
                }
                take(self.item()?)?;
                self.begun = true;
            }
            count += 1;
            self.skip_spaces();
            match self.next() {
                Some('}') => break,
                Some(character) if character == self.delimiter => {}
                Some(other) => return Err(self.malformed(&format!("Unexpected \"{other}\" character."))),
                None => return Err(self.malformed("Unexpected end of input.")),
            }
        }
        match sizes.get_mut(depth) {
            Some(size @ None) => *size = Some(count),
            Some(Some(size)) if *size == count => {}
            _ => return Err(self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")),
        }
        Ok(())
    }

    /// A quoted or bare element. Bare, it loses white space around it and NULL means none.
    fn item(&mut self) -> Result<Option<String>> {
        let mut item = String::new();
        if self.rest.starts_with('"') {
            self.next();
            loop {
                match self.next() {
                    Some('"') => return Ok(Some(item)),
                    Some('\\') => item.extend(self.next()),
                    Some(character) => item.push(character),
                    None => return Err(self.malformed("Unexpected end of input.")),
                }
            }
        }
        // Where the bare text ends without the blanks behind it; an escaped blank counts.
        let mut end = 0;
        let mut escaped = false;
        while let Some(character) = self.rest.chars().next() {
            match character {
                '}' => break,
                character if character == self.delimiter => break,
                '{' | '"' => {
                    let detail = if character == '"' {
                        "Incorrectly quoted array element."
                    } else {
                        "Unexpected \"{\" character."
                    };
                    return Err(self.malformed(detail));
                }
                _ => {}
            }
            self.next();
            if character == '\\' {
                escaped = true;
                item.extend(self.next());
                end = item.len();
                continue;
            }
            item.push(character);
            if !blank(character) {
                end = item.len();
            }
        }
        if self.rest.is_empty() {
            return Err(self.malformed("Unexpected end of input."));
        }
        item.truncate(end);
        if item.is_empty() {
            let next = self.rest.chars().next().unwrap_or('}');
            return Err(self.malformed(&format!("Unexpected \"{next}\" character.")));
        }
        Ok((escaped || !item.eq_ignore_ascii_case("null")).then_some(item))
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(blank);
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn malformed(&self, detail: &str) -> Error {
        malformed(self.text, detail)
    }
}
