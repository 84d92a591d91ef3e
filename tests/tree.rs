//! The repository's files, for tests about the repository itself. It judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file by its path from the repository's root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends in `ending`, in order. What is not text is left out.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<File> {
    let mut paths = Vec::new();
    collect(&root().join(folder), &mut paths);
    paths.sort();
    let found: Vec<File> =
        paths.iter().filter(|p| p.to_string_lossy().ends_with(ending)).filter_map(|p| read(p)).collect();
    assert!(!found.is_empty(), "no file `{folder}/**{ending}`: has it moved?");
    found
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name == ".git" || name == "__pycache__" => {}
            true => collect(&path, paths),
            false => paths.push(path),
        }
    }
}

fn read(path: &Path) -> Option<File> {
    let text = String::from_utf8(fs::read(path).unwrap()).ok()?;
    Some(File { path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text })
}
