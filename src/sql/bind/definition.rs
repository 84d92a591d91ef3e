//! Records whose columns the query itself names: `json_to_record(…) AS t(a int, b text)` (parse_relation.c,
//! `addRangeTableEntryForFunction`).

use arrow::datatypes::{DataType, Fields};
use datafusion::sql::sqlparser::ast;

use super::name::folded;
use super::scope::{Place, Scope};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, oid};
use crate::sql::expr::{Call, Expr, Kind as Node};

/// `record[]`.
const RECORDS: u32 = 2287;

/// A call whose result's columns nobody but the query can know.
fn untold(expr: &Expr) -> Option<&Call> {
    match &expr.kind {
        Node::Call(call) if expr.ty.oid == oid::RECORD && call.proc.outputs.is_empty() && !tells(call) => Some(call),
        _ => None,
    }
}

/// It is given a row of a table, whose columns its result has (json_populate_record).
fn tells(call: &Call) -> bool {
    let row = call.arguments.first().filter(|row| matches!(row.data_type, DataType::Struct(_)));
    row.is_some_and(|row| matches!(row.kind, Node::Relabel(_) | Node::Constant(_)))
}

impl Binder<'_> {
    /// A function in FROM as the definitions behind it, if there are any, have its columns.
    pub(super) fn defined(&self, expr: Expr, definitions: &[ast::TableAliasColumnDef]) -> Result<Expr> {
        let refused = |text: &str, at: usize| Err(Error::new(Kind::Syntax, text).at(at));
        let Some(first) = definitions.first() else {
            return match untold(&expr) {
                None => Ok(expr),
                Some(_) => refused("a column definition list is required for functions returning \"record\"", expr.at),
            };
        };
        let at = self.at(first.name.span);
        let mut fields = vec![];
        for definition in definitions {
            let name = folded(&definition.name);
            let place = self.at(definition.name.span);
            if fields.iter().any(|f: &arrow::datatypes::Field| *f.name() == name) {
                let text = format!("column name \"{name}\" specified more than once");
                return Err(Error::new(Kind::DuplicateColumn, text));
            }
            let Some(data_type) = &definition.data_type else { return Err(syntax_error(&name, place)) };
            let ty = self.type_named(data_type, place)?;
            if matches!(ty.oid, oid::RECORD | RECORDS) {
                return Err(Error::unsupported("a column of type record in a column definition list").at(place));
            }
            let lies = pgtype::arrow(ty.oid).ok_or_else(|| {
                let text = format!("column \"{name}\" has pseudo-type {}", ty.name());
                Error::new(Kind::InvalidTableDefinition, text)
            })?;
            fields.push(pgtype::field(&name, ty, lies));
        }
        let fields: Fields = fields.into();
        let Some(call) = untold(&expr) else {
            if let (DataType::Struct(returned), false, oid::RECORD) =
                (&expr.data_type, matches!(expr.kind, Node::Call(_)), expr.ty.oid)
            {
                same_columns(returned, &fields)?;
                return Ok(expr);
            }
            let outputs = matches!(&expr.kind, Node::Call(call) if call.proc.outputs.len() > 1);
            return match outputs {
                true => refused("a column definition list is redundant for a function with OUT parameters", at),
                false => refused("a column definition list is only allowed for functions returning \"record\"", at),
            };
        };
        if let Some(base) = record_argument(call) {
            same_columns(base, &fields)?;
            // the record's own names are the keys; those of the definitions are given where the columns are named
            return Ok(expr);
        }
        Ok(Expr { data_type: DataType::Struct(fields), ..expr })
    }

    /// 0A000 for a call outside FROM whose row type nothing tells.
    pub(super) fn check_row_type(&self, expr: &Expr, scope: &Scope<'_>) -> Result<()> {
        let Some(call) = untold(expr).filter(|_| scope.place.get() != Place::FromFunction) else { return Ok(()) };
        if matches!(expr.data_type, DataType::Struct(_)) {
            return Ok(());
        }
        let text = format!("could not determine row type for result of {}", call.proc.name);
        let hint = "Provide a non-null record argument, or call the function in the FROM clause using a column \
                    definition list.";
        Err(Error::new(Kind::Unsupported, text).with_hint(hint))
    }
}

/// The columns of the record that the call was given as a pattern.
fn record_argument(call: &Call) -> Option<&Fields> {
    let first = call.arguments.first().filter(|a| a.ty.oid == oid::RECORD)?;
    match &first.data_type {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// `tupledesc_match`.
fn same_columns(returned: &Fields, expected: &Fields) -> Result<()> {
    let differ = |detail: String| {
        let text = "function return row and query-specified return row do not match";
        Err(Error::new(Kind::TypeMismatch, text).with_detail(detail))
    };
    let count = returned.len();
    if count != expected.len() {
        let attributes = if count == 1 { "attribute" } else { "attributes" };
        return differ(format!("Returned row contains {count} {attributes}, but query expects {}.", expected.len()));
    }
    for (place, (returned, expected)) in returned.iter().zip(expected).enumerate() {
        let (returned, expected) = (pgtype::of_field(returned)?, pgtype::of_field(expected)?);
        if returned.oid != expected.oid {
            return differ(format!(
                "Returned type {} at ordinal position {}, but query expects {}.",
                returned.name(),
                place + 1,
                expected.name()
            ));
        }
    }
    Ok(())
}
