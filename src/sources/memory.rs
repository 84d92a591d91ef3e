//! Tables in memory: what tests use first, and small fixtures from a catalog file. Nothing here survives the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use serde::Deserialize;

use super::{Pinned, Source, Table};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::formats::record::{Column, Declaration, Decoder, Encoding, Envelope, Format, Misfit, Record};
use crate::types::{TableName, Version};

/// Fixtures written into a source file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub table: Vec<TableConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// `schema.table`.
    pub name: String,
    pub columns: Vec<ColumnConfig>,
    /// Values in the order of the columns; text is read as the column's type. `{}` is NULL, and so is a missing tail.
    #[serde(default)]
    pub rows: Vec<Vec<toml::Value>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    pub name: String,
    /// `int8`, `numeric(12,2)`, `timestamptz` …
    #[serde(rename = "type")]
    pub kind: String,
}

impl TableConfig {
    /// Says what is wrong in words for the file's author.
    fn rows(&self) -> Result<RecordBatch, String> {
        let mut columns: Vec<Column> = vec![];
        for column in &self.columns {
            if columns.iter().any(|c| *c.field.name() == column.name) {
                return Err(format!("column \"{}\" is declared twice", column.name));
            }
            let known = postgres::by_name(&column.kind)
                .and_then(|(oid, typmod)| postgres::field(&column.name, oid, typmod, true));
            let unknown = || format!("column \"{}\" has an unknown type \"{}\"", column.name, column.kind);
            let (field, path) = (known.ok_or_else(unknown)?, vec![column.name.clone()]);
            columns.push(Column { field, path, unit: None, encoding: Encoding::default(), optional: true });
        }
        // Values are read as those of a JSON topic are: exactly, or not at all.
        let declaration = Declaration::new(Format::Json, Envelope::None, columns);
        let decoder = Decoder::new(declaration).map_err(|e| e.message().to_string())?;
        let mut records = vec![];
        for (row, values) in self.rows.iter().enumerate() {
            if values.len() > self.columns.len() {
                return Err(format!("row {} has more values than the table has columns", row + 1));
            }
            // What is missing is NULL, and said: a record that says nothing would be none of this table's.
            let values = values.iter().map(value_of).chain(std::iter::repeat(serde_json::Value::Null));
            let record: serde_json::Map<_, _> =
                self.columns.iter().map(|column| column.name.clone()).zip(values).collect();
            records.push(serde_json::Value::Object(record).to_string().into_bytes());
        }
        let records: Vec<Record<'_>> =
            records.iter().map(|record| Record { value: Some(record), ..Record::default() }).collect();
        let decoded = decoder.decode(&records, Misfit::Leave).map_err(|e| e.message().to_string())?;
        match decoded.faults.first() {
            None => Ok(decoded.changed.rows),
            Some(fault) => {
                let column = fault.column.as_deref().map(|c| format!(", column \"{c}\"")).unwrap_or_default();
                Err(format!("row {}{column}: {}", fault.index + 1, fault.problem))
            }
        }
    }
}

/// TOML's value as JSON's; dates and times are their text.
fn value_of(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(value_of).collect(),
        toml::Value::Table(fields) if fields.is_empty() => serde_json::Value::Null,
        toml::Value::Table(fields) => fields.iter().map(|(name, value)| (name.clone(), value_of(value))).collect(),
    }
}

/// Tables by name; [`Memory::put`] replaces one and moves the revision.
#[derive(Debug)]
pub struct Memory {
    name: String,
    tables: RwLock<BTreeMap<TableName, Arc<MemoryTable>>>,
    revision: AtomicU64,
}

/// One fixture.
#[derive(Debug)]
pub struct MemoryTable {
    name: TableName,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    raw_columns: Vec<String>,
    version: u64,
}

impl Memory {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tables: RwLock::default(), revision: AtomicU64::new(1) }
    }

    /// The fixtures of a source file.
    pub fn configured(name: &str, config: &Config) -> Result<Self> {
        let memory = Self::new(name);
        for table in &config.table {
            let fault =
                |what: String| Error::new(Kind::Config, format!("source \"{name}\": table `{}`: {what}", table.name));
            let segments: Vec<&str> = table.name.split('.').collect();
            let [schema, short] = segments.as_slice() else {
                return Err(fault("a name is `schema.table`".into()));
            };
            let named = TableName::new(*schema, *short);
            if memory.tables.read().expect("no panic under the lock").contains_key(&named) {
                return Err(fault("it stands twice".into()));
            }
            let rows = table.rows().map_err(fault)?;
            memory.put(named, rows.schema(), vec![rows]);
        }
        Ok(memory)
    }

    pub fn put(&self, name: TableName, schema: SchemaRef, batches: Vec<RecordBatch>) {
        self.put_with_raw(name, schema, batches, vec![]);
    }

    /// As [`Memory::put`], with columns that no `*` grant covers.
    pub fn put_with_raw(
        &self,
        name: TableName,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        raw_columns: Vec<String>,
    ) {
        let version = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        let table = MemoryTable { name: name.clone(), schema, batches, raw_columns, version };
        self.tables.write().expect("no panic under the lock").insert(name, Arc::new(table));
    }
}

#[async_trait]
impl Source for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        let tables = self.tables.read().expect("no panic under the lock");
        let mut schemas: Vec<String> = tables.keys().map(|n| n.schema.clone()).collect();
        schemas.dedup();
        schemas
    }

    async fn revision(&self) -> Result<Option<u64>> {
        Ok(Some(self.revision.load(Ordering::Relaxed)))
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let tables = self.tables.read().expect("no panic under the lock");
        Ok(tables.values().map(|t| Arc::clone(t) as Arc<dyn Table>).collect())
    }
}

#[async_trait]
impl Table for MemoryTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        format!("memory:{}", self.name)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn raw_columns(&self) -> &[String] {
        &self.raw_columns
    }

    async fn pin(&self) -> Result<Pinned> {
        let provider = MemTable::try_new(Arc::clone(&self.schema), vec![self.batches.clone()])?;
        Ok(Pinned {
            version: Version::Fixed(self.version),
            // a memory table is never opened without a barrier: no leaf of it stands bare
            reads: Arc::new(|_| None),
            provider: Arc::new(provider),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    async fn load(text: &str) -> Result<String, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.message().to_string())?;
        let memory = Memory::configured("fixtures", &config).map_err(|e| e.to_string())?;
        let tables = memory.tables.read().expect("no panic under the lock");
        let batches: Vec<RecordBatch> = tables.values().flat_map(|t| t.batches.clone()).collect();
        Ok(pretty_format_batches(&batches).expect("printable").to_string())
    }

    #[tokio::test]
    async fn fixtures_are_read_exactly_or_refused() {
        let columns = |more: &str| {
            format!(
                "[[table]]\nname = \"a.b\"\ncolumns = [{{ name = \"n\", type = \"numeric(6,2)\" }}, {{ name = \"d\", type = \"date\" }}]\n{more}"
            )
        };
        let shown = load(&columns("rows = [[\"1.50\", 2024-02-29], [7], []]")).await.expect("sound");
        let expect = "\
+------+------------+
| n    | d          |
+------+------------+
| 1.50 | 2024-02-29 |
| 7.00 |            |
|      |            |
+------+------------+";
        assert_eq!(shown, expect);
        for (more, fault) in [
            ("rows = [[1], [\"1.505\"]]", "row 2, column \"n\": "),
            ("rows = [[1, \"soon\"]]", "row 1, column \"d\": "),
            ("rows = [[1, 2, 3]]", "row 1 has more values than the table has columns"),
        ] {
            let refused = load(&columns(more)).await.expect_err(more);
            assert!(refused.starts_with(&format!("source \"fixtures\": table `a.b`: {fault}")), "{refused}");
        }
        for (text, fault) in [
            ("name = \"b\"\ncolumns = []", "table `b`: a name is `schema.table`"),
            (
                "name = \"a.b\"\ncolumns = [{ name = \"x\", type = \"nosuch\" }]",
                "table `a.b`: column \"x\" has an unknown type \"nosuch\"",
            ),
        ] {
            assert_eq!(
                load(&format!("[[table]]\n{text}")).await.expect_err(text),
                format!("source \"fixtures\": {fault}")
            );
        }
    }
}
