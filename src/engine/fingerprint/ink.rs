//! Bytes into a hash so that no two sequences of facts are one: every text and list says its length first. It knows no
//! plan.

use std::fmt::Debug;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Column, ScalarValue, TableReference};
use sha2::{Digest, Sha256};

/// Cryptographic: a client writes much of what goes in, and a made-up collision would be another's answer.
#[derive(Default)]
pub(super) struct Ink(Sha256);

impl Ink {
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    pub(super) fn word(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.0.update([u8::from(flag)]);
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

    pub(super) fn table(&mut self, name: &TableReference) {
        self.count(name.to_vec().len());
        name.to_vec().iter().for_each(|part| self.word(part));
    }

    /// Where it stands in the text (its spans) is nobody's business.
    pub(super) fn column(&mut self, Column { relation, name, spans: _ }: &Column) {
        self.maybe(relation.as_ref(), |ink, table| ink.table(table));
        self.word(name);
    }

    pub(super) fn schema(&mut self, schema: &Schema) {
        self.count(schema.fields().len());
        schema.fields().iter().for_each(|field| self.field(field));
    }

    /// With its metadata: a lake's column is known by the id that stands there, whatever it is called now.
    pub(super) fn field(&mut self, field: &Field) {
        self.word(field.name());
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
