//! pg_attribute: `attnum` is dense over what the session sees, so that a gap tells nothing of a hidden column.

use super::image::{self, Declared, Type};
use super::rows::Rows;
use crate::catalog::visible::{Index, Sequence, View, VisibleTable, named_oid};
use crate::error::Result;
use crate::formats::postgres::pg_type;
use crate::sources::declared::{Counter, Identity};
use crate::types::Identifier;

/// The type shown for a column that no PostgreSQL type stands for; it cannot be selected either.
const UNKNOWN: u32 = 705;

/// A column as clients of the wire would describe it.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) relation: u32,
    pub(crate) name: &'a str,
    /// From 1.
    pub(crate) number: i16,
    pub(crate) type_oid: u32,
    pub(crate) typmod: i32,
    pub(crate) not_null: bool,
    pub(crate) collation: u32,
    pub(crate) default: Option<&'a str>,
    pub(crate) sequence: Option<&'a Sequence>,
}

impl Attribute<'_> {
    /// As pg_get_expr and information_schema show it to this session.
    pub(crate) fn shown_default(&self, view: &View) -> Option<String> {
        match self.sequence {
            Some(Sequence { counter: Counter { identity: Some(_), .. }, .. }) => None,
            Some(sequence) => Some(next_of(view, sequence)),
            None => self.default.map(str::to_owned),
        }
    }

    fn has_default(&self) -> bool {
        match self.sequence {
            Some(sequence) => sequence.counter.identity.is_none(),
            None => self.default.is_some(),
        }
    }

    /// `a`, `d`; empty for a column that is no identity.
    pub(crate) fn identity(&self) -> &'static str {
        match self.sequence.and_then(|sequence| sequence.counter.identity) {
            Some(Identity::Always) => "a",
            Some(Identity::ByDefault) => "d",
            None => "",
        }
    }

    fn kind(&self) -> Option<&'static Type> {
        image::type_by_oid(self.type_oid)
    }
}

fn next_of(view: &View, sequence: &Sequence) -> String {
    let shown = match view.is_on_path(&sequence.name) {
        true => Identifier(&sequence.name.table).to_string(),
        false => sequence.name.to_string(),
    };
    format!("nextval('{}'::regclass)", shown.replace('\'', "''"))
}

/// What each table has that stores rows: (name, type, number).
const SYSTEM_COLUMNS: [(&str, u32, i16); 6] =
    [("tableoid", 26, -6), ("cmax", 29, -5), ("xmax", 28, -4), ("cmin", 29, -3), ("xmin", 28, -2), ("ctid", 27, -1)];

/// The columns of a relation in the session's sight, in order.
pub(crate) fn attributes(view: &View, relation: u32) -> Vec<Attribute<'_>> {
    match view.table_by_oid(relation) {
        Some(table) => of_table(table),
        None => image::relation_by_oid(relation).map_or(vec![], of_declared),
    }
}

fn of_table(table: &VisibleTable) -> Vec<Attribute<'_>> {
    let columns = table.schema.fields().iter().zip(1..);
    columns
        .map(|(field, number)| {
            let (type_oid, typmod) = pg_type(field).map_or((UNKNOWN, -1), |t| (t.oid, t.typmod));
            let collation = image::type_by_oid(type_oid).map_or(0, |t| t.collation);
            let not_null = !field.is_nullable();
            let default = table.declared.defaults.iter().find(|(of, _)| *of == number).map(|(_, text)| text.as_str());
            let sequence = table.declared.sequences.iter().find(|sequence| sequence.column == number);
            let (relation, name) = (table.oid, field.name().as_str());
            Attribute { relation, name, number, type_oid, typmod, not_null, collation, default, sequence }
        })
        .collect()
}

fn of_declared(declared: &Declared) -> Vec<Attribute<'_>> {
    let columns = declared.schema.fields().iter().zip(&declared.types).zip(&declared.not_null);
    let columns = columns.zip(&declared.collations).zip(1..);
    columns
        .map(|((((field, type_oid), not_null), collation), number)| Attribute {
            relation: declared.oid,
            name: field.name(),
            number,
            type_oid: *type_oid,
            typmod: -1,
            not_null: *not_null,
            collation: *collation,
            default: None,
            sequence: None,
        })
        .collect()
}

fn hidden<'a>(relation: u32) -> impl Iterator<Item = Attribute<'a>> {
    SYSTEM_COLUMNS.into_iter().map(move |(name, type_oid, number)| Attribute {
        relation,
        name,
        number,
        type_oid,
        typmod: -1,
        not_null: true,
        collation: 0,
        default: None,
        sequence: None,
    })
}

/// An index's columns are its relation's, in its own order.
fn of_index<'a>(index: &Index, of: &[Attribute<'a>]) -> Vec<Attribute<'a>> {
    let columns = index.columns.iter().zip(1..).filter_map(|(column, number)| {
        let of = of.iter().find(|attribute| attribute.number == *column)?;
        Some(Attribute { relation: index.oid, number, not_null: false, default: None, sequence: None, ..*of })
    });
    columns.collect()
}

/// Of PostgreSQL's own relations.
pub(super) fn of_system(rows: &mut Rows<'_>) -> Result<()> {
    let mut all = vec![];
    for declared in image::relations() {
        all.extend(of_declared(declared));
        if declared.kind != 'v' {
            all.extend(hidden(declared.oid));
        }
    }
    for (relation, index) in image::indexes() {
        let of = image::relation_by_oid(*relation).map_or(vec![], of_declared);
        all.extend(of_index(index, &of));
    }
    push(rows, &all)
}

pub(super) fn pg_attribute(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let mut all = vec![];
    for table in &view.tables {
        let wanted = |oid: u32| rows.asked.wants("attrelid", &oid.into());
        let indexes: Vec<&Index> = table.declared.indexes.iter().filter(|index| wanted(index.oid)).collect();
        if !wanted(table.oid) && indexes.is_empty() {
            continue;
        }
        let own = of_table(table);
        all.extend(indexes.iter().flat_map(|index| of_index(index, &own)));
        all.extend(own);
        if matches!(table.kind, 'r' | 'm') {
            all.extend(hidden(table.oid));
        }
    }
    push(rows, &all)
}

pub(super) fn default_oid(table: &VisibleTable, column: i16) -> u32 {
    named_oid("default", &format!("{}.{column}", table.oid))
}

/// Defaults of columns, which `pg_get_expr` shows as they are kept.
pub(super) fn pg_attrdef(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for table in &view.tables {
        for attribute in of_table(table) {
            let Some(text) = attribute.shown_default(view) else { continue };
            rows.push([
                ("oid", default_oid(table, attribute.number).into()),
                ("adrelid", table.oid.into()),
                ("adnum", attribute.number.into()),
                ("adbin", text.into()),
            ])?;
        }
    }
    Ok(())
}

fn push(rows: &mut Rows<'_>, attributes: &[Attribute<'_>]) -> Result<()> {
    type Of<'a> = Attribute<'a>;
    rows.extend(
        attributes,
        &[
            ("attrelid", &|a: &Of<'_>| a.relation.into()),
            ("attname", &|a: &Of<'_>| a.name.into()),
            ("atttypid", &|a: &Of<'_>| a.type_oid.into()),
            ("attstattarget", &|a: &Of<'_>| (if a.number < 0 { 0 } else { -1 }).into()),
            ("attlen", &|a: &Of<'_>| a.kind().map_or(-1, |t| t.length).into()),
            ("attnum", &|a: &Of<'_>| a.number.into()),
            ("attndims", &|a: &Of<'_>| i32::from(a.kind().is_some_and(|t| t.is_array)).into()),
            ("attcacheoff", &|_: &Of<'_>| (-1).into()),
            ("atttypmod", &|a: &Of<'_>| a.typmod.into()),
            ("attbyval", &|a: &Of<'_>| a.kind().is_some_and(|t| t.by_value).into()),
            ("attalign", &|a: &Of<'_>| a.kind().map_or("i", |t| t.align).into()),
            ("attstorage", &|a: &Of<'_>| a.kind().map_or("x", |t| t.storage).into()),
            ("attnotnull", &|a: &Of<'_>| a.not_null.into()),
            ("atthasdef", &|a: &Of<'_>| a.has_default().into()),
            ("attidentity", &|a: &Of<'_>| a.identity().into()),
            ("attislocal", &|_: &Of<'_>| true.into()),
            ("attcollation", &|a: &Of<'_>| a.collation.into()),
        ],
    )
}
