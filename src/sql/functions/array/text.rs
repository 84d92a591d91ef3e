//! Arrays as text: `{…}` in and out, vectors, `array_to_string`. Elements are read and written by their own types'
//! functions, all rows at once.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, Int32Array, StringArray, StringBuilder, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;

use super::value::{Arrays, Shape, depth, leaf, lying_as, nest};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::{delimiter, literal, words};
use crate::formats::postgres::{Quotes, quote};
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::kernel;
use crate::sql::kernel::{Arg, Call, Env};

/// array_in(text, element oid, typmod). How deep the result lies is `call.result`'s; see [`dimensions`].
pub(super) fn array_in(call: &Call<'_>) -> Result<ArrayRef> {
    let element = pgtype::element(call.result_type.oid).ok_or_else(|| Error::internal("array_in of no array"))?;
    let delimiter = delimiter(element);
    read(call, element, |text, items| {
        literal(text, delimiter, &mut |item| {
            items.append_option(item);
            Ok(())
        })
    })
}

/// int2vectorin, oidvectorin.
pub(super) fn vector_in(call: &Call<'_>) -> Result<ArrayRef> {
    let element = pgtype::element(call.result_type.oid).ok_or_else(|| Error::internal("a vector of no elements"))?;
    read(call, element, |text, items| {
        let mut count = 0;
        for word in words(text) {
            items.append_value(word);
            count += 1;
        }
        Ok(vec![count])
    })
}

/// How many dimensions a literal has, so that its expression lies in as many lists; 1 where it is empty or malformed.
pub(crate) fn dimensions(text: &str, array: u32) -> usize {
    let delimiter = pgtype::element(array).map_or(',', delimiter);
    literal(text, delimiter, &mut |_| Ok(())).map_or(1, |sizes| sizes.len().max(1))
}

fn read(
    call: &Call<'_>,
    element: u32,
    parse: impl Fn(&str, &mut StringBuilder) -> Result<Vec<usize>>,
) -> Result<ArrayRef> {
    let texts = call.read::<&str>(0)?;
    let levels = depth(call.result.data_type());
    let mut items = StringBuilder::new();
    let mut lengths = vec![Vec::with_capacity(call.rows); levels.max(1)];
    let mut valid = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let text = texts.get(row);
        valid.push(text.is_some());
        let sizes = text.map(|text| parse(text, &mut items)).transpose()?.unwrap_or_default();
        if sizes.iter().product::<usize>() == 0 || sizes.is_empty() {
            if let Some(outer) = lengths.first_mut() {
                outer.push(0);
            }
            continue;
        }
        if sizes.len() != levels {
            let text = format!("an array of {} dimensions among arrays of {levels}", sizes.len());
            return Err(Error::unsupported(text));
        }
        let mut lists = 1;
        for (lengths, size) in lengths.iter_mut().zip(sizes) {
            lengths.extend(std::iter::repeat_n(size, lists));
            lists *= size;
        }
    }
    let typmod = match call.args.get(2) {
        Some(_) => call.read::<i32>(2)?.get(0).unwrap_or(-1),
        None => -1,
    };
    let items: ArrayRef = Arc::new(items.finish());
    let elements = input(element, typmod, &items, leaf(call.result.data_type()), call.env)?;
    nest(call.result.data_type(), elements, lengths, valid)
}

/// Values of a type from texts, by the type's input function.
pub(in crate::sql::functions) fn input(
    ty: u32,
    typmod: i32,
    texts: &ArrayRef,
    data_type: &DataType,
    env: &Env,
) -> Result<ArrayRef> {
    let missing = || Error::unsupported(format!("input of type {}", pgtype::name(ty)));
    let kernel = pgtype::functions(ty).and_then(|functions| kernel(functions.input)).ok_or_else(missing)?;
    let lies = pgtype::arrow(ty).ok_or_else(missing)?;
    let constant = |array: ArrayRef| Arg::constant(array);
    let parameter = pgtype::element(ty).unwrap_or(ty);
    let result = pgtype::field("item", Ty { oid: ty, typmod }, lies);
    let values = kernel(&Call {
        args: &[
            Arg::array(Arc::clone(texts)),
            constant(Arc::new(UInt32Array::from(vec![parameter]))),
            constant(Arc::new(Int32Array::from(vec![typmod]))),
        ],
        types: &[Ty::of(oid::CSTRING), Ty::of(oid::OID), Ty::INT4],
        rows: texts.len(),
        result: &result,
        result_type: Ty { oid: ty, typmod },
        env,
    })?;
    lying_as(&values, data_type, env)
}

/// Texts of values, by the type's output function.
pub(in crate::sql::functions) fn output(ty: u32, values: &ArrayRef, env: &Env) -> Result<ArrayRef> {
    let missing = || Error::unsupported(format!("output of type {}", pgtype::name(ty)));
    let name = pgtype::functions(ty).map(|functions| functions.output);
    let Some(kernel) = name.and_then(kernel) else {
        // a source's own types are text
        return if ty >= 16384 && values.as_string_opt::<i32>().is_some() {
            Ok(Arc::clone(values))
        } else {
            Err(missing())
        };
    };
    let result = Field::new("", DataType::Utf8, true);
    kernel(&Call {
        args: &[Arg::array(Arc::clone(values))],
        types: &[Ty::of(ty)],
        rows: values.len(),
        result: &result,
        result_type: Ty::of(oid::CSTRING),
        env,
    })
}

pub(super) fn array_out(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    let texts = texts(&arrays, call.env)?;
    let delimiter = u8::try_from(delimiter(arrays.element)).unwrap_or(b',');
    spell(call, &arrays, |shape, out| {
        if shape.sizes().is_empty() {
            out.extend_from_slice(b"{}");
            return;
        }
        let mut at = shape.from;
        braces(shape.sizes(), &mut at, out, delimiter, &mut |at, out| match texts.is_null(at) {
            true => out.extend_from_slice(b"NULL"),
            false => {
                let start = out.len();
                out.extend_from_slice(texts.value(at).as_bytes());
                quote(start, Quotes::Array(delimiter), out);
            }
        });
    })
}

fn braces(
    sizes: &[usize],
    at: &mut usize,
    out: &mut BytesMut,
    delimiter: u8,
    element: &mut impl FnMut(usize, &mut BytesMut),
) {
    let Some((size, inner)) = sizes.split_first() else {
        element(*at, out);
        *at += 1;
        return;
    };
    out.extend_from_slice(b"{");
    for position in 0..*size {
        if position > 0 {
            out.extend_from_slice(&[delimiter]);
        }
        braces(inner, at, out, delimiter, element);
    }
    out.extend_from_slice(b"}");
}

pub(super) fn vector_out(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    let texts = texts(&arrays, call.env)?;
    spell(call, &arrays, |shape, out| {
        for at in shape.from..shape.to {
            if at > shape.from {
                out.extend_from_slice(b" ");
            }
            out.extend_from_slice(texts.value(at).as_bytes());
        }
    })
}

/// array_to_string without a text for NULL: such elements are left out.
pub(super) fn to_text(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, between) = (Arrays::read(call, 0)?, call.read::<&str>(1)?);
    let for_null = match call.args.len() {
        3 => Some(call.read::<&str>(2)?),
        _ => None,
    };
    let texts = texts(&arrays, call.env)?;
    call.rows_of(|row| {
        let (Some(shape), Some(between)) = (arrays.get(row)?, between.get(row)) else { return Ok(None) };
        let for_null = for_null.as_ref().and_then(|text| text.get(row));
        let (mut out, mut first) = (String::new(), true);
        for at in shape.from..shape.to {
            let text = if texts.is_null(at) { for_null } else { Some(texts.value(at)) };
            let Some(text) = text else { continue };
            if !first {
                out.push_str(between);
            }
            first = false;
            out.push_str(text);
            call.env.budget.value(out.len())?;
        }
        Ok(Some(out))
    })
}

fn texts(arrays: &Arrays<'_>, env: &Env) -> Result<StringArray> {
    let texts = output(arrays.element, arrays.elements(), env)?;
    let texts = texts.as_string_opt::<i32>().cloned();
    texts.ok_or_else(|| Error::internal("an output function that gives no text"))
}

/// Text of each row's array, into one buffer.
fn spell(call: &Call<'_>, arrays: &Arrays<'_>, write: impl Fn(&Shape, &mut BytesMut)) -> Result<ArrayRef> {
    let mut out = BytesMut::new();
    let mut lengths = Vec::with_capacity(call.rows);
    let mut valid = BooleanBufferBuilder::new(call.rows);
    for row in 0..call.rows {
        let (shape, start) = (arrays.get(row)?, out.len());
        valid.append(shape.is_some());
        if let Some(shape) = shape {
            write(&shape, &mut out);
        }
        lengths.push(out.len() - start);
        call.env.budget.value(out.len() - start)?;
        if i32::try_from(out.len()).is_err() {
            return Err(Error::new(Kind::OutOfMemory, "the values of one batch exceed 2 GiB"));
        }
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = NullBuffer::new(valid.finish());
    Ok(Arc::new(StringArray::try_new(offsets, out.freeze().into(), Some(nulls))?))
}
