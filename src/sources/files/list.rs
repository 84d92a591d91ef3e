//! A folder, on this machine or in S3, and the files of it that a statement sees: found anew by each statement, and read as
//! they were found. Of a table's files none may lie elsewhere, by a link. It opens no file.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Once};

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::as_found::AsFound;
use super::fault::{gone, of_table};
use super::glob::Pattern;
use crate::error::{Error, Kind, Result};
use crate::lake::{S3Config, Store};
use crate::types::TableName;

/// What a source's `path` names.
#[derive(Debug)]
pub(super) struct Folder {
    source: String,
    root: Path,
    /// On this machine.
    local: Option<PathBuf>,
    files_max: usize,
    objects: Arc<dyn ObjectStore>,
    /// That it lists no tags is said once.
    untagged: Once,
}

/// Names are gone through for each file that a table may have: a link may lead to a whole disk.
const LISTED_PER_FILE: usize = 100;

/// A file as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Below the folder.
    pub(super) name: String,
    pub(super) meta: ObjectMeta,
    /// Of its name, and of what it held.
    pub(super) id: u128,
}

impl Found {
    /// The names in its folders' names, and their values; Hive's word for NULL is one.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        let folders = self.name.rsplit_once('/').map_or("", |(folders, _)| folders);
        let pairs = folders.split('/').filter_map(|part| part.split_once('='));
        pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| (key, plain(value)))
    }
}

/// Hive spells what a folder's name cannot have as `%` and two digits.
fn plain(value: &str) -> Option<String> {
    if value == "__HIVE_DEFAULT_PARTITION__" {
        return None;
    }
    let (mut bytes, mut rest) = (vec![], value.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte =
            digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| u8::from_str_radix(d, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    // What is no text then is the name as it stands.
    Some(String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned()))
}

impl Folder {
    /// Connects nothing yet.
    pub(super) fn new(source: &str, path: &str, s3: Option<&S3Config>, files_max: usize) -> Result<Self> {
        let path = path.trim_end_matches('/');
        let store = Store::connect(path, s3)?;
        // A bucket's prefixes end with a slash.
        let root = store.path(&format!("{path}/"))?;
        let local = path.starts_with('/').then(|| PathBuf::from(path));
        let (objects, untagged) = (Arc::clone(store.objects()), Once::new());
        Ok(Self { source: source.into(), root, local, files_max, objects, untagged })
    }

    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The files as they were found, and no others of their names.
    pub(super) fn as_found<'f>(&self, files: impl IntoIterator<Item = &'f Found>) -> Arc<dyn ObjectStore> {
        Arc::new(AsFound::new(&self.objects, files.into_iter().map(|file| &file.meta)))
    }

    pub(super) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Those that are a table's, in the order of their names.
    pub(super) async fn list(&self, table: &TableName, pattern: &Pattern) -> Result<Vec<Found>> {
        let real = self.real().await?;
        let (mut files, mut listed) = (vec![], 0usize);
        let listed_max = self.files_max.saturating_mul(LISTED_PER_FILE);
        let mut listing = self.objects.list(Some(&self.below(&pattern.prefix())?));
        while let Some(meta) = listing.try_next().await.map_err(|error| self.unlisted(table, error))? {
            listed += 1;
            if listed > listed_max {
                let text =
                    format!("source \"{}\": more than {listed_max} files lie where table {table} looks", self.source);
                let hint = "Begin `files` of the table with a folder of its own, or raise `files_max` of the source.";
                return Err(Error::new(Kind::TooLarge, text).with_hint(hint));
            }
            let parts: Option<Vec<String>> = meta
                .location
                .prefix_match(&self.root)
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
            let parts = parts.unwrap_or_default();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            if meta.size == 0 || parts.iter().any(|part| is_hidden(part)) || !pattern.fits(&parts) {
                continue;
            }
            if meta.e_tag.is_none() {
                let source = &self.source;
                self.untagged.call_once(|| {
                    tracing::warn!(
                        source,
                        "the store lists no tags: files that change are known by size and time alone"
                    );
                });
            }
            let name = parts.join("/");
            let id = id(&name, &meta);
            files.push(Found { name, meta, id });
            if files.len() > self.files_max {
                let text = format!("source \"{}\": a table has more than {} files", self.source, self.files_max);
                let hint = "Narrow `files` of the table, or raise `files_max` of the source.";
                return Err(Error::new(Kind::TooLarge, text).with_hint(hint));
            }
        }
        if let Some(real) = real {
            files = self.all_inside(table, real, files).await?;
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// On this machine the folder itself, links followed.
    async fn real(&self) -> Result<Option<PathBuf>> {
        let Some(path) = self.local.clone() else { return Ok(None) };
        let look = move || {
            let real = path.canonicalize()?;
            // Also whether it may be read: below it that is a table's fault, and here everybody's.
            std::fs::read_dir(&real).map(|_| real)
        };
        let real = tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        real.map(Some).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "The folder that `path` of the source's file names is not there.",
                ErrorKind::PermissionDenied => {
                    "The server may not read the folder that `path` of the source's file names."
                }
                ErrorKind::NotADirectory => "What `path` of the source's file names is no folder.",
                _ => "What the folder says when it is read stands in the server's log.",
            };
            self.down(error).with_hint(hint)
        })
    }

    /// As a listing spells it: what may stand in a name stands there as it is.
    fn below(&self, parts: &[String]) -> Result<Path> {
        let path = std::iter::once(self.root.as_ref()).chain(parts.iter().map(String::as_str)).collect::<Vec<_>>();
        Path::parse(path.join("/")).map_err(|error| {
            Error::new(Kind::Config, "`files` of a table names a folder that there cannot be").with_source(error)
        })
    }

    /// The same files, of which none lies elsewhere by a link.
    async fn all_inside(&self, table: &TableName, real: PathBuf, files: Vec<Found>) -> Result<Vec<Found>> {
        let look = move || {
            let mut inside = Inside { real, known: HashMap::new(), files: LocalFileSystem::new() };
            let outside = files.iter().find(|file| !inside.has(&file.meta.location)).map(|file| file.name.clone());
            (files, outside)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let (files, outside) = looked.map_err(|error| Error::internal("a look at links").with_source(error))?;
        let Some(name) = outside else { return Ok(files) };
        let what = format_args!("leads out of the folder of source \"{}\"", self.source).to_string();
        let hint =
            "The server's log names it: remove the link, or name the folder that it leads to as a source of its own.";
        Err(of_table(table, Kind::SourceFailed, what, &name, None).with_hint(hint))
    }

    /// The folder itself is there: on this machine that was seen, and in S3 its names came.
    fn unlisted(&self, table: &TableName, error: object_store::Error) -> Error {
        if !self.is_local() && !matches!(error, object_store::Error::InvalidPath { .. }) {
            return self.unreachable(error);
        }
        let text = format!("the folder of table {table} cannot be listed");
        let hint = "A link leads back to a folder above it, a folder may not be read, or a name has an empty part: the server's \
                    log says which. Begin `files` with a folder that has no such thing.";
        Error::new(Kind::SourceFailed, text).with_hint(hint).with_source(error)
    }

    fn unreachable(&self, error: object_store::Error) -> Error {
        let hint = "Look at the bucket in `path` and at the keys in [s3] of the source's file: what the store answered stands \
                    in the server's log.";
        self.down(error).with_hint(hint)
    }

    fn down(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::SourceUnreachable, format!("source \"{}\" cannot be reached", self.source)).with_source(why)
    }

    /// What a store said of a file that was found.
    pub(super) fn lost(&self, table: &TableName, name: &str, error: object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => gone(table, name, error),
            error if self.is_local() || matches!(error, object_store::Error::PermissionDenied { .. }) => {
                of_table(table, Kind::SourceFailed, "cannot be read", name, Some(error.into()))
                    .with_hint("Which one, and why, stands in the server's log.")
            }
            error => self.unreachable(error),
        }
    }
}

/// What writers leave beside their files, as Spark's and Hive's readers see it.
fn is_hidden(part: &str) -> bool {
    part.starts_with('.') || (part.starts_with('_') && !part.contains('='))
}

fn id(name: &str, meta: &ObjectMeta) -> u128 {
    let changed = meta.last_modified.timestamp_nanos_opt().unwrap_or_default();
    let tag = meta.e_tag.as_deref().unwrap_or_default();
    xxh3_128(format!("{name}\0{}\0{changed}\0{tag}", meta.size).as_bytes())
}

/// Of all files, in their order, under a table's declaration.
pub(super) fn digest(files: &[Found], declaration: &str) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(declaration.as_bytes());
    for file in files {
        hash.update(&file.id.to_le_bytes());
    }
    hash.digest128()
}

/// What lies in a folder of this machine, links followed.
struct Inside {
    real: PathBuf,
    /// By directory.
    known: HashMap<PathBuf, bool>,
    files: LocalFileSystem,
}

impl Inside {
    fn has(&mut self, location: &Path) -> bool {
        let Ok(path) = self.files.path_to_filesystem(location) else { return false };
        let is_link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        match path.parent() {
            Some(directory) if !is_link => {
                let is_inside =
                    |directory: &FilePath| directory.canonicalize().is_ok_and(|d| d.starts_with(&self.real));
                if let Some(known) = self.known.get(directory) {
                    return *known;
                }
                let found = is_inside(directory);
                self.known.insert(directory.to_path_buf(), found);
                found
            }
            _ => path.canonicalize().is_ok_and(|path| path.starts_with(&self.real)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_folders_are_spelt_as_hive_spells_them() {
        for (value, expect) in [
            ("2024", Some("2024")),
            ("a%2Fb%20c", Some("a/b c")),
            ("100%", Some("100%")),
            ("%zz", Some("%zz")),
            ("%C3%A9", Some("é")),
            ("%FF", Some("%FF")),
            ("", Some("")),
            ("__HIVE_DEFAULT_PARTITION__", None),
        ] {
            assert_eq!(plain(value).as_deref(), expect, "{value}");
        }
    }

    #[test]
    fn what_writers_leave_is_hidden() {
        for (part, expect) in [("_SUCCESS", true), (".crc", true), ("_year=1", false), ("a_b", false)] {
            assert_eq!(is_hidden(part), expect, "{part}");
        }
    }
}
