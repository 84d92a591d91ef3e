//! Bytes into a hash so that no two sequences of facts are one: every text and list says its length first. It knows no
//! plan.

use std::collections::HashMap;
use std::fmt::Debug;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Column, ScalarValue, TableReference};
use sha2::{Digest, Sha256};

/// Cryptographic: a client writes much of what goes in, and a made-up collision would be another's answer.
#[derive(Default)]
pub(super) struct Ink {
    hash: Sha256,
    /// A plan's names so far, and which each was.
    names: HashMap<Vec<String>, u64>,
}

impl Ink {
    pub(super) fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.hash.update(bytes);
    }

    pub(super) fn word(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.hash.update(number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.hash.update([u8::from(flag)]);
    }

    pub(super) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// For words of an enumeration, whose derived form says all there is.
    pub(super) fn debug(&mut self, value: &impl Debug) {
        self.word(&format!("{value:?}"));
    }

    /// A table's name in a plan is the plan's own business: which of its names it is says all there is. What a table is
    /// stands where it is scanned.
    pub(super) fn table(&mut self, name: &TableReference) {
        self.called(name.to_vec());
    }

    /// A column's name in a plan, likewise. Where it stands in the text (its spans) is nobody's business.
    pub(super) fn column(&mut self, Column { relation, name, spans: _ }: &Column) {
        self.maybe(relation.as_ref(), |ink, table| ink.table(table));
        self.name(name);
    }

    pub(super) fn name(&mut self, name: &str) {
        // no table is called by four names
        self.called(vec![String::new(), String::new(), String::new(), name.to_owned()]);
    }

    fn called(&mut self, name: Vec<String>) {
        let next = self.names.len() as u64;
        let number = *self.names.entry(name).or_insert(next);
        self.number(number);
    }

    /// Columns under the names that a client is told.
    pub(super) fn schema(&mut self, schema: &Schema) {
        self.count(schema.fields().len());
        for field in schema.fields() {
            self.word(field.name());
            self.kind(field);
        }
    }

    /// A column of a plan.
    pub(super) fn field(&mut self, field: &Field) {
        self.name(field.name());
        self.kind(field);
    }

    /// With the metadata: a lake's column is known by the id that stands there, whatever it is called now.
    fn kind(&mut self, field: &Field) {
        self.debug(field.data_type());
        self.flag(field.is_nullable());
        let mut metadata: Vec<_> = field.metadata().iter().collect();
        metadata.sort_unstable();
        self.pairs(metadata.into_iter());
    }

    pub(super) fn pairs<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a String, &'a String)>) {
        self.count(pairs.len());
        for (name, value) in pairs {
            self.word(name);
            self.word(value);
        }
    }

    /// Type and value. Debug would cut long lists short. `None` for a type without an exact form.
    pub(super) fn value(&mut self, value: &ScalarValue) -> Option<()> {
        let data_type: DataType = value.data_type();
        self.debug(&data_type);
        match value {
            ScalarValue::Utf8(Some(text)) => {
                self.word("text");
                self.word(text);
            }
            ScalarValue::Int64(Some(number)) => {
                self.word("integer");
                self.bytes(&number.to_le_bytes());
            }
            other => {
                // arrow's row format: within one type different values have different bytes
                let rows = RowConverter::new(vec![SortField::new(data_type)]).ok()?;
                let rows = rows.convert_columns(&[other.to_array().ok()?]).ok()?;
                self.word("row");
                self.bytes(rows.row(0).as_ref());
            }
        }
        Some(())
    }
}
