//! Domains, elements of arrays, character sets, collations and sequences.

use super::columns::{Sizes, data_type, sizes};
use super::in_standard;
use crate::catalog::pg_catalog::attribute::attributes;
use crate::catalog::pg_catalog::image::{COLLATIONS, collation_name, domains, type_by_oid};
use crate::catalog::pg_catalog::rows::Rows;
use crate::catalog::pg_catalog::sequences::type_of;
use crate::catalog::pg_catalog::types::format_type;
use crate::catalog::visible::{View, system_schema_name};
use crate::error::Result;
use crate::pgtype::oid;

pub(super) fn character_sets(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", (&view.database).into()),
        ("default_collate_schema", "pg_catalog".into()),
        ("default_collate_name", "C".into()),
    ])
}

pub(super) fn collations(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for name in COLLATIONS {
        rows.push([
            ("collation_catalog", (&view.database).into()),
            ("collation_schema", "pg_catalog".into()),
            ("collation_name", name.into()),
            ("pad_attribute", "NO PAD".into()),
        ])?;
    }
    Ok(())
}

pub(super) fn collation_character_set_applicability(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for name in COLLATIONS {
        rows.push([
            ("collation_catalog", (&view.database).into()),
            ("collation_schema", "pg_catalog".into()),
            ("collation_name", name.into()),
            ("character_set_name", "UTF8".into()),
        ])?;
    }
    Ok(())
}

/// There are no domains but information_schema's own.
pub(super) fn domains_of(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for domain in domains() {
        let base = type_by_oid(domain.base);
        let Sizes { characters, octets, precision, radix, scale, fraction } =
            base.map(|base| sizes(base, domain.typmod)).unwrap_or_default();
        let collation = collation_name(domain.collation);
        rows.push([
            ("domain_catalog", (&view.database).into()),
            ("domain_schema", system_schema_name(domain.schema).into()),
            ("domain_name", domain.name.into()),
            ("data_type", data_type(base).into()),
            ("character_maximum_length", characters.into()),
            ("character_octet_length", octets.into()),
            ("collation_catalog", collation.map(|_| &view.database).into()),
            ("collation_schema", collation.map(|_| "pg_catalog").into()),
            ("collation_name", collation.into()),
            ("numeric_precision", precision.into()),
            ("numeric_precision_radix", radix.into()),
            ("numeric_scale", scale.into()),
            ("datetime_precision", fraction.into()),
            ("udt_catalog", (&view.database).into()),
            ("udt_schema", "pg_catalog".into()),
            ("udt_name", base.map(|base| base.name).into()),
            ("dtd_identifier", "1".into()),
        ])?;
    }
    Ok(())
}

/// The domains of information_schema that are checked.
pub(super) fn domain_constraints(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for domain in ["cardinal_number", "yes_or_no"] {
        let name = if domain == "yes_or_no" { "yes_or_no_check" } else { "cardinal_number_domain_check" };
        rows.push([
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", "information_schema".into()),
            ("constraint_name", name.into()),
            ("domain_catalog", (&view.database).into()),
            ("domain_schema", "information_schema".into()),
            ("domain_name", domain.into()),
            ("is_deferrable", "NO".into()),
            ("initially_deferred", "NO".into()),
        ])?;
    }
    Ok(())
}

/// What the arrays among columns consist of.
pub(super) fn element_types(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in in_standard(view) {
        for attribute in attributes(view, class.oid) {
            let array = type_by_oid(attribute.type_oid).filter(|kind| kind.element != 0 && kind.length == -1);
            let Some(element) = array.and_then(|array| type_by_oid(array.element)) else { continue };
            let collation = collation_name(attribute.collation);
            rows.push([
                ("object_catalog", (&view.database).into()),
                ("object_schema", (&class.name.schema).into()),
                ("object_name", (&class.name.table).into()),
                ("object_type", (if class.kind == 'v' { "VIEW" } else { "TABLE" }).into()),
                ("collection_type_identifier", attribute.number.to_string().into()),
                ("data_type", data_type(Some(element)).into()),
                ("collation_catalog", collation.map(|_| &view.database).into()),
                ("collation_schema", collation.map(|_| "pg_catalog").into()),
                ("collation_name", collation.into()),
                ("udt_catalog", (&view.database).into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", element.name.into()),
                ("dtd_identifier", format!("a{}", attribute.number).into()),
            ])?;
        }
    }
    Ok(())
}

/// Those of serial columns: an identity's is a part of its column.
pub(super) fn sequences(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, sequence) in view.sequences().filter(|(_, sequence)| sequence.counter.identity.is_none()) {
        let (least, most) = sequence.counter.range();
        let kind = type_of(table, sequence);
        let bits = match kind {
            oid::INT2 => 16,
            oid::INT4 => 32,
            _ => 64,
        };
        rows.push([
            ("sequence_catalog", (&view.database).into()),
            ("sequence_schema", (&sequence.name.schema).into()),
            ("sequence_name", (&sequence.name.table).into()),
            ("data_type", format_type(kind, None).into()),
            ("numeric_precision", bits.into()),
            ("numeric_precision_radix", 2.into()),
            ("numeric_scale", 0.into()),
            ("start_value", sequence.counter.start.to_string().into()),
            ("minimum_value", least.to_string().into()),
            ("maximum_value", most.to_string().into()),
            ("increment", sequence.counter.increment.to_string().into()),
            ("cycle_option", "NO".into()),
        ])?;
    }
    Ok(())
}
