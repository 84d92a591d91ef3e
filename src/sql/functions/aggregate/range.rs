//! range_agg and range_intersect_agg: the ranges of a group joined, or what all of them have in common.

use arrow::array::{ArrayRef, AsArray, StringArray};
use std::sync::Arc;

use super::Of;
use super::gather::Ordered;
use crate::error::{Error, Result};
use crate::sql::functions::range::{Folding, folded};

/// As multiranges; NULL for a group without a range.
pub(super) fn union(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    each(rows, of, Folding::Union)
}

pub(super) fn intersection(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    each(rows, of, Folding::Intersection)
}

fn each(rows: &Ordered<'_>, of: &Of, how: Folding) -> Result<ArrayRef> {
    let texts = rows.columns.first().and_then(|column| column.as_string_opt::<i32>());
    let texts = texts.ok_or_else(|| Error::internal("ranges of an aggregate are no text"))?;
    let given = of.argument()?.oid;
    let group = |ends: &[usize]| {
        let members = (ends[0]..ends[1]).filter(|row| !arrow::array::Array::is_null(texts, *row));
        folded(how, given, of.result.0.oid, members.map(|row| texts.value(row)), &of.env)
    };
    let values = rows.offsets.windows(2).map(group).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(values)))
}
