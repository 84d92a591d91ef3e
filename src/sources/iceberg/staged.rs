//! A lake as one transaction sees it: the same source over the transaction's own view of the catalog. What a commit means
//! is `lake`'s business.

use std::sync::{Arc, RwLock};

use async_trait::async_trait;

use super::{Iceberg, Inner, Known, LakeTable, Mounted};
use crate::error::Result;
use crate::lake::Transaction;
use crate::sources::{Isolation, Source, Staging};

#[derive(Debug)]
struct Staged {
    transaction: Transaction,
    source: Arc<Iceberg>,
}

pub(super) async fn begin(of: &Arc<Inner>, isolation: Isolation) -> Result<Arc<dyn Staging>> {
    let transaction = of.lake.begin(isolation).await.map_err(|e| of.named(e))?;
    let inner = Arc::new(Inner {
        name: of.name.clone(),
        lake: Arc::clone(transaction.lake()),
        schemas: of.schemas.clone(),
        mounted: RwLock::default(),
    });
    // what is known of tables that did not move need not be read again
    let known = {
        let mounted = of.mounted.read().expect("no panic under the lock");
        let again = |known: &Known| match known {
            Known::Table(table) => Known::Table(Arc::new(table.of_view(&inner))),
            Known::View(view) => Known::View(Arc::clone(view)),
        };
        let tables = mounted.tables.iter().map(|(at, known)| (at.clone(), again(known))).collect();
        Mounted { schemas: mounted.schemas.clone(), tables }
    };
    *inner.mounted.write().expect("no panic under the lock") = known;
    Ok(Arc::new(Staged { transaction, source: Arc::new(Iceberg(inner)) }))
}

impl LakeTable {
    /// The same table in another view of the lake.
    fn of_view(&self, source: &Arc<Inner>) -> Self {
        Self {
            source: Arc::clone(source),
            name: self.name.clone(),
            key: self.key.clone(),
            schema: Arc::clone(&self.schema),
            raw_columns: self.raw_columns.clone(),
            place: self.place.clone(),
            declared: self.declared.clone(),
            history: Arc::clone(&self.history),
            at: self.at,
            is_filled: self.is_filled,
            state: self.state.clone(),
        }
    }
}

#[async_trait]
impl Staging for Staged {
    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    fn has_changes(&self) -> bool {
        self.transaction.has_changes()
    }

    fn save(&self) {
        self.transaction.save();
    }

    fn release(&self, level: usize) {
        self.transaction.release(level);
    }

    fn roll_back_to(&self, level: usize) {
        self.transaction.roll_back_to(level);
    }

    async fn commit(&self) -> Result<()> {
        self.transaction.commit().await.map_err(|e| self.source.0.named(e))
    }
}
