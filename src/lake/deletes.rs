//! Which delete files apply to which data file, as the specification has it under "Scan Planning". What a delete file
//! holds is read by `read`, written by `write`; the form of a deletion vector is `vector`'s.

pub(super) mod puffin;
pub(super) mod vector;

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Datum, Literal, PrimitiveLiteral, Struct};

use super::manifest::Entry;
use super::schema::DELETED_PATH;
use crate::error::{Error, Kind, Result};

/// The live delete files of a snapshot, by what they may apply to.
#[derive(Debug, Default)]
pub(super) struct Index {
    vectors: HashMap<String, Arc<Entry>>,
    of_file: HashMap<String, Vec<Arc<Entry>>>,
    of_partition: ByPartition,
    keys_anywhere: Vec<Arc<Entry>>,
    keys_of_partition: ByPartition,
}

/// By spec, then by partition value.
type ByPartition = HashMap<i32, HashMap<Struct, Vec<Arc<Entry>>>>;

/// What applies to one data file.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub positions: Positions,
    /// Equality deletes that apply to every file, and those of the file's partition alone.
    pub keys_anywhere: Vec<Arc<Entry>>,
    pub keys_here: Vec<Arc<Entry>>,
}

/// Where a data file's deleted positions stand.
#[derive(Clone, Debug, Default)]
pub(super) enum Positions {
    #[default]
    None,
    Vector(Arc<Entry>),
    Files(Vec<Arc<Entry>>),
}

impl Applied {
    pub(super) fn is_nothing(&self) -> bool {
        self.entries().next().is_none()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_position().chain(self.by_key())
    }

    pub(super) fn by_position(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let positions = match &self.positions {
            Positions::None => &[],
            Positions::Vector(vector) => std::slice::from_ref(vector),
            Positions::Files(files) => files.as_slice(),
        };
        positions.iter()
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.keys_anywhere.iter().chain(&self.keys_here)
    }
}

impl Index {
    /// `anywhere`: the file's partition spec has no fields, so that equality deletes in it know no bounds.
    pub(super) fn add(&mut self, entry: Arc<Entry>, anywhere: bool) -> Result<()> {
        let file = &entry.file;
        let place = |by: &mut ByPartition, entry: &Arc<Entry>| {
            let partitions = by.entry(entry.spec_id).or_default();
            partitions.entry(partition_of(&entry.file)).or_default().push(Arc::clone(entry));
        };
        match (file.content_type(), file.file_format()) {
            _ if file.key_metadata().is_some() => return Err(unsupported("encrypted delete files")),
            (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                let of = file.referenced_data_file().ok_or_else(|| broken("a deletion vector of no data file"))?;
                if self.vectors.insert(of, entry).is_some() {
                    return Err(broken("two deletion vectors of one data file"));
                }
            }
            (DataContentType::PositionDeletes, DataFileFormat::Parquet) => match only_file(file) {
                Some(of) => self.of_file.entry(of).or_default().push(entry),
                None => place(&mut self.of_partition, &entry),
            },
            (DataContentType::EqualityDeletes, DataFileFormat::Parquet) if anywhere => self.keys_anywhere.push(entry),
            (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => place(&mut self.keys_of_partition, &entry),
            (DataContentType::Data, _) => return Err(broken("a data file among delete files")),
            (_, DataFileFormat::Avro | DataFileFormat::Orc | DataFileFormat::Puffin) => {
                return Err(unsupported("delete files that are not Parquet"));
            }
        }
        Ok(())
    }

    /// A data file's deletes. Positions apply to rows as old as the delete or older, keys to older ones only: an upsert
    /// deletes by key and adds the row anew in one commit.
    pub(super) fn of(&self, data: &Entry) -> Applied {
        let path = data.file.file_path();
        let partition = partition_of(&data.file);
        let of_partition = |by: &ByPartition| -> Vec<Arc<Entry>> {
            by.get(&data.spec_id).and_then(|p| p.get(&partition)).cloned().unwrap_or_default()
        };
        let older = |deletes: Vec<Arc<Entry>>| deletes.into_iter().filter(|d| data.sequence < d.sequence).collect();
        let positions = match self.vectors.get(path).filter(|v| data.sequence <= v.sequence) {
            // Whoever wrote the vector took the older position deletes into it.
            Some(vector) => Positions::Vector(Arc::clone(vector)),
            None => {
                let mut files = self.of_file.get(path).cloned().unwrap_or_default();
                files.extend(of_partition(&self.of_partition));
                files.retain(|d| data.sequence <= d.sequence && may_name(&d.file, path));
                if files.is_empty() { Positions::None } else { Positions::Files(files) }
            }
        };
        Applied {
            positions,
            keys_anywhere: older(self.keys_anywhere.clone()),
            keys_here: older(of_partition(&self.keys_of_partition)),
        }
    }
}

/// A file's partition value as it compares with those of other files: a column that was promoted since has narrower
/// literals in older manifests.
pub(super) fn partition_of(file: &DataFile) -> Struct {
    let widest = |literal: &Literal| match literal {
        Literal::Primitive(PrimitiveLiteral::Int(number)) => Literal::long(*number),
        Literal::Primitive(PrimitiveLiteral::Float(number)) => Literal::double(number.0),
        other => other.clone(),
    };
    file.partition().iter().map(|literal| literal.map(widest)).collect()
}

/// Whether a position delete file is of one data file alone.
pub(super) fn names_one_file(deletes: &DataFile) -> bool {
    only_file(deletes).is_some()
}

/// The one data file that all of a delete file's positions are of, where that is known.
fn only_file(deletes: &DataFile) -> Option<String> {
    deletes.referenced_data_file().or_else(|| {
        let (lower, upper) = path_bounds(deletes);
        lower.filter(|lower| Some(*lower) == upper).map(String::from)
    })
}

fn may_name(deletes: &DataFile, path: &str) -> bool {
    let (lower, upper) = path_bounds(deletes);
    lower.is_none_or(|lower| lower <= path) && upper.is_none_or(|upper| path <= upper)
}

fn path_bounds(deletes: &DataFile) -> (Option<&str>, Option<&str>) {
    fn text(bound: Option<&Datum>) -> Option<&str> {
        match bound?.literal() {
            PrimitiveLiteral::String(text) => Some(text),
            _ => None,
        }
    }
    (text(deletes.lower_bounds().get(&DELETED_PATH)), text(deletes.upper_bounds().get(&DELETED_PATH)))
}

fn broken(what: &str) -> Error {
    Error::new(Kind::SourceFailed, format!("a table's metadata names {what}"))
}

fn unsupported(what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("a table has {what}, which is not supported"))
}

#[cfg(test)]
mod tests;
