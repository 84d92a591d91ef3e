//! Arguments of type text[], and the integers that stand in them as paths' steps.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};

use crate::error::{Error, Result};
use crate::sql::kernel::{Arg, Call};

/// An argument of type text[].
#[derive(Debug)]
pub(super) struct Lists<'a> {
    arg: &'a Arg,
    lists: &'a ListArray,
}

/// One text[]: its elements row by row.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) elements: Vec<Option<&'a str>>,
    /// Without NULLs; nothing where there is one.
    plain: Option<Vec<&'a str>>,
    /// How many dimensions it has, and the size of the second.
    pub(super) dimensions: usize,
    pub(super) columns: usize,
}

impl<'a> Lists<'a> {
    pub(super) fn of(call: &Call<'a>, argument: usize) -> Result<Self> {
        let arg = call.arg(argument)?;
        let wrong = || Error::internal(format!("a kernel of json was given {}", arg.array.data_type()));
        Ok(Self { arg, lists: arg.array.as_list_opt::<i32>().ok_or_else(wrong)? })
    }

    /// `None` for NULL.
    pub(super) fn get(&self, row: usize) -> Option<List<'a>> {
        let row = self.arg.at(row);
        if self.lists.is_null(row) {
            return None;
        }
        let mut list = List { elements: vec![], plain: None, dimensions: 0, columns: 0 };
        gather(self.lists, row, 1, &mut list);
        list.plain = list.elements.iter().copied().collect();
        if list.elements.is_empty() {
            list.dimensions = 0;
        }
        Some(list)
    }
}

impl<'a> List<'a> {
    /// All elements; `None` where one is NULL.
    pub(super) fn all(&self) -> Option<&[&'a str]> {
        self.plain.as_deref()
    }
}

fn gather<'a>(lists: &'a ListArray, row: usize, depth: usize, out: &mut List<'a>) {
    let offsets = lists.value_offsets();
    let at = |i: usize| offsets.get(i).copied().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let (from, to) = (at(row), at(row + 1));
    out.dimensions = out.dimensions.max(depth);
    if depth == 2 {
        out.columns = to - from;
    }
    let inner: &ArrayRef = lists.values();
    if let Some(texts) = inner.as_string_opt::<i32>() {
        let texts: &StringArray = texts;
        out.elements.extend((from..to).map(|i| (!texts.is_null(i)).then(|| texts.value(i))));
    } else if let Some(inner) = inner.as_list_opt::<i32>() {
        (from..to).for_each(|i| gather(inner, i, depth + 1, out));
    }
}

/// strtoint of the whole text.
pub(super) fn integer(text: &str) -> Option<i32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
