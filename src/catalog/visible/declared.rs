//! Keys, indexes and comments of sources as a session sees them: what names a column or a table that it does not see is
//! left out whole.

use std::collections::HashMap;

use super::{Constraint, Counted, Declared, Index, References, Sequence, VisibleTable, named_oid};
use crate::catalog::pg_catalog::image::default_operator_class;
use crate::catalog::{Body, Catalog, Entry};
use crate::formats::postgres::pg_type;
use crate::policy::{Action, Decision, SessionPolicy};
use crate::sources::declared::{Counter, Declared as Said, KeyKind};
use crate::types::TableName;

/// Fills in what the sources of `tables` say.
pub(super) fn declare(catalog: &Catalog, tables: &mut [VisibleTable]) {
    let said = |name: &TableName| match catalog.entries.get(name).map(|entry| &entry.body) {
        Some(Body::Table(table)) => table.declared(),
        Some(Body::Dataset(dataset)) => match &dataset.kept {
            Some(view) => view.declared(),
            None => Said::nothing(),
        },
        None => Said::nothing(),
    };
    let mut made: Vec<Declared> = tables.iter().map(|table| own(table, said(&table.name))).collect();
    for (table, declared) in tables.iter().zip(&mut made) {
        // a comment may speak of any of the columns
        let all = catalog.entries.get(&table.name).map_or(0, |entry| entry.object.schema.fields().len());
        if table.schema.fields().len() < all {
            declared.comment = None;
            declared.comments.clear();
        }
    }
    for (table, declared) in tables.iter().zip(&mut made).filter(|(table, _)| table.definition.is_some()) {
        declared.reads = reads(catalog, table, tables);
    }
    let seen: HashMap<&TableName, &VisibleTable> = tables.iter().map(|table| (&table.name, table)).collect();
    for (table, declared) in tables.iter().zip(&mut made) {
        declared.constraints.extend(foreign(table, said(&table.name), &seen, said));
        // as PostgreSQL's catalogs give them for a table
        declared.constraints.sort_by(|a, b| a.name.cmp(&b.name));
    }
    tables.iter_mut().zip(made).for_each(|(table, declared)| table.declared = declared);
}

fn own(table: &VisibleTable, said: &Said) -> Declared {
    let index = |index: &crate::sources::declared::Index| {
        let columns = numbers(table, &index.columns)?;
        let classes = columns.iter().map(|number| class_of(table, *number)).collect();
        let (unique, primary) = (index.unique, index.primary);
        Some(Index {
            oid: oid("index", table, &index.name),
            name: TableName::new(&table.name.schema, &index.name),
            options: columns.iter().enumerate().map(|(at, _)| index.options.get(at).copied().unwrap_or(0)).collect(),
            columns,
            classes,
            unique,
            primary,
        })
    };
    let constraint = |key: &crate::sources::declared::Key| {
        let kind = match key.kind {
            KeyKind::Primary => 'p',
            KeyKind::Unique => 'u',
            KeyKind::Foreign { .. } => return None,
        };
        Some(Constraint {
            oid: oid("constraint", table, &key.name),
            name: key.name.clone(),
            kind,
            columns: numbers(table, &key.columns)?,
            index: oid("index", table, &key.name),
            references: None,
            deferrable: key.deferrable,
            deferred: key.deferred,
        })
    };
    let comments = said.comments.iter().filter_map(|(column, text)| Some((number(table, column)?, text.clone())));
    let sequence = |(column, counter): (&String, &Counter)| {
        Some(Sequence {
            oid: oid("sequence", table, &counter.name),
            name: TableName::new(&table.name.schema, &counter.name),
            column: number(table, column)?,
            counter: counter.clone(),
        })
    };
    let defaults = said.defaults.iter().filter_map(|(column, text)| Some((number(table, column)?, text.clone())));
    Declared {
        indexes: said.indexes.iter().filter_map(index).collect(),
        constraints: said.keys.iter().filter_map(constraint).collect(),
        comment: said.comment.clone(),
        comments: comments.collect(),
        defaults: defaults.collect(),
        sequences: said.counters.iter().filter_map(sequence).collect(),
        reads: vec![],
        is_unpopulated: said.materialized.as_ref().is_some_and(|view| !view.is_populated),
    }
}

/// Sequences of the table, where the session may fill it or sees the column that counts.
pub(super) fn counted(entry: &Entry, session: &SessionPolicy) -> Vec<Counted> {
    let Body::Table(table) = &entry.body else { return vec![] };
    let counters = &table.declared().counters;
    if counters.is_empty() {
        return vec![];
    }
    let object = &entry.object;
    let may = |action| matches!(session.decide(object.id, action), Decision::Allow(_));
    let (may_insert, may_update) = (may(Action::Insert), may(Action::Update));
    let sees = |column: &String| match session.decide(object.id, Action::Select) {
        Decision::Allow(grant) => !grant.hidden.contains(column),
        Decision::Deny => false,
    };
    let seen = counters.iter().filter(|(column, _)| may_insert || sees(column));
    let of = |(column, counter): (&String, &Counter)| Counted {
        oid: oid_of("sequence", entry.oid, &counter.name),
        name: TableName::new(&object.name.schema, &counter.name),
        table: object.name.clone(),
        column: column.clone(),
        counter: counter.clone(),
        may_insert,
        may_update,
    };
    seen.map(of).collect()
}

/// Those of the tables that a view names which the session sees.
fn reads(catalog: &Catalog, view: &VisibleTable, tables: &[VisibleTable]) -> Vec<u32> {
    let id = |table: &VisibleTable| catalog.entries.get(&table.name).map(|entry| entry.object.id);
    let Some(named) = id(view).and_then(|id| catalog.names.get(&id)) else { return vec![] };
    tables.iter().filter(|table| id(table).is_some_and(|id| named.contains(&id))).map(|table| table.oid).collect()
}

/// Foreign keys into tables that the session sees too.
fn foreign<'a>(
    table: &'a VisibleTable,
    own: &'a Said,
    seen: &'a HashMap<&TableName, &VisibleTable>,
    said: impl Fn(&TableName) -> &'a Said,
) -> Vec<Constraint> {
    let constraint = |key: &crate::sources::declared::Key| {
        let KeyKind::Foreign { table: to, columns, on_update, on_delete, matching } = &key.kind else { return None };
        let to = seen.get(to)?;
        let target = numbers(to, columns)?;
        let unique = said(&to.name).keys.iter().find(|k| {
            !matches!(k.kind, KeyKind::Foreign { .. })
                && k.columns.len() == columns.len()
                && columns.iter().all(|c| k.columns.contains(c))
        });
        Some(Constraint {
            oid: oid("constraint", table, &key.name),
            name: key.name.clone(),
            kind: 'f',
            columns: numbers(table, &key.columns)?,
            index: unique.map_or(0, |unique| oid("index", to, &unique.name)),
            references: Some(References {
                table: to.oid,
                columns: target,
                on_update: *on_update,
                on_delete: *on_delete,
                matching: *matching,
            }),
            deferrable: key.deferrable,
            deferred: key.deferred,
        })
    };
    own.keys.iter().filter_map(constraint).collect()
}

fn oid(kind: &str, table: &VisibleTable, name: &str) -> u32 {
    oid_of(kind, table.oid, name)
}

fn oid_of(kind: &str, table: u32, name: &str) -> u32 {
    named_oid(kind, &format!("{table}:{name}"))
}

fn number(table: &VisibleTable, column: &str) -> Option<i16> {
    table.schema.index_of(column).ok().and_then(|at| i16::try_from(at + 1).ok())
}

fn numbers(table: &VisibleTable, columns: &[String]) -> Option<Vec<i16>> {
    columns.iter().map(|column| number(table, column)).collect()
}

fn class_of(table: &VisibleTable, number: i16) -> u32 {
    let field = usize::try_from(number - 1).ok().and_then(|at| table.schema.fields().get(at));
    field.and_then(|field| pg_type(field).ok()).map_or(0, |found| default_operator_class(found.oid))
}
