//! uuid (uuid.c).

use crate::formats::postgres::input;
use crate::sql::functions::text::build1;
use crate::sql::functions::text::compare::difference;
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("uuid_in", |c| c.one(|text: &str| input::uuid(text))),
    ("uuid_out", |c| {
        build1(c, |value: [u8; 16], out| {
            let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
            out.push_str(uuid::Uuid::from_bytes(value).hyphenated().encode_lower(&mut buffer));
            Ok(())
        })
    }),
    ("gen_random_uuid", |c| c.rows_of(|_| Ok(uuid::Uuid::new_v4().into_bytes()))),
    ("uuid_eq", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a == b))),
    ("uuid_ne", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a != b))),
    ("uuid_lt", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a < b))),
    ("uuid_le", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a <= b))),
    ("uuid_gt", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a > b))),
    ("uuid_ge", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(a >= b))),
    ("uuid_cmp", |c| c.two(|a: [u8; 16], b: [u8; 16]| Ok(difference(&a, &b)))),
];
