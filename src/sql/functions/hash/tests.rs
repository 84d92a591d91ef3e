//! What a real PostgreSQL 15 answered.

use crate::sql::functions::tests::table;

#[test]
fn hashes_are_those_of_postgresql() {
    table(include_str!("tests.tsv"));
}
