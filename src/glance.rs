//! A cheap look at a folder: whether the files in it can be other ones than when they were read. It asks the system for
//! their stamps and opens nothing; what the files say is their reader's affair.
//!
//! A stamp is what `stat` tells of a file and of the link that leads to it: device, inode, size, mode, and the times of its
//! content and of itself, the latter out of anybody's hands. Clocks of file systems are coarse, so a file that changed
//! just before it was read may change again under the same stamp (git calls that a racy one): as long as a change is
//! young, the answer is yes. And where stamps cannot be trusted at all, a network's or an emulated file system, every
//! change is found a while later, because even the best of answers is not believed for longer than that.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Older changes cannot share their stamp with a new one: FAT's clock has steps of two seconds.
const YOUNG: Duration = Duration::from_secs(3);
/// Stamps are believed for this long.
const BELIEVED: Duration = Duration::from_secs(10);
/// Folders of folders; what lies deeper is not looked at.
const DEPTH: usize = 2;
/// Of a folder with more entries nothing is believed.
const ENTRIES_MAX: usize = 10_000;

/// What was seen. Taken before the files are read: what changes while they are is found at the next look.
#[derive(Debug)]
pub struct Glance {
    seen: Vec<(PathBuf, Seen)>,
    taken: Instant,
    /// Every change in it is old.
    settled: bool,
}

/// The entry, and what it leads to; `None` where there is nothing.
type Seen = [Option<Stamp>; 2];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Glance {
    /// Of `folder`, its entries, and theirs.
    pub fn of(folder: &Path) -> Self {
        let mut seen = Vec::new();
        let whole = walk(folder, DEPTH, &mut seen);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled_before = now.saturating_sub(YOUNG).as_secs();
        let is_old =
            |(_, stamps): &(PathBuf, Seen)| stamps.iter().flatten().all(|stamp| stamp.is_before(settled_before));
        let settled = whole && seen.iter().all(is_old);
        Self { seen, taken: Instant::now(), settled }
    }

    /// `false` does not mean that something is new, only that it may be.
    pub fn still_holds(&self) -> bool {
        self.settled && self.taken.elapsed() < BELIEVED && self.seen.iter().all(|(path, stamps)| look(path) == *stamps)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_before(&self, second: u64) -> bool {
        [self.modified.0, self.changed.0].into_iter().all(|time| u64::try_from(time).unwrap_or(0) < second)
    }
}

fn look(path: &Path) -> Seen {
    let entry = fs::symlink_metadata(path).ok();
    let target = match &entry {
        Some(entry) if entry.is_symlink() => fs::metadata(path).ok().as_ref().map(Stamp::of),
        _ => None,
    };
    [entry.as_ref().map(Stamp::of), target]
}

/// `false` where there was too much of it. A folder is stamped before it is listed.
fn walk(path: &Path, depth: usize, seen: &mut Vec<(PathBuf, Seen)>) -> bool {
    seen.push((path.to_path_buf(), look(path)));
    if depth == 0 {
        return true;
    }
    let Ok(entries) = fs::read_dir(path) else { return true };
    for entry in entries.flatten() {
        if seen.len() > ENTRIES_MAX || !walk(&entry.path(), depth - 1, seen) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use super::*;

    /// As if what is there had been there for an hour. The time of the file itself cannot be set, so it is set aside.
    fn aged(folder: &Path) -> Glance {
        Glance { settled: true, ..Glance::of(folder) }
    }

    #[test]
    fn every_kind_of_change_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("sources")).unwrap();
        for name in ["policy.csv", "sources/a.toml", "other"] {
            fs::write(at(name), "one").unwrap();
        }
        std::os::unix::fs::symlink("policy.csv", at("link")).unwrap();
        let changes: [(&str, &dyn Fn()); 9] = [
            ("content", &|| fs::write(at("policy.csv"), "two").unwrap()),
            ("content below", &|| fs::write(at("sources/a.toml"), "two").unwrap()),
            ("a new file", &|| fs::write(at("new"), "").unwrap()),
            ("a new file below", &|| fs::write(at("sources/b.toml"), "").unwrap()),
            ("removal", &|| fs::remove_file(at("sources/b.toml")).unwrap()),
            ("replacement", &|| fs::rename(at("new"), at("policy.csv")).unwrap()),
            ("mode", &|| {
                fs::set_permissions(at("other"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap()
            }),
            ("what a link leads to", &|| fs::write(at("policy.csv"), "three").unwrap()),
            ("the link itself", &|| {
                fs::remove_file(at("link")).unwrap();
                std::os::unix::fs::symlink("other", at("link")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let before = aged(home.path());
            assert!(before.still_holds(), "nothing happened before: {what}");
            change();
            // Within one step of the clock only `settled` helps; past it the stamp does.
            wait_for_another_stamp(home.path());
            assert!(!before.still_holds(), "{what}");
        }
    }

    /// Until a file written now has another time than one written at the call.
    fn wait_for_another_stamp(home: &Path) {
        let probe = tempfile::NamedTempFile::new_in(home.parent().unwrap()).unwrap();
        let stamp = || {
            fs::write(probe.path(), "x").unwrap();
            fs::metadata(probe.path()).unwrap().ctime_nsec()
        };
        let first = stamp();
        while stamp() == first {}
    }

    #[test]
    fn a_time_that_was_set_back_hides_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("policy.csv");
        fs::write(&path, "allow").unwrap();
        let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3_600));
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let before = aged(home.path());
        wait_for_another_stamp(home.path());
        fs::write(&path, "deny!").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert!(!before.still_holds());
    }

    #[test]
    fn young_changes_and_old_looks_are_not_believed() {
        let home = tempfile::tempdir().unwrap();
        assert!(!Glance::of(home.path()).still_holds(), "it was made just now");
        let old = aged(home.path());
        let Some(taken) = old.taken.checked_sub(BELIEVED) else { return };
        assert!(!Glance { taken, ..old }.still_holds());
    }
}
