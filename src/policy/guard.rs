//! LogicalPlan → Guarded: every sealed scan, subqueries included, is replaced by what its principal may see of it.
//! It runs on the bound, unanalysed plan and pushes nothing; the optimizer comes after.

mod nodes;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::logical_plan::{SubqueryAlias, TableScan};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;

use self::nodes::{allowed, count_sealed, has_rows_of_its_own, is_planner_made};
use super::body::BodyTable;
use super::leaf::QUERY;
use super::open::Opened;
use super::seal::{Content, Query, Sealed};
use super::system::SystemTable;
use super::{Action, Decision, Grant, Object, ObjectKind, Past, Policies, SessionPolicy, verify};
use crate::error::{Error, Kind, Result};
use crate::sql::bind::QUERY_FUNCTION;
use crate::sql::lower;
use crate::types::{ObjectId, Reads, Share, SnapshotVector, TableName, Version};

/// Datasets over datasets deeper than this are refused.
pub const DATASET_DEPTH_MAX: usize = 16;

/// Raw tables as one statement sees them. Anyone may put one in; only `guard` takes one out.
#[derive(Default)]
pub struct Pins {
    tables: HashMap<ObjectId, (Arc<dyn TableProvider>, Reads)>,
    /// With the places of their rows.
    targets: HashMap<ObjectId, (Arc<dyn TableProvider>, Reads)>,
    vector: SnapshotVector,
}

impl Pins {
    pub fn insert(&mut self, object: ObjectId, version: Version, provider: Arc<dyn TableProvider>, reads: Reads) {
        self.tables.insert(object, (provider, reads));
        self.vector.insert(object, version);
    }

    /// The table that the statement changes, with the places of its rows behind its columns.
    pub fn insert_target(&mut self, object: ObjectId, provider: Arc<dyn TableProvider>, reads: Reads) {
        self.targets.insert(object, (provider, reads));
    }

    pub fn contains(&self, object: ObjectId) -> bool {
        self.tables.contains_key(&object)
    }

    pub fn vector(&self) -> &SnapshotVector {
        &self.vector
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pins").field(&self.vector).finish()
    }
}

/// A dataset's body, planned in a context of its own over what its owner sees.
#[derive(Debug, Clone)]
pub struct DatasetBody {
    pub plan: LogicalPlan,
    pub owner: SessionPolicy,
}

/// What `guard` needs besides the plan.
pub struct Opening<'a> {
    pub policy: &'a SessionPolicy,
    pub pins: &'a Pins,
    /// Bodies of the datasets the plan reaches, by object.
    pub bodies: &'a HashMap<ObjectId, DatasetBody>,
}

/// An object a guarded plan reads, for the audit line and the cache key.
#[derive(Debug, Clone)]
pub struct OpenedObject {
    pub id: ObjectId,
    pub name: TableName,
    pub grant: Arc<Grant>,
    /// Inside a dataset: its owner, then the owners of the datasets that lead to it.
    pub owners: Vec<Arc<str>>,
    /// No table: what this source answers to a text.
    pub source: Option<Arc<str>>,
}

impl OpenedObject {
    /// The same grant under `policies` too: a suspended result may go on.
    pub fn holds(&self, policies: &Arc<Policies>, session: &SessionPolicy) -> bool {
        if let Some(source) = &self.source {
            return session.may_query(source);
        }
        let owners: Option<Vec<_>> = self.owners.iter().map(|name| policies.owner(name)).collect();
        let now = match owners.as_deref() {
            Some([]) => session.decide(self.id, Action::Select),
            Some([owner, via @ ..]) => session.through(owner, via, self.id),
            None => Decision::Deny,
        };
        matches!(now, Decision::Allow(grant) if grant.fingerprint() == self.grant.fingerprint())
    }
}

/// A leaf that may stand without a barrier of its own: it reads only this fully granted object, and others like it.
#[derive(Clone)]
pub(crate) struct Free {
    pub(in crate::policy) name: TableName,
    pub(in crate::policy) reads: Reads,
    /// As of [`super::barrier::Below::Table`].
    pub(crate) behind: Vec<String>,
    /// What the scans are called that it was opened for.
    pub(in crate::policy) scan: String,
    /// A stored table that may be read in the object's place.
    pub(in crate::policy) stored: Option<Arc<str>>,
}

impl Free {
    /// Which of the leaf's tables this one is.
    pub(crate) fn reads(&self, leaf: &dyn ExecutionPlan) -> Option<Share> {
        (self.reads)(leaf)
    }
}

/// An object that a node of a physical plan reads.
pub(crate) enum Scan {
    /// `schema.table` behind a barrier.
    Restricted(String),
    /// One that is granted in full, or several of one source that it answers for together.
    Whole(Vec<TableName>),
    /// What is stored of one that is granted in full, and by whom.
    Stored(TableName, Arc<str>),
}

/// A plan in which nothing is sealed and nothing is raw: all that `engine::run` accepts. Made by [`guard`] alone; what is
/// stored elsewhere is put into one by [`super::stored`].
pub struct Guarded {
    plan: LogicalPlan,
    opened: Vec<OpenedObject>,
    free: Vec<Free>,
}

impl Guarded {
    pub fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    pub fn opened(&self) -> &[OpenedObject] {
        &self.opened
    }

    /// What `node` of this plan's physical form reads by itself, for EXPLAIN: below a barrier there is nothing to be shown.
    pub(crate) fn reads(&self, node: &Arc<dyn ExecutionPlan>) -> Option<Scan> {
        if let Some(barrier) = verify::barrier(node) {
            return Some(Scan::Restricted(barrier.proof().table.clone()));
        }
        let whole = self.free.iter().filter(|free| node.children().is_empty() && free.reads(node.as_ref()).is_some());
        let mut names: Vec<TableName> = vec![];
        for free in whole {
            if let Some(stored) = &free.stored {
                return Some(Scan::Stored(free.name.clone(), Arc::clone(stored)));
            }
            if !names.contains(&free.name) {
                names.push(free.name.clone());
            }
        }
        (!names.is_empty()).then_some(Scan::Whole(names))
    }

    /// For what is put in the place of its parts.
    pub(in crate::policy) fn into_parts(self) -> (LogicalPlan, Vec<OpenedObject>, Vec<Free>) {
        (self.plan, self.opened, self.free)
    }

    pub(in crate::policy) fn of_parts(plan: LogicalPlan, opened: Vec<OpenedObject>, free: Vec<Free>) -> Self {
        Self { plan, opened, free }
    }

    /// The walk of `verify` over the physical form of this plan.
    pub fn verify(&self, physical: &Arc<dyn ExecutionPlan>) -> Result<()> {
        Ok(verify::verify(physical, &self.free)?)
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("opened", &self.opened).finish_non_exhaustive()
    }
}

/// 42501 or 42P01 where a right is missing, XX000 where a plan holds something no statement of ours can contain.
pub fn guard(plan: LogicalPlan, opening: &Opening<'_>) -> Result<Guarded> {
    let walk = Walk { opening, opened: RefCell::default(), free: RefCell::default() };
    let plan = walk.plan(plan, &Rights::Own, 0)?;
    let left = count_sealed(&plan)?;
    if left > 0 {
        return Err(Error::internal(format!("guard left {left} sealed scans")));
    }
    Ok(Guarded { plan, opened: walk.opened.into_inner(), free: walk.free.into_inner() })
}

/// By whose rights a scan is opened.
enum Rights {
    /// The session's own.
    Own,
    /// Inside a dataset: its owner's, under whatever lines name the caller. `via`: the owners of the datasets that lead
    /// there; lines that name one of them count too, or a dataset over a dataset could give more than its maker has.
    /// `path`: the datasets that lead there, the one whose body it is last.
    Through { owner: SessionPolicy, via: Vec<SessionPolicy>, path: Vec<String> },
}

impl Rights {
    fn owners(&self) -> impl Iterator<Item = &SessionPolicy> {
        let (owner, via): (Option<&SessionPolicy>, &[SessionPolicy]) = match self {
            Self::Own => (None, &[]),
            Self::Through { owner, via, .. } => (Some(owner), via),
        };
        owner.into_iter().chain(via)
    }

    fn path(&self) -> &[String] {
        match self {
            Self::Own => &[],
            Self::Through { path, .. } => path,
        }
    }
}

/// A table that is to be opened.
struct Raw<'a> {
    object: &'a Object,
    /// It is pinned by this: the object itself, or one of its versions.
    pin: ObjectId,
    /// The grant in the names of now.
    of_now: &'a Grant,
}

struct Walk<'a> {
    opening: &'a Opening<'a>,
    opened: RefCell<Vec<OpenedObject>>,
    free: RefCell<Vec<Free>>,
}

impl Walk<'_> {
    fn plan(&self, plan: LogicalPlan, rights: &Rights, depth: usize) -> Result<LogicalPlan> {
        if depth > DATASET_DEPTH_MAX {
            return Err(Error::new(Kind::TooComplex, format!("datasets nested deeper than {DATASET_DEPTH_MAX}")));
        }
        let visited = plan.transform_down_with_subqueries(|node| match node {
            // Jump: what was put in is not walked again with the caller's rights
            LogicalPlan::TableScan(scan) => {
                Ok(Transformed::new(self.scan(scan, rights, depth)?, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(allowed(other)?)),
        });
        Ok(visited?.data)
    }

    fn scan(&self, scan: TableScan, rights: &Rights, depth: usize) -> Result<LogicalPlan> {
        let Some(sealed) = scan.source.downcast_ref::<Sealed>() else {
            return if is_planner_made(&scan) {
                Ok(LogicalPlan::TableScan(scan))
            } else {
                Err(Error::internal(format!("unsealed scan of {}", scan.table_name)))
            };
        };
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Error::internal("guard must run before the optimizer"));
        }
        let opened = match &sealed.content {
            Content::System { rows, name } => system(name, Arc::new(SystemTable(Arc::clone(rows))), &scan.table_name)?,
            // a body was never planned over the caller's own tables
            Content::Own { .. } if !matches!(rights, Rights::Own) => {
                return Err(Error::internal("a temporary table inside a dataset"));
            }
            Content::Own { rows, name } => {
                let table = MemTable::try_new(Arc::clone(&sealed.schema), vec![rows.batches()?])?;
                system(name, Arc::new(table), &scan.table_name)?
            }
            Content::Query(query) => self.query(query, &scan, rights)?,
            Content::Target { object, place } => self.target(object, place, sealed, &scan, rights)?,
            Content::Object(object) => self.object(object, None, sealed, &scan, rights, depth)?,
            Content::Past(object, past) => self.object(object, Some(past), sealed, &scan, rights, depth)?,
        };
        same_columns(&opened, &scan)?;
        Ok(opened)
    }

    fn object(
        &self,
        object: &Arc<Object>,
        past: Option<&Arc<Past>>,
        sealed: &Sealed,
        scan: &TableScan,
        rights: &Rights,
        depth: usize,
    ) -> Result<LogicalPlan> {
        let (of_now, owners_grant) = self.rights_on(object, rights)?;
        let (grant, owners_grant) = match past {
            None => (Arc::clone(&of_now), owners_grant),
            Some(past) => (Arc::new(past.grant(&of_now)?), Arc::new(past.grant(&owners_grant)?)),
        };
        let forbidden: BTreeSet<String> = grant.hidden.difference(&owners_grant.hidden).cloned().collect();
        let schema = past.map_or(&object.schema, |past| &past.schema);
        // a cached plan was made for the schema of its day; a column hidden since must not ride along in it
        if planned_schema(&grant, &forbidden, schema) != sealed.schema {
            return Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type"));
        }
        let owners = rights.owners().map(|owner| Arc::clone(&owner.principal().user)).collect();
        self.opened.borrow_mut().push(OpenedObject {
            id: object.id,
            name: object.name.clone(),
            grant: Arc::clone(&of_now),
            owners,
            source: None,
        });
        match object.kind {
            ObjectKind::Dataset => self.dataset(object, grant, forbidden, sealed, scan, (rights, depth)),
            ObjectKind::Table | ObjectKind::Metadata | ObjectKind::MetadataOf { .. } => {
                let raw = Raw { object, pin: past.map_or(object.id, |past| past.pin), of_now: &of_now };
                self.table(raw, grant, forbidden, sealed, scan, rights)
            }
        }
    }

    /// The grant, and the one that the statement was planned with: in a dataset its owner's, which may show columns that
    /// its caller is not to see.
    fn rights_on(&self, object: &Object, rights: &Rights) -> Result<(Arc<Grant>, Arc<Grant>)> {
        let caller = self.opening.policy;
        match rights {
            Rights::Own => match caller.decide(object.id, Action::Select) {
                Decision::Allow(grant) => Ok((Arc::clone(&grant), grant)),
                Decision::Deny => Err(undefined_table(&object.name)),
            },
            Rights::Through { owner, via, path } => {
                let dataset = path.last().map(String::as_str).unwrap_or_default();
                let refused = || Error::new(Kind::PermissionDenied, format!("permission denied for view {dataset}"));
                let Decision::Allow(both) = caller.through(owner, via, object.id) else { return Err(refused()) };
                let Decision::Allow(owners) = owner.decide(object.id, Action::Select) else { return Err(refused()) };
                Ok((both, owners))
            }
        }
    }

    fn table(
        &self,
        Raw { object, pin, of_now }: Raw<'_>,
        grant: Arc<Grant>,
        forbidden: BTreeSet<String>,
        sealed: &Sealed,
        scan: &TableScan,
        rights: &Rights,
    ) -> Result<LogicalPlan> {
        let Some((raw, reads)) = self.opening.pins.tables.get(&pin) else {
            return Err(Error::internal(format!("{} was not pinned", object.name)));
        };
        let behind = match self.sees_all(object.id, of_now) {
            true => vec![],
            false => rights.path().to_vec(),
        };
        // VALUES and a memory table are one kind of leaf: a memory table keeps its barrier under a full grant too
        let free = grant.is_full() && forbidden.is_empty() && !raw.is::<MemTable>();
        let fingerprint = grant.fingerprint();
        let provider: Arc<dyn TableProvider> = if free {
            self.free.borrow_mut().push(Free {
                name: object.name.clone(),
                reads: Arc::clone(reads),
                behind: behind.clone(),
                scan: scan_name(pin, &[fingerprint], &behind),
                stored: None,
            });
            Arc::clone(raw)
        } else {
            Arc::new(Opened {
                table: object.name.to_string(),
                raw: Arc::clone(raw),
                grant,
                schema: Arc::clone(&sealed.schema),
                forbidden,
                dataset: rights.path().last().cloned(),
                behind: behind.clone(),
            })
        };
        scan_of(pin, &[fingerprint], &behind, provider, scan)
    }

    /// What a source answers to a text. No rule about a table has a part in it: the right to query the source is all of it,
    /// and is the session's own. A view hands nobody a source: what its owner may have run there was never judged row by
    /// row, and its reader could not be held to less.
    fn query(&self, query: &Query, scan: &TableScan, rights: &Rights) -> Result<LogicalPlan> {
        if !matches!(rights, Rights::Own) || !self.opening.policy.may_query(&query.source) {
            return Err(may_not_query(&query.source));
        }
        let name = TableName::new(query.source.as_ref(), QUERY_FUNCTION);
        self.opened.borrow_mut().push(OpenedObject {
            id: ObjectId::of(&format!("{name}#{:016x}", query.text_hash)),
            name: name.clone(),
            grant: Arc::new(Grant::full()),
            owners: vec![],
            source: Some(Arc::clone(&query.source)),
        });
        // two texts on one source are two scans
        let scan_name = format!("{}.{:016x}#{QUERY}", query.source, query.text_hash);
        self.free.borrow_mut().push(Free {
            name,
            reads: Arc::clone(&query.reads),
            behind: vec![],
            scan: scan_name.clone(),
            stored: None,
        });
        let inner = TableReference::bare(scan_name);
        let source = provider_as_source(Arc::clone(&query.provider));
        alias(LogicalPlanBuilder::scan(inner, source, None)?.build()?, scan.table_name.clone())
    }

    /// The table that the statement changes, by the session's own right to read it. Who may not read it changes no row.
    fn target(
        &self,
        object: &Arc<Object>,
        place: &[FieldRef],
        sealed: &Sealed,
        scan: &TableScan,
        rights: &Rights,
    ) -> Result<LogicalPlan> {
        if !matches!(rights, Rights::Own) {
            return Err(Error::internal("a statement's target inside a dataset"));
        }
        let Decision::Allow(grant) = self.opening.policy.decide(object.id, Action::Select) else {
            return Err(undefined_table(&object.name));
        };
        if grant.target(&object.schema, place) != sealed.schema {
            return Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type"));
        }
        let Some((raw, reads)) = self.opening.pins.targets.get(&object.id) else {
            return Err(Error::internal(format!("{} was not pinned to be changed", object.name)));
        };
        self.opened.borrow_mut().push(OpenedObject {
            id: object.id,
            name: object.name.clone(),
            grant: Arc::clone(&grant),
            owners: vec![],
            source: None,
        });
        let rights = [grant.fingerprint()];
        let provider: Arc<dyn TableProvider> = if grant.is_full() && !raw.is::<MemTable>() {
            // nothing is stored of where rows are
            let (scan, stored) = (String::new(), None);
            let free = Free { name: object.name.clone(), reads: Arc::clone(reads), behind: vec![], scan, stored };
            self.free.borrow_mut().push(free);
            Arc::clone(raw)
        } else {
            Arc::new(Opened {
                table: object.name.to_string(),
                raw: Arc::clone(raw),
                grant,
                schema: Arc::clone(&sealed.schema),
                forbidden: BTreeSet::new(),
                dataset: None,
                behind: vec![],
            })
        };
        scan_of(object.id, &rights, &["as a target".to_string()], provider, scan)
    }

    /// The body under its owner's rights. Whoever has a right of their own to all that it reads gets it as it is; anyone
    /// else could learn of rows that it leaves out, by a predicate that fails on one of them, and gets a barrier above it.
    /// So does the caller's filter and masks on the dataset itself need one.
    fn dataset(
        &self,
        object: &Object,
        grant: Arc<Grant>,
        forbidden: BTreeSet<String>,
        sealed: &Sealed,
        scan: &TableScan,
        (outer, depth): (&Rights, usize),
    ) -> Result<LogicalPlan> {
        let Some(body) = self.opening.bodies.get(&object.id) else {
            return Err(Error::internal(format!("the body of {} was not planned", object.name)));
        };
        let via = outer.owners().cloned().collect();
        let path = outer.path().iter().cloned().chain([object.name.to_string()]).collect();
        let rights = Rights::Through { owner: body.owner.clone(), via, path };
        let before = self.opened.borrow().len();
        let plan = self.plan(lower::apart(body.plan.clone())?, &rights, depth + 1)?;
        let plan = columns_by_name(plan, object)?;
        let inside: Vec<(ObjectId, Arc<Grant>)> =
            self.opened.borrow().iter().skip(before).map(|o| (o.id, Arc::clone(&o.grant))).collect();
        let mut tables = inside.iter().filter(|(id, _)| !self.opening.bodies.contains_key(id)).peekable();
        // rows that stand in the body's own text are nobody's to see whole
        let all_seen = tables.peek().is_some() && !has_rows_of_its_own(&plan)?;
        if grant.is_full() && all_seen && tables.all(|(id, inside)| self.sees_all(*id, inside)) {
            return alias(plan, scan.table_name.clone());
        }
        let rights = std::iter::once(&grant).chain(inside.iter().map(|(_, grant)| grant));
        let rights: Vec<u64> = rights.map(|grant| grant.fingerprint()).collect();
        let provider = Arc::new(Opened {
            table: object.name.to_string(),
            raw: Arc::new(BodyTable::new(object.name.to_string(), plan)),
            schema: Arc::clone(&sealed.schema),
            grant,
            forbidden,
            dataset: outer.path().last().cloned(),
            behind: vec![],
        });
        scan_of(object.id, &rights, outer.path(), provider, scan)
    }

    /// The caller has a right of their own to every row and to every column that `inside` a dataset can be read. (A
    /// record's raw columns are mostly neither's.)
    fn sees_all(&self, object: ObjectId, inside: &Grant) -> bool {
        let Decision::Allow(own) = self.opening.policy.decide(object, Action::Select) else { return false };
        own.filter.is_none() && own.masks.is_empty() && own.denied.is_empty() && own.hidden.is_subset(&inside.hidden)
    }
}

/// TableScan's Eq and Hash ignore its source: what one scan may show and another may not, the fingerprints of the grants
/// in it and the datasets it is read through, goes into the name they do look at.
fn scan_of(
    id: ObjectId,
    grants: &[u64],
    through: &[String],
    provider: Arc<dyn TableProvider>,
    scan: &TableScan,
) -> Result<LogicalPlan> {
    let inner = TableReference::bare(scan_name(id, grants, through));
    alias(LogicalPlanBuilder::scan(inner, provider_as_source(provider), None)?.build()?, scan.table_name.clone())
}

fn scan_name(id: ObjectId, grants: &[u64], through: &[String]) -> String {
    let rights = xxhash_rust::xxh3::xxh3_64(format!("{grants:?}{through:?}").as_bytes());
    format!("{id}#{rights:016x}")
}

/// Byte-equal for a table that is absent and one that is not granted.
pub fn undefined_table(name: &TableName) -> Error {
    Error::new(Kind::UndefinedTable, format!("relation \"{}.{}\" does not exist", name.schema, name.table))
}

/// Byte-equal for a source that is absent, one that runs no texts, and one that the session may not query.
pub fn may_not_query(source: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("permission denied to query source \"{source}\""))
}

/// The schema a statement was planned with: inside a dataset forbidden columns stand in it, and `Opened` refuses them.
fn planned_schema(grant: &Grant, forbidden: &BTreeSet<String>, schema: &SchemaRef) -> SchemaRef {
    if forbidden.is_empty() {
        return grant.visible(schema);
    }
    let mut owners = grant.clone();
    owners.hidden.retain(|c| !forbidden.contains(c));
    owners.visible(schema)
}

/// Rows that need no grant: they were computed for the session, or are its own. No cached answer has them in it.
fn system(name: &TableName, table: Arc<dyn TableProvider>, seen_as: &TableReference) -> Result<LogicalPlan> {
    let inner = TableReference::bare(format!("{name}#system"));
    alias(LogicalPlanBuilder::scan(inner, provider_as_source(table), None)?.build()?, seen_as.clone())
}

fn alias(plan: LogicalPlan, name: TableReference) -> Result<LogicalPlan> {
    Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), name)?))
}

/// A body's columns under the dataset's names, by position: a body may name two columns alike.
fn columns_by_name(plan: LogicalPlan, object: &Object) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    if columns.len() != object.schema.fields().len() {
        return Err(Error::new(Kind::CachedPlanChanged, format!("view {} has changed", object.name)));
    }
    let named = columns.into_iter().zip(object.schema.fields()).map(|(c, f)| Expr::Column(c).alias(f.name()));
    Ok(LogicalPlanBuilder::from(plan).project(named.collect::<Vec<_>>())?.build()?)
}

/// The one invariant that keeps every column reference above valid.
fn same_columns(opened: &LogicalPlan, scan: &TableScan) -> Result<()> {
    let (new, old) = (opened.schema(), &scan.projected_schema);
    let equal = new.fields().len() == old.fields().len()
        && new
            .iter()
            .zip(old.iter())
            .all(|((q1, f1), (q2, f2))| q1 == q2 && f1.name() == f2.name() && f1.data_type() == f2.data_type());
    if equal { Ok(()) } else { Err(Error::internal(format!("opened schema differs: {new:?} / {old:?}"))) }
}

#[cfg(test)]
mod tests;
