//! catalog/* → [`Draft`]: `sources/*.toml`, `datasets/<schema>.<name>.sql` and `reflections/<name>.sql`, every fault with
//! file, line and column.
//! It connects to nothing and plans nothing; `pipelines/` is read by the ingester.

mod toml;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::dataset::Dataset;
use super::reflection::Definition;
use super::visible::SYSTEM_SCHEMAS;
use crate::age;
use crate::glance::Glance;
use crate::sources;
use crate::types::TableName;

pub use crate::policy::file::Fault;

/// What the files say, before anything is connected.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// By name.
    pub sources: Vec<SourceFile>,
    /// By name.
    pub datasets: Vec<Dataset>,
    /// By name.
    pub reflections: Vec<Definition>,
    /// Tables that pipelines will make: schema and name, where `*` stands for any letters.
    pub awaited: Vec<(String, String)>,
    /// Of every file read, names included.
    pub hash: u64,
}

type Read = Result<Arc<Draft>, Vec<Fault>>;

/// A catalog's folder, read again when its files can have changed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What was read last, and the look before that.
    read: Option<(Glance, Read)>,
}

impl Folder {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), read: None }
    }

    /// As [`Draft::read`].
    pub fn read(&mut self) -> Result<Arc<Draft>, Vec<Fault>> {
        match &self.read {
            Some((glance, read)) if glance.still_holds() => read.clone(),
            _ => {
                let (glance, read) = (Glance::of(&self.path), Draft::read(&self.path).map(Arc::new));
                self.read = Some((glance, read.clone()));
                read
            }
        }
    }
}

/// One `sources/<name>.toml`.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub name: String,
    pub config: sources::Config,
    /// Of the file's bytes: equal means that a connected source can be kept.
    pub hash: u64,
    /// Path for messages to administrators.
    pub file: String,
}

/// A catalog file is written by hand; what is larger is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files in one folder.
const FILES_MAX: usize = 10_000;
/// PostgreSQL's limit of a name.
const NAME_BYTES_MAX: usize = 63;
const EXPECTED: &str = "is not expected here; a catalog has `sources/`, `datasets/`, `reflections/` and `pipelines/`";
/// Names of our own objects: policy lines speak of `lakegate.admin`.
const RESERVED: &str = "lakegate";

/// Why no source and no dataset may stand in `schema`; `None` where it may.
pub(crate) fn reserved(schema: &str) -> Option<String> {
    let system = SYSTEM_SCHEMAS.iter().any(|(name, _)| *name == schema) || schema.starts_with("pg_");
    (system || schema == RESERVED).then(|| format!("the schema name `{schema}` is reserved"))
}

impl Draft {
    /// Reads the whole folder; every fault of every file.
    pub fn read(folder: &Path) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { faults: vec![], hash: Xxh3::new() };
        let mut draft = Self::default();
        for (name, path) in reader.entries(folder, false) {
            match name.as_str() {
                "sources" => draft.sources = reader.sources(&path),
                "datasets" => draft.datasets = reader.datasets(&path),
                "reflections" => draft.reflections = reader.reflections(&path),
                "pipelines" => draft.awaited = reader.awaited(&path),
                _ => reader.fault(&path, EXPECTED),
            }
        }
        draft.hash = reader.hash.digest();
        if reader.faults.is_empty() { Ok(draft) } else { Err(reader.faults) }
    }
}

/// Collects faults, and the hash of what was read.
struct Reader {
    faults: Vec<Fault>,
    hash: Xxh3,
}

impl Reader {
    fn sources(&mut self, folder: &Path) -> Vec<SourceFile> {
        let mut sources = vec![];
        for (name, path) in self.entries(folder, true) {
            let Some(name) = name.strip_suffix(".toml") else {
                self.fault(&path, "is not a source; sources are files `<name>.toml`");
                continue;
            };
            if let Err(expected) = check_name(name) {
                self.fault(&path, &format!("`{name}` cannot name a source: {expected}"));
                continue;
            }
            let Some(text) = self.text(&path) else { continue };
            let file = path.display().to_string();
            match toml::read_source(&file, &text) {
                Ok(config) => {
                    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
                    sources.push(SourceFile { name: name.to_string(), config, hash, file });
                }
                Err(faults) => self.faults.extend(faults),
            }
        }
        sources
    }

    fn datasets(&mut self, folder: &Path) -> Vec<Dataset> {
        let mut datasets = vec![];
        for (name, path) in self.entries(folder, true) {
            let Some(stem) = name.strip_suffix(".sql") else {
                self.fault(&path, "is not a dataset; datasets are files `<schema>.<name>.sql`");
                continue;
            };
            let name = match dataset_name(stem) {
                Ok(name) => name,
                Err(text) => {
                    self.fault(&path, &text);
                    continue;
                }
            };
            let Some(text) = self.text(&path) else { continue };
            let file = path.display().to_string();
            match dataset(name, &file, &text) {
                Ok(dataset) => datasets.push(dataset),
                Err(fault) => self.faults.push(fault),
            }
        }
        datasets
    }

    fn reflections(&mut self, folder: &Path) -> Vec<Definition> {
        let mut reflections = vec![];
        for (name, path) in self.entries(folder, true) {
            let Some(stem) = name.strip_suffix(".sql") else {
                self.fault(&path, "is not a reflection; reflections are files `<name>.sql`");
                continue;
            };
            if let Err(expected) = check_name(stem) {
                self.fault(&path, &format!("`{stem}` cannot name a reflection: {expected}"));
                continue;
            }
            let Some(text) = self.text(&path) else { continue };
            match reflection(stem, &path.display().to_string(), &text) {
                Ok(reflection) => reflections.push(reflection),
                Err(fault) => self.faults.push(fault),
            }
        }
        reflections
    }

    /// What is wrong with a pipeline's file is said by those who run it.
    fn awaited(&mut self, folder: &Path) -> Vec<(String, String)> {
        let mut awaited = vec![];
        for (_, path) in self.entries(folder, false) {
            let text = fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() <= FILE_BYTES_MAX);
            let Some(text) = text.and_then(|_| fs::read_to_string(&path).ok()) else { continue };
            self.hash.update(text.as_bytes());
            let Ok(file) = text.parse::<::toml::Table>() else { continue };
            let Some(schema) = file.get("target").and_then(|t| t.as_str()) else { continue };
            let listed = ["topics", "tables"].iter().filter_map(|key| file.get(*key)?.as_array());
            let read = file.get("table").and_then(|t| t.as_table());
            let read = read.and_then(|read| read.get("to").or_else(|| read.get("name")));
            for name in listed.flatten().chain(read).filter_map(|name| name.as_str()) {
                // `schema.table`: the table keeps its name.
                let name = name.rsplit_once('.').map_or(name, |(_, table)| table);
                awaited.push((schema.to_string(), name.to_string()));
            }
        }
        awaited
    }

    /// Entries of a folder by name, of files only or of anything. Dot files and `*.example` are nobody's business.
    fn entries(&mut self, folder: &Path, files: bool) -> Vec<(String, PathBuf)> {
        let listing = match fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(error) => {
                self.fault(folder, &format!("cannot be read: {error}"));
                return vec![];
            }
        };
        let mut entries = vec![];
        for entry in listing.take(FILES_MAX + 1) {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    self.fault(folder, &format!("cannot be read: {error}"));
                    continue;
                }
            };
            match path.file_name().and_then(|n| n.to_str()) {
                Some(name) if name.starts_with('.') || name.ends_with(".example") => (),
                Some(name) => entries.push((name.to_string(), path)),
                None => self.fault(&path, "has a name that is not UTF-8"),
            }
        }
        if entries.len() > FILES_MAX {
            self.fault(folder, &format!("holds more than {FILES_MAX} files"));
        }
        entries.sort();
        if files {
            entries.retain(|(_, path)| match path.is_dir() {
                true => {
                    self.fault(path, "is a folder; files are expected here");
                    false
                }
                false => true,
            });
        }
        entries
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        let size = fs::metadata(path).map(|m| m.len());
        let bytes = match size {
            Ok(size) if size > FILE_BYTES_MAX => {
                self.fault(path, &format!("is larger than {FILE_BYTES_MAX} bytes"));
                return None;
            }
            _ => fs::read(path),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fault(path, &format!("cannot be read: {error}"));
                return None;
            }
        };
        self.hash.update(path.as_os_str().as_encoded_bytes());
        self.hash.update(&bytes);
        match String::from_utf8(bytes) {
            Ok(text) => Some(text.strip_prefix('\u{feff}').map(Into::into).unwrap_or(text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
                let (line, column) = position(&before, before.len());
                let text = "is not UTF-8 here".to_string();
                self.faults.push(Fault { file: path.display().to_string(), line, column, text });
                None
            }
        }
    }

    /// A fault of a file or folder as a whole.
    fn fault(&mut self, path: &Path, text: &str) {
        self.faults.push(Fault { file: path.display().to_string(), line: 1, column: 1, text: text.to_string() });
    }
}

/// Line and column of a byte offset, both from 1, columns in characters.
pub(crate) fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// What is wrong with a name that users will type without quotes.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match plain {
        false => Err("names are lower-case letters, digits and `_`, and begin with a letter"),
        true if name.len() > NAME_BYTES_MAX => Err("names have at most 63 bytes"),
        true => Ok(()),
    }
}

fn dataset_name(stem: &str) -> Result<TableName, String> {
    let Some((schema, table)) = stem.split_once('.') else {
        return Err(format!("`{stem}` names no schema; datasets are files `<schema>.<name>.sql`"));
    };
    for part in [schema, table] {
        check_name(part).map_err(|expected| format!("`{part}` cannot name a schema or a dataset: {expected}"))?;
    }
    match reserved(schema) {
        Some(why) => Err(why),
        None => Ok(TableName::new(schema, table)),
    }
}

/// The owner's line stays in the text, as the comment it is, so that positions in the query are those of the file.
fn dataset(name: TableName, file: &str, text: &str) -> Result<Dataset, Fault> {
    let owner = owner(file, text, "a dataset")?;
    let max_staleness_ms = max_staleness_ms(file, text)?;
    let sql = text.trim_end().trim_end_matches(';').trim_end();
    if sql.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--")) {
        let text = "a query is expected below the owner's line".into();
        return Err(Fault { file: file.to_string(), line: 2, column: 1, text });
    }
    Ok(Dataset { name, owner, sql: sql.to_string(), max_staleness_ms, file: file.to_string(), kept: None })
}

const MAX_STALENESS: &str = "max_staleness";
/// Letters by which a key may differ and still be meant.
const MISSPELT_MAX: usize = 3;

/// Of `-- max_staleness: AGE`, among the comments above the query; `None` where there is none.
fn max_staleness_ms(file: &str, text: &str) -> Result<Option<i64>, Fault> {
    let mut found = None;
    let comments = text.lines().zip(1u32..).skip(1);
    for (line, number) in comments.take_while(|(line, _)| line.trim().is_empty() || line.starts_with("--")) {
        let Some((key, value)) = line.strip_prefix("--").and_then(|rest| rest.split_once(':')) else { continue };
        let fault = |before: &str, text: String| {
            let blanks = before.len() - before.trim_start().len();
            let column = line.len() - before.len() + blanks;
            let column = line.get(..column).unwrap_or_default().chars().count() + 1;
            Fault { file: file.to_string(), line: number, column: u32::try_from(column).unwrap_or(u32::MAX), text }
        };
        let rest = line.strip_prefix("--").unwrap_or_default();
        match key.trim() {
            MAX_STALENESS if found.is_some() => {
                return Err(fault(rest, format!("`{MAX_STALENESS}` stands here twice")));
            }
            MAX_STALENESS => match age::read_ms(value.trim()) {
                Ok(ms) => found = Some(ms),
                Err(what) => return Err(fault(value, what)),
            },
            // a comment as any, unless it is this key with a mistake in it
            other if strsim::damerau_levenshtein(&other.to_lowercase(), MAX_STALENESS) <= MISSPELT_MAX => {
                return Err(fault(
                    rest,
                    format!("`{other}` is not a key of a dataset; did you mean `{MAX_STALENESS}`?"),
                ));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Of `-- owner: NAME`, the first line.
fn owner(file: &str, text: &str, of: &str) -> Result<String, Fault> {
    let fault = |column, text: String| Fault { file: file.to_string(), line: 1, column, text };
    let first = text.lines().next().unwrap_or_default();
    let Some(owner) = first.strip_prefix("-- owner:").map(str::trim) else {
        return Err(fault(1, format!("the first line of {of} is `-- owner: NAME`")));
    };
    match check_name(owner) {
        Ok(()) => Ok(owner.to_string()),
        Err(expected) => {
            let column = u32::try_from("-- owner: ".len() + 1).unwrap_or(1);
            Err(fault(column, format!("`{owner}` cannot be an owner: {expected}")))
        }
    }
}

/// As of a dataset, the owner's line stays in the text.
fn reflection(name: &str, file: &str, text: &str) -> Result<Definition, Fault> {
    let owner = owner(file, text, "a reflection")?;
    let read = Definition::read(&owner, text, Some(file.to_string())).map_err(|error| {
        let (line, column) = error.position().map_or((1, 1), |at| position(text, byte_offset(text, at)));
        Fault { file: file.to_string(), line, column, text: error.to_string() }
    })?;
    if read.name == name {
        return Ok(read);
    }
    let text = format!("the file is of `{name}`, and what stands in it of `{}`", read.name);
    Err(Fault { file: file.to_string(), line: 1, column: 1, text })
}

/// Of a character position from 1, as errors have it.
pub(crate) fn byte_offset(text: &str, position: usize) -> usize {
    text.char_indices().nth(position.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests;
