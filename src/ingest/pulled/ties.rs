//! Rows that have the highest value of a cursor, known again when they are read again: by a print of what they hold, as often as
//! there are equal ones. It reads no table.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;

type Print = u128;

/// The prints, and the columns that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Ties {
    columns: Vec<String>,
    prints: HashMap<Print, u32>,
    count: usize,
    is_too_many: bool,
}

/// As it stands in a table's position.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prints: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    too_many: bool,
}

impl From<Ties> for Written {
    fn from(ties: Ties) -> Self {
        let mut prints: Vec<(Print, u32)> = ties.prints.into_iter().collect();
        prints.sort_unstable();
        let bytes = prints.iter().flat_map(|(print, n)| std::iter::repeat_n(print.to_be_bytes(), *n as usize));
        let prints = STANDARD_NO_PAD.encode(bytes.flatten().collect::<Vec<u8>>());
        Self { columns: ties.columns, prints, too_many: ties.is_too_many }
    }
}

impl TryFrom<Written> for Ties {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let bytes = STANDARD_NO_PAD.decode(&written.prints).map_err(|e| e.to_string())?;
        let (prints, []) = bytes.as_chunks::<16>() else { return Err("a print that is cut".into()) };
        let mut ties = Self { columns: written.columns, is_too_many: written.too_many, ..Self::default() };
        for print in prints {
            *ties.prints.entry(Print::from_be_bytes(*print)).or_default() += 1;
            ties.count += 1;
        }
        Ok(ties)
    }
}

impl Ties {
    /// They lie in the table's metadata, 22 bytes each, which every commit writes.
    pub(super) const MAX: usize = 10_000;

    /// None is known, and there are some.
    pub(super) fn too_many() -> Self {
        Self { is_too_many: true, ..Self::default() }
    }

    pub(super) fn is_too_many(&self) -> bool {
        self.is_too_many
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && !self.is_too_many
    }

    /// Of a table as it is now, to compare with these; `None` where they cannot be compared.
    pub(super) fn width(&self, columns: &Schema) -> Option<Width> {
        if self.count == 0 {
            return Some(Width::all(columns));
        }
        let are_there = self.columns.iter().all(|name| columns.index_of(name).is_ok());
        are_there.then(|| Width(self.columns.clone()))
    }

    /// Whether a row was taken in before. `seen` are the rows of the same value that were read again since; one more of a print
    /// than are known is a new row, and known from now on.
    pub(super) fn knows(&mut self, seen: &mut Self, print: Print, width: &Width) -> bool {
        if self.is_too_many {
            return false;
        }
        let seen = seen.prints.entry(print).or_default();
        *seen += 1;
        let known = self.prints.entry(print).or_default();
        if *seen <= *known {
            return true;
        }
        *known = *seen;
        self.count += 1;
        if self.columns.is_empty() {
            self.columns.clone_from(&width.0);
        }
        if self.count > Self::MAX {
            *self = Self::too_many();
        }
        false
    }
}

/// The columns that prints are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Width(Vec<String>);

impl Width {
    pub(super) fn all(columns: &Schema) -> Self {
        Self(columns.fields().iter().map(|field| field.name().clone()).collect())
    }

    pub(super) fn prints<'r>(&self, rows: &'r RecordBatch) -> Result<Prints<'r>> {
        let columns = self.0.iter().filter_map(|name| rows.column_by_name(name));
        let formatters = columns.map(|column| ArrayFormatter::try_new(column, &OPTIONS).map(|f| (f, column)));
        Ok(Prints(formatters.collect::<Result<Vec<_>, _>>()?))
    }
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new();

/// Of the rows of a batch: values as texts, so that a print outlives how they lie in memory.
pub(super) struct Prints<'r>(Vec<(ArrayFormatter<'r>, &'r arrow::array::ArrayRef)>);

impl Prints<'_> {
    pub(super) fn of(&self, row: usize) -> Print {
        let mut hash = Xxh3::new();
        for (formatter, column) in &self.0 {
            // Absent and empty are two things.
            match column.is_valid(row) {
                false => hash.update(&u64::MAX.to_be_bytes()),
                true => {
                    let text = formatter.value(row).to_string();
                    hash.update(&(text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
            }
        }
        hash.digest128()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows(ids: &[i64], texts: &[Option<&str>]) -> RecordBatch {
        let columns: [(&str, ArrayRef); 2] =
            [("id", Arc::new(Int64Array::from(ids.to_vec()))), ("text", Arc::new(StringArray::from(texts.to_vec())))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_row_is_known_as_often_as_there_are_equal_ones() {
        let rows = rows(&[1, 1, 2, 2, 2], &[Some("a"), Some("a"), None, Some(""), None]);
        let width = Width::all(&rows.schema());
        let prints = width.prints(&rows).unwrap();
        let mut ties = Ties::default();
        let mut read = |rows: &[usize]| -> Vec<bool> {
            let mut seen = Ties::default();
            rows.iter().map(|row| ties.knows(&mut seen, prints.of(*row), &width)).collect()
        };
        assert_eq!(read(&[0]), [false]);
        assert_eq!(read(&[0, 1]), [true, false], "a second one of equal content");
        assert_eq!(read(&[0, 1, 2, 3]), [true, true, false, false], "absent and empty differ");
        assert_eq!(read(&[3]), [true], "those that are gone stay known");
        assert_eq!(read(&[4, 2, 3, 1, 0]), [true, false, true, true, true]);
        let written = serde_json::to_string(&ties).unwrap();
        assert_eq!(serde_json::from_str::<Ties>(&written).unwrap(), ties, "{written}");
        assert!(serde_json::from_str::<Ties>(r#"{"prints":"AAAA"}"#).is_err());
    }

    #[test]
    fn columns_that_came_leave_rows_known_and_those_that_went_do_not() {
        let before = rows(&[1], &[Some("a")]);
        let (width, mut ties) = (Width::all(&before.schema()), Ties::default());
        ties.knows(&mut Ties::default(), width.prints(&before).unwrap().of(0), &width);
        let wider = RecordBatch::try_from_iter([
            ("new", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec!["a"]))),
            ("id", Arc::new(Int64Array::from(vec![1]))),
        ])
        .unwrap();
        let width = ties.width(&wider.schema()).unwrap();
        assert!(ties.knows(&mut Ties::default(), width.prints(&wider).unwrap().of(0), &width));
        assert_eq!(ties.width(&wider.project(&[0, 1]).unwrap().schema()), None);
    }

    #[test]
    fn too_many_are_not_known_at_all() {
        let (width, mut ties, mut seen) = (Width(vec!["id".into()]), Ties::default(), Ties::default());
        for print in 0..Ties::MAX as u128 {
            assert!(!ties.knows(&mut seen, print, &width));
        }
        assert!(!ties.is_too_many());
        ties.knows(&mut seen, u128::MAX, &width);
        assert!(ties.is_too_many() && !ties.knows(&mut Ties::default(), 0, &width));
        assert_eq!(serde_json::to_string(&ties).unwrap(), r#"{"too_many":true}"#);
    }
}
