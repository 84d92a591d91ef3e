//! A view of the lake as a table of its source: columns and text. It is never pinned; whoever reads it plans its text.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;

use super::super::declared::{Declared, Kind as DeclaredKind};
use super::super::{Pinned, Table, ViewColumn, ViewText};
use super::{Fault, Inner};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, OID, TYPMOD};
use crate::lake::{self, TableKey};
use crate::types::TableName;

/// As one metadata file describes it. One that cannot be read stands here too, without columns and without a text, so that
/// its name is seen to be taken.
#[derive(Debug)]
pub(super) struct LakeView {
    name: TableName,
    identity: String,
    schema: SchemaRef,
    declared: Declared,
    text: ViewText,
}

impl LakeView {
    /// Only an unreachable store is an error of the whole source.
    pub(super) async fn load(source: &Inner, name: TableName, key: &TableKey, location: &str) -> Result<Self> {
        let loaded = match source.lake.load_view(key, location).await {
            Ok(view) => view.text().map(|text| (identity(&view), text)),
            Err(error) => Err(error),
        };
        let (identity, text) = match loaded {
            Ok(loaded) => loaded,
            Err(error) if error.kind() == Kind::SourceUnreachable => return Err(source.named(error)),
            Err(error) => {
                tracing::warn!(source = %source.name, view = %name, error = ?error, "a view cannot be read");
                let fault = Fault { kind: error.kind(), message: error.message().to_string() };
                (format!("iceberg-view:{}:{name}", source.name), unreadable(&fault))
            }
        };
        let schema = Arc::new(Schema::new(text.columns.iter().map(field).collect::<Vec<_>>()));
        let comments = text.columns.iter().filter_map(|c| Some((c.name.clone(), c.comment.clone()?)));
        let comments: BTreeMap<String, String> = comments.collect();
        let (kind, comment) = (DeclaredKind::View, text.comment.clone());
        let declared = Declared { kind, comment, comments, ..Declared::default() };
        Ok(Self { name, identity, schema, declared, text })
    }
}

/// Nobody's, and no query: its message is what planning it comes to.
fn unreadable(fault: &Fault) -> ViewText {
    let sql = format!("-- {}: {}", fault.kind.sqlstate(), fault.message.replace(['\r', '\n'], " "));
    ViewText { sql, owner: String::new(), columns: vec![], comment: None }
}

/// A type that is not known any more is shown as text, under its oid.
fn field(column: &ViewColumn) -> Field {
    let known = postgres::field(&column.name, column.oid, column.typmod, true);
    known.unwrap_or_else(|| {
        let metadata = [(OID, column.oid.to_string()), (TYPMOD, column.typmod.to_string())];
        let metadata: HashMap<String, String> = metadata.map(|(name, value)| (name.to_string(), value)).into();
        Field::new(&column.name, DataType::Utf8, true).with_metadata(metadata)
    })
}

fn identity(view: &lake::View) -> String {
    format!("iceberg-view:{}", view.uuid())
}

impl Inner {
    /// The view that a statement was planned with, as the base of its change.
    pub(super) async fn view_as(&self, planned: &dyn Table) -> Result<lake::View> {
        let name = planned.name();
        let missing = || Error::new(Kind::UndefinedTable, format!("view \"{}\" does not exist", name.table));
        let key = self.key(name);
        let row = self.lake.view(&key).await.map_err(|e| self.named(e))?.ok_or_else(missing)?;
        // one that cannot be read has no identity to be compared
        let readable = row.text().is_ok();
        if readable && (identity(&row) != planned.identity() || row.text().ok().as_ref() != planned.view()) {
            return Err(lake::overtaken().with_detail("The view was changed after the statement was planned."));
        }
        Ok(row)
    }
}

#[async_trait]
impl Table for LakeView {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn column_ids(&self) -> Vec<Vec<String>> {
        self.text.columns.iter().map(|column| vec![format!("#{}", column.id)]).collect()
    }

    fn declared(&self) -> &Declared {
        &self.declared
    }

    fn view(&self) -> Option<&ViewText> {
        Some(&self.text)
    }

    async fn pin(&self) -> Result<Pinned> {
        Err(Error::internal("a view was to be pinned"))
    }
}
