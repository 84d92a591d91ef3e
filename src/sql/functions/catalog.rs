//! Set-returning functions that statements over catalogs call and whose answers need no catalog: elements with their places,
//! options, tokens of the one text search parser, partitions (there are none); and the numbers that information_schema
//! makes of a type and its modifier.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray, StringArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;

use crate::error::{Error, Kind, Result};
use crate::pgtype::oid;
use crate::sql::kernel::{Call, Growing, Kernel};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("_pg_expandarray/13208", expanded),
    ("pg_options_to_table", options),
    ("ts_token_type_byid", |c| tokens(c, parser_by_oid)),
    ("ts_token_type_byname", |c| tokens(c, parser_by_name)),
    ("pg_partition_tree", nothing),
    ("pg_partition_ancestors", nothing),
    ("pg_partition_root", |c| c.one(|_: u32| Ok(None::<u32>))),
    ("aclitemin", |c| c.one(|text: &str| Ok(text.to_owned()))),
    ("aclitemout", |c| c.one(|text: &str| Ok(text.to_owned()))),
    ("aclitem_eq", |c| c.two(|a: &str, b: &str| Ok(a == b))),
    ("_pg_char_max_length/13212", |c| of_type(c, characters)),
    ("_pg_char_octet_length/13213", |c| of_type(c, octets)),
    ("_pg_numeric_precision/13215", |c| of_type(c, precision)),
    ("_pg_numeric_precision_radix/13216", |c| of_type(c, radix)),
    ("_pg_numeric_scale/13217", |c| of_type(c, scale)),
    ("_pg_datetime_precision/13218", |c| of_type(c, fraction)),
];

/// `pg_ts_parser.oid` of the default parser.
const PARSER: u32 = 3722;

/// Its kinds of tokens, by number from 1.
const TOKENS: [(&str, &str); 23] = [
    ("asciiword", "Word, all ASCII"),
    ("word", "Word, all letters"),
    ("numword", "Word, letters and digits"),
    ("email", "Email address"),
    ("url", "URL"),
    ("host", "Host"),
    ("sfloat", "Scientific notation"),
    ("version", "Version number"),
    ("hword_numpart", "Hyphenated word part, letters and digits"),
    ("hword_part", "Hyphenated word part, all letters"),
    ("hword_asciipart", "Hyphenated word part, all ASCII"),
    ("blank", "Space symbols"),
    ("tag", "XML tag"),
    ("protocol", "Protocol head"),
    ("numhword", "Hyphenated word, letters and digits"),
    ("asciihword", "Hyphenated word, all ASCII"),
    ("hword", "Hyphenated word, all letters"),
    ("url_path", "URL path"),
    ("file", "File or path name"),
    ("float", "Decimal notation"),
    ("int", "Signed integer"),
    ("uint", "Unsigned integer"),
    ("entity", "XML entity"),
];

/// Lists of `lengths` records, whose fields lie one after the other in `columns`.
fn records(call: &Call<'_>, lengths: Vec<usize>, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    let wrong = || Error::internal(format!("records as {}", call.result.data_type()));
    let DataType::List(item) = call.result.data_type() else { return Err(wrong()) };
    let DataType::Struct(fields) = item.data_type() else { return Err(wrong()) };
    let columns = columns.iter().zip(fields).map(|(column, field)| Ok(cast(column, field.data_type())?));
    let rows = StructArray::try_new(fields.clone(), columns.collect::<Result<_>>()?, None)?;
    let mut growing = Growing::new(&call.env.budget);
    growing.add(rows.get_buffer_memory_size())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    growing.finish(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(rows), None)?))
}

/// No row for any row.
fn nothing(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = call.result.data_type() else {
        return Err(Error::internal(format!("a set as {}", call.result.data_type())));
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(0, call.rows));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, new_empty_array(item.data_type()), None)?))
}

/// Each element of an array beside its place, from 1.
fn expanded(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.read::<ArrayRef>(0)?;
    let (mut lengths, mut elements, mut places) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let array = arrays.get(row).filter(|array| !array.is_empty());
        let length = array.as_ref().map_or(0, |array| array.len());
        lengths.push(length);
        places.extend(1..=super::text::int(length));
        elements.extend(array);
    }
    if elements.is_empty() {
        return nothing(call);
    }
    let parts: Vec<&dyn Array> = elements.iter().map(AsRef::as_ref).collect();
    records(call, lengths, vec![concat(&parts)?, Arc::new(Int32Array::from(places))])
}

/// `name=value`: a text without `=` has no value.
fn options(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.read::<ArrayRef>(0)?;
    let (mut lengths, mut names, mut values) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let array = arrays.get(row).map(crate::sql::kernel::Arg::array);
        let texts = array.as_ref().map(|array| array.read::<&str>()).transpose()?;
        let before = names.len();
        for at in 0..array.as_ref().map_or(0, |array| array.array.len()) {
            let Some(text) = texts.as_ref().and_then(|texts| texts.get(at)) else { continue };
            let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            names.push(name.to_owned());
            values.push(value.map(str::to_owned));
        }
        lengths.push(names.len() - before);
    }
    records(call, lengths, vec![Arc::new(StringArray::from(names)), Arc::new(StringArray::from(values))])
}

fn tokens(call: &Call<'_>, is_parser: fn(&Call<'_>, usize) -> Result<bool>) -> Result<ArrayRef> {
    let mut lengths = vec![];
    for row in 0..call.rows {
        lengths.push(if is_parser(call, row)? { TOKENS.len() } else { 0 });
    }
    let times = lengths.iter().filter(|length| **length > 0).count();
    let all = || (0..times).flat_map(|_| TOKENS.iter().zip(1_i32..));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|(_, number)| number).collect::<Vec<_>>().into_iter().map(Some).collect::<Int32Array>()),
        Arc::new(all().map(|((alias, _), _)| Some(*alias)).collect::<StringArray>()),
        Arc::new(all().map(|((_, description), _)| Some(*description)).collect::<StringArray>()),
    ];
    records(call, lengths, columns)
}

/// False for NULL.
fn parser_by_oid(call: &Call<'_>, row: usize) -> Result<bool> {
    match call.read::<u32>(0)?.get(row) {
        None => Ok(false),
        Some(PARSER) => Ok(true),
        Some(other) => Err(Error::internal(format!("cache lookup failed for text search parser {other}"))),
    }
}

fn parser_by_name(call: &Call<'_>, row: usize) -> Result<bool> {
    match call.read::<&str>(0)?.get(row) {
        None => Ok(false),
        Some("default" | "pg_catalog.default") => Ok(true),
        Some(other) => Err(Error::new(Kind::UndefinedObject, format!("text search parser \"{other}\" does not exist"))),
    }
}

/// A number made of a type's oid and its modifier.
fn of_type(call: &Call<'_>, number: fn(u32, i32) -> Option<i32>) -> Result<ArrayRef> {
    call.two(|type_oid: u32, typmod: i32| Ok(number(type_oid, typmod)))
}

fn characters(type_oid: u32, typmod: i32) -> Option<i32> {
    match type_oid {
        _ if typmod == -1 => None,
        oid::BPCHAR | oid::VARCHAR => Some(typmod.saturating_sub(4)),
        oid::BIT | oid::VARBIT => Some(typmod),
        _ => None,
    }
}

/// A character of UTF-8 has at most four bytes; a text may have 2³⁰.
fn octets(type_oid: u32, typmod: i32) -> Option<i32> {
    match type_oid {
        oid::TEXT | oid::BPCHAR | oid::VARCHAR if typmod == -1 => Some(1 << 30),
        oid::TEXT | oid::BPCHAR | oid::VARCHAR => characters(type_oid, typmod).map(|n| n.saturating_mul(4)),
        _ => None,
    }
}

fn precision(type_oid: u32, typmod: i32) -> Option<i32> {
    match type_oid {
        oid::INT2 => Some(16),
        oid::INT4 => Some(32),
        oid::INT8 => Some(64),
        oid::NUMERIC if typmod == -1 => None,
        oid::NUMERIC => Some((typmod.saturating_sub(4) >> 16) & 0xffff),
        oid::FLOAT4 => Some(24),
        oid::FLOAT8 => Some(53),
        _ => None,
    }
}

fn radix(type_oid: u32, _: i32) -> Option<i32> {
    match type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 => Some(2),
        oid::NUMERIC => Some(10),
        _ => None,
    }
}

fn scale(type_oid: u32, typmod: i32) -> Option<i32> {
    match type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 => Some(0),
        oid::NUMERIC if typmod != -1 => Some(typmod.saturating_sub(4) & 0xffff),
        _ => None,
    }
}

fn fraction(type_oid: u32, typmod: i32) -> Option<i32> {
    match type_oid {
        oid::DATE => Some(0),
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ => Some(if typmod < 0 { 6 } else { typmod }),
        oid::INTERVAL if typmod < 0 || typmod & 0xffff == 0xffff => Some(6),
        oid::INTERVAL => Some(typmod & 0xffff),
        _ => None,
    }
}
