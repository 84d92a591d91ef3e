//! pg_class and its readable forms, pg_tables and pg_views. Nothing is told of sizes and row counts, since a row filter may
//! hold.

use std::collections::HashSet;

use super::image;
use super::keys::owned_indexes;
use super::rows::{Cell, Rows};
use crate::catalog::visible::{BOOTSTRAP, Index, View, VisibleTable, is_temporary, named_oid, row_type};
use crate::error::Result;
use crate::types::{Identifier, TableName};

/// Access methods of `pg_am`; views have none.
const HEAP: u32 = 2;
const BTREE: u32 = 403;
/// pg_rewrite and pg_class as rows of pg_class.
const REWRITE: u32 = 2618;
const CLASS: u32 = 1259;

/// A table, dataset or system relation of the session.
pub(in crate::catalog) struct Class<'a> {
    pub(in crate::catalog) name: &'a TableName,
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) kind: char,
    pub(in crate::catalog) owner: &'a str,
    /// Only of datasets, only for admins.
    pub(in crate::catalog) definition: Option<&'a str>,
    /// `None` for a system relation.
    pub(in crate::catalog) table: Option<&'a VisibleTable>,
}

impl Class<'_> {
    pub(in crate::catalog) fn may_insert(&self) -> bool {
        self.table.is_some_and(|table| table.may_insert)
    }
}

/// The relations in the session's catalogs that have columns of their own, system relations first.
pub(in crate::catalog) fn classes(view: &View) -> impl Iterator<Item = Class<'_>> {
    let system = image::relations().iter().map(move |r| Class {
        name: &r.name,
        oid: r.oid,
        kind: r.kind,
        owner: BOOTSTRAP.0,
        definition: None,
        table: None,
    });
    system.chain(view.tables.iter().map(|t| Class {
        name: &t.name,
        oid: t.oid,
        kind: t.kind,
        owner: &t.owner,
        definition: t.definition.as_deref(),
        table: Some(t),
    }))
}

/// A row of pg_class.
struct Row<'a> {
    oid: u32,
    name: &'a str,
    /// That it is, or belongs to.
    table: &'a VisibleTable,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Table,
    Index(&'a Index),
    Sequence,
}

/// last_value, log_cnt, is_called.
const COLUMNS_OF_SEQUENCE: i16 = 3;

impl Row<'_> {
    fn is_table(&self) -> bool {
        matches!((self.what, self.table.kind), (What::Table, 'r' | 'm'))
    }

    fn is_relation(&self) -> bool {
        matches!(self.what, What::Table)
    }

    fn columns(&self) -> i16 {
        let count = match self.what {
            What::Table => self.table.schema.fields().len(),
            What::Index(index) => index.columns.len(),
            What::Sequence => return COLUMNS_OF_SEQUENCE,
        };
        i16::try_from(count).unwrap_or(i16::MAX)
    }

    fn kind(&self) -> char {
        match self.what {
            What::Table => self.table.kind,
            What::Index(_) => 'i',
            What::Sequence => 'S',
        }
    }

    fn access_method(&self) -> u32 {
        match self.what {
            What::Table if self.is_table() => HEAP,
            What::Index(_) => BTREE,
            What::Table | What::Sequence => 0,
        }
    }
}

pub(super) fn pg_class(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let tables =
        view.tables.iter().map(|table| Row { oid: table.oid, name: &table.name.table, table, what: What::Table });
    let indexes = owned_indexes(view).map(|(table, index)| Row {
        oid: index.oid,
        name: &index.name.table,
        table,
        what: What::Index(index),
    });
    let sequences = view.sequences().map(|(table, sequence)| Row {
        oid: sequence.oid,
        name: &sequence.name.table,
        table,
        what: What::Sequence,
    });
    let wanted = |row: &Row<'_>| {
        rows.asked.wants("oid", &row.oid.into())
            && rows.asked.equal.iter().all(|(column, values)| column != "relname" || has_text(values, row.name))
    };
    let all: Vec<Row<'_>> = tables.chain(indexes).chain(sequences).filter(wanted).collect();
    let triggered = triggered(view);
    rows.extend(
        &all,
        &[
            ("oid", &|r: &Row<'_>| r.oid.into()),
            ("relname", &|r: &Row<'_>| r.name.into()),
            ("relnamespace", &|r: &Row<'_>| view.schema_oid(&r.table.name.schema).unwrap_or(0).into()),
            ("reltype", &|r: &Row<'_>| (if r.is_relation() { row_type(r.oid).0 } else { 0 }).into()),
            ("relowner", &|r: &Row<'_>| view.role_oid(&r.table.owner).into()),
            ("relam", &|r: &Row<'_>| r.access_method().into()),
            ("reltuples", &|_: &Row<'_>| (-1.0).into()),
            ("relhasindex", &|r: &Row<'_>| (r.is_relation() && !r.table.declared.indexes.is_empty()).into()),
            ("relpersistence", &|r: &Row<'_>| (if is_temporary(&r.table.name.schema) { 't' } else { 'p' }).into()),
            ("relkind", &|r: &Row<'_>| r.kind().into()),
            ("relnatts", &|r: &Row<'_>| r.columns().into()),
            ("relhasrules", &|r: &Row<'_>| (r.is_relation() && r.table.kind != 'r').into()),
            ("relhastriggers", &|r: &Row<'_>| (r.is_table() && triggered.contains(&r.oid)).into()),
            ("relispopulated", &|r: &Row<'_>| (!r.is_relation() || !r.table.declared.is_unpopulated).into()),
            ("relreplident", &|r: &Row<'_>| (if r.is_table() { 'd' } else { 'n' }).into()),
            ("relacl", &|r: &Row<'_>| if r.is_relation() { rights(view, r.table) } else { Cell::Null }),
        ],
    )
}

/// Tables at either end of a foreign key: PostgreSQL holds to one by triggers, and psql shows keys of such tables alone.
fn triggered(view: &View) -> HashSet<u32> {
    let keys = view.tables.iter().flat_map(|table| table.declared.constraints.iter().map(move |key| (table.oid, key)));
    keys.filter_map(|(from, key)| Some([from, key.references.as_ref()?.table])).flatten().collect()
}

fn has_text(values: &[Cell], name: &str) -> bool {
    values.iter().any(|value| matches!(value, Cell::Text(text) if text == name))
}

/// The owner's and the session's own: the rights of others are not told.
fn rights(view: &View, table: &VisibleTable) -> Cell {
    let letters: String = [(table.may_insert, 'a'), (true, 'r'), (table.may_update, 'w'), (table.may_delete, 'd')]
        .into_iter()
        .filter_map(|(may, letter)| may.then_some(letter))
        .collect();
    let owner = Identifier(&table.owner);
    Cell::texts([format!("{owner}=arwdDxt/{owner}"), format!("{}={letters}/{owner}", Identifier(&view.user))])
}

pub(super) fn pg_tables(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let triggered = triggered(view);
    for class in classes(view).filter(|c| c.kind == 'r') {
        let indexed = match class.table {
            Some(table) => !table.declared.indexes.is_empty(),
            None => image::indexes().iter().any(|(relation, _)| *relation == class.oid),
        };
        rows.push([
            ("schemaname", (&class.name.schema).into()),
            ("tablename", (&class.name.table).into()),
            ("tableowner", class.owner.into()),
            ("hasindexes", indexed.into()),
            ("hasrules", false.into()),
            ("hastriggers", triggered.contains(&class.oid).into()),
            ("rowsecurity", false.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_views(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in classes(view).filter(|c| c.kind == 'v') {
        rows.push([
            ("schemaname", (&class.name.schema).into()),
            ("viewname", (&class.name.table).into()),
            ("viewowner", class.owner.into()),
            ("definition", class.definition.unwrap_or_default().into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_matviews(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in classes(view).filter(|c| c.kind == 'm') {
        rows.push([
            ("schemaname", (&class.name.schema).into()),
            ("matviewname", (&class.name.table).into()),
            ("matviewowner", class.owner.into()),
            ("hasindexes", class.table.is_some_and(|table| !table.declared.indexes.is_empty()).into()),
            ("ispopulated", class.table.is_none_or(|table| !table.declared.is_unpopulated).into()),
            ("definition", class.definition.unwrap_or_default().into()),
        ])?;
    }
    Ok(())
}

/// What a view's rule names, and the view that the rule is of; and which column a sequence counts for. Clients find by it
/// which views read which tables, and what is a serial.
pub(super) fn pg_depend(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in classes(view).filter(|class| matches!(class.kind, 'v' | 'm')) {
        let Some(table) = class.table.filter(|table| !table.declared.reads.is_empty()) else { continue };
        let own = std::iter::once((class.oid, 'i'));
        for (oid, kind) in own.chain(table.declared.reads.iter().map(|oid| (*oid, 'n'))) {
            rows.push([
                ("classid", REWRITE.into()),
                ("objid", rule_oid(class.oid).into()),
                ("objsubid", 0.into()),
                ("refclassid", CLASS.into()),
                ("refobjid", oid.into()),
                ("refobjsubid", 0.into()),
                ("deptype", kind.into()),
            ])?;
        }
    }
    for (table, sequence) in view.sequences() {
        let kind = if sequence.counter.identity.is_some() { 'i' } else { 'a' };
        rows.push([
            ("classid", CLASS.into()),
            ("objid", sequence.oid.into()),
            ("objsubid", 0.into()),
            ("refclassid", CLASS.into()),
            ("refobjid", table.oid.into()),
            ("refobjsubid", sequence.column.into()),
            ("deptype", kind.into()),
        ])?;
    }
    Ok(())
}

fn rule_oid(view: u32) -> u32 {
    named_oid("rule", &view.to_string())
}

/// A view is a table with a rule; what the rule does is `pg_get_viewdef`'s to say.
pub(super) fn pg_rewrite(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in classes(view).filter(|c| c.kind != 'r') {
        rows.push([
            ("oid", rule_oid(class.oid).into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", class.oid.into()),
            ("ev_type", '1'.into()),
            ("ev_enabled", 'O'.into()),
            ("is_instead", true.into()),
        ])?;
    }
    Ok(())
}
