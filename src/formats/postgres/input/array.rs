//! Array literals: `{1,2,NULL,"a b"}`, nested braces for more dimensions, and the blank-separated vectors. It builds Arrow
//! lists for the binary form too. Bounds (`[2:4]={…}`) are refused: Arrow counts from one place only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Decimal256Array, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, i256};
use datafusion::common::ScalarValue;

use super::super::Style;
use super::super::nested::is_space;
use super::super::types::{self, Shape, TypeRow};
use super::{Numeric, SMALL_DIGITS_MAX, value};
use crate::error::{Error, Kind, Result};

/// PostgreSQL's own limit (MAXDIM).
pub(crate) const DIMENSIONS_MAX: usize = 6;

pub(super) fn array(row: &TypeRow, text: &str, data_type: &DataType, style: &Style) -> Result<ScalarValue> {
    let mut reader = Reader { rest: text.trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8)), text };
    if reader.rest.starts_with('[') {
        return Err(Error::unsupported("an array literal with explicit bounds"));
    }
    let mut items = Vec::new();
    let mut sizes = Vec::new();
    let delimiter = if row.element == 603 { ';' } else { ',' };
    reader.braces(delimiter, 0, &mut sizes, &mut items)?;
    if !reader.rest.bytes().all(is_space) {
        return Err(reader.malformed("Junk after closing right brace."));
    }
    let elements = items
        .into_iter()
        .map(|item: Option<String>| item.map(|item| element(row.element, &item, style)).transpose())
        .collect::<Result<Vec<_>>>()?;
    list(row.element, data_type, &sizes.into_iter().flatten().collect::<Vec<_>>(), elements)
}

/// `int2vector`, `oidvector`: numbers between blanks.
pub(super) fn vector(row: &TypeRow, text: &str, data_type: &DataType, style: &Style) -> Result<ScalarValue> {
    let words: Vec<_> =
        text.split(|c: char| c.is_ascii() && is_space(c as u8)).filter(|word| !word.is_empty()).collect();
    let elements = words.iter().map(|word| element(row.element, word, style).map(Some)).collect::<Result<Vec<_>>>()?;
    list(row.element, data_type, &[elements.len()], elements)
}

/// One element before all are known; numerics then take the widest scale among them.
pub(crate) enum Element {
    Numeric(Numeric),
    Other(ScalarValue),
}

fn element(oid: u32, text: &str, style: &Style) -> Result<Element> {
    if oid == types::NUMERIC {
        Numeric::read(text).map(Element::Numeric)
    } else {
        value(oid, text, style).map(Element::Other)
    }
}

/// A list value from its elements in row order and its sizes, outermost first; no size, or none but zeros, is `{}`.
pub(crate) fn list(
    oid: u32,
    data_type: &DataType,
    sizes: &[usize],
    elements: Vec<Option<Element>>,
) -> Result<ScalarValue> {
    let DataType::List(item) = data_type else { return Err(Error::internal("an array type that is no list")) };
    let is_numeric = types::by_oid(oid).is_some_and(|row| row.shape == Shape::Numeric);
    let mut values = if elements.is_empty() {
        new_empty_array(item.data_type())
    } else if is_numeric {
        numerics(elements)?
    } else {
        let null = ScalarValue::try_new_null(item.data_type()).map_err(internal)?;
        let plain = elements.into_iter().map(|element| match element {
            Some(Element::Other(value)) => value,
            Some(Element::Numeric(value)) => value.scalar(),
            None => null.clone(),
        });
        ScalarValue::iter_to_array(plain).map_err(internal)?
    };
    // From the innermost dimension outwards, each list takes `size` of what lies within; the outermost takes all.
    for &size in sizes.get(1..).unwrap_or_default().iter().rev() {
        let lists = values.len().checked_div(size).unwrap_or(0);
        values = Arc::new(wrap(values, std::iter::repeat_n(size, lists))?);
    }
    let length = values.len();
    let one = wrap(values, [length])?;
    Ok(ScalarValue::List(Arc::new(one)))
}

fn wrap(values: ArrayRef, sizes: impl IntoIterator<Item = usize>) -> Result<ListArray> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths(sizes), values, None);
    list.map_err(|error| Error::internal("lists of equal sizes").with_source(error))
}

fn numerics(elements: Vec<Option<Element>>) -> Result<ArrayRef> {
    let too_wide = || Error::new(Kind::NumericRange, "numeric field overflow");
    let numerics: Vec<Option<Numeric>> = elements
        .into_iter()
        .map(|element| match element {
            Some(Element::Numeric(number)) => Ok(Some(number)),
            None => Ok(None),
            Some(Element::Other(_)) => Err(Error::internal("an element of numeric[] that is no numeric")),
        })
        .collect::<Result<_>>()?;
    let scale = numerics.iter().flatten().map(|number| number.scale).max().unwrap_or(0);
    let at_scale = |number: Numeric| number.at_scale(scale).ok_or_else(too_wide);
    let wide: Vec<Option<i256>> =
        numerics.into_iter().map(|number| number.map(at_scale).transpose()).collect::<Result<_>>()?;
    let small_limit = i256::from_i128(10i128.pow(SMALL_DIGITS_MAX as u32));
    let fits = |value: &i256| *value < small_limit && *value > small_limit.wrapping_neg();
    let failed = |error| Error::internal("decimals within their precision").with_source(error);
    if usize::from(scale) <= SMALL_DIGITS_MAX && wide.iter().flatten().all(fits) {
        let small = wide.into_iter().map(|value| value.and_then(|value| value.to_i128()));
        let array = small.collect::<Decimal128Array>().with_precision_and_scale(38, scale as i8).map_err(failed)?;
        return Ok(Arc::new(array));
    }
    let array =
        wide.into_iter().collect::<Decimal256Array>().with_precision_and_scale(76, scale as i8).map_err(failed)?;
    Ok(Arc::new(array))
}

fn internal(error: datafusion::error::DataFusionError) -> Error {
    Error::internal("elements of one type").with_source(error)
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    /// One pair of braces and what is in it. `sizes[depth]` is what the first list of this depth held; `Some(0)` stays
    /// possible for the outermost alone.
    fn braces(
        &mut self,
        delimiter: char,
        depth: usize,
        sizes: &mut Vec<Option<usize>>,
        items: &mut Vec<Option<String>>,
    ) -> Result<()> {
        if self.next() != Some('{') {
            return Err(self.malformed("Array value must start with \"{\" or dimension information."));
        }
        if depth >= DIMENSIONS_MAX {
            let message =
                format!("number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})", depth + 1);
            return Err(Error::new(Kind::TooLarge, message));
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
                if sizes.len() == depth + 1 && !items.is_empty() {
                    return Err(self.malformed("Unexpected \"{\" character."));
                }
                self.braces(delimiter, depth + 1, sizes, items)?;
            } else {
                if sizes.len() > depth + 1 {
                    return Err(
                        self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
                    );
                }
                items.push(self.item(delimiter)?);
            }
            count += 1;
            self.skip_spaces();
            match self.next() {
                Some('}') => break,
                Some(character) if character == delimiter => {}
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
    fn item(&mut self, delimiter: char) -> Result<Option<String>> {
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
                character if character == delimiter => break,
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
            if !(character.is_ascii() && is_space(character as u8)) {
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
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8));
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn malformed(&self, detail: &str) -> Error {
        Error::new(Kind::InvalidText, format!("malformed array literal: \"{}\"", self.text)).with_detail(detail)
    }
}
