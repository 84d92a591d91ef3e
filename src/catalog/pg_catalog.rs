//! pg_catalog as ordinary tables: which relation is filled by whom. Columns and fixed rows come from the image of a real
//! PostgreSQL; a relation without an arm here is empty, which is true of this database. No rows are made here.

mod access;
mod activity;
pub(crate) mod attribute;
pub(super) mod class;
mod cursors;
pub mod image;
mod namespace;
pub mod rows;
pub mod settings;
pub mod types;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use self::image::Declared;
use self::rows::Rows;
use super::information_schema;
use super::visible::{SystemTable, View};
use crate::error::Result;
use crate::types::TableName;

pub use image::SERVER_VERSION;

/// Adds a relation's rows.
pub(super) type Fill = fn(&View, &mut Rows) -> Result<()>;

/// A relation of pg_catalog or information_schema.
#[derive(Debug)]
pub struct Relation {
    declared: &'static Declared,
    fill: Option<Fill>,
}

/// The relation of this name; `None` where there is none.
pub fn relation(name: &TableName) -> Option<Relation> {
    let declared = image::relations().iter().find(|r| r.name == *name)?;
    let fill = match name.schema.as_str() {
        "pg_catalog" => fill(&name.table),
        _ => information_schema::fill(&name.table),
    };
    Some(Relation { declared, fill })
}

fn fill(table: &str) -> Option<Fill> {
    Some(match table {
        "pg_attribute" => attribute::pg_attribute,
        "pg_auth_members" => access::pg_auth_members,
        "pg_class" => class::pg_class,
        "pg_cursors" => cursors::pg_cursors,
        "pg_database" => namespace::pg_database,
        "pg_namespace" => namespace::pg_namespace,
        "pg_roles" => access::pg_roles,
        "pg_settings" => settings::pg_settings,
        "pg_stat_activity" => activity::pg_stat_activity,
        "pg_stat_database" => activity::pg_stat_database,
        "pg_tables" => class::pg_tables,
        "pg_user" => access::pg_user,
        "pg_views" => class::pg_views,
        _ => return None,
    })
}

impl SystemTable for Relation {
    fn name(&self) -> TableName {
        self.declared.name.clone()
    }

    fn schema(&self) -> SchemaRef {
        self.declared.schema.clone()
    }

    fn rows(&self, view: &View) -> Result<RecordBatch> {
        let schema = self.schema();
        let mut rows = Rows::new(schema.clone(), &self.declared.not_null);
        if let Some(fill) = self.fill {
            fill(view, &mut rows)?;
        } else if let Some(image) = image::fixed(&self.declared.name.table) {
            for line in image.lines() {
                let cells =
                    schema.fields().iter().zip(line.split('\t')).map(|(f, text)| image::cell(f.data_type(), text));
                rows.push_all(cells.collect::<Result<_>>()?)?;
            }
        }
        rows.finish()
    }
}

#[cfg(test)]
mod tests;
