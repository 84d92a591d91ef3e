//! Joined strings: `||`, concat, concat_ws. Their arguments of any type are spelt by their output functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};

use super::{build, build2};
use crate::error::{Error, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::array;
use crate::sql::image::{self, CastMethod};
use crate::sql::kernel::{Arg, Call, Env, Kernel, Values};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("textcat", |c| build2(c, joined)),
    ("textanycat/2003", |c| {
        let other = cast_to_text(c, 1)?;
        build2(&Call { args: &[c.arg(0)?.clone(), other], ..part(c) }, joined)
    }),
    ("anytextcat/2004", |c| {
        let other = cast_to_text(c, 0)?;
        build2(&Call { args: &[other, c.arg(1)?.clone()], ..part(c) }, joined)
    }),
    ("text_concat", |c| concat(c, &spelt(c, 0)?, None)),
    ("text_concat_ws", |c| concat(c, &spelt(c, 1)?, Some(c.read(0)?))),
    ("text_concat/variadic", |c| concat_array(c, 0, None)),
    ("text_concat_ws/variadic", |c| concat_array(c, 1, Some(c.read(0)?))),
];

/// The call with other arguments.
pub(super) fn part<'a>(call: &Call<'a>) -> Call<'a> {
    Call {
        args: call.args,
        types: call.types,
        rows: call.rows,
        result: call.result,
        result_type: call.result_type,
        env: call.env,
    }
}

fn joined(a: &str, b: &str, out: &mut String) -> Result<()> {
    out.push_str(a);
    out.push_str(b);
    Ok(())
}

/// Values by the output function of their type: what `format('%s', …)` shows.
fn output(values: &ArrayRef, ty: Ty, env: &Env) -> Result<ArrayRef> {
    if is_string(ty.oid) && *values.data_type() == DataType::Utf8 {
        return Ok(Arc::clone(values));
    }
    array::output(ty.oid, values, env)
}

fn is_string(type_oid: u32) -> bool {
    matches!(type_oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::UNKNOWN | oid::CSTRING)
}

fn apply(source: &str, array: &ArrayRef, ty: Ty, env: &Env) -> Result<ArrayRef> {
    let kernel =
        super::super::kernel(source).ok_or_else(|| Error::unsupported(format!("output of type {}", ty.name())))?;
    let result = Field::new("", DataType::Utf8, true);
    kernel(&Call {
        args: &[Arg::array(Arc::clone(array))],
        types: &[ty],
        rows: array.len(),
        result: &result,
        result_type: Ty::TEXT,
        env,
    })
}

/// The arguments from `from` on as text.
pub(super) fn spelt(call: &Call<'_>, from: usize) -> Result<Vec<Arg>> {
    let arguments = call.args.iter().zip(call.types).skip(from);
    arguments.map(|(arg, ty)| Ok(Arg { array: output(&arg.array, *ty, call.env)?, constant: arg.constant })).collect()
}

/// The elements of an array given as VARIADIC, as text: one array of them for all rows, and where each row's are.
pub(super) fn spelt_elements(call: &Call<'_>, index: usize) -> Result<(ArrayRef, Vec<Option<std::ops::Range<usize>>>)> {
    let arg = call.arg(index)?;
    let wrong = || Error::internal("VARIADIC without an array");
    let list = arg.array.as_list_opt::<i32>().ok_or_else(wrong)?;
    let ty = call.types.get(index).and_then(|ty| pgtype::element(ty.oid)).ok_or_else(wrong)?;
    // more dimensions are all their elements, one after the other
    let mut offsets: Vec<usize> = list.value_offsets().iter().map(|offset| offset.cast_unsigned() as usize).collect();
    let mut values = Arc::clone(list.values());
    while let Some(inner) = Arc::clone(&values).as_list_opt::<i32>() {
        let of = inner.value_offsets();
        offsets = offsets.iter().map(|at| of.get(*at).map_or(0, |offset| offset.cast_unsigned() as usize)).collect();
        values = Arc::clone(inner.values());
    }
    let texts = output(&values, Ty::of(ty), call.env)?;
    let rows = (0..call.rows).map(|row| {
        let at = arg.at(row);
        (!arg.is_null(row)).then(|| offsets[at]..offsets[at + 1])
    });
    Ok((texts, rows.collect()))
}

/// By the cast to text where the type has one, else as it is put out.
pub(super) fn cast_to_text(call: &Call<'_>, index: usize) -> Result<Arg> {
    let arg = call.arg(index)?;
    let ty = call.types.get(index).copied().unwrap_or(Ty::TEXT);
    let array = match image::cast(ty.oid, oid::TEXT).map(|cast| cast.method) {
        Some(CastMethod::Function(proc)) => apply(&proc.source, &arg.array, ty, call.env)?,
        Some(CastMethod::Binary | CastMethod::Text) | None => output(&arg.array, ty, call.env)?,
    };
    Ok(Arg { array, constant: arg.constant })
}

/// NULLs are left out; a NULL separator makes NULL.
fn concat<'a>(call: &Call<'a>, args: &[Arg], separator: Option<Values<'a, &'a str>>) -> Result<ArrayRef> {
    let args = args.iter().map(Arg::read::<&str>).collect::<Result<Vec<_>>>()?;
    build(call, |row, out| {
        let Some(between) = separator.as_ref().map_or(Some(""), |s| s.get(row)) else { return Ok(false) };
        let mut values = args.iter().filter_map(|arg| arg.get(row));
        out.extend(values.next());
        for value in values {
            out.push_str(between);
            out.push_str(value);
        }
        Ok(true)
    })
}

/// A NULL array makes NULL.
fn concat_array<'a>(call: &Call<'a>, index: usize, separator: Option<Values<'a, &'a str>>) -> Result<ArrayRef> {
    let (texts, rows) = spelt_elements(call, index)?;
    let texts = texts.as_string::<i32>();
    build(call, |row, out| {
        let between = separator.as_ref().map_or(Some(""), |s| s.get(row));
        let (Some(between), Some(Some(range))) = (between, rows.get(row)) else { return Ok(false) };
        let mut values = range.clone().filter(|i| !texts.is_null(*i)).map(|i| texts.value(i));
        out.extend(values.next());
        for value in values {
            out.push_str(between);
            out.push_str(value);
        }
        Ok(true)
    })
}
