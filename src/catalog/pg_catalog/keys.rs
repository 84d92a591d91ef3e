//! pg_constraint, pg_index and pg_indexes: keys that sources declare, and how PostgreSQL writes them as SQL.

use super::attribute::attributes;
use super::image;
use super::rows::{Cell, Rows};
use crate::catalog::visible::{Constraint, Index, View, VisibleTable};
use crate::error::Result;
use crate::types::Identifier;

/// Indexes of the session's tables.
pub(super) fn owned_indexes(view: &View) -> impl Iterator<Item = (&VisibleTable, &Index)> {
    view.tables.iter().flat_map(|table| table.declared.indexes.iter().map(move |index| (table, index)))
}

fn owned_constraints(view: &View) -> impl Iterator<Item = (&VisibleTable, &Constraint)> {
    view.tables.iter().flat_map(|table| table.declared.constraints.iter().map(move |key| (table, key)))
}

fn numbers(numbers: &[i16]) -> Cell {
    Cell::List(numbers.iter().map(|number| (*number).into()).collect())
}

pub(super) fn pg_constraint(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, key) in owned_constraints(view) {
        let to = key.references.as_ref();
        rows.push([
            ("oid", key.oid.into()),
            ("conname", (&key.name).into()),
            ("connamespace", view.schema_oid(&table.name.schema).unwrap_or(0).into()),
            ("contype", key.kind.into()),
            ("condeferrable", key.deferrable.into()),
            ("condeferred", key.deferred.into()),
            ("convalidated", true.into()),
            ("conrelid", table.oid.into()),
            ("conindid", key.index.into()),
            ("confrelid", to.map_or(0, |to| to.table).into()),
            ("confupdtype", to.map_or(' ', |to| to.on_update).into()),
            ("confdeltype", to.map_or(' ', |to| to.on_delete).into()),
            ("confmatchtype", to.map_or(' ', |to| to.matching).into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", numbers(&key.columns)),
            ("confkey", to.map_or(Cell::Null, |to| numbers(&to.columns))),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_index(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, index) in owned_indexes(view) {
        let own = attributes(view, table.oid);
        let collation = |number: &i16| own.iter().find(|a| a.number == *number).map_or(0, |a| a.collation).into();
        let deferrable =
            table.declared.constraints.iter().any(|key| key.index == index.oid && key.deferrable && key.kind != 'f');
        rows.push([
            ("indexrelid", index.oid.into()),
            ("indrelid", table.oid.into()),
            ("indnatts", count(index).into()),
            ("indnkeyatts", count(index).into()),
            ("indisunique", index.unique.into()),
            ("indisprimary", index.primary.into()),
            ("indimmediate", (!deferrable).into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", numbers(&index.columns)),
            ("indcollation", Cell::List(index.columns.iter().map(collation).collect())),
            ("indclass", Cell::List(index.classes.iter().map(|class| (*class).into()).collect())),
            ("indoption", numbers(&index.options)),
        ])?;
    }
    Ok(())
}

fn count(index: &Index) -> i64 {
    i64::try_from(index.columns.len()).unwrap_or(i64::from(i16::MAX))
}

pub(super) fn pg_indexes(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let system = image::indexes().iter().map(|(relation, index)| (*relation, index));
    let own = owned_indexes(view).map(|(table, index)| (table.oid, index));
    for (relation, index) in system.chain(own) {
        let Some(name) = view.relation_name(relation) else { continue };
        rows.push([
            ("schemaname", (&name.schema).into()),
            ("tablename", (&name.table).into()),
            ("indexname", (&index.name.table).into()),
            ("indexdef", index_definition(view, relation, index, false).into()),
        ])?;
    }
    Ok(())
}

/// `pg_get_indexdef(oid)`; a pretty one leaves out a schema that is on the path.
pub(crate) fn index_definition(view: &View, relation: u32, index: &Index, pretty: bool) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let named = view.relation_name(relation).map(|name| match pretty && view.is_on_path(name) {
        true => Identifier(&name.table).to_string(),
        false => name.to_string(),
    });
    let table = named.unwrap_or_default();
    let ordered = index.columns.iter().zip(&index.options).map(|(number, option)| {
        let order = match option & 3 {
            1 => " DESC NULLS LAST",
            2 => " NULLS FIRST",
            3 => " DESC",
            _ => "",
        };
        format!("{}{order}", columns(view, relation, &[*number]))
    });
    let columns = ordered.collect::<Vec<_>>().join(", ");
    format!("CREATE {unique}INDEX {} ON {table} USING btree ({columns})", Identifier(&index.name.table))
}

/// `pg_get_indexdef(oid, number, …)`: the column of that place.
pub(crate) fn index_column(view: &View, relation: u32, index: &Index, place: usize) -> Option<String> {
    let number = place.checked_sub(1).and_then(|at| index.columns.get(at))?;
    Some(columns(view, relation, &[*number]))
}

/// Names between commas.
fn columns(view: &View, relation: u32, numbers: &[i16]) -> String {
    let own = attributes(view, relation);
    let names = numbers.iter().filter_map(|number| own.iter().find(|a| a.number == *number));
    names.map(|a| Identifier(a.name).to_string()).collect::<Vec<_>>().join(", ")
}

/// Constraints of every relation in the session's sight.
pub(in crate::catalog) fn constraints(view: &View) -> impl Iterator<Item = (u32, &Constraint)> {
    constraints_of_system().chain(owned_constraints(view).map(|(table, key)| (table.oid, key)))
}

fn constraints_of_system<'a>() -> impl Iterator<Item = (u32, &'a Constraint)> {
    image::constraints().iter().map(|(relation, key)| (*relation, key))
}

/// `pg_get_constraintdef(oid)`. A table on the search path stands without its schema.
pub(crate) fn constraint_definition(view: &View, relation: u32, key: &Constraint) -> String {
    let own = columns(view, relation, &key.columns);
    let mut text = match (&key.references, key.kind) {
        (Some(to), _) => {
            let name = view.relation_name(to.table);
            let table = name
                .map(|name| if view.is_on_path(name) { Identifier(&name.table).to_string() } else { name.to_string() });
            let matching = if to.matching == 'f' { " MATCH FULL" } else { "" };
            let update = action(to.on_update).map(|word| format!(" ON UPDATE {word}")).unwrap_or_default();
            let delete = action(to.on_delete).map(|word| format!(" ON DELETE {word}")).unwrap_or_default();
            let target = columns(view, to.table, &to.columns);
            format!("FOREIGN KEY ({own}) REFERENCES {}({target}){matching}{update}{delete}", table.unwrap_or_default())
        }
        (None, 'p') => format!("PRIMARY KEY ({own})"),
        (None, _) => format!("UNIQUE ({own})"),
    };
    if key.deferrable {
        text += " DEFERRABLE";
    }
    if key.deferred {
        text += " INITIALLY DEFERRED";
    }
    text
}

/// `None` for NO ACTION, which is not written.
fn action(letter: char) -> Option<&'static str> {
    Some(match letter {
        'r' => "RESTRICT",
        'c' => "CASCADE",
        'n' => "SET NULL",
        'd' => "SET DEFAULT",
        _ => return None,
    })
}

/// The key that an index stands for.
pub(in crate::catalog) fn constraint_of_index(view: &View, index: u32) -> Option<&Constraint> {
    constraints(view).map(|(_, key)| key).find(|key| key.index == index && key.kind != 'f')
}
