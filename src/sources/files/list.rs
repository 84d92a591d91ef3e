//! A folder, on this machine or in S3, and the files of it that a statement sees: found anew by each statement, and read as
//! they were found. A link that leads out of the folder is refused. It opens no file.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::as_found::AsFound;
use super::glob::Pattern;
use crate::error::{Error, Kind, Result};
use crate::lake::{S3Config, Store};

/// What a source's `path` names.
#[derive(Debug)]
pub(super) struct Folder {
    source: String,
    root: Path,
    /// On this machine.
    local: Option<PathBuf>,
    files_max: usize,
    objects: Arc<dyn ObjectStore>,
}

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
        Ok(Self { source: source.into(), root, local, files_max, objects: Arc::clone(store.objects()) })
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
    pub(super) async fn list(&self, pattern: &Pattern) -> Result<Vec<Found>> {
        let inside = match &self.local {
            None => None,
            Some(path) => {
                let path = path.clone();
                let real = tokio::task::spawn_blocking(move || path.canonicalize().ok().filter(|real| real.is_dir()));
                let real = real.await.ok().flatten().ok_or_else(|| self.unreachable("the folder is not there"))?;
                Some(Inside { real, known: HashMap::new(), files: LocalFileSystem::new() })
            }
        };
        let prefix = pattern.prefix().iter().fold(self.root.clone(), |path, part| path.join(part.as_str()));
        let (mut inside, mut files) = (inside, vec![]);
        let mut listing = self.objects.list(Some(&prefix));
        while let Some(meta) = listing.try_next().await.map_err(|error| self.unreachable(error))? {
            let parts: Option<Vec<String>> = meta
                .location
                .prefix_match(&self.root)
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
            let parts = parts.unwrap_or_default();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name = parts.join("/");
            // Also of files that are not the table's: a link that leads out may lead to the whole disk.
            if let Some(inside) = &mut inside
                && !inside.has(&meta.location)
            {
                let text = format!("source \"{}\": \"{name}\" leads out of the source's folder", self.source);
                let hint = "Remove the link, or name the folder that it leads to as a source of its own.";
                return Err(Error::new(Kind::SourceFailed, text).with_hint(hint));
            }
            if meta.size == 0 || parts.iter().any(|part| is_hidden(part)) || !pattern.fits(&parts) {
                continue;
            }
            let id = id(&name, &meta);
            files.push(Found { name, meta, id });
            if files.len() > self.files_max {
                let text = format!("source \"{}\": a table has more than {} files", self.source, self.files_max);
                let hint = "Narrow `files` of the table, or raise `files_max` of the source.";
                return Err(Error::new(Kind::TooLarge, text).with_hint(hint));
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    pub(super) fn unreachable(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::SourceUnreachable, format!("source \"{}\" cannot be reached", self.source)).with_source(why)
    }

    /// What a store said of a file that was found.
    pub(super) fn lost(&self, name: &str, error: object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => gone(name, error),
            _ => self.unreachable(error),
        }
    }
}

/// The statement would mix two states of the file.
pub(super) fn gone(name: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let text = format!("file \"{name}\" was changed or removed while it was read");
    Error::new(Kind::DataGone, text).with_source(error).with_hint("Run the statement again.")
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
