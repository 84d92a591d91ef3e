//! Columns that count by themselves. How one counts is a property of the table, by field id; how far it has come stands
//! beside the table's row in the metastore, outside of every transaction: a number that was taken is taken, whatever becomes
//! of the statement (PostgreSQL's documentation, 9.17).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::LakeTable;
use crate::error::{Error, Kind, Result};
use crate::lake;
use crate::metastore::Metastore;
use crate::sources::Table;
use crate::sources::declared::Counter;

/// Before a field id.
const COUNTER: &str = "lakegate.counter.";

/// The property for the counter of a column of this id.
pub(super) fn property(id: i32) -> String {
    format!("{COUNTER}{id}")
}

/// Column → its counter.
pub(super) fn counters(table: &lake::Table) -> BTreeMap<String, Counter> {
    let of = |field: &FieldRef| {
        let json = table.properties().get(&property(lake::field_id(field)?))?;
        Some((field.name().clone(), Counter::read(json)?))
    };
    table.schema().fields().iter().filter_map(of).collect()
}

/// One column's numbers, in the metastore.
pub(super) struct Counted<'a> {
    counter: &'a Counter,
    metastore: &'a Arc<Metastore>,
    /// Survives a rename of the table and of the column.
    key: String,
}

impl LakeTable {
    pub(super) fn counted(&self, column: &str) -> Result<Counted<'_>> {
        let missing = || Error::new(Kind::UndefinedTable, format!("column \"{column}\" has no sequence"));
        let counter = self.declared.counters.get(column).ok_or_else(missing)?;
        let id = self.schema.field_with_name(column).ok().and_then(lake::field_id).ok_or_else(missing)?;
        let key = format!("sequence.{}.{id}", self.identity());
        Ok(Counted { counter, metastore: self.source.lake.metastore(), key })
    }
}

impl Counted<'_> {
    /// The first number, and how many it is of: `count`, or what is left.
    pub(super) async fn take(&self, count: u32) -> Result<(i64, u32)> {
        let (least, most) = self.counter.range();
        let step = i128::from(self.counter.increment);
        loop {
            let kept = self.metastore.get(&self.key).await?;
            let next = match &kept {
                None => i128::from(self.counter.start),
                Some(text) => self.read(text)?,
            };
            let limit = i128::from(if step > 0 { most } else { least });
            let left = (limit - next) / step + 1;
            let first = i64::try_from(next).ok().filter(|_| (limit - next) * step.signum() >= 0);
            let Some(first) = first else {
                let word = if step > 0 { "maximum" } else { "minimum" };
                let text = format!("nextval: reached {word} value of sequence \"{}\" ({limit})", self.counter.name);
                return Err(Error::new(Kind::SequenceLimit, text));
            };
            let count = u32::try_from(left).map_or(count, |left| count.min(left));
            // one behind the last number may be beyond what an int8 holds
            let after = next + i128::from(count) * step;
            if self.metastore.exchange(&self.key, kept.as_deref(), after.to_string().as_bytes()).await? {
                return Ok((first, count));
            }
        }
    }

    pub(super) async fn restart(&self, next: i128) -> Result<()> {
        self.metastore.put(&self.key, next.to_string().as_bytes()).await
    }

    fn read(&self, text: &[u8]) -> Result<i128> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| {
            Error::new(Kind::DataGone, format!("how far sequence \"{}\" has come cannot be read", self.counter.name))
        })
    }
}
