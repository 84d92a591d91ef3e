//! The hash functions of types (hashfn.c, hashfunc.c and each type's own): `hashtext`, `hashint4` and the extended ones with
//! a seed. Equal values of a type, and of types whose operators compare them, hash alike; clients spread rows by them.
//!
//! A plain hash is the lower half of the extended one for the seed 0, throughout.

mod bytes;
mod json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::array::value::Arrays;
use super::datetime::compare::span;
use super::text::types::char_byte;
use super::{network, range};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{days_since_2000, micros_since_2000};
use crate::pgtype::{self, oid};
use crate::sql::kernel::{Arg, Call, Date, Env, Interval, Kernel, Read, Stamp, Time};
use crate::sql::numeric::{Numeric, power_of_ten};
pub(super) use bytes::{of_bytes, of_u32, rotated};

/// Oids of types that only hashing names.
const TID: u32 = 27;
const MACADDR: u32 = 829;
const MACADDR8: u32 = 774;
const PG_LSN: u32 = 3220;
const XID8: u32 = 5069;

macro_rules! hashes {
    ($($plain:literal $extended:literal)*) => {
        &[$(($plain, plain), ($extended, extended),)*]
    };
}

pub(super) const KERNELS: &[(&str, Kernel)] = hashes! {
    "hashchar" "hashcharextended"
    "hashint2" "hashint2extended"
    "hashint4" "hashint4extended"
    "hashint8" "hashint8extended"
    "hashoid" "hashoidextended"
    "hashoidvector" "hashoidvectorextended"
    "hashfloat4" "hashfloat4extended"
    "hashfloat8" "hashfloat8extended"
    "hashname" "hashnameextended"
    "hashtext" "hashtextextended"
    "hashbpchar" "hashbpcharextended"
    "hash_numeric" "hash_numeric_extended"
    "hashtid" "hashtidextended"
    "hashinet" "hashinetextended"
    "hashmacaddr" "hashmacaddrextended"
    "hashmacaddr8" "hashmacaddr8extended"
    "hash_array" "hash_array_extended"
    "hash_record" "hash_record_extended"
    "hash_range" "hash_range_extended"
    "hash_multirange" "hash_multirange_extended"
    "time_hash" "time_hash_extended"
    "timetz_hash" "timetz_hash_extended"
    "timestamp_hash" "timestamp_hash_extended"
    "interval_hash" "interval_hash_extended"
    "uuid_hash" "uuid_hash_extended"
    "pg_lsn_hash" "pg_lsn_hash_extended"
    "jsonb_hash" "jsonb_hash_extended"
};

fn plain(call: &Call<'_>) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    let found = hashes(arg.array.clone(), given(call), &vec![0; arg.array.len()], call.env)?;
    let lower = |hash: u64| u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0).cast_signed();
    let rows = (0..call.rows).map(|row| found.get(arg.at(row)).copied().flatten().map(lower));
    Ok(Arc::new(rows.collect::<Int32Array>()))
}

fn extended(call: &Call<'_>) -> Result<ArrayRef> {
    let (arg, seeds) = (call.arg(0)?, call.read::<i64>(1)?);
    let array = match arg.constant {
        true => take(&arg.array, &UInt32Array::from(vec![0; call.rows]), None)?,
        false => arg.array.clone(),
    };
    let each: Vec<u64> = (0..call.rows).map(|row| seeds.get(row).unwrap_or(0).cast_unsigned()).collect();
    let found = hashes(array, given(call), &each, call.env)?;
    let rows = found.into_iter().enumerate().map(|(row, hash)| hash.filter(|_| seeds.get(row).is_some()));
    Ok(Arc::new(rows.map(|hash| hash.map(u64::cast_signed)).collect::<Int64Array>()))
}

fn given(call: &Call<'_>) -> u32 {
    call.types.first().map_or(oid::UNKNOWN, |ty| pgtype::base(ty.oid))
}

/// The extended hash of each value of a column by its type's function, with a seed for each; `None` for NULL. 42883 for a
/// type without one.
fn hashes(array: ArrayRef, ty: u32, seeds: &[u64], env: &Env) -> Result<Vec<Option<u64>>> {
    let arg = &Arg::array(array);
    let signed = |value: i32, seed: u64| Ok(of_u32(value.cast_unsigned(), seed));
    match ty {
        oid::BOOL => each(arg, seeds, |value: bool, seed| Ok(of_u32(u32::from(value), seed))),
        oid::CHAR => each(arg, seeds, |text: &str, seed| signed(i32::from(char_byte(text).cast_signed()), seed)),
        oid::INT2 => each(arg, seeds, |value: i16, seed| signed(i32::from(value), seed)),
        oid::INT4 => each(arg, seeds, signed),
        oid::INT8 => each(arg, seeds, |value: i64, seed| Ok(of_i64(value, seed))),
        oid::FLOAT4 => each(arg, seeds, |value: f32, seed| Ok(float(f64::from(value), seed))),
        oid::FLOAT8 => each(arg, seeds, |value: f64, seed| Ok(float(value, seed))),
        oid::NUMERIC => each(arg, seeds, |value: Numeric, seed| Ok(numeric(&value, seed))),
        oid::TEXT | oid::VARCHAR | oid::NAME => {
            each(arg, seeds, |text: &str, seed| Ok(of_bytes(text.as_bytes(), seed)))
        }
        oid::BPCHAR => each(arg, seeds, |text: &str, seed| Ok(of_bytes(text.trim_end_matches(' ').as_bytes(), seed))),
        oid::BYTEA => each(arg, seeds, |bytes: &[u8], seed| Ok(of_bytes(bytes, seed))),
        oid::UUID => each(arg, seeds, |bytes: [u8; 16], seed| Ok(of_bytes(&bytes, seed))),
        // three 16-bit numbers as the reference's machine keeps them
        TID => each(arg, seeds, |[a, b, c, d, e, f]: [u8; 6], seed| Ok(of_bytes(&[b, a, d, c, f, e], seed))),
        oid::DATE => each(arg, seeds, |date: Date, seed| signed(days_since_2000(date.0)?, seed)),
        oid::TIME => each(arg, seeds, |time: Time, seed| Ok(of_i64(time.0, seed))),
        oid::TIMETZ => each(arg, seeds, |value: [u8; 12], seed| {
            let [a, b, c, d, e, f, g, h, zone @ ..] = value;
            let time = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
            Ok(of_i64(time, seed) ^ of_u32(u32::from_be_bytes(zone), seed))
        }),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            each(arg, seeds, |stamp: Stamp, seed| Ok(of_i64(micros_since_2000(stamp.0)?, seed)))
        }
        oid::INTERVAL => each(arg, seeds, |interval: Interval, seed| {
            // of a span that 64 bits do not hold the lower ones count
            let [low @ .., _, _, _, _, _, _, _, _] = span(interval).to_le_bytes();
            Ok(of_i64(i64::from_le_bytes(low), seed))
        }),
        oid::INET | oid::CIDR => each(arg, seeds, |text: &str, seed| Ok(of_bytes(&network::bytes(text)?, seed))),
        MACADDR | MACADDR8 => each(arg, seeds, |text: &str, seed| Ok(of_bytes(&network::mac_bytes(text)?, seed))),
        oid::JSONB => each(arg, seeds, json::hash),
        PG_LSN | XID8 => each(arg, seeds, |value: u64, seed| Ok(of_i64(value.cast_signed(), seed))),
        oid::OIDVECTOR => vectors(arg, seeds),
        oid::RECORD => records(arg, seeds, env),
        _ if range::is(ty) => each(arg, seeds, |text: &str, seed| range::hash(ty, text, seed, env)),
        _ if pgtype::element(ty).is_some() => arrays(arg, ty, seeds, env),
        // oid and its aliases, xid, cid
        _ if pgtype::arrow(ty) == Some(DataType::UInt32) => {
            each(arg, seeds, |value: u32, seed| Ok(of_u32(value, seed)))
        }
        _ => {
            let text = format!("could not identify a hash function for type {}", pgtype::name(ty));
            Err(Error::new(Kind::UndefinedFunction, text))
        }
    }
}

fn each<'a, T: Read<'a>>(
    arg: &'a Arg,
    seeds: &[u64],
    hash: impl Fn(T, u64) -> Result<u64>,
) -> Result<Vec<Option<u64>>> {
    let values = arg.read::<T>()?;
    let hashes = seeds.iter().enumerate().map(|(row, seed)| values.get(row).map(|value| hash(value, *seed)));
    hashes.map(Option::transpose).collect()
}

/// `hashint8`: as the int4 of the same value, where there is one.
pub(super) fn of_i64(value: i64, seed: u64) -> u64 {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    of_u32(low ^ if value >= 0 { high } else { !high }, seed)
}

/// `hashfloat8`: zero hashes alike with either sign, and one NaN as another.
fn float(value: f64, seed: u64) -> u64 {
    match () {
        () if value == 0.0 => seed,
        () if value.is_nan() => of_bytes(&f64::NAN.to_le_bytes(), seed),
        () => of_bytes(&value.to_le_bytes(), seed),
    }
}

/// `hash_numeric`: digits of base 10000 without zeroes at their ends, and the weight of the first.
pub(super) fn numeric(value: &Numeric, seed: u64) -> u64 {
    const DIGITS: u32 = 4;
    let Numeric::Finite { digits, scale } = value else { return seed };
    // whole digits of the base behind the point
    let behind = scale.div_ceil(DIGITS);
    let whole = digits * power_of_ten(behind * DIGITS - scale);
    let mut base: Vec<u16> = vec![];
    let text = whole.magnitude().to_string();
    for chunk in text.as_bytes().rchunks(4) {
        base.push(chunk.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')));
    }
    // the least digit stands first here
    let Some(last) = base.iter().position(|digit| *digit != 0) else { return seed.wrapping_sub(1) };
    let weight = base.len() as i64 - 1 - i64::from(behind);
    let bytes: Vec<u8> = base[last..].iter().rev().flat_map(|digit| digit.to_le_bytes()).collect();
    of_bytes(&bytes, seed) ^ weight.cast_unsigned()
}

/// 31 times what was before, and the next.
pub(super) fn joined(before: u64, next: u64) -> u64 {
    before.wrapping_mul(31).wrapping_add(next)
}

fn arrays(arg: &Arg, ty: u32, seeds: &[u64], env: &Env) -> Result<Vec<Option<u64>>> {
    let lists = Arrays::of(&arg.array, ty)?;
    let (shapes, elements) = (lists.all_shapes()?, lists.elements());
    let mut of_elements = vec![0; elements.len()];
    for (shape, seed) in shapes.iter().zip(seeds) {
        if let Some(shape) = shape {
            of_elements[shape.from..shape.to].fill(*seed);
        }
    }
    let element = pgtype::element(ty).unwrap_or(oid::UNKNOWN);
    let hashes = hashes(elements.clone(), element, &of_elements, env)?;
    let fold = |from: usize, to: usize| hashes[from..to].iter().fold(1, |all, hash| joined(all, hash.unwrap_or(0)));
    Ok(shapes.iter().map(|shape| shape.map(|shape| fold(shape.from, shape.to))).collect())
}

fn records(arg: &Arg, seeds: &[u64], env: &Env) -> Result<Vec<Option<u64>>> {
    let wrong = || Error::internal(format!("a record as {}", arg.array.data_type()));
    let record = arg.array.as_struct_opt().ok_or_else(wrong)?;
    let mut found: Vec<Option<u64>> = (0..record.len()).map(|row| record.is_valid(row).then_some(0)).collect();
    for (column, field) in record.columns().iter().zip(record.fields()) {
        let hashes = hashes(column.clone(), pgtype::of_field(field)?.oid, seeds, env)?;
        for (all, hash) in found.iter_mut().zip(hashes) {
            *all = all.map(|all| joined(all, hash.unwrap_or(0)));
        }
    }
    Ok(found)
}

/// `hashoidvector`: the oids' bytes.
fn vectors(arg: &Arg, seeds: &[u64]) -> Result<Vec<Option<u64>>> {
    each(arg, seeds, |oids: ArrayRef, seed| {
        let oids = Arg::array(oids);
        let values = oids.read::<u32>()?;
        let bytes = (0..oids.array.len()).filter_map(|at| values.get(at)).flat_map(u32::to_le_bytes);
        Ok(of_bytes(&bytes.collect::<Vec<u8>>(), seed))
    })
}
