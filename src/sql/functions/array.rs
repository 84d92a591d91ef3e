//! Arrays (arrayfuncs.c, array_userfuncs.c) of any element and of up to six dimensions, and the two vector types. Sub-arrays
//! of one dimension are of one size, as in PostgreSQL; subscripts count from 1 (a vector's from 0).

mod ask;
mod build;
#[cfg(test)]
pub(in crate::sql::functions) mod tests;
mod text;
pub(super) mod value;

use arrow::datatypes::DataType;

use crate::pgtype::{self, Ty};
use crate::sql::image::Proc;
use crate::sql::kernel::Kernel;

pub(crate) use text::dimensions;
pub(super) use text::output;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("array_in", text::array_in),
    ("array_out", text::array_out),
    ("anyarray_out", text::array_out),
    ("anycompatiblearray_out", text::array_out),
    ("int2vectorin", text::vector_in),
    ("int2vectorout", text::vector_out),
    ("oidvectorin", text::vector_in),
    ("oidvectorout", text::vector_out),
    ("array_to_text", text::to_text),
    ("array_to_text_null", text::to_text),
    ("array_ndims", ask::ndims),
    ("array_dims", ask::dims),
    ("array_length", ask::length),
    ("array_lower", ask::lower),
    ("array_upper", ask::upper),
    ("array_cardinality", ask::cardinality),
    ("generate_subscripts", ask::subscripts),
    ("generate_subscripts_nodir", ask::subscripts),
    ("array_unnest", ask::unnest),
    ("array_eq", ask::eq),
    ("array_ne", ask::ne),
    ("array_lt", ask::lt),
    ("array_le", ask::le),
    ("array_gt", ask::gt),
    ("array_ge", ask::ge),
    ("btarraycmp", ask::cmp),
    ("array_larger", ask::larger),
    ("array_smaller", ask::smaller),
    ("oidvectoreq", ask::vector_eq),
    ("oidvectorne", ask::vector_ne),
    ("oidvectorlt", ask::vector_lt),
    ("oidvectorle", ask::vector_le),
    ("oidvectorgt", ask::vector_gt),
    ("oidvectorge", ask::vector_ge),
    ("btoidvectorcmp", ask::vector_cmp),
    ("arraycontains", ask::contains),
    ("arraycontained", ask::contained),
    ("arrayoverlap", ask::overlap),
    ("array_position", ask::position),
    ("array_position_start", ask::position),
    ("array_positions", ask::positions),
    ("array_remove", ask::remove),
    ("array_replace", ask::replace),
    ("width_bucket_array", ask::width_bucket),
    ("array_append", build::append),
    ("array_prepend", build::prepend),
    ("array_cat", build::cat),
    ("array_fill", build::fill),
    ("array_fill_with_lower_bounds", build::fill),
    ("trim_array", build::trim),
    ("grammar/subscript", ask::subscript),
    ("grammar/slice", ask::slice),
];

/// An array lies as deep as the deepest argument of its type, and its elements as those of the arguments where they all lie
/// alike (numerics of one scale); an element taken out of an array lies as it did there.
pub(super) fn lies_as(_proc: &Proc, arguments: &[(Ty, DataType)], result: Ty) -> Option<DataType> {
    let Some(element) = pgtype::element(result.oid) else {
        // `unnest`, subscripts
        let holders = arguments.iter().filter(|(ty, _)| pgtype::element(ty.oid) == Some(result.oid));
        return alike(holders.map(|(_, lies)| value::leaf(lies)));
    };
    let same = || arguments.iter().filter(|(ty, _)| ty.oid == result.oid);
    let depth = same().map(|(_, lies)| value::depth(lies)).max()?;
    let members = arguments.iter().filter(|(ty, _)| ty.oid == result.oid || ty.oid == element);
    let leaf = alike(members.map(|(_, lies)| value::leaf(lies))).or_else(|| pgtype::arrow(element))?;
    let plain = pgtype::arrow(result.oid);
    if plain.is_some_and(|plain| value::leaf(&plain) == &leaf) && depth <= 1 {
        return None;
    }
    if let Some((_, lies)) = same().find(|(_, lies)| value::depth(lies) == depth && *value::leaf(lies) == leaf) {
        return Some(lies.clone());
    }
    Some(value::list_of(leaf, depth))
}

fn alike<'a>(mut types: impl Iterator<Item = &'a DataType>) -> Option<DataType> {
    let first = types.next()?;
    types.all(|other| other == first).then(|| first.clone())
}
