//! What one principal can see, as plain values: the only input of information_schema, pg_catalog and the functions over
//! them. It decides nothing: [`Sight::of`] asks the policy once for every object.

mod declared;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arrow::datatypes::{Schema, SchemaRef};

use self::places::Places;
use super::peers::Others;
use super::pg_catalog::image;
use super::pg_catalog::settings::Handle;
use super::provenance::Statements;
use super::{Body, Catalog};
use crate::error::Result;
use crate::jobs::Jobs;
use crate::pipelines::Board;
use crate::policy::{Action, Decision, Policies, SessionPolicy};
use crate::refreshes;
use crate::sources::declared::{Counter, Kind};
use crate::types::{EXTENSION_OIDS, ObjectId, TableName};

/// Oids below this are PostgreSQL's own and its extensions'.
pub const FIRST_OID: u32 = EXTENSION_OIDS.end;
/// Who owns what nobody in the session's sight owns. PostgreSQL's own bootstrap role has this oid.
pub const BOOTSTRAP: (&str, u32) = ("pg_lakegate", 10);
/// Schemas that no source and no dataset may claim, with the oids of PostgreSQL's.
pub const SYSTEM_SCHEMAS: [(&str, u32); 3] = [("information_schema", 13207), ("pg_catalog", 11), ("pg_toast", 99)];
/// What every server calls by this name has this oid on every server.
const PUBLIC: (&str, u32) = ("public", 2200);

/// The oid of a schema of the system.
pub fn system_schema(name: &str) -> Option<u32> {
    SYSTEM_SCHEMAS.iter().find(|(system, _)| *system == name).map(|(_, oid)| *oid)
}

/// The name of a schema of the system.
pub fn system_schema_name(oid: u32) -> Option<&'static str> {
    SYSTEM_SCHEMAS.iter().find(|(_, system)| *system == oid).map(|(name, _)| *name)
}

/// A session's view of the catalog. Objects without a grant and hidden columns are not in it.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub database: String,
    pub user: String,
    /// Shared by all sessions of the same rights: it is much larger than the rest.
    pub sight: Arc<Sight>,
    /// As they are when they are asked for.
    pub settings: Handle,
    pub cursors: Listed,
    /// Backend process id of this session.
    pub pid: i32,
    pub others: Others,
    /// Made when it is first asked for.
    pub(crate) path: OnceLock<Vec<String>>,
    /// When the server and this session started, in microseconds since 1970.
    pub server_started_at: i64,
    pub session_started_at: i64,
    pub jobs: Jobs,
    pub pipelines: Board,
    /// `None` where nothing is counted: no session is behind the view.
    pub counts: Option<Arc<dyn Counts>>,
    pub reflections: refreshes::Board,
    /// `None` as of `counts`.
    pub statements: Option<Arc<dyn Statements>>,
}

/// What somebody's rights let be seen of one catalog.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    pub is_admin: bool,
    /// Roles and users this session may know of: itself and its closure; an admin knows all.
    pub roles: Vec<Role>,
    /// Schemas with something visible, those the session may make tables in or drop, and the system schemas; (name, oid),
    /// by name.
    pub schemas: Vec<(String, u32)>,
    /// Of `schemas`, those the session may create tables in.
    pub creatable: BTreeSet<String>,
    /// By name.
    pub tables: Vec<VisibleTable>,
    /// Sequences by which columns count, of tables that the session may only fill too: an INSERT asks them.
    pub counted: Vec<Counted>,
    /// It acts for another: nothing is its own then, neither what its login's is nor what the other's is.
    pub acts_for_another: bool,
    /// Made when they are first asked for.
    pub(crate) places: OnceLock<Places>,
}

/// A view is its sight and what is the session's alone.
impl std::ops::Deref for View {
    type Target = Sight;

    fn deref(&self) -> &Sight {
        &self.sight
    }
}

/// A row of pg_roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub oid: u32,
    /// Users log in; roles do not.
    pub login: bool,
    pub admin: bool,
    /// Names of the roles it is a member of, through other roles too.
    pub member_of: Vec<String>,
}

/// A temporary table, or a temporary view with its text.
#[derive(Debug, Clone)]
pub struct OwnTable {
    pub name: String,
    pub oid: u32,
    pub columns: SchemaRef,
    pub view: Option<String>,
}

/// A table as the session sees it.
#[derive(Debug, Clone)]
pub struct VisibleTable {
    pub name: TableName,
    pub oid: u32,
    /// `r` table, `v` dataset or a source's view, `m` materialized view.
    pub kind: char,
    /// Visible columns; nullability as the raw table's.
    pub schema: SchemaRef,
    /// What the session may do besides select.
    pub may_insert: bool,
    pub may_update: bool,
    pub may_delete: bool,
    pub owner: String,
    /// A dataset's text, for admins only; a view's for its owner too.
    pub definition: Option<String>,
    pub declared: Declared,
}

/// What a table's source says of it, as far as it names only what the session sees. Columns stand by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub indexes: Vec<Index>,
    pub constraints: Vec<Constraint>,
    pub comment: Option<String>,
    /// By column number.
    pub comments: Vec<(i16, String)>,
    /// What a column is where a row gives it no value, by its number, as a text of SQL.
    pub defaults: Vec<(i16, String)>,
    pub sequences: Vec<Sequence>,
    /// Oids of what a view reads, for those who may know what it says.
    pub reads: Vec<u32>,
    /// A materialized view that is not to be read before it is refreshed.
    pub is_unpopulated: bool,
}

/// What a column counts by.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub oid: u32,
    /// In the schema of its table.
    pub name: TableName,
    pub column: i16,
    pub counter: Counter,
}

/// A sequence that a session may name.
#[derive(Debug, Clone)]
pub struct Counted {
    pub oid: u32,
    pub name: TableName,
    pub table: TableName,
    pub column: String,
    pub counter: Counter,
    pub may_insert: bool,
    pub may_update: bool,
}

/// Numbers of sequences, and which of them this session was given.
pub trait Counts: fmt::Debug + Send + Sync {
    /// One that nobody else gets.
    fn next(&self, counted: &Counted) -> Result<i64>;

    /// What the session was given last, of one sequence or of any; `None` where it was given nothing.
    fn last(&self, sequence: Option<u32>) -> Option<i64>;

    /// The next number, for everybody.
    fn restart(&self, counted: &Counted, next: i128) -> Result<()>;
}

/// A btree index over columns.
#[derive(Debug, Clone)]
pub struct Index {
    pub oid: u32,
    /// In the schema of its table.
    pub name: TableName,
    pub columns: Vec<i16>,
    /// `indoption` of each column: 1 for DESC, 2 for NULLS FIRST.
    pub options: Vec<i16>,
    /// An operator class for each column.
    pub classes: Vec<u32>,
    pub unique: bool,
    pub primary: bool,
}

/// A key of a table.
#[derive(Debug, Clone)]
pub struct Constraint {
    pub oid: u32,
    pub name: String,
    /// `p`, `u`, `f`.
    pub kind: char,
    pub columns: Vec<i16>,
    /// Of the referenced table for a foreign key; 0 where there is none.
    pub index: u32,
    pub references: Option<References>,
    pub deferrable: bool,
    pub deferred: bool,
}

#[derive(Debug, Clone)]
pub struct References {
    pub table: u32,
    pub columns: Vec<i16>,
    pub on_update: char,
    pub on_delete: char,
    pub matching: char,
}

/// A row of pg_cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub name: String,
    pub statement: String,
    pub holdable: bool,
    pub binary: bool,
    pub scrollable: bool,
    /// In microseconds since 1970.
    pub created_at: i64,
}

/// The cursors that a session has open, as they are when they are asked for. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Listed(Arc<RwLock<Vec<Cursor>>>);

impl Listed {
    pub fn all(&self) -> Vec<Cursor> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn put(&self, cursors: Vec<Cursor>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = cursors;
    }
}

/// What the engine knows of a session besides its rights.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    pub settings: Handle,
    pub cursors: Listed,
    pub pid: i32,
    pub others: Others,
    pub server_started_at: i64,
    pub session_started_at: i64,
    pub jobs: Jobs,
    pub pipelines: Board,
    pub counts: Option<Arc<dyn Counts>>,
    pub reflections: refreshes::Board,
    pub statements: Option<Arc<dyn Statements>>,
}

/// Whether the schema is one of temporary tables.
pub fn is_temporary(schema: &str) -> bool {
    schema.starts_with("pg_temp_")
}

impl Sight {
    /// What `session` may know of `catalog`. `policies` are those the session was made from.
    pub fn of(catalog: &Catalog, policies: &Arc<Policies>, session: &SessionPolicy) -> Self {
        let is_admin = session.is_admin();
        let roles = roles(policies, session, session.current_user());
        let known: BTreeSet<&str> = roles.iter().map(|r| r.name.as_str()).collect();
        let mut tables: Vec<VisibleTable> =
            catalog.entries.values().filter_map(|entry| visible(entry, session, is_admin, &known)).collect();
        declared::declare(catalog, &mut tables);
        let creatable: BTreeSet<String> = catalog.schemas.keys().filter(|s| session.may_create(s)).cloned().collect();
        let wide = |s: &&String| session.may_create(s) || session.may_drop_schema(s);
        let wide = catalog.schemas.keys().filter(wide).map(String::as_str);
        let shown: BTreeSet<&str> = tables.iter().map(|t| t.name.schema.as_str()).chain(wide).collect();
        let mut schemas: Vec<(String, u32)> = shown.iter().map(|s| (s.to_string(), oid_of_schema(s))).collect();
        schemas.extend(SYSTEM_SCHEMAS.map(|(name, oid)| (name.to_string(), oid)));
        schemas.sort();
        let counted = catalog.entries.values().flat_map(|entry| declared::counted(entry, session)).collect();
        let acts_for_another = session.principal().acts_for().is_some();
        Self { is_admin, roles, schemas, creatable, tables, counted, acts_for_another, places: OnceLock::new() }
    }
}

impl View {
    /// What a session of `user` sees.
    pub fn new(database: &str, user: &str, sight: Arc<Sight>, about: Circumstances) -> Self {
        Self {
            database: database.to_owned(),
            user: user.to_owned(),
            sight,
            settings: about.settings,
            cursors: about.cursors,
            pid: about.pid,
            others: about.others,
            jobs: about.jobs,
            pipelines: about.pipelines,
            counts: about.counts,
            reflections: about.reflections,
            statements: about.statements,
            path: OnceLock::new(),
            server_started_at: about.server_started_at,
            session_started_at: about.session_started_at,
        }
    }

    /// What is `user`'s is the session's own.
    pub fn is_own(&self, user: &str) -> bool {
        !self.acts_for_another && self.user == user
    }

    /// Tables and views that only this session knows of.
    pub fn add_own(&mut self, schema: &str, tables: Vec<OwnTable>) {
        if tables.is_empty() {
            return;
        }
        let owner = self.user.clone();
        // its own from now on
        let sight = Arc::make_mut(&mut self.sight);
        sight.places = OnceLock::new();
        sight.schemas.push((schema.to_string(), named_oid("schema", schema)));
        sight.schemas.sort();
        sight.tables.extend(tables.into_iter().map(|own| VisibleTable {
            name: TableName::new(schema, own.name),
            oid: own.oid,
            kind: if own.view.is_some() { 'v' } else { 'r' },
            schema: own.columns,
            may_insert: own.view.is_none(),
            may_update: false,
            may_delete: false,
            owner: owner.clone(),
            definition: own.view.map(|sql| format!(" {sql};")),
            declared: Declared::default(),
        }));
        sight.tables.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// As SHOW says it; `None` where it says nothing.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.shown(name).ok()
    }

    /// Existing schemas of `search_path`, in its order, without pg_catalog where that is only implied.
    pub fn search_path(&self) -> &[String] {
        self.path.get_or_init(|| {
            let mut path: Vec<String> = vec![];
            for word in self.setting("search_path").unwrap_or_default().split(',') {
                let word = word.trim();
                let name = match word.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
                    Some("$user") => self.user.clone(),
                    Some(quoted) => quoted.replace("\"\"", "\""),
                    None if word == "$user" => self.user.clone(),
                    None => word.to_lowercase(),
                };
                if self.schemas.iter().any(|(schema, _)| *schema == name) && !path.contains(&name) {
                    path.push(name);
                }
            }
            path
        })
    }

    /// As [`View::search_path`], with pg_catalog first where it is not named: the order names are looked up in.
    pub fn lookup_path(&self) -> impl Iterator<Item = &str> {
        let path = self.search_path();
        let implied = (!path.iter().any(|schema| schema == "pg_catalog")).then_some("pg_catalog");
        // temporary tables come before all others
        let own = self.schemas.iter().map(|(name, _)| name.as_str()).filter(|name| is_temporary(name));
        own.chain(implied).chain(path.iter().map(String::as_str))
    }

    pub fn database_oid(&self) -> u32 {
        named_oid("database", &self.database)
    }

    pub fn schema_oid(&self, name: &str) -> Option<u32> {
        self.schemas.iter().find(|(n, _)| n == name).map(|(_, oid)| *oid)
    }

    /// The bootstrap role where the session knows none of this name.
    pub fn role_oid(&self, name: &str) -> u32 {
        self.roles.iter().find(|r| r.name == name).map_or(BOOTSTRAP.1, |r| r.oid)
    }

    pub fn role_name(&self, oid: u32) -> Option<&str> {
        let known = self.roles.iter().find(|r| r.oid == oid).map(|r| r.name.as_str());
        known.or((oid == BOOTSTRAP.1).then_some(BOOTSTRAP.0))
    }

    pub fn table(&self, name: &TableName) -> Option<&VisibleTable> {
        let found = self.tables.binary_search_by(|t| t.name.cmp(name)).ok()?;
        self.tables.get(found)
    }

    /// Oid of a visible table, dataset, index or system relation.
    pub fn relation_oid(&self, name: &TableName) -> Option<u32> {
        let system = || image::relation_by_name(name).map(|r| r.oid);
        let index = || self.places().index_names.get(name).copied();
        let of_system = || image::index_by_name(name).map(|index| index.oid);
        let sequence = || self.counted.iter().find(|counted| counted.name == *name).map(|counted| counted.oid);
        self.table(name).map(|t| t.oid).or_else(system).or_else(index).or_else(of_system).or_else(sequence)
    }

    pub fn relation_name(&self, oid: u32) -> Option<&TableName> {
        let system = || image::relation_by_oid(oid).map(|r| &r.name);
        let index = || self.index_by_oid(oid).map(|(_, index)| &index.name);
        let sequence = || self.counted_by_oid(oid).map(|counted| &counted.name);
        self.table_by_oid(oid).map(|t| &t.name).or_else(system).or_else(index).or_else(sequence)
    }

    /// Sequences of columns that are seen, each with the table that it counts for.
    pub fn sequences(&self) -> impl Iterator<Item = (&VisibleTable, &Sequence)> {
        self.tables.iter().flat_map(|table| table.declared.sequences.iter().map(move |sequence| (table, sequence)))
    }

    pub fn counted_by_oid(&self, oid: u32) -> Option<&Counted> {
        self.counted.iter().find(|counted| counted.oid == oid)
    }

    pub fn table_by_oid(&self, oid: u32) -> Option<&VisibleTable> {
        self.tables.get(*self.places().tables.get(&oid)?)
    }

    /// The table whose row type this is; true for the array of it.
    pub fn table_of_type(&self, oid: u32) -> Option<(&VisibleTable, bool)> {
        let (table, is_array) = self.places().types.get(&oid)?;
        Some((self.tables.get(*table)?, *is_array))
    }

    /// The relation and the index of this oid.
    pub fn index_by_oid(&self, oid: u32) -> Option<(u32, &Index)> {
        let own = || {
            let (table, at) = self.places().indexes.get(&oid)?;
            let table = self.tables.get(*table)?;
            Some((table.oid, table.declared.indexes.get(*at)?))
        };
        own().or_else(|| image::index_by_oid(oid))
    }

    /// The relation and the key of this oid.
    pub fn constraint_by_oid(&self, oid: u32) -> Option<(u32, &Constraint)> {
        let own = || {
            let (table, at) = self.places().constraints.get(&oid)?;
            let table = self.tables.get(*table)?;
            Some((table.oid, table.declared.constraints.get(*at)?))
        };
        own().or_else(|| image::constraints().iter().find(|(_, key)| key.oid == oid).map(|(of, key)| (*of, key)))
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.tables))
    }

    /// Can the relation be named without its schema? Another of the same name earlier on the path hides it.
    pub fn is_on_path(&self, name: &TableName) -> bool {
        let first =
            self.lookup_path().find(|schema| self.relation_oid(&TableName::new(*schema, &name.table)).is_some());
        first.is_some_and(|schema| schema == name.schema)
    }
}

/// The oids of a table's row type and of the array of it.
pub(in crate::catalog) fn row_type(table: u32) -> (u32, u32) {
    (named_oid("row type", &table.to_string()), named_oid("row type array", &table.to_string()))
}

/// The oid of something that is its name (schema, role, database), the same on every node.
pub fn named_oid(kind: &str, name: &str) -> u32 {
    oid_from(ObjectId::of(&format!("{kind}:{name}")).0)
}

/// A user oid from a hash: within `FIRST_OID..2³¹`, so that clients that read oids as signed numbers are not surprised.
pub fn oid_from(hash: u64) -> u32 {
    let span = u64::from((1_u32 << 31) - FIRST_OID);
    u32::try_from(hash % span).expect("the span is below 2³¹") + FIRST_OID
}

fn visible(entry: &super::Entry, session: &SessionPolicy, admin: bool, known: &BTreeSet<&str>) -> Option<VisibleTable> {
    let object = &entry.object;
    let Decision::Allow(grant) = session.decide(object.id, Action::Select) else { return None };
    let shown: Vec<_> = object.schema.fields().iter().filter(|f| !grant.hidden.contains(f.name())).cloned().collect();
    if shown.is_empty() && !object.schema.fields().is_empty() {
        return None;
    }
    let may = |action| matches!(session.decide(object.id, action), Decision::Allow(_));
    let (kind, owner, definition) = match &entry.body {
        Body::Table(table) => match &table.declared().materialized {
            None => (letter(table.declared().kind), BOOTSTRAP.0, None),
            Some(view) => {
                let is_told = admin || session.is_owner(&view.owner);
                ('m', view.owner.as_str(), is_told.then(|| format!(" {};", view.sql)))
            }
        },
        // whoever made a view knows what it says; it names tables that others may not know of
        Body::Dataset(dataset) => {
            let own = dataset.kept.is_some() && session.is_owner(&dataset.owner);
            let text = || match dataset.kept {
                // as a statement, which PostgreSQL's definitions of views are
                Some(_) => format!(" {};", dataset.sql),
                None => dataset.sql.clone(),
            };
            ('v', dataset.owner.as_str(), (admin || own).then(text))
        }
    };
    Some(VisibleTable {
        name: object.name.clone(),
        oid: entry.oid,
        kind,
        schema: Arc::new(Schema::new(shown)),
        may_insert: may(Action::Insert),
        may_update: may(Action::Update),
        may_delete: may(Action::Delete),
        owner: if known.contains(owner) { owner } else { BOOTSTRAP.0 }.to_string(),
        definition,
        declared: Declared::default(),
    })
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::Table => 'r',
        Kind::View => 'v',
        Kind::MaterializedView => 'm',
    }
}

fn oid_of_schema(name: &str) -> u32 {
    if name == PUBLIC.0 { PUBLIC.1 } else { named_oid("schema", name) }
}

/// The session's own names; for an admin those of every user too. The bootstrap role comes first.
fn roles(policies: &Arc<Policies>, session: &SessionPolicy, user: &str) -> Vec<Role> {
    let mut sessions = vec![(user.to_string(), session.clone())];
    if session.is_admin() {
        let others = policies.users().into_iter().filter(|u| *u != user);
        sessions.extend(others.filter_map(|u| Some((u.to_string(), policies.owner(u)?))));
    }
    let mut found: BTreeMap<String, Role> = BTreeMap::new();
    for (name, rights) in sessions {
        let others = || rights.closure().iter().filter(|r| ***r != *name).map(|r| r.to_string());
        for role in others() {
            found.entry(role.clone()).or_insert_with(|| Role {
                oid: named_oid("role", &role),
                login: false,
                admin: policies.owner(&role).is_some_and(|r| r.is_admin()),
                member_of: policies
                    .owner(&role)
                    .map_or(vec![], |r| r.closure().iter().filter(|c| ***c != *role).map(|c| c.to_string()).collect()),
                name: role,
            });
        }
        let member_of = others().collect();
        let oid = named_oid("role", &name);
        found.insert(name.clone(), Role { oid, login: true, admin: rights.is_admin(), member_of, name });
    }
    let bootstrap = Role { name: BOOTSTRAP.0.into(), oid: BOOTSTRAP.1, login: false, admin: true, member_of: vec![] };
    std::iter::once(bootstrap).chain(found.into_values()).collect()
}

#[cfg(test)]
mod tests;
