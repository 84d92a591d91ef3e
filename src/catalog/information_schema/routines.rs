//! Functions as the standard tells of them. All of them are PostgreSQL's own, and everybody may call them.

use super::columns::data_type;
use super::yes_or_no;
use crate::catalog::pg_catalog::image::{functions, type_by_oid};
use crate::catalog::pg_catalog::rows::{Cell, Rows};
use crate::catalog::visible::{BOOTSTRAP, View, system_schema_name};
use crate::error::Result;

pub(super) fn routines(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for function in functions() {
        let Some(schema) = system_schema_name(function.schema) else { continue };
        let kind = type_by_oid(function.result);
        let (body, language) = match function.language {
            12 => ("EXTERNAL", "INTERNAL"),
            14 => ("SQL", "SQL"),
            _ => ("EXTERNAL", "C"),
        };
        let is_function = function.kind == "f";
        rows.push([
            ("specific_catalog", (&view.database).into()),
            ("specific_schema", schema.into()),
            ("specific_name", function.specific_name().into()),
            ("routine_catalog", (&view.database).into()),
            ("routine_schema", schema.into()),
            ("routine_name", function.name.into()),
            ("routine_type", is_function.then_some("FUNCTION").into()),
            ("data_type", data_type(kind).into()),
            ("type_udt_catalog", (&view.database).into()),
            ("type_udt_schema", "pg_catalog".into()),
            ("type_udt_name", kind.map(|kind| kind.name).into()),
            ("dtd_identifier", "0".into()),
            ("routine_body", body.into()),
            ("external_language", language.into()),
            ("parameter_style", "GENERAL".into()),
            ("is_deterministic", yes_or_no(function.volatility == "i").into()),
            ("sql_data_access", "MODIFIES".into()),
            ("is_null_call", is_function.then_some(yes_or_no(function.strict)).into()),
            ("schema_level_routine", "YES".into()),
            ("max_dynamic_result_sets", 0.into()),
            ("security_type", "INVOKER".into()),
            ("as_locator", "NO".into()),
            ("is_udt_dependent", "NO".into()),
        ])?;
    }
    Ok(())
}

pub(super) fn parameters(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for function in functions() {
        let Some(schema) = system_schema_name(function.schema) else { continue };
        for (parameter, place) in function.parameters().into_iter().zip(1_i32..) {
            let kind = type_by_oid(parameter.type_oid);
            let mode = match parameter.mode {
                "o" | "t" => "OUT",
                "b" => "INOUT",
                _ => "IN",
            };
            rows.push([
                ("specific_catalog", (&view.database).into()),
                ("specific_schema", schema.into()),
                ("specific_name", function.specific_name().into()),
                ("ordinal_position", place.into()),
                ("parameter_mode", mode.into()),
                ("is_result", "NO".into()),
                ("as_locator", "NO".into()),
                ("parameter_name", Some(parameter.name).filter(|name| !name.is_empty()).into()),
                ("data_type", data_type(kind).into()),
                ("udt_catalog", (&view.database).into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", kind.map(|kind| kind.name).into()),
                ("dtd_identifier", place.to_string().into()),
            ])?;
        }
    }
    Ok(())
}

pub(super) fn routine_privileges(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for function in functions() {
        let Some(schema) = system_schema_name(function.schema) else { continue };
        let name: Cell = function.specific_name().into();
        rows.push([
            ("grantor", BOOTSTRAP.0.into()),
            ("grantee", "PUBLIC".into()),
            ("specific_catalog", (&view.database).into()),
            ("specific_schema", schema.into()),
            ("specific_name", name),
            ("routine_catalog", (&view.database).into()),
            ("routine_schema", schema.into()),
            ("routine_name", function.name.into()),
            ("privilege_type", "EXECUTE".into()),
            ("is_grantable", "NO".into()),
        ])?;
    }
    Ok(())
}
