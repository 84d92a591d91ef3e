//! What rows of a table are told apart by, as one number a row: equal keys have equal numbers, whatever batch or file they
//! come from. Other keys have others but by a chance of 2⁻¹²⁸ a pair.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};

pub(super) type Key = u128;

/// By key; a key is a hash already.
pub(super) type ByKey<T> = HashMap<Key, T, BuildHasherDefault<AsIs>>;

#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u128(&mut self, key: u128) {
        // Its two halves are as good as each other.
        self.0 = (key >> 64) as u64;
    }
}

/// Rows → keys, by columns of a table.
#[derive(Debug)]
pub(super) struct Keyer {
    /// Of the table's columns, in the key's order.
    pub(super) columns: Vec<usize>,
    types: Vec<DataType>,
    converter: RowConverter,
}

impl Keyer {
    pub(super) fn new(table: &Schema, columns: Vec<usize>) -> Result<Self> {
        let field = |at: &usize| table.fields().get(*at).ok_or_else(|| Error::internal("a key beyond the columns"));
        let types = columns.iter().map(|at| Ok(field(at)?.data_type().clone())).collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { columns, types, converter })
    }

    /// Of rows in the table's columns.
    pub(super) fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<Key>> {
        let column = |at: &usize| rows.columns().get(*at).cloned();
        let columns: Option<Vec<ArrayRef>> = self.columns.iter().map(column).collect();
        self.keys(&columns.ok_or_else(|| Error::internal("rows without their key"))?)
    }

    /// Of the key's columns alone, in the key's order, in whatever types they came.
    pub(super) fn keys(&self, columns: &[ArrayRef]) -> Result<Vec<Key>> {
        let cast = |(array, of): (&ArrayRef, &DataType)| arrow::compute::cast(array, of);
        let columns = columns.iter().zip(&self.types).map(cast).collect::<Result<Vec<_>, _>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| xxh3_128(row.as_ref())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int16Array, Int32Array, StringArray, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn equal_keys_have_equal_numbers_in_whatever_types_they_come() {
        let field = |name: &str, of| Field::new(name, of, true);
        let schema =
            Schema::new(vec![field("v", DataType::Utf8), field("a", DataType::Int32), field("b", DataType::Utf8)]);
        let keyer = Keyer::new(&schema, vec![1, 2]).unwrap();
        let narrow: [ArrayRef; 2] =
            [Arc::new(Int16Array::from(vec![1, 2])), Arc::new(StringViewArray::from(vec!["x", "y"]))];
        let wide: [ArrayRef; 2] = [Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["x", "z"]))];
        let (narrow, wide) = (keyer.keys(&narrow).unwrap(), keyer.keys(&wide).unwrap());
        assert_eq!(narrow[0], wide[0]);
        assert_ne!(narrow[1], wide[1]);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let field = |name: &str| Field::new(name, DataType::Utf8, true);
        let keyer = Keyer::new(&Schema::new(vec![field("a"), field("b")]), vec![0, 1]).unwrap();
        let texts = |of: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(of)) };
        let a = texts(vec![Some("ab"), Some("a"), Some(""), None]);
        let b = texts(vec![Some("c"), Some("bc"), None, Some("")]);
        let mut keys = keyer.keys(&[a, b]).unwrap();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }
}
