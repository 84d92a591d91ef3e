//! The columns that restricted tables had when they became restricted, as the metastore keeps them: one value a table,
//! written once by whoever first sees the table restricted, raised by `lakegate policy accept-columns`, never taken away.
//! A table that is restricted no more and later again keeps its baseline: a policy file that is half there for a moment
//! must not make every new column known. It decides nothing; `policy::baseline` does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::metastore::Metastore;
use crate::policy::Policies;
use crate::policy::baseline::{Baselines, NewColumns};
use crate::types::ObjectId;

/// Names in the metastore: this and the object's id; the value is a JSON array of its columns' ids.
const PREFIX: &str = "policy.columns/";
/// What another process accepted is found within this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct KnownColumns {
    /// Absent, nothing is remembered, and no column is new.
    metastore: Option<Arc<Metastore>>,
    /// A dry run only reads.
    remember: bool,
    baselines: Baselines,
    /// In force here and not yet in the metastore.
    unwritten: Vec<(ObjectId, BTreeSet<String>)>,
    looked: Instant,
    /// The last trouble with the metastore, so that it is told once.
    told: Option<String>,
}

impl KnownColumns {
    /// Without what was known before nothing could be called new: then nothing starts.
    pub(super) async fn read(metastore: Option<Arc<Metastore>>, remember: bool) -> Result<Self> {
        let baselines = match &metastore {
            Some(metastore) => stored(metastore).await?,
            None => Baselines::default(),
        };
        Ok(Self { metastore, remember, baselines, unwritten: vec![], looked: Instant::now(), told: None })
    }

    pub(super) fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// Whether something was accepted since. A metastore that cannot be read leaves what is known: less is shown then,
    /// not more.
    pub(super) async fn changed(&mut self) -> bool {
        let Some(metastore) = &self.metastore else { return false };
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        let mut now = match stored(metastore).await {
            Ok(now) => now,
            Err(error) => {
                self.tell("the known columns of restricted tables could not be read", error);
                return false;
            }
        };
        for (object, columns) in &self.unwritten {
            now.insert(*object, columns.clone());
        }
        let changed = now != self.baselines;
        self.baselines = now;
        self.write().await;
        changed
    }

    /// Tables that a policy restricts and that have no baseline get what they have now. It holds in this process at once,
    /// and is tried again until the metastore has it.
    pub(super) async fn restricted(&mut self, policies: &Policies) {
        let new: Vec<_> = policies.restricted().filter(|(id, _)| self.baselines.get(*id).is_none()).collect();
        for (object, columns) in new {
            self.baselines.insert(object, columns.clone());
            self.unwritten.push((object, columns));
        }
        self.write().await;
    }

    async fn write(&mut self) {
        let Some(metastore) = self.metastore.as_ref().filter(|_| self.remember) else {
            self.unwritten.clear();
            return;
        };
        let metastore = Arc::clone(metastore);
        while let Some((object, columns)) = self.unwritten.last() {
            // another process may have seen it restricted before us: what that one wrote comes with the next look
            match metastore.put_if_absent(&name(*object), &text(columns)).await {
                Ok(_) => self.unwritten.pop(),
                Err(error) => {
                    return self.tell("the known columns of a restricted table could not be remembered yet", error);
                }
            };
        }
        self.told = None;
    }

    fn tell(&mut self, what: &str, error: Error) {
        let text = format!("{what}: {error}");
        if self.told.as_ref() != Some(&text) {
            tracing::error!(error = ?error, "{what}");
            self.told = Some(text);
        }
    }
}

/// All columns that each of `tables` has now become known, beside those that were.
pub(crate) async fn accept(metastore: &Metastore, tables: &[NewColumns]) -> Result<()> {
    let before = stored(metastore).await?;
    for table in tables {
        let known = before.get(table.object).into_iter().flatten().chain(&table.ids).cloned().collect();
        metastore.put(&name(table.object), &text(&known)).await?;
    }
    Ok(())
}

async fn stored(metastore: &Metastore) -> Result<Baselines> {
    let mut baselines = Baselines::default();
    for (name, value) in metastore.values(PREFIX).await? {
        let id = name.strip_prefix(PREFIX).and_then(|id| u64::from_str_radix(id, 16).ok());
        let columns = serde_json::from_slice::<BTreeSet<String>>(&value).ok();
        let (Some(id), Some(columns)) = (id, columns) else {
            return Err(Error::internal(format!("the metastore's value \"{name}\" is no list of columns")));
        };
        baselines.insert(ObjectId(id), columns);
    }
    Ok(baselines)
}

fn name(object: ObjectId) -> String {
    format!("{PREFIX}{object}")
}

fn text(columns: &BTreeSet<String>) -> Vec<u8> {
    serde_json::Value::from_iter(columns.iter().cloned()).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore;

    fn columns(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    async fn open(folder: &tempfile::TempDir) -> Arc<Metastore> {
        let config = metastore::Config { path: folder.path().join("metastore.db"), ..metastore::Config::default() };
        Arc::new(Metastore::open(&config).await.unwrap())
    }

    #[tokio::test]
    async fn a_baseline_is_written_once_and_raised_by_accepting() {
        let folder = tempfile::tempdir().unwrap();
        let metastore = open(&folder).await;
        let mut known = KnownColumns::read(Some(Arc::clone(&metastore)), true).await.unwrap();
        let (one, two) = (ObjectId(1), ObjectId(2));
        for object in [one, two] {
            known.baselines.insert(object, columns(&["#1"]));
            known.unwritten.push((object, columns(&["#1"])));
        }
        known.write().await;
        assert_eq!(stored(&metastore).await.unwrap(), known.baselines);
        // who comes later finds it
        let mut other = KnownColumns::read(Some(open(&folder).await), true).await.unwrap();
        other.unwritten.push((one, columns(&["#1", "#2"])));
        other.write().await;
        assert_eq!(stored(&metastore).await.unwrap(), known.baselines);
        let new = NewColumns {
            object: one,
            table: crate::types::TableName::new("sales", "orders"),
            columns: vec!["email".into()],
            ids: columns(&["#2"]),
        };
        accept(open(&folder).await.as_ref(), &[new]).await.unwrap();
        known.looked = Instant::now() - LOOK_EVERY;
        assert!(known.changed().await);
        assert_eq!(known.baselines.get(one), Some(&columns(&["#1", "#2"])));
        assert_eq!(known.baselines.get(two), Some(&columns(&["#1"])));
        known.looked = Instant::now() - LOOK_EVERY;
        assert!(!known.changed().await, "the same is no news");
    }

    #[tokio::test]
    async fn what_cannot_be_read_starts_nothing_and_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let metastore = open(&folder).await;
        let mut known = KnownColumns::read(Some(Arc::clone(&metastore)), true).await.unwrap();
        known.baselines.insert(ObjectId(1), columns(&["#1"]));
        known.unwritten.push((ObjectId(1), columns(&["#1"])));
        known.write().await;
        metastore.put(&name(ObjectId(2)), b"[not json").await.unwrap();
        assert!(KnownColumns::read(Some(Arc::clone(&metastore)), true).await.is_err());
        known.looked = Instant::now() - LOOK_EVERY;
        assert!(!known.changed().await);
        assert_eq!(known.baselines.get(ObjectId(1)), Some(&columns(&["#1"])));
        assert!(known.told.is_some());
    }

    #[tokio::test]
    async fn a_dry_run_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let metastore = open(&folder).await;
        let mut known = KnownColumns::read(Some(Arc::clone(&metastore)), false).await.unwrap();
        known.unwritten.push((ObjectId(1), columns(&["#1"])));
        known.write().await;
        assert_eq!(metastore.values(PREFIX).await.unwrap(), []);
    }
}
