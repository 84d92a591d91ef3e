//! Which versions a lake's table has, as far as its metadata said when it was loaded: enough to tell columns without reading
//! anything. The rows of one are read by `lake`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::columns::shown_columns;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, field_id};
use crate::types::{AsOf, TableName};

#[derive(Debug, Default)]
pub(super) struct History {
    /// (milliseconds since 1970, snapshot), in the order in which they became the newest.
    log: Vec<(i64, i64)>,
    /// Snapshot → its schema.
    snapshots: HashMap<i64, i32>,
    schemas: HashMap<i32, SchemaRef>,
}

impl History {
    pub(super) fn of(table: &lake::Table) -> Self {
        let snapshots = table.versions().into_iter().map(|v| (v.snapshot, v.schema)).collect();
        let schemas = table.schemas().into_iter().map(|(id, schema)| (id, shown_columns(table, &schema)));
        Self { log: table.log(), snapshots, schemas: schemas.collect() }
    }

    /// The snapshot that is meant. 22023 where there is none.
    pub(super) fn find(&self, name: &TableName, asked: &AsOf, named: impl Fn(&str) -> Option<i64>) -> Result<i64> {
        let none = |what: String| Error::new(Kind::InvalidParameter, format!("table \"{}\" has no {what}", name.table));
        let snapshot = match asked {
            AsOf::Snapshot(id) => Some(*id),
            AsOf::Named(word) => named(word),
            // the last that was there; a table set back to an older snapshot says so in its log
            AsOf::Time(at) => {
                let before = |(ms, _): &&(i64, i64)| ms.saturating_mul(1_000) <= *at;
                self.log.iter().rfind(before).map(|(_, snapshot)| *snapshot)
            }
        };
        match snapshot.filter(|id| self.snapshots.contains_key(id)) {
            Some(id) => Ok(id),
            None => Err(none(match asked {
                AsOf::Time(_) => "snapshot at or before that time".to_owned(),
                AsOf::Snapshot(id) => format!("snapshot {id}"),
                AsOf::Named(word) => format!("tag or branch \"{word}\""),
            })),
        }
    }

    /// The columns of a snapshot, those that are in `now` still with the types that they have there.
    pub(super) fn columns(&self, snapshot: i64, now: &Schema) -> Option<SchemaRef> {
        let then = self.schemas.get(self.snapshots.get(&snapshot)?)?;
        let column = |was: &FieldRef| {
            let id = field_id(was);
            let is = now.fields().iter().find(|field| id.is_some() && field_id(field) == id);
            is.map_or_else(|| Arc::clone(was), |is| Arc::new(is.as_ref().clone().with_name(was.name())))
        };
        Some(Arc::new(Schema::new(then.fields().iter().map(column).collect::<Vec<_>>())))
    }
}
