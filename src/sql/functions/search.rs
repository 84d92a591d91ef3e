//! tsvector and tsquery (tsvector_op.c, tsquery_op.c, tsrank.c): what can be asked of values that are there already. How
//! documents become such values (parsers, dictionaries, configurations) is not here.
//!
//! Both lie as their canonical text: of a vector equal texts are equal values; queries compare by a key of their own.

mod edit;
mod execute;
mod query;
mod rank;
#[cfg(test)]
mod tests;
mod token;
mod vector;

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Float32Type;

use query::{DISTANCE_MAX, Operator, Query};
use rank::Limits;
use vector::Vector;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("tsvectorin", |c| c.one(|text: &str| Vector::read(text).map(|vector| vector.spelt()))),
    ("tsvectorout", |c| c.one(|text: &str| Ok(text))),
    ("key/tsvector", |c| c.one(|text: &str| Vector::parse(text).map(|vector| vector.key()))),
    ("tsvector_eq", |c| c.two(|a: &str, b: &str| Ok(a == b))),
    ("tsvector_ne", |c| c.two(|a: &str, b: &str| Ok(a != b))),
    ("tsvector_lt", |c| vectors(c, |a, b| Ok(a.key() < b.key()))),
    ("tsvector_le", |c| vectors(c, |a, b| Ok(a.key() <= b.key()))),
    ("tsvector_gt", |c| vectors(c, |a, b| Ok(a.key() > b.key()))),
    ("tsvector_ge", |c| vectors(c, |a, b| Ok(a.key() >= b.key()))),
    ("tsvector_cmp", |c| c.two(|a: &str, b: &str| Ok(Vector::parse(a)?.compare(&Vector::parse(b)?)))),
    ("tsvector_length", |c| c.one(|text: &str| Vector::parse(text).map(|vector| vector.length()))),
    ("tsvector_strip", |c| c.one(|text: &str| Ok(Vector::parse(text)?.stripped().spelt()))),
    ("tsvector_concat", |c| c.two(|a: &str, b: &str| Ok(Vector::parse(a)?.followed_by(Vector::parse(b)?)?.spelt()))),
    ("tsvector_setweight", |c| {
        c.two(|text: &str, weight: &str| Ok(Vector::parse(text)?.weighted(edit::weight(weight)?, |_| true).spelt()))
    }),
    ("tsvector_setweight_by_filter", edit::set_weight_of),
    ("tsvector_delete_str", |c| {
        c.two(|text: &str, word: &str| Ok(Vector::parse(text)?.only(|lexeme| lexeme != word).spelt()))
    }),
    ("tsvector_delete_arr", edit::delete_all),
    ("tsvector_filter", edit::filter),
    ("tsvector_to_array", edit::words),
    ("array_to_tsvector", edit::of_words),
    ("tsvector_unnest", edit::unnest),
    ("tsqueryin", |c| c.one(|text: &str| Query::read(text).map(|query| query.spelt()))),
    ("tsqueryout", |c| c.one(|text: &str| Ok(text))),
    ("key/tsquery", |c| c.one(|text: &str| Query::parse(text).map(|query| query.key()))),
    ("tsquery_eq", |c| queries(c, |a, b| Ok(a.key() == b.key()))),
    ("tsquery_ne", |c| queries(c, |a, b| Ok(a.key() != b.key()))),
    ("tsquery_lt", |c| queries(c, |a, b| Ok(a.key() < b.key()))),
    ("tsquery_le", |c| queries(c, |a, b| Ok(a.key() <= b.key()))),
    ("tsquery_gt", |c| queries(c, |a, b| Ok(a.key() > b.key()))),
    ("tsquery_ge", |c| queries(c, |a, b| Ok(a.key() >= b.key()))),
    ("tsquery_cmp", |c| c.two(|a: &str, b: &str| Ok(Query::parse(a)?.key().cmp(&Query::parse(b)?.key()) as i32))),
    ("tsquery_and", |c| joined(c, Operator::And)),
    ("tsquery_or", |c| joined(c, Operator::Or)),
    ("tsquery_not", |c| c.one(|text: &str| Ok(Query::parse(text)?.negated()?.spelt()))),
    ("tsquery_phrase", |c| joined(c, Operator::Phrase(1))),
    ("tsquery_phrase_distance", |c| {
        c.three(|a: &str, b: &str, distance: i32| {
            let within = u16::try_from(distance).ok().filter(|distance| *distance <= DISTANCE_MAX);
            let operator = Operator::Phrase(within.ok_or_else(query::distance_out_of_range)?);
            Ok(Query::parse(a)?.joined(operator, Query::parse(b)?)?.spelt())
        })
    }),
    ("tsquery_numnode", |c| c.one(|text: &str| Ok(i32::try_from(Query::parse(text)?.nodes()).unwrap_or(i32::MAX)))),
    ("tsquerytree", |c| c.one(|text: &str| Query::parse(text).map(|query| query.indexable()))),
    ("tsq_mcontains", |c| queries(c, |a, b| Ok(a.has_words_of(&b)))),
    ("tsq_mcontained", |c| queries(c, |a, b| Ok(b.has_words_of(&a)))),
    ("ts_match_vq", |c| c.two(|vector: &str, query: &str| matches(vector, query))),
    ("ts_match_qv", |c| c.two(|query: &str, vector: &str| matches(vector, query))),
    ("ts_rank_tt", |c| ranked(c, rank::plain)),
    ("ts_rank_ttf", |c| ranked_as(c, rank::plain)),
    ("ts_rank_wtt", |c| weighted(c, rank::plain)),
    ("ts_rank_wttf", |c| weighted_as(c, rank::plain)),
    ("ts_rankcd_tt", |c| ranked(c, rank::cover)),
    ("ts_rankcd_ttf", |c| ranked_as(c, rank::cover)),
    ("ts_rankcd_wtt", |c| weighted(c, rank::cover)),
    ("ts_rankcd_wttf", |c| weighted_as(c, rank::cover)),
];

fn vectors(c: &Call<'_>, f: impl Fn(Vector, Vector) -> Result<bool>) -> Result<ArrayRef> {
    c.two(|a: &str, b: &str| f(Vector::parse(a)?, Vector::parse(b)?))
}

fn queries(c: &Call<'_>, f: impl Fn(Query, Query) -> Result<bool>) -> Result<ArrayRef> {
    c.two(|a: &str, b: &str| f(Query::parse(a)?, Query::parse(b)?))
}

fn joined(c: &Call<'_>, operator: Operator) -> Result<ArrayRef> {
    c.two(|a: &str, b: &str| Ok(Query::parse(a)?.joined(operator, Query::parse(b)?)?.spelt()))
}

fn matches(vector: &str, query: &str) -> Result<bool> {
    Ok(execute::matches(&Vector::parse(vector)?, &Query::parse(query)?))
}

/// The rank of a vector by a query: weights, the two, what it is divided by.
type Rank = fn(&[f32; 4], &str, &str, i32, &Limits<'_>) -> Result<f32>;

fn ranked(c: &Call<'_>, rank: Rank) -> Result<ArrayRef> {
    let limits = Limits::of(c);
    c.two(|vector: &str, query: &str| rank(&rank::WEIGHTS, vector, query, 0, &limits))
}

fn ranked_as(c: &Call<'_>, rank: Rank) -> Result<ArrayRef> {
    let limits = Limits::of(c);
    c.three(|vector: &str, query: &str, how: i32| rank(&rank::WEIGHTS, vector, query, how, &limits))
}

fn weighted(c: &Call<'_>, rank: Rank) -> Result<ArrayRef> {
    let limits = Limits::of(c);
    c.three(|w: ArrayRef, vector: &str, query: &str| rank(&weights(&w)?, vector, query, 0, &limits))
}

fn weighted_as(c: &Call<'_>, rank: Rank) -> Result<ArrayRef> {
    let limits = Limits::of(c);
    c.four(|w: ArrayRef, vector: &str, query: &str, how: i32| rank(&weights(&w)?, vector, query, how, &limits))
}

/// getWeights: of D, C, B and A; a negative one is the usual one.
fn weights(array: &ArrayRef) -> Result<[f32; 4]> {
    if array.as_list_opt::<i32>().is_some() {
        return Err(Error::new(Kind::ArraySubscript, "array of weight must be one-dimensional"));
    }
    let given = array.as_primitive_opt::<Float32Type>();
    let given = given.ok_or_else(|| Error::internal(format!("weights lie as {}", array.data_type())))?;
    if given.is_empty() {
        return Err(Error::new(Kind::ArraySubscript, "array of weight must be one-dimensional"));
    }
    if given.len() < rank::WEIGHTS.len() {
        return Err(Error::new(Kind::ArraySubscript, "array of weight is too short"));
    }
    if given.null_count() > 0 {
        return Err(Error::new(Kind::NullNotAllowed, "array of weight must not contain nulls"));
    }
    let mut weights = rank::WEIGHTS;
    for (weight, given) in weights.iter_mut().zip(given.values()) {
        if *given >= 0.0 {
            *weight = *given;
        }
        if *weight > 1.0 {
            return Err(Error::new(Kind::InvalidParameter, "weight out of range"));
        }
    }
    Ok(weights)
}
