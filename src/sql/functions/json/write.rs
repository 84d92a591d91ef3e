//! Any value as JSON (datum_to_json, datum_to_jsonb): to_json, array_to_json, row_to_json, and what the json aggregates
//! gather.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

use super::types::output;
use super::{Form, cannot};
use crate::error::{Error, Result};
use crate::formats::postgres::input::json::{is_number, write_string};
use crate::formats::postgres::{self, Style, input};
use crate::pgtype::{self, Ty, oid};
use crate::sql::kernel::{Arg, Call, Env};

/// Values of one type, ready to be written as JSON row by row.
#[derive(Debug)]
pub(in crate::sql) struct Writer {
    values: ArrayRef,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Every value is NULL.
    Null,
    Bool,
    Integer16,
    Integer32,
    Integer64,
    /// Texts; numbers of JSON stand bare, `NaN` in quotes.
    Number(StringArray),
    /// Texts in quotes.
    Text(StringArray),
    /// JSON already.
    Json(StringArray),
    List {
        offsets: OffsetBuffer<i32>,
        inner: Box<Writer>,
    },
    /// Names in quotes with the colon.
    Record {
        names: Vec<String>,
        fields: Vec<Writer>,
    },
}

impl Writer {
    pub(in crate::sql) fn new(values: &ArrayRef, ty: Ty, env: &Env) -> Result<Self> {
        Ok(Self { values: Arc::clone(values), kind: Self::kind(values, ty, env)? })
    }

    fn kind(values: &ArrayRef, ty: Ty, env: &Env) -> Result<Kind> {
        match values.data_type() {
            DataType::Null => return Ok(Kind::Null),
            DataType::List(item) => {
                let list = values.as_list::<i32>();
                // a further dimension has the type of the whole
                let element = match item.data_type() {
                    DataType::List(_) => ty,
                    _ => match pgtype::element(ty.oid) {
                        Some(element) => Ty { oid: element, typmod: ty.typmod },
                        None => pgtype::of_field(item)?,
                    },
                };
                let inner = Self::new(list.values(), element, env)?;
                return Ok(Kind::List { offsets: list.offsets().clone(), inner: Box::new(inner) });
            }
            DataType::Struct(own) => {
                let record = values.as_struct();
                let name = |name: &String| {
                    let mut out = String::with_capacity(name.len() + 3);
                    write_string(name, &mut out);
                    out.push(':');
                    out
                };
                let names = own.iter().map(|field| name(field.name())).collect();
                let fields = own.iter().zip(record.columns());
                let fields = fields.map(|(field, column)| Self::new(column, pgtype::of_field(field)?, env));
                return Ok(Kind::Record { names, fields: fields.collect::<Result<_>>()? });
            }
            _ => {}
        }
        let base = pgtype::functions(ty.oid).map(|functions| functions.base).filter(|base| *base != 0);
        let ty = base.map_or(ty, Ty::of);
        Ok(match ty.oid {
            oid::BOOL if values.as_boolean_opt().is_some() => Kind::Bool,
            oid::INT2 if values.as_primitive_opt::<Int16Type>().is_some() => Kind::Integer16,
            oid::INT4 if values.as_primitive_opt::<Int32Type>().is_some() => Kind::Integer32,
            oid::INT8 if values.as_primitive_opt::<Int64Type>().is_some() => Kind::Integer64,
            oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => {
                Kind::Number(output(ty, values, env)?)
            }
            oid::JSON | oid::JSONB => Kind::Json(output(ty, values, env)?),
            oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ => {
                let field = pgtype::field("", ty, values.data_type().clone());
                let texts = postgres::texts(&field, values, &Style::of(env.time_zone))?;
                let zoned = ty.oid == oid::TIMESTAMPTZ;
                Kind::Text(texts.iter().map(|text| text.map(|text| xsd(text, zoned))).collect())
            }
            _ => Kind::Text(output(ty, values, env)?),
        })
    }

    /// As datum_to_json writes it; of jsonb it is still to be brought into its normal form.
    pub(in crate::sql) fn json(&self, row: usize, out: &mut String) -> Result<()> {
        self.put(row, false, out)
    }

    /// In jsonb's normal form.
    pub(in crate::sql) fn jsonb(&self, row: usize, out: &mut String) -> Result<()> {
        let before = out.len();
        self.put(row, false, out)?;
        if matches!(self.kind, Kind::Json(_) | Kind::Number(_) | Kind::List { .. } | Kind::Record { .. }) {
            let normal = input::normal_json(out.get(before..).unwrap_or_default())?;
            out.truncate(before);
            out.push_str(&normal);
        }
        Ok(())
    }

    /// The text of an object's key. 22023 for what is not scalar; NULL is the caller's to refuse.
    pub(in crate::sql) fn key(&self, row: usize, out: &mut String) -> Result<()> {
        match &self.kind {
            Kind::Null => {}
            Kind::Bool => out.push_str(if self.values.as_boolean().value(row) { "true" } else { "false" }),
            Kind::Integer16 | Kind::Integer32 | Kind::Integer64 => self.put(row, false, out)?,
            Kind::Number(texts) | Kind::Text(texts) => out.push_str(texts.value(row)),
            Kind::Json(_) | Kind::List { .. } | Kind::Record { .. } => {
                return Err(cannot("key value must be scalar, not array, composite, or json"));
            }
        }
        Ok(())
    }

    pub(in crate::sql) fn is_null(&self, row: usize) -> bool {
        matches!(self.kind, Kind::Null) || self.values.is_null(row)
    }

    /// `lines`: a line for each element or field of the outermost container.
    fn put(&self, row: usize, lines: bool, out: &mut String) -> Result<()> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        let comma = if lines { ",\n " } else { "," };
        let mut integer = itoa::Buffer::new();
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Bool => out.push_str(if self.values.as_boolean().value(row) { "true" } else { "false" }),
            Kind::Integer16 => out.push_str(integer.format(self.values.as_primitive::<Int16Type>().value(row))),
            Kind::Integer32 => out.push_str(integer.format(self.values.as_primitive::<Int32Type>().value(row))),
            Kind::Integer64 => out.push_str(integer.format(self.values.as_primitive::<Int64Type>().value(row))),
            Kind::Number(texts) if is_number(texts.value(row)) => out.push_str(texts.value(row)),
            Kind::Number(texts) | Kind::Text(texts) => write_string(texts.value(row), out),
            Kind::Json(texts) => out.push_str(texts.value(row)),
            Kind::List { offsets, inner } => {
                let (from, to) = (at(offsets, row), at(offsets, row + 1));
                out.push('[');
                for element in from..to {
                    if element > from {
                        out.push_str(comma);
                    }
                    inner.put(element, false, out)?;
                }
                out.push(']');
            }
            Kind::Record { names, fields } => {
                out.push('{');
                for (place, (name, field)) in names.iter().zip(fields).enumerate() {
                    if place > 0 {
                        out.push_str(comma);
                    }
                    out.push_str(name);
                    field.put(row, false, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn at(offsets: &OffsetBuffer<i32>, i: usize) -> usize {
    offsets.get(i).copied().and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
}

/// ISO 8601 as XSD has it: `T` between date and time, minutes in every zone. The era stays at the end.
pub(super) fn xsd(text: &str, zoned: bool) -> String {
    let (body, era) = match text.strip_suffix(" BC") {
        Some(body) => (body, " BC"),
        None => (text, ""),
    };
    let mut out = body.replacen(' ', "T", 1);
    let zone = body.rfind(['+', '-']).filter(|_| zoned);
    if zone.is_some_and(|at| body.len() - at == 3) {
        out.push_str(":00");
    }
    // Writing into a String cannot fail.
    let _ = write!(out, "{era}");
    out
}

fn argument(c: &Call<'_>, at: usize) -> Result<(Arg, Writer)> {
    let arg = c.arg(at)?;
    let ty = c.types.get(at).copied().ok_or_else(|| Error::internal("an argument without a type"))?;
    Ok((arg.clone(), Writer::new(&arg.array, ty, c.env)?))
}

/// to_json, to_jsonb, and with `lines` array_to_json and row_to_json.
pub(super) fn whole(c: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let (arg, writer) = argument(c, 0)?;
    let lines = if c.args.len() > 1 { Some(c.read::<bool>(1)?) } else { None };
    c.rows_of(|row| {
        let lines = match &lines {
            Some(flags) => match flags.get(row) {
                Some(flag) => flag,
                None => return Ok(None),
            },
            None => false,
        };
        if arg.is_null(row) {
            return Ok(None);
        }
        let (row, mut out) = (arg.at(row), String::new());
        match form {
            Form::Json => writer.put(row, lines, &mut out)?,
            Form::Jsonb => writer.jsonb(row, &mut out)?,
        }
        Ok(Some(out))
    })
}

fn writers(c: &Call<'_>) -> Result<Vec<(Arg, Writer)>> {
    (0..c.args.len()).map(|at| argument(c, at)).collect()
}

/// json_build_array. Blanks behind commas, as PostgreSQL has it.
pub(super) fn build_array(c: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let writers = writers(c)?;
    c.rows_of(|row| {
        let mut out = String::from("[");
        for (place, (arg, writer)) in writers.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            put(form, arg, writer, row, &mut out)?;
        }
        out.push(']');
        c.env.budget.value(out.len())?;
        Ok(out)
    })
}

fn put(form: Form, arg: &Arg, writer: &Writer, row: usize, out: &mut String) -> Result<()> {
    match form {
        Form::Json => writer.json(arg.at(row), out),
        Form::Jsonb => writer.jsonb(arg.at(row), out),
    }
}

/// json_build_object: keys and values by turns.
pub(super) fn build_object(c: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let writers = writers(c)?;
    even(form, writers.len())?;
    c.rows_of(|row| {
        let mut out = String::from("{");
        for (place, pair) in writers.chunks(2).enumerate() {
            let [(key_arg, key), (value_arg, value)] = pair else { continue };
            if place > 0 {
                out.push_str(", ");
            }
            if key.is_null(key_arg.at(row)) {
                return Err(null_key(form, place * 2 + 1));
            }
            write_key(key, key_arg.at(row), &mut out)?;
            out.push_str(" : ");
            put(form, value_arg, value, row, &mut out)?;
        }
        out.push('}');
        finish(form, out, c.env)
    })
}

fn finish(form: Form, out: String, env: &Env) -> Result<String> {
    env.budget.value(out.len())?;
    match form {
        Form::Json => Ok(out),
        Form::Jsonb => input::normal_json(&out),
    }
}

fn even(form: Form, count: usize) -> Result<()> {
    if count.is_multiple_of(2) {
        return Ok(());
    }
    let name = match form {
        Form::Json => "json_build_object()",
        Form::Jsonb => "jsonb_build_object()",
    };
    let hint = format!("The arguments of {name} must consist of alternating keys and values.");
    Err(cannot("argument list must have even number of elements").with_hint(hint))
}

fn null_key(form: Form, argument: usize) -> Error {
    match form {
        Form::Json => cannot(format!("argument {argument} cannot be null")).with_hint("Object keys should be text."),
        Form::Jsonb => cannot(format!("argument {argument}: key must not be null")),
    }
}

/// The text of each key of json_object_agg.
pub(super) fn keys(c: &Call<'_>) -> Result<ArrayRef> {
    let (arg, writer) = argument(c, 0)?;
    c.rows_of(|row| {
        let row = arg.at(row);
        if writer.is_null(row) {
            return Ok(None);
        }
        let mut text = String::new();
        writer.key(row, &mut text)?;
        Ok(Some(text))
    })
}

/// A key in quotes.
pub(in crate::sql) fn write_key(key: &Writer, row: usize, out: &mut String) -> Result<()> {
    if let Kind::Text(texts) = &key.kind {
        write_string(texts.value(row), out);
        return Ok(());
    }
    let mut text = String::new();
    key.key(row, &mut text)?;
    write_string(&text, out);
    Ok(())
}

/// json_build_array and json_build_object of `VARIADIC array`: its elements are the arguments, NULL gives NULL.
pub(super) fn build_variadic(c: &Call<'_>, form: Form, object: bool) -> Result<ArrayRef> {
    let (arg, writer) = argument(c, 0)?;
    let Kind::List { offsets, inner } = &writer.kind else {
        return c.rows_of(|_| Ok(None::<String>));
    };
    c.rows_of(|row| {
        if arg.is_null(row) {
            return Ok(None);
        }
        let row = arg.at(row);
        let (mut inner, mut from, mut to) = (inner, at(offsets, row), at(offsets, row + 1));
        // of more dimensions the elements count, one after the other
        while let Kind::List { offsets, inner: items } = &inner.kind {
            (from, to) = (at(offsets, from), at(offsets, to));
            inner = items;
        }
        if object {
            even(form, to - from)?;
        }
        let mut out = String::from(if object { "{" } else { "[" });
        for element in from..to {
            let place = element - from;
            if object && place % 2 == 0 && inner.is_null(element) {
                return Err(null_key(form, place + 1));
            }
            out.push_str(match (place, object && place % 2 == 1) {
                (0, _) => "",
                (_, true) => " : ",
                (_, false) => ", ",
            });
            if object && place % 2 == 0 {
                write_key(inner, element, &mut out)?;
            } else {
                inner.json(element, &mut out)?;
            }
        }
        out.push(if object { '}' } else { ']' });
        finish(form, out, c.env).map(Some)
    })
}
