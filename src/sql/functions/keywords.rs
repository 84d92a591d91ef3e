//! pg_get_keywords(): the words of the grammar as the parser has them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray, StringArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::sql::kernel::{Call, Growing, Kernel};
use crate::sql::parse::keyword::{Category, keywords};

pub(super) const KERNELS: &[(&str, Kernel)] = &[("pg_get_keywords", words)];

fn words(call: &Call<'_>) -> Result<ArrayRef> {
    let wrong = || Error::internal(format!("keywords as {}", call.result.data_type()));
    let DataType::List(item) = call.result.data_type() else { return Err(wrong()) };
    let DataType::Struct(fields) = item.data_type() else { return Err(wrong()) };
    let all = keywords();
    let texts = |text: fn(Category) -> &'static str| -> ArrayRef {
        Arc::new(all.iter().map(|word| Some(text(word.category))).collect::<StringArray>())
    };
    let label = |bare: bool| if bare { "can be bare label" } else { "requires AS" };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all.iter().map(|word| Some(word.word)).collect::<StringArray>()),
        texts(code),
        Arc::new(all.iter().map(|word| Some(word.bare_label)).collect::<BooleanArray>()),
        texts(description),
        Arc::new(all.iter().map(|word| Some(label(word.bare_label))).collect::<StringArray>()),
    ];
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    let mut growing = Growing::new(&call.env.budget);
    for _ in 0..call.rows {
        growing.add(rows.get_buffer_memory_size())?;
    }
    let once = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths([all.len()]), Arc::new(rows), None)?;
    growing.finish(take(&once, &UInt32Array::from(vec![0; call.rows]), None)?)
}

fn code(category: Category) -> &'static str {
    match category {
        Category::Unreserved => "U",
        Category::ColumnName => "C",
        Category::TypeOrFunction => "T",
        Category::Reserved => "R",
    }
}

fn description(category: Category) -> &'static str {
    match category {
        Category::Unreserved => "unreserved",
        Category::ColumnName => "unreserved (cannot be function or type name)",
        Category::TypeOrFunction => "reserved (can be function or type name)",
        Category::Reserved => "reserved",
    }
}
