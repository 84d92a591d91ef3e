//! A database as one session's transaction has it: the tables of the last look, read and changed in a transaction there that
//! begins with the first change. It asks the source nothing by itself.

use std::sync::Arc;

use async_trait::async_trait;

use super::relations::{Relation, RelationTable};
use super::transaction::Transaction;
use super::{Postgres, text};
use crate::error::Result;
use crate::sources::{ChangesRows, Isolation, Pinned, Source, Staging, Table};

#[derive(Debug)]
struct Staged(Arc<StagedSource>);

#[derive(Debug)]
struct StagedSource {
    name: String,
    mounted: Vec<String>,
    relations: Vec<Arc<Relation>>,
    pool: Arc<super::connect::Pool>,
    transaction: Arc<Transaction>,
}

/// `None` for a source that is only read, and where it could not be read when it was looked at last.
pub(super) fn begin(of: &Postgres, isolation: Isolation) -> Option<Arc<dyn Staging>> {
    let relations = of.pool.writable.then(|| of.relations.known()).flatten()?;
    let transaction = Transaction::new(Arc::clone(&of.pool), isolation);
    let (name, mounted, pool) = (of.name.clone(), of.mounted.clone(), Arc::clone(&of.pool));
    Some(Arc::new(Staged(Arc::new(StagedSource { name, mounted, relations, pool, transaction }))))
}

#[async_trait]
impl Source for StagedSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        self.mounted.clone()
    }

    async fn revision(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let of =
            |relation: &Arc<Relation>| RelationTable::of(Arc::clone(relation), Some(Arc::clone(&self.transaction)));
        Ok(self.relations.iter().map(of).collect())
    }

    fn answers_queries(&self) -> bool {
        true
    }

    /// On a connection of its own, which reads only: it sees nothing of the transaction.
    async fn query(&self, text: &str) -> Result<Pinned> {
        text::pinned(&self.pool, text).await
    }

    fn changes_rows(&self) -> ChangesRows {
        ChangesRows::Allowed
    }
}

#[async_trait]
impl Staging for Staged {
    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.0) as Arc<dyn Source>
    }

    fn has_changes(&self) -> bool {
        self.0.transaction.has_changes()
    }

    fn save(&self) {
        self.0.transaction.save();
    }

    fn release(&self, level: usize) {
        self.0.transaction.release(level);
    }

    fn roll_back_to(&self, level: usize) {
        self.0.transaction.roll_back_to(level);
    }

    async fn commit(&self) -> Result<()> {
        self.0.transaction.commit().await
    }

    fn interrupt(&self) {
        self.0.transaction.interrupt();
    }
}
