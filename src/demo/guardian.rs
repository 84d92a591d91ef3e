//! What the demo leaves behind if it is killed: nothing. A second process of this binary holds the other end of a pipe and
//! is told what there is; the pipe's end, however it came about, is its sign to stop PostgreSQL and remove directories.
//! Where the demo ended in order, there is nothing left for it to do.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::{failed, postgres};
use crate::error::Result;

/// The argument that makes this binary the guardian.
pub const ARGUMENT: &str = "demo-guardian";

/// What is to be done about a directory at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ward {
    /// Processes that work in it are stopped, then it is removed.
    Postgres,
    Directory,
}

impl Ward {
    const ALL: [(Self, u8); 2] = [(Self::Postgres, b'p'), (Self::Directory, b'd')];
}

/// The demo's end of the pipe; dropping it waits for the guardian.
#[derive(Debug)]
pub(super) struct Guardian {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// `lock` is held for as long as either of us lives: nobody moves in before the guardian is through.
    pub(super) fn start(lock: File) -> Result<Self> {
        let unusable = failed("the process that would clean up after a killed demo");
        let binary = std::env::current_exe().map_err(&unusable)?;
        let mut command = Command::new(binary);
        // In a group of its own: what is sent to the demo's is not meant for it.
        command.arg(ARGUMENT).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::from(lock)).stderr(Stdio::null());
        let mut process = command.spawn().map_err(unusable)?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }

    /// Before anything is in `directory`, an absolute path.
    pub(super) fn watch(&mut self, ward: Ward, directory: &Path) -> Result<()> {
        let mut line: Vec<u8> = Ward::ALL.iter().filter(|(of, _)| *of == ward).map(|(_, letter)| *letter).collect();
        line.extend_from_slice(directory.as_os_str().as_bytes());
        line.push(0);
        let written = self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(&line));
        written.map_err(failed("the process that would clean up after a killed demo"))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// The guardian's life: until its standard input ends, then it puts away what it was told of, the last first.
pub fn guard() {
    let mut wards = Vec::new();
    for told in io::stdin().lock().split(0) {
        let Ok(told) = told else { break };
        if let Some((letter, path)) = told.split_first()
            && let Some((ward, _)) = Ward::ALL.iter().find(|(_, of)| of == letter)
        {
            wards.push((*ward, PathBuf::from(OsString::from_vec(path.to_vec()))));
        }
    }
    for (ward, directory) in wards.into_iter().rev().filter(|(_, directory)| directory.exists()) {
        if ward == Ward::Postgres {
            postgres::end(&directory);
        }
        let _ = fs::remove_dir_all(&directory);
    }
}
