//! A catalog as one transaction sees it: what it has made of the rows, over the catalog as it is. Nobody else sees any of it
//! until the whole is swapped in; it knows of rows alone, what may be tried again is `transaction`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::spec::TableMetadata;

use super::Catalog;
use crate::error::{Error, Result};
use crate::metastore::{self, Also, RowKind, Swap, SwapError, Swapped, TableKey, TableRow};

/// See [`Catalog`] for what holds; all of it at once holds within the transaction alone.
pub(in crate::lake) struct Overlay {
    under: Arc<dyn Catalog>,
    /// What is below does not move: how it was when the transaction first looked.
    frozen: Option<Frozen>,
    /// Names that were asked for, where others must not have changed what the transaction has read.
    read: Option<Mutex<BTreeSet<TableKey>>>,
    changes: Mutex<Changes>,
}

/// All rows and namespaces of one moment.
pub(in crate::lake) struct Frozen {
    rows: BTreeMap<TableKey, Place>,
    namespaces: Vec<String>,
}

/// What a transaction has made of the catalog.
#[derive(Clone, Debug, Default)]
pub(in crate::lake) struct Changes {
    pub(in crate::lake) rows: BTreeMap<TableKey, Row>,
    /// Those made, and those dropped (false).
    pub(in crate::lake) namespaces: BTreeMap<String, bool>,
}

/// What a row says: where the metadata lie, of a table or of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lake) struct Place {
    pub(in crate::lake) location: String,
    pub(in crate::lake) kind: RowKind,
}

/// One name's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lake) struct Row {
    /// In the catalog, when the transaction first changed it.
    pub(in crate::lake) was: Option<Place>,
    pub(in crate::lake) now: Option<Place>,
    /// The name under which the table that stands here now is in the catalog; `None`: the transaction made it.
    pub(in crate::lake) origin: Option<TableKey>,
}

impl From<TableRow> for Place {
    fn from(row: TableRow) -> Self {
        Self { location: row.location, kind: row.kind }
    }
}

impl Frozen {
    pub(in crate::lake) async fn of(catalog: &dyn Catalog, name: &str) -> Result<Self> {
        let namespaces = catalog.namespaces().await?;
        let rows = catalog.tables().await?;
        let key = |row: &TableRow| TableKey {
            catalog: name.to_string(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
        };
        Ok(Self { rows: rows.into_iter().map(|row| (key(&row), Place::from(row))).collect(), namespaces })
    }
}

impl Overlay {
    pub(in crate::lake) fn over(under: Arc<dyn Catalog>, frozen: Option<Frozen>, serializable: bool) -> Self {
        let read = serializable.then(Mutex::default);
        Self { under, frozen, read, changes: Mutex::default() }
    }

    /// What must stand in the catalog as it stood, of what was read and not changed.
    pub(in crate::lake) fn held(&self, changes: &Changes) -> Vec<Swap> {
        let Some(read) = &self.read else { return vec![] };
        let read = read.lock().unwrap_or_else(PoisonError::into_inner);
        let frozen = |name: &TableKey| self.frozen.as_ref().and_then(|frozen| frozen.rows.get(name));
        let unchanged = read.iter().filter(|name| changes.rows.get(name).is_none_or(|row| row.was == row.now));
        unchanged.map(|name| Swap::Hold { table: name.clone(), at: frozen(name).map(|p| p.location.clone()) }).collect()
    }

    pub(in crate::lake) fn is_serializable(&self) -> bool {
        self.read.is_some()
    }

    pub(in crate::lake) fn changes(&self) -> Changes {
        self.lock().clone()
    }

    pub(in crate::lake) fn restore(&self, changes: Changes) {
        *self.lock() = changes;
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Below, whatever the transaction did.
    async fn below(&self, name: &TableKey) -> Result<Option<Place>> {
        match &self.frozen {
            Some(frozen) => Ok(frozen.rows.get(name).cloned()),
            None => Ok(self.under.row(name).await?.map(Place::from)),
        }
    }
}

impl Changes {
    pub(in crate::lake) fn is_nothing(&self) -> bool {
        self.namespaces.is_empty() && self.rows.values().all(|row| row.was == row.now)
    }

    /// The rows' changes as they are to be sent.
    pub(in crate::lake) fn swaps(&self, catalog: &str) -> Vec<Swap> {
        let row = |(table, row): (&TableKey, &Row)| {
            let table = table.clone();
            let insert = |to: &Place| {
                let (table, to_location) = (table.clone(), to.location.clone());
                match to.kind {
                    RowKind::Table => Swap::Insert { table, to: to_location },
                    RowKind::View => Swap::InsertView { table, to: to_location },
                }
            };
            match (&row.was, &row.now) {
                (None, None) => vec![],
                (Some(was), None) => vec![Swap::Delete { table, from: was.location.clone() }],
                (None, Some(now)) => vec![insert(now)],
                (Some(was), Some(now)) if was == now => vec![],
                (Some(was), Some(now)) if was.kind == now.kind => {
                    vec![Swap::Update { table, from: was.location.clone(), to: now.location.clone() }]
                }
                (Some(was), Some(now)) => {
                    vec![Swap::Delete { table: table.clone(), from: was.location.clone() }, insert(now)]
                }
            }
        };
        let namespaces = |made: bool| {
            let those = self.namespaces.iter().filter(move |(_, is)| **is == made);
            those.map(move |(namespace, _)| {
                let (catalog, namespace) = (catalog.to_string(), namespace.clone());
                match made {
                    true => Swap::CreateNamespace { catalog, namespace },
                    false => Swap::DropNamespace { catalog, namespace },
                }
            })
        };
        self.rows.iter().flat_map(row).chain(namespaces(true)).chain(namespaces(false)).collect()
    }

    fn now(&self, table: &TableKey, below: &Option<Place>) -> Option<Place> {
        self.rows.get(table).map_or_else(|| below.clone(), |row| row.now.clone())
    }

    /// What stands under a name from here on; `origin` as in [`Row`].
    fn put(&mut self, table: &TableKey, below: &Option<Place>, now: Option<Place>, origin: Option<TableKey>) {
        let row = self.rows.entry(table.clone());
        let row = row.or_insert_with(|| Row { was: below.clone(), now: None, origin: None });
        (row.now, row.origin) = (now, origin);
    }

    fn origin(&self, table: &TableKey) -> Option<TableKey> {
        self.rows.get(table).map_or_else(|| Some(table.clone()), |row| row.origin.clone())
    }

    /// Whether the row was as the swap demands. `below`: what the catalog has of each name that it speaks of.
    fn apply(&mut self, swap: &Swap, below: &BTreeMap<TableKey, Option<Place>>) -> bool {
        let under = |table: &TableKey| below.get(table).cloned().flatten();
        let stands = |changes: &Self, table: &TableKey| changes.now(table, &under(table));
        let stands_at =
            |changes: &Self, table: &TableKey, at: &str| stands(changes, table).filter(|place| place.location == at);
        match swap {
            Swap::Insert { table, to } | Swap::InsertView { table, to } => {
                let kind = match swap {
                    Swap::InsertView { .. } => RowKind::View,
                    _ => RowKind::Table,
                };
                let free = stands(self, table).is_none();
                if free {
                    self.put(table, &under(table), Some(Place { location: to.clone(), kind }), None);
                }
                free
            }
            Swap::Update { table, from, to } => match stands_at(self, table, from) {
                Some(place) => {
                    let origin = self.origin(table);
                    self.put(table, &under(table), Some(Place { location: to.clone(), ..place }), origin);
                    true
                }
                None => false,
            },
            Swap::Delete { table, from } => {
                let holds = stands_at(self, table, from).is_some();
                if holds {
                    self.put(table, &under(table), None, None);
                }
                holds
            }
            Swap::Rename { table, at, to } => match stands_at(self, table, at) {
                Some(place) if stands(self, to).is_none() => {
                    let origin = self.origin(table);
                    self.put(table, &under(table), None, None);
                    self.put(to, &under(to), Some(place), origin);
                    true
                }
                Some(_) | None => false,
            },
            // asked of the overlay by functions of their own
            Swap::CreateNamespace { .. } | Swap::DropNamespace { .. } | Swap::Hold { .. } => false,
        }
    }
}

#[async_trait]
impl Catalog for Overlay {
    async fn revision(&self) -> Result<Option<u64>> {
        self.under.revision().await
    }

    async fn tables(&self) -> Result<Vec<TableRow>> {
        let row = |key: &TableKey, place: &Place| TableRow {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            location: place.location.clone(),
            kind: place.kind,
        };
        let below = match &self.frozen {
            Some(frozen) => frozen.rows.iter().map(|(key, place)| row(key, place)).collect(),
            None => self.under.tables().await?,
        };
        let changes = self.lock();
        let mut all: BTreeMap<(String, String), TableRow> =
            below.into_iter().map(|row| ((row.namespace.clone(), row.name.clone()), row)).collect();
        for (key, changed) in &changes.rows {
            let at = (key.namespace.clone(), key.name.clone());
            match &changed.now {
                Some(place) => all.insert(at, row(key, place)),
                None => all.remove(&at),
            };
        }
        Ok(all.into_values().collect())
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        let mut all = match &self.frozen {
            Some(frozen) => frozen.namespaces.clone(),
            None => self.under.namespaces().await?,
        };
        let changes = self.lock();
        all.retain(|namespace| changes.namespaces.get(namespace) != Some(&false));
        all.extend(changes.namespaces.iter().filter(|(_, made)| **made).map(|(namespace, _)| namespace.clone()));
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    async fn create_namespace(&self, namespace: &str) -> Result<bool> {
        if self.namespaces().await?.iter().any(|n| n == namespace) {
            return Ok(false);
        }
        let mut changes = self.lock();
        // one that the transaction dropped stands again as it was
        if changes.namespaces.remove(namespace).is_none() {
            changes.namespaces.insert(namespace.to_string(), true);
        }
        Ok(true)
    }

    async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        if !self.namespaces().await?.iter().any(|n| n == namespace) {
            return Err(metastore::undefined_schema(namespace));
        }
        if self.tables().await?.iter().any(|row| row.namespace == namespace) {
            return Err(metastore::schema_in_use(namespace));
        }
        let mut changes = self.lock();
        if changes.namespaces.remove(namespace).is_none() {
            changes.namespaces.insert(namespace.to_string(), false);
        }
        Ok(())
    }

    async fn row(&self, name: &TableKey) -> Result<Option<TableRow>> {
        if let Some(read) = &self.read {
            read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        }
        let changed = self.lock().rows.get(name).map(|row| row.now.clone());
        let place = match changed {
            Some(now) => now,
            None => self.below(name).await?,
        };
        let (namespace, table) = (name.namespace.clone(), name.name.clone());
        Ok(place.map(|Place { location, kind }| TableRow { namespace, name: table, location, kind }))
    }

    async fn previous_location(&self, table: &TableKey, location: &str) -> Result<Option<String>> {
        if self.lock().rows.contains_key(table) {
            return Ok(None);
        }
        self.under.previous_location(table, location).await
    }

    fn unheard(&self) -> Duration {
        self.under.unheard()
    }

    fn hands_out(&self) -> bool {
        self.under.hands_out()
    }

    async fn keeps_more(&self) -> Result<bool> {
        self.under.keeps_more().await
    }

    async fn fences_first(&self) -> Result<bool> {
        self.under.fences_first().await
    }

    async fn announce(&self, table: &TableKey, metadata: &TableMetadata) -> Result<()> {
        self.under.announce(table, metadata).await
    }

    async fn metadata(&self, name: &TableKey, location: &str) -> Result<Option<Bytes>> {
        self.under.metadata(name, location).await
    }

    async fn swap(&self, swaps: &[Swap], also: &Also) -> Result<Swapped, SwapError> {
        if also.lease.is_some() || !also.puts.is_empty() {
            return Err(SwapError::Before(Error::internal("a transaction of a session holds no lease")));
        }
        let mut below = BTreeMap::new();
        for table in swaps.iter().flat_map(Swap::tables) {
            below.insert(table.clone(), self.below(table).await.map_err(SwapError::Before)?);
        }
        let mut changes = self.lock();
        let mut changed = changes.clone();
        if swaps.iter().all(|swap| changed.apply(swap, &below)) {
            // said now, not at the transaction's end
            let name = swaps.iter().flat_map(Swap::tables).next().map(|table| table.catalog.as_str());
            if let Some(refused) = self.under.refusal(&changed.swaps(name.unwrap_or_default())) {
                return Err(SwapError::Before(refused));
            }
            *changes = changed;
            return Ok(Swapped::Done);
        }
        Ok(Swapped::Moved)
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("changes", &*self.lock()).finish_non_exhaustive()
    }
}
