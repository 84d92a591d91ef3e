//! information_schema.columns: what a column's type means in the standard's terms.

use super::{in_standard, is_wanted, yes_or_no};
use crate::catalog::pg_catalog::attribute::{Attribute, attributes};
use crate::catalog::pg_catalog::image::{Type, collation_name, type_by_oid};
use crate::catalog::pg_catalog::rows::{Cell, Rows};
use crate::catalog::pg_catalog::types::{format_type, numeric_modifier};
use crate::catalog::visible::{View, system_schema_name};
use crate::error::Result;
use crate::sources::declared::{Counter, Identity};
use crate::types::TableName;

/// UTF-8 has at most four bytes a character.
const BYTES_PER_CHARACTER: i32 = 4;
/// What PostgreSQL says of text without a limit.
const OCTETS_MAX: i32 = 1 << 30;

pub(super) fn columns(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let mut all = vec![];
    for class in in_standard(view).filter(|class| is_wanted(rows, class)) {
        let updatable = class.may_insert() || class.table.is_some_and(|table| table.may_update);
        all.extend(
            attributes(view, class.oid).into_iter().map(|attribute| Column::of(class.name, updatable, attribute)),
        );
    }
    type Of<'a> = Column<'a>;
    let database = || (&view.database).into();
    let of_pg_catalog = || "pg_catalog".into();
    rows.extend(
        &all,
        &[
            ("table_catalog", &|_: &Of<'_>| database()),
            ("table_schema", &|c: &Of<'_>| (&c.table.schema).into()),
            ("table_name", &|c: &Of<'_>| (&c.table.table).into()),
            ("column_name", &|c: &Of<'_>| c.attribute.name.into()),
            ("ordinal_position", &|c: &Of<'_>| c.attribute.number.into()),
            ("column_default", &|c: &Of<'_>| c.attribute.shown_default(view).into()),
            ("is_nullable", &|c: &Of<'_>| yes_or_no(!c.attribute.not_null).into()),
            ("data_type", &|c: &Of<'_>| c.data_type().into()),
            ("character_maximum_length", &|c: &Of<'_>| c.sizes().characters.into()),
            ("character_octet_length", &|c: &Of<'_>| c.sizes().octets.into()),
            ("numeric_precision", &|c: &Of<'_>| c.sizes().precision.into()),
            ("numeric_precision_radix", &|c: &Of<'_>| c.sizes().radix.into()),
            ("numeric_scale", &|c: &Of<'_>| c.sizes().scale.into()),
            ("datetime_precision", &|c: &Of<'_>| c.sizes().fraction.into()),
            ("collation_catalog", &|c: &Of<'_>| c.collation().map_or(Cell::Null, |_| database())),
            ("collation_schema", &|c: &Of<'_>| c.collation().map_or(Cell::Null, |_| of_pg_catalog())),
            ("collation_name", &|c: &Of<'_>| c.collation().into()),
            ("domain_catalog", &|c: &Of<'_>| c.domain().map_or(Cell::Null, |_| database())),
            ("domain_schema", &|c: &Of<'_>| c.domain().and_then(|d| system_schema_name(d.schema)).into()),
            ("domain_name", &|c: &Of<'_>| c.domain().map(|d| d.name).into()),
            ("udt_catalog", &|_: &Of<'_>| database()),
            ("udt_schema", &|_: &Of<'_>| of_pg_catalog()),
            ("udt_name", &|c: &Of<'_>| c.kind.map_or("unknown", |t| t.name).into()),
            ("dtd_identifier", &|c: &Of<'_>| c.attribute.number.to_string().into()),
            ("is_self_referencing", &|_: &Of<'_>| "NO".into()),
            ("is_identity", &|c: &Of<'_>| yes_or_no(!c.attribute.identity().is_empty()).into()),
            ("identity_generation", &|c: &Of<'_>| c.identity(|_, kind| kind.to_string())),
            ("identity_start", &|c: &Of<'_>| c.identity(|counter, _| counter.start.to_string())),
            ("identity_increment", &|c: &Of<'_>| c.identity(|counter, _| counter.increment.to_string())),
            ("identity_maximum", &|c: &Of<'_>| c.identity(|counter, _| counter.range().1.to_string())),
            ("identity_minimum", &|c: &Of<'_>| c.identity(|counter, _| counter.range().0.to_string())),
            ("identity_cycle", &|_: &Of<'_>| "NO".into()),
            ("is_generated", &|_: &Of<'_>| "NEVER".into()),
            ("is_updatable", &|c: &Of<'_>| yes_or_no(c.updatable).into()),
        ],
    )
}

/// A column with its type, a domain seen through.
struct Column<'a> {
    table: &'a TableName,
    updatable: bool,
    attribute: Attribute<'a>,
    declared: Option<&'static Type>,
    kind: Option<&'static Type>,
    typmod: i32,
}

impl<'a> Column<'a> {
    fn of(table: &'a TableName, updatable: bool, attribute: Attribute<'a>) -> Self {
        let declared = type_by_oid(attribute.type_oid);
        let domain = declared.filter(|kind| kind.base != 0);
        let kind = domain.map_or(declared, |domain| type_by_oid(domain.base));
        let typmod = domain.map_or(attribute.typmod, |domain| domain.typmod);
        Self { table, updatable, attribute, declared, kind, typmod }
    }

    fn domain(&self) -> Option<&'static Type> {
        self.declared.filter(|kind| kind.base != 0)
    }

    fn data_type(&self) -> String {
        data_type(self.kind)
    }

    fn sizes(&self) -> Sizes {
        self.kind.map(|kind| sizes(kind, self.typmod)).unwrap_or_default()
    }

    /// Something of the sequence of an identity, by its counter and the word for its kind.
    fn identity(&self, of: fn(&Counter, &str) -> String) -> Cell {
        let sequence = self.attribute.sequence.map(|sequence| &sequence.counter);
        let identity = sequence.and_then(|counter| Some((counter, counter.identity?)));
        identity
            .map(|(counter, kind)| match kind {
                Identity::Always => of(counter, "ALWAYS"),
                Identity::ByDefault => of(counter, "BY DEFAULT"),
            })
            .into()
    }

    /// One that is not the default.
    fn collation(&self) -> Option<&'static str> {
        collation_name(self.attribute.collation)
    }
}

/// A type as the standard names it: an array is an `ARRAY`, whatever of.
pub(super) fn data_type(kind: Option<&Type>) -> String {
    match kind {
        Some(kind) if kind.is_array || kind.element != 0 && kind.length == -1 => "ARRAY".to_string(),
        Some(kind) => format_type(kind.oid, None),
        None => "unknown".to_string(),
    }
}

/// The numbers the standard asks for; each only where the type has it.
#[derive(Default)]
pub(super) struct Sizes {
    pub(super) characters: Option<i32>,
    pub(super) octets: Option<i32>,
    pub(super) precision: Option<i32>,
    pub(super) radix: Option<i32>,
    pub(super) scale: Option<i32>,
    pub(super) fraction: Option<i32>,
}

pub(super) fn sizes(kind: &Type, typmod: i32) -> Sizes {
    let binary = |precision, scale| Sizes { precision: Some(precision), radix: Some(2), scale, ..Sizes::default() };
    let limited = (typmod > 4).then_some(typmod - 4);
    let decimal = (typmod >= 4).then(|| numeric_modifier(typmod));
    match kind.name {
        "int2" => binary(16, Some(0)),
        "int4" => binary(32, Some(0)),
        "int8" => binary(64, Some(0)),
        "float4" => binary(24, None),
        "float8" => binary(53, None),
        "numeric" => Sizes {
            precision: decimal.map(|(precision, _)| precision),
            radix: Some(10),
            scale: decimal.map(|(_, scale)| scale),
            ..Sizes::default()
        },
        "text" => Sizes { octets: Some(OCTETS_MAX), ..Sizes::default() },
        "varchar" | "bpchar" => Sizes {
            characters: limited,
            octets: Some(limited.map_or(OCTETS_MAX, |n| n.saturating_mul(BYTES_PER_CHARACTER))),
            ..Sizes::default()
        },
        "date" => Sizes { fraction: Some(0), ..Sizes::default() },
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => {
            Sizes { fraction: Some(if typmod < 0 { 6 } else { typmod }), ..Sizes::default() }
        }
        _ => Sizes::default(),
    }
}
