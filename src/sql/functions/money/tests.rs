//! Money as PostgreSQL reads, shows and computes it.

use crate::sql::functions::tests::table;

#[test]
fn money_is_postgresql_s() {
    table(include_str!("tests.tsv"));
}
