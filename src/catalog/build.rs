//! From a [`Draft`] to a [`Catalog`]: [`ask`] the sources what they have, then [`assemble`] names, identities and
//! datasets into one snapshot. It swaps nothing and retries nothing; the engine's world does both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::future::join_all;

use super::dataset::Dataset;
use super::file::{Draft, Fault, SourceFile, position, reserved};
use super::visible::{FIRST_OID, oid_from};
use super::{Body, Catalog, Entry, Mounted};
use crate::error::{Error, Kind, Result};
use crate::policy::compile::Objects;
use crate::policy::{Object, ObjectKind};
use crate::sources::{Source, Table, by_name};
use crate::types::{ObjectId, TableName};

/// A source that was asked, and what it said.
#[derive(Debug, Clone)]
pub struct Connected {
    pub name: String,
    /// Of its file when it was connected.
    pub hash: u64,
    pub source: Arc<dyn Source>,
    /// What [`Source::revision`] said just before its tables were asked for.
    pub revision: Option<u64>,
    pub tables: Result<Vec<Arc<dyn Table>>, Arc<Error>>,
    /// What [`Source::schemas`] said just after: a lake's schema may be empty.
    pub schemas: Vec<String>,
}

/// Plans a dataset's body over the catalog as far as it stands: 42P01 for a table that is not there (yet), 08006 for one
/// of a source that does not answer.
pub type Plan<'a> = dyn Fn(&Dataset, &Catalog) -> Result<SchemaRef> + 'a;

/// Asks every source of the draft at once. A source whose file did not change stays connected; it is asked for its
/// tables where its revision moved, and where it has none, or was down, if `again(name)`. A source that does not answer
/// is no fault; a file that cannot be one is. `answer_max` lies above every source's own timeout: one that does not keep
/// its promise holds up the others no longer than that.
pub async fn ask(
    draft: &Draft,
    previous: &[Connected],
    connect: &(dyn Fn(&SourceFile) -> Result<Arc<dyn Source>> + Sync),
    again: &(dyn Fn(&str) -> bool + Sync),
    answer_max: Duration,
) -> Result<Vec<Connected>, Vec<Fault>> {
    let mut faults = vec![];
    let mut asked = vec![];
    for file in &draft.sources {
        let known = previous.iter().find(|p| p.name == file.name && p.hash == file.hash);
        let source = match known {
            Some(known) => Ok(Arc::clone(&known.source)),
            None => connect(file),
        };
        match source {
            Ok(source) => asked.push(ask_one(file, source, known, again(&file.name), answer_max)),
            Err(error) => faults.push(whole_file(&file.file, error.to_string())),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(join_all(asked).await)
}

async fn ask_one(
    file: &SourceFile,
    source: Arc<dyn Source>,
    known: Option<&Connected>,
    again: bool,
    answer_max: Duration,
) -> Connected {
    let late = || Error::new(Kind::SourceUnreachable, format!("source \"{}\" does not answer in time", file.name));
    let keep = |known: &Connected| Connected { hash: file.hash, ..known.clone() };
    if let Some(known) = known.filter(|k| !again && k.tables.is_err()) {
        return keep(known);
    }
    let revision = match tokio::time::timeout(answer_max, source.revision()).await {
        Ok(revision) => revision,
        Err(_) => Err(late()),
    };
    let unmoved = |known: &&Connected| match (&revision, known.revision) {
        (Ok(Some(now)), Some(then)) => *now == then && known.tables.is_ok(),
        (Ok(None), None) => !again && known.tables.is_ok(),
        _ => false,
    };
    if let Some(known) = known.filter(unmoved) {
        return keep(known);
    }
    let (revision, tables) = match revision {
        Err(error) => (None, Err(error)),
        Ok(revision) => match tokio::time::timeout(answer_max, source.tables()).await {
            Ok(tables) => (revision, tables),
            Err(_) => (revision, Err(late())),
        },
    };
    let schemas = source.schemas();
    Connected { name: file.name.clone(), hash: file.hash, source, revision, tables: tables.map_err(Arc::new), schemas }
}

/// One snapshot, and what policies are bound to; or every conflict, each naming the files that have part in it.
/// `previous` lends oids, and the columns of datasets whose sources do not answer now.
pub fn assemble(
    draft: &Draft,
    connected: &[Connected],
    previous: &Catalog,
    database: &str,
    plan: &Plan<'_>,
) -> Result<(Catalog, Objects), Vec<Fault>> {
    let catalog = Catalog { database: database.to_string(), generation: previous.generation + 1, ..Catalog::default() };
    let mut assembly = Assembly {
        catalog,
        files: draft.sources.iter().map(|s| (s.name.as_str(), s.file.as_str())).collect(),
        oids: Oids::keeping(previous),
        faults: vec![],
        unanswered: BTreeSet::new(),
    };
    for source in connected {
        assembly.mount(source);
    }
    for source in connected {
        assembly.tables(source);
    }
    let datasets = assembly.places(&draft.datasets);
    assembly.datasets(datasets, previous, plan);
    assembly.finish()
}

struct Assembly<'a> {
    catalog: Catalog,
    /// Source → its file.
    files: BTreeMap<&'a str, &'a str>,
    oids: Oids,
    faults: Vec<Fault>,
    unanswered: BTreeSet<String>,
}

impl<'a> Assembly<'a> {
    fn file(&self, source: &str) -> &'a str {
        self.files.get(source).copied().unwrap_or("catalog/sources")
    }

    /// Gives a source its schemas.
    fn mount(&mut self, asked: &Connected) {
        let file = self.file(&asked.name);
        let down = asked.tables.is_err();
        let mut schemas: BTreeSet<String> = asked.source.schemas().into_iter().collect();
        schemas.extend(asked.tables.iter().flatten().map(|t| t.name().schema.clone()));
        for schema in schemas {
            if let Some(why) = reserved(&schema) {
                self.faults.push(whole_file(file, why));
                continue;
            }
            if let Some(Some(other)) = self.catalog.schemas.get(&schema) {
                let text = format!("the schema `{schema}` is mounted by {} too", self.file(other.source.name()));
                self.faults.push(whole_file(file, text));
                continue;
            }
            if down {
                self.unanswered.insert(schema.clone());
            }
            self.catalog.schemas.insert(schema, Some(Mounted { source: Arc::clone(&asked.source), down }));
        }
    }

    fn tables(&mut self, asked: &Connected) {
        let file = self.file(&asked.name);
        let mut identities: BTreeMap<ObjectId, TableName> = BTreeMap::new();
        for table in asked.tables.iter().flatten() {
            let name = table.name();
            let mounted = self.catalog.schemas.get(&name.schema).and_then(Option::as_ref);
            if mounted.is_none_or(|m| m.source.name() != asked.name) {
                continue; // Its schema is a fault already.
            }
            let id = ObjectId::of(&table.identity());
            if let Some(other) = identities.insert(id, name.clone()) {
                let text = format!("`{other}` and `{name}` are the same table under two names");
                self.faults.push(whole_file(file, text));
                continue;
            }
            let object = Object {
                id,
                name: name.clone(),
                schema: table.schema(),
                column_ids: table.column_ids(),
                raw_columns: table.raw_columns().iter().cloned().collect(),
                kind: kind_of(name),
            };
            if self.insert(object, Body::Table(Arc::clone(table))).is_some() {
                self.faults.push(whole_file(file, format!("there are two tables `{name}`")));
            }
        }
    }

    /// Datasets stand in schemas of their own: a source that later brings a table of the name would change its meaning.
    fn places(&mut self, datasets: &[Dataset]) -> Vec<Arc<Dataset>> {
        let mut placed = vec![];
        for dataset in datasets {
            let schema = &dataset.name.schema;
            match self.catalog.schemas.get(schema) {
                Some(Some(mounted)) => {
                    let source = self.file(mounted.source.name());
                    let text =
                        format!("the schema `{schema}` is mounted by {source}; datasets stand in schemas of their own");
                    self.faults.push(whole_file(&dataset.file, text));
                }
                Some(None) => placed.push(Arc::new(dataset.clone())),
                None => {
                    self.catalog.schemas.insert(schema.clone(), None);
                    placed.push(Arc::new(dataset.clone()));
                }
            }
        }
        placed
    }

    /// Plans in rounds: what fails for want of a table may find it in the next, as long as there was progress.
    fn datasets(&mut self, mut pending: Vec<Arc<Dataset>>, previous: &Catalog, plan: &Plan<'_>) {
        loop {
            let mut failed = vec![];
            let before = pending.len();
            for dataset in pending {
                let schema = match plan(&dataset, &self.catalog) {
                    Ok(schema) => Ok(schema),
                    Err(error) if error.kind() == Kind::SourceUnreachable => match last_schema(previous, &dataset) {
                        Some(schema) => Ok(schema),
                        None => {
                            self.unanswered.insert(dataset.name.schema.clone());
                            continue;
                        }
                    },
                    Err(error) => Err(error),
                };
                match schema {
                    Ok(schema) => self.dataset(dataset, schema),
                    Err(error) => failed.push((dataset, error)),
                }
            }
            if failed.is_empty() || failed.len() == before {
                self.explain(&failed);
                return;
            }
            pending = failed.into_iter().map(|(dataset, _)| dataset).collect();
        }
    }

    fn dataset(&mut self, dataset: Arc<Dataset>, schema: SchemaRef) {
        let object = Object {
            id: dataset_id(&dataset.name),
            name: dataset.name.clone(),
            column_ids: by_name(&schema),
            schema,
            raw_columns: BTreeSet::new(),
            kind: ObjectKind::Dataset,
        };
        self.insert(object, Body::Dataset(dataset));
    }

    fn insert(&mut self, object: Object, body: Body) -> Option<Entry> {
        let oid = self.oids.of(object.id);
        self.catalog.entries.insert(object.name.clone(), Entry { object: Arc::new(object), body, oid })
    }

    /// A fault for each dataset that cannot be planned: a ring by its members, anything else by what the planner said.
    fn explain(&mut self, failed: &[(Arc<Dataset>, Error)]) {
        let needs = |(dataset, error): &(Arc<Dataset>, Error)| {
            let needed = |other: &Dataset| {
                error.kind() == Kind::UndefinedTable && error.message().contains(&format!("\"{}\"", other.name))
            };
            let other = failed.iter().map(|(other, _)| other).find(|other| needed(other))?;
            Some((dataset.name.to_string(), other.name.to_string()))
        };
        let needs: BTreeMap<String, String> = failed.iter().filter_map(needs).collect();
        for (dataset, error) in failed {
            let name = dataset.name.to_string();
            let mut path = vec![name.as_str()];
            while let Some(next) = path.last().and_then(|last| needs.get(*last)) {
                path.push(next);
                if path.iter().filter(|n| *n == next).count() > 1 {
                    break;
                }
            }
            let (line, column) = match error.position() {
                Some(at) => position(&dataset.sql, byte_offset(&dataset.sql, at)),
                None => (1, 1),
            };
            let text = match path.as_slice() {
                [first, .., last] if first == last => format!("datasets in a ring: {}", path.join(" → ")),
                [_, needed, ..] => format!("needs `{needed}`, which cannot be planned"),
                _ => error.to_string(),
            };
            self.faults.push(Fault { file: dataset.file.clone(), line, column, text });
        }
    }

    fn finish(self) -> Result<(Catalog, Objects), Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let objects = Objects {
            objects: self.catalog.entries.values().map(|e| e.object.as_ref().clone()).collect(),
            schemas: self.catalog.schemas.keys().cloned().collect(),
            unanswered: self.unanswered,
            ..Objects::default()
        };
        Ok((self.catalog, objects))
    }
}

/// Oids from identities. Two that hash alike: the one that had the number keeps it, the other takes the next free.
struct Oids {
    kept: BTreeMap<ObjectId, u32>,
    taken: BTreeSet<u32>,
}

impl Oids {
    fn keeping(previous: &Catalog) -> Self {
        let kept: BTreeMap<_, _> = previous.entries.values().map(|e| (e.object.id, e.oid)).collect();
        Self { taken: kept.values().copied().collect(), kept }
    }

    fn of(&mut self, id: ObjectId) -> u32 {
        if let Some(oid) = self.kept.get(&id) {
            return *oid;
        }
        let mut oid = oid_from(id.0);
        while !self.taken.insert(oid) {
            oid = oid.checked_add(1).unwrap_or(FIRST_OID);
        }
        self.kept.insert(id, oid);
        oid
    }
}

/// Metadata relations and dead letters: no `*` covers them.
fn kind_of(name: &TableName) -> ObjectKind {
    match name.table.contains('$') || name.table.ends_with("__dlq") {
        true => ObjectKind::Metadata,
        false => ObjectKind::Table,
    }
}

/// A dataset is its name: its file can be moved and edited, and it stays the same dataset.
fn dataset_id(name: &TableName) -> ObjectId {
    ObjectId::of(&format!("dataset:{name}"))
}

/// The columns of the same text when its sources last answered.
fn last_schema(previous: &Catalog, dataset: &Dataset) -> Option<SchemaRef> {
    let entry = previous.entries.get(&dataset.name)?;
    match &entry.body {
        Body::Dataset(known) if known.sql == dataset.sql => Some(Arc::clone(&entry.object.schema)),
        _ => None,
    }
}

fn whole_file(file: &str, text: String) -> Fault {
    Fault { file: file.to_string(), line: 1, column: 1, text }
}

/// Of a character position from 1, as errors have it.
fn byte_offset(text: &str, position: usize) -> usize {
    text.char_indices().nth(position.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests;
