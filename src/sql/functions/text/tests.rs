//! What a real PostgreSQL 15 answered.

use crate::sql::functions::tests::{batch, table};
use crate::sql::kernel::Env;

#[test]
fn answers_are_those_of_postgresql() {
    table(include_str!("tests.tsv"));
}

/// Of a text within itself the search goes back to the beginning at each trigram: 2 million steps.
#[test]
fn a_batch_of_searches_by_trigrams_ends_in_time() {
    let text: Vec<String> = (0..500).map(|i| format!("{i:03}")).collect();
    let text = text.join(" ");
    let argument = ("text", Some(text.as_str()));
    let searched = |rows: usize| batch("word_similarity", &[argument, argument], "float4", rows, &Env::plain());
    assert_eq!(searched(2), Ok(Some("1".to_owned())));
    assert_eq!(searched(3).unwrap_err(), "54001 texts are too long for the similarity of words within them");
}
