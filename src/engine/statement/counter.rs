//! serial and GENERATED … AS IDENTITY: which columns of a new table count by themselves, and how. Numbers are
//! `engine::sequences`'.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, ColumnDef, ColumnOption, Expr, GeneratedAs, SequenceOptions};

use super::ident;
use crate::error::{Error, Kind, Result};
use crate::sources::declared::{Counter, Identity};
use crate::types::Identifier;

/// PostgreSQL's limit of a name (`makeObjectName`).
const NAME_BYTES_MAX: usize = 63;

/// The integer type of a serial column (`transformColumnDefinition`).
pub(super) fn serial(data_type: &ast::DataType) -> Option<ast::DataType> {
    let integer = match data_type.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => ast::DataType::Integer(None),
        "bigserial" | "serial8" => ast::DataType::BigInt(None),
        "smallserial" | "serial2" => ast::DataType::SmallInt(None),
        _ => return None,
    };
    Some(integer)
}

/// The identity that a column is declared as.
fn identity(column: &ColumnDef) -> Result<Option<(Identity, &[SequenceOptions])>> {
    let mut found = None;
    for option in &column.options {
        let ColumnOption::Generated { generated_as, sequence_options, generation_expr, .. } = &option.option else {
            continue;
        };
        let kind = match (generated_as, generation_expr) {
            (GeneratedAs::Always, None) => Identity::Always,
            (GeneratedAs::ByDefault, None) => Identity::ByDefault,
            (GeneratedAs::ExpStored, _) | (_, Some(_)) => return Err(Error::unsupported("a generated column")),
        };
        if found.replace((kind, sequence_options.as_deref().unwrap_or_default())).is_some() {
            let text = format!("multiple identity specifications for column \"{}\"", ident(&column.name));
            return Err(Error::new(Kind::Syntax, text));
        }
    }
    Ok(found)
}

/// Whether the column counts by itself.
pub(super) fn counts(column: &ColumnDef) -> bool {
    serial(&column.data_type).is_some()
        || column.options.iter().any(|option| matches!(option.option, ColumnOption::Generated { .. }))
}

/// The columns of a new table with their counters; those that count are never NULL. `taken`: other relations' names.
pub(super) fn declared(
    schema: SchemaRef,
    table: &str,
    columns: &[ColumnDef],
    taken: impl Fn(&str) -> bool,
) -> Result<SchemaRef> {
    if !columns.iter().any(counts) {
        return Ok(schema);
    }
    let (mut fields, mut names) = (vec![], vec![]);
    for (field, column) in schema.fields().iter().zip(columns) {
        if !counts(column) {
            fields.push(Arc::clone(field));
            continue;
        }
        let name = free(table, field.name(), |name| taken(name) || names.iter().any(|other| other == name));
        let counter = counter(field, column, name.clone())?;
        names.push(name);
        let mut metadata = field.metadata().clone();
        metadata.insert(Counter::KEY.to_owned(), counter.json());
        fields.push(Arc::new(field.as_ref().clone().with_nullable(false).with_metadata(metadata)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn counter(field: &Field, column: &ColumnDef, name: String) -> Result<Counter> {
    let of_type = match field.data_type() {
        DataType::Int16 => i64::from(i16::MAX),
        DataType::Int32 => i64::from(i32::MAX),
        DataType::Int64 => i64::MAX,
        _ => {
            let text = "identity column type must be smallint, integer, or bigint";
            return Err(Error::new(Kind::InvalidParameter, text));
        }
    };
    // a smallint lies in the lake as a wider integer
    let max = match crate::pgtype::of_field(field)?.oid {
        crate::pgtype::oid::INT2 => i64::from(i16::MAX),
        _ => of_type,
    };
    let identity = identity(column)?;
    if identity.is_some() && serial(&column.data_type).is_some() {
        let text = format!("both default and identity specified for column \"{}\" of table", field.name());
        return Err(Error::new(Kind::Syntax, text));
    }
    let mut counter = Counter { name, identity: identity.map(|(kind, _)| kind), start: 1, increment: 1, max };
    let mut start = None;
    for option in identity.map(|(_, options)| options).unwrap_or_default() {
        match option {
            SequenceOptions::IncrementBy(by, _) => counter.increment = number(by)?,
            SequenceOptions::StartWith(at, _) => start = Some(number(at)?),
            SequenceOptions::MinValue(None)
            | SequenceOptions::MaxValue(None)
            | SequenceOptions::Cache(_)
            | SequenceOptions::Cycle(false) => {}
            SequenceOptions::MinValue(Some(_)) | SequenceOptions::MaxValue(Some(_)) | SequenceOptions::Cycle(true) => {
                return Err(Error::unsupported("MINVALUE, MAXVALUE and CYCLE of an identity column"));
            }
        }
    }
    if counter.increment == 0 {
        return Err(Error::new(Kind::InvalidParameter, "INCREMENT must not be zero"));
    }
    let (least, most) = counter.range();
    counter.start = start.unwrap_or(if counter.increment > 0 { least } else { most });
    if counter.start < least {
        let text = format!("START value ({}) cannot be less than MINVALUE ({least})", counter.start);
        return Err(Error::new(Kind::InvalidParameter, text));
    }
    if counter.start > most {
        let text = format!("START value ({}) cannot be greater than MAXVALUE ({most})", counter.start);
        return Err(Error::new(Kind::InvalidParameter, text));
    }
    Ok(counter)
}

fn number(expr: &Expr) -> Result<i64> {
    let text = expr.to_string().replace(' ', "");
    text.parse().map_err(|_| Error::new(Kind::Syntax, format!("invalid sequence option value \"{text}\"")))
}

/// `table_column_seq`, cut to the length of a name, with a number where that is taken (`ChooseRelationName`).
fn free(table: &str, column: &str, taken: impl Fn(&str) -> bool) -> String {
    let named = |number: Option<usize>| {
        let end = number.map_or("_seq".to_owned(), |number| format!("_seq{number}"));
        let (mut table, mut column) = (table, column);
        while table.len() + column.len() + 1 + end.len() > NAME_BYTES_MAX {
            let longer = if table.len() > column.len() { &mut table } else { &mut column };
            let last = longer.char_indices().next_back().map_or(0, |(at, _)| at);
            *longer = &longer[..last];
        }
        format!("{table}_{column}{end}")
    };
    let mut number = None;
    loop {
        let name = named(number);
        if !taken(&name) {
            return name;
        }
        number = Some(number.map_or(1, |n| n + 1));
    }
}

/// What a column is by default that counts.
pub(super) fn default(schema: &str, counter: &Counter) -> String {
    let name = format!("{}.{}", Identifier(schema), Identifier(&counter.name));
    format!("nextval('{}'::regclass)", name.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sequences_fit_and_are_free() {
        assert_eq!(free("t", "id", |_| false), "t_id_seq");
        assert_eq!(free("t", "id", |name| name == "t_id_seq" || name == "t_id_seq1"), "t_id_seq2");
        let long = free(&"t".repeat(60), &"ü".repeat(20), |_| false);
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("_seq"), "{long}");
        assert_eq!(
            default("a'b", &Counter { name: "X".into(), identity: None, start: 1, increment: 1, max: 9 }),
            "nextval('\"a''b\".\"X\"'::regclass)"
        );
    }
}
