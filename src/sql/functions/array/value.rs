//! Arrays as kernels see them: the sizes of a value's dimensions and where its elements lie among those of the whole
//! column; and how lists are made of picked elements. What a function picks is its own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Field, FieldRef};

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::DIMENSIONS_MAX;
use crate::pgtype::{self, Ty};
use crate::sql::kernel::{Arg, Call, Env};
use crate::sql::numeric::Numeric;

/// PostgreSQL's own limit of elements (`MaxArraySize`).
pub(super) const ELEMENTS_MAX: usize = 134_217_727;

/// One value: the sizes of its dimensions, outermost first, and its elements' places in [`Arrays::elements`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql::functions) struct Shape {
    sizes: [usize; DIMENSIONS_MAX],
    dimensions: usize,
    pub(in crate::sql::functions) from: usize,
    pub(in crate::sql::functions) to: usize,
}

impl Shape {
    /// None for an empty array.
    pub(in crate::sql::functions) fn sizes(&self) -> &[usize] {
        self.sizes.get(..self.dimensions).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }

    /// Size of a dimension that counts from 1.
    pub(super) fn size(&self, dimension: i32) -> Option<usize> {
        let at = usize::try_from(dimension).ok()?.checked_sub(1)?;
        self.sizes().get(at).copied()
    }
}

/// A column of arrays.
#[derive(Debug)]
pub(in crate::sql::functions) struct Arrays<'a> {
    levels: Vec<&'a ListArray>,
    elements: &'a ArrayRef,
    constant: bool,
    /// What subscripts count from.
    pub(super) base: i32,
    pub(super) element: u32,
}

impl<'a> Arrays<'a> {
    pub(in crate::sql::functions) fn read(call: &Call<'a>, at: usize) -> Result<Self> {
        let arg = call.arg(at)?;
        let ty = call.types.get(at).copied().unwrap_or(Ty::UNKNOWN);
        Ok(Self { constant: arg.constant, ..Self::of(&arg.array, ty.oid)? })
    }

    pub(in crate::sql::functions) fn of(array: &'a ArrayRef, ty: u32) -> Result<Self> {
        let (mut levels, mut inner) = (vec![], array);
        while let Some(list) = inner.as_list_opt::<i32>() {
            levels.push(list);
            inner = list.values();
        }
        let base = pgtype::lower_bound(ty);
        let element = pgtype::element(ty).filter(|_| (1..=DIMENSIONS_MAX).contains(&levels.len()));
        let wrong = || Error::internal(format!("{} as an array of type {ty}", array.data_type()));
        Ok(Self { levels, elements: inner, constant: false, base, element: element.ok_or_else(wrong)? })
    }

    /// The elements of all rows, one after another.
    pub(in crate::sql::functions) fn elements(&self) -> &'a ArrayRef {
        self.elements
    }

    /// `None` for NULL. 0A000 where sub-arrays are NULL or of different sizes, which a list may be and an array not.
    pub(in crate::sql::functions) fn get(&self, row: usize) -> Result<Option<Shape>> {
        self.shape(if self.constant { 0 } else { row })
    }

    pub(in crate::sql::functions) fn all_shapes(&self) -> Result<Vec<Option<Shape>>> {
        let rows = self.levels.first().map_or(0, |list| list.len());
        (0..rows).map(|row| self.shape(row)).collect()
    }

    fn shape(&self, row: usize) -> Result<Option<Shape>> {
        let mut shape = Shape { sizes: [0; DIMENSIONS_MAX], dimensions: 0, from: row, to: row + 1 };
        if self.levels.first().is_none_or(|list| list.is_null(row)) {
            return Ok(None);
        }
        for (list, size) in self.levels.iter().zip(&mut shape.sizes) {
            let offsets = list.value_offsets();
            let span = |at: usize| (offsets[at] as usize, offsets[at + 1] as usize);
            let (first, end) = span(shape.from);
            *size = end - first;
            for at in shape.from + 1..shape.to {
                let (from, to) = span(at);
                if to - from != *size {
                    return Err(ragged());
                }
            }
            if list.null_count() > 0 && (shape.from..shape.to).any(|at| list.is_null(at)) {
                return Err(ragged());
            }
            let end = span(shape.to - 1).1;
            (shape.from, shape.to) = (first, end);
            if first == end {
                // empty, in whatever dimension
                shape.dimensions = 0;
                return Ok(Some(shape));
            }
            shape.dimensions += 1;
        }
        Ok(Some(shape))
    }
}

fn ragged() -> Error {
    Error::unsupported("a multidimensional array with sub-arrays of different sizes")
}

/// How many lists lie in one another.
pub(super) fn depth(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) => 1 + depth(item.data_type()),
        _ => 0,
    }
}

/// The type in which the elements lie.
pub(super) fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) => leaf(item.data_type()),
        other => other,
    }
}

/// The same type with another element.
pub(super) fn list_of(item: DataType, depth: usize) -> DataType {
    (0..depth).fold(item, |item, _| DataType::List(Arc::new(Field::new("item", item, true))))
}

/// The same values as another of the types in which a type may lie (numerics).
pub(super) fn lying_as(array: &ArrayRef, target: &DataType, env: &Env) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let numeric = |data_type: &DataType| {
        matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Binary)
    };
    if numeric(array.data_type()) && numeric(target) {
        let arg = Arg::array(Arc::clone(array));
        let values = arg.read::<Numeric>()?;
        let result = Field::new("", target.clone(), true);
        let call = Call { args: &[], types: &[], rows: array.len(), result: &result, result_type: Ty::NUMERIC, env };
        return call.rows_of(|row| Ok(values.get(row)));
    }
    Ok(cast(array, target)?)
}

/// Arrays being made, row by row, of elements picked from several columns.
#[derive(Debug)]
pub(super) struct Lists {
    /// Lengths of the lists of each level.
    lengths: Vec<Vec<usize>>,
    valid: Vec<bool>,
    /// Source and place in it.
    picks: Vec<(usize, usize)>,
    closed: usize,
}

impl Lists {
    pub(super) fn new(call: &Call<'_>) -> Self {
        let lengths = vec![Vec::with_capacity(call.rows); depth(call.result.data_type()).max(1)];
        Self { lengths, valid: Vec::with_capacity(call.rows), picks: vec![], closed: 0 }
    }

    pub(super) fn null(&mut self) {
        self.valid.push(false);
        self.outer(0);
    }

    /// Picks rows `from..to` of a source for the array that is open.
    pub(super) fn pick(&mut self, source: usize, from: usize, to: usize) {
        self.picks.extend((from..to).map(|at| (source, at)));
    }

    pub(super) fn pick_same(&mut self, source: usize, at: usize, times: usize) {
        self.picks.extend(std::iter::repeat_n((source, at), times));
    }

    /// Elements of the array that is open.
    pub(super) fn open(&self) -> usize {
        self.picks.len() - self.closed
    }

    /// Closes an array of one dimension.
    pub(super) fn push_flat(&mut self) -> Result<()> {
        self.push(&[self.open()])
    }

    /// Closes an array of these dimensions; any for an empty one.
    pub(super) fn push(&mut self, sizes: &[usize]) -> Result<()> {
        let elements = self.open();
        self.closed = self.picks.len();
        self.valid.push(true);
        if elements == 0 {
            self.outer(0);
            return Ok(());
        }
        if elements > ELEMENTS_MAX {
            return Err(too_many());
        }
        if sizes.len() != self.lengths.len() {
            let text = format!(
                "an array of {} where an array of {} was expected",
                dimensions(sizes.len()),
                dimensions(self.lengths.len())
            );
            return Err(Error::unsupported(text));
        }
        let mut lists = 1usize;
        for (lengths, size) in self.lengths.iter_mut().zip(sizes) {
            lengths.extend(std::iter::repeat_n(*size, lists));
            lists = lists.saturating_mul(*size);
        }
        if lists == elements { Ok(()) } else { Err(Error::internal("dimensions of another array")) }
    }

    fn outer(&mut self, length: usize) {
        if let Some(lengths) = self.lengths.first_mut() {
            lengths.push(length);
        }
    }

    /// The column, of the type of `call.result`. Sources are made to lie as its elements do; a NULL element is picked from
    /// the source behind the last.
    pub(super) fn finish(self, call: &Call<'_>, sources: &[&ArrayRef]) -> Result<ArrayRef> {
        let item = leaf(call.result.data_type());
        let mut lying: Vec<ArrayRef> =
            sources.iter().map(|source| lying_as(source, item, call.env)).collect::<Result<_>>()?;
        lying.push(new_null_array(item, 1));
        let elements = match self.picks.is_empty() {
            true => new_empty_array(item),
            false => {
                let lying: Vec<&dyn Array> = lying.iter().map(AsRef::as_ref).collect();
                interleave(&lying, &self.picks)?
            }
        };
        nest(call.result.data_type(), elements, self.lengths, self.valid)
    }
}

/// Lists of `data_type` over elements: the lengths of each level, the outermost first, and which arrays are not NULL.
pub(in crate::sql::functions) fn nest(
    data_type: &DataType,
    elements: ArrayRef,
    lengths: Vec<Vec<usize>>,
    valid: Vec<bool>,
) -> Result<ArrayRef> {
    if i32::try_from(elements.len()).is_err() {
        return Err(Error::new(Kind::OutOfMemory, "the arrays of one batch have more than 2^31 elements"));
    }
    let mut items: Vec<FieldRef> = vec![];
    let mut level = data_type;
    while let DataType::List(item) = level {
        items.push(Arc::clone(item));
        level = item.data_type();
    }
    let mut valid = Some(NullBuffer::from(valid));
    let mut values = elements;
    for (at, (item, lengths)) in items.into_iter().zip(lengths).enumerate().rev() {
        let nulls = if at == 0 { valid.take() } else { None };
        values = Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, nulls)?);
    }
    Ok(values)
}

fn dimensions(count: usize) -> String {
    if count == 1 { "1 dimension".to_owned() } else { format!("{count} dimensions") }
}

pub(super) fn too_many() -> Error {
    Error::new(Kind::TooLarge, format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"))
}

/// A size as int4.
pub(super) fn int4(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| too_many())
}
