//! policies/* → Draft, with file:line:column in every fault. Reads nothing but those three files, and binds no name.

mod csv;
pub(in crate::policy) mod lines;
mod model;
pub(in crate::policy) mod object;
pub(in crate::policy) mod users;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use lines::Lines;
use users::Users;

pub use crate::document::Fault;
pub(in crate::policy) use csv::Field;
#[cfg(test)]
pub(in crate::policy) use model::MODEL;
pub(in crate::policy) use model::Model;

/// What the files say, before names are bound.
#[derive(Debug, Clone)]
pub struct Draft {
    hash: u64,
    pub(in crate::policy) model: Model,
    /// As shown in faults: the folder as it was given, and the name.
    pub(in crate::policy) policy_file: String,
    pub(in crate::policy) lines: Lines,
    pub(in crate::policy) users: Users,
}

impl Draft {
    /// Reads and parses all three files of `folder`; every fault of every file. Warnings come with the draft.
    ///
    /// Blocks for up to a second where the files change while they are read.
    pub fn read(folder: &Path) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let mut files = Files::read(folder);
        for _ in 0..READS_MAX {
            let again = Files::read(folder);
            if again.hash() == files.hash() {
                return files.parse();
            }
            files = again;
            std::thread::sleep(READ_PAUSE);
        }
        let file = folder.display().to_string();
        Err(vec![Fault { file, line: 1, column: 1, text: "the files keep changing while they are read".into() }])
    }

    /// The same from texts instead of files, under the built-in model: for tests, benches and tools.
    pub fn parse(policy: &str, users: &str) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let file = |name: &str, text: &str| Ok(SourceFile { name: name.into(), bytes: text.into() });
        Files([file(MODEL_FILE, model::MODEL), file(POLICY_FILE, policy), file(USERS_FILE, users)]).parse()
    }

    /// Of the raw bytes of the three files.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// policy.csv, as faults show it.
    pub fn file(&self) -> &str {
        &self.policy_file
    }

    /// A name for every line of policy.csv, and for what it is about, the same wherever it stands; another where the declared
    /// attributes, which lines may speak of, are others.
    pub fn prints(&self) -> HashSet<u64> {
        let attributes = self.attributes_print();
        self.lines.prints.values().chain(self.lines.abouts.values()).map(|print| print ^ attributes).collect()
    }

    /// Of one line of the file; `None` where nothing stands there.
    pub(in crate::policy) fn print(&self, line: u32) -> Option<u64> {
        self.lines.prints.get(&line).map(|print| print ^ self.attributes_print())
    }

    /// Of what one line is about.
    pub(in crate::policy) fn about(&self, line: u32) -> Option<u64> {
        self.lines.abouts.get(&line).map(|print| print ^ self.attributes_print())
    }

    fn attributes_print(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.users.attributes).as_bytes())
    }
}

const READS_MAX: usize = 50;
const READ_PAUSE: Duration = Duration::from_millis(20);
const FILE_BYTES_MAX: u64 = 16 << 20;

const MODEL_FILE: &str = "model.conf";
pub(in crate::policy) const POLICY_FILE: &str = "policy.csv";
pub(in crate::policy) const USERS_FILE: &str = "users.toml";

/// The three files as they were at one moment, or why one could not be read.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Files([Result<SourceFile, Fault>; 3]);

/// A file's bytes and the name that faults show.
#[derive(Debug, Clone)]
pub(in crate::policy) struct SourceFile {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Files {
    pub(in crate::policy) fn read(folder: &Path) -> Self {
        Self([MODEL_FILE, POLICY_FILE, USERS_FILE].map(|name| load(folder, name)))
    }

    /// Of the raw bytes; a file that cannot be read counts with its reason.
    pub(in crate::policy) fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for file in &self.0 {
            let (tag, bytes) = match file {
                Ok(file) => (b'+', file.bytes.as_slice()),
                Err(fault) => (b'-', fault.text.as_bytes()),
            };
            hasher.update(&[tag]);
            hasher.update(&bytes.len().to_le_bytes());
            hasher.update(bytes);
        }
        hasher.digest()
    }

    /// These, with what `good` says in place of each file in which `faults` were found: what the others say may still hold.
    /// `None` where that is what `good` is, or it does not fit together.
    pub(in crate::policy) fn saved(&self, faults: &[Fault], good: &Self) -> Option<Draft> {
        let is_faulty = |file: &Result<SourceFile, Fault>| match file {
            Ok(file) => faults.iter().any(|fault| fault.file == file.name),
            Err(_) => true,
        };
        let mut saved = self.clone();
        for (file, good) in saved.0.iter_mut().zip(&good.0).filter(|(file, _)| is_faulty(file)) {
            *file = good.clone();
        }
        if saved.hash() == good.hash() {
            return None;
        }
        saved.parse().ok().map(|(draft, _)| draft)
    }

    pub(in crate::policy) fn parse(self) -> Result<(Draft, Vec<Fault>), Vec<Fault>> {
        let (mut faults, mut warnings) = (Faults::default(), Faults::default());
        let hash = self.hash();
        let [model, policy, users] = self.0.map(|file| file.map_err(|fault| faults.add(fault)).ok());
        let model = model.map(|source| model::read(&source, &mut faults));
        let lines = policy.as_ref().map(|source| {
            let records = csv::records(source, &mut faults);
            if records.is_empty() {
                warnings.push(&source.name, 1, 1, "no lines: nobody sees anything".into());
            }
            lines::read(&source.name, records, &mut faults, &mut warnings)
        });
        let read = users.as_ref().map(|source| users::read(source, &mut faults, &mut warnings));
        match (model, policy, lines, read) {
            (Some(model), Some(policy), Some(lines), Some(users)) if faults.is_empty() => {
                let draft = Draft { hash, model, policy_file: policy.name, lines, users };
                Ok((draft, warnings.sorted()))
            }
            _ => Err(faults.sorted()),
        }
    }
}

fn load(folder: &Path, name: &str) -> Result<SourceFile, Fault> {
    let path = folder.join(name);
    let shown = path.display().to_string();
    let fault = |text: String| Fault { file: shown.clone(), line: 1, column: 1, text };
    let failed = |what: &str, error: std::io::Error| fault(format!("cannot {what} this file: {error}"));

    let real = fs::canonicalize(&path).map_err(|e| failed("find", e))?;
    let home = fs::canonicalize(folder).map_err(|e| failed("find", e))?;
    if !real.starts_with(&home) {
        return Err(fault("this is a link out of the folder; put the file itself here".into()));
    }
    // judged before it is opened: opening a pipe would wait for its writer
    if !fs::metadata(&real).map_err(|e| failed("read", e))?.is_file() {
        return Err(fault("this is not a regular file".into()));
    }
    let file = File::open(&real).map_err(|e| failed("open", e))?;
    let metadata = file.metadata().map_err(|e| failed("read", e))?;
    if let Some(what) = too_open(name, metadata.mode()) {
        return Err(fault(format!("{what}; run: chmod 600 {shown}")));
    }
    let mut bytes = vec![];
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| failed("read", e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fault("this file is larger than 16 MiB".into()));
    }
    Ok(SourceFile { name: shown, bytes })
}

/// Whoever can write a policy file can read everything; users.toml holds verifiers, which a stranger could try
/// passwords against.
fn too_open(name: &str, mode: u32) -> Option<&'static str> {
    match mode {
        m if m & 0o002 != 0 => Some("anybody may write this file"),
        m if m & 0o020 != 0 => Some("its group may write this file"),
        m if m & 0o004 != 0 && name == USERS_FILE => Some("anybody may read this file, which holds password verifiers"),
        _ => None,
    }
}

/// Collects faults; a file that is wrong throughout must not fill the memory.
#[derive(Debug, Default)]
pub(in crate::policy) struct Faults {
    found: Vec<Fault>,
    more: usize,
}

const FAULTS_MAX: usize = 1000;

impl Faults {
    pub(in crate::policy) fn push(&mut self, file: &str, line: u32, column: u32, text: String) {
        self.add(Fault { file: file.to_owned(), line, column, text });
    }

    pub(in crate::policy) fn add(&mut self, fault: Fault) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// By file and place; each once.
    pub(in crate::policy) fn sorted(mut self) -> Vec<Fault> {
        self.found.sort();
        self.found.dedup();
        if let (Some(last), more @ 1..) = (self.found.last().cloned(), self.more) {
            self.found.push(Fault { text: format!("and {more} more"), ..last });
        }
        self.found
    }
}

/// `; did you mean `deny`?`, or nothing where no word is near.
pub(in crate::policy) fn did_you_mean(word: &str, valid: &[&str]) -> String {
    match nearest(word, valid.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}

/// The valid word a typing mistake was meant for: a third of its letters may be wrong, capitals count nothing.
pub(in crate::policy) fn nearest<'a>(word: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let far = (lower.chars().count() / 3).max(1);
    let near = valid.map(|v| (strsim::damerau_levenshtein(&lower, &v.to_lowercase()), v));
    near.filter(|(distance, v)| *distance <= far && *distance < v.chars().count()).min().map(|(_, v)| v)
}

/// `U+00A0`
fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}
