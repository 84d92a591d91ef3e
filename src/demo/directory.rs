//! The demo's directory: made anew at each start, and never somebody else's. It knows who may be swept away by a marker
//! file that the demo itself put there.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{failed, postgres};
use crate::error::{Error, Kind, Result};

const MARKER: &str = ".lakegate-demo";
const MARKER_TEXT: &str = "`lakegate demo` made this directory and empties it at its next start.\n";

/// So long a killed demo's guardian may still be cleaning up.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// Held while the demo runs; a temporary one is removed at the end.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    temporary: bool,
    /// Locked: two demos do not share a directory.
    marker: File,
}

impl Directory {
    /// Empty but for the marker.
    pub(super) fn prepare(wanted: Option<&Path>) -> Result<Self> {
        let temporary = || std::env::temp_dir().join(format!("lakegate-demo-{}", uuid::Uuid::new_v4().simple()));
        let path = wanted.map_or_else(temporary, Path::to_path_buf);
        let unusable = failed(path.display().to_string());
        if !path.exists() {
            // Others may pass through, to nothing that is theirs to read: PostgreSQL runs as another user.
            DirBuilder::new().recursive(true).mode(0o711).create(&path).map_err(&unusable)?;
        }
        let path = path.canonicalize().map_err(&unusable)?;
        let marker = claim(&path)?;
        for entry in fs::read_dir(&path).map_err(&unusable)? {
            let entry = entry.map_err(&unusable)?;
            if entry.file_name() != MARKER {
                remove(&entry.path())?;
            }
        }
        Ok(Self { path, temporary: wanted.is_none(), marker })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The same lock for another process.
    pub(super) fn lock(&self) -> Result<File> {
        self.marker.try_clone().map_err(failed(self.path.display()))
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Writes a file that only its owner reads, with its directories.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let unusable = failed(path.display().to_string());
        self.directory(Path::new(name).parent().unwrap_or(Path::new("")))?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(unusable)?;
        Ok(path)
    }

    pub(super) fn directory(&self, name: &Path) -> Result<PathBuf> {
        let path = self.path.join(name);
        if path != self.path {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed(path.display()))?;
        }
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The locked marker; an error where `path` is not empty and not ours, or where another demo runs in it.
fn claim(path: &Path) -> Result<File> {
    let name = path.join(MARKER);
    let unusable = failed(path.display().to_string());
    let is_empty = fs::read_dir(path).map_err(&unusable)?.next().is_none();
    if !is_empty && !name.is_file() {
        let text =
            format!("--data-dir {}: not empty, and not made by `lakegate demo`; name a new directory", path.display());
        return Err(Error::new(Kind::Config, text));
    }
    let options = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut marker = options.map_err(&unusable)?;
    let begin = Instant::now();
    while begin.elapsed() < LOCK_WAIT && matches!(marker.try_lock(), Err(TryLockError::WouldBlock)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    match marker.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let text = format!("--data-dir {}: another demo is running in it", path.display());
            return Err(Error::new(Kind::Config, text));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    marker.write_all(MARKER_TEXT.as_bytes()).map_err(&unusable)?;
    Ok(marker)
}

fn remove(path: &Path) -> Result<()> {
    postgres::stop_leftover(path);
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(failed(path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_with_somebodys_files_is_refused_and_untouched() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
        let error = Directory::prepare(Some(home.path())).unwrap_err();
        assert!(error.message().contains("--data-dir") && error.message().contains("not empty"), "{error}");
        assert_eq!(fs::read_to_string(home.path().join("thesis.txt")).unwrap(), "years of work");
    }

    #[test]
    fn its_own_directory_is_emptied_at_the_next_start() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new/place");
        let first = Directory::prepare(Some(&path)).unwrap();
        first.write("policies/policy.csv", "x").unwrap();
        drop(first);
        assert!(path.join("policies/policy.csv").exists(), "a named directory stays");
        let second = Directory::prepare(Some(&path)).unwrap();
        assert!(!path.join("policies").exists());
        assert_eq!(second.path(), path.canonicalize().unwrap());
    }

    #[test]
    fn two_demos_do_not_share_a_directory() {
        let home = tempfile::tempdir().unwrap();
        let _first = Directory::prepare(Some(home.path())).unwrap();
        let error = Directory::prepare(Some(home.path())).unwrap_err();
        assert!(error.message().contains("another demo"), "{error}");
    }

    #[test]
    fn a_temporary_directory_is_gone_afterwards() {
        let directory = Directory::prepare(None).unwrap();
        let path = directory.path().to_path_buf();
        assert!(path.exists());
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn files_are_their_owners_alone() {
        let directory = Directory::prepare(None).unwrap();
        let file = directory.write("policies/users.toml", "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }
}
