//! A lake's table held at a snapshot while a statement changes its rows, and what the table says of its keys. How files are
//! changed is `lake`'s.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::Session;
use futures::future::BoxFuture;

use super::super::declared::{Declared, Index, Key, KeyKind, Kind, Materialized};
use super::super::{Base, Change, How, Pinned};
use super::columns::defaults;
use super::counter::counters;
use super::{Inner, LakeTable, changed, committed, shown_schema};
use crate::error::Result;
use crate::lake::{self, Verb};
use crate::types::TableName;

/// Where a table's comment is kept, as Spark and Trino keep it.
pub(super) const COMMENT: &str = "comment";

#[derive(Debug)]
struct Held {
    source: Arc<Inner>,
    name: TableName,
    table: lake::Table,
    pinned: Pinned,
    rows: Pinned,
}

/// The table as it is now; the caller looks at the catalog again where rows are known by other columns meanwhile.
pub(super) async fn of(planned: &LakeTable, table: lake::Table) -> Result<Arc<dyn Base>> {
    let place = place(&table);
    if place != planned.place || shown_schema(&table) != planned.schema {
        return Err(changed());
    }
    let source = Arc::clone(&planned.source);
    let fields = planned.schema.fields().iter().cloned().chain(place);
    let rows = source.pinned(&table, Arc::new(Schema::new(fields.collect::<Vec<_>>()))).await?;
    let pinned = source.pinned(&table, Arc::clone(&planned.schema)).await?;
    Ok(Arc::new(Held { source, name: planned.name.clone(), table, pinned, rows }))
}

/// Where a row is and, from format version 3 on, its id, under names that no column has.
pub(super) fn place(table: &lake::Table) -> Vec<FieldRef> {
    let hidden = |field: FieldRef| Arc::new(field.as_ref().clone().with_name(format!("\0\0{}", field.name())));
    let [row, _] = lake::Table::lineage_columns();
    let row = table.has_lineage().then_some(row);
    lake::Table::place_columns().into_iter().chain(row).map(hidden).collect()
}

/// What the table says of itself. Iceberg's identifier fields are what it knows of keys: it says that they are one, and
/// nobody enforces it.
pub(super) fn declared(name: &TableName, table: &lake::Table) -> Declared {
    let columns = table.key();
    let materialized = materialized(table);
    let mut declared = Declared {
        comment: table.properties().get(COMMENT).cloned(),
        comments: table.documented().map(|(column, text)| (column.to_string(), text.to_string())).collect(),
        defaults: defaults(table),
        counters: counters(table),
        kind: if materialized.is_some() { Kind::MaterializedView } else { Kind::Table },
        materialized,
        ..Declared::default()
    };
    if !columns.is_empty() {
        let key = format!("{}_pkey", name.table);
        let options = vec![0; columns.len()];
        let index = Index { name: key.clone(), columns: columns.clone(), options, unique: true, primary: true };
        declared.indexes.push(index);
        let key = Key { name: key, kind: KeyKind::Primary, columns, deferrable: false, deferred: false };
        declared.keys.push(key);
    }
    declared
}

pub(super) fn materialized(table: &lake::Table) -> Option<Materialized> {
    Materialized::read(table.properties().get(Materialized::KEY)?)
}

impl Base for Held {
    fn pinned(&self) -> Pinned {
        self.pinned.clone()
    }

    fn rows(&self) -> Pinned {
        self.rows.clone()
    }

    fn change<'a>(&'a self, session: &'a dyn Session, change: Change) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let verb = match change.how {
                How::Delete => Verb::Delete,
                How::Update => Verb::Update,
                How::Merge => Verb::Merge,
            };
            let lake = &self.source.lake;
            let alone = change.alone;
            let changed = lake.change(session, &self.table, verb, change.rows, &change.gone, alone).await;
            match changed.map_err(|e| self.source.named(e))? {
                Some(outcome) => committed(outcome, &self.name, "the rows were changed in"),
                None => Ok(()),
            }
        })
    }
}
