//! `catalog/pipelines/*.toml` → [`Spec`]s, every fault with file, line and column. It connects to nothing: whether topic
//! and table are there is found out by running.

mod feed;
mod own;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::{Commit, DeadLetterCap};
use super::dead::DEAD_LETTERS;
use super::folder;
use super::lines::Lines;
use super::postgres::Options;
use super::posts;
use super::pulled::{self, Pull};
use super::records::Layout;
use super::target::Write;
use crate::document::{Document, Fault, suggest};
use crate::sources;
use crate::sources::iceberg::Config as LakeFile;
use crate::sources::kafka::Config as KafkaFile;
use crate::sources::postgres::Config as PostgresFile;
use crate::types::TableName;

/// A source as its file describes it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub name: &'a str,
    pub config: &'a sources::Config,
    /// Of the file.
    pub hash: u64,
}

/// What a pipeline reads.
#[derive(Clone, Debug)]
pub enum Feed {
    Topic {
        kafka: KafkaFile,
        layout: Arc<Layout>,
    },
    /// Tables of one database, by its own log.
    Database {
        postgres: PostgresFile,
        tables: Vec<String>,
        replication: Options,
    },
    /// Rows that are sent to the HTTP door.
    Http {
        http: posts::Config,
        lines: Arc<Lines>,
    },
    /// Files that are put into a folder.
    Folder {
        folder: folder::Config,
        lines: Arc<Lines>,
    },
    /// A table that lakegate can read, looked at on a schedule.
    Table(Pull),
}

/// One flow of a pipeline: its file and what it leans on.
#[derive(Clone, Debug)]
pub struct Spec {
    pub pipeline: String,
    pub file: String,
    pub origin: String,
    pub feed: Feed,
    pub lake: String,
    pub iceberg: LakeFile,
    pub namespace: String,
    /// As users name it; without the name of a table where there are several.
    pub table: TableName,
    pub write: Write,
    pub commit: Commit,
    pub dead_letter: DeadLetterCap,
    /// Of everything that is written about it: equal means that it need not be started anew.
    pub hash: u64,
}

impl Spec {
    /// The one table that it fills, where it is one.
    pub fn one_table(&self) -> Option<&str> {
        Some(self.table.table.as_str()).filter(|table| !table.is_empty())
    }

    /// What it fills, for people.
    pub(super) fn label(&self) -> String {
        self.one_table().map_or_else(|| format!("{}.*", self.table.schema), |_| self.table.to_string())
    }
}

/// One file's own shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// A source, or a word of [`OWN`].
    origin: String,
    /// How a source is read.
    mode: Option<Mode>,
    write: Style,
    /// What becomes of a deleted row where there is one a key.
    delete: Option<Deletes>,
    /// Of a topics' source, as its file names them.
    #[serde(default)]
    topics: Vec<String>,
    /// Of a database, `schema.table` as it names them; `*` stands for any letters.
    #[serde(default)]
    tables: Vec<String>,
    replication: Option<Options>,
    http: Option<posts::Config>,
    folder: Option<folder::Config>,
    table: Option<pulled::Config>,
    target: String,
    lake: Option<String>,
    #[serde(default)]
    commit: Commit,
    #[serde(default)]
    dead_letter: DeadLetterCap,
}

/// How the origin is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Everything there is, then every change as it comes.
    Cdc,
    /// Everything there is, again and again.
    FullRefresh,
    /// Everything there is, then what came since by a column that only grows.
    Incremental,
}

/// What a change becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Style {
    /// A row each.
    Append,
    /// The current rows, one a key.
    Upsert,
    /// Nothing: all rows are replaced at once.
    Replace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deletes {
    #[default]
    Remove,
    /// It stays, with `_is_deleted`.
    Mark,
}

/// What is no source's: rows come to the pipeline itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Http,
    Folder,
    Table,
}

const OWN: [(&str, Own); 3] = [("http", Own::Http), ("folder", Own::Folder), ("table", Own::Table)];

/// Where rows come from, by the word in the file.
#[derive(Clone, Copy, Debug)]
enum Reads<'k> {
    Source(Known<'k>),
    Own(Own),
}

impl Written {
    fn own(&self) -> Option<Own> {
        OWN.iter().find(|(word, _)| *word == self.origin).map(|(_, own)| *own)
    }

    /// The key that names what is read.
    fn names(&self) -> &'static [&'static str] {
        match self.own() {
            Some(Own::Http) => &["http", "table"],
            Some(Own::Folder) => &["folder", "table"],
            Some(Own::Table) => &["table", "to"],
            None if self.tables.is_empty() => &["topics"],
            None => &["tables"],
        }
    }

    fn writes(&self) -> Write {
        match self.write {
            Style::Append => Write::Append,
            Style::Replace => Write::Replace,
            Style::Upsert => Write::Upsert { keeps_deleted: self.delete == Some(Deletes::Mark) },
        }
    }
}

/// A file is written by hand; what is larger is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 1_000;

/// Every pipeline below `catalog`, by name; every fault of every file. A catalog without the folder has no pipelines.
pub fn read(catalog: &Path, known: &[Known<'_>]) -> Result<Vec<Spec>, Vec<Fault>> {
    let mut faults = vec![];
    let mut specs: Vec<Spec> = vec![];
    for path in files(&catalog.join("pipelines"), &mut faults) {
        match one(&path, known, &specs) {
            Ok(read) => specs.extend(read),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(specs) } else { Err(faults) }
}

fn files(folder: &Path, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![],
        Err(error) => {
            faults.push(at_start(folder, format!("cannot be read: {error}")));
            return vec![];
        }
    };
    let mut paths: Vec<PathBuf> = listing.take(FILES_MAX).flatten().map(|entry| entry.path()).collect();
    let named = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    paths.retain(|path| !named(path).starts_with('.') && !named(path).ends_with(".example"));
    paths.sort();
    paths
}

fn one(path: &Path, known: &[Known<'_>], others: &[Spec]) -> Result<Vec<Spec>, Vec<Fault>> {
    let file = path.display().to_string();
    let stem = path.file_stem().and_then(|s| s.to_str()).filter(|_| path.extension().is_some_and(|e| e == "toml"));
    let Some(name) = stem else {
        return Err(vec![at_start(path, "is not a pipeline; pipelines are files `<name>.toml`".into())]);
    };
    if !is_plain(name) {
        let text = format!("`{name}` cannot name a pipeline: names are lower-case letters, digits and `_`");
        return Err(vec![at_start(path, text)]);
    }
    let size = fs::metadata(path).map(|m| m.len());
    let text = match size {
        Ok(size) if size > FILE_BYTES_MAX => Err(format!("is larger than {FILE_BYTES_MAX} bytes")),
        _ => fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}")),
    };
    let text = text.map_err(|text| vec![at_start(path, text)])?;
    let mut document = Document::parse(&file, &text);
    let Some(written) = document.read::<Written>() else { return Err(document.into_faults()) };
    judge(&written, &mut document);
    let specs = settle(name, &file, &text, &written, known, others, &mut document);
    if document.is_sound() { Ok(specs) } else { Err(document.into_faults()) }
}

/// Numbers that no pipeline could run with.
fn judge(written: &Written, document: &mut Document<'_>) {
    let commit = &written.commit;
    let numbers =
        [("age_ms", commit.age_ms), ("bytes_max", commit.bytes_max as u64), ("rows_max", commit.rows_max as u64)];
    for (key, _) in numbers.iter().filter(|(_, value)| *value == 0) {
        document.fault_at(&["commit", key], format!("`{key}` in [commit] must be above 0"));
    }
    if !(0.0..=100.0).contains(&written.dead_letter.percent_max) {
        document.fault_at(&["dead_letter", "percent_max"], "`percent_max` in [dead_letter] is from 0 to 100");
    }
    if written.delete.is_some() && written.write != Style::Upsert {
        let text =
            "`delete` says what becomes of current rows; with `write = \"append\"` a deletion is a row like any change";
        document.fault_at(&["delete"], text);
    }
    if (written.write == Style::Replace) != (written.mode == Some(Mode::FullRefresh)) {
        let text = "`write = \"replace\"` and `mode = \"full_refresh\"` go with each other: all rows are replaced";
        document.fault_at(&[if written.write == Style::Replace { "write" } else { "mode" }], text);
    }
    match (written.own(), written.mode) {
        (Some(Own::Table), Some(Mode::FullRefresh | Mode::Incremental)) => {}
        (Some(Own::Table), Some(Mode::Cdc)) => {
            let text = "`origin = \"table\"` is read at times: `mode` is \"full_refresh\" or \"incremental\"";
            document.fault_at(&["mode"], text);
        }
        (None, Some(Mode::FullRefresh | Mode::Incremental)) => {
            let text = "tables are read at times by `origin = \"table\"`, which names them in [table]; to a source `mode` is \"cdc\"";
            document.fault_at(&["mode"], text);
        }
        (Some(Own::Http | Own::Folder), Some(_)) => {
            let text =
                format!("`mode` says how a source is read; to `origin = \"{}\"` it says nothing", written.origin);
            document.fault_at(&["mode"], text);
        }
        // One that could not be read is told of already.
        (None | Some(Own::Table), None) if document.has(&["mode"]) => {}
        (None | Some(Own::Table), None) => document.fault_at(&[], "the key `mode` is missing"),
        (Some(Own::Http | Own::Folder), None) | (None, Some(Mode::Cdc)) => {}
    }
}

/// The names in it, bound to the sources they speak of.
fn settle(
    name: &str,
    file: &str,
    text: &str,
    written: &Written,
    known: &[Known<'_>],
    others: &[Spec],
    document: &mut Document<'_>,
) -> Vec<Spec> {
    let (origin, lake) = (origin(written, known, document), lake(written, known, document));
    let (Some(reads), Some((lake, iceberg))) = (origin, lake) else { return vec![] };
    let mounted = iceberg.schemas.iter().find(|(_, schema)| **schema == written.target);
    let namespace = mounted.map_or(&written.target, |(namespace, _)| namespace);
    if !is_plain(&written.target) {
        document.fault_at(&["target"], format!("`{}` cannot name a schema", written.target));
    }
    if let Some(other) = known.iter().find(|k| k.config.declares(&written.target)) {
        let text =
            format!("`{}` is a schema of source `{}`; name one of the lake, or a new one", written.target, other.name);
        document.fault_at(&["target"], text);
    }
    let fed = match reads {
        Reads::Own(Own::Http) => own::http(name, written, document),
        Reads::Own(Own::Folder) => own::folder(written, document),
        Reads::Own(Own::Table) => own::table(written, document),
        Reads::Source(origin) => {
            own::nothing(written, &origin, document);
            match origin.config {
                sources::Config::Kafka(kafka) => feed::topics(written, &origin, kafka, document),
                sources::Config::Postgres(postgres) => feed::database(name, written, &origin, postgres, document),
                sources::Config::Files(_) | sources::Config::Iceberg(_) | sources::Config::Memory(_) => vec![],
            }
        }
    };
    let origin_hash = match reads {
        Reads::Source(origin) => origin.hash,
        Reads::Own(_) => 0,
    };
    let mut specs: Vec<Spec> = vec![];
    for (table, feed) in fed {
        let full = TableName::new(&written.target, &table);
        // Whatever the sources' files are called: lakes share one metastore.
        let taken =
            |s: &&Spec| s.iceberg.catalog == iceberg.catalog && s.namespace == *namespace && s.table.table == table;
        if let Some(other) = specs.iter().chain(others).find(taken) {
            let what = if table.is_empty() { format!("schema {}", written.target) } else { full.to_string() };
            let text = format!("{what} is filled by pipeline `{}` already ({})", other.pipeline, other.file);
            document.fault_at(written.names(), text);
            continue;
        }
        if table == DEAD_LETTERS {
            document.fault_at(written.names(), format!("{full} holds the schema's dead letters"));
            continue;
        }
        specs.push(Spec {
            pipeline: name.to_string(),
            file: file.to_string(),
            origin: written.origin.clone(),
            feed,
            lake: lake.name.to_string(),
            iceberg: iceberg.clone(),
            namespace: namespace.clone(),
            table: full,
            write: written.writes(),
            commit: own::commit(written, document),
            dead_letter: written.dead_letter,
            hash: xxh3_64(format!("{text}\0{origin_hash}\0{}", lake.hash).as_bytes()),
        });
    }
    specs
}

fn origin<'k>(written: &Written, known: &'k [Known<'k>], document: &mut Document<'_>) -> Option<Reads<'k>> {
    if let Some(own) = written.own() {
        if known.iter().any(|k| k.name == written.origin) {
            let text = format!(
                "`{0}` is a word of pipelines, and source `{0}` has it for a name: call it otherwise",
                written.origin
            );
            document.fault_at(&["origin"], text);
        }
        return Some(Reads::Own(own));
    }
    let feeds = |k: &&Known<'k>| matches!(k.config, sources::Config::Kafka(_) | sources::Config::Postgres(_));
    let found = known.iter().filter(feeds).find(|k| k.name == written.origin).copied();
    if found.is_none() {
        let names: Vec<&str> = known.iter().filter(feeds).map(|k| k.name).collect();
        let text = match known.iter().any(|k| k.name == written.origin) {
            true => format!("source `{}` is not of kind `kafka` or `postgres`, which pipelines read", written.origin),
            false => format!("there is no source `{}`; {}", written.origin, suggest(&written.origin, &names)),
        };
        document.fault_at(&["origin"], text);
    }
    found.map(Reads::Source)
}

fn lake<'k>(
    written: &Written,
    known: &'k [Known<'k>],
    document: &mut Document<'_>,
) -> Option<(Known<'k>, &'k LakeFile)> {
    let lakes: Vec<_> = known
        .iter()
        .filter_map(|k| if let sources::Config::Iceberg(lake) = k.config { Some((*k, lake)) } else { None })
        .collect();
    let names: Vec<&str> = lakes.iter().map(|(k, _)| k.name).collect();
    match (&written.lake, lakes.as_slice()) {
        (None, [only]) => Some(*only),
        (None, []) => {
            document.fault_at(&["target"], "there is no source of kind `iceberg` to write to");
            None
        }
        (None, _) => {
            document.fault_at(&["target"], format!("`lake` must say which of {} is written to", names.join(", ")));
            None
        }
        (Some(name), lakes) => {
            let found = lakes.iter().find(|(k, _)| k.name == *name).copied();
            if found.is_none() {
                document.fault_at(&["lake"], format!("there is no lake `{name}`; {}", suggest(name, &names)));
            }
            found
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn at_start(path: &Path, text: String) -> Fault {
    Fault { file: path.display().to_string(), line: 1, column: 1, text }
}

#[cfg(test)]
mod tests;
