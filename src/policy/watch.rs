//! File change → Draft, or faults that name file:line:column. Swaps nothing itself; `engine/world.rs` does.
//!
//! The content is what is watched, by its hash: links that are swapped under a mounted folder, editors that write a new
//! file, clocks that stand still are all the same to it. Files are read when a [`Glance`] says that they may have changed.
//! A content counts once two looks in a row found it, so that a file caught half-written is not taken for what its writer
//! meant.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::file::{Draft, Fault, Files};
use crate::glance::Glance;
use crate::shutdown::Shutdown;

/// How often the folder is looked at where nobody says otherwise.
pub const INTERVAL: Duration = Duration::from_millis(300);

/// What was found new is looked at a second time after this part of the interval.
const AGAIN: u32 = 4;

/// What the folder says now.
#[derive(Debug, Clone)]
pub enum News {
    /// It reads well; the faults are warnings.
    Draft(Box<Draft>, Vec<Fault>),
    /// Something is wrong; what was in force stays.
    Faults(Vec<Fault>),
}

/// Looks at `folder` every `interval` until shutdown. `seen` is the hash of the draft already in use: the first news
/// differs from it. Only the latest news is kept; whoever is slow misses what was in between.
pub fn watch(
    folder: PathBuf,
    interval: Duration,
    seen: u64,
    shutdown: &Shutdown,
) -> watch::Receiver<Option<Arc<News>>> {
    let (tell, news) = watch::channel(None);
    let token = shutdown.token().clone();
    shutdown.spawn("policy watch", async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut steady = Steady { told: seen, last: seen };
        let mut glance: Option<Glance> = None;
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tell.closed() => return,
                _ = ticks.tick() => {}
                () = tokio::time::sleep(interval / AGAIN), if !steady.is_told() => {}
            }
            let (folder, believed) = (folder.clone(), glance.take().filter(|_| steady.is_told()));
            let read = tokio::task::spawn_blocking(move || match believed {
                Some(glance) if glance.still_holds() => (glance, None),
                _ => (Glance::of(&folder), Some(Files::read(&folder))),
            });
            // the reader panicked: nothing was learnt, the next look tries again
            let Ok((taken, read)) = read.await else { continue };
            glance = Some(taken);
            let Some(files) = read else { continue };
            let hash = files.hash();
            if steady.settled(hash) {
                let news = match files.parse() {
                    Ok((draft, warnings)) => News::Draft(Box::new(draft), warnings),
                    Err(faults) => News::Faults(faults),
                };
                tell.send_replace(Some(Arc::new(news)));
            }
        }
    });
    news
}

/// Which content has been told, and which was found last.
struct Steady {
    told: u64,
    last: u64,
}

impl Steady {
    /// What was found last needs no second look.
    fn is_told(&self) -> bool {
        self.told == self.last
    }

    /// A content that is new and was found twice in a row.
    fn settled(&mut self, hash: u64) -> bool {
        let twice = self.last == hash;
        self.last = hash;
        if !twice || self.told == hash {
            return false;
        }
        self.told = hash;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::policy::file::MODEL;
    use crate::policy::fixture::{USERS, lines};

    #[test]
    fn only_what_is_found_twice_counts() {
        let mut steady = Steady { told: 1, last: 1 };
        let looks = [1, 2, 3, 3, 3, 1, 2, 2, 1, 1];
        let told: Vec<bool> = looks.iter().map(|hash| steady.settled(*hash)).collect();
        assert_eq!(told, [false, false, false, true, false, false, false, true, false, true]);
    }

    fn put(folder: &Path, name: &str, text: &str) {
        // whole at once: the watcher looks every few milliseconds and would tell of the file half-written
        let beside = folder.join("beside");
        fs::write(&beside, text).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&beside, folder.join(name)).unwrap();
    }

    async fn next(news: &mut watch::Receiver<Option<Arc<News>>>) -> String {
        let wait = tokio::time::timeout(Duration::from_secs(30), news.changed());
        wait.await.unwrap().unwrap();
        match news.borrow_and_update().as_deref() {
            Some(News::Draft(draft, _)) => format!("{} lines", draft.lines.permits.len()),
            Some(News::Faults(faults)) => lines(faults),
            None => "nothing".into(),
        }
    }

    #[tokio::test]
    async fn every_change_is_told_a_deleted_file_as_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        put(at, "model.conf", MODEL);
        put(at, "policy.csv", "p, alice, sales.orders, select, allow\n");
        put(at, "users.toml", USERS);
        let (draft, _) = Draft::read(at).unwrap();
        let shutdown = Shutdown::new();
        let mut news = watch(at.to_owned(), Duration::from_millis(5), draft.hash(), &shutdown);

        put(at, "policy.csv", "p, alice, sales.orders, select, allow\np, alice, sales.products, select, allow\n");
        assert_eq!(next(&mut news).await, "2 lines");
        put(at, "policy.csv", "p, alice, sales.orders, select, Deny\n");
        let fault = next(&mut news).await;
        assert!(
            fault.ends_with("policy.csv:1:33: effect `Deny` is not `allow` or `deny`; did you mean `deny`?"),
            "{fault}"
        );
        fs::remove_file(at.join("policy.csv")).unwrap();
        let fault = next(&mut news).await;
        assert!(fault.contains("policy.csv:1:1: cannot find this file"), "{fault}");
        put(at, "policy.csv", "p, alice, sales.orders, select, allow\n");
        assert_eq!(next(&mut news).await, "1 lines", "back to what was in force is news too");
        // a mounted folder is swapped by its links
        put(at, "other.csv", "");
        fs::remove_file(at.join("policy.csv")).unwrap();
        std::os::unix::fs::symlink("other.csv", at.join("policy.csv")).unwrap();
        assert_eq!(next(&mut news).await, "0 lines");

        assert!(shutdown.finish(Duration::from_secs(30)).await);
        assert!(news.changed().await.is_err(), "the watcher is gone");
    }
}
