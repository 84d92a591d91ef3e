//! From a [`Draft`] to a [`Catalog`]: [`ask`] the sources what they have, then [`assemble`] names, identities and
//! datasets into one snapshot. It swaps nothing and retries nothing; the engine's world does both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use futures::future::join_all;

use super::dataset::Dataset;
use super::file::{Draft, Fault, SourceFile, byte_offset, position, reserved};
use super::visible::{FIRST_OID, oid_from};
use super::{Body, Catalog, Entry, Mounted};
use crate::error::{Error, Kind, Result};
use crate::pgtype;
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

impl Connected {
    /// Every schema it says it has.
    fn claimed(&self) -> BTreeSet<String> {
        let of_tables = self.tables.iter().flatten().map(|t| t.name().schema.clone());
        self.source.schemas().into_iter().chain(of_tables).collect()
    }
}

/// Plans a dataset's body over the catalog as far as it stands: 42P01 for a table that is not there (yet), 08006 for one
/// of a source that does not answer.
pub type Plan<'a> = dyn Fn(&Dataset, &Catalog) -> Result<Planned> + 'a;

/// What a body was found to be.
#[derive(Debug, Clone)]
pub struct Planned {
    pub schema: SchemaRef,
    /// Tables and datasets that it names.
    pub reads: BTreeSet<ObjectId>,
}

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

/// One snapshot, and what policies are bound to; or every fault of the files, each naming those that have part in it.
/// `previous` lends oids, the holders of names, and the columns of datasets whose sources do not answer now.
///
/// What stands in files can be contradictory, which is a fault: the old files stay. What is found in sources is made by
/// others, at any time: where it contradicts itself or the files, it is left out and the rest stands
/// ([`Catalog::left_out`]). Otherwise whoever may make a schema in one source could stop every later edit.
pub fn assemble(
    draft: &Draft,
    connected: &[Connected],
    previous: &Catalog,
    database: &str,
    plan: &Plan<'_>,
) -> Result<(Catalog, Objects), Vec<Fault>> {
    let catalog = Catalog {
        database: database.to_string(),
        generation: previous.generation + 1,
        awaited: draft.awaited.clone(),
        ..Catalog::default()
    };
    let mut assembly = Assembly {
        catalog,
        files: draft.sources.iter().map(|s| (s.name.as_str(), s.file.as_str())).collect(),
        oids: Oids::keeping(previous),
        faults: vec![],
    };
    assembly.mount(connected, &draft.datasets, previous);
    let mut views = vec![];
    for source in connected {
        views.extend(assembly.tables(source));
    }
    let datasets = assembly.places(&draft.datasets);
    assembly.datasets(views.into_iter().chain(datasets).collect(), previous, plan);
    assembly.materialized(previous, plan);
    assembly.finish()
}

struct Assembly<'a> {
    catalog: Catalog,
    /// Source → its file.
    files: BTreeMap<&'a str, &'a str>,
    oids: Oids,
    faults: Vec<Fault>,
}

impl<'a> Assembly<'a> {
    fn file(&self, source: &str) -> &'a str {
        self.files.get(source).copied().unwrap_or("catalog/sources")
    }

    /// Gives each schema to one source. A name that a file declares belongs to that file; of those that were only found,
    /// who held it keeps it, and where nobody did, two have an equal claim and neither gets it: which of them the policy's
    /// lines mean cannot be told.
    fn mount(&mut self, connected: &[Connected], datasets: &[Dataset], previous: &Catalog) {
        let mut claims: BTreeMap<String, Vec<&Connected>> = BTreeMap::new();
        for asked in connected {
            for schema in asked.claimed() {
                claims.entry(schema).or_default().push(asked);
            }
        }
        for (schema, claimants) in claims {
            let held = previous.schemas.get(&schema).and_then(Option::as_ref).map(|m| m.source.name());
            let holder = claimants.iter().copied().find(|c| held == Some(c.name.as_str()));
            let (found, declared): (Vec<&Connected>, Vec<&Connected>) =
                claimants.into_iter().partition(|c| c.source.finds_schemas());
            if let Some(why) = reserved(&schema) {
                for asked in declared {
                    self.faults.push(whole_file(self.file(&asked.name), why.clone()));
                }
                for asked in found {
                    self.catalog.left_out.push(whole_file(self.file(&asked.name), why.clone()));
                }
                continue;
            }
            let dataset = datasets.iter().find(|d| d.name.schema == schema);
            let owner = match (declared.first(), found.as_slice()) {
                (Some(first), _) => holder.or(Some(*first)),
                (None, [only]) if dataset.is_none() => Some(*only),
                (None, _) => holder,
            };
            // an edit does not take a name from the source that holds it
            for late in declared.iter().filter(|c| owner.is_some_and(|o| o.name != c.name)) {
                let first = owner.map(|o| self.file(&o.name)).unwrap_or_default();
                let text = format!("the schema `{schema}` is mounted by {first} too");
                self.faults.push(whole_file(self.file(&late.name), text));
            }
            self.give(schema, owner, &found, dataset);
        }
    }

    fn give(&mut self, schema: String, owner: Option<&Connected>, found: &[&Connected], dataset: Option<&Dataset>) {
        for loser in found.iter().filter(|c| owner.is_none_or(|o| o.name != c.name)) {
            let other = match (owner, dataset) {
                (Some(owner), _) => self.file(&owner.name).to_string(),
                (None, Some(dataset)) => dataset.file.clone(),
                (None, None) => {
                    let others = found.iter().filter(|c| c.name != loser.name).map(|c| self.file(&c.name));
                    others.collect::<Vec<_>>().join(" and ")
                }
            };
            let text = format!(
                "the schema `{schema}` found in source `{}` is left out: {other} claims the name too; rename or drop it \
                 there, or mount it under another name here",
                loser.name
            );
            self.catalog.left_out.push(whole_file(self.file(&loser.name), text));
        }
        let Some(owner) = owner else { return };
        let down = owner.tables.is_err();
        if down {
            self.catalog.unanswered.insert(schema.clone());
        }
        self.catalog.schemas.insert(schema, Some(Mounted { source: Arc::clone(&owner.source), down }));
    }

    /// Answers the views, which wait for what they read.
    fn tables(&mut self, asked: &Connected) -> Vec<Arc<Dataset>> {
        let file = self.file(&asked.name);
        let mut views = vec![];
        let mut identities: BTreeMap<ObjectId, TableName> = BTreeMap::new();
        let mut twice: BTreeSet<TableName> = BTreeSet::new();
        for table in asked.tables.iter().flatten() {
            let name = table.name();
            let mounted = self.catalog.schemas.get(&name.schema).and_then(Option::as_ref);
            if mounted.is_none_or(|m| m.source.name() != asked.name) {
                continue; // its schema is a fault, or left out, already
            }
            let id = ObjectId::of(&table.identity());
            if let Some(other) = identities.insert(id, name.clone()) {
                // both stay, so that policy lines about them are bound; the policy opens neither
                let text = format!("`{other}` and `{name}` are the same table under two names; neither can be read");
                self.catalog.left_out.push(whole_file(file, text));
            }
            if let Some(view) = Dataset::of_view(table, file) {
                views.push(Arc::new(view));
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
                twice.insert(name.clone());
            }
        }
        for table in asked.tables.iter().flatten() {
            self.about(table);
        }
        for name in twice {
            self.catalog.entries.remove(&name);
            self.catalog.left_out.push(whole_file(file, format!("there are two tables `{name}`; neither can be read")));
        }
        views
    }

    /// The tables of a table's metadata, where no table has their names.
    fn about(&mut self, table: &Arc<dyn Table>) {
        let id = ObjectId::of(&table.identity());
        if self.catalog.entries.get(table.name()).is_none_or(|entry| entry.object.id != id) {
            return; // left out
        }
        for about in table.metadata_tables() {
            if self.catalog.entries.contains_key(about.name()) {
                continue;
            }
            let object = Object {
                id: ObjectId::of(&about.identity()),
                name: about.name().clone(),
                schema: about.schema(),
                column_ids: about.column_ids(),
                raw_columns: BTreeSet::new(),
                kind: ObjectKind::MetadataOf { table: id, values: about.tells_values() },
            };
            self.insert(object, Body::Table(about));
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
                let planned = match plan(&dataset, &self.catalog).and_then(|planned| as_kept(&dataset, planned)) {
                    Ok(planned) => Ok(planned),
                    Err(error) if error.kind() == Kind::SourceUnreachable => match last_planned(previous, &dataset) {
                        Some(planned) => Ok(planned),
                        None if dataset.kept.is_some() => Err(error),
                        None => {
                            self.catalog.unanswered.insert(dataset.name.schema.clone());
                            continue;
                        }
                    },
                    Err(error) => Err(error),
                };
                match planned {
                    Ok(planned) => self.dataset(dataset, planned),
                    Err(error) => failed.push((dataset, error)),
                }
            }
            if failed.len() == before {
                // a view that cannot be planned stands there all the same, so that it can be dropped; datasets may name it
                let (views, files): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(d, _)| d.kept.is_some());
                failed = files;
                if views.is_empty() || failed.is_empty() {
                    views.into_iter().for_each(|(view, error)| self.broken(view, &error));
                    self.explain(&failed, previous);
                    return;
                }
                views.into_iter().for_each(|(view, error)| self.broken(view, &error));
            }
            if failed.is_empty() {
                return;
            }
            pending = failed.into_iter().map(|(dataset, _)| dataset).collect();
        }
    }

    /// What the queries of materialized views name. One that cannot be planned names nothing: its rows are there all the
    /// same, and its owner learns why when he refreshes it. While a source is away it names what it did before.
    fn materialized(&mut self, previous: &Catalog, plan: &Plan<'_>) {
        let found = self.catalog.entries.values().filter_map(|entry| {
            let Body::Table(table) = &entry.body else { return None };
            let view = table.declared().materialized.as_ref()?;
            let (name, owner, sql) = (entry.object.name.clone(), view.owner.clone(), view.sql.clone());
            let query = Dataset { name, owner, sql, max_staleness_ms: None, file: String::new(), kept: None };
            let id = entry.object.id;
            match plan(&query, &self.catalog) {
                Ok(planned) => Some((id, planned.reads)),
                Err(error) if error.kind() == Kind::SourceUnreachable => {
                    previous.names.get(&id).map(|names| (id, names.clone()))
                }
                Err(_) => None,
            }
        });
        let found: Vec<_> = found.collect();
        self.catalog.names.extend(found);
    }

    /// With its columns as they were when it was made. What it reads cannot be asked: nobody can read it.
    fn broken(&mut self, view: Arc<Dataset>, error: &Error) {
        let Some(table) = &view.kept else { return };
        let text = format!("the view `{}` cannot be read: {error}", view.name);
        self.catalog.left_out.push(whole_file(&view.file, text));
        self.catalog.broken.insert(ObjectId::of(&table.identity()));
        let planned = Planned { schema: table.schema(), reads: BTreeSet::new() };
        self.dataset(view, planned);
    }

    fn dataset(&mut self, dataset: Arc<Dataset>, planned: Planned) {
        let id = match &dataset.kept {
            Some(view) => ObjectId::of(&view.identity()),
            None => dataset_id(&dataset.name),
        };
        self.catalog.names.insert(id, planned.reads.clone());
        let below = planned.reads.iter().filter_map(|read| self.catalog.reads.get(read)).flatten().copied();
        let reads = below.chain(planned.reads.iter().copied()).collect();
        self.catalog.reads.insert(id, reads);
        let object = Object {
            id,
            name: dataset.name.clone(),
            column_ids: dataset.kept.as_ref().map_or_else(|| by_name(&planned.schema), |view| view.column_ids()),
            schema: planned.schema,
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
    /// Where it could be before, with the same text, it is what it reads that changed, and it is left out.
    fn explain(&mut self, failed: &[(Arc<Dataset>, Error)], previous: &Catalog) {
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
            let fault = Fault { file: dataset.file.clone(), line, column, text };
            let dormant = previous.dormant.get(&dataset.name) == Some(&dataset.sql);
            if dormant || last_planned(previous, dataset).is_some() {
                self.catalog.dormant.insert(dataset.name.clone(), dataset.sql.clone());
                self.catalog.left_out.push(fault);
            } else {
                self.faults.push(fault);
            }
        }
    }

    fn finish(self) -> Result<(Catalog, Objects), Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let objects = self.catalog.objects();
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

/// A view's columns are what they were when it was made, under the names it gives them. 0A000 where its body has others by
/// now.
fn as_kept(dataset: &Dataset, planned: Planned) -> Result<Planned> {
    let Some(view) = &dataset.kept else { return Ok(planned) };
    let kept = view.schema();
    let same = |(was, now): (&FieldRef, &FieldRef)| {
        let (was, now) = (pgtype::of_field(was), pgtype::of_field(now));
        was.is_ok_and(|was| now.is_ok_and(|now| was == now))
    };
    let pairs = kept.fields().iter().zip(planned.schema.fields());
    if kept.fields().len() != planned.schema.fields().len() || !pairs.clone().all(same) {
        return Err(Error::unsupported("a view whose body has other columns than when it was made"));
    }
    let named = pairs.map(|(was, now)| now.as_ref().clone().with_name(was.name()));
    Ok(Planned { schema: Arc::new(Schema::new(named.collect::<Vec<_>>())), ..planned })
}

/// The same text as it was last planned.
fn last_planned(previous: &Catalog, dataset: &Dataset) -> Option<Planned> {
    let entry = previous.entries.get(&dataset.name)?;
    match &entry.body {
        Body::Dataset(known) if known.sql == dataset.sql && !previous.broken.contains(&entry.object.id) => {
            let reads = previous.reads.get(&entry.object.id).cloned().unwrap_or_default();
            Some(Planned { schema: Arc::clone(&entry.object.schema), reads })
        }
        _ => None,
    }
}

fn whole_file(file: &str, text: String) -> Fault {
    Fault { file: file.to_string(), line: 1, column: 1, text }
}

#[cfg(test)]
mod tests;
