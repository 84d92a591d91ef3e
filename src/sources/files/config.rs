//! What a source's file says of tables that are files, and what of it cannot be: told while the file is read, so that each
//! fault has its place there. It looks at no folder.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::Field;
use serde::{Deserialize, Deserializer};

use super::glob::Pattern;
use super::parquet;
use crate::formats::file::{CsvFile, FileFormat as Format};
use crate::formats::postgres::{NUMERIC, by_name, field};
use crate::formats::record::any_numeric;
use crate::lake::S3Config;
use crate::sources::kafka::{ColumnConfig, OnError};

/// `catalog/sources/<name>.toml` with `kind = "files"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The one schema that this source mounts.
    pub schema: String,
    /// An absolute path, or `s3://bucket/prefix`: nothing outside of it is read.
    #[serde(deserialize_with = "folder")]
    pub path: String,
    /// The service, where `path` is in S3.
    pub s3: Option<S3Config>,
    /// In one table.
    #[serde(default = "default_files_max", deserialize_with = "above_zero")]
    pub files_max: usize,
    #[serde(default)]
    pub tables: BTreeMap<String, TableConfig>,
}

/// `[tables.orders]`: a table by that name.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct TableConfig {
    pub files: Pattern,
    pub format: Format,
    /// Told from the files where absent.
    pub columns: Option<Vec<Column>>,
    /// Columns whose values stand in the folders' names, `year=2024`. Told from the files where neither is declared.
    pub partitions: Option<Vec<Column>>,
    pub on_error: OnError,
    /// `[tables.orders.csv]`.
    pub csv: CsvFile,
}

/// A declared column, its type understood.
#[derive(Clone, Deserialize)]
#[serde(try_from = "ColumnConfig")]
pub struct Column {
    pub config: ColumnConfig,
    pub field: Field,
}

/// As it is declared: the field follows from that, and prints its metadata in another order each time.
impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    files: Pattern,
    format: Format,
    columns: Option<Vec<Column>>,
    partitions: Option<Vec<Column>>,
    #[serde(default)]
    on_error: OnError,
    csv: Option<CsvFile>,
}

fn default_files_max() -> usize {
    10_000
}

fn folder<'de, D: Deserializer<'de>>(written: D) -> Result<String, D::Error> {
    let path = String::deserialize(written)?;
    let below = path.strip_prefix("s3://").or_else(|| path.strip_prefix('/').filter(|below| !below.is_empty()));
    let named = below.filter(|below| !below.is_empty() && !below.starts_with('/'));
    let Some(named) = named else {
        return Err(serde::de::Error::custom("`path` is an absolute path below the root, or s3://bucket/prefix"));
    };
    if named.trim_end_matches('/').split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(serde::de::Error::custom("`path` has no empty part, no `.` and no `..`"));
    }
    Ok(path)
}

fn above_zero<'de, D: Deserializer<'de>>(written: D) -> Result<usize, D::Error> {
    match usize::deserialize(written)? {
        0 => Err(serde::de::Error::custom("`files_max` must be above 0")),
        count => Ok(count),
    }
}

impl TryFrom<ColumnConfig> for Column {
    type Error = String;

    fn try_from(config: ColumnConfig) -> Result<Self, String> {
        let name = &config.name;
        if name.is_empty() || name.contains('\0') {
            return Err("a column has a name".into());
        }
        if config.before {
            return Err(format!("column \"{name}\" is of the row before, which files do not have"));
        }
        let field = match by_name(&config.type_name) {
            Some((NUMERIC, -1)) => Some(any_numeric(name)),
            Some((oid, typmod)) => field(name, oid, typmod, true),
            None => None,
        };
        let unread = || format!("column \"{name}\" has type \"{}\", which files are not read as", config.type_name);
        let field = field.ok_or_else(unread)?;
        Ok(Self { field, config })
    }
}

impl TryFrom<Written> for TableConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { files, format, columns, partitions, on_error, csv } = written;
        if format != Format::Csv && csv.is_some() {
            return Err("`csv` is of `format = \"csv\"`".into());
        }
        let csv = csv.unwrap_or_default();
        if let Some(fault) = csv.fault() {
            return Err(fault.into());
        }
        if format == Format::Parquet && on_error != OnError::Error {
            return Err("`on_error` is of lines, which `format = \"parquet\"` does not have".into());
        }
        if columns.as_ref().is_some_and(Vec::is_empty) {
            return Err("`columns` declares none; left out, they are told from the files".into());
        }
        let mut names: Vec<&str> = vec![];
        for column in columns.iter().flatten().chain(partitions.iter().flatten()) {
            if names.contains(&column.config.name.as_str()) {
                return Err(format!("column \"{}\" is declared twice", column.config.name));
            }
            names.push(&column.config.name);
        }
        for column in columns.iter().flatten() {
            let ColumnConfig { name, type_name, path, unit, .. } = &column.config;
            if format == Format::Parquet && !parquet::may_be(&column.field) {
                return Err(format!("column \"{name}\" has type \"{type_name}\", which Parquet is not read as"));
            }
            if format != Format::Json && (path.as_ref().is_some_and(|path| path.contains('.')) || unit.is_some()) {
                return Err(format!("column \"{name}\" has a path or a unit, which are of `format = \"json\"`"));
            }
            if path.as_ref().is_some_and(|path| path.split('.').any(str::is_empty)) {
                return Err(format!("column \"{name}\" has a path with a name that is empty"));
            }
        }
        // Where the columns are declared all of them are: what folders are called makes none.
        let partitions = partitions.or_else(|| columns.as_ref().map(|_| vec![]));
        Ok(Self { files, format, columns, partitions, on_error, csv })
    }
}
