//! policies/* → Draft, with file:line:column in every fault. Reads nothing but those three files.

use std::path::Path;

/// What the files say, before names are bound.
#[derive(Debug, Clone)]
pub struct Draft {}

/// One mistake, where it stands and what was expected: `policies/policy.csv:17:34: effect `Deny` is not …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub text: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

impl Draft {
    /// Reads and parses all three files of `folder`; every fault of every file. Warnings come with the draft.
    pub fn read(folder: &Path) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let _ = folder;
        todo!()
    }

    /// Of the raw bytes of the three files.
    pub fn hash(&self) -> u64 {
        todo!()
    }
}
