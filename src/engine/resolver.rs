//! The one way from a name to a table: what the binder's `Relations` are, sealed sources and nothing else.
//! It opens none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::execution::SessionState;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::ObjectName;
use tokio::runtime::Handle;

use super::bodies;
use super::facts::Facts;
use super::limits::Limits;
use super::settings::Versions;
use super::source_query::{Described, Text};
use super::staleness::Said;
use super::statement::table_name;
use super::temporary::{self, Temporary};
use super::world::World;
use crate::catalog::visible::View;
use crate::catalog::{Body, Catalog, Entry, jobs, pg_catalog, pipelines, provenance, reflections};
use crate::error::{Error, Kind, Result};
use crate::policy::guard::{DATASET_DEPTH_MAX, DatasetBody, may_not_query, undefined_table};
use crate::policy::{Action, Decision, Grant, Past, Sealed, SessionPolicy};
use crate::sources::{Pinned, called};
use crate::sql::bind::{Answer, Named, QUERY_FUNCTION};
use crate::types::{AsOf, ObjectId, TableName};

/// About as many as a system table has, which is not built to be counted. A name that is nothing counts the same.
const SYSTEM_COLUMNS: usize = 20;
/// Each reading of a temporary view puts its query into the statement's.
const OWN_QUERIES_MAX: usize = 100;

/// By whose rights names resolve.
#[derive(Clone)]
pub(crate) enum Rights {
    Session(SessionPolicy),
    /// While a catalog is built: every table, none of which can be opened.
    Raw,
}

/// What a statement's names led to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// Tables to be pinned, by what each is pinned as.
    pub(crate) entries: BTreeMap<ObjectId, Entry>,
    pub(crate) bodies: HashMap<ObjectId, DatasetBody>,
    /// A source runs a text: its columns may be others the next time that the statement is sent.
    pub(crate) asks_sources: bool,
    /// How far what is read may be behind; and of each body by itself.
    pub(crate) said: Said,
    bodies_said: HashMap<ObjectId, Said>,
    /// A version was asked for by a time or a name: it may be another one for the next execution.
    pub(crate) moves: bool,
}

impl Reached {
    fn table(&mut self, pin: ObjectId, entry: Entry) {
        self.said = self.said.and(Said::TABLE);
        self.entries.insert(pin, entry);
    }

    fn add(&mut self, other: Reached) {
        self.entries.extend(other.entries);
        self.bodies.extend(other.bodies);
        self.bodies_said.extend(other.bodies_said);
        self.moves |= other.moves;
        self.asks_sources |= other.asks_sources;
    }
}

pub(crate) struct Resolver<'a> {
    catalog: &'a Catalog,
    rights: Rights,
    state: &'a SessionState,
    search_path: &'a [String],
    session: Option<(&'a Arc<World>, &'a Arc<View>)>,
    /// The session's own tables; none in a dataset's body.
    temporary: Option<&'a Temporary>,
    /// Where a source can be asked for a version; planning has a thread of its own that may wait.
    runtime: Option<&'a Handle>,
    /// The version of every table that has versions and is not asked for at another one.
    as_of: Option<&'a AsOf>,
    /// Those of single tables, which come before it.
    versions: Option<&'a Versions>,
    /// Whose versions those are: they are no way to learn what tables a body reads.
    asker: Option<&'a SessionPolicy>,
    /// Texts for sources, as far as they were described; none where a query is kept or is nobody's.
    described: Option<&'a Described>,
    /// One that was not.
    wanted: RefCell<Option<Text>>,
    depth: usize,
    reached: RefCell<Reached>,
    /// The session's own tables and views that names led to.
    reached_own: RefCell<BTreeSet<String>>,
    /// How often one of its views was read.
    own_queries: Cell<usize>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        rights: Rights,
        state: &'a SessionState,
        search_path: &'a [String],
        session: Option<(&'a Arc<World>, &'a Arc<View>)>,
    ) -> Self {
        let (temporary, depth) = (None, 0);
        let (reached, reached_own, own_queries) = (RefCell::default(), RefCell::default(), Cell::new(0));
        let (runtime, as_of, versions, asker) = (None, None, None, None);
        let (described, wanted) = (None, RefCell::default());
        Self {
            catalog,
            rights,
            state,
            search_path,
            session,
            temporary,
            runtime,
            as_of,
            versions,
            asker,
            described,
            wanted,
            depth,
            reached,
            reached_own,
            own_queries,
        }
    }

    /// For a statement of the session.
    pub(crate) fn of_session(facts: &'a Facts, state: &'a SessionState, runtime: &'a Handle) -> Self {
        let (rights, session) = (Rights::Session(facts.policy.clone()), Some((&facts.world, &facts.view)));
        let resolver = Self::new(&facts.world.catalog, rights, state, &facts.search_path, session);
        let (runtime, as_of, versions) = (Some(runtime), facts.as_of.as_ref(), Some(&facts.versions));
        let asker = Some(&facts.policy);
        Self { runtime, as_of, versions, asker, ..resolver.with_own(&facts.temporary) }
    }

    /// For a statement that is planned to be run.
    pub(crate) fn with_described(self, described: &'a Described) -> Self {
        Self { described: Some(described), ..self }
    }

    /// The text that planning ended at.
    pub(crate) fn wanted(&self) -> Option<Text> {
        self.wanted.take()
    }

    /// What a source answers to a text. Without the right, a source that is there and one that is not are one.
    pub(crate) fn answer(&self, source: &str, sql: &str) -> Result<Answer> {
        let (Rights::Session(policy), Some(described), 0) = (&self.rights, self.described, self.depth) else {
            return Err(Error::unsupported(format!("{QUERY_FUNCTION} in a query that is kept")));
        };
        if !policy.may_query(source) {
            return Err(may_not_query(source));
        }
        let text = Text { source: source.to_owned(), sql: sql.to_owned() };
        let Some(Pinned { provider, reads, .. }) = described.find(&text) else {
            *self.wanted.borrow_mut() = Some(text);
            return Err(Error::internal("a text for a source that was not described"));
        };
        self.reached.borrow_mut().asks_sources = true;
        let (provider, reads) = (Arc::clone(provider), Arc::clone(reads));
        let names = provider.schema().fields().iter().map(|field| called(field).to_owned()).collect();
        let text_hash = xxhash_rust::xxh3::xxh3_64(sql.as_bytes());
        let table = Sealed::query(crate::policy::Query { source: source.into(), text_hash, provider, reads });
        Ok(Answer { table, names })
    }

    /// For a statement of the session that these tables are of.
    fn with_own(self, temporary: &'a Temporary) -> Self {
        Self { temporary: Some(temporary), ..self }
    }

    /// For a dataset's body: its owner's rights, and no search path, so that a body means the same to everybody.
    pub(crate) fn inside(&self, owner: &SessionPolicy) -> Result<Resolver<'a>> {
        if self.depth >= DATASET_DEPTH_MAX {
            return Err(Error::new(Kind::TooComplex, format!("datasets nested deeper than {DATASET_DEPTH_MAX}")));
        }
        Ok(Resolver {
            rights: Rights::Session(owner.clone()),
            search_path: &[],
            temporary: None,
            described: None,
            wanted: RefCell::default(),
            depth: self.depth + 1,
            reached: RefCell::default(),
            reached_own: RefCell::default(),
            own_queries: Cell::new(0),
            ..*self
        })
    }

    pub(crate) fn state(&self) -> &SessionState {
        self.state
    }

    pub(crate) fn reached_own(&self) -> BTreeSet<String> {
        self.reached_own.borrow().clone()
    }

    /// The text of a temporary view, which needs no right: what it reads is asked about where it stands.
    pub(crate) fn own_query(&self, path: &[&str]) -> Result<Option<Named>> {
        let Some(temporary) = self.temporary else { return Ok(None) };
        let name = match *path {
            [name] => name,
            [schema, name] if Temporary::is_schema(schema) => name,
            _ => return Ok(None),
        };
        let Some((schema, view)) = temporary.view(name) else { return Ok(None) };
        self.own_queries.set(self.own_queries.get() + 1);
        if self.own_queries.get() > OWN_QUERIES_MAX {
            let text = format!("temporary views are read more than {OWN_QUERIES_MAX} times in one statement");
            return Err(Error::new(Kind::TooComplex, text));
        }
        self.reached_own.borrow_mut().insert(name.to_owned());
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let query = bodies::read(&view.sql, &Limits::default())?;
        Ok(Some(Named { schema: temporary::SCHEMA.to_owned(), name: name.to_owned(), columns, query }))
    }

    pub(crate) fn reached(self) -> Reached {
        self.reached.into_inner()
    }

    /// How many columns of a table this session sees; what it sees nothing of has as many as what does not exist.
    pub(crate) fn columns_of(&self, name: &ObjectName) -> usize {
        let Ok(name) = table_name(name) else { return SYSTEM_COLUMNS };
        let reference = match &name.schema {
            Some(schema) => TableReference::partial(schema.as_str(), name.table.as_str()),
            None => TableReference::bare(name.table.as_str()),
        };
        let entries = self.candidates(&reference).unwrap_or_default();
        let entry = entries.iter().find_map(|candidate| self.catalog.find(candidate).ok().flatten());
        match (entry, &self.rights) {
            (Some(entry), Rights::Raw) => entry.object.schema.fields().len(),
            (Some(entry), Rights::Session(policy)) => match policy.decide(entry.object.id, Action::Select) {
                Decision::Allow(grant) => grant.visible(&entry.object.schema).fields().len(),
                Decision::Deny => SYSTEM_COLUMNS,
            },
            (None, _) => SYSTEM_COLUMNS,
        }
    }

    fn candidates(&self, name: &TableReference) -> Result<Vec<TableName>> {
        match name {
            TableReference::Bare { table } => {
                let implied = (!self.search_path.iter().any(|s| s == "pg_catalog")).then(|| "pg_catalog".to_string());
                let own = self.temporary.map(|_| temporary::SCHEMA.to_string());
                let path = own.into_iter().chain(implied).chain(self.search_path.iter().cloned());
                Ok(path.map(|schema| TableName::new(schema, table.as_ref())).collect())
            }
            TableReference::Partial { schema, table } => Ok(vec![TableName::new(schema.as_ref(), table.as_ref())]),
            TableReference::Full { catalog, schema, table } => {
                if catalog.as_ref() != self.catalog.database {
                    let text = format!("cross-database references are not implemented: \"{catalog}.{schema}.{table}\"");
                    return Err(Error::new(Kind::Unsupported, text));
                }
                Ok(vec![TableName::new(schema.as_ref(), table.as_ref())])
            }
        }
    }

    /// The table of a name of one, two or three segments, and where it was found. `None`: a bare name that is nowhere.
    pub(crate) fn find_path(
        &self,
        path: &[&str],
        at: Option<&AsOf>,
    ) -> Result<Option<(TableName, Arc<dyn TableSource>)>> {
        let name = match *path {
            [table] => TableReference::bare(table.to_owned()),
            [schema, table] => TableReference::partial(schema.to_owned(), table.to_owned()),
            [catalog, schema, table] => TableReference::full(catalog.to_owned(), schema.to_owned(), table.to_owned()),
            _ => {
                let text = format!("improper qualified name (too many dotted names): {}", path.join("."));
                return Err(Error::new(Kind::Syntax, text));
            }
        };
        for candidate in self.candidates(&name)? {
            if let Some(found) = self.lookup(&candidate, at)? {
                return Ok(Some((candidate, found)));
            }
        }
        match path {
            [_] | [] => Ok(None),
            [.., schema, table] => Err(undefined_table(&TableName::new(*schema, *table))),
        }
    }

    /// `tableoid` of a relation that was found.
    pub(crate) fn oid(&self, name: &TableName) -> u32 {
        self.session.and_then(|(_, view)| view.relation_oid(name)).unwrap_or(0)
    }

    pub(crate) fn is_materialized(&self, name: &TableName) -> bool {
        self.session.and_then(|(_, view)| view.table(name)).is_some_and(|table| table.kind == 'm')
    }

    fn lookup(&self, name: &TableName, at: Option<&AsOf>) -> Result<Option<Arc<dyn TableSource>>> {
        let of_now = || if at.is_some() { Err(no_versions(name)) } else { Ok(()) };
        if Temporary::is_schema(&name.schema) {
            let found = self.temporary.and_then(|temporary| temporary.find(&name.table));
            found.as_ref().map_or(Ok(()), |_| of_now())?;
            if found.is_some() {
                self.reached_own.borrow_mut().insert(name.table.clone());
            }
            return Ok(found.map(|(schema, rows)| Sealed::own(name.clone(), schema, rows)));
        }
        if jobs::is(name)
            && let Some((_, view)) = self.session
        {
            of_now()?;
            return Ok(Some(Sealed::system(name.clone(), jobs::seen_by(view))));
        }
        if pipelines::is(name)
            && let Some((_, view)) = self.session
        {
            of_now()?;
            return Ok(Some(Sealed::system(name.clone(), pipelines::seen_by(view))));
        }
        if reflections::is(name)
            && let (Some((_, view)), Rights::Session(policy)) = (self.session, &self.rights)
        {
            of_now()?;
            return Ok(Some(Sealed::system(name.clone(), reflections::seen_by(view, policy))));
        }
        if provenance::is(name)
            // in a dataset too it is the reader who asks
            && let (Some((_, view)), Some(policy)) = (self.session, self.asker)
        {
            of_now()?;
            return Ok(Some(Sealed::system(name.clone(), provenance::seen_by(view, policy))));
        }
        if let Some(relation) = pg_catalog::relation(name) {
            of_now()?;
            // without a session nothing is opened, and the rows of nobody are as good as any
            let rows = match self.session {
                Some((_, view)) => relation.seen_by(view),
                None => relation.seen_by(&Arc::default()),
            };
            return Ok(Some(Sealed::system(name.clone(), rows)));
        }
        let entry = match self.catalog.find(name) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            // 08006 only to those whose rights may reach into the schema; the others see nothing there
            Err(down) => return if self.may_know_schema(&name.schema) { Err(down) } else { Ok(None) },
        };
        match &self.rights {
            Rights::Raw => {
                self.reached.borrow_mut().table(entry.object.id, entry.clone());
                let then = match (&entry.body, at) {
                    (Body::Table(table), Some(at)) => table.known_version(at).ok().map(|table| (table, at)),
                    _ => None,
                };
                match then {
                    // what it has not heard of yet has most likely the columns of now
                    None => Ok(Some(Sealed::unopenable(Arc::clone(&entry.object)))),
                    Some((table, at)) => {
                        let past = Past::of(&entry.object, at, table.schema(), &table.column_ids());
                        Sealed::past(Arc::clone(&entry.object), past, &Grant::full()).map(Some)
                    }
                }
            }
            Rights::Session(policy) => self.sealed(entry, policy, at),
        }
    }

    fn may_know_schema(&self, schema: &str) -> bool {
        match &self.rights {
            Rights::Raw => true,
            Rights::Session(policy) => policy.may_know(schema),
        }
    }

    fn sealed(&self, entry: &Entry, policy: &SessionPolicy, at: Option<&AsOf>) -> Result<Option<Arc<dyn TableSource>>> {
        let Decision::Allow(grant) = policy.decide(entry.object.id, Action::Select) else { return Ok(None) };
        let at = at.or_else(|| self.asked_for(entry));
        match &entry.body {
            Body::Table(table) if at.is_some() || self.as_of.is_some() && table.keeps_versions() => {
                return match at.or(self.as_of) {
                    Some(at) => self.version(entry, table.as_ref(), at, &grant).map(Some),
                    None => Err(Error::internal("a version that nobody asked for")),
                };
            }
            Body::Dataset(_) if at.is_some() => return Err(no_versions(&entry.object.name)),
            Body::Table(_) => self.reached.borrow_mut().table(entry.object.id, entry.clone()),
            Body::Dataset(dataset) => self.reach_body(entry, dataset)?,
        }
        Ok(Some(Sealed::object(Arc::clone(&entry.object), &grant)))
    }

    /// The session's version of a single table that it may select from, in a body too.
    fn asked_for(&self, entry: &Entry) -> Option<&'a AsOf> {
        let at = self.versions?.get(&entry.object.name)?;
        match self.asker?.decide(entry.object.id, Action::Select) {
            Decision::Allow(_) => Some(at),
            Decision::Deny => None,
        }
    }

    fn version(
        &self,
        entry: &Entry,
        table: &dyn crate::sources::Table,
        at: &AsOf,
        grant: &Grant,
    ) -> Result<Arc<dyn TableSource>> {
        let runtime = self.runtime.ok_or_else(|| Error::internal("a version without a runtime to ask for it"))?;
        let table = runtime.block_on(table.version(at))?;
        let past = Past::of(&entry.object, at, table.schema(), &table.column_ids());
        let pin = past.pin;
        let sealed = Sealed::past(Arc::clone(&entry.object), past, grant)?;
        let mut reached = self.reached.borrow_mut();
        reached.moves |= at.moves();
        reached.table(pin, Entry { body: Body::Table(table), ..entry.clone() });
        Ok(sealed)
    }

    fn reach_body(&self, entry: &Entry, dataset: &crate::catalog::dataset::Dataset) -> Result<()> {
        let known = self.reached.borrow().bodies_said.get(&entry.object.id).copied();
        if let Some(known) = known {
            let mut reached = self.reached.borrow_mut();
            reached.said = reached.said.and(known);
            return Ok(());
        }
        // whatever is wrong inside, its caller learns only that the view cannot be read
        let refused = |e: Error| match e.kind() {
            Kind::SourceUnreachable | Kind::TooComplex => e,
            // asked for by the session itself, but of a table that it need not know
            Kind::InvalidParameter if self.as_of.is_some() || self.versions.is_some_and(|v| !v.is_empty()) => {
                let text = format!("what view {} reads has no version as old as that", dataset.name);
                Error::new(Kind::InvalidParameter, text).with_source(e)
            }
            _ => Error::new(Kind::PermissionDenied, format!("permission denied for view {}", dataset.name))
                .with_source(e),
        };
        let world = self.session.map(|(world, _)| world).ok_or_else(|| Error::internal("a body without a session"))?;
        if self.catalog.broken.contains(&entry.object.id) {
            let may_know = self.session.is_some_and(|(_, view)| view.is_admin || view.is_own(&dataset.owner));
            let text = format!("view {} cannot be read any more", dataset.name);
            let error = Error::new(Kind::NotInState, text)
                .with_detail("What it reads was changed or dropped.")
                .with_hint("Make it again with CREATE OR REPLACE VIEW, or drop it.");
            return Err(if may_know { error } else { refused(error) });
        }
        let owner = world.policies.owner(&dataset.owner);
        let owner = owner.ok_or_else(|| refused(Error::internal("a dataset's owner is gone")))?;
        let (plan, inside) = bodies::reach(dataset, self, &owner).map_err(refused)?;
        let said = inside.said.through(dataset.max_staleness_ms);
        let mut reached = self.reached.borrow_mut();
        reached.add(inside);
        reached.said = reached.said.and(said);
        reached.bodies_said.insert(entry.object.id, said);
        reached.bodies.insert(entry.object.id, DatasetBody { plan, owner });
        Ok(())
    }
}

fn no_versions(name: &TableName) -> Error {
    Error::unsupported(format!("reading {name} as it was"))
}
