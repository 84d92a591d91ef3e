//! Vectors and queries as PostgreSQL reads, shows, compares, matches and ranks them.

use crate::sql::functions::tests::table;

#[test]
fn text_search_s_types_are_postgresql_s() {
    table(include_str!("tests.tsv"));
}
