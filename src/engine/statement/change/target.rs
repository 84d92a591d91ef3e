//! The table that a statement changes: which one it is, whether its session may do that to it, and what the statement may
//! know of it. Reading it is judged by the guard.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use datafusion::catalog::Session as Planning;
use datafusion::sql::sqlparser::ast::Expr;

use super::super::name::table_name;
use super::super::{counter, default, target};
use super::later::Later;
use crate::engine::facts::Facts;
use crate::engine::temporary::{self, Temporary};
use crate::error::{Error, Kind, Result};
use crate::lake::{DEFAULT, KEY};
use crate::pgtype;
use crate::policy::{Action, Decision, Grant, NewRows, Object, Sealed, raw_name};
use crate::sources::declared::{self, Declared, KeyKind};
use crate::sources::{Table, Writer};
use crate::sql::bind::{self, Act, Found, Identity, StoredAs, Target, TargetColumn, TargetKey};
use crate::sql::parse::change::{Change, Insert, Then, Verb};
use crate::types::{ObjectId, TableName};

/// Where the rows go.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Lake {
        object: Arc<Object>,
        table: Arc<dyn Table>,
        writer: Arc<dyn Writer>,
    },
    /// Its source changes its rows.
    Source {
        object: Arc<Object>,
        table: Arc<dyn Table>,
        later: Arc<Later>,
    },
    Temporary {
        temporary: Temporary,
        name: TableName,
        schema: SchemaRef,
    },
}

/// What is asked of new rows.
pub(super) struct Checks {
    pub(super) insert: Option<NewRows>,
    pub(super) update: Option<NewRows>,
}

impl Goal {
    pub(crate) fn name(&self) -> &TableName {
        match self {
            Self::Lake { object, .. } | Self::Source { object, .. } => &object.name,
            Self::Temporary { name, .. } => name,
        }
    }

    /// All columns of the table.
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Lake { object, .. } | Self::Source { object, .. } => &object.schema,
            Self::Temporary { schema, .. } => schema,
        }
    }

    /// The column in which the table keeps what a row is known by, if it does.
    pub(super) fn row_id(&self) -> Option<FieldRef> {
        match self {
            Self::Lake { table, .. } => table.place().get(2).cloned(),
            Self::Source { .. } | Self::Temporary { .. } => None,
        }
    }

    pub(crate) fn is_source(&self) -> bool {
        matches!(self, Self::Source { .. })
    }

    /// Of a table of the catalog.
    pub(crate) fn object(&self) -> Option<(ObjectId, &Arc<dyn Table>)> {
        match self {
            Self::Lake { object, table, .. } | Self::Source { object, table, .. } => Some((object.id, table)),
            Self::Temporary { .. } => None,
        }
    }

    /// 42501 where the session may not do this to the table now.
    pub(super) fn ask(&self, facts: &Facts, acts: &[Act]) -> Result<()> {
        let (Self::Lake { object, .. } | Self::Source { object, .. }) = self else { return Ok(()) };
        for act in acts {
            if let Decision::Deny = facts.policy.decide(object.id, action(*act)) {
                return Err(denied(&object.name));
            }
        }
        Ok(())
    }

    /// The session may read every row and every column of it.
    pub(super) fn sees_all(&self, facts: &Facts) -> bool {
        match self.object().map(|(object, _)| facts.policy.decide(object, Action::Select)) {
            Some(Decision::Allow(grant)) => grant.is_full(),
            Some(Decision::Deny) | None => false,
        }
    }

    pub(super) fn checks(&self, facts: &Facts, acts: &[Act], session: &dyn Planning) -> Result<Checks> {
        let check = |act: Act| match self {
            Self::Lake { object, .. } | Self::Source { object, .. } if acts.contains(&act) => {
                match facts.policy.decide(object.id, action(act)) {
                    Decision::Allow(grant) => NewRows::of(&grant, object, session),
                    Decision::Deny => Err(denied(&object.name)),
                }
            }
            Self::Lake { .. } | Self::Source { .. } | Self::Temporary { .. } => Ok(None),
        };
        Ok(Checks { insert: check(Act::Insert)?, update: check(Act::Update)? })
    }
}

fn action(act: Act) -> Action {
    match act {
        Act::Insert => Action::Insert,
        Act::Update => Action::Update,
        Act::Delete => Action::Delete,
    }
}

fn denied(name: &TableName) -> Error {
    Error::new(Kind::PermissionDenied, format!("permission denied for table {}", name.table))
}

/// What a statement would do, by its own words, the first of them first.
fn wanted(verb: &Verb) -> Vec<Act> {
    match verb {
        Verb::Insert(Insert { conflict, .. }) => {
            let updates = conflict.as_ref().is_some_and(|conflict| conflict.update.is_some());
            if updates { vec![Act::Insert, Act::Update] } else { vec![Act::Insert] }
        }
        Verb::Update(_) => vec![Act::Update],
        Verb::Delete => vec![Act::Delete],
        Verb::Merge(whens) => {
            let act = |then: &Then| match then {
                Then::Nothing => None,
                Then::Delete => Some(Act::Delete),
                Then::Update(_) => Some(Act::Update),
                Then::Insert { .. } => Some(Act::Insert),
            };
            whens.iter().filter_map(|when| act(&when.then)).collect()
        }
    }
}

/// The table of that name, where the session may do all of the statement to it.
pub(crate) fn goal(facts: &Facts, change: &Change) -> Result<(Target, Goal)> {
    let name = table_name(&change.shape.target)?;
    if facts.temporary.has(&name) && facts.temporary.view(&name.table).is_some() {
        let first = wanted(&change.shape.verb).into_iter().next().map_or(Action::Select, action);
        return Err(target::not_for_views(&name.table, first));
    }
    if facts.temporary.has(&name)
        && let Some((schema, rows, oid)) = facts.temporary.placed(&name.table)
    {
        return temporary_target(facts, &name.table, &schema, rows, oid);
    }
    let acts = wanted(&change.shape.verb);
    // a MERGE that does nothing reads the table and no more
    let actions = if acts.is_empty() { vec![Action::Select] } else { acts.iter().map(|act| action(*act)).collect() };
    let mut found = None;
    for action in actions {
        found = Some(target::of_rows(facts, &name, action)?);
    }
    let (entry, writer) = found.ok_or_else(|| Error::internal("a statement that does nothing"))?;
    let table = target::of_lake(entry)?;
    let object = Arc::clone(&entry.object);
    let grant = match facts.policy.decide(object.id, Action::Select) {
        Decision::Allow(grant) => Some(grant),
        Decision::Deny => None,
    };
    let Some(writer) = writer else {
        may_be_asked(&change.shape.verb)?;
        // what a new row has in a column that is hidden is the source's to say
        let target = catalog_target(facts, &object, grant.as_deref(), table.as_ref(), false)?;
        let later = Arc::new(Later::of(&object.name));
        let foreign = Some(Arc::clone(&later) as Arc<dyn bind::Later>);
        return Ok((Target { foreign, ..target }, Goal::Source { object, table, later }));
    };
    let inserts = acts.contains(&Act::Insert);
    let place = table.place();
    if place.is_empty() && !matches!(&change.shape.verb, Verb::Insert(Insert { conflict: None, .. })) {
        return Err(Error::unsupported("changing rows of this table"));
    }
    let target = catalog_target(facts, &object, grant.as_deref(), table.as_ref(), inserts)?;
    Ok((target, Goal::Lake { object, table, writer }))
}

/// 0A000 for what cannot be said to a source as it is.
fn may_be_asked(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Insert(Insert { conflict: Some(conflict), .. }) if conflict.update.is_some() => {
            Err(Error::unsupported("ON CONFLICT DO UPDATE of a source's table")
                .with_hint("UPDATE first, then INSERT … ON CONFLICT DO NOTHING."))
        }
        Verb::Merge(_) => Err(Error::unsupported("MERGE into a source's table")
            .with_hint("Use UPDATE … FROM, DELETE … USING and INSERT … SELECT in one transaction.")),
        Verb::Insert(_) | Verb::Update(_) | Verb::Delete => Ok(()),
    }
}

fn catalog_target(
    facts: &Facts,
    object: &Arc<Object>,
    grant: Option<&Grant>,
    table: &dyn Table,
    inserts: bool,
) -> Result<Target> {
    let raw = &object.schema;
    if raw.fields().iter().any(|field| field.name().starts_with('\0')) {
        return Err(Error::unsupported("changing a table with a column of such a name"));
    }
    let hidden = |field: &FieldRef| grant.is_some_and(|grant| grant.hidden.contains(field.name()));
    if inserts && raw.fields().iter().any(|field| hidden(field) && !field.is_nullable()) {
        return Err(denied(&object.name));
    }
    let full = Grant::full();
    let (place, shown) = (table.place(), grant.unwrap_or(&full));
    let source = shown.target(raw, &place);
    let at = |name: &str| source.index_of(name);
    let column = |field: &FieldRef| {
        let visible = if hidden(field) { None } else { Some(at(field.name())?) };
        let carried = if shown.carries(field.name()) { at(&raw_name(field.name()))? } else { at(field.name())? };
        let (default, identity) = own_value(&object.name.schema, table.declared(), field)?;
        let (stored, named) = (stored(field)?, !hidden(field));
        Ok(TargetColumn { stored, named, shown: visible, raw: carried, default, identity })
    };
    let columns = raw.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let keys = table.declared().keys.iter().filter(|key| matches!(key.kind, KeyKind::Primary | KeyKind::Unique));
    let keys = keys.map(|key| TargetKey { name: key.name.clone(), columns: key.columns.clone() }).collect();
    let width = source.fields().len();
    let found = Found {
        schema: object.name.schema.clone(),
        name: object.name.table.clone(),
        oid: facts.view.relation_oid(&object.name).unwrap_or_default(),
        table: Sealed::target(Arc::clone(object), shown, place.clone()),
        // of such a one no row is changed
        is_materialized: false,
    };
    Ok(Target { found, columns, place: width - place.len()..width, keys, unread: grant.is_none(), foreign: None })
}

/// What a column is where a row has no value for it, and whether it is an identity.
fn own_value(schema: &str, declared: &Declared, field: &Field) -> Result<(Option<Expr>, Option<Identity>)> {
    let counter = declared.counters.get(field.name());
    let text = counter.map(|counter| counter::default(schema, counter));
    let text = text.as_deref().or(declared.defaults.get(field.name()).map(String::as_str));
    let identity = counter.and_then(|counter| counter.identity).map(|kind| match kind {
        declared::Identity::Always => Identity::Always,
        declared::Identity::ByDefault => Identity::ByDefault,
    });
    Ok((text.map(default::read).transpose()?, identity))
}

fn temporary_target(
    facts: &Facts,
    table: &str,
    schema: &SchemaRef,
    rows: Arc<dyn crate::policy::OwnRows>,
    oid: u32,
) -> Result<(Target, Goal)> {
    let width = schema.fields().len();
    let name = TableName::new(temporary::SCHEMA, table);
    let of_key = schema.fields().iter().filter(|field| field.metadata().contains_key(KEY));
    let key: Vec<String> = of_key.map(|field| field.name().clone()).collect();
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let default = field.metadata().get(DEFAULT).map(|text| default::read(text)).transpose()?;
        Ok(TargetColumn { stored: stored(field)?, named: true, shown: Some(at), raw: at, default, identity: None })
    });
    let target = Target {
        columns: columns.collect::<Result<_>>()?,
        found: Found {
            schema: name.schema.clone(),
            name: name.table.clone(),
            table: Sealed::own(name.clone(), Temporary::placed_schema(schema), rows),
            oid,
            is_materialized: false,
        },
        place: width..width + 2,
        keys: if key.is_empty() { vec![] } else { vec![TargetKey { name: format!("{table}_pkey"), columns: key }] },
        unread: false,
        foreign: None,
    };
    Ok((target, Goal::Temporary { temporary: facts.temporary.clone(), name, schema: Arc::clone(schema) }))
}

fn stored(field: &FieldRef) -> Result<StoredAs> {
    let (name, ty) = (field.name().clone(), pgtype::of_field(field)?);
    Ok(StoredAs { name, ty, data_type: field.data_type().clone() })
}
