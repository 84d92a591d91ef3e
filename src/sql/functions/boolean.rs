//! boolean (bool.c).

use crate::formats::postgres::input;
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("boolin", |c| c.one(|text: &str| input::boolean(text))),
    ("boolout", |c| c.one(|value: bool| Ok(if value { "t" } else { "f" }))),
    ("btboolcmp", |c| c.two(|a: bool, b: bool| Ok(i32::from(a) - i32::from(b)))),
    ("booltext", |c| c.one(|value: bool| Ok(if value { "true" } else { "false" }))),
];
