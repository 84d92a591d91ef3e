//! A table's columns: those of its files first, then those that their folders' names give. It reads no file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::config::{Column, TableConfig};
use super::fault::of_table;
use super::list::Found;
use crate::error::{Error, Kind, Result};
use crate::formats::file::FileFormat as Format;
use crate::formats::record::{self, Csv, Declaration, Decoder, Encoding, Envelope, Misfit, Record};
use crate::sources::kafka::{ColumnConfig, OnError};
use crate::types::TableName;

#[derive(Debug)]
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
    /// Of the files.
    pub(super) stored: Vec<record::Column>,
    /// Nobody declared them: a file may lack one.
    pub(super) inferred: bool,
    /// Of the folders' names.
    parts: Decoder,
}

/// Between values that all stand in quotes.
const PARTS: Csv = Csv { delimiter: ',', quote: '"', null: String::new() };

impl Columns {
    pub(super) fn new(stored: Vec<record::Column>, parts: Vec<Field>, inferred: bool) -> Result<Self> {
        let fields = stored.iter().map(|column| column.field.clone()).chain(parts.iter().cloned());
        let schema = Arc::new(Schema::new(fields.map(|field| field.with_nullable(true)).collect::<Vec<_>>()));
        let part = |field: Field| {
            let path = vec![field.name().clone()];
            record::Column { field, path, unit: None, encoding: Encoding::default(), optional: false }
        };
        let mut declaration =
            Declaration::new(record::Format::Csv, Envelope::None, parts.into_iter().map(part).collect());
        declaration.csv = PARTS;
        Ok(Self { schema, stored, inferred, parts: Decoder::new(declaration)? })
    }

    /// Says what is wrong in words for the file's author.
    pub(super) fn declared(table: &TableConfig, columns: &[Column]) -> Result<Self, String> {
        let stored = columns.iter().map(|column| {
            let ColumnConfig { name, path, unit, encoding, optional, .. } = column.config.clone();
            let path = match (path, table.format) {
                (Some(path), Format::Json) => path.split('.').map(str::to_owned).collect(),
                (Some(path), Format::Csv | Format::Parquet) => vec![path],
                (None, _) => vec![name],
            };
            record::Column { field: column.field.clone(), path, unit, encoding, optional }
        });
        let parts = table.partitions.iter().flatten().map(|column| column.field.clone()).collect();
        let told = |error: Error| error.message().to_string();
        let columns = Self::new(stored.collect(), parts, false).map_err(told)?;
        if table.format != Format::Parquet {
            columns.decoder(table, None, &[]).map_err(told)?;
        }
        Ok(columns)
    }

    pub(super) fn is_part(&self, column: usize) -> bool {
        column >= self.stored.len()
    }

    /// Of each file the values that its folders' names give.
    pub(super) fn parts(&self, table: &TableName, files: &[Found]) -> Result<RecordBatch> {
        let schema = self.parts.schema();
        if schema.fields().is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
            return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), vec![], &options)?);
        }
        let mut lines = vec![];
        for file in files {
            let values: HashMap<&str, Option<String>> = file.parts().collect();
            let value = |field: &Arc<Field>| match values.get(field.name().as_str()) {
                Some(Some(value)) => Ok(format!("\"{}\"", value.replace('"', "\"\""))),
                Some(None) => Ok(String::new()),
                None => {
                    let what = "lies in no folder whose name gives a partition's value";
                    Err(of_table(table, Kind::InvalidText, what, &file.name, None))
                }
            };
            let fields = schema.fields().iter().map(value).collect::<Result<Vec<_>>>()?;
            lines.push(fields.join(",").into_bytes());
        }
        let records: Vec<Record<'_>> =
            lines.iter().map(|line| Record { value: Some(line), ..Record::default() }).collect();
        let decoded = self.parts.decode(&records, Misfit::Null)?;
        if let Some(found) = decoded.faults.first() {
            let name = files.get(found.index).map_or("", |file| &file.name);
            let what = format!("lies in a folder of whose name a value {}", found.problem);
            return Err(of_table(table, Kind::InvalidText, what, name, None));
        }
        Ok(decoded.changed.rows)
    }

    /// What reads these columns of a file's lines; `names` are those of its first line. `None` where no value is read.
    /// Where a line that does not fit is an error, what is not asked for is not read; else whether it fits must not
    /// depend on what is asked.
    pub(super) fn decoder(
        &self,
        table: &TableConfig,
        names: Option<&[String]>,
        wanted: &[usize],
    ) -> Result<Option<Decoder>> {
        let format = match table.format {
            Format::Json => record::Format::Json,
            Format::Csv | Format::Parquet => record::Format::Csv,
        };
        let all = table.on_error != OnError::Error;
        let is_wanted = |column: usize| all || wanted.contains(&column);
        let (mut columns, mut read) = (vec![], vec![]);
        match names {
            None => {
                columns = self.stored.clone();
                read.extend((0..columns.len()).filter(|column| is_wanted(*column)));
            }
            Some(names) => {
                let mut met = vec![false; self.stored.len()];
                for (at, name) in names.iter().enumerate() {
                    let found = self.stored.iter().position(|column| column.path.first() == Some(name));
                    match found {
                        Some(column) if met[column] => return Err(unfit("names a column twice")),
                        Some(column) => {
                            met[column] = true;
                            columns.extend(self.stored.get(column).cloned());
                            if is_wanted(column) {
                                read.push(at);
                            }
                        }
                        // A column that is not this table's.
                        None => columns.push(beside(at)),
                    }
                }
                let lacking = self.stored.iter().zip(&met).enumerate();
                let lacking = lacking.filter(|(at, (column, met))| !**met && !column.optional && is_wanted(*at));
                if let Some((_, (column, _))) = lacking.into_iter().next().filter(|_| !self.inferred) {
                    return Err(unfit(&format!("does not name column \"{}\"", column.field.name())));
                }
            }
        }
        let mut declaration = Declaration::new(format, Envelope::None, columns);
        declaration.csv = table.csv.lines();
        let decoder = Decoder::new(declaration)?;
        Ok((!read.is_empty()).then(|| decoder.only(&read)))
    }
}

fn unfit(what: &str) -> Error {
    Error::new(Kind::InvalidText, what.to_owned())
}

/// No name of a column begins so.
fn beside(at: usize) -> record::Column {
    let field = Field::new(format!("\0{at}"), arrow::datatypes::DataType::Utf8, true);
    let path = vec![field.name().clone()];
    record::Column { field, path, unit: None, encoding: Encoding::default(), optional: true }
}
