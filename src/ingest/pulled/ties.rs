//! Rows that have the highest value of a cursor, known again when they are read again: by a print of what they hold, as often as
//! there are equal ones. It reads no table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
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
    columns: Vec<Printed>,
    /// Of rows that are added: how often each was.
    added: HashMap<Print, u32>,
    /// Of rows that replace those of their key: by the key's print, what the table has. A row that becomes what it was before
    /// is not what the table has.
    current: HashMap<Print, Print>,
    count: usize,
    is_too_many: bool,
}

/// A column's name and type: values of another type are spelled otherwise.
type Printed = (String, String);

/// As it stands in a table's position.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Printed>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    added: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    current: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    too_many: bool,
}

impl From<Ties> for Written {
    fn from(ties: Ties) -> Self {
        let mut added: Vec<(Print, u32)> = ties.added.into_iter().collect();
        added.sort_unstable();
        let added = added.iter().flat_map(|(print, n)| std::iter::repeat_n(*print, *n as usize));
        let mut current: Vec<(Print, Print)> = ties.current.into_iter().collect();
        current.sort_unstable();
        let current = current.into_iter().flat_map(|(key, row)| [key, row]);
        Self { columns: ties.columns, added: encoded(added), current: encoded(current), too_many: ties.is_too_many }
    }
}

fn encoded(prints: impl Iterator<Item = Print>) -> String {
    STANDARD_NO_PAD.encode(prints.flat_map(Print::to_be_bytes).collect::<Vec<u8>>())
}

fn decoded(text: &str) -> Result<Vec<Print>, String> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|e| e.to_string())?;
    let (prints, []) = bytes.as_chunks::<16>() else { return Err("a print that is cut".into()) };
    Ok(prints.iter().map(|print| Print::from_be_bytes(*print)).collect())
}

impl TryFrom<Written> for Ties {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (added, current) = (decoded(&written.added)?, decoded(&written.current)?);
        let (pairs, []) = current.as_chunks::<2>() else { return Err("a key without its row".into()) };
        let mut ties = Self { columns: written.columns, is_too_many: written.too_many, ..Self::default() };
        for print in &added {
            *ties.added.entry(*print).or_default() += 1;
        }
        ties.current.extend(pairs.iter().map(|[key, row]| (*key, *row)));
        ties.count = added.len() + ties.current.len();
        Ok(ties)
    }
}

impl Ties {
    /// They lie in the table's metadata, 22 bytes each or 43 with a key's, which every commit writes.
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
        let now = Width::all(columns).0;
        self.columns.iter().all(|column| now.contains(column)).then(|| Width(self.columns.clone()))
    }

    /// Whether a row was taken in before. `seen` are the rows of the same value that were read again since: one more of a print
    /// than are known is a new row, and known from now on. A row with a key is known where it is what was taken in last for it.
    pub(super) fn knows(&mut self, seen: &mut Self, key: Option<Print>, row: Print, width: &Width) -> bool {
        if self.is_too_many {
            return false;
        }
        let is_more = match key {
            Some(key) => match self.current.insert(key, row) {
                Some(known) if known == row => return true,
                known => known.is_none(),
            },
            None => {
                let seen = seen.added.entry(row).or_default();
                *seen += 1;
                let known = self.added.entry(row).or_default();
                if *seen <= *known {
                    return true;
                }
                *known = *seen;
                true
            }
        };
        self.count += usize::from(is_more);
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
pub(super) struct Width(Vec<Printed>);

impl Width {
    pub(super) fn all(columns: &Schema) -> Self {
        Self(columns.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect())
    }

    pub(super) fn of(columns: &Schema, names: &[String]) -> Self {
        let Self(all) = Self::all(columns);
        Self(all.into_iter().filter(|(name, _)| names.contains(name)).collect())
    }

    pub(super) fn prints<'r>(&self, rows: &'r RecordBatch) -> Result<Prints<'r>> {
        let columns = self.0.iter().filter_map(|(name, _)| rows.column_by_name(name));
        let formatters = columns.map(|column| ArrayFormatter::try_new(column, &OPTIONS).map(|f| (f, column)));
        Ok(Prints(formatters.collect::<Result<Vec<_>, _>>()?))
    }

    /// Another one for other columns.
    pub(super) fn text(&self) -> String {
        let mut hash = Xxh3::new();
        for text in self.0.iter().flat_map(|(name, of)| [name, of]) {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        format!("{:032x}", hash.digest128())
    }
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new();

/// Of the rows of a batch: values as texts, so that a print outlives how they lie in memory.
pub(super) struct Prints<'r>(Vec<(ArrayFormatter<'r>, &'r ArrayRef)>);

impl Prints<'_> {
    pub(super) fn of(&self, row: usize) -> Result<Print> {
        let mut hash = Xxh3::new();
        self.0.iter().try_for_each(|(formatter, column)| update(&mut hash, column, formatter, row))?;
        Ok(hash.digest128())
    }
}

/// One value, told apart from all others of its type: absent and empty are two things, and so are lists of one element and of
/// two whose texts are alike.
fn update(hash: &mut Xxh3, column: &ArrayRef, formatter: &ArrayFormatter<'_>, row: usize) -> Result<()> {
    if column.is_null(row) {
        hash.update(&u64::MAX.to_be_bytes());
        return Ok(());
    }
    let within = |hash: &mut Xxh3, column: &ArrayRef, rows: std::ops::Range<usize>| {
        let formatter = ArrayFormatter::try_new(column, &OPTIONS)?;
        hash.update(&(rows.len() as u64).to_be_bytes());
        rows.into_iter().try_for_each(|row| update(hash, column, &formatter, row))
    };
    if let Some(list) = column.as_list_opt::<i32>() {
        let elements = list.value(row);
        return within(hash, &elements, 0..elements.len());
    }
    if let Some(map) = column.as_map_opt() {
        let entries: ArrayRef = Arc::new(map.value(row));
        return within(hash, &entries, 0..entries.len());
    }
    if let Some(fields) = column.as_struct_opt() {
        return fields.columns().iter().try_for_each(|field| within(hash, field, row..row + 1));
    }
    let text = formatter.value(row).to_string();
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
    Ok(())
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
            rows.iter().map(|row| ties.knows(&mut seen, None, prints.of(*row).unwrap(), &width)).collect()
        };
        assert_eq!(read(&[0]), [false]);
        assert_eq!(read(&[0, 1]), [true, false], "a second one of equal content");
        assert_eq!(read(&[0, 1, 2, 3]), [true, true, false, false], "absent and empty differ");
        assert_eq!(read(&[3]), [true], "those that are gone stay known");
        assert_eq!(read(&[4, 2, 3, 1, 0]), [true, false, true, true, true]);
        let written = serde_json::to_string(&ties).unwrap();
        assert_eq!(serde_json::from_str::<Ties>(&written).unwrap(), ties, "{written}");
        assert!(serde_json::from_str::<Ties>(r#"{"added":"AAAA"}"#).is_err());
    }

    #[test]
    fn a_row_of_a_key_is_known_while_it_is_what_was_taken_in_last() {
        let rows = rows(&[1, 1, 2], &[Some("a"), Some("b"), Some("a")]);
        let (all, key) = (Width::all(&rows.schema()), Width::of(&rows.schema(), &["id".into()]));
        let (prints, keys) = (all.prints(&rows).unwrap(), key.prints(&rows).unwrap());
        let mut ties = Ties::default();
        let mut knows = |row: usize| {
            let key = Some(keys.of(row).unwrap());
            ties.knows(&mut Ties::default(), key, prints.of(row).unwrap(), &all)
        };
        assert_eq!([0, 0, 1, 0, 0, 2, 2].map(&mut knows), [false, true, false, false, true, false, true]);
        let written = serde_json::to_string(&ties).unwrap();
        assert_eq!(serde_json::from_str::<Ties>(&written).unwrap(), ties, "{written}");
        assert_eq!(ties.count, 2);
    }

    #[test]
    fn values_whose_texts_are_alike_are_told_apart() {
        let lists = |lists: Vec<Vec<Option<&str>>>| {
            let mut made = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
            lists.into_iter().for_each(|list| made.append_value(list));
            RecordBatch::try_from_iter([("l", Arc::new(made.finish()) as ArrayRef)]).unwrap()
        };
        let rows = lists(vec![
            vec![Some("a, b")],
            vec![Some("a"), Some("b")],
            vec![None],
            vec![Some("")],
            vec![],
            vec![Some("a, b")],
        ]);
        let width = Width::all(&rows.schema());
        let prints = width.prints(&rows).unwrap();
        let all: Vec<Print> = (0..6).map(|row| prints.of(row).unwrap()).collect();
        assert_eq!(all[0], all[5]);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn a_column_of_another_type_is_another_one() {
        let rows = rows(&[1], &[None]);
        let (width, mut ties) = (Width::all(&rows.schema()), Ties::default());
        ties.knows(&mut Ties::default(), None, width.prints(&rows).unwrap().of(0).unwrap(), &width);
        let field = |name: &str, of| arrow::datatypes::Field::new(name, of, true);
        use arrow::datatypes::DataType::{Int32, Utf8};
        assert_eq!(ties.width(&Schema::new(vec![field("id", Int32), field("text", Utf8)])), None);
        assert_ne!(
            Width::all(&Schema::new(vec![field("id", Int32)])).text(),
            Width::of(&rows.schema(), &["id".into()]).text()
        );
    }

    #[test]
    fn columns_that_came_leave_rows_known_and_those_that_went_do_not() {
        let before = rows(&[1], &[Some("a")]);
        let (width, mut ties) = (Width::all(&before.schema()), Ties::default());
        ties.knows(&mut Ties::default(), None, width.prints(&before).unwrap().of(0).unwrap(), &width);
        let wider = RecordBatch::try_from_iter([
            ("new", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec!["a"]))),
            ("id", Arc::new(Int64Array::from(vec![1]))),
        ])
        .unwrap();
        let width = ties.width(&wider.schema()).unwrap();
        assert!(ties.knows(&mut Ties::default(), None, width.prints(&wider).unwrap().of(0).unwrap(), &width));
        assert_eq!(ties.width(&wider.project(&[0, 1]).unwrap().schema()), None);
    }

    #[test]
    fn too_many_are_not_known_at_all() {
        let (width, mut ties, mut seen) =
            (Width(vec![("id".into(), "Int64".into())]), Ties::default(), Ties::default());
        for print in 0..Ties::MAX as u128 {
            assert!(!ties.knows(&mut seen, None, print, &width));
        }
        assert!(!ties.is_too_many());
        ties.knows(&mut seen, None, u128::MAX, &width);
        assert!(ties.is_too_many() && !ties.knows(&mut Ties::default(), None, 0, &width));
        assert_eq!(serde_json::to_string(&ties).unwrap(), r#"{"too_many":true}"#);
    }
}
